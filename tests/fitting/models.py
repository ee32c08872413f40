"""Models that tests of fits share: a few short steps each, and what they give in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj


class Decay(NamedTuple):
    """Amplitude, and what is lost in a step."""

    a: float
    k: float


class Two(NamedTuple):
    """A state of two numbers."""

    left: float
    right: float


class Gains(NamedTuple):
    """Parameters with an array, a number and an integer."""

    g: np.ndarray
    k: float
    n: int


@adj.step
def decay(n, y, p):
    return y - p.k * y


def scaled(n, y, p):
    return p.a * y


def seen(n, y, p):
    return y


AT = [0, 1, 2, 3, 5, 8, 13, 21]
STEPS = np.array(AT)


def decaying(at=AT):
    """a (1 - k)^n at these steps, from y0 = 1."""
    return adj.Simulation(decay, max(at), observe=scaled, observe_at=at)


def closed(n, a, k):
    """The same for ``curve_fit``."""
    return a * (1.0 - k) ** n


def noisy(seed, a=3.0, k=0.1, sd=0.05, at=AT):
    """Data of it."""
    return closed(np.array(at), a, k) + np.random.default_rng(seed).normal(0.0, sd, len(at))


SHORT = [0, 2, 4, 9]
START = Decay(2.0, 0.2)


def three(**given):
    """Two with the same loss and one more, at other steps; amplitudes 3, 1 and 5."""
    return [
        adj.Experiment(decaying(), noisy(1), 1.0, name="first", **given),
        adj.Experiment(decaying(SHORT), noisy(2, 1.0, 0.1, at=SHORT), 1.0, name="second", **given),
        adj.Experiment(decaying(), noisy(3, 5.0, 0.1), 1.0, name="third", **given),
    ]


@adj.step
def loss_of_y(n, y, p):
    return y - p * y


def plain(at=AT):
    """y0 (1 - p)^n, p a number."""
    return adj.Simulation(loss_of_y, max(at), observe=seen, observe_at=at)


@adj.step
def exchange(n, y, p):
    moved = p.k * y.left
    return Two(y.left - moved, y.right + p.g[0] * moved - p.g[1] * y.right)


def exchanging(at=AT):
    """Two compartments, observed as they are."""
    return adj.Simulation(exchange, max(at), observe=seen, observe_at=at)


def both(n, y, p):
    out = np.empty(2)
    out[0] = y.left
    out[1] = y.right
    return out


def exchanging_array(at=AT):
    """The same, observed as an array."""
    return adj.Simulation(exchange, max(at), observe=both, observe_at=at)


def exchanged(n, g, k, left, right):
    """Both compartments at steps n, an (m, 2) array."""
    out = []
    for step in range(int(max(n)) + 1):
        out.append((left, right))
        left, right = left - k * left, right + g[0] * k * left - g[1] * right
    return np.array(out)[np.asarray(n)]


@adj.step
def growth(n, y, p):
    return y + p * y * y


def growing():
    """y' = p y^2 by Euler's steps: it blows up for a large p."""
    return adj.Simulation(growth, 60, observe=seen, observe_at=[0, 10, 20, 40, 60])
