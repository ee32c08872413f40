"""Kernels: the functions of a derived module, each an IR function with a fixed order of parameters.

    primal   counters, leaves, captures                                            -> result leaves, kept (written)
    vjp      counters, leaves, captures, nexts, kept, result_bars (used up), leaf_bars (+=, or = if ``covered``), arenas
    both     counters, leaves, captures, result leaves (written), result_bars (used up), leaf_bars (+=), arenas

``leaf_bars`` are those of the active leaves only; an inactive leaf costs nothing.  Result leaves that are ``handed`` on by
the caller (inputs as they stand) are none of a kernel's business: it has no parameters for them nor for their cotangents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from .abreast import abreast
from .carried import carried
from .chains import shorter_chains
from .covering import filled, written_first
from .deadcode import remove_dead, remove_dead_stores
from .entry import Entry
from .fission import split_loops
from .hoist import hoist
from .inlining import inlined
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Dim,
    Each,
    Fn,
    For,
    If,
    Load,
    Stmt,
    Store,
    Var,
    While,
    bases_of,
    free_vars,
    is_float,
    substitute,
    walk,
    written_by,
)  # fmt: skip
from .joining import joined
from .lanes import in_lanes, with_lanes
from .loops import each_to_loops
from .notes import Notes, forgotten, written_down
from .opaque import Opaque
from .outline import reachable
from .promote import promote
from .raising import raise_loops
from .ranges import mark_indices
from .reverse import Adjoint, adjoint
from .rowsums import in_rows
from .scalars import scalarised
from .setting import set_instead
from .split import Calls
from .tangent import Tangent, Tangents

__all__ = ["Kernel", "prepared", "primal_kernel", "tangent_kernel", "tangents_of", "unstored", "vjp_kernel"]


@dataclass(frozen=True)
class Kernel:
    """An IR function and the roles of its parameters."""

    fn: Fn
    inputs: tuple[Base, ...]
    captures: tuple[Base, ...]
    results: tuple[Base | None, ...] = ()  # primal and both: result leaves; None for one that is handed on
    result_bars: tuple[Base | None, ...] = ()  # vjp: None for a leaf that is inert or handed on
    leaf_bars: tuple[Base | None, ...] = ()  # vjp: None for an inactive leaf
    arenas: tuple[Base, ...] = ()
    functions: tuple[Fn, ...] = ()  # that fn calls, what is called first
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the files of helpers; the others are sums
    opaques: tuple[Opaque, ...] = ()  # custom functions that it, they or their rules call
    nexts: tuple[Base, ...] = ()  # vjp: results that it is given, as the primal left them, after the captures
    covered: frozenset[Base] = frozenset()  # leaf bars that it writes everywhere, whatever they hold before


def primal_kernel(
    entry: Entry, level: int = 1, handed: Collection[int] = (), kept: Collection[Base] = (), notes: Notes | None = None
) -> Kernel:
    """The primal, writing its result leaves, but for those at the places ``handed``; and after them arrays of its own that
    its caller ``kept`` memory for, of which the last may be the row of ``notes``."""
    results = tuple(None if k in handed else b for k, (_, b) in enumerate(entry.results))
    rows = {b: replace(b, role="result") for b in kept}
    written = [*(b for b in results if b is not None), *rows.values()]
    body = prepared(entry, level, notes is not None)
    if notes is not None:
        body = written_down(body, notes)
    if rows:
        body = substitute(body, lambda a: a, lambda b: rows.get(b, b))
    body = remove_dead(body, written)
    if level:
        body, _ = split_loops(body, entry.names, entry.fn.name, owner=True)
    body = each_to_loops(body, entry.names)
    if level:
        body = carried(filled(mark_indices(body, set(entry.counters)), entry.names), entry.names)
    params = tuple(p for p in entry.fn.params if p in written or not isinstance(p, Base) or p.role != "result")
    calls = Calls(entry, level)
    return Kernel(
        Fn(entry.fn.name, (*params, *rows.values()), body),
        tuple(b for _, b in entry.leaves),
        tuple(c.base for c in entry.captures),
        results,
        functions=tuple(reachable(body, calls.functions())),
        lines=calls.lines,
        opaques=entry.opaques,
    )


def prepared(entry: Entry, level: int, noted: bool = False) -> Block:
    """The primal body as the reverse pass takes it; what it says is worth keeping is marked only if it is ``noted``."""
    body = entry.fn.body if noted else forgotten(entry.fn.body)
    if not level:
        return each_to_loops(body, entry.names)
    kept = {a for _, b in entry.results for a in entry.dims.get(b, ()) if isinstance(a, Var)}
    body = scalarised(body, entry.names, kept)
    results = [b for _, b in entry.results]
    body = remove_dead(hoist(body, entry.names), results)
    body = raise_loops(mark_indices(body, set(entry.counters)), entry.names)
    body = in_rows(joined(remove_dead(inlined(body, entry.names), results)), entry.names)
    return remove_dead(hoist(body, entry.names), results)


def vjp_kernel(
    entry: Entry,
    active: Collection[str],
    level: int = 1,
    handed: Collection[int] = (),
    lanes: bool = False,
    valued: bool = False,
    fresh: Collection[str] = (),
    nexts: bool = False,
    lasting: Collection[Base] = (),
    noted: bool = False,
) -> Kernel:
    """The adjoint with respect to the leaves whose paths are in ``active``, of the result leaves not at the places
    ``handed``; with ``lanes`` for many cotangents at once, along a first axis of all cotangents.  LanesError if it cannot.

    ``valued``: it gives the results as well, which are numbers: the way there computes them in any case.  (The way back may
    restore arrays to what they were before.)  The cotangents of the leaves at the paths ``fresh`` are zero before: those that
    it can write instead it does, whatever they hold.  With ``nexts`` it may be given results, where that saves it something.
    Arrays of the primal that are ``lasting`` hold what they hold at its end, also where the adjoint does not need all of that.
    If they are ``noted``, numbers that are worth keeping are marked.
    """
    chosen = [b for path, b in entry.leaves if path in active and is_float(b.dt)]
    results = [b for k, (_, b) in enumerate(entry.results) if k not in handed]
    body = prepared(entry, level, noted)
    if handed:
        body = remove_dead(body, results)
    calls = Calls(entry, level)
    adj = adjoint(entry.fn.name, body, entry.names, chosen, results, level, calls, results if nexts else ())
    record, had = _without_results(adj, results) if nexts else (adj.record, ())
    given = [adj.shadows[b] for b in (*results, *chosen) if is_float(b.dt)]
    # memory that the primal gets from its caller and the adjoint must bring itself: results, and shadows of inactive leaves
    owners = {shadow: b for b, shadow in adj.shadows.items()}
    allocated = {s.base for s in walk((*record, *adj.reverse)) if isinstance(s, Alloc)}
    outcome = tuple(results) if valued else ()
    missing = dict.fromkeys(
        b
        for s in walk((*record, *adj.reverse))
        for b in bases_of(s)
        if b not in (*allocated, *outcome, *had) and (b.role == "result" or (b.role == "shadow" and b not in given))
    )
    head: list[Dim | Alloc] = []
    inner: list[Dim | Alloc] = []
    for b in missing:
        (head if b.role == "result" else inner).extend(_alloc_like(entry, b, owners.get(b, b)))
    if lanes and given:
        outer = {b: with_lanes(b, entry.names) for b in given}
        seeds = {b: many for b, many in outer.items() if owners[b] in results}
        wanted = {b: many for b, many in outer.items() if b not in seeds}
        body = in_lanes((*head, *record), adj.reverse, seeds, wanted, tuple(inner), adj.arenas, entry.names)
        given = [*outer.values()]
    else:
        outer = {b: b for b in given}
        body = (*head, *inner, *record, *adj.reverse)
    # other results are read by nobody after an adjoint: a store to one survives only if the adjoint itself loads it
    body = remove_dead(body, (*outcome, *given))
    functions: list[Fn] = []
    covered: frozenset[Base] = frozenset()
    name = f"{entry.fn.name}_value_and_vjp" if valued else f"{entry.fn.name}_vjp"
    if level:
        after = (*outcome, *lasting, *(outer[adj.shadows[b]] for b in chosen))  # nobody looks at what is used up
        body = remove_dead_stores(mark_indices(hoist(body, entry.names, last=True), set(entry.counters)), after)
        body = raise_loops(set_instead(remove_dead(body, (*outcome, *given))), entry.names)
        body, functions = split_loops(body, entry.names, name, owner=True)
        body = mark_indices(promote(body, entry.names), set(entry.counters))
        unset = {adj.shadows[b]: b for path, b in entry.leaves if path in fresh and b in chosen}
        body, covered = written_first(filled(body, entry.names), unset, entry.names)
        body = abreast(shorter_chains(carried(body, entry.names), entry.names))
        functions = [replace(f, body=mark_indices(f.body, set())) for f in functions]
    functions = reachable(body, [*functions, *calls.sums, *calls.functions()])
    leaves = tuple(b for _, b in entry.leaves)
    captures = tuple(c.base for c in entry.captures)
    params: tuple[Var | Base, ...] = (*entry.counters, *leaves, *captures, *had, *outcome, *given, *adj.arenas)
    return Kernel(
        Fn(name, params, body), leaves, captures, outcome,
        result_bars=tuple(outer[adj.shadows[b]] if is_float(b.dt) and b in results else None for _, b in entry.results),
        leaf_bars=tuple(outer[adj.shadows[b]] if b in chosen else None for b in leaves),
        arenas=adj.arenas, functions=tuple(functions), lines=calls.lines, opaques=entry.opaques, nexts=had, covered=covered,
    )  # fmt: skip


def _without_results(adj: Adjoint, results: Collection[Base]) -> tuple[Block, tuple[Base, ...]]:
    """The record without the stores to results that the way back reads and nobody else does, and those results."""
    read = {b for s in walk(adj.reverse) if not isinstance(s, Dim) for b in bases_of(s)}
    written = {b for s in walk(adj.reverse) for b in written_by(s)}
    others = {b for s in walk(adj.record) if not isinstance(s, (Alloc, Store, Load, Dim)) for b in bases_of(s)}
    had = [b for b in results if b.rank and b in read and b not in written and b not in others]
    while True:
        kept = {b for b in (*read, *adj.arenas) if b not in had}
        record = remove_dead(unstored(adj.record, had), kept, free_vars(adj.reverse))
        still = {s.base for s in walk(record) if isinstance(s, Load)}
        if still.isdisjoint(had):
            return record, tuple(had)
        had = [b for b in had if b not in still]


def unstored(block: Block, bases: Collection[Base]) -> Block:
    """A block without what makes some arrays and writes to them."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, (Alloc, Store)) and s.base in bases:
            continue
        if isinstance(s, Each):
            s = replace(s, stores=tuple(x for x in s.stores if x.base not in bases))
        elif isinstance(s, If):
            s = replace(s, then=unstored(s.then, bases), orelse=unstored(s.orelse, bases))
        elif isinstance(s, (For, While)):
            s = replace(s, body=unstored(s.body, bases))
        out.append(s)
    return tuple(out)


