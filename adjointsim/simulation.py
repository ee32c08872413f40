"""Simulations: a step repeated, with costs and observations, and the derivatives of the whole."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from adjointsim.at_once import gradient_at_once, solution_at_once
from adjointsim.call import Call, Wrt
from adjointsim.derive.control import MOST_THREADS
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.gaussnewton import gauss_newton_product
from adjointsim.jacobians import checked_mode
from adjointsim.leaves import bar_leaves, shapes_of, stacked_spec, unflatten, unflatten_bar
from adjointsim.ledger import Ledger
from adjointsim.nonfinite import check_given
from adjointsim.observed import observation_jacobian
from adjointsim.progress import checked_progress
from adjointsim.results import Gradient, Solution, SolutionTangent
from adjointsim.resume import resumable
from adjointsim.schedules import Online, Schedule
from adjointsim.schedules.actions import checked, checked_steps
from adjointsim.second import hessian_product, observed_product
from adjointsim.step import Step
from adjointsim.storage import Plan, checked_storage, choose, machine, parse_memory
from adjointsim.tangent import TangentSweep

__all__ = ["Simulation"]

Cost = Callable[..., Any]
Pullback = Callable[..., Gradient]


class Simulation:
    """``n_steps`` steps ``y_{n+1} = step(n, y_n, p)`` and the value

        sum over n < N of running(n, y_n, p)  +  sum over k of misfit(k, observation_k, p)  +  terminal(y_N, p),

    where observation_k is ``observe(n, y_n, p)`` at n = ``observe_at[k]``, sorted step numbers from 0 to N.

    At most one of ``memory`` (bytes, "200MB", or a float: a fraction of what is free now), ``checkpoints`` (stored states) and
    ``schedule`` bounds what a gradient stores; without one, every state is, if they fit in half of the free memory.  In a
    budget the fastest schedule is taken (see :meth:`plan`).  The value and the gradient have the same bits in any case.

    ``until(n, y, p) -> bool`` ends the run at the first y_n, n >= 1, for which it is True; ``n_steps`` is then the most steps
    that may be needed, and ``ledger.n_steps`` says how many were.  ArgumentError if they do not suffice.  Of ``schedule``, it
    takes :class:`.schedules.Online` only.

    ``directory`` is a second tier: states that do not fit in memory go to a file there, and a gradient that was interrupted
    (killed, Ctrl-C, a full disk) goes on where it was when the same call is made again; see :mod:`adjointsim.resume`.  An
    object with ``write(slot, state)``, ``read(slot, state)`` and ``capacity`` may stand for it (:class:`.storage.disk.Slots`).

    ``threads`` share the loops of a step and of its VJP where their iterations are independent, which is proved, and long
    enough: stencils and elementwise loops over some ten thousand cells, `prange` loops among them.  "all" stands for as many as
    there are processors for this process.  The bits are those of one thread.

    ``progress`` is True for a bar (the extra ``progress``), or a function of (done, total).

    Wherever ``y0`` is expected, a function ``y0(p)`` will do: then ``Gradient.p`` is the whole derivative with respect to
    p, and ``Gradient.y0`` the derivative with respect to the initial state alone.  Arguments are never modified, and a
    Simulation may be used by several threads at once.

    Raises ArgumentError and StructureError for arguments that make no simulation.
    """

    def __init__(
        self,
        step: Step | Callable[..., Any],
        n_steps: int,
        *,
        terminal: Cost | None = None,
        running: Cost | None = None,
        observe: Cost | None = None,
        observe_at: Sequence[int] | np.ndarray | None = None,
        misfit: Cost | None = None,
        until: Cost | None = None,
        memory: int | float | str | None = None,
        checkpoints: int | None = None,
        schedule: Schedule | Online | None = None,
        directory: Any = None,
        progress: bool | Callable[[int, int], object] = False,
        threads: int | str = 1,
    ) -> None:
        self.step = step if isinstance(step, Step) else Step(step)
        self.n_steps = checked_steps(n_steps)
        costs = {"terminal": terminal, "running": running, "observe": observe, "misfit": misfit, "until": until}
        for name, cost in costs.items():
            if cost is not None and not callable(cost):
                raise StructureError(f"Got {name} as a {type(cost).__name__}, but expected a function")
        self.directory = None if directory is None else checked_storage(directory)
        if misfit is not None and observe is None:
            raise ArgumentError("Got misfit= without observe=, but a misfit is a cost of observations")
        if (observe is None) != (observe_at is None):
            raise ArgumentError("Got only one of observe= and observe_at=, but expected both: what to observe, and when")
        self.terminal, self.running, self.observe, self.misfit, self.until = terminal, running, observe, misfit, until
        self.observe_at = _observation_times(observe_at, self.n_steps)
        bounds = {"memory": memory, "checkpoints": checkpoints, "schedule": schedule}
        if sum(bound is not None for bound in bounds.values()) > 1:
            given_names = ", ".join(f"{name}=" for name, bound in bounds.items() if bound is not None)
            raise ArgumentError(f"Got {given_names}, but expected at most one of memory=, checkpoints= and schedule=")
        if isinstance(schedule, Online) or (until is not None and isinstance(schedule, Schedule)):
            checkpoints, schedule = _online_slots(schedule, self.n_steps, until is None), None
        if schedule is not None and not isinstance(schedule, Schedule):
            raise StructureError(f"Got schedule as a {type(schedule).__name__}, but expected an adjointsim.schedules.Schedule")
        self.memory = None if memory is None else parse_memory(memory)
        self.checkpoints = None if checkpoints is None else checked("checkpoints", checkpoints, 1)
        self.schedule = schedule
        if schedule is not None:
            choose(self.n_steps, 0, 0, schedule=schedule, disk=0 if self.directory is not None else None)  # for its errors
        self.progress = checked_progress(progress)
        self.threads = checked_threads(threads, self.step)
        self.problems: dict[Any, Any] = {}  #: made of this and of arguments that look alike, by what they are made of

    def of_steps(self, n_steps: int, observe_at: np.ndarray) -> Simulation:
        """The same for another number of steps and other sorted int64 step numbers at which to observe."""
        other = object.__new__(Simulation)
        other.__dict__.update(self.__dict__, n_steps=n_steps, observe_at=observe_at)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Without what was made of it: another process makes that anew."""
        return {name: value for name, value in self.__dict__.items() if name != "half_of_free"} | {"problems": {}}

    # ----------------------------------------------------------------------------------------------------------- verbs
    def run(self, y0: Any, p: Any = None) -> Solution:
        """Run to y_N, storing nothing."""
        call = Call(self, y0, p)
        if (done := solution_at_once(call)) is not None:
            return done
        sweep = call.sweep(call.running())
        with call.progress(sweep):
            call.forward(sweep)
        return call.solution(sweep.executor, sweep.ledger())

    def value_and_grad(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p")) -> tuple[float, Gradient]:
        """The value, and its derivatives with respect to what ``wrt`` names: "y0", "p", or a part such as "p.c".

        Raises ArgumentError without a cost or for an unknown name, NonFiniteError if a NaN or Inf comes out.
        """
        if not self._has_cost:
            raise ArgumentError("Got a simulation without a cost, but a value needs terminal=, running= or misfit=")
        call = Call(self, y0, p, wrt)
        if (done := gradient_at_once(call)) is not None:
            return done
        with resumable(call, "gradient") as sweep, call.progress(sweep, back=True):
            call.forward(sweep)
            call.reverse(sweep, 1.0)
        value = sweep.executor.value
        assert value is not None
        return value, call.gradient(sweep.executor, sweep.ledger())

    def vjp(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p")) -> tuple[Solution, Pullback]:
        """The solution and ``pullback(value_bar=None, y_bar=None, observations_bar=None) -> Gradient``.

        The gradient is that of value_bar * value + y_bar . y_N + observations_bar . observations; what is not given is
        zero, but ``pullback()`` stands for ``value_bar=1``.  It may be called any number of times, by several threads,
        and holds the stored states as long as it lives.  If the way back has used them up, it runs forward again.
        """
        call = Call(self, y0, p, wrt, copy=True)
        first = call.sweep(call.schedule(again=True))
        with call.progress(first):
            call.forward(first)
        solution = call.solution(first.executor, first.ledger())
        observation_spec, observation_shapes = first.executor.observation_spec, shapes_of(first.executor.observations)
        ready = [first]  # at the turn; list.pop and append are atomic
        del first

        def pullback(value_bar: float | None = None, y_bar: Any = None, observations_bar: Any = None) -> Gradient:
            bars = o_bars = None
            if y_bar is not None:
                bars = bar_leaves(y_bar, call.problem.y_spec, call.problem.y_shapes, "y_bar")
                check_given(bars, call.problem.y_spec, "y_bar")
            if observations_bar is not None:
                if observation_spec is None:
                    raise ArgumentError("Got observations_bar, but the simulation has no observe=")
                stacked = stacked_spec(observation_spec)
                o_bars = bar_leaves(observations_bar, stacked, observation_shapes, "observations_bar")
                check_given(o_bars, stacked, "observations_bar")
            seed = self._value_bar(value_bar, bars is None and o_bars is None)
            try:
                sweep = ready.pop()
                before: Ledger | None = sweep.ledger()
            except IndexError:
                sweep, before = call.sweep(call.schedule(again=True)), None
            with call.progress(sweep, back=True):
                if before is None:
                    call.forward(sweep)
                call.reverse(sweep, seed, bars, o_bars)
            gradient = call.gradient(sweep.executor, sweep.ledger(since=before, again=before is None))
            if sweep.repeatable:
                ready.append(sweep)
            return gradient

        return solution, pullback

    def jvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None) -> tuple[Solution, SolutionTangent]:
        """The solution and its derivative along (y0_dot, p_dot); None stands for zeros.

        If y0 is a function, ``y0_dot`` is added to what ``p_dot`` causes.  UnsupportedError for hand-written VJPs.
        """
        call = Call(self, y0, p)
        problem = call.problem
        y_dots, p_dots = call.directions(y0_dot, p_dot)
        done = TangentSweep(problem, call.y0, call.p, y_dots, p_dots).run()
        n_steps = done.problem.n_steps
        ledger = Ledger("forward", n_steps, 0, n_steps, 0, 0, done.bytes_peak, done.bytes_peak, done.seconds)
        observations = observations_dot = None
        if done.costs.observation_spec is not None:
            stacked = stacked_spec(done.costs.observation_spec)
            observations = unflatten(stacked, done.observations)
            observations_dot = unflatten_bar(stacked, done.observations_dot)
        solution = Solution(unflatten(problem.y_spec, [leaf.copy() for leaf in done.y]), done.value, observations, ledger)
        y_dot = unflatten_bar(problem.y_spec, [None if d is None else d.copy() for d in done.y_dot])
        return solution, SolutionTangent(y_dot, done.value_dot, observations_dot)

    def hvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None) -> Gradient:
        """The Hessian-vector product: the derivative of the gradient along (y0_dot, p_dot); None stands for zeros.

        ``Gradient.y0`` and ``.p`` are the products' parts, H (y0_dot, p_dot), where H has the second derivatives of the value
        with respect to y0 and p; in the structures of y0 and p, with None for integers and bools.  It is exact, for a few
        times the price of a gradient, and under the same bounds: state and tangent are stored together, so that ``memory``
        holds half as many and a slot of ``checkpoints`` is twice as large.  Its bits do not depend on them.  (In an error,
        ``y_dot.u`` is the tangent of ``y.u``, and on the way back the tangent of its cotangent.)

        If y0 is a function, ``y0_dot`` is added to what ``p_dot`` causes, and ``Gradient.p`` is the derivative of the whole
        gradient with respect to p.  ArgumentError without a cost, StructureError for a tangent of another structure or
        shape, UnsupportedError for hand-written VJPs, NonFiniteError if a NaN or Inf comes out.
        """
        if not self._has_cost:
            raise ArgumentError("Got a simulation without a cost, but a value needs terminal=, running= or misfit=")
        if self.step.hand_vjp is not None:
            raise self.step.no_hessian()
        call = Call(self, y0, p, ("y0", "p"))
        return hessian_product(call, *call.directions(y0_dot, p_dot))

    def hvp_of(self, y0: Any, p: Any, y0_dot: Any, p_dot: Any, seeds: Callable[[Any, Any], tuple[Any, Any]]) -> Gradient:
        """The Hessian product, as :meth:`hvp`, of a cost of the observations that is not one of the simulation's.

        ``seeds(observations, observations_dot)`` gives its gradient by the observations, and the derivative of that along
        ``observations_dot``: for the half sum of squares of observations - data, ``(observations - data, observations_dot)``.
        Both are stacked like the observations; None stands for zeros.
        """
        if self.observe is None:
            raise ArgumentError("Got a simulation without observe=, but the cost is one of observations")
        if self.step.hand_vjp is not None:
            raise self.step.no_hessian()
        call = Call(self, y0, p, ("y0", "p"), costs=False)
        return observed_product(call, *call.directions(y0_dot, p_dot), seeds)

    def gnvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None, weights: Any = None) -> Gradient:
        """The Gauss-Newton product J^T W J (y0_dot, p_dot), where J are the derivatives of the observations with respect to y0
        and p, and W is diagonal: ``weights`` are numbers in the structure of the observations, one number, or None for 1.

        It costs a run with tangents and a gradient, whose bounds on memory are the simulation's; its bits do not depend on
        them.  Costs do not matter.  ArgumentError without observations, StructureError for another structure or shape,
        UnsupportedError for tangents of a hand-written VJP, NonFiniteError if a NaN or Inf comes out.
        """
        return gauss_newton_product(self, y0, p, y0_dot, p_dot, weights)

    def jacobian(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p"), mode: str = "auto") -> Any:
        """All derivatives of the observations (stacked, as in :meth:`run`) with respect to what ``wrt`` names.

        For one name, "y0", "p" or a part such as "p.c": if observations have shape m and the part is an array of shape n, an
        array of shape m + n; numbers have no axes.  For structures, the structure of the observations, in which each leaf is
        replaced by the structure of the part, and each leaf of that by such an array; None for integer and bool leaves.  A
        tuple of names gives a tuple of these.  If y0 is a function of p, the derivative with respect to p is the whole one.

        ``mode`` "forward" runs a tangent for each number that ``wrt`` names; "reverse" takes a cotangent for each number
        observed back, all through one recomputation of the steps, and with the bits that as many pullbacks would have;
        "auto" does what is fewer.  Costs do not matter.  ArgumentError without observations, for an unknown name or mode;
        UnsupportedError for tangents of a hand-written VJP; NonFiniteError if a NaN or Inf comes out.

        With ``until``, a run that stores nothing finds the end first; the derivatives are those of the observations up to there,
        by that number of steps.
        """
        names, mode = (wrt,) if isinstance(wrt, str) else tuple(wrt), checked_mode(mode)
        call = Call(self, y0, p, names, costs=False)
        if not call.problem.known_end and self.observe is not None:
            sweep = call.sweep(call.running())
            with call.progress(sweep):
                call.forward(sweep)
        found = observation_jacobian(call, names, mode)
        return found[0] if isinstance(wrt, str) else tuple(found)

    def plan(self, y0: Any, p: Any = None) -> Plan:
        """What a gradient will store and recompute, and how long that takes.

        For the seconds, a few steps are run once for a model and its sizes: some milliseconds, or a few of a hundred steps, and
        none for fewer than a hundred.  Where a budget leaves a choice, a gradient does the same.
        """
        return Call(self, y0, p).plan()

    # --------------------------------------------------------------------------------------------------------- helpers
    @cached_property
    def half_of_free(self) -> int:
        """Bytes that may be stored where no bound is named: half of what is free when it is first asked for."""
        return machine.free_memory() // 2

    @property
    def _has_cost(self) -> bool:
        return not (self.terminal is None and self.running is None and self.misfit is None)

    def _value_bar(self, given: Any, alone: bool) -> float:
        if given is None:
            if alone and not self._has_cost:
                raise ArgumentError("Got no cotangent, and the simulation has no cost: pass y_bar= or observations_bar=")
            return 1.0 if alone else 0.0
        if not self._has_cost:
            raise ArgumentError("Got value_bar, but the simulation has no cost: terminal=, running= or misfit=")
        if isinstance(given, np.ndarray) and given.ndim == 0:
            given = given[()]
        if not isinstance(given, (int, float, np.integer, np.floating)):
            raise StructureError(f"Got value_bar as a {type(given).__name__}, but expected a number")
        if not np.isfinite(given):
            raise ArgumentError(f"Got value_bar={given}, but expected a finite number")
        return float(given)


def _online_slots(schedule: Any, n_steps: int, known_end: bool) -> int:
    """The slots of an online schedule; ArgumentError if the length of the run is known, and for all other schedules if not."""
    if not isinstance(schedule, Online):
        message = f"Got until= and schedule={schedule.name!r}, whose actions are for {schedule.n_steps} steps and no other number"
        raise ArgumentError(f"{message}, but expected adj.schedules.Online: or name memory= or checkpoints=")
    if known_end:
        raise ArgumentError("Got an online schedule without until=, but expected one for n_steps, as adj.schedules.Binomial is")
    if schedule.n_max < n_steps:
        raise ArgumentError(f"Got an online schedule with n_max={schedule.n_max}, but expected at least n_steps={n_steps}")
    return schedule.slots


def checked_threads(threads: Any, step: Step) -> int:
    """How many threads share loops; ArgumentError unless the step is derived and there are from 1 to 64 of them."""
    if threads == "all":
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return 1 if step.hand_vjp is not None else min(available, MOST_THREADS)
    count = checked("threads", threads, 1)
    if count > MOST_THREADS:
        raise ArgumentError(f"Got threads={count}, but expected at most {MOST_THREADS}")
    if count > 1 and step.hand_vjp is not None:
        raise ArgumentError(f"Got threads={count} and a step with a hand-written VJP, but only loops of derived steps are shared")
    return count


def _observation_times(observe_at: Any, n_steps: int) -> np.ndarray:
    """``observe_at`` as an int64 array; ArgumentError unless it is sorted integers from 0 to n_steps."""
    if observe_at is None:
        return np.empty(0, np.int64)
    if isinstance(observe_at, np.ndarray) and observe_at.ndim == 1 and observe_at.dtype.kind in "iu":
        times = observe_at.astype(np.int64)
    else:
        try:
            if any(isinstance(n, (bool, np.bool_)) for n in observe_at):
                raise TypeError
            times = np.array([operator.index(n) for n in observe_at], np.int64)
        except (TypeError, OverflowError):
            raise ArgumentError(f"Got observe_at={observe_at!r}, but expected step numbers: sorted integers") from None
    if np.any(np.diff(times) < 0):
        raise ArgumentError("Got observe_at out of order, but expected sorted step numbers")
    if len(times) and not (0 <= times[0] and times[-1] <= n_steps):
        raise ArgumentError(f"Got observe_at from {times[0]} to {times[-1]}, but expected steps from 0 to n_steps={n_steps}")
    return times
