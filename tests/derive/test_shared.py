"""Loops that threads may share: which ones are, what becomes of sums, and the team that runs them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numba import carray, cfunc, njit, types

from adjointsim.derive.ir import ONE, ZERO, Alloc, Base, Call, Const, Fn, For, If, Let, Load, Raise, Store, Var, show, walk
from adjointsim.derive.shared import TEAM, independent, shared
from adjointsim.derive.team import HERE, LINE, PARTS, PLACES, WORTH, Trial, run, workers

A, B = Base("a", "f8", 2, "inout"), Base("b", "f8", 2, "in")
N, M, I, J, X, T = (Var(name, "i8" if name[0] != "x" and name[0] != "t" else "f8") for name in ("n", "m", "i", "j", "x", "t"))


def loop(*body, lo=ONE, step=ONE, **more):
    return For(I, lo, N, step, more.pop("carries", ()), body, more.pop("yields", ()), more.pop("results", ()), **more)


def load(base, *index, var=X, wrap="never"):
    return Load(var, base, index, wrap)


def store(base, *index, value=X, mode="set", wrap="never"):
    return Store(base, index, value, mode, wrap)


NEXT, BEFORE = Let(Var("i1", "i8"), "add", (I, ONE)), Let(Var("i0", "i8"), "sub", (I, ONE))
INNER = For(J, ZERO, M, ONE, (), (load(B, J, I), store(A, I, J)), (), ())

INDEPENDENT = {
    "own row": loop(load(B, I, J), store(A, I, J)),
    "own column": loop(load(B, I, J), store(A, J, I)),
    "adds to its own": loop(load(A, I, ZERO), store(A, I, ONE, mode="add")),
    "all cells of a row": loop(INNER),
    "rows of another array": loop(NEXT, load(B, NEXT.var, J), store(A, I, J)),
    "a neighbour's place, and no other": loop(NEXT, load(A, NEXT.var, J), store(A, NEXT.var, ZERO)),
    "down": loop(load(B, I, J), store(A, I, J), step=Const(-1, "i8")),
    "branches": loop(If(Const(True, "b1"), (store(A, I, J, value=T),), ())),
    "a column from the end": loop(store(A, I, J, value=T, wrap="maybe")),
    "a function of numbers": loop(Call("f", (I, T), (X,)), store(A, I, J)),
}  # fmt: skip
DEPENDENT = {
    "writes nothing": loop(load(B, I, J)),
    "the same cell": loop(load(B, I, J), store(A, J, J)),
    "the row before": loop(BEFORE, load(A, BEFORE.var, J), store(A, I, J)),
    "two rows": loop(NEXT, store(A, I, J, value=T), store(A, NEXT.var, J, value=T)),
    "its own row by one axis, the next by the other": loop(NEXT, load(A, J, I), store(A, I, J)),
    "a row that data name": loop(Load(Var("k", "i8"), B, (I, J), "never"), store(A, Var("k", "i8"), J, value=T)),
    "half a row": loop(Let(Var("h", "i8"), "floordiv", (I, Const(2, "i8"))), store(A, Var("h", "i8"), J, value=T)),
    "from the end": loop(BEFORE, store(A, BEFORE.var, J, value=T, wrap="maybe"), lo=ZERO),
    "from nobody knows where": loop(store(A, I, J, value=T, wrap="maybe"), lo=M),
    "a carry": loop(load(B, I, J), store(A, I, J), carries=((T, X),), yields=(T,), results=(Var("r", "f8"),)),
    "a stop": loop(load(B, I, J), store(A, I, J), stop=Var("s", "b1"), trips=Var("k", "i8")),
    "memory of its own": loop(Alloc(Base("c", "f8", 1, "local"), (M,)), store(A, I, J, value=T)),
    "may leave": loop(Raise(0), store(A, I, J, value=T)),
    "products": loop(For(J, ZERO, M, ONE, (), (
        For(Var("k", "i8"), ZERO, M, ONE, (), (
            load(B, I, Var("k", "i8")), load(B, Var("k", "i8"), J, var=Var("z", "f8")),
            Let(Var("w", "f8"), "mul", (X, Var("z", "f8"))), Store(A, (I, J), Var("w", "f8"), "add", "never", free=True),
        ), (), ()),
    ), (), ())),
    "a sum in any order": loop(For(
        J, ZERO, M, ONE, ((T, X),), (load(B, I, J), Let(Var("y", "f8"), "add", (T, X), part="linear")), (Var("y", "f8"),),
        (Var("r", "f8"),), part="linear",
    ), store(A, I, J, value=Var("r", "f8"))),
    "calls what may leave": loop(Call("f", (I,), (X,), leaves=True), store(A, I, J)),
    "calls what writes": loop(Call("f", (A, I), (), writes=(0,)), store(A, I, J, value=T)),
    "sums what it writes": loop(Call("sum", (A, I), (X,)), store(A, I, J)),
    "sums, in an order that its code has": loop(Call("sum", (B, I), (X,)), store(A, I, J)),
}  # fmt: skip


def least(s):
    return s.lo.value if isinstance(s.lo, Const) and s.step == ONE else None


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent(name):
    assert independent(INDEPENDENT[name], least(INDEPENDENT[name]))


@pytest.mark.parametrize("name", DEPENDENT)
def test_not_independent(name):
    assert not independent(DEPENDENT[name], least(DEPENDENT[name]))


def kernel(*body, params=(A, B, N, M, J, T)):
    return Fn("f", params, body)


def test_a_kernel_without_such_loops_stays_as_it_is():
    fn = kernel(DEPENDENT["the row before"])
    assert shared(fn, ()) == (fn, ())


def test_terms_of_sums_are_kept_and_added_in_order():
    add = Let(Var("y", "f8"), "add", (T, X))
    carried = {"carries": ((T, Const(0.5, "f8")),), "yields": (add.var,), "results": (Var("r", "f8"),)}
    fn = kernel(loop(INNER, load(B, I, ZERO), add, **carried))
    found, _ = shared(fn, ())
    assert show(found.body) == """\
