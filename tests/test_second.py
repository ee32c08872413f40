"""Hessian products and Jacobians of functions, against closed forms, high precision and each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from numba import njit
from weighed import P, Q, X, weigh

import adjointsim as adj
from adjointsim.derive import api
from adjointsim.errors import ArgumentError, StructureError, UnsupportedError


# ------------------------------------------------------------------------------------------------------ Hessian products
class Cubic(NamedTuple):
    y: np.ndarray
    k: int


@adj.step
def cubic(n, s, c):
    return Cubic(c * s.y**3 + n * s.y * s.y, s.k)


def test_a_step_by_hand():
    """Of b . (c y**3 + n y**2): 6 c y b + 2 n b in y, 3 y**2 b between y and c, and 0 in c."""
    y, b, v = np.array([0.3, -1.2, 0.7]), np.array([1.0, 0.5, -2.0]), np.array([0.2, 0.1, -0.4])
    c, w, n = 1.7, 0.3, 4
    hy, hc = cubic.hvp(n, Cubic(y, 2), c, Cubic(b, None), Cubic(v, None), w)
    assert hy.y == pytest.approx((6.0 * c * y + 2.0 * n) * b * v + 3.0 * y * y * b * w, rel=1e-14) and hy.k is None
    assert hc == pytest.approx(np.sum(3.0 * y * y * b * v), rel=1e-14)
    hy, hc = cubic.hvp(n, Cubic(y, 2), c, Cubic(b, None), None, None)
    assert not hy.y.any() and hc == 0.0


def test_a_step_with_a_vjp_by_hand_has_none():
    step = adj.step(lambda n, y, p: p * y, vjp=lambda n, y, p, b: (p * b, y * b))
    with pytest.raises(UnsupportedError, match="hand-written VJP, which cannot be differentiated again"):
        step.hvp(0, 1.0, 2.0, 1.0, 1.0, None)


@pytest.mark.parametrize("f", [weigh, njit(weigh)], ids=["plain", "njit"])
def test_a_product_with_the_hessian_by_hand(f):
    v = np.array([1.0, -2.0])
    before = X.copy(), Q.w.copy(), v.copy()
    hx, hp = adj.hvp(f, (X, Q), (v, None))
    s, c = np.sin(X * Q.w), np.cos(X * Q.w)
    assert hx == pytest.approx(-s * Q.w**2 * Q.a**2 * v, rel=1e-14)
    assert isinstance(hp, P) and hp.k is None and type(hp.a) is float
    assert hp.a == pytest.approx(float((c * Q.w * v).sum() * 2 * Q.a), rel=1e-14)
    assert hp.w == pytest.approx((c - s * X * Q.w) * Q.a**2 * v, rel=1e-14)
    assert adj.hvp(f, (X, Q), (v, None), wrt=0) == pytest.approx(hx, rel=0, abs=0)
    again = adj.hvp(f, (X, Q), (v, None), wrt=(-1, 0))
    assert again[0].a == hp.a and np.array_equal(again[1], hx)
    assert all(np.array_equal(a, b) for a, b in zip(before, (X, Q.w, v), strict=True)), "nothing is modified"


def root_less_one(x):
    return (math.sqrt(x) - 1.0) ** 2


def relu(x):
    return np.maximum(x, 0.0) * x


def select(x):
    r = math.sqrt(x) if x > 0.0 else 3.0 * x
    return r * r * r


def where(x):
    return np.sum(np.where(x > 1.0, x**3, np.sqrt(np.abs(x - x)) + 5.0 * x * x))


def capped(x):
    return min(x * x, 4.0) + max(-1.0, x * x * x)


TRAPS = {
    "a root whose cotangent is 0": (root_less_one, 1.0, 0.5),
    "a square at 0": (lambda x: x**2, 0.0, 2.0),
    "a product at 0": (lambda x: x * x, 0.0, 2.0),
    "a cube at 0": (lambda x: x**3, 0.0, 0.0),
    "a power at 0": (lambda x: x**2.0, 0.0, 2.0),
    "a relu on": (relu, 1.5, 2.0),
    "a relu off": (relu, -1.5, 0.0),
    "abs": (lambda x: abs(x) * x, -2.0, -2.0),
    "abs at 0": (lambda x: abs(x) + 3.0 * x * x, 0.0, 6.0),
    "a branch not taken": (select, -1.0, 6.0 * 27.0 * -1.0),
    "a branch taken": (select, 4.0, 1.5 * 0.5 / 2.0),
    "min and max inside": (capped, 1.0, 2.0 + 6.0),
    "min and max outside": (capped, -3.0, 0.0),
    "a linear function": (lambda x: 3.0 * x + 1.0, 2.0, 0.0),
    "a cotangent that vanishes by a subtraction": (lambda x: (x - 2.0) ** 2 * (1.0 / (x - 1.0)), 2.0, 2.0),
}


@pytest.mark.parametrize("name", TRAPS)
def test_second_derivatives_where_first_ones_vanish_or_jump(name):
    f, x, expected = TRAPS[name]
    (found,) = adj.hvp(f, (x,), (1.0,))
    assert found == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_where_takes_the_side_that_is_chosen():
    x = np.array([2.0, 0.5, 1.0])
    assert adj.hvp(where, (x,), (np.ones(3),))[0] == pytest.approx([12.0, 10.0, 10.0], rel=1e-14)


def helper(v, c):
    for i in range(1, len(v)):
        v[i] = v[i] * v[i - 1] * c + math.exp(-v[i])
    return v[len(v) - 1] * v[0]


def long_story(x, c):
    """Overwritten values, a loop in time, a while with a data-dependent length, an early exit, calls that mutate."""
    u = x * c
    for n in range(6):
        old = u.copy()
        for i in range(1, len(u) - 1):
            u[i] = old[i] + 0.1 * c * old[i] * (old[i - 1] - 2.0 * old[i] + old[i + 1])
        u[0] = u[1] * u[1]
    total = 0.0
    size = 1.0
    while size < 3.0:
        size = size * (1.2 + 0.1 * c * c)
        total = total + size * math.sin(u[1] * size)
        if total > 100.0:
            return total
    for j in range(3):
        total = total * helper(u, c) + helper(u, 0.5)
        if total < -50.0:
            break
    return total


def plain_long_story(x, c):
    """The same on mpmath's numbers, with the same lengths of loops."""
    u = [v * c for v in x]
    for _ in range(6):
        old = list(u)
        for i in range(1, len(u) - 1):
            u[i] = old[i] + mpmath.mpf(0.1) * c * old[i] * (old[i - 1] - 2 * old[i] + old[i + 1])
        u[0] = u[1] * u[1]
    total, size = mpmath.mpf(0), mpmath.mpf(1)
    while size < 3:
        size = size * (mpmath.mpf(1.2) + mpmath.mpf(0.1) * c * c)
        total = total + size * mpmath.sin(u[1] * size)

    def call(v, c):
        for i in range(1, len(v)):
            v[i] = v[i] * v[i - 1] * c + mpmath.exp(-v[i])
        return v[-1] * v[0]

    for _ in range(3):
        total = total * call(u, c) + call(u, mpmath.mpf(0.5))
    return total


