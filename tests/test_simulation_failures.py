"""What can go wrong in simulations of derived steps: each says where, and what was expected."""

from __future__ import annotations

import math

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, Trouble, picky, picky_terminal, rod, rod_terminal, rods, swinging
from models import Explicit

import adjointsim as adj
from adjointsim.errors import (
    ArgumentError,
    DerivationError,
    NonFiniteError,
    SourceUnavailableError,
    StructureError,
    UnsupportedError,
)
from adjointsim.schedules import RECORD, REVERSE, STORE


def total(y, p):
    s = 0.0
    for i in range(len(y)):
        s += y[i]
    return s


def stretched(u, p):
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = p * u[i]
    return out


@adj.step
def stretch(n, u, p):
    return stretched(u, p)


# ------------------------------------------------------------------------------------------------------------- options
@pytest.mark.parametrize("bad", [-1, 1.0, True, "3", None, 2**63])
def test_a_number_of_steps_that_is_none(bad):
    with pytest.raises(ArgumentError, match="Got n_steps="):
        adj.Simulation(stretch, bad, terminal=total)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3"])
def test_checkpoints_that_are_none(bad):
    with pytest.raises(ArgumentError, match="Got checkpoints="):
        adj.Simulation(stretch, 3, terminal=total, checkpoints=bad)


def test_few_steps_and_many_checkpoints():
    y0 = np.arange(3.0)
    _, grad = adj.Simulation(stretch, 0, terminal=total).value_and_grad(y0, 0.5)
    assert grad.y0.tolist() == [1.0, 1.0, 1.0] and grad.p == 0.0
    assert (grad.ledger.forward_steps, grad.ledger.vjp_steps) == (0, 0)
    for s in (1, 2, 100):
        _, grad = adj.Simulation(stretch, 1, terminal=total, checkpoints=s).value_and_grad(y0, 0.5)
        assert grad.y0.tolist() == [0.5, 0.5, 0.5] and grad.p == 3.0
        assert grad.ledger.slots == 1
    _, pullback = adj.Simulation(stretch, 0).vjp(y0, 0.5)
    assert pullback(y_bar=y0).y0.tolist() == y0.tolist()  # the identity


@pytest.mark.parametrize(
    "rows",
    [
        [(STORE, 0, 0, 7), (RECORD, 0, 3, 0), (REVERSE, 0, 3, 0)],
        [(RECORD, 0, 3, 1), (REVERSE, 0, 3, 1)],
        [(RECORD, 0, 3, 0), (REVERSE, 2, 3, -1), (REVERSE, 0, 2, 1)],
        [(RECORD, 0, 3, 0)],
        [],
    ],
)
def test_schedules_that_are_wrong(rows):
    """Found before compiled code writes to a slot that is not there."""
    sim = adj.Simulation(stretch, 3, terminal=total, schedule=Explicit(3, 3, tuple(rows)))
    with pytest.raises(ArgumentError, match="schedule"):
        sim.value_and_grad(np.ones(2), 0.5)


# -------------------------------------------------------------------------------------------------------------- states
@pytest.mark.parametrize(
    "y0",
    [
        np.arange(6.0)[::2], np.arange(3.0).astype(">f8"), np.frombuffer(np.arange(3.0).tobytes()), np.zeros(0),
        np.asfortranarray(np.arange(3.0)), np.arange(3.0).view(np.recarray),
    ],
    ids=["strided", "big-endian", "read-only", "empty", "fortran", "recarray"],
)  # fmt: skip
def test_unusual_states(y0):
    before = y0.tobytes()
    for checkpoints in (1, 4):
        value, grad = adj.Simulation(stretch, 4, terminal=total, checkpoints=checkpoints).value_and_grad(y0, 0.5)
        assert value == np.sum(y0) / 16
        assert grad.y0.shape == y0.shape and (grad.y0 == 1 / 16).all() and grad.y0.dtype == np.float64
        assert grad.p == 4 * 0.125 * np.sum(y0)
    assert adj.Simulation(stretch, 4).run(y0, 0.5).y.shape == y0.shape
    assert y0.tobytes() == before


