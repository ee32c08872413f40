"""The corpus as callers use it: through the public verbs, on arrays in any memory layout, under ``jit``, from other functions.

Everything runs interpreted (``interpreter`` stands for compiled code); a sample is compiled, and ``CORPUS=all`` compiles all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
import pytest
from corpus import CASES, Case, tagged
from layouts import LAYOUTS, arrays_of, laid_out, memory_of
from strategies import load

import adjointsim as adj
from adjointsim.derive import api
from adjointsim.derive.spec import Spec, TupleSpec, differentiable, leaves_of
from adjointsim.kernels import kernel_of
from adjointsim.leaves import unflatten, unflatten_bar

from .harness import Bars, assert_close, interpreter
from .test_corpus import COMPILED, DERIVED, each, same_bits

EVERYTHING = os.environ.get("CORPUS") == "all"
PLACE = {c.name: k for k, c in enumerate(CASES)}
#: Numba compiles these with what calls them: half a second a case and more
JITTED = [c for c in (CASES if EVERYTHING else CASES[3::20]) if c.tags.isdisjoint({"plain", "overlap"})]

pytestmark = pytest.mark.filterwarnings("ignore::adjointsim.errors.OverlapWarning")  # has a test of its own


@pytest.fixture
def interpreted(monkeypatch):
    """The public verbs run kernels in the interpreter."""
    monkeypatch.setattr(api.Compiled, "function", property(lambda self: interpreter(self.kernel)))


def pieces(case: Case) -> tuple[Any, ...]:
    """A cotangent of the result, and tangents of the arguments."""
    derived = DERIVED[case.name]
    dots = iter([None if d is None else d.copy() for d in derived.dots])
    bar = unflatten(derived.entry.result_spec, [b.copy() for b in derived.bars])
    return bar, tuple(unflatten_bar(spec, [next(dots) for _ in leaves_of(spec)]) for spec in derived.specs)


def leaves_in(value: Any, spec: Spec) -> Bars:
    """The leaves of a value, or of cotangents, as they are."""
    if value is None:
        return [None for _ in leaves_of(spec)]
    if isinstance(spec, TupleSpec):
        return [leaf for item, sub in zip(value, spec.items, strict=True) for leaf in leaves_in(item, sub)]
    return [np.atleast_1d(value)]


def verbs(case: Case, f: Callable[..., Any], args: tuple, bar: Any, dots: tuple) -> list[Bars]:
    """Value, cotangents and tangents of the value, by the verbs."""
    out, taken = DERIVED[case.name].entry.result_spec, TupleSpec(tuple(DERIVED[case.name].specs))
    given = args, bar, dots
    before = memory_of(given)
    value, pullback = adj.vjp(f, *args)
    bars = pullback(bar)
    again, value_dot = adj.jvp(f, args, dots)
    found = [leaves_in(value, out), leaves_in(bars, taken), leaves_in(value_dot, out)]
    assert same_bits(found[0], leaves_in(again, out))
    for x, b in zip(leaves_in(args, taken), found[1], strict=True):
        assert b is None or (b.shape == x.shape and b.dtype == x.dtype.newbyteorder("=")), "as what it belongs to, in C order"
    if isinstance(value, (float, np.floating)):
        floats = tuple(k for k, spec in enumerate(taken.items) if any(map(differentiable, leaves_of(spec))))
        same, gradient = adj.value_and_grad(f, floats)(*args)
        ones = pullback(1.0)
        assert same == value
        for k, g in zip(floats, gradient, strict=True):
            assert same_bits(leaves_in(g, taken.items[k]), leaves_in(ones[k], taken.items[k]))
    results = arrays_of((value, bars, again, value_dot))
    assert all(a.flags.carray and a.dtype.isnative and type(a) is np.ndarray for a in results)
    assert not any(np.may_share_memory(a, b) for a in results for b in arrays_of(given)), "results are the caller's own"
    assert memory_of(given) == before, "nothing given is modified, nor what lies between its elements"
    return found


@cache
def plainly(name: str) -> list[Bars]:
    """What the verbs find for contiguous arguments."""
    case = CASES[PLACE[name]]
    return verbs(case, case.fn, case.args, *pieces(case))


def laid_out_alike(case: Case) -> list[Bars]:
    """What they find for the same numbers in other layouts."""
    first = PLACE[case.name]
    bar, dots = pieces(case)
    return verbs(case, case.fn, laid_out(case.args, first), laid_out(bar, first + 1), laid_out(dots, first + 2))


def assert_same_bits(ours: list[Bars], theirs: list[Bars]) -> None:
    assert all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))


# ------------------------------------------------------------------------------------------------------ layouts of arrays
@each([c for c in CASES if arrays_of(c.args)])
def test_layouts(case, interpreted):
    assert_same_bits(laid_out_alike(case), plainly(case.name))


def bytes_of(value: Any) -> list[bytes]:
    """All numbers of a structure."""
    return [b for item in value for b in bytes_of(item)] if isinstance(value, tuple) else [np.asarray(value).tobytes()]


def step_verbs(case: Case, first: int | None) -> list[bytes]:
    """What a step's verbs give for its state and parameters; in other layouts, beginning with the ``first``."""
    step, (n, *given) = adj.step(case.fn), case.args
    bar, dots = pieces(case)
    given += [bar, *dots[1:]]
    if first is not None:
        given = [laid_out(x, first + k) for k, x in enumerate(given)]
    before = memory_of(tuple(given))
    y, p, bar, y_dot, p_dot = given
    found = (step(n, y, p), step.vjp(n, y, p, bar), step.jvp(n, y, p, y_dot, p_dot))
    assert all(a.flags.carray and a.dtype.isnative for a in arrays_of(found))
    assert not any(np.may_share_memory(a, b) for a in arrays_of(found) for b in arrays_of(tuple(given)))
    assert memory_of(tuple(given)) == before
    return bytes_of(found)


