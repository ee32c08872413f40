"""The library's check of foreign schedules against the tests' own machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjointsim.errors import ArgumentError
from adjointsim.schedules import (
    ADVANCE,
    LOAD,
    RECORD,
    REVERSE,
    STORE,
    Action,
    Binomial,
    Mixed,
    Periodic,
    PeriodicDisk,
    StoreAll,
    TwoLevel,
    actions,
)  # fmt: skip
from adjointsim.schedules.verify import Verifier

from .machine import Machine

N, SLOTS = 4, 3


def test_every_schedule_of_ours_can_be_carried_out():
    binomial = [Binomial(n, s) for n in range(25) for s in range(1, max(n, 1) + 1)]
    for schedule in [StoreAll(7), Periodic(30), Mixed(30, 4), TwoLevel(40, 2, 3), PeriodicDisk(40, 2, 2, 5), *binomial]:
        verify = Verifier(schedule.n_steps, schedule.slots, schedule.disk_slots)
        for action in actions(schedule):
            verify(np.array([action]))
        assert verify.left == 0


def row(kind, a, b, slot):
    if kind == ADVANCE:
        return Action(kind, a, b, -1)
    return Action(kind, a, a if kind in (STORE, LOAD) else b, slot)


kinds = st.sampled_from([ADVANCE, STORE, LOAD, RECORD, REVERSE])
rows = st.builds(row, kinds, st.integers(-1, N), st.integers(-1, N + 1), st.integers(-2, SLOTS))


@given(st.lists(rows, max_size=12), st.integers(0, SLOTS))
def test_verifier_and_machine_agree(plan, disk):
    """Rows that the machine refuses are refused, and left out by both; the others are accepted."""
    verify, machine = Verifier(N, SLOTS, disk), Machine(N, SLOTS, disk)
    for action in plan:
        before = verify.current, verify.left, list(verify.held)
        state = machine.current, machine.left, dict(machine.slots)
        try:
            verify(np.array([action]))
            accepted = True
        except ArgumentError:
            accepted = False
            verify.current, verify.left, verify.held = before
        try:
            machine.do(action)
            fine = True
        except (AssertionError, KeyError):
            fine = False
            machine.current, machine.left, machine.slots = state
        assert accepted == fine, action
        assert (verify.current, verify.left) == (machine.current, machine.left)
        assert {k: n for k, n in enumerate(verify.held) if n >= 0} == machine.slots


def test_a_message_names_the_action():
    words = r"Got LOAD\(0, 0, 1\) from the schedule, but y_0 is current, the slots hold \[-1, -1\]"
    with pytest.raises(ArgumentError, match=words):
        Verifier(3, 2)(np.array([(LOAD, 0, 0, 1)]))
    with pytest.raises(ArgumentError, match="Got kind 9"):
        Verifier(3, 2)(np.array([(9, 0, 0, 1)]))
    with pytest.raises(ArgumentError, match="and the slots from 1 on are on a disk"):
        Verifier(3, 2, 1)(np.array([(RECORD, 0, 2, 0)]))
