"""Arrays of rank 1 to 3, read and written element by element."""

import math

import numpy as np

from . import case

A4 = np.array([0.7, -1.1, 0.4, 1.9])
A6 = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])
M34 = np.array([[0.3, -0.8, 1.2, 0.5], [1.4, 0.2, -0.6, 0.9], [-0.1, 0.7, 0.35, -1.3]])
M33 = np.array([[4.0, 1.0, -0.5], [0.8, 5.0, 0.3], [-0.4, 0.6, 3.0]])
T232 = np.linspace(-1.0, 1.3, 12).reshape(2, 3, 2)


@case(args=(A4,))
def single_element(a):
    return a[2] * a[2]


@case(args=(A4,))
def negative_indices(a):
    return a[-1] * a[-4] + a[-2]


@case(args=(A6, 2), id="positive")
@case(args=(A6, -3), id="negative")
def computed_indices(a, k):
    return a[k] * a[k + 1] + a[2 * k - k] * a[(k + 5) % 6] + a[abs(k)]


@case(args=(A6, np.array([1, 3, 3, -1, 0])))
def gather(a, index):
    s = 0.0
    for k in range(len(index)):
        s += a[index[k]] * a[index[k]] * (k + 1)
    return s


@case(args=(np.array([0.1, 0.45, 0.9, 0.47, 0.12, 0.99]), A6))
def histogram_scatter(x, weight):
    h = np.zeros(4)
    for i in range(len(x)):
        h[int(x[i] * 4.0)] += weight[i] * x[i]
    return h


@case(args=(A4,))
def fill_empty(a):
    out = np.empty(len(a))
    for i in range(len(a)):
        out[i] = a[i] * (i + 1)
    return out


@case(args=(A4,))
def fill_empty_like(a):
    out = np.empty_like(a)
    for i in range(a.size):
        out[i] = math.sin(a[i])
    return out


@case(args=(A4,))
def zeros_partly_filled(a):
    out = np.zeros(6)
    for i in range(len(a)):
        out[i + 1] = a[i] * a[i]
    return out


@case(args=(A4, 3))
def ones_accumulated(a, n):
    out = np.ones(n)
    for i in range(n):
        out[i] = out[i] * a[i] + out[i - 1]
    return out


@case(args=(A4,))
def zeros_like_scattered(a):
    out = np.zeros_like(a)
    for i in range(len(a)):
        out[len(a) - 1 - i] += a[i]
        out[0] += a[i] * a[i]
    return out


@case(args=(M34,))
def shape_unpacked(m):
    rows, cols = m.shape
    s = 0.0
    for i in range(rows):
        for j in range(cols):
            s += m[i, j] * m[i, j] * (i - j)
    return s / (rows * cols)


@case(args=(M34,))
def row_sums(m):
    out = np.zeros(m.shape[0])
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            out[i] += m[i, j]
    return out


@case(args=(M34, A4))
def matrix_vector(m, v):
    out = np.zeros(m.shape[0])
    for i in range(m.shape[0]):
        s = 0.0
        for j in range(m.shape[1]):
            s += m[i, j] * v[j]
        out[i] = s
    return out


@case(args=(M34, M33))
def matrix_product(b, a):
    n, m = b.shape
    c = np.zeros((n, m))
    for i in range(n):
        for k in range(n):
            aik = a[i, k]
            for j in range(m):
                c[i, j] += aik * b[k, j]
    return c


@case(args=(M34,))
def transposed(m):
    out = np.empty((m.shape[1], m.shape[0]))
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            out[j, i] = m[i, j] * m[i, -1 - j]
    return out


@case(args=(M33,))
def transposed_in_place(m):
    for i in range(3):
        for j in range(i):
            m[i, j], m[j, i] = m[j, i] * m[i, i], m[i, j]
    return m


@case(args=(M33,))
def rank_two_negative_indices(m):
    return m[-1, -1] * m[0, -2] + m[-3, 1] * m[2, 0]


@case(args=(T232,))
def rank_three_sum_of_products(t):
    s = 0.0
    for i in range(t.shape[0]):
        for j in range(t.shape[1]):
            for k in range(t.shape[2]):
                s += t[i, j, k] * t[-1 - i, j, k - 1] * (1 + j)
    return s


@case(args=(T232,))
def rank_three_in_place(t):
    for i in range(2):
        for j in range(1, 3):
            for k in range(2):
                t[i, j, k] = t[i, j, k] * t[i, j - 1, k] + t[1 - i, j, 1 - k]
    return t


@case(args=(T232,))
def rank_three_to_rank_two(t):
    out = np.zeros((t.shape[0], t.shape[2]))
    for i in range(t.shape[0]):
        for k in range(t.shape[2]):
            for j in range(t.shape[1]):
                out[i, k] += t[i, j, k] ** 2
    return out


@case(args=(A6,))
def integer_array_work(a):
    count = np.zeros(3, dtype=np.int64)
    s = 0.0
    for i in range(len(a)):
        count[i % 3] += i
        s += a[i] * count[i % 3]
    return s + count[2]


@case(args=(A4, np.array([2, 0, 3, 1])))
def permuted_by_integer_array(a, order):
    out = np.empty(4)
    inverse = np.empty(4, dtype=np.int64)
    for i in range(4):
        inverse[order[i]] = i
    for i in range(4):
        out[i] = a[order[i]] * a[inverse[i]]
    return out


