"""A small recurrent network, read out at every step, gradient with respect to its weights and its first state.

By hand, no tanh is computed twice: its derivative comes from the state that is stored. Products with matrices go along rows in
loops that vectorise, forward with the transposed weights, and what the weights get is added for four steps at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj
from benchmarks.workload import Work, Workload, by_hand, summing

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
    return np.zeros(units), Net(
        w, 0.5 * rng.standard_normal((units, INPUTS)), 0.1 * rng.standard_normal(units), rng.standard_normal(units)
    )


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


@summing
def hand_dot(a, b):
    if len(a) != len(b):
        return 0.0  # never
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@by_hand
def hand_product(w, x, out):
    """out += the transpose of w times x: four rows at a time, so that ``out`` is read and written once for them."""
    rows, columns = w.shape
    if len(x) != rows or len(out) != columns:
        return  # never: but it tells the compiler that no index is out of bounds
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(columns):
            out[j] += (a * w[i, j] + b * w[i + 1, j]) + (c * w[i + 2, j] + d * w[i + 3, j])
    for i in range(whole, rows):
        for j in range(columns):
            out[j] += x[i] * w[i, j]


@by_hand
def hand_step(n, h, b, w_t, in_t, new):
    """With transposed weights, so that the loops go along rows."""
    for i in range(len(h)):
        new[i] = b[i]
    hand_product(in_t, SIGNAL[n], new)
    hand_product(w_t, h, new)
    for i in range(len(h)):
        new[i] = np.tanh(new[i])


@by_hand
def hand_run(n_steps, h0, p, scratch):
    h, new, value = h0.copy(), np.empty_like(h0), 0.0
    w_t, in_t = p.w.T.copy(), p.w_in.T.copy()
    for n in range(n_steps):
        d = hand_dot(p.out, h) - TARGET[n]
        value += 0.5 * d * d
        hand_step(n, h, p.b, w_t, in_t, new)
        h, new = new, h
    return value


@by_hand
def hand_outer(a, h, w_bar):
    """w_bar += what four steps give to the weights: a and h are (4, ...)."""
    rows, columns = w_bar.shape
    if a.shape[0] != 4 or a.shape[1] != rows or h.shape[0] != 4 or h.shape[1] != columns:
        return  # never: as above
    for i in range(rows):
        b, c, d, e = a[0, i], a[1, i], a[2, i], a[3, i]
        for j in range(columns):
            w_bar[i, j] += (b * h[0, j] + c * h[1, j]) + (d * h[2, j] + e * h[3, j])


@by_hand
def hand_gradient(n_steps, h0, p, states):
    """``states`` is (n_steps + 4, units), of finite numbers."""
    states[0, :] = h0
    value = 0.0
    w_t, in_t = p.w.T.copy(), p.w_in.T.copy()
    for n in range(n_steps):
        hand_step(n, states[n], p.b, w_t, in_t, states[n + 1])
    m = len(h0)
    bar, before, args = np.zeros(m), np.empty(m), np.zeros((4, m))
    w_bar, in_bar, b_bar, out_bar = np.zeros_like(p.w), np.zeros_like(p.w_in), np.zeros(m), np.zeros(m)
    for n in range(n_steps - 1, -1, -1):
        h, new, a = states[n], states[n + 1], args[n % 4]
        d = hand_dot(p.out, h) - TARGET[n]
        value += 0.5 * d * d
        for j in range(m):
            before[j] = d * p.out[j]
            out_bar[j] += d * h[j]
        for i in range(m):
            a[i] = bar[i] * (1.0 - new[i] * new[i])
            b_bar[i] += a[i]
        hand_product(p.w, a, before)
        for i in range(m):
            for k in range(INPUTS):
                in_bar[i, k] += a[i] * SIGNAL[n, k]
        if n % 4 == 0:
            hand_outer(args, states[n : n + 4], w_bar)
        bar, before = before, bar
    return value, (bar, w_bar, in_bar, b_bar, out_bar)


# -- for other libraries ----------------------------------------------------------------------------------------------------


def functional(xp):
    signal, target = xp.asarray(SIGNAL), xp.asarray(TARGET)

    def advance(n, h, p):
        d = xp.sum(p.out * h) - target[n]
        return xp.tanh(p.w @ h + p.w_in @ signal[n] + p.b), 0.5 * d * d

    return {"products": (advance, None)}


WORKLOAD = Workload(
    name="recurrent",
    title="recurrent network",
    step=recur,
    arrays=recur_arrays,
    problem=problem,
    costs=lambda n_steps: {"running": loss},
    run=hand_run,
    gradient=hand_gradient,
    scratch=lambda n_steps, h0, p: np.zeros((n_steps + 4, len(h0))),
    tiny=(6, 15),
    usual=(32, 5000),
    full=(64, 10_000),
    functional=functional,
    work=lambda size: Work(numbers=2 * size, flops=6 * size**2, tanhs=size),
)
