"""The tangent sweep: a simulation and its derivative along one direction, forward, storing nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from adjointsim.costs import Costs
from adjointsim.derive.spec import ScalarSpec, Spec, leaves_of
from adjointsim.errors import AdjointSimError, NonFiniteError
from adjointsim.executor import Problem, annotate, never_ended
from adjointsim.kernels import INDEX, FlagKernel, ScalarKernel, index_leaf
from adjointsim.leaves import Bars, Leaves, first_nonfinite, nbytes

__all__ = ["TangentSweep"]


@dataclass
class TangentSweep:
    """y_N, the value and the observations with their tangents; the value's sums are in the order of :class:`.Executor`.

    Dots that are given have None for inert leaves.  Runs on :meth:`run`; an exception of the user's is annotated.
    """

    problem: Problem
    y: Leaves
    p: Leaves
    y_dot: Bars
    p_dot: Bars
    seconds: float = 0.0
    observations: Leaves = field(default_factory=list)
    observations_dot: Bars = field(default_factory=list)

    def run(self) -> TangentSweep:
        """Carry it out.  NonFiniteError names the step where a NaN or Inf that reached the end began."""
        began = time.perf_counter()
        problem = self.problem
        n_steps = problem.n_steps
        local = problem.step.local(problem.y_spec, problem.p_spec, problem.y_shapes, problem.p_shapes)
        self.costs = Costs(problem, self.p)
        self.dots = [0.0, 0.0, 0.0]
        self.first_bad: tuple[int | None, str, tuple[int, ...], float] | None = None
        until = None
        if not problem.known_end:
            assert problem.until is not None
            until = FlagKernel(problem.until, (INDEX, problem.y_spec, problem.p_spec), "until")
        n, what = 0, "step"
        try:
            for n in range(n_steps):
                self._running(n)
                self._observe(n)
                self.y, self.y_dot = local.jvp(n, self.y, self.p, self.y_dot, self.p_dot)
                self._look(n)
                if until is not None and until.value([index_leaf(n + 1), *self.y, *self.p]):
                    n_steps = n + 1
                    self.problem = problem.ended(n_steps)
                    self.costs.end(self.problem)
                    cut = len(self.problem.observe_at)
                    self.observations_dot = [None if d is None else d[:cut] for d in self.observations_dot]
                    break
            else:
                if until is not None:
                    raise never_ended(n_steps)
            n, what = n_steps, "the costs at"
            self._observe(n_steps)
            if self.costs.terminal is not None:
                self._cost(self.costs.terminal, 2, [], self.y, self.y_dot)
        except Exception as error:
            if not isinstance(error, AdjointSimError):
                annotate(error, what, n, n_steps, "forward")
            raise
        self._check()
        self.observations, self.observations_dot = self._stacked()
        self.seconds = time.perf_counter() - began
        return self

    # ----------------------------------------------------------------------------------------------------------- costs
    def _running(self, n: int) -> None:
        if self.costs.running is not None:
            self._cost(self.costs.running, 0, [index_leaf(n)], self.y, self.y_dot)

    def _cost(self, cost: ScalarKernel, place: int, head: Leaves, x: Leaves, x_dot: Bars) -> None:
        value, dot = cost.jvp([*head, *x, *self.p], [*(None for _ in head), *x_dot, *self.p_dot])
        self.costs.totals[place] += value
        self.dots[place] += dot

    def _observe(self, n: int) -> None:
        costs = self.costs
        while costs.k < len(costs.at) and costs.at[costs.k] == n:
            assert costs.observe is not None
            seen, dots = costs.observe.jvp([index_leaf(n), *self.y, *self.p], [None, *self.y_dot, *self.p_dot])
            costs.keep(costs.k, n, seen)
            if not self.observations_dot:
                self.observations_dot = [None if d is None else np.empty((len(costs.at), *d.shape), d.dtype) for d in dots]
            for stack, dot in zip(self.observations_dot, dots, strict=True):
                if stack is not None and dot is not None:
                    stack[costs.k] = dot
            if costs.misfit is not None:
                self._cost(costs.misfit, 1, [index_leaf(costs.k)], seen, dots)
            costs.k += 1

    def _stacked(self) -> tuple[Leaves, Bars]:
        if self.costs.observation_spec is None:
            return [], []
        specs = leaves_of(self.costs.observation_spec)
        stacked = self.costs.stacked()
        if not self.observations_dot:  # nothing was observed
            return stacked, [np.zeros_like(o) if o.dtype.kind == "f" else None for o in stacked]
        pairs = zip(self.observations_dot, specs, strict=True)
        return stacked, [d[:, 0] if d is not None and isinstance(s, ScalarSpec) else d for d, s in pairs]

    # ------------------------------------------------------------------------------------------------------- NaN, Inf
    def _look(self, n: int | None) -> bool:
        spec: Spec = self.problem.y_spec
        found = first_nonfinite(self.y, spec, "y") or first_nonfinite(self.y_dot, spec, "y")
        if found and self.first_bad is None:
            self.first_bad = (n, *found)
        return found is not None

    def _check(self) -> None:
        bad = self._look(None)
        if not bad and not np.isfinite([*self.costs.totals, *self.dots]).all():
            bad, self.first_bad = True, self.first_bad or (None, "value", (), float("nan"))
        if bad and self.first_bad is not None:
            n, leaf, index, number = self.first_bad
            where = f"step n={n} of {self.problem.n_steps}" if n is not None else "the costs"
            message = f"{leaf}{list(index) if index else ''} or its tangent became {number} in {where} (forward sweep)"
            raise NonFiniteError(message, step=n, n_steps=self.problem.n_steps, leaf=leaf, index=index, direction="forward")

    # --------------------------------------------------------------------------------------------------------- results
    @property
    def value(self) -> float | None:
        return sum(self.costs.totals[1:], self.costs.totals[0]) if self.problem.has_cost else None

    @property
    def value_dot(self) -> float | None:
        return sum(self.dots[1:], self.dots[0]) if self.problem.has_cost else None

    @property
    def bytes_peak(self) -> int:
        """Twice y_n, y_{n+1} and their tangents, and the parameters' tangent."""
        return 4 * nbytes(self.y) + nbytes(self.p_dot)
