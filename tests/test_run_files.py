"""The files of a run in its directory: whose they are, what is damaged or in the way, and what is left when it ends."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, rods, swinging
from interrupted import EVERYTHING, all_bits, interrupted, left_by
from models import scale_vjp, scaled, total

import adjointsim as adj
from adjointsim import resume
from adjointsim.errors import NonFiniteError, RestartError, RestartWarning, StorageError
from adjointsim.schedules import PeriodicDisk, TwoLevel
from adjointsim.storage import disk
from adjointsim.storage.restart import Record, RunDirectory


def test_another_run_is_refused(tmp_path, monkeypatch, often):
    left_by(rods(40, directory=tmp_path, checkpoints=3), tmp_path, monkeypatch, (ROD, RODS))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    others = {
        "p": (rods(40, directory=tmp_path), (ROD, RODS._replace(r=0.22))),
        "y0": (rods(40, directory=tmp_path), (ROD + 1e-16 * np.arange(5), RODS)),
        "n_steps": (rods(41, directory=tmp_path), (ROD, RODS)),
        "step": (swinging(40, directory=tmp_path), (SWING, SWINGS)),
    }
    for name, (sim, args) in others.items():
        with pytest.raises(RestartError, match=f"{name}: .* there, .* here") as caught:
            sim.value_and_grad(*args)
        assert name in caught.value.fields
    monkeypatch.setattr(resume, "version", lambda name: "0.0.1")
    with pytest.raises(RestartError, match=r"adjointsim: .* there, 0\.0\.1 here"):
        rods(40, directory=tmp_path).value_and_grad(ROD, RODS)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {k: v for k, v in after.items() if "lock" not in k} == {k: v for k, v in before.items() if "lock" not in k}


def test_compiled_or_not_is_another_run(tmp_path, monkeypatch, often):
    def made(jit):
        return adj.Simulation(adj.step(scaled, vjp=scale_vjp, jit=jit), 20, terminal=total, directory=tmp_path, checkpoints=3)

    left_by(made(False), tmp_path, monkeypatch, (np.ones(3), 0.9), 15)
    with pytest.raises(RestartError, match="jit: False there, True here") as caught:
        made(True).value_and_grad(np.ones(3), 0.9)
    assert list(caught.value.fields) == ["jit"]


@pytest.mark.parametrize("seed", range(40 if EVERYTHING else 8))
def test_damaged_files(seed, tmp_path, monkeypatch, often):
    """Flipped bits and files that were cut: an earlier record, or a run from the beginning, and never another gradient."""
    rng = random.Random(seed)
    expected = all_bits(rods(40).value_and_grad(ROD, RODS))
    sim = rods(40, directory=tmp_path, checkpoints=3)
    left_by(sim, tmp_path, monkeypatch, (ROD, RODS), rng.randint(10, 80))
    names = rng.sample(["adjointsim.record.0", "adjointsim.record.1", "adjointsim.states"], rng.randint(1, 3))
    for name in names:
        path = tmp_path / name
        content = bytearray(path.read_bytes())
        if rng.random() < 0.3:
            content = content[: rng.randrange(len(content))]
        else:
            for _ in range(rng.choice((1, 1000))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert all_bits(sim.value_and_grad(ROD, RODS)) == expected
    damaged = [name for name in names if "record" in name]
    assert [w.category for w in said] == [RestartWarning] * bool(damaged)
    for w in said:
        assert ("anew" if len(damaged) == 2 else "the other one") in str(w.message)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("schedule", [PeriodicDisk(40, 2, 3), TwoLevel(40, 2, 3), PeriodicDisk(40, 3, 6)])
def test_the_first_state_is_lost_after_a_second_start(schedule, tmp_path, monkeypatch, often):
    """All slots of the disk are in use then, and y_0 takes one of them."""
    expected = all_bits(rods(40).value_and_grad(ROD, RODS))
    sim = rods(40, directory=tmp_path, schedule=schedule)
    assert interrupted(monkeypatch, sim, (ROD, RODS), 30) is not None
    assert interrupted(monkeypatch, sim, (ROD, RODS), 9) is not None
    content = bytearray((tmp_path / "adjointsim.states").read_bytes())
    at = content.find(ROD.tobytes())
    content[at] ^= 1
    (tmp_path / "adjointsim.states").write_bytes(content)
    assert all_bits(sim.value_and_grad(ROD, RODS)) == expected


def test_records_of_all_lengths_are_damaged():
    record = Record(True, 3, {"k": 1}, [np.arange(3.0), None, np.float64(2.0)], {1: (4, 5)})
    content = record.content({"a": "b"})
    again, identity = Record.parse(content)
    assert identity == {"a": "b"} and again.slots == record.slots and again.arrays[0].tolist() == [0.0, 1.0, 2.0]
    assert again.arrays[1] is None and again.arrays[2].shape == ()
    for size in range(len(content)):
        with pytest.raises(ValueError, match="damaged"):
            Record.parse(content[:size])
    for at in range(len(content)):
        with pytest.raises(ValueError, match="damaged"):
            Record.parse(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])


def test_two_at_once(tmp_path):
    run = RunDirectory(tmp_path, {})
    with pytest.raises(StorageError, match=rf"in use by process {os.getpid()} on .*, since"):
        rods(20, directory=tmp_path, checkpoints=2).value_and_grad(ROD, RODS)
    run.close(done=True)
    rods(20, directory=tmp_path, checkpoints=2).value_and_grad(ROD, RODS)


def test_a_lock_that_is_forgotten_is_let_go(tmp_path):
    """As after Ctrl-C between two lines."""
    run = RunDirectory(tmp_path, {})
    with pytest.warns(ResourceWarning, match="adjointsim.lock"):
        del run
        gc.collect()
    rods(20, directory=tmp_path, checkpoints=2).value_and_grad(ROD, RODS)


def test_nothing_is_left_of_a_run_that_overflows(tmp_path, often):
    """It would overflow again; other parameters may follow in the same directory."""
    sim = rods(60, directory=tmp_path, checkpoints=3)
    with pytest.raises(NonFiniteError):
        sim.value_and_grad(ROD, RODS)
    assert not any(tmp_path.iterdir())
    sim.value_and_grad(0.1 * ROD, RODS)


def test_foreign_files_stay(tmp_path, monkeypatch, often):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "adjointsim.notes").write_text("mine, too")
    sim = rods(40, directory=tmp_path, checkpoints=3)
    left_by(sim, tmp_path, monkeypatch, (ROD, RODS))
    sim.value_and_grad(ROD, RODS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adjointsim.notes", "notes.txt"]


def test_files_that_cannot_be_removed(tmp_path, monkeypatch, often):
    """The gradient is there all the same, and the directory is not in use any more."""
    expected = all_bits(rods(20).value_and_grad(ROD, RODS))
    sim = rods(20, directory=tmp_path, checkpoints=2)

    def denied(*args, **options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, pytest.warns(RestartWarning, match=r"its files stay .*Permission denied.*remove"):
        patch.setattr(Path, "unlink", denied)
        assert all_bits(sim.value_and_grad(ROD, RODS)) == expected
    assert all_bits(sim.value_and_grad(ROD, RODS)) == expected
    assert not any(tmp_path.iterdir())


def test_interrupted_at_the_end(tmp_path, monkeypatch, often):
    """While the second tier is closed: the next call finds nobody in the directory."""
    expected = all_bits(rods(20).value_and_grad(ROD, RODS))
    sim = rods(20, directory=tmp_path, checkpoints=2)

    def stop(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(disk.Tier, "close", stop)
        sim.value_and_grad(ROD, RODS)
    assert all_bits(sim.value_and_grad(ROD, RODS)) == expected


def test_no_room(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        rods(40, directory=tmp_path, checkpoints=3).value_and_grad(ROD, RODS)
    assert not [path for path in tmp_path.iterdir() if "states" in path.name]


def test_no_room_for_a_record(tmp_path, monkeypatch, often):
    """At each of them; the records before are whole, and the next call goes on."""
    expected = all_bits(rods(20).value_and_grad(ROD, RODS))
    sim = rods(20, directory=tmp_path, checkpoints=2)
    real = os.fsync
    failed = 0
    while True:
        left = iter(range(4))  # so many go well

        def full(file, left=left):
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            real(file)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            try:
                found = sim.value_and_grad(ROD, RODS)
                break
            except OSError as error:
                assert any("an earlier record is still there" in note for note in error.__notes__)
                assert not list(tmp_path.glob("*.new"))
                failed += 1
    assert failed > 5 and all_bits(found) == expected
    assert not any(tmp_path.iterdir())


def test_a_file_of_ours_that_is_a_link(tmp_path):
    other = tmp_path / "other"
    other.write_text("theirs")
    for name in ("adjointsim.lock", "adjointsim.states", "adjointsim.record.0", "adjointsim.record.1.new"):
        (tmp_path / name).symlink_to(other)
        with pytest.raises(StorageError, match=f"{name} is a symbolic link"):
            rods(5, directory=tmp_path).value_and_grad(ROD, RODS)
        (tmp_path / name).unlink()
    assert other.read_text() == "theirs"


@pytest.mark.parametrize("kind", ["folder", "named pipe", "socket"])
@pytest.mark.parametrize("name", ["adjointsim.lock", "adjointsim.states", "adjointsim.record.0", "adjointsim.record.1.new"])
def test_something_else_where_a_file_of_ours_will_be(kind, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with contextlib.ExitStack() as stack:
        if kind == "folder":
            (tmp_path / name).mkdir()
        elif kind == "named pipe":
            os.mkfifo(name)
        else:
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(name)
        with pytest.raises(StorageError, match=rf"{tmp_path}/{name} is a {kind}.*remove it, or name another directory="):
            rods(5, directory=tmp_path).value_and_grad(ROD, RODS)
    assert [path.name for path in tmp_path.iterdir()] == [name], "it is still there, and nothing else"


@pytest.mark.parametrize("name", ["adjointsim.lock", "adjointsim.record.0"])
def test_a_file_that_cannot_be_read(name, tmp_path, monkeypatch, often):
    sim = rods(40, directory=tmp_path, checkpoints=3)
    left_by(sim, tmp_path, monkeypatch, (ROD, RODS))
    before = {path.name for path in tmp_path.iterdir()}

    def denying(real):
        def opened(path, *args):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied")
            return real(path, *args)

        return opened

    with monkeypatch.context() as patch, pytest.raises(StorageError, match=rf"{tmp_path}/{name} cannot be used .*remove it"):
        patch.setattr(os, "open", denying(os.open))
        patch.setattr(Path, "read_bytes", denying(Path.read_bytes))
        sim.value_and_grad(ROD, RODS)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert sim.value_and_grad(ROD, RODS)[1].ledger.resumed_at is not None


# ------------------------------------------------------------------------------------------------- an end by an exception
class Failing:
    """A step in Python that raises at its k-th call."""

    def __init__(self, error):
        self.error, self.left = error, 10**9
        self.step = adj.step(self._step, vjp=lambda n, y, p, bar: (p * bar, float(np.sum(y * bar))), jit=False)

    def _step(self, n, y, p):
        self.left -= 1
        if not self.left:
            raise self.error
        return p * y

    def simulation(self, n, directory):
        return adj.Simulation(self.step, n, terminal=lambda y, p: float(np.sum(y * y)), checkpoints=2, directory=directory)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()], ids=["exception", "ctrl-c"])
@pytest.mark.parametrize("call", [1, 7, 20])
def test_nothing_is_left_before_the_first_record(call, error, tmp_path):
    """There is nothing to go on with; what is not ours stays."""
    (tmp_path / "notes.txt").write_text("mine")
    failing = Failing(error)
    sim = failing.simulation(20, tmp_path)
    expected = all_bits(failing.simulation(20, None).value_and_grad(np.ones(3), 0.9))
    failing.left = call
    with pytest.raises(type(error)) as caught:
        sim.value_and_grad(np.ones(3), 0.9)
    assert caught.value is error
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert all_bits(sim.value_and_grad(np.ones(3), 0.9)) == expected
    failing.left = call
    with pytest.raises(type(error)):  # other parameters: the directory is free
        sim.value_and_grad(np.ones(3), 0.8)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()], ids=["exception", "ctrl-c"])
def test_after_a_record_all_stays(error, tmp_path, often):
    left = 0

    def report(done, total):
        nonlocal left
        left -= 1
        if not left:
            raise error

    sim = rods(20, directory=tmp_path, checkpoints=2, progress=report)
    expected = all_bits(rods(20).value_and_grad(ROD, RODS))
    for left in (10, 5):
        with pytest.raises(type(error)):
            sim.value_and_grad(ROD, RODS)
        assert {"adjointsim.record.0", "adjointsim.states"} <= {path.name for path in tmp_path.iterdir()}
    found = sim.value_and_grad(ROD, RODS)
    assert all_bits(found) == expected and found[1].ledger.resumed_at is not None


def test_a_run_of_another_kind_is_not_removed(tmp_path, monkeypatch, often):
    """Whoever is refused leaves everything as it was."""
    left_by(rods(40, directory=tmp_path, checkpoints=3), tmp_path, monkeypatch, (ROD, RODS))
    names = {path.name for path in tmp_path.iterdir()}
    failing = Failing(ValueError("mine"))
    failing.left = 1
    with pytest.raises(RestartError):
        failing.simulation(20, tmp_path).value_and_grad(np.ones(3), 0.9)
    assert {path.name for path in tmp_path.iterdir()} == names
