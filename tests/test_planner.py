"""From bytes to schedules."""

from __future__ import annotations

import time

import numpy as np
import pytest

from adjointsim.errors import ArgumentError
from adjointsim.ledger import Ledger, readable, readable_seconds
from adjointsim.schedules import Binomial, P, Periodic, PeriodicDisk, Segmented, StoreAll, StoreAllDisk, TwoLevel
from adjointsim.storage import Sizes, Times, budget, choose, parse_bytes, parse_memory, plan, undecided
from adjointsim.storage.planner import candidates, fastest
from adjointsim.storage.times import predicted_seconds


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("200MB", 200_000_000), ("2GB", 2_000_000_000), ("64KiB", 65536), ("1.5 GB", 1_500_000_000), ("1 MiB", 2**20),
        ("3k", 3000), ("2gib", 2**31), ("17", 17), ("17B", 17), (17, 17), (np.int64(17), 17), ("1TB", 10**12),
    ],
)  # fmt: skip
def test_sizes(text, number):
    assert parse_bytes(text) == number


@pytest.mark.parametrize("bad", ["", "MB", "12XB", "-1MB", "1e6", "0", 0, -5, 1.5, True, None, [1], "nan", "1,5MB", "0.1"])
def test_sizes_that_are_none(bad):
    with pytest.raises(ArgumentError, match="Got memory="):
        parse_bytes(bad)


def test_fractions_of_what_is_free(monkeypatch):
    monkeypatch.setattr(budget, "free_memory", lambda: 1000)
    assert [parse_memory(x) for x in (1.0, 0.5, np.float64(0.25), np.float32(0.5), 1e-9)] == [1000, 500, 250, 500, 1]
    assert [parse_memory(x) for x in (1, "0.5kB", "200MB")] == [1, 500, 200_000_000]


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.0001, np.nan, np.inf, 0, -1, True, "2 gigs", "", "0.5", "50%", None, [1]])
def test_budgets_that_are_none(bad):
    with pytest.raises(ArgumentError, match="Got memory=.* a positive number of bytes, or '200MB', .* a fraction of the free"):
        parse_memory(bad)


def test_store_all_if_it_fits():
    assert choose(10, 100, 50, memory=1050) == StoreAll(10)
    assert choose(10, 100, 50, memory=1049) == Binomial(10, 9)
    assert choose(10, 0, 50, memory=50) == StoreAll(10)
    assert choose(10, 100, 50) == StoreAll(10)
    assert choose(0, 100, 50, memory=150) == StoreAll(0)


