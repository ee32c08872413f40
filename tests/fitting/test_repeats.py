"""Profiles, starts, bootstrap, predictions and pictures of fits."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

import adjointsim as adj
from adjointsim.errors import ArgumentError

from .models import STEPS, Decay, Two, closed, decaying, exchanging, exchanging_array, noisy, plain
from .test_least_squares import gains, growth_data

START = Decay(2.0, 0.2)


@pytest.fixture(scope="module")
def found():
    return adj.fit(decaying(), noisy(1), START, y0=1.0)


@pytest.fixture(scope="module")
def known():
    return adj.fit(decaying(), noisy(1), START, y0=1.0, sigma=0.3, transform={"k": "log"})


# ------------------------------------------------------------------------------------------------------------ profiles
def lowest(data, k):
    """The sum of squares of the best amplitude for a loss k."""
    column = closed(STEPS, 1.0, k)
    a = column @ data / (column @ column)
    return np.sum((a * column - data) ** 2)


@pytest.mark.parametrize("which", ["found", "known"])
def test_a_profile_is_the_best_of_the_others(which, request):
    result, data = request.getfixturevalue(which), noisy(1)
    profile = result.profile("k", points=7)
    sd2, q = (result.rss / 6, stats.t.ppf(0.975, 6)) if which == "found" else (0.09, stats.norm.ppf(0.975))
    for value, cost, tau, x in zip(profile.values, profile.cost, profile.tau, profile.x, strict=True):
        sigma2 = 1.0 if which == "found" else 0.09
        assert cost == pytest.approx(0.5 * lowest(data, value) / sigma2, rel=1e-9) and x[1] == pytest.approx(value)
        rise = (lowest(data, value) - result.rss) / sd2
        assert tau == pytest.approx(np.sign(value - result.x[1]) * np.sqrt(max(rise, 0.0)), abs=1e-5)

    def rise_of(k):
        return (lowest(data, k) - result.rss) / sd2 - q**2

    best = result.x[1]
    expected = brentq(rise_of, 1e-6, best), brentq(rise_of, best, 0.9)
    np.testing.assert_allclose(profile.interval, expected, rtol=1e-6)
    assert profile.interval[0] < best < profile.interval[1] and profile.name == "k"


def test_a_prior_is_part_of_a_profile():
    """It adds what it says of the value at which an unknown is held."""
    data, mean, sd = noisy(1), 0.15, 0.002
    result = adj.fit(decaying(), data, START, y0=1.0, sigma=0.3, priors={"k": (mean, sd)})
    profile = result.profile("k", points=5)
    expected = [0.5 * (lowest(data, k) / 0.09 + ((k - mean) / sd) ** 2) for k in profile.values]
    np.testing.assert_allclose(profile.cost, expected, rtol=1e-9)
    assert profile.interval == pytest.approx(result.confidence()["k"], rel=1e-3)


def test_the_profile_of_a_linear_unknown_is_its_interval(found):
    fixed = adj.fit(decaying(), noisy(1), START, y0=1.0, wrt="a")
    np.testing.assert_allclose(fixed.profile("a").interval, fixed.confidence()["a"], rtol=1e-7)
    np.testing.assert_allclose(fixed.profile("a").tau, (fixed.profile("a").values - fixed.x[0]) / fixed.stderr.a, atol=1e-5)


def test_a_profile_ends_at_a_bound():
    result = adj.fit(decaying(), noisy(1), START, y0=1.0, sigma=1.0, bounds={"k": (0.05, 0.5)})
    assert result.profile("k", points=3).interval[0] == 0.05


def test_profiles_refuse(found):
    with pytest.raises(ArgumentError, match="unknown's name 'kk'.*did you mean 'k'"):
        found.profile("kk")
    with pytest.raises(ArgumentError, match="points=1"):
        found.profile("k", points=1)


def test_a_profile_that_finds_a_lower_cost_says_so():
    ended = []

    def early(it):
        return it.iteration == 1

    with pytest.warns(adj.errors.FitWarning):
        ended = adj.fit(decaying(), noisy(1), Decay(2.0, 0.3), y0=1.0, callback=early)
    with pytest.raises(ArgumentError, match="is not the lowest"):
        ended.profile("k")


# -------------------------------------------------------------------------------------------------------------- starts
def test_starts_end_at_the_optimum(found):
    many = found.multistart(12, seed=3)
    assert many.best is found and many.starts.shape == many.ends.shape == (12, 2)
    there = many.costs <= found.cost * (1.0 + 1e-9)
    assert many.reached == np.count_nonzero(there) >= 6
    np.testing.assert_allclose(many.ends[there], np.broadcast_to(found.x, (many.reached, 2)), rtol=1e-7)
    np.testing.assert_array_equal(found.multistart(12, seed=3).starts, many.starts)
    assert not np.array_equal(found.multistart(2, seed=4).starts, many.starts[:2])


def two_valleys(n, y, p):
    return y + (p * p - 1.0) ** 2 + 0.1 * p


def test_a_lower_optimum_is_found():
    model = adj.Simulation(adj.step(still), 1, observe=two_valleys, observe_at=[0, 1])
    first = adj.fit(model, np.array([-0.2, -0.2]), 1.3, y0=0.0)
    many = first.multistart(10, seed=1, spread=2.0)
    assert first.params > 0.0 > many.best.params and many.best.cost < 0.2 * first.cost
    assert many.best.success and np.isfinite(many.best.stderr)


def still(n, y, p):
    return y


def test_starts_between_bounds_and_starts_that_fail():
    from .models import growing

    result = adj.fit(growing(), growth_data(0.15), 0.1, y0=0.1, bounds={"p": (0.0, 2.0)})
    many = result.multistart(20, seed=0)
    assert np.all((0.0 <= many.starts) & (many.starts <= 2.0)) and many.starts.max() > 1.0
    failed = np.isnan(many.costs)
    assert 0 < np.count_nonzero(failed) < 20 and np.isnan(many.ends[failed]).all()
    with pytest.raises(ArgumentError, match="n=0"):
        result.multistart(0, seed=0)


# ----------------------------------------------------------------------------------------------------------- bootstrap
@pytest.mark.parametrize("kind", ["parametric", "residuals"])
def test_bootstrap_scatters_as_standard_errors_say(found, kind):
    sample = found.bootstrap(120, seed=5, kind=kind)
    assert sample.samples.shape == (120, 2) and sample.names == ("a", "k")
    for name, error in found.errors.items():
        assert sample.stderr[name] == pytest.approx(error, rel=0.35)
    low, high = sample.confidence(0.5)["a"]
    assert low < found.x[0] < high and np.mean((sample.samples[:, 0] > low) & (sample.samples[:, 0] < high)) == pytest.approx(
        0.5, abs=0.02
    )
    np.testing.assert_array_equal(found.bootstrap(3, seed=5, kind=kind).samples, sample.samples[:3])


def test_bootstrap_of_known_errors_missing_data_and_counts(known):
    assert known.bootstrap(100, seed=6).stderr["a"] == pytest.approx(known.stderr.a, rel=0.35)
    data = noisy(2)
    data[3] = np.nan
    missing = adj.fit(decaying(), data, START, y0=1.0)
    assert missing.bootstrap(60, seed=7).stderr["k"] == pytest.approx(missing.stderr.k, rel=0.4)
    counts = np.random.default_rng(8).poisson(closed(STEPS, 60.0, 0.1)).astype(float)
    poisson = adj.fit(decaying(), counts, Decay(50.0, 0.2), y0=1.0, loss="poisson")
    assert poisson.bootstrap(100, seed=9).stderr["a"] == pytest.approx(poisson.stderr.a, rel=0.35)
    with pytest.raises(ArgumentError, match="expected 'parametric'"):
        poisson.bootstrap(3, seed=0, kind="residuals")
    with pytest.raises(ArgumentError, match="kind='other'"):
        poisson.bootstrap(3, seed=0, kind="other")
    with pytest.raises(ArgumentError, match="n=1"):
        poisson.bootstrap(1, seed=0)


# --------------------------------------------------------------------------------------------------------- predictions
def test_predictions_have_the_band_of_the_delta_method(found):
    later = decaying([0, 4, 30])
    said = found.predict(later)
    n, (a, k) = np.array([0, 4, 30]), found.x
    np.testing.assert_allclose(said.observations, closed(n, a, k), rtol=1e-12)
    j = np.stack([closed(n, 1.0, k), -n * closed(n, a, k) / (1.0 - k)], axis=1)
    error = np.sqrt(np.diag(j @ found.covariance @ j.T))
    np.testing.assert_allclose(said.stderr, error, rtol=1e-9)
    q = stats.t.ppf(0.975, 6)
    np.testing.assert_allclose(said.high, closed(n, a, k) + q * error, rtol=1e-9)
    np.testing.assert_allclose(said.low, closed(n, a, k) - q * error, rtol=1e-9)
    np.testing.assert_allclose(found.predict().observations, found.fitted, rtol=1e-12)
    with pytest.raises(ArgumentError, match="experiment=1, but expected a number below 1"):
        found.predict(experiment=1)
    with pytest.raises(ArgumentError, match="level=95"):
        found.predict(level=95)


def test_predictions_of_experiments_and_structures():
    experiments = [adj.Experiment(plain(), a * 0.9**STEPS + 0.01 * np.cos(STEPS), 1.0, name=str(a)) for a in (2.0, 5.0)]
    both = adj.fit(experiments, 0.2, wrt=("p", "y0"))
    np.testing.assert_allclose(both.predict(experiment="5.0").observations, both.fitted[1], rtol=1e-12)
    np.testing.assert_allclose(both.predict(experiment=0).observations, both.fitted[0], rtol=1e-12)
    _, data = gains(4)
    result = adj.fit(exchanging(), data, {"g": np.array([0.5, 0.1]), "k": 0.2}, y0=Two(2.0, 0.5))
    said = result.predict()
    assert isinstance(said.observations, Two) and isinstance(said.stderr, Two)
    whole = adj.fit(exchanging_array(), data, {"g": np.array([0.5, 0.1]), "k": 0.2}, y0=Two(2.0, 0.5)).predict()
    np.testing.assert_allclose(np.stack(said.stderr, axis=1), whole.stderr, rtol=1e-7, atol=1e-12)
    assert said.stderr.left[0] == 0.0  # the initial state is given


# ------------------------------------------------------------------------------------------------------------ pictures
def test_pictures(found, tmp_path):
    from matplotlib import pyplot

    ax = found.plot(decaying(list(range(25))))
    points, curve = ax.lines
    np.testing.assert_array_equal(points.get_ydata(), noisy(1))
    assert len(curve.get_xdata()) == 25 and len(ax.collections) == 1
    image = found.plot_correlation()
    assert image.images[0].get_array()[0, 1] == found.correlation[0, 1]
    line = found.plot_profile("k", points=5)
    assert line.get_xlabel() == "k" and len(line.lines[0].get_xdata()) >= 5
    _, data = gains(5)
    for model, given in ((exchanging(), data), (exchanging(), {"right": data[:, 1]}), (exchanging_array(), data)):
        two = adj.fit(model, given, {"g": np.array([0.5, 0.1]), "k": 0.2}, y0=Two(2.0, 0.5)).plot()
        assert len(two.lines) in (3, 4) and len(two.collections) == 2
        two.figure.savefig(tmp_path / "fit.png")
    pyplot.close("all")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_without_matplotlib(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(adj.errors.MissingExtraError, match=r"adjointsim\[plot\]"):
        found.plot()


# -------------------------------------------------------------------------------------------------------------- tables
def test_datasets(found):
    pytest.importorskip("xarray", reason="the extra xarray")
    table = found.to_xarray()
    assert float(table.value.sel(unknown="k")) == found.params.k
    assert float(table.covariance.sel(unknown="a", unknown_="k")) == found.covariance[0, 1]
    np.testing.assert_array_equal(table.step, STEPS)
    np.testing.assert_allclose(table.data - table.fitted, table.residual, atol=1e-15)
    np.testing.assert_array_equal(table.fitted, found.fitted)
    assert table.attrs["rss"] == found.rss and table.attrs["success"] == 1
    _, data = gains(6)
    p0, y0 = {"g": np.array([0.5, 0.1]), "k": 0.2}, Two(2.0, 0.5)
    parts = adj.fit(exchanging(), {"right": data[:, 1]}, p0, y0=y0).to_xarray()
    np.testing.assert_array_equal(parts["data.right"], data[:, 1])
    assert "data.left" not in parts
    experiments = [adj.Experiment(exchanging_array(), data, y0, name=name) for name in "ab"]
    several = adj.fit(experiments, p0).to_xarray()
    np.testing.assert_array_equal(several["data@b"], data)
    assert several["fitted@a"].dims == several["data@a"].dims == ("step@a", "channel@a_1")


def test_datasets_without_xarray(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(adj.errors.MissingExtraError, match=r"adjointsim\[xarray\]"):
        found.to_xarray()
