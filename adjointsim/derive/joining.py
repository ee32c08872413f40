"""Loops that read what takes long to compute become one loop with what computes it, and the array in between is none.

    for i, j: f[i, j] = g(i, j);  for i, j: a[i] += f[i, j];  for i, j: b[j] += f[i, j] * c[i, j]

becomes one loop over i and j, in which f is a number.  (What takes little is computed where it is read, see :mod:`.inlining`.)
The loops run over the same indices, read the array under these alone, and have nothing else in common that one of them writes;
what stands between them runs before or after all of them, as far as that changes nothing.  The same operations are done in the
same order, so that the bits are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .inlining import fills, once, reads_simply
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Dim,
    Each,
    For,
    If,
    Let,
    Load,
    Raise,
    Stmt,
    Store,
    Var,
    While,
    atoms_of,
    bases_of,
    defined,
    may_leave,
    substitute,
    touches,
    walk,
    written_by,
)

__all__ = ["joined"]


def joined(block: Block) -> Block:
    """The block with arrays that several loops read as numbers of one loop."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=joined(s.then), orelse=joined(s.orelse))
        elif isinstance(s, (For, While)):
            s = replace(s, body=joined(s.body))
        out.append(s)
    for alloc in [s for s in out if isinstance(s, Alloc) and s.base.role == "local"]:
        out = _without(out, alloc)
    return tuple(out)


def _without(block: list[Stmt], alloc: Alloc) -> list[Stmt]:
    """The block without the stores to memory and the loads from it, if these can be dispensed with."""
    base = alloc.base
    places = [k for k, s in enumerate(block) if s is not alloc and touches(s, base)]
    if len(places) < 2:
        return block
    source, *readers = (block[k] for k in places)
    if not isinstance(source, Each) or not fills(source, alloc):
        return block
    if not all(isinstance(s, Each) and s.order == "any" and reads_simply(s, base) for s in readers):
        return block
    arranged = _arranged(block, places)
    if arranged is None:
        return block
    before, after = arranged
    equal = _equal(before)
    one = replace(source, stores=tuple(st for st in source.stores if st.base != base))
    value = next(st for st in source.stores if st.base == base)
    for s in readers:
        more = _with(one, s, value, equal)  # type: ignore[arg-type]
        if more is None:
            return block
        one = more
    return [*before, one, *after]


# -------------------------------------------------------------------------------------------------------------- together
def _with(one: Each, s: Each, value: Store, equal: dict[Atom, Atom]) -> Each | None:
    """The Each that does what a second one does, too, where ``value`` is stored; None if that is not known to be the same."""
    own = [v for v, _, _ in one.axes]
    if len(s.axes) != len(own):
        return None
    for (_, lo, n), (_, its_lo, its_n) in zip(one.axes, s.axes, strict=True):
        if lo != its_lo or equal.get(n, n) != equal.get(its_n, its_n):
            return None
    now: dict[Atom, Atom] = {v: mine for (v, _, _), mine in zip(s.axes, own, strict=True)}
    if any(tuple(now[a] for a in x.index) != value.index for x in s.body if isinstance(x, Load) and x.base == value.base):
        return None
    totals = {v for v, _, _ in one.sums}
    if _meet(one, s) - {value.base} or any(a in totals for x in walk((s,)) for a in atoms_of(x)):
        return None
    now.update((x.var, value.value) for x in s.body if isinstance(x, Load) and x.base == value.base)
    rest = (x for x in s.body if not (isinstance(x, Load) and x.base == value.base))
    body, same = once((*one.body, *substitute(tuple(rest), lambda a: now.get(a, a))))

    def get(a: Atom) -> Atom:
        a = now.get(a, a)
        return same.get(a, a)

    stores = substitute((*one.stores, *s.stores), get)
    sums = tuple((v, init, tuple(map(get, terms))) for v, init, terms in (*one.sums, *s.sums))
    return replace(one, body=body, stores=stores, sums=sums)  # type: ignore[arg-type]


def _meet(one: Stmt, two: Stmt) -> set[Base]:
    """The memory that both use and at least one of them writes."""
    used = [{b for x in walk((s,)) for b in bases_of(x)} for s in (one, two)]
    written = [{b for x in walk((s,)) for b in written_by(x)} for s in (one, two)]
    return (written[0] & used[1]) | (used[0] & written[1])


# -------------------------------------------------------------------------------------------------------------- the order
def _arranged(block: Sequence[Stmt], places: Sequence[int]) -> tuple[list[Stmt], list[Stmt]] | None:
    """What can run before all the statements at some places, and what after them; None if something must run in between."""
    before, after = list(block[: places[0]]), []
    moved: list[Stmt] = []  # that now run after what used to be later
    for k in range(places[0], places[-1] + 1):
        s = block[k]
        if k in places:
            if any(_in_order(x, s) for x in after):
                return None
            moved.append(s)
        elif any(_in_order(x, s) for x in moved):
            after.append(s)
            moved.append(s)
        else:
            before.append(s)
    return before, [*after, *block[places[-1] + 1 :]]


def _in_order(first: Stmt, second: Stmt) -> bool:
    """Whether a statement that runs after another one must."""
    stmts = [tuple(walk((s,))) for s in (first, second)]
    if not all(isinstance(x, (Let, Dim, Load, Store, Alloc, Each, If, Raise)) for part in stmts for x in part):
        return True
    made = {v for x in stmts[0] for v in defined(x)}
    if any(a in made for x in stmts[1] for a in atoms_of(x)) or _meet(first, second):
        return True
    leaves = [any(map(may_leave, part)) for part in stmts]
    if leaves[0]:  # and then the second is none of those that would run
        return not isinstance(second, (Let, Dim))
    # who leaves sooner has not written what nobody looks at then
    return leaves[1] and any(b.role not in ("local", "result") for x in stmts[0] for b in written_by(x))


def _equal(block: Sequence[Stmt]) -> dict[Atom, Atom]:
    """Lengths that are the same, or else the function is left; what stands for all of them."""
    tests = {s.var: s.args for s in block if isinstance(s, Let) and s.op == "ne" and all(a.dt == "i8" for a in s.args)}
    found: dict[Atom, Atom] = {}

    def first(a: Atom) -> Atom:
        while a in found:
            a = found[a]
        return a

    for s in block:
        if isinstance(s, If) and isinstance(s.test, Var) and s.test in tests and any(isinstance(x, Raise) for x in s.then):
            a, b = map(first, tests[s.test])
            if a != b:
                found[b] = a
    return {a: first(a) for a in found}
