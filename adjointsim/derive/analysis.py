"""Facts about a primal function that the reverse pass needs: where values are defined, what is overwritten, what varies.

Every analysis answers "no" (or "unknown") for what it does not list: a new node kind makes things slower, not wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from . import rules
from .dependence import apart
from .ir import (
    CAPTURED,
    Alloc,
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

__all__ = ["EXACT", "Callees", "Layout", "useful", "varied"]

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
    branches: Branches  # the tests of all branches around it, and what they are there


Branches = tuple[tuple[Atom, bool], ...]
_MANY = 16  # writes to one base, above which nobody looks at its cells


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
    loops: dict[int, Stmt] = field(default_factory=dict)
    kills: dict[Base, list[Stmt]] = field(default_factory=dict)
    readers: dict[Base, list[Stmt]] = field(default_factory=dict)
    stored: dict[Var, list[Store]] = field(default_factory=dict)  # value -> the stores that set cells to it
    direct: set[int] = field(default_factory=set)  # ids of statements that stand in the body of a loop, or of the function
    given: Collection[Base] = ()  # results that may be had on the way back
    volatile: Collection[Base] = ()  # parameters that the caller may write between a function and its reverse
    #: loops whose iterations are run again on the way back, and the arrays that are then as at the end of an iteration
    rerun: dict[int, Collection[Base]] = field(default_factory=dict)
    _final: dict[int, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Block, volatile: Collection[Base] = ()) -> Layout:
        layout = cls(volatile=volatile)
        layout._block(body, (), (), None, ())
        return layout

    def _block(
        self, block: Block, loops: tuple[int, ...], tests: tuple[Atom, ...], owner: int | None, branches: Branches
    ) -> None:
        for s in block:
            self.place[id(s)] = _Access(len(self.place), loops, branches)
            if not tests:
                self.direct.add(id(s))
            for v in defined(s):
                self.owner[v] = owner
                self.made[v] = s
                self.tests[v] = tests
            for base in written_by(s):
                self.kills.setdefault(base, []).append(s)
            if isinstance(s, Store) and s.mode == "set" and isinstance(s.value, Var):
                self.stored.setdefault(s.value, []).append(s)
            if isinstance(s, (Load, Call, Foreign)):
                for base in bases_of(s):
                    self.readers.setdefault(base, []).append(s)
            if isinstance(s, (For, While, Each)):
                self.parent[id(s)] = owner
                self.loops[id(s)] = s
                for v in inner_defined(s):
                    self.owner[v] = id(s)
                    self.made[v] = s
                    self.tests[v] = ()
                    self.heads.add(v)
                once = isinstance(s, For) and isinstance(s.count, Const) and s.count.value == 1  # has no next iteration
                inner = loops if once else (*loops, id(s))
                within = branches
                if isinstance(s, While):
                    self._block(s.head, inner, (), id(s), branches)
                    within = (*branches, (s.test, True))
                self._block((*s.body, *s.stores) if isinstance(s, Each) else s.body, inner, (), id(s), within)
            elif isinstance(s, If):
                self._block(s.then, loops, (*tests, s.test), owner, (*branches, (s.test, True)))
                self._block(s.orelse, loops, (*tests, s.test), owner, (*branches, (s.test, False)))

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

    def final(self, access: Load | Store) -> bool:
        """Whether the cell that a load reads, or a store writes, is never written between then and the way back."""
        if id(access) not in self._final:
            self._final[id(access)] = self.settled(access, access.base) or self._untouched(access)
        return self._final[id(access)]

    def settled(self, s: Stmt, base: Base) -> bool:
        """Whether memory is never written between where a statement stands and the way back."""
        if id(s) not in self.place:
            return False
        depth = self.depth(s, base)
        return (depth > 0 or base not in self.volatile) and not any(True for _ in self.later(s, self.kills.get(base, ()), depth))

    def run_again(self, loop: Stmt, bases: Collection[Base]) -> None:
        """Note that the iterations of a loop will be run again on the way back; what was said of them may change."""
        self.rerun[id(loop)] = bases
        self._final.clear()

    def depth(self, s: Stmt, base: Base) -> int:
        """The number of loops around a statement up to the last whose iteration is run again before its way back: there, what
        other iterations of that write to memory does not matter."""
        again = [k for k, loop in enumerate(self.place[id(s)].loops, 1) if base in self.rerun.get(loop, ())]
        return again[-1] if again else 0

    def later(self, s: Stmt, others: Iterable[Stmt], depth: int = 0) -> Iterator[tuple[Stmt, int]]:
        """Those of other statements that run at a later time than where a statement stands: those after it, and those that
        share a loop with it (in a later iteration); and the number of loops around both of which they are in the same
        iteration, which is at least ``depth``."""
        here = self.place[id(s)]
        for other in others:
            there = self.place[id(other)]
            shared = 0
            for loop, its in zip(here.loops, there.loops, strict=False):
                if loop != its:
                    break
                read_before = isinstance(self.loops[loop], Each) and isinstance(s, Store) and isinstance(other, Load)
                if shared >= depth and not read_before:
                    yield other, shared
                shared += 1
            if there.order > here.order and shared >= depth:
                yield other, shared

    def _untouched(self, access: Load | Store) -> bool:
        """The same of the one cell of an access, by its index (other cells may be written later)."""
        base, kills = access.base, self.kills.get(access.base, ())
        if id(access) not in self.place or len(kills) > _MANY:
            return False
        depth = self.depth(access, base)
        if not depth and base in self.volatile:
            return False
        return all(isinstance(s, Store) and apart(self, access, s, shared) for s, shared in self.later(access, kills, depth))

    def useless(self, store: Store) -> bool:
        """Whether nobody reads what a store writes, to memory that is made in the function or given to it, and forgotten."""
        allocs = [s for s in self.kills[store.base] if isinstance(s, Alloc)]
        if len(allocs) > 1:
            return False
        made = self.place[id(allocs[0])] if allocs else _Access(-1, (), ())
        depth, readers = len(made.loops), self.readers.get(store.base, ())
        if len(readers) > _MANY or any(self.place[id(s)].loops[:depth] != made.loops for s in (store, *readers)):
            return False
        if made.order > min(self.place[id(s)].order for s in (store, *readers)):
            return False
        return all(isinstance(s, Load) and apart(self, store, s, shared) for s, shared in self.later(store, readers, depth))


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
        return scalars, {b for b in memory if b.role not in CAPTURED}

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


def useful(body: Block, bases: set[Base]) -> tuple[set[Var], set[Base]]:
    """Scalars and bases on which the given bases, when all is done, depend differentiably: no other has a cotangent.

    Of a call, all that it computes is useful if anything is.
    """
    scalars: set[Var] = set()
    memory = set(bases)
    statements = list(reversed(list(walk(body))))

    def use(atoms: Iterable[Atom]) -> None:
        scalars.update(a for a in atoms if isinstance(a, Var) and is_float(a.dt))

    while True:
        before = len(scalars), len(memory)
        for s in statements:
            if isinstance(s, Let):
                if s.var in scalars:
                    use(a for k, a in enumerate(s.args) if rules.OPS[s.op].term(k) is not None)
            elif isinstance(s, Load):
                if s.var in scalars:
                    memory.add(s.base)
            elif isinstance(s, Store):
                if s.base in memory:
                    use((s.value,))
            elif isinstance(s, Each):
                for v, init, terms in s.sums:
                    if v in scalars:
                        use((init, *terms))
            elif isinstance(s, If):
                for v, a, b in s.phis:
                    if v in scalars:
                        use((a, b))
            elif isinstance(s, (For, While)):
                for (v, init), y, r in zip(s.carries, s.yields, s.results, strict=True):
                    if v in scalars or r in scalars:
                        use((v, init, y, r))
            elif isinstance(s, (Foreign, Call)):
                if any(v in scalars for v in defined(s)) or any(b in memory for b in written_by(s)):
                    use((*atoms_of(s), *defined(s)))
                    read = read_by(s) if isinstance(s, Foreign) else (a for a in s.args if isinstance(a, Base))
                    memory.update(b for b in (*read, *written_by(s)) if is_float(b.dt))
        if (len(scalars), len(memory)) == before:
            return scalars, memory
