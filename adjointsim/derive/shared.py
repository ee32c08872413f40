"""Loops whose iterations threads may share: each writes cells of its own, and nobody else's are read.

A loop is shared if

* it carries nothing, stops nowhere, and its body allocates nothing, cannot leave, and calls functions of numbers only;
* every array that it writes has an axis along which all of its accesses, loads too, are at the loop's variable plus one and
  the same literal: then what an iteration writes is its own, whoever runs the others, and whenever.

A loop of a kernel that is so but for sums which it carries keeps their terms in memory; a loop behind it adds them in the same
order.

Not shared are products of matrices, for BLAS would be given other shapes, and its sums have the order that suits a shape; nor
loops with sums in any order (:mod:`.freesums`), for that might be another one.

Different bases are different memory (see :mod:`.ir`).  So each cell is computed by the same operations in the same order as by
one thread, to the same bits.  Loops in a shared loop are not shared again; others are, where they are of two axes at least, or
in no loop at all.  Whether it is worth the while is decided when it runs, by an estimate of the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .build import Builder, Names
from .freesums import free_sums
from .inequalities import CONSTANT, Form, plus, times
from .ir import (
    ONE,
    ZERO,
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
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
    inner_defined,
    may_leave,
    walk,
)  # fmt: skip
from .productnests import products
from .tangent import FreshNames
from .team import PLACES

__all__ = ["SUFFIX", "TEAM", "independent", "shared"]

#: of the names of functions with shared loops
SUFFIX = "_shared"

#: the memory of a team of threads, which a kernel's caller brings
TEAM = Base("team", "i8", 1, "local")

_ALLOWED = (Let, Dim, Load, Store, If, For, While, Call)
_SIMPLE = frozenset({"add", "sub", "mul", "min2", "max2"})
#: statements that it takes to write to a row which another thread has written to, at least: it is in the other one's cache
_ROW = 100
_USUAL = Const(8, "i8")  # iterations of an inner loop that are known only in it


def shared(fn: Fn, functions: Iterable[Fn]) -> tuple[Fn, tuple[Fn, ...]]:
    """A kernel's function and those that it calls, with loops that are shared by the threads of a team, whose memory is its
    own; the same functions if there are none.  What was ``f`` is a new ``f_shared`` where loops of it are: others call it, too,
    from loops that are shared."""
    sharing = _Sharing({f.name: f for f in functions})
    body, found = sharing.function(fn, owner=True)
    if not found:
        return fn, tuple(functions)
    memory = Alloc(TEAM, (Const(PLACES, "i8"),))
    return replace(fn, body=(memory, *body)), sharing.called(functions)


@dataclass
class _Sharing:
    known: Mapping[str, Fn]
    made: dict[str, Fn | None] = field(default_factory=dict)  # by the names of those that they are made of; None: as it is
    names: Names = field(default_factory=Names)
    owner: bool = False  # whether the function's memory is the driver's
    lets: Mapping[Var, Let] = field(default_factory=dict)  # the function's

    def function(self, fn: Fn, owner: bool = False) -> tuple[Block, bool]:
        """The body of a function, and whether it has need of a team."""
        before = self.names, self.owner, self.lets
        self.names, self.owner, self.lets = FreshNames(fn), owner, {s.var: s for s in walk(fn.body) if isinstance(s, Let)}
        body = self.block(fn.body, 0)
        self.names, self.owner, self.lets = before
        return body, any(TEAM in bases_of(s) for s in walk(body))

    def called(self, functions: Iterable[Fn]) -> tuple[Fn, ...]:
        """All functions, what is called before what calls it."""
        out: list[Fn] = []
        for f in functions:
            out.append(f)
            made = self.made.get(f.name)
            if made is not None:
                out.append(made)
        return tuple(out)

    def block(self, block: Block, depth: int) -> Block:
        out: list[Stmt] = []
        for s in block:
            if isinstance(s, For) and (depth == 0 or any(isinstance(x, For) for x in walk(s.body))):
                before, loop, after = _sums_apart(s, self.names) if self.owner and depth == 0 else ([], s, [])
                if independent(loop, _least(loop, self.lets)):
                    b = Builder(self.names, number=False)
                    work = _work(b, loop)
                    out += [*before, *b.stmts, replace(loop, team=(TEAM, work)), *after]
                    continue
            if isinstance(s, If):
                s = replace(s, then=self.block(s.then, depth), orelse=self.block(s.orelse, depth))
            elif isinstance(s, (For, While)):
                s = replace(s, body=self.block(s.body, depth + 1))
            elif isinstance(s, Call) and s.fn in self.known:
                made = self._made(self.known[s.fn])
                if made is not None:
                    s = replace(s, fn=made.name, args=(*s.args, TEAM), writes=(*s.writes, len(s.args)))
            out.append(s)
        return tuple(out)

    def _made(self, fn: Fn) -> Fn | None:
        if fn.name not in self.made:
            body, found = self.function(fn)
            self.made[fn.name] = Fn(f"{fn.name}{SUFFIX}", (*fn.params, TEAM), body, fn.results) if found else None
        return self.made[fn.name]


def _sums_apart(s: For, names: Names) -> tuple[list[Stmt], For, list[Stmt]]:
    """A loop whose carries are sums, with an array for the terms of each, and a loop that adds them; else the loop alone."""
    added = {x.var: x for x in s.body if isinstance(x, Let) and x.op == "add"}
    used = [a for x in walk(s.body) for a in atoms_of(x) if isinstance(a, Var)]
    terms: list[Atom] = []
    for (v, _), y in zip(s.carries, s.yields, strict=True):
        x = added.get(y)  # type: ignore[arg-type]
        if x is None or v not in x.args or used.count(v) != 1 or y in used:
            return [], s, []
        terms.append(x.args[1] if x.args[0] == v else x.args[0])
    if not terms or any(free_sums(s)) or not (isinstance(s.lo, Const) and s.step == ONE):
        return [], s, []
    bases = [Base(names.fresh("terms"), v.dt, 1, "local") for v, _ in s.carries]
    place = names.var("k", "i8")
    body = [x for x in s.body if not (isinstance(x, Let) and x.var in s.yields)]
    body.append(Let(place, "sub", (s.var, s.lo), s.line))
    body += [Store(b, (place,), t, wrap="never", line=s.line, part=s.part) for b, t in zip(bases, terms, strict=True)]
    loop = replace(s, carries=(), yields=(), results=(), body=tuple(body))
    k = names.var("k", "i8")
    loads = [Load(names.var("term", b.dt), b, (k,), "never", s.line, s.part) for b in bases]
    sums = [names.var(v.name, v.dt) for v, _ in s.carries]
    adds = [Let(y, "add", (v, x.var), s.line) for y, (v, _), x in zip(sums, s.carries, loads, strict=True)]
    after = For(k, ZERO, s.count, ONE, s.carries, (*loads, *adds), tuple(sums), s.results, line=s.line)  # in this order
    return [Alloc(b, (s.count,), line=s.line, part=s.part) for b in bases], loop, [after]


def _work(b: Builder, s: For) -> Atom:
    """About how many statements all iterations of a loop run, by what is known before it."""
    inside: dict[Var, Stmt] = {v: x for x in walk((s,)) for v in (*defined(x), *inner_defined(x))}

    def before(a: Atom) -> Atom | None:
        """A value that is computed in the loop, computed before it; None if it differs from one iteration to the next."""
        if isinstance(a, Const) or a not in inside:
            return a
        x = inside[a]
        if isinstance(x, Dim):
            return b.dim(x.base, x.axis)
        if not isinstance(x, Let) or x.op not in _SIMPLE:
            return None
        args = [before(arg) for arg in x.args]
        return None if None in args else b.op(x.op, *args)  # type: ignore[arg-type]

    def of(block: Block, own: Var) -> Atom:
        rows = {x.base for x in walk(block) if isinstance(x, Store) and own in x.index[:-1]}
        total: Atom = Const(1 + sum(isinstance(x, (Let, Load, Store, Call, If)) for x in block) + _ROW * len(rows), "i8")
        for x in block:
            if isinstance(x, If):
                inner = [of(x.then, own), of(x.orelse, own)]
            elif isinstance(x, For):
                inner = [b.op("mul", before(x.count) or _USUAL, of(x.body, x.var))]
            elif isinstance(x, While):
                inner = [b.op("mul", _USUAL, of(x.body, own))]
            else:
                continue
            for one in inner:
                total = b.op("add", total, one)
        return total

    return b.op("mul", s.count, of(s.body, s.var))


def _least(s: For, lets: Mapping[Var, Let]) -> int | None:
    """The least value of a loop's variable, if that is a literal."""

    def form(a: Atom) -> Form:
        if isinstance(a, Const):
            return {CONSTANT: int(a.value)}  # type: ignore[arg-type]
        x = lets.get(a)
        if x is not None and x.op in ("add", "sub"):
            one, two = map(form, x.args)
            return plus(one, two if x.op == "add" else times(-1, two))
        return {a: 1}

    if not (isinstance(s.step, Const) and s.step.value in (1, -1)):
        return None
    least = form(s.lo) if s.step.value == 1 else plus(form(s.lo), times(-1, form(s.count)), {CONSTANT: 1})
    return least.get(CONSTANT, 0) if set(least) <= {CONSTANT} else None


