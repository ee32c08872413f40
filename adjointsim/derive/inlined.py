"""Callables of the library's own, for code of its own that is lowered: what a call of one means is said in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .values import Value

__all__ = ["Inlined"]


@dataclass(frozen=True, eq=False)
class Inlined:
    """``lower(lowering, values)`` writes the call for values of its arguments and returns its value."""

    lower: Callable[[Any, Sequence[Value]], Value]
