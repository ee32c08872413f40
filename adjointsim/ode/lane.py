"""Many short integrations with tangents in one call of compiled code: what a fit asks for again and again.

All tangents are carried at once, or one after the other where a function brings a rule for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjointsim.derive.lanes import LanesError
from adjointsim.derive.spec import ScalarSpec, TupleSpec, leaves_of
from adjointsim.engine import CompiledExecutor
from adjointsim.leaves import stacked_spec, unflatten

from .one_call import OneCall, Stack
from .solve import Solve

if TYPE_CHECKING:
    from .ode import ODE

__all__ = ["Column", "Lane", "Linearised"]


class Column(NamedTuple):
    """A number by which observations are differentiated: of a leaf of y0 or of p, at a place in it."""

    of_state: bool
    leaf: int
    place: int


class Linearised(Stack):
    """The numbers of experiments, and the observations and their derivatives, one experiment behind the other.

    ``seen[k]`` has the leaf k of all observations, ``moved[j]`` those of the j-th floating one by each column in turn.
    """

    def __init__(self, odes: Sequence[ODE], y: Sequence[np.ndarray], p: Sequence[np.ndarray], lane: Lane) -> None:
        super().__init__(odes, y, p)
        count, self.spec = self.ends[-1], lane.observation
        self.seen = tuple(np.zeros((count, *shape), dtype) for shape, dtype in lane.seen)
        self.moved = tuple(np.zeros((lane.columns, count, *shape), dtype) for shape, dtype in lane.moved)

    def observations(self, experiment: int) -> Any:
        """Those of an experiment, in their structure."""
        first, last = self.ends[experiment], self.ends[experiment + 1]
        own = [leaf[first:last].copy() for leaf in self.seen]
        return unflatten(stacked_spec(self.spec), [
            leaf[:, 0] if isinstance(one, ScalarSpec) else leaf for leaf, one in zip(own, leaves_of(self.spec), strict=True)
        ])  # fmt: skip


class Lane(OneCall):
    """The compiled function and memory for it, for one caller at a time."""

    def __init__(self, solve: Solve, wrt: Sequence[str], columns: Sequence[Column]) -> None:
        """For experiments like that of ``solve``, differentiated by the numbers ``columns``, which are in ``wrt``.  ValueError if
        numbers other than shapes say how much memory is needed."""
        self.width = self.columns = len(columns)
        try:
            pair = solve.with_tangents(wrt, self.width)
            executor = CompiledExecutor(pair.problem, pair.y0, pair.p, 0, True)
        except LanesError:
            self.width = 1
            pair = solve.with_tangents(wrt, 1)
            executor = CompiledExecutor(pair.problem, pair.y0, pair.p, 0, True)
        super().__init__(solve, pair, executor, self.width, self.columns)
        both = executor.observation_spec  # of an observation and its tangent
        assert isinstance(both, TupleSpec)
        self.observation = both.items[0]
        observed = [(o.shape[1:], o.dtype) for o in executor.memory.seen]
        self.seen = observed[: len(leaves_of(self.observation))]
        self.moved = [(shape, dtype) for shape, dtype in self.seen if dtype.kind == "f"]
        floats = (k for k, leaf in enumerate(solve.p.leaves) if leaf.dtype.kind == "f")
        p_dots = dict(zip(floats, self.p_dots, strict=True))
        for column, (of_state, leaf, place) in enumerate(columns):
            (self.y_dots[leaf] if of_state else p_dots[leaf])[column].flat[place] = 1.0

    def run(self, stack: Linearised) -> bool:
        """Fill in the observations and their derivatives; whether all went well."""
        if self.stale() or not self.executor.looked_up(self.executor.problem):
            return False
        return self.call(stack, 2, stack.seen, stack.moved) >= 0
