"""Every state in memory and some on a disk: nothing is run twice, and what is on the disk is every k-th state."""

from __future__ import annotations

import numpy as np
import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import StoreAll, StoreAllDisk, actions
from adjointsim.schedules.verify import Verifier

from .machine import check
from .quick import run


@pytest.mark.parametrize("n", [0, 1, 2, 7, 12, 30])
def test_small_schedules(n):
    for period in range(1, n + 2):
        schedule = StoreAllDisk(n, period=period)
        machine = check(schedule)
        assert machine.forward_steps == max(n - 1, 0) and machine.disk_reads == 0
        assert machine.disk_writes == schedule.disk_slots == max(-(-n // period) - 1, 0)
        assert {slot: held for slot, held in machine.slots.items() if slot >= n} == {
            n + j: (j + 1) * period for j in range(schedule.disk_slots)
        }
        assert {slot: held for slot, held in machine.slots.items() if slot < n} == {k: k for k in range(n)}


def test_all_periods():
    for n in range(1, 120):
        for period in range(1, n + 1):
            schedule = StoreAllDisk(n, period=period)
            done = run(schedule)
            assert (done.used, done.disk_used, done.disk_reads) == (n, schedule.disk_slots, 0)


def test_the_period_follows_from_the_room():
    assert (StoreAllDisk(1600).period, StoreAllDisk(1600).disk_slots) == (100, 15)
    assert StoreAllDisk(5).disk_slots == 4
    for n in (2, 5, 40, 1000):
        for room in range(40):
            schedule = StoreAllDisk(n, room)
            assert schedule.disk_slots <= min(room, 15)
            assert schedule.period == -(-n // min(16, room + 1))
    assert list(actions(StoreAllDisk(9, 0))) == list(actions(StoreAll(9)))


def test_the_actions_of_seven_steps():
    assert [str(action) for action in actions(StoreAllDisk(7, period=3))] == [
        "RECORD(0, 3, 0)", "ADVANCE(2, 3, -1)", "STORE(3, 3, 7)", "RECORD(3, 6, 3)", "ADVANCE(5, 6, -1)", "STORE(6, 6, 8)",
        "RECORD(6, 7, 6)", "REVERSE(0, 7, 0)",
    ]  # fmt: skip


def test_the_verifier_agrees():
    schedule = StoreAllDisk(23, period=4)
    verifier = Verifier(23, schedule.slots, schedule.disk_slots)
    verifier(np.array(list(actions(schedule)), np.int64))
    assert verifier.left == 0


def test_a_billion_steps():
    schedule = StoreAllDisk(10**9, 100)
    assert (schedule.disk_slots, schedule.slots) == (15, 10**9 + 15)
    assert schedule.stream().state.size < 10 and len(list(actions(schedule))) == 3 * 15 + 2


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="disk_slots=2, but expected at least 3 for n_steps=12 and period=3"):
        StoreAllDisk(12, 2, 3)
    with pytest.raises(ArgumentError, match="period=-1"):
        StoreAllDisk(12, period=-1)
    with pytest.raises(ArgumentError, match="disk_slots=-1"):
        StoreAllDisk(12, -1)
