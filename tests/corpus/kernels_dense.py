"""Dense linear algebra as people write it: products of matrices in chains, triangular solves, factorisations in place."""

import numpy as np
from numba import prange

from . import case


def _sample(*shape, seed=0):
    return np.round(np.random.default_rng([seed, *shape]).uniform(-1.0, 1.0, shape), 2)


def _definite(n):
    m = _sample(n, n, seed=7)
    return m @ m.T + n * np.eye(n)


def _dominant(n):
    return _sample(n, n, seed=8) + n * np.eye(n)


# ------------------------------------------------------------------------------------------------------ chains of products
@case(args=(_sample(4, 3), _sample(3)))
def normal_equations(A, x):
    return (A @ x) @ A


@case(args=(_sample(4, 3), _sample(3), _sample(4)))
def two_sided_products(A, p, r):
    return r @ A, A @ p


@case(args=(0.7, 1.3, _sample(3, 4), _sample(3, 5), _sample(5, 4)))
def scaled_product(alpha, beta, C, A, B):
    C[:] = alpha * A @ B + beta * C
    return C


@case(args=(1.5, 1.2, _sample(4, 4), _sample(4), _sample(4, seed=1), _sample(4, seed=2), _sample(4, seed=3), _sample(4, seed=4)))
def rank_two_update_and_products(alpha, beta, A, u1, v1, u2, v2, y):
    A += np.outer(u1, v1) + np.outer(u2, v2)
    x = beta * y @ A
    x += u1
    return alpha * A @ x, x


@case(args=(0.9, 1.1, _sample(4, 4), _sample(4, 4, seed=1), _sample(4)))
def sum_of_two_products(alpha, beta, A, B, x):
    return alpha * A @ x + beta * B @ x


@case(args=(_sample(3), _sample(3, seed=1), _sample(3, seed=2), _sample(3, seed=3), _sample(3, 3)))
def product_and_transposed_product(x1, x2, y1, y2, A):
    x1 += A @ y1
    x2 += y2 @ A
    return x1, x2


@case(args=(1.5, 1.2, _sample(3, 4), _sample(4, 2), _sample(2, 3), _sample(3, 3)))
def chain_of_two(alpha, beta, A, B, C, D):
    D[:] = alpha * A @ B @ C + beta * D
    return D


@case(args=(_sample(3, 2), _sample(2, 4), _sample(4, 3), _sample(3, 2, seed=1)))
def chain_of_three(A, B, C, D):
    return A @ B @ C @ D


@case(args=(1.5, 1.2, _sample(4, 3), _sample(4, 4), _sample(4, 3, seed=1)))
def symmetric_product(alpha, beta, C, A, B):
    below = np.empty((C.shape[1],), dtype=C.dtype)
    C *= beta
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            C[:i, j] += alpha * B[i, j] * A[i, :i]
            below[j] = B[:i, j] @ A[i, :i]
        C[i, :] += alpha * B[i, :] * A[i, i] + alpha * below
    return C


@case(args=(1.5, 1.2, _sample(4, 4), _sample(4, 3)))
def lower_rank_update(alpha, beta, C, A):
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += alpha * A[i, k] * A[: i + 1, k]
    return C


@case(args=(1.5, 1.2, _sample(4, 4), _sample(4, 3), _sample(4, 3, seed=1)))
def lower_rank_two_update(alpha, beta, C, A, B):
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += A[: i + 1, k] * alpha * B[i, k] + B[: i + 1, k] * alpha * A[i, k]
    return C


@case(args=(1.5, _sample(4, 4), _sample(4, 3)))
def triangular_product(alpha, A, B):
    for i in range(B.shape[0]):
        for j in range(B.shape[1]):
            B[i, j] += np.dot(A[i + 1 :, i], B[i + 1 :, j])
    B *= alpha
    return B


@case(args=(2, 3, 4, _sample(2, 3, 4), _sample(4, 4)))
def product_of_rows(NR, NQ, NP, A, C4):
    total = np.empty(NP)
    for r in range(NR):
        for q in range(NQ):
            for p in range(NP):
                total[p] = A[r, q, :] @ C4[:, p]
            A[r, q, :] = total
    return A


@case(args=(2, 3, 4, _sample(2, 3, 4), _sample(4, 4)))
def product_of_rows_as_a_matrix(NR, NQ, NP, A, C4):
    A[:] = np.reshape(np.reshape(A, (NR * NQ, NP)) @ C4, (NR, NQ, NP))
    return A


