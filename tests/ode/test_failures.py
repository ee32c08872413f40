"""Where an integration cannot go on, and where a right-hand side is not one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import ArgumentError, ConvergenceError, IntegrationError, NonFiniteError, StructureError


class Two(NamedTuple):
    u: float
    v: np.ndarray


def blows_up(t, y, p):
    """v[1]' = v[1]^2: infinite at t = 1 / v[1]."""
    return Two(-y.u, np.array([p, y.v[1] * y.v[1]]))


def stiff(t, y, p):
    return np.array([-p * (y[0] - np.cos(t)), -y[1]])


def root(t, y, p):
    """Not a number where y < 0."""
    return -p * np.sqrt(y)


def decay(t, y, p):
    return -p * y


def test_a_solution_that_ends_is_an_error_with_what_was_reached():
    ode = adj.ODE(blows_up, np.linspace(0.0, 2.1, 8), rtol=1e-8)
    with pytest.raises(IntegrationError) as caught:
        ode.run(Two(1.0, np.array([0.0, 1.0])), 0.5)
    error = caught.value
    assert error.t == pytest.approx(1.0, abs=1e-4) and error.component == "y.v[1]"
    assert "y.v[1]" in str(error) and "tsit5" in str(error) and "rodas5p" in str(error) and "forward" in str(error)
    partial = error.solution
    assert partial.status == -1 and not partial.success and partial.message in str(error)
    assert len(partial.t) == 4 and len(partial.observations.u) == 4
    np.testing.assert_allclose(partial.observations.v[:, 1], 1.0 / (1.0 - partial.t), rtol=1e-5)


def test_too_many_steps():
    ode = adj.ODE(stiff, np.linspace(0.0, 10.0, 11), max_steps=1000, terminal=lambda y, p: y[0])
    for verb in (ode.run, ode.value_and_grad, ode.plan):
        with pytest.raises(IntegrationError, match=r"max_steps=1000.*y\[0\]") as caught:
            verb(np.array([2.0, 1.0]), 1e4)
        assert 0.0 < caught.value.t < 10.0 and caught.value.solution.stats["accepted"] <= 1000
        assert len(caught.value.solution.t) >= 1
    enough = adj.ODE(stiff, [0.0, 0.01], max_steps=1000).run(np.array([2.0, 1.0]), 1e4)
    assert enough.success


def test_a_trial_step_where_the_rate_is_not_a_number_is_rejected():
    """y = (1 - t/2)^2 until it is 0 at t = 2; a first step of 5 ends where y < 0."""
    solution = adj.ODE(root, [0.0, 1.5], first_step=1.5, max_step=5.0, rtol=1e-7).run(1.0, 1.0)
    assert solution.y == pytest.approx(0.0625, rel=1e-5)
    wild = adj.ODE(root, [0.0, 1.9], t0=0.0, first_step=1.9, rtol=1e-7, method="bosh3").run(1.0, 1.0)
    assert wild.stats["rejected"] > 0 and wild.y == pytest.approx(0.0025, rel=1e-2)


def test_a_rate_that_is_not_a_number_at_an_accepted_state():
    with pytest.raises(IntegrationError, match="nan") as caught:
        adj.ODE(root, [0.0, 1.0]).run(-1.0, 1.0)
    assert caught.value.t == 0.0 and caught.value.component == "y"
    with pytest.raises(NonFiniteError, match=r"t=0\.0") as fixed:
        adj.ODE(root, [0.0, 1.0], method="rk4", dt=0.1).run(-1.0, 1.0)
    assert fixed.value.leaf == "y" and fixed.value.step == 0


def wrong_shape(t, y, p):
    return y[:2] * p


def wrong_count(t, y, p):
    return p, p


def wrong_kind(t, y, p):
    return p


def nothing_at_all(t, y, p):
    pass


@pytest.mark.parametrize("rhs", [wrong_shape, wrong_count, wrong_kind])
def test_a_right_hand_side_of_another_shape(rhs):
    with pytest.raises((StructureError, ValueError)):
        adj.ODE(rhs, [0.0, 1.0]).run(np.array([1.0, 2.0, 3.0]), 1.0)
    with pytest.raises((StructureError, ValueError)):
        adj.ODE(rhs, [0.0, 1.0], method="euler", dt=0.1).run(np.arange(12.0), 1.0)


def test_states_that_are_none():
    with pytest.raises(StructureError, match="integer"):
        adj.ODE(decay, [0.0, 1.0]).run(1, 0.5)
    with pytest.raises(NonFiniteError):
        adj.ODE(decay, [0.0, 1.0]).run(math.nan, 0.5)
    with pytest.raises(NonFiniteError):
        adj.ODE(decay, [0.0, 1.0]).run(1.0, math.inf)
    with pytest.raises(StructureError, match="y0"):
        adj.ODE(decay, [0.0, 1.0]).run(None, 0.5)


def test_no_cost_no_gradient():
    ode = adj.ODE(decay, [0.0, 1.0])
    for verb in (ode.value_and_grad, ode.hvp, lambda y, p: ode.vjp(y, p)[1]()):
        with pytest.raises(ArgumentError, match="ODE without a cost|no cotangent"):
            verb(1.0, 0.5)


def test_unknown_names():
    ode = adj.ODE(decay, [0.0, 1.0], running=lambda t, y, p: y, terminal=lambda y, p: y)
    with pytest.raises(ArgumentError, match=r"'p\.c'"):
        ode.value_and_grad(1.0, 0.5, wrt="p.c")


def raising(t, y, p):
    if t > 0.5:
        raise RuntimeError("too late")
    return -p * y


def test_exceptions_of_the_right_hand_side():
    with pytest.raises(RuntimeError, match="too late"):
        adj.ODE(raising, [0.0, 1.0]).run(1.0, 0.5)
    with pytest.raises(RuntimeError, match="too late"):
        adj.ODE(raising, [0.0, 1.0], method="euler", dt=0.1).run(1.0, 0.5)


def explosive(t, y, p):
    return np.array([p * np.exp(20.0 * y[0]) - y[0], -y[1]])


def test_a_stage_that_is_not_found_says_when():
    ode = adj.ODE(explosive, [0.0, 1.0], method="implicit_euler", dt=0.5, terminal=lambda y, p: y[0])
    words = r"implicit_euler: Newton's method for a stage did not converge.*smaller dt="
    with pytest.raises(ConvergenceError, match=words) as caught:
        ode.value_and_grad(np.array([1.0, 1.0]), 2.0)
    assert len(caught.value.updates) == 50
    assert any("step n=0 of 2 (forward sweep)" in note for note in caught.value.__notes__)
    assert any("begins at t=0.0" in note for note in caught.value.__notes__)


def below(t, y, p):
    out = -p * y
    for i in range(1, len(y)):
        out[i] += y[i - 1] * y[i]
    return out


@pytest.mark.parametrize("given", [{"bandwidth": (0, 1)}, {"jac_sparsity": np.eye(9)}], ids=["bandwidth", "jac_sparsity"])
def test_entries_elsewhere_are_an_error_with_newton(given):
    ode = adj.ODE(below, [0.0, 0.5], method="implicit_euler", dt=0.25, **given)
    words = r"bandwidth=\(0, 1\)" if "bandwidth" in given else "jac_sparsity="
    with pytest.raises(ConvergenceError, match=f"entries outside of {words}"):
        ode.run(np.linspace(0.1, 1.0, 9), 0.7)
