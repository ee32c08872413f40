"""Factorise once, solve many times: primitives of implicit methods, for use inside steps.

    factors = lu_factor(a)                       factors = banded_factor(bands, lower)
    x = lu_solve(a, factors, b, 0)               x = banded_solve(bands, factors, b, lower, 0)

The derivative with respect to the matrix goes through ``a`` (``bands``), which the solver takes for that alone; ``factors`` are
inert.  They are integers, in which the bits of the numbers and the pivots are kept: so no derivative of any order can see
them.  On the way back the same factors serve for the transposed system, and nothing is factorised again.

Matrices are real, float64 or float32, and right sides of the same dtype; the factors are float64 in any case.  Bands are as
in ``scipy.linalg.solve_banded``: ``bands[upper + i - j, j]`` is A[i, j], of ``lower + 1 + upper`` rows.  With a last argument
of 1 in place of 0 the transposed system is solved.

A matrix that is singular to working precision raises a ValueError: a pivot that is 0, or is what rounding left of a sum that
cancels: it is smaller than 16 units of rounding of the absolute values of the terms, which, unlike an estimate of the condition,
does not depend on how rows and columns are scaled.  Of a band it is smaller than 16 units of the largest number of its column:
rows whose units differ by 10^15 or more are taken for singular.
"""

from __future__ import annotations

import numpy as np

from .bits import bits, number
from .lapack import factorise_bands, getrf, getrs, solve_bands
from .registry import CustomFunction, Kinds
from .spec import ArraySpec, Spec

__all__ = ["banded_factor", "banded_solve", "factorise", "lu_factor", "lu_solve", "reals", "solve"]


def reals(kinds: Kinds, *ranks: int) -> None:
    """TypeError unless the arguments are numbers or real arrays of these ranks."""
    for (dt, rank), wanted in zip(kinds, ranks, strict=False):
        if rank != wanted or dt not in ("f8", "f4"):
            raise TypeError(f"an argument is a {rank}-d array of {np.dtype(dt)}, and it takes {wanted}-d arrays of floats")


def _factors(kinds: Kinds) -> Spec:
    reals(kinds, 2)
    return ArraySpec("i8", 2)


def _like_right_side(kinds: Kinds) -> Spec:
    reals(kinds, 2)
    reals(kinds[2:], 1)
    if kinds[0][0] != kinds[2][0]:
        raise TypeError("a matrix and a right side must have one dtype")
    return ArraySpec(kinds[2][0], 1)


# ------------------------------------------------------------------------------------------------------------ dense matrices
# Code like that of a step: it is built with what calls it.  (Functions that Numba compiles by themselves took as long to compile
# as all else of an integration.)  Up to 12 unknowns are solved by loops: a call of LAPACK costs more than their arithmetic.
# The numbers of a file of the library are written out, for what code names from outside is looked up at every run.
def factorise(a, factors):
    """Write the factors, (n + 1, n): the numbers by columns, then the pivots.  Whether the matrix is regular."""
    n = len(a)
    if a.shape[1] != n:
        raise ValueError("a matrix that is factorised must be square")
    lu = np.empty((n, n))  # lu[j, i] is A[i, j]
    for i in range(n):
        for j in range(n):
            lu[j, i] = a[i, j]
    if n > 12:
        factors[:] = getrf(lu)
        for j in range(n):
            for i in range(n):
                lu[j, i] = number(factors[j, i])
    else:
        for k in range(n):  # Gaussian elimination with partial pivoting
            p = k
            for i in range(k + 1, n):
                if abs(lu[k, i]) > abs(lu[k, p]):
                    p = i
            factors[n, k] = p
            if p != k:
                for j in range(n):
                    kept = lu[j, k]
                    lu[j, k] = lu[j, p]
                    lu[j, p] = kept
            if lu[k, k] != 0.0:
                for i in range(k + 1, n):
                    lu[k, i] /= lu[k, k]
                for j in range(k + 1, n):
                    for i in range(k + 1, n):
                        lu[j, i] -= lu[k, i] * lu[j, k]
        for j in range(n):
            for i in range(n):
                factors[j, i] = bits(lu[j, i])
    regular = True
    for k in range(n):  # of the terms of pivot k: row k of L times column k of U
        total = abs(lu[k, k])
        for m in range(k):
            total += abs(lu[m, k] * lu[k, m])
        regular = regular and abs(lu[k, k]) > 3.552713678800501e-15 * total  # 16 units of rounding; not if NaN
    return regular


