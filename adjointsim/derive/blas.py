"""Products of large matrices by BLAS, in place of the loops that say them.

A nest of three loops that does nothing but add products, ``c[i, k] += a[i, j] * b[j, k]`` in any order of loops and indices,
is a product of matrices, and so are the adjoint's and the tangent's of such a nest: several sums over the same loops.  Two
loops may be a product of a matrix and a vector.
Where the nest is large enough, which is tested when it runs, BLAS adds each sum to what is there: it needs no memory, and
transposed or cut matrices are read where they are.  Small products are faster in loops.

The order of rounding is BLAS's own then.  That is allowed in linear code and in what a user wrote as ``a @ b``, but not in a
user's own loops.  For the same lengths it is the same code, hence the same bits in every schedule.  Large products are made
in tiles, too small for BLAS to share them out among threads: these would make the bits depend on their number, and would
wait for each other where the machine is busy, as it is where several sweeps run at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llvmlite import ir as ll
from numba.core import cgutils
from numba.np import linalg

from .instructions import TYPES
from .ir import Atom, Base, Const, Dim, For, Let, Load, Store, Var, defined, walk

__all__ = ["Nest", "add_products", "products"]

WORK = 512  #: multiplications below which loops are as fast
SIDE = 2  #: and the least length
#: the length of tiles: BLAS runs in one thread for 64 x 64 x 64, and for a matrix of 64 x 128 and a vector
TILE = 64

_POINTER = ll.PointerType(ll.IntType(8))


@dataclass(frozen=True)
class _Matrix:
    """Where a matrix or a vector is in an array: the loops that walk its axes, the last of which is the array's last, and for
    every axis of the array where it begins, counted from the loop's first index."""

    base: Base
    loops: tuple[int, ...]
    axis: int  # that the first of them walks
    starts: tuple[tuple[int | None, Atom | None, str], ...]  # of each axis: its loop, what is added to its index, and how


Product = tuple[_Matrix, _Matrix, _Matrix]


@dataclass(frozen=True)
class Nest:
    """Loops, the products ``(out, left, right)`` that they add, and the loops of what else they do."""

    loops: tuple[For, ...]
    products: tuple[Product, ...]
    rest: For | None


def products(s: For) -> Nest | None:
    """The products that a nest of loops is; None if it is something else."""
    loops = [s]
    while len(loops) < 3:
        inner = [x for x in loops[-1].body if isinstance(x, For)]
        if len(inner) != 1:
            break
        loops += inner
    statements = [x for x in walk(s.body) if x not in loops]
    if len(loops) == 1 or not all(isinstance(x, (Let, Load, Dim, Store)) for x in statements):
        return None
    inside = {v for x in statements for v in defined(x)} | {loop.var for loop in loops}
    for loop in loops:
        plain = not loop.carries and loop.stop is None and loop.trips is None
        if not plain or not isinstance(loop.step, Const) or abs(loop.step.value) != 1 or {loop.lo, loop.count} & inside:
            return None
    stores = [x for x in statements if isinstance(x, Store)]
    if {x.base for x in statements if isinstance(x, Load)} & {st.base for st in stores}:
        return None
    walked = _Walked({loop.var: k for k, loop in enumerate(loops)}, {v: x for x in statements for v in defined(x)}, inside)
    found = {st: walked.products(st) for st in stores if st in loops[-1].body}
    others = {st.base for st in stores if not found.get(st)}
    done = {st: made for st, made in found.items() if made and st.base not in others}
    if not done:
        return None
    rest = None if len(done) == len(stores) else loops[-1]
    if rest is not None:
        rest = replace(rest, body=tuple(x for x in rest.body if x not in done))
        for outer in loops[-2::-1]:
            rest = replace(outer, body=tuple(rest if isinstance(x, For) else x for x in outer.body))
    return Nest(tuple(loops), tuple(product for made in done.values() for product in made), rest)


