"""``jac_sparsity=``: patterns, the order in which they are bands, and the same results as without."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse

import adjointsim as adj
from adjointsim.derive.spec import ScalarSpec
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.kernels import kernel_of
from adjointsim.leaves import spec_of
from adjointsim.ode.sparsity import Pattern, checked_sparsity, detected

RNG = np.random.default_rng(3)


def ring(n):
    return sparse.diags([1.0, 1.0, 1.0, 1.0], [0, 1, -1, n - 1], shape=(n, n)) + sparse.diags([1.0], [1 - n], shape=(n, n))


def grid(n):
    one, line = sparse.identity(n), sparse.diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(n, n))
    return sparse.kron(one, line) + sparse.kron(line, one)


def shuffled(matrix):
    order = RNG.permutation(matrix.shape[0])
    return sparse.csr_matrix(matrix)[order][:, order]


def lower(n):
    return sparse.diags([1.0, 1.0, 1.0], [0, -1, -3], shape=(n, n))


@pytest.mark.parametrize(
    ("matrix", "width", "groups"),
    [(ring(40), 4, 4), (shuffled(ring(40)), 4, 4), (shuffled(grid(9)), 26, 8), (lower(30), 3, 4), (sparse.identity(7), 0, 1)],
    ids=["ring", "ring in disorder", "grid", "lower", "diagonal"],
)
def test_every_entry_is_in_the_band_and_found_by_its_group(matrix, width, groups):
    given = checked_sparsity(matrix)
    found = Pattern.of(given)
    lower, upper = found.band
    assert lower + upper <= width
    dense = assert_complete(found, given, groups)
    rows, columns = np.nonzero(dense)
    assert np.all(rows - columns <= lower) and np.all(columns - rows <= upper)


def assert_complete(found, given, groups):
    """Every entry is found, and is where it is said to be; returns the matrix in the pattern's order."""
    n = given.shape[0]
    assert len(found.groups) - 1 <= groups
    np.testing.assert_array_equal(found.order[found.back], np.arange(n))
    dense = given.toarray()[np.ix_(found.order, found.order)]
    again = np.zeros((n, n))
    for g in range(len(found.groups) - 1):
        own = found.columns[found.groups[g] : found.groups[g + 1]]
        assert np.all(dense[:, own].sum(axis=1) <= 1.0)  # a tangent along all of them has each entry by itself
        for j in own:
            again[found.rows[found.first[j] : found.first[j + 1]], j] = 1.0
    np.testing.assert_array_equal(again, dense)
    np.testing.assert_array_equal(found.rows[found.diagonal], np.arange(n))
    assert np.all((found.first[:-1] <= found.diagonal) & (found.diagonal < found.first[1:]))
    return dense


def arrow(n):
    matrix = sparse.lil_matrix(sparse.identity(n))
    matrix[0] = matrix[:, 0] = 1.0
    return matrix


@pytest.mark.parametrize(
    ("matrix", "groups"),
    [(shuffled(grid(45)), 9), (shuffled(arrow(200)), 200), (sparse.random(300, 300, 0.01, random_state=2), 14)],
    ids=["grid", "arrow", "random"],
)
def test_large_patterns_without_a_narrow_band_are_for_sparse_factors(matrix, groups):
    given = checked_sparsity(matrix)
    found = Pattern.of(given)
    assert found.band is None
    assert_complete(found, given, groups)


def test_a_pattern_that_no_order_makes_narrow_is_dense():
    assert Pattern.of(checked_sparsity(arrow(20))) is None
    assert Pattern.of(checked_sparsity(np.eye(1))) is None
    assert Pattern.of(checked_sparsity(RNG.uniform(size=(300, 300)) < 0.5)) is None


class Pair(NamedTuple):
    u: np.ndarray
    v: np.ndarray


class Rates(NamedTuple):
    spread: float
    k: np.ndarray


def reactions(t, y, p):
    """Diffusion around a ring, and a reaction at each place."""
    n = len(y.u)
    du, dv = np.empty(n), np.empty(n)
    for i in range(n):
        left = y.u[i - 1] if i > 0 else y.u[n - 1]
        right = y.u[i + 1] if i < n - 1 else y.u[0]
        du[i] = p.spread * (left - 2.0 * y.u[i] + right) - p.k[i] * y.u[i] * y.v[i]
        dv[i] = -p.k[i] * y.u[i] * y.v[i] ** 2
    return Pair(du, dv)


