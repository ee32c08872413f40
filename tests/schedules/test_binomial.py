"""Binomial schedules against the proven minimum, and that against a dynamic programme that knows no binomials."""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np
import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import (
    ADVANCE,
    RECORD,
    REVERSE,
    Binomial,
    F,
    G,
    P,
    StoreAll,
    actions,
    beta,
    repetitions,
)  # fmt: skip

from .machine import Machine, check


@cache
def least(n_max: int) -> list[list[float]]:
    """``least(n_max)[s][n]``: advance m steps, store, reverse the rest with a slot less, then the first m again."""
    table = [[0.0, 0.0] + [np.inf] * (n_max - 1)]  # without a slot, one step can be reversed
    for s in range(1, n_max + 1):
        row = [0.0, 0.0]
        for n in range(2, n_max + 1):
            row.append(min(m + table[s - 1][n - m] + row[m] for m in range(1, n)))
        table.append(row)
    return table


def verify(n: int, s: int, minimum: float) -> None:
    schedule = Binomial(n, s)
    machine = check(schedule)
    assert machine.forward_steps == P(n, s) == minimum
    # The stack of the compiled stream must hold a level for every segment that is open at once.
    levels = (len(schedule.stream().state) - len(Binomial(1, 1).stream().state)) // 3 + 1
    assert max(row.slot for row in actions(schedule) if row.kind != REVERSE) < levels


@pytest.mark.parametrize("n", range(1, 61))
def test_small_schedules_are_valid_and_optimal(n):
    for s in range(1, n + 1):
        verify(n, s, least(60)[s][n])


@pytest.mark.heavy
def test_larger_schedules_are_valid_and_optimal():
    for n in range(61, 201):
        for s in range(1, n + 1):
            verify(n, s, least(200)[s][n])


CHECKED = [
    (10, 3, 15), (56, 5, 140), (100, 3, 490), (100, 5, 316), (100, 10, 222), (252, 5, 1050), (1000, 10, 3636),
    (10**6, 10, 11647922), (10**9, 100, 5898659124),
]  # fmt: skip


@pytest.mark.parametrize("n, s, steps", CHECKED)
def test_known_numbers_of_steps(n, s, steps):
    assert P(n, s) == Binomial(n, s).forward_steps == steps
    assert F(n, s) == n + steps
    assert G(n, s) == F(n + 1, s) - 1


