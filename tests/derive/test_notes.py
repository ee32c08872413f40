"""Numbers that a step says are worth keeping: what is read on the way back is what was written on the way there."""

from __future__ import annotations

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.call import Call
from adjointsim.derive.entry import lower_entry
from adjointsim.derive.ir import Let, walk
from adjointsim.derive.notes import forgotten, notes_of
from adjointsim.derive.rules import NOTED, noted
from adjointsim.kit import kit_of
from adjointsim.leaves import spec_of
from adjointsim.schedules import StoreAll

from .harness import Derived, assert_close

Y, P = np.array([0.4, -0.7]), np.array([0.9, 0.3, 1.2])


def stages(n, y, p):
    a = noted(y[0] + 0.1 * p[0] * np.sin(y[1]), 0)
    b = noted(y[1] * np.exp(a) + p[1], 1)
    return np.array([y[0] + 0.1 * np.cos(a) * b, 0.9 * y[1] + 0.1 * a * b * p[2]])


def branched(n, y, p):
    """What is not computed is not read: the row has nothing there."""
    x = 0.1 * y[1]
    if y[0] > 0.3:
        a = noted(np.sqrt(y[0]) * p[0], 1)
        x = a * a * y[1]
        if n > 1:
            b = noted(a * p[1] + np.cos(y[1]), 0)
            x = x + b * b
    else:
        c = noted(y[0] * y[0] * p[2], 2)
        x = x + 0.1 * c * c
    return np.array([0.8 * y[0] + 0.2 * np.sin(x) + 0.2, x * 0.5])


def overwritten(n, y, p):
    """The state that the numbers are made of is gone when they are used."""
    a = noted(y[0] * p[0], 0)
    y[0] = a * a * 0.3 + 0.2
    b = noted(y[0] * y[1], 1)
    y[1] = 0.5 * np.sin(b) + 0.1 * a
    return y


def among_arrays(n, y, p):
    m = len(y)
    u = np.zeros(m)
    for i in range(m):
        u[i] = y[i] * y[i]
    a = noted(u[0] * u[1] * p[0], 0)
    for i in range(m):
        u[i] = u[i] * a + p[i]
    return 0.3 * u


def left(n, y, p):
    if p[0] < 0.0:
        raise ValueError("below 0")
    a = noted(y[0] * p[0], 0)
    if a > 10.0:
        return y * 0.1
    b = noted(a * a * y[1], 1)
    return np.array([0.5 * b * b + 0.1, 0.2 * a])


GOOD = {stages: {0, 1}, branched: {0, 1, 2}, overwritten: {0, 1}, among_arrays: {0}, left: {0, 1}}


def in_a_loop(n, y, p):
    s = 0.1
    for i in range(3):
        s = noted(s * y[0] * p[i], 0)
    return np.array([s, y[1] * s])


def twice(n, y, p):
    a = noted(y[0] * y[1], 0)
    b = noted(a * p[0] * a, 0)
    return np.array([a * b, b * b])


def inexact(n, y, p):
    """Compilers may have other functions for many numbers than for one."""
    w = np.exp(-y * y)
    a = noted(w[0] * w[1], 0)
    return np.array([a * a * 0.1, p[0] * w[0]])


def summed(n, y, p):
    a = noted(np.sum(y * p[:2]) * y[0], 0)
    return np.array([a * a, p[0] * y[0]])


def single(n, y, p):
    a = noted(np.float32(y[0]) * np.float32(p[0]), 0)
    return np.array([a * a, p[0] * y[0]])


NONE = [in_a_loop, twice, inexact, summed, single]


def lowered(fn):
    index = spec_of(0, "n")
    return lower_entry(fn, [("n", index), ("y", spec_of(Y, "y")), ("p", spec_of(P, "p"))], counters=("n",), frozen=("p",))


def end(y, p):
    return np.sum(y * y) + p[2] * y[0]


@pytest.mark.parametrize("fn", GOOD)
def test_what_is_noted(fn):
    notes = notes_of(lowered(fn))
    assert set(notes.places.values()) == GOOD[fn] and notes.many == max(GOOD[fn]) + 1


@pytest.mark.parametrize("fn", NONE)
def test_what_is_not(fn):
    """Numbers of a loop, of two places, and what need not have the same bits."""
    assert notes_of(lowered(fn)) is None


@pytest.mark.parametrize("fn", [*GOOD, *NONE])
def test_nothing_is_left_of_it_elsewhere(fn):
    body = forgotten(lowered(fn).fn.body)
    assert not any(isinstance(s, Let) and s.op == NOTED for s in walk(body))


@pytest.mark.parametrize("fn", GOOD)
@pytest.mark.parametrize("first", [0.4, 0.2])
@pytest.mark.parametrize("n", [1, 2])
def test_the_way_back_reads_them(fn, first, n):
    """Against complex step; rows are NaN but for what the primal writes."""
    y = np.array([first, -0.7])
    derived = Derived(fn, (n, y, P))
    found = derived.run_kept(derived.bars)
    assert found is not None
    assert_close(found, derived.reference_bars)


@pytest.mark.parametrize("fn", [*GOOD, *NONE])
def test_the_same_bits(fn):
    """Where all is stored, in a few slots, within bytes; with notes and without."""
    step = adj.step(fn)
    found = []
    for how in ({}, {"checkpoints": 2}, {"checkpoints": 9}, {"schedule": StoreAll(7)}, {"memory": 4000}):
        sim = adj.Simulation(step, 7, terminal=end, **how)
        value, gradient = sim.value_and_grad(Y, P)
        found.append((value, gradient.y0.tobytes(), gradient.p.tobytes()))
    assert len(set(found)) == 1
    sim = adj.Simulation(step, 7, terminal=end)
    kit = kit_of(Call(sim, Y, P).problem, True, True)
    assert kit.step.noted == (0 if fn in NONE else max(GOOD[fn]) + 1)
    if fn in GOOD:
        adj.testing.check_gradient(sim, Y, P)


def linear(n, y, p):
    a = noted(y[0] + 0.5 * y[1], 0)
    return np.array([0.9 * a, y[1] - 0.1 * a])


def test_nothing_is_kept_that_nobody_reads():
    sim = adj.Simulation(adj.step(linear), 7, terminal=end)
    kit = kit_of(Call(sim, Y, P).problem, True, True)
    assert kit.step.noted == kit.step.kept == 0
    adj.testing.check_gradient(sim, Y, P)
