"""Making statements: fresh names, constant folding, value numbering.  Used by every pass that writes IR."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import rules
from .ir import Atom, Base, Const, Dim, If, Let, Load, Stmt, Store, Var, is_float, walk, written_by

__all__ = ["Builder", "Names", "apart", "const", "same", "zero"]


def const(value: float | int | bool, dt: str) -> Const:
    """A literal of the given dtype."""
    if is_float(dt):
        return Const(complex(value) if dt.startswith("c") else float(value), dt)
    return Const(bool(value) if dt == "b1" else int(value), dt)


def zero(dt: str) -> Const:
    return const(0, dt)


def same(a: Atom, b: Atom) -> bool:
    """Whether two atoms are the same value, bit for bit (0.0 and -0.0 are not)."""
    return a == b and (isinstance(a, Var) or repr(a) == repr(b))


def apart(one: tuple[Atom, ...], two: tuple[Atom, ...]) -> bool:
    """Whether two indices are never one cell: along some axis they are two literals, counted from the same end."""
    return any(
        isinstance(a, Const) and isinstance(b, Const) and a.value != b.value and (a.value >= 0) == (b.value >= 0)  # type: ignore[operator]
        for a, b in zip(one, two, strict=True)
    )


class Names:
    """Unique names ``<root>.<counter>``: deterministic, and readable because the root is the user's name."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def fresh(self, root: str) -> str:
        root = root.split(".")[0]
        k = self._next.get(root, 0)
        self._next[root] = k + 1
        return f"{root}.{k}"

    def var(self, root: str, dt: str) -> Var:
        return Var(self.fresh(root), dt)

    def copy(self) -> Names:
        """Another counter that goes on from here."""
        names = Names()
        names._next = dict(self._next)
        return names

    def state(self) -> dict[str, int]:
        """The numbers that come next."""
        return dict(self._next)

    def restart(self, earlier: Names) -> None:
        """Go on from where a copy was made: what was named since is given up."""
        self._next = dict(earlier._next)


@dataclass
class _Scope:
    stmts: list[Stmt] = field(default_factory=list)
    lets: dict[tuple[object, ...], Var] = field(default_factory=dict)
    loads: dict[Base, dict[tuple[Atom, ...], Atom]] = field(default_factory=dict)
    barrier: bool = False  # loads known outside are not known here (a loop body, which may store)


_FOLD = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "land": lambda a, b: a and b,
    "lor": lambda a, b: a or b,
    "lnot": lambda a: not a,
}
#: operations in which a literal int beside a float is that float64
_MIXED = frozenset({"add", "sub", "mul", "div", "lt", "le", "gt", "ge", "eq", "ne", "min2", "max2"})
_INT_FOLD = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min2": min, "max2": max}


