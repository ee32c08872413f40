"""Array expressions: elementwise operations, stored as one :class:`.Each` whatever their size.

An expression is computed element by element where it is needed (:class:`.Lazy`): stored under a name, into a slice, summed.
All is read before anything is written, as NumPy does; Numba's in-place operators on overlapping views do not, and there a
warning names the line.

Lengths must agree, or be a literal 1, which is broadcast.  Lengths that are known only as the program runs are compared then.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Sequence

from ..errors import OverlapWarning
from . import rules
from .context import wrap_of
from .ir import ONE, ZERO, Atom, Const, Each, For, Stmt, Store, Var, is_float
from .loops import overlaps
from .values import Axis, Lazy, Ref, Tup, Value, describe
from .views import Part, Views

__all__ = ["Arrays"]

Elements = Ref | Lazy
_ARITHMETIC = frozenset({"add", "sub", "mul", "neg", "pos", "floordiv", "mod", "pow", "powi", "div"})


class Arrays(Views):
    """Values of array expressions."""

    # ----------------------------------------------------------------------------------------------------- elements
    def lazily(
        self, lens: Sequence[Atom], dt: str, at: Callable[[Sequence[Atom]], Atom], room: tuple[Atom, ...] | None = None
    ) -> Lazy:
        """An array expression, to be stored before a call writes arrays."""
        return Lazy(tuple(lens), dt, at, room, self.writes)

    def dtype(self, v: Value) -> str:
        return v.base.dt if isinstance(v, Ref) else v.dt  # type: ignore[union-attr]

    def lengths(self, v: Elements) -> tuple[Atom, ...]:
        return self.shape(v) if isinstance(v, Ref) else v.lens

    def at(self, v: Value, index: Sequence[Atom]) -> Atom:
        """The element of an operand at an index of the whole expression: its own axes are the last ones."""
        if isinstance(v, (Var, Const)):
            return v
        assert isinstance(v, (Ref, Lazy))
        if isinstance(v, Lazy) and v.made != self.writes:
            raise self.error("an array expression waits for a call that writes arrays: give it a name of its own first")
        own = index[len(index) - v.rank :]
        one = [n == ONE for n in (v.lens if isinstance(v, Lazy) else self.shape(v))]
        own = [ZERO if single else i for i, single in zip(own, one, strict=True)]
        return self.element(v, own) if isinstance(v, Ref) else v.at(own)

    def broadcast(self, operands: Sequence[Value], node: ast.AST) -> tuple[Atom, ...]:
        """The lengths of an expression of these operands."""
        shapes = [self.lengths(v) for v in operands if isinstance(v, (Ref, Lazy))]
        rank = max(map(len, shapes), default=0)
        lens: list[Atom] = [ONE] * rank
        for shape in shapes:
            for k, n in enumerate(shape, rank - len(shape)):
                if lens[k] == ONE:
                    lens[k] = n
                elif n != ONE:
                    self.same_length(lens[k], n, node)
        return tuple(lens)

    def same_length(self, a: Atom, b: Atom, node: ast.AST) -> None:
        """Refuse, now or as the program runs, lengths that differ."""
        if a == b:
            return
        if isinstance(a, Const) and isinstance(b, Const):
            raise self.error(f"operands of lengths {a.value} and {b.value} do not fit together", node)
        text = "operands could not be broadcast together: two lengths differ (an axis of length 1 is repeated only where " \
               "its length is a literal 1, as in x[:, None] or x[0:1])"  # fmt: skip
        self.check(self.b.op("ne", a, b), node, f"ValueError({text!r})")

    def promoted(self, dts: Sequence[str]) -> tuple[str, ...]:
        """The dtypes that an array operation computes in: float32 stays unless a float64 is there, in NumPy and in Numba."""
        if "f4" in dts and "f8" not in dts:
            return tuple("f4" if not is_float(dt) else dt for dt in dts)
        return tuple(dts)

    def elementwise(self, op: str, operands: Sequence[Value], node: ast.AST) -> Lazy:
        """``op`` of arrays and numbers, element by element."""
        for v in operands:
            if not isinstance(v, (Var, Const, Ref, Lazy)):
                raise self.error(f"an array operation with {describe(v)} is not supported", node)
        dts = tuple(self.dtype(v) for v in operands)
        fixed = rules.FIXED.get(op, (-1, ""))[0]
        if op in _ARITHMETIC and set(dts) == {"b1"}:
            raise self.error("arithmetic on arrays of bools is not supported: use &, |, ^ or ~", node)
        kinds = self.promoted(dts)
        if fixed >= 0:
            kinds = tuple(dt if k == fixed else kind for k, (dt, kind) in enumerate(zip(dts, kinds, strict=True)))
        try:
            dt = rules.result_dtype(op, kinds)
        except TypeError as exc:
            raise self.error(str(exc), node) from None
        lens = self.broadcast(operands, node)

        def element(index: Sequence[Atom]) -> Atom:
            return self.b.op(op, *(self.b.cast(self.at(v, index), kind) for v, kind in zip(operands, kinds, strict=True)))

        return self.lazily(lens, dt, element)

    # ------------------------------------------------------------------------------------------------------- storing
    def domain(self, lens: Sequence[Atom]) -> tuple[tuple[Var, Atom, Atom], ...]:
        return tuple((self.names.var("ijkl"[k % 4], "i8"), ZERO, n) for k, n in enumerate(lens))

    def stored(self, v: Value, root: str | None = None) -> Value:
        """A value that may be kept: an expression becomes an array, and those in a tuple do."""
        if isinstance(v, Lazy):
            return self.evaluated(v, root or "array")
        if isinstance(v, Tup) and any(isinstance(i, (Lazy, Tup)) for i in v.items):
            return Tup(tuple(self.stored(i, root) for i in v.items), v.cls)
        return v

    def evaluated(self, v: Elements, root: str, dt: str | None = None) -> Ref:
        """A new array of the elements."""
        lens = self.lengths(v)
        new = self.alloc(root, dt or self.dtype(v), v.room or lens if isinstance(v, Lazy) else lens, "none")
        if isinstance(v, Lazy) and v.room is not None:
            new = Ref(new.base, new.index, lens)
        self.assign(new, v)
        return new

    def assign(self, target: Ref, v: Value, mode: str = "set") -> None:
        """``target[...] = v`` (or ``+=``), v broadcast and cast; lengths are those of the target."""
        axes = self.domain(self.shape(target))
        index = tuple(i for i, _, _ in axes)
        with self.b.block(loop=True) as body:
            value = self.b.op("cast", x, dt=target.base.dt) if (x := self.at(v, index)).dt != target.base.dt else x
            place = self.place(target, index)
        store = Store(target.base, place, value, mode, wrap_of(target), self.b.line)
        self.b.add(Each(axes, tuple(body), (store,), "any", (), self.b.line))

    def store(self, target: Ref, parts: list[Part], v: Value, node: ast.AST) -> None:
        """``target[parts] = v``."""
        arrays = [p for p in parts if isinstance(p, (Ref, Lazy))]
        self.writable(target, node)
        self._keeps(target, self.dtype(v), node)
        if not arrays:
            view = self.view(target, parts, node)
            self.fits(self.shape(view), v, node)
            self.assign(view, v)
        elif self.dtype(arrays[0]) == "b1":
            self._store_masked(target, parts, v, node)
        else:
            self._store_scattered(target, parts, v, node)

    def _keeps(self, target: Ref, dt: str, node: ast.AST) -> None:
        """Refuse floats where ints are kept."""
        if is_float(dt) and not is_float(target.base.dt):
            raise self.error("floats stored in an array of ints: use .astype(np.int64)", node)

    def fits(self, lens: Sequence[Atom], v: Value, node: ast.AST) -> None:
        """Refuse what cannot be broadcast to these lengths."""
        if not isinstance(v, (Ref, Lazy)):
            if not isinstance(v, (Var, Const)):
                raise self.error(f"cannot store {describe(v)} in an array", node)
            return
        if v.rank > len(lens):
            raise self.error(f"cannot store {describe(v)} in a {len(lens)}-d array", node)
        for n, own in zip(lens[len(lens) - v.rank :], self.lengths(v), strict=True):
            if own != ONE:
                self.same_length(n, own, node)

    def _store_masked(self, target: Ref, parts: list[Part], v: Value, node: ast.AST) -> None:
        """``a[mask] = number``, and ``a[mask] = array of one number an element of the mask``, refused."""
        (mask,) = parts if len(parts) == 1 else (None,)
        if not isinstance(mask, (Ref, Lazy)) or mask.rank > target.rank:
            raise self.error("a mask is the only part of its index", node)
        if not isinstance(v, (Var, Const)):
            raise self.error("an array stored under a mask is not supported: write np.where(mask, new, old)", node)
        for n, own in zip(self.shape(target), self.lengths(mask), strict=False):
            self.same_length(n, own, node)
        rest = tuple(range(mask.rank, target.rank))

        def element(index: Sequence[Atom]) -> Atom:
            bit = self.at(mask, index[: len(index) - len(rest)])
            return self.b.op("select", bit, self.b.cast(v, target.base.dt), self.element(target, index))

        self.assign(target, self.lazily(self.shape(target), target.base.dt, element))

    def _store_scattered(self, target: Ref, parts: list[Part], v: Value, node: ast.AST) -> None:
        """``a[index array] = v``: where an index occurs twice, the last value stays, as in NumPy."""
        lens, place = self._picked(target, parts, node)
        self.fits(lens, v, node)
        axes = self.domain(lens)
        index = tuple(i for i, _, _ in axes)
        with self.b.block(loop=True) as body:
            at = place(index)
            value = self.b.cast(self.at(v, index), target.base.dt)
        store = Store(target.base, at, value, "set", "maybe", self.b.line)
        self.b.add(Each(axes, tuple(body), (store,), "seq", (), self.b.line))

    # ------------------------------------------------------------------------------------------------------- gathering
    def pick(self, source: Elements, parts: list[Part], node: ast.AST) -> Value:
        """The value of ``source[parts]``: an element, a view, or a copy where an index is an array."""
        arrays = [p for p in parts if isinstance(p, (Ref, Lazy))]
        if isinstance(source, Lazy):
            source = self.evaluated(source, "array")
        if not arrays:
            return self.item(source, parts, node)
        if len(arrays) == 1 and self.dtype(arrays[0]) == "b1":
            if len(parts) != 1:
                raise self.error("a mask is the only part of its index", node)
            index = self._positions(source, arrays[0], node)
            lens, place = self._picked(source, [index], node)
            room = (self.shape(source)[0], *lens[1:])
            return self.lazily(lens, source.base.dt, lambda i: self.b.load(source.base, place(i)), room)
        lens, place = self._picked(source, parts, node)
        return self.lazily(lens, source.base.dt, lambda i: self.b.load(source.base, place(i)))

    def _picked(self, source: Ref, parts: list[Part], node: ast.AST) -> tuple[tuple[Atom, ...], Callable[..., tuple[Atom, ...]]]:
        """The lengths of ``source[parts]`` with one index array, and the base's index of an element."""
        where = [k for k, p in enumerate(parts) if isinstance(p, (Ref, Lazy))]
        if len(where) != 1 or parts[where[0]].rank != 1 or any(isinstance(p, (Var, Const)) for p in parts):  # type: ignore[union-attr]
            raise self.error("an index may have one array of ints, of one axis, besides slices: write the loop", node)
        array = parts[where[0]]
        whole = ast.copy_location(ast.Slice(None, None, None), node)
        plain: list[Part] = [whole if k in where else p for k, p in enumerate(parts)]
        view = self.view(source, plain, node)
        shape = self.shape(view)
        k = where[0]
        lens = (*shape[:k], self.lengths(array)[0], *shape[k + 1 :])  # type: ignore[arg-type]

        def place(index: Sequence[Atom]) -> tuple[Atom, ...]:
            chosen = self.b.cast(self.at(array, [index[k]]), "i8")  # type: ignore[arg-type]
            axis = view.index[view.axis(k)]
            if not (isinstance(axis, Axis) and axis.whole and view.lens[k] is None):
                chosen = self._inside(chosen, shape[k])
            return self.place(view, [*index[:k], chosen, *index[k + 1 :]])

        return lens, place

    def _positions(self, source: Ref, mask: Elements, node: ast.AST) -> Ref:
        """The indices at which a mask of one axis is true, in order."""
        if mask.rank != 1:
            raise self.error("a mask of several axes picks elements in an order that depends on the run: use np.where", node)
        (n,) = self.lengths(mask)
        self.same_length(n, self.shape(source)[0], node)
        index = self.alloc("index", "i8", (n,), "none")
        i, count, after = (self.names.var(root, "i8") for root in ("i", "count", "count"))
        with self.b.block(loop=True) as body:
            bit = self.b.cast(self.at(mask, [i]), "b1")
            with self.b.block() as then:
                self.b.store(index.base, (count,), i, "set", "never")
                up = self.b.op("add", count, ONE)
            (total,) = self.b.phi(bit, then, [], [("count", up, count)])
        self.b.add(For(i, ZERO, n, ONE, ((count, ZERO),), tuple(body), (total,), (after,), None, None, self.b.line))
        return Ref(index.base, index.index, (after,))

    # --------------------------------------------------------------------------------------------------------- in place
    def in_place(self, op: ast.operator, target: Ref, parts: list[Part], v: Value, node: ast.AST) -> None:
        """``target[parts] op= v``, NumPy's meaning: all is read before anything is written."""
        name = rules.BINARY.get(type(op))
        if name is None:
            raise self.error(f"operator {type(op).__name__} is not supported", node)
        old = self.pick(target, parts, node)
        arrays = [p for p in parts if isinstance(p, (Ref, Lazy))]
        if arrays and self.dtype(arrays[0]) == "b1":
            raise self.error("an operation in place under a mask is not supported: use np.where", node)
        result = self.elementwise(self._exponent(name, v, target), [old, v], node)
        self._keeps(target, result.dt, node)
        if not isinstance(old, Ref):
            return self.store(target, parts, result, node)
        self.writable(target, node)
        self.fits(self.shape(old), v, node)
        mark = len(self.b.stmts)
        if name in ("add", "sub") and result.dt == target.base.dt and is_float(result.dt):
            # an addition kills nothing that the adjoint could need
            self.assign(old, v if name == "add" else self.elementwise("neg", [v], node), mode="add")
        else:
            self.assign(old, result)
        if isinstance(v, Ref):  # of an expression Numba makes an array first, and does as NumPy does
            self._warn_of_overlap(self.b.stmts[mark:], node)

    def _exponent(self, name: str, v: Value, base: Elements) -> str:
        literal = name == "pow" and isinstance(v, Const) and v.dt == "i8"
        return "powi" if literal and is_float(self.dtype(base)) else name

    def _warn_of_overlap(self, stmts: Sequence[Stmt], node: ast.AST) -> None:
        if any(isinstance(s, Each) and overlaps(s) for s in stmts):
            source = self.frame.source
            line = getattr(node, "lineno", source.node.lineno)
            message = (
                f"{source.filename}:{line}: an operator in place reads other elements of the array that it overwrites: all are "
                "read first, as in NumPy; Numba's own result may differ"
            )
            warnings.warn(message, OverlapWarning, stacklevel=2)

    def writable(self, ref: Ref, node: ast.AST) -> None:
        raise NotImplementedError
