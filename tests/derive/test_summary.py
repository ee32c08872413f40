"""Chains of buffers, against what a step's routes mean: all routes of few leaves, and some of many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from adjointsim.derive.summary import Leaf, Route, StepSummary


def step(sources):
    """A step on arrays: the leaf of y_n that each leaf of y_{n+1} is, None for a new one."""
    routes = tuple(Route("fresh") if s is None else Route("state", s) for s in sources)
    return StepSummary((Leaf("f8", 1, False),) * len(sources), (), (), routes, ("add",) * len(sources))


def follow(sources, steps=7):
    """Carry out steps as the driver does and compare with what they mean; contents of buffers are names."""
    m = step(sources)
    cells = {("a", k): f"y0_{k}" for k in range(len(sources))} | {("b", k): None for k in m.spares}
    buffers, spares = ({k: (where, k) for w, k in cells if w == where} for where in "ab")
    expected = [f"y0_{k}" for k in range(len(sources))]
    for n in range(steps):
        now, spare = m.placed(buffers, spares, n)
        assert sorted([*now.values(), *spare.values()]) == sorted(cells)  # each buffer once
        assert [cells[now[k]] for k in range(len(sources))] == expected
        for k in m.spares:
            cells[spare[k]] = cells[now[m.copied[k]]] if k in m.copied else f"new_{n}_{k}"
        expected = [f"new_{n}_{k}" if s is None else expected[s] for k, s in enumerate(sources)]
        assert [cells[spare[k] if s is None else now[s]] for k, s in enumerate(m.last(1))] == expected
        assert [now[k] for k in m.last(0)] == [now[k] for k in range(len(sources))]


@pytest.mark.parametrize("leaves", [1, 2, 3, 4])
def test_all_routes(leaves):
    for sources in itertools.product([None, *range(leaves)], repeat=leaves):
        follow(sources)


def test_some_routes_of_many_leaves():
    rng = np.random.default_rng(0)
    for _ in range(200):
        leaves = int(rng.integers(5, 12))
        follow([None if k == leaves else int(k) for k in rng.integers(0, leaves + 1, leaves)], steps=2 * leaves)


def test_a_cotangent_comes_back_the_way_its_leaf_went():
    """Moved on and back, buffers are where they were: the cotangent's, which move back, with those of the state."""
    m = step([None, 0, 1, 4, 3])
    buffers, spares = {k: f"a{k}" for k in range(5)}, {k: f"b{k}" for k in m.spares}
    for n in range(13):
        assert m.placed(*m.placed(buffers, spares, n), -n) == (buffers, spares)
    now, spare = m.placed(buffers, spares, -1)
    assert (now, spare) == ({0: "a1", 1: "a2", 2: "b0", 3: "a4", 4: "a3"}, {0: "a0"})


def test_leaves_that_stay_need_nothing():
    m = step([0, 0, 2])
    assert [(chain.leaves, chain.period) for chain in m.chains] == [((1,), 2), ((0,), 1), ((2,), 1)]
    assert (m.spares, m.copied) == ((1,), {1: 0})


def test_what_is_handed_over_is_not_set():
    routes = (Route("fresh"), Route("state", 0))
    leaves = (Leaf("f8", 1, False),) * 2
    assert StepSummary(leaves, (), (), routes, ("add", "set")).heirs == {0: 1}
    with pytest.raises(AssertionError):
        StepSummary(leaves, (), (), routes, ("set", "add"))
