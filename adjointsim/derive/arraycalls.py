"""Calls that make arrays of arrays: rearrangements as views or copies, products, constants."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .build import const
from .ir import ONE, ZERO, Atom, Const, Each, Store, Var, is_float
from .reductions import REDUCTIONS, Reductions
from .values import Axis, Lazy, Ref, Static, Tup, Value, describe

__all__ = ["ARRAY_CALLS", "ArrayCalls"]

Elements = Ref | Lazy


class ArrayCalls(Reductions):
    """Values of calls of NumPy's functions on arrays, and of the methods of arrays."""

    def dtype_of(self, node: ast.expr | None) -> str:
        raise NotImplementedError

    def value(self, node: ast.expr, root: str | None = None) -> Value:
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------------- arguments
    def elements(self, node: ast.expr) -> Elements:
        """An argument that must be an array."""
        v = self.lazy(node)
        if isinstance(v, (Ref, Lazy)):
            return v
        raise self.error(f"expected an array, got {describe(v)}", node)

    def operands(self, node: ast.expr) -> list[Elements]:
        """A tuple of arrays, as np.concatenate takes it."""
        v = self.lazy(node)
        if not isinstance(v, Tup) or not v.items or not all(isinstance(i, (Ref, Lazy)) for i in v.items):
            raise self.error(f"expected a tuple of arrays, got {describe(v)}", node)
        return list(v.items)  # type: ignore[arg-type]

    def keywords(self, node: ast.Call, *names: str) -> dict[str, ast.expr]:
        """Arguments by name, in order, some of them given by keyword."""
        found = dict(zip(names, node.args, strict=False))
        if len(node.args) > len(names):
            raise self.error(f"{ast.unparse(node.func)} takes at most {len(names)} arguments here", node)
        for k in node.keywords:
            if k.arg not in names or k.arg in found:
                raise self.error(f"argument '{k.arg or '**'}' of {ast.unparse(node.func)} is not supported", node)
            found[k.arg] = k.value
        return found

    def literal_int(self, node: ast.expr | None, default: int, what: str) -> int:
        if node is None:
            return default
        v = self.value(node)
        if not isinstance(v, Const) or v.dt != "i8":
            raise self.error(f"{what} must be a literal int", node)
        return int(v.value)  # type: ignore[arg-type]

    def reduction(self, name: str, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axis")
        axis = self.value(given["axis"]) if "axis" in given else None
        if isinstance(axis, Static) and axis.obj is None:
            axis = None
        if "a" not in given:
            raise self.error(f"{ast.unparse(node.func)} takes an array", node)
        return self.reduce(name, self.elements(given["a"]), node, axis)

    # ------------------------------------------------------------------------------------------------- rearrangements
    def _transpose(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axes")
        return self.transpose(self.kept(self.elements(given["a"])), [given["axes"]] if "axes" in given else [], node)

    def transpose(self, ref: Ref, axes: list[ast.expr], node: ast.AST) -> Ref:
        order = list(range(ref.rank))[::-1]
        if axes:
            values = [self.value(a) for a in axes]
            items = list(values[0].items) if len(values) == 1 and isinstance(values[0], Tup) else values
            order = [int(v.value) if isinstance(v, Const) else -99 for v in items]  # type: ignore[arg-type]
            order = [k + ref.rank if k < 0 else k for k in order]
            if sorted(order) != list(range(ref.rank)):
                raise self.error(f"axes must be a permutation of the {ref.rank} axes, in literal ints", node)
        return self.transposed(ref, order)

    def _flip(self, node: ast.Call, root: str | None) -> Value:
        ref = self.kept(self.elements(self.keywords(node, "m")["m"]))
        return self.flipped(ref, list(range(ref.rank)))

    def _roll(self, node: ast.Call, root: str | None) -> Value:
        """Two copies: what stays in place, shifted, and what comes round."""
        given = self.keywords(node, "a", "shift")
        ref = self.kept(self.elements(given["a"]))
        if ref.rank != 1:
            raise self.error("np.roll of an array of several axes is not supported: roll its rows, or use slices", node)
        (n,) = self.shape(ref)
        shift = self.b.cast(self._int(given["shift"], "shift"), "i8")
        shift = self.b.op("select", self.b.op("eq", n, ZERO), ZERO, self.b.op("mod", shift, self.b.op("max2", n, ONE)))
        out = self.alloc(root or "rolled", ref.base.dt, (n,), "none")
        rest = self.b.op("sub", n, shift)
        self.assign(self._part_of(out, shift, rest), self._part_of(ref, ZERO, rest))
        self.assign(self._part_of(out, ZERO, shift), self._part_of(ref, rest, shift))
        return out

    def _part_of(self, ref: Ref, lo: Atom, n: Atom) -> Ref:
        """Elements lo .. lo + n of an array of one axis."""
        index = tuple(Axis(0, self.along(i, lo), i.step) if isinstance(i, Axis) else i for i in ref.index)
        return Ref(ref.base, index, (n,))

    def _int(self, node: ast.expr, what: str) -> Atom:
        v = self.value(node)
        if not isinstance(v, (Var, Const)) or is_float(v.dt):
            raise self.error(f"{what} must be an int, got {describe(v)}", node)
        return v

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
    def running(self, op: str, node: ast.Call, root: str | None) -> Value:
        """np.cumsum and np.cumprod of the elements in row-major order."""
        v = self.elements(self.keywords(node, "a")["a"])
        if v.rank != 1:
            raise self.error("running totals of an array of several axes are not supported: write the loop", node)
        dt = self.dtype(v) if is_float(self.dtype(v)) else "i8"
        out = self.alloc(root or "running", dt, self.lengths(v), "none")

        def body(carried: Sequence[Atom], index: Sequence[Atom]) -> list[Atom]:
            total = self.b.op(op, carried[0], self.b.cast(self.at(v, index), dt))
            self.b.store(out.base, tuple(index), total, "set", "never")
            return [total]

        self.loops(self.lengths(v), [const(op == "mul", dt)], body)
        return out

    # ------------------------------------------------------------------------------------------------------- selections
    def _where(self, node: ast.Call, root: str | None) -> Value:
        given = [self.lazy(a) for a in node.args]
        if len(given) != 3 or node.keywords:
            raise self.error("np.where takes a condition and two values here", node)
        if not any(isinstance(v, (Ref, Lazy)) for v in given):
            raise self.error("np.where of numbers: write 'a if condition else b'", node)
        bit = self.elementwise("ne", [given[0], const(False, "b1")], node) if self.dtype(given[0]) != "b1" else given[0]
        return self.elementwise("select", [bit, given[1], given[2]], node)

    def _clip(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "a_min", "a_max")
        v = self.lazy(given["a"])
        for name, op in (("a_min", "maximum"), ("a_max", "minimum")):
            bound = self.lazy(given[name]) if name in given else Static(None)
            if not isinstance(bound, Static):
                v = self.elementwise(op, [v, bound], node)
        if not isinstance(v, (Ref, Lazy)):
            raise self.error("np.clip of a number: write min(max(x, low), high)", node)
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

    # -------------------------------------------------------------------------------------------------------- products
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
        store = Store(out.base, tuple(i for k, i in enumerate(index) if k != mid), x, "add", "never", self.b.line)
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
        v = self.elements(self.keywords(node, "x")["x"])
        kept = self.kept(v)
        return self.b.op("sqrt", self.total(self.elementwise("mul", [kept, kept], node)))

    # ------------------------------------------------------------------------------------------------------- constants
    def _eye(self, node: ast.Call, root: str | None) -> Value:
        n = self._int(self.keywords(node, "N")["N"], "N")
        bit = self.b.op
        return self.lazily((n, n), "f8", lambda i: bit("select", bit("eq", i[0], i[1]), const(1, "f8"), const(0, "f8")))

    def _arange(self, node: ast.Call, root: str | None) -> Value:
        values = [self._int(a, "an argument of np.arange") for a in node.args]
        if node.keywords or not 1 <= len(values) <= 2:
            raise self.error("np.arange takes one or two ints here", node)
        low, high = (ZERO, values[0]) if len(values) == 1 else values
        n = self.b.op("max2", self.b.op("sub", high, low), ZERO)
        return self.lazily((n,), "i8", lambda i: self.b.op("add", low, i[0]))

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
            given = self.keywords(node, "axis")
            axis = self.value(given["axis"]) if "axis" in given else None
            return self.reduce(name, owner, node, None if isinstance(axis, Static) else axis)
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
            values = [self.value(a) for a in node.args]
            items = list(values[0].items) if len(values) == 1 and isinstance(values[0], Tup) else values
            if not all(isinstance(i, (Var, Const)) and not is_float(i.dt) for i in items):
                raise self.error("a shape is an int or a tuple of ints", node)
            return self.reshape(owner, items, node, root)  # type: ignore[arg-type]
        if name == "fill" and len(node.args) == 1 and isinstance(owner, Ref):
            self.store(owner, [], self.value(node.args[0]), node)
            return Static(None)
        if name == "dot" and len(node.args) == 1:
            return self.matmul(owner, self.lazy(node.args[0]), node, root)
        raise self.error(f"method '{name}' of an array is not supported: write the loop over elements", node)


def _reduction(name: str) -> Callable[[Any, ast.Call, str | None], Value]:
    return lambda self, node, root: self.reduction(name, node, root)


ARRAY_CALLS: dict[Any, Callable[[Any, ast.Call, str | None], Value]] = {
    **{getattr(np, name): _reduction(name) for name in REDUCTIONS},
    np.transpose: ArrayCalls._transpose,
    np.flip: ArrayCalls._flip,
    np.roll: ArrayCalls._roll,
    np.concatenate: ArrayCalls._concatenate,
    np.stack: ArrayCalls._stack,
    np.hstack: ArrayCalls._hstack,
    np.vstack: ArrayCalls._vstack,
    np.diff: ArrayCalls._diff,
    np.cumsum: lambda self, node, root: self.running("add", node, root),
    np.cumprod: lambda self, node, root: self.running("mul", node, root),
    np.where: ArrayCalls._where,
    np.clip: ArrayCalls._clip,
    np.tril: lambda self, node, root: self._triangle(True, node, root),
    np.triu: lambda self, node, root: self._triangle(False, node, root),
    np.dot: ArrayCalls._dot,
    np.vdot: ArrayCalls._dot,
    np.outer: ArrayCalls._outer,
    np.trace: ArrayCalls._trace,
    np.diag: ArrayCalls._diag,
    np.linalg.norm: ArrayCalls._norm,
    np.eye: ArrayCalls._eye,
    np.identity: ArrayCalls._eye,
    np.arange: ArrayCalls._arange,
    np.linspace: ArrayCalls._linspace,
}
