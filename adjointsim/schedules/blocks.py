"""Two tiers of slots: states on a disk cut the run into segments, each of which is reversed binomially in memory.

What is stored and loaded on the disk is an outer schedule in units of blocks of k steps: a binomial one, or a list of actions.
Where it reverses a block, the kernel here puts the stream of a binomial schedule for the block's steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from numba import njit

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import ADVANCE, KERNEL, LOAD, RECORD, REVERSE, STORE, Schedule, Stream
from adjointsim.schedules.binomial import P, begin_segment, beta, binomial_state, fill_segment, put, put_back, repetitions

__all__ = ["Counted", "Counts", "Priced", "block_counts", "block_stream", "leaves", "marks", "plan_stream"]


class Counts(NamedTuple):
    """What a schedule of two tiers runs, writes to the disk and reads from it."""

    forward_steps: int
    writes: int
    reads: int


class Counted(Schedule):
    """A schedule whose steps, writes and reads are counted without running through it."""

    @property
    @abstractmethod
    def counts(self) -> Counts:
        """Primal steps, writes and reads."""

    @property
    def forward_steps(self) -> int:
        return self.counts.forward_steps


class Priced(Counted):
    """A schedule of two tiers for which a write, a read, a primal step and a VJP have costs: numbers in any unit."""

    write: float
    read: float
    forward: float
    reverse: float

    def _check_costs(self) -> None:
        for name in ("write", "read", "forward", "reverse"):
            checked_cost(name, getattr(self, name))

    @property
    def cost(self) -> float:
        """What the sweep costs."""
        steps, writes, reads = self.counts
        return self.forward * steps + self.write * writes + self.read * reads + self.reverse * self.n_steps


def checked_cost(name: str, value: float) -> float:
    """``value`` if it is a finite number >= 0, else ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentError(f"Got {name}={value!r}, but expected a number >= 0: a cost in any unit")
    if not (isfinite(value) and value >= 0):
        raise ArgumentError(f"Got {name}={value}, but expected a finite number >= 0: a cost in any unit")
    return value


def leaves(n: int, s: int) -> int:
    """How many of n >= 1 steps a binomial schedule with s slots reverses as soon as it reaches them; O(s + r).

    Those states need no slot.  They are beta(s, t-1) of beta(s, t) steps: one in a leaf of up to s+1 steps, all but one with
    a single slot, and the sums of both parts else (Pascal).  Of the parts of any other number of steps one is of that kind
    (see ``_emit`` in binomial.py).
    """
    r = repetitions(n, s)
    w, count = beta(s, r - 1), 0
    while s > 1 and n > s + 1:
        w_right = w * s // (s + r - 1)
        left = min(w, n - w_right)
        if left == w:
            count += w - w_right
            n, s, w = n - left, s - 1, w_right
        else:
            count += w_right * (r - 1) // (s + r - 2)
            n, r, w = left, r - 1, w - w_right
    return count + (max(n - 1, 1) if s == 1 else 1)


