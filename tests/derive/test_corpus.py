"""Every case of the corpus through the deriver, against Python and the reference.

The interpreter runs all of them, at level 0 (everything recorded) and at level 1.  Compiling takes half a second a kernel, so
a sample is compiled; ``CORPUS=all`` compiles everything.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from corpus import CASES, Case

from adjointsim.derive.verify import verify

from .harness import Bars, Derived, assert_close, functions

COMPILED = CASES[::24]
DERIVED = {c.name: Derived(c.fn, c.args) for c in CASES}


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.name)


def same_bits(a: Bars, b: Bars) -> bool:
    return all(x is y if x is None or y is None else x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def all_zero(bars: Bars) -> bool:
    return all(b is None or not b.any() for b in bars)


@each(CASES)
def test_interpreted(case):
    derived = DERIVED[case.name]
    bars, theirs = derived.bars, derived.reference_bars
    found = []
    for level in (0, 1):
        primal, vjp = derived.primal(level), derived.vjp(level)
        for kernel in (primal, vjp):
            for fn in functions(kernel).values():
                verify(fn, functions(kernel))
        leaves = derived.leaves
        assert_close(derived.run_primal(primal, leaves), derived.expected, derived.single)
        found.append(derived.run_vjp(vjp, leaves, bars))
        assert_close(found[level], theirs, derived.single)
        assert same_bits(leaves, derived.leaves), "the inputs are left alone"
    assert_close(found[1], found[0], derived.single)
    kept = derived.run_kept(bars)
    if kept is not None:
        assert_close(kept, found[1], derived.single)
    assert [b is None for b in found[1]] == [leaf.dtype.kind != "f" for leaf in leaves], "None exactly for inert leaves"
    assert same_bits(found[1], derived.run_vjp(vjp, leaves, bars)), "twice the same bits"
    assert all_zero(derived.run_vjp(vjp, leaves, [np.zeros_like(b) for b in bars])), "no cotangent in, none out"


@each([c for c in CASES if len(DERIVED[c.name].leaves) > 1])
def test_some_leaves_active(case):
    """The cotangents of the active leaves do not depend on which other leaves are active."""
    derived = DERIVED[case.name]
    for first in (0, 1):
        active = derived.active[first::2]
        ours = derived.run_vjp(derived.vjp(1, active), derived.leaves, derived.bars)
        wanted = zip(derived.entry.leaves, derived.reference_bars, strict=True)
        assert_close(ours, [bar if path in active else None for (path, _), bar in wanted], derived.single)


@each([c for c in CASES if "singular" not in c.tags])  # there a tangent is infinite before it meets its factor 0
def test_tangent(case):
    derived = DERIVED[case.name]
    assert_close(derived.run_jvp(derived.leaves, derived.dots), derived.reference_dots, derived.single)


def check_compiled(case: Case) -> None:
    derived = DERIVED[case.name]
    kernel, leaves, bars = derived.compiled, derived.leaves, derived.bars
    assert_close(kernel.value(leaves), derived.expected, derived.single)
    given = [b.copy() for b in bars]
    ours = kernel.vjp(leaves, given)
    assert_close(ours, derived.reference_bars, derived.single)
    assert same_bits(leaves, derived.leaves) and same_bits(given, bars), "arguments and cotangents are left alone"
    assert same_bits(ours, kernel.vjp(leaves, given)), "twice the same bits"
    assert all_zero(kernel.vjp(leaves, [np.zeros_like(b) for b in bars])), "no cotangent in, none out"


@each(COMPILED)
def test_compiled(case):
    check_compiled(case)


@pytest.mark.heavy
@pytest.mark.skipif(os.environ.get("CORPUS") != "all", reason="takes minutes: CORPUS=all")
@each([c for c in CASES if c not in COMPILED])
def test_all_compiled(case):
    check_compiled(case)
