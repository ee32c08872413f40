"""Input that makes no simulation, steps that return something else, and numbers that are not finite: each says where."""

from __future__ import annotations

import numpy as np
import pytest
from models import P0, Y0, Explicit, State, misfit, observe, scale, scale_vjp, scaled, simulation, stepper, total

import adjointsim as adj
from adjointsim.errors import ArgumentError, NonFiniteError, StructureError, UnsupportedError
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE, Binomial


@pytest.mark.parametrize("bad", [-1, 1.0, True, "3", None, 2**63])
def test_a_number_of_steps_that_is_none(bad):
    with pytest.raises(ArgumentError, match="Got n_steps="):
        adj.Simulation(scale, bad, terminal=total)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3"])
def test_checkpoints_that_are_none(bad):
    with pytest.raises(ArgumentError, match="Got checkpoints="):
        adj.Simulation(scale, 3, terminal=total, checkpoints=bad)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"memory": "1MB", "checkpoints": 2}, ArgumentError, "at most one"),
        ({"memory": "lots"}, ArgumentError, "memory='lots'"),
        ({"schedule": "binomial"}, StructureError, "Got schedule as a str"),
        ({"schedule": Binomial(4, 2)}, ArgumentError, "schedule for 4 steps, but expected one for n_steps=3"),
        ({"until": 3}, StructureError, "until as a int"),
        ({"directory": "x"}, ArgumentError, "no such directory"),
        ({"progress": 3}, ArgumentError, "progress=3"),
        ({"terminal": 3.0}, StructureError, "terminal as a float"),
        ({"observe": observe}, ArgumentError, "observe_at="),
        ({"observe_at": [1]}, ArgumentError, "observe="),
        ({"misfit": misfit}, ArgumentError, "misfit= without observe="),
        ({"observe": observe, "observe_at": [2, 1]}, ArgumentError, "out of order"),
        ({"observe": observe, "observe_at": [0, 4]}, ArgumentError, "from 0 to 4, but expected steps from 0 to n_steps=3"),
        ({"observe": observe, "observe_at": [-1]}, ArgumentError, "from -1 to -1"),
        ({"observe": observe, "observe_at": [0.5]}, ArgumentError, "observe_at=[0.5]"),
        ({"observe": observe, "observe_at": [True]}, ArgumentError, "observe_at=[True]"),
        ({"observe": observe, "observe_at": 3}, ArgumentError, "observe_at=3"),
    ],
)
def test_options_that_make_no_simulation(options, kind, words):
    with pytest.raises(kind) as error:
        adj.Simulation(scale, 3, **options)
    assert words in str(error.value)


def test_steps_that_are_none():
    with pytest.raises(StructureError, match="Got a step 3"):
        adj.Simulation(3, 3)
    with pytest.raises(ArgumentError, match="jit=False without vjp="):
        adj.step(scaled, jit=False)
    with pytest.raises(StructureError, match="Got vjp=3"):
        adj.step(scaled, vjp=3)
    with pytest.raises(ArgumentError, match="Got n=-1"):
        scale(-1, 1.0, 2.0)
    with pytest.raises(ArgumentError, match="Got n=1.0"):
        scale(1.0, 1.0, 2.0)
    with pytest.raises(ArgumentError, match="Got kind='adjoint'"):
        scale.source("adjoint", 0, 1.0, 2.0)
    with pytest.raises(UnsupportedError, match="hand-written VJP") as error:
        scale.source("vjp", 0, 1.0, 2.0)
    assert error.value.filename == scaled.__code__.co_filename


def test_a_budget_that_is_too_small():
    sim = adj.Simulation(scale, 100, terminal=total, memory=100)
    with pytest.raises(ArgumentError, match="memory=100 bytes, but expected at least 6424: a state takes 800"):
        sim.value_and_grad(np.ones(100), 0.5)
    _, grad = adj.Simulation(scale, 100, terminal=total, memory=6424).value_and_grad(np.ones(100), 0.5)
    assert (grad.ledger.slots, grad.ledger.forward_steps) == (1, 4950)
    assert grad.ledger.bytes_peak <= grad.ledger.bytes_planned <= 6424


def test_a_value_needs_a_cost():
    with pytest.raises(ArgumentError, match="without a cost"):
        adj.Simulation(scale, 3).value_and_grad(np.ones(2), 0.5)


@pytest.mark.parametrize(
    "y0",
    [
        np.arange(6.0)[::2], np.arange(3.0).astype(">f8"), np.arange(3.0), np.zeros(0), np.asfortranarray(np.arange(3.0)),
        np.arange(3, dtype=np.float32),
    ],
    ids=["strided", "big-endian", "read-only", "empty", "fortran", "float32"],
)  # fmt: skip
def test_unusual_states(y0):
    if y0.shape == (3,) and y0.dtype == np.float64 and y0.flags.owndata:
        y0.flags.writeable = False
    before = y0.tobytes()
    value, grad = adj.Simulation(scale, 4, terminal=total, checkpoints=2).value_and_grad(y0, 0.5)
    assert value == y0.sum() / 16
    assert grad.y0.shape == y0.shape and (grad.y0 == 1 / 16).all()
    assert grad.y0.dtype == (np.float32 if y0.dtype == np.float32 else np.float64)
    assert grad.p == 4 * 0.125 * y0.sum()
    assert y0.tobytes() == before


