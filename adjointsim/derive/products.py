"""Products of vectors and matrices, and what is summed up of them: traces, diagonals, norms."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arguments import Arguments
from .arrays import Elements
from .build import const
from .ir import Atom, Each, Store, is_float
from .values import Lazy, Ref, Static, Value, describe

__all__ = ["PRODUCTS", "Products"]


class Products(Arguments):
    """Values of products."""

    def matmul(self, a: Value, c: Value, node: ast.AST, root: str | None = None) -> Value:
        """``a @ c`` for vectors and matrices."""
        if not (isinstance(a, (Ref, Lazy)) and isinstance(c, (Ref, Lazy)) and 1 <= a.rank <= 2 and 1 <= c.rank <= 2):
            raise self.error(f"'@' of {describe(a)} and {describe(c)} is not supported", node)
        a, c = self.kept(a), self.kept(c)
        if not (is_float(a.base.dt) and a.base.dt == c.base.dt):
            raise self.error("'@' takes arrays of floats of one dtype", node)
        self.same_length(self.shape(a)[-1], self.shape(c)[0], node)
        if a.rank == c.rank == 1:
            return self.total(self.elementwise("mul", [a, c], node))
        lens = [*self.shape(a)[:-1], self.shape(a)[-1], *self.shape(c)[1:]]  # rows, the axis that is summed, columns
        mid = a.rank - 1
        axes = self.domain(lens)
        index = [i for i, _, _ in axes]
        out = self.alloc(root or "product", a.base.dt, tuple(n for k, n in enumerate(lens) if k != mid), "zero")
        with self.b.block(loop=True) as body:
            x = self.b.op("mul", self.element(a, index[: mid + 1]), self.element(c, index[mid:]))
        at = tuple(i for k, i in enumerate(index) if k != mid)
        store = Store(out.base, at, x, "add", "never", self.b.line, free=True)
        self.b.add(Each(axes, tuple(body), (store,), "any", (), self.b.line))
        return out

    def _dot(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "b")
        return self.matmul(self.lazy(given["a"]), self.lazy(given["b"]), node, root)

    def _outer(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "b")
        a, c = self.kept(self.elements(given["a"])), self.kept(self.elements(given["b"]))
        if a.rank != 1 or c.rank != 1:
            raise self.error("np.outer takes two vectors here", node)
        return self.elementwise("mul", [self._new_axis(a, 1), c], node)

    def _trace(self, node: ast.Call, root: str | None) -> Value:
        return self.total(self.diagonal(self.elements(self.keywords(node, "a")["a"]), node))

    def diagonal(self, v: Elements, node: ast.AST) -> Lazy:
        if v.rank != 2:
            raise self.error("a diagonal is one of a matrix", node)
        n, m = self.lengths(v)
        return self.lazily((n if n == m else self.b.op("min2", n, m),), self.dtype(v), lambda i: self.at(v, [i[0], i[0]]))

    def _diag(self, node: ast.Call, root: str | None) -> Value:
        v = self.elements(self.keywords(node, "v")["v"])
        if v.rank == 2:
            return self.diagonal(v, node)
        (n,) = self.lengths(v)

        def element(index: Sequence[Atom]) -> Atom:
            return self.b.op("select", self.b.op("eq", *index), self.at(v, index[:1]), const(0, self.dtype(v)))

        return self.lazily((n, n), self.dtype(v), element)

    def _norm(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "x", "ord")
        kept = self.kept(self.elements(given["x"]))
        order = self.value(given["ord"]) if "ord" in given else Static(None)
        op = self.b.op
        if (isinstance(order, Static) and order.obj in (None, "fro")) or (order == const(2, "i8") and kept.rank == 1):
            return op("sqrt", self.total(self.elementwise("mul", [kept, kept], node)))
        p = self.literal_number(given["ord"], "the order of np.linalg.norm")
        if kept.rank > 2:
            raise self.error("np.linalg.norm takes a vector or a matrix", node)
        size: Elements = self.elementwise("abs", [kept], node)
        if kept.rank == 2:
            if abs(p) not in (1.0, math.inf):
                raise self.error("a norm of singular values is not supported: 1, -1, np.inf and -np.inf are", node)
            size, p = self.summed(size, [0 if abs(p) == 1.0 else 1]), math.copysign(math.inf, p)
        if math.isinf(p):
            return self.extreme(size, node, p > 0.0)[0]
        if p == 0.0:
            return op("cast", self.reduce("count_nonzero", kept, node), dt=kept.base.dt)  # type: ignore[arg-type]
        if p == 1.0:
            return self.total(size)
        return op("pow", self.total(self.elementwise("pow", [size, const(p, "f8")], node)), const(1.0 / p, "f8"))


PRODUCTS: dict[Any, Callable[[Any, ast.Call, str | None], Value]] = {
    np.dot: Products._dot,
    np.vdot: Products._dot,
    np.matmul: Products._dot,
    np.outer: Products._outer,
    np.trace: Products._trace,
    np.diag: Products._diag,
    np.linalg.norm: Products._norm,
}
