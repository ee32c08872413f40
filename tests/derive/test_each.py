"""``Each``: which loops are raised to one, that its reverse is one, and that its loops are the same program."""

from __future__ import annotations

import numpy as np
import pytest
from corpus import CASES

from adjointsim.derive import analysis, dense, fission, gather, interp, loops, raising
from adjointsim.derive import kernel as kernels
from adjointsim.derive.build import Names
from adjointsim.derive.ir import Alloc, Dim, Each, Fn, For, walk
from adjointsim.derive.loops import each_to_loops
from adjointsim.derive.raising import raise_loops
from adjointsim.derive.verify import verify

from .harness import Derived, assert_close, functions
from .programs import M, N, U, W, c, f, let, load, store
from .programs import i as integer
from .test_text import same_text

RNG = np.random.default_rng(7)


# ------------------------------------------------------------------------------------------------------------- raising
def stencil(u, kappa):
    out = np.empty_like(u)
    out[0] = u[0]
    out[-1] = u[-1]
    for i in range(1, len(u) - 1):
        out[i] = u[i] + kappa * (u[i - 1] - u[i + 1])
    return out


def dot(u, v):
    total = 0.0
    for i in range(len(u)):
        total += u[i] * v[i]
    return total


def in_place(u, a):
    for i in range(len(u)):
        u[i] = a * u[i]
    return u


def count(weights, bins):
    out = np.zeros(4)
    for i in range(len(bins)):
        out[bins[i]] += weights[i]
    return out


def reversed_copy(u):
    out = np.empty_like(u)
    for i in range(len(u)):
        out[len(u) - 1 - i] = u[i]
    return out


def seidel(u):
    for i in range(1, len(u)):
        u[i] = u[i] + 0.5 * u[i - 1]
    return u


def last_wins(u, bins):
    out = np.zeros(4)
    for i in range(len(bins)):
        out[bins[i]] = u[i]
    return out


def same_cell(u):
    out = np.zeros(2)
    for i in range(len(u)):
        out[0] = u[i]
    return out


def negative(u, k):
    out = np.zeros_like(u)
    for i in range(len(u)):
        out[i + k] = u[i]
    return out


def product(u):
    total = 1.0
    for i in range(len(u)):
        total *= u[i]
    return total


def found(u):
    out = np.zeros_like(u)
    for i in range(len(u)):
        if u[i] > 1.0:
            break
        out[i] = u[i]
    return out


def descending_sum(u):
    total = 0.0
    for i in range(len(u) - 1, -1, -1):
        total += u[i]
    return total


def branch(u):
    out = np.zeros_like(u)
    for i in range(len(u)):
        if u[i] > 0.0:
            out[i] = u[i]
    return out


def two_cells(u):
    out = np.zeros(2 * len(u) + 1)
    for i in range(len(u)):
        out[i] = u[i]
        out[i + 1] = 2.0 * u[i]
    return out


def running_total(u):
    out = np.empty_like(u)
    total = 0.0
    for i in range(len(u)):
        total += u[i]
        out[i] = total
    return out


FIELD = RNG.standard_normal(5)
BINS = np.array([1, 3, 1, 0, 2])
RAISED = [(stencil, FIELD, 0.3), (dot, FIELD, FIELD + 1.0), (in_place, FIELD, 1.5), (count, FIELD, BINS)]
KEPT = [
    (seidel, FIELD), (last_wins, FIELD, BINS), (same_cell, FIELD), (negative, FIELD, -1), (product, FIELD), (found, FIELD),
    (descending_sum, FIELD), (branch, FIELD), (two_cells, FIELD), (running_total, FIELD), (reversed_copy, FIELD),
]  # fmt: skip


def own_loops(fn, *args):
    """The loops and the Each of a function's prepared body that come from its own loops."""
    line = next(k for k, text in enumerate(Derived(fn, args).entry.lines, 1) if f"def {fn.__name__}(" in text)
    body = kernels.prepared(Derived(fn, args).entry, 1)
    return [s for s in walk(body) if isinstance(s, (For, Each)) and s.line > line]


@pytest.mark.parametrize("fn, args", [(fn, args) for fn, *args in RAISED], ids=[fn.__name__ for fn, *_ in RAISED])
def test_independent_loops_are_raised(fn, args):
    assert any(isinstance(s, Each) and s.body for s in own_loops(fn, *args))


