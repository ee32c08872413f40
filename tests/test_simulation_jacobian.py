"""Jacobians of observations: against pullbacks, tangents, differences and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import routed
from derived import ROD, RODS, SWING, SWINGS, Rod, Swing, Swings, numbers, rod, rod_observe, rods, swing, swing_observe, times
from models import P0, Y0, simulation
from test_simulation_tapes import AT, PARAMETERS, N, grown, grown_observe
from test_simulation_tapes import Y0 as GROWN

import adjointsim as adj
from adjointsim.errors import ArgumentError, NonFiniteError, StructureError, UnsupportedError
from adjointsim.schedules import Binomial


def swings(n, **options):
    return adj.Simulation(swing, n, observe=swing_observe, observe_at=times(n), **options)


def watched(n, **options):
    return adj.Simulation(rod, n, observe=rod_observe, observe_at=times(n), **options)


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_a_rod_against_complex_steps(mode):
    n = 7
    before = ROD.copy()
    by_u, by_p = watched(n).jacobian(ROD, RODS, mode=mode)
    assert by_u.shape == (5, 2, 5)
    assert isinstance(by_p, Rod) and by_p.r.shape == (5, 2) and by_p.f.shape == (5, 2, 5)

    def seen(u, r, f):
        found = []
        for k in range(n + 1):
            found += [[u[1] * r, u[2] * u[3]]] * times(n).count(k)
            u = np.array(u)
            for i in range(1, len(u) - 1):
                u[i] = u[i] + r * (u[i - 1] - 2.0 * u[i] + u[i + 1]) + f[i] * u[i] * u[i]
            u[0] = u[1] * u[1]
        return np.array(found)

    h = 1e-30j
    for i, unit in enumerate(np.eye(5)):
        np.testing.assert_allclose(by_u[..., i], seen(ROD + h * unit, RODS.r, RODS.f).imag / h.imag, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(
            by_p.f[..., i], seen(ROD + 0j, RODS.r, RODS.f + h * unit).imag / h.imag, rtol=1e-13, atol=1e-15
        )
    np.testing.assert_allclose(by_p.r, seen(ROD + 0j, RODS.r + h, RODS.f).imag / h.imag, rtol=1e-13, atol=1e-15)
    assert np.array_equal(ROD, before)


def rows_by_pullback(sim, y0, p, wrt):
    """The same by one pullback for each number observed."""
    solution, pullback = sim.vjp(y0, p, wrt)
    structure = solution.observations
    leaves = structure if isinstance(structure, tuple) else (structure,)
    rows = []
    for k, leaf in enumerate(leaves):
        for place in range(leaf.size):
            bars = [np.zeros_like(x) for x in leaves]
            bars[k].flat[place] = 1.0
            grad = pullback(observations_bar=tuple(bars) if isinstance(structure, tuple) else bars[0])
            rows.append(numbers(grad.y0, grad.p))
    return rows


@pytest.mark.parametrize("options", [{}, {"checkpoints": 1}, {"checkpoints": 3}, {"schedule": Binomial(9, 2)}], ids=str)
def test_rows_are_pullbacks_bit_for_bit(options):
    sim = watched(9, **options)
    by_u, by_p = sim.jacobian(ROD, RODS, mode="reverse")
    flat = np.concatenate([by_u.reshape(10, -1), by_p.r.reshape(10, -1), by_p.f.reshape(10, -1)], axis=1)
    assert flat.tobytes() == np.array(rows_by_pullback(sim, ROD, RODS, ("y0", "p"))).tobytes()
    again = watched(9).jacobian(ROD, RODS, mode="reverse")
    assert again[0].tobytes() == by_u.tobytes() and again[1].f.tobytes() == by_p.f.tobytes()


def test_rows_of_numbers_are_pullbacks_bit_for_bit():
    sim = swings(8, checkpoints=2)
    (first, second) = sim.jacobian(SWING, SWINGS, "p", mode="reverse")
    assert isinstance(first, Swings) and first.label is None and first.push.shape == (5, 3)
    assert first.w.shape == (5,) and second.unused.shape == (5, 2, 2)
    flat = np.concatenate(
        [np.concatenate([np.reshape(leaf, (5, -1)) for leaf in x if leaf is not None], 1) for x in (first, second)]
    )
    assert flat.tobytes() == np.array(rows_by_pullback(sim, SWING, SWINGS, "p")).tobytes()
    for ours, theirs in zip((first, second), sim.jacobian(SWING, SWINGS, "p", mode="forward"), strict=True):
        np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=1e-12, atol=1e-14)


def test_rows_of_buffers_that_change_hands_and_of_tapes_that_grow():
    """Each cotangent has buffers, and a place among the observations, of its own; the tape is everyone's."""
    swaps = adj.Simulation(routed.STEPS["swaps"], 7, observe=routed.observe, observe_at=[0, 2, 5, 5, 7], checkpoints=2)
    growing = adj.Simulation(grown, N, observe=grown_observe, observe_at=AT, checkpoints=2)
    for sim, y0, p in ((swaps, routed.Y0, routed.P), (growing, GROWN, PARAMETERS)):
        by_y, by_p = sim.jacobian(y0, p, mode="reverse")
        expected = np.array(rows_by_pullback(sim, y0, p, ("y0", "p")))
        lines = []
        for leaf, *parts in zip(sim.run(y0, p).observations, by_y, by_p, strict=True):
            blocks = [np.reshape(x, (leaf.size, -1)) for part in parts for x in part if x is not None]
            lines.append(np.concatenate(blocks, axis=1))
        assert np.concatenate(lines).tobytes() == expected.tobytes()


