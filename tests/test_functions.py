"""Derivatives of functions, and tangents of simulations."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit
from weighed import P, Q, X, weigh

import adjointsim as adj
from adjointsim.errors import ArgumentError, NonFiniteError, StructureError

BY_HAND_X = np.cos(X * Q.w) * Q.w * Q.a**2
BY_HAND_A = float(np.sin(X * Q.w).sum() * 2 * Q.a)


@pytest.mark.parametrize("f", [weigh, njit(weigh)], ids=["plain", "njit"])
def test_value_and_grad(f):
    value, gradient = adj.value_and_grad(f)(X, Q)
    assert type(value) is float
    assert value == pytest.approx(np.sin(X * Q.w).sum() * 2.25, rel=1e-15)
    assert gradient == pytest.approx(BY_HAND_X, rel=1e-14)
    by_p = adj.grad(f, wrt=1)(X, Q)
    assert isinstance(by_p, P) and by_p.k is None
    assert by_p.a == pytest.approx(BY_HAND_A, rel=1e-14)
    both = adj.grad(f, wrt=(-1, 0))(X, Q)
    assert isinstance(both, tuple) and both[0].a == by_p.a and np.array_equal(both[1], gradient)


def test_lambdas_and_scalars():
    value, gradient = adj.value_and_grad(lambda x: x * x)(3.0)
    assert (value, gradient) == (9.0, 6.0)
    assert adj.grad(lambda x, y: x * y, wrt=(0, 1))(2.0, 5.0) == (5.0, 2.0)
    value, gradient = adj.value_and_grad(lambda x: x * x)(np.float32(3.0))
    assert type(value) is np.float32 and type(gradient) is np.float32
    with pytest.raises(StructureError, match="x is i8, without a float: its gradient would be None"):
        adj.grad(lambda x: x * x)(3)


def test_pullbacks_and_tangents():
    def f(x, c):
        out = np.empty_like(x)
        for i in range(len(x)):
            out[i] = x[i] * x[i] * c
        return out, c * c

    x = np.array([1.0, 2.0])
    (out, square), pullback = adj.vjp(f, x, 3.0)
    assert out.tolist() == [3.0, 12.0] and square == 9.0
    x[:] = np.nan  # the pullback has its own copy
    for _ in range(2):
        x_bar, c_bar = pullback((np.array([1.0, 1.0]), 1.0))
        assert x_bar.tolist() == [6.0, 12.0] and c_bar == 5.0 + 6.0
    x_bar, c_bar = pullback((None, 1.0))
    assert x_bar.tolist() == [0.0, 0.0] and c_bar == 6.0
    (out, square), (out_dot, square_dot) = adj.jvp(f, (np.array([1.0, 2.0]), 3.0), (np.array([1.0, 0.0]), 1.0))
    assert out_dot.tolist() == [7.0, 4.0] and square_dot == 6.0
    assert adj.jvp(f, (np.array([1.0, 2.0]), 3.0), (None, 1.0))[1][0].tolist() == [1.0, 4.0]


def test_calls_that_are_wrong():
    with pytest.raises(StructureError, match=r"Got f8\[:\] from weigh_each, but expected one number"):

        def weigh_each(x):
            return x

        adj.grad(weigh_each)(X)
    with pytest.raises(StructureError, match="missing a required argument: 'p'"):
        adj.grad(weigh)(X)
    with pytest.raises(ArgumentError, match="Got wrt=2, but weigh was called with 2 arguments"):
        adj.grad(weigh, wrt=2)(X, Q)
    for bad in (1.0, "x", (), True, None, (0, 1.5)):
        with pytest.raises(ArgumentError, match="Got wrt="):
            adj.grad(weigh, wrt=bad)
    with pytest.raises(StructureError, match="expected a Python function"):
        adj.grad(np.sum)(X)
    with pytest.raises(StructureError, match="Got x as a list"):
        adj.grad(weigh)([1.0], Q)
    with pytest.raises(StructureError, match="Got 1 tangents, but expected one for each of 2"):
        adj.jvp(weigh, (X, Q), (X,))
    with pytest.raises(StructureError, match=r"the tangent of x of shape \(3,\), but expected shape \(2,\)"):
        adj.jvp(weigh, (X, Q), (np.ones(3), None))
    with pytest.raises(StructureError, match="Got args as a ndarray"):
        adj.jvp(weigh, X, (X,))


def test_functions_keep_their_name():
    assert adj.grad(weigh).__name__ == "grad(weigh)"


# ----------------------------------------------------------------------------------------------------------- tangents
@adj.step
def spin(n, y, p):
    u, v = y
    return (u + 0.1 * p.a * v, v - 0.1 * u * p.w[0])


def angle(n, y, p):
    out = np.empty(2)
    out[0] = y[0] * p.a
    out[1] = y[1]
    return out


def bowl(y, p):
    return y[0] * y[0] + p.a * y[1]


def drag(n, y, p):
    return 0.1 * y[0] * p.w[1] * n


def off(k, observation, p):
    return (observation[0] - 0.1 * k) ** 2 * p.a


def test_tangents_and_gradients_of_a_simulation_agree():
    sim = adj.Simulation(spin, 8, terminal=bowl, running=drag, observe=angle, observe_at=[0, 3, 8], misfit=off)
    y0, y_dot, p_dot = (0.4, -0.3), (0.2, 1.0), P(0.3, np.array([1.0, -2.0]), 0)
    solution, tangent = sim.jvp(y0, Q, y_dot, p_dot)
    run = sim.run(y0, Q)
    assert solution.value == pytest.approx(run.value, rel=1e-15)
    assert solution.y == pytest.approx(run.y, rel=1e-15)
    assert solution.observations == pytest.approx(run.observations, rel=1e-15)
    _, pullback = sim.vjp(y0, Q)
    rng = np.random.default_rng(1)
    y_bar, o_bar = tuple(rng.normal(size=2)), rng.normal(size=(3, 2))
    grad = pullback(1.5, y_bar, o_bar)
    left = 1.5 * tangent.value + np.dot(tangent.y, y_bar) + (tangent.observations * o_bar).sum()
    right = np.dot(grad.y0, y_dot) + grad.p.a * p_dot.a + grad.p.w @ p_dot.w
    assert left == pytest.approx(right, rel=1e-13)
    assert (solution.ledger.forward_steps, solution.ledger.vjp_steps) == (8, 0)


def test_the_tangent_of_an_initial_state():
    sim = adj.Simulation(spin, 5, terminal=bowl)

    def start(p):
        return (p.a * 2.0, p.w[1])

    _, tangent = sim.jvp(start, Q, None, P(1.0, None, None))
    _, grad = sim.value_and_grad(start, Q)
    assert tangent.value == pytest.approx(grad.p.a, rel=1e-13)
    _, tangent = sim.jvp(start, Q, (1.0, 0.0))
    assert tangent.value == pytest.approx(grad.y0[0], rel=1e-13)


def test_tangents_without_costs_or_steps():
    solution, tangent = adj.Simulation(spin, 0).jvp((1.0, 2.0), Q, (3.0, 4.0))
    assert solution.y == (1.0, 2.0) and tangent.y == (3.0, 4.0)
    assert solution.value is None and tangent.value is None and tangent.observations is None
    _, tangent = adj.Simulation(spin, 2, observe=angle, observe_at=[]).jvp((1.0, 2.0), Q, (3.0, 4.0))
    assert tangent.observations.shape == (0, 0)


def test_nan_in_a_tangent():
    def root(n, y, p):
        return math.sqrt(y - 1.0) if n == 3 else y

    with pytest.raises(NonFiniteError, match="became inf in step n=3 of 6") as error:
        adj.Simulation(adj.step(root), 6).jvp(1.0, None, 1.0)
    assert (error.value.step, error.value.leaf) == (3, "y")
    with pytest.raises(NonFiniteError, match="Got y0_dot = nan"):
        adj.Simulation(adj.step(root), 6).jvp(1.0, None, np.nan)


# ------------------------------------------------------------------------------------------------------ overlapping memory
TABLE = np.array([2.0, -1.0, 0.5])


def inner(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i] * b[i]
    return total


def overwriting(a, b):
    a[0] = 2.0 * b[1]
    return inner(a, b)


def scaling_table(a):
    a[1] = 3.0 * a[1]
    return a[1] * TABLE[0] + a[0] * TABLE[1]


class Pair(NamedTuple):
    u: np.ndarray
    v: np.ndarray


def overwriting_pair(p):
    return overwriting(p.v, p.u)


LINE = np.array([0.5, -1.5, 2.0, 0.25])
SAME, SHIFTED, CROSSING = (LINE, LINE), (LINE[1:], LINE[:-1]), (LINE[::2], LINE[1:3])


@pytest.mark.parametrize(("a", "b"), [SAME, SHIFTED, CROSSING])
def test_arguments_in_the_same_memory_that_are_only_read(a, b):
    """The derivative is that of two independent inputs."""
    assert np.shares_memory(a, b)
    da, db = adj.grad(inner, wrt=(0, 1))(a, b)
    np.testing.assert_allclose(da, b * b, rtol=1e-15)
    np.testing.assert_allclose(db, 2.0 * a * b, rtol=1e-15)
    _, pullback = adj.vjp(inner, a, b)
    np.testing.assert_array_equal(pullback(1.0)[0], da)
    assert adj.jvp(inner, (a, b), (np.ones_like(a), None))[1] == pytest.approx(da.sum(), rel=1e-14)


@pytest.mark.parametrize(("a", "b"), [SAME, SHIFTED, CROSSING])
def test_arguments_in_the_same_memory_of_which_one_is_written(a, b):
    """Python would write both."""
    words = "Got {} and {} in the same memory, but {} writes"
    for verb in (adj.value_and_grad(overwriting), lambda *args: adj.vjp(overwriting, *args)):
        with pytest.raises(ArgumentError, match=words.format("a", "b", "overwriting")):
            verb(a, b)
    with pytest.raises(ArgumentError, match=r"a.copy\(\)"):
        adj.jvp(overwriting, (a, b), (a, b))
    with pytest.raises(ArgumentError, match=words.format("p.v", "p.u", "overwriting_pair")):
        adj.grad(overwriting_pair)(Pair(a, b))
    expected = overwriting(a.copy(), b.copy())
    assert adj.value_and_grad(overwriting)(a.copy(), b)[0] == expected


def test_interleaved_arguments_are_apart():
    a, b = LINE[::2], LINE[1::2]
    assert not np.shares_memory(a, b)
    value, gradient = adj.value_and_grad(overwriting)(a, b)
    assert value == overwriting(a.copy(), b.copy())
    assert list(gradient) == [0.0, b[1] ** 2]


def test_an_argument_that_is_written_and_also_read_from_outside():
    with pytest.raises(ArgumentError, match="Got a and TABLE in the same memory, but scaling_table writes 'a'"):
        adj.grad(scaling_table)(TABLE)
    assert list(adj.grad(scaling_table)(TABLE.copy())) == [TABLE[1], 3.0 * TABLE[0], 0.0]
