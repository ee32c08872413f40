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
from layouts import arrays_of, laid_out, memory_of
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
JITTED = [c for c in (CASES if EVERYTHING else CASES[3::24]) if c.tags.isdisjoint({"plain", "overlap"})]

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
    return [np.asarray(value)]


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
        assert b is None or (b.shape == x.shape and b.dtype == x.dtype.newbyteorder("="))
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
    assert kernel_of(f.__globals__["target"], DERIVED[case.name].specs, role="function") is DERIVED[case.name].compiled
    for ours, theirs in zip(verbs(case, f, case.args, *pieces(case)), plainly(case.name), strict=True):
        assert_close(ours, theirs, DERIVED[case.name].single)
