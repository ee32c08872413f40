"""``adj.fit``."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, FitWarning, StructureError

from .choices import unknowns_of
from .evaluation import Prior
from .experiment import Experiment
from .losses import loss_of
from .problem import Problem
from .result import FitResult, result_of
from .search import GRADIENT_METHODS, METHODS, Callback, Options
from .unknowns import Unknowns

__all__ = ["fit"]

_FEW = 100  # unknowns whose covariance is computed in any case


def fit(
    model: Any,
    data: Any = None,
    p0: Any = None,
    *,
    y0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = True,
    bounds: Any = None,
    transform: Any = None,
    wrt: str | Iterable[str] | None = None,
    local: str | Iterable[str] = (),
    priors: Mapping[str, tuple[float, float]] | None = None,
    loss: Any = "linear",
    f_scale: float = 1.0,
    method: str = "trf",
    ftol: float | None = 1e-10,
    xtol: float | None = 1e-10,
    gtol: float | None = 1e-10,
    max_nfev: int | None = None,
    covariance: bool | None = None,
    workers: Any = None,
    callback: Callback | None = None,
    progress: bool = False,
    checkpoint: Any = None,
) -> FitResult:
    """The parameters with which a model comes closest to data, and their uncertainties, by least squares with exact derivatives.

        result = adj.fit(model, data, p0, y0=y0, sigma=0.1, transform={"k": "log"})
        result = adj.fit([adj.Experiment(model_a, data_a, y0_a), adj.Experiment(model_b, data_b, y0_b)], p0, local="k")
        print(result)

    model, data, y0, sigma: see :class:`Experiment`; a list of these may stand for ``model``, and then p0 is the second argument.
    p0:         where to start: what the model takes as p (floats are fitted; integers and bools stay), or a dict, which the model
                gets as a NamedTuple with its names.
    sigma:      None: standard deviations are all the same, and estimated from the residuals, rss / (n - k) (``curve_fit`` without
                sigma).  Given, they are taken as they are, or, with ``absolute_sigma=False``, up to a factor that is estimated.
    wrt:        what is fitted: "p" (the default), parts of it ("p.k", or "k"; "p[1]" of an array), "y0" and parts of it.  A
                fitted y0 belongs to each experiment by itself.
    local:      names of p that have a value of their own in each experiment; then ``params`` is a tuple of one p for each.
    bounds:     {"k": (0, None), ..}, or a pair (lower, upper) of numbers or of things like p0.
    transform:  {"k": "log"}: the optimiser works with the logarithm; "logit": between two bounds; or one of these for all.
    priors:     {"k": (mean, sd)}: normal knowledge from elsewhere, one more squared residual each; needs known sigma.
    loss:       "linear": squares.  "soft_l1", "huber", or a function rho(squares) -> (3, n) of SciPy's: squares that are bent
                from residuals of ``f_scale`` on.  "lognormal": squares of log(model) - log(data).  "poisson": counts, by the
                squares that make up the deviance.
    method:     "trf", "dogbox" or "lm" of SciPy's ``least_squares``, and ftol, xtol, gtol, max_nfev are its own.  Where the
                optimum is found, a few Gauss-Newton steps without damping take it to rounding.  "L-BFGS-B", "trust-constr"
                and "Newton-CG" of ``minimize`` take any loss with the gradient of one way back, for many unknowns; the latter two
                with exact Hessian products.
    covariance: whether to compute it (else it is NaN), which takes the Jacobian of all residuals; by default for least squares,
                and for the other methods with at most a hundred unknowns.
    workers:    a number of threads, or an executor, on which experiments are run; the result has the same bits for any.
    callback:   is given an :class:`Iteration` for each; it ends the search by returning True or raising StopIteration.
    progress:   a line on stderr for each iteration.
    checkpoint: a file that holds the best point of a search that is killed or ended, from which the same call goes on; it is
                removed where the search ends by itself.

    A trial at which a model cannot be run (it blows up, an integration fails, an observation is NaN) is a rejected step, counted
    in ``n_failed``; at the start it is a FitError.  Ctrl-C ends the search: the result is the best so far, ``success`` False.

    Raises ArgumentError and StructureError for arguments that make no problem, also for fewer data than unknowns and (least
    squares) for an unknown that changes nothing at the start; RestartError for a checkpoint of another fit.  Warns (FitWarning)
    of what the data do not determine, bounds that were hit, and a search that did not converge.
    """
    experiments, p0 = _experiments(model, data, p0, y0, sigma)
    if method not in METHODS:
        raise ArgumentError(f"Got method={method!r}, but expected one of {', '.join(map(repr, METHODS))}")
    chosen = loss_of(loss, f_scale)
    if chosen.measure == "poisson" and any(e.sigma is not None for e in experiments):
        raise ArgumentError("Got sigma= and loss='poisson', but the variance of a count is its expectation: leave out sigma=")
    given = [(_name(e, k), e.y0, e.p) for k, e in enumerate(experiments)]
    if len({name for name, _, _ in given}) < len(given):
        raise ArgumentError("Got two experiments of the same name, but expected different ones")
    if local and len(experiments) == 1:
        raise ArgumentError("Got local= and one experiment, but expected several: all its parameters are its own")
    unknowns = unknowns_of(p0, given, wrt, local, bounds, transform)
    known = _priors(priors, unknowns)
    if known and (not absolute_sigma or (chosen.measure != "poisson" and any(e.sigma is None for e in experiments))):
        raise ArgumentError("Got priors= without known sigma=, but they are weighed against each other: expected sigma=")
    options = _options(method, {"ftol": ftol, "xtol": xtol, "gtol": gtol}, max_nfev, callback, progress, checkpoint)
    wanted = bool(covariance) if covariance is not None else method not in GRADIENT_METHODS or unknowns.n <= _FEW
    problem = Problem(experiments, unknowns, chosen, known, options, absolute_sigma, workers, wanted)
    result = result_of(problem, *problem.solved())
    for text in result.warnings:
        warnings.warn(text, FitWarning, stacklevel=2)
    return result


def _experiments(model: Any, data: Any, p0: Any, y0: Any, sigma: Any) -> tuple[list[Experiment], Any]:
    """The experiments, and p0."""
    if isinstance(model, Experiment):
        model = [model]
    if not isinstance(model, Sequence):
        if data is None:
            raise ArgumentError("Got no data, but expected fit(model, data, p0, y0=...)")
        return [Experiment(model, data, y0, sigma)], p0
    for k, item in enumerate(model):
        if not isinstance(item, Experiment):
            raise StructureError(f"Got item {k} of the list as a {type(item).__name__}, but expected an adjointsim.Experiment")
    if not model:
        raise ArgumentError("Got an empty list, but expected Experiments")
    if y0 is not None or sigma is not None:
        name = "y0" if y0 is not None else "sigma"
        raise ArgumentError(f"Got {name}= beside Experiments, which have their own: Experiment(model, data, y0, sigma=..)")
    if data is not None and p0 is not None:
        raise ArgumentError("Got data beside Experiments, which have their own: expected fit(experiments, p0)")
    return list(model), data if p0 is None else p0


def _options(
    method: str, tolerances: dict[str, float | None], max_nfev: Any, callback: Any, progress: Any, checkpoint: Any
) -> Options:
    """How to search; ArgumentError for what makes no sense."""
    for name, value in tolerances.items():
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if value is not None and not (number and 0.0 < value < math.inf):
            raise ArgumentError(f"Got {name}={value!r}, but expected a positive number, or None to do without")
    if all(value is None for value in tolerances.values()):
        raise ArgumentError("Got ftol=None, xtol=None and gtol=None, but expected one of them: a search has to end")
    if max_nfev is not None and not (isinstance(max_nfev, (int, np.integer)) and max_nfev >= 1) or isinstance(max_nfev, bool):
        raise ArgumentError(f"Got max_nfev={max_nfev!r}, but expected a number of runs from 1 on")
    if callback is not None and not callable(callback):
        raise StructureError(f"Got callback as a {type(callback).__name__}, but expected a function of an iteration")
    if not isinstance(progress, bool):
        raise ArgumentError(f"Got progress={progress!r}, but expected True or False: callback= takes a function")
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        raise StructureError(f"Got checkpoint as a {type(checkpoint).__name__}, but expected the path of a file")
    path = None if checkpoint is None else Path(checkpoint)
    most = None if max_nfev is None else int(max_nfev)
    return Options(method, max_nfev=most, callback=callback, progress=progress, checkpoint=path, **tolerances)


def _name(experiment: Experiment, k: int) -> str:
    return str(k) if experiment.name is None else experiment.name


def _priors(priors: Any, unknowns: Unknowns) -> list[Prior]:
    if priors is None:
        return []
    if not isinstance(priors, Mapping):
        raise StructureError(f"Got priors as a {type(priors).__name__}, but expected a dict such as {{'k': (mean, sd)}}")
    out = []
    for name, pair in priors.items():
        numbers = np.ravel(np.array(pair, np.float64)) if isinstance(pair, (tuple, list)) else np.empty(0)
        if len(numbers) != 2 or not np.all(np.isfinite(numbers)) or not numbers[1] > 0.0:
            raise ArgumentError(f"Got the prior {pair!r} of {name!r}, but expected (mean, sd) with a positive sd")
        out += [Prior(k, float(numbers[0]), float(numbers[1])) for k in unknowns.indices("priors", name)]
    return out
