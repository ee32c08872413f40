"""One call of a verb of an ODE: it finds the steps, makes the simulation that takes them, and speaks to both in their words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.call import Call, begun
from adjointsim.derive.spec import ScalarSpec, leaf_specs, shapeless
from adjointsim.errors import ArgumentError, ConvergenceError, IntegrationError, NonFiniteError, StructureError
from adjointsim.forms import Known
from adjointsim.jacobians import checked_mode
from adjointsim.kernels import kernel_of
from adjointsim.leaves import Leaves, flatten, spec_of, unflatten
from adjointsim.nonfinite import given
from adjointsim.observed import observation_jacobian, observations_and_jacobian, observations_of, with_tangents, zero_dots
from adjointsim.results import Gradient
from adjointsim.simulation import Simulation

from .dae import check_index
from .dense_output import DenseOutput
from .inputs import EVENT, FIXED, LANDS, Inputs, Timed, WithCost, in_room, inputs_of
from .integration import Found, integrate
from .moments import NAMES, Moments, check_moments, parts_of
from .solution import ODEGradient, ODESolution

if TYPE_CHECKING:
    from .ode import ODE

__all__ = ["Solve"]

Wrt = str | Sequence[str]

#: what is said of the root that is a stage of an implicit method, without the advice for roots that users write
OF_A_STAGE = re.compile(r"^adj\.root of stage (.*?)(;[^;]*)?$", re.DOTALL)


class Solve:
    """One call of a verb: the steps, and the simulation that takes them."""

    def __init__(self, ode: ODE, y0: Any, p: Any) -> None:
        self.ode = ode
        self.times: tuple[str, ...] = ()  # that derivatives are asked for
        if isinstance(y0, list):
            y0 = np.array(y0, dtype=np.float64)
        self.p = given(p, "p", True)
        p_form, p_leaves = self.p.form, self.p.leaves
        self.p_spec, self.p_floats = p_form.spec, any(p_form.floats)
        start = begun(kernel_of(y0, (self.p_spec,), role="function"), p_leaves) if callable(y0) else given(y0, "y0", True)
        y_form, leaves = start.form, start.leaves
        self.y_spec = y_form.spec
        if not y_form.nbytes:
            raise StructureError(f"Got y0={self.y_spec}, but expected a state of at least one number")
        rtol, atol = self._tolerance("rtol", leaves), self._tolerance("atol", leaves)
        self.program = ode.program(y_form, leaves, p_form, p_leaves, (rtol is not ode.rtol, atol is not ode.atol))
        self.own, self.timed = bool(self.program.own), self.program.timed
        if ode.mass is not None:
            check_index(self.program, ode.mass, ode.t0, [*leaves, *([np.zeros(1)] if self.own else [])], p_leaves, self.p_spec)
        self.y0 = self.program.initial(y0, ode.t0) if callable(y0) else self.started(leaves)
        if ode.dt is not None and not self.timed:
            steps = ode.steps()
            evaluations = steps.count * (self.program.method.evaluations + 1)
            self.found = Found(steps, evaluations, 0)
        else:
            start = [*leaves, np.zeros(1)] if self.own else leaves
            control = ode.control(rtol, atol)
            try:
                self.found = integrate(self.program, ode.stops, start, self.p, control, ode.first_step, ode.max_steps)
            except ConvergenceError as error:  # of a step that ends at an event, or of a given size
                raise self._of_a_stage(error) from None
        self.simulation = self._simulation(self.found)
        if self.found.failed is not None:
            raise self._failure(p_leaves)

    def started(self, leaves: Leaves) -> Known:
        """The initial state of the simulation."""
        more = [np.zeros(1)] * self.own + [np.array([self.ode.t0])] * self.timed
        return Known(self.program.start, [*leaves, *more])

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
        """The simulation of the steps found; ``q`` are its parameters, an :class:`.Inputs`."""
        program, steps, functions = self.program, found.steps, self.ode.functions
        broken, jumps = program.broken, bool(functions.effects)
        time, length, begin, end, fire = steps.rooms
        kind = target = None
        if self.timed:
            kind = np.where(steps.landed >= 0, LANDS, np.where(steps.landed == -1, FIXED, EVENT - 2 - steps.landed))
            target = np.where(steps.landed >= 0, steps.time[1:], 0.0)
            kind, target = in_room(kind, steps.count), in_room(target, steps.count)
            if broken:
                begin = in_room(steps.begin - steps.time[:-1], steps.count)
                end = in_room(steps.end - steps.time[1:], steps.count)
        arrays = None if self.timed else time, length, *((begin, end) if broken else (None, None)), fire if jumps else None
        self.q = inputs_of(self.p, (*arrays, kind, target), self.ode.seed)
        stops = self.ode.stops
        whole = len(steps.state) == len(stops.times)
        at = steps.state[stops.observed if whole else stops.observed[stops.observed < len(steps.state)]]
        self.t = self.ode.t_eval[: len(at)]
        return self.ode.simulation(program).of_steps(steps.count, at)

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
            with self.named():
                partial = self.solution(sim.run(self.y0, self.q), -1, message)
        except (ArithmeticError, ValueError) as error:  # what stopped the integration may stop this, too: then there is no part
            if ode.dt is not None and isinstance(error, NonFiniteError):  # no step is rejected: that came first
                raise
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
        """What these names of y0, p and times are called in the simulation."""
        names = (names,) if isinstance(names, str) else tuple(names)
        self.times = tuple(name for name in names if name in NAMES)
        if not self.times:
            return self._values(names)
        check_moments(self.ode, self.times)
        values = tuple(name for name in names if name not in NAMES)
        return (*(self._values(values) if values else ()), *parts_of(self.timed, self.program.broken))

    def _values(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The same of names of y0 and p alone; those that are there."""
        if not self.p_floats:  # nothing to ask for
            names = tuple(name for name in names if name != "p")
            if not names and not self.times:
                raise StructureError(f"Got wrt='p', but p={self.p_spec} has no floats: expected \"y0\" or names of times")
        return _in_simulation(names, self.own + self.timed)

    def gradient(self, gradient: Gradient) -> ODEGradient:
        found = {}
        if self.times:
            moments = self._moments()
            found = moments.named(self.times, moments.bar(gradient.y0, gradient.p))
        return ODEGradient(self.part(gradient.y0), None if gradient.p is None else gradient.p.p, gradient.ledger, **found)

    def _moments(self) -> Moments:
        return Moments(self.ode, self.found.steps, self.timed, self.program.broken, self.q)

    @cached_property
    def _call(self) -> Call:
        """The steps without costs."""
        return Call(self.simulation, self.y0, self.q, costs=False)

    def run(self, dense_output: bool = False) -> ODESolution:
        """Take the steps, storing nothing but the observations, unless the solution between them is asked for."""
        with self.named():
            dense = DenseOutput(self) if dense_output else None
            solution = self.solution(self.simulation.run(self.y0, self.q))
            return replace(solution, sol=dense) if dense_output else solution

    def observations(self) -> Any:
        """The observations alone."""
        with self.named():
            return observations_of(self._call)

    def with_tangents(self, wrt: Sequence[str], lanes: int) -> Call:
        """The steps without costs, with so many tangents that are zero so far; derivatives by parts of y0 and p will be asked
        for."""
        with self.named():
            call = self._call.asking(self._values(tuple(wrt)))
            zeros = zero_dots(call)
            return with_tangents(call, zeros[: len(call.y0)] * lanes, zeros[len(call.y0) :] * lanes, lanes)

    def linearised(self, wrt: Sequence[str]) -> tuple[Any, list[Any]]:
        """The observations, and their derivatives with respect to parts of y0 and p, found together."""
        with self.named():
            own = self._values(tuple(wrt))
            return observations_and_jacobian(self._call.asking(own), own, "auto")

    def jacobian(self, wrt: Wrt, mode: str = "auto") -> Any:
        """The derivatives of the observations with respect to what ``wrt`` names; a tuple of them for several names."""
        with self.named():
            found = self._jacobians((wrt,) if isinstance(wrt, str) else tuple(wrt), mode)
        return found[wrt] if isinstance(wrt, str) else tuple(found[name] for name in wrt)

    def _jacobians(self, names: Sequence[str], mode: str) -> dict[str, Any]:
        """The derivatives with respect to what each of the names stands for."""
        self.times = times = tuple(name for name in names if name in NAMES)
        found: dict[str, Any] = {"p": None}  # if it has no floats
        values = tuple(name for name in dict.fromkeys(names) if name not in NAMES and (name != "p" or self.p_floats))
        if values or not times:
            own = self._values(values)
            found |= zip(values, observation_jacobian(self._call.asking(own), own, checked_mode(mode)), strict=True)
        if times:
            check_moments(self.ode, times)
            start = self.state(None, None, None)
            found |= self._moments().jacobian(times, checked_mode(mode), self.simulation, self.y0, start)
        return found

    def solution(self, solution: Any, status: int = 0, message: str = "the end of t_eval is reached") -> ODESolution:
        found = self.found
        if found.stopped and status == 0:
            status, message = 1, f"an event ended the integration at t={found.t!r}"
        own = {f.name: getattr(solution, f.name) for f in fields(solution)}
        own["y"] = self.part(own["y"])
        moving = int(np.count_nonzero(found.steps.length)) if found.steps.count else 0
        systems = (moving + found.rejected) * self.program.method.factorisations
        counts = {"nfev": found.evaluations, "njev": systems, "nlu": systems}
        stats = {"accepted": moving, "rejected": found.rejected, **counts}
        return ODESolution(
            **own, t=self.t.copy(), **counts, status=status, message=message, stats=stats,
            steps=found.steps.time.copy(), events=self._events(),
        )  # fmt: skip

    def _events(self) -> tuple[np.ndarray, ...]:
        landed, ends = self.found.steps.landed, self.found.steps.time[1:]
        return tuple(ends[landed == -2 - k] for k in range(len(self.ode.events)))

    def named(self) -> _Named:
        """Errors of the simulation in the words of the user: names of his structures, times besides step numbers."""
        return _Named(self)

    def in_words(self, error: Exception) -> Exception:
        """An error of the simulation in the words of the user."""
        if isinstance(error, NonFiniteError):
            return NonFiniteError(
                self._words(str(error)) + self._when(error.step), step=error.step, n_steps=error.n_steps,
                leaf=self._words(error.leaf), index=error.index, direction=error.direction,
            )  # fmt: skip
        if isinstance(error, (ArgumentError, StructureError)):
            return type(error)(self._words(str(error)))
        self._say_when(error)
        return self._of_a_stage(error) if isinstance(error, ConvergenceError) else error

    def _of_a_stage(self, error: ConvergenceError) -> ConvergenceError:
        """The same in the words of the method, if it is of a stage."""
        own = OF_A_STAGE.search(str(error))
        if not own:
            return error
        text = f"{self.ode.tableau.name}: Newton's method for a stage {own[1]}"
        if "entries outside" in text:
            text = text.replace("bandwidth=", self.program.method.flat.said)
        else:
            text += f": {'a smaller dt=' if self.ode.dt is not None else 'smaller rtol= and atol='} may help"
        again = ConvergenceError(text, residual=error.residual, updates=error.updates)
        again.__notes__ = [note for note in error.__notes__ if "<adjointsim" not in note]
        return again

    def _say_when(self, error: Exception) -> None:
        """The time of the step in which an exception was raised."""
        step, time = getattr(error, "adjointsim_step", None), self.found.steps.time
        if step is not None and 0 <= step < len(time):
            error.add_note(f"adjointsim: that step of {self.ode.tableau.name} begins at t={float(time[step])!r}")

    def _words(self, text: str) -> str:
        text = re.sub(r"\bp\.p\b", "p", text)
        for _ in range(self.own + self.timed):
            text = re.sub(r"\b(y|y0|y_dot|y_bar)\.y\b", r"\1", text)
        return text

    def _when(self, step: int | None) -> str:
        time = self.found.steps.time
        return "" if step is None or not 0 <= step < len(time) else f" (t={float(time[step])!r})"


class _Named:
    """A context in which errors are put into the words of a user."""

    def __init__(self, solve: Solve) -> None:
        self.solve = solve

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception):
            own = self.solve.in_words(error)
            if own is not error:
                raise own from None


@lru_cache(maxsize=256)
def _in_simulation(names: tuple[str, ...], wrapped: int) -> tuple[str, ...]:
    """What parts of y0 and p are called where a state is ``wrapped`` so often."""

    def translated(name: str) -> str:
        if re.match(r"p\b", name):
            return f"p.{name}"
        return f"y0{'.y' * wrapped}{name[2:]}" if re.match(r"y0\b", name) else name

    return tuple(map(translated, names))
