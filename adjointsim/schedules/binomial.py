"""Binomial checkpointing: the fewest primal steps for a given number of slots (Revolve).

Griewank, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation",
Optim. Methods Softw. 1 (1992); Grimm, Pottier & Rostaing-Schmidt, "Optimal time and minimum space-time product for
reversing a certain class of programs" (1996); Griewank & Walther, "Algorithm 799: revolve", ACM TOMS 26 (2000), and
"Evaluating Derivatives", 2nd ed. (2008), section 12.3.

===================  =========================================================================================
here                 there
===================  =========================================================================================
``n``, ``length``    l, the number of steps to reverse
``s``, ``free``      s or c, the slots, the slot of the segment's first state counted
``t``, ``r``         r, the largest number of times that any step is run
``beta(s, t)``       C(s+t, s), the longest sweep that s slots reverse with t runs of a step
``P(n, s)``          t(l, s) in (12.7): min over 1 <= m < n of m + P(n-m, s-1) + P(m, s);  P(1, s) = 0
===================  =========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, isqrt
from typing import ClassVar

import numpy as np
from numba import njit

from adjointsim.errors import ArgumentError
from adjointsim.schedules.actions import ADVANCE, KERNEL, LOAD, RECORD, REVERSE, STORE, Schedule, Stream, checked, checked_steps

__all__ = [
    "Binomial", "F", "G", "NUMBERS", "P", "STRIDE", "begin_segment", "beta", "binomial_state", "checked_segments",
    "fill_binomial", "fill_segment", "number_slots", "put", "put_back", "repetitions", "repetitions_below",
]  # fmt: skip


def beta(s: int, t: int) -> int:
    """C(s+t, s): how many steps s slots can reverse if no step is run more than t times; 0 for t = -1."""
    s, t = checked("s", s, 0), checked("t", t, -1)
    return comb(s + t, s) if t >= 0 else 0


def repetitions(n: int, s: int) -> int:
    """The r with beta(s, r-1) < n <= beta(s, r): how often the most repeated step is run.  0 for n <= 1."""
    n, s = checked("n", n, 0), checked("s", s, 1)
    if n <= 1:
        return 0
    low, high = 0, 1
    while beta(s, high) < n:
        low, high = high, 2 * high
    while high - low > 1:  # beta(s, low) < n <= beta(s, high)
        middle = (low + high) // 2
        low, high = (middle, high) if beta(s, middle) < n else (low, middle)
    return high


def P(n: int, s: int) -> int:
    """The fewest un-taped primal steps that reverse n steps with s slots: r n - beta(s+1, r-1)."""
    n, s = checked("n", n, 0), checked("s", s, 1)
    r = repetitions(n, s)
    return r * n - beta(s + 1, r - 1)


def F(n: int, s: int) -> int:
    """All primal steps if the first sweep runs the last step too, taping it: n + P(n, s)."""
    return checked("n", n, 0) + P(n, s)


def G(n: int, s: int) -> int:
    """All primal steps if the first sweep reaches y_n before the reverse sweep begins: F(n+1, s) - 1."""
    return F(checked("n", n, 0) + 1, s) - 1


@dataclass(frozen=True)
class Binomial(Schedule):
    """Exactly P(n_steps, slots) primal steps, which no schedule with these slots undercuts.

    ``slots`` is cut down to ``n_steps``; there all states are stored.  Among the optimal schedules this is the one with
    the longest recorded runs, hence with few actions.
    """

    name: ClassVar[str] = "binomial"

    n_steps: int
    slots: int

    def __post_init__(self) -> None:
        n_steps, slots = checked_steps(self.n_steps), checked("slots", self.slots, 1)
        if slots < n_steps and n_steps * slots >= 2**63:  # the largest product that the kernel forms
            raise ArgumentError(f"Got n_steps={n_steps} and slots={slots}, but expected n_steps * slots < 2**63")
        object.__setattr__(self, "n_steps", n_steps)
        object.__setattr__(self, "slots", min(slots, max(n_steps, 1)))

    @property
    def forward_steps(self) -> int:
        return P(self.n_steps, self.slots)

    def stream(self) -> Stream:
        return Stream(fill_binomial, binomial_state(self.n_steps, self.slots))


def checked_segments(n_steps: int, slots: int, steps_name: str = "n_steps", slots_name: str = "slots") -> None:
    """ArgumentError unless kernels can compute the binomials of segments in 64 bits: up to n_steps * (slots + r).

    None are needed with one slot, nor where nothing is run again: with one for every step but the last.
    """
    used = min(slots, max(n_steps, 1))
    if 1 < used < n_steps - 1 and n_steps * (used + repetitions(n_steps, used)) >= 2**63:
        raise ArgumentError(
            f"Got {steps_name}={n_steps} and {slots_name}={slots}, but expected {steps_name} * ({slots_name} + r) < 2**63, "
            "where r is the number of times that a step is run"
        )


def binomial_state(n: int, s: int, fewest_leaves: bool = False) -> np.ndarray:
    """The state of a stream that reverses n steps with s slots; it has room for the segments of any shorter run, too."""
    # Levels in use at once.  A split pushes one, and has m >= free + 1 (see _emit) unless what it pushes is a leaf.
    # As free falls by one a level, k+2 levels need n >= k (s+1) - k (k-1)/2 >= k**2 / 2 steps.
    levels = min(s, isqrt(2 * n) + 2)
    state = np.empty(_STACK + 3 * levels, np.int64)
    state[:_STACK] = 0
    state[_LEVEL], state[_STOP], state[_SLOTS], state[_FEWEST] = (0 if n else -1), n, s, fewest_leaves
    r = repetitions(n, s)
    state[_STACK : _STACK + 3] = 0, r, beta(s, r - 1)
    return state


# The state of a stream.  The segment on the top of the stack, level i, is [a_i, stop); its first state belongs in slot
# i, and all levels below have theirs stored in 0 .. i-1.  When it is reversed, stop becomes a_i and level i-1 is on top.
# It may be a part of a larger array, from ``at`` on: slices would cost more than a short segment's actions.
_STOP = 0
_LEVEL = 1  # -1 at the end of the sweep
_STORED = 2  # 1 if the top's first state is in its slot; 0 if it is current instead
_SLOTS = 3
_SPARE = 4  # the next of the spare rows, which take what a full ``out`` could not
_SPARES = 5  # how many they are
_FEWEST = 6  # 1: split such that as few steps as can be are reversed from a current state (see _fewest)
NUMBERS = 7  # where in the array the numbers of the slots begin (see number_slots); 0: slot k is number k
STRIDE = 8  # how far what belongs to them is from there
_PIECE = 9  # 1 + the part, if the top is a leaf that is written in pieces (see _write_pieces)
_DONE = 10  # the states done of that part
_ROWS = 11
_BURST = 5  # the most actions that one turn of _emit's loop writes
_STACK = _ROWS + 4 * _BURST  # a, t and beta(free, t-1) of each level


@njit(**KERNEL)
def put(out: np.ndarray, n: int, kind: int, a: int, b: int, slot: int) -> int:
    out[n, 0] = kind
    out[n, 1] = a
    out[n, 2] = b
    out[n, 3] = slot
    return n + 1


@njit(**KERNEL)
def put_back(out: np.ndarray, n: int, a: int, end: int, stop: int, slot: int) -> int:
    """Reverse the steps a .. stop-1 from y_a .. y_{end-1}, the last of which is current; stop is ``end`` or one more."""
    if stop > end:
        n = put(out, n, ADVANCE, stop - 2, stop - 1, -1)
        n = put(out, n, REVERSE, stop - 1, stop, -1)
    return put(out, n, REVERSE, a, end, slot)


@njit(**KERNEL)
def repetitions_below(n: int, s: int) -> tuple[int, int]:
    """(t, beta(s, t-1)) where beta(s, t-1) < n <= beta(s, t), for n > 1 and s > 1; see :func:`checked_segments`."""
    t, w, w_next = 1, 1, s + 1
    while w_next < n:
        t, w = t + 1, w_next
        w_next = w_next * (s + t) // t
    return t, w


@njit(**KERNEL)
def begin_segment(state: np.ndarray, at: int, a: int, b: int, s: int, stored: int) -> None:
    """Let the stream reverse the steps a .. b-1 next, with the slots 0 .. s-1.

    y_a is current, or if ``stored`` in slot 0; then b - a > 1.
    """
    state[at + _STOP], state[at + _LEVEL], state[at + _STORED], state[at + _SLOTS] = b, 0, stored, s
    state[at + _SPARE] = state[at + _SPARES] = state[at + _PIECE] = 0
    t, w = (1, 1) if s == 1 else repetitions_below(b - a, s)  # one slot never splits
    top = at + _STACK
    state[top], state[top + 1], state[top + 2] = a, t, w


@njit(**KERNEL)
def _fewest(p: int, s: int, r: int) -> int:
    """How many of the p = n - beta(s, r-1) steps belong in the left part, if the leaves are to be as few as can be.

    As n grows from beta(s, r-1) to beta(s, r), leaves begin at a length of 2 and grow: T(r, k) = C(k+r-2, k) of them by
    s-k steps, for k = 0 .. s-1.  They are those of the left part, T(r-1, k) by s-k, and those of the right part,
    T(r, k-1) by (s-1)-(k-1), for T(r, k) = T(r-1, k) + T(r, k-1).  So begin the long ones first, on both sides.
    """
    left, ours, theirs = 0, 1, 0  # T(r-1, 0) = 1
    for k in range(s):
        if ours == 0:
            break
        begun = -(-p // (s - k))
        if begun <= ours:
            return left + p
        left += ours * (s - k)
        p -= ours * (s - k)
        if begun - ours <= theirs:
            return left
        p -= theirs * (s - k)
        ours, theirs = ours * (k + r - 2) // (k + 1), ours + theirs
    return left


@njit(**KERNEL)
def _emit(state: np.ndarray, at: int, out: np.ndarray, n: int) -> int:
    """Write actions from row n on while another turn of the loop is sure to fit; stop at a leaf that must be written in pieces.

    Where to split.  P(., s) is convex and piecewise linear: P(n+1, s) - P(n, s) = t for beta(s, t-1) <= n < beta(s, t).
    So m + P(m, s) + P(length-m, s-1) is convex in m, and least wherever the slopes agree, that is where
    m is in [beta(s, t-2), beta(s, t-1)] and length-m in [beta(s-1, t-1), beta(s-1, t)] for one t.  Both intervals' ends
    add up to beta(s, t-1) <= length <= beta(s, t) (Pascal), which is the invariant of a level.  Of these m we take the
    largest, min(beta(s, t-1), length - beta(s-1, t-1)).  The parts keep the invariant: the right one with (s-1, t), the
    left one, which replaces the level when the right one is reversed, with (s, t-1).

    In 64 bits.  A level carries w = beta(s, t-1) <= length, and beta(s-1, t-1) = w s / (s+t-1) is an exact division
    whose numerator is at most n_steps * slots; beta(s, t-2) is the difference of the two.

    Lengths.  A split has length > free + 1 = beta(free, 1), hence t >= 2.  If m = w, m >= free + 1.  If m < w, then
    m >= beta(s, t-2) and this is free + 1 or more, unless t = 2; then m >= 2 and length-m = beta(free-1, 1) is a leaf.
    So a stored segment is never shorter than 2 when its turn comes.
    """
    room = out.shape[0] - _BURST
    stop, level, stored, slots = state[at + _STOP], state[at + _LEVEL], state[at + _STORED], state[at + _SLOTS]
    numbers, stride, fewest = state[at + NUMBERS], state[at + STRIDE], state[at + _FEWEST]
    top = at + _STACK + 3 * level
    while level >= 0 and n <= room:
        a, free = state[top], slots - level
        length = stop - a
        slot = state[numbers + level] if numbers else level
        if stored:
            n = put(out, n, LOAD, a, a, slot)
        if length <= free + 1:  # a leaf: a recorded run, and one step more from the current state if a slot is missing
            run = min(length, free)
            if numbers and state[numbers + stride + level] < level + run - 1:
                state[at + _PIECE], state[at + _DONE] = 1, 0
                break
            if run > 1 or not stored:
                n = put(out, n, RECORD, a, a + run, slot)
            n = put_back(out, n, a, a + run, stop, slot)
            stop, stored, level, top = a, 1, level - 1, top - 3
            continue
        if not stored:
            n = put(out, n, STORE, a, a, slot)
        if free == 1:  # the right part is one step, and needs no slot
            n = put(out, n, ADVANCE, a, stop - 1, -1)
            n = put(out, n, REVERSE, stop - 1, stop, -1)
            stop, stored = stop - 1, 1
        else:
            t, w = state[top + 1], state[top + 2]
            w_right = w * free // (free + t - 1)
            m = min(w, length - w_right)
            if fewest:
                m = w - w_right + _fewest(length - w, free, t)
            n = put(out, n, ADVANCE, a, a + m, -1)
            state[top + 1], state[top + 2] = t - 1, w - w_right
            state[top + 3], state[top + 4], state[top + 5] = a + m, t, w_right
            level, stored, top = level + 1, 0, top + 3
    state[at + _STOP], state[at + _LEVEL], state[at + _STORED] = stop, level, stored
    return n


@njit(**KERNEL)
def number_slots(state: np.ndarray, at: int, count: int) -> None:
    """Take the numbers of the first ``count`` slots as they stand in the array: what neighbours each has follows from them.

    With the ``STRIDE`` d, the last of the slots behind slot k whose numbers go on from its own is kept d behind the number of
    k, and the first of those before it 2 d behind.
    """
    numbers, stride = state[at + NUMBERS], state[at + STRIDE]
    last, first = numbers + stride, numbers + 2 * stride
    state[first], state[last + count - 1] = 0, count - 1
    for k in range(1, count):
        state[first + k] = state[first + k - 1] if state[numbers + k] == state[numbers + k - 1] + 1 else k
    for k in range(count - 2, -1, -1):
        state[last + k] = state[last + k + 1] if state[numbers + k + 1] == state[numbers + k] + 1 else k


@njit(**KERNEL)
def _write_pieces(state: np.ndarray, at: int, out: np.ndarray, n: int) -> int:
    """Write a leaf whose slots are not all neighbours, as far as it fits: a recorded run and its reversal take several rows.

    Its parts are: the run, the step from the current state if there is one, its VJP, and those of the run.
    """
    numbers, stride, level = state[at + NUMBERS], state[at + STRIDE], state[at + _LEVEL]
    stop, free = state[at + _STOP], state[at + _SLOTS] - level
    a = state[at + _STACK + 3 * level]
    run = min(stop - a, free)
    part, done, rows = state[at + _PIECE], state[at + _DONE], out.shape[0]
    while n < rows and part:
        if part == 1 and done < 0:  # on to the state that is recorded next
            done = -done
            n = put(out, n, ADVANCE, a + done - 1, a + done, -1)
        elif part == 1:
            first = level + done
            last = min(state[numbers + stride + first], level + run - 1)
            begin = done
            done += last + 1 - first
            n = put(out, n, RECORD, a + begin, a + done, state[numbers + first])
            if done == run:
                part, done = 2 if stop - a > free else 4, 0
            else:
                done = -done
        elif part == 2:
            n = put(out, n, ADVANCE, stop - 2, stop - 1, -1)
            part = 3
        elif part == 3:
            n = put(out, n, REVERSE, stop - 1, stop, -1)
            part = 4
        else:
            last = level + run - done - 1
            first = max(state[numbers + 2 * stride + last], level)
            end = a + run - done
            done += last + 1 - first
            n = put(out, n, REVERSE, a + run - done, end, state[numbers + first])
            if done == run:
                part = 0
    state[at + _PIECE], state[at + _DONE] = part, done
    if not part:
        state[at + _STOP], state[at + _STORED], state[at + _LEVEL] = a, 1, level - 1
    return n


@njit(**KERNEL)
def _emit_spare(state: np.ndarray, at: int) -> None:
    """Write actions into the spare rows."""
    spare = state[at + _ROWS : at + _STACK].reshape(_BURST, 4)
    state[at + _SPARE], state[at + _SPARES] = 0, _emit(state, at, spare, 0)


@njit(**KERNEL)
def fill_segment(state: np.ndarray, at: int, out: np.ndarray, n: int) -> int:
    """Fill ``out`` from row n on with the actions of the stream at ``at``, to its end at most; the row after them."""
    rows = out.shape[0]
    while n < rows:
        if state[at + _SPARE] < state[at + _SPARES]:
            first = at + _ROWS + 4 * state[at + _SPARE]
            n = put(out, n, state[first], state[first + 1], state[first + 2], state[first + 3])
            state[at + _SPARE] += 1
        elif state[at + _PIECE]:
            n = _write_pieces(state, at, out, n)
        elif state[at + _LEVEL] < 0:
            break
        elif rows - n >= _BURST:
            n = _emit(state, at, out, n)
        else:
            _emit_spare(state, at)
    return n


@njit(**KERNEL)
def fill_binomial(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of :class:`Binomial`: fill ``out`` as :meth:`adjointsim.schedules.Stream.fill` promises."""
    return fill_segment(state, 0, out, 0)
