"""Small arrays as numbers: what is replaced, what is left alone, and that nobody can tell.

``golden/scalars.txt`` shows a program; the corpus (``smallarrays``), mutated analyses and random programs are elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable

import fewcells
import numpy as np
import pytest
from corpus import CASES
from strategies import load

from adjointsim.derive import smallarrays
from adjointsim.derive.ir import Alloc, For, show, walk
from adjointsim.derive.kernel import prepared
from adjointsim.derive.scalars import scalarised
from adjointsim.errors import UnsupportedError

from .harness import Bars, Derived, assert_close
from .test_corpus import same_bits

EVERYTHING = os.environ.get("CORPUS") == "all"
U = np.array([0.7, -1.1, 0.4])


def arrays(derived: Derived) -> set[str]:
    """The user's names of the local arrays that are left."""
    return {
        s.base.name.split(".")[0] for s in walk(prepared(derived.entry, 1)) if isinstance(s, Alloc) and s.base.role == "local"
    }


# ------------------------------------------------------------------------------------------------------- what is replaced
def literal(x):
    a = np.array([x, 1.0])
    a[-1] += a[0] * x
    return a[0] * a[-1]


def times(v, x, y):
    return np.array([v[0] * x, v[1] * y])


def helpers(x, y):
    w = times(times(np.array([y, x]), x, y), y, x)
    return w[0] * w[1]


def integers(u):
    k = np.array([2, 0, 1])
    s = 0.0
    for i in range(3):
        s += u[k[i]] * (i + 1)
    return s


def nested(x):
    m = np.ones((2, 2))
    for i in range(2):
        for j in range(2):
            m[i, 1 - j] *= x * (i + 2 * j)
    return m[0, 1] * m[1, 0] * m[1, 1]


def complex_cells(x):
    z = np.array([complex(x, 1.0), 2.0 * x])
    w = z[0] * z[1] + z[1]
    return w.real * w.imag


@pytest.mark.parametrize(
    ("program", "args"),
    [(literal, (0.3,)), (helpers, (0.3, 0.5)), (integers, (U,)), (nested, (0.3,)), (complex_cells, (0.3,))],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_no_array_is_left(program, args):
    assert not arrays(Derived(program, args))


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith("smallarrays.")], ids=lambda c: c.name)
def test_the_corpus(case):
    assert bool(arrays(Derived(case.fn, case.args))) == (any(name in case.name for name in ("run_time", "may_be_one")))


def test_a_function_without_small_arrays_is_left_as_it_is():
    def swept(u):
        v = np.zeros(len(u))
        w = np.zeros(smallarrays.CELLS + 1)
        for i in range(len(u)):
            v[i] = u[i] * w[i]
        return v[0] * v[0]

    entry = Derived(swept, (U,)).entry
    before = entry.names.state()
    assert scalarised(entry.fn.body, entry.names) is entry.fn.body
    assert entry.names.state() == before


# ----------------------------------------------------------------------------------------------------- what is left alone
def unwritten(x):
    a = np.empty(2)
    a[0] = x
    if x > 5.0:
        return a[1]
    return a[0] * x


def written_in_a_branch(x):
    a = np.empty(2)
    if x > 0.0:
        a[0] = x
    return a[0] * x


def written_in_a_loop(x, n):
    a = np.empty(1)
    for i in range(n):
        a[0] = x * i
    return a[0] * x


def read_a_round_later(x):
    a = np.empty(1)
    for i in range(12):
        if i > 0:
            x += a[0]
        a[0] = x * x * 0.1
    return x


def too_large(x):
    a = np.zeros(smallarrays.CELLS + 1)
    a[0] = x
    return a[0] * a[16]


def run_time_index(x, k):
    a = np.array([x, x * x])
    return a[k] * a[0]


def of_unknown_length(x, n):
    a = np.ones(n)
    a[0] *= x
    return a[0]


def many_rounds(x):
    a = np.zeros(4)
    for i in range(smallarrays.ROUNDS + 4):
        a[i % 4] += x * i
    return a[0] * a[3]


def early_end(x):
    a = np.zeros(4)
    for i in range(4):
        a[i] = x * i
        if a[i] > 1.0:
            break
    return a[0] + a[3]


