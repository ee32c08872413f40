"""Periodic checkpointing: every k-th state is stored, and a segment of k steps is run again and recorded at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import ClassVar

import numpy as np
from numba import njit

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import ADVANCE, KERNEL, LOAD, RECORD, REVERSE, STORE, Schedule, Stream, checked, checked_steps
from adjointsim.schedules.binomial import put

__all__ = ["Periodic", "fill_periodic"]


def _slots(n: int, k: int) -> int:
    """The slots in use at once.  Segment j is recorded from slot j on, over the states of the segments reversed before it.

    The last one of the m = ceil(n/k) segments begins in slot m-1, the one before it in slot m-2.
    """
    m = -(-n // k)
    return max(m - 1 + n - (m - 1) * k, m - 2 + k) if m > 1 else k


def _longest(n: int, slots: int) -> int:
    """The period with the fewest segments among those that need at most ``slots``; 0 if there is none.

    m segments need the fewest slots with k = ceil(n/m): m + k - 2, or one more if k divides n.  So m + n/m must not exceed
    slots + 2, which first holds at the smaller root of a quadratic.
    """
    c = slots + 2
    m = max(1, (c - isqrt(max(c * c - 4 * n, 0))) // 2 - 1)
    while m <= slots:
        k = -(-n // m)
        if _slots(n, k) <= slots:
            return k
        if m * m > 4 * n:
            break
        m += 1
    return 0


def _least(n: int) -> int:
    """The fewest slots that a period needs; m + ceil(n/m) is least near m = sqrt(n)."""
    root = isqrt(n)
    return min(_slots(n, -(-n // m)) for m in range(max(root - 2, 1), root + 4))


@dataclass(frozen=True)
class Periodic(Schedule):
    """Every ``period``-th state is stored on the way forward; then no step is run more than twice.

    The oldest scheme, known as the two-sweep or square-root method (Volin & Ostrovskii, "Automatic computation of
    derivatives with the use of the multilevel differentiating technique", Comput. Math. Appl. 11 (1985); Griewank & Walther,
    "Evaluating Derivatives", 2nd ed. (2008), chapter 12).  With k the period and m = ceil(n_steps / k) segments it takes
    n_steps - 1 + (m-1) (k-1) primal steps, fewer than 2 n_steps, and m + k - 2 slots, one more if k divides n_steps: states
    of segments and the segment that is being reversed, which uses the slots of those that are done.

    Without ``slots`` and ``period``, the period is the one that needs the fewest slots, about 2 sqrt(n_steps); with ``slots``
    alone, it is the longest that fits.  A binomial schedule with as many slots is never worse, and about sqrt(2 n_steps) slots
    will do for two runs of a step; the merit of this one is that it is simple, and what others are measured by.

    ArgumentError if ``slots`` are too few.  In the schedule, ``slots`` is what it uses.
    """

    name: ClassVar[str] = "periodic"

    n_steps: int
    slots: int = 0
    period: int = 0
    keeps: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        n, slots, period = checked_steps(self.n_steps), checked("slots", self.slots, 0), checked("period", self.period, 0)
        if n == 0:
            period = 1
        elif not period:
            period = _longest(n, slots or _least(n))
        period = min(period, max(n, 1))
        needed = max(_slots(n, period), 1) if period else _least(n)
        if 0 < slots < needed:
            at = f"period={period}" if period else "the best period"
            raise ArgumentError(f"Got slots={slots}, but expected at least {needed} for n_steps={n} and {at}")
        for name, value in (("n_steps", n), ("slots", needed), ("period", period)):
            object.__setattr__(self, name, value)

    @property
    def forward_steps(self) -> int:
        n, k = self.n_steps, self.period
        return max(n - 1, 0) + (-(-n // k) - 1) * (k - 1) if n else 0

    def stream(self) -> Stream:
        n = self.n_steps
        k = self.period if self.period > 1 else max(n, 1)  # all states are one recorded run, too
        last = -(-n // k) - 1
        return Stream(fill_periodic, np.array([n, k, 0, 0, last], np.int64))


# The state of a stream: the number of steps, the period, the rows written in the part of the sweep that is at hand, that
# part (0: forward, 1: back), and the segment.
@njit(**KERNEL)
def fill_periodic(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of :class:`Periodic`."""
    n_steps, k = state[0], state[1]
    n = 0
    while n < out.shape[0] and state[4] >= 0:
        last = -(-n_steps // k) - 1
        if state[3] == 0:
            j = state[2] // 2
            if j == last:
                state[2], state[3] = 1, 1  # without the LOAD
            elif state[2] % 2 == 0:
                n = put(out, n, STORE, j * k, j * k, j)
                state[2] += 1
            else:
                n = put(out, n, ADVANCE, j * k, (j + 1) * k, -1)
                state[2] += 1
            continue
        j = state[4]
        a = j * k
        b = a + min(k, n_steps - a)
        if state[2] == 0:
            n = put(out, n, LOAD, a, a, j)
        elif state[2] == 1:
            n = put(out, n, RECORD, a, b, j)
        else:
            n = put(out, n, REVERSE, a, b, j)
        state[2] += 1
        if state[2] == 3:
            state[2], state[4] = 0, j - 1
    return n
