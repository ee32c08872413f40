"""What users call parts of their structures: names, what they stand for, and the nearest one to one that stands for nothing."""

from __future__ import annotations

import difflib
import keyword
import math
from collections import namedtuple
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from adjointsim.derive.spec import ComplexSpec, NoneSpec, ScalarSpec, Spec, TupleSpec
from adjointsim.errors import ArgumentError

__all__ = ["Element", "Names", "as_dict", "as_structure", "complex_leaves", "leaf_items", "unknown_name"]


class Element(NamedTuple):
    """One number of a structure: the leaf and the place in it."""

    leaf: int
    place: int


class Names:
    """The names of a structure called ``root`` and of its parts, down to the elements of arrays, as they are written in Python.

    The "p." of parameters may be left out where that is clear: "p.k" is also "k".
    """

    def __init__(self, spec: Spec, shapes: Iterable[tuple[int, ...]], root: str) -> None:
        self.root = root
        self.parts: dict[str, list[Element]] = {}  # all names, in full
        self.elements: dict[Element, str] = {}  # the name of each number
        self._leaves = 0
        self._walk(spec, root, iter(shapes), [])
        self.short = {self.said(name): name for name in self.parts if self.said(name) not in self.parts}

    def _walk(self, spec: Spec, path: str, shapes: Iterator[tuple[int, ...]], above: list[list[Element]]) -> None:
        if isinstance(spec, NoneSpec):
            return
        own: list[Element] = []
        self.parts[path] = own
        if isinstance(spec, TupleSpec):
            for k, item in enumerate(spec.items):
                inner = f"{path}.{spec.fields[k]}" if spec.fields is not None else f"{path}[{k}]"
                self._walk(item, inner, shapes, [*above, own])
            return
        leaf, self._leaves = self._leaves, self._leaves + 1
        shape = next(shapes)
        scalar = isinstance(spec, ScalarSpec)
        for place in range(1 if scalar else math.prod(shape)):
            element = Element(leaf, place)
            name = path if scalar else f"{path}[{', '.join(map(str, np.unravel_index(place, shape)))}]"
            self.elements[element] = name
            for whole in (*above, own):
                whole.append(element)
            if not scalar:
                self.parts[name] = [element]

    def said(self, name: str) -> str:
        """A name as it is shown: parameters without the "p." where something follows."""
        short = name.removeprefix("p.") if self.root == "p" else name
        return name if short == "y0" or short.startswith(("y0.", "y0[")) else short  # that is the initial state

    def find(self, name: str) -> list[Element] | None:
        """The numbers that a name stands for; None if it stands for nothing."""
        return self.parts.get(self.short.get(name, name))


def leaf_items(value: Any, spec: Spec) -> Iterator[Any]:
    """What is at the leaves of a structure; None inside of a part that is None."""
    if isinstance(spec, TupleSpec):
        for k, item in enumerate(spec.items):
            yield from leaf_items(None if value is None else value[k], item)
    elif not isinstance(spec, NoneSpec):
        yield value


def complex_leaves(spec: Spec) -> list[bool]:
    """Which leaves are those of complex numbers."""
    if isinstance(spec, TupleSpec):
        return [on for item in spec.items for on in complex_leaves(item)]
    return [] if isinstance(spec, NoneSpec) else [isinstance(spec, ComplexSpec)]


def unknown_name(what: str, name: object, known: Iterable[str]) -> ArgumentError:
    """The error for a name that stands for nothing, with the nearest ones that do."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, 1, 0.5)
    if near:
        return ArgumentError(f"Got {what} name {name!r}, but there is no such name: did you mean {near[0]!r}?")
    shown = ", ".join(map(repr, known[:20])) + (", ..." if len(known) > 20 else "")
    return ArgumentError(f"Got {what} name {name!r}, but expected one of {shown}")


# ------------------------------------------------------------------------------------------------------ dicts of names
@cache
def _class_of(fields: tuple[str, ...]) -> Any:
    """The one class for these names; other processes find it by its name, which has them (see ``__getattr__``)."""
    made = namedtuple("Parameters", fields, module=__name__)  # type: ignore[misc]
    made.__qualname__ = f"Parameters({','.join(fields)})"
    return made


def __getattr__(name: str) -> Any:
    if name.startswith("Parameters(") and name.endswith(")"):
        return _class_of(tuple(filter(None, name[11:-1].split(","))))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def as_structure(value: Any, path: str) -> Any:
    """What a model is given for ``value``: a NamedTuple with the names of a dict, in their order, wherever there is a dict.

    One class stands for all dicts of the same names.  ArgumentError for names that Python could not read from it.
    """
    if isinstance(value, dict):
        for name in value:
            if not (isinstance(name, str) and name.isidentifier()) or keyword.iskeyword(name) or name.startswith("_"):
                raise ArgumentError(f"Got the name {name!r} in {path}, but expected one that a model can read as p.name")
        return _class_of(tuple(value))(*(as_structure(item, f"{path}.{name}") for name, item in value.items()))
    if isinstance(value, tuple):
        items = [as_structure(item, f"{path}[{k}]") for k, item in enumerate(value)]
        return type(value)._make(items) if hasattr(value, "_fields") else tuple(items)  # type: ignore[attr-defined]
    return np.array(value, np.float64) if isinstance(value, list) else value


def as_dict(value: Any, like: Any) -> Any:
    """A structure of the model's as the user wrote ``like``: dicts where that has dicts."""
    if isinstance(like, dict):
        if value is None:
            return None
        return {name: as_dict(getattr(value, name), item) for name, item in like.items()}
    if isinstance(like, tuple) and isinstance(value, tuple):
        items = [as_dict(item, own) for item, own in zip(value, like, strict=True)]
        return type(like)._make(items) if hasattr(like, "_fields") else tuple(items)  # type: ignore[attr-defined]
    return value
