"""Gauss-Newton products beside whole Jacobians, and Hessian products beside forward over forward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, StructureError, UnsupportedError

N = 30
AT = (3, 10, 11, 30)


class Law(NamedTuple):
    rate: float
    pull: np.ndarray
    count: int


@adj.step
def moving(n, y, p):
    out = np.empty_like(y)
    for i in range(len(y)):
        out[i] = y[i] + 0.1 * (p.rate * y[i] * (1.0 - y[i]) + p.pull[i] * y[i - 1])
    return out


def seen(n, y, p):
    return y[0] * y[1], p.rate * y, n


P = Law(0.7, np.array([0.1, -0.2, 0.3]), 2)
Y = np.array([0.3, 0.5, 0.2])
Y_DOT, P_DOT = np.array([1.0, -0.5, 0.2]), Law(0.3, np.array([0.5, 0.1, -1.0]), None)


def simulation(**bounds):
    return adj.Simulation(moving, N, observe=seen, observe_at=AT, **bounds)


def matrix(model, weights):
    """J^T W J by the Jacobian, with respect to y0, rate and pull."""
    found = model.jacobian(Y, P, ("y0", "p"))
    rows = []
    for k, w in zip((0, 1), weights, strict=True):
        by_y, by_p = found[0][k], found[1][k]
        m = len(np.ravel(by_p.rate))
        j = np.concatenate([np.reshape(by_y, (m, 3)), np.reshape(by_p.rate, (m, 1)), np.reshape(by_p.pull, (m, 3))], axis=1)
        rows.append(np.ravel(w)[:, None] ** 0.5 * j)
    j = np.concatenate(rows)
    return j.T @ j


def product(model, weights):
    return model.gnvp(Y, P, Y_DOT, P_DOT, weights)


def flat(found):
    return np.concatenate([found.y0, [found.p.rate], found.p.pull])


def test_the_jacobian_says_the_same():
    v = np.concatenate([Y_DOT, [P_DOT.rate], P_DOT.pull])
    model, ones = simulation(), (np.ones(4), np.ones((4, 3)))
    found = product(model, None)
    np.testing.assert_allclose(flat(found), matrix(model, ones) @ v, rtol=1e-12)
    assert found.p.count is None
    own = np.arange(1.0, 5.0), 0.5 + np.arange(12.0).reshape(4, 3)
    np.testing.assert_allclose(flat(product(model, (*own, None))), matrix(model, own) @ v, rtol=1e-12)
    np.testing.assert_allclose(flat(product(model, 4.0)), 4.0 * flat(found), rtol=1e-14)
    assert not np.any(flat(model.gnvp(Y, P)))


@pytest.mark.parametrize("bounds", [{"checkpoints": 2}, {"checkpoints": 7}, {"memory": "20kB"}])
def test_no_bound_changes_a_bit(bounds):
    np.testing.assert_array_equal(flat(product(simulation(**bounds), None)), flat(product(simulation(), None)))


def test_of_an_ode():
    def rhs(t, y, p):
        return -p[0] * y * y

    ode = adj.ODE(rhs, [0.5, 1.0, 2.0], t0=0.0, rtol=1e-8)
    j = np.stack([ode.jacobian(1.0, np.array([0.3, 1.0]), "y0"), *ode.jacobian(1.0, np.array([0.3, 1.0]), "p").T[:1]], axis=1)
    found = ode.gnvp(1.0, np.array([0.3, 1.0]), 0.7, np.array([-0.2, 0.0]), np.array([1.0, 2.0, 3.0]))
    expected = j.T @ (np.array([1.0, 2.0, 3.0]) * (j @ [0.7, -0.2]))
    np.testing.assert_allclose([found.y0, found.p[0]], expected, rtol=1e-12)


def test_bad_input():
    model = simulation()
    with pytest.raises(ArgumentError, match="without observe="):
        adj.Simulation(moving, 3).gnvp(Y, P)
    with pytest.raises(StructureError, match=r"weights\[0\] of \(3,\), but expected None, a number, or an array of shape \(4,\)"):
        product(model, (np.ones(3), 1.0, None))
    with pytest.raises(StructureError, match="weights of 2 parts, but expected 3"):
        product(model, (1.0, 1.0))
    with pytest.raises(StructureError, match="weights of str"):
        adj.Simulation(moving, 3, observe=lambda n, y, p: y, observe_at=(1,)).gnvp(Y, P, weights="ones")
    with pytest.raises(ArgumentError, match="not finite"):
        product(model, np.nan)

    @adj.step(vjp=lambda n, y, p, bar: (bar, 0.0 * p))
    def own(n, y, p):
        return y

    with pytest.raises(UnsupportedError):
        adj.Simulation(own, 3, observe=lambda n, y, p: y, observe_at=(1,)).gnvp(1.0, 2.0)


class Both(NamedTuple):
    y: float
    dot: float


@adj.step
def logistic(n, y, p):
    return y + 0.1 * p * y * (1.0 - y)


@adj.step
def with_tangent(n, z, p):
    """The same with its tangent by y0 or p (p.dot), written by hand."""
    y, dot = z.y, z.dot
    moved = 0.1 * (p.dot * y * (1.0 - y) + p.y * (1.0 - 2.0 * y) * dot)
    return Both(y + 0.1 * p.y * y * (1.0 - y), dot + moved)


@pytest.mark.parametrize("bounds", [{}, {"checkpoints": 3}])
def test_hessian_products_are_forward_over_forward(bounds):
    model = adj.Simulation(logistic, 40, terminal=lambda y, p: np.exp(y) * p, **bounds)
    twice = adj.Simulation(with_tangent, 40, terminal=lambda z, p: np.exp(z.y) * (z.dot * p.y + p.dot))
    y0, p, units = 0.1, 1.3, ((1.0, 0.0), (0.0, 1.0))
    h = np.empty((2, 2))
    for i, one in enumerate(units):
        for k, two in enumerate(units):
            _, dot = twice.jvp(Both(y0, one[0]), Both(p, one[1]), Both(two[0], 0.0), Both(two[1], 0.0))
            h[i, k] = dot.value
    found = np.array([(g.y0, g.p) for g in (model.hvp(y0, p, *one) for one in units)])
    np.testing.assert_allclose(found, h, rtol=1e-12)
