"""``np.linalg``: factorisations, eigenvalues and singular values, as :mod:`.linalg` has it.  The rules are those of

* I. Murray, "Differentiation of the Cholesky decomposition" (2016), equations 8 and 10;
* S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum experimental
  design" (2010), section 4: qr, eigh; the same with complex numbers: D. Roberts, L. Roberts, "QR and LQ decomposition matrix
  backpropagation algorithms for square, wide, and deep matrices" (2020);
* J. Townsend, "Differentiating the singular value decomposition" (2016), equations 28 to 31; with complex numbers: Z. Wan,
  S. Zhang, "Automatic differentiation for complex valued SVD" (2019).

``cholesky``, ``eigh`` and ``eigvalsh`` read the lower triangle of a matrix and the real part of its diagonal: the rest has
derivative 0.  Where a derivative does not exist (equal eigenvalues whose vectors matter, no full rank) the rule raises.

Complex eigenvectors and singular vectors are given up to a factor of modulus 1 each (the same one for both singular vectors
of a pair).  Tangents are those for which the eigenvectors, and the right singular vectors, do not turn: the product of
``conj(v)`` and the tangent of v is 0.  What does not depend on these factors has the right derivative, whatever they are; where
the cotangents show that a function depends on them, the rule raises.
"""

from __future__ import annotations

import numpy as np

from .linalg import LINALG, array, dtype, entry, h, like, reals
from .registry import Kinds
from .spec import Spec, TupleSpec

__all__ = ["LINALG"]  # with what is entered here


def halved(a):
    """The lower triangle with half of the diagonal."""
    return np.tril(a) - 0.5 * np.diag(np.diag(a))


def onto_lower(s):
    """From the sensitivity to a Hermitian change to that of the lower triangle, which stands for both."""
    return halved(s + h(s))


def from_lower(a):
    """The Hermitian matrix of which this is the lower triangle."""
    half = halved(a)
    return half + h(half)


@entry(np.linalg.cholesky, lambda kinds: like(kinds, 2))
def cholesky(a):
    return np.linalg.cholesky(a)


@cholesky.defvjp
def cholesky_vjp(low, low_bar, a):
    q = np.linalg.solve(h(low), halved(h(low) @ low_bar))
    return (onto_lower(np.linalg.solve(low.T, q.T).T),)


@cholesky.defjvp
def cholesky_jvp(low, args, args_dot):
    half = np.linalg.solve(low, from_lower(args_dot[0]))
    return low @ halved(h(np.linalg.solve(low, h(half))))


def gaps(w, t):
    """t[i, j] / (w[j] - w[i]), and 0 where t is."""
    out = np.zeros_like(t)
    for i in range(len(w)):
        for j in range(len(w)):
            if i != j and t[i, j] != 0.0:
                if w[i] == w[j]:
                    raise ValueError("vectors that belong to equal eigenvalues or singular values have no derivative")
                out[i, j] = t[i, j] / (w[j] - w[i])
    return out


def unturned(vectors, bar, other, other_bar):
    """Raise if cotangents of pairs of vectors (columns) say that a common factor of modulus 1 matters."""
    for k in range(vectors.shape[1]):
        turn = size = 0.0
        for a, b in ((vectors, bar), (other, other_bar)):
            for i in range(a.shape[0]):
                turn += (np.conj(a[i, k]) * b[i, k]).imag
                size += abs(a[i, k]) * abs(b[i, k])
        if abs(turn) > 1e-5 * size:
            raise ValueError("complex eigenvectors and singular vectors are given up to their phases: nothing may depend on them")


def _eigh_types(kinds: Kinds) -> Spec:
    dt = dtype(kinds, 2)
    return TupleSpec((reals(dt, 1), array(dt, 2)))


@entry(np.linalg.eigh, _eigh_types, shape=lambda a: ((a.shape[0],), a.shape))
def eigh(a):
    return np.linalg.eigh(a)


@eigh.defvjp
def eigh_vjp(out, out_bar, a):
    w, v = out
    w_bar, v_bar = out_bar
    if np.iscomplexobj(a):
        unturned(v, v_bar, v[:0], v_bar[:0])
    s = v @ (np.diag(w_bar) + gaps(w, h(v) @ v_bar)) @ h(v)
    return (onto_lower(s),)


@eigh.defjvp
def eigh_jvp(out, args, args_dot):
    w, v = out
    k = h(v) @ from_lower(args_dot[0]) @ v
    return np.real(np.diag(k)).copy(), v @ gaps(w, k)


