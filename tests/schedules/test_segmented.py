"""Segments in memory that are stored binomially, against the counts that are named and the schedules that they generalise."""

from __future__ import annotations

import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import Binomial, P, Periodic, Segmented, StoreAll, actions

from .machine import check
from .quick import run


@pytest.mark.parametrize("n", [1, 2, 7, 12, 30])
def test_small_schedules(n):
    for period in range(1, n + 1):
        for slots in range(period + (period < n), n + 2):
            schedule = Segmented(n, slots, period)
            machine = check(schedule)
            assert schedule.slots <= slots and machine.disk_writes == 0
            assert len(machine.used) <= schedule.slots


def test_the_counts():
    for n in (57, 100, 200):
        for k in (1, 3, 7, 10):
            for slots in (k + 1, k + 2, k + 5, k + 300):
                schedule, m = Segmented(n, slots, k), -(-n // k)
                done = run(schedule)
                outer = min(slots - k, m - 1)
                assert done.forward_steps == k * P(m, outer) + (m - 1) * (k - 1) + n - (m - 1) * k - 1
                assert done.used <= schedule.slots == k + outer


def test_a_slot_for_every_segment_is_periodic():
    for n in (10, 33, 64):
        for k in (2, 3, 8):
            assert Segmented(n, 100, k).forward_steps == Periodic(n, period=k).forward_steps


def test_the_ends_are_schedules_that_are_known():
    assert list(actions(Segmented(9, 9, 9))) == list(actions(StoreAll(9)))
    assert Segmented(50, 5, 1).forward_steps == Binomial(50, 4).forward_steps
    assert list(actions(Segmented(0, 1, 5))) == []


def test_the_actions_of_eight_steps():
    assert [str(action) for action in actions(Segmented(8, 4, 3))] == [
        "STORE(0, 0, 3)", "ADVANCE(0, 6, -1)", "RECORD(6, 8, 0)", "REVERSE(6, 8, 0)",
        "LOAD(0, 0, 3)", "ADVANCE(0, 3, -1)", "RECORD(3, 6, 0)", "REVERSE(3, 6, 0)",
        "LOAD(0, 0, 3)", "RECORD(0, 3, 0)", "REVERSE(0, 3, 0)",
    ]  # fmt: skip


def test_a_billion_steps():
    schedule = Segmented(10**9, 1000, 50)
    assert schedule.forward_steps < 6 * 10**9
    assert schedule.stream().state.size < 20_000


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="slots=3, but expected at least 4 for period=3"):
        Segmented(10, 3, 3)
    with pytest.raises(ArgumentError, match="period=0"):
        Segmented(10, 3, 0)
