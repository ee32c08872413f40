"""ODE solves with exact discrete gradients: an integrator turns a right-hand side into a step, and a Simulation does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.forms import Form, Known, read
from adjointsim.gaussnewton import gauss_newton_product
from adjointsim.leaves import Leaves, flatten, spec_of
from adjointsim.results import Gradient, SolutionTangent
from adjointsim.simulation import Simulation
from adjointsim.storage import Plan

from .dae import checked_mass
from .inputs import Control
from .integration import MOST_STEPS, room
from .program import Functions, Program, Systems
from .solution import ODEGradient, ODESolution
from .solve import Solve, Wrt
from .sparsity import checked_sparsity
from .tableaus import DirkTableau, RosenbrockTableau, Tableau, find
from .times import Knots, Steps, fixed_steps, grid_of, knots_of, times_of

__all__ = ["ODE", "Event", "Jump"]

Pullback = Callable[..., ODEGradient]

_KEPT = 16  # programs of a problem


@dataclass(frozen=True)
class Jump:
    """At each of ``times`` the state becomes ``effect(t, y, p)``, something like y: a dose, a switched input.

    The integration restarts there, so that its accuracy does not suffer.  Effects at one time happen in the order of the jumps.
    An observation at that time sees the state after them, and so does one at t0.
    """

    times: Any
    effect: Callable[..., Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", times_of("times of a jump", self.times, 0))
        if not callable(self.effect):
            raise StructureError(f"Got effect as a {type(self.effect).__name__}, but expected a function effect(t, y, p)")


@dataclass(frozen=True)
class Event:
    """What happens where ``condition(t, y, p)``, a float, becomes 0: the state becomes ``effect(t, y, p)``, if there is one, and
    the integration ends there with ``stop``.

    ``direction`` 1 or -1: only where the condition increases or decreases; 0: either.  An event is noticed where the condition
    has another sign, or is 0, at the end of a step than at its beginning (bound steps with ``max_step`` where it may change
    twice); where it is 0 at the beginning its derivative says on which side it is, and nothing happens there.  The step ends with
    the event; with ``dt``, what is left of it follows.  An event at the time of a jump comes before it.  Derivatives go through
    the time of the event.

    The verbs raise IntegrationError with the time for two events at one time, for events that accumulate (in ever shorter times,
    or one whose effect leaves the condition and its derivative at 0), and for a condition that is NaN.
    """

    condition: Callable[..., Any]
    effect: Callable[..., Any] | None = None
    direction: int = 0
    stop: bool = False

    def __post_init__(self) -> None:
        for name in ("condition", "effect"):
            function = getattr(self, name)
            if not callable(function) and (function is not None or name == "condition"):
                raise StructureError(f"Got {name} as a {type(function).__name__}, but expected a function {name}(t, y, p)")
        if self.direction not in (-1, 0, 1):
            raise ArgumentError(f"Got direction={self.direction!r}, but expected 1, -1 or 0")


class ODE:
    """The initial value problem y' = rhs(t, y, p), y(t0) = y0, observed at ``t_eval``, and the value

        integral of running(t, y, p) dt  +  sum over k of misfit(k, observation_k, p)  +  terminal(y(t_end), p),

    where observation_k is ``observe(t, y, p)`` at ``t_eval[k]``, by default y itself.  All derivatives are those of the steps
    actually taken, to rounding.

    rhs, y, p:  plain Python in the accepted language; y and p are floats, arrays, and tuples of these, and rhs returns something
                like y (a tuple or list of numbers will do for a vector).
    t_eval:     times, increasing, or decreasing to integrate backward; (m,).  ``t0`` is its first by default.  Every one is the
                end of a step: observations have the accuracy of the method, not of an interpolation.
    method:     by name: "euler", "heun", "midpoint", "rk4", "bosh3" ("RK23"), "dopri5" ("RK45"), "tsit5", "dop853"; stiff:
                "rodas5p", "kvaerno3", "kvaerno5", "kencarp4", "trbdf2", "sdirk2", "implicit_euler", "implicit_midpoint",
                "crank_nicolson"; for y = (q, v) with q' = g(v), v' = F(t, q): "leapfrog" ("verlet"), "yoshida4".
    rtol, atol: a step is accepted if the root of the mean of (error / (atol + rtol |y|))^2 is at most 1; numbers, or things
                like y.  The sizes of steps are chosen once, forward, and are then constants: a gradient is that of the map
                that these steps define, which approaches the exact sensitivity as the tolerances become smaller.  Rejected
                steps are forgotten.
    dt:         steps of this size instead (shortened to a whole number of them between two times of ``t_eval``); an event cuts
                one of them in two.
    running:    its integral is computed by the method as one more component, which does not count in the error.
    events:     :class:`Event` s; ``jumps``: :class:`Jump` s; ``discontinuities``: times at which rhs may jump, which are stepped
                onto, too.
    bandwidth:  (lower, upper), the numbers of diagonals of drhs/dy below and above the main one, for stiff methods and a state
                that is one vector; without it, systems are dense.
    jac_sparsity: a matrix, dense or sparse, (n, n) for the n numbers of the state in their order, nonzero where drhs_i/dy_j may
                be; or "detect", for where it is at the y0 and p of the first call and next to them.  Columns without a common
                row are found together, and unknowns are renumbered so that the systems are banded, or else sparse (SuperLU), or
                stay dense, whichever is estimated to be cheapest.  Entries elsewhere are an error.
    mass:       M in M y' = rhs(t, y, p), constant: a square matrix, or its diagonal; singular for algebraic equations of index 1,
                for the methods "rodas5p", "sdirk2" and "implicit_euler".
    first_step, max_step, max_steps: the first step's size, the largest one's, and how many may be tried (default 100 000).

    ``memory``, ``checkpoints``, ``directory``, ``progress`` and ``threads`` are those of :class:`.Simulation`, and so are the
    verbs.  (Threads share the loops of the steps that are taken, not of the search for them.)

    Raises ArgumentError and StructureError for arguments that make no problem; the verbs raise IntegrationError where the
    integration cannot go on.
    """

    _find = staticmethod(find)
    seed: int | None = None  # of noise; see SDE

    def __init__(
        self,
        rhs: Callable[..., Any],
        t_eval: Any,
        *,
        t0: float | None = None,
        method: str = "tsit5",
        rtol: Any = 1e-6,
        atol: Any = 1e-9,
        dt: float | None = None,
        terminal: Callable[..., Any] | None = None,
        running: Callable[..., Any] | None = None,
        observe: Callable[..., Any] | None = None,
        misfit: Callable[..., Any] | None = None,
        events: Event | Sequence[Event] = (),
        jumps: Jump | Sequence[Jump] = (),
        discontinuities: Any = (),
        first_step: float | None = None,
        max_step: float = math.inf,
        max_steps: int | None = None,
        bandwidth: tuple[int, int] | None = None,
        jac_sparsity: Any = None,
        mass: Any = None,
        memory: int | float | str | None = None,
        checkpoints: int | None = None,
        directory: Any = None,
        progress: bool | Callable[[int, int], object] = False,
        threads: int | str = 1,
    ) -> None:
        self.tableau: Tableau = self._find(method)
        self.t_eval = times_of("t_eval", t_eval)
        self.t0 = float(self.t_eval[0]) if t0 is None else float(times_of("t0", t0)[0])
        own = {"rhs": rhs, "terminal": terminal, "running": running, "observe": observe, "misfit": misfit}
        for name, function in own.items():
            if not callable(function) and (function is not None or name == "rhs"):
                raise StructureError(f"Got {name} as a {type(function).__name__}, but expected a function")
        self.jumps = (jumps,) if isinstance(jumps, Jump) else tuple(jumps)
        for k, jump in enumerate(self.jumps):
            if not isinstance(jump, Jump):
                raise StructureError(f"Got jumps[{k}] as a {type(jump).__name__}, but expected an adjointsim.Jump(times, effect)")
        if len(self.jumps) > 62:
            raise ArgumentError(f"Got {len(self.jumps)} jumps, but expected at most 62: a Jump has as many times as you like")
        self.knots = knots_of(
            self.t0, self.t_eval, [jump.times for jump in self.jumps], times_of("discontinuities", discontinuities, 0)
        )
        self.events = (events,) if isinstance(events, Event) else tuple(events)
        for k, event in enumerate(self.events):
            if not isinstance(event, Event):
                raise StructureError(f"Got events[{k}] as a {type(event).__name__}, but expected an adjointsim.Event(condition)")
        effects = [jump.effect for jump in self.jumps]
        self.functions = Functions(rhs, running, terminal, observe, misfit, effects, self.events)
        self.dt = None if dt is None else _positive("dt", dt)
        adaptive = getattr(self.tableau, "error", None) is not None
        if self.dt is None and not adaptive:
            raise ArgumentError(f"Got method={method!r} without dt=, but it does not estimate errors: expected dt=, a step size")
        self.rtol, self.atol = _tolerance("rtol", rtol), _tolerance("atol", atol)
        self.first_step = 0.0 if first_step is None else _positive("first_step", first_step)
        self.max_step = _positive("max_step", max_step, math.inf)
        self.max_steps = _most(max_steps)
        self.bandwidth = None if bandwidth is None else _bands(bandwidth)
        self.jac_sparsity = None if jac_sparsity is None else checked_sparsity(jac_sparsity)
        said = [name for name, given in (("bandwidth", bandwidth), ("jac_sparsity", jac_sparsity)) if given is not None]
        if len(said) > 1:
            raise ArgumentError("Got bandwidth= and jac_sparsity=, but expected at most one of them")
        self.mass = None if mass is None else checked_mass(mass, self.tableau, said)
        if said and not isinstance(self.tableau, (RosenbrockTableau, DirkTableau)):
            raise ArgumentError(f"Got {said[0]}= and method={method!r}, but only stiff methods solve systems")
        self._bounds = {"memory": memory, "checkpoints": checkpoints, "directory": directory, "progress": progress}
        self._bounds["threads"] = threads
        Simulation(_nothing, 0, **self._bounds)  # for its errors
        self._programs = Programs()
        self._control: tuple[Knots, tuple[float, float, float], Known] | None = None
        self._simulation: tuple[Program, Simulation] | None = None
        self._steps: tuple[tuple[Knots, float | None, int], Steps] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was made of it: another process makes that anew."""
        return self.__dict__ | {"_programs": Programs(), "_control": None, "_simulation": None, "_steps": None}

    # ----------------------------------------------------------------------------------------------------------- verbs
    def run(self, y0: Any, p: Any = None, *, dense_output: bool = False) -> ODESolution:
        """Solve, storing nothing but the observations.

        With ``dense_output=True`` the solution's ``sol`` is a function of time, a :class:`.dense_output.DenseOutput`, for which
        the states at the ends of all steps are stored.  ArgumentError where a method has none: of an SDE, and of "sdirk2" and
        "implicit_euler" with ``mass=``.
        """
        return Solve(self, y0, p).run(dense_output)

    def value_and_grad(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p")) -> tuple[float, ODEGradient]:
        """The value, and its derivatives with respect to what ``wrt`` names; see :meth:`.Simulation.value_and_grad`.

        Besides "y0", "p" and their parts ``wrt`` may name the times "t0", "t_eval" and "jumps": see :class:`.ODEGradient`.
        ArgumentError for a time of these at which something else happens, too: its derivative has two sides.
        """
        self._needs_cost()
        from .round_trip import value_and_grad  # late: it brings the whole deriver

        return value_and_grad(self, y0, p, wrt)

    def vjp(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p")) -> tuple[ODESolution, Pullback]:
        """The solution, and ``pullback(value_bar=None, y_bar=None, observations_bar=None)``; see :meth:`.Simulation.vjp`.

        ``y_bar`` is a cotangent of the last state.
        """
        solve = Solve(self, y0, p)
        with solve.named():
            solution, inner = solve.simulation.vjp(solve.y0, solve.q, solve.wrt(wrt))

        def pullback(value_bar: float | None = None, y_bar: Any = None, observations_bar: Any = None) -> ODEGradient:
            with solve.named():
                if value_bar is None and y_bar is None and observations_bar is None:
                    self._needs_cost()
                bar = None if y_bar is None else solve.state(y_bar)
                return solve.gradient(inner(value_bar, bar, observations_bar))

        return solve.solution(solution), pullback

    def jvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None) -> tuple[ODESolution, SolutionTangent]:
        """The solution and its derivative along (y0_dot, p_dot); None stands for zeros."""
        solve = Solve(self, y0, p)
        with solve.named():
            solution, dot = solve.simulation.jvp(solve.y0, solve.q, *solve.directions(y0_dot, p_dot))
            return solve.solution(solution), replace(dot, y=solve.part(dot.y))

    def hvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None) -> Gradient:
        """The product of the value's Hessian and (y0_dot, p_dot); see :meth:`.Simulation.hvp`."""
        self._needs_cost()
        solve = Solve(self, y0, p)
        with solve.named():
            return solve.gradient(solve.simulation.hvp(solve.y0, solve.q, *solve.directions(y0_dot, p_dot)))

    def hvp_of(self, y0: Any, p: Any, y0_dot: Any, p_dot: Any, seeds: Callable[[Any, Any], tuple[Any, Any]]) -> Gradient:
        """The Hessian product of a cost of the observations; see :meth:`.Simulation.hvp_of`."""
        solve = Solve(self, y0, p)
        with solve.named():
            return solve.gradient(solve.simulation.hvp_of(solve.y0, solve.q, *solve.directions(y0_dot, p_dot), seeds))

    def gnvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None, weights: Any = None) -> Gradient:
        """The Gauss-Newton product of the observations; see :meth:`.Simulation.gnvp`."""
        return gauss_newton_product(self, y0, p, y0_dot, p_dot, weights)

    def jacobian(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p"), mode: str = "auto") -> Any:
        """All derivatives of the observations with respect to what ``wrt`` names; see :meth:`.Simulation.jacobian`.

        For the times "t0" and "t_eval" the last axis of each array is that of the time, for "jumps" there is a tuple of such
        arrays, one for each jump; see :meth:`value_and_grad`.
        """
        return Solve(self, y0, p).jacobian(wrt, mode)

    def plan(self, y0: Any, p: Any = None) -> Plan:
        """What a gradient will store and recompute; the steps are found for it."""
        solve = Solve(self, y0, p)
        with solve.named():
            return solve.simulation.plan(solve.y0, solve.q)

    # --------------------------------------------------------------------------------------------------------- helpers
    def _needs_cost(self) -> None:
        if not self.functions.has_cost:
            raise ArgumentError("Got an ODE without a cost, but a value needs terminal=, running= or misfit=")

    @property
    def unwatched(self) -> bool:
        """Whether runs are neither reported on nor shared by threads."""
        return self._bounds["progress"] is False and self._bounds["threads"] == 1

    @property
    def unbounded(self) -> bool:
        """Whether nobody says what may be stored, or where."""
        bounds = self._bounds
        return bounds["memory"] is None and bounds["checkpoints"] is None and bounds["directory"] is None

    @cached_property
    def stops(self) -> Knots:
        """The times to step onto; of fixed steps that events may cut, all between them."""
        if self.dt is None or not self.events:
            return self.knots
        return grid_of(self.knots, self.dt, self.max_steps)

    def steps(self) -> Steps:
        """Those of ``dt``."""
        now = self.knots, self.dt, self.max_steps
        if self._steps is None or self._steps[0] != now:
            assert self.dt is not None
            self._steps = now, fixed_steps(self.knots, self.dt, self.max_steps)
        return self._steps[1]

    def program(self, y_form: Form, y: Leaves, p_form: Form, p: Leaves, each: tuple[bool, bool]) -> Program:
        """The generated functions for arguments like these."""
        key = (y_form, p_form.kind, each)
        if not self._programs:
            self._programs = _programs_of(self)
        found = self._programs.get(key)
        if found is None:
            broken = not self.knots.smooth
            found = Program(
                self.functions, self.tableau, y_form.spec, y, p_form.spec, p, each, broken,
                Systems(self.bandwidth, self.mass, self.jac_sparsity, self.t0), self.dt is not None,
            )  # fmt: skip
            if len(self._programs) >= _KEPT:
                self._programs.clear()
            self._programs[key] = found
        return found

    def simulation(self, program: Program) -> Simulation:
        """The simulation of a program, within the bounds; its number of steps is none's."""
        if self._simulation is None or self._simulation[0] is not program:
            self._simulation = program, program.simulation(self._bounds)
        return self._simulation[1]

    def control(self, rtol: Any, atol: Any) -> Known:
        """What bounds the steps: a Control whose p is None, for tolerances as they are now."""
        k, numbers = self.stops, (rtol, atol, self.max_step)
        fixed = type(rtol) is float and type(atol) is float and type(self.max_step) is float  # else they may change in place
        if fixed and self._control is not None and self._control[0] is k and self._control[1] == numbers:
            return self._control[2]
        control = Control(
            None, k.times, k.begins, k.ends, k.fire, ((k.fire != 0) | (k.begins != k.times)).astype(np.int64), k.sign, rtol,
            atol, self.max_step, *room(),
        )  # fmt: skip
        found = Known(*read(control, "control", copy=True))
        if fixed:
            self._control = k, numbers, found
        return found


class Programs(dict[Any, Program]):
    """What is generated for a problem, by the forms of arguments: problems that differ by times and bounds alone share it."""


@lru_cache(maxsize=32)
def _shared(*same: Any) -> Programs:
    return Programs()


def _programs_of(ode: ODE) -> Programs:
    """Those of all problems like this one; of its own where a matrix says what it is like."""
    f = ode.functions
    if ode.mass is not None or ode.jac_sparsity is not None:
        return Programs()
    same = type(ode), type(ode.tableau), ode.tableau.name, ode.dt is None, ode.knots.smooth, ode.bandwidth
    try:
        return _shared(*same, f.rhs, f.diffusion, f.running, f.terminal, f.observe, f.misfit, f.effects, f.events)
    except TypeError:  # a function without a hash
        return Programs()


def _nothing(n: int, y: float, p: float) -> float:
    return y


def _positive(name: str, given: Any, most: float = np.finfo(float).max) -> float:
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 < number <= most:
        raise ArgumentError(f"Got {name}={given!r}, but expected a positive {'finite ' * bool(most < math.inf)}number")
    return number


def _bands(given: Any) -> tuple[int, int]:
    pair = isinstance(given, (tuple, list)) and len(given) == 2
    if not pair or not all(isinstance(k, (int, np.integer)) and k >= 0 for k in given):
        raise ArgumentError(f"Got bandwidth={given!r}, but expected the numbers of diagonals below and above the main one")
    return int(given[0]), int(given[1])


def _most(given: Any) -> int:
    if given is None:
        return MOST_STEPS
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ArgumentError(f"Got max_steps={given!r}, but expected an integer >= 1")
    return int(given)


def _tolerance(name: str, given: Any) -> Any:
    """A tolerance: a float, or a structure of floats, all finite and >= 0 (rtol > 0)."""
    least = "> 0" if name == "rtol" else ">= 0"
    if isinstance(given, (list, int)) and not isinstance(given, bool):
        given = np.array(given, dtype=np.float64) if isinstance(given, list) else float(given)
    spec = spec_of(given, name)
    for leaf in flatten(given, spec, name):
        good = np.isfinite(leaf) & (leaf > 0.0 if name == "rtol" else leaf >= 0.0)
        if not np.all(good):
            raise ArgumentError(f"Got {name}={given!r}, but expected finite numbers {least}")
    return float(given) if isinstance(given, (float, np.floating)) else given
