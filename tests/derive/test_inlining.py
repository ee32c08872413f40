"""Arrays that only wait for the next expression: values with NumPy's bits, derivatives by complex steps, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.derive.ir import Load, walk
from adjointsim.derive.kernel import prepared

from .harness import Derived


def once(u, v):
    a = u * v
    b = a + u[::-1]
    return np.sum(b * b)


def chain(u, v):
    a = np.sin(u) * v
    b = a - 2.0
    c = b / (1.0 + v * v)
    return np.sum(c * u)


def shared(u, v):
    """Two loops read it, which is cheap."""
    a = u * v
    b = a + 1.0
    c = a - v
    return np.sum(b * c)


def dear(u, v):
    """Two loops read what takes long: it is computed once."""
    a = np.exp(u) / v
    b = a + 1.0
    c = a * v
    return np.sum(b * c)


def overwritten(u, v):
    """What it was computed from is something else when it is read."""
    w = u * 1.0
    a = w * v
    w[:] = v
    b = a + w
    return np.sum(b * b)


def over_itself(u, v):
    """The loop that reads it overwrites what it was computed from."""
    w = u * 1.0
    a = w * v
    w[:] = a + v
    return np.sum(w * w)


def changed(u, v):
    a = u * v
    a[1] = 3.0 * v[0]
    b = a + u
    return np.sum(b * b)


def shifted(u, v):
    """It is read under other indices."""
    a = u * v
    b = a[1:] - a[:-1]
    return np.sum(b * b * v[1:])


def backwards(u, v):
    a = u * v
    b = a[::-1] + u
    return np.sum(b * b)


def spread(u, v):
    """Every row reads it."""
    a = u * v
    b = a[None, :] * u[:, None]
    return np.sum(b * b * b)


def turned(u, v):
    a = u[:, None] - v[None, :]
    b = a * a
    c = b.T + u
    return np.sum(c * b)


def picked(u, v):
    a = u * v
    return a[0] * a[-1] + np.sum(a)


def narrow(u, v):
    """It is rounded where it is stored."""
    a = np.empty(len(u), np.float32)
    a[:] = u * v
    b = a * v
    return np.sum(b)


def branches(u, v):
    a = np.where(u > 0.2, u * v, v)
    b = a * a
    return np.sum(b - u)


def in_a_loop(u, v):
    w = u * 1.0
    for _ in range(3):
        a = w * v
        b = a + 0.1 * w
        w = b * b
    return np.sum(w)


PROGRAMS = [once, chain, shared, dear, overwritten, over_itself, changed, shifted, backwards, spread, turned, picked, branches,
            in_a_loop]  # fmt: skip
RNG = np.random.default_rng(8)
U, V = RNG.uniform(0.1, 0.9, 6), RNG.uniform(0.5, 1.5, 6)


def complex_step(fn, k, place):
    args = [U.astype(complex), V.astype(complex)]
    args[k][place] += 1e-200j
    with np.errstate(all="ignore"):
        return fn(*args).imag / 1e-200


@pytest.mark.parametrize("fn", PROGRAMS, ids=lambda f: f.__name__)
def test_derivatives(fn):
    value, grads = adj.value_and_grad(fn, wrt=(0, 1))(U, V)
    assert value == pytest.approx(fn(U, V), rel=1e-15)
    if fn is branches:  # a complex number has no order
        expected = [np.where(U > 0.2, 2.0 * U * V * V, 0.0) - 1.0, np.where(U > 0.2, 2.0 * U * U * V, 2.0 * V)]
    else:
        expected = [[complex_step(fn, k, place) for place in range(6)] for k in (0, 1)]
    for found, wanted in zip(grads, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-14)


def test_what_is_rounded_stays_rounded():
    value, grads = adj.value_and_grad(narrow, wrt=(0, 1))(U, V)
    rounded = (U * V).astype(np.float32).astype(float)
    assert value == pytest.approx(np.sum(rounded * V), rel=1e-15)
    np.testing.assert_allclose(grads[0], V * V, rtol=1e-6)


def arrays_left(fn):
    """The arrays of its own that a function still reads."""
    entry = Derived(fn, (U, V)).entry
    body = prepared(entry, 1)
    return {x.base.name.split(".")[0] for x in walk(body) if isinstance(x, Load) and x.base.role == "local"}


@pytest.mark.parametrize(("fn", "kept"), [
    (once, set()), (chain, set()), (shared, set()), (dear, set()), (overwritten, {"a", "w"}), (over_itself, {"w"}),
    (changed, {"a"}), (shifted, {"a"}), (backwards, {"a"}), (spread, {"a"}),
], ids=lambda x: getattr(x, "__name__", ""))  # fmt: skip
def test_what_stays(fn, kept):
    assert arrays_left(fn) == kept