alloc team: i8(1056) fill none
alloc terms.0: f8(n) fill none
t.1: i8 = mul(m, 3)
t.2: i8 = add(104, t.1)
t.3: i8 = mul(n, t.2)
for i in (1, count n, step 1)
    for j in (0, count m, step 1)
        x: f8 = b[j, i]
        a[i, j] = x
    x: f8 = b[i, 0]
    k.0: i8 = sub(i, 1)
    terms.0[k.0] = x
for k.1 in (0, count n, step 1) carry(t = 0.5)
    term.0: f8 = terms.0[k.1]
    t.0: f8 = add(t, term.0)
    yield t.0 -> r
""".replace("1056", str(PLACES))


def test_sums_in_any_order_are_not_taken_apart():
    add = Let(Var("y", "f8"), "add", (T, X), part="linear")
    carried = {"carries": ((T, Const(0.5, "f8")),), "yields": (add.var,), "results": (Var("r", "f8"),)}
    fn = kernel(loop(load(B, I, ZERO), store(A, I, J), add, **carried, part="linear"))
    assert shared(fn, ()) == (fn, ())


@pytest.mark.parametrize("body, yields", [
    ((load(B, I, ZERO), Let(Var("y", "f8"), "mul", (T, X))), Var("y", "f8")),
    ((Let(Var("y", "f8"), "add", (T, T)),), Var("y", "f8")),
    ((load(B, I, ZERO), Let(Var("y", "f8"), "add", (T, X)), store(A, I, J, value=Var("y", "f8"))), Var("y", "f8")),
    ((load(B, I, ZERO), Let(Var("y", "f8"), "add", (T, X)), store(A, I, J, value=T)), Var("y", "f8")),
])  # fmt: skip
def test_other_carries_are_not_taken_apart(body, yields):
    fn = kernel(loop(*body, INNER, carries=((T, X),), yields=(yields,), results=(Var("r", "f8"),)), params=(A, B, N, M, J, X))
    assert shared(fn, ()) == (fn, ())


def test_functions_that_are_called_outside_of_shared_loops_share_theirs():
    helper = Fn("helper", (A, B, N, M), (loop(INNER),))
    inside = loop(Call("sum", (I, T), (X,)), store(A, I, J))
    fn, functions = shared(kernel(Call("helper", (A, B, N, M), (), writes=(0,)), inside), (helper, Fn("sum", (I, T), (), (T,))))
    assert [f.name for f in functions] == ["helper", "helper_shared", "sum"]
    call = next(s for s in fn.body if isinstance(s, Call))
    assert call.fn == "helper_shared" and call.args[-1] == TEAM and call.writes == (0, 4)
    assert [s.team is not None for f in functions for s in walk(f.body) if isinstance(s, For)] == [False, False, True, False]


def test_loops_in_other_loops_are_shared_if_they_are_of_two_axes():
    k = Var("k", "i8")
    one = For(k, ZERO, M, ONE, (), (load(B, k, ZERO), store(A, k, J)), (), ())
    two = For(k, ZERO, M, ONE, (), (For(J, ZERO, M, ONE, (), (load(B, J, k), store(A, k, J)), (), ()),), (), ())
    found, _ = shared(kernel(loop(one, two, Raise(0))), ())
    outer, first, second, inner = (s for s in walk(found.body) if isinstance(s, For))
    assert [s.team is not None for s in (outer, first, second, inner)] == [False, False, True, False]


# ------------------------------------------------------------------------------------------------------------- the team
@cfunc(types.void(types.CPointer(types.int64), types.int64, types.int64))
def count_cells(needs, begin, end):
    cells = carray(needs, (1000,))
    for k in range(begin, end):
        cells[k] += 1


@njit(nogil=True)
def many(team, function, cells, count, times, work):
    for _ in range(times):
        run(team, function, cells, count, work)


@pytest.mark.parametrize("count", [0, 1, 3, 7, 1000])
@pytest.mark.parametrize("others", [0, 1, 2, 5])
def test_every_iteration_is_run_once(count, others):
    team, cells, times = np.zeros(PLACES, np.int64), np.zeros(1000, np.int64), 3000 if others < 2 else 300
    many(team, count_cells.address, cells.ctypes.data, count, 0, 0)  # compiled
    with workers(team, others):
        while sum(team[HERE:]) < others:  # they are there
            time.sleep(1e-3)
        many(team, count_cells.address, cells.ctypes.data, count, times, WORTH)
        many(team, count_cells.address, cells.ctypes.data, count, times, 100 * WORTH)  # in pieces
        assert np.all(cells[:count] == 2 * times) and not cells[count:].any()
        parts = team[PARTS + 1 : PARTS + LINE * 64 : LINE]
        assert np.count_nonzero(parts) == (others + 1 if others else 0)
    assert not sum(team[HERE:])  # they are gone


def test_little_work_is_done_alone():
    team, cells = np.zeros(PLACES, np.int64), np.zeros(1000, np.int64)
    many(team, count_cells.address, cells.ctypes.data, 10, 0, 0)
    with workers(team, 1):
        many(team, count_cells.address, cells.ctypes.data, 10, 5, WORTH - 1)
    assert team[LINE] == 0 and np.all(cells[:10] == 5)


@pytest.mark.parametrize("shared_rate, pays", [(0.5, True), (0.99, False), (2.0, False)])
def test_a_trial(shared_rate, pays):
    trial, turns = Trial(), 0
    while trial.pays is None:
        together = trial.together()
        steps = trial.steps(10**9)
        assert 1 <= steps < 10**9
        slow = 1000.0 if turns < 2 else 1.0  # what is loaded and compiled
        trial.took(together, steps, steps * 1e-4 * slow * (shared_rate if together else 1.0))
        turns += 1
    assert trial.pays is pays and trial.together() is pays and trial.steps(77) == 77 and turns < 20
    for turn in range(10_000):
        trial.took(pays, 5, 5e-4)
        if trial.pays is None:
            break
    assert 100 < turn < 9_999 and trial.steps(10**9) < 10**9  # it is tried again, but seldom
