"""Events between fixed steps, against the same steps in complex numbers (hybrid.py)."""

from __future__ import annotations

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, IntegrationError
from adjointsim.ode.times import fixed_steps, grid_of, knots_of

from . import hybrid
from .hybrid import bounce, derivatives, kick, rhs, solved, wall

Y0, P = (0.3, -0.2), np.array([1.4, 0.8, 0.15, -0.6])
T_EVAL, JUMPS, DT = np.array([0.9, 2.0, 4.5]), np.array([0.4, 2.6]), 0.25


def misfit(k, seen, p):
    return (k + 1.0) * (seen[0] * seen[1] + p[0] * seen[0])


def total(seen, p):
    return sum((k + 1.0) * (q * v + p[0] * q) for k, (q, v) in enumerate(seen))


def problem(method, **more):
    event = adj.Event(wall, bounce, direction=-1)
    return adj.ODE(
        rhs, T_EVAL, t0=0.0, method=method, dt=DT, events=event, jumps=adj.Jump(JUMPS, kick), misfit=misfit, **more
    )  # fmt: skip


@pytest.mark.parametrize("method", ["rk4", "leapfrog"])
def test_values_and_gradients_are_those_of_the_steps(method):
    """With respect to everything, the times of the steps moving with those that are given."""
    y0 = np.array(Y0) if method == "rk4" else Y0
    ode = problem(method)
    value, grad = ode.value_and_grad(y0, P, wrt=("y0", "p", "t0", "t_eval", "jumps"))

    def again(x):
        y, p, t0, t_eval, jumps = x[:2], x[2:6], x[6], x[7:10], x[10:]
        return total(solved(method, t0, t_eval, jumps, DT, y, p)[0], p)

    x = [*Y0, *P, 0.0, *T_EVAL, *JUMPS]
    _, events = solved(method, 0.0, T_EVAL, JUMPS, DT, Y0, P)
    solution = ode.run(y0, P)
    assert len(events) == 2
    np.testing.assert_allclose(solution.events[0], events, rtol=1e-12)
    assert value == solution.value == pytest.approx(again(x), rel=1e-12)
    found = [*np.ravel(grad.y0), *grad.p, grad.t0, *grad.t_eval, *grad.jumps[0]]
    np.testing.assert_allclose(found, derivatives(again, x), rtol=1e-9)
    forward, backward = (ode.jacobian(y0, P, wrt=("t_eval", "t0"), mode=mode) for mode in ("forward", "reverse"))

    def seen(k, j):  # number j of observation k
        return derivatives(lambda x: solved(method, x[6], x[7:10], x[10:], DT, x[:2], x[2:6])[0][k][j], x)[6:10]

    for k, j in np.ndindex(3, 2):
        for t_eval, t0 in (forward, backward):
            t_eval, t0 = (t_eval[:, j], t0[:, j]) if method == "rk4" else (t_eval[j], t0[j])
            np.testing.assert_allclose([t0[k], *t_eval[k]], seen(k, j), rtol=1e-9, atol=1e-12)
    bounded = problem(method, checkpoints=2).value_and_grad(y0, P)[1]
    plain = ode.value_and_grad(y0, P)[1]
    np.testing.assert_array_equal([*np.ravel(bounded.y0), *bounded.p], [*np.ravel(plain.y0), *plain.p])
    np.testing.assert_allclose([*np.ravel(plain.y0), *plain.p], found[:6], rtol=1e-13)


def test_the_times_between_events_are_those_of_the_grid():
    """So differences of values are those of one smooth function: with the next steps' sizes they would be, too, but not with a
    number of steps that changes."""
    ode = problem("rk4")
    solution = ode.run(np.array(Y0), P)
    grid = np.unique(np.concatenate([[0.0], fixed_steps(knots_of(0.0, T_EVAL, [JUMPS], np.empty(0)), DT, 100).time]))
    np.testing.assert_array_equal(np.unique(solution.steps), np.unique([*grid, *solution.events[0]]))
    h = 1e-5
    up, down = (ode.run(np.array(Y0), P + s * h * np.eye(4)[2]).value for s in (1, -1))
    grad = ode.value_and_grad(np.array(Y0), P, wrt="p")[1]
    assert (up - down) / (2.0 * h) == pytest.approx(grad.p[2], rel=1e-7)


def test_the_grid():
    knots = knots_of(0.0, np.array([0.0, 1.0, 1.5]), [np.array([0.5])], np.array([1.0]))
    grid = grid_of(knots, 0.3, 100)
    np.testing.assert_allclose(grid.times, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5], rtol=1e-15)
    np.testing.assert_array_equal(grid.observed, [0, 4, 6])
    np.testing.assert_array_equal(grid.fire, [0, 0, 1, 0, 0, 0, 0])
    assert grid.ends[4] < 1.0 < grid.begins[4] and grid.begins[1] == grid.ends[1] == grid.times[1]
    with pytest.raises(ArgumentError, match="dt=0.001.*max_steps=100"):
        grid_of(knots, 0.001, 100)


