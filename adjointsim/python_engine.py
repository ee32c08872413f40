"""The executor that is driven from Python: for hand-written VJPs, and the yardstick of the compiled one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from adjointsim.costs import Costs, accumulate
from adjointsim.errors import AdjointSimError
from adjointsim.executor import Executor, Problem, Snapshot, Working, annotate
from adjointsim.kernels import INDEX, FlagKernel, index_leaf
from adjointsim.leaves import Bars, Leaves, nbytes, zeros_like_leaves
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE

__all__ = ["PythonExecutor"]


class PythonExecutor(Executor):
    """Calls the step and its VJP from Python, one call a step."""

    # Held: the current state, y_N, y_bar and p_bar.  Passing through: on the way forward a copy of y and what the user
    # returns for it; on the way back copies of y and of y_bar, what the user returns, and its copy as leaves.
    forward_states: ClassVar[int] = 4
    reverse_states: ClassVar[int] = 7
    reverse_parameters: ClassVar[int] = 3

    def __init__(
        self, problem: Problem, y0: Leaves, p: Leaves, slots: int, one_run: bool = False, keeps: bool = False
    ) -> None:
        super().__init__(problem, y0, p, slots, one_run, keeps)
        self._local = problem.step.local(problem.y_spec, problem.p_spec, problem.y_shapes, problem.p_shapes)
        self._costs = Costs(problem, p)
        self.observation_spec = self._costs.observation_spec
        self._until = None
        if problem.until is not None:
            self._until = FlagKernel(problem.until, (INDEX, problem.y_spec, problem.p_spec), "until")
        self._name = problem.step.__name__
        self._state = [leaf.copy() for leaf in y0]
        self._visited = 0  # steps whose costs have been added
        self._arena = [np.empty((slots, *leaf.shape), leaf.dtype) for leaf in y0]
        self._last = -1  # the slot that holds y_{N-1}; -1: the current state
        self._turned = False
        self._peak = 0
        self._do = {
            ADVANCE: self._advance, STORE: self._store, LOAD: self._load, RECORD: self._record, REVERSE: self._reverse,
        }  # fmt: skip

    @classmethod
    def working(cls, problem: Problem, y0: Leaves, p: Leaves, reverse: bool = True) -> Working:
        if not reverse:
            return Working(cls.forward_states * problem.state_bytes, True, problem.state_bytes)
        needed = cls.reverse_states * problem.state_bytes + cls.reverse_parameters * problem.parameter_bytes
        return Working(needed, True, problem.state_bytes)

    @property
    def planned(self) -> Working:
        needed = self.working(self.problem, [], [], reverse=self.slots > 0)
        return needed._replace(bytes=self.slots * self.problem.state_bytes + needed.bytes)

    # -------------------------------------------------------------------------------------------------------- actions
    def run(self, actions: np.ndarray) -> int:
        known = self.problem.known_end
        for row, (kind, a, b, slot) in enumerate(actions.tolist()):
            if kind == REVERSE and not self._turned:
                self._last = slot + (b - 1 - a) if slot >= 0 else -1
                return row
            self._do[kind](a, b, slot)
            if self.problem.known_end and not known:
                return row
        return len(actions)

    def _advance(self, a: int, b: int, slot: int) -> None:
        for n in range(a, b):
            found = self._next(n, self._state)
            if not self.problem.known_end and self._until.value([index_leaf(n + 1), *found, *self.p]):  # type: ignore[union-attr]
                self._end(n + 1)
                return
            for leaf, new in zip(self._state, found, strict=True):
                leaf[...] = new

    def _end(self, n: int) -> None:
        super()._end(n)
        self._costs.end(self.problem)

    def _store(self, a: int, b: int, slot: int) -> None:
        for arena, leaf in zip(self._arena, self._state, strict=True):
            arena[slot] = leaf

    def _load(self, a: int, b: int, slot: int) -> None:
        for arena, leaf in zip(self._arena, self._state, strict=True):
            leaf[...] = arena[slot]

    def _record(self, a: int, b: int, slot: int) -> None:
        self._store(a, a, slot)
        for n in range(a, b - 1):
            self._advance(n, n + 1, -1)
            if self.problem.n_steps == n + 1:  # found just now
                return
            self._store(n + 1, n + 1, slot + n + 1 - a)

    def _reverse(self, a: int, b: int, slot: int) -> None:
        for n in range(b - 1, a - 1, -1):
            self._vjp(n, self._at(slot + n - a if slot >= 0 else -1))

    def _at(self, slot: int) -> Leaves:
        """The state in a slot, or the current one if that is -1."""
        return self._state if slot < 0 else self.stored(slot)

    def stored(self, slot: int) -> Leaves:
        return [arena[slot] for arena in self._arena]

    # ---------------------------------------------------------------------------------------------------------- steps
    def _next(self, n: int, y: Leaves) -> Leaves:
        """The leaves of y_{n+1}, to be copied; the costs at y_n are added the first time."""
        first = n == self._visited
        what = f"the costs of {self._name}, step"
        try:
            if first:
                self._costs.visit(n, y)
                self._visited = n + 1
            what = "step"
            return self._local.value(n, y, self.p)
        except Exception as error:
            self._annotate(error, what, n, "forward" if first else "recompute")
            raise

    def turn(self) -> None:
        n_steps = self.problem.n_steps
        y = self._next(n_steps - 1, self._at(self._last)) if n_steps else self._state
        self.y = [leaf.copy() for leaf in y]
        try:
            self._costs.finish(self.y)
        except Exception as error:
            self._annotate(error, "the costs at", n_steps, "forward")
            raise
        self.observations = self._costs.stacked()
        self._count_bytes(2, 0)

    def seed(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        problem = self.problem
        self.y_bar = zeros_like_leaves(problem.y_spec, problem.y_shapes)
        zeros = zeros_like_leaves(problem.p_spec, problem.p_shapes)
        self.p_bar = [bar if active else None for bar, active in zip(zeros, problem.p_active, strict=True)]
        if y_bar is not None:
            accumulate(self.y_bar, y_bar)
        self._turned = True
        try:
            self._costs.seed(value_bar, observations_bar, self.y, self.y_bar, self.p_bar)
        except Exception as error:
            self._annotate(error, "the derivatives of the costs at", problem.n_steps, "reverse")
            raise

    def leave(self) -> tuple[Any, ...]:
        return self.y_bar, self.p_bar, self._costs.way_back

    def enter(self, way: tuple[Any, ...]) -> None:
        self.y_bar, self.p_bar, self._costs.way_back = way

    def snapshot(self) -> Snapshot:
        costs = self._costs
        numbers = {"visited": self._visited, "k": costs.k, "stacks": len(costs.observations)}
        arrays: list[np.ndarray | None] = [np.array(costs.totals), *costs.observations]
        return Snapshot(numbers, [*arrays, *((*self.y, *self.y_bar, *self.p_bar) if self._turned else self._state)])

    def resume(self, back: bool, snapshot: Snapshot) -> None:
        numbers, (totals, *arrays) = snapshot
        costs, stacks, leaves = self._costs, numbers["stacks"], len(self._state)
        assert totals is not None
        costs.totals = totals.tolist()
        costs.observations = [a for a in arrays[:stacks] if a is not None]
        self._visited, costs.k, rest = numbers["visited"], numbers["k"], arrays[stacks:]
        if back:
            self._turned = True
            self.y = [a for a in rest[:leaves] if a is not None]
            self.y_bar, self.p_bar = rest[leaves : 2 * leaves], rest[2 * leaves :]
            costs.way_back = 1.0, None, costs.k
            self.observations = costs.stacked()
        else:
            self._state = [a for a in rest if a is not None]

    def _vjp(self, n: int, y: Leaves) -> None:
        what = "the VJP of step"
        try:
            new, p_bar = self._local.vjp(n, y, self.p, self.y_bar)
            for bar, value in zip(self.y_bar, new, strict=True):
                if bar is not None and value is not None:
                    bar[...] = value
            accumulate(self.p_bar, p_bar)
            what = "the derivatives of the costs at"
            self._costs.reverse(n, y, self.y_bar, self.p_bar)
        except Exception as error:
            self._annotate(error, what, n, "reverse")
            raise
        if n == 0:
            self._count_bytes(4, 2)

    def _annotate(self, error: Exception, what: str, n: int, direction: str) -> None:
        if not isinstance(error, AdjointSimError):  # ours name the step already
            annotate(error, what, n, self.problem.n_steps, direction)

    # ------------------------------------------------------------------------------------------------------ to look at
    @property
    def totals(self) -> tuple[float, float, float]:
        running, misfits, terminal = self._costs.totals
        return running, misfits, terminal

    @property
    def state(self) -> Leaves:
        return self._state

    def _count_bytes(self, states: int, parameters: int) -> None:
        held = nbytes([*self._arena, *self._state, *self.y, *self.y_bar, *self.p_bar])
        passing = states * self.problem.state_bytes + parameters * self.problem.parameter_bytes
        self._peak = max(self._peak, held + passing)

    @property
    def bytes_peak(self) -> int:
        return self._peak
