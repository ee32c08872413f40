"""Parts of a schedule: how far a sweep goes before somebody looks, and actions cut in two.

The *length* of an action is the number of its steps: the states that a RECORD stores, the VJPs of a REVERSE; STORE and LOAD have
none.  A part of an action does the same as the action does on these steps, and runs the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from adjointsim.schedules import ADVANCE, RECORD, REVERSE

__all__ = ["Limited", "Reach", "Watcher", "Within", "all_stored", "counted", "first_row", "lengths", "parted", "within"]

_FEW = 8  # rows that are looked at one by one: an operation on arrays takes longer than that

#: so many whole rows, and so many steps of the next one (0: none of it)
Reach = tuple[int, int]


class Watcher(Protocol):
    """Who looks at a sweep in between."""

    def reach(self, rows: np.ndarray) -> Reach:
        """How far a sweep may go through the rows that come next, of which there is at least one; never nowhere, and not
        beyond them: the rows that follow these are for others."""
        ...

    def done(self, rows: np.ndarray) -> None:
        """Called with rows that have been carried out."""
        ...


def lengths(rows: np.ndarray) -> np.ndarray:
    """The length of each action."""
    return rows[:, 2] - rows[:, 1]


def counted(rows: np.ndarray) -> tuple[int, int]:
    """The primal steps and the VJPs of some rows."""
    if len(rows) > _FEW:
        kind, length = rows[:, 0], lengths(rows)
        recorded = kind == RECORD
        return int(length @ ((kind == ADVANCE) | recorded)) - int(np.count_nonzero(recorded)), int(length @ (kind == REVERSE))
    primal = vjps = 0
    for do, a, b, _ in rows.tolist():
        if do == REVERSE:
            vjps += b - a
        elif do in (ADVANCE, RECORD):
            primal += b - a - (do == RECORD)
    return primal, vjps


def first_row(rows: np.ndarray, kind: int, end: int) -> int | None:
    """The place of the first row of a kind that ends with a step; None if there is none."""
    if len(rows) <= _FEW:
        return next((k for k, (do, _, b, _) in enumerate(rows.tolist()) if do == kind and b == end), None)
    found = (rows[:, 0] == kind) & (rows[:, 2] == end)
    place = int(found.argmax())
    return place if found[place] else None


def all_stored(rows: np.ndarray) -> bool:
    """Whether all are REVERSEs of stored states."""
    if len(rows) <= _FEW:
        return all(do == REVERSE and slot >= 0 for do, _, _, slot in rows.tolist())
    return bool(np.all(rows[:, 0] == REVERSE) and np.all(rows[:, 3] >= 0))


def parted(rows: np.ndarray, reach: Reach) -> tuple[np.ndarray, np.ndarray]:
    """The rows as far as that, and the others."""
    count, steps = reach
    if not steps:
        return rows[:count], rows[count:]
    if steps >= int(lengths(rows[count : count + 1])[0]):
        return rows[: count + 1], rows[count + 1 :]
    first, *rest = _halves(rows[count].tolist(), steps)
    return np.array([*rows[:count].tolist(), first], np.int64), np.concatenate([np.array(rest, np.int64), rows[count + 1 :]])


def _halves(row: Sequence[int], steps: int) -> list[tuple[int, int, int, int]]:
    """The first so many steps of an action, and actions for the others."""
    kind, a, b, slot = row
    m = b - steps if kind == REVERSE else a + steps
    if kind == ADVANCE:
        return [(ADVANCE, a, m, -1), (ADVANCE, m, b, -1)]
    if kind == RECORD:
        return [(RECORD, a, m, slot), (ADVANCE, m - 1, m, -1), (RECORD, m, b, slot + steps)]
    assert kind == REVERSE and slot >= 0, row
    return [(REVERSE, m, b, slot + m - a), (REVERSE, a, m, slot)]


def within(rows: np.ndarray, steps: int) -> Reach:
    """As far as so many steps go, all rows if they have no more; one that goes beyond is cut."""
    if len(rows) == 1:
        _, a, b, _ = rows[0].tolist()
        return (1, 0) if b - a <= steps else (0, steps)
    sums = np.cumsum(lengths(rows))
    if int(sums[-1]) <= steps:
        return len(rows), 0
    count = int(np.searchsorted(sums, steps, side="right"))
    return count, steps - (int(sums[count - 1]) if count else 0)


class Limited:
    """Looks after so many steps, at least; ``seen`` gets what was done."""

    def __init__(self, steps: int, seen: Callable[[np.ndarray], None]) -> None:
        self.steps, self.seen = steps, seen

    def reach(self, rows: np.ndarray) -> Reach:
        """Rows of so many steps together."""
        return within(rows, self.steps)

    def done(self, rows: np.ndarray) -> None:
        self.seen(rows)


class Within:
    """Looks at VJPs of steps from ``lo`` to ``hi`` after so many of them, and after other rows when these are at hand."""

    def __init__(self, lo: int, hi: int, steps: int, seen: Callable[[np.ndarray], None]) -> None:
        self.lo, self.hi, self.steps, self.seen = lo, hi, steps, seen

    def reach(self, rows: np.ndarray) -> Reach:
        chosen = (rows[:, 0] == REVERSE) & (rows[:, 1] < self.hi) & (rows[:, 2] > self.lo)
        first = int(chosen.argmax())
        if not chosen[first]:
            return len(rows), 0
        return (first, 0) if first else (0, self.steps)

    def done(self, rows: np.ndarray) -> None:
        self.seen(rows)