@pytest.mark.parametrize(
    ("program", "args"),
    [
        (unwritten, (0.3,)), (written_in_a_branch, (0.3,)), (written_in_a_loop, (0.3, 2)), (read_a_round_later, (0.3,)),
        (too_large, (0.3,)), (run_time_index, (0.3, 1)), (of_unknown_length, (0.3, 2)),
        (many_rounds, (0.3,)), (early_end, (0.7,)),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)  # fmt: skip
def test_an_array_is_left(program, args):
    derived = Derived(program, args)
    assert arrays(derived)
    check(derived)


def test_an_array_that_is_passed_on_is_left():
    def passed_on(x):
        a = np.array([x, 1.0])
        return np.linalg.solve(np.array([[2.0, x], [0.0, 1.0]]), a)[0]

    assert "a" in arrays(Derived(passed_on, (0.3,)))


def test_a_literal_out_of_range_stays():
    def beyond(x):
        a = np.array([x, 1.0])
        return a[0] * a[2]

    text = show(prepared(Derived(beyond, (0.3,)).entry, 1))
    assert "alloc a.0" in text and "a.0[2]" in text


def long_body(x):
    a = np.zeros(8)
    for i in range(8):
        a[i] = ((((x * i + 1.0) * x + 2.0) * x + 3.0) * x + 4.0) * x + (x + i) * (x - i) * (x + 2 * i) / (1.0 + x * i)
    return a[0] * a[7]


def test_programs_do_not_grow_much(monkeypatch):
    """A body that is long by its rounds stays a loop, and so do loops that are long together."""

    def counts():
        return [s.count.value for s in walk(Derived(long_body, (0.3,)).primal(1).fn.body) if isinstance(s, For)]

    assert counts() == [8]
    monkeypatch.setattr(smallarrays, "LONGER", 1000)
    assert counts() == []
    monkeypatch.setattr(smallarrays, "GROWTH", 50)
    assert counts() == [8]


# ----------------------------------------------------------------------------------------------------------- what is kept
def single(x):
    a = np.zeros(2, np.float32)
    a[0] = x
    for _ in range(12):
        if a[0] > 0.35:
            a[0] = a[0] * 0.9
        else:
            a[0] += 0.07 * x
        a[1] += a[0] * x
    return a[0] * a[1] * 1.0


def test_numbers_are_rounded_as_they_were_in_the_array():
    """Stores to float32 arrays round, in interpreted and in compiled code."""
    derived = Derived(single, (0.3,))
    assert not arrays(derived)
    plain = derived.run_primal(derived.primal(0), derived.leaves)
    assert same_bits(derived.run_primal(derived.primal(1), derived.leaves), plain)
    assert same_bits(derived.compiled.value(derived.leaves), plain)
    exact = Derived(double, (0.3,)).expected
    assert not same_bits(exact, plain)
    found = derived.compiled.vjp(derived.leaves, derived.bars)
    assert_close(found, derived.run_vjp(derived.vjp(0), derived.leaves, derived.bars), single=True)


def double(x):
    a = np.zeros(2)
    a[0] = x
    for _ in range(12):
        if a[0] > 0.35:
            a[0] = a[0] * 0.9
        else:
            a[0] += 0.07 * x
        a[1] += a[0] * x
    return a[0] * a[1] * 1.0


def test_a_float_that_was_compared_keeps_its_derivative():
    """After ``if x != 2.0: raise`` x is 2.0, and still what the function is differentiated by; a length is a number."""

    def exactly(x, u):
        a = np.array([x, x * x])
        if x != 2.0:
            raise ValueError
        if len(u) != 2:
            raise ValueError
        b = a * u
        return b[0] * b[1] * x

    derived = Derived(exactly, (2.0, np.array([0.5, 0.7])))
    assert not arrays(derived)
    check(derived)


def test_lengths_of_results_that_small_arrays_hold():
    def sized(u, x):
        k = np.array([2, 1, 0])
        n = 0
        for i in range(2):
            n += k[i]
        s = np.zeros(k[0])
        s[:] = u[: k[0]] * x
        return u[:n] * x, s

    derived = Derived(sized, (U, 0.4))
    assert "k" not in arrays(derived)
    check(derived)
    assert_close(derived.compiled.vjp(derived.leaves, derived.bars), derived.reference_bars)


def test_what_is_known_of_a_length_ends_with_the_block():
    def sometimes(u, x):
        a = np.array([x, 1.0])
        s = 0.0
        if x > 0.0:
            b = u + a  # raises unless there are two
            s = b[0] * b[1]
        for i in range(len(u)):
            s += a[0] * u[i]
        return s

    for x in (-0.5, 0.5):
        derived = Derived(sometimes, (U[:2], x))
        check(derived)
    check(Derived(sometimes, (U, -0.5)))


# -------------------------------------------------------------------------------------------------------- random programs
def check(derived: Derived, second: bool = False) -> None:
    """Both levels against the reference, the primal bit by bit; with ``second``, the tangent of the adjoint."""
    values: list[Bars] = []
    for level in (0, 1):
        values.append(derived.run_primal(derived.primal(level), derived.leaves))
        assert_close(values[-1], derived.expected)
        assert_close(derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars), derived.reference_bars)
    assert same_bits(*values)
    assert_close(derived.run_jvp(derived.leaves, derived.dots), derived.reference_dots)
    if second:
        assert_close(derived.run_second(derived.second().kernel, derived.leaves)[1], derived.complex_step(0))


def check_seed(seed: int, make: Callable = fewcells.program) -> bool:
    """Whether any array was replaced; programs may be refused for names that stand for several arrays."""
    program = make(seed)
    try:
        derived = Derived(load(program), program.args)
        if not all(np.isfinite(r).all() for r in derived.expected):
            return False
    except UnsupportedError:
        return False
    try:
        check(derived, second=seed % 4 == 0)
    except Exception as error:
        error.add_note(program.source)
        raise
    return sum(isinstance(s, Alloc) for s in walk(derived.entry.fn.body)) > sum(
        isinstance(s, Alloc) for s in walk(prepared(derived.entry, 1))
    )


def test_random_programs():
    assert sum(map(check_seed, range(60))) > 50


@pytest.mark.heavy
@pytest.mark.skipif(not EVERYTHING, reason="takes minutes: CORPUS=all")
def test_many_random_programs():
    assert sum(map(check_seed, range(1000, 3000))) > 1800
