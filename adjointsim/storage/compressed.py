"""States of a second tier compressed without loss: where a disk is slow or small, and states are smooth."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adjointsim.errors import MissingExtraError
from adjointsim.storage import checked_storage, parse_bytes

__all__ = ["Compressed"]


class Compressed:
    """A storage to be passed as ``directory=``: each state in a file of its own, in a private folder that is removed with it.

    ``capacity`` (bytes, or "200GB") is what the states take before they are compressed, all slots together.  The bytes of
    numbers of ``itemsize`` bytes are sorted by their place in the number first: exponents compress, low bits of mantissas do
    not.  Zstandard (Collet & Kucherawy, RFC 8878) at a low ``level``; MissingExtraError without it.

    It is for one simulation at a time.  A run in it does not go on after it was killed.
    """

    def __init__(self, directory: Any, capacity: int | str, *, itemsize: int = 8, level: int = 1) -> None:
        try:
            import zstandard
        except ImportError:
            raise MissingExtraError("zstandard", "compress") from None
        self.capacity, self.itemsize = parse_bytes(capacity), itemsize
        self._folder = tempfile.TemporaryDirectory(prefix="adjointsim.", dir=checked_storage(directory))
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._decompressor = zstandard.ZstdDecompressor()
        self.raw = self.stored = 0  #: bytes that were written so far, before and after

    def _path(self, slot: int) -> Path:
        return Path(self._folder.name) / f"slot.{slot}"

    def write(self, slot: int, state: memoryview) -> None:
        """Keep the bytes of a state."""
        given = np.frombuffer(state, np.uint8)
        whole = given.size // self.itemsize * self.itemsize
        sorted_ = np.concatenate([given[:whole].reshape(-1, self.itemsize).T.reshape(-1), given[whole:]])
        content = self._compressor.compress(sorted_)
        new = self._path(slot).with_suffix(".new")
        try:
            new.write_bytes(content)
            os.replace(new, self._path(slot))
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self.raw, self.stored = self.raw + given.size, self.stored + len(content)

    def read(self, slot: int, state: memoryview) -> None:
        """Fill in the bytes that were kept last."""
        found = np.frombuffer(self._decompressor.decompress(self._path(slot).read_bytes()), np.uint8)
        out = np.frombuffer(state, np.uint8)
        if found.size != out.size:
            raise OSError(f"{self._path(slot)} has {found.size} bytes, not {out.size}")
        whole = out.size // self.itemsize * self.itemsize
        out[:whole].reshape(-1, self.itemsize)[...] = found[:whole].reshape(self.itemsize, -1).T
        out[whole:] = found[whole:]

    def close(self) -> None:
        """Remove everything."""
        self._folder.cleanup()
