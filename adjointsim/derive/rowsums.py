"""Sums along the last axes of what takes long to compute: a loop over rows, each of which adds up in a register.

    s = zeros;  for i, j: s[i] += f(i, j)         becomes         for i: { t = 0;  for j: t += f(i, j);  s[i] = t }

The additions are the same ones in the same order, so that the bits are the same.  What does not vary along a row is loaded once,
and has one cotangent a row; several rows can be computed at once (:mod:`.rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .build import Names, zero
from .ir import ONE, ZERO, Alloc, Base, Block, Each, For, If, Load, Stmt, While, touches, walk
from .waiting import repeatable, slow

__all__ = ["in_rows"]


def in_rows(block: Block, names: Names) -> Block:
    """The block with such sums as those of rows."""
    out: list[Stmt] = []
    made: dict[Base, int] = {}  # memory that holds zeros, and where that is said
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=in_rows(s.then, names), orelse=in_rows(s.orelse, names))
        elif isinstance(s, (For, While)):
            s = replace(s, body=in_rows(s.body, names))
        elif isinstance(s, Each):
            allocs = [out[made[base]] for base in dict.fromkeys(st.base for st in s.stores) if base in made]
            if _along_rows(s, allocs):  # type: ignore[arg-type]
                for alloc in allocs:
                    out[made[alloc.base]] = replace(alloc, fill="none")  # type: ignore[union-attr]
                s = _rows(s, names)
        for base in [base for base in made if touches(s, base)]:
            del made[base]
        if isinstance(s, Alloc) and s.fill == "zero":
            made[s.base] = len(out)
        out.append(s)
    return tuple(out)


def _along_rows(s: Each, allocs: Sequence[Alloc]) -> bool:
    """Whether an Each does nothing but such sums, one for every cell of memory that holds zeros."""
    if s.order != "any" or s.part != "primal" or s.sums or not slow(s.body) or not repeatable(s.body):
        return False
    kept = _kept(s)
    if not 0 < kept < len(s.axes) or len(allocs) < len(s.stores):
        return False
    dims = {alloc.base: alloc.dims for alloc in allocs}
    axes = s.axes[:kept]
    full = tuple(n for _, _, n in axes)
    if any(lo != ZERO for _, lo, _ in axes) or any(n in (v for v, _, _ in s.axes) for n in full):
        return False
    index = tuple(v for v, _, _ in axes)
    return all(
        st.mode == "add" and not st.free and st.index == index and dims[st.base] == full and st.value.dt == st.base.dt
        for st in s.stores
    ) and not any(isinstance(x, Load) and x.base in dims for x in walk(s.body))


def _kept(s: Each) -> int:
    """The number of axes of what an Each stores."""
    return max((len(st.index) for st in s.stores), default=0)


def _rows(s: Each, names: Names) -> For:
    kept = _kept(s)
    totals = [names.var(st.base.name, st.base.dt) for st in s.stores]
    sums = tuple((t, zero(t.dt), (st.value,)) for t, st in zip(totals, s.stores, strict=True))
    stores = tuple(replace(st, value=t, mode="set") for t, st in zip(totals, s.stores, strict=True))
    body: Block = (replace(s, axes=s.axes[kept:], stores=(), sums=sums), *stores)
    for var, lo, count in reversed(s.axes[:kept]):
        body = (For(var, lo, count, ONE, (), body, (), (), None, None, s.line, s.part),)
    (loop,) = body
    return loop  # type: ignore[return-value]
