"""States on a disk, and in storages of the user's: the same bits, and no more slots than were announced."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, bits, rods, swinging
from interrupted import all_bits, arrays

from adjointsim.errors import ArgumentError, MissingExtraError, StorageError
from adjointsim.schedules import Periodic, PeriodicDisk, TwoLevel
from adjointsim.storage import disk
from adjointsim.storage.compressed import Compressed


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
        return [*arrays(x.y0), *arrays(x.p)]
    if hasattr(x, "observations"):
        return [*arrays(x.y), *arrays(x.observations)]
    return arrays(x)


def test_a_schedule_for_a_disk_needs_one():
    with pytest.raises(ArgumentError, match="3 slots on a disk, but no directory="):
        rods(25, schedule=TwoLevel(25, 2, 3))


def test_slots_in_use(tmp_path, monkeypatch):
    """Never more than were announced, in either tier, and as many states go to the disk as the schedule says."""
    stored = []
    real = disk.Tier.write

    def write(self, slot, *args):
        stored.append(slot)
        return real(self, slot, *args)

    monkeypatch.setattr(disk.Tier, "write", write)
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


def test_a_storage_too_small_for_a_schedule():
    """Said before the first step, by a gradient and by a plan; a slot for tangents is twice as large."""
    schedule = TwoLevel(40, 2, 5)
    assert schedule.disk_slots == 5
    kept = Kept()
    kept.capacity = 5 * ROD.nbytes
    sim = rods(40, schedule=schedule, directory=kept)
    assert all_bits(sim.value_and_grad(ROD, RODS)) == all_bits(rods(40).value_and_grad(ROD, RODS))
    with pytest.raises(ArgumentError, match=r"5 slots on a disk for states of 80 bytes.*capacity=200 bytes.*not 400"):
        sim.hvp(ROD, RODS, ROD)
    kept.capacity -= 1
    calls = kept.calls
    for verb in (sim.value_and_grad, sim.plan, sim.vjp):
        with pytest.raises(ArgumentError, match=r"5 slots on a disk for states of 40 bytes.*capacity=199 bytes.*not 200"):
            verb(ROD, RODS)
    assert kept.calls == calls, "nothing was run"


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


def test_states_are_read_from_a_map_that_stays_out_of_memory(tmp_path):
    size = 2**23 + 8
    slots = disk.DiskSlots(tmp_path / "states", 3, size, {})
    states = np.random.default_rng(0).integers(0, 256, (3, size), np.uint8)
    for slot, state in enumerate(states):
        slots.write(slot, memoryview(state))
    for slot in (2, 0, 1, 2):
        back = np.empty(size, np.uint8)
        slots.read(slot, memoryview(back))
        assert np.array_equal(back, states[slot])
    maps = Path("/proc/self/smaps").read_text().split(f"{tmp_path / 'states'}\n")
    assert len(maps) == 2
    assert int(maps[1].split("Rss:")[1].split()[0]) <= 2**10  # kB
    slots.close()


@pytest.mark.parametrize("left", [0, 4096, 5000, 2 * 4096 + 100])
def test_a_file_that_was_cut_is_an_error_and_no_signal(tmp_path, left):
    path, state = tmp_path / "states", np.arange(600.0).view(np.uint8)
    slots = disk.DiskSlots(path, 2, state.size, {})
    slots.write(1, memoryview(state))
    os.truncate(path, left)
    with pytest.raises(OSError, match="states has been cut"):
        slots.read(1, memoryview(np.empty_like(state)))
    slots.close()


def test_a_file_that_was_cut_is_as_long_again_when_it_is_kept(tmp_path):
    path, state, back = tmp_path / "states", np.arange(600.0).view(np.uint8), np.empty(4800, np.uint8)
    slots = disk.DiskSlots(path, 3, state.size, {"run": 1})
    for slot in range(3):
        slots.write(slot, memoryview(state))
    slots.close()
    os.truncate(path, path.stat().st_size - 10_000)
    slots = disk.DiskSlots(path, 3, state.size, {"run": 1}, keep=True)
    slots.read(0, memoryview(back))
    assert np.array_equal(back, state)
    slots.read(2, memoryview(back))
    assert not back.any()  # its digest is another: see test_resume.py
    slots.close()


def test_a_state_of_no_bytes(tmp_path):
    slots = disk.DiskSlots(tmp_path / "states", 1, 0, {})
    slots.write(0, memoryview(np.empty(0, np.uint8)))
    slots.read(0, memoryview(np.empty(0, np.uint8)))
    slots.close()
