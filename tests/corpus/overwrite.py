"""Memory that is overwritten after it was needed, aliases, and control flow between stores."""

import math

import numpy as np

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
A6 = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])


@case(args=(A6,))
def square_in_place(a):
    for i in range(a.shape[0]):
        a[i] = a[i] * a[i]
    return a


@case(args=(A6,))
def repeated_square_in_place(a):
    for _ in range(3):
        for i in range(len(a)):
            a[i] = 0.9 * a[i] * a[i] + 0.1
    return a


@case(args=(A6,))
def product_with_left_neighbour(a):
    for i in range(1, len(a)):
        a[i] = a[i] * a[i - 1]
    return a


@case(args=(A6,))
def product_with_right_neighbour(a):
    for i in range(len(a) - 1):
        a[i] = a[i] * a[i + 1]
    return a


@case(args=(A6,))
def backwards_recurrence(a):
    for i in range(len(a) - 2, -1, -1):
        a[i] = a[i] + 0.5 * a[i + 1] * a[i]
    return a


@case(args=(A6, 5))
def gauss_seidel_sweeps(u, sweeps):
    for _ in range(sweeps):
        for i in range(1, u.shape[0] - 1):
            u[i] = 0.5 * (u[i - 1] + u[i + 1]) + 0.1 * u[i] * u[i]
    return u


@case(args=(A4, 0.3))
def scalar_read_then_cell_overwritten(a, x):
    old = a[1]
    a[1] = old * x + a[2]
    a[2] = a[1] * old
    return a[1] + a[2] * old


@case(args=(A4,))
def store_then_load_same_cell(a):
    a[0] = a[1] * 2.0
    t = a[0]
    a[0] = t * a[0] + a[1]
    return a[0] * t


@case(args=(A4,))
def overwritten_by_constant(a):
    s = a[0] * a[1]
    a[0] = 3.0
    a[1] = 0.0
    return s * a[0] + a[1] + a[2]


@case(args=(A4,))
def dead_stores(a):
    b = np.zeros(3)
    b[0] = a[0] * 5.0
    b[0] = a[1]
    b[1] = a[2]
    b[1] = 2.0
    return b


@case(args=(A4,))
def augmented_cells(a):
    a[0] += a[1]
    a[1] *= a[0]
    a[2] -= a[1] * a[2]
    a[3] /= 2.0 + a[2]
    a[0] **= 2
    return a


@case(args=(A4,))
def doubled_into_itself(a):
    for i in range(4):
        a[i] += a[i]
        a[i] *= a[i]
    return a


@case(args=(A4,))
def alias_then_write(a):
    b = a
    b[0] = b[1] * b[2]
    a[1] = a[0] * b[3]
    return b[0] + a[1] * b[1]


@case(args=(A4,))
def alias_returned_twice(a):
    b = a
    b[2] = b[2] * b[0]
    return a, b


@case(args=(A4,))
def copy_then_write(a):
    b = a.copy()
    for i in range(len(a)):
        a[i] = a[i] * b[-1 - i]
        b[i] = b[i] + 2.0 * a[i]
    return a, b


@case(args=(A4,))
def alias_rebound_to_copy(a):
    b = a
    b[0] = 2.0 * b[0]
    b = b.copy()
    b[1] = b[0] * b[1]
    return a[1] * b[1] + a[0]


@case(args=(A6, 4))
def ping_pong_buffers(a, steps):
    old = a.copy()
    new = np.zeros_like(a)
    for _ in range(steps):
        for i in range(1, len(a) - 1):
            new[i] = old[i] + 0.3 * (old[i - 1] - 2.0 * old[i] + old[i + 1]) * old[i]
        old, new = new, old
    return old


@case(args=(A6, 3))
def fresh_array_each_iteration(a, steps):
    u = a
    for _ in range(steps):
        w = np.empty_like(u)
        for i in range(len(u)):
            w[i] = math.sin(u[i]) * u[i - 1]
        u = w
    return u


