"""One step of a method from its coefficients, as ``tableaus._types`` documents the formulas, on a small problem with time."""

from __future__ import annotations

import numpy as np

from adjointsim.ode.tableaus import TABLEAUS, ExplicitTableau, RosenbrockTableau, floats


class problem:
    """y0' = cos(t) - 2 y0 y1, y1' = y0 - sin(2 t) y1**2."""

    starts = [(0.3 * i, np.array([1.2 * np.cos(i), 0.9 * np.sin(2 * i + 1)])) for i in range(8)]

    def f(t, y):
        return np.array([np.cos(t) - 2 * y[0] * y[1], y[0] - np.sin(2 * t) * y[1] ** 2])

    def jacobian(t, y):
        return np.array([[-2 * y[1], -2 * y[0]], [1.0, -2 * np.sin(2 * t) * y[1]]])

    def time_derivative(t, y):
        return np.array([-np.sin(t), -2 * np.cos(2 * t) * y[1] ** 2])

    def exact(h, t, y, steps=8):
        for n in range(steps):
            y, _, _ = step(TABLEAUS["dop853"], h / steps, t + n * h / steps, y)
        return y


def step(tableau, h, t, y):
    """(y1, error estimate, theta -> y(t + theta h) or None)"""
    if isinstance(tableau, RosenbrockTableau):
        return rosenbrock_step(tableau, h, t, y)
    a, c, rows, times = floats(tableau.a), floats(tableau.c), (), ()
    if tableau.dense:
        rows, times = floats(tableau.dense.a), floats(tableau.dense.c)
    k = []
    for row, node in zip((*a, *rows), (*c, *times)):
        at = y + h * sum((x * slope for x, slope in zip(row, k)), np.zeros(2))
        if isinstance(tableau, ExplicitTableau) or row[-1] == 0:
            k.append(problem.f(t + node * h, at))
            continue
        slope = problem.f(t, y)
        for _ in range(8):
            inside = at + h * row[-1] * slope
            residual = slope - problem.f(t + node * h, inside)
            slope = slope - np.linalg.solve(np.eye(2) - h * row[-1] * problem.jacobian(t + node * h, inside), residual)
        k.append(slope)
    k = np.array(k)
    stages = k[: tableau.stages]
    estimate = h * np.array(floats(tableau.error)) @ stages if tableau.error else np.zeros(2)
    if getattr(tableau, "error_low", None):
        low = h * np.array(floats(tableau.error_low)) @ stages
        high, low = estimate @ estimate, low @ low
        estimate = np.array([high / np.sqrt(high + 0.01 * low)])
    return y + h * np.array(floats(tableau.b)) @ stages, estimate, extension(tableau, y, h * k)


def rosenbrock_step(tableau, h, t, y):
    matrix = np.eye(2) / (h * float(tableau.gamma)) - problem.jacobian(t, y)
    u = []
    for a, c, alpha, gamma_t in zip(*map(floats, (tableau.a, tableau.c, tableau.alpha, tableau.gamma_t))):
        at = y + sum((x * increment for x, increment in zip(a, u)), np.zeros(2))
        right = problem.f(t + alpha * h, at) + sum((x / h * increment for x, increment in zip(c, u)), np.zeros(2))
        u.append(np.linalg.solve(matrix, right + h * gamma_t * problem.time_derivative(t, y)))
    u = np.array(u)
    return y + np.array(floats(tableau.m)) @ u, np.array(floats(tableau.error)) @ u, extension(tableau, y, u)


def extension(tableau, y, increments):
    if tableau.dense is None:
        return None
    powers = np.array(floats(tableau.dense.coefficients))
    return lambda theta: y + (powers @ theta ** np.arange(1, powers.shape[1] + 1)) @ increments
