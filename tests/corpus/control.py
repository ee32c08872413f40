"""Branches, loops and exits."""

import math

import numpy as np

from . import case


@case(args=(1.5,), id="then")
@case(args=(-1.5,), id="else")
def if_else(x):
    if x > 0.0:
        y = x * x
    else:
        y = 3.0 * x
    return y


@case(args=(1.5,), id="taken")
@case(args=(-1.5,), id="skipped")
def if_without_else(x):
    y = x + 1.0
    if x > 0.0:
        y = y * y
    return y * x


@case(args=(-2.0,), id="first")
@case(args=(0.5,), id="second")
@case(args=(1.5,), id="third")
@case(args=(3.5,), id="last")
def elif_ladder(x):
    if x < 0.0:
        return -x
    elif x < 1.0:
        y = x * x
    elif x < 2.0:
        y = 2.0 * x - 1.0
    else:
        y = math.log(x) * x
    return y


@case(args=(0.7,), id="inside")
@case(args=(1.7,), id="outside")
def chained_comparison(x):
    return x**3 if 0.0 < x <= 1.0 else 2.0 - x


@case(args=(0.7, 0.2), id="both")
@case(args=(0.7, -0.2), id="one")
@case(args=(-0.7, -0.2), id="none")
def boolean_operators(x, y):
    r = 0.0
    if x > 0.0 and y > 0.0:
        r += x * y
    if x > 0.0 or y > 0.0:
        r += 2.0 * x
    if not (x > 0.0 or y > 0.0):
        r += y * y
    return r


@case(args=(0.0, 2.0), id="guarded", tags="trap kink")
@case(args=(0.5, 2.0), id="evaluated", tags="trap")
def short_circuit_guards(x, y):
    if x != 0.0 and y / x > 1.0:
        return y / x
    return y * y + x


@case(args=(0.4,), id="positive")
@case(args=(-0.4,), id="negative")
def nested_conditional_expression(x):
    return (x * x if x < 0.5 else x) if x > 0.0 else (math.exp(x) if x > -1.0 else 0.0)


@case(args=(-1.0, 3.0), id="discarded", tags="trap")
@case(args=(4.0, 3.0), id="used", tags="trap")
def domain_guard(x, y):
    if x > 0.0:
        r = math.sqrt(x) * math.log(x)
    else:
        r = y * y
    return r + y


@case(args=(0.0, 3.0), tags="trap kink")
def root_of_zero_on_discarded_path(x, y):
    return y * 2.0 if x == 0.0 else math.sqrt(x) * y


@case(args=(1.5, 4))
def sum_over_range(x, n):
    s = 0.0
    for i in range(n):
        s += x * i
    return s


@case(args=(1.1, 5), id="some")
@case(args=(1.1, 0), id="zero-trips")
@case(args=(1.1, -3), id="negative-bound")
def power_by_loop(x, n):
    r = 1.0
    for _ in range(n):
        r = r * x
    return r


@case(args=(0.4, 2, 11, 3), id="upwards")
@case(args=(0.4, 11, 2, -4), id="downwards")
@case(args=(0.4, 5, 5, 1), id="empty")
def range_with_step(x, lo, hi, step):
    s = x
    for i in range(lo, hi, step):
        s = math.sin(s) + 0.1 * i * x
    return s


@case(args=(0.4,))
def descending_range(x):
    s = 0.0
    for i in range(5, 0, -1):
        s = (s + x) / i
    return s


@case(args=(1.5, 3))
def loop_variable_after_loop(x, n):
    s = 0.0
    for i in range(n + 1):
        s += x
    return s * i + x * i * i


@case(args=(1.5, 3))
def loop_variable_overwritten(x, n):
    s = 0.0
    for i in range(n):
        i = 2 * i + 1
        s += x * i
    return s * i


@case(args=(0.7, 4))
def nested_loops(x, n):
    s = 0.0
    for i in range(n):
        for j in range(3):
            s = s * 0.5 + math.sin(x * (i - j))
    return s


@case(args=(0.7, 4))
def triangular_loops(x, n):
    s = 1.0
    for i in range(n):
        for j in range(i + 1):
            s = s * x + j
        for j in range(i, n):
            s = s - 0.1 * x * j
    return s


@case(args=(0.7, 3))
def bounds_change_inside(x, n):
    s = x
    for i in range(n):
        n = n + 1
        s = s * x + i
    return s + n


@case(args=(0.9,))
def three_deep_with_carried_value(x):
    s = x
    for i in range(2):
        t = s
        for j in range(2):
            for k in range(j + 1):
                t = t * s + 0.1 * k
            s = math.tanh(t)
    return s


@case(args=(5.0,))
def while_newton_root(a):
    x = a
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


@case(args=(1.3,), id="several")
@case(args=(200.0,), id="none")
def while_data_dependent(x):
    k = 0
    while x < 100.0:
        x = x * x + 0.5
        k += 1
    return x + k


@case(args=(0.9, 3.0))
def while_with_two_exits(x, limit):
    k = 0
    while k < 50:
        x = x + 0.5 * math.sin(x)
        if x > limit:
            break
        k += 1
    return x * k


