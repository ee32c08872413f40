"""A simulation's observations, and their Jacobian by tangents or by cotangents."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from adjointsim.at_once import ObservationsAtOnce
from adjointsim.call import Call
from adjointsim.derive.spec import Spec, TupleSpec, differentiable, leaves_of
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.executor import Executor
from adjointsim.jacobians import Blocks
from adjointsim.kernels import INDEX, index_leaf, kernel_of
from adjointsim.leaves import Bars, Leaves, nbytes, stacked_spec, unflatten, with_dots
from adjointsim.selection import named_part
from adjointsim.tangent import TangentSweep

__all__ = ["observation_jacobian", "observations_and_jacobian", "observations_of", "with_tangents", "zero_dots"]

_KEPT = 64  # plans of a problem
_PAIR = "pair"  # the note that holds the problem with tangents


def observations_of(call: Call) -> Any:
    """The observations, stacked; ``call`` has no costs."""
    at_once = ObservationsAtOnce()
    found = _seen(call, at_once, told=True)
    assert found.observation_spec is not None
    out = unflatten(stacked_spec(found.observation_spec), [leaf.copy() for leaf in found.observations])
    at_once.end()
    return out


def observation_jacobian(call: Call, names: tuple[str, ...], mode: str) -> list[Any]:
    """The derivatives of the stacked observations with respect to each of the names; ``call`` has no costs."""
    _, jacobian = _linearised(call, _plan(call, names, mode))
    return jacobian


def observations_and_jacobian(call: Call, names: tuple[str, ...], mode: str) -> tuple[Any, list[Any]]:
    """The stacked observations, and their derivatives as :func:`observation_jacobian` gives them."""
    plan = _plan(call, names, mode)
    seen, jacobian = _linearised(call, plan)
    return unflatten(plan.blocks.out_spec, seen), jacobian


class _Plan(NamedTuple):
    """What is known of a Jacobian before its numbers: ``blocks`` without them, and how they are found."""

    kernel: Any  # of one observation
    blocks: Blocks
    forward: bool
    columns: list[tuple[int, int]]
    parts: list[tuple[Spec, int]]


def _plan(call: Call, names: tuple[str, ...], mode: str) -> _Plan:
    """Made once for problems that differ by steps, if nothing but shapes matters."""
    problem = call.problem
    if problem.observe is None:
        raise ArgumentError("Got a simulation without observe=, but a Jacobian is the derivative of observations")
    key = names, mode, len(problem.observe_at)
    known = problem.notes.get(key)
    if known is not None and not known.kernel.stale():
        return known
    kernel = kernel_of(problem.observe, (INDEX, problem.y_spec, problem.p_spec), role="function")
    if not any(map(differentiable, leaves_of(kernel.result_spec))):
        raise StructureError(f"Got {kernel.result_spec} from observe, without a float: its Jacobian would be None")
    one = kernel.result_shapes([index_leaf(0), *call.y0, *call.p])
    count = len(problem.observe_at)
    scalar = [not hasattr(leaf, "rank") for leaf in leaves_of(kernel.result_spec)]
    shapes = tuple((count,) if number else (count, *shape) for number, shape in zip(scalar, one, strict=True))
    active = (*call.y_active, *problem.p_active)
    blocks = Blocks(
        stacked_spec(kernel.result_spec), shapes,
        TupleSpec((problem.y_spec, problem.p_spec)), (*problem.y_shapes, *problem.p_shapes), active,
    )  # fmt: skip
    if mode == "auto" and problem.step.hand_vjp is not None:
        mode = "reverse"  # the only way there is
    parts = [named_part(name, problem.y_spec, problem.p_spec) for name in names]
    forward = blocks.forward(mode)
    plan = _Plan(kernel, blocks, forward, blocks.columns() if forward else [], parts)
    if kernel.by_shape:
        if len(problem.notes) >= _KEPT:
            problem.notes.clear()
        problem.notes[key] = plan
    return plan


def _linearised(call: Call, plan: _Plan) -> tuple[Leaves, list[Any]]:
    """The leaves of the observations, and their derivatives."""
    blocks = plan.blocks.zeros()
    seen: Leaves = [np.zeros(shape, leaf.dt) for leaf, shape in zip(blocks.outs, blocks.out_shapes, strict=True)]
    if len(call.problem.observe_at):
        seen = _by_columns(call, blocks, plan.columns) if plan.forward else _by_rows(call, blocks)
    return seen, [blocks.nested(part) for part in plan.parts]


def _by_columns(call: Call, blocks: Blocks, columns: list[tuple[int, int]]) -> Leaves:
    """One run with tangents for each number with respect to which it is differentiated; the observations."""
    problem, many = call.problem, len(call.y0)
    dots = zero_dots(call)
    pair: Call | None = None
    at_once = ObservationsAtOnce()
    seen: Leaves = []
    for leaf, place in columns:
        dots[leaf].flat[place] = 1.0  # type: ignore[union-attr]
        y_dots, p_dots = call.tangents(dots[:many], dots[many:])
        if problem.step.hand_vjp is not None:  # which has no tangents: an error that says so
            TangentSweep(problem, call.y0, call.p, y_dots, p_dots).run()
        if pair is not None:
            pair.y0, pair.p = with_dots(call.y0, y_dots), with_dots(call.p, p_dots)
        else:
            pair = with_tangents(call, y_dots, p_dots)
        found = _seen(pair, at_once).observations
        seen = seen or [leaf.copy() for leaf in found[: len(blocks.outs)]]
        moved = iter(found[len(blocks.outs) :])
        blocks.put_column(leaf, place, [next(moved) if on else None for on in blocks.out_active])
        dots[leaf].flat[place] = 0.0  # type: ignore[union-attr]
    at_once.end()
    return seen


def zero_dots(call: Call) -> Bars:
    """Tangents of y0 and then of p that are zero; None for what has none."""
    return [np.zeros_like(x) if x.dtype.kind == "f" else None for x in (*call.y0, *call.p)]


def with_tangents(call: Call, y_dots: Bars, p_dots: Bars, lanes: int = 1) -> Call:
    """The same call with these tangents, of one lane after the other, whose observations are followed by theirs."""
    known = call.problem.notes.get((_PAIR, lanes))
    if known is not None:
        return call.paired_again(known, y_dots, p_dots)
    pair = call.paired(y_dots, p_dots, observed=True, lanes=lanes)
    call.problem.notes[_PAIR, lanes] = pair.problem
    return pair


def _seen(call: Call, at_once: ObservationsAtOnce, told: bool = False) -> Executor:
    """What has run to the end, and holds the observations; ``told``: progress is reported."""
    if (found := at_once.of(call)) is not None:
        return found
    sweep = call.sweep(call.running())
    with call.progress(sweep) if told else nullcontext():
        call.forward(sweep)
    return sweep.executor


def _by_rows(call: Call, blocks: Blocks) -> Leaves:
    """One sweep, in which the cotangents of all observations go back through the same recomputed steps; the observations."""
    rows = blocks.rows()
    outs = list(zip(blocks.outs, blocks.out_shapes, strict=True))
    bars: Bars = [np.zeros(shape, leaf.dt) if differentiable(leaf) else None for leaf, shape in outs]

    def unit(k: int, x: float) -> None:
        leaf, place = rows[k]
        bars[leaf].flat[place] = x  # type: ignore[union-attr]

    a_lane = 2 * nbytes([x for x in call.y0 if x.dtype.kind == "f"]) + nbytes(call.p)
    schedule = call.schedule((len(rows) - 1) * a_lane)
    sweep = call.sweep(schedule)
    with call.progress(sweep, back=True):
        call.forward(sweep)
        seen = [leaf.copy() for leaf in sweep.executor.observations]
        for k in sweep.reverse_each(len(rows), bars, unit):
            call.check(sweep, 0.0, None, bars)
            y_bar, p_bar = call.bars(sweep.executor)
            blocks.put_row(*rows[k], [*y_bar, *p_bar])
    return seen
