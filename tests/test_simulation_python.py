"""Simulations of steps with hand-written VJPs, driven from Python; and what is common to all simulations."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from models import (
    P0,
    Y0,
    Params,
    State,
    bits,
    hand_step,
    misfit,
    observe,
    running,
    scale,
    scaled,
    simulation,
    stepper,
    terminal,
    total,
)
from schedules.machine import Machine

import adjointsim as adj
from adjointsim.errors import ArgumentError, MissingExtraError, NonFiniteError, StructureError, UnsupportedError
from adjointsim.rows import Limited, lengths, parted
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, P, Schedule, StoreAll
from adjointsim.schedules.actions import replayed


def reference(n, y0, p):
    """The value, in plain Python."""
    y, value, k = y0, 0.0, 0
    at = sorted({0, n // 3, n // 2, n})
    for i in range(n + 1):
        if i in at:
            value += misfit(k, observe(i, y, p), p)
            k += 1
        if i < n:
            value += running(i, y, p)
            y = hand_step(i, State(y.u.copy(), y.t, y.count), p)
    return value + terminal(y, p)


def complex_steps(n):
    """The gradient by complex steps: exact to rounding."""
    x = np.concatenate([Y0.u, [Y0.t, P0.c], P0.w]).astype(complex)
    out = []
    for i in range(len(x)):
        z = x.copy()
        z[i] += 1e-30j
        out.append(reference_complex(n, z).imag / 1e-30)
    return out


def reference_complex(n, z):
    y, p = State(z[:3], z[3], 5), Params(z[4], z[5:8], 3, P0.unused)
    return _complex_sum(n, y, p)


def _complex_sum(n, y, p):
    value, k, at = 0.0, 0, sorted({0, n // 3, n // 2, n})
    for i in range(n + 1):
        if i in at:
            value += misfit(k, [y.u[0] * p.c, y.t], p)
            k += 1
        if i < n:
            value += running(i, y, p)
            y = hand_step(i, State(y.u.copy(), y.t, y.count), p)
    return value + terminal(y, p)


# ------------------------------------------------------------------------------------------------ right, and the same
@pytest.mark.parametrize("n", [0, 1, 2, 7, 30])
def test_value_and_gradient_are_right(n):
    value, grad = simulation(n).value_and_grad(Y0, P0)
    assert value == pytest.approx(reference(n, Y0, P0), rel=1e-14)
    assert bits(grad)[:8] == pytest.approx(complex_steps(n), rel=1e-12, abs=1e-14)
    assert isinstance(grad.y0, State) and isinstance(grad.p, Params)
    assert grad.y0.count is None and grad.p.k is None
    assert not grad.p.unused.any() and grad.p.unused.shape == (2, 2)  # an unused parameter: zeros of its shape
    assert type(value) is float and type(grad.y0.t) is float


@pytest.mark.parametrize("n", range(13))
def test_the_same_bits_for_every_schedule(n):
    value, grad = simulation(n).value_and_grad(Y0, P0)
    expected = bits(grad)
    options = [{"checkpoints": s} for s in range(1, n + 2)]
    options += [{"memory": "2kB"}, {"schedule": StoreAll(n)}, {"schedule": Reloaded(n)}]
    options += [{"checkpoints": 2, "progress": say_nothing}]
    for option in options:
        again, grad = simulation(n, **option).value_and_grad(Y0, P0)
        assert again == value
        assert bits(grad) == expected, option
        ledger = grad.ledger
        assert ledger.vjp_steps == n
        assert ledger.bytes_peak <= ledger.bytes_planned
        if "checkpoints" in option:
            assert ledger.forward_steps == P(n, option["checkpoints"])
            assert ledger.recomputed_steps == P(n, option["checkpoints"]) - max(n - 1, 0)
            assert (ledger.schedule, ledger.slots) == ("binomial", min(option["checkpoints"], max(n, 1)))


def say_nothing(done, total):
    assert 0 < done <= total


@dataclass(frozen=True)
class Reloaded(Schedule):
    """Stores all, but y_0 is current when the last step is reversed."""

    name: ClassVar[str] = "reloaded"
    n_steps: int

    @property
    def slots(self):
        return max(self.n_steps, 1)

    @property
    def forward_steps(self):
        return max(self.n_steps - 1, 0)

    def stream(self):
        n = self.n_steps
        return replayed([(RECORD, 0, n, 0), (LOAD, 0, 0, 0), (REVERSE, 0, n, 0)] if n else [])


def test_store_all_counts_every_step_once():
    _, grad = simulation(12).value_and_grad(Y0, P0)
    ledger = grad.ledger
    assert (ledger.schedule, ledger.slots, ledger.forward_steps, ledger.recomputed_steps) == ("store-all", 12, 12, 0)
    assert ledger.seconds > 0 and ledger.resumed_at is None
    solution = simulation(12).run(Y0, P0)
    assert (solution.ledger.forward_steps, solution.ledger.vjp_steps, solution.ledger.slots) == (12, 0, 0)


def test_a_run():
    sim = simulation(9)
    solution = sim.run(Y0, P0)
    value, _ = sim.value_and_grad(Y0, P0)
    assert solution.value == value
    y = Y0
    for n in range(9):
        y = stepper(n, y, P0)
    assert np.array_equal(solution.y.u, y.u) and solution.y[1:] == y[1:]
    assert solution.y.count == 14
    assert solution.observations.shape == (4, 2)
    assert np.array_equal(solution.observations[0], observe(0, Y0, P0))
    assert np.array_equal(solution.observations[3], observe(9, y, P0))


def test_a_simulation_without_steps():
    sim = adj.Simulation(stepper, 0, terminal=terminal)
    value, grad = sim.value_and_grad(Y0, P0)
    assert value == terminal(Y0, P0)
    assert np.array_equal(grad.y0.u, 2 * Y0.u * P0.w) and grad.y0.t == P0.c
    assert (grad.ledger.forward_steps, grad.ledger.vjp_steps) == (0, 0)
    solution, pullback = adj.Simulation(stepper, 0).vjp(Y0, P0)
    assert solution.value is None and solution.observations is None
    identity = pullback(y_bar=(np.array([1.0, 2.0, 3.0]), 4.0, None))
    assert identity.y0.u.tolist() == [1.0, 2.0, 3.0] and identity.y0.t == 4.0
    assert identity.p.c == 0.0


# ---------------------------------------------------------------------------------------------------------- pullbacks
@pytest.mark.parametrize("options", [{}, {"checkpoints": 3}, {"checkpoints": 10}, {"schedule": Reloaded(10)}], ids=str)
def test_a_pullback_may_be_called_again(options):
    sim = simulation(10, **options)
    _, expected = sim.value_and_grad(Y0, P0)
    y0, p = State(Y0.u.copy(), *Y0[1:]), P0._replace(w=P0.w.copy())
    solution, pullback = sim.vjp(y0, p)
    y0.u[:] = np.nan  # a pullback has its own copies
    p.w[:] = np.nan
    solution.y.u[:] = np.nan
    solution.observations[:] = np.nan
    first = pullback()
    assert bits(first) == bits(expected)
    assert solution.ledger.forward_steps + first.ledger.forward_steps == expected.ledger.forward_steps
    first.y0.u[:] = np.nan
    for _ in range(2):
        again = pullback(value_bar=1.0)
        assert bits(again) == bits(expected)
        assert again.ledger.vjp_steps == 10
    kept = sim.checkpoints != 3
    assert again.ledger.forward_steps == (0 if kept else P(10, 3))
    assert again.ledger.forward_steps == again.ledger.recomputed_steps
    doubled = pullback(2.0)
    assert bits(doubled) == pytest.approx([2 * x for x in bits(expected)], rel=1e-14)
    nothing = pullback(value_bar=0.0)
    assert bits(nothing) == [0.0] * 12


def test_seeds_add_up():
    sim = simulation(7, checkpoints=2)
    _, pullback = sim.vjp(Y0, P0)
    rng = np.random.default_rng(0)
    y_bar = State(rng.normal(size=3), 0.7, None)
    o_bar = rng.normal(size=(4, 2))
    parts = [pullback(1.0), pullback(y_bar=y_bar), pullback(observations_bar=o_bar)]
    together = pullback(1.0, y_bar, o_bar)
    assert bits(together) == pytest.approx(np.sum([bits(g) for g in parts], axis=0), rel=1e-13)

    def weighed(y0, p):
        s = sim.run(y0, p)
        return float(s.y.u @ y_bar.u + s.y.t * y_bar.t + (s.observations * o_bar).sum())

    h = 1e-6
    slope = (weighed(Y0, P0._replace(c=P0.c + h)) - weighed(Y0, P0._replace(c=P0.c - h))) / (2 * h)
    assert parts[1].p.c + parts[2].p.c == pytest.approx(slope, rel=1e-8)


def test_bad_seeds():
    solution, pullback = adj.Simulation(stepper, 3).vjp(Y0, P0)
    with pytest.raises(ArgumentError, match="no cotangent"):
        pullback()
    with pytest.raises(ArgumentError, match="Got value_bar, but the simulation has no cost"):
        pullback(1.0)
    with pytest.raises(ArgumentError, match="no observe="):
        pullback(observations_bar=np.zeros(2))
    with pytest.raises(StructureError, match=r"Got y_bar.u of shape \(2,\), but expected shape \(3,\)"):
        pullback(y_bar=(np.zeros(2), 1.0, None))
    with pytest.raises(NonFiniteError, match="y_bar.t = nan"):
        pullback(y_bar=(np.zeros(3), np.nan, None))
    _, pullback = simulation(3).vjp(Y0, P0)
    with pytest.raises(StructureError, match=r"Got observations_bar of shape \(4,\), but expected shape \(3, 2\)"):
        pullback(observations_bar=np.zeros(4))
    with pytest.raises(StructureError, match="value_bar as a list"):
        pullback([1.0])


# ---------------------------------------------------------------------------------------------------------------- wrt
def test_wrt_selects():
    sim = simulation(5, checkpoints=2)
    _, full = sim.value_and_grad(Y0, P0)
    _, only = sim.value_and_grad(Y0, P0, wrt="p.c")
    assert only.y0 is None
    assert only.p == Params(full.p.c, None, None, None)
    _, only = sim.value_and_grad(Y0, P0, wrt=("y0.t", "p.w"))
    assert only.y0 == State(None, full.y0.t, None)
    assert np.array_equal(only.p.w, full.p.w) and only.p.c is None
    _, only = sim.value_and_grad(Y0, P0, wrt=["y0"])
    assert only.p is None and np.array_equal(only.y0.u, full.y0.u)


@pytest.mark.parametrize(
    ("wrt", "words"),
    [
        ("q", "Got wrt name 'q', but expected one of 'y0', 'y0.u', 'y0.t', 'y0.count', 'p', 'p.c'"),
        (("p.c", "p.z"), "Got wrt name 'p.z'"),
        ("p.k", "Got wrt name 'p.k', but it is int64"),
        ((), "at least one"),
        ("y", "Got wrt name 'y'"),
    ],
)
def test_names_that_wrt_does_not_know(wrt, words):
    with pytest.raises(ArgumentError) as error:
        simulation(3).value_and_grad(Y0, P0, wrt=wrt)
    assert words in str(error.value)


def test_wrt_in_plain_tuples():
    def double_vjp(n, y, p, b):
        return (b[0] * p[0], b[1]), (b[0] * y[0], (0, 0))

    double = adj.step(lambda n, y, p: (p[0] * y[0], y[1]), vjp=double_vjp, jit=False)
    sim = adj.Simulation(double, 3, terminal=lambda y, p: y[0] * p[1][1])
    value, grad = sim.value_and_grad((1.0, 2.0), (2.0, (3.0, 4.0)), wrt=("y0[0]", "p[1][1]"))
    assert value == 32.0
    assert grad.y0 == (32.0, None)
    assert grad.p == (None, (None, 8.0))


def test_y0_may_be_a_function():
    def start(p):
        u = np.empty(3)
        for i in range(3):
            u[i] = p.c * 0.1 * (i + 1)
        return State(u, p.c * p.w[2], 5)

    sim = simulation(6, checkpoints=2)
    value, grad = sim.value_and_grad(start, P0)
    same, fixed = sim.value_and_grad(start(P0), P0)
    assert value == same
    assert bits(grad)[:4] == bits(fixed)[:4]
    assert grad.p.c == pytest.approx(fixed.p.c + fixed.y0.u @ np.array([0.1, 0.2, 0.3]) + fixed.y0.t * P0.w[2], rel=1e-14)
    assert grad.p.w[2] == pytest.approx(fixed.p.w[2] + fixed.y0.t * P0.c, rel=1e-14)
    assert sim.plan(start, P0) == sim.plan(Y0, P0)


# --------------------------------------------------------------------------------------------------------------- rest
def test_threads_share_a_simulation():
    sim = simulation(20, checkpoints=3)
    inputs = [(Y0._replace(t=0.5 + 0.05 * i), P0) for i in range(8)]
    expected = [bits(sim.value_and_grad(*i)[1]) for i in inputs]
    _, pullback = sim.vjp(*inputs[0])
    found, pulled = [None] * 8, [None] * 8

    def work(i):
        found[i] = bits(sim.value_and_grad(*inputs[i])[1])
        pulled[i] = bits(pullback())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == expected
    assert pulled == [expected[0]] * 8


def test_hand_written_steps_may_be_compiled():
    compiled = adj.step(scaled, vjp=lambda n, y, p, b: (p * b, np.sum(y * b)))
    y0 = np.arange(4.0)
    a = adj.Simulation(compiled, 6, terminal=total, checkpoints=2).value_and_grad(y0, 0.5)
    b = adj.Simulation(scale, 6, terminal=total).value_and_grad(y0, 0.5)
    assert a[0] == b[0] and np.array_equal(a[1].y0, b[1].y0) and a[1].p == pytest.approx(b[1].p, rel=1e-15)
    assert np.array_equal(compiled(0, y0, 0.5), y0 / 2)


def test_hand_written_steps_have_no_tangent():
    with pytest.raises(UnsupportedError, match="scaled has a hand-written VJP, hence no JVP"):
        adj.Simulation(scale, 3, terminal=total).jvp(np.ones(2), 0.5, np.ones(2), 1.0)
    with pytest.raises(UnsupportedError):
        scale.jvp(0, np.ones(2), 0.5, None, 1.0)


def test_the_verbs_of_a_step():
    y_bar, p_bar = stepper.vjp(0, Y0, P0, State(np.array([1.0, 0.0, 0.0]), 2.0, None))
    assert isinstance(y_bar, State) and isinstance(p_bar, Params)
    assert y_bar.count is None and p_bar.c == 2.0 * Y0.t and not p_bar.unused.any()
    assert stepper(3, Y0, P0).count == 6
    assert stepper.__name__ == "hand_step" and stepper.__wrapped__ is hand_step and stepper.__adjointsim_function__ is hand_step
    assert "vjp by hand, jit=False" in repr(stepper)


def test_a_step_given_as_text():
    factor = 3.0
    text = """
        def tripled(n, y, p):
            return MODULE_FACTOR * y
    """
    global MODULE_FACTOR
    MODULE_FACTOR = factor
    text_step = adj.step(source=text, vjp=lambda n, y, p, b: (MODULE_FACTOR * b, None), jit=False)
    assert text_step(0, 2.0) == 6.0
    MODULE_FACTOR = 4.0  # names mean what they mean now
    assert text_step(0, 2.0) == 8.0
    assert adj.Simulation(text_step, 2, terminal=lambda y, p: y).value_and_grad(1.0)[1].y0 == 16.0
    assert "tripled" not in globals()
    with pytest.raises(ArgumentError, match="a function and source="):
        adj.step(scaled, source=text)
    with pytest.raises(SyntaxError):
        adj.step(source="def (")


MODULE_FACTOR = 0.0


def test_progress_is_told():
    calls = []
    sim = adj.Simulation(scale, 1000, terminal=total, checkpoints=4, progress=lambda done, total: calls.append((done, total)))
    _, pullback = sim.vjp(np.ones(2), 0.999)
    assert calls[-1] == (999, 999)
    for left in (P(1000, 4) - 999 + 1000, P(1000, 4) + 1000):
        calls.clear()
        pullback()
        assert 100 < len(calls) < 2000
        assert calls == sorted(set(calls))
        assert calls[-1] == (left, left)
    calls.clear()
    sim.value_and_grad(np.ones(2), 0.999)
    assert calls[-1] == (P(1000, 4) + 1000,) * 2


def test_a_bar_says_what_is_done(capsys):
    adj.Simulation(scale, 1000, terminal=total, checkpoints=4, progress=True).value_and_grad(np.ones(2), 0.999)
    shown = capsys.readouterr().err
    steps, again = P(1000, 4) + 1000, P(1000, 4) - 999
    assert f"999 forward, {again} recomputed, 1000 reversed" in shown and "100%" in shown
    assert f"{steps / 1000:.2f}k" in shown


def test_a_bar_needs_tqdm(monkeypatch, capsys):
    sim = adj.Simulation(scale, 10, terminal=total, progress=True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(MissingExtraError, match=r"adjointsim\[progress\]"):
        sim.run(np.ones(2), 0.5)


def test_parts_do_what_the_actions_do():
    actions = [(RECORD, 0, 7, 0), (REVERSE, 3, 7, 3), (LOAD, 0, 0, 0), (ADVANCE, 0, 2, -1), (REVERSE, 2, 3, -1)]
    actions += [(REVERSE, 0, 2, 0)]
    for limit in range(1, 9):
        machine, rows = Machine(7, 7), np.array(actions)
        while len(rows):
            reach = Limited(limit, print).reach(rows)
            part, rows = parted(rows, reach)
            assert len(part) and lengths(part).sum() <= limit
            for row in part.tolist():
                machine.do(tuple(row))
        assert machine.left == 0
        assert machine.forward_steps == 6 + 2
