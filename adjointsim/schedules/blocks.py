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
from adjointsim.schedules.actions import ADVANCE, LOAD, RECORD, REVERSE, STORE, Schedule, Stream
from adjointsim.schedules.binomial import P, begin_segment, beta, binomial_state, fill_binomial, put, repetitions

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
_LISTED = 3  # 1 if the outer schedule is a list, else it is binomial
_INNER = 4  # where the inner stream's state begins
_ROW = 5  # the outer row at hand: kind, a, b, slot in units of blocks
_TURN = 9  # how much of it is done, of so much in all
_TURNS = 10
_INSIDE = 11  # 1 while a block is reversed
_CURRENT = 12  # the block whose first state is current; -1 if it is none
_HELD = 13  # the disk slot that holds the current state, too; -1 if none does
_LEFT = 14  # how many blocks are still to be reversed
_OUTER = 15


def _stream(n: int, k: int, memory: int, outer: np.ndarray, listed: bool, longest: int, current: int = 0) -> Stream:
    inner = binomial_state(longest, memory)
    head = np.array([k, n, memory, listed, _OUTER + outer.size, 0, 0, 0, 0, 0, 0, 0, current, -1, -(-n // k)], np.int64)
    return Stream(fill_blocks, np.concatenate([head, outer, inner]))


def block_stream(n: int, k: int, memory: int, disk: int) -> Stream:
    """A stream of n steps in blocks of k, stored binomially in ``disk`` slots behind ``memory`` slots."""
    blocks = -(-n // k)
    if blocks <= 1:
        return plan_stream(n, memory, [(REVERSE, 0, n, -1)] if n else [])
    return _stream(n, k, memory, binomial_state(blocks, disk), False, k)


def plan_stream(n: int, memory: int, rows: Sequence[tuple[int, int, int, int]], current: int = 0) -> Stream:
    """A stream of listed actions on steps and disk slots, where REVERSE (a, b, -1) reverses from y_a in memory.

    At first y_n is there for n = ``current``, or nothing if that is -1: what is current need not be loaded.
    """
    outer = np.array([0, len(rows), *(x for row in rows for x in row)], np.int64)
    longest = max((b - a for kind, a, b, _ in rows if kind == REVERSE), default=0)
    return _stream(n, 1, memory, outer, True, longest, current)


@njit(cache=True, error_model="numpy")
def _next_row(state: np.ndarray, outer: np.ndarray) -> bool:
    """Take the next row of the outer schedule; False at its end."""
    row = state[_ROW : _ROW + 4]
    if state[_LISTED]:
        if outer[0] == outer[1]:
            return False
        row[:] = outer[2 + 4 * outer[0] : 6 + 4 * outer[0]]
        outer[0] += 1
    elif fill_binomial(outer, row.reshape(1, 4)) == 0:
        return False
    kind, a, b, slot = row
    state[_TURN], state[_TURNS] = 0, 1
    if kind == RECORD:
        state[_TURNS] = 2 * (b - a) - 1
    elif kind == REVERSE and slot >= 0:
        state[_TURNS] = 2 * (b - a)
    return True


@njit(cache=True, error_model="numpy")
def _go_on(state: np.ndarray, inner: np.ndarray, out: np.ndarray, n: int) -> int:
    """Turn by turn through the row at hand, until ``out`` is full or a block begins; a turn writes one action or none."""
    kind, a, b, slot = state[_ROW], state[_ROW + 1], state[_ROW + 2], state[_ROW + 3]
    k, memory, current, held = state[_PERIOD], state[_MEMORY], state[_CURRENT], state[_HELD]
    turn, turns, inside = state[_TURN], state[_TURNS], 0
    while turn < turns and n < out.shape[0] and not inside:
        do, block, end, disk = kind, a, b, slot
        if kind == RECORD:  # STORE and ADVANCE in turns
            block, disk = a + turn // 2, slot + turn // 2
            do, end = (ADVANCE, block + 1) if turn % 2 else (STORE, block)
        elif kind == REVERSE and slot >= 0:  # LOAD and a block in turns
            block = b - 1 - turn // 2
            disk = slot + block - a
            do, end = (REVERSE, block + 1) if turn % 2 else (LOAD, block)
        turn += 1
        if do == ADVANCE:
            n = put(out, n, ADVANCE, block * k, end * k, -1)
            current, held = end, -1
        elif do == STORE:
            # What is reversed next is not worth a write, and what was read just now is there.
            if not (kind == RECORD and (block + 1 == state[_LEFT] or (current == block and held == disk))):
                n = put(out, n, STORE, block * k, block * k, memory + disk)
            held = disk
        elif do == LOAD:
            if current != block:
                n = put(out, n, LOAD, block * k, block * k, memory + disk)
            current, held = block, disk
        else:
            first = block * k
            stop = first + min((end - block) * k, state[_STEPS] - first)
            state[_LEFT] = block
            if stop - first == 1:
                n = put(out, n, REVERSE, first, stop, -1)
            else:
                begin_segment(inner, first, stop, memory)
                inside, current = 1, -1
    state[_TURN], state[_INSIDE], state[_CURRENT], state[_HELD] = turn, inside, current, held
    return n


@njit(cache=True, error_model="numpy")
def fill_blocks(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of schedules with two tiers."""
    outer, inner = state[_OUTER : state[_INNER]], state[state[_INNER] :]
    n = 0
    while n < out.shape[0]:
        if state[_INSIDE]:
            n += fill_binomial(inner, out[n:])
            state[_INSIDE] = n == out.shape[0]
        elif state[_TURN] < state[_TURNS]:
            n = _go_on(state, inner, out, n)
        elif not _next_row(state, outer):
            break
    return n
