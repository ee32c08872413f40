"""A bouncing ball: what its height at the end owes to the restitution, to gravity and to the height from which it fell.

    x' = v,  v' = -g,  and v becomes -e v where x = 0

The times of the bounces depend on all three, so derivatives must go through them: ``adj.Event`` finds the times to rounding and
differentiates them.  The solution is known, parabola by parabola, and so are its derivatives, which are printed beside.  A last
column has what comes out if the times are taken for constants (``adj.Jump`` at the same times): it is not even near.

    python examples/bouncing_ball.py [--time 5.0] [--restitution 0.8] [--gravity 9.81] [--height 2.0] [--output bouncing_ball.png]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import adjointsim as adj


class Ball(NamedTuple):
    """The factor of a bounce, gravity, the height at the beginning."""

    restitution: float
    gravity: float
    height: float


def fall(t, y, p):
    """The right-hand side of y = (height, velocity)."""
    return y[1], -p.gravity


def ground(t, y, p):
    """0 where the ball touches."""
    return y[0]


def bounce(t, y, p):
    """The state after it."""
    return np.array([0.0, -p.restitution * y[1]])


def at_rest(p):
    """The initial state."""
    return np.array([p.height, 0.0])


def height(y, p):
    """The value."""
    return y[0]


def bouncing(times) -> adj.ODE:
    """The ball from t = 0, observed at ``times``."""
    return adj.ODE(fall, times, t0=0.0, terminal=height, events=adj.Event(ground, bounce, direction=-1))


def held(times, bounces) -> adj.ODE:
    """The same with given times of the ``bounces``."""
    return adj.ODE(fall, times, t0=0.0, terminal=height, jumps=adj.Jump(bounces, bounce))


def analytic(end: float, p: Ball) -> tuple[float, Ball, np.ndarray]:
    """The height at ``end``, its derivatives, and the times of the bounces.

    The n-th bounce is at s (1 + 2 e + ... + 2 e^(n - 1)), s = sqrt(2 h / g), and the ball leaves it with e^n g s.
    """
    e, g, h = p
    s, bounces, count, count_e = np.sqrt(2.0 * h / g), [], 1.0, 0.0
    while s * count <= end:
        bounces.append(s * count)
        n = len(bounces)
        count, count_e = count + 2.0 * e**n, count_e + 2.0 * n * e ** (n - 1)
    n = len(bounces)
    if n == 0:
        return h - 0.5 * g * end**2, Ball(0.0, -0.5 * end**2, 1.0), np.array([])
    last, last_e = count - 2.0 * e**n, count_e - 2.0 * n * e ** (n - 1)  # that of the n-th
    since, speed = end - s * last, e**n * g * s
    rate = speed - g * since  # of the height at the end
    by_s = e**n * g * since - rate * last
    by_e = n * e ** (n - 1) * g * s * since - rate * s * last_e
    by_g = e**n * s * since - 0.5 * since**2 - by_s * s / (2.0 * g)
    return speed * since - 0.5 * g * since**2, Ball(by_e, by_g, by_s * s / (2.0 * h)), np.array(bounces)


@dataclass(frozen=True)
class Found:
    """The height at the end with its derivatives: ours, the analytic ones, and ours with the times of ``bounces`` held."""

    value: float
    derivatives: Ball
    exact_value: float
    exact: Ball
    held: Ball
    bounces: np.ndarray
    exact_bounces: np.ndarray


def derivatives(end: float, p: Ball) -> Found:
    """All of them."""
    ode = bouncing([end])
    bounces = ode.run(at_rest, p).events[0]
    value, grad = ode.value_and_grad(at_rest, p)
    _, without = held([end], bounces).value_and_grad(at_rest, p)
    exact_value, exact, exact_bounces = analytic(end, p)
    return Found(value, grad.p, exact_value, exact, without.p, bounces, exact_bounces)


def report(found: Found) -> str:
    """The table that :func:`main` prints."""
    lines = [f"{len(found.bounces)} bounces, the last at t = {found.bounces[-1]:.6f}" if len(found.bounces) else "no bounce"]
    lines.append(f"{'':24}{'adjoint':>20}{'analytic':>20}{'times held':>14}")
    lines.append(f"{'height at the end':24}{found.value:20.14f}{found.exact_value:20.14f}")
    for name, ours, exact, without in zip(Ball._fields, found.derivatives, found.exact, found.held, strict=True):
        lines.append(f"{'  d / d ' + name:24}{ours:20.14f}{exact:20.14f}{without:14.6f}")
    return "\n".join(lines)


def picture(end: float, p: Ball, path) -> None:
    """Draw the height and its derivatives over time."""
    import matplotlib  # here, so that a table does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ode = bouncing(np.linspace(0.0, end, 401)[1:])
    heights, columns = ode.run(at_rest, p).observations[:, 0], ode.jacobian(at_rest, p, "p")
    figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
    axes[0].plot(ode.t_eval, heights)
    axes[0].set(ylabel="height")
    for name, size, column in zip(Ball._fields, p, columns, strict=True):
        axes[1].plot(ode.t_eval, size * column[:, 0], label=f"d / d log {name}")
    axes[1].set(xlabel="time", ylabel="derivative of the height")
    axes[1].legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> Found:
    """Print the table, save the picture."""
    parser = argparse.ArgumentParser(description="Derivatives of the height of a bouncing ball, through its bounces.")
    parser.add_argument("--time", type=float, default=5.0)
    parser.add_argument("--restitution", type=float, default=0.8)
    parser.add_argument("--gravity", type=float, default=9.81)
    parser.add_argument("--height", type=float, default=2.0)
    parser.add_argument("--output", default="bouncing_ball.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    p = Ball(args.restitution, args.gravity, args.height)
    found = derivatives(args.time, p)
    print(report(found))
    if args.output:
        picture(args.time, p, args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
