"""How long a schedule takes, from what its parts take."""

from __future__ import annotations

from dataclasses import dataclass

from adjointsim.schedules import Periodic, PeriodicDisk, Schedule, Segmented, StoreAll, StoreAllDisk, TwoLevel
from adjointsim.storage.machine import STREAM, WRITE

__all__ = ["Times", "forward_steps", "predicted_seconds", "slot_bytes"]


@dataclass(frozen=True)
class Times:
    """Seconds of a primal step and of a VJP whose states are in the cache, and seconds for each byte that moves.

    ``stream`` is for a byte to memory or back, ``write`` and ``read`` for one to the disk and back; states and working set of
    no more than ``cache`` bytes stay in the cache.
    """

    step: float
    vjp: float
    stream: float = STREAM
    write: float = WRITE
    read: float = WRITE
    cache: int = 2**20


def forward_steps(schedule: Schedule) -> int:
    """The primal steps that a ledger will show (see :class:`adjointsim.ledger.Ledger`)."""
    return schedule.n_steps if isinstance(schedule, (StoreAll, StoreAllDisk)) else schedule.forward_steps


def slot_bytes(schedule: Schedule, state_bytes: int, row_bytes: int | None, beside: int = 0) -> int:
    """What a state takes in a slot, with what its step keeps ``beside`` it: less (``row_bytes``, if that is known) where all are
    stored in one run."""
    if schedule.one_run and row_bytes is not None:
        return row_bytes
    return state_bytes + beside * schedule.keeps


def predicted_seconds(schedule: Schedule, state_bytes: int, working_bytes: int, times: Times) -> float:
    """What a gradient takes.  The disk works beside the steps, so that the slower of the two counts."""
    compute = forward_steps(schedule) * times.step + schedule.n_steps * times.vjp
    compute += state_bytes * times.stream * _streamed(schedule, state_bytes, times.cache - working_bytes)
    writes, reads = _on_disk(schedule)
    return max(compute, state_bytes * (writes * times.write + reads * times.read))


def _streamed(schedule: Schedule, state: int, room: int) -> int:
    """How many states go to memory and come back from it, where ``room`` is left in the cache; each of both counts.

    In the slots of a binomial schedule every state is written about once and read once, as where all are stored.
    """
    if state > room:  # also where nothing is stored: this is in the seconds of a step
        return 0
    if (schedule.slots - schedule.disk_slots) * state <= room:
        return 0
    if isinstance(schedule, (Periodic, Segmented)) and schedule.period * state <= room:
        return 2 * -(-schedule.n_steps // schedule.period)
    return 2 * schedule.n_steps


def _on_disk(schedule: Schedule) -> tuple[int, int]:
    """States written to the disk and read from it, as far as is known."""
    if isinstance(schedule, (PeriodicDisk, TwoLevel)):
        return schedule.counts.writes, schedule.counts.reads
    return schedule.disk_slots, 0 if isinstance(schedule, StoreAllDisk) else schedule.disk_slots
