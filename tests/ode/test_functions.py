"""What functions of an ODE may do with their arguments, and what they return."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, StructureError


class Pair(NamedTuple):
    u: np.ndarray
    v: float


def pure(t, y, p):
    return Pair(np.array([p * y.u[0], y.v * y.u[1]]), p * y.u[0] * y.u[0])


def overwriting(t, y, p):
    """The same, and y is spoiled and returned."""
    v = p * y.u[0] * y.u[0]
    u = y.u
    u[0] *= p
    u[1] *= y.v
    return Pair(u, v)


def cost(t, y, p):
    return y.u[0] * y.u[1] + 2.0 * y.v


def overwriting_cost(t, y, p):
    y.u[0] *= y.u[1]
    return y.u[0] + 2.0 * y.v


def end(y, p):
    return y.u[0] * y.v + y.u[1]


@pytest.mark.heavy
def test_a_function_that_overwrites_its_y_does_not_change_the_state():
    y0 = Pair(np.array([1.0, 0.5]), 0.7)
    found = []
    for rhs, running in ((pure, cost), (overwriting, overwriting_cost)):
        ode = adj.ODE(rhs, [0.0, 0.5], method="heun", dt=0.25, running=running, terminal=end)
        value, grad = ode.value_and_grad(y0, 0.3)
        found.append([value, *grad.y0.u, grad.y0.v, grad.p])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-13)
    assert y0.u.tolist() == [1.0, 0.5]


def decay(t, y, p):
    return y * -0.5


@pytest.mark.parametrize("p", [3, (), None])
def test_parameters_without_floats(p):
    ode = adj.ODE(decay, [0.0, 0.5], method="euler", dt=0.25, terminal=lambda y, p: y)
    value, grad = ode.value_and_grad(1.0, p)
    assert value == grad.y0 == 0.875**2 and grad.p in (None, ())


def plain(t, y, p):
    return y.u, y.v


class Other(NamedTuple):
    v: np.ndarray
    u: float


def other(t, y, p):
    return Other(y.u, y.v)


def test_structures_that_are_refused():
    y0 = Pair(np.array([1.0, 0.5]), 0.7)
    for rhs, words in ((plain, "plain tuple"), (other, "fields v, u")):
        with pytest.raises(StructureError, match=f"{words} from the right-hand side {rhs.__name__}, but expected a Pair"):
            adj.ODE(rhs, [0.0, 0.5], method="euler", dt=0.25).run(y0, 0.3)
    for empty in (np.zeros(0), (), (np.zeros(0), np.zeros((2, 0)))):
        with pytest.raises(StructureError, match="at least one number"):
            adj.ODE(decay, [0.0, 0.5]).run(empty)


@pytest.mark.parametrize("length", [1, 3])
def test_tolerances_have_the_shapes_of_y(length):
    ode = adj.ODE(decay, [0.0, 0.5], method="bosh3", atol=np.full(length, 1e-6))
    with pytest.raises(StructureError, match=rf"atol of shape \({length},\), but expected that of y0, \(2,\)"):
        ode.run(np.ones(2))


def fall(t, y, p):
    return np.array([y[1], -p])


def height(t, y, p):
    return y[0]


def spoiling_height(t, y, p):
    y[0] *= 2.0
    return 0.5 * y[0]


def bounce(t, y, p):
    return np.array([y[0], -0.8 * y[1]])


@pytest.mark.heavy
def test_a_condition_that_overwrites_its_y_does_not_change_the_state():
    found = []
    for condition in (height, spoiling_height):
        events = adj.Event(condition, bounce)
        ode = adj.ODE(fall, [0.0, 1.0], method="bosh3", events=events, terminal=lambda y, p: y[0])
        value, grad = ode.value_and_grad(np.array([1.0, 0.0]), 9.81)
        found.append([value, *grad.y0, grad.p])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def listing(t, y, p):
    return [y[1], -p * y[0]]


def listed_kick(t, y, p):
    return [y[0] + 1.0, y[1]]


def tupled(t, y, p):
    return y[1], -p * y[0]


def tupled_kick(t, y, p):
    return y[0] + 1.0, y[1]


def first_component(y, p):
    return y[0]


def test_lists_of_numbers_stand_for_vectors():
    how = {"method": "rk4", "dt": 0.25, "terminal": first_component}
    one = adj.ODE(listing, [0.0, 1.0], jumps=adj.Jump([0.5], listed_kick), **how).value_and_grad(np.array([1.0, 0.0]), 2.0)
    other = adj.ODE(tupled, [0.0, 1.0], jumps=adj.Jump([0.5], tupled_kick), **how).value_and_grad(np.array([1.0, 0.0]), 2.0)
    assert one[0] == other[0] and one[1].p == other[1].p


def fading(t, y, p):
    return -p * y


def doubled(t, y, p):
    return 2.0 * y


def one(p):
    return 1.0 + 0.0 * p


def two(p):
    return 2.0 + p


class Storage:
    """A second tier that is equal to others, hence without a hash."""

    capacity = 2**20

    def __eq__(self, other):
        return isinstance(other, Storage)

    def write(self, slot, state):
        raise AssertionError("not needed")

    read = write


def test_problems_that_differ_by_times_and_bounds_share_what_is_generated():
    given = {"method": "rk4", "dt": 0.25}
    first = adj.ODE(fading, [0.0, 1.0], **given)
    again, less = adj.ODE(fading, [0.5, 1.0, 2.0], t0=0.0, **given), adj.ODE(fading, [0.0, 1.0], checkpoints=2, **given)
    other = adj.ODE(fading, [0.0, 1.0], observe=doubled, **given)
    jacobians = [ode.jacobian(1.0, 0.3, "p", mode="reverse") for ode in (first, again, less, other)]
    assert first._programs is again._programs is less._programs is not other._programs
    np.testing.assert_array_equal(jacobians[0], jacobians[2])
    np.testing.assert_array_equal(2.0 * jacobians[0], jacobians[3])
    assert jacobians[1][1] == jacobians[0][1]
    # each keeps its bounds, and each initial state its function, whichever was used last
    assert less.plan(1.0, 0.3).slots == 2 != first.plan(1.0, 0.3).slots
    unhashable = adj.ODE(fading, [0.0, 1.0], directory=Storage(), **given)
    assert unhashable.run(1.0, 0.3).y == first.run(1.0, 0.3).y
    fraction, one_byte = (adj.ODE(fading, [0.0, 1.0], memory=bound, **given) for bound in (1.0, 1))
    fraction.plan(1.0, 0.3)
    with pytest.raises(ArgumentError, match="memory"):
        one_byte.vjp(1.0, 0.3)
    runs = [[ode.run(y0, 0.3).y for y0 in (one, two, one)] for ode in (first, less)]
    assert runs[0] == runs[1] and runs[0][0] == runs[0][2] and runs[0][1] == pytest.approx(2.3 * runs[0][0])
    assert first.jacobian(two, 0.3, "p")[0] == pytest.approx(1.0) and first.jacobian(one, 0.3, "p")[0] == 0.0
