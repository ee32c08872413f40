"""What the verbs of a model return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adjointsim.ledger import Ledger

__all__ = ["Gradient", "Solution", "SolutionTangent"]


@dataclass(frozen=True)
class Solution:
    """A run: the last state ``y``, the ``value`` (None if the model has no cost) and the ``observations``.

    ``observations`` are stacked along a new first axis, one row for each element of ``observe_at``; None if nothing is
    observed.
    """

    y: Any
    value: float | None
    observations: Any
    ledger: Ledger


@dataclass(frozen=True)
class SolutionTangent:
    """The derivative of a :class:`Solution` along a direction; None where that has None, or an integer."""

    y: Any
    value: float | None
    observations: Any


@dataclass(frozen=True)
class Gradient:
    """Derivatives with the structure of ``y0`` and ``p``; None for integers, bools and what ``wrt`` does not name."""

    y0: Any
    p: Any
    ledger: Ledger