def test_unusual_parameters():
    """Parameters of any layout, none of them written."""
    f = np.repeat(RODS.f, 2)
    expected = rods(5).value_and_grad(ROD, RODS)[1]
    for given in (f[::2], RODS.f.astype(">f8"), np.frombuffer(RODS.f.tobytes())):
        grad = rods(5).value_and_grad(ROD, RODS._replace(f=given))[1]
        assert grad.p.f.tobytes() == expected.p.f.tobytes()


def test_states_that_are_none():
    sim = adj.Simulation(stretch, 4, terminal=total)
    with pytest.raises(StructureError, match="Got y0 as a list"):
        sim.value_and_grad([1.0], 0.5)
    with pytest.raises(StructureError, match="Got y0=None"):
        sim.value_and_grad(None, 0.5)
    with pytest.raises(StructureError, match=r"Got y0=\(None,\), but expected a state"):
        sim.value_and_grad((None,), 0.5)
    with pytest.raises(StructureError, match="Got p of dtype float16"):
        sim.value_and_grad(np.ones(2), np.float16(0.5))
    with pytest.raises(DerivationError, match="returns a 1-d array of float64 where a 1-d array of int64 is expected"):
        adj.Simulation(halve, 4, terminal=total).value_and_grad(np.ones(2, int), 0.5)
    with pytest.raises(DerivationError, match="stretch takes|must take 3 arguments"):
        adj.Simulation(lambda n, y: y, 4, terminal=total).run(np.ones(2), 0.5)


@adj.step
def halve(n, u, p):
    out = np.empty(len(u))
    for i in range(len(u)):
        out[i] = 0.5 * u[i]
    return out


# --------------------------------------------------------------------------------------------- what a step may not return
@adj.step
def longer(n, u, p):
    out = np.empty(len(u) + 1_000_000)  # not one cell of it may be written
    for i in range(len(out)):
        out[i] = 1.0
    return out


@adj.step
def growing(n, u, p):
    out = np.zeros((u.shape[0] + n // 3, u.shape[1]))
    for i in range(len(u)):
        out[i, 0] = u[i, 0]
    return out


def test_a_step_that_returns_another_shape():
    with pytest.raises(StructureError, match=r"longer, step n=0: Got y_next of shape \(1000003,\), but expected \(3,\)") as error:
        adj.Simulation(longer, 5, terminal=total).value_and_grad(np.ones(3), 0.5)
    note, where = error.value.__notes__
    assert note.startswith("adjointsim: raised in longer, File") and note.endswith(f"line {_line(longer, 'return')}")
    assert where == "adjointsim: raised in step n=0 of 5 (forward sweep)"
    for call in (lambda: adj.Simulation(growing, 5).run(np.ones((3, 2)), 0.5), lambda: growing(3, np.ones((3, 2)), 0.5)):
        with pytest.raises(StructureError, match=r"growing, step n=3: Got y_next of shape \(4, 2\), but expected \(3, 2\)"):
            call()


def _line(step, text):
    code = step.__adjointsim_function__.__code__
    with open(code.co_filename, encoding="utf-8") as file:
        lines = file.read().splitlines()
    return next(k for k, line in enumerate(lines, 1) if k > code.co_firstlineno and text in line)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda n, y, p: (y, y), "returns a tuple of 2 where a 1-d array of float64 is expected"),
        (lambda n, y, p: None, "returns None where a 1-d array of float64 is expected"),
        (lambda n, y, p: y[0], "returns a float where a 1-d array of float64 is expected"),
        (lambda n, y, p: np.empty((len(y), 1)), "returns a 2-d array of float64 where a 1-d array of float64 is expected"),
        (lambda n, y, p: np.empty(len(y), dtype=np.int64), "returns a 1-d array of int64 where a 1-d array of float64 is"),
    ],
)
def test_a_step_that_returns_another_structure(step, words):
    with pytest.raises(DerivationError) as error:
        adj.Simulation(step, 4, terminal=total).value_and_grad(np.ones(3), 0.5)
    assert words in str(error.value) and "'y' in, 'y' out" in str(error.value)
    assert error.value.filename == __file__ and error.value.lineno == step.__code__.co_firstlineno


def writes_p(n, y, p):
    p[0] = 1.0
    return y


