"""The replay check: a state that is computed again must be the one that was computed first, bit for bit.

A step that is not a pure function of (n, y, p), one that draws random numbers or counts its calls, makes gradients wrong without
a sign: the way back then linearises about other states than those of the value.  So states at which recomputed segments
will end are digested when they are computed first, and compared when they are computed again.  A difference that persists is
found at the end of its segment.

What is looked at is bounded by time, to one or two per cent of a sweep's own; unless a step is known to be pure, the first few
states are in any case.
"""

from __future__ import annotations

import time
from bisect import bisect_left

import numpy as np

from adjointsim.errors import ReplayMismatchError
from adjointsim.executor import Executor
from adjointsim.rows import Reach
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE
from adjointsim.storage.digest import digest

__all__ = ["Replay"]

_SHARE = 0.004  # of the time of a sweep; what is measured here is a part of what a look costs
_NEAR = 16  # rows that are kept
_FREE = 32  # digests at the beginning that are always made if a step need not be pure


class Replay:
    """Watches one sweep.

    An ADVANCE (a, b) on the way to a checkpoint at y_b leaves a segment [a, b) behind, which is later run again as far as
    y_{b-1}: that is where its digest is taken.  So is one of the segments of a segment.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.marks: list[int] = []  # ascending: the n of states that have been digested and not been reached again
        self.found: dict[int, int] = {}  # their digests
        self.wanted = -1  # the n of the state that is to be digested next
        self.before = np.empty((0, 4), np.int64)  # the last rows that were carried out
        self.free = 0 if executor.pure else _FREE
        self.spent, self.began = 0.0, time.perf_counter()
        self.each = 0.0  # seconds that the last digest took

    # -------------------------------------------------------------------------------------------------- the watcher's part
    def reach(self, rows: np.ndarray) -> Reach:
        """As far as the next state to be compared or digested."""
        began = time.perf_counter()
        if self.free <= 0 and self.spent + self.each > _SHARE * (began - self.began):
            return len(rows), 0
        kind, a, b = rows[:, 0], rows[:, 1], rows[:, 2]
        end = b - (kind == RECORD)  # the n of the state that an action ends with
        back = kind == REVERSE
        self._forget(b[back][:1])
        events = (kind == ADVANCE) & (b - a > 1)
        top = self.marks[-1] if self.marks else -1
        if self.marks:
            events |= ((kind == ADVANCE) | (kind == RECORD)) & (a < top) & (top <= end)
            events |= back & (a <= top)
        first = int(events.argmax())
        self.spent += time.perf_counter() - began
        if not events[first]:
            return len(rows), 0
        if kind[first] == REVERSE:
            return first + 1, 0
        begin, n = int(a[first]), int(end[first])
        if begin < top <= n:
            n = top
        else:
            n = self.wanted = n - 1
        return first, n - begin + int(kind[first] == RECORD)

    def done(self, rows: np.ndarray) -> None:
        """Digest or compare the state that has been reached."""
        kind, _, b, _ = rows[-1].tolist()
        n = b - (kind == RECORD)
        if kind in (ADVANCE, RECORD):
            if n in self.found:
                self._compare(n, rows)
            elif n == self.wanted:
                self.marks.insert(bisect_left(self.marks, n), n)
                self.found[n] = self._digest()
        self.wanted = -1
        self.before = rows[-_NEAR:].copy()

    # --------------------------------------------------------------------------------------------------------------- states
    def _digest(self) -> int:
        began = time.perf_counter()
        number = digest(self.executor.state)
        self.free -= 1
        self.each = time.perf_counter() - began
        self.spent += self.each
        return number

    def _forget(self, left: np.ndarray) -> None:
        """Forget states that are not needed any more, if it is known how many steps are left."""
        while len(left) and self.marks and self.marks[-1] >= left[0]:
            del self.found[self.marks.pop()]

    def _compare(self, n: int, rows: np.ndarray) -> None:
        self.marks.remove(n)
        if self.found.pop(n) != self._digest():
            problem = self.executor.problem
            known = np.concatenate([self.before, rows])
            loaded = known[known[:, 0] == LOAD][-1:, 1]  # what it was computed from
            raise ReplayMismatchError(problem.step.__name__, int(loaded[0]) if len(loaded) else 0, n, problem.n_steps)
