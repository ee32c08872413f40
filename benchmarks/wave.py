"""The two-dimensional wave equation, leapfrog: a step that makes one field and returns the other as it was.

The state is the field at two times, and a step hands one of them on: ``return new, u``. By hand, no field is copied: buffers
change names forwards, every time level is stored once, and backwards the cotangent of the field that was handed on is what
the adjoint of the next step adds to.
"""

from __future__ import annotations

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.common import assert_close, medians, report

CELLS, N_STEPS = 128, 1000
SPEED = 0.2  # (c dt / dx)^2


def initial(cells: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0.0, 1.0, cells)
    hump = np.exp(-60.0 * ((x[:, None] - 0.4) ** 2 + (x[None, :] - 0.55) ** 2))
    return hump, 0.98 * hump


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def wave(n, y, speed):
    u, before = y
    new = np.zeros_like(u)
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            new[i, j] = (
                2.0 * u[i, j] - before[i, j] + speed * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
            )
    return new, u


def energy(y, speed):
    u = y[0]
    total = 0.0
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            total += 0.5 * u[i, j] * u[i, j]
    return total


# -- by hand ----------------------------------------------------------------------------------------------------------------


@njit(error_model="numpy")
def hand_step(u, before, speed, new):
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            new[i, j] = (
                2.0 * u[i, j] - before[i, j] + speed * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
            )


@njit(error_model="numpy")
def hand_energy(u):
    total = 0.0 * u[0, 0]
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            total += 0.5 * u[i, j] * u[i, j]
    return total


@njit(error_model="numpy")
def hand_run(n_steps, u0, before0, speed):
    """Three buffers take turns; the edges of all but the first two are zero."""
    u, before, new = u0.copy(), before0.copy(), np.zeros_like(u0)
    for n in range(n_steps):
        hand_step(u, before, speed, new)
        u, before, new = new, u, before
        if n < 2:  # the buffers that come from the initial state have edges of their own
            new[0, :] = 0.0
            new[-1, :] = 0.0
            new[:, 0] = 0.0
            new[:, -1] = 0.0
    return hand_energy(u)


@njit(error_model="numpy")
def hand_adjoint(new_bar, speed, u_bar, before_bar):
    """u_bar += and before_bar = : the transpose of the stencil, gathered; new_bar has a zero edge."""
    rows, columns = new_bar.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            u_bar[i, j] += 2.0 * new_bar[i, j] + speed * (
                new_bar[i - 1, j] + new_bar[i + 1, j] + new_bar[i, j - 1] + new_bar[i, j + 1] - 4.0 * new_bar[i, j]
            )
            before_bar[i, j] = -new_bar[i, j]
    for i in range(1, rows - 1):
        u_bar[i, 0] += speed * new_bar[i, 1]
        u_bar[i, columns - 1] += speed * new_bar[i, columns - 2]
    for j in range(1, columns - 1):
        u_bar[0, j] += speed * new_bar[1, j]
        u_bar[rows - 1, j] += speed * new_bar[rows - 2, j]


@njit(error_model="numpy", fastmath={"reassoc", "nsz"})
def hand_speed(u, new_bar):
    total = 0.0
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            total += new_bar[i, j] * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
    return total


@njit(error_model="numpy")
def clear_edge(x):
    x[0, :] = 0.0
    x[-1, :] = 0.0
    x[:, 0] = 0.0
    x[:, -1] = 0.0


@njit(error_model="numpy")
def hand_gradient(n_steps, u0, before0, speed, fields):
    """The value and its derivatives with respect to u0, before0 and speed; ``fields`` is (n_steps + 2, cells, cells), of
    zeros but for what this function leaves there."""
    fields[0] = before0
    fields[1] = u0
    for n in range(n_steps):
        hand_step(fields[n + 1], fields[n], speed, fields[n + 2])
    value = hand_energy(fields[n_steps + 1])
    new_bar, u_bar, before_bar = fields[n_steps + 1].copy(), np.zeros_like(u0), np.zeros_like(u0)
    speed_bar = 0.0
    for n in range(n_steps - 1, -1, -1):
        clear_edge(new_bar)  # the step's edges are constants
        clear_edge(before_bar)
        speed_bar += hand_speed(fields[n + 1], new_bar)
        hand_adjoint(new_bar, speed, u_bar, before_bar)
        new_bar, u_bar, before_bar = u_bar, before_bar, new_bar
    return value, new_bar, u_bar, speed_bar


# -- comparison -------------------------------------------------------------------------------------------------------------


def check(n_steps: int = 60, cells: int = 24) -> None:
    """The hand-written adjoint against the complex step, ours against the hand-written one."""
    y0 = initial(cells)
    value, *bars, speed_bar = hand_gradient(n_steps, *y0, SPEED, np.zeros((n_steps + 2, cells, cells)))
    for k, bar in enumerate(bars):
        places = [(0, 3), (1, 1), (10, 12), (cells - 2, 5), (cells - 1, 7), (9, 0)]
        expected = []
        for place in places:
            fields = [y.astype(complex) for y in y0]
            fields[k][place] += 1e-30j
            expected.append(hand_run(n_steps, *fields, complex(SPEED)).imag / 1e-30)
        assert_close("the hand-written adjoint", [bar[place] for place in places], expected, 1e-11)
    expected = [hand_run(n_steps, *(y.astype(complex) for y in y0), SPEED + 1e-30j).imag / 1e-30]
    assert_close("the hand-written adjoint, speed", [speed_bar], expected, 1e-11)
    for options in ({}, {"checkpoints": 5}):
        ours, grad = adj.Simulation(wave, n_steps, terminal=energy, **options).value_and_grad(y0, SPEED)
        assert_close("the value", [ours], [value], 1e-13)
        for mine, bar in zip(grad.y0, bars):
            assert_close("the derived adjoint", mine.ravel(), bar.ravel(), 1e-11)
        assert_close("the derived adjoint, speed", [grad.p], [speed_bar], 1e-11)


def main() -> None:
    """Time and print."""
    y0 = initial()
    sim = adj.Simulation(wave, N_STEPS, terminal=energy)
    bounded = adj.Simulation(wave, N_STEPS, terminal=energy, checkpoints=30)
    fields = np.zeros((N_STEPS + 2, CELLS, CELLS))
    times = medians(
        {
            "run": lambda: sim.run(y0, SPEED),
            "run by hand": lambda: hand_run(N_STEPS, *y0, SPEED),
            "gradient": lambda: sim.value_and_grad(y0, SPEED),
            "gradient by hand": lambda: hand_gradient(N_STEPS, *y0, SPEED, fields),
            "gradient, 30 checkpoints": lambda: bounded.value_and_grad(y0, SPEED),
        },
        rounds=5,
    )
    report(f"wave: leapfrog, {CELLS} x {CELLS} cells, {N_STEPS} steps", times, N_STEPS, {})


if __name__ == "__main__":
    check()
    main()