def test_writing_p_is_an_error_at_its_line():
    with pytest.raises(UnsupportedError, match="writes to 'p', which a step must not change") as error:
        adj.Simulation(writes_p, 3, terminal=total).run(np.ones(2), np.ones(2))
    assert (error.value.filename, error.value.lineno) == (__file__, writes_p.__code__.co_firstlineno + 1)


COSTS = {
    "f8[:]": lambda u: u, "(f8, f8)": lambda u: (u[0], u[1]), "i8": lambda u: len(u), "None": lambda u: None,
}  # fmt: skip


@pytest.mark.parametrize("kind", COSTS)
def test_a_cost_that_is_not_a_number(kind):
    cost = COSTS[kind]
    options = [
        ("terminal", {"terminal": lambda u, p: cost(u)}),
        ("running", {"running": lambda n, u, p: cost(u)}),
        ("misfit", {"misfit": lambda k, u, p: cost(u), "observe": lambda n, u, p: u, "observe_at": [1]}),
    ]
    for name, option in options:
        with pytest.raises(StructureError) as error:
            adj.Simulation(stretch, 3, **option).value_and_grad(np.ones(2), 0.5)
        assert f"Got {kind} from {name}, but expected one number" in str(error.value)


def test_an_observation_whose_shape_depends_on_the_state():
    def observe(n, u, p):
        return np.ones(int(u[0]))

    sim = adj.Simulation(stretch, 3, observe=observe, observe_at=[0, 1])
    with pytest.raises(StructureError, match="observe returns an array whose shape is known only while it runs"):
        sim.run(np.full(2, 3.0), 2.0)


# ------------------------------------------------------------------------------------------------------ NaN and Inf
@adj.step
def poles(n, u, p):
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = u[i] / (1.0 if n != p else float(i - 1))
    return out


@pytest.mark.parametrize(("n", "at"), [(9, 5), (9, 8), (9, 0), (5000, 4321)])
def test_nan_on_the_way_forward(n, at):
    for call in ("run", "value_and_grad", "vjp"):
        sim = adj.Simulation(poles, n, terminal=total, checkpoints=2)
        words = rf"y\[1\] became inf in step n={at} of {n} \(forward sweep\)"
        with pytest.raises(NonFiniteError, match=words) as error:
            getattr(sim, call)(np.ones(3), float(at))
        e = error.value
        assert (e.step, e.n_steps, e.leaf, e.index, e.direction) == (at, n, "y", (1,), "forward")


@adj.step
def roots(n, u, p):
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = u[i]
    if n == int(p):
        out[2] = math.sqrt(u[2])
    return out


@pytest.mark.parametrize("checkpoints", [None, 3])
@pytest.mark.parametrize(("n", "at"), [(9, 4), (9, 8), (5000, 17)])
def test_inf_on_the_way_back(n, at, checkpoints):
    sim = adj.Simulation(roots, n, terminal=total, checkpoints=checkpoints)
    u0 = np.array([0.3, 0.2, 0.0])
    with pytest.raises(NonFiniteError, match=rf"y\[2\] became inf in the VJP of step n={at} of {n} \(reverse sweep\)") as error:
        sim.value_and_grad(u0, float(at))
    e = error.value
    assert (e.step, e.n_steps, e.leaf, e.index, e.direction) == (at, n, "y", (2,), "reverse")
    _, pullback = sim.vjp(u0, float(at))
    grad = pullback(value_bar=0.0, y_bar=np.array([1.0, 1.0, 0.0]))  # 0 where nothing depends on the root
    assert grad.y0.tolist() == [1.0, 1.0, 0.0]


def late(n, u, p):
    return math.log(u[0] - 0.01 * n)


