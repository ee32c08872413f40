"""How much tape a kernel will need, counted before it runs: possible where all loops that record have known lengths.

The count walks the kernel's own statements, but only those on which its stack tops depend, and a loop whose iterations
all record the same is walked once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from .build import const
from .interp import evaluate
from .ir import (
    READ_ONLY,
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Fn,
    For,
    If,
    Let,
    Load,
    Need,
    Stmt,
    Store,
    Var,
    While,
    atoms_of,
    bases_of,
    blocks_of,
    defined,
    is_float,
    walk,
    written_by,
)  # fmt: skip

__all__ = ["FIRST_TAPE", "ARENAS", "TapeCount", "arena_of"]

FIRST_TAPE = 64  #: cells of a tape whose length is not known; doubled until a call needs no more
_WORK = 100_000  # statements walked before a count is given up
Sizes = tuple[int, int]  # cells of floats and of integers


class _Unknown(Exception):
    """The count depends on something that is known only while the kernel runs."""


#: what arenas there are, in the order of a driver's parameters: floats, integers, the tops of both, tangents of the floats
ARENAS = ("tape", "itape", "tops", "tape_dot")


def arena_of(base: Base) -> str:
    """Which of :data:`ARENAS` an arena of a kernel is."""
    if base.dt == "f8":
        return "tape_dot" if base.name.startswith("tape_dot") else "tape"
    return "tops" if base.name.startswith("tops") else "itape"


def _is_tops(base: Base) -> bool:
    return base.role == "arena" and base.name.startswith("tops")


class TapeCount:
    """Counts the tape of one kernel; ``fixed`` are the parameters whose contents are known before the first step, ``fns``
    the functions that it calls."""

    def __init__(self, fn: Fn, fixed: Collection[Base | Var], fns: Iterable[Fn] = ()) -> None:
        self.fn, self.fixed = fn, frozenset(fixed)
        self.fns = {f.name: f for f in fns}
        self._inner: dict[str, TapeCount] = {}
        self.touching: set[int] = set()
        self._touch(fn.body)
        self.needed = self._needed_vars()
        self._grown: dict[tuple[tuple[int, ...], ...], Sizes] = {}
        self._found: list[tuple[tuple[Any, ...], dict[Base | Var, bytes], Sizes | None]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return TapeCount, (self.fn, self.fixed, tuple(self.fns.values()))

    def _touch(self, block: Block) -> bool:
        """Find the statements that move a stack top or need tape, or have one inside that does; whether there are any."""
        found = False
        for s in block:
            inside = [self._touch(inner) for inner in blocks_of(s)]
            if isinstance(s, Need) or any(inside) or any(map(_is_tops, written_by(s))):
                self.touching.add(id(s))
                found = True
        return found

    def inner(self, name: str) -> TapeCount:
        """The count of a function that this one calls."""
        if name not in self._inner:
            fn = self.fns[name]
            unchanged = [p for p in fn.params if isinstance(p, Base) and p.role in READ_ONLY]
            self._inner[name] = TapeCount(fn, unchanged, self.fns.values())
        return self._inner[name]

    def _needed_vars(self) -> set[Var]:
        made = {v: s for s in walk(self.fn.body) for v in defined(s)}
        lengths: dict[Base, list[Atom]] = {}
        for s in walk(self.fn.body):
            if isinstance(s, Alloc):
                lengths.setdefault(s.base, []).extend(s.dims)
        todo: list[Atom] = [r for r in self.fn.results if not is_float(r.dt)]  # lengths that the caller may go by
        for s in walk(self.fn.body):
            if id(s) not in self.touching:
                continue
            if isinstance(s, If):
                todo.append(s.test)
            elif isinstance(s, For):
                todo += [s.lo, s.count, s.step]
            elif not isinstance(s, While):
                todo += atoms_of(s)
            if isinstance(s, Call):
                todo += (a for b in bases_of(s) for a in lengths.get(b, ()))
        needed: set[Var] = set()
        while todo:
            v = todo.pop()
            if isinstance(v, Var) and v not in needed:
                needed.add(v)
                origin = made.get(v)
                if isinstance(origin, (Let, Load, If)):
                    todo += atoms_of(origin)
                elif isinstance(origin, Dim):
                    todo += lengths.get(origin.base, ())
        return needed

    def first(self, arrays: Mapping[Base | Var, np.ndarray]) -> Sizes:
        """The cells to begin with: counted, or what a run with these shapes grew to, or a few."""
        return self.sizes(arrays) or self._grown.get(self._shapes(arrays), (FIRST_TAPE, FIRST_TAPE))

    def grew(self, arrays: Mapping[Base | Var, np.ndarray], cells: Sizes) -> None:
        """Remember the cells that a run needed."""
        if len(self._grown) >= 16:
            self._grown.clear()
        self._grown[self._shapes(arrays)] = cells

    def _shapes(self, arrays: Mapping[Base | Var, np.ndarray]) -> tuple[tuple[int, ...], ...]:
        return tuple(arrays[p].shape for p in self.fn.params if p in arrays)

    def sizes(self, arrays: Mapping[Base | Var, np.ndarray]) -> Sizes | None:
        """The cells that the kernel will need for given parameters; None if that is not known."""
        shapes = self._shapes(arrays)
        for known, read, sizes in self._found:
            if known == shapes and all(arrays[p].tobytes() == content for p, content in read.items()):
                return sizes
        walker = _Walk(self, arrays)
        try:
            walker.block(self.fn.body)
            found: Sizes | None = (walker.most[0], walker.most[1])
        except _Unknown:
            found = None
        self._found = [*self._found[-7:], (shapes, {p: arrays[p].tobytes() for p in walker.read}, found)]
        return found


class _Walk:
    """One count: the tops as they will be, and the most that was needed."""

    def __init__(self, count: TapeCount, arrays: Mapping[Base | Var, np.ndarray]) -> None:
        self.count, self.arrays = count, arrays
        self.env: dict[Var, Any] = {}
        self.lengths: dict[Base, tuple[Atom, ...]] = {}
        self.tops, self.most = [0, 0], [0, 0]
        self.read: set[Base | Var] = set()
        self.work = 0

    def value(self, a: Atom) -> Any:
        if isinstance(a, Const):
            return a.value
        if a not in self.env and a in self.count.fixed and a in self.arrays:
            self.read.add(a)
            self.env[a] = self.arrays[a].item()
        if a not in self.env:
            raise _Unknown
        return self.env[a]

    def block(self, block: Block) -> None:
        for s in block:
            self.work += 1
            if self.work > _WORK:
                raise _Unknown
            if id(s) in self.count.touching:
                self.touch(s)
            elif isinstance(s, Alloc):
                self.lengths[s.base] = s.dims
            elif any(v in self.count.needed for v in defined(s)):
                try:
                    self.define(s)
                except _Unknown:
                    for v in defined(s):
                        self.env.pop(v, None)

    def define(self, s: Stmt) -> None:
        """Bind what a statement defines, if it is known."""
        if isinstance(s, Let):
            self.env[s.var] = evaluate(s.op, [self.value(a) for a in s.args], s.var.dt)
        elif isinstance(s, Dim):
            self.env[s.var] = self.length(s.base, s.axis)
        elif isinstance(s, Load) and _is_tops(s.base):
            self.env[s.var] = self.tops[self.value(s.index[0])]
        elif isinstance(s, Load) and s.base in self.count.fixed and self._given(s.base).nbytes <= 4096:
            self.read.add(s.base)
            self.env[s.var] = self._given(s.base)[tuple(self.value(i) for i in s.index)].item()
        elif isinstance(s, If):
            chosen = 1 if self.value(s.test) else 2
            self.block((s.then, s.orelse)[chosen - 1])
            self.env.update([(phi[0], self.value(phi[chosen])) for phi in s.phis if phi[0] in self.count.needed])
        else:
            raise _Unknown

    def _given(self, base: Base) -> np.ndarray:
        if base not in self.arrays:
            raise _Unknown
        return self.arrays[base]

    def touch(self, s: Stmt) -> None:
        """Move the tops as a statement does."""
        if isinstance(s, Need):
            k = 0 if s.base.dt == "f8" else 1
            self.most[k] = max(self.most[k], self.value(s.size))
        elif isinstance(s, Store):
            self.tops[self.value(s.index[0])] = self.value(s.value)
        elif isinstance(s, If):
            self.block(s.then if self.value(s.test) else s.orelse)
        elif isinstance(s, For) and s.stop is None:
            self.loop(s)
        elif isinstance(s, Call):
            self.call(s)
        else:
            raise _Unknown

    def call(self, s: Call) -> None:
        """Walk a function that this one calls, with what is known of its arguments."""
        count = self.count.inner(s.fn)
        pairs = {p: a for p, a in zip(count.fn.params, s.args, strict=True) if a in self.count.fixed and a in self.arrays}
        inside = _Walk(count, {p: self.arrays[a] for p, a in pairs.items()})
        inside.tops, inside.most, inside.work = self.tops, self.most, self.work
        for p, a in zip(count.fn.params, s.args, strict=True):
            if isinstance(a, Base):
                self._pass_array(inside, p, a)
            elif p in count.needed:
                with contextlib.suppress(_Unknown):
                    inside.env[p] = self.value(a)
        for v in s.results:
            self.env.pop(v, None)
        try:
            inside.block(count.fn.body)
            for v, r in zip(s.results, count.fn.results, strict=True):
                with contextlib.suppress(_Unknown):
                    self.env[v] = inside.value(r)
        finally:
            self.work = inside.work
            self.read.update(pairs[p] for p in inside.read)
        self.most, self.tops = inside.most, inside.tops

    def _pass_array(self, inside: _Walk, p: Var | Base, a: Base) -> None:
        """Tell a function the lengths of an array, if they are known."""
        lengths: list[Const] = []
        for axis in range(a.rank):
            try:
                lengths.append(const(self.length(a, axis), "i8"))
            except _Unknown:
                return
        inside.lengths[p] = tuple(lengths)  # type: ignore[index]

    def length(self, base: Base, axis: int) -> int:
        if base in self.lengths:
            return self.value(self.lengths[base][axis])
        return self._given(base).shape[axis]

    def loop(self, s: For) -> None:
        lo, count, step = (self.value(a) for a in (s.lo, s.count, s.step))
        if count <= 0:
            return
        tops, most = list(self.tops), list(self.most)
        self.env.pop(s.var, None)
        try:  # all iterations alike
            self.most = list(tops)
            self.block(s.body)
            growth = [after - before for after, before in zip(self.tops, tops, strict=True)]
            self.tops = [before + count * g for before, g in zip(tops, growth, strict=True)]
            most = [max(m, here + max(0, (count - 1) * g)) for m, here, g in zip(most, self.most, growth, strict=True)]
        except _Unknown:
            if self.work > _WORK:
                raise
            self.tops, self.most = tops, most
            for k in range(count):
                self.env[s.var] = lo + k * step
                self.block(s.body)
            most = self.most
        self.most = most
