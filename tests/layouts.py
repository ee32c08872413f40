"""The same numbers in other memory: values whose arrays are not what compiled code takes as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

__all__ = ["LAYOUTS", "arrays_of", "laid_out", "memory_of"]

Layout = Callable[[np.ndarray], np.ndarray]


def strided(x: np.ndarray) -> np.ndarray:
    """Every other element along every axis, with something in between: ``a[::2, ::2]``."""
    room = _full(tuple(2 * n for n in x.shape), x.dtype)
    view = room[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def backwards(x: np.ndarray) -> np.ndarray:
    """Negative strides along every axis: ``a[::-1, ::-1]``."""
    flipped = (slice(None, None, -1),) * x.ndim
    return np.array(x[flipped], order="C")[flipped]


def columns(x: np.ndarray) -> np.ndarray:
    """Fortran order: ``a.T``; of a vector, a column of a matrix."""
    if x.ndim > 1:
        return np.array(x.T, order="C").T
    table = _full((x.size, 3), x.dtype)
    table[:, 1] = x
    return table[:, 1]


def rotated(x: np.ndarray) -> np.ndarray:
    """The last axis outermost, the others in order, and a part of a larger array along it."""
    room = _full((x.shape[-1] + 2, *x.shape[:-1]), x.dtype)
    view = np.moveaxis(room[1:-1], 0, -1)
    view[...] = x
    return view


def unaligned(x: np.ndarray) -> np.ndarray:
    """Read-only, at an odd address."""
    return np.frombuffer(b"\xff" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)


def swapped(x: np.ndarray) -> np.ndarray:
    """Bytes in the other order."""
    return x.astype(x.dtype.newbyteorder())


LAYOUTS: dict[str, Layout] = {f.__name__: f for f in (strided, backwards, columns, rotated, unaligned, swapped)}


def _full(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory full of what nobody should read."""
    return np.full(shape, np.nan if dtype.kind in "fc" else 77, dtype)


def laid_out(value: Any, first: int = 0, _turn: Iterator[int] | None = None) -> Any:
    """The same structure with its arrays in other layouts, one after the other, beginning with the ``first``."""
    turn = count(first) if _turn is None else _turn
    if isinstance(value, tuple):
        items = [laid_out(item, first, turn) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    made = list(LAYOUTS.values())[next(turn) % len(LAYOUTS)](value)
    assert np.array_equal(made, value) and made.shape == value.shape
    return made


def arrays_of(value: Any) -> list[np.ndarray]:
    """The arrays of a structure."""
    if isinstance(value, tuple):
        return [a for item in value for a in arrays_of(item)]
    return [value] if isinstance(value, np.ndarray) else []


def memory_of(value: Any) -> list[bytes]:
    """All memory behind the arrays of a structure, also that between their elements."""
    found = []
    for a in arrays_of(value):
        while isinstance(a.base, np.ndarray):
            a = a.base
        found.append(a.tobytes("A"))
    return found
