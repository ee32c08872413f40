"""How far is a vector g from being the gradient of a function f at x?

Two measurements are taken along a direction d, from the same values of f at x +- h d for falling h:

- the *Taylor remainder* ``|f(x + h d) - f(x) - h g.d|`` must fall like h^2 (or be zero to rounding, where f is linear);
- the *defect* of g, ``(f(x + h d) - f(x - h d)) / 2h - g.d``, extrapolated to h = 0 by Ridders' method with an estimate of its
  uncertainty, must vanish. It is the sharper of the two: it sees relative errors down to ``rtol``.

A measurement that the rounding of f drowns does not count as a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adjointsim.errors import ArgumentError

__all__ = ["DirectionCheck", "Ruler"]

H_FIRST, H_RATIO, MIN_LEVELS, MAX_LEVELS = 0.0625, 4.0, 5, 14
MIN_RATE = 1.9
MAX_UNCERTAINTY = 1e-6  # relative; differences that settle to less are no basis for a judgement


@dataclass(frozen=True)
class DirectionCheck:
    """What was measured along one direction: ``gradient`` is g.d, ``difference`` what differences say instead."""

    name: str
    gradient: float
    difference: float
    uncertainty: float
    rate: float  #: order of the last two Taylor remainders above rounding; inf where fewer than two are
    remainders: tuple[tuple[float, float], ...]  #: (h, remainder)
    conclusive: bool  #: whether the differences are good enough to judge by
    problem: str = ""  #: empty if the direction passed

    def __str__(self) -> str:
        rate = "exact" if math.isinf(self.rate) else f"{self.rate:.3f}"
        measured = f"{self.gradient:+.10e}  {self.difference:+.10e}  {self.uncertainty:9.1e}  {rate:>6}"
        return f"{self.name:24} {measured}  {self.problem or 'ok'}"


class Ruler:
    """Measures the defect of the gradient ``g`` of ``function`` at ``x``.

    ``rounded`` gives the nearest vector that the inputs can hold (some may be float32), ``eps`` is their relative spacing,
    ``probe`` a direction in which to look how rough the function is.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], float],
        x: np.ndarray,
        g: np.ndarray,
        *,
        rounded: Callable[[np.ndarray], np.ndarray],
        eps: float,
        rtol: float,
        probe: np.ndarray,
    ) -> None:
        self.function, self.x, self.g, self.rounded, self.eps, self.rtol = function, x, g, rounded, eps, rtol
        self.evaluations = 1
        self.f0 = function(x)
        if not math.isfinite(self.f0):
            raise ArgumentError(f"the value at (y0, p) is {self.f0}: there is nothing to differentiate")
        self.noise = self._measure_noise(probe)

    def measure(self, name: str, d: np.ndarray) -> DirectionCheck:
        """Remainders and defect along d, from large h to small, until both are settled."""
        gradient = float(self.g @ d)
        typical = float(np.linalg.norm(self.g * d))  # of g.d at random signs: not small by cancellation
        rows: list[_Row] = []
        table: list[list[float]] = []
        best = (math.nan, math.inf)
        size, largest = typical, abs(self.f0)
        for level in range(MAX_LEVELS):
            h = H_FIRST / H_RATIO**level
            row = self._row(h, d)
            if row is None:  # outside the domain of the function: begin again, nearer
                rows, table, best = [], [], (math.nan, math.inf)
                continue
            rows.append(row)
            largest = max(largest, row.largest)
            _extrapolate(table, row.defect)
            best = min([best, *_candidates(table, 2.0 * row.rounding / h)], key=lambda candidate: candidate[1])
            # Of the extrapolated slope, not of the one at this h, which is all rounding when h is small.
            size = max(abs(gradient), typical, abs(gradient + best[0]) if math.isfinite(best[0]) else 0.0)
            settled = best[1] <= max(self.rtol * size, 1e-12 * largest) and self._vanishes(best, size)
            if len(rows) >= MIN_LEVELS and settled and _rate(rows) > MIN_RATE:
                break
        defect, uncertainty = best
        rate = _rate(rows)
        problem = ""
        conclusive = uncertainty <= max(max(self.rtol, MAX_UNCERTAINTY) * size, math.sqrt(self.eps) * largest)
        if not conclusive:
            problem = f"differences cannot tell: they are uncertain to {uncertainty:.1e}"
        elif not self._vanishes(best, size):
            problem = f"off by {-defect:.3e}"
        elif not rate > MIN_RATE:
            problem = f"the Taylor remainder falls at the rate {rate:.3f} instead of 2"
        if problem and _has_kink(rows):
            problem += "; the slopes on the two sides differ: a kink of the value?"
        kept = tuple((row.h, row.remainder) for row in rows)
        return DirectionCheck(name, gradient, gradient + defect, uncertainty, rate, kept, conclusive, problem)

    def worst_component(self, d: np.ndarray) -> int:
        """Halve the support of a direction that failed, always towards the larger defect, down to one component."""
        support = np.flatnonzero(d)
        while len(support) > 1:
            support = max(np.array_split(support, 2), key=lambda half: self._coarse_defect(d, half))
        return int(support[0])

    def _coarse_defect(self, d: np.ndarray, support: np.ndarray) -> float:
        """The size of the defect along a part of d from one central difference; infinite where that does not exist."""
        part = np.zeros_like(d)
        part[support] = d[support]
        row = self._row(self.eps ** (1.0 / 3.0), part)
        return math.inf if row is None else abs(row.defect)

    def _vanishes(self, defect: tuple[float, float], size: float) -> bool:
        return abs(defect[0]) <= self.rtol * size + 4.0 * defect[1]

    def _row(self, h: float, d: np.ndarray) -> _Row | None:
        """Everything measured at one h; None if the value does not exist on both sides."""
        (up, up_predicted), (down, down_predicted) = self._moved(h * d), self._moved(-h * d)
        if not (math.isfinite(up) and math.isfinite(down)):
            return None
        largest = abs(self.f0) + max(abs(up), abs(down))
        return _Row(
            h=h,
            remainder=abs(up - up_predicted),
            defect=((up - down) - (up_predicted - down_predicted)) / (2.0 * h),
            rounding=max(self.noise, 4.0 * self.eps * largest) + self.eps * h * float(np.abs(self.g * d).sum()),
            slopes=(up / h, -down / h),
            largest=largest,
        )

    def _moved(self, displacement: np.ndarray) -> tuple[float, float]:
        """The change of the value, and the change that g predicts for the displacement as the inputs can hold it.

        NaN where the value does not exist: large displacements may leave the domain of the function.
        """
        self.evaluations += 1
        x = self.rounded(self.x + displacement)
        try:
            with np.errstate(all="ignore"):
                value = self.function(x)
        except (ArithmeticError, ValueError):
            return math.nan, math.nan
        return value - self.f0, float(self.g @ (x - self.x))

    def _measure_noise(self, d: np.ndarray) -> float:
        """The scatter of the value about a straight line over displacements so small that nothing but rounding bends it."""
        h = self.eps**0.6
        j = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        changes = np.array([self._moved(k * h * d)[0] for k in j])
        if not np.isfinite(changes).all():
            return 0.0
        residual = changes - changes.mean() - j * (j @ changes) / (j @ j)
        return 2.0 * math.sqrt(float(residual @ residual) / 3.0)


