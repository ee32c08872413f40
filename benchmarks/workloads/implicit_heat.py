"""Heat in a rod whose conductivity depends on the temperature: one implicit step solves a tridiagonal system (Thomas), gradient
with respect to the initial temperatures, the conductivity at every face and its slope.

By hand, the eliminated matrix is stored beside each state, two numbers a cell: the matrix is symmetric, and the way back solves
with the same factors, without a division.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand, summing

R = 0.8  # dt / dx^2


class Rod(NamedTuple):
    k: np.ndarray  # of the face left of each cell; the ends are insulated, so that the first is not used
    slope: float


def problem(cells: int, n_steps: int) -> tuple[np.ndarray, Rod]:
    x = np.linspace(0.0, 1.0, cells)
    return 1.0 + np.sin(3.0 * x) + 0.3 * np.cos(40.0 * x), Rod(1.0 + 0.3 * np.cos(9.0 * x), 0.2)


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def heat(n, u, p):
    m = len(u)
    face = np.zeros(m + 1)
    for i in range(1, m):
        face[i] = R * p.k[i] * (1.0 + p.slope * 0.5 * (u[i - 1] + u[i]))
    c, d, out = np.empty(m), np.empty(m), np.empty(m)
    w = 1.0 / (1.0 + face[1])
    c[0] = -face[1] * w
    d[0] = u[0] * w
    for i in range(1, m):
        w = 1.0 / (1.0 + face[i] + face[i + 1] + face[i] * c[i - 1])
        c[i] = -face[i + 1] * w
        d[i] = (u[i] + face[i] * d[i - 1]) * w
    out[m - 1] = d[m - 1]
    for i in range(m - 2, -1, -1):
        out[i] = d[i] - c[i] * out[i + 1]
    return out


def energy(u, p):
    total = 0.0
    for i in range(len(u)):
        total += 0.5 * u[i] * u[i]
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------

hand_energy = summing(energy)


@by_hand
def hand_faces(u, k, slope, face):
    m = len(u)
    if m < 2 or len(k) != m or len(face) != m + 1:
        return  # never: but it tells the compiler that no index is negative, and the loop vectorises
    for i in range(1, m):
        face[i] = R * k[i] * (1.0 + slope * 0.5 * (u[i - 1] + u[i]))


@by_hand
def hand_step(u, p, face, c, w, d, out):
    """``face`` is zero at its ends; ``d`` may be ``out``."""
    hand_faces(u, p.k, p.slope, face)
    m = len(u)
    if m < 2 or len(face) != m + 1 or len(c) != m or len(w) != m or len(d) != m or len(out) != m:
        return  # never: as above
    last_c, last_d = 0.0, 0.0
    for i in range(m):
        q = 1.0 / (1.0 + face[i] + face[i + 1] + face[i] * last_c)
        last_c = -face[i + 1] * q
        last_d = (u[i] + face[i] * last_d) * q
        w[i], c[i], d[i] = q, last_c, last_d
    x = d[m - 1]
    out[m - 1] = x
    for i in range(m - 2, -1, -1):
        x = d[i] - c[i] * x
        out[i] = x


@by_hand
def hand_run(n_steps, u0, p, scratch):
    m = len(u0)
    u, out, c, w = u0.copy(), np.empty_like(u0), np.empty_like(u0), np.empty_like(u0)
    face = np.zeros(m + 1, u0.dtype)
    for _ in range(n_steps):
        hand_step(u, p, face, c, w, out, out)
        u, out = out, u
    return hand_energy(u, p)


@by_hand
def hand_solve(c, w, bar):
    """``bar`` becomes the solution of the transposed system with ``bar`` on its right."""
    m = len(bar)
    if m < 2 or len(c) != m or len(w) != m:
        return  # never: as above
    z = bar[0]
    bar[0] = z * w[0]
    for i in range(1, m):
        z = bar[i] - c[i - 1] * z
        bar[i] = z * w[i]
    x = bar[m - 1]
    for i in range(m - 2, -1, -1):
        x = bar[i] - c[i] * x
        bar[i] = x


@by_hand
def hand_matrix(u, k, slope, out, bar, k_bar, face_bar):
    """k_bar +=, and R times what faces get, from the solution of the transposed system."""
    m = len(u)
    if m < 2 or len(k) != m or len(out) != m or len(bar) != m or len(k_bar) != m or len(face_bar) != m + 1:
        return  # never: as above
    for i in range(1, m):
        g = R * (bar[i] - bar[i - 1]) * (out[i - 1] - out[i])
        k_bar[i] += g * (1.0 + slope * 0.5 * (u[i - 1] + u[i]))
        face_bar[i] = 0.5 * g * k[i]


@by_hand
def hand_lagged(slope, face_bar, bar):
    m = len(bar)
    if m < 2 or len(face_bar) != m + 1:
        return  # never: as above
    for i in range(m):
        bar[i] += slope * (face_bar[i] + face_bar[i + 1])


@summing
def hand_slope(u, face_bar):
    m = len(u)
    if m < 2 or len(face_bar) != m + 1:
        return 0.0  # never: as above
    total = 0.0
    for i in range(1, m):
        total += face_bar[i] * (u[i - 1] + u[i])
    return total


@by_hand
def hand_gradient(n_steps, u0, p, scratch):
    """States (n_steps + 1, cells) and two rows of a factor for each step."""
    states, cs, ws = scratch
    m = len(u0)
    face, face_bar, d, k_bar, slope_bar = np.zeros(m + 1), np.zeros(m + 1), np.empty(m), np.zeros(m), 0.0
    states[0, :] = u0
    for n in range(n_steps):
        hand_step(states[n], p, face, cs[n], ws[n], d, states[n + 1])
    bar = states[n_steps].copy()
    for n in range(n_steps - 1, -1, -1):
        hand_solve(cs[n], ws[n], bar)
        hand_matrix(states[n], p.k, p.slope, states[n + 1], bar, k_bar, face_bar)
        slope_bar += hand_slope(states[n], face_bar)
        hand_lagged(p.slope, face_bar, bar)
    return hand_energy(states[n_steps], p), (bar, k_bar, slope_bar)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def system(u, p):
        face = R * p.k[1:] * (1.0 + p.slope * 0.5 * (u[:-1] + u[1:]))
        none = xp.zeros_like(u[:1])
        left, right = xp.concatenate([none, face]), xp.concatenate([face, none])
        return -left, 1.0 + left + right, -right

    def by_lapack(n, u, p):
        return xp.tridiagonal_solve(*system(u, p), u), 0.0

    def by_scans(n, u, p):
        def eliminate(carry, row):
            low, middle, up, right = row
            w = 1.0 / (middle - low * carry[0])
            carry = up * w, (right - low * carry[1]) * w
            return carry, carry

        def substitute(x, row):
            x = row[1] - row[0] * x
            return x, x

        zero = u[0] * 0.0
        factors = xp.scan(eliminate, (zero, zero), (*system(u, p), u))[1]
        return xp.scan(substitute, zero, factors, reverse=True)[1], 0.0

    def last(u, p):
        return 0.5 * xp.sum(u * u)

    return {"LAPACK": (by_lapack, last), "scans": (by_scans, last)}


WORKLOAD = Workload(
    name="implicit_heat",
    title="implicit heat, Thomas",
    step=heat,
    problem=problem,
    costs=lambda n_steps: {"terminal": energy},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, u0, p: (
        np.zeros((n_steps + 1, len(u0))), np.zeros((n_steps, len(u0))), np.zeros((n_steps, len(u0))),
    ),
    tiny=(30, 20),
    usual=(1000, 1500),
    full=(1000, 20_000),
    functional=functional,
    work=lambda size: Work(numbers=6 * size, flops=36 * size, chain=10 * size, divisions_in_chain=size),
)  # fmt: skip
