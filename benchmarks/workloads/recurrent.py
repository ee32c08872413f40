"""A small recurrent network, read out at every step, gradient with respect to its weights and its first state.

By hand, no tanh is computed twice: its derivative comes from the state that is stored. What the weights get is summed up row by row
in loops that vectorise; the product with the transposed matrix goes over rows, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.workload import Workload

INPUTS = 4
LENGTH = 10_000
_RNG = np.random.default_rng(11)
SIGNAL = _RNG.standard_normal((LENGTH, INPUTS))
TARGET = _RNG.standard_normal(LENGTH)


class Net(NamedTuple):
    w: np.ndarray  # (units, units)
    w_in: np.ndarray  # (units, INPUTS)
    b: np.ndarray  # (units,)
    out: np.ndarray  # (units,)


def problem(units: int, n_steps: int) -> tuple[np.ndarray, Net]:
    rng = np.random.default_rng(12)
    w = 0.9 * rng.standard_normal((units, units)) / np.sqrt(units)
    return np.zeros(units), Net(w, 0.5 * rng.standard_normal((units, INPUTS)), 0.1 * rng.standard_normal(units), rng.standard_normal(units))


# -- ours -------------------------------------------------------------------------------------------------------------------


@adj.step
def recur(n, h, p):
    new = np.empty_like(h)
    for i in range(len(h)):
        a = p.b[i]
        for k in range(INPUTS):
            a += p.w_in[i, k] * SIGNAL[n, k]
        for j in range(len(h)):
            a += p.w[i, j] * h[j]
        new[i] = np.tanh(a)
    return new


@adj.step
def recur_arrays(n, h, p):
    return np.tanh(p.w @ h + p.w_in @ SIGNAL[n] + p.b)


def loss(n, h, p):
    d = -TARGET[n]
    for i in range(len(h)):
        d += p.out[i] * h[i]
    return 0.5 * d * d


# -- by hand ----------------------------------------------------------------------------------------------------------------


@njit(error_model="numpy", fastmath={"reassoc", "nsz"})
def hand_dot(a, b):
    if len(a) != len(b):
        return 0.0  # never
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@njit(error_model="numpy")
def hand_step(n, h, p, new):
    for i in range(len(h)):
        a = p.b[i] + hand_dot(p.w[i], h)
        for k in range(INPUTS):
            a += p.w_in[i, k] * SIGNAL[n, k]
        new[i] = np.tanh(a)


@njit(error_model="numpy")
def hand_run(n_steps, h0, p, scratch):
    h, new, value = h0.copy(), np.empty_like(h0), 0.0
    for n in range(n_steps):
        d = hand_dot(p.out, h) - TARGET[n]
        value += 0.5 * d * d
        hand_step(n, h, p, new)
        h, new = new, h
    return value


@njit(error_model="numpy")
def hand_row(a, w, h, w_bar, h_bar):
    """What one unit's argument passes on to its weights and to all units."""
    m = len(h)
    if len(w) != m or len(w_bar) != m or len(h_bar) != m:
        return  # never: but it tells the compiler that lengths are equal
    for j in range(m):
        w_bar[j] += a * h[j]
        h_bar[j] += a * w[j]


@njit(error_model="numpy")
def hand_gradient(n_steps, h0, p, states):
    """``states`` is (n_steps + 1, units)."""
    states[0, :] = h0
    value = 0.0
    for n in range(n_steps):
        hand_step(n, states[n], p, states[n + 1])
    m = len(h0)
    bar, before = np.zeros(m), np.empty(m)
    w_bar, in_bar, b_bar, out_bar = np.zeros_like(p.w), np.zeros_like(p.w_in), np.zeros(m), np.zeros(m)
    for n in range(n_steps - 1, -1, -1):
        h, new = states[n], states[n + 1]
        d = hand_dot(p.out, h) - TARGET[n]
        value += 0.5 * d * d
        for j in range(m):
            before[j] = d * p.out[j]
            out_bar[j] += d * h[j]
        for i in range(m):
            a = bar[i] * (1.0 - new[i] * new[i])
            b_bar[i] += a
            for k in range(INPUTS):
                in_bar[i, k] += a * SIGNAL[n, k]
            hand_row(a, p.w[i], h, w_bar[i], before)
        bar, before = before, bar
    return value, (bar, w_bar, in_bar, b_bar, out_bar)


WORKLOAD = Workload(
    title="recurrent network",
    step=recur,
    arrays=recur_arrays,
    problem=problem,
    costs=lambda n_steps: {"running": loss},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, h0, p: np.zeros((n_steps + 1, len(h0))),
    tiny=(6, 15),
    usual=(32, 10_000),
    full=(64, 10_000),
)
