"""From ``Each`` to loops: the last step before a program runs, and before the reverse pass for what it cannot keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .build import Builder, Names, apart
from .ir import (
    ONE,
    Alloc,
    Atom,
    Base,
    Block,
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
    substitute,
    walk,
)  # fmt: skip

__all__ = ["each_to_loops", "nest", "overlaps"]


def each_to_loops(block: Block, names: Names, chosen: Callable[[Each], bool] = lambda s: True) -> Block:
    """Replace every ``chosen`` Each by a nest of counted loops, ascending: the same values, bit for bit."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, Each) and chosen(s):
            out += nest(s, names)
        elif isinstance(s, If):
            out.append(replace(s, then=each_to_loops(s.then, names, chosen), orelse=each_to_loops(s.orelse, names, chosen)))
        elif isinstance(s, (For, While)):
            out.append(replace(s, body=each_to_loops(s.body, names, chosen)))
        else:
            out.append(s)
    return tuple(out)


def nest(s: Each, names: Names, innermost: Callable[[Each], list[Stmt]] | None = None, most: int = 1) -> list[Stmt]:
    """An Each as loops; ``innermost`` makes statements of an Each of one axis, or at ``most`` so many, by default a single
    loop."""
    innermost = innermost or (lambda each: [_loop(each, (*each.body, *each.stores), names)])
    return [*_apart(s, names, innermost, most)] if overlaps(s) else _nest(interchanged(s), names, innermost, most)


def interchanged(s: Each) -> Each:
    """An Each with the axis innermost along which most memory is contiguous; the others stay in their order.

    Primal sums, and primal additions to one cell, are added in the same order as before: that is the user's.
    """
    axes = [v for v, _, _ in s.axes]
    if len(axes) < 2 or s.order != "any" or (s.part != "linear" and s.sums):
        return s
    movers = _movers(s)
    accesses = [x for x in (*walk(s.body), *s.stores) if isinstance(x, (Load, Store))]
    moved = [[movers(a) for a in x.index] for x in accesses]

    def cost(axis: Var) -> int:
        return sum(0 if not any(axis in a for a in m) else -1 if not any(axis in a for a in m[:-1]) else 4 for m in moved)

    adds = [st for st in s.stores if st.mode == "add"]
    indices = {st.base: st.index for st in adds}
    alone = all(st.index == indices[st.base] for st in adds)  # else two of them may meet in a cell, in other iterations

    def kept(axis: Var) -> bool:
        """Whether the iterations that add to one cell keep their order: along all axes but one they are the same, or along
        this one."""
        own = [{a for a in st.index if a in axes} for st in adds]
        return s.part == "linear" or (alone and all(axis in used or len(used) == len(axes) - 1 for used in own))

    best = min(reversed(axes), key=cost)
    if cost(best) >= cost(axes[-1]) or not kept(best):
        return s
    ranges = {axis[0]: axis for axis in s.axes}
    return replace(s, axes=(*(ranges[v] for v in axes if v != best), ranges[best]))


def _movers(s: Each) -> Callable[[Atom], set[Var]]:
    """What tells the axes of an Each that a value depends on."""
    axes = {v for v, _, _ in s.axes}
    made = {v: x for x in walk(s.body) for v in defined(x)}
    found: dict[Atom, set[Var]] = {v: {v} for v in axes}

    def movers(a: Atom) -> set[Var]:
        if a not in found:
            x = made.get(a) if isinstance(a, Var) else None
            found[a] = set().union(*map(movers, x.args)) if isinstance(x, Let) else axes if x is not None else set()
        return found[a]

    return movers


def _nest(s: Each, names: Names, innermost: Callable[[Each], list[Stmt]], most: int) -> list[Stmt]:
    if len(s.axes) <= most:
        return innermost(s)
    inner_sums = tuple((names.var(v.name, v.dt), names.var(v.name, v.dt), terms) for v, _, terms in s.sums)
    inner = _nest(replace(s, axes=s.axes[1:], sums=inner_sums), names, innermost, most)
    carries = tuple((c, init) for (_, c, _), (_, init, _) in zip(inner_sums, s.sums, strict=True))
    (var, lo, count), results = s.axes[0], tuple(v for v, _, _ in s.sums)
    yields = tuple(r for r, _, _ in inner_sums)
    return [For(var, lo, count, ONE, carries, tuple(inner), yields, results, None, None, s.line, s.part)]  # type: ignore[arg-type]


