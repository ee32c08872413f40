"""Memory that a kernel writes everywhere first, and states whose leaves are handed on: the same numbers, whatever was there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from derived import numbers

import adjointsim as adj
from adjointsim.schedules import Binomial, Periodic, StoreAll

SCALE = 0.3


def bits(*parts):
    """All numbers of some structures, as bytes."""
    return numbers(*parts).tobytes()


def parts(gradient):
    return gradient.y0, gradient.p


class Field(NamedTuple):
    c: np.ndarray
    k: float


@adj.step
def line(n, u, p):
    out = np.zeros_like(u)
    for i in range(1, len(u) - 1):
        out[i] = u[i] + p.k * SCALE * p.c[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1]) * u[i]
    return out


@adj.step
def late(n, u, p):
    out = np.zeros(len(u))
    for i in range(3, len(u)):
        out[i] = p.k * u[i] * u[i] + p.c[i]
    if len(u) > 1:
        out[1] += u[0]
    return out


@adj.step
def plane(n, u, p):
    out = np.zeros_like(u)
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(2, columns - 1):
            out[i, j] = u[i, j] - SCALE * p.k * u[i - 1, j] * u[i, j - 2] + p.c[j] * u[i + 1, j + 1]
    return out


@adj.step
def across(n, u, p):
    """The loops run along the other axis first."""
    out = np.zeros_like(u)
    rows, columns = u.shape
    for j in range(columns - 1):
        for i in range(1, rows):
            out[i, j] = p.c[j] * u[i, j] * u[i, j] + SCALE * u[i, j + 1]
    return out


@adj.step
def twice(n, u, p):
    """What is filled with zeros is added to, too."""
    held, out = np.zeros_like(u), np.zeros_like(u)
    for i in range(1, len(u)):
        held[i] = u[i] * u[i - 1]
    for i in range(len(u) - 1):
        held[i] += u[i + 1]
    for i in range(len(u)):
        out[i] = SCALE * held[i] * p.c[i]
    return out


def energy(u, p):
    return np.sum(u * u) + np.sum(p.c * p.c)


def by_steps(step, n_steps, u, p):
    """The gradient by one call of the step's own VJP after the other, which adds to zeros."""
    states = [u]
    for n in range(n_steps):
        states.append(step(n, states[-1], p))
    u_bar, p_bar = adj.grad(energy, wrt=(0, 1))(states[-1], p)
    for n in range(n_steps - 1, -1, -1):
        u_bar, more = step.vjp(n, states[n], p, u_bar)
        p_bar = Field(p_bar.c + more.c, p_bar.k + more.k)
    return u_bar, p_bar


LINES = [(step, (n,)) for step in (line, late, twice) for n in (1, 3, 11)]
PLANES = [(step, shape) for step in (plane, across) for shape in ((1, 1), (2, 3), (3, 3), (3, 4), (5, 9), (9, 2))]


