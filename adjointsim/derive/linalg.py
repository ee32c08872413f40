"""``np.linalg``: systems, inverses and determinants as custom functions, whose rules are code in the accepted language.

The functions are LAPACK's, as Numba calls them.  The rules are the standard ones (M. Giles, "Collected matrix derivative
results for forward and reverse mode algorithmic differentiation", 2008), written for complex numbers, of which real ones are a
case.  Where a derivative does not exist (a singular matrix, no full rank) the rule raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .registry import CustomFunction, Kinds
from .spec import ArraySpec, ComplexSpec, ScalarSpec, Spec, TupleSpec

__all__ = ["LINALG", "array", "dtype", "entry", "h", "like", "reals"]

#: NumPy's functions, with the custom functions that stand for them
LINALG: dict[Any, CustomFunction] = {}


def entry(numpy_function: Any, types: Callable[[Kinds], Spec], shape: Callable[..., Any] | None = None) -> Any:
    """Decorate the function that stands for one of NumPy's; ``types`` tells what it returns."""

    def enter(fn: Any) -> CustomFunction:
        LINALG[numpy_function] = made = CustomFunction(fn, shape, types)
        return made

    return enter


def dtype(kinds: Kinds, *ranks: int | tuple[int, ...]) -> str:
    """The dtype of arguments, which must be arrays of floats or of complex numbers of these ranks."""
    dts = {dt for dt, _ in kinds}
    if len(dts) != 1 or not dts <= {"f4", "f8", "c8", "c16"}:
        raise TypeError("it takes arrays of floats or complex numbers of one dtype")
    for (_, rank), allowed in zip(kinds, ranks, strict=True):
        if rank not in (allowed if isinstance(allowed, tuple) else (allowed,)):
            raise TypeError(f"an argument is {rank}-d: it takes {' or '.join(f'{r}-d' for r in np.atleast_1d(allowed))} arrays")
    return next(iter(dts))


def array(dt: str, rank: int) -> Spec:
    return ComplexSpec(dt, rank) if dt[0] == "c" else ArraySpec(dt, rank)


def reals(dt: str, rank: int) -> Spec:
    """An array of the absolute values of numbers of a dtype, or one such number."""
    own = {"c16": "f8", "c8": "f4"}.get(dt, dt)
    return ArraySpec(own, rank) if rank else ScalarSpec(own)


def like(kinds: Kinds, *ranks: int | tuple[int, ...]) -> Spec:
    """An array of the rank of the last argument; all are real or complex."""
    return array(dtype(kinds, *ranks), kinds[-1][1])


def number(kinds: Kinds) -> Spec:
    dt = dtype(kinds, 2)
    return ComplexSpec(dt, 0) if dt[0] == "c" else ScalarSpec(dt)


def h(a):
    """The conjugate transpose."""
    return np.conj(a).T


# ------------------------------------------------------------------------------------------------------ systems and inverses
@entry(np.linalg.solve, lambda kinds: like(kinds, 2, (1, 2)), shape=lambda a, b: b.shape)
def solve(a, b):
    return np.linalg.solve(a, b)


@solve.defvjp
def solve_vjp(x, x_bar, a, b):
    w = np.linalg.solve(h(a), x_bar)
    if x.ndim == 1:
        return -np.outer(w, np.conj(x)), w
    return -(w @ h(x)), w


@solve.defjvp
def solve_jvp(x, args, args_dot):
    a, b = args
    a_dot, b_dot = args_dot
    return np.linalg.solve(a, b_dot - a_dot @ x)


@entry(np.linalg.inv, lambda kinds: like(kinds, 2))
def inv(a):
    return np.linalg.inv(a)


@inv.defvjp
def inv_vjp(y, y_bar, a):
    return (-(h(y) @ y_bar @ h(y)),)


@inv.defjvp
def inv_jvp(y, args, args_dot):
    return -(y @ args_dot[0] @ y)


@entry(np.linalg.det, number)
def det(a):
    return np.linalg.det(a)


@det.defvjp
def det_vjp(d, d_bar, a):
    return (d_bar * h(d * np.linalg.inv(a)),)


@det.defjvp
def det_jvp(d, args, args_dot):
    return d * np.trace(np.linalg.solve(args[0], args_dot[0]))


def _slogdet_types(kinds: Kinds) -> Spec:
    return TupleSpec((number(kinds), reals(dtype(kinds, 2), 0)))


@entry(np.linalg.slogdet, _slogdet_types)
def slogdet(a):
    return np.linalg.slogdet(a)


@slogdet.defvjp
def slogdet_vjp(out, out_bar, a):
    if np.iscomplexobj(a):  # the sign turns
        return ((out_bar[1] + 1j * (out_bar[0] * np.conj(out[0])).imag) * h(np.linalg.inv(a)),)
    return (out_bar[1] * np.linalg.inv(a).T,)


@slogdet.defjvp
def slogdet_jvp(out, args, args_dot):
    change = np.trace(np.linalg.solve(args[0], args_dot[0]))
    if np.iscomplexobj(args[0]):
        return 1j * change.imag * out[0], change.real
    return 0.0, change


def _lstsq_types(kinds: Kinds) -> Spec:
    if len(kinds) == 3:
        raise TypeError("it takes no rcond here: a matrix of full rank needs none")
    dt = dtype(kinds, 2, 1)
    return TupleSpec((array(dt, 1), reals(dt, 1), ScalarSpec("i8"), reals(dt, 1)))


def _lstsq_shapes(a, b):
    m, n = a.shape
    return (n,), (1 if m > n else 0,), (min(m, n),)


@entry(np.linalg.lstsq, _lstsq_types, shape=_lstsq_shapes)
def lstsq(a, b):
    return np.linalg.lstsq(a, b)


@lstsq.defvjp
def lstsq_vjp(out, out_bar, a, b):
    x, _, rank, _ = out
    x_bar, square_bar, _, s_bar = out_bar
    if rank < a.shape[1]:
        raise ValueError("np.linalg.lstsq has a derivative only where the columns are independent")
    q, r = np.linalg.qr(a)
    z = np.linalg.solve(r, np.linalg.solve(h(r), x_bar))
    rest = b - a @ x
    b_bar = a @ z
    a_bar = np.outer(rest, np.conj(z)) - np.outer(b_bar, np.conj(x))
    for k in range(len(square_bar)):
        a_bar -= 2.0 * square_bar[k] * np.outer(rest, np.conj(x))
        b_bar += 2.0 * square_bar[k] * rest
    if np.any(s_bar != 0.0):
        u, _, vh = np.linalg.svd(a, False)
        a_bar += (u * s_bar) @ vh
    return a_bar, b_bar


@lstsq.defjvp
def lstsq_jvp(out, args, args_dot):
    x, square, rank, _ = out
    a, b = args
    a_dot, b_dot = args_dot
    if rank < a.shape[1]:
        raise ValueError("np.linalg.lstsq has a derivative only where the columns are independent")
    q, r = np.linalg.qr(a)
    rest, change = b - a @ x, b_dot - a_dot @ x
    x_dot = np.linalg.solve(r, h(q) @ change + np.linalg.solve(h(r), h(a_dot) @ rest))
    u, _, vh = np.linalg.svd(a, False)
    square_dot = np.full(len(square), 2.0 * np.sum(np.conj(rest) * change).real)
    return x_dot, square_dot, 0, np.real(np.diag(h(u) @ a_dot @ h(vh))).copy()
