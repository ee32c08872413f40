"""Calls repeated with something changed in between: what is kept from one to the next is never stale, never shared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from test_simulation_threads import together

import adjointsim as adj
from adjointsim import kit

FACTOR = 0.5
WEIGHTS = np.array([1.0, 2.0])
TABLE = np.array([0.25, 0.5, 0.125])


@adj.step
def scaled(n, y, p):
    return FACTOR * y + TABLE[n % len(TABLE)] * p


def weighted(y, p):
    total = 0.0
    for i in range(len(y)):
        total += WEIGHTS[i] * y[i] * y[i]
    return total


def seen(n, y, p):
    return y[: len(TABLE) - 1] * FACTOR


def squared(k, o, p):
    total = 0.0
    for i in range(len(o)):
        total += o[i] * o[i]
    return total


def model(n=4, **bounds):
    return adj.Simulation(scaled, n, terminal=weighted, observe=seen, observe_at=[0, 2, n], misfit=squared, **bounds)


def found(sim, y0, p, **wrt):
    value, grad = sim.value_and_grad(y0, p, **wrt)
    return value, grad.y0, grad.p


def same(one, other):
    """The same value and gradient, bit for bit."""
    for a, b in zip(one, other, strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def plainly(y0, p, n=4):
    """The value and its derivatives, written out for what the globals are now."""
    ys, table, weights = [np.asarray(y0, float)], TABLE, WEIGHTS
    for k in range(n):
        ys.append(FACTOR * ys[-1] + table[k % len(table)] * p)
    cut = min(len(table) - 1, len(ys[0]))
    value = float((weights[: len(ys[0])] * ys[n] ** 2).sum()) + sum(float(((FACTOR * ys[k][:cut]) ** 2).sum()) for k in (0, 2, n))
    bar, p_bar = 2 * weights[: len(ys[0])] * ys[n], 0.0

    def observed(k):
        o = np.zeros_like(ys[0])
        o[:cut] = 2 * FACTOR**2 * ys[k][:cut]
        return o

    bar = bar + observed(n)
    for k in reversed(range(n)):
        p_bar += table[k % len(table)] * bar.sum()
        bar = FACTOR * bar + (observed(k) if k in (0, 2) else 0.0)
    return value, bar, p_bar


def right(sim, y0, p):
    value, y_bar, p_bar = found(sim, y0, p)
    expected = plainly(y0, p)
    assert value == pytest.approx(expected[0], rel=1e-14)
    assert y_bar == pytest.approx(expected[1], rel=1e-14) and p_bar == pytest.approx(expected[2], rel=1e-14)


def test_captured_things_change_between_calls(monkeypatch):
    """A number, an array in place, another array, one of another length: from which the length of an observation follows."""
    here, sim, y0 = globals(), model(), np.array([0.3, 0.5])
    right(sim, y0, 0.7)
    monkeypatch.setitem(here, "FACTOR", 0.25)
    right(sim, y0, 0.7)
    monkeypatch.setitem(here, "WEIGHTS", np.array([3.0, 1.0]))
    right(sim, y0, 0.7)
    WEIGHTS[1] = 7.0
    right(sim, y0, 0.7)
    monkeypatch.setitem(here, "TABLE", np.array([0.5, 2.0]))
    assert sim.run(y0, 0.7).observations.shape == (3, 1)
    right(sim, y0, 0.7)
    monkeypatch.setitem(here, "TABLE", np.array([0.5, 2.0, 0.25]))
    right(sim, y0, 0.7)
    with monkeypatch.context() as now:
        now.setitem(here, "TABLE", np.array([1.0, 2.0, 3.0])[::-1])  # read where it lies, whatever its layout
        right(sim, y0, 0.7)
    monkeypatch.setitem(here, "FACTOR", 2)  # an integer: another derivation
    right(sim, y0, 0.7)
    monkeypatch.setitem(here, "FACTOR", np.float32(0.5))
    value, *_ = found(sim, y0, 0.7)
    assert value == pytest.approx(plainly(y0, 0.7)[0], rel=1e-6)


def test_the_costs_of_a_simulation_may_be_replaced():
    sim, y0 = model(), np.array([0.3, 0.5])
    expected = found(sim, y0, 0.7)
    sim.terminal = lambda y, p: y[0] * p
    value, grad = sim.value_and_grad(y0, 0.7)
    assert value != expected[0]
    sim.misfit, sim.observe_at = None, np.array([0, 1], np.int64)
    assert sim.value_and_grad(y0, 0.7)[0] == pytest.approx(sim.run(y0, 0.7).y[0] * 0.7)
    assert sim.run(y0, 0.7).observations.shape == (2, 2)
    sim.n_steps = 1
    assert sim.run(y0, 0.7).y == pytest.approx(0.5 * y0 + 0.25 * 0.7)
    assert grad.ledger.n_steps == 4


class Pair(NamedTuple):
    a: float
    b: np.ndarray


@adj.step
def paired(n, y, p):
    return y * p.a + p.b


def last(y, p):
    return 1.0 * y[0] * y[1]


def test_another_wrt_dtype_shape_and_structure_each_time():
    """Each call as if it were the first."""
    y0, p = np.array([0.5, 0.25]), Pair(0.5, np.array([1.0, 2.0]))
    sim = adj.Simulation(paired, 3, terminal=last)
    calls = [
        (y0, p, ("y0", "p")), (y0, p, "p.a"), (y0, p, ("p.b", "y0")), (y0, p, "y0"), (y0, p, ["p"]),
        (y0.astype(np.float32), p, "y0"), (y0, p._replace(b=p.b.astype(np.float32)), ("y0", "p")),
        (np.array([0.5, 0.25, 0.125]), Pair(0.5, np.array([1.0, 2.0, 3.0])), ("y0", "p")),
        (y0, Pair(0.5, np.array([2.0])), ("y0", "p")),  # broadcast
        (y0[::-1], p, ("y0", "p")), (y0.astype(">f8"), p, ("y0", "p")), (y0, Pair(np.float64(0.5), p.b), ("y0", "p")),
        (y0, Pair(2, p.b), ("y0", "p")), (y0, Pair(True, p.b), ("y0", "p")),
    ]  # fmt: skip
    alone = [adj.Simulation(paired, 3, terminal=last).value_and_grad(*c) for c in calls]
    for k in (*range(len(calls)), *reversed(range(len(calls))), *range(len(calls))):
        value, grad = sim.value_and_grad(*calls[k])
        same((value, grad.y0), (alone[k][0], alone[k][1].y0))
        if alone[k][1].p is None:
            assert grad.p is None
            continue
        for mine, other in zip(grad.p, alone[k][1].p, strict=True):
            assert (mine is None) == (other is None)
            if mine is not None:
                same((mine,), (other,))


def test_wrong_arguments_after_right_ones():
    sim, y0 = model(), np.array([0.3, 0.5])
    expected = found(sim, y0, 0.7)
    for wrong, p, error in (
        (np.array([0.3, np.nan]), 0.7, adj.errors.NonFiniteError), (y0, np.inf, adj.errors.NonFiniteError),
        ([0.3, 0.5], 0.7, adj.errors.StructureError), (np.ma.masked_array(y0), 0.7, adj.errors.StructureError),
        (y0, "0.7", adj.errors.StructureError), (y0.astype(np.float16), 0.7, adj.errors.StructureError),
    ):  # fmt: skip
        with pytest.raises(error):
            sim.value_and_grad(wrong, p)
    same(found(sim, y0, 0.7), expected)
    with pytest.raises(adj.errors.ArgumentError, match=r"p\.c"):
        sim.value_and_grad(y0, 0.7, wrt="p.c")


def test_what_is_handed_out_is_the_users():
    """Results written by the user, and inputs overwritten after a call, change nothing in the next call nor in earlier results."""  # noqa: E501
    sim, y0 = model(checkpoints=2), np.array([0.3, 0.5])
    expected = found(sim, y0.copy(), 0.7)
    one = sim.value_and_grad(y0, 0.7)[1]
    solution = sim.run(y0, 0.7)
    _, pullback = sim.vjp(y0, 0.7)
    kept = solution.y.copy(), solution.observations.copy()
    y0[:] = 9.0
    again = pullback()
    same((again.y0, again.p), expected[1:])
    one.y0[:] = np.nan
    same(found(sim, np.array([0.3, 0.5]), 0.7), expected)
    same((solution.y, solution.observations), kept)


def test_an_initial_state_that_is_a_function():
    sim = model()

    def early(p):
        return np.array([p, 0.5])

    def late(p):
        return np.array([0.3, p])

    for initial, y0, k in ((early, [0.7, 0.5], 0), (late, [0.3, 0.7], 1), (early, [0.7, 0.5], 0)):
        value, y_bar, p_bar = found(sim, initial, 0.7)
        expected = found(sim, np.array(y0), 0.7)
        same((value, y_bar), expected[:2])
        assert p_bar == expected[2] + expected[1][k]


def test_a_cost_that_runs_a_simulation_of_its_own():
    """The hand-written VJP of a step makes calls of the same model inside."""
    inner, y0 = model(), np.array([0.3, 0.5])

    def outer_vjp(n, y, p, y_next_bar):
        grad = inner.value_and_grad(y, p)[1]
        return y_next_bar[0] * grad.y0, y_next_bar[0] * grad.p

    @adj.step(vjp=outer_vjp, jit=False)
    def outer(n, y, p):
        return np.array([inner.value_and_grad(y, p)[0], 0.5])

    sim = adj.Simulation(outer, 2, terminal=last)
    first = found(sim, y0, 0.7)
    alone = found(inner, y0, 0.7)
    then = found(inner, np.array([alone[0], 0.5]), 0.7)
    assert first[0] == pytest.approx(0.5 * then[0], rel=1e-14)
    assert first[1] == pytest.approx(0.5 * then[1][0] * alone[1], rel=1e-13)
    same(found(sim, y0, 0.7), first)


def test_threads_with_other_arguments_at_a_time():
    """Calls in flight share what is known of a model and no memory."""
    sims = [model(), model(7, checkpoints=2)]
    inputs = [(np.linspace(0.1, 0.2 + 0.1 * k, 2), 0.5 + 0.1 * k) for k in range(6)]
    expected = [[found(sim, *i) for i in inputs] for sim in sims]

    def work(k):
        return [found(sims[j % 2], *inputs[(k + j) % 6]) for j in range(60)]

    for k, results in enumerate(together(work, 6)):
        for j, result in enumerate(results):
            same(result, expected[j % 2][(k + j) % 6])


def test_other_numbers_of_steps_use_the_same_kernels():
    """What is made for a model does not depend on how many steps there are."""
    y0 = np.array([0.3, 0.5])
    found(model(4), y0, 0.7)
    made = len(kit._kits)
    for n in (5, 9, 30):
        found(model(n), y0, 0.7)
    assert len(kit._kits) == made
