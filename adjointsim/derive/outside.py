"""What names from outside meant when functions were lowered, and whether they still mean it.

This is asked in every call, and the functions of one model often read the same names: each is looked up once.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

from .opaque import Opaque
from .source import MISSING, Namespace, Source
from .spec import Spec

__all__ = ["Outside", "resolve"]


def resolve(source: Source, path: str) -> Any:
    """What a name of a function means now; NameError if nothing."""
    if path.startswith("default:"):
        name = path.removeprefix("default:")
        fn = source.fn
        code = fn.__code__
        positional = code.co_varnames[: code.co_argcount]
        defaults = dict(zip(positional[len(positional) - len(fn.__defaults__ or ()) :], fn.__defaults__ or (), strict=True))
        return {**defaults, **(fn.__kwdefaults__ or {})}[name]
    first, dot, rest = path.partition(".")
    obj = source.lookup(first)
    for attr in rest.split(".") if dot else ():
        obj = getattr(obj, attr, MISSING)
    if obj is MISSING:
        raise NameError(f"name '{path}' is not defined (read by {source.name}, {source.filename})")
    return obj


class Outside:
    """The names in ``found``, with what they meant; ``spec_of`` gives the structure of a captured value, else None."""

    def __init__(
        self, found: Iterable[tuple[Source, str, Any]], opaques: Iterable[Opaque], spec_of: Callable[[Any], Spec | None]
    ) -> None:
        self.spec_of = spec_of
        self.opaques = list({id(opaque): opaque for opaque in opaques}.values())
        self.globals: dict[tuple[int, str, int], tuple[dict[str, Any], str, list[str], Any]] = {}
        self.others: list[tuple[Source, str, Any]] = []  # defaults and cells
        for source, path, then in found:
            first, *rest = path.split(".")
            space = source.fn.__globals__
            if path.startswith("default:") or first in source.fn.__code__.co_freevars:
                self.others.append((source, path, then))
            elif rest or not isinstance(space, Namespace):
                self.globals[id(space), path, id(then)] = space, first, rest, then

    def changed(self) -> bool:
        """Whether a name now means something that the derivation did not see: another function or class, a number of another
        type (another *value* is no matter: it is an input).

        Raises ArgumentError for a value that a custom function has frozen."""
        for opaque in self.opaques:
            opaque.check_unchanged()
        for space, first, rest, then in self.globals.values():
            now = space[first] if first in space else getattr(builtins, first, MISSING)
            for attr in rest:
                now = getattr(now, attr, MISSING)
            if now is not then and self._other(now, then):
                return True
        for source, path, then in self.others:
            try:
                now = resolve(source, path)
            except (NameError, KeyError):
                return True
            if now is not then and self._other(now, then):
                return True
        return False

    def _other(self, now: Any, then: Any) -> bool:
        spec = self.spec_of(then)
        return spec is None or spec != self.spec_of(now)
