"""Array expressions: slices, broadcasting, reductions, rearrangements, products, in-place operators, masks and index arrays."""

import math

import numpy as np

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
B4 = np.array([1.3, 0.2, -0.8, 0.6])
A6 = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])
B6 = np.array([0.3, 1.2, -0.5, 0.8, 1.7, -0.9])
M34 = np.array([[0.3, -0.8, 1.2, 0.5], [1.4, 0.2, -0.6, 0.9], [-0.1, 0.7, 0.35, -1.3]])
M43 = np.array([[0.6, -0.3, 0.9], [1.1, 0.4, -0.7], [-0.2, 0.8, 0.5], [0.35, -1.2, 0.15]])
M33 = np.array([[2.0, 0.4, -0.5], [0.8, 3.0, 0.3], [-0.4, 0.6, 2.5]])
T232 = np.linspace(-1.0, 1.3, 12).reshape(2, 3, 2)
I5 = np.array([1, 3, 3, -1, 0])


# ------------------------------------------------------------------------------------------------------------ elementwise
@case(args=(A6, B6))
def plain_arithmetic(a, b):
    return a * b - a / (2.0 + b) + 3.0 * a**2 - b


@case(args=(A6, 0.7, 2))
def with_numbers(a, x, n):
    return x * a + n - a * n / 3 + 1


@case(args=(A6,))
def ufuncs(a):
    return np.sin(a) * np.exp(-a) + np.sqrt(np.abs(a)) + np.tanh(a) * np.hypot(a, 1.0)


@case(args=(A6, B6))
def named_temporaries(a, b):
    c = a * b
    d = c + a
    e = d * c - b
    return e + d


@case(args=(A6,))
def negated(a):
    return -a + (+a) * 0.5 - (-(a * a))


@case(args=(M34, A4))
def rows_broadcast(m, v):
    return m * v + v


@case(args=(M34, np.array([0.5, -1.0, 2.0])))
def columns_broadcast(m, w):
    return m * w[:, None] + w[:, np.newaxis] * 2.0


@case(args=(A4, np.array([0.5, -1.0, 2.0])))
def outer_by_broadcast(v, w):
    return (w[:, None] - v[None, :]) ** 3


@case(args=(T232, np.array([0.5, -1.0])))
def three_axes(t, w):
    return t * w[:, None, None] + t[:, ::-1, :] * w


@case(args=(A6.astype(np.float32), B6.astype(np.float32), 0.7), tags="float32")
def float32_arrays(a, b, x):
    return a * 2.0 + b * b - a * 3


@case(args=(A6, np.array([1, 2, 0, 3, 1, 2])))
def with_integers(a, k):
    return a * k + a**k - k


@case(args=(A6, B6))
def selections(a, b):
    return np.where(a > b, a * b, a - b) + np.maximum(a, b) * np.minimum(a, 0.3) + np.clip(a, -0.5, 0.5)


@case(args=(A6,), tags="trap")
def where_with_a_bad_side(a):
    return np.where(a > 0.0, np.sqrt(np.where(a > 0.0, a, 1.0)), 0.0) + np.where(a > 0.0, np.log(np.abs(a)), a)


@case(args=(A6, B6))
def masks_as_factors(a, b):
    inside = (a > 0.0) & (b < 1.0)
    outside = ~inside | (a < -1.0)
    return a * inside + b * outside


# ---------------------------------------------------------------------------------------------------------------- slices
@case(args=(A6,))
def three_point(u):
    return u[2:] - 2.0 * u[1:-1] + u[:-2]


@case(args=(A6, 0.3))
def store_into_slice(u, k):
    out = u.copy()
    out[1:-1] = u[1:-1] + k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    out[0] = 0.0
    return out


@case(args=(M34, 0.2))
def five_point(u, k):
    out = np.zeros_like(u)
    out[1:-1, 1:-1] = k * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]) - u[1:-1, 1:-1]
    out[0, :] = u[0, :]
    out[:, -1] = u[:, -1] * k
    return out


