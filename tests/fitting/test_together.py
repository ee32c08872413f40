"""Fits whose experiments are integrated in one call of compiled code: bits, counts, failures of calls one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.fitting import together
from adjointsim.ode.lane import Lane

TIMES = (np.linspace(0.3, 3.0, 8), np.linspace(0.2, 2.0, 6), np.linspace(0.5, 4.0, 9))
STARTS = (1.0, 0.4, 2.0)


class Growth(NamedTuple):
    rate: float
    room: float


def logistic(t, y, p):
    return p.rate * y * (1.0 - y / p.room)


def seen(t, y, p):
    return y, y * y


def growing(times):
    return adj.ODE(logistic, times, t0=0.0, rtol=1e-7, observe=seen)


def closed(t, y0, rate, room):
    return room / (1.0 + (room / y0 - 1.0) * np.exp(-rate * t))


def experiments():
    rng, out = np.random.default_rng(5), []
    for times, y0 in zip(TIMES, STARTS, strict=True):
        y = closed(times, y0, 1.3, 3.0 + 0.1 * y0) * (1.0 + 0.01 * rng.standard_normal(len(times)))
        data = np.stack([y, y * y], axis=1)
        data[2, 0] = np.nan
        out.append(adj.Experiment(growing(times), data, y0))
    return out


@pytest.fixture
def runs(monkeypatch):
    """How often lanes ran, from here on at once."""
    monkeypatch.setattr(together, "_WORTH", 0.0)
    monkeypatch.setattr(together, "LONG", np.inf)
    count, run = [0], Lane.run
    monkeypatch.setattr(Lane, "run", lambda lane, stack: (count.__setitem__(0, count[0] + 1), run(lane, stack))[1])
    return count


def same(one, two):
    for name in ("x", "covariance", "jac", "fun"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.nfev, one.njev, one.nit, one.names, one.failures) == (two.nfev, two.njev, two.nit, two.names, two.failures)


@pytest.mark.parametrize(
    "options",
    [{}, {"local": "room", "transform": {"rate": "log"}}, {"wrt": ("p", "y0"), "local": "p"}, {"wrt": "rate", "loss": "huber"}],
    ids=["shared", "own", "initial", "one"],
)
def test_the_bits_of_calls_one_by_one(runs, monkeypatch, options):
    given = experiments()
    found = adj.fit(given, Growth(1.0, 4.0), **options)
    assert found.success and runs[0] == found.nfev
    again = adj.fit(given, Growth(1.0, 4.0), **options)
    same(found, again)
    threads = adj.fit(given, Growth(1.0, 4.0), workers=2, **options)
    assert runs[0] == 4 * found.nfev
    monkeypatch.setattr(together.Together, "of", lambda experiments, unknowns, workers: None)
    runs[0] = 0
    alone = adj.fit(given, Growth(1.0, 4.0), **options)
    assert not runs[0]
    same(found, alone)
    same(found, threads)
    assert "wrt" in options or found.x[0] == pytest.approx(1.3, rel=0.1)


def test_a_trial_that_fails_is_told_as_ever(runs, monkeypatch):
    def explosive(t, y, p):
        return p[0] * y * y

    truth = 1.0 / (1.0 - 0.65 * np.linspace(0.1, 1.5, 8))
    ode = adj.ODE(explosive, np.linspace(0.1, 1.5, 8), t0=0.0, rtol=1e-7)
    found = adj.fit(ode, truth, np.array([0.5]), y0=1.0)
    assert found.n_failed and runs[0] and "step size" in found.failures[0].message
    monkeypatch.setattr(together.Together, "of", lambda experiments, unknowns, workers: None)
    same(found, adj.fit(ode, truth, np.array([0.5]), y0=1.0))
    with pytest.raises(adj.errors.FitError, match="cannot be run at the start"):
        adj.fit(ode, truth, np.array([0.9]), y0=1.0)
    monkeypatch.undo()
    with pytest.raises(adj.errors.FitError, match="cannot be run at the start"):
        adj.fit(ode, truth, np.array([0.9]), y0=1.0)


def test_fewer_observations_than_numbers(runs):
    """Calls one by one go back then; their last bits are not those of a way forward."""
    ode = adj.ODE(lambda t, y, p: p[0] - p[1] * y, [0.5, 1.0, 2.0, 3.0], t0=0.0, rtol=1e-7)
    data = np.array([0.4, 0.63, 0.88, 0.95])
    found = adj.fit(ode, data, np.array([1.0, 0.9, 5.0, 6.0, 7.0]), y0=0.0, wrt=("p[0]", "p[1]"))
    assert found.success and not runs[0]


def test_it_is_worth_it_from_some_time_on(runs, monkeypatch):
    monkeypatch.setattr(together, "_WORTH", 1e-3)

    def rhs(t, y, p):
        return -p[0] * y + 0.1

    ode, t = adj.ODE(rhs, np.linspace(0.1, 2.0, 12), t0=0.0, rtol=1e-8), np.linspace(0.1, 2.0, 12)
    data = np.exp(-1.7 * t) + 0.1 / 1.7 * (1.0 - np.exp(-1.7 * t))
    one = adj.fit(ode, data, np.array([0.1]), y0=1.0)
    assert 0 < runs[0] < one.nfev
    before = runs[0]
    same(one, adj.fit(ode, data, np.array([0.1]), y0=1.0))
    assert runs[0] - before == one.nfev
