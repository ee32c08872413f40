"""From bytes to schedules."""

from __future__ import annotations

import time

import numpy as np
import pytest

from adjointsim.errors import ArgumentError
from adjointsim.ledger import Ledger, readable
from adjointsim.schedules import Binomial, P, StoreAll, TwoLevel
from adjointsim.storage import choose, parse_bytes, plan


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


def test_a_plan_for_a_thousand_million_steps_is_immediate():
    began = time.perf_counter()
    chosen = plan(choose(10**9, 10**6, 10**6, memory=101 * 10**6), 10**6, 10**6)
    assert chosen.forward_steps == 5_898_659_124
    assert "binomial" in str(chosen)
    assert time.perf_counter() - began < 0.5


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
    assert "per step" not in str(Ledger("store-all", 0, 0, 0, 0, 0, 0, 0, 0.0))
