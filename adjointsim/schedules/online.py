"""Checkpointing while the number of steps is not known: states are stored, and replaced, as the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules.actions import ADVANCE, LOAD, RECORD, REVERSE, STORE, Stream, checked
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
    repetitions_below,
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

    The rule here.  If the run ended at n with the states c_0 = 0 < ... < c_{k-1} stored, its segments would be reversed
    binomially from the last to the first, the i-th with the slots from the i-th state on:  the sum of P(c_{i+1} - c_i, s - i),
    with c_k = n.  The current state replaces the stored one whose loss is least, as soon as that makes the cost at n+1
    smaller.  At n = s+1, (s+1) + s, (s+1) + s + (s-1), ..., which are the states that a run of beta(s, 2) - 1 steps stores in the
    end, it does so if it makes the cost at n+2 smaller.

    Up to n < beta(s, 2) = (s+1)(s+2)/2 the count is G(n, s), as that of Stumm & Walther's first algorithm: the tests count it
    for up to 60 slots.  Beyond, the rule is a heuristic, at most 1.12 G(n, s) with two slots, 1.06 with three and 1.05 with
    more for all n <= 5000 counted, and closer for longer runs.  (Wang's levels, counted in the same way, come to 1.25.)

    A stream costs O(slots) memory and at most O(slots) time a state stored, less where that replaces one near the end.
    ``n_max`` bounds the length.  See :class:`OnlineStream`.
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
        head = np.zeros(_ARRAYS + _LISTS * s + 3 * (s + 1), np.int64)
        head[_SLOTS], head[_MOST] = s, self.n_max
        segment = binomial_state(self.n_max, s)
        segment[NUMBERS], segment[STRIDE] = _ARRAYS + _LISTS * s, s + 1
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
        """Write the next rows of the way forward, two at most, and return how many; 0 at ``n_max``, where the run must end.

        The first time they are RECORD (0, b, 0) and an ADVANCE, then STORE (n, n, slot) and an ADVANCE to where the next
        state is stored (or to ``n_max``).  The run may end at any y_n on the way, after its first step: then leave the rest
        of the rows.  In RECORD, which stores y_0, y_1, ... as it comes to them, y_n itself need not be stored.
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
        count = min(int(state[_COUNT]), n)  # fewer only on the way through RECORD
        state[_BACK], state[_COUNT], state[_LEFT] = 1, count, n
        slots = int(state[_SLOTS])
        first = _ARRAYS + _LISTS * slots + 1
        state[first : first + slots - count] = np.arange(count, slots)
        state[_FREE] = slots - count

    def fill(self, out: np.ndarray) -> int:
        """As :meth:`Stream.fill`, from :meth:`stop` on."""
        if not self.stopped:
            raise ArgumentError("Got fill() before stop(n), but the way back begins at an end: forward() goes on")
        return super().fill(out)


# The state of a stream: this head, the n of the stored states, their slots, three lists of _cheapest, the slot of the segment at
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
_NEXT = 9  # which stored state the current one will replace
_ARRAYS = 10
_LISTS = 5  # of a number a slot


@njit(cache=True, error_model="numpy")
def _least(n: int, s: int) -> int:
    """P(n, s) for s > 1."""
    if n <= s + 1:
        return max(n - 1, 0)
    t, w = repetitions_below(n, s)
    return t * n - w * (s + t) // (s + 1)


@njit(cache=True, error_model="numpy")
def _cheapest(lists: np.ndarray, since: int) -> tuple[int, int]:
    """Which stored state but the first and the last is missed least, and what its loss costs; all slots are in use.

    Without the j-th, two segments are one, and those behind it (the one at the end apart) have a slot more:

        loss_j = own_j + sum_{i > j} gain_i = (own_j - sum_{i <= j} gain_i) + sum_i gain_i.

    ``lists`` are rows: the n of the states, their slots, the sum of gains up to each, the least bracket up to each, and whose
    that is.  What is before the states that changed ``since`` the last call (from that index on) is still true: as those that
    are replaced are mostly near the end, little is to be done.
    """
    at, gains, least, whose = lists[0], lists[2], lists[3], lists[4]
    count = at.size
    if count < 3:
        return -1, 0
    for j in range(max(since - 1, 1), count - 1):
        left, right, free = at[j] - at[j - 1], at[j + 1] - at[j], count - j
        gain = _least(right, free)
        own = _least(left + right, free + 1) - _least(left, free + 1) - gain
        gains[j] = gains[j - 1] + _least(right, free + 1) - gain
        least[j], whose[j] = own - gains[j], j
        if j > 1 and least[j - 1] <= least[j]:
            least[j], whose[j] = least[j - 1], whose[j - 1]
    return whose[count - 2], least[count - 2] + gains[count - 2]


