"""Products of large matrices by BLAS, in place of the loops that say them.

A nest of three loops that does nothing but add products, ``c[i, k] += a[i, j] * b[j, k]`` in any order of loops and indices,
is a product of matrices, and so are the adjoint's and the tangent's of such a nest: several sums over the same products.
Where the nest is large enough, which is tested when it runs, BLAS adds each sum to what is there: it needs no memory, and
transposed or cut matrices are read where they are.  Small products are faster in loops.

The order of rounding is BLAS's own then.  That is allowed in linear code and in what a user wrote as ``a @ b``, but not in a
user's own loops.  For the same lengths it is the same code, hence the same bits in every schedule.  Large products are made
in tiles, too small for BLAS to share them out among threads: these would make the bits depend on their number, and would
wait for each other where the machine is busy, as it is where several sweeps run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
#: the length of tiles: a call of BLAS for less than 64 ** 3 multiplications runs in one thread
TILE = 64

_WORD = ll.IntType(64)
_CHAR = ll.IntType(8)
_POINTER = ll.PointerType(_CHAR)
_GEMM = ll.FunctionType(
    ll.IntType(32),
    [_CHAR, _CHAR, _CHAR, _WORD, _WORD, _WORD, _POINTER, _POINTER, _WORD, _POINTER, _WORD, _POINTER, _POINTER, _WORD],
)


@dataclass(frozen=True)
class _Matrix:
    """Where a matrix is in an array: the two loops that walk it with the axes that they walk, the last axis second, and for
    every axis where it begins, counted from the loop's first index."""

    base: Base
    loops: tuple[int, int]
    axis: int  # that the first of them walks
    starts: tuple[tuple[int | None, Atom | None, str], ...]  # of each axis: its loop, what is added to its index, and how


@dataclass(frozen=True)
class Nest:
    """Three loops, and the products ``(out, left, right)`` that they add."""

    loops: tuple[For, For, For]
    products: tuple[tuple[_Matrix, _Matrix, _Matrix], ...]


def products(s: For) -> Nest | None:
    """The products that a nest of loops is; None if it is something else."""
    loops = [s]
    while len(loops) < 3:
        inner = [x for x in loops[-1].body if isinstance(x, For)]
        if len(inner) != 1:
            return None
        loops += inner
    statements = [x for x in walk(s.body) if x not in loops]
    if not all(isinstance(x, (Let, Load, Dim, Store)) for x in statements):
        return None
    inside = {v for x in statements for v in defined(x)} | {loop.var for loop in loops}
    for loop in loops:
        plain = not loop.carries and loop.stop is None and loop.trips is None
        if not plain or not isinstance(loop.step, Const) or abs(loop.step.value) != 1 or {loop.lo, loop.count} & inside:
            return None
    stores = [x for x in statements if isinstance(x, Store)]
    made = {v: x for x in statements for v in defined(x)}
    places = {loop.var: k for k, loop in enumerate(loops)}
    if not stores or any(isinstance(x, Load) and x.base in {st.base for st in stores} for x in statements):
        return None
    found: list[tuple[_Matrix, _Matrix, _Matrix]] = []
    for st in stores:
        if st.mode != "add" or not (st.free or st.part == "linear"):
            return None
        out = _matrix(st, places, made, inside)
        for left, right in _terms(st.value, made):
            if left is None or right is None or out is None or {left.base.dt, right.base.dt} != {st.base.dt}:
                return None
            a, b = _matrix(left, places, made, inside), _matrix(right, places, made, inside)
            if a is None or b is None or {frozenset(m.loops) for m in (a, b, out)} != _PAIRS:
                return None
            found.append((out, a, b))
    return Nest((loops[0], loops[1], loops[2]), tuple(found))


_PAIRS = {frozenset(pair) for pair in ((0, 1), (1, 2), (0, 2))}


def _terms(value: Atom, made: dict[Var, Any]) -> Iterator[tuple[Load | None, Load | None]]:
    """The products of loaded numbers that a value is the sum of; None in place of what is none."""
    s = made.get(value) if isinstance(value, Var) else None
    if isinstance(s, Let) and s.op == "add":
        for a in s.args:
            yield from _terms(a, made)
    elif isinstance(s, Let) and s.op == "mul" and value.dt in ("f4", "f8"):
        left, right = (made.get(a) if isinstance(a, Var) else None for a in s.args)
        yield (left, right) if isinstance(left, Load) and isinstance(right, Load) else (None, None)
    else:
        yield None, None


