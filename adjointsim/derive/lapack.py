"""LAPACK's factorisations and solutions of one system, dense and banded, callable from compiled code and from Python.

SciPy ships LAPACK; its functions are called by symbols of our own, so that code on the disk does not depend on addresses.
What is written here is compiled by Numba where compiled code calls it, and runs as it is anywhere else.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import njit, types
from numba.extending import get_cython_function_address, overload

__all__ = ["dgbtrf", "dgbtrs", "dgetrf", "dgetrs", "in_double", "remember", "remembered"]

_INT, _REAL = types.CPointer(types.int32), types.CPointer(types.float64)


def _external(name: str, *kinds: Any) -> Any:
    """A function of LAPACK's under a symbol that generated code may refer to."""
    llvm.add_symbol(f"adjointsim_{name}", get_cython_function_address("scipy.linalg.cython_lapack", name))
    return types.ExternalFunction(f"adjointsim_{name}", types.void(*kinds))


_LETTER = types.CPointer(types.uint8)
_dgetrf = _external("dgetrf", _INT, _INT, _REAL, _INT, _INT, _INT)
_dgetrs = _external("dgetrs", _LETTER, _INT, _INT, _REAL, _INT, _INT, _REAL, _INT, _INT)
_dgbtrf = _external("dgbtrf", _INT, _INT, _INT, _INT, _REAL, _INT, _INT, _INT)
_dgbtrs = _external("dgbtrs", _LETTER, _INT, _INT, _INT, _INT, _REAL, _INT, _INT, _REAL, _INT, _INT)


#: systems up to this size are solved by loops: a call of LAPACK costs more than their arithmetic
SMALL = 12

#: bands of up to this many diagonals besides the main one are, too
NARROW = 8


@njit(error_model="numpy")
def dgetrf(n, lu, pivots):
    """Factorise in place a matrix that is stored by columns in the first n rows (``lu[j, i]`` is A[i, j]); LAPACK's info."""
    if n > SMALL:
        sizes = np.zeros(2, np.int32)
        sizes[0] = n
        _dgetrf(sizes.ctypes, sizes.ctypes, lu.ctypes, sizes.ctypes, pivots.ctypes, sizes[1:].ctypes)
        return sizes[1]
    info = np.int32(0)  # Gaussian elimination with partial pivoting
    for k in range(n):
        p = k
        for i in range(k + 1, n):
            if abs(lu[k, i]) > abs(lu[k, p]):
                p = i
        pivots[k] = p + 1
        if p != k:
            for j in range(n):
                lu[j, k], lu[j, p] = lu[j, p], lu[j, k]
        if lu[k, k] == 0.0:
            info = np.int32(k + 1) if info == 0 else info
            continue
        for i in range(k + 1, n):
            lu[k, i] /= lu[k, k]
        for j in range(k + 1, n):
            for i in range(k + 1, n):
                lu[j, i] -= lu[k, i] * lu[j, k]
    return info


@njit(error_model="numpy")
def dgetrs(transposed, lu, pivots, x):
    """Solve in place with what :func:`dgetrf` left, or with the transposed matrix."""
    n = len(x)
    if n > SMALL:
        sizes, letter = np.zeros(3, np.int32), np.zeros(1, np.uint8)
        sizes[0], sizes[1], letter[0] = n, 1, 84 if transposed else 78  # T, N
        _dgetrs(
            letter.ctypes, sizes.ctypes, sizes[1:].ctypes, lu.ctypes, sizes.ctypes, pivots.ctypes, x.ctypes, sizes.ctypes,
            sizes[2:].ctypes,
        )  # fmt: skip
    elif transposed:
        for k in range(n):
            for m in range(k):
                x[k] -= lu[k, m] * x[m]
            x[k] /= lu[k, k]
        for k in range(n - 1, -1, -1):
            for m in range(k + 1, n):
                x[k] -= lu[k, m] * x[m]
        for k in range(n - 1, -1, -1):
            p = pivots[k] - 1
            x[k], x[p] = x[p], x[k]
    else:
        for k in range(n):
            p = pivots[k] - 1
            x[k], x[p] = x[p], x[k]
        for k in range(n):
            for m in range(k + 1, n):
                x[m] -= lu[k, m] * x[k]
        for k in range(n - 1, -1, -1):
            x[k] /= lu[k, k]
            for m in range(k):
                x[m] -= lu[k, m] * x[k]


@njit(error_model="numpy")
def dgbtrf(lower, upper, lu, pivots):
    """Factorise in place a banded matrix, ``lu[j, lower + upper + i - j]`` being A[i, j]; returns LAPACK's info.

    What pivoting brings, in the first ``lower`` numbers of a column, is 0 before."""
    if lower + upper <= NARROW:
        return _narrow_factors(lower, lower + upper, lu, pivots)
    sizes = np.zeros(5, np.int32)
    sizes[0], sizes[1], sizes[2], sizes[3] = len(lu), lower, upper, lu.shape[1]
    n, kl, ku, rows, info = sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, sizes[3:].ctypes, sizes[4:].ctypes
    _dgbtrf(n, n, kl, ku, lu.ctypes, rows, pivots.ctypes, info)
    return sizes[4]


