"""The tangent of the adjoint, for every case of the corpus, against the complex step of the adjoint; and the adjoint of many
cotangents against as many adjoints.  All interpreted."""

from __future__ import annotations

import loopnests
import numpy as np
import pytest
from corpus import CASES
from hypothesis import given, settings
from strategies import load, programs

from adjointsim.derive.kernel import vjp_kernel
from adjointsim.derive.verify import verify
from adjointsim.errors import UnsupportedError

from .harness import Derived, functions
from .test_corpus import DERIVED, all_zero, each, same_bits
from .test_random_programs import QUICK


def assert_near(ours, theirs, single):
    """Equal to 1e-11, relatively or (where sums cancel) to the largest of the leaf; float32 to 2e-5."""
    tolerance = 2e-5 if single else 1e-11
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a is None or b is None:
            assert a is None and b is None, f"leaf {k}"
            continue
        finite = np.abs(b[np.isfinite(b)])
        scale = max(1.0, finite.max()) if finite.size else 1.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=f"leaf {k}")


#: where the policy at a kink is not what a complex step finds
KINKS = {"scalars.power_without_log[negative-base]", "hazards.hypotenuse_at_the_origin", "adversarial.norm_with_a_guard[zero]"}


# (a "singular" coefficient is infinite, and not a number in complex arithmetic)
@each([c for c in CASES if "singular" not in c.tags and c.name not in KINKS])
def test_tangent_of_the_adjoint(case):
    check_second(DERIVED[case.name])


def check_second(derived):
    second = derived.second()
    fns = functions(second.kernel)
    for fn in fns.values():
        verify(fn, fns, linear=[p.name for p in fn.params if p.name.split(".")[0].endswith("_dot")])
    leaves = derived.leaves
    bars, dots = derived.run_second(second.kernel, leaves)
    assert same_bits(leaves, derived.leaves), "the inputs are left alone"
    assert_near(bars, derived.reference_bars, derived.single)
    assert_near(dots, derived.complex_step(), derived.single)
    assert [b is None for b in dots] == [leaf.dtype.kind != "f" for leaf in leaves], "None exactly for inert leaves"


@each([c for c in CASES[5::60] if "singular" not in c.tags and c.name not in KINKS])
def test_compiled(case):
    derived = DERIVED[case.name]
    leaves, dots = derived.leaves, derived.dots
    bars, products = derived.compiled.hvp(leaves, dots, derived.bars, derived.bar_dots)
    assert same_bits(leaves, derived.leaves), "the inputs are left alone"
    for ours, theirs in zip((bars, products), derived.run_second(derived.second().kernel, leaves), strict=True):
        assert_near(ours, theirs, derived.single)


@each(CASES)
def test_many_cotangents_through_one_recording(case):
    """Bit for bit what they give one by one."""
    check_lanes(DERIVED[case.name])


def check_lanes(derived):
    lanes = 3
    kernel = vjp_kernel(derived.entry, derived.active, lanes=True)
    fns = functions(kernel)
    for fn in fns.values():
        verify(fn, fns)
    bars = [np.stack([(lane - 1.0) * b.astype(float) for lane in range(lanes)]).astype(b.dtype) for b in derived.bars]
    leaves = derived.leaves
    found = derived.run_vjp(kernel, leaves, bars, lanes=(lanes,))
    assert same_bits(leaves, derived.leaves), "the inputs are left alone"
    single = derived.vjp(1)
    for lane in range(lanes):
        one = derived.run_vjp(single, leaves, [b[lane] for b in bars])
        assert same_bits([None if b is None else b[lane] for b in found], one), lane
    assert all_zero([None if b is None else b[1] for b in found]), "no cotangent in, none out"


# -------------------------------------------------------------------------------------------------------- random programs
@pytest.mark.parametrize("names", [False, True], ids=["loops", "names"])
@pytest.mark.parametrize("seed", range(12))
def test_loop_nests(seed, names):
    program = loopnests.program(seed, names)
    derived = Derived(load(program), program.args)
    try:
        finite = all(np.isfinite(r).all() for r in derived.expected)
    except UnsupportedError:
        assert names, "only arrays with several names may be refused"
        return
    if finite:
        check_second(derived)
        check_lanes(derived)


@settings(QUICK, max_examples=15)
@given(programs())
def test_programs(program):
    derived = Derived(load(program), program.args)
    check_second(derived)
    check_lanes(derived)
