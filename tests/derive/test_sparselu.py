"""Sparse systems by SuperLU: against ``np.linalg.solve``, against complex steps of it, and whatever the cache has forgotten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import adjointsim as adj
from adjointsim.derive import sparselu
from adjointsim.derive.ir import Call, walk
from adjointsim.derive.sparselu import elimination_order, sparse_factor, sparse_solve
from adjointsim.errors import UnsupportedError

from .harness import Derived, assert_same_function, functions

RNG = np.random.default_rng(11)
N = 7
#: not symmetric, and the first pivot is not on the diagonal
DENSE = np.where(RNG.uniform(size=(N, N)) < 0.3, RNG.standard_normal((N, N)), 0.0) + np.diag(RNG.uniform(2.0, 3.0, N))
DENSE[0, 0], DENSE[4, 0] = 0.01, 3.0
A = sparse.csc_matrix(DENSE)
FIRST, ROWS = A.indptr.astype(np.int64), A.indices.astype(np.int64)
VALUES, B = A.data, RNG.standard_normal(N)


def stages(values, b, first, rows):
    """As a Rosenbrock method has them; the matrix is overwritten afterwards, and one system is transposed."""
    factors = sparse_factor(values, first, rows)
    x = sparse_solve(values, factors, b, first, rows, 0)
    for _ in range(2):
        x = sparse_solve(values, factors, np.sin(x) + b, first, rows, 0) + 0.1 * x
    y = sparse_solve(values, factors, x * b, first, rows, 1)
    values[:] = y[0]
    return y, values


def stages_plainly(values, b, first, rows):
    n = len(b)
    a = np.zeros((n, n))
    for j in range(n):
        for m in range(first[j], first[j + 1]):
            a[rows[m], j] = values[m]
    x = np.linalg.solve(a, b)
    for _ in range(2):
        x = np.linalg.solve(a, np.sin(x) + b) + 0.1 * x
    y = np.linalg.solve(a.T, x * b)
    values[:] = y[0]
    return y, values


def test_all_verbs():
    assert_same_function(stages, stages_plainly, (VALUES, B, FIRST, ROWS))


def complex_stages(values, b):
    """The first result, in complex numbers, by NumPy alone."""
    a = np.zeros((N, N), complex)
    a[ROWS, np.repeat(np.arange(N), np.diff(FIRST))] = values
    x = np.linalg.solve(a, b)
    for _ in range(2):
        x = np.linalg.solve(a, np.sin(x) + b) + 0.1 * x
    return np.linalg.solve(a.T, x * b)


def test_compiled_against_complex_steps():
    def first_of(values, b):
        return stages(values.copy(), b, FIRST, ROWS)[0]

    y, pullback = adj.vjp(first_of, VALUES, B)
    np.testing.assert_allclose(y, complex_stages(VALUES, B).real, rtol=1e-12, atol=1e-14)
    whole = np.concatenate([VALUES, B])
    columns = []
    for k in range(len(whole)):
        moved = whole.astype(complex)
        moved[k] += 1e-40j
        columns.append(complex_stages(moved[: len(VALUES)], moved[len(VALUES) :]).imag / 1e-40)
    weights = np.cos(np.arange(N))
    np.testing.assert_allclose(np.concatenate(pullback(weights)), np.array(columns) @ weights, rtol=1e-11, atol=1e-13)
    dots = np.sin(1.0 + np.arange(len(whole)))
    tangent = adj.jvp(first_of, (VALUES, B), (dots[: len(VALUES)], dots[len(VALUES) :]))[1]
    np.testing.assert_allclose(tangent, dots @ np.array(columns), rtol=1e-11, atol=1e-13)


def test_one_factorisation():
    """On the way back nothing is factorised again."""
    kernel = Derived(stages, (VALUES, B, FIRST, ROWS)).second().kernel
    called = [s.fn for fn in functions(kernel).values() for s in walk(fn.body) if isinstance(s, Call)]
    assert sum("sparse_factor" in name for name in called) == 1 and sum("sparse_solve" in name for name in called) > 8


def solved(values, b, first, rows):
    return sparse_solve(values, sparse_factor(values, first, rows), b, first, rows, 0)


def test_float32():
    values, b = VALUES.astype(np.float32), B.astype(np.float32)
    out, pullback = adj.vjp(solved, values, b, FIRST, ROWS)
    back = pullback(b)
    assert out.dtype == np.float32 and [x.dtype for x in back[:2]] == [np.float32] * 2
    np.testing.assert_allclose(out, np.linalg.solve(DENSE, B), rtol=1e-5)
    np.testing.assert_allclose(back[1], np.linalg.solve(DENSE.T, B), rtol=1e-5)


def test_nothing():
    assert len(adj.vjp(solved, np.zeros(0), np.zeros(0), np.zeros(1, np.int64), np.zeros(0, np.int64))[0]) == 0


# --------------------------------------------------------------------------------------------------------- what is no matrix
FULL = np.array([0, 2, 4]), np.array([0, 1, 0, 1])
NOISY = np.array([0.1, 0.3, 0.3, 0.9])  # singular, and no pivot is 0
SINGULAR = "the sparse matrix is singular to working precision"


@pytest.mark.parametrize(
    ("values", "b", "pattern", "words"),
    [
        (np.zeros(4), B[:2], FULL, SINGULAR),
        (NOISY, B[:2], FULL, SINGULAR),
        (np.array([1.0, 2.0]), B[:2], (np.arange(3), np.zeros(2, int)), SINGULAR),  # an empty row
        (np.zeros(0), B[:2], (np.zeros(3, int), np.zeros(0, int)), SINGULAR),
        (VALUES * np.nan, B, (FIRST, ROWS), SINGULAR),
        (np.where(np.arange(len(VALUES)) == 3, np.inf, VALUES), B, (FIRST, ROWS), SINGULAR),
        (VALUES, B[:3], (FIRST, ROWS), "right side of a system must be as long as its matrix"),
        (VALUES[:3], B, (FIRST, ROWS), "needs a row for each number"),
        (VALUES, B, (np.zeros(0, int), ROWS), "needs a row for each number"),
        (NOISY, B[:2], (FULL[0], np.array([0, 1, 0, 2])), "rows that do not exist"),
        (NOISY, B[:2], (FULL[0], np.array([0, 1, -1, 1])), "rows that do not exist"),
        (NOISY, B[:2], (np.array([0, 5, 4]), FULL[1]), "columns that overlap"),
        (NOISY, B[:2], (np.array([0, 2, 3]), FULL[1]), "columns that overlap"),
    ],
)
def test_what_cannot_be_solved(values, b, pattern, words):
    with pytest.raises(ValueError, match=words):
        adj.vjp(solved, values, b, *pattern)


def with_factors_of_others(values, b, first, rows):
    return sparse_solve(values, np.zeros(len(values) + len(b), np.int64), b, first, rows, 0)


def test_factors_of_another_matrix():
    with pytest.raises(ValueError, match="belong to one with as many nonzeros"):
        adj.vjp(with_factors_of_others, VALUES, B, FIRST, ROWS)
    with pytest.raises(ValueError, match="not the factors of a regular sparse matrix"):
        adj.vjp(with_factors_of_others, NOISY, B[:2], *FULL)


@pytest.mark.parametrize(
    ("values", "b", "first", "words"),
    [
        (VALUES.astype(complex), B, FIRST, "complex"),
        (VALUES.astype(int), B, FIRST, "int64"),
        (VALUES, B.astype(np.float32), FIRST, "one dtype"),
        (VALUES, DENSE, FIRST, "it takes 1-d arrays"),
        (VALUES, B, FIRST.astype(np.int32), "1-d arrays of int64"),
    ],
)
def test_refused(values, b, first, words):
    with pytest.raises(UnsupportedError) as caught:
        adj.vjp(solved, values, b, first, ROWS)
    assert words in caught.value.msg


@pytest.mark.parametrize("units", [10.0 ** np.array([30, -40, 0, 12, 5, -7, 20]), np.ones(N)])
def test_scaling_is_not_singular(units):
    """Units of equations and unknowns that differ by all orders of magnitude: no pivot is taken for rounding."""
    a = sparse.csc_matrix(units[:, None] * DENSE / units[::-1])
    x = adj.vjp(solved, a.data, units * B, FIRST, ROWS)[0]
    np.testing.assert_allclose(x / units[::-1], np.linalg.solve(DENSE, B), rtol=1e-10)


def test_the_order_of_elimination():
    """An arrow that points at the first unknown fills a matrix; it must be turned around."""
    n = 50
    arrow = np.eye(n)
    arrow[0] = arrow[:, 0] = 1.0
    order, fill, products = elimination_order(sparse.csc_matrix(arrow))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert 0 in order[-2:]  # (two unknowns that are left have the same degree)
    assert fill == (2 * n - 1) + (2 * n - 1) and products == 4 * (n - 1) + 1


# ------------------------------------------------------------------------------------------------------- what is kept aside
def many(values, b, first, rows):
    """As many matrices as the rows of ``b``, all factorised before the first is solved with."""
    k = len(b)
    factors = np.zeros((k, len(values) + 2), np.int64)
    for i in range(k):
        factors[i] = sparse_factor(values * (1.0 + 0.5 * i), first, rows)
    total = np.zeros(len(first) - 1)
    for i in range(k):
        total += sparse_solve(values * (1.0 + 0.5 * i), factors[i], b[i], first, rows, 0)
    return total


def many_plainly(values, b):
    a = np.zeros((N, N), values.dtype)
    a[ROWS, np.repeat(np.arange(N), np.diff(FIRST))] = values
    return sum(np.linalg.solve(a * (1.0 + 0.5 * i), b[i]) for i in range(len(b)))


def bits(found):
    return [np.asarray(x).tobytes() for x in found]


def test_more_matrices_than_are_kept(monkeypatch):
    b = RNG.standard_normal((3 * sparselu._Kept.MOST, N))

    def gradient():
        total, pullback = adj.vjp(many, VALUES, b, FIRST, ROWS)
        return total, *pullback(np.cos(np.arange(N)))[:2]

    monkeypatch.setattr(sparselu, "_kept", sparselu._Kept())
    total, values_bar, b_bar = gradient()
    assert len(sparselu._kept.found) == sparselu._Kept.MOST
    np.testing.assert_allclose(total, many_plainly(VALUES, b), rtol=1e-12)
    step = np.array([many_plainly(VALUES + 1e-40j * e, b).imag / 1e-40 for e in np.eye(len(VALUES))])
    np.testing.assert_allclose(values_bar, step @ np.cos(np.arange(N)), rtol=1e-11, atol=1e-13)
    again = []
    for most, room in ((1, 1 << 20), (1000, 1 << 20), (1000, 1)):  # one at a time, all of them, one
        kept = sparselu._Kept()
        kept.MOST, kept.ROOM = most, room
        monkeypatch.setattr(sparselu, "_kept", kept)
        again.append(bits(gradient()))
        assert len(kept.found) == (len(b) if most == 1000 and room > 1 else 1)
    assert again == [bits((total, values_bar, b_bar))] * 3


def test_each_matrix_is_factorised_once(monkeypatch):
    made = []
    lu = sparselu._lu
    monkeypatch.setattr(sparselu, "_lu", lambda matrix, order: made.append(order) or lu(matrix, order))
    for scale in (1.25, 1.25, 1.75):
        _, pullback = adj.vjp(stages, VALUES * scale, B, FIRST, ROWS)
        pullback((np.ones(N), np.ones(len(VALUES))))
    assert made == ["NATURAL"] * 2


def test_threads():
    """The same bits as alone, while others push matrices out."""
    jobs = [(VALUES * (1.0 + 0.1 * k), RNG.standard_normal((2 * sparselu._Kept.MOST, N))) for k in range(6)]

    def gradient(job):
        total, pullback = adj.vjp(many, *job, FIRST, ROWS)
        return bits((total, *pullback(np.ones(N))[:2]))

    alone = [gradient(job) for job in jobs]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(gradient, jobs * 3)) == alone * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_while_another_thread_has_the_lock():
    with sparselu._kept.lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a lock that nobody releases
            os._exit(0 if sparselu._kept.get(b"") is None else 1)
    assert os.waitpid(child, 0)[1] == 0


# ------------------------------------------------------------------------------------------------------------ what Python says
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), TimeoutError("too long")], ids=repr)
def test_exceptions_of_python_arrive(monkeypatch, error):
    """Such as that of Ctrl-C, which comes where Python code runs."""

    def lu(matrix, order):
        raise error

    values = VALUES * (3.0 + len(repr(error)))
    monkeypatch.setattr(sparselu, "_lu", lu)
    with pytest.raises(type(error)) as caught:
        adj.vjp(solved, values, B, FIRST, ROWS)
    assert caught.value is error
    monkeypatch.undo()
    assert np.all(np.isfinite(adj.vjp(solved, values, B, FIRST, ROWS)[0]))


# ------------------------------------------------------------------------------------------------------------- two processes
MODEL = """\
from adjointsim.derive.sparselu import sparse_factor, sparse_solve


