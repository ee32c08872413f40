"""The verifier: accepts the programs, and refuses each way of breaking one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adjointsim.derive.ir import Alloc, Base, Call, Const, Dim, Each, Fn, For, If, Let, Load, Need, Raise, Var, While
from adjointsim.derive.verify import IRError, verify

from .programs import ONE, PROGRAMS, SCALE, ZERO, A, I, J, N, P, Q, U, V, W, X, Y, Z, array, b, c, f, i, let, load, store

G, H, R = f("g_bar"), f("h_bar"), f("r")  # the first two are linear by their names
BAR = array("x_bar", role="shadow")


def linear(var, op, *args):
    return let(var, op, *args, part="linear")


def loop(body=(), carries=(), yields=(), results=(), stop=None, trips=None, lo=ZERO, count=N, step=ONE, var=I) -> For:
    return For(var, lo, count, step, carries, tuple(body), yields, results, stop, trips)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_well_formed(name):
    for fn in PROGRAMS[name].fns.values():
        verify(fn, PROGRAMS[name].fns)


def test_the_message_names_function_line_and_statement():
    fn = Fn("step", (X,), (Let(Y, "sin", (Z,), 12),))
    with pytest.raises(IRError) as caught:
        verify(fn)
    assert str(caught.value) == "step (line 12): z is used where it is not defined\n    y: f8 = sin(z)"
    assert isinstance(caught.value, AssertionError)


BAD = {
    # definitions and uses
    "z is used where it is not defined": [let(Y, "sin", Z)],
    "y is used where it is not defined": [let(Z, "sin", Y), let(Y, "sin", X)],
    "x is defined twice": [let(X, "sin", c(1.0))],
    "y is defined twice": [If(b("q"), (let(Y, "sin", X),), (let(Y, "cos", X),))],
    "t is used where": [If(b("q"), (let(f("t"), "sin", X),), ()), let(Y, "sin", f("t"))],
    "s is used where": [If(b("q"), (let(f("s"), "sin", X),), (), ((Y, X, f("s")),))],
    "i is used where": [loop(), let(Y, "mul", X, I)],
    "p is used where": [loop([let(f("t"), "sin", P)], ((P, X),), (f("t"),), (Y,)), let(Z, "sin", P)],
    "r is used where": [loop([load(f("t"), U, I)], ((P, X),), (f("r"),), (Y,))],
    "x was defined as f8 and is used as f4": [let(f("y", "f4"), "sin", f("x", "f4"))],
    "w is neither a parameter nor allocated before": [load(Y, W, ZERO)],
    "u was declared as": [load(Y, replace(U, role="in"), ZERO)],
    # types
    "there is no operation sine": [let(Y, "sine", X)],
    "sin takes 1 arguments": [let(Y, "sin", X, X)],
    "mul of f8, i8 is f8, not i8": [let(i("y"), "mul", X, N)],
    "band has no value for arguments of dtype f8, i8": [let(i("y"), "band", X, N)],
    "argument 1 of powi is not a literal": [let(Y, "powi", X, N)],
    "the literal 1 is no f8": [let(Y, "sin", Const(1, "f8"))],
    "the literal True is no i8": [let(Y, "mul", X, Const(True, "i8"))],
    "a dimension is an i8": [Dim(Y, U, 0)],
    "u has no axis 1": [Dim(I, U, 1)],
    "i8 loaded from u of f8": [load(I, U, ZERO)],
    "value n has dtype i8, expected f8": [store(U, (ZERO,), N)],
    "index x has dtype f8": [load(Y, U, X)],
    "2 indices for u of rank 1": [load(Y, U, ZERO, ZERO)],
    "0 indices for u of rank 1": [store(U, (), X)],
    "dimension x has dtype f8": [Alloc(W, (X,))],
    "2 dimensions for w of rank 1": [Alloc(W, (N, N))],
    "w is declared twice, differently": [Alloc(W, (N,)), Alloc(replace(W, dt="f4"), (N,))],
    "fill is 'two'": [Alloc(W, (N,), "two")],
    "wrap is 'always'": [Load(Y, U, (ZERO,), "always")],
    "mode is 'mul'": [store(U, (ZERO,), X, "mul")],
    "part is 'tangent'": [let(Y, "sin", X, part="tangent")],
    "test n has dtype i8, expected b1": [If(N, (), ())],
    "phi y of f8 merges f8 and i8": [If(b("q"), (), (), ((Y, X, N),))],
    # loops
    "count x has dtype f8": [loop(count=X)],
    "start x has dtype f8": [loop(lo=X)],
    "step x has dtype f8": [loop(step=X)],
    "the index of a loop is an i8": [loop(var=f("i"))],
    "stop is a b1": [loop(stop=N)],
    "trips is an i8": [loop(trips=f("trips"))],
    "carries, yields and results differ in number": [loop((), ((P, X),), (), (Y,))],
    "carry p of f8: starts as i8": [loop((), ((P, N),), (P,), (Y,))],
    "yields i8, ends as f8": [loop((), ((P, X),), (I,), (Y,))],
    "the head of a while contains Store": [While((), (store(U, (ZERO,), X),), b("q"), (), (), (), I)],
    "test and stop are b1": [While((), (), N, (), (), (), I)],
    "e is used where": [While((), (), b("e"), (let(b("e"), "gt", X, X),), (), (), I)],
    # effects
    "a store to a, which has role in": [store(A, (ZERO,), X)],
    "a store to k, which has role const": [store(array("k", role="const"), (ZERO,), X)],
    "need of m, which has rank 2": [Need(array("m", 2, "arena"), N)],
    "size x has dtype f8": [Need(array("tape", role="arena"), X)],
    "a negative site": [Raise(-1)],
    # each
    "the body of an each contains Store": [Each(((I, c(0), N),), (store(U, (I,), X),), ())],
    "the body of an each contains For": [Each(((I, c(0), N),), (If(b("q"), (loop(var=J),), ()),), ())],
    "an axis is an i8": [Each(((f("i"), c(0), N),), (), ())],
    "order is 'none'": [Each(((I, c(0), N),), (), (), "none")],
    # calls
    "scale takes 3 arguments": [Call("scale", (U, X), (Y, J))],
    "scale has 2 results": [Call("scale", (U, X, N), (Y,))],
    "j is i8, the result of scale is f8": [Call("scale", (U, X, N), (J, I))],
    "argument n for parameter x of f8": [Call("scale", (U, N, N), (Y, J))],
    "argument x for parameter v of f8": [Call("scale", (X, X, N), (Y, J))],
    "of rank 2 for parameter v": [Call("scale", (array("m", 2, "arena"), X, N), (Y, J))],
    "a has role in and is passed for v": [Call("scale", (A, X, N), (Y, J))],
    "scale writes v, which the call does not say": [Call("scale", (U, X, N), (Y, J))],
    "scale cannot leave, which the call does not say": [Call("scale", (U, X, N), (Y, J), writes=(0,), leaves=True)],
    "a call writes memory only": [Call("unknown", (U, X), (), writes=(1,))],
    # linearity
    "exp is not linear": [linear(Y, "exp", G)],
    "mul of two linear values": [linear(Y, "mul", G, H)],
    "mulz of two linear values": [linear(Y, "mulz", G, G)],
    "a linear value divides": [linear(Y, "div", X, G)],
    "add of a linear value and one that is not": [linear(Y, "add", G, X)],
    "sub of a linear value and one that is not": [linear(Y, "sub", c(1.0), G)],
    "select chooses between linear values only": [linear(Y, "select", b("q"), G, X)],
    "a linear statement of no linear value": [linear(Y, "neg", X)],
    "g_bar decides or enters a primal value": [let(Y, "sin", G)],
    "y decides or enters": [linear(Y, "neg", G), let(b("r"), "gt", Y, X)],
    "the linear value z": [load(Z, BAR, ZERO, part="linear"), store(U, (ZERO,), Z)],
    "x is not linear": [store(BAR, (ZERO,), X, part="linear")],
    "x_bar is linear memory and used as primal": [store(BAR, (ZERO,), G, part="linear"), load(Y, BAR, ZERO)],
    "y is linear, but x is not": [If(b("q"), (), (), ((Y, G, X),))],
    "p is linear, but x is not": [loop((linear(Z, "neg", G),), ((P, X),), (Z,), (Y,))],
    "the linear value p decides": [
        loop((let(f("t"), "sin", P), linear(Z, "neg", R)), ((P, c(0.0)), (R, G)), (R, Z), (Y, f("y.1"))),
    ],
}  # fmt: skip
EXTRA = (array("k", role="const"), array("m", 2, "arena"), array("tape", role="arena"))


@pytest.mark.parametrize("reason", BAD)
def test_refused(reason):
    fn = Fn("bad", (X, N, b("q"), G, H, U, A, BAR, *EXTRA), tuple(BAD[reason]))
    with pytest.raises(IRError) as caught:
        verify(fn, {"scale": SCALE})
    message = str(caught.value)
    assert reason in message.splitlines()[0]
    assert message.startswith("bad: ") and message.count("\n") == 1


def test_refused_at_the_ends_of_a_function():
    with pytest.raises(IRError, match="bad: parameter u occurs twice"):
        verify(Fn("bad", (U, replace(U, role="in")), ()))
    with pytest.raises(IRError, match="bad: x is defined twice"):
        verify(Fn("bad", (X, X), ()))
    with pytest.raises(IRError, match="bad: y is used where it is not defined"):
        verify(Fn("bad", (X,), (), (Y,)))


def test_accepted_linear_statements():
    body = (
        linear(f("a0"), "mul", G, X), linear(f("a1"), "mul", X, H), linear(f("a2"), "add", f("a0"), f("a1")),
        linear(f("a3"), "div", f("a2"), X), linear(f("a4"), "mulz", f("a3"), X), linear(f("a5"), "mulz", X, f("a4")),
        linear(f("a6"), "select", b("q"), f("a5"), c(0.0)), linear(f("a7"), "neg", f("a6")),
        linear(f("a8", "f4"), "cast", f("a7")), store(BAR, (ZERO,), f("a7"), "add", part="linear"),
        store(BAR, (ONE,), c(0.0), part="linear"),
        If(b("q"), (), (), ((Y, f("a7"), c(0.0)),)),
        loop((linear(Z, "add", P, f("a7")),), ((P, c(0.0)),), (Z,), (R,)),
        linear(f("a9"), "add", R, Y),
        If(b("q"), (), (), ((f("zero"), c(0.0), c(0.0)),)), linear(f("b0"), "mul", f("zero"), X),
    )  # fmt: skip
    verify(Fn("good", (X, N, b("q"), G, H, BAR), body))


def test_which_parameters_are_linear():
    fn = Fn("scaled", (X, Var("t", "f8")), (linear(Y, "mul", X, f("t")),))
    verify(fn, linear=["t"])
    verify(fn, linear=["x"])
    with pytest.raises(IRError, match="of no linear value"):
        verify(fn)
    with pytest.raises(IRError, match="of two linear values"):
        verify(fn, linear=["x", "t"])


def test_linearity_through_calls():
    """What is linear in a callee depends on what it is given."""
    inner = Fn("inner", (X, f("t"), V), (linear(Y, "mul", X, f("t")), store(V, (ZERO,), f("t"), part="linear")), (X, Y))
    call = Call("inner", (X, G, U), (P, Q), writes=(2,))
    fns = {"inner": inner}
    verify(Fn("outer", (X, G, U), (call, linear(Z, "neg", Q), let(f("s"), "sin", P))), fns)
    with pytest.raises(IRError, match="the linear value q decides or enters a primal value"):
        verify(Fn("outer", (X, G, U), (call, let(f("s"), "sin", Q))), fns)
    with pytest.raises(IRError, match="u is linear memory and used as primal"):
        verify(Fn("outer", (X, G, U), (call, load(Z, U, ZERO))), fns)
    with pytest.raises(IRError, match="inner: mul of two linear values"):
        verify(Fn("outer", (X, G, U), (Call("inner", (G, G, U), (P, Q), writes=(2,)),)), fns)


def test_a_base_is_identified_by_its_name():
    with pytest.raises(IRError, match="was declared as"):
        verify(Fn("bad", (U,), (load(f("y", "f4"), Base("u", "f4", 1, "inout"), ZERO),)))
