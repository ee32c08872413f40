"""The reverse of an :class:`.Each`: another one over the same domain, with no tape at all."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from .build import Builder, zero
from .ir import Atom, Base, Const, Each, Load, Stmt, Store, Var, substitute, walk
from .plan import Plan, replay
from .record import Recording

__all__ = ["Dense", "Sequential", "bar_name", "is_zero"]


class Sequential(Exception):
    """The reverse of this Each is none: it must be reversed as a loop."""

    def __init__(self, each: Each) -> None:
        super().__init__()
        self.each = each


class Dense(Recording):
    """Reverses an Each; a base class of the reverse pass."""

    b: Any
    loop: Any

    def _inside(self, s: Any) -> AbstractContextManager[Any]:
        raise NotImplementedError

    def take(self, x: Var) -> Atom | None:
        raise NotImplementedError

    def add(self, x: Atom, t: Atom | None) -> None:
        raise NotImplementedError

    def block(self, block: tuple[Stmt, ...]) -> list[Stmt]:
        raise NotImplementedError

    def _get(self, x: Var, loop: Any) -> Atom | None:
        raise NotImplementedError

    def each(self, s: Each) -> None:
        """The reverse of an Each is one over the same domain: independent iterations again, that read the cotangents of what
        was stored, add to those of what was loaded, and are summed into those of scalars from outside."""
        if s.order != "any":
            raise Sequential(s)
        after = [self.take(v) for v, _, _ in s.sums]
        with self._inside(s) as loop, self.b.block(loop=True) as stmts:
            loop.dense = True
            for (_, _, terms), t in zip(s.sums, after, strict=True):
                for term in terms:
                    self.add(term, t)
            self.block((*s.body, *s.stores))
            terms = {x: t for x, t in loop.bars.items() if not self.layout.inside(x, id(s)) and not is_zero(t)}
        for (_, init, _), t in zip(s.sums, after, strict=True):
            self.add(init, t)
        if not terms and not any(isinstance(st, Store) for st in walk(tuple(stmts))):
            return
        plan = Plan(self.layout, id(s), self.level, restored=self.undone.bases)
        for v in self._needs(s, tuple(stmts), [*terms.values()]):
            plan.visit(v)
        if plan.recorded or not _dense(stmts):
            raise Sequential(s)
        prefix = Builder(self.names)
        prefix.line = self.b.line = s.line
        rename: dict[Atom, Atom] = {v: self.names.var(v.name, v.dt) for v, _, _ in s.axes}
        axes = tuple((rename[v], lo, count) for v, lo, count in s.axes)
        replay(s.body, plan.replayed, prefix, rename, plan.reread)
        reverse = substitute(tuple(stmts), lambda a: rename.get(a, a))
        body = (*prefix.stmts, *(st for st in reverse if not isinstance(st, Store)))
        sums: list[tuple[Var, Atom, tuple[Atom, ...]]] = []
        for x, t in terms.items():
            total = self.b.new(bar_name(x), x.dt)
            sums.append((total, self._get(x, self.loop) or zero(x.dt), (rename.get(t, t),)))
            self.loop.bars[x] = total
        stores = tuple(st for st in reverse if isinstance(st, Store))
        self.b.add(Each(axes, body, stores, "any", tuple(sums), s.line, "linear"))  # type: ignore[arg-type]


def _dense(stmts: Iterable[Stmt]) -> bool:
    """Whether the reverse of an Each's body is the body of an Each: no store in a branch, all reads before all writes."""
    read: dict[Base, set[tuple[Atom, ...]]] = {}
    stored: dict[Base, set[tuple[Atom, ...]]] = {}
    added: dict[Base, bool] = {}
    for s in stmts:
        if isinstance(s, Store):
            stored.setdefault(s.base, set()).add(s.index)
            added[s.base] = added.get(s.base, True) and s.mode == "add"
            continue
        for x in walk((s,)):
            if isinstance(x, Store) or (isinstance(x, Load) and x.base in stored):
                return False
            if isinstance(x, Load):
                read.setdefault(x.base, set()).add(x.index)
    return all(len(index | read.get(b, set())) == 1 or (added[b] and b not in read) for b, index in stored.items())


def bar_name(x: Var) -> str:
    """The name of a cotangent."""
    return f"{x.name.split('.')[0]}_bar" if not x.name.split(".")[0].endswith("_bar") else x.name


def is_zero(a: Atom) -> bool:
    return isinstance(a, Const) and a.value == 0
