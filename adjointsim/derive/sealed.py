"""Numba's disk cache with a seal on every file: what is damaged is compiled again instead of loaded.

Numba unpickles whatever its files hold: one that was cut short (a full disk, a killed copy) raises errors of pickle's, and a
flipped bit in machine code would run.  Here a file begins with the hash of the rest, and code is kept with the key that it
was compiled for, because two processes that save at the same moment may both choose the same file name.
"""

from __future__ import annotations

import hashlib
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["seal", "sealed", "unsealed"]


def sealed(body: bytes) -> bytes:
    """The content of a sealed file."""
    return hashlib.sha256(body).digest() + body


def unsealed(path: str | Path) -> bytes | None:
    """What a sealed file holds; None if there is none, or if the seal is broken."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return None
    digest, body = content[:32], content[32:]
    return body if hashlib.sha256(body).digest() == digest else None


def _read(path: str) -> Any:
    body = unsealed(path)
    return None if body is None else pickle.loads(body)


class _SealedFiles(IndexDataCacheFile):
    """An index and the files of code that it names."""

    def _load_index(self) -> dict[Any, str]:
        version, stamp, overloads = _read(self._index_path) or (None, None, {})
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _write(self, path: str, content: Any) -> None:
        body = self._dump(content)
        with self._open_for_write(path) as f:
            f.write(sealed(body))

    def load(self, key: Any) -> Any:
        """The code of a key; None if it must be compiled."""
        name = self._load_index().get(key)
        found, code = (_read(self._data_path(name)) if name else None) or (None, None)
        return code if found == key else None

    def save(self, key: Any, data: Any) -> None:
        """Keep the code of a key."""
        overloads = self._load_index()
        names = (self._data_name(k) for k in range(1, len(overloads) + 2))
        name = overloads.get(key) or next(n for n in names if n not in overloads.values())
        self._write(self._data_path(name), (key, data))
        if key not in overloads:
            self._save_index({**overloads, key: name})


class _SealedCache(FunctionCache):
    """The disk cache of one function."""

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        self._cache_file = _SealedFiles(self.cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code if the disk takes it: this process has it in any case."""
        with suppress(OSError):
            super().save_overload(sig, data)


def seal(functions: dict[str, Any]) -> None:
    """Give the compiled functions of a module's namespace that cache on disk a cache of this kind."""
    for fn in functions.values():
        if isinstance(getattr(fn, "_cache", None), FunctionCache):
            fn._cache = _SealedCache(fn.py_func)
