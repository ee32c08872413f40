"""Axes of length 1 as a part of the structure: what is derived anew for them, in steps, captures, helpers and custom rules."""

from __future__ import annotations

import numpy as np
import pytest
from reference import reference_jvp, reference_vjp

import adjointsim as adj
from adjointsim.derive import api
from adjointsim.derive.spec import ArraySpec, ComplexSpec, TupleSpec, measured, shapeless
from adjointsim.errors import StructureError
from adjointsim.leaves import spec_of

A = np.array([0.7, -1.1, 0.4, 1.9])
B, ONE = A[::-1].copy(), np.array([0.6])


def blend(u, v):
    return u * v + np.sin(v)


def test_the_structure_says_which_axes_have_length_one():
    assert spec_of(np.zeros((1, 3, 1)), "x") == ArraySpec("f8", 3, (0, 2)) != spec_of(np.zeros((2, 3, 1)), "x")
    assert spec_of(np.zeros((2, 3)), "x") == spec_of(np.zeros((0, 4)), "x") == ArraySpec("f8", 2)
    assert spec_of(np.zeros((1, 2), complex), "x") == ComplexSpec("c16", 2, (0,))
    assert str(ArraySpec("f8", 3, (0, 2))) == "f8[1,:,1]" and str(ComplexSpec("c16", 1, (0,))) == "c16[1]"
    both = TupleSpec((ArraySpec("f8", 2, (0,)), ComplexSpec("c16", 1)))
    assert shapeless(both) == TupleSpec((ArraySpec("f8", 2), ComplexSpec("c16", 1)))
    assert measured(both, [(2, 1), (1, 2)]) == TupleSpec((ArraySpec("f8", 2, (1,)), ComplexSpec("c16", 1, (0,))))


def test_one_kernel_for_all_lengths_but_one():
    def kernel(*args):
        return api.function_kernel(blend, [spec_of(a, "x") for a in args])

    assert kernel(A, A) is kernel(A[:2], A[:3])
    assert kernel(A, ONE) is kernel(A[:3], ONE)
    assert len({kernel(A, A), kernel(A, ONE), kernel(ONE, A), kernel(ONE, ONE)}) == 4
    assert kernel(A, A).source("vjp") == api.FunctionKernel(blend, [ArraySpec("f8", 1)] * 2, None, "function").source("vjp")


# ------------------------------------------------------------------------------------------------------------- simulations
def relaxed(n, y, p):
    u, m = y
    rate, pull, shift = p
    w = u + 0.1 * rate * np.sin(m) * pull
    return w.sum(axis=1, keepdims=True) * 0.3 + shift, m * 0.9 + 0.05 * w - 0.01 * rate


def total(y, p):
    u, m = y
    return (u * m * p[1]).sum() + (m * m).sum()


Y = (np.array([[0.3], [-0.8], [1.2]]), np.array([[1.4, 0.2], [-0.6, 0.9], [-0.1, 0.7]]))
P = (np.array([0.45]), np.array([[0.3, -0.2]]), np.array([[0.07]]))


def whole_run(y, p):
    for n in range(4):
        y = relaxed(n, y, p)
    return total(y, p)


def _flat(x):
    return [leaf for item in x for leaf in _flat(item)] if isinstance(x, tuple) else [x]


