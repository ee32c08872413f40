"""Fits by gradients and Hessian products: the optimum of least squares, exact products, many unknowns; checkpoints, progress."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import adjointsim as adj
from adjointsim.errors import ArgumentError, FitWarning, RestartError, StorageError
from adjointsim.fitting.search import Options, search
from adjointsim.fitting.transforms import Transforms

from .models import AT, STEPS, Decay, Two, closed, decaying, exchanging, growing, noisy
from .test_least_squares import gains, growth_data

START = Decay(2.0, 0.2)
METHODS = ["L-BFGS-B", "trust-constr", "Newton-CG"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss", ["linear", "poisson"])
def test_the_optimum_of_least_squares(method, loss):
    data = noisy(1) if loss == "linear" else np.random.default_rng(2).poisson(closed(STEPS, 40.0, 0.1)).astype(float)
    reference = adj.fit(decaying(), data, START, y0=1.0, loss=loss)
    found = adj.fit(decaying(), data, START, y0=1.0, loss=loss, method=method, transform={"a": "log"})
    np.testing.assert_allclose(found.x, reference.x, rtol=1e-5)
    np.testing.assert_allclose(found.covariance, reference.covariance, rtol=1e-4)
    assert found.cost == pytest.approx(reference.cost, rel=1e-9) and found.nit > 1 and found.method == method


class Quadratic:
    """What stands for an evaluator: 72 at the start, 6 at the optimum, where the third unknown is on its upper bound."""

    h = np.array([[26.31, 32.19, 28.46], [32.19, 45.52, 32.12], [28.46, 32.12, 37.46]])
    c = np.array([55.52, 71.17, 70.42])
    n_failed, priors = 0, ()

    def __init__(self):
        kinds, low, high = ["logit", "log", "identity"], np.array([-2.4, -np.inf, 0.4557]), np.array([2.3, np.inf, 0.8057])
        transforms, x0 = Transforms.of(kinds, low, high), np.array([1.998, 1.245, 0.7557])
        self.unknowns = SimpleNamespace(transforms=transforms, z0=transforms.to_z(x0))
        self.loss = SimpleNamespace(rho=None)

    def named(self, x):
        return {}

    def cost_and_gradient(self, x):
        return 0.5 * x @ self.h @ x - self.c @ x + 73.1474, self.h @ x - self.c


def test_a_line_search_that_ends_far_from_the_optimum():
    """SciPy's says that it has converged, at a cost of 9, from this start."""
    options = Options("L-BFGS-B", 1e-10, 1e-10, 1e-10, None, None)
    found = search(Quadratic(), options)
    x = np.linalg.solve(Quadratic.h[:2, :2], Quadratic.c[:2] - 0.8057 * Quadratic.h[:2, 2])
    np.testing.assert_allclose(found.x, [*x, 0.8057], rtol=1e-5)
    assert found.success and found.bounds_hit == {2: "upper"}


class Linear:
    """What stands for an evaluator of residuals: r x - d, and a last one that is always the same."""

    r = np.array([[15.04, 11.78, 14.17, 2.12, 9.25], [0.0, 7.49, 3.17, 0.84, 0.41], [0.0, 0.0, 6.21, 1.23, 2.92],
                  [0.0, 0.0, 0.0, 7.06, -3.34], [0.0, 0.0, 0.0, 0.0, 8.98]])  # fmt: skip
    d = np.array([62.29, 15.0, 6.78, 7.55, 10.13])
    low, high = np.array([1.6437, 0.9081, *[-np.inf] * 3]), np.array([np.inf, 1.2581, *[np.inf] * 3])
    n_failed, n, priors = 0, 6, ()

    def __init__(self):
        transforms = Transforms.of(["identity"] * 5, self.low, self.high)
        self.unknowns = SimpleNamespace(transforms=transforms, z0=np.array([1.7319, 1.2081, 1.7539, 1.7918, 1.7918]))
        self.loss = SimpleNamespace(rho=None)

    def named(self, x):
        return {}

    def residuals(self, x):
        return np.append(self.r @ x - self.d, 7.729)

    def jacobian(self, x):
        return np.append(self.r, np.zeros((1, 5)), axis=0)

    def cost(self, x):
        return 0.5 * self.residuals(x) @ self.residuals(x)


