"""Divisions that derivatives do without, and sums of cotangents that may be added in any order."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.derive.freesums import free_sums
from adjointsim.derive.ir import For, Let, walk

from .harness import Derived, assert_same_function

RNG = np.random.default_rng(5)
U, V = RNG.uniform(0.1, 0.9, 7), RNG.uniform(0.5, 1.5, 7)


def powers(u, v):
    """A power 3 / 2, over which is divided."""
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = v[i] / (u[i] * math.sqrt(u[i]))
    return out


def product(u, v):
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = v[i] * (math.sqrt(u[i]) * u[i])
    return out


def other_root(u, v):
    """What is multiplied is not what the root is of."""
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = v[i] * math.sqrt(u[i])
    return out


def also_used(u, v):
    """The root has another cotangent, too."""
    out = np.empty_like(u)
    for i in range(len(u)):
        r = math.sqrt(u[i])
        out[i] = v[i] * u[i] * r + r
    return out


def quotient(u, v):
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = u[i] / v[i]
    return out


def divisions(fn):
    """In the loops of the way back."""
    body = Derived(fn, (U, V)).vjp(1).fn.body
    return sum(isinstance(s, Let) and s.op == "div" for s in walk(body))


@pytest.mark.parametrize(("fn", "count"), [(powers, 1), (product, 0), (other_root, 1), (also_used, 1), (quotient, 1)],
                         ids=lambda x: getattr(x, "__name__", ""))  # fmt: skip
def test_as_few_divisions(fn, count):
    assert_same_function(fn, fn, (U, V))
    assert divisions(fn) == count


def moved(u, v):
    """Sums of what takes long to compute, where it is added to neighbours."""
    out = np.zeros_like(u)
    for i in range(len(u)):
        s = 0.0
        for j in range(len(v)):
            d = u[j] - u[i]
            s += v[j] * d / (1.0 + d * d)
        out[i] = s
    return out


@pytest.mark.parametrize("fn", [powers, product, also_used, moved], ids=lambda f: f.__name__)
def test_compiled(fn):
    """As interpreted at the lowest level; the number of cells is none of vectors' lengths."""
    u, v = RNG.uniform(0.1, 0.9, 107), RNG.uniform(0.5, 1.5, 107)
    derived = Derived(fn, (u, v))
    found = adj.vjp(fn, u, v)[1](derived.bars[0])
    for ours, theirs in zip(found, derived.run_vjp(derived.vjp(0), derived.leaves, derived.bars), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_where_the_root_is_of_nothing():
    """The derivative of a power 3 / 2 at 0 is 0."""
    found = adj.vjp(product, np.zeros(3), np.ones(3))[1](np.array([1.0, 0.0, -2.0]))
    assert all(np.array_equal(bar, np.zeros(3)) for bar in found)


# ------------------------------------------------------------------------------------------------------------ sums that are free
def loops(fn, args):
    derived = Derived(fn, args)
    return [s for kernel in (derived.vjp(1),) for f in (kernel.fn, *kernel.functions) for s in walk(f.body) if isinstance(s, For)]


def test_sums_of_cotangents_are_free():
    along = [s for s in loops(moved, (U, V)) if s.carries]
    assert along
    for s in along:
        assert set(free_sums(s)) == {y for y in s.yields} and s.part == "linear"


def coupled(a, x):
    """Two numbers that make each other."""
    p, q = x, 0.5 * x
    for i in range(len(a)):
        p, q = p + a[i] * q, q + a[i] * p
    return p * q


def scaled(a, x):
    s = x
    for i in range(len(a)):
        s = s * a[i] + 1.0
    return s


@pytest.mark.parametrize("fn", [coupled, scaled], ids=lambda f: f.__name__)
def test_recurrences_are_not(fn):
    back = [s for s in loops(fn, (U, 0.7)) if s.carries and s.part == "linear"]
    assert back
    own = {v for s in back for v in free_sums(s)}
    assert not own & {y for s in back for (v, _), y in zip(s.carries, s.yields, strict=True) if used_twice(s, v)}


def used_twice(s, v):
    return sum(a == v for x in s.body if isinstance(x, Let) for a in x.args) > 1
