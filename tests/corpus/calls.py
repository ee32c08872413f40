"""Calls of helper functions, closures and captured values."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
GAIN = 1.75
COUNT = 3
WEIGHTS = np.array([0.5, -0.25, 2.0, 1.0])
TABLE = np.array([[1.0, 2.0], [3.0, -4.0]])
ORDER = np.array([2, 0, 1, 3])


class Spring(NamedTuple):
    k: float
    rest: float


def plain_square(x):
    return x * x


def plain_mix(x, y=2.0, *, z=0.5):
    return x * y + z * x * x


@njit(error_model="numpy")
def square(x):
    return x * x


@njit(error_model="numpy")
def mix(x, y=2.0, z=0.5):
    return x * y + z * x * x


@njit(error_model="numpy")
def sine_of_square(x):
    return math.sin(square(x))


@njit(error_model="numpy")
def scale_in_place(a, factor):
    for i in range(len(a)):
        a[i] = a[i] * factor


@njit(error_model="numpy")
def smooth_into(src, dst):
    for i in range(len(src)):
        dst[i] = 0.5 * src[i] + 0.25 * (src[i - 1] + src[(i + 1) % len(src)])


@njit(error_model="numpy")
def sum_and_squares(a):
    s, q = 0.0, 0.0
    for i in range(len(a)):
        s += a[i]
        q += a[i] * a[i]
    return s, q


@njit(error_model="numpy")
def first_above(a, limit):
    for i in range(len(a)):
        if a[i] > limit:
            return a[i] * a[i]
    return -1.0


@njit(error_model="numpy")
def make_powers(x, n):
    out = np.empty(n)
    out[0] = 1.0
    for i in range(1, n):
        out[i] = out[i - 1] * x
    return out


@njit(error_model="numpy")
def overwrite_and_return(a):
    a[0] = a[0] * a[1]
    return a


@njit(error_model="numpy")
def spring_force(s, x):
    return -s.k * (x - s.rest)


@njit(error_model="numpy")
def clipped_index(i, n):
    return max(0, min(i, n - 1))


@njit(error_model="numpy")
def accumulate(total, a, i):
    total[0] += a[i]
    a[i] = total[0] * a[i]
    return total[0]


@case(args=(0.6,), tags="plain")
def call_plain(x):
    return plain_square(x) + plain_square(x + 1.0)


@case(args=(0.6,), tags="plain")
def call_plain_with_keywords(x):
    return plain_mix(x) + plain_mix(x, 3.0) + plain_mix(x, z=x) + plain_mix(y=x, x=2.0 * x, z=1.0)


@case(args=(0.6,))
def call_compiled(x):
    return square(square(x)) + square(x)


@case(args=(0.6,))
def call_with_defaults_and_keywords(x):
    return mix(x) + mix(x, 3.0) + mix(x, z=x) + mix(y=x, x=2.0 * x) + mix(x, x, x)


@case(args=(0.6,))
def call_of_call(x):
    return sine_of_square(sine_of_square(x) + x)


@case(args=(0.6, 4))
def call_in_loop(x, n):
    s = x
    for i in range(n):
        s = mix(s, z=0.1 * i) * 0.5
    return s


@case(args=(0.6,), id="then")
@case(args=(-0.6,), id="else")
def call_in_branch(x):
    return sine_of_square(x) if x > 0.0 else mix(x)


@case(args=(A4, 0.6))
def helper_mutates_argument(a, x):
    before = a[1]
    scale_in_place(a, x)
    scale_in_place(a, a[0])
    return a[1] * before + a[2]


@case(args=(A4,))
def helper_fills_buffer(a):
    b = np.empty_like(a)
    smooth_into(a, b)
    smooth_into(b, a)
    scale_in_place(b, a[0])
    return a, b


@case(args=(A4, 3))
def helper_ping_pong(a, n):
    u, w = a, np.zeros_like(a)
    for _ in range(n):
        smooth_into(u, w)
        scale_in_place(w, w[0])
        u, w = w, u
    return u


@case(args=(A4,))
def helper_returns_tuple(a):
    s, q = sum_and_squares(a)
    scale_in_place(a, q)
    t, _ = sum_and_squares(a)
    return s * q + t


@case(args=(A4,))
def helper_result_indexed(a):
    both = sum_and_squares(a)
    return both[0] * both[1] + both[-1]


@case(args=(A4, 0.5), id="found")
@case(args=(A4, 5.0), id="missing")
def helper_with_early_return(a, limit):
    r = first_above(a, limit)
    return r * a[1] + limit


@case(args=(0.6, 4))
def helper_returns_array(x, n):
    p = make_powers(x, n)
    s = 0.0
    for i in range(n):
        s += p[i] * (i + 1)
    p[0] = s
    return p


@case(args=(A4,))
def helper_returns_its_argument(a):
    b = overwrite_and_return(a)
    b[1] = b[0] * a[2]
    return a[0] * a[1] + b[3]


@case(args=(A4,))
def helper_with_side_effect_and_result(a):
    total = np.zeros(1)
    s = 0.0
    for i in range(len(a)):
        s = s * 0.5 + accumulate(total, a, i)
    return s, a


@case(args=(Spring(2.0, 0.3), 0.8))
def helper_takes_named_tuple(spring, x):
    return spring_force(spring, x) * x + spring.k


@case(args=(A4, 5))
def helper_computes_index(a, i):
    return a[clipped_index(i, len(a))] * a[clipped_index(-i, len(a))]


@case(args=(0.6,))
def captured_numbers(x):
    s = x * GAIN
    for i in range(COUNT):
        s = s * x + i
    return s


@case(args=(A4,))
def captured_array(a):
    s = 0.0
    for i in range(len(WEIGHTS)):
        s += WEIGHTS[i] * a[i] * a[i] + a[ORDER[i]] * TABLE[i % 2, 1]
    return s


def make_polynomial(c0, c1, coefficients):
    def polynomial(x):
        s = c0 + c1 * x
        for i in range(len(coefficients)):
            s += coefficients[i] * x ** (i + 2)
        return s

    return polynomial


case(args=(0.6,), tags="closure")(make_polynomial(1.0, -2.0, np.array([0.5, 0.25])))


def make_composition(outer, inner, factor):
    def composed(x):
        return outer(factor * inner(x)) + inner(x)

    return composed


case(args=(0.6,), tags="closure")(make_composition(square, sine_of_square, 3.0))
case(args=(0.6,), id="plain", tags="closure plain")(make_composition(plain_square, make_polynomial(1.0, 0.5, WEIGHTS), 3.0))


def make_integrator(rhs, h):
    def integrate(x, n):
        for _ in range(n):
            k = rhs(x)
            x = x + h * rhs(x + 0.5 * h * k)
        return x

    return integrate


case(args=(0.6, 5), tags="closure")(make_integrator(sine_of_square, 0.1))


@case(args=(0.6, 1.1))
def same_helper_different_types(x, y):
    return square(x) + square(3) + square(y) * square(2.0)


@case(args=(A4, 1.5))
def argument_names_shadow_helpers(square, mix):
    s = 0.0
    for i in range(len(square)):
        s += square[i] * mix
    return s * sine_of_square(mix)
