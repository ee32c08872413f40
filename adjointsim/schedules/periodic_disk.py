"""Periodic states on a disk, and binomial checkpointing in memory between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import Stream, checked, checked_steps
from adjointsim.schedules.binomial import checked_segments
from adjointsim.schedules.blocks import Counts, Priced, block_counts, block_stream, marks

__all__ = ["PeriodicDisk", "best_period"]


def best_period(n: int, memory: int, disk: int | None, write: float, read: float, forward: float) -> int:
    """The cheapest period among those where the cost has kinks, and those that make blocks of equal length of them; n >= 1.

    ``disk`` None stands for as many slots as there are blocks.  A block of k steps costs write + read +
    forward (k + P(k, memory)) then, and since P is piecewise linear the cost a step is monotonous between kinks.
    """
    if disk == 0:
        return n
    periods = {n, *marks(memory, n)}
    if disk is not None:
        periods |= {-(-n // blocks) for blocks in marks(disk, n)}
    periods |= {-(-n // -(-n // k)) for k in periods}

    def cost(k: int) -> float:
        counts = block_counts(n, k, memory, _needed(n, k, disk))
        return forward * counts.forward_steps + write * counts.writes + read * counts.reads

    return min(sorted(periods, reverse=True), key=cost)


def _needed(n: int, k: int, disk: int | None) -> int:
    """The disk slots in use: one for each block but the last, if there are so many."""
    others = max(-(-n // k) - 1, 0)
    return others if disk is None else min(others, disk)


@dataclass(frozen=True)
class PeriodicDisk(Priced):
    """Every ``period``-th state goes to the disk, and the blocks between are reversed with ``memory_slots`` slots in memory.

    With ``disk_slots=None`` the disk takes all of them.  Where it is bounded, they are stored and run again binomially, block
    by block.  Without a period, the cheapest is taken, given what it costs to ``write`` a state to the disk and to ``read``
    one, and to run a step ``forward`` (and ``reverse``, which every schedule does n_steps times): numbers in any unit.

    Aupy & Herrmann, "Periodicity in optimal hierarchical checkpointing schemes for adjoint computations", Optim. Methods
    Softw. 32 (2017): with an unlimited disk the optimal schedule has blocks of one length but for a bounded number of them, so
    the best period is asymptotically optimal among blocks whose first state is read once.  With P of binomial.py and m blocks
    of k steps (the last of l) it runs (m-1) (k + P(k, s)) + P(l, s) steps, writes m-1 states and reads m-1; this is the
    ``cost``.  :class:`TwoLevel` is optimal for small numbers of steps.

    In the schedule, ``disk_slots`` is what it uses, and ``slots`` are those in memory and, behind them, those on the disk.
    """

    name: ClassVar[str] = "periodic-disk"

    n_steps: int
    memory_slots: int
    disk_slots: int = None  # type: ignore[assignment]
    period: int = 0
    write: float = field(default=1.0, kw_only=True)
    read: float = field(default=1.0, kw_only=True)
    forward: float = field(default=1.0, kw_only=True)
    reverse: float = field(default=1.0, kw_only=True)
    slots: int = field(init=False)

    def __post_init__(self) -> None:
        n, memory = checked_steps(self.n_steps), checked("memory_slots", self.memory_slots, 1)
        memory = min(memory, max(n, 1))
        checked_segments(n, memory, slots_name="memory_slots")
        disk = None if self.disk_slots is None else checked("disk_slots", self.disk_slots, 0)
        self._check_costs()
        period = checked("period", self.period, 0)
        if not n:
            period = 1
        elif not period:
            period = best_period(n, memory, disk, self.write, self.read, self.forward)
        period = min(period, max(n, 1))
        if disk == 0 and period < n:
            raise ArgumentError(f"Got disk_slots=0 with period={period}, but expected a slot for every {period}th state")
        disk = _needed(n, period, disk)
        if disk < -(-n // period) - 1:
            checked_segments(n, disk, slots_name="disk_slots")
        values = {"n_steps": n, "memory_slots": memory, "disk_slots": disk, "period": period, "slots": memory + disk}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def counts(self) -> Counts:
        """Primal steps, writes and reads."""
        if not self.n_steps:
            return Counts(0, 0, 0)
        return block_counts(self.n_steps, self.period, self.memory_slots, self.disk_slots)

    def stream(self) -> Stream:
        return block_stream(self.n_steps, self.period, self.memory_slots, self.disk_slots)
