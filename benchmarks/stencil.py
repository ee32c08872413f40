"""A one-dimensional stencil: viscous Burgers as an element loop and as array expressions, gradient with respect to the initial
field and the viscosity.

The hand-written adjoint stores every state and gathers: the cotangent of a cell is written once, from its three neighbours,
so the loop vectorises. The derivative with respect to the viscosity is a reduction, in a kernel of its own that may reassociate.
"""

from __future__ import annotations

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.common import assert_close, medians, report

CELLS, N_STEPS = 1000, 10_000
DT = 1e-4
DX = 1.0 / CELLS
NU = 2e-3


def initial(cells: int = CELLS) -> np.ndarray:
    x = np.linspace(0.0, 1.0, cells)
    return np.sin(2.0 * np.pi * x) + 0.3 * np.sin(6.0 * np.pi * x + 0.4)


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
def burgers_slices(n, u, nu):
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


@njit(error_model="numpy")
def hand_step(u, nu, out):
    last = len(u) - 1
    out[0] = u[0]
    out[last] = u[last]
    a = DT / (2.0 * DX)
    k = nu * DT / (DX * DX)
    for i in range(1, last):
        out[i] = u[i] - a * u[i] * (u[i + 1] - u[i - 1]) + k * (u[i + 1] - 2.0 * u[i] + u[i - 1])


@njit(error_model="numpy")
def hand_run(n_steps, u0, nu):
    u, out = u0.copy(), np.empty_like(u0)
    for _ in range(n_steps):
        hand_step(u, nu, out)
        u, out = out, u
    total = 0.0 * u[0]
    for i in range(len(u)):
        total += 0.5 * u[i] * u[i]
    return total


@njit(error_model="numpy")
def hand_adjoint(u, nu, bar, out_bar):
    """out_bar[j] = sum over i of bar[i] d(next u)[i] / d u[j]; the ends are fixed, so their rows are those of the identity."""
    if len(u) < 5 or len(bar) != len(u) or len(out_bar) != len(u):
        return  # never: but it tells the compiler that no index is negative, and the loop vectorises
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


@njit(error_model="numpy", fastmath={"reassoc", "nsz"})
def hand_viscosity(u, bar):
    if len(u) < 5 or len(bar) != len(u):
        return 0.0  # never: as above
    total = 0.0
    for i in range(1, len(u) - 1):
        total += bar[i] * (u[i + 1] - 2.0 * u[i] + u[i - 1])
    return total * DT / (DX * DX)


@njit(error_model="numpy")
def hand_gradient(n_steps, u0, nu, states):
    """The value and its derivatives with respect to u0 and nu; ``states`` is (n_steps + 1, cells) of scratch."""
    states[0, :] = u0
    for n in range(n_steps):
        hand_step(states[n], nu, states[n + 1])
    total = 0.0
    for i in range(len(u0)):
        total += 0.5 * states[n_steps, i] * states[n_steps, i]
    bar, out_bar = states[n_steps].copy(), np.empty_like(u0)
    nu_bar = 0.0
    for n in range(n_steps - 1, -1, -1):
        nu_bar += hand_viscosity(states[n], bar)
        hand_adjoint(states[n], nu, bar, out_bar)
        bar, out_bar = out_bar, bar
    return total, bar, nu_bar


@njit(error_model="numpy")
def repeated(step, n_steps, u, nu):
    for n in range(n_steps):
        u = step(n, u, nu)
    return u


# -- comparison -------------------------------------------------------------------------------------------------------------


def check(n_steps: int = 300) -> None:
    """The hand-written adjoint against the complex step, ours against the hand-written one."""
    u0 = initial()
    value, u0_bar, nu_bar = hand_gradient(n_steps, u0, NU, np.empty((n_steps + 1, CELLS)))
    places = [0, 1, 2, 3, 350, CELLS - 4, CELLS - 3, CELLS - 2, CELLS - 1]
    expected = []
    for i in places:
        u = u0.astype(complex)
        u[i] += 1e-30j
        expected.append(hand_run(n_steps, u, complex(NU)).imag / 1e-30)
    assert_close("the hand-written adjoint", u0_bar[places], expected, 1e-12)
    expected = [hand_run(n_steps, u0.astype(complex), NU + 1e-30j).imag / 1e-30]
    assert_close("the hand-written adjoint, viscosity", [nu_bar], expected, 1e-12)
    ours, grad = adj.Simulation(burgers, n_steps, terminal=energy).value_and_grad(u0, NU)
    sliced, grad_slices = adj.Simulation(burgers_slices, n_steps, terminal=energy).value_and_grad(u0, NU)
    assert_close("the value", [ours, sliced], [value, value], 1e-14)
    for found in (grad, grad_slices):
        assert_close("the derived adjoint", found.y0, u0_bar, 1e-12)
        assert_close("the derived adjoint, viscosity", [found.p], [nu_bar], 1e-12)


def main() -> None:
    """Time and print."""
    u0 = initial()
    sim = adj.Simulation(burgers, N_STEPS, terminal=energy)
    slices = adj.Simulation(burgers_slices, N_STEPS, terminal=energy)
    numba_slices = njit(error_model="numpy")(burgers_slices.__wrapped__)
    bounded = adj.Simulation(burgers, N_STEPS, terminal=energy, checkpoints=100)
    states = np.empty((N_STEPS + 1, CELLS))
    times = medians(
        {
            "run": lambda: sim.run(u0, NU),
            "run by hand": lambda: hand_run(N_STEPS, u0, NU),
            "gradient": lambda: sim.value_and_grad(u0, NU),
            "gradient by hand": lambda: hand_gradient(N_STEPS, u0, NU, states),
            "gradient, 100 checkpoints": lambda: bounded.value_and_grad(u0, NU),
            "run, as slices": lambda: slices.run(u0, NU),
            "run, as slices, by Numba itself": lambda: repeated(numba_slices, N_STEPS, u0, NU),
            "gradient, as slices": lambda: slices.value_and_grad(u0, NU),
        },
        rounds=5,
    )
    report(f"stencil: Burgers, {CELLS} cells, {N_STEPS} steps", times, N_STEPS, {"gradient, ours / by hand": 2.0})


if __name__ == "__main__":
    check()
    main()
