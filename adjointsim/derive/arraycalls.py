"""Calls of NumPy's functions on arrays, and of the methods of arrays: selections, constants, and the table of them all."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .build import const
from .ir import ONE, ZERO, Atom, Const, Var
from .ordered import ORDERED, Ordered
from .products import PRODUCTS
from .rearranged import REARRANGEMENTS
from .reductions import REDUCTIONS
from .values import Lazy, Listed, Ref, Static, Tup, Value, describe

__all__ = ["ARRAY_CALLS", "ArrayCalls"]

Elements = Ref | Lazy


class ArrayCalls(Ordered):
    """Values of calls of NumPy's functions on arrays, and of the methods of arrays."""

    # ------------------------------------------------------------------------------------------------------- selections
    def _where(self, node: ast.Call, root: str | None) -> Value:
        given = [self.lazy(a) for a in node.args]
        if len(given) == 1 and not node.keywords and isinstance(given[0], (Ref, Lazy)):
            return Tup(tuple(self.stored(i) for i in self.index_arrays(given[0])[0]))
        if len(given) != 3 or node.keywords:
            raise self.error("np.where takes a condition, or a condition and two values, here", node)
        if not any(isinstance(v, (Ref, Lazy)) for v in given):
            raise self.error("np.where of numbers: write 'a if condition else b'", node)
        bit = given[0]
        if not isinstance(bit, (Var, Const, Ref, Lazy)) or self.dtype(bit) != "b1":
            bit = self.elementwise("ne", [bit, const(False, "b1")], node)
        return self.elementwise("select", [bit, given[1], given[2]], node)

    def _clip(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "a_min", "a_max")
        v = self.lazy(given["a"])
        if not isinstance(v, (Ref, Lazy)):
            raise self.error("np.clip of a number: write min(max(x, low), high)", node)
        return self.clipped(v, given, node)

    def clipped(self, v: Elements, given: dict[str, ast.expr], node: ast.AST) -> Elements:
        for name, op in (("a_min", "maximum"), ("a_max", "minimum")):
            bound = self.lazy(given[name]) if name in given else Static(None)
            if not isinstance(bound, Static):
                v = self.elementwise(op, [v, bound], node)
        return v

    def _triangle(self, lower: bool, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "m", "k")
        v = self.elements(given["m"])
        k = self._int(given["k"], "k") if "k" in given else ZERO
        if v.rank != 2:
            raise self.error("np.tril and np.triu take a matrix", node)

        def element(index: Sequence[Atom]) -> Atom:
            edge = self.b.op("sub", index[1], index[0])
            return self.b.op("select", self.b.op("le" if lower else "ge", edge, k), self.at(v, index), const(0, self.dtype(v)))

        return self.lazily(self.lengths(v), self.dtype(v), element)

    # ------------------------------------------------------------------------------------------------------- constants
    def _eye(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "N", "M")
        n = self._int(given["N"], "N")
        m = self._int(given["M"], "M") if "M" in given else n
        bit = self.b.op
        return self.lazily((n, m), "f8", lambda i: bit("select", bit("eq", i[0], i[1]), const(1, "f8"), const(0, "f8")))

    def _arange(self, node: ast.Call, root: str | None) -> Value:
        values = [self._int(a, "an argument of np.arange") for a in node.args]
        if node.keywords or not 1 <= len(values) <= 3:
            raise self.error("np.arange takes one to three ints here", node)
        low, high = (ZERO, values[0]) if len(values) == 1 else values[:2]
        step = values[2] if len(values) == 3 else ONE
        op = self.b.op
        self.check(op("eq", step, ZERO), node, "ValueError('the step of np.arange must not be zero')")
        span = op("sub", high, low) if step == ONE else op("neg", op("floordiv", op("sub", low, high), step))
        n = op("max2", span, ZERO)
        return self.lazily((n,), "i8", lambda i: op("add", low, op("mul", i[0], step)))

    def _as_array(self, node: ast.Call, root: str | None) -> Value:
        """np.asarray of an array is the array."""
        return self.elements(self.keywords(node, "a")["a"])

    def _contiguous(self, node: ast.Call, root: str | None) -> Value:
        """The array itself, or a copy, which may not be told from it, if it is a view."""
        v = self.elements(self.keywords(node, "a")["a"])
        return v if isinstance(v, Ref) and v.whole else self.reshape(v, self.lengths(v), node, root)

    def _sum(self, node: ast.Call, root: str | None) -> Value:
        """Python's sum of an array of one axis, or of a list."""
        v = self.lazy(self.keywords(node, "iterable")["iterable"])
        v = v.ref if isinstance(v, Listed) else v
        if not isinstance(v, (Ref, Lazy)) or v.rank != 1:
            raise self.error(f"sum of {describe(v)} is not supported: it takes an array of one axis or a list", node)
        return self.total(v)

    def _average(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "weights")
        v = self.kept(self.elements(given["a"]))
        if "weights" not in given:
            return self.reduce("mean", v, node)
        weights = self.kept(self.elements(given["weights"]))
        if v.rank != weights.rank:
            raise self.error("np.average takes as many weights as elements here", node)
        for n, own in zip(self.shape(v), self.shape(weights), strict=True):
            self.same_length(n, own, node)
        return self.b.op("div", self.total(self.elementwise("mul", [v, weights], node)), self.total(weights))

    def _linspace(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "start", "stop", "num")
        if len(given) != 3:
            raise self.error("np.linspace takes start, stop and num here", node)
        ends = [self.value(given[name]) for name in ("start", "stop")]
        if not all(isinstance(v, (Var, Const)) for v in ends):
            raise self.error("np.linspace takes numbers", node)
        op = self.b.op
        low, high = (self.b.cast(v, "f8") for v in ends)  # type: ignore[arg-type]
        n = self._int(given["num"], "num")
        last = op("max2", op("sub", n, ONE), ONE)
        step = op("div", op("sub", high, low), last)

        def element(index: Sequence[Atom]) -> Atom:
            inside = op("add", low, op("mul", step, op("cast", index[0], dt="f8")))
            end = op("land", op("eq", index[0], op("sub", n, ONE)), op("gt", n, ONE))
            return op("select", end, high, inside)

        return self.lazily((n,), "f8", element)

    # --------------------------------------------------------------------------------------------------------- methods
    def method(self, owner: Elements, node: ast.Call, root: str | None) -> Value:
        """A call of an array's method."""
        assert isinstance(node.func, ast.Attribute)
        name = node.func.attr
        if name in REDUCTIONS:
            return self.reduction(name, node, root, owner)
        if name in ("cumsum", "cumprod"):
            return self.running("add" if name == "cumsum" else "mul", node, root, owner)
        if name in ("copy", "flatten") and not node.args and not node.keywords:
            if name == "copy" or owner.rank == 1:
                return self.evaluated(owner, root or "copy")
            return self.reshape(self.evaluated(owner, "copy"), [const(-1, "i8")], node, root)
        if name == "astype" and len(node.args) == 1 and not node.keywords:
            dt = self.dtype_of(node.args[0])
            return self.lazily(self.lengths(owner), dt, lambda i: self.b.cast(self.at(owner, i), dt))
        if name == "transpose" and not node.keywords:
            return self.transpose(self.kept(owner), node.args, node)
        if name == "ravel" and not node.args and not node.keywords:
            return self.reshape(owner, [const(-1, "i8")], node, root) if owner.rank != 1 else owner
        if name == "reshape" and node.args and not node.keywords:
            return self.reshape(owner, self.dims_of([self.value(a) for a in node.args], node), node, root)
        if name == "clip" and node.args:
            return self.clipped(owner, self.keywords(node, "a_min", "a_max"), node)
        if name == "argsort":
            self._last_axis(self.keywords(node, "axis", "kind"))
            if owner.rank != 1:
                raise self.error("the order of an array of several axes is not supported", node)
            return self.order(self.kept(owner), node)
        if name == "sort" and isinstance(owner, Ref):
            self.sort_in_place(owner, node)
            return Static(None)
        if name == "repeat":
            return self.repeated(owner, self.keywords(node, "repeats", "axis"), node)
        if name == "fill" and len(node.args) == 1 and isinstance(owner, Ref):
            self.store(owner, [], self.value(node.args[0]), node)
            return Static(None)
        if name == "dot" and len(node.args) == 1:
            return self.matmul(owner, self.lazy(node.args[0]), node, root)
        raise self.error(f"method '{name}' of an array is not supported: write the loop over elements", node)


def _reduction(name: str) -> Callable[[Any, ast.Call, str | None], Value]:
    return lambda self, node, root: self.reduction(name, node, root)


ARRAY_CALLS: dict[Any, Callable[[Any, ast.Call, str | None], Value]] = {
    **{getattr(np, name): _reduction(name) for name in (*REDUCTIONS, "count_nonzero", "ptp")},
    np.amax: _reduction("max"),
    np.amin: _reduction("min"),
    **PRODUCTS,
    **REARRANGEMENTS,
    **ORDERED,
    builtins.sum: ArrayCalls._sum,
    np.asarray: ArrayCalls._as_array,
    np.ascontiguousarray: ArrayCalls._contiguous,
    np.average: ArrayCalls._average,
    np.where: ArrayCalls._where,
    np.clip: ArrayCalls._clip,
    np.tril: lambda self, node, root: self._triangle(True, node, root),
    np.triu: lambda self, node, root: self._triangle(False, node, root),
    np.eye: ArrayCalls._eye,
    np.identity: ArrayCalls._eye,
    np.arange: ArrayCalls._arange,
    np.linspace: ArrayCalls._linspace,
}
