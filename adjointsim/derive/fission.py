"""Splitting the innermost loops of an adjoint, so that each vectorises.

The reverse of a stencil adds to several cells of one shadow in an iteration (``u_bar[i-1] += ..; u_bar[i] += ..``) and sums
into scalars; neither vectorises.  Split into one loop for each cell and one for the sums, all do.  The split is legal when

* memory that the loop adds to is not read in it (additions commute: only rounding changes), and
* memory that it sets is read and set under one index, which differs in every iteration; what sets it runs last, and
* nothing else is carried than sums ``s + x``.

Each part recomputes what it needs of the loop's pure statements.  The order of additions is fixed by the text; the sums
alone are compiled with reassociation, as functions of their own.
"""

from __future__ import annotations

from dataclasses import replace

from .analysis import EXACT
from .build import Builder, Names, const
from .deadcode import remove_dead
from .ir import (
    Atom,
    Base,
    Block,
    Call,
    Const,
    Fn,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    atoms_of,
    bases_of,
    defined,
    free_vars,
    is_float,
    substitute,
    walk,
)  # fmt: skip

__all__ = ["split_loops"]


def split_loops(body: Block, names: Names, prefix: str) -> tuple[Block, list[Fn]]:
    """Split what can be split; also returns the functions that sum, to be emitted before."""
    functions: list[Fn] = []
    return _block(body, names, prefix, functions, {}), functions


def _block(block: Block, names: Names, prefix: str, functions: list[Fn], lets: dict[Var, Let]) -> Block:
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, Let):
            lets[s.var] = s
        if isinstance(s, If):
            then, orelse = (_block(b, names, prefix, functions, lets) for b in (s.then, s.orelse))
            out.append(replace(s, then=then, orelse=orelse))
        elif isinstance(s, (For, While)):
            if isinstance(s, For) and s.part == "linear" and _simple(s.body):
                out += _split(s, names, prefix, functions, lets)
            else:
                out.append(replace(s, body=_block(s.body, names, prefix, functions, lets)))
        else:
            out.append(s)
    return tuple(out)


def _simple(body: Block) -> bool:
    """Only arithmetic, loads, stores at the body's own level, and branches without effects; no libm function."""
    for s in body:
        if isinstance(s, Store):
            continue
        if not _pure(s):
            return False
    return True


def _pure(s: Stmt) -> bool:
    if isinstance(s, Let):
        return s.op in EXACT or s.op == "mulz" or not any(is_float(a.dt) for a in s.args) or _small_power(s)
    if isinstance(s, If):
        return all(_pure(inner) for block in (s.then, s.orelse) for inner in block)
    return isinstance(s, Load)


def _small_power(s: Let) -> bool:
    return s.op == "powi" and isinstance(s.args[1], Const) and abs(s.args[1].value) <= 4  # type: ignore[arg-type]


def _split(s: For, names: Names, prefix: str, functions: list[Fn], lets: dict[Var, Let]) -> list[Stmt]:
    stores = [st for st in s.body if isinstance(st, Store)]
    loads = {b for st in walk(s.body) if isinstance(st, Load) for b in bases_of(st)}
    sums = _sums(s)
    if sums is None or s.stop is not None:
        return [s]
    adds: dict[Base, list[Store]] = {}
    sets: dict[Base, list[Store]] = {}
    for st in stores:
        (adds if st.mode == "add" else sets).setdefault(st.base, []).append(st)
    if any(b in loads or b in sets for b in adds):
        return [s]
    inner = {v for st in walk(s.body) for v in defined(st)}
    for base, group in sets.items():
        index = group[0].index
        touched = [st.index for st in walk(s.body) if isinstance(st, (Load, Store)) and st.base == base]
        if any(i != index for i in touched) or group[0].wrap != "never" or not _injective(index, s.var, inner, s.body):
            return [s]  # (i and i + n may be one cell where an index may be negative)
        if len(group) > 1 or (isinstance(group[0].value, Var) and group[0].value in inner):
            return [s]  # a value that is set must not depend on what other parts of the loop set
    rounds = max([len(g) for g in adds.values()], default=0)
    parts = rounds + bool(sums) + bool(sets)
    if parts < 2 and not sums:
        return [_ascending(s, names, lets)]
    out: list[Stmt] = []
    up = _ascending(s, names, lets)
    for base in list(adds):
        gathered = _gather(up, adds[base], names)
        if gathered is not None:
            out += gathered
            del adds[base]
    for k in range(max([len(g) for g in adds.values()], default=0)):
        keep = [g[k] for g in adds.values() if k < len(g)]
        out.append(_part(up, keep, names))
    if sums:
        out += _sum_call(up, sums, names, prefix, functions)
    if sets:
        out.append(_part(up, [g[0] for g in sets.values()], names))
    return out


