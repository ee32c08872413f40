"""Views: what an index makes of an array.  A view of a view is a view of the base, so that effects are on bases alone.

Slices follow Python's rules: bounds are clamped, a negative length is none.  Where bounds are literals, lengths come out as
one and the same ``n + c``, so that equal lengths are seen to be equal; and a start that is a literal c >= 0 stays c, since a
loop over the slice only runs if the slice is not empty, and then nothing was clamped.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from .build import const
from .context import Context
from .ir import ONE, ZERO, Atom, Const, Var, is_float
from .values import Axis, Lazy, Ref, Static, Tup, Value, describe

__all__ = ["Views", "is_mask"]

#: one part of an index: a number, a slice, None (a new axis), or an array of numbers
Part = Atom | ast.Slice | Static | Ref | Lazy


def is_mask(p: Ref | Lazy) -> bool:
    """Whether an index array is one of bools, which stands for as many indices as it has axes."""
    return (p.base.dt if isinstance(p, Ref) else p.dt) == "b1"


class Views(Context):
    """Subscripts of arrays."""

    def lazy(self, node: ast.expr, root: str | None = None) -> Value:
        raise NotImplementedError

    def parts(self, node: ast.Subscript, rank: int) -> list[Part]:
        """The parts of an index, an ellipsis written out."""
        found: list[Part] = []
        for item in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
            if isinstance(item, ast.Slice):
                found.append(item)
                continue
            value = self.lazy(item)
            for v in value.items if isinstance(value, Tup) else (value,):
                found.append(self._part(v, node))
        dots = [k for k, p in enumerate(found) if isinstance(p, Static) and p.obj is Ellipsis]
        taken = sum(not isinstance(p, Static) for p in found)
        if taken > rank or len(dots) > 1:
            raise self.error(f"{taken} indices for a {rank}-d array", node)
        if dots:
            whole = ast.copy_location(ast.Slice(None, None, None), node)
            masks = sum(p.rank - 1 for p in found if isinstance(p, (Ref, Lazy)) and is_mask(p))
            found[dots[0] : dots[0] + 1] = [whole] * (rank - taken - masks)
        return found

    def _part(self, v: Value, node: ast.AST) -> Part:
        if isinstance(v, Static) and v.obj in (None, Ellipsis):
            return v
        if isinstance(v, (Ref, Lazy)):
            dt = v.base.dt if isinstance(v, Ref) else v.dt
            if is_float(dt):
                raise self.error("an index array must hold ints or bools, got floats", node)
            return v
        if not isinstance(v, (Var, Const)):
            raise self.error(f"an index must be an int, got {describe(v)}", node)
        if is_float(v.dt):
            raise self.error("an index must be an int, got a float: use int(...)", node)
        if v.dt == "b1":
            raise self.error("an index must be an int, got a bool: use int(...)", node)
        return v

    def view(self, ref: Ref, parts: Sequence[Part], node: ast.AST) -> Ref:
        """The view that numbers, slices and new axes make."""
        k = 0
        for part in parts:
            if isinstance(part, Static):
                ref = self._new_axis(ref, k)
                k += 1
            elif isinstance(part, ast.Slice):
                ref = self._sliced(ref, k, part, node)
                k += 1
            else:
                ref = self._fixed(ref, k, part)  # type: ignore[arg-type]
        return ref

    def item(self, ref: Ref, parts: Sequence[Part], node: ast.AST, root: str | None = None) -> Value:
        """The view, or the element where nothing of the array is left free."""
        view = self.view(ref, parts, node)
        return view if view.rank else self.b.load(view.base, view.index, root)  # type: ignore[arg-type]

    def _new_axis(self, ref: Ref, k: int) -> Ref:
        index = tuple(replace(i, k=i.k + 1) if isinstance(i, Axis) and i.k >= k else i for i in ref.index)
        return Ref(ref.base, index, (*ref.lens[:k], ONE, *ref.lens[k:]))

    def _fixed(self, ref: Ref, k: int, at: Atom) -> Ref:
        """One element along an axis.  Along a whole axis of the base a negative index is left to the base."""
        index: list[Atom | Axis] = []
        for i in ref.index:
            if not isinstance(i, Axis):
                index.append(i)
            elif i.k != k:
                index.append(replace(i, k=i.k - (i.k > k)))
            elif i.whole and ref.lens[k] is None:
                index.append(at)
            else:
                index.append(self.along(i, self._inside(at, self.shape(ref)[k])))
        return Ref(ref.base, tuple(index), ref.lens[:k] + ref.lens[k + 1 :])

    def _inside(self, at: Atom, n: Atom) -> Atom:
        """An index counted from the end if it is negative."""
        if isinstance(at, Const):
            return at if at.value >= 0 else self.b.op("add", n, at)  # type: ignore[operator]
        return self.b.op("select", self.b.op("lt", at, ZERO), self.b.op("add", at, n), at)

    def _sliced(self, ref: Ref, k: int, part: ast.Slice, node: ast.AST) -> Ref:
        if part.lower is part.upper is part.step is None:
            return ref
        n = self.shape(ref)[k]
        step = self._bound(part.step, node) or ONE
        if not isinstance(step, Const) or step.value == 0:
            raise self.error("the step of a slice must be a literal int other than 0", node)
        low, high = self._bound(part.lower, node), self._bound(part.upper, node)
        ends = self._upwards if step.value > 0 else self._downwards  # type: ignore[operator]
        start, length = ends(n, low, high)
        size = abs(int(step.value))  # type: ignore[arg-type]
        if size > 1:
            more = self.b.op("add", length, const(size - 1, "i8"))
            length = self.b.op("floordiv", more, const(size, "i8"))
        length = self.b.op("max2", length, ZERO)
        if isinstance(length, Var) and step.value > 0 and self._one_at_most(low, high):  # type: ignore[operator]
            self.singles.add(length)
        index = tuple(
            Axis(k, self.along(i, start), self.b.op("mul", i.step, step)) if isinstance(i, Axis) and i.k == k else i
            for i in ref.index
        )
        return Ref(ref.base, index, (*ref.lens[:k], length, *ref.lens[k + 1 :]))

    def _bound(self, node: ast.expr | None, where: ast.AST) -> Atom | None:
        if node is None:
            return None
        value = self.lazy(node)
        if isinstance(value, Static) and value.obj is None:
            return None
        if not isinstance(value, (Var, Const)) or is_float(value.dt):
            raise self.error(f"a bound of a slice must be an int, got {describe(value)}", where)
        return self.b.cast(value, "i8")

    def _one_at_most(self, low: Atom | None, high: Atom | None) -> bool:
        """Whether a slice upwards between these bounds has one element or none: ``x[1:2]``, ``x[k:k+1]``, ``x[-1:]``."""
        if high is None:
            return low == const(-1, "i8")
        if isinstance(high, Var):
            return isinstance(low, Var) and high == self.b.op("add", low, ONE)
        start = low or ZERO
        if not isinstance(start, Const) or (start.value < 0) != (high.value < 0):  # type: ignore[operator]
            return False
        return high.value <= start.value + 1  # type: ignore[operator]

    def _upwards(self, n: Atom, low: Atom | None, high: Atom | None) -> tuple[Atom, Atom]:
        """(start, stop - start); start is right if that is positive."""
        op = self.b.op
        start = low or ZERO
        if isinstance(start, Var):
            start = op("select", op("lt", start, ZERO), op("max2", op("add", start, n), ZERO), start)
        elif start.value < 0:  # type: ignore[operator]
            start = op("max2", op("add", n, start), ZERO)
        if high is None or (isinstance(high, Const) and high.value < 0):  # type: ignore[operator]
            if isinstance(start, Const):  # n + c
                return start, op("add", n, const((high.value if high else 0) - start.value, "i8"))  # type: ignore[operator]
            stop = n if high is None else op("add", n, high)
        elif isinstance(high, Const):
            stop = op("min2", high, n)
        else:
            stop = op("min2", op("select", op("lt", high, ZERO), op("add", high, n), high), n)
        return start, op("sub", stop, start)

    def _downwards(self, n: Atom, low: Atom | None, high: Atom | None) -> tuple[Atom, Atom]:
        """(start, start - stop) of a slice that runs downwards."""
        op = self.b.op
        last = op("add", n, const(-1, "i8"))
        if low is None:
            start = last
        elif isinstance(low, Const):
            start = op("add", n, low) if low.value < 0 else op("min2", low, last)  # type: ignore[operator]
        else:
            start = op("min2", op("select", op("lt", low, ZERO), op("add", low, n), low), last)
        if high is None:
            return start, n if low is None else op("add", start, ONE)
        minus = const(-1, "i8")
        if isinstance(high, Const):
            stop = op("max2", op("add", n, high), minus) if high.value < 0 else high  # type: ignore[operator]
        else:
            stop = op("select", op("lt", high, ZERO), op("max2", op("add", high, n), minus), high)
        return start, op("sub", start, stop)

    def transposed(self, ref: Ref, order: list[int]) -> Ref:
        """The view whose axis k is the axis ``order[k]`` of this one."""
        where = {old: new for new, old in enumerate(order)}
        index = tuple(replace(i, k=where[i.k]) if isinstance(i, Axis) else i for i in ref.index)
        return Ref(ref.base, index, tuple(ref.lens[old] for old in order))

    def flipped(self, ref: Ref, axes: list[int]) -> Ref:
        back = ast.Slice(None, None, ast.Constant(-1))
        for k in axes:
            ref = self._sliced(ref, k, back, self.frame.source.node)
        return ref
