"""Memory that is written everywhere at first: then it need not be zero before.

    x = zeros(n);  for j in [lo, lo + m): x[j] = c[j];  ...

becomes, where the first that happens to x is such a nest of loops that stores to each of its cells once (or adds to it),

    for j outside of [lo, lo + m): x[j] = 0;  for j in [lo, lo + m): x[j] = c[j];  ...

which spares a pass over the memory, and an addition its load.  Of memory that is known to have a few cells these may be stored to
one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .build import Builder, Names, const, zero
from .inequalities import CONSTANT, Form, plus, times
from .ir import (
    ONE,
    ZERO,
    Alloc,
    Atom,
    Base,
    Block,
    Const,
    Dim,
    Each,
    For,
    If,
    Let,
    Load,
    Raise,
    Stmt,
    Store,
    Var,
    While,
    bases_of,
    defined,
    inner_defined,
    touches,
    walk,
)  # fmt: skip
from .loops import nest

__all__ = ["filled", "written_first"]

_FEW = 4  # cells that are set one by one

_Box = list[tuple[Atom, int, Atom]]  # for each axis of memory: where the loop begins, the shift from there, and how many cells


def filled(block: Block, names: Names) -> Block:
    """The block with memory that is made of zeros, and then written by a nest of loops, filled around that only."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=filled(s.then, names), orelse=filled(s.orelse, names))
        elif isinstance(s, (For, While)):
            s = replace(s, body=filled(s.body, names))
        out.append(s)
    for s in [s for s in out if isinstance(s, Alloc) and s.fill == "zero"]:
        covered = _covered(out, s.base, out.index(s) + 1, s.dims, names)
        if covered is not None:
            at = out.index(s)
            out = [*out[:at], replace(s, fill="none"), *covered]
    return tuple(out)


def written_first(body: Block, bars: Mapping[Base, Base], names: Names) -> tuple[Block, frozenset[Base]]:
    """The body of a VJP kernel, and those of ``bars`` that it now writes everywhere before it reads them or adds to them.
    With each is an array of the same shape."""
    found: set[Base] = set()
    for bar, like in bars.items():
        covered = _covered(body, bar, 0, like, names)
        if covered is not None:
            body = tuple(covered)
            found.add(bar)
    return body, frozenset(found)


def _covered(
    block: Sequence[Stmt], base: Base, start: int, dims: Sequence[Atom] | Base, names: Names
) -> list[Stmt] | None:
    """The statements from ``start`` on, with zeros around the nest of loops that first touches memory; None if what touches it
    first is none.  ``dims`` are the memory's lengths, or other memory with the same ones."""
    at = next((k for k in range(start, len(block)) if touches(block[k], base)), None)
    s = None if at is None else block[at]
    if at is not None and isinstance(s, Store):
        return _cell_by_cell(block, base, start, at, dims, names)
    box = _box(s, base, {}, s) if isinstance(s, For) else None
    if at is None or box is None:
        return None
    assert isinstance(s, For)
    made = {x.var: x for x in block[:at] if isinstance(x, (Let, Dim))}
    before, within = _outside(box, base, dims, made, names, s)
    loop = _set(s, base, names)
    return [*block[start:at], *before, replace(loop, body=(*within, *loop.body)), *block[at + 1 :]]


def _cell_by_cell(
    block: Sequence[Stmt], base: Base, start: int, at: int, dims: Sequence[Atom] | Base, names: Names
) -> list[Stmt] | None:  # fmt: skip
    """The same for memory of one axis that is known to have a few cells, of which each is stored to on its own."""
    length = _length(block[:at], dims) if base.rank == 1 else None
    out, found = [*block[start:at]], set[Atom]()
    for k, s in enumerate(block[at:], at):
        if length is not None and len(found) == length:
            return [*out, *block[k:]]
        if not touches(s, base):
            out.append(s)
            continue
        if not isinstance(s, Store) or not isinstance(s.index[0], Const) or not 0 <= s.index[0].value < (length or 0):  # type: ignore[operator]
            return None
        out += [s] if s.index[0] in found else _stored(s, names)
        found.add(s.index[0])
    return out if len(found) == length else None


