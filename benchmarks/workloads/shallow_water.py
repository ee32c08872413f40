"""Shallow water in a basin with walls: a staggered grid, velocities first and then the surface with the new ones, gradient with
respect to the initial surface and velocities, the depth at every point and the drag.

The fluxes have the whole depth of water, so that the surface's equation is not linear. By hand, cotangents of velocities are kept
before they are multiplied with what drag leaves of them, and every cotangent is overwritten in place; the rows of the second loop
follow those of the first by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand, summing

DT, DX, GRAVITY = 0.02, 1.0, 9.81
R, G = DT / DX, GRAVITY * DT / DX


class Water(NamedTuple):
    eta: np.ndarray  # (rows, columns), above the level of rest
    u: np.ndarray  # (rows + 1, columns), through the faces between rows
    v: np.ndarray  # (rows, columns + 1)


class Basin(NamedTuple):
    depth: np.ndarray  # (rows, columns)
    drag: float


def problem(cells: int, n_steps: int) -> tuple[Water, Basin]:
    x = (np.arange(cells) + 0.5) / cells
    hump = 0.5 * np.exp(-50.0 * ((x[:, None] - 0.35) ** 2 + (x[None, :] - 0.6) ** 2))
    depth = 5.0 + np.cos(3.0 * x[:, None]) * np.sin(4.0 * x[None, :])
    return Water(hump, np.zeros((cells + 1, cells)), np.zeros((cells, cells + 1))), Basin(depth, 0.1)


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def flow(n, y, p):
    rows, columns = y.eta.shape
    u, v, eta = np.zeros_like(y.u), np.zeros_like(y.v), np.empty_like(y.eta)
    east, north = np.zeros_like(y.u), np.zeros_like(y.v)
    left = 1.0 - DT * p.drag
    for i in range(1, rows):
        for j in range(columns):
            u[i, j] = left * y.u[i, j] - G * (y.eta[i, j] - y.eta[i - 1, j])
            east[i, j] = u[i, j] * 0.5 * (p.depth[i - 1, j] + y.eta[i - 1, j] + p.depth[i, j] + y.eta[i, j])
    for i in range(rows):
        for j in range(1, columns):
            v[i, j] = left * y.v[i, j] - G * (y.eta[i, j] - y.eta[i, j - 1])
            north[i, j] = v[i, j] * 0.5 * (p.depth[i, j - 1] + y.eta[i, j - 1] + p.depth[i, j] + y.eta[i, j])
    for i in range(rows):
        for j in range(columns):
            eta[i, j] = y.eta[i, j] - R * (east[i + 1, j] - east[i, j] + north[i, j + 1] - north[i, j])
    return Water(eta, u, v)


@adj.step
def flow_arrays(n, y, p):
    u, v = np.zeros_like(y.u), np.zeros_like(y.v)
    east, north = np.zeros_like(y.u), np.zeros_like(y.v)
    left = 1.0 - DT * p.drag
    h = p.depth + y.eta
    u[1:-1] = left * y.u[1:-1] - G * (y.eta[1:] - y.eta[:-1])
    v[:, 1:-1] = left * y.v[:, 1:-1] - G * (y.eta[:, 1:] - y.eta[:, :-1])
    east[1:-1] = u[1:-1] * 0.5 * (h[1:] + h[:-1])
    north[:, 1:-1] = v[:, 1:-1] * 0.5 * (h[:, 1:] + h[:, :-1])
    eta = y.eta - R * (east[1:] - east[:-1] + north[:, 1:] - north[:, :-1])
    return Water(eta, u, v)


def energy(y, p):
    total = 0.0
    for i in range(y.eta.shape[0]):
        for j in range(y.eta.shape[1]):
            total += 0.5 * y.eta[i, j] * y.eta[i, j]
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------


@summing
def hand_energy(eta):
    total = 0.0
    for i in range(eta.shape[0]):
        for j in range(eta.shape[1]):
            total += 0.5 * eta[i, j] * eta[i, j]
    return total


@by_hand
def hand_faces(i, left, eta, u, v, depth, un, vn, east, north):
    """Row i of both velocities and fluxes; the flux of face i goes to a row of its own."""
    rows, columns = eta.shape
    if i < 0 or i >= rows or columns < 2 or u.shape != un.shape or v.shape != vn.shape or depth.shape != eta.shape:
        return  # never: but it tells the compiler that no index is negative, and the loops vectorise
    if u.shape[0] != rows + 1 or u.shape[1] != columns or v.shape[0] != rows or v.shape[1] != columns + 1:
        return
    if len(east) != columns or len(north) != columns + 1:
        return
    if i:
        for j in range(columns):
            un[i, j] = left * u[i, j] - G * (eta[i, j] - eta[i - 1, j])
            east[j] = un[i, j] * 0.5 * (depth[i - 1, j] + eta[i - 1, j] + depth[i, j] + eta[i, j])
    for j in range(1, columns):
        vn[i, j] = left * v[i, j] - G * (eta[i, j] - eta[i, j - 1])
        north[j] = vn[i, j] * 0.5 * (depth[i, j - 1] + eta[i, j - 1] + depth[i, j] + eta[i, j])


@by_hand
def hand_surface(eta, before, after, north, out):
    """A row of the surface from the fluxes at its four sides."""
    columns = len(eta)
    if len(before) != columns or len(after) != columns or len(north) != columns + 1 or len(out) != columns:
        return  # never: as above
    for j in range(columns):
        out[j] = eta[j] - R * (after[j] - before[j] + north[j + 1] - north[j])


@by_hand
def hand_step(eta, u, v, p, etan, un, vn, east, north):
    """``east`` (3, columns) and ``north`` (2, columns + 1) are scratch; north is zero at its ends, the last row of east too.
    The walls of un and vn are zero."""
    rows = eta.shape[0]
    left = 1.0 - DT * p.drag
    hand_faces(0, left, eta, u, v, p.depth, un, vn, east[0], north[0])
    for i in range(1, rows):
        hand_faces(i, left, eta, u, v, p.depth, un, vn, east[i & 1], north[i & 1])
        hand_surface(eta[i - 1], east[1 - (i & 1)] if i > 1 else east[2], east[i & 1], north[1 - (i & 1)], etan[i - 1])
    i = rows - 1
    hand_surface(eta[i], east[i & 1], east[2], north[i & 1], etan[i])


@by_hand
def hand_run(n_steps, y0, p, scratch):
    columns = y0.eta.shape[1]
    eta, u, v = y0.eta.copy(), y0.u.copy(), y0.v.copy()
    etan, un, vn = np.empty_like(eta), np.zeros_like(u), np.zeros_like(v)
    east, north = np.zeros((3, columns), eta.dtype), np.zeros((2, columns + 1), eta.dtype)
    for _ in range(n_steps):
        hand_step(eta, u, v, p, etan, un, vn, east, north)
        eta, u, v, etan, un, vn = etan, un, vn, eta, u, v
    return hand_energy(eta)


@by_hand
def hand_back_faces(i, left, eta, depth, un, vn, eb, ub, vb, hx, hy):
    """Row i of the cotangents of both new velocities, and what the depth at the faces gets."""
    rows, columns = eta.shape
    if i < 0 or i >= rows or columns < 2 or depth.shape != eta.shape or eb.shape != eta.shape:
        return  # never: as above
    if un.shape != ub.shape or vn.shape != vb.shape or un.shape[0] != rows + 1 or un.shape[1] != columns:
        return
    if vn.shape[0] != rows or vn.shape[1] != columns + 1 or len(hx) != columns or len(hy) != columns + 1:
        return
    if i:
        for j in range(columns):
            f = 0.5 * R * (eb[i, j] - eb[i - 1, j])
            hx[j] = f * un[i, j]
            ub[i, j] = left * ub[i, j] + f * (depth[i - 1, j] + eta[i - 1, j] + depth[i, j] + eta[i, j])
    for j in range(1, columns):
        f = 0.5 * R * (eb[i, j] - eb[i, j - 1])
        hy[j] = f * vn[i, j]
        vb[i, j] = left * vb[i, j] + f * (depth[i, j - 1] + eta[i, j - 1] + depth[i, j] + eta[i, j])


@by_hand
def hand_back_cells(before, after, hy, ub, ub_after, vb, out, depth_bar):
    """A row of the surface's cotangents, and of the depth's."""
    columns = len(out)
    if len(before) != columns or len(after) != columns or len(hy) != columns + 1 or len(ub) != columns:
        return  # never: as above
    if len(ub_after) != columns or len(vb) != columns + 1 or len(depth_bar) != columns:
        return
    for j in range(columns):
        h = before[j] + after[j] + hy[j] + hy[j + 1]
        depth_bar[j] += h
        out[j] += h + G * (ub_after[j] - ub[j] + vb[j + 1] - vb[j])


@summing
def hand_dot(a, b):
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@by_hand
def hand_gradient(n_steps, y0, p, scratch):
    """States: (n_steps + 1, rows, columns), and as many of each velocity, with zeros in their walls."""
    etas, us, vs = scratch
    rows, columns = y0.eta.shape
    east, north = np.zeros((3, columns)), np.zeros((2, columns + 1))
    etas[0], us[0], vs[0] = y0.eta, y0.u, y0.v
    for n in range(n_steps):
        hand_step(etas[n], us[n], vs[n], p, etas[n + 1], us[n + 1], vs[n + 1], east, north)
    eb, ub, vb = etas[n_steps].copy(), np.zeros_like(y0.u), np.zeros_like(y0.v)
    depth_bar, left_bar, left = np.zeros_like(y0.eta), 0.0, 1.0 - DT * p.drag
    hx, hy = np.zeros((3, columns)), np.zeros((2, columns + 1))
    for n in range(n_steps - 1, -1, -1):
        eta, un, vn = etas[n], us[n + 1], vs[n + 1]
        for i in range(rows):
            hand_back_faces(i, left, eta, p.depth, un, vn, eb, ub, vb, hx[i & 1], hy[i & 1])
            left_bar += hand_dot(vb[i], vs[n, i])
            if i:
                left_bar += hand_dot(ub[i], us[n, i])
                k = i - 1
                before = hx[k & 1] if k else hx[2]
                hand_back_cells(before, hx[i & 1], hy[k & 1], ub[k], ub[i], vb[k], eb[k], depth_bar[k])
        k = rows - 1
        hand_back_cells(hx[k & 1], hx[2], hy[k & 1], ub[k], ub[rows], vb[k], eb[k], depth_bar[k])
    ub *= left
    vb *= left
    return hand_energy(etas[n_steps]), (eb, ub, vb, depth_bar, -DT * left_bar)


def scratch(n_steps: int, y0: Water, p: Basin) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.zeros((n_steps + 1, *field.shape)) for field in y0)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def advance(n, y, p):
        h = p.depth + y.eta
        left = 1.0 - DT * p.drag
        u = left * y.u[1:-1] - G * (y.eta[1:] - y.eta[:-1])
        v = left * y.v[:, 1:-1] - G * (y.eta[:, 1:] - y.eta[:, :-1])
        u, east = xp.pad(u, ((1, 1), (0, 0))), xp.pad(u * 0.5 * (h[1:] + h[:-1]), ((1, 1), (0, 0)))
        v, north = xp.pad(v, ((0, 0), (1, 1))), xp.pad(v * 0.5 * (h[:, 1:] + h[:, :-1]), ((0, 0), (1, 1)))
        return Water(y.eta - R * (east[1:] - east[:-1] + north[:, 1:] - north[:, :-1]), u, v), 0.0

    return {"slices": (advance, lambda y, p: 0.5 * xp.sum(y.eta * y.eta))}


WORKLOAD = Workload(
    name="shallow_water",
    title="shallow water, 2-D",
    step=flow,
    arrays=flow_arrays,
    problem=problem,
    costs=lambda n_steps: {"terminal": energy},
    run=hand_run,
    gradient=hand_gradient,
    scratch=scratch,
    tiny=(12, 30),
    usual=(128, 150),
    full=(256, 1000),
    functional=functional,
    work=lambda size: Work(numbers=6 * size**2, flops=60 * size**2),
)
