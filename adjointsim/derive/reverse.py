"""The adjoint: a primal function and its reverse, as one program of the IR.

The adjoint function first runs the primal, recording what the way back will need, and then walks it backwards.  For a
statement ``y = op(x..)`` with the linear form ``y. = sum coef_k x_k.`` of the rules table, the transpose is

    t = ybar;  ybar = 0;  xbar_k += coef_k * t

Scalars are SSA, so a cotangent is an SSA value as well, and zeroing it is forgetting it; memory has a *shadow* of the same
shape, and ``load`` and ``store`` exchange roles.

What the way back needs of the primal is found from the adjoint that was generated, not from a second table: the primal
values that a reversed loop body names are, one by one,

* visible (defined at the function's own level, or outside of the loop),
* replayed: recomputed at the start of the reversed iteration from memory that is never overwritten later, or else
* recorded in an arena when they are computed.

Control decisions that rest on anything but IEEE-exact arithmetic are always recorded: a recomputed libm function may
differ in the last bit where a loop was vectorised, and then the branch and the tape would disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from . import rules
from .analysis import EXACT, Layout, varied
from .build import Builder, Names, const, zero
from .ir import (
    Alloc, Atom, Base, Block, Const, Dim, For, If, Let, Load, Need, Raise, Stmt, Store, Var, While, defined, free_vars,
    inner_defined, is_float, substitute, walk,
)  # fmt: skip

__all__ = ["Adjoint", "adjoint"]

ONE = const(1, "i8")
ZERO = const(0, "i8")


@dataclass(frozen=True)
class Adjoint:
    """The statements of an adjoint function: ``record`` (the primal, recording) followed by ``reverse``."""

    record: Block
    reverse: Block
    shadows: dict[Base, Base]  # of parameters and results
    arenas: tuple[Base, ...]  # those in use: f8, i8 and the stack tops


@dataclass
class _Loop:
    """A loop that is being reversed."""

    id: int | None
    outer: _Loop | None
    bars: dict[Var, Atom] = field(default_factory=dict)
    sums: dict[Var, Var] = field(default_factory=dict)  # outer scalars that the body contributes to -> the carried sum
    lifted: dict[Var, Var] = field(default_factory=dict)


_SIGNS = frozenset({"neg", "mul", "div", "add", "sub"})


class _Linear(Builder):
    """A builder that tells statements on cotangents from primal ones recomputed among them."""

    def __init__(self, names: Names) -> None:
        super().__init__(names, "primal")
        self.linear: set[Var] = set()
        self.negated: dict[Atom, Atom] = {}  # -x -> x

    def op(self, op: str, *args: Atom, root: str | None = None, dt: str | None = None) -> Atom:
        if op in _SIGNS and any(a in self.negated for a in args):
            return self._sign(op, args, root)
        self.part = "linear" if any(a in self.linear for a in args) else "primal"
        result = super().op(op, *args, root=root, dt=dt)
        if self.part == "linear" and isinstance(result, Var):
            self.linear.add(result)
        if op == "neg" and isinstance(result, Var):
            self.negated[result] = args[0]
        return result

    def _sign(self, op: str, args: tuple[Atom, ...], root: str | None) -> Atom:
        """Signs move outwards and meet: exact in IEEE arithmetic."""
        plain = [self.negated.get(a, a) for a in args]
        if op == "neg":
            return plain[0]
        odd = sum(a in self.negated for a in args) % 2
        if op in ("mul", "div"):
            product = self.op(op, *plain, root=root)
            return self.op("neg", product, root=root) if odd else product
        a, b = args
        if op == "add":
            if b in self.negated:
                return self.op("sub", a, plain[1], root=root)
            return self.op("sub", b, plain[0], root=root)
        if b in self.negated:
            return self.op("add", a, plain[1], root=root)
        return self.op("neg", self.op("add", plain[0], b, root=root), root=root)

    def shadow_load(self, base: Base, index: tuple[Atom, ...], root: str) -> Atom:
        self.part = "linear"
        result = self.load(base, index, root, self._wrap)
        if isinstance(result, Var):
            self.linear.add(result)
        return result

    _wrap = "maybe"

    def shadow_store(self, base: Base, index: tuple[Atom, ...], value: Atom, mode: str, wrap: str) -> None:
        self._wrap = wrap
        value = self.cast(value, base.dt)
        self.part = "linear"
        self.store(base, index, value, mode, wrap)

    def new(self, root: str, dt: str) -> Var:
        var = self.names.var(root, dt)
        self.linear.add(var)
        return var


class _Reverser:
    """State of one run of the pass; ``level`` 0 records everything and replays nothing."""

    def __init__(self, names: Names, body: Block, layout: Layout, scalars: set[Var], memory: set[Base], level: int) -> None:
        self.names = names
        self.body = body
        self.layout = layout
        self.scalars = scalars
        self.memory = memory
        self.level = level
        self.b = _Linear(names)
        self.loop = _Loop(None, None)
        self.shadows: dict[Base, Base] = {}
        self.arenas = {dt: Base(names.fresh("tape" if dt == "f8" else "itape"), dt, 1, "arena") for dt in ("f8", "i8")}
        self.tops = Base(names.fresh("tops"), "i8", 1, "arena")
        self.used: set[Base] = set()

    # ---------------------------------------------------------------------------------------------------- cotangents
    def shadow(self, base: Base) -> Base:
        if base not in self.shadows:
            root = base.name.split(".")[0]
            self.shadows[base] = Base(self.names.fresh(f"{root}_bar"), base.dt, base.rank, "shadow")
        return self.shadows[base]

    def _get(self, x: Var, loop: _Loop) -> Atom | None:
        if x in loop.bars:
            return loop.bars[x]
        if loop.outer is not None and not self.layout.inside(x, loop.id):
            if x not in loop.sums:  # a scalar from outside: its cotangent is carried through the reversed loop
                loop.sums[x] = self.b.new(_bar(x), x.dt)
            return loop.sums[x]
        return None

    def add(self, x: Atom, t: Atom | None) -> None:
        """``xbar += t``."""
        if not isinstance(x, Var) or x not in self.scalars or t is None or _is_zero(t):
            return
        t = self.b.cast(t, x.dt)
        old = self._get(x, self.loop)
        self.loop.bars[x] = t if old is None or _is_zero(old) else self.b.op("add", old, t, root=_bar(x))

    def take(self, x: Var) -> Atom | None:
        """The cotangent of x, which is then forgotten; None if it is zero."""
        t = self.loop.bars.pop(x, None)
        return None if t is None or _is_zero(t) else t

    # --------------------------------------------------------------------------------------------------- statements
    def block(self, block: Block) -> list[Stmt]:
        """Write the reverse of a block; returns the block as it must run on the way there, recording."""
        record = [self.statement(s) for s in reversed(block)]
        return [s for group in reversed(record) for s in group]

    def shadows_of(self, block: Block) -> None:
        """Zeroed shadows of the arrays that one run of a body allocates, in branches too, but not in inner loops.

        They must stand at the very start of the way back: an array that is allocated in a branch may be used after it.
        """
        for s in block:
            if isinstance(s, Alloc) and s.base in self.memory and s.base.role == "local":
                self.b.add(Alloc(self.shadow(s.base), s.dims, "zero", s.line, "linear"))
            elif isinstance(s, If):
                self.shadows_of(s.then)
                self.shadows_of(s.orelse)

    def statement(self, s: Stmt) -> list[Stmt]:
        self.b.line = s.line
        if isinstance(s, Let):
            t = self.take(s.var)
            if t is not None:
                for k, a in enumerate(s.args):
                    if isinstance(a, Var) and a in self.scalars and rules.OPS[s.op].term(k) is not None:
                        self.add(a, rules.apply_term(self.b.op, s.op, k, t, s.args, s.var))
        elif isinstance(s, Load):
            t = self.take(s.var)
            if t is not None and s.base in self.memory:
                self.b.shadow_store(self.shadow(s.base), s.index, t, "add", s.wrap)
        elif isinstance(s, Store):
            if s.base in self.memory:
                shadow = self.shadow(s.base)
                if isinstance(s.value, Var) and s.value in self.scalars:
                    self.b._wrap = s.wrap
                    self.add(s.value, self.b.shadow_load(shadow, s.index, f"{_root(s.base)}_bar"))
                if s.mode == "set":
                    self.b.shadow_store(shadow, s.index, zero(s.base.dt), "set", s.wrap)
        elif isinstance(s, If):
            return self._if(s)
        elif isinstance(s, (For, While)):
            return self._reverse_loop(s)
        elif not isinstance(s, (Dim, Alloc, Raise)):
            raise NotImplementedError(type(s).__name__)
        return [s]

    def _if(self, s: If) -> list[Stmt]:
        bars = [(a, b, self.take(v)) for v, a, b in s.phis]
        before = dict(self.loop.bars)
        sides: list[tuple[list[Stmt], list[Stmt], dict[Var, Atom]]] = []
        for which, block in enumerate((s.then, s.orelse)):
            self.loop.bars = dict(before)
            with self.b.block() as stmts:
                for pair in bars:
                    if pair[2] is not None:
                        self.add(pair[which], pair[2])
                record = self.block(block)
            sides.append((stmts, record, self.loop.bars))
        self.b.line = s.line
        changed = [x for x in dict.fromkeys([*sides[0][2], *sides[1][2]]) if sides[0][2].get(x) is not sides[1][2].get(x)]
        inner = {v for block in (s.then, s.orelse) for st in walk(block) for v in defined(st)}
        self.loop.bars = before
        pairs = []
        outer = [x for x in changed if x not in inner]
        for x in outer:
            old = before.get(x) or self._get(x, self.loop) or zero(x.dt)
            pairs.append((_bar(x), sides[0][2].get(x, old), sides[1][2].get(x, old)))
        for x, t in sides[0][2].items():
            if x not in changed and x not in inner:
                self.loop.bars[x] = t
        if sides[0][0] or sides[1][0] or pairs:
            self.b.part = "linear"
            for x, v in zip(outer, self.b.phi(s.test, sides[0][0], sides[1][0], pairs), strict=True):
                self.loop.bars[x] = v
                if isinstance(v, Var):
                    self.b.linear.add(v)
        return [replace(s, then=tuple(sides[0][1]), orelse=tuple(sides[1][1]))]

    # -------------------------------------------------------------------------------------------------------- loops
    @contextmanager
    def _inside(self, s: For | While) -> Iterator[_Loop]:
        self.loop = loop = _Loop(id(s), self.loop)
        try:
            yield loop
        finally:
            self.loop = loop.outer  # type: ignore[assignment]

    def _reverse_loop(self, s: For | While) -> list[Stmt]:
        """Reverse a loop: the same number of iterations, last first."""
        after = [self.take(r) for r in s.results]
        live = {k for k, t in enumerate(after) if t is not None}
        while True:  # a carry whose final value is unused may still matter: its cotangent may come from the next iteration
            out = self._try_loop(s, after, live)
            if isinstance(out, set):
                live |= out
                continue
            return out

    def _try_loop(self, s: For | While, after: list[Atom | None], live: set[int]) -> list[Stmt] | set[int]:
        params = {k: self.b.new(_bar(s.carries[k][0]), s.carries[k][0].dt) for k in sorted(live)}
        counted = isinstance(s, For) and isinstance(s.step, Const) and abs(s.step.value) == 1 and s.stop is None  # type: ignore[arg-type]
        trips: Atom = s.trips if s.trips is not None else s.count  # type: ignore[union-attr]
        index = s.var if isinstance(s, For) and counted else self.names.var("k", "i8")
        snapshot = dict(self.loop.bars)
        with self._inside(s) as loop, self.b.block(loop=True) as stmts:
            for k in sorted(live):
                self.add(s.yields[k], params[k])
            self.shadows_of(s.body)
            record = self.block(s.body)
            out_bars = {k: self.take(v) for k, (v, _) in enumerate(s.carries)}
            missing = {k for k, t in out_bars.items() if t is not None and k not in live and s.carries[k][0] in self.scalars}
            sums = dict(loop.sums)
            leftover = {x: loop.bars.get(x, sums[x]) for x in sums}
        if missing:
            self.loop.bars = snapshot
            return missing
        if not stmts and not sums and not live:
            return [replace(s, body=tuple(record))]  # nothing flows back through it
        self.b.line = s.line
        yields = [out_bars[k] or zero(params[k].dt) for k in sorted(live)]
        carries: list[tuple[Var, Atom]] = [(params[k], after[k] or zero(params[k].dt)) for k in sorted(live)]
        for x in sums:
            carries.append((sums[x], self._get(x, self.loop) or zero(x.dt)))
            yields.append(leftover[x])
        provide = self._rerun if self._time_like(s, record) else self._provide
        record, prefix, rename, around = provide(s, record, tuple(stmts), [*yields], index, trips)
        body = (*prefix, *substitute(tuple(stmts), lambda a: rename.get(a, a)))  # type: ignore[arg-type]
        yields = [rename.get(y, y) for y in yields]  # type: ignore[arg-type]
        results = [self.b.new(v.name, v.dt) for v, _ in carries]
        for st in around.reverse_head:
            self.b.add(st)
        if counted and isinstance(s, For):
            op = self.b.op
            last = op("add", s.lo, op("mul", op("sub", trips, ONE), s.step))
            lo, step = last, const(-s.step.value, "i8")  # type: ignore[union-attr]
        else:
            lo, step = self.b.op("sub", trips, ONE), const(-1, "i8")
        var = self.names.var(index.name, "i8")
        again = {index: var}
        body = substitute(body, lambda a: again.get(a, a))  # type: ignore[arg-type]
        self.b.add(For(var, lo, trips, step, tuple(carries), body, tuple(yields), tuple(results), None, None, s.line, "linear"))
        for st in around.reverse_tail:
            self.b.add(st)
        for x, total in zip(sums, results[len(live) :], strict=True):
            self.loop.bars[x] = total  # first: an initial value may be one of them
        for k, total in zip(sorted(live), results, strict=False):
            self.add(s.carries[k][1], total)
        return [*around.record_head, replace(s, body=tuple(record))]

    # ------------------------------------------------------------------------------------------ values for the way back
    def _provide(
        self, s: For | While, record: list[Stmt], stmts: Block, yields: list[Atom], index: Var, trips: Atom
    ) -> tuple[list[Stmt], list[Stmt], dict[Atom, Atom], _Around]:
        """Make the primal values that a reversed body names available at its start."""
        plan = _Plan(self.layout, id(s), self.level, index)
        for v in self._needs(s, stmts, yields):
            plan.visit(v)
        prefix = Builder(self.names)
        prefix.line = s.line
        rename: dict[Atom, Atom] = {}
        around = _Around()
        recorded = list(plan.recorded)
        if isinstance(s, For) and s.var is not index and s.var in plan.direct:
            rename[s.var] = prefix.op("add", s.lo, prefix.op("mul", index, s.step), root=s.var.name)
        if recorded:
            record = self._record(s, record, recorded, prefix, rename, around, index, trips)
        _replay(s.body, plan, prefix, rename)
        return record, prefix.stmts, rename, around

    def _needs(self, s: For | While, stmts: Block, yields: list[Atom]) -> list[Var]:
        """The primal values of an iteration that the reversed body names."""
        named = {**free_vars(stmts), **{y: None for y in yields if isinstance(y, Var)}}
        return [v for v in named if self.layout.owner.get(v, _NOT) == id(s)]

    # a loop in time inside a step: its iterations would record whole arrays cell by cell, several values a cell.  One
    # snapshot of what an iteration reads and overwrites is less; the reversed iteration runs the body again from it
    def _carried_arrays(self, s: For | While) -> list[Base]:
        """Arrays from outside of a loop that its body both reads and writes."""
        own = {st.base for st in walk(s.body) if isinstance(st, Alloc)}
        read = {st.base for st in walk(s.body) if isinstance(st, Load)}
        written = dict.fromkeys(st.base for st in walk(s.body) if isinstance(st, Store))
        return [b for b in written if b in read and b not in own]

    def _time_like(self, s: For | While, record: list[Stmt]) -> bool:
        """Whether a snapshot an iteration is less than what its inner loops record.

        What the body only reads must then still be there on the way back.
        """
        if self.level == 0:
            return False
        safe = {*self._carried_arrays(s), *(st.base for st in walk(s.body) if isinstance(st, Alloc))}
        if not all(st.base in safe or self.layout.final(st) for st in walk(s.body) if isinstance(st, Load)):
            return False
        tapes = set(self.arenas.values())
        inner = [st for loop in walk(tuple(record)) if isinstance(loop, (For, While)) for st in loop.body]
        recorded = sum(isinstance(st, Store) and st.base in tapes for st in inner)
        return recorded > len(self._carried_arrays(s))

    def _rerun(
        self, s: For | While, record: list[Stmt], stmts: Block, yields: list[Atom], index: Var, trips: Atom
    ) -> tuple[list[Stmt], list[Stmt], dict[Atom, Atom], _Around]:
        """Snapshot at the start of each iteration; on the way back: restore, run the recording body, reverse it."""
        needs = self._needs(s, stmts, yields)
        block: Block = tuple(record)
        lifted: dict[Var, Var] = {}
        for v in needs:
            if v not in self.layout.heads:
                block, lifted[v] = _lift(block, v, self.names)
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
        fresh: dict[Atom, Atom] = {
            v: self.names.var(v.name, v.dt) for st in walk(block) for v in (*defined(st), *inner_defined(st))
        }
        fresh.update(rename)
        again = substitute(block, lambda a: fresh.get(a, a))  # type: ignore[arg-type]
        rename.update({v: fresh[up] for v, up in lifted.items()})
        return [*save.stmts, *s.body], [*load.stmts, *again], rename, _Around()

    def _record(
        self, s: For | While, record: list[Stmt], values: list[Var], prefix: Builder, rename: dict[Atom, Atom], around: _Around, index: Var,
        trips: Atom,
    ) -> list[Stmt]:  # fmt: skip
        """Store ``values`` each iteration, and load them at the start of the reversed one.

        A counted loop whose body records nothing else has a frame of known size, one run of cells a value; any other
        loop pushes a record at the end of each iteration.
        """
        block: Block = tuple(record)
        lifted: list[Var] = []
        for v in values:
            block, out = _lift(block, v, self.names)
            lifted.append(out)
        rec = Builder(self.names, number=False)
        rec.line = prefix.line
        rec.stmts.extend(block)
        leaf = isinstance(s, For) and s.stop is None and not any(isinstance(x, Store) and x.base == self.tops for x in walk(block))
        head, rhead, rtail = Builder(self.names, number=False), Builder(self.names, number=False), Builder(self.names, number=False)
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
                rbase = rhead.op("sub", rhead.load(self.tops, cell, "top", "never"), rhead.op("mul", s.count, width), root="frame")  # type: ignore[union-attr]
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
class _Around:
    """Statements around a loop: before it on the way there, before and after it on the way back."""

    record_head: list[Stmt] = field(default_factory=list)
    reverse_head: list[Stmt] = field(default_factory=list)
    reverse_tail: list[Stmt] = field(default_factory=list)


_NOT = object()


class _Plan:
    """Which values of one iteration are replayed and which are recorded."""

    def __init__(self, layout: Layout, loop: int, level: int, index: Var) -> None:
        self.layout, self.loop, self.level, self.index = layout, loop, level, index
        self.replayed: set[Var] = set()
        self.recorded: dict[Var, None] = {}
        self.direct: set[Var] = set()
        self._inexact: dict[Var, bool] = {}

    def visit(self, v: Atom) -> None:
        if not isinstance(v, Var) or self.layout.owner.get(v, _NOT) != self.loop or v in self.replayed or v in self.recorded:
            return
        s = self.layout.made[v]
        if isinstance(s, For) and v == s.var and v in self.layout.heads:
            self.direct.add(v)
            return
        if self.level == 0 or v in self.layout.heads or (not is_float(v.dt) and self.inexact(v)):
            self.recorded[v] = None
            return
        if isinstance(s, (Let, Dim)) or (isinstance(s, Load) and self.layout.final(s)):
            self.replayed.add(v)
            for a in (*(s.args if isinstance(s, Let) else s.index if isinstance(s, Load) else ()), *self.layout.tests[v]):
                self.visit(a)
            return
        if isinstance(s, If):
            self.replayed.add(v)
            _, a, b = next(p for p in s.phis if p[0] == v)
            for x in (s.test, a, b, *self.layout.tests[v]):
                self.visit(x)
            return
        self.recorded[v] = None

    def inexact(self, v: Atom) -> bool:
        """Whether an integer or bool rests on float arithmetic that need not give the same bits when it is compiled again."""
        if not isinstance(v, Var) or self.layout.owner.get(v, _NOT) != self.loop or v in self.layout.heads:
            return False
        if v not in self._inexact:
            self._inexact[v] = False
            s = self.layout.made[v]
            if isinstance(s, Let):
                self._inexact[v] = (s.op not in EXACT and any(is_float(a.dt) for a in s.args)) or any(self.inexact(a) for a in s.args)
            elif isinstance(s, If):
                _, a, b = next(p for p in s.phis if p[0] == v)
                self._inexact[v] = any(self.inexact(x) for x in (s.test, a, b))
            elif isinstance(s, Load):
                self._inexact[v] = any(self.inexact(a) for a in s.index)
        return self._inexact[v]


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


def _replay(block: Block, plan: _Plan, b: Builder, rename: dict[Atom, Atom]) -> None:
    """Copy the replayed slice of a block; values inside branches are lifted out of them."""

    def get(a: Atom) -> Atom:
        return rename.get(a, a)

    for s in block:
        b.line = s.line
        if isinstance(s, Let) and s.var in plan.replayed:
            rename[s.var] = b.op(s.op, *map(get, s.args), root=s.var.name, dt=s.var.dt)
        elif isinstance(s, Dim) and s.var in plan.replayed:
            rename[s.var] = b.dim(s.base, s.axis)
        elif isinstance(s, Load) and s.var in plan.replayed:
            rename[s.var] = b.load(s.base, tuple(map(get, s.index)), s.var.name, s.wrap)
        elif isinstance(s, If):
            inner = [v for side in (s.then, s.orelse) for st in walk(side) for v in defined(st) if v in plan.replayed]
            phis = [p for p in s.phis if p[0] in plan.replayed]
            if not inner and not phis:
                continue
            sides: list[list[Stmt]] = []
            names: list[dict[Atom, Atom]] = []
            for side in (s.then, s.orelse):
                with b.block() as stmts:
                    local = dict(rename)
                    _replay(side, plan, b, local)
                sides.append(stmts)
                names.append(local)
            pairs = [(v.name, names[0].get(x, x), names[1].get(y, y)) for v, x, y in phis]
            pairs += [(v.name, names[0].get(v, zero(v.dt)), names[1].get(v, zero(v.dt))) for v in inner]
            merged = b.phi(get(s.test), sides[0], sides[1], pairs)
            for v, m in zip([*(p[0] for p in phis), *inner], merged, strict=True):
                rename[v] = m


def _lift(block: Block, v: Var, names: Names) -> tuple[Block, Var]:
    """Make a value that is defined inside branches of a block visible at the block's own level (0 where not computed)."""
    for k, s in enumerate(block):
        if v in defined(s):
            return block, v
        if isinstance(s, If):
            for which, side in enumerate((s.then, s.orelse)):
                if any(v in defined(st) for st in walk(side)):
                    new, out = _lift(side, v, names)
                    up = names.var(v.name, v.dt)
                    pair = (out, zero(v.dt)) if which == 0 else (zero(v.dt), out)
                    phis = (*s.phis, (up, *pair))
                    s = replace(s, phis=phis, **{"then" if which == 0 else "orelse": new})
                    return (*block[:k], s, *block[k + 1 :]), up
    return block, v  # a carry or an index


