"""A run of unknown length with a second tier: states go to a disk at intervals that grow with the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import ADVANCE, STORE, Schedule, Stream, checked, replay
from adjointsim.schedules.resumed import Resumed

__all__ = ["OnlineDisk", "OnlineDiskStream"]


@dataclass(frozen=True, kw_only=True)
class OnlineDisk(Schedule):
    """At most ``n_steps`` steps: on the way there, y_0 and every p-th state go to the disk; the way back is that of a known run.

    p is the least power of two with which the states up to the current one fit into ``disk_slots``.  So it doubles as they fill
    up, and every other state is given up: there are never fewer than half of the slots in use, once they were.  When the end
    has been found, what lies between two states is reversed binomially with ``memory_slots`` slots (see :class:`.Resumed`),
    from the last to the first: each step but the last is run once more, at least.  p follows from n alone, so a run that was
    interrupted goes on in the same way, with the states ``held``, pairs (n, slot) with n = 0 among them, from y_n with
    n = ``current``.
    """

    name: ClassVar[str] = "online-disk"

    n_steps: int
    memory_slots: int
    disk_slots: int
    held: tuple[tuple[int, int], ...] = ()
    current: int = 0

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Those in memory and, behind them, those on the disk."""
        return self.memory_slots + self.disk_slots

    @property
    def forward_steps(self) -> int:
        """Of the way there, if it goes on to the bound."""
        return self.n_steps

    def stream(self) -> OnlineDiskStream:
        return OnlineDiskStream(self)


class OnlineDiskStream(Stream):
    """The actions of an :class:`OnlineDisk`; used as an :class:`.OnlineStream` is."""

    __slots__ = ("at", "before", "held", "schedule", "stopped")

    def __init__(self, schedule: OnlineDisk) -> None:
        super().__init__(replay, np.zeros(2, np.int64))
        self.schedule, self.held = schedule, dict(schedule.held)
        self.at = self.before = schedule.current
        self.stopped = False

    def forward(self, out: np.ndarray) -> int:
        """The next rows of the way there, as :meth:`.OnlineStream.forward`: a STORE, if there is one, and an ADVANCE."""
        self._check(out)
        schedule, n, count = self.schedule, self.at, 0
        if n == schedule.n_steps:
            return 0
        period = 1
        while n // period >= schedule.disk_slots:
            period *= 2
        self.held = {m: slot for m, slot in self.held.items() if m % period == 0}
        if n % period == 0 and n not in self.held:
            taken = set(self.held.values())
            slot = next(k for k in range(schedule.disk_slots) if k not in taken)
            out[count] = STORE, n, n, schedule.memory_slots + slot
            self.held[n], count = slot, count + 1
        self.before, self.at = n, min((n // period + 1) * period, schedule.n_steps)
        out[count] = ADVANCE, n, self.at, -1
        return count + 1

    def stop(self, n: int) -> None:
        """y_{n-1} is current, and y_n, to which the last rows led, is the last one."""
        n, schedule = checked("n", n, 1), self.schedule
        if self.stopped or not self.before < n <= self.at:
            raise ArgumentError(f"Got stop({n}), but the last rows went from y_{self.before} to y_{self.at}")
        rest = Resumed(
            n_steps=n, memory_slots=schedule.memory_slots, disk_slots=schedule.disk_slots, held=tuple(sorted(self.held.items())),
            left=n, current=n - 1,
        ).stream()  # fmt: skip
        self.kernel, self.state, self.stopped = rest.kernel, rest.state, True
