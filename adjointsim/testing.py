"""Is this gradient the derivative of this value?

:func:`check_gradient` asks without knowing how the gradient was made: it runs the model at displaced inputs and compares.
:mod:`adjointsim.differences` says how the comparison is made and what counts as a pass.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adjointsim.derive.spec import ArraySpec, NoneSpec, Spec, TupleSpec, leaf_specs, leaves_of
from adjointsim.differences import DirectionCheck, Ruler
from adjointsim.errors import ArgumentError, GradientCheckError, StructureError, UnsupportedError
from adjointsim.functions import jvp, value_and_grad
from adjointsim.leaves import bar_leaves, flatten, shapes_of, spec_of, unflatten
from adjointsim.selection import select

__all__ = ["DirectionCheck", "GradientReport", "check_gradient"]


@dataclass(frozen=True)
class GradientReport:
    """The result of :func:`check_gradient`; printable."""

    passed: bool
    value: float
    problems: tuple[str, ...] = ()
    directions: tuple[DirectionCheck, ...] = ()
    worst: DirectionCheck | None = None  #: the component where gradient and differences part most, if a direction failed
    dot_product: float | None = None  #: relative difference of the model's tangent and g.d; None without a tangent
    evaluations: int = 0

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        lines = [f"gradient check {verdict}: value {self.value:.10g}, {self.evaluations} evaluations"]
        if self.directions:
            lines.append(f"  {'direction':24} {'gradient':>17}  {'differences':>17}  uncertain    rate")
            lines += [f"  {check}" for check in self.directions]
        if self.dot_product is not None:
            lines.append(f"  tangent and gradient differ by {self.dot_product:.1e} (relative)")
        if self.worst is not None:
            worst = self.worst
            lines.append(f"  worst component {worst.name}: {worst.gradient:.10g}, by differences {worst.difference:.10g}")
        return "\n".join([*lines, *(f"  - {problem}" for problem in self.problems)])


def check_gradient(
    model: Any,
    y0: Any,
    p: Any = None,
    *,
    wrt: str | Sequence[str] = ("y0", "p"),
    seed: int = 0,
    directions: int = 3,
    rtol: float | None = None,
    raises: bool = True,
) -> GradientReport:
    """Compare a model's gradient at ``(y0, p)`` with differences of its value.

    ``model`` is anything with ``value_and_grad(y0, p, wrt=...)``, or a plain function ``f(y0, p)`` or ``f(y0)`` of the
    accepted language. Tested are ``directions`` random directions in everything that ``wrt`` selects, one in each leaf alone
    (so that a large leaf does not hide a small one), and a few single components; with a tangent (``model.jvp``) also
    that the tangent and the gradient agree. ``rtol`` is the relative error of a directional derivative that is still
    accepted, by default 1e-9, or 2e-3 where a float32 is among the inputs. Each direction costs ten to thirty runs.

    Returns a report, or raises :class:`~adjointsim.errors.GradientCheckError` with the report as its message. A value
    too rough for differences to judge also fails, and says so.
    """
    if directions < 1:
        raise ArgumentError(f"directions must be at least 1, got {directions}")
    selected = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    if callable(y0):  # a function of p: then p is all there is to vary
        selected = tuple(name for name in selected if name != "y0")
    inputs = _Inputs(y0, p, selected)
    face = _Model(model) if hasattr(model, "value_and_grad") else _Function(model)
    value, *parts = face.value_and_grad(y0, p, selected)
    g, problems = inputs.flatten_gradient(*parts)
    if problems:
        report = GradientReport(False, float(value), tuple(problems))
    else:
        rng = np.random.default_rng(seed)
        ruler = Ruler(
            lambda x: face.value(*inputs.build(x)), inputs.vector, g, rounded=inputs.rounded, eps=inputs.eps,
            rtol=rtol if rtol is not None else 1e-9 if inputs.eps < 1e-10 else 2e-3, probe=inputs.probe(rng),
        )  # fmt: skip
        report = _measure(ruler, inputs, face, float(value), directions, rng)
    if raises and not report.passed:
        raise GradientCheckError(str(report))
    return report


def _measure(
    ruler: Ruler, inputs: _Inputs, face: _Model | _Function, value: float, directions: int, rng: np.random.Generator
) -> GradientReport:
    """All measurements of a gradient that is complete and finite."""
    checks: list[DirectionCheck] = []
    # Every other direction moves each number by its own size alone, however small that is: see _Inputs.relative.
    planned = [(f"all #{i + 1}", inputs.probe(rng) if i % 2 else inputs.random_direction(rng)) for i in range(directions)]
    if len(inputs.leaves) > 1:
        planned += [(leaf.name, inputs.random_direction(rng, leaf)) for leaf in inputs.leaves if leaf.size]
    planned += [(inputs.name(i), inputs.unit(i)) for i in _samples(ruler.g, inputs, rng)]
    for k, (name, d) in enumerate(planned):
        checks.append(ruler.measure(name, d))
        smaller = d * inputs.relative
        if not checks[-1].conclusive and smaller.any():
            planned[k] = (name, smaller)
            checks[-1] = ruler.measure(f"{name} (relative)", smaller)

    problems = [f"{check.name}: {check.problem}" for check in checks if check.problem]
    if not abs(value - ruler.f0) <= 1e4 * inputs.eps * max(abs(value), abs(ruler.f0)):
        problems.append(f"value_and_grad returns the value {value!r}, a run alone {ruler.f0!r}")
    dot_product, complaint = _dot_product(ruler.g, inputs, face, planned[0][1])
    if complaint:
        problems.append(complaint)
    failed = next((d for check, (_, d) in zip(checks, planned) if check.problem), None)
    worst = None
    if failed is not None:
        i = ruler.worst_component(failed)
        worst = _per_unit(ruler.measure(inputs.name(i), inputs.unit(i)), inputs.scale[i])
    return GradientReport(not problems, value, tuple(problems), tuple(checks), worst, dot_product, ruler.evaluations)


def _samples(g: np.ndarray, inputs: _Inputs, rng: np.random.Generator) -> list[int]:
    """Single components worth a look: all of a few, else the two that matter most and two at random.

    Leaves of one number have had a direction of their own.
    """
    places = [np.arange(leaf.start, leaf.stop) for leaf in inputs.leaves if leaf.size > 1]
    if not places:
        return []
    candidates = np.concatenate(places)
    if len(candidates) <= 6:
        return candidates.tolist()
    largest = candidates[np.argsort(-np.abs(g * inputs.scale)[candidates], kind="stable")[:2]]
    return list(dict.fromkeys(int(i) for i in [*largest, *rng.choice(candidates, 2, replace=False)]))


def _per_unit(check: DirectionCheck, scale: float) -> DirectionCheck:
    """The measurement along ``scale`` times a unit vector as one of the component itself."""
    return replace(
        check, gradient=check.gradient / scale, difference=check.difference / scale, uncertainty=check.uncertainty / scale
    )


def _dot_product(g: np.ndarray, inputs: _Inputs, face: _Model | _Function, d: np.ndarray) -> tuple[float | None, str]:
    """The relative difference of the tangent along d and g.d, and a complaint if it is more than rounding."""
    tangent = face.tangent(inputs, d)
    if tangent is None:
        return None, ""
    gradient = float(g @ d)
    size = max(abs(gradient), abs(tangent), float(np.linalg.norm(g * d)))
    difference = abs(tangent - gradient) / size if size else 0.0
    if difference <= max(1e-10, 1e3 * inputs.eps):  # false for NaN
        return difference, ""
    return difference, f"tangent {tangent:.15g} and gradient {gradient:.15g} disagree along all #1"


# -- inputs as one vector ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Leaf:
    """A selected leaf and its place in the vector."""

    name: str
    start: int
    shape: tuple[int, ...]  # () for a number
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.size


class _Inputs:
    """The float leaves of (y0, p) that ``wrt`` selects, laid out in one float64 vector with a scale for each number."""

    def __init__(self, y0: Any, p: Any, wrt: tuple[str, ...]) -> None:
        self.y0, self.p = y0, p
        y0_value = None if callable(y0) else y0
        self.specs = spec_of(y0_value, "y0"), spec_of(p, "p")
        self.values = flatten(y0_value, self.specs[0], "y0"), flatten(p, self.specs[1], "p")
        self.selected = select(wrt, *self.specs)
        self.leaves: list[_Leaf] = []
        parts = []
        start = 0
        for root, spec, values, selected in zip(("y0", "p"), self.specs, self.values, self.selected):
            for (name, leaf_spec), value, wanted in zip(leaf_specs(spec, root), values, selected):
                if wanted:
                    shape = value.shape if isinstance(leaf_spec, ArraySpec) else ()
                    self.leaves.append(_Leaf(name, start, shape, value.dtype))
                    parts.append(value.astype(np.float64).ravel())
                    start += value.size
        self.vector = np.concatenate(parts)
        self.scale = np.concatenate([_scale(part) for part in parts])
        # By its own size alone, for numbers of one leaf that span many powers of ten, such as the rates of a reaction.
        self.relative = np.minimum(1.0, np.abs(self.vector) / self.scale)
        self.eps = max(float(np.finfo(leaf.dtype).eps) for leaf in self.leaves)

    def build(self, vector: np.ndarray, keep: bool = True) -> tuple[Any, Any]:
        """(y0, p) with the selected leaves taken from ``vector``; the others stay, or are zero."""
        places = iter(self.leaves)
        built = []
        for spec, values, selected in zip(self.specs, self.values, self.selected):
            leaves = []
            for old, wanted in zip(values, selected):
                if wanted:
                    place = next(places)
                    leaves.append(vector[place.start : place.stop].astype(old.dtype).reshape(old.shape))
                else:
                    leaves.append(old.copy() if keep else np.zeros_like(old))
            built.append(unflatten(spec, leaves))
        return self.y0 if keep and callable(self.y0) else built[0], built[1]

    def rounded(self, vector: np.ndarray) -> np.ndarray:
        """The nearest vector that the leaves can hold."""
        return np.concatenate([vector[leaf.start : leaf.stop].astype(leaf.dtype).astype(np.float64) for leaf in self.leaves])

    def flatten_gradient(self, *bars: Any) -> tuple[np.ndarray, list[str]]:
        """The gradient as a vector, and what is wrong with its form."""
        parts: list[np.ndarray] = []
        problems = []
        for root, bar, spec, values, selected in zip(("y0", "p"), bars, self.specs, self.values, self.selected):
            try:
                flat = bar_leaves(bar, spec, shapes_of(values), f"grad.{root}")
            except StructureError as error:
                return np.empty(0), [str(error)]
            for (name, _), part, given, wanted in zip(leaf_specs(spec, f"grad.{root}"), flat, _given(bar, spec), selected):
                if wanted and part is not None:
                    parts.append(part.astype(np.float64).ravel())
                    if not given:
                        problems.append(f"{name} is None")
        g = np.concatenate(parts)
        bad = np.flatnonzero(~np.isfinite(g))
        problems += [f"grad.{self.name(i)} is {g[i]}" for i in bad[:3]]
        if len(bad) > 3:
            problems.append(f"... and {len(bad) - 3} more components are not finite")
        return g, problems

    def name(self, i: int) -> str:
        """For example ``p.c[3]``."""
        leaf = next(leaf for leaf in self.leaves if leaf.start <= i < leaf.stop)
        if not leaf.shape:
            return leaf.name
        return f"{leaf.name}[{', '.join(map(str, np.unravel_index(i - leaf.start, leaf.shape)))}]"

    def random_direction(self, rng: np.random.Generator, leaf: _Leaf | None = None) -> np.ndarray:
        """Every component (of one leaf) by about its scale and with a random sign; none is left out."""
        d = self.scale * rng.uniform(0.5, 1.0, self.scale.size) * rng.choice([-1.0, 1.0], self.scale.size)
        if leaf is not None:
            d[: leaf.start] = d[leaf.stop :] = 0.0
        return d

    def probe(self, rng: np.random.Generator) -> np.ndarray:
        """A direction that changes every number by its own size, as far as it has one."""
        d = self.random_direction(rng)
        return d * self.relative if self.relative.any() else d

    def unit(self, i: int) -> np.ndarray:
        """The i-th component alone, by its scale."""
        d = np.zeros_like(self.scale)
        d[i] = self.scale[i]
        return d


def _given(bar: Any, spec: Spec) -> Iterator[bool]:
    """For each leaf whether a cotangent has it; None stands for nothing, in the whole or in a part."""
    if bar is None:
        yield from (False for _ in leaves_of(spec))
    elif isinstance(spec, TupleSpec):
        for item, sub in zip(bar, spec.items):
            yield from _given(item, sub)
    elif not isinstance(spec, NoneSpec):
        yield True


def _scale(part: np.ndarray) -> np.ndarray:
    """How far it makes sense to move each number of a leaf: its size, but not much less than what is usual in the leaf."""
    usual = math.sqrt(float(np.mean(part**2))) if part.size else 0.0
    return np.maximum(np.abs(part), 0.1 * usual) if usual > 0.0 else np.ones_like(part)


# -- the two kinds of model --------------------------------------------------------------------------------------------------


class _Model:
    """A Simulation, an ODE, or anything with the same verbs."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def value(self, y0: Any, p: Any) -> float:
        value = self.model.run(y0, p).value if hasattr(self.model, "run") else self.model.value_and_grad(y0, p)[0]
        if value is None:
            raise ArgumentError("the model has no value to differentiate: give it terminal=, running= or misfit=")
        return float(value)

    def value_and_grad(self, y0: Any, p: Any, wrt: tuple[str, ...]) -> tuple[Any, Any, Any]:
        value, gradient = self.model.value_and_grad(y0, p, wrt=wrt)
        return value, gradient.y0, gradient.p

    def tangent(self, inputs: _Inputs, d: np.ndarray) -> float | None:
        """The derivative of the value along d by the model's own tangent; None if it has none."""
        if not hasattr(self.model, "jvp"):
            return None
        y0_dot, p_dot = inputs.build(d, keep=False)
        try:
            _, dot = self.model.jvp(inputs.y0, inputs.p, y0_dot, p_dot)
        except (NotImplementedError, UnsupportedError):  # for example a step with a VJP by hand
            return None
        return float(dot.value)


