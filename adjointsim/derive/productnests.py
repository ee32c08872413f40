"""Nests of loops that are products of matrices.

A nest of three loops that does nothing but add products, ``c[i, k] += a[i, j] * b[j, k]`` in any order of loops and indices,
is a product of matrices, and so are the adjoint's and the tangent's of such a nest: several sums over the same loops.  Two
loops may be a product of a matrix and a vector.  What rounds as it likes, linear code and what a user wrote as ``a @ b``, may be
left to BLAS (:mod:`.blas`); other passes leave it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .ir import Atom, Base, Const, Dim, For, Let, Load, Store, Var, defined, walk

__all__ = ["Matrix", "Nest", "products"]


@dataclass(frozen=True)
class Matrix:
    """Where a matrix or a vector is in an array: the loops that walk its axes, the last of which is the array's last, and for
    every axis of the array where it begins, counted from the loop's first index."""

    base: Base
    loops: tuple[int, ...]
    axis: int  # that the first of them walks
    starts: tuple[tuple[int | None, Atom | None, str], ...]  # of each axis: its loop, what is added to its index, and how


Product = tuple[Matrix, Matrix, Matrix]


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
    statements = [x for x in walk(s.body) if not any(x is loop for loop in loops)]
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
    # (by what they are, not by what they say: the same may be added twice)
    innermost = {id(x) for x in loops[-1].body}
    found = {id(st): walked.products(st) for st in stores if id(st) in innermost}
    others = {st.base for st in stores if not found.get(id(st))}
    done = {id(st): found[id(st)] for st in stores if st.base not in others}
    if not done:
        return None
    rest = None if len(done) == len(stores) else loops[-1]
    if rest is not None:
        rest = replace(rest, body=tuple(x for x in rest.body if id(x) not in done))
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

    def matrix(self, s: Load | Store) -> Matrix | None:
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
        return Matrix(s.base, loops, axes[0], tuple(starts))


def _fit(depth: int, out: Matrix, a: Matrix, b: Matrix) -> bool:
    """Whether a nest of so many loops makes ``out`` of these by a product that BLAS is faster with: of matrices, or of a
    matrix and a vector in which rows are summed up.  (Along columns, loops are as fast.)"""
    if depth == 3:
        pairs = [{*m.loops} for m in (a, b, out)]
        return all(len(pair) == 2 for pair in pairs) and out.loops[0] in pairs[0] and pairs[1] == pairs[0] ^ pairs[2]
    return len(out.loops) == 1 and a.loops == (*out.loops, *b.loops)
