"""Splitting the innermost axes of an adjoint's :class:`.Each`, so that each loop vectorises.

The reverse of a stencil adds to several cells of one shadow in an iteration (``u_bar[i-1] += ..; u_bar[i] += ..``) and sums
into scalars; neither vectorises.  Split into one loop for each cell and one for the sums, all do.  That iterations are
independent is what an Each means; the split is legal when besides

* memory that is added to is not read (its other part would read what this one added), and
* what is computed is the same bits again: each part recomputes what it needs of the pure statements.

What sets memory runs last, in one part.  The order of additions is fixed by the text; the sums alone are compiled with
reassociation, as functions of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .analysis import EXACT
from .build import Builder, Names, const
from .deadcode import remove_dead
from .ir import (
    Atom,
    Base,
    Block,
    Call,
    Const,
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
from .loops import nest

__all__ = ["split_loops"]


def split_loops(body: Block, names: Names, prefix: str) -> tuple[Block, list[Fn]]:
    """Every Each as loops, split where that is legal; also returns the functions that sum, to be emitted before."""
    parts = _Parts(names, prefix, {x.var for x in walk(body) if isinstance(x, (Let, Load)) and x.part == "linear"})
    return _block(body, parts), parts.functions


@dataclass
class _Parts:
    """What splitting needs besides the Each: ``linear`` are cotangents, ``functions`` those made so far."""

    names: Names
    prefix: str
    linear: set[Var]
    functions: list[Fn] = field(default_factory=list)


def _block(block: Block, parts: _Parts) -> Block:
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            then, orelse = (_block(b, parts) for b in (s.then, s.orelse))
            out.append(replace(s, then=then, orelse=orelse))
        elif isinstance(s, (For, While)):
            out.append(replace(s, body=_block(s.body, parts)))
        elif isinstance(s, Each):
            if s.part == "linear" and _repeatable(s.body):
                out += nest(s, parts.names, lambda each: _split(each, parts))
            else:
                out += nest(s, parts.names)
        else:
            out.append(s)
    return tuple(out)


def _repeatable(body: Block) -> bool:
    """Whether statements give the same bits wherever they are compiled, at little cost: no libm function."""
    for s in body:
        if isinstance(s, Let):
            if not (s.op in EXACT or s.op == "mulz" or not any(is_float(a.dt) for a in s.args) or _small_power(s)):
                return False
        elif isinstance(s, If) and not (_repeatable(s.then) and _repeatable(s.orelse)):
            return False
    return True


def _small_power(s: Let) -> bool:
    return s.op == "powi" and isinstance(s.args[1], Const) and abs(s.args[1].value) <= 4  # type: ignore[arg-type]


def _split(s: Each, parts: _Parts) -> list[Stmt]:
    """An Each of one axis, in parts."""
    names = parts.names
    loads = {x.base for x in walk(s.body) if isinstance(x, Load)}
    adds: dict[Base, list[Store]] = {}
    sets: list[Store] = []
    for st in s.stores:
        if st.mode == "add":
            adds.setdefault(st.base, []).append(st)
        else:
            sets.append(st)
    if not _separable(loads, set(adds), {st.base for st in sets}):
        return nest(s, names)
    if max([len(g) for g in adds.values()], default=0) + bool(s.sums) + bool(sets) < 2 and not s.sums:
        return nest(s, names)
    out: list[Stmt] = []
    for base in list(adds):
        gathered = _gather(s, adds[base], names)
        if gathered is not None:
            out += gathered
            del adds[base]
    for k in range(max([len(g) for g in adds.values()], default=0)):
        out += nest(_part(s, [g[k] for g in adds.values() if k < len(g)], names), names)
    if s.sums:
        out += _sum_call(s, parts)
    if sets:
        out += nest(_part(s, sets, names), names)
    return out


def _fresh(body: Block, var: Var, names: Names) -> tuple[Block, Var, dict[Atom, Atom]]:
    """A copy of a loop body with new names."""
    new: dict[Atom, Atom] = {v: names.var(v.name, v.dt) for st in walk(body) for v in defined(st)}
    new[var] = names.var(var.name, var.dt)
    return substitute(body, lambda a: new.get(a, a)), new[var], new  # type: ignore[return-value]


def _separable(loads: set[Base], adds: set[Base], sets: set[Base]) -> bool:
    """Whether what one part adds to is neither read nor set by another."""
    return adds.isdisjoint(loads | sets)


def _part(s: Each, keep: list[Store], names: Names) -> Each:
    """The Each of some of its stores alone."""
    ((var, lo, count),) = s.axes
    body = remove_dead((*s.body, *keep), {k.base for k in keep})
    body, var, _ = _fresh(body, var, names)
    stores = tuple(st for st in body if isinstance(st, Store))
    body = tuple(st for st in body if not isinstance(st, Store))
    return replace(s, axes=((var, lo, count),), body=body, stores=stores, sums=())


def _gather(s: Each, group: list[Store], names: Names) -> list[Stmt] | None:
    """Additions to cells i + c_1, i + c_2, .. of one base as one loop over the cells.

    Cell j receives the contributions of the iterations j - c_k.  With lo <= c_k <= hi they all exist where j runs from
    first + hi to first + count + lo; the iterations that add to other cells, hi - c_k at one end and c_k - lo at the other,
    are run by themselves.
    """
    if len(group) < 2:
        return None
    ((own, lo, n),) = s.axes
    inner = {v for st in walk(s.body) for v in defined(st)}
    shifts: list[int] = []
    axis: int | None = None
    for st in group:
        moving = [(k, _shift(a, own, s.body)) for k, a in enumerate(st.index) if a == own or a in inner]
        if len(moving) != 1 or moving[0][1] is None or (axis is not None and moving[0][0] != axis):
            return None
        axis = moving[0][0]
        shifts.append(moving[0][1])
    rest = {tuple(a for k, a in enumerate(st.index) if k != axis) for st in group}
    if len(rest) != 1 or len(set(shifts)) != len(shifts) or max(shifts) - min(shifts) > 8:
        return None  # several rows: each is a loop of its own
    b = Builder(names)
    b.line = s.line
    low, high = min(shifts), max(shifts)

    def number(k: int) -> Const:
        return const(k, "i8")

    begin = b.op("add", lo, number(high))
    inside = b.op("max2", b.op("sub", n, number(high - low)), number(0))
    j = names.var(own.name, "i8")
    with b.block(loop=True) as body:
        total: Atom | None = None
        for st, c in zip(group, shifts, strict=True):
            piece = remove_dead(s.body, (), (st.value, *st.index))
            piece, var, new = _fresh(piece, own, names)
            at = b.op("sub", j, number(c)) if c else j
            body.extend(substitute(piece, lambda a, var=var, at=at: at if a == var else a))  # type: ignore[misc]
            value = new.get(st.value, st.value)
            b.part = "linear"
            total = value if total is None else b.op("add", total, value)
            b.part = "primal"
        index = tuple(j if k == axis else a for k, a in enumerate(group[0].index))
        body.append(replace(group[0], index=index, value=total))
    out: list[Stmt] = []
    for st, c in zip(group, shifts, strict=True):
        for front in (True, False):
            length = high - c if front else c - low
            if not length:
                continue
            edge = b.op("min2", number(high - c), n)
            if front:
                first, count = lo, edge
            else:
                start = b.op("max2", b.op("sub", n, number(length)), edge)
                first, count = b.op("add", lo, start), b.op("sub", n, start)
            part = _part(s, [st], names)
            out += nest(replace(part, axes=((part.axes[0][0], first, count),)), names)
    return [*b.stmts, For(j, begin, inside, number(1), (), tuple(body), (), (), None, None, s.line, "linear"), *out]


def _shift(a: Atom, var: Var, body: Block) -> int | None:
    """c, if an index is var + c."""
    if a == var:
        return 0
    made = next((st for st in body if isinstance(st, Let) and st.var == a), None)
    if made is None or made.op not in ("add", "sub") or made.args[0] != var or not isinstance(made.args[1], Const):
        return None
    return int(made.args[1].value) * (1 if made.op == "add" else -1)  # type: ignore[arg-type]


def _sum_call(s: Each, parts: _Parts) -> list[Stmt]:
    """The sums of an Each as a function of their own, and what adds them to their initial values."""
    names = parts.names
    terms = [t for _, _, each in s.sums for t in each]
    body = remove_dead(s.body, (), terms)
    ((var, lo, count),) = s.axes
    body, var, new = _fresh(body, var, names)
    totals = tuple((names.var(v.name, v.dt), const(0, v.dt), tuple(new.get(t, t) for t in each)) for v, _, each in s.sums)
    (loop,) = nest(replace(s, axes=((var, lo, count),), body=body, stores=(), sums=totals), names)
    args: list[Var | Base] = [*free_vars((loop,)), *dict.fromkeys(b for st in walk((loop,)) for b in bases_of(st))]
    # cotangents among the parameters are known by their names
    unnamed = [a for a in args if a in parts.linear and not a.name.split(".")[0].endswith("_bar")]
    bars: dict[Atom, Atom] = {a: names.var("t_bar", a.dt) for a in unnamed}  # type: ignore[misc]
    params = tuple(bars.get(a, a) for a in args)  # type: ignore[arg-type, call-overload]
    body = substitute((loop,), lambda a: bars.get(a, a))
    fn = Fn(f"{parts.prefix}_sum_{len(parts.functions)}", params, body, tuple(v for v, _, _ in totals))
    parts.functions.append(fn)
    given = tuple(names.var(v.name, v.dt) for v, _, _ in totals)
    call = Call(fn.name, tuple(args), given, s.line, "linear")
    return [call, *(Let(v, "add", (init, g), s.line, "linear") for (v, init, _), g in zip(s.sums, given, strict=True))]