class _Function:
    """A function of the accepted language, of y0 alone or of y0 and p."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise StructureError(f"expected a model with value_and_grad or a function, got {type(function).__name__}")
        self.function = function
        self.count = 1 if len(inspect.signature(getattr(function, "py_func", function)).parameters) == 1 else 2

    def value(self, y0: Any, p: Any) -> float:
        return float(self.function(*(y0, p)[: self.count]))

    def value_and_grad(self, y0: Any, p: Any, wrt: tuple[str, ...]) -> tuple[Any, Any, Any]:
        present = [("y0", y0), ("p", p)][: self.count]
        positions = tuple(
            i for i, (root, x) in enumerate(present) if x is not None and any(w.startswith(root) for w in wrt)
        )  # fmt: skip
        value, gradients = value_and_grad(self.function, wrt=positions)(*(y0, p)[: self.count])
        parts = dict(zip(positions, gradients))
        return value, parts.get(0), parts.get(1)

    def tangent(self, inputs: _Inputs, d: np.ndarray) -> float | None:
        """The derivative of the value along d by the function's own tangent; None if it has none."""
        try:
            _, dot = jvp(self.function, (inputs.y0, inputs.p)[: self.count], inputs.build(d, keep=False)[: self.count])
        except (NotImplementedError, UnsupportedError):
            return None
        return float(dot)
