"""Which values of an iteration are replayed on the way back, read where they were stored, or recorded; replaying."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .analysis import EXACT, Layout
from .build import Builder, Names, zero
from .ir import Atom, Base, Block, Dim, Each, For, If, Let, Load, Stmt, Store, Var, defined, is_float, walk

if TYPE_CHECKING:
    from .undo import Undone

__all__ = ["NOT", "Plan", "lift", "replay"]

NOT = object()
#: what is computed again as fast as it is read
_NOTHING: Mapping[Var, Store] = {}
_QUICK = EXACT - {"div", "sqrt"}


class Plan:
    """Which values of one iteration are replayed and which are recorded."""

    def __init__(
        self,
        layout: Layout,
        loop: int,
        level: int,
        undone: Undone | None = None,
        passed: Collection[Atom] = (),
        restored: Collection[Base] = (),
    ) -> None:
        self.layout, self.loop, self.level, self.undone = layout, loop, level, undone
        self.passed = passed  # to functions, in which decisions may rest on them
        self.reread: dict[Var, Store] = {}
        self.restored = restored if undone is None else undone.bases  # memory that runs backwards
        self._early = False
        self.replayed: set[Var] = set()
        self.recorded: dict[Var, None] = {}
        self.direct: set[Var] = set()
        self._inexact: dict[Var, bool] = {}

    def for_stores(self, stores: Iterable[Store]) -> set[Var]:
        """Visit what the indices of stores need that are undone before anything is loaded from there; what is replayed then."""
        undone, self.undone, self._early = self.undone, None, True
        for a in (a for s in stores for a in s.index):
            self.visit(a)
        self.undone, self._early = undone, False
        return set(self.replayed)

    def visit(self, v: Atom) -> None:
        if not isinstance(v, Var) or self.layout.owner.get(v, NOT) != self.loop or v in self.replayed or v in self.recorded:
            return
        if v in self.reread:
            return
        s = self.layout.made[v]
        store = self._kept(v, s)
        if store is not None:
            self.reread[v] = store
            for a in store.index:
                self.visit(a)
            return
        if v in self.layout.heads and (isinstance(s, Each) or (isinstance(s, For) and v == s.var)):
            self.direct.add(v)
            return
        if self.level == 0 or v in self.layout.heads or ((not is_float(v.dt) or v in self.passed) and self.inexact(v)):
            self.recorded[v] = None
            return
        if isinstance(s, (Let, Dim)) or (isinstance(s, Load) and self._loads(s)):
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

    def _kept(self, v: Var, s: Stmt) -> Store | None:
        """The store after which a cell holds, until the way back, a value that would be recorded, or what it is made of; or that
        takes longer to compute again than to read, in a result that the way back can be given."""
        if self.level == 0 or self._early or not is_float(v.dt) or v in self.layout.heads or self.layout.tests[v]:
            return None
        if isinstance(s, (Dim, Load, If)) or (isinstance(s, Let) and s.op in _QUICK):
            return None
        layout = self.layout
        for store in layout.stored.get(v, ()):
            if layout.place[id(store)].loops != layout.place[id(s)].loops or id(store) not in layout.direct:
                continue
            if store.base.dt != v.dt or not store.base.rank or store.base in self.restored:
                continue
            if not all(self._known(a, s) for a in store.index) or not layout.final(store):
                continue
            if not isinstance(s, Let) or (store.base in layout.given and s.op not in EXACT) or self._records(s):
                return store
        return None

    def _records(self, s: Let) -> bool:
        """Whether something would be recorded for the arguments of an operation."""
        trial = Plan(self.layout, self.loop, self.level, self.undone, self.passed, self.restored)
        trial.replayed, trial.reread, trial.direct = set(self.replayed), dict(self.reread), set(self.direct)
        for a in s.args:
            trial.visit(a)
        return any(v not in self.recorded for v in trial.recorded)

    def _known(self, a: Atom, s: Stmt) -> bool:
        """Whether an index is known where a statement of the same iteration stands."""
        layout = self.layout
        if not isinstance(a, Var) or not layout.inside(a, self.loop):
            return True
        if layout.owner[a] != self.loop or layout.tests[a]:
            return False
        made = layout.made[a]
        return a in layout.heads or (isinstance(made, (Let, Dim)) and layout.place[id(made)].order < layout.place[id(s)].order)

    def _loads(self, s: Load) -> bool:
        """Whether a load gives the same on the way back."""
        final, undone = self.layout.final(s), self.undone
        return final if undone is None else (final and not undone.unmade(s)) or undone.back(s)

    def inexact(self, v: Atom) -> bool:
        """Whether a value rests on float arithmetic that need not give the same bits when it is compiled again:
        in this loop, or in one around it, which may replay it."""
        if not isinstance(v, Var) or self.layout.owner.get(v) is None or v in self.layout.heads:
            return False
        if v not in self._inexact:
            self._inexact[v] = False
            s = self.layout.made[v]
            if isinstance(s, Let):
                self._inexact[v] = (s.op not in EXACT and any(is_float(a.dt) for a in s.args)) or any(
                    self.inexact(a) for a in s.args
                )
            elif isinstance(s, If):
                _, a, b = next(p for p in s.phis if p[0] == v)
                self._inexact[v] = any(self.inexact(x) for x in (s.test, a, b))
            elif isinstance(s, Load):
                self._inexact[v] = any(self.inexact(a) for a in s.index)
        return self._inexact[v]


def replay(
    block: Block, replayed: Collection[Var], b: Builder, rename: dict[Atom, Atom], reread: Mapping[Var, Store] = _NOTHING
) -> None:
    """Copy the replayed slice of a block; values inside branches are lifted out of them, ``reread`` ones are loaded."""

    def get(a: Atom) -> Atom:
        return rename.get(a, a)

    for s in block:
        b.line = s.line
        if reread:
            for v in defined(s):
                if v in reread:
                    kept = reread[v]
                    rename[v] = b.load(kept.base, tuple(map(get, kept.index)), v.name, kept.wrap)
        if isinstance(s, Let) and s.var in replayed:
            rename[s.var] = b.op(s.op, *map(get, s.args), root=s.var.name, dt=s.var.dt)
        elif isinstance(s, Dim) and s.var in replayed:
            rename[s.var] = b.dim(s.base, s.axis)
        elif isinstance(s, Load) and s.var in replayed:
            rename[s.var] = b.load(s.base, tuple(map(get, s.index)), s.var.name, s.wrap)
        elif isinstance(s, If):
            inner = [v for side in (s.then, s.orelse) for st in walk(side) for v in defined(st) if v in replayed]
            phis = [p for p in s.phis if p[0] in replayed]
            if not inner and not phis:
                continue
            sides: list[list[Stmt]] = []
            names: list[dict[Atom, Atom]] = []
            for side in (s.then, s.orelse):
                with b.block() as stmts:
                    local = dict(rename)
                    replay(side, replayed, b, local)
                sides.append(stmts)
                names.append(local)
            pairs = [(v.name, names[0].get(x, x), names[1].get(y, y)) for v, x, y in phis]
            pairs += [(v.name, names[0].get(v, zero(v.dt)), names[1].get(v, zero(v.dt))) for v in inner]
            merged = b.phi(get(s.test), sides[0], sides[1], pairs)
            for v, m in zip([*(p[0] for p in phis), *inner], merged, strict=True):
                rename[v] = m


def lift(block: Block, v: Var, names: Names) -> tuple[Block, Var]:
    """Make a value that is defined inside branches of a block visible at the block's own level (0 where not computed)."""
    for k, s in enumerate(block):
        if v in defined(s):
            return block, v
        if isinstance(s, If):
            for which, side in enumerate((s.then, s.orelse)):
                if any(v in defined(st) for st in walk(side)):
                    new, out = lift(side, v, names)
                    up = names.var(v.name, v.dt)
                    pair = (out, zero(v.dt)) if which == 0 else (zero(v.dt), out)
                    phis = (*s.phis, (up, *pair))
                    s = replace(s, phis=phis, **{"then" if which == 0 else "orelse": new})
                    return (*block[:k], s, *block[k + 1 :]), up
    return block, v  # a carry or an index
