"""From where an optimiser of least squares stops to the optimum itself: undamped Gauss-Newton steps, mixed with those before.

An optimiser stops where the cost no longer changes, which is at half the digits of the unknowns.  A Gauss-Newton step leaves
M times the distance, a matrix that grows with the residuals; symmetric in the metric of J^T J, so that the length of steps
in that metric, |J step|, falls by its largest eigenvalue at least, if that is below 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .evaluation import Evaluator
from .workers import Failed

__all__ = ["refined"]

_STEPS = 25
_REMEMBERED = 5  # points beside the last
_FARTHEST = 100.0  # times as far as a Gauss-Newton step
_SETTLED = 1e-11  # of a standard error
_NEAR = 1e-4  # standard errors from a bound within which the optimum is looked for on it


class _Point(NamedTuple):
    """A point with its residuals and their Jacobian by z, the cost and its gradient."""

    z: np.ndarray
    r: np.ndarray
    j: np.ndarray
    cost: float
    gradient: np.ndarray


class _Way(NamedTuple):
    """A point in scaled free unknowns, the Gauss-Newton step from there, and its length in the metric of J^T J."""

    x: np.ndarray
    step: np.ndarray
    length: float


def refined(evaluator: Evaluator, z: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """The optimum near z, where an optimiser has stopped, and the bounds on which it lies."""
    transforms, best = evaluator.unknowns.transforms, z

    def at(z: np.ndarray) -> _Point:
        x = transforms.to_x(z)
        r = evaluator.residuals(x)
        j = evaluator.jacobian(x) * transforms.slope(z)
        return _Point(z, r, j, 0.5 * float(r @ r), j.T @ r)

    try:
        point = at(z)
        on_low, on_high = _near_bounds(point, low, high)
        snapped = np.where(on_low, low, np.where(on_high, high, z))
        if not np.array_equal(snapped, z):
            new = at(snapped)
            if np.isfinite(new.cost) and new.cost <= point.cost * (1.0 + 1e-9) + 1e-300:
                point, best = new, snapped
        held: np.ndarray | None = None
        for _ in range(2 * len(z) + 2):  # what is on a bound changes where a step meets one, or the cost falls away from it
            now = np.logical_or(*_on_bounds(point, low, high))
            if np.all(now) or (held is not None and np.array_equal(now, held)):
                break
            held = now
            for new in _walk(at, point, ~held, low, high):
                point, best = new, new.z
        on_low, on_high = _on_bounds(point, low, high)
    except Failed as failed:
        evaluator.failed(transforms.to_x(best), failed)
        return best, {}
    except KeyboardInterrupt:  # the search itself has converged
        return best, {}
    return best, {int(k): "lower" for k in np.flatnonzero(on_low)} | {int(k): "upper" for k in np.flatnonzero(on_high)}


def _walk(
    at: Callable[[np.ndarray], _Point], point: _Point, free: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Iterator[_Point]:
    """The points to which the free unknowns go, until one of them meets a bound.  A step is taken only if that from there is
    shorter and the cost not higher."""
    scale = np.linalg.norm(point.j[:, free], axis=0)
    scale[scale == 0.0] = 1.0

    def way(point: _Point) -> _Way:
        q = point.j[:, free] / scale
        step = -np.linalg.lstsq(q, point.r, rcond=1e-10)[0]
        return _Way(point.z[free] * scale, step, float(np.linalg.norm(q @ step)))

    here, before = way(point), list[_Way]()
    for _ in range(_STEPS):
        step, again = _mixed(before, here), False
        while True:
            trial = point.z.copy()
            trial[free] = np.clip(point.z[free] + step / scale, low[free], high[free])
            if np.array_equal(trial, point.z) or np.linalg.norm(step) < _SETTLED * np.linalg.norm(point.r):
                return
            new = at(trial)
            if np.any(np.logical_or(*_on_bounds(new, low, high))[free]):
                if new.cost <= point.cost:
                    yield new
                return
            there = way(new)
            if there.length < here.length and new.cost <= point.cost * (1.0 + 1e-12):
                break
            if again:
                return
            if step is not here.step:
                before, step = [], here.step  # what was before is no guide
            else:
                before, again = [there], True  # too far, or the wrong way: both points tell how far
                step = _mixed(before, here)
        before, here, point = [*before[-_REMEMBERED:], here], there, new
        yield point


def _mixed(before: Sequence[_Way], here: _Way) -> np.ndarray:
    """A step from here that goes farther than the Gauss-Newton step.

    Those leave the same part of the distance each time, along few directions.  Of all combinations of the points this is the one
    whose steps, combined alike, nearly cancel (D. Anderson, 1965).
    """
    if not before:
        return here.step
    moves = np.stack([own.x - here.x for own in before], axis=1)
    turns = np.stack([own.step - here.step for own in before], axis=1)
    weights = np.linalg.lstsq(turns, here.step, rcond=1e-8)[0]
    mixed = here.step - (moves + turns) @ weights
    return mixed if np.linalg.norm(mixed) < _FARTHEST * np.linalg.norm(here.step) else here.step


def _near_bounds(point: _Point, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which unknowns seem to have their optimum on a bound: the cost falls towards it, and they are close to it."""
    norm = np.linalg.norm(point.j, axis=0)
    error = np.sqrt(2.0 * point.cost / max(len(point.j) - len(point.z), 1)) / np.where(norm > 0.0, norm, np.inf)
    near = _NEAR * error + 1e-8 * np.abs(point.z)
    return (point.z - low <= near) & (point.gradient > 0.0), (high - point.z <= near) & (point.gradient < 0.0)


def _on_bounds(point: _Point, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which are on one, and would cross it."""
    return (point.z == low) & (point.gradient >= 0.0), (point.z == high) & (point.gradient <= 0.0)
