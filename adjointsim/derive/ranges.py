"""Which indices cannot be negative: these need no test for Python's wraparound, which keeps loops from being vectorised.

A lower bound is a number, found from constants, lengths, loop bounds and integer arithmetic; what is not listed has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .ir import Atom, Base, Block, Call, Const, Dim, Each, Fn, For, If, Let, Load, Stmt, Store, Var, While

__all__ = ["mark_indices", "never_negative"]


class _Bounds:
    def __init__(self, nonnegative: set[Var]) -> None:
        self.low: dict[Var, int] = dict.fromkeys(nonnegative, 0)
        self.made: dict[Var, Let] = {}
        self.calls: list[tuple[str, list[bool]]] = []  # which arguments are integers that are not negative

    def of(self, a: Atom) -> int | None:
        if isinstance(a, Const):
            return int(a.value) if a.dt in ("i8", "i4", "u8") else None  # type: ignore[arg-type]
        return 0 if a.dt == "u8" else self.low.get(a)

    def let(self, s: Let) -> int | None:
        low = [self.of(a) for a in s.args]
        known = [x for x in low if x is not None]
        if s.op == "max2":
            return max(known) if known else None
        if s.op == "sub":  # (a + c) - c', and count - min(.., count): what a split loop's ends are made of
            found = self._difference(s)
            if found is not None:
                return found
        if s.op == "mod":  # the sign of the modulus; 0 for a modulus of 0
            return 0 if low[1] is not None and low[1] >= 0 else None
        if s.op == "sub" and isinstance(s.args[1], Const) and low[0] is not None:
            return low[0] - int(s.args[1].value)  # type: ignore[arg-type]
        if len(known) < len(low):
            if s.op == "select" and len(known) == 2 and low[0] is None:
                return min(known)
            return None
        if s.op == "add":
            return known[0] + known[1]
        if s.op == "mul" and min(known) >= 0:
            return known[0] * known[1]
        if s.op == "floordiv" and known[0] >= 0 and known[1] > 0:
            return 0
        if s.op == "min2":
            return min(known)
        if s.op in ("abs", "cast", "pos", "copy"):
            return known[0]
        return None

    def _difference(self, s: Let) -> int | None:
        made = self.made.get(s.args[1]) if isinstance(s.args[1], Var) else None  # type: ignore[arg-type]
        if made is not None and made.op == "min2" and s.args[0] in made.args:
            return 0
        return None

    def loop(self, s: For) -> int | None:
        """The least value of a loop's index."""
        if not isinstance(s.step, Const):
            return None
        if s.step.value > 0:  # type: ignore[operator]
            return self.of(s.lo)
        if s.step.value != -1:
            return None
        if isinstance(s.lo, Const) and isinstance(s.count, Const):
            return int(s.lo.value) - int(s.count.value) + 1  # type: ignore[arg-type]
        runs = self.made.get(s.count) if isinstance(s.count, Var) else None
        for a in runs.args if runs is not None and runs.op == "max2" else ():  # lo - end iterations: the last before end
            left = self.made.get(a) if isinstance(a, Var) and Const(0, "i8") in runs.args else None  # type: ignore[union-attr]
            if left is not None and left.op == "sub" and left.args[0] == s.lo:
                end = self.of(left.args[1])
                return None if end is None else end + 1
        # downwards from lo = first + (count - 1): the last value is first (the loops of the way back)
        made = self.made.get(s.lo) if isinstance(s.lo, Var) else None
        if made is not None:
            if made.op == "add":
                for a, b in (made.args, made.args[::-1]):
                    if self._one_less(b, s.count):
                        return self.of(a)
            if self._one_less(s.lo, s.count):
                return 0
        return None

    def _one_less(self, a: Atom, count: Atom) -> bool:
        made = self.made.get(a) if isinstance(a, Var) else None
        if isinstance(a, Const) and isinstance(count, Const):
            return a.value == count.value - 1  # type: ignore[operator]
        return made is not None and made.op == "sub" and made.args[0] == count and made.args[1] == Const(1, "i8")

    def block(self, block: Block) -> Block:
        return tuple(self.statement(s) for s in block)

    def _wrap(self, index: tuple[Atom, ...], wrap: str) -> str:
        return "never" if all((low := self.of(a)) is not None and low >= 0 for a in index) else wrap

    def statement(self, s: Stmt) -> Stmt:
        if isinstance(s, Let) and s.var.dt in ("i8", "i4", "u8"):
            self.made[s.var] = s
            low = self.let(s)
            if low is not None:
                self.low[s.var] = low
        elif isinstance(s, Dim):
            self.low[s.var] = 0
        elif isinstance(s, (Load, Store)):
            return replace(s, wrap=self._wrap(s.index, s.wrap))
        elif isinstance(s, If):
            s = replace(s, then=self.block(s.then), orelse=self.block(s.orelse))
            for v, a, b in s.phis:
                low = [self.of(a), self.of(b)]
                if None not in low:
                    self.low[v] = min(low)  # type: ignore[type-var]
        elif isinstance(s, For):
            low = self.loop(s)
            if low is not None:
                self.low[s.var] = low
            return replace(s, body=self.block(s.body))
        elif isinstance(s, Call):
            low = [None if isinstance(a, Base) else self.of(a) for a in s.args]
            self.calls.append((s.fn, [x is not None and x >= 0 for x in low]))
        elif isinstance(s, While):
            return replace(s, head=self.block(s.head), body=self.block(s.body))
        elif isinstance(s, Each):
            for v, lo, _ in s.axes:
                low = self.of(lo)
                if low is not None:
                    self.low[v] = low
            return replace(s, body=self.block(s.body), stores=self.block(s.stores))  # type: ignore[arg-type]
        return s


def mark_indices(body: Block, nonnegative: set[Var]) -> Block:
    """Mark loads and stores whose indices are never negative; ``nonnegative`` are parameters known to be so."""
    return _Bounds(nonnegative).block(body)


def never_negative(body: Block, nonnegative: set[Var], fns: Sequence[Fn]) -> dict[str, set[Var]]:
    """The parameters of functions that are never negative in any call from ``body`` or from one of them; what is called
    comes first in ``fns``."""
    found: dict[str, set[Var]] = {}
    bounds = _Bounds(nonnegative)
    bounds.block(body)
    calls = bounds.calls
    for fn in reversed(fns):
        sites = [on for name, on in calls if name == fn.name]
        found[fn.name] = {p for k, p in enumerate(fn.params) if isinstance(p, Var) and sites and all(on[k] for on in sites)}
        bounds = _Bounds(found[fn.name])
        bounds.block(fn.body)
        calls += bounds.calls
    return found