@case(args=(A6,))
def steps_and_reversal(u):
    return u[::2] * u[1::2] + u[::-2] - u[-1:-6:-2]


@case(args=(A6, 1, 4), id="inside")
@case(args=(A6, -5, -2), id="negative")
@case(args=(A6, 2, 99), id="clamped")
@case(args=(A6, 4, 2), id="empty")
def computed_bounds(u, lo, hi):
    v = u[lo:hi]
    s = 0.0
    for i in range(len(v)):
        s += v[i] * u[i] * (i + 1)
    return s + (v * v).sum()


@case(args=(A4,))
def empty_slices(u):
    a = u[4:] * 2.0
    b = u[3:1] + 1.0
    return a.sum() + b.sum() + len(u[10:]) + u[-9:2].sum()


@case(args=(M34, 1))
def rows_and_columns(m, k):
    return m[k] * m[-1] + m[0], m[:, k] * m[:, -1]


@case(args=(M34,))
def views_of_views(m):
    v = m[1:, ::2]
    w = v[:, ::-1]
    return w[0] * w[1] + v[-1, -1] + w.T[0, 1]


@case(args=(A6,))
def negative_index_of_a_slice(u):
    v = u[1:4]
    w = u[::-1]
    return v[-1] * v[0] + w[-1] * w[1] + v[-2]


@case(args=(A6, 0.5))
def stores_through_views(u, k):
    v = u[1:-1]
    v[0] = k * v[1]
    v[-1] *= 2.0
    v[1:3] = u[:2] * k
    w = u[::2]
    w += 1.0
    return u


@case(args=(M34,))
def transposed_views(m):
    t = m.T
    t[0, 1] = 2.0 * m[2, 3]
    return t[1:] * 2.0 + t[:-1], m.transpose(1, 0)[0] * m[:, 1]


@case(args=(T232,))
def axes_moved(t):
    return np.transpose(t, (2, 0, 1))[1] * t[:, :, 0] + t.transpose(1, 0, 2)[0, 0, 1]


@case(args=(T232,))
def ellipsis_and_new_axes(t):
    return t[..., 0] * t[0, ..., 1][None] + t[1, ...][:, 0]


@case(args=(A6, 3))
def moving_window(u, n):
    s = 0.0
    for i in range(len(u) - n + 1):
        s += u[i : i + n].sum() * u[i]
        w = u[i : i + n]
        s += w[0] * w[-1]
    return s


@case(args=(M34, 0.4), tags="overlap")
def rows_in_a_loop(m, k):
    for i in range(1, m.shape[0]):
        m[i] = m[i] * k + m[i - 1] * m[i]
        m[i, 1:] -= m[i, :-1]
    return m


# -------------------------------------------------------------------------------------------------------------- in place
@case(args=(A6, B6, 0.3))
def operators_in_place(a, b, x):
    a += b
    a *= b + x
    a -= x * b
    b /= 2.0 + a * a
    b **= 2
    return a, b


@case(args=(M34, A4))
def rows_in_place(m, v):
    m[0] += v
    m[1:] *= v
    m[:, 0] -= m[:, 1] * m[:, 2]
    m[-1, 1:3] /= 2.0
    return m


@case(args=(A6,))
def self_copy_shifted(a):
    a[1:] = a[:-1]
    a[:3] = a[3:] * a[:3]
    return a


@case(args=(A6,))
def reversed_onto_itself(a):
    a[:] = a[::-1] * a
    a[::2] = a[1::2]
    return a


@case(args=(M33,))
def transposed_onto_itself(m):
    m[:, :] = m.T * 0.5 + m
    return m


@case(args=(A6, 4))
def stencil_in_time(u, n):
    for _ in range(n):
        u[1:-1] = u[1:-1] + 0.1 * u[1:-1] * (u[2:] - u[:-2])
    return u


