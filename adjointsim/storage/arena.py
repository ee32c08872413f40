"""Memory for stored states, kept from one sweep to the next: fresh memory costs a page fault every 4 KiB."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterable

import numpy as np

__all__ = ["borrow_slots", "kept_bytes"]

_SMALL = 2**16  # bytes that the heap has at hand

_Key = tuple[tuple[tuple[int, ...], np.dtype], ...]


class _Pool:
    """The slots that were given back last; at most one set, so that nothing is held that was not just in use."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # the garbage collector may give back what a cycle held while this thread takes
        self.key: _Key = ()
        self.arrays: tuple[np.ndarray, ...] = ()

    def take(self, key: _Key) -> tuple[np.ndarray, ...] | None:
        with self.lock:
            arrays, known = self.arrays, self.key
            self.arrays, self.key = (), ()
        return arrays if known == key else None

    def give(self, key: _Key, arrays: tuple[np.ndarray, ...]) -> None:
        with self.lock:
            self.arrays, self.key = arrays, key


_pool = _Pool()


def borrow_slots(owner: object, memory: Iterable[tuple[tuple[int, ...], np.dtype]]) -> tuple[np.ndarray, ...]:
    """An array for each shape and dtype, contents arbitrary; theirs until ``owner`` is collected.

    Raises MemoryError if there is not as much.
    """
    key = tuple(memory)
    if sum(math.prod(shape) * dtype.itemsize for shape, dtype in key) <= _SMALL:
        return tuple(np.empty(shape, dtype) for shape, dtype in key)
    arrays = _pool.take(key)
    if arrays is None:
        arrays = tuple(np.empty(shape, dtype) for shape, dtype in key)
    weakref.finalize(owner, _pool.give, key, arrays).atexit = False
    return arrays


def kept_bytes() -> int:
    """What is held for the next sweep, and given up if that needs something else."""
    return sum(array.nbytes for array in _pool.arrays)
