"""Runs that survive their process: a sweep that says on the disk where it is, and one that goes on from there.

Some states are on the disk anyway: those of the second tier.  Now and then a record is put beside them, all at once or not at
all: where the sweep is, its current state on the way there, or the cotangents on the way back, and which slots of the disk hold
which states.  The states in memory are lost with the process; those of one segment are computed again.  As schedules do not
change bits, what goes on after that may be any schedule for what is left.  A record of the way back says how long the run is,
if that was found on the way there.

A record says what run it is of (:func:`identity`), and is refused by any other.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_name

from adjointsim.call import Call
from adjointsim.derive.identity import identity_of
from adjointsim.errors import NonFiniteError
from adjointsim.executor import Snapshot
from adjointsim.leaves import Leaves
from adjointsim.rows import Reach, within
from adjointsim.schedules import RECORD, Schedule
from adjointsim.schedules.online_disk import OnlineDisk
from adjointsim.schedules.resumed import Resumed
from adjointsim.storage.digest import digest
from adjointsim.storage.disk import DiskSlots, Tier, layout_of
from adjointsim.storage.restart import Record, RunDirectory
from adjointsim.sweep import Sweep

__all__ = ["resumable"]

SECONDS = 10.0  #: between two records, at least
_SHARE = 0.05  # of the time, that records may take


@contextmanager
def resumable(call: Call, verb: str) -> Iterator[Sweep]:
    """A sweep for a verb.  In a directory it goes on with an unfinished run, if there is one, and leaves one if it is killed.

    An exception leaves the files of a run that has a record, and none of a run that would begin anew.
    """
    schedule = call.schedule()
    if not isinstance(call.sim.directory, Path):
        yield call.sweep(schedule)
        return
    run = RunDirectory(call.sim.directory, identity(call, verb))
    done = False
    try:
        place = _Place.opened(run, schedule, call.y0)
        if place.record is not None and place.record.back:  # its length is known
            call.problem = call.problem.ended(place.n_steps)
        try:
            sweep = call.sweep(place.schedule(schedule, call.y0), tier=place.tier)
            place.begin(sweep)
            yield sweep
        finally:
            place.close()
        done = True
    except NonFiniteError:  # there is nothing to go on with: it would come again
        done = True
        raise
    finally:  # also if Ctrl-C comes while the states are closed: else this process would hold the lock
        run.close(done or run.begins)


def identity(call: Call, verb: str) -> dict[str, str]:
    """What a run is: everything that its bits depend on, and that may differ from one call to the next."""
    sim, problem = call.sim, call.problem
    functions = {"step": sim.step.function, "vjp": sim.step.hand_vjp}
    functions |= {name: getattr(problem, name) for name in ("running", "observe", "misfit", "terminal", "until")}
    versions = {name: version(name) for name in ("adjointsim", "numba", "numpy", "scipy")}
    return {
        **versions, "machine": f"{platform.machine()} {get_host_cpu_name()}", "verb": verb, "n_steps": str(sim.n_steps),
        **{name: identity_of(fn) for name, fn in functions.items() if fn is not None},
        "y0": f"{problem.y_spec} {problem.y_shapes} {digest(call.y0):016x}",
        "p": f"{problem.p_spec} {problem.p_shapes} {digest(call.p):016x}", "jit": str(sim.step.jit),
        "observe_at": f"{digest([problem.observe_at]):016x}", "wrt": str([int(on) for on in problem.p_active]),
    }  # fmt: skip


@dataclass
class _Place:
    """Where a run works: its directory, its second tier, and the record that it goes on from."""

    run: RunDirectory
    tier: Tier
    record: Record | None
    n_steps: int  # of the run, or at most

    @classmethod
    def opened(cls, run: RunDirectory, schedule: Schedule, y0: Leaves) -> _Place:
        """The files of a run: those of an unfinished one, or new ones."""
        record = run.last()
        count, n_steps, size = schedule.disk_slots + 1, schedule.n_steps, sum(leaf.nbytes for leaf in y0)  # and one for y_0
        header = {"layout": [[kind, list(shape)] for kind, shape in layout_of(y0)], "identity": run.identity}
        slots = None
        if record is not None:
            count, n_steps = record.numbers.pop("disk_slots"), record.numbers.pop("n_steps")
            try:
                slots = DiskSlots(run.states, count, size, header, keep=True)
            except (OSError, ValueError):
                record.slots = {}  # they are lost: all is computed again from y_0
        if slots is None:
            slots = DiskSlots(run.states, count, size, header)
        tier = Tier(slots, y0, str(run.states))
        if record is not None:
            tier.keep(record.slots)
        return cls(run, tier, record, n_steps)

    def schedule(self, planned: Schedule, y0: Leaves) -> Schedule:
        """What is left to do."""
        record, tier = self.record, self.tier
        if record is None:
            return planned
        slots: DiskSlots = tier.slots  # type: ignore[assignment]
        found = {n: slot for slot, (n, _) in tier.held.items() if n <= record.n}
        free = [slot for slot in range(slots.count) if slot not in found.values()]
        if 0 not in found:  # it takes a slot, if need be that of the last state, from where the least is run again
            found[0] = free.pop() if free else found.pop(max(found))
            tier.write(found[0], 0, y0).result()
        memory = planned.slots - planned.disk_slots
        sizes: dict[str, Any] = {
            "n_steps": self.n_steps, "memory_slots": memory, "disk_slots": slots.count, "held": tuple(sorted(found.items()))
        }  # fmt: skip
        if record.back:
            return Resumed(**sizes, left=record.n)
        if isinstance(planned, OnlineDisk):
            return OnlineDisk(**sizes, current=record.n)
        rest, period = planned.n_steps - record.n, getattr(planned, "period", 1)
        period = max(period, -(-rest // (len(free) + 1)))
        first = record.n if record.n not in found else record.n + period
        more = tuple(zip(range(first, planned.n_steps - 1, period), free, strict=False))
        return Resumed(**sizes, left=planned.n_steps, current=record.n, more=more)

    def begin(self, sweep: Sweep) -> None:
        """Put a new sweep where the record says, and let it write records."""
        record = self.record
        if record is not None:
            sweep.resume(record.back, record.n, Snapshot(record.numbers, record.arrays))
        sweep.watchers.append(Committer(self, sweep))

    def close(self) -> None:
        """Let go of the second tier."""
        self.tier.close()
        self.tier.slots.close()  # type: ignore[attr-defined]  # not before the thread has ended: it would write elsewhere


class Committer:
    """Watches a sweep and writes records of where it is, at bounded intervals."""

    def __init__(self, place: _Place, sweep: Sweep) -> None:
        self.place, self.sweep = place, sweep
        self.last = time.monotonic()
        self.place_of_last = (sweep.turned, sweep.resumed_at)
        self.every = SECONDS
        self.steps, self.began = 1, time.monotonic()  # how far to go at a time

    def reach(self, rows: np.ndarray) -> Reach:
        """As far as a part of the interval takes, by what the steps before took."""
        self.began = time.monotonic()
        return within(rows, self.steps)

    def done(self, rows: np.ndarray) -> None:
        """Write a record if it is time."""
        now = time.monotonic()
        if within(rows, self.steps - 1) != (len(rows), 0):
            took = max(now - self.began, 1e-9)
            self.steps = int(min(max(self.steps * min(0.1 * self.every / took, 8.0), 1), 2**40))
        kind, _, b, _ = rows[-1].tolist()
        back = self.sweep.turned
        where = back, self.sweep.left if back else b - (kind == RECORD)
        if now - self.last >= self.every and where != self.place_of_last:  # while steps are run again there is nothing new
            self.commit(*where)
            self.place_of_last = where
            self.last = time.monotonic()
            self.every = max(SECONDS, (self.last - now) / _SHARE)

    def commit(self, back: bool, n: int) -> None:
        """Write a record; what was stored on the disk before is there when it is."""
        place = self.place
        slots: Any = place.tier.slots
        self.sweep.settle()
        slots.sync()
        executor = self.sweep.executor
        numbers, arrays = executor.snapshot()
        numbers = {**numbers, "disk_slots": slots.count, "n_steps": executor.problem.n_steps}
        try:
            place.run.commit(Record(back, n, numbers, arrays, dict(place.tier.held)))
        except OSError as error:
            where = f"{n} steps are left" if back else f"y_{n} is current"
            error.add_note(f"adjointsim: raised while saving in {place.run.path} that {where}; an earlier record is still there")
            raise
