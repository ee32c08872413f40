"""Mass matrices, M y' = f(t, y, p), and the algebraic equations that a singular one makes.

With bases Z and N of the left and right null spaces of M, the equations Z^T f = 0 have no derivative.  They determine N^T y
where Z^T (df/dy) N is regular: that is a system of index 1 (E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd
edition 1996, section VI.1), which the methods here are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from adjointsim.derive.spec import ScalarSpec, Spec
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.kernels import kernel_of
from adjointsim.leaves import Leaves

from .program import Program
from .tableaus import DirkTableau, RosenbrockTableau, Tableau

__all__ = ["check_index", "checked_mass"]


def checked_mass(given: Any, tableau: Tableau, bands: Sequence[str]) -> np.ndarray:
    """A mass matrix, or the diagonal of one, as a new float64 array; ``bands`` are the arguments that speak of bands."""
    try:
        mass = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"Got mass as a {type(given).__name__}, but expected a square matrix, or its diagonal") from None
    if mass.ndim not in (1, 2) or len(set(mass.shape)) != 1:
        raise StructureError(f"Got mass of shape {mass.shape}, but expected a square matrix, or its diagonal")
    if not np.all(np.isfinite(mass)):
        raise ArgumentError("Got mass with numbers that are not finite")
    if bands and mass.ndim == 2:
        raise StructureError(f"Got {bands[0]}= and a mass matrix of two axes, but expected its diagonal")
    if not isinstance(tableau, (RosenbrockTableau, DirkTableau)):
        raise ArgumentError(f'Got mass= with the method {tableau.name!r}, but expected an implicit one: "rodas5p", "sdirk2" ..')
    if isinstance(tableau, DirkTableau) and (tableau.explicit_first or not tableau.stiffly_accurate):
        raise ArgumentError(
            f"Got mass= with the method {tableau.name!r}, which has a stage that does not solve the algebraic equations: "
            'expected "rodas5p", "sdirk2" or "implicit_euler"'
        )
    return mass


def check_index(program: Program, mass: np.ndarray, t: float, y: Leaves, p: Leaves, p_spec: Spec) -> None:
    """StructureError for a mass matrix of another size than the state; ArgumentError for a system whose index is not 0 or 1
    at the initial state, and for an initial state that does not satisfy the algebraic equations."""
    n = sum(leaf.size for leaf in y)
    if len(mass) != n:
        raise StructureError(f"Got mass for {len(mass)} components, but expected {n}, as y0 has")
    matrix = np.diag(mass) if mass.ndim == 1 else mass
    right = scipy.linalg.null_space(matrix)
    if not right.shape[1]:
        return
    left = scipy.linalg.null_space(matrix.T)
    kernel = kernel_of(program.whole_rate, (ScalarSpec("f8"), program.spec, p_spec), role="function")
    arguments = [np.full(1, t), *y, *p]
    cuts = np.cumsum([leaf.size for leaf in y])[:-1]
    columns = []
    for direction in right.T:
        dots = [piece.reshape(leaf.shape) for piece, leaf in zip(np.split(direction, cuts), y, strict=True)]
        columns.append(_flat(kernel.jvp(arguments, [np.zeros(1), *dots, *(None for _ in p)])[1]))
    scale = np.abs(columns).max()
    inner = left.T @ np.stack(columns, axis=1)
    if not scale > 0.0 or np.linalg.svd(inner, compute_uv=False)[-1] <= 1e-10 * scale:
        raise ArgumentError(
            "Got a mass matrix and a right-hand side that make a differential-algebraic system of an index above 1 (or none that "
            "can be solved) at y0: differentiate its algebraic equations until the algebraic variables appear in them"
        )
    rates = _flat(kernel.value(arguments))
    excess = np.abs(left.T @ rates).max()
    if excess > 1e-6 * max(np.abs(rates).max(), scale * np.abs(_flat(y)).max()):
        raise ArgumentError(f"Got y0 that leaves {excess:.3g} of an algebraic equation, but expected one that satisfies them all")


def _flat(leaves: Any) -> np.ndarray:
    return np.concatenate([np.reshape(leaf, -1) for leaf in leaves])
