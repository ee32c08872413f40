"""Runs of unknown length in a directory: interrupted anywhere, they go on, and have the bits of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from derived import bits
from interrupted import EVERYTHING, ROD_PROGRAM, interrupted
from schedules.machine import Machine
from test_disk import Kept
from test_until import BOUND, MODELS, model  # noqa: F401  a fixture

import adjointsim as adj
from adjointsim import resume
from adjointsim.errors import ArgumentError, RestartError
from adjointsim.schedules import Action, Online, P
from adjointsim.schedules.online_disk import OnlineDisk
from adjointsim.storage import planner
from adjointsim.storage.restart import RunDirectory


# ---------------------------------------------------------------------------------------------------------- the schedule
def there_and_back(schedule, n):
    """Carry out what a run of n steps does, on a machine; the n of the states that are on the disk at its end."""
    machine = Machine(10**9, schedule.slots, schedule.disk_slots)
    machine.slots = {schedule.memory_slots + slot: m for m, slot in schedule.held}
    machine.current = schedule.current
    stream, rows = schedule.stream(), np.empty((8, 4), np.int64)
    while machine.current < n - 1 or stream.at < n:
        count = stream.forward(rows)
        for kind, a, b, slot in rows[:count].tolist():
            if kind != 1 or min(b, n - 1) > a:
                machine.do(Action(kind, a, min(b, n - 1) if kind == 1 else b, slot))
    stream.stop(n)
    machine.left, ends = n, sorted(stream.held)
    while count := stream.fill(rows):
        machine.run(map(Action._make, rows[:count].tolist()))
    assert machine.left == 0
    return ends, machine.forward_steps


@pytest.mark.parametrize("disk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("memory", [1, 4])
def test_every_end(disk, memory):
    for n in range(1, 150):
        ends, steps = there_and_back(OnlineDisk(n_steps=1000, memory_slots=memory, disk_slots=disk), n)
        gaps = np.diff([*ends, n - 1])
        assert ends[0] == 0 and len(ends) <= disk
        assert disk == 1 or max(gaps) <= 2 * -(-n // disk)
        assert steps == n - 1 + sum(P(int(gap), memory) for gap in gaps)


def test_going_on_is_as_if_nothing_had_been():
    for n in (9, 40, 77):
        for current in range(1, n):
            stream, rows = OnlineDisk(n_steps=1000, memory_slots=2, disk_slots=5).stream(), np.empty((8, 4), np.int64)
            while stream.at < current:
                stream.forward(rows)
            held = tuple(sorted(stream.held.items()))
            first = there_and_back(OnlineDisk(n_steps=1000, memory_slots=2, disk_slots=5), n)[0]
            rest = OnlineDisk(n_steps=1000, memory_slots=2, disk_slots=5, held=held, current=current)
            assert there_and_back(rest, n)[0] == first


def test_where_it_can_end():
    stream, rows = OnlineDisk(n_steps=10, memory_slots=2, disk_slots=3).stream(), np.empty((2, 4), np.int64)
    stream.forward(rows)
    with pytest.raises(ArgumentError, match=r"Got stop\(2\), but the last rows went from y_0 to y_1"):
        stream.stop(2)
    while stream.forward(rows):
        pass
    stream.stop(10)
    with pytest.raises(ArgumentError, match=r"Got stop\(10\)"):
        stream.stop(10)


# ------------------------------------------------------------------------------------------------------------ gradients
@pytest.fixture
def few(monkeypatch):
    """Four states on the disk."""
    monkeypatch.setattr(planner, "_ONLINE_SLOTS", 4)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 43, BOUND])
def test_the_same_bits(model, n, tmp_path, few):  # noqa: F811
    make, y0, p = model[0], model[1], model[2](n)
    expected = bits(*make(n).value_and_grad(y0, p))
    for options in ({}, {"checkpoints": 1}, {"checkpoints": 3}, {"memory": "30kB"}, {"schedule": Online(2)}):
        value, grad = make(directory=tmp_path, **options).value_and_grad(y0, p)
        assert bits(value, grad) == expected, options
        ledger = grad.ledger
        assert (ledger.n_steps, ledger.vjp_steps, ledger.schedule, ledger.disk_slots) == (n, n, "online-disk", 4)
        assert ledger.recomputed_steps == ledger.forward_steps - (n - 1)
        assert not any(tmp_path.iterdir()), "nothing is left"


def test_other_verbs_and_storages(model, tmp_path, few):  # noqa: F811
    make, y0, p = model
    sim, known = make(directory=tmp_path, checkpoints=2), make(20)
    _, pullback = sim.vjp(y0, p(20))
    expected = bits(0.0, known.vjp(y0, p(20))[1]())
    for _ in range(3):
        assert bits(0.0, pullback()) == expected
    kept = Kept()
    assert bits(*make(directory=kept, checkpoints=2).value_and_grad(y0, p(20))) == bits(*known.value_and_grad(y0, p(20)))
    assert kept.calls > 3
    assert "online-disk" in str(sim.plan(y0, p(20)))
    with pytest.raises(ArgumentError, match=f"did not end the run within n_steps={BOUND} steps"):
        sim.value_and_grad(y0, p(100))


@pytest.mark.parametrize("options", [{}, {"checkpoints": 2}], ids=["all", "few"])
def test_interrupted_after_any_record(model, options, tmp_path, monkeypatch, often, few):  # noqa: F811
    make, y0, p = model[0], model[1], model[2](20)
    n = 20
    expected = bits(*make(n).value_and_grad(y0, p))
    sim = make(directory=tmp_path, **options)
    k, ways = 1, set()
    while (at := interrupted(monkeypatch, sim, (y0, p), k)) is not None:
        found = sim.value_and_grad(y0, p)
        assert bits(*found) == expected, (k, at)
        ledger = found[1].ledger
        assert (ledger.n_steps, ledger.resumed_at) == (n, at[1])
        assert ledger.vjp_steps == (at[1] if at[0] else n)
        if not at[0]:
            assert ledger.recomputed_steps == ledger.forward_steps - (n - 1 - at[1]), "nothing on the way there is run again"
        assert not any(tmp_path.iterdir())
        ways.add(at[0])
        k += 1 if EVERYTHING else 3
    assert ways == {False, True} and k > n


def test_interrupted_again_and_again(model, tmp_path, monkeypatch, often, few):  # noqa: F811
    """One record further each time."""
    make, y0, p = model[0], model[1], model[2](30)
    expected = bits(*make(30).value_and_grad(y0, p))
    sim, places = make(directory=tmp_path, checkpoints=3), []
    while (at := interrupted(monkeypatch, sim, (y0, p), 2)) is not None:
        places.append(at)
        assert len(places) < 200
    back = [n for on, n in places if on]
    assert len(places) > 20 and back == sorted(back, reverse=True)
    assert not any(tmp_path.iterdir())
    assert bits(*sim.value_and_grad(y0, p)) == expected


def test_the_end_is_not_looked_for_again(tmp_path, monkeypatch, often, few):
    """A record of the way back has it: steps below it are run once more at most, and no others."""
    make, y0, p = model_of("array")
    sim, seen = make(directory=tmp_path, checkpoints=40), 0
    for k in range(40, 80, 6):
        at = interrupted(monkeypatch, sim, (y0, p(40)), k)
        assert at is not None
        ledger = sim.value_and_grad(y0, p(40))[1].ledger
        if at[0]:
            assert ledger.vjp_steps == at[1] and ledger.forward_steps < at[1]
            seen += 1
    assert seen > 2


def model_of(name):
    step, (run, end, see, fit), until, y0, p = MODELS[name]

    def make(**options):
        given = {"until": until, "running": run, "terminal": end, "observe": see, "misfit": fit, "observe_at": [0, 7], **options}
        return adj.Simulation(step, BOUND, **given)

    return make, y0, p


def test_nobody_looks_within_a_row(tmp_path, monkeypatch, often, few):
    """Where the run ends, the rows before are done, but the current state is another: a record of them would be wrong."""
    make, y0, p = model_of("array")
    looks = []

    def done(self, rows):
        looks.append((self.sweep.turned, self.sweep.executor.problem.known_end))

    monkeypatch.setattr(resume.Committer, "done", done)
    monkeypatch.setattr(resume.Committer, "reach", lambda self, rows: (len(rows), 0))
    make(directory=tmp_path).value_and_grad(y0, p(30))
    assert set(looks) == {(False, False), (True, True)}


def test_another_end_is_another_run(tmp_path, monkeypatch, often, few):
    make, y0, p = model_of("array")
    assert interrupted(monkeypatch, make(directory=tmp_path), (y0, p(30)), 5) is not None
    with pytest.raises(RestartError, match="until: .* there, .* here"):
        make(directory=tmp_path, until=lambda n, u, p: n >= 12).value_and_grad(y0, p(30))


def test_hvp_goes_on(tmp_path, monkeypatch, often, few):
    make, y0, p = model_of("numbers")
    p = p(20)
    expected = make().hvp(y0, p, y0, p)
    sim = make(directory=tmp_path, checkpoints=2)
    for k in (3, 33):
        with monkeypatch.context() as patch:
            patch.setattr(adj.Simulation, "value_and_grad", adj.Simulation.hvp)
            assert interrupted(patch, sim, (y0, p, y0, p), k) is not None
        found = sim.hvp(y0, p, y0, p)
        assert bits(0.0, found) == bits(0.0, expected) and found.ledger.resumed_at is not None


def test_damaged_states(tmp_path, monkeypatch, often, few):
    """Each slot in turn, y_0's too: longer segments, the same bits."""
    make, y0, p = model_of("array")
    expected = bits(*make().value_and_grad(y0, p(40)))
    sim = make(directory=tmp_path, checkpoints=2)
    for k in (20, 38, 60):
        for slot in range(5):
            assert interrupted(monkeypatch, sim, (y0, p(40)), k) is not None
            path = tmp_path / "adjointsim.states"
            content = bytearray(path.read_bytes())
            content[4096 * (slot + 1)] ^= 1
            path.write_bytes(content)
            assert bits(*sim.value_and_grad(y0, p(40))) == expected