def _iteration(b: Builder, s: For | While) -> Atom:
    """The iteration number of a counted loop."""
    assert isinstance(s, For)
    step = s.step.value if isinstance(s.step, Const) else None
    if step == 1:
        return b.op("sub", s.var, s.lo)
    if step == -1:
        return b.op("sub", s.lo, s.var)
    return b.op("floordiv", b.op("sub", s.var, s.lo), s.step)


def _bar(x: Var) -> str:
    return f"{x.name.split('.')[0]}_bar" if not x.name.split(".")[0].endswith("_bar") else x.name


def _root(base: Base) -> str:
    return base.name.split(".")[0]


def _is_zero(a: Atom) -> bool:
    return isinstance(a, Const) and a.value == 0


def adjoint(body: Block, names: Names, active: Iterable[Base], results: Iterable[Base], level: int = 1) -> Adjoint:
    """Reverse a primal body with respect to the ``active`` bases; ``results`` are the bases whose shadows come from outside.

    ``level`` 0 treats every float as active, records every value and replays none: the reference that every optimisation
    must match.
    """
    active = set(active)
    layout = Layout.of(body)
    scalars, memory = varied(body, active, everything=level == 0)
    pass_ = _Reverser(names, body, layout, scalars, memory, level)
    for base in (*results, *active):
        if is_float(base.dt):
            pass_.shadow(base)
    pass_.shadows_of(body)
    record: Block = tuple(pass_.block(body))
    reverse: Block = tuple(pass_.b.stmts)
    # at the function's own level values are visible; those defined inside a branch must be lifted out of it
    rename: dict[Atom, Atom] = {}
    for v in free_vars(reverse):
        if v in layout.made and layout.owner.get(v, _NOT) is None:
            record, up = _lift(record, v, names)
            if up != v:
                rename[v] = up
    reverse = substitute(reverse, lambda a: rename.get(a, a))
    head = Builder(names, number=False)
    if pass_.tops in pass_.used:
        for k in (0, 1):
            head.store(pass_.tops, (const(k, "i8"),), ZERO, "set", "never")
    order = [*pass_.arenas.values(), pass_.tops]
    return Adjoint((*head.stmts, *record), reverse, pass_.shadows, tuple(b for b in order if b in pass_.used))
