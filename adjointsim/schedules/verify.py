"""Whether actions can be carried out: for schedules from elsewhere, before an executor trusts them with memory."""

from __future__ import annotations

import numpy as np

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import ADVANCE, KINDS, LOAD, RECORD, REVERSE, STORE

__all__ = ["Verifier"]


class Verifier:
    """Follows a sweep by its step numbers.  Called with the next rows, it raises ArgumentError at the first wrong one.

    Of the ``slots``, the last ``disk_slots`` are on a disk: RECORD and REVERSE cannot use them.
    """

    def __init__(self, n_steps: int, slots: int, disk_slots: int = 0) -> None:
        self.current, self.left = 0, n_steps
        self.held = [-1] * slots  # the n of the state in each slot
        self.memory = slots - disk_slots

    def __call__(self, rows: np.ndarray) -> None:
        for kind, a, b, slot in rows.tolist():
            if not self._follow(kind, a, b, slot):
                name = KINDS[kind] if 0 <= kind < len(KINDS) else f"kind {kind}"
                held = self.held if len(self.held) <= 20 else f"{self.held[:20]} ..."
                found = f"y_{self.current} is current, the slots hold {held}, {self.left} steps are left"
                if self.memory < len(self.held):
                    found += f", and the slots from {self.memory} on are on a disk"
                raise ArgumentError(f"Got {name}({a}, {b}, {slot}) from the schedule, but {found}")

    def _follow(self, kind: int, a: int, b: int, slot: int) -> bool:
        """Carry out one action; False if that cannot be done."""
        held, left = self.held, self.left
        can = False
        if a < 0:
            pass
        elif kind == ADVANCE:
            can = a == self.current and a < b < left
            self.current = b
        elif kind == STORE:
            can = a == b == self.current and 0 <= slot < len(held)
            if can:
                held[slot] = a
        elif kind == LOAD:
            can = a == b and 0 <= slot < len(held) and held[slot] == a
            self.current = a
        elif kind == RECORD:
            can = a == self.current and a < b <= left and 0 <= slot <= self.memory - (b - a)
            if can:
                held[slot : slot + b - a] = range(a, b)
                self.current = b - 1
        elif kind == REVERSE:
            stored = 0 <= slot <= self.memory - (b - a) and held[slot : slot + b - a] == list(range(a, b))
            can = a < b == left and (stored or (slot == -1 and a == b - 1 == self.current))
            self.left = a
        return can