def reactions_pattern(n):
    around, here = ring(n), sparse.identity(n)
    return sparse.bmat([[around, here], [here, here]])


N = 20
Y0, P = Pair(1.0 + 0.5 * np.sin(np.arange(N)), np.zeros(N)), Rates(25.0, np.linspace(1.0, 2.0, N))


def test_products_that_vanish_at_first_are_detected():
    """All derivatives with respect to u of what u v is in are 0 where v is."""
    leaves = [*Y0], [np.array([P.spread]), P.k]
    kernel = kernel_of(reactions, (ScalarSpec("f8"), spec_of(Y0, "y"), spec_of(P, "p")), role="function")
    np.testing.assert_array_equal(detected(kernel, 0.0, *leaves).toarray(), reactions_pattern(N).toarray() != 0)


def misfit(k, seen, p):
    return np.sum(seen.u**2) + np.sum(seen.v * p.k)


def gradient(**how):
    ode = adj.ODE(reactions, [0.0, 0.05, 0.1], misfit=misfit, **how)
    value, grad = ode.value_and_grad(Pair(Y0.u, 1.0 + 0.1 * Y0.u), P)
    return np.concatenate([[value], grad.y0.u, grad.y0.v, [grad.p.spread], grad.p.k])


@pytest.mark.parametrize(
    "how", [{"method": "implicit_euler", "dt": 0.05}, pytest.param({"method": "rodas5p"}, marks=pytest.mark.heavy)], ids=str
)
@pytest.mark.parametrize("given", ["detect", reactions_pattern(N)], ids=["detected", "given"])
def test_the_same_as_dense(how, given):
    assert Pattern.of(checked_sparsity(reactions_pattern(N))) is not None
    np.testing.assert_allclose(gradient(jac_sparsity=given, **how), gradient(**how), rtol=1e-9, atol=1e-11)


def chain(t, y, p):
    out = -p * y
    for i in range(2, len(y)):
        out[i] += y[i - 2] * y[i]
    return out


def test_entries_elsewhere_are_an_error():
    ode = adj.ODE(chain, [0.0, 0.5], method="rodas5p", dt=0.25, jac_sparsity=np.eye(9) + np.eye(9, k=-1))
    with pytest.raises(ValueError, match="entries outside of jac_sparsity="):
        ode.run(np.linspace(0.1, 1.0, 9), 0.7)


def test_bad_arguments():
    for given, words in (("banded", "'detect'"), (np.ones((2, 3)), "square"), ({"a": 1}, "a dict"), (np.ones(4), "square")):
        with pytest.raises((ArgumentError, StructureError), match=words):
            adj.ODE(chain, [0.0, 1.0], method="rodas5p", jac_sparsity=given)
    with pytest.raises(ArgumentError, match="bandwidth= and jac_sparsity="):
        adj.ODE(chain, [0.0, 1.0], method="rodas5p", jac_sparsity=np.eye(9), bandwidth=(1, 1))
    with pytest.raises(ArgumentError, match="jac_sparsity= and method='tsit5'"):
        adj.ODE(chain, [0.0, 1.0], jac_sparsity=np.eye(9))
    with pytest.raises(StructureError, match="jac_sparsity= and a mass matrix of two axes"):
        adj.ODE(chain, [0.0, 1.0], method="rodas5p", jac_sparsity=np.eye(9), mass=np.eye(9))
    with pytest.raises(StructureError, match=r"\(4, 4\), but expected \(9, 9\)"):
        adj.ODE(chain, [0.0, 1.0], method="rodas5p", jac_sparsity=np.eye(4)).run(np.ones(9), 0.7)
    with pytest.raises(StructureError, match=r"jac_sparsity= and running="):
        adj.ODE(chain, [0.0, 1.0], method="rodas5p", jac_sparsity=np.eye(9), running=lambda t, y, p: y[0]).run(np.ones(9), 0.7)
