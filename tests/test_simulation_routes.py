"""Leaves that a step returns as they are: their buffers change hands, and the gradient has the same bits in every schedule."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pytest
from derived import bits, numbers
from models import Explicit
from routed import COPYING, FUNCTIONS, STEPS, Y0, P, simulation, value

import adjointsim as adj
from adjointsim import engine, kit, sweep
from adjointsim.call import Call
from adjointsim.python_engine import PythonExecutor
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE

#: every model takes some ten seconds to compile
EVERYTHING = os.environ.get("CORPUS") == "all"
NAMES = list(STEPS) if EVERYTHING else ["swaps", "overwritten", "recorded", "saturated"]
#: where another program is compiled for each
FEW = ["swaps", "saturated", "twins", "overwritten", "recorded", "history"][: None if EVERYTHING else 2]


def summary(step):
    return kit.model_of(Call(simulation(step, 3), Y0, P, ("y0", "p")).problem).full.summary.step


def close(ours, theirs):
    ours, theirs = numbers(ours.y0, ours.p), numbers(theirs.y0, theirs.p)
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12 * max(1.0, np.abs(theirs).max()))


# -------------------------------------------------------------------------------------------------------- what is a route
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wave", "fresh 0 2 3 fresh 4 6 7 7 fresh 9"),
        ("choice", "fresh 2 0 3 fresh 4 fresh 7 8 9 10"),
        ("history", "fresh 0 1 2 fresh 4 5 7 7 10 9"),
        ("swaps", "1 0 fresh 3 5 4 fresh 8 7 10 9"),
        ("turns", "1 2 0 3 5 6 4 8 7 9 10"),
        ("twins", "1 1 fresh 1 5 5 fresh 8 8 9 9"),
        ("first_twice", "fresh 0 0 2 fresh 4 4 7 8 9 10"),
        ("outside", "fresh p1 constant 1 fresh p0 constant 7 8 constant 10"),
        ("overwritten", "fresh 0 fresh 3 fresh fresh 6 fresh fresh 9 10"),
        ("recorded", "fresh 0 0 2 fresh 4 5 7 8 fresh 9"),
        ("saturated", "fresh 0 fresh 3 fresh 4 5 8 7 fresh 9"),
        ("element", "fresh 0 2 3 fresh fresh fresh 7 8 fresh 10"),
    ],
)
def test_routes_are_found(name, expected):
    kinds = {"fresh": "fresh", "constant": "constant", "state": "{}", "parameter": "p{}"}
    assert " ".join(kinds[r.kind].format(r.leaf) for r in summary(STEPS[name]).routes) == expected


def test_which_leaves_of_the_next_state_a_vjp_reads():
    assert {name: step.nexts for name in STEPS if (step := summary(STEPS[name])).nexts} == {"saturated": (0, 2)}


@pytest.mark.parametrize("name", FEW)
def test_the_copying_steps_have_none(name):
    assert {r.kind for r in summary(COPYING[name]).routes} == {"fresh"}


# ------------------------------------------------------------------------------------------------------------------ right
@pytest.mark.parametrize("name", FEW if EVERYTHING else FEW[1:])
def test_the_same_as_with_copies(name):
    for n in (0, 1, 2, 3, 4, 11):
        ours, grad = simulation(STEPS[name], n, checkpoints=3).value_and_grad(Y0, P)
        theirs, reference = simulation(COPYING[name], n).value_and_grad(Y0, P)
        assert ours == pytest.approx(theirs, rel=1e-14)
        close(grad, reference)


@pytest.mark.parametrize("name", FEW)
def test_the_same_as_from_python(name, monkeypatch):
    for n in (0, 1, 2, 5):
        ours, grad = simulation(STEPS[name], n, checkpoints=3).value_and_grad(Y0, P)
        with monkeypatch.context() as patch:
            patch.setattr(sweep, "executor_class", lambda step: PythonExecutor)
            theirs, reference = simulation(STEPS[name], n, checkpoints=2).value_and_grad(Y0, P)
        assert ours == pytest.approx(theirs, rel=1e-14)
        close(grad, reference)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "recorded"])  # its loop tests a number that is complex here
@pytest.mark.parametrize("n", [1, 5, 8])
def test_complex_step(name, n):
    _, grad = simulation(STEPS[name], n, checkpoints=2).value_and_grad(Y0, P)
    rng = np.random.default_rng(3)
    for given, found, which in ((Y0, grad.y0, 0), (P, grad.p, 1)):
        for k, (leaf, bar) in enumerate(zip(given, found, strict=True)):
            if bar is None:
                continue
            dot = rng.standard_normal(np.shape(leaf))
            y, p = (type(s)(*(_complex(t) for t in s)) for s in (Y0, P))
            moved = [y, p]
            moved[which] = moved[which]._replace(**{given._fields[k]: leaf + 1e-30j * dot})
            expected = np.imag(value(FUNCTIONS[name], n, *moved)) / 1e-30
            assert np.sum(bar * dot) == pytest.approx(expected, rel=1e-11, abs=1e-12), given._fields[k]


def _complex(leaf):
    return leaf + 0j if np.asarray(leaf).dtype.kind == "f" else leaf


# --------------------------------------------------------------------------------------------------------- the same bits
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_for_every_schedule(name):
    step = STEPS[name]
    for n in (*range(14), 23, 40) if name not in ("history", "swaps") else range(41):
        expected = bits(*simulation(step, n).value_and_grad(Y0, P))
        for s in range(1, n + 2):
            assert bits(*simulation(step, n, checkpoints=s).value_and_grad(Y0, P)) == expected, (n, s)


def wandering(rng, n, slots):
    """The rows of a valid sweep that no schedule would make: it stores, loads, records and reverses at random."""
    held, current, left, rows = [-1] * slots, 0, n, [(STORE, 0, 0, 0)]
    held[0] = 0  # stays: there is always a way
    while left:
        kind = rng.choice([ADVANCE, STORE, LOAD, RECORD, REVERSE])
        if kind == ADVANCE and current < left - 1:
            end = int(rng.integers(current + 1, left))
            rows.append((ADVANCE, current, end, -1))
            current = end
        elif kind == STORE and current < left:
            slot = int(rng.integers(1, slots))
            rows.append((STORE, current, current, slot))
            held[slot] = current
        elif kind == LOAD:
            slot = int(rng.choice([k for k in range(slots) if 0 <= held[k] < left]))
            rows.append((LOAD, held[slot], held[slot], slot))
            current = held[slot]
        elif kind == RECORD and current < left:
            slot = int(rng.integers(1, slots))
            end = int(rng.integers(current, min(left, current + slots - slot))) + 1
            rows.append((RECORD, current, end, slot))
            held[slot : slot + end - current] = range(current, end)
            current = end - 1
        elif kind == REVERSE and current == left - 1 and rng.random() < 0.3:
            rows.append((REVERSE, left - 1, left, -1))
            left -= 1
        elif kind == REVERSE and left - 1 in held:
            last = held.index(left - 1)
            first = last
            while first > 0 and held[first - 1] == held[first] - 1 >= 0 and rng.random() < 0.7:
                first -= 1
            rows.append((REVERSE, held[first], left, first))
            left = held[first]
    return tuple(rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_for_schedules_at_random(name):
    rng = np.random.default_rng(NAMES.index(name))
    for n in (1, 2, 6, 9):
        expected = bits(*simulation(STEPS[name], n).value_and_grad(Y0, P))
        for _ in range(25):
            rows = wandering(rng, n, 8)
            assert bits(*simulation(STEPS[name], n, schedule=Explicit(n, 8, rows)).value_and_grad(Y0, P)) == expected, rows


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_that_stops_everywhere(name, monkeypatch):
    """It comes back to Python after each step, and its tapes are too short at first: for the step, and for a cost after it."""
    expected = bits(*simulation(STEPS[name], 13).value_and_grad(Y0, P))
    new_tapes, call, needed = engine.new_tapes, engine.CompiledExecutor._call, []

    def a_little(tapes):
        needed.append(1)
        return new_tapes((tapes[0].size + 3, tapes[1].size + 1))

    def slowly(self, rows):
        self._budget = 1
        call(self, rows)

    monkeypatch.setattr(engine, "longer", a_little)
    monkeypatch.setattr(engine, "new_tapes", lambda cells, *more: new_tapes((min(cells[0], 1), min(cells[1], 0)), *more))
    monkeypatch.setattr(engine, "_SLICE", 0.0)
    monkeypatch.setattr(engine.CompiledExecutor, "_call", slowly)
    for options in ({}, {"checkpoints": 3}, {"checkpoints": 1}, {"progress": lambda done, total: None}):
        needed.clear()
        assert bits(*simulation(STEPS[name], 13, **options).value_and_grad(Y0, P)) == expected
        assert needed


@pytest.mark.parametrize("name", NAMES)
def test_pullbacks_may_be_used_again(name):
    _, expected = simulation(STEPS[name], 7, checkpoints=2).value_and_grad(Y0, P)
    for options in ({}, {"checkpoints": 2}):
        _, pullback = simulation(STEPS[name], 7, **options).vjp(Y0, P)
        for _ in range(2):
            assert bits(0.0, pullback()) == bits(0.0, expected)


# ----------------------------------------------------------------------------------------------- whose memory is whose
def arrays(structure):
    return [leaf for leaf in structure if isinstance(leaf, np.ndarray)]


def own(found, *others):
    """Every array by itself."""
    every = [*arrays(found), *(a for o in others for a in arrays(o))]
    return not any(np.shares_memory(a, b) for k, a in enumerate(arrays(found)) for b in every[k + 1 :])


@pytest.mark.parametrize("name", FEW)
def test_single_steps_return_memory_of_their_own(name):
    step, twin = STEPS[name], COPYING[name]
    before = numbers(Y0, P).tobytes()
    y = step(4, Y0, P)
    assert own(y, Y0, P) and numbers(y) == pytest.approx(numbers(twin(4, Y0, P)), rel=1e-14)
    seed = step(4, y, P)  # some numbers
    seed = seed._replace(i=None, j=None, k=None, l=None)
    y_bar, p_bar = step.vjp(4, Y0, P, seed)
    assert own(y_bar, p_bar, Y0, P, seed)
    assert numbers(y_bar, p_bar) == pytest.approx(numbers(*twin.vjp(4, Y0, P, seed)), rel=1e-12, abs=1e-14)
    dot = Y0._replace(i=None, j=None, k=None, l=None)
    y_next, y_dot = step.jvp(4, Y0, P, dot, P._replace())
    assert own(y_next, y_dot, Y0, P, dot)
    assert numbers(y_dot) == pytest.approx(numbers(twin.jvp(4, Y0, P, dot, P)[1]), rel=1e-12, abs=1e-14)
    assert numbers(Y0, P).tobytes() == before


@pytest.mark.parametrize("name", FEW)
def test_runs_return_memory_of_their_own(name):
    for n in (0, 1, 2, 3, 4):
        solution = simulation(STEPS[name], n).run(Y0, P)
        y = Y0
        for k in range(n):
            y = STEPS[name](k, y, P)
        assert numbers(solution.y).tobytes() == numbers(y).tobytes()
        assert own(solution.y, Y0, P)
        again, _ = simulation(STEPS[name], n, checkpoints=2).vjp(Y0, P)
        assert numbers(again.y).tobytes() == numbers(y).tobytes() and again.value == solution.value


# ------------------------------------------------------------------------------------------------- shapes, bytes, copies
class Pair(NamedTuple):
    u: np.ndarray
    v: np.ndarray


@adj.step
def swap(n, y, p):
    return Pair(y.v, y.u)


@adj.step
def leap(n, y, p):
    new = np.empty_like(y.u)
    for k in range(len(new)):
        new[k] = 2.0 * p * y.u[k] - y.v[k] * y.u[k]
    return Pair(new, y.u)


def first(y, p):
    return y.u[0] * y.u[0]


@pytest.mark.parametrize("step", [swap, leap])
def test_leaves_of_other_shapes_do_not_change_hands(step):
    y0 = Pair(np.ones(3), np.ones(4))
    with pytest.raises(adj.errors.StructureError, match="y_next"):
        adj.Simulation(step, 3, terminal=first).value_and_grad(y0, 0.5)
    assert adj.Simulation(step, 0, terminal=first).value_and_grad(y0, 0.5)[0] == 1.0


def test_buffers_that_are_not_needed_are_not_made():
    y0 = Pair(np.ones(1000), np.full(1000, 0.5))
    copying = adj.Simulation(leap, 4, checkpoints=2, terminal=first).value_and_grad(y0, 0.5)[1].ledger
    assert copying.bytes_planned == copying.bytes_peak
    fields = 2 * 3 + 2 + 2 + 3 + 2 + 1  # slots and a spare one, the current state, y_N, .., and one for a turn from a slot
    assert 0 <= copying.bytes_planned - 8000 * fields < 8000
    driver = kit.model_of(Call(adj.Simulation(leap, 3), y0, 0.5, ("y0", "p")).problem).text(True)
    advance = driver[driver.index("while row < count") : driver.index("elif kind == 2")]
    assert advance.count("copy_1") == 0  # neither a step nor a turn copies
