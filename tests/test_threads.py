"""Threads that share the loops of a step: the same bits, whatever their number, from every verb and under every schedule."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from numba import prange

import adjointsim as adj
from adjointsim import engine
from adjointsim.derive import team
from adjointsim.errors import ArgumentError

CELLS = 72


class Reaction(NamedTuple):
    rate: float
    spread: np.ndarray


def pull(u, i, j):
    return u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]


def around(u, into):
    """A function that writes an array, with a loop of its own."""
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            into[i, j] = np.sin(u[i, j]) * pull(u, i, j)


@adj.step
def react(n, y, p):
    """Two fields, a border that wraps around, sums for the number among the parameters, a function with a loop."""
    u, v = y
    un, vn, d = np.zeros_like(u), np.zeros_like(v), np.zeros_like(u)
    around(u, d)
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            r = p.rate * u[i, j] * v[i, j] * v[i, j]
            un[i, j] = u[i, j] + 0.1 * p.spread[i, j] * pull(u, i, j) - r + 0.01 * d[i, j]
            vn[i, j] = v[i, j] + 0.05 * pull(v, i, j) + r - 0.06 * v[i, j]
    for i in range(rows):
        un[i, 0] = un[i, columns - 2]
        un[i, columns - 1] = un[i, 1]
        vn[i, 0] = vn[i, columns - 2]
        vn[i, columns - 1] = vn[i, 1]
    return un, vn


@adj.step
def sweep_down(n, y, p):
    """A row needs the one before: the outer loop stays one thread's, and that over rows of others is shared."""
    new = y.copy()
    for i in range(1, y.shape[0]):
        for j in range(y.shape[1]):
            new[i, j] += 0.25 * np.tanh(new[i - 1, j]) * p
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            new[i, j] = 0.9 * np.cos(new[i, j])
    return new


@adj.step
def expressions(n, y, p):
    """Arrays, and a prange loop."""
    new = y + p[0] * np.exp(-y) * np.roll(y, 1)
    for i in prange(1, y.size - 1):
        new[i] += p[1] * (y[i - 1] - 2.0 * y[i] + y[i + 1])
    return new


@adj.step
def drift(n, y, p):
    """One short loop of two axes."""
    new = np.zeros_like(y)
    for i in range(1, y.shape[0] - 1):
        for j in range(1, y.shape[1] - 1):
            new[i, j] = y[i, j] + p * pull(y, i, j) * y[i, j]
    return new


def last(y, p):
    return np.sum(y[0] * y[0]) + np.sum(y[1])


def field_start():
    x = np.linspace(0.0, 3.0, CELLS)
    return 1.0 + 0.1 * np.sin(np.add.outer(x, 2.0 * x)), 0.3 + 0.1 * np.cos(np.subtract.outer(x, x * x))


MODELS = {
    "react": (react, last, field_start(), Reaction(0.9, 1.0 + 0.1 * field_start()[1])),
    "sweep_down": (sweep_down, lambda y, p: np.sum(y * y), field_start()[0], 0.7),
    "expressions": (expressions, lambda y, p: np.sum(y * y), np.linspace(0.0, 1.0, 20_000), np.array([0.01, 0.2])),
}  # fmt: skip


@pytest.fixture
def loops(monkeypatch):
    """How many loops workers had a part in; they are let in whether that pays or not."""
    counted = []
    before = engine.workers

    @contextmanager
    def counting(memory, count):
        counted.append(memory)
        with before(memory, count):
            while sum(memory[team.HERE :]) < count:  # short runs would be over before they are there
                time.sleep(1e-3)
            yield

    monkeypatch.setattr(engine, "workers", counting)
    monkeypatch.setattr(team.Trial, "together", lambda trial: True)
    return lambda: max((int(memory[team.LINE]) for memory in counted), default=0)


def simulation(name, threads, **more):
    step, terminal, _, _ = MODELS[name]
    return adj.Simulation(step, 9, terminal=terminal, threads=threads, **more)


def numbers(*parts):
    """All arrays of results, as bytes."""
    out = []
    for part in parts:
        if part is None or isinstance(part, (float, np.ndarray)):
            out.append(b"" if part is None else np.asarray(part).tobytes())
        else:
            out += numbers(*part)
    return out


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits(name, threads, loops):
    _, _, y0, p = MODELS[name]
    (value, one), (again, many) = (simulation(name, k).value_and_grad(y0, p) for k in (1, threads))
    assert value == again and numbers(one.y0, one.p) == numbers(many.y0, many.p)
    assert loops() > 9
    y, z = (simulation(name, k).run(y0, p).y for k in (1, threads))
    assert numbers(y) == numbers(z)


@pytest.mark.parametrize("bound", [{"checkpoints": 3}, {"checkpoints": 1}, {"memory": "1MB"}])
def test_the_same_bits_under_bounds(bound, loops):
    _, _, y0, p = MODELS["react"]
    one, many = (simulation("react", k, **more).value_and_grad(y0, p)[1] for k, more in ((1, {}), (2, bound)))
    assert numbers(one.y0, one.p) == numbers(many.y0, many.p)
    assert loops() > 9 and many.ledger.recomputed_steps > 0
    assert many.ledger.bytes_peak <= many.ledger.bytes_planned


