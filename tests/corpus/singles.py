"""Axes of length 1: broadcast where an operand has more, kept by what keeps axes; called with and without them."""

import numpy as np

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
A1 = np.array([0.6])
M34 = np.array([[0.3, -0.8, 1.2, 0.5], [1.4, 0.2, -0.6, 0.9], [-0.1, 0.7, 0.35, -1.3]])
N34 = np.array([[0.9, -0.4, 0.15, 1.1], [-0.75, 0.65, 1.6, -0.35], [0.45, -1.15, 0.8, 0.05]])
ROW, COLUMN, CELL = N34[1:2].copy(), N34[:, 2:3] + 0.03, N34[2:, :1].copy()
SCALE = np.array([[0.5], [1.5], [-0.7]])
OFFSET = np.array([0.25])


@case(args=(A4, A4[::-1].copy()), id="as long")
@case(args=(A4, A1), id="right")
@case(args=(A1, A4), id="left")
@case(args=(A1, A1), id="both")
def of_vectors(a, b):
    return a * b + np.sin(a) / (2.0 + b * b)


@case(args=(M34, ROW), id="row")
@case(args=(COLUMN, M34), id="column")
@case(args=(ROW, COLUMN), id="row and column")
@case(args=(CELL, A4), id="cell and vector")
@case(args=(CELL, CELL + 0.2), id="cells")
def of_matrices(a, b):
    return np.where(a > b, a * b, np.maximum(a, 0.5 * b)) ** 2


@case(args=(M34, N34), id="as large")
@case(args=(M34, ROW), id="row")
@case(args=(M34, COLUMN), id="column")
@case(args=(M34, CELL), id="cell")
def stored_and_in_place(m, b):
    m[:] += b * m
    m[:, 1:3] = b[:, -2:]
    m -= 0.5 * b
    out = np.empty(m.shape)
    out[:] = b
    out *= m
    return out


@case(args=(A4, A4[1:3].copy()), id="as long")
@case(args=(A4, A1), id="one")
def into_slices_and_places(a, b):
    a[1:3] = b
    a[::-2] += b
    a[np.array([0, 3])] = a[np.array([3, 1])] * b
    return a


@case(args=(M34,), id="full", tags="plain")
@case(args=(ROW,), id="row", tags="plain")
@case(args=(COLUMN,), id="column", tags="plain")
def what_follows(m):
    like = np.zeros_like(m) + 0.3
    made = np.ones((m.shape[0], m.shape[1]))
    whole = m[:, :] * M34
    turned = m.T + M34.T * 0.5
    new = (m[None] * M34[None]).sum(axis=0)
    kept = m.sum(axis=0, keepdims=True) * M34
    return (like + M34) * m + made * M34 + whole * turned.T + new + kept


@case(args=(M34, A4), id="full")
@case(args=(ROW, A4), id="row")
@case(args=(COLUMN, A1), id="column")
def by_length(m, v):
    s = 0.0
    for i in range(m.shape[0]):
        for j in range(len(v)):
            s += m[i, j] * v[j]
    if m.shape[0] > 1:
        s *= m[1, 0]
    n = m.shape[1]
    return s / n + (m @ v).sum() + m.mean() * m.size


@case(args=(M34,), id="full")
@case(args=(ROW,), id="row")
@case(args=(COLUMN,), id="column")
def with_captured(m):
    return m * SCALE + OFFSET * m[:, -1:] - OFFSET


def _blended(u, v, k):
    total = 0.0
    for _ in range(3):
        for i in range(len(u)):
            total += u[i] * k
        w = k * u + v
        total += (w * w).sum() + (u[:1] * v).sum()
    return total


@case(args=(A4, A4[::-1].copy(), 0.3), id="as long", tags="plain")
@case(args=(A4, A1, 0.3), id="one", tags="plain")
@case(args=(A1, A4, 0.3), id="other", tags="plain")
def handed_to_functions(a, b, k):
    s = _blended(a, b, k) + _blended(b, a, k) * _blended(a, a, k)
    for i in range(2):
        s += _blended(a, b, s * 0.01 * i) + _blended(a[:1], b, k)
    return s


@case(args=(np.linspace(-1.0, 1.0, 24).reshape(2, 3, 4), M34), id="full")
@case(args=(np.linspace(-1.0, 1.0, 8).reshape(2, 1, 4), M34), id="middle")
@case(args=(np.linspace(-1.0, 1.0, 3).reshape(1, 3, 1), M34), id="outer")
def of_volumes(t, m):
    u = t * m
    t[:, :, :] *= 0.5
    return np.swapaxes(t, 0, 2) + u.sum(axis=0).T[:, :, None], t[:, ::-1] - m


@case(args=(A4, 2), id="as long")
@case(args=(A1, 2), id="one")
def carried(u, steps):
    v = u.copy()
    for _ in range(steps):
        u, v = v - 0.1 * u * A1, u
        u[:] = np.sin(u) + v
    return u, v


@case(args=(np.array([[1.0, 2.0], [-0.5, 0.25]]), np.array([True, False])), id="full")
@case(args=(np.array([[1.0, 2.0]]), np.array([True])), id="one")
def masks_and_choices(m, on):
    x = m[on] * 2.0
    m[on] = 0.5
    c = m + 1.0
    if m.shape[0] > 1:
        c *= 2.0
    return x.sum() + (c * np.array([[1.0, 3.0], [2.0, -1.0]])).sum()
