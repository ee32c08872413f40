"""Robertson's reactions: what the concentrations owe to each rate constant, on time scales from 1e-4 to 1e4.

    a -> b  (k1),        b + b -> b + c  (k2),        b + c -> a + c  (k3)

(H. Robertson, 1966): one constant is 0.04, the others 1e4 and 3e7, and a method that is explicit takes steps of the fastest scale
for ever.  rodas5p takes steps of the slow one.  Printed are the derivatives of the concentrations with respect to the logarithms
of the constants, exact for the steps taken, beside central differences, which need tight tolerances; and the steps that an
explicit method takes on a short interval.

    python examples/stiff_reactions.py [--rtol 1e-8] [--short 2.0] [--output stiff_reactions.png]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import adjointsim as adj

TIMES = np.array([0.4, 40.0, 4e3, 4e4])
SCALES = np.array([1.0, 1e-5, 1.0])  # b stays small: a tolerance of its own


class Constants(NamedTuple):
    """Rate constants of Robertson's reactions."""

    k1: float
    k2: float
    k3: float


ROBERTSON = Constants(0.04, 3e7, 1e4)
PURE_A = np.array([1.0, 0.0, 0.0])


def reactions(t, y, p):
    """The right-hand side."""
    one, two, three = p.k1 * y[0], p.k2 * y[1] * y[1], p.k3 * y[1] * y[2]
    return three - one, one - two - three, two


def stiff(times=TIMES, rtol: float = 1e-8) -> adj.ODE:
    """The reactions by rodas5p, observed at ``times``."""
    return adj.ODE(reactions, times, t0=0.0, method="rodas5p", rtol=rtol, atol=1e-2 * rtol * SCALES)


@dataclass(frozen=True)
class Sensitivities:
    """At each time the three concentrations, (m, 3), and their derivatives by the logarithm of each constant, (m, 3, 3).

    ``differences`` are the same by central differences; ``steps`` were taken.
    """

    concentrations: np.ndarray
    exact: np.ndarray
    differences: np.ndarray
    steps: int


def sensitivities(ode: adj.ODE, change: float = 1e-4) -> Sensitivities:
    """The derivatives, and what differences make of them with constants that are multiplied by 1 +- ``change``."""
    solution = ode.run(PURE_A, ROBERTSON)
    by_constant = ode.jacobian(PURE_A, ROBERTSON, "p")  # (m, 3) for each constant
    exact = np.stack([k * d for k, d in zip(ROBERTSON, by_constant, strict=True)], axis=2)
    columns = []
    for name, k in ROBERTSON._asdict().items():
        up, down = (ode.run(PURE_A, ROBERTSON._replace(**{name: k * (1.0 + s * change)})).observations for s in (1.0, -1.0))
        columns.append((up - down) / (2.0 * change))
    return Sensitivities(solution.observations, exact, np.stack(columns, axis=2), solution.stats["accepted"])


def steps_on_a_short_interval(end: float, rtol: float = 1e-6) -> tuple[int, int]:
    """The steps, with those rejected, of rodas5p and of the explicit tsit5 from 0 to ``end``."""
    explicit = adj.ODE(reactions, [end], t0=0.0, method="tsit5", rtol=rtol, atol=1e-2 * rtol * SCALES)
    one, other = (ode.run(PURE_A, ROBERTSON).stats for ode in (stiff([end], rtol), explicit))
    return one["accepted"] + one["rejected"], other["accepted"] + other["rejected"]


def report(found: Sensitivities, times=TIMES) -> str:
    """The table that :func:`main` prints: the derivatives, and the differences below them."""
    lines = [f"{'time':>8}{'':>14}{'concentration':>15}" + "".join(f"{'d/d log ' + k:>15}" for k in ROBERTSON._fields)]
    for t, y, exact, differences in zip(times, found.concentrations, found.exact, found.differences, strict=True):
        for i, name in enumerate("abc"):
            lines.append(f"{t if i == 0 else '':>8}{name:>14}{y[i]:15.6e}" + "".join(f"{d:15.6e}" for d in exact[i]))
            lines.append(f"{'differences':>22}{'':15}" + "".join(f"{d:15.6e}" for d in differences[i]))
    lines.append(f"{found.steps} steps of rodas5p to t = {times[-1]:g}")
    return "\n".join(lines)


def picture(ode: adj.ODE, path) -> None:
    """Draw the sensitivities over time."""
    import matplotlib  # here, so that a table does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    by_constant = ode.jacobian(PURE_A, ROBERTSON, "p")
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for i, (name, ax) in enumerate(zip("abc", axes, strict=True)):
        for key, k, d in zip(ROBERTSON._fields, ROBERTSON, by_constant, strict=True):
            ax.semilogx(ode.t_eval, k * d[:, i], label=f"d/d log {key}")
        ax.set(title=name, xlabel="time")
    axes[0].legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> Sensitivities:
    """Print the tables, save the picture."""
    parser = argparse.ArgumentParser(description="Sensitivities of Robertson's reactions to their rate constants.")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--short", type=float, default=2.0, help="the end of the interval on which an explicit method is tried")
    parser.add_argument("--output", default="stiff_reactions.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    found = sensitivities(stiff(rtol=args.rtol))
    print(report(found))
    implicit, explicit = steps_on_a_short_interval(args.short)
    print(f"to t = {args.short:g}: {implicit} steps of rodas5p, {explicit} of the explicit tsit5")
    if args.output:
        picture(stiff(np.geomspace(1e-2, 1e5, 71), args.rtol), args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
