"""Short simulations, whose gradients are computed at once: the bits and the errors of a sweep, call after call."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim import at_once as module
from adjointsim.call import Call
from adjointsim.engine import CompiledExecutor
from adjointsim.errors import NonFiniteError

GAIN = np.array([0.9, 1.1, 1.0])


class P(NamedTuple):
    a: float
    k: np.ndarray


@adj.step
def rotate(n, y, p):
    out = np.empty_like(y)
    for i in range(len(y)):
        out[i] = y[i] + p.a * np.sin(y[i - 1]) * p.k[i] * GAIN[i]
    return out


def terminal(y, p):
    return np.sum(y**2) * p.a


def running(n, y, p):
    return 0.1 * y[0] ** 2 + n * p.k[1] * 1e-3


def observe(n, y, p):
    return y[1:] * p.a


def misfit(k, seen, p):
    return np.sum((seen - 0.1 * k) ** 2)


COSTS = {
    "terminal": {"terminal": terminal}, "running": {"running": running},
    "misfit": {"observe": observe, "misfit": misfit, "observe_at": [0, 3, 3, 7]},
    "misfit at the end": {"observe": observe, "misfit": misfit, "observe_at": [2, 9]},
    "all": {"terminal": terminal, "running": running, "observe": observe, "misfit": misfit, "observe_at": [0, 4, 9]},
    "seen only": {"terminal": terminal, "observe": observe, "observe_at": [9]},
}  # fmt: skip
Y0, PAR = np.array([0.3, -0.2, 0.5]), P(0.07, np.array([1.0, 1.5, 0.5]))


def bits(result):
    value, grad = result
    parts = [np.float64(value), grad.y0, np.float64(grad.p.a), grad.p.k]
    return b"".join(np.asarray(part).tobytes() for part in parts)


def swept(sim, y0, p, wrt=("y0", "p")):
    """What a sweep gives, with somebody watching."""
    return adj.Simulation(
        sim.step, sim.n_steps, terminal=sim.terminal, running=sim.running, observe=sim.observe, misfit=sim.misfit,
        observe_at=sim.observe_at if sim.observe is not None else None, progress=lambda done, total: None,
    ).value_and_grad(y0, p, wrt)  # fmt: skip


@pytest.fixture
def counted(monkeypatch):
    """How many gradients were computed at once, and how many were not."""
    found = []
    original = module.gradient_at_once

    def counting(call: Call):
        done = original(call)
        found.append(done is not None)
        return done

    monkeypatch.setattr("adjointsim.simulation.gradient_at_once", counting)
    return found


@pytest.mark.parametrize("costs", COSTS.values(), ids=COSTS)
def test_the_bits_of_a_sweep_call_after_call(costs, counted):
    sim = adj.Simulation(rotate, 9, **costs)
    rng = np.random.default_rng(3)
    kept = []
    for k in range(4):
        y0, p = Y0 + 0.1 * rng.normal(size=3), P(PAR.a + 0.01 * k, PAR.k + 0.1 * rng.normal(size=3))
        before = y0.copy(), p.k.copy()
        got = sim.value_and_grad(y0, p)
        kept.append((got, bits(got)))
        assert bits(got) == bits(swept(sim, y0, p))
        assert (y0 == before[0]).all() and (p.k == before[1]).all()
    assert all(bits(got) == then for got, then in kept)  # nothing that was returned is written again
    assert counted == [True, False] * 4


def test_other_lengths_and_times_one_after_the_other(counted):
    for n in (1, 9, 5, 12, 2):
        sim = adj.Simulation(rotate, n, terminal=terminal, observe=observe, misfit=misfit, observe_at=[0, n // 2, n])
        assert bits(sim.value_and_grad(Y0, PAR)) == bits(swept(sim, Y0, PAR))
    assert counted == [True, False] * 5


@pytest.mark.parametrize("costs", [*COSTS.values(), {}], ids=[*COSTS, "none"])
def test_runs_have_the_bits_of_a_sweep(costs):
    sim = adj.Simulation(rotate, 9, **costs)
    slow = adj.Simulation(rotate, 9, **costs, progress=lambda done, total: None)
    kept = []
    for k in range(4):
        y0, p = Y0 + 0.1 * k, P(PAR.a + 0.01 * k, PAR.k)
        own, other = sim.run(y0, p), slow.run(y0, p)
        assert own.value == other.value
        assert own.y.tobytes() == other.y.tobytes()
        assert repr(own.observations) == repr(other.observations)
        for name in ("schedule", "slots", "forward_steps", "recomputed_steps", "vjp_steps", "bytes_planned", "bytes_peak"):
            assert getattr(own.ledger, name) == getattr(other.ledger, name), name
        kept.append((own, own.y.tobytes(), repr(own.observations)))
    assert all(own.y.tobytes() == y and repr(own.observations) == seen for own, y, seen in kept)


def test_parts_of_what_is_asked_for():
    sim = adj.Simulation(rotate, 9, **COSTS["all"])
    sim.value_and_grad(Y0, PAR)
    for wrt in ("y0", "p.k", ("y0", "p.a"), "p"):
        (value, grad), (expected, other) = sim.value_and_grad(Y0, PAR, wrt), swept(sim, Y0, PAR, wrt)
        assert value == expected
        assert repr(grad.y0) == repr(other.y0)
        assert repr(grad.p) == repr(other.p)


def test_the_ledger_is_that_of_storing_all():
    sim = adj.Simulation(rotate, 9, **COSTS["all"])
    for _ in range(2):
        own, other = sim.value_and_grad(Y0, PAR)[1].ledger, swept(sim, Y0, PAR)[1].ledger
        for name in ("schedule", "slots", "forward_steps", "recomputed_steps", "vjp_steps", "bytes_planned", "estimated"):
            assert getattr(own, name) == getattr(other, name), name
        assert own.bytes_peak == other.bytes_peak
        assert own.seconds > 0


def test_globals_are_looked_up_in_every_call(monkeypatch):
    sim = adj.Simulation(rotate, 9, terminal=terminal)
    first = bits(sim.value_and_grad(Y0, PAR))
    monkeypatch.setitem(globals(), "GAIN", np.array([0.5, 0.6, 0.7]))
    second = sim.value_and_grad(Y0, PAR)
    assert bits(second) == bits(swept(sim, Y0, PAR)) != first


@adj.step
def growing(n, y, p):
    k, x = 0, y
    while x < p and k < 300:
        x = x * 1.01 + 0.001 * np.sin(x)
        k += 1
    return x * 0.5


def last(y, p):
    return y * y


def test_tapes_that_become_longer():
    sim = adj.Simulation(growing, 40, terminal=last)
    for p in (0.2, 5.0, 0.3, 9.0, 9.0):
        value, grad = sim.value_and_grad(0.1, p)
        other = adj.Simulation(growing, 40, terminal=last, checkpoints=4).value_and_grad(0.1, p)
        assert (value, grad.y0, grad.p) == (other[0], other[1].y0, other[1].p)


@adj.step
def bounded(n, y, p):
    if y > 2.0:
        raise ValueError("too large")
    return y * p


def test_errors_are_those_of_a_sweep():
    sim = adj.Simulation(bounded, 6, terminal=last)
    assert sim.value_and_grad(1.0, 1.1)[0] > 1
    for _ in range(2):
        with pytest.raises(ValueError, match="too large") as caught:
            sim.value_and_grad(1.0, 1.3)
        assert any("raised in step n=3 of 6 (forward sweep)" in note for note in caught.value.__notes__)
    assert sim.value_and_grad(1.0, 1.1)[0] == pytest.approx(1.1**12, rel=1e-14)


@adj.step
def rooted(n, y, p):
    return np.sqrt(y) * p


def test_what_is_not_finite_is_named():
    sim = adj.Simulation(rooted, 3, terminal=last)
    with pytest.raises(NonFiniteError, match="step n=0"):
        sim.value_and_grad(-1.0, 1.0)
    with pytest.raises(NonFiniteError, match="reverse sweep"):
        adj.Simulation(rooted, 3, terminal=lambda y, p: np.sqrt(y)).value_and_grad(0.0, 1.0)


def test_threads_have_memory_of_their_own():
    sim = adj.Simulation(rotate, 9, **COSTS["all"])
    points = [P(0.01 * k, PAR.k * (1 + 0.1 * k)) for k in range(40)]
    expected = [bits(sim.value_and_grad(Y0, p)) for p in points]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: bits(sim.value_and_grad(Y0, p)), points * 5))
    assert found == expected * 5


def test_nothing_of_a_call_is_held():
    class Mine(np.ndarray):
        pass

    sim = adj.Simulation(rotate, 9, terminal=terminal)
    k = PAR.k.view(Mine)
    seen = weakref.ref(k)
    grad = sim.value_and_grad(Y0, P(0.1, k))[1]
    own = weakref.ref(grad.p.k)
    del k, grad
    gc.collect()
    assert seen() is None
    assert own() is None


@adj.step
def crowded(n, y, p):
    table = np.empty((len(y), 2000))
    for i in range(len(y)):
        for j in range(2000):
            table[i, j] = np.sin(y[i] * j * p)
    out = y.copy()
    for i in range(len(y)):
        for j in range(1, 2000):
            out[i] += 1e-9 * table[i, j] * table[i, j - 1]
    return out


def test_much_memory_is_not_kept(monkeypatch):
    kept, real = [], CompiledExecutor.put_back
    monkeypatch.setattr(CompiledExecutor, "put_back", lambda self: kept.append(self) or real(self))
    y0 = np.linspace(0.1, 1.0, 400)
    adj.Simulation(crowded, 2, terminal=lambda y, p: np.sum(y)).value_and_grad(y0, 0.1)
    adj.Simulation(rotate, 3, terminal=terminal).value_and_grad(Y0, PAR)
    assert kept[0].bytes_taken > 2**22
    assert kept[0]._kit.idle == []
    assert kept[1]._kit.idle == [kept[1]]
