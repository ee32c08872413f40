"""Stiff methods: the same steps at fifty digits, published sensitivities, stiff and banded systems."""

from __future__ import annotations

import math
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import adjointsim as adj
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.ode.tableaus import TABLEAUS, DirkTableau, RosenbrockTableau
from ode import systems


def heavy(name):
    """A case that runs with CORPUS=all."""
    return pytest.param(name, marks=pytest.mark.heavy)


IMPLICIT = [name for name, t in TABLEAUS.items() if isinstance(t, (DirkTableau, RosenbrockTableau))]
QUICK = ["implicit_euler", "crank_nicolson", "trbdf2", "rodas5p"]
#: compiled for gradients; the others have the same text with other numbers
SAMPLE = ["implicit_euler", "crank_nicolson", "sdirk2", "rodas5p"]


def end(y, p):
    return y[1] * p[0] + y[0]


@pytest.mark.parametrize("name", [heavy(n) if n in ("implicit_euler", "sdirk2") else n for n in SAMPLE])
def test_gradients_are_those_of_the_same_steps_at_fifty_digits(name):
    y0, p = systems.PAIR
    ode = adj.ODE(systems.pair, [0.0, 1.0], method=name, dt=0.25, terminal=end)
    value, grad = ode.value_and_grad(y0, p)

    def exact(x):
        last = systems.implicit_exact(name, np.linspace(0.0, 1.0, 5), x[:2], x[2:])
        return last[1] * x[2] + last[0]

    with mpmath.workdps(50):
        assert value == pytest.approx(float(exact([mpmath.mpf(v) for v in [*y0, *p]])), rel=1e-13)
        np.testing.assert_allclose([*grad.y0, *grad.p], systems.gradient_exact(exact, [*y0, *p]), rtol=1e-12)


def test_adaptive_gradients_are_those_of_the_steps_taken():
    y0, p = systems.PAIR
    ode = adj.ODE(systems.pair, [0.0, 1.0, 2.0], method="rodas5p", rtol=1e-5, atol=1e-7, terminal=end)
    times = ode.run(y0, p).steps
    _, grad = ode.value_and_grad(y0, p)

    def exact(x):
        last = systems.implicit_exact("rodas5p", times, x[:2], x[2:])
        return last[1] * x[2] + last[0]

    with mpmath.workdps(50):
        np.testing.assert_allclose([*grad.y0, *grad.p], systems.gradient_exact(exact, [*y0, *p]), rtol=1e-11)


class Growth(NamedTuple):
    b: float
    c: float


def growth(t, x, p):
    return p.b * x / p.c


def test_the_discrete_sensitivity_of_crank_nicolson():
    """c x' = b x, x(0) = 2, b = 4, c = 3, T = 1, 1000 steps: the discrete value, not the continuous one, -3.37214923972."""
    ode = adj.ODE(growth, [0.0, 1.0], method="crank_nicolson", dt=1e-3, terminal=lambda x, p: x)
    _, grad = ode.value_and_grad(2.0, Growth(4.0, 3.0))
    assert grad.p.c == pytest.approx(-3.372151404556135, rel=1e-12)


@pytest.mark.parametrize("name", [n if n in QUICK else heavy(n) for n in IMPLICIT])
def test_order(name):
    order = TABLEAUS[name].order
    y0, p = systems.PAIR
    exact = solve_ivp(systems.pair, (0.0, 2.0), y0, "DOP853", rtol=3e-14, atol=1e-15, args=(p,)).y[:, -1]
    errors = []
    for dt in [0.4, 0.2] if order > 4 else [0.1, 0.05] if order > 2 else [0.02, 0.01]:
        errors.append(np.linalg.norm(adj.ODE(systems.pair, [0.0, 2.0], method=name, dt=dt).run(y0, p).y - exact))
    assert order - 0.25 < math.log2(errors[0] / errors[1]) < order + 0.8, errors


def robertson(t, y, p):
    """H. Robertson (1966): three reactions on three scales of time."""
    one, two, three = p[0] * y[0], p[1] * y[1] * y[1], p[2] * y[1] * y[2]
    return -one + three, one - two - three, two


ROBERTSON = np.array([1.0, 0.0, 0.0]), np.array([0.04, 3e7, 1e4])


@pytest.fixture(scope="module")
def reference():
    """Sensitivities of Robertson's reactions by the variational equations, with Radau IIA at tight tolerances."""
    y0, p = ROBERTSON

    def rate(t, z):
        y, s = z[:3], z[3:].reshape(3, 3)
        a, b, c = p
        jac = np.array([[-a, c * y[2], c * y[1]], [a, -2 * b * y[1] - c * y[2], -c * y[1]], [0, 2 * b * y[1], 0]])
        by_p = np.array([[-y[0], 0, y[1] * y[2]], [y[0], -y[1] ** 2, -y[1] * y[2]], [0, y[1] ** 2, 0]])
        return np.concatenate([robertson(t, y, p), (jac @ s + by_p).reshape(-1)])

    atol = np.concatenate([[1e-12, 1e-16, 1e-12], np.outer([1e-9, 1e-13, 1e-9], 1.0 / p).reshape(-1)])
    found = solve_ivp(rate, (0.0, 400.0), np.concatenate([y0, np.zeros(9)]), "Radau", [40.0, 400.0], rtol=1e-10, atol=atol)
    return found.y[:3].T, found.y[3:].T.reshape(2, 3, 3)


