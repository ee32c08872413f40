"""Array names that are bound to other arrays: chosen by a branch, or rebound in a loop.

There are no run-time references in the IR: such a name gets memory of its own, into which the array that it names is
copied.  A copy stands for the original as long as nobody can tell them apart; where somebody could, the program is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .build import const, zero
from .context import EXIT, HELD, RET, RETURN, Env
from .forward import Forward
from .ir import Alloc, Atom, Base, Block, Const, Dim, Let, Stmt, Var, defined, inner_defined, is_float, walk, written_by
from .values import Listed, Maybe, Ref, Tup, Value, atoms_in, rebuild, refs_in, shape_of

__all__ = ["Aliases"]


class Aliases(Forward):
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
        if isinstance(a, Maybe) and isinstance(c, Maybe):
            shape, pairs = self._unify(a.value, c.value, in_a, in_c, name, node)
            return ("maybe", shape), [*pairs, (a.flag, c.flag)]
        if not (isinstance(a, Ref) and isinstance(c, Ref) and a.rank == c.rank and a.base.dt == c.base.dt):
            return None
        what = f"'{name}'" if name != RET else "the return value"
        kept = next((r for r in (a, c) if name == RET and r.base in self.frame.slots), None)
        if kept is not None:  # nobody else sees it yet
            other, block, own = (c, in_c, in_a) if kept is a else (a, in_a, in_c)
            with self.b.into(block):
                made = next((s for s in walk(tuple(own)) if isinstance(s, Alloc) and s.base == kept.base), None)
                there = kept
                if made is not None:  # it is there on one side only
                    dims = [self._recomputed(n, tuple(own)) for n in made.dims]
                    if None in dims:
                        raise self.error(f"{what} is made in a branch: make it before the branch", node)
                    self.b.add(replace(made, dims=tuple(dims)))  # type: ignore[arg-type]
                    there = Ref(kept.base, kept.index, tuple(dims))  # type: ignore[arg-type]
                with self._unless_left(name, self.leaving[kept is a]):
                    self._move(there, other, what, node)
            self.stands_for(kept.base, other.base, ())
            return shape_of(kept), []
        inner = {x.base for block in (in_a, in_c) for x in walk(tuple(block)) if isinstance(x, Alloc)}
        source = next((r for r in (a, c) if r.base not in inner and all(self._outer(i, in_a, in_c) for i in atoms_in(r))), None)
        lens: list[Atom | None] = list(self.shape(source)) if source is not None else []
        for r, block in ((a, in_a), (c, in_c)):  # both made in a branch: of lengths that are known before it
            if source is None and (not lens or None in lens):
                lens = [self._recomputed(n, tuple(block)) for n in self.shape(r)]
        if None in lens:
            raise self.error(f"{what} is one of two arrays, both made in a branch: make them before the branch", node)
        dims: tuple[Atom, ...] = tuple(lens)  # type: ignore[arg-type]
        # (what is returned from a loop is not seen in another iteration)
        for r in (a, c) if name != RET or not self.frame.loops else ():
            written = {b for scope in self._loop_scopes() for b in _stored(scope)}
            other = self.seen_by(r.base, self.changing)
            if r.base in written and other is not None and not self._made_in_loop(r.base):
                raise self.error(
                    f"{what} is one of two arrays, chosen at run time, and '{other}' is written: copy it instead", node
                )
        ref = self.alloc(name.lstrip("%"), a.base.dt, dims, "none")
        for r, block, code in ((a, in_a, self.leaving[0]), (c, in_c, self.leaving[1])):
            known = [self._recomputed(n, tuple(block)) for n in self.shape(r)]
            with self.b.into(block), self._unless_left(name, code):
                for have, want, same in zip(self.shape(r), dims, known, strict=True):
                    if have != want and same != want:
                        self.check(self.b.op("ne", have, want), node, f"ValueError({f'{what} has two shapes'!r})")
                self.assign(ref, r)
        # names that swap arrays in a branch stay apart: two copies are one array only if their sources are, on either side
        for r in (a, c):
            self.stands_for(ref.base, r.base, [m for m, _, _ in self.merged])
        for m, then, orelse in self.merged:
            if self.may_be(a.base, then) or self.may_be(c.base, orelse):
                self.link(ref.base, m)
        self.merged.append((ref.base, a.base, c.base))
        return shape_of(ref), []

    @contextmanager
    def _unless_left(self, name: str, code: Var | None) -> Iterator[None]:
        """What is written for a name at the end of a side, which may have left before the name's array was made.

        A name matters where the side has not returned, the return value where it has.
        """
        with self.b.block() as stmts:
            yield
        if code is None:
            self.b.stmts.extend(stmts)
        else:
            self.b.phi(self.b.op("eq" if name == RET else "ne", code, RETURN), stmts, [], [])

    def made_before(self, bases: Sequence[Base], blocks: Sequence[list[Stmt]]) -> None:
        """Arrays that are made in a branch and seen after it are made before it, if their lengths are known there."""
        for base in dict.fromkeys(bases):
            for block in blocks:
                made = next((s for s in block if isinstance(s, Alloc) and s.base == base), None)
                dims = [self._recomputed(n, tuple(block)) for n in made.dims] if made is not None else [None]
                if made is not None and None not in dims:
                    self.dims[base] = tuple(dims)  # type: ignore[arg-type]
                    self.b.add(replace(made, dims=self.dims[base]))
                    for other in blocks:
                        other[:] = [s for s in other if not (isinstance(s, Alloc) and s.base == base)]
                    break

    def _outer(self, i: Atom, in_a: list[Any], in_c: list[Any]) -> bool:
        return not any(i in defined(x) for block in (in_a, in_c) for x in walk(tuple(block)))

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
        ref = self.evaluated(start, name)
        self.carriers[ref.base] = start.base
        return ref

    def _unshared(self, value: Value, name: str, seen: Sequence[Base]) -> Value:
        """The value that a name has before a loop which binds it: memory that carried it through another loop carries it
        through this one, too, unless more than one of the names that are ``seen`` stands for it by now."""
        if isinstance(value, Maybe):
            return Maybe(self._unshared(value.value, name, seen), value.flag)
        if isinstance(value, Tup):
            return Tup(tuple(self._unshared(item, name, seen) for item in value.items), value.cls)
        shared = isinstance(value, Ref) and value.base in self.carriers and seen.count(value.base) > 1
        return self._carrier(value, name) if shared else value  # type: ignore[arg-type]

    def _slots(self, value: Value, name: str, node: ast.AST, carried: Collection[Base]) -> Value:
        """The value that a name has before a loop which binds it first: arrays that the loop makes, or overwrites because they
        carry another name, get memory outside, into which each iteration's array is copied at its end; numbers are zero."""
        if isinstance(value, Tup):
            return Tup(tuple(self._slots(item, name, node, carried) for item in value.items), value.cls)
        if isinstance(value, Listed) and self._made_in_loop(value.ref.base):
            raise self.error(f"the list '{name}' is made in a loop and used after it, or in its next round: use an array", node)
        if not isinstance(value, Ref) or not (self._made_in_loop(value.base) or value.base in carried):
            return rebuild(shape_of(value), iter([zero(a.dt) for a in atoms_in(value)]))
        dims = [self._before(n) for n in self.shape(value)]
        if any(n is None for n in dims):
            what = (
                "the array that is returned from a loop is made in it"
                if name == RET
                else f"array '{name}' is made in a loop and used after it, or in its next round"
            )
            raise self.error(f"{what}, and its length is not known before: make it before the loop", node)
        return self._slot(name, value.base.dt, tuple(dims))  # type: ignore[arg-type]

    def _slot(self, name: str, dt: str, dims: tuple[Atom, ...]) -> Ref:
        """Memory before the open loop for an array that comes out of it."""
        ref: Ref = self._outside(lambda: self.alloc(name.lstrip("%"), dt, dims, "none"))
        self.carriers[ref.base] = ref.base
        if name == RET:
            self.frame.slots.add(ref.base)
        return ref

    def _owned(self, start: Value, now: Value, name: str) -> Value | None:
        """The value before a loop, with memory of its own for arrays that an iteration changes for others; None if that is
        not what differs."""
        if shape_of(start) == shape_of(now):
            return start
        if isinstance(start, Maybe):
            inner = self._owned(start.value, now.value if isinstance(now, Maybe) else now, name)
            return None if inner is None else Maybe(inner, start.flag)
        if isinstance(start, Tup) and isinstance(now, Tup) and start.cls is now.cls and len(start.items) == len(now.items):
            items = [self._owned(x, y, name) for x, y in zip(start.items, now.items, strict=True)]
            return None if None in items else Tup(tuple(items), start.cls)  # type: ignore[arg-type]
        if not (isinstance(start, Ref) and isinstance(now, Ref)) or (start.rank, start.base.dt) != (now.rank, now.base.dt):
            return None
        if name == RET:
            return self._slot(name, start.base.dt, self.shape(start))
        return self._outside(lambda: self._carrier(start, name))

    def _before(self, a: Atom) -> Atom | None:
        """An integer of the open loop's body as it can be computed before the loop; None if it may depend on the iteration."""
        body = tuple(self.b.stmts)
        return self._outside(lambda: self._recomputed(a, body, self.inner[-1]))

    def _recomputed(self, a: Atom, block: Block, varying: Collection[Var] = ()) -> Atom | None:
        """An integer of a block, computed again where statements are written now; None if it needs more than arithmetic."""
        made = {v: s for s in walk(block) for v in (*defined(s), *inner_defined(s))}
        own = {s.base for s in walk(block) if isinstance(s, Alloc)}

        def find(a: Atom) -> Atom | None:
            if isinstance(a, Const):
                return a
            if a in varying:
                return None
            s = made.get(a)
            if s is None:
                return a
            if isinstance(s, Dim):
                return find(self.dims[s.base][s.axis]) if s.base in own else self.b.dim(s.base, s.axis)
            if not isinstance(s, Let) or any(is_float(x.dt) for x in (s.var, *s.args)):
                return None
            args = [find(x) for x in s.args]
            if any(x is None for x in args):
                return None
            return self.b.op(s.op, *args, root=s.var.name, dt=s.var.dt)  # type: ignore[arg-type]

        return find(a)

    def _outside(self, make: Callable[[], Any]) -> Any:
        """Write something in the block around the one that is open."""
        inner = self.b.scopes.pop()
        try:
            return make()
        finally:
            self.b.scopes.append(inner)

    def _move(self, dst: Ref, src: Ref, what: str, node: ast.AST) -> None:
        """Copy an array, which must have the shape of the other."""
        for have, want in zip(self.shape(src), self.shape(dst), strict=True):
            if have != want:
                bad = self.b.op("ne", have, want)
                self.check(bad, node, f"ValueError({f'{what} has two shapes'!r})")
        self.assign(dst, src)

    def _carried(self, start: Value, now: Value | None) -> Iterator[tuple[Ref, Ref]]:
        """Arrays of a carried value that have memory of their own, with what they are after an iteration."""
        if isinstance(start, Maybe):
            yield from self._carried(start.value, now.value if isinstance(now, Maybe) else now)
        elif isinstance(start, Tup) and isinstance(now, Tup) and len(start.items) == len(now.items):
            for x, y in zip(start.items, now.items, strict=True):
                yield from self._carried(x, y)
        elif isinstance(start, Ref) and start.base in self.carriers and isinstance(now, Ref):
            yield start, now

    def _settled(self, start: Value, now: Value) -> Value:
        """A value after an iteration, its arrays in the memory that carries them."""
        if isinstance(start, Maybe):
            inner = now if isinstance(now, Maybe) else Maybe(now, const(True, "b1"))
            return Maybe(self._settled(start.value, inner.value), inner.flag)
        if isinstance(start, Tup) and isinstance(now, Tup) and len(start.items) == len(now.items):
            return Tup(tuple(self._settled(x, y) for x, y in zip(start.items, now.items, strict=True)), now.cls)
        return start if isinstance(start, Ref) and start.base in self.carriers and isinstance(now, Ref) else now

    def _copy_carried_arrays(self, initial: Env, live: frozenset[str], outer: Collection[Base], node: ast.AST) -> bool:
        """At the end of an iteration.  True if it is to be lowered again, for it has been found that a carried name may be one
        of the ``outer`` arrays, or another one that is carried: then so may be what a branch chose from it."""
        group = [(name, *pair) for name, start in initial.items() for pair in self._carried(start, self.env.get(name))]
        if not group:
            return False
        made = {s.base for s in walk(tuple(self.b.stmts)) if isinstance(s, Alloc)}
        written = _stored(self.b.stmts) - made - self.frame.slots
        carried = {start.base for _, start, _ in group}
        moves = [item for item in group if item[1] != item[2]]
        # all at once: an array that is overwritten here and read there is copied first
        sources = [self.evaluated(now, name) if now.base in carried and len(moves) > 1 else now for name, _, now in moves]
        unlike = [
            [
                (n, want)
                for n, want in zip(self.shape(now), self.shape(start), strict=True)
                if n != want and self._before(n) != want
            ]
            for _, start, now in moves
        ]
        with self.b.block() as stmts:
            for (name, start, _), source, pairs in zip(moves, sources, unlike, strict=True):
                for have, want in pairs:
                    bad = self.b.op("ne", have, want)
                    self.check(bad, node, f"ValueError({f'array {name} changes its shape in a loop'!r})")
                self.assign(start, source)
        # an array that is made after a test for return is there only if the iteration goes on
        always = {s.base for s in self.b.stmts if isinstance(s, Alloc)}
        code = self.env[EXIT]
        if isinstance(code, Var) and any(now.base in made - always for _, _, now in moves):
            self.b.phi(self.b.op("ne", code, RETURN), stmts, [], [])
        else:
            self.b.stmts.extend(stmts)
        for name in {name: None for name, _, _ in group}:
            self.env[name] = self._settled(initial[name], self.env[name])
        links = [(x, y) for x in carried for y in {*carried, *outer} if not self.may_be(x, y)]
        self._relate(group, carried)
        learnt = any(self.may_be(x, y) for x, y in links)
        for base in written:  # the next iteration writes it again
            for name, other in self._visible(live):
                if other != base and self.may_be(other, base):
                    raise self.error(
                        f"'{name}' may name an array that the loop writes under another name: copy its elements instead",
                        node,
                    )
        return learnt

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
