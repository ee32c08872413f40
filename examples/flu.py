"""Influenza in a boarding school: how infectious it was, from the boys in bed on fourteen days.

Of 763 boys S can catch it, I have it and pass it on, R have had it (W. Kermack and A. McKendrick, 1927):

    S' = -beta S I / N,        I' = beta S I / N - gamma I,        R' = gamma I.

The boys in bed are taken to be I.  R0 = beta / gamma, how many boys the first one infects, gamma and I(0) are fitted by
``adj.fit`` with the exact Jacobian of the integration, in which the initial state is a function of the parameters.  The interval
of R0 is given by its standard error, and by the profile of the sum of squares.

    python examples/flu.py [--rtol 1e-8] [--output flu.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

import adjointsim as adj

DATA = Path(__file__).parent / "data" / "boarding_school_flu.csv"
BOYS = 763.0


class Boys(NamedTuple):
    """Susceptible, infected, recovered."""

    s: float
    i: float
    r: float


class Flu(NamedTuple):
    """The basic reproduction number, recoveries a day, and the boys infected at the beginning."""

    r0: float
    gamma: float
    i0: float


START = Flu(r0=4.0, gamma=0.5, i0=3.0)


def spread(t, y, p):
    """The right-hand side."""
    caught = p.r0 * p.gamma * y.s * y.i / BOYS
    recovered = p.gamma * y.i
    return Boys(-caught, caught - recovered, recovered)


def outbreak(p):
    """The initial state."""
    return Boys(BOYS - p.i0, p.i0, 0.0)


def in_bed(t, y, p):
    """What is counted."""
    return y.i


def read(path=DATA) -> tuple[np.ndarray, np.ndarray]:
    """Days, and the boys in bed."""
    table = np.genfromtxt(path, delimiter=",", skip_header=2, names=True)
    return table["day"], table["in_bed"]


def model(days: np.ndarray, rtol: float = 1e-8) -> adj.ODE:
    """The epidemic, observed on ``days``."""
    return adj.ODE(spread, days, t0=0.0, observe=in_bed, rtol=rtol, atol=1e-3 * rtol)


def fit(days: np.ndarray, counts: np.ndarray, rtol: float = 1e-8, start: Flu = START) -> adj.FitResult:
    """Least squares, of logarithms of the three unknowns."""
    return adj.fit(model(days, rtol), counts, start, y0=outbreak, transform="log")


def report(found: adj.FitResult) -> str:
    """The table that :func:`main` prints."""
    flu, errors = found.params, found.stderr
    lines = [f"{'':6}{'fitted':>10}{'+- %':>8}"]
    for name, value, error in zip(("R0", "gamma", "I(0)"), flu, errors, strict=True):
        lines.append(f"{name:6}{value:10.4f}{100.0 * error / value:8.1f}")
    low, high = found.confidence(0.95)["r0"]
    least, most = found.profile("r0", 0.95, points=5).interval
    lines.append(f"R0 is in {low:.3f} .. {high:.3f} (95 %), by the profile in {least:.3f} .. {most:.3f}")
    lines.append(f"beta {flu.r0 * flu.gamma:.4f}; {1.0 / flu.gamma:.2f} days in bed; sum of squares {found.rss:.2f}")
    return "\n".join(lines)


def picture(found: adj.FitResult, path) -> None:
    """Draw the boys in bed, the fitted curve and its band."""
    import matplotlib  # here, so that a fit without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    found.plot(model(np.linspace(0.0, 13.0, 201)), ax=axes)
    axes.set(title=f"R0 = {found.params.r0:.2f}", xlabel="days from 22 January 1978", ylabel="boys in bed")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> adj.FitResult:
    """Fit, print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Fit a model of an epidemic to the influenza in an English boarding school.")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--output", default="flu.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    days, counts = read()
    found = fit(days, counts, args.rtol)
    print(report(found))
    if args.output:
        picture(found, args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
