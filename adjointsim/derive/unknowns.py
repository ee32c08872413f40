"""The unknown of ``adj.root``: numbers, vectors and tuples of them, as one vector for the solver."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .build import const
from .complexpairs import is_complex
from .ir import ONE, Atom, Const, Var
from .values import Axis, Lazy, Ref, Tup, Value, describe

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """What is solved: ``tree`` is the structure of the unknown ("number", "array", or a class and items), and ``kind`` is that
    of the Jacobian, a key of :data:`.newton.SOLVERS`."""

    fn: Any
    tree: Any
    dt: str
    kind: str
    refuse: Callable[[str], Exception]

    def unpacked(self, low: Any, x: Ref, sizes: Sequence[Atom]) -> Value:
        """The unknown in its structure; ``sizes`` are the lengths of its leaves, where there are several."""
        if self.tree == "array":
            return x
        left, at = iter(sizes), [const(0, "i8")]

        def part(tree: Any) -> Value:
            if tree == "number":
                value: Value = low.b.load(x.base, (at[0],), "x", "never")
                at[0] = low.b.op("add", at[0], ONE)
                return value
            if tree == "array":
                n = next(left)
                value = Ref(x.base, (Axis(0, at[0]),), (n,))
                at[0] = low.b.op("add", at[0], n)
                return value
            return Tup(tuple(map(part, tree[1])), tree[0])

        return part(self.tree)

    def packed(self, low: Any, v: Value, n: Atom, sizes: Sequence[Atom], what: str) -> Ref:
        """A value of the structure as a vector of ``n`` numbers."""
        if self.tree == "array":
            if not isinstance(v, (Ref, Lazy)) or v.rank != 1:
                raise self.refuse(f"{what} {describe(v)} where a 1-d array is expected, like the unknown")
            self._check(low, low.lengths(v)[0], n)
            return low.evaluated(v, "r", self.dt)
        out, left, at = low.alloc("r", self.dt, (n,), "none"), iter(sizes), [const(0, "i8")]

        def put(tree: Any, v: Value) -> None:
            if tree == "number":
                if not isinstance(v, (Var, Const)):
                    raise self.refuse(f"{what} {describe(v)} where a number is expected, like the unknown")
                low.b.store(out.base, (at[0],), low.b.cast(v, self.dt), "set", "never")
                at[0] = low.b.op("add", at[0], ONE)
            elif tree == "array":
                if not isinstance(v, (Ref, Lazy)) or v.rank != 1:
                    raise self.refuse(f"{what} {describe(v)} where a 1-d array is expected, like the unknown")
                own = next(left)
                self._check(low, low.lengths(v)[0], own)
                low.assign(Ref(out.base, (Axis(0, at[0]),), (own,)), v)
                at[0] = low.b.op("add", at[0], own)
            else:
                if not isinstance(v, Tup) or is_complex(v) or len(v.items) != len(tree[1]):
                    raise self.refuse(f"{what} {describe(v)} where a tuple of {len(tree[1])} is expected, like the unknown")
                for t, item in zip(tree[1], v.items, strict=True):
                    put(t, item)

        put(self.tree, v)
        return out

    def _check(self, low: Any, have: Atom, want: Atom) -> None:
        message = f"{self.fn.__name__} returns an array of another length than the unknown"
        bad = low.b.op("ne", have, want)
        if isinstance(bad, Const) and bad.value:
            raise self.refuse(message)
        if have != want:
            low.check(bad, low.frame.source.node, f"ValueError({f'adj.root: {message}'!r})")

    def residual(self, low: Any, x: Ref, sizes: Sequence[Atom], args: Sequence[Value], node: ast.AST) -> Ref:
        """The residual at a vector, as a vector."""
        value = low.applied(self.fn, [self.unpacked(low, x, sizes), *args], node)
        return self.packed(low, value, low.shape(x)[0], sizes, f"{self.fn.__name__} returns")
