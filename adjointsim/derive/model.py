"""A simulation's functions as compiled kernels and one driver."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import driver
from .api import Compiled
from .byvalue import by_value
from .emit import HEADER
from .entry import Entry, lower_entry
from .ir import Base, is_float
from .kernel import primal_kernel, vjp_kernel
from .module import load_module
from .spec import ScalarSpec, Spec, leaf_specs, leaves_of

__all__ = ["CompiledModel"]

_INDEX = ScalarSpec("i8")
_NUMBER = ScalarSpec("f8")


@dataclass(frozen=True)
class CompiledModel:
    """The kernels of a step and its costs for given structures; ``functions`` has "step" and any of "running", "observe"
    and "misfit".  Only the leaves of p whose paths are in ``active`` have cotangents."""

    functions: Mapping[str, types.FunctionType]
    y_spec: Spec
    p_spec: Spec
    active: Collection[str]

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

    def _model(self, reverse: bool) -> driver.Model:
        kernels: dict[str, Compiled] = {}
        scalar = {verb: self._scalars(verb) for verb in self.entries}
        for verb, entry in self.entries.items():
            entry = entry.anew()  # its own names: the text must not depend on what was derived before
            fixed = [b for path, b in entry.leaves if _argument(path) == "p"]
            fixed = [b for b in fixed if b not in scalar[verb]]
            kernel = primal_kernel(entry)
            values = {b for b, on in zip(kernel.results, self._scalar_results(verb), strict=True) if on}
            kernels[verb] = Compiled(by_value(kernel, scalar[verb] | values, entry.names), entry, fixed)
            if reverse:
                active = {path for path, b in entry.leaves if is_float(b.dt) and (_argument(path) != "p" or path in self.active)}
                kernel = vjp_kernel(entry, active)
                values = {b for b, on in zip(kernel.result_bars, self._scalar_results(verb), strict=True) if on and b is not None}
                values |= {
                    bar for base, bar in zip(kernel.inputs, kernel.leaf_bars, strict=True)
                    if bar is not None and base in scalar[verb] and base not in self._leaves(verb, "p") and verb != "misfit"
                }  # fmt: skip
                kernels[f"{verb}_vjp"] = Compiled(by_value(kernel, scalar[verb] | values, entry.names), entry, fixed)
        y, p = self._leaves("step", "y"), self._leaves("step", "p")
        on = tuple(path in self.active and is_float(b.dt) for path, b in self.entries["step"].leaves if _argument(path) == "p")
        observed = len(self.entries["observe"].results) if "observe" in self.entries else 0
        scalars = self._scalars("step")
        observation = leaves_of(self.entries["observe"].result_spec) if observed else []
        return driver.Model(
            y, p, on, kernels, observed, tuple(b in scalars for b in y), tuple(b in scalars for b in p),
            tuple(isinstance(s, ScalarSpec) for s in observation),
        )  # fmt: skip

    @cached_property
    def forward(self) -> driver.Model:
        return self._model(False)

    @cached_property
    def full(self) -> driver.Model:
        return self._model(True)

    def text(self, reverse: bool) -> str:
        """The whole generated module: kernels and driver."""
        model = self.full if reverse else self.forward
        return HEADER + "\n\n" + driver.driver_text(model, "sweep", reverse)

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when they were derived."""
        return any(entry.stale() for entry in self.entries.values())

    @cached_property
    def march(self) -> Any:
        """The compiled driver without the way back."""
        return load_module(self.text(False)).sweep

    @cached_property
    def sweep(self) -> Any:
        """The compiled driver."""
        return load_module(self.text(True)).sweep


def _argument(path: str) -> str:
    return path.split(".")[0].split("[")[0]
