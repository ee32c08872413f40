"""Lists that grow, comprehensions with conditions, and sorting in place."""

import math

import numpy as np

from . import case

A6 = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])


@case(args=(A6,))
def squares(a):
    x = []
    for i in range(len(a)):
        x.append(a[i] * a[i])
    return np.array(x)


@case(args=(A6,))
def those_above(a):
    x = []
    for i in range(len(a)):
        if a[i] > 0.0:
            x.append(a[i] * 2.0)
    s = 0.0
    for v in x:
        s += v * v
    return s + x[-1] * len(x) + sum(x)


@case(args=(A6,))
def a_recurrence(a):
    x = [a[0], 1.0]
    for i in range(2, 12, 2):
        x.append(0.5 * x[i - 1] + math.sin(x[i - 2]))
        x.append(x[0] + a[i % 6] * x[-2])
    x.append(a[0])
    x[1] *= 2.0
    return np.array(x), x[3] * x[-2]


@case(args=(A6, 3))
def in_nested_loops(a, n):
    x = []
    for k in range(n):
        for i in range(len(a)):
            if a[i] > 0.3:
                x.append(a[i] * k)
        x.append(a[k] * a[k])
    for v in a[::-1]:
        if v > 1.5:
            break
        x.append(v * x[0])
    t = 0.0
    for i in range(len(x)):
        t += x[i] * (i + 1)
    return t


@case(args=(A6,))
def made_in_a_loop(a):
    t, k = 0.0, 0
    while k < 3:
        x = []
        for v in a:
            if v > 0.0:
                x.append(v * k)
            else:
                continue
            x.append(t)
        x.append(1.0 + t)
        t += sum(x) * x[0] * 0.1 + x[-1]
        k += 1
    return t


@case(args=(A6,), id="one way")
@case(args=(-A6,), id="the other")
def in_branches(a):
    x = []
    if a[0] > 0.0:
        for i in range(3):
            x.append(a[i])
        x.append(2.0)
    else:
        x.append(a[1])
    for v in a:
        if v > 1.5:
            return sum(x)
        x.append(v * v)
    return sum(x) + x[-1] * x[0]


def _below(a, k):
    x = []
    for v in a:
        if v < k:
            x.append(v * k)
    return sum(x)


@case(args=(A6,), tags="plain")
def in_a_function(a):
    s = 0.0
    for i in range(3):
        s += _below(a, s + i) * _below(a, 1.0)
    return s


@case(args=(A6,))
def of_places(a):
    x = [0]
    for i in range(1, len(a)):
        if a[i] > 0.0:
            x.append(i)
    s = 0.0
    for k in x:
        s += a[k] * a[x[-1]] * len(x)
    return s


@case(args=(A6,))
def over_a_tuple(a):
    x = []
    for v in (a[0], a[1], 2.0):
        x.append(v * v)
    return np.array(x)


@case(args=(A6,))
def comprehensions_with_conditions(a):
    x = [v * v for v in a if v > 0.0 and v < 1.5]
    y = np.array([math.sin(v) * i for i, v in enumerate(a) if v > 0.0 if i > 0])
    for v in a:
        x.append(v)
    return sum(x) + y.sum() * y[0] + len(y) * x[1]


@case(args=(A6,))
def sorted_in_place(a):
    b = a * 2.0
    b.sort()
    a[1:5].sort()
    m = np.outer(a, b)
    m.sort()
    a[::-1].sort()
    return b * a, m
