"""Two fields that react and diffuse in a periodic square (Gray-Scott), gradient with respect to both fields at the start and
four numbers.

Fields carry a border of one cell, which a step fills with copies of the opposite side. By hand, cotangents carry the same border,
filled in the same way: what came to a cell through its copies is what its opposite neighbours give. Only the first state's border
is one of its own. Sums are rows of a function that may reassociate, while the row is in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand, summing

DT = 1.0


class Rates(NamedTuple):
    du: float
    dv: float
    feed: float
    kill: float


def problem(cells: int, n_steps: int) -> tuple[tuple[np.ndarray, np.ndarray], Rates]:
    x = np.arange(cells) / cells
    hump = np.exp(-80.0 * ((x[:, None] - 0.5) ** 2 + (x[None, :] - 0.45) ** 2))
    wavy = 0.02 * np.cos(2.0 * np.pi * (x[:, None] + 2.0 * x[None, :]))
    return (np.pad(1.0 - 0.5 * hump + wavy, 1, mode="wrap"), np.pad(0.25 * hump, 1, mode="wrap")), Rates(0.16, 0.08, 0.035, 0.065)


# -- ours -------------------------------------------------------------------------------------------------------------------


def wrap(x):
    """Fill the border but for its corners, which nothing reads."""
    rows, columns = x.shape
    for i in range(1, rows - 1):
        x[i, 0] = x[i, columns - 2]
        x[i, columns - 1] = x[i, 1]
    for j in range(1, columns - 1):
        x[0, j] = x[rows - 2, j]
        x[rows - 1, j] = x[1, j]


@adj.step
def react(n, y, p):
    u, v = y
    un, vn = np.zeros_like(u), np.zeros_like(v)
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            lu = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]
            lv = v[i - 1, j] + v[i + 1, j] + v[i, j - 1] + v[i, j + 1] - 4.0 * v[i, j]
            r = u[i, j] * v[i, j] * v[i, j]
            un[i, j] = u[i, j] + DT * (p.du * lu - r + p.feed * (1.0 - u[i, j]))
            vn[i, j] = v[i, j] + DT * (p.dv * lv + r - (p.feed + p.kill) * v[i, j])
    wrap(un)
    wrap(vn)
    return un, vn


@adj.step
def react_arrays(n, y, p):
    u, v = y
    un, vn = np.zeros_like(u), np.zeros_like(v)
    uc, vc = u[1:-1, 1:-1], v[1:-1, 1:-1]
    lu = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * uc
    lv = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] - 4.0 * vc
    r = uc * vc * vc
    un[1:-1, 1:-1] = uc + DT * (p.du * lu - r + p.feed * (1.0 - uc))
    vn[1:-1, 1:-1] = vc + DT * (p.dv * lv + r - (p.feed + p.kill) * vc)
    un[1:-1, 0], un[1:-1, -1] = un[1:-1, -2], un[1:-1, 1]
    un[0, 1:-1], un[-1, 1:-1] = un[-2, 1:-1], un[1, 1:-1]
    vn[1:-1, 0], vn[1:-1, -1] = vn[1:-1, -2], vn[1:-1, 1]
    vn[0, 1:-1], vn[-1, 1:-1] = vn[-2, 1:-1], vn[1, 1:-1]
    return un, vn


def product(y, p):
    v = y[1]
    total = 0.0
    for i in range(1, v.shape[0] - 1):
        for j in range(1, v.shape[1] - 1):
            total += 0.5 * v[i, j] * v[i, j]
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------

hand_wrap = by_hand(wrap)
hand_product = summing(product)


@by_hand
def hand_step(u, v, p, un, vn):
    rows, columns = u.shape
    if rows < 3 or columns < 3 or v.shape != u.shape or un.shape != u.shape or vn.shape != u.shape:
        return  # never: but it tells the compiler that no index is negative, and the loop vectorises
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            lu = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]
            lv = v[i - 1, j] + v[i + 1, j] + v[i, j - 1] + v[i, j + 1] - 4.0 * v[i, j]
            r = u[i, j] * v[i, j] * v[i, j]
            un[i, j] = u[i, j] + DT * (p.du * lu - r + p.feed * (1.0 - u[i, j]))
            vn[i, j] = v[i, j] + DT * (p.dv * lv + r - (p.feed + p.kill) * v[i, j])
    hand_wrap(un)
    hand_wrap(vn)


@by_hand
def hand_run(n_steps, y0, p, scratch):
    u, v, un, vn = y0[0].copy(), y0[1].copy(), np.zeros_like(y0[0]), np.zeros_like(y0[1])
    for _ in range(n_steps):
        hand_step(u, v, p, un, vn)
        u, v, un, vn = un, vn, u, v
    return hand_product((u, v), p)


@by_hand
def hand_row(i, u, v, p, ub, vb, un, vn):
    rows, columns = u.shape
    if (
        i < 1 or i > rows - 2 or columns < 3 or v.shape != u.shape or ub.shape != u.shape or vb.shape != u.shape
        or un.shape != u.shape or vn.shape != u.shape
    ):  # fmt: skip
        return  # never: as above
    for j in range(1, columns - 1):
        lu = ub[i - 1, j] + ub[i + 1, j] + ub[i, j - 1] + ub[i, j + 1] - 4.0 * ub[i, j]
        lv = vb[i - 1, j] + vb[i + 1, j] + vb[i, j - 1] + vb[i, j + 1] - 4.0 * vb[i, j]
        d = vb[i, j] - ub[i, j]
        un[i, j] = ub[i, j] + DT * (p.du * lu - p.feed * ub[i, j] + v[i, j] * v[i, j] * d)
        vn[i, j] = vb[i, j] + DT * (p.dv * lv - (p.feed + p.kill) * vb[i, j] + 2.0 * u[i, j] * v[i, j] * d)


@summing
def hand_sums(i, u, v, ub, vb):
    rows, columns = u.shape
    if i < 1 or i > rows - 2 or columns < 3 or v.shape != u.shape or ub.shape != u.shape or vb.shape != u.shape:
        return 0.0, 0.0, 0.0, 0.0  # never: as above
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for j in range(1, columns - 1):
        a += ub[i, j] * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
        b += vb[i, j] * (v[i - 1, j] + v[i + 1, j] + v[i, j - 1] + v[i, j + 1] - 4.0 * v[i, j])
        c += ub[i, j] * (1.0 - u[i, j])
        d += vb[i, j] * v[i, j]
    return a, b, c, d


@by_hand
def hand_adjoint(u, v, p, ub, vb, un, vn):
    """Cotangents of this state inside from those of the next, and what belongs to the four numbers."""
    da, db, df, dk = 0.0, 0.0, 0.0, 0.0
    for i in range(1, u.shape[0] - 1):
        hand_row(i, u, v, p, ub, vb, un, vn)
        a, b, c, d = hand_sums(i, u, v, ub, vb)
        da, db, df, dk = da + a, db + b, df + (c - d), dk - d
    return DT * da, DT * db, DT * df, DT * dk


@by_hand
def hand_border(bar, rate, out):
    """The first state's border and the cells beside it: the border is its own, and no copy."""
    rows, columns = bar.shape
    for i in range(rows):
        bar[i, 0] = bar[i, columns - 1] = 0.0
    for j in range(columns):
        bar[0, j] = bar[rows - 1, j] = 0.0
    for i in range(1, rows - 1):
        out[i, 0] = DT * rate * bar[i, 1]
        out[i, columns - 1] = DT * rate * bar[i, columns - 2]
    for j in range(1, columns - 1):
        out[0, j] = DT * rate * bar[1, j]
        out[rows - 1, j] = DT * rate * bar[rows - 2, j]


