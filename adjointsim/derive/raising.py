"""Loops that are an :class:`.Each`: raised by proof, so that no later pass has to prove again that iterations are independent.

A counted loop is an Each if every iteration reads nothing that another one writes and no two write one cell:

* it carries nothing but sums ``s + x`` and ``s - x``, has no early exit, and its body holds only arithmetic, loads, branches
  without effects, and stores at its own level;
* memory that it sets is accessed under one index, which differs in every iteration (and cannot be negative: i and i + n may
  be one cell); so is memory that it both adds to and reads;
* memory that it only adds to may be added to anywhere, since additions commute; in primal code, where the order of rounding
  is the user's, only ascending loops are raised, and they run in that order.

Whatever is not listed stays a loop: correct, and slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .build import Names, const
from .ir import (
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
    Store,
    Var,
    While,
    atoms_of,
    defined,
    is_float,
    walk,
)  # fmt: skip

__all__ = ["independent", "raise_loops"]

Sums = tuple[tuple[Var, Atom, tuple[Atom, ...]], ...]


def raise_loops(block: Block, names: Names, lets: dict[Var, Let] | None = None) -> Block:
    """Replace every loop that is proved to be an Each, from the innermost outwards."""
    lets = {} if lets is None else lets
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, Let):
            lets[s.var] = s
        if isinstance(s, If):
            out.append(replace(s, then=raise_loops(s.then, names, lets), orelse=raise_loops(s.orelse, names, lets)))
        elif isinstance(s, For):
            s = replace(s, body=raise_loops(s.body, names, lets))
            out.append(_raised(s, names, lets) or s)
        elif isinstance(s, While):
            out.append(replace(s, body=raise_loops(s.body, names, lets)))
        else:
            out.append(s)
    return tuple(out)


def _raised(s: For, names: Names, lets: dict[Var, Let]) -> Each | None:
    if s.stop is not None or s.trips is not None:
        return None
    if s.body and isinstance(s.body[-1], Each):
        return _around(s, s.body[-1], lets)
    if not all(isinstance(st, Store) or _pure(st) for st in s.body):
        return None
    lo = _first(s, lets)
    found = _sums(s, names)
    if lo is None or found is None or not _ordered(s.body) or not independent(s.body, [s.var]):
        return None
    sums, chain, negative = found
    stores = tuple(st for st in s.body if isinstance(st, Store))
    body = tuple(st for st in s.body if not isinstance(st, Store) and not (isinstance(st, Let) and st.var in chain))
    return Each(((s.var, lo, s.count),), (*body, *negative), stores, "any", sums, s.line, s.part)


def _around(s: For, each: Each, lets: dict[Var, Let]) -> Each | None:
    """A loop around an Each as an Each with one axis more: its bounds are the same in every iteration, and nothing is loaded
    between the two loops (that would be loaded anew for each index)."""
    body, stores = (*s.body[:-1], *each.body), each.stores
    lo, carried = _first(s, lets), dict(s.carries)
    bound = {v for st in s.body for v in defined(st)} | {s.var, *carried}
    if lo is None or each.order != "any" or each.part != s.part or not all(isinstance(st, (Let, Dim)) for st in s.body[:-1]):
        return None
    if any(a in bound for _, first, count in each.axes for a in (first, count)):
        return None
    totals = tuple(v for v, _, _ in each.sums)
    if tuple(s.yields) != totals or tuple(carried) != tuple(init for _, init, _ in each.sums):
        return None  # it carries something that is no sum
    used = {a for st in walk((*body, *stores)) for a in atoms_of(st)} | {a for _, _, terms in each.sums for a in terms}
    if used & {*carried, *totals} or not independent((*body, *stores), [s.var, *(v for v, _, _ in each.axes)]):
        return None
    sums = tuple((r, carried[init], terms) for r, (_, init, terms) in zip(s.results, each.sums, strict=True))  # type: ignore[index]
    return Each(((s.var, lo, s.count), *each.axes), body, stores, "any", sums, s.line, s.part)


def _pure(s: Stmt) -> bool:
    if isinstance(s, If):
        return all(_pure(inner) for block in (s.then, s.orelse) for inner in block)
    return isinstance(s, (Let, Dim, Load))


def _first(s: For, lets: dict[Var, Let]) -> Atom | None:
    """The least index; None if the order of iterations matters, or the index is not seen to take every value from there."""
    step = s.step.value if isinstance(s.step, Const) else None
    if step == 1:
        return s.lo
    if step != -1 or s.part != "linear":
        return None
    # downwards from lo = first + (count - 1), as the loops of the way back run
    if isinstance(s.lo, Const) and isinstance(s.count, Const):
        return const(s.lo.value - s.count.value + 1, "i8")  # type: ignore[operator]
    made = lets.get(s.lo) if isinstance(s.lo, Var) else None
    if made is not None and made.op == "add":
        for a, b in (made.args, made.args[::-1]):
            if _one_less(b, s.count, lets):
                return a
    return const(0, "i8") if _one_less(s.lo, s.count, lets) else None


def _one_less(a: Atom, count: Atom, lets: dict[Var, Let]) -> bool:
    if isinstance(a, Const) and isinstance(count, Const):
        return a.value == count.value - 1  # type: ignore[operator]
    made = lets.get(a) if isinstance(a, Var) else None
    return made is not None and made.op == "sub" and made.args == (count, const(1, "i8"))


def _ordered(body: Block) -> bool:
    """Whether no memory is loaded after it was stored to in the same iteration."""
    stored: set[Base] = set()
    for s in body:
        if any(isinstance(x, Load) and x.base in stored for x in walk((s,))):
            return False
        if isinstance(s, Store):
            stored.add(s.base)
    return True


def independent(body: Block, axes: Sequence[Var]) -> bool:
    """Whether no iteration reads or sets what another one sets; only stores at the level of the body itself are looked at."""
    inner = {v for st in walk(body) for v in defined(st)}
    stores: dict[Base, list[Store]] = {}
    for st in body:
        if isinstance(st, Store):
            stores.setdefault(st.base, []).append(st)
    loads = [st for st in walk(body) if isinstance(st, Load)]
    for base, group in stores.items():
        reads = [x for x in loads if x.base == base]
        if not reads and all(st.mode == "add" for st in group):
            continue
        index = group[0].index
        if any(x.index != index or x.wrap != "never" for x in (*group, *reads)) or not _injective(index, body, axes, inner):
            return False
    return True


def _injective(index: tuple[Atom, ...], body: Block, axes: Sequence[Var], inner: set[Var]) -> bool:
    """Whether an index differs between any two iterations: each of the loops' own indices is an axis of it, shifted perhaps,
    and its other axes do not vary."""
    shift = {st.var: st for st in body if isinstance(st, Let) and st.op in ("add", "sub")}
    varying = {*inner, *axes}

    def mover(a: Atom) -> Atom | None:
        if a in axes:
            return a
        made = shift.get(a) if isinstance(a, Var) else None
        return made.args[0] if made is not None and made.args[0] in axes and made.args[1] not in varying else None

    moved = [mover(a) for a in index]
    return set(axes) <= set(moved) and all(m is not None or a not in inner for m, a in zip(moved, index, strict=True))


def _sums(s: For, names: Names) -> tuple[Sums, set[Var], list[Let]] | None:
    """The carries as sums, with the chains of additions that made them, and the negatives of what is subtracted; None if anything
    else is carried."""
    made = {st.var: st for st in s.body if isinstance(st, Let)}
    uses = [*(a for st in walk(s.body) for a in atoms_of(st)), *s.yields]
    found: list[tuple[Var, Atom, tuple[Atom, ...]]] = []
    chain: set[Var] = set()
    negative: list[Let] = []
    for (v, init), y, r in zip(s.carries, s.yields, s.results, strict=True):
        last = made.get(y) if isinstance(y, Var) else None
        if last is None or not is_float(v.dt):
            return None
        terms: list[Atom] = []  # v + a - b + ..: a chain of additions that starts at the carried sum
        while True:
            if last.op not in ("add", "sub") or last.var.dt != v.dt or uses.count(last.var) != 1:
                return None
            left, right = last.args
            chain.add(last.var)
            if last.op == "add" and right == v:
                left, right = right, left
            if last.op == "sub":
                if right == v or right.dt != v.dt:
                    return None
                negative.append(Let(names.var("t", v.dt), "neg", (right,), last.line, last.part))
                right = negative[-1].var
            terms.append(right)
            if left == v:
                break
            before = made.get(left) if isinstance(left, Var) else None
            if before is None:
                return None
            last = before
        if uses.count(v) != 1 or any(t.dt != v.dt for t in terms):
            return None
        found.append((r, init, tuple(reversed(terms))))
    return tuple(found), chain, negative
