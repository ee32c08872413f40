"""Products of matrices by BLAS: which loops are products, and that they give what loops give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import adjointsim as adj
from adjointsim.derive import api, blas, productnests
from adjointsim.derive.ir import For
from adjointsim.leaves import spec_of

ROOT = Path(__file__).parents[2]
LENGTHS = [(2, 3, 4), (8, 8, 8), (40, 70, 130), (65, 1, 65), (3, 200, 64), (0, 20, 30), (30, 20, 0), (30, 0, 20)]


def sample(*shape: int, dt: str = "f8") -> np.ndarray:
    return np.random.default_rng([1, *shape]).standard_normal(shape).astype(dt)


def plain(a, b, w):
    return np.sum(w * (a @ b))


def by_dot(a, b, w):
    return np.sum(w * np.dot(a, b))


def transposed(a, b, w):
    return np.sum(w * (b.T @ a.T).T)


def loops(a, b, w):
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1]):
                c[i, k] += a[i, j] * b[j, k]
    return np.sum(w * c)


def twice(a, b, w):
    """The adjoint adds equal products, which are two nevertheless."""
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1]):
                c[i, k] += a[i, j] * b[j, k]
                c[i, k] += a[i, j] * b[j, k]
    return 0.5 * np.sum(w * c)


def into_rows(a, b, w):
    """Matrices that are parts of others, and sums into one that is there already."""
    pad = np.zeros((2, a.shape[0] + 1, a.shape[1] + 2))
    pad[1, 1:, 2:] = a
    c = pad[1, 1:, 2:] @ b
    c += pad[1, 1:, 2:] @ b
    return 0.5 * np.sum(w * c)


def in_steps(a, b, w):
    """Every other column: these are not next to each other."""
    wide = np.zeros((a.shape[0], 2 * a.shape[1]))
    wide[:, ::2] = a
    return np.sum(w * (wide[:, ::2] @ b))


MODELS = [plain, by_dot, transposed, loops, twice, into_rows, in_steps]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("fn", MODELS, ids=lambda fn: fn.__name__)
def test_gradients(fn, lengths):
    """The closed form: of sum(w * a b) they are w b^T and a^T w."""
    n, m, k = lengths
    a, b, w = sample(n, m), sample(m, k), sample(n, k)
    value, bars = adj.value_and_grad(fn, wrt=(0, 1, 2))(a, b, w)
    assert value == pytest.approx(np.sum(w * (a @ b)), rel=1e-12, abs=1e-12)
    for bar, expected in zip(bars, (w @ b.T, a.T @ w, a @ b), strict=True):
        np.testing.assert_allclose(bar, expected, rtol=1e-12, atol=1e-12)


def row_sums(a, x, w):
    return np.sum(w * (a @ x))


def column_sums(a, x, w):
    return np.sum(w * (x @ a.T))


def in_turns(a, x, w):
    """A part of a matrix, and two vectors that are rows of another."""
    pair = np.zeros((2, len(x)))
    pair[0] = x
    for k in range(2):
        pair[1] = pair[0]
    return np.sum(w[1:] * (a[1:] @ pair[1])) + w[0] * np.sum(a[0] * x)


@pytest.mark.parametrize("lengths", [(2, 3), (40, 30), (300, 1), (3, 300), (150, 200), (0, 600), (600, 0)], ids=str)
@pytest.mark.parametrize("fn", [row_sums, column_sums, in_turns], ids=lambda fn: fn.__name__)
def test_matrix_and_vector(fn, lengths):
    """Of sum(w * a x): w x^T, a^T w and a x."""
    n, m = lengths
    a, x, w = sample(n, m), sample(m), sample(n)
    if fn is in_turns and n == 0:
        return
    value, bars = adj.value_and_grad(fn, wrt=(0, 1, 2))(a, x, w)
    assert value == pytest.approx(w @ (a @ x), rel=1e-12, abs=1e-12)
    for bar, expected in zip(bars, (np.outer(w, x), a.T @ w, a @ x), strict=True):
        np.testing.assert_allclose(bar, expected, rtol=1e-12, atol=1e-12)


def test_only_rows_are_summed_up_by_blas():
    """What else the loops do stays in loops: w x^T and, along columns, a^T w."""
    args = sample(40, 30), sample(30), sample(40)
    by_rows = kernel_of(row_sums, *args)
    assert [(len(n.products), n.rest) for n in nests(by_rows._primal)] == [(1, None)]
    assert not [n for n in nests(by_rows._vjp) if n.rest is not None]
    found = [n for n in nests(kernel_of(lambda a, x, w: np.sum(w * (x @ a)), sample(30, 40), *args[1:])._vjp) if n.rest]
    assert [len(n.products) for n in found] == [1]


def test_single_precision():
    a, b, w = sample(40, 50, dt="f4"), sample(50, 60, dt="f4"), sample(40, 60, dt="f4")
    bars = adj.grad(plain, wrt=(0, 1))(a, b, w)
    for bar, expected in zip(bars, (w @ b.T, a.T @ w), strict=True):
        assert bar.dtype == np.float32
        np.testing.assert_allclose(bar, expected, rtol=1e-4, atol=1e-4)


def curved(a, b):
    return np.sum((a @ b) ** 2)


def test_second_order():
    """Of |a b|^2 along a_dot: the derivative of 2 (a b) b^T and of 2 a^T (a b)."""
    a, b, a_dot = sample(30, 40), sample(40, 20), sample(40, 30).T.copy()
    specs = [spec_of(a, "a"), spec_of(b, "b")]
    kernel = api.function_kernel(curved, specs)
    bars, dots = kernel.hvp([a, b], [a_dot, None], [np.ones(1)])
    np.testing.assert_allclose(bars[0], 2.0 * (a @ b) @ b.T, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(dots[0], 2.0 * (a_dot @ b) @ b.T, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(dots[1], 2.0 * (a_dot.T @ (a @ b) + a.T @ (a_dot @ b)), rtol=1e-11, atol=1e-10)
    value, change = kernel.jvp([a, b], [a_dot, None])
    assert change[0][0] == pytest.approx(2.0 * np.sum((a @ b) * (a_dot @ b)), rel=1e-12)
    assert len(nests(kernel._hvp)) >= len(nests(kernel._vjp)) > len(nests(kernel._primal)) == 1


def whole(a, b):
    return a @ b


def test_many_cotangents_have_the_bits_of_one():
    a, b, w = sample(30, 40), sample(40, 20), sample(3, 30, 20)
    kernel = api.function_kernel(whole, [spec_of(a, "a"), spec_of(b, "b")])
    together = kernel.vjps([a, b], [w], 3)
    for k in range(3):
        for many, one in zip(together, kernel.vjp([a, b], [w[k]]), strict=True):
            assert (many[k] == one).all()


# ------------------------------------------------------------------------------------------------------- what is a product
def nests(compiled: api.Compiled) -> list[blas.Nest]:
    """The products in a kernel."""

    def inside(block):
        for s in block:
            found = productnests.products(s) if isinstance(s, For) else None
            if found is not None:
                yield found
            elif isinstance(s, For):
                yield from inside(s.body)

    return [*inside(compiled.kernel.fn.body)]


def kernel_of(fn, *args):
    return api.function_kernel(fn, [spec_of(a, "x") for a in args])


def test_a_users_loops_are_rounded_in_their_order():
    """Loops keep the bits of Numba's own run of them; their adjoint is linear, and by BLAS, as is what '@' says."""
    a, b, w = sample(40, 50), sample(50, 60), sample(40, 60)
    by_loops, by_product = kernel_of(loops, a, b, w), kernel_of(plain, a, b, w)
    assert [len(nests(k._primal)) for k in (by_loops, by_product)] == [0, 1]
    assert [len(n.products) for n in nests(by_loops._vjp)] == [2]
    assert by_loops.value([a, b, w])[0][0] == njit(loops)(a, b, w)
    assert by_product.value([a, b, w])[0][0] != njit(loops)(a, b, w), "is it by BLAS at all?"