def tangents_of(kernel: Kernel, suffix: str = "_dot", lanes: int = 1) -> Tangents:
    """The tangents of a kernel's functions, and of those that rules call; none is made yet."""
    fns = {fn.name: fn for fn in (*(o.fn for o in kernel.opaques), *kernel.functions)}
    return Tangents(fns, suffix, lanes, {o.fn.name: o.tangent for o in kernel.opaques})


def tangent_kernel(kernel: Kernel, module: Tangents, made: Tangent) -> Kernel:
    """A kernel with its tangent for its function, and the tangents of what it calls."""
    dots = [other.fn for other in module.made.values() if other is not made]
    own = {fn.name for fn in kernel.functions}
    others = [o.fn for o in kernel.opaques if o.fn.name not in own]  # which rules call
    functions = reachable(made.fn.body, [*others, *kernel.functions, *dots])
    owners = {d.fn.name: name for (name, _), d in module.found.items()}
    known = {dot.name: kernel.lines.get(owners[dot.name]) for dot in dots}  # (of a sum there are none)
    lines = {**kernel.lines, **{name: text for name, text in known.items() if text is not None}}
    return replace(kernel, fn=made.fn, functions=tuple(functions), lines=lines)


def _alloc_like(entry: Entry, b: Base, owner: Base) -> list[Dim | Alloc]:
    fill = "zero" if b.role == "shadow" else "none"
    if owner in entry.dims:
        return [Alloc(b, entry.dims[owner], fill, 0, "linear" if b.role == "shadow" else "primal")]
    if owner.role == "result":  # a scalar leaf
        from .build import const

        return [Alloc(b, (const(1, "i8"),), fill)]
    dims: list[Atom] = []
    head: list[Dim | Alloc] = []
    for axis in range(owner.rank):
        var = entry.names.var(f"{owner.name}_n{axis}", "i8")
        head.append(Dim(var, owner, axis))
        dims.append(var)
    return [*head, Alloc(b, tuple(dims), fill)]