@each([c for c in tagged("step") if arrays_of(c.args)])
def test_layouts_of_steps(case, interpreted):
    assert step_verbs(case, PLACE[case.name]) == step_verbs(case, None)


TABLE = np.array([[0.3, 0.4, 0.5], [0.6, -0.7, 0.9]])
PHASES = np.array([0.3 + 0.4j, -0.2j, 0.5 + 0j])
CAPTURING = """
import numpy as np

def f(x):
    return np.sum((TABLE @ x) ** 2 * TABLE[:, 1]) + np.sum(np.abs(PHASES * x) ** 2)
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_captured_arrays(layout, interpreted):
    f, x = load(CAPTURING), np.array([0.1, -0.2, 0.3])
    f.__globals__.update(TABLE=LAYOUTS[layout](TABLE), PHASES=LAYOUTS[layout](PHASES))
    value, gradient = adj.value_and_grad(f)(x)
    rows = TABLE @ x
    assert value == pytest.approx(np.sum(rows**2 * TABLE[:, 1]) + np.sum(np.abs(PHASES) ** 2 * x**2), rel=1e-14)
    np.testing.assert_allclose(gradient, 2.0 * (rows * TABLE[:, 1]) @ TABLE + 2.0 * np.abs(PHASES) ** 2 * x, rtol=1e-13)


# ---------------------------------------------------------------------------------------------------------- jit, and calls
CALLER = """\
def f({args}):
    return target({args})
"""


def caller(case: Case) -> Callable[..., Any]:
    """A function that calls the case's function, which is @njit."""
    f = load(CALLER.format(args=", ".join(f"x{k}" for k in range(len(case.args)))))
    f.__globals__["target"] = numba.njit(error_model="numpy")(case.fn)
    return f


@each(CASES)
def test_callers(case, interpreted):
    f = caller(case)
    derived, jitted = DERIVED[case.name], f.__globals__["target"]
    one, other = (kernel_of(fn, derived.specs, role="function") for fn in (jitted, derived.plain))
    assert one is other
    for ours, theirs in zip(verbs(case, f, case.args, *pieces(case)), plainly(case.name), strict=True):
        assert_close(ours, theirs, DERIVED[case.name].single)


# -------------------------------------------------------------------------------------------------------------- compiled
def check_layouts_compiled(case: Case) -> None:
    derived = DERIVED[case.name]
    value, bars, value_dot = laid_out_alike(case)
    assert_close(value, derived.expected, derived.single)
    assert_close(bars, derived.reference_bars, derived.single)
    if "singular" not in case.tags:  # there a tangent is infinite before it meets its factor 0
        assert_close(value_dot, derived.reference_dots, derived.single)


@each([c for c in COMPILED if arrays_of(c.args)])
def test_layouts_compiled(case):
    check_layouts_compiled(case)


@pytest.mark.heavy
@pytest.mark.skipif(not EVERYTHING, reason="takes minutes: CORPUS=all")
@each([c for c in CASES if arrays_of(c.args) and c not in COMPILED])
def test_all_layouts_compiled(case):
    check_layouts_compiled(case)


@each(JITTED)
def test_callers_compiled(case):
    """The caller under ``jit``, too: what Numba makes of it returns what Python does, and what is derived from it."""
    derived, f = DERIVED[case.name], numba.njit(error_model="numpy")(caller(case))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", numba.NumbaPerformanceWarning)  # products of views: slow, and right
        theirs = f(*case.fresh_args())
    value, pullback = adj.vjp(f, *case.args)
    out = derived.entry.result_spec
    for found in (theirs, value):
        assert_close(leaves_in(found, out), derived.expected, derived.single)
    bars = pullback(pieces(case)[0])
    assert_close(leaves_in(bars, TupleSpec(tuple(derived.specs))), derived.reference_bars, derived.single)
