"""Explicit methods: fixed and adaptive steps against the same steps at fifty digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import adjointsim as adj
from adjointsim.ode.tableaus import TABLEAUS, ExplicitTableau
from ode import systems

EXPLICIT = [name for name, t in TABLEAUS.items() if isinstance(t, ExplicitTableau)]
ADAPTIVE = [name for name in EXPLICIT if TABLEAUS[name].error is not None]


def sampled(names, *kept):
    """The names, of which those that are not ``kept`` run with CORPUS=all: each is compiled for some ten seconds."""
    return [name if name in kept else pytest.param(name, marks=pytest.mark.heavy) for name in names]


TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def seen(t, y, p):
    return y[0] * y[1] + np.sin(t)


def misfit(k, value, p):
    return (value - 0.3) ** 2 * (k + 1)


def end(y, p):
    return y[1] * p[0]


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(50):
        yield


def pair_value(name, times, observed):
    """The value of the pair's problem as a function of y0 and p, at fifty digits."""

    def value(x):
        states = systems.integrate_exact(name, systems.pair_exact, times, x[:2], x[2:])
        total = states[-1][1] * x[2]
        for k, n in enumerate(observed):
            y = states[n]
            total += (y[0] * y[1] + mpmath.sin(mpmath.mpf(times[n])) - mpmath.mpf(0.3)) ** 2 * (k + 1)
        return total

    return value


