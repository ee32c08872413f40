"""The library's own functions that may be called inside steps: what is public registers itself, lowering knows it by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["inside", "verb_of"]

F = TypeVar("F", bound=Callable[..., Any])

_VERBS: dict[Any, str] = {}


def inside(name: str) -> Callable[[F], F]:
    """Decorate a public function of which lowering knows, as ``name``, what to do where a step calls it (to refuse it, say)."""

    def enter(function: F) -> F:
        _VERBS[function] = name
        return function

    return enter


def verb_of(obj: Any) -> str | None:
    """The name under which lowering understands a function of the library's; None for what it does not."""
    try:
        return _VERBS.get(obj)
    except TypeError:
        return None
