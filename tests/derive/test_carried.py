"""Cells that one iteration stores and the next one reads are carried from one to the other; the bits are those of the loop."""

from __future__ import annotations

import numpy as np
import pytest
from reference import reference_vjp

import adjointsim as adj
from adjointsim.derive.entry import lower_entry
from adjointsim.derive.ir import For, walk
from adjointsim.derive.kernel import primal_kernel, vjp_kernel
from adjointsim.derive.verify import verify
from adjointsim.leaves import spec_of


def scan(u, w):
    out = u * 1.0
    for i in range(1, len(u)):
        out[i] = w[i] * out[i - 1] + u[i]
    return out


def downwards(u, w):
    out = u * 1.0
    for i in range(len(u) - 2, -1, -1):
        out[i] -= w[i] * out[i + 1] * u[i]
    return out


def added_twice(u, w):
    """An iteration adds to the cell before and to its own."""
    out = u * 0.5
    for i in range(1, len(u)):
        out[i] += w[i] * out[i - 1]
        out[i - 1] += u[i]
    return out


def second_order(u, w):
    """It reads two cells that were written before."""
    out = u * 1.0
    for i in range(2, len(u)):
        out[i] = w[i] * out[i - 1] - 0.5 * out[i - 2] + u[i] * out[i]
    return out


def along_rows(u, w):
    """The other axis does not move."""
    out = np.outer(u, w)
    for k in range(len(w)):
        for i in range(1, len(u)):
            out[i, k] += out[i - 1, k] * w[k]
    return out


def overwritten_first(u, w):
    """The cell is set before it is read: there, nothing is carried."""
    out = u * 1.0
    for i in range(1, len(u)):
        out[i - 1] = w[i]
        out[i] = out[i - 1] * u[i]
    return out


def ahead(u, w):
    """What is read has not been written yet; the adjoint adds to what it has set to 0 before."""
    out = u * 1.0
    for i in range(len(u) - 1):
        out[i] = w[i] * out[i + 1]
    return out


def in_a_branch(u, w):
    """Only some iterations write."""
    out = u * 1.0
    for i in range(1, len(u)):
        if w[i] > 0.0:
            out[i] = w[i] * out[i - 1]
    return out


def wrapped(u, w):
    """The first iteration reads the last cell."""
    out = u * 1.0
    for i in range(len(u)):
        out[i] = 0.5 * out[i - 1] + w[i]
    return out


def one_cell_for_all(u, w):
    """An index that does not move is another matter."""
    out = u * 1.0
    for i in range(1, len(u)):
        out[i] = out[i - 1] + w[i]
        out[0] = 0.5 * w[i]
    return out


def tridiagonal(u, w):
    c, d = np.zeros(len(u)), np.zeros(len(u))
    out = np.zeros(len(u))
    for i in range(1, len(u)):
        q = 1.0 / (3.0 + w[i] * c[i - 1])
        c[i] = -w[i] * q
        d[i] = (u[i] + w[i] * d[i - 1]) * q
    for i in range(len(u) - 2, -1, -1):
        out[i] = d[i] - c[i] * out[i + 1]
    return out


#: the loops of the function that carry a cell, and of its adjoint
CARRIED = {
    scan: (1, 1), downwards: (1, 1), added_twice: (1, 1), second_order: (1, 1), along_rows: (1, 1), overwritten_first: (0, 1),
    ahead: (0, 1), in_a_branch: (0, 0), wrapped: (0, 0), one_cell_for_all: (0, 0), tridiagonal: (2, 2),
}  # fmt: skip


@pytest.fixture(params=CARRIED, ids=lambda f: f.__name__)
def program(request):
    return request.param


def arguments(n, m=None):
    rng = np.random.default_rng(n)
    return rng.standard_normal(n), rng.standard_normal(m or n)


def test_what_is_carried(program):
    specs = [(name, spec_of(a, name)) for name, a in zip("uw", arguments(6), strict=True)]
    kernels = primal_kernel(lower_entry(program, specs)), vjp_kernel(lower_entry(program, specs), {"u", "w"})
    found = []
    for kernel in kernels:
        verify(kernel.fn)
        part = "linear" if kernel.leaf_bars else "primal"
        found.append(sum(bool(s.carries) for s in walk(kernel.fn.body) if isinstance(s, For) and s.part == part))
    assert tuple(found) == CARRIED[program]


@pytest.mark.parametrize("n", [2, 3, 9, 40])
def test_the_bits_of_the_loop_and_its_cotangents(program, n):
    args = arguments(n, 3 if program is along_rows else None)
    value, pull = adj.vjp(program, *args)
    np.testing.assert_array_equal(value, program(*args))
    bar = np.random.default_rng(1).standard_normal(value.shape)
    for ours, theirs in zip(pull(bar), reference_vjp(program, args, bar), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(theirs).max(initial=0.0)))


def far_down(u, w):
    """It begins at -3, if it does not run."""
    out, half = np.zeros(len(u)), np.zeros(len(u))
    for i in range(len(u) - 4, -1, -1):
        half[i] = u[i] * w[i]
        out[i] = half[i] + 0.5 * out[i + 1]
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_loops_that_do_not_run(n):
    for program in (scan, downwards, added_twice, tridiagonal, far_down):
        args = arguments(n)
        value, pull = adj.vjp(program, *args)
        np.testing.assert_array_equal(value, program(*args))
        for ours, theirs in zip(pull(np.ones(n)), reference_vjp(program, args, np.ones(n)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
