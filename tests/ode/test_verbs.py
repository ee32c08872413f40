"""The verbs of an ODE are those of a Simulation: tangents, pullbacks, Hessians, Jacobians, plans, budgets."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from ode import systems

TIMES = np.linspace(0.0, 1.0, 4)


class Spring(NamedTuple):
    q: float
    v: float


class Constants(NamedTuple):
    k: float
    c: float


def spring(t, y, p):
    return Spring(y.v, -p.k * y.q - p.c * y.v * y.v)


def energy(t, y, p):
    return p.k * y.q * y.q + y.v * y.v


def seen(t, y, p):
    return y.q * np.exp(-t)


def misfit(k, value, p):
    return (value - 0.1 * k) ** 2


def end(y, p):
    return y.q * p.c


@pytest.fixture(scope="module")
def ode():
    how = {"running": energy, "observe": seen, "misfit": misfit, "terminal": end}
    return adj.ODE(spring, TIMES, method="bosh3", rtol=1e-5, **how)


Y0, P = Spring(1.0, 0.3), Constants(2.0, 0.4)
DIRECTION = Spring(0.3, -0.7), Constants(1.1, 0.6)


def dot(a, b):
    return float(np.dot(systems.flat(a), systems.flat(b)))


def test_tangents_and_cotangents_agree(ode):
    solution, tangent = ode.jvp(Y0, P, *DIRECTION)
    value, grad = ode.value_and_grad(Y0, P)
    assert solution.value == pytest.approx(value, rel=1e-14)
    assert tangent.value == pytest.approx(dot(grad.y0, DIRECTION[0]) + dot(grad.p, DIRECTION[1]), rel=1e-12)
    assert type(grad.y0) is Spring and type(grad.p) is Constants and type(tangent.y) is Spring
    solution, pullback = ode.vjp(Y0, P)
    bar = np.array([0.2, -1.0, 0.5, 2.0])
    grad = pullback(y_bar=Spring(0.7, -0.2), observations_bar=bar)
    expected = dot(tangent.y, Spring(0.7, -0.2)) + float(tangent.observations @ bar)
    assert dot(grad.y0, DIRECTION[0]) + dot(grad.p, DIRECTION[1]) == pytest.approx(expected, rel=1e-12)
    assert pullback().p == ode.value_and_grad(Y0, P)[1].p


def test_jacobians_both_ways(ode):
    _, tangent = ode.jvp(Y0, P, *DIRECTION)
    forward = ode.jacobian(Y0, P, ("y0", "p"), mode="forward")
    reverse = ode.jacobian(Y0, P, ("y0", "p"), mode="reverse")
    along = sum(
        column * d for part, direction in zip(forward, DIRECTION, strict=True) for column, d in zip(part, direction, strict=True)
    )
    np.testing.assert_allclose(along, tangent.observations, rtol=1e-12)
    for one, other in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(ode.jacobian(Y0, P, "p.c", mode="reverse"), reverse[1].c)


def test_hessian_products(ode):
    """Against differences of gradients of the steps frozen: those of a fixed method."""
    fixed = adj.ODE(spring, TIMES, method="bosh3", dt=0.1, running=energy, observe=seen, misfit=misfit, terminal=end)
    product = fixed.hvp(Y0, P, *DIRECTION)
    h = 1e-5

    def gradient(sign):
        y0 = Spring(*(y + sign * h * d for y, d in zip(Y0, DIRECTION[0], strict=True)))
        p = Constants(*(q + sign * h * d for q, d in zip(P, DIRECTION[1], strict=True)))
        grad = fixed.value_and_grad(y0, p)[1]
        return np.array(systems.flat((grad.y0, grad.p)))

    differences = (gradient(1.0) - gradient(-1.0)) / (2.0 * h)
    np.testing.assert_allclose(systems.flat((product.y0, product.p)), differences, rtol=1e-7)
    other = Spring(-0.4, 0.9), Constants(0.2, -1.3)
    mirrored = fixed.hvp(Y0, P, *other)
    assert dot(product.y0, other[0]) + dot(product.p, other[1]) == pytest.approx(
        dot(mirrored.y0, DIRECTION[0]) + dot(mirrored.p, DIRECTION[1]), rel=1e-11
    )


def test_only_what_wrt_names(ode):
    _, grad = ode.value_and_grad(Y0, P, wrt="p.k")
    whole = ode.value_and_grad(Y0, P)[1]
    assert grad.y0 is None and grad.p == Constants(whole.p.k, None)
    _, grad = ode.value_and_grad(Y0, P, wrt=("y0.q", "p.c"))
    assert grad.y0 == Spring(whole.y0.q, None) and grad.p == Constants(None, whole.p.c)


def test_budgets_do_not_change_bits(ode, tmp_path):
    value, grad = ode.value_and_grad(Y0, P)
    how = {"running": energy, "observe": seen, "misfit": misfit, "terminal": end, "method": "bosh3", "rtol": 1e-5}
    for bound in ({"checkpoints": 3}, {"checkpoints": 2, "directory": tmp_path}):
        other = adj.ODE(spring, TIMES, **how, **bound)
        got, bars = other.value_and_grad(Y0, P)
        assert (got, bars.y0, bars.p) == (value, grad.y0, grad.p)
        assert bars.ledger.slots <= bound["checkpoints"]
    assert adj.ODE(spring, TIMES, **how, checkpoints=3).plan(Y0, P).slots == 3
    assert list(tmp_path.iterdir()) == []


def start(p):
    return Spring(p.k / 2.0, 0.3)


def test_an_initial_state_that_depends_on_the_parameters(ode):
    value, grad = ode.value_and_grad(start, P)
    whole = ode.value_and_grad(Y0, P)[1]
    assert value == ode.run(Y0, P).value
    assert grad.p.k == pytest.approx(whole.p.k + whole.y0.q / 2.0, rel=1e-13) and grad.p.c == whole.p.c
    assert grad.y0 == whole.y0


def test_inputs_are_not_changed_and_runs_repeat():
    y0, p = systems.RING
    y, times = y0.copy(), TIMES.copy()
    ode = adj.ODE(systems.ring, times, terminal=lambda y, p: np.sum(y * y), method="bosh3", rtol=1e-5)
    first, again = ode.value_and_grad(y, p), ode.value_and_grad(y, p)
    assert first[0] == again[0] and first[1].p == again[1].p
    np.testing.assert_array_equal(first[1].y0, again[1].y0)
    np.testing.assert_array_equal(y, y0)
    times[:] = 7.0
    assert ode.value_and_grad(y, p)[0] == first[0]
    then = first[1].y0.tobytes()
    later = [ode.value_and_grad(factor * y, p)[1].y0 for factor in (0.9, 1.1)]
    assert first[1].y0.tobytes() == then != later[0].tobytes() != later[1].tobytes()  # what was returned is not written again
    assert not any(np.shares_memory(first[1].y0, other) for other in (again[1].y0, *later))


def test_several_threads(ode):
    expected = ode.value_and_grad(Y0, P)
    found = []
    threads = [threading.Thread(target=lambda: found.append(ode.value_and_grad(Y0, P))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(v == expected[0] and g.p == expected[1].p for v, g in found)


def test_threads_with_numbers_of_their_own(ode):
    """What is kept from one call to the next is one thread's at a time."""
    given = [Constants(2.0 + 0.3 * k, 0.4 - 0.1 * k) for k in range(4)]
    expected = [ode.value_and_grad(Y0, p) for p in given]

    def many(k):
        return [ode.value_and_grad(Y0, given[k]) for _ in range(25)]

    with ThreadPoolExecutor(4) as pool:
        for found, (value, grad) in zip(pool.map(many, range(4)), expected, strict=True):
            assert all(v == value and g.y0 == grad.y0 and g.p == grad.p for v, g in found)