def test_nan_in_costs():
    with pytest.raises(NonFiniteError, match="the sum of the running cost became nan at step n=51 of 3000") as error:
        adj.Simulation(poles, 3000, running=late).value_and_grad(np.full(3, 0.505), -1.0)
    assert (error.value.step, error.value.leaf) == (51, "running")
    with pytest.raises(NonFiniteError, match="the sum of the terminal cost became -inf at the end of 9 steps"):
        adj.Simulation(stretch, 9, terminal=lambda u, p: math.log(u[0])).value_and_grad(np.zeros(3), 0.5)
    with pytest.raises(NonFiniteError, match="cotangent of y.0. became inf in the derivatives of the costs at the end"):
        adj.Simulation(stretch, 9, terminal=lambda u, p: math.sqrt(u[0])).value_and_grad(np.zeros(3), 0.5)
    with pytest.raises(NonFiniteError, match=r"Got p.f\[2\] = nan"):
        rods(3).value_and_grad(ROD, RODS._replace(f=np.array([0.0, 0.0, np.nan, 0.0, 0.0])))
    with pytest.raises(NonFiniteError, match="Got y0.v = inf"):
        swinging(3).run(SWING._replace(v=math.inf), SWINGS)


# ------------------------------------------------------------------------------------------------ the user's exceptions
def worth(y, p):
    return y


def picky_running(n, y, p):
    if p < 0.5:
        raise Trouble
    return y


def test_exceptions_keep_their_type_and_say_where():
    sim = adj.Simulation(picky, 9, terminal=worth, checkpoints=2)
    code = picky.__adjointsim_function__.__code__
    for call in (sim.run, sim.value_and_grad, sim.vjp):
        with pytest.raises(Trouble, match="too much") as error:
            call(1e-9, 2.5)
        assert error.value.__notes__ == [
            f'adjointsim: raised in picky, File "{code.co_filename}", line {code.co_firstlineno + 3}',
            "adjointsim: raised in step n=6 of 9 (forward sweep)",
        ]
        with pytest.raises(ValueError, match="y = ") as error:
            call(60.0, 1.5)
        assert error.value.__notes__[1] == "adjointsim: raised in step n=2 of 9 (forward sweep)"
        with pytest.raises(AssertionError, match="p must be positive") as error:
            call(1.0, -1.0)
        assert error.value.__notes__[1] == "adjointsim: raised in step n=0 of 9 (forward sweep)"
    assert sim.value_and_grad(1.0, 0.5)[1].y0 == 0.5**9  # nothing is left behind by a failure
    with pytest.raises(Trouble, match="too much"):
        picky(6, 1.0, 3.0)


def test_exceptions_in_costs():
    sim = adj.Simulation(picky, 9, running=picky_running)
    with pytest.raises(Trouble) as error:
        sim.value_and_grad(1.0, 0.25)
    assert error.value.__notes__[1] == "adjointsim: raised in the running cost of step n=0 of 9 (forward sweep)"

    with pytest.raises(AssertionError) as error:
        adj.Simulation(picky, 9, terminal=picky_terminal).value_and_grad(1.0, 0.5)
    assert error.value.__notes__[1] == "adjointsim: raised in the terminal cost at n=9 of 9 (forward sweep)"


def test_a_budget_that_is_too_small():
    y0 = np.ones(1000)
    plan = adj.Simulation(stretch, 100, terminal=total).plan(y0, 0.5)
    least = plan.working_bytes + plan.state_bytes
    sim = adj.Simulation(stretch, 100, terminal=total, memory=least - 1)
    with pytest.raises(ArgumentError, match=f"memory={least - 1} bytes, but expected at least {least}: a state takes 8000"):
        sim.value_and_grad(y0, 0.5)
    _, grad = adj.Simulation(stretch, 100, terminal=total, memory=least).value_and_grad(y0, 0.5)
    assert (grad.ledger.slots, grad.ledger.forward_steps) == (1, 4950)


@adj.step
def rewritten(n, y, p):
    assert p > 0.0
    return y


def test_pytest_rewrites_asserts():
    with pytest.raises(SourceUnavailableError, match="pytest rewrites the asserts of test modules"):
        rewritten(0, 1.0, 1.0)


def test_no_cost():
    with pytest.raises(ArgumentError, match="without a cost"):
        adj.Simulation(rod, 3).value_and_grad(ROD, RODS)
    with pytest.raises(StructureError, match="Got running=.*but expected a Python function"):
        adj.Simulation(rod, 3, running=max).value_and_grad(ROD, RODS)
    with pytest.raises(StructureError, match="names no float"):
        adj.Simulation(stretch, 3, terminal=rod_terminal).value_and_grad(np.ones(2, int), 2)
