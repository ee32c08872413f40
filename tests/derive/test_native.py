"""What runs is built from the IR, and the text that people read is written from it: both must be the same function."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from corpus import CASES

import adjointsim as adj
from adjointsim.derive.api import Compiled
from adjointsim.derive.emit import HEADER
from adjointsim.derive.ir import Base, Call, Fn, Var
from adjointsim.derive.module import load_module
from adjointsim.derive.native import Program

from .harness import Derived

SAMPLE = [c for k, c in enumerate(CASES) if k % 40 == 7 or c.name.startswith("made.")][:30]


@pytest.mark.parametrize("case", SAMPLE, ids=[c.name for c in SAMPLE])
def test_text_and_what_runs_agree(case):
    """The derived text, compiled by Numba, gives the bits of what runs."""
    kernel = Derived(case.fn, case.args).compiled
    compiled: Compiled = kernel._vjp
    leaves = Derived(case.fn, case.args).leaves
    bars = Derived(case.fn, case.args).bars
    ours = kernel.vjp(leaves, bars)
    written = getattr(load_module(HEADER + "\n\n" + compiled.text), compiled.kernel.fn.name)
    vars(compiled)["function"] = written
    theirs = kernel.vjp(leaves, bars)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14 * np.abs(b).max(initial=1.0))


def large(x, n):
    s = x
    for _ in range(2):
        s = s * 2.0
    a = np.empty(n * int(s))  # a length that is known only while it runs
    a[0] = 1.0
    a[int(x)] = x
    return a[int(x)] * x * a[0]


def test_memory_that_there_is_not():
    with pytest.raises(MemoryError, match="inside of a step"):
        adj.value_and_grad(large)(3.0, 1 << 58)
    assert adj.value_and_grad(large)(3.0, 4) == (9.0, 6.0)


def many(x, n, k):
    s = x
    for i in range(k):
        a = np.zeros(n + i + int(x * 0.0))
        a[i] = s
        s = 0.5 * a[i] * a[i]
    return s


def test_memory_of_arrays_in_loops_is_given_back():
    f = adj.value_and_grad(many)
    first = f(1.0, 10, 3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200):
        assert f(1.0, 1 << 20, 3) == first
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, f"{grown} kB: each array has 8 MB"


def divided(x, n, k, y):
    """Divisions that are written where the divisor is not zero, but do not depend on the loop, or on what stands before."""
    s = x
    for _ in range(k):
        s = s * x + n // k + n % k + x // y + x % y
    if k != 0 and n // k > 1:
        s = s * x
    return s


def test_divisions_that_are_not_needed_raise_nothing():
    assert adj.value_and_grad(divided)(3.0, 5, 0, 0.0) == (3.0, 1.0)
    step = 2.0**-12
    slope = (divided(3.0 + step, 5, 2, 2.0) - divided(3.0 - step, 5, 2, 2.0)) / (2.0 * step)
    value, gradient = adj.value_and_grad(divided)(3.0, 5, 2, 2.0)
    assert value == divided(3.0, 5, 2, 2.0) and gradient == pytest.approx(slope, rel=1e-5)


def test_a_number_and_an_array_that_are_only_handed_on():
    """Their text is the same, what is built is not."""
    made = [
        Program.of(Fn("f", (p,), (Call("g", (p,), (), 0, "primal"),), ()), (), "def f(x):\n    g(x)", False)
        for p in (Var("x", "f8"), Base("x", "f8", 1, "in"), Base("x", "f8", 2, "in"), Var("x", "f8"))
    ]
    assert len({program.key for program in made}) == 3 and made[0].key == made[3].key
