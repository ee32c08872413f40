"""What a loop may run over besides a range, and arrays of listed items."""

import numba
import numpy as np

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
B6 = np.array([0.3, 1.2, -0.5, 0.8, 1.7, -0.9])
M34 = np.array([[0.3, -0.8, 1.2, 0.5], [1.4, 0.2, -0.6, 0.9], [-0.1, 0.7, 0.35, -1.3]])


@case(args=(A4, M34))
def over_arrays(a, m):
    s = 0.0
    for x in a:
        s += x * x
    for row in m:
        for x in row:
            s += x * s * 0.1
        row[0] = s
    return s, m


@case(args=(A4, B6))
def enumerated_and_zipped(a, b):
    s = 0.0
    for i, x in enumerate(a):
        s += x * b[i]
    for k, (x, y) in enumerate(zip(a, b[1:]), 1):
        if x < -1.0:
            continue
        s += x * y * k
        if k == 3:
            break
    for x, y in zip(b, a):
        s -= x * y * y
    return s


@case(args=(A4, 3))
def reversed_ranges(a, n):
    s = 0.3
    for i in reversed(range(n)):
        s = s * a[i] + 1.0
    for x in reversed(a):
        s = 0.5 * s + x
    return s


@case(args=(M34,))
def all_indices(m):
    s = 0.0
    for i, j in np.ndindex(m.shape):
        s += m[i, j] * (i + 1) * m[i, j - 1]
    for i, j in np.ndindex(2, 2):
        m[i, j] *= s
    return m


@case(args=(B6, 0.4))
def parallel_ranges(u, k):
    out = np.zeros_like(u)
    total = 0.0
    for i in numba.prange(1, len(u) - 1):
        out[i] = u[i] + k * (u[i - 1] - u[i + 1])
        total += u[i] * u[i]
    return out, total


@case(args=(0.4, -0.7, 3))
def listed_numbers(x, y, n):
    a = np.array([x, y, x * y])
    m = np.array([[x, 1.0], [y, x]])
    c = np.array([x * i + y for i in range(n)])
    d = np.array([v * v for v in a])
    return a * c, m @ a[:2], d.sum()


@case(args=(0.8, 2))
def numbers_of_a_tuple(x, n):
    s = x
    for w in (1.0, 2.0, 3.0, 4.0):
        s = s * x + w
    for w in (0.5, n, 0.25):
        s *= w
    return s