class Builder:
    """Writes statements into a stack of blocks.

    Equal pure operations in the same or an enclosing block become one, and so do loads with no store between them that
    could touch their base.
    """

    def __init__(self, names: Names, part: str = "primal", number: bool = True) -> None:
        self.names = names
        self.part = part
        self.line = 0
        self.number = number
        self.scopes: list[_Scope] = [_Scope()]

    # ------------------------------------------------------------------------------------------------------- blocks
    @contextmanager
    def block(self, *, loop: bool = False) -> Iterator[list[Stmt]]:
        """Statements written inside the ``with`` go to the list that it yields."""
        scope = _Scope(barrier=loop)
        self.scopes.append(scope)
        try:
            yield scope.stmts
        finally:
            self.scopes.pop()
            self._invalidate(scope.stmts)

    @contextmanager
    def into(self, stmts: list[Stmt]) -> Iterator[None]:
        """Write at the end of a block that was closed before."""
        self.scopes.append(_Scope(stmts, barrier=True))
        try:
            yield
        finally:
            self.scopes.pop()

    def _invalidate(self, stmts: list[Stmt]) -> None:
        for s in walk(tuple(stmts)):
            for base in written_by(s):
                self._forget(base)

    def _forget(self, base: Base, index: tuple[Atom, ...] | None = None) -> None:
        """Forget what is known of a base's cells: of those that an index may be, or of all."""
        for scope in self.scopes:
            if index is None:
                scope.loads.pop(base, None)
            elif base in scope.loads:
                known = scope.loads[base]
                for key in [k for k in known if not apart(k, index)]:
                    del known[key]

    def add(self, s: Stmt) -> None:
        """Append a statement as it is."""
        self.scopes[-1].stmts.append(s)
        if not isinstance(s, (Let, Load, Dim)):
            self._invalidate([s])

    @property
    def stmts(self) -> list[Stmt]:
        return self.scopes[-1].stmts

    # ---------------------------------------------------------------------------------------------------- operations
    def op(self, op: str, *args: Atom, root: str | None = None, dt: str | None = None) -> Atom:
        """``op(args)``: folded, shared with an equal earlier one, or a new Let named after ``root``."""
        return self.let(op, args, root, dt)

    def let(
        self, op: str, args: tuple[Atom, ...], root: str | None = None, dt: str | None = None, var: Var | None = None
    ) -> Atom:
        """The same; a new Let defines ``var`` if it is given."""
        if op in _MIXED and any(is_float(a.dt) for a in args):  # literal ints beside floats: Numba would convert them at run time
            args = tuple(const(a.value, "f8") if isinstance(a, Const) and a.dt == "i8" else a for a in args)  # type: ignore[arg-type]
        folded = self._fold(op, args)
        if folded is not None:
            return folded
        dt = dt or rules.result_dtype(op, tuple(a.dt for a in args))
        key = (
            op,
            dt,
            *((type(a), a, math.copysign(1.0, a.value)) if isinstance(a, Const) and is_float(a.dt) else a for a in args),
        )
        if self.number:
            for scope in reversed(self.scopes):
                if key in scope.lets:
                    return scope.lets[key]
        var = var or self.names.var(root or "t", dt)
        self.scopes[-1].stmts.append(Let(var, op, args, self.line, self.part))
        self.scopes[-1].lets[key] = var
        return var

    def _fold(self, op: str, args: tuple[Atom, ...]) -> Atom | None:
        if op == "copy":
            return args[0]
        if op == "select" and isinstance(args[0], Const) and args[1].dt == args[2].dt:
            return args[1] if args[0].value else args[2]
        if not all(isinstance(a, Const) for a in args):
            return self._simplify(op, args)
        values = [a.value for a in args]  # type: ignore[union-attr]
        if any(isinstance(v, complex) for v in values):
            return None
        exact = {a.dt for a in args} <= {"i8", "b1", "f8"}
        if exact and op in _FOLD:
            result = _FOLD[op](*values)
        elif exact and op in _INT_FOLD and {a.dt for a in args} == {"i8"} and not (op in ("floordiv", "mod") and values[1] == 0):
            result = _INT_FOLD[op](*values)
        elif exact and op == "div" and values[1] != 0:
            result = values[0] / values[1]
        else:
            return None
        dt = rules.result_dtype(op, tuple(a.dt for a in args))
        if isinstance(result, float) and not math.isfinite(result) or dt == "i8" and not -(2**63) <= result < 2**63:
            return None
        return const(result, dt)

    def _simplify(self, op: str, args: tuple[Atom, ...]) -> Atom | None:
        """Identities that hold bit for bit, and in linear code those that hold up to the sign of zero."""
        if len(args) != 2 or args[0].dt != args[1].dt:
            return None
        a, b = args
        av = a.value if isinstance(a, Const) else None
        bv = b.value if isinstance(b, Const) else None
        if op == "mul" and bv == 1:
            return a
        if op == "mul" and 0 in (av, bv) and a.dt == "i8":
            return const(0, "i8")
        if op == "mul" and av == 1:
            return b
        if op == "div" and bv == 1 and is_float(a.dt):
            return a
        if op in ("add", "sub") and bv == 0 and (not is_float(a.dt) or self.part == "linear"):
            return a
        if op == "add" and av == 0 and (not is_float(a.dt) or self.part == "linear"):
            return b
        if op == "land":
            return (b if av else a) if av is not None else ((a if bv else b) if bv is not None else None)
        if op == "lor":
            return (a if av else b) if av is not None else ((b if bv else a) if bv is not None else None)
        return None

    def cast(self, a: Atom, dt: str, root: str | None = None) -> Atom:
        """``a`` as dtype ``dt``; literals are converted at once."""
        if a.dt == dt:
            return a
        if isinstance(a, Const) and not isinstance(a.value, complex) and dt not in ("f4", "c8", "i4"):
            if dt == "b1" or is_float(dt) or isinstance(a.value, (int, bool)):
                return const(a.value, dt)
        return self.op("cast", a, root=root or (a.name if isinstance(a, Var) else "t"), dt=dt)

    def dim(self, base: Base, axis: int, var: Var | None = None) -> Atom:
        key = ("dim", base, axis)
        for scope in reversed(self.scopes):
            if key in scope.lets:
                return scope.lets[key]
        var = var or self.names.var(f"{base.name.split('.')[0]}_n{axis}", "i8")
        self.scopes[-1].stmts.append(Dim(var, base, axis, self.line))
        self.scopes[-1].lets[key] = var
        return var

    # -------------------------------------------------------------------------------------------------------- memory
    def load(
        self, base: Base, index: tuple[Atom, ...], root: str | None = None, wrap: str = "maybe", var: Var | None = None
    ) -> Atom:
        if self.number:
            for scope in reversed(self.scopes):
                known = scope.loads.get(base)
                if known is not None and index in known:
                    return known[index]
                if scope.barrier:
                    break
        var = var or self.names.var(root or f"{base.name.split('.')[0]}_", base.dt)
        self.scopes[-1].stmts.append(Load(var, base, index, wrap, self.line, self.part))
        self.scopes[-1].loads.setdefault(base, {})[index] = var
        return var

    def store(
        self, base: Base, index: tuple[Atom, ...], value: Atom, mode: str = "set", wrap: str = "maybe", free: bool = False
    ) -> None:
        value = self.cast(value, base.dt)
        self._forget(base, index)
        self.scopes[-1].stmts.append(Store(base, index, value, mode, wrap, self.line, self.part, free))
        if mode == "set":
            self.scopes[-1].loads.setdefault(base, {})[index] = value

    def phi(self, test: Atom, then: list[Stmt], orelse: list[Stmt], pairs: list[tuple[str, Atom, Atom]]) -> list[Atom]:
        """Close an If; returns the merged values (a pair of equal atoms needs no phi)."""
        merged: list[Atom] = []
        phis: list[tuple[Var, Atom, Atom]] = []
        for root, a, b in pairs:
            if same(a, b):
                merged.append(a)
                continue
            var = self.names.var(root, a.dt)
            phis.append((var, a, b))
            merged.append(var)
        if then or orelse or phis:
            self.add(If(test, tuple(then), tuple(orelse), tuple(phis), self.line, self.part))
        return merged
