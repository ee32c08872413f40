"""Hessian products of simulations: against 50-digit arithmetic, closed forms and differences of gradients; the same bits for
every schedule."""

from __future__ import annotations

import math
import os

import mpmath
import numpy as np
import pytest
import routed
from derived import ROD, RODS, SWING, SWINGS, Swings, numbers, rods, swing, swing_observe, swinging, times
from models import P0, simulation
from models import Y0 as BY_HAND
from test_simulation_tapes import AT, COSTS, PARAMETERS, N, grown, plain
from test_simulation_tapes import Y0 as GROWN

import adjointsim as adj
from adjointsim.errors import ArgumentError, NonFiniteError, StructureError, UnsupportedError
from adjointsim.schedules import Binomial


def like(x, rng):
    """A random tangent; None for inert leaves."""
    if isinstance(x, tuple):
        return getattr(type(x), "_make", tuple)(like(item, rng) for item in x)
    if isinstance(x, np.ndarray):
        return rng.normal(size=x.shape) if x.dtype.kind == "f" else None
    return float(rng.normal()) if isinstance(x, float) else None


def moved(x, *steps):
    """x plus multiples (h, dot) of tangents, in mpmath's numbers if h are."""
    if isinstance(x, tuple):
        items = [moved(item, *((h, dot[k]) for h, dot in steps)) for k, item in enumerate(x)]
        return getattr(type(x), "_make", tuple)(items)
    if steps[0][1] is None:
        return x
    if isinstance(x, np.ndarray):
        flat = [moved(float(v), *((h, np.ravel(d)[k]) for h, d in steps)) for k, v in enumerate(x.ravel())]
        return np.array(flat).reshape(x.shape)
    return sum((h * float(dot) for h, dot in steps), mpmath.mpf(float(x)) if isinstance(steps[0][0], mpmath.mpf) else x)


def dot(grad, y_dot, p_dot):
    return float(numbers(grad.y0, grad.p) @ numbers(y_dot, p_dot))


def bits(grad):
    return numbers(grad.y0, grad.p).tobytes()


def exact(value, y0, p, v, w):
    """The second derivative of value(y0, p) along v = (y_dot, p_dot) and w, by 50-digit differences."""
    with mpmath.workdps(50):

        def along(s, t):
            return value(moved(y0, (s, v[0]), (t, w[0])), moved(p, (s, v[1]), (t, w[1])))

        return float(mpmath.diff(along, (mpmath.mpf(0), mpmath.mpf(0)), (1, 1)))


def check(sim, value, y0, p, schedules=()):
    """Products along two directions: right, symmetric, the same bits under every bound."""
    rng = np.random.default_rng(5)
    v, w = (like(y0, rng), like(p, rng)), (like(y0, rng), like(p, rng))
    before = numbers(y0, p, *v).tobytes()
    hv, hw = (sim().hvp(y0, p, *direction) for direction in (v, w))
    scale = float(np.abs(numbers(hv.y0, hv.p) * numbers(*w)).sum())
    assert dot(hv, *w) == pytest.approx(exact(value, y0, p, v, w), rel=1e-12, abs=1e-12 * scale)
    assert abs(dot(hv, *w) - dot(hw, *v)) <= 1e-12 * scale
    _, grad = sim().value_and_grad(y0, p)
    assert [type(x) for x in (hv.y0, hv.p)] == [type(x) for x in (grad.y0, grad.p)]
    assert len(numbers(hv.y0, hv.p)) == len(numbers(grad.y0, grad.p))
    for options in schedules:
        again = sim(**options).hvp(y0, p, *v)
        assert bits(again) == bits(hv), options
        assert again.ledger.bytes_peak == again.ledger.bytes_planned or again.ledger.estimated
    assert numbers(y0, p, *v).tobytes() == before, "nothing is modified"
    return hv


# ------------------------------------------------------------------------------------------------------------ right
def swing_value(n, at):
    def value(y, p):
        x, v, total, seen = y.x, y.v, mpmath.mpf(0), 0
        for k in range(n + 1):
            while seen < len(at) and at[seen] == k:
                d = x * p.w + mpmath.mpf(0.1) * k - mpmath.mpf(0.2) * seen
                total += d * d / 2 + p.c * v * v
                seen += 1
            if k < n:
                total += mpmath.mpf(0.01) * (k + 1) * x * v * p.c
                v = v - mpmath.mpf(0.1) * (p.w * mpmath.sin(x) + p.c * v) + p.push[k % 3]
                if v > mpmath.mpf(0.5):
                    v = mpmath.mpf(0.5) + mpmath.mpf(0.3) * (v - mpmath.mpf(0.5))
                x = x + mpmath.mpf(0.1) * v
        return total + p.w * x * x + mpmath.exp(v) + mpmath.mpf(0.1) * (2 + 3 * n) * v

    return value


