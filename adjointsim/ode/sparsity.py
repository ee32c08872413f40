"""Where the Jacobian of a right-hand side may be nonzero, and the order of unknowns in which that is a narrow band.

The numbers of a state are renumbered by the reverse Cuthill-McKee algorithm (A. George, J. Liu, "Computer solution of large
sparse positive definite systems", 1981), so that LAPACK's factorisations of bands serve for sparse systems.  Columns that have no
row in common are found by one tangent (A. Curtis, M. Powell, J. Reid, "On the estimation of sparse Jacobian matrices", 1974).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.leaves import Leaves

__all__ = ["DETECT", "Pattern", "checked_sparsity", "detected"]

#: in place of a pattern
DETECT = "detect"


@dataclass(frozen=True, eq=False)
class Pattern:
    """A band of ``lower`` and ``upper`` diagonals for the unknowns in this ``order`` (numbers of the state; ``back`` undoes it).

    In that order, group g consists of the columns ``columns[groups[g] : groups[g + 1]]``, and column j has entries in the rows
    ``rows[first[j] : first[j + 1]]``.
    """

    order: np.ndarray
    back: np.ndarray
    lower: int
    upper: int
    groups: np.ndarray
    columns: np.ndarray
    first: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, matrix: sparse.csc_matrix) -> Pattern | None:
        """The pattern of a square matrix; None if a dense factorisation takes no more than the best band that was found."""
        n = matrix.shape[0]
        symmetric = sparse.csr_matrix(matrix + matrix.T)
        given, found = np.arange(n), np.asarray(reverse_cuthill_mckee(symmetric, symmetric_mode=True), np.int64)
        coo = matrix.tocoo()
        best: tuple[int, np.ndarray, int, int] | None = None
        for order in (given, given[::-1], found, found[::-1]):  # the given one is kept if no other is narrower
            back = np.argsort(order)
            below = back[coo.row] - back[coo.col]
            lower, upper = int(max(below.max(initial=0), 0)), int(max((-below).max(initial=0), 0))
            if best is None or 2 * lower + upper < best[0]:
                best = 2 * lower + upper, order, lower, upper
        assert best is not None
        width, order, lower, upper = best
        if 2 * (width + 1) > n:
            return None
        own = sparse.csc_matrix(matrix[order][:, order])
        own.sort_indices()
        group = _grouped(own)
        columns = np.argsort(group, kind="stable")
        groups = np.searchsorted(group[columns], np.arange(group.max() + 2))
        whole = (np.ascontiguousarray(a, np.int64) for a in (groups, columns, own.indptr, own.indices))
        return cls(order, np.argsort(order), lower, upper, *whole)

    def names(self) -> dict[str, np.ndarray]:
        """What the texts refer to."""
        return {
            "sparse_order": self.order, "sparse_back": self.back, "sparse_groups": self.groups, "sparse_columns": self.columns,
            "sparse_first": self.first, "sparse_rows": self.rows,
        }  # fmt: skip


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


def _grouped(matrix: sparse.csc_matrix) -> np.ndarray:
    """For each column the first group in which no other has a row of it."""
    group, taken = np.zeros(matrix.shape[0], np.int64), np.zeros((0, matrix.shape[0]), np.bool_)
    for j in range(len(group)):
        rows = matrix.indices[matrix.indptr[j] : matrix.indptr[j + 1]]
        free = np.flatnonzero(~taken[:, rows].any(axis=1))
        if not len(free):
            free, taken = np.array([len(taken)]), np.concatenate([taken, np.zeros_like(taken, shape=(1, len(group)))])
        group[j] = free[0]
        taken[free[0], rows] = True
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
    whole = np.zeros((n, n), np.bool_)
    for k, point in enumerate((flat, near)):
        found = np.stack(list(_columns(kernel, t, point, y, p)), axis=1)
        if k == 0 or np.all(np.isfinite(found)):  # the rest of the domain may end next to y
            whole |= found != 0.0
    return _ones(sparse.csc_matrix(whole))


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
