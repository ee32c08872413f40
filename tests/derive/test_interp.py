"""The interpreter against the Python that its programs mean; on complex numbers and mpmath's too."""

from __future__ import annotations

import copy
import math

import mpmath
import numpy as np
import pytest

from adjointsim.derive.interp import NeedMore, StepRaised, evaluate, run
from adjointsim.derive.ir import Alloc, Const, Fn, Load, Var

from .programs import PROGRAMS, U, W, X, array, c, f, i, let, load, store

ALL = pytest.mark.parametrize("name", PROGRAMS)


def raised(args, number):
    """Arguments as complex numbers or exact ones."""
    out = []
    for a in args:
        if isinstance(a, np.ndarray) and a.dtype.kind == "f":
            a = a.astype(complex) if number is complex else np.array([number(v) for v in a.flat], object).reshape(a.shape)
        elif isinstance(a, float):
            a = number(a)
        out.append(a)
    return out


@ALL
def test_value(name):
    p = PROGRAMS[name]
    ours, theirs = p.args(), p.args()
    results = run(p.fns, p.name, ours, poison=True)
    expected = p.reference(*theirs)
    np.testing.assert_allclose(results, expected, rtol=1e-15)
    assert all(isinstance(e, type(r)) for r, e in zip(results, expected))
    for a, e in zip(ours, theirs):
        np.testing.assert_allclose(a, e, rtol=1e-15)


@ALL
@pytest.mark.parametrize("number", [complex, mpmath.mpf])
def test_other_numbers(name, number):
    """A real program on complex numbers and on mpmath's gives the same values."""
    p = PROGRAMS[name]
    plain, lifted = p.args(), raised(p.args(), number)
    expected = run(p.fns, p.name, plain)
    results = run(p.fns, p.name, lifted, number=number)
    for a, e in zip([*results, *lifted], [*expected, *plain]):
        if isinstance(a, np.ndarray):
            assert a.dtype == (e.dtype if e.dtype.kind == "i" else complex if number is complex else object)
            a = np.array([complex(v) for v in a.flat]).reshape(a.shape)
        np.testing.assert_allclose(complex(a) if np.ndim(a) == 0 else a, e, rtol=1e-14)


def test_exact_numbers_are_exact_from_the_first_operation_on():
    fn = Fn("third", (), (let(X, "div", c(1.0), c(3.0)),), (X,))
    with mpmath.workdps(50):
        (x,) = run({"third": fn}, "third", [], number=mpmath.mpf)
        assert abs(x - mpmath.mpf(1) / 3) < mpmath.mpf(10) ** -49


def test_the_complex_step_decides_by_the_real_part():
    h = 1e-40j
    assert evaluate("lt", [1.0 + h, 1.0], "b1") is False
    assert evaluate("max2", [2.0 + h, 2.0]) == 2.0 + h
    assert evaluate("abs", [-2.0 + h]) == 2.0 - h
    assert evaluate("abs", [0.0 + h]) == 0.0
    assert evaluate("floor", [2.5 + h]) == 2.0
    assert evaluate("cast", [2.5 + h], "i8") == 2
    assert evaluate("mulz", [h, 2.0]) == 2 * h
    assert evaluate("mulz", [0j, math.inf]) == 0
    assert evaluate("pow", [-2.0 + h, 3.0]).imag == pytest.approx(12e-40, rel=1e-15)
    assert evaluate("atan2", [-1.0 + h, -2.0]).imag == pytest.approx(-0.4e-40, rel=1e-14)
    assert evaluate("lgamma", [-2.5 + h]).imag == pytest.approx(float(mpmath.digamma(-2.5)) * 1e-40, rel=1e-14)
    assert math.isnan(evaluate("log", [-1.0 + h]).real)  # as on floats, not on the other branch