def test_the_steps_are_recomputed_once_for_all_cotangents():
    calls = []

    def step(n, y, p):
        calls.append(n)
        return p * y * y

    def vjp(n, y, p, bar):
        return 2.0 * p * y * bar, y * y * bar

    by_hand = adj.step(step, vjp=vjp, jit=False)
    sim = adj.Simulation(by_hand, 12, observe=lambda n, y, p: y * p, observe_at=[0, 3, 6, 12], checkpoints=2)
    found = sim.jacobian(0.7, 1.1, "p", mode="reverse")
    once = len(calls)
    calls.clear()
    _, pullback = sim.vjp(0.7, 1.1)
    pullback(observations_bar=np.eye(4)[1])
    assert once == len(calls)
    expected = [pullback(observations_bar=unit).p for unit in np.eye(4)]
    assert found.tolist() == expected


def test_names_and_shapes():
    sim = swings(5)
    assert sim.jacobian(SWING, SWINGS, "p.w")[0].shape == (5,)
    assert sim.jacobian(SWING, SWINGS, "p.push")[1].shape == (5, 3)
    by_x, by_p = sim.jacobian(SWING, SWINGS, ("y0.x", "p"))
    assert by_x[0].shape == (5,) and isinstance(by_p[0], Swings)
    (by_y, _) = sim.jacobian(SWING, SWINGS, "y0")
    assert isinstance(by_y, Swing) and by_y.count is None
    assert adj.Simulation(swing, 3, observe=swing_observe, observe_at=[]).jacobian(SWING, SWINGS, "p.push")[0].shape == (0, 3)
    at_start = adj.Simulation(swing, 0, observe=swing_observe, observe_at=[0]).jacobian(SWING, SWINGS, "y0")
    assert at_start[0].x.tolist() == [SWINGS.w] and at_start[1].v.tolist() == [2 * SWING.v]


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_linear_recurrence_in_closed_form(mode):
    a, b, y0 = 0.9, 0.4, 1.5
    at = [0, 1, 4, 10]
    sim = adj.Simulation(adj.step(lambda n, y, p: p[0] * y + p[1]), 10, observe=lambda n, y, p: y, observe_at=at, checkpoints=2)
    by_y, (by_a, by_b) = sim.jacobian(y0, (a, b), mode=mode)
    k = np.array(at)
    assert by_y == pytest.approx(a**k, rel=1e-13)
    assert by_b == pytest.approx((1 - a**k) / (1 - a), rel=1e-13, abs=1e-15)
    slope = k * a ** np.maximum(k - 1, 0)
    assert by_a == pytest.approx(slope * y0 + b * ((1 - a**k) / (1 - a) - slope) / (1 - a), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_an_initial_state_that_depends_on_p(mode):
    sim = watched(6)

    def start(p):
        return p.f * p.r + 0.1

    whole = sim.jacobian(start, RODS, "p", mode=mode)
    by_u, alone = sim.jacobian(RODS.f * RODS.r + 0.1, RODS, mode=mode)
    np.testing.assert_allclose(whole.r, alone.r + by_u @ RODS.f, rtol=1e-13)
    np.testing.assert_allclose(whole.f, alone.f + by_u * RODS.r, rtol=1e-13)
    np.testing.assert_array_equal(sim.jacobian(start, RODS, "y0", mode=mode), by_u)


def test_costs_do_not_matter():
    plain, costly = watched(4).jacobian(ROD, RODS, "y0"), rods(4).jacobian(ROD, RODS, "y0")
    np.testing.assert_array_equal(plain, costly)


def test_steps_by_hand_go_back():
    sim = simulation(6)
    by_c, by_t = sim.jacobian(Y0, P0, ("p.c", "y0.t"))  # two columns, and yet by rows
    assert by_c.shape == by_t.shape == (4, 2)
    _, pullback = sim.vjp(Y0, P0)
    unit = np.zeros((4, 2))
    unit[2, 1] = 1.0
    grad = pullback(observations_bar=unit)
    assert (by_c[2, 1], by_t[2, 1]) == (grad.p.c, grad.y0.t)
    with pytest.raises(UnsupportedError, match="hand-written VJP, hence no JVP"):
        sim.jacobian(Y0, P0, "p.c", mode="forward")


def test_what_is_wrong():
    with pytest.raises(ArgumentError, match="without observe="):
        adj.Simulation(swing, 3).jacobian(SWING, SWINGS, "p")
    with pytest.raises(ArgumentError, match="Got wrt name 'p.x', but expected one of"):
        swings(3).jacobian(SWING, SWINGS, "p.x")
    with pytest.raises(ArgumentError, match="integers and bools have no derivative"):
        swings(3).jacobian(SWING, SWINGS, "p.label")
    with pytest.raises(ArgumentError, match="Got mode='backward'"):
        swings(3).jacobian(SWING, SWINGS, "p", mode="backward")
    with pytest.raises(ArgumentError, match=r"Got wrt=\(\)"):
        swings(3).jacobian(SWING, SWINGS, ())
    counting = adj.Simulation(swing, 3, observe=lambda n, y, p: y.count, observe_at=[1])
    with pytest.raises(StructureError, match="without a float: its Jacobian would be None"):
        counting.jacobian(SWING, SWINGS, "p")
    rooted = adj.Simulation(adj.step(lambda n, y, p: (y * p) ** 0.5), 3, observe=lambda n, y, p: y, observe_at=[3])
    for mode in ("forward", "reverse"):
        with pytest.raises(NonFiniteError):
            rooted.jacobian(0.0, 1.0, "y0", mode=mode)
