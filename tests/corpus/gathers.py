"""Reductions along axes, index arrays and masks, rearrangements, sorting: what arrays are asked for besides arithmetic."""

import numpy as np

from . import case

A6 = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])
B6 = np.array([0.3, 1.2, -0.5, 0.8, 1.7, -0.9])
M34 = np.array([[0.3, -0.8, 1.2, 0.5], [1.4, 0.2, -0.6, 0.9], [-0.1, 0.7, 0.35, -1.3]])
T234 = np.round(np.sin(np.arange(24.0) ** 2), 2).reshape(2, 3, 4)
I5 = np.array([1, 3, 3, -1, 0])


# -------------------------------------------------------------------------------------------------------- along an axis
@case(args=(M34, T234), tags="plain")
def sums_along_axes(m, t):
    return m.sum(1), np.sum(t, axis=-1), np.sum(t * t, axis=(0, 2)), np.mean(t, axis=1), np.mean(t, axis=(-1, 0)) * m[:, 0]


@case(args=(M34, T234), tags="plain")
def products_along_axes(m, t):
    return np.prod(m, axis=0), t.prod(axis=-2), np.prod(2 * np.ones_like(m), axis=1)


@case(args=(np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0], [1.5, -1.0, 2.5]]),))
def products_with_zeros(m):
    return np.prod(m[0]), np.prod(m[1]), np.prod(m[2]), np.prod(m)


@case(args=(M34, T234), tags="plain")
def spreads_along_axes(m, t):
    return np.var(m, axis=0), t.std(axis=1), np.std(m), np.var(t, axis=(0, 2))


@case(args=(M34, T234), tags="plain")
def extremes_along_axes(m, t):
    return m.max(axis=0), np.min(t, axis=1), np.amax(m * m, axis=-1), np.ptp(m, axis=0), np.ptp(m), np.amin(t)


@case(args=(M34, T234))
def places_of_extremes(m, t):
    rows = np.argmax(m, axis=1)
    s = 0.0
    for i in range(len(rows)):
        s += m[i, rows[i]] * rows[i]
    return s, np.argmin(t, axis=0), m.argmin(0), np.argmax(m, axis=-1)


@case(args=(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 0.5]]),), tags="kink plain")
def ties_along_an_axis(m):
    return m.max(axis=1), m.min(axis=0), np.argmax(m, axis=1)


@case(args=(M34,), tags="plain")
def truths_along_axes(m):
    count = np.count_nonzero(m > 0.0)
    return np.any(m > 1.0, axis=0), np.where(np.all(m > -1.0, axis=1), m[:, 0], m[:, 1] ** 2), m[0] * count


