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

COMPILED = CASES[::20]
LEVELS = pytest.mark.parametrize("level", [0, 1])


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.name)


def same_bits(a: Bars, b: Bars) -> bool:
    return all(x is y if x is None or y is None else x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@each(CASES)
def test_interpreted(case):
    derived = Derived(case.fn, case.args)
    bars = derived.cotangents()
    theirs = derived.reference(bars)
    found = []
    for level in (0, 1):
        primal, vjp = derived.primal(level), derived.vjp(level)
        for kernel in (primal, vjp):
            for fn in functions(kernel).values():
                verify(fn, functions(kernel))
        leaves = derived.leaves
        assert_close(derived.run_primal(primal, leaves), derived.expected, derived.single)
        ours = derived.run_vjp(vjp, leaves, bars)
        assert_close(ours, theirs, derived.single)
        assert [b is None for b in ours] == [leaf.dtype.kind != "f" for leaf in leaves], "None exactly for inert leaves"
        assert same_bits(leaves, derived.leaves), "the inputs are left alone"
        assert same_bits(ours, derived.run_vjp(vjp, leaves, bars)), "twice the same bits"
        zeros = derived.run_vjp(vjp, leaves, [np.zeros_like(b) for b in bars])
        assert all(b is None or not b.any() for b in zeros), "no cotangent in, none out"
        found.append(ours)
    assert_close(found[1], found[0], derived.single)


@each([c for c in CASES if len(Derived(c.fn, c.args).leaves) > 1])
def test_some_leaves_active(case):
    """The cotangents of the active leaves do not depend on which other leaves are active."""
    derived = Derived(case.fn, case.args)
    bars = derived.cotangents()
    theirs = derived.reference(bars)
    for first in (0, 1):
        vjp = derived.vjp(1, derived.active[first::2])
        on = [path in derived.active[first::2] for path, _ in derived.entry.leaves]
        wanted = [bar if wanted else None for bar, wanted in zip(theirs, on, strict=True)]
        assert_close(derived.run_vjp(vjp, derived.leaves, bars), wanted, derived.single)


@each([c for c in CASES if "singular" not in c.tags])  # there a tangent is infinite before it meets its factor 0
def test_tangent(case):
    derived = Derived(case.fn, case.args)
    dots = derived.tangents()
    assert_close(derived.run_jvp(derived.leaves, dots), derived.reference_tangents(dots), derived.single)


def check_compiled(case: Case) -> None:
    derived = Derived(case.fn, case.args)
    kernel, leaves, bars = derived.compiled, derived.leaves, derived.cotangents()
    assert_close(kernel.value(leaves), derived.expected, derived.single)
    given = [b.copy() for b in bars]
    ours = kernel.vjp(leaves, given)
    assert_close(ours, derived.reference(bars), derived.single)
    assert same_bits(leaves, derived.leaves) and same_bits(given, bars), "arguments and cotangents are left alone"
    assert same_bits(ours, kernel.vjp(leaves, given)), "twice the same bits"
    zeros = kernel.vjp(leaves, [np.zeros_like(b) for b in bars])
    assert all(b is None or not b.any() for b in zeros)


@each(COMPILED)
def test_compiled(case):
    check_compiled(case)


@pytest.mark.heavy
@each([c for c in CASES if c not in COMPILED] if os.environ.get("CORPUS") == "all" else [])
def test_all_compiled(case):
    check_compiled(case)
