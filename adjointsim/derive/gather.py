"""Scatter to gather: an Each that adds to several neighbours of a cell, as one that adds to a cell once.

The reverse of a stencil adds to the cells i + c_1, i + c_2, .. of one shadow in the iteration i.  Cell j receives the
contributions of the iterations j - c_k.  With low <= c_k <= high along an axis they all exist where j runs from first + high to
first + count + low; what the iterations outside of that box add to other cells is run by itself, term by term (DERIVE 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .build import Builder, Names, const
from .deadcode import remove_dead
from .ir import Atom, Block, Const, Each, Let, Stmt, Store, Var, defined, inner_defined, substitute, walk
from .loops import nest

__all__ = ["fresh", "gather", "part"]

Shift = tuple[int, ...]  # along each axis of the Each
Sums = tuple[tuple[Var, Atom, tuple[Atom, ...]], ...]
_FAR = 8  # a wider stencil has too much of an edge


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


def gather(s: Each, group: Sequence[Store], names: Names) -> list[Stmt] | None:
    """The additions of an Each to one base, as loops over the cells; None if they are not to several neighbours of a cell."""
    if len(group) < 2:
        return None
    found = [_shift(st.index, s) for st in group]
    places = {f and f[1] for f in found}
    shifts: list[Shift] = [f[0] for f in found if f is not None]
    if None in places or len(places) != 1 or len(set(shifts)) != len(group):
        return None
    bounds = [(min(c), max(c)) for c in zip(*shifts, strict=True)]
    if max(high - low for low, high in bounds) > _FAR:
        return None
    b = Builder(names)
    b.line = s.line
    inner = _inside(s, group, shifts, bounds, b)
    out = [nest(inner, names)]
    for st, shift in zip(group, shifts, strict=True):
        out += [nest(piece, names) for piece in _outside(part(s, [st], names), shift, bounds, b)]
    return [*b.stmts, *(st for nests in out for st in nests)]


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


def _inside(s: Each, group: Sequence[Store], shifts: Sequence[Shift], bounds: Sequence[tuple[int, int]], b: Builder) -> Each:
    """The cells that receive all contributions."""
    names = b.names
    axes = []
    for (v, lo, n), (low, high) in zip(s.axes, bounds, strict=True):
        count = b.op("max2", b.op("sub", n, _number(high - low)), _number(0)) if high > low else n
        axes.append((names.var(v.name, "i8"), b.op("add", lo, _number(high)), count))
    with b.block(loop=True) as body:
        total: Atom | None = None
        for st, shift in zip(group, shifts, strict=True):
            piece, own, new = fresh(remove_dead(s.body, (), (st.value,)), [v for v, _, _ in s.axes], names)
            at: dict[Atom, Atom] = {
                v: b.op("sub", j, _number(c)) if c else j for v, (j, _, _), c in zip(own, axes, shift, strict=True)
            }
            body.extend(substitute(piece, lambda a, at=at: at.get(a, a)))  # type: ignore[misc]
            value = new.get(st.value, st.value)
            b.part = "linear"
            total = value if total is None else b.op("add", total, value)
            b.part = "primal"
        _, places = _shift(group[0].index, s)  # type: ignore[misc]
        index = tuple(axes[k][0] if isinstance(k, int) else k for k in places)
        store = replace(group[0], index=index, value=total)
    return replace(s, axes=tuple(axes), body=tuple(body), stores=(store,), sums=())


def _outside(s: Each, shift: Shift, bounds: Sequence[tuple[int, int]], b: Builder) -> list[Each]:
    """The iterations of an Each of one addition that :func:`_inside` leaves: those before and after its box along the first
    axis, of the others those along the second axis, and so on."""
    out: list[Each] = []
    axes = list(s.axes)
    for k, ((v, lo, n), c, (low, high)) in enumerate(zip(s.axes, shift, bounds, strict=True)):
        edge = b.op("min2", _number(high - c), n)
        if high > c:
            out.append(_over(s, (*axes[:k], (v, lo, edge), *axes[k + 1 :]), b.names))
        if c > low:
            start = b.op("max2", b.op("sub", n, _number(c - low)), edge)
            out.append(_over(s, (*axes[:k], (v, b.op("add", lo, start), b.op("sub", n, start)), *axes[k + 1 :]), b.names))
        left = b.op("max2", b.op("sub", n, _number(high - low)), _number(0)) if high > low else n
        axes[k] = (v, b.op("add", lo, _number(high - c)), left)
    return out


def _over(s: Each, axes: Sequence[tuple[Var, Atom, Atom]], names: Names) -> Each:
    return part(replace(s, axes=tuple(axes)), s.stores, names)
