"""Events against closed forms: where they are, what they do, and derivatives through their times."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, IntegrationError, StructureError


def fall(t, y, p):
    return y[1], -p[0]


def ground(t, y, p):
    return y[0]


def bounce(t, y, p):
    return 0.0 * y[0], -p[1] * y[1]


def height(y, p):
    return y[0]


BALL = np.array([5.0, 0.3]), np.array([9.81, 0.8])


def ball(t_end, h, v, g, e):
    """The height and speed at the end, and the times of the bounces."""
    t, y, times = 0.0, h, []
    while True:
        wait = (v + np.sqrt(v * v + 2.0 * g * y)) / g
        if (t + wait).real > t_end:
            return y + v * (t_end - t) - g * (t_end - t) ** 2 / 2.0, v - g * (t_end - t), times
        t, y, v = t + wait, 0.0, -e * (v - g * wait)
        times.append(t)


@pytest.fixture(scope="module")
def bouncing():
    event = adj.Event(ground, bounce, direction=-1)
    return adj.ODE(fall, [0.0, 2.0, 4.0], method="bosh3", events=event, terminal=height, rtol=1e-8)


def test_a_bouncing_ball(bouncing):
    y0, p = BALL
    solution = bouncing.run(y0, p)
    h, v, times = ball(4.0, *y0, *p)
    np.testing.assert_allclose(solution.y, [h, v], rtol=1e-10)
    np.testing.assert_allclose(solution.events[0], times, rtol=1e-12)
    assert solution.status == 0
    np.testing.assert_allclose(solution.observations[1], ball(2.0, *y0, *p)[:2], rtol=1e-10)


def test_the_derivative_of_a_bouncing_ball_is_the_analytic_one(bouncing):
    y0, p = BALL
    value, grad = bouncing.value_and_grad(y0, p)
    x = np.array([*y0, *p])
    exact = [ball(4.0, *(x + 1e-30j * e))[0].imag / 1e-30 for e in np.eye(4)]
    np.testing.assert_allclose([*grad.y0, *grad.p], exact, rtol=1e-9)
    assert value == pytest.approx(ball(4.0, *x)[0], rel=1e-10)
    bounded = adj.ODE(
        fall, [0.0, 2.0, 4.0], method="bosh3", events=adj.Event(ground, bounce, direction=-1), terminal=height, rtol=1e-8,
        checkpoints=2,
    )  # fmt: skip
    again = bounded.value_and_grad(y0, p)[1]
    np.testing.assert_array_equal([*again.y0, *again.p], [*grad.y0, *grad.p])


def test_ever_more_bounces_are_refused_with_the_time(bouncing):
    """The ball comes to rest at t1 + 2 e v1 / (g (1 - e)), where t1 and v1 are those of the first bounce."""
    y0, p = BALL
    endless = adj.ODE(
        fall, [0.0, 20.0], method="bosh3", events=adj.Event(ground, bounce, direction=-1), terminal=height, rtol=1e-8
    )
    _, _, (first, *_) = ball(2.0, *y0, *p)
    speed = p[0] * first - y0[1]
    rest = first + 2.0 * p[1] * speed / (p[0] * (1.0 - p[1]))
    with pytest.raises(IntegrationError, match="accumulate") as caught:
        endless.run(y0, p)
    assert caught.value.t == pytest.approx(rest, rel=1e-5)
    assert len(caught.value.solution.events[0]) > 20


def decay(t, y, p):
    return -p * y


def level(t, y, p):
    return y - 0.5


def clock(t, y, p):
    """A number that decays, and the time."""
    return -p * y[0], 1.0


def half(t, y, p):
    return y[0] - 0.5


def test_a_terminal_event_ends_the_run_and_what_is_observed():
    """y0 exp(-p t) = 1/2 at t = log(2 y0) / p."""
    ode = adj.ODE(
        clock, [0.0, 0.5, 10.0], method="bosh3", events=[adj.Event(half, stop=True)], rtol=1e-9, atol=1e-11,
        terminal=lambda y, p: y[1],
    )  # fmt: skip
    y0, p = np.array([1.3, 0.0]), 0.7
    solution = ode.run(y0, p)
    assert solution.status == 1 and solution.success and "event" in solution.message
    assert len(solution.t) == 2 and len(solution.observations) == 2
    value, grad = ode.value_and_grad(y0, p)
    t = math.log(2.0 * 1.3) / p
    assert value == solution.value == pytest.approx(t, rel=1e-9) and solution.y[0] == pytest.approx(0.5, rel=1e-14)
    assert grad.p == pytest.approx(-t / p, rel=1e-8)
    np.testing.assert_allclose(grad.y0, [1.0 / (p * 1.3), 1.0], rtol=1e-8)


def wave(t, y, p):
    return np.cos(t) * p


def crossing(t, y, p):
    return y


def count(t, y, p):
    return y


@pytest.mark.parametrize(("direction", "times"), [(1, [2 * math.pi]), (-1, [math.pi, 3 * math.pi]), (0, [1, 2, 3])])
def test_directions(direction, times):
    if direction == 0:
        times = [k * math.pi for k in times]
    event = adj.Event(crossing, direction=direction)
    solution = adj.ODE(wave, [0.0, 10.0], method="bosh3", events=event, rtol=1e-9, atol=1e-9, max_step=1.0).run(0.0, 1.0)
    np.testing.assert_allclose(solution.events[0], times, atol=1e-7)


def turn(t, y, p):
    return 0.9 * y


def late(t, y, p):
    return t - 1.0


def later(t, y, p):
    return 2.0 * (t - 1.0)


def test_two_events_at_one_time_are_refused():
    events = [adj.Event(late, turn), adj.Event(later, turn)]
    words = r"events\[0\] \(late\) and events\[1\] \(later\) happen at the same time"
    with pytest.raises(IntegrationError, match=words) as caught:
        adj.ODE(decay, [0.0, 3.0], method="bosh3", events=events).run(1.0, 0.5)
    assert caught.value.t == pytest.approx(1.0, rel=1e-14)


def test_events_beside_jumps_and_a_running_cost():
    """y' = -p y; at t = 1 (an event of time alone) y becomes 0.9 y; a dose at 2: the integral of y in closed form."""
    ode = adj.ODE(
        decay, [0.0, 1.0, 3.0], method="bosh3", events=adj.Event(late, turn), jumps=adj.Jump([2.0], dose),
        running=lambda t, y, p: y, rtol=1e-9, atol=1e-11,
    )  # fmt: skip

    def exact(y, p):
        q = np.exp(-p)
        a, b = y * q * 0.9, None
        b = a * q + 0.25
        return (y * (1 - q) + a * (1 - q) + b * (1 - q)) / p

    value, grad = ode.value_and_grad(1.2, 0.6)
    assert value == pytest.approx(exact(1.2, 0.6), rel=1e-8)
    assert grad.y0 == pytest.approx((exact(1.2 + 1e-30j, 0.6)).imag / 1e-30, rel=1e-8)
    assert grad.p == pytest.approx((exact(1.2, 0.6 + 1e-30j)).imag / 1e-30, rel=1e-8)


