"""What makes no fit: each is an error that names the argument, or the nearest name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import AdjointSimError, ArgumentError, FitError, StructureError

from .models import AT, Decay, Gains, Two, decaying, exchanging, exchanging_array, noisy, plain

DATA = noisy(0)
START = Decay(2.0, 0.2)
TWO = np.ones((8, 2))


def refused(error, match, *args, **given):
    with pytest.raises(error, match=match) as caught:
        adj.fit(*args, **given)
    assert isinstance(caught.value, AdjointSimError)


NAN_CHANNEL = TWO.copy()
NAN_CHANNEL[:, 1] = np.nan


@pytest.mark.parametrize(
    ("match", "error", "data"),
    [
        (r"data of shape \(7,\), but the model observes shape \(8,\)", StructureError, DATA[:7]),
        (r"data of shape \(8, 1\)", StructureError, DATA[:, None]),
        ("data that is all NaN", ArgumentError, np.full(8, np.nan)),
        (r"data\[3\] = inf", ArgumentError, np.where(np.arange(8) == 3, np.inf, DATA)),
        ("data as a list", StructureError, ["a"] * 8),
        ("complex data", StructureError, DATA + 1j),
        ("but the model observes one array", StructureError, (DATA, DATA)),
        ("no data", ArgumentError, None),
    ],
)
def test_data(match, error, data):
    refused(error, match, decaying(), data, START, y0=1.0)


def test_data_of_several_channels():
    p0, y0 = Gains(np.array([0.5, 0.1]), 0.2, 3), Two(2.0, 0.5)
    refused(ArgumentError, r"data\[:, 1\] that is all NaN.*each channel", exchanging_array(), NAN_CHANNEL, p0, y0=y0)
    refused(ArgumentError, r"data\.right that is all NaN", exchanging(), NAN_CHANNEL, p0, y0=y0)
    refused(
        StructureError,
        r"data of shape \(8, 3\), but expected an array of shape \(8, 2\)",
        exchanging(),
        np.ones((8, 3)),
        p0,
        y0=y0,
    )
    refused(StructureError, "data as a tuple, but expected the structure", exchanging(), (DATA,), p0, y0=y0)
    refused(ArgumentError, "'rigth'.*did you mean 'right'", exchanging(), {"rigth": DATA}, p0, y0=y0)
    refused(ArgumentError, "data without a number", exchanging(), Two(None, None), p0, y0=y0)
    refused(ArgumentError, r"no sigma\.right", exchanging(), TWO, p0, y0=y0, sigma=Two(0.1, None))


@pytest.mark.parametrize(
    ("match", "error", "sigma"),
    [
        ("= -0.1, but expected positive", ArgumentError, -0.1),
        ("= 0, but expected positive", ArgumentError, 0.0),
        (r"sigma\[2\] = nan", ArgumentError, np.where(np.arange(8) == 2, np.nan, 0.1)),
        (r"sigma of shape \(3,\), but expected a number, shape \(8,\)", StructureError, np.ones(3)),
        ("sigma as a str", StructureError, "much"),
    ],
)
def test_sigma(match, error, sigma):
    refused(error, match, decaying(), DATA, START, y0=1.0, sigma=sigma)


def test_a_sigma_of_missing_data_may_be_missing():
    data, sigma = DATA.copy(), np.full(8, 0.1)
    data[2] = sigma[2] = np.nan
    assert adj.fit(decaying(), data, START, y0=1.0, sigma=sigma).n_data == 7


@pytest.mark.parametrize(
    ("match", "error", "given"),
    [
        (r"bounds \(0.3, inf\) of 'k', which exclude its start 0.2", ArgumentError, {"bounds": {"k": (0.3, None)}}),
        (r"bounds \(0.5, 0.1\) of 'k'.*lower one below", ArgumentError, {"bounds": {"k": (0.5, 0.1)}}),
        ("bounds name 'kk'.*did you mean 'k'", ArgumentError, {"bounds": {"kk": (0, 1)}}),
        ("bounds 3 of 'k', but expected a pair", ArgumentError, {"bounds": {"k": 3}}),
        ("a bound of 'k' that is NaN", ArgumentError, {"bounds": {"k": (0, np.nan)}}),
        ("bounds of 'k', but it is not fitted", ArgumentError, {"bounds": {"k": (0, 1)}, "wrt": "p.a"}),
        ("expected a dict such as", StructureError, {"bounds": 3.0}),
        ("bounds of structure", StructureError, {"bounds": ((0.0,), (1.0,))}),
        ("bounds= and method='lm'", ArgumentError, {"bounds": {"k": (0, 1)}, "method": "lm"}),
        ("transform name 'a0'.*did you mean 'a'", ArgumentError, {"transform": {"a0": "log"}}),
        ("transform 'logarithm' of 'a'", ArgumentError, {"transform": {"a": "logarithm"}}),
        ("transform as a list", StructureError, {"transform": ["log"]}),
        ("'logit' of 'k', but expected both its bounds", ArgumentError, {"transform": {"k": "logit"}}),
        ("is a bound: expected one between", ArgumentError, {"transform": {"k": "logit"}, "bounds": {"k": (0.2, 1)}}),
        ("an upper bound 0 and transform 'log'", ArgumentError, {"transform": {"k": "log"}, "bounds": {"k": (None, 0)}}),
        ("wrt name 'p.kay'.*did you mean 'p.k'", ArgumentError, {"wrt": "p.kay"}),
        ("wrt name 'zzz', but expected one of 'p', 'p.a'", ArgumentError, {"wrt": "zzz"}),
        ("method='newton', but expected one of 'trf'", ArgumentError, {"method": "newton"}),
        ("loss='cubic', but expected one of", ArgumentError, {"loss": "cubic"}),
        ("f_scale=0.0", ArgumentError, {"loss": "huber", "f_scale": 0.0}),
        ("local= and one experiment", ArgumentError, {"local": "k"}),
        ("priors= without known sigma", ArgumentError, {"priors": {"k": (0.1, 0.1)}}),
        ("sigma= and loss='poisson'", ArgumentError, {"loss": "poisson", "sigma": 1.0}),
        ("workers=0", ArgumentError, {"workers": 0}),
        ("workers='two'", ArgumentError, {"workers": "two"}),
        ("ftol=-1.0, but expected a positive number", ArgumentError, {"ftol": -1.0}),
        ("xtol='fine'", ArgumentError, {"xtol": "fine"}),
        ("expected one of them: a search has to end", ArgumentError, {"ftol": None, "xtol": None, "gtol": None}),
        ("max_nfev=0", ArgumentError, {"max_nfev": 0}),
        ("callback as a int", StructureError, {"callback": 3}),
        ("progress=3", ArgumentError, {"progress": 3}),
        ("checkpoint as a int", StructureError, {"checkpoint": 3}),
    ],
)  # fmt: skip
def test_names_bounds_transforms_and_options(match, error, given):
    refused(error, match, decaying(), DATA, START, y0=1.0, **given)


def test_the_logarithm_of_a_start_that_is_not_positive():
    for start in (0.0, -0.2):
        refused(
            ArgumentError, "'log' of 'k', whose start is", decaying(), DATA, Decay(2.0, start), y0=1.0, transform={"k": "log"}
        )


def test_priors():
    given = {"y0": 1.0, "sigma": 0.1}
    refused(ArgumentError, "prior 3 of 'k'", decaying(), DATA, START, priors={"k": 3}, **given)
    refused(
        ArgumentError,
        "prior .* of 'k', but expected .mean, sd. with a positive",
        decaying(),
        DATA,
        START,
        priors={"k": (1, -1)},
        **given,
    )
    refused(ArgumentError, "priors name 'q'", decaying(), DATA, START, priors={"q": (1, 1)}, **given)
    refused(StructureError, "priors as a list", decaying(), DATA, START, priors=[1], **given)


def test_starts():
    refused(ArgumentError, "no y0=", decaying(), DATA, START)
    refused(StructureError, "no float to fit: write 1.0 instead of 1", plain(), DATA, 1, y0=1.0)
    refused(
        ArgumentError, "'p.k', but integers and bools are not fitted", decaying(), DATA, Decay(2.0, 1), y0=1.0, wrt=("p.a", "p.k")
    )
    refused(StructureError, "as a set", decaying(), DATA, {1.0}, y0=1.0)
    refused(ArgumentError, "'a b' in p0, but expected one that a model can read", decaying(), DATA, {"a b": 1.0}, y0=1.0)
    refused(ArgumentError, "'lambda' in p0", decaying(), DATA, {"lambda": 1.0}, y0=1.0)
    refused(ArgumentError, "'p', but p0 is None", decaying(), DATA, None, y0=1.0)
    refused(ArgumentError, "y0 is a function of p", decaying(), DATA, START, y0=one, wrt=("p", "y0"))
    refused(StructureError, "model as a function", one, DATA, START, y0=1.0)


def one(p):
    return p.a


def test_fewer_data_than_unknowns():
    data = DATA.copy()
    data[1:] = np.nan
    refused(ArgumentError, "1 data and 2 unknowns", decaying(), data, START, y0=1.0)


class Idle(NamedTuple):
    a: float
    k: float
    spare: float


def test_a_parameter_that_changes_nothing():
    refused(
        ArgumentError,
        "'spare' to fit, but nothing that was measured depends on it",
        decaying(),
        DATA,
        Idle(2.0, 0.2, 1.0),
        y0=1.0,
    )
    found = adj.fit(decaying(), DATA, Idle(2.0, 0.2, 1.0), y0=1.0, wrt=("a", "k"))
    assert found.params.spare == 1.0 and found.stderr.spare is None and "[[Not fitted]]\n    spare:" in str(found)


def test_observations_at_the_same_time():
    twice = decaying([0, 1, 1, 3, 5, 8, 13, 21])
    refused(ArgumentError, r"observe_at\[1\] and observe_at\[2\] both at step 1", twice, DATA, START, y0=1.0)
    with pytest.raises(ArgumentError, match=r"t_eval\[1\]=1.0 and t_eval\[2\]=1.0"):
        adj.ODE(one, [0.0, 1.0, 1.0, 3.0])


def test_models_that_observe_nothing():
    model = adj.Simulation(adj.step(still), 3, terminal=end)
    refused(ArgumentError, "without observe=", model, DATA, START, y0=1.0)


def still(n, y, p):
    return y


def end(y, p):
    return y


def test_experiments():
    one_of = adj.Experiment(decaying(), DATA, 1.0)
    refused(StructureError, "item 1 of the list as a Simulation", [one_of, decaying()], START)
    refused(ArgumentError, "an empty list", [], START)
    refused(ArgumentError, "y0= beside Experiments", [one_of], START, y0=1.0)
    refused(ArgumentError, "sigma= beside Experiments", [one_of], START, sigma=1.0)
    refused(ArgumentError, "data beside Experiments", [one_of], DATA, START)
    refused(ArgumentError, "two experiments of the same name", [adj.Experiment(decaying(), DATA, 1.0, name="x")] * 2, START)
    refused(
        ArgumentError, "sigma of some experiments but not of '1'", [adj.Experiment(decaying(), DATA, 1.0, 0.1), one_of], START
    )
    refused(ArgumentError, "local name 'kk'", [one_of, one_of], START, local="kk")
    refused(ArgumentError, "local name 'k', but it is not fitted", [one_of, one_of], START, local="k", wrt="a")
    refused(
        ArgumentError,
        "a value of 'k' for experiment '1', but all",
        [one_of, adj.Experiment(decaying(), DATA, 1.0, p={"k": 0.1})],
        START,
    )
    refused(ArgumentError, "'q'", [one_of, adj.Experiment(decaying(), DATA, 1.0, p={"q": 0.1})], START)
    refused(
        ArgumentError,
        "k=nan for experiment '1'",
        [one_of, adj.Experiment(decaying(), DATA, 1.0, p={"k": np.nan})],
        START,
        local="k",
    )
    refused(
        StructureError, r"data of shape \(3,\) for experiment '1'", [one_of, adj.Experiment(decaying(), DATA[:3], 1.0)], START
    )
    with pytest.raises(ArgumentError, match="without '@'"):
        adj.Experiment(decaying(), DATA, 1.0, name="a@b")
    with pytest.raises(StructureError, match="p of an experiment as a tuple"):
        adj.Experiment(decaying(), DATA, 1.0, p=(1.0,))


def failing_ode(t, y, p):
    return p.k * y * y


def observed(t, y, p):
    return p.a * y


def test_an_integration_that_fails_at_the_start():
    ode = adj.ODE(failing_ode, [0.0, 1.0, 2.0], observe=observed)
    refused(FitError, "at the start, a=1, k=2: IntegrationError", ode, np.ones(3), Decay(1.0, 2.0), y0=1.0)
    found = adj.fit(ode, 1.0 / (1.0 - 0.4 * np.array([0.0, 1.0, 2.0])), Decay(1.0, 0.02), y0=1.0, transform={"k": "log"})
    np.testing.assert_allclose(found.x, [1.0, 0.4], rtol=1e-5)
    assert found.n_failed > 0 and "IntegrationError" in found.failures[0].message


def test_an_observation_that_is_not_a_number():
    model = adj.Simulation(adj.step(still), 3, observe=root, observe_at=[0, 3])
    refused(FitError, r"the observation of data\[0\] is nan", model, np.ones(2), Decay(-1.0, 0.1), y0=1.0)


def root(n, y, p):
    return np.sqrt(p.a) * y + p.k


def test_data_that_a_loss_cannot_have():
    refused(
        ArgumentError,
        r"data\[2\] = 2.5 and loss='poisson'",
        decaying(),
        [1, 2, 2.5, 3, 4, 5, 6, 7],
        START,
        y0=1.0,
        loss="poisson",
    )
    refused(ArgumentError, r"data\[0\] = 0 and loss='lognormal'", decaying(), np.arange(8.0), START, y0=1.0, loss="lognormal")
    with pytest.raises(ArgumentError, match=r"shape \(2, 8\) from loss"):
        adj.fit(decaying(), DATA, START, y0=1.0, loss=lambda s: np.stack([s, s]))
    assert len(AT) == 8
