"""An abstract machine: it carries out actions on step numbers instead of states, and checks that they can be."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE, Action, Schedule, actions


class Machine:
    """``current`` and ``slots[k]`` are the n of the y_n that they hold; ``left`` steps are still to be reversed.

    The last ``disk_slots`` slots are on a disk.  ``leaves`` are REVERSEs whose first step finds its state current.
    """

    def __init__(self, n_steps: int, slots: int, disk_slots: int = 0) -> None:
        self.size, self.memory, self.left = slots, slots - disk_slots, n_steps
        self.current = 0
        self.slots: dict[int, int] = {}
        self.forward_steps = self.writes = self.disk_writes = self.disk_reads = self.leaves = 0
        self.used: set[int] = set()

    def put(self, slot: int, n: int) -> None:
        assert 0 <= slot < self.size, f"slot {slot} of {self.size}"
        self.slots[slot] = n
        self.used.add(slot)
        self.writes += 1
        self.disk_writes += slot >= self.memory

    def do(self, action: Action) -> None:
        kind, a, b, slot = action
        match kind:
            case 1:  # ADVANCE
                assert slot == -1 and self.current == a < b < self.left
                self.current = b
                self.forward_steps += b - a
            case 2:  # STORE
                assert a == b == self.current
                self.put(slot, a)
            case 3:  # LOAD
                assert a == b == self.slots[slot]
                self.current = a
                self.disk_reads += slot >= self.memory
            case 4:  # RECORD
                assert self.current == a < b <= self.left
                assert slot + b - a <= self.memory
                for n in range(a, b):
                    self.put(slot + n - a, n)
                self.current = b - 1
                self.forward_steps += b - 1 - a
            case 5:  # REVERSE
                assert a < b == self.left
                assert slot + b - a <= self.memory
                self.leaves += self.current == b - 1
                if slot == -1:
                    assert a == b - 1 == self.current
                else:
                    assert all(self.slots[slot + n - a] == n for n in range(a, b))
                self.left = a
            case _:
                raise AssertionError(f"kind {kind}")

    def run(self, stream: Iterable[Action]) -> Machine:
        for action in stream:
            try:
                self.do(action)
            except (AssertionError, KeyError) as error:
                error.add_note(f"{action} with y_{self.current} current, {self.slots} stored, {self.left} steps left")
                raise
        return self


def fused(first: Action, second: Action) -> bool:
    """Whether no single action does what these two neighbours do."""
    match first.kind, second.kind:
        case (1, 1) | (3, 3) | (2, 2):
            return False
        case (2, 4) | (2, 3) | (4, 2):  # the state is already stored, or already current
            return not (first.a == second.a and first.slot == second.slot)
        case (5, 5):
            return -1 in (first.slot, second.slot) or first.slot != second.slot + (second.b - second.a)
    return True


def check(schedule: Schedule) -> Machine:
    """Run a whole schedule; it must reverse every step, run the steps it announces, and be fused."""
    rows = list(actions(schedule))
    machine = Machine(schedule.n_steps, schedule.slots, schedule.disk_slots).run(rows)
    assert machine.left == 0
    assert machine.forward_steps == schedule.forward_steps
    assert all(fused(*pair) for pair in pairwise(rows))
    return machine


assert (ADVANCE, STORE, LOAD, RECORD, REVERSE) == (1, 2, 3, 4, 5)  # written as numbers in the patterns above