@njit(cache=True, error_model="numpy")
def _next_stop(lists: np.ndarray, since: int, n_max: int) -> tuple[int, int]:
    """(n, j): at y_n, the current state shall replace the j-th; j = -1 at n_max."""
    at = lists[0]
    count = at.size
    last = at[count - 1]
    if count == 1:
        return n_max, -1
    best, loss = _cheapest(lists, since)
    before = last - at[count - 2]
    shorter, t_shorter = 0, 1  # P(gap, 2) and what it grows by
    longer, w_longer = 0, before  # P(before + gap, 2) - P(before, 2), and before + gap
    t_longer = 1
    while (t_longer + 1) * (t_longer + 2) // 2 <= before:
        t_longer += 1
    final, stride = 0, at.size + 1  # the next state of the optimum with two runs of a step
    while final <= last and stride >= 3:
        final, stride = final + stride, stride - 1
    gap = 0
    while last + gap < n_max:
        if (t_shorter + 1) * (t_shorter + 2) // 2 <= gap:  # beta(2, t) <= gap
            t_shorter += 1
        if (t_longer + 1) * (t_longer + 2) // 2 <= w_longer:
            t_longer += 1
        shorter += t_shorter if gap else 0
        longer += t_longer
        gap, w_longer = gap + 1, w_longer + 1
        keep = (gap + 1) * gap // 2  # P(gap + 1, 1) - P(1, 1)
        if last + gap == final:
            keep = (gap + 2) * (gap + 1) // 2 - 1  # P(gap + 2, 1) - P(2, 1)
            if stride >= 3:
                final, stride = final + stride, stride - 1
        if best > 0 and loss + shorter < keep and loss + shorter <= longer:
            return last + gap, best
        if longer < keep:
            return last + gap, count - 1
    return n_max, -1


@njit(cache=True, error_model="numpy")
def _forward(state: np.ndarray, lists: np.ndarray, out: np.ndarray) -> int:
    """The next two rows of the way forward."""
    at, slot = lists[0], lists[1]
    n, s, n_max = state[_AT], state[_SLOTS], state[_MOST]
    if out.shape[0] < 2 or n == n_max:
        return 0
    if n == 0:
        for k in range(s):
            at[k] = slot[k] = k
        put(out, 0, RECORD, 0, s, 0)
        state[_COUNT] = s
        begin, since = s - 1, 0
    else:
        j = since = state[_NEXT]
        put(out, 0, STORE, n, n, slot[j])
        taken = slot[j]
        for k in range(j, s - 1):
            at[k], slot[k] = at[k + 1], slot[k + 1]
        at[s - 1], slot[s - 1] = n, taken
        begin = n
    stop, j = _next_stop(lists, since, n_max)
    put(out, 1, ADVANCE, begin, stop, -1)
    state[_FROM], state[_AT], state[_NEXT] = n, stop, j
    return 2


@njit(cache=True, error_model="numpy")
def _release(state: np.ndarray, i: int) -> None:
    """The last stored state, the i-th, is reversed: put its slot among the free ones."""
    s = state[_SLOTS]
    mine, first = state[_ARRAYS + s + i], _ARRAYS + _LISTS * s + 1
    k = first + state[_FREE]
    while k > first and state[k - 1] > mine:
        state[k] = state[k - 1]
        k -= 1
    state[k] = mine
    state[_FREE] += 1
    state[_COUNT] = i


@njit(cache=True, error_model="numpy")
def fill_online(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of :class:`Online`: two rows of the way forward, or as many as fit of the way back."""
    s = state[_SLOTS]
    at, slot, numbers = _ARRAYS, _ARRAYS + s, _ARRAYS + _LISTS * s
    segment = numbers + 3 * (s + 1)
    if not state[_BACK]:
        return _forward(state, state[at:numbers].reshape((_LISTS, s)), out)
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