@case(args=(A6, 3))
def ping_pong(u, n):
    v = np.empty_like(u)
    for _ in range(n):
        v[1:-1] = u[1:-1] + 0.2 * (u[2:] - 2.0 * u[1:-1] + u[:-2]) * u[1:-1]
        v[0] = v[1]
        v[-1] = v[-2]
        u, v = v, u
    return u


@case(args=(A6, 3))
def rebound_in_a_loop(u, n):
    for _ in range(n):
        u = u * u - 0.5 * u
    return u


# ------------------------------------------------------------------------------------------------------------ reductions
@case(args=(A6, M34))
def sums(a, m):
    return a.sum() * np.sum(m), m.sum(axis=0) * 2.0, np.sum(m, axis=1), m[1:].sum(axis=-1)


@case(args=(A6, M34))
def means(a, m):
    return a.mean() + np.mean(m), np.var(a), np.std(m), a.std() * a.var()


@case(args=(A6, M34))
def products(a, m):
    return a.prod() * 0.5 + np.prod(m[0])


@case(args=(A6, M34))
def extremes(a, m):
    return a.max() * a.min() + np.max(m) - np.min(m * m), a[np.argmax(a)], m[0][np.argmin(m[0])]


@case(args=(np.array([1.0, 3.0, 3.0, 0.5]),), tags="kink")
def extremes_tie(a):
    return a.max() * 2.0, np.argmax(a)


@case(args=(A6, B6))
def truths(a, b):
    s = 0.0
    if (a > 0.0).any():
        s += a[0]
    if np.all(b < 2.0):
        s += b[1] * b[1]
    if (a > 5.0).all():
        s += 100.0 * a[2]
    return s


@case(args=(A6, B6, M34, M43))
def norms_and_traces(a, b, m, w):
    return np.linalg.norm(a) * np.trace(m @ w) + np.linalg.norm(m)


@case(args=(A6, B6))
def fused_sums(a, b):
    return (a * b).sum() / (np.sqrt((a**2).sum()) * np.sqrt((b**2).sum()))


@case(args=(A6,))
def running_totals(a):
    return np.cumsum(a) * a, np.cumprod(a)


@case(args=(A6,))
def softmax(a):
    e = np.exp(a - a.max())
    return e / e.sum()


# -------------------------------------------------------------------------------------------------------------- products
@case(args=(A4, B4, M34, M43))
def matrix_products(a, b, m, w):
    return a @ b + np.dot(a, b) + np.vdot(a, b), m @ a, a @ w, m @ w, np.dot(m, w)[0]


@case(args=(M34, M43), tags="plain")
def products_of_views(m, w):
    return m[:, 1:] @ w[1:], m.T[::2] @ m, m[0] @ w[:, 1], w.T @ w


@case(args=(A4, B4, 3))
def repeated_products(a, b, n):
    k = np.outer(a, b) * 0.2
    for _ in range(n):
        a = np.tanh(k @ a + b)
    return a


# -------------------------------------------------------------------------------------------------------- rearrangements
@case(args=(A6, 2), id="forward")
@case(args=(A6, -1), id="backward")
@case(args=(A6, 13), id="far")
def rolled(a, k):
    return np.roll(a, k) * a + np.roll(a, 1) - np.roll(a * a, -1)


@case(args=(A4, B4, M34), tags="plain")
def joined(a, b, m):
    c = np.concatenate((a, 2.0 * b, a[:2]))
    return c * c, np.stack((a, b)) * 2.0, np.hstack((a, b)), np.vstack((a, m, b * a)), np.concatenate((m, m * m), axis=1)


@case(args=(A6, M34))
def reshaped(a, m):
    b = a.reshape(2, 3)
    c = m.reshape((4, 3))
    d = m.ravel()
    return b[1] * b[0], c.T @ c, d[5] * d[-1], m.flatten()[::3], m.reshape(2, -1)[0]


@case(args=(A6, M33))
def differences_and_triangles(a, m):
    return np.diff(a) * a[1:], np.triu(m) @ m, np.tril(m, -1) + m, np.diag(m) * 2.0, np.diag(a[:3]) @ m