@dataclass(frozen=True)
class _Walked:
    """What a nest makes: the places of its loops' variables, the statements that define others, and all of them."""

    places: dict[Var, int]
    made: dict[Var, Any]
    inside: set[Var]

    def products(self, st: Store) -> list[Product]:
        """The products that a store adds; none if it does anything else."""
        out = self.matrix(st)
        found: list[Product] = []
        if out is None or st.mode != "add" or not (st.free or st.part == "linear"):
            return []
        for left, right in self.terms(st.value):
            if left is None or right is None or {left.base.dt, right.base.dt} != {st.base.dt}:
                return []
            a, b = self.matrix(left), self.matrix(right)
            if a is None or b is None or not any(_fit(len(self.places), out, *pair) for pair in ((a, b), (b, a))):
                return []
            found.append((out, a, b) if _fit(len(self.places), out, a, b) else (out, b, a))
        return found

    def terms(self, value: Atom) -> Iterator[tuple[Load | None, Load | None]]:
        """The products of loaded numbers that a value is the sum of; None in place of what is none."""
        s = self.made.get(value) if isinstance(value, Var) else None
        if isinstance(s, Let) and s.op == "add":
            for a in s.args:
                yield from self.terms(a)
        elif isinstance(s, Let) and s.op == "mul" and value.dt in ("f4", "f8"):
            left, right = (self.made.get(a) if isinstance(a, Var) else None for a in s.args)
            yield (left, right) if isinstance(left, Load) and isinstance(right, Load) else (None, None)
        else:
            yield None, None

    def matrix(self, s: Load | Store) -> _Matrix | None:
        """The matrix or vector that a nest walks; None if it is none, or if its last axis is not walked."""
        starts: list[tuple[int | None, Atom | None, str]] = []
        for a in s.index:
            shift = self.made.get(a) if isinstance(a, Var) else None
            if a in self.places:
                starts.append((self.places[a], None, ""))  # type: ignore[index]
            elif a not in self.inside:
                starts.append((None, a, ""))
            elif isinstance(shift, Let) and shift.op in ("add", "sub"):
                one, other = shift.args if shift.args[0] in self.places or shift.op == "sub" else shift.args[::-1]
                if one not in self.places or other in self.inside:
                    return None
                starts.append((self.places[one], other, shift.op))  # type: ignore[index]
            else:
                return None
        axes = [axis for axis, (loop, _, _) in enumerate(starts) if loop is not None]
        loops = tuple(loop for loop, _, _ in starts if loop is not None)
        if s.wrap != "never" or not axes or axes[-1] != len(starts) - 1 or len({*loops}) != len(loops) or len(loops) > 2:
            return None
        return _Matrix(s.base, loops, axes[0], tuple(starts))


def _fit(depth: int, out: _Matrix, a: _Matrix, b: _Matrix) -> bool:
    """Whether a nest of so many loops makes ``out`` of these by a product that BLAS is faster with: of matrices, or of a
    matrix and a vector in which rows are summed up.  (Along columns, loops are as fast.)"""
    if depth == 3:
        pairs = [{*m.loops} for m in (a, b, out)]
        return all(len(pair) == 2 for pair in pairs) and out.loops[0] in pairs[0] and pairs[1] == pairs[0] ^ pairs[2]
    return len(out.loops) == 1 and a.loops == (*out.loops, *b.loops)


# ----------------------------------------------------------------------------------------------------------------- building
def add_products(values: Any, nest: Nest, loop: Callable[[For], None]) -> None:
    """Build a nest where the function of ``values`` stands: its products by BLAS, or all by loops where these are better."""
    builder = values.builder
    linalg.ensure_blas()
    counts = [values.cast(s.count, "i8") for s in nest.loops]
    work = functools.reduce(builder.mul, counts)
    tests = [builder.icmp_signed(">=", work, values.const(WORK, "i8"))]
    for count in counts:
        tests += [builder.icmp_signed(sign, count, values.const(n, "i8")) for sign, n in ((">=", SIDE), ("<", 2**31))]
    used = {m: _placed(values, m, nest, counts) for m in dict.fromkeys(m for product in nest.products for m in product)}
    tests += [test for place in used.values() for test in place.tests]
    large = tests[0]
    for test in tests[1:]:
        large = builder.and_(large, test)
    with builder.if_else(large) as (then, otherwise):
        with then:
            for product in nest.products:
                (_add_matrix if len(counts) == 3 else _add_vector)(values, counts, *((m, used[m]) for m in product))
            if nest.rest is not None:
                loop(nest.rest)
        with otherwise:
            loop(nest.loops[0])


@dataclass(frozen=True)
class _Placed:
    pointer: Any
    leading: Any  # cells from one row to the next
    tests: Sequence[Any]  # what must hold of it

    def corner(self, values: Any, m: _Matrix, tiles: dict[int, tuple[Any, Any]]) -> Any:
        """Where a tile begins."""
        builder = values.builder
        cells = tiles[m.loops[-1]][0]
        if len(m.loops) == 2:
            cells = builder.add(builder.mul(tiles[m.loops[0]][0], self.leading), cells)
        return builder.gep(self.pointer, [builder.mul(cells, values.const(np.dtype(m.base.dt).itemsize, "i8"))])


