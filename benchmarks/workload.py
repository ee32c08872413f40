"""What a workload is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import adjointsim as adj
from adjointsim.step import Step


@dataclass(frozen=True)
class Work:
    """What one step moves and computes at least, in bytes of memory and in operations of double numbers."""

    primal_bytes: float
    primal_flops: float
    gradient_bytes: float  # there and back, every state written once and read once
    gradient_flops: float


@dataclass(frozen=True)
class Workload:
    """One simulation, written several times.

    ``problem(size, n_steps)`` makes ``(y0, p)``; ``costs(n_steps)`` the keywords of :class:`adjointsim.Simulation`; ``wrt`` what
    the gradient is taken with respect to.  By hand, ``run(n_steps, y0, p, scratch)`` is the value, and ``gradient`` of the same
    arguments the value and a tuple of the derivatives, in the order of the leaves of ``y0`` and ``p`` that ``wrt`` names;
    ``scratch(n_steps, y0, p)`` makes memory for both, once.  ``tiny``, ``usual`` and ``full`` are (size, number of steps).
    """

    title: str
    step: Step
    problem: Callable[[int, int], tuple[Any, Any]]
    costs: Callable[[int], Mapping[str, Any]]
    run: Callable[..., float]
    gradient: Callable[..., tuple[float, tuple[Any, ...]]]
    scratch: Callable[[int, Any, Any], Any]
    tiny: tuple[int, int]
    usual: tuple[int, int]
    full: tuple[int, int]
    arrays: Step | None = None  # the same step as array expressions
    wrt: tuple[str, ...] = ("y0", "p")
    rtol: float = 1e-11
    others: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def simulation(self, n_steps: int, step: Step | None = None, **options: Any) -> adj.Simulation:
        """Ours."""
        return adj.Simulation(step or self.step, n_steps, **self.costs(n_steps), **options)

    def named(self, gradient: adj.Gradient) -> list[np.ndarray]:
        """The leaves of a gradient that ``wrt`` names, flat."""
        return [np.ravel(leaf) for leaf in leaves((gradient.y0, gradient.p))]


def leaves(tree: Any) -> list[Any]:
    """The numbers and arrays of nested tuples, in order; what is None is left out."""
    if tree is None:
        return []
    if isinstance(tree, tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]
