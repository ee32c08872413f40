"""Arrays of a few cells that a function makes itself: where every index is known they are numbers."""

from __future__ import annotations

import math

import numpy as np

from . import case

U = np.array([0.7, -1.1, 0.4])


def turned(t, v, p):
    return np.array([v[1] * p, math.sin(t) - v[0] * v[1]])


@case(args=(0.3, np.array([0.4, -0.7]), 0.6), tags="array call")
def stages_of_listed_numbers(t, y, p):
    k1 = turned(t, y, p)
    k2 = turned(t + 0.1, np.array([y[0] + 0.1 * k1[0], y[1] + 0.1 * k1[1]]), p)
    return np.array([y[0] + 0.1 * (k1[0] + k2[0]), y[1] + 0.1 * (k1[1] + k2[1])])


@case(args=(0.3, np.array([0.4, -0.7]), 0.6), tags="array call expression")
def stages_of_expressions(t, y, p):
    k1 = turned(t, y, p)
    k2 = turned(t + 0.1, y + 0.1 * k1, p)
    return y + 0.05 * (k1 + k2)


@case(args=(U, 0.8), tags="array branch loop")
def cells_in_branches_and_loops(u, x):
    a = np.array([x, 0.5])
    for i in range(len(u)):
        if u[i] > 0.0:
            a[0] = a[0] * u[i] + a[1]
        else:
            a[1] -= 0.3 * a[0] * u[i]
    return a[0] * a[-1]


@case(args=(0.8,), tags="array while")
def cells_that_decide(x):
    a = np.zeros(2)
    while a[0] < 2.0:
        a[1] = a[0] * x + a[1] * a[1]
        a[0] += x * x
    return a[1] * a[0]


@case(args=(U, 0.8, 2), tags="array loop overwrite")
def cells_one_by_one(u, x, n):
    a = np.array([x, x * x, 0.2])
    for _ in range(n):
        for i in range(2):
            a[i + 1] = a[i] * a[i + 1] + u[i]
        a[0] = a[2] * a[1]
    return a


@case(args=(0.8, -0.3), tags="array expression overlap-safe")
def a_shift_in_place(x, y):
    a = np.array([x, y, x * y])
    a[1:] = a[:-1] * a[1:]
    a[:] = a[::-1] * 0.5
    b = a * a + np.array([1.0, x, y])
    return np.sum(b * a) + b @ a


@case(args=(0.8, -0.3), tags="array rank-2")
def two_by_two(x, y):
    m = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            m[i, j] = x * (i + 1) + y * j
    v = m @ np.array([x, y])
    return v[0] * v[1] + m[-1, 0]


@case(args=(0.8, 3), tags="array swap loop")
def small_ping_pong(x, n):
    u = np.array([x, 1.0])
    v = np.zeros(2)
    for _ in range(n):
        v[0] = u[1] * x
        v[1] = u[0] + u[1] * u[1]
        u, v = v, u
    return u[0] * u[1] + v[0]


@case(args=(0.8, 1, 2), tags="array")
def a_cell_known_only_at_run_time(x, k, n):
    a = np.array([x, x * x, 0.5])
    for i in range(n):
        a[k] = a[i] * a[k] + 0.1
        a[0] += a[2]
    return a[1] * a[0]


@case(args=(0.8, 2), tags="array loop")
def written_before_it_is_read(x, n):
    s = 0.0
    a = np.empty(2)
    for i in range(n):
        a[0] = x * (i + 1)
        a[1] = a[0] * x
        s += a[0] * a[1]
    return s


@case(args=(U, 0.8), tags="array branch")
def one_of_two_small_arrays(u, x):
    a = np.array([x, u[0]])
    b = np.array([u[1], x * x])
    if u[2] > 0.1:
        c = a
    else:
        c = b
    return c[0] * c[1] * c[1]


@case(args=(U, 0.8), tags="array branch kink")
def a_number_that_must_be(u, x):
    if len(u) != 3:
        raise ValueError("three numbers")
    a = u * x
    if x != 0.8:
        raise ValueError("a number")
    return a[0] * a[1] * x


@case(args=(U, 0.8, 2, 2), id="one", tags="array overwrite")
@case(args=(U, 0.8, 1, 2), id="two", tags="array overwrite")
def cells_that_may_be_one(u, x, i, j):
    u[i] = x * u[j]
    u[j] = u[i] * x
    u[-1] = u[i] * u[j] + x
    s = u[i] * u[2]
    u[2] = s
    u[0] = x
    return s * u[2] * u[-1]


@case(args=(U, 0.8), tags="array branch trap")
def tests_that_leave(u, x):
    a = u * np.array([x, 1.0, x])  # raises unless there are three
    b = u * np.array([1.0, x, 0.5])
    s = 0.0
    if u[0] > 5.0:
        raise ValueError("too large")
    if u[0] > 5.0:
        s = 1.0 / (u[0] - u[0])
    for i in range(len(u)):
        s += a[i] * b[i]
    return s