@case(args=(A6, M34))
def flipped(a, m):
    return np.flip(a) * a, m[::-1] * m, np.flip(m)[0]


@case(args=(A4, 0.5))
def constants(a, x):
    n = len(a)
    t = np.linspace(0.0, 1.0, n)
    k = np.arange(n)
    return a * t + x * k, np.eye(n) @ a, np.ones(n) * x + np.full(n, x) * a, np.arange(1, 5) * a


@case(args=(A6,))
def changed_dtypes(a):
    k = (a * 9.1).astype(np.int64)
    return a.astype(np.float64) * k


# ------------------------------------------------------------------------------------------------ index arrays and masks
@case(args=(A6, I5))
def gathered(a, index):
    return a[index] * a[index] + (2.0 * a)[index]


@case(args=(M43, I5 % 3))
def rows_gathered(m, index):
    return m[index] * 2.0, m[:, index].sum()


@case(args=(A6, I5, B6))
def scattered(a, index, b):
    a[index] = b[:5] * a[0]
    return a


@case(args=(A6, I5, B6))
def scattered_in_place(a, index, b):
    a[index] += b[:5]
    a[index] *= 2.0
    return a


@case(args=(A6, B6))
def masked(a, b):
    picked = a[a > 0.0]
    return (picked * picked).sum() + picked[1], b[(a > 0.0) & (b > 0.0)].sum(), len(picked)


@case(args=(A6, M34, 0.5), tags="plain")
def stored_under_masks(a, m, x):
    a[a < 0.0] = x * x
    m[m > 1.0] = x
    return a, m


# ------------------------------------------------------------------------------------------------------ with other features
def smooth(u, k):
    out = u.copy()
    out[1:-1] += k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return out


def scale(u, k):
    u *= k
    return u[0]


@case(args=(A6, 0.2), tags="plain")
def helpers_of_arrays(u, k):
    v = smooth(smooth(u, k), 0.5 * k)
    s = scale(v[2:], k)
    return v * s, smooth(v[::-1], k)


@case(args=(A6, 0.3), tags="plain")
def helper_writes_an_operand(u, k):
    return (u * 2.0) * scale(u, k), u * scale(u, k) + u


@case(args=(A6, B6))
def branches_on_arrays(a, b):
    if a.sum() > b.sum():
        c = a * b
    else:
        c = a - b
    return c * c


@case(args=(A6,))
def loop_until_small(a):
    n = 0
    while np.abs(a).max() > 0.5:
        a = a * 0.7
        n += 1
    return a, n


@case(args=(np.zeros(0), A4))
def empty_arrays(a, b):
    return (a * 2.0).sum() + b.sum(), a + 1.0, np.concatenate((a, b))


@case(args=(A6, 0.01, 5))
def burgers(u, dt, n):
    for _ in range(n):
        flux = 0.5 * u * u
        u[1:-1] = u[1:-1] - dt * (flux[2:] - flux[:-2]) + dt * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return u


@case(args=(M43, np.array([1.0, 0.5, 2.0, 0.8])))
def pairwise_forces(x, mass):
    n = x.shape[0]
    acc = np.zeros_like(x)
    for i in range(n):
        d = x - x[i]
        r2 = (d * d).sum(axis=1) + 0.1
        w = mass / (r2 * np.sqrt(r2))
        acc[i] = w @ d
    return acc


@case(args=(A4, 0.7))
def horner_of_arrays(c, x):
    p = np.zeros(3)
    for k in range(len(c)):
        p = p * x + c[k]
    return p * math.sin(x)


@case(args=(A6, B6, 0.3), tags="plain")
def calls_that_write_between(u, v, k):
    w = (u + v) * scale(u, k) + u
    s = (v * 2.0).dot(v) + (v * u).sum() * scale(v, k)
    v[1:4] = u[1:4] * scale(u, 0.5)
    return w, s + (v * v).sum()
