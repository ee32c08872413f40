"""Small numerical algorithms, written with loops over elements."""

import math

import numpy as np

from . import case

A5 = np.array([0.7, -1.1, 0.4, 1.9, -0.6])
SPD = np.array([[4.0, 1.0, -0.5], [1.0, 5.0, 0.3], [-0.5, 0.3, 3.0]])
GENERAL = np.array([[0.3, 2.0, -0.5], [1.7, 0.6, 0.3], [-0.4, 0.6, 3.0]])
RHS = np.array([1.0, -2.0, 0.5])


@case(args=(A5, 0.6))
def horner(c, x):
    s = 0.0
    for i in range(len(c) - 1, -1, -1):
        s = s * x + c[i]
    return s


@case(args=(A5, 0.6))
def horner_with_derivative(c, x):
    p, dp = 0.0, 0.0
    for i in range(len(c)):
        dp = dp * x + p
        p = p * x + c[i]
    return p, dp


@case(args=(A5,))
def prefix_sums(a):
    for i in range(1, len(a)):
        a[i] += a[i - 1]
    return a


@case(args=(A5,))
def prefix_products(a):
    out = np.ones(len(a) + 1)
    for i in range(len(a)):
        out[i + 1] = out[i] * a[i]
    return out


@case(args=(np.linspace(-1.0, 1.0, 8), np.array([0.5, 0.3, -0.2])))
def fir_filter(signal, taps):
    out = np.zeros(len(signal))
    for i in range(len(signal)):
        for k in range(len(taps)):
            if i - k >= 0:
                out[i] += taps[k] * signal[i - k]
    return out


@case(args=(np.linspace(-1.0, 1.0, 8), 0.4, -0.3))
def iir_filter_in_place(s, a, b):
    for i in range(2, len(s)):
        s[i] = s[i] + a * s[i - 1] + b * s[i - 2] * s[i - 2]
    return s


@case(args=(np.array([3.0, 7.0, 15.0, 1.0, 292.0]),))
def continued_fraction(c):
    x = c[-1]
    for i in range(len(c) - 2, -1, -1):
        x = c[i] + 1.0 / x
    return x


@case(args=(np.array([0.9, -0.4, 0.7, 0.1, -1.2, 0.3]),))
def bubble_sort(a):
    n = len(a)
    for i in range(n):
        swapped = False
        for j in range(n - 1 - i):
            if a[j] > a[j + 1]:
                a[j], a[j + 1] = a[j + 1], a[j]
                swapped = True
        if not swapped:
            break
    s = 0.0
    for i in range(n):
        s += (i + 1) * a[i] * a[i]
    return a, s


@case(args=(np.array([0.9, -0.4, 0.7, 0.1, -1.2]),))
def insertion_sort(a):
    for i in range(1, len(a)):
        x = a[i]
        j = i - 1
        while j >= 0 and a[j] > x:
            a[j + 1] = a[j]
            j -= 1
        a[j + 1] = x
    return a


@case(args=(np.array([2.0, 1.0, 0.5, 0.2]), np.array([4.0, 5.0, 4.5, 6.0]), np.array([1.0, -0.5, 0.3]), A5[:4].copy()))
def thomas_solve(lower, diag, upper, rhs):
    n = len(diag)
    for i in range(1, n):
        w = lower[i] / diag[i - 1]
        diag[i] = diag[i] - w * upper[i - 1]
        rhs[i] = rhs[i] - w * rhs[i - 1]
    x = np.empty(n)
    x[n - 1] = rhs[n - 1] / diag[n - 1]
    for i in range(n - 2, -1, -1):
        x[i] = (rhs[i] - upper[i] * x[i + 1]) / diag[i]
    return x


@case(args=(SPD,))
def cholesky(a):
    n = a.shape[0]
    factor = np.zeros_like(a)
    for j in range(n):
        s = a[j, j]
        for k in range(j):
            s -= factor[j, k] * factor[j, k]
        factor[j, j] = math.sqrt(s)
        for i in range(j + 1, n):
            t = a[i, j]
            for k in range(j):
                t -= factor[i, k] * factor[j, k]
            factor[i, j] = t / factor[j, j]
    return factor


@case(args=(SPD,))
def cholesky_in_place(a):
    n = a.shape[0]
    for j in range(n):
        a[j, j] = math.sqrt(a[j, j])
        for i in range(j + 1, n):
            a[i, j] /= a[j, j]
        for k in range(j + 1, n):
            for i in range(k, n):
                a[i, k] -= a[i, j] * a[k, j]
    return a


@case(args=(SPD, RHS))
def lu_solve_in_place(a, b):
    n = len(b)
    for k in range(n - 1):
        for i in range(k + 1, n):
            a[i, k] = a[i, k] / a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= a[i, k] * a[k, j]
            b[i] -= a[i, k] * b[k]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            b[i] -= a[i, j] * b[j]
        b[i] /= a[i, i]
    return b


