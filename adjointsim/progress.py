"""Telling the user how far a sweep is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, MissingExtraError
from adjointsim.schedules import LOAD, RECORD, STORE

__all__ = ["Watch", "checked_progress", "reporting"]

#: the largest number of steps between two reports, and what is called with each action carried out
Watch = tuple[int | None, Callable[[np.ndarray], None] | None]

_REPORTS = 200  # in a sweep


def checked_progress(progress: Any) -> bool | Callable[[int, int], object]:
    """``progress=`` as given; ArgumentError unless it is a bool or a function."""
    if isinstance(progress, bool) or callable(progress):
        return progress
    raise ArgumentError(f"Got progress={progress!r}, but expected True, False or a function progress(done, total)")


@contextmanager
def reporting(progress: bool | Callable[[int, int], object], total: int) -> Iterator[Watch]:
    """What a sweep of ``total`` primal and VJP steps needs to report: for True a tqdm bar, else ``progress(done, total)``.

    MissingExtraError if tqdm is wanted and not installed.
    """
    if progress is False:
        yield None, None
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

    def after(rows: np.ndarray) -> None:
        nonlocal done
        before = done
        for kind, a, b, _ in rows.tolist():
            if kind not in (STORE, LOAD):
                done += b - a - (kind == RECORD)
        if done > before:
            report(done, total)

    try:
        yield max(total // _REPORTS, 1), after
    finally:
        if bar is not None:
            bar.close()
