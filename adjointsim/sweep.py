"""Runs a schedule on a step: the only place where step, schedule, storage and cost meet."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adjointsim.derive.spec import Spec
from adjointsim.errors import ArgumentError, NonFiniteError
from adjointsim.executor import Executor, Problem
from adjointsim.lanes import Lanes
from adjointsim.leaves import Bars, Leaves, first_nonfinite
from adjointsim.ledger import Ledger
from adjointsim.schedules import ADVANCE, RECORD, REVERSE, Binomial, Mixed, Periodic, Schedule, StoreAll, Stream
from adjointsim.schedules.actions import replayed
from adjointsim.schedules.verify import Verifier
from adjointsim.step import Step

__all__ = [
    "Forward", "Sweep", "check_given", "check_gradient_finite", "check_solution_finite", "cut_to", "executor_class",
    "make_executor",
]  # fmt: skip

CHUNK = 4096  # actions asked of a schedule at a time

After = Callable[[np.ndarray], None]
#: the rows of a sweep in groups, each with the index of its first row; a row may come in several pieces
Cut = Callable[[np.ndarray], Iterator[tuple[int, np.ndarray]]]


def executor_class(step: Step) -> type[Executor]:
    """Compiled for derived steps; from Python for hand-written VJPs."""
    if step.hand_vjp is not None:
        from adjointsim.python_engine import PythonExecutor

        return PythonExecutor
    from adjointsim.engine import CompiledExecutor  # late: it brings the whole deriver

    return CompiledExecutor


def make_executor(problem: Problem, y0: Leaves, p: Leaves, slots: int) -> Executor:
    """The executor for this problem.  MemoryError, with advice, if the slots cannot be had."""
    try:
        return executor_class(problem.step)(problem, y0, p, slots)
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


class Sweep:
    """One sweep: :meth:`forward` to y_N, then :meth:`reverse`, again and again where the stored states allow it.

    ``cut`` says which rows the executor gets at a time, and ``after(rows)`` is called when they have been carried out;
    without ``cut`` it gets them by the thousand.
    """

    def __init__(self, executor: Executor, schedule: Schedule, *, cut: Cut | None = None, after: After | None = None) -> None:
        self.executor, self.schedule, self.cut, self.after = executor, schedule, cut, after
        self._stream = schedule.stream()
        ours = type(schedule) in (StoreAll, Binomial, Periodic, Mixed, Forward)
        self._verify = None if ours else Verifier(schedule.n_steps, schedule.slots, schedule.disk_slots)
        self._rows = np.empty((min(CHUNK, 4 * schedule.n_steps + 4), 4), np.int64)
        self._ready = self._rows[:0]  # rows not carried out yet
        self._exhausted = False
        self._again: np.ndarray | None = None  # all rows from the turn on, if they only read slots
        self._lanes: Lanes | None = None
        self.turned = False
        self.primal = 0  # steps run by actions
        self.vjps = 0
        self.seconds = 0.0

    def forward(self) -> None:
        """Run to y_N."""
        began = time.perf_counter()
        while not self._carry_out():
            if not self._refill():
                break
        if self.schedule.n_steps and not len(self._ready):
            raise ArgumentError(f"Got a schedule {self.schedule} that never reverses its last step")
        self.executor.turn()
        self.turned = True
        rest = self._ready
        if self._exhausted and np.all(rest[:, 0] == REVERSE) and np.all(rest[:, 3] >= 0):
            self._again = rest
        self.seconds += time.perf_counter() - began

    def reverse(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        """From the cotangents at y_N back to those of y_0 and p, which are then in the executor."""
        began = time.perf_counter()
        self.executor.seed(value_bar, y_bar, observations_bar)
        _check_bars(self.executor, None)
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
            _check_bars(self.executor, None)
        if count:
            self._carry_out_all()
        for k in range(count):
            lanes.enter(k)
            yield k
            lanes.leave(k)

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
        if self.vjps - before != self.schedule.n_steps:
            raise ArgumentError(f"Got a schedule {self.schedule} that reverses {self.vjps - before} steps")

    def _carry_out(self) -> bool:
        """Carry out the rows at hand; True if the executor stopped in between, at the turn."""
        for first, rows in [(0, self._ready)] if self.cut is None else self.cut(self._ready):
            used = (self.executor if self._lanes is None else self._lanes).run(rows)
            self._done(rows[:used])
            if used < len(rows):
                self._ready = self._ready[first + used :]
                return True
        self._ready = self._ready[:0]
        return False

    def _done(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        kind, length = rows[:, 0], rows[:, 2] - rows[:, 1]
        recorded = kind == RECORD
        self.primal += int(length @ ((kind == ADVANCE) | recorded)) - int(np.count_nonzero(recorded))
        self.vjps += int(length @ (kind == REVERSE))
        if self.after is not None:
            self.after(rows)

    # ----------------------------------------------------------------------------------------------------- the ledger
    def ledger(self, *, since: Ledger | None = None, again: bool = False) -> Ledger:
        """What was done, after the work in ``since`` if that is given.

        Steps are recomputed if they are run beyond the first time, and all are ``again`` if this sweep repeats another.
        """
        n = self.schedule.n_steps
        taken = int(self.turned and n > 0 and isinstance(self.schedule, (StoreAll, Forward)))  # see Ledger
        forward, first = self.primal + taken, min(self.primal, max(n - 1, 0)) + taken
        recomputed = forward if again else forward - first
        vjps, seconds = self.vjps, self.seconds
        if since is not None:
            forward, recomputed = forward - since.forward_steps, recomputed - since.recomputed_steps
            vjps, seconds = vjps - since.vjp_steps, seconds - since.seconds
        executor = self.executor
        planned, exact = executor.planned
        peak = executor.bytes_peak
        name, slots = self.schedule.name, executor.slots
        return Ledger(name, n, slots, forward, recomputed, vjps, planned, peak, seconds, estimated=not exact)


def pieces(row: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """An action as actions on at most ``limit`` steps each; they do the same, and run the same steps."""
    kind, a, b, slot = row.tolist()

    def one(kind: int, a: int, b: int, slot: int) -> np.ndarray:
        return np.array([[kind, a, b, slot]], np.int64)

    if kind == ADVANCE:
        for m in range(a, b, limit):
            yield one(ADVANCE, m, min(m + limit, b), -1)
    elif kind == RECORD:
        for m in range(a, b, limit):
            if m > a:
                yield one(ADVANCE, m - 1, m, -1)
            yield one(RECORD, m, min(m + limit, b), slot + m - a)
    elif kind == REVERSE:
        for end in range(b, a, -limit):
            begin = max(a, end - limit)
            yield one(REVERSE, begin, end, slot + begin - a if slot >= 0 else -1)
    else:
        yield row[None]


def cut_to(limit: int) -> Cut:
    """Each row by itself, in pieces of at most ``limit`` steps."""

    def cut(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for k, row in enumerate(rows):
            for piece in pieces(row, limit):
                yield k, piece

    return cut


def _cut_within(lo: int, hi: int, limit: int) -> Cut:
    """VJPs of steps from ``lo`` to ``hi`` in pieces of at most ``limit``, all else together."""

    def cut(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        begin = 0
        for k in np.flatnonzero((rows[:, 0] == REVERSE) & (rows[:, 1] < hi) & (rows[:, 2] > lo)).tolist():
            if k > begin:
                yield begin, rows[begin:k]
            for piece in pieces(rows[k], limit):
                yield k, piece
            begin = k + 1
        if begin < len(rows):
            yield begin, rows[begin:]

    return cut


# ------------------------------------------------------------------------------------------------- NaN and Inf: where?
#: a range of so many steps is looked through one by one, a longer one first in pieces
_FEW = 1000


def _limit(length: int) -> int:
    return math.isqrt(length) if length > _FEW else 1


def check_given(leaves: Leaves | Bars, spec: Spec, name: str) -> None:
    """NonFiniteError if what the user gave has a NaN or Inf."""
    if found := first_nonfinite(leaves, spec, name):
        path, index, number = found
        message = f"Got {_item(path, index)} = {number}, but expected finite numbers"
        raise NonFiniteError(message, step=None, n_steps=None, leaf=path, index=index, direction="forward")


def check_solution_finite(executor: Executor, again: Callable[[int], Executor]) -> None:
    """NonFiniteError if y_N or the value is not finite; ``again(slots)`` makes an executor to find out where it began."""
    problem = executor.problem
    found = first_nonfinite(executor.y, problem.y_spec, "y")
    if found is None and np.isfinite(executor.totals).all():
        return
    n, n_steps = 0, problem.n_steps
    begin, block = 0, _limit(n_steps)
    copy = again(0)
    for end in range(block, n_steps, block) if block > 1 else ():
        copy.run(np.array([[ADVANCE, begin, end, -1]], np.int64))
        if first_nonfinite(copy.state, problem.y_spec, "y") or not np.isfinite(copy.totals).all():
            break
        begin = end
    copy = again(0)
    if begin:
        copy.run(np.array([[ADVANCE, 0, begin, -1]], np.int64))
    for n in range(begin, n_steps - 1):
        copy.run(np.array([[ADVANCE, n, n + 1, -1]], np.int64))
        _check_totals(copy, n)
        _check_state(copy.state, problem, n)
    if n_steps:
        copy.run(np.array([[REVERSE, n_steps - 1, n_steps, -1]], np.int64))
    copy.turn()
    _check_state(copy.y, problem, n_steps - 1)
    _check_totals(copy, n_steps)
    path, index, number = found or ("value", (), float(executor.value or 0.0))  # only a step with a memory gets here
    raise _non_finite(f"{_item(path, index)} = {number} at the end", None, n_steps, path, index, "forward")


def _check_totals(executor: Executor, n: int) -> None:
    n_steps = executor.problem.n_steps
    for name, total in zip(("running", "misfit", "terminal"), executor.totals, strict=True):
        if not np.isfinite(total):
            step = n if n < n_steps else n_steps - 1 if name == "running" else None
            at = f"step n={step} of {n_steps}" if step is not None else f"the end of {n_steps} steps"
            raise _non_finite(f"the sum of the {name} cost became {total} at {at}", step, n_steps, name, (), "forward")


def _check_state(leaves: Leaves, problem: Problem, n: int) -> None:
    if found := first_nonfinite(leaves, problem.y_spec, "y"):
        path, index, number = found
        message = f"{_item(path, index)} became {number} in step n={n} of {problem.n_steps} (forward sweep)"
        raise _non_finite(message, n, problem.n_steps, path, index, "forward")


class _Bad(Exception):
    """A cotangent is not finite after the VJPs of steps ``lo`` to ``hi``."""

    def __init__(self, lo: int, hi: int) -> None:
        super().__init__(lo, hi)
        self.lo, self.hi = lo, hi


def check_gradient_finite(
    executor: Executor,
    schedule: Schedule,
    again: Callable[[int], Executor],
    value_bar: float,
    y_bar: Bars | None = None,
    observations_bar: Bars | None = None,
) -> None:
    """NonFiniteError if a gradient is not finite; the sweep is repeated to find out where it began."""
    found = _first_bad_bar(executor)
    if found is None:
        return
    n_steps = executor.problem.n_steps
    lo, hi = 0, n_steps + 1

    def after(rows: np.ndarray) -> None:
        back = rows[rows[:, 0] == REVERSE]
        if len(back) and _first_bad_bar(copy):
            raise _Bad(int(back[:, 1].min()), int(back[:, 2].max()))

    cut: Cut | None = None
    while hi - lo > 1:
        copy = again(schedule.slots)
        sweep = Sweep(copy, schedule, cut=cut, after=after)
        try:
            sweep.forward()
            sweep.reverse(value_bar, y_bar, observations_bar)
            break
        except _Bad as bad:
            lo, hi = bad.lo, bad.hi
            cut = _cut_within(lo, hi, _limit(hi - lo))
    else:
        _check_bars(copy, lo)
    path, index, number = found  # only a step with a memory gets here
    raise _non_finite(f"the gradient of {_item(path, index)} is {number}", None, n_steps, path, index, "reverse")


def _first_bad_bar(executor: Executor) -> tuple[str, tuple[int, ...], float] | None:
    problem = executor.problem
    return first_nonfinite(executor.y_bar, problem.y_spec, "y") or first_nonfinite(executor.p_bar, problem.p_spec, "p")


def _check_bars(executor: Executor, n: int | None) -> None:
    """After the VJP of step n; None: after the seed."""
    if found := _first_bad_bar(executor):
        path, index, number = found
        n_steps = executor.problem.n_steps
        where = "the derivatives of the costs at the end" if n is None else f"the VJP of step n={n} of {n_steps}"
        message = f"the cotangent of {_item(path, index)} became {number} in {where} (reverse sweep)"
        raise _non_finite(message, n, n_steps, path, index, "reverse")


def _item(path: str, index: tuple[int, ...]) -> str:
    return f"{path}[{', '.join(map(str, index))}]" if index else path


def _non_finite(message: str, n: int | None, n_steps: int, leaf: str, index: tuple[int, ...], direction: str) -> NonFiniteError:
    return NonFiniteError(message, step=n, n_steps=n_steps, leaf=leaf, index=index, direction=direction)
