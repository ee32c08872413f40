"""Right-hand sides that tests of ODEs share, and the same integrations by independent means."""

from __future__ import annotations

from typing import NamedTuple

import mpmath
import numpy as np

from adjointsim.ode.tableaus import TABLEAUS


class Lake(NamedTuple):
    """A state with a vector and a number."""

    u: np.ndarray
    v: float


class Rates(NamedTuple):
    a: float
    b: np.ndarray


def pair(t, y, p):
    """Lotka-Volterra with a driven prey, as a tuple of numbers for a vector."""
    return p[0] * y[0] - p[1] * y[0] * y[1] + 0.1 * np.cos(t), p[2] * y[0] * y[1] - p[3] * y[1]


def lake(t, y, p):
    """A NamedTuple of a vector and a number."""
    u = y.u
    du = np.empty_like(u)
    for i in range(len(u)):
        du[i] = p.b[i] * u[(i + 1) % len(u)] * y.v - p.a * u[i] * u[i]
    return Lake(du, np.sin(t) * u[0] - p.a * y.v)


def ring(t, y, p):
    """Twelve cells as array expressions."""
    return p * (np.roll(y, 1) - 2.0 * y + np.roll(y, -1)) - y**3 * np.exp(-t)


PAIR = np.array([1.2, 0.9]), np.array([0.7, 0.4, 0.3, 0.6])
LAKE = Lake(np.array([0.5, 1.0, -0.4]), 0.8), Rates(0.3, np.array([0.2, -0.5, 0.9]))
RING = np.sin(np.arange(12.0)), 0.3


# --------------------------------------------------------------------------------------- the same at fifty digits, flat
def pair_exact(t, y, p):
    return [p[0] * y[0] - p[1] * y[0] * y[1] + mpmath.mpf(0.1) * mpmath.cos(t), p[2] * y[0] * y[1] - p[3] * y[1]]


def lake_exact(t, y, p):
    *u, v = y
    a, *b = p
    du = [b[i] * u[(i + 1) % 3] * v - a * u[i] ** 2 for i in range(3)]
    return [*du, mpmath.sin(t) * u[0] - a * v]


def ring_exact(t, y, p):
    n = len(y)
    return [p[0] * (y[i - 1] - 2 * y[i] + y[(i + 1) % n]) - y[i] ** 3 * mpmath.exp(-t) for i in range(n)]


def flat(x):
    """The numbers of a structure."""
    if isinstance(x, tuple):
        return [number for item in x for number in flat(item)]
    return [float(number) for number in np.ravel(x)]


def step_exact(name, f, t, h, y, p):
    """One step of an explicit method in the arithmetic of its arguments."""
    tableau = TABLEAUS[name]
    rates = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        inner = [y[j] + h * sum((fraction(w) * k[j] for w, k in zip(row, rates, strict=True)), 0) for j in range(len(y))]
        rates.append(f(t + fraction(c) * h, inner, p))
    return [y[j] + h * sum(fraction(w) * k[j] for w, k in zip(tableau.b, rates, strict=True)) for j in range(len(y))]


def fraction(w):
    """The double nearest to a coefficient, which is what a program has."""
    return mpmath.mpf(float(w))


def integrate_exact(name, f, times, y, p):
    """The states at ``times``, which are those of the steps, flat, at fifty digits."""
    states = [[mpmath.mpf(x) for x in y]]
    for a, b in zip(times[:-1], times[1:], strict=True):
        states.append(step_exact(name, f, mpmath.mpf(a), mpmath.mpf(b) - mpmath.mpf(a), states[-1], p))
    return states


def gradient_exact(value, x):
    """The gradient of ``value(list)`` at x by central differences at fifty digits: right to 1e-25 and better."""
    x = [mpmath.mpf(v) for v in x]
    h = mpmath.mpf(10) ** -18
    out = []
    for k in range(len(x)):
        up, down = ([*x[:k], x[k] + s * h, *x[k + 1 :]] for s in (1, -1))
        out.append(float((value(up) - value(down)) / (2 * h)))
    return np.array(out)


# ------------------------------------------------------------------------------------------ implicit steps of the pair
def pair_jacobian(t, y, p):
    """d pair / dy."""
    return mpmath.matrix([[p[0] - p[1] * y[1], -p[1] * y[0]], [p[2] * y[1], p[2] * y[0] - p[3]]])


def _numbers(column):
    return [column[i] for i in range(len(column))]


def rosenbrock_exact(tableau, t, h, y, p):
    """One step of a Rosenbrock method for the pair."""
    gamma = fraction(tableau.gamma)
    matrix = mpmath.eye(2) / (h * gamma) - pair_jacobian(t, y, p)
    change = [-mpmath.mpf(0.1) * mpmath.sin(t), mpmath.mpf(0)]
    us = []
    for i in range(tableau.stages):
        inner = [y[j] + sum((fraction(w) * u[j] for w, u in zip(tableau.a[i], us, strict=True)), 0) for j in range(2)]
        right = pair_exact(t + fraction(tableau.alpha[i]) * h, inner, p)
        more = [sum((fraction(w) / h * u[j] for w, u in zip(tableau.c[i], us, strict=True)), 0) for j in range(2)]
        right = [right[j] + more[j] + h * fraction(tableau.gamma_t[i]) * change[j] for j in range(2)]
        us.append(_numbers(mpmath.lu_solve(matrix, mpmath.matrix(right))))
    return [y[j] + sum(fraction(w) * u[j] for w, u in zip(tableau.m, us, strict=True)) for j in range(2)]


def dirk_exact(tableau, t, h, y, p):
    """One step of a diagonally implicit method for the pair, its stages by Newton's method."""
    rates, inner = [], y
    for i in range(tableau.stages):
        base = [y[j] + h * sum((fraction(w) * k[j] for w, k in zip(tableau.a[i], rates, strict=False)), 0) for j in range(2)]
        weight, time = h * fraction(tableau.a[i][i]), t + fraction(tableau.c[i]) * h
        inner = list(base)
        for _ in range(9 if weight else 0):
            rate = pair_exact(time, inner, p)
            residual = mpmath.matrix([inner[j] - base[j] - weight * rate[j] for j in range(2)])
            change = mpmath.lu_solve(mpmath.eye(2) - weight * pair_jacobian(time, inner, p), residual)
            inner = [inner[j] - change[j] for j in range(2)]
        rates.append(pair_exact(time, inner, p))
    if tableau.stiffly_accurate:
        return inner
    return [y[j] + h * sum(fraction(w) * k[j] for w, k in zip(tableau.b, rates, strict=True)) for j in range(2)]


def implicit_exact(name, times, y, p):
    """The last state, for steps between ``times``."""
    tableau = TABLEAUS[name]
    step = rosenbrock_exact if hasattr(tableau, "gamma_t") else dirk_exact
    y = [mpmath.mpf(x) for x in y]
    for a, b in zip(times[:-1], times[1:], strict=True):
        y = step(tableau, mpmath.mpf(a), mpmath.mpf(b) - mpmath.mpf(a), y, p)
    return y
