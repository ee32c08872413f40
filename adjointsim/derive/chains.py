"""Shorter chains on the way back through a recurrence: coefficients are multiplied before the cotangent is there.

What one iteration gives to the next is linear in what it was given itself,

    w. = a * d. + b * c.;  t = w. * f;  c.' = z + t * g      becomes      c.' = (z + d. * (a * f * g)) + c. * (b * f * g)

and of that the next iteration waits for a product and a sum, instead of for all of them one after the other.  What else the body
makes of ``w.`` or ``t`` it makes as before, while the next iterations are on their way.  It rounds otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .build import Names
from .ir import Atom, Block, Dim, For, If, Let, Load, Stmt, Store, Var, While, atoms_of

__all__ = ["shorter_chains"]

_LATENCY = 4  # cycles of an addition or a multiplication
_AT_ONCE = 2  # of them begin in a cycle
_TAME = frozenset(["add", "sub", "mul", "neg", "div", "copy"])
_ITERATIONS = 32


def shorter_chains(block: Block, names: Names) -> Block:
    """A block of the way back with shorter chains, where these are what its loops wait for."""
    out: list[Stmt] = []
    for s in block:
        if isinstance(s, If):
            s = replace(s, then=shorter_chains(s.then, names), orelse=shorter_chains(s.orelse, names))
        elif isinstance(s, While):
            s = replace(s, body=shorter_chains(s.body, names))
        elif isinstance(s, For):
            s = replace(s, body=shorter_chains(s.body, names))
            if s.carries and s.stop is None and all(isinstance(x, (Let, Load, Store, Dim)) for x in s.body):
                s = _shorter(s, names)
        out.append(s)
    return tuple(out)


def _shorter(s: For, names: Names) -> For:
    before = names.copy()
    body = list(s.body)
    for (own, _), y in zip(s.carries, s.yields, strict=True):
        if _paths(body, own).get(y, 0) <= 2:  # a product and a sum
            continue
        more = _Loop(s, body, names).rewritten(own, y)
        if more is not None:
            at = next(k for k, x in enumerate(body) if isinstance(x, Let) and x.var == y)
            body[at : at + 1] = more
    found = replace(s, body=_alive(body, s.yields))
    if len(body) == len(s.body) or _cycles(found) >= _cycles(s):
        names.restart(before)
        return s
    return found


@dataclass(frozen=True)
class _Sum:
    """``base + sum of carry * coefficient``; None is nothing, and a coefficient of 1.  A product with a carry that is
    ``guarded`` is 0 where the carry is."""

    base: Atom | None
    terms: dict[Var, Atom | None]
    guarded: bool = False


class _NoSumError(Exception):
    """What is wanted is not linear, or too many terms."""


class _Loop:
    """A loop in which one yield is written as a sum."""

    def __init__(self, s: For, body: Sequence[Stmt], names: Names) -> None:
        self.names, self.made = names, {x.var: x for x in body if isinstance(x, Let)}
        self.carries = {v for v, _ in s.carries}
        self.late = _late(s, body)
        self.more: list[Stmt] = []
        self.known: dict[Var, _Sum] = {}
        self.line = s.line

    def rewritten(self, own: Var, y: Atom) -> list[Stmt] | None:
        """Statements for those that make ``y``, the last of which is the sum; None if it is none that rests on ``own``."""
        if not isinstance(y, Var) or y not in self.late or y not in self.made or y.dt not in ("f8", "f4"):
            return None
        self.line = self.made[y].line
        try:
            found = self.sum(y)
        except _NoSumError:
            return None
        if own not in found.terms:
            return None
        total = found.base
        for carry in [*(v for v in found.terms if v != own), own]:  # the chain itself comes in last
            coefficient = found.terms[carry]
            product: Atom = carry
            if coefficient is not None:
                product = self.let("mulz" if found.guarded else "mul", (carry, coefficient), "linear")
            total = product if total is None else self.let("add", (total, product), "linear")
        if not self.more or not isinstance(self.more[-1], Let) or total != self.more[-1].var:
            return None
        return [*self.more[:-1], replace(self.more[-1], var=y)]

    def let(self, op: str, args: tuple[Atom, ...], part: str) -> Var:
        root = next((a.name for a in args if isinstance(a, Var)), "t")
        var = self.names.var(root, args[0].dt)
        self.more.append(Let(var, op, args, self.line, part))
        return var

    def sum(self, v: Atom) -> _Sum:
        """A value as a sum."""
        if not isinstance(v, Var) or v not in self.late:
            return _Sum(v, {})
        if v not in self.known:
            self.known[v] = _Sum(None, {v: None}) if v in self.carries else self.of(self.made[v])
        return self.known[v]

    def of(self, s: Let) -> _Sum:
        """A statement that rests on a carry; ``args`` of one dtype."""
        if s.part != "linear" or any(a.dt != s.var.dt for a in s.args):
            raise _NoSumError
        if s.op == "copy":
            return self.sum(s.args[0])
        if s.op == "neg":
            return self.negative(self.sum(s.args[0]))
        if s.op in ("add", "sub"):
            one, two = map(self.sum, s.args)
            return self.together(one, two if s.op == "add" else self.negative(two))
        if s.op in ("mul", "mulz"):
            a, k = s.args
            if k in self.late and s.op == "mul":
                a, k = k, a
            if k in self.late:
                raise _NoSumError
            return self.scaled(self.sum(a), k, s.op)
        raise _NoSumError

    def negative(self, x: _Sum) -> _Sum:
        if None in x.terms.values():
            raise _NoSumError
        base = None if x.base is None else self.let("neg", (x.base,), "linear")
        return replace(x, base=base, terms={v: self.let("neg", (k,), "primal") for v, k in x.terms.items() if k is not None})

    def together(self, one: _Sum, two: _Sum) -> _Sum:
        base = one.base if two.base is None else two.base
        if one.base is not None and two.base is not None:
            base = self.let("add", (one.base, two.base), "linear")
        if one.terms.keys() & two.terms.keys() or len(one.terms) + len(two.terms) > 3:
            raise _NoSumError
        return _Sum(base, {**one.terms, **two.terms}, one.guarded or two.guarded)

    def scaled(self, x: _Sum, k: Atom, op: str) -> _Sum:
        """A sum times a coefficient.  One that may be infinite must meet a zero as a whole: parts of it need not be zero."""
        if op == "mulz" and len(x.terms) + (x.base is not None) > 1 and not self.tame(k):
            raise _NoSumError
        base = None if x.base is None else self.let(op, (x.base, k), "linear")
        terms = {v: k if c is None else self.let(op, (c, k), "primal") for v, c in x.terms.items()}
        return _Sum(base, terms, x.guarded or op == "mulz")

    def tame(self, k: Atom) -> bool:
        """Whether a coefficient is infinite only where the step itself has divided by zero."""
        made = self.made.get(k) if isinstance(k, Var) else None
        return made is None or (made.op in _TAME and all(map(self.tame, made.args)))


def _late(s: For, body: Iterable[Stmt]) -> set[Atom]:
    """What rests on what a loop carries."""
    late: set[Atom] = {v for v, _ in s.carries}
    for x in body:
        if isinstance(x, Let) and any(a in late for a in x.args):
            late.add(x.var)
    return late


def _alive(body: Sequence[Stmt], yields: Sequence[Atom]) -> Block:
    """Statements without those that nobody needs any more."""
    needed: set[Atom] = set(yields)
    out: list[Stmt] = []
    for x in reversed(body):
        if not isinstance(x, Let) or x.var in needed:
            out.append(x)
            needed.update(atoms_of(x))
    return tuple(reversed(out))


def _cycles(s: For) -> float:
    """What an iteration takes, about: the time that its chains take, or that its arithmetic takes."""
    carries = [v for v, _ in s.carries]
    count = sum(isinstance(x, Let) and x.var.dt in ("f8", "f4") for x in s.body)
    paths = [_paths(s.body, v) for v in carries]
    ready = [0.0] * len(carries)
    for _ in range(_ITERATIONS):
        ready = [max((t + p[y] for t, p in zip(ready, paths, strict=True) if y in p), default=0.0) for y in s.yields]
    return max(max(ready) / _ITERATIONS * _LATENCY, count / _AT_ONCE)


def _paths(body: Sequence[Stmt], carry: Var) -> dict[Atom, int]:
    """How many operations there are from a carry to what rests on it."""
    found: dict[Atom, int] = {carry: 0}
    for x in body:
        if isinstance(x, Let):
            before: Collection[int] = [found[a] for a in x.args if a in found]
            if before:
                found[x.var] = max(before) + (x.op not in ("neg", "copy"))
    return found