def test_overwritten_values_loops_exits_and_calls_against_50_digits():
    x, c = np.array([0.4, 0.9, 0.3, 0.7]), 1.1
    with mpmath.workdps(50):
        point = [*map(mpmath.mpf, x), mpmath.mpf(c)]
        size = len(point)

        def value(*z):
            return plain_long_story(z[:-1], z[-1])

        hessian = np.empty((size, size))
        for i in range(size):
            for j in range(i + 1):
                order = [0] * size
                order[i] += 1
                order[j] += 1
                hessian[i, j] = hessian[j, i] = float(mpmath.diff(value, point, tuple(order)))
    assert long_story(x, c) == pytest.approx(float(plain_long_story([*map(mpmath.mpf, x)], mpmath.mpf(c))), rel=1e-13)
    ours = np.empty((size, size))
    for k in range(size):
        unit = np.zeros(size)
        unit[k] = 1.0
        hx, hc = adj.hvp(long_story, (x, c), (unit[:-1], float(unit[-1])))
        ours[k] = [*hx, hc]
    np.testing.assert_allclose(ours, hessian, rtol=1e-11, atol=1e-11 * np.abs(hessian).max())
    np.testing.assert_allclose(ours, ours.T, rtol=0, atol=1e-12 * np.abs(ours).max())


def unknown_length(x):
    total = 1.0
    for k in range(int(x[0] * 0.0) + 300):
        total = total + 0.001 * math.sin(total * x[1])
        u = total
        while u > 0.4:
            u = u * 0.7 * x[0]
        total = total + u * 0.01
    return total


