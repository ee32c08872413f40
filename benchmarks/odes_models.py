"""The models of :mod:`benchmarks.odes`, for adjointsim: right-hand sides, data, tolerances, and a tight reference of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import adjointsim as adj
from adjointsim.leaves import flatten, spec_of

#: a value, and its derivatives by the leaves of y0 and of p
Answer = tuple[float, list[np.ndarray]]


@dataclass(frozen=True)
class Problem:
    """``ode`` at (y0, p) is what is timed, ``tight`` the same to much smaller tolerances; ``data`` is what others need, too."""

    title: str
    ode: adj.ODE
    tight: adj.ODE
    y0: Any
    p: Any
    data: np.ndarray | None = None
    times: np.ndarray | None = None

    def call(self) -> tuple[float, Any]:
        """Ours, as a user has it."""
        return self.ode.value_and_grad(self.y0, self.p)

    def gradient(self) -> Answer:
        """Ours, to be compared."""
        value, grad = self.call()
        return value, leaves(grad.y0, grad.p)

    def reference(self) -> Answer:
        """Ours at tight tolerances."""
        value, grad = self.tight.value_and_grad(self.y0, self.p)
        return value, leaves(grad.y0, grad.p)


def leaves(*parts: Any) -> list[np.ndarray]:
    """All arrays and numbers of these structures."""
    return [leaf for part in parts for leaf in flatten(part, spec_of(part, "gradient"), "gradient", copy=True)]


def of_tolerances(make: Callable[[float], adj.ODE], *rtols: float) -> Sequence[adj.ODE]:
    """The same ODE for several tolerances."""
    return [make(rtol) for rtol in rtols]


# ---------------------------------------------------------------------------------------------------------- Lotka-Volterra
def lotka_volterra(end: float = 10.0) -> Problem:
    """Two unknowns, four parameters, forty observations of both, dopri5."""

    def rhs(t, y, p):
        return (p[0] - p[1] * y[1]) * y[0], (p[2] * y[0] - p[3]) * y[1]

    times = np.linspace(0.0, end, 41)[1:]
    y0, p = np.array([1.0, 1.0]), np.array([1.1, 0.4, 0.1, 0.4])
    truth = adj.ODE(rhs, times, t0=0.0, method="dopri5", rtol=1e-8, atol=1e-8).run(y0, 1.05 * p).observations
    data = truth * (1.0 + 0.05 * np.random.default_rng(1).standard_normal(truth.shape))

    def misfit(k, seen, p):
        return np.sum((seen - data[k]) ** 2)

    def make(rtol):
        return adj.ODE(rhs, times, t0=0.0, method="dopri5", rtol=rtol, atol=rtol, misfit=misfit)

    title = f"Lotka-Volterra to t = {end:g}: 2 unknowns, 4 parameters, 40 observations, rtol = atol = 1e-8"
    return Problem(title, *of_tolerances(make, 1e-8, 1e-12), y0, p, data, times)


def lotka_volterra_long() -> Problem:
    """The same over eight times as long."""
    return lotka_volterra(80.0)


# --------------------------------------------------------------------------------------------------------------- Robertson
class Constants(NamedTuple):
    """Rate constants of Robertson's reactions."""

    k1: float
    k2: float
    k3: float


def robertson() -> Problem:
    """Stiff: three unknowns, three parameters, to t = 1e4; the value is the first concentration there."""

    def rhs(t, y, p):
        one, two, three = p.k1 * y[0], p.k2 * y[1] * y[1], p.k3 * y[1] * y[2]
        return three - one, one - two - three, two

    def first(y, p):
        return y[0]

    def make(rtol):
        return adj.ODE(rhs, [1e4], t0=0.0, method="rodas5p", terminal=first, rtol=rtol, atol=1e-4 * rtol)

    title = "Robertson: 3 unknowns, 3 parameters, to t = 1e4, equal errors"
    p = Constants(0.04, 3e7, 1e4)
    return Problem(title, *of_tolerances(make, ROBERTSON_RTOL, 1e-12), np.array([1.0, 0.0, 0.0]), p)


ROBERTSON_RTOL = 1e-7


# ------------------------------------------------------------------------------------------------------------- Brusselator
class Brusselator(NamedTuple):
    """Feeds of u and v in each cell, the rate b, the diffusivities."""

    a: np.ndarray
    e: np.ndarray
    b: float
    d_u: float
    d_v: float


