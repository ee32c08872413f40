"""Memory and disk, with costs for writing and reading a state: the cheapest schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit

from adjointsim.schedules.actions import ADVANCE, LOAD, REVERSE, STORE, Stream, checked, checked_steps
from adjointsim.schedules.binomial import P, checked_segments
from adjointsim.schedules.blocks import Counts, Priced, block_counts, block_stream, plan_stream
from adjointsim.schedules.periodic_disk import best_period

__all__ = ["TwoLevel"]

_EXACT_STEPS = 2000  # the dynamic programme takes up to about a second, and O(n_steps * disk_slots) memory
_EXACT_WORK = 4 * 10**8


class _Plan(NamedTuple):
    counts: Counts
    period: int  # of equal blocks, or
    rows: np.ndarray  # the actions on the disk if ``period`` is 0


@njit(cache=True, error_model="numpy")
def _tabulate(memory: np.ndarray, disk: int, write: float, read: float, forward: float) -> tuple[np.ndarray, np.ndarray]:
    """Solve the recursion in the docstring of TwoLevel; ``memory[n]`` is the cost of n steps without the disk.

    Returns ``stored[d, n]``, whether the first of n states belongs on the disk if d of its slots are free, and
    ``split[d, n]``, the steps to the next state if it is there and d more slots are free; 0: reverse all n in memory.
    """
    n_steps = memory.size - 1
    stored = np.zeros((disk + 1, n_steps + 1), np.bool_)
    split = np.zeros((disk, n_steps + 1), np.int64)
    fresh, held = memory.copy(), np.empty(n_steps + 1)
    for d in range(disk):
        changed = False
        for n in range(n_steps + 1):
            held[n] = memory[n]
            for m in range(1, n):
                cost = m * forward + fresh[n - m] + read + held[m]
                if cost < held[n]:
                    held[n], split[d, n] = cost, m
        for n in range(n_steps + 1):
            stored[d + 1, n] = write + held[n] < memory[n]
            cost = min(memory[n], write + held[n])
            changed |= cost != fresh[n]
            fresh[n] = cost
        if not changed:  # and so it stays with more slots
            return stored[: d + 1], split[: d + 1]
    return stored, split


def _actions(n: int, stored: np.ndarray, split: np.ndarray) -> np.ndarray:
    """The actions on the disk that the tables ask for, where REVERSE (a, b, -1) stands for a segment in memory."""
    most = len(stored) - 1
    rows: list[tuple[int, int, int, int]] = []
    todo = [(0, n, most, False)]  # steps a .. b-1 with d free slots; the last: y_a is on the disk, in the slot before these
    while todo:
        a, b, free, held = todo.pop()
        if held:
            rows.append((LOAD, a, a, most - free - 1))
        elif stored[free, b - a]:
            rows.append((STORE, a, a, most - free))
            free, held = free - 1, True
        m = int(split[free, b - a]) if held else 0
        if m:
            rows.append((ADVANCE, a, a + m, -1))
            todo += [(a, a + m, free, True), (a + m, b, free, False)]
        else:
            rows.append((REVERSE, a, b, -1))
    return np.array(rows, np.int64).reshape(-1, 4)


@lru_cache(maxsize=32)
def _plan(n: int, memory: int, disk: int, write: float, read: float, forward: float) -> _Plan:
    if n > _EXACT_STEPS or n * n * disk > _EXACT_WORK:
        period = best_period(n, memory, disk, write, read, forward)
        return _Plan(block_counts(n, period, memory, disk), period, np.empty((0, 4), np.int64))
    alone = np.array([forward * P(k, memory) for k in range(n + 1)], np.float64)
    rows = _actions(n, *_tabulate(alone, disk, float(write), float(read), float(forward))) if n else np.empty((0, 4), np.int64)
    steps = sum(b - a if kind == ADVANCE else P(b - a, memory) for kind, a, b, _ in rows.tolist() if kind in (ADVANCE, REVERSE))
    rows.flags.writeable = False  # it is kept
    return _Plan(Counts(steps, int(np.sum(rows[:, 0] == STORE)), int(np.sum(rows[:, 0] == LOAD))), 0, rows)


@dataclass(frozen=True)
class TwoLevel(Priced):
    """The cheapest way to reverse n_steps steps with slots in memory and slots on a disk.

    It costs ``write`` to copy the current state to the disk and ``read`` to get one back, ``forward`` to run a step and
    ``reverse`` for its VJP: numbers in any unit.  Copies in memory are free.  Up to 2000 steps (if also
    n_steps**2 * disk_slots <= 4 * 10**8) this is a dynamic programme:  N(n, d), the least cost of n steps from a state that
    is current with all of memory and d slots of the disk free, and D(n, d), the same if the state is on the disk, too, are

        N(n, 0) = forward P(n, memory_slots)
        N(n, d) = min(N(n, 0), write + D(n, d-1))
        D(n, d) = min(N(n, 0), min over 0 < m < n of  m forward + N(n-m, d) + read + D(m, d)).

    Aupy, Herrmann, Hovland & Robert, "Optimal multistage algorithm for adjoint computation", SIAM J. Sci. Comput. 38 (2016),
    prove for an unlimited disk that an optimal schedule has this form, with all states in memory between two on the disk;
    Herrmann & Pallez, "H-Revolve: a framework for adjoint computation on synchronous hierarchical platforms", ACM TOMS 46
    (2020), take it to bounded ones.  The schedule is optimal in that family: states in memory are taken only between the last
    state on the disk and the step being reversed.  For small numbers of steps and slots, the tests search all schedules that
    there are, and none is cheaper.

    Beyond, the disk cuts the run into equal blocks (see :class:`PeriodicDisk`) of the cheapest length, which are stored and
    run again binomially and reversed binomially in memory.  ``counts`` and ``cost`` are exact in either case.

    Its stream keeps the actions on the disk, at most 4 n_steps of them, where there is a dynamic programme.
    ``slots`` are those in memory and, behind them, those on the disk.
    """

    name: ClassVar[str] = "two-level"

    n_steps: int
    memory_slots: int
    disk_slots: int
    write: float = field(default=1.0, kw_only=True)
    read: float = field(default=1.0, kw_only=True)
    forward: float = field(default=1.0, kw_only=True)
    reverse: float = field(default=1.0, kw_only=True)
    slots: int = field(init=False)

    def __post_init__(self) -> None:
        n = checked_steps(self.n_steps)
        memory = min(checked("memory_slots", self.memory_slots, 1), max(n, 1))
        disk = min(checked("disk_slots", self.disk_slots, 0), max(n - 1, 0))
        checked_segments(n, memory, slots_name="memory_slots")
        checked_segments(n, max(disk, 1), slots_name="disk_slots")
        self._check_costs()
        values = {"n_steps": n, "memory_slots": memory, "disk_slots": disk, "slots": memory + disk}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def _plan(self) -> _Plan:
        return _plan(self.n_steps, self.memory_slots, self.disk_slots, self.write, self.read, self.forward)

    @property
    def counts(self) -> Counts:
        """Primal steps, writes and reads."""
        return self._plan.counts

    def stream(self) -> Stream:
        plan = self._plan
        if plan.period:
            return block_stream(self.n_steps, plan.period, self.memory_slots, self.disk_slots)
        return plan_stream(self.n_steps, self.memory_slots, plan.rows)