def independent(s: For, least: int | None) -> bool:
    """Whether no iteration of a loop, whose variable is ``least`` or more, touches what another one writes."""
    if s.carries or s.stop is not None or s.trips is not None:
        return False
    if any(isinstance(x, For) and (products(x) is not None or any(free_sums(x))) for x in walk((s,))):
        return False
    accesses: dict[Base, list[Load | Store]] = {}
    written: set[Base] = set()
    offsets = {s.var: 0}
    for inner in walk(s.body):
        if not isinstance(inner, _ALLOWED) or may_leave(inner):
            return False
        if isinstance(inner, Call) and any(bases_of(inner)):  # it writes arrays, or sums them in any order
            return False
        if isinstance(inner, (Load, Store)):
            accesses.setdefault(inner.base, []).append(inner)
            if isinstance(inner, Store):
                written.add(inner.base)
        elif isinstance(inner, Let):
            offset = _offset(inner, offsets)
            if offset is not None:
                offsets[inner.var] = offset
    return bool(written) and all(_apart(accesses[base], offsets, least) for base in written)


def _offset(s: Let, offsets: Mapping[Var, int]) -> int | None:
    """The literal by which an index differs from the loop's variable."""
    if s.op not in ("add", "sub") or s.var.dt != "i8":
        return None
    a, b = s.args
    if s.op == "add" and isinstance(a, Const):
        a, b = b, a
    if not (isinstance(a, Var) and a in offsets and isinstance(b, Const) and isinstance(b.value, int)):
        return None
    return offsets[a] + (b.value if s.op == "add" else -b.value)


def _apart(accesses: list[Load | Store], offsets: Mapping[Var, int], least: int | None) -> bool:
    """Whether along some axis all indices are the loop's variable, of which the ``least`` value may be known, and the same
    literal, and none counts from the end."""
    bound = all(access.wrap == "never" for access in accesses)
    for axis in range(accesses[0].base.rank):
        indices = [access.index[axis] for access in accesses]
        found = {offsets.get(a) if isinstance(a, Var) else None for a in indices}
        if len(found) == 1:
            (offset,) = found
            if offset is not None and (bound or (least is not None and least + offset >= 0)):
                return True
    return False
