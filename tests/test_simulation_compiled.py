"""Simulations of derived steps: the same bits for every schedule, the numbers of the Python executor, the ledger."""

from __future__ import annotations

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, bits, numbers, rods, swinging
from layouts import LAYOUTS, laid_out, memory_of
from models import Explicit

import adjointsim as adj
from adjointsim import engine, kit, sweep
from adjointsim.call import Call
from adjointsim.derive.model import CompiledModel
from adjointsim.python_engine import PythonExecutor
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE, P, StoreAll

MODELS = {"numbers": (swinging, SWING, SWINGS), "array": (rods, ROD, RODS)}


@pytest.fixture(params=MODELS)
def model(request):
    """(simulation of n steps, y0, p)."""
    return MODELS[request.param]


@pytest.fixture
def python(monkeypatch):
    """Drive derived steps from Python."""

    def drive(sim, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(sweep, "executor_class", lambda step: PythonExecutor)
            return sim.value_and_grad(*args, **options)

    return drive


def close(ours, theirs):
    ours, theirs = numbers(ours), numbers(theirs)
    assert ours == pytest.approx(theirs, rel=1e-13, abs=1e-13 * max(1.0, np.abs(theirs).max(initial=0.0)))


# ------------------------------------------------------------------------------------------------ right, and the same
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 40])
def test_the_python_executor_agrees(model, python, n):
    make, y0, p = model
    value, grad = make(n).value_and_grad(y0, p)
    expected, reference = python(make(n, checkpoints=3), y0, p)
    assert value == pytest.approx(expected, rel=1e-14)
    close((grad.y0, grad.p), (reference.y0, reference.p))
    assert grad.ledger.vjp_steps == n


def test_the_same_bits_for_every_schedule(model):
    make, y0, p = model
    for n in range(41):
        value, grad = make(n).value_and_grad(y0, p)
        expected = bits(value, grad)
        for s in range(1, n + 2):
            again, grad = make(n, checkpoints=s).value_and_grad(y0, p)
            assert bits(again, grad) == expected, (n, s)
            ledger = grad.ledger
            assert (ledger.forward_steps, ledger.vjp_steps, ledger.slots) == (P(n, s), n, min(s, max(n, 1))), (n, s)
            assert ledger.recomputed_steps == P(n, s) - max(n - 1, 0)


@pytest.mark.parametrize("first", range(len(LAYOUTS)))
def test_arrays_in_any_layout(model, first):
    make, y0, p = model
    given = laid_out(y0, first), laid_out(p, first + 1)
    before = memory_of(given)
    assert bits(*make(9, checkpoints=3).value_and_grad(*given)) == bits(*make(9, checkpoints=3).value_and_grad(y0, p))
    assert memory_of(given) == before


