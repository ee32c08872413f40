"""Runs in a directory: what is stored on the disk, and runs that are interrupted anywhere and go on."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, bits, rods, swinging
from models import P0, Y0, scale_vjp, scaled, simulation, total

import adjointsim as adj
from adjointsim import resume
from adjointsim.errors import ArgumentError, MissingExtraError, NonFiniteError, RestartError, RestartWarning, StorageError
from adjointsim.schedules import Periodic, PeriodicDisk, StoreAll, TwoLevel
from adjointsim.storage import disk
from adjointsim.storage.compressed import Compressed
from adjointsim.storage.restart import Record, RunDirectory

EVERYTHING = os.environ.get("CORPUS") == "all"
MODELS = {
    "numbers": (swinging, SWING, SWINGS),
    "array": (rods, ROD, RODS),
    "python": (simulation, Y0, P0),
}


@pytest.fixture(params=MODELS)
def model(request):
    """(simulation of n steps, y0, p)."""
    return MODELS[request.param]


@pytest.fixture
def often(monkeypatch):
    """A record after every step."""
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(resume, "_SHARE", 1e9)


class Stop(BaseException):
    """An end without notice."""


def all_bits(found):
    value, grad = found
    arrays = [*_arrays(grad.y0), *_arrays(grad.p)]
    return np.float64(value).tobytes(), [a.tobytes() for a in arrays]


def _arrays(x):
    if isinstance(x, tuple):
        return [a for part in x for a in _arrays(part)]
    return [] if x is None else [np.asarray(x)]


# --------------------------------------------------------------------------------------------------------- the second tier
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 40])
def test_the_same_bits(model, n, tmp_path):
    make, y0, p = model
    expected = all_bits(make(n).value_and_grad(y0, p))
    bounds = [{}, *({"checkpoints": s} for s in (1, 2, 5)), {"memory": "30kB"}]
    bounds += [{"schedule": TwoLevel(n, 2, 3, write=1, read=2, forward=1)}, {"schedule": PeriodicDisk(n, 2, 2)}]
    bounds += [{"schedule": PeriodicDisk(n, 1, period=4)}, {"schedule": Periodic(n, 0)}]
    for options in bounds:
        found = make(n, directory=tmp_path, **options).value_and_grad(y0, p)
        assert all_bits(found) == expected, options
        assert not any(tmp_path.iterdir()), "nothing is left"


def test_all_verbs(tmp_path):
    plain, stored = swinging(25), swinging(25, directory=tmp_path, checkpoints=2)
    for sim in (stored, swinging(25, schedule=TwoLevel(25, 2, 3), directory=str(tmp_path))):
        for verb, args in {"hvp": (SWING, SWINGS), "jacobian": (SWING, "y0"), "run": ()}.items():
            args = {"hvp": (SWING, SWINGS), "jacobian": ("y0", "reverse"), "run": ()}[verb]
            ours, theirs = (getattr(s, verb)(SWING, SWINGS, *args) for s in (sim, plain))
            for a, b in zip(_numbers(ours), _numbers(theirs), strict=True):
                assert a.tobytes() == b.tobytes(), verb
        _, pullback = sim.vjp(SWING, SWINGS)
        _, other = plain.vjp(SWING, SWINGS)
        for _ in range(3):
            assert bits(0.0, pullback()) == bits(0.0, other())
        del pullback
        assert not any(tmp_path.iterdir())


def _numbers(x):
    if hasattr(x, "y0"):
        return [*_arrays(x.y0), *_arrays(x.p)]
    if hasattr(x, "observations"):
        return [*_arrays(x.y), *_arrays(x.observations)]
    return _arrays(x)


def test_a_schedule_for_a_disk_needs_one():
    with pytest.raises(ArgumentError, match="3 slots on a disk, but no directory="):
        rods(25, schedule=TwoLevel(25, 2, 3))


def test_slots_in_use(tmp_path, monkeypatch):
    """Never more than were announced, in either tier, and as many states go to the disk as the schedule says."""
    stored = []
    real = disk.Tier.store

    def store(self, slot, n, state):
        stored.append(slot)
        real(self, slot, n, state)

    monkeypatch.setattr(disk.Tier, "store", store)
    for n, memory, count in ((40, 2, 3), (40, 5, 2), (43, 3, 6)):
        stored.clear()
        schedule = TwoLevel(n, memory, count)
        _, grad = rods(n, schedule=schedule, directory=tmp_path).value_and_grad(ROD, RODS)
        assert (grad.ledger.slots, grad.ledger.disk_slots) == (memory, schedule.disk_slots)
        assert grad.ledger.forward_steps == schedule.forward_steps
        assert len(stored) == schedule.counts.writes and set(stored) <= set(range(schedule.disk_slots))


def test_reports_do_not_pass_over_the_disk():
    """No state but y_0 is on the disk, and nothing is run again: only the bar looks at the sweep, every few steps."""
    n, seen = 1100, []
    schedule = TwoLevel(n, n - 2, 1, write=0, read=0)
    assert schedule.counts.writes == schedule.counts.reads == 1 and schedule.forward_steps == n - 1
    sim = swinging(n, schedule=schedule, directory=Kept(), progress=lambda done, total: seen.append(done))
    assert all_bits(sim.value_and_grad(SWING, SWINGS)) == all_bits(swinging(n).value_and_grad(SWING, SWINGS))
    assert 10 < len(seen) < n


class Kept:
    """A storage of the user's."""

    capacity = 10**6

    def __init__(self, fails=0, code=28):
        self.states, self.fails, self.calls, self.code = {}, fails, 0, code

    def _count(self):
        self.calls += 1
        if self.calls == self.fails:
            raise OSError(self.code, os.strerror(self.code))

    def write(self, slot, state):
        self._count()
        self.states[slot] = bytes(state)

    def read(self, slot, state):
        self._count()
        state[:] = self.states[slot]


