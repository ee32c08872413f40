"""A simulation's observations, and their Jacobian by tangents or by cotangents."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import numpy as np

from adjointsim.at_once import ObservationsAtOnce
from adjointsim.call import Call
from adjointsim.derive.spec import Spec, TupleSpec, differentiable, leaves_of
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.executor import Executor
from adjointsim.forms import Kind
from adjointsim.jacobians import Blocks
from adjointsim.kernels import INDEX, index_leaf, kernel_of
from adjointsim.leaves import Bars, nbytes, stacked_spec, unflatten, with_dots
from adjointsim.selection import named_part
from adjointsim.tangent import TangentSweep

__all__ = ["observation_jacobian", "observations_of"]


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
    problem = call.problem
    if problem.observe is None:
        raise ArgumentError("Got a simulation without observe=, but a Jacobian is the derivative of observations")
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
    if count:
        (_by_columns if blocks.forward(mode) else _by_rows)(call, blocks)
    return [blocks.nested(part) for part in _parts(names, problem.y.kind, problem.p.kind)]


@lru_cache(maxsize=256)
def _parts(names: tuple[str, ...], y: Kind, p: Kind) -> list[tuple[Spec, int]]:
    return [named_part(name, y.spec, p.spec) for name in names]


def _by_columns(call: Call, blocks: Blocks) -> None:
    """One run with tangents for each number with respect to which it is differentiated."""
    problem, many = call.problem, len(call.y0)
    dots: Bars = [np.zeros_like(x) if x.dtype.kind == "f" else None for x in (*call.y0, *call.p)]
    pair: Call | None = None
    at_once = ObservationsAtOnce()
    for leaf, place in blocks.columns():
        dots[leaf].flat[place] = 1.0  # type: ignore[union-attr]
        y_dots, p_dots = call.tangents(dots[:many], dots[many:])
        if problem.step.hand_vjp is not None:  # which has no tangents: an error that says so
            TangentSweep(problem, call.y0, call.p, y_dots, p_dots).run()
        if pair is None:
            pair = call.paired(y_dots, p_dots, observed=True)
        else:
            pair.y0, pair.p = with_dots(call.y0, y_dots), with_dots(call.p, p_dots)
        moved = iter(_seen(pair, at_once).observations[len(blocks.outs) :])
        blocks.put_column(leaf, place, [next(moved) if on else None for on in blocks.out_active])
        dots[leaf].flat[place] = 0.0  # type: ignore[union-attr]
    at_once.end()


def _seen(call: Call, at_once: ObservationsAtOnce, told: bool = False) -> Executor:
    """What has run to the end, and holds the observations; ``told``: progress is reported."""
    if (found := at_once.of(call)) is not None:
        return found
    sweep = call.sweep(call.running())
    with call.progress(sweep) if told else nullcontext():
        call.forward(sweep)
    return sweep.executor


def _by_rows(call: Call, blocks: Blocks) -> None:
    """One sweep, in which the cotangents of all observations go back through the same recomputed steps."""
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
        for k in sweep.reverse_each(len(rows), bars, unit):
            call.check(sweep, 0.0, None, bars)
            y_bar, p_bar = call.bars(sweep.executor)
            blocks.put_row(*rows[k], [*y_bar, *p_bar])
