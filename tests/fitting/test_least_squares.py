"""Fits of one model beside SciPy's ``curve_fit`` of the same in closed form: optimum, covariance, what is missing, structures."""

from __future__ import annotations

import pickle
import warnings
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from scipy.optimize import curve_fit

import adjointsim as adj
from adjointsim.errors import FitWarning

from .models import (
    AT,
    STEPS,
    Decay,
    Gains,
    Two,
    closed,
    decaying,
    exchanged,
    exchanging,
    exchanging_array,
    growing,
    noisy,
    plain,
)  # fmt: skip

START = Decay(2.0, 0.2)


def published(data, sigma=None, absolute=False, start=START, mask=slice(None)):
    return curve_fit(
        closed, STEPS[mask], data[mask], start, sigma, absolute, method="trf", ftol=1e-15, xtol=1e-15, gtol=1e-15
    )  # fmt: skip


def same(found, expected, rtol=1e-7):
    x, covariance = expected
    np.testing.assert_allclose(found.x, x, rtol=rtol)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_optimum_and_covariance_of_curve_fit(seed):
    data = noisy(seed)
    found = adj.fit(decaying(), data, START, y0=1.0)
    same(found, published(data))
    x = found.x
    assert found.rss == pytest.approx(np.sum((closed(STEPS, *x) - data) ** 2), rel=1e-12)
    assert found.reduced_chi2 == pytest.approx(found.rss / 6) and found.chi2 == found.rss and found.dof == 6
    assert isinstance(found.params, Decay) and isinstance(found.stderr, Decay)
    assert tuple(found.params) == tuple(x) and found.names == ("a", "k")
    np.testing.assert_allclose(found.stderr, np.sqrt(np.diag(found.covariance)), rtol=1e-14)
    np.testing.assert_allclose(found.residuals, data - closed(STEPS, *x), atol=1e-13)
    np.testing.assert_allclose(found.fun, -found.residuals, atol=1e-15)
    np.testing.assert_allclose(found.fitted, closed(STEPS, *x), rtol=1e-13)
    np.testing.assert_allclose(found.grad, found.jac.T @ found.fun, atol=1e-13)
    assert found.success and found.status > 0 and found.cost == pytest.approx(0.5 * found.rss) and not found.warnings
    assert found.optimality < 1e-10 and found.nfev >= found.nit > 0 and found.njev > 0
    spread = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(found.correlation, found.covariance / np.outer(spread, spread), rtol=1e-12)


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_every_method(method):
    data = noisy(4)
    same(adj.fit(decaying(), data, START, y0=1.0, method=method), published(data))


@pytest.mark.parametrize("sigma", [0.3, np.linspace(0.02, 0.2, len(AT))], ids=["number", "array"])
def test_known_sigma(sigma):
    data = noisy(5)
    whole = np.broadcast_to(sigma, data.shape)
    absolute = adj.fit(decaying(), data, START, y0=1.0, sigma=sigma)
    same(absolute, published(data, whole, True))
    assert absolute.chi2 == pytest.approx(np.sum(((data - absolute.fitted) / sigma) ** 2))
    assert absolute.rss == pytest.approx(np.sum((data - absolute.fitted) ** 2))
    relative = adj.fit(decaying(), data, START, y0=1.0, sigma=sigma, absolute_sigma=False)
    same(relative, published(data, whole, False))


def test_missing_data_are_left_out():
    data = noisy(6)
    data[[1, 4]] = np.nan
    found = adj.fit(decaying(), data, START, y0=1.0)
    same(found, published(data, mask=~np.isnan(data)))
    assert (
        found.n_data == 6 and np.isnan(found.residuals[[1, 4]]).all() and np.isfinite(found.residuals[[0, 2, 3, 5, 6, 7]]).all()
    )
    masked = np.ma.masked_array(np.nan_to_num(data), np.isnan(data))
    np.testing.assert_array_equal(adj.fit(decaying(), masked, START, y0=1.0).x, found.x)
    given = data.copy()
    assert np.array_equal(given, data, equal_nan=True)


