"""Features that interact: exits and stores, control that is itself overwritten, infinite coefficients on dead paths."""

import math

import numpy as np
from numba import njit

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
A6 = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])
M34 = np.array([[0.3, -0.8, 1.2, 0.5], [1.4, 0.2, -0.6, 0.9], [-0.1, 0.7, 0.35, -1.3]])


@njit(error_model="numpy")
def push_left(a, start):
    for i in range(start, len(a) - 1):
        if a[i] > 1.0:
            return i
        a[i] = a[i] * a[i + 1]
    return -1


@njit(error_model="numpy")
def advance(a, index, rounds):
    for _ in range(rounds):
        for k in range(len(index)):
            a[index[k]] = 0.5 * a[index[k]] + 0.1 * a[k] * a[k]
            index[k] = (index[k] + 1 + k) % len(a)


@case(args=(A6, 3))
def store_break_and_use_afterwards(a, rounds):
    s = 0.0
    last = 0
    for k in range(rounds):
        for i in range(1, len(a)):
            a[i] = a[i] * a[i - 1] + 0.1 * k
            last = i
            if a[i] > 0.5:
                a[0] = a[0] + a[i]
                break
            s += a[i]
        s = s * a[last] + a[0]
    return s * a[last], a


@case(args=(A6, 1.0), id="returns")
@case(args=(A6, 1e6), id="completes")
def return_from_while_inside_for(a, limit):
    total = 0.0
    for i in range(len(a) - 1):
        k = 0
        while k < 3:
            k += 1
            a[i] = a[i] * 0.8 + 0.3 * a[i + 1] * a[i]
            if a[i] < -1.0:
                continue
            total += a[i] * a[i]
            if total > limit:
                a[i + 1] = total
                return total * k, a
        a[i + 1] = a[i + 1] + a[i]
    return total, a


@case(args=(A6,))
def two_kinds_of_exit_in_one_loop(a):
    s = 1.0
    for i in range(len(a)):
        if a[i] > 1.5:
            return s * a[i]
        if a[i] < -0.9 and i > 1:
            break
        s = s * 1.2 + a[i]
        if i % 2 == 0:
            continue
        s = s * s
    return s - a[0]


@case(args=(0.3,))
def while_in_while(x):
    outer, s = 0, x
    while s < 3.0:
        inner = 0
        t = s
        while t < 2.0:
            t = t * 1.3 + 0.1 * x
            inner += 1
            if inner > 2:
                break
        s += 0.4 * t
        outer += 1
    return s * outer + t


@case(args=(A6,))
def four_deep(a):
    s = 0.2
    for i in range(2):
        for j in range(i, 2):
            for k in range(2):
                for m in range(k + 1):
                    s = 0.8 * s * a[i + j] + a[k - m]
                    a[m] = s * 0.5
    return s, a


@case(args=(A4, np.array([0, 2, 2, 1])))
def index_array_overwritten_while_in_use(a, index):
    for k in range(6):
        i = index[k % 4]
        a[i] = a[i] * a[(i + 1) % 4] + 0.2
        index[k % 4] = (i + k) % 4
        a[index[k % 4]] *= 0.9
    return a


@case(args=(A4, np.array([0, 2, 2, 1])))
def helper_overwrites_index_array(a, index):
    advance(a, index, 3)
    s = a[index[0]] * a[index[-1]]
    advance(a, index, 1)
    return s * a[index[1]]


@case(args=(A6,))
def helper_result_controls_stores(a):
    at = push_left(a, 0)
    while at >= 0:
        a[at] = a[at] * 0.4
        at = push_left(a, at)
    return a


@case(args=(A6, np.array([True, False, True, True, False, True])))
def flags_overwritten_while_in_use(a, flag):
    for k in range(2):
        for i in range(len(a)):
            if flag[i]:
                a[i] = a[i] * a[i - 1]
            flag[i] = not flag[i - 1] or a[i] > 0.2
    return a


@case(args=(A6,))
def trip_count_from_values(a):
    s = 0.0
    for i in range(len(a)):
        for k in range(int(abs(a[i]) * 2.7)):
            s = 0.9 * s + a[i] * k
            a[i] = a[i] * 1.1
    return s, a


@case(args=(np.array([2, 0, 3]), 0.7))
def trip_counts_from_integer_array(count, x):
    s = x
    for i in range(len(count)):
        for _ in range(count[i]):
            s = s * x + 0.3
        count[i] += 1
        count[(i + 1) % 3] -= 1
    return s


@case(args=(A6,))
def carried_only_sometimes(a):
    last = 1.0
    s = 0.0
    for i in range(len(a)):
        if a[i] > 0.0:
            last = a[i] * last
        s += last * a[i]
    return s * last


@case(args=(M34,))
def value_reset_each_outer_iteration(m):
    best = -1e30
    for i in range(m.shape[0]):
        s = 0.0
        for j in range(m.shape[1]):
            s += m[i, j] * m[i, j]
        if s > best:
            best = s
    return best * s


@case(args=(A6,))
def last_assignment_survives(a):
    t = 0.0
    for i in range(len(a)):
        t = a[i] * a[i]
    return t


@case(args=(A4, 5))
def arrays_swapped_in_branch(a, n):
    u, w = a.copy(), a
    for k in range(n):
        for i in range(len(u)):
            w[i] = 0.5 * w[i] + u[i] * u[i - 1]
        if k % 2 == 0:
            u, w = w, u
    return u, w


