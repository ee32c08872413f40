"""The lynx and the hare: the predator-prey model of Lotka and Volterra fitted to twenty-one years of pelts.

    hare' = (alpha - beta lynx) hare,        lynx' = (delta hare - gamma) lynx,

integrated by the classical Runge-Kutta method, a hundred steps a year. Four rates and both initial populations are fitted to
the logarithms of the counts by ``adj.fit`` with the exact Jacobian of all two thousand steps. The rates and their standard errors
are printed beside the posterior means and standard deviations of a Bayesian fit of the same model to the same data: B. Carpenter,
"Predator-Prey Population Dynamics: the Lotka-Volterra model in Stan", Stan case studies, 2018.

    python examples/lynx_hare.py [--steps-per-year 100] [--output lynx_hare.png]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import adjointsim as adj

DATA = Path(__file__).parent / "data" / "lynx_hare.csv"


class Populations(NamedTuple):
    """Thousands of pelts a year, which stand for the animals."""

    hare: float
    lynx: float


class Rates(NamedTuple):
    """Per year; beta and delta also per thousand pelts of the other species."""

    alpha: float
    beta: float
    gamma: float
    delta: float


PUBLISHED = {"alpha": (0.55, 0.065), "beta": (0.028, 0.004), "gamma": (0.80, 0.09), "delta": (0.024, 0.0037)}
START = Rates(alpha=0.5, beta=0.02, gamma=0.5, delta=0.02)


def growth(y, p):
    """The right-hand side."""
    return Populations((p.alpha - p.beta * y.lynx) * y.hare, (p.delta * y.hare - p.gamma) * y.lynx)


def moved(y, dy, h):
    """The point at distance ``h`` along ``dy``."""
    return Populations(y.hare + h * dy.hare, y.lynx + h * dy.lynx)


def rk4_step(dt):
    """One step of the classical Runge-Kutta method of length ``dt``."""

    @adj.step
    def rk4(n, y, p):
        k1 = growth(y, p)
        k2 = growth(moved(y, k1, 0.5 * dt), p)
        k3 = growth(moved(y, k2, 0.5 * dt), p)
        k4 = growth(moved(y, k3, dt), p)
        return Populations(
            y.hare + dt / 6.0 * (k1.hare + 2.0 * k2.hare + 2.0 * k3.hare + k4.hare),
            y.lynx + dt / 6.0 * (k1.lynx + 2.0 * k2.lynx + 2.0 * k3.lynx + k4.lynx),
        )

    return rk4


def counts(n, y, p):
    """What is observed: hares and lynxes, in the order of the table below."""
    out = np.empty(2)
    out[0] = y.hare
    out[1] = y.lynx
    return out


@dataclass(frozen=True)
class Pelts:
    """The records: ``counts[k]`` is (hare, lynx) in ``years[k]``."""

    years: np.ndarray
    counts: np.ndarray


def read(path=DATA) -> Pelts:
    """Read the table of pelts; its columns are year, lynx, hare."""
    table = np.genfromtxt(path, delimiter=",", skip_header=2, names=True)
    return Pelts(table["year"].astype(int), np.column_stack([table["hare"], table["lynx"]]))


def simulation(years: np.ndarray, steps_per_year: int) -> adj.Simulation:
    """The populations, observed in these years from the first on."""
    observed = np.rint((years - years[0]) * steps_per_year).astype(int)
    return adj.Simulation(rk4_step(1.0 / steps_per_year), int(observed[-1]), observe=counts, observe_at=observed)


def fit(pelts: Pelts, steps_per_year: int = 100, start: Rates = START) -> adj.FitResult:
    """Least squares of the logarithms of the counts, over the logarithms of all six numbers; the populations start at the first
    counts.  The scatter of the logarithms, the same for both species, is estimated."""
    # A factor of four either way keeps trials away from populations that overflow.
    y0 = Populations(*pelts.counts[0].tolist())
    starts = {**{f"p.{name}": v for name, v in start._asdict().items()}, **{f"y0.{name}": v for name, v in y0._asdict().items()}}
    bounds = {name: (value / 4.0, value * 4.0) for name, value in starts.items()}
    return adj.fit(
        simulation(pelts.years, steps_per_year), pelts.counts, start, y0=y0, wrt=("p", "y0"), transform="log", bounds=bounds,
        loss="lognormal",
    )  # fmt: skip


def report(found: adj.FitResult) -> str:
    """The table that :func:`main` prints."""
    lines = [f"{'':8}{'fitted':>10}{'+-':>9}{'published':>12}{'sd':>9}"]
    for name, value in found.params._asdict().items():
        mean, sd = PUBLISHED[name]
        lines.append(f"{name:8}{value:10.4f}{getattr(found.stderr, name):9.4f}{mean:12.3f}{sd:9.4f}")
    for name, value in found.y0._asdict().items():
        lines.append(f"{name + '(0)':8}{value:10.4f}{getattr(found.y0_stderr, name):9.4f}")
    scatter = math.sqrt(found.reduced_chi2)
    lines.append(f"scatter of the logarithms {scatter:.4f}, published 0.25; {found.njev} Jacobians")
    return "\n".join(lines)


def picture(pelts: Pelts, found: adj.FitResult, steps_per_year: int, path) -> None:
    """Draw the counts, the fitted trajectory and its band."""
    import matplotlib  # here, so that a fit without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    time = np.arange(pelts.years[0], pelts.years[-1] + 0.5 / steps_per_year, 1.0 / steps_per_year)
    curve = found.predict(simulation(time, steps_per_year))
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for i, (name, colour) in enumerate([("hare", "tab:blue"), ("lynx", "tab:orange")]):
        axes.plot(time, curve.observations[:, i], color=colour, label=f"{name}, model")
        axes.fill_between(time, curve.low[:, i], curve.high[:, i], color=colour, alpha=0.25, linewidth=0.0)
        axes.plot(pelts.years, pelts.counts[:, i], "o", color=colour, label=f"{name}, pelts")
    axes.set(xlabel="year", ylabel="thousands", xticks=pelts.years[::5])
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> adj.FitResult:
    """Fit, print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Fit the Lotka-Volterra model to the lynx and hare pelts of 1900-1920.")
    parser.add_argument("--steps-per-year", type=int, default=100)
    parser.add_argument("--output", default="lynx_hare.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    pelts = read()
    result = fit(pelts, args.steps_per_year)
    print(report(result))
    if args.output:
        picture(pelts, result, args.steps_per_year, args.output)
        print(f"picture saved as {args.output}")
    return result


if __name__ == "__main__":
    main()
