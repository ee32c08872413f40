"""What was derived from a long program, kept on the disk beside its compiled code: a new process reads it instead.

Lowering always runs: it is what looks at the user's functions, at what they call and at what their names mean.  What it
makes, the program in the IR, is all that the passes after it read, so a hash of that program is the name of the file; an
edited function or another type of a captured value gives another program.  Programs that call foreign code are not kept,
short ones neither: to derive these takes no longer than to read a file.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from . import ir
from .build import Names
from .entry import Entry
from .ir import walk
from .module import cache_directory, name_of, write
from .sealed import sealed, unsealed
from .spec import leaf_specs

__all__ = ["stored"]

T = TypeVar("T")

#: statements below which a program is derived again
LEAST = 200
_PARTS = {kind: tuple(kind.__dataclass_fields__) for kind in (ir.Base, ir.Fn, *ir.Stmt.__args__)}  # type: ignore[attr-defined]


def stored(entries: Sequence[Entry], request: Sequence[Any], make: Callable[[], T]) -> T:
    """What ``make`` derives from the entries and nothing else: from the disk if it is there, and kept there if it is new.

    ``request`` says in plain values what is derived from them.  The result may hold the entries themselves, and the lines
    of their sources: what is read from the disk has the ones that are given here.
    """
    size = sum(1 for entry in entries for fn in (entry.fn, *(h.fn for h in entry.helpers)) for _ in walk(fn.body))
    if size < LEAST or any(entry.opaques for entry in entries):
        return make()
    name = name_of(repr((_plain(list(request)), [_program(entry) for entry in entries])), "derived") + ".ir"
    outside = _Outside(entries)
    body = unsealed(cache_directory() / name)
    if body is not None:
        return _Reader(body, outside).load()
    made = make()
    with suppress(OSError):
        write(name, sealed(outside.written(made)))
    return made


class _Outside:
    """What is not written to the disk, because every process has its own: entries, and the lines of their sources."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.objects: list[Any] = []
        for entry in entries:
            self.objects += [entry, entry.lines, *(h.source.lines for h in entry.helpers)]
        self.places = {id(x): k for k, x in enumerate(self.objects)}
        self.programs = {id(entry.fn): k for k, entry in enumerate(self.objects) if isinstance(entry, Entry)}

    def place(self, x: Any) -> int | None:
        """Where an object is among them; a copy of an entry that has names of its own stands for the entry."""
        return self.programs[id(x.fn)] if isinstance(x, Entry) else self.places.get(id(x))

    def written(self, made: Any) -> bytes:
        file = io.BytesIO()
        _Writer(file, self).dump(made)
        return file.getvalue()


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, outside: _Outside) -> None:
        super().__init__(file, 5)
        self.persistent_id = outside.place  # type: ignore[method-assign]


class _Reader(pickle.Unpickler):
    def __init__(self, body: bytes, outside: _Outside) -> None:
        super().__init__(io.BytesIO(body))
        self.persistent_load = outside.objects.__getitem__  # type: ignore[method-assign]


def _program(entry: Entry) -> Any:
    """All that is derived from, in plain values."""
    helpers = [(h.fn, h.names, sorted(v.name for v in h.nonnegative), _hash(h.source.lines)) for h in entry.helpers]
    captures = [c.base for c in entry.captures]
    own = [entry.fn, entry.counters, entry.leaves, captures, entry.results, entry.origins, entry.dims, entry.names]
    kinds = [(path, repr(leaf)) for path, leaf in leaf_specs(entry.result_spec)]
    return _plain([own, kinds, sorted(entry.overwritten), _hash(entry.lines), helpers])


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plain(x: Any) -> Any:
    """The same in tuples, lists, numbers and strings, whose text is the same in all processes."""
    kind = type(x)
    if kind is ir.Var:
        return x.name, x.dt
    if kind is ir.Const:
        return repr(x.value), x.dt
    if kind in (str, int, bool, float, type(None)):
        return x
    if kind in (tuple, list):
        return [_plain(i) for i in x]
    if kind in _PARTS:
        return kind.__name__, [_plain(getattr(x, name)) for name in _PARTS[kind]]
    if kind is dict:
        return [(_plain(k), _plain(v)) for k, v in x.items()]
    if kind is Names:
        return _plain(x.state())
    if isinstance(x, np.generic):
        return repr(x)
    raise TypeError(f"{kind.__name__} is no part of a program")
