"""Reaction and diffusion on a line: the feed of every cell, from the pattern that it leaves.

The Brusselator (I. Prigogine and R. Lefever, 1968) in two fields u and v,

    u_t = a(x) - (b + 1) u + u^2 v + D_u u_xx,        v_t = b u - u^2 v + D_v v_xx,

with no flux through the ends, by central differences in cells.  The unknowns are ordered u0, v0, u1, v1, ..., so that the
Jacobian has two diagonals on either side of the main one, ``bandwidth=(2, 2)``; diffusion makes the problem stiff, and
rodas5p's steps are those of the reaction.  Two fields are given at the end, and one gradient has the derivative of the misfit
with respect to the initial state, the feed a of each cell and the three scalars.  Some of it is printed beside differences, the
scalars' per relative change, and L-BFGS recovers the feed.

    python examples/reaction_diffusion.py [--cells 200] [--time 1.0] [--iterations 40] [--output reaction_diffusion.png]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

import adjointsim as adj


class Brusselator(NamedTuple):
    """The feed of each cell, the rate b, and the diffusivities divided by the square of a cell's length."""

    feed: np.ndarray
    b: float
    d_u: float
    d_v: float


def brusselator(t, y, p):
    """The right-hand side."""
    cells = len(y) // 2
    out = np.empty_like(y)
    for i in range(cells):
        left, right = max(i - 1, 0), min(i + 1, cells - 1)  # no flux through the ends
        u, v = y[2 * i], y[2 * i + 1]
        reaction = u * u * v
        out[2 * i] = p.feed[i] - (p.b + 1.0) * u + reaction + p.d_u * (y[2 * left] - 2.0 * u + y[2 * right])
        out[2 * i + 1] = p.b * u - reaction + p.d_v * (y[2 * left + 1] - 2.0 * v + y[2 * right + 1])
    return out


@dataclass(frozen=True)
class Problem:
    """Where cells are, the initial state, the parameters to recover, and the state that they lead to at ``time``."""

    x: np.ndarray
    y0: np.ndarray
    truth: Brusselator
    time: float
    wanted: np.ndarray


@dataclass(frozen=True)
class Recovery:
    """The feeds before and after, and the value after each iteration."""

    feed: np.ndarray
    misfits: list[float]
    gradients: int


def how(rtol: float) -> dict:
    """The method."""
    return {"t0": 0.0, "method": "rodas5p", "bandwidth": (2, 2), "rtol": rtol, "atol": rtol}


def problem(cells: int = 200, end: float = 1.0, rtol: float = 1e-6) -> Problem:
    """A feed of two bumps, and the fields that it leaves."""
    x = (np.arange(cells) + 0.5) / cells
    y0 = np.empty(2 * cells)
    y0[0::2] = 1.0 + 0.5 * np.sin(2.0 * np.pi * x)
    y0[1::2] = 3.0
    feed = 1.0 + 0.4 * np.exp(-(((x - 0.3) / 0.08) ** 2)) - 0.3 * np.exp(-(((x - 0.7) / 0.1) ** 2))
    truth = Brusselator(feed, 3.0, 2e-3 * cells**2, 1e-3 * cells**2)
    return Problem(x, y0, truth, end, adj.ODE(brusselator, [end], **how(rtol)).run(y0, truth).y)


def inverse(given: Problem, rtol: float = 1e-6) -> adj.ODE:
    """The ODE whose value is the mean square of what is wrong at the end, plus a little for rough feeds."""
    wanted, cells = given.wanted, len(given.x)

    def misfit(y, p):
        rough = np.sum(np.diff(p.feed) ** 2) * cells
        return 0.5 * np.sum((y - wanted) ** 2) / cells + 1e-9 * rough

    return adj.ODE(brusselator, [given.time], terminal=misfit, **how(rtol))


def guess(given: Problem) -> Brusselator:
    """The truth with a uniform feed."""
    return given.truth._replace(feed=np.ones_like(given.x))


def compare(ode: adj.ODE, tight: adj.ODE, given: Problem) -> str:
    """A table of ``ode``'s gradient and central differences of the value of ``tight``, at the guess."""
    p, cells = guess(given), len(given.x)
    ode.value_and_grad(given.y0, p)  # compiles
    start = time.perf_counter()
    value, grad = ode.value_and_grad(given.y0, p)
    spent = time.perf_counter() - start
    units = [(f"feed[{i}]", "feed", np.eye(cells)[i]) for i in (0, cells // 3, cells - 1)]
    units += [(name, name, getattr(p, name)) for name in ("b", "d_u", "d_v")]
    lines = [
        f"value {value:.6e}, {cells * 3 + 3} derivatives in {1e3 * spent:.0f} ms",
        f"{'':10}{'gradient':>16}{'differences':>16}",
    ]
    for title, name, unit in units:
        up, down = (tight.run(given.y0, p._replace(**{name: getattr(p, name) + h * unit})).value for h in (1e-4, -1e-4))
        exact = float(np.sum(getattr(grad.p, name) * unit))
        lines.append(f"{title:10}{exact:16.8e}{(up - down) / 2e-4:16.8e}")
    return "\n".join(lines)


def recover(ode: adj.ODE, given: Problem, iterations: int = 40) -> Recovery:
    """Minimise over the feeds from the uniform one."""
    p, misfits, gradients = guess(given), [], 0

    def objective(feed):
        nonlocal gradients
        gradients += 1
        value, grad = ode.value_and_grad(given.y0, p._replace(feed=feed))  # compiled already: all of it
        return value, grad.p.feed

    misfits.append(objective(p.feed)[0])

    def note(intermediate_result):
        misfits.append(intermediate_result.fun)

    options = {"maxiter": iterations, "ftol": 1e-14, "gtol": 1e-12}
    best = minimize(objective, p.feed, jac=True, method="L-BFGS-B", callback=note, options=options)
    return Recovery(best.x, misfits, gradients)


def picture(given: Problem, found: Recovery, path) -> None:
    """Draw the fields at the end, and the feeds."""
    import matplotlib  # here, so that a recovery without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    axes[0].plot(given.x, given.wanted[0::2], label="u")
    axes[0].plot(given.x, given.wanted[1::2], label="v")
    axes[0].set(title=f"t = {given.time:g}", xlabel="x")
    axes[0].legend()
    axes[1].plot(given.x, given.truth.feed, label="true")
    axes[1].plot(given.x, found.feed, "--", label="recovered")
    axes[1].set(title="feed", xlabel="x")
    axes[1].legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> Recovery:
    """Compare, recover, save the picture."""
    parser = argparse.ArgumentParser(description="Recover the feed of a Brusselator on a line.")
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--time", type=float, default=1.0)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--output", default="reaction_diffusion.png", help="where to save the picture; '' for none")
    args = parser.parse_args(argv)
    given = problem(args.cells, args.time)
    ode = inverse(given)
    stats = ode.run(given.y0, guess(given)).stats
    print(f"{2 * args.cells} unknowns, {stats['accepted']} steps, {stats['rejected']} rejected")
    print(compare(ode, inverse(given, 1e-9), given))
    found = recover(ode, given, args.iterations)
    error = 100.0 * np.linalg.norm(found.feed - given.truth.feed) / np.linalg.norm(given.truth.feed - 1.0)
    print(f"misfit {found.misfits[0]:.3e} -> {found.misfits[-1]:.3e} in {found.gradients} gradients")
    print(f"error of the feed {error:.2g} % of the bumps")
    if args.output:
        picture(given, found, args.output)
        print(f"picture saved as {args.output}")
    return found


if __name__ == "__main__":
    main()
