"""Arrays that are made in a loop and outlive the iteration: used after it, or returned from inside."""

from __future__ import annotations

import math

import numpy as np

from . import case

A = np.array([0.7, -1.1, 0.4, 0.9])
B = np.array([0.3, 1.2, -0.6, 0.8])


@case(args=(A, 0.7), tags="loop array")
def last_of_a_loop(a, x):
    for i in range(3):
        w = np.zeros(2)
        w[0] = a[i] * i * x
        w[1] += w[0] * a[i]
    return w[0] * w[1]


@case(args=(A, 0.7), id="runs out", tags="loop array")
@case(args=(A, 1.3), id="leaves", tags="loop array")
def returned_from_a_loop(a, x):
    for i in range(len(a)):
        w = np.empty(len(a) - 1)
        for j in range(len(w)):
            w[j] = a[j] * x * (i + 1)
        if w[1] < -2.5:
            return w
    return np.ones(len(a) - 1)


@case(args=(A, 0.7), id="leaves", tags="loop array")
@case(args=(A, -1.2), id="runs out", tags="loop array")
def returned_with_a_number(a, x):
    for i in range(len(a)):
        w = np.empty_like(a)
        for j in range(len(w)):
            w[j] = a[j] * x * (i + 1)
        if w[1] < -1.5:
            return w, i * x
    return a, x


@case(args=(A, 0.9), tags="loop array")
def made_in_an_inner_loop(a, x):
    s = 0.0
    for i in range(3):
        for k in range(i + 1):
            w = np.zeros((2, len(a)))
            w[1, 0] = a[k] * x * i
            w[0, 1] = w[1, 0] * a[i]
            if w[0, 1] > 0.4:
                break
        s += w[1, 0] * w[0, 1]
    return s + w[0, 1] * w[1, 0]


@case(args=(A, 1.5), id="breaks", tags="loop array break")
@case(args=(A, -0.5), id="runs out", tags="loop array break")
def kept_at_a_break(a, x):
    for i in range(len(a)):
        if a[i] * x > 0.5 and i > 1:
            break
        w = np.zeros(len(a))
        w[i] = a[i] * x
    return w


@case(args=(A, 0.7), tags="while array")
def made_in_a_while(a, x):
    while x < 5.0:
        w = np.empty(len(a) + 1)
        for j in range(len(a) + 1):
            w[j] = x * j * a[0]
        x = x + w[2] * w[2] + 0.5
    return w[3] * x, w


def _search(a, x):
    for i in range(3):
        w = np.empty(4)
        for j in range(4):
            w[j] = a[j] * x + i
        if w[0] > 1.0:
            return w
    return a


@case(args=(A, 0.7), id="0.7", tags="loop array calls plain")
@case(args=(A, -2.5), id="-2.5", tags="loop array calls plain")
def returned_by_a_helper(a, x):
    v = _search(a, x)
    w = _search(v, 0.3 * x)
    u = _search(w, -x)
    return v[0] * w[1] + u[1] * v[1] + a[0] * w[2]


@case(args=(A, 0.7), tags="loop array calls plain")
def returned_by_a_helper_in_a_loop(a, x):
    u = a
    for k in range(3):
        w = _search(u, 0.5 * x + k)
        t = np.empty(4)
        for j in range(4):
            t[j] = w[j] * u[j] + 1.0
        u = t
    return u[0] * w[0] * w[3]


@case(args=(A, 1.4), tags="loop array view")
def a_row_of_what_a_loop_makes(a, x):
    for i in range(3):
        m = np.zeros((3, 4))
        m[i, 1] = a[i] * x
        m[1, 2] = m[i, 1] * x
        r = m[i]
        q = m
    return r[1] * q[1, 2] + r[1] * q[2, 1] * x


@case(args=(A, 0.7), tags="loop array swap")
def swapped_where_they_are_made(a, x):
    for i in range(3):
        v = np.full(3, x * i)
        w = v.copy()
        w[1] *= a[i]
        v, w = w, v
    return v[1] * w[1] + v[0]


@case(args=(A, 1.3), id="runs out", tags="loop array")
@case(args=(A, 2.5), id="leaves", tags="loop array")
def returned_from_two_loops(a, x):
    for k in range(4):
        for i in range(3):
            v = np.full(4, x * i * k)
            if v[2] * a[0] > 9.0:
                return v, v[0]
    return a, x


