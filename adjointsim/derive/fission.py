"""Splitting the innermost axes of an adjoint's :class:`.Each`, so that each loop vectorises.

The reverse of a stencil adds to several cells of one shadow in an iteration (``u_bar[i-1] += ..; u_bar[i] += ..``) and sums
into scalars; neither vectorises.  Split into one loop for each cell and one for the sums, all do.  That iterations are
independent is what an Each means; the split is legal when besides

* memory that is added to is not read (its other part would read what this one added), and
* what is computed is the same bits again: each part recomputes what it needs of the pure statements.

What sets memory runs last, in one part.  The order of additions is fixed by the text, but for sums of cotangents, which may be
added in any order (:mod:`.native`): they are compiled as functions of their own, or stay where what they add up takes long to
compute.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from .abreast import mergeable
from .build import Builder, Names, const, zero
from .deadcode import remove_dead
from .divisions import fewer_divisions
from .gather import Rows, fresh, gather, part
from .ir import (
    ZERO,
    Atom,
    Base,
    Block,
    Call,
    Each,
    Fn,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    bases_of,
    defined,
    free_vars,
    is_float,
    substitute,
    walk,
)  # fmt: skip
from .loops import interchanged, nest
from .productnests import products
from .promote import if_run
from .rows import by_rows, has_rows
from .waiting import ordered, repeatable, slow, waits

__all__ = ["split_loops"]


def split_loops(
    body: Block, names: Names, prefix: str, owner: bool = False, bars: Collection[Var] = ()
) -> tuple[Block, list[Fn]]:
    """Every Each as loops, split where that is legal; also returns the functions that sum, to be emitted before.

    ``owner``: it is the body of a function that may make arrays.  ``bars`` are cotangents that it is given.
    """
    parts = _Parts(names, prefix, _linear(body, bars), owner)
    return _block(body, parts), parts.functions


def _linear(body: Block, bars: Collection[Var]) -> set[Var]:
    """The cotangents among the scalars of a body that is given ``bars``, those that branches and loops hand on included."""
    linear = (x for x in walk(body) if x.part == "linear" and isinstance(x, (Let, Load, Call)))
    found = {*bars, *(v for x in linear for v in defined(x) if is_float(v.dt))}
    handed = [(v, sources) for x in walk(body) for v, sources in _handed(x)]
    while True:
        more = {v for v, sources in handed if v not in found and not found.isdisjoint(sources)}
        if not more:
            return found
        found |= more


def _handed(s: Stmt) -> Iterator[tuple[Var, tuple[Atom, ...]]]:
    """The scalars that branches and loops hand on, with what they may be."""
    if isinstance(s, If):
        yield from ((v, (a, b)) for v, a, b in s.phis)
    elif isinstance(s, (For, While)):
        for (v, init), y, r in zip(s.carries, s.yields, s.results, strict=True):
            yield v, (init, y)
            yield r, (init, y)
    elif isinstance(s, Each):
        yield from ((v, (init, *terms)) for v, init, terms in s.sums)


@dataclass
class _Parts:
    """What splitting needs besides the Each: ``linear`` are cotangents, ``functions`` those made so far.  The ``owner`` of
    memory may make some."""

    names: Names
    prefix: str
    linear: set[Var]
    owner: bool
    runs: dict[Atom, Atom] = field(default_factory=dict)  # the counts of which tests are whether they are positive
    functions: list[Fn] = field(default_factory=list)


def _block(block: Block, parts: _Parts) -> Block:
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, Let) and s.op == "gt" and s.args[1] == ZERO:
            parts.runs[s.var] = s.args[0]
        if isinstance(s, If):
            out.append(replace(s, then=_block(s.then, parts), orelse=_block(s.orelse, parts)))
        elif isinstance(s, For) and has_rows(s):
            out += by_rows(s, parts.names, parts.owner, parts.runs, lambda block: _block(block, parts))
        elif isinstance(s, (For, While)):
            out.append(replace(s, body=_block(s.body, parts)))
        elif isinstance(s, Each):
            whole = nest(s, parts.names) if len(s.axes) > 1 and s.part == "linear" else []
            if len(whole) == 1 and isinstance(whole[0], For) and products(whole[0]):
                out += whole  # for BLAS
            elif s.part == "linear" and repeatable(s.body):
                out += nest(s, parts.names, lambda each: _split(each, parts), 2)
            else:
                out += nest(s, parts.names, lambda each: ordered(each, parts.names)) if parts.owner else nest(s, parts.names)
        else:
            out.append(s)
    return tuple(out)


def _split(s: Each, parts: _Parts) -> list[Stmt]:
    """An Each of one axis or two, in parts; of two axes those that gather are nests of their own, the others share rows."""
    names = parts.names
    s = fewer_divisions(s, names)
    if len(s.axes) == 1:
        s, after = _summed(s, names)
    else:
        after = []
    loads = {x.base for x in walk(s.body) if isinstance(x, Load)}
    adds: dict[Base, list[Store]] = {}
    sets: list[Store] = []
    for st in s.stores:
        if st.mode == "add":
            adds.setdefault(st.base, []).append(st)
        else:
            sets.append(st)
    most = max([len(g) for g in adds.values()], default=0)
    passes = most + bool(s.sums) + bool(sets)
    separable = _separable(loads, set(adds), {st.base for st in sets})
    if separable and most == 1 and waits(s):
        return [*nest(s, names), *after]
    whole = not separable or (passes < 2 and not s.sums)
    if whole or (passes > 2 and slow(s.body)):
        return [*(_rows(s, parts) if len(s.axes) > 1 and not s.sums else nest(s, names)), *after]
    s = interchanged(s)
    out, gathered, rows = gather(s, adds, names)
    for base, stmts in gathered.items():
        out += stmts
        del adds[base]
    if len(s.axes) > 1:
        rest = tuple(st for st in s.stores if st.mode != "add" or st.base in adds)
        if rest or s.sums:
            out += _beside(part(s, rest, names, s.sums), rows, parts)
        return out
    for k in range(max([len(g) for g in adds.values()], default=0)):
        out += nest(part(s, [g[k] for g in adds.values() if k < len(g)], names), names)
    if s.sums:
        out += _sum_call(s, parts)
    if sets:
        out += nest(part(s, sets, names), names)
    return [*out, *after]


def _rows(s: Each, parts: _Parts) -> list[Stmt]:
    """An Each of two axes as a loop over its rows, each in parts."""
    return nest(s, parts.names, lambda each: _split(each, parts))


def _beside(s: Each, rows: Rows | None, parts: _Parts) -> list[Stmt]:
    """What an Each does besides gathering: without sums it is in the rows of the loops that gather, which it may share
    (:mod:`.abreast`), and then in those before and after these."""
    loop = _rows(s, parts)
    ends = loop[0]
    if rows is None or not rows.removed or len(loop) > 1 or not isinstance(ends, For) or not mergeable(ends):
        return loop
    if (ends.lo, ends.count) != s.axes[0][1:]:
        return loop
    names, b = parts.names, Builder(parts.names)
    b.line = s.line
    (middle,), _, _ = fresh((ends,), (), names)
    middle = replace(middle, lo=b.op("add", ends.lo, const(rows.skipped, "i8")), count=rows.count)  # type: ignore[call-arg]
    k = names.var("k", "i8")
    others = b.op("sub", ends.count, rows.count)
    with b.block(loop=True) as head:
        past = b.op("select", b.op("lt", k, const(rows.skipped, "i8")), ZERO, rows.count)
        at = b.op("add", ends.lo, b.op("add", k, past))
    body = (*head, *substitute(ends.body, lambda a: at if a == ends.var else a))
    return [*b.stmts, middle, replace(ends, var=k, lo=ZERO, count=others, body=body)]


def _summed(s: Each, names: Names) -> tuple[Each, list[Stmt]]:
    """What an Each adds to cells that do not vary, as sums of it, and the statements that add these."""
    inside = {s.axes[0][0], *(v for st in walk(s.body) for v in defined(st))}
    fixed = [st for st in s.stores if st.mode == "add" and not any(a in inside for a in st.index)]
    others = {x.base for x in (*walk(s.body), *s.stores) if isinstance(x, (Load, Store)) and x not in fixed}
    cells: dict[tuple[Base, tuple[Atom, ...]], list[Store]] = {}
    for st in fixed:
        if st.base not in others:
            cells.setdefault((st.base, st.index), []).append(st)
    if not cells:
        return s, []
    sums, after = [], []
    for (base, _), group in cells.items():
        total = names.var(base.name, base.dt)
        sums.append((total, zero(base.dt), tuple(st.value for st in group)))
        after.append(replace(group[0], value=total))
    stores = tuple(st for st in s.stores if (st.base, st.index) not in cells)
    return replace(s, stores=stores, sums=(*s.sums, *sums)), if_run(s.axes[0][2], s.axes[0][0], after, names, s.line)


def _separable(loads: set[Base], adds: set[Base], sets: set[Base]) -> bool:
    """Whether what one part adds to is neither read nor set by another."""
    return adds.isdisjoint(loads | sets)


def _sum_call(s: Each, parts: _Parts) -> list[Stmt]:
    """The sums of an Each as a function of their own, and what adds them to their initial values."""
    names = parts.names
    terms = [t for _, _, each in s.sums for t in each]
    body = remove_dead(s.body, (), terms)
    ((var, lo, count),) = s.axes
    body, (var,), new = fresh(body, (var,), names)
    totals = tuple((names.var(v.name, v.dt), const(0, v.dt), tuple(new.get(t, t) for t in each)) for v, _, each in s.sums)
    (loop,) = nest(replace(s, axes=((var, lo, count),), body=body, stores=(), sums=totals), names)
    args: list[Var | Base] = [*free_vars((loop,)), *dict.fromkeys(b for st in walk((loop,)) for b in bases_of(st))]
    # cotangents among the parameters are known by their names
    unnamed = [a for a in args if a in parts.linear and not a.name.split(".")[0].endswith("_bar")]
    bars: dict[Atom, Atom] = {a: names.var("t_bar", a.dt) for a in unnamed}  # type: ignore[misc]
    # and others have no such names, as what a user's own tangents are called
    numbers = [a for a in args if isinstance(a, Var) and is_float(a.dt) and a not in parts.linear]
    bars.update((a, names.var("t", a.dt)) for a in numbers if a.name.split(".")[0].endswith(("_bar", "_dot")))
    params = tuple(bars.get(a, a) for a in args)  # type: ignore[arg-type, call-overload]
    body = substitute((loop,), lambda a: bars.get(a, a))
    fn = Fn(f"{parts.prefix}_sum_{len(parts.functions)}", params, body, tuple(v for v, _, _ in totals))
    parts.functions.append(fn)
    given = tuple(names.var(v.name, v.dt) for v, _, _ in totals)
    call = Call(fn.name, tuple(args), given, s.line, "linear")
    return [call, *(Let(v, "add", (init, g), s.line, "linear") for (v, init, _), g in zip(s.sums, given, strict=True))]
