"""Loop-invariant code moves out of loops: so that its cotangent is carried in a scalar and added to memory once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .build import Names, const, zero
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Const,
    Dim,
    Each,
    For,
    If,
    Let,
    Load,
    Stmt,
    Var,
    While,
    atoms_of,
    defined,
    inner_defined,
    may_leave,
    substitute,
    walk,
    written_by,
)

__all__ = ["hoist"]


def hoist(block: Block, names: Names, last: bool = False) -> Block:
    """Move out of each loop the pure statements at its body's own level that do not depend on it.

    Arithmetic cannot fail and moves freely.  A load moves if its memory is never written in the function; in code that is not
    differentiated any more (``last``), if it is not written in the loop.  Where the loop may run no iteration it is guarded,
    because its index need not be valid then, unless it is that of a captured number.
    """
    block = _unchanged(block)
    return _block(block, None if last else set(_written(block)), names)


def _written(block: Block) -> Iterator[Base]:
    return (b for s in walk(block) for b in written_by(s))


def _unchanged(block: Block) -> Block:
    """Without the carries that every iteration hands on as they are."""
    known: dict[Var, Atom] = {}

    def now(a: Atom) -> Atom:
        while isinstance(a, Var) and a in known:
            a = known[a]
        return a

    def visit(block: Block) -> Block:
        out: list[Stmt] = []
        for s in block:
            if isinstance(s, If):
                s = replace(s, then=visit(s.then), orelse=visit(s.orelse))
            elif isinstance(s, (For, While)):
                s = replace(s, body=visit(s.body))
                same = [now(y) == v for (v, _), y in zip(s.carries, s.yields, strict=True)]
                if any(same):
                    for on, (v, init), r in zip(same, s.carries, s.results, strict=True):
                        if on:
                            known.update({v: init, r: init})
                    rest = [k for k, on in enumerate(same) if not on]
                    carries, yields, results = ([x[k] for k in rest] for x in (s.carries, s.yields, s.results))
                    s = replace(s, carries=tuple(carries), yields=tuple(yields), results=tuple(results))  # type: ignore[arg-type]
            out.append(s)
        return tuple(out)

    found = visit(block)
    return substitute(found, now) if known else block


def _block(block: Block, written: set[Base] | None, names: Names) -> Block:
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            out.append(replace(s, then=_block(s.then, written, names), orelse=_block(s.orelse, written, names)))
        elif isinstance(s, For):
            s = replace(s, body=_block(s.body, written, names))
            moved, body = _split(s, s.body, written)
            runs = isinstance(s.count, Const) and s.count.value > 0  # type: ignore[operator]
            out += moved if runs else _guarded(moved, s.count, s.var, names, s.line)
            out.append(replace(s, body=body))
        elif isinstance(s, Each) and len(s.axes) == 1:
            moved, body = _split(s, s.body, written)
            ((var, _, count),) = s.axes
            out += _guarded(moved, count, var, names, s.line)
            out.append(replace(s, body=body))
        elif isinstance(s, While):
            s = replace(s, body=_block(s.body, written, names))
            moved, body = _split(s, s.body, written, loads=False)
            out += moved
            out.append(replace(s, body=body))
        else:
            out.append(s)
    return tuple(out)


def _split(loop: For | While | Each, body: Block, written: set[Base] | None, loads: bool = True) -> tuple[list[Stmt], Block]:
    written = set(_written((loop,))) if written is None else written
    inside = {v for s in walk((loop,)) for v in (*defined(s), *inner_defined(s))}
    made = {s.base for s in walk(body) if isinstance(s, Alloc)}
    moved: list[Stmt] = []
    rest: list[Stmt] = []
    for s in body:
        # what comes after a statement that may leave need not be valid before it
        loads = loads and not any(may_leave(x) for r in rest[-1:] for x in walk((r,)))
        pure = (
            isinstance(s, Let)
            or (isinstance(s, Dim) and s.base not in made)
            or (loads and isinstance(s, Load) and s.base not in written)
        )
        if pure and not any(a in inside for a in atoms_of(s)):
            moved.append(s)
            inside.difference_update(defined(s))
        else:
            rest.append(s)
    return moved, tuple(rest)


def _guarded(moved: list[Stmt], count: Atom, var: Var, names: Names, line: int) -> list[Stmt]:
    """Loads (and what depends on them) under a test that the loop runs at all."""

    def may_fail(s: Stmt) -> bool:
        return isinstance(s, Load) and s.base.role != "number"

    if not any(map(may_fail, moved)):
        return moved
    free: list[Stmt] = []
    held: list[Stmt] = []
    bound: set[Var] = set()
    for s in moved:
        if may_fail(s) or any(a in bound for a in atoms_of(s)):
            held.append(s)
            bound.update(defined(s))
        else:
            free.append(s)
    inside = {v: names.var(v.name, v.dt) for s in held for v in defined(s)}
    inner = substitute(tuple(held), lambda a: inside.get(a, a))  # type: ignore[arg-type, call-overload]
    runs = names.var(f"{var.name.split('.')[0]}_runs", "b1")
    phis = tuple((v, inside[v], zero(v.dt)) for v in inside)
    return [*free, Let(runs, "gt", (count, const(0, "i8")), line), If(runs, inner, (), phis, line)]
