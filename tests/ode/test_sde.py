"""Stochastic equations: strong orders against exact solutions on the same path, gradients against independent discrete maps."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj


class Rates(NamedTuple):
    mu: float
    sigma: float


def drift(t, y, p):
    return p.mu * y


def diffusion(t, y, p):
    return p.sigma * y


P = Rates(0.7, 0.8)


def total(y, p):
    return np.sum(y)


def itself(y, p):
    return y


def increments(seed, steps, components, h):
    """What the documentation says: the increment of number k of y in step n."""
    return math.sqrt(h) * adj.random.normal(seed, np.arange(steps)[:, None], np.arange(components))


# ------------------------------------------------------------------------------------------------------------------ orders
@pytest.mark.parametrize(("method", "order"), [("euler_maruyama", 0.5), ("milstein", 1.0), ("heun", 1.0)])
def test_strong_order_against_the_exact_solution_on_the_same_path(method, order):
    paths, steps, errors = 3000, [8, 32, 128], []
    for n in steps:
        y = adj.SDE(drift, diffusion, [0.0, 1.0], dt=1.0 / n, seed=5, method=method).run(np.ones(paths), P).y
        w = increments(5, n, paths, 1.0 / n).sum(axis=0)
        ito = 0.0 if method == "heun" else 0.5 * P.sigma**2
        errors.append(np.mean(np.abs(y - np.exp(P.mu - ito + P.sigma * w))))
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.08, (slope, errors)


# --------------------------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("y0", [1.3, np.linspace(0.5, 1.5, 12).reshape(3, 4)])
def test_the_gradient_of_geometric_motion_is_the_closed_form_of_its_path(y0):
    n, h, size = 40, 0.05, np.size(y0)
    terminal = total if size > 1 else itself
    sde = adj.SDE(drift, diffusion, [0.0, n * h], dt=h, seed=17, terminal=terminal)
    value, grad = sde.value_and_grad(y0, P)
    w = increments(17, n, size, h).reshape((n, *np.shape(y0)))
    factors = 1.0 + P.mu * h + P.sigma * w
    end = y0 * factors.prod(axis=0)
    assert value == pytest.approx(np.sum(end), rel=1e-12)
    assert np.allclose(grad.y0, factors.prod(axis=0), rtol=1e-12, atol=0)
    assert grad.p.mu == pytest.approx(np.sum(end * (h / factors).sum(axis=0)), rel=1e-12)
    assert grad.p.sigma == pytest.approx(np.sum(end * (w / factors).sum(axis=0)), rel=1e-12)


def test_the_hessian_product_of_geometric_motion_is_the_closed_form_of_its_path():
    n, h = 40, 0.05
    w = increments(17, n, 1, h)[:, 0]
    factors = 1.0 + P.mu * h + P.sigma * w
    first, second = (w / factors).sum(), (w**2 / factors**2).sum()
    sde = adj.SDE(drift, diffusion, [0.0, n * h], dt=h, seed=17, terminal=itself)
    hvp = sde.hvp(1.3, P, None, Rates(0.0, 1.0))
    assert hvp.p.sigma == pytest.approx(1.3 * factors.prod() * (first**2 - second), rel=1e-12)
    assert hvp.y0 == pytest.approx(factors.prod() * first, rel=1e-12)


class State(NamedTuple):
    x: float
    u: np.ndarray


def pulled(t, y, p):
    return State(p.mu * math.cos(3.0 * t) - y.x * np.sum(y.u), p.mu * np.sin(y.u) * y.x - y.u)


def shaken(t, y, p):
    return State(p.sigma * math.exp(-t) * math.sqrt(1.0 + y.x * y.x), p.sigma * np.cos(y.u) * (1.0 + t))


def paid(t, y, p):
    return y.x * y.x + p.mu * t * np.sum(y.u)


def seen(t, y, p):
    return y.u * y.x + t


def missed(k, observation, p):
    return p.sigma * np.sum(observation**2)


def ended(y, p):
    return y.x * np.sum(y.u) * p.mu


TIMES, DT = np.array([0.1, 0.4, 1.0]), 0.11


def by_hand(method, seed, x, u, mu, sigma, t0=0.0):
    """The discrete map in NumPy, for complex numbers too: the value, and the observations."""

    def a(t, x, u):
        return mu * np.cos(3.0 * t) - x * u.sum(), mu * np.sin(u) * x - u, x * x + mu * t * u.sum()

    def b(t, x, u):
        return sigma * np.exp(-t) * np.sqrt(1.0 + x * x), sigma * np.cos(u) * (1.0 + t)

    def bb(t, x, u):
        slope = sigma * np.exp(-t) * x / np.sqrt(1.0 + x * x)
        return slope * b(t, x, u)[0], -sigma * np.sin(u) * (1.0 + t) * b(t, x, u)[1]

    t, step, cost, misfit, observations = t0, 0, 0.0, 0.0, []
    for end in TIMES:
        begin, count = t, math.ceil((end - t) / DT - 1e-9)
        h = (end - begin) / count
        for k in range(count):
            t, after = begin + k * h, begin + (k + 1) * h
            w = math.sqrt(h) * adj.random.normal(seed, step, np.arange(1 + len(u)))
            (ax, au, ac), (bx, bu), (cx, cu) = a(t, x, u), b(t, x, u), bb(t, x, u)
            step += 1
            if method == "heun":
                px, pu = x + h * ax + bx * w[0], u + h * au + bu * w[1:]
                (qx, qu, qc), (rx, ru) = a(after, px, pu), b(after, px, pu)
                x = x + 0.5 * (h * (ax + qx) + w[0] * (bx + rx))
                u = u + 0.5 * (h * (au + qu) + w[1:] * (bu + ru))
                cost = cost + 0.5 * h * (ac + qc)
                continue
            on = 0.5 if method == "milstein" else 0.0
            x = x + h * ax + bx * w[0] + on * cx * (w[0] ** 2 - h)
            u = u + h * au + bu * w[1:] + on * cu * (w[1:] ** 2 - h)
            cost = cost + h * ac
        t = end
        observations.append(u * x + t)
        misfit = misfit + sigma * np.sum(observations[-1] ** 2)
    return cost + misfit + x * u.sum() * mu, np.array(observations)


def whole(method, **bounds):
    return adj.SDE(
        pulled, shaken, TIMES, t0=0.0, dt=DT, seed=2**63 + 9, method=method, running=paid, observe=seen, misfit=missed,
        terminal=ended, **bounds,
    )  # fmt: skip


@pytest.mark.parametrize(  # short vectors are written number by number
    ("method", "size"), [("euler_maruyama", 2), ("milstein", 2), ("milstein", 9), ("heun", 9)]
)
def test_value_and_gradient_against_complex_steps_of_the_discrete_map(method, size):
    u, seed, eps = np.linspace(0.3, 0.9, size), 2**63 + 9, 1e-40
    given = np.concatenate([[0.7], u, P])

    def of(v):
        return by_hand(method, seed, v[0], v[1:-2], v[-2], v[-1])[0]

    value = of(given)
    slopes = np.array([of(given + 1j * eps * e).imag / eps for e in np.eye(len(given))])
    sde = whole(method)
    got, grad = sde.value_and_grad(State(0.7, u), P)
    assert got == pytest.approx(value, rel=1e-13)
    found = np.concatenate([[grad.y0.x], grad.y0.u, grad.p])
    assert np.allclose(found, slopes, rtol=1e-12, atol=1e-13)


def test_observations_jacobian_and_tangent_against_complex_steps_of_the_discrete_map():
    y0, p = np.array([0.7, 0.3, 0.9]), np.array(P)
    along, eps = np.array([1.0, 1.0, 1.0, 0.5, -1.0]), 1e-40

    def of(dx):
        v = np.concatenate([y0, p]) + 1j * eps * dx
        return by_hand("milstein", 2**63 + 9, v[0], v[1:-2], v[-2], v[-1])

    sde, u = whole("milstein"), y0[1:]
    assert np.allclose(sde.run(State(0.7, u), P).observations, of(0.0 * along)[1].real, rtol=1e-13, atol=0)
    jacobian = sde.jacobian(State(0.7, u), P, wrt="p.sigma")
    assert np.allclose(jacobian, of(np.array([0.0, 0.0, 0.0, 0.0, 1.0]))[1].imag / eps, rtol=1e-12, atol=1e-13)
    _, dot = sde.jvp(State(0.7, u), P, State(1.0, np.ones(2)), Rates(0.5, -1.0))
    assert dot.value == pytest.approx(of(along)[0].imag / eps, rel=1e-12)


@pytest.mark.parametrize("method", ["euler_maruyama", "heun"])
def test_the_bits_of_a_gradient_do_not_depend_on_what_is_stored(method):
    y0 = State(0.7, np.linspace(0.3, 0.9, 4))

    def bits(**bounds):
        value, grad = whole(method, **bounds).value_and_grad(y0, P)
        return value, grad.y0.x, grad.y0.u.tobytes(), grad.p, grad.ledger.recomputed_steps

    first = bits()
    assert first[-1] == 0
    recomputed = 0
    for bounds in ({"checkpoints": 1}, {"checkpoints": 4}, {"memory": 2000}):
        again = bits(**bounds)
        assert again[:-1] == first[:-1]
        recomputed += again[-1]
    assert recomputed > 0


# -------------------------------------------------------------------------------------------------------------------- paths
def test_another_seed_is_another_path_of_the_same_problem():
    sde = adj.SDE(drift, diffusion, [0.0, 1.0], dt=0.1, seed=1)
    other = sde.with_seed(2)
    fresh = adj.SDE(drift, diffusion, [0.0, 1.0], dt=0.1, seed=2)
    assert other.run(1.0, P).y == fresh.run(1.0, P).y != sde.run(1.0, P).y
    assert sde.seed == 1 and sde.with_seed(1).run(1.0, P).y == sde.run(1.0, P).y
    assert sde.with_seed(-1).run(1.0, P).y == sde.with_seed(2**64 - 1).run(1.0, P).y


def test_without_diffusion_it_is_the_method_of_the_drift():
    def still(t, y, p):
        return 0.0

    for method, same in (("euler_maruyama", "euler"), ("heun", "heun")):
        sde = adj.SDE(drift, still, [0.0, 1.0], dt=0.1, seed=1, method=method, running=lambda t, y, p: y * y)
        ode = adj.ODE(drift, [0.0, 1.0], dt=0.1, method=same, running=lambda t, y, p: y * y)
        assert sde.run(1.0, P).value == pytest.approx(ode.run(1.0, P).value, rel=1e-14)
        assert sde.run(1.0, P).y == pytest.approx(ode.run(1.0, P).y, rel=1e-14)


def test_inputs_are_not_written_and_a_function_may_give_the_first_state():
    y0 = np.linspace(0.5, 1.5, 5)
    before = y0.copy()
    sde = adj.SDE(drift, diffusion, [0.0, 1.0], dt=0.1, seed=1, terminal=total)
    value, _ = sde.value_and_grad(y0, P)
    assert np.array_equal(y0, before)

    def made(p):
        return np.array([0.5, 0.75, 1.0, 1.25, 1.5]) * p.mu / 0.7

    _, grad = sde.value_and_grad(made, P)
    closed = sde.value_and_grad(y0, P)[1]
    assert grad.p.mu == pytest.approx(closed.p.mu + value / 0.7, rel=1e-12)


# -------------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": 1.0}, "StructureError", "Got seed as a float, but expected an integer"),
        ({"seed": True}, "StructureError", "Got seed as a bool"),
        ({"seed": np.arange(3)}, "StructureError", "Got seed as an array of shape .3,., but expected an integer"),
        ({"seed": 2**64}, "ArgumentError", "Got seed=18446744073709551616, but expected an integer of 64 bits"),
        ({"method": "tsit5"}, "ArgumentError", "Got method='tsit5', but expected one of euler_maruyama, milstein, heun"),
        ({"method": 3}, "ArgumentError", "Got method=3, but expected one of"),
        ({"dt": -0.1}, "ArgumentError", "Got dt=-0.1"),
        ({"dt": None}, "ArgumentError", "expected dt=, a step size"),
        ({"t_eval": [1.0, 0.0]}, "ArgumentError", "Got t_eval from 1.0 down to 0.0, but an SDE goes forward"),
        ({"diffusion": 0.3}, "StructureError", "Got diffusion as a float, but expected a function"),
        ({"drift": None}, "StructureError", "Got drift as a NoneType, but expected a function"),
    ],
)
def test_arguments_that_make_no_problem(change, error, message):
    given = {"drift": drift, "diffusion": diffusion, "t_eval": [0.0, 1.0], "dt": 0.1, "seed": 1} | change
    with pytest.raises(getattr(adj.errors, error), match=message):
        adj.SDE(given.pop("drift"), given.pop("diffusion"), given.pop("t_eval"), **given)


def scalar(t, y, p):
    return 1.0


def halved(t, y, p):
    return y[:2]


@pytest.mark.parametrize(
    ("functions", "y0", "message"),
    [
        ((scalar, diffusion), np.ones(4), "from the drift scalar, but expected something like y"),
        ((drift, scalar), np.ones(4), "from the diffusion scalar, but expected something like y"),
        ((drift, halved), np.ones(4), "from the diffusion halved in place of y, but expected .4,."),
        ((drift, diffusion), 1.0 + 0j, "with complex numbers, but an SDE takes real ones"),
    ],
)
def test_functions_that_do_not_fit_the_state(functions, y0, message):
    with pytest.raises(adj.errors.StructureError, match=message):
        adj.SDE(*functions, [0.0, 1.0], dt=0.1, seed=1).run(y0, P)


def test_a_path_that_overflows_is_reported_with_its_time():
    def explodes(t, y, p):
        return y * y * 1e200

    with pytest.raises(adj.errors.NonFiniteError, match=r"t=0\.") as caught:
        adj.SDE(explodes, diffusion, [0.0, 1.0], dt=0.1, seed=1, terminal=itself).value_and_grad(1.0, P)
    assert caught.value.direction == "forward"
