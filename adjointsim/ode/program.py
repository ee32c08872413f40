"""The functions of an ODE for one structure of y and p: the step, the integration that finds step sizes, costs, observations.

They are texts of functions that call the user's; the deriver sees through both.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from textwrap import indent
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjointsim.derive.factored import banded_factor, banded_solve, lu_factor, lu_solve
from adjointsim.derive.rules import noted
from adjointsim.derive.source import Namespace, from_text
from adjointsim.derive.sparselu import sparse_factor, sparse_solve
from adjointsim.derive.spec import ArraySpec, ScalarSpec, Spec, TupleSpec, differentiable, leaves_of
from adjointsim.errors import StructureError, UnsupportedError
from adjointsim.forms import Form, Kind, form_of
from adjointsim.functions import jvp
from adjointsim.implicit import root, sparse_root
from adjointsim.kernels import kernel_of
from adjointsim.leaves import Leaves, shapes_of
from adjointsim.random import normal
from adjointsim.simulation import Simulation
from adjointsim.step import Step

from .control import control_text
from .dense_output import between_text
from .dirk import Dirk
from .events import EventText, event_text
from .explicit import Explicit
from .flat import Flat
from .inputs import EVENT, LANDS, Timed, WithCost
from .norms import Norm
from .rosenbrock import Rosenbrock
from .sparsity import Pattern, detected
from .splitting import Splitting
from .stochastic import Stochastic, StochasticMethod
from .tableaus import ExplicitTableau, RosenbrockTableau, SplittingTableau, Tableau
from .trees import SHORT, Tree, paths, vectors_in_tuples

if TYPE_CHECKING:
    from adjointsim.derive.api import FunctionKernel

__all__ = ["Functions", "Program", "Systems"]

_F8, _I8 = ScalarSpec("f8"), ScalarSpec("i8")
_KEPT = 64  # functions for initial states, and simulations of different bounds, of a program

#: what the texts of implicit methods refer to
IMPLICIT = {
    "banded_factor": banded_factor, "banded_solve": banded_solve, "lu_factor": lu_factor, "lu_solve": lu_solve,
    "sparse_factor": sparse_factor, "sparse_solve": sparse_solve, "sparse_root": sparse_root,
}  # fmt: skip


class Systems(NamedTuple):
    """What is said of the systems of an implicit method: its Jacobian's bands or pattern, from t0 on, and the mass matrix."""

    bandwidth: tuple[int, int] | None
    mass: np.ndarray | None
    sparsity: Any  # a matrix, or DETECT
    t0: float


class Functions:
    """The user's functions; all but ``rhs`` may be None.

    ``effects`` are those of the jumps; ``events`` have a condition, an effect, a direction and a stop.
    """

    def __init__(
        self, rhs: Any, running: Any, terminal: Any, observe: Any, misfit: Any, effects: Sequence[Any], events: Sequence[Any] = ()
    ) -> None:
        self.rhs, self.running, self.terminal, self.observe, self.misfit = rhs, running, terminal, observe, misfit
        self.effects, self.events = tuple(effects), tuple(events)
        self.diffusion: Any = None  # of a stochastic equation, whose drift is ``rhs``

    @property
    def has_cost(self) -> bool:
        return not (self.running is None and self.terminal is None and self.misfit is None)