def test_states_that_are_none():
    sim = adj.Simulation(scale, 4, terminal=total)
    with pytest.raises(StructureError, match="Got y0 as a list"):
        sim.value_and_grad([1.0], 0.5)
    with pytest.raises(StructureError, match="Got y0=None"):
        sim.value_and_grad(None, 0.5)
    with pytest.raises(StructureError, match="Got p of dtype float16"):
        sim.value_and_grad(np.ones(2), np.float16(0.5))
    with pytest.raises(StructureError, match="y_next of dtype float64, but expected int64"):  # an integer state
        sim.value_and_grad(np.ones(2, int), 0.5)
    with pytest.raises(StructureError, match="names no float"):
        sim.value_and_grad(np.ones(2, int), 2)


def test_inputs_are_untouched():
    y0, p = State(Y0.u.copy(), *Y0[1:]), P0._replace(w=P0.w.copy())
    sim = simulation(5, checkpoints=2)
    sim.run(y0, p)
    sim.value_and_grad(y0, p)
    stepper(0, y0, p)
    bar = State(np.ones(3), 1.0, None)
    stepper.vjp(0, y0, p, bar)
    _, pullback = sim.vjp(y0, p)
    pullback(y_bar=bar)
    assert np.array_equal(y0.u, Y0.u) and np.array_equal(p.w, P0.w)
    assert bar.u.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda y: y[:-1], "y_next of shape (2,), but expected shape (3,)"),
        (lambda y: y[:, None], "y_next with structure f8[:,:], but expected f8[:]"),
        (lambda y: y.astype(int), "y_next of dtype int64, but expected float64"),
        (lambda y: y.astype(complex), "y_next of dtype complex128"),
        (lambda y: (y,), "y_next with structure (f8[:],), but expected f8[:]"),
        (lambda y: None, "y_next with structure None"),
        (lambda y: y.tolist(), "y_next as a list"),
    ],
)
def test_a_step_that_returns_something_else(result, words):
    bad = adj.step(lambda n, y, p: result(y) if n == 2 else y, vjp=scale_vjp, jit=False)
    with pytest.raises(StructureError) as error:
        adj.Simulation(bad, 4, terminal=total).value_and_grad(np.ones(3), 0.5)
    assert words in str(error.value) and "step n=2" in str(error.value)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda b: b, "Got a ndarray from the VJP, but expected the pair"),
        (lambda b: (b,), "Got a tuple of 1"),
        (lambda b: (b[:-1], 0.0), "y_bar of shape (2,), but expected shape (3,)"),
        (lambda b: (b.astype(complex), 0.0), "y_bar of dtype complex128"),
        (lambda b: (b, np.zeros(2)), "p_bar of shape (2,), but expected a number"),
        (lambda b: (b, "x"), "p_bar as a str"),
    ],
)
def test_a_vjp_that_returns_something_else(result, words):
    bad = adj.step(scaled, vjp=lambda n, y, p, b: result(b) if n == 1 else (b, None), jit=False)
    with pytest.raises(StructureError) as error:
        adj.Simulation(bad, 4, terminal=total).value_and_grad(np.ones(3), 0.5)
    assert words in str(error.value) and "VJP of step n=1" in str(error.value)


def test_writing_p_is_an_error_at_its_line():
    def bad(n, y, p):
        p[0] = 1.0
        return p * y

    with pytest.raises(ValueError, match="read-only") as error:
        adj.Simulation(adj.step(bad, vjp=scale_vjp, jit=False), 3, terminal=total).run(np.ones(2), np.ones(2))
    assert "adjointsim: p is read-only inside a step; copy what you want to overwrite" in error.value.__notes__
    assert "adjointsim: raised in step n=0 of 3 (forward sweep)" in error.value.__notes__
    assert error.traceback[-1].lineno + 1 == bad.__code__.co_firstlineno + 1


@pytest.mark.parametrize(
    ("cost", "kind"),
    [(lambda y, p: y, "f8[:]"), (lambda y, p: (1.0, 2.0), "(f8, f8)"), (lambda y, p: 1, "i8")],
    ids=["array", "tuple", "int"],
)
def test_a_cost_that_is_not_a_number(cost, kind):
    with pytest.raises(StructureError) as error:
        adj.Simulation(scale, 3, terminal=cost).value_and_grad(np.ones(2), 0.5)
    assert f"Got {kind} from terminal, but expected one number" in str(error.value)


