"""Several experiments: what they share and what is their own, beside one ``curve_fit`` of all; the same bits for any workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

import adjointsim as adj
from adjointsim.errors import AdjointSimError, ArgumentError, FitWarning
from adjointsim.ode import solve

from .elsewhere import told
from .models import AT, SHORT, START, STEPS, Decay, closed, decaying, noisy, plain, three
from .test_nist import nist


def together(experiments):
    return np.concatenate([e.data for e in experiments])


def test_shared_parameters_are_those_of_one_fit():
    experiments = [adj.Experiment(decaying(), noisy(1), 1.0), adj.Experiment(decaying(SHORT), noisy(2, at=SHORT), 1.0)]
    found = adj.fit(experiments, START)
    n = np.concatenate([STEPS, SHORT])
    x, covariance = curve_fit(closed, n, together(experiments), START, ftol=1e-14, xtol=1e-14)
    np.testing.assert_allclose(found.x, x, rtol=1e-7)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5)
    assert found.names == ("a", "k") and isinstance(found.params, Decay) and found.n_data == 12
    assert len(found.residuals) == 2 and found.residuals[1].shape == (4,)
    again = adj.fit(experiments, p0=START)
    np.testing.assert_array_equal(again.x, found.x)


def test_parameters_of_their_own():
    experiments = three()
    found = adj.fit(experiments, START, local="a")

    def all_of(_, k, a, b, c):
        return np.concatenate([closed(STEPS, a, k), closed(np.array(SHORT), b, k), closed(STEPS, c, k)])

    x, covariance = curve_fit(all_of, None, together(experiments), (0.2, 2.0, 2.0, 2.0), ftol=1e-14, xtol=1e-14)
    assert found.names == ("k", "a@first", "a@second", "a@third")
    np.testing.assert_allclose(found.x, x, rtol=1e-7)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5, atol=1e-12)
    assert [p.a for p in found.params] == found.x[1:].tolist() and {p.k for p in found.params} == {found.x[0]}
    assert found.stderr[2].a == found.errors["a@third"] and found.stderr[0].k == found.stderr[1].k == found.errors["k"]


def test_all_of_their_own_are_as_many_fits():
    experiments = three(sigma=0.05)
    found = adj.fit(experiments, START, local=("a", "k"))
    for k, e in enumerate(experiments):
        alone = adj.fit(e.model, e.data, START, y0=1.0, sigma=0.05)
        np.testing.assert_allclose(found.x[2 * k : 2 * k + 2], alone.x, rtol=1e-9)
        own = found.covariance[2 * k : 2 * k + 2, 2 * k : 2 * k + 2]
        np.testing.assert_allclose(own, alone.covariance, rtol=1e-7)
        assert np.all(found.covariance[2 * k : 2 * k + 2, : 2 * k] == 0.0)


def test_bounds_and_transforms_of_one_of_them():
    first, second, third = three()
    second = replace(second, p={"a": 0.4})
    with pytest.warns(FitWarning, match=r"on a bound: a@second \(upper\)"):
        found = adj.fit(
            [first, second, third],
            START,
            local="a",
            transform={"k": "log", "a": "log", "a@third": "identity"},
            bounds={"a": (0.0, 100.0), "a@second": (None, 0.5)},
        )
    assert found.x[2] == pytest.approx(0.5, rel=1e-15) and found.unknowns.x0.tolist() == [0.2, 2.0, pytest.approx(0.4), 2.0]
    assert found.unknowns.transforms.logs.tolist() == [True, True, True, False]
    with pytest.raises(ArgumentError, match="bounds name 'a@fourth'.*did you mean 'a@"):
        adj.fit([first, second, third], START, local="a", bounds={"a@fourth": (0, 1)})


def test_values_of_their_own_that_are_not_fitted():
    """Amplitudes that are known, one of each experiment."""
    experiments = [
        adj.Experiment(decaying(), noisy(4, a, 0.1), 1.0, 0.05, p={"a": a}) for a in (1.0, 2.0, 4.0)
    ]  # fmt: skip
    found = adj.fit(experiments, START, wrt="k")
    assert found.names == ("k",) and [p.a for p in found.params] == [1.0, 2.0, 4.0]

    def all_of(_, k):
        return np.concatenate([closed(STEPS, a, k) for a in (1.0, 2.0, 4.0)])

    x, covariance = curve_fit(all_of, None, together(experiments), (0.2,), np.full(24, 0.05), True, ftol=1e-14, xtol=1e-14)
    np.testing.assert_allclose(found.x, x, rtol=1e-7)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5)


def test_initial_states_of_their_own():
    experiments = [adj.Experiment(plain(), a * 0.9**STEPS, 1.0) for a in (2.0, 5.0)]
    found = adj.fit(experiments, 0.2, wrt=("p", "y0"))
    assert found.names == ("p", "y0@0", "y0@1")
    np.testing.assert_allclose(found.x, [0.1, 2.0, 5.0], rtol=1e-10)
    assert found.y0 == tuple(found.x[1:])
    assert len(found.y0_stderr) == 2


# ------------------------------------------------------------------------------------------------------------- workers
def fitted(workers, experiments=None):
    return adj.fit(experiments or three(), START, local="a", workers=workers)


def same_bits(a, b):
    for name in ("x", "fun", "jac", "covariance", "grad"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert (a.nfev, a.njev, a.nit) == (b.nfev, b.njev, b.nit)


def test_threads_change_no_bit():
    alone = fitted(None)
    for workers in (1, 2, 3):
        same_bits(fitted(workers), alone)
    with ThreadPoolExecutor(2) as pool:
        same_bits(fitted(pool), alone)
        assert pool.submit(int, "3").result() == 3  # the user's pool is left open


class Unreliable(Executor):
    """Does every task in this process, and loses some."""

    def __init__(self, lost):
        self.lost, self.count = lost, 0

    def submit(self, fn, /, *args, **kwargs):
        self.count += 1
        future = Future()
        if self.lost(self.count):
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("lost", [lambda k: k % 3 == 0, lambda k: k > 4, lambda k: True], ids=["some", "from then on", "all"])
def test_a_worker_that_dies_costs_no_bit(lost):
    pool = Unreliable(lost)
    same_bits(fitted(pool), fitted(None))
    assert pool.count < 1000


class Closed(Executor):
    def submit(self, fn, /, *args, **kwargs):
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_names_travel_with_the_parameters():
    pool = Unreliable(lambda k: False)
    experiments = [adj.Experiment(decaying(), noisy(k), 1.0) for k in range(2)]
    here, there = (adj.fit(experiments, {"a": 2.0, "k": 0.2}, workers=workers) for workers in (None, pool))
    same_bits(here, there)
    assert pool.count > 4 and there.params.keys() == {"a", "k"}


def test_a_pool_that_takes_nothing():
    same_bits(fitted(Closed()), fitted(None))


def test_processes_of_which_one_is_killed():
    """A real worker that is killed in mid-fit: its pool is broken from then on, and the fit goes on here."""
    context = multiprocessing.get_context("spawn")
    killed = []
    with ProcessPoolExecutor(1, context) as pool:

        def kill(iteration):
            if iteration.iteration == 2 and not killed:
                (pid,) = pool._processes
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

        found = adj.fit(three(), START, local="a", workers=pool, callback=kill)
    assert killed
    same_bits(found, fitted(None))


def elsewhere(kind, *launcher):
    """What ``elsewhere.py`` prints; nothing can hang longer than two minutes."""
    as_root = {name: "1" for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")}
    environment = {**os.environ, **as_root, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    command = [*launcher, "-m", "fitting.elsewhere", kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_cluster_of_dask_of_which_a_worker_is_killed():
    pytest.importorskip("distributed", reason="not installed: pip install '.[dask]'")
    found = elsewhere("dask", sys.executable)
    assert found.pop("killed") and found.pop("others")
    assert found == told(fitted(None))


def test_two_ranks_of_mpi():
    pytest.importorskip("mpi4py", reason="not installed: pip install '.[mpi]'")
    launcher = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if launcher is None:
        pytest.skip("there is no mpiexec")
    found = elsewhere("mpi", launcher, "-n", "2", sys.executable, "-m", "mpi4py.futures")
    assert found.pop("others")
    assert found == told(fitted(None))


def test_models_travel_between_processes():
    model = decaying()
    model.run(1.0, START)
    there = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(there.run(1.0, START).observations, model.run(1.0, START).observations)
    ode = adj.ODE(fading, [0.0, 1.0])
    ode.run(1.0, 0.1)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(ode)).run(1.0, 0.1).observations, ode.run(1.0, 0.1).observations
    )  # fmt: skip


def fading(t, y, p):
    return -p * y


def test_a_model_that_cannot_travel():
    def inner(n, y, p):
        return p.a * y

    model = adj.Simulation(decaying().step, 21, observe=inner, observe_at=AT)
    with pytest.raises(ArgumentError, match="a model that cannot be sent"):
        adj.fit([adj.Experiment(model, noisy(1), 1.0)] * 2, START, workers=Unreliable(lambda k: False))


def test_an_error_of_a_worker_that_is_none_of_the_models():
    class Odd(Unreliable):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.set_result((False, "TypeError: a fault"))
            return future

    with pytest.raises(AdjointSimError, match="TypeError: a fault"):
        fitted(Odd(lambda k: False))


def logistic(t, y, p):
    return p.k * y * (1.0 - y)


def low(p):
    return 0.1 * p.a


def high(p):
    return 0.1 + 0.2 * p.a


@pytest.mark.parametrize("workers", [None, 2])
def test_initial_states_by_different_functions(workers):
    """Models with one right-hand side share what is compiled; each has its own initial state."""
    truth, times = Decay(1.0, 0.7), [np.array([1.0, 2.0, 4.0]), np.array([0.5, 3.0])]
    models = [adj.ODE(logistic, t, t0=0.0, method="rk4", dt=0.05) for t in times]
    data = []
    for y0, t in zip((0.1, 0.3), times, strict=True):
        data.append(1.0 / (1.0 + (1.0 / y0 - 1.0) * np.exp(-truth.k * t)))
    experiments = [adj.Experiment(m, d, y0) for m, d, y0 in zip(models, data, (low, high), strict=True)]
    for _ in range(2):
        found = adj.fit(experiments, Decay(0.5, 0.3), workers=workers)
        np.testing.assert_allclose(found.x, truth, rtol=1e-6)
        np.testing.assert_allclose(found.y0, [0.1, 0.3], rtol=1e-6)
    swapped = adj.fit([adj.Experiment(models[1], data[1], high), adj.Experiment(models[0], data[0], low)], Decay(0.5, 0.3))
    np.testing.assert_allclose(swapped.x, found.x, rtol=1e-9)


@pytest.mark.parametrize("workers", [None, 2])
def test_steps_are_found_once_for_a_run_and_its_jacobian(monkeypatch, workers):
    """Of an integration with adaptive steps: what is fitted does not depend on that."""
    monkeypatch.setattr("adjointsim.fitting.together._WORTH", np.inf)
    model = adj.ODE(fading, [0.5, 1.0, 3.0], t0=0.0, rtol=1e-9, atol=1e-9)
    data = [np.exp(-0.7 * model.t_eval), 2.0 * np.exp(-0.7 * model.t_eval)]
    experiments = [adj.Experiment(model, d, y0) for d, y0 in zip(data, (1.1, 1.9), strict=True)]
    expected = adj.fit(experiments, 0.5, wrt=("p", "y0"), workers=Unreliable(lambda k: False))
    calls, real = [], solve.integrate
    monkeypatch.setattr(solve, "integrate", lambda *args: calls.append(args) or real(*args))
    found = adj.fit(experiments, 0.5, wrt=("p", "y0"), workers=workers)
    same_bits(found, expected)
    np.testing.assert_allclose(found.x, [0.7, 1.0, 2.0], rtol=1e-8)
    assert len(calls) == 2 * found.nfev and found.njev > 3


def test_values_and_jacobian_are_found_together_while_steps_are_accepted(monkeypatch):
    """The first run is by itself; where a trial is rejected the next one is run without its Jacobian; what fails is run again."""
    monkeypatch.setattr("adjointsim.fitting.together._WORTH", np.inf)
    p = nist.PROBLEMS["BoxBOD"]
    runs, pairs = [], []
    for name, calls in (("observations", runs), ("linearised", pairs)):
        real = getattr(solve.Solve, name)
        monkeypatch.setattr(solve.Solve, name, lambda *args, real=real, calls=calls: calls.append(args) or real(*args))
    model = adj.ODE(p.rhs, p.x, t0=0.0, method="rk4", dt=p.dt)
    found = adj.fit(model, p.y, p.starts[0], y0=p.y0)
    np.testing.assert_allclose(found.x, p.b, rtol=1e-9)
    assert len(pairs) >= found.njev - 3 and 3 <= len(runs) < 15 and found.n_failed == 1
    assert len(runs) + len(pairs) - found.nfev <= 1  # the trial that fails
    columns = adj.fit(model, p.y, p.starts[1], y0=p.y0, workers=Unreliable(lambda k: k % 5 == 0))
    same_bits(columns, adj.fit(model, p.y, p.starts[1], y0=p.y0))


def test_derivatives_that_fail_in_mid_fit_end_it(monkeypatch):
    """What is known of the Jacobian then is not taken for all of it."""
    experiments = [adj.Experiment(decaying(), noisy(k), 1.0, name=name) for k, name in enumerate("ab")]
    own, calls = experiments[1].model.jacobian, []

    def failing(*args):
        calls.append(args)
        if len(calls) > 3:
            raise FloatingPointError("no derivative")
        return own(*args)

    monkeypatch.setattr(experiments[1].model, "jacobian", failing)
    with pytest.warns(FitWarning) as said:
        found = adj.fit(experiments, START)
    texts = [str(warning.message) for warning in said]
    assert any("cannot be computed where the search is: FloatingPointError: no derivative" in text for text in texts)
    assert any("could not be computed at the optimum" in text for text in texts)
    assert not found.success and np.isnan(found.covariance).all() and np.isnan(found.jac).all() and len(calls) >= 5
    assert {failure.experiment for failure in found.failures} == {"b"}


def test_failures_name_the_experiment():
    """A blow-up in one of two."""
    from .models import growing
    from .test_least_squares import growth_data

    experiments = [
        adj.Experiment(growing(), growth_data(0.15), 0.1, name="slow"),
        adj.Experiment(growing(), growth_data(0.15), 0.1, name="same"),
    ]
    for workers in (None, 2, Unreliable(lambda k: False)):
        found = adj.fit(experiments, 0.01, transform="log", workers=workers)
        assert found.params == pytest.approx(0.15, rel=1e-9)
        assert {failure.experiment for failure in found.failures} == {"slow"} and found.n_failed == len(found.failures) > 0
    with pytest.raises(adj.errors.FitError, match="the model of experiment 'slow' cannot be run at the start, p=9"):
        adj.fit(experiments, 9.0)
