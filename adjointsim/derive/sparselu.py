"""Sparse matrices factorised once, solved with many times: the primitives of :mod:`.factored` for any pattern.

    factors = sparse_factor(values, first, rows)
    x = sparse_solve(values, factors, b, first, rows, 0)

Column j of the matrix has the numbers ``values[first[j] : first[j + 1]]`` in the rows ``rows[first[j] : first[j + 1]]``.  As in
:mod:`.factored` derivatives go through ``values``, a last argument of 1 is for the transposed system, numbers are float64 or
float32 and factorised in float64, and a matrix that is singular to working precision, or not finite, raises a ValueError.

SuperLU factorises (X. Li, "An overview of SuperLU: algorithms, implementation, and user interface", ACM TOMS 31, 2005), by
columns in their order: :func:`elimination_order` gives one that leaves few numbers.  A pivot is on the diagonal unless it is
smaller than a tenth of the largest number of its column.

``factors`` are a digest of the matrix and the bits of its values; the objects that SuperLU makes of them are kept aside, the
latest few of a process, and made again from the bits where one is gone.  SuperLU gives the same bits for the same matrix, so
that a solution is a function of the arguments alone, in any thread, and nothing has to be released.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from .factored import reals
from .lapack import NOISE, doubles, in_double
from .pycall import called_from_compiled
from .registry import CustomFunction, Kinds
from .spec import ArraySpec, Spec

if TYPE_CHECKING:
    from scipy import sparse  # else in the functions: it takes its time to import, and few need it

__all__ = ["elimination_order", "factorise_sparse", "solve_sparse", "sparse_factor", "sparse_solve"]

#: a pivot off the diagonal is taken where it is this many times as large
_PREFERENCE = 10.0

#: integers before the bits of the values
_DIGEST = 2


# ------------------------------------------------------------------------------------------------------------------- SuperLU
def _lu(matrix: sparse.csc_matrix, order: str) -> Any:
    from scipy.sparse.linalg import splu

    options = {"SymmetricMode": True, "Equil": False}
    return splu(matrix, permc_spec=order, diag_pivot_thresh=1.0 / _PREFERENCE, options=options)


def elimination_order(matrix: sparse.csc_matrix) -> tuple[np.ndarray, float, float]:
    """An order of rows and columns in which a matrix with such a pattern, and with a nonzero diagonal, has sparse factors, by
    the minimum degrees of A + A^T; and how many numbers these have and how many multiplications they take, if pivots are on the
    diagonal."""
    from scipy import sparse

    n = matrix.shape[0]
    strong = sparse.csc_matrix(matrix != 0, dtype=np.float64)
    strong = sparse.csc_matrix(strong + sparse.diags(np.asarray(abs(strong).sum(axis=0)).ravel()))
    found = _lu(strong, "MMD_AT_PLUS_A")
    below, right = np.diff(found.L.indptr), np.bincount(found.U.indices, minlength=n)
    return np.argsort(found.perm_c), float(below.sum() + right.sum()), float(below @ right)


def _is_regular(lu: Any) -> bool:
    """Whether no pivot is what rounding left of a sum that cancels."""
    upper = lu.U
    pivots = np.abs(upper.diagonal())
    columns = np.add.reduceat(np.abs(upper.data), upper.indptr[:-1])
    if np.all(pivots > NOISE * _PREFERENCE * columns):  # numbers of L are at most that large
        return True
    terms = lu.L.tocsr().multiply(upper.T)  # of pivot k: row k of L times column k of U
    return bool(np.all(pivots > NOISE * (abs(terms) @ np.ones(len(pivots)))))  # not if NaN


def _factorised(values: np.ndarray, first: np.ndarray, rows: np.ndarray) -> Any:
    """What SuperLU makes of a matrix; None if it is singular."""
    from scipy import sparse

    n = len(first) - 1
    ends = first[0] == 0 and first[-1] == len(rows) and np.all(first[1:] >= first[:-1])
    if not (ends and np.all((rows >= 0) & (rows < n))):
        raise ValueError("the pattern of a sparse matrix has columns that overlap or rows that do not exist")
    if not np.all(np.isfinite(values)):
        return None
    index = first.astype(np.intc), rows.astype(np.intc)
    try:
        lu = _lu(sparse.csc_matrix((values.copy(), index[1], index[0]), shape=(n, n)), "NATURAL")
    except RuntimeError:  # a pivot is 0
        return None
    return lu if _is_regular(lu) else None


class _Kept:
    """The latest objects of SuperLU's, by the digests of their matrices."""

    #: at most so many, and no more numbers than this in all (of 24 bytes, with the copies with which pivots are tested)
    MOST, ROOM = 16, 1 << 22

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: OrderedDict[bytes, Any] = OrderedDict()

    def get(self, digest: bytes) -> Any:
        """The object; None if it is gone."""
        with self.lock:
            if digest in self.found:
                self.found.move_to_end(digest)
            return self.found.get(digest)

    def put(self, digest: bytes, lu: Any) -> None:
        """Keep one, in place of the oldest ones."""
        with self.lock:
            self.found[digest] = lu
            while len(self.found) > 1 and (len(self.found) > self.MOST or sum(k.nnz for k in self.found.values()) > self.ROOM):
                self.found.popitem(last=False)


_kept = _Kept()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _kept
    _kept = _Kept()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ------------------------------------------------------------------------------------------------------- from compiled code
def _memory(address: int, count: int, dtype: Any) -> np.ndarray:
    return np.frombuffer((ctypes.c_char * (8 * count)).from_address(address), dtype)


