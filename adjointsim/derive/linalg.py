"""Linear algebra: ``np.linalg`` as custom functions, whose rules are code in the accepted language.

The functions are LAPACK's, as Numba calls them.  The rules are the standard ones:

* M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation" (2008): solve,
  inv, det;
* I. Murray, "Differentiation of the Cholesky decomposition" (2016), equations 8 and 10;
* S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum experimental
  design" (2010), section 4: qr, eigh;
* J. Townsend, "Differentiating the singular value decomposition" (2016), equations 28 to 31.

``cholesky``, ``eigh`` and ``eigvalsh`` read the lower triangle of a matrix, so the upper one has derivative 0.  Where a
derivative does not exist (a singular matrix, equal eigenvalues whose vectors matter, no full rank) the rule raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .registry import CustomFunction, Kinds
from .spec import ArraySpec, ComplexSpec, ScalarSpec, Spec, TupleSpec

__all__ = ["LINALG"]

#: NumPy's functions, with the custom functions that stand for them
LINALG: dict[Any, CustomFunction] = {}


def _entry(numpy_function: Any, types: Callable[[Kinds], Spec], shape: Callable[..., Any] | None = None) -> Any:
    """Decorate the function that stands for one of NumPy's; ``types`` tells what it returns."""

    def enter(fn: Any) -> CustomFunction:
        LINALG[numpy_function] = made = CustomFunction(fn, shape, types)
        return made

    return enter


def _floats(kinds: Kinds, *ranks: int | tuple[int, ...], complex_too: bool = False) -> str:
    """The dtype of arguments, which must be arrays of floats of these ranks."""
    dts = {dt for dt, _ in kinds}
    if len(dts) != 1 or not dts <= ({"f4", "f8", "c8", "c16"} if complex_too else {"f4", "f8"}):
        raise TypeError(f"it takes arrays of floats{' or complex numbers' * complex_too} of one dtype")
    for (_, rank), allowed in zip(kinds, ranks, strict=True):
        if rank not in (allowed if isinstance(allowed, tuple) else (allowed,)):
            raise TypeError(f"an argument is {rank}-d: it takes {' or '.join(f'{r}-d' for r in np.atleast_1d(allowed))} arrays")
    return next(iter(dts))


def _like(kinds: Kinds, *ranks: int | tuple[int, ...]) -> Spec:
    """An array of the rank of the last argument; all are real or complex."""
    dt, rank = _floats(kinds, *ranks, complex_too=True), kinds[-1][1]
    return ComplexSpec(dt, rank) if dt[0] == "c" else ArraySpec(dt, rank)


def _number(kinds: Kinds) -> Spec:
    dt = _floats(kinds, 2, complex_too=True)
    return ComplexSpec(dt, 0) if dt[0] == "c" else ScalarSpec(dt)


# ------------------------------------------------- systems and inverses, of real or complex numbers (np.conj of a real one is it)
@_entry(np.linalg.solve, lambda kinds: _like(kinds, 2, (1, 2)), shape=lambda a, b: b.shape)
def solve(a, b):
    return np.linalg.solve(a, b)


@solve.defvjp
def solve_vjp(x, x_bar, a, b):
    w = np.linalg.solve(np.conj(a).T, x_bar)
    if x.ndim == 1:
        return -np.outer(w, np.conj(x)), w
    return -(w @ np.conj(x).T), w


@solve.defjvp
def solve_jvp(x, args, args_dot):
    a, b = args
    a_dot, b_dot = args_dot
    return np.linalg.solve(a, b_dot - a_dot @ x)


@_entry(np.linalg.inv, lambda kinds: _like(kinds, 2))
def inv(a):
    return np.linalg.inv(a)


@inv.defvjp
def inv_vjp(y, y_bar, a):
    adjoint = np.conj(y).T
    return (-(adjoint @ y_bar @ adjoint),)


@inv.defjvp
def inv_jvp(y, args, args_dot):
    return -(y @ args_dot[0] @ y)


@_entry(np.linalg.det, _number)
def det(a):
    return np.linalg.det(a)


@det.defvjp
def det_vjp(d, d_bar, a):
    return (d_bar * np.conj(d * np.linalg.inv(a)).T,)


@det.defjvp
def det_jvp(d, args, args_dot):
    return d * np.trace(np.linalg.solve(args[0], args_dot[0]))


def _slogdet_types(kinds: Kinds) -> Spec:
    number = ScalarSpec(_floats(kinds, 2))
    return TupleSpec((number, number))


@_entry(np.linalg.slogdet, _slogdet_types)
def slogdet(a):
    return np.linalg.slogdet(a)


