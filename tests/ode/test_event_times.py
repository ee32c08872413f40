"""Events at times of something else, and what cannot go on: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import IntegrationError


def decay(t, y, p):
    return -p * y


def half(t, y, p):
    return 0.5 * y


def dose(t, y, p):
    return y + 0.25


def at_one(t, y, p):
    return t - 1.0


def at_three(t, y, p):
    return t - 3.0


def last(y, p):
    return y


TIGHT = {"rtol": 1e-9, "atol": 1e-11}
HOW = {"bosh3": {"method": "bosh3"} | TIGHT, "rodas5p": {"method": "rodas5p"} | TIGHT, "rk4": {"method": "rk4", "dt": 0.01}}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_at_the_time_of_an_observation_and_a_jump(how):
    """The event comes first, then the jump, and the observation sees both: the step between has no length."""
    ode = adj.ODE(decay, [0.0, 1.0, 3.0], events=adj.Event(at_one, half), jumps=adj.Jump(1.0, dose), terminal=last, **how)
    value, grad = ode.value_and_grad(2.0, 0.7)
    assert value == pytest.approx((math.exp(-0.7) + 0.25) * math.exp(-1.4), rel=1e-7)
    assert grad.y0 == pytest.approx(0.5 * math.exp(-2.1), rel=1e-7)
    assert grad.p == pytest.approx(-3.0 * math.exp(-2.1) - 0.5 * math.exp(-1.4), rel=1e-7)
    solution = ode.run(2.0, 0.7)
    assert solution.events[0].tolist() == [1.0] and solution.observations[1] == pytest.approx(math.exp(-0.7) + 0.25, rel=1e-7)


@pytest.mark.parametrize("how", [HOW["bosh3"], HOW["rk4"]], ids=["bosh3", "rk4"])
def test_at_the_end_and_at_the_beginning(how):
    """A condition that is 0 at t0 has no event there; one that is 0 at the end has."""
    ends = adj.ODE(decay, [0.0, 3.0], events=adj.Event(at_three, half), terminal=last, **how)
    assert ends.run(2.0, 0.7).y == pytest.approx(math.exp(-2.1), rel=1e-7)
    begins = adj.ODE(decay, [1.0, 3.0], events=adj.Event(at_one, half), terminal=last, **how)
    solution = begins.run(2.0, 0.7)
    assert solution.y == pytest.approx(2.0 * math.exp(-1.4), rel=1e-7) and not len(solution.events[0])


def level(t, y, p):
    return y - 0.5


def test_observed_at_the_time_that_was_found():
    """Next to it, too, where rounding says on which side a step ends: there is one event."""
    found = adj.ODE(decay, [0.0, 3.0], events=adj.Event(level, half), **HOW["bosh3"]).run(2.0, 0.7).events[0]
    assert len(found) == 1
    for moved in range(-6, 7):
        t = float(found[0]) + moved * math.ulp(found[0])
        solution = adj.ODE(decay, [0.0, t, 3.0], events=adj.Event(level, half), **HOW["bosh3"]).run(2.0, 0.7)
        assert len(solution.events[0]) == 1 and solution.y == pytest.approx(math.exp(-2.1), rel=1e-7)


def switched(t, y, p):
    return p[0] if t <= 1.0 else p[1] * t


def threshold(t, y, p):
    return y - 1.05


def test_in_the_first_step_after_a_discontinuity():
    """y is p0 t up to 1, then p0 + p1 (t^2 - 1) / 2, which is 1.05 at T, and then half of that and p1 (t^2 - T^2) / 2 more
    until it is 1.05 again: it loses 0.525 three times.  The step to T begins at 1, and must not see what is at 1."""
    ode = adj.ODE(
        switched, [0.0, 3.0], discontinuities=1.0, events=adj.Event(threshold, half, direction=1), terminal=last, **HOW["bosh3"]
    )
    value, grad = ode.value_and_grad(0.0, np.array([1.0, 0.3]))
    assert value == pytest.approx(1.0 + 0.15 * 8.0 - 1.575, rel=1e-12)
    np.testing.assert_allclose(grad.p, [1.0, 4.0], rtol=1e-9)
    back = adj.ODE(switched, [3.0, 0.0], discontinuities=1.0, terminal=last, events=adj.Event(threshold), **HOW["bosh3"])
    p = np.array([1.0, 0.3])
    assert back.run(0.0, p).y == pytest.approx(-1.0 - 1.2, rel=1e-10)


def fall(t, y, p):
    return y[1], -p[0]


def ground(t, y, p):
    return y[0]


def bounce(t, y, p):
    return 0.0 * y[0], -p[1] * y[1]


def ceiling(t, y, p):
    return 1.2 - y[0]


@pytest.mark.parametrize("direction", [-1, 0])
@pytest.mark.parametrize("how", [{"method": "bosh3"}, {"method": "heun", "dt": 0.07}], ids=["chosen", "fixed"])
def test_a_ball_that_does_not_bounce_does_not_fall_through(how, direction):
    """After an impact without a rebound it is at the ground again at once, and again."""
    ode = adj.ODE(fall, [0.0, 3.0], events=adj.Event(ground, bounce, direction=direction), **how)
    with pytest.raises(IntegrationError, match=r"events\[0\] \(ground\) happens again and again") as caught:
        ode.run(np.array([1.0, 0.0]), np.array([9.81, 0.0]))
    assert caught.value.t == pytest.approx(math.sqrt(2.0 / 9.81), rel=1e-9)
    assert caught.value.solution.y[0] == pytest.approx(0.0, abs=1e-12)


def test_two_hundred_events():
    """Between two walls without gravity: bounces at 0.6, then every 1.2, at alternating walls."""
    events = [adj.Event(ground, bounce, direction=-1), adj.Event(ceiling, rebound, direction=-1)]
    ode = adj.ODE(fall, [0.0, 240.0], method="heun", dt=1.0, events=events, terminal=lambda y, p: y[0])
    y0, p = np.array([0.6, -1.0]), np.array([0.0, 1.0])
    solution = ode.run(y0, p)
    np.testing.assert_allclose(solution.events[0], 0.6 + 2.4 * np.arange(100), rtol=1e-12)
    np.testing.assert_allclose(solution.events[1], 1.8 + 2.4 * np.arange(100), rtol=1e-12)
    grad = ode.value_and_grad(y0, p)[1]  # 100 times there and back: d y / d y0 is 1, d y / d v is the time
    np.testing.assert_allclose(grad.y0, [1.0, 240.0], rtol=1e-10)


def rebound(t, y, p):
    return y[0], -p[1] * y[1]
