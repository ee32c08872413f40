"""ODE solves with exact discrete gradients: an integrator turns a right-hand side into a step, and a Simulation does the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from adjointsim.derive.spec import ScalarSpec, differentiable, leaf_specs, leaves_of, measured, shapeless
from adjointsim.errors import ArgumentError, IntegrationError, NonFiniteError, StructureError
from adjointsim.forms import Form, form_of, read
from adjointsim.kernels import kernel_of
from adjointsim.leaves import Leaves, flatten, shapes_of, spec_of, unflatten
from adjointsim.nonfinite import check_given
from adjointsim.results import Gradient, SolutionTangent
from adjointsim.simulation import Simulation
from adjointsim.storage import Plan

from .dae import check_index, checked_mass
from .inputs import EVENT, FIXED, LANDS, Control, Inputs, Timed, WithCost
from .integration import MOST_STEPS, Found, integrate, room
from .program import Functions, Program
from .solution import ODESolution
from .tableaus import DirkTableau, RosenbrockTableau, Tableau, find
from .times import Knots, fixed_steps, knots_of, times_of

__all__ = ["ODE", "Event", "Jump"]

Wrt = str | Sequence[str]
Pullback = Callable[..., Gradient]


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
    has another sign at the end of a step than at its beginning (bound them with ``max_step`` where it may change twice).
    Derivatives go through the time of the event.
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
    dt:         steps of this size instead (shortened to a whole number of them between two times of ``t_eval``).
    running:    its integral is computed by the method as one more component, which does not count in the error.
    events:     :class:`Event` s; ``jumps``: :class:`Jump` s; ``discontinuities``: times at which rhs may jump, which are stepped
                onto, too.
    bandwidth:  (lower, upper), the numbers of diagonals of drhs/dy below and above the main one, for stiff methods and a state
                that is one vector; without it, systems are dense.
    mass:       M in M y' = rhs(t, y, p), constant: a square matrix, or its diagonal; singular for algebraic equations of index 1,
                for the methods "rodas5p", "sdirk2" and "implicit_euler".
    first_step, max_step, max_steps: the first step's size, the largest one's, and how many may be tried (default 100 000).

    ``memory``, ``checkpoints``, ``directory`` and ``progress`` are those of :class:`.Simulation`, and so are the verbs.

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
        mass: Any = None,
        memory: int | float | str | None = None,
        checkpoints: int | None = None,
        directory: Any = None,
        progress: bool | Callable[[int, int], object] = False,
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
        if self.events and self.dt is not None:
            raise ArgumentError("Got events= and dt=, but events are located where step sizes are chosen: leave out dt=")
        self.rtol, self.atol = _tolerance("rtol", rtol), _tolerance("atol", atol)
        self.first_step = 0.0 if first_step is None else _positive("first_step", first_step)
        self.max_step = _positive("max_step", max_step, math.inf)
        self.max_steps = _most(max_steps)
        self.bandwidth = None if bandwidth is None else _bands(bandwidth)
        self.mass = None if mass is None else checked_mass(mass, self.tableau, self.bandwidth is not None)
        if bandwidth is not None and not isinstance(self.tableau, (RosenbrockTableau, DirkTableau)):
            raise ArgumentError(f"Got bandwidth= and method={method!r}, but only stiff methods solve systems")
        self._bounds = {"memory": memory, "checkpoints": checkpoints, "directory": directory, "progress": progress}
        Simulation(_nothing, 0, **self._bounds)  # for its errors
        self._programs: dict[Any, Program] = {}
        self._control: tuple[Knots, tuple[float, float, float], tuple[Form, Leaves]] | None = None

    # ----------------------------------------------------------------------------------------------------------- verbs
    def run(self, y0: Any, p: Any = None) -> ODESolution:
        """Solve, storing nothing but the observations."""
        solve = _Solve(self, y0, p)
        with solve.named():
            return solve.solution(solve.simulation.run(solve.y0, solve.q))

    def value_and_grad(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p")) -> tuple[float, Gradient]:
        """The value, and its derivatives with respect to what ``wrt`` names; see :meth:`.Simulation.value_and_grad`."""
        self._needs_cost()
        solve = _Solve(self, y0, p)
        with solve.named():
            value, gradient = solve.simulation.value_and_grad(solve.y0, solve.q, solve.wrt(wrt))
            return value, solve.gradient(gradient)

    def vjp(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p")) -> tuple[ODESolution, Pullback]:
        """The solution, and ``pullback(value_bar=None, y_bar=None, observations_bar=None)``; see :meth:`.Simulation.vjp`.

        ``y_bar`` is a cotangent of the last state.
        """
        solve = _Solve(self, y0, p)
        with solve.named():
            solution, inner = solve.simulation.vjp(solve.y0, solve.q, solve.wrt(wrt))

        def pullback(value_bar: float | None = None, y_bar: Any = None, observations_bar: Any = None) -> Gradient:
            with solve.named():
                if value_bar is None and y_bar is None and observations_bar is None:
                    self._needs_cost()
                bar = None if y_bar is None else solve.state(y_bar)
                return solve.gradient(inner(value_bar, bar, observations_bar))

        return solve.solution(solution), pullback

    def jvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None) -> tuple[ODESolution, SolutionTangent]:
        """The solution and its derivative along (y0_dot, p_dot); None stands for zeros."""
        solve = _Solve(self, y0, p)
        with solve.named():
            solution, dot = solve.simulation.jvp(solve.y0, solve.q, *solve.directions(y0_dot, p_dot))
            return solve.solution(solution), replace(dot, y=solve.part(dot.y))

    def hvp(self, y0: Any, p: Any = None, y0_dot: Any = None, p_dot: Any = None) -> Gradient:
        """The product of the value's Hessian and (y0_dot, p_dot); see :meth:`.Simulation.hvp`."""
        self._needs_cost()
        solve = _Solve(self, y0, p)
        with solve.named():
            return solve.gradient(solve.simulation.hvp(solve.y0, solve.q, *solve.directions(y0_dot, p_dot)))

    def jacobian(self, y0: Any, p: Any = None, wrt: Wrt = ("y0", "p"), mode: str = "auto") -> Any:
        """All derivatives of the observations with respect to what ``wrt`` names; see :meth:`.Simulation.jacobian`."""
        solve = _Solve(self, y0, p)
        with solve.named():
            found = solve.simulation.jacobian(solve.y0, solve.q, solve.wrt(wrt), mode)
        return found[0] if isinstance(wrt, str) else found

    def plan(self, y0: Any, p: Any = None) -> Plan:
        """What a gradient will store and recompute; the steps are found for it."""
        solve = _Solve(self, y0, p)
        with solve.named():
            return solve.simulation.plan(solve.y0, solve.q)

    # --------------------------------------------------------------------------------------------------------- helpers
    def _needs_cost(self) -> None:
        if not self.functions.has_cost:
            raise ArgumentError("Got an ODE without a cost, but a value needs terminal=, running= or misfit=")

    def program(self, y_form: Form, y: Leaves, p_form: Form, p: Leaves, each: tuple[bool, bool]) -> Program:
        """The generated functions for arguments like these."""
        key = (y_form, p_form.kind, each)
        found = self._programs.get(key)
        if found is None:
            broken = not self.knots.smooth
            found = Program(
                self.functions, self.tableau, y_form.spec, y, p_form.spec, p, each, broken, self.bandwidth, self.mass
            )  # fmt: skip
            self._programs[key] = found
        return found

    def control(self, rtol: Any, atol: Any) -> tuple[Form, Leaves]:
        """What bounds the steps: a Control whose p is None, for tolerances as they are now."""
        k, numbers = self.knots, (rtol, atol, self.max_step)
        fixed = all(type(x) is float for x in numbers)  # else they may change in place
        if fixed and self._control is not None and self._control[0] is k and self._control[1] == numbers:
            return self._control[2]
        control = Control(
            None, k.times, k.begins, k.ends, k.fire, ((k.fire != 0) | (k.begins != k.times)).astype(np.int64), k.sign, rtol,
            atol, self.max_step, *room(), 1e-10 * abs(k.times[-1] - k.times[0]),
        )  # fmt: skip
        found = read(control, "control", copy=True)
        if fixed:
            self._control = k, numbers, found
        return found