def test_a_tape_that_is_too_short_grows():
    x = np.array([0.9, 1.3])
    kernel = api.function_kernel(unknown_length, [adj.leaves.spec_of(x, "x")])
    assert kernel._hvp.tape.sizes({}) is None  # found out by running
    h = np.array([adj.hvp(unknown_length, (x,), (v,))[0] for v in np.eye(2)])
    step = 1e-5
    slopes = [(adj.grad(unknown_length)(x + step * v) - adj.grad(unknown_length)(x - step * v)) / (2 * step) for v in np.eye(2)]
    np.testing.assert_allclose(h, slopes, rtol=1e-7)
    np.testing.assert_allclose(h, h.T, rtol=1e-11)


def test_float32_stays_float32():
    hx, hy = adj.hvp(lambda x, y: np.sum(x * x) * y, (np.array([1.0, 2.0], np.float32), 3.0), (np.ones(2), 1.0))
    assert hx.dtype == np.float32 and type(hy) is float
    assert hx == pytest.approx([8.0, 10.0], rel=1e-6) and hy == pytest.approx(6.0, rel=1e-6)


def test_hessian_products_that_are_wrong():
    with pytest.raises(StructureError, match=r"Got f8\[:\] from each, but expected one number"):

        def each(x):
            return x * x

        adj.hvp(each, (X,), (X,))
    with pytest.raises(StructureError, match="Got 1 tangents, but expected one for each of 2"):
        adj.hvp(weigh, (X, Q), (X,))
    with pytest.raises(StructureError, match=r"the tangent of x of shape \(3,\), but expected shape \(2,\)"):
        adj.hvp(weigh, (X, Q), (np.ones(3), None))
    with pytest.raises(StructureError, match="the tangent of p as a float, but expected the structure"):
        adj.hvp(weigh, (X, Q), (None, 1.0))
    with pytest.raises(StructureError, match="the tangent of x of dtype complex128"):
        adj.hvp(weigh, (X, Q), (np.ones(2) * 1j, None))
    with pytest.raises(StructureError, match="Got tangents as a ndarray"):
        adj.hvp(weigh, (X, Q), X)
    with pytest.raises(ArgumentError, match="Got wrt=2, but weigh was called with 2 arguments"):
        adj.hvp(weigh, (X, Q), (None, None), wrt=2)
    with pytest.raises(ArgumentError, match="Got wrt='x'"):
        adj.hvp(weigh, (X, Q), (None, None), wrt="x")
    with pytest.raises(StructureError, match="n is i8, without a float: its product would be None"):
        adj.hvp(lambda x, n: x**n, (2.0, 3), (1.0, None), wrt=1)
    assert adj.hvp(lambda x, n: x**n, (2.0, 3), (1.0, None)) == (12.0, None)


# --------------------------------------------------------------------------------------------------------------- Jacobians
def waves(x, c):
    out = np.empty((2, len(x)))
    for i in range(len(x)):
        out[0, i] = math.sin(x[i] * c) + x[0]
        out[1, i] = x[i] * x[len(x) - 1 - i]
    return out


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_the_jacobian_of_an_array_by_an_array(mode):
    x, c = np.array([0.3, -0.4, 1.1]), 0.7
    before = x.copy()
    jacobian = adj.jacobian(waves, mode=mode)(x, c)
    expected = np.zeros((2, 3, 3))
    for i in range(3):
        expected[0, i, i] += np.cos(x[i] * c) * c
        expected[0, i, 0] += 1.0
        expected[1, i, i] += x[2 - i]
        expected[1, i, 2 - i] += x[i]
    assert jacobian.shape == (2, 3, 3)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-14, atol=1e-15)
    by_x, by_c = adj.jacobian(waves, wrt=(0, 1), mode=mode)(x, c)
    np.testing.assert_array_equal(by_x, jacobian)
    assert by_c.shape == (2, 3)
    np.testing.assert_allclose(by_c, [np.cos(x * c) * x, np.zeros(3)], rtol=1e-14)
    assert np.array_equal(x, before)


def both(x, p):
    return (np.sum(x) * p.a, x * p.w), p.k


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_the_jacobian_of_structures(mode):
    (by_total, by_array), by_count = adj.jacobian(both, wrt=1, mode=mode)(X, Q)
    assert by_count is None
    assert isinstance(by_total, P) and type(by_total.a) is float and by_total.k is None
    assert by_total.a == pytest.approx(X.sum()) and by_total.w.tolist() == [0.0, 0.0]
    assert by_array.a.tolist() == [0.0, 0.0] and by_array.w.tolist() == np.diag(X).tolist() and by_array.k is None
    (by_total, by_array), by_count = adj.jacobian(both, mode=mode)(X, Q)
    assert by_total.tolist() == [1.5, 1.5] and by_array.tolist() == np.diag(Q.w).tolist() and by_count is None


