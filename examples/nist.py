"""Certified nonlinear regressions of NIST, with models written as differential equations.

NIST's Statistical Reference Datasets (https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml) certify parameters, their
standard deviations and the residual sum of squares to eleven digits.  Four of the models solve an equation y' = f(x, y, b),
which is integrated here by the classical Runge-Kutta method and fitted by ``adj.fit`` from both starts that NIST gives.  On the
way from BoxBOD's first one, (1, 1), some trials have a rate b2 of -500, with which the integration overflows: those are rejected
steps, and the search goes on.  Levenberg and Marquardt's method over logarithms (``method="lm"``, ``transform="log"``) may end
elsewhere from there, as it does with the formula: at a large b2, where the curve has risen before the first datum, and nothing
depends on b2.

    python examples/nist.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import adjointsim as adj


class B2(NamedTuple):
    """Two parameters."""

    b1: float
    b2: float


class B3(NamedTuple):
    """Three."""

    b1: float
    b2: float
    b3: float


def saturation(t, y, p):
    """Misra1a and BoxBOD: y = b1 (1 - exp(-b2 x))."""
    return p.b2 * (p.b1 - y)


def misra1b(t, y, p):
    """y = b1 (1 - (1 + b2 x / 2)^-2)."""
    return p.b2 * (p.b1 - y) ** 1.5 / np.sqrt(p.b1)


def rat42(t, y, p):
    """y = b1 / (1 + exp(b2 - b3 x))."""
    return p.b3 * y * (1.0 - y / p.b1)


def rat42_start(p):
    """y(0)."""
    return p.b1 / (1.0 + np.exp(p.b2))


MISRA_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
BOX_X, BOX_Y = [1.0, 2.0, 3.0, 5.0, 7.0, 10.0], [109.0, 149.0, 149.0, 191.0, 213.0, 224.0]
RAT_X = [9.0, 14.0, 21.0, 28.0, 42.0, 57.0, 63.0, 70.0, 79.0]
RAT_Y = [8.930, 10.800, 18.590, 22.330, 39.350, 56.110, 61.730, 64.620, 67.080]


class Certified(NamedTuple):
    """A problem: the right-hand side and initial state, data, starts, certified values, and a step that is small enough."""

    rhs: Callable
    y0: float | Callable
    x: list[float]
    y: list[float]
    starts: tuple
    b: list[float]
    sd: list[float]
    rss: float
    dt: float


PROBLEMS = {
    "Misra1a": Certified(
        saturation, 0.0, MISRA_X, MISRA_Y, (B2(500.0, 0.0001), B2(250.0, 0.0005)),
        [2.3894212918e02, 5.5015643181e-04], [2.7070075241, 7.2668688436e-06], 1.2455138894e-01, 10.0,
    ),
    "BoxBOD": Certified(
        saturation, 0.0, BOX_X, BOX_Y, (B2(1.0, 1.0), B2(100.0, 0.75)),
        [2.1380940889e02, 5.4723748542e-01], [1.2354515176e01, 1.0455993237e-01], 1.1680088766e03, 0.01,
    ),
    "Misra1b": Certified(
        misra1b, 0.0, MISRA_X, MISRA_Y, (B2(500.0, 0.0001), B2(300.0, 0.0002)),
        [3.3799746163e02, 3.9039091287e-04], [3.1643950207, 4.2547321834e-06], 7.5464681533e-02, 10.0,
    ),
    "Rat42": Certified(
        rat42, rat42_start, RAT_X, RAT_Y, (B3(100.0, 1.0, 0.1), B3(75.0, 2.5, 0.07)),
        [7.2462237576e01, 2.6180768402, 6.7359200066e-02], [1.7340283401, 8.8295217536e-02, 3.4465663377e-03],
        8.0565229338, 0.1,
    ),
}  # fmt: skip


def fit(name: str, start: int = 0, method: str = "trf") -> adj.FitResult:
    """The fit of a problem from one of its starts."""
    problem = PROBLEMS[name]
    model = adj.ODE(problem.rhs, problem.x, t0=0.0, method="rk4", dt=problem.dt)
    return adj.fit(model, problem.y, problem.starts[start], y0=problem.y0, method=method)


def digits(found: float, certified: float) -> float:
    """How many digits two numbers share: NIST's log relative error."""
    return min(11.0, float(-np.log10(max(abs(found / certified - 1.0), 1e-99))))


def report(name: str, results: list[adj.FitResult]) -> str:
    """The table of one problem."""
    problem = PROBLEMS[name]
    lines = [f"{name:10}{'fitted':>18}{'certified':>18}{'digits':>8}{'sd':>18}{'certified':>18}{'digits':>8}"]
    for k, found in enumerate(results):
        for own, x, b, error, sd in zip(found.names, found.x, problem.b, found.stderr, problem.sd, strict=True):
            row = f"{own:4}start {k + 1}{x:18.10e}{b:18.10e}{digits(x, b):8.1f}"
            lines.append(f"{row}{error:18.10e}{sd:18.10e}{digits(error, sd):8.1f}")
    rss = results[0].rss
    lines.append(f"sum of squares {rss:.10e}, certified {problem.rss:.10e}: {digits(rss, problem.rss):.1f} digits")
    return "\n".join(lines)


def main() -> dict[str, list[adj.FitResult]]:
    """Fit all of them, print the tables."""
    found = {name: [fit(name, start) for start in range(2)] for name in PROBLEMS}
    print("\n\n".join(report(name, results) for name, results in found.items()))
    return found


if __name__ == "__main__":
    main()
