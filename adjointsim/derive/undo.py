"""Memory that runs backwards: a store keeps what it overwrites, and its reverse puts that back.

What a loop reads and somebody overwrites later is recorded at each *read*.  Where there are more reads than writes it is less
to record what each *write* overwrites (store-on-kill, Hascoet and Pascual, The Tapenade automatic differentiation tool, ACM
TOMS 39 (2013), section 4.1): when the way back comes to an iteration, memory is what it was at its end, or, where the stores
of its own are undone first, at its start; so that loads can be made again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from .analysis import Layout
from .dependence import apart
from .ir import Atom, Base, Call, Const, Dim, Each, For, Foreign, Load, Stmt, Store, While, bases_of, is_float, walk, written_by

__all__ = ["Undone", "worth_undoing"]

_ITERATIONS = 32  #: of a loop whose length is not known, to weigh reads against writes


class Undone:
    """The stores to some bases that are undone on the way back: all those that come later than a read in a loop."""

    def __init__(self, layout: Layout, bases: Iterable[Base]) -> None:
        self.layout = layout
        self.stores: dict[int, Store] = {}
        for base in bases:
            kills = self.kills(base, [s for s in layout.readers.get(base, ()) if layout.place[id(s)].loops])
            if kills is not None:
                self.stores.update((id(s), s) for s in kills)

    @property
    def bases(self) -> set[Base]:
        return {s.base for s in self.stores.values()}

    def kills(self, base: Base, loads: Iterable[Stmt]) -> list[Store] | None:
        """The writes that come later than some load; None if one of them cannot be undone."""
        later = {id(s): s for load in loads for s, _ in self.layout.later(load, self.layout.kills.get(base, ()))}
        if not all(isinstance(s, Store) and k in self.layout.direct for k, s in later.items()):
            return None
        return [*later.values()]  # type: ignore[list-item]

    def first(self, loop: For | While, base: Base) -> bool:
        """Whether the stores of an iteration of a loop are undone at the start of its way back, before anything is loaded: no
        inner loop and no function that it calls has to do with the base, and it is not run again."""
        inner = (x for s in walk(loop.body) if isinstance(s, (For, While, Each, Call, Foreign)) for x in walk((s,)))
        if id(loop) in self.layout.rerun or any(base in bases_of(x) and not isinstance(x, Dim) for x in inner):
            return False
        own = {id(s) for s in loop.body}
        return all(id(s) in own and id(s) in self.stores for s in walk(loop.body) if base in written_by(s))

    def back(self, load: Load) -> bool:
        """Whether a load in a loop gives the same at the start of the way back of its iteration."""
        layout, base = self.layout, load.base
        kills = layout.kills.get(base, ())
        if id(load) not in layout.place or not any(id(s) in self.stores for s in kills):
            return False
        depth = layout.depth(load, base)
        if not depth and base in layout.volatile:
            return False
        loop = layout.loops[layout.owner[load.var]]  # type: ignore[index]
        assert isinstance(loop, (For, While))
        for s, shared in layout.later(load, kills, depth):
            if id(s) not in self.stores and not (isinstance(s, Store) and apart(layout, load, s, shared)):
                return False
        if self.first(loop, base):
            return not self.unmade(load)
        here = layout.place[id(load)]
        after = (s for s in walk(loop.body) if base in written_by(s) and layout.place[id(s)].order > here.order)
        return all(isinstance(s, Store) and apart(layout, load, s, len(here.loops)) for s in after)

    def unmade(self, load: Load) -> bool:
        """Whether a load may read what a store of its own iteration wrote that is undone before anything is loaded."""
        layout, base = self.layout, load.base
        loop = layout.loops.get(layout.owner.get(load.var))  # type: ignore[arg-type]
        if not self.stores or not isinstance(loop, (For, While)) or not self.first(loop, base):
            return False
        here = layout.place[id(load)]
        before = (s for s in walk(loop.body) if base in written_by(s) and layout.place[id(s)].order < here.order)
        return not all(isinstance(s, Store) and apart(layout, s, load, len(here.loops)) for s in before)


def worth_undoing(layout: Layout, recorded: Iterable[Load]) -> list[Base]:
    """The bases of which less is overwritten than read and recorded."""
    loads: dict[Base, list[Load]] = {}
    for load in recorded:
        if is_float(load.base.dt):
            loads.setdefault(load.base, []).append(load)
    chosen = []
    for base, group in loads.items():
        undone = Undone(layout, [base])
        kills = undone.kills(base, group)
        saved = sum(_weight(layout, s) for s in group if undone.back(s))
        if kills and saved > sum(_weight(layout, s) for s in kills):
            chosen.append(base)
    return chosen


def _weight(layout: Layout, s: Stmt) -> int:
    """About how many times a statement runs."""
    return prod(_length(a) for loop in layout.place[id(s)].loops for a in _counts(layout.loops[loop]))


def _counts(loop: Stmt) -> list[Atom | None]:
    if isinstance(loop, Each):
        return [count for _, _, count in loop.axes]
    return [loop.count if isinstance(loop, For) else None]


def _length(count: Atom | None) -> int:
    return int(count.value) if isinstance(count, Const) else _ITERATIONS  # type: ignore[arg-type]