def test_a_bound_that_is_left_again():
    """SciPy's "dogbox" ends beside the lower bound of the first unknown, whose optimum is inside; that of the second is on its
    upper bound."""
    found = search(Linear(), Options("dogbox", 1e-10, 1e-10, 1e-10, None, None))
    rest = [0, 2, 3, 4]
    x = np.insert(np.linalg.lstsq(Linear.r[:, rest], Linear.d - 1.2581 * Linear.r[:, 1], rcond=None)[0], 1, 1.2581)
    assert x[0] > 1.8
    np.testing.assert_allclose(found.x, x, rtol=1e-10)
    assert found.success and found.bounds_hit == {1: "upper"}


def test_newtons_method_ends_at_rounding():
    data = noisy(3)
    reference = adj.fit(decaying(), data, START, y0=1.0)
    found = adj.fit(decaying(), data, START, y0=1.0, method="Newton-CG", xtol=1e-13)
    np.testing.assert_allclose(found.x, reference.x, rtol=1e-9)


def test_bounds_and_robust_losses_with_priors():
    data = noisy(4)
    data[2] += 3.0
    given = {"y0": 1.0, "loss": "huber", "f_scale": 1.0, "sigma": 0.05}
    reference = adj.fit(decaying(), data, START, **given)
    found = adj.fit(decaying(), data, START, method="L-BFGS-B", **given)
    np.testing.assert_allclose(found.x, reference.x, rtol=1e-5)
    pulled = adj.fit(decaying(), data, START, method="trust-constr", priors={"k": (0.5, 1e-5)}, **given)
    assert pulled.params.k == pytest.approx(0.5, abs=1e-4)
    for method in ("L-BFGS-B", "trust-constr"):
        with pytest.warns(FitWarning, match=r"on a bound: k \(lower\)"):
            held = adj.fit(decaying(), noisy(4), START, y0=1.0, method=method, bounds={"k": (0.15, 1.0)})
        assert held.params.k == pytest.approx(0.15, abs=1e-6) and held.active_mask.tolist() == [0, -1]
    with pytest.raises(ArgumentError, match="bounds= and method='Newton-CG'"):
        adj.fit(decaying(), data, START, y0=1.0, method="Newton-CG", bounds={"k": (0.15, 1.0)})
    with pytest.raises(ArgumentError, match="loss='huber' and priors="):
        adj.fit(decaying(), data, START, priors={"k": (0.5, 0.1)}, **given)


def test_hessian_products_of_a_cost_of_observations():
    """Beside differences of gradients, for the sum of cosines of all observations."""
    _, data = gains(1)
    model, y0, p = exchanging(), Two(2.0, 0.5), {"g": np.array([0.5, 0.1]), "k": 0.2, "n": 3}
    p = adj.fitting.names.as_structure(p, "p")

    def seeds(seen, dots):
        return tuple(-np.sin(o) for o in seen), tuple(-np.cos(o) * d for o, d in zip(seen, dots, strict=True))

    def gradient(h):
        moved = type(p)(p.g + h * np.array([0.3, -0.7]), p.k + 0.4 * h, p.n)
        solution, pullback = model.vjp(Two(2.0 + h, 0.5 - 0.5 * h), moved)
        return pullback(observations_bar=tuple(-np.sin(o) for o in solution.observations))

    product = model.hvp_of(y0, p, Two(1.0, -0.5), (np.array([0.3, -0.7]), 0.4, None), seeds)
    up, down = gradient(1e-5), gradient(-1e-5)
    np.testing.assert_allclose(product.p.g, (up.p.g - down.p.g) / 2e-5, rtol=1e-7)
    assert product.p.k == pytest.approx((up.p.k - down.p.k) / 2e-5, rel=1e-7) and product.p.n is None
    np.testing.assert_allclose(product.y0, (np.array(up.y0) - np.array(down.y0)) / 2e-5, rtol=1e-7)


