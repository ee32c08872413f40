"""Random programs of the accepted language: derived, interpreted at both levels, and compared with the reference."""

from __future__ import annotations

import os

import cellnests
import loopnests
import numpy as np
import pytest
import rebindings
from hypothesis import HealthCheck, given, settings
from strategies import Program, load, programs

from adjointsim.derive.verify import verify
from adjointsim.errors import UnsupportedError

from .harness import Derived, assert_close, functions

QUICK = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
EVERYTHING = os.environ.get("CORPUS") == "all"


def check(program: Program) -> None:
    derived = Derived(load(program), program.args)
    for level in (0, 1):
        primal, vjp = derived.primal(level), derived.vjp(level)
        for kernel in (primal, vjp):
            for fn in functions(kernel).values():
                verify(fn, functions(kernel))
        assert_close(derived.run_primal(primal, derived.leaves), derived.expected)
        assert_close(derived.run_vjp(vjp, derived.leaves, derived.bars), derived.reference_bars)
    assert_close(derived.run_jvp(derived.leaves, derived.dots), derived.reference_dots)
    kept = derived.run_kept(derived.bars)
    if kept is not None:
        assert_close(kept, derived.reference_bars)


def check_nest(seed: int, names: bool = False) -> None:
    check_finite(loopnests.program(seed, names), names)


def check_finite(program: Program, refusable: bool) -> None:
    """The same, unless values overflow or are so sensitive that rounding tells; only arrays with several names may be
    refused."""
    try:
        derived = Derived(load(program), program.args)
        if not all(np.isfinite(r).all() for r in derived.expected):
            return
        if any(np.abs(b).max(initial=0.0) > 1e30 for b in derived.reference_bars if b is not None):
            return
    except UnsupportedError:
        assert refusable, program.source
        return
    except OverflowError:
        return
    try:
        check(program)
    except Exception as error:
        error.add_note(program.source)
        raise


@settings(QUICK, max_examples=60)
@given(programs())
def test_interpreted(program):
    check(program)


@settings(QUICK, max_examples=3)
@given(programs())
def test_compiled(program):
    derived = Derived(load(program), program.args)
    assert_close(derived.compiled.value(derived.leaves), derived.expected)
    assert_close(derived.compiled.vjp(derived.leaves, derived.bars), derived.reference_bars)


@pytest.mark.parametrize("seed", range(40))
def test_loop_nests(seed):
    check_nest(seed)


@pytest.mark.parametrize("seed", range(60))
def test_names_of_arrays(seed):
    """Refused or right: where a copy stands for an array, nobody can tell."""
    check_nest(seed, names=True)


@pytest.mark.parametrize("seed", range(60))
def test_rebound_names(seed):
    check_finite(rebindings.program(seed), True)


@pytest.mark.parametrize("seed", range(20))
def test_cells(seed):
    check_finite(cellnests.program(seed), False)


@pytest.mark.heavy
@pytest.mark.skipif(not EVERYTHING, reason="takes minutes: CORPUS=all")
def test_many_of_cells_and_names():
    for seed in range(1000, 3000):
        check_finite(rebindings.program(seed), True)
        check_finite(cellnests.program(seed), False)


@pytest.mark.heavy
@pytest.mark.skipif(not EVERYTHING, reason="takes minutes: CORPUS=all")
def test_many_loop_nests():
    for seed in range(1000, 3000):
        check_nest(seed)
        check_nest(seed, names=True)


@pytest.mark.heavy
@pytest.mark.skipif(not EVERYTHING, reason="takes minutes: CORPUS=all")
@settings(QUICK, derandomize=False, max_examples=2000)
@given(programs())
def test_many_interpreted(program):
    check(program)
