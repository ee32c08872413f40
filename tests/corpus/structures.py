"""Tuples, NamedTuples, nested arguments and results."""

import math
from typing import NamedTuple

import numpy as np

from . import case

A3 = np.array([0.7, -1.1, 0.4])
T234 = np.linspace(-1.0, 1.0, 24).reshape(2, 3, 4)


class Point(NamedTuple):
    x: float
    y: float


class Model(NamedTuple):
    origin: Point
    field: np.ndarray
    order: int
    damped: bool


MODEL = Model(Point(0.4, -0.9), A3, 2, True)


@case(args=((0.4, 1.3),))
def tuple_unpacked(p):
    x, y = p
    return x * y + x


@case(args=((0.4, 1.3, -0.2),))
def tuple_indexed(p):
    return p[0] * p[1] + p[-1] * p[2]


@case(args=((0.4, 1.3),))
def tuple_result(p):
    x, y = p
    return y * x, x - y * y


@case(args=((0.4, (1.3, A3)),))
def nested_tuple_argument(p):
    x, (y, a) = p
    a[0] = x * y * a[1]
    return a[0] * p[1][0] + p[1][1][2]


@case(args=(0.4, 1.3))
def nested_tuple_result(x, y):
    a = np.zeros(2)
    a[0] = x
    a[1] = x * y
    return (x * x, (y, a)), math.sin(x)


@case(args=(Point(0.4, 1.3),))
def named_tuple_fields(p):
    return p.x * p.x + p.y * p[0] - p[-1]


@case(args=(Point(0.4, 1.3),))
def named_tuple_result(p):
    return Point(p.x * p.y, p.y - p.x)


@case(args=(Point(0.4, 1.3),))
def named_tuple_by_keyword(p):
    return Point(y=p.x * 2.0, x=p.y * p.x)


@case(args=(MODEL, 0.7))
def nested_named_tuple(m, t):
    s = m.origin.x * t + m.origin.y
    for i in range(m.order):
        s = s * m.field[i] + t
    if m.damped:
        s = s * math.exp(-t)
    return s


@case(args=(MODEL,))
def nested_named_tuple_overwritten(m):
    f = m.field
    for i in range(len(f)):
        f[i] = f[i] * m.origin.x + f[i - 1]
    return Model(Point(m.origin.y, f[0]), f, m.order + 1, not m.damped)


@case(args=((0.4, 3), 1.5))
def integer_rides_along(state, x):
    s, k = state
    return s * x**k, k + 1


@case(args=((0.4, 1.3), 4))
def tuple_state_in_loop(p, n):
    for i in range(n):
        x, y = p
        p = (x + 0.1 * y, y - 0.1 * x * y)
    return p


@case(args=((0.4, 1.3), 4))
def tuple_rebound_in_branch(p, n):
    q = p
    if n > 2:
        q = (p[1] * p[0], p[0])
    return q[0] + 2.0 * q[1]


@case(args=(Point(0.4, 1.3), 3))
def named_tuple_state_in_loop(p, n):
    for i in range(n):
        p = Point(p.x - 0.2 * p.y * i, p.y + 0.3 * p.x)
    return p


@case(args=((A3, A3[::-1].copy()),))
def tuple_of_arrays(p):
    a, b = p
    s = 0.0
    for i in range(len(a)):
        a[i] = a[i] + b[i] * a[i - 1]
        s += a[i] * b[-1 - i]
    return s, a


@case(args=((A3, A3[::-1].copy()), 3))
def tuple_of_arrays_swapped(p, n):
    u, w = p
    for _ in range(n):
        for i in range(len(u)):
            w[i] = w[i] * 0.5 + u[i] * u[i - 1]
        u, w = w, u
    return u, w


@case(args=((1.0, (2.0, 3.0)), 0.5))
def tuple_built_and_passed_around(p, x):
    q = (p[1][1] * x, (p[0], p[1][0] + x))
    a, (b, c) = q
    return a * b + c * q[1][1]


@case(args=(((0.1, 0.2), (0.3, 0.4)),))
def two_by_two_as_tuples(m):
    (a, b), (c, d) = m
    det = a * d - b * c
    return (d / det, -b / det), (-c / det, a / det)


@case(args=((0.5,),))
def tuple_of_one(p):
    return (p[0] * p[0],)


@case(args=(None, 0.5))
def none_argument(p, x):
    return x * x


@case(args=((np.array([1.0, 2.0], dtype=np.float32), 0.5),), tags="float32")
def float32_in_a_tuple(p):
    a, x = p
    return a[0] * x + a[1] * x * x


