"""A fit that can be solved, and solved again: from other starts, of other data, with an unknown held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError

from .evaluation import Evaluator, Prior
from .experiment import Experiment
from .losses import Loss
from .search import GRADIENT_METHODS, Found, Options, search
from .unknowns import Unknowns
from .workers import Failed, workers_of

__all__ = ["Problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Experiments, unknowns, a loss, priors, and how to search."""

    experiments: Sequence[Experiment]
    unknowns: Unknowns
    loss: Loss
    priors: Sequence[Prior]
    options: Options
    absolute_sigma: bool
    workers: Any
    covariance: bool = True

    def solved(self, check: bool = True) -> tuple[Evaluator, Found]:
        """The optimum.  ArgumentError for fewer data than unknowns, and (``check``) for unknowns that change nothing at first."""
        with workers_of([e.model for e in self.experiments], self.workers) as pool:
            evaluator = Evaluator(self.experiments, self.unknowns, self.loss, self.priors, pool)
            n, k = evaluator.n + len(evaluator.priors), self.unknowns.n
            if n < k:
                raise ArgumentError(f"Got {n} data and {k} unknowns, but expected no more unknowns than data: fix some by wrt=")
            if check and self.options.method not in GRADIENT_METHODS:
                _check_effects(evaluator)
            found = search(evaluator, self.options)
            evaluator.finish(found.x, self.covariance)
        return evaluator, found

    def starting(self, x0: np.ndarray) -> Problem:
        """The same from another start."""
        return replace(self, unknowns=self.unknowns.starting(x0))

    def holding(self, k: int, value: float) -> Problem:
        """The same with one unknown less, which has this value."""
        priors = [prior._replace(unknown=prior.unknown - (prior.unknown > k)) for prior in self.priors if prior.unknown != k]
        return replace(self, unknowns=self.unknowns.holding(k, value), priors=priors)

    def of_data(self, data: Sequence[Any]) -> Problem:
        """The same for other data, one for each experiment."""
        return replace(self, experiments=[replace(e, data=own) for e, own in zip(self.experiments, data, strict=True)])

    def quiet(self) -> Problem:
        """The same without anybody who watches."""
        return replace(self, options=replace(self.options, callback=None, progress=False, checkpoint=None))


def _check_effects(evaluator: Evaluator) -> None:
    try:
        useless = ~evaluator.effects(evaluator.unknowns.x0)
    except Failed as failed:
        raise evaluator.no_start(failed) from failed.__cause__
    if np.any(useless):
        names = [name for name, none in zip(evaluator.unknowns.names, useless, strict=True) if none]
        shown = ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")
        raise ArgumentError(
            f"Got {shown} to fit, but nothing that was measured depends on it at the start: leave it out by wrt=, or start "
            "elsewhere"
        )
