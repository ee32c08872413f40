"""Removal of what nothing needs: statements whose results are unused, and stores to memory that is never read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from .analysis import Layout
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
    Foreign,
    If,
    Let,
    Load,
    Need,
    Raise,
    Stmt,
    Store,
    Var,
    While,
    atoms_of,
    bases_of,
    defined,
    may_leave,
    written_by,
)  # fmt: skip

__all__ = ["remove_dead", "remove_dead_stores"]


class _Live:
    """Variables and bases that matter, found by a fixpoint from the effects that a caller can see."""

    def __init__(self, body: Block, bases: Iterable[Base], results: Iterable[Atom]) -> None:
        self.vars: set[Var] = {a for a in results if isinstance(a, Var)}
        self.bases: set[Base] = set(bases)
        self.measured: set[Base] = set()  # memory whose shape is asked for: it must exist, whatever it holds
        size = (-1, -1)
        while size != (len(self.vars), len(self.bases) + len(self.measured)):
            size = len(self.vars), len(self.bases) + len(self.measured)
            self.mark(body)

    def use(self, atoms: Iterable[Atom | None]) -> None:
        self.vars.update(a for a in atoms if isinstance(a, Var))

    def mark(self, block: Block) -> bool:
        """Mark what the block's live statements use; True if the block has any effect."""
        effect = False
        for s in reversed(block):
            effect |= self.statement(s)
        return effect

    def needs(self, s: Call | Foreign) -> bool:
        """Whether a call has an effect that matters: it may leave, or write memory or compute results that matter."""
        return may_leave(s) or any(v in self.vars for v in defined(s)) or any(b in self.bases for b in written_by(s))

    def statement(self, s: Stmt) -> bool:
        if isinstance(s, (Let, Dim, Load)):
            if s.var in self.vars:
                self.use(atoms_of(s))
                if isinstance(s, Load):
                    self.bases.add(s.base)
                elif isinstance(s, Dim):
                    self.measured.add(s.base)
                return True
            return False
        if isinstance(s, Store):
            if s.base in self.bases:
                self.use(atoms_of(s))
                return True
            return False
        if isinstance(s, Alloc):
            needed = s.base in self.bases or s.base in self.measured
            self.use(s.dims if needed else ())
            return needed
        if isinstance(s, (Raise, Need)):
            self.use(atoms_of(s))
            return True
        if isinstance(s, (Call, Foreign)):
            needed = self.needs(s)
            if needed:
                self.use(atoms_of(s))
                self.bases.update(bases_of(s))
            return needed
        if isinstance(s, If):
            for v, a, b in s.phis:
                if v in self.vars:
                    self.use((a, b))
            effect = self.mark(s.then) | self.mark(s.orelse) | any(v in self.vars for v in defined(s))
            if effect:
                self.use((s.test,))
            return effect
        if isinstance(s, Each):
            effect = self.mark(s.stores)
            for v, init, terms in s.sums:
                if v in self.vars:
                    self.use((init, *terms))
                    effect = True
            if effect:
                self.mark(s.body)
                self.use(a for _, lo, count in s.axes for a in (lo, count))
            return effect
        # a loop: carries that matter make their yields matter
        needed = any(v in self.vars for v in defined(s))
        for (v, init), y, r in zip(s.carries, s.yields, s.results, strict=True):
            if v in self.vars or r in self.vars:
                self.use((init, y))
        effect = self.mark(s.body)
        for (v, init), y, r in zip(s.carries, s.yields, s.results, strict=True):
            if v in self.vars or r in self.vars:
                self.vars.add(v)
                self.use((init, y))
        if effect or needed:
            self.use((s.stop,))
            if isinstance(s, For):
                self.use((s.lo, s.count, s.step))
            else:
                self.use((s.test,))
                self.mark(s.head)
            return True
        return False


def _keep(block: Block, live: _Live) -> Block:
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, (Let, Dim, Load)):
            if s.var in live.vars:
                out.append(s)
        elif isinstance(s, Store):
            if s.base in live.bases:
                out.append(s)
        elif isinstance(s, Alloc):
            if s.base in live.bases or s.base in live.measured:
                out.append(s)
        elif isinstance(s, (Call, Foreign)):
            if live.needs(s):
                out.append(s)
        elif isinstance(s, If):
            then, orelse = _keep(s.then, live), _keep(s.orelse, live)
            phis = tuple(p for p in s.phis if p[0] in live.vars)
            if then or orelse or phis:
                out.append(replace(s, then=then, orelse=orelse, phis=phis))
        elif isinstance(s, Each):
            stores = tuple(st for st in s.stores if st.base in live.bases)
            sums = tuple(total for total in s.sums if total[0] in live.vars)
            if stores or sums:
                out.append(replace(s, body=_keep(s.body, live), stores=stores, sums=sums))
        elif isinstance(s, (For, While)):
            body = _keep(s.body, live)
            keep = [k for k, ((v, _), r) in enumerate(zip(s.carries, s.results, strict=True)) if v in live.vars or r in live.vars]
            if not body and not any(v in live.vars for v in defined(s)):
                continue
            parts = {
                "carries": tuple(s.carries[k] for k in keep),
                "yields": tuple(s.yields[k] for k in keep),
                "results": tuple(s.results[k] for k in keep),
                "body": body,
            }
            if isinstance(s, While):
                parts["head"] = _keep(s.head, live)
            out.append(replace(s, **parts))  # type: ignore[arg-type]
        else:
            out.append(s)
    return tuple(out)


def remove_dead_stores(body: Block, bases: Collection[Base]) -> Block:
    """The block without stores of numbers that nobody reads: an adjoint leaves zeros where it has taken a cotangent away.

    ``bases`` are memory that the caller reads afterwards.
    """
    layout = Layout.of(body)

    def kept(block: Block) -> Block:
        return tuple(_with_blocks(s, kept) for s in block if not idle(s))

    def idle(s: Stmt) -> bool:
        return isinstance(s, Store) and isinstance(s.value, Const) and s.base not in bases and layout.useless(s)

    return kept(body)


def _with_blocks(s: Stmt, change: Callable[[Block], Block]) -> Stmt:
    """A statement with the statements of its blocks changed."""
    parts = {"If": ("then", "orelse"), "For": ("body",), "While": ("body",), "Each": ("stores",)}.get(type(s).__name__, ())
    return replace(s, **{name: change(getattr(s, name)) for name in parts}) if parts else s  # type: ignore[arg-type]


def remove_dead(body: Block, bases: Iterable[Base], results: Iterable[Atom] = ()) -> Block:
    """The block without what does not matter to ``bases`` (memory that the caller reads afterwards) or ``results``.

    Loops that do nothing go, whatever their trip count; a ``raise`` and a demand for space stay.
    """
    return _keep(body, _Live(body, bases, results))
