"""Bodies that attract each other, in three dimensions, gradient with respect to where they are, their velocities and masses.

By hand, the way back is one double loop: what two bodies do to each other's cotangents is found for each of them apart, so that
nothing is scattered, and the inner loop is a sum that may reassociate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand, summing

DT = 1e-3
SOFT = 1e-2


class Bodies(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    u: np.ndarray
    v: np.ndarray
    w: np.ndarray


def problem(count: int, n_steps: int) -> tuple[Bodies, np.ndarray]:
    rng = np.random.default_rng(5)
    return Bodies(*rng.uniform(-1.0, 1.0, (6, count))), rng.uniform(0.5, 1.5, count) / count


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def pull(n, s, m):
    count = len(m)
    x, y, z = np.empty(count), np.empty(count), np.empty(count)
    u, v, w = np.empty(count), np.empty(count), np.empty(count)
    for i in range(count):
        a, b, c = 0.0, 0.0, 0.0
        for j in range(count):
            dx, dy, dz = s.x[j] - s.x[i], s.y[j] - s.y[i], s.z[j] - s.z[i]
            d2 = dx * dx + dy * dy + dz * dz + SOFT
            f = m[j] / (d2 * math.sqrt(d2))
            a += f * dx
            b += f * dy
            c += f * dz
        u[i] = s.u[i] + DT * a
        v[i] = s.v[i] + DT * b
        w[i] = s.w[i] + DT * c
        x[i] = s.x[i] + DT * u[i]
        y[i] = s.y[i] + DT * v[i]
        z[i] = s.z[i] + DT * w[i]
    return Bodies(x, y, z, u, v, w)


@adj.step
def pull_arrays(n, s, m):
    dx, dy, dz = s.x - s.x[:, None], s.y - s.y[:, None], s.z - s.z[:, None]
    d2 = dx * dx + dy * dy + dz * dz + SOFT
    f = m / (d2 * np.sqrt(d2))
    u = s.u + DT * np.sum(f * dx, axis=1)
    v = s.v + DT * np.sum(f * dy, axis=1)
    w = s.w + DT * np.sum(f * dz, axis=1)
    return Bodies(s.x + DT * u, s.y + DT * v, s.z + DT * w, u, v, w)


def spread(s, m):
    total = 0.0
    for i in range(len(m)):
        total += 0.5 * (s.x[i] * s.x[i] + s.y[i] * s.y[i] + s.z[i] * s.z[i])
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------


@summing
def hand_force(xi, yi, zi, x, y, z, m):
    a, b, c = 0.0, 0.0, 0.0
    for j in range(len(m)):
        dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
        d2 = dx * dx + dy * dy + dz * dz + SOFT
        f = m[j] / (d2 * np.sqrt(d2))
        a += f * dx
        b += f * dy
        c += f * dz
    return a, b, c


@by_hand
def hand_step(s, m, out):
    """``s`` and ``out`` are (6, count)."""
    x, y, z = s[0], s[1], s[2]
    for i in range(len(m)):
        a, b, c = hand_force(x[i], y[i], z[i], x, y, z, m)
        out[3, i] = s[3, i] + DT * a
        out[4, i] = s[4, i] + DT * b
        out[5, i] = s[5, i] + DT * c
        out[0, i] = x[i] + DT * out[3, i]
        out[1, i] = y[i] + DT * out[4, i]
        out[2, i] = z[i] + DT * out[5, i]


@by_hand
def hand_spread(s):
    total = 0.0
    for i in range(s.shape[1]):
        total += 0.5 * (s[0, i] * s[0, i] + s[1, i] * s[1, i] + s[2, i] * s[2, i])
    return total


@by_hand
def hand_fill(y0, s):
    s[0], s[1], s[2], s[3], s[4], s[5] = y0.x, y0.y, y0.z, y0.u, y0.v, y0.w


@by_hand
def hand_run(n_steps, y0, m, states):
    s, out = np.empty((6, len(m)), m.dtype), np.empty((6, len(m)), m.dtype)
    hand_fill(y0, s)
    for _ in range(n_steps):
        hand_step(s, m, out)
        s, out = out, s
    return hand_spread(s)


@summing
def hand_pairs(xi, yi, zi, mi, ai, bi, ci, x, y, z, m, a, b, c):
    """What all bodies contribute to the cotangents of one body's position and mass; a, b, c are those of accelerations."""
    gx, gy, gz, gm = 0.0, 0.0, 0.0, 0.0
    for j in range(len(m)):
        dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
        d2 = dx * dx + dy * dy + dz * dz + SOFT
        q = 1.0 / d2
        f = q * (math.sqrt(d2) * q)
        tx, ty, tz = m[j] * ai - mi * a[j], m[j] * bi - mi * b[j], m[j] * ci - mi * c[j]
        along = 3.0 * q * (tx * dx + ty * dy + tz * dz)
        gx += f * (along * dx - tx)
        gy += f * (along * dy - ty)
        gz += f * (along * dz - tz)
        gm -= f * (a[j] * dx + b[j] * dy + c[j] * dz)
    return gx, gy, gz, gm


@by_hand
def hand_gradient(n_steps, y0, m, states):
    """``states`` is (n_steps + 1, 6, count)."""
    count = len(m)
    hand_fill(y0, states[0])
    for n in range(n_steps):
        hand_step(states[n], m, states[n + 1])
    bar, acc, m_bar = np.zeros((6, count)), np.empty((3, count)), np.zeros(count)
    bar[:3] = states[n_steps, :3]
    a, b, c = acc[0], acc[1], acc[2]
    for n in range(n_steps - 1, -1, -1):
        for k in range(3):
            for i in range(count):
                bar[3 + k, i] += DT * bar[k, i]
                acc[k, i] = DT * bar[3 + k, i]
        x, y, z = states[n, 0], states[n, 1], states[n, 2]
        for i in range(count):
            gx, gy, gz, gm = hand_pairs(x[i], y[i], z[i], m[i], a[i], b[i], c[i], x, y, z, m, a, b, c)
            bar[0, i] += gx
            bar[1, i] += gy
            bar[2, i] += gz
            m_bar[i] += gm
    return hand_spread(states[n_steps]), (bar[0], bar[1], bar[2], bar[3], bar[4], bar[5], m_bar)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def advance(n, s, m):
        dx, dy, dz = s.x - s.x[:, None], s.y - s.y[:, None], s.z - s.z[:, None]
        d2 = dx * dx + dy * dy + dz * dz + SOFT
        f = m / (d2 * xp.sqrt(d2))
        u = s.u + DT * xp.sum(f * dx, 1)
        v = s.v + DT * xp.sum(f * dy, 1)
        w = s.w + DT * xp.sum(f * dz, 1)
        return Bodies(s.x + DT * u, s.y + DT * v, s.z + DT * w, u, v, w), 0.0

    def last(s, m):
        return 0.5 * xp.sum(s.x * s.x + s.y * s.y + s.z * s.z)

    return {"broadcasting": (advance, last)}


WORKLOAD = Workload(
    name="bodies",
    title="N-body",
    step=pull,
    arrays=pull_arrays,
    problem=problem,
    costs=lambda n_steps: {"terminal": spread},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, y0, m: np.zeros((n_steps + 1, 6, len(m))),
    tiny=(7, 20),
    usual=(100, 300),
    full=(256, 2000),
    functional=functional,
    work=lambda size: Work(numbers=12 * size, flops=61 * size**2, divisions=4 * size**2),
)
