"""Periodic schedules against a search through all periods."""

from __future__ import annotations

import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import Periodic, StoreAll, actions

from .machine import check
from .quick import run


@pytest.mark.parametrize("n", [0, 1, 2, 7, 12, 30])
def test_small_schedules_are_valid_and_use_the_slots_they_name(n):
    for period in range(1, n + 2):
        schedule = Periodic(n, period=period)
        assert len(check(schedule).used) == schedule.slots or n == 0


def test_all_periods():
    for n in range(1, 201):
        for k in range(1, n + 1):
            schedule, segments = Periodic(n, period=k), -(-n // k)
            done = run(schedule)
            assert done.used == schedule.slots <= segments + k - 1
            assert done.forward_steps == n - 1 + (segments - 1) * (k - 1)


def test_the_chosen_period_needs_the_fewest_slots():
    for n in [*range(1, 201), 4095, 4096, 4097, 4999]:
        assert Periodic(n).slots == min(Periodic(n, period=k).slots for k in range(1, n + 1))


def test_given_slots_bound_the_period():
    for n in range(1, 100):
        least, fits = Periodic(n).slots, [(k, Periodic(n, period=k).slots) for k in range(1, n + 1)]
        for slots in range(least, n + 2):
            schedule = Periodic(n, slots)
            assert schedule.slots <= slots
            assert -(-n // schedule.period) == min(-(-n // k) for k, needed in fits if needed <= slots)
        for slots in range(1, least):
            with pytest.raises(ArgumentError, match=f"slots={slots}, but expected at least {least}"):
                Periodic(n, slots)


def test_periods_at_the_ends_store_everything():
    for period in (1, 9, 100):
        assert list(actions(Periodic(9, period=period))) == list(actions(StoreAll(9)))


def test_the_actions_of_ten_steps():
    assert [str(action) for action in actions(Periodic(8, period=3))] == [
        "STORE(0, 0, 0)", "ADVANCE(0, 3, -1)", "STORE(3, 3, 1)", "ADVANCE(3, 6, -1)", "RECORD(6, 8, 2)", "REVERSE(6, 8, 2)",
        "LOAD(3, 3, 1)", "RECORD(3, 6, 1)", "REVERSE(3, 6, 1)", "LOAD(0, 0, 0)", "RECORD(0, 3, 0)", "REVERSE(0, 3, 0)",
    ]  # fmt: skip


def test_a_billion_steps():
    schedule = Periodic(10**9)
    assert (schedule.slots, schedule.period) == (63_244, 31_741)
    assert run(schedule).used == schedule.slots
    assert schedule.stream().state.size < 10
    assert Periodic(2**62, 2**40).slots <= 2**40


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="slots=9, but expected at least 63244 for n_steps=1000000000 and the best period"):
        Periodic(10**9, 9)
    with pytest.raises(ArgumentError, match="slots=3, but expected at least 7 for n_steps=12 and period=6"):
        Periodic(12, 3, 6)
    with pytest.raises(ArgumentError, match="period=-1"):
        Periodic(12, period=-1)
