"""What a loop adds to one cell, again and again, is summed in a scalar and added once (promotion of invariant accumulators).

Memory is the slowest accumulator there is, and one that no other access may pass; a carried scalar is a register.
"""

from __future__ import annotations

from dataclasses import replace

from .build import Names, const, zero
from .ir import (
    Atom,
    Base,
    Block,
    Const,
    For,
    If,
    Let,
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

__all__ = ["if_run", "promote"]


def promote(block: Block, names: Names) -> Block:
    """Carry sums of what linear loops add to cells that do not vary, where they do nothing else with that memory but add."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=promote(s.then, names), orelse=promote(s.orelse, names))
        elif isinstance(s, (For, While)):
            s = replace(s, body=promote(s.body, names))
        out += _promoted(s, names) if isinstance(s, For) and s.part == "linear" else [s]
    return tuple(out)


def _promoted(s: For, names: Names) -> list[Stmt]:
    inside = {v for st in walk((s,)) for v in (*defined(st), *inner_defined(st))}
    only_added = _only_added(s.body)
    sums: dict[tuple[object, ...], list[Store]] = {}
    for st in s.body:
        if isinstance(st, Store) and st.base in only_added and not any(a in inside for a in st.index):
            sums.setdefault((st.base, st.index), []).append(st)
    if not sums:
        return [s]
    carries, yields, results, after = list(s.carries), list(s.yields), list(s.results), list[Stmt]()
    terms: dict[int, Let] = {}
    for group in sums.values():
        first = group[0]
        root = first.base.name.split(".")[0]
        total = names.var(root, first.base.dt)
        carries.append((total, zero(first.base.dt)))
        for st in group:
            more = names.var(root, first.base.dt)
            terms[id(st)] = Let(more, "add", (total, st.value), st.line, "linear")
            total = more
        yields.append(total)
        result = names.var(root, first.base.dt)
        results.append(result)
        after.append(replace(first, value=result))
    body = tuple(terms.get(id(st), st) for st in s.body)
    loop = replace(s, carries=tuple(carries), yields=tuple(yields), results=tuple(results), body=body)
    return [loop, *if_run(s.count, s.var, after, names, s.line)]


def if_run(count: Atom, var: Var, after: list[Stmt], names: Names, line: int) -> list[Stmt]:
    """Additions of what a loop summed: the cells need not exist if the loop does not run."""
    if isinstance(count, Const) and count.value > 0:  # type: ignore[operator]
        return after
    runs = names.var(f"{var.name.split('.')[0]}_runs", "b1")
    return [Let(runs, "gt", (count, const(0, "i8")), line), If(runs, tuple(after), (), (), line, "linear")]


def _only_added(body: Block) -> set[Base]:
    """Memory that a loop's body only adds to, at its own level."""
    own = {id(st) for st in body}
    added: set[Base] = set()
    other: set[Base] = set()
    for st in walk(body):
        if isinstance(st, Store) and st.mode == "add" and st.part == "linear" and is_float(st.base.dt):
            (added if id(st) in own else other).add(st.base)
        else:
            other.update(bases_of(st))
    return added - other