@case(args=(0.3,))
def while_true(x):
    n = 0
    while True:
        x = x * 1.5 + 0.01 * n
        n += 1
        if x > 2.0:
            return x * n
        if n > 30:
            return -x


@case(args=(0.3, 6))
def while_counting_down(x, k):
    s = 0.0
    while k:
        s = s * x + k
        k -= 1
    return s


@case(args=(0.8, 10))
def break_in_loop(x, n):
    s = 0.0
    for i in range(n):
        s += x**i
        if s > 2.5:
            break
        s *= 1.01
    return s * i


@case(args=(0.8, 10))
def continue_in_loop(x, n):
    s = 0.0
    for i in range(n):
        if i % 3 == 1:
            continue
        s = s * x + i
        if i % 2 == 0:
            continue
        s = s * s * 0.01
    return s


@case(args=(0.8,))
def break_and_continue_nested(x):
    s = x
    for i in range(5):
        if i == 1:
            continue
        for j in range(5):
            if j > i:
                break
            if (i + j) % 2 == 0:
                continue
            s = math.sin(s) + x * j
        s += 0.5 * x
        if s > 6.0:
            break
    return s


@case(args=(0.8, 2.0), id="returns-inside")
@case(args=(0.8, 1e9), id="runs-through")
def early_return_in_nested_loops(x, limit):
    s = x
    for i in range(4):
        for j in range(i + 1):
            s = s * (1.0 + x * j) + 0.1
            if s > limit:
                return s * i + j
        s = s + x
    return -s


@case(args=(-0.5,), id="guard")
@case(args=(0.5,), id="main")
def early_return_at_top(x):
    if x < 0.0:
        return x * x
    y = math.sqrt(x)
    if y > 10.0:
        return y
    return y * x


@case(args=(0.5, 1), id="odd")
@case(args=(0.5, 2), id="even")
def variable_defined_in_both_branches(x, k):
    if k % 2 == 1:
        a = x * x
        b = 2.0
    else:
        b = x
        a = 1.0
    return a * b + a


@case(args=(0.5, 5))
def branch_changes_roles(x, n):
    a, b = x, 1.0
    for i in range(n):
        if i % 2 == 0:
            a, b = b * a + x, a
        else:
            b = a - b * x
    return a + 3.0 * b


@case(args=(0.5, 6))
def int_becomes_float(x, n):
    s = 0
    for i in range(n):
        s += x * i
    return s


@case(args=(0.5, 6))
def int_and_float_merge(x, n):
    if n > 3:
        r = 1
    else:
        r = x
    return r * x


@case(args=(1.01, 27))
def collatz_control(x, k):
    while k != 1:
        if k % 2 == 0:
            k //= 2
            x = x * 0.99
        else:
            k = 3 * k + 1
            x = x + 0.001 * k
    return x


@case(args=(0.5, 37, 24))
def euclid_control(x, a, b):
    while b:
        a, b = b, a % b
        x = math.sin(x) * (a + 1) + x / (b + 1)
    return x


@case(args=(2.5,), id="low")
@case(args=(3.9,), id="chaotic")
def logistic_map(r):
    x = 0.3
    for _ in range(12):
        x = r * x * (1.0 - x)
    return x


@case(args=(0.4, 1.3))
def branch_on_computed_float(x, y):
    s = 0.0
    for i in range(8):
        t = math.sin(x * i + y)
        if t > 0.3:
            s += t * x
        elif t < -0.35:
            s -= y * t
        else:
            continue
        s *= 1.1
    return s


@case(args=(0.2, 3))
def pass_and_docstring(x, n):
    """Statements that do nothing."""
    for i in range(n):
        if i == 1:
            pass
        else:
            x = x * x + 0.5
    pass
    return x


@case(args=(3.4,))
def range_of_float_conversion(x):
    s = 0.0
    for i in range(int(x) + 1):
        s += x * i
    return s


@case(args=(0.7,))
def loop_inside_branch_inside_loop(x):
    s = x
    for i in range(4):
        if s > 1.2:
            for _ in range(i):
                s = 0.7 * s + 0.05 * x
        else:
            while s < 1.5:
                s = s * 1.3 + x * 0.1
    return s


@case(args=(0.6, 7))
def flag_controlled_exit(x, n):
    done = False
    i = 0
    while not done and i < n:
        x = x * 1.2
        if x > 1.5:
            done = True
        i += 1
    return x + i if done else -x


@case(args=(np.array([0.3, 2.0, -1.0, 0.5]),))
def search_with_break(a):
    best = a[0]
    for i in range(1, len(a)):
        if a[i] < 0.0:
            break
        if a[i] > best:
            best = a[i]
    return best * best + a[i]


@case(args=(np.array([0.3, 2.0, -1.0, 0.5]), 1.5))
def an_array_that_only_decides(a, x):
    """What is compared has no derivative, however it was computed."""
    check = np.zeros(len(a))
    largest = 0.0
    for i in range(len(a)):
        check[i] = a[i] * x + check[i - 1]
        largest = max(largest, abs(check[i]))
    total = 0.0
    for i in range(len(a)):
        if check[i] > 0.5 * largest:
            total += a[i] ** 2 * x
        else:
            total -= a[i] * x
    return total
