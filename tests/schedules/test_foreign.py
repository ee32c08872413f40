"""Schedules of other packages, from stand-ins for the actions of ``checkpoint_schedules``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import pytest

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules import (
    ADVANCE,
    LOAD,
    RECORD,
    REVERSE,
    STORE,
    Binomial,
    Listed,
    P,
    Periodic,
    StoreAll,
    TwoLevel,
    actions,
    from_actions,
)  # fmt: skip

from .quick import run


class Storage(Enum):
    RAM = 0
    DISK = 1
    WORK = -1
    NONE = None


RAM, DISK, WORK, NONE = Storage


class Forward(NamedTuple):
    n0: Any
    n1: Any
    write_ics: bool
    write_adj_deps: bool
    storage: Storage


class Reverse(NamedTuple):
    n1: int
    n0: int
    clear_adj_deps: bool = True


class Copy(NamedTuple):
    n: int
    from_storage: Storage
    to_storage: Storage


class Move(NamedTuple):
    n: int
    from_storage: Storage
    to_storage: Storage


class EndForward(NamedTuple):
    pass


class EndReverse(NamedTuple):
    pass


def told(schedule: Any) -> Iterator[Any]:
    """One of our schedules in the words of the other package, step by step."""
    memory = schedule.slots - schedule.disk_slots
    held: dict[int, int] = {}  # the n of the state in each slot
    current, tier = 0, NONE  # where the current state shall be stored
    for kind, a, b, slot in actions(schedule):
        if kind == STORE:
            held[slot], tier = a, RAM if slot < memory else DISK
        elif kind == LOAD:
            yield Copy(a, RAM if slot < memory else DISK, WORK)
            current, tier = a, NONE
        elif kind == ADVANCE:
            yield Forward(a, b, tier is not NONE, False, tier)
            current, tier = b, NONE
        elif kind == RECORD:
            for n in range(a, b):
                fresh = held.get(slot + n - a) != n
                held[slot + n - a] = n
                current, tier = n, RAM if fresh else NONE
                if n < b - 1:
                    yield Forward(n, n + 1, fresh, False, RAM)
        else:
            for n in range(b - 1, a - 1, -1):
                if n != current:
                    yield Move(n, RAM, WORK)
                yield Forward(n, n + 1, False, True, WORK)
                if n == schedule.n_steps - 1:
                    yield EndForward()
                yield Reverse(n + 1, n)
                current = -1
    yield EndReverse()


@pytest.mark.parametrize("s", [1, 2, 3, 5, 12])
def test_binomial_schedules_come_back(s):
    for n in range(1, 61):
        schedule = from_actions(told(Binomial(n, s)), n, s)
        assert run(schedule).forward_steps == P(n, s)
        assert schedule.slots <= s and schedule.disk_slots == 0


@pytest.mark.parametrize("schedule", [TwoLevel(60, 2, 3), TwoLevel(100, 5, 4, write=3), TwoLevel(31, 1, 2, read=0)], ids=repr)
def test_schedules_of_two_tiers_come_back(schedule):
    again = from_actions(told(schedule), schedule.n_steps, schedule.memory_slots, schedule.disk_slots)
    done, was = run(again), run(schedule)
    assert again.disk_slots == was.disk_used
    assert (done.forward_steps, done.disk_writes, done.disk_reads) == (was.forward_steps, was.disk_writes, was.disk_reads)


class Offline:
    """Stands for HRevolve (6 steps, one slot in RAM, two on disk): a state that is on disk is copied to RAM by the run."""

    max_n = 6

    def finalize(self, n: int) -> None:
        raise AssertionError("the number of steps is known")

    def __iter__(self) -> Iterator[Any]:
        yield Forward(0, 3, True, False, DISK)
        yield Forward(3, 5, True, False, RAM)
        yield Forward(5, 6, False, True, WORK)
        yield EndForward()
        yield Reverse(6, 5)
        yield Copy(3, RAM, WORK)
        yield Forward(3, 4, False, False, WORK)
        yield Forward(4, 5, False, True, WORK)
        yield Reverse(5, 4)
        yield Move(3, RAM, WORK)
        yield Forward(3, 4, False, True, WORK)
        yield Reverse(4, 3)
        yield Copy(0, DISK, WORK)
        yield Forward(0, 2, True, False, RAM)
        yield Forward(2, 3, False, True, WORK)
        yield Reverse(3, 2)
        yield Copy(0, RAM, WORK)
        yield Forward(0, 1, False, False, WORK)
        yield Forward(1, 2, False, True, WORK)
        yield Reverse(2, 1)
        yield Move(0, RAM, WORK)
        yield Forward(0, 1, False, True, WORK)
        yield Reverse(1, 0)
        yield EndReverse()


def test_a_schedule_in_memory_and_on_disk():
    schedule = from_actions(Offline(), 6, 1, 1)
    assert (schedule.name, schedule.slots, schedule.disk_slots) == ("Offline", 2, 1)
    assert [str(action) for action in actions(schedule)] == [
        "STORE(0, 0, 1)", "ADVANCE(0, 3, -1)", "STORE(3, 3, 0)", "ADVANCE(3, 5, -1)", "REVERSE(5, 6, -1)",
        "LOAD(3, 3, 0)", "ADVANCE(3, 4, -1)", "REVERSE(4, 5, -1)", "REVERSE(3, 4, 0)",
        "LOAD(0, 0, 1)", "STORE(0, 0, 0)", "ADVANCE(0, 2, -1)", "REVERSE(2, 3, -1)",
        "LOAD(0, 0, 0)", "ADVANCE(0, 1, -1)", "REVERSE(1, 2, -1)", "REVERSE(0, 1, 0)",
    ]  # fmt: skip


class Everything:
    """Stands for SingleMemoryStorageSchedule, which does not know where the run ends until it is told."""

    max_n: int | None = None

    def finalize(self, n: int) -> None:
        self.max_n = n

    def __iter__(self) -> Iterator[Any]:
        yield Forward(0, sys.maxsize, False, True, WORK)
        yield EndForward()
        while True:
            yield Reverse(self.max_n, 0)
            yield EndReverse()


class Segments(Everything):
    """Every third state on disk, for a run of unknown length, and the data of a segment at a time."""

    def __iter__(self) -> Iterator[Any]:
        n = 0
        while self.max_n is None:
            yield Forward(n, n + 3, True, False, DISK)
            n += 3
        yield EndForward()
        for first in range(n - 3, -1, -3):
            last = min(first + 3, self.max_n)
            yield Copy(first, DISK, WORK)
            yield Forward(first, last, False, True, WORK)
            yield Reverse(last, first)
        yield EndReverse()


@pytest.mark.parametrize("n", [1, 2, 9, 1000])
def test_storing_everything(n):
    schedule = from_actions(Everything(), n)
    assert schedule.name == "Everything"
    assert run(schedule).forward_steps == n - 1
    assert n == 1 or list(actions(schedule)) == list(actions(StoreAll(n)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 9, 31])
def test_a_schedule_that_is_told_the_end(n):
    schedule = from_actions(Segments(), n)
    done, periodic = run(schedule), Periodic(n, period=3)
    assert schedule.disk_slots == done.disk_writes == -(-n // 3)
    assert schedule.slots - schedule.disk_slots <= 3
    assert done.forward_steps <= periodic.forward_steps + 2  # there, the last segment is recorded in the first sweep


def test_mixed_data_and_slots_used_again():
    """A slot is given back and taken again for data of the same step: nothing is written."""
    plan = [
        Forward(0, np.int64(3), True, False, DISK), Forward(np.int64(3), 4, False, True, DISK), Forward(4, 5, False, True, WORK),
        EndForward(), Reverse(5, 4), Move(np.int64(3), DISK, WORK), Reverse(4, 3), Move(0, DISK, WORK),
        Forward(0, 1, False, True, DISK), Forward(1, 2, False, True, DISK), Forward(2, 3, False, True, WORK), Reverse(3, 2),
        Move(1, DISK, WORK), Reverse(2, 1), Move(0, DISK, WORK), Reverse(1, 0), EndReverse(),
    ]  # fmt: skip
    schedule = from_actions(plan, 5, 0, 2)
    done = run(schedule)
    assert (done.forward_steps, done.disk_writes, done.disk_reads) == (P(5, 2), 3, 4)


@pytest.mark.parametrize(
    "plan, words",
    [
        ([Forward(0, 3, False, False, NONE), EndForward(), Reverse(3, 2)], "y_2 is not there"),
        ([Forward(0, 2, True, False, RAM), Forward(1, 3, False, True, WORK)], "the run is at y_2 of 3"),
        ([Copy(1, RAM, WORK)], "y_1 is not there"),
        ([Forward(0, 3, False, True, WORK), Reverse(2, 1)], "the next to be reversed is another"),
        ([Forward(0, 3, True, False, RAM), Move(0, RAM, NONE), Move(0, RAM, WORK)], "y_0 is not there"),
        ([Forward(0, 3, False, True, RAM), Reverse(3, 2), Forward(3, 4, False, False, WORK)], "the run is at"),
        ([Forward(0, 3, False, True, WORK), Reverse(3, 1), EndReverse()], "leave 1 of 3 steps"),
        ([Forward(0, 3, False, True, WORK), Reverse(3, 1)], "leave 1 of 3 steps"),
    ],
)
def test_what_cannot_be_carried_out(plan, words):
    with pytest.raises(ArgumentError, match=words):
        from_actions(plan, 3)


def test_more_slots_than_allowed():
    with pytest.raises(ArgumentError, match="use 5 slots, but expected at most memory_slots=4"):
        from_actions(Everything(), 5, 4)
    with pytest.raises(ArgumentError, match="use 3 slots, but expected at most disk_slots=2"):
        from_actions(Segments(), 9, disk_slots=2)


def test_what_is_no_action():
    with pytest.raises(StructureError, match="expected one of the actions Forward, Reverse"):
        from_actions([(1, 0, 3, -1)], 3)
    with pytest.raises(StructureError, match="storage 'TAPE'"):
        from_actions([Forward(0, 3, True, False, "TAPE")], 3)
    Reverse_ = type("Reverse", (), {"n1": 3})
    with pytest.raises(StructureError, match="n0"):
        from_actions([Reverse_()], 3)


def test_no_steps():
    assert list(actions(from_actions(Everything(), 0))) == []


def test_a_list_of_rows_is_verified():
    rows = [(RECORD, 0, 3, 0), (REVERSE, 0, 3, 0)]
    schedule = Listed(3, 3, rows)
    assert list(actions(schedule)) == rows and run(schedule).forward_steps == 2
    rows.clear()
    assert len(schedule.rows) == 2 and not schedule.rows.flags.writeable
    with pytest.raises(ArgumentError, match="leave 3 of 3 steps"):
        Listed(3, 3, [(RECORD, 0, 3, 0)])
    with pytest.raises(ArgumentError, match=r"RECORD\(0, 3, 0\)"):
        Listed(3, 2, [(RECORD, 0, 3, 0)])
    with pytest.raises(ArgumentError, match=r"slots from 2 on are on a disk"):
        Listed(3, 3, [(RECORD, 0, 3, 0)], 1)
    with pytest.raises(ArgumentError, match="disk_slots=4"):
        Listed(3, 3, [], 4)
    for wrong in ([(1, 2, 3)], [(1.5, 0, 1, 2)], 3, [(1, 2, 3, 4), (1, 2)]):
        with pytest.raises(StructureError, match="rows"):
            Listed(3, 3, wrong)
