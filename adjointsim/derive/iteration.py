"""What a loop runs over: ranges, arrays, and enumerate, zip, reversed and np.ndindex of these, as a count and a k-th item."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from .arraycalls import ArrayCalls
from .build import const
from .ir import ONE, ZERO, Atom, Const, Var, is_float
from .values import ComplexPair, Lazy, Listed, Ref, Static, Tup, Value, describe
from .views import Part

__all__ = ["RANGES", "Iteration", "Items"]

#: run in order on one thread, a parallel range is a range
RANGES = (builtins.range, numba.prange)


@dataclass(frozen=True)
class Items:
    """``count`` items; ``at(k)`` writes the k-th."""

    count: Atom
    at: Callable[[Atom], Value]


class Iteration(ArrayCalls):
    """Iterables."""

    def integer(self, node: ast.expr, what: str) -> Atom:
        raise NotImplementedError

    def called(self, node: ast.expr) -> Any:
        """The object that an expression calls; None if it is no call of something known at derivation."""
        if not isinstance(node, ast.Call):
            return None
        first = node.func
        while isinstance(first, ast.Attribute):
            first = first.value
        outside = isinstance(first, ast.Name) and first.id not in self.env  # a method of a local value is none
        target = self.value(node.func) if outside else None
        return target.obj if isinstance(target, Static) else None

    def is_range(self, node: ast.expr) -> bool:
        obj = self.called(node)
        return any(obj is r for r in RANGES)

    def items_of(self, node: ast.expr) -> Items:
        """The items that a loop over an expression runs over."""
        obj = self.called(node)
        if any(obj is r for r in RANGES):
            assert isinstance(node, ast.Call)
            lo, count, step = self.range(node)
            return Items(count, lambda k: self.b.op("add", self.b.op("mul", k, step), lo))
        makers: dict[Any, Callable[[ast.Call], Items]] = {
            builtins.enumerate: self._enumerated, builtins.zip: self._zipped, builtins.reversed: self._reversed,
            np.ndindex: self._indices,
        }  # fmt: skip
        for maker, make in makers.items():
            if obj is maker:
                return make(node)  # type: ignore[arg-type]
        value = self.value(node)
        if isinstance(value, Tup) and value.cls is ComplexPair and isinstance(value.items[0], Ref):
            pairs = value.items
            count = self.shape(pairs[0])[0]  # type: ignore[arg-type]
            return Items(count, lambda k: Tup(tuple(self.item(p, [k], node) for p in pairs), ComplexPair))  # type: ignore[arg-type]
        plain = isinstance(value, Tup) and value.cls is not ComplexPair
        if isinstance(value, Tup) and value.items and plain and all(isinstance(i, (Var, Const)) for i in value.items):
            return Items(const(len(value.items), "i8"), lambda k: self.chosen(value, k))
        value = value.ref if isinstance(value, Listed) else value
        if not isinstance(value, Ref) or not value.rank:
            raise self.error(f"a loop over {describe(value)} is not supported: it runs over range(...), arrays or tuples", node)
        return Items(self.shape(value)[0], lambda k: self.item(value, [k], node))

    def chosen(self, items: Tup, k: Atom) -> Atom:
        raise NotImplementedError

    def range(self, node: ast.Call) -> tuple[Atom, Atom, Atom]:
        """(lo, count, step) of ``range(...)``."""
        if node.keywords or not 1 <= len(node.args) <= 3:
            raise self.error("range takes 1 to 3 arguments", node)
        args = [self.integer(a, "an argument of range") for a in node.args]
        lo, hi = (ZERO, args[0]) if len(args) == 1 else args[:2]
        step = args[2] if len(args) == 3 else ONE
        op = self.b.op
        if not isinstance(step, Const):
            self.check(op("eq", step, ZERO), node, "ValueError('range() arg 3 must not be zero')")
        elif step.value == 0:
            raise self.error("range() arg 3 must not be zero", node)
        up = down = ZERO
        if not isinstance(step, Const) or step.value > 0:  # type: ignore[operator]
            up = op("max2", self._ceil_div(op("sub", hi, lo), step), ZERO)
            if isinstance(step, Const):
                return lo, up, step
        if not isinstance(step, Const) or step.value < 0:  # type: ignore[operator]
            down = op("max2", self._ceil_div(op("sub", lo, hi), op("neg", step)), ZERO)
            if isinstance(step, Const):
                return lo, down, step
        return lo, op("select", op("gt", step, ZERO), up, down), step

    def _ceil_div(self, a: Atom, b: Atom) -> Atom:
        if isinstance(b, Const) and b.value == 1:
            return a
        return self.b.op("neg", self.b.op("floordiv", self.b.op("neg", a), b))

    def _enumerated(self, node: ast.Call) -> Items:
        given = self.keywords(node, "iterable", "start")
        inner = self.items_of(given["iterable"])
        start = self.integer(given["start"], "start") if "start" in given else ZERO
        return Items(inner.count, lambda k: Tup((self.b.op("add", k, start), inner.at(k))))

    def _zipped(self, node: ast.Call) -> Items:
        if node.keywords or not node.args:
            raise self.error("zip takes iterables by position", node)
        parts = [self.items_of(a) for a in node.args]
        count = parts[0].count
        for part in parts[1:]:
            count = count if part.count == count else self.b.op("min2", count, part.count)
        return Items(count, lambda k: Tup(tuple(part.at(k) for part in parts)))

    def _reversed(self, node: ast.Call) -> Items:
        given = self.keywords(node, "sequence")
        inner = self.items_of(given["sequence"])
        last = self.b.op("sub", inner.count, ONE)
        return Items(inner.count, lambda k: inner.at(self.b.op("sub", last, k)))

    def _indices(self, node: ast.Call) -> Items:
        values = [self.value(a) for a in node.args]
        items = values[0].items if len(values) == 1 and isinstance(values[0], Tup) else tuple(values)
        if node.keywords or not items or not all(isinstance(i, (Var, Const)) and not is_float(i.dt) for i in items):
            raise self.error("np.ndindex takes ints, or a tuple of ints", node)
        count: Atom = ONE
        for n in items:
            count = self.b.op("mul", count, n)  # type: ignore[arg-type]
        return Items(count, lambda k: Tup(tuple(self.unraveled(k, items))))  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------- arrays of listed items
    def listed(self, node: ast.expr, root: str | None, dt: str | None) -> Value:
        """``np.array([...])``: of numbers, of rows of numbers, or of one number for each item of a loop."""
        if isinstance(node, ast.ListComp):
            return self._comprehended(node, root, dt)
        if not isinstance(node, (ast.List, ast.Tuple)):
            v = self.lazy(node)
            v = v.ref if isinstance(v, Listed) else v
            if isinstance(v, (Ref, Lazy)):
                return self.evaluated(v, root or "array", dt)
            if isinstance(v, Tup) and v.cls is ComplexPair and isinstance(v.items[0], (Ref, Lazy)):
                return Tup(tuple(self.evaluated(p, root or "array") for p in v.items), ComplexPair)  # type: ignore[arg-type]
            raise self.error(f"np.array of {describe(v)} is not supported", node)
        rows = [self.listed(e, None, dt) if isinstance(e, (ast.List, ast.Tuple)) else self.value(e) for e in node.elts]
        if not rows:
            raise self.error("np.array of an empty list has no dtype: use np.empty", node)
        if (dt is not None and dt[0] == "c") or any(isinstance(r, Tup) and r.cls is ComplexPair for r in rows):
            own = "f4" if dt == "c8" else "f8"
            both = [self.both(r) for r in rows]
            return Tup(tuple(self._rows([self.stored(b[k]) for b in both], root, own, node) for k in (0, 1)), ComplexPair)
        return self._rows(rows, root, dt, node)

    def both(self, v: Value) -> tuple[Any, Any]:
        raise NotImplementedError

    def _rows(self, rows: list[Value], root: str | None, dt: str | None, node: ast.AST) -> Value:
        """An array of numbers, or of rows."""
        if all(isinstance(r, Ref) for r in rows):
            return self.joined([self._new_axis(r, 0) for r in rows], 0, node, root)  # type: ignore[arg-type]
        if not all(isinstance(r, (Var, Const)) for r in rows):
            raise self.error("np.array takes numbers, or rows of one length", node)
        kind = dt or self._common([self.dtype(r) for r in rows])
        new = self.alloc(root or "array", kind, (const(len(rows), "i8"),), "none")
        for k, r in enumerate(rows):
            self.b.store(new.base, (const(k, "i8"),), self.b.cast(r, kind), "set", "never")  # type: ignore[arg-type]
        return new

    def _common(self, dts: list[str]) -> str:
        if all(dt == dts[0] for dt in dts):
            return dts[0]
        return "f8" if any(map(is_float, dts)) else "i8"

    def list_of(self, node: ast.List | ast.ListComp, root: str | None) -> Value:
        """A list of numbers of a length that does not change."""
        if isinstance(node, ast.List) and not node.elts:
            raise self.error("an empty list to which nothing is appended: use an array", node)
        rows = [e for e in getattr(node, "elts", ()) if isinstance(e, (ast.List, ast.Tuple, ast.ListComp))]
        made = None if rows else self.listed(node, root or "list", None)
        if not isinstance(made, Ref) or made.rank != 1:
            raise self.error("a list of anything but numbers is not supported: use a tuple or an array", node)
        return Listed(made)

    def list_place(self, listed: Listed, parts: Sequence[Part], node: ast.AST) -> Atom:
        """The place that an index of a list means; IndexError where there is none."""
        (k,) = parts if len(parts) == 1 else (None,)
        if not isinstance(k, (Var, Const)):
            raise self.error("a list is indexed by one int: use an array", node)
        (n,) = self.shape(listed.ref)
        at = self.b.op("select", self.b.op("lt", k, ZERO), self.b.op("add", k, n), k)
        bad = self.b.op("lor", self.b.op("lt", at, ZERO), self.b.op("ge", at, n))
        if isinstance(bad, Const) and bad.value:
            raise self.error("list index out of range", node)
        self.check(bad, node, "IndexError('list index out of range')")
        return at

    def _comprehended(self, node: ast.ListComp, root: str | None, dt: str | None) -> Value:
        (generator,) = node.generators if len(node.generators) == 1 else (None,)
        if generator is None:
            raise self.error("a list comprehension may have one 'for': write the loops", node)
        items = self.items_of(generator.iter)
        before = dict(self.env)

        def element(index: Any) -> Atom:
            self.bind(generator.target, items.at(index[0]))
            value = self.value(node.elt)
            self.env = dict(before)
            if not isinstance(value, (Var, Const)):
                raise self.error(f"a list comprehension makes numbers here, got {describe(value)}", node)
            return value

        def chosen(index: Any) -> Atom:
            """Whether an item is taken: the conditions one after the other, as far as they are needed."""
            bit: Atom = const(True, "b1")
            for test in generator.ifs:
                self.bind(generator.target, items.at(index[0]))
                bit = self.short_circuit(bit, lambda test=test: self.truth(test), True)
            self.env = dict(before)
            return bit

        with self.b.block(loop=True):  # only to learn the dtype
            kind = dt or element([ZERO]).dt
        out = self.alloc(root or "array", kind, (items.count,), "none")

        def body(carried: Any, index: Any) -> list[Atom]:
            if not generator.ifs:
                self.b.store(out.base, (index[0],), self.b.cast(element(index), kind), "set", "never")
                return []
            bit, (n,) = chosen(index), carried
            with self.b.block() as taken:
                self.b.store(out.base, (n,), self.b.cast(element(index), kind), "set", "never")
                more = self.b.op("add", n, ONE)
            return self.b.phi(bit, taken, [], [("count", more, n)])

        found = self.loops([items.count], [ZERO] if generator.ifs else [], body)
        return Ref(out.base, out.index, (found[0],)) if found else out

    def bind(self, target: ast.expr, value: Value) -> None:
        raise NotImplementedError

    def short_circuit(self, first: Atom, rest: Callable[[], Atom], conjunction: bool) -> Atom:
        raise NotImplementedError

    def truth(self, node: ast.expr) -> Atom:
        raise NotImplementedError