class Program:
    """What is generated for one structure of y and p.

    StructureError if the right-hand side or an effect does not give something like y, or y has integers.
    """

    def __init__(
        self, functions: Functions, tableau: Tableau, y_spec: Spec, y: Leaves, p_spec: Spec, p: Leaves, each: tuple[bool, bool],
        broken: bool, systems: Systems, fixed: bool,
    ) -> None:  # fmt: skip
        """``y`` and ``p`` are values of these structures.  ``each``: whether rtol and atol have the structure of y.  ``broken``:
        whether the right-hand side may jump in time.  ``fixed``: whether steps have a given size."""
        self.lanes: dict[Any, list[Any]] = {}  #: idle ones, see .lane
        self.trips: dict[Any, list[Any] | None] = {}  #: the same of .round_trip; None where there are to be none
        self.spent = 0.0  #: seconds of integrations that a lane could have done
        self.functions, self.y_spec, self.p_spec, self.broken, self.fixed = functions, y_spec, p_spec, broken, fixed
        inert = [path for path, leaf in paths(y_spec) if not all(map(differentiable, leaves_of(leaf)))]
        if inert:
            raise StructureError(
                f"Got y{inert[0]} of integers or bools, but expected floats: y0.astype(float) (what does not change belongs in p)"
            )
        self.specs = specs = (_F8, y_spec, p_spec)
        arguments = [np.zeros(1), *y, *p]
        self.namespace = Namespace({
            "__name__": "adjointsim.ode.generated", "np": np, "math": math, "jvp": jvp, "noted": noted, "root": root,
            "WithCost": WithCost, "Timed": Timed, "running": functions.running,
        })  # fmt: skip
        self.rhs = self.namespace["rhs"] = self._unlisted(functions.rhs)
        whose = f"the {'drift' if functions.diffusion is not None else 'right-hand side'} {_name(functions.rhs)}"
        rate, lengths = self._like_y(self.rhs, specs, arguments, whose)
        for (path, leaf), shape in zip(paths(y_spec), shapes_of(y), strict=True):
            if isinstance(leaf, ArraySpec) and leaf.rank == 1 and 0 < shape[0] <= SHORT:
                lengths[path] = shape[0]
        self.user_tree = Tree(y_spec, lengths, self.namespace)
        for k, effect in enumerate(functions.effects):
            self._effect(f"effect_{k}", effect, f"the effect {_name(effect)} of jumps[{k}]", specs, arguments)
        for k, event in enumerate(functions.events):
            self._condition(k, event, specs)
            if event.effect is not None:
                self._effect(f"happens_{k}", event.effect, f"the effect {_name(event.effect)} of events[{k}]", specs, arguments)
        spec, skip = y_spec, ()
        if functions.running is not None:
            spec = TupleSpec((y_spec, _F8), WithCost)
            lengths = {f".y{path}": n for path, n in lengths.items()}
            skip = (".cost",)
        self.spec, self.tree = spec, Tree(spec, lengths, self.namespace)
        self.own = ".y" if functions.running is not None else ""  #: where the user's y is in what is integrated
        self.timed = bool(functions.events)  #: whether the state of the simulation has the time besides
        whole = TupleSpec((spec, _F8), Timed) if self.timed else spec
        more = ((1,),) * (bool(self.own) + self.timed)
        self.start = form_of(whole, (*shapes_of(y), *more))  #: the form of that state
        cost = f"running(t, {self._given(functions.running)}, p)" if self.own else ""
        self.rate = self._define(self._field("rate", "rhs", self.rhs, rate, whose, cost))
        self.tries = 64  #: steps to try until one looks at the keyboard, at first
        norm = Norm(self.tree, each, skip, self.own)
        self.method = self._method_of(tableau, norm, arguments, systems)
        lines = [*self.method.step("begin", "end", "p"), "return y_next"]
        self._define(f"def advanced(begin, end, h, y, p{self.drawn}):\n" + indent("\n".join(lines), "    "))
        for k in range(len(functions.events)):
            rates = self.user_tree.of(lambda path: f"rates{self.own}{path}")
            self._define(event_text(k, self.own, rates, systems.mass is not None))
        self.step = Step(self._define(self._timed_step() if self.timed else self._step()))
        self.terminal, self.observe = self._terminal(), self._observe()
        self.misfit = None
        if functions.misfit is not None:
            self.namespace["user_misfit"] = functions.misfit
            self.misfit = self._define("def misfit(k, seen, q):\n    return user_misfit(k, seen, q.p)")
        self._numbers = itertools.count()
        self._initials: dict[Any, FunctionType] = {}
        self._simulations: dict[Any, Simulation] = {}
        self._integration: tuple[Kind, FunctionKernel] | None = None

    @property
    def drawn(self) -> str:
        """What a step is told besides, to draw noise."""
        return ", seed, n" if isinstance(self.method, Stochastic) else ""

    def _method_of(
        self, tableau: Any, norm: Norm, arguments: Leaves, systems: Systems
    ) -> Explicit | Splitting | Rosenbrock | Dirk | Stochastic:
        """What writes the step; the functions that it refers to are defined."""
        functions = self.functions
        if isinstance(tableau, SplittingTableau):
            if functions.running is not None:
                raise StructureError(f"Got running= with the method {tableau.name!r}, but it integrates pairs (q, v) only: "
                                     "sum a cost of observations instead, observe= and misfit=")  # fmt: skip
            return Splitting(tableau, self.tree)
        if isinstance(tableau, StochasticMethod):
            diffusion = self._unlisted(functions.diffusion)
            self.namespace.update(diffusion=diffusion, normal=normal)
            whose = f"the diffusion {_name(functions.diffusion)}"
            spread, vectors = self._like_y(diffusion, self.specs, arguments, whose)
            self.tree.lengths.update({f"{self.own}{path}": n for path, n in vectors.items()})
            self._define(self._field("spread", "diffusion", diffusion, spread, whose, "0.0"))
            shapes = {path: leaf.shape for (path, _), leaf in zip(paths(self.y_spec), arguments[1:], strict=False)}
            return Stochastic(tableau, self.tree, shapes, self.own)
        if isinstance(tableau, ExplicitTableau):
            return Explicit(tableau, norm)
        pattern, mass = self._pattern(systems, arguments), systems.mass
        if pattern is not None and mass is not None:
            mass = mass[pattern.order]
        flat = Flat(self.tree, tableau.name, systems.bandwidth, 0 if mass is None else mass.ndim, pattern)
        self.namespace.update(IMPLICIT, mass=mass)
        self._define(flat.text())
        method = (Rosenbrock if isinstance(tableau, RosenbrockTableau) else Dirk)(tableau, norm, flat)
        self._define(method.text())
        return method

    def _pattern(self, systems: Systems, arguments: Leaves) -> Pattern | None:
        """Where the Jacobian is said to be nonzero, or is found to be."""
        if systems.sparsity is None:
            return None
        if self.own:
            raise StructureError("Got jac_sparsity= and running=, whose integral depends on all of y: sum a cost of observations "
                                 "instead, observe= and misfit=")  # fmt: skip
        _, *leaves = arguments
        y, p = leaves[: len(leaves_of(self.y_spec))], leaves[len(leaves_of(self.y_spec)) :]
        n, found = sum(leaf.size for leaf in y), systems.sparsity
        if isinstance(found, str):
            found = detected(kernel_of(self.whole_rate, self.specs, role="function"), systems.t0, y, p)
        if found.shape[0] != n:
            raise StructureError(f"Got jac_sparsity of shape {found.shape}, but expected {(n, n)}, as y0 has {n} numbers")
        return Pattern.of(found)

    def _unlisted(self, f: Any) -> Any:
        """The function, or one that makes an array of the list of numbers that it returns."""
        try:
            kernel_of(f, self.specs, role="function")
        except UnsupportedError as error:
            if "a list" not in str(error.msg):
                raise
            self.namespace[name := f"listed_{len(self.namespace)}"] = f
            made = self._define(f"def from_{name}(t, y, p):\n    return np.array({name}(t, y, p))")
            made.__name__ = _name(f)
            return made
        return f

    def _like_y(self, f: Any, specs: tuple[Spec, ...], arguments: Leaves, whose: str) -> tuple[Spec, dict[str, int]]:
        """What f(t, y, p) returns, and the lengths of tuples in it that stand for vectors; StructureError if it is not like y."""
        kernel = kernel_of(f, specs, role="function")
        vectors = vectors_in_tuples(self.y_spec, kernel.result_spec, whose)
        try:
            shapes = iter(kernel.result_shapes(arguments))
        except StructureError:  # known only while it runs: the text checks it
            return kernel.result_spec, vectors
        for (path, _), leaf in zip(paths(self.y_spec), arguments[1:], strict=False):
            if path in vectors:
                got: tuple[int, ...] = (len([next(shapes) for _ in range(vectors[path])]),)
            else:
                got = next(shapes)
            if got != leaf.shape:
                raise StructureError(f"Got shape {got} from {whose} in place of y{path}, but expected {leaf.shape}")
        return kernel.result_spec, vectors

    @cached_property
    def control(self) -> FunctionType:
        """The integration that finds the steps."""
        events = [
            EventText(event.direction, tuple(self._happens(k, "t", "c.p")), event.stop)
            for k, event in enumerate(self.functions.events)
        ]
        jumps = self._jumps("c.fire[knot]", "c.knots[knot]", "c.p")
        text = control_text(self.method, jumps, events, self.own, self.fixed, self.logs)  # type: ignore[arg-type]
        return self._define(text)

    @cached_property
    def logs(self) -> bool:
        """Whether the integration can write down the states."""
        plain = not any(is_complex for _, _, is_complex in self.tree.parts())
        return plain and self.method.exact and not self.fixed and not self.functions.events

    def integration(self, control: Form) -> FunctionKernel:
        """The kernel of :attr:`control` for a Control of this form, but for p, which is None there."""
        found = self._integration
        if found is None or found[0] is not control.kind or found[1].stale():
            assert isinstance(control.spec, TupleSpec)
            whole = TupleSpec((self.p_spec, *control.spec.items[1:]), control.spec.cls)
            arguments = (_F8, _F8, _F8, _F8, _I8, _I8, _I8, self.spec, whole)
            found = self._integration = control.kind, kernel_of(self.control, arguments, role="function")
        return found[1]

    def simulation(self, bounds: dict[str, Any]) -> Simulation:
        """A simulation of the generated functions, within bounds; its number of steps is none's."""
        key = tuple([_mark(value) for value in bounds.values()])
        found = self._simulations.get(key)
        if found is None:
            if len(self._simulations) >= _KEPT:
                self._simulations.clear()
            functions = {"terminal": self.terminal, "observe": self.observe, "misfit": self.misfit}
            found = self._simulations[key] = Simulation(self.step, 0, **functions, observe_at=(), **bounds)
        return found

    @cached_property
    def between(self) -> FunctionType:
        """The solution inside of a step."""
        return self._define(between_text(self))

    @cached_property
    def whole(self) -> FunctionType:
        """What is integrated, of the state of the simulation."""
        return self._define(f"def whole(n, z, q):\n    return z{'.y' * self.timed}")

    @cached_property
    def whole_rate(self) -> FunctionType:
        """The derivative as a value of the state's structure."""
        k = self.tree.of(lambda path: f"k{path}")
        return self._define(f"def whole_rate(t, y, p):\n    k = rate(t, y, p)\n    return {k}")

    def initial(self, y0: Callable[..., Any], t0: float) -> FunctionType:
        """The initial state as a function of the generated parameters."""
        key = y0, t0 if self.timed else None
        found = self._initials.get(key)
        if found is None:
            if len(self._initials) >= _KEPT:
                self._initials.clear()
            found = self._initials[key] = self._initial_of(y0, t0)
        return found

    def _initial_of(self, y0: Callable[..., Any], t0: float) -> FunctionType:
        """Each has a name of its own for ``y0``: several may be in use."""
        name = f"user_y0_{next(self._numbers)}"
        self.namespace[name] = y0
        made = f"WithCost({name}(q.p), 0.0)" if self.own else f"{name}(q.p)"
        if self.timed:
            made = f"Timed({made}, {t0!r})"
        return self._define(f"def initial(q):\n    return {made}")

    # ----------------------------------------------------------------------------------------------------------- texts
    def _define(self, text: str) -> FunctionType:
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        return from_text(text, f"<adjointsim ode {key}>", self.namespace)

    def _field(self, name: str, own: str, function: Any, found: Spec, whose: str, cost: str) -> str:
        """What the user's function ``own`` gives, if it has the state's shapes (a text that reads components does not see
        others), and besides what the running cost's counterpart is."""
        checks = self._checks("k", found, whose)
        if self.own:
            head, result = [f"def {name}(t, z, p):", "    y = z.y"], f"WithCost(k, {cost})"
        else:
            head, result = [f"def {name}(t, y, p):"], "k"
        return "\n".join([*head, f"    k = {own}(t, {self._given(function)}, p)", *checks, f"    return {result}"])

    def _given(self, function: Any) -> str:
        """The user's y for a function of (t, y, p): a copy if that overwrites it, for y is read again after the call."""
        kernel = kernel_of(function, self.specs, role="function")
        mine = kernel.names[1]
        writes = any(re.split(r"[.\[]", path)[0] == mine for path in kernel.entry.overwritten)
        return self.user_tree.own("y") if writes else "y"

    def _checks(self, name: str, found: Spec, whose: str) -> list[str]:
        """Lines that raise ValueError where an array has another shape than its counterpart in y."""
        vectors = vectors_in_tuples(self.y_spec, found, whose)
        lines = []
        for path, leaf in paths(self.y_spec):
            if path not in vectors:
                tests = [f"{name}{path}.shape[{k}] != y{path}.shape[{k}]" for k in range(getattr(leaf, "rank", 0))]
                message = f"{whose} gives another shape than that of y{path}"
                lines += [f"    if {test}:\n        raise ValueError({message!r})" for test in tests]
        return lines

    def _step(self) -> str:
        begin, end = ("q.begin[n]", "q.end[n]") if self.broken else ("q.time[n]", "q.time[n + 1]")
        drawn = ", q.seed, n" if self.drawn else ""
        lines = [f"y_next = advanced({begin}, {end}, q.length[n], y, q.p{drawn})"]
        lines = [*self._or_jumps(lines, "q.time[n]"), "return y_next"]
        return "def step(n, y, q):\n" + indent("\n".join(lines), "    ")

    def _timed_step(self) -> str:
        """The step of a state that carries its time."""
        begin, end = ("t + q.begin[n]", "t_next + q.end[n]") if self.broken else ("t", "t_next")
        events = range(len(self.functions.events))
        lines = ["kind = q.kind[n]", "h = q.length[n]", "t_next = t + h", f"if kind == {LANDS}:", "    t_next = q.target[n]",
                 "    h = t_next - t"]  # fmt: skip
        for k in events:
            located = f"root(moment_{k}, q.length[n], ({begin}, t, y, q.p))"
            lines += [f"if kind == {EVENT + k}:", f"    h = {located}", "    t_next = t + h"]
        lines.append(f"y_next = advanced({begin}, {end}, h, y, q.p)")
        for k in events:
            if self.functions.events[k].effect is not None:
                happens = ["y = y_next", *self._happens(k, "t_next", "q.p"), "y_next = y"]
                lines += [f"if kind == {EVENT + k}:", *(f"    {line}" for line in happens)]
        whole = ["y = z.y", "t = z.t", *self._or_jumps(lines, "t", "t_next = t"), "return Timed(y_next, t_next)"]
        return "def step(n, z, q):\n" + indent("\n".join(whole), "    ")

    def _or_jumps(self, lines: list[str], time: str, *still: str) -> list[str]:
        """Lines for a step that moves, unless there are jumps in it: then it stands ``still``, and has their effects."""
        if not self.functions.effects:
            return lines
        jumps = [*self._jumps("fire", time, "q.p"), "y_next = y"]
        moving, jumping = ([f"    {line}" for line in block] for block in (lines, jumps))
        return ["fire = q.fire[n]", *still, "y_next = y", "if fire == 0:", *moving, "else:", *jumping]

    def _effect(self, name: str, effect: Any, whose: str, specs: tuple[Spec, ...], arguments: Leaves) -> None:
        """Define an effect whose shapes are checked."""
        effect = self._unlisted(effect)
        found, _ = self._like_y(effect, specs, arguments, whose)
        self.namespace[f"given_{name}"] = effect
        checks = self._checks("after", found, whose)
        self._define("\n".join([f"def {name}(t, y, p):", f"    after = given_{name}(t, y, p)", *checks, "    return after"]))

    def _condition(self, k: int, event: Any, specs: tuple[Spec, ...]) -> None:
        found = kernel_of(event.condition, specs, role="function").result_spec
        if found != _F8:
            raise StructureError(f"Got {found} from the condition {_name(event.condition)} of events[{k}], but expected a float")
        self.namespace[f"given_condition_{k}"] = event.condition
        self._define(f"def condition_{k}(t, y, p):\n    return given_condition_{k}(t, {self._given(event.condition)}, p)")

    def _happens(self, k: int, time: str, p: str) -> list[str]:
        """Lines for the effect of event k on y."""
        if self.functions.events[k].effect is None:
            return []
        return [f"jumped = happens_{k}({time}, y{self.own}, {p})", f"y = {self.tree.of(self._jumped)}"]

    def _jumps(self, fire: str, time: str, p: str) -> list[str]:
        """Lines for all effects that happen at a time, in the order of the jumps."""
        lines = []
        for k in range(len(self.functions.effects)):
            lines += [f"if {fire} & {1 << k}:", f"    jumped = effect_{k}({time}, y{self.own}, {p})"]
            lines.append(f"    y = {self.tree.of(self._jumped)}")
        return lines

    def _jumped(self, path: str) -> str:
        return f"jumped{path[len(self.own) :]}" if path.startswith(self.own) else f"y{path}"

    def _terminal(self) -> FunctionType | None:
        own, whole = self.functions.terminal, ".y" * self.timed
        self.namespace["user_terminal"] = own
        if own is None:
            return self._define(f"def terminal(z, q):\n    return z{whole}.cost") if self.own else None
        cost = f" + z{whole}.cost" if self.own else ""
        return self._define(f"def terminal(z, q):\n    return user_terminal(z{whole}{self.own}, q.p){cost}")

    def _observe(self) -> FunctionType:
        self.namespace["user_observe"] = self.functions.observe
        y = f"z{'.y' * self.timed}{self.own}"
        if self.functions.observe is None:
            return self._define(f"def observe(n, z, q):\n    return {y}")
        return self._define(f"def observe(n, z, q):\n    return user_observe({'z.t' if self.timed else 'q.time[n]'}, {y}, q.p)")


def _mark(bound: Any) -> Any:
    """What tells a bound from others: 1 byte is not 1.0 of the memory.  A storage without a hash is kept with its mark."""
    try:
        hash(bound)
    except TypeError:
        return type(bound), id(bound)
    return type(bound), bound


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