@case(args=(_sample(3, 4), _sample(4, 3), np.zeros((3, 3))))
def product_in_parallel(A, B, out):
    for i in prange(A.shape[0]):
        for j in range(B.shape[1]):
            s = 0.0
            for k in range(A.shape[1]):
                s += A[i, k] * B[k, j]
            out[i, j] = s
    return out


# ------------------------------------------------------------------------------------------- recurrences and factorisations
@case(args=(_dominant(4), _sample(4)))
def forward_substitution(L, b):
    x = np.zeros_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return x


@case(args=(_definite(4),))
def factor_of_a_definite_matrix(A):
    A[0, 0] = np.sqrt(A[0, 0])
    for i in range(1, A.shape[0]):
        for j in range(i):
            A[i, j] -= np.dot(A[i, :j], A[j, :j])
            A[i, j] /= A[j, j]
        A[i, i] -= np.dot(A[i, :i], A[i, :i])
        A[i, i] = np.sqrt(A[i, i])
    return A


@case(args=(_definite(4),))
def factor_by_columns(A):
    n = A.shape[0]
    for k in range(n):
        A[k, k] = np.sqrt(A[k, k])
        A[k + 1 :, k] /= A[k, k]
        for j in range(k + 1, n):
            A[j:, j] -= A[j:, k] * A[j, k]
    return np.tril(A)


@case(args=(_dominant(4),))
def triangular_factors(A):
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] -= A[i, :j] @ A[:j, j]
            A[i, j] /= A[j, j]
        for j in range(i, A.shape[0]):
            A[i, j] -= A[i, :i] @ A[:i, j]
    return A


@case(args=(_dominant(4),))
def elimination_by_outer_products(A):
    for k in range(A.shape[0] - 1):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return A


@case(args=(_dominant(4), _sample(4)))
def factors_and_two_solves(A, b):
    x, y = np.zeros_like(b), np.zeros_like(b)
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] = (A[i, j] - A[i, :j] @ A[:j, j]) / A[j, j]
        for j in range(i, A.shape[0]):
            A[i, j] -= A[i, :i] @ A[:i, j]
    for i in range(A.shape[0]):
        y[i] = b[i] - A[i, :i] @ y[:i]
    for i in range(A.shape[0] - 1, -1, -1):
        x[i] = (y[i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return x, y


@case(args=(np.array([0.4, -0.3, 0.2, 0.15, -0.1]),))
def autoregressive_recursion(r):
    y = np.empty_like(r)
    alpha, beta = -r[0], 1.0
    y[0] = -r[0]
    for k in range(1, r.shape[0]):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(np.flip(r[:k]), y[:k])) / beta
        y[:k] += alpha * np.flip(y[:k])
        y[k] = alpha
    return y


@case(args=(_sample(4, 3),))
def orthogonalised(A):
    Q = np.zeros_like(A)
    R = np.zeros((A.shape[1], A.shape[1]), dtype=A.dtype)
    for k in range(A.shape[1]):
        norm = np.dot(A[:, k], A[:, k])
        R[k, k] = np.sqrt(norm)
        Q[:, k] = A[:, k] / R[k, k]
        for j in range(k + 1, A.shape[1]):
            R[k, j] = np.dot(Q[:, k], A[:, j])
            A[:, j] -= Q[:, k] * R[k, j]
    return Q, R


@case(args=(_sample(5), _sample(4) + 3.0, _sample(4, seed=1), _sample(5, seed=2) + 4.0))
def tridiagonal_solve(d, a, c, b):
    n = len(d)
    cp, dp, x = np.empty(n), np.empty(n), np.empty(n)
    cp[0], dp[0] = c[0] / b[0], d[0] / b[0]
    for i in range(1, n):
        m = b[i] - a[i - 1] * cp[i - 1]
        if i < n - 1:
            cp[i] = c[i] / m
        dp[i] = (d[i] - a[i - 1] * dp[i - 1]) / m
    x[-1] = dp[-1]
    for i in range(n - 2, -1, -1):
        x[i] = dp[i] - cp[i] * x[i + 1]
    return x


@case(args=(_definite(4), _sample(4), 1e-3))
def conjugate_gradients(A, b, tol):
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rr = r @ r
    while np.sqrt(rr) > tol:
        Ap = A @ p
        step = rr / (p @ Ap)
        x += step * p
        r -= step * Ap
        new = r @ r
        p = r + (new / rr) * p
        rr = new
    return x


@case(args=(_definite(4), np.ones(4), 6))
def power_iteration(A, v, n):
    eigenvalue = 0.0
    for _ in range(n):
        w = A @ v
        eigenvalue = v @ w / (v @ v)
        v = w / np.sqrt(np.sum(w**2))
    return eigenvalue, v
