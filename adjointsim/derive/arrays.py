"""Array expressions: elementwise operations, stored as one :class:`.Each` whatever their size.

An expression is computed element by element where it is needed (:class:`.Lazy`): stored under a name, into a slice, summed.
All is read before anything is written, as NumPy does; Numba's in-place operators on overlapping views do not, and there a
warning names the line.

Lengths must agree, or be 1 as far as derivation knows, which is broadcast: a literal 1, that of an argument's axis, or what
follows from these.  Lengths that are known only as the program runs are compared then.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from . import rules
from .context import wrap_of
from .ir import ONE, ZERO, Atom, Const, Each, Store, Var, is_float
from .values import Lazy, Ref, Tup, Value, describe
from .views import Views

__all__ = ["Arrays"]

Elements = Ref | Lazy
_ARITHMETIC = frozenset({"add", "sub", "mul", "neg", "pos", "floordiv", "mod", "pow", "powi", "div"})


_DIFFER = (
    "operands could not be broadcast together: two lengths differ (an axis of length 1 is repeated only where that is known "
    "before the program runs: in an argument, in x[:, None] or x[k:k+1], but not where it is computed)"
)
_NONE = "operands could not be broadcast together: a slice of one element has none"


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
            raise self.error("an array expression waits for a call that writes arrays: give it a name", self.frame.current)
        own = index[len(index) - v.rank :]
        one = [n == ONE or n in self.singles for n in self.lengths(v)]
        own = [ZERO if single else i for i, single in zip(own, one, strict=True)]
        return self.element(v, own) if isinstance(v, Ref) else v.at(own)

    def broadcast(self, operands: Sequence[Value], node: ast.AST) -> tuple[Atom, ...]:
        """The lengths of an expression of these operands."""
        shapes = [self.lengths(v) for v in operands if isinstance(v, (Ref, Lazy))]
        rank = max(map(len, shapes), default=0)
        lens: list[Atom] = [ONE] * rank
        for shape in shapes:
            for k, n in enumerate(shape, rank - len(shape)):
                if lens[k] == ONE or (lens[k] in self.singles and n != ONE):
                    lens[k], n = n, lens[k]
                if n != ONE:
                    self.same_or_single(lens[k], n, node)
        return tuple(lens)

    def same_or_single(self, n: Atom, own: Atom, node: ast.AST) -> None:
        """Refuse an own length that is not repeated to n: one that differs, unless it is 1 and known to be no more."""
        if own in self.singles and own != n:
            bad = self.b.op("land", self.b.op("ne", own, ONE), self.b.op("ne", own, n))
            self.check(bad, node, f"ValueError({_NONE!r})")
        else:
            self.same_length(n, own, node)

    def same_length(self, a: Atom, b: Atom, node: ast.AST) -> None:
        """Refuse, now or as the program runs, lengths that differ."""
        if a == b:
            return
        if isinstance(a, Const) and isinstance(b, Const) and not any(self.ones.values()):  # else it is no fault of the program
            raise self.error(f"operands of lengths {a.value} and {b.value} do not fit together", node)
        self.check(self.b.op("ne", a, b), node, f"ValueError({_DIFFER!r})")

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
                self.same_or_single(n, own, node)

    def _exponent(self, name: str, v: Value, base: Elements) -> str:
        literal = name == "pow" and isinstance(v, Const) and v.dt == "i8"
        return "powi" if literal and is_float(self.dtype(base)) else name
