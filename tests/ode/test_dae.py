"""Mass matrices, and differential-algebraic systems of index 1."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, StructureError


def reactions(t, y, p):
    """Robertson's, with conservation of mass in place of the third equation."""
    one, two, three = p[0] * y[0], p[1] * y[1] * y[1], p[2] * y[1] * y[2]
    return -one + three, one - two - three, y[0] + y[1] + y[2] - 1.0


def robertson(t, y, p):
    one, two, three = p[0] * y[0], p[1] * y[1] * y[1], p[2] * y[1] * y[2]
    return -one + three, one - two - three, two


def second(y, p):
    return 1e4 * y[1] + y[2]


@pytest.mark.heavy
def test_robertson_as_an_algebraic_system_is_robertson():
    y0, p = np.array([1.0, 0.0, 0.0]), np.array([0.04, 3e7, 1e4])
    how = {"method": "rodas5p", "rtol": 1e-8, "atol": [1e-11, 1e-14, 1e-11], "terminal": second}
    value, grad = adj.ODE(reactions, [0.0, 40.0], mass=[1.0, 1.0, 0.0], **how).value_and_grad(y0, p)
    other = adj.ODE(robertson, [0.0, 40.0], **how).value_and_grad(y0, p)
    assert value == pytest.approx(other[0], rel=1e-7)
    np.testing.assert_allclose(grad.p * p, other[1].p * p, rtol=1e-6, atol=1e-8)


def circuit(t, y, p):
    """x' = -p z, 0 = x - z^3: z' = -p / (3 z), so that z^2 = z0^2 - 2 p t / 3."""
    return -p * y[1], y[0] - y[1] ** 3


def last(y, p):
    return y[1]


@pytest.mark.parametrize(
    "how",
    [
        {"method": "rodas5p", "rtol": 1e-9, "atol": 1e-11},
        pytest.param({"method": "implicit_euler", "dt": 1e-4}, marks=pytest.mark.heavy),
    ],
    ids=["rodas5p", "implicit_euler"],
)
def test_an_algebraic_variable_in_closed_form(how):
    ode = adj.ODE(circuit, [0.0, 0.5], mass=np.diag([1.0, 0.0]), terminal=last, **how)
    value, grad = ode.value_and_grad(np.array([8.0, 2.0]), 1.5)
    z = math.sqrt(4.0 - 0.5)
    rel = 1e-4 if "dt" in how else 1e-7
    assert value == pytest.approx(z, rel=rel)
    assert grad.p == pytest.approx(-0.5 / 3.0 / z, rel=rel)


def decay(t, y, p):
    return -p * y


@pytest.mark.heavy
def test_a_regular_mass_matrix_is_a_change_of_units():
    """M y' = -p y with a full M: the exponential of -p M^-1 t."""
    mass = np.array([[2.0, 0.5], [0.0, 4.0]])
    y = adj.ODE(decay, [0.0, 1.0], method="rodas5p", rtol=1e-10, atol=1e-12, mass=mass).run(np.array([1.0, -1.0]), 0.7).y
    from scipy.linalg import expm

    np.testing.assert_allclose(y, expm(-0.7 * np.linalg.inv(mass)) @ [1.0, -1.0], rtol=1e-8)


def rising(t, y, p):
    """-x' = -p, 0 = z - x^2."""
    return -p + 0.0 * y[0], y[1] - y[0] * y[0]


def six(t, y, p):
    return y[0] + y[1] - 6.0


def half(t, y, p):
    return 0.5 * y[0], 0.25 * y[1]


def test_events_of_an_algebraic_variable():
    """What rhs gives is not the derivative of x, nor of z: from where x is 2 and z is 4 both rise, and nothing happens."""
    ode = adj.ODE(rising, [0.0, 2.5], method="implicit_euler", dt=0.1, mass=[-1.0, 0.0], events=adj.Event(six, half))
    solution = ode.run(np.array([1.0, 1.0]), 1.0)
    np.testing.assert_allclose(solution.events[0], [1.0, 2.0], rtol=1e-12)
    assert solution.y[0] == pytest.approx(1.5, rel=1e-12)
    solution = ode.run(np.array([2.0, 4.0]), 1.0)
    assert not len(solution.events[0]) and solution.y[0] == pytest.approx(4.5, rel=1e-12)


def pendulum(t, y, p):
    """Index 2: the multiplier y[1] is not in the algebraic equation."""
    return y[1] + p * y[0], y[0] - np.sin(t)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="index above 1"):
        adj.ODE(pendulum, [0.0, 1.0], method="rodas5p", mass=[1.0, 0.0]).run(np.array([0.0, 1.0]), 0.3)
    with pytest.raises(ArgumentError, match="algebraic equation"):
        adj.ODE(circuit, [0.0, 0.5], method="rodas5p", mass=[1.0, 0.0]).run(np.array([8.0, 1.0]), 1.5)
    with pytest.raises(StructureError, match="3 components"):
        adj.ODE(circuit, [0.0, 0.5], method="rodas5p", mass=[1.0, 0.0, 1.0]).run(np.array([8.0, 2.0]), 1.5)
    for bad in (np.ones((2, 3)), np.ones((2, 2, 2)), "heavy"):
        with pytest.raises(StructureError, match="mass"):
            adj.ODE(circuit, [0.0, 0.5], method="rodas5p", mass=bad)
    with pytest.raises(ArgumentError, match="finite"):
        adj.ODE(circuit, [0.0, 0.5], method="rodas5p", mass=[1.0, math.nan])
    for method in ("tsit5", "kvaerno5", "crank_nicolson"):
        with pytest.raises(ArgumentError, match="mass="):
            adj.ODE(circuit, [0.0, 0.5], method=method, dt=0.1, mass=[1.0, 0.0])
