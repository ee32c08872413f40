"""Fits that are done again: with an unknown held (profiles), from other starts, of other data (bootstrap)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq

from adjointsim.errors import ArgumentError, FitError

from .evaluation import Evaluator
from .problem import Problem
from .search import Found
from .statistics import quantile
from .workers import Failed

if TYPE_CHECKING:
    from .result import FitResult

__all__ = ["Bootstrap", "Multistart", "Profile", "bootstrap", "multistart", "profile"]


@dataclass(frozen=True, eq=False)
class Profile:
    """The best fits with one unknown held at each of ``values``.

    ``cost`` are theirs, ``x`` the unknowns (those of the result, in its order, (points, k)); NaN where a fit failed.  ``tau`` is
    the signed root of 2 (cost - lowest cost) / scale, (value - optimum) / stderr for a model that is linear in its unknowns.
    ``interval`` is where it is the quantile of ``level``: an interval of profile likelihood, as R's ``confint``; a bound or
    an infinity where the cost does not rise as far.
    """

    name: str
    values: np.ndarray
    cost: np.ndarray
    tau: np.ndarray
    x: np.ndarray
    level: float
    interval: tuple[float, float]


def profile(result: FitResult, name: str, level: float, points: int) -> Profile:
    """See :meth:`.FitResult.profile`."""
    if not (isinstance(points, int) and points >= 2):
        raise ArgumentError(f"Got points={points!r}, but expected an integer from 2 on")
    k = result.index(name)
    q, scale, error = quantile(level, result.interval_dof), _scale(result), float(np.sqrt(result.covariance[k, k]))
    if not (math.isfinite(q) and scale > 0.0):
        raise ArgumentError("Got a fit with as many unknowns as data and no sigma, but a profile needs a scale of costs")
    t, best = result.unknowns.transforms, float(result.x[k])
    z_best = float(t.to_z(result.x)[k])
    low, high = float(t.z_bounds()[0][k]), float(t.z_bounds()[1][k])
    slope = float(t.slope(t.to_z(result.x))[k])
    step = error / slope if math.isfinite(error) and error > 0.0 else max(abs(z_best), 1.0)
    held = _Held(result, k)

    def tau(z: float) -> float:
        cost = held.cost(z)
        return math.copysign(math.sqrt(max(2.0 * (cost - result.cost) / scale, 0.0)), z - z_best)

    ends = []
    for sign, bound in ((-1.0, low), (1.0, high)):
        reach, end = q * step, math.inf
        for _ in range(12):  # as far as the cost says, twice as far each time
            z = z_best + sign * reach
            at_bound = sign * (z - bound) >= 0.0
            z = bound if at_bound else z
            if (value := abs(tau(z))) >= q or math.isinf(value):
                inner = z_best + sign * reach / 2.0 if reach > 1.5 * q * step else z_best
                end = brentq(
                    lambda v: abs(tau(v)) - q if v != z_best else -q, inner, z, xtol=1e-10 * max(abs(z), step), rtol=1e-9
                )
                break
            if at_bound:
                end = bound
                break
            reach *= 2.0
        else:
            end = sign * math.inf
        ends.append(end)
    spans = [end if math.isfinite(end) else z_best + sign * 3.0 * step for end, sign in zip(ends, (-1.0, 1.0), strict=True)]
    grid = np.unique(
        np.append(
            np.linspace(max(z_best + 1.3 * (spans[0] - z_best), low), min(z_best + 1.3 * (spans[1] - z_best), high), points),
            z_best,
        )
    )
    costs = np.array([held.cost(float(z)) for z in grid])
    taus = np.sign(grid - z_best) * np.sqrt(np.maximum(2.0 * (costs - result.cost) / scale, 0.0))
    values, xs = np.array([held.value(z) for z in grid]), np.array([held.found(float(z)) for z in grid])
    interval = (held.value(ends[0]), held.value(ends[1]))
    assert interval[0] <= best <= interval[1] or not math.isfinite(best)
    return Profile(result.names[k], values, np.where(np.isinf(costs), np.nan, costs), taus, xs, level, interval)


class _Held:
    """Fits with unknown k held, each from the unknowns of the nearest one."""

    def __init__(self, result: FitResult, k: int) -> None:
        self.result, self.k = result, k
        z = result.unknowns.transforms.to_z(result.x)
        self.done: dict[float, tuple[float, np.ndarray]] = {float(z[k]): (result.cost, result.x)}

    def value(self, z: float) -> float:
        """x of the held one."""
        t = self.result.unknowns.transforms
        whole = t.to_z(self.result.x)
        whole[self.k] = z
        with np.errstate(over="ignore"):
            return float(t.to_x(whole)[self.k])

    def known(self, value: float) -> float:
        """What priors of the held unknown add to the cost."""
        priors = (prior for prior in self.result.problem.priors if prior.unknown == self.k)
        return sum(0.5 * ((value - prior.mean) / prior.sd) ** 2 for prior in priors)

    def cost(self, z: float) -> float:
        """The lowest cost; infinite where no model can be run."""
        if z not in self.done:
            near = min(self.done, key=lambda other: abs(other - z))
            start = np.delete(self.done[near][1], self.k)
            value = self.value(z)
            try:
                if len(start):
                    evaluator, found = self.result.problem.quiet().holding(self.k, value).starting(start).solved(check=False)
                    cost = evaluator.cost(found.x) + self.known(value)
                    own = cost, np.insert(found.x, self.k, value)
                else:
                    own = _alone(self.result.problem, value), np.array([value])
            except (FitError, Failed):
                own = math.inf, np.full(len(self.result.x), np.nan)
            if own[0] < self.result.cost * (1.0 - 1e-8) - 1e-12:
                raise ArgumentError(
                    f"Got a fit whose cost {self.result.cost:g} is not the lowest: it is {own[0]:g} with "
                    f"{self.result.names[self.k]}={value:g}; start there, or see multistart"
                )
            self.done[z] = own
        return self.done[z][0]

    def found(self, z: float) -> np.ndarray:
        """All unknowns of that fit."""
        self.cost(z)
        return self.done[z][1]


def _alone(problem: Problem, value: float) -> float:
    """The cost of a problem of one unknown."""
    from .workers import Workers

    workers = Workers([e.model for e in problem.experiments])
    unknowns = problem.unknowns.starting(np.array([value]))
    evaluator = Evaluator(problem.experiments, unknowns, problem.loss, problem.priors, workers)
    return evaluator.cost(unknowns.x0)


def _scale(result: FitResult) -> float:
    """What a difference of twice the cost is measured by: 1 with known sigma, else the residual variance."""
    return 1.0 if math.isinf(result.interval_dof) else result.reduced_chi2


@dataclass(frozen=True, eq=False)
class Multistart:
    """Fits from several starts: ``best``, a :class:`.FitResult`; ``starts`` and ``ends`` (n, k), ``costs`` (n,), NaN where the
    model could not be run at the start; ``reached`` counts those that ended at the lowest cost."""

    best: FitResult
    starts: np.ndarray
    ends: np.ndarray
    costs: np.ndarray

    @property
    def reached(self) -> int:
        """How many ended at the lowest cost, to 1e-6 of it."""
        lowest = self.best.cost
        return int(np.count_nonzero(self.costs <= lowest + 1e-6 * max(abs(lowest), 1e-12)))


def multistart(result: FitResult, n: int, seed: int, spread: float) -> tuple[Multistart, tuple[Problem, Evaluator, Found] | None]:
    """See :meth:`.FitResult.multistart`; what else is returned made the best fit, if it is not the result's own."""
    if not (isinstance(n, int) and n >= 1):
        raise ArgumentError(f"Got n={n!r}, but expected a number of starts from 1 on")
    t = result.unknowns.transforms
    rng = np.random.default_rng(seed)
    low, high = t.z_bounds()
    center = result.unknowns.z0
    wide = np.where(t.logs | t.logits, spread, spread * np.maximum(np.abs(center), 1e-3))
    both = np.isfinite(low) & np.isfinite(high)
    starts, ends, costs = [], [], []
    best: tuple[Problem, Evaluator, Found] | None = None
    lowest = result.cost
    for _ in range(n):
        z = np.where(
            both,
            rng.uniform(np.where(both, low, 0.0), np.where(both, high, 1.0)),
            center + wide * rng.standard_normal(len(center)),
        )
        x0 = t.to_x(np.clip(z, low, high))
        problem = result.problem.quiet().starting(x0)
        starts.append(x0)
        try:
            evaluator, found = problem.solved(check=False)
            cost = evaluator.cost(found.x)
        except (FitError, Failed):
            ends.append(np.full(len(x0), np.nan))
            costs.append(math.nan)
            continue
        ends.append(found.x)
        costs.append(cost)
        if cost < lowest - 1e-9 * abs(lowest):
            lowest, best = cost, (problem, evaluator, found)
    return Multistart(result, np.array(starts), np.array(ends), np.array(costs)), best


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Fits of n data sets that were drawn: ``samples`` (n, k) in the order of ``names``; NaN where a fit failed."""

    names: tuple[str, ...]
    samples: np.ndarray

    @property
    def stderr(self) -> dict[str, float]:
        """The standard deviations of the samples, by name."""
        return dict(zip(self.names, np.nanstd(self.samples, axis=0, ddof=1).tolist(), strict=True))

    def confidence(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """The intervals between percentiles of the samples, by name."""
        if not 0.0 < level < 1.0:
            raise ArgumentError(f"Got level={level!r}, but expected a number between 0 and 1")
        low, high = np.nanquantile(self.samples, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
        return dict(zip(self.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def bootstrap(result: FitResult, n: int, seed: int, kind: str) -> Bootstrap:
    """See :meth:`.FitResult.bootstrap`."""
    if not (isinstance(n, int) and n >= 2):
        raise ArgumentError(f"Got n={n!r}, but expected a number of data sets from 2 on")
    if kind not in ("residuals", "parametric"):
        raise ArgumentError(f"Got kind={kind!r}, but expected 'residuals' or 'parametric'")
    problem = result.problem.quiet().starting(result.x)
    draw = _Draws(result, kind)
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(n):
        try:
            _, found = problem.of_data(draw(rng)).solved(check=False)
            samples.append(found.x)
        except (FitError, Failed):
            samples.append(np.full(len(result.x), np.nan))
    return Bootstrap(result.names, np.array(samples))


class _Draws:
    """Data that might have been measured, were the optimum the truth."""

    def __init__(self, result: FitResult, kind: str) -> None:
        self.result, self.kind, self.loss = result, kind, result.problem.loss
        self.m, self.sigma, self.measured = result.model_values, result.sigma_values, result.measured
        if self.loss.measure == "poisson" and kind == "residuals":
            raise ArgumentError("Got kind='residuals' and loss='poisson', whose residuals differ in kind: expected 'parametric'")
        r = result.fun[: result.n_data]
        known = math.isinf(result.interval_dof)
        self.sd = 1.0 if known else math.sqrt(result.reduced_chi2)
        grown = math.sqrt(len(r) / result.dof) if result.dof > 0 else 1.0  # residuals are smaller than errors
        self.pool = (r - r.mean()) * grown

    def __call__(self, rng: np.random.Generator) -> list[Any]:
        if self.loss.measure == "poisson":
            drawn = rng.poisson(self.m).astype(np.float64)
        else:
            n = len(self.m)
            errors = rng.choice(self.pool, n) if self.kind == "residuals" else self.sd * rng.standard_normal(n)
            errors = errors if self.sigma is None else errors * self.sigma
            drawn = self.m * np.exp(-errors) if self.loss.measure == "lognormal" else self.m - errors
        out, first = [], 0
        for own in self.measured:
            out.append(own.spread(drawn[first : first + own.n]))
            first += own.n
        return out
