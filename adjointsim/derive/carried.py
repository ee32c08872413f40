"""Recurrences in registers: a cell that one iteration stores and the next one reads is carried from one to the other.

    for i: a[i - 1] += f * a[i]         becomes         c = a[first];  for i: { c = a[i - 1] + f * c;  a[i - 1] = c }

Such a loop is a chain in any case, and as it stands every link goes through memory.  They are what the adjoint of a scan is made
of, and of a solution of a tridiagonal system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .build import Builder, Names, const, zero
from .ir import (
    ZERO,
    Atom,
    Base,
    Block,
    Const,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    defined,
    is_float,
    substitute,
    touches,
    walk,
)  # fmt: skip

__all__ = ["carried"]

Place = tuple[int, int, tuple[Atom, ...]]  # which axis moves with the loop, how far from its index, and the whole index


def carried(block: Block, names: Names) -> Block:
    """Carry the cells of every recurrence in the loops of a block."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=carried(s.then, names), orelse=carried(s.orelse, names))
        elif isinstance(s, While):
            s = replace(s, body=carried(s.body, names))
        elif isinstance(s, For):
            s = replace(s, body=carried(s.body, names))
            head, s = _loop(s, names)
            out += head
        out.append(s)
    return tuple(out)


def _loop(s: For, names: Names) -> tuple[list[Stmt], For]:
    step = s.step.value if isinstance(s.step, Const) else 0
    if step not in (1, -1) or s.stop is not None or s.trips is not None:
        return [], s
    head: list[Stmt] = []
    bases = dict.fromkeys(x.base for x in s.body if isinstance(x, Store) and is_float(x.base.dt))
    for base in bases:
        places = _places(s, base)
        distance = None if places is None else _distance(s, base, places, int(step))  # type: ignore[call-overload]
        if places is not None and distance is not None:
            more, s = _carry(s, base, places, distance, int(step), names)  # type: ignore[call-overload]
            head += more
    return head, s


def _places(s: For, base: Base) -> dict[int, Place] | None:
    """Where the accesses to a base are, by the ids of their statements; None if some are not known to the cell."""
    shifts = _shifts(s)
    bound = {s.var, *(v for v, _ in s.carries), *(v for x in walk(s.body) for v in defined(x))}
    found: dict[int, Place] = {}
    for x in s.body:
        if not touches(x, base):
            continue
        if not isinstance(x, (Load, Store)) or x.wrap != "never":
            return None
        moving = [k for k, a in enumerate(x.index) if a in shifts]
        if len(moving) != 1 or any(a in bound for k, a in enumerate(x.index) if k != moving[0]):
            return None
        found[id(x)] = moving[0], shifts[x.index[moving[0]]], x.index
    (axis, _, index), *others = found.values()
    same = all(a == axis and i[:a] == index[:a] and i[a + 1 :] == index[a + 1 :] for a, _, i in others)
    return found if same else None


def _shifts(s: For) -> dict[Atom, int]:
    """What is known to be the loop's index and a literal."""
    found: dict[Atom, int] = {s.var: 0}
    for x in s.body:
        if isinstance(x, Let) and x.op in ("add", "sub"):
            a, b = x.args
            if x.op == "add" and b in found:
                a, b = b, a
            if a in found and isinstance(b, Const):
                found[x.var] = found[a] + (b.value if x.op == "add" else -b.value)  # type: ignore[assignment, operator]
    return found


def _distance(s: For, base: Base, places: Mapping[int, Place], step: int) -> int | None:
    """How far from the index the cell is that an iteration reads before it writes it, and the one before has written."""
    first: dict[int, bool] = {}  # distance -> whether the first access reads
    written = set()
    for x in s.body:
        if id(x) in places:
            assert isinstance(x, (Load, Store))
            at = places[id(x)][1]
            first.setdefault(at, isinstance(x, Load) or x.mode == "add")
            if isinstance(x, Store):
                written.add(at)
    return next((at for at, reads in first.items() if reads and at + step in written), None)


def _carry(
    s: For, base: Base, places: Mapping[int, Place], distance: int, step: int, names: Names
) -> tuple[list[Stmt], For]:
    """The loop with the cell at a distance in a carry, and what is before it."""
    own, init, result = (names.var(base.name, base.dt) for _ in range(3))
    known: dict[int, Atom] = {distance: own}
    renamed: dict[Atom, Atom] = {}
    body: list[Stmt] = []
    for x in s.body:
        if id(x) not in places:
            body.append(x)
            continue
        at = places[id(x)][1]
        if isinstance(x, Load):
            if at in known:
                renamed[x.var] = known[at]
            else:
                known[at] = x.var
                body.append(x)
            continue
        assert isinstance(x, Store)
        value = renamed.get(x.value, x.value)
        if value.dt != base.dt:
            return [], s
        if x.mode == "add":
            if at not in known:
                old = names.var(base.name, base.dt)
                body.append(Load(old, base, x.index, x.wrap, x.line, x.part))
                known[at] = old
            new = names.var(base.name, base.dt)
            body.append(Let(new, "add", (known[at], value), x.line, x.part))
            x, value = replace(x, value=new, mode="set"), new
        known[at] = value
        body.append(x)
    s = replace(
        s, body=substitute(tuple(body), lambda a: renamed.get(a, a)), carries=(*s.carries, (own, init)),
        yields=(*(renamed.get(y, y) for y in s.yields), known[distance + step]), results=(*s.results, result),
    )  # fmt: skip
    part = next(x.part for x in body if isinstance(x, (Load, Store)) and x.base == base)
    return _first(s, base, next(p for p in places.values() if p[1] == distance), init, part, names), s


def _first(s: For, base: Base, place: Place, init: Var, part: str, names: Names) -> list[Stmt]:
    """What the first iteration finds, if there is one."""
    axis, distance, index = place
    b, found = Builder(names), names.var(base.name, base.dt)
    b.line = s.line
    test = b.op("gt", s.count, ZERO)
    at = b.op("add", s.lo, const(distance, "i8")) if distance else s.lo
    load = Load(found, base, (*index[:axis], at, *index[axis + 1 :]), "never", s.line, part)
    return [*b.stmts, If(test, (load,), (), ((init, found, zero(base.dt)),), s.line, part)]