@case(args=(GENERAL, RHS))
def pivoted_elimination(a, b):
    n = len(b)
    for k in range(n):
        p = k
        for i in range(k + 1, n):
            if abs(a[i, k]) > abs(a[p, k]):
                p = i
        if p != k:
            for j in range(n):
                a[k, j], a[p, j] = a[p, j], a[k, j]
            b[k], b[p] = b[p], b[k]
        for i in range(k + 1, n):
            f = a[i, k] / a[k, k]
            for j in range(k, n):
                a[i, j] = a[i, j] - f * a[k, j]
            b[i] = b[i] - f * b[k]
    x = np.zeros(n)
    for i in range(n - 1, -1, -1):
        s = b[i]
        for j in range(i + 1, n):
            s = s - a[i, j] * x[j]
        x[i] = s / a[i, i]
    return x


@case(args=(SPD,))
def determinant_by_elimination(a):
    det = 1.0
    n = a.shape[0]
    for k in range(n):
        det *= a[k, k]
        for i in range(k + 1, n):
            r = a[i, k] / a[k, k]
            for j in range(k, n):
                a[i, j] -= r * a[k, j]
    return det


@case(args=(SPD, RHS, 4))
def jacobi_iterations(a, b, sweeps):
    n = len(b)
    x, y = np.zeros(n), np.zeros(n)
    for _ in range(sweeps):
        for i in range(n):
            s = b[i]
            for j in range(n):
                if j != i:
                    s -= a[i, j] * x[j]
            y[i] = s / a[i, i]
        x, y = y, x
    return x


@case(args=(SPD, RHS))
def gauss_seidel_until_converged(a, b):
    n = len(b)
    x = np.zeros(n)
    change = 1.0
    while change > 1e-14:
        change = 0.0
        for i in range(n):
            s = b[i]
            for j in range(n):
                if i == j:
                    continue
                s -= a[i, j] * x[j]
            s /= a[i, i]
            change = max(change, abs(s - x[i]))
            x[i] = s
    return x


@case(args=(SPD, RHS, 2))
def conjugate_gradients(a, b, iterations):
    n = len(b)
    x, r, d, q = np.zeros(n), b.copy(), b.copy(), np.empty(n)
    rr = 0.0
    for i in range(n):
        rr += r[i] * r[i]
    for _ in range(iterations):
        dq = 0.0
        for i in range(n):
            q[i] = 0.0
            for j in range(n):
                q[i] += a[i, j] * d[j]
            dq += d[i] * q[i]
        alpha = rr / dq
        old = rr
        rr = 0.0
        for i in range(n):
            x[i] += alpha * d[i]
            r[i] -= alpha * q[i]
            rr += r[i] * r[i]
        for i in range(n):
            d[i] = r[i] + rr / old * d[i]
    return x


@case(args=(SPD, 6))
def power_iteration(a, iterations):
    n = a.shape[0]
    v, w = np.ones(n), np.empty(n)
    norm = 0.0
    for _ in range(iterations):
        norm = 0.0
        for i in range(n):
            w[i] = 0.0
            for j in range(n):
                w[i] += a[i, j] * v[j]
            norm += w[i] * w[i]
        norm = math.sqrt(norm)
        for i in range(n):
            v[i] = w[i] / norm
    return norm


@case(args=(GENERAL,))
def gram_schmidt_in_place(q):
    n = q.shape[0]
    for j in range(n):
        for k in range(j):
            s = 0.0
            for i in range(n):
                s += q[i, k] * q[i, j]
            for i in range(n):
                q[i, j] -= s * q[i, k]
        s = 0.0
        for i in range(n):
            s += q[i, j] * q[i, j]
        s = math.sqrt(s)
        for i in range(n):
            q[i, j] /= s
    return q


@case(args=(2.0, 0.3))
def kepler_equation(mean, e):
    x = mean
    for _ in range(50):
        step = (x - e * math.sin(x) - mean) / (1.0 - e * math.cos(x))
        x = x - step
        if abs(step) < 1e-15:
            break
    return x


@case(args=(1.0, 2.5))
def arithmetic_geometric_mean(a, b):
    while abs(a - b) > 1e-15 * a:
        a, b = 0.5 * (a + b), math.sqrt(a * b)
    return a


@case(args=(0.9,))
def exponential_series(x):
    term, s, n = 1.0, 1.0, 1
    while abs(term) > 1e-17:
        term = term * x / n
        s += term
        n += 1
    return s


@case(args=(0.0, 2.0, 0.7))
def simpson_rule(lo, hi, p):
    n = 8
    h = (hi - lo) / n
    s = 0.0
    for i in range(n + 1):
        w = 1.0 if i == 0 or i == n else (4.0 if i % 2 == 1 else 2.0)
        s += w * math.exp(-p * (lo + i * h) ** 2)
    return s * h / 3.0


@case(args=(np.array([0.0, 1.0, 2.5, 4.0]), np.array([1.0, -0.5, 0.3, 2.0]), 1.7), id="inside")
@case(args=(np.array([0.0, 1.0, 2.5, 4.0]), np.array([1.0, -0.5, 0.3, 2.0]), 5.0), id="beyond")
def linear_interpolation(grid, values, x):
    if x <= grid[0]:
        return values[0]
    for i in range(1, len(grid)):
        if x < grid[i]:
            w = (x - grid[i - 1]) / (grid[i] - grid[i - 1])
            return (1.0 - w) * values[i - 1] + w * values[i]
    return values[-1]


