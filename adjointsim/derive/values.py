"""What a name can be bound to while a function is lowered.

``Value = Atom | Ref | Listed | Tup | Static | Maybe``.  A value splits into a *shape*, fixed at derivation, and a list of atoms,
which may differ between paths: only the atoms are merged by phis or carried by loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .ir import ONE, ZERO, Atom, Base, Const, Var

__all__ = [
    "Axis", "ComplexPair", "Lazy", "Listed", "Maybe", "Ref", "Static", "Tup", "Value",
    "advice", "atoms_in", "describe", "rebuild", "refs_in", "shape_of",
]  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """An axis of a base that a view runs over: the base's index is ``lo + step * i`` for index i of the view's axis ``k``."""

    k: int
    lo: Atom = ZERO
    step: Atom = ONE

    @property
    def whole(self) -> bool:
        return self.lo == ZERO and self.step == ONE


@dataclass(frozen=True)
class Ref:
    """An array or a view of one.

    ``index`` has an entry for each axis of the base: an index that is fixed, or an :class:`Axis`.  ``lens`` are the lengths
    of the view's axes, None where it is that of the base's axis.  Two axes of the base may follow one of the view (a
    diagonal); an axis of the view that none follows has length 1 or repeats.
    """

    base: Base
    index: tuple[Atom | Axis, ...]
    lens: tuple[Atom | None, ...]

    @classmethod
    def of(cls, base: Base) -> Ref:
        """The whole of an array."""
        return cls(base, tuple(map(Axis, range(base.rank))), (None,) * base.rank)

    @property
    def rank(self) -> int:
        return len(self.lens)

    @property
    def whole(self) -> bool:
        return self == Ref.of(self.base)

    def axis(self, k: int) -> int:
        """The first axis of the base that follows the view's axis k."""
        return next(j for j, i in enumerate(self.index) if isinstance(i, Axis) and i.k == k)


@dataclass(frozen=True)
class Listed:
    """A list of numbers whose length does not change: the memory of an array, with none of the operations of arrays."""

    ref: Ref


@dataclass(frozen=True)
class Tup:
    """A tuple or NamedTuple."""

    items: tuple[Value, ...]
    cls: type | None = None


class ComplexPair(NamedTuple):
    """The class of the tuples that complex numbers, arrays and expressions are."""

    real: Any
    imag: Any


@dataclass(frozen=True)
class Static:
    """A Python object known at derivation: a function, a module, a class, None, a dtype, a string; ``path`` is its name if
    it comes from outside."""

    obj: Any
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class Maybe:
    """A name that is bound on some paths only: ``flag`` tells at run time whether it is."""

    value: Value
    flag: Atom


@dataclass(frozen=True, eq=False)
class Lazy:
    """An array expression that is not stored yet: ``at`` writes the computation of one element.

    It lives within one expression of the user's; what is bound to a name, returned or handed to a function is stored first.
    ``room`` are the lengths to allocate where ``lens`` are known only as the program runs.
    """

    lens: tuple[Atom, ...]
    dt: str
    at: Callable[[Sequence[Atom]], Atom]
    room: tuple[Atom, ...] | None = None
    made: int = 0  # how many calls had written arrays when it was made

    @property
    def rank(self) -> int:
        return len(self.lens)


Value = Var | Const | Ref | Lazy | Listed | Tup | Static | Maybe


def shape_of(v: Value) -> tuple[Any, ...]:
    """The part of a value that must agree where paths meet."""
    if isinstance(v, (Var, Const)):
        return ("scalar",)
    if isinstance(v, Ref):
        axes = tuple((i.k, i.whole) if isinstance(i, Axis) else None for i in v.index)
        return ("array", v.base, axes, tuple(n is None for n in v.lens))
    if isinstance(v, Listed):
        return ("list", shape_of(v.ref))
    if isinstance(v, Tup):
        return ("tuple", v.cls, tuple(shape_of(i) for i in v.items))
    if isinstance(v, Maybe):
        return ("maybe", shape_of(v.value))
    return ("static", v.obj)


