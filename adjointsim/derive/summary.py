"""What a sweep knows of a step: facts found once from the lowered functions, from which the driver is generated.

Most of it is about memory that need not move.  A step often returns a part of its state as it is: a wave step makes one
field and hands the other on.  Such a leaf of y_{n+1} has a *route*, and the driver, which owns the buffers, lets them change
names instead of copying; on the way back the cotangent of the leaf is handed over the other way round, and the VJP kernel
adds to it what else it finds.

Buffers form *chains*: a path u1 -> u2 -> .. -> um says that leaf u2 of y_{n+1} is leaf u1 of y_n, and so on; u1 is new and is
written into a spare buffer, which the buffer that falls out at um replaces.  A cycle needs no spare one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from .api import Compiled
from .emit import NEED
from .entry import Entry
from .ir import Alloc, Base, Const, Dim, Foreign, Raise, bases_of, is_float, walk
from .kernel import Kernel
from .registry import registered
from .tapes import ARENAS, arena_of

__all__ = [
    "Calling", "Chain", "Leaf", "Route", "StepSummary", "SweepSummary", "bar_modes", "calling", "carries_tangents", "routes_of",
]  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True)
class Leaf:
    """A leaf of y, p or an observation; a scalar one goes by value.  Only floats have cotangents: the others are inert."""

    dt: str
    rank: int
    scalar: bool

    @property
    def inert(self) -> bool:
        return not is_float(self.dt)


@dataclass(frozen=True)
class Route:
    """Where a leaf of y_{n+1} comes from; ``leaf`` counts the leaves of y or p.

    =========  =====================================================================================
    fresh      the step computes it
    state      it is a leaf of y_n as it stands; the kernels leave it, and its cotangent, to the driver
    parameter  it is a leaf of p; the kernels copy it, and add its cotangent
    constant   it is a literal or a captured value; the kernels write it
    =========  =====================================================================================
    """

    kind: str
    leaf: int = -1


@dataclass(frozen=True)
class Chain:
    """Array leaves whose buffers move on together, each leaf's to the next; the last one's to the first if it is ``closed``,
    else a spare buffer comes in at the first and the last one's becomes the spare."""

    leaves: tuple[int, ...]
    closed: bool

    @property
    def period(self) -> int:
        """After so many steps all buffers are where they were."""
        return len(self.leaves) + (not self.closed)


@dataclass(frozen=True)
class Calling:
    """How a kernel is called: its by-value integer, ``inputs`` leaves and captures, then memory, ``arenas`` (by the names
    that the driver has for them) and scratch arrays.  It returns a status, OK or one of ``statuses``, and numbers."""

    inputs: int
    captures: int
    arenas: tuple[str, ...]
    scratch: int
    statuses: frozenset[int]
    reads: frozenset[int]  # inputs whose contents matter
    raises: bool  # foreign code may leave it, and the driver, by an exception

    @property
    def needs(self) -> bool:
        """Whether an arena may be too small; nothing has been changed then, the kernel is just run again."""
        return NEED in self.statuses


