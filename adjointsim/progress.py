"""Telling the user how far a sweep is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, MissingExtraError
from adjointsim.rows import Limited, lengths
from adjointsim.schedules import ADVANCE, RECORD, REVERSE

__all__ = ["checked_progress", "reporting"]

_REPORTS = 200  # in a sweep


def checked_progress(progress: Any) -> bool | Callable[[int, int], object]:
    """``progress=`` as given; ArgumentError unless it is a bool or a function."""
    if isinstance(progress, bool) or callable(progress):
        return progress
    raise ArgumentError(f"Got progress={progress!r}, but expected True, False or a function progress(done, total)")


@contextmanager
def reporting(progress: bool | Callable[[int, int], object], total: int, reached: int) -> Iterator[list[Limited]]:
    """What watches a sweep of ``total`` primal and VJP steps to report: for True a tqdm bar, else ``progress(done, total)``.
    It begins with y_n for n = ``reached``.

    MissingExtraError if tqdm is wanted and not installed.
    """
    if progress is False:
        yield []
        return
    if callable(progress):
        counts = Counts(progress, total, reached)
        yield [Limited(max(total // _REPORTS, 1), counts.seen)]
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise MissingExtraError("tqdm", "progress") from None
    with tqdm(total=total, unit="step", unit_scale=True) as bar:

        def show(done: int, total: int) -> None:
            bar.set_postfix_str(str(counts), refresh=False)
            bar.update(done - bar.n)

        counts = Counts(show, total, reached)
        yield [Limited(max(total // _REPORTS, 1), counts.seen)]


class Counts:
    """The steps of a sweep so far: run for the first time, run again, reversed."""

    def __init__(self, report: Callable[[int, int], object], total: int, reached: int) -> None:
        self.report, self.total, self.reached = report, total, reached  # the n of the furthest state so far
        self.forward = self.recomputed = self.reverse = 0

    def seen(self, rows: np.ndarray) -> None:
        """Count rows that have been carried out, and report them."""
        kind, length = rows[:, 0], lengths(rows)
        record = kind == RECORD
        runs = (kind == ADVANCE) | record
        run, back = int(length[runs].sum()) - int(np.count_nonzero(record)), int(length[kind == REVERSE].sum())
        new = max(int((rows[:, 2] - record)[runs].max(initial=0)) - self.reached, 0)
        self.reached += new
        self.forward, self.recomputed, self.reverse = self.forward + new, self.recomputed + run - new, self.reverse + back
        if run or back:
            self.report(self.forward + self.recomputed + self.reverse, self.total)

    def __str__(self) -> str:
        return f"{self.forward} forward, {self.recomputed} recomputed, {self.reverse} reversed"
