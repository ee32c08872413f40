"""Sums of cotangents that a loop adds up in any order: LLVM makes vectors of them.

Which order that is depends on what else it makes of the loop, so it is the same wherever a kernel is used, but not where a loop
becomes a part of something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .ir import Call, For, Let, Var, While, atoms_of, is_float, walk

__all__ = ["free_sums"]


def free_sums(s: For) -> Iterator[Var]:
    """The additions ``v + x + y + ..`` by which a loop carries sums of cotangents: these may be added in any order, and several
    at once.  A loop of loops has none: it does not become vectors."""
    if s.part != "linear" or any(isinstance(x, (For, While, Call)) for x in walk(s.body)):
        return
    made = {x.var: x for x in s.body if isinstance(x, Let) and x.op == "add" and x.part == "linear" and is_float(x.var.dt)}
    uses = Counter(a for x in walk(s.body) for a in atoms_of(x)) + Counter(s.yields)
    for (v, _), y in zip(s.carries, s.yields, strict=True):
        chain: list[Var] = []
        while y != v and uses[y] == 1 and y in made and {a.dt for a in made[y].args} == {v.dt}:
            chain.append(y)  # type: ignore[arg-type]
            y = made[y].args[0]  # type: ignore[index]
        if y == v and uses[v] == 1:
            yield from chain
