"""``root``: the solution of equations, differentiated by the implicit function theorem."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from adjointsim.derive.source import plain_function
from adjointsim.derive.verbs import inside
from adjointsim.errors import StructureError
from adjointsim.functions import vjp

__all__ = ["root", "sparse_root"]


@inside("root")
def root(
    residual: Callable[..., Any],
    guess: Any,
    args: tuple[Any, ...] = (),
    *,
    tol: float | None = None,
    max_iter: int = 50,
    bandwidth: tuple[int, int] | None = None,
) -> Any:
    """``x`` with ``residual(x, *args) == 0``, by Newton's method from ``guess``; inside steps and functions, and in Python.

        def implicit_euler(u_next, u, dt, p):
            return u_next - u - dt * rhs(u_next, p)

        @adj.step
        def advance(n, u, p):
            return adj.root(implicit_euler, u, (u, 0.1, p))

    The unknown is a float, a 1-d array of float64 or float32, or a (nested) tuple or NamedTuple of these; ``residual``, in the
    language of steps, returns the same structure with the same lengths (x is made of floats if the guess is of integers).
    ``args`` are numbers, arrays, tuples of these, functions; what the residual captures is constant.

    The Jacobian is exact, by tangents of the residual: dense and factorised by LAPACK, or with ``bandwidth=(lower, upper)``,
    the numbers of diagonals below and above the main one, banded.  There is no line search: begin close enough.  x is found
    when an update is at rounding level: no unknown changes by more than ``tol`` times itself (64 units of rounding unless you
    name it; 1.4e-14 for float64), or so little that the next update would be lost in rounding, or the residuals are nothing but
    rounding errors of their terms (:mod:`adjointsim.derive.newton` has the formulas).  That update is made, too.

    Derivatives are those of the implicit function theorem at x: with J = d residual / d x, the cotangent of an argument is
    ``-x_bar^T J^-1 d residual / d argument``.  The iterations are not differentiated, the derivative with respect to
    ``guess`` is 0, and one more residual is computed; tangents and second derivatives follow from the same rule.

    Raises ConvergenceError, with the residual and the last updates, for more than ``max_iter`` iterations, a residual that is
    not finite, a Jacobian that is singular to working precision, and one with entries outside of ``bandwidth``: inside a step
    with its number and direction, and always with your line.  ValueError for a residual of another length than the unknown, and
    for impossible ``tol``, ``max_iter`` and ``bandwidth``; UnsupportedError, at your line, for another structure.  StructureError
    for a ``residual`` that is no function of yours.
    """
    if plain_function(residual) is None:
        raise StructureError(f"Got root of {residual!r}, but expected a Python function, a lambda or an @njit function")
    return vjp(_solver(residual), guess, args, tol, max_iter, bandwidth)[0]


@inside("sparse_root")
def sparse_root(residual: Callable[..., Any], guess: Any, args: tuple[Any, ...], pattern: tuple[Any, ...]) -> Any:
    """:func:`root` for the steps that the library writes itself, with a sparse Jacobian: ``pattern`` is the groups of columns
    that have no row in common, the columns by their groups, and where columns begin and which rows they have."""
    raise NotImplementedError("it is written out where a step calls it")


@functools.lru_cache(256)
def _solver(residual: Callable[..., Any]) -> Callable[..., Any]:
    """The function that is compiled for a residual where a root is asked for outside of steps."""

    def solve(guess, args, tol, max_iter, bandwidth):  # type: ignore[no-untyped-def]
        return root(residual, guess, args, tol=tol, max_iter=max_iter, bandwidth=bandwidth)

    return solve
