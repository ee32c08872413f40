"""Terms of sums that wait in memory: what is slow is computed by a loop that vectorises, and added up by another one.

    for j: s += f(j)         becomes         for chunks: { for j in the chunk: held[j] = f(j);  for j in the chunk: s += held[j] }

where f divides or takes roots.  A loop that carries a sum whose order is the user's does not become vectors.  The additions are
the same ones, in the same order.  (Sums of cotangents have no order of their own, and need not wait.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .analysis import EXACT
from .build import Builder, Names, const
from .gather import fresh
from .ir import ONE, ZERO, Alloc, Atom, Base, Block, Const, Each, For, If, Let, Load, Stmt, Store, Var, is_float, walk
from .loops import nest, overlaps

__all__ = ["ordered", "repeatable", "slow", "waits"]

_CHUNK = 256  # terms: a few arrays of so many stay in the nearest cache


def repeatable(body: Block) -> bool:
    """Whether statements give the same bits wherever they are compiled, at little cost: no libm function."""
    for s in body:
        if isinstance(s, Let):
            if not (s.op in EXACT or s.op == "mulz" or not any(is_float(a.dt) for a in s.args) or _small_power(s)):
                return False
        elif isinstance(s, If) and not (repeatable(s.then) and repeatable(s.orelse)):
            return False
    return True


def _small_power(s: Let) -> bool:
    return s.op == "powi" and isinstance(s.args[1], Const) and abs(s.args[1].value) <= 4  # type: ignore[operator]


def slow(body: Block) -> bool:
    """Whether a body divides or takes roots of numbers of its own: work that is not repeated lightly."""
    return any(isinstance(x, Let) and x.op in ("div", "sqrt") and is_float(x.var.dt) for x in walk(body))


def waits(s: Each) -> bool:
    """Whether the terms of the sums of an Each of one axis had better wait."""
    if len(s.axes) != 1 or not s.sums or not slow(s.body) or not repeatable(s.body) or overlaps(s):
        return False
    return not any(isinstance(x, If) for x in s.body)


def ordered(s: Each, names: Names) -> list[Stmt]:
    """An Each of one axis as loops, its sums in their order; a callback of :func:`.nest`."""
    return _add_up(s, names) if waits(s) else nest(s, names)


def _add_up(s: Each, names: Names) -> list[Stmt]:
    """An Each of one axis with its terms waiting, chunk by chunk."""
    b = Builder(names)
    b.line = s.line
    terms = dict.fromkeys(t for _, _, each in s.sums for t in each)
    memory = {t: Base(names.fresh("held"), t.dt, 1, "local") for t in terms}
    ((var, lo, count),) = s.axes
    chunk, size = names.var("chunk", "i8"), const(_CHUNK, "i8")
    carries = tuple((names.var(v.name, v.dt), init) for v, init, _ in s.sums)
    results = tuple(names.var(v.name, v.dt) for v, _, _ in s.sums)
    many = b.op("floordiv", b.op("add", b.op("max2", count, ZERO), const(_CHUNK - 1, "i8")), size)
    with b.block(loop=True) as body:
        start = b.op("mul", chunk, size)
        first, length = b.op("add", lo, start), b.op("min2", b.op("sub", count, start), size)
        body.extend(_computed(s, memory, var, first, length, names))
        k, read = names.var("k", "i8"), {t: names.var("held", t.dt) for t in terms}
        loads = tuple(Load(read[t], memory[t], (k,), "never", s.line, s.part) for t in terms)
        sums = zip(results, carries, s.sums, strict=True)
        waiting = tuple((r, carried, tuple(read[t] for t in each)) for r, (carried, _), (_, _, each) in sums)
        body.extend(nest(Each(((k, ZERO, length),), loads, (), "any", waiting, s.line, s.part), names))
    made = tuple(v for v, _, _ in s.sums)
    loop = For(chunk, ZERO, many, ONE, carries, tuple(body), results, made, None, None, s.line, s.part)
    return [*(Alloc(base, (size,), "none", s.line, s.part) for base in memory.values()), *b.stmts, loop]


def _computed(s: Each, memory: Mapping[Atom, Base], var: Var, first: Atom, length: Atom, names: Names) -> list[Stmt]:
    """The loop that does what the Each does in a chunk, and lets the terms wait."""
    statements, (own,), new = fresh((*s.body, *s.stores), (var,), names)
    place = names.var("t", "i8")
    body = (*(x for x in statements if not isinstance(x, Store)), Let(place, "sub", (own, first), s.line))
    stores = [x for x in statements if isinstance(x, Store)]
    stores += [Store(base, (place,), new.get(t, t), "set", "never", s.line, s.part) for t, base in memory.items()]
    return nest(replace(s, axes=((own, first, length),), body=body, stores=tuple(stores), sums=()), names)
