"""What a fitted model says of things that were not measured, with what the uncertainty of its parameters makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.spec import differentiable
from adjointsim.errors import ArgumentError
from adjointsim.forms import read
from adjointsim.leaves import unflatten_bar

from .data import Measured
from .statistics import quantile

if TYPE_CHECKING:
    from .result import FitResult

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Observations of a model at the optimum, and their standard errors and limits in the same structure; None for integers.

    The limits ``low`` and ``high`` are those of ``level`` for the observations themselves (a confidence band), from the
    covariance of the unknowns by the delta method; a new measurement scatters more.
    """

    observations: Any
    stderr: Any
    low: Any
    high: Any
    level: float


def predict(result: FitResult, model: Any, experiment: int | str, level: float) -> Prediction:
    """See :meth:`.FitResult.predict`."""
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"Got level={level!r}, but expected a number between 0 and 1")
    e = place_of(result, experiment)
    unknowns = result.unknowns
    model = result.problem.experiments[e].model if model is None else model
    y0, p = unknowns.values(e, result.x)
    observations = model.run(y0, p).observations
    form, leaves = read(observations, "observations")
    floats = [leaf if differentiable(spec) else None for spec, leaf in zip(form.leaves, leaves, strict=True)]
    whole = unflatten_bar(form.spec, [None if leaf is None else np.where(np.isfinite(leaf), leaf, 0.0) for leaf in floats])
    every = Measured(whole, None, observations, "")
    j = np.zeros((every.n, unknowns.n))
    placements = unknowns.placements[e]
    if placements:
        for placement, block in zip(placements, model.jacobian(y0, p, unknowns.wrt(e)), strict=True):
            j[:, placement.unknowns] += every.rows(block, placement.places)
    used = np.any(j != 0.0, axis=0)  # what does not matter may be as uncertain as it likes
    covariance = result.covariance[np.ix_(used, used)]
    with np.errstate(invalid="ignore"):
        variance = np.einsum("ij,jk,ik->i", j[:, used], covariance, j[:, used])
    error = np.sqrt(np.where(np.isfinite(variance), np.maximum(variance, 0.0), np.nan))
    q, m = quantile(level, result.interval_dof), every.data
    half = q * error
    return Prediction(observations, every.spread(error), every.spread(m - half), every.spread(m + half), level)


def place_of(result: FitResult, experiment: int | str) -> int:
    """The number of an experiment that is given by its number or name."""
    names = [start.name for start in result.unknowns.starts]
    if isinstance(experiment, str) and experiment in names:
        return names.index(experiment)
    if isinstance(experiment, int) and not isinstance(experiment, bool) and 0 <= experiment < len(names):
        return experiment
    raise ArgumentError(f"Got experiment={experiment!r}, but expected a number below {len(names)}, or one of {names}")
