"""The value and the gradient of a short integration, again and again: from then on in one call of compiled code.

A call in Python finds the steps, makes a simulation of them and has it run there and back, which for a small system takes longer
than all of its steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjointsim.at_once import SHORT, ledger_of, short_gradient, store_all
from adjointsim.call import Call
from adjointsim.engine import CompiledExecutor
from adjointsim.forms import Known
from adjointsim.leaves import Leaves
from adjointsim.nonfinite import given

from .moments import NAMES
from .one_call import LONG, TAPE, OneCall, Stack, alone, carried_out, fits
from .solution import ODEGradient
from .solve import Solve

if TYPE_CHECKING:
    from .ode import ODE

__all__ = ["value_and_grad"]

_WORTH = 0.05  # seconds that such calls have taken, from which on it is worth compiling what takes less
_PATIENCE = 3  # calls more that did not go well than did, before there are no more
_IDLE = 4  # round trips that are kept for threads

Wrt = str | Sequence[str]


def value_and_grad(ode: ODE, y0: Any, p: Any, wrt: Wrt) -> tuple[float, ODEGradient]:
    """What the verb of an ODE gives."""
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    alike = not callable(y0) and alone(ode) and ode.unbounded and not any(name in NAMES for name in names)
    if alike:
        p = given(p, "p", True)
        y0 = given(np.array(y0, dtype=np.float64) if isinstance(y0, list) else y0, "y0", True)
    if not alike or not y0.form.nbytes:
        return _one_by_one(ode, y0, p, names)[1:]
    program = ode.program(y0.form, y0.leaves, p.form, p.leaves, (False, False))
    key = y0.form, p.form, names, len(ode.t_eval)
    idle = program.trips.setdefault(key, [])
    if idle is None:
        return _one_by_one(ode, y0, p, names)[1:]
    try:
        trip = idle.pop()  # which is atomic
    except IndexError:
        trip = None
    if trip is not None:
        done = trip.run(ode, y0, p)
        if not trip.over and len(idle) < _IDLE:
            idle.append(trip)
        if done is not None:
            return done
    began = time.perf_counter()
    solve, value, gradient = _one_by_one(ode, y0, p, names)
    seconds = time.perf_counter() - began
    if trip is not None and not trip.over:  # what goes well by itself did not there: too many steps
        if trip.misses > trip.hits + _PATIENCE:
            program.trips[key] = None
    elif seconds < LONG:  # what takes longer is compiled then, or does without this
        program.spent += seconds
        call = Call(solve.simulation, solve.y0, solve.q, solve.wrt(names)) if program.spent >= _WORTH else None
        if call is not None and short_gradient(call) and fits(solve):
            made = RoundTrip.of(solve, call)
            if made is None:
                program.trips[key] = None
            else:
                idle.append(made)
    return value, gradient


def _one_by_one(ode: ODE, y0: Any, p: Any, wrt: Wrt) -> tuple[Solve, float, ODEGradient]:
    solve = Solve(ode, y0, p)
    with solve.named():
        value, gradient = solve.simulation.value_and_grad(solve.y0, solve.q, solve.wrt(wrt))
        return solve, value, solve.gradient(gradient)


class _Bound(NamedTuple):
    """A compiled function with what it was given: of arguments that it was given before it need not look at the types."""

    stack: Stack
    captures: object
    function: Any
    arguments: tuple[Any, ...]


class RoundTrip(OneCall):
    """One integration there and back, for one caller at a time."""

    def __init__(self, solve: Solve, call: Call) -> None:
        """For integrations like that of ``solve``.  ValueError if numbers other than shapes say how much memory is needed."""
        self.solve, self.template, self.keeps = solve, call, call.may_keep
        n = call.problem.n_steps
        super().__init__(solve, call, CompiledExecutor(call.problem, call.y0, call.p, n + n // 4, True, self.keeps))
        self._stack: tuple[Known, float, int, Stack] | None = None
        self._bound: _Bound | None = None
        self.over = False
        self.hits = self.misses = 0  # how often it went well

    @classmethod
    def of(cls, solve: Solve, call: Call) -> RoundTrip | None:
        """One for short integrations like this; None if they cannot be made so."""
        try:
            return cls(solve, call)
        except Exception:
            return None

    def run(self, ode: ODE, y0: Known, p: Known) -> tuple[float, ODEGradient] | None:
        """The value and the gradient; None where something goes wrong, and where this is of no more use: then it is ``over``."""
        try:
            done = self._run(ode, y0, p)
        except Exception:  # of the user's terminal cost: a call by itself says what, and where
            done = None
        if done is None:
            self.misses += 1
        else:
            self.hits += 1
        return done

    def _run(self, ode: ODE, y0: Known, p: Known) -> tuple[float, ODEGradient] | None:
        began, compiled, executor = time.perf_counter(), self.compiled, self.executor
        self.over = self.stale() or not executor.looked_up(executor.problem)
        if self.over:
            return None
        leaves = self.solve.started(y0.leaves).leaves
        stack = self._stack_of(ode, leaves, p.leaves)
        for own, leaf in zip((*stack.y, *stack.p), (*leaves, *p.leaves), strict=True):
            own[0] = leaf
        bound = self._bound
        if bound is not None and not (bound.stack is stack and bound.captures is executor.captures):
            bound = None
        n = TAPE if bound is None else carried_out(bound.function, bound.arguments)
        if n == TAPE:
            n, bound = self._out_and_back(stack, leaves, p.leaves), None
        if n < -1:  # no room
            if executor.problem.state_bytes * -n > SHORT:
                return None
            self.over = True
            self.executor = CompiledExecutor(self.template.problem, leaves, self._given(p.leaves), 2 * -n, True, self.keeps)
            n, bound, self.over = self._out_and_back(stack, leaves, p.leaves), None, False
        if n < 0:
            return None
        executor, problem = self.executor, self.template.problem.of_steps(n, self.at[: len(ode.t_eval)])
        if bound is not None:  # it came back before
            executor.has_come_back(problem)
        elif not executor.came_back(problem):
            return None
        taken = time.perf_counter() - began
        self.over = compiled and taken > LONG
        ledger = ledger_of(executor, self.template, store_all(n, self.keeps), taken)
        value, (y_bar, p_bar), copy = executor.value, self.template.bars(executor), executor.keeps_bars
        assert value is not None
        own = y0.form.kind.bar(y_bar[: len(y0.leaves)], copy), p.form.kind.bar(p_bar[: len(p.leaves)], copy)
        return value, ODEGradient(*own, ledger)

    def _out_and_back(self, stack: Stack, y0: Leaves, p: Leaves) -> int:
        executor, self._bound = self.executor, None
        while True:
            executor.begin_again(y0, self._given(p))
            executor.set_out()
            given = stack, executor.rows_out, executor.memory.seen, ()
            n = self.call(*given)
            if n != TAPE:
                break
            executor.lengthen()
        if n > 0 and self.whole and executor.keeps_bars and not self.kernel.captured():
            self._bound = self._bind(*given)
        return n

    def _bind(self, stack: Stack, *given: Any) -> _Bound | None:
        """What goes there and back again in the same memory."""
        found = [*self.function.overloads.values()]
        if len(found) != 1:
            return None
        return _Bound(stack, self.executor.captures, found[0].entry_point, self.arguments(stack, *given))

    def _given(self, p: Leaves) -> Leaves:
        """The parameters of the simulation."""
        return [*p, *self.steps]

    def _stack_of(self, ode: ODE, y0: Leaves, p: Leaves) -> Stack:
        """What bounds the steps, with memory for y0 and p."""
        control = ode.control(ode.rtol, ode.atol)
        own = control, ode.first_step, ode.max_steps
        if self._stack is None or self._stack[0] is not control or self._stack[1:3] != own[1:]:
            self._stack = *own, Stack([ode], [leaf[None].copy() for leaf in y0], [leaf[None].copy() for leaf in p])
        return self._stack[3]
