"""What a fit found, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from adjointsim.errors import ArgumentError

from .data import Measured
from .drawing import draw, draw_correlation, draw_profile
from .evaluation import Evaluator, Failure
from .export import dataset
from .laplace import Laplace, laplace
from .names import unknown_name
from .prediction import Prediction, predict
from .problem import Problem
from .repeats import Bootstrap, Multistart, Profile, bootstrap, multistart, profile
from .report import report
from .search import Found
from .statistics import Uncertainty, combination, quantile, uncertainty
from .unknowns import Unknowns
from .workers import Failed

__all__ = ["FitResult", "result_of"]


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """The optimum of a fit of k unknowns to n numbers; ``print`` it for a report.

    In the user's structures:
    ``params``:      p at the optimum, as p0 was given (a tuple of one for each experiment if they differ: ``local=``).
    ``y0``:          the initial state (a tuple of one for each of several experiments).
    ``stderr``:      standard errors like params: None for leaves that were not fitted, NaN for such elements of arrays;
                     ``y0_stderr`` the same for y0.
    ``residuals``:   data minus model like the data, NaN where they are missing (a tuple for several experiments); ``fitted`` the
                     model's values.

    In the order of ``names``, shape (k,) or (k, k):
    ``x``, ``covariance``, ``correlation``.  The covariance is the inverse of J^T J, J = ``jac``, with known sigma, and that times
    chi2 / (n - k) without, as SciPy's ``curve_fit`` has it; infinite for what the data do not determine, NaN the covariances
    of that.  For transformed unknowns it is that of themselves, which the delta method gives.  A robust loss multiplies it by
    Huber's factor, (sum psi^2 / (n - k)) / mean(psi')^2; counts (loss "poisson") have their Fisher information.

    SciPy's names:
    ``fun``:         residuals (model - data) / sigma, of priors at the end, (n + priors,); ``jac`` their derivatives by x,
                     (n + priors, k); ``cost``, ``grad`` that of the cost by x, ``optimality`` its largest component (of the
                     transformed unknowns, without those on bounds), ``active_mask`` -1 and 1 for unknowns on a lower and an
                     upper bound.
    ``nfev``, ``njev``, ``nit``: runs and Jacobians of all experiments, iterations; ``success``, ``status``, ``message``;
                     ``optimizer`` is SciPy's own result, of the transformed unknowns before the last steps (None if the search
                     was ended).

    Statistics:
    ``rss``:         the sum of squared residuals, not divided by sigma (for "lognormal" those of logarithms).
    ``chi2``:        the sum of squares of ``fun`` without priors (rss without sigma); ``reduced_chi2`` that divided by
                     ``dof`` = n - k (priors count as data, there).
    ``log_likelihood``: of the data, normal (lognormal, Poisson) with constants, at sigma^2 = chi2 / n where it is not known.
    ``aic``, ``bic``: 2 m - 2 log_likelihood and log(n) m - 2 log_likelihood with m = k, or k + 1 where sigma is not known (as
                     in R); NaN for robust losses.
    ``warnings``:    what they do not say: undetermined combinations, bounds, no convergence.
    ``failures``:    trials at which a model could not be run (the first hundred; ``n_failed`` counts all).
    """

    params: Any
    y0: Any
    stderr: Any
    y0_stderr: Any
    residuals: Any
    fitted: Any
    names: tuple[str, ...]
    x: np.ndarray
    covariance: np.ndarray
    correlation: np.ndarray
    fun: np.ndarray
    jac: np.ndarray
    grad: np.ndarray
    cost: float
    optimality: float
    active_mask: np.ndarray
    nfev: int
    njev: int
    nit: int
    status: int
    success: bool
    message: str
    optimizer: OptimizeResult | None
    rss: float
    chi2: float
    reduced_chi2: float
    n_data: int
    dof: int
    log_likelihood: float
    aic: float
    bic: float
    bounds_hit: dict[str, str]
    warnings: tuple[str, ...]
    failures: tuple[Failure, ...]
    n_failed: int
    method: str
    interval_dof: float  #: degrees of freedom of Student's t in intervals; infinite (the normal distribution) with known sigma
    problem: Problem
    measured: tuple[Measured, ...]
    model_values: np.ndarray  #: what the model says of the n numbers that were measured
    sigma_values: np.ndarray | None  #: their standard deviations as they were given

    def __str__(self) -> str:
        return report(self)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.6g}" for name, value in list(zip(self.names, self.x, strict=True))[:6])
        return f"<FitResult {values}{', ...' if len(self.names) > 6 else ''}, rss={self.rss:.6g}, success={self.success}>"

    @property
    def unknowns(self) -> Unknowns:
        """What is fitted."""
        return self.problem.unknowns

    @property
    def errors(self) -> dict[str, float]:
        """The standard errors by name."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    @property
    def values(self) -> dict[str, float]:
        """The unknowns by name."""
        return dict(zip(self.names, self.x.tolist(), strict=True))

    def confidence(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Intervals (low, high) by name, from standard errors: Student's t with n - k degrees of freedom, the normal distribution
        with known sigma.

        Those of transformed unknowns are symmetric in what the optimiser works with, so that of a positive one is positive; none
        reaches beyond a bound.
        """
        if not 0.0 < level < 1.0:
            raise ArgumentError(f"Got level={level!r}, but expected a number between 0 and 1")
        transforms, q = self.unknowns.transforms, quantile(level, self.interval_dof)
        z = transforms.to_z(self.x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            half = q * np.sqrt(np.diag(self.covariance)) / transforms.slope(z)
            low, high = transforms.to_x(z - half), transforms.to_x(z + half)
        return dict(zip(self.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))

    def predict(self, model: Any = None, *, experiment: int | str = 0, level: float = 0.95) -> Prediction:
        """The observations of ``model`` (by default that of the experiment) at the optimum, with standard errors and a band.

        The model may be another one that takes the same y0 and p: observed at other times, or observing something else.
        """
        return predict(self, model, experiment, level)

    def profile(self, name: str, level: float = 0.95, points: int = 11) -> Profile:
        """The profile likelihood of one unknown: the others are fitted again with it held at ``points`` values, and at the ends
        of the interval in which the cost rises by less than what ``level`` says.

        ArgumentError if a fit ends lower than this one, which is not the optimum then.
        """
        return profile(self, name, level, points)

    def multistart(self, n: int, seed: int, spread: float = 1.0) -> Multistart:
        """The same fit from n other starts: uniform between bounds where there are two, else normal around the start, with
        ``spread`` times its size as standard deviation (``spread`` itself for logarithms and logits)."""
        found, best = multistart(self, n, seed, spread)
        return found if best is None else replace(found, best=result_of(*best))

    def bootstrap(self, n: int, seed: int, kind: str = "parametric") -> Bootstrap:
        """The fits of n data sets like this one, drawn from the model at the optimum: with normal (lognormal, Poisson) errors of
        sigma, or of the residuals' standard deviation where it is not known; ``kind`` "residuals": with residuals, in units of
        sigma, that are drawn again."""
        return bootstrap(self, n, seed, kind)

    def laplace(self, hessian: str = "exact") -> Laplace:
        """The normal approximation of the posterior around the optimum, and of the probability of the data (log evidence).

        The Hessian is that of the cost (with known sigma; else divided by the residual variance), second derivatives of the model
        included, by as many exact products as there are unknowns; ``hessian`` "gauss-newton" leaves these out: then the
        covariance is the result's own.  Bounds without a prior are a uniform one.

        Raises ArgumentError for an optimum on a bound, and where the Hessian is not positive definite, naming the combination
        of unknowns; UnsupportedError for exact products of a hand-written VJP.
        """
        return laplace(self, hessian)

    def plot(self, model: Any = None, *, experiment: int | str = 0, level: float = 0.95, ax: Any = None) -> Any:
        """Draw data, the model and its band on matplotlib axes, and return them; ``model`` as in :meth:`predict`, for a smoother
        curve.  MissingExtraError without matplotlib (the extra ``plot``)."""
        return draw(self, model, experiment, level, ax)

    def plot_correlation(self, ax: Any = None) -> Any:
        """Draw the correlations, and return the axes."""
        return draw_correlation(self, ax)

    def plot_profile(self, name: str, level: float = 0.95, points: int = 21, ax: Any = None) -> Any:
        """Draw :meth:`profile`, and return the axes: a straight line for a model that is linear in this unknown."""
        return draw_profile(self.profile(name, level, points), ax)

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: value, stderr, start, covariance and correlation by ``unknown``; data, fitted and residual of
        each experiment ("data@name" for several, "data.leaf" for structures) by time or step; numbers as attributes.

        MissingExtraError without xarray (the extra ``xarray``).
        """
        return dataset(self)

    def index(self, name: str) -> int:
        """The number of an unknown; ArgumentError for a name that is none, with the nearest one."""
        found = self.unknowns.finder(name)
        if not found or len(found) != 1:
            raise unknown_name("unknown's", name, self.names)
        return found[0]


def result_of(problem: Problem, evaluator: Evaluator, found: Found) -> FitResult:
    """The statistics of an optimum."""
    unknowns, loss, x, n = evaluator.unknowns, evaluator.loss, found.x, evaluator.n
    absolute_sigma, method = problem.absolute_sigma, problem.options.method
    k, priors = unknowns.n, len(evaluator.priors)
    m, r = evaluator.model_values(x), evaluator.residuals(x)
    try:
        if not problem.covariance:
            raise Failed(0, "")
        j = evaluator.jacobian(x)
        weights = loss.information(m, evaluator.data, evaluator.sigma)
        informative = np.concatenate([weights[:, None] * evaluator.model_jacobian(x), j[n:]])
    except Failed:
        j = informative = np.full((n + priors, k), np.nan)
    own = r[:n]
    chi2, dof = float(own @ own), n + priors - k
    known = loss.measure == "poisson" or (evaluator.sigma is not None and absolute_sigma)
    reduced = float(r @ r) / dof if dof > 0 else math.nan
    scale = 1.0 if known else reduced
    if loss.rho is not None:
        psi, bend = loss.cost_slopes(own), float(np.mean(loss.cost_curvatures(own)))
        scale = float(psi @ psi) / dof / bend**2 if dof > 0 and bend > 0.0 else math.nan
    if np.all(np.isfinite(informative)):
        spread = uncertainty(informative, 1.0 if math.isnan(scale) else scale)
    else:
        spread = Uncertainty(np.full((k, k), np.nan), np.empty((0, k)), np.zeros(k, bool), np.zeros(k, bool))
    covariance = np.full((k, k), np.inf) if math.isnan(scale) else spread.covariance
    error = np.sqrt(np.diag(covariance))
    plain = loss.residuals(m, evaluator.data, None) if loss.measure != "poisson" else m - evaluator.data
    likelihood = math.nan
    if chi2 > 0.0 or known:
        weight = np.ones(n) if evaluator.sigma is None else evaluator.sigma
        s = 1.0 if known else math.sqrt(chi2 / n)
        likelihood = loss.log_likelihood(own / s, m, evaluator.data, weight * s)
    count = k + (not known)
    grad = evaluator.last_gradient
    if grad is None:
        grad = j.T @ np.concatenate([loss.cost_slopes(own), r[n:]])
    mask = np.zeros(k, int)
    if found.optimizer is not None and loss.rho is not None:
        mask = np.asarray(found.optimizer.get("active_mask", mask))
    for unknown, side in found.bounds_hit.items():
        mask[unknown] = -1 if side == "lower" else 1
    hit = {unknowns.names[i]: "lower" if mask[i] < 0 else "upper" for i in np.flatnonzero(mask)}
    sloped = np.abs(grad * unknowns.transforms.slope(found.z))[mask == 0]
    fitted, residuals = _like_data(evaluator, m), _like_data(evaluator, evaluator.data - m)
    return FitResult(
        params=unknowns.params(x), y0=unknowns.y0(x), stderr=unknowns.spread(error, "p"), y0_stderr=unknowns.spread(error, "y0"),
        residuals=residuals, fitted=fitted, names=tuple(unknowns.names), x=x.copy(), covariance=covariance,
        correlation=Uncertainty(covariance, spread.directions, spread.undetermined).correlation,
        fun=r, jac=j, grad=grad, cost=evaluator.cost(x), optimality=float(sloped.max(initial=0.0)), active_mask=mask,
        nfev=evaluator.nfev, njev=evaluator.njev, nit=found.nit, status=found.status, success=found.success,
        message=found.message, optimizer=found.optimizer, rss=float(plain @ plain), chi2=chi2, reduced_chi2=reduced, n_data=n,
        dof=dof, log_likelihood=likelihood, aic=2.0 * count - 2.0 * likelihood, bic=math.log(n) * count - 2.0 * likelihood,
        bounds_hit=hit, warnings=_warnings(unknowns, found, spread, hit, scale, x, dof, problem.covariance),
        failures=tuple(evaluator.failures), n_failed=evaluator.n_failed, method=method,
        interval_dof=math.inf if known and loss.rho is None else float(dof),
        problem=problem, measured=tuple(evaluator.measured), model_values=m, sigma_values=evaluator.sigma,
    )  # fmt: skip


def _like_data(evaluator: Evaluator, numbers: np.ndarray) -> Any:
    made = []
    for own, end in zip(evaluator.measured, evaluator.ends, strict=True):
        made.append(own.spread(numbers[end - own.n : end]))
    return tuple(made) if len(made) > 1 else made[0]


def _warnings(
    unknowns: Unknowns,
    found: Found,
    spread: Uncertainty,
    hit: dict[str, str],
    scale: float,
    x: np.ndarray,
    dof: int,
    wanted: bool,
) -> tuple[str, ...]:
    names, out = unknowns.names, []
    if not found.success:
        out.append(f"the search did not converge: {found.message}")
    useless = [name for name, none in zip(names, spread.useless, strict=True) if none]
    if useless:
        out.append(f"nothing that was measured depends on {_listed(useless)} at the optimum: no standard errors")
    for direction in spread.directions:
        if np.count_nonzero(np.abs(direction) * np.where(spread.useless, 0.0, 1.0)) and not _only(direction, spread.useless):
            out.append(f"the data do not determine a combination: nothing changes with {combination(direction, x, names)}")
    if hit:
        shown = _listed([f"{name} ({side})" for name, side in hit.items()])
        out.append(f"on a bound: {shown}; standard errors do not know of bounds")
    if math.isnan(scale):
        out.append(f"as many unknowns as data (n - k = {dof}): the residuals say nothing of standard errors, which need sigma=")
    if wanted and not np.all(np.isfinite(np.diag(spread.covariance)) | spread.undetermined):
        out.append("the derivatives could not be computed at the optimum: no standard errors")
    return tuple(out)


def _only(direction: np.ndarray, useless: np.ndarray) -> bool:
    """Whether a direction is that of one unknown that changes nothing."""
    rest = np.abs(direction[~useless])
    return bool(rest.max(initial=0.0) <= 1e-12 * np.abs(direction).max())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", .." if len(names) > 8 else "")
