"""``jac_sparsity=`` where no band is narrow: systems by SuperLU, against the same steps in complex numbers by NumPy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse

import adjointsim as adj
from adjointsim.derive import sparselu
from adjointsim.errors import ConvergenceError
from adjointsim.ode import sparsity
from adjointsim.ode.tableaus import TABLEAUS

N = 6


class Rates(NamedTuple):
    spread: float
    k: np.ndarray


def reaction(t, y, p):
    """Diffusion and a reaction on a square; y is a matrix."""
    n = len(y)
    out = np.empty_like(y)
    for i in range(n):
        for j in range(n):
            total = 0.0
            if i > 0:
                total += y[i - 1, j] - y[i, j]
            if i < n - 1:
                total += y[i + 1, j] - y[i, j]
            if j > 0:
                total += y[i, j - 1] - y[i, j]
            if j < n - 1:
                total += y[i, j + 1] - y[i, j]
            out[i, j] = p.spread * total + p.k[i, j] * y[i, j] ** 2 * (1.0 - y[i, j])
    return out


def grid(n):
    line = sparse.diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(n, n))
    return sparse.kron(sparse.identity(n), line) + sparse.kron(line, sparse.identity(n))


Y0 = 0.5 + 0.4 * np.sin(np.arange(float(N * N))).reshape(N, N)
P = Rates(20.0, 1.0 + np.linspace(0.0, 1.0, N * N).reshape(N, N))
TIMES = [0.0, 0.1, 0.2]


def misfit(k, seen, p):
    return np.sum(seen**3) + 0.1 * k * seen[0, 1]


PATTERN = grid(N)


def ode_of(pattern=PATTERN, **how):
    return adj.ODE(reaction, TIMES, misfit=misfit, jac_sparsity=pattern, **how)


@pytest.fixture
def every(monkeypatch):
    """Whatever the pattern, systems are sparse.  Gives the orders of columns that SuperLU is asked for."""
    for cost in ("_dense_cost", "_banded_cost"):
        monkeypatch.setattr(sparsity, cost, lambda *sizes: float("inf"))
    monkeypatch.setattr(sparsity, "_FULL", 2.0)
    asked, lu = [], sparselu._lu
    monkeypatch.setattr(sparselu, "_lu", lambda matrix, order: asked.append(order) or lu(matrix, order))
    return asked


# ----------------------------------------------------------------------------------------------- the same steps by other means
LAPLACIAN = grid(N).toarray() - np.diag(grid(N).toarray().sum(axis=1))


def rate(y, spread, k):
    return spread * (LAPLACIAN @ y) + k * y**2 * (1.0 - y)


def rate_jacobian(y, spread, k):
    return spread * LAPLACIAN + np.diag(k * (2.0 * y - 3.0 * y**2))


def rosenbrock(tableau, h, y, p):
    matrix, us = np.eye(len(y)) / (h * float(tableau.gamma)) - rate_jacobian(y, *p), []
    for a, c in zip(tableau.a, tableau.c, strict=True):
        right = rate(y + sum(float(w) * u for w, u in zip(a, us)), *p) + sum(float(w) / h * u for w, u in zip(c, us))
        us.append(np.linalg.solve(matrix, right))
    return y + sum(float(w) * u for w, u in zip(tableau.m, us))


def dirk(tableau, h, y, p):
    rates, inner = [], y
    for i in range(tableau.stages):
        base = y + h * sum(float(w) * r for w, r in zip(tableau.a[i], rates))
        weight, inner = h * float(tableau.a[i][i]), base
        for _ in range(9 if weight else 0):
            residual = inner - base - weight * rate(inner, *p)
            inner = inner - np.linalg.solve(np.eye(len(y)) - weight * rate_jacobian(inner, *p), residual)
        rates.append(rate(inner, *p))
    return y + h * sum(float(w) * r for w, r in zip(tableau.b, rates))


def value(x, name, dt):
    """The value for [y0, spread, k], which may be complex."""
    tableau = TABLEAUS[name]
    y, p, total = x[: N * N], (x[N * N], x[N * N + 1 :]), np.sum(x[: N * N] ** 3)
    step = rosenbrock if hasattr(tableau, "gamma_t") else dirk
    for k in (1, 2):
        for _ in range(round(0.1 / dt)):
            y = step(tableau, dt, y, p)
        total = total + np.sum(y**3) + 0.1 * k * y[1]
    return total


X = np.concatenate([Y0.ravel(), [P.spread], P.k.ravel()])


def gradient_by_complex_steps(name, dt, x=X):
    return np.array([value(x + 1e-40j * e, name, dt).imag / 1e-40 for e in np.eye(len(x))])


def flat(gradient):
    return np.concatenate([gradient.y0.ravel(), [gradient.p.spread], gradient.p.k.ravel()])


def structured(x):
    return x[: N * N].reshape(N, N), Rates(x[N * N], x[N * N + 1 :].reshape(N, N))


# ----------------------------------------------------------------------------------------------------------------------- tests
METHODS = ["implicit_euler", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("rodas5p", "kvaerno5"))]


@pytest.mark.parametrize("name", METHODS)
def test_derivatives(every, name):
    """Gradients and products with the Hessian are those of the same steps by other means, and those of dense systems."""
    ode = ode_of(method=name, dt=0.05)
    found, gradient = ode.value_and_grad(Y0, P)
    assert set(every) == {"NATURAL", "MMD_AT_PLUS_A"}
    assert found == pytest.approx(value(X, name, 0.05), rel=1e-13)
    expected = gradient_by_complex_steps(name, 0.05)
    np.testing.assert_allclose(flat(gradient), expected, rtol=1e-10, atol=1e-12)
    dot = np.cos(np.arange(len(X)))
    assert ode.jvp(Y0, P, *structured(dot))[1].value == pytest.approx(expected @ dot, rel=1e-11)
    if name == "rodas5p":  # of one method: it compiles for long
        product = flat(ode.hvp(Y0, P, *structured(dot)))
        near = [gradient_by_complex_steps(name, 0.05, X + s * 1e-5 * dot) for s in (1, -1)]
        np.testing.assert_allclose(product, (near[0] - near[1]) / 2e-5, rtol=1e-6, atol=1e-6 * np.abs(product).max())
        dense = ode_of(None, method=name, dt=0.05)
        np.testing.assert_allclose(flat(gradient), flat(dense.value_and_grad(Y0, P)[1]), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(product, flat(dense.hvp(Y0, P, *structured(dot))), rtol=1e-9, atol=1e-11)


def test_the_same_bits_whatever_is_stored_and_forgotten(every, monkeypatch):
    def bits(**how):
        found, gradient = ode_of(method="implicit_euler", dt=0.02, **how).value_and_grad(Y0, P)
        return found, flat(gradient).tobytes()

    once = bits()
    assert bits() == once and bits(checkpoints=2) == once
    kept = sparselu._Kept()
    kept.MOST = 1
    monkeypatch.setattr(sparselu, "_kept", kept)
    assert bits(checkpoints=2) == once


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["rodas5p", "trbdf2"])
def test_adaptive_steps(every, name):
    """Attempts are made with sparse systems, too, and those that are rejected leave nothing behind."""
    found, gradient = ode_of(method=name, rtol=1e-5).value_and_grad(Y0, P)
    same, other = ode_of(None, method=name, rtol=1e-5).value_and_grad(Y0, P)
    assert every and found == pytest.approx(same, rel=1e-12)
    np.testing.assert_allclose(flat(gradient), flat(other), rtol=1e-9, atol=1e-11)


def test_entries_elsewhere_are_an_error(every):
    """One that is missing far from the diagonal."""
    pattern = sparse.lil_matrix(grid(N))
    pattern[7, 13] = 0.0
    with pytest.raises(ConvergenceError, match="entries outside of jac_sparsity="):
        ode_of(pattern, method="implicit_euler", dt=0.05).run(Y0, P)
    with pytest.raises(ValueError, match="entries outside of jac_sparsity="):
        ode_of(pattern, method="rodas5p", dt=0.05).run(Y0, P)


# ---------------------------------------------------------------------------------------------------------------- mass vectors
def chained(t, y, p):
    """Two cells, and what one of them is times a parameter, which is no differential equation."""
    return np.array([-p[0] * y[0] + y[3], y[0] - p[1] * y[1], y[1] - y[2] ** 3, y[3] - y[2] * y[0], y[2] - p[0] * y[4]])


MASS = np.array([1.0, 2.0, 0.5, 0.0, 3.0])


@pytest.mark.parametrize("name", ["implicit_euler", pytest.param("rodas5p", marks=pytest.mark.heavy)])
def test_mass_vectors(every, name):
    """Places of the mass vector go with the unknowns when these are renumbered."""
    y0, p = np.array([0.5, 0.2, 0.8, 0.4, 0.1]), np.array([0.7, 0.3])
    how = dict(method=name, dt=0.1, mass=MASS, misfit=lambda k, seen, p: np.sum(seen**2) + seen[4] * p[0])
    sparsely = adj.ODE(chained, [0.0, 0.4], jac_sparsity="detect", **how)
    assert not np.array_equal(sparsity.Pattern.of(sparsity.checked_sparsity(CHAINED)).order, np.arange(5))
    found, gradient = sparsely.value_and_grad(y0, p)
    same, other = adj.ODE(chained, [0.0, 0.4], **how).value_and_grad(y0, p)
    assert every and found == pytest.approx(same, rel=1e-13)
    np.testing.assert_allclose(gradient.y0, other.y0, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(gradient.p, other.p, rtol=1e-10, atol=1e-13)


CHAINED = [[1, 0, 0, 1, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 1, 0, 1]]


# ------------------------------------------------------------------------------------------------------------ what is detected
def spokes(t, y, p):
    """A hub and what hangs on it: no order makes that a narrow band."""
    out = np.empty_like(y)
    total = 0.0
    for i in range(1, len(y)):
        total += y[i]
        out[i] = p[i] * (y[0] - y[i]) - y[i] ** 3
    out[0] = 0.01 * total - p[0] * y[0]
    return out


def test_what_is_detected_is_solved_by_the_cheapest_means(monkeypatch):
    asked, lu = [], sparselu._lu
    monkeypatch.setattr(sparselu, "_lu", lambda matrix, order: asked.append(order) or lu(matrix, order))
    y0, p = np.cos(np.arange(150.0)), 1.0 + np.arange(150.0) % 7.0
    how = dict(method="implicit_euler", dt=0.25, misfit=lambda k, seen, p: np.sum(seen**2))
    found, gradient = adj.ODE(spokes, [0.0, 0.5], jac_sparsity="detect", **how).value_and_grad(y0, p)
    assert "NATURAL" in asked
    same, other = adj.ODE(spokes, [0.0, 0.5], **how).value_and_grad(y0, p)
    assert found == pytest.approx(same, rel=1e-13)
    np.testing.assert_allclose(gradient.y0, other.y0, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(gradient.p, other.p, rtol=1e-9, atol=1e-13)
