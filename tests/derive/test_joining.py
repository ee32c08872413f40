"""Loops that read what takes long to compute, as one loop with what computes it; sums of it along rows, in registers."""

from __future__ import annotations

import numpy as np
import pytest

from adjointsim.derive import joining, rowsums
from adjointsim.derive.ir import Alloc, Each, For, Load, Store, walk
from adjointsim.derive.kernel import prepared

from .harness import Derived, assert_same_function

RNG = np.random.default_rng(8)
U, V = RNG.uniform(0.1, 0.9, 5), RNG.uniform(0.5, 1.5, 5)
W = RNG.uniform(0.5, 1.5, 4)
A = RNG.uniform(0.5, 1.5, (4, 5))


def attraction(u, v):
    """What a body does to every other one, as arrays of all pairs."""
    dx, dy = u - u[:, None], v - v[:, None]
    d2 = dx * dx + dy * dy + 0.1
    f = v / (d2 * np.sqrt(d2))
    return u + np.sum(f * dx, axis=1), v + np.sum(f * dy, axis=1)


def both_ways(u, v):
    """Every action adds to a reaction."""
    f = 1.0 / (1.0 + (u - v[:, None]) ** 2)
    return np.sum(f * u, axis=0), np.sum(f, axis=1), np.sum(f * f)


def vectors(u, v):
    e = np.exp(u) / v
    return e * u, e * v, np.sum(e)


def of_other_lengths(u, w):
    """Along axes whose lengths are known to be the same where all of it runs."""
    f = u / (1.0 + w[:, None] * u)
    g = np.zeros((len(w), len(u)))
    g[:, :] = f * f
    return np.sum(f, axis=1) * w, g


def over_blocks(a, w):
    """Two axes are summed over, one is left."""
    f = a[None, :, :] / (w[:, None, None] + a[None, :, :])
    return np.sum(f * a[None, :, :], axis=(1, 2)), np.sum(f, axis=(1, 2))


def in_time(u, v):
    for _ in range(3):
        f = u / (1.0 + v * v[:, None])
        u = u + 0.1 * np.sum(f, axis=1)
        v = v + 0.1 * np.sum(f * f, axis=1)
    return u, v


def changed_between(u, v):
    """What a loop reads is something else before the next one."""
    w = u * 1.0
    f = w / (1.0 + v * v[:, None])
    a = np.sum(f * w, axis=1)
    w[:] = v
    b = np.sum(f * w, axis=1)
    return a, b


def changed_after(u, v):
    """What it was computed from is something else later: that may come last."""
    w = u * 1.0
    f = w / (1.0 + v * v[:, None])
    a = np.sum(f * u, axis=1)
    w[:] = v
    b = np.sum(f * v, axis=1)
    return a, b, w


def shares(u, v):
    """A loop that needs what another one found."""
    e = np.exp(u) / v
    return e / np.sum(e)


def shared_by_row(u, v):
    f = u / (1.0 + v * v[:, None])
    s = np.sum(f, axis=1)
    return np.sum(f * s[:, None], axis=1)


def from_the_other_side(u, v):
    f = u / (1.0 + v * v[:, None])
    return np.sum(f, axis=1), np.sum(f.T * f, axis=1)


def added_to_the_same(u, v):
    """Both loops add to one array, one after the other."""
    f = u / (1.0 + v * v)
    a = v * 1.0
    a += f
    a += f * f
    return a


def of_parts(u, v):
    """A loop runs over a part."""
    f = u / (1.0 + v * v)
    g = np.zeros(len(u))
    for i in range(1, len(u)):
        g[i] = f[i] * v[i]
    return g, f * u


def of_the_first(u, v):
    """Under the same indices, but not all of them."""
    f = u / (1.0 + v * v)
    return f[:3] * v[:3], f * u


def checked_between(u, v):
    """A length that is only then found to fit."""
    f = np.exp(u) / (1.0 + u)
    a = f * f
    b = f * v
    return a, b


