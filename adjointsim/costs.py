"""The costs and observations of a simulation, on leaves: their values on the way forward, their VJPs on the way back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adjointsim.derive.spec import ScalarSpec, Spec, leaves_of
from adjointsim.errors import StructureError
from adjointsim.executor import Problem
from adjointsim.kernels import INDEX, ScalarKernel, index_leaf, kernel_of
from adjointsim.leaves import Bars, Leaves, shapes_of

__all__ = ["Costs", "accumulate"]


def accumulate(bars: Bars, more: Sequence[np.ndarray | None]) -> None:
    """``bars += more``, leaf by leaf, where both have one."""
    for bar, extra in zip(bars, more, strict=True):
        if bar is not None and extra is not None:
            bar += extra


class Costs:
    """The sums of the value, the observations, and their derivatives; in the order that :class:`.Executor` promises."""

    def __init__(self, problem: Problem, p: Leaves) -> None:
        y_spec, p_spec = problem.y_spec, problem.p_spec
        self.problem, self.p, self.at = problem, p, problem.observe_at
        self.terminal = self.running = self.misfit = self.observe = None
        self.observation_spec: Spec | None = None
        if problem.terminal is not None:
            self.terminal = ScalarKernel(problem.terminal, (y_spec, p_spec), "terminal")
        if problem.running is not None:
            self.running = ScalarKernel(problem.running, (INDEX, y_spec, p_spec), "running")
        if problem.observe is not None:
            self.observe = kernel_of(problem.observe, (INDEX, y_spec, p_spec), role="function")
            self.observation_spec = self.observe.result_spec
            if problem.misfit is not None:
                self.misfit = ScalarKernel(problem.misfit, (INDEX, self.observation_spec, p_spec), "misfit")
        self.totals = [0.0, 0.0, 0.0]  # running, misfits, terminal
        self.observations: Leaves = []
        self.k = 0  # the next observation on the way forward; on the way back, one beyond the next

    # ---------------------------------------------------------------------------------------------------- the way there
    def end(self, problem: Problem) -> None:
        """The end of the run is known, and is in ``problem``."""
        self.problem, self.at = problem, problem.observe_at
        self.observations = [stack[: len(self.at)] for stack in self.observations]

    def visit(self, n: int, y: Leaves) -> None:
        """The running cost and the observations at y_n; once for each n = 0 .. N-1, ascending."""
        if self.running is not None:
            self.totals[0] += self.running.value([index_leaf(n), *y, *self.p])
        self._observe(n, y)

    def finish(self, y: Leaves) -> None:
        """The observations at y_N and the terminal cost."""
        self._observe(self.problem.n_steps, y)
        if self.terminal is not None:
            self.totals[2] = self.terminal.value([*y, *self.p])

    def _observe(self, n: int, y: Leaves) -> None:
        while self.k < len(self.at) and self.at[self.k] == n:
            assert self.observe is not None
            self.keep(self.k, n, self.observe.value([index_leaf(n), *y, *self.p]))
            if self.misfit is not None:
                self.totals[1] += self.misfit.value([index_leaf(self.k), *self.seen(self.k), *self.p])
            self.k += 1

    def keep(self, k: int, n: int, leaves: Leaves) -> None:
        """Store observation k."""
        if not self.observations:
            self.observations = [np.empty((len(self.at), *leaf.shape), leaf.dtype) for leaf in leaves]
        expected = tuple(stack.shape[1:] for stack in self.observations)
        if shapes_of(leaves) != expected:
            got = shapes_of(leaves)
            raise StructureError(f"Got an observation of shape {got} at n={n}, but expected {expected} as at n={self.at[0]}")
        for stack, leaf in zip(self.observations, leaves, strict=True):
            stack[k] = leaf

    def seen(self, k: int) -> Leaves:
        """Observation k."""
        return [stack[k] for stack in self.observations]

    def stacked(self) -> Leaves:
        """All observations, a scalar leaf as one axis.  Without observation times the lengths of the axes are 0."""
        if self.observation_spec is None:
            return []
        specs = leaves_of(self.observation_spec)
        if not self.observations:
            return [np.empty((0,) * (getattr(s, "rank", 0) + 1), s.dt) for s in specs]
        return [o[:, 0] if isinstance(s, ScalarSpec) else o for o, s in zip(self.observations, specs, strict=True)]

    # ----------------------------------------------------------------------------------------------------- the way back
    def seed(self, value_bar: float, observations_bar: Bars | None, y: Leaves, y_bar: Bars, p_bar: Bars) -> None:
        """Begin the way back: add the cotangents of the terminal cost and of the observations at y_N."""
        self.value_bar, self.observations_bar, self.k = value_bar, observations_bar, len(self.at)
        if self.terminal is not None:
            self._add(self.terminal, [*y, *self.p], 0, y_bar, p_bar)
        self._observe_back(self.problem.n_steps, y, y_bar, p_bar)

    def reverse(self, n: int, y: Leaves, y_bar: Bars, p_bar: Bars) -> None:
        """Add the cotangents of the running cost and of the observations at y_n; for n = N-1 .. 0."""
        if self.running is not None:
            self._add(self.running, [index_leaf(n), *y, *self.p], 1, y_bar, p_bar)
        self._observe_back(n, y, y_bar, p_bar)

    @property
    def way_back(self) -> tuple[float, Bars | None, int]:
        """Where the way back is, see :meth:`.Executor.leave`."""
        return self.value_bar, self.observations_bar, self.k

    @way_back.setter
    def way_back(self, way: tuple[float, Bars | None, int]) -> None:
        self.value_bar, self.observations_bar, self.k = way

    def _add(self, cost: ScalarKernel, leaves: Leaves, skip: int, y_bar: Bars, p_bar: Bars) -> None:
        if self.value_bar != 0.0:
            bars = cost.vjp(leaves, self.value_bar)[skip:]
            accumulate(y_bar, bars[: len(y_bar)])
            accumulate(p_bar, bars[len(y_bar) :])

    def _observe_back(self, n: int, y: Leaves, y_bar: Bars, p_bar: Bars) -> None:
        while self.k > 0 and self.at[self.k - 1] == n:
            self.k -= 1
            bars: Bars | None = None
            if self.observations_bar is not None:
                bars = [None if b is None else b[self.k].reshape(seen.shape).copy()
                        for b, seen in zip(self.observations_bar, self.seen(self.k), strict=True)]  # fmt: skip
            if self.misfit is not None and self.value_bar != 0.0:
                seen = self.seen(self.k)
                extra = self.misfit.vjp([index_leaf(self.k), *seen, *self.p], self.value_bar)[1:]
                accumulate(p_bar, extra[len(seen) :])
                if bars is None:
                    bars = list(extra[: len(seen)])
                else:
                    accumulate(bars, extra[: len(seen)])
            if bars is not None:
                assert self.observe is not None
                extra = self.observe.vjp([index_leaf(n), *y, *self.p], bars)[1:]
                accumulate(y_bar, extra[: len(y_bar)])
                accumulate(p_bar, extra[len(y_bar) :])
