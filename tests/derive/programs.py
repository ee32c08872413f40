"""Small programs of the representation, written by hand, with the Python they mean.

Each covers a construct: carries, phis, stores in place, an early stop, a while, an each, calls, an adjoint with a tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from adjointsim.derive.ir import Alloc, Atom, Base, Call, Const, Dim, Each, Fn, For, If, Let, Load, Need, Raise, Store, Var, While


# ------------------------------------------------------------------------------------------------------------- shorthand
def f(name: str, dt: str = "f8") -> Var:
    return Var(name, dt)


def i(name: str) -> Var:
    return Var(name, "i8")


def b(name: str) -> Var:
    return Var(name, "b1")


def c(value: float | int | bool, dt: str | None = None) -> Const:
    return Const(value, dt or {bool: "b1", int: "i8", float: "f8"}[type(value)])


def let(var: Var, op: str, *args: Atom, part: str = "primal") -> Let:
    return Let(var, op, args, 0, part)


def load(var: Var, base: Base, *index: Atom, part: str = "primal") -> Load:
    return Load(var, base, index, "maybe", 0, part)


def store(base: Base, index: tuple[Atom, ...], value: Atom, mode: str = "set", part: str = "primal") -> Store:
    return Store(base, index, value, mode, "maybe", 0, part)


def array(name: str, rank: int = 1, role: str = "inout", dt: str = "f8") -> Base:
    return Base(name, dt, rank, role)


@dataclass(frozen=True)
class Program:
    """Functions, the one to call, its active parameters, arguments, and what it does in Python (to copies of them)."""

    fns: dict[str, Fn]
    name: str
    active: tuple[str, ...]
    args: Callable[[], list[Any]]
    reference: Callable[..., tuple]

    @property
    def fn(self) -> Fn:
        return self.fns[self.name]


PROGRAMS: dict[str, Program] = {}


def program(name: str, fns: list[Fn], active: str, args: Callable[[], list[Any]], reference: Callable[..., tuple]) -> None:
    PROGRAMS[name] = Program({fn.name: fn for fn in fns}, fns[0].name, tuple(active.split()), args, reference)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(0.3, 1.2, shape)


U, V, A, W = array("u"), array("v"), array("a", role="in"), array("w", role="local")
X, Y, Z, P, Q = f("x"), f("y"), f("z"), f("p"), f("q")
I, J, K, N = i("i"), i("j"), i("k"), i("n")
ZERO, ONE = c(0), c(1)


# ------------------------------------------------------------------------------------------------------------------ carry
def horner(x, a):
    p = 0.0
    for value in a:
        p = p * x + value
    return (p,)


program(
    "carry",
    [
        Fn("horner", (X, A), (
            Dim(N, A, 0),
            For(I, ZERO, N, ONE, ((P, c(0.0)),), (
                load(f("t.0"), A, I), let(f("t.1"), "mul", P, X), let(f("t.2"), "add", f("t.1"), f("t.0")),
            ), (f("t.2"),), (f("p.1"),)),
        ), (f("p.1"),)),
    ],
    "x a", lambda: [0.7, random(5)], horner,
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- two carries, step -1
def rotate(x, y, n):
    for k in range(n, 0, -2):
        x, y = x * math.cos(y), x + k * y
    return x, y


program(
    "exchanged carries",
    [
        Fn("rotate", (X, Y, N), (
            let(i("m"), "add", N, ONE), let(i("m.1"), "floordiv", i("m"), c(2)),
            For(K, N, i("m.1"), c(-2), ((P, X), (Q, Y)), (
                let(f("t"), "cos", Q), let(f("t.1"), "mul", P, f("t")), let(f("t.2"), "mul", K, Q),
                let(f("t.3"), "add", P, f("t.2")),
            ), (f("t.1"), f("t.3")), (f("x.1"), f("y.1"))),
        ), (f("x.1"), f("y.1"))),
    ],
    "x y", lambda: [0.7, 0.2, 6], rotate,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------- stores in place, wraparound
def sweep(u, r):
    n = len(u)
    for k in range(n):
        u[k] = u[k] + r * (u[k - 1] * u[k] - math.sqrt(u[(k + 1) % n]))
    return ()


program(
    "in place",
    [
        Fn("sweep", (U, f("r")), (
            Dim(N, U, 0),
            For(I, ZERO, N, ONE, (), (
                let(i("l"), "sub", I, ONE), let(i("r.1"), "add", I, ONE), let(i("r.2"), "mod", i("r.1"), N),
                load(f("m"), U, I), load(f("left"), U, i("l")), load(f("right"), U, i("r.2")),
                let(f("t.0"), "mul", f("left"), f("m")), let(f("t.1"), "sqrt", f("right")),
                let(f("t.2"), "sub", f("t.0"), f("t.1")), let(f("t.3"), "mul", f("r"), f("t.2")),
                let(f("t.4"), "add", f("m"), f("t.3")), store(U, (I,), f("t.4")),
            ), (), ()),
        )),
    ],
    "u r", lambda: [random(6), 0.1], sweep,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- branch, phi
def branch(x, z, u):
    if x > z:
        y = math.log(x) * z
        u[0] = y
    else:
        y = x
        u[1] += y * y
    return y * x, 2.0 if x > z else x


BRANCH = Fn("branch", (X, Z, U), (
    let(b("q.0"), "gt", X, Z),
    If(b("q.0"), (
        let(f("t.0"), "log", X), let(f("t.1"), "mul", f("t.0"), Z), store(U, (ZERO,), f("t.1")),
    ), (
        let(f("t.2"), "powi", X, c(2)), store(U, (ONE,), f("t.2"), "add"),
    ), ((Y, f("t.1"), X), (f("o"), c(2.0), X), (i("which"), ONE, ZERO))),
    let(f("t.3"), "mul", Y, X),
), (f("t.3"), f("o")))  # fmt: skip
program("branch taken", [BRANCH], "x z u", lambda: [1.4, 0.6, random(3)], branch)
program("branch not taken", [BRANCH], "x z u", lambda: [0.4, 0.6, random(3)], branch)


# ------------------------------------------------------------------------------------------------------ while with a stop
def newton(a, limit):
    x, k = a, 0
    while abs(x * x - a) > 1e-12:
        x = 0.5 * (x + a / x)
        k += 1
        if k >= limit:
            break
    return x, k


def newton_program(limit: int) -> None:
    x, k = f("x"), i("k")
    program(
        f"while of at most {limit}",
        [
            Fn("newton", (f("a"), i("limit")), (
                While(((x, f("a")), (k, ZERO)), (
                    let(f("t.0"), "mul", x, x), let(f("t.1"), "sub", f("t.0"), f("a")), let(f("t.2"), "abs", f("t.1")),
                    let(b("q"), "gt", f("t.2"), c(1e-12)),
                ), b("q"), (
                    let(f("t.3"), "div", f("a"), x), let(f("t.4"), "add", x, f("t.3")), let(f("t.5"), "mul", c(0.5), f("t.4")),
                    let(i("k.1"), "add", k, ONE), let(b("stop"), "ge", i("k.1"), i("limit")),
                ), (f("t.5"), i("k.1")), (f("x.1"), i("k.2")), i("trips"), b("stop")),
            ), (f("x.1"), i("k.2"))),
        ],
        "a", lambda: [2.0, limit], newton,
    )  # fmt: skip


newton_program(3)
newton_program(50)
newton_program(0)  # the test is after the body: one run


# ------------------------------------------------------------------------------------------------------ a for with a stop
def climb(x, a):
    total, ran = x, 0
    for value in a:
        total *= value + x
        ran += 1
        if total > 2.0:
            break
    return total, ran


program(
    "for with a stop",
    [
        Fn("climb", (X, A), (
            Dim(N, A, 0),
            For(I, ZERO, N, ONE, ((P, X),), (
                load(f("t.0"), A, I), let(f("t.1"), "add", f("t.0"), X), let(f("t.2"), "mul", P, f("t.1")),
                let(b("q"), "gt", f("t.2"), c(2.0)),
            ), (f("t.2"),), (f("p.1"),), b("q"), i("trips")),
        ), (f("p.1"), i("trips"))),
    ],
    "x a", lambda: [0.9, np.array([0.5, 0.8, 0.9, 1.0, 1.1])], climb,
)  # fmt: skip


# -------------------------------------------------------------------------------------------------------------------- each
def mirror(u, v):
    v[:, :] += np.outer(u, u)
    u[:] = u * u[::-1] + np.where(u > 0.7, np.sqrt(u), 0.0)
    return ()


M = array("m", 2)
program(
    "each reads before it writes",
    [
        Fn("mirror", (U, M), (
            Dim(N, U, 0),
            Each(((I, c(0), N), (J, c(0), N)), (
                load(f("s.0"), U, I), load(f("s.1"), U, J), let(f("s.2"), "mul", f("s.0"), f("s.1")),
            ), (store(M, (I, J), f("s.2"), "add"),)),
            Each(((K, c(0), N),), (
                let(i("l"), "sub", N, K), let(i("l.1"), "sub", i("l"), ONE),
                load(f("t.0"), U, K), load(f("t.1"), U, i("l.1")), let(f("t.2"), "mul", f("t.0"), f("t.1")),
                let(b("q"), "gt", f("t.0"), c(0.7)),
                If(b("q"), (let(f("t.3"), "sqrt", f("t.0")),), (), ((f("t.4"), f("t.3"), c(0.0)),)),
                let(f("t.5"), "add", f("t.2"), f("t.4")),
            ), (store(U, (K,), f("t.5")),)),
        )),
    ],
    "u m", lambda: [random(5), random(5, 5)], mirror,
)  # fmt: skip


# ------------------------------------------------------------------------------- allocations, integer arrays, inert values
def gather(a, index, v):
    w = np.ones(len(index))
    for k in range(len(index)):
        w[k] = w[k] * a[index[k]]
        v[index[k]] += w[k] * int(10.0 * a[k])
    return (float(w[0]),)


INDEX = Base("index", "i8", 1, "in")
program(
    "scatter and gather",
    [
        Fn("gather", (A, INDEX, V), (
            Dim(N, INDEX, 0),
            Alloc(W, (N,), "one"),
            For(K, ZERO, N, ONE, (), (
                load(I, INDEX, K), load(f("t.0"), A, I), load(f("t.1"), W, K), let(f("t.2"), "mul", f("t.1"), f("t.0")),
                store(W, (K,), f("t.2")), load(f("t.3"), A, K), let(f("t.4"), "mul", c(10.0), f("t.3")),
                let(J, "cast", f("t.4")), let(f("t.5"), "mul", f("t.2"), J), store(V, (I,), f("t.5"), "add"),
            ), (), ()),
            load(f("t.6"), W, ZERO),
        ), (f("t.6"),)),
    ],
    "a v", lambda: [random(6), np.array([1, 3, 1, 0]), random(6)], gather,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------- calls
def scale(v, x, m):
    for k in range(len(v)):
        v[k] *= x**m
    return x * m, m


def calls(u, a, x):
    y, _ = scale(u, x, 2)
    z, _ = scale(u, y, 1)
    w = np.zeros(len(a))
    scale(w, 3.0, 2)
    w[0] += y
    return (y * z * w[0],)


SCALE = Fn("scale", (V, X, i("m")), (
    Dim(N, V, 0),
    let(f("t.0"), "pow", X, i("m")),
    For(K, ZERO, N, ONE, (), (
        load(f("t.1"), V, K), let(f("t.2"), "mul", f("t.1"), f("t.0")), store(V, (K,), f("t.2")),
    ), (), ()),
    let(f("t.3"), "mul", X, i("m")),
), (f("t.3"), i("m")))  # fmt: skip
program(
    "calls",
    [
        Fn("calls", (U, A, X), (
            Call("scale", (U, X, c(2)), (Y, i("m")), writes=(0,)),
            Call("scale", (U, Y, ONE), (Z, i("m.1")), writes=(0,)),
            Dim(N, A, 0),
            Alloc(W, (N,), "zero"),
            Call("scale", (W, c(3.0), c(2)), (Q, i("m.2")), writes=(0,)),
            store(W, (ZERO,), Y, "add"),
            load(f("t.0"), W, ZERO), let(f("t.1"), "mul", Y, Z), let(f("t.2"), "mul", f("t.1"), f("t.0")),
        ), (f("t.2"),)),
        SCALE,
    ],
    "u x", lambda: [random(4), random(3), 1.3], calls,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------ an adjoint and its tape
def pendulum_vjp(x, n, tape, x_bar):
    values = [x]
    for k in range(n):
        tape[k] = values[-1]
        values.append(math.sin(values[-1]) * values[-1])
    for v in values[-2::-1]:
        x_bar[0] = x_bar[0] * (math.cos(v) * v + math.sin(v))
    return (values[-1],)


TAPE, BAR = array("tape", role="arena"), array("x_bar", role="shadow")
program(
    "adjoint",
    [
        Fn("pendulum_vjp", (X, N, TAPE, BAR), (
            Need(TAPE, N),
            For(K, ZERO, N, ONE, ((Y, X),), (
                store(TAPE, (K,), Y), let(f("t.0"), "sin", Y), let(f("t.1"), "mul", f("t.0"), Y),
            ), (f("t.1"),), (f("y.1"),)),
            let(i("last"), "sub", N, ONE),
            For(J, i("last"), N, c(-1), (), (
                load(Z, TAPE, J), load(f("y_bar"), BAR, ZERO, part="linear"),
                store(BAR, (ZERO,), c(0.0), part="linear"),
                let(f("s.0"), "sin", Z), let(f("s.1"), "cos", Z),
                let(f("g.0"), "mul", f("y_bar"), Z, part="linear"), let(f("g.1"), "mul", f("g.0"), f("s.1"), part="linear"),
                let(f("g.2"), "mul", f("y_bar"), f("s.0"), part="linear"),
                let(f("g.3"), "add", f("g.1"), f("g.2"), part="linear"),
                store(BAR, (ZERO,), f("g.3"), "add", part="linear"),
            ), (), (), part="linear"),
        ), (f("y.1"),)),
    ],
    "x x_bar", lambda: [0.8, 4, np.zeros(4), np.array([0.7])], pendulum_vjp,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------- raise
def guarded(x):
    if x > 1.0:
        raise ValueError
    return (math.sqrt(x),)


program(
    "raise",
    [
        Fn("guarded", (X,), (
            let(b("q"), "gt", X, c(1.0)),
            If(b("q"), (Raise(7),), ()),
            let(Y, "sqrt", X),
        ), (Y,)),
    ],
    "x", lambda: [0.6], guarded,
)  # fmt: skip
