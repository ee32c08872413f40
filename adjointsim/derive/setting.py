"""Write instead of zero-and-add: the cotangent of what a cell held is taken, set to zero, and mostly added to again.

    t = x_bar[i];  x_bar[i] = 0;  ...;  x_bar[i] += c * t        becomes        t = x_bar[i];  ...;  x_bar[i] = c * t

where nothing reads x_bar in between.  What is added to x_bar meanwhile, perhaps to the same cell, is added after it: cotangents
may be summed in any order that is always the same.
"""

from __future__ import annotations

from dataclasses import replace

from .ir import Block, Const, Each, For, If, Stmt, Store, While, bases_of, walk

__all__ = ["set_instead"]


def set_instead(block: Block) -> Block:
    """A linear block with each store of zero and the addition to the same cell that follows as one store."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=set_instead(s.then), orelse=set_instead(s.orelse))
        elif isinstance(s, (For, While)):
            s = replace(s, body=set_instead(s.body))
        elif isinstance(s, Each):
            s = replace(s, stores=set_instead(s.stores))  # type: ignore[arg-type]
        out.append(s)
    k = 0
    while k < len(out):
        s = out[k]
        if isinstance(s, Store) and s.part == "linear" and s.mode == "set" and isinstance(s.value, Const) and s.value.value == 0:
            merged = _merged(s, out[k + 1 :])
            if merged is not None:
                out[k:] = merged
                continue
        k += 1
    return tuple(out)


def _merged(zero: Store, rest: list[Stmt]) -> list[Stmt] | None:
    """What follows a store of zero, with that in it; None if the cell is not simply added to."""
    before: list[Stmt] = []
    adds: list[Stmt] = []
    for k, s in enumerate(rest):
        if isinstance(s, Store) and s.base == zero.base:
            if s.mode != "add" or s.part != "linear":
                return None
            if s.index == zero.index:
                return [*before, replace(s, mode="set"), *adds, *rest[k + 1 :]]
            adds.append(s)
        elif any(zero.base in bases_of(x) for x in walk((s,))):
            return None
        else:
            before.append(s)
    return None
