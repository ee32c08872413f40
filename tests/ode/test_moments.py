"""Derivatives with respect to times: t0, those of observations, those of jumps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError
from adjointsim.ode.tableaus import TABLEAUS


class P(NamedTuple):
    rate: float
    dose: float


Y0, PARAMS = np.array([1.0, 0.5]), P(0.8, 0.7)


def rhs(t, y, p):
    return np.array([-p.rate * y[0] + np.sin(3.0 * t), p.rate * y[0] - 0.3 * y[1] * y[1]])


def effect(t, y, p):
    return np.array([y[0] + p.dose * (1.0 + t), y[1]])


def kick(t, y, p):
    return np.array([y[0], y[1] * 0.9])


def misfit(k, seen, p):
    return (k + 1.0) * (seen[0] * seen[1] + seen[0])


def observe(t, y, p):
    return np.array([y[0] * np.cos(t), y[1]])


T_EVAL = np.array([0.5, 1.0, 2.0])
JUMPS = (adj.Jump([0.3, 1.4, 9.0], effect), adj.Jump(1.7, kick))


def steps_between(begin, end, lengths, equal):
    """The lengths of steps for other knots: equal, or all but the last as they were."""
    if equal:
        return [(end - begin) / len(lengths)] * len(lengths)
    return [*lengths[:-1], end - begin - sum(lengths[:-1])]


def value(name, knots, lengths, equal):
    """The value of the frozen steps for complex times: {"t0": .., "t_eval": [..], "jumps": [[..], ..]}."""
    table = TABLEAUS[name]
    a, b, c = ([[float(x) for x in row] for row in table.a], [float(x) for x in table.b], [float(x) for x in table.c])
    moments = [(knots["t0"], None)] + [(t, k) for k, t in enumerate(knots["t_eval"])]
    moments += [(t, f) for times, f in zip(knots["jumps"], (effect, kick), strict=True) for t in times if t.real < 2.0]
    moments.sort(key=lambda m: m[0].real)
    y, total = np.array(Y0, dtype=complex), 0.0
    for (t, _), (end, what), own in zip(moments, moments[1:], lengths, strict=False):
        for h in steps_between(t, end, own, equal):
            k = []
            for row, node in zip(a, c, strict=True):
                k.append(rhs(t + node * h, y + h * sum((w * x for w, x in zip(row, k, strict=False)), 0.0 * y), PARAMS))
            y = y + h * sum(w * x for w, x in zip(b, k, strict=False))
            t = t + h
        if callable(what):
            y = what(end, y, PARAMS)
        else:
            total = total + misfit(what, observe(end, y, PARAMS), PARAMS)
    return total


def frozen(name, solution, equal):
    """The derivatives of :func:`value` by complex steps, at the steps that were taken."""
    knots = {"t0": 0.0, "t_eval": T_EVAL, "jumps": [j.times for j in JUMPS]}
    all_times = np.unique([0.0, *T_EVAL, 0.3, 1.4, 1.7])
    moving = np.diff(solution.steps)
    at = [[h for h, s in zip(moving, solution.steps, strict=False) if lo <= s < hi and h > 0.0]
          for lo, hi in zip(all_times, all_times[1:], strict=False)]  # fmt: skip

    def derivative(change):
        moved = {"t0": knots["t0"] + 0j, "t_eval": T_EVAL + 0j, "jumps": [j + 0j for j in knots["jumps"]]}
        change(moved)
        return value(name, moved, at, equal).imag / 1e-30

    def along(key, k, j=None):
        def change(moved):
            if key == "t0":
                moved["t0"] += 1e-30j
            else:
                (moved[key] if j is None else moved[key][j])[k] += 1e-30j

        return derivative(change)

    return along("t0", 0), [along("t_eval", k) for k in range(3)], [[along("jumps", k, j) for k in range(len(t))]
                                                                     for j, t in enumerate(knots["jumps"])]  # fmt: skip


@pytest.mark.parametrize("how", [{"method": "dopri5", "rtol": 1e-5}, {"method": "rk4", "dt": 0.2}], ids=["chosen", "equal"])
def test_the_derivative_of_the_steps_taken(how):
    ode = adj.ODE(rhs, T_EVAL, t0=0.0, jumps=JUMPS, observe=observe, misfit=misfit, **how)
    solution = ode.run(Y0, PARAMS)
    got, grad = ode.value_and_grad(Y0, PARAMS, wrt=("t0", "p.dose", "t_eval", "jumps"))
    assert got == solution.value and grad.y0 is None and grad.p.rate is None
    t0, t_eval, jumps = frozen(how["method"], solution, "dt" in how)
    assert grad.t0 == pytest.approx(t0, rel=1e-11)
    np.testing.assert_allclose(grad.t_eval, t_eval, rtol=1e-11)
    for mine, exact in zip(grad.jumps, jumps, strict=True):
        np.testing.assert_allclose(mine, exact, rtol=1e-11)
    assert grad.jumps[0][2] == 0.0  # behind the end
    plain = ode.value_and_grad(Y0, PARAMS)[1]
    assert plain.t0 is None and plain.t_eval is None and plain.jumps is None
    assert plain.p.dose == pytest.approx(grad.p.dose, rel=1e-13)
    check_jacobians(ode)
    _, pullback = ode.vjp(Y0, PARAMS, wrt="t_eval")
    np.testing.assert_allclose(pullback(value_bar=2.0).t_eval, 2.0 * grad.t_eval, rtol=1e-13)


def check_jacobians(ode):
    """Forward and backward they are the rows of pullbacks of each number observed."""
    names = ("t_eval", "p.dose", "jumps", "t0")
    forward, backward = (ode.jacobian(Y0, PARAMS, wrt=names, mode=mode) for mode in ("forward", "reverse"))
    _, pullback = ode.vjp(Y0, PARAMS, wrt=names)
    for place in np.ndindex(3, 2):
        bar = np.zeros((3, 2))
        bar[place] = 1.0
        row = pullback(observations_bar=bar)
        for found in (forward, backward):
            t_eval, dose, jumps, t0 = found
            np.testing.assert_allclose(t_eval[place], row.t_eval, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(dose[place], row.p.dose, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(t0[place], row.t0, rtol=1e-11, atol=1e-13)
            for mine, other in zip(jumps, row.jumps, strict=True):
                np.testing.assert_allclose(mine[place], other, rtol=1e-11, atol=1e-13)
    assert np.shape(forward[0]) == (3, 2, 3) and forward[3].shape == (3, 2) and forward[2][0].shape == (3, 2, 3)
    np.testing.assert_array_equal(ode.jacobian(Y0, PARAMS, wrt="t0"), forward[3])  # fewer tangents


def test_where_the_first_observation_is_the_beginning():
    """y' = -p y at 0, 1, 2: moved together, and the exact solution's derivatives up to the tolerance."""
    ode = adj.ODE(lambda t, y, p: -p * y, [0.0, 1.0, 2.0], misfit=lambda k, seen, p: seen, rtol=1e-10, atol=1e-12)
    grad = ode.value_and_grad(2.0, 0.5, wrt=("t0", "t_eval"))[1]
    later = 2.0 * np.exp(-0.5 * np.array([1.0, 2.0]))
    np.testing.assert_allclose(grad.t_eval, [0.5 * later.sum(), *(-0.5 * later)], rtol=1e-8)
    assert grad.t0 == grad.t_eval[0]


def fall(t, y, p):
    return np.array([y[1], -p.rate])


def floor(t, y, p):
    return y[0]


def bounce(t, y, p):
    return np.array([y[0], -p.dose * y[1]])


def boost(t, y, p):
    return np.array([y[0], y[1] + 1.0])


def test_beside_an_event():
    """A ball from height 1 under gravity g, boosted by 1 at tau, bounces at T: everything in closed form.

    h(t) = v (t - T) - g (t - T)^2 / 2 with v = -e v(T-), T the root of 1 - g T^2 / 2 + (T - tau) = 0.
    """
    g, e, tau, end = 9.0, 0.7, 0.2, 1.0
    ball = adj.ODE(
        fall, [end], t0=0.0, jumps=adj.Jump(tau, boost), events=adj.Event(floor, bounce, direction=-1), rtol=1e-10, atol=1e-12,
        terminal=lambda y, p: y[0],
    )  # fmt: skip
    grad = ball.value_and_grad(np.array([1.0, 0.0]), P(g, e), wrt=("jumps", "t_eval", "t0"))[1]

    def height(t0, tau, end):
        s = tau - t0
        hit = (1.0 + np.sqrt(1.0 + 2.0 * g * (1.0 - s))) / g
        v = -e * (1.0 - g * hit)
        rest = end - t0 - hit
        return v * rest - 0.5 * g * rest**2

    exact = [height(*(x + 1e-30j * (j == k) for j, x in enumerate((0.0, tau, end)))).imag / 1e-30 for k in range(3)]
    np.testing.assert_allclose([grad.t0, grad.jumps[0][0], grad.t_eval[0]], exact, rtol=1e-8)
    t0, jumps, t_eval = ball.jacobian(np.array([1.0, 0.0]), P(g, e), wrt=("t0", "jumps", "t_eval"))  # two cotangents are fewer
    np.testing.assert_allclose([t0[0, 0], jumps[0][0, 0, 0], t_eval[0, 0, 0]], exact, rtol=1e-8)


def test_times_at_which_something_else_happens():
    both = adj.ODE(rhs, [0.0, 1.0], jumps=adj.Jump([0.0, 0.5], effect), terminal=lambda y, p: y[0], discontinuities=[1.0])
    with pytest.raises(ArgumentError, match=r"the time 0\.0 is one of jumps\[0\] and of t0"):
        both.value_and_grad(Y0, PARAMS, wrt="jumps")
    with pytest.raises(ArgumentError, match=r"one of t_eval and of jumps\[0\]"):
        both.value_and_grad(Y0, PARAMS, wrt=("y0", "t_eval"))
    plain = adj.ODE(rhs, [0.0, 1.0], terminal=lambda y, p: y[0], discontinuities=[1.0])
    with pytest.raises(ArgumentError, match="one of t_eval and of discontinuities"):
        plain.value_and_grad(Y0, PARAMS, wrt="t_eval")
    with pytest.raises(ArgumentError, match="has no jumps="):
        plain.value_and_grad(Y0, PARAMS, wrt="jumps")
    with pytest.raises(ArgumentError, match="one of t_eval and of discontinuities"):
        plain.jacobian(Y0, PARAMS, wrt="t_eval")
    with pytest.raises(ArgumentError, match="mode"):
        plain.jacobian(Y0, PARAMS, wrt="t0", mode="sideways")
