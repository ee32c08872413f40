"""A simulation's functions as compiled kernels and one driver."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .api import Compiled
from .byvalue import by_value
from .control import DRIVER_VERBS
from .doubled import Doubled, doubled, padded
from .driver import driver_text
from .entry import Entry, lower_entry, outside_of
from .ir import Base, is_float
from .keeping import given_kept, kept_arrays, kept_memory, needed_notes
from .kernel import Kernel, primal_kernel, vjp_kernel
from .module import load_module
from .native import STUBS
from .notes import notes_of
from .outside import Outside
from .scratch import Scratch
from .spec import ScalarSpec, Spec, leaf_specs, leaves_of
from .stored import stored
from .summary import Leaf, Route, StepSummary, SweepSummary, bar_modes, calling, routes_of
from .tangent import FreshNames

__all__ = ["CompiledModel", "Model"]

_INDEX = ScalarSpec("i8")
_NUMBER = ScalarSpec("f8")
_FLAG = ScalarSpec("b1")


@dataclass(frozen=True)
class Model:
    """The kernels of a simulation, by the driver's verbs (costs and VJPs are optional), and what its driver is made from."""

    kernels: dict[str, Compiled]
    summary: SweepSummary
    kept: Scratch | None = None  # the arrays that the step keeps for its VJP

    def texts(self) -> list[str]:
        """The kernels' parts of the module, under the names that the driver calls them by."""
        found = [(verb, self.kernels[verb]) for verb in DRIVER_VERBS if verb in self.kernels]
        heads = [(verb, k, rf"^(def )?{k.kernel.fn.name}( = native)?\(") for verb, k in found]
        return [re.sub(head, rf"\1k_{verb}\2(", k.module_text, flags=re.M) for verb, k, head in heads]