@slogdet.defvjp
def slogdet_vjp(out, out_bar, a):
    return (out_bar[1] * np.linalg.inv(a).T,)


@slogdet.defjvp
def slogdet_jvp(out, args, args_dot):
    return 0.0, np.trace(np.linalg.solve(args[0], args_dot[0]))


def _lstsq_types(kinds: Kinds) -> Spec:
    if len(kinds) == 3:
        raise TypeError("it takes no rcond here: a matrix of full rank needs none")
    dt = _floats(kinds, 2, 1)
    return TupleSpec((ArraySpec(dt, 1), ArraySpec(dt, 1), ScalarSpec("i8"), ArraySpec(dt, 1)))


def _lstsq_shapes(a, b):
    m, n = a.shape
    return (n,), (1 if m > n else 0,), (min(m, n),)


@_entry(np.linalg.lstsq, _lstsq_types, shape=_lstsq_shapes)
def lstsq(a, b):
    return np.linalg.lstsq(a, b)


@lstsq.defvjp
def lstsq_vjp(out, out_bar, a, b):
    x, _, rank, _ = out
    x_bar, square_bar, _, s_bar = out_bar
    if rank < a.shape[1]:
        raise ValueError("np.linalg.lstsq has a derivative only where the columns are independent")
    q, r = np.linalg.qr(a)
    z = np.linalg.solve(r, np.linalg.solve(r.T, x_bar))
    rest = b - a @ x
    b_bar = a @ z
    a_bar = np.outer(rest, z) - np.outer(b_bar, x)
    for k in range(len(square_bar)):
        a_bar -= 2.0 * square_bar[k] * np.outer(rest, x)
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
    x_dot = np.linalg.solve(r, q.T @ change + np.linalg.solve(r.T, a_dot.T @ rest))
    u, _, vh = np.linalg.svd(a, False)
    return x_dot, np.full(len(square), 2.0 * np.sum(rest * change)), 0, np.diag(u.T @ a_dot @ vh.T).copy()


# --------------------------------------------------------------------------------------------------------- factorisations
def halved(a):
    """The lower triangle with half of the diagonal."""
    return np.tril(a) - 0.5 * np.diag(np.diag(a))


def onto_lower(s):
    """From the sensitivity to a symmetric change to that of the lower triangle, which stands for both."""
    return np.tril(s + s.T) - np.diag(np.diag(s))


def from_lower(a):
    """The symmetric matrix of which this is the lower triangle."""
    return np.tril(a) + np.tril(a, -1).T


@_entry(np.linalg.cholesky, lambda kinds: ArraySpec(_floats(kinds, 2), 2))
def cholesky(a):
    return np.linalg.cholesky(a)


@cholesky.defvjp
def cholesky_vjp(low, low_bar, a):
    q = np.linalg.solve(low.T, halved(low.T @ low_bar))
    return (onto_lower(np.linalg.solve(low.T, q.T).T),)


@cholesky.defjvp
def cholesky_jvp(low, args, args_dot):
    half = np.linalg.solve(low, from_lower(args_dot[0]))
    return low @ halved(np.linalg.solve(low, half.T).T)


def gaps(w, t):
    """t[i, j] / (w[j] - w[i]), and 0 where t is."""
    out = np.zeros(t.shape)
    for i in range(len(w)):
        for j in range(len(w)):
            if i != j and t[i, j] != 0.0:
                if w[i] == w[j]:
                    raise ValueError("vectors that belong to equal eigenvalues or singular values have no derivative")
                out[i, j] = t[i, j] / (w[j] - w[i])
    return out


def _eigh_types(kinds: Kinds) -> Spec:
    dt = _floats(kinds, 2)
    return TupleSpec((ArraySpec(dt, 1), ArraySpec(dt, 2)))


@_entry(np.linalg.eigh, _eigh_types, shape=lambda a: ((a.shape[0],), a.shape))
def eigh(a):
    return np.linalg.eigh(a)


@eigh.defvjp
def eigh_vjp(out, out_bar, a):
    w, v = out
    w_bar, v_bar = out_bar
    s = v @ (np.diag(w_bar) + gaps(w, v.T @ v_bar)) @ v.T
    return (onto_lower(s),)


@eigh.defjvp
def eigh_jvp(out, args, args_dot):
    w, v = out
    k = v.T @ from_lower(args_dot[0]) @ v
    return np.diag(k).copy(), v @ gaps(w, k)


@_entry(np.linalg.eigvalsh, lambda kinds: ArraySpec(_floats(kinds, 2), 1), shape=lambda a: (a.shape[0],))
def eigvalsh(a):
    return np.linalg.eigvalsh(a)