def test_the_ends_of_the_formulas():
    assert [P(n, 4) for n in range(7)] == [0, 0, 1, 2, 3, 4, 6]
    assert P(1000, 1) == 1000 * 999 // 2
    assert P(1000, 5000) == 999
    assert (F(0, 1), F(1, 1), G(0, 1), G(1, 1)) == (0, 1, 0, 2)
    assert [repetitions(n, 3) for n in (0, 1, 2, 4, 5, 10, 11)] == [0, 0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("s", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("t", [1, 2, 3, 9, 64])
def test_repetitions_at_the_ends_of_their_intervals(s, t):
    assert repetitions(beta(s, t), s) == t
    assert repetitions(beta(s, t) + 1, s) == t + 1


def test_beta():
    assert [beta(3, t) for t in range(-1, 5)] == [0, 1, 4, 10, 20, 35]
    assert [beta(0, t) for t in range(-1, 2)] == [0, 1, 1]
    assert all(beta(s, t) == beta(s, t - 1) + beta(s - 1, t) for s in range(1, 20) for t in range(20))
    assert beta(100, 100) == 90548514656103281165404177077484163874504589675413336841320


def test_the_counts_are_exact_python_integers_of_any_size():
    n, s = np.int64(4 * 10**18), np.int32(1)  # r n does not fit in 64 bits
    assert P(n, s) == 4 * 10**18 * (4 * 10**18 - 1) // 2
    assert type(P(n, s)) is type(F(n, s)) is type(G(n, s)) is type(beta(s, n)) is int
    assert P(10**40, 3) > 2**63
    assert P(10**9, 10**8) == 2 * 10**9 - 10**8 - 2
    assert P(10**9, 1) == 10**9 * (10**9 - 1) // 2


@pytest.mark.parametrize("n, s", [(1, 1), (1, 9), (5, 5), (5, 6), (1000, 10**15)])
def test_enough_slots_store_everything(n, s):
    assert list(actions(Binomial(n, s))) == list(actions(StoreAll(n)))
    assert Binomial(n, s).slots == n
    assert Binomial(n, s).name == "binomial"


def test_one_slot_too_few_costs_no_step():
    assert [str(action) for action in actions(Binomial(6, 5))] == [
        "RECORD(0, 5, 0)", "ADVANCE(4, 5, -1)", "REVERSE(5, 6, -1)", "REVERSE(0, 5, 0)",
    ]  # fmt: skip


def test_one_slot():
    assert [str(action) for action in actions(Binomial(4, 1))] == [
        "STORE(0, 0, 0)", "ADVANCE(0, 3, -1)", "REVERSE(3, 4, -1)",
        "LOAD(0, 0, 0)", "ADVANCE(0, 2, -1)", "REVERSE(2, 3, -1)",
        "LOAD(0, 0, 0)", "ADVANCE(0, 1, -1)", "REVERSE(1, 2, -1)", "REVERSE(0, 1, 0)",
    ]  # fmt: skip


@pytest.mark.parametrize("n, s", [(10**6, 10), (3 * 10**5, 4), (10**6, 999), (200_000, 450)])
def test_a_million_steps_are_counted_exactly(n, s):
    stream, rows = Binomial(n, s).stream(), np.empty((4096, 4), np.int64)
    steps, left, top = 0, n, 0
    while count := stream.fill(rows):
        kind, a, b, slot = rows[:count].T
        steps += int(np.sum((b - a)[kind == ADVANCE]) + np.sum((b - a - 1)[kind == RECORD]))
        first, last = a[kind == REVERSE], b[kind == REVERSE]
        if len(first):
            assert last[0] == left and np.array_equal(last[1:], first[:-1])
            left = int(first[-1])
        top = max(top, int(np.max((slot + b - a)[kind == RECORD], initial=0)))
    assert left == 0 and top <= s
    assert steps == P(n, s)


@pytest.mark.parametrize("n, s", [(10**9, 100), (10**9, 1), (10**9, 2), (2**62, 1)])
def test_the_beginning_of_a_billion_steps(n, s):
    schedule = Binomial(n, s)
    assert schedule.stream().state.size <= 3 * s + 40
    machine = Machine(n, s).run(islice(actions(schedule), 100_000))
    assert machine.left < n


@pytest.mark.parametrize("n, s", [(10**9, 31_622), (10**9, 44_720), (10**9, 10**6), (3 * 10**9, 77_458)])
def test_the_first_descent_of_a_billion_steps_with_many_slots(n, s):
    machine = Machine(n, s)
    for action in islice(actions(Binomial(n, s)), 200_000):
        machine.do(action)
        if machine.left < n:
            break
    assert machine.left < n
    assert machine.forward_steps == n - 1


def test_the_stack_is_small_when_the_slots_are_many():
    assert Binomial(10**9, 10**9 // 2).stream().state.size < 200_000
    head = [str(action) for action in islice(actions(Binomial(10**9, 10**9 // 2)), 3)]
    assert head == ["STORE(0, 0, 0)", "ADVANCE(0, 500000000, -1)", "RECORD(500000000, 999999999, 1)"]


@pytest.mark.parametrize("slots", [0, -1, 2.0, True, "3", None])
def test_a_bad_number_of_slots(slots):
    with pytest.raises(ArgumentError, match="slots"):
        Binomial(10, slots)
    for function in (P, F, G, repetitions):
        with pytest.raises(ArgumentError, match="s="):
            function(10, slots)


@pytest.mark.parametrize("n", [-1, 2.0, True])
def test_a_bad_number_of_steps_in_a_formula(n):
    for function in (P, F, G, repetitions):
        with pytest.raises(ArgumentError, match="n="):
            function(n, 3)


def test_a_product_that_64_bits_cannot_hold():
    with pytest.raises(ArgumentError, match="n_steps \\* slots"):
        Binomial(2**62, 2)
    assert Binomial(2**62, 2**62).forward_steps == 2**62 - 1
