"""From a budget in bytes to a schedule."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from adjointsim.errors import ArgumentError
from adjointsim.schedules import Binomial, Periodic, PeriodicDisk, Schedule, Segmented, StoreAll, StoreAllDisk, TwoLevel
from adjointsim.schedules.actions import checked
from adjointsim.storage.times import Times, predicted_seconds, slot_bytes

__all__ = ["Sizes", "candidates", "choose", "fastest", "online_disk_slots", "undecided"]

_PARTS = 16  # of a run in a directory that recomputes, at least: what is lost when it is killed
_ONLINE_SLOTS = 64  # half of them are in use at least, once the run is that long
_TABULATED = 10**7  # work of a dynamic programme that takes no time to speak of
_NEAR = 1.05  # times that differ by less are the same
_SHARES = (1.0, 0.25, 0.0)  # of what the disk takes, which the steps may hide: the periods that are cheapest then


@dataclass(frozen=True)
class Sizes:
    """What is stored and where it may be: ``memory`` None is as much as needed, ``disk`` None is no disk.

    ``row_bytes`` is what each state takes where all are stored in one run, by default as much as any other.  ``kept`` are the
    same and the working bytes if steps keep what they could, and what that takes beside each state.
    """

    n_steps: int
    state_bytes: int
    working_bytes: int
    memory: int | None = None
    disk: int | None = None
    row_bytes: int | None = None
    kept: tuple[int, int, int] | None = None

    @property
    def slots(self) -> int:
        """The states that fit in memory, n_steps at most.  ArgumentError if there is not even one."""
        n, state, working = self.n_steps, self.state_bytes, self.working_bytes
        most = max(n, 1)
        if self.memory is None or self.in_all <= self.memory:
            return most
        slots = (self.memory - working) // state if state else 0
        if slots < 1:
            raise ArgumentError(
                f"Got memory={self.memory} bytes, but expected at least {state + working}: "
                f"a state takes {state} and the working set {working}"
            )
        return min(slots, max(2**62 // n, 1))  # beyond that, schedules cannot count

    @property
    def in_all(self) -> int:
        """Bytes if every state is stored."""
        alone = self.disk is None and self.row_bytes is not None  # with a disk, states are in several runs
        return max(self.n_steps, 1) * (self.row_bytes if alone else self.state_bytes) + self.working_bytes  # type: ignore[operator]

    @property
    def keeps(self) -> bool:
        """Whether every state fits with what steps could keep beside it."""
        if self.kept is None or self.disk is not None:
            return False
        row, working, _ = self.kept
        return self.memory is None or max(self.n_steps, 1) * row + working <= self.memory

    @property
    def disk_slots(self) -> int:
        """The states that fit on the disk; one more, y_0, is there if a run goes on."""
        return max(self.disk // self.state_bytes - 1, 0) if self.disk is not None and self.state_bytes else 0

    @property
    def wide(self) -> Sizes | None:
        """The same where each slot has what a step keeps, too; None where that is nothing."""
        if self.kept is None or self.disk is not None:
            return None
        row, working, beside = self.kept
        return replace(self, state_bytes=self.state_bytes + beside, working_bytes=working, row_bytes=row, kept=None)

    def seconds(self, schedule: Schedule, times: Times) -> float:
        """What a schedule takes.  With what steps keep a VJP need not run its step again: about that much less."""
        row, working, beside = self.row_bytes, self.working_bytes, 0
        if schedule.keeps and self.kept is not None:
            row, working, beside = self.kept
            times = replace(times, vjp=max(times.vjp - times.step, 0.25 * times.vjp))
        return predicted_seconds(schedule, slot_bytes(schedule, self.state_bytes, row, beside), working, times)


def candidates(sizes: Sizes, slots: int, times: Times | None = None) -> list[Schedule]:
    """The schedules with at most so many ``slots`` in memory that may be the best, the simplest first.

    Without ``times`` there is one, the best that can be said then: to store every state if they fit, else to run as few steps
    as can be.
    """
    n, count = sizes.n_steps, sizes.disk_slots
    if count and n >= 2:
        return [StoreAllDisk(n, count)] if slots >= n else _two_tiers(sizes, slots, min(count, max(2**62 // n, 1)), times)
    found: list[Schedule] = [StoreAll(n, sizes.keeps) if slots >= n else Binomial(n, slots)]
    if times is None:
        return found
    found += _in_cache(sizes, slots, times)
    if sizes.wide is not None and not sizes.keeps:
        with contextlib.suppress(ArgumentError):  # not even one fits
            found += _in_cache(sizes.wide, sizes.wide.slots, times, keeps=True)
    return found


def _in_cache(sizes: Sizes, slots: int, times: Times, keeps: bool = False) -> list[Schedule]:
    """Segments that stay in the cache from when they are recorded until they are reversed; their steps may keep what they can
    (those of a binomial schedule are reversed one by one, so that there is nothing to keep)."""
    period = (times.cache - sizes.working_bytes) // max(sizes.state_bytes, 1)
    if not sizes.state_bytes or not 2 <= period < sizes.n_steps:  # no state fits, or all do
        return []
    schedule = Periodic(sizes.n_steps, period=period, keeps=keeps)
    if schedule.slots <= slots:
        return [schedule]
    with contextlib.suppress(ArgumentError):  # too few slots, or more steps than 64 bits can count with them
        return [Segmented(sizes.n_steps, slots, period, keeps)]
    return []


def _two_tiers(sizes: Sizes, slots: int, count: int, times: Times | None) -> list[Schedule]:
    """Too few slots in memory for all states, and ``count`` on the disk; at least some are used, so that a run can go on."""
    n, state = sizes.n_steps, sizes.state_bytes
    parts = min(_PARTS, count + 1)
    found: list[Schedule] = []
    for share in (1.0,) if times is None else _SHARES:
        costs: dict[str, Any] = {}
        if times is not None:
            costs = {"write": share * state * times.write, "read": share * state * times.read, "forward": times.step}
        period = min(PeriodicDisk(n, slots, disk_slots=count, **costs).period, -(-n // parts))
        found.append(PeriodicDisk(n, slots, disk_slots=count, period=period))
        if times is not None and n * n * min(count, n) <= _TABULATED:
            schedule = TwoLevel(n, slots, count, **costs)
            found += [schedule] * (schedule.counts.writes >= parts - 1)
    return found


def online_disk_slots(sizes: Sizes) -> int:
    """The slots on the disk of a run of unknown length: twice as many parts as a known one has at least, if they fit."""
    return min(sizes.disk_slots, _ONLINE_SLOTS)


def undecided(sizes: Sizes, cache: int) -> bool:
    """Whether it takes times to choose: there is a budget, and more than one schedule for it."""
    return sizes.memory is not None and len(candidates(sizes, sizes.slots, Times(1.0, 2.0, cache=cache))) > 1


def fastest(sizes: Sizes, schedules: Sequence[Schedule], times: Times) -> Schedule:
    """The one that takes the least time; of those that take about as long, the first."""
    seconds = [sizes.seconds(schedule, times) for schedule in schedules]
    return next(s for s, t in zip(schedules, seconds, strict=True) if t <= _NEAR * min(seconds))


def choose(
    n_steps: int,
    state_bytes: int,
    working_bytes: int,
    *,
    memory: int | None = None,
    checkpoints: int | None = None,
    schedule: Schedule | None = None,
    disk: int | None = None,
    times: Times | None = None,
    row_bytes: int | None = None,
    kept: tuple[int, int, int] | None = None,
) -> Schedule:
    """The schedule for what the user named: a schedule, a number of slots, a budget in bytes, or nothing (store all).

    In a budget, the one that takes the least time by ``times``; without these, store-all if every state fits, else the binomial
    schedule with as many slots as fit.  If there is a ``disk`` for so many bytes, states go there besides, so that a run can go
    on from them.  ArgumentError if not even one state fits, or if the schedule is for another number of steps or needs a disk
    and there is none.
    """
    if schedule is not None:
        if schedule.n_steps != n_steps:
            raise ArgumentError(f"Got a schedule for {schedule.n_steps} steps, but expected one for n_steps={n_steps}")
        if schedule.disk_slots and disk is None:
            raise ArgumentError(f"Got a schedule with {schedule.disk_slots} slots on a disk, but no directory=")
        return schedule
    return _chosen(Sizes(n_steps, state_bytes, working_bytes, memory, disk, row_bytes, kept), checkpoints, times)


@lru_cache(maxsize=16, typed=True)
def _chosen(sizes: Sizes, checkpoints: int | None, times: Times | None) -> Schedule:
    """The best schedule; many calls ask for the same."""
    n_steps = sizes.n_steps
    if checkpoints is not None:
        slots = min(checked("checkpoints", checkpoints, 1), max(n_steps, 1))
        return candidates(sizes, slots)[0] if sizes.disk_slots and n_steps >= 2 else Binomial(n_steps, slots)
    found = candidates(sizes, sizes.slots, times)
    return found[0] if times is None or sizes.memory is None else fastest(sizes, found, times)