def _injective(index: tuple[Atom, ...], var: Var, inner: set[Var], body: Block) -> bool:
    """Whether an index differs between any two iterations: an axis is the loop's own index, the others do not vary."""
    shift = {st.var: st for st in body if isinstance(st, Let) and st.op in ("add", "sub")}

    def moves(a: Atom) -> bool:
        if a == var:
            return True
        made = shift.get(a) if isinstance(a, Var) else None
        return made is not None and made.args[0] == var and (made.args[1] not in inner)

    return any(moves(a) for a in index) and all(moves(a) or a not in inner for a in index)


def _sums(s: For) -> list[tuple[int, Atom]] | None:
    """(carry, term) for each carry that is a sum; None if anything else is carried."""
    made = {st.var: st for st in s.body if isinstance(st, Let)}
    uses = [a for st in walk(s.body) for a in atoms_of(st)]
    found: list[tuple[int, Atom]] = []
    for k, ((v, _), y) in enumerate(zip(s.carries, s.yields, strict=True)):
        last = made.get(y) if isinstance(y, Var) else None
        if last is None or not is_float(v.dt):
            return None
        chain: list[Atom] = []  # v + a + b + ..: a chain of additions that starts at the carried sum
        while True:
            if last.op != "add" or sum(u == last.var for u in uses) + (last.var == y) != 1:
                return None
            left, right = last.args
            if left == v or right == v:
                chain.append(right if left == v else left)
                break
            before = made.get(left) if isinstance(left, Var) else None
            if before is None:
                return None
            chain.append(right)
            last = before
        if sum(u == v for u in uses) != 1:
            return None
        found += [(k, term) for term in reversed(chain)]
    return found


def _ascending(s: For, names: Names, lets: dict[Var, Let]) -> For:
    """The same iterations in ascending order, which vectorises better; only for loops whose order does not matter."""
    if s.carries or not isinstance(s.step, Const) or s.step.value != -1 or not isinstance(s.lo, Var):
        if not (s.carries and isinstance(s.step, Const) and s.step.value == -1 and isinstance(s.lo, (Var, Const))):
            return s
    made = lets.get(s.lo) if isinstance(s.lo, Var) else None
    one = const(1, "i8")
    if made is not None and made.op == "add":
        for a, b in (made.args, made.args[::-1]):
            less = lets.get(b) if isinstance(b, Var) else None
            if less is not None and less.op == "sub" and less.args == (s.count, one):
                return replace(s, lo=a, step=one)
    if made is not None and made.op == "sub" and made.args == (s.count, one):
        return replace(s, lo=const(0, "i8"), step=one)
    if isinstance(s.lo, Const) and isinstance(s.count, Const):
        return replace(s, lo=const(s.lo.value - s.count.value + 1, "i8"), step=one)  # type: ignore[operator]
    return s


def _fresh(body: Block, var: Var, names: Names) -> tuple[Block, Var, dict[Atom, Atom]]:
    """A copy of a loop body with new names."""
    new: dict[Atom, Atom] = {v: names.var(v.name, v.dt) for st in walk(body) for v in defined(st)}
    new[var] = names.var(var.name, var.dt)
    return substitute(body, lambda a: new.get(a, a)), new[var], new  # type: ignore[return-value]


def _part(s: For, keep: list[Store], names: Names) -> For:
    body = tuple(st for st in s.body if not isinstance(st, Store) or any(st is k for k in keep))
    body = remove_dead(body, {k.base for k in keep})
    body, var, _ = _fresh(body, s.var, names)
    return replace(s, var=var, body=body, carries=(), yields=(), results=())