@pytest.mark.parametrize(
    ("op", "args", "dt", "value"),
    [
        ("add", [2**63 - 1, 1], "i8", -(2**63)), ("mul", [2**40, 2**40], "i8", 0), ("sub", [0, 1], "u8", 2**64 - 1),
        ("cast", [2**31], "i4", -(2**31)), ("floordiv", [-7, 2], "i8", -4), ("mod", [-7, 2], "i8", 1), ("mod", [7, 0], "i8", 0),
        ("pow", [2, -1], "i8", 0), ("powi", [-3, 3], "i8", -27), ("lshift", [1, 63], "i8", -(2**63)), ("round_", [2.5], "i8", 2),
        ("div", [1.0, 0.0], "f8", math.inf), ("div", [0, 0], "f8", math.nan), ("floordiv", [1.0, 0.0], "f8", math.inf),
        ("mod", [1.0, 0.0], "f8", math.nan), ("sqrt", [-1.0], "f8", math.nan), ("log", [0.0], "f8", -math.inf),
        ("exp", [1000.0], "f8", math.inf), ("add", [1.0, 2.0**-30], "f4", 1.0), ("select", [True, 1.0, math.nan], "f8", 1.0),
    ],
)  # fmt: skip
def test_arithmetic_is_the_machines(op, args, dt, value):
    np.testing.assert_equal(evaluate(op, args, dt), value)


def test_poison():
    fn = Fn("stale", (i("n"),), (Alloc(W, (i("n"),)), load(X, W, c(0))), (X,))
    assert run({"stale": fn}, "stale", [2]) == (0.0,)
    assert math.isnan(run({"stale": fn}, "stale", [2], poison=True)[0])
    indices = array("k", dt="i8", role="local")
    fn = Fn("stale", (i("n"),), (Alloc(indices, (i("n"),)), load(i("k0"), indices, c(0))), (i("k0"),))
    assert run({"stale": fn}, "stale", [2], poison=True) == (2**63 - 1,)


def test_exceptions():
    p = PROGRAMS["raise"]
    with pytest.raises(StepRaised, match="site 7") as caught:
        run(p.fns, p.name, [1.5])
    assert caught.value.site == 7
    p = PROGRAMS["adjoint"]
    with pytest.raises(NeedMore, match="tape needs 5 cells") as need:
        run(p.fns, p.name, [0.8, 5, np.zeros(4), np.zeros(1)])
    assert (need.value.base, need.value.size) == ("tape", 5)


def test_negative_indices_wrap_only_where_they_may():
    u = np.array([1.0, 2.0])
    fn = Fn("last", (U, i("k")), (Load(X, U, (i("k"),), "maybe"),), (X,))
    assert run({"last": fn}, "last", [u, -1]) == (2.0,)
    with pytest.raises(IndexError):
        run({"last": fn}, "last", [u, 2])
    fn = Fn("last", (U, i("k")), (Load(X, U, (i("k"),), "never"),), (X,))
    with pytest.raises(IndexError, match="a negative index where none was expected"):
        run({"last": fn}, "last", [u, -1])


def test_arguments_are_checked():
    p = PROGRAMS["carry"]
    with pytest.raises(TypeError, match="horner takes 2 arguments, got 1"):
        run(p.fns, p.name, [1.0])
    with pytest.raises(TypeError, match="horner: a has rank 1, got an array of rank 2"):
        run(p.fns, p.name, [1.0, np.zeros((2, 2))])


def test_float32_rounds_at_every_operation():
    x, y = f("x", "f4"), f("y", "f4")
    v = array("v", dt="f4")
    fn = Fn("single", (v,), (load(x, v, c(0)), let(y, "mul", x, Const(0.1, "f4")), store(v, (c(0),), y)), (y,))
    given = np.array([3.3], np.float32)
    expected = np.float32(3.3) * np.float32(0.1)
    given_copy = copy.copy(given)
    assert run({"single": fn}, "single", [given_copy]) == (float(expected),)
    assert given_copy[0] == expected and given_copy.dtype == np.float32


def test_numpy_scalars_are_arguments_too():
    fn = Fn("same", (X, i("k")), (let(Var("y", "f8"), "mul", X, i("k")),), (Var("y", "f8"),))
    assert run({"same": fn}, "same", [np.float64(1.5), np.int64(2)]) == (3.0,)
