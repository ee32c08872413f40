"""Losses beside SciPy's and textbook likelihoods, and what they make of standard errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import least_squares, minimize

import adjointsim as adj
from adjointsim.fitting.losses import LOSSES, loss_of

from .models import STEPS, Decay, closed, decaying, noisy

START = Decay(2.0, 0.2)


# ------------------------------------------------------------------------------------------------------------ formulas
def exact_residual(measure, m, d):
    """At the digits of mpmath."""
    m, d = mpmath.mpf(m), mpmath.mpf(d)
    if measure == "poisson":
        return mpmath.sign(m - d) * mpmath.sqrt(2 * (m - d + (d * mpmath.log(d / m) if d else 0)))
    return mpmath.log(m / d) * 2 if measure == "lognormal" else (m - d) * 2


@pytest.mark.parametrize("measure", ["linear", "lognormal", "poisson"])
def test_residuals_and_slopes_at_fifty_digits(measure):
    d = np.array([3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 40.0, 40.0, 1.0, 7.0])
    m = np.array([3.0 * (1.0 + 1e-9), 3.003, 3.0301, 2.9701, 0.01, 300.0, 39.0, 44.0, 1.00999, 6.93001])
    if measure == "poisson":
        d, m = np.append(d, [0.0, 0.0]), np.append(m, [0.3, 1e-8])
    loss, sigma = loss_of(measure, 1.0), None if measure == "poisson" else np.full(len(d), 0.5)
    with mpmath.workdps(50):
        for k, (r, slope) in enumerate(zip(loss.residuals(m, d, sigma), loss.slopes(m, d, sigma), strict=True)):
            expected = exact_residual(measure, m[k], d[k])
            assert r == pytest.approx(float(expected), rel=1e-10 if abs(m[k] / max(d[k], 1e-9) - 1.0) > 1e-6 else 1e-6)
            h = mpmath.mpf(float(m[k])) * mpmath.mpf(10) ** -20
            up, down = (exact_residual(measure, mpmath.mpf(float(m[k])) + s * h, d[k]) for s in (1, -1))
            assert slope == pytest.approx(float((up - down) / (2 * h)), rel=1e-10)


def test_the_slope_of_a_count_that_is_met():
    """1 / sqrt(m), where the formula is 0 / 0."""
    d = np.array([1.0, 9.0, 250.0])
    np.testing.assert_allclose(loss_of("poisson", 1.0).slopes(d, d, None), d**-0.5, rtol=1e-14)
    assert np.all(loss_of("poisson", 1.0).residuals(d, d, None) == 0.0)
    assert np.isnan(loss_of("poisson", 1.0).residuals(np.array([-1.0, 0.0]), np.array([1.0, 1.0]), None)).all()
    assert np.isnan(loss_of("lognormal", 1.0).residuals(np.array([-1.0, 0.0]), np.array([1.0, 1.0]), None)).all()


@pytest.mark.parametrize("name", LOSSES)
def test_costs_and_their_derivatives(name):
    loss = loss_of(name, 0.7)
    r = np.array([-9.0, -0.71, -0.3, 0.0, 0.2, 0.69, 5.0])
    h = 1e-6
    np.testing.assert_allclose((loss.costs(r + h) - loss.costs(r - h)) / (2 * h), loss.cost_slopes(r), atol=1e-7)
    np.testing.assert_allclose((loss.cost_slopes(r + h) - loss.cost_slopes(r - h)) / (2 * h), loss.cost_curvatures(r), atol=1e-7)


# ---------------------------------------------------------------------------------------------------------------- fits
@pytest.mark.parametrize("name", ["soft_l1", "huber"])
def test_robust_losses_are_scipys(name):
    data = noisy(1)
    data[3] += 2.0
    found = adj.fit(decaying(), data, START, y0=1.0, loss=name, f_scale=0.1)
    best = least_squares(
        lambda x: closed(STEPS, *x) - data, START, loss=name, f_scale=0.1, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )  # fmt: skip
    np.testing.assert_allclose(found.x, best.x, rtol=1e-6)
    assert found.cost == pytest.approx(best.cost, rel=1e-10)
    plain = adj.fit(decaying(), data, START, y0=1.0)
    truth = np.array([3.0, 0.1])
    assert np.all(np.abs(found.x - truth) < 0.2 * np.abs(plain.x - truth)) and found.stderr.a < 0.5 * plain.stderr.a
    assert np.isnan(found.aic)


def cauchy(s):
    return np.stack([np.log1p(s), 1.0 / (1.0 + s), -1.0 / (1.0 + s) ** 2])


def test_a_loss_of_the_users():
    data = noisy(2)
    data[5] -= 1.0
    found = adj.fit(decaying(), data, START, y0=1.0, loss=cauchy, f_scale=0.1, sigma=0.5)
    best = least_squares(
        lambda x: (closed(STEPS, *x) - data) / 0.5, START, loss="cauchy", f_scale=0.1, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )  # fmt: skip
    np.testing.assert_allclose(found.x, best.x, rtol=1e-6)


def test_hubers_covariance_by_simulation():
    """The standard error of a location with outliers beside the scatter of as many estimates."""
    rng = np.random.default_rng(3)
    model = adj.Simulation(adj.step(stay), 199, observe=level, observe_at=list(range(200)))
    estimates, errors = [], []
    for _ in range(60):
        data = 5.0 + rng.standard_t(2.0, 200)
        found = adj.fit(model, data, 4.0, y0=0.0, loss="huber", f_scale=1.0)
        estimates.append(found.params)
        errors.append(found.stderr)
    assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.3)


def stay(n, y, p):
    return y


def level(n, y, p):
    return y + p


def test_poisson_is_maximum_likelihood():
    rng = np.random.default_rng(4)
    data = rng.poisson(closed(STEPS, 40.0, 0.1)).astype(float)
    found = adj.fit(decaying(), data, Decay(30.0, 0.2), y0=1.0, loss="poisson")

    def nll(x):
        m = closed(STEPS, *x)
        return np.sum(m - data * np.log(m))

    best = minimize(nll, found.x * 1.01, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000})
    np.testing.assert_allclose(found.x, best.x, rtol=1e-6)
    a, k = found.x
    m = closed(STEPS, a, k)
    jacobian = np.stack([m / a, -m * STEPS / (1.0 - k)], axis=1)
    fisher = jacobian.T @ (jacobian / m[:, None])
    np.testing.assert_allclose(found.covariance, np.linalg.inv(fisher), rtol=1e-7)
    assert found.log_likelihood == pytest.approx(stats.poisson.logpmf(data, m).sum())
    deviance = 2.0 * np.sum(m - data + np.where(data > 0.0, data * np.log(np.where(data > 0.0, data, 1.0) / m), 0.0))
    assert found.chi2 == pytest.approx(deviance) and found.interval_dof == np.inf


def test_lognormal_is_least_squares_of_logarithms():
    data = closed(STEPS, 3.0, 0.1) * np.exp(np.random.default_rng(5).normal(0.0, 0.1, len(STEPS)))
    found = adj.fit(decaying(), data, START, y0=1.0, loss="lognormal")
    line = np.polynomial.polynomial.polyfit(STEPS, np.log(data), 1)
    np.testing.assert_allclose([np.log(found.params.a), np.log(1.0 - found.params.k)], line, rtol=1e-9)
    design = np.stack([np.ones(8), STEPS], axis=1)
    covariance = np.linalg.inv(design.T @ design) * found.rss / 6
    assert found.stderr.a / found.params.a == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-8)
    sd = np.sqrt(found.rss / 8)
    assert found.log_likelihood == pytest.approx(stats.lognorm.logpdf(data, sd, scale=found.fitted).sum())


def test_priors_are_more_data():
    data = noisy(6)
    found = adj.fit(decaying(), data, START, y0=1.0, sigma=0.05, priors={"k": (0.15, 0.01), "p.a": (3.0, 10.0)})
    best = least_squares(
        lambda x: np.concatenate([(closed(STEPS, *x) - data) / 0.05, [(x[1] - 0.15) / 0.01, (x[0] - 3.0) / 10.0]]),
        START, ftol=1e-15, xtol=1e-15, gtol=1e-15,
    )  # fmt: skip
    np.testing.assert_allclose(found.x, best.x, rtol=1e-7)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(best.jac.T @ best.jac), rtol=1e-5)
    assert found.fun.shape == (10,) and found.chi2 == pytest.approx(np.sum(found.fun[:8] ** 2)) and found.dof == 8


def product(n, y, p):
    return p.a * p.b * y


def test_a_prior_determines_what_the_data_do_not():
    model = adj.Simulation(decaying().step, 21, observe=product, observe_at=STEPS)
    found = adj.fit(model, noisy(7), {"a": 2.0, "b": 1.5, "k": 0.2}, y0=1.0, sigma=0.05, priors={"b": (2.0, 0.1)})
    assert found.params["b"] == pytest.approx(2.0, rel=1e-9) and found.stderr["b"] == pytest.approx(0.1, rel=1e-9)
    assert not found.warnings
