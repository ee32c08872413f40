"""Checkpointing while the number of steps is not known: states are stored, and replaced, as the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules.actions import ADVANCE, KERNEL, LOAD, RECORD, REVERSE, STORE, Stream, checked
from adjointsim.schedules.binomial import (
    NUMBERS,
    STRIDE,
    begin_segment,
    binomial_state,
    checked_segments,
    fill_segment,
    number_slots,
    put,
    put_back,
)

__all__ = ["Online", "OnlineStream"]


@dataclass(frozen=True)
class Online:
    """Up to ``slots`` states are stored so that the run may end at any time and be reversed at little cost.

    Stumm & Walther, "New algorithms for optimal online checkpointing", SIAM J. Sci. Comput. 32 (2010), and Wang, Moin &
    Iaccarino, "Minimal repetition dynamic checkpointing algorithm for unsteady adjoint calculation", SIAM J. Sci. Comput. 31
    (2009), replace stored states by current ones so that no step is run more often than it would be had the end been known.
    What that costs at least is G(n, s) (see binomial.py): n steps to the end, and P(n+1, s) - n more, which every step's VJP
    adds one replay to.

    The rule here.  Let y_n be current and c_0 = 0 < ... < c_{s-1} be stored, L_f the length of the segment that is reversed with
    f slots: L_s = c_1 - c_0, ..., L_1 = n - c_{s-1}.  Every L_f <= beta(f, t) for a t that grows as seldom as can be, so that no
    step is run more than t times on the way back.  The run goes on until L_1 = beta(1, t) = t+1.  Then y_n takes the place of a
    stored state that may be given up: one between two segments that have room in one, L_f + L_{f-1} <= beta(f, t).

    * With t = 1 it is the first of them, and y_n with n = s+1, (s+1) + s, (s+1) + s + (s-1), ... are stored, too: the segments
      fill up one by one, until all L_f = beta(f, 1).  That is at n = beta(s, 2) - 1, and up to there the count is G(n, s), as
      that of Stumm & Walther's first algorithm.
    * With t > 1 it is the last of them, whose loss is least, for it is between the shortest segments.
    * If there is none, t grows.  Then L_1 = beta(1, t) and L_f > beta(f, t) - L_{f-1} >= beta(f, t) - beta(f-1, t) =
      beta(f, t-1) for all others, hence n > sum_f beta(f, t-1) = beta(s, t) - 1: had the end been known, steps would be run
      t+1 times, there and back.  Here none is run more than t+2 times, once more at most.

    From n = beta(s, 2) on the count is at most 1.11 G(n, s) with two slots, 1.09 with three and 1.07 with
    more, as far as counted (all n <= 60000 with up to 200 slots), and closer for longer runs.  (Wang's levels, which store
    every step, come to 1.31.)

    A stream costs O(slots) memory.  A state that is stored costs the same for any number of slots, a few nanoseconds, but where
    t grows.  ``n_max`` bounds the length.  See :class:`OnlineStream`.
    """

    name: ClassVar[str] = "online"
    disk_slots: ClassVar[int] = 0

    slots: int
    n_max: int = 2**40

    def __post_init__(self) -> None:
        slots, n_max = checked("slots", self.slots, 1), checked("n_max", self.n_max, 1)
        if n_max >= 2**62:
            raise ArgumentError(f"Got n_max={n_max}, but expected an integer below 2**62")
        checked_segments(n_max, slots, "n_max")
        object.__setattr__(self, "n_max", n_max)
        object.__setattr__(self, "slots", min(slots, n_max))

    def stream(self) -> OnlineStream:
        """A new stream at y_0."""
        s = self.slots
        there = _ARRAYS + _LISTS * s
        head = np.zeros(2 * there + 3 * (s + 1), np.int64)
        head[_SLOTS], head[_MOST] = s, self.n_max
        segment = binomial_state(self.n_max, s)
        segment[NUMBERS], segment[STRIDE] = 2 * there, s + 1
        return OnlineStream(fill_online, np.concatenate([head, segment]))


class OnlineStream(Stream):
    """The actions of a sweep whose end is found on the way.

    Ask :meth:`forward` again and again until the run ends, say :meth:`stop`, and :meth:`fill` has the way back:

        while not ended:
            rows = out[: stream.forward(out)]
            ...                                 # carry them out until the run ends, at y_n, or they do
        stream.stop(n)
        while count := stream.fill(out):
            ...

    ``kernel`` does what forward and fill do, and may be called from compiled code.  As that of any stream, ``state`` may be
    saved and continued at any time.
    """

    __slots__ = ()

    @property
    def stopped(self) -> bool:
        """Whether the end is known."""
        return bool(self.state[_BACK])

    def forward(self, out: np.ndarray) -> int:
        """Write the next rows of the way forward, in pairs, and return how many; 0 at ``n_max``, where the run must end.

        The first pair is RECORD (0, b, 0) and an ADVANCE, others are STORE (n, n, slot) and an ADVANCE to where the next state
        is stored (or to ``n_max``).  The run may end at any y_n on the way, after its first step: then leave the rest of the
        rows.  In RECORD, which stores y_0, y_1, ... as it comes to them, y_n itself need not be stored.
        """
        self._check(out)
        if self.stopped:
            raise ArgumentError("Got forward() after stop(), but expected fill()")
        if len(out) < 2:
            raise StructureError("Got out with one row, but forward() writes two")
        return self.kernel(self.state, out)

    def stop(self, n: int) -> None:
        """The current state y_n, which is in the last rows that :meth:`forward` wrote, is the last one."""
        n, state = checked("n", n, 0), self.state
        if self.stopped:
            raise ArgumentError(f"Got stop({n}), but the stream was stopped before")
        first, last = int(state[_FROM]), int(state[_AT])
        if not (first < n <= last or n == last == 0):
            raise ArgumentError(f"Got stop({n}), but the last rows went from y_{first} to y_{last}: expected an n behind {first}")
        _turn(state, n)

    def fill(self, out: np.ndarray) -> int:
        """As :meth:`Stream.fill`, from :meth:`stop` on."""
        if not self.stopped:
            raise ArgumentError("Got fill() before stop(n), but the way back begins at an end: forward() goes on")
        return super().fill(out)


# The state of a stream: this head, four lists, both as they were before the last rows were written, the slot of the segment at
# hand and then those that are free (in order), which neighbours these have, and the stream of the segment.
_SLOTS = 0
_MOST = 1  # n_max
_BACK = 2  # 1 from stop() on
_FROM = 3  # the last rows of the way forward led from here
_AT = 4  # to here
_COUNT = 5  # states stored, and not reversed yet
_FREE = 6  # slots free, the one of the segment's first state not counted
_LEFT = 7  # steps left
_INSIDE = 8  # 1 while a segment is reversed
_TIMES = 9  # t
_LAST = 10  # the slot of the last state stored
_GROWS = 11  # with t = 1: the slot of the first segment that is not full
_ROOM = 12  # and its beta(f, 1)
_FULL = 13  # where all segments before the last one will be full
_WIDTH = 14  # and how long that one will be
_ARRAYS = 15

# Lists of a number a slot, one behind the other.  On the way forward: the n of the state in it, the slots of the states behind it
# and before it (-1: none), and beta(f, t) for f = 1, 2, ...  On the way back, in the order of the states: their n and slots.
# They are found by numbers, for slices would cost more than the rows.
_STATES, _BEHIND, _BEFORE, _BETAS = range(4)
_NUMBERS = _BEHIND
_LISTS = 4
_ENDLESS = 2**62  # instead of what is longer than any run


@njit(**KERNEL)
def _grow(state: np.ndarray, betas: int, s: int) -> None:
    """beta(f, t+1) = beta(f, t) + beta(f-1, t+1) for all f."""
    less = 1
    for f in range(betas, betas + s):
        less = state[f] = min(state[f] + less, _ENDLESS)


@njit(**KERNEL)
def _of(state: np.ndarray, numbers: int, k: int) -> int:
    """A number of a slot.  That it does not count from the end, the compiler learns here."""
    return state[np.uintp(numbers + k)]


@njit(**KERNEL)
def _given_up(state: np.ndarray, s: int, n: int, last: int, t: int) -> tuple[int, int]:
    """The slot whose state y_n shall replace, and t, which grows if need be."""
    at = _ARRAYS
    behind, before, betas = at + s * _BEHIND, at + s * _BEFORE, at + s * _BETAS
    if t == 1:
        left = state[_GROWS]
        while state[behind + left] >= 0:
            k = state[behind + left]
            end = state[at + state[behind + k]] if state[behind + k] >= 0 else n
            if end - state[at + left] <= state[_ROOM]:
                return k, t
            left = state[_GROWS] = k
            state[_ROOM] -= 1
        _grow(state, betas, s)
        t += 1
    while True:
        k, end, f = last, n, betas + 1
        left = _of(state, before, k)
        while left >= 0:
            if end - _of(state, at, left) <= _of(state, f, 0):
                return k, t
            k, end, f, left = left, _of(state, at, k), f + 1, _of(state, before, left)
        _grow(state, betas, s)
        t += 1


@njit(**KERNEL)
def _begin(state: np.ndarray, s: int) -> None:
    """y_0, ..., y_{s-1} are stored."""
    at = _ARRAYS
    behind, before, betas = at + s * _BEHIND, at + s * _BEFORE, at + s * _BETAS
    for k in range(s):
        state[at + k], state[behind + k], state[before + k], state[betas + k] = k, k + 1, k - 1, k + 2
    state[behind + s - 1] = -1
    state[_COUNT], state[_LAST], state[_TIMES], state[_GROWS] = s, s - 1, 1, 0
    state[_ROOM] = state[_WIDTH] = state[_FULL] = s + 1


@njit(**KERNEL)
def _ahead(state: np.ndarray, out: np.ndarray, until: int) -> int:
    """Pairs of rows of the way forward: as many as fit, or as lead to ``until``."""
    at, s, n_max = _ARRAYS, state[_SLOTS], state[_MOST]
    behind, before = at + s * _BEHIND, at + s * _BEFORE
    n, rows = state[_AT], 0
    first = n
    if n == 0:
        _begin(state, s)
    t, last = state[_TIMES], state[_LAST]
    while rows + 2 <= out.shape[0] and n < until:
        if n == 0:
            rows = put(out, rows, RECORD, 0, s, 0)
            begin = s - 1
        else:
            k, t = _given_up(state, s, n, last, t)
            if k != last:
                left, right = _of(state, before, k), _of(state, behind, k)
                state[np.uintp(behind + left)], state[np.uintp(before + right)] = right, left
                state[np.uintp(behind + last)], state[np.uintp(before + k)], state[np.uintp(behind + k)] = k, last, -1
                last = k
            state[np.uintp(at + k)] = n
            rows = put(out, rows, STORE, n, n, k)
            begin = n
        stop = begin + t + 1 if s > 1 else n_max
        if t == 1 and s > 1:
            if n == state[_FULL]:
                state[_WIDTH] -= 1
                state[_FULL] += state[_WIDTH]
            stop = min(stop, state[_FULL])
        first, n = n, min(stop, n_max)
        rows = put(out, rows, ADVANCE, begin, n, -1)
    state[_FROM], state[_AT], state[_TIMES], state[_LAST] = first, n, t, last
    return rows


@njit(**KERNEL)
def _forward(state: np.ndarray, out: np.ndarray) -> int:
    """As many pairs of rows of the way forward as fit."""
    first = state[_AT]
    if first == state[_MOST]:
        return 0
    size = _ARRAYS + _LISTS * state[_SLOTS]
    for i in range(size):
        state[size + i] = state[i]
    rows = _ahead(state, out, state[_MOST])
    state[_FROM] = first
    return rows


@njit(cache=True, error_model="numpy")
def _turn(state: np.ndarray, n: int) -> None:
    """The run has ended at y_n, in the last rows: what came behind it in them is taken back."""
    s = state[_SLOTS]
    size, pair = _ARRAYS + _LISTS * s, np.empty((2, 4), np.int64)
    if n < state[_AT]:
        for i in range(size):
            state[i] = state[size + i]
        while state[_AT] < n:
            _ahead(state, pair, n)
    count = min(state[_COUNT], n)  # fewer only on the way through RECORD
    states, order, k = np.empty(count, np.int64), np.empty(count, np.int64), 0
    for i in range(count):
        states[i], order[i], k = state[_ARRAYS + k], k, state[_ARRAYS + _BEHIND * s + k]
    for i in range(count):
        state[_ARRAYS + i], state[_ARRAYS + _NUMBERS * s + i] = states[i], order[i]
    state[_BACK], state[_COUNT], state[_LEFT], state[_FREE] = 1, count, n, s - count
    for i in range(s - count):
        state[2 * size + 1 + i] = count + i


@njit(**KERNEL)
def _release(state: np.ndarray, i: int) -> None:
    """The last stored state, the i-th, is reversed: put its slot among the free ones."""
    s = state[_SLOTS]
    mine, first = state[_ARRAYS + _NUMBERS * s + i], 2 * (_ARRAYS + _LISTS * s) + 1
    k = first + state[_FREE]
    while k > first and state[k - 1] > mine:
        state[k] = state[k - 1]
        k -= 1
    state[k] = mine
    state[_FREE] += 1
    state[_COUNT] = i


@njit(**KERNEL)
def fill_online(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of :class:`Online`: as many rows as fit, of the way forward or of the way back."""
    if not state[_BACK]:
        return _forward(state, out)
    s = state[_SLOTS]
    at, slot, numbers = _ARRAYS, _ARRAYS + _NUMBERS * s, 2 * (_ARRAYS + _LISTS * s)
    segment = numbers + 3 * (s + 1)
    n, rows = 0, out.shape[0]
    while n < rows and state[_COUNT] > 0:
        i = state[_COUNT] - 1
        first, last = state[at + i], state[_LEFT]
        if state[_INSIDE]:
            n = fill_segment(state, segment, out, n)
            if n < rows:
                state[_INSIDE], state[_LEFT] = 0, first
                _release(state, i)
        elif last - first > 1:
            slots = state[_FREE] + 1
            mine = state[numbers] = state[slot + i]
            end = min(last, first + slots)
            number_slots(state, segment, end - first)
            if slots > 1 and last <= end + 1 and n + 5 <= rows and state[numbers + s + 1] == end - first - 1:
                # as a stream would, and for less than that takes to begin
                n = put(out, put(out, n, LOAD, first, first, mine), RECORD, first, end, mine)
                n = put_back(out, n, first, end, last, mine)
                _release(state, i)
                state[_LEFT] = first
            else:
                begin_segment(state, segment, first, last, slots, 1)
                state[_INSIDE] = 1
        else:  # a step by itself, and those before it that are stored next to it
            _release(state, i)
            while i > 0 and state[at + i - 1] == first - 1 and state[slot + i - 1] == state[slot + i] - 1:
                i, first = i - 1, first - 1
                _release(state, i)
            n = put(out, n, REVERSE, first, last, state[slot + i])
            state[_LEFT] = first
    return n
