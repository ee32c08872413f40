"""Rows with sums of their own: four of them side by side, or rows as the inner loop; the order of additions is the user's."""

from __future__ import annotations

import numpy as np
import pytest
from reference import reference_vjp

import adjointsim as adj
from adjointsim.derive.entry import lower_entry
from adjointsim.derive.ir import For, If, walk
from adjointsim.derive.kernel import primal_kernel
from adjointsim.derive.verify import verify
from adjointsim.leaves import spec_of


def product(w, x, b):
    """Rows that lie apart, two sums each, and something slow made of them."""
    out = np.empty(len(b))
    for i in range(len(b)):
        a = b[i]
        for k in range(3):
            a += w[i, k] * x[k]
        for j in range(len(x)):
            a += w[i, j] * x[j]
        out[i] = np.tanh(a) / (1.0 + a * a)
    return out


def plain_product(w, x, b):
    """Rows that lie apart."""
    out = np.empty(len(b))
    for i in range(len(b)):
        a, c = b[i], 0.0
        for j in range(len(x)):
            a += w[i, j] * x[j]
            c += a * 0.0 + x[j] * b[i]
        out[i] = a - c
    return out


def transposed(w, x, b):
    """Rows that are neighbours."""
    out = np.empty(len(b))
    for i in range(len(b)):
        a = b[i]
        for j in range(len(x)):
            a += w[j, i] * x[j]
        out[i] = a * a
    return out


def pairs(w, x, b):
    """Rows that are neighbours, terms that divide, several sums, and things that are known of a row before them."""
    out = np.empty(len(b))
    squares = np.zeros(len(b))
    for i in range(len(b)):
        s, t, here = 0.0, 1.0, 2.0 * b[i]
        for j in range(len(x)):
            d = x[j] - here
            f = 1.0 / (1.0 + d * d)
            s += f * d
            t -= np.sqrt(1.0 + f)
        out[i] = s * t + b[i]
        squares[i] = s * s
    return out + squares


def one_after_another(w, x, b):
    """The second sum starts from the first, and its terms need it."""
    out = np.empty(len(b))
    for i in range(len(b)):
        s = 0.0
        for j in range(len(x)):
            s += w[j, i]
        t = 0.5 * s
        for j in range(len(x)):
            t += s * w[j, i] * x[j]
        out[i] = t
    return out


def shifted(w, x, b):
    """Neighbours under shifted indices, from an index that is not 0."""
    out = np.zeros(len(b))
    for i in range(1, len(b) - 1):
        s = b[i - 1]
        for j in range(len(x)):
            s += b[i + 1] * x[j] / (2.0 + b[i] * x[j])
        out[i] = s
    return out


def backwards(w, x, b):
    """Not in ascending order: left as it is."""
    out = np.zeros(len(b))
    for i in range(len(b) - 1, -1, -1):
        s = 0.0
        for j in range(len(x)):
            s += w[j, i] * x[j]
        out[i] = s
    return out


def triangle(w, x, b):
    """Rows of different lengths."""
    out = np.zeros(len(b))
    for i in range(len(b)):
        s = 0.0
        for j in range(min(i, len(x))):
            s += w[j, i] * x[j]
        out[i] = s
    return out


def dependent(w, x, b):
    """A row reads what the row before it stored."""
    out = np.zeros(len(b) + 1)
    for i in range(len(b)):
        s = out[i]
        for j in range(len(x)):
            s += w[j, i] * x[j]
        out[i + 1] = s
    return out


def in_place(w, x, b):
    """A row overwrites what it has read, and nobody else reads."""
    out = b * 2.0
    for i in range(len(b)):
        s = out[i]
        for j in range(len(x)):
            s += w[j, i] * x[j]
        out[i] = s
    return out


def one_cell(w, x, b):
    """All rows set one cell."""
    out = np.zeros(1)
    for i in range(len(b)):
        s = b[i]
        for j in range(len(x)):
            s += w[j, i] * x[j]
        out[0] = s
    return out


SIDE_BY_SIDE, INNER, AS_IT_IS = "four rows side by side", "rows as the inner loop", "as it is"
PROGRAMS = {
    product: SIDE_BY_SIDE, plain_product: AS_IT_IS, transposed: INNER, pairs: INNER, one_after_another: INNER, shifted: INNER,
    backwards: AS_IT_IS, triangle: AS_IT_IS, dependent: AS_IT_IS, in_place: SIDE_BY_SIDE, one_cell: AS_IT_IS,
}  # fmt: skip


def arguments(rows, columns, dtype=np.float64):
    rng = np.random.default_rng(rows + columns)
    return tuple([
        rng.standard_normal((max(rows, columns, 3), max(rows, columns, 3))).astype(dtype),
        rng.standard_normal(max(columns, 3)).astype(dtype), rng.standard_normal(rows).astype(dtype),
    ])  # fmt: skip


@pytest.fixture(params=PROGRAMS, ids=lambda f: f.__name__)
def program(request):
    return request.param


def test_what_is_done(program):
    names = program.__code__.co_varnames
    specs = [(name, spec_of(a, name)) for name, a in zip(names, arguments(5, 4), strict=False)]
    fn = primal_kernel(lower_entry(program, specs)).fn
    verify(fn)
    side_by_side = any(len(s.carries) % 4 == 0 and s.carries for s in walk(fn.body) if isinstance(s, For))
    tests = [s for s in walk(fn.body) if isinstance(s, If) and s.orelse]
    inner = any(isinstance(s, For) and s.carries for test in tests for s in walk(test.orelse))
    assert (SIDE_BY_SIDE if side_by_side else INNER if inner else AS_IT_IS) == PROGRAMS[program]


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 7, 15, 16, 18, 300])
@pytest.mark.parametrize("columns", [3, 9])
def test_the_same_bits_as_row_by_row(program, rows, columns):
    args = arguments(rows, columns)
    before = [a.copy() for a in args]
    value, _ = adj.vjp(program, *args)
    expected = program(*args)
    if "tanh" in program.__code__.co_names:  # which is not NumPy's to the last bit
        np.testing.assert_allclose(value, expected, rtol=1e-14)
    else:
        np.testing.assert_array_equal(value, expected)
    assert all(np.array_equal(a, b) for a, b in zip(args, before, strict=True))


@pytest.mark.parametrize("rows", [0, 2, 5, 18])
def test_cotangents(program, rows):
    args = arguments(rows, 4)
    value, pull = adj.vjp(program, *args)
    bar = np.random.default_rng(3).standard_normal(value.shape)
    for ours, theirs in zip(pull(bar), reference_vjp(program, args, bar), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(theirs).max(initial=0.0)))


def test_single_precision(program):
    args = arguments(18, 5, np.float32)
    value, _ = adj.vjp(program, *args)
    np.testing.assert_allclose(value, program(*args), rtol=2e-5, atol=2e-5)
