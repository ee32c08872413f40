"""Telling the user how far a sweep is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, MissingExtraError
from adjointsim.rows import Limited, lengths
from adjointsim.schedules import RECORD

__all__ = ["checked_progress", "reporting"]

_REPORTS = 200  # in a sweep


def checked_progress(progress: Any) -> bool | Callable[[int, int], object]:
    """``progress=`` as given; ArgumentError unless it is a bool or a function."""
    if isinstance(progress, bool) or callable(progress):
        return progress
    raise ArgumentError(f"Got progress={progress!r}, but expected True, False or a function progress(done, total)")


@contextmanager
def reporting(progress: bool | Callable[[int, int], object], total: int) -> Iterator[list[Limited]]:
    """What watches a sweep of ``total`` primal and VJP steps to report: for True a tqdm bar, else ``progress(done, total)``.

    MissingExtraError if tqdm is wanted and not installed.
    """
    if progress is False:
        yield []
        return
    bar: Any = None
    report: Callable[[int, int], object]
    if progress is True:
        try:
            from tqdm import tqdm
        except ImportError:
            raise MissingExtraError("tqdm", "progress") from None
        bar = tqdm(total=total, unit="step", unit_scale=True)
        report = lambda done, total: bar.update(done - bar.n)  # noqa: E731
    else:
        report = progress
    done = 0

    def seen(rows: np.ndarray) -> None:
        nonlocal done
        more = int(lengths(rows).sum()) - int(np.count_nonzero(rows[:, 0] == RECORD))
        if more:
            done += more
            report(done, total)

    try:
        yield [Limited(max(total // _REPORTS, 1), seen)]
    finally:
        if bar is not None:
            bar.close()