# ------------------------------------------------------------------------------------------------------------ failures
def test_nan_on_the_way_forward():
    def poisoned(n, y, p):
        out = p * y
        if n == 5:
            out[1] = np.nan
        return out

    bad = adj.step(poisoned, vjp=scale_vjp, jit=False)
    for call in ("run", "value_and_grad", "vjp"):
        with pytest.raises(NonFiniteError, match=r"y\[1\] became nan in step n=5 of 9 \(forward sweep\)") as error:
            getattr(adj.Simulation(bad, 9, terminal=total, checkpoints=2), call)(np.ones(3), 0.5)
        e = error.value
        assert (e.step, e.n_steps, e.leaf, e.index, e.direction) == (5, 9, "y", (1,), "forward")


def test_nan_on_the_way_back():
    def poisoned(n, y, p, b):
        return p * b, float("inf") if n == 4 else float(np.sum(y * b))

    bad = adj.step(scaled, vjp=poisoned, jit=False)
    with pytest.raises(NonFiniteError, match=r"cotangent of p became inf in the VJP of step n=4 of 9 \(reverse sweep\)") as error:
        adj.Simulation(bad, 9, terminal=total, checkpoints=2).value_and_grad(np.ones(3), 0.5)
    e = error.value
    assert (e.step, e.n_steps, e.leaf, e.index, e.direction) == (4, 9, "p", (), "reverse")


def _log(y, p):
    return np.log(y[0])


def _root(y, p):
    return np.sqrt(y[1] - y[2])


def _early(n, y, p):
    return 1.0 / (n - 3) if n < 5 else 0.0


def test_nan_in_costs():
    with pytest.raises(NonFiniteError, match="the sum of the terminal cost became -inf at the end of 9 steps") as error:
        adj.Simulation(scale, 9, terminal=_log).value_and_grad(np.zeros(3), 0.5)
    assert (error.value.step, error.value.leaf) == (None, "terminal")
    with pytest.raises(NonFiniteError, match="the sum of the running cost became inf at step n=3 of 9") as error:
        adj.Simulation(scale, 9, running=_early).value_and_grad(np.zeros(3), 0.5)
    assert (error.value.step, error.value.leaf) == (3, "running")
    with pytest.raises(NonFiniteError, match=r"y\[1\] became inf in the derivatives of the costs at the end") as error:
        adj.Simulation(scale, 9, terminal=_root).value_and_grad(np.ones(3), 0.5)
    assert (error.value.step, error.value.leaf, error.value.index) == (None, "y", (1,))


def test_nan_given_by_the_user():
    sim = simulation(3)
    with pytest.raises(NonFiniteError, match=r"Got y0.u\[1\] = nan") as error:
        sim.run(Y0._replace(u=np.array([0.0, np.nan, 0.0])), P0)
    assert (error.value.step, error.value.leaf, error.value.index) == (None, "y0.u", (1,))
    with pytest.raises(NonFiniteError, match="Got p.c = inf"):
        sim.value_and_grad(Y0, P0._replace(c=np.inf))


class Trouble(Exception):
    pass


def test_exceptions_keep_their_type_and_say_where():
    runs = {"n": 0}

    def fails(n, y, p):
        runs["n"] += n == 3
        if n == 3 and runs["n"] == limit:
            raise Trouble("here")
        return p * y

    def fails_back(n, y, p, b):
        if n == 6 and limit == 0:
            raise Trouble("back")
        return scale_vjp(n, y, p, b)

    sim = adj.Simulation(adj.step(fails, vjp=fails_back, jit=False), 10, terminal=total, checkpoints=2)
    for limit, note in [
        (1, "adjointsim: raised in step n=3 of 10 (forward sweep)"),
        (2, "adjointsim: raised in step n=3 of 10 (recomputation)"),
        (0, "adjointsim: raised in the VJP of step n=6 of 10 (reverse sweep)"),
    ]:
        runs["n"] = 0
        with pytest.raises(Trouble) as error:
            sim.value_and_grad(np.ones(2), 0.5)
        assert error.value.__notes__ == [note]
    limit = -1
    sim.value_and_grad(np.ones(2), 0.5)  # nothing is left behind by a failure


@pytest.mark.parametrize(
    "rows",
    [
        [(ADVANCE, 1, 2, -1), (REVERSE, 2, 3, -1)],
        [(RECORD, 0, 3, 1), (REVERSE, 0, 3, 1)],
        [(LOAD, 0, 0, 0), (RECORD, 0, 3, 0), (REVERSE, 0, 3, 0)],
        [(STORE, 0, 0, 7)],
        [(RECORD, 0, 3, 0), (REVERSE, 2, 3, 1)],
        [(RECORD, 0, 3, 0), (REVERSE, 2, 3, 2), (REVERSE, 0, 1, 0)],
        [(RECORD, 0, 3, 0), (REVERSE, 1, 3, 1)],
        [(RECORD, 0, 3, 0)],
        [],
    ],
)
def test_schedules_that_are_wrong(rows):
    sim = adj.Simulation(scale, 3, terminal=total, schedule=Explicit(3, 3, tuple(rows)))
    with pytest.raises(ArgumentError, match="schedule"):
        sim.value_and_grad(np.ones(2), 0.5)