def test_a_storage_of_the_users(model):
    make, y0, p = model
    expected = all_bits(make(40).value_and_grad(y0, p))
    kept = Kept()
    assert all_bits(make(40, checkpoints=2, directory=kept).value_and_grad(y0, p)) == expected
    assert kept.calls > 10
    for fails in range(1, kept.calls + 1):  # a full disk at each call
        sim = make(40, checkpoints=2, directory=Kept(fails))
        with pytest.raises(OSError, match="No space left") as caught:
            sim.value_and_grad(y0, p)
        assert any("adjointsim: raised while" in note for note in caught.value.__notes__)
        assert all_bits(sim.value_and_grad(y0, p)) == expected, "and again, when there is room"


def test_a_storage_that_forgets():
    kept = Kept()
    real = kept.read

    def read(slot, state):
        real(slot, state)
        state[3] ^= 1

    kept.read = read
    with pytest.raises(StorageError, match="does not hold what was stored there"):
        rods(40, checkpoints=2, directory=kept).value_and_grad(ROD, RODS)


def test_compressed(model, tmp_path, monkeypatch):
    make, y0, p = model
    expected = all_bits(make(40).value_and_grad(y0, p))
    kept = Compressed(tmp_path, "1MB")
    for _ in range(2):
        assert all_bits(make(40, checkpoints=2, directory=kept).value_and_grad(y0, p)) == expected
    assert kept.raw > 0 and kept.stored > 0
    kept.close()
    assert not any(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"adjointsim\[compress\]"):
        Compressed(tmp_path, "1MB")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 4096, 100_003])
def test_compressed_bytes(size, tmp_path):
    kept = Compressed(tmp_path, 10**6)
    smooth = np.sin(np.linspace(0.0, 1.0, size // 8 + 1)).view(np.uint8)[:size].copy()
    for state in (smooth, np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)):
        kept.write(3, memoryview(state))
        found = np.empty_like(state)
        kept.read(3, memoryview(found))
        assert found.tobytes() == state.tobytes()
    (Path(kept._folder.name) / "slot.3").write_bytes(kept._compressor.compress(b"x" * (size + 1)))
    with pytest.raises(OSError, match="has .* bytes, not"):
        kept.read(3, memoryview(smooth))
    kept.close()


@pytest.mark.parametrize("bad", [3, b"", object()])
def test_no_directory(bad):
    with pytest.raises(ArgumentError, match="Got directory="):
        rods(5, directory=bad)


def test_directories_that_cannot_be_used(tmp_path, monkeypatch):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("")
    link.symlink_to(tmp_path)
    for path, said in ((tmp_path / "none", "no such"), (file, "not a directory"), (link, "symbolic link")):
        with pytest.raises(ArgumentError, match=said):
            rods(5, directory=path)
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(ArgumentError, match="cannot be written"):
        rods(5, directory=tmp_path)


def test_a_file_of_ours_that_is_a_link(tmp_path):
    other = tmp_path / "other"
    other.write_text("theirs")
    for name in ("adjointsim.lock", "adjointsim.states", "adjointsim.record.0", "adjointsim.record.1.new"):
        (tmp_path / name).symlink_to(other)
        with pytest.raises(StorageError, match=f"{name} is a symbolic link"):
            rods(5, directory=tmp_path).value_and_grad(ROD, RODS)
        (tmp_path / name).unlink()
    assert other.read_text() == "theirs"


# ------------------------------------------------------------------------------------------------------------ interrupted
def interrupted(monkeypatch, sim, args, k):
    """Run until just after the k-th record; whether it came that far."""
    real, written = RunDirectory.commit, []

    def commit(self, record):
        real(self, record)
        written.append((record.back, record.n))
        if len(written) == k:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "commit", commit)
        try:
            sim.value_and_grad(*args)
        except Stop:
            return written[-1]
    return None


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
    for k in (3, 40):
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


# ------------------------------------------------------------------------------------------------------ refused, damaged
def left_by(sim, tmp_path, monkeypatch, args, k=30):
    assert interrupted(monkeypatch, sim, args, k) is not None
    assert {path.name for path in tmp_path.iterdir()} >= {"adjointsim.record.0", "adjointsim.record.1", "adjointsim.states"}


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


# ---------------------------------------------------------------------------------------------------------------- processes
PROGRAM = """
import sys
import numpy as np
import adjointsim as adj
from adjointsim import resume

resume.SECONDS, resume._SHARE = 0.01, 1e9

@adj.step
def step(n, u, p):
    out = np.empty_like(u)
    out[0], out[-1] = u[0], u[-1]
    for i in range(1, len(u) - 1):
        out[i] = u[i] + p * (u[i - 1] - 2.0 * u[i] + u[i + 1]) + 1e-3 * np.sin(u[i])
    return out

def last(u, p):
    return np.sum(u * u)

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
