"""Programs written to break a deriver: aliases, effects inside expressions, names, windows that overlap or wrap around."""

import math

import numpy as np
from numba import njit

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
B4 = np.array([0.3, 0.6, -0.4, 1.2])
M43 = np.array([[0.3, -0.8, 1.2], [1.4, 0.2, -0.6], [-0.1, 0.7, 0.35], [0.9, -0.4, 0.65]])
A9 = np.arange(9.0) * 0.1 + 0.3


# ----------------------------------------------------------------------------------------------------- aliases and views
@njit(error_model="numpy")
def scan(v, c):
    for i in range(len(v)):
        v[i] = v[i] * v[i - 1] + c
    return v[0] * c


@njit(error_model="numpy")
def mix(u, v):
    for i in range(len(u)):
        u[i] += v[i] * v[i]
        v[i] *= u[i - 1]


@njit(error_model="numpy")
def scale_first(a, b):
    a[0] *= b[1]
    return a


@case(args=(M43, 0.3))
def rows_written_under_two_names(m, x):
    s = 0.0
    for i in range(4):
        r = m[i]
        q = m[i - 1]
        for j in range(3):
            r[j] += q[j] * r[j - 1]
            m[i, j - 1] += r[j] * x
            s += q[j] * m[i - 1, j - 1]
    return s, m


@case(args=(M43, 0.4))
def helpers_write_rows(m, c):
    s = 0.0
    for i in range(1, 4):
        s += scan(m[i], c) * m[i, 1]
        s += scan(m[-i], s * 0.1)
    mix(m[1], m[1])
    mix(m[0], m[2])
    return s, m


@case(args=(A4,))
def helper_returns_its_argument(a):
    b = scale_first(a, a)
    b[1] = a[0] * b[2]
    c = scale_first(b, a.copy())
    c[0] += a[0]
    return a, b[1]


@case(args=(M43, 0.5))
def view_carried_through_loop(m, x):
    r = m[0]
    s = 0.0
    for i in range(4):
        r[0] = r[0] * m[i, 1] + x
        s += r[0] * r[2]
        r = m[i]
        r[1] += s
    return s * r[1], m


@case(args=(M43, 0.5), id="first")
@case(args=(M43, -0.5), id="second")
def view_chosen_by_condition(m, x):
    r = m[0] if x > 0.0 else m[2]
    r[1] = r[0] * m[0, 0]
    i = 1
    q = m[i]
    i = 2
    q[0] = r[1] * m[2, 0]
    q[2] = m[i, 0]
    if x > 0.2:
        q = m[3]
    q[1] *= x
    return m


@case(args=(A4,))
def one_array_returned_three_times(a):
    w = np.empty(4)
    for i in range(4):
        w[i] = a[i] * a[i - 1]
    return w, w, (a, w[0]), w


@case(args=(A4, B4, 4))
def swapped_in_both_loops(u, v, n):
    for _ in range(2):
        for _ in range(n):
            for i in range(4):
                v[i] = u[i] * 0.9 + v[i - 1] * 0.1
            u, v = v, u
        u[0] *= 1.1
        u, v = v, u
    return u, v


@case(args=(A4, B4, 4))
def swapped_before_break(u, v, n):
    for _ in range(n):
        u, v = v, u
        u[1] += v[0]
        if u[1] > 1.0:
            break
        u[0] *= 0.3
    return u, v


@case(args=(A4, 4))
def rebound_to_row_of_fresh_array(u, n):
    for _ in range(n):
        w = np.zeros((2, len(u)))
        for i in range(len(u)):
            w[0, i] = u[i] * 0.8
            w[1, i] = u[i - 1] * w[0, i]
        u = w[1]
    return u


# -------------------------------------------------------------------------------------------------- arrays and their place
@case(args=(A4, 0.3))
def guard_before_allocation(a, x):
    if x < 0.0:
        raise ValueError("x must not be negative")
    w = np.empty(4)
    for i in range(4):
        w[i] = a[i] * x * a[i - 1]
    return w