@pytest.mark.parametrize(("step", "shape"), [*LINES, *PLANES])
def test_gradients_by_steps(step, shape):
    rng = np.random.default_rng(sum(shape))
    u, p = rng.standard_normal(shape), Field(rng.standard_normal(shape[-1]), 0.7)
    sim = adj.Simulation(step, 5, terminal=energy)
    _, grad = sim.value_and_grad(u, p)
    u_bar, p_bar = by_steps(step, 5, u, p)
    for ours, expected in zip((grad.y0, *grad.p), (u_bar, *p_bar), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
    few = adj.Simulation(step, 5, terminal=energy, checkpoints=2)
    assert bits(*parts(few.value_and_grad(u, p)[1])) == bits(*parts(grad))


def test_second_order():
    rng = np.random.default_rng(4)
    u, p = rng.standard_normal((6, 7)), Field(rng.standard_normal(7), 0.7)
    u_dot, p_dot = rng.standard_normal((6, 7)), Field(rng.standard_normal(7), -0.3)
    sim = adj.Simulation(plane, 4, terminal=energy)
    found = sim.hvp(u, p, u_dot, p_dot)
    h = 1e-6
    up, down = (
        sim.value_and_grad(u + s * h * u_dot, Field(p.c + s * h * p_dot.c, p.k + s * h * p_dot.k))[1] for s in (1.0, -1.0)
    )
    np.testing.assert_allclose(found.y0, (up.y0 - down.y0) / (2.0 * h), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.p.c, (up.p.c - down.p.c) / (2.0 * h), rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------------------------------------------------- handed on
def leapfrog(n, y, p):
    u, before = y
    new = np.zeros_like(u)
    for i in range(1, len(u) - 1):
        new[i] = 2.0 * u[i] - before[i] + p.k * p.c[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return new, u


def three(n, y, p):
    u, v, w = y
    new = np.empty_like(u)
    for i in range(len(u)):
        new[i] = p.k * u[i] * v[i] - SCALE * w[i] + p.c[i]
    return new, u, v


def copied(n, y, p):
    """The second and third leaf are the same one."""
    u, v, w = y
    new = np.empty_like(u)
    for i in range(len(u)):
        new[i] = p.k * u[i] + SCALE * v[i] * w[i]
    return new, u, u


def turning(n, y, p):
    """Two leaves change places, and a third one stays."""
    u, v, w = y
    return v, u, w


def mixed(n, y, p):
    """One chain of three, and numbers beside."""
    u, a, v, w = y
    new = np.empty_like(u)
    for i in range(len(u)):
        new[i] = p.k * a * u[i] + SCALE * v[i] * w[i]
    return new, 0.9 * a + new[0], u, v


HANDED = {f.__name__: adj.step(f) for f in (leapfrog, three, copied, turning, mixed)}


def state(name, n):
    rng = np.random.default_rng(n)
    arrays = [rng.standard_normal(n) for _ in range(2 if name == "leapfrog" else 3)]
    return (arrays[0], 0.4, *arrays[1:]) if name == "mixed" else tuple(arrays)


def all_of(y, p):
    total = 0.0
    for k in range(len(p.c)):
        total += y[0][k] * y[-1][k] + 0.5 * y[-1][k] * y[-1][k]
    return total


@pytest.mark.parametrize("name", HANDED)
@pytest.mark.parametrize("n_steps", [1, 2, 3, 9])
def test_states_that_share_memory(name, n_steps):
    y0, p = state(name, 6), Field(np.linspace(0.2, 0.9, 6), 0.7)

    def seen(n, y, p):
        return y[0] + y[-1]

    def misfit(k, seen, p):
        return np.sum(seen * seen)

    at = list(range(n_steps + 1))
    found = {}
    schedules = {"all": StoreAll(n_steps), "one": Binomial(n_steps, 1), "few": Binomial(n_steps, min(3, n_steps)),
                 "parts": Periodic(n_steps, period=min(2, n_steps)), "short": None}  # fmt: skip
    for key, schedule in schedules.items():
        costs = {"terminal": all_of, "observe": seen, "observe_at": at, "misfit": misfit}
        sim = adj.Simulation(HANDED[name], n_steps, schedule=schedule, **costs)
        value, grad = sim.value_and_grad(y0, p)
        products = parts(sim.hvp(y0, p, y0, p)) if name == "mixed" else ()
        solution, pullback = sim.vjp(y0, p)
        again = [pullback(y_bar=solution.y) for _ in range(2)]  # from the same stored states
        found[key] = bits(value, *parts(grad), *products, solution.observations, *(x for g in again for x in parts(g)))
    assert len(set(found.values())) == 1
    f = HANDED[name]
    y = y0
    for n in range(n_steps):
        y = f(n, y, p)
    assert bits(adj.Simulation(f, n_steps).run(y0, p).y) == bits(y)


def test_what_is_handed_on_is_stored_once():
    y0, p = state("leapfrog", 5000), Field(np.linspace(0.2, 0.9, 5000), 0.1)
    f, n = HANDED["leapfrog"], 200
    sim = adj.Simulation(f, n, terminal=all_of)
    plan = sim.plan(y0, p)
    assert plan.state_bytes == 5000 * 8  # and not twice that
    _, grad = sim.value_and_grad(y0, p)
    assert grad.ledger.bytes_planned == plan.bytes
    assert 0.95 * plan.bytes <= grad.ledger.bytes_peak <= plan.bytes
    fits = adj.Simulation(f, n, terminal=all_of, memory=plan.bytes)
    assert fits.plan(y0, p).slots == n  # all of them fit
    few = adj.Simulation(f, n, terminal=all_of, checkpoints=7)
    assert few.plan(y0, p).state_bytes == 2 * 5000 * 8
    assert few.plan(y0, p).store_all_bytes == plan.bytes
    assert bits(*parts(few.value_and_grad(y0, p)[1])) == bits(*parts(fits.value_and_grad(y0, p)[1])) == bits(*parts(grad))


# ---------------------------------------------------------------------------------------------------- terms that wait
def pull(x, m):
    total, other = 1.0, 0.0
    for j in range(len(m)):
        d = x - m[j]
        total += m[j] / (d * d + SCALE)
        other += m[j] * d / np.sqrt(d * d + SCALE) + m[j]
    return total * other


def many(x, m):
    """The same in a loop around it, and what the loop makes in an array."""
    out = np.zeros(len(x))
    for i in range(len(x)):
        total = 0.0
        for j in range(len(m)):
            d = x[i] - m[j]
            total += m[j] * m[j] / (d * d * np.sqrt(d * d + SCALE) + 1.0)
        out[i] = total
    return np.sum(out * x)


LENGTHS = [0, 1, 255, 256, 257, 700]


@pytest.mark.parametrize("n", LENGTHS)
def test_sums_in_their_order(n):
    """The sums of a loop that divides are added up in the user's order: the bits are those of plain Python."""
    m = np.random.default_rng(n).uniform(0.1, 2.0, n)
    value, (x_bar, m_bar) = adj.value_and_grad(pull, wrt=(0, 1))(0.3, m)
    assert value == pull(0.3, m)
    h = 1e-200j
    d = 0.3 + h - m
    total, other = 1.0 + np.sum(m / (d * d + SCALE)), np.sum(m * d / np.sqrt(d * d + SCALE) + m)
    assert x_bar == pytest.approx((total * other).imag / h.imag, rel=1e-12, abs=1e-12)
    d = 0.3 - m
    one, two = 1.0 + np.sum(m / (d * d + SCALE)), np.sum(m * d / np.sqrt(d * d + SCALE) + m)
    of_one = 1.0 / (d * d + SCALE) + 2.0 * m * d / (d * d + SCALE) ** 2
    of_two = d / np.sqrt(d * d + SCALE) - m * SCALE / (d * d + SCALE) ** 1.5 + 1.0
    np.testing.assert_allclose(m_bar, of_one * two + one * of_two, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n", LENGTHS)
def test_sums_of_rows(n):
    rng = np.random.default_rng(n)
    x, m = rng.standard_normal(4), rng.uniform(0.1, 2.0, n)
    value, grads = adj.value_and_grad(many, wrt=(0, 1))(x, m)
    assert value == pytest.approx(many(x, m), rel=1e-14, abs=1e-300)
    d = x[:, None] - m
    root = np.sqrt(d * d + SCALE)
    below = d * d * root + 1.0
    by_d = -m * m / below**2 * (2.0 * d * root + d**3 / root)
    row = np.sum(m * m / below, axis=1)
    np.testing.assert_allclose(grads[0], row + x * np.sum(by_d, axis=1), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(grads[1], x @ (2.0 * m / below - by_d), rtol=1e-12, atol=1e-13)