@dataclass(frozen=True)
class _Row:
    """Measurements at one h; ``rounding`` is what rounding may contribute to the remainder."""

    h: float
    remainder: float
    defect: float
    rounding: float
    slopes: tuple[float, float]
    largest: float


def _extrapolate(table: list[list[float]], value: float) -> None:
    """Append a row to the Neville table of an expansion in h^2."""
    row = [value]
    for j, above in enumerate(table[-1] if table else []):
        row.append(row[j] + (row[j] - above) / (H_RATIO ** (2 * (j + 1)) - 1.0))
    table.append(row)


def _candidates(table: list[list[float]], rounding: float) -> list[tuple[float, float]]:
    """(value, uncertainty) of the entries of the last row that have neighbours to be compared with."""
    row, above = table[-1], table[-2] if len(table) > 1 else []
    return [
        (row[j], max(abs(row[j] - row[j - 1]), abs(row[j] - above[j - 1])) + rounding) for j in range(1, len(row))
    ]  # fmt: skip


def _rate(rows: list[_Row]) -> float:
    """The order of the last two neighbouring remainders that stand well above rounding; inf if there are none.

    Where the smaller of two neighbours is lost in rounding, the fall to that level is still a lower bound of the order: a
    remainder that drops to nothing at once (past a distant jump, say) is not the slow fall of a wrong gradient.
    """
    rate = math.inf
    for a, b in zip(rows, rows[1:]):
        floor = 50.0 * b.rounding
        if a.remainder > 50.0 * a.rounding:
            order = math.log(a.remainder / max(b.remainder, floor)) / math.log(a.h / b.h)
            if b.remainder > floor or rate < order < math.inf:
                rate = order
    return rate


def _has_kink(rows: list[_Row]) -> bool:
    """Whether the slopes on the two sides stay apart as h falls."""
    gaps = [abs(row.slopes[0] - row.slopes[1]) for row in rows]
    clear = [gap for gap, row in zip(gaps, rows) if gap > 100.0 * row.rounding / row.h]
    return len(clear) > 4 and clear[-1] > 0.5 * clear[-4]
