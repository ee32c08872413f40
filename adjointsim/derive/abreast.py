"""Loops over the same rows as one loop, so that what they read in common is read from the nearest cache.

    for i: {for j: a[i, j] = f(x)};  for i: {for j: b[i, j] = g(x)}     becomes     for i: {for j: a[i, j] = f(x);  for j: ...}

The adjoint of a step with several fields is made of such loops, and each of them reads the state and the cotangents anew.  The
inner loops stay apart.  Two loops are merged if neither writes what the other one touches; what stands between them runs before
both or after them, as far as that changes nothing.  The same operations are done to a cell in the same order.
"""

from __future__ import annotations

from dataclasses import replace

from .freesums import free_sums
from .ir import (
    ONE,
    Base,
    Block,
    Dim,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    While,
    atoms_of,
    bases_of,
    defined,
    substitute,
    walk,
    written_by,
)  # fmt: skip
from .productnests import products

__all__ = ["abreast", "mergeable"]

_MOVABLE = (Let, Dim, Load, Store, If, For)  # none of them leaves


def abreast(block: Block) -> Block:
    """The block with such loops merged."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=abreast(s.then), orelse=abreast(s.orelse))
        elif isinstance(s, (For, While)):
            s = replace(s, body=abreast(s.body))
        out = _with(out, s) if isinstance(s, For) and mergeable(s) else [*out, s]
    return tuple(out)


def mergeable(s: For) -> bool:
    """Whether a loop may be merged with others: one of cotangents over loops, which carries nothing.

    Not one with sums in any order, for that might be another one then, nor a product of matrices, which is BLAS's.
    """
    if s.part != "linear" or s.step != ONE or s.carries or s.stop is not None or s.trips is not None or s.team is not None:
        return False
    loops = [x for x in walk(s.body) if isinstance(x, For)]
    return bool(loops) and _movable(s) and not any(products(x) is not None or any(free_sums(x)) for x in (s, *loops))


def _movable(s: Stmt) -> bool:
    return all(isinstance(x, _MOVABLE) for x in walk((s,)))


def _with(block: list[Stmt], s: For) -> list[Stmt]:
    """A block and a loop over rows after it, which is in one of the block's loops if that is possible."""
    before: list[Stmt] = []  # of what is between the two: what the loop has need of, and runs before both
    after: list[Stmt] = []
    for k in reversed(range(len(block))):
        x = block[k]
        if isinstance(x, For) and mergeable(x) and _together(x, s) and not any(_in_order(x, y) for y in before):
            own = substitute(s.body, lambda a, x=x: x.var if a == s.var else a)  # type: ignore[misc]
            return [*block[:k], *before, replace(x, body=(*x.body, *own)), *after]
        if not _movable(x):
            break
        (before if _in_order(x, s) or any(_in_order(x, y) for y in before) else after).insert(0, x)
    return [*block, s]


def _together(one: For, two: For) -> bool:
    """Whether two loops have the same rows, read some memory in common, and have nothing to do with each other besides."""
    if (one.lo, one.count) != (two.lo, two.count) or _in_order(one, two):
        return False
    read = [{x.base for x in walk(s.body) if isinstance(x, Load)} for s in (one, two)]
    return not read[0].isdisjoint(read[1])


def _in_order(first: Stmt, second: Stmt) -> bool:
    """Whether a statement that runs after another one must."""
    made = {v for x in walk((first,)) for v in defined(x)}
    if any(a in made for x in walk((second,)) for a in atoms_of(x)):
        return True
    used, written = zip(*map(_memory, (first, second)), strict=True)
    return not (written[0].isdisjoint(used[1]) and used[0].isdisjoint(written[1]))


def _memory(s: Stmt) -> tuple[set[Base], set[Base]]:
    """The memory that a statement touches, and that which it writes."""
    inner = [x for x in walk((s,)) if not isinstance(x, Dim)]
    return {b for x in inner for b in bases_of(x)}, {b for x in inner for b in written_by(x)}