def _loop(s: Each, body: Block, names: Names) -> For:
    """The loop of an Each of one axis, its sums carried."""
    carries: list[tuple[Var, Atom]] = []
    yields: list[Atom] = []
    for v, init, terms in s.sums:
        total: Atom = names.var(v.name, v.dt)
        carries.append((total, init))  # type: ignore[arg-type]
        for term in terms:
            more = names.var(v.name, v.dt)
            body = (*body, Let(more, "add", (total, term), s.line, s.part))
            total = more
        yields.append(total)
    ((var, lo, count),) = s.axes
    results = tuple(v for v, _, _ in s.sums)
    return For(var, lo, count, ONE, tuple(carries), body, tuple(yields), results, None, None, s.line, s.part)


# All is read before anything is written: a nest does that as long as no cell is written before it is read, which holds where
# nothing that it writes is read under another index.  What is, waits in memory of its own.
def overlaps(s: Each) -> bool:
    written: dict[object, set[tuple[Atom, ...]]] = {}
    for st in s.stores:
        written.setdefault(st.base, set()).add(st.index)
    loads = [x for x in walk(s.body) if isinstance(x, Load)]
    if s.order == "seq":  # one index may occur in several iterations
        return any(x.base in written for x in loads)
    return any(other != x.index and not apart(other, x.index) for x in loads for other in written.get(x.base, ()))


def _apart(s: Each, names: Names, innermost: Callable[[Each], list[Stmt]], most: int) -> list[Stmt]:
    """Two nests: one that computes, one that stores what waited.  Indices are computed in both, but for those that are read
    from what is stored to: they wait, too."""
    read = {x.base for x in walk(s.body) if isinstance(x, Load)}
    changed = _read_from(s.body, {st.base for st in s.stores} & read)
    b = Builder(names, s.part, number=False)
    b.line = s.line
    place = [b.op("sub", v, lo) for v, lo, _ in s.axes]
    moves, b.scopes[0].stmts = tuple(b.stmts), []
    stores: list[Store] = []
    late: list[Stmt] = []

    def hold(a: Atom) -> Var:
        held = Base(names.fresh("held"), a.dt, len(s.axes), "local")
        b.add(Alloc(held, tuple(count for _, _, count in s.axes), "none", s.line, s.part))
        stores.append(Store(held, tuple(place), a, "set", "never", s.line, s.part))
        value = names.var("held", a.dt)
        late.append(Load(value, held, tuple(place), "never", s.line, s.part))
        return value

    for st in s.stores:
        if st.base not in read:
            stores.append(st)
            continue
        value = hold(st.value)
        late.append(replace(st, value=value, index=tuple(hold(a) if a in changed else a for a in st.index)))
    compute = replace(s, body=(*s.body, *moves), stores=tuple(stores))
    again = (*s.body, *moves, *late)
    fresh: dict[Atom, Atom] = {v: names.var(v.name, v.dt) for x in walk(again) for v in defined(x)}
    fresh.update((v, names.var(v.name, v.dt)) for v, _, _ in s.axes)
    again = substitute(again, lambda a: fresh.get(a, a))
    axes = tuple((fresh[v], lo, count) for v, lo, count in s.axes)
    body = tuple(x for x in again if not isinstance(x, Store))
    store = replace(s, axes=axes, body=body, stores=tuple(x for x in again if isinstance(x, Store)), sums=())  # type: ignore[arg-type]
    return [*b.stmts, *_nest(compute, names, innermost, most), *_nest(store, names, innermost, most)]


def _read_from(body: Block, bases: set[Base]) -> set[Atom]:
    """What the body of an Each computes from what it reads of some memory."""
    found: set[Atom] = set()
    size = -1
    while size != len(found):  # (what branches hand on stands before what is in them)
        size = len(found)
        for x in walk(body):
            if (isinstance(x, Load) and x.base in bases) or not found.isdisjoint(atoms_of(x)):
                found.update(defined(x))
    return found
