"""Hessian products of a simulation: a sweep whose states are pairs, a state and its tangent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from adjointsim.call import Call
from adjointsim.derive.spec import Spec, differentiable, leaves_of
from adjointsim.executor import Problem
from adjointsim.forms import form_of
from adjointsim.leaves import Bars, Leaves, shapes_of, unflatten_bar, with_dots, with_tangent
from adjointsim.results import Gradient
from adjointsim.resume import resumable

__all__ = ["hessian_product"]


def hessian_product(call: Call, y_dots: Bars, p_dots: Bars) -> Gradient:
    """The derivative of the gradient along tangents of y_0 and p.

    State and tangent are stored and recomputed together; the way back carries their cotangents, which are the gradient's and
    its tangent.  Schedules, executor and driver are those of a gradient.
    """
    y, p = with_dots(call.y0, y_dots), with_dots(call.p, p_dots)
    first = call.problem
    pair = call.of(_paired(first, y, p), y, p)
    with resumable(pair, "hvp") as sweep, pair.progress(sweep, back=True):
        pair.forward(sweep)
        pair.reverse(sweep, 1.0)
    y_bar, y_bar_dot = _split(sweep.executor.y_bar, first.y_spec)
    _, p_bar_dot = _split(sweep.executor.p_bar, first.p_spec)
    if call.initial is not None:
        _, more = call.initial.hvp(call.p, p_dots, y_bar, y_bar_dot)
        p_bar_dot = [b if b is None or m is None else b + m for b, m in zip(p_bar_dot, more, strict=True)]
    return Gradient(unflatten_bar(first.y_spec, y_bar_dot), unflatten_bar(first.p_spec, p_bar_dot), sweep.ledger())


def _paired(first: Problem, y: Leaves, p: Leaves) -> Problem:
    """The problem of second order."""
    if first.misfit is None:  # observations without a cost do not matter
        first = replace(first, observe=None, observe_at=np.empty(0, np.int64))
    floats = [on if differentiable(leaf) else None for on, leaf in zip(first.p_active, leaves_of(first.p_spec), strict=True)]
    active = tuple(with_dots(first.p_active, floats))
    return replace(
        first, first=first, y=form_of(with_tangent(first.y_spec), shapes_of(y)),
        p=form_of(with_tangent(first.p_spec), shapes_of(p)), p_active=active,
    )  # fmt: skip


def _split(bars: Sequence[np.ndarray | None], spec: Spec) -> tuple[Bars, Bars]:
    """Cotangents and their tangents, for all leaves."""
    floats = [differentiable(leaf) for leaf in leaves_of(spec)]
    dots = iter(bars[len(floats) :])
    return list(bars[: len(floats)]), [next(dots) if on else None for on in floats]
