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
does not depend on how rows and columns are scaled.  Where a pivot of a band is below 10^-4 of its column, rows are scaled, and
a known solution must come out to six digits; else it is taken for singular, too.
"""

from __future__ import annotations

import numpy as np

from .lapack import factorise, factorise_bands, solve, solve_bands
from .registry import CustomFunction, Kinds
from .spec import ArraySpec, Spec

__all__ = ["banded_factor", "banded_solve", "lu_factor", "lu_solve", "reals"]


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
def _lu_factor(a, factors):
    if not factorise(a, factors):
        raise ValueError("the matrix is singular to working precision")


def _lu_solve(a, factors, b, transposed, x):
    solve(factors, b, transposed != 0, x)


lu_factor = CustomFunction(_lu_factor, lambda a: (a.shape[0] + 1, a.shape[0]), _factors, fills=True)
lu_solve = CustomFunction(_lu_solve, lambda a, factors, b, transposed: b.shape, _like_right_side, fills=True)


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
    _banded_factor, lambda bands, lower: (bands.shape[1], bands.shape[0] + lower + 2), _factors, fills=True
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
