"""A conservation law in one dimension: viscous Burgers, gradient with respect to the initial field and the viscosity.

By hand, every state is stored, and the way back gathers: the cotangent of a cell is written once, from its three neighbours, so
the loop vectorises. The derivative with respect to the viscosity is a sum, in a function of its own that may reassociate.
"""

from __future__ import annotations

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand, summing

DT = 1e-4
DX = 1e-3
NU = 2e-3


def problem(cells: int, n_steps: int) -> tuple[np.ndarray, float]:
    x = DX * np.arange(cells)
    return np.sin(2.0 * np.pi * x) + 0.3 * np.sin(6.0 * np.pi * x + 0.4), NU


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def burgers(n, u, nu):
    out = np.empty_like(u)
    last = len(u) - 1
    out[0] = u[0]
    out[last] = u[last]
    a = DT / (2.0 * DX)
    k = nu * DT / (DX * DX)
    for i in range(1, last):
        out[i] = u[i] - a * u[i] * (u[i + 1] - u[i - 1]) + k * (u[i + 1] - 2.0 * u[i] + u[i - 1])
    return out


@adj.step
def burgers_arrays(n, u, nu):
    out = np.empty_like(u)
    out[0] = u[0]
    out[-1] = u[-1]
    a = DT / (2.0 * DX)
    k = nu * DT / (DX * DX)
    out[1:-1] = u[1:-1] - a * u[1:-1] * (u[2:] - u[:-2]) + k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return out


def energy(u, nu):
    total = 0.0
    for i in range(len(u)):
        total += 0.5 * u[i] * u[i]
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------


@by_hand
def hand_step(u, nu, out):
    if len(u) < 5 or len(out) != len(u):
        return  # never: but it tells the compiler that no index is negative, and the loop vectorises
    last = len(u) - 1
    out[0] = u[0]
    out[last] = u[last]
    a = DT / (2.0 * DX)
    k = nu * DT / (DX * DX)
    for i in range(1, last):
        out[i] = u[i] - a * u[i] * (u[i + 1] - u[i - 1]) + k * (u[i + 1] - 2.0 * u[i] + u[i - 1])


@summing
def hand_energy(u):
    total = 0.0
    for i in range(len(u)):
        total += 0.5 * u[i] * u[i]
    return total


@by_hand
def hand_run(n_steps, u0, nu, scratch):
    u, out = u0.copy(), np.empty_like(u0)
    for _ in range(n_steps):
        hand_step(u, nu, out)
        u, out = out, u
    return hand_energy(u)


@by_hand
def hand_adjoint(u, nu, bar, out_bar):
    """out_bar[j] = sum over i of bar[i] d(next u)[i] / d u[j]; the ends are fixed, so their rows are those of the identity."""
    if len(u) < 5 or len(bar) != len(u) or len(out_bar) != len(u):
        return  # never: as above
    last = len(u) - 1
    a = DT / (2.0 * DX)
    k = nu * DT / (DX * DX)
    for j in range(2, last - 1):
        out_bar[j] = (
            bar[j] * (1.0 - a * (u[j + 1] - u[j - 1]) - 2.0 * k)
            + bar[j - 1] * (k - a * u[j - 1])
            + bar[j + 1] * (k + a * u[j + 1])
        )
    out_bar[0] = bar[0] + bar[1] * (k + a * u[1])
    out_bar[1] = bar[1] * (1.0 - a * (u[2] - u[0]) - 2.0 * k) + bar[2] * (k + a * u[2])
    j = last - 1
    out_bar[j] = bar[j] * (1.0 - a * (u[last] - u[j - 1]) - 2.0 * k) + bar[j - 1] * (k - a * u[j - 1])
    out_bar[last] = bar[last] + bar[j] * (k - a * u[j])


@summing
def hand_viscosity(u, bar):
    if len(u) < 5 or len(bar) != len(u):
        return 0.0  # never: as above
    total = 0.0
    for i in range(1, len(u) - 1):
        total += bar[i] * (u[i + 1] - 2.0 * u[i] + u[i - 1])
    return total * DT / (DX * DX)


@by_hand
def hand_gradient(n_steps, u0, nu, states):
    """``states`` is (n_steps + 1, cells)."""
    states[0, :] = u0
    for n in range(n_steps):
        hand_step(states[n], nu, states[n + 1])
    bar, out_bar = states[n_steps].copy(), np.empty_like(u0)
    nu_bar = 0.0
    for n in range(n_steps - 1, -1, -1):
        nu_bar += hand_viscosity(states[n], bar)
        hand_adjoint(states[n], nu, bar, out_bar)
        bar, out_bar = out_bar, bar
    return hand_energy(states[n_steps]), (bar, nu_bar)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def advance(n, u, nu):
        a, k, inner = DT / (2.0 * DX), nu * DT / (DX * DX), u[1:-1]
        inner = inner - a * inner * (u[2:] - u[:-2]) + k * (u[2:] - 2.0 * inner + u[:-2])
        return xp.concatenate([u[:1], inner, u[-1:]]), 0.0

    return {"slices": (advance, lambda u, nu: 0.5 * xp.sum(u * u))}


WORKLOAD = Workload(
    name="burgers",
    title="Burgers, 1-D",
    step=burgers,
    arrays=burgers_arrays,
    problem=problem,
    costs=lambda n_steps: {"terminal": energy},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, u0, nu: np.zeros((n_steps + 1, len(u0))),
    tiny=(40, 25),
    usual=(1000, 5000),
    full=(1000, 50_000),
    functional=functional,
    work=lambda size: Work(numbers=2 * size, flops=29 * size),
)
