"""Reductions of arrays: sums as those of an :class:`.Each`, in Numba's order; extremes as the element at an inert index."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from .arrays import Elements
from .build import const, zero
from .gathers import Gathers
from .ir import ONE, ZERO, Atom, Const, Each, For, Store, is_float
from .values import Lazy, Ref, Tup, Value

__all__ = ["REDUCTIONS", "Reductions"]

#: from what a loop carries and an element, what it carries on
Step = Callable[[Sequence[Atom], Atom], list[Atom]]


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
        """The extreme element and its place in row-major order."""
        v = self.kept(v)
        lens = self.lengths(v)
        self._some(self.count(v), node)
        starts, step = self._seeking(self.dtype(v), largest)
        _, place, _ = self.loops(lens, starts, lambda carried, index: step(carried, self.at(v, index)))
        return self.at(v, self.unraveled(place, lens)), place

    def _some(self, n: Atom, node: ast.AST) -> None:
        self.check(self.b.op("eq", n, ZERO), node, "ValueError('an extreme of an empty array')")

    def _seeking(self, dt: str, largest: bool) -> tuple[list[Atom], Step]:
        """The extreme so far, its place and the number of elements: the first of equal ones, and a NaN if there is one."""
        op = self.b.op

        def step(carried: Sequence[Atom], x: Atom) -> list[Atom]:
            best, at, k = carried
            bit = op("gt" if largest else "lt", x, best)
            if is_float(dt):  # NaN is the extreme of whatever has one: the first of them
                new = op("land", op("isnan", x), op("lnot", op("isnan", best)))
                bit = op("lor", bit, new)
            bit = op("lor", bit, op("eq", k, ZERO))
            return [op("select", bit, x, best), op("select", bit, k, at), op("add", k, ONE)]

        return [zero(dt), ZERO, ZERO], step

    def as_bool(self, value: Atom) -> Atom:
        return value if value.dt == "b1" else self.b.op("ne", value, zero(value.dt))

    def kept(self, v: Elements) -> Ref:
        return self.evaluated(v, "array") if isinstance(v, Lazy) else v

    # ---------------------------------------------------------------------------------------------------- along an axis
    def axes_of(self, axis: Value, rank: int, node: ast.AST) -> list[int]:
        """The axes that a literal int, or a tuple of them, names."""
        given = axis.items if isinstance(axis, Tup) else (axis,)
        found = []
        for a in given:
            if not isinstance(a, Const) or a.dt != "i8" or not -rank <= a.value < rank:  # type: ignore[operator]
                raise self.error(f"axis must be a literal int within the {rank} axes", node)
            found.append(int(a.value) % rank)  # type: ignore[arg-type]
        if len(set(found)) != len(found):
            raise self.error("an axis occurs twice", node)
        return sorted(found)

    def summed(self, v: Elements, gone: Sequence[int]) -> Ref:
        """The sums along axes."""
        axes = self.domain(self.lengths(v))
        index = [i for i, _, _ in axes]
        with self.b.block(loop=True) as body:
            x = self.b.cast(self.at(v, index), "i8") if not is_float(self.dtype(v)) else self.at(v, index)
        out = self.alloc("sum", x.dt, tuple(n for j, (_, _, n) in enumerate(axes) if j not in gone), "zero")
        place = tuple(i for j, i in enumerate(index) if j not in gone)
        store = Store(out.base, place, x, "add", "never", self.b.line)
        self.b.add(Each(axes, tuple(body), (store,), "any", (), self.b.line))
        return out

    def folded(self, v: Elements, k: int, starts: list[Atom], step: Step, which: int = 0) -> Ref:
        """The fold along axis k at every index of the others; ``which`` of what it carries is kept."""
        lens = self.lengths(v)
        out = self.alloc("folded", starts[which].dt, (*lens[:k], *lens[k + 1 :]), "none")

        def fold(_: Sequence[Atom], index: Sequence[Atom]) -> list[Atom]:
            def one(carried: Sequence[Atom], at: Sequence[Atom]) -> list[Atom]:
                return step(carried, self.at(v, [*index[:k], *at, *index[k:]]))

            found = self.loops((lens[k],), starts, one)
            self.b.store(out.base, tuple(index), found[which], "set", "never")
            return []

        self.loops((*lens[:k], *lens[k + 1 :]), [], fold)
        return out

    def kept_axes(self, ref: Ref, gone: Sequence[int]) -> Ref:
        """The view in which axes that are gone have length 1."""
        for k in gone:
            ref = self._new_axis(ref, k)
        return ref

    def _reduced(self, name: str, v: Elements, gone: list[int], node: ast.AST) -> Value:
        """A reduction along some axes, of an array that has others."""
        op, lens = self.b.op, self.lengths(v)
        if name == "sum":
            return self.summed(v, gone)
        if name in ("mean", "var", "std"):
            n: Atom = ONE
            for k in gone:
                n = op("mul", n, lens[k])
            n = op("cast", n, dt="f4") if self.dtype(v) == "f4" else n
            if name == "mean":
                return self.elementwise("div", [self.summed(v, gone), n], node)
            v = self.kept(v)
            mean = self.kept(self._reduced("mean", v, gone, node))  # type: ignore[arg-type]
            deviation = self.elementwise("sub", [v, self.kept_axes(mean, gone)], node)
            var = self.elementwise("div", [self.summed(self._squares(deviation), gone), n], node)
            return self.elementwise("sqrt", [var], node) if name == "std" else var
        if len(gone) > 1:
            raise self.error(f"{name} along several axes is not supported: one after the other", node)
        (k,) = gone
        v = self.kept(v)
        if name in ("max", "min", "argmax", "argmin"):
            self._some(lens[k], node)
            place = self.folded(v, k, *self._seeking(self.dtype(v), name.endswith("max")), which=1)
            if name.startswith("arg"):
                return place
            others = self.lengths(place)
            return self.lazily(others, v.base.dt, lambda i: self.at(v, [*i[:k], self.element(place, i), *i[k:]]))
        start, step = self._folding(name, self.dtype(v))
        return self.folded(v, k, [start], lambda carried, x: [step(carried[0], x)])

    def _squares(self, v: Lazy) -> Lazy:
        return self.lazily(v.lens, v.dt, lambda i: self.b.op("mul", x := v.at(i), x))

    def _folding(self, name: str, dt: str) -> tuple[Atom, Callable[[Atom, Atom], Atom]]:
        """Start and step of the folds of one number."""
        op = self.b.op
        if name == "prod":
            kind = dt if is_float(dt) else "i8"
            return const(1, kind), lambda t, x: op("mul", t, self.b.cast(x, kind))
        if name in ("any", "all"):
            join = "lor" if name == "any" else "land"
            return const(name == "all", "b1"), lambda t, x: op(join, t, self.as_bool(x))
        assert name == "count_nonzero", name
        return ZERO, lambda t, x: op("add", t, self.b.cast(self.as_bool(x), "i8"))

    # ------------------------------------------------------------------------------------------------------ by name
    def reduce(self, name: str, v: Elements, node: ast.AST, axis: Value | None = None, keep: bool = False) -> Value:
        """``np.<name>(v)`` or ``v.<name>()``; axes that are ``keep``-ed have length 1."""
        op = self.b.op
        gone = list(range(v.rank)) if axis is None else self.axes_of(axis, v.rank, node)
        if name == "ptp":
            v = self.kept(v)
            high, low = (self.reduce(end, v, node, axis, keep) for end in ("max", "min"))
            return self.elementwise("sub", [high, low], node) if isinstance(high, (Ref, Lazy)) else op("sub", high, low)  # type: ignore[arg-type]
        if len(gone) < v.rank:
            found = self._reduced(name, v, gone, node)
            return self.kept_axes(self.kept(found), gone) if keep else found  # type: ignore[arg-type]
        if keep:
            number = self.reduce(name, v, node)
            new = self.alloc(name, number.dt, (ONE,) * v.rank, "none")  # type: ignore[union-attr]
            self.b.store(new.base, (ZERO,) * v.rank, number, "set", "never")  # type: ignore[arg-type]
            return new
        dt = self.dtype(v)
        if name == "sum":
            return self.total(v)
        if name == "mean":
            count = self.count(v)
            return op("div", self.total(v), count if dt != "f4" else op("cast", count, dt="f4"))
        if name in ("var", "std"):
            kept = self.kept(v)
            mean = self.reduce("mean", kept, node)
            squares = self._squares(self.elementwise("sub", [kept, mean], node))
            var = op("div", self.total(squares), op("cast", self.count(v), dt=squares.dt))
            return op("sqrt", var) if name == "std" else var
        if name in ("max", "min"):
            return self.extreme(v, node, name == "max")[0]
        if name in ("argmax", "argmin"):
            return self.extreme(v, node, name == "argmax")[1]
        start, step = self._folding(name, dt)
        return self.fold(v, start, step, start.dt)


#: the names of reductions, as functions and as methods
REDUCTIONS = ("sum", "prod", "mean", "var", "std", "min", "max", "argmin", "argmax", "any", "all")
