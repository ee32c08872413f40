"""Theophylline: how fast a drug is absorbed and eliminated, from the blood of one patient.

The dose lies in the gut and is absorbed at the rate ka; the blood, which it mixes with in the volume V, loses it at the rate ke:

    gut' = -ka gut,        blood' = ka gut - ke blood,        concentration = blood / V,

with gut(0) = dose per kilogram times weight and blood(0) = 0.  The three constants, by their logarithms, are fitted to eleven
concentrations by ``adj.fit`` with the exact Jacobian of the integration, and the same is done by SciPy with the solution in
closed form (H. Bateman, 1910), V concentration = dose ka / (ka - ke) (exp(-ke t) - exp(-ka t)).  Then all twelve patients are
fitted together, with constants that they share, and with constants of their own.

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


def fit(data: Subject, rtol: float = 1e-8, start: Kinetics = START) -> adj.FitResult:
    """Least squares over the logarithms."""
    return adj.fit(model(data.times, rtol), data.concentrations, start, y0=Amounts(data.dose, 0.0), transform="log")


def fit_all(local: tuple[str, ...] = (), rtol: float = 1e-8, start: Kinetics = START) -> adj.FitResult:
    """All twelve together; the constants that ``local`` names are each patient's own, the others are shared."""
    subjects = {str(k): read(k) for k in range(1, 13)}
    experiments = [
        adj.Experiment(model(data.times, rtol), data.concentrations, Amounts(data.dose, 0.0), name=name)
        for name, data in subjects.items()
    ]
    return adj.fit(experiments, start, transform="log", local=local)


def fit_closed(data: Subject, start: Kinetics = START) -> tuple[Kinetics, Kinetics, float]:
    """The constants by the closed form and differences, the standard errors of their logarithms, and the sum of squares."""

    def residuals(z):
        return bateman(data.times, data.dose, Kinetics(*np.exp(z))) - data.concentrations

    best = least_squares(residuals, np.log(start), "3-point", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    rss = 2.0 * float(best.cost)
    covariance = np.linalg.inv(best.jac.T @ best.jac) * rss / (len(data.times) - 3)
    return Kinetics(*np.exp(best.x).tolist()), Kinetics(*np.sqrt(np.diag(covariance)).tolist()), rss


def report(found: adj.FitResult, closed: tuple[Kinetics, Kinetics, float]) -> str:
    """The table of one patient."""
    lines = [f"{'':8}{'fitted':>12}{'+- %':>8}{'closed form':>14}{'+- %':>8}"]
    for name, value, error, other, width in zip(Kinetics._fields, found.params, found.stderr, *closed[:2], strict=True):
        lines.append(f"{name:8}{value:12.6f}{100.0 * error / value:8.1f}{other:14.6f}{100.0 * width:8.1f}")
    half = math.log(2.0) / found.params.ke
    lines.append(f"half-life {half:.2f} h; sum of squares {found.rss:.6f} and {closed[2]:.6f}; {found.njev} Jacobians")
    return "\n".join(lines)


def report_all(fits: dict[str, adj.FitResult]) -> str:
    """The table of all patients: which constants are each one's own, and what that explains."""
    lines = [f"{'twelve patients, own':28}{'unknowns':>9}{'sum of squares':>16}{'AIC':>9}{'BIC':>9}"]
    for name, found in fits.items():
        lines.append(f"{name:28}{len(found.names):9}{found.rss:16.4f}{found.aic:9.1f}{found.bic:9.1f}")
    own = np.array(list(fits.values())[-1].params)  # (12, 3)
    for name, column in zip(Kinetics._fields, own.T, strict=True):
        lines.append(f"{name:8} from {column.min():8.4f} to {column.max():8.4f}, median {np.median(column):8.4f}")
    return "\n".join(lines)


def picture(found: adj.FitResult, path) -> None:
    """Draw the measurements, the fitted curve and its band."""
    import matplotlib  # here, so that a fit without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    found.plot(model(np.linspace(0.0, 24.5, 201)), ax=axes)
    axes.set(xlabel="hours after the dose", ylabel="theophylline, mg/L")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> adj.FitResult:
    """Fit, print the tables, save the picture."""
    parser = argparse.ArgumentParser(description="Fit one-compartment kinetics to the theophylline in a patient's blood.")
    parser.add_argument("--subject", type=int, default=1, choices=range(1, 13))
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--output", default="theophylline.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    data = read(args.subject)
    found = fit(data, args.rtol)
    print(report(found, fit_closed(data)))
    choices = {"nothing": (), "ka": ("ka",), "ka, ke": ("ka", "ke"), "ka, ke, volume": Kinetics._fields}
    print(report_all({name: fit_all(local, args.rtol) for name, local in choices.items()}))
    if args.output:
        picture(found, args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
