"""Scatter to gather: an Each that adds to several neighbours of a cell, as one that adds to a cell once.

The reverse of a stencil adds to the cells i + c_1, i + c_2, .. of one shadow in the iteration i.  Cell j receives the
contributions of the iterations j - c_k, those that are multiplied by the same numbers summed before they are.  With
low <= c_k <= high along an axis they all exist where j runs from first + high to first + count + low; what the iterations outside
of that box add to other cells is run by itself, term by term (DERIVE 5).

Of two axes it becomes a loop over rows of cells, with the ends of a row behind its middle, and the rows before and after these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from .build import Builder, Names, const
from .deadcode import remove_dead
from .ir import (
    ONE,
    Atom,
    Base,
    Block,
    Const,
    Each,
    For,
    Let,
    Stmt,
    Store,
    Var,
    defined,
    inner_defined,
    substitute,
    walk,
)  # fmt: skip
from .loops import nest

__all__ = ["Rows", "fresh", "gather", "part"]

Shift = tuple[int, ...]  # along each axis of the Each
Bounds = Sequence[tuple[int, int]]  # of the shifts, along each axis
Chain = tuple[Atom, ...]
Sums = tuple[tuple[Var, Atom, tuple[Atom, ...]], ...]
_FAR = 8  # a wider stencil has too much of an edge


@dataclass(frozen=True)
class Rows:
    """The rows of an Each that are also those of its loops that gather: without the first ``skipped`` ones, and so many in all
    that there are ``count``."""

    skipped: int
    removed: int
    count: Atom


def fresh(body: Block, axes: Sequence[Var], names: Names) -> tuple[Block, tuple[Var, ...], dict[Atom, Atom]]:
    """A copy of a loop body with new names."""
    new: dict[Atom, Atom] = {v: names.var(v.name, v.dt) for st in walk(body) for v in (*defined(st), *inner_defined(st))}
    new.update((v, names.var(v.name, v.dt)) for v in axes)
    return substitute(body, lambda a: new.get(a, a)), tuple(new[v] for v in axes), new  # type: ignore[misc]


def part(s: Each, keep: Sequence[Store], names: Names, sums: Sums = ()) -> Each:
    """The Each of some of its stores and sums alone."""
    terms = [t for _, _, each in sums for t in each]
    body = remove_dead((*s.body, *keep), {k.base for k in keep}, terms)
    body, axes, new = fresh(body, [v for v, _, _ in s.axes], names)
    stores = tuple(st for st in body if isinstance(st, Store))
    body = tuple(st for st in body if not isinstance(st, Store))
    ranges = tuple((v, lo, count) for v, (_, lo, count) in zip(axes, s.axes, strict=True))
    totals = tuple((v, init, tuple(new.get(t, t) for t in each)) for v, init, each in sums)
    return replace(s, axes=ranges, body=body, stores=stores, sums=totals)


def gather(
    s: Each, adds: Mapping[Base, Sequence[Store]], names: Names
) -> tuple[list[Stmt], dict[Base, list[Stmt]], Rows | None]:
    """The additions of an Each, by the memory that they are to, as loops over the cells, where they are to several neighbours of
    a cell; what these need is to run before.  All have the same rows, if they have rows, and the Each has them, too."""
    shifts = {base: found for base, group in adds.items() if (found := _shifts(s, group)) is not None}
    bounds = {base: [(min(c), max(c)) for c in zip(*found, strict=True)] for base, found in shifts.items()}
    rows = len(s.axes) == 2
    low, high = (f(c for own in bounds.values() for c in own[0]) if bounds else 0 for f in (min, max))
    common = rows and high - low <= _FAR
    b = Builder(names)
    b.line = s.line
    out: dict[Base, list[Stmt]] = {}
    for base, own in bounds.items():
        if common:
            own[0] = low, high
        inner = _inside(s, adds[base], shifts[base], own, b)
        terms = [(part(s, [st], names), shift) for st, shift in zip(adds[base], shifts[base], strict=True)]
        out[base] = [_over_rows(inner, terms, own, b)] if rows else nest(inner, names)
        for term, shift in terms:
            out[base] += [x for piece in _outside(term, shift, own, b) for x in nest(piece, names)]
    known = Rows(high, high - low, _all(s.axes[0][2], (low, high), b)) if bounds and common and low <= 0 <= high else None
    return b.stmts, out, known


def _shifts(s: Each, group: Sequence[Store]) -> list[Shift] | None:
    """The shifts of some stores to one base; None if they are not to several neighbours of a cell."""
    if len(group) < 2:
        return None
    found = [_shift(st.index, s) for st in group]
    places = {f and f[1] for f in found}
    shifts: list[Shift] = [f[0] for f in found if f is not None]
    if None in places or len(places) != 1 or len(set(shifts)) != len(group):
        return None
    return None if max(max(c) - min(c) for c in zip(*shifts, strict=True)) > _FAR else shifts


def _shift(index: tuple[Atom, ...], s: Each) -> tuple[Shift, tuple[Atom | int, ...]] | None:
    """The shift of an index along each axis of an Each, and for each axis of memory which of them that is, or what does not
    vary; None if the index is no such thing."""
    own = [v for v, _, _ in s.axes]
    made = {st.var: st for st in s.body if isinstance(st, Let)}
    inner = {v for st in walk(s.body) for v in defined(st)}
    shift: dict[int, int] = {}
    places: list[Atom | int] = []
    for a in index:
        let = made.get(a) if isinstance(a, Var) else None
        c: int | None = 0
        if let is not None and let.op in ("add", "sub") and let.args[0] in own and isinstance(let.args[1], Const):
            c = int(let.args[1].value) * (1 if let.op == "add" else -1)  # type: ignore[arg-type]
            a = let.args[0]
        if a in own:
            axis = own.index(a)  # type: ignore[arg-type]
            if axis in shift:
                return None
            shift[axis] = c
            places.append(axis)
        elif a in inner:
            return None
        else:
            places.append(a)
    return (tuple(shift[k] for k in range(len(own))), tuple(places)) if len(shift) == len(own) else None


def _number(k: int) -> Const:
    return const(k, "i8")


def _all(n: Atom, bound: tuple[int, int], b: Builder) -> Atom:
    """How many cells along an axis receive all contributions."""
    low, high = bound
    return b.op("max2", b.op("sub", n, _number(high - low)), _number(0)) if high > low else n


def _inside(s: Each, group: Sequence[Store], shifts: Sequence[Shift], bounds: Bounds, b: Builder) -> Each:
    """The cells that receive all contributions."""
    names = b.names
    axes = [
        (names.var(v.name, "i8"), b.op("add", lo, _number(bound[1])), _all(n, bound, b))
        for (v, lo, n), bound in zip(s.axes, bounds, strict=True)
    ]
    scaled: dict[Chain, list[Atom]] = {}
    with b.block(loop=True) as body:
        for st, shift in zip(group, shifts, strict=True):
            value, chain = _chain(st.value, s)
            piece, own, new = fresh(remove_dead(s.body, (), (value,)), [v for v, _, _ in s.axes], names)
            at: dict[Atom, Atom] = {
                v: b.op("sub", j, _number(c)) if c else j for v, (j, _, _), c in zip(own, axes, shift, strict=True)
            }
            body.extend(substitute(piece, lambda a, at=at: at.get(a, a)))  # type: ignore[misc]
            scaled.setdefault(chain, []).append(new.get(value, value))
        b.part = "linear"
        total = reduce(lambda x, y: b.op("add", x, y), [_applied(chain, each, b) for chain, each in scaled.items()])
        b.part = "primal"
        _, places = _shift(group[0].index, s)  # type: ignore[misc]
        index = tuple(axes[k][0] if isinstance(k, int) else k for k in places)
        store = replace(group[0], index=index, value=total)
    return replace(s, axes=tuple(axes), body=tuple(body), stores=(store,), sums=())


def _chain(value: Atom, s: Each) -> tuple[Atom, Chain]:
    """A cotangent as another one times factors that do not vary, the last one first."""
    made = {x.var: x for x in s.body if isinstance(x, Let) and x.op == "mul" and x.part == "linear"}
    inside = {v for x in walk(s.body) for v in defined(x)}.union(v for v, _, _ in s.axes)
    chain: list[Atom] = []
    while value in made:
        one, factor = made[value].args  # type: ignore[index]
        if factor in inside or {one.dt, factor.dt} != {value.dt}:
            break
        chain.append(factor)
        value = one
    return value, tuple(chain)


def _applied(chain: Chain, values: Sequence[Atom], b: Builder) -> Atom:
    """The sum of some values times factors: fewer products than by their order in the text."""
    total = reduce(lambda x, y: b.op("add", x, y), values)
    return reduce(lambda x, factor: b.op("mul", x, factor), reversed(chain), total)


def _over_rows(inner: Each, terms: Sequence[tuple[Each, Shift]], bounds: Bounds, b: Builder) -> For:
    """A loop over rows of cells: those of a row that receive all contributions, and then its ends, term by term."""
    (i, lo, count), along = inner.axes
    with b.block(loop=True) as body:
        body += nest(replace(inner, axes=(along,)), b.names)
        for term, (across, shift) in terms:
            (row, _, _), columns = term.axes
            (store,) = term.stores
            _, places = _shift(store.index, term)  # type: ignore[misc]
            at = b.op("sub", i, _number(across)) if across else i
            own = substitute(term.body, lambda a, row=row, at=at: at if a == row else a)  # type: ignore[misc]
            store = replace(store, index=tuple(i if k == 0 else a for k, a in zip(places, store.index, strict=True)))
            ends = _outside(replace(term, axes=(columns,), body=own, stores=(store,)), (shift,), bounds[1:], b)
            body += [x for piece in ends for x in nest(piece, b.names)]
    return For(i, lo, count, ONE, (), tuple(body), (), (), None, None, inner.line, inner.part)


def _outside(s: Each, shift: Shift, bounds: Bounds, b: Builder) -> list[Each]:
    """The iterations of an Each of one addition before and after the box of :func:`_inside` along the first axis.

    How many these are at most is plain from how they are counted: then no code is made for long loops.
    """
    (v, lo, n), *others = s.axes
    c, (low, high) = shift[0], bounds[0]
    out: list[Each] = []
    edge = b.op("min2", _number(high - c), n)
    if high > c:
        out.append(part(replace(s, axes=((v, lo, edge), *others)), s.stores, b.names))
    if c > low:
        last = b.op("min2", _number(c - low), b.op("sub", n, edge))
        start = b.op("add", lo, b.op("sub", n, last))
        out.append(part(replace(s, axes=((v, start, last), *others)), s.stores, b.names))
    return out
