"""Small arrays as numbers: the cells of a local array whose indices are all known become scalars (scalar replacement of
aggregates; Muchnick, "Advanced Compiler Design and Implementation", 1997, section 12.2).

What is derived then handles registers, not memory: a cell has a cotangent without a shadow, nothing is recorded because it is
overwritten, and equal operations on cells are seen to be equal.  States of two or three numbers, given to a right-hand side as
``np.array([u, v])``, cost what numbers cost.

A cell is followed through the structured program like a variable of the user's: an assignment renames it, branches merge it by
phis, loops carry it.  :mod:`.smallarrays` says which arrays, and which loops over them are written out for their indices to
be known.  An array that turns out to be read where nobody can say what was written is left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

from .build import Builder, Names, const, same, zero
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Each,
    For,
    If,
    Let,
    Load,
    Raise,
    Stmt,
    Store,
    Var,
    While,
    substitute,
    walk,
)  # fmt: skip
from .smallarrays import Choice, choose, worth_a_look

__all__ = ["scalarised"]

Cell = tuple[int, ...]
Cells = dict[Base, dict[Cell, Atom | None]]
_FILL: dict[str, int | None] = {"none": None, "zero": 0, "one": 1}


def scalarised(body: Block, names: Names, kept: Collection[Var] = ()) -> Block:
    """The body of an entry function with small arrays replaced by scalars; the same if there are none.

    Variables that are ``kept``, which no loop defines, are known outside of the body, too, and stay defined.
    """
    if not worth_a_look(body):
        return body
    start = names.copy()
    plain = _Rewriting(names, Choice(), kept).whole(body)  # what is known of lengths, written into the program
    left: set[Base] = set()
    between = names.copy()
    while True:
        choice = choose(plain, left)
        if not choice.arrays:
            names.restart(start)
            return body
        rewriting = _Rewriting(names, choice, kept)
        found = rewriting.whole(plain)
        if not rewriting.failed:
            return found
        left |= rewriting.failed
        names.restart(between)


class _Rewriting:
    """One run through a function, which writes it anew.

    cells     what each cell of a replaced array holds here; None where nobody can say
    failed    replaced arrays that must be left alone after all
    """

    def __init__(self, names: Names, choice: Choice, kept: Collection[Var]) -> None:
        self.names, self.arrays, self.written_out, self.kept = names, choice.arrays, choice.loops, kept
        self.b = Builder(names)
        self.values: dict[Atom, Atom] = {}  # what stands for a variable
        self.bases: dict[Base, Base] = {}  # and for an array, in copies
        self.facts: dict[Atom, Atom] = {}  # variables that are known to be a literal from here to the end of the block
        self.unequal: dict[Atom, tuple[Atom, Atom]] = {}  # tests whether a variable is not a literal
        self.cells: Cells = {}
        self.failed: set[Base] = set()
        self.copies = 0  # loops around that are written out

    def whole(self, body: Block) -> Block:
        self.block(body)
        return tuple(self.b.stmts)

    def block(self, block: Block) -> None:
        facts = dict(self.facts)
        for s in block:
            self.b.line, self.b.part = s.line, s.part
            self.statement(s)
        self.facts = facts

    def get(self, a: Atom) -> Atom:
        a = self.values.get(a, a)
        return self.facts.get(a, a)

    def all(self, atoms: Collection[Atom]) -> tuple[Atom, ...]:
        return tuple(map(self.get, atoms))

    def name(self, v: Var) -> Var:
        """What a variable is called: in copies, every one is another."""
        if not self.copies:
            return v
        new = self.values[v] = self.names.var(v.name, v.dt)
        return new

    def is_now(self, v: Var, value: Atom) -> None:
        """What a variable stands for."""
        if value != v:
            self.values[v] = value
            if v in self.kept:
                self.b.add(Let(v, "copy", (value,), self.b.line))

    # --------------------------------------------------------------------------------------------------- statements
    def statement(self, s: Stmt) -> None:
        if isinstance(s, Let):
            self.let(s)
        elif isinstance(s, Dim):
            self.dim(s)
        elif isinstance(s, Load):
            self.load(s)
        elif isinstance(s, Store):
            self.store(self.now(s))
        elif isinstance(s, Alloc):
            self.alloc(s)
        elif isinstance(s, Each):
            self.each(s)
        elif isinstance(s, If):
            self.branch(s)
        elif isinstance(s, (For, While)):
            self.loop(s)
        elif isinstance(s, Call):
            args = tuple(self.bases.get(a, a) if isinstance(a, Base) else self.get(a) for a in s.args)
            self.b.add(replace(s, args=args, results=tuple(map(self.name, s.results))))
        else:  # (new in any case: no statement stands twice in a program)
            self.b.add(replace(substitute((s,), self.get, lambda b: self.bases.get(b, b))[0]))

    def let(self, s: Let) -> None:
        args = self.all(s.args)
        if s.op == "cast" and isinstance(args[0], Const):
            self.is_now(s.var, self.b.cast(args[0], s.var.dt))
            return
        value = self.b.let(s.op, args, None, s.var.dt, self.name(s.var))
        self.is_now(s.var, value)
        if s.op == "ne" and {a.dt for a in args} == {"i8"} and len({isinstance(a, Const) for a in args}) == 2:
            one, other = args if isinstance(args[0], Var) else args[::-1]
            self.unequal[value] = (one, other)

    def dim(self, s: Dim) -> None:
        if s.base in self.arrays:
            self.is_now(s.var, const(self.arrays[s.base][s.axis], "i8"))
        else:
            self.is_now(s.var, self.b.dim(self.bases.get(s.base, s.base), s.axis, self.name(s.var)))

    def load(self, s: Load) -> None:
        index = self.all(s.index)
        if s.base not in self.arrays:
            base = self.bases.get(s.base, s.base)
            self.is_now(s.var, self.b.load(base, index, None, s.wrap, self.name(s.var)))
            return
        value = self.held(s.base, index)
        if value is None:
            self.failed.add(s.base)
            value = zero(s.var.dt)
        self.is_now(s.var, value)

    def now(self, s: Store) -> Store:
        """A store as it is here."""
        return replace(s, base=self.bases.get(s.base, s.base), index=self.all(s.index), value=self.get(s.value))

    def store(self, s: Store) -> None:
        if s.base not in self.arrays:
            self.b.store(s.base, s.index, s.value, s.mode, s.wrap, s.free)
            return
        value: Atom | None = s.value
        if s.mode == "add":
            old = self.held(s.base, s.index)
            value = None if old is None else self.b.op("add", old, s.value, root=s.base.name)
        cell = self.cell(s.base, s.index)
        if cell is None or value is None:
            self.failed.add(s.base)
        else:
            self.cells[s.base][cell] = value

    def cell(self, base: Base, index: tuple[Atom, ...]) -> Cell | None:
        """The cell of an array that an index means; None if it is none of them, or not known."""
        found = []
        for a, n in zip(index, self.arrays[base], strict=True):
            if not isinstance(a, Const) or not -n <= a.value < n:  # type: ignore[operator]
                return None
            found.append(int(a.value) % n)  # type: ignore[arg-type]
        return tuple(found) if base in self.cells else None

    def held(self, base: Base, index: tuple[Atom, ...]) -> Atom | None:
        cell = self.cell(base, index)
        return None if cell is None else self.cells[base][cell]

    def alloc(self, s: Alloc) -> None:
        if s.base in self.arrays:
            fill = _FILL[s.fill]
            value = None if fill is None else const(fill, s.base.dt)
            self.cells[s.base] = dict.fromkeys(product(*map(range, self.arrays[s.base])), value)
            return
        if self.copies:
            self.bases[s.base] = Base(self.names.fresh(s.base.name), s.base.dt, s.base.rank, s.base.role)
        self.b.add(replace(s, base=self.bases.get(s.base, s.base), dims=self.all(s.dims)))

    def each(self, s: Each) -> None:
        if id(s) in self.written_out:
            self.each_written_out(s)
            return
        axes = tuple((self.name(v), self.get(lo), self.get(count)) for v, lo, count in s.axes)
        with self.b.block(loop=True) as body:
            self.block(s.body)
            stores = tuple(map(self.now, s.stores))
            terms = [self.all(terms) for _, _, terms in s.sums]
        sums = tuple((self.name(v), self.get(init), t) for (v, init, _), t in zip(s.sums, terms, strict=True))
        self.b.add(replace(s, axes=axes, body=tuple(body), stores=stores, sums=sums))

    def each_written_out(self, s: Each) -> None:
        """All is read before anything is written; stores and sums in row-major order."""
        stores: list[Store] = []
        totals = [self.get(init) for _, init, _ in s.sums]
        bounds = [(int(lo.value), int(count.value)) for _, lo, count in s.axes]  # type: ignore[union-attr, arg-type]
        for index in product(*(range(lo, lo + count) for lo, count in bounds)):
            with self.copy():
                self.values.update((v, const(k, "i8")) for (v, _, _), k in zip(s.axes, index, strict=True))
                self.block(s.body)
                stores += map(self.now, s.stores)
                for j, (v, _, terms) in enumerate(s.sums):
                    for t in self.all(terms):
                        totals[j] = self.b.op("add", totals[j], t, root=v.name)
        for st in stores:
            self.b.line = st.line
            self.store(st)
        for (v, _, _), total in zip(s.sums, totals, strict=True):
            self.is_now(v, total)

    @contextmanager
    def copy(self) -> Iterator[None]:
        self.copies += 1
        try:
            yield
        finally:
            self.copies -= 1

    # ------------------------------------------------------------------------------------------------------ control
    def branch(self, s: If) -> None:
        test = self.get(s.test)
        if isinstance(test, Const) and not any(isinstance(x, Raise) for x in (s.then if test.value else s.orelse)):
            self.block(s.then if test.value else s.orelse)  # (an iteration that is written out knows its index)
            for v, a, b in s.phis:
                self.is_now(v, self.get(a if test.value else b))
            return
        before = self.known()
        sides: list[tuple[list[Stmt], list[Atom], Cells]] = []
        for which, side in enumerate((s.then, s.orelse)):
            self.cells = before
            self.cells = self.known()
            with self.b.block() as stmts:
                self.block(side)
                ends = [self.get(phi[1 + which]) for phi in s.phis]
            sides.append((stmts, ends, self.cells))
        phis: list[tuple[Var, Atom, Atom]] = []
        joined: list[tuple[Var, Atom]] = []
        for (v, _, _), a, b in zip(s.phis, sides[0][1], sides[1][1], strict=True):
            if same(a, b):
                joined.append((v, a))
            else:
                phis.append((self.name(v), a, b))
        self.b.line = s.line
        self.cells = self.merged(sides[0][2], sides[1][2], phis)
        if sides[0][0] or sides[1][0] or phis:
            self.b.add(replace(s, test=test, then=tuple(sides[0][0]), orelse=tuple(sides[1][0]), phis=tuple(phis)))
        for v, a in joined:
            self.is_now(v, a)
        if isinstance(test, Var) and any(isinstance(x, Raise) for x in s.then):  # who comes past it knows
            self.facts[test] = const(False, "b1")
            if test in self.unequal:
                one, other = self.unequal[test]
                self.facts[one] = other

    def known(self) -> Cells:
        """A copy of what is known of cells."""
        return {base: dict(held) for base, held in self.cells.items()}

    def changed(self, body: Block) -> Iterator[tuple[Base, Cell]]:
        """The cells, of arrays made before a loop, that its body may store to."""
        stores = [x for x in walk(body) if isinstance(x, Store) and x.base in self.cells]
        for base in dict.fromkeys(x.base for x in stores):
            indices = [x.index for x in stores if x.base == base]
            known = all(isinstance(a, Const) for index in indices for a in index)  # (else they are once loops are written out)
            yield from ((base, cell) for cell in self.cells[base] if not known or cell in {self.cell(base, i) for i in indices})

    def merged(self, one: Cells, two: Cells, phis: list[tuple[Var, Atom, Atom]]) -> Cells:
        """What cells hold after two branches, by more ``phis``."""
        found: Cells = {}
        for base in dict.fromkeys((*one, *two)):
            cells = found[base] = {}
            for cell in one.get(base) or two[base]:
                a, b = (side.get(base, {}).get(cell) for side in (one, two))
                if a is None or b is None or same(a, b):
                    cells[cell] = None if b is None else a
                else:
                    cells[cell] = v = self.names.var(base.name, base.dt)
                    phis.append((v, a, b))
        return found

    def loop(self, s: For | While) -> None:
        if id(s) in self.written_out:
            self.loop_written_out(s)  # type: ignore[arg-type]
            return
        parts: dict[str, Any] = {}
        runs = False
        if isinstance(s, For):
            parts = {
                "lo": self.get(s.lo),
                "count": (count := self.get(s.count)),
                "step": self.get(s.step),
                "var": self.name(s.var),
            }
            runs = isinstance(count, Const) and count.value > 0  # type: ignore[operator]
        carries = [(self.name(v), self.get(init)) for v, init in s.carries]
        before = self.known()
        carried = {(base, cell): self.names.var(base.name, base.dt) for base, cell in self.changed(s.body)}
        for (base, cell), v in carried.items():
            self.cells[base][cell] = None if before[base][cell] is None else v
        if isinstance(s, While):
            with self.b.block(loop=True) as head:
                self.block(s.head)
                parts["test"] = self.get(s.test)
            parts["head"] = tuple(head)
        with self.b.block(loop=True) as body:
            self.block(s.body)
            yields = list(self.all(s.yields))
            parts["stop"] = None if s.stop is None else self.get(s.stop)
        parts["body"] = tuple(body)
        self.b.line = s.line
        after, self.cells = self.cells, before
        results = [self.name(r) for r in s.results]
        for (base, cell), v in carried.items():
            init, last = before[base][cell], after[base][cell]
            if last is None or (init is None and not runs):
                assert init is None, "what holds a number goes on to hold one"
                continue
            carries.append((v, zero(base.dt) if init is None else init))
            yields.append(last)
            before[base][cell] = result = self.names.var(base.name, base.dt)
            results.append(result)
        parts["trips"] = None if s.trips is None else self.name(s.trips)
        self.b.add(replace(s, carries=tuple(carries), yields=tuple(yields), results=tuple(results), **parts))

    def loop_written_out(self, s: For) -> None:
        lo, count, step = (int(a.value) for a in (s.lo, s.count, s.step))  # type: ignore[union-attr, arg-type]
        now = [self.get(init) for _, init in s.carries]
        for k in range(count):
            with self.copy():
                self.values[s.var] = const(lo + k * step, "i8")
                self.values.update(zip((v for v, _ in s.carries), now, strict=True))
                self.block(s.body)
                now = [self.get(y) for y in s.yields]
        for r, value in zip(s.results, now, strict=True):
            self.is_now(r, value)