@case(args=(A4, 0.3), id="long")
@case(args=(A4, -0.3), id="short")
def early_result_before_allocation(a, x):
    if x < 0.0:
        return x * a[0]
    w = np.empty(4)
    for i in range(4):
        w[i] = a[i] * x * a[i - 1]
    return w[0] * w[1] + w[2]


@case(args=(A4, 3))
def allocated_in_branch_used_in_another(a, n):
    if n > 0:
        w = np.zeros(2)
        w[0] = a[1] * n
        w[1] = w[0] * a[0]
    s = a[2]
    if n > 0:
        s = w[0] * w[1]
    return s


@case(args=(0.3, 5))
def allocated_in_loop_with_growing_length(x, n):
    s = x
    for i in range(1, n):
        w = np.zeros(i)
        for j in range(i):
            w[j] = s * j + x * w[j - 1]
        s = w[i - 1] * w[0] + s * 0.5
    return s


@case(args=(A4, A4 * 2.0, 3))
def allocated_at_three_depths(a, b, n):
    s = 0.0
    for k in range(n):
        u = np.zeros(3)
        v = np.ones(3)
        for i in range(3):
            u[i] = a[i] * b[k]
            v[i] *= u[i]
            for j in range(i):
                w = np.zeros(2)
                w[j % 2] = u[j] * v[i]
                s += w[0] * w[1] + w[j % 2]
        a[k] = u[k] * v[k - 1] + s
    return s, a


@case(args=(0.3, 5))
def length_changed_after_allocation(x, n):
    w = np.zeros((n, 2))
    n = n - 2
    for i in range(n):
        w[i, 1] = x * i + w[i - 1, 1]
    return w, len(w) * x + w.shape[1] * x + w.size * x * n


# ----------------------------------------------------------------------------------------------- effects inside expressions
@njit(error_model="numpy")
def bump(a):
    a[0] = a[0] * 3.0 + 1.0
    return a[1] * 2.0


@njit(error_model="numpy")
def scaled(a, i, v):
    a[i] = a[i] * v
    return a[i]


@njit(error_model="numpy")
def shrink(a, k):
    a[k % 4] *= 0.8
    m = -1.0
    for i in range(4):
        if a[i] > m:
            m = a[i]
    return m


@njit(error_model="numpy")
def next_index(a):
    a[0] += 0.5
    return int(a[0]) % 4


@case(args=(A4,))
def augmented_by_a_call_that_writes_the_cell(a):
    a[0] += bump(a)
    a[0] -= bump(a) * a[0]
    a[0] *= bump(a)
    return a


@case(args=(A4,))
def operands_written_by_later_operands(a):
    s = a[0] + bump(a)
    s = s * (a[0] * bump(a) + a[0])
    u, v = a[0], bump(a)
    return s * u * v + a[0]


@case(args=(A4, 0.3))
def index_from_a_call_that_writes(a, x):
    a[next_index(a)] += a[0] * x
    a[next_index(a)] *= next_index(a) + x
    a[next_index(a)] = next_index(a) * a[1]
    return a


@case(args=(A4, 0.3))
def comparisons_with_effects(a, x):
    c = 0
    if 0.1 < scaled(a, 0, x) < scaled(a, 3, 1.5):
        c += 1
    if -10.0 < scaled(a, 1, x) < scaled(a, 2, 2.0) < scaled(a, 3, 0.5):
        c += 2
    if scaled(a, 0, 2.0) > 100.0 and scaled(a, 1, 7.0) > 0.0:
        c += 4
    if scaled(a, 0, 3.0) < 100.0 or scaled(a, 1, 7.0) > 0.0:
        c += 8
    return a, a[0] * c


@case(args=(A4, 0.3))
def while_test_with_effects(a, x):
    s = 0.0
    k = 0
    while shrink(a, k) > 0.2 and k < 9:
        k += 1
        if k == 2:
            continue
        s += a[k % 4] * x
        if s > 30.0:
            break
    return s, a, k * x