@case(args=(A6,))
def boolean_array_as_mask(a):
    keep = np.zeros(len(a), dtype=np.bool_)
    for i in range(len(a)):
        keep[i] = a[i] > 0.0
    s = 0.0
    for i in range(len(a)):
        if keep[i]:
            s += a[i] * a[i]
    return s


@case(args=(np.array([0.7, -1.1, 0.4], dtype=np.float32),), tags="float32")
def float32_elements(a):
    s = 0.0
    for i in range(len(a)):
        s += a[i] * a[i] * 0.5
    return s


@case(args=(np.array([1, 2, 3]), 0.7))
def integer_array_argument(k, x):
    s = 0.0
    for i in range(len(k)):
        s = s * x + k[i]
    return s


@case(args=(A4, A4), id="equal-contents")
@case(args=(A4, A4[::-1].copy()), id="different")
def dot_product(a, b):
    s = 0.0
    for i in range(len(a)):
        s += a[i] * b[i]
    return s


@case(args=(np.empty(0), 1.5))
def empty_array(a, x):
    s = x
    for i in range(len(a)):
        s += a[i]
    if len(a) > 0:
        s *= a[0]
    return s * s


@case(args=(np.array([1.5]),))
def array_of_one_element(a):
    a[0] = a[-1] * a[0]
    return a


@case(args=(A6,))
def array_from_branch_values(a):
    out = np.empty_like(a)
    for i in range(len(a)):
        out[i] = a[i] if a[i] > 0.0 else 0.1 * a[i] * a[i - 1]
    return out


@case(args=(M34,))
def maximum_of_rows(m):
    out = np.empty(m.shape[0])
    for i in range(m.shape[0]):
        best = m[i, 0]
        for j in range(1, m.shape[1]):
            best = max(best, m[i, j])
        out[i] = best
    return out


@case(args=(A6,))
def index_of_maximum(a):
    at = 0
    for i in range(1, len(a)):
        if a[i] > a[at]:
            at = i
    return a[at] * a[0] + at


@case(args=(A6, 2))
def scratch_array_reused(a, rounds):
    work = np.empty(len(a))
    s = 0.0
    for r in range(rounds):
        for i in range(len(a)):
            work[i] = a[i] * (r + 1.0) + s * 0.1
        for i in range(1, len(a)):
            s += work[i] * work[i - 1]
    return s


@case(args=(A4,))
def local_array_of_three_stages(a):
    k = np.zeros((3, len(a)))
    for i in range(len(a)):
        k[0, i] = a[i] * a[i]
    for s in range(1, 3):
        for i in range(len(a)):
            k[s, i] = k[s - 1, i] * a[i] + k[s - 1, i - 1]
    return k


@case(args=(A4,))
def shape_of_result_from_shape(a):
    out = np.zeros((a.shape[0], 2))
    for i in range(out.shape[0]):
        out[i, 0] = a[i]
        out[i, 1] = out[i, 0] * a[i]
    return out


@case(args=(A4, 0.3))
def array_and_scalar_results(a, x):
    s = 0.0
    for i in range(len(a)):
        a[i] = a[i] + x
        s += a[i] * x
    return a, s


@case(args=(A4,))
def argument_returned_untouched(a):
    return a


@case(args=(A6,))
def cells_alias_by_index(a):
    i = 2
    j = 4 - i
    a[i] = a[j] * a[i]
    a[j] = a[i] + a[j] * 0.5
    return a[2] * a[-4]


# ------------------------------------------------------------------------------- loops of independent iterations, and almost
@case(args=(A6, A4))
def conditional_load_only(b, m):
    for i in range(4):
        b[i - 1] += m[i] if 0.2 * i > 0.2345 else 0.1 * i
    return b


@case(args=(A6, 0.8))
def conditional_load_summed(a, c):
    total = 0.5
    for i in range(len(a)):
        total += a[i] * c if i > 2 else c * c
    return total


@case(args=(A6, 0.8, 1.3))
def conditional_scalars(a, c, d):
    out = np.zeros_like(a)
    for i in range(len(a)):
        out[i] = a[i] * (c * d if a[i] > 0.3 else d)
    return out


@case(args=(A6, A6[::-1].copy()))
def add_to_what_is_read(a, b):
    for i in range(len(a)):
        a[i] += a[i] * b[i]
        b[i] -= 0.5 * a[i]
    return a, b


@case(args=(A6, np.array([2, 0, 2, 1, 5, 5])))
def permuted_adds(a, index):
    out = np.ones(6)
    for i in range(len(a)):
        out[index[i]] += a[i] * a[index[i]]
        out[i] -= a[index[i]]
    return out


@case(args=(A6, 0.4))
def sums_that_feed_stores(a, c):
    total = 0.0
    mean = 0.0
    for i in range(len(a)):
        total += a[i] * c
        mean += a[i] / 6.0
    out = np.empty_like(a)
    for i in range(len(a)):
        out[i] = (a[i] - mean) * total
    return out


@case(args=(A6, A4))
def empty_domains(a, b):
    s = b[0]
    out = np.ones_like(a)
    for i in range(2, 2):
        s += a[i]
    for i in range(len(b), len(a) - 4):
        out[i] = a[i] * s
    for i in range(1, len(a) - 5):
        out[i] = a[i - 1] * a[i + 1]
    return out, s


@case(args=(A6,))
def last_store_wins(a):
    out = np.zeros(3)
    for i in range(len(a)):
        out[0] = a[i] * a[i]
    for i in range(len(a)):
        out[1 + i // 3] = 2.0 * a[i]
    return out
