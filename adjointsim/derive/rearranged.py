"""The elements of arrays in other places: transposed, shifted, joined, repeated, under another shape, and running totals."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arrays import Elements
from .build import const
from .ir import ONE, ZERO, Atom, Const, Var, is_float
from .products import Products
from .values import Axis, Lazy, Ref, Tup, Value

__all__ = ["REARRANGEMENTS", "Rearrangements"]

#: from totals so far and elements, the next totals
Step = Callable[[Sequence[Atom], Sequence[Atom]], list[Atom]]


class Rearrangements(Products):
    """Values of rearrangements."""

    def _transpose(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axes")
        return self.transpose(self.kept(self.elements(given["a"])), [given["axes"]] if "axes" in given else [], node)

    def transpose(self, ref: Ref, axes: list[ast.expr], node: ast.AST) -> Ref:
        order = list(range(ref.rank))[::-1]
        if axes:
            values = [self.value(a) for a in axes]
            items = list(values[0].items) if len(values) == 1 and isinstance(values[0], Tup) else values
            order = [int(v.value) if isinstance(v, Const) and v.dt == "i8" else -99 for v in items]  # type: ignore[arg-type]
            order = [k + ref.rank if k < 0 else k for k in order]
            if sorted(order) != list(range(ref.rank)):
                raise self.error(f"axes must be a permutation of the {ref.rank} axes, in literal ints", node)
        return self.transposed(ref, order)

    def _flip(self, node: ast.Call, root: str | None) -> Value:
        ref = self.kept(self.elements(self.keywords(node, "m")["m"]))
        return self.flipped(ref, list(range(ref.rank)))

    def _roll(self, node: ast.Call, root: str | None) -> Value:
        """Two copies along an axis: what stays in place, shifted, and what comes round; without an axis, in row-major order."""
        given = self.keywords(node, "a", "shift", "axis")
        ref = self.kept(self.elements(given["a"]))
        shift = self.b.cast(self._int(given["shift"], "shift"), "i8")
        if ref.rank != 1 and self._is_none(given.get("axis")):
            flat = self.reshape(ref, [const(-1, "i8")], node, root)
            return self.reshape(self._rolled(flat, shift, 0, root), self.shape(ref), node, root)
        return self._rolled(ref, shift, self._axis(given.get("axis"), ref.rank, node), root)

    def _rolled(self, ref: Ref, shift: Atom, k: int, root: str | None) -> Ref:
        n = self.shape(ref)[k]
        shift = self.b.op("select", self.b.op("eq", n, ZERO), ZERO, self.b.op("mod", shift, self.b.op("max2", n, ONE)))
        out = self.alloc(root or "rolled", ref.base.dt, self.shape(ref), "none")
        rest = self.b.op("sub", n, shift)
        self.assign(self._part_of(out, k, shift, rest), self._part_of(ref, k, ZERO, rest))
        self.assign(self._part_of(out, k, ZERO, shift), self._part_of(ref, k, rest, shift))
        return out

    def _part_of(self, ref: Ref, k: int, lo: Atom, n: Atom) -> Ref:
        """Elements lo .. lo + n along an axis."""
        index = tuple(Axis(k, self.along(i, lo), i.step) if isinstance(i, Axis) and i.k == k else i for i in ref.index)
        return Ref(ref.base, index, (*ref.lens[:k], n, *ref.lens[k + 1 :]))

    def _is_none(self, node: ast.expr | None) -> bool:
        return node is None or (isinstance(node, ast.Constant) and node.value is None)

    def _axis(self, node: ast.expr | None, rank: int, where: ast.AST, default: int = 0) -> int:
        """An axis, given as a literal int."""
        axis = self.literal_int(node, default, "axis")
        if not -rank <= axis < rank:
            raise self.error(f"axis must be a literal int within the {rank} axes", where)
        return axis % rank

    def _swapaxes(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axis1", "axis2")
        ref = self.kept(self.elements(given["a"]))
        one, two = (self._axis(given[name], ref.rank, node) for name in ("axis1", "axis2"))
        order = list(range(ref.rank))
        order[one], order[two] = two, one
        return self.transposed(ref, order)

    def _flipped_along(self, k: int, node: ast.Call) -> Value:
        ref = self.kept(self.elements(self.keywords(node, "m")["m"]))
        if ref.rank <= k:
            raise self.error(f"{ast.unparse(node.func)} takes an array of {k + 1} axes or more", node)
        return self.flipped(ref, [k])

    def _expand_dims(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axis")
        ref = self.kept(self.elements(given["a"]))
        return self._new_axis(ref, self._axis(given["axis"], ref.rank + 1, node))

    def _reshape(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "shape")
        v = self.elements(given["a"])
        return self.reshape(v, self.dims_of([self.value(given["shape"])], node), node, root)

    def dims_of(self, values: Sequence[Value], node: ast.AST) -> list[Atom]:
        """A shape, as one int, several, or a tuple of them."""
        items = list(values[0].items) if len(values) == 1 and isinstance(values[0], Tup) else list(values)
        if not all(isinstance(i, (Var, Const)) and not is_float(i.dt) for i in items):
            raise self.error("a shape is an int or a tuple of ints", node)
        return items  # type: ignore[return-value]

    def _ravel(self, node: ast.Call, root: str | None) -> Value:
        v = self.elements(self.keywords(node, "a")["a"])
        return self.reshape(v, [const(-1, "i8")], node, root) if v.rank != 1 else v

    def flat(self, v: Elements, node: ast.AST) -> Elements:
        """The elements in row-major order, as an array of one axis."""
        return v if v.rank == 1 else self.reshape(v, [const(-1, "i8")], node, None)

    def _repeat(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "repeats", "axis")
        v = self.lazy(given["a"])
        if isinstance(v, (Var, Const)):
            times = self._times(given["repeats"])
            return self.lazily((times,), v.dt, lambda i: v)
        return self.repeated(self.elements(given["a"]), given, node)

    def repeated(self, v: Elements, given: dict[str, ast.expr], node: ast.AST) -> Lazy:
        """Each element, or each row along an axis, several times."""
        times = self._times(given["repeats"])
        if self._is_none(given.get("axis")):
            v = self.flat(v, node)
        k = self._axis(given.get("axis"), v.rank, node) if v.rank > 1 else 0
        lens = self.lengths(v)

        def element(index: Sequence[Atom]) -> Atom:
            return self.at(v, [*index[:k], self.b.op("floordiv", index[k], times), *index[k + 1 :]])

        return self.lazily((*lens[:k], self.b.op("mul", lens[k], times), *lens[k + 1 :]), self.dtype(v), element)

    def _times(self, node: ast.expr) -> Atom:
        times = self.b.cast(self._int(node, "the number of repeats"), "i8")
        self.check(self.b.op("lt", times, ZERO), node, "ValueError('negative number of repeats')")
        return times

    def _tile(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "A", "reps")
        v = self.elements(given["A"])
        if v.rank != 1:
            raise self.error("np.tile of a matrix is not supported: join copies of it", node)
        (n,) = self.lengths(v)
        times = self._times(given["reps"])
        return self.lazily((self.b.op("mul", n, times),), self.dtype(v), lambda i: self.at(v, [self.b.op("mod", i[0], n)]))

    def _column_stack(self, node: ast.Call, root: str | None) -> Value:
        parts = [self.kept(p) for p in self.operands(self.keywords(node, "tup")["tup"])]
        return self.joined([self._new_axis(p, 1) if p.rank == 1 else p for p in parts], 1, node, root)

    def _append(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "arr", "values")
        v, more = self.kept(self.flat(self.elements(given["arr"]), node)), self.lazy(given["values"])
        if isinstance(more, (Var, Const)):
            more = self.lazily((ONE,), more.dt, lambda i, x=more: x)
        if not isinstance(more, (Ref, Lazy)):
            raise self.error("np.append takes an array and numbers, or two arrays", node)
        return self.joined([v, self.flat(more, node)], 0, node, root)

    def _nonzero(self, node: ast.Call, root: str | None) -> Value:
        """The indices at which an array is not zero, a tuple of an array for each axis."""
        v = self.elements(self.keywords(node, "a")["a"])
        return Tup(tuple(self.stored(i) for i in self.index_arrays(v)[0]))

    def _flatnonzero(self, node: ast.Call, root: str | None) -> Value:
        return self.places(self.elements(self.keywords(node, "a")["a"]))[0]

    def _take(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "indices", "axis")
        v, index = self.elements(given["a"]), self._part(self.lazy(given["indices"]), node)
        if isinstance(index, (Ref, Lazy)) and self.dtype(index) == "b1":
            raise self.error("np.take takes ints: index the array with the mask", node)
        if self._is_none(given.get("axis")):
            v = self.flat(v, node)
        k = self._axis(given.get("axis"), v.rank, node)
        whole = ast.copy_location(ast.Slice(None, None, None), node)
        return self.pick(v, [*([whole] * k), index], node)

    def _concatenate(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "arrays", "axis")
        return self.joined(self.operands(given["arrays"]), self.literal_int(given.get("axis"), 0, "axis"), node, root)

    def joined(self, parts: list[Elements], axis: int, node: ast.AST, root: str | None) -> Ref:
        """Arrays one after the other along an axis."""
        rank = parts[0].rank
        if any(p.rank != rank for p in parts) or not -rank <= axis < rank:
            raise self.error("arrays to join must have the same number of axes, and the axis must be one of them", node)
        axis %= rank
        shapes = [self.lengths(p) for p in parts]
        for shape in shapes[1:]:
            for k in range(rank):
                if k != axis:
                    self.same_length(shapes[0][k], shape[k], node)
        kinds = self.promoted([self.dtype(p) for p in parts])
        dt = kinds[0]
        for kind in kinds[1:]:
            dt = dt if dt == kind else "f8" if is_float(dt) or is_float(kind) else "i8"
        starts: list[Atom] = [ZERO]
        for shape in shapes:
            starts.append(self.b.op("add", starts[-1], shape[axis]))
        dims = tuple(starts[-1] if k == axis else n for k, n in enumerate(shapes[0]))
        out = self.alloc(root or "joined", dt, dims, "none")
        for part, lo, shape in zip(parts, starts, shapes, strict=False):
            index = tuple(Axis(k, lo) if k == axis else Axis(k) for k in range(rank))
            self.assign(Ref(out.base, index, tuple(shape[k] for k in range(rank))), part)
        return out

    def _stack(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "arrays", "axis")
        parts = [self.kept(p) for p in self.operands(given["arrays"])]
        axis = self.literal_int(given.get("axis"), 0, "axis")
        axis += (parts[0].rank + 1) * (axis < 0)
        return self.joined([self._new_axis(p, axis) for p in parts], axis, node, root)

    def _hstack(self, node: ast.Call, root: str | None) -> Value:
        parts = self.operands(self.keywords(node, "tup")["tup"])
        return self.joined(parts, 0 if parts[0].rank == 1 else 1, node, root)

    def _vstack(self, node: ast.Call, root: str | None) -> Value:
        parts = [self.kept(p) for p in self.operands(self.keywords(node, "tup")["tup"])]
        return self.joined([self._new_axis(p, 0) if p.rank == 1 else p for p in parts], 0, node, root)

    def _diff(self, node: ast.Call, root: str | None) -> Value:
        ref = self.kept(self.elements(self.keywords(node, "a")["a"]))
        (*_, n) = self.shape(ref)
        less = self.b.op("max2", self.b.op("sub", n, ONE), ZERO)
        last = ref.rank - 1

        def shifted(lo: Atom) -> Ref:
            index = tuple(Axis(last, self.along(i, lo), i.step) if isinstance(i, Axis) and i.k == last else i for i in ref.index)
            return Ref(ref.base, index, (*ref.lens[:-1], less))

        return self.elementwise("sub", [shifted(ONE), shifted(ZERO)], node)

    def reshape(self, v: Elements, shape: Sequence[Atom], node: ast.AST, root: str | None) -> Ref:
        """The elements in row-major order under another shape, as a copy that stands for the array while nobody can tell."""
        unknown = [k for k, n in enumerate(shape) if isinstance(n, Const) and n.value == -1]
        count, known = self.count(v), ONE
        for k, n in enumerate(shape):
            if k not in unknown:
                known = self.b.op("mul", known, n)
        lens = list(shape)
        if len(unknown) == 1:
            lens[unknown[0]] = self.b.op("floordiv", count, known)
            known = self.b.op("mul", known, lens[unknown[0]])
        self.check(self.b.op("ne", count, known), node, "ValueError('cannot reshape: the number of elements differs')")
        own = self.lengths(v)

        def element(index: Sequence[Atom]) -> Atom:
            place: Atom = ZERO
            for i, n in zip(index, lens, strict=True):
                place = self.b.op("add", self.b.op("mul", place, n), i)
            return self.at(v, self.unraveled(place, own))

        new = self.evaluated(self.lazily(lens, self.dtype(v), element), root or "reshaped")
        if isinstance(v, Ref):
            self.stands_for(new.base, v.base, ())
        return new

    # ------------------------------------------------------------------------------------------------ running totals
    def running(self, op: str, node: ast.Call, root: str | None, owner: Elements | None = None) -> Value:
        """np.cumsum and np.cumprod along an axis, or of the elements in row-major order; or the method of an owner."""
        given = self.keywords(node, *(("a",) if owner is None else ()), "axis")
        v = owner or self.elements(given["a"])
        dt = self.dtype(v) if is_float(self.dtype(v)) else "i8"
        step: Step = lambda t, x: [self.b.op(op, t[0], x[0])]  # noqa: E731
        return self.totals([v], given.get("axis"), [const(op == "mul", dt)], step, node, root)[0]

    def totals(
        self, parts: list[Elements], axis: ast.expr | None, starts: list[Atom], step: Step, node: ast.AST, root: str | None
    ) -> list[Ref]:
        """New arrays of what ``step`` makes of the totals so far and the elements of parts of one shape, along an axis."""
        if self._is_none(axis):
            parts = [self.flat(v, node) for v in parts]
        k = self._axis(axis, parts[0].rank, node)
        lens = self.lengths(parts[0])
        out = [self.alloc(root or "running", start.dt, lens, "none") for start in starts]

        def line(_: Sequence[Atom], index: Sequence[Atom]) -> list[Atom]:
            def body(carried: Sequence[Atom], at: Sequence[Atom]) -> list[Atom]:
                place = [*index[:k], *at, *index[k:]]
                found = step(carried, [self.b.cast(self.at(v, place), s.dt) for v, s in zip(parts, starts, strict=True)])
                for ref, total in zip(out, found, strict=True):
                    self.b.store(ref.base, tuple(place), total, "set", "never")
                return found

            self.loops((lens[k],), list(starts), body)
            return []

        self.loops((*lens[:k], *lens[k + 1 :]), [], line)
        return out


REARRANGEMENTS: dict[Any, Callable[[Any, ast.Call, str | None], Value]] = {
    np.transpose: Rearrangements._transpose,
    np.flip: Rearrangements._flip,
    np.roll: Rearrangements._roll,
    np.concatenate: Rearrangements._concatenate,
    np.stack: Rearrangements._stack,
    np.hstack: Rearrangements._hstack,
    np.vstack: Rearrangements._vstack,
    np.diff: Rearrangements._diff,
    np.swapaxes: Rearrangements._swapaxes,
    np.fliplr: lambda self, node, root: self._flipped_along(1, node),
    np.flipud: lambda self, node, root: self._flipped_along(0, node),
    np.expand_dims: Rearrangements._expand_dims,
    np.reshape: Rearrangements._reshape,
    np.ravel: Rearrangements._ravel,
    np.repeat: Rearrangements._repeat,
    np.tile: Rearrangements._tile,
    np.column_stack: Rearrangements._column_stack,
    np.append: Rearrangements._append,
    np.nonzero: Rearrangements._nonzero,
    np.flatnonzero: Rearrangements._flatnonzero,
    np.take: Rearrangements._take,
    np.cumsum: lambda self, node, root: self.running("add", node, root),
    np.cumprod: lambda self, node, root: self.running("mul", node, root),
}
