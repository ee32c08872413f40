"""The replay check: steps that are not functions of (n, y, p) alone are found, all others never."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from models import scaled

import adjointsim as adj
from adjointsim import replay
from adjointsim.errors import ReplayMismatchError
from adjointsim.schedules import P
from adjointsim.storage.digest import digest

RNG = np.random.default_rng(3)


def total(y, p):
    return np.sum(y)


# --------------------------------------------------------------------------------------------------------------- impure steps
def python_step(what):
    """A step that adds what a function of n gives."""

    @adj.step(vjp=lambda n, y, p, y_bar: (p * y_bar, float(np.sum(y * y_bar))), jit=False)
    def step(n, y, p):
        return p * y + what(n)

    return step


def drifting():
    calls = itertools.count()
    return lambda n: 1e-13 * next(calls)


def noisy():
    rng = np.random.default_rng(1)
    return lambda n: rng.standard_normal()


@pytest.mark.parametrize("n, slots", [(5, 1), (7, 2), (20, 3), (64, 4), (200, 7)])
@pytest.mark.parametrize("make", [drifting, noisy])
def test_impure_steps_are_found(make, n, slots):
    sim = adj.Simulation(python_step(make()), n, terminal=total, checkpoints=slots)
    with pytest.raises(ReplayMismatchError, match=r"not a function of \(n, y, p\) alone.*recomputation") as caught:
        sim.value_and_grad(np.ones(3), 0.9)
    error = caught.value
    assert 0 <= error.begin < error.end < n == error.n_steps


def test_the_range_has_the_first_difference():
    """One call is other than the first time, of a step that is known; the state differs from there on."""
    n, slots = 40, 3
    found = 0
    for sound in range(n, n + P(n, slots)):
        calls: list[int] = []

        def what(m, sound=sound, calls=calls):
            calls.append(m)
            return 1e-3 * (len(calls) == sound)

        sim = adj.Simulation(python_step(what), n, terminal=total, checkpoints=slots)
        try:
            sim.value_and_grad(np.ones(2), 0.9)
        except ReplayMismatchError as error:
            found += 1
            assert error.begin <= calls[sound - 1] < error.end
    assert found > n // 2, found


@adj.custom_vjp
def shaken(x):
    return x * (1.0 + 1e-9 * np.random.random())


@shaken.defvjp
def shaken_vjp(out, bar, x):
    return (bar,)


@adj.step
def shaken_step(n, y, p):
    return shaken(y) * p


def test_a_custom_function_with_a_memory():
    """Compiled: what a step calls is looked into, but for custom functions."""
    with pytest.raises(ReplayMismatchError, match="shaken_step is not a function"):
        adj.Simulation(shaken_step, 30, terminal=lambda y, p: y, checkpoints=3).value_and_grad(1.0, 0.9)


def test_storing_everything_replays_nothing():
    value, _ = adj.Simulation(python_step(drifting()), 20, terminal=total).value_and_grad(np.ones(3), 0.9)
    assert np.isfinite(value)


# ----------------------------------------------------------------------------------------------------------------- pure steps
@pytest.mark.parametrize("n", [1, 2, 3, 10, 57])
def test_pure_steps_never(n, monkeypatch):
    """With a look at every state that it may look at."""
    monkeypatch.setattr(replay, "_FREE", 10**6)
    looks = []
    real = replay.Replay._compare

    def compare(self, n, rows):
        looks.append(n)
        real(self, n, rows)

    monkeypatch.setattr(replay.Replay, "_compare", compare)
    step = python_step(lambda n: 0.1 * n)
    expected = adj.Simulation(step, n, terminal=total).value_and_grad(np.ones(3), 0.9)
    for slots in range(1, n + 1):
        found = adj.Simulation(step, n, terminal=total, checkpoints=slots).value_and_grad(np.ones(3), 0.9)
        assert found[0] == expected[0] and found[1].y0.tobytes() == expected[1].y0.tobytes()
    assert len(looks) > n // 3 or n < 4


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_looks_change_no_bits(slots, monkeypatch):
    """Compiled, where states change buffers."""
    monkeypatch.setattr(replay.Replay, "_digest", replay.Replay._digest)
    expected = adj.Simulation(scaled, 100, terminal=total).value_and_grad(np.ones(3), 0.9)
    monkeypatch.setattr(replay, "_SHARE", 1e9)
    found = adj.Simulation(scaled, 100, terminal=total, checkpoints=slots).value_and_grad(np.ones(3), 0.9)
    assert found[0] == expected[0] and found[1].y0.tobytes() == expected[1].y0.tobytes() and found[1].p == expected[1].p


# -------------------------------------------------------------------------------------------------------------------- digests
@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "c8", "i8", "i4", "b1", "u1"])
def test_digests_tell_places_apart(dtype):
    """Of any size: another element, two exchanged, two with the other sign, another cut into leaves of other lengths."""
    for size in (1, 2, 3, 7, 8, 9, 64, 100):
        x = np.arange(1, size + 1).astype(dtype) if dtype != "b1" else np.arange(size) % 3 == 0
        known = {digest([x])}
        assert digest([x.copy()]) in known
        for k in range(size):
            y = x.copy()
            y[k] = not y[k] if dtype == "b1" else y[k] + 1
            known.add(digest([y]))
        assert len(known) == size + 1
    x = np.arange(1.0, 65.0)
    for i, j in itertools.combinations(range(64), 2):
        y, z = x.copy(), x.copy()
        y[[i, j]], z[[i, j]] = y[[j, i]], -z[[i, j]]
        assert len({digest([x]), digest([y]), digest([z])}) == 3
    assert digest([x[:3], x[3:]]) != digest([x[:4], x[4:]])


def test_digests_of_views_and_numbers():
    m = RNG.standard_normal((5, 6))
    assert digest([m.T]) == digest([m.T.copy()]) != digest([m])
    assert digest([np.float64(0.0)]) != digest([np.float64(-0.0)]) and digest([]) == digest([])
