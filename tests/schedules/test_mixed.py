"""Mixed schedules against Maddison's recursion, and what of it our executors run."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from adjointsim.errors import ArgumentError
from adjointsim.schedules import Binomial, M, Mixed, P, actions, beta

from .machine import check
from .quick import begin, run


@cache
def least(n_max: int) -> np.ndarray:
    """``least(n_max)[s, n]``: tape a step in a slot, or store a state in it and go on for i steps, 2 <= i < n."""
    table = np.zeros((n_max + 1, n_max + 1), np.int64)
    for s in range(1, n_max + 1):
        for n in range(1, n_max + 1):
            if n <= s + 1:
                table[s, n] = n
            elif s == 1:
                table[s, n] = n - 1 + table[s, n - 1] + 1
            else:
                i = np.arange(2, n)
                table[s, n] = min(1 + table[s - 1, n - 1], np.min(i + table[s, i] + table[s - 1, n - i]))
    return table


def test_the_count_is_the_least_of_the_recursion():
    table = least(200)
    assert all(M(n, s) == table[s, n] for n in range(1, 201) for s in range(1, n + 1))


def test_schedules_are_valid_and_leave_out_what_the_tape_is_here():
    """M counts the step that ends a leaf, which ours reverse without running it: what remains is P."""
    table = least(200)
    for n in range(1, 201):
        for s in range(1, n + 1):
            done = run(Mixed(n, s))
            assert done.forward_steps == P(n, s) == table[s, n] - done.leaves, (n, s)


@pytest.mark.parametrize("n, s", [(1, 1), (5, 2), (16, 3), (60, 4), (200, 7), (57, 1), (40, 12)])
def test_actions_are_fused(n, s):
    check(Mixed(n, s))


def test_leaves_are_never_more_than_those_of_binomial_schedules():
    fewer = [run(Binomial(n, s)).leaves - run(Mixed(n, s)).leaves for n in range(1, 80) for s in range(1, n)]
    assert min(fewer) == 0 < max(fewer)


def test_the_ends_of_the_formula():
    assert [M(n, 3) for n in range(7)] == [0, 1, 2, 3, 4, 7, 9]
    assert M(100, 1) == 100 * 101 // 2 - 1
    assert M(10**9, 100) == 5927378048
    assert beta(100, 4) < M(10**9, 100) - P(10**9, 100) < beta(100, 5)  # leaves at the ends of the interval


@pytest.mark.parametrize("n, s", [(10**6, 10), (3 * 10**5, 4), (10**6, 999)])
def test_a_million_steps(n, s):
    assert run(Mixed(n, s)).left == 0


def test_bad_numbers():
    with pytest.raises(ArgumentError, match="slots=0"):
        Mixed(10, 0)
    with pytest.raises(ArgumentError, match="n_steps \\* \\(slots \\+ r\\)"):
        Mixed(2**61, 3)
    assert list(actions(Mixed(0, 3))) == []
    assert Mixed(3, 9).slots == 3


@pytest.mark.parametrize("n, s", [(10**9, 100), (2**41, 2), (2**50, 10), (2**55, 100)])
def test_64_bits_are_enough(n, s):
    assert begin(Mixed(n, s)).left < n
