"""The search for the optimum: SciPy's optimisers on the transformed unknowns, and what happens around them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import Bounds, OptimizeResult, least_squares, minimize

from adjointsim.errors import ArgumentError

from . import checkpoint
from .evaluation import Evaluator
from .refinement import refined
from .workers import Failed

__all__ = ["GRADIENT_METHODS", "METHODS", "Found", "Iteration", "Options", "search"]

GRADIENT_METHODS = ("L-BFGS-B", "trust-constr", "Newton-CG")  # of SciPy's ``minimize``: no Jacobian of all residuals
METHODS = ("trf", "dogbox", "lm", *GRADIENT_METHODS)
_HUGE = 1e150  # a residual that "lm", which takes no infinities, steps back from
_ROUNDING = 1e-6  # of the cost, for a change of one in an unknown as the optimiser sees it


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
    progress: bool = False
    checkpoint: Path | None = None


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
            r, cost = self.evaluator.residuals(x), self.evaluator.cost(x)
            if not np.isfinite(cost):
                raise Failed(0, "the residuals, or their squares, are not finite")
        except Failed as failed:
            self.evaluator.failed(x, failed)
            count = self.evaluator.n + len(self.evaluator.priors)
            return np.full(count, _HUGE if self.options.method == "lm" else np.nan)
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
        self.reported(Iteration(self.iterations, self.evaluator.cost(x), self.evaluator.named(x), self.evaluator.n_failed))

    def reported(self, iteration: Iteration) -> None:
        """Tell everybody of an iteration."""
        options = self.options
        if options.progress:
            failed = f", {iteration.failed} trials failed" if iteration.failed else ""
            print(f"adj.fit: iteration {iteration.iteration:4}, cost {iteration.cost:.8g}{failed}", file=sys.stderr, flush=True)
        if options.checkpoint is not None and self.best is not None:
            checkpoint.save(options.checkpoint, self.evaluator, *self.best)
        self.iterations += 1
        if options.callback is not None:
            try:
                stop = options.callback(iteration)
            except StopIteration:
                stop = True
            if stop is True:
                raise _Ended("the callback ended the search")


class _Cost(_Objective):
    """Cost, gradient and Hessian products as functions of z, for SciPy's ``minimize``."""

    def __init__(self, evaluator: Evaluator, options: Options) -> None:
        super().__init__(evaluator, options)
        self.latest: tuple[np.ndarray, np.ndarray] | None = None  # a z and the gradient by x there

    def cost(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """The cost and its gradient; where a model cannot be run, a wall."""
        x = self.transforms.to_x(z)
        try:
            value, gradient = self.evaluator.cost_and_gradient(x)
            if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
                raise Failed(0, "the cost or its gradient is not finite")
        except Failed as failed:
            self.evaluator.failed(x, failed)
            if self.best is None:
                raise self.evaluator.no_start(failed) from failed.__cause__
            return self.best[0] + 10.0 * max(abs(self.best[0]), 1.0), np.zeros_like(z)
        self.latest = z.copy(), gradient
        if self.best is None or value < self.best[0]:
            self.best = value, z.copy()
        return value, gradient * self.transforms.slope(z)

    def product(self, z: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The Hessian by z times a vector, exact: what the transforms bend is part of it."""
        t, x = self.transforms, self.transforms.to_x(z)
        if self.latest is None or not np.array_equal(self.latest[0], z):
            self.cost(z)
        assert self.latest is not None
        slope = t.slope(z)
        try:
            return slope * self.evaluator.product(x, slope * v) + self.latest[1] * t.curvature(z) * v
        except Failed as failed:
            self.evaluator.failed(x, failed)
            raise _Ended(f"the derivatives cannot be computed where the search is: {failed}") from failed

    def settled(self, z: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
        """Whether the gradient at the best z is so small that a line search that found nothing lower is no failure."""
        value, gradient = self.cost(z)
        inside = ~((z <= low) & (gradient > 0.0) | (z >= high) & (gradient < 0.0))
        return bool(np.abs(gradient[inside]).max(initial=0.0) <= _ROUNDING * (1.0 + abs(value)))

    def minimised(self, z0: np.ndarray, low: np.ndarray, high: np.ndarray) -> OptimizeResult:
        """What SciPy finds.  "L-BFGS-B", whose line search may end in ever shorter steps far from the optimum, has to find
        nothing lower from there, either, when it has forgotten how it got there."""
        left = self.options.max_nfev
        done = self._minimised(z0, low, high, left)
        while self.options.method == "L-BFGS-B" and done.success and self.best is not None:
            cost, z = self.best
            left = None if left is None else left - done.nfev
            if self.settled(z, low, high) or (left is not None and left <= 0):
                break
            done = self._minimised(z, low, high, left)
            if cost - self.best[0] <= (self.options.ftol or 0.0) * max(abs(cost), 1.0):
                break
        return done

    def _minimised(self, z0: np.ndarray, low: np.ndarray, high: np.ndarray, left: int | None) -> OptimizeResult:
        """The same at once, with so many runs ``left``."""
        method, options = self.options.method, self.options
        bounds = Bounds(low, high) if method != "Newton-CG" and np.any(np.isfinite(np.stack([low, high]))) else None
        most = {} if left is None else {"maxfun" if method == "L-BFGS-B" else "maxiter": left}
        second: dict[str, Any] = {}
        own: dict[str, Any]
        if method == "L-BFGS-B":
            own = {"ftol": options.ftol or 0.0, "gtol": options.gtol or 0.0, "maxcor": 20}
        else:
            second = {"hessp": self.product}
            own = {"xtol": options.xtol or 1e-10} if method == "Newton-CG" else {"gtol": options.gtol, "xtol": options.xtol}

        def seen(intermediate_result: OptimizeResult) -> None:
            named = self.evaluator.named(self.transforms.to_x(intermediate_result.x))
            self.reported(Iteration(self.iterations, float(intermediate_result.fun), named, self.evaluator.n_failed))

        return minimize(self.cost, z0, jac=True, method=method, bounds=bounds, callback=seen, options={**own, **most}, **second)


def search(evaluator: Evaluator, options: Options) -> Found:
    """Find the optimum from the start.

    A trial at which a model cannot be run is a rejected step.  Ctrl-C, and a callback that returns True or raises StopIteration,
    end the search with the best so far, ``success`` False.
    """
    transforms = evaluator.unknowns.transforms
    low, high = transforms.z_bounds()
    z0 = evaluator.unknowns.z0
    if options.checkpoint is not None:
        z0 = checkpoint.load(options.checkpoint, evaluator, z0)
    objective = (_Cost if options.method in GRADIENT_METHODS else _Objective)(evaluator, options)
    bounded = bool(np.any(np.isfinite(low)) or np.any(np.isfinite(high)))
    if options.method in ("lm", "Newton-CG") and bounded:
        others = "'trf' or 'dogbox'" if options.method == "lm" else "'L-BFGS-B' or 'trust-constr'"
        raise ArgumentError(f"Got bounds= and method={options.method!r}, which takes none: expected {others}")
    loss = evaluator.loss
    robust: dict[str, Any] = {} if loss.rho is None else {"loss": loss.rho, "f_scale": loss.f_scale}
    if robust and options.method == "lm":
        raise ArgumentError(f"Got loss={loss.name!r} and method='lm', which takes squares only: expected 'trf' or 'dogbox'")
    if robust and evaluator.priors and not isinstance(objective, _Cost):
        raise ArgumentError(f"Got loss={loss.name!r} and priors=, whose squares it would bend: expected one of them")
    try:
        if isinstance(objective, _Cost):
            done = objective.minimised(z0, low, high)
        else:
            done = least_squares(
                objective.fun, z0, objective.jac, bounds=(low, high), method=options.method, ftol=options.ftol,
                xtol=options.xtol, gtol=options.gtol, x_scale="jac", max_nfev=options.max_nfev, **robust,
            )  # fmt: skip
    except (_Ended, KeyboardInterrupt) as ended:
        if objective.best is None:
            raise
        message = str(ended) if isinstance(ended, _Ended) else "interrupted: the best so far"
        z = objective.best[1]
        return Found(transforms.to_x(z), z, None, False, -2, message, objective.iterations)
    z = np.clip(done.x, low, high)
    hit: dict[int, str] = {}
    if options.checkpoint is not None:
        checkpoint.remove(options.checkpoint)
    if isinstance(objective, _Cost):
        assert objective.best is not None
        z = objective.best[1]  # an optimiser may end elsewhere
        if not done.success and objective.settled(z, low, high):
            done.success, done.message = True, f"{done.message} (the gradient is at rounding)"
        _, gradient = objective.cost(z)
        near = _ROUNDING * (1.0 + np.abs(z))  # methods of the interior do not quite get there
        hit = {int(k): "lower" for k in np.flatnonzero((z - low <= near) & (gradient > 0.0))}
        hit |= {int(k): "upper" for k in np.flatnonzero((high - z <= near) & (gradient < 0.0))}
    elif done.success and loss.rho is None:
        z, hit = refined(evaluator, z, low, high)
    x = transforms.to_x(z)
    return Found(x, z, done, bool(done.success), int(done.status), str(done.message), objective.iterations, hit)