def solved(values, b, first, rows):
    factors = sparse_factor(values, first, rows)
    x = sparse_solve(values, factors, b, first, rows, 0)
    return sparse_solve(values, factors, x * b, first, rows, 1)
"""

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import adjointsim as adj
import model
first, rows = np.array([0, 2, 4, 6]), np.array([0, 2, 0, 1, 1, 2])
x, pullback = adj.vjp(model.solved, np.array([3.0, 1.0, -1.0, 2.0, 0.5, 4.0]), np.array([1.0, 2.0, 3.0]), first, rows)
back = pullback(np.ones(3))[:2]
mine = [m for name, m in sys.modules.items() if name.startswith("adjointsim_")]
stats = [f.stats for m in mine for f in vars(m).values() if hasattr(f, "stats") and f.__module__ == m.__name__]
print(json.dumps({"bits": [v.tobytes().hex() for v in (x, *back)], "x": x.tolist(),
                  "misses": sum(sum(s.cache_misses.values()) for s in stats)}))
"""


def test_the_second_process_compiles_nothing(tmp_path: Path):
    """Code on the disk does not know where Python's functions are in memory."""
    (tmp_path / "model.py").write_text(MODEL)
    found = []
    for _ in range(2):
        env = {**os.environ, "ADJOINTSIM_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    a = np.array([[3.0, -1.0, 0.0], [0.0, 2.0, 0.5], [1.0, 0.0, 4.0]])
    b = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(found[0]["x"], np.linalg.solve(a.T, np.linalg.solve(a, b) * b), rtol=1e-14)
    assert found[0]["misses"] > 0 and found[1]["misses"] == 0
    assert found[0]["bits"] == found[1]["bits"]
