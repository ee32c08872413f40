"""Array expressions that are one loop: what only waits in an array for the next expression is computed where it is read.

    t = zeros;  for i: t[i] = f(i);  for i: out[i] = g(t[i])         becomes         for i: out[i] = g(f(i))

where t is an array of the function's own that nothing else reads or writes, each index of it is read under the index of the
loop that reads it, and what f reads is as it was.  The same operations are done, so that the bits are the same; neither the array
nor its cotangent take any memory or time.  Where several loops read t, each of them computes f, if that takes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .build import Names
from .gather import fresh
from .ir import (
    ZERO,
    Alloc,
    Atom,
    Base,
    Block,
    Each,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    substitute,
    touches,
    walk,
    written_by,
)  # fmt: skip
from .waiting import repeatable, slow

__all__ = ["fills", "inlined", "once", "reads_simply"]

_MANY = 12  # operations that are not repeated lightly


def inlined(block: Block, names: Names) -> Block:
    """The block with arrays that are read once as what they hold."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=inlined(s.then, names), orelse=inlined(s.orelse, names))
        elif isinstance(s, (For, While)):
            s = replace(s, body=inlined(s.body, names))
        out.append(s)
    for alloc in [s for s in out if isinstance(s, Alloc) and s.base.role == "local"]:
        out = _without(out, alloc, names)
    return tuple(out)


def _without(block: list[Stmt], alloc: Alloc, names: Names) -> list[Stmt]:
    """The block without the stores to memory and the loads from it, if these can be dispensed with."""
    base = alloc.base
    using = [k for k, s in enumerate(block) if s is not alloc and touches(s, base)]
    if len(using) < 2:
        return block
    first, *others = using
    source = block[first]
    if not isinstance(source, Each) or not fills(source, alloc):
        return block
    readers = [block[k] for k in others]
    if not all(isinstance(s, Each) and reads_simply(s, base) for s in readers):
        return block
    if len(readers) > 1 and (slow(source.body) or not repeatable(source.body) or len(source.body) > _MANY):
        return block
    read = {x.base for x in walk(source.body) if isinstance(x, Load)}
    changed = {b for s in block[first : others[-1]] for x in walk((s,)) for b in written_by(x)} - {base}
    if read & changed:
        return block
    out = list(block)
    for k in others:
        out[k] = _inserted(out[k], source, base, names)  # type: ignore[arg-type]
    rest = tuple(st for st in source.stores if st.base != base)
    out[first] = replace(source, stores=rest)
    if not rest and not source.sums:
        del out[first]
    return out


def fills(s: Each, alloc: Alloc) -> bool:
    """Whether an Each sets all cells of memory that has just been made, and reads none."""
    stores = [st for st in s.stores if st.base == alloc.base]
    if len(stores) != 1 or stores[0].mode != "set" or s.order != "any" or s.part != "primal":
        return False
    if stores[0].value.dt != alloc.base.dt:  # a number that is rounded as it is stored
        return False
    if any(isinstance(x, Load) and x.base == alloc.base for x in walk(s.body)) or any(isinstance(x, If) for x in s.body):
        return False
    ranges = {v: (lo, count) for v, lo, count in s.axes}
    index = stores[0].index
    return len(index) == len(ranges) == len(set(index)) and all(
        ranges.get(a) == (ZERO, n) for a, n in zip(index, alloc.dims, strict=True)  # type: ignore[call-overload]
    )


def reads_simply(s: Each, base: Base) -> bool:
    """Whether an Each only reads memory, at its own level, and each time under all of its indices."""
    if s.part != "primal" or any(st.base == base for st in s.stores):
        return False
    loads = [x for x in s.body if isinstance(x, Load) and x.base == base]
    if len(loads) != sum(isinstance(x, Load) and x.base == base for x in walk(s.body)):
        return False
    axes = {v for v, _, _ in s.axes}
    return all(len(x.index) == len(axes) and set(x.index) == axes for x in loads)


def _inserted(s: Each, source: Each, base: Base, names: Names) -> Each:
    """The Each with what the memory holds in place of loads from it; what is computed twice then is computed once."""
    store = next(st for st in source.stores if st.base == base)
    body: list[Stmt] = []
    found: dict[tuple[Atom, ...], Atom] = {}
    for x in s.body:
        if not (isinstance(x, Load) and x.base == base):
            body.append(x)
            continue
        if x.index not in found:
            copied, own, new = fresh(source.body, [v for v, _, _ in source.axes], names)
            given = dict(zip(store.index, x.index, strict=True))  # each axis of the source is an index here
            at: dict[Atom, Atom] = {mine: given[v] for mine, (v, _, _) in zip(own, source.axes, strict=True)}
            body += substitute(copied, lambda a, at=at: at.get(a, a))  # type: ignore[misc]
            value = new.get(store.value, store.value)
            found[x.index] = at.get(value, value)
        body.append(Let(x.var, "copy", (found[x.index],), x.line, x.part))
    whole, same = once(body)
    stores: tuple[Store, ...] = substitute(s.stores, lambda a: same.get(a, a))  # type: ignore[assignment]
    sums = tuple((v, init, tuple(same.get(t, t) for t in terms)) for v, init, terms in s.sums)
    return replace(s, body=whole, stores=stores, sums=sums)


def once(body: Sequence[Stmt]) -> tuple[Block, dict[Atom, Atom]]:
    """Statements without those that compute or load what another one has, and what has the values of these."""
    known: dict[object, Var] = {}
    same: dict[Atom, Atom] = {}
    out: list[Stmt] = []
    for s in body:
        (s,) = substitute((s,), lambda a: same.get(a, a))
        key = None
        if isinstance(s, Let):
            if s.op == "copy" and s.var.dt == s.args[0].dt:
                same[s.var] = s.args[0]
                continue
            key = s.op, s.var.dt, tuple((a, repr(a)) for a in s.args)
        elif isinstance(s, Load):
            key = "load", s.base, s.index
        if key is not None and key in known:
            same[s.var] = known[key]  # type: ignore[union-attr]
            continue
        if key is not None:
            known[key] = s.var  # type: ignore[union-attr]
        out.append(s)
    return tuple(out), same
