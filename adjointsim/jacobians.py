"""Jacobians: the derivatives of every leaf of one structure with respect to every leaf of another, filled line by line."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from adjointsim.derive.spec import NoneSpec, ScalarSpec, Spec, TupleSpec, differentiable, leaves_of
from adjointsim.errors import ArgumentError
from adjointsim.leaves import Bars, Shapes

__all__ = ["Blocks", "checked_mode", "units"]


def checked_mode(mode: Any) -> str:
    """``mode``, or ArgumentError."""
    if mode not in ("auto", "forward", "reverse"):
        raise ArgumentError(f"Got mode={mode!r}, but expected 'auto', 'forward' or 'reverse'")
    return mode


def units(active: Sequence[bool], shapes: Shapes) -> Iterator[tuple[int, int]]:
    """The leaf and the place in it of each number of the active leaves."""
    for leaf, (on, shape) in enumerate(zip(active, shapes, strict=True)):
        for place in range(math.prod(shape) if on else 0):
            yield leaf, place


class Blocks:
    """A Jacobian as one array for each pair of leaves: ``outs`` is what is differentiated, ``ins`` with respect to what.  Only
    what :meth:`zeros` gives has these arrays.

    Only ``active`` leaves of ``ins``, which must be floats, have columns.
    """

    def __init__(self, out_spec: Spec, out_shapes: Shapes, in_spec: Spec, in_shapes: Shapes, active: Sequence[bool]) -> None:
        self.out_spec, self.in_spec, self.active = out_spec, in_spec, active
        self.outs, self.ins = leaves_of(out_spec), leaves_of(in_spec)
        self.out_shapes, self.in_shapes = out_shapes, in_shapes
        self.out_active = [differentiable(leaf) for leaf in self.outs]
        self._memory = [
            [
                ((math.prod(m), math.prod(n)), np.result_type(o.dt, i.dt)) if out_on and in_on else None
                for i, n, in_on in zip(self.ins, in_shapes, active, strict=True)
            ]
            for o, m, out_on in zip(self.outs, out_shapes, self.out_active, strict=True)
        ]

    def zeros(self) -> Blocks:
        """The same with memory, in which there are zeros."""
        other = copy.copy(self)
        other.blocks = [[None if own is None else np.zeros(*own) for own in line] for line in self._memory]
        return other

    def columns(self) -> list[tuple[int, int]]:
        """The numbers with respect to which it is differentiated."""
        return list(units(self.active, self.in_shapes))

    def rows(self) -> list[tuple[int, int]]:
        """The numbers that are differentiated."""
        return list(units(self.out_active, self.out_shapes))

    def forward(self, mode: str) -> bool:
        """Whether to compute it by columns: as asked for, or because there are not more of them than rows."""
        return mode == "forward" or (mode == "auto" and len(self.columns()) <= len(self.rows()))

    def put_column(self, leaf: int, place: int, dots: Bars) -> None:
        """The tangents of what is differentiated, for a unit tangent."""
        for line, dot in zip(self.blocks, dots, strict=True):
            block = line[leaf]
            if block is not None and dot is not None:
                block[:, place] = dot.reshape(-1)

    def put_row(self, leaf: int, place: int, bars: Bars) -> None:
        """The cotangents of the other leaves, for a unit cotangent."""
        for block, bar in zip(self.blocks[leaf], bars, strict=True):
            if block is not None and bar is not None:
                block[place] = bar.reshape(-1)

    def nested(self, pick: Any = None) -> Any:
        """The structure of ``outs``, with the structure of ``ins`` in place of each leaf and, in that, arrays of the shapes
        of both, one after the other; numbers have no axes.  None for leaves without a derivative, and for parts that have
        no others.  ``pick`` chooses a part of ``ins``: its spec and its first leaf.
        """
        spec, first = (self.in_spec, 0) if pick is None else pick
        many = len(leaves_of(spec))

        def inner(k: int) -> Any:
            m = _dims(self.outs[k], self.out_shapes[k])
            made: list[Any] = []
            for j in range(first, first + many):
                block = self.blocks[k][j]
                made.append(None if block is None else _value(block, (*m, *_dims(self.ins[j], self.in_shapes[j]))))
            return _nested(spec, iter(made))

        return _nested(self.out_spec, iter([inner(k) for k in range(len(self.outs))]))


def _dims(leaf: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return () if isinstance(leaf, ScalarSpec) else shape


def _value(block: np.ndarray, shape: tuple[int, ...]) -> Any:
    array = block.reshape(shape)
    return array if shape else float(array) if array.dtype == np.float64 else array[()]


def _nested(spec: Spec, values: Iterator[Any]) -> Any:
    if isinstance(spec, TupleSpec):
        items = [_nested(item, values) for item in spec.items]
        if all(item is None for item in items):
            return None
        return spec.cls._make(items) if spec.cls else tuple(items)  # type: ignore[attr-defined]
    return None if isinstance(spec, NoneSpec) else next(values)
