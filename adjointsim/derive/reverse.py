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

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import rules
from .analysis import Layout, useful, varied
from .build import Builder, Names, const, zero
from .dense import Dense, Sequential, bar_name, is_zero
from .ir import (
    ONE,
    ZERO,
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
    defined,
    free_vars,
    is_float,
    substitute,
    walk,
)  # fmt: skip
from .linear import Linear
from .loops import each_to_loops
from .plan import NOT, lift
from .undo import Undone, worth_undoing

if TYPE_CHECKING:
    from .split import Calls

__all__ = ["Adjoint", "Reverser", "adjoint", "bar_name"]


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
    dense: bool = False  # an Each: what its body contributes to outer scalars are terms of sums
    lifted: dict[Var, Var] = field(default_factory=dict)


class Reverser(Dense):
    """State of one run of the pass; ``level`` 0 records everything and replays nothing."""

    def __init__(
        self,
        names: Names,
        root: str,
        body: Block,
        layout: Layout,
        scalars: set[Var],
        memory: set[Base],
        level: int,
        calls: Calls,
        undone: Iterable[Base] = (),
    ) -> None:
        self.names = names
        self.root = root
        self.body = body
        self.layout = layout
        self.scalars = scalars
        self.memory = memory
        self.level = level
        self.calls = calls
        self.b = Linear(names)
        self.loop = _Loop(None, None)
        self.shadows: dict[Base, Base] = {}
        self.arenas = {dt: Base(names.fresh("tape" if dt == "f8" else "itape"), dt, 1, "arena") for dt in ("f8", "i8")}
        self.tops = Base(names.fresh("tops"), "i8", 1, "arena")
        self.used: set[Base] = set()
        self.undone = Undone(layout, undone)
        self.restores: dict[int, list[tuple[Store, Var]]] = {}
        self.lost: dict[Var, Load] = {}

    # ---------------------------------------------------------------------------------------------------- cotangents
    def shadow(self, base: Base) -> Base:
        if base not in self.shadows:
            root = base.name.split(".")[0]
            self.shadows[base] = Base(self.names.fresh(f"{root}_bar"), base.dt, base.rank, "shadow")
        return self.shadows[base]

    def _get(self, x: Var, loop: _Loop) -> Atom | None:
        if x in loop.bars:
            return loop.bars[x]
        if loop.outer is not None and not loop.dense and not self.layout.inside(x, loop.id):
            if x not in loop.sums:  # a scalar from outside: its cotangent is carried through the reversed loop
                loop.sums[x] = self.b.new(bar_name(x), x.dt)
            return loop.sums[x]
        return None

    def add(self, x: Atom, t: Atom | None) -> None:
        """``xbar += t``."""
        if not isinstance(x, Var) or x not in self.scalars or t is None or is_zero(t):
            return
        t = self.b.cast(t, x.dt)
        old = self._get(x, self.loop)
        self.loop.bars[x] = t if old is None or is_zero(old) else self.b.op("add", old, t, root=bar_name(x))

    def take(self, x: Var) -> Atom | None:
        """The cotangent of x, which is then forgotten; None if it is zero."""
        t = self.loop.bars.pop(x, None)
        return None if t is None or is_zero(t) else t

    def zero_shadow(self, base: Base) -> None:
        """``base_bar[...] = 0``: what was the base's before it was written as a whole is no matter."""
        shadow = self.shadow(base)
        index = tuple(self.names.var("ijkl"[axis % 4], "i8") for axis in range(base.rank))
        counts = [self.b.dim(shadow, axis) for axis in range(base.rank)]
        nest: Block = (Store(shadow, index, zero(base.dt), "set", "never", self.b.line, "linear"),)
        for axis in reversed(range(base.rank)):
            nest = (For(index[axis], ZERO, counts[axis], ONE, (), nest, (), (), None, None, self.b.line, "linear"),)
        self.b.add(nest[0])

    # --------------------------------------------------------------------------------------------------- statements
    def block(self, block: Block) -> list[Stmt]:
        """Write the reverse of a block; returns the block as it must run on the way there, recording."""
        record = [self.statement(s) for s in reversed(block)]
        return [s for group in reversed(record) for s in group]

    def shadows_of(self, block: Block, rerun: bool = False) -> None:
        """Zeroed shadows of the arrays that one run of a body allocates, in branches too, but not in inner loops.

        They must stand at the very start of the way back: an array that is allocated in a branch may be used after it.  The
        arrays themselves are there if the body was ``rerun``.
        """
        for s in block:
            if not rerun and isinstance(s, Alloc) and s.base.role == "local" and self.layout.place[id(s)].loops:
                self.b.add(Alloc(s.base, s.dims, "none", s.line))  # of this iteration's length, should it be restored
            if isinstance(s, Alloc) and s.base in self.memory and s.base.role == "local":
                self.b.add(Alloc(self.shadow(s.base), s.dims, "zero", s.line, "linear"))
            elif isinstance(s, If):
                self.shadows_of(s.then, rerun)
                self.shadows_of(s.orelse, rerun)

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
            if id(s) in self.undone.stores:
                return [self._undo(s), s]
        elif isinstance(s, If):
            return self._if(s)
        elif isinstance(s, Each):
            self.each(s)
        elif isinstance(s, (For, While)):
            return self._reverse_loop(s)
        elif isinstance(s, Call):
            return self.calls.reverse(self, s)
        elif not isinstance(s, (Dim, Alloc, Raise)):
            raise NotImplementedError(type(s).__name__)
        return [s]

    def _undo(self, s: Store) -> Load:
        """Put back what a store overwrites; returns the load that keeps it."""
        old = Load(self.names.var(f"{_root(s.base)}_old", s.base.dt), s.base, s.index, s.wrap, s.line)
        self.layout.owner[old.var], self.layout.made[old.var], self.layout.tests[old.var] = self.loop.id, old, ()
        loop = self.layout.loops.get(self.loop.id)  # type: ignore[arg-type]
        if isinstance(loop, (For, While)) and self.undone.first(loop, s.base):
            self.restores.setdefault(id(loop), []).append((s, old.var))
        else:
            self.b.part = "primal"
            self.b.store(s.base, s.index, old.var, "set", s.wrap)
        return old

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
            pairs.append((bar_name(x), sides[0][2].get(x, old), sides[1][2].get(x, old)))
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
    def _inside(self, s: For | While | Each) -> Iterator[_Loop]:
        self.loop = loop = _Loop(id(s), self.loop)
        try:
            yield loop
        finally:
            self.loop = loop.outer  # type: ignore[assignment]

    def _reverse_loop(self, s: For | While) -> list[Stmt]:
        """Reverse a loop: the same number of iterations, last first."""
        after = [self.take(r) for r in s.results]
        live = {k for k, t in enumerate(after) if t is not None}
        while True:
            out = self._try_loop(s, after, live)
            if out is not None:
                return out

    def _try_loop(self, s: For | While, after: list[Atom | None], live: set[int]) -> list[Stmt] | None:
        """The same with the carries of ``live`` places; None if more is known now than when this began."""
        params = {k: self.b.new(bar_name(s.carries[k][0]), s.carries[k][0].dt) for k in sorted(live)}
        counted = isinstance(s, For) and isinstance(s.step, Const) and abs(s.step.value) == 1 and s.stop is None  # type: ignore[arg-type]
        trips: Atom = s.trips if s.trips is not None else s.count  # type: ignore[union-attr]
        index = s.var if isinstance(s, For) and counted else self.names.var("k", "i8")
        snapshot = dict(self.loop.bars)
        self.restores.pop(id(s), None)
        with self._inside(s) as loop, self.b.block(loop=True) as stmts:
            for k in sorted(live):
                self.add(s.yields[k], params[k])
            self.shadows_of(s.body, id(s) in self.layout.rerun)
            record = self.block(s.body)
            out_bars = {k: self.take(v) for k, (v, _) in enumerate(s.carries)}
            missing = {k for k, t in out_bars.items() if t is not None and k not in live and s.carries[k][0] in self.scalars}
            sums = dict(loop.sums)
            leftover = {x: loop.bars.get(x, sums[x]) for x in sums}
        if missing:  # a carry whose final value is unused may still matter: its cotangent may come from the next iteration
            self.loop.bars = snapshot
            live |= missing
            return None
        if not stmts and not sums and not live and id(s) not in self.restores:
            return [replace(s, body=tuple(record))]  # nothing flows back through it
        rerun = self._time_like(s, record)
        if rerun and id(s) not in self.layout.rerun:  # then less need be recorded inside
            self.loop.bars = snapshot
            self.layout.run_again(s, self._remade(s))
            return None
        self.b.line = s.line
        yields = [out_bars[k] or zero(params[k].dt) for k in sorted(live)]
        carries: list[tuple[Var, Atom]] = [(params[k], after[k] or zero(params[k].dt)) for k in sorted(live)]
        for x in sums:
            carries.append((sums[x], self._get(x, self.loop) or zero(x.dt)))
            yields.append(leftover[x])
        provide = self._rerun if rerun else self._provide
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


