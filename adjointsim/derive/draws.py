"""Lowering of random numbers, which are operations of three integers."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from .ir import Atom, Const, Var
from .values import Lazy, Ref, Value, describe

__all__ = ["DRAWS", "draw"]

#: the public name of a function, and its operation in the rules' table
DRAWS = {"random.normal": "normal", "random.uniform": "uniform"}


def draw(lowering: Any, name: str, node: ast.Call, root: str | None) -> Value:
    """The value of a call of one of ``DRAWS``; of index arrays, element by element."""
    given = lowering.keywords(node, "seed", "n", "i")
    mark = lowering.holding()
    values = [lowering.held(lowering.value(given[which])) for which in ("seed", "n", "i")]
    lowering.release(mark)
    for which, v in zip(("seed", "n", "i"), values, strict=True):
        if not isinstance(v, (Var, Const, Ref, Lazy)) or lowering.dtype(v) not in ("i4", "i8", "u8"):
            raise lowering.error(f"{which} of adj.{name} is {describe(v)}: pass an integer", node)

    def element(index: Sequence[Atom]) -> Atom:
        parts = (lowering.b.cast(lowering.at(v, index), "i8") for v in values)
        return lowering.b.op(DRAWS[name], *parts)

    if any(isinstance(v, (Ref, Lazy)) for v in values):
        return lowering.lazily(lowering.broadcast(values, node), "f8", element)
    return lowering.b.op(DRAWS[name], *(lowering.b.cast(v, "i8") for v in values), root=root)