JOINED = [attraction, both_ways, vectors, of_other_lengths, over_blocks, in_time, changed_after, checked_between]
APART = [changed_between, shares, shared_by_row, from_the_other_side, added_to_the_same, of_parts, of_the_first]


def arguments(fn):
    return {of_other_lengths: (U, W), over_blocks: (A, W)}.get(fn, (U, V))


@pytest.mark.parametrize("fn", [*JOINED, *APART], ids=lambda f: f.__name__)
def test_values_and_derivatives(fn):
    derived, _ = assert_same_function(fn, fn, arguments(fn))
    for ours, plain in zip(*(derived.run_primal(derived.primal(level), derived.leaves) for level in (1, 0)), strict=True):
        np.testing.assert_array_equal(ours, plain)


def body_of(fn, args=None):
    return prepared(Derived(fn, args or arguments(fn)).entry, 1)


def read(body):
    """The arrays of its own that a function reads, but for what it sums up in."""
    return {x.base.name.split(".")[0] for x in walk(body) if isinstance(x, Load) and x.base.role == "local"} - {"sum"}


@pytest.mark.parametrize(("fn", "kept"), [
    *((fn, set()) for fn in JOINED), (changed_between, {"f", "w"}), (shares, {"e"}), (shared_by_row, {"f"}),
    (from_the_other_side, {"f"}), (added_to_the_same, {"f"}), (of_parts, {"f"}),
    (of_the_first, {"f"}),
], ids=lambda x: getattr(x, "__name__", ""))  # fmt: skip
def test_what_stays(fn, kept):
    assert read(body_of(fn)) - ({"w"} if fn is changed_after else set()) == kept


def test_sums_of_all_pairs_are_those_of_rows():
    """One loop over the rows and one along them, which computes a pair once, stores nothing, and adds up two sums."""
    body = body_of(attraction)
    (rows,) = (s for s in body if isinstance(s, For))
    (along,) = (s for s in rows.body if isinstance(s, Each))
    assert len(along.axes) == 1
    assert len(along.sums) == 2
    assert not along.stores
    assert all(s.base.rank == 1 for s in walk(body) if isinstance(s, Alloc))
    derivative = Derived(attraction, (U, V)).vjp(1).fn
    assert all(b.rank == 1 for s in walk(derivative.body) if isinstance(s, (Alloc, Load)) for b in [s.base])


def quotient(a, w):
    return np.sum(a / w[:, None], axis=1)


def quotient_of_columns(a, w):
    return np.sum(a / w[:, None], axis=0)


def by_loops(a, w):
    s, t = np.zeros(len(w)), np.zeros(len(w))
    for i in range(len(w)):
        for j in range(a.shape[1]):
            q = a[i, j] / w[i]
            s[i] += q
            t[i] += q * q
    return s, t


def by_more_loops(a, w):
    """Where the cell's place is not the loops' order, and some cells are not reached."""
    s = np.zeros((a.shape[1], len(w)))
    for i in range(1, len(w)):
        for j in range(i):
            for k in range(len(w)):
                s[j, i] += a[i, j] / (w[k] + a[k, j])
    return s


def on_top(a, w):
    """What it adds to is not zero."""
    out = w * 1.0
    for i in range(len(w)):
        for j in range(a.shape[1]):
            out[i] += 1.0 / a[i, j]
    return out


def added_twice(a, w):
    out = np.zeros(len(w))
    for i in range(len(w)):
        for j in range(a.shape[1]):
            out[i] += a[i, j] / w[i]
        for j in range(a.shape[1]):
            out[i] += w[i] / a[i, j]
    return out


def again_and_again(a, w):
    """Every cell is added to in every iteration."""
    out = np.zeros(len(w))
    for _ in range(2):
        for i in range(len(w)):
            for j in range(a.shape[1]):
                out[i] += a[i, j] / w[i]
    return out