def dose(t, y, p):
    return y + 0.25


def charge(t, y, p):
    return p + 0.0 * y


def full(t, y, p):
    return y - 1.0


def discharged(t, y, p):
    return 0.1 * p + 0.0 * y


def less(t, y, p):
    return y - 1.0


def test_an_effect_that_leaves_the_threshold():
    """y' = p from y0; whenever y is 1 it starts anew at p / 10: it is as far from the threshold as at first."""
    ode = adj.ODE(
        charge, [0.0, 3.3], method="bosh3", events=adj.Event(full, discharged), terminal=lambda y, p: y, rtol=1e-6, atol=1e-9
    )  # fmt: skip
    value, grad = ode.value_and_grad(0.2, 1.1)
    first, more = 0.8 / 1.1, (1.0 - 0.11) / 1.1
    np.testing.assert_allclose(ode.run(0.2, 1.1).events[0], first + more * np.arange(4), rtol=1e-12)
    assert value == pytest.approx(0.11 + 1.1 * (3.3 - first - 3 * more), rel=1e-12)
    assert grad.y0 == pytest.approx(1.0, rel=1e-12)
    assert grad.p == pytest.approx(0.1 + 3.3 + 3 * 0.1, rel=1e-12)


def test_a_jump_that_leaves_the_threshold():
    """At the time of the first event y is taken back to 0 by a jump: the second one is as far away."""
    ode = adj.ODE(
        charge, [0.0, 2.25], method="euler", dt=0.25, events=adj.Event(full), jumps=adj.Jump([0.5], less), terminal=lambda y, p: y
    )  # fmt: skip
    assert ode.run(0.5, 1.0).value == 1.75
    np.testing.assert_allclose(ode.run(0.5, 1.0).events[0], [0.5, 1.5], rtol=1e-12)


@pytest.mark.heavy
def test_events_that_never_happen_change_nothing():
    plain = adj.ODE(decay, [0.0, 1.0], method="bosh3", terminal=lambda y, p: y)
    other = adj.ODE(decay, [0.0, 1.0], method="bosh3", terminal=lambda y, p: y, events=adj.Event(level, turn))
    value, grad = other.value_and_grad(5.0, 0.5)
    expected = plain.value_and_grad(5.0, 0.5)
    assert value == expected[0] and other.run(5.0, 0.5).events[0].size == 0
    assert grad.p == pytest.approx(expected[1].p, rel=1e-12) and grad.y0 == pytest.approx(expected[1].y0, rel=1e-12)


def test_bad_events():
    with pytest.raises(StructureError, match="condition"):
        adj.Event(3.0)
    with pytest.raises(StructureError, match="effect"):
        adj.Event(level, 3.0)
    with pytest.raises(ArgumentError, match="direction"):
        adj.Event(level, direction=2)
    with pytest.raises(StructureError, match=r"events\[0\]"):
        adj.ODE(decay, [0.0, 1.0], events=[level])
    with pytest.raises(StructureError, match="condition"):
        adj.ODE(decay, [0.0, 1.0], events=adj.Event(lambda t, y, p: y > 0.5)).run(1.0, 0.5)


def lifted(t, y, p):
    return y + 0.3


def test_backward_in_time():
    """From 1 at t = 1 down to 0, and again and again from 0.3; from 0 at first nothing happens."""
    ode = adj.ODE(charge, [1.0, -1.3], method="euler", dt=0.35, events=adj.Event(crossing, lifted), terminal=lambda y, p: y)
    value, grad = ode.value_and_grad(1.0, 1.0)
    np.testing.assert_allclose(ode.run(1.0, 1.0).events[0], [0.0, -0.3, -0.6, -0.9, -1.2], atol=1e-12)
    assert value == pytest.approx(0.2, rel=1e-12)
    assert (grad.y0, grad.p) == (pytest.approx(1.0, rel=1e-12), pytest.approx(-2.3, rel=1e-12))
    assert ode.run(0.0, 1.0).value == pytest.approx(-2.3, rel=1e-12)