def close(ours, theirs):
    for a, b in zip(_flat(ours), _flat(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_a_simulation_with_leaves_of_length_one():
    sim = adj.Simulation(adj.step(relaxed), 4, terminal=total, checkpoints=2)
    value, grad = sim.value_and_grad(Y, P)
    assert value == pytest.approx(whole_run(Y, P), rel=1e-13)
    close((grad.y0, grad.p), reference_vjp(whole_run, (Y, P), 1.0))


def test_tangents_of_a_simulation_with_leaves_of_length_one():
    rng = np.random.default_rng(3)
    y_dot, p_dot = (tuple(rng.standard_normal(x.shape) for x in part) for part in (Y, P))
    sim = adj.Simulation(adj.step(relaxed), 4, terminal=total)
    _, found = sim.jvp(Y, P, y_dot, p_dot)
    assert found.value == pytest.approx(reference_jvp(whole_run, (Y, P), (y_dot, p_dot))[1], rel=1e-12)
    h = 1e-6

    def gradient(sign):
        moved = [tuple(x + sign * h * d for x, d in zip(*pair, strict=True)) for pair in ((Y, y_dot), (P, p_dot))]
        grad = sim.value_and_grad(*moved)[1]
        return _flat((grad.y0, grad.p))

    second = sim.hvp(Y, P, y_dot, p_dot)
    for ours, up, down in zip(_flat((second.y0, second.p)), gradient(1), gradient(-1), strict=True):
        np.testing.assert_allclose(ours, (up - down) / (2 * h), rtol=1e-6, atol=1e-7)


def begun(p):
    return np.ones(1) * p[0], p[1] * 1.0


def spread(n, y, p):
    u, v = y
    return u * 0.9, v * u + p[0] * 0.1


def seen(n, y, p):
    return y[0], y[1] * p[0]


def squared(k, o, p):
    return ((o[0] * o[1] - p[1]) ** 2).sum()


def end(y, p):
    return (y[0] * y[1] * y[1]).sum()


def test_states_and_observations_that_are_made_with_length_one():
    p = (np.array([0.6]), A)

    def run(p):
        y, cost = begun(p), 0.0
        for n in range(4):
            if n in (1, 3):
                cost += squared(n, seen(n, y, p), p)
            if n < 3:
                y = spread(n, y, p)
        return cost + end(y, p)

    sim = adj.Simulation(adj.step(spread), 3, terminal=end, observe=seen, observe_at=[1, 3], misfit=squared)
    value, grad = sim.value_and_grad(begun, p)
    assert value == pytest.approx(run(p), rel=1e-13)
    close(grad.p, reference_vjp(run, (p,), 1.0)[0])


def test_a_step_must_keep_the_length_of_one():
    with pytest.raises(StructureError, match=r"Got y_next of shape \(4,\), but expected \(1,\)"):
        adj.step(lambda n, y, p: y * p)(0, ONE, A)
    with pytest.raises(StructureError, match=r"Got y_next of shape \(1,\), but expected \(4,\)"):
        adj.step(lambda n, y, p: p * 2.0)(0, A, ONE)


def test_a_step_by_hand_is_told_the_shapes_that_it_got_wrong():
    step = adj.step(lambda n, y, p: y * p, vjp=lambda n, y, p, bar: (bar * p, bar * y), jit=False)
    with pytest.raises(StructureError, match=r"Got y_next of shape \(4,\), but expected shape \(1,\)"):
        step(0, ONE, A)


# ---------------------------------------------------------------------------------------------------------- from outside
WEIGHT = np.array([2.0])


def weighted(a):
    return (a * WEIGHT).sum()


def test_a_captured_array_that_gets_another_length(monkeypatch):
    gradient = adj.grad(weighted)
    np.testing.assert_array_equal(gradient(A), np.full(4, 2.0))
    monkeypatch.setitem(globals(), "WEIGHT", A)
    np.testing.assert_array_equal(gradient(A), A)
    monkeypatch.setitem(globals(), "WEIGHT", np.array([3.0]))
    np.testing.assert_array_equal(gradient(A), np.full(4, 3.0))


RESIZED = np.array([2.0])


def test_a_captured_array_that_is_resized_where_it_stands():
    gradient = adj.grad(lambda a: (a * RESIZED).sum())
    gradient(A)
    RESIZED.resize(4, refcheck=False)
    with pytest.raises(StructureError, match="'RESIZED'.*shape .4,.; expected length 1"):
        gradient(A)


@adj.custom_vjp
def scaled(a, b):
    return a * np.exp(b)


@scaled.defvjp
def scaled_vjp(out, out_bar, a, b):
    more = np.empty_like(b)
    if len(b) == 1:
        more[:] = (out_bar * out).sum()
    else:
        more[:] = out_bar * out
    return out_bar * np.exp(b), more


@scaled.defjvp
def scaled_jvp(out, args, args_dot):
    a, b = args
    a_dot, b_dot = args_dot
    return a_dot * np.exp(b) + out * b_dot


def plainly_scaled(a, b):
    return (scaled(a, b) ** 2 * b).sum() + scaled(b, b)[0]


def without_rules(a, b):
    return ((a * np.exp(b)) ** 2 * b).sum() + (b * np.exp(b))[0]


@pytest.mark.parametrize("b", [ONE, A[::-1] * 0.3], ids=["one", "as long"])
def test_a_rule_of_the_users_own_is_derived_for_length_one(b):
    value, bars = adj.value_and_grad(plainly_scaled, (0, 1))(A, b)
    assert value == pytest.approx(without_rules(A, b), rel=1e-13)
    close(bars, reference_vjp(without_rules, (A, b), 1.0))
    dots = (A[::-1].copy(), b * 0.7 + 0.1)
    close(adj.hvp(plainly_scaled, (A, b), dots), adj.hvp(without_rules, (A, b), dots))


# ------------------------------------------------------------------------------------------------ known only as it runs
def between(a, b, lo, hi):
    a[:] += b[lo:hi]
    return a * b[lo:hi]


def test_lengths_that_are_computed_are_right_or_refused():
    np.testing.assert_array_equal(adj.vjp(between, A, B, 0, 4)[0], (A + B) * B)
    for lo, hi in ((1, 2), (1, 3), (2, 2)):  # one element, which Python would repeat; two; none
        with pytest.raises(ValueError, match="two lengths differ"):
            adj.vjp(between, A, B, lo, hi)
    np.testing.assert_array_equal(adj.vjp(between, ONE, A, 1, 2)[0], (ONE + A[1:2]) * A[1:2])


@pytest.mark.parametrize("f", [lambda a, b: a + b[1:], lambda a, b: a[1:] + b])
def test_what_is_left_of_one_element_is_none(f):
    assert adj.vjp(f, ONE, ONE)[0].shape == (0,)
    with pytest.raises(ValueError, match="two lengths differ"):
        adj.vjp(f, A, A)


def into_one(a, b):
    a += b
    return a


def test_one_element_does_not_hold_more():
    with pytest.raises(ValueError, match="broadcast"):
        adj.vjp(into_one, ONE, A)