def _length(before: Sequence[Stmt], dims: Sequence[Atom] | Base) -> int | None:
    """The length along the first axis, if it is a literal, or all is left where it is not what a literal says."""
    made = {x.var: x for x in before if isinstance(x, (Let, Dim))}
    known = dims[0] if not isinstance(dims, Base) else None
    if known is not None:
        return int(known.value) if isinstance(known, Const) else None  # type: ignore[arg-type]
    for s in before:
        if not isinstance(s, If) or not s.then or not isinstance(s.then[-1], Raise):
            continue
        test = made.get(s.test)  # type: ignore[arg-type]
        if isinstance(test, Let) and test.op == "ne":
            for one, other in (test.args, test.args[::-1]):
                dim = made.get(other)  # type: ignore[arg-type]
                if isinstance(one, Const) and isinstance(dim, Dim) and (dim.base, dim.axis) == (dims, 0):
                    return int(one.value)  # type: ignore[arg-type]
    return None


def _stored(s: Store, names: Names) -> list[Stmt]:
    """A store in place of an addition: of the sum with 0, so that the bits are the same (0 and -0 are not)."""
    if s.mode != "add":
        return [s]
    total = names.var(s.base.name, s.base.dt)
    return [Let(total, "add", (zero(s.base.dt), s.value), s.line, s.part), replace(s, value=total, mode="set")]


def _box(s: For, base: Base, ranges: dict[Var, tuple[Atom, Atom]], outer: For) -> _Box | None:
    """The cells that a nest of loops stores or adds to, each once and before anything else touches them; None if it is not
    known to do that.

    What comes later in an iteration of the outermost loop touches nothing that belongs to another iteration: along some axis
    the index is that loop's variable, there and in what comes first.
    """
    if s.step != ONE or s.stop is not None:
        return None
    ranges = {**ranges, s.var: (s.lo, s.count)}
    touching = [x for x in s.body if touches(x, base)]
    if len(touching) != 1 and not (s is outer and touching and _own(touching, base, s.var)):
        return None
    x = touching[0]
    if isinstance(x, For):
        return _box(x, base, ranges, outer)
    if not isinstance(x, Store) or x.wrap != "never":
        return None
    made = {st.var: st for st in walk((outer,)) if isinstance(st, Let)}
    index = [_shifted(a, made) for a in x.index]
    if len(index) != len(ranges) or {a for a, _ in index} != set(ranges):
        return None
    box = [(ranges[v][0], shift, ranges[v][1]) for v, shift in index]  # type: ignore[index]
    inside = {v for st in walk((outer,)) for v in (*defined(st), *inner_defined(st))}
    return None if any(lo in inside or count in inside for lo, _, count in box) else box


def _own(stmts: Sequence[Stmt], base: Base, var: Var) -> set[int]:
    """The axes of memory along which some statements touch it only where the index is a variable."""
    accesses = [x for x in walk(tuple(stmts)) if not isinstance(x, Dim) and base in bases_of(x)]
    if not all(isinstance(x, (Load, Store)) and x.wrap == "never" for x in accesses):
        return set()
    return {axis for axis in range(base.rank) if all(x.index[axis] == var for x in accesses)}  # type: ignore[union-attr]


def _shifted(a: Atom, made: Mapping[Var, Let]) -> tuple[Atom, int]:
    """An index as another one and what is added to that."""
    let = made.get(a) if isinstance(a, Var) else None
    if let is None or let.op not in ("add", "sub") or not isinstance(let.args[1], Const):
        return a, 0
    shift = int(let.args[1].value)  # type: ignore[arg-type]
    return let.args[0], shift if let.op == "add" else -shift


def _set(s: For, base: Base, names: Names) -> For:
    """The nest with a store in place of the first addition."""
    body: list[Stmt] = []
    first = True
    for x in s.body:
        if not (first and touches(x, base)):
            body.append(x)
            continue
        first = False
        if isinstance(x, For):
            body.append(_set(x, base, names))
        else:
            body += _stored(x, names) if isinstance(x, Store) and x.base == base else [x]
    return replace(s, body=tuple(body))


