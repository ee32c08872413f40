"""From a budget in bytes to a schedule, and what it will cost."""

from __future__ import annotations

import contextlib
import operator
import re
from dataclasses import dataclass

from adjointsim.errors import ArgumentError
from adjointsim.ledger import readable
from adjointsim.schedules import Binomial, Schedule, StoreAll
from adjointsim.schedules.actions import checked

__all__ = ["Plan", "choose", "forward_steps", "parse_bytes", "plan"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]I?|)B?\s*", re.IGNORECASE)


def parse_bytes(memory: int | str) -> int:
    """Bytes of ``2_000_000``, ``"200MB"``, ``"1.5 GB"`` or ``"64KiB"``; ArgumentError for anything else."""
    number: int | None = None
    if isinstance(memory, str):
        if match := _SIZE.fullmatch(memory):
            number = int(float(match[1]) * _UNITS[match[2].upper()])
    elif not isinstance(memory, bool):
        with contextlib.suppress(TypeError):
            number = operator.index(memory)
    if number is None or number <= 0:
        raise ArgumentError(f"Got memory={memory!r}, but expected a positive number of bytes, or '200MB', '2GB', '64KiB'")
    return number


def forward_steps(schedule: Schedule) -> int:
    """The primal steps that a ledger will show (see :class:`adjointsim.ledger.Ledger`)."""
    return schedule.n_steps if isinstance(schedule, StoreAll) else schedule.forward_steps


@dataclass(frozen=True)
class Plan:
    """What a gradient will cost.  ``bytes`` = slots * ``state_bytes`` + ``working_bytes``.

    The working set is ``estimated`` if a step records values in loops: how many is known only while it runs.
    """

    schedule: str
    n_steps: int
    slots: int
    forward_steps: int
    state_bytes: int
    working_bytes: int
    estimated: bool = False

    @property
    def recomputation_factor(self) -> float:
        """Primal steps for each step of the simulation."""
        return self.forward_steps / self.n_steps if self.n_steps else 0.0

    @property
    def bytes(self) -> int:
        """Stored states and working set."""
        return self.slots * self.state_bytes + self.working_bytes

    @property
    def store_all_bytes(self) -> int:
        """The same if every state were stored."""
        return max(self.n_steps, 1) * self.state_bytes + self.working_bytes

    @property
    def _about(self) -> str:
        return "about " if self.estimated else ""

    def __str__(self) -> str:
        lines = [
            f"{self.schedule}, {self.n_steps} steps, {self.slots} slots of {readable(self.state_bytes)}",
            f"  primal steps  {self.forward_steps} ({self.recomputation_factor:.2f} per step), and {self.n_steps} vjp steps",
            f"  memory        {self._about}{readable(self.bytes)} (working set {self._about}{readable(self.working_bytes)})",
        ]
        if self.bytes < self.store_all_bytes:
            lines.append(f"                {readable(self.store_all_bytes)} to store every state")
        return "\n".join(lines)


def plan(schedule: Schedule, state_bytes: int, working_bytes: int, estimated: bool = False) -> Plan:
    """The plan of a schedule for states of this size; O(1), also for 10**9 steps."""
    return Plan(schedule.name, schedule.n_steps, schedule.slots, forward_steps(schedule), state_bytes, working_bytes, estimated)


def choose(
    n_steps: int,
    state_bytes: int,
    working_bytes: int,
    *,
    memory: int | None = None,
    checkpoints: int | None = None,
    schedule: Schedule | None = None,
) -> Schedule:
    """The schedule for what the user named: a budget in bytes, a number of slots, a schedule, or nothing (store all).

    A budget gives store-all if every state fits, else the binomial schedule with as many slots as fit.  ArgumentError if
    not even one does, or if the schedule is for another number of steps or has slots on a disk.
    """
    if schedule is not None:
        if schedule.n_steps != n_steps:
            raise ArgumentError(f"Got a schedule for {schedule.n_steps} steps, but expected one for n_steps={n_steps}")
        if schedule.disk_slots:
            raise ArgumentError(
                f"Got the schedule {schedule.name!r} with disk_slots={schedule.disk_slots}, but expected one without: "
                "states are stored in memory only"
            )
        return schedule
    if checkpoints is not None:
        return Binomial(n_steps, min(checked("checkpoints", checkpoints, 1), max(n_steps, 1)))
    if memory is None or max(n_steps, 1) * state_bytes + working_bytes <= memory:
        return StoreAll(n_steps)
    slots = (memory - working_bytes) // state_bytes if state_bytes else 0
    if slots < 1:
        raise ArgumentError(
            f"Got memory={memory} bytes, but expected at least {state_bytes + working_bytes}: "
            f"a state takes {state_bytes} and the working set {working_bytes}"
        )
    return Binomial(n_steps, slots)
