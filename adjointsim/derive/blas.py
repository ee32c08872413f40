"""Products of large matrices by BLAS, in place of the loops that say them.

Where a nest (:mod:`.productnests`) is large enough, which is tested when it runs, BLAS adds each sum to what is there: it needs
no memory, and transposed or cut matrices are read where they are.  Small products are faster in loops.

The order of rounding is BLAS's own then.  That is allowed in linear code and in what a user wrote as ``a @ b``, but not in a
user's own loops.  For the same lengths it is the same code, hence the same bits in every schedule.  Large products are made
in tiles, too small for BLAS to share them out among threads: these would make the bits depend on their number, and would
wait for each other where the machine is busy, as it is where several sweeps run at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir as ll
from numba.core import cgutils
from numba.np import linalg

from .instructions import TYPES
from .ir import For
from .productnests import Matrix, Nest

__all__ = ["add_products"]

WORK = 512  #: multiplications below which loops are as fast
SIDE = 2  #: and the least length
#: the length of tiles: BLAS runs in one thread for 64 x 64 x 64, and for a matrix of 64 x 128 and a vector
TILE = 64

_POINTER = ll.PointerType(ll.IntType(8))


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

    def corner(self, values: Any, m: Matrix, tiles: dict[int, tuple[Any, Any]]) -> Any:
        """Where a tile begins."""
        builder = values.builder
        cells = tiles[m.loops[-1]][0]
        if len(m.loops) == 2:
            cells = builder.add(builder.mul(tiles[m.loops[0]][0], self.leading), cells)
        return builder.gep(self.pointer, [builder.mul(cells, values.const(np.dtype(m.base.dt).itemsize, "i8"))])


def _placed(values: Any, m: Matrix, nest: Nest, counts: Sequence[Any]) -> _Placed:
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


Operand = tuple[Matrix, _Placed]


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
