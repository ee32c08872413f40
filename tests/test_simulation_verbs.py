"""What can be asked of a simulation of derived steps: parts of gradients, pullbacks, all structures, captured values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, Swing, Swings, bits, numbers, rod, rod_terminal, rods, swinging

import adjointsim as adj
from adjointsim import kit
from adjointsim.call import Call


# ---------------------------------------------------------------------------------------------------------- pullbacks
@pytest.mark.parametrize("name", ["numbers", "array"])
@pytest.mark.parametrize("options", [{}, {"checkpoints": 3}], ids=str)
def test_a_pullback_may_be_called_again(name, options):
    make, y0, p = (swinging, SWING, SWINGS) if name == "numbers" else (rods, ROD, RODS)
    expected = bits(*make(10, **options).value_and_grad(y0, p))
    solution, pullback = make(10, **options).vjp(y0, p)
    numbers(solution.y)[:] = np.nan
    for _ in range(3):
        grad = pullback()
        assert bits(solution.value, grad) == expected
        for bar in (grad.y0, grad.p.push if name == "numbers" else grad.p.f):
            if isinstance(bar, np.ndarray):
                bar[:] = np.nan  # the user's own now
    doubled = pullback(2.0)
    assert numbers(doubled.y0, doubled.p) == pytest.approx(2.0 * numbers(pullback().y0, pullback().p), rel=1e-13)


@pytest.mark.parametrize("name", ["numbers", "array"])
def test_zero_cotangents_give_exact_zeros(name):
    make, y0, p = (swinging, SWING, SWINGS) if name == "numbers" else (rods, ROD, RODS)
    solution, pullback = make(10, checkpoints=3).vjp(y0, p)
    zeros = [{"value_bar": 0.0}, {"y_bar": None, "value_bar": 0.0}]
    zeros += [{"observations_bar": (np.zeros(5), np.zeros(5)) if name == "numbers" else np.zeros((5, 2))}]
    zeros += [{"y_bar": Swing(0.0, 0.0, None) if name == "numbers" else np.zeros(5)}]
    for bars in zeros:
        grad = pullback(**bars)
        assert not numbers(grad.y0, grad.p).any()
        assert grad.p is not None


def test_seeds_add_up():
    solution, pullback = rods(7, checkpoints=2).vjp(ROD, RODS)
    rng = np.random.default_rng(0)
    y_bar, o_bar = rng.normal(size=5), rng.normal(size=(5, 2))
    before = y_bar.copy(), o_bar.copy()
    parts = [pullback(1.0), pullback(y_bar=y_bar), pullback(observations_bar=o_bar)]
    together = pullback(1.0, y_bar, o_bar)
    total = np.sum([numbers(g.y0, g.p) for g in parts], axis=0)
    assert numbers(together.y0, together.p) == pytest.approx(total, rel=1e-13)
    assert np.array_equal(y_bar, before[0]) and np.array_equal(o_bar, before[1])


def test_inputs_are_untouched():
    y0, p = ROD.copy(), RODS._replace(f=RODS.f.copy())
    sim = rods(6, checkpoints=2)
    sim.run(y0, p)
    sim.value_and_grad(y0, p)
    sim.jvp(y0, p, np.ones(5), RODS)
    _, pullback = sim.vjp(y0, p)
    expected = bits(0.0, pullback())
    y0[:] = p.f[:] = np.nan  # a pullback keeps copies
    assert bits(0.0, pullback()) == expected


# ---------------------------------------------------------------------------------------------------------------- wrt
def active(sim, y0, p, wrt):
    """The leaves of p whose cotangents the compiled sweep computes."""
    text = kit.model_of(Call(sim, y0, p, wrt).problem).text(True)
    driver = text[text.index("def sweep(") :]
    return [name for k, name in enumerate(p._fields) if f"pb_{k}" in driver]


def test_wrt_selects():
    sim = swinging(8, checkpoints=3)
    value, full = sim.value_and_grad(SWING, SWINGS)
    again, only = sim.value_and_grad(SWING, SWINGS, wrt="p.c")
    assert (again, only.y0, only.p) == (value, None, Swings(None, full.p.c, None, None, None))
    assert active(sim, SWING, SWINGS, "p.c") == ["c"]
    _, only = sim.value_and_grad(SWING, SWINGS, wrt="y0.v")
    assert (only.y0, only.p) == (Swing(None, full.y0.v, None), None)
    assert active(sim, SWING, SWINGS, "y0.v") == []
    assert active(sim, SWING, SWINGS, ("y0", "p.push", "p.w")) == ["w", "push"]
    _, only = sim.value_and_grad(SWING, SWINGS, wrt=["p"])
    assert only.y0 is None and numbers(only.p).tobytes() == numbers(full.p).tobytes()


# --------------------------------------------------------------------------------------------------------- structures
class Field(NamedTuple):
    u: np.ndarray
    flags: np.ndarray


class Grain(NamedTuple):
    field: Field
    pair: tuple[float, float]
    steps: int
    open: bool


class Speeds(NamedTuple):
    inner: tuple[np.ndarray, tuple[float]]
    rest: float


@adj.step
def grains(n, y, p):
    out = np.empty_like(y.field.u)
    rates = p.inner[0]
    a, b = y.pair
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = y.field.u[i, j] * rates[j] + (a if y.field.flags[j] > 0 else b) * p.rest
    if y.open:
        a = a * b + p.inner[1][0]
    return Grain(Field(out, y.field.flags), (b, a), y.steps + 1, y.steps % 2 == 0)


def grains_total(y, p):
    total = y.pair[0] * y.pair[1]
    for i in range(y.field.u.shape[0]):
        total += y.field.u[i, 0] * y.field.u[i, -1] * p.rest
    return total


GRAIN = Grain(Field(np.array([[0.3, 0.1], [0.2, -0.4], [0.7, 0.9]]), np.array([1, 0])), (0.4, 0.6), 0, True)
SPEEDS = Speeds((np.array([0.9, 1.1]), (0.05,)), 0.2)


def complex_step(value, at, h=1e-30):
    """The derivatives of ``value(array)`` by complex steps."""
    out = []
    for k in range(len(at)):
        z = at.astype(complex)
        z[k] += 1j * h
        out.append(value(z).imag / h)
    return out


def test_a_nested_structure():
    n = 7

    def value(z):
        u, (a, b), (r0, r1, gain, rest) = z[:6].reshape(3, 2), z[6:8], z[8:]
        steps, is_open = 0, True
        for _ in range(n):
            u = u * np.array([r0, r1]) + np.array([a, b]) * rest
            a, b = b, a * b + gain if is_open else a
            steps, is_open = steps + 1, steps % 2 == 0
        return a * b + (u[:, 0] * u[:, 1]).sum() * rest

    for checkpoints in (1, 3, n):
        found, grad = adj.Simulation(grains, n, terminal=grains_total, checkpoints=checkpoints).value_and_grad(GRAIN, SPEEDS)
        at = numbers(GRAIN.field.u, GRAIN.pair, SPEEDS)
        assert found == pytest.approx(value(at), rel=1e-14)
        assert numbers(grad.y0, grad.p) == pytest.approx(complex_step(value, at), rel=1e-12)
    assert isinstance(grad.y0, Grain) and isinstance(grad.y0.field, Field) and isinstance(grad.p, Speeds)
    assert grad.y0.field.flags is None and grad.y0.steps is None and grad.y0.open is None
    assert type(grad.y0.pair) is tuple and type(grad.p.inner[1]) is tuple and grad.y0.field.u.shape == (3, 2)
    assert grad.y0.field.u.dtype == np.float64
    y = adj.Simulation(grains, n).run(GRAIN, SPEEDS).y
    assert (y.steps, y.open, y.field.flags.tolist()) == (n, True, [1, 0])


def test_float32_states():
    y0, p = ROD.astype(np.float32), RODS._replace(f=RODS.f.astype(np.float32))
    sims = [adj.Simulation(rod, 12, terminal=rod_terminal, checkpoints=s) for s in (12, 4, 1)]
    value, grad = sims[0].value_and_grad(y0, p)
    assert grad.y0.dtype == np.float32 and grad.p.f.dtype == np.float32 and type(grad.p.r) is float
    for sim in sims:
        assert bits(*sim.value_and_grad(y0, p)) == bits(value, grad)
    expected, reference = sims[0].value_and_grad(ROD, RODS)
    assert value == pytest.approx(expected, rel=1e-5)
    assert numbers(grad.y0, grad.p) == pytest.approx(numbers(reference.y0, reference.p), rel=1e-4, abs=1e-5)


@adj.step
def halved(n, y, p):
    return 0.5 * y


def itself(y, p):
    return y


def test_no_parameters():
    value, grad = adj.Simulation(halved, 4, terminal=itself).value_and_grad(8.0)
    assert (value, grad.y0, grad.p) == (0.5, 0.0625, None)
    assert type(grad.y0) is float


@adj.step
def counted(n, y, p):
    return y + n


def scaled_by(y, p):
    return y * p


def test_an_integer_state():
    """Nothing to differentiate but p."""
    for checkpoints in (1, 4):
        sim = adj.Simulation(counted, 4, terminal=scaled_by, checkpoints=checkpoints)
        value, grad = sim.value_and_grad(3, 2.0)
        assert (value, grad.y0, grad.p) == (18.0, None, 9.0)
    solution, pullback = sim.vjp(3, 2.0)
    assert solution.y == 9 and type(solution.y) is int
    assert (pullback(y_bar=7).p, pullback(2.0).p) == (0.0, 18.0)


def test_y0_may_be_a_function():
    def start(p):
        u = np.empty(5)
        for i in range(5):
            u[i] = p.r * (i + 1) * p.f[0]
        return u

    sim = rods(6, checkpoints=2)
    value, grad = sim.value_and_grad(start, RODS)
    same, fixed = sim.value_and_grad(start(RODS), RODS)
    assert value == same and grad.y0.tobytes() == fixed.y0.tobytes()
    weights = np.arange(1.0, 6.0)
    assert grad.p.r == pytest.approx(fixed.p.r + fixed.y0 @ weights * RODS.f[0], rel=1e-13)
    assert grad.p.f[0] == pytest.approx(fixed.p.f[0] + fixed.y0 @ weights * RODS.r, rel=1e-13)


# ---------------------------------------------------------------------------------------------------- captured values
FACTOR = 0.5
WEIGHTS = np.array([1.0, 2.0])


def gain(x):
    return FACTOR * x


@adj.step
def captured(n, y, p):
    out = np.empty_like(y)
    for i in range(len(y)):
        out[i] = gain(y[i]) * p
    return out


def weighted(y, p):
    total = 0.0
    for i in range(len(y)):
        total += WEIGHTS[i] * y[i]
    return total


def test_captured_values_are_never_stale(monkeypatch):
    sim = adj.Simulation(captured, 3, terminal=weighted)
    y0 = np.array([0.3, 0.5])
    here = globals()
    assert sim.value_and_grad(y0, 1.0)[1].y0 == pytest.approx([0.125, 0.25])
    derived = len(kit._models)
    monkeypatch.setitem(here, "FACTOR", 2.0)
    assert sim.value_and_grad(y0, 1.0)[1].y0 == pytest.approx([8.0, 16.0])
    monkeypatch.setitem(here, "WEIGHTS", np.array([3.0, 1.0]))
    assert sim.value_and_grad(y0, 1.0)[1].y0 == pytest.approx([24.0, 8.0])
    WEIGHTS[0] = 4.0  # in place
    value, grad = sim.value_and_grad(y0, 1.0)
    assert value == pytest.approx(8 * 1.7) and grad.y0 == pytest.approx([32.0, 8.0])
    assert len(kit._models) == derived  # all this without another derivation
    monkeypatch.setitem(here, "gain", lambda x: x * x)
    value, grad = sim.value_and_grad(y0, 1.0)
    assert value == pytest.approx(4 * 0.3**8 + 0.5**8) and grad.y0 == pytest.approx([32 * 0.3**7, 8 * 0.5**7])


def test_a_pullback_keeps_what_was_captured(monkeypatch):
    sim = adj.Simulation(captured, 3, terminal=weighted, checkpoints=3)
    _, pullback = sim.vjp(np.array([0.3, 0.5]), 1.0)
    expected = pullback().y0
    monkeypatch.setitem(globals(), "FACTOR", 7.0)
    assert pullback().y0.tobytes() == expected.tobytes()


# ------------------------------------------------------------------------------------------------------ overlapping memory
@adj.step
def leapfrog(n, y, p):
    """Overwrites the older of two fields in place."""
    u, v = y
    for i in range(1, len(u) - 1):
        v[i] = 2.0 * u[i] - v[i] + p[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return v, u


@adj.step
def twins(n, y, p):
    """Returns one array as both leaves, and writes neither."""
    u, v = y
    w = np.empty_like(u)
    for i in range(len(u)):
        w[i] = u[i] * p[i] + v[0] * v[i]
    return w, w


def product(y, p):
    return y[0][1] * y[1][2]


@pytest.mark.parametrize("step", [leapfrog, twins])
@pytest.mark.parametrize("options", [{}, {"checkpoints": 2}], ids=str)
def test_leaves_in_the_same_memory(step, options):
    """Every leaf of a state has memory of its own from the first step on, whatever is given as y0."""
    a = np.array([0.3, 0.4, 0.6, 0.2])
    sim = adj.Simulation(step, 7, terminal=product, **options)
    before = a.copy()
    apart = sim.value_and_grad((a.copy(), a.copy()), a.copy())
    y0 = (a, a)
    assert np.shares_memory(*y0)
    assert bits(*sim.value_and_grad(y0, a)) == bits(*apart)
    solution, pullback = sim.vjp(y0, a)
    assert bits(solution.value, pullback()) == bits(*apart)
    assert not np.shares_memory(*solution.y) and not any(np.shares_memory(leaf, a) for leaf in solution.y)
    assert sim.jvp(y0, a, (a, a), a)[1].value == pytest.approx(sum(a @ bar for bar in (*apart[1].y0, apart[1].p)), rel=1e-13)
    shifted = (a[1:], a[:-1])
    expected = sim.value_and_grad((a[1:].copy(), a[:-1].copy()), a[:3].copy())
    assert bits(*sim.value_and_grad(shifted, a[:3])) == bits(*expected)
    first, second = step.vjp(0, y0, a, (a, a)), step.vjp(0, (a.copy(), a.copy()), a.copy(), (a, a))
    np.testing.assert_array_equal(numbers(*first), numbers(*second))
    y = step(0, y0, a)
    assert not np.shares_memory(*y)
    np.testing.assert_array_equal(a, before)