def reaches_others(a, w):
    """What is added to is some other cell."""
    out = np.zeros(len(w))
    for i in range(len(w)):
        for j in range(a.shape[1]):
            out[i // 2] += a[i, j] / w[i]
    return out


def from_the_end(a, w):
    """Two iterations may mean one cell."""
    out = np.zeros(len(w))
    for i in range(-len(w), len(w)):
        for j in range(a.shape[1]):
            out[i] += a[i, j] / w[j % 4]
    return out


def products(a, w):
    """A product of a matrix and a vector is left as it is."""
    return np.sum(a * w[:, None], axis=1)


def empty(a, w):
    return np.sum(a[:, 5:] / w[:, None], axis=1), np.sum(a[4:] / w[0], axis=1)


SUMS = {
    quotient: 1, quotient_of_columns: 0, by_loops: 1, by_more_loops: 1, on_top: 0, added_twice: 0, again_and_again: 0,
    reaches_others: 0, from_the_end: 0, products: 0, empty: 2,
}  # fmt: skip


@pytest.mark.parametrize("fn", SUMS, ids=lambda f: f.__name__)
def test_rows(fn):
    derived, _ = assert_same_function(fn, fn, (A, W))
    for ours, plain in zip(*(derived.run_primal(derived.primal(level), derived.leaves) for level in (1, 0)), strict=True):
        np.testing.assert_array_equal(ours, plain)
    assert sum(isinstance(s, Each) and bool(s.sums) for s in walk(body_of(fn, (A, W)))) == SUMS[fn]


# ------------------------------------------------------------------------------------------------ analyses that claim too much
def nothing_must_run_between(m):
    m.setattr(joining, "_in_order", lambda first, second: False)


def what_comes_between_comes_before(m):
    m.setattr(joining, "_arranged", lambda block, places: (
        [s for k, s in enumerate(block[: places[-1]]) if k not in places], list(block[places[-1] + 1 :])
    ))  # fmt: skip


def memory_is_never_the_same(m):
    m.setattr(joining, "_meet", lambda one, two: set())


def lengths_are_the_same(m):
    class Same(dict):
        def get(self, key, default=None):
            return None

    m.setattr(joining, "_equal", lambda block: Same())


def indices_are_the_same(m):
    real = joining.reads_simply

    def simply(s, base):
        return real(s, base) and not m.setattr(joining, "tuple", lambda index: Anything(index), raising=False)

    m.setattr(joining, "reads_simply", simply)


class Anything(tuple):
    """An index that is no other than any."""

    def __ne__(self, other):
        return False

    __hash__ = tuple.__hash__


def memory_holds_zeros(m):
    real = rowsums._within

    def within(s, around, zeros, names):
        return real(s, around, {*zeros, *(x.base for x in walk(s.body) if isinstance(x, Store))}, names)

    m.setattr(rowsums, "_within", within)


def nothing_else_touches_it(m):
    m.setattr(rowsums, "_touched_once", lambda s, base: True)


def cells_are_an_iterations_own(m):
    m.setattr(rowsums, "_own", lambda st, index: True)


@pytest.mark.parametrize("mutant", [
    nothing_must_run_between, what_comes_between_comes_before, memory_is_never_the_same, lengths_are_the_same,
    indices_are_the_same, memory_holds_zeros, nothing_else_touches_it, cells_are_an_iterations_own,
], ids=lambda m: m.__name__)  # fmt: skip
def test_mutated(mutant, monkeypatch):
    """Some program does not come out as it should, or not at all."""
    for fn in [*JOINED, *APART, *SUMS]:
        args = (A, W) if fn in SUMS else arguments(fn)
        expected = Derived(fn, args).expected
        with monkeypatch.context() as m:
            mutant(m)
            derived = Derived(fn, args)
            try:
                for ours, plain in zip(derived.run_primal(derived.primal(1), derived.leaves), expected, strict=True):
                    np.testing.assert_allclose(ours, plain, rtol=1e-13)
            except (AssertionError, IndexError, KeyError, ValueError):
                return
    pytest.fail("no program notices")
