"""Elements at index arrays and under masks: gathered, stored, and operated on in place.

An index is a number, a slice, a new axis or an array, as in NumPy: index arrays are broadcast together, numbers beside them
count as arrays of none, and the axes that they make stand where they stood, or first if something was between them.  A mask
is the index arrays of the places where it is true, in row-major order.  Places are inert: no derivative passes through them.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Sequence

from ..errors import OverlapWarning
from . import rules
from .arrays import Arrays, Elements
from .ir import ONE, ZERO, Atom, Const, Each, For, Stmt, Store, Var, is_float
from .loops import overlaps
from .values import Axis, Lazy, Ref, Value, describe
from .views import Part, is_mask

__all__ = ["Gathers"]

#: the lengths of what is picked, those to allocate, and the base's index of an element
Picked = tuple[tuple[Atom, ...], tuple[Atom, ...], Callable[[Sequence[Atom]], tuple[Atom, ...]]]


def _arrays(parts: Sequence[Part]) -> list[Ref | Lazy]:
    return [p for p in parts if isinstance(p, (Ref, Lazy))]


class Gathers(Arrays):
    """Subscripts of arrays, with arrays."""

    def unraveled(self, place: Atom, lens: Sequence[Atom]) -> list[Atom]:
        """The index of a place in row-major order."""
        index: list[Atom] = []
        for n in reversed(lens[1:]):
            index.insert(0, self.b.op("mod", place, n))
            place = self.b.op("floordiv", place, n)
        return [place, *index]

    def pick(self, source: Elements, parts: list[Part], node: ast.AST) -> Value:
        """The value of ``source[parts]``: an element, a view, or a copy where an index is an array."""
        if isinstance(source, Lazy):
            source = self.evaluated(source, "array")
        if not _arrays(parts):
            return self.item(source, parts, node)
        return self.gathered(source, self.picked(source, parts, node))

    def gathered(self, source: Ref, picked: Picked) -> Lazy:
        lens, room, place = picked
        return self.lazily(lens, source.base.dt, lambda i: self.b.load(source.base, place(i)), None if room == lens else room)

    def picked(self, source: Ref, parts: Sequence[Part], node: ast.AST) -> Picked:
        """Where the elements of ``source[parts]`` are."""
        parts, rooms = self.without_masks(source, parts, node)
        arrays = _arrays(parts)
        whole = ast.copy_location(ast.Slice(None, None, None), node)
        view = self.view(source, [whole if isinstance(p, (Ref, Lazy)) else p for p in parts], node)
        shape = self.shape(view)
        axes: list[int] = []  # of the view, that index arrays run over
        k = 0
        for p in parts:
            if isinstance(p, (Ref, Lazy)):
                axes.append(k)
            k += not isinstance(p, (Var, Const))
        rest = [k for k in range(view.rank) if k not in axes]
        where = [k for k, p in enumerate(parts) if isinstance(p, (Ref, Lazy, Var, Const))]
        together = where == list(range(where[0], where[-1] + 1))
        first = axes[0] if together else 0  # (axes before the first array are all from slices)
        own = self.broadcast(arrays, node)
        lens = (*(shape[k] for k in rest[:first]), *own, *(shape[k] for k in rest[first:]))

        def place(index: Sequence[Atom]) -> tuple[Atom, ...]:
            at = index[first : first + len(own)]
            full: dict[int, Atom] = dict(zip(rest, (*index[:first], *index[first + len(own) :]), strict=True))
            for k, array in zip(axes, arrays, strict=True):
                chosen = self.b.cast(self.at(array, at), "i8")
                axis = view.index[view.axis(k)]
                if not (isinstance(axis, Axis) and axis.whole and view.lens[k] is None):
                    chosen = self._inside(chosen, shape[k])
                full[k] = chosen
            return self.place(view, [full[k] for k in range(view.rank)])

        return lens, tuple(rooms.get(n, n) for n in lens), place

    def without_masks(self, source: Ref, parts: Sequence[Part], node: ast.AST) -> tuple[list[Part], dict[Atom, Atom]]:
        """The parts with index arrays for masks, and for the number of places under each the most that it can be."""
        found: list[Part] = []
        rooms: dict[Atom, Atom] = {}
        shape, axis = self.shape(source), 0
        for p in parts:
            if not isinstance(p, (Ref, Lazy)) or not is_mask(p):
                found.append(p)
                axis += isinstance(p, (Ref, Lazy, ast.Slice, Var, Const))
                continue
            lens = self.lengths(p)
            if axis + len(lens) > source.rank:
                raise self.error(f"a mask of {len(lens)} axes does not fit a {source.rank}-d array", node)
            for n, own in zip(lens, shape[axis:], strict=False):
                self.same_length(n, own, node)
            axis += len(lens)
            arrays, count, most = self.index_arrays(p)
            rooms[count] = most
            found += arrays
        if axis > source.rank:
            raise self.error(f"{axis} indices for a {source.rank}-d array", node)
        return found, rooms

    def index_arrays(self, mask: Elements) -> tuple[tuple[Ref | Lazy, ...], Atom, Atom]:
        """For each axis the indices at which a mask is true; their number, and the most that it can be."""
        lens = self.lengths(mask)
        places, most = self.places(mask)
        (count,) = self.shape(places)
        if len(lens) == 1:
            return (places,), count, most

        def along(k: int) -> Lazy:
            return self.lazily((count,), "i8", lambda i: self.unraveled(self.at(places, i), lens)[k])

        return tuple(along(k) for k in range(len(lens))), count, most

    def places(self, mask: Elements) -> tuple[Ref, Atom]:
        """The places, in row-major order, at which a mask is true, and the most that there may be."""
        lens = self.lengths(mask)
        most: Atom = ONE
        for n in lens:
            most = self.b.op("mul", most, n)
        index = self.alloc("index", "i8", (most,), "none")
        i, count, after = (self.names.var(root, "i8") for root in ("i", "count", "count"))
        with self.b.block(loop=True) as body:
            bit = self.at(mask, self.unraveled(i, lens))
            bit = bit if bit.dt == "b1" else self.b.op("ne", bit, self.b.cast(ZERO, bit.dt))
            with self.b.block() as then:
                self.b.store(index.base, (count,), i, "set", "never")
                up = self.b.op("add", count, ONE)
            (total,) = self.b.phi(bit, then, [], [("count", up, count)])
        self.b.add(For(i, ZERO, most, ONE, ((count, ZERO),), tuple(body), (total,), (after,), None, None, self.b.line))
        return Ref(index.base, index.index, (after,)), most

    # ------------------------------------------------------------------------------------------------------- storing
    def store(self, target: Ref, parts: list[Part], v: Value, node: ast.AST) -> None:
        """``target[parts] = v``."""
        if not isinstance(v, (Var, Const, Ref, Lazy)):
            raise self.error(f"cannot store {describe(v)} in an array", node)
        arrays = _arrays(parts)
        self.writable(target, node)
        self._keeps(target, self.dtype(v), node)
        if not arrays:
            view = self.view(target, parts, node)
            self.fits(self.shape(view), v, node)
            self.assign(view, v)
        elif len(parts) == 1 and is_mask(arrays[0]) and not isinstance(v, (Ref, Lazy)):
            self.store_masked(target, arrays[0], v, node)
        else:
            self.store_scattered(target, self.picked(target, parts, node), v, node)

    def store_masked(self, target: Ref, mask: Elements, v: Value, node: ast.AST) -> None:
        """``a[mask] = number``."""
        self.fits((), v, node)
        if mask.rank > target.rank:
            raise self.error(f"a mask of {mask.rank} axes does not fit a {target.rank}-d array", node)
        for n, own in zip(self.shape(target), self.lengths(mask), strict=False):
            self.same_length(n, own, node)

        def element(index: Sequence[Atom]) -> Atom:
            bit = self.at(mask, index[: mask.rank])
            return self.b.op("select", bit, self.b.cast(v, target.base.dt), self.element(target, index))  # type: ignore[arg-type]

        self.assign(target, self.lazily(self.shape(target), target.base.dt, element))

    def store_scattered(self, target: Ref, picked: Picked, v: Value, node: ast.AST) -> None:
        """``a[index array] = v``: where an index occurs twice, the last value stays, as in NumPy."""
        lens, _, place = picked
        self.fits(lens, v, node)
        axes = self.domain(lens)
        index = tuple(i for i, _, _ in axes)
        with self.b.block(loop=True) as body:
            at = place(index)
            value = self.b.cast(self.at(v, index), target.base.dt)
        store = Store(target.base, at, value, "set", "maybe", self.b.line)
        self.b.add(Each(axes, tuple(body), (store,), "seq", (), self.b.line))

    # ------------------------------------------------------------------------------------------------------ in place
    def in_place(self, op: ast.operator, target: Ref, parts: list[Part], v: Value, node: ast.AST) -> None:
        """``target[parts] op= v``, NumPy's meaning: all is read before anything is written."""
        name = rules.BINARY.get(type(op))
        if name is None:
            raise self.error(f"operator {type(op).__name__} is not supported", node)
        name = self._exponent(name, v, target)
        if _arrays(parts):
            self.writable(target, node)
            picked = self.picked(target, parts, node)
            result = self.elementwise(name, [self.gathered(target, picked), v], node)
            self._keeps(target, result.dt, node)
            return self.store_scattered(target, picked, result, node)
        old = self.pick(target, parts, node)
        result = self.elementwise(name, [old, v], node)
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
