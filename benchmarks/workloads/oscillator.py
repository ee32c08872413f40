"""A tiny state over many steps: Lotka-Volterra by RK4, two floats, a running cost.

What a step costs here is arithmetic, one operation after the other, and what surrounds the arithmetic shows. By hand, every
state is stored, the stages are computed again on the way back, and all cotangents stay in registers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand

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


@by_hand
def hand_run(n_steps, y0, p, scratch):
    u, v = y0
    alpha, beta, gamma, delta = p
    value = 0.0
    for _ in range(n_steps):
        value += DT * ((u - 30.0) * (u - 30.0) + (v - 20.0) * (v - 20.0))
        u, v = hand_step(u, v, alpha, beta, gamma, delta)
    return value


@by_hand
def hand_gradient(n_steps, y0, p, states):
    """``states`` is (n_steps, 2)."""
    u, v = y0
    alpha, beta, gamma, delta = p
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
    return value, (ub, vb, ab, bb, gb, db)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    def advance(n, y, p):
        return rk4.__wrapped__(n, y, p), running(n, y, p)

    return {"a step": (advance, None)}


WORKLOAD = Workload(
    name="oscillator",
    title="oscillator, two floats",
    step=rk4,
    problem=lambda size, n_steps: (Y0, P),
    costs=lambda n_steps: {"running": running},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, y0, p: np.zeros((n_steps, 2)),
    tiny=(2, 200),
    usual=(2, 1_000_000),
    full=(2, 1_000_000),
    functional=functional,
    work=lambda size: Work(numbers=4, flops=240, chain=52),
)