@case(args=((A3, np.array([2, 0, 1]), True, 0.3),))
def mixed_leaves(p):
    a, order, flag, x = p
    s = 0.0
    for i in range(3):
        s += a[order[i]] * x**i
    return s if flag else -s


@case(args=((0.4, 1.3, 2.0, 0.1),))
def length_of_tuple(p):
    return p[0] * len(p) + p[len(p) - 1]


# ---------------------------------------------------------------------------------------------- lists of a fixed length
@case(args=(0.7, 2))
def list_of_numbers(x, k):
    values = [x, x * x, 2.0, math.sin(x)]
    values[k] = values[k - 1] * values[-1]
    values[0] += values[k] * x
    return values[0] * values[2] + len(values) * values[1]


@case(args=(A3, 0.4))
def list_from_a_comprehension(a, x):
    values = [x * v * v for v in a]
    s = 0.0
    for i, v in enumerate(values):
        s += v * (i + 1.0)
        values[i - 1] *= x
    first, second, third = [s, x, 2.0]
    return s, np.array(values) * a, values[-2] * first * second * third


@case(args=(0.7, 4))
def list_changed_in_a_loop(x, n):
    state = [x, 1.0, 0.5 * x]
    for i in range(n):
        state[i % 3] = state[(i + 1) % 3] * x + state[i % 3]
    return state[0], state[1], state[2]


def second_of(values, k):
    values[k] = values[k] * values[0]
    return values[k]


@case(args=(0.7, 1), tags="plain")
def list_handed_to_a_helper(x, k):
    values = [x + 1.0, 3.0 * x]
    other = values
    y = second_of(values, k)
    return y * other[1] + values[0]


@case(args=(A3, 0.3), tags="plain")
def arrays_joined_from_a_list(a, x):
    both = np.concatenate([a, x * a])
    return both * np.hstack([both[3:], both[:3]]), np.stack([a, a * a], axis=1)


@case(args=((0.3, 0.7, 1.9), T234))
def slices_of_tuples(t, z):
    n, m = z.shape[:2]
    x, y = t[1:]
    return x * y + n * t[::-1][0], z[0, 0] * m


def _halved(b, a):
    for _ in range(2):
        b = 0.5 * b * a
    return b


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6])), tags="alias loop plain")
def names_given_to_what_loops_rebind(b, c):
    for _ in range(2):
        b = c * b
    a, t = b, (b[::-1], c)
    for _ in range(2):
        b = 0.7 * b * a
    d = _halved(b, c)
    return a, b, d, t[0]


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6])), tags="alias loop")
def what_a_loop_rebinds_used_by_another_loop(b, c):
    for _ in range(2):
        b = c * b
    first = b[1:]
    k = 0
    while k < 3:
        k += 1
        b = 0.5 * b * first[0] + c
    for _ in range(2):
        b = b * c
    return b


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6]), 9.0), tags="alias loop return", id="all")
@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6]), 0.0), tags="alias loop return", id="left")
def returned_from_a_loop_that_rebinds_it_again(b, c, limit):
    for _ in range(2):
        b = c * b
    for _ in range(3):
        last = b
        if b[0] * c[1] > limit:
            return b, last * b
        b = 0.6 * b * c + 0.1
    return last, b


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6])), tags="alias loop break")
def kept_from_before_it_is_rebound(b, c):
    for _ in range(2):
        b = c * b
    for _ in range(3):
        kept = (b, c)
        b = 0.6 * b * c + 0.1
        if kept[0][0] > b[1]:
            break
    return kept[0] * b


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6])), tags="alias loop return")
def returned_in_a_branch_after_a_loop_that_may_return_another(b, c):
    a = c
    for _ in range(2):
        if a[0] * c[1] > 10.0:
            return a, b
        b = c
    for _ in range(2):
        a = 0.6 * b
    for _ in range(2):
        if a[0] * c[1] > 0.1:
            return a, b
    return b, a


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6]), 0.2), tags="alias loop")
def swapped_by_a_branch_in_a_loop_and_written(a, b, x):
    u, v = a * 1.0, b * 1.0
    for i in range(3):
        if u[0] > v[0] * i * x:
            u, v = v, u
        u[0] *= 0.5
        v[1] += 0.25 * u[0]
    v *= 2.0
    return u[0] * v[1], v


@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6]), 0.2), tags="alias loop", id="named")
@case(args=(np.array([0.3, 0.4]), np.array([0.5, 0.6]), -0.2), tags="alias loop", id="made")
def chosen_from_what_a_name_was_and_only_read(a, b, x):
    for _ in range(2):
        c = a
        a = b
        if c[0] * x < 0.0:
            c = 0.6 * a * a + x
    return a, b, c * x