@case(args=(A4,))
def alias_inside_a_tuple(a):
    pair = (a, a)
    u, w = pair
    u[0] = w[1] * w[1]
    w[1] = u[0] * pair[0][2]
    return a[0] + a[1] * u[3]


@case(args=(A4, 0.3))
def three_names_of_one_array(a, x):
    b = a
    c = b
    for i in range(1, 4):
        a[i] = b[i] * c[i - 1] + x
        c[0] = b[i] * x
    return a[0] * b[1] + c[3]


@case(args=(np.zeros((0, 3)), 1.5))
def no_rows(m, x):
    s = x
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            s *= m[i, j]
    return s * m.shape[1]


@case(args=(0.0, 4), tags="trap", id="zero")
@case(args=(0.5, 4), tags="trap", id="half")
def powers_by_loop_index(x, n):
    s = 0.0
    for i in range(n):
        s += (i + 1.0) * x**i
    return s


@case(args=(-1.0, 2.0), tags="trap", id="cut")
@case(args=(4.0, 2.0), tags="trap", id="open")
def infinite_slope_behind_a_maximum(x, y):
    return max(x, 0.0) ** 0.5 + y * math.sqrt(np.maximum(x, 0.0))


@case(args=(0.0, 0.0, 1.5), tags="trap kink")
def hypotenuse_at_the_origin(x, y, z):
    return math.hypot(x, y) * z + z


@case(args=(-2.0,), tags="trap", id="guarded")
@case(args=(0.5,), tags="trap", id="evaluated")
def logarithm_in_conditional_expression(x):
    r = math.log(x) if x > 0.0 else x
    return r * r + x


@case(args=(np.array([-3.0, 900.0, 2.0]),), tags="trap")
def overflow_avoided_by_branch(a):
    s = 0.0
    for i in range(len(a)):
        s += a[i] if a[i] > 30.0 else math.log1p(math.exp(a[i]))
    return s


@case(args=(2.0, 0.0), tags="trap kink")
def division_by_zero_on_skipped_iterations(x, y):
    s = x
    for i in range(3):
        if y != 0.0:
            s = s / y
        elif i > 0:
            s = s * x
    return s


@case(args=(0.0, 3.0), tags="singular trap")
def root_computed_but_unused(x, y):
    r = math.sqrt(x)
    r = y * y
    return r + x


@case(args=(np.array([0.0, 4.0]),), tags="singular trap")
def root_stored_then_overwritten(a):
    b = np.empty(2)
    for i in range(2):
        b[i] = math.sqrt(a[i])
    b[0] = a[0] * 2.0
    return b


@case(args=(0.4, 3))
def annotated_and_asserted(x: float, n: int) -> float:
    total: float = 0.0
    assert n >= 0
    for i in range(n):
        term: float = x * i
        total += term * x
    if n > 100:
        raise ValueError("too many terms")
    return total


@case(args=(0.7, 13, 6))
def bits_of_integers(x, a, b):
    s = x
    while a:
        if a & 1 == 1:
            s = s * x + (b ^ a)
        a >>= 1
        b = (b << 1) | (a & 3)
    return s


@case(args=(2.63,))
def rounded_values_as_factors(x):
    return round(x) * x + np.round(x) * x * x + (x - round(x))


@case(args=(A4, 2, 9.0), id="early")
@case(args=(A4, 2, -9.0), id="late")
def result_arrays_of_different_ages(a, k, limit):
    b = a.copy()
    b[k] = a[k] * a[0]
    if b[k] < limit:
        return b, b[k]
    for i in range(4):
        b[i] = b[i] * a[i]
    return a, b[0]


@case(args=(A6, 0.5))
def rolling_window_of_scalars(a, w):
    p, q, r = 0.0, 0.0, 0.0
    for i in range(len(a)):
        p, q, r = q, r, a[i] + w * p * q
        a[i] = p - r * q
    return p + 2.0 * q + 3.0 * r, a


@case(args=(A6,))
def first_iteration_special(a):
    previous = 0.0
    s = 0.0
    for i in range(len(a)):
        if i == 0:
            s = a[i]
        else:
            s += (a[i] - previous) ** 2
        previous = a[i]
    return s * previous


@case(args=(0.3, 4))
def local_array_written_before_and_after_exit(x, n):
    w = np.zeros(n)
    i = 0
    while True:
        w[i] = x + w[i - 1] * x
        i += 1
        if i >= n:
            break
        w[i] = w[i - 1] * w[i - 1]
    w[0] = w[-1] * i
    return w


@case(args=(A4, 0.7, M34 + 2.0))
def loop_of_one_iteration_with_its_own_array(w, d, u):
    for k in range(1):
        g = w[1:] * 0.5
        b = d - g * 0.9
        u[:, k] = u[:, k] / b
    return u


@case(args=(A4, A6, 0.3))
def array_made_after_a_test_that_raises(a, b, x):
    if len(a) == 0:
        raise ValueError("empty")
    out = np.zeros(2 * len(a) + len(b))
    for i in range(len(a)):
        if b[i] != b[i]:
            raise ValueError("not a number")
        else:
            scaled = b[: i + 1] * x
        out[2 * i] = a[i] * np.sum(scaled)
    if x > 0.0:
        return out * x
    raise ValueError("not positive")
