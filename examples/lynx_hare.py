"""The lynx and the hare: the predator-prey model of Lotka and Volterra fitted to twenty-one years of pelts.

    hare' = (alpha - beta lynx) hare,        lynx' = (delta hare - gamma) lynx,

integrated by the classical Runge-Kutta method, a hundred steps a year. Four rates and both initial populations are fitted to
the logarithms of the counts by L-BFGS-B with the exact gradient of all two thousand steps. The rates are printed beside the
posterior means of a Bayesian fit of the same model to the same data: B. Carpenter, "Predator-Prey Population Dynamics: the
Lotka-Volterra model in Stan", Stan case studies, 2018.

    python examples/lynx_hare.py [--steps-per-year 100] [--output lynx_hare.png]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

import adjointsim as adj

DATA = Path(__file__).parent / "data" / "lynx_hare.csv"

# Carpenter's estimate of the scatter of the logarithms, about the same for both species. One value for both does not move the
# optimum; it sets the unit of the misfit.
SIGMA = 0.25


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


@dataclass(frozen=True)
class Fit:
    """The optimum, its misfit (half the sum of squared residuals in units of sigma) and what it took to find it."""

    rates: Rates
    initial: Populations
    misfit: float
    gradient_norm: float
    evaluations: int
    steps_per_year: int


def read(path=DATA) -> Pelts:
    """Read the table of pelts; its columns are year, lynx, hare."""
    table = np.genfromtxt(path, delimiter=",", skip_header=2, names=True)
    return Pelts(table["year"].astype(int), np.column_stack([table["hare"], table["lynx"]]))


def likelihood(pelts: Pelts, steps_per_year: int) -> adj.Simulation:
    """The simulation whose value is the negative logarithm of the likelihood, up to a constant."""
    log_counts = np.log(pelts.counts)

    def misfit(k, observation, p):
        total = 0.0
        for i in range(2):
            residual = (math.log(observation[i]) - log_counts[k, i]) / SIGMA
            total += 0.5 * residual * residual
        return total

    observed = (pelts.years - pelts.years[0]) * steps_per_year
    return adj.Simulation(
        rk4_step(1.0 / steps_per_year), int(observed[-1]), observe=counts, observe_at=observed.tolist(), misfit=misfit
    )


def fit(pelts: Pelts, steps_per_year: int = 100, start: Rates = START) -> Fit:
    """Minimise the misfit over the logarithms of all six numbers; the populations start at the first counts."""
    model = likelihood(pelts, steps_per_year)
    evaluations = 0

    def unpack(z):
        x = [float(v) for v in np.exp(z)]
        return Populations(*x[:2]), Rates(*x[2:])

    def objective(z):
        nonlocal evaluations
        evaluations += 1
        y0, p = unpack(z)
        value, grad = model.value_and_grad(y0, p)
        return value, np.array([*grad.y0, *grad.p]) * np.exp(z)  # d/d log x = x d/dx

    z0 = np.log([*pelts.counts[0], *start])
    # A factor of four either way keeps the line search away from populations that overflow.
    bounds = [(z - math.log(4.0), z + math.log(4.0)) for z in z0]
    best = minimize(objective, z0, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-6})
    initial, rates = unpack(best.x)
    return Fit(rates, initial, float(best.fun), float(np.abs(best.jac).max()), evaluations, steps_per_year)


def report(result: Fit) -> str:
    """The table that :func:`main` prints."""
    lines = [f"{'':8}{'fitted':>10}{'published':>12}{'sd':>9}"]
    for name, value in result.rates._asdict().items():
        mean, sd = PUBLISHED[name]
        lines.append(f"{name:8}{value:10.4f}{mean:12.3f}{sd:9.4f}")
    lines += [f"{name + '(0)':8}{value:10.4f}" for name, value in result.initial._asdict().items()]
    lines.append(
        f"misfit {result.misfit:.6f}, largest gradient component {result.gradient_norm:.1e}, "
        f"{result.evaluations} gradients, {result.steps_per_year} steps a year"
    )
    return "\n".join(lines)


def picture(pelts: Pelts, result: Fit, path) -> None:
    """Draw the counts and the fitted trajectory."""
    import matplotlib  # here, so that a fit without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n_steps = int(pelts.years[-1] - pelts.years[0]) * result.steps_per_year
    every = adj.Simulation(
        rk4_step(1.0 / result.steps_per_year), n_steps, observe=counts, observe_at=list(range(n_steps + 1))
    )
    curve = every.run(result.initial, result.rates).observations
    time = pelts.years[0] + np.arange(n_steps + 1) / result.steps_per_year
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for i, (name, colour) in enumerate([("hare", "tab:blue"), ("lynx", "tab:orange")]):
        axes.plot(time, curve[:, i], color=colour, label=f"{name}, model")
        axes.plot(pelts.years, pelts.counts[:, i], "o", color=colour, label=f"{name}, pelts")
    axes.set(xlabel="year", ylabel="thousands", xticks=pelts.years[::5])
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> Fit:
    """Fit, print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Fit the Lotka-Volterra model to the lynx and hare pelts of 1900-1920.")
    parser.add_argument("--steps-per-year", type=int, default=100)
    parser.add_argument("--output", default="lynx_hare.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    pelts = read()
    result = fit(pelts, args.steps_per_year)
    print(report(result))
    if args.output:
        picture(pelts, result, args.output)
        print(f"picture saved as {args.output}")
    return result


if __name__ == "__main__":
    main()
