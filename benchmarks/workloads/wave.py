"""The wave equation in two dimensions with a source and a row of receivers, gradient with respect to the velocity at every point.

The state is the field at two times, and a step hands one of them on. By hand, every time level is stored once. The operator is
its own transpose but for the factor in front, so the way back is the same leapfrog, run on cotangents times that factor: it
overwrites the older of two fields, and the factor is taken out again at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand

DT, DX = 2e-3, 1e-2  # seconds, kilometres
R = (DT / DX) * (DT / DX)
FREQUENCY = 12.0
DEPTH = 4  # the row of the receivers, which are in every fourth column


class Survey(NamedTuple):
    c: np.ndarray  # km/s
    data: np.ndarray  # (n_steps, receivers)


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def wave(n, y, p):
    u, before = y
    new = np.zeros_like(u)
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            new[i, j] = (
                2.0 * u[i, j]
                - before[i, j]
                + R * p.c[i, j] * p.c[i, j] * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
            )
    a = np.pi * FREQUENCY * (n * DT - 1.0 / FREQUENCY)
    new[rows // 4, columns // 2] += (1.0 - 2.0 * a * a) * np.exp(-a * a)
    return new, u


@adj.step
def wave_arrays(n, y, p):
    u, before = y
    new = np.zeros_like(u)
    around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1]
    new[1:-1, 1:-1] = 2.0 * u[1:-1, 1:-1] - before[1:-1, 1:-1] + R * p.c[1:-1, 1:-1] ** 2 * around
    a = np.pi * FREQUENCY * (n * DT - 1.0 / FREQUENCY)
    new[u.shape[0] // 4, u.shape[1] // 2] += (1.0 - 2.0 * a * a) * np.exp(-a * a)
    return new, u


def receivers(n, y, p):
    u = y[0]
    seen = np.empty(u.shape[1] // 4)
    for k in range(len(seen)):
        seen[k] = u[DEPTH, 4 * k + 2]
    return seen


def misfit(k, seen, p):
    total = 0.0
    for r in range(len(seen)):
        d = seen[r] - p.data[k, r]
        total += 0.5 * d * d
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------


@by_hand
def leapfrog(u, before, factor, new):
    rows, columns = u.shape
    if rows < 3 or columns < 3 or before.shape != u.shape or factor.shape != u.shape or new.shape != u.shape:
        return  # never: but it tells the compiler that no index is negative, and the loop vectorises
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            new[i, j] = (
                2.0 * u[i, j]
                - before[i, j]
                + factor[i, j] * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
            )


@by_hand
def leapfrog_in_place(u, before, factor):
    """The same over ``before``: as an argument twice it would not vectorise."""
    rows, columns = u.shape
    if rows < 3 or columns < 3 or before.shape != u.shape or factor.shape != u.shape:
        return  # never: as above
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            before[i, j] = (
                2.0 * u[i, j]
                - before[i, j]
                + factor[i, j] * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
            )


@by_hand
def hand_source(n, u):
    a = np.pi * FREQUENCY * (n * DT - 1.0 / FREQUENCY)
    u[u.shape[0] // 4, u.shape[1] // 2] += (1.0 - 2.0 * a * a) * np.exp(-a * a)


@by_hand
def hand_misfit(u, data):
    total = 0.0
    for r in range(len(data)):
        d = u[DEPTH, 4 * r + 2] - data[r]
        total += 0.5 * d * d
    return total


@by_hand
def hand_run(n_steps, y0, p, fields):
    """Two fields take turns: what is two steps old is overwritten."""
    u, before = y0[0].copy(), y0[1].copy()
    factor = R * p.c * p.c
    value = 0.0
    for n in range(n_steps):
        leapfrog_in_place(u, before, factor)
        hand_source(n, before)
        u, before = before, u
        value += hand_misfit(u, p.data[n])
    return value


@by_hand
def hand_correlation(u, bar, total):
    """total += bar times what the factor is multiplied with in a step."""
    rows, columns = u.shape
    if rows < 3 or columns < 3 or bar.shape != u.shape or total.shape != u.shape:
        return  # never: as above
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            total[i, j] += bar[i, j] * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])


@by_hand
def hand_gradient(n_steps, y0, p, fields):
    """``fields`` is (n_steps + 2, rows, columns), of zeros but for what this function leaves there."""
    factor = R * p.c * p.c
    fields[0] = y0[1]
    fields[1] = y0[0]
    value = 0.0
    for n in range(n_steps):
        leapfrog(fields[n + 1], fields[n], factor, fields[n + 2])
        hand_source(n, fields[n + 2])
        value += hand_misfit(fields[n + 2], p.data[n])
    bar, later, total = np.zeros_like(factor), np.zeros_like(factor), np.zeros_like(factor)
    for n in range(n_steps - 1, -1, -1):
        for r in range(p.data.shape[1]):
            j = 4 * r + 2
            bar[DEPTH, j] += factor[DEPTH, j] * (fields[n + 2, DEPTH, j] - p.data[n, r])
        hand_correlation(fields[n + 1], bar, total)
        leapfrog_in_place(bar, later, factor)
        bar, later = later, bar
    return value, (2.0 * total / p.c,)  # total is factor_bar times factor


def problem(cells: int, n_steps: int) -> tuple[tuple[np.ndarray, np.ndarray], Survey]:
    x = np.linspace(0.0, 1.0, cells)
    true = np.full((cells, cells), 2.0)
    true[cells // 2 :] = 2.4
    true += 0.3 * np.exp(-60.0 * ((x[:, None] - 0.4) ** 2 + (x[None, :] - 0.55) ** 2))
    at_rest = np.zeros((cells, cells)), np.zeros((cells, cells))
    data = np.zeros((n_steps, cells // 4))
    u, before = at_rest
    for n in range(n_steps):  # by NumPy, so that nothing is compiled for it
        u, before = wave_arrays.__wrapped__(n, (u, before), Survey(true, data))
        data[n] = u[DEPTH, 2::4]
    return at_rest, Survey(np.full((cells, cells), 2.1), data)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def advance(n, y, p):
        u, before = y
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1]
        inner = 2.0 * u[1:-1, 1:-1] - before[1:-1, 1:-1] + R * p.c[1:-1, 1:-1] ** 2 * around
        a = np.pi * FREQUENCY * (n * DT - 1.0 / FREQUENCY)
        at = u.shape[0] // 4, u.shape[1] // 2
        new = xp.plus(xp.pad(inner, 1), at, (1.0 - 2.0 * a * a) * xp.exp(-a * a))
        d = new[DEPTH, 2::4] - p.data[n]
        return (new, u), 0.5 * xp.sum(d * d)

    return {"slices": (advance, None)}


WORKLOAD = Workload(
    name="wave",
    title="wave, 2-D, receivers",
    step=wave,
    arrays=wave_arrays,
    problem=problem,
    costs=lambda n_steps: {"observe": receivers, "observe_at": np.arange(1, n_steps + 1), "misfit": misfit},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, y0, p: np.zeros((n_steps + 2, *p.c.shape)),
    wrt=("p.c",),
    tiny=(24, 60),
    usual=(256, 100),
    full=(256, 2000),
    functional=functional,
    work=lambda size: Work(numbers=2 * size**2, flops=25 * size**2),
)
