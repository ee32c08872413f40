"""What a gradient will cost, for reading and for drawing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adjointsim.ledger import readable, readable_seconds
from adjointsim.schedules import Schedule
from adjointsim.storage.times import Times, forward_steps, predicted_seconds, slot_bytes

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, repr=False)
class Plan:
    """What a gradient will cost.  ``bytes`` = slots * ``state_bytes`` + ``working_bytes``; printed, it is a few lines.

    The working set is ``estimated`` if a step records values in loops: how many is known only while it runs.  ``seconds``
    are predicted from a few steps, None if none were run: they leave out compilation and the costs at the end.
    """

    schedule: str
    n_steps: int
    slots: int
    forward_steps: int
    state_bytes: int
    working_bytes: int
    estimated: bool = False
    disk_slots: int = 0
    seconds: float | None = None
    of: Schedule | None = field(default=None, compare=False)  #: the schedule itself
    row_bytes: int | None = None  #: of each state if all are stored, where that is not ``state_bytes``

    @property
    def recomputation_factor(self) -> float:
        """Primal steps for each step of the simulation."""
        return self.forward_steps / self.n_steps if self.n_steps else 0.0

    @property
    def bytes(self) -> int:
        """Stored states and working set."""
        return self.slots * self.state_bytes + self.working_bytes

    @property
    def disk_bytes(self) -> int:
        """States on the disk."""
        return self.disk_slots * self.state_bytes

    @property
    def store_all_bytes(self) -> int:
        """The same if every state were stored."""
        each = self.state_bytes if self.row_bytes is None else self.row_bytes
        return max(self.n_steps, 1) * each + self.working_bytes

    @property
    def _about(self) -> str:
        return "about " if self.estimated else ""

    def __str__(self) -> str:
        disk = f" in memory, {self.disk_slots} on the disk," if self.disk_slots else ""
        lines = [
            f"{self.schedule}, {self.n_steps} steps, {self.slots} slots{disk} of {readable(self.state_bytes)}",
            f"  primal steps  {self.forward_steps} ({self.recomputation_factor:.2f} per step), and {self.n_steps} vjp steps",
            f"  memory        {self._about}{readable(self.bytes)} (working set {self._about}{readable(self.working_bytes)})",
        ]
        if self.bytes < self.store_all_bytes:
            lines.append(f"                {readable(self.store_all_bytes)} to store every state")
        if self.disk_slots:
            lines.append(f"  disk          {readable(self.disk_bytes)}")
        if self.seconds is not None:
            lines.append(f"  time          about {readable_seconds(self.seconds)}")
        return "\n".join(lines)

    __repr__ = __str__

    def plot(self, ax: Any = None) -> Any:
        """Draw the schedule on matplotlib axes, on new ones without ``ax``, and return them: which step is run or reversed, and
        how many slots hold states that are still needed, action by action.

        Of a long schedule, every so manieth action is drawn, up to some thousand.  MissingExtraError without matplotlib.
        """
        from adjointsim.storage.drawing import draw

        assert self.of is not None
        return draw(self.of, ax)


def plan(
    schedule: Schedule,
    state_bytes: int,
    working_bytes: int,
    estimated: bool = False,
    times: Times | None = None,
    row_bytes: int | None = None,
) -> Plan:
    """The plan of a schedule for states of this size; O(1), also for 10**9 steps.  ``row_bytes`` as of :class:`.Sizes`."""
    state_bytes = slot_bytes(schedule, state_bytes, row_bytes)
    steps, disk = forward_steps(schedule), schedule.disk_slots
    seconds = None if times is None else predicted_seconds(schedule, state_bytes, working_bytes, times)
    slots = schedule.slots - disk
    return Plan(
        schedule.name, schedule.n_steps, slots, steps, state_bytes, working_bytes, estimated, disk, seconds, schedule, row_bytes
    )  # fmt: skip