@dataclass(frozen=True)
class StepSummary:
    """A step and its VJP.

    ``bars`` say of each leaf of y what the VJP kernel does to the memory of its cotangent: "none" if it does not touch it,
    "add" if it adds to what is there, "set" if it writes all of it; None for an inert leaf.
    A cotangent that is handed over must be added to.  ``nexts`` are the leaves of y_{n+1} that it is given, arrays.

    ``kept`` counts the arrays that the primal writes beside the state and the VJP reads there; ``keepable`` says whether there
    could be such.  The last of them is a row of numbers if ``noted``, which says how long it is, is not 0.
    """

    y: tuple[Leaf, ...]
    p: tuple[Leaf, ...]
    active_p: tuple[bool, ...]  # those leaves of p whose cotangents are wanted
    routes: tuple[Route, ...]
    bars: tuple[str | None, ...] = ()
    nexts: tuple[int, ...] = ()
    kept: int = 0
    keepable: bool = False
    noted: int = 0

    def __post_init__(self) -> None:
        assert not any(bar == "set" and k in self.heirs for k, bar in enumerate(self.bars))

    @property
    def again(self) -> bool:
        """Whether a step may be run again for its VJP: it needs what the step made, which may not be there."""
        return bool(self.nexts or self.kept)

    @cached_property
    def floats(self) -> list[int]:
        """The leaves that have cotangents."""
        return [k for k, leaf in enumerate(self.y) if not leaf.inert]

    @property
    def written(self) -> list[int]:
        """The leaves of y_{n+1} that the primal kernel writes or returns."""
        return [k for k, route in enumerate(self.routes) if route.kind != "state"]

    def sources(self, scalar: bool) -> dict[int, int]:
        """The leaves of y_{n+1} that are leaves of y_n: which."""
        return {k: r.leaf for k, r in enumerate(self.routes) if r.kind == "state" and self.y[k].scalar == scalar}

    # ------------------------------------------------------------------------------------------------- arrays: buffers
    @cached_property
    def heirs(self) -> dict[int, int]:
        """For array leaves of y_n: the leaf of y_{n+1} that is the very same memory; itself if it may stay where it is."""
        sources = self.sources(scalar=False)
        found = {k: k for k, source in sources.items() if k == source}
        for k, source in sources.items():
            found.setdefault(source, k)
        return found

    @cached_property
    def copied(self) -> dict[int, int]:
        """Array leaves of y_{n+1} that are copies of a leaf of y_n, because another one has its memory: of which."""
        return {k: source for k, source in self.sources(scalar=False).items() if self.heirs[source] != k}

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """Every array leaf is in one chain."""
        arrays = [k for k, leaf in enumerate(self.y) if not leaf.scalar]
        heads = [k for k in arrays if k not in self.heirs.values()]
        found: list[Chain] = []
        seen: set[int] = set()
        for first in (*heads, *arrays):  # what no head leads to is in cycles
            path: list[int] = []
            at: int | None = first
            while at is not None and at not in seen:
                seen.add(at)
                path.append(at)
                at = self.heirs.get(at)
            if path:
                found.append(Chain(tuple(path), closed=first not in heads))
        return tuple(found)

    @cached_property
    def followers(self) -> tuple[int, ...]:
        """The array leaves of y_{n+1} that are the leaf before them in their chain of y_n."""
        return tuple(sorted(k for chain in self.chains if not chain.closed for k in chain.leaves[1:]))

    @cached_property
    def period(self) -> int:
        """After so many steps all buffers are where they were."""
        return math.lcm(*(chain.period for chain in self.chains))

    @cached_property
    def spares(self) -> tuple[int, ...]:
        """The leaves with a second place, where the next state's is put: arrays that are new or copied, computed numbers."""
        heads = [chain.leaves[0] for chain in self.chains if not chain.closed]
        return tuple(sorted([*heads, *(k for k in self.written if self.y[k].scalar)]))

    @cached_property
    def bar_spares(self) -> tuple[int, ...]:
        """The array leaves whose cotangents have a second place."""
        return tuple(k for k in self.spares if not self.y[k].scalar and not self.y[k].inert)

    def last(self, n_steps: int) -> list[int | None]:
        """For the leaves of y_N: which leaf of y_{N-1} they are; None: they are in spares."""
        if n_steps == 0:  # there is no such step
            return list(range(len(self.y)))
        sources = {**self.sources(scalar=False), **self.sources(scalar=True)}
        return [None if k in self.spares else sources[k] for k in range(len(self.y))]

    def placed(self, buffers: Mapping[int, T], spares: Mapping[int, T], turns: int) -> tuple[dict[int, T], dict[int, T]]:
        """The buffers of the leaves, and the spare ones, after buffers have moved on so often; negative: back."""
        now, free = dict(buffers), dict(spares)
        for chain in self.chains:
            if chain.leaves[0] not in buffers:
                continue
            ring = [buffers[k] for k in chain.leaves]
            if not chain.closed:
                ring.append(spares[chain.leaves[0]])
            ring = [ring[(at - turns) % chain.period] for at in range(chain.period)]
            now.update(zip(chain.leaves, ring, strict=False))
            if not chain.closed:
                free[chain.leaves[0]] = ring[-1]
        return now, free


@dataclass(frozen=True)
class SweepSummary:
    """A step, and how its kernels and those of the costs are called."""

    step: StepSummary
    calls: Mapping[str, Calling]
    observed: tuple[Leaf, ...]  # the leaves of an observation


def carries_tangents(sweep: SweepSummary) -> bool:
    """Whether a kernel records tangents, so that there must be a tape for them."""
    return any(ARENAS[-1] in how.arenas for how in sweep.calls.values())


# ---------------------------------------------------------------------------------------------------------- how it is found
def routes_of(entry: Entry, y: tuple[Base, ...], p: tuple[Base, ...]) -> tuple[Route, ...]:
    """The routes of a step's result leaves."""

    def route(origin: Base | Const | None) -> Route:
        if origin is None:
            return Route("fresh")
        if origin in y:
            return Route("state", y.index(origin))
        return Route("parameter", p.index(origin)) if origin in p else Route("constant")

    return tuple(route(origin) for origin in entry.origins)


def bar_modes(kernel: Kernel, leaves: tuple[Base, ...]) -> tuple[str | None, ...]:
    """What a VJP kernel, before numbers go by value, does to the cotangents of some of its inputs."""
    touched = {b for s in walk(kernel.fn.body) for b in bases_of(s)}
    bars = dict(zip(kernel.inputs, kernel.leaf_bars, strict=True))

    def mode(bar: Base | None) -> str | None:
        if bar is None:
            return None
        return "set" if bar in kernel.covered else "add" if bar in touched else "none"

    return tuple(mode(bars[leaf]) for leaf in leaves)


def calling(compiled: Compiled, kernel: Kernel) -> Calling:
    """How a kernel is called; ``kernel`` is the same before numbers go by value."""
    untouched = (Dim, Alloc)  # whatever else names an input reads it
    loaded = {b for s in walk(kernel.fn.body) if not isinstance(s, untouched) for b in bases_of(s)}
    everything = [s for fn in (kernel.fn, *kernel.functions) for s in walk(fn.body)]
    statuses = {1 + s.site for s in everything if isinstance(s, Raise)} | ({NEED} if kernel.arenas else set())
    arenas = map(arena_of, kernel.arenas)
    reads = frozenset(k for k, b in enumerate(kernel.inputs) if b in loaded)
    return Calling(
        len(kernel.inputs), len(kernel.captures), tuple(arenas), len(compiled.scratch.bases), frozenset(statuses), reads,
        any(isinstance(s, Foreign) and not registered(s.key).made for s in everything),
    )  # fmt: skip