@pytest.mark.parametrize("fn, args", [(fn, args) for fn, *args in KEPT], ids=[fn.__name__ for fn, *_ in KEPT])
def test_other_loops_stay(fn, args):
    assert any(isinstance(s, For) for s in own_loops(fn, *args))


def test_the_reverse_of_a_stencil():
    """An Each whose sum is the cotangent of the scalar from outside; nothing is recorded."""
    derived = Derived(stencil, (FIELD, 0.3))
    kernel = unsplit(derived)
    assert not kernel.arenas
    (back,) = [s for s in walk(kernel.fn.body) if isinstance(s, Each) and s.part == "linear" and s.sums]
    same_text((back,), """
        each (i.0 in 1 + t.0) any ~
            t.1: i8 = sub(i.0, 1)
            u_.0: f8 = u.0[t.1]
            t.2: i8 = add(i.0, 1)
            u_.1: f8 = u.0[t.2]
            t.3: f8 = sub(u_.0, u_.1)
            result_bar.0: f8 = result_bar.1[i.0] ~
            t.4: f8 = mul(result_bar.0, t.3) ~
            t.5: f8 = mul(result_bar.0, kappa.0) ~
            t.6: f8 = neg(t.5) ~
            result_bar.1[i.0] = 0.0 ~
            u_bar.0[t.2] += t.6 ~
            u_bar.0[t.1] += t.5 ~
            u_bar.0[i.0] += result_bar.0 ~
            sum kappa_bar.0 = 0.0 + t.4
        """)  # fmt: skip


