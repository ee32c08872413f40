"""Many cotangents through one recomputation: several ways back that share the steps which are run forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adjointsim.executor import Executor
from adjointsim.leaves import Bars
from adjointsim.schedules import REVERSE

__all__ = ["Lanes"]


class Lanes:
    """Several ways back, one for each cotangent of the observations that has a single number other than 0.

    Each REVERSE is carried out for all of them, everything else once.  ``unit(k, x)`` sets the number of the k-th cotangent
    in ``observations_bar``, which they share, to x.
    """

    def __init__(self, executor: Executor, observations_bar: Bars, unit: Callable[[int, float], None]) -> None:
        self.executor, self.observations_bar, self.unit = executor, observations_bar, unit
        self.ways: list[Any] = []

    def begin(self, k: int) -> None:
        """Seed the next."""
        self.unit(k, 1.0)
        self.executor.seed(0.0, None, self.observations_bar)
        self.ways.append(self.executor.leave())
        self.unit(k, 0.0)

    def enter(self, k: int) -> None:
        self.unit(k, 1.0)
        self.executor.enter(self.ways[k])

    def leave(self, k: int) -> None:
        self.ways[k] = self.executor.leave()
        self.unit(k, 0.0)

    def run(self, rows: np.ndarray) -> int:
        """Carry out rows from the turn on."""
        begin = 0
        for at in (*np.flatnonzero(rows[:, 0] == REVERSE).tolist(), len(rows)):
            if at > begin:
                self.executor.run(rows[begin:at])
            for k in range(len(self.ways) if at < len(rows) else 0):
                self.enter(k)
                self.executor.run(rows[at : at + 1])
                self.leave(k)
            begin = at + 1
        return len(rows)
