"""Functions that use ``np.linalg``, each with the same in 50-digit arithmetic; and functions with rules of their own."""

from __future__ import annotations

import ctypes
import math

import mpmath as mp
import numba
import numpy as np
from numba.extending import get_cython_function_address

import adjointsim as adj

rng = np.random.default_rng(7)
N = 4
A = rng.normal(size=(N, N)) + 2.0 * np.eye(N)
S = A @ A.T + np.eye(N)
B, C = rng.normal(size=N), rng.normal(size=(N, 2))
TALL = rng.normal(size=(6, N))
WIDE = TALL.T.copy()
LONG = rng.normal(size=6)
W, W6, WW = rng.normal(size=(N, N)), rng.normal(size=(6, N)), rng.normal(size=(N, 6))


def solved(a, b):
    return np.linalg.solve(a, b) ** 2


def solved_columns(a, c):
    x = np.linalg.solve(a[::-1].T, c)  # of a view
    return x * x


def inverse(a):
    return np.linalg.inv(a) * a


def determinant(a):
    return np.linalg.det(a)


def log_determinant(a):
    sign, value = np.linalg.slogdet(a)
    return sign * value * value


def factor(a):
    return np.linalg.cholesky(a)


def spectrum(a):
    w, v = np.linalg.eigh(a)
    return w, v * v  # whatever the signs


def eigenvalues(a):
    return np.linalg.eigvalsh(a)


def orthogonal(a):
    q, r = np.linalg.qr(a)
    return q * q, r * r


def singular(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return u * u, s, vh * vh


def singular_values(a):
    return np.linalg.svd(a)[1]


def least_squares(a, b):
    x, square, _, s = np.linalg.lstsq(a, b)
    return x, square, s


def a_march(a, u, x):
    """Implicit steps: matrices and states that the next one overwrites."""
    total = 0.0
    u = u.copy()
    for k in range(3):
        a[0, 0] += x * u[1]
        if k != 1:
            u = np.linalg.solve(a, u) + x
        total += np.linalg.det(a) * u[2]
    return total, u


def scaled(m, v):
    return np.linalg.solve(m, v) * np.linalg.det(m)


def in_a_helper(a, u):
    return scaled(a, u)


# ------------------------------------------------------------------------------------------------------ in many digits
def _list(m):
    return np.array(m.tolist(), object)


def _mp_spectrum(a):
    low = mp.matrix([[a[max(i, j), min(i, j)] for j in range(a.cols)] for i in range(a.rows)])
    w, v = mp.eigsy(low)
    return np.array(list(w), object), _list(v) ** 2


def _mp_singular(a):
    u, s, v = mp.svd_r(a)
    return _list(u) ** 2, np.array(list(s), object), _list(v) ** 2


def _mp_orthogonal(a):
    q, r = mp.qr(a, mode="skinny")
    return _list(q) ** 2, _list(r) ** 2


def _mp_factor(a):
    return _list(mp.cholesky(mp.matrix([[a[max(i, j), min(i, j)] for j in range(a.cols)] for i in range(a.rows)])))


def _mp_least_squares(a, b):
    x = mp.lu_solve(a.T * a, a.T * b)
    r = b - a * x
    return np.array(list(x), object), np.array([sum(e * e for e in r)], object), _mp_singular(a)[1]


def _mp_march(a, u, x):
    total = mp.mpf(0)
    a, u = a.copy(), u.copy()
    for k in range(3):
        a[0, 0] += x * u[1]
        if k != 1:
            u = mp.lu_solve(a, u) + x * mp.ones(u.rows, 1)
        total += mp.det(a) * u[2]
    return total, np.array(list(u), object)


def _flipped(a):
    return mp.matrix([[a[a.rows - 1 - j, i] for j in range(a.rows)] for i in range(a.cols)])


def _columns(a, c):
    return np.stack([np.array(list(mp.lu_solve(_flipped(a), c[:, j])), object) for j in range(c.cols)], 1) ** 2


#: name -> (function, arguments, the same in 50 digits)
MODELS = {
    "solve": (solved, (A, B), lambda a, b: np.array(list(mp.lu_solve(a, b)), object) ** 2),
    "solve columns": (solved_columns, (A, C), _columns),
    "inv": (inverse, (A,), lambda a: _list(mp.inverse(a)) * _list(a)),
    "det": (determinant, (A,), mp.det),
    "slogdet": (log_determinant, (A,), lambda a: mp.sign(mp.det(a)) * mp.log(abs(mp.det(a))) ** 2),
    "cholesky": (factor, (S,), _mp_factor),
    "eigh": (spectrum, (S,), _mp_spectrum),
    "eigvalsh": (eigenvalues, (S,), lambda a: _mp_spectrum(a)[0]),
    "qr": (orthogonal, (A,), _mp_orthogonal),
    "qr tall": (orthogonal, (TALL,), _mp_orthogonal),
    "svd": (singular, (A,), _mp_singular),
    "svd tall": (singular, (TALL,), _mp_singular),
    "svd wide": (singular, (WIDE,), _mp_singular),
    "svd values": (singular_values, (A,), lambda a: _mp_singular(a)[1]),
    "lstsq": (least_squares, (TALL, LONG), _mp_least_squares),
    "march": (a_march, (A, B, 0.3), _mp_march),
    "helper": (in_a_helper, (A, B), lambda a, b: np.array(list(mp.lu_solve(a, b)), object) * mp.det(a)),
}


# ----------------------------------------------------------------------------------------------------- rules of the user's
@adj.custom_vjp
def cube(x):
    return x * x * x


@cube.defvjp
def cube_vjp(y, y_bar, x):
    return (3.0 * x * x * y_bar,)


@cube.defjvp
def cube_jvp(y, args, args_dot):
    return 3.0 * args[0] ** 2 * args_dot[0]


@adj.custom_vjp(shape=lambda u, k: (len(u) - k, (2, len(u))))
def parts(u, k):
    """The last ones; twice the array; a sum."""
    both = np.empty((2, len(u)))
    both[0] = u * u
    both[1] = np.sin(u)
    return u[k:].copy(), both, u.sum()


@parts.defvjp
def parts_vjp(out, out_bar, u, k):
    tail_bar, both_bar, sum_bar = out_bar
    u_bar = 2.0 * u * both_bar[0] + np.cos(u) * both_bar[1] + sum_bar
    u_bar[k:] += tail_bar
    return u_bar, None


@parts.defjvp
def parts_jvp(out, args, args_dot):
    (u, k), (u_dot, _) = args, args_dot
    both = np.empty((2, len(u)))
    both[0] = 2.0 * u * u_dot
    both[1] = np.cos(u) * u_dot
    return u_dot[k:].copy(), both, np.sum(u_dot)


def uses_both(u, x):
    tail, both, total = parts(u[::2], 1)
    return np.sum(tail * tail) * cube(x) + np.sum(both[1] * both[0]) + total * x


def uses_both_plainly(u, x):
    v = u[::2]
    return np.sum(v[1:] ** 2) * x**3 + np.sum(np.sin(v) * v * v) + np.sum(v) * x


_dgtsv = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 8)(get_cython_function_address("scipy.linalg.cython_lapack", "dgtsv"))