def _gather(s: For, group: list[Store], names: Names) -> list[Stmt] | None:
    """Additions to cells i + c_1, i + c_2, .. of one base as one loop over the cells.

    Cell j receives the contributions of the iterations j - c_k.  With lo <= c_k <= hi they all exist where j runs from
    first + hi to first + count + lo; the iterations that add to other cells, hi - c_k at one end and c_k - lo at the other,
    are run by themselves.
    """
    if len(group) < 2 or not (isinstance(s.step, Const) and s.step.value == 1):
        return None
    inner = {v for st in walk(s.body) for v in defined(st)}
    shifts: list[int] = []
    axis: int | None = None
    for st in group:
        moving = [(k, _shift(a, s.var, s.body)) for k, a in enumerate(st.index) if a == s.var or a in inner]
        if len(moving) != 1 or moving[0][1] is None or (axis is not None and moving[0][0] != axis):
            return None
        axis = moving[0][0]
        shifts.append(moving[0][1])
    rest = {tuple(a for k, a in enumerate(st.index) if k != axis) for st in group}
    if len(rest) != 1 or len(set(shifts)) != len(shifts) or max(shifts) - min(shifts) > 8:
        return None  # several rows: each is a loop of its own
    b = Builder(names)
    b.line = s.line
    low, high = min(shifts), max(shifts)

    def number(k: int) -> Const:
        return const(k, "i8")

    begin = b.op("add", s.lo, number(high))
    inside = b.op("max2", b.op("sub", s.count, number(high - low)), number(0))
    j = names.var(s.var.name, "i8")
    with b.block(loop=True) as body:
        total: Atom | None = None
        for st, c in zip(group, shifts, strict=True):
            piece = remove_dead(tuple(x for x in s.body if not isinstance(x, Store)), (), (st.value, *st.index))
            piece, var, new = _fresh(piece, s.var, names)
            at = b.op("sub", j, number(c)) if c else j
            body.extend(substitute(piece, lambda a, var=var, at=at: at if a == var else a))  # type: ignore[misc]
            value = new.get(st.value, st.value)
            b.part = "linear"
            total = value if total is None else b.op("add", total, value)
            b.part = "primal"
        index = tuple(j if k == axis else a for k, a in enumerate(group[0].index))
        body.append(replace(group[0], index=index, value=total))
    out: list[Stmt] = []
    for st, c in zip(group, shifts, strict=True):
        for front in (True, False):
            length = high - c if front else c - low
            if not length:
                continue
            edge = b.op("min2", number(high - c), s.count)
            if front:
                first, count = s.lo, edge
            else:
                start = b.op("max2", b.op("sub", s.count, number(length)), edge)
                first, count = b.op("add", s.lo, start), b.op("sub", s.count, start)
            part = _part(s, [st], names)
            out.append(replace(part, lo=first, count=count))
    return [*b.stmts, For(j, begin, inside, number(1), (), tuple(body), (), (), None, None, s.line, "linear"), *out]


def _shift(a: Atom, var: Var, body: Block) -> int | None:
    """c, if an index is var + c."""
    if a == var:
        return 0
    made = next((st for st in body if isinstance(st, Let) and st.var == a), None)
    if made is None or made.op not in ("add", "sub") or made.args[0] != var or not isinstance(made.args[1], Const):
        return None
    return int(made.args[1].value) * (1 if made.op == "add" else -1)  # type: ignore[arg-type]


def _sum_call(s: For, sums: list[tuple[int, Atom]], names: Names, prefix: str, functions: list[Fn]) -> list[Stmt]:
    """The sums of a loop as a function of its own, and what adds them to the carried values."""
    terms = [a for _, a in sums]
    body = remove_dead(tuple(st for st in s.body if not isinstance(st, Store)), (), terms)
    body, var, new = _fresh(body, s.var, names)
    terms = [new.get(a, a) for a in terms]
    which = sorted({k for k, _ in sums})
    params = {k: names.var(s.carries[k][0].name, s.carries[k][0].dt) for k in which}
    totals: dict[int, Atom] = dict(params)  # type: ignore[arg-type]
    tail: list[Stmt] = []
    for (k, _), term in zip(sums, terms, strict=True):
        total = names.var(params[k].name, params[k].dt)
        tail.append(Let(total, "add", (totals[k], term), s.line, "linear"))
        totals[k] = total
    results = [names.var(params[k].name, params[k].dt) for k in which]
    carries = tuple((params[k], const(0, params[k].dt)) for k in which)
    loop = replace(
        s, var=var, body=(*body, *tail), carries=carries, yields=tuple(totals[k] for k in which), results=tuple(results)
    )
    args: list[Var | Base] = [*free_vars((loop,)), *dict.fromkeys(b for st in walk((loop,)) for b in bases_of(st))]
    fn = Fn(f"{prefix}_sum_{len(functions)}", tuple(args), (loop,), tuple(results))
    functions.append(fn)
    given = tuple(names.var(r.name, r.dt) for r in results)
    out: list[Stmt] = [Call(fn.name, tuple(args), given, s.line, "linear")]
    for k, r in zip(which, given, strict=True):
        out.append(Let(s.results[k], "add", (s.carries[k][1], r), s.line, "linear"))
    return out
