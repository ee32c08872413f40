"""Pieces of formulas that the texts of methods share."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["added", "stage_time", "weighted"]


def weighted(weights: Iterable[object], name: str, path: str) -> str:
    """sum_i w_i name_i at a path, stages counted from 1; without what is 0, so that it may be empty."""
    return " + ".join(f"{float(w)!r} * {name}{i + 1}{path}" for i, w in enumerate(weights) if w)  # type: ignore[arg-type]


def added(terms: str, factor: str = "") -> str:
    """What follows a value to which a sum is added, times a factor; nothing for an empty sum."""
    return f" + {factor}({terms})" if terms else ""


def stage_time(c: object, begin: str, end: str) -> str:
    """The time of a stage: ``end`` itself at 1, which the right-hand side may see otherwise than ``begin + h``."""
    return end if c == 1 else f"{begin} + {float(c)!r} * h" if c else begin  # type: ignore[arg-type]
