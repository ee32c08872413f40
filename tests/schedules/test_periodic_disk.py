"""Periodic states on disk: counts on the actions, and the period against all others."""

from __future__ import annotations

from itertools import product

import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import Binomial, P, PeriodicDisk, TwoLevel, actions

from .machine import check
from .quick import begin, run


def measured(schedule: PeriodicDisk) -> float:
    done = run(schedule)
    assert (done.forward_steps, done.disk_writes, done.disk_reads) == schedule.counts
    assert done.used <= schedule.memory_slots and done.disk_used <= schedule.disk_slots
    return schedule.forward * done.forward_steps + schedule.write * done.disk_writes + schedule.read * done.disk_reads


@pytest.mark.parametrize("memory", [1, 2, 3, 8])
@pytest.mark.parametrize("disk", [None, 1, 2, 5])
def test_all_periods(memory, disk):
    for n in (0, 1, 2, *range(5, 60, 9), 111):
        for period in range(1, n + 1):
            schedule = PeriodicDisk(n, memory, disk, period)
            assert measured(schedule) + n == schedule.cost
            blocks = -(-n // period)
            assert schedule.disk_slots == (blocks - 1 if disk is None else min(disk, blocks - 1))
            assert schedule.counts.reads == blocks - 1


def test_the_counts_with_an_unlimited_disk():
    for n, memory, k in product((10, 57, 200), (1, 2, 5), (3, 7, 10)):
        blocks = -(-n // k)
        last = n - (blocks - 1) * k
        steps = (blocks - 1) * (k + P(k, memory)) + P(last, memory)
        assert PeriodicDisk(n, memory, None, k).counts == (steps, blocks - 1, blocks - 1)


@pytest.mark.parametrize("costs", [(1, 1, 1), (0, 0.5, 1), (10, 4, 1), (100, 100, 3)])
@pytest.mark.parametrize("memory", [1, 2, 5, 20])
def test_the_period_is_nearly_the_cheapest_of_all(memory, costs):
    write, read, forward = costs
    given = {"write": write, "read": read, "forward": forward}
    for n in (10, 100, 500):
        chosen = PeriodicDisk(n, memory, **given)
        least = min(PeriodicDisk(n, memory, None, k, **given).cost for k in range(1, n + 1))
        optimum = TwoLevel(n, memory, n, **given).cost
        assert optimum <= least <= chosen.cost <= 1.02 * least


def test_the_period_per_step_is_where_the_cost_has_a_kink():
    """For a long run: C(s+t, s) steps with the least (write + read + k + P(k, s)) / k of all k."""
    chosen = PeriodicDisk(10**8, 5, write=20, read=10)
    least = min(range(1, 3000), key=lambda k: (30 + k + P(k, 5)) / k)
    assert chosen.period == pytest.approx(least, abs=1)
    assert least == 56


def test_one_block_is_a_binomial_schedule():
    assert list(actions(PeriodicDisk(50, 4, None, 50))) == list(actions(Binomial(50, 4)))
    assert list(actions(PeriodicDisk(50, 4, 0))) == list(actions(Binomial(50, 4)))


def test_the_actions_of_eight_steps():
    assert [str(action) for action in actions(PeriodicDisk(8, 2, None, 3))] == [
        "STORE(0, 0, 2)", "ADVANCE(0, 3, -1)", "STORE(3, 3, 3)", "ADVANCE(3, 6, -1)", "RECORD(6, 8, 0)", "REVERSE(6, 8, 0)",
        "LOAD(3, 3, 3)", "RECORD(3, 5, 0)", "ADVANCE(4, 5, -1)", "REVERSE(5, 6, -1)", "REVERSE(3, 5, 0)",
        "LOAD(0, 0, 2)", "RECORD(0, 2, 0)", "ADVANCE(1, 2, -1)", "REVERSE(2, 3, -1)", "REVERSE(0, 2, 0)",
    ]  # fmt: skip


@pytest.mark.parametrize("schedule", [PeriodicDisk(60, 2, 3, 4), PeriodicDisk(200, 3, 2, 9), PeriodicDisk(37, 1, 1, 2)], ids=repr)
def test_actions_are_fused(schedule):
    machine = check(schedule)
    assert machine.disk_writes == schedule.counts.writes and machine.disk_reads == schedule.counts.reads


@pytest.mark.parametrize("disk", [None, 100])
def test_a_million_and_a_billion_steps(disk):
    assert measured(PeriodicDisk(10**6, 10, disk, write=7, read=3)) > 10**6
    schedule = PeriodicDisk(10**9, 100, disk, write=7, read=3)
    assert schedule.stream().state.size < 20_000


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="disk_slots=0 with period=3"):
        PeriodicDisk(10, 2, 0, 3)
    with pytest.raises(ArgumentError, match="memory_slots=0"):
        PeriodicDisk(10, 0)
    with pytest.raises(ArgumentError, match="period=-2"):
        PeriodicDisk(10, 1, None, -2)
    with pytest.raises(ArgumentError, match="read=nan"):
        PeriodicDisk(10, 1, read=float("nan"))


@pytest.mark.parametrize("n, memory, disk", [(10**9, 100, 100), (2**50, 5, 7), (2**50, 9, 1)])
def test_64_bits_are_enough(n, memory, disk):
    assert begin(PeriodicDisk(n, memory, disk)).left < n
