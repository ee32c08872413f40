"""The search for the optimum: SciPy's optimisers on the transformed unknowns, and what happens around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from adjointsim.errors import ArgumentError

from .evaluation import Evaluator
from .workers import Failed

__all__ = ["METHODS", "Found", "Iteration", "Options", "search"]

METHODS = ("trf", "dogbox", "lm")
_HUGE = 1e150  # a residual that "lm", which takes no infinities, steps back from
_REFINEMENTS = 25  # each takes off a part of the distance: much where residuals are small
_SETTLED = 1e-10  # of a standard error
_NEAR = 1e-4  # standard errors from a bound within which the optimum is looked for on it


@dataclass(frozen=True)
class Iteration:
    """What a callback is told: the number of the iteration, the cost, the unknowns by name, and the trials that failed so far."""

    iteration: int
    cost: float
    parameters: dict[str, float]
    failed: int


Callback = Callable[[Iteration], Any]


@dataclass(frozen=True)
class Options:
    """How to search."""

    method: str
    ftol: float | None
    xtol: float | None
    gtol: float | None
    max_nfev: int | None
    callback: Callback | None


@dataclass
class Found:
    """Where a search ended: x, SciPy's own result for the transformed unknowns z, and whether and why."""

    x: np.ndarray
    z: np.ndarray
    optimizer: OptimizeResult | None
    success: bool
    status: int
    message: str
    nit: int
    bounds_hit: dict[int, str] = field(default_factory=dict)


class _Ended(Exception):
    """A search that ends early, with its best so far."""


class _Objective:
    """Residuals and Jacobian as functions of z, and the best z so far."""

    def __init__(self, evaluator: Evaluator, options: Options) -> None:
        self.evaluator, self.options, self.transforms = evaluator, options, evaluator.unknowns.transforms
        self.best: tuple[float, np.ndarray] | None = None
        self.iterations = 0

    def fun(self, z: np.ndarray) -> np.ndarray:
        """The residuals; where a model cannot be run, what makes the optimiser step back."""
        x = self.transforms.to_x(z)
        try:
            r = self.evaluator.residuals(x)
            if not np.all(np.isfinite(r)):
                raise Failed(0, "the residuals are not finite")
        except Failed as failed:
            self.evaluator.failed(x, failed)
            count = self.evaluator.n + len(self.evaluator.priors)
            return np.full(count, _HUGE if self.options.method == "lm" else np.nan)
        cost = self.evaluator.cost(x)
        if self.best is None or cost < self.best[0]:
            self.best = cost, z.copy()
        return r

    def jac(self, z: np.ndarray) -> np.ndarray:
        """Their Jacobian, which is asked for once an iteration."""
        x = self.transforms.to_x(z)
        try:
            jacobian = self.evaluator.jacobian(x) * self.transforms.slope(z)
        except Failed as failed:
            self.evaluator.failed(x, failed)
            raise _Ended(f"the derivatives cannot be computed where the search is: {failed}") from failed
        self.seen(x)
        return jacobian

    def seen(self, x: np.ndarray) -> None:
        """One more iteration."""
        ev, callback = self.evaluator, self.options.callback
        if callback is not None:
            try:
                stop = callback(Iteration(self.iterations, ev.cost(x), ev.named(x), ev.n_failed))
            except StopIteration:
                stop = True
            if stop is True:
                raise _Ended("the callback ended the search")
        self.iterations += 1


