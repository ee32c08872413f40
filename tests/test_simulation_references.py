"""Gradients of simulations against closed forms and 50-digit arithmetic, and tangents against cotangents."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, Swing, Swings, numbers, rods, swinging

import adjointsim as adj


# -------------------------------------------------------------------------------------------------------- closed forms
@adj.step
def affine(n, y, p):
    a, b = p
    return a * y + b


def value_of(y, p):
    return y


def weighed(n, y, p):
    return (n + 1) * y


@pytest.mark.parametrize("n", [1, 2, 10, 300])
@pytest.mark.parametrize("options", [{}, {"checkpoints": 3}], ids=str)
def test_a_linear_recurrence(n, options):
    y0, a, b = 0.7, 0.97, 0.11
    with mpmath.workdps(50):

        def value(y, a, b):
            total = mpmath.mpf(0)
            for k in range(n):
                total += (k + 1) * y
                y = a * y + b
            return total + y

        exact = [mpmath.mpf(x) for x in (y0, a, b)]
        expected = [value(*exact), *(mpmath.diff(value, exact, order) for order in [(1, 0, 0), (0, 1, 0), (0, 0, 1)])]
    found, grad = adj.Simulation(affine, n, running=weighed, terminal=value_of, **options).value_and_grad(y0, (a, b))
    assert [found, grad.y0, *grad.p] == pytest.approx([float(x) for x in expected], rel=1e-12)


def test_a_linear_recurrence_in_closed_form():
    n, y0, a, b = 1000, 0.7, 0.999, 0.11
    value, grad = adj.Simulation(affine, n, terminal=value_of, checkpoints=5).value_and_grad(y0, (a, b))
    power, geometric = a**n, (1 - a**n) / (1 - a)
    slope = n * a ** (n - 1)
    assert value == pytest.approx(power * y0 + geometric * b, rel=1e-12)
    assert grad.y0 == pytest.approx(power, rel=1e-12)
    assert grad.p == pytest.approx((slope * y0 + b * (geometric - slope) / (1 - a), geometric), rel=1e-11)


@adj.step
def logistic(n, y, r):
    return r * y * (1.0 - y)


@pytest.mark.parametrize(("n", "r"), [(20, 2.7), (60, 3.2), (12, 3.9)])
def test_the_logistic_map(n, r):
    y0 = 0.3
    with mpmath.workdps(50):
        y, dy, dr = mpmath.mpf(y0), mpmath.mpf(1), mpmath.mpf(0)
        rate = mpmath.mpf(r)
        for _ in range(n):
            y, dy, dr = rate * y * (1 - y), rate * (1 - 2 * y) * dy, y * (1 - y) + rate * (1 - 2 * y) * dr
    value, grad = adj.Simulation(logistic, n, terminal=value_of, checkpoints=4).value_and_grad(y0, r)
    assert [value, grad.y0, grad.p] == pytest.approx([float(y), float(dy), float(dr)], rel=1e-12)


@adj.step
def heat(n, u, r):
    out = np.zeros_like(u)
    for i in range(1, len(u) - 1):
        out[i] = u[i] + r * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return out


def energy(u, r):
    total = 0.0
    for i in range(len(u)):
        total += 0.5 * u[i] * u[i]
    return total


@pytest.mark.parametrize("mode", [1, 3])
def test_an_eigenmode_of_the_heat_equation(mode):
    cells, n, r = 33, 200, 0.2
    u = np.sin(mode * np.pi * np.arange(cells) / (cells - 1))
    sine = math.sin(0.5 * mode * math.pi / (cells - 1)) ** 2
    factor = 1.0 - 4.0 * r * sine
    value, grad = adj.Simulation(heat, n, terminal=energy, checkpoints=9).value_and_grad(u, r)
    start = 0.5 * u @ u
    assert value == pytest.approx(start * factor ** (2 * n), rel=1e-12)
    assert grad.p == pytest.approx(-8.0 * n * sine * start * factor ** (2 * n - 1), rel=1e-12)
    assert grad.y0[1:-1] == pytest.approx(u[1:-1] * factor ** (2 * n), rel=1e-11, abs=1e-13)
    assert grad.y0[[0, -1]] == pytest.approx([u[1] * factor ** (2 * n - 1) * r, u[-2] * factor ** (2 * n - 1) * r], rel=1e-11)


def test_every_leaf_against_50_digits():
    """The swing, with all costs, by high-precision differences of plain Python."""
    n, at = 9, [0, 3, 4, 4, 9]
    names = [("y", "x"), ("y", "v"), ("p", "w"), ("p", "c"), ("push", 0), ("push", 1), ("push", 2)]

    def value(x, v, w, c, *push):
        total, seen = mpmath.mpf(0), 0
        for k in range(n + 1):
            while seen < len(at) and at[seen] == k:
                d = x * w + mpmath.mpf(0.1) * k - mpmath.mpf(0.2) * seen
                total += d * d / 2 + c * v * v
                seen += 1
            if k < n:
                total += mpmath.mpf(0.01) * (k + 1) * x * v * c
                v = v - mpmath.mpf(0.1) * (w * mpmath.sin(x) + c * v) + push[k % 3]
                if v > mpmath.mpf(0.5):
                    v = mpmath.mpf(0.5) + mpmath.mpf(0.3) * (v - mpmath.mpf(0.5))
                x = x + mpmath.mpf(0.1) * v
        return total + w * x * x + mpmath.exp(v) + mpmath.mpf(0.1) * (2 + 3 * n) * v

    with mpmath.workdps(50):
        inputs = [mpmath.mpf(x) for x in (SWING.x, SWING.v, SWINGS.w, SWINGS.c, *SWINGS.push)]
        expected = [value(*inputs)]
        for k in range(len(names)):
            expected.append(mpmath.diff(value, inputs, tuple(int(j == k) for j in range(len(names)))))
    found, grad = swinging(n, checkpoints=2).value_and_grad(SWING, SWINGS)
    ours = [found, grad.y0.x, grad.y0.v, grad.p.w, grad.p.c, *grad.p.push]
    assert ours == pytest.approx([float(x) for x in expected], rel=1e-12)
    assert isinstance(grad.y0, Swing) and isinstance(grad.p, Swings)
    assert grad.y0.count is None and grad.p.label is None
    assert not grad.p.unused.any() and grad.p.unused.shape == (2, 2)


# ------------------------------------------------------------------------------------------- tangents and cotangents
def dot(a, b):
    return float(numbers(a) @ numbers(b))


@pytest.mark.parametrize("name", ["numbers", "array"])
def test_tangents_and_cotangents_are_transposed(name):
    make, y0, p = (swinging, SWING, SWINGS) if name == "numbers" else (rods, ROD, RODS)
    rng = np.random.default_rng(3)

    def like(x):
        if isinstance(x, tuple):
            return getattr(type(x), "_make", tuple)(map(like, x))
        return rng.normal(size=np.shape(x)) if isinstance(x, np.ndarray) else None if isinstance(x, int) else float(rng.normal())

    for n in (0, 1, 8):
        sim = make(n, checkpoints=2)
        y_dot, p_dot = like(y0), like(p)
        solution, tangent = sim.jvp(y0, p, y_dot, p_dot)
        again, pullback = sim.vjp(y0, p)
        assert solution.value == pytest.approx(again.value, rel=1e-14)
        y_bar, value_bar, seen_bar = like(y0), 0.7, like(again.observations)
        grad = pullback(value_bar, y_bar, seen_bar)
        there = value_bar * tangent.value + dot(y_bar, tangent.y) + dot(seen_bar, tangent.observations)
        back = dot(grad.y0, y_dot) + dot(grad.p, p_dot)
        size = sum(abs(numbers(grad.y0, grad.p) * numbers(y_dot, p_dot)))
        assert abs(there - back) <= 1e-13 * size, n
