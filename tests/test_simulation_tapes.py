"""Loops inside steps and costs whose length is known only while they run: tapes that grow on the way."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from derived import bits, numbers

import adjointsim as adj
from adjointsim.python_engine import PythonExecutor

N = 9


def rounds(n):
    """Iterations in step n: the last steps, reversed first, need the least tape."""
    return 3 + 40 * (N - n)


# An explicit loop with values that the way back needs.
def grown(n, y, p):
    u, v = y
    k = 0
    while k < rounds(n):
        u = u + 0.001 * p[0] * u * v
        v = v - 0.001 * p[1] * u * u
        k += 1
    return u, v


def grown_running(n, y, p):
    total = y[0]
    for k in range(rounds(n) // 3):
        if total > 3.0:
            break
        total = total + 0.01 * total * y[1] * p[0]
    return total


def grown_observe(n, y, p):
    a = y[0]
    b = y[1]
    for k in range(rounds(n) // 2):
        a = a - 0.01 * a * b
        b = b + 0.005 * a * p[1]
    return a, b


def grown_misfit(k, seen, p):
    total = 0.1 * k
    x = seen[0]
    while x > 0.05:
        total += x * x * p[0]
        x = x * (0.97 - 0.01 * seen[1])
    return total


def grown_terminal(y, p):
    x = y[0]
    for k in range(150):
        x = x - 0.01 * x * x * y[1]
    return x


AT = [0, 2, 5, N]
Y0, PARAMETERS = (0.9, 0.4), (0.7, 0.3)
COSTS = {"running": grown_running, "terminal": grown_terminal, "observe": grown_observe, "misfit": grown_misfit}


def plain(step, n_steps, at, y, p, running, terminal, observe, misfit):
    """The value in plain Python, whatever the numbers are."""
    total, k = 0.0, 0
    for n in range(n_steps + 1):
        while k < len(at) and at[k] == n:
            total += misfit(k, observe(n, y, p), p)
            k += 1
        if n < n_steps:
            total += running(n, y, p)
            y = step(n, y, p)
    return total + terminal(y, p)


def exact(value, inputs):
    """A value and its derivatives, by differences of 50 digits."""
    with mpmath.workdps(50):
        at = [mpmath.mpf(x) for x in inputs]
        slopes = [mpmath.diff(lambda x, k=k: value(*at[:k], x, *at[k + 1 :]), at[k]) for k in range(len(at))]
        return [float(x) for x in (value(*at), *slopes)]


@pytest.fixture(scope="module")
def expected():
    return exact(lambda u, v, a, b: plain(grown, N, AT, (u, v), (a, b), **COSTS), [*Y0, *PARAMETERS])


@pytest.mark.parametrize("checkpoints", [1, 2, 4, N])
def test_tapes_that_grow_on_the_way_back(expected, checkpoints):
    sim = adj.Simulation(grown, N, **COSTS, observe_at=AT, checkpoints=checkpoints)
    value, grad = sim.value_and_grad(Y0, PARAMETERS)
    assert [value, *grad.y0, *grad.p] == pytest.approx(expected, rel=1e-12)
    value_again, again = sim.value_and_grad(Y0, PARAMETERS)
    assert bits(value_again, again) == bits(value, grad)
    assert grad.ledger.estimated and "estimated" in str(grad.ledger)
    assert grad.ledger.bytes_peak >= grad.ledger.bytes_planned  # by the tape, where it is not known yet
    assert again.ledger.bytes_peak == again.ledger.bytes_planned  # it begins as long as it was
    _, pullback = sim.vjp(Y0, PARAMETERS)
    for _ in range(2):
        assert bits(value, pullback()) == bits(value, grad)


def test_the_python_executor_agrees(expected, monkeypatch):
    monkeypatch.setattr("adjointsim.sweep.executor_class", lambda step: PythonExecutor)
    value, grad = adj.Simulation(grown, N, **COSTS, observe_at=AT, checkpoints=2).value_and_grad(Y0, PARAMETERS)
    assert [value, *grad.y0, *grad.p] == pytest.approx(expected, rel=1e-12)


# Loops in loops over an array: snapshots and frames instead of single values.
def waves(n, u, p):
    for k in range(3):
        for j in range(2 + 9 * (2 - k) + 4 * (3 - n)):
            for i in range(1, len(u)):
                a = u[i]
                u[i] = a + p * a * u[i - 1]
                u[i] = u[i] - 0.5 * p * u[i] * u[i]
    return u


def squares(u, p):
    total = 0.0
    for i in range(len(u)):
        total += u[i] * u[i]
    return total


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_loops_in_loops(checkpoints):
    u0, p = np.linspace(0.2, 0.9, 30), 0.01
    value, grad = adj.Simulation(waves, 4, terminal=squares, checkpoints=checkpoints).value_and_grad(u0, p)

    def plain_value(z):
        u, rate = z[:-1].copy(), z[-1]
        for n in range(4):
            u = waves(n, u, rate)
        return squares(u, rate)

    at = np.append(u0, p)
    assert value == pytest.approx(plain_value(at), rel=1e-13)
    slopes = []
    for k in range(len(at)):
        z = at.astype(complex)
        z[k] += 1e-30j
        slopes.append(plain_value(z).imag / 1e-30)
    assert numbers(grad.y0, grad.p) == pytest.approx(slopes, rel=1e-12)


# Newton's method: as many iterations as it takes.
def implicit(n, y, p):
    x = y
    residual = 1.0
    while abs(residual) > 1e-13:
        residual = x + 0.1 * p * x * x * x - y
        x = x - residual / (1.0 + 0.3 * p * x * x)
    return x


def itself(y, p):
    return y


def test_newton_iterations():
    """y_{n+1} + 0.1 p y_{n+1}**3 = y_n, by the implicit function theorem."""
    y0, p, n = 3.0, 2.0, 50
    value, grad = adj.Simulation(implicit, n, terminal=itself, checkpoints=3).value_and_grad(y0, p)
    y, dy, dp = y0, 1.0, 0.0
    for k in range(n):
        y = implicit(k, y, p)
        slope = 1.0 + 0.3 * p * y * y
        dy, dp = dy / slope, (dp - 0.1 * y**3) / slope
    assert [value, grad.y0, grad.p] == pytest.approx([y, dy, dp], rel=1e-12)
