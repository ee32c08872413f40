"""A tiny state over many steps: Lotka-Volterra by RK4, two floats, a running cost.

What a step costs here is arithmetic, and what surrounds the arithmetic shows. The hand-written adjoint stores every state,
computes the stages again on the way back and keeps all cotangents in registers. A step that does next to nothing measures what
the driver adds to each step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.common import assert_close, medians, report, table

N_STEPS = 1_000_000
DT = 1e-3


class Rates(NamedTuple):
    alpha: float
    beta: float
    gamma: float
    delta: float


Y0 = (34.0, 6.0)
P = Rates(0.55, 0.028, 0.80, 0.024)


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def rk4(n, y, p):
    u, v = y
    h = 0.5 * DT
    k1, l1 = (p.alpha - p.beta * v) * u, (p.delta * u - p.gamma) * v
    u2, v2 = u + h * k1, v + h * l1
    k2, l2 = (p.alpha - p.beta * v2) * u2, (p.delta * u2 - p.gamma) * v2
    u3, v3 = u + h * k2, v + h * l2
    k3, l3 = (p.alpha - p.beta * v3) * u3, (p.delta * u3 - p.gamma) * v3
    u4, v4 = u + DT * k3, v + DT * l3
    k4, l4 = (p.alpha - p.beta * v4) * u4, (p.delta * u4 - p.gamma) * v4
    w = DT / 6.0
    return u + w * (k1 + 2.0 * k2 + 2.0 * k3 + k4), v + w * (l1 + 2.0 * l2 + 2.0 * l3 + l4)


def running(n, y, p):
    return DT * ((y[0] - 30.0) * (y[0] - 30.0) + (y[1] - 20.0) * (y[1] - 20.0))


@adj.step
def nothing(n, y, p):
    return p * y


def last(y, p):
    return y


# -- by hand ----------------------------------------------------------------------------------------------------------------


@njit(error_model="numpy", inline="always")
def hand_step(u, v, alpha, beta, gamma, delta):
    h = 0.5 * DT
    k1, l1 = (alpha - beta * v) * u, (delta * u - gamma) * v
    u2, v2 = u + h * k1, v + h * l1
    k2, l2 = (alpha - beta * v2) * u2, (delta * u2 - gamma) * v2
    u3, v3 = u + h * k2, v + h * l2
    k3, l3 = (alpha - beta * v3) * u3, (delta * u3 - gamma) * v3
    u4, v4 = u + DT * k3, v + DT * l3
    k4, l4 = (alpha - beta * v4) * u4, (delta * u4 - gamma) * v4
    w = DT / 6.0
    return u + w * (k1 + 2.0 * k2 + 2.0 * k3 + k4), v + w * (l1 + 2.0 * l2 + 2.0 * l3 + l4)


@njit(error_model="numpy")
def hand_run(n_steps, u, v, alpha, beta, gamma, delta):
    value = 0.0
    for _ in range(n_steps):
        value += DT * ((u - 30.0) * (u - 30.0) + (v - 20.0) * (v - 20.0))
        u, v = hand_step(u, v, alpha, beta, gamma, delta)
    return value


@njit(error_model="numpy")
def hand_gradient(n_steps, u, v, alpha, beta, gamma, delta, states):
    """The value and its derivatives with respect to u, v, alpha, beta, gamma, delta; ``states`` is (n_steps, 2) of scratch."""
    value = 0.0
    for n in range(n_steps):
        states[n, 0] = u
        states[n, 1] = v
        value += DT * ((u - 30.0) * (u - 30.0) + (v - 20.0) * (v - 20.0))
        u, v = hand_step(u, v, alpha, beta, gamma, delta)
    h, w = 0.5 * DT, DT / 6.0
    ub = vb = ab = bb = gb = db = 0.0
    for n in range(n_steps - 1, -1, -1):
        u, v = states[n, 0], states[n, 1]
        a1, c1 = alpha - beta * v, delta * u - gamma
        u2, v2 = u + h * (a1 * u), v + h * (c1 * v)
        a2, c2 = alpha - beta * v2, delta * u2 - gamma
        u3, v3 = u + h * (a2 * u2), v + h * (c2 * v2)
        a3, c3 = alpha - beta * v3, delta * u3 - gamma
        u4, v4 = u + DT * (a3 * u3), v + DT * (c3 * v3)
        a4, c4 = alpha - beta * v4, delta * u4 - gamma
        # The cotangents (kb, lb) of a stage's slopes go to its arguments and to the rates.
        kb, lb = w * ub, w * vb
        ku, lv = kb * u4, lb * v4
        ab += ku
        bb -= ku * v4
        gb -= lv
        db += lv * u4
        u4b, v4b = kb * a4 + lv * delta, lb * c4 - ku * beta
        kb, lb = 2.0 * w * ub + DT * u4b, 2.0 * w * vb + DT * v4b
        ku, lv = kb * u3, lb * v3
        ab += ku
        bb -= ku * v3
        gb -= lv
        db += lv * u3
        u3b, v3b = kb * a3 + lv * delta, lb * c3 - ku * beta
        kb, lb = 2.0 * w * ub + h * u3b, 2.0 * w * vb + h * v3b
        ku, lv = kb * u2, lb * v2
        ab += ku
        bb -= ku * v2
        gb -= lv
        db += lv * u2
        u2b, v2b = kb * a2 + lv * delta, lb * c2 - ku * beta
        kb, lb = w * ub + h * u2b, w * vb + h * v2b
        ku, lv = kb * u, lb * v
        ab += ku
        bb -= ku * v
        gb -= lv
        db += lv * u
        ub += u4b + u3b + u2b + kb * a1 + lv * delta + 2.0 * DT * (u - 30.0)
        vb += v4b + v3b + v2b + lb * c1 - ku * beta + 2.0 * DT * (v - 20.0)
    return value, ub, vb, ab, bb, gb, db


@njit(error_model="numpy")
def hand_nothing(n_steps, y, p, states):
    for n in range(n_steps):
        states[n] = y
        y = p * y
    yb, pb = 1.0, 0.0
    for n in range(n_steps - 1, -1, -1):
        pb += yb * states[n]
        yb = yb * p
    return y, yb, pb


# -- comparison -------------------------------------------------------------------------------------------------------------


def check(n_steps: int = 2000) -> None:
    """The hand-written adjoint against the complex step, ours against the hand-written one."""
    value, *by_hand = hand_gradient(n_steps, *Y0, *P, np.empty((n_steps, 2)))
    expected = []
    for i in range(6):
        x = [complex(v) for v in (*Y0, *P)]
        x[i] += 1e-30j
        expected.append(hand_run(n_steps, *x).imag / 1e-30)
    assert_close("the hand-written adjoint", by_hand, expected, 1e-13)
    ours, grad = adj.Simulation(rk4, n_steps, running=running).value_and_grad(Y0, P)
    assert_close("the value", [ours], [value], 1e-14)
    assert_close("the derived adjoint", [*grad.y0, *grad.p], by_hand, 1e-13)


def main() -> None:
    """Time and print."""
    sim = adj.Simulation(rk4, N_STEPS, running=running)
    states = np.empty((N_STEPS, 2))
    times = medians(
        {
            "run": lambda: sim.run(Y0, P),
            "run by hand": lambda: hand_run(N_STEPS, *Y0, *P),
            "gradient": lambda: sim.value_and_grad(Y0, P),
            "gradient by hand": lambda: hand_gradient(N_STEPS, *Y0, *P, states),
        }
    )
    limits = {"gradient, ours / by hand": 1.5, "gradient / run, ours": 3.5}
    report(f"tiny: Lotka-Volterra, RK4, {N_STEPS} steps, running cost", times, N_STEPS, limits)

    empty = adj.Simulation(nothing, N_STEPS, terminal=last)
    line = np.empty(N_STEPS)
    times = medians(
        {
            "ours": lambda: empty.value_and_grad(1.0, 1.0 - 1e-7),
            "by hand": lambda: hand_nothing(N_STEPS, 1.0, 1.0 - 1e-7, line),
        }
    )
    overhead = 1e9 * (times["ours"] - times["by hand"]) / N_STEPS
    table(
        "tiny: a step y -> p y, gradient",
        [(name, 1e9 * seconds / N_STEPS, "ns/step", "") for name, seconds in times.items()]
        + [("driver overhead", overhead, "ns/step", "limit 15")],
    )


if __name__ == "__main__":
    check()
    main()