def _made(n: int, count: int, factors: int, first: int, rows: int) -> tuple[bytes, Any]:
    """The digest of a matrix whose bits are in ``factors``, and what SuperLU makes of it."""
    values = _memory(factors + 8 * _DIGEST, count, np.float64)
    pattern = _memory(first, n + 1, np.int64), _memory(rows, count, np.int64)
    digest = hashlib.blake2b(digest_size=8 * _DIGEST)
    for part in (np.array([n, count]), *pattern, values):
        digest.update(part)
    key = digest.digest()
    lu = _kept.get(key)
    if lu is None and (lu := _factorised(values, *pattern)) is not None:
        _kept.put(key, lu)
    return key, lu


def _sparse_factorise(n: int, count: int, factors: int, first: int, rows: int, regular: int) -> None:
    """Write the digest before the bits, and whether the matrix is regular."""
    key, lu = _made(n, count, factors, first, rows)
    _memory(factors, _DIGEST, np.int64)[:] = np.frombuffer(key, np.int64)
    _memory(regular, 1, np.int64)[0] = lu is not None


def _sparse_solve_in_place(n: int, count: int, factors: int, first: int, rows: int, transposed: int, x: int) -> None:
    lu = _kept.get(_memory(factors, _DIGEST, np.int64).tobytes())
    if lu is None:
        lu = _made(n, count, factors, first, rows)[1]
    if lu is None:
        raise ValueError("what is solved with are not the factors of a regular sparse matrix")
    right = _memory(x, n, np.float64)
    right[:] = lu.solve(right, "T" if transposed else "N")


_factorise = called_from_compiled(_sparse_factorise)
_solve = called_from_compiled(_sparse_solve_in_place)


@njit(error_model="numpy")
def factorise_sparse(values, first, rows, factors):
    """Write the factors: a digest, and the bits of the values.  Whether the matrix is regular."""
    n = len(first) - 1
    if n < 0 or len(values) != len(rows):
        raise ValueError("a sparse matrix needs a row for each number, and where the rows of columns begin and end")
    bits = doubles(factors)
    for k in range(len(values)):
        bits[_DIGEST + k] = values[k]
    if n == 0 or len(values) == 0:
        return n == 0
    regular = np.zeros(1, np.int64)
    _factorise((n, len(values), factors, first, rows, regular))
    return regular[0] != 0


@njit(error_model="numpy")
def solve_sparse(factors, b, first, rows, transposed, x):
    """Write the solution for factors of a regular matrix."""
    n = len(b)
    if n != len(first) - 1:
        raise ValueError("the right side of a system must be as long as its matrix")
    if len(factors) != len(rows) + _DIGEST:
        raise ValueError("factors of a sparse matrix belong to one with as many nonzeros")
    work = in_double(x)
    for k in range(n):
        work[k] = b[k]
    if n:
        _solve((n, len(rows), factors, first, rows, transposed, work))
    for k in range(n):
        x[k] = work[k]


# ---------------------------------------------------------------------------------------------------------------- primitives
def _sparse_factor(values, first, rows, factors):
    if not factorise_sparse(values, first, rows, factors):
        raise ValueError("the sparse matrix is singular to working precision")


def _sparse_solve(values, factors, b, first, rows, transposed, x):
    solve_sparse(factors, b, first, rows, transposed != 0, x)


def _pattern(kinds: Kinds) -> None:
    if any(kind != ("i8", 1) for kind in kinds):
        raise TypeError("a pattern must be two 1-d arrays of int64")


def _factors(kinds: Kinds) -> Spec:
    reals(kinds, 1)
    _pattern(kinds[1:])
    return ArraySpec("i8", 1)


def _like_right_side(kinds: Kinds) -> Spec:
    reals(kinds, 1)
    reals(kinds[2:], 1)
    _pattern(kinds[3:5])
    if kinds[0][0] != kinds[2][0]:
        raise TypeError("a matrix and a right side must have one dtype")
    return ArraySpec(kinds[2][0], 1)


sparse_factor = CustomFunction(_sparse_factor, lambda values, first, rows: (values.shape[0] + 2,), _factors, fills=True)
sparse_solve = CustomFunction(
    _sparse_solve, lambda values, factors, b, first, rows, transposed: b.shape, _like_right_side, fills=True
)  # fmt: skip


@sparse_solve.defvjp
def sparse_solve_vjp(x, x_bar, values, factors, b, first, rows, transposed):
    w = sparse_solve(values, factors, x_bar, first, rows, 1 - transposed)
    values_bar = np.zeros_like(values)
    for j in range(len(x)):
        for m in range(first[j], first[j + 1]):
            if transposed == 0:
                values_bar[m] = -w[rows[m]] * x[j]
            else:
                values_bar[m] = -x[rows[m]] * w[j]
    return values_bar, None, w, None, None, None


@sparse_solve.defjvp
def sparse_solve_jvp(x, args, args_dot):
    values, factors, b, first, rows, transposed = args
    values_dot, _, b_dot, _, _, _ = args_dot
    right = np.zeros_like(b)
    for i in range(len(b)):
        right[i] = b_dot[i]
    for j in range(len(x)):
        for m in range(first[j], first[j + 1]):
            if transposed == 0:
                right[rows[m]] -= values_dot[m] * x[j]
            else:
                right[j] -= values_dot[m] * x[rows[m]]
    return sparse_solve(values, factors, right, first, rows, transposed)
