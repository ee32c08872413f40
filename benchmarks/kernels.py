"""Value and gradient of loop-heavy kernels, beside Numba's own run of the same text.

Each kernel's loss is the sum of what it computes; the gradient is with respect to all of its arrays.  The last row is the
geometric mean of the ratios.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.common import medians, table

ROUNDS = 5


def sample(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-1.0, 1.0, shape)


def dominant(n: int) -> np.ndarray:
    return sample(n, n) + n * np.eye(n)


def definite(n: int) -> np.ndarray:
    m = sample(n, n)
    return m @ m.T + n * np.eye(n)


def matrix_product(A, B):
    C = np.zeros((A.shape[0], B.shape[1]))
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            for k in range(A.shape[1]):
                C[i, j] += A[i, k] * B[k, j]
    return np.sum(C)


def triangular_solve(L, b):
    x = np.empty_like(b)
    for i in range(len(b)):
        s = b[i]
        for j in range(i):
            s -= L[i, j] * x[j]
        x[i] = s / L[i, i]
    return np.sum(x)


def cholesky(A):
    for i in range(A.shape[0]):
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[j, k]
            A[i, j] /= A[j, j]
        for k in range(i):
            A[i, i] -= A[i, k] * A[i, k]
        A[i, i] = math.sqrt(A[i, i])
    s = 0.0
    for i in range(A.shape[0]):
        for j in range(i + 1):
            s += A[i, j]
    return s


def factorisation(A):
    for i in range(A.shape[0]):
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[k, j]
            A[i, j] /= A[j, j]
        for j in range(i, A.shape[0]):
            for k in range(i):
                A[i, j] -= A[i, k] * A[k, j]
    return np.sum(A)


def orthogonalise(A):
    Q = np.zeros_like(A)
    s = 0.0
    for k in range(A.shape[1]):
        norm = 0.0
        for i in range(A.shape[0]):
            norm += A[i, k] * A[i, k]
        norm = math.sqrt(norm)
        s += norm
        for i in range(A.shape[0]):
            Q[i, k] = A[i, k] / norm
        for j in range(k + 1, A.shape[1]):
            r = 0.0
            for i in range(A.shape[0]):
                r += Q[i, k] * A[i, j]
            s += r
            for i in range(A.shape[0]):
                A[i, j] -= Q[i, k] * r
    return s + np.sum(Q)


def relaxation_by_slices(A, B, steps):
    for _ in range(steps):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])
    return np.sum(A)


def relaxation_by_loops(A, steps):
    for _ in range(steps):
        B = A.copy()
        for i in range(1, A.shape[0] - 1):
            for j in range(1, A.shape[1] - 1):
                A[i, j] = 0.2 * (B[i, j] + B[i, j - 1] + B[i, j + 1] + B[i + 1, j] + B[i - 1, j])
    return np.sum(A)


def sweeps_in_place(A, steps):
    for _ in range(steps):
        for i in range(1, A.shape[0] - 1):
            for j in range(1, A.shape[1] - 1):
                A[i, j] = (A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j]) / 5.0
    return np.sum(A)


def burgers(u, nu, steps):
    for _ in range(steps):
        v = u.copy()
        for i in range(1, len(u) - 1):
            u[i] = v[i] - 0.1 * v[i] * (v[i + 1] - v[i - 1]) + nu * (v[i + 1] - 2.0 * v[i] + v[i - 1])
    return np.sum(u)


def bodies(x, v, m, steps):
    for _ in range(steps):
        for i in range(len(m)):
            a0, a1, a2 = 0.0, 0.0, 0.0
            for j in range(len(m)):
                d0, d1, d2 = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
                r2 = d0 * d0 + d1 * d1 + d2 * d2 + 0.01
                w = m[j] / (r2 * math.sqrt(r2))
                a0 += w * d0
                a1 += w * d1
                a2 += w * d2
            v[i, 0] += 0.01 * a0
            v[i, 1] += 0.01 * a1
            v[i, 2] += 0.01 * a2
        for i in range(len(m)):
            for k in range(3):
                x[i, k] += 0.01 * v[i, k]
    return np.sum(x)


def shortest_paths(D):
    for k in range(D.shape[0]):
        for i in range(D.shape[0]):
            for j in range(D.shape[0]):
                D[i, j] = min(D[i, j], D[i, k] + D[k, j])
    return np.sum(D)


def convolution(image, kernel):
    out = np.zeros((image.shape[0] - kernel.shape[0] + 1, image.shape[1] - kernel.shape[1] + 1))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            s = 0.0
            for k in range(kernel.shape[0]):
                for m in range(kernel.shape[1]):
                    s += image[i + k, j + m] * kernel[k, m]
            out[i, j] = max(s, 0.0)
    return np.sum(out)


def perceptron(x, w1, b1, w2, b2):
    hidden = np.maximum(x @ w1 + b1, 0.0)
    z = hidden @ w2 + b2
    s = 0.0
    for i in range(z.shape[0]):
        top = np.max(z[i])
        s += np.log(np.sum(np.exp(z[i] - top))) + top - z[i, 0]
    return s


KERNELS = (
    (matrix_product, (sample(120, 120), sample(120, 120, seed=1))),
    (triangular_solve, (dominant(800), sample(800))),
    (cholesky, (definite(150),)),
    (factorisation, (dominant(150),)),
    (orthogonalise, (sample(100, 80) + np.eye(100, 80),)),
    (relaxation_by_slices, (sample(100, 100), sample(100, 100, seed=1), 20)),
    (relaxation_by_loops, (sample(100, 100), 40)),
    (sweeps_in_place, (sample(100, 100), 20)),
    (burgers, (sample(1000) * 0.1, 0.2, 500)),
    (bodies, (sample(100, 3), sample(100, 3, seed=1), np.abs(sample(100)), 10)),
    (shortest_paths, (np.abs(sample(100, 100)),)),
    (convolution, (sample(150, 150), sample(5, 5))),
    (perceptron, (sample(100, 60), sample(60, 80), sample(80), sample(80, 10), sample(10))),
)


def _wrt(args: tuple) -> tuple[int, ...]:
    return tuple(k for k, a in enumerate(args) if not isinstance(a, int))


def check() -> None:
    """Values, and one directional derivative of each gradient by differences."""
    for fn, args in KERNELS:
        value, bars = adj.value_and_grad(fn, wrt=_wrt(args))(*args)
        expected = njit(fn)(*copy.deepcopy(args))
        np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=fn.__name__)
        rng, h = np.random.default_rng(3), 1e-6
        dots = {k: rng.standard_normal(np.shape(args[k])) for k in _wrt(args)}
        moved = [
            njit(fn)(*(copy.deepcopy(a) + sign * h * dots[k] if k in dots else a for k, a in enumerate(args))) for sign in (1, -1)
        ]
        difference = (moved[0] - moved[1]) / (2.0 * h)
        slope = sum(float(np.sum(bar * dots[k])) for k, bar in zip(_wrt(args), bars, strict=True))
        np.testing.assert_allclose(slope, difference, rtol=1e-4, atol=1e-5 * abs(value), err_msg=fn.__name__)


def main() -> None:
    """Time and print."""
    rows, ratios = [], []
    for fn, args in KERNELS:
        numbas, gradient = njit(fn), adj.value_and_grad(fn, wrt=_wrt(args))
        copies = [copy.deepcopy(args) for _ in range(ROUNDS + 2)]  # kernels overwrite their arguments
        times = medians({"numba": lambda: numbas(*copies.pop()), "gradient": lambda: gradient(*args)}, ROUNDS)  # noqa: B023
        ratios.append(times["gradient"] / times["numba"])
        rows.append((fn.__name__, ratios[-1], "", f"{1e3 * times['numba']:.3g} ms by Numba"))
    rows.append(("geometric mean", math.exp(sum(map(math.log, ratios)) / len(ratios)), "", "limit 3"))
    table("value and gradient / Numba's run of the same text", rows)


if __name__ == "__main__":
    check()
    main()
