"""The solution between the ends of steps: against the published extensions, evaluated by themselves, and closed forms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.ode.tableaus import TABLEAUS

from .steps import problem, step

THETAS = np.array([0.0, 0.2, 0.5, 0.83, 1.0])


def rate(t, y, p):
    return np.array([np.cos(t) - 2 * y[0] * y[1], y[0] - np.sin(2 * t) * y[1] ** 2])


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "dop853", "rodas5p"])
def test_published_extensions(method):
    t, y, h = 0.3, problem.starts[1][1], 0.1
    solution = adj.ODE(rate, [t, t + h], method=method, dt=h).run(y, dense_output=True)
    _, _, extension = step(TABLEAUS[method], h, t, y)
    expected = np.array([extension(theta) for theta in THETAS])
    np.testing.assert_allclose(solution.sol(t + THETAS * h), expected, rtol=1e-13)


def test_hermite():
    """Of methods that have none: between the values and derivatives at both ends."""
    t, y, h = 0.3, problem.starts[1][1], 0.1
    solution = adj.ODE(rate, [t, t + h], method="rk4", dt=h).run(y, dense_output=True)
    end, before, after = solution.y, problem.f(t, y), problem.f(t + h, solution.y)
    x = THETAS[:, None]
    cubic = (1 - x) * y + x * end + x * (x - 1) * ((1 - 2 * x) * (end - y) + (x - 1) * h * before + x * h * after)
    np.testing.assert_allclose(solution.sol(t + THETAS * h), cubic, rtol=1e-14)


class Body(NamedTuple):
    height: float
    speed: np.ndarray


def falling(t, y, p):
    return Body(y.speed[0], np.array([-p]))


def kicked(t, y, p):
    return Body(y.height, y.speed + 2.0)


def bounced(t, y, p):
    return Body(y.height, -0.5 * y.speed)


def above(t, y, p):
    return y.height


def fallen(t, y, p):
    return y.height


def test_jumps_events_and_costs():
    """A quadratic in pieces, which every extension has exactly; at the times of a kick and of a bounce it is the state after."""
    ode = adj.ODE(
        falling, [0.0, 2.0], jumps=adj.Jump([0.5], kicked), events=adj.Event(above, bounced, direction=-1), running=fallen
    )
    y0 = Body(1.0, np.array([0.0]))
    solution = ode.run(y0, 10.0, dense_output=True)
    bounce = solution.events[0][0]
    assert bounce == pytest.approx(np.sqrt(0.2), rel=1e-12)
    times = np.array([0.0, 0.1, 0.3, bounce])
    seen = solution.sol(times)
    assert isinstance(seen, Body) and seen.height.shape == (4,) and seen.speed.shape == (4, 1)
    np.testing.assert_allclose(seen.height, 1.0 - 5.0 * times**2, atol=1e-12)
    np.testing.assert_allclose(seen.speed[:, 0], [0.0, -1.0, -3.0, 0.5 * 10.0 * bounce], rtol=1e-12)
    before, after = solution.sol(np.nextafter(0.5, 0.0)), solution.sol(0.5)
    assert isinstance(after.height, float) and after.speed.shape == (1,)
    np.testing.assert_allclose(after.speed - before.speed, 2.0, rtol=1e-12)
    last = solution.sol(2.0)
    assert last.height == solution.y.height and last.speed[0] == solution.y.speed[0]
    assert ode.run(y0, 10.0).sol is None


def decay(t, y, p):
    return -p * y


def test_arguments_may_change_afterwards_and_time_may_go_back():
    y0, p = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    solution = adj.ODE(decay, [1.0, -1.0], rtol=1e-9, atol=1e-12).run(y0, p, dense_output=True)
    y0[:] = p[:] = 0.0
    t = np.linspace(1.0, -1.0, 7)
    np.testing.assert_allclose(solution.sol(t), [1.0, 2.0] * np.exp(-np.array([0.5, 1.0]) * (t[:, None] - 1.0)), rtol=1e-8)
    seen = solution.sol(0.25)
    seen[:] = 0.0
    assert solution.sol(0.25).all() and solution.sol([]).shape == (0, 2)
    assert (solution.sol.t_min, solution.sol.t_max) == (-1.0, 1.0)


def algebraic(t, y, p):
    return -y[1], y[1] - p * y[0]


def test_algebraic_equations():
    t = np.linspace(0.0, 1.0, 5)
    ode = adj.ODE(algebraic, [0.0, 1.0], method="rodas5p", mass=[1.0, 0.0], rtol=1e-9, atol=1e-12)
    seen = ode.run(np.array([1.0, 2.0]), 2.0, dense_output=True).sol(t)
    np.testing.assert_allclose(seen, np.exp(-2.0 * t)[:, None] * [1.0, 2.0], rtol=1e-7)
    other = adj.ODE(algebraic, [0.0, 1.0], method="sdirk2", mass=[1.0, 0.0])
    with pytest.raises(ArgumentError, match="mass= and method='sdirk2', but expected \"rodas5p\""):
        other.run(np.array([1.0, 2.0]), 2.0, dense_output=True)


def spread(t, y, p):
    return 0.1 * y


def test_what_there_is_not():
    sol = adj.ODE(decay, [0.0, 1.0]).run(1.0, 0.5, dense_output=True).sol
    for wrong in (1.1, -0.1, np.nan, [0.5, np.inf]):
        with pytest.raises(ArgumentError, match="but expected times from 0.0 to 1.0, where the solution is"):
            sol(wrong)
    with pytest.raises(StructureError, match="Got t of shape"):
        sol(np.zeros((2, 2)))
    with pytest.raises(StructureError, match="Got t as a str"):
        sol("half")
    with pytest.raises(ArgumentError, match="dense_output=True of an SDE"):
        adj.SDE(decay, spread, [0.0, 1.0], dt=0.1, seed=1).run(1.0, 0.5, dense_output=True)
    assert adj.ODE(decay, [2.0]).run(3.0, 0.5, dense_output=True).sol(2.0) == 3.0
