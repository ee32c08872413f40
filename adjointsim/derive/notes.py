"""Numbers that a step says are worth keeping: where every state is stored they are beside it, and the way back reads them.

``noted(x, k)`` is x.  In a step of many operations on few numbers, such as one of a Runge-Kutta method, what is computed from the
k-th one on does not wait then for all that it was computed from.

The bits of a gradient do not depend on it: where a compiler may not choose an order, x has the same bits on the way there and
on the way back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from .analysis import EXACT
from .build import const
from .entry import Entry
from .ir import (
    Atom,
    Base,
    Block,
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
    blocks_of,
    is_float,
    substitute,
    walk,
)
from .rules import NOTED

__all__ = ["Notes", "forgotten", "notes_of", "read_back", "same_bits", "straight", "written_down"]


class Notes(NamedTuple):
    """Numbers, and where each of them is written to: a place in a ``row`` of so ``many``."""

    row: Base
    many: int
    places: dict[Var, int]


def notes_of(entry: Entry) -> Notes | None:
    """What a step says is worth keeping; None without such numbers outside of loops, or if their bits are not known."""
    found = {s.var: s.args[1].value for s in straight(entry.fn.body) if isinstance(s, Let) and s.op == NOTED}  # type: ignore[union-attr]
    often = Counter(found.values())
    places = {v: int(k) for v, k in found.items() if often[k] == 1 and v.dt == "f8"}
    bodies = entry.fn.body, *(helper.fn.body for helper in entry.helpers)
    if not places or entry.opaques or not all(map(same_bits, bodies)):
        return None
    return Notes(Base(entry.anew().names.fresh("noted"), "f8", 1, "local"), 1 + max(places.values()), places)


def straight(block: Block) -> Iterator[Stmt]:
    """The statements of a block outside of loops in it."""
    for s in block:
        yield s
        if isinstance(s, If):
            yield from straight(s.then)
            yield from straight(s.orelse)


def forgotten(block: Block) -> Block:
    """A block without what it says is worth keeping."""
    same: dict[Atom, Atom] = {s.var: s.args[0] for s in walk(block) if isinstance(s, Let) and s.op == NOTED}
    if not same:
        return block

    def value(a: Atom) -> Atom:
        while a in same:
            a = same[a]
        return a

    gone = _changed(block, lambda s: () if isinstance(s, Let) and s.op == NOTED else (s,), loops=True)
    return substitute(gone, value, lambda b: b)


def written_down(block: Block, notes: Notes) -> Block:
    """A block that writes the numbers to their row."""

    def after(s: Stmt) -> Block:
        k = notes.places.get(s.var) if isinstance(s, Let) else None
        return (s,) if k is None else (s, Store(notes.row, (const(k, "i8"),), s.var, "set", "never", s.line))  # type: ignore[union-attr]

    return _changed(block, after)


def read_back(block: Block, notes: Notes) -> Block:
    """A block that reads the numbers there instead of computing them."""

    def instead(s: Stmt) -> Block:
        k = notes.places.get(s.var) if isinstance(s, Let) else None
        return (s,) if k is None else (Load(s.var, notes.row, (const(k, "i8"),), "never", s.line, s.part),)  # type: ignore[union-attr]

    return _changed(block, instead)


def _changed(block: Block, change: Callable[[Stmt], Block], loops: bool = False) -> Block:
    """A block with its statements changed: those outside of loops, or all."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=_changed(s.then, change, loops), orelse=_changed(s.orelse, change, loops))
        elif loops and isinstance(s, While):
            s = replace(s, head=_changed(s.head, change, loops), body=_changed(s.body, change, loops))
        elif loops and isinstance(s, (For, Each)):
            s = replace(s, body=_changed(s.body, change, loops))
        out += change(s)
    return tuple(out)


def same_bits(block: Block, loop: bool = False) -> bool:
    """Whether a block gives the same bits wherever it is compiled: libraries of vectors have functions of their own for loops."""
    for s in block:
        if isinstance(s, Foreign) or (isinstance(s, Each) and s.sums) or (isinstance(s, Store) and s.free):
            return False
        if loop and isinstance(s, Let) and s.op not in EXACT and any(is_float(a.dt) for a in (s.var, *s.args)):
            return False
        inner = loop or isinstance(s, (For, While, Each))
        if not all(same_bits(own, inner) for own in blocks_of(s)):
            return False
    return True
