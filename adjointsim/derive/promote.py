"""What a loop adds to one cell, again and again, is summed in a scalar and added once (promotion of invariant accumulators).

Memory is the slowest accumulator there is, and one that no other access may pass; a carried scalar is a register.  Where the
loop reads or sets the same memory at other indices, it first looks whether that is the cell, and adds the sum so far to it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from .build import Builder, Names, const, zero
from .ir import (
    Atom,
    Base,
    Block,
    Const,
    Dim,
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
    inner_defined,
    is_float,
    walk,
)
from .productnests import products

__all__ = ["if_run", "promote"]

Index = tuple[Atom, ...]


def promote(block: Block, names: Names) -> Block:
    """Carry sums of what linear loops add to cells that do not vary, where that can be."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, For) and products(s):
            out.append(s)
            continue
        if isinstance(s, If):
            s = replace(s, then=promote(s.then, names), orelse=promote(s.orelse, names))
        elif isinstance(s, (For, While)):
            s = replace(s, body=promote(s.body, names))
        out += _promoted(s, names) if isinstance(s, For) and s.part == "linear" else [s]
    return tuple(out)


def _promoted(s: For, names: Names) -> list[Stmt]:
    inside = {v for st in walk((s,)) for v in (*defined(st), *inner_defined(st))}
    cells: dict[tuple[Base, Index], list[Store]] = {}
    for st in s.body:
        if isinstance(st, Store) and _adds(st) and not any(a in inside for a in st.index):
            cells.setdefault((st.base, st.index), []).append(st)
    cells = {cell: group for cell, group in cells.items() if _free(s, *cell)}
    if not cells:
        return [s]
    b = Builder(names, number=False)
    totals = {cell: names.var(cell[0].name, cell[0].dt) for cell in cells}
    seen: set[tuple[tuple[Base, Index], Index]] = set()  # indices that were looked at since a cell was last added to
    carries = [*s.carries, *((total, zero(total.dt)) for total in totals.values())]
    for st in s.body:
        b.line = st.line
        cell = (st.base, st.index) if isinstance(st, Store) and _adds(st) else None
        if cell in cells:
            more = names.var(cell[0].name, cell[0].dt)
            b.stmts.append(Let(more, "add", (totals[cell], st.value), st.line, "linear"))  # type: ignore[union-attr]
            totals[cell] = more
            seen = {pair for pair in seen if pair[0] != cell}
            continue
        if isinstance(st, (Load, Store)) and not _adds(st):
            for other, total in totals.items():
                if other[0] == st.base and (other, st.index) not in seen:
                    totals[other] = _flushed(b, replace(cells[other][0], value=total), st.index)
                    seen.add((other, st.index))
        b.stmts.append(st)
    results = {cell: names.var(cell[0].name, cell[0].dt) for cell in cells}
    after: list[Stmt] = [replace(group[0], value=results[cell]) for cell, group in cells.items()]
    whole = {"yields": (*s.yields, *totals.values()), "results": (*s.results, *results.values())}
    loop = replace(s, carries=tuple(carries), body=tuple(b.stmts), **whole)  # type: ignore[arg-type]
    return [loop, *if_run(s.count, s.var, after, names, s.line)]


def _flushed(b: Builder, store: Store, index: Index) -> Var:
    """Add the sum so far if memory is about to be read or set at this index, and it is the cell; returns what is left of it."""
    left, total = b.names.var(store.base.name, store.base.dt), store.value
    b.part = "primal"
    test = reduce(lambda x, y: b.op("land", x, y), [b.op("eq", x, y) for x, y in zip(store.index, index, strict=True) if x != y])
    b.stmts.append(If(test, (store,), (), ((left, zero(left.dt), total),), b.line, "linear"))
    return left


def _adds(st: Stmt) -> bool:
    return isinstance(st, Store) and st.mode == "add" and st.part == "linear" and is_float(st.base.dt)


def _free(s: For, base: Base, index: Index) -> bool:
    """Whether a loop's body, besides adding to it, uses memory at its own level only, at other indices than this one, and
    never counts from the end there."""
    own = {id(st) for st in s.body}
    others = []
    for st in walk(s.body):
        if base in bases_of(st) and not isinstance(st, Dim) and not (_adds(st) and id(st) in own):
            if not isinstance(st, (Load, Store)) or id(st) not in own or st.wrap != "never" or st.index == index:
                return False
            others.append(st)
    here = (st for st in s.body if isinstance(st, Store) and st.base == base and st.index == index)
    return not others or all(st.wrap == "never" for st in here)


def if_run(count: Atom, var: Var, after: list[Stmt], names: Names, line: int) -> list[Stmt]:
    """Additions of what a loop summed: the cells need not exist if the loop does not run."""
    if isinstance(count, Const) and count.value > 0:  # type: ignore[operator]
        return after
    runs = names.var(f"{var.name.split('.')[0]}_runs", "b1")
    return [Let(runs, "gt", (count, const(0, "i8")), line), If(runs, tuple(after), (), (), line, "linear")]