def search(evaluator: Evaluator, options: Options) -> Found:
    """Find the optimum from the start.

    A trial at which a model cannot be run is a rejected step.  Ctrl-C, and a callback that returns True or raises StopIteration,
    end the search with the best so far, ``success`` False.
    """
    transforms = evaluator.unknowns.transforms
    low, high = transforms.z_bounds()
    z0 = evaluator.unknowns.z0
    objective = _Objective(evaluator, options)
    bounded = bool(np.any(np.isfinite(low)) or np.any(np.isfinite(high)))
    if options.method == "lm" and bounded:
        raise ArgumentError("Got bounds= and method='lm', which takes none: expected 'trf' or 'dogbox'")
    loss = evaluator.loss
    robust: dict[str, Any] = {} if loss.rho is None else {"loss": loss.rho, "f_scale": loss.f_scale}
    if robust and options.method == "lm":
        raise ArgumentError(f"Got loss={loss.name!r} and method='lm', which takes squares only: expected 'trf' or 'dogbox'")
    if robust and evaluator.priors:
        raise ArgumentError(f"Got loss={loss.name!r} and priors=, whose squares it would bend: expected one of them")
    try:
        done = least_squares(
            objective.fun, z0, objective.jac, bounds=(low, high), method=options.method, ftol=options.ftol, xtol=options.xtol,
            gtol=options.gtol, x_scale="jac", max_nfev=options.max_nfev, **robust,
        )  # fmt: skip
    except (_Ended, KeyboardInterrupt) as ended:
        if objective.best is None:
            raise
        message = str(ended) if isinstance(ended, _Ended) else "interrupted: the best so far"
        z = objective.best[1]
        return Found(transforms.to_x(z), z, None, False, -2, message, objective.iterations)
    z = np.clip(done.x, low, high)
    hit: dict[int, str] = {}
    if done.success and loss.rho is None:
        z, hit = _refined(evaluator, z, low, high, options)
    x = transforms.to_x(z)
    return Found(x, z, done, bool(done.success), int(done.status), str(done.message), objective.iterations, hit)


def _refined(
    evaluator: Evaluator, z: np.ndarray, low: np.ndarray, high: np.ndarray, options: Options
) -> tuple[np.ndarray, dict[int, str]]:
    """The optimum by some more Gauss-Newton steps, which take it from the optimiser's tolerance to rounding, and the bounds on
    which it lies.

    An optimiser stops where the cost no longer changes, which is at half the digits of the unknowns.  A step is taken only if the
    gradient becomes smaller.
    """
    transforms = evaluator.unknowns.transforms

    def at(z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        x = transforms.to_x(z)
        r = evaluator.residuals(x)
        j = evaluator.jacobian(x) * transforms.slope(z)
        return 0.5 * float(r @ r), j.T @ r, j

    try:
        cost, gradient, j = at(z)
        on_low, on_high = _on_bounds(z, gradient, j, cost, low, high)
        snapped = np.where(on_low, low, np.where(on_high, high, z))
        if not np.array_equal(snapped, z):
            new = at(snapped)
            if np.isfinite(new[0]) and new[0] <= cost * (1.0 + 1e-9) + 1e-300:
                z, (cost, gradient, j) = snapped, new
        on_low, on_high = (z == low) & (gradient >= 0.0), (z == high) & (gradient <= 0.0)
        free = ~(on_low | on_high)
        for _ in range(_REFINEMENTS if np.any(free) else 0):
            scale = np.linalg.norm(j[:, free], axis=0)
            scale[scale == 0.0] = 1.0
            q = j[:, free] / scale
            r = evaluator.residuals(transforms.to_x(z))
            step = -np.linalg.lstsq(q, r, rcond=1e-10)[0] / scale
            trial = z.copy()
            trial[free] = np.clip(z[free] + step, low[free], high[free])
            if np.array_equal(trial, z):
                break
            new = at(trial)
            size, before = (np.linalg.norm(g[free] / scale) for g in (new[1], gradient))
            if not (size < before and new[0] <= cost * (1.0 + 1e-12)):
                break
            done = np.linalg.norm(step * scale) < _SETTLED * np.linalg.norm(r)
            z, (cost, gradient, j) = trial, new
            if done:
                break
        on_low, on_high = (z == low) & (gradient >= 0.0), (z == high) & (gradient <= 0.0)
    except Failed as failed:
        evaluator.failed(transforms.to_x(z), failed)
        return z, {}
    hit = {int(k): "lower" for k in np.flatnonzero(on_low)} | {int(k): "upper" for k in np.flatnonzero(on_high)}
    return z, hit


def _on_bounds(
    z: np.ndarray, gradient: np.ndarray, j: np.ndarray, cost: float, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which unknowns seem to have their optimum on a bound: the cost falls towards it, and they are close to it."""
    norm = np.linalg.norm(j, axis=0)
    error = np.sqrt(2.0 * cost / max(len(j) - len(z), 1)) / np.where(norm > 0.0, norm, np.inf)
    near = _NEAR * error + 1e-8 * np.abs(z)
    return (z - low <= near) & (gradient > 0.0), (high - z <= near) & (gradient < 0.0)