def test_starts_agree():
    data = noisy(7)
    ends = [adj.fit(decaying(), data, Decay(a, k), y0=1.0).x for a, k in ((1.0, 0.02), (10.0, 0.3), (3.0, 0.5), (-2.0, 0.05))]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-9)


@pytest.mark.parametrize(
    "data",
    [(0.334, 1.898, 2.091, 1.011, 1.108, 0.205, -0.22, -0.206), (0.761, 0.721, 1.251, 0.286, -0.35, 0.193, 0.557, 0.69)],
    ids=["0.96", "-0.92"],
)
def test_large_residuals_are_no_reason_to_stop_early(data):
    """Gauss-Newton steps leave that part of the distance: hundreds of them would be needed.  The gradient's root by mpmath."""
    found = adj.fit(decaying(), np.array(data), Decay(1.0, 0.2), y0=1.0)
    with mpmath.workdps(30):

        def gradient(a, k):
            powers = [(1 - k) ** n for n in AT]
            r = [a * power - mpmath.mpf(d) for power, d in zip(powers, data, strict=True)]
            slopes = [-n * (1 - k) ** (n - 1) for n in AT]
            return mpmath.fsum(x * y for x, y in zip(r, powers)), mpmath.fsum(x * y for x, y in zip(r, slopes))

        exact = [float(x) for x in mpmath.findroot(gradient, found.x.tolist())]
    np.testing.assert_allclose(found.x, exact, atol=1e-10 * min(found.stderr), rtol=0.0)
    assert found.nfev < found.nit + 12


def test_a_transform_changes_neither_optimum_nor_covariance():
    data = noisy(8)
    straight = adj.fit(decaying(), data, START, y0=1.0)
    for transform, bounds in (({"k": "log"}, None), ("log", None), ({"k": "logit", "a": "log"}, {"k": (0.0, 1.0)})):
        found = adj.fit(decaying(), data, START, y0=1.0, transform=transform, bounds=bounds)
        np.testing.assert_allclose(found.x, straight.x, rtol=1e-9)
        np.testing.assert_allclose(found.covariance, straight.covariance, rtol=1e-6)
        np.testing.assert_allclose(found.jac, straight.jac, rtol=1e-7, atol=1e-9)


def test_intervals_of_student_and_of_the_normal_distribution():
    from scipy import stats

    data = noisy(9)
    found = adj.fit(decaying(), data, START, y0=1.0)
    q = stats.t.ppf(0.95, 6)
    low, high = found.confidence(0.9)["k"]
    np.testing.assert_allclose([low, high], [found.x[1] - q * found.stderr.k, found.x[1] + q * found.stderr.k], rtol=1e-12)
    known = adj.fit(decaying(), data, START, y0=1.0, sigma=0.05, transform={"k": "log"})
    q = stats.norm.ppf(0.975) * known.stderr.k / known.params.k
    np.testing.assert_allclose(known.confidence()["k"], known.params.k * np.exp([-q, q]), rtol=1e-12)


def test_information_criteria_are_those_of_the_likelihood():
    from scipy import stats

    data = noisy(10)
    known = adj.fit(decaying(), data, START, y0=1.0, sigma=0.05)
    log_likelihood = stats.norm.logpdf(data, known.fitted, 0.05).sum()
    assert known.log_likelihood == pytest.approx(log_likelihood) and known.aic == pytest.approx(4.0 - 2.0 * log_likelihood)
    estimated = adj.fit(decaying(), data, START, y0=1.0)
    sd = np.sqrt(estimated.rss / 8)
    log_likelihood = stats.norm.logpdf(data, estimated.fitted, sd).sum()
    assert estimated.bic == pytest.approx(3.0 * np.log(8) - 2.0 * log_likelihood)
    relative = adj.fit(decaying(), data, START, y0=1.0, sigma=7.0, absolute_sigma=False)
    assert relative.aic == pytest.approx(estimated.aic)