@njit(error_model="numpy")
def dgbtrs(transposed, lower, upper, lu, pivots, x):
    """Solve in place with what :func:`dgbtrf` left, or with the transposed matrix."""
    if lower + upper <= NARROW:
        return _narrow_solution(transposed, lower, lower + upper, lu, pivots, x)
    sizes, letter = np.zeros(6, np.int32), np.zeros(1, np.uint8)
    sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], letter[0] = len(x), lower, upper, lu.shape[1], 1, 84 if transposed else 78
    n, kl, ku, rows, one, info = (
        sizes.ctypes, sizes[1:].ctypes, sizes[2:].ctypes, sizes[3:].ctypes, sizes[4:].ctypes, sizes[5:].ctypes,
    )  # fmt: skip
    _dgbtrs(letter.ctypes, n, kl, ku, one, lu.ctypes, rows, pivots.ctypes, x.ctypes, n, info)


@njit(error_model="numpy")
def _narrow_factors(lower, d, lu, pivots):
    """Gaussian elimination with partial pivoting; place d of a column is the diagonal."""
    n = len(lu)
    info = np.int32(0)
    last = 0  # the last column in which a row so far has numbers
    for k in range(n):
        below = min(lower, n - 1 - k)
        p = 0
        for m in range(1, below + 1):
            if abs(lu[k, d + m]) > abs(lu[k, d + p]):
                p = m
        pivots[k] = k + p + 1
        pivot = lu[k, d + p]
        if pivot == 0.0:
            info = np.int32(k + 1) if info == 0 else info
            continue
        last = max(last, min(k + d - lower + p, n - 1))
        if p:
            for j in range(k, last + 1):
                at = d + k - j
                lu[j, at], lu[j, at + p] = lu[j, at + p], lu[j, at]
        for m in range(1, below + 1):
            lu[k, d + m] /= pivot
        for j in range(k + 1, last + 1):
            at = d + k - j
            for m in range(1, below + 1):
                lu[j, at + m] -= lu[k, d + m] * lu[j, at]
    return info


@njit(error_model="numpy")
def _narrow_solution(transposed, lower, d, lu, pivots, x):
    n = len(x)
    if transposed:
        for k in range(n):
            total = x[k]
            for j in range(max(0, k - d), k):
                total -= lu[k, d + j - k] * x[j]
            x[k] = total / lu[k, d]
        for k in range(n - 1, -1, -1):
            total = x[k]
            for m in range(1, min(lower, n - 1 - k) + 1):
                total -= lu[k, d + m] * x[k + m]
            p = pivots[k] - 1
            x[k] = x[p]
            x[p] = total
    else:
        for k in range(n):
            p = pivots[k] - 1
            value = x[p]
            x[p] = x[k]
            x[k] = value
            for m in range(1, min(lower, n - 1 - k) + 1):
                x[k + m] -= lu[k, d + m] * value
        for k in range(n - 1, -1, -1):
            value = x[k] / lu[k, d]
            x[k] = value
            for j in range(max(0, k - d), k):
                x[j] -= lu[k, d + j - k] * value


def in_double(x):
    """The array, or one of its length for numbers of double precision."""
    return x if x.dtype == np.float64 else np.empty(len(x))


@overload(in_double, inline="always")
def _compiled_in_double(x):
    if x.dtype == types.float64:
        return lambda x: x
    return lambda x: np.empty(len(x))


# ------------------------------------------------------------------------------------------------- a word to who called it
_said = threading.local()


def remembered() -> tuple[int, float, np.ndarray]:
    """What code that this thread ran last gave to :func:`remember`."""
    return getattr(_said, "it", (0, float("nan"), np.zeros(0)))


def remember(code, number, numbers):
    """Keep, for the thread that runs this, why it is going to give up; returns ``code``."""
    _said.it = int(code), float(number), np.array(numbers)
    return code


@ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_int64)
def _keep(code: int, number: float, numbers: Any, count: int) -> None:
    remember(code, number, [numbers[k] for k in range(count)])


llvm.add_symbol("adjointsim_remember", ctypes.cast(_keep, ctypes.c_void_p).value)
_remember = types.ExternalFunction("adjointsim_remember", types.void(types.int64, types.float64, _REAL, types.int64))


@overload(remember)
def _compiled_remember(code, number, numbers):
    def remember(code, number, numbers):
        given = numbers.copy()
        _remember(code, number, given.ctypes, len(given))
        return code

    return remember
