"""What a schedule tells a sweep to do: the five actions, and the interface of every schedule.

A sweep owns one *current* state and ``slots`` stored ones, numbered 0 .. slots-1.  It starts with y_0 current and all
slots empty, and must apply the VJP of the steps N-1, ..., 1, 0 in this order.  A schedule is the list of actions that
gets it there; step n maps y_n to y_{n+1}, and its VJP needs y_n and nothing else.

An action is a row ``(kind, a, b, slot)`` of an int64 array:

======================  ==============================================================================================
ADVANCE (a, b, -1)      the current state is y_a; run the primal steps a .. b-1; the current state becomes y_b
STORE (a, a, slot)      the current state is y_a; copy it into the slot
LOAD (a, a, slot)       the slot holds y_a; it becomes the current state (the slot keeps it)
RECORD (a, b, slot)     the current state is y_a; store y_n in slot + (n - a) for n = a .. b-1, running the b-1-a primal
                        steps between them; the current state becomes y_{b-1}
REVERSE (a, b, slot)    for n = b-1 down to a: the VJP of step n from the y_n in slot + (n - a); the current state stays
REVERSE (b-1, b, -1)    the VJP of step b-1 from the *current* state y_{b-1}, which stays
END                     never written; ``Stream.fill`` returns 0 instead (END is what a row of zeros reads as)
======================  ==============================================================================================

The last ``disk_slots`` of the slots are on a disk, the others in memory.  STORE and LOAD reach all slots, RECORD and REVERSE
those in memory only (or the current state, slot -1).

Ranges are half open and never empty.  LOAD (a, a, slot) may be followed by RECORD (a, b, slot): the first slot then
holds y_a already, and a sweep may omit that copy.  Neighbouring actions that could be one are one: storing everything
is RECORD (0, N, 0), REVERSE (0, N, 0).
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from adjointsim.errors import ArgumentError, StructureError

__all__ = [
    "ADVANCE", "END", "KERNEL", "KINDS", "LOAD", "RECORD", "REVERSE", "STORE", "Action", "Schedule", "Stream", "actions",
    "replay",
]  # fmt: skip

END, ADVANCE, STORE, LOAD, RECORD, REVERSE = range(6)

#: the name of each kind, by its number
KINDS = ("END", "ADVANCE", "STORE", "LOAD", "RECORD", "REVERSE")

#: njit's options for what writes actions.  It makes no arrays, and to count references to those that it has would take longer
#: than an action.
KERNEL: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}


class Action(NamedTuple):
    """One action, for reading; the columns of the int64 rows have the same names and order."""

    kind: int
    a: int
    b: int
    slot: int

    def __str__(self) -> str:
        return f"{KINDS[self.kind]}({self.a}, {self.b}, {self.slot})"


class Stream:
    """The actions of one sweep, handed out in chunks of any size.

    ``state`` is everything that the stream remembers, one int64 array of O(slots) numbers.  Saved, and given to a new
    Stream with the same ``kernel``, it continues where it was.  ``kernel(state, out) -> count`` has the same
    signature for every schedule, and is compiled where there are many actions.
    """

    __slots__ = ("kernel", "state")

    def __init__(self, kernel: Callable[[np.ndarray, np.ndarray], int], state: np.ndarray) -> None:
        self.kernel, self.state = kernel, state

    def fill(self, out: np.ndarray) -> int:
        """Write the next actions into the rows of ``out`` and return how many.

        All rows are filled as long as actions are left; 0 means that the sweep is complete.  The rows beyond the
        returned number keep their contents.
        """
        self._check(out)
        return self.kernel(self.state, out)

    @staticmethod
    def _check(out: np.ndarray) -> None:
        if out.dtype != np.int64 or out.ndim != 2 or out.shape[1] != 4 or not out.flags.c_contiguous or not out.shape[0]:
            raise StructureError(
                f"Got out of dtype {out.dtype} and shape {out.shape}, but expected a C-contiguous int64 array with at "
                "least one row and 4 columns: np.empty((1024, 4), np.int64)"
            )


class Schedule(ABC):
    """A plan for reversing ``n_steps`` steps with at most ``slots`` stored states: a frozen value of a few integers.

    A subclass gives ``name``, ``n_steps``, ``slots``, ``forward_steps`` and :meth:`stream`.  Its actions must keep to
    the preconditions in the module's table, use the slots 0 .. slots-1 only, reverse every step exactly once from the
    last to the first, and run exactly ``forward_steps`` primal steps.  Making a schedule or a stream costs O(slots).

    Of its ``slots``, 0 .. slots-disk_slots-1 are in memory, the rest on a disk.
    """

    name: ClassVar[str]
    one_run: ClassVar[bool] = False  #: whether all that is stored ever is by one RECORD, and REVERSE alone reads it
    n_steps: int
    slots: int
    disk_slots: int = 0
    keeps: bool = False  #: whether slots also hold what steps compute on their way, if they have use for it on the way back

    @property
    @abstractmethod
    def forward_steps(self) -> int:
        """The primal steps run by ADVANCE and RECORD, exactly; a VJP's own replay of its step is not counted."""

    @abstractmethod
    def stream(self) -> Stream:
        """A new stream at the beginning of the sweep."""


def actions(schedule: Schedule) -> Iterator[Action]:
    """The actions of a schedule one by one, for reading, testing and plotting (some 300 ns each; sweeps use fill)."""
    stream, rows = schedule.stream(), np.empty((256, 4), np.int64)
    while count := stream.fill(rows):
        yield from map(Action._make, rows[:count].tolist())


def replay(state: np.ndarray, out: np.ndarray) -> int:
    """The kernel of a stream with a short explicit list; ``state`` is (rows written, rows, row 0, row 1, ...).

    Plain Python: a handful of rows is not worth loading a compiled function for.
    """
    first = int(state[0])
    count = min(int(state[1]) - first, out.shape[0])
    out[:count] = state[2 + 4 * first : 2 + 4 * (first + count)].reshape(count, 4)
    state[0] = first + count
    return count


def replayed(rows: Sequence[tuple[int, int, int, int]]) -> Stream:
    """A stream of the given actions."""
    return Stream(replay, np.array([0, len(rows), *(x for row in rows for x in row)], np.int64))


def checked(name: str, value: int, least: int) -> int:
    """``value`` as a Python int; ArgumentError unless it is an integer (True and False are not) and >= ``least``."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"Got {name}={value!r}, but expected an integer >= {least}") from None
    if number < least:
        raise ArgumentError(f"Got {name}={number}, but expected an integer >= {least}")
    return number


def checked_steps(n_steps: int) -> int:
    """A number of steps that fits the int64 columns of an action."""
    number = checked("n_steps", n_steps, 0)
    if number >= 2**63:
        raise ArgumentError(f"Got n_steps={number}, but expected an integer below 2**63")
    return number