# ---------------------------------------------------------------------------------------------------------- structures
def test_parameters_of_every_form_give_the_same():
    data = noisy(11)
    names = adj.fit(decaying(), data, START, y0=1.0)
    words = adj.fit(decaying(), data, {"a": 2.0, "k": 0.2}, y0=1.0)
    assert words.params == names.params._asdict() and words.stderr == names.stderr._asdict() and words.names == ("a", "k")
    for y0, p0 in ((1.0, 0.2), (np.float64(1.0), np.float64(0.2))):
        number = adj.fit(plain(), data / 3.0, p0, y0=y0)
        assert isinstance(number.params, float) and isinstance(number.stderr, float) and number.names == ("p",)
    assert list(names.values) == ["a", "k"] and names.errors["k"] == names.stderr.k


class Odd(NamedTuple):
    y0: float
    k: float


def fading(n, y, p):
    return p.y0 * y


def test_a_parameter_that_is_called_y0_is_not_the_initial_state():
    model = adj.Simulation(decaying().step, 21, observe=fading, observe_at=AT)
    data = noisy(11)
    found = adj.fit(model, data, Odd(2.0, 0.2), y0=1.0, bounds={"p.y0": (0.0, None)})
    assert found.names == ("p.y0", "k")
    same(found, published(data))
    state = adj.fit(model, data, Odd(1.0, 0.2), y0=2.0, wrt=("k", "y0"), transform={"y0": "log"})
    assert state.names == ("k", "y0") and state.unknowns.transforms.logs.tolist() == [False, True]
    assert state.y0 == pytest.approx(found.params.y0, rel=1e-9) and state.params.y0 == 1.0


def test_results_are_pickled():
    for p0 in (START, {"a": 2.0, "k": 0.2}):
        found = adj.fit(decaying(), noisy(11), p0, y0=1.0)
        again = pickle.loads(pickle.dumps(found))
        assert str(again) == str(found) and again.params == found.params and type(again.params) is type(found.params)
        np.testing.assert_array_equal(again.profile("k", points=2).interval, found.profile("k", points=2).interval)


def gains(seed):
    truth = Gains(np.array([0.7, 0.05]), 0.1, 3)
    clean = exchanged(STEPS, truth.g, truth.k, 2.0, 0.5)
    return truth, clean + np.random.default_rng(seed).normal(0.0, 0.01, clean.shape)


def test_observations_of_every_form_give_the_same():
    truth, data = gains(1)
    p0 = Gains(np.array([0.5, 0.1]), 0.2, 3)
    y0 = Two(2.0, 0.5)
    whole = adj.fit(exchanging_array(), data, p0, y0=y0)
    assert whole.names == ("g[0]", "g[1]", "k") and whole.params.n == 3 and whole.stderr.n is None
    assert np.all(np.abs(whole.params.g - truth.g) < 5.0 * whole.stderr.g) and whole.stderr.g.shape == (2,)
    sigma = np.array([0.01, 0.02])
    weighted = adj.fit(exchanging_array(), data, p0, y0=y0, sigma=sigma)
    for given, known in (
        (data, sigma), (Two(*data.T), Two(0.01, 0.02)),
        ({"left": data[:, 0], "right": data[:, 1]}, {"right": 0.02, "left": 0.01}),
        (tuple(data.T), (np.full(8, 0.01), 0.02)), (data, np.broadcast_to(sigma, data.shape)),
    ):  # fmt: skip
        found = adj.fit(exchanging(), given, p0, y0=y0, sigma=known)
        np.testing.assert_allclose(found.x, weighted.x, rtol=1e-9)
        np.testing.assert_allclose(found.covariance, weighted.covariance, rtol=1e-7)
    assert adj.fit(exchanging(), data, p0, y0=y0).residuals.shape == data.shape
    only = adj.fit(exchanging(), Two(None, data[:, 1]), p0, y0=y0, sigma=0.02)
    one = adj.fit(exchanging(), {"right": data[:, 1]}, p0, y0=y0, sigma=0.02)
    assert only.n_data == 8 and only.residuals.left is None
    np.testing.assert_array_equal(only.x, one.x)


