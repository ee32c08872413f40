"""Many integrations in one call of compiled code: the bits of calls by themselves, or nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.leaves import flatten, spec_of
from adjointsim.ode.lane import Column, Lane, Linearised
from adjointsim.ode.one_call import in_a_row
from adjointsim.ode.solve import Solve

TIMES = (np.array([0.5, 1.0, 2.0]), np.array([0.0, 0.3, 1.0]), np.array([1.0, 3.0, 3.5, 4.0]))
FACTOR = 1.0


class Pair(NamedTuple):
    a: float
    b: np.ndarray


class Rates(NamedTuple):
    a: float
    b: np.ndarray
    n: int  # rides along


def absorbed(t, y, p):
    return -p[0] * y[0], p[0] * y[0] - p[1] * y[1]


def dose(t, y, p):
    return y[0] + p[2], y[1]


def driven(t, y, p):
    out = np.zeros_like(y)
    for i in range(len(y)):
        out[i] = FACTOR * (p.b[i] * np.sin(t) - p.a * y[i])
    return out


def switched(t, y, p):
    return Pair(p[0] * (1.0 if t < 1.0 else 2.0) - y.a * p[1], -y.b * y.a)


def squared(t, y, p):
    return p[0] * y.a**2


def explosive(t, y, p):
    return p * y * y


def leaves(value):
    return flatten(value, spec_of(value, "value"), "value", copy=True)


def stacked(values):
    return [np.stack(own) for own in zip(*map(leaves, values), strict=True)]


def filled(odes, y0s, p, wrt, columns):
    """A lane and the stack that it has filled in."""
    assert in_a_row(odes)
    lane = Lane(Solve(odes[0], y0s[0], p), wrt, columns)
    own = [np.zeros((len(odes), 1))] * (odes[0].functions.running is not None)
    stack = Linearised(odes, [*stacked(y0s), *own], stacked([p] * len(odes)), lane)
    return lane, stack


def check(odes, y0s, p, wrt, columns, width):
    """All bits of ``Solve.linearised``; ``columns`` have the places of their names in ``wrt`` and indices there."""
    lane, stack = filled(odes, y0s, p, wrt, [column for column, *_ in columns])
    assert lane.width == width
    for _ in range(2):
        assert lane.run(stack)
        for e, (ode, y0) in enumerate(zip(odes, y0s, strict=True)):
            first, last = stack.ends[e : e + 2]
            seen, jacobians = Solve(ode, y0, p).linearised(wrt)
            assert str(stack.observations(e)) == str(seen)
            for k, leaf in enumerate(leaves(seen)):
                np.testing.assert_array_equal(stack.seen[k][first:last].reshape(leaf.shape), leaf)
            for c, (_, name, index) in enumerate(columns):
                found = jacobians[name]
                for k, leaf in enumerate(found if isinstance(found, tuple) else (found,)):
                    own = np.asarray(leaf)[(..., *index)]
                    np.testing.assert_array_equal(stack.moved[k][c, first:last].reshape(own.shape), own)


def test_doses():
    odes = [
        adj.ODE(absorbed, times, t0=0.0, rtol=1e-7, jumps=adj.Jump([0.0, 1.0, 1.5][: 2 + k], dose))
        for k, times in zip((0, 1, 1), TIMES, strict=True)
    ]
    columns = [(Column(False, k, 0), k, ()) for k in range(3)]
    check(odes, [(1.0, 0.0), (2.0, 0.1), (0.0, 0.0)], (1.1, 0.4, 0.7), ("p[0]", "p[1]", "p[2]"), columns, 3)


def test_arrays_and_what_is_read_from_outside(monkeypatch):
    odes = [adj.ODE(driven, times, t0=0.0, rtol=1e-7, method="dopri5") for times in TIMES]
    y0s, p = [np.arange(3.0) + k for k in range(3)], Rates(0.5, np.array([1.0, 2.0, 3.0]), 4)
    columns = [(Column(False, 0, 0), 0, ()), (Column(False, 1, 2), 1, (2,)), (Column(True, 0, 1), 2, (1,))]
    check(odes, y0s, p, ("p.a", "p.b", "y0"), columns, 3)
    lane, stack = filled(odes, y0s, p, ("p.a", "p.b", "y0"), [column for column, *_ in columns])
    assert lane.run(stack)
    before = stack.seen[0].copy()
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    assert lane.run(stack) and np.all(stack.seen[0][1:3] != before[1:3])
    monkeypatch.setitem(globals(), "FACTOR", np.ones(3))  # something else: not derived for that
    assert not lane.run(stack)


def test_a_right_hand_side_that_jumps_and_a_running_cost():
    odes = [adj.ODE(switched, times, t0=0.0, rtol=1e-6, discontinuities=[1.0], running=squared) for times in TIMES]
    y0s = [Pair(1.0, np.ones(2)), Pair(2.0, np.ones(2)), Pair(0.5, np.full(2, 0.3))]
    check(odes, y0s, (1.1, 0.4), ("p[0]", "y0.b"), [(Column(False, 0, 0), 0, ()), (Column(True, 1, 1), 1, (1,))], 2)


def test_a_stiff_method_whose_stages_have_a_rule_of_their_own():
    odes = [adj.ODE(absorbed, times, t0=0.0, rtol=1e-6, method="kvaerno5") for times in TIMES]
    columns = [(Column(False, k, 0), k, ()) for k in range(2)]
    check(odes, [(1.0, 0.0), (2.0, 0.1), (0.3, 0.0)], (1.1, 0.4, 0.7), ("p[0]", "p[1]"), columns, 1)


def test_what_goes_wrong_is_not_said_here():
    odes = [adj.ODE(explosive, [0.5, end], t0=0.0, rtol=1e-8) for end in (0.6, 0.9)]
    lane, stack = filled(odes, [1.0, 1.0], 1.0, ("p",), [Column(False, 0, 0)])
    assert lane.run(stack)
    stack.p[0][1] = 1.2  # infinite at t = 1 / 1.2
    assert not lane.run(stack)
    stack.p[0][1] = np.nan
    assert not lane.run(stack)
    stack.p[0][1] = 1.0
    assert lane.run(stack)
    odes = [adj.ODE(explosive, [0.5, 0.6], t0=0.0, rtol=1e-8, max_steps=3)]
    lane, stack = filled([adj.ODE(explosive, [0.5, 0.6], t0=0.0, rtol=1e-8)], [1.0], 1.0, ("p",), [Column(False, 0, 0)])
    assert lane.run(stack)
    assert not lane.run(Linearised(odes, stack.y, stack.p, lane))


@pytest.mark.parametrize(
    "more", [{"dt": 0.1}, {"events": adj.Event(lambda t, y, p: y - 5.0)}, {"progress": True}, {"threads": 2}, {"rtol": (1e-3,)}]
)
def test_what_is_not_integrated_in_a_row(more):
    plain = adj.ODE(explosive, [0.5, 0.6], t0=0.0)
    assert in_a_row([plain, plain]) and not in_a_row([plain, adj.ODE(explosive, [0.5, 0.6], t0=0.0, **more)])