@dataclass(frozen=True)
class CompiledModel:
    """The kernels of a step and its costs for given structures; ``functions`` has "step" and any of "running", "observe",
    "misfit" and "until".  Only the leaves of p whose paths are in ``active`` have cotangents.

    A model of ``second`` order carries tangents, one or so many: wherever one of first order has leaves of y, p or an
    observation, it has these, and then the tangents of the floating ones; and where that has their cotangents, the cotangents,
    and then the cotangents' own tangents.  Values of costs have none, and those of inactive leaves of p are taken for zero.  The
    driver cannot tell the two apart.  LanesError if there cannot be several.

    With ``threads`` the loops of kernels may be shared by a team of them.
    """

    functions: Mapping[str, types.FunctionType]
    y_spec: Spec
    p_spec: Spec
    active: Collection[str]
    second: int = 0
    threads: bool = False

    @cached_property
    def entries(self) -> dict[str, Entry]:
        n, y, p = ("n", _INDEX), ("y", self.y_spec), ("p", self.p_spec)
        found: dict[str, Entry] = {}
        names = self._names()
        for verb, fn in self.functions.items():
            if verb == "step":
                found[verb] = lower_entry(
                    fn, [n, y, p], counters=["n"], result=self.y_spec, like="y", frozen=["p"], name=names[verb]
                )
            elif verb == "until":
                found[verb] = lower_entry(fn, [n, y, p], counters=["n"], result=_FLAG, frozen=["y", "p"], name=names[verb])
            elif verb == "running":
                found[verb] = lower_entry(fn, [n, y, p], counters=["n"], result=_NUMBER, frozen=["p"], name=names[verb])
            elif verb == "observe":
                found[verb] = lower_entry(fn, [n, y, p], counters=["n"], frozen=["p"], name=names[verb])
            elif verb == "misfit":
                args = [("k", _INDEX), ("observation", found["observe"].result_spec), p]
                found[verb] = lower_entry(fn, args, counters=["k"], result=_NUMBER, frozen=["p"], name=names[verb])
        return found

    def _names(self) -> dict[str, str | None]:
        """What the functions are called in the module: their own names, unless functions made of them could be confused."""
        own = [f"{fn.__name__}_" for fn in self.functions.values()]
        clash = any(a.startswith(b) for j, a in enumerate(own) for k, b in enumerate(own) if j != k)
        return {verb: f"k_{verb}" if clash else None for verb in self.functions}

    @property
    def observation_spec(self) -> Spec:
        """What ``observe`` returns."""
        index = ("n", _INDEX)
        args = [index, ("y", self.y_spec), ("p", self.p_spec)]
        return lower_entry(self.functions["observe"], args, counters=["n"], frozen=["p"]).result_spec

    def _leaves(self, verb: str, name: str) -> tuple[Base, ...]:
        return tuple(b for path, b in self.entries[verb].leaves if _argument(path) == name)

    def _scalars(self, verb: str) -> set[Base]:
        """The bases of scalar leaves among a kernel's inputs."""
        arguments = {"y": self.y_spec, "p": self.p_spec}
        if verb == "misfit":
            arguments["observation"] = self.entries["observe"].result_spec
        kinds = {path: isinstance(leaf, ScalarSpec) for name, spec in arguments.items() for path, leaf in leaf_specs(spec, name)}
        return {b for path, b in self.entries[verb].leaves if kinds[path]}

    def _scalar_results(self, verb: str) -> list[bool]:
        """Which result leaves go by value: scalars, but for observations, which are kept in arrays."""
        spec = self.entries[verb].result_spec
        return [isinstance(leaf, ScalarSpec) and verb != "observe" for leaf in leaves_of(spec)]

    def _model(self, reverse: bool, keeping: bool = False) -> Model:
        structures = [[(path, repr(leaf)) for path, leaf in leaf_specs(spec, "")] for spec in (self.y_spec, self.p_spec)]
        request = [[*self.entries], structures, sorted(self.active), self.second, reverse, *["threads"] * self.threads]
        request += ["keeping"] * keeping
        return stored([*self.entries.values()], request, lambda: self._derived(reverse, keeping))

    def _derived(self, reverse: bool, keeping: bool) -> Model:
        made: dict[str, tuple[Compiled, Kernel]] = {}  # and each kernel before numbers go by value
        bars: tuple[str | None, ...] = ()
        nexts: tuple[int, ...] = ()
        routes = routes_of(self.entries["step"], self._leaves("step", "y"), self._leaves("step", "p"))
        handed = [k for k, route in enumerate(routes) if route.kind == "state"]
        y_leaves, p_leaves = self._described("step", "y"), self._described("step", "p")
        step = StepSummary(y_leaves, p_leaves, self._active_p(), self._routes(routes))
        y_paths = [path for path, _ in self.entries["step"].leaves if _argument(path) == "y"]
        fresh = [path for k, path in enumerate(y_paths) if k not in step.heirs and not y_leaves[k].scalar]
        rows: Scratch | None = None
        noted = 0
        for verb, first in self.entries.items():
            entry = first.anew()  # its own names: the text must not depend on what was derived before
            own = handed if verb == "step" else ()
            made[verb] = self._compiled(verb, entry, self._carrying(verb, entry, primal_kernel(entry, handed=own)))
            if reverse and verb != "until":
                active = {path for path, b in entry.leaves if is_float(b.dt) and (_argument(path) != "p" or path in self.active)}
                fresh_bars = fresh if verb == "step" else ()  # of leaves whose cotangents are nobody else's
                # (tangents would need those of the next state, too)
                options: dict[str, Any] = {"handed": own, "fresh": fresh_bars, "nexts": verb == "step" and not self.second}
                found = vjp_kernel(entry, active, **options)
                if options["nexts"]:
                    kept, notes, other, lasting = kept_arrays(entry, found), notes_of(first), entry, found
                    if kept or notes:
                        other = first.anew()
                        lasting = vjp_kernel(other, active, **options, lasting=kept, noted=notes is not None)
                        kept, notes = kept_arrays(other, lasting), needed_notes(other, lasting, notes)
                    rows = kept_memory(first, kept, notes)
                    if keeping:
                        again = first.anew()
                        primal = primal_kernel(again, handed=own, kept=rows.bases, notes=notes)
                        made[verb] = self._compiled(verb, again, self._carrying(verb, again, primal))
                        entry, found = other, given_kept(lasting, rows.bases, notes)
                        noted = 0 if notes is None else notes.many
                kernel = self._carrying(verb, entry, found)
                made[f"{verb}_vjp"] = self._compiled(verb, entry, kernel)
                if verb == "step":
                    nexts = tuple(k for k, (_, b) in enumerate(entry.results) if b in found.nexts)
                    y = self._leaves("step", "y")
                    bars = bar_modes(kernel.kernel, (*y, *(dot for b in y if b in kernel.dots for dot in kernel.dots[b])))
        keepable = rows is not None and bool(rows.bases)
        kept = len(rows.bases) if rows is not None and keeping else 0
        step = replace(step, bars=bars, nexts=nexts, kept=kept, keepable=keepable, noted=noted)
        calls = {verb: calling(*pair) for verb, pair in made.items()}
        summary = SweepSummary(step, calls, self._observed())
        return Model({verb: compiled for verb, (compiled, _) in made.items()}, summary, rows if kept else None)

    def _carrying(self, verb: str, entry: Entry, kernel: Kernel) -> Doubled:
        """The kernel with the tangents that it carries."""
        if not self.second:
            return Doubled(kernel, {})
        groups = [sum(_argument(path) != "p" for path, _ in entry.leaves)]
        groups.append(len(entry.leaves) - groups[0])
        if verb == "until" or (verb in ("running", "misfit") and not kernel.leaf_bars):
            return padded(kernel, groups, self.second)
        still = [b for path, b in entry.leaves if _argument(path) == "p" and path not in self.active]
        outcome = [b for _, b in entry.results]
        return doubled(kernel, groups, outcome, seeded=verb in ("step", "observe"), lanes=self.second, still=still)

    def _compiled(self, verb: str, entry: Entry, carrying: Doubled) -> tuple[Compiled, Kernel]:
        """A kernel whose numbers go by value: inputs, results, and cotangents of those, but not those of p."""
        kernel, dots = carrying.kernel, carrying.dots

        def both(bases: Collection[Base]) -> set[Base]:
            return {*bases, *(dot for b in bases if b in dots for dot in dots[b])}

        scalar, own = both(self._scalars(verb)), both(self._leaves(verb, "p"))
        results = kernel.result_bars if kernel.leaf_bars else kernel.results
        flags = self._scalar_results(verb)
        if len(results) > len(flags):
            flags += [on for on, (_, b) in zip(flags, entry.results, strict=True) if is_float(b.dt)] * self.second
        values = {b for b, on in zip(results, flags, strict=True) if on and b is not None}
        if kernel.leaf_bars and verb != "misfit":
            pairs = zip(kernel.inputs, kernel.leaf_bars, strict=True)
            values |= {bar for base, bar in pairs if bar is not None and base in scalar and base not in own}
        fixed = [b for path, b in entry.leaves if _argument(path) == "p" and b not in scalar]
        names = FreshNames(kernel.fn) if self.second else entry.names
        return Compiled(by_value(kernel, scalar | values, names), entry, fixed, True, self.threads), kernel

    def _with_tangents(self, leaves: Sequence[Leaf]) -> tuple[Leaf, ...]:
        return (*leaves, *[leaf for leaf in leaves if not leaf.inert] * self.second)

    def _described(self, verb: str, name: str) -> tuple[Leaf, ...]:
        scalar = self._scalars(verb)
        return self._with_tangents([Leaf(b.dt, b.rank, b in scalar) for b in self._leaves(verb, name)])

    def _active_p(self) -> tuple[bool, ...]:
        leaves = [(path in self.active, is_float(b.dt)) for path, b in self.entries["step"].leaves if _argument(path) == "p"]
        more = [on for on, floating in leaves if floating] * self.second
        return (*(on and floating for on, floating in leaves), *more)

    def _routes(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """The routes, and those of tangents, which come from where their leaves do."""
        if not self.second:
            return routes
        places: dict[str, list[list[int]]] = {}  # of each leaf's tangent, by lanes
        for name, kind in (("y", "state"), ("p", "parameter")):
            leaves = self._leaves("step", name)
            floats = [k for k, b in enumerate(leaves) if is_float(b.dt)]
            first = [len(leaves) + lane * len(floats) for lane in range(self.second)]
            places[kind] = [[n + floats.index(k) if k in floats else -1 for k in range(len(leaves))] for n in first]
        floating = [route for route, b in zip(routes, self._leaves("step", "y"), strict=True) if is_float(b.dt)]
        return (*routes, *(
            Route(r.kind, places[r.kind][lane][r.leaf]) if r.kind in places else r
            for lane in range(self.second) for r in floating
        ))  # fmt: skip

    def _observed(self) -> tuple[Leaf, ...]:
        if "observe" not in self.entries:
            return ()
        entry = self.entries["observe"]
        leaves = zip(entry.results, leaves_of(entry.result_spec), strict=True)
        return self._with_tangents([Leaf(b.dt, b.rank, isinstance(spec, ScalarSpec)) for (_, b), spec in leaves])

    @cached_property
    def forward(self) -> Model:
        return self._model(False)

    @cached_property
    def full(self) -> Model:
        return self._model(True)

    @cached_property
    def keeping(self) -> Model:
        """The same as the full one, but that the step keeps arrays for its VJP; there must be such."""
        return self._model(True, True)

    def text(self, reverse: bool, keeping: bool = False) -> str:
        """The whole generated module: kernels and driver."""
        model = self.keeping if keeping else self.full if reverse else self.forward
        return "\n\n".join([STUBS, *model.texts(), driver_text(model.summary, "sweep", reverse)])

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when they were derived."""
        return self._outside.changed()

    @cached_property
    def _outside(self) -> Outside:
        return outside_of([*self.entries.values()])

    @cached_property
    def march(self) -> Any:
        """The compiled driver without the way back."""
        return load_module(self.text(False)).sweep

    @cached_property
    def sweep(self) -> Any:
        """The compiled driver."""
        return load_module(self.text(True)).sweep

    @cached_property
    def keeping_sweep(self) -> Any:
        """The compiled driver of :attr:`keeping`."""
        return load_module(self.text(True, True)).sweep


def _argument(path: str) -> str:
    return path.split(".")[0].split("[")[0]
