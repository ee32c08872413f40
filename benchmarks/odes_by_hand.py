"""The gradient of :func:`benchmarks.odes_models.lotka_volterra` written by hand for Numba.

Dormand and Prince's pair with the step sizes of :mod:`adjointsim.ode.control`, so that the steps are the same; the stages of
accepted steps are stored, and the reverse sweep through them is derived with pencil and paper:

    k_i = f(Y_i),  Y_i = y + h sum_j a_ij k_j,  y_next = y + h sum_i b_i k_i

    k_i' = h (b_i y_next' + sum_j a_ji Y_j'),  Y_i' = (df/dy)(Y_i)^T k_i',  y' = y_next' + sum_i Y_i'
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

A21 = 1 / 5
A31, A32 = 3 / 40, 9 / 40
A41, A42, A43 = 44 / 45, -56 / 15, 32 / 9
A51, A52, A53, A54 = 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729
A61, A62, A63, A64, A65 = 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656
B1, B3, B4, B5, B6 = 35 / 384, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84
E1, E3, E4, E5, E6, E7 = 71 / 57600, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40
MOST = 4096


@njit(error_model="numpy", inline="always")
def rate(u, v, p):
    """The right-hand side."""
    return (p[0] - p[1] * v) * u, (p[2] * u - p[3]) * v


@njit(error_model="numpy")
def first_size(u, v, p, rtol, atol, left):
    """The first step, after Hairer, Norsett and Wanner, section II.4."""
    ku, kv = rate(u, v, p)
    su, sv = atol + rtol * abs(u), atol + rtol * abs(v)
    of_y = math.sqrt(0.5 * ((u / su) ** 2 + (v / sv) ** 2))
    of_rate = math.sqrt(0.5 * ((ku / su) ** 2 + (kv / sv) ** 2))
    h = 1e-6 if of_y < 1e-5 or of_rate < 1e-5 else 0.01 * of_y / of_rate
    h = min(h, left)
    lu, lv = rate(u + h * ku, v + h * kv, p)
    change = math.sqrt(0.5 * (((lu - ku) / su) ** 2 + ((lv - kv) / sv) ** 2)) / h
    most = max(of_rate, change)
    return min(100.0 * h, (0.01 / most) ** 0.2 if most > 1e-15 else max(1e-6, 1e-3 * h))


@njit(error_model="numpy")
def value_and_grad(y0, p, times, data, rtol, atol):
    """The misfit, its derivatives by y0 and p, and the number of steps."""
    stages, sizes, ends = np.empty((MOST, 12)), np.empty(MOST), np.empty(len(times), np.int64)
    seen = np.empty((len(times), 2))
    u, v, t = y0[0], y0[1], 0.0
    guess = first_size(u, v, p, rtol, atol, times[-1])
    before, grows, knot, n, value = 0.0, True, 0, 0, 0.0
    ku1, kv1 = rate(u, v, p)
    while knot < len(times):
        left, size = times[knot] - t, guess
        lands = left <= 1.0000001 * size
        if lands:
            size = left
        elif left < 2.0 * size:
            size = 0.5 * left
        h = size
        u2, v2 = u + h * (A21 * ku1), v + h * (A21 * kv1)
        ku2, kv2 = rate(u2, v2, p)
        u3, v3 = u + h * (A31 * ku1 + A32 * ku2), v + h * (A31 * kv1 + A32 * kv2)
        ku3, kv3 = rate(u3, v3, p)
        u4, v4 = u + h * (A41 * ku1 + A42 * ku2 + A43 * ku3), v + h * (A41 * kv1 + A42 * kv2 + A43 * kv3)
        ku4, kv4 = rate(u4, v4, p)
        u5 = u + h * (A51 * ku1 + A52 * ku2 + A53 * ku3 + A54 * ku4)
        v5 = v + h * (A51 * kv1 + A52 * kv2 + A53 * kv3 + A54 * kv4)
        ku5, kv5 = rate(u5, v5, p)
        u6 = u + h * (A61 * ku1 + A62 * ku2 + A63 * ku3 + A64 * ku4 + A65 * ku5)
        v6 = v + h * (A61 * kv1 + A62 * kv2 + A63 * kv3 + A64 * kv4 + A65 * kv5)
        ku6, kv6 = rate(u6, v6, p)
        u7 = u + h * (B1 * ku1 + B3 * ku3 + B4 * ku4 + B5 * ku5 + B6 * ku6)
        v7 = v + h * (B1 * kv1 + B3 * kv3 + B4 * kv4 + B5 * kv5 + B6 * kv6)
        ku7, kv7 = rate(u7, v7, p)
        eu = (E1 * ku1 + E3 * ku3 + E4 * ku4 + E5 * ku5 + E6 * ku6 + E7 * ku7) / (atol + rtol * max(abs(u), abs(u7)))
        ev = (E1 * kv1 + E3 * kv3 + E4 * kv4 + E5 * kv5 + E6 * kv6 + E7 * kv7) / (atol + rtol * max(abs(v), abs(v7)))
        norm = h * math.sqrt(0.5 * (eu * eu + ev * ev))
        if not norm <= 1.0:
            grows = False
            guess = size * (max(0.2, 0.9 * norm**-0.2) if norm < 1e300 else 0.2)
            if t + guess == t:
                raise ArithmeticError("the step size became too small")
            continue
        log = math.log(max(norm, 1e-10))
        factor = min(10.0, max(0.2, 0.9 * math.exp(-0.14 * log + 0.08 * before)))
        if not grows:
            factor = min(factor, 1.0)
        grows, before = True, max(log, -9.0)
        guess = max(size * factor, guess) if size < guess else size * factor
        if n == MOST:
            raise ArithmeticError("too many steps")
        s = stages[n]
        s[0], s[1], s[2], s[3], s[4], s[5] = u, v, u2, v2, u3, v3
        s[6], s[7], s[8], s[9], s[10], s[11] = u4, v4, u5, v5, u6, v6
        sizes[n] = h
        n += 1
        u, v, ku1, kv1 = u7, v7, ku7, kv7
        t = times[knot] if lands else t + h
        if lands:
            seen[knot, 0], seen[knot, 1] = u - data[knot, 0], v - data[knot, 1]
            value += seen[knot, 0] ** 2 + seen[knot, 1] ** 2
            ends[knot] = n
            knot += 1
    a, b, c, d = p[0], p[1], p[2], p[3]
    ga = gb = gc = gd = x = y = 0.0  # (x, y) is the cotangent of (u, v)
    knot = len(times) - 1
    for m in range(n - 1, -1, -1):
        if knot >= 0 and ends[knot] == m + 1:
            x, y = x + 2.0 * seen[knot, 0], y + 2.0 * seen[knot, 1]
            knot -= 1
        h, s = sizes[m], stages[m]
        u, v, k, l = s[10], s[11], h * B6 * x, h * B6 * y
        x6, y6 = (a - b * v) * k + c * v * l, (c * u - d) * l - b * u * k
        ga, gb, gc, gd = ga + u * k, gb - u * v * k, gc + u * v * l, gd - v * l
        u, v, k, l = s[8], s[9], h * (B5 * x + A65 * x6), h * (B5 * y + A65 * y6)
        x5, y5 = (a - b * v) * k + c * v * l, (c * u - d) * l - b * u * k
        ga, gb, gc, gd = ga + u * k, gb - u * v * k, gc + u * v * l, gd - v * l
        u, v, k, l = s[6], s[7], h * (B4 * x + A64 * x6 + A54 * x5), h * (B4 * y + A64 * y6 + A54 * y5)
        x4, y4 = (a - b * v) * k + c * v * l, (c * u - d) * l - b * u * k
        ga, gb, gc, gd = ga + u * k, gb - u * v * k, gc + u * v * l, gd - v * l
        k = h * (B3 * x + A63 * x6 + A53 * x5 + A43 * x4)
        l = h * (B3 * y + A63 * y6 + A53 * y5 + A43 * y4)
        u, v = s[4], s[5]
        x3, y3 = (a - b * v) * k + c * v * l, (c * u - d) * l - b * u * k
        ga, gb, gc, gd = ga + u * k, gb - u * v * k, gc + u * v * l, gd - v * l
        k = h * (A62 * x6 + A52 * x5 + A42 * x4 + A32 * x3)
        l = h * (A62 * y6 + A52 * y5 + A42 * y4 + A32 * y3)
        u, v = s[2], s[3]
        x2, y2 = (a - b * v) * k + c * v * l, (c * u - d) * l - b * u * k
        ga, gb, gc, gd = ga + u * k, gb - u * v * k, gc + u * v * l, gd - v * l
        k = h * (B1 * x + A61 * x6 + A51 * x5 + A41 * x4 + A31 * x3 + A21 * x2)
        l = h * (B1 * y + A61 * y6 + A51 * y5 + A41 * y4 + A31 * y3 + A21 * y2)
        u, v = s[0], s[1]
        x, y = (
            x + x6 + x5 + x4 + x3 + x2 + (a - b * v) * k + c * v * l,
            y + y6 + y5 + y4 + y3 + y2 + (c * u - d) * l - b * u * k,
        )
        ga, gb, gc, gd = ga + u * k, gb - u * v * k, gc + u * v * l, gd - v * l
    return value, np.array([x, y]), np.array([ga, gb, gc, gd]), n
