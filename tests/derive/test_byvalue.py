"""Scalar leaves by value: kernels by hand, with cells that are used in every way, against the same kernels with memory.

Derived kernels use a cell in the simplest way only, so what is not proved to be so has its programs here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adjointsim.derive import byvalue, interp
from adjointsim.derive.build import Names, const
from adjointsim.derive.ir import Base, Block, Const, Fn, For, If, Let, Load, Store, Var, walk
from adjointsim.derive.kernel import Kernel

X, OUT = Base("x.0", "f8", 1, "in"), Base("out.0", "f8", 1, "result")
SEED, BAR = Base("out_bar.0", "f8", 1, "shadow"), Base("x_bar.0", "f8", 1, "shadow")
ZERO, CELL = const(0, "i8"), (const(0, "i8"),)


def f(name: str) -> Var:
    return Var(f"{name}.0", "f8")


def b(name: str) -> Var:
    return Var(f"{name}.0", "b1")


def load(var: Var, base: Base) -> Load:
    return Load(var, base, CELL, "never")


def put(base: Base, value: Var | Const, mode: str = "set") -> Store:
    return Store(base, CELL, value, mode, "never")


def times(var: Var, a: Var, c: float) -> Let:
    return Let(var, "mul", (a, const(c, "f8")))


def loop(*body: object) -> For:
    return For(Var("i.0", "i8"), ZERO, const(3, "i8"), const(1, "i8"), (), body, (), ())  # type: ignore[arg-type]


def above(threshold: float) -> Let:
    return Let(b("test"), "gt", (f("s"), const(threshold, "f8")))


NIL = const(0.0, "f8")
#: bodies of an adjoint with x = 1.5 and the seed 2 -> the cotangent of x, and of the seed's cell nobody asks
BODIES: dict[str, tuple[Block, float]] = {
    "once": ((load(f("s"), SEED), put(SEED, NIL), times(f("t"), f("s"), 3.0), put(BAR, f("t"), "add")), 6.0),
    "twice": ((load(f("s"), SEED), put(BAR, f("s"), "add"), times(f("t"), f("s"), 3.0), put(BAR, f("t"), "add")), 8.0),
    "read again after it was set": (
        (load(f("s"), SEED), put(SEED, const(0.25, "f8")), load(f("t"), SEED), put(BAR, f("s"), "add"), put(BAR, f("t"), "add")),
        2.25,
    ),
    "read in a branch after it was set": (
        (load(f("s"), SEED), put(SEED, NIL), above(1.0), If(b("test"), (load(f("t"), SEED), put(BAR, f("t"), "add")), ())),
        0.0,
    ),
    "set in a branch not taken": (
        (load(f("s"), SEED), above(9.0), If(b("test"), (put(SEED, NIL),), ()), load(f("t"), SEED), put(BAR, f("t"), "add")),
        2.0,
    ),
    "added to in a loop": ((load(f("s"), SEED), loop(put(BAR, f("s"), "add"))), 6.0),
    "added to in a branch not taken": ((load(f("s"), SEED), above(9.0), If(b("test"), (put(BAR, f("s"), "add"),), ())), 0.0),
    "added to, and read": (
        (load(f("s"), SEED), put(BAR, f("s"), "add"), load(f("t"), BAR), put(BAR, f("t"), "add")),
        4.0,
    ),
    "added to, then set": ((load(f("s"), SEED), put(BAR, f("s"), "add"), put(BAR, const(0.5, "f8"))), 0.5),
    "never touched": ((), 0.0),
}  # fmt: skip


def names() -> Names:
    """Names that the kernels above do not use."""
    made = Names()
    for root in ("x", "out", "out_bar", "x_bar"):
        made.fresh(root)
    return made


def run(body: Block) -> float:
    """The cotangent of x by a kernel that has it, and its seed, by value."""
    kernel = Kernel(Fn("f_vjp", (X, SEED, BAR), body), (X,), (), result_bars=(SEED,), leaf_bars=(BAR,))
    changed = byvalue.by_value(kernel, {X, SEED, BAR}, names())
    (value,) = interp.run({"f_vjp": changed.fn}, "f_vjp", [1.5, 2.0], poison=True)
    return value


@pytest.mark.parametrize("name", BODIES)
def test_cotangents(name):
    body, expected = BODIES[name]
    bar = np.zeros(1)
    interp.run({"f": Fn("f", (X, SEED, BAR), body)}, "f", [np.array([1.5]), np.array([2.0]), bar])
    assert bar[0] == expected
    assert run(body) == expected


def test_results():
    body = (load(f("s"), X), above(1.0), put(OUT, f("s")), If(b("test"), (put(OUT, const(7.0, "f8")),), ()))
    kernel = Kernel(Fn("f", (X, OUT), body), (X,), (), results=(OUT,))
    changed = byvalue.by_value(kernel, {X, OUT}, names())
    assert interp.run({"f": changed.fn}, "f", [1.5], poison=True) == (7.0,)
    assert interp.run({"f": changed.fn}, "f", [0.5], poison=True) == (0.5,)


# ----------------------------------------------------------------------------------------------------- claims too much
def cells_are_given_for_good(m: pytest.MonkeyPatch) -> None:
    """A cell that is written, too, is taken for its first value."""

    def _input(body, base, var):
        loads = {s.var: var for s in walk(body) if isinstance(s, Load) and s.base == base}
        kept = tuple(s for s in byvalue._without(body, base) if not byvalue._mine(s, base))
        return byvalue.substitute(kept, lambda a: loads.get(a, a)), []

    m.setattr(byvalue, "_input", _input)


def the_first_store_is_all(m: pytest.MonkeyPatch) -> None:
    real = byvalue._output

    def _output(body, base, names):
        own = [s for s in walk(body) if isinstance(s, Store) and s.base == base]
        if own and own[0] in body:
            return tuple(s for s in body if not byvalue._mine(s, base)), own[0].value, [], []
        return real(body, base, names)

    m.setattr(byvalue, "_output", _output)


def whatever_is_added_is_added_once(m: pytest.MonkeyPatch) -> None:
    """Branches and loops around a store are forgotten."""
    real = byvalue._output

    def _output(body, base, names):
        own = [s for s in walk(body) if isinstance(s, Store) and s.base == base]
        if len(own) == 1 and own[0].mode == "add":
            return body, own[0].value, [], []
        return real(body, base, names)

    m.setattr(byvalue, "_output", _output)


@pytest.mark.parametrize(
    "mutant", [cells_are_given_for_good, the_first_store_is_all, whatever_is_added_is_added_once], ids=lambda m: m.__name__
)
def test_mutated(mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    mutant(monkeypatch)
    wrong = []
    for name, (body, expected) in BODIES.items():
        try:
            if run(body) != expected:
                wrong.append(name)
        except (KeyError, AssertionError):
            wrong.append(name)
    assert wrong