ODD = {  # for 6 steps, what no schedule of ours does
    "the state loaded before each VJP": [
        (RECORD, 0, 6, 0), *(row for n in range(5, -1, -1) for row in [(LOAD, n, n, n), (REVERSE, n, n + 1, -1)]),
    ],
    "the last steps from the current state": [
        (STORE, 0, 0, 2), (ADVANCE, 0, 5, -1), (REVERSE, 5, 6, -1), (LOAD, 0, 0, 2), (ADVANCE, 0, 4, -1), (REVERSE, 4, 5, -1),
        (LOAD, 0, 0, 2), (RECORD, 0, 4, 1), (REVERSE, 1, 4, 2), (REVERSE, 0, 1, 1),
    ],
    "a current state that is not the last one's at the turn": [
        (RECORD, 0, 6, 0), (LOAD, 2, 2, 2), (REVERSE, 5, 6, 5), (RECORD, 2, 5, 2), (REVERSE, 0, 5, 0),
    ],
    "a slot that is written twice": [
        (STORE, 0, 0, 0), (ADVANCE, 0, 3, -1), (RECORD, 3, 6, 1), (REVERSE, 3, 6, 1), (LOAD, 0, 0, 0), (RECORD, 0, 3, 0),
        (REVERSE, 0, 3, 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_the_same_bits_for_odd_schedules(model, name):
    make, y0, p = model
    expected = bits(*make(6).value_and_grad(y0, p))
    assert bits(*make(6, schedule=Explicit(6, 6, tuple(ODD[name]))).value_and_grad(y0, p)) == expected


def test_the_same_bits_in_small_pieces(model):
    make, y0, p = model
    expected = bits(*make(23).value_and_grad(y0, p))
    calls = []
    for options in ({}, {"checkpoints": 2}, {"memory": "3kB"}, {"schedule": StoreAll(23)}):
        calls.clear()
        sim = make(23, **options, progress=lambda done, total: calls.append(done))
        assert bits(*sim.value_and_grad(y0, p)) == expected
        assert calls == sorted(set(calls)) and len(calls) > 23


def test_a_driver_that_pauses(model, monkeypatch):
    """The driver comes back to Python after any number of steps and goes on."""
    make, y0, p = model
    expected = bits(*make(23, checkpoints=4).value_and_grad(y0, p))
    call = engine.CompiledExecutor._call

    def slowly(self, rows):
        self._budget = 1
        call(self, rows)

    monkeypatch.setattr(engine.CompiledExecutor, "_call", slowly)
    monkeypatch.setattr(engine, "_SLICE", 0.0)  # so that the budget never grows
    assert bits(*make(23, checkpoints=4).value_and_grad(y0, p)) == expected


def test_a_run_is_the_gradients_way_there(model):
    make, y0, p = model
    for n in (0, 1, 9):
        solution = make(n).run(y0, p)
        value, _ = make(n, checkpoints=2).value_and_grad(y0, p)
        again, _ = make(n, checkpoints=2).vjp(y0, p)
        assert solution.value == value == again.value
        assert numbers(solution.y).tobytes() == numbers(again.y).tobytes()
        assert numbers(solution.observations).tobytes() == numbers(again.observations).tobytes()
        assert (solution.ledger.forward_steps, solution.ledger.vjp_steps, solution.ledger.slots) == (n, 0, 0)
        y = y0
        for k in range(n):
            y = make(n).step(k, y, p)
        assert numbers(solution.y) == pytest.approx(numbers(y), rel=1e-14)


# ---------------------------------------------------------------------------------------------------------- the ledger
@adj.step
def turned(n, y, p):
    return y * p + 0.25


def last(y, p):
    return y


@pytest.mark.parametrize(("n", "s"), [(10, 3), (252, 5), (1000, 10), (100_000, 7), (1_000_000, 10), (1_000_000, 100)])
def test_forward_steps_are_the_minimum(n, s):
    _, grad = adj.Simulation(turned, n, terminal=last, checkpoints=s).value_and_grad(0.5, 0.999)
    assert (grad.ledger.forward_steps, grad.ledger.vjp_steps) == (P(n, s), n)
    assert grad.y0 == pytest.approx(0.999**n, rel=1e-9, abs=1e-300)


def test_known_counts():
    known = [(10, 3, 15), (56, 5, 140), (100, 5, 316), (100, 10, 222), (252, 5, 1050), (1000, 10, 3636), (10**6, 10, 11647922)]
    for n, s, count in known:
        assert adj.Simulation(turned, n, terminal=last, checkpoints=s).plan(0.5, 0.999).forward_steps == count
    assert adj.Simulation(turned, 10**9, terminal=last, checkpoints=100).plan(0.5, 0.999).forward_steps == 5898659124


def test_generated_text_does_not_depend_on_what_was_derived_before(model):
    """Else a process that calls the verbs in another order would find nothing in the cache."""
    make, y0, p = model
    first, then = (kit.model_of(Call(make(3), y0, p, "p").problem) for _ in range(2))
    first, then = (CompiledModel(m.functions, m.y_spec, m.p_spec, m.active) for m in (first, then))
    run = then.text(reverse=False)
    assert first.text(reverse=True) == then.text(reverse=True)
    assert first.text(reverse=False) == run


def scaled(n, y, p):
    return y * p


def product(y, p):
    return y[0] * y[1]


def test_one_function_for_two_precisions(tmp_path, monkeypatch):
    """Their texts are the same, and nothing of one is used for the other: d (y0 p^3)(y1 p^3) / dy0 = y1 p^6."""
    monkeypatch.setenv("ADJOINTSIM_CACHE_DIR", str(tmp_path))  # nothing is known of them
    sim = adj.Simulation(scaled, 3, terminal=product)
    for dtype in (np.float64, np.float32, np.float64):
        _, grad = sim.value_and_grad(np.array([0.5, 0.25], dtype), 0.5)
        assert grad.y0.dtype == dtype
        np.testing.assert_array_equal(grad.y0, np.array([0.25, 0.5], dtype) * 0.5**6)