def test_parts_are_fixed_through_wrt():
    truth, data = gains(2)
    p0 = Gains(np.array([0.7, 0.1]), 0.2, 3)
    found = adj.fit(exchanging_array(), data, p0, y0=Two(2.0, 0.5), wrt=("p.g[1]", "k"))
    assert found.names == ("g[1]", "k") and found.params.g[0] == 0.7
    assert np.isnan(found.stderr.g[0]) and np.isfinite(found.stderr.g[1])
    fixed = curve_fit(
        lambda n, g, k: exchanged(STEPS, (0.7, g), k, 2.0, 0.5).ravel(), None, data.ravel(), (0.1, 0.2), ftol=1e-14, xtol=1e-14
    )  # fmt: skip
    same(found, fixed, 1e-6)
    assert p0.g[1] == 0.1  # not written


def test_initial_states_are_fitted():
    truth, data = gains(3)
    p0, y0 = Gains(np.array([0.5, 0.1]), 0.2, 3), Two(1.5, 0.3)
    found = adj.fit(exchanging_array(), data, p0, y0=y0, wrt=("p", "y0"))
    assert found.names == ("g[0]", "g[1]", "k", "y0.left", "y0.right") and isinstance(found.y0, Two)
    expected = curve_fit(
        lambda n, g0, g1, k, left, right: exchanged(STEPS, (g0, g1), k, left, right).ravel(), None, data.ravel(),
        (0.5, 0.1, 0.2, 1.5, 0.3), ftol=1e-14, xtol=1e-14,
    )  # fmt: skip
    np.testing.assert_allclose(found.x, expected[0], rtol=1e-6)
    np.testing.assert_allclose(found.covariance, expected[1], rtol=1e-4)
    np.testing.assert_allclose(found.y0_stderr, found.errors["y0.left"], rtol=3.0)
    assert found.y0_stderr.right == found.errors["y0.right"]
    part = adj.fit(exchanging_array(), data, p0, y0=Two(2.0, 0.3), wrt=("p", "y0.right"))
    assert part.y0.left == 2.0 and part.y0_stderr.left is None
    alone = adj.fit(plain(), 2.0 * 0.9**STEPS, 0.1, y0=1.0, wrt="y0")
    assert alone.y0 == pytest.approx(2.0, rel=1e-12) and alone.stderr is None and alone.params == 0.1


def amplitude(p):
    return p.a


def test_an_initial_state_that_is_a_function_of_p():
    data = noisy(12)
    model = adj.Simulation(adj.step(lambda_free_decay), 21, observe=observe_state, observe_at=AT)
    found = adj.fit(model, data, START, y0=amplitude)
    same(found, published(data))
    assert found.y0 == found.params.a and found.y0_stderr is None


def lambda_free_decay(n, y, p):
    return y * (1.0 - p.k)


def observe_state(n, y, p):
    return y


# -------------------------------------------------------------------------------------- bounds and what is not determined
def test_a_bound_that_is_hit_is_named():
    data = noisy(13)
    with pytest.warns(FitWarning, match=r"on a bound: k \(lower\)"):
        found = adj.fit(decaying(), data, Decay(2.0, 0.3), y0=1.0, bounds={"k": (0.15, None)})
    assert found.bounds_hit == {"k": "lower"} and found.params.k == 0.15 and found.active_mask.tolist() == [0, -1]
    best = np.linalg.lstsq(((1.0 - 0.15) ** STEPS)[:, None], data)[0][0]
    assert found.params.a == pytest.approx(best, rel=1e-10) and "on its lower bound" in str(found)
    inside = adj.fit(decaying(), data, START, y0=1.0, bounds={"k": (0.0, 1.0), "a": (None, 100.0)})
    same(inside, published(data))
    pair = adj.fit(decaying(), data, START, y0=1.0, bounds=((-np.inf, 0.0), (100.0, 1.0)))
    np.testing.assert_array_equal(pair.x, inside.x)


