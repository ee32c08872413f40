"""Influenza in a boarding school: how infectious it was, from the boys in bed on fourteen days.

Of 763 boys S can catch it, I have it and pass it on, R have had it (W. Kermack and A. McKendrick, 1927):

    S' = -beta S I / N,        I' = beta S I / N - gamma I,        R' = gamma I.

The boys in bed are taken to be I.  beta, gamma and I(0) are fitted by SciPy's ``least_squares`` with the exact Jacobian of the
integration, in which the initial state is a function of the parameters; R0 = beta / gamma is how many boys the first one infects.

    python examples/flu.py [--rtol 1e-8] [--output flu.png]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

import adjointsim as adj

DATA = Path(__file__).parent / "data" / "boarding_school_flu.csv"
BOYS = 763.0


class Boys(NamedTuple):
    """Susceptible, infected, recovered."""

    s: float
    i: float
    r: float


class Flu(NamedTuple):
    """Logarithms of beta and gamma, per day, and of the number of boys infected at the beginning."""

    log_beta: float
    log_gamma: float
    log_i0: float


START = Flu(math.log(2.0), math.log(0.5), math.log(3.0))


def spread(t, y, p):
    """The right-hand side."""
    caught = np.exp(p.log_beta) * y.s * y.i / BOYS
    recovered = np.exp(p.log_gamma) * y.i
    return Boys(-caught, caught - recovered, recovered)


def outbreak(p):
    """The initial state."""
    infected = np.exp(p.log_i0)
    return Boys(BOYS - infected, infected, 0.0)


def in_bed(t, y, p):
    """What is counted."""
    return y.i


@dataclass(frozen=True)
class Fit:
    """The optimum, standard errors (of logarithms, and of that of R0), the sum of squared residuals, Jacobians needed."""

    flu: Flu
    errors: Flu
    log_r0_error: float
    rss: float
    jacobians: int

    @property
    def r0(self) -> float:
        """The basic reproduction number."""
        return math.exp(self.flu.log_beta - self.flu.log_gamma)


def read(path=DATA) -> tuple[np.ndarray, np.ndarray]:
    """Days, and the boys in bed."""
    table = np.genfromtxt(path, delimiter=",", skip_header=2, names=True)
    return table["day"], table["in_bed"]


def model(days: np.ndarray, rtol: float = 1e-8) -> adj.ODE:
    """The epidemic, observed on ``days``."""
    return adj.ODE(spread, days, t0=0.0, observe=in_bed, rtol=rtol, atol=1e-3 * rtol)


def fit(days: np.ndarray, counts: np.ndarray, rtol: float = 1e-8, start: Flu = START) -> Fit:
    """Least squares."""
    ode = model(days, rtol)

    def residuals(z):
        return ode.run(outbreak, Flu(*z.tolist())).observations - counts

    def jacobian(z):
        return np.column_stack(ode.jacobian(outbreak, Flu(*z.tolist()), "p"))

    best = least_squares(residuals, start, jacobian, method="lm", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    rss = 2.0 * float(best.cost)
    covariance = np.linalg.inv(best.jac.T @ best.jac) * rss / (len(days) - len(start))
    r0 = np.array([1.0, -1.0, 0.0])  # d log R0
    errors = Flu(*np.sqrt(np.diag(covariance)).tolist())
    return Fit(Flu(*best.x.tolist()), errors, math.sqrt(r0 @ covariance @ r0), rss, int(best.njev))


def report(found: Fit) -> str:
    """The table that :func:`main` prints."""
    lines = [f"{'':6}{'fitted':>10}{'+- %':>8}"]
    for name, value, error in zip(("beta", "gamma", "I(0)"), found.flu, found.errors, strict=True):
        lines.append(f"{name:6}{math.exp(value):10.4f}{100.0 * error:8.1f}")
    lines.append(f"{'R0':6}{found.r0:10.4f}{100.0 * found.log_r0_error:8.1f}")
    days = math.exp(-found.flu.log_gamma)
    lines.append(f"{days:.2f} days in bed; sum of squares {found.rss:.2f}, {found.jacobians} Jacobians")
    return "\n".join(lines)


def picture(days: np.ndarray, counts: np.ndarray, found: Fit, path) -> None:
    """Draw the boys in bed and the fitted curve."""
    import matplotlib  # here, so that a fit without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    times = np.linspace(0.0, days[-1], 201)
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(times, model(times).run(outbreak, found.flu).observations, label=f"model, R0 = {found.r0:.2f}")
    axes.plot(days, counts, "o", label="in bed")
    axes.set(xlabel="days from 22 January 1978", ylabel="boys")
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> Fit:
    """Fit, print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Fit a model of an epidemic to the influenza in an English boarding school.")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--output", default="flu.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    days, counts = read()
    found = fit(days, counts, args.rtol)
    print(report(found))
    if args.output:
        picture(days, counts, found, args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
