"""``adj.root`` inside what is derived: all verbs, against iterations that converge, and against 50 digits."""

from __future__ import annotations

import numpy as np
import pytest
from root_programs import PROGRAMS, bands, dense_in_place_of_bands

import adjointsim as adj

from .harness import Derived, assert_close, assert_same_function


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    """At both levels, interpreted: values, cotangents, tangents, and the tangents of cotangents."""
    fn, by_hand, args = PROGRAMS[name]
    assert_same_function(fn, by_hand, args)


@pytest.mark.parametrize("fn", [bands, dense_in_place_of_bands])
def test_float32(fn):
    """Results and cotangents are float32, and as good as that."""
    u = np.linspace(0.1, 0.9, 5)
    single, double = Derived(fn, (u.astype(np.float32), np.float32(0.3))), Derived(fn, (u, 0.3))
    single.__dict__.update(expected=double.run_primal(double.primal(1), double.leaves), bars=[np.ones(5, np.float32)])
    single.expected[:] = [x.astype(np.float32) for x in single.expected]
    assert_close(single.run_primal(single.primal(1), single.leaves), double.expected, single=True)
    bars = single.run_vjp(single.vjp(1), single.leaves, single.bars)
    assert [b.dtype for b in bars] == [np.float32, np.float32]
    assert_close(bars, double.run_vjp(double.vjp(1), double.leaves, [np.ones(5)]), single=True)


def no_unknowns(x):
    return x + 0.0


def cubed(x):
    return x + x**3


def linear(x, a, b):
    return a @ x - b


def at_its_ends(u):
    """Nothing to find; a root at 0, which no relative change can tell."""
    return adj.root(no_unknowns, u[:0]).shape[0] + adj.root(cubed, u[0])


def system(a, b):
    return adj.root(linear, np.zeros(9), (a, b))


def value(fn, *args):
    derived = Derived(fn, args)
    derived.__dict__.update(expected=[np.zeros(1 if fn is at_its_ends else 9)])
    return derived.run_primal(derived.primal(1), derived.leaves)[0]


def test_nothing_and_zero():
    assert value(at_its_ends, np.ones(2)) == 0.0


def test_ill_conditioned():
    """A condition of 1e8 and one of 1e80: x is what there is to have, and no failure."""
    a, scale = np.vander(np.linspace(0.1, 1.0, 9)), 10.0 ** np.arange(-40, 50, 10)
    np.testing.assert_allclose(a @ value(system, a, np.ones(9)), np.ones(9), atol=1e-12)
    scaled = scale[:, None] * a / scale[::-1]
    np.testing.assert_allclose(scaled @ value(system, scaled, scale) / scale, np.ones(9), atol=1e-12)


def of_all_sizes(x, c):
    first = x[0] - 1e16 * c, x[1] ** 2 - 2.0 * c, (x[2] * 1e-20) ** 3 - c
    return np.array([first[0], first[1], first[2], x[3] + x[3] * x[1], x[4] * 1e20 - x[1] / x[0]])


def sizes(c):
    return adj.root(of_all_sizes, np.array([1e16, 1.0, 2e20, 0.1, 0.0]), (c,))


def sizes_banded(c):
    return adj.root(of_all_sizes, np.array([1e16, 1.0, 2e20, 0.1, 0.0]), (c,), bandwidth=(4, 0))


@pytest.mark.parametrize("fn", [sizes, sizes_banded])
def test_unknowns_of_all_sizes(fn):
    """Each is right to rounding, also one that is 0; and so are their derivatives."""
    derived, root = Derived(fn, (1.0,)), np.sqrt(2.0)
    derived.__dict__.update(expected=[np.array([1e16, root, 1e20, 0.0, root * 1e-36])])
    np.testing.assert_allclose(derived.run_primal(derived.primal(1), derived.leaves)[0], derived.expected[0], rtol=1e-15)
    for k, slope in enumerate((1e16, np.sqrt(0.5), 1e20 / 3.0, 0.0, -0.5 * root * 1e-36)):
        bar = derived.run_vjp(derived.vjp(1), derived.leaves, [np.eye(5)[k]])[0]
        np.testing.assert_allclose(bar, slope, rtol=1e-14)