def _root(base: Base) -> str:
    return base.name.split(".")[0]


def adjoint(
    root: str,
    body: Block,
    names: Names,
    active: Iterable[Base],
    results: Iterable[Base],
    level: int,
    calls: Calls,
    given: Collection[Base] = (),
) -> Adjoint:
    """Reverse the primal body of the function ``root`` with respect to the ``active`` bases; ``results`` are the bases whose
    shadows come from outside.  ``calls`` knows the functions that the body calls, and ``given`` are results that the way back can
    have from outside.

    ``level`` 0 treats every float as active, records every value and replays none: the reference that every optimisation
    must match.  An Each whose reverse is none, because it overwrites what its adjoint needs, is reversed as a loop.
    """
    active, results = set(active), tuple(results)
    undone: list[Base] = []
    start = names.copy()
    while True:
        try:
            found, back = _adjoint(root, body, names, active, results, level, calls, undone, given)
        except Sequential as sequential:
            loops = [sequential.each]
        else:
            if undone or not level:
                return found
            undone = worth_undoing(back.layout, back.lost.values())
            if not undone:
                return found
            loops = [s for s in walk(body) if isinstance(s, Each) and any(st.base in undone for st in s.stores)]
        names.restart(start)
        body = each_to_loops(body, names, lambda s, chosen=loops: any(s is each for each in chosen))  # type: ignore[misc]
        start = names.copy()


