"""Sums along the last axes of what takes long to compute: loops over rows, each of which adds up in a register.

    s = zeros;  for i, j: s[i] += f(i, j)         becomes         for i: { t = 0;  for j: t += f(i, j);  s[i] = t }

So does a loop over i around one over j.  The additions are the same ones in the same order, so that the bits are the same.  What
does not vary along a row is loaded once, and has one cotangent a row; several rows can be computed at once (:mod:`.rows`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from .build import Names, zero
from .ir import ONE, ZERO, Alloc, Base, Block, Dim, Each, For, If, Load, Stmt, Store, Var, While, bases_of, touches, walk
from .waiting import repeatable, slow

__all__ = ["in_rows"]


def in_rows(block: Block, names: Names) -> Block:
    """The block with such sums as those of rows."""
    out: list[Stmt] = []
    made: dict[Base, Alloc] = {}  # memory that holds zeros
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=in_rows(s.then, names), orelse=in_rows(s.orelse, names))
        elif isinstance(s, While):
            s = replace(s, body=in_rows(s.body, names))
        elif isinstance(s, For):
            inside = _within(s, (), {base for base in made if _touched_once(s, base)}, names)
            s = replace(inside, body=in_rows(inside.body, names))
        elif isinstance(s, Each) and _over_rows(s, made):
            kept = len(s.stores[0].index)
            bases = {st.base for st in s.stores}
            out = [replace(x, fill="none") if isinstance(x, Alloc) and x.base in bases else x for x in out]
            body = tuple(_summed(replace(s, axes=s.axes[kept:]), names))
            for var, lo, count in reversed(s.axes[:kept]):
                body = (For(var, lo, count, ONE, (), body, (), (), None, None, s.line, s.part),)
            (s,) = body
        for base in [base for base in made if touches(s, base)]:
            del made[base]
        if isinstance(s, Alloc) and s.fill == "zero":
            made[s.base] = s
        out.append(s)
    return tuple(out)


def _touched_once(s: For, base: Base) -> bool:
    return sum(base in bases_of(x) for x in walk((s,)) if not isinstance(x, Dim)) == 1


def _within(s: For, around: tuple[Var, ...], zeros: Collection[Base], names: Names) -> For:
    """A loop with the sums of loops in it, one for each of its iterations, and of those around it: the cells that these add to
    are zero before."""
    index = (*around, s.var)
    body: list[Stmt] = []
    for x in s.body:
        if isinstance(x, For):
            x = _within(x, index, zeros, names)
        elif isinstance(x, Each) and _adds_up(x, zeros) and all(_own(st, index) for st in x.stores):
            body += _summed(x, names)
            continue
        body.append(x)
    return replace(s, body=tuple(body))


def _own(st: Store, index: Sequence[Var]) -> bool:
    """Whether a cell is that of an iteration of some loops, and of no other one."""
    return len(st.index) == len(index) and set(st.index) == set(index)


def _over_rows(s: Each, made: Mapping[Base, Alloc]) -> bool:
    """Whether an Each does nothing but such sums, one for every cell of memory."""
    if not _adds_up(s, made):
        return False
    kept = len(s.stores[0].index)
    if not 0 < kept < len(s.axes) or any(lo != ZERO for _, lo, _ in s.axes[:kept]):
        return False
    index, full = (tuple(x[k] for x in s.axes[:kept]) for k in (0, 2))
    return all(st.index == index and made[st.base].dims == full for st in s.stores)


def _adds_up(s: Each, zeros: Collection[Base]) -> bool:
    """Whether an Each does nothing but add what takes long to compute to cells of memory that holds zeros."""
    if s.order != "any" or s.part != "primal" or s.sums or not s.stores or not slow(s.body) or not repeatable(s.body):
        return False
    if any(isinstance(x, Load) and x.base in zeros for x in walk(s.body)) or len({st.base for st in s.stores}) < len(s.stores):
        return False
    return all(
        st.base in zeros and st.mode == "add" and st.wrap == "never" and not st.free and st.value.dt == st.base.dt
        for st in s.stores
    )


def _summed(s: Each, names: Names) -> list[Stmt]:
    """What an Each adds to cells that do not vary, as sums that are stored after it."""
    totals = [names.var(st.base.name, st.base.dt) for st in s.stores]
    sums = tuple((t, zero(t.dt), (st.value,)) for t, st in zip(totals, s.stores, strict=True))
    stores = [replace(st, value=t, mode="set") for t, st in zip(totals, s.stores, strict=True)]
    return [replace(s, stores=(), sums=sums), *stores]
