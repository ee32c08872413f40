"""Facts about a primal function that the reverse pass needs: where values are defined, what is overwritten, what varies.

Every analysis answers "no" (or "unknown") for what it does not list: a new node kind makes things slower, not wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from . import rules
from .ir import (
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Each,
    For,
    Foreign,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    atoms_of,
    bases_of,
    defined,
    inner_defined,
    is_float,
    read_by,
    walk,
    written_by,
)  # fmt: skip

__all__ = ["EXACT", "Callees", "Layout", "varied"]

#: operations whose result is the same bits wherever they are compiled (IEEE 754 and integers; not the libm functions)
EXACT = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "pos",
        "abs",
        "fabs",
        "sqrt",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "sign",
        "copysign",
        "min2",
        "max2",
        "minimum",
        "maximum",
        "fmin",
        "fmax",
        "cast",
        "copy",
        "select",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "land",
        "lor",
        "lxor",
        "lnot",
        "band",
        "bor",
        "bxor",
        "invert",
        "lshift",
        "rshift",
        "isnan",
        "isinf",
        "isfinite",
        "floordiv",
        "mod",
        "ifloor",
        "iceil",
        "itrunc",
        "square",
    ]
)


@dataclass
class _Access:
    order: int
    loops: tuple[int, ...]  # ids of the enclosing loops, outermost first; not of loops that run once


@dataclass
class Layout:
    """Where everything stands in a function body.

    owner     Var -> id of the innermost loop in whose body (or head) it is defined, None at the function's level
    made      Var -> the statement that defines it (its loop, for indices and carries)
    tests     Var -> the tests of the branches around its definition, within its loop
    parent    loop id -> id of the enclosing loop
    """

    owner: dict[Var, int | None] = field(default_factory=dict)
    made: dict[Var, Stmt] = field(default_factory=dict)
    parent: dict[int, int | None] = field(default_factory=dict)
    tests: dict[Var, tuple[Atom, ...]] = field(default_factory=dict)
    heads: set[Var] = field(default_factory=set)  # loop indices and carries
    place: dict[int, _Access] = field(default_factory=dict)  # id(statement) -> where
    kills: dict[Base, list[_Access]] = field(default_factory=dict)
    volatile: Collection[Base] = ()  # parameters that the caller may write between a function and its reverse

    @classmethod
    def of(cls, body: Block, volatile: Collection[Base] = ()) -> Layout:
        layout = cls(volatile=volatile)
        layout._block(body, (), (), None)
        return layout

    def _block(self, block: Block, loops: tuple[int, ...], tests: tuple[Atom, ...], owner: int | None) -> None:
        for s in block:
            here = _Access(len(self.place), loops)
            self.place[id(s)] = here
            for v in defined(s):
                self.owner[v] = owner
                self.made[v] = s
                self.tests[v] = tests
            for base in written_by(s):
                self.kills.setdefault(base, []).append(here)
            if isinstance(s, (For, While, Each)):
                self.parent[id(s)] = owner
                for v in inner_defined(s):
                    self.owner[v] = id(s)
                    self.made[v] = s
                    self.tests[v] = ()
                    self.heads.add(v)
                once = isinstance(s, For) and isinstance(s.count, Const) and s.count.value == 1  # has no next iteration
                inner = loops if once else (*loops, id(s))
                if isinstance(s, While):
                    self._block(s.head, inner, (), id(s))
                self._block((*s.body, *s.stores) if isinstance(s, Each) else s.body, inner, (), id(s))
            elif isinstance(s, If):
                self._block(s.then, loops, (*tests, s.test), owner)
                self._block(s.orelse, loops, (*tests, s.test), owner)

    def inside(self, v: Var, loop: int | None) -> bool:
        """Whether v is defined in the body of a loop, at any depth."""
        if loop is None:
            return True
        at = self.owner.get(v)
        while at is not None:
            if at == loop:
                return True
            at = self.parent[at]
        return False

    def final(self, load: Load) -> bool:
        """Whether the cell that a load reads is never written at a later time."""
        return self.settled(load, load.base)

    def settled(self, s: Stmt, base: Base) -> bool:
        """Whether memory is never written at a later time than where a statement stands.

        A write comes later if it stands after the statement, or shares a loop with it (the next iteration).
        """
        here = self.place.get(id(s))
        if here is None or base in self.volatile:
            return False
        return not any(
            k.order > here.order or (k.loops and here.loops and k.loops[0] == here.loops[0]) for k in self.kills.get(base, ())
        )


class Callees(Protocol):
    """What is known of the functions that a body calls."""

    def varied(self, call: Call, active: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
        """For the places of active arguments: the places of the results, and of the written arguments, that vary."""
        ...


def varied(
    body: Block, bases: set[Base], everything: bool = False, *, given: Collection[Var] = (), callees: Callees | None = None
) -> tuple[set[Var], set[Base]]:
    """Scalars and bases that depend differentiably on the given bases and variables; with ``everything``, all of float dtype."""
    scalars: set[Var] = set(given)
    memory = set(bases)
    statements = list(walk(body))
    if everything:
        for s in statements:
            scalars.update(v for v in (*defined(s), *inner_defined(s)) if is_float(v.dt))
            if not isinstance(s, Dim):
                memory.update(b for b in bases_of(s) if is_float(b.dt))
        return scalars, {b for b in memory if b.role != "const"}

    def has(a: Atom) -> bool:
        return isinstance(a, Var) and a in scalars

    while True:
        before = len(scalars), len(memory)
        for s in statements:
            if isinstance(s, Let):
                if is_float(s.var.dt) and any(has(a) and rules.OPS[s.op].term(k) is not None for k, a in enumerate(s.args)):
                    scalars.add(s.var)
            elif isinstance(s, Load):
                if s.base in memory and is_float(s.base.dt):
                    scalars.add(s.var)
            elif isinstance(s, Store):
                if has(s.value) and is_float(s.base.dt):
                    memory.add(s.base)
            elif isinstance(s, Each):
                scalars.update(v for v, init, terms in s.sums if any(map(has, (init, *terms))))
            elif isinstance(s, If):
                scalars.update(v for v, a, b in s.phis if is_float(v.dt) and (has(a) or has(b)))
            elif isinstance(s, (For, While)):
                for (v, init), y, r in zip(s.carries, s.yields, s.results, strict=True):
                    if is_float(v.dt) and (has(init) or has(y) or v in scalars):
                        scalars.update((v, r))
            elif isinstance(s, Foreign):
                if any(map(has, atoms_of(s))) or any(b in memory for b in read_by(s)):
                    scalars.update(v for _, v in s.results if is_float(v.dt))
                    memory.update(b for b in written_by(s) if is_float(b.dt))
            elif isinstance(s, Call):
                assert callees is not None
                passed = frozenset(k for k, a in enumerate(s.args) if a in scalars or a in memory)
                results, written = callees.varied(s, passed)
                scalars.update(s.results[k] for k in results)
                memory.update(s.args[k] for k in written)  # type: ignore[misc]
        if (len(scalars), len(memory)) == before:
            return scalars, memory