def test_the_jacobian_of_numbers():
    assert adj.jacobian(lambda x: x**3)(2.0) == 12.0
    assert type(adj.jacobian(lambda x: x**3)(2.0)) is float
    assert adj.jacobian(lambda x: np.sum(x * x))(X).tolist() == (2 * X).tolist()
    found = adj.jacobian(lambda x: x * x)(np.array([1.0, 3.0], np.float32))
    assert found.dtype == np.float32 and found.tolist() == [[2.0, 0.0], [0.0, 6.0]]
    assert adj.jacobian(lambda x: x * x)(np.empty(0)).shape == (0, 0)
    assert adj.jacobian(weigh).__name__ == "jacobian(weigh)"


def recorded(x, c):
    """A recurrence whose values are recorded, and values that are read after it."""
    u = np.zeros_like(x)
    w = x * c
    s = c
    for i in range(len(x)):
        s = 0.5 * s * s + math.sin(w[i] * s)
        u[i] = s
    v = np.empty_like(x)
    for i in range(len(u)):
        v[i] = w[i] * u[i] * u[i]
    return u, v


def rerun(x, c):
    """A loop in time whose way back restores snapshots, and then uses the tape for an iteration at a time."""
    u = x * 1.0
    w = x * c
    for n in range(5):
        old = u.copy()
        for m in range(3):
            for i in range(1, len(u) - 1):
                u[i] = u[i] + c * old[i] * u[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
            for i in range(len(u)):
                w[i] = w[i] * 0.5 + math.sin(u[i] * w[i] * old[i]) * u[i] * old[i]
    for i in range(len(u)):
        w[i] = w[i] * u[i] * u[i]
    return u, w


def branched(x, c):
    """What is restored on the way back is made in a branch: there the recording is run for each cotangent."""
    out, w = x * c, x * 0.5
    if c > 0.0:
        u = x * 2.0
        for n in range(4):
            old = u.copy()
            for m in range(3):
                for i in range(1, len(u) - 1):
                    u[i] = u[i] + 0.05 * c * old[i] * u[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
                for i in range(len(u)):
                    out[i] = out[i] * 0.5 + math.sin(u[i] * out[i] * old[i]) * u[i] * old[i]
        for i in range(len(u)):
            out[i] = out[i] * u[i]
    return out, w


@pytest.mark.parametrize("f", [recorded, rerun, branched])
def test_rows_are_pullbacks_bit_for_bit(f):
    """And the recording runs once."""
    x, c = np.array([0.3, 0.5, 0.1, 0.9, 0.2]), 0.3
    (ju, jw), (cu, cw) = adj.jacobian(f, wrt=(0, 1), mode="reverse")(x, c)
    _, pullback = adj.vjp(f, x, c)
    for k, (row, number, bars) in enumerate([(ju, cu, lambda e: (e, None)), (jw, cw, lambda e: (None, e))]):
        for i, unit in enumerate(np.eye(5)):
            x_bar, c_bar = pullback(bars(unit))
            assert np.array_equal(row[i], x_bar) and number[i] == c_bar, (k, i)
    by_columns = adj.jacobian(f, wrt=(0, 1), mode="forward")(x, c)
    for ours, theirs in zip(((ju, jw), (cu, cw)), by_columns, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    kernel = api.function_kernel(f, [adj.leaves.spec_of(a, "a") for a in (x, c)])._vjp_in_lanes
    assert (kernel is None) == (f is branched)
    if kernel is None:
        return
    text = kernel.text
    before, after = text.split("for lane in range(")
    assert ("_kept" in before) == (f is rerun)
    if f is recorded:
        assert "math.sin(" in before and not any("math.sin(" in line.split("#")[0] for line in after.splitlines())


def test_jacobians_that_are_wrong():
    with pytest.raises(ArgumentError, match="Got mode='both', but expected 'auto', 'forward' or 'reverse'"):
        adj.jacobian(waves, mode="both")
    with pytest.raises(ArgumentError, match="Got wrt='x'"):
        adj.jacobian(waves, wrt="x")
    with pytest.raises(ArgumentError, match="Got wrt=5, but waves was called with 2 arguments"):
        adj.jacobian(waves, wrt=5)(X, 1.0)
    with pytest.raises(StructureError, match="n is i8, without a float: its Jacobian would be None"):
        adj.jacobian(lambda x, n: x * n, wrt=1)(X, 3)
    with pytest.raises(StructureError, match="without a float: its Jacobian would be None"):
        adj.jacobian(lambda x: x.size)(X)
