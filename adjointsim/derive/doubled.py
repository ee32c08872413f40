"""Kernels doubled by their tangents: one kernel that computes what another does, and its derivative along a direction, or along
several (lanes).

The tangent of a VJP kernel gives Hessian-vector products; beside the tangent of the primal it makes a whole sweep of second
order, whose states are pairs (y, y_dot) and whose cotangents are pairs (y_bar, y_bar_dot).  What receives a tangent is
followed by it: leaves by the tangents of the floating ones among them, lane by lane, results, cotangents and arenas likewise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from .ir import ONE, Alloc, Base, is_float
from .kernel import Kernel, tangent_kernel, tangents_of
from .tangent import FreshNames

__all__ = ["Doubled", "doubled", "padded"]

Bases = tuple[Base | None, ...]


@dataclass(frozen=True)
class Doubled:
    """A kernel with tangents; ``dots`` are the tangents of the other one's parameters, one of each lane."""

    kernel: Kernel
    dots: dict[Base, tuple[Base, ...]]


def doubled(
    kernel: Kernel, groups: Sequence[int], outcome: Sequence[Base], *, seeded: bool = True, lanes: int = 1,
    still: Collection[Base] = (),
) -> Doubled:  # fmt: skip
    """The kernel and its tangent with respect to all floating inputs, or so many of them; those of inputs that are ``still`` are
    taken for zero.

    ``groups`` are the numbers of leaves of its arguments, each of which is followed by its tangents; ``outcome`` are the
    result leaves of its function.  Cotangents of these have tangents of their own unless they are constants, not ``seeded``.
    """
    # (both a function and its adjoint may have tangents in one module)
    module = tangents_of(kernel, "_hvp" if kernel.leaf_bars else "_dot", lanes)
    outer = (*kernel.results, *kernel.leaf_bars, *(kernel.result_bars if seeded else ()))
    # memory that is written is named, too: its tangent must be written even where it is 0
    active = {b.name for b in (*kernel.inputs, *outer) if b is not None and is_float(b.dt) and b not in still}
    made = module.of(kernel.fn, active)
    dots: dict[Base, tuple[Base, ...]] = {
        b: tuple(own[b] for own in made.lanes) for b in made.dots if isinstance(b, Base)  # type: ignore[misc]
    }
    unread = _new_dots([b for b in kernel.inputs if b in still and is_float(b.dt)], FreshNames(made.fn), lanes)
    dots.update(unread)

    def tangents(bases: Bases, leaves: Sequence[Base]) -> Bases:
        """Those of bases that belong to floating leaves; None where there is none."""
        own = [b for b, leaf in zip(bases, leaves, strict=True) if is_float(leaf.dt)]
        return tuple(None if b is None else dots[b][lane] for lane in range(lanes) for b in own)

    def grouped(bases: Bases) -> Bases:
        """What belongs to the inputs."""
        out: list[Base | None] = []
        for part in _parts(groups if bases else ()):
            out += [*bases[part], *tangents(bases[part], kernel.inputs[part])]
        return tuple(out)

    inputs: tuple[Base, ...] = grouped(kernel.inputs)  # type: ignore[assignment]
    results = (*kernel.results, *(tangents(kernel.results, outcome) if kernel.results else ()))
    bars = tangents(kernel.result_bars, outcome) if kernel.result_bars and seeded else ()
    result_bars = (*kernel.result_bars, *bars)
    leaf_bars = grouped(kernel.leaf_bars)
    arenas = (*kernel.arenas, *(dots[b][lane] for lane in range(lanes) for b in kernel.arenas if b in dots))
    counters = [p for p in kernel.fn.params if not isinstance(p, Base)]
    memory = (b for b in (*results, *result_bars, *leaf_bars) if b is not None)
    params = (*counters, *inputs, *kernel.captures, *memory, *arenas)
    # a constant cotangent whose memory is used for something else as well: its tangent is memory of the kernel's own
    inner = [dot for own in dots.values() for dot in own if dot not in params]
    assert not inner or not seeded
    body = (*(Alloc(dot, (ONE,), "zero") for dot in inner), *made.fn.body)
    assert {*params, *inner} == {*made.fn.params, *(dot for own in unread.values() for dot in own)}
    whole = tangent_kernel(kernel, module, made)
    return Doubled(
        replace(
            whole, fn=replace(made.fn, params=params, body=body), inputs=inputs, results=results, result_bars=result_bars,
            leaf_bars=leaf_bars, arenas=arenas, covered=kernel.covered.union(*(dots[b] for b in kernel.covered)),
        ),
        dots,
    )  # fmt: skip


def padded(kernel: Kernel, groups: Sequence[int], lanes: int = 1) -> Doubled:
    """The kernel with the inputs of a doubled one: it has no use for the tangents."""
    names = FreshNames(kernel.fn)
    dots = _new_dots([b for b in kernel.inputs if is_float(b.dt)], names, lanes)
    inputs: list[Base] = []
    for part in _parts(groups):
        inputs += [*kernel.inputs[part], *(dots[b][lane] for lane in range(lanes) for b in kernel.inputs[part] if b in dots)]
    counters = [p for p in kernel.fn.params if not isinstance(p, Base)]
    rest = [p for p in kernel.fn.params if isinstance(p, Base) and p not in kernel.inputs]
    return Doubled(replace(kernel, fn=replace(kernel.fn, params=(*counters, *inputs, *rest)), inputs=tuple(inputs)), dots)


def _new_dots(bases: Sequence[Base], names: FreshNames, lanes: int) -> dict[Base, tuple[Base, ...]]:
    """Tangents that nobody reads."""
    return {b: tuple(Base(names.fresh_dot(b), b.dt, b.rank, "in") for _ in range(lanes)) for b in bases}


def _parts(groups: Sequence[int]) -> Iterator[slice]:
    first = 0
    for count in groups:
        yield slice(first, first + count)
        first += count