def decay(t, y, p):
    return -p * y


def test_no_parameters_lists_and_single_precision():
    ode = adj.ODE(still, [0.0, 1.0], terminal=lambda y, p: y[0] * y[1], rtol=1e-10, atol=1e-10)
    value, grad = ode.value_and_grad([1.0, 2.0])
    assert value == pytest.approx(2.0 * math.exp(-2.0), rel=1e-8) and grad.p is None
    np.testing.assert_allclose(grad.y0, [2.0 * math.exp(-2.0), math.exp(-2.0)], rtol=1e-8)
    y0 = np.array([1.0, 2.0], np.float32)
    solution = adj.ODE(still, [0.0, 1.0], rtol=1e-4, atol=1e-4).run(y0)
    assert solution.y.dtype == np.float32
    np.testing.assert_allclose(solution.y, y0 * math.exp(-1.0), rtol=1e-3)


def still(t, y, p):
    return -y


def rotating(t, y, p):
    return 1j * p * y


def test_complex_states():
    """y = exp(i p t): d|y - 1|^2 / dp = 2 t sin(p t)."""
    ode = adj.ODE(rotating, [0.0, 2.0], rtol=1e-10, atol=1e-12, terminal=lambda y, p: abs(y - 1.0) ** 2)
    value, grad = ode.value_and_grad(1.0 + 0.0j, 0.7)
    assert value == pytest.approx(2.0 - 2.0 * math.cos(1.4), rel=1e-8)
    assert grad.p == pytest.approx(4.0 * math.sin(1.4), rel=1e-8)


def test_tolerances_for_each_component():
    y0 = Spring(1.0, 0.3)
    loose = adj.ODE(spring, TIMES, rtol=1e-12, atol=Spring(1.0, 1.0)).run(y0, P)
    tight = adj.ODE(spring, TIMES, rtol=1e-12, atol=Spring(1.0, 1e-9)).run(y0, P)
    assert tight.stats["accepted"] > 2 * loose.stats["accepted"]
    vector = adj.ODE(still, [0.0, 3.0], rtol=1e-12, atol=[1.0, 1e-9]).run(np.array([1.0, 2.0]))
    assert vector.stats["accepted"] > 10
    with pytest.raises(adj.errors.StructureError, match="atol"):
        adj.ODE(spring, TIMES, atol=[1.0, 1.0]).run(y0, P)


def test_a_longest_step():
    free = adj.ODE(decay, [0.0, 10.0], rtol=1e-3).run(1.0, 0.1)
    bound = adj.ODE(decay, [0.0, 10.0], rtol=1e-3, max_step=0.25).run(1.0, 0.1)
    assert np.diff(free.steps).max() > 0.5 and np.diff(bound.steps).max() < 0.2500001
    first = adj.ODE(decay, [0.0, 10.0], rtol=1e-3, first_step=0.01).run(1.0, 0.1)
    assert first.steps[1] == 0.01


def test_programs_of_many_structures_are_not_all_kept():
    """Each length of y makes its own functions."""
    ode = adj.ODE(lambda t, y, p: -p * y, [0.0, 1.0], method="euler", dt=0.5)
    for n in range(1, 40):
        np.testing.assert_allclose(ode.run(np.ones(n), 0.5).y, 0.5625)
        assert len(ode._programs) <= 16
