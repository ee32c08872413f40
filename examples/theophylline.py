"""Theophylline: how fast a drug is absorbed and eliminated, from the blood of one patient.

The dose lies in the gut and is absorbed at the rate ka; the blood, which it mixes with in the volume V, loses it at the rate ke:

    gut' = -ka gut,        blood' = ka gut - ke blood,        concentration = blood / V,

with gut(0) = dose per kilogram times weight and blood(0) = 0.  The logarithms of the three constants are fitted to eleven
concentrations by SciPy's ``least_squares`` with the exact Jacobian of the integration, and the same is done with the solution in
closed form (H. Bateman, 1910), V concentration = dose ka / (ka - ke) (exp(-ke t) - exp(-ka t)).

    python examples/theophylline.py [--subject 1] [--rtol 1e-8] [--output theophylline.png]
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

DATA = Path(__file__).parent / "data" / "theophylline.csv"


class Amounts(NamedTuple):
    """Milligrams."""

    gut: float
    blood: float


class Kinetics(NamedTuple):
    """Rates per hour, the volume of distribution in litres."""

    ka: float
    ke: float
    volume: float


START = Kinetics(ka=1.0, ke=0.1, volume=30.0)


def kinetics(t, y, p):
    """The right-hand side."""
    absorbed = p.ka * y.gut
    return Amounts(-absorbed, absorbed - p.ke * y.blood)


def concentration(t, y, p):
    """What is measured, milligrams per litre."""
    return y.blood / p.volume


def bateman(t, dose: float, p: Kinetics) -> np.ndarray:
    """The concentrations in closed form."""
    return dose / p.volume * p.ka / (p.ka - p.ke) * (np.exp(-p.ke * t) - np.exp(-p.ka * t))


@dataclass(frozen=True)
class Subject:
    """Hours after the dose (milligrams), and the concentrations then."""

    times: np.ndarray
    concentrations: np.ndarray
    dose: float


@dataclass(frozen=True)
class Fit:
    """The optimum, standard errors of its logarithms, the sum of squared residuals, and Jacobians needed."""

    kinetics: Kinetics
    errors: Kinetics
    rss: float
    jacobians: int


def read(subject: int = 1, path=DATA) -> Subject:
    """One of the twelve subjects; the columns are subject, weight, dose, time, conc."""
    table = np.genfromtxt(path, delimiter=",", skip_header=2, names=True)
    own = table[table["subject"] == subject]
    if not len(own):
        raise ValueError(f"there is no subject {subject} in {path}")
    return Subject(own["time"], own["conc"], float(own["dose"][0] * own["weight"][0]))


def model(times: np.ndarray, rtol: float = 1e-8) -> adj.ODE:
    """The kinetics from the dose on, observed at ``times``."""
    return adj.ODE(kinetics, times, t0=0.0, observe=concentration, rtol=rtol, atol=rtol)


def fit(data: Subject, rtol: float = 1e-8, start: Kinetics = START) -> Fit:
    """Least squares over the logarithms."""
    ode, y0 = model(data.times, rtol), Amounts(data.dose, 0.0)

    def residuals(z):
        return ode.run(y0, Kinetics(*map(math.exp, z))).observations - data.concentrations

    def jacobian(z):
        columns = ode.jacobian(y0, Kinetics(*map(math.exp, z)), "p")  # one array for each of ka, ke, volume
        return np.column_stack(columns) * np.exp(z)  # d / d log x = x d / dx

    best = least_squares(residuals, np.log(start), jacobian, method="lm", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return _fit(best, len(data.times))


def fit_closed(data: Subject, start: Kinetics = START) -> Fit:
    """The same with the closed form and differences."""

    def residuals(z):
        return bateman(data.times, data.dose, Kinetics(*np.exp(z))) - data.concentrations

    best = least_squares(residuals, np.log(start), "3-point", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return _fit(best, len(data.times))


def _fit(best, count: int) -> Fit:
    """What SciPy found; the covariance is that of the linearised problem."""
    rss = 2.0 * float(best.cost)
    covariance = np.linalg.inv(best.jac.T @ best.jac) * rss / (count - 3)
    errors = Kinetics(*np.sqrt(np.diag(covariance)).tolist())
    return Fit(Kinetics(*np.exp(best.x).tolist()), errors, rss, int(best.njev or 0))


def report(found: Fit, closed: Fit) -> str:
    """The table that :func:`main` prints."""
    lines = [f"{'':8}{'fitted':>12}{'+- %':>8}{'closed form':>14}"]
    for name in Kinetics._fields:
        value, error = getattr(found.kinetics, name), 100.0 * getattr(found.errors, name)
        lines.append(f"{name:8}{value:12.6f}{error:8.1f}{getattr(closed.kinetics, name):14.6f}")
    half = math.log(2.0) / found.kinetics.ke
    lines.append(f"half-life {half:.2f} h; sum of squares {found.rss:.6f} and {closed.rss:.6f}; {found.jacobians} Jacobians")
    return "\n".join(lines)


def picture(data: Subject, found: Fit, path) -> None:
    """Draw the measurements and the fitted curve."""
    import matplotlib  # here, so that a fit without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    times = np.linspace(0.0, data.times[-1], 201)
    curve = model(times).run(Amounts(data.dose, 0.0), found.kinetics).observations
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(times, curve, label="model")
    axes.plot(data.times, data.concentrations, "o", label="measured")
    axes.set(xlabel="hours after the dose", ylabel="theophylline, mg/L")
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> Fit:
    """Fit, print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Fit one-compartment kinetics to the theophylline in a patient's blood.")
    parser.add_argument("--subject", type=int, default=1, choices=range(1, 13))
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--output", default="theophylline.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    data = read(args.subject)
    found = fit(data, args.rtol)
    print(report(found, fit_closed(data)))
    if args.output:
        picture(data, found, args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