@eigvalsh.defvjp
def eigvalsh_vjp(w, w_bar, a):
    v = np.linalg.eigh(a)[1]
    return (onto_lower(v @ np.diag(w_bar) @ v.T),)


@eigvalsh.defjvp
def eigvalsh_jvp(w, args, args_dot):
    v = np.linalg.eigh(args[0])[1]
    return np.diag(v.T @ from_lower(args_dot[0]) @ v).copy()


def _qr_types(kinds: Kinds) -> Spec:
    matrix = ArraySpec(_floats(kinds, 2), 2)
    return TupleSpec((matrix, matrix))


def _qr_shapes(a):
    m, n = a.shape
    k = min(m, n)
    return (m, k), (k, n)


@_entry(np.linalg.qr, _qr_types, shape=_qr_shapes)
def qr(a):
    return np.linalg.qr(a)


@qr.defvjp
def qr_vjp(out, out_bar, a):
    q, r = out
    q_bar, r_bar = out_bar
    if a.shape[0] < a.shape[1]:
        raise ValueError("the derivative of np.linalg.qr needs at least as many rows as columns")
    m = r @ r_bar.T - q_bar.T @ q
    return (np.linalg.solve(r, (q_bar + q @ from_lower(m)).T).T,)


@qr.defjvp
def qr_jvp(out, args, args_dot):
    q, r = out
    if q.shape[1] < r.shape[1]:
        raise ValueError("the derivative of np.linalg.qr needs at least as many rows as columns")
    c = np.linalg.solve(r.T, args_dot[0].T).T
    x = q.T @ c
    low = np.tril(x, -1)
    rest = x - (low - low.T)
    return c - q @ rest, rest @ r


def _svd_types(kinds: Kinds) -> Spec:
    if len(kinds) == 2 and kinds[1][1] == 0:
        dt = _floats(kinds[:1], 2)
    else:
        dt = _floats(kinds, 2)
    return TupleSpec((ArraySpec(dt, 2), ArraySpec(dt, 1), ArraySpec(dt, 2)))


def _svd_shapes(a, full_matrices):
    m, n = a.shape
    k = min(m, n)
    return (m, m if full_matrices else k), (k,), (n if full_matrices else k, n)


@_entry(np.linalg.svd, _svd_types, shape=_svd_shapes)
def svd(a, full_matrices=True):
    return np.linalg.svd(a, full_matrices)


def over(t, s):
    """t[:, j] / s[j], and 0 where t is."""
    out = np.zeros(t.shape)
    for j in range(t.shape[1]):
        for i in range(t.shape[0]):
            if t[i, j] != 0.0:
                if s[j] == 0.0:
                    raise ValueError("vectors that belong to a singular value of 0 have no derivative")
                out[i, j] = t[i, j] / s[j]
    return out


@svd.defvjp
def svd_vjp(out, out_bar, a, full_matrices):
    u, s, vh = out
    u_bar, s_bar, vh_bar = out_bar
    m, n = a.shape
    k = len(s)
    if u.shape[1] > k or vh.shape[0] > k:
        raise ValueError("the derivative of np.linalg.svd of a matrix that is not square needs full_matrices=False")
    v, v_bar = vh.T, vh_bar.T
    uu, vv = u.T @ u_bar, v.T @ v_bar
    inner = np.diag(s_bar) + gaps(s * s, uu - uu.T) * s + s.reshape(k, 1) * gaps(s * s, vv - vv.T)
    a_bar = u @ inner @ vh
    if m > k:
        a_bar += over(u_bar - u @ uu, s) @ vh
    if n > k:
        a_bar += u @ over(v_bar - v @ vv, s).T
    return a_bar, None


@svd.defjvp
def svd_jvp(out, args, args_dot):
    u, s, vh = out
    a_dot = args_dot[0]
    m, n = a_dot.shape
    k = len(s)
    if u.shape[1] > k or vh.shape[0] > k:
        raise ValueError("the derivative of np.linalg.svd of a matrix that is not square needs full_matrices=False")
    v = vh.T
    p = u.T @ a_dot @ v
    column = s.reshape(k, 1)
    u_dot = u @ gaps(s * s, p * s + column * p.T)
    v_dot = v @ gaps(s * s, column * p + p.T * s)
    if m > k:
        u_dot += over(a_dot @ v - u @ p, s)
    if n > k:
        v_dot += over(a_dot.T @ u - v @ p.T, s)
    return u_dot, np.diag(p).copy(), v_dot.T
