"""Which memory of a kernel its driver can allocate once: lengths known before the first step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..heap import zeros
from . import interp
from .ir import Alloc, Atom, Base, Call, Dim, Fn, If, Let, Load, Stmt, Var, bases_of, defined, free_vars, walk, written_by

__all__ = ["Memory", "Scratch", "scratch_of", "size_of", "together", "zeros_of"]

Shapes = list[tuple[int, ...]]
Memory = Sequence[tuple[tuple[int, ...], np.dtype]]  # shape and dtype of each array


@dataclass(frozen=True)
class Scratch:
    """Bases to allocate, and the little program that computes their lengths from the inputs."""

    bases: tuple[Base, ...]
    ranks: tuple[int, ...]
    program: Fn
    fns: Mapping[str, Fn]  # that it calls
    _known: dict[tuple[Any, ...], Shapes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _read(self) -> frozenset[Base | Var]:
        """The inputs whose contents matter."""
        loaded = (b for s in walk(self.program.body) if isinstance(s, (Load, Call)) for b in bases_of(s))
        return frozenset([*loaded, *(p for p in self.program.params if isinstance(p, Var))])

    @property
    def by_shape(self) -> bool:
        """Whether the lengths follow from the inputs' shapes alone, whatever is in them."""
        return not self.bases or not self._read

    def shapes(self, arrays: Mapping[Base | Var, np.ndarray]) -> Shapes:
        """The shapes of the bases; numbers that go by value are given as arrays of one cell."""
        if not self.bases:
            return []
        given = [arrays[p] for p in self.program.params]
        large = any(a.nbytes > 4096 and p in self._read for p, a in zip(self.program.params, given, strict=True))
        if large:
            return self._compute(given)
        key = tuple((a.shape, a.tobytes() if p in self._read else b"") for p, a in zip(self.program.params, given, strict=True))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= 16:
                self._known.clear()
            found = self._known[key] = self._compute(given)
        return found

    def _compute(self, given: list[np.ndarray]) -> Shapes:
        args = [a.item() if isinstance(p, Var) else a for p, a in zip(self.program.params, given, strict=True)]
        lengths = iter(interp.run({**self.fns, "shapes": self.program}, "shapes", args))
        return [tuple(max(0, int(next(lengths))) for _ in range(rank)) for rank in self.ranks]

    def memory(self, arrays: Mapping[Base | Var, np.ndarray]) -> Memory:
        """Shapes and dtypes of the arrays to allocate."""
        return [(shape, np.dtype(base.dt)) for base, shape in zip(self.bases, self.shapes(arrays), strict=True)]

    def nbytes(self, arrays: Mapping[Base | Var, np.ndarray]) -> int:
        """The bytes that these take."""
        return size_of(self.memory(arrays))


def zeros_of(memory: Memory) -> list[np.ndarray]:
    """New arrays, zero."""
    return [zeros(shape, dtype) for shape, dtype in memory]


def together(memory: Memory) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """The same, all arrays of one dtype parts of one vector, and these vectors: they are filled, and looked at, at once."""
    ends: Counter[str] = Counter()
    places = []
    for shape, dtype in memory:
        first, size = ends[dtype.str[1:]], math.prod(shape)
        ends[dtype.str[1:]] += size
        places.append((dtype.str[1:], first, first + size, shape))
    vectors = {name: np.zeros(size, name) for name, size in ends.items()}
    return [vectors[name][first:end].reshape(shape) for name, first, end, shape in places], vectors


def size_of(memory: Memory) -> int:
    """The bytes of such arrays."""
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in memory)


def scratch_of(fn: Fn, fixed: Collection[Base | Var], fns: Iterable[Fn]) -> Scratch:
    """The allocations of ``fn`` whose lengths follow from shapes and from the contents of the ``fixed`` parameters;
    ``fns`` are the functions that it calls."""
    given = {p for p in fn.params if isinstance(p, Base)}
    written = {b for s in walk(fn.body) if not isinstance(s, Alloc) for b in written_by(s)}
    known: dict[Var, Stmt | None] = {p: None for p in fn.params if isinstance(p, Var) and p in fixed}
    for s in fn.body:
        if _pure(s, given, set(fixed) - written) and all(a in known for a in free_vars((s,))):
            known.update(dict.fromkeys(defined(s), s))
    bases: list[Base] = []
    lengths: list[Atom] = []
    for s in walk(fn.body):
        if (
            isinstance(s, Alloc)
            and s.base not in given
            and s.base not in bases
            and all(d in known for d in s.dims if isinstance(d, Var))
        ):
            bases.append(s.base)
            lengths += s.dims
    needed: set[Var] = {a for a in lengths if isinstance(a, Var)}
    program: list[Stmt] = []
    for s in reversed(fn.body):
        if any(v in needed and known.get(v) is s for v in defined(s)):
            program.append(s)
            needed.update(free_vars((s,)))
    body = tuple(reversed(program))
    values = [v for v, s in known.items() if s is None and v in needed]
    params = (*dict.fromkeys(b for s in walk(body) for b in _bases(s)), *values)
    probe = Fn("shapes", params, body, tuple(lengths))
    return Scratch(tuple(bases), tuple(b.rank for b in bases), probe, {f.name: f for f in fns})


def _bases(s: Stmt) -> tuple[Base, ...]:
    return tuple(bases_of(s)) if isinstance(s, (Dim, Load, Call)) else ()


def _pure(s: Stmt, given: Collection[Base], fixed: Collection[Base]) -> bool:
    if isinstance(s, Let):
        return True
    if isinstance(s, Dim):
        return s.base in given
    if isinstance(s, Load):
        return s.base in fixed
    if isinstance(s, Call):
        return not s.writes and not s.leaves and all(b in fixed for b in bases_of(s))
    if isinstance(s, If):
        return all(_pure(inner, given, fixed) for block in (s.then, s.orelse) for inner in block)
    return False
