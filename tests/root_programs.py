"""Programs that call ``adj.root`` inside, each beside one that iterates Newton's method with a Jacobian by hand.

Iterations that have converged have the derivatives of the root, so the second programs are references for the first ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj

W = np.array([0.5, -1.5, 2.0])
U = np.array([0.3, 0.5, 0.7])
P = np.array([0.4, 3.0, 1.1])


class Cubic(NamedTuple):
    a: float
    b: np.ndarray


# ----------------------------------------------------------------------------------------------------- a stiff little system
def rhs(x, p):
    out = np.empty_like(x)
    out[0] = -p[0] * x[0] + p[1] * x[1] * x[2]
    out[1] = p[0] * x[0] - p[1] * x[1] * x[2] - p[2] * x[1] ** 2
    out[2] = p[2] * x[1] ** 2
    return out


def jacobian(x, p):
    m = np.zeros((3, 3))
    m[0, 0], m[0, 1], m[0, 2] = -p[0], p[1] * x[2], p[1] * x[1]
    m[2, 1] = 2.0 * p[2] * x[1]
    m[1, 0], m[1, 1], m[1, 2] = p[0], -p[1] * x[2] - m[2, 1], -p[1] * x[1]
    return m


def euler(x, u, dt, p):
    return x - u - dt * rhs(x, p)


def euler_of(x, f, u, dt, p):
    """With a function among its arguments."""
    return x - u - dt * f(x, p)


def euler_by_hand(u, dt, p):
    x = u + 0.0
    for _ in range(9):
        x = x - np.linalg.solve(np.eye(3) - dt * jacobian(x, p), x - u - dt * rhs(x, p))
    return x


def one(u, p):
    return adj.root(euler, u, (u, 0.1, p))


def one_by_hand(u, p):
    return euler_by_hand(u, 0.1, p)


def with_a_function(u, p):
    return adj.root(euler_of, u * 0.9, args=(rhs, u, 0.1, p), max_iter=20, tol=1e-12)


def control(m, p, n):
    """In loops and branches; rows; the state is overwritten by what was found, and that is overwritten, too."""
    total = 0.0
    for k in range(n):
        for i in range(m.shape[0]):
            if m[i, 0] > 0.35:
                m[i] = adj.root(euler, m[i], (m[i], 0.05 * (k + 1), p))
            else:
                x = adj.root(euler, m[i - 1], (m[i] * m[i - 1], 0.1, p * m[i, 1]))
                m[i, 1:] = x[:2]
                x[0] *= x[1]
                total += x[0]
                x[:] = 0.3
    return total, m


def control_by_hand(m, p, n):
    total = 0.0
    for k in range(n):
        for i in range(m.shape[0]):
            if m[i, 0] > 0.35:
                m[i] = euler_by_hand(m[i], 0.05 * (k + 1), p)
            else:
                x = euler_by_hand(m[i] * m[i - 1], 0.1, p * m[i, 1])
                m[i, 1:] = x[:2]
                x[0] *= x[1]
                total += x[0]
                x[:] = 0.3
    return total, m


def tangent_of_a_root(u, p):
    """What a tangent through a root gives is differentiated again."""
    x, x_dot = adj.jvp(one, (u, p), (p, u * u))
    return x * x_dot


def tangent_of_a_root_by_hand(u, p):
    x, x_dot = adj.jvp(one_by_hand, (u, p), (p, u * u))
    return x * x_dot


# ---------------------------------------------------------------------------------------------------------------- numbers
def cubic(x, p):
    return x**3 + p.a * x - np.sum(p.b * W)


def number(a, b):
    return adj.root(cubic, 1, (Cubic(a, b),)) * a


def number_by_hand(a, b):
    x = 1.0
    for _ in range(12):
        x = x - (x**3 + a * x - np.sum(b * W)) / (3.0 * x * x + a)
    return x * a


def inner(z, x, c):
    return z + 0.3 * np.sin(z) - c * x


def outer(x, c):
    z = adj.root(inner, x, (x, c))
    return x * x + z - 2.0


def nested(c):
    """A root in a residual."""
    return adj.root(outer, 1.0, (c,))


def nested_by_hand(c):
    x, z = 1.0, 1.0
    for _ in range(12):  # both at once
        g, h = z + 0.3 * np.sin(z) - c * x, x * x + z - 2.0
        gz = 1.0 + 0.3 * np.cos(z)
        det = gz * 2.0 * x + c  # of [[-c, gz], [2 x, 1]], with the sign of -det
        x, z = x - (gz * h - g) / det, z - (2.0 * x * g + c * h) / det
    return x


# ------------------------------------------------------------------------------------------------------------- structures
def coupled(z, c):
    a, (v, w) = z
    return a * a - c + 0.1 * np.sum(v), (v + 0.5 * a - w, w * w * w + w + v[0] * c)


def structure(c, u):
    a, (v, w) = adj.root(coupled, (1.0, (u[:2], 0.1)), (c,))
    v[0] *= a
    return v, a * w


def structure_by_hand(c, u):
    z = np.array([1.0, 0.3, 0.5, 0.1])
    for _ in range(12):
        r, m = np.empty(4), np.zeros((4, 4))
        r[0], r[1] = z[0] * z[0] - c + 0.1 * (z[1] + z[2]), z[1] + 0.5 * z[0] - z[3]
        r[2], r[3] = z[2] + 0.5 * z[0] - z[3], z[3] ** 3 + z[3] + z[1] * c
        m[0, 0], m[0, 1], m[0, 2] = 2.0 * z[0], 0.1, 0.1
        m[1, 0], m[1, 1], m[1, 3] = 0.5, 1.0, -1.0
        m[2, 0], m[2, 2], m[2, 3] = 0.5, 1.0, -1.0
        m[3, 1], m[3, 3] = c, 3.0 * z[3] * z[3] + 1.0
        z = z - np.linalg.solve(m, r)
    v = z[1:3].copy()
    v[0] *= z[0]
    return v, z[0] * z[3]


# ----------------------------------------------------------------------------------------------------------------- bands
def diffusion(x, u, k):
    """Two diagonals below the main one, one above."""
    n = len(x)
    out = np.empty_like(x)
    for i in range(n):
        below = x[i - 2] if i > 1 else 0.0
        left = x[i - 1] if i > 0 else 0.0
        right = x[i + 1] if i < n - 1 else 1.0
        out[i] = x[i] - u[i] - k * (left - 2.0 * x[i] + right) * (1.0 + 0.1 * x[i] ** 2) + 0.2 * below * x[i]
    return out


def bands(u, k):
    return adj.root(diffusion, u, (u, k), bandwidth=(2, 1))


def dense_in_place_of_bands(u, k):
    return adj.root(diffusion, u, (u, k))


# -------------------------------------------------------------------------------------- residuals of more than expressions
def scaled(weights):
    def residual(x, a, b):
        y = np.linalg.solve(a, x * weights)
        s = 1.0
        k = 0
        while s < 2.0:
            s *= 1.3 + 0.05 * y[k]
            k += 1
        if y[0] > 100.0:
            raise ValueError("too large")
        return s * y + 0.2 * x**3 - b * W

    return residual


from_a_closure = scaled(np.array([1.0, 2.0, 1.5]))


def captured(a, b):
    return adj.root(from_a_closure, b, (a, b))


def captured_by_hand(a, b):
    x = b + 0.0
    for _ in range(12):
        f = from_a_closure(x, a, b)
        m = np.empty((3, 3))
        e = np.zeros(3)
        for j in range(3):
            e[j] = 1.0
            f, column = adj.jvp(from_a_closure, (x, a, b), (e, None, None))
            m[:, j] = column
            e[j] = 0.0
        x = x - np.linalg.solve(m, f)
    return x


def in_place(u, p):
    """The guess and an argument are overwritten with what is found."""
    for k in range(3):
        u[:] = adj.root(euler, u, (u, 0.1, p))
        p = p + u * 0.1
        u *= p
    return u, p


def in_place_by_hand(u, p):
    for k in range(3):
        u[:] = euler_by_hand(u, 0.1, p)
        p = p + u * 0.1
        u *= p
    return u, p


def stage(x, c):
    total = 0.0
    for k in range(4):
        total += adj.root(inner, x, (x * c, c + 0.1 * k)) * adj.jvp(inner, (x, total, c), (1.0, x, c))[1]
        x = np.sin(total) + 0.2
    return total


def helper(x, c):
    """In a function of its own, which is called three times."""
    return stage(x, c) * stage(c, x) + stage(x * c, 0.7)


def stage_by_hand(x, c):
    total = 0.0
    for k in range(4):
        z = x
        for _ in range(12):
            z = z - inner(z, x * c, c + 0.1 * k) / (1.0 + 0.3 * np.cos(z))
        total += z * (1.0 + 0.3 * np.cos(x) - c * x - total * c)
        x = np.sin(total) + 0.2
    return total


def helper_by_hand(x, c):
    return stage_by_hand(x, c) * stage_by_hand(c, x) + stage_by_hand(x * c, 0.7)


M = np.array([[0.3, 0.1, 0.4], [0.45, 0.25, 0.6], [0.5, 0.9, 0.1]])

PROGRAMS = {
    "one": (one, one_by_hand, (U, P)),
    "with a function": (with_a_function, one_by_hand, (U, P)),
    "control": (control, control_by_hand, (M, P, 2)),
    "tangent of a root": (tangent_of_a_root, tangent_of_a_root_by_hand, (U, P)),
    "number": (number, number_by_hand, (2.0, U)),
    "in place": (in_place, in_place_by_hand, (U, P)),
    "helper": (helper, helper_by_hand, (0.4, 0.9)),
    "nested": (nested, nested_by_hand, (0.9,)),
    "structure": (structure, structure_by_hand, (2.0, U)),
    "bands": (bands, dense_in_place_of_bands, (np.linspace(0.1, 0.9, 7) ** 2, 0.4)),
    "fewer than the bands": (bands, dense_in_place_of_bands, (np.array([0.3, 0.8]), 0.4)),
    "captured": (captured, captured_by_hand, (np.array([[2.0, 0.3, 0.1], [0.2, 3.0, 0.5], [0.4, 0.1, 2.5]]), U)),
}