@by_hand
def hand_gradient(n_steps, y0, p, states):
    """``states`` is (n_steps + 1, 2, rows, columns), zero in the corners."""
    states[0, 0] = y0[0]
    states[0, 1] = y0[1]
    for n in range(n_steps):
        hand_step(states[n, 0], states[n, 1], p, states[n + 1, 0], states[n + 1, 1])
    value = hand_product((states[n_steps, 0], states[n_steps, 1]), p)
    ub, vb, un, vn = np.zeros_like(y0[0]), states[n_steps, 1].copy(), np.zeros_like(y0[0]), np.zeros_like(y0[0])
    du, dv, feed, kill = 0.0, 0.0, 0.0, 0.0
    for n in range(n_steps - 1, -1, -1):
        if n:
            hand_wrap(ub)
            hand_wrap(vb)
        else:
            un[:] = 0.0
            vn[:] = 0.0
            hand_border(ub, p.du, un)
            hand_border(vb, p.dv, vn)
        a, b, c, d = hand_adjoint(states[n, 0], states[n, 1], p, ub, vb, un, vn)
        du, dv, feed, kill = du + a, dv + b, feed + c, kill + d
        ub, vb, un, vn = un, vn, ub, vb
    return value, (ub, vb, du, dv, feed, kill)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def advance(n, y, p):
        u, v = y
        uc, vc = u[1:-1, 1:-1], v[1:-1, 1:-1]
        lu = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * uc
        lv = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] - 4.0 * vc
        r = uc * vc * vc
        un = uc + DT * (p.du * lu - r + p.feed * (1.0 - uc))
        vn = vc + DT * (p.dv * lv + r - (p.feed + p.kill) * vc)
        return (xp.wrapped(un), xp.wrapped(vn)), 0.0

    return {"slices": (advance, lambda y, p: 0.5 * xp.sum(y[1][1:-1, 1:-1] ** 2))}


WORKLOAD = Workload(
    name="gray_scott",
    title="Gray-Scott, 2-D, two fields",
    step=react,
    arrays=react_arrays,
    problem=problem,
    costs=lambda n_steps: {"terminal": product},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, y0, p: np.zeros((n_steps + 1, 2, *y0[0].shape)),
    tiny=(14, 30),
    usual=(128, 200),
    full=(256, 1000),
    functional=functional,
    work=lambda size: Work(numbers=4 * size**2, flops=88 * size**2),
)