def _matrix(s: Load | Store, places: dict[Var, int], made: dict[Var, Any], inside: set[Var]) -> _Matrix | None:
    """The matrix that a nest walks; None if it is none, or if its last axis is not walked."""
    starts: list[tuple[int | None, Atom | None, str]] = []
    for a in s.index:
        shift = made.get(a) if isinstance(a, Var) else None
        if a in places:
            starts.append((places[a], None, ""))  # type: ignore[index]
        elif a not in inside:
            starts.append((None, a, ""))
        elif isinstance(shift, Let) and shift.op in ("add", "sub"):
            one, other = shift.args if shift.args[0] in places or shift.op == "sub" else shift.args[::-1]
            if one not in places or other in inside:
                return None
            starts.append((places[one], other, shift.op))  # type: ignore[index]
        else:
            return None
    walked = [axis for axis, (loop, _, _) in enumerate(starts) if loop is not None]
    if s.wrap != "never" or len(walked) != 2 or walked[1] != len(starts) - 1 or starts[walked[0]][0] == starts[walked[1]][0]:
        return None
    first, last = (starts[axis][0] for axis in walked)
    assert first is not None and last is not None
    return _Matrix(s.base, (first, last), walked[0], tuple(starts))


# ----------------------------------------------------------------------------------------------------------------- building
def add_products(values: Any, nest: Nest, loops: Callable[[], None]) -> None:
    """Build the products where the function of ``values`` stands: by BLAS, or the ``loops`` where these are better."""
    builder = values.builder
    linalg.ensure_blas()
    counts = [values.cast(loop.count, "i8") for loop in nest.loops]
    work = builder.mul(builder.mul(counts[0], counts[1]), counts[2])
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
            for out, a, b in nest.products:
                _add(values, nest, counts, used, out, a, b)
        with otherwise:
            loops()


@dataclass(frozen=True)
class _Placed:
    pointer: Any
    leading: Any  # cells from one row to the next
    tests: Sequence[Any]  # what must hold of it


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
    tests = [
        builder.icmp_signed("==", array.strides[-1], size),
        builder.icmp_signed("==", builder.mul(leading, size), stride),
        builder.icmp_signed(">=", leading, counts[m.loops[1]]),
        builder.icmp_signed("<", leading, values.const(2**31, "i8")),
    ]
    return _Placed(builder.gep(builder.bitcast(array.data, _POINTER), [offset]), leading, tests)


def _add(
    values: Any, nest: Nest, counts: Sequence[Any], used: dict[_Matrix, _Placed], out: _Matrix, a: _Matrix, b: _Matrix
) -> None:
    """The calls of BLAS, whose matrices are stored by columns: ours are transposed to it."""
    builder = values.builder
    rows, columns = out.loops
    summed = 3 - rows - columns
    if rows not in a.loops:
        a, b = b, a
    one = builder.bitcast(cgutils.alloca_once_value(builder, values.const(1.0, out.base.dt)), _POINTER)
    with ExitStack() as stack:
        tiles = {loop: stack.enter_context(_tiles(values, counts[loop])) for loop in (rows, columns, summed)}

        def corner(m: _Matrix) -> Any:
            (first, _), (last, _) = (tiles[loop] for loop in m.loops)
            cells = builder.add(builder.mul(first, used[m].leading), last)
            return builder.gep(used[m].pointer, [builder.mul(cells, values.const(np.dtype(m.base.dt).itemsize, "i8"))])

        def letter(x: str) -> Any:
            return ll.Constant(_CHAR, ord(x))

        status = builder.call(
            cgutils.get_or_insert_function(builder.module, _GEMM, "numba_xxgemm"),
            [
                letter(linalg.get_blas_kind(TYPES[out.base.dt])),
                letter("n" if b.loops == (summed, columns) else "t"),
                letter("n" if a.loops == (rows, summed) else "t"),
                tiles[columns][1], tiles[rows][1], tiles[summed][1], one,
                corner(b), used[b].leading, corner(a), used[a].leading, one,
                corner(out), used[out].leading,
            ],
        )  # fmt: skip
        linalg.check_blas_return(values.context, builder, status)


@contextmanager
def _tiles(values: Any, count: Any) -> Iterator[tuple[Any, Any]]:
    """A loop over the tiles of a length: where one begins, and its length."""
    builder = values.builder
    one, most = values.const(1, "i8"), values.const(TILE, "i8")
    number = builder.sdiv(builder.add(count, values.const(TILE - 1, "i8")), most)
    size = builder.sdiv(builder.sub(builder.add(count, number), one), number)
    with cgutils.for_range(builder, number) as loop:
        start = builder.mul(loop.index, size)
        rest = builder.sub(count, start)
        yield start, builder.select(builder.icmp_signed("<", rest, size), rest, size)
