"""Reductions of arrays: sums as those of an :class:`.Each`, in Numba's order; extremes as the element at an inert index."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from .arrays import Elements
from .build import const, zero
from .gathers import Gathers
from .ir import ONE, ZERO, Atom, Const, Each, For, Store, is_float
from .values import Lazy, Ref, Value

__all__ = ["REDUCTIONS", "Reductions"]


class Reductions(Gathers):
    """Values of reductions."""

    def total(self, v: Elements) -> Atom:
        """The sum of all elements: one after the other, as Numba adds them."""
        if not is_float(self.dtype(v)):
            return self.fold(v, ZERO, lambda t, x: self.b.op("add", t, self.b.cast(x, "i8")), "i8")
        axes = self.domain(self.lengths(v))
        with self.b.block(loop=True) as body:
            x = self.at(v, [i for i, _, _ in axes])
        total = self.names.var("sum", x.dt)
        self.b.add(Each(axes, tuple(body), (), "any", ((total, zero(x.dt), (x,)),), self.b.line))
        return total

    def fold(self, v: Elements, start: Atom, step: Callable[[Atom, Atom], Atom], dt: str) -> Atom:
        """``step(..step(start, v[0]).., v[-1])``."""

        def body(carried: Sequence[Atom], index: Sequence[Atom]) -> list[Atom]:
            return [self.b.cast(step(carried[0], self.at(v, index)), dt)]

        return self.loops(self.lengths(v), [self.b.cast(start, dt)], body)[0]

    def loops(
        self, lens: Sequence[Atom], starts: list[Atom], body: Callable[[Sequence[Atom], Sequence[Atom]], list[Atom]]
    ) -> list[Atom]:
        """A nest of loops that carries values, in row-major order."""

        def nest(k: int, carried: list[Atom], index: list[Atom]) -> list[Atom]:
            if k == len(lens):
                return body(carried, index)
            var = self.names.var("ijkl"[k % 4], "i8")
            params = [self.names.var("carried", a.dt) for a in carried]
            with self.b.block(loop=True) as stmts:
                yields = nest(k + 1, list(params), [*index, var])
            results = [self.names.var("carried", a.dt) for a in carried]
            carries = tuple(zip(params, carried, strict=True))
            self.b.add(
                For(var, ZERO, lens[k], ONE, carries, tuple(stmts), tuple(yields), tuple(results), None, None, self.b.line)
            )
            return list(results)

        return nest(0, starts, [])

    def count(self, v: Elements) -> Atom:
        total: Atom = ONE
        for n in self.lengths(v):
            total = self.b.op("mul", total, n)
        return total

    def extreme(self, v: Elements, node: ast.AST, largest: bool) -> tuple[Atom, Atom]:
        """The extreme element and its place in row-major order: the first of equal ones, and a NaN if there is one."""
        v = self.kept(v)
        lens, dt = self.lengths(v), self.dtype(v)
        text = "ValueError('an extreme of an empty array')"
        self.check(self.b.op("eq", self.count(v), ZERO), node, text)
        better = "gt" if largest else "lt"

        def body(carried: Sequence[Atom], index: Sequence[Atom]) -> list[Atom]:
            best, at, k = carried
            x = self.at(v, index)
            bit = self.b.op(better, x, best)
            if is_float(dt):  # NaN is the extreme of whatever has one: the first of them
                new = self.b.op("land", self.b.op("isnan", x), self.b.op("lnot", self.b.op("isnan", best)))
                bit = self.b.op("lor", bit, new)
            bit = self.b.op("lor", bit, self.b.op("eq", k, ZERO))
            return [self.b.op("select", bit, x, best), self.b.op("select", bit, k, at), self.b.op("add", k, ONE)]

        _, place, _ = self.loops(lens, [zero(dt), ZERO, ZERO], body)
        return self.at(v, self.unraveled(place, lens)), place

    def as_bool(self, value: Atom) -> Atom:
        return value if value.dt == "b1" else self.b.op("ne", value, zero(value.dt))

    def kept(self, v: Elements) -> Ref:
        return self.evaluated(v, "array") if isinstance(v, Lazy) else v

    # ---------------------------------------------------------------------------------------------------- along an axis
    def summed(self, v: Elements, axis: Value, node: ast.AST) -> Ref:
        """The sum along one axis."""
        if not isinstance(axis, Const) or not -v.rank <= axis.value < v.rank:  # type: ignore[operator]
            raise self.error(f"axis must be a literal int within the {v.rank} axes", node)
        k = int(axis.value) % v.rank  # type: ignore[arg-type]
        axes = self.domain(self.lengths(v))
        index = [i for i, _, _ in axes]
        with self.b.block(loop=True) as body:
            x = self.b.cast(self.at(v, index), "i8") if not is_float(self.dtype(v)) else self.at(v, index)
        out = self.alloc("sum", x.dt, tuple(n for j, (_, _, n) in enumerate(axes) if j != k), "zero")
        store = Store(out.base, tuple(i for j, i in enumerate(index) if j != k), x, "add", "never", self.b.line)
        self.b.add(Each(axes, tuple(body), (store,), "any", (), self.b.line))
        return out

    # ------------------------------------------------------------------------------------------------------ by name
    def reduce(self, name: str, v: Elements, node: ast.AST, axis: Value | None = None) -> Value:
        """``np.<name>(v)`` or ``v.<name>()``."""
        op = self.b.op
        if axis is not None:
            if name not in ("sum", "mean"):
                raise self.error(f"{name} along an axis is not supported: write the loop", node)
            total = self.summed(v, axis, node)
            if name == "sum":
                return total
            n = self.lengths(v)[int(axis.value) % v.rank]  # type: ignore[union-attr, arg-type]
            return self.elementwise("div", [total, n], node)
        dt = self.dtype(v)
        if name == "sum":
            return self.total(v)
        if name == "prod":
            start = const(1, dt) if is_float(dt) else ONE
            return self.fold(v, start, lambda t, x: op("mul", t, x), start.dt)
        if name == "mean":
            count = self.count(v)
            return op("div", self.total(v), count if dt != "f4" else op("cast", count, dt="f4"))
        if name in ("var", "std"):
            kept = self.kept(v)
            mean = self.reduce("mean", kept, node)
            deviation = self.elementwise("sub", [kept, mean], node)
            squares = self.lazily(deviation.lens, deviation.dt, lambda i: op("mul", x := deviation.at(i), x))
            var = op("div", self.total(squares), op("cast", self.count(v), dt=squares.dt))
            return op("sqrt", var) if name == "std" else var
        if name in ("max", "min"):
            return self.extreme(v, node, name == "max")[0]
        if name in ("argmax", "argmin"):
            return self.extreme(v, node, name == "argmax")[1]
        if name in ("any", "all"):
            join = "lor" if name == "any" else "land"
            return self.fold(v, const(name == "all", "b1"), lambda t, x: op(join, t, self.as_bool(x)), "b1")
        raise self.error(f"{name} of an array is not supported", node)


REDUCTIONS = ("sum", "prod", "mean", "var", "std", "min", "max", "argmin", "argmax", "any", "all")