def brusselator(cells: int = 200) -> Problem:
    """Reaction and diffusion on a line by differences: 400 unknowns, 403 parameters; fixed values beyond the ends."""

    def rhs(t, w, p):
        n, d = len(w) // 2, np.empty_like(w)
        su, sv = p.d_u * (n + 1.0) ** 2, p.d_v * (n + 1.0) ** 2
        for i in range(n):
            u, v = w[2 * i], w[2 * i + 1]
            ul, vl = (w[2 * i - 2], w[2 * i - 1]) if i > 0 else (1.0, 3.0)
            ur, vr = (w[2 * i + 2], w[2 * i + 3]) if i < n - 1 else (1.0, 3.0)
            r = u * u * v
            d[2 * i] = p.a[i] + r - (p.b + 1.0) * u + su * (ul - 2.0 * u + ur)
            d[2 * i + 1] = p.e[i] + p.b * u - r + sv * (vl - 2.0 * v + vr)
        return d

    def mean_square(w, p):
        return np.mean(w * w)

    def make(rtol):
        return adj.ODE(
            rhs, [10.0], t0=0.0, method="rodas5p", terminal=mean_square, rtol=rtol, atol=0.1 * rtol, bandwidth=(2, 2)
        )  # fmt: skip

    x, w = np.arange(1, cells + 1) / (cells + 1), np.empty(2 * cells)
    w[0::2], w[1::2] = 1.0 + np.sin(2.0 * np.pi * x), 3.0
    p = Brusselator(np.ones(cells), np.zeros(cells), 3.0, 0.02, 0.02)
    title = f"Brusselator on a line: {2 * cells} unknowns, {2 * cells + 3} parameters, bandwidth=(2, 2), errors about 1e-6"
    return Problem(title, *of_tolerances(make, BRUSSELATOR_RTOL, 1e-9), w, p)


BRUSSELATOR_RTOL = 1e-6


# -------------------------------------------------------------------------------------------------------------- kinetics
class Kinetics(NamedTuple):
    """Clearance, volume of the centre, exchange, volume of the periphery, and what a dose is."""

    clearance: float
    v1: float
    q: float
    v2: float
    dose: float


DOSES = np.array([0.0, 12.0, 24.0, 36.0, 48.0])


def kinetics() -> Problem:
    """A drug in two compartments after five doses, seen at twenty times."""

    def rhs(t, y, p):
        there, back = p.q / p.v1 * y[0], p.q / p.v2 * y[1]
        return back - there - p.clearance / p.v1 * y[0], there - back

    def dose(t, y, p):
        return y + p.dose * np.array([1.0, 0.0])

    def seen(t, y, p):
        return y[0] / p.v1

    times, p = np.linspace(3.0, 60.0, 20), Kinetics(5.0, 20.0, 8.0, 50.0, 100.0)
    jumps, y0 = adj.Jump(DOSES, dose), np.zeros(2)
    how = {"t0": 0.0, "method": "tsit5", "observe": seen, "jumps": jumps}
    truth = adj.ODE(rhs, times, rtol=1e-8, atol=1e-8, **how).run(y0, p._replace(clearance=5.5, q=7.0)).observations
    data = truth * (1.0 + 0.1 * np.random.default_rng(2).standard_normal(truth.shape))

    def misfit(k, c, p):
        return (c - data[k]) ** 2

    def make(rtol):
        return adj.ODE(rhs, times, rtol=rtol, atol=rtol, misfit=misfit, **how)

    title = "two-compartment kinetics: 2 unknowns, 5 parameters, 5 doses, 20 observations, rtol = atol = 1e-8"
    return Problem(title, *of_tolerances(make, 1e-8, 1e-12), y0, p, data, times)


# -------------------------------------------------------------------------------------------------------------- neural ODE
class Network(NamedTuple):
    """Weights of 2-64-64-2."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray


NEURAL_STEPS = 40


def neural() -> Problem:
    """A batch of 128 points moved by a network, by RK4 with fixed steps; the value is the mean square of where they should be."""

    def rhs(t, y, p):
        one = np.tanh(y @ p.w1 + p.b1)
        two = np.tanh(one @ p.w2 + p.b2)
        return two @ p.w3 + p.b3

    rng = np.random.default_rng(3)
    y0 = rng.standard_normal((128, 2))
    sizes = (2, 64, 64, 2)
    parts = []
    for m, n in zip(sizes, sizes[1:]):
        parts += [rng.standard_normal((m, n)) / np.sqrt(m), 0.1 * rng.standard_normal(n)]
    wanted = np.stack([y0[:, 1], -y0[:, 0]], axis=1)

    def terminal(y, p):
        return np.mean((y - wanted) ** 2)

    def make(steps):
        return adj.ODE(rhs, [1.0], t0=0.0, method="rk4", dt=1.0 / steps, terminal=terminal)

    title = f"neural ODE: 2-64-64-2 tanh, batch of 128, {NEURAL_STEPS} fixed steps of RK4"
    return Problem(title, make(NEURAL_STEPS), make(NEURAL_STEPS * 8), y0, Network(*parts), wanted)
