"""A number of 64 bits that tells states apart: to see whether a state is the one that it should be, bit for bit.

Eight lanes take the words of the memory in turns; each does what FNV-1a does (Fowler, Noll & Vo), on words instead of bytes, and
rotates, so that high bits reach low ones.  Another word in one place always gives another number; any other difference goes
unnoticed with probability 2**-64 or so.  It is no protection against intent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

__all__ = ["digest"]

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0xCBF29CE484222325)
_LEFT, _RIGHT = np.uint64(29), np.uint64(35)


@njit(cache=True, nogil=True, error_model="numpy")
def _mixed(h: np.uint64, word: np.uint64) -> np.uint64:
    h = (h ^ word) * _PRIME
    return (h << _LEFT) | (h >> _RIGHT)


@njit(cache=True, nogil=True, error_model="numpy")
def _words(h: np.uint64, words: np.ndarray) -> np.uint64:
    """The number after these words, which are unsigned integers of any size."""
    a = b = c = d = e = f = g = k = h
    whole = words.size // 8 * 8
    for i in range(0, whole, 8):
        a = _mixed(a, np.uint64(words[i]))
        b = _mixed(b, np.uint64(words[i + 1]))
        c = _mixed(c, np.uint64(words[i + 2]))
        d = _mixed(d, np.uint64(words[i + 3]))
        e = _mixed(e, np.uint64(words[i + 4]))
        f = _mixed(f, np.uint64(words[i + 5]))
        g = _mixed(g, np.uint64(words[i + 6]))
        k = _mixed(k, np.uint64(words[i + 7]))
    for lane in (a, b, c, d, e, f, g, k):
        h = _mixed(h, lane)
    for i in range(whole, words.size):
        h = _mixed(h, np.uint64(words[i]))
    return _mixed(h, np.uint64(words.size))


def digest(leaves: Sequence[np.ndarray]) -> int:
    """The number of the memory of these arrays, in their order; arrays that are not contiguous are copied."""
    h = _SEED
    for leaf in leaves:
        memory = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
        whole = memory.size // 8 * 8
        h = np.uint64(_words(h, memory[:whole].view(np.uint64)))
        if whole < memory.size:
            h = np.uint64(_words(h, memory[whole:]))
    return int(h)