@case(args=(M34,), tags="plain")
def softmax_with_kept_axes(m):
    e = np.exp(m - np.max(m, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True), np.mean(m, axis=0, keepdims=True) * m


@case(args=(M34,), tags="plain")
def standardised(m):
    return (m - m.mean(axis=0)) / np.sqrt(m.var(axis=0) + 0.1), m / m.sum(keepdims=True)


@case(args=(A6,))
def along_the_only_axis(a):
    return np.sum(a * a, axis=0) * np.argmax(a, axis=0)


@case(args=(np.zeros((0, 3)), M34))
def along_an_empty_axis(a, m):
    return np.sum(a, axis=0) + m[:, 0], np.sum(a, axis=1)


# ------------------------------------------------------------------------------------------------ slices of one element
@case(args=(M34, 1), id="inside")
@case(args=(M34, -2), id="negative")
def single_columns(m, k):
    x, y = m[:, 0:1], m[:, 1:2]
    return x * m, m - y, x.T - y, m[-1:] * m, m[1:2] * m[:, 2:3], m[k : k + 1] + m


@case(args=(M34,))
def single_rows_stored(m):
    out = np.zeros((3, 4))
    out[1:2] = m[0:1] * 2.0
    out[:, 1:3] += m[:, -1:]
    out[:, 0:1] *= m[:, 1:2]
    return out


# --------------------------------------------------------------------------------------------------- index arrays, masks
@case(args=(M34, np.array([0, 2, 2]), np.array([3, -1, 0])))
def several_index_arrays(m, i, j):
    return m[i, j] * m[2, j], m[i, 1], m[i][:, j]


@case(args=(T234, np.array([0, 1, 1, 0]), np.array([2, 0, -1, 2])))
def index_arrays_apart(t, i, j):
    return t[i, :, j], t[i, 1, :], t[0, j], t[:, j % 3, i] * t[0, 0, 1], t[1:, j, 1:]


@case(args=(A6, M34, np.array([[0, 1], [-1, 0]])))
def index_arrays_of_two_axes(a, m, k):
    return a[k] * a[k].T, m[:, k], m[k]


@case(args=(M34, np.array([0, 2]), np.array([1, 3, -1])))
def index_arrays_broadcast(m, i, j):
    return m[i[:, None], j] ** 2, m[:2, 1:][i[:1] - 1, j % 2]


@case(args=(M34, T234), tags="plain")
def masks_of_several_axes(m, t):
    s = np.sum(m[m > 0.33] ** 2)
    rows = m[m[:, 0] > 0.0, 1:] ** 2
    return s, np.sum(t[:, m > 0.55] * 2.0, axis=1), np.mean(t[t > 0.33]) * len(rows), rows.sum(axis=0)


@case(args=(M34, A6), tags="plain")
def arrays_stored_under_masks(m, a):
    big = m > 0.33
    m[big] = m[big] ** 2 * 0.5
    m[m < -0.5] += a[:3]
    a[a > 0.5] *= 3.0
    a[a < 0.0] = a[1:3]
    m[:, m[0] > 1.0] = 0.25 * a[0]
    return m, a


@case(args=(M34, np.array([0, 2, 0]), np.array([1, 1, 1]), A6[:3]))
def stored_at_several_index_arrays(m, i, j, v):
    m[i, j] = v * m[2, 2]
    m[1, j] *= 2.0
    m[i] -= 0.1 * v[:, None]
    return m


@case(args=(A6, M34))
def flat_places(a, m):
    where = np.flatnonzero(a > 0.0)
    (same,) = np.nonzero(a < 0.5)
    return np.prod(a[where] ** 2), np.sum(a[same]), np.take(a, where)[-1], np.sum(np.take(m, where)), len(where)


# ------------------------------------------------------------------------------------------------------- rearrangements
@case(args=(M34, 1), id="forward")
@case(args=(M34, -3), id="backward")
def matrices_rolled(m, k):
    return np.roll(m, k) * m, np.roll(m * m, 2 * k)


@case(args=(M34, 1), tags="plain")
def rolled_along_axes(m, k):
    return np.roll(m, k, axis=0) * m, np.roll(m, -k, axis=1), np.roll(m, 5, -1)


@case(args=(A6, M34))
def repeated(a, m):
    return np.repeat(a, 2), np.repeat(m * m, 3), np.repeat(a[0] * a[1], 3), a.repeat(2) * 2.0


@case(args=(A6, M34), tags="plain")
def tiled(a, m):
    return np.tile(a * a, 3), np.repeat(m, 2, axis=1)


@case(args=(A6, M34))
def reshaped_by_name(a, m):
    b = np.reshape(a * a, (2, 3)) @ m
    return b, np.ravel(m) * 2.0, np.reshape(m, -1)[1:4], np.expand_dims(a, 1) * a, np.fliplr(m), np.flipud(m) * m


@case(args=(A6, M34))
def columns_joined(a, m):
    both = np.column_stack((a[:3], m[:, 0] * a[3:]))
    return both @ m[:2], np.swapaxes(m, 0, 1) * 2.0, np.append(a, m[0]), np.append(a, a[0] * 2.0)


@case(args=(M34,))
def totals_of_matrices(m):
    return np.cumsum(m), np.cumprod(m * 2.0)


@case(args=(M34, T234), tags="plain")
def totals_along_axes(m, t):
    return np.cumsum(m, axis=0) * m, np.cumsum(t, axis=-1), np.cumprod(m, axis=1)


@case(args=(A6, 0.4))
def filled_like(a, x):
    b = np.full_like(a, x * x)
    c = np.ones_like(a)
    c[2] = x
    return b * a + c * np.full(6, x)


# ------------------------------------------------------------------------------------------------------------- sorting
@case(args=(A6,))
def sorted_values(a):
    b = np.sort(a)
    return b * np.arange(6) + a, np.sort(a * a)[-1]


@case(args=(np.array([0.5, -0.5, 0.5, 0.25, -0.5, 0.5]), B6), tags="kink")
def sorted_with_ties(a, b):
    order = np.argsort(a, kind="mergesort")
    return b[order], np.sort(a)


@case(args=(np.array([]), np.array([1.5]), A6[:2]))
def short_ones_sorted(none, one, two):
    return np.sort(none), np.sort(one) * 2.0, np.sort(two), np.median(one), np.median(two)


@case(args=(M34,))
def rows_sorted(m):
    return np.sort(m) * np.arange(4)


@case(args=(A6, B6[:5], M34))
def medians(a, b, m):
    return np.median(a * a), np.median(b), np.median(m)


@case(args=(A6, np.array([-1.0, 0.0, 0.5, 1.5]), np.array([0.2, 1.0, -0.4, 2.0])))
def interpolated(x, xp, fp):
    return np.interp(x, xp, fp * fp), np.interp(0.3 * x[0], xp, fp)


@case(args=(np.array([-1.0, 0.0, 0.5, 0.5, 1.5]), A6, 0.5))
def places_among_sorted(edges, x, v):
    k = np.searchsorted(edges, x)
    return x * k, np.searchsorted(edges, v) + np.searchsorted(edges, v, side="right"), v * edges[np.searchsorted(edges, 0.2)]


@case(args=(A6, M34))
def norms_of_orders(a, m):
    v = np.linalg.norm(a, 1) * np.linalg.norm(a, np.inf) + np.linalg.norm(a, -np.inf) + np.linalg.norm(a, 2)
    return v + np.linalg.norm(a, 3), np.linalg.norm(m, 1), np.linalg.norm(m, np.inf) * np.linalg.norm(m)


# ------------------------------------------------------------------------------------------- onto themselves, and in loops
@case(args=(A6, M34, B6))
def onto_themselves(a, m, b):
    a[:] = np.sort(a) * 2.0
    a[1:] *= np.sort(a)[:-1]
    m[:] = np.roll(m, 2) * m[0, 0]
    b[:] = np.repeat(b[:3], 2) + b
    return a, m, b


@case(args=(A6, np.array([0, 1, 2]), np.array([2, 3, 0])))
def places_onto_places(a, i, j):
    a[i] = a[j] ** 2
    a[j] += a[i] * a[0]
    a[i + 1] -= a[i]
    return a


@case(args=(A6, 3))
def sorted_in_a_loop(a, n):
    total = 0.0
    for r in range(n):
        order = np.argsort(a)
        a = a[order] * np.sin(a + r)
        total += np.median(a) * a[order[0]]
    return a, total


@case(args=(M34, 3), tags="plain")
def masked_in_a_loop(m, n):
    s = 0.0
    for r in range(n):
        m[m > 0.33] *= 0.8
        m[m < -0.5] = m[0, 1] * m[m < -0.5]
        s += np.sum(m[:, m[0] > 0.2] ** 2)
    return m, s


@case(args=(M34, 4), tags="plain")
def extremes_in_a_loop(m, n):
    for r in range(n):
        top = np.max(m, axis=1)
        k = np.argmin(m, axis=0)
        m = m * 0.7 + top[:, None] * np.sum(m[k, np.arange(4)])
    return m


@case(args=(A6, 1.0))
def interpolated_while(a, x):
    xp = np.linspace(-2.0, 2.0, 6)
    count = 0
    while abs(x) > 0.3 and count < 5:
        x = 0.6 * np.interp(x, xp, a) + 0.1 * x
        a[np.searchsorted(xp, x)] += x * x
        count += 1
    return x, a, count


@case(args=(M34, A6))
def places_in_branches(m, a):
    if a[0] > 0.0:
        rows = np.argsort(m[:, 0])
        m = m[rows] * a[0]
    else:
        m = m[::-1] * 2.0
    return np.cumsum(m[:, 1]) * np.max(m)


# ------------------------------------------------------------------------------------------------------------- and others
@case(args=(A6, M34))
def places_from_conditions(a, m):
    i, j = np.where(m > 0.33)
    s = 0.0
    for k in range(len(i)):
        s += m[i[k], j[k]] * a[i[k]]
    (rows,) = np.where(a < 0.5)
    return s * np.sum(a[rows] ** 2)


@case(args=(A6, B6, 0.3))
def integrals_and_products(a, b, h):
    t = np.trapezoid(a * b), np.trapezoid(a, dx=h), np.trapezoid(a, np.sort(b))
    return t[0] * t[1] + t[2], np.convolve(a, b[:3]), np.cross(a[:3], b[1:4])


@case(args=(A6, M34))
def averages(a, m):
    return np.average(a), np.average(a, weights=a * a), sum(a), sum([a[0], a[1] * 2.0]), np.asarray(a)[::-1] * a.clip(-0.5, 1.0)


@case(args=(M34, A6))
def other_constants(m, a):
    k = np.arange(5, -1, -2)
    return (
        np.eye(3, 4) * m,
        a[k] * np.arange(0, 7, 3),
        np.ascontiguousarray(m.T) @ m,
        a[np.arange(2, 2)].sum() + a[a.argsort()[0]],
    )


@case(args=(A6, M34))
def waiting_operands(a, m):
    return (a * 2.0) + np.sort(a) * a, a * a + np.roll(a * 2.0, 1), m * m - np.sort(m * m), (a + 1.0)[np.argsort(a * 3.0)]


@case(args=(A6.astype(np.float32), M34.astype(np.float32)), tags="float32 plain")
def float32_asked(a, m):
    return (
        np.sort(a) * a,
        m.max(axis=1) - m.mean(axis=1),
        np.var(m, axis=0),
        np.median(a) * np.linalg.norm(a, 1),
        a[:4][m[0] > 0.0][0],
    )


def spread(a, k):
    order = np.argsort(a)
    a[order[k]] *= 0.5
    return a[order[-1]] - a[order[0]]


@case(args=(A6, 3), tags="plain")
def sorted_in_a_helper(a, n):
    s = 0.0
    for r in range(n):
        s += spread(a, r) * spread(a[1:4], 1)
        a = np.roll(a, r) + s * 0.1
    return s, a


@case(args=(np.arange(24.0).reshape(2, 3, 4) / 7.0, np.array([[0.3, -0.2, 0.1], [-0.4, 0.5, 0.6]])), tags="plain")
def masks_beside_an_ellipsis(c, m):
    return (c[m > 0.0, ...] ** 2).sum(), (c[..., c[0, 0] > 0.2] * m[0, 0]).sum()


@case(args=(A6, 0.8), tags="overwrite")
def indices_in_what_they_overwrite(a, x):
    k = np.array([2, 0, 1, 5, 3, 4])
    k[k] = k[::-1]
    a[k] = a * x + a[k] * a
    k[k[1:] % 6] += k[:-1]
    k %= 6
    return a[k] * a