def test_as_many_slots_as_fit():
    for memory in range(150, 1049):
        schedule = choose(10, 100, 50, memory=memory)
        chosen = plan(schedule, 100, 50)
        assert schedule == Binomial(10, (memory - 50) // 100)
        assert memory - 100 < chosen.bytes <= memory


@pytest.mark.parametrize(("memory", "n"), [(149, 10), (1, 10), (50, 1), (49, 0)])
def test_a_budget_below_one_state(memory, n):
    with pytest.raises(ArgumentError, match=f"memory={memory} bytes, but expected at least 150: a state takes 100 and"):
        choose(n, 100, 50, memory=memory)


def test_slots_and_schedules_by_name():
    assert choose(10, 100, 50, checkpoints=3) == Binomial(10, 3)
    assert choose(10, 100, 50, checkpoints=300) == Binomial(10, 10)
    assert choose(0, 100, 50, checkpoints=3).n_steps == 0
    with pytest.raises(ArgumentError, match="checkpoints=0"):
        choose(10, 100, 50, checkpoints=0)
    mine = Binomial(10, 2)
    assert choose(10, 100, 50, schedule=mine) is mine
    with pytest.raises(ArgumentError, match="schedule for 10 steps, but expected one for n_steps=11"):
        choose(11, 100, 50, schedule=mine)
    with pytest.raises(ArgumentError, match="3 slots on a disk, but no directory="):
        choose(10, 100, 50, schedule=TwoLevel(10, 2, 3))
    assert choose(10, 100, 50, schedule=TwoLevel(10, 2, 0)).slots == 2


# ----------------------------------------------------------------------------------------------------- choices by time
FAST = Times(step=1e-6, vjp=2e-6, stream=1e-9, write=1e-8, read=1e-8, cache=10_000)  # a state of 1000 bytes moves in 1 us
SLOW = Times(step=1e-3, vjp=2e-3, stream=1e-9, write=1e-8, read=1e-8, cache=10_000)


@pytest.mark.parametrize(
    ("memory", "times", "expected"),
    [
        (None, FAST, StoreAll(1000)),  # no budget, no choice
        (2_000_000, SLOW, StoreAll(1000)),
        (2_000_000, FAST, Periodic(1000, period=8)),  # moving a state there and back takes longer than a step
        (200_000, FAST, Periodic(1000, period=8)),  # 132 slots
        (100_000, FAST, Segmented(1000, 98, 8)),
        (100_000, SLOW, Binomial(1000, 98)),
        (8_000, FAST, Binomial(1000, 6)),  # below a segment: all of it is in the cache
    ],
)
def test_the_fastest_in_memory(memory, times, expected):
    assert choose(1000, 1000, 2000, memory=memory, times=times) == expected


def test_what_needs_no_choice():
    cache = 10_000
    assert not undecided(Sizes(8, 1000, 2000, 10_000), cache)  # all states stay in the cache
    assert undecided(Sizes(9, 1000, 2000, 20_000), cache)
    assert not undecided(Sizes(9, 20_000, 2000, 10**9), cache)  # not even one does
    assert not undecided(Sizes(9, 1000, 2000, 10**9, 10**9), cache)  # all in memory, and some on the disk
    assert undecided(Sizes(9, 1000, 2000, 8000, 10**9), cache)
    assert not undecided(Sizes(9, 1000, 2000), cache)  # no budget
    for n, state in ((0, 1000), (1, 1000), (10**6, 0)):
        assert not undecided(Sizes(n, state, 2000, 10**9), cache)


def test_with_a_disk():
    common = {"memory": 22_000, "disk": 10**9}
    assert choose(20, 1000, 2000, **common) == StoreAllDisk(20, 999_999) == choose(20, 1000, 2000, times=FAST, **common)
    assert choose(20, 1000, 2000, checkpoints=20, disk=10**9) == StoreAllDisk(20)
    assert choose(20, 1000, 2000, checkpoints=4, disk=10**9).memory_slots == 4
    slow = choose(1000, 1000, 2000, times=SLOW, **common)
    assert isinstance(slow, (PeriodicDisk, TwoLevel)) and slow.forward_steps == 999  # the disk keeps pace: every state is on it
    fast = choose(1000, 1000, 2000, times=FAST, **common)
    assert fast.forward_steps > 1500 and fast.disk_slots >= 15
    for times in (FAST, SLOW):
        seconds = predicted_seconds(choose(1000, 1000, 2000, times=times, **common), 1000, 2000, times)
        for period in range(1, 1000, 7):
            assert seconds <= 1.06 * predicted_seconds(PeriodicDisk(1000, 20, None, period), 1000, 2000, times) or period > 63


def test_the_same_schedule_with_the_same_times():
    for memory in range(10_000, 1_000_000, 37_777):
        for disk in (None, 50_000, 10**7):
            assert choose(500, 1000, 2000, memory=memory, disk=disk, times=FAST) == choose(
                500, 1000, 2000, memory=memory, disk=disk, times=FAST
            )


def test_every_candidate_keeps_to_the_budget():
    for n in (1, 2, 9, 301, 10**6, 10**9, 2**60):
        for memory in (3000, 4000, 11_000, 77_777, 10**9):
            for disk in (None, 1000, 2000, 30_000, 10**8)[: 5 if n < 2**60 else 1]:
                sizes = Sizes(n, 1000, 2000, memory, disk)
                for times in (None, FAST, SLOW):
                    for schedule in candidates(sizes, sizes.slots, times):
                        assert schedule.n_steps == n
                        assert plan(schedule, 1000, 2000).bytes <= memory
                        assert schedule.disk_slots * 1000 <= (disk or 0)
                    assert predicted_seconds(choose(n, 1000, 2000, memory=memory, disk=disk, times=FAST), 1000, 2000, FAST) > 0


def test_predicted_seconds_by_hand():
    assert predicted_seconds(StoreAll(100), 1000, 2000, FAST) == pytest.approx(100 * 3e-6 + 200 * 1e-6)
    assert predicted_seconds(StoreAll(8), 1000, 2000, FAST) == pytest.approx(8 * 3e-6)
    periodic = Periodic(100, period=5)
    assert predicted_seconds(periodic, 1000, 2000, FAST) == pytest.approx(periodic.forward_steps * 1e-6 + 2e-4 + 40 * 1e-6)
    large = Times(step=1e-3, vjp=2e-3, cache=100)
    assert predicted_seconds(Binomial(100, 5), 1000, 2000, large) == pytest.approx(P(100, 5) * 1e-3 + 0.2)
    disk = PeriodicDisk(100, 5, None, 2)
    assert predicted_seconds(disk, 1000, 2000, FAST) == pytest.approx(98 * 1e-5)
    assert predicted_seconds(StoreAll(0), 8, 8, FAST) == 0.0


def test_plans():
    chosen = plan(Binomial(100, 5), 8_000_000, 1_000_000)
    assert chosen.forward_steps == P(100, 5) == 316
    assert chosen.recomputation_factor == 3.16
    assert chosen.bytes == 41_000_000
    text = str(chosen)
    for words in ("binomial, 100 steps, 5 slots of 8 MB", "316 (3.16 per step)", "41 MB", "801 MB to store every state"):
        assert words in text
    assert len(text.splitlines()) == 4
    full = plan(StoreAll(100), 8, 16)
    assert (full.forward_steps, full.bytes) == (100, 816)
    assert "to store every state" not in str(full)
    assert plan(StoreAll(0), 8, 16).recomputation_factor == 0.0


def test_plans_with_seconds_and_a_disk():
    schedule = PeriodicDisk(100, 5, None, 10)
    chosen = plan(schedule, 1000, 2000, times=SLOW)
    assert chosen.seconds == predicted_seconds(schedule, 1000, 2000, SLOW)
    assert (chosen.slots, chosen.disk_slots, chosen.bytes, chosen.disk_bytes) == (5, 9, 7000, 9000)
    text = str(chosen)
    for words in ("5 slots in memory, 9 on the disk", "disk          9 kB", f"about {readable_seconds(chosen.seconds)}"):
        assert words in text
    assert repr(chosen) == text and plan(schedule, 1000, 2000).seconds is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(1e-5, "1e-05 s"), (119.0, "119 s"), (120.0, "2 min"), (7200.0, "2 h"), (1e6, "11.6 days")]
)
def test_readable_seconds(seconds, text):
    assert readable_seconds(seconds) == text


