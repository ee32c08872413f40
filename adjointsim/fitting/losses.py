"""What a deviation costs: residuals of measurements, and the robust functions of their squares.

A *measure* makes residuals r of model values m and data d, whose sum of squares (over 2) is minus the logarithm of a likelihood
up to a constant; a *rho* is a function of r^2, as in SciPy's ``least_squares``, which grows less where a residual is large.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError

__all__ = ["LOSSES", "Loss", "loss_of"]

Rho = Callable[[np.ndarray], np.ndarray]


def _soft_l1(s: np.ndarray) -> np.ndarray:
    t = 1.0 + s
    return np.stack([2.0 * (np.sqrt(t) - 1.0), t**-0.5, -0.5 * t**-1.5])


def _huber(s: np.ndarray) -> np.ndarray:
    far = s > 1.0
    safe = np.where(far, s, 1.0)
    return np.stack(
        [np.where(far, 2.0 * np.sqrt(safe) - 1.0, s), np.where(far, safe**-0.5, 1.0), np.where(far, -0.5 * safe**-1.5, 0.0)]
    )


_RHOS: dict[str, Rho] = {"soft_l1": _soft_l1, "huber": _huber}
LOSSES = ("linear", "lognormal", "poisson", "soft_l1", "huber")


@dataclass(frozen=True)
class Loss:
    """``measure`` "linear", "lognormal" or "poisson", and a ``rho`` (None: the square itself) with its scale ``f_scale``."""

    name: str
    measure: str
    rho: Rho | None
    f_scale: float

    def check(self, d: np.ndarray, place: Callable[[int], str], what: str) -> None:
        """ArgumentError for data that cannot be such."""
        if self.measure == "linear":
            return
        wrong = ~(d > 0.0) if self.measure == "lognormal" else (d < 0.0) | (d != np.floor(d))
        if np.any(wrong):
            k = int(np.argmax(wrong))
            expected = "positive data" if self.measure == "lognormal" else "counts: whole numbers from 0"
            raise ArgumentError(f"Got {place(k)} = {d[k]:g}{what} and loss={self.name!r}, but expected {expected}")

    def residuals(self, m: np.ndarray, d: np.ndarray, sigma: np.ndarray | None) -> np.ndarray:
        """r for each number; NaN where the model's value is impossible."""
        if self.measure == "poisson":
            return _deviance(m, d)
        if self.measure == "lognormal":
            r = np.log(np.where(m > 0.0, m, np.nan)) - np.log(d)
        else:
            r = m - d
        return r if sigma is None else r / sigma

    def slopes(self, m: np.ndarray, d: np.ndarray, sigma: np.ndarray | None) -> np.ndarray:
        """dr/dm."""
        if self.measure == "poisson":
            return _deviance_slope(m, d)
        slope = 1.0 / m if self.measure == "lognormal" else np.ones_like(m)
        return slope if sigma is None else slope / sigma

    def curvatures(self, m: np.ndarray, d: np.ndarray, sigma: np.ndarray | None) -> np.ndarray:
        """The second derivative of what each number costs by m."""
        if self.measure == "poisson":
            return d / m**2
        slope, r = self.slopes(m, d, sigma), self.residuals(m, d, sigma)
        return slope * slope - r * slope / m if self.measure == "lognormal" else self.cost_curvatures(r) * slope * slope

    def information(self, m: np.ndarray, d: np.ndarray, sigma: np.ndarray | None) -> np.ndarray:
        """The root of the information that a number has of its expectation: what its derivatives are weighted with."""
        return m**-0.5 if self.measure == "poisson" else self.slopes(m, d, sigma)

    def costs(self, r: np.ndarray) -> np.ndarray:
        """What each residual costs: half its square, or what rho makes of that."""
        if self.rho is None:
            return 0.5 * r * r
        c = self.f_scale
        return 0.5 * c * c * self.rho((r / c) ** 2)[0]

    def cost_slopes(self, r: np.ndarray) -> np.ndarray:
        """The derivative of that by r."""
        return r if self.rho is None else r * self.rho((r / self.f_scale) ** 2)[1]

    def cost_curvatures(self, r: np.ndarray) -> np.ndarray:
        """The second derivative."""
        if self.rho is None:
            return np.ones_like(r)
        s = (r / self.f_scale) ** 2
        _, first, second = self.rho(s)
        return first + 2.0 * s * second

    def log_likelihood(self, r: np.ndarray, m: np.ndarray, d: np.ndarray, sigma: np.ndarray) -> float:
        """Of the data, constants included; ``r`` are for sigma.  NaN for robust losses, which belong to no such."""
        if self.rho is not None:
            return math.nan
        if self.measure == "poisson":
            from scipy.special import gammaln, xlogy

            return float(np.sum(xlogy(d, m) - m - gammaln(d + 1.0)))
        out = -0.5 * float(np.sum(r * r)) - float(np.sum(np.log(sigma))) - 0.5 * len(d) * math.log(2.0 * math.pi)
        return out - float(np.sum(np.log(d))) if self.measure == "lognormal" else out