#: every model takes a minute to compile
NAMES = ["swaps"] if os.environ.get("CORPUS") != "all" else ["swaps", "outside", "twins", "recorded", "overwritten"]
SCHEDULES = [{"checkpoints": s} for s in (1, 2, 5)] + [{"memory": "1kB"}, {"progress": lambda done, total: None}]


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_numbers_with_all_costs(n):
    product = check(lambda **o: swinging(n, **o), swing_value(n, times(n)), SWING, SWINGS, SCHEDULES)
    assert product.y0.count is None and product.p.label is None
    assert isinstance(product.p, Swings) and not product.p.unused.any()


@pytest.mark.parametrize("name", NAMES)
def test_leaves_that_change_hands_and_tapes_of_unknown_length(name):
    f, step, n = routed.FUNCTIONS[name], routed.STEPS[name], 7
    schedules = [{"checkpoints": s} for s in range(1, n + 2)] + [{"schedule": Binomial(n, 3)}]
    y0, p = routed.Y0, routed.P
    check(lambda **o: routed.simulation(step, n, **o), lambda y, p: routed.value(f, n, y, p), y0, p, schedules)


@pytest.mark.parametrize("name", ["swaps", "outside"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_runs(name, n):
    f = routed.FUNCTIONS[name]
    check(
        lambda **o: routed.simulation(routed.STEPS[name], n, **o), lambda y, p: routed.value(f, n, y, p), routed.Y0, routed.P,
        [{"checkpoints": 1}],
    )  # fmt: skip


def test_tapes_that_grow_on_the_way_back():
    def value(y, p):
        return plain(grown, N, AT, y, p, **COSTS)

    schedules = [{"checkpoints": s} for s in (1, 2, 4, N)]
    product = check(lambda **o: adj.Simulation(grown, N, **COSTS, observe_at=AT, **o), value, GROWN, PARAMETERS, schedules)
    assert product.ledger.estimated


def test_an_array_that_is_overwritten_against_differences_of_gradients():
    rng = np.random.default_rng(8)
    u_dot, p_dot = like(ROD, rng), like(RODS, rng)
    hvp = rods(9, checkpoints=3).hvp(ROD, RODS, u_dot, p_dot)
    h, sim = 1e-5, rods(9)
    ends = [sim.value_and_grad(ROD + s * u_dot, moved(RODS, (s, p_dot)))[1] for s in (h, -h)]
    slope = (numbers(ends[0].y0, ends[0].p) - numbers(ends[1].y0, ends[1].p)) / (2 * h)
    np.testing.assert_allclose(numbers(hvp.y0, hvp.p), slope, rtol=1e-7, atol=1e-8)
    tangent = sim.jvp(ROD, RODS, u_dot, p_dot)[1]
    assert dot(sim.value_and_grad(ROD, RODS)[1], u_dot, p_dot) == pytest.approx(tangent.value, rel=1e-13)


def mix(row, s, c):
    """Overwrites what it is given, with a value to record in every iteration."""
    for i in range(len(row)):
        row[i] = 0.5 * row[i] * c + math.sin(s * row[i]) * row[i - 1]
    return row[0] * s


@adj.step
def mixing(n, y, p):
    total = mix(y, p[0], p[1]) + 0.1 * mix(y, 0.7, p[2])
    y[1] = y[1] + total * total
    return y


def bowl(y, p):
    total = 0.0
    for i in range(len(y)):
        total += y[i] * y[i] * p[i % len(p)]
    return total


def through_helper(n, y, p):
    """A cost that calls what the step calls, too, with other arguments active."""
    z = np.ones(3)
    return 0.1 * mix(z, y[0], 0.3) + z[1] * y[2]


def test_helpers_that_stay_functions_of_their_own():
    y0, p = np.array([0.4, -0.2, 0.9, 0.3]), np.array([0.7, 0.2, -0.4])
    rng = np.random.default_rng(4)
    v, w = (rng.normal(size=4), rng.normal(size=3)), (rng.normal(size=4), rng.normal(size=3))
    sim = adj.Simulation(mixing, 5, terminal=bowl, running=through_helper, checkpoints=2)
    hv, hw = sim.hvp(y0, p, *v), sim.hvp(y0, p, *w)
    assert bits(adj.Simulation(mixing, 5, terminal=bowl, running=through_helper).hvp(y0, p, *v)) == bits(hv)
    assert dot(hv, *w) == pytest.approx(dot(hw, *v), rel=1e-12)
    h = 1e-5
    ends = [sim.value_and_grad(y0 + s * v[0], p + s * v[1])[1] for s in (h, -h)]
    slope = (numbers(ends[0].y0, ends[0].p) - numbers(ends[1].y0, ends[1].p)) / (2 * h)
    np.testing.assert_allclose(numbers(hv.y0, hv.p), slope, rtol=1e-7, atol=1e-8)


# ------------------------------------------------------------------------------------------------------ closed forms
def itself(y, p):
    return y


def square(y, p):
    return 0.5 * y * y


@pytest.mark.parametrize("options", [{}, {"checkpoints": 3}], ids=str)
def test_a_linear_recurrence_in_closed_form(options):
    """y_N = a^N y0, value y_N^2 / 2."""
    a, y0, n = 0.98, 1.7, 50
    sim = adj.Simulation(adj.step(lambda n, y, p: p * y), n, terminal=square, **options)
    by_y = sim.hvp(y0, a, 1.0)
    assert by_y.y0 == pytest.approx(a ** (2 * n), rel=1e-12)
    assert by_y.p == pytest.approx(2 * n * a ** (2 * n - 1) * y0, rel=1e-12)
    by_a = sim.hvp(y0, a, None, 1.0)
    assert by_a.y0 == pytest.approx(by_y.p, rel=1e-13)
    assert by_a.p == pytest.approx(n * (2 * n - 1) * a ** (2 * n - 2) * y0**2, rel=1e-12)
    nothing = sim.hvp(y0, a)
    assert (nothing.y0, nothing.p) == (0.0, 0.0)


def test_the_logistic_map_in_50_digits():
    y0, r, n = 0.3, 3.2, 40
    with mpmath.workdps(60):

        def value(y, r):
            for _ in range(n):
                y = r * y * (1 - y)
            return y

        at = (mpmath.mpf(y0), mpmath.mpf(r))
        expected = [float(mpmath.diff(value, at, order)) for order in ((2, 0), (1, 1), (0, 2))]
    sim = adj.Simulation(adj.step(lambda n, y, r: r * y * (1.0 - y)), n, terminal=itself, checkpoints=4)
    first, second = sim.hvp(y0, r, 1.0, None), sim.hvp(y0, r, None, 1.0)
    assert [first.y0, first.p, second.y0, second.p] == pytest.approx([*expected[:2], *expected[1:]], rel=1e-10)


def test_a_cotangent_that_vanishes_on_the_way():
    """(sqrt(y_N) - 1)**2 at y_N = 1: the gradient is 0, the second derivative 1/2 is not."""

    def rooted(y, p):
        return (math.sqrt(y) - 1.0) ** 2

    sim = adj.Simulation(adj.step(lambda n, y, p: y), 4, terminal=rooted)
    assert sim.value_and_grad(1.0)[1].y0 == 0.0
    assert sim.hvp(1.0, None, 1.0).y0 == pytest.approx(0.5, rel=1e-14)
    inside = adj.Simulation(adj.step(lambda n, y, p: (math.sqrt(y) - 1.0) ** 2 + 1.0), 1, terminal=itself)
    assert inside.hvp(1.0, None, 1.0).y0 == pytest.approx(0.5, rel=1e-14)


def test_float32_states():
    u0 = np.array([0.3, 0.7], np.float32)
    sim = adj.Simulation(adj.step(lambda n, y, p: y * y * np.float32(0.9)), 2, terminal=lambda y, p: y[0] * y[1])
    found = sim.hvp(u0, None, np.ones(2)).y0
    assert found.dtype == np.float32
    expected = adj.Simulation(adj.step(lambda n, y, p: y * y * 0.9), 2, terminal=lambda y, p: y[0] * y[1])
    assert found == pytest.approx(expected.hvp(u0.astype(float), None, np.ones(2)).y0, rel=1e-5)


# ------------------------------------------------------------------------------------------------- initial states, bounds
def test_an_initial_state_that_depends_on_p():
    def start(p):
        return p.f * p.f * p.r

    def whole(z, direction):
        """The product by differences of whole gradients."""
        h = 1e-5
        ends = [rods(5).value_and_grad(start, moved(RODS, (s, direction)))[1].p for s in (h, -h)]
        return (numbers(ends[0]) - numbers(ends[1])) / (2 * h)

    direction = like(RODS, np.random.default_rng(2))
    found = rods(5, checkpoints=2).hvp(start, RODS, None, direction)
    np.testing.assert_allclose(numbers(found.p), whole(RODS, direction), rtol=1e-7, atol=1e-8)
    u0 = RODS.f * RODS.f * RODS.r
    u_dot = 2 * RODS.f * direction.f * RODS.r + RODS.f**2 * direction.r
    np.testing.assert_allclose(found.y0, rods(5).hvp(u0, RODS, u_dot, direction).y0, rtol=1e-13)
    np.testing.assert_allclose(
        rods(5).hvp(start, RODS, ROD, None).y0, rods(5).hvp(u0, RODS, ROD, None).y0, rtol=1e-13, err_msg="y0_dot is added"
    )


def test_observations_without_a_misfit_do_not_matter():
    seen = adj.Simulation(swing, 6, terminal=lambda y, p: y.x * y.v * p.c, observe=swing_observe, observe_at=times(6))
    alone = adj.Simulation(swing, 6, terminal=lambda y, p: y.x * y.v * p.c)
    direction = like(SWINGS, np.random.default_rng(1))
    assert bits(seen.hvp(SWING, SWINGS, None, direction)) == bits(alone.hvp(SWING, SWINGS, None, direction))


def test_a_budget_holds_state_and_tangent():
    u0 = np.linspace(0.1, 0.9, 100)
    sim = adj.Simulation(adj.step(lambda n, y, p: p * y * y), 50, terminal=lambda y, p: np.sum(y * y), memory=40_000)
    product = sim.hvp(u0, 1.01, u0)
    assert product.ledger.schedule == "binomial"
    assert product.ledger.bytes_peak == product.ledger.bytes_planned <= 40_000
    assert product.ledger.slots < sim.value_and_grad(u0, 1.01)[1].ledger.slots
    assert product.ledger.vjp_steps == 50
    tiny = adj.Simulation(adj.step(lambda n, y, p: p * y * y), 50, terminal=lambda y, p: np.sum(y * y), memory=2_000)
    with pytest.raises(ArgumentError, match="a state takes 1600"):
        tiny.hvp(u0, 1.01, u0)


# ------------------------------------------------------------------------------------------------------------------ wrong
def test_what_is_wrong():
    with pytest.raises(ArgumentError, match="without a cost"):
        adj.Simulation(swing, 3).hvp(SWING, SWINGS, SWING)
    with pytest.raises(UnsupportedError, match="hand-written VJP, which cannot be differentiated again"):
        simulation(3).hvp(BY_HAND, P0, BY_HAND)
    with pytest.raises(StructureError, match=r"Got y0_dot of shape \(2,\), but expected shape \(5,\)"):
        rods(3).hvp(ROD, RODS, np.ones(2))
    with pytest.raises(StructureError, match=r"Got p_dot as a float, but expected the structure"):
        rods(3).hvp(ROD, RODS, None, 1.0)
    with pytest.raises(NonFiniteError, match=r"Got y0_dot\[1\] = nan"):
        rods(3).hvp(ROD, RODS, np.array([0.0, np.nan, 0.0, 0.0, 0.0]))
    with pytest.raises(StructureError, match="names no float"):
        adj.Simulation(adj.step(lambda n, y, p: y + 1), 2, terminal=lambda y, p: y * 0.5).hvp(3)


def test_where_a_tangent_is_not_finite():
    def root(n, y, p):
        return math.sqrt(y - 1.0) if n == 3 else y * 1.0

    with pytest.raises(NonFiniteError, match="y_dot became inf in step n=3 of 6") as error:
        adj.Simulation(adj.step(root), 6, terminal=itself).hvp(1.0, None, 1.0)
    assert (error.value.step, error.value.leaf) == (3, "y_dot")

    def cubed(y, p):
        return y**1.5 if y > 0.0 else y * 0.0 + math.sqrt(y) * y

    sim = adj.Simulation(adj.step(lambda n, y, p: y), 2, terminal=cubed)
    assert sim.value_and_grad(0.0)[1].y0 == 0.0
    with pytest.raises(NonFiniteError):
        sim.hvp(0.0, None, 1.0)


def test_an_error_of_the_user():
    def picky(n, y, p):
        if n == 2 and y > 0.5:
            raise ValueError("too much")
        return y * p

    with pytest.raises(ValueError, match="too much") as error:
        adj.Simulation(adj.step(picky), 4, terminal=itself).hvp(0.9, 1.0, 1.0)
    assert any("raised in step n=2 of 4 (forward sweep)" in note for note in error.value.__notes__)
