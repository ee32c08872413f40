"""Recurrences that the way back need not run again: arrays that a step makes on its way are kept beside the state it starts from.

The adjoint of a step begins with the step itself.  Most of that is arithmetic that overlaps; but in

    for i: w = 1 / (b[i] - a[i] * c[i - 1]);  c[i] = a[i] * w

each division waits for the one before, which takes longer than all the way back.  Where all states are stored there may be
room for ``c``, too: the primal writes it into rows of its driver's, and the adjoint, without the loop, reads it there.

The bits of a gradient do not depend on whether arrays are kept: what is left of the adjoint is statement by statement what it
was, and an array is kept only if all that it is made of is exact arithmetic, in an order that the step says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from .build import const
from .deadcode import remove_dead
from .entry import Entry
from .ir import (
    READ_ONLY,
    Alloc,
    Base,
    Block,
    Call,
    Fn,
    For,
    If,
    Let,
    Load,
    Store,
    Var,
    While,
    bases_of,
    is_float,
    substitute,
    walk,
)  # fmt: skip
from .kernel import Kernel, prepared, unstored
from .notes import Notes, read_back, same_bits, straight
from .outline import reachable
from .scratch import Scratch, scratch_of

__all__ = ["given_kept", "kept_arrays", "kept_memory", "needed_notes", "readable_arrays"]

_WAITING = frozenset(["div", "sqrt"])  # what takes some fifteen cycles, where the next one waits for it


def kept_arrays(entry: Entry, kernel: Kernel) -> tuple[Base, ...]:
    """The arrays that spare the adjoint ``kernel`` of a step all recurrences of divisions that it can be spared; no others.

    They may be kept if the adjoint in which they are lasting says the same: else they may be overwritten at the end.
    """
    before = _recurrences(kernel.fn.body)
    if not before:
        return ()
    found = readable_arrays(entry, kernel)
    least = _recurrences(_without(kernel, found))
    if least == before:
        return ()
    for b in tuple(found):
        fewer = _readable(kernel, [x for x in found if x != b])
        if _recurrences(_without(kernel, fewer)) == least:
            found = fewer
    return tuple(found) if _exact(remove_dead(prepared(entry, 1), found)) else ()


def readable_arrays(entry: Entry, kernel: Kernel) -> list[Base]:
    """The arrays that the adjoint ``kernel`` of a step could be given instead of making them, if they are lasting in it."""
    made = {s.base for s in entry.fn.body if isinstance(s, Alloc)}
    own = [s.base for s in kernel.fn.body if isinstance(s, Alloc) and s.base in made and s.base.role == "local"]
    known = set(kept_memory(entry, own).bases)
    return _readable(kernel, [b for b in own if b in known])


def kept_memory(entry: Entry, kept: Collection[Base], notes: Notes | None = None) -> Scratch:
    """How long these arrays are, and the row of ``notes`` behind them; those whose lengths do not follow from the shapes of the
    inputs alone are left out."""
    allocs = [s for s in entry.fn.body if isinstance(s, Alloc) and s.base in kept]
    if notes is not None:
        kept = [*kept, notes.row]
        allocs.append(Alloc(notes.row, (const(notes.many, "i8"),), "none"))
    others = [s for s in entry.fn.body if not any(isinstance(x, (Alloc, For, While)) for x in walk((s,)))]
    helpers = [x.fn for x in (*entry.opaques, *entry.helpers)]
    params = tuple(p for p in entry.fn.params if p not in kept)
    found = scratch_of(Fn(entry.fn.name, params, (*others, *allocs)), (), helpers)
    assert {*found.bases} <= {*kept}, "what nobody looked through is kept"
    return found


def needed_notes(entry: Entry, kernel: Kernel, notes: Notes | None) -> Notes | None:
    """Those of the notes that the primal of a step would write and its adjoint ``kernel`` read; None if there are none."""
    if notes is None:
        return None
    written = {s.var for s in straight(prepared(entry, 1, noted=True)) if isinstance(s, Let)}
    body = _without(kernel, (), notes)
    read = {s.var for s in walk(body) if isinstance(s, Load) and s.base == notes.row and s.var in written}
    return notes._replace(places={v: k for v, k in notes.places.items() if v in read}) if read else None


def given_kept(kernel: Kernel, kept: Collection[Base], notes: Notes | None = None) -> Kernel:
    """The adjoint that is given these arrays, after what it is given of the next state; the last of them may be the row of
    ``notes``."""
    rows = {b: replace(b, role="result") for b in kept}
    body = substitute(_without(kernel, kept, notes), lambda a: a, lambda b: rows.get(b, b))
    first = len(kernel.fn.params) - len(kernel.arenas) - sum(b is not None for b in (*kernel.result_bars, *kernel.leaf_bars))
    params = (*kernel.fn.params[:first], *rows.values(), *kernel.fn.params[first:])
    functions = tuple(reachable(body, kernel.functions))
    return replace(kernel, fn=replace(kernel.fn, params=params, body=body), functions=functions)


def _without(kernel: Kernel, kept: Collection[Base], notes: Notes | None = None) -> Block:
    """What is left of a kernel that does not make these arrays, nor compute what it finds in ``notes``."""
    seen = [p for p in kernel.fn.params if isinstance(p, Base) and p.role not in READ_ONLY]
    body = unstored(kernel.fn.body, kept)
    return remove_dead(body if notes is None else read_back(body, notes), seen, kernel.fn.results)


def _readable(kernel: Kernel, arrays: Iterable[Base]) -> list[Base]:
    """Those that a kernel which does not make them only reads, and not before the last of what it leaves out."""
    found = list(arrays)
    while True:
        last = {b: k for k, s in enumerate(kernel.fn.body) for x in walk((s,)) if isinstance(x, Store) for b in (x.base,)}
        place: dict[int, int] = {}
        for k, s in enumerate(kernel.fn.body):
            for x in walk((s,)):
                place.setdefault(id(x), k)
        left = [s for s in walk(_without(kernel, found)) if any(b in found for b in bases_of(s))]
        bad = {b for s in left for b in bases_of(s) if not isinstance(s, Load) or place.get(id(s), -1) <= last.get(b, -1)}
        used = {b for s in left for b in bases_of(s)}
        good = [b for b in found if b in used and b not in bad]
        if good == found:
            return found
        found = good


def _recurrences(block: Block) -> int:
    """How many loops have divisions or square roots that wait for an iteration before."""
    return sum(isinstance(s, For) and _waits(s) for s in walk(block))


def _waits(loop: For) -> bool:
    """Whether a division rests on what the loop carries, or reads where it writes."""
    written = {s.base for s in walk(loop.body) if isinstance(s, Store)}
    late: set[Var] = {v for v, _ in loop.carries if is_float(v.dt)}
    size = -1
    while size != len(late):
        size = len(late)
        for s in straight(loop.body):
            if isinstance(s, Load) and s.base in written:
                late.add(s.var)
            elif isinstance(s, Let) and any(a in late for a in s.args) and is_float(s.var.dt):
                late.add(s.var)
                if s.op in _WAITING:
                    return True
            elif isinstance(s, If):
                late.update(v for v, *values in s.phis if any(a in late for a in values))
    return False


def _exact(block: Block) -> bool:
    """Whether a block gives the same bits wherever it is compiled, in loops, too; it calls nothing."""
    return same_bits(block, loop=True) and not any(isinstance(s, Call) for s in walk(block))