def test_a_combination_that_is_not_determined_is_named():
    data = noisy(14)
    model = adj.Simulation(twice, 21, observe=observe_twice, observe_at=AT)
    with pytest.warns(FitWarning, match=r"nothing changes with a by \+1 %, b by -1 %"):
        found = adj.fit(model, data, {"a": 2.0, "b": 1.5, "k": 0.2}, y0=1.0)
    reference = adj.fit(decaying(), data, START, y0=1.0)
    assert found.x[0] * found.x[1] == pytest.approx(reference.x[0], rel=1e-9)
    assert np.isinf(found.stderr["a"]) and np.isinf(found.stderr["b"])
    assert found.stderr["k"] == pytest.approx(reference.stderr.k * np.sqrt(6.0 / 5.0), rel=1e-8)
    assert np.isnan(found.correlation[0, 1]) and found.correlation[2, 2] == 1.0


def twice(n, y, p):
    return y * (1.0 - p.k)


def observe_twice(n, y, p):
    return p.a * p.b * y


def test_as_many_unknowns_as_data():
    model = decaying([0, 4])
    with pytest.warns(FitWarning, match="as many unknowns as data"):
        found = adj.fit(model, np.array([3.0, 2.0]), START, y0=1.0)
    assert np.isinf(found.covariance).all() and found.rss < 1e-20
    known = adj.fit(model, np.array([3.0, 2.0]), START, y0=1.0, sigma=0.1)
    assert known.stderr.a == pytest.approx(0.1)


def test_a_search_that_is_cut_short_says_so():
    with pytest.warns(FitWarning, match="did not converge"):
        found = adj.fit(decaying(), noisy(15), Decay(50.0, 0.9), y0=1.0, max_nfev=2)
    assert not found.success and found.status == 0 and "did not converge" in str(found)


def test_the_report():
    text = str(adj.fit(decaying(), noisy(16), START, y0=1.0))
    for part in (
        "[[Fit statistics]]",
        "data points n",
        "reduced chi-square",
        "[[Unknowns]]",
        "a: ",
        "+/-",
        "(start 2)",
        "C(a, k) = +",
    ):
        assert part in text
    assert "rss=" in repr(adj.fit(decaying(), noisy(16), START, y0=1.0))


# ------------------------------------------------------------------------------------------------------ trials that fail
def growth_data(p):
    y, out = 0.1, []
    for _ in range(61):
        out.append(y)
        y = y + p * y * y
    return np.array(out)[[0, 10, 20, 40, 60]]


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_a_blow_up_is_a_rejected_step(method):
    """From p = 0.01 a Gauss-Newton step of log(p) goes to where the state overflows."""
    data = growth_data(0.15)
    found = adj.fit(growing(), data, 0.01, y0=0.1, method=method, transform="log")
    assert found.params == pytest.approx(0.15, rel=1e-9) and found.success
    assert found.n_failed >= 1 and len(found.failures) == found.n_failed
    assert found.failures[0].parameters["p"] > 0.2 and "NonFiniteError" in found.failures[0].message
    assert "failed" in str(found)


def test_a_blow_up_at_the_start_is_an_error_that_names_the_parameters():
    with pytest.raises(adj.errors.FitError, match=r"cannot be run at the start, p=9: NonFiniteError") as error:
        adj.fit(growing(), growth_data(0.15), 9.0, y0=0.1)
    assert error.value.parameters == {"p": 9.0} and isinstance(error.value.__cause__, adj.errors.NonFiniteError)


# ------------------------------------------------------------------------------------------------- what happens meanwhile
def test_callbacks_see_the_iterations_and_may_end_them():
    seen = []
    found = adj.fit(decaying(), noisy(17), Decay(1.0, 0.5), y0=1.0, callback=seen.append)
    costs = [it.cost for it in seen[: found.nit]]
    assert [it.iteration for it in seen] == list(range(len(seen))) and costs == sorted(costs, reverse=True)
    assert set(seen[0].parameters) == {"a", "k"} and seen[0].parameters["a"] == 1.0

    def stop(it):
        return it.iteration == 2

    with pytest.warns(FitWarning, match="the callback ended the search"):
        ended = adj.fit(decaying(), noisy(17), Decay(1.0, 0.5), y0=1.0, callback=stop)
    assert not ended.success and ended.status == -2 and ended.cost <= seen[2].cost


