"""Programs that call ``adj.jvp`` inside, each beside one that has the derivative written out by hand."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

import adjointsim as adj

W = np.array([0.5, -1.5, 2.0])
K = 1.7


class Pair(NamedTuple):
    a: float
    v: np.ndarray


def rhs(u, p):
    out = np.empty_like(u)
    out[0] = -p[0] * u[0] + p[1] * u[1] * u[2]
    out[1] = p[0] * u[0] - p[1] * u[1] * u[2] - np.exp(p[2] * u[1])
    out[2] = np.exp(p[2] * u[1])
    return out


def jacobian(u, p):
    m = np.zeros((3, 3))
    m[0, 0], m[0, 1], m[0, 2] = -p[0], p[1] * u[2], p[1] * u[1]
    m[2, 1] = p[2] * np.exp(p[2] * u[1])
    m[1, 0], m[1, 1], m[1, 2] = p[0], -p[1] * u[2] - m[2, 1], -p[1] * u[1]
    return m


def implicit(u, p):
    """A linearly implicit step with the dense Jacobian."""
    n = len(u)
    m = np.empty((n, n))
    e = np.zeros(n)
    f = rhs(u, p)
    for j in range(n):
        e[j] = 1.0
        f, column = adj.jvp(rhs, (u, p), (e, None))
        m[:, j] = column
        e[j] = 0.0
    return u + 0.1 * np.linalg.solve(np.eye(n) - 0.1 * m, f)


def implicit_by_hand(u, p):
    return u + 0.1 * np.linalg.solve(np.eye(3) - 0.1 * jacobian(u, p), rhs(u, p))


def scalar(x, y):
    return np.sin(x * y) * K + x


def scalars(x, y):
    out, dot = adj.jvp(scalar, (x, y), (y, 0.5))
    return out * dot


def scalars_by_hand(x, y):
    c = np.cos(x * y) * K
    return (np.sin(x * y) * K + x) * ((c * y + 1.0) * y + c * x * 0.5)


def twice(x, y):
    """The second derivative along a direction: a tangent of a tangent."""

    return adj.jvp(slope, (x, y), (1.0, 2.0))[1]


def slope(x, y):
    return adj.jvp(scalar, (x, y), (1.0, y))[1]


def twice_by_hand(x, y):
    s, c = np.sin(x * y) * K, np.cos(x * y) * K
    # slope = c (y + x y) + 1
    return -s * (y + 2.0 * x) * (y + x * y) + c * (y + 2.0 + 2.0 * x)


def grouped(z, k, w):
    return Pair(z.a * np.sum(z.v * w) + k, z.v * z.v * z.a), z.v[1:] * W[1:]


def structures(a, v, k):
    """Tuples in and out, an integer, a captured array; the tangent of a part."""
    (pair, rest), (pair_dot, rest_dot) = adj.jvp(grouped, (Pair(a, v), k, W), (Pair(a * a, None), None, v))
    return pair.a * pair_dot.a + np.sum(pair_dot.v * pair.v) + np.sum(rest + rest_dot) * k


def structures_by_hand(a, v, k):
    pair_a, pair_v = a * np.sum(v * W) + k, v * v * a
    dot_a = a * a * np.sum(v * W) + a * np.sum(v * v)
    return pair_a * dot_a + np.sum(v * v * a * a * pair_v) + np.sum(v[1:] * W[1:]) * k


def system(a, b):
    return np.linalg.solve(a, b)


def of_a_system(a, b):
    """Through a custom function, by its rule."""
    x, x_dot = adj.jvp(system, (a, b), (a @ a, b * b))
    return np.sum(x * x_dot)


def of_a_system_by_hand(a, b):
    x = np.linalg.solve(a, b)
    return np.sum(x * np.linalg.solve(a, b * b - a @ a @ x))


@numba.njit
def long(u, n):
    for k in range(n):
        if u[k] > 0.2:
            u = u * u + 0.1 * k
        else:
            u = np.sin(u)
    s = 1.0
    while s < 3.0:
        s = s * (1.3 + 0.1 * u[0])
    return s * u


def long_dot(u, d, n):
    for k in range(n):
        if u[k] > 0.2:
            u, d = u * u + 0.1 * k, 2.0 * u * d
        else:
            u, d = np.sin(u), np.cos(u) * d
    s = 1.0
    t = 0.0
    while s < 3.0:
        s, t = s * (1.3 + 0.1 * u[0]), t * (1.3 + 0.1 * u[0]) + s * 0.1 * d[0]
    return s * u, t * u + s * d


def control(m, n):
    """Branches and loops inside; rows as arguments; in a loop and in a branch of the caller."""
    total = 0.0
    for i in range(m.shape[0] - 1):
        if m[i, 0] > 0.0:
            v, v_dot = adj.jvp(long, (m[i], n), (m[i + 1], 0))
            m[i + 1] = v_dot
            total += np.sum(v)
    return total, m


def control_by_hand(m, n):
    total = 0.0
    for i in range(m.shape[0] - 1):
        if m[i, 0] > 0.0:
            v, v_dot = long_dot(m[i], m[i + 1], n)
            m[i + 1] = v_dot
            total += np.sum(v)
    return total, m


def same(u):
    return u


def both_of(u):
    w = u * u
    return w, w


def memory_of_its_own(u):
    """What comes back is nobody else's memory."""
    a, b = adj.jvp(same, (u,), (u,))
    a[0] = 3.0
    b[1] = 4.0 * u[1]
    (c, d), (e, f) = adj.jvp(both_of, (u,), (a,))
    c[0] = 7.0 * u[0]
    e[0] = 5.0 * u[1]
    return u + a * b + c * d + e * f