@pytest.mark.heavy
def test_robertson(reference):
    y0, p = ROBERTSON
    states, sensitivities = reference
    ode = adj.ODE(robertson, [40.0, 400.0], t0=0.0, method="rodas5p", rtol=1e-9, atol=[1e-11, 1e-15, 1e-11])
    solution = ode.run(y0, p)
    np.testing.assert_allclose(solution.observations, states, rtol=1e-7)
    assert solution.stats["accepted"] < 1000
    jacobian = ode.jacobian(y0, p, "p", mode="reverse")
    scale = np.abs(sensitivities).max(axis=2, keepdims=True)
    np.testing.assert_allclose(jacobian * p, sensitivities * p, rtol=1e-5, atol=1e-6 * float((scale * p.min()).min()))


class Bump(NamedTuple):
    diffusion: float
    reaction: np.ndarray


def line(t, u, p):
    """Reaction and diffusion on a line of cells."""
    n = len(u)
    out = np.empty(n)
    for i in range(n):
        left, right = u[max(i - 1, 0)], u[min(i + 1, n - 1)]
        out[i] = p.diffusion * (left - 2.0 * u[i] + right) + p.reaction[i] * u[i] * (1.0 - u[i])
    return out


@pytest.mark.heavy
def test_bands_and_dense_systems_agree():
    n = 20
    u0 = np.exp(-np.linspace(-3.0, 3.0, n) ** 2)
    p = Bump(40.0, np.linspace(0.5, 1.5, n))
    how = {"method": "rodas5p", "terminal": lambda u, p: np.sum(u * u), "rtol": 1e-6}
    dense = adj.ODE(line, [0.0, 0.5], **how).value_and_grad(u0, p)
    banded = adj.ODE(line, [0.0, 0.5], bandwidth=(1, 1), **how).value_and_grad(u0, p)
    assert dense[0] == pytest.approx(banded[0], rel=1e-12)
    np.testing.assert_allclose(dense[1].y0, banded[1].y0, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dense[1].p.reaction, banded[1].p.reaction, rtol=1e-9, atol=1e-12)
    assert dense[1].p.diffusion == pytest.approx(banded[1].p.diffusion, rel=1e-9)


@pytest.mark.heavy
def test_states_of_any_structure():
    """A vector and a number: the same as one vector, and as an explicit method with small steps."""
    y0, p = systems.LAKE
    stiff = adj.ODE(systems.lake, [0.0, 1.0], method="rodas5p", rtol=1e-9, atol=1e-11)
    plain = adj.ODE(systems.lake, [0.0, 1.0], method="dopri5", rtol=1e-11, atol=1e-13)
    solution, pullback = stiff.vjp(y0, p)
    other, back = plain.vjp(y0, p)
    np.testing.assert_allclose(systems.flat(solution.y), systems.flat(other.y), rtol=1e-8)
    bar = systems.Lake(np.array([1.0, -0.5, 0.25]), 2.0)
    one, two = pullback(y_bar=bar), back(y_bar=bar)
    np.testing.assert_allclose(systems.flat((one.y0, one.p)), systems.flat((two.y0, two.p)), rtol=1e-6, atol=1e-8)


def test_bad_arguments():
    for bands in (3, (1,), (-1, 1), (1.5, 1)):
        with pytest.raises(ArgumentError, match="bandwidth"):
            adj.ODE(line, [0.0, 1.0], method="rodas5p", bandwidth=bands)
    y0, p = systems.LAKE
    with pytest.raises(StructureError, match="bandwidth"):
        adj.ODE(systems.lake, [0.0, 1.0], method="rodas5p", bandwidth=(1, 1)).run(y0, p)
    with pytest.raises(StructureError, match="complex"):
        adj.ODE(growth, [0.0, 1.0], method="rodas5p").run(1.0 + 1.0j, Growth(1.0, 1.0))


def two_below(t, y, p):
    out = -p * y
    for i in range(2, len(y)):
        out[i] += y[i - 2] * y[i]
    return out


def test_entries_outside_of_the_bands_are_an_error_with_a_rosenbrock_method():
    ode = adj.ODE(two_below, [0.0, 0.5], method="rodas5p", dt=0.25, bandwidth=(1, 0))
    with pytest.raises(ValueError, match=r"entries outside of bandwidth=\(1, 0\)"):
        ode.run(np.linspace(0.1, 1.0, 9), 0.7)