def test_no_memory_is_made():
    a, b, w = sample(40, 50), sample(50, 60), sample(40, 60)
    kernel = kernel_of(into_rows, a, b, w)
    assert nests(kernel._vjp) and kernel._vjp.preallocated


def powers(a):
    c = np.zeros_like(a)
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(a.shape[0]):
                c[i, k] += a[i, j] * c[j, k]
    return np.sum(c * a)


def triangle(a, b, w):
    c = np.zeros_like(w)
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(i):
                c[i, k] += a[i, j] * b[j, k]
    return np.sum(w * c)


def three(a, b, w):
    c = np.zeros_like(w)
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1]):
                c[i, k] += a[i, j] * b[j, k] * w[i, j]
    return np.sum(c)


def diagonal(a, b, w):
    c = np.zeros_like(w)
    for i in range(a.shape[0]):
        for k in range(b.shape[1]):
            for j in range(a.shape[1]):
                c[i, i] += a[i, j] * b[j, k]
    return np.sum(w * c)


@pytest.mark.parametrize("fn", [powers, triangle, three, diagonal], ids=lambda fn: fn.__name__)
def test_other_loops_are_none(fn):
    """What reads what it writes, has lengths of its own, or multiplies something else."""
    args = [sample(12, 12)] * fn.__code__.co_argcount
    kernel = kernel_of(fn, *args)
    assert not nests(kernel._primal)
    bars = kernel.vjp(args, [np.ones(1)])
    dots = [sample(12, 12, 1)[..., 0]] * len(args)
    change = sum(float(np.sum(bar * dot)) for bar, dot in zip(bars, dots, strict=True))
    ahead, back = ([x + sign * 1e-6 * dot for x, dot in zip(args, dots, strict=True)] for sign in (1.0, -1.0))
    assert change == pytest.approx((fn(*ahead) - fn(*back)) / 2e-6, rel=1e-6, abs=1e-6)


def wrong_shapes(a, b):
    return np.sum(a @ b)


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="do not match|could not be broadcast|shape"):
        adj.grad(wrong_shapes)(sample(30, 40), sample(30, 40))


# ------------------------------------------------------------------------------------------------------------- processes
PROGRAM = """\
import json
import numpy as np
import adjointsim as adj

@adj.step
def step(n, y, p):
    return np.tanh(y @ p)

rng = np.random.default_rng(0)
y0, p = rng.standard_normal((150, 150)), rng.standard_normal((150, 150)) / 12.0
found = []
for checkpoints in (6, 2):
    sim = adj.Simulation(step, 6, terminal=lambda y, p: np.sum(y * y), checkpoints=checkpoints)
    value, grad = sim.value_and_grad(y0, p)
    found.append([value, grad.y0.tobytes().hex(), grad.p.tobytes().hex()])
assert found[0] == found[1]
print(json.dumps(found[0]))
"""


def test_bits_of_processes_with_other_threads(tmp_path):
    """The same in every schedule, with another number of BLAS's threads, and with the code from the disk."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(threads: str) -> list[object]:
        env = {**os.environ, "ADJOINTSIM_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
        env.update(OPENBLAS_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        done = subprocess.run([sys.executable, str(tmp_path / "program.py")], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("1") == run("2")