def solve(factors, b, transposed, x):
    """Write the solution for factors of a regular matrix, or of the transposed one with 1."""
    n = len(b)
    if factors.shape[1] != n:
        raise ValueError("the right side of a system must be as long as its matrix")
    work = np.empty(n)
    for k in range(n):
        work[k] = b[k]
    if n > 12:
        work[:] = getrs(factors, work, transposed)
    elif transposed != 0:
        for k in range(n):
            for m in range(k):
                work[k] -= number(factors[k, m]) * work[m]
            work[k] /= number(factors[k, k])
        for k in range(n - 1, -1, -1):
            for m in range(k + 1, n):
                work[k] -= number(factors[k, m]) * work[m]
        for k in range(n - 1, -1, -1):
            p = factors[n, k]
            kept = work[k]
            work[k] = work[p]
            work[p] = kept
    else:
        for k in range(n):
            p = factors[n, k]
            kept = work[k]
            work[k] = work[p]
            work[p] = kept
        for k in range(n):
            for m in range(k + 1, n):
                work[m] -= number(factors[k, m]) * work[k]
        for k in range(n - 1, -1, -1):
            work[k] /= number(factors[k, k])
            for m in range(k):
                work[m] -= number(factors[k, m]) * work[k]
    for k in range(n):
        x[k] = work[k]


def _lu_factor(a, factors):
    if not factorise(a, factors):
        raise ValueError("the matrix is singular to working precision")


def _lu_solve(a, factors, b, transposed, x):
    solve(factors, b, transposed, x)


lu_factor = CustomFunction(_lu_factor, lambda a: (a.shape[0] + 1, a.shape[0]), _factors, fills=True, lowered=True)
lu_solve = CustomFunction(_lu_solve, lambda a, factors, b, transposed: b.shape, _like_right_side, fills=True, lowered=True)


@lu_solve.defvjp
def lu_solve_vjp(x, x_bar, a, factors, b, transposed):
    w = lu_solve(a, factors, x_bar, 1 - transposed)
    if transposed == 0:
        a_bar = -np.outer(w, x)
    else:
        a_bar = -np.outer(x, w)
    return a_bar, None, w, None


@lu_solve.defjvp
def lu_solve_jvp(x, args, args_dot):
    a, factors, b, transposed = args
    a_dot, _, b_dot, _ = args_dot
    if transposed == 0:
        change = a_dot @ x
    else:
        change = x @ a_dot
    return lu_solve(a, factors, b_dot - change, transposed)


# ----------------------------------------------------------------------------------------------------------- banded matrices
def _banded_factor(bands, lower, factors):
    if not factorise_bands(bands, lower, factors):
        raise ValueError("the banded matrix is singular to working precision")


def _banded_solve(bands, factors, b, lower, transposed, x):
    solve_bands(factors, b, lower, transposed != 0, x)


banded_factor = CustomFunction(
    _banded_factor, lambda bands, lower: (bands.shape[1], bands.shape[0] + lower + 1), _factors, fills=True
)
banded_solve = CustomFunction(
    _banded_solve, lambda bands, factors, b, lower, transposed: b.shape, _like_right_side, fills=True
)  # fmt: skip


@banded_solve.defvjp
def banded_solve_vjp(x, x_bar, bands, factors, b, lower, transposed):
    w = banded_solve(bands, factors, x_bar, lower, 1 - transposed)
    upper = bands.shape[0] - 1 - lower
    bands_bar = np.zeros_like(bands)
    n = len(x)
    for k in range(bands.shape[0]):  # along diagonals, which are contiguous: A[low + j, left + j]
        low, left = max(0, k - upper), max(0, upper - k)
        if low + left < n:
            if transposed == 0:
                bands_bar[k, left : n - low] = -w[low : n - left] * x[left : n - low]
            else:
                bands_bar[k, left : n - low] = -x[low : n - left] * w[left : n - low]
    return bands_bar, None, w, None, None


@banded_solve.defjvp
def banded_solve_jvp(x, args, args_dot):
    bands, factors, b, lower, transposed = args
    bands_dot, _, b_dot, _, _ = args_dot
    upper = bands.shape[0] - 1 - lower
    right = np.zeros_like(b)
    for i in range(len(b)):
        right[i] = b_dot[i]
    n = len(x)
    for k in range(bands.shape[0]):
        low, left = max(0, k - upper), max(0, upper - k)
        if low + left < n:
            if transposed == 0:
                right[low : n - left] -= bands_dot[k, left : n - low] * x[left : n - low]
            else:
                right[left : n - low] -= bands_dot[k, left : n - low] * x[low : n - left]
    return banded_solve(bands, factors, right, lower, transposed)
