"""The functions of an ODE for one structure of y and p: the step, the integration that finds step sizes, costs, observations.

They are texts of functions that call the user's; the deriver sees through both.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from textwrap import indent
from types import FunctionType
from typing import Any

import numpy as np

from adjointsim.derive.factored import banded_factor, banded_solve, lu_factor, lu_solve
from adjointsim.derive.source import from_text
from adjointsim.derive.spec import ArraySpec, ScalarSpec, Spec, TupleSpec, differentiable, leaves_of
from adjointsim.errors import StructureError
from adjointsim.functions import jvp
from adjointsim.implicit import root
from adjointsim.kernels import kernel_of
from adjointsim.leaves import Leaves, shapes_of
from adjointsim.step import Step

from .control import control_text
from .dirk import Dirk
from .explicit import Explicit
from .flat import Flat
from .inputs import WithCost
from .norms import Norm
from .rosenbrock import Rosenbrock
from .splitting import Splitting
from .tableaus import ExplicitTableau, RosenbrockTableau, SplittingTableau, Tableau
from .trees import SHORT, Tree, paths, vectors_in_tuples

__all__ = ["Program", "Functions"]

_F8 = ScalarSpec("f8")

#: what the texts of implicit methods refer to
IMPLICIT = {
    "jvp": jvp, "root": root, "banded_factor": banded_factor, "banded_solve": banded_solve, "lu_factor": lu_factor,
    "lu_solve": lu_solve,
}  # fmt: skip


class Functions:
    """The user's functions; all but ``rhs`` may be None.  ``effects`` are those of the jumps."""

    def __init__(self, rhs: Any, running: Any, terminal: Any, observe: Any, misfit: Any, effects: Sequence[Any]) -> None:
        self.rhs, self.running, self.terminal, self.observe, self.misfit = rhs, running, terminal, observe, misfit
        self.effects = tuple(effects)

    @property
    def has_cost(self) -> bool:
        return not (self.running is None and self.terminal is None and self.misfit is None)


