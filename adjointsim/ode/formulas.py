"""Pieces of formulas that the texts of methods share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import Any

import numpy as np

__all__ = ["lower_triangle", "polynomial", "stage_time", "stage_times", "summed_text", "weighted"]


def weighted(weights: Iterable[object], name: str, path: str) -> str:
    """sum_i w_i name_i at a path, stages counted from 1; without what is 0, so that it may be empty."""
    return " + ".join(f"{float(w)!r} * {name}{i + 1}{path}" for i, w in enumerate(weights) if w)  # type: ignore[arg-type]


def stage_time(c: object, begin: str, end: str) -> str:
    """The time of a stage: ``end`` itself at 1, which the right-hand side may see otherwise than ``begin + h``."""
    return end if c == 1 else f"{begin} + {float(c)!r} * h" if c else begin  # type: ignore[arg-type]


def polynomial(coefficients: Sequence[Any]) -> str:
    """sum_j c_j theta^(j + 1), as Horner has it."""
    text = ""
    for c in reversed(coefficients):
        text = f"theta * ({float(c)!r} + {text})" if text else f"theta * {float(c)!r}"
    return text


def lower_triangle(rows: Sequence[Sequence[Any]]) -> np.ndarray:
    """Coefficients as a square table, for a loop over stages."""
    table = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        table[i, : len(row)] = [float(x) for x in row]
    return table


def stage_times(c: Sequence[Any]) -> dict[str, np.ndarray]:
    """What a loop over stages reads of their times; see :func:`stage_time`."""
    return {"stage_times": np.array(c, float), "stage_ends": np.array([x == 1 for x in c])}


def summed_text(count: int | None) -> str:
    """The text of ``summed(w, u, n)``, sum_{j < n} w_j u_j for stages that are rows, of a number of components if it is small."""
    if count is None:
        return """
def summed(w, u, n):
    total = np.zeros(u.shape[1])
    for j in range(n):
        for k in range(u.shape[1]):
            total[k] += w[j] * u[j, k]
    return total
"""
    lines = [*(f"s{k} = 0.0" for k in range(count)), "for j in range(n):"]
    lines += [f"    s{k} += w[j] * u[j, {k}]" for k in range(count)]
    lines.append(f"return np.array([{', '.join(f's{k}' for k in range(count))}])")
    return "def summed(w, u, n):\n" + indent("\n".join(lines), "    ")
