"""Which local arrays can be numbers, and which loops over them must be written out for that.

An array qualifies if it is made in one place, of a few cells and of known lengths, and is used by nothing but loads and stores
of single cells whose indices are literals, or are once loops of a few iterations are written out.  Writing a loop out makes a
program longer, which is paid for when it is compiled: so only loops that an array needs are, and small ones only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from math import prod

from .ir import Alloc, Atom, Base, Block, Const, Dim, Each, For, If, Let, Load, Stmt, Store, While, bases_of, blocks_of, walk

__all__ = ["Choice", "choose", "worth_a_look"]

CELLS = 16  #: of an array that is replaced, at most
ROUNDS = 8  #: of a loop that is written out, at most
LONGER = 80  #: statements that writing out one loop may add to a program
GROWTH = 240  #: and writing out all of them

#: integer operations that are literals if what they are made of are
_FOLDED = frozenset({"add", "sub", "mul", "neg", "floordiv", "mod", "min2", "max2"})


@dataclass(frozen=True)
class Choice:
    """Arrays to replace, with their lengths, and the ids of the loops to write out."""

    arrays: dict[Base, tuple[int, ...]] = field(default_factory=dict)
    loops: frozenset[int] = frozenset()


def worth_a_look(body: Block) -> bool:
    """Whether a function makes arrays of its own at all."""
    return any(isinstance(s, Alloc) and s.base.role == "local" for s in walk(body))


def choose(body: Block, left: Collection[Base]) -> Choice:
    """The arrays of a function that can be numbers, apart from those to be ``left`` as they are."""
    return _Choosing(body, left).choice()


class _Choosing:
    """
    shapes   arrays in question
    needed   the loops that must be written out for each of them
    loops    every loop, with those around it, outermost first
    """

    def __init__(self, body: Block, left: Collection[Base]) -> None:
        self.body = body
        self.shapes: dict[Base, tuple[int, ...]] = {}
        self.needed: dict[Base, set[int]] = {}
        self.loops: dict[int, tuple[For | While | Each, ...]] = {}
        self.varies: dict[Atom, frozenset[int] | None] = {}  # the loops that an integer is known by; None: it is not known
        self._allocs(left)
        if self.shapes:
            self._block(body, ())

    def _allocs(self, left: Collection[Base]) -> None:
        seen = set(left)
        for s in walk(self.body):
            if isinstance(s, Alloc):
                known = s.base.role == "local" and s.base not in seen and all(isinstance(n, Const) for n in s.dims)
                shape = tuple(int(n.value) for n in s.dims) if known else ()  # type: ignore[union-attr, arg-type]
                if known and min(shape) > 0 and prod(shape) <= CELLS:
                    self.shapes[s.base] = shape
                    self.needed[s.base] = set()
                else:
                    self._drop(s.base)
                seen.add(s.base)

    def _drop(self, base: Base) -> None:
        self.shapes.pop(base, None)
        self.needed.pop(base, None)

    def _known_by(self, a: Atom) -> frozenset[int] | None:
        return frozenset() if isinstance(a, Const) else self.varies.get(a)

    def _block(self, block: Block, around: tuple[For | While | Each, ...]) -> None:
        for s in block:
            self._statement(s, around)

    def _statement(self, s: Stmt, around: tuple[For | While | Each, ...]) -> None:
        if isinstance(s, Let):
            parts = [self._known_by(a) for a in s.args]
            if s.op in _FOLDED and s.var.dt == "i8" and all(p is not None for p in parts):
                self.varies[s.var] = frozenset().union(*parts)  # type: ignore[arg-type]
        elif isinstance(s, (Load, Store)):
            self._access(s, around)
        elif isinstance(s, (For, While, Each)):
            self.loops[id(s)] = (*around, s)
            for v in [s.var] if isinstance(s, For) else [v for v, _, _ in s.axes] if isinstance(s, Each) else []:
                self.varies[v] = frozenset({id(s)})
            for inner in blocks_of(s):
                self._block(inner, (*around, s))
        elif isinstance(s, If):
            self._block(s.then, around)
            self._block(s.orelse, around)
        elif not isinstance(s, (Alloc, Dim)):
            for base in bases_of(s):
                self._drop(base)

    def _access(self, s: Load | Store, around: tuple[For | While | Each, ...]) -> None:
        if s.base not in self.shapes:
            return
        for a in s.index:
            loops = self._known_by(a)
            if loops is None:
                self._drop(s.base)
                return
            self.needed[s.base] |= loops
        if isinstance(s, Store) and around and isinstance(around[-1], Each):
            self.needed[s.base].add(id(around[-1]))  # an Each stores to memory

    # ------------------------------------------------------------------------------------------------------- choosing
    def choice(self) -> Choice:
        for base, loops in list(self.needed.items()):
            if not all(self._small(self.loops[k][-1]) for k in loops):
                self._drop(base)
        needed = frozenset().union(*self.needed.values())
        if needed and _length(self.body, needed) - _length(self.body) > GROWTH:
            for base in [base for base, loops in self.needed.items() if loops]:
                self._drop(base)
            needed = frozenset()
        return Choice(self.shapes, needed)

    def _small(self, s: For | While | Each) -> bool:
        """Whether a loop may be written out."""
        if isinstance(s, While) or (isinstance(s, For) and (s.stop is not None or s.trips is not None)):
            return False
        bounds = [s.lo, s.count, s.step] if isinstance(s, For) else [a for _, lo, count in s.axes for a in (lo, count)]
        if not all(isinstance(a, Const) for a in bounds):
            return False
        rounds = _rounds(s)
        return 0 < rounds <= ROUNDS and (rounds - 1) * _length((*s.body, *getattr(s, "stores", ()))) <= LONGER


def _rounds(s: For | Each) -> int:
    counts = [s.count] if isinstance(s, For) else [count for _, _, count in s.axes]
    return prod(max(0, int(n.value)) for n in counts)  # type: ignore[union-attr, arg-type]


def _length(block: Block, written_out: Collection[int] = ()) -> int:
    """The statements of a block, those of loops that are written out as often as they run."""
    return sum(_lengths(block, written_out))


def _lengths(block: Block, written_out: Collection[int]) -> Iterator[int]:
    for s in block:
        inner = sum(_length(b, written_out) for b in blocks_of(s))
        yield inner * _rounds(s) if id(s) in written_out else inner + 1  # type: ignore[arg-type]
