"""tanh as arithmetic: against 50 digits, the same bits in vectors, in their rests and in Python, and vectors indeed."""

import mpmath
import numpy as np
from numba import float64, njit

import adjointsim as adj
from adjointsim.derive.elementary import tanh


@njit(error_model="numpy")
def mapped(x, y):
    for i in range(x.size):
        y[i] = tanh(x[i])


def points():
    rng = np.random.default_rng(1)
    sizes = 10.0 ** rng.uniform(-320, 2, 2000)
    near = np.outer(np.arange(1, 40) * 0.25 * np.log(2.0), 1.0 + rng.uniform(-1e-3, 1e-3, 50)).ravel()  # where k changes
    return np.concatenate([rng.normal(size=3000), rng.uniform(-23, 23, 3000), sizes, -sizes, near])


def test_as_close_as_promised():
    x = points()
    y = np.empty_like(x)
    mapped(x, y)
    with mpmath.workdps(50):
        exact = [mpmath.tanh(mpmath.mpf(float(v))) for v in x]
        off = [abs(mpmath.mpf(float(a)) - b) / float(np.spacing(abs(float(b)))) for a, b in zip(y, exact, strict=True)]
    assert max(off) < 2.5


def test_vectors_their_rests_and_python_give_the_same_bits():
    x = points()
    python = np.array([tanh(float(v)) for v in x])
    for n in (1, 2, 3, 7, 8, 15, 33, len(x)):
        y = np.empty(n)
        mapped(x[:n], y)
        np.testing.assert_array_equal(y.view(np.int64), python[:n].view(np.int64))


def test_where_it_ends():
    x = np.array([0.0, -0.0, np.inf, -np.inf, 22.0, -1e300, 5e-324, np.nan])
    y = np.empty_like(x)
    mapped(x, y)
    np.testing.assert_array_equal(y, [0.0, -0.0, 1.0, -1.0, 1.0, -1.0, 5e-324, np.nan])
    assert np.signbit(y[1])


def test_single_precision_is_rounded_once():
    x = points().astype(np.float32)
    y = np.empty_like(x)
    mapped(x, y)
    np.testing.assert_array_equal(y, np.tanh(x.astype(np.float64)).astype(np.float32))


def test_loops_are_vectors():
    """A loop over calls of the C library is none."""
    mapped(np.zeros(1), np.zeros(1))
    assembly = mapped.inspect_asm(next(sig for sig in mapped.signatures if sig[0].dtype == float64))
    assert [line for line in assembly.splitlines() if "divpd" in line]


@adj.step
def layer(n, y, p):
    return np.tanh(p * y)


def test_derivatives_of_a_layer():
    y, p = np.linspace(-1.0, 1.0, 64), np.full(64, 1.5)
    slope = 1.0 / np.cosh(p * y) ** 2
    y_bar, p_bar = layer.vjp(0, y, p, np.ones(64))
    np.testing.assert_allclose(y_bar, p * slope, rtol=1e-14)
    np.testing.assert_allclose(p_bar, y * slope, rtol=1e-14)
    np.testing.assert_allclose(layer.jvp(0, y, p, np.ones(64), np.zeros(64))[1], p * slope, rtol=1e-14)
