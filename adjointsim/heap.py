"""Memory of large arrays that is kept from one call to the next: fresh memory costs a page fault every 4 KiB.

An array of more than 64 KiB has a block, which comes back when the array and all views of it are gone, also where it is a result
that a user held for a while.  Blocks that nobody uses are kept up to 64 MiB, the last ones used first.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["copied", "idle_bytes", "zeros"]

_SMALL = 2**16  # bytes that the system's heap has at hand
_MOST = 2**26

_lock = threading.RLock()  # the garbage collector may give back what a cycle held while this thread takes
_idle: list[np.ndarray] = []  # the last that came back is the last


class _Lease:
    """The user of a block: an array's base, with which it lives."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: np.ndarray) -> None:
        self.block: np.ndarray = block
        self.__array_interface__ = block.__array_interface__

    def __del__(self) -> None:
        if _give is not None:  # type: ignore[truthy-function]  # while Python ends it may be
            _give(self.block)


def _take(size: int) -> np.ndarray | None:
    """A block of so many bytes that nobody uses."""
    with _lock:
        for k in range(len(_idle) - 1, -1, -1):
            if _idle[k].nbytes == size:
                return _idle.pop(k)
    return None


def _give(block: np.ndarray) -> None:
    """Keep a block, and fewer of those that came back before it."""
    with _lock:
        if block.nbytes > _MOST:
            return
        _idle.append(block)
        total = idle_bytes()
        while total > _MOST:
            total -= _idle.pop(0).nbytes


def idle_bytes() -> int:
    """What is kept and not used."""
    return sum(block.nbytes for block in tuple(_idle))


def _leased(shape: Sequence[int], dtype: Any) -> tuple[np.ndarray, bool]:
    """A new array with any contents, and whether these are zeros."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if not _SMALL < size <= _MOST:
        return np.zeros(shape, dtype), True
    block = _take(size)
    fresh = block is None
    if block is None:
        block = np.zeros(size, np.uint8)
    return np.asarray(_Lease(block)).view(dtype).reshape(tuple(shape)), fresh


def zeros(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """A new array of zeros, in C order."""
    array, zero = _leased(shape, dtype)
    if not zero:
        array.fill(0)
    return array


def copied(array: np.ndarray) -> np.ndarray:
    """A new array with these contents, in C order."""
    if array.nbytes <= _SMALL:
        return array.copy()
    copy, _ = _leased(array.shape, array.dtype)
    copy[...] = array
    return copy
