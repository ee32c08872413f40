"""Programs that an analysis must not take for simpler ones: each is there because a mutated analysis passed all others."""

from __future__ import annotations

import math

import numpy as np

from . import case

A = np.array([0.7, 0.0, -1.1])


@case(args=(A, 0.8), tags="branch kink tie")
def decided_by_a_function_at_a_tie(a, x):
    s = x
    for i in range(len(a)):
        c = math.exp(a[i] * x)
        if c > 1.0:
            s = s * c + a[i] * s
        else:
            s = 1.5 * s * s - x * a[i]
    return s


@case(args=(np.zeros(0), np.zeros(0), 0.8), id="none", tags="loop zero-size")
@case(args=(A, A + 1.0, 0.8), id="some", tags="loop")
def first_cell_read_in_a_loop(a, b, x):
    s = x
    for i in range(len(b)):
        s += a[0] * b[i] * x
    return s


@case(args=(A, 0.8, 2), tags="array")
def length_from_memory_of_its_own(a, x, m):
    sizes = np.empty(2, np.int64)
    sizes[0] = 1
    sizes[1] = m
    sizes[0] += sizes[1]
    w = np.zeros(sizes[0])
    for i in range(len(w)):
        w[i] = a[i] * x
    return w[0] * w[2]


@case(args=(A, 0.8), tags="loop negative")
def from_the_last_cell_on(a, x):
    s = x
    for i in range(-1, len(a) - 1):
        s = s * a[i] + x
    return s


@case(args=(A, 0.8), tags="loop overwrite")
def overwritten_after_the_loop_that_reads_it(a, x):
    w = a.copy()
    s = x
    for i in range(len(w)):
        s = s * s * w[i] + x
    w[0] = s * x
    for i in range(len(w)):
        s += w[i] * w[i]
    return s


@case(args=(A, 0.4), tags="loop overwrite time")
def coefficients_overwritten_after_the_march(a, x):
    u, k = a.copy(), a.copy()
    for n in range(3):
        for i in range(len(u)):
            c = u[i] * k[i]
            u[i] = u[i] + x * math.sin(c) * math.exp(c)
    s = 0.0
    for i in range(len(u)):
        k[i] = u[i] * x
        s += k[i] * k[i]
    return s


@case(args=(np.array([0.7, -1.1, 0.4]),))
def index_from_a_branch(a):
    if a[0] > 0.0:
        k = -1
    else:
        k = 2
    return a[k] * a[k - 1]


@case(args=(A, 0.8), tags="loop overwrite branch")
def read_above_the_diagonal_before_it_is_written(a, x):
    u = a.copy()
    s = x
    for i in range(len(u)):
        u[i] = s * x + u[i]
        for j in range(len(u)):
            if j < i:
                s = s + 0.1
            else:
                s = 0.3 * s * s + u[j] * s
    return s


@case(args=(A, 0.8), tags="loop overwrite")
def read_below_before_it_is_written_downwards(a, x):
    u = a.copy()
    s = x
    for i in range(len(u) - 1, -1, -1):
        u[i] = s * x + u[i]
        for j in range(i):
            s = 0.3 * s * s + u[j] * s
    return s


@case(args=(np.zeros(0), np.zeros(0), 0.8), id="none", tags="loop zero-size")
@case(args=(A, A + 1.0, 0.8), id="some", tags="loop")
def first_cell_of_a_copy_read_in_a_loop(a, b, x):
    w = a.copy()
    s = x
    for i in range(len(b)):
        s = 0.5 * s + w[0] * b[i] * s
    for i in range(len(w)):
        w[i] = s
        s += w[i] * x
    return s


@case(args=(A, 0.8, 1), tags="loop overwrite")
def overwritten_between_its_load_and_its_store(a, x, m):
    w = a.copy()
    s = x
    for i in range(len(w)):
        t = w[i]
        w[m] += 2.0 * s
        w[i] = t * t * x
        s = s + w[m]
    for i in range(len(w)):
        s += w[i] * x
    return s


@case(args=(np.linspace(0.3, 0.9, 8), 0), id="same", tags="loop overwrite")
@case(args=(np.linspace(0.3, 0.9, 8), 1), id="next", tags="loop overwrite")
def read_what_its_own_iteration_wrote(x, c):
    """The last load of an iteration reads what is final, but a store before it is undone at the start of the way back."""
    a = x.copy()
    s = 0.0
    c = max(c, 0)
    for i in range(len(a) // 2 - 1):
        t = a[2 * i] * a[2 * i + 1] + a[2 * i + 2] * a[2 * i + 3] * 0.3
        a[2 * i] = t * t
        a[2 * i + c] = math.sin(a[2 * i + c]) * 2.0
        s += a[2 * i] ** 3
    return s


@case(args=(A, np.array([1.0, 0.4]), 0.8), tags="branch kink tie overwrite")
def decided_at_a_tie_by_a_function_in_the_loop_around(a, b, x):
    w = a.copy()
    s = x
    for i in range(len(a)):
        c = math.exp(a[i] * x)
        for j in range(len(b)):
            if c > b[j]:
                s = 0.3 * s * s * c + w[i] * s
            else:
                s = 0.5 * s * s - x * w[j]
    for i in range(len(a)):
        w[i] = s * x
        s += w[i]
    return s


def _chosen(w, b, c, x):
    s = x
    for j in range(len(b)):
        if c > b[j]:
            s = 0.3 * s * s * c + w[0] * s
        else:
            s = 0.5 * s * s - x * w[j]
    return s


@case(args=(A, np.array([1.0, 0.4]), 0.8), tags="branch kink tie overwrite plain")
def decided_in_a_helper_at_a_tie_by_a_function_outside(a, b, x):
    w = a.copy()
    s = x
    for i in range(len(a)):
        s = s * _chosen(w, b, math.exp(a[i] * x), s)
    for i in range(len(a)):
        w[i] = s * x
        s += w[i]
    return s


@case(args=(np.array([0.7, 0.4, -0.3, 0.2]), np.array([0.7, 0.4, 0.3, 0.2]), 0.8), tags="loop overwrite time")
def marched_beside_what_overlaps(a, b, x):
    """Where only b is active, the iteration that is run again holds an Each that needs memory."""
    for _ in range(4):
        a[1:] += 0.2 * a[:-1]
        for i in range(1, len(b)):
            c = math.sin(b[i] * a[i]) * x
            d = c * b[i] + math.sin(c * c) + c
            b[i] = d * d * c + b[i]
            b[i] = 0.3 * b[i] * b[i] * b[i - 1] + a[i]
    return b, a
