"""Binomial checkpointing of short segments: each is recorded and reversed in the same few slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import Stream, checked, checked_steps
from adjointsim.schedules.binomial import checked_segments
from adjointsim.schedules.blocks import Counted, Counts, block_counts, block_stream

__all__ = ["Segmented"]


@dataclass(frozen=True)
class Segmented(Counted):
    """The run is cut into segments of ``period`` steps, which are stored and run again binomially; all in memory.

    ``period`` slots hold the segment that is being reversed, always the same: if they fit in the cache, the states of its
    steps never leave it.  The other slots hold first states of segments.  With k the period, m segments (the last of l steps)
    and P of binomial.py it runs k P(m, slots - k) + (m-1) (k-1) + l-1 steps: more than a binomial schedule with as many slots,
    and moves 1/k of the states.  Where there is a slot for every segment but the last it runs as many as :class:`Periodic`.

    ArgumentError unless there is a slot besides those of a segment.  In the schedule, ``slots`` is what it uses.
    """

    name: ClassVar[str] = "segmented"

    n_steps: int
    slots: int
    period: int
    keeps: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        n, slots = checked_steps(self.n_steps), checked("slots", self.slots, 1)
        period = min(checked("period", self.period, 1), max(n, 1))
        if slots < min(period + 1, max(n, 1)):
            raise ArgumentError(f"Got slots={slots}, but expected at least {period + (period < n)} for period={period}")
        outer = min(slots - period, max(-(-n // period) - 1, 0))
        if outer:
            checked_segments(n, outer)
        for name, value in (("n_steps", n), ("slots", period + outer), ("period", period)):
            object.__setattr__(self, name, value)

    @property
    def counts(self) -> Counts:
        """Primal steps, and how often the first state of a segment is stored and loaded."""
        if not self.n_steps:
            return Counts(0, 0, 0)
        return block_counts(self.n_steps, self.period, self.period, self.slots - self.period)

    def stream(self) -> Stream:
        return block_stream(self.n_steps, self.period, self.period, self.slots - self.period)
