"""What a workload is made of, and what is common to those in :mod:`benchmarks.workloads`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

import adjointsim as adj
from adjointsim.step import Step

NAMES = ("oscillator", "burgers", "wave", "bodies", "gray_scott", "implicit_heat", "shallow_water", "recurrent")

by_hand = njit(error_model="numpy", cache=True)
#: for functions that are sums, which only vectorise in another order
summing = njit(error_model="numpy", fastmath={"reassoc", "nsz"}, cache=True)


@dataclass(frozen=True)
class Work:
    """What a step and its adjoint by hand do at least: numbers moved to and from memory (a state is stored and read back),
    additions and multiplications, divisions and square roots that vectorise, and calls of tanh; ``chain`` counts additions and
    multiplications that wait for one another, and ``divisions_in_chain`` divisions that do."""

    numbers: float
    flops: float
    divisions: float = 0.0
    tanhs: float = 0.0
    chain: float = 0.0
    divisions_in_chain: float = 0.0


@dataclass(frozen=True)
class Workload:
    """One simulation, written several times.

    ``problem(size, n_steps)`` makes ``(y0, p)``; ``costs(n_steps)`` the keywords of :class:`adjointsim.Simulation`; ``wrt`` is
    what the gradient is taken with respect to.  By hand, ``run(n_steps, y0, p, scratch)`` is the value and ``gradient`` of the
    same arguments the value and a tuple of the derivatives, in the order of the leaves of ``y0`` and ``p`` that ``wrt`` names;
    ``scratch(n_steps, y0, p)`` makes memory for both, once.  ``functional(xp)`` has, for libraries that overwrite nothing, named
    pairs of ``advance(n, y, p) -> (y_next, cost)`` and ``last(y, p) -> cost`` or None.  ``tiny``, ``usual`` and ``full`` are
    (size, number of steps).
    """

    name: str
    title: str
    step: Step
    problem: Callable[[int, int], tuple[Any, Any]]
    costs: Callable[[int], Mapping[str, Any]]
    run: Callable[..., float]
    gradient: Callable[..., tuple[float, tuple[Any, ...]]]
    scratch: Callable[[int, Any, Any], Any]
    functional: Callable[[Any], Mapping[str, tuple[Callable[..., Any], Callable[..., Any] | None]]]
    work: Callable[[int], Work]
    tiny: tuple[int, int]
    usual: tuple[int, int]
    full: tuple[int, int]
    arrays: Step | None = None  # the same step as array expressions
    wrt: tuple[str, ...] = ("y0", "p")

    def simulation(self, n_steps: int, step: Step | None = None, **options: Any) -> adj.Simulation:
        """Ours."""
        return adj.Simulation(step or self.step, n_steps, **self.costs(n_steps), **options)

    def chosen(self, y0: Any, p: Any) -> tuple[Any, ...]:
        """What the gradient is taken with respect to."""
        return tuple([y0 if name == "y0" else p if name == "p" else getattr(p, name[2:]) for name in self.wrt])

    def with_chosen(self, y0: Any, p: Any, chosen: tuple[Any, ...]) -> tuple[Any, Any]:
        """``y0`` and ``p`` with these in them."""
        for name, value in zip(self.wrt, chosen):
            if name == "y0":
                y0 = value
            else:
                p = value if name == "p" else p._replace(**{name[2:]: value})
        return y0, p

    def bounded(self, n_steps: int, y0: Any, p: Any) -> adj.Simulation:
        """Ours with memory for a hundredth of all states, or for ten if that is more, and for what a step works with."""
        slots = min(max(10, n_steps // 100), n_steps)
        return self.simulation(n_steps, memory=self.simulation(n_steps, checkpoints=slots).plan(y0, p).bytes)


def leaves(tree: Any) -> list[Any]:
    """The numbers and arrays of nested tuples, in order; what is None is left out."""
    if tree is None:
        return []
    if isinstance(tree, tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def flat(value: Any, gradient: Any) -> list[np.ndarray]:
    """A value and the leaves of a gradient as vectors."""
    return [np.ravel(np.asarray(leaf, float)) for leaf in [value, *leaves(gradient)]]


def worst(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference, leaf by leaf in units of the largest number of that leaf."""
    if [len(leaf) for leaf in found] != [len(leaf) for leaf in expected]:
        raise AssertionError(
            f"got leaves of {[len(leaf) for leaf in found]} numbers, but expected {[len(leaf) for leaf in expected]}"
        )
    return max(float(np.max(np.abs(f - e)) / max(np.max(np.abs(e)), 1e-300)) for f, e in zip(found, expected))
