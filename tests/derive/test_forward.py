"""``adj.jvp`` inside what is derived: all verbs, against the same with derivatives by hand."""

from __future__ import annotations

import numpy as np
import pytest
from forward_programs import PROGRAMS, U, implicit, implicit_by_hand, rhs, scalar

import adjointsim as adj

from .harness import assert_close, assert_same_function


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    """At both levels, interpreted: values, cotangents, tangents, and the tangents of cotangents."""
    fn, by_hand, args = PROGRAMS[name]
    derived, plain = assert_same_function(fn, by_hand, args)
    if name in ("scalars", "twice", "structures", "control", "memory", "one array twice"):
        assert_close(derived.run_vjp(derived.vjp(1), derived.leaves, derived.bars), plain.reference_bars)


@adj.step
def rosenbrock(n, u, p):
    return implicit(u, p)


@adj.step
def rosenbrock_by_hand(n, u, p):
    return implicit_by_hand(u, p)


def test_in_a_sweep():
    """Compiled, reverse over forward, with checkpoints; and a Hessian product."""
    p, found = np.array([0.4, 3.0, 1.1]), []
    for step, checkpoints in ((rosenbrock, None), (rosenbrock, 3), (rosenbrock_by_hand, None)):
        sim = adj.Simulation(step, 12, terminal=lambda u, p: np.sum(u * u), checkpoints=checkpoints)
        value, grad = sim.value_and_grad(U, p)
        product = sim.hvp(U, p, 0.1 * U, p)
        found.append((np.array([value]), grad.y0, grad.p, product.y0, product.p))
    for one, two, three in zip(*found, strict=True):
        assert np.array_equal(one, two)
        np.testing.assert_allclose(one, three, rtol=1e-12, atol=1e-13)


def test_in_python_it_is_the_same():
    out, dot = adj.jvp(scalar, (0.3, 0.8), (0.8, 0.5))
    assert adj.vjp(lambda x, y: adj.jvp(scalar, (x, y), (y, 0.5)), 0.3, 0.8)[0] == pytest.approx((out, dot), rel=1e-15)


def test_a_tangent_of_another_shape():
    with pytest.raises(ValueError, match="a tangent has another shape than its argument"):
        adj.vjp(lambda u, v: adj.jvp(rhs, (u, u), (v, None)), U, np.ones(4))