@case(args=(A4, 0.3))
def conditional_expression_with_effects(a, x):
    s = 0.0
    if shrink(a, 0) > 0.5 or shrink(a, 1) > 0.7:
        s += a[0]
    s += shrink(a, 2) if shrink(a, 3) > 0.2 else shrink(a, 1)
    r = shrink(a, 1) * a[1] + a[1]
    a[int(shrink(a, 0) > 0.0)] += shrink(a, 1) * x
    return s, r, a


@case(args=(0.3, 0.7, 2), id="first")
@case(args=(0.0, 0.7, 0), tags="kink", id="second")
def operands_of_and_and_or(x, y, n):
    r = x or y
    q = (x and y) * 2.0
    k = n or 5
    return r * 3.0 + x, q + y, k * x


@case(args=(0.3, 3))
def swapped_with_itself(x, n):
    a = np.zeros(4)
    for i in range(4):
        a[i] = x * i + x * x
    for i in range(4):
        j = (i * n) % 4
        a[i], a[j] = a[j] * x, a[i]
    i = 1
    i, a[i] = 2, a[i] * 7.0
    a[i], i = a[i - 1] * 2.0, 0
    a[i] = a[i] + i + x
    return a


# ------------------------------------------------------------------------------------------------------- names and types
@njit(error_model="numpy")
def shadowed(i, s):
    a = s * i
    for x in range(3):
        i = i + a * x
        a = a * 0.9
    return i


@case(args=(0.4, A4))
def names_shared_with_a_helper(x, a):
    i = x
    s = x * 2.0
    for k in range(3):
        i = shadowed(s, i) * 0.1 + a[k]
        s = shadowed(i, x) + s
    return i * s


@case(args=(A4,))
def names_that_generated_code_might_use(a):
    z0, z1 = a[0] * 2.0, a[1]
    w = np.zeros(3)
    v = np.zeros((2, 2))
    w[0], v[1, 0] = z0 * z1, z0
    z0 = z0 * z1
    w[1] = z0
    U, tape, tops = a[0], a[2] * 0.5, a[3] * 0.5
    U_1 = U * 3.0
    U = U * U_1
    t = frame = status = trips = U * tape + tops
    return w[0] * w[1] + v[1, 0] * z0 + U * U_1 * t * frame * status * trips


@case(args=(0.3, 4))
def integers_that_become_floats_in_turn(x, n):
    a = 0
    b = 0
    c = 0
    d = n
    for i in range(5):
        a, b, c, d = b, c, d, a + (x if i == 0 else 0)
    return a + 2 * b + 3 * c + 4 * d


@case(args=(0.3, 1), id="one")
@case(args=(0.3, 0), id="none")
@case(args=(-0.3, 2), id="negative")
def bound_on_some_paths(x, n):
    if x > 0.0:
        y = x * x
    if n > 0 and x > 0.0:
        z = y * x
    r = x
    if n > 0:
        if x > 0.0:
            r = z * y
    for i in range(n):
        w = r * i
    if n > 0:
        r = r + w
    return r


@case(args=(A4, 3), tags="plain")
def first_bound_later_in_the_loop(a, n):
    s = 0.0
    for i in range(n):
        if i > 0:
            s += w * a[i]  # noqa: F821 (bound by the previous iteration, which Numba does not see)
        w = a[i] * 2.0  # noqa: F841
    return s


@case(args=(A4, 3))
def loop_changes_its_variable_and_bounds(a, n):
    s = 1.0
    m = n
    for i in range(n):
        i = i + 1
        s += a[i] * i
        n = n + 1
        m -= 1
        for j in range(m):
            s = s * a[j] + i
            m += 0
        i *= 2
    return s * n * m


@case(args=(0.7, 3), id="odd")
@case(args=(-0.7, 2), id="even")
@case(args=(-0.7, 0), id="zero")
@case(args=(0.7, -2), id="negative")
@case(args=(0.0, 1), id="at zero")
def integer_power_at_run_time(x, n):
    return x**n