def unsplit(derived: Derived, level: int = 1):
    """The adjoint before its Each become loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "split_loops", lambda body, names, prefix, owner=False, bars=(): (body, []))
        return derived.vjp(level)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_adjoints_with_each(case):
    """An adjoint is a program of the representation before its Each become loops, too."""
    derived = Derived(case.fn, case.args)
    kernel = unsplit(derived)
    verify(kernel.fn, functions(kernel))
    assert_close(derived.run_vjp(kernel, derived.leaves, derived.bars), derived.reference_bars, derived.single)


# ------------------------------------------------------------------------------------------------------------ to loops
K, J = integer("k"), integer("j")
SHIFTED = Fn("shifted", (U, W), (  # u[k + 1] = w[k] u[k], and w[k] += u[k + 1]: all is read before
    Dim(N, U, 0), let(integer("m"), "sub", N, c(1)),
    Each(((K, c(0), integer("m")),), (
        load(f("x"), U, K), load(f("y"), W, K), let(f("z"), "mul", f("x"), f("y")), let(integer("k1"), "add", K, c(1)),
        load(f("q"), U, integer("k1")),
    ), (store(U, (integer("k1"),), f("z")), store(W, (K,), f("q"), "add"))),
))  # fmt: skip
TRANSPOSED = Fn("transposed", (M,), (  # a += a.T, and a sum over all of it
    Dim(N, M, 0), Each(((K, c(0), N), (J, c(0), N)), (load(f("x"), M, J, K),), (store(M, (K, J), f("x"), "add"),), "any",
                       ((f("s"), c(1.0), (f("x"), f("x"))),)),
), (f("s"),))  # fmt: skip


@pytest.mark.parametrize(
    "fn, shapes, held", [(SHIFTED, [(6,), (6,)], 2), (TRANSPOSED, [(4, 4)], 1)], ids=["shifted", "transposed"]
)
def test_reads_before_writes(fn, shapes, held):
    """Memory that is read under another index than it is written waits in memory of its own."""
    looped = Fn(fn.name, fn.params, each_to_loops(fn.body, Names()), fn.results)
    verify(looped)
    assert not any(isinstance(s, Each) for s in walk(looped.body))
    assert sum(isinstance(s, Alloc) for s in walk(looped.body)) == held
    one = [RNG.standard_normal(shape) for shape in shapes]
    two = [a.copy() for a in one]
    results = [interp.run({f.name: f}, f.name, args) for f, args in ((fn, one), (looped, two))]
    assert results[0] == results[1]
    for a, other in zip(one, two, strict=True):
        assert a.tobytes() == other.tobytes()


def test_what_each_means():
    a = RNG.standard_normal((4, 4))
    given = a.copy()
    (total,) = interp.run({"transposed": TRANSPOSED}, "transposed", [given])
    np.testing.assert_allclose(given, a + a.T, rtol=1e-15)
    np.testing.assert_allclose(total, 1.0 + 2.0 * a.sum(), rtol=1e-14)


@pytest.mark.parametrize("op, sign", [("add", 1.0), ("sub", -1.0)])
def test_sums_keep_their_order(op, sign):
    """In primal code a raised sum is rounded as the loop rounds it: term after term from the initial value."""
    total, x, y = f("total"), f("x"), f("y")
    loop = For(K, c(0), N, c(1), ((total, c(0.5)),), (
        load(x, U, K), load(y, W, K), let(f("a"), op, total, x), let(f("b"), "add", f("a"), y),
    ), (f("b"),), (f("r"),))  # fmt: skip
    body = (Dim(N, U, 0), loop)
    raised = raise_loops(body, Names())
    same_text(raised[1:], f"""
        each (k in n) any
            x: f8 = u[k]
            y: f8 = w[k]{"" if op == "add" else f"{chr(10)}            t.0: f8 = neg(x)"}
            sum r = 0.5 + {"x" if op == "add" else "t.0"} + y
        """)  # fmt: skip
    values = [1e16, 1.0, -1e16, 3.0], [1.0, 1e16, 1.0, -1e16]
    found = [
        interp.run({"f": Fn("f", (U, W), block, (f("r"),))}, "f", [np.array(v) for v in values])[0]
        for block in (body, raised, each_to_loops(raised, Names()))
    ]
    expected = 0.5
    for one, two in zip(*values):
        expected = expected + sign * one + two
    assert found == [expected] * 3


# ------------------------------------------------------------------------------------------- analyses that claim too much
SHIFT = gather._shift
MUTATED = {
    "independent": (raising, "independent", lambda body, axes: True),
    "ordered": (raising, "_ordered", lambda body: True),
    "injective": (raising, "_injective", lambda index, body, axes, inner: True),
    "pure": (raising, "_pure", lambda s: not isinstance(s, For)),
    "dense": (dense, "_dense", lambda stmts: True),
    "separable": (fission, "_separable", lambda loads, adds, sets: True),
    "shift": (gather, "_shift", lambda index, s: (found := SHIFT(index, s)) and (tuple(-c for c in found[0]), found[1])),
    "outside": (gather, "_outside", lambda s, shift, bounds, b: []),
    "useless": (analysis.Layout, "useless", lambda self, store: True),
}


@pytest.mark.parametrize("name", MUTATED)
def test_a_proof_of_everything_is_caught(name, monkeypatch):
    """With an analysis that says yes to everything, some program of the corpus has a wrong gradient."""
    monkeypatch.setattr(*MUTATED[name])
    for case in CASES:
        derived = Derived(case.fn, case.args)
        try:
            kernel = derived.vjp(1)
            for fn in functions(kernel).values():
                verify(fn, functions(kernel))
            assert_close(derived.run_vjp(kernel, derived.leaves, derived.bars), derived.reference_bars, derived.single)
        except Exception:
            return
    pytest.fail(f"{name} is not needed by any program of the corpus")


def test_overlap_is_needed(monkeypatch):
    monkeypatch.setattr(loops, "overlaps", lambda s: False)
    with pytest.raises(AssertionError):
        test_reads_before_writes(SHIFTED, [(6,), (6,)], 2)


def crossed(u, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[0]):
            out[i] += u[j, i]
            out[j] += u[j, i] * 3.0
    return out


def down_columns(u, out):
    for i in range(u.shape[1]):
        for j in range(u.shape[0]):
            out[j] += u[j, i]
    return out


@pytest.mark.parametrize("fn", [crossed, down_columns])
def test_interchanged_loops_add_in_the_order_of_the_text(fn):
    """Bit for bit, in the interpreter and compiled: in another order these would round otherwise."""
    u, out = 1.0 / RNG.standard_normal((9, 9)) ** 3, np.full(9, 1e3)
    derived = Derived(fn, (u, out))
    expected = fn(u, out.copy())
    for found in (*derived.run_primal(derived.primal(1), derived.leaves), *derived.compiled.value(derived.leaves)):
        assert found.tobytes() == expected.tobytes()
