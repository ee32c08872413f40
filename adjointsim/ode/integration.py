"""Runs the generated integration, which finds the sizes of steps."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from adjointsim.derive.api import Kept
from adjointsim.forms import Known
from adjointsim.leaves import Leaves

from .inputs import ACCUMULATE, NOT_FINITE, STOPPED, TOGETHER, TOO_SMALL, UNKNOWN
from .program import Program
from .times import Knots, Steps

__all__ = ["MOST_STEPS", "Found", "Numbers", "integrate"]

#: accepted and rejected steps, unless the user says another number
MOST_STEPS = 100_000

_SLICE = 0.1  # seconds between two looks at the keyboard
_ROOM = 4096  # steps recorded between two returns


class Numbers(Kept):
    """What is kept for an integration: memory for the numbers that it is given, too."""

    def __init__(self) -> None:
        super().__init__()
        self.floats, self.integers = np.zeros(4), np.zeros(3, np.int64)
        #: the same as leaves
        self.numbers = [own[k : k + 1] for own in (self.floats, self.integers) for k in range(len(own))]

    def set(self, t: float, guess: float, before: float, last: float, knot: int, tries: int, fired: int) -> None:
        """Let these be the numbers."""
        floats, integers = self.floats, self.integers
        floats[0], floats[1], floats[2], floats[3] = t, guess, before, last
        integers[0], integers[1], integers[2] = knot, tries, fired


class Found(NamedTuple):
    """The steps of an integration, or of its beginning if it could not go on from (t, y): then ``failed`` says why.  ``y`` is
    that state only then.

    ``evaluations`` of the right-hand side, ``rejected`` steps; ``h`` is the size of the step that would be next.
    """

    steps: Steps
    evaluations: int
    rejected: int
    failed: str | None = None
    t: float = np.nan
    h: float = np.nan
    y: Leaves | None = None
    stopped: bool = False  # by a terminal event
    stuck: bool = False  # by what the right-hand side is like


def integrate(
    program: Program, knots: Knots, y: Leaves, p: Known, control: Known, first: float, most: int
) -> Found:
    """Go from y at the first knot to the last one, with the tolerances and bounds of ``control``, a :class:`.Control` whose p is
    None.

    ``first`` is the size of the first step, 0 to find it.
    """
    kernel = program.integration(control.form)
    try:
        kept = kernel.idle.pop()  # which is atomic: nobody else has it
    except IndexError:
        kept = Numbers()
    looks, given = (program.start, p.form, control.form), [*p.leaves, *control.leaves]
    t, guess, before, last, knot, fired = float(knots.times[0]), first, 0.0, -np.inf, 0, -1
    records: list[Leaves] = []
    rejected = evaluations = used = 0
    tries, fewer = program.tries, False
    failed = None
    while True:
        tries = max(1, min(tries, most - used))
        began = time.perf_counter()
        kept.set(t, guess, before, last, knot, tries, fired)
        try:
            out = kernel.value([*kept.numbers, *y, *given], kept, looks)
        except Exception as error:  # of the user's functions, or a singular matrix: in which step?
            kept = Numbers()
            if tries > 1:
                tries, fewer = tries // 8, True
                continue
            error.add_note(f"adjointsim: that step of {program.method.tableau.name} begins at t={t!r}")
            raise
        took = time.perf_counter() - began
        status, rows, refused, asked, knot, fired, other = kept.cells["i8"].tolist()
        t, guess, before, last = kept.cells["f8"][:4].tolist()
        logs = [log[:rows] for log in out[-3:]]
        rejected, evaluations, used = rejected + refused, evaluations + asked, used + rows + refused
        if status == TOO_SMALL:
            failed = "the step size became too small for the time to change"
        elif status == NOT_FINITE:
            failed = "the right-hand side is not finite there"
        elif status == TOGETHER:
            one, two = _event(program, min(fired, other)), _event(program, max(fired, other))
            failed = f"{one} and {two} happen at the same time, what both do is not defined"
        elif status == ACCUMULATE:
            failed = f"events accumulate, {_event(program, fired)} happens again and again in ever shorter times"
        elif status == UNKNOWN:
            failed = f"the condition of {_event(program, other)} is not a number"
        stopped, stuck = status == STOPPED, status not in (TOGETHER, ACCUMULATE, UNKNOWN)
        if failed is None and not stopped and knot < len(knots.times) and used >= most:
            failed = f"max_steps={most} steps were tried"
        if failed is None and (stopped or knot >= len(knots.times)):
            break
        y = [leaf.copy() for leaf in out[-3 - len(y) : -3]]
        if failed is not None:
            break
        records.append([log.copy() for log in logs])
        if rows + refused >= tries and not fewer:
            tries = int(min(max(tries * min(_SLICE / max(took, 1e-9), 16.0), 1), 2**30))
    program.tries = max(tries, program.tries)
    if records:
        logs = [np.concatenate(parts) for parts in zip(*records, logs, strict=True)]
    steps = Steps.of(knots, *logs)
    if not kernel.idle:
        kernel.idle.append(kept)
    return Found(steps, evaluations, rejected, failed, t, guess, y, stopped, stuck)


def _event(program: Program, k: int) -> str:
    """What an event is called in messages."""
    condition = program.functions.events[k].condition
    return f"events[{k}] ({getattr(condition, '__name__', type(condition).__name__)})"


def room() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What says how many steps are recorded in one call; no states are."""
    return np.zeros(_ROOM), np.zeros(_ROOM, np.int64), np.zeros(0)
