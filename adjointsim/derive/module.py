"""Generated modules: text to an imported module with a disk cache of compiled code, safely shared between processes.

The file's name is a hash of its whole text and of the versions of everything that gives the text its meaning, so a stale
module cannot be found: all that a user can change (the step, its helpers, their types, the active leaves) is in the text,
and captured values are inputs of the functions.  Numba keys its own cache by CPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

import llvmlite
import numba
import numpy as np

from .sealed import seal

__all__ = ["NOT_CACHED", "cache_directory", "load_module", "name_of", "write"]

#: marks a text whose compiled code holds addresses of this process
NOT_CACHED = "  # not cached on disk: its code is known by its address"

_LOCK = threading.RLock()
_fallback: Path | None = None


def cache_directory() -> Path:
    """ADJOINTSIM_CACHE_DIR if set, else ``adjointsim`` in the platform's folder for caches."""
    named = os.environ.get("ADJOINTSIM_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local")))
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "adjointsim"


def _library_hash() -> str:
    """A hash of this package's own sources, which generated code calls and which gave it its form."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_library: str = ""


def name_of(text: str, kind: str) -> str:
    """The name of what is made from a text by this version of the library and of what it stands on."""
    global _library
    _library = _library or _library_hash()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version(), platform.machine(), _library)
    return f"{kind}_" + hashlib.sha256("\0".join([text, *versions]).encode()).hexdigest()[:24]


def module_name(text: str) -> str:
    return name_of(text, "adjointsim")


def load_module(text: str) -> ModuleType:
    """The module of this text, from this process, from the disk, or written now.

    An unwritable cache folder is replaced by a temporary one: compiled code then lasts as long as the process.
    """
    if NOT_CACHED in text:
        text = text.replace("cache=True", "cache=False")
    name = module_name(text)
    with _LOCK:
        if name in sys.modules:
            return sys.modules[name]
        path = write(f"{name}.py", text.encode())
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # before it runs: Numba finds a cached function's module by name
        try:
            spec.loader.exec_module(module)
            seal(vars(module))
        except BaseException:
            del sys.modules[name]
            raise
        return module


def write(file: str, content: bytes) -> Path:
    """Where the file is, with this content, in the cache folder."""
    global _fallback
    for folder in (cache_directory(), None):
        if folder is None:
            if _fallback is None:
                _fallback = Path(tempfile.mkdtemp(prefix="adjointsim_"))
            folder = _fallback
        path = folder / file
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                continue
            if not path.exists() or path.read_bytes() != content:
                handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
                with os.fdopen(handle, "wb") as f:
                    f.write(content)
                os.replace(temporary, path)
            return path
        except OSError:
            if folder is _fallback:
                raise
    raise OSError("no writable folder for generated code")