@case(args=(np.array([0.0, 1.0, 2.5, 4.0]), 1.7))
def bisection_search(grid, x):
    lo, hi = 0, len(grid) - 1
    while hi - lo > 1:
        mid = (lo + hi) // 2
        if grid[mid] > x:
            hi = mid
        else:
            lo = mid
    return (x - grid[lo]) / (grid[hi] - grid[lo])


@case(args=(np.array([0.2, 1.4, 0.9, 2.0]),))
def log_sum_exp(a):
    m = a[0]
    for i in range(1, len(a)):
        m = max(m, a[i])
    s = 0.0
    for i in range(len(a)):
        s += math.exp(a[i] - m)
    return m + math.log(s)


@case(args=(np.array([0.2, 1.4, 0.9, 2.0]), np.array([1.0, 0.5, 1.1]), 0.7))
def dynamic_time_warping(a, b, weight):
    n, m = len(a), len(b)
    d = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            cost = (a[i] - b[j]) ** 2 * weight
            if i == 0 and j == 0:
                d[i, j] = cost
            elif i == 0:
                d[i, j] = cost + d[i, j - 1]
            elif j == 0:
                d[i, j] = cost + d[i - 1, j]
            else:
                d[i, j] = cost + min(d[i - 1, j], d[i, j - 1], d[i - 1, j - 1])
    return d[-1, -1]


@case(args=(np.array([0.4, 1.0, 0.2]), np.array([[0.9, 0.1, 0.2], [0.3, 0.8, 0.1], [0.0, 0.2, 0.7]]), 4))
def markov_forward_pass(start, transition, steps):
    n = len(start)
    alpha = start.copy()
    log_scale = 0.0
    for _ in range(steps):
        total = 0.0
        new = np.zeros(n)
        for j in range(n):
            for i in range(n):
                new[j] += alpha[i] * transition[i, j]
            total += new[j]
        for j in range(n):
            alpha[j] = new[j] / total
        log_scale += math.log(total)
    return log_scale


@case(args=(np.array([0.3, -0.7, 0.5]), np.array([[0.2, -0.4, 0.1], [0.7, 0.3, -0.9]]), np.array([0.6, -1.1])))
def two_layer_network(x, w, v):
    out = 0.0
    for i in range(w.shape[0]):
        s = 0.0
        for j in range(w.shape[1]):
            s += w[i, j] * x[j]
        out += v[i] * math.tanh(s)
    return out


@case(args=(0.31, 0.21), id="escapes")
@case(args=(-0.4, 0.1), id="stays")
def escape_iteration(cx, cy):
    x, y = 0.0, 0.0
    for k in range(8):
        x, y = x * x - y * y + cx, 2.0 * x * y + cy
        if x * x + y * y > 0.3:
            return x * x + y * y + k
    return x + y


@case(args=(1.3, 7), id="odd")
@case(args=(1.3, 12), id="even")
def binary_power(x, n):
    r = 1.0
    while n > 0:
        if n % 2 == 1:
            r = r * x
        x = x * x
        n = n // 2
    return r


@case(args=(0.4, 5))
def chebyshev_recurrence(x, n):
    before, now = 1.0, x
    for _ in range(n - 1):
        before, now = now, 2.0 * x * now - before
    return now


@case(args=(np.array([1.0, 0.8, 1.3, 0.6]), 100.0, 105.0))
def binomial_option_tree(up, spot, strike):
    n = len(up)
    v = np.empty(n + 1)
    for i in range(n + 1):
        v[i] = max(spot * (1.0 + 0.05 * (2 * i - n)) - strike, 0.0)
    for k in range(n - 1, -1, -1):
        q = up[k] / (1.0 + up[k])
        for i in range(k + 1):
            v[i] = 0.99 * (q * v[i + 1] + (1.0 - q) * v[i])
    return v[0]


@case(args=(np.array([[0.5, 0.1], [-0.2, 0.7]]), 6))
def matrix_exponential_series(a, terms):
    out = np.zeros((2, 2))
    term = np.zeros((2, 2))
    for i in range(2):
        out[i, i] = 1.0
        term[i, i] = 1.0
    for k in range(1, terms):
        new = np.zeros((2, 2))
        for i in range(2):
            for j in range(2):
                for m in range(2):
                    new[i, j] += term[i, m] * a[m, j] / k
        for i in range(2):
            for j in range(2):
                term[i, j] = new[i, j]
                out[i, j] += term[i, j]
    return out


@case(args=(np.array([0.0, 0.4, 0.1, 0.9]),), tags="trap kink")
def zeros_meet_infinite_slopes(a):
    s = 1.0
    for i in range(1, len(a)):
        if a[i - 1] > 0.0:
            s += math.sqrt(a[i - 1]) / a[i]
        else:
            s += a[i]
    return s
