"""What names from outside meant when functions were lowered, and whether they still mean it.

This is asked in every call, and the functions of one model often read the same names: each is looked up once.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any

from .opaque import Opaque
from .source import MISSING, Namespace, Source
from .spec import Spec

__all__ = ["Outside", "getter", "resolve"]


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


def getter(source: Source, path: str) -> Callable[[], Any]:
    """A function that does what :func:`resolve` does for a name."""
    if path in source.fn.__code__.co_freevars:
        cell = source.cell(path)

        def contents() -> Any:
            try:
                return cell.cell_contents
            except ValueError:  # it is empty
                return resolve(source, path)

        return contents
    return partial(resolve, source, path)


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
        try:
            if self._same():
                return False
        except (AttributeError, KeyError, ValueError):  # a name that is gone, or a cell that is empty
            pass
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

    @cached_property
    def _same(self) -> Callable[[], bool]:
        """Says whether all names mean the very objects that they meant, which is nearly always so: a text, for that is asked for
        each call, and a walk through the names takes longer than looking them up."""
        tests, scope = [], {"builtins": builtins}
        for k, (space, first, rest, then) in enumerate(self.globals.values()):
            scope |= {f"space_{k}": space, f"then_{k}": then}
            name = f"space_{k}[{first!r}]"
            if first not in space:
                tests.append(f"{first!r} not in space_{k}")
                name = f"builtins.{first}"
            tests.append(f"{'.'.join([name, *rest])} is then_{k}")
        for k, (source, path, then) in enumerate(self.others):
            if path.startswith("default:"):
                return lambda: False
            first, *rest = path.split(".")
            scope |= {f"cell_{k}": source.cell(first), f"value_{k}": then}
            tests.append(f"{'.'.join([f'cell_{k}.cell_contents', *rest])} is value_{k}")
        found: Callable[[], bool] = eval(f"lambda: {' and '.join(tests) or 'True'}", scope)
        return found

    def _other(self, now: Any, then: Any) -> bool:
        spec = self.spec_of(then)
        return spec is None or spec != self.spec_of(now)
