"""Optimal control: swing up a pendulum whose motor is too weak to lift it.

    angle'' = -gravity sin(angle) - friction angle' + torque,        torque = limit tanh(command / limit)

With limit < gravity it can only be swung up to and fro. It hangs at rest, and is to stand upright at rest after ``n_steps``
steps, with the least effort: the sum of squared commands, one for each step, which are the unknowns. That is a problem of least
squares, and ``adj.fit`` solves it: what is "measured" at the end is the goal, with a small standard deviation, and "known from
elsewhere" is that commands are 0 (``priors=``). The Jacobian goes back from two observations to all commands in one recomputation
of the steps. "Optimality" in the table is the largest derivative of the cost, which is some hundreds, by a command.

    python examples/pendulum.py [--steps 120] [--limit 3.0] [--output pendulum.png]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import adjointsim as adj

DT = 0.05
STRONG = 30.0  # torque
SIGMA = 1e-2  # of the angle and the rate at the end: what a deviation there weighs beside commands


class Pendulum(NamedTuple):
    """Angle from hanging down, radians, and its rate."""

    angle: float
    rate: float


class Motor(NamedTuple):
    """Commands, (n_steps, 1): one for each step and motor; the most torque that comes of them; gravity over length, friction."""

    command: np.ndarray
    limit: float
    gravity: float
    friction: float


HANGING = Pendulum(0.0, 0.0)
UPRIGHT = Pendulum(math.pi, 0.0)


def motion(y, torque, p):
    """The right-hand side."""
    return Pendulum(y.rate, torque - p.gravity * np.sin(y.angle) - p.friction * y.rate)


def moved(y, dy, h):
    """The point at distance ``h`` along ``dy``."""
    return Pendulum(y.angle + h * dy.angle, y.rate + h * dy.rate)


@adj.step
def swing(n, y, p):
    """One step of the classical Runge-Kutta method; the torque is the same throughout a step."""
    torque = p.limit * np.tanh(p.command[n, 0] / p.limit)
    k1 = motion(y, torque, p)
    k2 = motion(moved(y, k1, 0.5 * DT), torque, p)
    k3 = motion(moved(y, k2, 0.5 * DT), torque, p)
    k4 = motion(moved(y, k3, DT), torque, p)
    return Pendulum(
        y.angle + DT / 6.0 * (k1.angle + 2.0 * k2.angle + 2.0 * k3.angle + k4.angle),
        y.rate + DT / 6.0 * (k1.rate + 2.0 * k2.rate + 2.0 * k3.rate + k4.rate),
    )


def itself(n, y, p):
    """What is observed."""
    return y


def model(n_steps: int, every: int | None = None) -> adj.Simulation:
    """The pendulum, observed at the end, or every so many steps."""
    return adj.Simulation(swing, n_steps, observe=itself, observe_at=range(0, n_steps + 1, every) if every else [n_steps])


def start(n_steps: int, limit: float, gravity: float = 9.81, friction: float = 0.1) -> Motor:
    """A motor that pushes a little, to and fro as small swings are."""
    time = DT * np.arange(n_steps)
    return Motor(0.5 * np.cos(math.sqrt(gravity) * time)[:, None], limit, gravity, friction)


def control(motor: Motor, goal: Pendulum = UPRIGHT) -> adj.FitResult:
    """The commands of least effort that bring the pendulum there.

    The search itself may end early (``ftol``): the steps that follow find all digits.
    """
    at_the_end = Pendulum(*(np.array([x]) for x in goal))
    return adj.fit(
        model(len(motor.command)), at_the_end, motor, y0=HANGING, sigma=SIGMA, wrt="command", priors={"command": (0.0, 1.0)},
        ftol=1e-7,
    )  # fmt: skip


@dataclass(frozen=True)
class Swing:
    """An optimal control and where it leads: torques (n_steps,), and ``states`` after each step, (n_steps + 1, 2)."""

    found: adj.FitResult
    torques: np.ndarray
    states: np.ndarray

    @property
    def effort(self) -> float:
        """The integral of the squared command."""
        return DT * float(np.sum(self.found.params.command**2))


def swing_up(n_steps: int = 120, limit: float = 3.0) -> Swing:
    """The optimal control, and the states on the way."""
    found = control(start(n_steps, limit))
    seen = model(n_steps, every=1).run(HANGING, found.params).observations
    return Swing(found, limit * np.tanh(found.params.command[:, 0] / limit), np.column_stack(seen))


def report(swings: dict[str, Swing]) -> str:
    """The table that :func:`main` prints."""
    head = "".join(f"{name:>12}" for name in ("effort", "torque", "angle - pi", "rate", "optimality", "Jacobians"))
    lines = [f"{'':14}{head}"]
    for name, own in swings.items():
        angle, rate = own.states[-1] - UPRIGHT
        lines.append(
            f"{name:14}{own.effort:12.4f}{np.abs(own.torques).max():12.4f}{angle:12.2e}{rate:12.2e}"
            f"{own.found.optimality:12.1e}{own.found.njev:12}"
        )
    return "\n".join(lines)


def picture(swings: dict[str, Swing], path) -> None:
    """Draw angles and torques."""
    import matplotlib  # here, so that a control without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
    for name, own in swings.items():
        time = DT * np.arange(len(own.states))
        axes[0].plot(time, own.states[:, 0] / math.pi, label=name)
        axes[1].stairs(own.torques, time, baseline=None)
    axes[0].set(ylabel="angle / pi", yticks=[-1.0, 0.0, 1.0])
    axes[0].legend()
    axes[1].set(ylabel="torque", xlabel="time")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> dict[str, Swing]:
    """Swing up with a strong and a weak motor, print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Swing up a pendulum with the least effort.")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--limit", type=float, default=3.0, help="of the weak motor's torque; gravity is 9.81")
    parser.add_argument("--output", default="pendulum.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    swings = {"strong motor": swing_up(args.steps, STRONG), "weak motor": swing_up(args.steps, args.limit)}
    print(report(swings))
    if args.output:
        picture(swings, args.output)
        print(f"picture saved as {args.output}")
    return swings


if __name__ == "__main__":
    main()
