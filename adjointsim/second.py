"""Hessian products of a simulation: a sweep whose states are pairs, a state and its tangent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adjointsim.call import Call
from adjointsim.derive.spec import Spec, differentiable, leaves_of
from adjointsim.leaves import Bars, bar_leaves, shapes_of, stacked_spec, unflatten, unflatten_bar
from adjointsim.results import Gradient
from adjointsim.resume import resumable
from adjointsim.sweep import Sweep

__all__ = ["hessian_product", "observed_product"]

Seeds = Callable[[Any, Any], tuple[Any, Any]]


def hessian_product(call: Call, y_dots: Bars, p_dots: Bars) -> Gradient:
    """The derivative of the gradient along tangents of y_0 and p.

    State and tangent are stored and recomputed together; the way back carries their cotangents, which are the gradient's and
    its tangent.  Schedules, executor and driver are those of a gradient.
    """
    first = call.problem
    pair = call.paired(y_dots, p_dots, observed=first.misfit is not None)  # observations without a cost do not matter
    with resumable(pair, "hvp") as sweep, pair.progress(sweep, back=True):
        pair.forward(sweep)
        pair.reverse(sweep, 1.0)
    return _product(call, sweep, p_dots)


def observed_product(call: Call, y_dots: Bars, p_dots: Bars, seeds: Seeds) -> Gradient:
    """The same for a cost of the observations that the simulation does not have: ``seeds(observations, their tangent)`` are the
    cotangent of the observations and its tangent."""
    pair = call.paired(y_dots, p_dots, observed=True)
    sweep = pair.sweep(pair.schedule())
    with pair.progress(sweep, back=True):
        pair.forward(sweep)
        spec = sweep.executor.observation_spec
        assert spec is not None
        whole = unflatten(stacked_spec(spec), [leaf.copy() for leaf in sweep.executor.observations])
        own, shapes = stacked_spec(spec.items[0]), shapes_of(sweep.executor.observations)  # type: ignore[union-attr]
        bars = [bar_leaves(bar, own, shapes, "observations_bar") for bar in seeds(whole.value, whole.tangent)]
        pair.reverse(sweep, 0.0, None, [*bars[0], *(dot for dot in bars[1] if dot is not None)])
    return _product(call, sweep, p_dots)


def _product(call: Call, sweep: Sweep, p_dots: Bars) -> Gradient:
    first = call.problem
    y_bar, y_bar_dot = _split(sweep.executor.y_bar, first.y_spec)
    _, p_bar_dot = _split(sweep.executor.p_bar, first.p_spec)
    if call.initial is not None:
        _, more = call.initial.hvp(call.p, p_dots, y_bar, y_bar_dot)
        p_bar_dot = [b if b is None or m is None else b + m for b, m in zip(p_bar_dot, more, strict=True)]
    return Gradient(unflatten_bar(first.y_spec, y_bar_dot), unflatten_bar(first.p_spec, p_bar_dot), sweep.ledger())


def _split(bars: Sequence[np.ndarray | None], spec: Spec) -> tuple[Bars, Bars]:
    """Cotangents and their tangents, for all leaves."""
    floats = [differentiable(leaf) for leaf in leaves_of(spec)]
    dots = iter(bars[len(floats) :])
    return list(bars[: len(floats)]), [next(dots) if on else None for on in floats]
