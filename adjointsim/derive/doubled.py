"""Kernels doubled by their tangents: one kernel that computes what another does, and its derivative along a direction.

The tangent of a VJP kernel gives Hessian-vector products; beside the tangent of the primal it makes a whole sweep of second
order, whose states are pairs (y, y_dot) and whose cotangents are pairs (y_bar, y_bar_dot).  What receives a tangent is
followed by it: leaves by the tangents of the floating ones among them, results, cotangents and arenas likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .ir import ONE, Alloc, Base, is_float
from .kernel import Kernel, tangent_kernel, tangents_of
from .tangent import FreshNames

__all__ = ["Doubled", "doubled", "padded"]

Bases = tuple[Base | None, ...]


@dataclass(frozen=True)
class Doubled:
    """A kernel with tangents; ``dots`` are the tangents of the other one's parameters."""

    kernel: Kernel
    dots: dict[Base, Base]


def doubled(kernel: Kernel, groups: Sequence[int], outcome: Sequence[Base], *, seeded: bool = True) -> Doubled:
    """The kernel and its tangent with respect to all floating inputs.

    ``groups`` are the numbers of leaves of its arguments, each of which is followed by its tangents; ``outcome`` are the
    result leaves of its function.  Cotangents of these have tangents of their own unless they are constants, not ``seeded``.
    """
    # (both a function and its adjoint may have tangents in one module)
    module = tangents_of(kernel, "_hvp" if kernel.leaf_bars else "_dot")
    outer = (*kernel.results, *kernel.leaf_bars, *(kernel.result_bars if seeded else ()))
    # memory that is written is named, too: its tangent must be written even where it is 0
    active = {b.name for b in (*kernel.inputs, *outer) if b is not None and is_float(b.dt)}
    made = module.of(kernel.fn, active)
    dots: dict[Base, Base] = {b: dot for b, dot in made.dots.items() if isinstance(b, Base) and isinstance(dot, Base)}

    def tangents(bases: Bases, leaves: Sequence[Base]) -> Bases:
        """Those of bases that belong to floating leaves; None where there is none."""
        pairs = zip(bases, leaves, strict=True)
        return tuple(None if b is None else dots[b] for b, leaf in pairs if is_float(leaf.dt))

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
    arenas = (*kernel.arenas, *(dots[b] for b in kernel.arenas if b in dots))
    counters = [p for p in kernel.fn.params if not isinstance(p, Base)]
    memory = (b for b in (*results, *result_bars, *leaf_bars) if b is not None)
    params = (*counters, *inputs, *kernel.captures, *memory, *arenas)
    # a constant cotangent whose memory is used for something else as well: its tangent is memory of the kernel's own
    inner = [dot for dot in dots.values() if dot not in params]
    assert not inner or not seeded
    body = (*(Alloc(dot, (ONE,), "zero") for dot in inner), *made.fn.body)
    assert {*params, *inner} == {*made.fn.params}
    whole = tangent_kernel(kernel, module, made)
    return Doubled(
        replace(
            whole, fn=replace(made.fn, params=params, body=body), inputs=inputs, results=results, result_bars=result_bars,
            leaf_bars=leaf_bars, arenas=arenas, covered=kernel.covered | {dots[b] for b in kernel.covered},
        ),
        dots,
    )  # fmt: skip


def padded(kernel: Kernel, groups: Sequence[int]) -> Doubled:
    """The kernel with the inputs of a doubled one: it has no use for the tangents."""
    names = FreshNames(kernel.fn)
    dots = {b: Base(names.fresh_dot(b), b.dt, b.rank, "in") for b in kernel.inputs if is_float(b.dt)}
    inputs: list[Base] = []
    for part in _parts(groups):
        inputs += [*kernel.inputs[part], *(dots[b] for b in kernel.inputs[part] if b in dots)]
    counters = [p for p in kernel.fn.params if not isinstance(p, Base)]
    rest = [p for p in kernel.fn.params if isinstance(p, Base) and p not in kernel.inputs]
    return Doubled(replace(kernel, fn=replace(kernel.fn, params=(*counters, *inputs, *rest)), inputs=tuple(inputs)), dots)


def _parts(groups: Sequence[int]) -> Iterator[slice]:
    first = 0
    for count in groups:
        yield slice(first, first + count)
        first += count