def _adjoint(
    root: str,
    body: Block,
    names: Names,
    active: set[Base],
    results: tuple[Base, ...],
    level: int,
    calls: Calls,
    undone: Iterable[Base],
    given: Collection[Base],
) -> tuple[Adjoint, Reverser]:
    layout = Layout.of(body)
    layout.given = given
    scalars, memory = varied(body, active, everything=level == 0, callees=calls)
    if level:
        needed, held = useful(body, {*active, *results})
        scalars, memory = scalars & needed, memory & held
    pass_ = Reverser(names, root, body, layout, scalars, memory, level, calls, undone)
    for base in (*results, *active):
        if is_float(base.dt):
            pass_.shadow(base)
    pass_.shadows_of(body)
    record: Block = tuple(pass_.block(body))
    reverse: Block = tuple(pass_.b.stmts)
    # at the function's own level values are visible; those defined inside a branch must be lifted out of it
    rename: dict[Atom, Atom] = {}
    for v in free_vars(reverse):
        if v in layout.made and layout.owner.get(v, NOT) is None:
            record, up = lift(record, v, names)
            if up != v:
                rename[v] = up
    reverse = substitute(reverse, lambda a: rename.get(a, a))
    head = Builder(names, number=False)
    if pass_.tops in pass_.used:
        for k in (0, 1):
            head.store(pass_.tops, (const(k, "i8"),), ZERO, "set", "never")
    order = [*pass_.arenas.values(), pass_.tops]
    found = Adjoint((*head.stmts, *record), reverse, pass_.shadows, tuple(b for b in order if b in pass_.used))
    return found, pass_