def test_an_interruption_returns_the_best_so_far():
    def interrupt(it):
        if it.iteration == 2:
            raise KeyboardInterrupt

    with pytest.warns(FitWarning, match="interrupted"):
        found = adj.fit(decaying(), noisy(18), Decay(1.0, 0.5), y0=1.0, callback=interrupt)
    first = np.sum((closed(STEPS, 1.0, 0.5) - noisy(18)) ** 2)
    assert found.rss < first and np.isfinite(found.stderr).all()


def test_no_warning_without_a_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adj.fit(decaying(), noisy(19), START, y0=1.0, sigma=0.05)


# ------------------------------------------------------------------------------------------------------- other models
def hand_vjp(n, y, p, y_next_bar):
    return (1.0 - p) * y_next_bar, -y * y_next_bar


@adj.step(vjp=hand_vjp, jit=False)
def by_hand(n, y, p):
    return y - p * y


@pytest.mark.parametrize("method", ["trf", "L-BFGS-B"])
def test_a_step_with_a_derivative_by_hand(method):
    model = adj.Simulation(by_hand, 21, observe=observe_state, observe_at=AT)
    found = adj.fit(model, noisy(20), 0.3, y0=3.0, method=method)
    reference = adj.fit(plain(), noisy(20), 0.3, y0=3.0)
    assert found.params == pytest.approx(reference.params, rel=1e-5)
    assert found.stderr == pytest.approx(reference.stderr, rel=1e-4)


@adj.step
def turning(n, y, p):
    return y * np.exp(1j * p)


def real_part(n, y, p):
    return y.real


def test_complex_states_are_no_unknowns():
    model = adj.Simulation(turning, 20, observe=real_part, observe_at=list(range(21)))
    data = np.cos(0.3 * np.arange(21))
    assert adj.fit(model, data, 0.28, y0=1.0 + 0j).params == pytest.approx(0.3, rel=1e-12)
    with pytest.raises(adj.errors.ArgumentError, match="y0 is complex, and only real numbers are fitted"):
        adj.fit(model, data, 0.28, y0=1.0 + 0j, wrt=("p", "y0"))
    whole = adj.Simulation(turning, 20, observe=observe_state, observe_at=list(range(21)))
    with pytest.raises(adj.errors.StructureError, match="of complex observations, but expected real ones"):
        adj.fit(whole, data, 0.28, y0=1.0 + 0j)


class Inner(NamedTuple):
    k: np.float32
    w: np.ndarray


class Outer(NamedTuple):
    a: Inner
    b: tuple


@adj.step
def nested(n, y, p):
    return y - p.a.k * p.a.w * y + p.b[0]


def test_nested_parameters_of_several_kinds():
    model, y0 = adj.Simulation(nested, 10, observe=observe_state, observe_at=[1, 3, 5, 7, 10]), np.array([1.0, 2.0])
    truth = Outer(Inner(np.float32(0.1), np.array([1.0, 2.0])), (0.01, 3))
    start = Outer(Inner(np.float32(0.1), np.array([1.2, 1.7])), (0.0, 3))
    found = adj.fit(
        model, model.run(y0, truth).observations, start, y0=y0, sigma=0.1, wrt=("p.a.w", "p.b"), transform={"a.w": "log"},
        bounds={"a.w[1]": (0.5, 5.0), "b[0]": (-1.0, 1.0), "p": (-9.0, 9.0)},
    )  # fmt: skip
    assert found.names == ("a.w[0]", "a.w[1]", "b[0]")
    np.testing.assert_allclose(found.x, [1.0, 2.0, 0.01], rtol=1e-10)
    assert isinstance(found.params, Outer) and found.params.b[1] == 3 and found.stderr.b[1] is None and found.stderr.a.k is None
    assert found.unknowns.transforms.low.tolist() == [-9.0, 0.5, -1.0] and found.stderr.a.w.shape == (2,)