def atoms_in(v: Value) -> Iterator[Atom]:
    """The atoms of a value, in the order in which :func:`rebuild` takes them."""
    if isinstance(v, (Var, Const)):
        yield v
    elif isinstance(v, Ref):
        for i in v.index:
            if not (isinstance(i, Axis) and i.whole):
                yield from (i.lo, i.step) if isinstance(i, Axis) else (i,)
        yield from (n for n in v.lens if n is not None)
    elif isinstance(v, Listed):
        yield from atoms_in(v.ref)
    elif isinstance(v, Tup):
        for item in v.items:
            yield from atoms_in(item)
    elif isinstance(v, Maybe):
        yield from atoms_in(v.value)
        yield v.flag


def refs_in(v: Value) -> Iterator[Ref]:
    """The arrays that a value refers to."""
    if isinstance(v, Ref):
        yield v
    elif isinstance(v, Listed):
        yield v.ref
    elif isinstance(v, Tup):
        for item in v.items:
            yield from refs_in(item)
    elif isinstance(v, Maybe):
        yield from refs_in(v.value)


def rebuild(shape: tuple[Any, ...], atoms: Iterator[Atom]) -> Value:
    """The value of a given shape with the given atoms."""
    kind = shape[0]
    if kind == "scalar":
        return next(atoms)
    if kind == "array":
        index: list[Atom | Axis] = []
        for axis in shape[2]:
            if axis is None:
                index.append(next(atoms))
            else:
                k, whole = axis
                index.append(Axis(k) if whole else Axis(k, next(atoms), next(atoms)))
        return Ref(shape[1], tuple(index), tuple(None if own else next(atoms) for own in shape[3]))
    if kind == "list":
        return Listed(rebuild(shape[1], atoms))  # type: ignore[arg-type]
    if kind == "tuple":
        return Tup(tuple(rebuild(s, atoms) for s in shape[2]), shape[1])
    if kind == "maybe":
        value = rebuild(shape[1], atoms)
        return Maybe(value, next(atoms))
    return Static(shape[1])


def describe(v: Value | None) -> str:
    """A value in words, for messages."""
    words = {"f8": "a float", "f4": "a float32", "i8": "an int", "i4": "an int32", "u8": "a uint64", "b1": "a bool"}
    if v is None:
        return "nothing"
    if isinstance(v, (Var, Const)):
        return words.get(v.dt, v.dt)
    if isinstance(v, (Ref, Lazy)):
        return f"a {v.rank}-d array"
    if isinstance(v, Tup) and v.cls is ComplexPair:
        return f"a {v.items[0].rank}-d complex array" if isinstance(v.items[0], (Ref, Lazy)) else "a complex number"
    if isinstance(v, Listed):
        return "a list"
    if isinstance(v, Tup):
        return f"a {v.cls.__name__}" if v.cls else f"a tuple of {len(v.items)}"
    if isinstance(v, Maybe):
        return describe(v.value)
    kind = next((word for cls, (word, _) in _KINDS.items() if isinstance(v.obj, cls)), "")
    if kind:
        return f"'{v.path}' ({kind})" if v.path else f"{kind} ({v.obj!r})"
    return "None" if v.obj is None else f"{getattr(v.obj, '__name__', repr(v.obj))}"


#: objects that are no values of the language -> what they are, and what to use instead
_KINDS: dict[type, tuple[str, str]] = {
    str: ("a string", "numbers, bools and arrays are what a step computes with"),
    dict: ("a dictionary", "use a NamedTuple or an array"),
    list: ("a list", "use a tuple or an array"),
    set: ("a set", "use a tuple or an array"),
}


def advice(v: Value) -> str:
    """What to use instead of a value that is none of the language's, for messages."""
    if isinstance(v, Listed):
        return _KINDS[list][1]
    if isinstance(v, Static):
        return next((what for cls, (_, what) in _KINDS.items() if isinstance(v.obj, cls)), "pass a number or an array instead")
    return "write it element by element"