def memory_of_its_own_by_hand(u):
    a, b = u.copy(), u.copy()
    a[0] = 3.0
    b[1] = 4.0 * u[1]
    c, d, e, f = u * u, u * u, 2.0 * u * a, 2.0 * u * a
    c[0] = 7.0 * u[0]
    e[0] = 5.0 * u[1]
    return u + a * b + c * d + e * f


def weighted(u, v, power=3, *, scale=2.0):
    return scale * np.sum(u**power * v)


def one_array_twice(u):
    """The same array for two arguments with different tangents; defaults."""
    return adj.jvp(weighted, (u, u), (None, u * u))[1] + adj.jvp(weighted, (u, u, 2), (u[::-1], None, None))[1]


def one_array_twice_by_hand(u):
    return 2.0 * np.sum(u**5) + 2.0 * np.sum(2.0 * u * u[::-1] * u)


def turned(z, c):
    return z * z * c + np.conj(z)


def complex_ones(u, c):
    z, z_dot = adj.jvp(turned, (u + 1j * u[::-1], c), (1j * u, 0.5))
    return np.sum((z * np.conj(z_dot)).real)


def complex_ones_by_hand(u, c):
    z = u + 1j * u[::-1]
    d = 2.0 * z * c * (1j * u) + z * z * 0.5 + np.conj(1j * u)
    return np.sum(((z * z * c + np.conj(z)) * np.conj(d)).real)


INDEX = np.array([0, 2, 0, 1])


def expressions(u, m):
    w = u.copy()
    w[1:] += w[:-1] * w[1:]
    w[:] = w[::-1] * w[0]
    v = np.sort(w) * np.roll(u, 1) + np.cumsum(w)
    v[v > 1.0] *= 0.5
    g = w[INDEX] * u[-1]
    w[INDEX] = g * g
    n = np.where(m > 0.3, m * m, np.sin(m)) @ v
    k = np.argmax(n)
    return np.concatenate((w, n)) * np.max(n) + np.sum(m[:3], axis=0)[k] * np.linalg.norm(w)


def expressions_dot(u, m, a, b):
    w, d = u.copy(), a.copy()
    d[1:] += d[:-1] * w[1:] + w[:-1] * d[1:]
    w[1:] += w[:-1] * w[1:]
    d[:] = d[::-1] * w[0] + w[::-1] * d[0]
    w[:] = w[::-1] * w[0]
    order = np.argsort(w)
    v = np.sort(w) * np.roll(u, 1) + np.cumsum(w)
    e = d[order] * np.roll(u, 1) + w[order] * np.roll(a, 1) + np.cumsum(d)
    mask = v > 1.0
    e[mask] *= 0.5
    v[mask] *= 0.5
    g, h = w[INDEX] * u[-1], d[INDEX] * u[-1] + w[INDEX] * a[-1]
    d[INDEX] = 2.0 * g * h
    w[INDEX] = g * g
    n = np.where(m > 0.3, m * m, np.sin(m)) @ v
    o = np.where(m > 0.3, 2.0 * m * b, np.cos(m) * b) @ v + np.where(m > 0.3, m * m, np.sin(m)) @ e
    k = np.argmax(n)
    s = np.linalg.norm(w)
    c = np.sum(m[:3], axis=0)
    first = np.concatenate((d, o)) * n[k] + np.concatenate((w, n)) * o[k]
    return first + np.sum(b[:3], axis=0)[k] * s + c[k] * np.sum(w * d) / s


def of_expressions(u, m):
    """Everything that is fused, overlaps, is masked, sorted or scattered."""
    out, dot = adj.jvp(expressions, (u, m[:, :3]), (m[0] * u, m[:, 2::-1]))
    return np.sum(out * dot * dot)


def of_expressions_by_hand(u, m):
    out, dot = expressions(u, m[:, :3]), expressions_dot(u, m[:, :3], m[0] * u, m[:, 2::-1].copy())
    return np.sum(out * dot * dot)


U = np.array([0.3, 0.5, 0.7])
M = np.array([[0.3, 0.1, 0.4], [0.2, 0.25, -0.6], [0.5, 0.9, 0.1], [0.3, 0.2, 0.4]])

PROGRAMS = {
    "implicit": (implicit, implicit_by_hand, (U, np.array([0.4, 3.0, 1.1]))),
    "scalars": (scalars, scalars_by_hand, (0.3, 0.8)),
    "twice": (twice, twice_by_hand, (0.3, 0.8)),
    "structures": (structures, structures_by_hand, (0.7, U, 2)),
    "custom function": (of_a_system, of_a_system_by_hand, (M[:3] + 2.0 * np.eye(3), U)),
    "control": (control, control_by_hand, (M, 3)),
    "memory": (memory_of_its_own, memory_of_its_own_by_hand, (U,)),
    "one array twice": (one_array_twice, one_array_twice_by_hand, (U,)),
    "expressions": (of_expressions, of_expressions_by_hand, (U, M)),
    "complex": (complex_ones, complex_ones_by_hand, (U, 0.9)),
}
