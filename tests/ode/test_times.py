"""Jumps, discontinuities, and the times that an integration steps onto."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.ode.times import Steps, fixed_steps, knots_of

NONE = np.empty(0)


def decay(t, y, p):
    return -p[0] * y


def dose(t, y, p):
    return y + p[1]


def double(t, y, p):
    return 2.0 * y


def fading(t, y, p):
    return -p[0] * y


def several(t, y, p):
    return y + p[1]


def first_and_last(y, p):
    return y[0] + 2.0 * y[-1]


def misfit(k, seen, p):
    return (k + 1) * seen


DOSES = np.array([0.0, 1.0, 2.5])


def doses_exact(t, y0, k, d, times=DOSES):
    return y0 * math.exp(-k * t) + sum(d * math.exp(-k * (t - s)) for s in times if s <= t)


@pytest.mark.parametrize("how", [{"rtol": 1e-11, "atol": 1e-13}, {"method": "rk4", "dt": 0.01}], ids=["adaptive", "fixed"])
def test_doses(how):
    """Observations at the times of doses see the state after them, at t0, too; so does the end."""
    times = [0.0, 0.7, 1.0, 2.5]
    ode = adj.ODE(decay, times, jumps=(adj.Jump(DOSES, dose),), misfit=misfit, terminal=lambda y, p: y, **how)
    p = np.array([0.8, 1.7])
    value, grad = ode.value_and_grad(0.5, p)

    def exact(y0, k, d):
        seen = [doses_exact(t, y0, k, d) for t in times]
        return sum((j + 1) * s for j, s in enumerate(seen)) + seen[-1]

    assert value == pytest.approx(exact(0.5, *p), rel=1e-9)
    x = np.array([0.5, *p])
    h = 1e-6
    expected = [(exact(*(x + h * e)) - exact(*(x - h * e))) / (2.0 * h) for e in np.eye(3)]
    np.testing.assert_allclose([grad.y0, *grad.p], expected, rtol=1e-8)


@pytest.mark.parametrize("method", ["bosh3", pytest.param("rodas5p", marks=pytest.mark.heavy)])
def test_doses_of_an_array(method):
    """A state that is too long to be written out as numbers."""
    times, y0, k, d = [0.0, 0.7, 1.0, 2.5], np.linspace(0.5, 1.5, 12), 0.8, np.sin(np.arange(12.0))
    ode = adj.ODE(fading, times, jumps=(adj.Jump(DOSES, several),), terminal=first_and_last, method=method, rtol=1e-9, atol=1e-12)
    solution = ode.run(y0, (k, d))
    for t, seen in zip(times, solution.observations, strict=True):
        np.testing.assert_allclose(seen, doses_exact(t, y0, k, d), rtol=1e-7)
    _, grad = ode.value_and_grad(y0, (k, d))
    np.testing.assert_allclose(grad.y0[[0, 5, -1]], np.exp(-2.5 * k) * np.array([1.0, 0.0, 2.0]), rtol=1e-7, atol=1e-12)
    each = sum(math.exp(-k * (2.5 - s)) for s in DOSES)
    np.testing.assert_allclose(grad.p[1][[0, 5, -1]], each * np.array([1.0, 0.0, 2.0]), rtol=1e-7, atol=1e-12)


def test_effects_at_one_time_happen_in_order():
    p = np.array([0.3, 1.0])
    one = adj.ODE(decay, [0.0, 1.0], jumps=[adj.Jump(1.0, dose), adj.Jump([1.0], double)], method="rk4", dt=0.1).run(1.0, p)
    other = adj.ODE(decay, [0.0, 1.0], jumps=[adj.Jump(1.0, double), adj.Jump(1.0, dose)], method="rk4", dt=0.1).run(1.0, p)
    before = adj.ODE(decay, [0.0, 1.0], method="rk4", dt=0.1).run(1.0, p).y
    assert one.y == 2.0 * (before + 1.0) and other.y == 2.0 * before + 1.0


def switched(t, y, p):
    return p[0] if t < 1.0 else p[1] * t


def test_a_declared_discontinuity_costs_no_accuracy():
    """y' = a before 1 and b t after it: any method of order 2 is exact, if no step sees both sides."""
    p = np.array([0.7, -0.4])
    how = {"method": "midpoint", "dt": 0.3}
    value, grad = adj.ODE(
        switched, [0.0, 2.0], discontinuities=[1.0, 7.0], terminal=lambda y, p: y, **how
    ).value_and_grad(0.2, p)
    assert value == pytest.approx(0.2 + p[0] + 1.5 * p[1], rel=1e-14)
    np.testing.assert_allclose(grad.p, [1.0, 1.5], rtol=1e-14)
    backward = adj.ODE(switched, [2.0, 0.0], discontinuities=[1.0], **how).run(value, p)
    assert backward.y == pytest.approx(0.2, abs=1e-14)
    crude = adj.ODE(switched, [0.0, 2.0], **how).run(0.2, p)
    assert abs(crude.y - value) > 1e-3
    adaptive = adj.ODE(switched, [0.0, 2.0], discontinuities=[1.0]).run(0.2, p)
    assert adaptive.stats["rejected"] == 0 and adaptive.y == pytest.approx(value, rel=1e-10)


