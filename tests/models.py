"""Simulations with hand-written VJPs, for several tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

import adjointsim as adj
from adjointsim.schedules import Schedule
from adjointsim.schedules.actions import replayed


class State(NamedTuple):
    u: np.ndarray
    t: float
    count: int


class Params(NamedTuple):
    c: float
    w: np.ndarray
    k: int
    unused: np.ndarray


def hand_step(n, y, p):
    y.u[:] = y.u + 0.1 * np.sin(p.w * y.u) * y.t  # overwrites its own y
    return State(y.u, y.t * p.c + 0.01 * y.u[0], y.count + 1)


def hand_vjp(n, y, p, y_next_bar):
    assert y_next_bar.count is None
    s, c = np.sin(p.w * y.u), np.cos(p.w * y.u)
    u_next = y.u + 0.1 * s * y.t
    ub = y_next_bar.u
    ub[0] += 0.01 * y_next_bar.t  # overwrites what it is given
    y.u[:] = np.nan
    y_bar = State(ub * (1.0 + 0.1 * c * p.w * y.t), y_next_bar.t * p.c + 0.1 * float(ub @ s), None)
    return y_bar, Params(y_next_bar.t * y.t, 0.1 * ub * c * _u(u_next, s, y.t) * y.t, None, None)


def _u(u_next, s, t):
    return u_next - 0.1 * s * t


stepper = adj.step(hand_step, vjp=hand_vjp, jit=False)


def terminal(y, p):
    total = p.c * y.t
    for i in range(len(y.u)):
        total += y.u[i] * y.u[i] * p.w[i]
    return total


def running(n, y, p):
    return 0.01 * n * y.u[1] * p.c


def observe(n, y, p):
    out = np.empty(2)
    out[0] = y.u[0] * p.c
    out[1] = y.t
    return out


def misfit(k, observation, p):
    d = observation[0] - 0.3 * k
    return 0.5 * d * d + observation[1] * p.c


Y0 = State(np.array([0.3, -0.2, 0.7]), 0.9, 5)
P0 = Params(0.95, np.array([1.0, 2.0, 0.5]), 3, np.ones((2, 2)))


def simulation(n, **options):
    at = sorted({0, n // 3, n // 2, n})
    costs = {"terminal": terminal, "running": running, "observe": observe, "observe_at": at, "misfit": misfit}
    return adj.Simulation(stepper, n, **costs, **options)


def bits(gradient):
    """All numbers of a gradient."""
    y0, p = gradient.y0, gradient.p
    return [*y0.u, y0.t, p.c, *p.w, *p.unused.ravel()]


def scaled(n, y, p):
    return p * y


def scale_vjp(n, y, p, b):
    return p * b, float(np.sum(y * b))


scale = adj.step(scaled, vjp=scale_vjp, jit=False)


def total(y, p):
    s = 0.0
    for i in range(len(y)):
        s += y[i]
    return s


@dataclass(frozen=True)
class Explicit(Schedule):
    """The given rows."""

    name: ClassVar[str] = "explicit"
    n_steps: int
    slots: int
    rows: tuple

    @property
    def forward_steps(self):
        return 0

    def stream(self):
        return replayed(self.rows)