def test_hessian_products_of_an_ode():
    ode = adj.ODE(fading, [0.5, 1.0, 2.0], t0=0.0, method="rk4", dt=0.1)

    def seeds(seen, dots):
        return seen, dots

    product = ode.hvp_of(1.0, 0.3, 0.0, 1.0, seeds)

    def slope(p):
        solution, pullback = ode.vjp(1.0, p, "p")
        return pullback(observations_bar=solution.observations).p

    assert product.p == pytest.approx((slope(0.3 + 1e-5) - slope(0.3 - 1e-5)) / 2e-5, rel=1e-7)
    with pytest.raises(ArgumentError, match="without observe="):
        adj.Simulation(decaying().step, 3).hvp_of(1.0, START, None, None, seeds)


def fading(t, y, p):
    return -p * y * y


@pytest.mark.parametrize("method", METHODS)
def test_a_blow_up_is_a_wall(method):
    data = growth_data(0.15)
    found = adj.fit(growing(), data, 0.01, y0=0.1, method=method, transform="log", sigma=0.01)
    assert found.params == pytest.approx(0.15, rel=1e-4)
    with pytest.raises(adj.errors.FitError, match="at the start, p=9"):
        adj.fit(growing(), data, 9.0, y0=0.1, method=method)


@adj.step
def spread(n, y, p):
    out = np.empty_like(y)
    m = len(y)
    for i in range(m):
        out[i] = y[i] + 0.2 * (y[i - 1] - 2.0 * y[i] + y[(i + 1) % m])
    return out


def test_many_unknowns_without_a_covariance():
    """The initial state of a heat equation, all of it, by one way back an iteration."""
    cells = 150
    model = adj.Simulation(spread, 3, observe=whole, observe_at=[0, 1, 3])
    truth = np.sin(2.0 * np.pi * np.arange(cells) / cells)
    data = model.run(truth).observations
    found = adj.fit(model, data, y0=np.zeros(cells), wrt="y0", method="L-BFGS-B", sigma=0.1)
    np.testing.assert_allclose(found.y0, truth, atol=1e-4)
    assert np.isnan(found.covariance).all() and found.njev < 60 and np.isfinite(found.grad).all() and found.optimality < 1e-2
    known = adj.fit(model, data, y0=np.zeros(cells), wrt="y0", method="L-BFGS-B", sigma=0.1, covariance=True)
    assert np.all(known.y0_stderr < 0.1)


def whole(n, y, p):
    return y


# ------------------------------------------------------------------------------------------------- checkpoint, progress
@pytest.mark.parametrize("method", ["trf", "L-BFGS-B"])
def test_a_search_goes_on_from_its_checkpoint(method, tmp_path):
    path = tmp_path / "fit.json"
    seen = []

    def stop(it):
        seen.append(it)
        return it.iteration == 3

    given = {"y0": 1.0, "method": method, "checkpoint": path}
    with pytest.warns(FitWarning, match="ended the search"):
        ended = adj.fit(decaying(), noisy(5), Decay(1.0, 0.5), callback=stop, **given)
    assert path.exists()
    with pytest.raises(RestartError, match="that of another fit: data and start differ"):
        adj.fit(decaying(), noisy(6), Decay(1.0, 0.5), **given)
    with pytest.raises(RestartError, match="unknowns, data and start"):
        adj.fit(decaying(), noisy(5), Decay(1.0, 0.5), wrt="a", **given)
    after = []
    found = adj.fit(decaying(), noisy(5), Decay(1.0, 0.5), callback=after.append, **given)
    assert after[0].cost <= ended.cost < seen[0].cost and found.success and not path.exists()
    np.testing.assert_allclose(found.x, adj.fit(decaying(), noisy(5), Decay(1.0, 0.5), y0=1.0).x, rtol=1e-5)
    path.write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        adj.fit(decaying(), noisy(5), Decay(1.0, 0.5), **given)


def test_progress_is_a_line_an_iteration(capsys):
    found = adj.fit(decaying(), noisy(7), START, y0=1.0, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == found.nit and lines[0].startswith("adj.fit: iteration    0, cost ")
    assert isinstance(found.optimizer, OptimizeResult) and len(AT) == len(STEPS)