def block_counts(n: int, k: int, memory: int, disk: int) -> Counts:
    """The counts for blocks of k steps, if the outer schedule is binomial with ``disk`` slots; n >= 1.

    Every block but the one that is reversed first is reached from a state read from the disk, one read for each: a leaf of
    the outer schedule takes as many as it has blocks, and splits add none.
    """
    blocks = -(-n // k)
    inner = (blocks - 1) * P(k, memory) + P(n - (blocks - 1) * k, memory)
    if blocks == 1:
        return Counts(inner, 0, 0)
    return Counts(P(blocks, disk) * k + inner, blocks - leaves(blocks, disk), blocks - 1)


def marks(s: int, n: int) -> Iterator[int]:
    """beta(s, t) below n for t = 0, 1, ..., 20 and then for t in growing strides: where P(., s) has its kinks."""
    t = 0
    while (length := beta(s, t)) < n:
        yield length
        t += 1 + t // 20


# The state of a stream.
_PERIOD = 0
_STEPS = 1
_MEMORY = 2  # slots in memory
_OUTER = 3  # where the stream of a binomial outer schedule begins; 0: the outer schedule is the rows at hand
_INNER = 4  # where the stream of the block at hand begins
_NEXT = 5  # rows done of the outer schedule's
_READY = 6  # at hand
_TURN = 7  # how much of the next one is done
_INSIDE = 8  # 1 while a block is reversed
_CURRENT = 9  # the block whose first state is current; -1 if it is none
_HELD = 10  # the disk slot that holds the current state, too; -1 if none does
_LEFT = 11  # how many blocks are still to be reversed
_ROWS = 12  # kind, a, b, slot of the rows at hand, in units of blocks
_BUFFER = 64  # how many of a binomial schedule there are at a time


def _stream(n: int, k: int, memory: int, rows: np.ndarray, ready: int, outer: np.ndarray, longest: int, current: int) -> Stream:
    inner = binomial_state(longest, memory)
    begin = _ROWS + rows.size
    head = [k, n, memory, begin if outer.size else 0, begin + outer.size, 0, ready, 0, 0, current, -1, -(-n // k)]
    return Stream(fill_blocks, np.concatenate([np.array(head, np.int64), rows.reshape(-1), outer, inner]))


def block_stream(n: int, k: int, memory: int, disk: int) -> Stream:
    """A stream of n steps in blocks of k, stored binomially in ``disk`` slots behind ``memory`` slots."""
    blocks = -(-n // k)
    if blocks <= 1:
        return plan_stream(n, memory, [(REVERSE, 0, n, -1)] if n else [])
    return _stream(n, k, memory, np.zeros((_BUFFER, 4), np.int64), 0, binomial_state(blocks, disk), k, 0)


def plan_stream(n: int, memory: int, rows: np.ndarray | Sequence[tuple[int, int, int, int]], current: int = 0) -> Stream:
    """A stream of listed actions on steps and disk slots, where REVERSE (a, b, -1) reverses from y_a in memory.

    At first y_n is there for n = ``current``, or nothing if that is -1: what is current need not be loaded.
    """
    table = np.asarray(rows, np.int64).reshape(-1, 4)
    longest = int(np.max(table[:, 2] - table[:, 1], initial=0, where=table[:, 0] == REVERSE))
    return _stream(n, 1, memory, table, len(table), np.empty(0, np.int64), longest, current)


@njit(**KERNEL)
def _more_rows(state: np.ndarray) -> int:
    """How many rows of a binomial outer schedule are at hand now; 0 at its end."""
    rows = state[_ROWS : _ROWS + 4 * _BUFFER].reshape(_BUFFER, 4)
    return fill_segment(state, state[_OUTER], rows, 0)


@njit(**KERNEL)
def fill_blocks(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of schedules with two tiers: turn by turn through the outer rows; a turn writes an action, none, or a block."""
    k, steps, memory, inner = state[_PERIOD], state[_STEPS], state[_MEMORY], state[_INNER]
    row, ready, turn, inside = state[_NEXT], state[_READY], state[_TURN], state[_INSIDE]
    current, held, left = state[_CURRENT], state[_HELD], state[_LEFT]
    n, room = 0, out.shape[0]
    while n < room:
        if inside:
            n = fill_segment(state, inner, out, n)
            inside = n == room
            continue
        if row == ready:
            if state[_OUTER]:
                row, ready = 0, _more_rows(state)
            if row == ready:
                break
        first = _ROWS + 4 * row
        kind, a, b, disk = state[first], state[first + 1], state[first + 2], state[first + 3]
        if kind == ADVANCE:
            n = put(out, n, ADVANCE, a * k, b * k, -1)
            current, held, row = b, -1, row + 1
        elif kind == STORE:
            n = put(out, n, STORE, a * k, a * k, memory + disk)
            held, row = disk, row + 1
        elif kind == LOAD:
            if current != a:
                n = put(out, n, LOAD, a * k, a * k, memory + disk)
            current, held, row = a, disk, row + 1
        elif kind == RECORD:  # STORE and ADVANCE in turns
            while n < room and turn < 2 * (b - a) - 1:
                block = a + turn // 2
                slot = disk + turn // 2
                if turn % 2:
                    n = put(out, n, ADVANCE, block * k, (block + 1) * k, -1)
                    current, held = block + 1, -1
                else:  # what is reversed next is not worth a write, and what was read just now is there
                    if block + 1 != left and not (current == block and held == slot):
                        n = put(out, n, STORE, block * k, block * k, memory + slot)
                    held = slot
                turn += 1
            if turn == 2 * (b - a) - 1:
                row, turn = row + 1, 0
        else:
            blocks = b - a if disk >= 0 else 1
            while n < room and turn < blocks and not inside:
                block, after = a, b
                if disk >= 0:  # LOAD and a block in turns
                    block, after = b - 1 - turn, b - turn
                    held = disk + block - a
                    if current != block:
                        n = put(out, n, LOAD, block * k, block * k, memory + held)
                        current = block
                        continue
                left, turn = block, turn + 1
                begin, stop = block * k, min(after * k, steps)
                if stop - begin == 1:
                    n = put(out, n, REVERSE, begin, stop, -1)
                elif stop - begin <= memory + 1 and n + 4 <= room:  # as a stream would, and for less than that takes to begin
                    end = min(stop, begin + memory)
                    n = put_back(out, put(out, n, RECORD, begin, end, 0), begin, end, stop, 0)
                    current = -1
                else:
                    begin_segment(state, inner, begin, stop, memory, 0)
                    inside, current = 1, -1
            if turn == blocks:
                row, turn = row + 1, 0
    state[_NEXT], state[_READY], state[_TURN], state[_INSIDE] = row, ready, turn, inside
    state[_CURRENT], state[_HELD], state[_LEFT] = current, held, left
    return n