def loss_of(given: Any, f_scale: float) -> Loss:
    """The loss of this name, or of a function rho of the user's; ArgumentError otherwise."""
    if not (isinstance(f_scale, (int, float)) and f_scale > 0.0 and math.isfinite(f_scale)):
        raise ArgumentError(f"Got f_scale={f_scale!r}, but expected a positive number: the residual from which on loss= bends")
    if callable(given):
        return Loss(getattr(given, "__name__", "loss"), "linear", _Checked(given), float(f_scale))
    if given not in LOSSES:
        raise ArgumentError(f"Got loss={given!r}, but expected one of {', '.join(map(repr, LOSSES))}, or a function of squares")
    if given in _RHOS:
        return Loss(given, "linear", _RHOS[given], float(f_scale))
    return Loss(given, given, None, 1.0)


@dataclass(frozen=True)
class _Checked:
    """A function of the user's."""

    given: Callable[[np.ndarray], Any]

    def __call__(self, s: np.ndarray) -> np.ndarray:
        out = np.asarray(self.given(s), np.float64)
        if out.shape != (3, *s.shape):
            raise ArgumentError(
                f"Got an array of shape {out.shape} from loss, but expected {(3, *s.shape)}: rho, rho' and rho'' of squares s"
            )
        return out


def _deviance(m: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The signed root of what a count adds to the deviance, 2 (m - d + d log(d / m)); no cancellation where m is close to d."""
    m = np.where((m > 0.0) | ((m == 0.0) & (d == 0.0)), m, np.nan)
    return np.sign(m - d) * np.sqrt(2.0 * np.maximum(_excess(m, d), 0.0))


def _excess(m: np.ndarray, d: np.ndarray) -> np.ndarray:
    """m - d + d log(d / m)."""
    u = np.where(d > 0.0, m / np.where(d > 0.0, d, 1.0) - 1.0, 0.0)  # then it is d (u - log(1 + u))
    near = np.abs(u) < 1e-2
    series = u * u * (1 / 2 - u * (1 / 3 - u * (1 / 4 - u * (1 / 5 - u * (1 / 6 - u * (1 / 7 - u / 8))))))
    safe = np.where(near, 1.0, u)
    return np.where(d > 0.0, d * np.where(near, series, safe - np.log1p(safe)), m)


def _deviance_slope(m: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Its derivative by m: (1 - d / m) / r, which is 1 / sqrt(m) where m is d."""
    r = _deviance(m, d)
    u = np.where(d > 0.0, m / np.where(d > 0.0, d, 1.0) - 1.0, 1.0)
    near = np.abs(u) < 1e-2
    # r = sqrt(d) u sqrt(1 - 2 u / 3 + ..): the quotient of both series
    half = 2.0 * (1 / 2 - u * (1 / 3 - u * (1 / 4 - u * (1 / 5 - u * (1 / 6 - u * (1 / 7 - u / 8))))))
    with np.errstate(divide="ignore", invalid="ignore"):
        close = np.sqrt(np.where(d > 0.0, d, 1.0)) / (m * np.sqrt(np.where(near, half, 1.0)))
        far = (1.0 - d / m) / np.where(near, 1.0, r)
    return np.where(near, close, far)