@entry(np.linalg.eigvalsh, lambda kinds: reals(dtype(kinds, 2), 1), shape=lambda a: (a.shape[0],))
def eigvalsh(a):
    return np.linalg.eigvalsh(a)


@eigvalsh.defvjp
def eigvalsh_vjp(w, w_bar, a):
    v = np.linalg.eigh(a)[1]
    return (onto_lower((v * w_bar) @ h(v)),)


@eigvalsh.defjvp
def eigvalsh_jvp(w, args, args_dot):
    v = np.linalg.eigh(args[0])[1]
    return np.real(np.diag(h(v) @ from_lower(args_dot[0]) @ v)).copy()


def _qr_types(kinds: Kinds) -> Spec:
    return TupleSpec((like(kinds, 2), like(kinds, 2)))


def _qr_shapes(a):
    m, n = a.shape
    k = min(m, n)
    return (m, k), (k, n)


@entry(np.linalg.qr, _qr_types, shape=_qr_shapes)
def qr(a):
    return np.linalg.qr(a)


@qr.defvjp
def qr_vjp(out, out_bar, a):
    q, r = out
    q_bar, r_bar = out_bar
    if a.shape[0] < a.shape[1]:
        raise ValueError("the derivative of np.linalg.qr needs at least as many rows as columns")
    m = r @ h(r_bar) - h(q_bar) @ q
    return (h(np.linalg.solve(r, h(q_bar + q @ from_lower(m)))),)


@qr.defjvp
def qr_jvp(out, args, args_dot):
    q, r = out
    if q.shape[1] < r.shape[1]:
        raise ValueError("the derivative of np.linalg.qr needs at least as many rows as columns")
    c = np.linalg.solve(r.T, args_dot[0].T).T
    x = h(q) @ c
    low = halved(x)  # the diagonal of r stays real
    rest = x - (low - h(low))
    return c - q @ rest, rest @ r


def _svd_types(kinds: Kinds) -> Spec:
    if len(kinds) == 2 and kinds[1][1] == 0:
        dt = dtype(kinds[:1], 2)
    else:
        dt = dtype(kinds, 2)
    return TupleSpec((array(dt, 2), reals(dt, 1), array(dt, 2)))


def _svd_shapes(a, full_matrices):
    m, n = a.shape
    k = min(m, n)
    return (m, m if full_matrices else k), (k,), (n if full_matrices else k, n)


@entry(np.linalg.svd, _svd_types, shape=_svd_shapes)
def svd(a, full_matrices=True):
    return np.linalg.svd(a, full_matrices)


def over(t, s):
    """t[:, j] / s[j], and 0 where t is."""
    out = np.zeros_like(t)
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
    v, v_bar = h(vh), h(vh_bar)
    uu, vv = h(u) @ u_bar, h(v) @ v_bar
    inner = np.diag(s_bar) + gaps(s * s, uu - h(uu)) * s + s.reshape(k, 1) * gaps(s * s, vv - h(vv))
    if np.iscomplexobj(a):
        unturned(u, u_bar, v, v_bar)
        inner += over(1j * np.diag(np.diag(uu).imag), s)
    a_bar = u @ inner @ vh
    if m > k:
        a_bar += over(u_bar - u @ uu, s) @ vh
    if n > k:
        a_bar += u @ h(over(v_bar - v @ vv, s))
    return a_bar, None


@svd.defjvp
def svd_jvp(out, args, args_dot):
    u, s, vh = out
    a_dot = args_dot[0]
    m, n = a_dot.shape
    k = len(s)
    if u.shape[1] > k or vh.shape[0] > k:
        raise ValueError("the derivative of np.linalg.svd of a matrix that is not square needs full_matrices=False")
    v = h(vh)
    p = h(u) @ a_dot @ v
    column = s.reshape(k, 1)
    u_dot = u @ gaps(s * s, p * s + column * h(p))
    v_dot = v @ gaps(s * s, column * p + h(p) * s)
    if np.iscomplexobj(a_dot):
        u_dot += u @ over(1j * np.diag(np.diag(p).imag), s)
    if m > k:
        u_dot += over(a_dot @ v - u @ p, s)
    if n > k:
        v_dot += over(h(a_dot) @ u - v @ h(p), s)
    return u_dot, np.real(np.diag(p)).copy(), h(v_dot)