def test_a_plan_for_a_thousand_million_steps_is_immediate():
    began = time.perf_counter()
    chosen = plan(choose(10**9, 10**6, 10**6, memory=101 * 10**6), 10**6, 10**6)
    assert chosen.forward_steps == 5_898_659_124
    assert "binomial" in str(chosen)
    for disk in (None, 10**10):
        assert choose(10**9, 10**6, 10**6, memory=101 * 10**6, disk=disk, times=SLOW).n_steps == 10**9
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (25_600_000, "25.6 MB"), (999_999, "1 MB"), (10**18, "1e+03 PB")],
)
def test_readable_bytes(count, text):
    assert readable(count) == text


def test_a_ledger_reads_well():
    text = str(Ledger("binomial", 100, 5, 316, 217, 100, 4000, 3900, 0.5, resumed_at=40))
    for words in ("100 steps, 5 slots", "316 (3.16 per step), 217 of them recomputed", "4 kB planned", "resumed at    step 40"):
        assert words in text
    assert "time          0.5 s" in text
    text = str(Ledger("binomial", 100, 5, 316, 217, 100, 4000, 3900, 0.5, seconds_planned=0.4))
    assert "time          0.4 s planned, 0.5 s used" in text
    assert "per step" not in str(Ledger("store-all", 0, 0, 0, 0, 0, 0, 0, 0.0))


def test_segments_whose_steps_keep_what_they_can():
    """They are candidates where not all of that fits; the faster the VJP is with it, the better they are."""
    sizes = Sizes(10_000, 100, 500, 40_000, kept=(150, 700, 50))
    found = candidates(sizes, sizes.slots, Times(1.0, 2.0, cache=10_000))
    assert [s.keeps for s in found] == [False, False, True] and {s.name for s in found[1:]} <= {"periodic", "segmented"}
    plain, keeping = found[1:]
    assert keeping.slots * 150 + 700 <= 40_000 and plain.slots * 100 + 500 <= 40_000 and keeping.period < plain.period
    assert fastest(sizes, found, Times(1.0, 2.0, cache=10_000)) is keeping
    assert not any(s.keeps for s in candidates(Sizes(10_000, 100, 500, 40_000), 395, Times(1.0, 2.0, cache=10_000)))
    assert not any(s.keeps for s in candidates(sizes, sizes.slots))
    few = Sizes(10_000, 100, 500, 40_000, kept=(90_000, 700, 89_900))  # not one such state fits
    assert not any(s.keeps for s in candidates(few, few.slots, Times(1.0, 2.0, cache=10_000)))
