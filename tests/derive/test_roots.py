"""``adj.root`` inside what is derived: all verbs, against iterations that converge, and against 50 digits."""

from __future__ import annotations

import pytest
from root_programs import PROGRAMS

from adjointsim.derive.verify import verify

from .harness import Derived, assert_close, functions


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    """At both levels, interpreted: values, cotangents, tangents, and the tangents of cotangents."""
    fn, by_hand, args = PROGRAMS[name]
    derived, plain = Derived(fn, args), Derived(by_hand, args)
    derived.__dict__.update(expected=plain.expected, bars=plain.bars)
    for level in (0, 1):
        for kernel in (derived.primal(level), derived.vjp(level), derived.second(level).kernel):
            for f in functions(kernel).values():
                verify(f, functions(kernel))
        assert_close(derived.run_primal(derived.primal(level), derived.leaves), plain.expected)
        bars = plain.run_vjp(plain.vjp(0), plain.leaves, plain.bars)
        assert_close(derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars), bars)
        second = derived.run_second(derived.second(level).kernel, derived.leaves)
        for ours, theirs in zip(second, plain.run_second(plain.second(0).kernel, plain.leaves), strict=True):
            assert_close(ours, theirs)
    assert_close(derived.run_jvp(derived.leaves, derived.dots), plain.run_jvp(plain.leaves, plain.dots))
