"""Factorised once, solved several times: against ``np.linalg.solve``, which factorises every time."""

from __future__ import annotations

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.derive.factored import banded_factor, banded_solve, lu_factor, lu_solve
from adjointsim.derive.ir import Call, walk
from adjointsim.errors import UnsupportedError

from .harness import Derived, assert_close, assert_same_function, functions

RNG = np.random.default_rng(5)
A = RNG.standard_normal((4, 4)) + 3.0 * np.eye(4)
B = RNG.standard_normal(4)
BANDS = RNG.standard_normal((4, 6))
BANDS[1] += 4.0
RIGHT = RNG.standard_normal(6)


def stages(a, b):
    """As a Rosenbrock method has them; the matrix is overwritten afterwards, and one system is transposed."""
    factors = lu_factor(a)
    x = lu_solve(a, factors, b, 0)
    for _ in range(2):
        x = lu_solve(a, factors, np.sin(x) + b, 0) + 0.1 * x
    y = lu_solve(a, factors, x * b, 1)
    a[:] = y[0]
    return y, a


def stages_plainly(a, b):
    x = np.linalg.solve(a, b)
    for _ in range(2):
        x = np.linalg.solve(a, np.sin(x) + b) + 0.1 * x
    y = np.linalg.solve(a.T, x * b)
    a[:] = y[0]
    return y, a


def banded(bands, b):
    factors = banded_factor(bands, 2)
    x = banded_solve(bands, factors, b, 2, 0)
    x = banded_solve(bands, factors, np.sin(x) + b, 2, 0)
    return banded_solve(bands, factors, x * b, 2, 1)


def banded_plainly(bands, b):
    n = len(b)
    a = np.zeros((n, n))
    for j in range(n):
        for i in range(max(0, j - 1), min(n, j + 3)):
            a[i, j] = bands[1 + i - j, j]
    x = np.linalg.solve(a, b)
    x = np.linalg.solve(a, np.sin(x) + b)
    return np.linalg.solve(a.T, x * b)


@pytest.mark.parametrize(
    ("fn", "plainly", "args"),
    [
        (stages, stages_plainly, (A, B)),
        (banded, banded_plainly, (BANDS, RIGHT)),
        (banded, banded_plainly, (BANDS[:, :2], RIGHT[:2])),
    ],
)
def test_all_verbs(fn, plainly, args):
    assert_same_function(fn, plainly, args)


def test_one_factorisation():
    """On the way back nothing is factorised again."""
    kernel = Derived(stages, (A, B)).second().kernel
    called = [s.fn for fn in functions(kernel).values() for s in walk(fn.body) if isinstance(s, Call)]
    assert sum("lu_factor" in name for name in called) == 1 and sum("lu_solve" in name for name in called) > 8


def test_compiled():
    for fn, plainly, args in ((stages, stages_plainly, (A, B)), (banded, banded_plainly, (BANDS, RIGHT))):
        (out, pullback), (same, back) = adj.vjp(fn, *args), adj.vjp(plainly, *args)
        assert_close(np.atleast_1d(out[0]), np.atleast_1d(same[0]))
        for a, b in zip(pullback(out), back(same), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_float32():
    a, b = A.astype(np.float32), B.astype(np.float32)
    f = lambda a, b: lu_solve(a, lu_factor(a), b, 0)  # noqa: E731
    out, pullback = adj.vjp(f, a, b)
    assert out.dtype == np.float32 and [x.dtype for x in pullback(b)] == [np.float32] * 2
    np.testing.assert_allclose(out, np.linalg.solve(A, B), rtol=1e-5)


def unfit(a, b):
    return np.sum(lu_solve(a, lu_factor(a), b, 0))


def unfit_bands(a, b):
    return np.sum(banded_solve(a, banded_factor(a, 1), b, 1, 0))


NOISY = np.array([[0.1, 0.3], [0.3, 0.9]])  # singular, and no pivot is 0


@pytest.mark.parametrize(
    ("f", "a", "b", "words"),
    [
        (unfit, np.zeros((2, 2)), B[:2], "the matrix is singular to working precision"),
        (unfit, NOISY, B[:2], "the matrix is singular to working precision"),
        (unfit, A * np.nan, B, "the matrix is singular to working precision"),
        (unfit, A[:3], B[:3], "must be square"),
        (unfit, A, B[:3], "right side of a system must be as long as its matrix"),
        (unfit_bands, np.zeros((3, 4)), B, "the banded matrix is singular"),
        (unfit_bands, BANDS[:1], RIGHT, "needs rows for all diagonals"),
        (unfit_bands, BANDS[:3], B, "right side of a system must be as long as its matrix"),
    ],
)
def test_what_cannot_be_solved(f, a, b, words):
    with pytest.raises(ValueError, match=words):
        adj.vjp(f, a, b)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (A.astype(complex), B, "complex"),
        (A.astype(int), B, "int64"),
        (A, B.astype(np.float32), "one dtype"),
        (A, A, "it takes 1-d arrays"),
    ],
)
def test_refused(a, b, words):
    with pytest.raises(UnsupportedError) as caught:
        adj.vjp(unfit, a, b)
    assert words in caught.value.msg


def test_scaling_is_not_singular():
    """Rows and columns of any size: as good as without."""
    rows, columns = 10.0 ** np.array([30, -40, 0, 12]), 10.0 ** np.array([-25, 18, 3, -60])
    x = adj.vjp(lambda a, b: lu_solve(a, lu_factor(a), b, 0), rows[:, None] * A * columns, rows * B)[0]
    np.testing.assert_allclose(x * columns, np.linalg.solve(A, B), rtol=1e-12)


def bands_of(a, lower, upper):
    """As ``scipy.linalg.solve_banded`` takes them."""
    n = len(a)
    out = np.zeros((lower + upper + 1, n))
    for j in range(n):
        for i in range(max(0, j - upper), min(n, j + lower + 1)):
            out[upper + i - j, j] = a[i, j]
    return out


def two_wide(bands, b):
    return banded_solve(bands, banded_factor(bands, 2), b, 2, 0)


def three_by_seven(bands, b):
    return banded_solve(bands, banded_factor(bands, 3), b, 3, 0)


@pytest.mark.parametrize(("f", "lower", "upper"), [(two_wide, 2, 1), (three_by_seven, 3, 7)], ids=["narrow", "LAPACK"])
def test_units_of_bands_are_not_singular(f, lower, upper):
    """Unknowns, equations or both in units that alternate by 10^18, or go from 10^-30 to 10^30; what is singular stays so."""
    n = 24
    a = np.triu(np.tril(RNG.standard_normal((n, n)), upper), -lower) + 8.0 * np.eye(n)
    b = RNG.standard_normal(n)
    singular = a.copy()
    for i in range(17 - lower, 17):
        singular[i, : 17 - lower] = singular[i, 18:] = 0.0
    singular[17] = 0.5 * singular[17 - lower] - singular[16]
    one, fields, steep = np.ones(n), 2.0 ** (60.0 * (np.arange(n) % 2)), 2.0 ** np.rint(np.linspace(-100.0, 100.0, n))
    for rows, columns in ((one, one), (1.0 / fields, fields), (fields, one), (one, fields), (steep, one), (one, steep)):
        x = adj.vjp(f, bands_of(rows[:, None] * a * columns, lower, upper), rows * b)[0]
        np.testing.assert_allclose(x * columns, np.linalg.solve(a, b), rtol=1e-9, atol=1e-10)
        with pytest.raises(ValueError, match="the banded matrix is singular"):
            adj.vjp(f, bands_of(rows[:, None] * singular * columns, lower, upper), rows * b)