def test_the_same_bits_from_other_verbs(loops):
    y0, p, found = field_start()[0], 0.05, []
    for threads in (1, 2):
        sim = adj.Simulation(drift, 9, observe=lambda n, y, p: y[2, :4] * p, observe_at=[0, 4, 9], threads=threads)
        _, pullback = sim.vjp(y0, p)
        back = pullback(y_bar=y0, observations_bar=np.ones((3, 4)))
        found.append(numbers(back.y0, back.p, sim.jacobian(y0, p, "p")))
    assert found[0] == found[1] and loops() > 9


def test_the_same_bits_of_second_order(loops):
    y0 = field_start()[0]
    sims = [adj.Simulation(drift, 9, terminal=lambda y, p: np.sum(y * y), threads=k) for k in (1, 2)]
    one, many = (sim.hvp(y0, 0.05, np.ones_like(y0), 0.3) for sim in sims)
    assert numbers(one.y0, one.p) == numbers(many.y0, many.p) and loops() > 9


def test_a_run_of_unknown_length(loops):
    y0, costs = field_start()[0], {"terminal": lambda y, p: np.sum(y * y), "until": lambda n, y, p: n >= 12}
    one, many = (adj.Simulation(drift, 50, threads=k, **costs).value_and_grad(y0, 0.05)[1] for k in (1, 2))
    assert many.ledger.n_steps == 12 and numbers(one.y0, one.p) == numbers(many.y0, many.p) and loops() > 9


def test_an_ode(loops):
    def rhs(t, y, p):
        dy = np.zeros_like(y)
        for i in range(1, y.shape[0] - 1):
            for j in range(1, y.shape[1] - 1):
                dy[i, j] = p * pull(y, i, j) - y[i, j] ** 3
        return dy

    y0 = field_start()[0]
    odes = [adj.ODE(rhs, [0.0, 0.3], method="euler", dt=0.05, terminal=lambda y, p: np.sum(y * y), threads=k) for k in (1, 2)]
    (value, one), (again, many) = (ode.value_and_grad(y0, 0.4) for ode in odes)
    assert value == again and numbers(one.y0, one.p) == numbers(many.y0, many.p) and loops() > 3


def test_what_is_tried_is_remembered(monkeypatch):
    (u, v), p = MODELS["react"][2:]  # of a size that no other test has
    y0, p = (u[:, 3:].copy(), v[:, 3:].copy()), Reaction(p.rate, p.spread[:, 3:].copy())
    sim = adj.Simulation(react, 400, terminal=last, threads=2)
    asked = []
    before = team.Trial.together

    def asking(trial):
        asked.append((trial.pays, before(trial)))
        return asked[-1][1]

    monkeypatch.setattr(team.Trial, "together", asking)
    sim.value_and_grad(y0, p)
    assert {together for pays, together in asked if pays is None} == {False, True}
    asked.clear()
    sim.value_and_grad(y0, p)
    assert asked and all(pays is not None for pays, _ in asked)


def test_small_states_start_no_threads(loops):
    sim = adj.Simulation(react, 5, terminal=last, threads=2)
    y0, p = MODELS["react"][2:]
    sim.value_and_grad(tuple(u[:20, :20].copy() for u in y0), Reaction(p.rate, p.spread[:20, :20].copy()))
    assert loops() == 0


def test_an_error_in_a_step_names_it(loops):
    @adj.step
    def failing(n, y, p):
        new = np.zeros_like(y)
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                new[i, j] = np.sqrt(y[i, j] - 0.15 * n)
        if n == 6:
            raise ValueError("no further")
        return new

    sim = adj.Simulation(failing, 9, terminal=lambda y, p: np.sum(y), threads=2)
    with pytest.raises(ValueError, match="no further") as caught:
        sim.value_and_grad(field_start()[0] + 5.0)
    assert any("n=6 of 9" in note for note in caught.value.__notes__)
    sim = adj.Simulation(failing, 5, terminal=lambda y, p: np.sum(y), threads=2)
    with pytest.raises(adj.errors.NonFiniteError, match="step"):
        sim.value_and_grad(field_start()[0] - 0.9)


def test_all():
    assert adj.Simulation(react, 3, threads="all").threads >= 1


@pytest.mark.parametrize("bad", [0, -1, 2.5, "two", 65, True, None])
def test_bad_numbers(bad):
    with pytest.raises(ArgumentError, match="threads"):
        adj.Simulation(react, 3, threads=bad)


def test_hand_written_steps_have_no_loops_to_share():
    step = adj.step(lambda n, y, p: y * p, vjp=lambda n, y, p, bar: (bar * p, bar * y))
    with pytest.raises(ArgumentError, match="hand-written"):
        adj.Simulation(step, 3, threads=2)
    assert adj.Simulation(step, 3, threads="all").threads == 1