class _Solve:
    """One call of a verb: the steps, and the simulation that takes them."""

    def __init__(self, ode: ODE, y0: Any, p: Any) -> None:
        self.ode, self.p = ode, p
        if isinstance(y0, list):
            y0 = np.array(y0, dtype=np.float64)
        p_form, p_leaves = read(p, "p", copy=True)
        self.p_spec = p_form.spec
        check_given(p_leaves, self.p_spec, "p")
        if callable(y0):
            initial = kernel_of(y0, (self.p_spec,), role="function")
            leaves = initial.value(p_leaves)
            y_form = form_of(measured(initial.result_spec, shapes_of(leaves)), shapes_of(leaves))
        else:
            y_form, leaves = read(y0, "y0", copy=True)
        self.y_spec = y_form.spec
        if not sum(leaf.size for leaf in leaves):
            raise StructureError(f"Got y0={self.y_spec}, but expected a state of at least one number")
        check_given(leaves, self.y_spec, "y0")
        rtol, atol = (self._tolerance(name, leaves) for name in ("rtol", "atol"))
        self.program = ode.program(y_form, leaves, p_form, p_leaves, (rtol is not ode.rtol, atol is not ode.atol))
        self.own, self.timed = bool(self.program.own), self.program.timed
        if ode.mass is not None:
            check_index(self.program, ode.mass, ode.t0, [*leaves, *([np.zeros(1)] if self.own else [])], p_leaves, self.p_spec)
        self.y0 = self.program.initial(y0, ode.t0) if callable(y0) else self.state(y0, 0.0, ode.t0)
        if ode.dt is not None:
            steps = fixed_steps(ode.knots, ode.dt, ode.max_steps)
            evaluations = steps.count * (self.program.method.evaluations + 1)
            self.found = Found(steps, evaluations, 0)
        else:
            start = [*leaves, np.zeros(1)] if self.own else leaves
            c_form, control = ode.control(rtol, atol)
            self.found = integrate(
                self.program, ode.knots, start, p_leaves, control, c_form, ode.first_step, ode.max_steps
            )  # fmt: skip
        self.simulation = self._simulation(self.found)
        if self.found.failed is not None:
            raise self._failure(p_leaves)

    def _tolerance(self, name: str, y: Leaves) -> Any:
        given = getattr(self.ode, name)
        if isinstance(given, float):
            return given
        spec = spec_of(given, name)
        if str(shapeless(spec)) != str(shapeless(self.y_spec)):
            raise StructureError(f"Got {name}={spec}, but expected a number, or the structure of y0, {self.y_spec}")
        leaves = flatten(given, spec, name, copy=True)
        for (path, _), own, leaf in zip(leaf_specs(self.y_spec, ""), leaves, y, strict=True):
            if own.shape != leaf.shape:
                raise StructureError(f"Got {name}{path} of shape {own.shape}, but expected that of y0{path}, {leaf.shape}")
        return unflatten(spec, leaves)

    def _simulation(self, found: Found) -> Simulation:
        """The simulation of the steps found; ``q`` are its parameters."""
        program, steps, functions = self.program, found.steps, self.ode.functions
        broken, jumps = program.broken, bool(functions.effects)
        self.q = Inputs(
            self.p, steps.time, steps.length, steps.begin if broken else None, steps.end if broken else None,
            steps.fire if jumps else None, seed=self.ode.seed,
        )  # fmt: skip
        if self.timed:
            kind = np.where(steps.landed >= 0, LANDS, np.where(steps.landed == -1, FIXED, EVENT - 2 - steps.landed))
            target = np.where(steps.landed >= 0, steps.time[1:], 0.0)
            nudges = (steps.begin - steps.time[:-1], steps.end - steps.time[1:]) if broken else (None, None)
            self.q = self.q._replace(time=None, kind=kind, target=target, begin=nudges[0], end=nudges[1])
        observed = self.ode.knots.observed
        at = steps.state[observed[observed < len(steps.state)]]
        self.t = self.ode.t_eval[: len(at)]
        return program.simulation(self.ode._bounds).of_steps(steps.count, at)

    def _failure(self, p: Leaves) -> IntegrationError:
        """The error of an integration that could not go on, with what was reached."""
        found, ode = self.found, self.ode
        assert found.y is not None
        name, why = self._culprit(found.t, found.y, p) if found.stuck else ("", "")
        counts = f"after {found.steps.count} steps and {found.rejected} rejected"
        message = f"{ode.tableau.name}: {found.failed} at t={found.t!r} (forward), {counts}"
        partial = None
        try:
            sim = Simulation(
                self.program.step, found.steps.count, observe=self.program.observe, observe_at=self.simulation.observe_at
            )
            partial = self.solution(sim.run(self.y0, self.q), -1, message)
        except (ArithmeticError, ValueError):
            pass
        return IntegrationError(f"{message}; {why}" if why else message, t=found.t, component=name, solution=partial)

    def _culprit(self, t: float, y: Leaves, p: Leaves) -> tuple[str, str]:
        """The component that is to blame, and words for it: one whose rate is not finite, else the one that reacts most to a
        small change of all components."""
        kernel = kernel_of(self.program.whole_rate, (ScalarSpec("f8"), self.program.spec, self.p_spec), role="function")
        scales = [np.abs(leaf) + 1e-9 for leaf in y]
        rates, dots = kernel.jvp([np.full(1, t), *y, *p], [np.zeros(1), *scales, *(None for _ in p)])
        worst, name, value = -1.0, "y", 0.0
        for (path, spec), scale, rate, dot in zip(leaf_specs(self.program.spec, "y"), scales, rates, dots, strict=True):
            if dot is None or not rate.size:
                continue
            reaction = np.where(np.isfinite(rate), np.abs(dot) / scale, np.inf)
            reaction[np.isnan(reaction)] = np.inf
            k = int(reaction.argmax())
            if reaction.reshape(-1)[k] > worst:
                index = ", ".join(map(str, np.unravel_index(k, rate.shape)))
                worst, value = float(reaction.reshape(-1)[k]), float(rate.reshape(-1)[k])
                name = self._words(path if isinstance(spec, ScalarSpec) else f"{path}[{index}]")
        if not math.isfinite(value):
            return name, f"the derivative of {name} is {value} there: the solution may leave the domain of the right-hand side"
        return name, (
            f"{name} reacts most to small changes, at a rate of {worst:.3g} per unit of time: if the solution exists beyond, the "
            'problem may be stiff, which takes an implicit method ("rodas5p", "kvaerno5"), or rtol and atol may be too small, or '
            "max_steps"
        )

    # ------------------------------------------------------------------------------------------ the user's side of things
    def state(self, y: Any, cost: float | None = None, t: float | None = None) -> Any:
        """A state, or a cotangent of it, of the simulation."""
        y = WithCost(y, cost) if self.own else y
        return Timed(y, t) if self.timed else y

    def part(self, y: Any) -> Any:
        """The user's part of it."""
        for _ in range(self.own + self.timed):
            y = None if y is None else y.y
        return y

    def directions(self, y0_dot: Any, p_dot: Any) -> tuple[Any, Any]:
        """Tangents for the simulation."""
        y_dot = None if y0_dot is None else self.state(y0_dot)
        return y_dot, None if p_dot is None else Inputs(p_dot, None, None)  # type: ignore[arg-type]

    def wrt(self, names: Wrt) -> Any:
        """What these names of y0 and p are called in the simulation."""

        def translated(name: str) -> str:
            if re.match(r"p\b", name):
                return f"p.{name}"
            return f"y0{'.y' * (self.own + self.timed)}{name[2:]}" if re.match(r"y0\b", name) else name

        if isinstance(names, str):
            names = (names,)
        if not any(map(differentiable, leaves_of(self.p_spec))):  # nothing to ask for
            names = tuple(name for name in names if name != "p") or ("y0",)
        return tuple(map(translated, names))

    def gradient(self, gradient: Gradient) -> Gradient:
        return Gradient(self.part(gradient.y0), None if gradient.p is None else gradient.p.p, gradient.ledger)

    def solution(self, solution: Any, status: int = 0, message: str = "the end of t_eval is reached") -> ODESolution:
        found = self.found
        if found.stopped and status == 0:
            status, message = 1, f"an event ended the integration at t={found.t!r}"
        own = {f.name: getattr(solution, f.name) for f in fields(solution)}
        own["y"] = self.part(own["y"])
        moving = int(np.count_nonzero(found.steps.length)) if found.steps.count else 0
        stats = {"accepted": moving, "rejected": found.rejected, "nfev": found.evaluations, "njev": 0, "nlu": 0}
        return ODESolution(
            **own, t=self.t.copy(), nfev=found.evaluations, status=status, message=message, stats=stats,
            steps=found.steps.time.copy(), events=self._events(),
        )  # fmt: skip

    def _events(self) -> tuple[np.ndarray, ...]:
        landed, ends = self.found.steps.landed, self.found.steps.time[1:]
        return tuple(ends[landed == -2 - k] for k in range(len(self.ode.events)))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors of the simulation in the words of the user: names of his structures, times besides step numbers."""
        try:
            yield
        except NonFiniteError as error:
            raise NonFiniteError(
                self._words(str(error)) + self._when(error.step), step=error.step, n_steps=error.n_steps,
                leaf=self._words(error.leaf), index=error.index, direction=error.direction,
            ) from None  # fmt: skip
        except (ArgumentError, StructureError) as error:
            raise type(error)(self._words(str(error))) from None

    def _words(self, text: str) -> str:
        text = re.sub(r"\bp\.p\b", "p", text)
        for _ in range(self.own + self.timed):
            text = re.sub(r"\b(y|y0|y_dot|y_bar)\.y\b", r"\1", text)
        return text

    def _when(self, step: int | None) -> str:
        time = self.found.steps.time
        return "" if step is None or not 0 <= step < len(time) else f" (t={float(time[step])!r})"


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