def test_knots():
    knots = knots_of(0.0, np.array([1.0, 2.0]), [np.array([0.0, 2.0]), np.array([2.0, 9.0])], np.array([-1.0, 0.5]))
    np.testing.assert_array_equal(knots.times, [0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(knots.fire, [1, 0, 0, 3])
    np.testing.assert_array_equal(knots.observed, [2, 3])
    assert knots.begins[1] > 0.5 > knots.ends[1] and knots.begins[2] == knots.ends[2] == 1.0 and not knots.smooth
    back = knots_of(3.0, np.array([2.0, 1.0]), [], NONE)
    np.testing.assert_array_equal(back.times, [3.0, 2.0, 1.0])
    assert back.sign == -1.0 and back.smooth


def test_steps_stand_still_where_jumps_are():
    knots = knots_of(0.0, np.array([1.0, 2.0]), [np.array([0.0, 1.0])], NONE)
    steps = fixed_steps(knots, 0.5, 100)
    np.testing.assert_array_equal(steps.time, [0.0, 0.0, 0.5, 1.0, 1.0, 1.5, 2.0])
    np.testing.assert_array_equal(steps.length, [0.0, 0.5, 0.5, 0.0, 0.5, 0.5])
    np.testing.assert_array_equal(steps.fire, [1, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(steps.state, [1, 4, 6])
    assert steps.begin[1] > 0.0 and steps.end[2] < 1.0 < steps.begin[4]
    nothing = Steps.of(knots_of(1.0, np.array([1.0]), [], NONE), NONE, NONE, np.empty(0, np.int64))
    assert nothing.count == 0 and list(nothing.state) == [0]


def test_fixed_steps_divide_each_interval():
    knots = knots_of(0.0, np.array([0.3, 1.0]), [], NONE)
    steps = fixed_steps(knots, 0.2, 100)
    assert steps.count == 2 + 4 and np.all(steps.length <= 0.2)
    np.testing.assert_allclose(steps.length, np.diff(steps.time), rtol=1e-14)
    exact = fixed_steps(knots_of(0.0, np.array([1.0]), [], NONE), 0.1, 100)
    assert exact.count == 10


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_an_interval_of_length_zero(end):
    """No steps: the value and the derivatives are those of the costs."""
    jumps = (adj.Jump([1.0], dose),) if end else ()
    ode = adj.ODE(decay, [1.0], t0=1.0, jumps=jumps, terminal=lambda y, p: 3.0 * y * p[0], observe=lambda t, y, p: y * t)
    p = np.array([2.0, 0.25])
    value, grad = ode.value_and_grad(0.5, p)
    y = 0.5 + p[1] * (end > 0.0)
    assert value == 6.0 * y and grad.y0 == 6.0 and grad.p[0] == 3.0 * y and grad.p[1] == 6.0 * (end > 0.0)
    assert ode.run(0.5, p).observations[0] == y


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"t_eval": [0.0, 2.0, 1.0]}, r"t_eval\[1\]=.*t_eval\[2\]="),
        ({"t_eval": [0.0, 1.0, 1.0]}, r"increase"),
        ({"t_eval": [0.0, math.nan]}, r"t_eval\[1\]=nan"),
        ({"t_eval": [0.0, math.inf]}, r"t_eval\[1\]=inf"),
        ({"t_eval": []}, "t_eval"),
        ({"t_eval": [[0.0, 1.0]]}, "t_eval"),
        ({"t_eval": "soon"}, "t_eval"),
        ({"t0": 0.5}, "t0=0.5"),
        ({"t0": math.nan}, "t0"),
        ({"rtol": 0.0}, "rtol"),
        ({"rtol": -1e-3}, "rtol"),
        ({"atol": -1e-3}, "atol"),
        ({"atol": math.nan}, "atol"),
        ({"dt": 0.0}, "dt"),
        ({"dt": -0.1}, "dt"),
        ({"dt": math.inf}, "dt"),
        ({"dt": "small"}, "dt"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": 2.5}, "max_steps"),
        ({"max_step": 0.0}, "max_step"),
        ({"first_step": -1.0}, "first_step"),
        ({"method": "rk4"}, "dt="),
        ({"method": "magic"}, "magic"),
        ({"method": "Radau"}, "rodas5p"),
        ({"method": 3}, "method"),
        ({"jumps": (adj.Jump([-1.0], dose),)}, r"jumps\[0\]"),
        ({"jumps": (dose,)}, r"jumps\[0\]"),
        ({"discontinuities": [math.nan]}, "discontinuities"),
        ({"terminal": 3.0}, "terminal"),
        ({"checkpoints": 0}, "checkpoints"),
        ({"memory": "2 gigs"}, "2 gigs"),
        ({"checkpoints": 3, "memory": "1GB"}, "at most one"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises((ArgumentError, StructureError), match=words):
        adj.ODE(decay, **({"t_eval": [0.0, 1.0]} | arguments))


def test_bad_jumps():
    with pytest.raises(ArgumentError, match="finite"):
        adj.Jump([math.nan], dose)
    with pytest.raises(StructureError, match="effect"):
        adj.Jump([1.0], 3.0)
    with pytest.raises(StructureError, match="rhs"):
        adj.ODE(3.0, [0.0, 1.0])
