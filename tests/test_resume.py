"""Runs that are interrupted anywhere, and go on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import routed
from derived import ROD, RODS, SWING, SWINGS, bits, rods, swinging
from interrupted import EVERYTHING, ROD_PROGRAM, all_bits, interrupted

import adjointsim as adj
from adjointsim.schedules import StoreAll, TwoLevel


@pytest.mark.parametrize("options", [{}, {"checkpoints": 2}, {"schedule": TwoLevel(20, 2, 3)}], ids=["all", "few", "levels"])
def test_interrupted_after_any_record(model, options, tmp_path, monkeypatch, often):
    make, y0, p = model
    n = 20
    expected = all_bits(make(n).value_and_grad(y0, p))
    sim = make(n, directory=tmp_path, **options)
    k, ways = 1, set()
    while (at := interrupted(monkeypatch, sim, (y0, p), k)) is not None:
        found = sim.value_and_grad(y0, p)
        assert all_bits(found) == expected, (k, at)
        assert found[1].ledger.resumed_at == at[1] and found[1].ledger.vjp_steps == (at[1] if at[0] else n)
        assert not any(tmp_path.iterdir())
        ways.add(at[0])
        k += 1 if EVERYTHING else 3
    assert ways == {False, True} and k > n


@pytest.mark.parametrize("options", [{}, {"checkpoints": 3}], ids=["all", "few"])
def test_what_a_vjp_reads_of_the_next_state_is_had_again(options, tmp_path, monkeypatch, often):
    n = 11
    expected = all_bits(routed.simulation(routed.STEPS["saturated"], n).value_and_grad(routed.Y0, routed.P))
    sim = routed.simulation(routed.STEPS["saturated"], n, directory=tmp_path, **options)
    back = set()
    for k in range(2, 60, 3):
        at = interrupted(monkeypatch, sim, (routed.Y0, routed.P), k)
        if at is None:
            break
        assert all_bits(sim.value_and_grad(routed.Y0, routed.P)) == expected, at
        back.add(at[0])
    assert back == {False, True}


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_last_step_is_left(model, n, tmp_path, monkeypatch, often):
    """Nothing is on the disk but y_0, which is not current any more."""
    make, y0, p = model
    expected = all_bits(make(n).value_and_grad(y0, p))
    sim, k, places = make(n, directory=tmp_path, schedule=StoreAll(n)), 1, set()
    while (at := interrupted(monkeypatch, sim, (y0, p), k)) is not None:
        assert all_bits(sim.value_and_grad(y0, p)) == expected, at
        places.add(at)
        k += 1
    assert (False, n - 1) in places


def test_interrupted_again_and_again(model, tmp_path, monkeypatch, often):
    """One record further each time."""
    make, y0, p = model
    expected = all_bits(make(30).value_and_grad(y0, p))
    sim = make(30, directory=tmp_path, checkpoints=3)
    places = []
    while (at := interrupted(monkeypatch, sim, (y0, p), 2)) is not None:
        places.append(at)
        assert len(places) < 200
    assert len(places) > 20
    back = [n for on, n in places if on]
    assert back == sorted(back, reverse=True), "the way back goes on"
    assert not any(tmp_path.iterdir())
    assert all_bits(sim.value_and_grad(y0, p)) == expected


def test_another_budget_goes_on(tmp_path, monkeypatch, often):
    expected = all_bits(rods(44).value_and_grad(ROD, RODS))
    for k in (5, 30, 60):
        assert interrupted(monkeypatch, rods(44, directory=tmp_path, checkpoints=4), (ROD, RODS), k) is not None
        found = rods(44, directory=tmp_path, checkpoints=11).value_and_grad(ROD, RODS)
        assert all_bits(found) == expected and found[1].ledger.resumed_at is not None


def test_hvp_goes_on(tmp_path, monkeypatch, often):
    expected = swinging(20).hvp(SWING, SWINGS, SWING, SWINGS)
    sim = swinging(20, directory=tmp_path, checkpoints=2)
    for k in (3, 30):
        with monkeypatch.context() as patch:
            patch.setattr(adj.Simulation, "value_and_grad", adj.Simulation.hvp)
            assert interrupted(patch, sim, (SWING, SWINGS, SWING, SWINGS), k) is not None
        found = sim.hvp(SWING, SWINGS, SWING, SWINGS)
        assert bits(0.0, found) == bits(0.0, expected) and found.ledger.resumed_at is not None


def test_no_step_is_lost(tmp_path, monkeypatch, often):
    """After an interruption one segment is run again, no more than that."""
    n, period = 44, 4
    sim = rods(n, directory=tmp_path, checkpoints=4)
    plain = sim.value_and_grad(ROD, RODS)[1].ledger.forward_steps
    for k in range(2, 60, 7):
        at = interrupted(monkeypatch, sim, (ROD, RODS), k)
        assert at is not None
        done = sim.value_and_grad(ROD, RODS)[1].ledger
        if at[0]:
            assert done.forward_steps <= 2 * at[1] + period
        else:
            assert done.forward_steps <= plain - at[1] + 2 * period


def test_what_is_left_uses_the_disk(tmp_path, monkeypatch, often):
    """Whatever the schedule was: the steps that are left are not run much more often than they would have been."""
    schedule = TwoLevel(200, 2, 12)
    sim = swinging(200, directory=tmp_path, schedule=schedule)
    assert interrupted(monkeypatch, sim, (SWING, SWINGS), 5) is not None
    assert sim.value_and_grad(SWING, SWINGS)[1].ledger.forward_steps < 2 * schedule.forward_steps


# ---------------------------------------------------------------------------------------------------------------- processes
PROGRAM = ROD_PROGRAM + """
sim = adj.Simulation(step, 3000, terminal=last, checkpoints=20, directory=sys.argv[1] or None)
print("ready", flush=True)
value, grad = sim.value_and_grad(np.sin(np.linspace(0.0, 3.0, 3000)), 0.2)
print(value.hex(), grad.y0.tobytes().hex()[:4000], float(grad.p).hex(), grad.ledger.resumed_at)
"""


@pytest.mark.parametrize("seed", range(30 if EVERYTHING else 2))
def test_killed(seed, tmp_path):
    """SIGKILL at random moments; the next process goes on, and has the bits of an undisturbed run."""
    program, room = tmp_path / "program.py", tmp_path / "room"
    program.write_text(textwrap.dedent(PROGRAM))
    room.mkdir()
    env = {**os.environ, "PYTHONPATH": str(Path(adj.__file__).parents[1])}

    def start(where):
        return subprocess.Popen([sys.executable, str(program), str(where)], env=env, stdout=subprocess.PIPE, text=True)

    began = time.monotonic()
    undisturbed = start("").communicate()[0].split()
    whole = time.monotonic() - began
    rng, kills = random.Random(seed), 0
    for _ in range(6):
        process = start(room)
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, whole))
        process.send_signal(signal.SIGKILL)
        out = process.communicate()[0]
        if process.returncode == 0:
            assert out.split()[:3] == undisturbed[1:4]
        kills += process.returncode != 0
    out = start(room).communicate()[0].split()
    assert out[1:4] == undisturbed[1:4]
    assert not any(room.iterdir())