def _outside(
    box: _Box, base: Base, dims: Sequence[Atom] | Base, made: Mapping[Var, Let | Dim], names: Names, s: For
) -> tuple[list[Stmt], list[Stmt]]:
    """Zeros in all cells that are not in the box: before and after it along the first axis, of the others those along the
    second one, and so on.

    Those that are to be stored before a nest of loops; and where that is a loop over rows, the few beside the box of a row, for
    the row's own iteration: one by one, for else each of these becomes a call of memset.
    """
    b = Builder(names)
    b.line = s.line
    if isinstance(dims, Base):
        lengths: list[Atom] = [names.var(f"{base.name}_n{axis}", "i8") for axis in range(base.rank)]
        b.stmts.extend(Dim(v, dims, axis, s.line) for axis, v in enumerate(lengths))  # type: ignore[arg-type]
        made = {**made, **{x.var: x for x in b.stmts if isinstance(x, Dim)}}
    else:
        lengths = list(dims)
    out: list[Stmt] = []
    within: list[Stmt] = []
    rows = len(box) == 2 and 0 in _own(s.body, base, s.var)
    ranges = [(b.op("add", lo, const(shift, "i8")) if shift else lo, count) for lo, shift, count in box]
    for k, ((lo, count), length) in enumerate(zip(ranges, lengths, strict=True)):
        end = b.op("add", lo, b.op("max2", count, ZERO))
        if not isinstance(lo, Const) or lo.value < 0:  # type: ignore[operator]
            end = b.op("max2", end, ZERO)  # a loop that does not run may begin anywhere
        rest = b.op("max2", b.op("sub", length, end), ZERO)
        most = _most(lo, count, length, made)
        if most is not None:  # said to the compiler, which else makes code for a long loop
            rest = b.op("min2", rest, const(most, "i8"))
        few = lo.value if isinstance(lo, Const) else None
        for first, many, bound in ((ZERO, b.op("min2", lo, length), few), (end, rest, most)):
            if many == ZERO:
                continue
            if rows and k == 1 and bound is not None and 0 <= bound <= _FEW:  # type: ignore[operator]
                for z in range(bound):  # type: ignore[arg-type]
                    index = s.var, b.op("add", first, const(z, "i8"))
                    store = Store(base, index, zero(base.dt), "set", "never", s.line, s.part)
                    within.append(If(b.op("gt", many, const(z, "i8")), (store,), (), (), s.line, s.part))
                continue
            pieces = [*ranges[:k], (first, many), *((ZERO, n) for n in lengths[k + 1 :])]
            axes = tuple((names.var("z", "i8"), start, n) for start, n in pieces)
            store = Store(base, tuple(v for v, _, _ in axes), zero(base.dt), "set", "never", s.line, s.part)
            out += nest(Each(axes, (), (store,), "any", (), s.line, s.part), names)
    return [*b.stmts, *out], within


def _most(lo: Atom, count: Atom, length: Atom, made: Mapping[Var, Let | Dim]) -> int | None:
    """No less than max(length - (lo + max(count, 0)), 0), if that is known to be some literal or less."""

    def least(a: Atom) -> Form:
        """The value, or what is not more than it."""
        if isinstance(a, Const):
            return {CONSTANT: int(a.value)}  # type: ignore[arg-type]
        x = made.get(a)
        if isinstance(x, Dim):
            return {(x.base, x.axis): 1}
        if x is not None and x.op == "max2" and isinstance(x.args[1], Const):
            return least(x.args[0])
        if x is not None and x.op in ("add", "sub") and isinstance(x.args[1], Const):
            return plus(least(x.args[0]), times(1 if x.op == "add" else -1, least(x.args[1])))
        return {a: 1}

    if isinstance(made.get(length), Let):  # type: ignore[arg-type]
        return None  # it would have to be known to be not more than something
    most = plus(least(length), times(-1, plus(least(lo), least(count))))
    return max(most.get(CONSTANT, 0), 0) if set(most) <= {CONSTANT} else None