class Program:
    """What is generated for one structure of y and p.

    StructureError if the right-hand side or an effect does not give something like y, or y has integers.
    """

    def __init__(
        self, functions: Functions, tableau: Tableau, y_spec: Spec, y: Leaves, p_spec: Spec, p: Leaves, each: tuple[bool, bool],
        broken: bool, bandwidth: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """``y`` and ``p`` are values of these structures.  ``each``: whether rtol and atol have the structure of y.  ``broken``: whether the right-hand side may jump in time."""
        self.functions, self.y_spec, self.broken = functions, y_spec, broken
        inert = [path for path, leaf in paths(y_spec) if not all(map(differentiable, leaves_of(leaf)))]
        if inert:
            raise StructureError(f"Got y{inert[0]} as an integer or bool, but expected floats: what does not change belongs in p")
        self.specs = specs = (_F8, y_spec, p_spec)
        arguments = [np.zeros(1), *y, *p]
        rate, lengths = self._like_y(functions.rhs, specs, arguments, f"the right-hand side {_name(functions.rhs)}")
        for (path, leaf), shape in zip(paths(y_spec), shapes_of(y), strict=True):
            if isinstance(leaf, ArraySpec) and leaf.rank == 1 and 0 < shape[0] <= SHORT:
                lengths[path] = shape[0]
        self.namespace: dict[str, Any] = {"__name__": "adjointsim.ode.generated", "np": np, "math": math, "rhs": functions.rhs, "running": functions.running}
        self.namespace.update((f"given_{k}", effect) for k, effect in enumerate(functions.effects))
        for k, effect in enumerate(functions.effects):
            whose = f"the effect {_name(effect)} of jumps[{k}]"
            found, _ = self._like_y(effect, specs, arguments, whose)
            checks = self._checks("after", found, whose)
            self._define("\n".join([f"def effect_{k}(t, y, p):", f"    after = given_{k}(t, y, p)", *checks, "    return after"]))
        self.user_tree = Tree(y_spec, lengths, self.namespace)
        spec, lengths, skip = y_spec, lengths, ()
        if functions.running is not None:
            spec = TupleSpec((y_spec, _F8), WithCost)
            lengths = {f".y{path}": n for path, n in lengths.items()}
            skip = (".cost",)
        self.spec, self.tree = spec, Tree(spec, lengths, self.namespace)
        self.own = ".y" if functions.running is not None else ""  #: where the user's y is in the state
        self.rate = self._define(self._rate(rate))
        self.tries = 64  #: steps to try until one looks at the keyboard, at first
        self.method: Explicit | Splitting | Rosenbrock | Dirk
        if isinstance(tableau, SplittingTableau):
            if functions.running is not None:
                raise StructureError(f"Got running= with the method {tableau.name!r}, but it integrates pairs (q, v) only: "
                                     "sum a cost of observations instead, observe= and misfit=")  # fmt: skip
            self.method = Splitting(tableau, self.tree)
        elif isinstance(tableau, ExplicitTableau):
            self.method = Explicit(tableau, Norm(self.tree, each, skip, self.own))
        else:
            norm, flat = Norm(self.tree, each, skip, self.own), Flat(self.tree, tableau.name, bandwidth)
            self.namespace.update(IMPLICIT)
            self._define(flat.text())
            if isinstance(tableau, RosenbrockTableau):
                self.method = Rosenbrock(tableau, norm, flat)
            else:
                self.method = Dirk(tableau, norm, flat)
                self._define(self.method.text())
        self.step = Step(self._define(self._step()))
        self.terminal, self.observe = self._terminal(), self._observe()
        self.misfit = None
        if functions.misfit is not None:
            self.namespace["user_misfit"] = functions.misfit
            self.misfit = self._define("def misfit(k, seen, q):\n    return user_misfit(k, seen, q.p)")
        self._control: FunctionType | None = None
        self._initial: tuple[Any, FunctionType] | None = None

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

    @property
    def control(self) -> FunctionType:
        """The integration that finds the steps."""
        if self._control is None:
            assert not isinstance(self.method, Splitting)
            self._control = self._define(control_text(self.method, self._jumps("c.fire[knot]", "c.knots[knot]", "c.p")))
        return self._control

    def initial(self, y0: Callable[..., Any]) -> FunctionType:
        """The initial state as a function of the generated parameters."""
        if self._initial is None or self._initial[0] is not y0:
            self._initial = y0, self._initial_of(y0)
        return self._initial[1]

    def _initial_of(self, y0: Callable[..., Any]) -> FunctionType:
        self.namespace["user_y0"] = y0
        made = "WithCost(user_y0(q.p), 0.0)" if self.own else "user_y0(q.p)"
        return self._define(f"def initial(q):\n    return {made}")

    # ----------------------------------------------------------------------------------------------------------- texts
    def _define(self, text: str) -> FunctionType:
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.namespace["WithCost"] = WithCost
        made = from_text(text, f"<adjointsim ode {key}>", self.namespace)
        return made

    def _rate(self, found: Spec) -> str:
        """The derivative of the state, if it has the state's shapes: a text that reads components does not see others."""
        checks = self._checks("k", found, f"the right-hand side {_name(self.functions.rhs)}")
        k = f"    k = rhs(t, {self._given(self.functions.rhs)}, p)"
        if not self.own:
            return "\n".join(["def rate(t, y, p):", k, *checks, "    return k"])
        cost = f"running(t, {self._given(self.functions.running)}, p)"
        return "\n".join(["def rate(t, z, p):", "    y = z.y", k, *checks, f"    return WithCost(k, {cost})"])

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
        lines = ["begin = " + begin, "end = " + end, "h = q.length[n]", *self.method.step("begin", "end", "q.p")]
        if self.functions.effects:
            jumps = self._jumps("fire", "q.time[n]", "q.p")
            lines = ["fire = q.fire[n]", "y_next = y", "if fire == 0:", *(f"    {line}" for line in lines), "else:",
                     *(f"    {line}" for line in jumps), "    y_next = y"]  # fmt: skip
        return "def step(n, y, q):\n" + indent("\n".join([*lines, "return y_next"]), "    ")

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
        own = self.functions.terminal
        self.namespace["user_terminal"] = own
        if own is None:
            return self._define("def terminal(y, q):\n    return y.cost") if self.own else None
        return self._define(f"def terminal(y, q):\n    return user_terminal(y{self.own}, q.p){' + y.cost' * bool(self.own)}")

    def _observe(self) -> FunctionType:
        self.namespace["user_observe"] = self.functions.observe
        if self.functions.observe is None:
            return self._define(f"def observe(n, y, q):\n    return y{self.own}")
        return self._define(f"def observe(n, y, q):\n    return user_observe(q.time[n], y{self.own}, q.p)")


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
