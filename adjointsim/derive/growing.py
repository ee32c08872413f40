"""Lists that grow: memory with room for all that is appended, and the length so far.

Room is made where the list is, for what is appended outside of loops, and before each loop that appends, for as many rounds as
it may have: so that number must be known there.  An ``append`` is lowered only where room was made for it.  A list has one
name: another one that is still read would not see it grow.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .aliases import Aliases
from .build import const
from .ir import ONE, ZERO, Atom, Base, is_float
from .liveness import assigned
from .values import Axis, Listed, Ref, Value

__all__ = ["Growing", "Room"]

#: what may be called to say what a loop runs over, where that is asked for before the loop
_COUNTED = ("range", "enumerate", "zip", "reversed", "len")


@dataclass(frozen=True)
class Room:
    """What a list's memory has room for."""

    appends: frozenset[ast.stmt]
    near: int  # how many of them are in no loop but those around the list
    depth: int  # the number of loops open where the list was made
    floats: bool  # it began empty, so that nothing says what it holds


def appended(s: ast.stmt) -> str | None:
    """The name in ``name.append(...)``."""
    call = s.value if isinstance(s, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "append":
        return call.func.value.id if isinstance(call.func.value, ast.Name) else None
    return None


def _appends(body: Sequence[ast.stmt], name: str, loop: ast.stmt | None = None) -> Iterator[tuple[ast.stmt, ast.stmt | None]]:
    """Statements that append to a list, each with the innermost loop around it."""
    for s in body:
        if appended(s) == name:
            yield s, loop
        if isinstance(s, ast.If):
            yield from _appends([*s.body, *s.orelse], name, loop)
        elif isinstance(s, (ast.For, ast.While)):
            yield from _appends(s.body, name, s)


def _around(body: Sequence[ast.stmt], wanted: ast.stmt, loop: ast.stmt | None = None) -> Iterator[ast.stmt | None]:
    """The innermost loop around a statement."""
    for s in body:
        if s is wanted:
            yield loop
        if isinstance(s, ast.If):
            yield from _around([*s.body, *s.orelse], wanted, loop)
        elif isinstance(s, (ast.For, ast.While)):
            yield from _around(s.body, wanted, s)


class Growing(Aliases):
    """Statements that make lists grow."""

    def new_list(self, s: ast.Assign) -> Value | None:
        """The list that an assignment makes, if it grows afterwards."""
        target = s.targets[0]
        if len(s.targets) != 1 or not isinstance(target, ast.Name) or not isinstance(s.value, (ast.List, ast.ListComp)):
            return None
        body = self.frame.source.body
        appends = dict(_appends(body, target.id))
        if not appends:
            return None
        loop = next(_around(body, s))
        near = frozenset(x for x, around in appends.items() if around is loop)
        empty = isinstance(s.value, ast.List) and not s.value.elts
        start = None if empty else self.list_of(s.value, target.id)
        assert start is None or isinstance(start, Listed)
        room = Room(near, len(near), len(self.inner), empty)
        return self._with_room(target.id, None if start is None else start.ref, const(len(near), "i8"), room)

    def _with_room(self, name: str, start: Ref | None, more: Atom, room: Room) -> Listed:
        """A list that begins with the elements of another one, and may have more."""
        n = ZERO if start is None else self.shape(start)[0]
        new = self.alloc(name, "f8" if start is None else start.base.dt, (self.b.op("add", n, more),), "none")
        ref = Ref(new.base, new.index, (n,))
        if start is not None:
            self.assign(ref, start)
        self.frame.lists[new.base] = room
        return Listed(ref)

    def growing(self) -> list[tuple[str, Ref, Room]]:
        """The lists of the function that may grow."""
        found = []
        for name, v in self.env.items():
            if isinstance(v, Listed) and v.ref.base in self.frame.lists:
                found.append((name, v.ref, self.frame.lists[v.ref.base]))
        return found

    def make_room(self, s: ast.stmt) -> None:
        """Before a statement that has loops in which lists grow."""
        for name, ref, room in self.growing() if isinstance(s, (ast.If, ast.For)) else ():
            appends = frozenset(x for x, _ in _appends([s], name))
            if appends <= room.appends or name in assigned([s]) or room.depth != len(self.inner):
                continue  # what there is no room for is refused
            changed = {*assigned([s]), *(n for x in ast.walk(s) if isinstance(x, ast.stmt) and (n := appended(x)))}
            more = self._rounds([s], name, changed, s)
            self._seen_once(name, ref.base, s)
            more = self.b.op("add", more, const(room.near, "i8"))
            self.env[name] = self._with_room(name, ref, more, Room(appends | room.appends, room.near, room.depth, room.floats))

    def _rounds(self, body: Sequence[ast.stmt], name: str, changed: set[str], whole: ast.stmt) -> Atom:
        """How many elements statements append at most; what they depend on must not be ``changed`` by the whole."""
        total: Atom = ZERO
        for s in body:
            if appended(s) == name:
                total = self.b.op("add", total, ONE)
            elif isinstance(s, ast.If):
                total = self.b.op("add", total, self._rounds([*s.body, *s.orelse], name, changed, whole))
            elif isinstance(s, ast.For) and any(True for _ in _appends([s], name)):
                inner = self._rounds(s.body, name, changed, whole)
                total = self.b.op("add", total, self.b.op("mul", self._trips(s, name, set() if s is whole else changed), inner))
            elif isinstance(s, ast.While) and any(True for _ in _appends([s], name)):
                raise self._unknown(name, next(x for x, _ in _appends([s], name)))
        return total

    def _trips(self, s: ast.For, name: str, changed: set[str]) -> Atom:
        over = [n.id for n in ast.walk(s.iter) if isinstance(n, ast.Name)]
        calls = [n.func for n in ast.walk(s.iter) if isinstance(n, ast.Call)]
        known = not changed.intersection(over) and all(isinstance(f, ast.Name) and f.id in _COUNTED for f in calls)
        if not known or (name in over and not self.is_range(s.iter)):
            raise self._unknown(name, s)
        items = self.static_items(s.iter)
        return const(len(items), "i8") if items is not None else self.items_of(s.iter).count

    def _unknown(self, name: str, node: ast.AST) -> Exception:
        return self.error(
            f"the list '{name}' grows in a loop whose number of rounds is not known before: use an array, and count", node
        )

    def _seen_once(self, name: str, base: Base, node: ast.AST) -> None:
        other = self.seen_by(base, (name,))
        if other is not None:
            raise self.error(f"the list '{name}' grows while '{other}' names it, too: use an array", node)

    def append(self, s: ast.Expr) -> bool:
        """Lower ``name.append(value)``; False if that is something else."""
        name = appended(s)
        if name is None or not isinstance(self.env.get(name), Listed):
            return False
        assert isinstance(s.value, ast.Call)
        if len(s.value.args) != 1 or s.value.keywords:
            raise self.error("append takes one number", s)
        value = self.value(s.value.args[0])
        ref = self.env[name].ref  # type: ignore[union-attr]
        room = self.frame.lists.get(ref.base)
        if room is None or s not in room.appends:
            raise self._unknown(name, s) if room is not None else self.error(
                f"the list '{name}' is not made in this function, by a literal or a comprehension: it cannot grow here", s
            )
        self._seen_once(name, ref.base, s)
        if room.floats and getattr(value, "dt", "") != "f8":
            raise self.error("a list that begins empty holds floats: append a float64, 2.0 for 2", s)
        (n,) = self.shape(ref)
        self.b.store(ref.base, (n,), self.element_of(value, ref, s), "set", "never")
        self.set_length(name, self.b.op("add", n, ONE))
        return True

    def element_of(self, value: Atom, ref: Ref, node: ast.AST) -> Atom:
        """A number as a list keeps it, in which every one keeps its own type."""
        if is_float(value.dt) and not is_float(ref.base.dt):
            raise self.error("a float is put into a list of ints: write its numbers as floats, 1.0 for 1", node)
        return self.store_cast(value, ref.base.dt)

    def store_cast(self, value: Atom, dt: str) -> Atom:
        raise NotImplementedError

    def set_length(self, name: str, n: Atom) -> None:
        v = self.env[name]
        assert isinstance(v, Listed)
        self.env[name] = Listed(Ref(v.ref.base, (Axis(0),), (n,)))

    def length_of(self, name: str) -> Atom:
        v = self.env[name]
        assert isinstance(v, Listed)
        return self.shape(v.ref)[0]

    # -------------------------------------------------------------------------------------------------- in a loop's body
    def steadily(self, s: ast.For) -> dict[str, int]:
        """The lists to which every round of a loop appends as many elements, whatever happens: their lengths are counted."""
        if any(isinstance(x, (ast.Break, ast.Continue, ast.Return)) for x in ast.walk(s)):
            return {}
        found = {}
        for name, _, room in self.growing():
            appends = [x for x, _ in _appends([s], name)]
            if appends and name not in assigned([s]) and room.appends.issuperset(appends) and all(x in s.body for x in appends):
                found[name] = len(appends)
        return found

    def grown_in(self, body: Sequence[ast.stmt], besides: Collection[str]) -> list[str]:
        """The names of lists that statements make longer."""
        return [name for name, _, _ in self.growing() if name not in besides and any(True for _ in _appends(body, name))]
