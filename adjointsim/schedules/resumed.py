"""The rest of a sweep that was interrupted: from the states that are still on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from adjointsim.schedules.actions import ADVANCE, LOAD, REVERSE, STORE, Schedule, Stream
from adjointsim.schedules.binomial import P
from adjointsim.schedules.blocks import plan_stream

__all__ = ["Resumed"]


@dataclass(frozen=True, kw_only=True)
class Resumed(Schedule):
    """Reverses steps 0 .. ``left``-1 of ``n_steps``, from states on the disk, with ``memory_slots`` slots in memory.

    ``held`` are pairs (n, slot), ascending and beginning with n = 0: y_n is in that disk slot.  If ``current`` is given, y_n
    with that n is current, the steps from there on have not been run, and the states ``more`` are put into slots on the way.
    The steps between two of these states are reversed binomially, which is optimal for the states that there are.
    """

    name: ClassVar[str] = "resumed"

    n_steps: int
    memory_slots: int
    disk_slots: int
    held: tuple[tuple[int, int], ...]
    left: int
    current: int | None = None
    more: tuple[tuple[int, int], ...] = ()

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Those in memory and, behind them, those on the disk."""
        return self.memory_slots + self.disk_slots

    @property
    def forward_steps(self) -> int:
        run = sum(b - a for kind, a, b, _ in self._rows() if kind == ADVANCE)
        return run + sum(P(b - a, self.memory_slots) for kind, a, b, _ in self._rows() if kind == REVERSE)

    def stream(self) -> Stream:
        current = -1 if self.current is None else self.current
        return plan_stream(self.n_steps, self.memory_slots, [*self._rows()], current)

    def _rows(self) -> Iterator[tuple[int, int, int, int]]:
        end = self.left
        if self.current is not None:
            at = self.current
            for n, slot in self.more:
                if n > at:
                    yield ADVANCE, at, n, -1
                yield STORE, n, n, slot
                at = n
            if at < end:
                yield REVERSE, at, end, -1
            end = at
        for n, slot in reversed((*self.held, *self.more)):
            if n < end:
                yield LOAD, n, n, slot
                yield REVERSE, n, end, -1
                end = n