# ------------------------------------------------------------------------------------------------------ windows and strides
@case(args=(A4, B4, -4), id="all")
@case(args=(A4, B4, -2), id="some")
def cells_set_twice_because_the_index_wraps(a, b, k):
    for i in range(k, 4):
        a[i] = b[i] * b[i]
    return a


@case(args=(A9, 0.3), id="nine")
@case(args=(A9[:4], 0.3), id="four")
@case(args=(A9[:3], 0.3), id="three")
@case(args=(A9[:1], 0.3), id="one")
@case(args=(A9[:0], 0.3), id="none")
def windows_of_several_widths(u, c):
    v = u.copy()
    s = 0.0
    for i in range(3, len(u)):
        v[i] = u[i - 1] * u[i - 3] * c + u[i]
    for i in range(len(u) - 3):
        s += u[i + 3] * u[i + 1] * c
    for i in range(len(u) - 2, 0, -1):
        v[i] = u[i + 1] * u[i - 1] * c + v[i]
    for i in range(len(u) - 1):
        v[i] += u[i + 1] * u[i - 1] * c
    for i in range(1, len(u) - 1):
        u[i] = u[i + 1] * u[i - 1] * c + u[i]
    return v, u, s


@case(args=(A9, -3))
def negative_stride_from_an_argument(a, stride):
    s = 0.0
    for i in range(8, -1, stride):
        s = s * a[i] + a[i - 1]
        a[i - 2] = s
    for i in range(0, 8, -stride):
        for j in range(i, 0, stride):
            s = 0.5 * s + a[j] * a[i]
    return s, a


@case(args=(A4, B4))
def shifted_copies_in_place(a, b):
    s = 0.0
    for i in range(3):
        a[i] = a[i + 1]
    for i in range(3, 0, -1):
        b[i] = b[i - 1]
    for i in range(1, 4):
        a[i] = a[i - 1] * b[i]
    for i in range(4):
        s += a[i] * b[i]
        a[i] = 0.0
        b[i - 1] = 1.0
    return s, a, b


@case(args=(A4, B4))
def forces_then_update_in_place(x, m):
    f = np.zeros_like(x)
    for i in range(4):
        for j in range(4):
            if i != j:
                d = x[j] - x[i]
                f[i] += m[j] * d / (d * d + 0.1) ** 1.5
    for i in range(4):
        x[i] += 0.1 * f[i]
    return x, f


@case(args=(M43, 0.3))
def row_buffer_used_again(u, c):
    r = np.zeros(u.shape[1])
    s = 0.0
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            r[j] = u[i, j] * c + r[j] * 0.5
        for j in range(1, u.shape[1]):
            s += r[j] * r[j - 1]
        for j in range(u.shape[1]):
            u[i, j] *= s
    return s, r, u


@case(args=(A4, B4[:2]))
def scalar_from_outside_added_to_in_the_inner_loop(a, b):
    t = 0.0
    for i in range(4):
        u = a[i]
        for j in range(2):
            t += u * b[j]
            a[i] += t
            u = a[i] * b[j]
        b[i % 2] = u
    return t


@case(args=(0.7, 3000))
def more_iterations_than_the_first_tape_holds(x, n):
    s = x
    k = 0
    while k < n:
        k += 1
        if s > 1.0:
            s = s * 0.5
            continue
        s = s * 1.1 + x * 0.01
    return s


@case(args=(0.0, 0.7), tags="singular trap")
def infinite_slopes_that_are_masked(x, y):
    r = math.sqrt(x)
    s = 0.0
    if r > 0.0:
        s = y / r
    d = 1.0 if r == 0.0 else 1.0 / r
    return s + (r * 0.0 + y) * d


@case(args=(np.zeros(3),), id="zero", tags="trap kink")
@case(args=(np.array([0.0, 1.0, 4.0]),), id="some")
def norm_with_a_guard(a):
    n = 0.0
    for i in range(3):
        n += a[i] * a[i]
    n = math.sqrt(n)
    if n == 0.0:
        return a[0] * 2.0
    return a[0] / n + a[1] / n
