"""Runs a schedule on a step: the only place where step, schedule, storage and cost meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adjointsim.errors import ArgumentError
from adjointsim.executor import Executor, Problem, Snapshot, never_ended
from adjointsim.lanes import Lanes
from adjointsim.leaves import Bars, Leaves
from adjointsim.ledger import Ledger
from adjointsim.nonfinite import check_bars
from adjointsim.rows import Watcher, all_stored, counted, parted
from adjointsim.schedules import (
    ADVANCE,
    REVERSE,
    Binomial,
    Mixed,
    Periodic,
    PeriodicDisk,
    Schedule,
    Segmented,
    StoreAll,
    StoreAllDisk,
    Stream,
    TwoLevel,
)
from adjointsim.schedules.actions import replay, replayed
from adjointsim.schedules.online import Online, OnlineStream
from adjointsim.schedules.online_disk import OnlineDisk, OnlineDiskStream
from adjointsim.schedules.resumed import Resumed
from adjointsim.schedules.verify import Verifier
from adjointsim.step import Step
from adjointsim.storage.disk import Tier
from adjointsim.storage.staging import Staging

__all__ = ["Forward", "Sweep", "Unknown", "executor_class", "in_memory", "make_executor"]

CHUNK = 4096  # actions asked of a schedule at a time



def executor_class(step: Step) -> type[Executor]:
    """Compiled for derived steps; from Python for hand-written VJPs."""
    if step.hand_vjp is not None:
        from adjointsim.python_engine import PythonExecutor

        return PythonExecutor
    from adjointsim.engine import CompiledExecutor  # late: it brings the whole deriver

    return CompiledExecutor


def make_executor(
    problem: Problem, y0: Leaves, p: Leaves, slots: int, one_run: bool = False, keeps: bool = False
) -> Executor:
    """The executor for this problem.  MemoryError, with advice, if the slots cannot be had."""
    try:
        return executor_class(problem.step)(problem, y0, p, slots, one_run, keeps)
    except MemoryError as error:
        error.add_note(f"adjointsim: {slots} stored states of {problem.state_bytes} bytes; name less by memory= or checkpoints=")
        raise


@dataclass(frozen=True)
class Forward(Schedule):
    """A run to y_N and no way back: stores nothing.  Its one REVERSE marks the turn and is never carried out."""

    name: ClassVar[str] = "forward"

    n_steps: int
    slots: ClassVar[int] = 0  # type: ignore[misc]

    @property
    def forward_steps(self) -> int:
        return max(self.n_steps - 1, 0)

    def stream(self) -> Stream:
        n = self.n_steps
        rows = [(ADVANCE, 0, n - 1, -1), (REVERSE, n - 1, n, -1)]
        return replayed(rows[n < 2 :] if n else [])


class _March(Stream):
    """The stream of a run without a known end that stores nothing."""

    __slots__ = ("bound",)

    def __init__(self, bound: int) -> None:
        super().__init__(replay, np.zeros(2, np.int64))
        self.bound = bound

    def forward(self, out: np.ndarray) -> int:
        """One row, to the bound; see :meth:`.OnlineStream.forward`."""
        bound, self.bound = self.bound, 0
        out[0] = ADVANCE, 0, bound, -1
        return int(bound > 0)

    def stop(self, n: int) -> None:
        """There is no way back."""


@dataclass(frozen=True)
class Unknown(Schedule):
    """A run whose end is found on the way: online with ``slots`` states, or without any and without a way back."""

    name: ClassVar[str] = "online"

    n_steps: int  # at most
    slots: int

    @property
    def forward_steps(self) -> int:
        """Of the way there, if it goes on to the bound."""
        return self.n_steps

    def stream(self) -> Stream:
        return Online(self.slots, self.n_steps).stream() if self.slots and self.n_steps else _March(self.n_steps)


def in_memory(schedule: Schedule, n_steps: int) -> Schedule:
    """A schedule for so many steps that does as well with the slots in memory alone."""
    if schedule.disk_slots or schedule.n_steps != n_steps or isinstance(schedule, Unknown):
        return Binomial(n_steps, schedule.slots - schedule.disk_slots)
    return schedule


#: whose actions need no proof
_OURS = (
    StoreAll, StoreAllDisk, Forward, Binomial, Periodic, PeriodicDisk, Segmented, TwoLevel, Mixed, Resumed, Unknown, OnlineDisk,
)  # fmt: skip


class Sweep:
    """One sweep: :meth:`forward` to y_N, then :meth:`reverse`, again and again where the stored states allow it.

    The executor gets rows by the thousand, or as many as all ``watchers`` let pass at a time.  States for slots on a disk, the
    ``tier``, pass through slots that the executor has besides those of the schedule.
    """

    def __init__(
        self, executor: Executor, schedule: Schedule, watchers: Sequence[Watcher] = (), tier: Tier | None = None
    ) -> None:
        self.executor, self.schedule, self.watchers = executor, schedule, [*watchers]
        self._staging: Staging | None = None
        if tier is not None and schedule.disk_slots:
            self._staging = Staging(tier, schedule.slots - schedule.disk_slots, executor)
        self._stream = schedule.stream()
        ours = type(schedule) in _OURS
        self._verify = None if ours else Verifier(schedule.n_steps, schedule.slots, schedule.disk_slots)
        self._rows = np.empty((min(CHUNK, 4 * schedule.n_steps + 4), 4), np.int64)
        self._ready = self._rows[:0]  # rows not carried out yet
        self._exhausted = False
        self._again: np.ndarray | None = None  # all rows from the turn on, if they only read slots
        self._lanes: Lanes | None = None
        self._left = schedule.n_steps  # steps to be reversed
        self._first = max(schedule.n_steps - 1, 0)  # steps that are not run again, but for the last
        self.resumed_at: int | None = None
        self._seeded = False  # whether the cotangents of a way back are there already
        self.turned = False
        self.primal = 0  # steps run by actions
        self.vjps = 0
        self.seconds = 0.0
        self.seconds_planned: float | None = None  # for all of it

    def resume(self, back: bool, n: int, snapshot: Snapshot) -> None:
        """Go on, before anything was done, from a snapshot with y_n current, or with n steps left on the way ``back``."""
        self.executor.resume(back, snapshot)
        self.resumed_at, self.turned, self._seeded = n, back, back
        self._left, self._first = (n, 0) if back else (self._left, self._first - n)

    def forward(self) -> None:
        """Run to y_N."""
        if self.turned:
            return
        began = time.perf_counter()
        if not self.executor.problem.known_end:
            self._find_end()
        else:
            while not self._carry_out():
                if not self._refill():
                    break
            if self.schedule.n_steps and not len(self._ready):
                raise ArgumentError(f"Got a schedule {self.schedule} that never reverses its last step")
        self.executor.turn()
        self.turned = True
        rest = self._ready
        if self._exhausted and all_stored(rest):
            self._again = rest
        self.seconds += time.perf_counter() - began

    def _find_end(self) -> None:
        """Run until the executor finds the end."""
        stream, problem = self._stream, self.executor.problem
        assert isinstance(stream, (OnlineStream, OnlineDiskStream, _March))
        while not self.executor.problem.known_end:
            count = stream.forward(self._rows)
            if not count:
                raise never_ended(problem.n_steps)
            self._ready = self._rows[:count]
            self._carry_out()
        n = self.executor.problem.n_steps
        self.primal += n - 1 - int(self._ready[0, 1])  # of the row in which it was found
        self._left, self._first, self._ready = n, n - 1 - (self.resumed_at or 0), self._ready[:0]
        stream.stop(n)

    def reverse(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        """From the cotangents at y_N back to those of y_0 and p, which are then in the executor."""
        began = time.perf_counter()
        if not self._seeded:
            self.executor.seed(value_bar, y_bar, observations_bar)
            check_bars(self.executor, None)
        self._carry_out_all()
        if self._again is not None:
            self._ready = self._again
        self.seconds += time.perf_counter() - began

    def reverse_each(self, count: int, observations_bar: Bars, unit: Callable[[int, float], None]) -> Iterator[int]:
        """``count`` cotangents of the observations back to y_0 and p, all through one recomputation of the steps.

        ``unit(k, x)`` sets the one number that is not 0 in the k-th cotangent, in ``observations_bar``, to x.  Yields each k
        when the executor has its results.
        """
        lanes = self._lanes = Lanes(self.executor, observations_bar, unit)
        for k in range(count):
            lanes.begin(k)
            check_bars(self.executor, None)
        if count:
            self._carry_out_all()
        for k in range(count):
            lanes.enter(k)
            yield k
            lanes.leave(k)

    @property
    def left(self) -> int:
        """Steps that are still to be reversed, on the first way back."""
        return self._left - self.vjps

    @property
    def repeatable(self) -> bool:
        """Whether another :meth:`reverse` may follow."""
        return self._again is not None

    # ------------------------------------------------------------------------------------------------------- the rows
    def _refill(self) -> bool:
        if self._exhausted:
            return False
        count = self._stream.fill(self._rows)
        self._exhausted = count < len(self._rows)
        self._ready = self._rows[:count]
        if self._verify is not None:
            self._verify(self._ready)
        return count > 0

    def _carry_out_all(self) -> None:
        """From the turn to the end."""
        before = self.vjps
        while True:
            self._carry_out()
            if not self._refill():
                break
        if self.vjps - before != self._left:
            raise ArgumentError(f"Got a schedule {self.schedule} that reverses {self.vjps - before} steps")

    def _carry_out(self) -> bool:
        """Carry out the rows at hand; True if the executor stopped in between, at the turn."""
        with self.executor.together():
            return self._carried_out()

    def _carried_out(self) -> bool:
        runner, staging = self.executor if self._lanes is None else self._lanes, self._staging
        while len(self._ready):
            ready = self._ready if staging is None else self._ready[: staging.together(self._ready)]
            reach = min((watcher.reach(ready) for watcher in self.watchers), default=(len(ready), 0))
            rows, rest = parted(self._ready, reach)
            known = self.executor.problem.known_end
            if staging is None:
                used = runner.run(rows)
            else:
                used = runner.run(staging.enter(rows, rest))
                staging.leave(used)
            self._done(rows[:used], known or not self.executor.problem.known_end)
            if used < len(rows):
                self._ready = np.concatenate([rows[used:], rest]) if len(rest) else rows[used:]
                return True
            self._ready = rest
        return False

    def settle(self) -> None:
        """Return when every state that was stored on a disk is there."""
        if self._staging is not None:
            self._staging.settle()

    def _done(self, rows: np.ndarray, between: bool) -> None:
        """Count rows that were carried out, and show them unless the executor stopped within the next one, where the run ends."""
        if not len(rows):
            return
        primal, vjps = counted(rows)
        self.primal, self.vjps = self.primal + primal, self.vjps + vjps
        for watcher in self.watchers if between else ():
            watcher.done(rows)

    # ----------------------------------------------------------------------------------------------------- the ledger
    def ledger(self, *, since: Ledger | None = None, again: bool = False) -> Ledger:
        """What was done, after the work in ``since`` if that is given.

        Steps are recomputed if they are run beyond the first time, and all are ``again`` if this sweep repeats another.
        """
        n = self.executor.problem.n_steps
        through = isinstance(self.schedule, (StoreAll, StoreAllDisk, Forward)) or not self.schedule.slots
        taken = int(self.turned and n > 0 and through)  # see Ledger
        forward, first = self.primal + taken, min(self.primal, self._first) + taken
        recomputed = forward if again else forward - first
        vjps, seconds = self.vjps, self.seconds
        whole = (vjps == n or isinstance(self.schedule, Forward)) and self.resumed_at is None and since is None and not again
        if since is not None:
            forward, recomputed = forward - since.forward_steps, recomputed - since.recomputed_steps
            vjps, seconds = vjps - since.vjp_steps, seconds - since.seconds
        executor = self.executor
        planned, exact, *_ = executor.planned
        peak = executor.bytes_peak
        name, slots = self.schedule.name, executor.slots
        if self._staging is not None:
            slots -= self._staging.count
            planned, peak = planned + self._staging.tier.nbytes, peak + self._staging.tier.nbytes
        return Ledger(
            name, n, slots, forward, recomputed, vjps, planned, peak, seconds, self.resumed_at, not exact,
            self.schedule.disk_slots, self.seconds_planned if whole else None,
        )  # fmt: skip
