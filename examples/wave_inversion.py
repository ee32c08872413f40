"""A wave inversion: recover the velocity inside a disc from the traces that receivers around it record.

The acoustic wave equation u_tt = c^2 (u_xx + u_yy) + source on a square grid, second order in space and time, with a sponge
at the edges. Sources on a circle fire one after the other while receivers between them record; the waves of one shot have
left the grid before the next. From the traces of a medium with two hidden inclusions, ``adj.fit`` recovers c^2 in every cell
inside the circle by L-BFGS, starting from the uniform background. The gradient goes back through all the time steps of all
the shots at once; only ``checkpoints`` of the states are kept. The traces are synthetic and free of noise, computed by the same
scheme.

    python examples/wave_inversion.py [--cells 64] [--shots 8] [--iterations 30] [--output wave_inversion.png]
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import adjointsim as adj

COURANT = 0.4  # background velocity times dt / dx
WAVELENGTH = 9.0  # of the source, in cells
SPONGE = 8  # width of the absorbing edge, in cells
EVERY = 3  # steps between two samples of a trace


class Wave(NamedTuple):
    """The field at this time step and at the one before."""

    now: np.ndarray
    before: np.ndarray


@dataclass(frozen=True)
class Survey:
    """Where the sources and receivers are (rows of grid indices), what a source emits, and the absorbing edge."""

    sources: np.ndarray
    receivers: np.ndarray
    wavelet: np.ndarray  # one shot; its length is the number of steps from one shot to the next
    sponge: np.ndarray
    inside: np.ndarray  # the cells to recover

    @property
    def n_steps(self) -> int:
        return len(self.sources) * len(self.wavelet)

    @property
    def rest(self) -> Wave:
        """The medium before the first shot."""
        return Wave(np.zeros_like(self.sponge), np.zeros_like(self.sponge))


def survey(cells: int = 64, shots: int = 8) -> Survey:
    """Sources and four times as many receivers on a circle as large as the sponge leaves room for."""
    centre, radius = (cells - 1) / 2.0, cells / 2.0 - SPONGE - 1.0
    x, y = np.meshgrid(np.arange(cells) - centre, np.arange(cells) - centre, indexing="ij")
    depth = np.clip(SPONGE - (centre - np.maximum(abs(x), abs(y))), 0.0, None) / SPONGE

    def circle(count, offset):
        angle = 2.0 * np.pi * (np.arange(count) + offset) / count
        return np.rint(centre + radius * np.column_stack([np.cos(angle), np.sin(angle)])).astype(np.int64)

    # A Ricker wavelet of the wanted wavelength, then the time the waves need to cross the grid and fade.
    distance = COURANT * np.arange(round((2.0 * cells + 3.0 * WAVELENGTH) / COURANT))
    phase = np.pi * (distance / WAVELENGTH - 1.2)
    wavelet = (1.0 - 2.0 * phase**2) * np.exp(-(phase**2))
    return Survey(circle(shots, 0.0), circle(4 * shots, 0.5), wavelet, 0.25 * depth**2, x**2 + y**2 < (radius - 3.0) ** 2)


def hidden_medium(cells: int) -> np.ndarray:
    """c^2 of the medium to recover: one fast and one slow inclusion."""
    x, y = np.meshgrid(np.linspace(-1.0, 1.0, cells), np.linspace(-1.0, 1.0, cells), indexing="ij")
    fast = np.exp(-((x - 0.15) ** 2 + (y + 0.12) ** 2) / 0.012)
    slow = np.exp(-((x + 0.15) ** 2 + (y - 0.15) ** 2) / 0.016)
    return 1.0 + 0.30 * fast - 0.20 * slow


def wave_step(where: Survey):
    """One time step; the edge stays at rest."""
    sources, wavelet, sponge = where.sources, where.wavelet, where.sponge
    period = len(wavelet)
    ratio = COURANT**2

    @adj.step
    def wave(n, y, c2):
        u, before = y.now, y.before
        rows, columns = u.shape
        out = np.zeros_like(u)
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                laplacian = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]
                damping = sponge[i, j]
                out[i, j] = (2.0 * u[i, j] - (1.0 - damping) * before[i, j] + ratio * c2[i, j] * laplacian) / (1.0 + damping)
        shot = n // period
        out[sources[shot, 0], sources[shot, 1]] += wavelet[n % period]
        return Wave(out, u)

    return wave


def traces(where: Survey):
    """What the receivers see."""
    receivers = where.receivers
    count = len(receivers)

    def observe(n, y, c2):
        out = np.empty(count)
        for r in range(count):
            out[r] = y.now[receivers[r, 0], receivers[r, 1]]
        return out

    return observe


def simulation(where: Survey, checkpoints=None) -> adj.Simulation:
    """The survey."""
    times = list(range(EVERY, where.n_steps + 1, EVERY))
    return adj.Simulation(wave_step(where), where.n_steps, observe=traces(where), observe_at=times, checkpoints=checkpoints)


@dataclass(frozen=True)
class Inversion:
    """What was hidden, what was found; errors are relative to the size of the hidden anomaly."""

    hidden: np.ndarray
    found: np.ndarray
    misfits: list[float]  # the first and one after each iteration
    error: float
    evaluations: int


def invert(where: Survey, hidden: np.ndarray, checkpoints=None, iterations: int = 30) -> Inversion:
    """Record the traces of ``hidden``, forget it, and recover it from them."""
    recorded = simulation(where).run(where.rest, hidden).observations
    model = simulation(where, checkpoints=checkpoints)
    background = np.ones_like(hidden)
    first = 0.5 * float(np.sum((model.run(where.rest, background).observations - recorded) ** 2))
    misfits = [first]

    def note(iteration):
        misfits.append(iteration.cost * first)
        return len(misfits) > iterations

    with warnings.catch_warnings():  # that it is ended before it converges is on purpose
        warnings.simplefilter("ignore", adj.errors.FitWarning)
        best = adj.fit(
            model, recorded, background, y0=where.rest, wrt=[f"p[{i}, {j}]" for i, j in np.argwhere(where.inside)],
            bounds=(0.5, 2.0), method="L-BFGS-B", ftol=1e-12, callback=note, covariance=False,
            sigma=math.sqrt(first),  # so that L-BFGS starts from a cost of one
        )  # fmt: skip
    error = float(np.linalg.norm(best.params - hidden) / np.linalg.norm(background - hidden))
    return Inversion(hidden, best.params, misfits, error, best.njev)


def memory_report(where: Survey, c2: np.ndarray, checkpoints: int) -> str:
    """Take one gradient, of half the sum of the squared traces, with every state stored and one with ``checkpoints``, and set the
    two side by side."""
    lines, gradients = [], []
    for title, slots in (("every state stored", None), (f"{checkpoints} checkpoints", checkpoints)):
        model = simulation(where, slots)
        for _ in range(2):  # the first compiles: the second is the one to time
            solution, pullback = model.vjp(where.rest, c2, wrt="p")
            grad = pullback(observations_bar=solution.observations)
        there, ledger = solution.ledger, grad.ledger
        steps, seconds = there.forward_steps + ledger.forward_steps, there.seconds + ledger.seconds
        gradients.append(grad.p)
        lines.append(
            f"{title:20} planned {ledger.bytes_planned / 1e6:8.1f} MB, used {ledger.bytes_peak / 1e6:8.1f} MB, "
            f"{steps / where.n_steps:.2f} forward steps per step, {seconds:.2f} s"
        )
    same = "the same bits" if np.array_equal(*gradients) else "DIFFERENT"
    return "\n".join([*lines, f"the two gradients: {same}"])


def picture(result: Inversion, where: Survey, path) -> None:
    """Draw the velocity that was hidden, the one at the start, the one found, and the misfit on the way."""
    import matplotlib  # here, so that an inversion without a picture does not need it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    contrast = np.abs(np.sqrt(result.hidden) - 1.0).max()
    panels = [("before", np.ones_like(result.hidden)), ("after", result.found), ("hidden", result.hidden)]
    for panel, (title, c2) in zip(axes[:3], panels):
        drawn = panel.imshow(np.sqrt(c2).T, origin="lower", vmin=1.0 - contrast, vmax=1.0 + contrast, cmap="RdBu_r")
        panel.plot(*where.sources.T, "k*", *where.receivers.T, "k.", markersize=4)
        panel.set(title=f"velocity, {title}", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes[:3], shrink=0.8)
    axes[3].semilogy(result.misfits)
    axes[3].set(title="misfit", xlabel="iteration")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv=None) -> Inversion:
    """Compare the memory, invert, print, save the picture."""
    parser = argparse.ArgumentParser(description="Recover a velocity anomaly from the traces of receivers around it.")
    parser.add_argument("--cells", type=int, default=64, help="cells along each edge")
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--checkpoints", type=int, default=60)
    parser.add_argument("--output", default="wave_inversion.png", help="where to save the pictures; '' for none")
    args = parser.parse_args(argv)
    began = time.perf_counter()
    where, hidden = survey(args.cells, args.shots), hidden_medium(args.cells)
    print(
        f"{args.cells} x {args.cells} cells, {args.shots} shots, {where.n_steps} time steps, "
        f"{np.count_nonzero(where.inside)} unknowns, {len(where.receivers)} receivers"
    )
    print(memory_report(where, np.ones_like(hidden), args.checkpoints))
    result = invert(where, hidden, args.checkpoints, args.iterations)
    print(
        f"misfit {result.misfits[0]:.4g} -> {result.misfits[-1]:.4g} in {len(result.misfits) - 1} iterations, "
        f"{result.evaluations} gradients; error of the anomaly 1 -> {result.error:.3f}; "
        f"fastest velocity {math.sqrt(result.found.max()):.3f} of {math.sqrt(hidden.max()):.3f}"
    )
    if args.output:
        picture(result, where, args.output)
        print(f"pictures saved as {args.output}")
    print(f"{time.perf_counter() - began:.1f} s")
    return result


if __name__ == "__main__":
    main()
