"""Where the Jacobian of a right-hand side may be nonzero, and the order of unknowns in which systems are cheap.

The numbers of a state are renumbered by the reverse Cuthill-McKee algorithm (A. George, J. Liu, "Computer solution of large
sparse positive definite systems", 1981), so that LAPACK's factorisations of bands serve for sparse systems; or where that is
cheaper, by minimum degrees, for SuperLU.  Columns that have no row in common are found by one tangent (A. Curtis, M. Powell,
J. Reid, "On the estimation of sparse Jacobian matrices", 1974).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

from adjointsim.derive.sparselu import elimination_order
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.leaves import Leaves

__all__ = ["DETECT", "Pattern", "checked_sparsity", "detected"]

#: in place of a pattern
DETECT = "detect"


@dataclass(frozen=True, eq=False)
class Pattern:
    """Unknowns in this ``order`` (numbers of the state; ``back`` undoes it), and where their Jacobian may be nonzero: in
    ``band``, the numbers of diagonals below and above the main one, or None where no band is narrow.

    In that order, group g consists of the columns ``columns[groups[g] : groups[g + 1]]``, which have no row in common, and
    column j has entries in the rows ``rows[first[j] : first[j + 1]]``, that of the diagonal at ``diagonal[j]``.
    """

    order: np.ndarray
    back: np.ndarray
    band: tuple[int, int] | None
    groups: np.ndarray
    columns: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def of(cls, matrix: sparse.csc_matrix) -> Pattern | None:
        """The pattern of a square matrix with its diagonal, for the cheapest of the factorisations; None if that is dense."""
        n = matrix.shape[0]
        narrow, band = _narrowest(matrix)
        cost, dense = _banded_cost(n, *band), _dense_cost(n)
        order, best = narrow, band
        if min(cost, dense) > _CALLS and matrix.nnz < _FULL * n * n:
            other, fill, products = elimination_order(matrix)
            if _sparse_cost(fill, products) < cost:
                order, best, cost = other, None, _sparse_cost(fill, products)
        if dense <= cost:
            return None
        own = sparse.csc_matrix(matrix[order][:, order])
        own.sort_indices()
        group = min((_grouped(matrix, by) for by in (order, narrow, np.arange(n))), key=np.max)[order]
        columns = np.argsort(group, kind="stable")
        groups = np.searchsorted(group[columns], np.arange(group.max() + 2))
        diagonal = np.flatnonzero(own.indices == np.repeat(np.arange(n), np.diff(own.indptr)))
        whole = (np.ascontiguousarray(a, np.int64) for a in (groups, columns, own.indptr, own.indices, diagonal))
        return cls(order, np.argsort(order), best, *whole)

    def names(self) -> dict[str, np.ndarray]:
        """What the texts refer to."""
        return {
            "sparse_order": self.order, "sparse_back": self.back, "sparse_groups": self.groups, "sparse_columns": self.columns,
            "sparse_first": self.first, "sparse_rows": self.rows, "sparse_diagonal": self.diagonal,
        }  # fmt: skip


# What a step of rodas5p with its way back takes for the matrices, in nanoseconds: two dozen systems, one or two factorisations,
# in each of which the numbers of a matrix, or of a band, are handled several times.  Measured; the comparisons matter.

#: calls of Python, whatever is in the matrices
_CALLS = 350_000.0

#: a part of all numbers with which factors are full, and take long to find
_FULL = 0.1


def _dense_cost(n: int) -> float:
    return n * n * (40.0 + 0.07 * n)


def _banded_cost(n: int, lower: int, upper: int) -> float:
    """Infinite where a dense factorisation takes no more."""
    width = 2 * lower + upper + 1
    return n * width * (26.0 + 0.06 * lower) if 2 * width <= n else float("inf")


def _sparse_cost(fill: float, products: float) -> float:
    """For factors of so many numbers, which take so many multiplications."""
    return _CALLS + 75.0 * fill + 0.3 * products


def _narrowest(matrix: sparse.csc_matrix) -> tuple[np.ndarray, tuple[int, int]]:
    """The order in which a band is narrowest, and its numbers of diagonals below and above the main one."""
    n = matrix.shape[0]
    symmetric = sparse.csr_matrix(matrix + matrix.T)
    given, found = np.arange(n), np.asarray(reverse_cuthill_mckee(symmetric, symmetric_mode=True), np.int64)
    coo = matrix.tocoo()
    bands = []
    for order in (given, given[::-1], found, found[::-1]):  # the given one is kept if no other is narrower
        back = np.argsort(order)
        below = back[coo.row] - back[coo.col]
        bands.append((order, (int(max(below.max(initial=0), 0)), int(max((-below).max(initial=0), 0)))))
    return min(bands, key=lambda found: 2 * found[1][0] + found[1][1])


def checked_sparsity(given: Any) -> sparse.csc_matrix | str:
    """A pattern, with the diagonal, as a matrix of ones; or DETECT."""
    if isinstance(given, str):
        if given != DETECT:
            raise ArgumentError(f"Got jac_sparsity={given!r}, but expected a matrix of zeros and nonzeros, or {DETECT!r}")
        return given
    try:
        matrix = sparse.csc_matrix(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"Got jac_sparsity as a {type(given).__name__}, but expected a square matrix") from None
    if matrix.shape[0] != matrix.shape[1]:
        raise StructureError(f"Got jac_sparsity of shape {matrix.shape}, but expected a square matrix")
    return _ones(matrix)


def _grouped(matrix: sparse.csc_matrix, order: np.ndarray) -> np.ndarray:
    """For each column the first group in which no other has a row of it; columns come in this order."""
    group, taken = np.zeros(len(order), np.int64), [0] * len(order)  # bit g of a row's number: group g has it
    for j in order:
        rows = matrix.indices[matrix.indptr[j] : matrix.indptr[j + 1]].tolist()
        bits = 0
        for i in rows:
            bits |= taken[i]
        free = ~bits & (bits + 1)
        group[j] = free.bit_length() - 1
        for i in rows:
            taken[i] |= free
    return group


def _ones(matrix: sparse.csc_matrix) -> sparse.csc_matrix:
    """Ones where a matrix or its diagonal is not zero (NaN is not zero)."""
    found = sparse.csc_matrix(matrix != 0) + sparse.identity(matrix.shape[0], format="csc", dtype=bool)
    return sparse.csc_matrix(found, dtype=np.float64)


def detected(kernel: Any, t: float, y: Leaves, p: Leaves) -> sparse.csc_matrix:
    """Where the Jacobian of what ``kernel`` computes, a value like y, is nonzero at y or next to it.

    Next to y, for derivatives that vanish there, such as those of a product of two zeros.
    """
    n = sum(leaf.size for leaf in y)
    nudge = np.random.default_rng(0).uniform(0.5, 1.0, n)
    flat = np.concatenate([leaf.reshape(-1) for leaf in y])
    near = flat + nudge * (1e-3 * np.abs(flat) + 1e-6 * max(1.0, np.abs(flat).max()))
    whole = sparse.csc_matrix((n, n))
    for k, point in enumerate((flat, near)):
        rows, finite = [], True
        for column in _columns(kernel, t, point, y, p):
            rows.append(np.flatnonzero(column))  # (NaN is not zero)
            finite &= bool(np.all(np.isfinite(column)))
        if k == 0 or finite:  # the rest of the domain may end next to y
            first = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
            whole = whole + sparse.csc_matrix((np.ones(first[-1]), np.concatenate(rows), first), shape=(n, n))
    return _ones(whole)


def _columns(kernel: Any, t: float, point: np.ndarray, y: Leaves, p: Leaves) -> Iterator[np.ndarray]:
    cuts = np.cumsum([leaf.size for leaf in y])[:-1]

    def parts(flat: np.ndarray) -> list[np.ndarray]:
        return [piece.reshape(leaf.shape) for piece, leaf in zip(np.split(flat, cuts), y, strict=True)]

    unit = np.zeros(len(point))
    for j in range(len(point)):
        unit[j] = 1.0
        dots = kernel.jvp([np.full(1, t), *parts(point), *p], [np.zeros(1), *parts(unit), *(None for _ in p)])[1]
        yield np.concatenate([np.reshape(dot, -1) for dot in dots])
        unit[j] = 0.0
