"""What the way back needs of the primal: it is replayed, recorded, or rerun from a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .analysis import Layout
from .build import Builder, Names, const
from .ir import (
    ONE,
    ZERO,
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Each,
    For,
    Load,
    Need,
    Stmt,
    Store,
    Var,
    While,
    defined,
    free_vars,
    inner_defined,
    is_float,
    walk,
    written_by,
)  # fmt: skip
from .loops import each_to_loops, overlaps
from .plan import NOT, Plan, lift, replay

if TYPE_CHECKING:
    from .split import Calls
    from .undo import Undone

__all__ = ["Around", "Recording"]


class Recording:
    """Makes primal values available to reversed loop bodies; the base class of the reverse pass."""

    names: Names
    b: Builder
    root: str  # the name of the function that is reversed
    layout: Layout
    level: int
    arenas: dict[str, Base]
    tops: Base
    used: set[Base]
    calls: Calls
    undone: Undone
    restores: dict[int, list[tuple[Store, Var]]]  # loop id -> its stores that are undone first, and what they overwrote
    lost: dict[Var, Load]  # loads whose values were recorded

    def _provide(
        self, s: For | While, record: list[Stmt], stmts: Block, yields: list[Atom], index: Var, trips: Atom
    ) -> tuple[list[Stmt], list[Stmt], dict[Atom, Atom], Around]:
        """Make the primal values that a reversed body names available at its start."""
        passed = {a: None for st in walk(stmts) if isinstance(st, Call) for a in st.args if isinstance(a, Var)}
        plan = Plan(self.layout, id(s), self.level, self.undone, passed)
        restores = self.restores.get(id(s), [])
        early = plan.for_stores([store for store, _ in restores])
        plan.recorded.update((old, None) for _, old in restores)
        for v in (*passed, *self._needs(s, stmts, yields)):  # (what is passed is not to be replayed for others first)
            plan.visit(v)
        self.lost.update((v, made) for v in plan.recorded if isinstance(made := self.layout.made[v], Load))
        prefix = Builder(self.names)
        prefix.line = s.line
        rename: dict[Atom, Atom] = {}
        around = Around()
        recorded = list(plan.recorded)
        if isinstance(s, For) and s.var is not index and s.var in plan.direct:
            rename[s.var] = prefix.op("add", s.lo, prefix.op("mul", index, s.step), root=s.var.name)
        if recorded:
            record = self._record(s, record, recorded, prefix, rename, around, index)
        if restores:
            replay(s.body, early, prefix, rename)
            for store, old in restores:
                prefix.store(store.base, tuple(rename.get(a, a) for a in store.index), rename[old], "set", store.wrap)
        replay(s.body, plan.replayed - early, prefix, rename, plan.reread)
        return record, prefix.stmts, rename, around

    def _needs(self, s: For | While | Each, stmts: Block, yields: list[Atom]) -> list[Var]:
        """The primal values of an iteration that the reversed body names."""
        named = {**free_vars(stmts), **{y: None for y in yields if isinstance(y, Var)}}
        return [v for v in named if self.layout.owner.get(v, NOT) == id(s)]

    # a loop in time inside a step: its iterations would record whole arrays cell by cell, several values a cell.  One
    # snapshot of what an iteration reads and overwrites is less; the reversed iteration runs the body again from it
    def _carried_arrays(self, s: For | While) -> list[Base]:
        """Arrays from outside of a loop that its body both reads and writes (a store that is undone reads, too)."""
        own = {st.base for st in walk(s.body) if isinstance(st, Alloc)}
        read = {b for st in walk(s.body) for b in self.calls.reads(st)}
        read.update(self.undone.stores[id(st)].base for st in walk(s.body) if id(st) in self.undone.stores)
        written = dict.fromkeys(b for st in walk(s.body) for b in written_by(st))
        return [b for b in written if b in read and b not in own]

    def _remade(self, s: For | While) -> set[Base]:
        """Arrays that are as at the end of an iteration when it has been run again."""
        return {*self._carried_arrays(s), *(st.base for st in walk(s.body) if isinstance(st, Alloc))}

    def _time_like(self, s: For | While, record: list[Stmt]) -> bool:
        """Whether a snapshot an iteration is less than what its inner loops record.

        What the body only reads must then still be there on the way back.
        """
        if self.level == 0 or (isinstance(s, For) and s.count == ONE):  # (a helper is reversed as a loop of one iteration)
            return False
        if id(s) in self.layout.rerun:
            return True
        safe = self._remade(s)
        if not all(b in safe or self.layout.settled(st, b) for st in walk(s.body) for b in self.calls.reads(st)):
            return False
        inner = {v for st in walk(s.body) for v in (*defined(st), *inner_defined(st))}
        if any(d in inner for st in walk(s.body) for d in _memory(st)):
            return False  # an iteration is a function, and memory belongs to its caller
        swept = self.calls.swept(s.body)
        if not all(b in swept for b in self._carried_arrays(s)):
            return False  # an array that is touched here and there only: a snapshot of it would be far more
        return self.calls.recorded(tuple(record)) > len(self._carried_arrays(s))

    def _rerun(
        self, s: For | While, record: list[Stmt], stmts: Block, yields: list[Atom], index: Var, trips: Atom
    ) -> tuple[list[Stmt], list[Stmt], dict[Atom, Atom], Around]:
        """Snapshot at the start of each iteration; on the way back: restore, run the recording body, reverse it.

        The recording body is a function, which both ways call.
        """
        needs = self._needs(s, stmts, yields)
        block = each_to_loops(tuple(record), self.names, overlaps)
        lifted: dict[Var, Var] = {}
        for v in needs:
            if v not in self.layout.heads:
                block, lifted[v] = lift(block, v, self.names)
        used = {*free_vars(block), *needs}
        scalars = [v for v, _ in s.carries if v in used]
        arrays = self._carried_arrays(s)
        save, load = Builder(self.names, number=False), Builder(self.names, number=False)
        save.line = load.line = s.line
        rename: dict[Atom, Atom] = {}
        for dt, tape in self.arenas.items():
            mine = [v for v in scalars if (dt == "f8") == is_float(v.dt)]
            bases = [b for b in arrays if (dt == "f8") == is_float(b.dt)]
            if not mine and not bases:
                continue
            self.used.update((tape, self.tops))
            cell = (const(0 if dt == "f8" else 1, "i8"),)
            top = save.load(self.tops, cell, "top", "never")
            end = save.op("add", top, _snapshot_size(save, mine, bases))
            save.add(Need(tape, end, s.line))
            save.store(self.tops, cell, end, "set", "never")
            back = load.op("sub", load.load(self.tops, cell, "top", "never"), _snapshot_size(load, mine, bases))
            load.store(self.tops, cell, back, "set", "never")
            for j, v in enumerate(mine):
                save.store(tape, (save.op("add", top, const(j, "i8")),), save.cast(v, dt), "set", "never")
                rename[v] = load.cast(load.load(tape, (load.op("add", back, const(j, "i8")),), v.name, "never"), v.dt)
            top, back = save.op("add", top, const(len(mine), "i8")), load.op("add", back, const(len(mine), "i8"))
            for b in bases:
                top = _snapshot(save, tape, top, b, store=True)
                back = _snapshot(load, tape, back, b, store=False)
        if isinstance(s, For) and s.var is not index:
            rename[s.var] = load.op("add", s.lo, load.op("mul", index, s.step), root=s.var.name)
        left = [a for a in (*s.yields, s.stop, *lifted.values()) if isinstance(a, Var)]
        memory = {st.base: replace(st, fill="none") for st in walk(block) if isinstance(st, Alloc)}
        call = self.calls.iteration(block, left, s.line, self.names, self.root)
        fresh = {v: self.names.var(v.name, v.dt) for v in call.results}
        rename.update({v: fresh[up] for v, up in lifted.items() if up in fresh})
        args = tuple(a if isinstance(a, Base) else rename.get(a, a) for a in call.args)
        again = replace(call, args=args, results=tuple(fresh.values()))
        # the way there records, too, and forgets: so that an arena which is too small is found before a cotangent is touched
        tops = [save.load(self.tops, (const(k, "i8"),), "top", "never") for k in (0, 1)]
        forget = Builder(self.names, number=False)
        for k, top in enumerate(tops):
            forget.store(self.tops, (const(k, "i8"),), top, "set", "never")
        return [*save.stmts, *memory.values(), call, *forget.stmts], [*load.stmts, *memory.values(), again], rename, Around()

    def kept(self, arrays: list[Base], line: int) -> tuple[list[Stmt], dict[Base, Base]]:
        """Statements that keep arrays on the tape as they are now; written for the way back: the same taken from there, into
        memory of its own."""
        save, found = Builder(self.names, number=False), {}
        save.line, self.b.part = line, "primal"
        for dt, tape in self.arenas.items():
            bases = [b for b in arrays if (dt == "f8") == is_float(b.dt)]
            if not bases:
                continue
            self.used.update((tape, self.tops))
            cell = (const(0 if dt == "f8" else 1, "i8"),)
            top = save.load(self.tops, cell, "top", "never")
            end = save.op("add", top, _snapshot_size(save, [], bases))
            save.add(Need(tape, end, line))
            save.store(self.tops, cell, end, "set", "never")
            back = self.b.op("sub", self.b.load(self.tops, cell, "top", "never"), _snapshot_size(self.b, [], bases))
            self.b.store(self.tops, cell, back, "set", "never")
            for b in bases:
                new = found[b] = Base(self.names.fresh(b.name.split(".")[0]), b.dt, b.rank, "local")
                self.b.add(Alloc(new, tuple(self.b.dim(b, axis) for axis in range(b.rank)), "none", line))
                top = _snapshot(save, tape, top, b, store=True)
                back = _snapshot(self.b, tape, back, new, store=False)
        return save.stmts, found

    def _record(
        self,
        s: For | While,
        record: list[Stmt],
        values: list[Var],
        prefix: Builder,
        rename: dict[Atom, Atom],
        around: Around,
        index: Var,
    ) -> list[Stmt]:
        """Store ``values`` each iteration, and load them at the start of the reversed one.

        A counted loop whose body records nothing else has a frame of known size, one run of cells a value; any other
        loop pushes a record at the end of each iteration.
        """
        block: Block = tuple(record)
        lifted: list[Var] = []
        for v in values:
            block, out = lift(block, v, self.names)
            lifted.append(out)
        rec = Builder(self.names, number=False)
        rec.line = prefix.line
        rec.stmts.extend(block)
        leaf = isinstance(s, For) and s.stop is None and not any(self.tops in written_by(x) for x in walk(block))
        head, rhead, rtail = (
            Builder(self.names, number=False),
            Builder(self.names, number=False),
            Builder(self.names, number=False),
        )
        for dt, tape in self.arenas.items():
            mine = [(v, w) for v, w in zip(values, lifted, strict=True) if (dt == "f8") == is_float(v.dt)]
            if not mine:
                continue
            self.used.update((tape, self.tops))
            cell = (const(0 if dt == "f8" else 1, "i8"),)
            width = const(len(mine), "i8")
            if leaf:
                size = head.op("mul", s.count, width)  # type: ignore[union-attr]
                base = head.load(self.tops, cell, "frame", "never")
                top = head.op("add", base, size)
                head.add(Need(tape, top, s.line))
                head.store(self.tops, cell, top, "set", "never")
                rbase = rhead.op(
                    "sub", rhead.load(self.tops, cell, "top", "never"), rhead.op("mul", s.count, width), root="frame"
                )  # type: ignore[union-attr]
                rtail.store(self.tops, cell, rbase, "set", "never")
                number = _iteration(rec, s)
                back = index if index is not s.var else _iteration(prefix, s)  # type: ignore[union-attr]
                for j, (v, w) in enumerate(mine):
                    shift = const(j, "i8")
                    at = rec.op("add", rec.op("add", base, rec.op("mul", shift, s.count)), number)  # type: ignore[union-attr]
                    rec.store(tape, (at,), rec.cast(w, dt), "set", "never")
                    at = prefix.op("add", prefix.op("add", rbase, prefix.op("mul", shift, s.count)), back)  # type: ignore[union-attr]
                    rename[v] = prefix.cast(prefix.load(tape, (at,), v.name, "never"), v.dt)
            else:
                base = rec.load(self.tops, cell, "top", "never")
                top = rec.op("add", base, width)
                rec.add(Need(tape, top, s.line))
                rec.store(self.tops, cell, top, "set", "never")
                rbase = prefix.op("sub", prefix.load(self.tops, cell, "top", "never"), width)
                prefix.store(self.tops, cell, rbase, "set", "never")
                for j, (v, w) in enumerate(mine):
                    rec.store(tape, (rec.op("add", base, const(j, "i8")),), rec.cast(w, dt), "set", "never")
                    rename[v] = prefix.cast(prefix.load(tape, (prefix.op("add", rbase, const(j, "i8")),), v.name, "never"), v.dt)
        around.record_head += head.stmts
        around.reverse_head += rhead.stmts
        around.reverse_tail += rtail.stmts
        return rec.stmts


@dataclass
class Around:
    """Statements around a loop: before it on the way there, before and after it on the way back."""

    record_head: list[Stmt] = field(default_factory=list)
    reverse_head: list[Stmt] = field(default_factory=list)
    reverse_tail: list[Stmt] = field(default_factory=list)


def _memory(s: Stmt) -> tuple[Atom, ...]:
    """The lengths of the memory that a statement makes, or needs for what waits in it."""
    if isinstance(s, Each) and overlaps(s):
        return tuple(count for _, _, count in s.axes)
    return s.dims if isinstance(s, Alloc) else ()


def _length(b: Builder, base: Base) -> Atom:
    total: Atom = ONE
    for axis in range(base.rank):
        total = b.op("mul", total, b.dim(base, axis))
    return total


def _snapshot_size(b: Builder, scalars: list[Var], arrays: list[Base]) -> Atom:
    total: Atom = const(len(scalars), "i8")
    for base in arrays:
        total = b.op("add", total, _length(b, base))
    return total


def _snapshot(b: Builder, tape: Base, at: Atom, base: Base, *, store: bool) -> Atom:
    """Copy an array to the tape, or back; returns where the next one begins."""
    index = tuple(b.names.var("ijkl"[axis % 4], "i8") for axis in range(base.rank))
    counts = [b.dim(base, axis) for axis in range(base.rank)]
    with b.block(loop=True) as body:
        cell: Atom = index[0]
        for axis in range(1, base.rank):
            cell = b.op("add", b.op("mul", cell, b.dim(base, axis)), index[axis])
        place = (b.op("add", at, cell),)
        if store:
            b.store(tape, place, b.cast(b.load(base, index, None, "never"), tape.dt), "set", "never")
        else:
            value = b.load(tape, place, None, "never")
            b.store(base, index, b.op("ne", value, ZERO) if base.dt == "b1" else b.cast(value, base.dt), "set", "never")
    nest: Block = tuple(body)
    for axis in reversed(range(base.rank)):
        nest = (For(index[axis], ZERO, counts[axis], ONE, (), nest, (), (), None, None, b.line),)
    for st in nest:
        b.add(st)
    return b.op("add", at, _length(b, base))


def _iteration(b: Builder, s: For | While) -> Atom:
    """The iteration number of a counted loop."""
    assert isinstance(s, For)
    step = s.step.value if isinstance(s.step, Const) else None
    if step == 1:
        return b.op("sub", s.var, s.lo)
    if step == -1:
        return b.op("sub", s.lo, s.var)
    return b.op("floordiv", b.op("sub", s.var, s.lo), s.step)
