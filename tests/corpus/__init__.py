"""A corpus of small functions in the language of scalars and array elements, with sample arguments.

Every function returns a float, an array, or a (nested) tuple of these; it runs as plain Python, under the reference and,
unless tagged "plain", under Numba.  Tags name the features that a case is about; some have a meaning of their own:

========  ======================================================================================================
step      the signature is ``(n, y, p)``
plain     Numba does not accept it: it calls functions that are not compiled, say
overlap   an operator in place on overlapping views, where Numba does not do as NumPy does
closure   the function was made by another function
float32   a leaf is float32; the reference computes in double precision
trap      an infinite or undefined value lurks on a path that is not taken
singular  an infinite coefficient meets the sample arguments, so finite differences do not apply
kink      the sample lies on a tie or jump: the policy decides the derivative, finite differences do not apply
========  ======================================================================================================
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "Case", "case", "tagged"]


@dataclass(frozen=True)
class Case:
    """One function with one tuple of sample arguments; ``name`` is ``module.function`` or ``module.function[id]``."""

    name: str
    fn: Callable[..., Any]
    args: tuple
    tags: frozenset[str]

    def fresh_args(self) -> tuple:
        """A deep copy of the arguments, for functions that overwrite them."""
        return copy.deepcopy(self.args)


CASES: list[Case] = []


def case(*, args: tuple, id: str = "", tags: str = "") -> Callable[[Callable], Callable]:
    """Register the decorated function with these arguments; may be stacked.  ``tags`` is a string of words."""

    def register(fn: Callable) -> Callable:
        name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}" + (f"[{id}]" if id else "")
        CASES.append(Case(name, fn, args, frozenset(tags.split())))
        return fn

    return register


def tagged(*tags: str) -> list[Case]:
    """The cases that carry all of these tags."""
    return [c for c in CASES if c.tags.issuperset(tags)]


for _module in (
    "scalars", "control", "arrays", "overwrite", "structures", "calls", "numeric", "steps", "hazards", "adversarial", "made",
    "proofs", "expressions", "iteration", "gathers", "kernels_dense", "kernels_stencils", "kernels_misc",
    "singles", "lists", "smallarrays",
):  # fmt: skip
    importlib.import_module(f"{__name__}.{_module}")
