"""Structures of values: what a state, a parameter set or an argument is made of, without its numbers.

A spec is hashable and is part of a derivation's signature.  Leaves are numbered depth first, left to right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from .ir import is_float

__all__ = [
    "ArraySpec", "ComplexSpec", "NoneSpec", "ScalarSpec", "Spec", "TupleSpec",
    "leaf_specs", "leaves_of", "measured", "ones_of", "shapeless", "signature",
]  # fmt: skip


@dataclass(frozen=True)
class ScalarSpec:
    """A number of dtype ``dt`` ("f8", "i8", "b1", ...)."""

    dt: str

    def __str__(self) -> str:
        return self.dt


@dataclass(frozen=True)
class ArraySpec:
    """An array of ``rank`` axes with elements of dtype ``dt``; the axes in ``ones`` have length 1.

    That is all that a structure says of lengths: an axis of length 1 is broadcast, which is decided at derivation.
    """

    dt: str
    rank: int
    ones: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.dt}[{_axes(self.rank, self.ones)}]"


@dataclass(frozen=True)
class ComplexSpec:
    """A complex number (rank 0) or array, of dtype "c16" or "c8".

    Its one leaf is real, with a last axis of length 2 for the real and imaginary parts: so a cotangent is
    dL/d(real part) + i dL/d(imaginary part), and nothing that works on leaves knows of complex numbers.
    """

    dt: str
    rank: int
    ones: tuple[int, ...] = ()

    @property
    def leaf(self) -> ArraySpec:
        """The structure of the leaf."""
        return ArraySpec("f8" if self.dt == "c16" else "f4", self.rank + 1, self.ones)

    def __str__(self) -> str:
        return f"{self.dt}[{_axes(self.rank, self.ones)}]" if self.rank else self.dt


@dataclass(frozen=True)
class NoneSpec:
    """``None``: no value at all."""

    def __str__(self) -> str:
        return "None"


@dataclass(frozen=True)
class TupleSpec:
    """A tuple, or a NamedTuple when ``cls`` is its class."""

    items: tuple[Spec, ...]
    cls: type | None = None

    @property
    def fields(self) -> tuple[str, ...] | None:
        return getattr(self.cls, "_fields", None)

    def __str__(self) -> str:
        if self.fields:
            inner = ", ".join(f"{name}: {item}" for name, item in zip(self.fields, self.items, strict=True))
            return f"{self.cls.__name__}({inner})"  # type: ignore[union-attr]
        return f"({', '.join(map(str, self.items))}{',' * (len(self.items) == 1)})"


Spec = ScalarSpec | ArraySpec | ComplexSpec | NoneSpec | TupleSpec


def _axes(rank: int, ones: tuple[int, ...]) -> str:
    return ",".join("1" if k in ones else ":" for k in range(rank))


def ones_of(shape: Sequence[object], one: object = 1) -> tuple[int, ...]:
    """The axes of length 1 of a shape."""
    return tuple(k for k, n in enumerate(shape) if n == one) if one in shape else ()


def measured(spec: Spec, shapes: Iterable[tuple[int, ...]]) -> Spec:
    """The structure, saying which axes have length 1, of a value whose leaves have these shapes."""
    return _measured(spec, iter(shapes))


def _measured(spec: Spec, shapes: Iterator[tuple[int, ...]]) -> Spec:
    if isinstance(spec, TupleSpec):
        return TupleSpec(tuple(_measured(item, shapes) for item in spec.items), spec.cls)
    if isinstance(spec, NoneSpec):
        return spec
    shape = next(shapes)
    if isinstance(spec, ScalarSpec):
        return spec
    ones = ones_of(shape[: spec.rank])
    return spec if ones == spec.ones else replace(spec, ones=ones)


def shapeless(spec: Spec) -> Spec:
    """The structure without what it says of lengths."""
    return measured(spec, repeat(()))


def leaf_specs(spec: Spec, path: str = "") -> Iterator[tuple[str, ScalarSpec | ArraySpec]]:
    """Pairs (path, leaf) in order; a path reads as in Python, ``p.c`` or ``y[1].u``, with the root's name in front."""
    if isinstance(spec, TupleSpec):
        for k, item in enumerate(spec.items):
            yield from leaf_specs(item, f"{path}.{spec.fields[k]}" if spec.fields else f"{path}[{k}]")
    elif isinstance(spec, ComplexSpec):
        yield path, spec.leaf
    elif not isinstance(spec, NoneSpec):
        yield path, spec


def leaves_of(spec: Spec) -> list[ScalarSpec | ArraySpec]:
    """The leaves in order, without paths."""
    out: list[ScalarSpec | ArraySpec] = []
    _collect_leaves(spec, out)
    return out


def _collect_leaves(spec: Spec, out: list[ScalarSpec | ArraySpec]) -> None:
    if isinstance(spec, TupleSpec):
        for item in spec.items:
            _collect_leaves(item, out)
    elif isinstance(spec, ComplexSpec):
        out.append(spec.leaf)
    elif not isinstance(spec, NoneSpec):
        out.append(spec)


def differentiable(leaf: ScalarSpec | ArraySpec) -> bool:
    """Whether a leaf can carry a derivative (integer and bool leaves ride along, inert)."""
    return is_float(leaf.dt)


def signature(spec: Spec) -> str:
    """A text that is equal for equal structures, across processes."""
    if isinstance(spec, TupleSpec):
        name = f"{spec.cls.__module__}.{spec.cls.__qualname__}{spec.fields}" if spec.cls else ""
        return f"{name}({','.join(signature(i) for i in spec.items)})"
    return str(spec)
