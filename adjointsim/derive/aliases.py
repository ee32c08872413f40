"""Array names that are bound to other arrays: chosen by a branch, or rebound in a loop.

There are no run-time references in the IR: such a name gets memory of its own, into which the array that it names is
copied.  A copy stands for the original as long as nobody can tell them apart; where somebody could, the program is refused.
"""

from __future__ import annotations

import ast
from typing import Any

from .calls import Calls
from .context import HELD, RET, Env
from .ir import Alloc, Atom, Base, Stmt, defined, walk, written_by
from .values import Ref, Tup, Value, refs_in, shape_of

__all__ = ["Aliases"]


class Aliases(Calls):
    """Arrays that one name may stand for."""

    def _unify(
        self, a: Value, c: Value, in_a: list[Any], in_c: list[Any], name: str, node: ast.AST
    ) -> tuple[tuple[Any, ...], list[tuple[Atom, Atom]]]:
        raise NotImplementedError

    def _merge_arrays(
        self, a: Value, c: Value, in_a: list[Any], in_c: list[Any], name: str, node: ast.AST
    ) -> tuple[tuple[Any, ...], list[tuple[Atom, Atom]]] | None:
        """A name that is one of two arrays, chosen at run time, is a copy of the chosen one.

        None if the values are not arrays, or tuples with arrays in the same places.
        """
        if isinstance(a, Tup) and isinstance(c, Tup) and len(a.items) == len(c.items) and a.cls is c.cls:
            shapes: list[Any] = []
            pairs: list[tuple[Atom, Atom]] = []
            for x, y in zip(a.items, c.items, strict=True):
                shape, both = self._unify(x, y, in_a, in_c, name, node)
                shapes.append(shape)
                pairs += both
            return ("tuple", a.cls, tuple(shapes)), pairs
        if not (isinstance(a, Ref) and isinstance(c, Ref) and a.rank == c.rank and a.base.dt == c.base.dt):
            return None
        what = f"'{name}'" if name != RET else "the return value"
        inner = {x.base for block in (in_a, in_c) for x in walk(tuple(block)) if isinstance(x, Alloc)}
        source = next((r for r in (a, c) if r.base not in inner and all(self._outer(i, in_a, in_c) for i in r.index)), None)
        if source is None:
            raise self.error(f"{what} is one of two arrays, both made in a branch: make them before the branch", node)
        for r in (a, c):
            written = {b for scope in self._loop_scopes() for b in _stored(scope)}
            other = self.seen_by(r.base, self.changing)
            if r.base in written and other is not None and not self._made_in_loop(r.base):
                raise self.error(
                    f"{what} is one of two arrays, chosen at run time, and '{other}' is written: copy it instead", node
                )
        ref = self.alloc(name.lstrip("%"), a.base.dt, self.shape(source), "none")
        for r, block in ((a, in_a), (c, in_c)):
            with self.b.into(block):
                for have, want in zip(self.shape(r), self.shape(source), strict=True):
                    if have != want:
                        self.check(self.b.op("ne", have, want), node, f"ValueError({f'{what} has two shapes'!r})")
                self.copy_into(ref.base, r)
        # names that swap arrays in a branch stay apart: two copies are one array only if their sources are, on either side
        for r in (a, c):
            self.stands_for(ref.base, r.base, [m for m, _, _ in self.merged])
        for m, then, orelse in self.merged:
            if self.may_be(a.base, then) or self.may_be(c.base, orelse):
                self.link(ref.base, m)
        self.merged.append((ref.base, a.base, c.base))
        return shape_of(ref), []

    def _outer(self, i: Atom | None, in_a: list[Any], in_c: list[Any]) -> bool:
        return i is None or not any(i in defined(x) for block in (in_a, in_c) for x in walk(tuple(block)))

    def _loop_scopes(self) -> list[list[Any]]:
        """The open blocks of the innermost loop and inside it."""
        for k in range(len(self.b.scopes) - 1, -1, -1):
            if self.b.scopes[k].barrier:
                return [scope.stmts for scope in self.b.scopes[k:]]
        return []

    def _made_in_loop(self, base: Base) -> bool:
        return any(isinstance(x, Alloc) and x.base == base for scope in self._loop_scopes() for x in walk(tuple(scope)))

    # an array name that is bound to another array after an iteration (``u, v = v, u``; ``u = f(u)``) gets memory of its
    # own, into which the new array is copied at the end of each iteration: legal if no other name sees either array
    def _carrier(self, start: Ref, name: str) -> Ref:
        ref = self.copy(start, name)
        self.carriers[ref.base] = start.base
        return ref

    def _copy_carried_arrays(self, initial: Env, live: frozenset[str], node: ast.AST) -> None:
        group: list[tuple[str, Ref, Ref]] = []
        for name, start in initial.items():
            now = self.env.get(name)
            if isinstance(start, Ref) and start.base in self.carriers and isinstance(now, Ref):
                group.append((name, start, now))
        if not group:
            return
        written = _stored(self.b.stmts) - {s.base for s in walk(tuple(self.b.stmts)) if isinstance(s, Alloc)}
        carried = {start.base for _, start, _ in group}
        moves = [item for item in group if item[1] != item[2]]
        # all at once: an array that is overwritten here and read there is copied first
        sources = [self.copy(now, name) if now.base in carried and len(moves) > 1 else now for name, _, now in moves]
        for (name, start, now), source in zip(moves, sources, strict=True):
            for have, want in zip(self.shape(now), self.shape(start), strict=True):
                if have != want:
                    bad = self.b.op("ne", have, want)
                    self.check(bad, node, f"ValueError({f'array {name} changes its shape in a loop'!r})")
            self.copy_into(start.base, source)
            self.env[name] = start
        self._relate(group, carried)
        for base in written:  # the next iteration writes it again
            for name, other in self._visible(live):
                if other != base and self.may_be(other, base):
                    raise self.error(
                        f"'{name}' may name an array that the loop writes under another name: copy its elements instead",
                        node,
                    )

    def _relate(self, group: list[tuple[str, Ref, Ref]], carried: set[Base]) -> None:
        """What carried names may be: their arrays before the loop, and what an iteration binds them to.

        Two of them are one array only if they are before the loop, or if an iteration makes them one: names that swap
        their arrays stay apart.
        """
        changed = True
        while changed:
            changed = False
            for k, (_, start, now) in enumerate(group):
                origin = self.carriers[start.base]
                for source in (origin, now.base):
                    changed |= self.stands_for(start.base, source, carried)
                for _, start_2, now_2 in group[:k]:
                    if self.may_be(origin, self.carriers[start_2.base]) or self.may_be(now.base, now_2.base):
                        changed |= self.link(start.base, start_2.base)

    def _visible(self, live: frozenset[str]) -> list[tuple[str, Base]]:
        """Live names at the end of an iteration, those of the callers included, with the arrays that they see."""
        found = [(name, r.base) for name, value in self.env.items() if name in live for r in refs_in(value)]
        for frame in self.frames[:-1]:
            after = frame.live.after.get(frame.current, frozenset()) if frame.current is not None else frozenset()
            for name, value in frame.env.items():
                if name in after or name.startswith(HELD):
                    found += [(name, r.base) for r in refs_in(value)]
        return found


def _stored(stmts: list[Stmt]) -> set[Base]:
    """Arrays whose elements are written, by stores or by calls."""
    return {b for s in walk(tuple(stmts)) if not isinstance(s, Alloc) for b in written_by(s)}
