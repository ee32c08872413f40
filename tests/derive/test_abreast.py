"""Loops over the same rows that become one, and the edges of stencils: the same bits, and nothing merged that must not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adjointsim.derive import kernel as kernels
from adjointsim.derive.abreast import abreast
from adjointsim.derive.build import const
from adjointsim.derive.ir import ONE, For, Load, Raise, Store, walk

from .harness import Derived, assert_close

RNG = np.random.default_rng(12)


def two_fields(u, v, c):
    un, vn = np.zeros_like(u), np.zeros_like(v)
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            r = u[i, j] * v[i, j] * v[i, j]
            un[i, j] = u[i, j] + 0.1 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]) - c[i, j] * r
            vn[i, j] = v[i, j] + 0.2 * (v[i - 1, j] + v[i + 1, j] + v[i, j - 1] + v[i, j + 1] - 4.0 * v[i, j]) + r
    return un, vn


def upwind(u, v, c):
    """The two are read in other rows, and what is set in a row is not read in the next one."""
    un, vn = np.zeros_like(u), np.zeros_like(v)
    for i in range(2, u.shape[0] - 1):
        for j in range(1, u.shape[1]):
            un[i, j] = u[i, j] * v[i - 2, j - 1] + c[i, j] * u[i - 1, j] * u[i, j - 1]
            vn[i, j] = v[i, j] * v[i, j - 1] - c[i, j] * v[i + 1, j]
    return un, vn


def columns_first(u, v, c):
    un = np.zeros_like(u)
    for j in range(1, u.shape[1] - 1):
        for i in range(u.shape[0] - 1):
            un[i, j] = c[i, j] * u[i + 1, j - 1] * v[i, j + 1] + u[i, j] * v[i, j]
    return un, v * 2.0


def transposed(u, v, c):
    """Rows of one are columns of the other."""
    un, vn = np.zeros_like(u), np.zeros_like(v)
    n = min(u.shape[0], u.shape[1])
    for i in range(1, n - 1):
        for j in range(1, n - 1):
            un[i, j] = c[i, j] * u[j, i - 1] + u[j, i + 1] * v[i, j]
            vn[j, i] = v[i - 1, j] * u[i, j] + v[i, j + 1]
    return un, vn


SHAPES = [(1, 1), (2, 5), (3, 3), (4, 3), (3, 4), (5, 5), (6, 9)]
STEPS = [two_fields, upwind, columns_first, transposed]


def derived(step, shape):
    return Derived(step, tuple(RNG.uniform(0.5, 1.5, shape) for _ in range(3)))


def apart(step):
    """The same kernel with its loops as they were."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "abreast", lambda block: block)
        return step.vjp(1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("step", STEPS)
def test_the_same_bits(step, shape):
    one = derived(step, shape)
    found = one.run_vjp(one.vjp(1), one.leaves, one.bars)
    assert_close(found, one.reference_bars)
    for ours, theirs in zip(found, one.run_vjp(apart(one), one.leaves, one.bars), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("step", STEPS)
def test_compiled(step):
    one = derived(step, (6, 9))
    assert_close(one.compiled.vjp(one.leaves, one.bars), one.reference_bars)


def rows(body):
    """How many cotangents each loop over rows writes."""
    loops = [s for s in body if isinstance(s, For) and any(isinstance(x, For) for x in s.body)]
    return [len({x.base for x in walk(s.body) if isinstance(x, Store)}) for s in loops]


def test_fields_share_rows():
    """Both fields and what multiplies, in one loop; the edges of each remain."""
    one = derived(two_fields, (6, 9))
    assert max(rows(one.vjp(1).fn.body)) == 3
    assert max(rows(apart(one).fn.body)) == 1


# ------------------------------------------------------------------------------------------------------- what stays apart
@pytest.fixture
def loops():
    """The loops over rows that gather for two fields, before they are merged."""
    body = apart(derived(two_fields, (6, 9))).fn.body
    return [s for s in body if isinstance(s, For) and len(s.body) > 3][:2]


def merged(*block):
    return sum(isinstance(s, For) for s in abreast(block)) < sum(isinstance(s, For) for s in block)


def test_what_one_writes_and_the_other_reads_stays_apart(loops):
    first, second = loops
    assert merged(first, second)
    written = next(x.base for x in walk(first.body) if isinstance(x, Store))
    inner = next(x for x in second.body if isinstance(x, For))
    read = next(x for x in inner.body if isinstance(x, Load))
    other = replace(inner, body=tuple(replace(x, base=written) if x is read else x for x in inner.body))
    clash = replace(second, body=tuple(other if x is inner else x for x in second.body))
    assert not merged(first, clash)
    assert not merged(clash, first)


def test_what_stands_between_is_kept_in_order(loops):
    """A statement that the second loop has need of runs before both, unless it has need of the first."""
    first, second = loops
    one, two = (next(x for x in walk(s.body) if isinstance(x, Store)) for s in loops)
    zero = replace(two, index=(ONE, ONE), value=const(0, "f8"), mode="set")  # where the second loop adds
    assert [type(s) for s in abreast((first, zero, second))] == [Store, For]
    assert [type(s) for s in abreast((first, replace(zero, base=one.base), second))] == [For, Store]
    load = Load(one.value, one.base, (ONE, ONE), "never")
    assert not merged(first, load, replace(zero, value=load.var), second)


def test_other_loops_stay_apart(loops):
    first, second = loops
    assert not merged(first, replace(second, count=second.lo))
    assert not merged(first, replace(second, part="primal"))
    assert not merged(first, Raise(0), second)