@case(args=(A6, 3))
def copied_each_iteration(u, steps):
    for _ in range(steps):
        old = u.copy()
        for i in range(1, len(u)):
            u[i] = old[i] - 0.4 * old[i] * (old[i] - old[i - 1])
    return u


@case(args=(A6, 0.5))
def break_after_store(a, limit):
    for i in range(len(a)):
        a[i] = a[i] * a[0]
        if a[i] < -limit:
            break
    return a


@case(args=(A6,))
def break_before_store(a):
    s = 0.0
    for i in range(len(a)):
        if a[i] > 1.5:
            break
        s += a[i] * a[i]
        a[i] = s
    return a


@case(args=(A6,))
def continue_between_stores(a):
    for i in range(1, len(a)):
        a[i] = a[i] + 0.5 * a[i - 1]
        if a[i] < 0.0:
            continue
        a[i - 1] = a[i] * a[i]
    return a


@case(args=(A6, 2.0), id="inside")
@case(args=(A6, 1e9), id="through")
def early_return_after_stores(a, limit):
    s = 0.0
    for k in range(3):
        for i in range(1, len(a)):
            a[i] = a[i] * a[i] + 0.3 * a[i - 1]
            s += a[i]
            if s > limit:
                return s * a[i] + k
        a[0] = a[-1] * 0.5
    return s * a[0]


@case(args=(A4, True), id="first")
@case(args=(A4, False), id="second")
def store_in_branch(a, first):
    if first:
        a[0] = a[1] * a[0]
    else:
        a[1] = a[0] * a[0]
    return a[0] * a[1]


@case(args=(A6,))
def conditional_store_by_value(a):
    for i in range(len(a)):
        if a[i] < 0.0:
            a[i] = a[i] * a[i]
        elif a[i] < 0.5:
            a[i] = -a[i]
    return a


@case(args=(A6,))
def swap_cells(a):
    for i in range(len(a) // 2):
        a[i], a[-1 - i] = a[-1 - i], a[i]
    a[0] = a[0] * a[1]
    return a


@case(args=(A6, 7))
def scalars_swapped_in_loop(a, n):
    x, y = a[0], a[1]
    for _ in range(n):
        x, y = y, 0.5 * x * y + a[2]
    return x + 2.0 * y


@case(args=(A6, 3))
def running_scalar_and_store(a, k):
    carry = 1.0
    for i in range(len(a)):
        t = a[i]
        a[i] = t * carry
        carry = 0.5 * carry + t
    return a[k] * carry


@case(args=(A4,))
def argument_partly_overwritten(a):
    a[2] = a[0] * a[1]
    return a


@case(args=(A4, A4[::-1].copy()))
def two_arrays_cross_update(a, b):
    for i in range(4):
        t = a[i]
        a[i] = b[i] * t
        b[i] = t + b[i - 1] * a[i]
    return a, b


@case(args=(A6, np.array([0, 2, 2, 5, 0, 1])))
def overwritten_through_index_array(a, index):
    for k in range(len(index)):
        a[index[k]] = a[index[k]] * a[k] + 0.1
    return a


@case(args=(A6,))
def while_overwrites_until(a):
    i = 0
    while a[i] < 1.0:
        a[i + 1] = a[i + 1] * 0.5 + a[i] * a[i]
        i += 1
        if i == len(a) - 1:
            break
    return a, a[i] * i


@case(args=(A4, 3))
def while_inside_for_with_stores(a, n):
    for i in range(n):
        k = 0
        while abs(a[i]) < 2.0 and k < 4:
            a[i] = a[i] * 1.5 + 0.1 * a[i + 1]
            k += 1
        a[i + 1] = a[i + 1] * a[i]
    return a


@case(args=(A6,))
def index_computed_from_value(a):
    for _ in range(4):
        i = int(abs(a[0]) * 9.3) % 6
        a[0] = a[0] * 0.5 + a[i]
        a[i] = a[i] * a[0]
    return a