def test_no_record_of_a_length_that_is_not_known(tmp_path, monkeypatch, often, few):
    """On the way there a record has the bound; on the way back, the length."""
    make, y0, p = model_of("array")
    found, real = set(), RunDirectory.commit

    def commit(self, record):
        found.add((record.back, record.numbers["n_steps"]))
        real(self, record)

    monkeypatch.setattr(RunDirectory, "commit", commit)
    make(directory=tmp_path).value_and_grad(y0, p(30))
    assert found == {(False, BOUND), (True, 30)}


PROGRAM = ROD_PROGRAM + """
def ended(n, u, p):
    return u[1500] > 1.7

sim = adj.Simulation(step, 100_000, terminal=last, checkpoints=20, until=ended, directory=sys.argv[1] or None)
print("ready", flush=True)
value, grad = sim.value_and_grad(np.sin(np.linspace(0.0, 3.0, 3000)), 0.2)
print(value.hex(), grad.y0.tobytes().hex()[:4000], float(grad.p).hex(), grad.ledger.n_steps, grad.ledger.resumed_at)
"""


@pytest.mark.parametrize("seed", range(20 if EVERYTHING else 2))
def test_killed(seed, tmp_path):
    """SIGKILL at random moments; the next process goes on, and has the bits of an undisturbed run."""
    program, room = tmp_path / "program.py", tmp_path / "room"
    program.write_text(textwrap.dedent(PROGRAM))
    room.mkdir()
    env = {**os.environ, "PYTHONPATH": str(Path(adj.__file__).parents[1])}

    def start(where):
        return subprocess.Popen([sys.executable, str(program), str(where)], env=env, stdout=subprocess.PIPE, text=True)

    start("").communicate()  # compiles
    began = time.monotonic()
    undisturbed = start("").communicate()[0].split()
    whole = time.monotonic() - began
    assert 500 < int(undisturbed[4]) < 5000
    rng = random.Random(seed)
    for _ in range(6):
        process = start(room)
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, whole))
        process.send_signal(signal.SIGKILL)
        out = process.communicate()[0]
        if process.returncode == 0:
            assert out.split()[:4] == undisturbed[1:5]
    out = start(room).communicate()[0].split()
    assert out[1:5] == undisturbed[1:5]
    assert not any(room.iterdir())