@numba.njit
def thomas(low, diagonal, up, b):
    """LAPACK's tridiagonal solver, on copies."""
    n, one, info = np.array([len(b)], np.int32), np.ones(1, np.int32), np.zeros(1, np.int32)
    dl, d, du, x = low.copy(), diagonal.copy(), up.copy(), b.copy()
    _dgtsv(n.ctypes, one.ctypes, dl.ctypes, d.ctypes, du.ctypes, x.ctypes, n.ctypes, info.ctypes)
    if info[0] != 0:
        raise ValueError("the tridiagonal matrix is singular")
    return x


tridiagonal = adj.custom_vjp(thomas, shape=lambda low, diagonal, up, b: b.shape)


@tridiagonal.defvjp
def tridiagonal_vjp(x, x_bar, low, diagonal, up, b):
    w = thomas(up, diagonal, low, x_bar)  # foreign: it cannot be derived
    return -w[1:] * x[:-1], -w * x, -w[:-1] * x[1:], w


def heat(n, u, p):
    m = len(u)
    return tridiagonal(np.full(m - 1, -p), np.full(m, 1.0 + 2.0 * p) + 0.1 * u * u, np.full(m - 1, -p), u)


def heat_plainly(u, p, steps):
    for _ in range(steps):
        a = np.diag(1.0 + 2.0 * p + 0.1 * u * u) - p * (np.eye(len(u), k=1) + np.eye(len(u), k=-1))
        u = np.linalg.solve(a, u)
    return np.sum(u * u * np.arange(len(u)))


def mixed(a, x):
    return math.sin(cube(x)) * np.linalg.det(a)
