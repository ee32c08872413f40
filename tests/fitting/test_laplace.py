"""Laplace's approximation beside closed forms: exact for what is linear, by second derivatives for what is not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal

import adjointsim as adj
from adjointsim.errors import ArgumentError, FitWarning, UnsupportedError

from .models import AT, STEPS, Decay, closed, decaying, noisy

START = Decay(2.0, 0.2)


class Line(NamedTuple):
    a: float
    b: float


@adj.step
def rising(n, y, p):
    return y + p.b


def line(at=(0, 2, 5, 9)):
    return adj.Simulation(rising, max(at), observe=lambda n, y, p: y, observe_at=at)


def test_what_is_linear_is_exact():
    at, sigma = np.array([0, 2, 5, 9]), np.array([0.1, 0.2, 0.1, 0.3])
    data = 1.0 + 0.4 * at + np.array([0.03, -0.1, 0.05, 0.2])
    priors = {"a": (0.9, 0.3), "b": (0.5, 0.2)}
    found = adj.fit(line(), data, Line(0.0, 0.0), y0=lambda p: p.a, sigma=sigma, priors=priors)
    x, noise, prior = np.stack([np.ones(4), at], axis=1), np.diag(sigma**2), np.diag([0.3**2, 0.2**2])
    h = x.T @ np.linalg.inv(noise) @ x + np.linalg.inv(prior)
    mean = np.linalg.solve(h, x.T @ np.linalg.inv(noise) @ data + np.linalg.inv(prior) @ [0.9, 0.5])
    evidence = multivariate_normal(x @ [0.9, 0.5], noise + x @ prior @ x.T).logpdf(data)
    for kind in ("exact", "gauss-newton"):
        own = found.laplace(kind)
        np.testing.assert_allclose(own.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(own.hessian, h, rtol=1e-9)
        np.testing.assert_allclose(own.covariance, np.linalg.inv(h), rtol=1e-9)
        assert own.log_evidence == pytest.approx(evidence, rel=1e-9) and own.names == ("a", "b")
        assert own.stderr["b"] == pytest.approx(np.linalg.inv(h)[1, 1] ** 0.5)


def test_second_derivatives_of_the_model_count():
    data = noisy(1) * (1.0 + 0.2 * np.sin(np.arange(len(STEPS))))
    found = adj.fit(decaying(), data, START, y0=1.0, sigma=0.1)

    def slope(x):
        """The gradient of the cost in closed form, by complex steps."""
        out = []
        for k in range(2):
            moved = np.array(x, complex)
            moved[k] += 1e-30j
            out.append(np.imag(0.5 * np.sum((closed(STEPS, *moved) - data) ** 2)) / 1e-30 / 0.1**2)
        return np.array(out)

    steps = 1e-5 * np.eye(2)
    h = np.stack([(slope(found.x + e) - slope(found.x - e)) / 2e-5 for e in steps])
    own, rough = found.laplace(), found.laplace("gauss-newton")
    np.testing.assert_allclose(own.hessian, h, rtol=1e-6)
    np.testing.assert_allclose(own.covariance @ own.hessian, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(rough.covariance, found.covariance, rtol=1e-9)
    assert np.max(np.abs(rough.hessian / own.hessian - 1.0)) > 1e-3
    assert np.isnan(own.log_evidence)  # nothing is said of what was known before


def test_the_probability_of_the_data_between_bounds():
    data = noisy(1)
    found = adj.fit(decaying(), data, START, y0=1.0, sigma=0.01, wrt="k", bounds={"k": (0.01, 0.9)})

    def density(k):
        r = (closed(STEPS, 2.0, k) - data) / 0.01
        return np.exp(-0.5 * np.sum(r * r) - len(data) * np.log(0.01 * np.sqrt(2.0 * np.pi)) - found.log_likelihood)

    near = found.x[0] + 12.0 * found.stderr.k * np.array([-1.0, 1.0])
    whole = quad(density, *near, epsabs=0.0, epsrel=1e-10, points=[found.x[0]])[0] / 0.89
    assert found.laplace().log_evidence == pytest.approx(np.log(whole) + found.log_likelihood, abs=1e-3)


def test_draws():
    own = adj.fit(decaying(), noisy(1), START, y0=1.0).laplace()
    drawn = own.sample(20_000, seed=3)
    np.testing.assert_array_equal(drawn, own.sample(20_000, seed=3))
    np.testing.assert_allclose(np.cov(drawn.T), own.covariance, rtol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), own.mean, atol=4.0 * np.sqrt(np.max(np.diag(own.covariance)) / 20_000))
    with pytest.raises(ArgumentError, match="number of draws"):
        own.sample(0, seed=1)


def test_an_unknown_sigma_is_the_residuals():
    data = noisy(1)
    found = adj.fit(decaying(), data, START, y0=1.0)
    known = adj.fit(decaying(), data, START, y0=1.0, sigma=np.sqrt(found.reduced_chi2))
    np.testing.assert_allclose(found.laplace().covariance, known.laplace().covariance, rtol=1e-6)


def test_bad_input():
    found = adj.fit(decaying(), noisy(1), START, y0=1.0)
    with pytest.raises(ArgumentError, match="hessian='newton', but expected 'exact' or 'gauss-newton'"):
        found.laplace("newton")
    with pytest.warns(FitWarning):
        low = adj.fit(decaying(), noisy(1), START, y0=1.0, bounds={"k": (0.15, 0.5)})  # it is 0.1
    with pytest.raises(ArgumentError, match="'k' on a bound"):
        low.laplace()

    @adj.step
    def twice(n, y, p):
        return y * (1.0 - p[0] - p[1])

    model = adj.Simulation(twice, max(AT), observe=lambda n, y, p: y, observe_at=AT)
    with pytest.warns(FitWarning, match="not determine"):
        flat = adj.fit(model, noisy(1), (0.05, 0.06), y0=2.0)
    with pytest.raises(ArgumentError, match=r"not positive definite, along .*p\[[01]\]"):
        flat.laplace()

    @adj.step(vjp=lambda n, y, p, bar: (bar * (1.0 - p), -bar * y))
    def own(n, y, p):
        return y * (1.0 - p)

    by_hand = adj.fit(adj.Simulation(own, max(AT), observe=lambda n, y, p: y, observe_at=AT), noisy(1), 0.1, y0=2.0)
    with pytest.raises(UnsupportedError):
        by_hand.laplace()
    assert by_hand.laplace("gauss-newton").covariance[0, 0] == pytest.approx(by_hand.covariance[0, 0])
