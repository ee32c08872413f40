"""What is known of a value before its numbers: its structure and the shapes of its leaves, found once for values that look alike.

A :class:`Form` is found by what a value looks like (types, dtypes, shapes), which takes less time than its structure does.  Equal
forms are one object as long as they are remembered, so that what is made for one may be kept by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from adjointsim.derive.spec import ArraySpec, ScalarSpec, Spec, differentiable, leaves_of
from adjointsim.leaves import Bars, Leaves, Shapes, builder, reader, shapes_of, spec_of

__all__ = ["Form", "Known", "form_of", "read", "read_all"]

_KEPT = 1024
_FEW = 64  # choices of leaves of a structure


class Kind:
    """A structure, of which there is one as long as it is remembered: what is made for it may be kept by it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._builders: dict[tuple[tuple[bool, ...], bool], Callable[[Bars], Any]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _kind, (self.spec,)

    @cached_property
    def read(self) -> Callable[[Any, bool], tuple[Leaves, Leaves]]:
        """Gives the leaves of a value, as :func:`.leaves.reader` says."""
        return reader(self.spec)

    def bar(self, bars: Bars, copy: bool) -> Any:
        """What :func:`.leaves.unflatten_bar` makes of bars; with arrays of its own if it is to ``copy``."""
        key = tuple([bar is not None for bar in bars]), copy
        found = self._builders.get(key)
        if found is None:
            if len(self._builders) >= _FEW:
                self._builders.clear()
            found = self._builders[key] = builder(self.spec, *key)
        return found(bars)


@lru_cache(maxsize=_KEPT)
def _kind(spec: Spec) -> Kind:
    return Kind(spec)


@dataclass(frozen=True, eq=False)
class Form:
    """A structure with the shapes of its leaves."""

    spec: Spec
    shapes: Shapes
    kind: Kind  # what forms of the same structure have in common

    def __reduce__(self) -> tuple[Any, ...]:
        return form_of, (self.spec, self.shapes)

    @cached_property
    def leaves(self) -> tuple[ScalarSpec | ArraySpec, ...]:
        """The structures of the leaves."""
        return tuple(leaves_of(self.spec))

    @cached_property
    def floats(self) -> tuple[bool, ...]:
        """Which leaves can carry a derivative."""
        return tuple(map(differentiable, self.leaves))

    @cached_property
    def memory(self) -> tuple[tuple[tuple[int, ...], np.dtype], ...]:
        """Shape and dtype of each leaf."""
        return tuple((shape, np.dtype(leaf.dt)) for shape, leaf in zip(self.shapes, self.leaves, strict=True))

    @cached_property
    def nbytes(self) -> int:
        """The bytes of the leaves."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.memory)


@lru_cache(maxsize=_KEPT)
def form_of(spec: Spec, shapes: Shapes) -> Form:
    """The form of leaves of a structure."""
    return Form(spec, shapes, _kind(spec))


class Known(NamedTuple):
    """A value that has been read before: finite leaves that nobody writes.  It may stand for the value where a verb reads one."""

    form: Form
    leaves: Leaves


_seen: dict[Any, Form] = {}


def read(value: Any, path: str, *, copy: bool = False) -> tuple[Form, Leaves]:
    """The form of a value and its leaves, as :func:`.leaves.flatten` gives them; ``path`` is its name in errors."""
    form, leaves, _ = read_all(value, path, copy)
    return form, leaves


def read_all(value: Any, path: str, copy: bool) -> tuple[Form, Leaves, Leaves]:
    """The same, and all numbers of the value in fewer arrays, to be looked at."""
    try:
        key = _look(value)
    except _Unusual:
        key = None
    form = None if key is None else _seen.get(key)
    if form is not None:
        return form, *form.kind.read(value, copy)
    spec = spec_of(value, path)
    leaves, numbers = reader(spec)(value, copy)
    form = form_of(spec, shapes_of(leaves))
    if key is not None:
        if len(_seen) >= _KEPT:
            _seen.clear()
        _seen[key] = form
    return form, leaves, numbers


class _Unusual(Exception):
    """A value whose looks do not tell its structure."""


def _look(value: Any) -> Any:
    """What a value looks like: values that look the same have the same form."""
    kind = type(value)
    if kind is np.ndarray:
        return np.ndarray, value.dtype, value.shape
    if kind is float or value is None or kind is bool or kind is np.float64:
        return kind
    if kind is int and -(2**63) <= value < 2**63:
        return kind
    if isinstance(value, tuple):
        return kind, *map(_look, value)
    raise _Unusual
