"""Schedules in memory and on disk: their costs against a search through all schedules, and against a dynamic programme."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import Binomial, P, TwoLevel, actions
from adjointsim.schedules import two_level as module
from adjointsim.schedules.verify import Verifier

from .machine import check
from .quick import run
from .search import least_cost

COSTS = [(1, 1, 1), (0, 0, 1), (3, 1, 1), (0, 2, 1), (1, 5, 2), (8, 3, 1)]  # write, read, forward


def family(n_max: int, memory: int, disk: int, write: float, read: float, forward: float) -> np.ndarray:
    """``cost[d, n]`` of the recursion that TwoLevel names, from splits of whole rows."""
    alone = np.array([forward * P(n, memory) for n in range(n_max + 1)], float)
    rows = [alone]
    for _ in range(disk):
        fresh, held = rows[-1], alone.copy()
        for n in range(2, n_max + 1):
            m = np.arange(1, n)
            held[n] = min(held[n], np.min(m * forward + fresh[n - m] + read + held[m]))
        rows.append(np.minimum(alone, write + held))
    return np.array(rows)


def measured(schedule: TwoLevel) -> float:
    """The cost from what the actions do, but for the VJPs."""
    done = run(schedule)
    assert (done.forward_steps, done.disk_writes, done.disk_reads) == schedule.counts
    assert done.used <= schedule.memory_slots and done.disk_used <= schedule.disk_slots
    return schedule.forward * done.forward_steps + schedule.write * done.disk_writes + schedule.read * done.disk_reads


def make(n, memory, disk, costs):
    write, read, forward = costs
    return TwoLevel(n, memory, disk, write=write, read=read, forward=forward)


@pytest.mark.parametrize("memory, disk", [(1, 1), (1, 2), (2, 1)])
def test_no_schedule_is_cheaper(memory, disk):
    for n, costs in product(range(1, 8), COSTS):
        assert measured(make(n, memory, disk, costs)) == least_cost(n, memory, disk, *costs), (n, costs)


@pytest.mark.heavy
@pytest.mark.parametrize("memory, disk, n", [(1, 1, 10), (1, 2, 9), (2, 1, 9), (1, 3, 8), (2, 2, 8), (2, 3, 8)])
def test_no_longer_schedule_is_cheaper(memory, disk, n):
    for costs in product((0, 1, 3), (0, 1, 2, 5), (1, 2)):
        assert measured(make(n, memory, disk, costs)) == least_cost(n, memory, disk, *costs), costs


@pytest.mark.parametrize("memory", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("costs", [(1, 1, 1), (20, 5, 1), (0, 0.25, 1)])
def test_the_cheapest_of_the_family(memory, costs):
    table = family(200, memory, 6, *costs)
    for disk in (1, 2, 6):
        for n in (*range(1, 41), 97, 200):
            schedule = make(n, memory, disk, costs)
            assert measured(schedule) == table[min(disk, n - 1), n] == schedule.cost - n


@pytest.mark.heavy
@pytest.mark.parametrize("memory", [1, 2, 3, 5, 10, 50])
def test_the_cheapest_of_the_family_for_all_numbers_of_steps(memory):
    for costs in COSTS:
        table = family(200, memory, 199, *costs)
        for disk in (1, 2, 3, 5, 10, 199):
            for n in range(1, 201):
                assert measured(make(n, memory, disk, costs)) == table[min(disk, n - 1), n]


def test_a_free_disk_is_as_good_as_memory():
    for n, memory, disk in product((1, 7, 40, 150), (1, 3), (1, 4)):
        assert measured(make(n, memory, disk, (0, 0, 1))) == P(n, memory + disk)


def test_a_dear_disk_is_not_used():
    schedule = TwoLevel(100, 5, 9, write=1e6)
    assert list(actions(schedule)) == list(actions(Binomial(100, 5)))
    assert TwoLevel(100, 5, 0).forward_steps == P(100, 5)


@pytest.mark.parametrize("schedule", [TwoLevel(60, 2, 3), TwoLevel(200, 3, 5, write=4), TwoLevel(37, 1, 1, read=0)], ids=repr)
def test_actions_are_fused_and_pass_the_verifier(schedule):
    check(schedule)
    verify = Verifier(schedule.n_steps, schedule.slots, schedule.disk_slots)
    verify(np.array(list(actions(schedule))))
    assert verify.left == 0
    assert max(action.slot for action in actions(schedule)) >= schedule.memory_slots


def test_backward_and_forward_costs_are_not_swapped():
    dear, cheap = TwoLevel(50, 2, 3, forward=1, reverse=7), TwoLevel(50, 2, 3, forward=7, reverse=1)
    assert dear.cost == TwoLevel(50, 2, 3).cost + 6 * 50
    assert cheap.cost - 50 == make(50, 2, 3, (1, 1, 7)).cost - 50 > dear.cost


def test_equal_blocks_where_the_programme_would_be_too_large(monkeypatch):
    """The rule for long runs, against the optimum of short ones."""
    worst = 0.0
    for n, memory, disk in product((50, 200, 1000), (1, 3, 10), (1, 5, 30)):
        for costs in ((0.1, 0.1, 1), (5, 5, 1), (20, 5, 1)):
            exact = make(n, memory, disk, costs).cost
            with monkeypatch.context() as patch:
                patch.setattr(module, "_EXACT_STEPS", 0)
                module._plan.cache_clear()
                rule = make(n, memory, disk, costs)
                assert measured(rule) == pytest.approx(rule.cost - n)
                worst = max(worst, rule.cost / exact)
            module._plan.cache_clear()
    assert 1.0 < worst < 1.25


def test_a_billion_steps():
    schedule = TwoLevel(10**9, 100, 100, write=30, read=20)
    assert schedule.stream().state.size < 1000
    assert schedule.counts.reads < 10**5
    assert TwoLevel(10**9, 100, 100).cost >= P(10**9, 200) + 10**9


@pytest.mark.parametrize("name", ["write", "read", "forward", "reverse"])
@pytest.mark.parametrize("value", [-1, np.inf, np.nan, "1", None, True])
def test_bad_costs(name, value):
    with pytest.raises(ArgumentError, match=f"Got {name}="):
        TwoLevel(10, 2, 2, **{name: value})


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="memory_slots=0"):
        TwoLevel(10, 0, 3)
    with pytest.raises(ArgumentError, match="disk_slots=-1"):
        TwoLevel(10, 2, -1)
    with pytest.raises(ArgumentError, match="n_steps=4611686018427387904 and memory_slots=2"):
        TwoLevel(2**62, 2, 2)
    with pytest.raises(ArgumentError, match="n_steps"):
        TwoLevel("10", 2, 2)
    assert list(actions(TwoLevel(0, 2, 2))) == []
