"""Many cotangents through one recording: the way back in a loop over *lanes*, each with the cotangents of its own.

The primal runs and records once.  The way back then starts anew for each lane: from the same tops of the tapes, and from the
same memory where it is memory that the way back itself overwrites (a loop in time that is rerun restores its snapshots, and
uses the tape for the iteration at hand).  A lane's numbers are those of a kernel with one cotangent, bit for bit: its
statements are the same, in the same order.

Cotangents from outside become arrays with one axis more, the lanes, in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .build import Builder, Names, const
from .ir import ONE, ZERO, Alloc, Atom, Base, Block, For, Var, walk, written_by

__all__ = ["LanesError", "in_lanes", "with_lanes"]


class LanesError(Exception):
    """The way back overwrites memory that is not there at the function's own level: it cannot be walked twice."""


def with_lanes(b: Base, names: Names) -> Base:
    """The memory of a cotangent in all lanes."""
    return Base(names.fresh(f"{b.name.split('.')[0]}s"), b.dt, b.rank + 1, b.role)


def in_lanes(
    record: Block,
    reverse: Block,
    given: Mapping[Base, Base],
    wanted: Mapping[Base, Base],
    inner: Block,
    arenas: Sequence[Base],
    names: Names,
) -> Block:
    """``record``, then ``reverse`` in each lane; ``inner`` is the memory that it needs afresh.

    ``given`` and ``wanted`` are the cotangents of results and of inputs with their memory in all lanes.
    """
    b = Builder(names, number=False)
    b.stmts.extend(record)
    lanes = b.dim(next(iter({**given, **wanted}.values())), 0)
    tops = next((a for a in arenas if a.name.startswith("tops")), None)
    ends = [b.load(tops, (const(k, "i8"),), "top", "never") for k in (0, 1)] if tops is not None else []
    saved = _overwritten(record, reverse, arenas)
    copies: dict[Base, tuple[Base, list[Atom]]] = {}
    for base in saved:
        if base.role == "arena":  # what lies above the top is not recorded
            dims = [ends[0 if base.dt == "f8" else 1]]
        else:
            dims = [b.dim(base, axis) for axis in range(base.rank)]
        copy = Base(names.fresh(f"{base.name.split('.')[0]}_kept"), base.dt, base.rank, "local")
        b.add(Alloc(copy, tuple(dims), "none"))
        _copy(b, copy, base, dims)
        copies[base] = copy, dims
    lane = names.var("lane", "i8")
    shapes = {one: [b.dim(many, axis + 1) for axis in range(one.rank)] for one, many in {**given, **wanted}.items()}
    with b.block(loop=True) as body:
        for base, (copy, dims) in copies.items():
            _copy(b, base, copy, dims)
        for k, end in enumerate(ends):
            b.store(tops, (const(k, "i8"),), end, "set", "never")  # type: ignore[arg-type]
        for s in inner:
            b.add(s)
        for one in wanted:
            b.add(Alloc(one, tuple(shapes[one]), "zero", 0, "linear"))
        for one, many in given.items():
            b.add(Alloc(one, tuple(shapes[one]), "none", 0, "linear"))
            _copy(b, one, many, shapes[one], lane, "linear")
        for s in reverse:
            b.add(s)
        for one, many in wanted.items():
            _copy(b, many, one, shapes[one], lane, "linear")
    b.add(For(lane, ZERO, lanes, ONE, (), tuple(body), (), (), None, None, 0, "linear"))
    return tuple(b.stmts)


def _overwritten(record: Block, reverse: Block, arenas: Sequence[Base]) -> list[Base]:
    """Memory of the primal, and tapes, that the way back writes."""
    own = {s.base for s in walk(reverse) if isinstance(s, Alloc)}
    written = dict.fromkeys(b for s in walk(reverse) for b in written_by(s))
    there = {s.base for s in record if isinstance(s, Alloc)}
    found = []
    for base in written:
        if base.role == "shadow" or base in own or base.name.startswith("tops"):
            continue
        if base not in there and base not in arenas:
            raise LanesError(base.name)
        found.append(base)
    return found


def _copy(b: Builder, dst: Base, src: Base, dims: Sequence[Atom], lane: Var | None = None, part: str = "primal") -> None:
    """Copy an array, one of which may be a lane of another."""
    index = tuple(b.names.var("ijkl"[axis % 4], "i8") for axis in range(len(dims)))
    here, there = ((lane, *index) if lane is not None and base.rank > len(dims) else index for base in (dst, src))
    before, b.part = b.part, part
    with b.block(loop=True) as body:
        b.store(dst, here, b.load(src, there, None, "never"), "set", "never")
    b.part = before
    nest: Block = tuple(body)
    for axis in reversed(range(len(dims))):
        nest = (For(index[axis], ZERO, dims[axis], ONE, (), nest, (), (), None, None, 0, part),)
    for s in nest:
        b.add(s)