def _placed(values: Any, m: _Matrix, nest: Nest, counts: Sequence[Any]) -> _Placed:
    """Where a matrix begins, and how far its rows are apart."""
    builder, array = values.builder, values.array(m.base)
    size = values.const(np.dtype(m.base.dt).itemsize, "i8")
    offset = values.const(0, "i8")
    for (loop, shift, how), stride in zip(m.starts, array.strides, strict=True):
        at = values.const(0, "i8")
        if loop is not None:
            at = values.cast(nest.loops[loop].lo, "i8")
            if nest.loops[loop].step.value == -1:  # type: ignore[union-attr]
                at = builder.add(builder.sub(at, counts[loop]), values.const(1, "i8"))
        if shift is not None:
            at = (builder.sub if how == "sub" else builder.add)(at, values.cast(shift, "i8"))
        offset = builder.add(offset, builder.mul(at, stride))
    stride = array.strides[m.axis]
    leading = builder.sdiv(stride, size)
    tests = [builder.icmp_signed("==", array.strides[-1], size)]
    if len(m.loops) == 2:
        tests += [
            builder.icmp_signed("==", builder.mul(leading, size), stride),
            builder.icmp_signed(">=", leading, counts[m.loops[1]]),
            builder.icmp_signed("<", leading, values.const(2**31, "i8")),
        ]
    return _Placed(builder.gep(builder.bitcast(array.data, _POINTER), [offset]), leading, tests)


Operand = tuple[_Matrix, _Placed]


def _add_matrix(values: Any, counts: Sequence[Any], out: Operand, a: Operand, b: Operand) -> None:
    """Add a product of matrices; those of BLAS are stored by columns: ours are transposed to it."""
    rows, columns = out[0].loops
    summed = 3 - rows - columns
    with _tiles(values, {rows: (counts[rows], TILE), columns: (counts[columns], TILE), summed: (counts[summed], TILE)}) as tiles:
        one = _one(values, out)
        _call(
            values, "numba_xxgemm", out,
            [
                _letter("n" if b[0].loops == (summed, columns) else "t"), _letter("n" if a[0].loops == (rows, summed) else "t"),
                tiles[columns][1], tiles[rows][1], tiles[summed][1], one,
                *(x for m, place in (b, a) for x in (place.corner(values, m, tiles), place.leading)), one,
                out[1].corner(values, out[0], tiles), out[1].leading,
            ],
        )  # fmt: skip


def _add_vector(values: Any, counts: Sequence[Any], out: Operand, a: Operand, b: Operand) -> None:
    """Add a product of a matrix and a vector."""
    rows, summed = a[0].loops
    with _tiles(values, {rows: (counts[rows], TILE), summed: (counts[summed], 2 * TILE)}) as tiles:
        one = _one(values, out)
        matrix, vector, result = (place.corner(values, m, tiles) for m, place in (a, b, out))
        sizes = [tiles[summed][1], tiles[rows][1]]
        _call(values, "numba_xxgemv", out, [_letter("t"), *sizes, one, matrix, a[1].leading, vector, one, result])


def _letter(x: str) -> Any:
    return ll.Constant(ll.IntType(8), ord(x))


def _one(values: Any, out: Operand) -> Any:
    return values.builder.bitcast(cgutils.alloca_once_value(values.builder, values.const(1.0, out[0].base.dt)), _POINTER)


def _call(values: Any, name: str, out: Operand, args: list[Any]) -> None:
    """Call one of Numba's ways into SciPy's BLAS."""
    builder = values.builder
    args = [_letter(linalg.get_blas_kind(TYPES[out[0].base.dt])), *args]
    kind = ll.FunctionType(ll.IntType(32), [a.type for a in args])
    status = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)
    linalg.check_blas_return(values.context, builder, status)


@contextmanager
def _tiles(values: Any, lengths: dict[int, tuple[Any, int]]) -> Iterator[dict[int, tuple[Any, Any]]]:
    """Loops over tiles of the lengths of loops, none longer than given: where each begins, and its length."""
    builder = values.builder
    found = {}
    with ExitStack() as stack:
        for loop, (count, most) in lengths.items():
            number = builder.sdiv(builder.add(count, values.const(most - 1, "i8")), values.const(most, "i8"))
            size = builder.sdiv(builder.sub(builder.add(count, number), values.const(1, "i8")), number)
            index = stack.enter_context(cgutils.for_range(builder, number)).index
            start = builder.mul(index, size)
            rest = builder.sub(count, start)
            found[loop] = start, builder.select(builder.icmp_signed("<", rest, size), rest, size)
        yield found
