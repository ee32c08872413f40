"""From ``Each`` to loops, the last step before a program runs (or before the reverse pass at level 0)."""

from __future__ import annotations

from .build import Names, const
from .ir import Block, Each, For, If, Load, Stmt, While, walk

__all__ = ["each_to_loops"]


def each_to_loops(block: Block, names: Names) -> Block:
    """Replace every Each by a nest of counted loops, ascending.

    An Each reads all before it writes all; a nest does the same as long as no cell is written before it is read, which
    holds when nothing that it writes is read under another index.
    """
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, Each):
            written = {(st.base, st.index) for st in s.stores}
            for load in walk(s.body):
                if isinstance(load, Load) and any(load.base == base and load.index != index for base, index in written):
                    raise NotImplementedError("an Each that reads what it writes under another index")
            inner: Block = (*s.body, *s.stores)
            for var, count in reversed(s.axes):
                inner = (For(var, const(0, "i8"), count, const(1, "i8"), (), inner, (), (), None, None, s.line, s.part),)
            out.extend(inner)
        elif isinstance(s, If):
            out.append(If(s.test, each_to_loops(s.then, names), each_to_loops(s.orelse, names), s.phis, s.line, s.part))
        elif isinstance(s, For):
            body = each_to_loops(s.body, names)
            out.append(For(s.var, s.lo, s.count, s.step, s.carries, body, s.yields, s.results, s.stop, s.trips, s.line, s.part))
        elif isinstance(s, While):
            body = each_to_loops(s.body, names)
            out.append(While(s.carries, s.head, s.test, body, s.yields, s.results, s.trips, s.stop, s.line, s.part))
        else:
            out.append(s)
    return tuple(out)