@pytest.mark.parametrize("name", sampled(EXPLICIT, "heun", "rk4", "dop853"))
def test_gradients_of_fixed_steps_are_those_of_the_same_steps_at_fifty_digits(name):
    y0, p = systems.PAIR
    ode = adj.ODE(systems.pair, TIMES, method=name, dt=0.125, observe=seen, misfit=misfit, terminal=end)
    value, grad = ode.value_and_grad(y0, p)
    times = np.linspace(0.0, 1.0, 9)
    exact = pair_value(name, times, [0, 2, 4, 6, 8])
    x = [*y0, *p]
    assert value == pytest.approx(float(exact([mpmath.mpf(v) for v in x])), rel=1e-13)
    np.testing.assert_allclose([*grad.y0, *grad.p], systems.gradient_exact(exact, x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", sampled(ADAPTIVE, "bosh3", "tsit5"))
def test_gradients_of_adaptive_steps_are_those_of_the_steps_taken(name):
    y0, p = systems.PAIR
    ode = adj.ODE(systems.pair, TIMES, method=name, rtol=1e-5, atol=1e-7, observe=seen, misfit=misfit, terminal=end)
    solution = ode.run(y0, p)
    value, grad = ode.value_and_grad(y0, p)
    assert value == solution.value
    observed = np.searchsorted(solution.steps, TIMES)
    exact = pair_value(name, solution.steps, observed)
    np.testing.assert_allclose([*grad.y0, *grad.p], systems.gradient_exact(exact, [*y0, *p]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("rhs", "exact", "start"),
    [(systems.lake, systems.lake_exact, systems.LAKE), (systems.ring, systems.ring_exact, systems.RING)],
    ids=["lake", "ring"],
)
@pytest.mark.parametrize("adaptive", [False, True], ids=["fixed", "adaptive"])
def test_states_of_any_structure(rhs, exact, start, adaptive):
    y0, p = start
    how = {"rtol": 1e-4} if adaptive else {"dt": 0.1}
    ode = adj.ODE(rhs, [0.0, 0.4, 1.0], method="bosh3", **how)
    solution, pullback = ode.vjp(y0, p)
    times = solution.steps
    width = len(systems.flat(y0))
    states = systems.integrate_exact("bosh3", exact, times, systems.flat(y0), systems.flat(p))
    np.testing.assert_allclose(systems.flat(solution.y), [float(v) for v in states[-1]], rtol=1e-13, atol=1e-14)
    weights = np.cos(np.arange(width))

    def value(x):
        last = systems.integrate_exact("bosh3", exact, times, x[:width], x[width:])[-1]
        return sum(mpmath.mpf(w) * v for w, v in zip(weights, last, strict=True))

    bar = systems.Lake(weights[:3], weights[3]) if rhs is systems.lake else weights
    grad = pullback(y_bar=bar)
    assert type(grad.y0) is type(y0)
    found = [*systems.flat(grad.y0), *systems.flat(grad.p)]
    expected = systems.gradient_exact(value, [*systems.flat(y0), *systems.flat(p)])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.fixture(scope="module")
def exact_end():
    y0, p = systems.PAIR
    return solve_ivp(systems.pair, (0.0, 2.0), y0, "DOP853", rtol=3e-14, atol=1e-15, args=(p,)).y[:, -1]


@pytest.mark.parametrize("name", EXPLICIT)
def test_order(name, exact_end):
    """The error falls by 2^order, at least, when the step is halved."""
    order = TABLEAUS[name].order
    y0, p = systems.PAIR
    errors = []
    for dt in [1.0, 0.5] if order >= 8 else [0.4, 0.2] if order > 4 else [0.1, 0.05] if order > 2 else [0.02, 0.01]:
        y = adj.ODE(systems.pair, [0.0, 2.0], method=name, dt=dt).run(y0, p).y
        errors.append(np.linalg.norm(y - exact_end))
    assert order - 0.2 < math.log2(errors[0] / errors[1]) < order + 0.8, errors


def oscillator(t, y, p):
    return np.array([y[1], -p * y[0]])


@pytest.mark.parametrize("name", sampled(ADAPTIVE, "dopri5", "dop853"))
@pytest.mark.parametrize("rtol", [1e-5, 1e-9])
def test_errors_follow_the_tolerance(name, rtol):
    if TABLEAUS[name].order < 4:
        rtol = {1e-5: 1e-4, 1e-9: 1e-6}[rtol]
    ode = adj.ODE(oscillator, np.linspace(0.0, 10.0, 6), method=name, rtol=rtol, atol=rtol)
    solution = ode.run(np.array([1.0, 0.0]), 1.5)
    error = np.abs(solution.observations[:, 0] - np.cos(solution.t * math.sqrt(1.5))).max()
    assert 1e-3 * rtol < error < 300.0 * rtol
    assert solution.success and solution.status == 0 and solution.stats["accepted"] == len(solution.steps) - 1


def test_sensitivities_approach_the_exact_ones_with_the_tolerance():
    """d cos(sqrt(p) t) / dp = -t sin(sqrt(p) t) / (2 sqrt(p))."""
    p, t = 1.5, 10.0
    exact = -t * math.sin(math.sqrt(p) * t) / (2.0 * math.sqrt(p))
    errors = []
    for rtol in (1e-4, 1e-7, 1e-10):
        ode = adj.ODE(oscillator, [0.0, t], rtol=rtol, atol=rtol, terminal=first)
        errors.append(abs(ode.value_and_grad(np.array([1.0, 0.0]), p)[1].p - exact))
    assert errors[0] > 30.0 * errors[1] > 900.0 * errors[2] and errors[2] < 1e-7


def first(y, p):
    return y[0]


@pytest.mark.parametrize(("name", "theirs"), [("RK45", "RK45"), ("RK23", "RK23"), ("DOP853", "DOP853")])
def test_as_accurate_as_scipy_for_the_same_arguments(name, theirs):
    y0, p = systems.PAIR
    times = np.linspace(0.0, 20.0, 21)
    exact = solve_ivp(systems.pair, (0.0, 20.0), y0, "DOP853", times, rtol=1e-13, atol=1e-13, args=(p,)).y.T
    own = adj.ODE(systems.pair, times, method=name, rtol=1e-6, atol=1e-8).run(y0, p)
    scipy = solve_ivp(systems.pair, (0.0, 20.0), y0, theirs, times, rtol=1e-6, atol=1e-8, args=(p,))
    assert np.abs(own.observations - exact).max() < 3.0 * np.abs(scipy.y.T - exact).max()
    assert own.nfev < 2.0 * scipy.nfev


def test_backward_in_time_undoes_forward():
    y0, p = systems.PAIR
    there = adj.ODE(systems.pair, [0.0, 1.0, 2.0], rtol=1e-11, atol=1e-11).run(y0, p)
    back = adj.ODE(systems.pair, [2.0, 1.0, 0.0], rtol=1e-11, atol=1e-11).run(there.y, p)
    np.testing.assert_allclose(back.observations, there.observations[::-1], rtol=1e-9)
    times = np.array([2.0, 1.75, 1.5])
    ode = adj.ODE(systems.pair, [1.5], t0=2.0, method="rk4", dt=0.25, terminal=end)

    def value(x):
        return systems.integrate_exact("rk4", systems.pair_exact, times, x[:2], x[2:])[-1][1] * x[2]

    grad = ode.value_and_grad(y0, p)[1]
    np.testing.assert_allclose([*grad.y0, *grad.p], systems.gradient_exact(value, [*y0, *p]), rtol=1e-12)


def test_a_running_cost_is_integrated_by_the_method():
    """The integral of y^2 for y' = -p y is (1 - exp(-2 p T)) y0^2 / (2 p)."""
    ode = adj.ODE(decay, [0.0, 2.0], rtol=1e-10, atol=1e-12, running=lambda t, y, p: y * y, terminal=lambda y, p: 3.0 * y)
    value, grad = ode.value_and_grad(1.3, 0.7)
    y, p, t = 1.3, 0.7, 2.0
    decayed = math.exp(-2.0 * p * t)
    assert value == pytest.approx((1.0 - decayed) * y * y / (2.0 * p) + 3.0 * y * math.exp(-p * t), rel=1e-9)
    assert grad.y0 == pytest.approx((1.0 - decayed) * y / p + 3.0 * math.exp(-p * t), rel=1e-8)
    exact = y * y * (2.0 * t * decayed * p - (1.0 - decayed)) / (2.0 * p * p) - 3.0 * t * y * math.exp(-p * t)
    assert grad.p == pytest.approx(exact, rel=1e-8)


def decay(t, y, p):
    return -p * y


@pytest.mark.parametrize("name", ["leapfrog", "yoshida4"])
def test_splittings_are_symplectic_and_of_their_order(name):
    order = TABLEAUS[name].order
    errors, energies = [], []
    for dt in (0.1, 0.05):
        q, v = adj.ODE(pendulum, [0.0, 2.0], method=name, dt=dt).run((1.0, 0.0), 1.5).y
        errors.append(q)
    fine = solve_ivp(lambda t, y: [y[1], -1.5 * math.sin(y[0])], (0, 2), [1.0, 0.0], "DOP853", rtol=1e-13, atol=1e-13).y[0, -1]
    assert math.log2(abs(errors[0] - fine) / abs(errors[1] - fine)) == pytest.approx(order, abs=0.3)
    solution = adj.ODE(pendulum, np.linspace(0.0, 500.0, 51), method=name, dt=0.1).run((1.0, 0.0), 1.5)
    q, v = solution.observations
    energies = v * v / 2.0 - 1.5 * np.cos(q)
    assert np.ptp(energies) < 1e-2
    jacobian = adj.ODE(pendulum, [0.0, 5.0], method=name, dt=0.1).jacobian((1.0, 0.0), 1.5, "y0")
    (qq, qv), (vq, vv) = ((part[-1] for part in row) for row in jacobian)
    assert qq * vv - qv * vq == pytest.approx(1.0, abs=1e-12)  # the area is preserved


def pendulum(t, y, p):
    q, v = y
    return v, -p * np.sin(q)
