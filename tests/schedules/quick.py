"""The abstract machine once more, compiled: for tests that go through thousands of schedules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from adjointsim.schedules import Schedule, Stream

_ROWS = np.empty((1 << 15, 4), np.int64)


class Counts(NamedTuple):
    """What the actions did; ``current`` and ``left`` are the state that is current and the steps not reversed yet."""

    current: int
    left: int
    forward_steps: int
    leaves: int
    disk_writes: int
    disk_reads: int
    used: int  # slots in memory that were written
    disk_used: int


@njit
def carry_out(rows, held, memory, limit, counts):
    """Carry out actions on step numbers; the index of the first that cannot be, else -1.  ADVANCE goes below ``limit``."""
    current, left = counts[0], counts[1]
    for row in range(len(rows)):
        kind, a, b, slot = rows[row]
        n = b - a
        if kind == 1:
            if not (slot == -1 and current == a < b < min(left, limit)):
                return row
            current = b
            counts[2] += n
        elif kind == 2:
            if not (a == b == current and 0 <= slot < len(held)):
                return row
            held[slot] = a
            counts[4] += slot >= memory
        elif kind == 3:
            if not (a == b and 0 <= slot < len(held) and held[slot] == a):
                return row
            current = a
            counts[5] += slot >= memory
        elif kind == 4:
            if not (current == a < b <= min(left, limit) and 0 <= slot <= memory - n):
                return row
            for k in range(n):
                held[slot + k] = a + k
            current = b - 1
            counts[2] += n - 1
        elif kind == 5:
            if not (a < b == left and (slot == -1 and a == b - 1 == current or 0 <= slot <= memory - n)):
                return row
            for k in range(n):
                if slot >= 0 and held[slot + k] != a + k:
                    return row
            counts[3] += current == b - 1
            left = a
        else:
            return row
        counts[0], counts[1] = current, left
    return -1


def follow(stream: Stream, held: np.ndarray, memory: int, limit: int, counts: np.ndarray) -> None:
    """Carry out a whole stream; AssertionError at the first action that cannot be."""
    while count := stream.fill(_ROWS):
        wrong = carry_out(_ROWS[:count], held, memory, limit, counts)
        assert wrong < 0, (_ROWS[wrong], held, counts)


def run(schedule: Schedule) -> Counts:
    """Carry out a whole schedule, and check that it reverses all steps with the primal steps it announces."""
    memory = schedule.slots - schedule.disk_slots
    held, counts = np.full(schedule.slots, -1), np.zeros(6, np.int64)
    counts[1] = schedule.n_steps
    follow(schedule.stream(), held, memory, schedule.n_steps, counts)
    done = Counts(*counts.tolist(), int(np.sum(held[:memory] >= 0)), int(np.sum(held[memory:] >= 0)))
    assert (done.left, done.forward_steps) == (0, schedule.forward_steps)
    return done


def begin(schedule: Schedule, chunks: int = 20) -> Counts:
    """Carry out the beginning of a schedule that is too long to be run."""
    memory, stream = schedule.slots - schedule.disk_slots, schedule.stream()
    held, counts = np.full(schedule.slots, -1), np.zeros(6, np.int64)
    counts[1] = schedule.n_steps
    for _ in range(chunks):
        count = stream.fill(_ROWS)
        wrong = carry_out(_ROWS[:count], held, memory, schedule.n_steps, counts)
        assert count == len(_ROWS) and wrong < 0, _ROWS[wrong]
    return Counts(*counts.tolist(), int(np.sum(held[:memory] >= 0)), int(np.sum(held[memory:] >= 0)))