@case(args=(A, 2.5), tags="loop array")
def made_if_the_loop_runs(a, x):
    for i in range(int(x)):
        w = np.full(2, a[i] * x)
    if x > 1.0:
        return w[0] * w[1] * x
    return x


@case(args=(A, 0.9), id="leaves", tags="loop array swap")
@case(args=(A, 0.2), id="runs out", tags="loop array swap")
def returned_from_a_march_in_two_buffers(a, x):
    u, v = a.copy(), np.zeros(4)
    for n in range(6):
        for i in range(1, 3):
            v[i] = math.sin(u[i]) * u[i - 1] + u[i + 1] * x
        v[0], v[3] = u[3], u[0] * x
        u, v = v, u
        if u[2] * u[1] > 0.2 + n * 0.1:
            return u, n * x
        x = x * 0.9 + u[0] * 0.01
    return v, x


@case(args=(A, A[::-1].copy(), 0.4), id="runs out", tags="loop array swap")
@case(args=(A, A[::-1].copy(), 1.9), id="leaves", tags="loop array swap")
def one_of_two_in_either_order(a, b, x):
    for k in range(3):
        a[k] = b[k] * x + a[k]
        if a[k] > 1.0:
            return a, b
        if b[k] * x > 1.0:
            return b, a
        a, b = b, a
    return a, b


@case(args=(A, 1.1), tags="loop array structure")
def a_pair_of_what_a_loop_makes(a, x):
    for k in range(3):
        pair = (np.full(4, x * a[k]), x * k)
    return pair[0][1] * pair[1]


@case(args=(A, A[::-1].copy() * 0.5, 0.4, 0.01), id="leaves at once", tags="loop array return")
@case(args=(A, A[::-1].copy() * 0.5, 0.4, 9.0), id="runs out", tags="loop array return")
def rebound_after_a_test_for_return(a, b, x, limit):
    for i in range(1, 4):
        if b[i] * b[i] > limit:
            return a, x
        if i != 2:
            a = b
        x = x * a[i] + b[0]
    return a, x


@case(args=(A, A[::-1].copy() * 0.5, 0.4, 0), id="leaves the first", tags="loop array return")
@case(args=(A, A[::-1].copy() * 0.5, 0.4, 4), id="leaves the second", tags="loop array return")
@case(args=(A, A[::-1].copy() * 0.5, -0.4, 4), id="leaves the second, swapped", tags="loop array return")
def returned_from_either_of_two_loops(a, b, x, n):
    for i in range(n, 4):
        if i != 1:
            return x, a
        b = a
    for i in range(-1, 2):
        if i * x > 0.1:
            return x * a[1], a
        if x < 0.2:
            a = b
        x *= b[i]
    return x, a


# ------------------------------------------------------------------------- made in a branch that may have returned before
@case(args=(A, B, 0), id="else")
@case(args=(A, B, 2), id="goes on")
@case(args=(A, B, 3), id="returns")
def rebound_before_an_inner_return(a, b, n):
    if n > 1:
        b = 0.5 * a * a
        if n > 2:
            return b
    return a * b


@case(args=(A, B, 0), id="else")
@case(args=(A, B, 2), id="goes on")
@case(args=(A, B, 3), id="returns")
def rebound_in_a_loop_after_an_inner_return(a, b, n):
    if n > 1:
        if n > 2:
            return a * b
        for k in range(3):
            a = 0.5 * a * b
    return a + b


@case(args=(A, B[:2], 0), id="else")
@case(args=(A, B[:2], 2), id="goes on")
@case(args=(A, B[:2], 3), id="returns")
def shortened_after_an_inner_return(a, b, n):
    """Where the function has returned, the array is still the long one."""
    if n > 1:
        c = 2.0 * a
        if n > 2:
            return c[0] * c[2]
        c = c[:2] * b
    else:
        c = b
    return c[0] * c[1]


@case(args=(A, B[:3], 2), id="goes on")
@case(args=(A, B[:3], 3), id="returns")
def view_of_other_length_after_an_inner_return(a, b, n):
    if n > 1:
        c = a
        if n > 2:
            return c[0] * c[2]
        c = c[1:]
    else:
        c = b
    return c[0] * c[1]
