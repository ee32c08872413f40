"""Schedules that are given as the list of their actions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules.actions import ADVANCE, RECORD, Schedule, Stream, checked, checked_steps, replay
from adjointsim.schedules.verify import Verifier

__all__ = ["Listed"]


@dataclass(frozen=True, eq=False)
class Listed(Schedule):
    """The actions in ``rows``, (kind, a, b, slot) each, verified here once: every step must be reversed.

    ``slots`` is how many they may use; the last ``disk_slots`` of them are on a disk.  The stream is a copy of the rows.

    Raises ArgumentError for an action that cannot be carried out, or if steps are left at the end; StructureError if the
    rows are no integers in four columns.
    """

    n_steps: int
    slots: int
    rows: Any = field(repr=False)
    disk_slots: int = 0
    name: str = "listed"  # type: ignore[misc]

    def __post_init__(self) -> None:
        n, slots = checked_steps(self.n_steps), checked("slots", self.slots, 1)
        disk = checked("disk_slots", self.disk_slots, 0)
        if disk > slots:
            raise ArgumentError(f"Got disk_slots={disk}, but expected at most slots={slots}")
        rows = _table(self.rows)
        verify = Verifier(n, slots, disk)
        verify(rows)
        if verify.left:
            raise ArgumentError(f"Got actions that leave {verify.left} of {n} steps, but expected all to be reversed")
        for name, value in (("n_steps", n), ("slots", slots), ("disk_slots", disk), ("rows", rows)):
            object.__setattr__(self, name, value)

    @property
    def forward_steps(self) -> int:
        kind, length = self.rows[:, 0], self.rows[:, 2] - self.rows[:, 1]
        return int(np.sum(length[kind == ADVANCE])) + int(np.sum(length[kind == RECORD] - 1))

    def stream(self) -> Stream:
        return Stream(replay, np.concatenate([[0, len(self.rows)], self.rows.ravel()]))


def _table(rows: Iterable[Iterable[int]]) -> np.ndarray:
    """The rows as a read-only int64 array of their own."""
    try:
        table = np.array([tuple(row) for row in rows])
    except (TypeError, ValueError, OverflowError):
        raise StructureError("Got rows that are no table, but expected actions (kind, a, b, slot)") from None
    table = table.reshape(0, 4).astype(np.int64) if not table.size else table
    if table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iu":
        raise StructureError(f"Got rows of shape {table.shape} and {table.dtype}, but expected integers (kind, a, b, slot)")
    table = table.astype(np.int64)
    table.flags.writeable = False
    return table
