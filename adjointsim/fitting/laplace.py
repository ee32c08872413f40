"""Laplace's approximation: the normal distribution that a posterior is close to around its mode.

With cost(x) = -log(likelihood times priors) + a constant and H its Hessian at the optimum x^ (P. S. Laplace, 1774; L. Tierney
and J. B. Kadane, "Accurate approximations for posterior moments and marginal densities", J. Am. Stat. Assoc. 81 (1986), sec. 2):

    x ~ normal(x^, H^-1),     log p(data) = log p(data | x^) + log p(x^) + k/2 log 2 pi - 1/2 log det H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from adjointsim.errors import ArgumentError

from .evaluation import Evaluator
from .workers import Workers

if TYPE_CHECKING:
    from .result import FitResult

__all__ = ["Laplace", "laplace"]

_EXACT, _GAUSS_NEWTON = "exact", "gauss-newton"


@dataclass(frozen=True, eq=False)
class Laplace:
    """The normal approximation of a posterior: its ``mean`` (k,), the optimum, and ``covariance`` (k, k), the inverse of
    ``hessian``, in the order of ``names``.

    ``log_evidence`` approximates the logarithm of the probability of the data; NaN unless sigma is known and every unknown has a
    prior or two bounds, between which it is as likely everywhere.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    hessian: np.ndarray
    covariance: np.ndarray
    log_evidence: float

    @property
    def stderr(self) -> dict[str, float]:
        """The standard deviations by name."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def sample(self, n: int, seed: int) -> np.ndarray:
        """n draws, (n, k)."""
        if not (isinstance(n, int) and n >= 1):
            raise ArgumentError(f"Got n={n!r}, but expected a number of draws from 1 on")
        drawn = np.random.default_rng(seed).standard_normal((n, len(self.mean)))
        lower = np.linalg.cholesky(self.hessian)
        return self.mean + solve_triangular(lower.T, drawn.T, lower=False).T


def laplace(result: FitResult, hessian: str) -> Laplace:
    """See :meth:`.FitResult.laplace`."""
    if hessian not in (_EXACT, _GAUSS_NEWTON):
        raise ArgumentError(f"Got hessian={hessian!r}, but expected {_EXACT!r} or {_GAUSS_NEWTON!r}")
    if result.bounds_hit:
        hit = ", ".join(map(repr, result.bounds_hit))
        raise ArgumentError(f"Got a fit with {hit} on a bound, but the posterior is not normal there: expected an optimum inside")
    known = math.isinf(result.interval_dof)
    scale = 1.0 if known else result.reduced_chi2
    if not (math.isfinite(scale) and scale > 0.0):
        raise ArgumentError("Got a fit with as many unknowns as data and no sigma, but a posterior needs a scale of costs")
    h = np.full(result.covariance.shape, np.nan)
    try:
        h = _hessian(result) / scale if hessian == _EXACT else np.linalg.inv(result.covariance)
        if not np.all(np.isfinite(h)):
            raise np.linalg.LinAlgError
        lower = np.linalg.cholesky(h)
    except np.linalg.LinAlgError:
        raise ArgumentError(_not_definite(result, h)) from None
    covariance = cho_solve((lower, True), np.eye(len(h)))
    half = float(np.sum(np.log(np.diag(lower))))  # of log det H
    evidence = result.log_likelihood + _log_prior(result) + 0.5 * len(h) * math.log(2.0 * math.pi) - half if known else math.nan
    return Laplace(result.names, result.x.copy(), h, 0.5 * (covariance + covariance.T), evidence)


def _hessian(result: FitResult) -> np.ndarray:
    """The Hessian of the cost at the optimum, by exact products."""
    problem = result.problem.quiet().starting(result.x)
    workers = Workers([e.model for e in problem.experiments])
    evaluator = Evaluator(problem.experiments, problem.unknowns, problem.loss, problem.priors, workers)
    h = np.stack([evaluator.product(result.x, row) for row in np.eye(len(result.x))])
    return 0.5 * (h + h.T)


def _log_prior(result: FitResult) -> float:
    """The logarithm of the prior density at the optimum; NaN if it is none."""
    t, priors = result.unknowns.transforms, {prior.unknown: prior for prior in result.problem.priors}
    total = 0.0
    for k, x in enumerate(result.x):
        prior, width = priors.get(k), float(t.high[k] - t.low[k])
        if prior is not None:
            total += -0.5 * ((x - prior.mean) / prior.sd) ** 2 - math.log(prior.sd) - 0.5 * math.log(2.0 * math.pi)
        elif math.isfinite(width):
            total -= math.log(width)
        else:
            return math.nan
    return total


def _not_definite(result: FitResult, h: np.ndarray) -> str:
    """What is wrong with a Hessian that has no Cholesky factor."""
    text = "Got a fit at whose optimum the Hessian is not positive definite"
    if np.all(np.isfinite(h)):
        scale = np.sqrt(np.maximum(np.abs(np.diag(h)), 1e-300))
        _, vectors = np.linalg.eigh(h / np.outer(scale, scale))
        mixed = vectors[:, 0] / scale
        shown = [f"{mixed[k]:+.3g} {result.names[k]}" for k in np.argsort(-np.abs(vectors[:, 0]))[:4]]
        text += f", along {' '.join(shown)}"
    return f"{text}: the data do not determine it, or the search has not converged"
