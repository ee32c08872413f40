"""How an unknown is seen by the optimiser: itself, its logarithm, or its logit between two bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adjointsim.errors import ArgumentError

__all__ = ["KINDS", "Transforms"]

KINDS = ("identity", "log", "logit")


@dataclass(frozen=True)
class Transforms:
    """For each unknown its kind and its bounds: z = x, z = log(x), or z = log((x - low) / (high - x)).

    Arrays of length n: ``logs`` and ``logits`` of bools, ``low`` and ``high`` of floats, in which there may be infinities.
    """

    logs: np.ndarray
    logits: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, kinds: Sequence[str], low: np.ndarray, high: np.ndarray) -> Transforms:
        """From the names of kinds."""
        return cls(np.array([k == "log" for k in kinds], bool), np.array([k == "logit" for k in kinds], bool), low, high)

    @cached_property
    def _some(self) -> tuple[bool, bool]:
        """Whether there are logarithms, and logits."""
        return bool(self.logs.any()), bool(self.logits.any())

    def check(self, x: np.ndarray, names: Sequence[str]) -> None:
        """ArgumentError if a start x is where it cannot be."""
        for name, value, low, high, log, logit in zip(names, x, self.low, self.high, self.logs, self.logits, strict=True):
            if low >= high:
                raise ArgumentError(f"Got bounds ({low:g}, {high:g}) of {name!r}, but expected a lower one below the upper one")
            if log and not value > 0.0:
                raise ArgumentError(f"Got transform 'log' of {name!r}, whose start is {value:g}, but expected a start above 0")
            if log and not high > 0.0:
                raise ArgumentError(f"Got an upper bound {high:g} and transform 'log' of {name!r}, but expected one above 0")
            if logit and not (np.isfinite(low) and np.isfinite(high)):
                raise ArgumentError(f"Got transform 'logit' of {name!r}, but expected both its bounds, for example (0, 1)")
            if not low <= value <= high:
                raise ArgumentError(f"Got bounds ({low:g}, {high:g}) of {name!r}, which exclude its start {value:g}")
            if logit and not low < value < high:
                raise ArgumentError(f"Got transform 'logit' of {name!r}, whose start {value:g} is a bound: expected one between")

    def to_z(self, x: np.ndarray) -> np.ndarray:
        """What the optimiser sees."""
        z = x.astype(np.float64)
        log, logit = self.logs, self.logits
        z[log] = np.log(x[log])
        z[logit] = np.log((x[logit] - self.low[logit]) / (self.high[logit] - x[logit]))
        return z

    def to_x(self, z: np.ndarray) -> np.ndarray:
        """What the model sees; within the bounds."""
        x = z.astype(np.float64)
        (logs, logits), log, logit = self._some, self.logs, self.logits
        if logs:
            with np.errstate(over="ignore"):  # a trial that goes too far fails as a model does
                x[log] = np.exp(z[log])
        if logits:
            x[logit] = self.low[logit] + (self.high[logit] - self.low[logit]) * _expit(z[logit])
        return np.minimum(np.maximum(x, self.low), self.high)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """dx/dz at z."""
        slope = np.ones_like(z)
        (logs, logits), log, logit = self._some, self.logs, self.logits
        if logs:
            with np.errstate(over="ignore"):
                slope[log] = np.exp(z[log])
        if logits:
            s = _expit(z[logit])
            slope[logit] = (self.high[logit] - self.low[logit]) * s * (1.0 - s)
        return slope

    def curvature(self, z: np.ndarray) -> np.ndarray:
        """The second derivative of x by z."""
        s = _expit(z)
        return np.where(self.logs, self.slope(z), np.where(self.logits, self.slope(z) * (1.0 - 2.0 * s), 0.0))

    def z_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of z."""
        low, high = self.low.copy(), self.high.copy()
        log = self.logs
        with np.errstate(divide="ignore"):
            low[log], high[log] = np.log(np.maximum(self.low[log], 0.0)), np.log(self.high[log])
        low[self.logits], high[self.logits] = -np.inf, np.inf
        return low, high


def _expit(z: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, small) / (1.0 + small)
