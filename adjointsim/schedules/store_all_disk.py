"""Store every state in memory, and some of them on a disk besides: no step is run twice unless the run is killed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import ADVANCE, KERNEL, RECORD, REVERSE, STORE, Schedule, Stream, checked, checked_steps
from adjointsim.schedules.binomial import put

__all__ = ["StoreAllDisk"]

_PARTS = 16  # between two states on the disk a sixteenth of the run, if there is room


@dataclass(frozen=True)
class StoreAllDisk(Schedule):
    """As :class:`StoreAll`, and y_k, y_2k, ... with the ``period`` k are written to the disk on the way.

    Nothing is read from there: the states are what is left of a run that is killed, which goes on from them.  y_0 is not
    among them: who goes on has it.  Without a period there are sixteen parts, or as many as ``disk_slots`` allow.  It runs
    n_steps - 1 primal steps.  In the schedule, ``disk_slots`` is what it uses; ``slots`` are the n_steps in memory and, behind
    them, those on the disk.
    """

    name: ClassVar[str] = "store-all-disk"

    n_steps: int
    disk_slots: int = None  # type: ignore[assignment]
    period: int = 0

    def __post_init__(self) -> None:
        n, period = checked_steps(self.n_steps), checked("period", self.period, 0)
        room = None if self.disk_slots is None else checked("disk_slots", self.disk_slots, 0)
        if not period:
            period = -(-n // (_PARTS if room is None else min(_PARTS, room + 1)))
        period = min(max(period, 1), max(n, 1))
        needed = max(-(-n // period) - 1, 0)
        if room is not None and room < needed:
            raise ArgumentError(f"Got disk_slots={room}, but expected at least {needed} for n_steps={n} and period={period}")
        for name, value in (("n_steps", n), ("disk_slots", needed), ("period", period)):
            object.__setattr__(self, name, value)

    @property
    def slots(self) -> int:  # type: ignore[override]
        return max(self.n_steps, 1) + self.disk_slots

    @property
    def forward_steps(self) -> int:
        return max(self.n_steps - 1, 0)

    def stream(self) -> Stream:
        return Stream(fill_store_all_disk, np.array([self.n_steps, self.period, 0], np.int64))


# The state of a stream: the number of steps, the period, and the rows written.  A part but the last is three rows: RECORD, which
# ends with its last state, ADVANCE to the first of the next part, and STORE of that.
@njit(**KERNEL)
def fill_store_all_disk(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of :class:`StoreAllDisk`."""
    n_steps, k = state[0], state[1]
    last = -(-n_steps // k) - 1  # of the parts
    n = 0
    while n < out.shape[0] and state[2] < 3 * last + 2 and n_steps > 0:
        j, turn = state[2] // 3, state[2] % 3
        a, b = j * k, j * k + min(k, n_steps - j * k)
        if turn == 0:
            n = put(out, n, RECORD, a, b, a)
        elif j == last:
            n = put(out, n, REVERSE, 0, n_steps, 0)
        elif turn == 1:
            n = put(out, n, ADVANCE, b - 1, b, -1)
        else:
            n = put(out, n, STORE, b, b, n_steps + j)
        state[2] += 1
    return n