def test_an_end_at_an_event():
    ode = adj.ODE(
        rhs, [0.0, 9.0], method="rk4", dt=DT, events=adj.Event(wall, bounce, stop=True), terminal=lambda y, p: y[0] * y[1]
    )
    value, grad = ode.value_and_grad(np.array(Y0), P)

    def again(x):
        seen, _ = solved("rk4", 0.0, [0.0, 9.0], [], DT, x[:2], x[2:], stop=True)
        return seen[-1][0] * seen[-1][1]

    x = [*Y0, *P]
    assert value == pytest.approx(again(x), rel=1e-12)
    np.testing.assert_allclose([*grad.y0, *grad.p], [*derivatives(again, x)[:5], 0.0], rtol=1e-10)
    solution = ode.run(np.array(Y0), P)
    assert solution.status == 1 and solution.t.tolist() == [0.0] and solution.steps[-1] == solution.events[0][0]


def decay(t, y, p):
    return -p * y


def level(t, y, p):
    return y - 0.5


def half(t, y, p):
    return 0.5 * y


@pytest.mark.parametrize("method", ["implicit_euler", "crank_nicolson", "rodas5p"])
def test_implicit_steps(method):
    """Of y' = -p y, whose steps multiply y by R(h p): that of the event makes it 1/2, and then it is 1/4."""

    def factor(x):
        if method == "implicit_euler":
            return 1.0 / (1.0 + x)
        return (1.0 - 0.5 * x) / (1.0 + 0.5 * x) if method == "crank_nicolson" else np.exp(-x)

    def value(y, p):
        t = 0.0
        for k in range(4):  # until it is less than 1/2 at 0.4 k
            h = 0.4
            after = y * factor(h * p)
            if (after - 0.5).real <= 0.0 < (y - 0.5).real:
                low = {
                    "implicit_euler": (2.0 * y - 1.0) / p, "crank_nicolson": 2.0 * (y - 0.5) / (p * (y + 0.5)),
                    "rodas5p": np.log(2.0 * y) / p,
                }[method]  # fmt: skip
                after = 0.25 * factor((h - low) * p)
            y = after
            t = t + h
        return y

    ode = adj.ODE(
        decay, [0.0, 1.6], method=method, dt=0.4, events=adj.Event(level, half), terminal=lambda y, p: y,
    )  # fmt: skip
    got, grad = ode.value_and_grad(1.1, 0.9)
    rel = 1e-6 if method == "rodas5p" else 1e-11  # its R is not exp
    assert got == pytest.approx(value(1.1, 0.9), rel=rel)
    assert grad.y0 == pytest.approx(value(1.1 + 1e-25j, 0.9).imag / 1e-25, rel=100 * rel)
    assert grad.p == pytest.approx(value(1.1, 0.9 + 1e-25j).imag / 1e-25, rel=100 * rel)


def blows(t, y, p):
    return y * y if t < 1.0 else np.sqrt(y - 100.0)


def test_a_state_that_is_not_finite_is_named():
    ode = adj.ODE(blows, [0.0, 2.0], method="rk4", dt=0.25, events=adj.Event(level, half), terminal=lambda y, p: y)
    with pytest.raises(adj.errors.NonFiniteError, match=r"step n=3 of .*t=0\.75"):
        ode.value_and_grad(0.1, 0.5)


def gone(t, y, p):
    return np.sqrt(y - 0.75)


@pytest.mark.parametrize("how", [{"method": "bosh3"}, {"method": "rk4", "dt": 0.1}], ids=["chosen", "fixed"])
def test_a_condition_that_is_not_a_number(how):
    ode = adj.ODE(decay, [0.0, 2.0], events=adj.Event(gone, half), **how)
    with pytest.raises(IntegrationError, match=r"the condition of events\[0\] \(gone\) is not a number"):
        ode.run(1.0, 0.5)


def test_the_file_of_steps_says_what_it_says():
    """RK4 of the reference is of order 4, so that it is not what it is compared with."""
    ends = [solved("rk4", 0.0, [1.0], [], h, Y0, np.array([1.4, 0.8, 9.0, 0.0]))[0][-1][0] for h in (0.1, 0.05, 0.025)]
    assert np.log2(abs((ends[0] - ends[1]) / (ends[1] - ends[2]))) == pytest.approx(4.0, abs=0.2)
    assert hybrid.wall(0.0, Y0, P) > 0.0
