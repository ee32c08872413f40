"""Every schedule on the abstract machine; the machine on schedules that are wrong; the interface of streams."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules import (
    ADVANCE,
    END,
    KINDS,
    LOAD,
    RECORD,
    REVERSE,
    STORE,
    Action,
    Binomial,
    Listed,
    Mixed,
    Periodic,
    PeriodicDisk,
    Schedule,
    StoreAll,
    Stream,
    TwoLevel,
    actions,
)  # fmt: skip

from .machine import Machine, check

OTHERS = [Periodic(300), Mixed(300, 3), PeriodicDisk(300, 3, 4, 9), PeriodicDisk(300, 2), TwoLevel(300, 3, 4)]


def collect(stream: Stream, chunk: int) -> np.ndarray:
    """All actions, read ``chunk`` rows at a time; only the last chunk may be short."""
    rows, chunks = np.full((chunk, 4), -9, np.int64), []
    while count := stream.fill(rows):
        assert not chunks or len(chunks[-1]) == chunk
        chunks.append(rows[:count].copy())
    assert stream.fill(rows) == 0
    return np.concatenate(chunks) if chunks else np.empty((0, 4), np.int64)


def test_kinds_are_numbered_as_documented():
    assert (END, ADVANCE, STORE, LOAD, RECORD, REVERSE) == tuple(range(6))
    assert KINDS[RECORD] == "RECORD"
    assert str(Action(STORE, 3, 3, 1)) == "STORE(3, 3, 1)"


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_store_all_is_one_record_and_one_reverse(n):
    schedule = StoreAll(n)
    assert (schedule.name, schedule.slots, schedule.forward_steps) == ("store-all", max(n, 1), max(n - 1, 0))
    assert list(actions(schedule)) == ([(RECORD, 0, n, 0), (REVERSE, 0, n, 0)] if n else [])
    assert check(schedule).writes == n


@pytest.mark.parametrize("schedule", [Binomial(0, 4), StoreAll(0), Periodic(0), Mixed(0, 2), PeriodicDisk(0, 2)], ids=repr)
def test_no_steps_no_actions(schedule):
    assert schedule.forward_steps == 0
    assert list(actions(schedule)) == []


@pytest.mark.parametrize("schedule", [Binomial(57, 4), StoreAll(57), *OTHERS], ids=repr)
def test_a_schedule_is_a_frozen_value(schedule):
    assert isinstance(schedule, Schedule)
    assert schedule == dataclasses.replace(schedule) and hash(schedule) == hash(dataclasses.replace(schedule))
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.n_steps = 3


@pytest.mark.parametrize("schedule", [Binomial(57, 4), Binomial(50, 1), Binomial(2, 1), StoreAll(9), *OTHERS], ids=repr)
def test_streams_of_one_schedule_are_independent(schedule):
    first, second, row = schedule.stream(), schedule.stream(), np.empty((1, 4), np.int64)
    first.fill(row)
    assert np.array_equal(collect(second, 5), list(actions(schedule)))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("schedule", [Binomial(300, 3), Binomial(57, 1), Binomial(1000, 30), StoreAll(9), *OTHERS], ids=repr)
def test_the_size_of_a_chunk_does_not_matter(schedule, chunk):
    assert np.array_equal(collect(schedule.stream(), chunk), list(actions(schedule)))


MAKERS = [Binomial, Mixed, lambda n, s: PeriodicDisk(n, s, 2, 7), lambda n, s: TwoLevel(min(n, 60), s, 3)]


@settings(suppress_health_check=[HealthCheck.too_slow])  # lists are drawn slowly where other programs keep the machine busy
@given(st.sampled_from(MAKERS), st.integers(1, 400), st.integers(1, 40), st.lists(st.integers(1, 12), min_size=1))
def test_chunks_of_mixed_sizes(make, n, s, sizes):
    schedule = make(n, s)
    expected, stream, got = list(actions(schedule)), schedule.stream(), []
    while len(got) < len(expected):
        rows = np.empty((sizes[len(got) % len(sizes)], 4), np.int64)
        count = stream.fill(rows)
        assert count == min(len(rows), len(expected) - len(got))
        got += rows[:count].tolist()
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("before", [0, 1, 2, 3, 11, 200])
@pytest.mark.parametrize("schedule", [Binomial(300, 3), StoreAll(9), *OTHERS], ids=repr)
def test_a_saved_state_continues_the_stream(schedule, before):
    stream, rows = schedule.stream(), np.empty((max(before, 1), 4), np.int64)
    count = stream.fill(rows) if before else 0
    copy = Stream(stream.kernel, stream.state.copy())
    rest = collect(stream, 8)
    assert np.array_equal(collect(copy, 3), rest)
    assert np.array_equal(rest.reshape(-1, 4), np.reshape(list(actions(schedule))[count:], (-1, 4)))


@pytest.mark.parametrize("schedule", [Binomial(300, 3), *OTHERS], ids=repr)
def test_a_kernel_can_be_called_from_compiled_code(schedule):
    stream = schedule.stream()
    kernel = stream.kernel

    @njit
    def count(state, rows):
        total = 0
        while True:
            k = kernel(state, rows)
            if k == 0:
                return total
            total += k

    assert count(stream.state, np.empty((16, 4), np.int64)) == len(list(actions(schedule)))


def test_fill_leaves_the_other_rows_alone():
    rows = np.full((5, 4), -9, np.int64)
    assert StoreAll(3).stream().fill(rows) == 2
    assert np.all(rows[2:] == -9)


@pytest.mark.parametrize(
    "rows",
    [np.empty((8, 4), np.int32), np.empty((8, 3), np.int64), np.empty(8, np.int64), np.empty((0, 4), np.int64),
     np.empty((4, 8), np.int64).T],
    ids=["dtype", "columns", "rank", "empty", "strides"],
)  # fmt: skip
def test_fill_refuses_an_array_that_it_cannot_fill(rows):
    with pytest.raises(StructureError, match="expected a C-contiguous int64 array"):
        Binomial(9, 2).stream().fill(rows)


MAKE = {
    "StoreAll": StoreAll, "Periodic": Periodic, "Binomial": lambda n: Binomial(n, 2), "Mixed": lambda n: Mixed(n, 2),
    "PeriodicDisk": lambda n: PeriodicDisk(n, 2), "TwoLevel": lambda n: TwoLevel(n, 2, 2), "Listed": lambda n: Listed(n, 2, []),
}  # fmt: skip


@pytest.mark.parametrize("n", [-1, 2.0, True, "3", None, 2**63, np.float64(4), np.True_])
@pytest.mark.parametrize("name", MAKE)
def test_a_bad_number_of_steps(name, n):
    make = MAKE[name]
    with pytest.raises(ArgumentError, match="n_steps"):
        make(n)


@pytest.mark.parametrize(
    "rows",
    [
        [(REVERSE, 2, 3, -1)],  # y_2 is not current
        [(ADVANCE, 0, 2, -1), (REVERSE, 1, 3, -1)],  # one step at a time from the current state
        [(REVERSE, 0, 3, 0)],  # nothing stored
        [(RECORD, 0, 3, 0)],  # three states in two slots
        [(STORE, 0, 0, 2)],
        [(STORE, 1, 1, 0)],
        [(STORE, 0, 0, 0), (LOAD, 1, 1, 0)],
        [(LOAD, 0, 0, 0)],
        [(ADVANCE, 1, 2, -1)],
        [(ADVANCE, 0, 0, -1)],
        [(ADVANCE, 0, 3, -1)],  # y_N is never needed
        [(ADVANCE, 0, 1, -1), (RECORD, 1, 3, 0), (REVERSE, 1, 2, 0)],  # the last step first
        [(RECORD, 0, 2, 0), (ADVANCE, 1, 2, -1), (REVERSE, 2, 3, -1), (REVERSE, 2, 3, -1)],  # twice
        [(END, 0, 0, 0)],
    ],
)
def test_the_machine_notices(rows):
    with pytest.raises((AssertionError, KeyError)):
        Machine(3, 2).run(map(Action._make, rows))


@pytest.mark.parametrize("rows", [[(RECORD, 0, 2, 0)], [(STORE, 0, 0, 1), (REVERSE, 0, 1, 1)], [(STORE, 0, 0, 2)]])
def test_the_machine_notices_slots_on_a_disk(rows):
    """One slot in memory and one on disk: nothing is recorded there or reversed from there."""
    assert Machine(1, 2, 1).run(map(Action._make, [(STORE, 0, 0, 1), (LOAD, 0, 0, 1), (REVERSE, 0, 1, -1)])).disk_reads == 1
    with pytest.raises(AssertionError):
        Machine(1 + (rows[0][0] == RECORD), 2, 1).run(map(Action._make, rows))
