"""Derived steps and their costs, for several tests: a tuple of numbers, and an array that is overwritten."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import adjointsim as adj


class Swing(NamedTuple):
    x: float
    v: float
    count: int


class Swings(NamedTuple):
    w: float
    c: float
    push: np.ndarray
    label: int
    unused: np.ndarray


@adj.step
def swing(n, y, p):
    v = y.v - 0.1 * (p.w * math.sin(y.x) + p.c * y.v) + p.push[n % len(p.push)]
    if v > 0.5:
        v = 0.5 + 0.3 * (v - 0.5)
    return Swing(y.x + 0.1 * v, v, y.count + p.label)


def swing_running(n, y, p):
    return 0.01 * (n + 1) * y.x * y.v * p.c


def swing_terminal(y, p):
    return p.w * y.x * y.x + math.exp(y.v) + 0.1 * y.count * y.v


def swing_observe(n, y, p):
    return y.x * p.w + 0.1 * n, y.v * y.v


def swing_misfit(k, seen, p):
    d = seen[0] - 0.2 * k
    return 0.5 * d * d + p.c * seen[1]


SWING = Swing(0.4, 0.3, 2)
SWINGS = Swings(1.3, 0.2, np.array([0.3, -0.1, 0.05]), 3, np.ones((2, 2)))


class Rod(NamedTuple):
    r: float
    f: np.ndarray


@adj.step
def rod(n, u, p):
    for i in range(1, len(u) - 1):
        u[i] = u[i] + p.r * (u[i - 1] - 2.0 * u[i] + u[i + 1]) + p.f[i] * u[i] * u[i]
    u[0] = u[1] * u[1]
    return u


def rod_running(n, u, p):
    return 0.1 * u[n % len(u)] * p.r


def rod_terminal(u, p):
    total = 0.0
    for i in range(len(u)):
        total += u[i] * u[i] * p.f[i]
    return total


def rod_observe(n, u, p):
    out = np.empty(2)
    out[0] = u[1] * p.r
    out[1] = u[2] * u[3]
    return out


def rod_misfit(k, seen, p):
    return (seen[0] - 0.01 * k) ** 2 + seen[1] * p.f[k % len(p.f)]


ROD = np.array([0.3, -0.2, 0.7, 0.1, 0.5])
RODS = Rod(0.23, np.array([0.3, -0.1, 0.2, 0.15, 0.4]))


# Exceptions; not in a test module, because pytest rewrites the asserts there.
class Trouble(Exception):
    pass


@adj.step
def picky(n, y, p):
    if n == 6 and p > 2.0:
        raise Trouble("too much")
    if y > 100.0:
        raise ValueError(f"y = {y}")
    assert p > 0.0, "p must be positive"
    return y * p


def picky_terminal(y, p):
    assert y > 1.0
    return y


def times(n):
    """Observation times: both ends, two in between, one of them twice."""
    return sorted([0, n // 3, n // 2, n // 2, n])


def swinging(n, **options):
    costs = {"running": swing_running, "terminal": swing_terminal, "observe": swing_observe, "misfit": swing_misfit}
    return adj.Simulation(swing, n, **costs, observe_at=times(n), **options)


def rods(n, **options):
    costs = {"running": rod_running, "terminal": rod_terminal, "observe": rod_observe, "misfit": rod_misfit}
    return adj.Simulation(rod, n, **costs, observe_at=times(n), **options)


def numbers(*structures):
    """All floating numbers of structures, in order, as one array."""
    found = []
    for s in structures:
        if isinstance(s, tuple):
            found.append(numbers(*s))
        elif s is not None:
            found.append(np.ravel(s).astype(float))
    return np.concatenate(found) if found else np.zeros(0)


def bits(value, gradient):
    """A value and a gradient as bytes."""
    return np.append(numbers(gradient.y0, gradient.p), value).tobytes()
