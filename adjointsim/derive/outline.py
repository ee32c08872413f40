"""Helpers as functions of their own: a function that a step calls is lowered once for each kind of arguments.

A *kind* is everything about the arguments that lowering depends on: dtypes, ranks, which of them are the same array, and
what is known at derivation (functions, integer literals).  So the four calls of ``rhs`` in a Runge-Kutta step are four
calls of one function, which is derived, compiled and reversed once.

What does not fit is inlined, as if it stood in the caller: functions that make arrays or return them, and whatever cannot
be derived, which is then refused where inlined code is refused, in the same words.  Small functions without loops are
inlined for speed, and so is what makes the program hardly longer by that: what is called once, unless it is large, or a few
times and is short.
"""

from __future__ import annotations

import types
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import DerivationError
from .build import Names
from .context import NEVER, UNBOUND, RaiseSite, WrittenParameter
from .ir import (
    READ_ONLY,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Each,
    Fn,
    For,
    Let,
    Load,
    Store,
    Var,
    While,
    bases_of,
    effects,
    is_float,
    substitute,
    walk,
)  # fmt: skip
from .loops import overlaps
from .lower_loops import Loops
from .opaque import Opaque
from .source import Source, read
from .values import Listed, Maybe, Ref, Static, Tup, Value, atoms_in, rebuild, refs_in, shape_of

__all__ = ["Helper", "Helpers", "Misfit", "Outlining", "Parameters", "parts_of", "reachable"]

SMALL = 25  #: statements below which a function without loops is inlined wherever it is called
#: statements that inlining may add to a program; a pair of functions for the way back costs about as much to compile
GROWTH = 75
LARGE = 250  #: statements above which a function is one of its own even if it is called once


@dataclass(frozen=True)
class Helper:
    """A helper in the IR; its parameters are what its arguments are made of, then the captures that it reads."""

    fn: Fn
    value: Value  # what it returns, in its own names
    captures: tuple[Base, ...]  # the caller passes these for the last parameters
    sites: tuple[RaiseSite, ...]
    names: Names = field(repr=False)
    source: Source = field(repr=False)
    nonnegative: frozenset[Var] = frozenset()  # integer parameters that are so in every call

    @property
    def size(self) -> int:
        return sum(isinstance(s, (Let, Load, Store, Call)) for s in walk(self.fn.body))

    def root(self, result: Atom) -> str:
        """What a result is named after: the user's name for it, or the function's."""
        root = result.name.split(".")[0] if isinstance(result, Var) else "t"
        return root if root != "t" or not self.source.name.isidentifier() else self.source.name

    @property
    def loops(self) -> bool:
        return any(isinstance(s, (For, While, Each)) for s in walk(self.fn.body))


@dataclass
class Helpers:
    """The helpers of an entry function found so far; None for a kind that must be inlined.

    ``inlined`` are kinds to inline although they would fit: those that another lowering found to be not worth a function.
    """

    prefix: str
    inlined: frozenset[Hashable] = frozenset()
    found: dict[Hashable, Helper | None] = field(default_factory=dict)
    opaques: dict[Hashable, Opaque] = field(default_factory=dict)
    complex_seen: bool = False  # whether there are complex numbers anywhere
    _names: set[str] = field(default_factory=set)

    def name(self, fn: types.FunctionType) -> str:
        """A name for another function of the module, made of the user's."""
        root = fn.__name__ if fn.__name__.isidentifier() else "helper"
        want = f"{self.prefix}_{root}" + "_" * root.startswith("vjp")  # the kernels have these names
        name, k = want, 1
        while name in self._names:
            k += 1
            name = f"{want}_{k}"
        self._names.add(name)
        return name

    def used(self, body: Block) -> list[Helper]:
        """The helpers that a body calls, and those that these call; what is called comes first."""
        helpers = [h for h in self.found.values() if h is not None]
        names = {fn.name for fn in reachable(body, [h.fn for h in helpers])}
        return [h for h in helpers if h.fn.name in names]

    def used_opaques(self, body: Block) -> list[Opaque]:
        """The custom functions that a body calls, directly, through helpers, or through their rules."""
        by_name = {o.fn.name: o for o in self.opaques.values()}
        found: dict[str, Opaque] = {}
        todo = [body, *(h.fn.body for h in self.used(body))]
        while todo:
            for s in walk(todo.pop()):
                if isinstance(s, Call) and s.fn in by_name and s.fn not in found:
                    found[s.fn] = by_name[s.fn]
                    todo += [by_name[s.fn].fn.body, *(rule.fn.body for rule in by_name[s.fn].rules)]
        return [o for name, o in by_name.items() if name in found]

    def not_worth_it(self, body: Block) -> frozenset[Hashable]:
        """The kinds of helpers that are better inlined, as often as they are called."""
        used = self.used(body)
        calls = [s.fn for block in (body, *(h.fn.body for h in used)) for s in walk(block) if isinstance(s, Call)]
        short = {h.fn.name for h in used if (calls.count(h.fn.name) - 1) * h.size < GROWTH and h.size <= LARGE}
        return frozenset(kind for kind, h in self.found.items() if h is not None and h.fn.name in short)


def reachable(body: Block, fns: Iterable[Fn]) -> list[Fn]:
    """Of functions, those that a body calls, directly or through others, in the given order."""
    fns = list(fns)
    by_name = {fn.name: fn for fn in fns}
    names: set[str] = set()
    todo = [body]
    while todo:
        for s in walk(todo.pop()):
            if isinstance(s, Call) and s.fn in by_name and s.fn not in names:
                names.add(s.fn)
                todo.append(by_name[s.fn].body)
    return [fn for fn in fns if fn.name in names]


class Misfit(Exception):
    """A function cannot be one of its own."""


def parts_of(value: Value) -> Iterator[Atom | Base]:
    """The arguments that a value is passed as, repeated arrays included."""
    if isinstance(value, (Var, Const)):
        if isinstance(value, Var) or is_float(value.dt):
            yield value
    elif isinstance(value, Ref):
        yield value.base
        for a in atoms_in(value):
            yield from parts_of(a)
    elif isinstance(value, Tup):
        for item in value.items:
            yield from parts_of(item)


class Parameters:
    """Makes the parameters of a helper from its arguments; arrays in ``written`` (by number) may be written."""

    def __init__(self, names: Names, written: set[int]) -> None:
        self.names, self.written = names, written
        self.bases: dict[Base, Base] = {}  # the caller's -> the parameter
        self.vars: list[tuple[Atom, Var]] = []  # the caller's -> the parameter
        self.all: list[Var | Base] = []

    def of(self, value: Value, root: str) -> Value:
        if isinstance(value, (Var, Const)):
            if isinstance(value, Const) and not is_float(value.dt):
                return value
            var = self.names.var(root, value.dt)
            self.vars.append((value, var))
            self.all.append(var)
            return var
        if isinstance(value, Ref):
            if value.base not in self.bases:
                role = "inout" if len(self.bases) in self.written else "in"
                base = self.bases[value.base] = Base(self.names.fresh(root), value.base.dt, value.base.rank, role)
                self.all.append(base)
            atoms = [self.of(a, f"{root}_at") for a in atoms_in(value)]
            return rebuild(("array", self.bases[value.base], *shape_of(value)[2:]), iter(atoms))  # type: ignore[arg-type]
        if isinstance(value, Tup):
            fields = getattr(value.cls, "_fields", [root] * len(value.items))
            return Tup(tuple(self.of(item, name) for item, name in zip(value.items, fields, strict=True)), value.cls)
        return value


class Outlining(Loops):
    """Calls of functions of their own."""

    helpers: Helpers
    callers: tuple[types.FunctionType, ...] = ()  # functions whose helper this lowers

    def function(self, fn: types.FunctionType, args: dict[str, Value], node: Any = None) -> Value:
        raise NotImplementedError

    def alloc(self, root: str, dt: str, dims: tuple[Atom, ...], fill: str) -> Ref:
        if self.callers:
            raise Misfit  # memory belongs to the entry function
        return super().alloc(root, dt, dims, fill)

    def alone(self) -> None:
        if self.callers:
            raise Misfit

    def outlined(self, fn: types.FunctionType, args: dict[str, Value]) -> Value | None:
        """The value of a call of ``fn`` as a function of its own; None if it must be inlined."""
        if self.whole_program:
            return None
        if fn in self.callers:
            raise Misfit  # recursion: refused where inlined code comes back to the function
        args = {name: args[name] for name in fn.__code__.co_varnames if name in args}  # keywords come in any order
        try:
            kind = self._kind_of(fn, args)
        except Misfit:
            return None
        if kind in self.helpers.inlined:
            return None
        if kind not in self.helpers.found:
            self.helpers.found[kind] = self._helper(fn, args)
        helper = self.helpers.found[kind]
        return None if helper is None else self._called(helper, args)

    def _kind_of(self, fn: types.FunctionType, args: dict[str, Value]) -> Hashable:
        bases: dict[Base, int] = {}
        return (fn, tuple(self._kind(value, bases) for value in args.values()))

    def _kind(self, value: Value, bases: dict[Base, int]) -> Hashable:
        """What lowering depends on in an argument; ``bases`` numbers the arrays met so far."""
        if isinstance(value, (Var, Const)):
            known = isinstance(value, Const) and not is_float(value.dt)
            return (value.dt, repr(value.value) if known else None, value in self.singles)  # type: ignore[union-attr]
        if isinstance(value, Ref):
            base = value.base
            number = bases.setdefault(base, len(bases))
            atoms = tuple(self._kind(a, bases) for a in atoms_in(value))
            return (number, base.dt, base.rank, self.single_axes(base), shape_of(value)[2:], atoms)
        if isinstance(value, Tup):
            return (value.cls, tuple(self._kind(item, bases) for item in value.items))
        if isinstance(value, (Listed, Maybe)) or value.obj is NEVER or value.obj is UNBOUND:
            raise Misfit
        try:
            hash(value.obj)
        except TypeError:
            raise Misfit from None
        return (type(value.obj), value.obj)

    def _called(self, helper: Helper, args: dict[str, Value]) -> Value | None:
        given: list[Atom | Base] = []
        for part in (p for value in args.values() for p in parts_of(value)):
            if not (isinstance(part, Base) and part in given):
                given.append(part)
        given += helper.captures
        writes, leaves = effects(helper.fn.params, helper.fn.body)
        for k in writes:
            if given[k].role in READ_ONLY or self.partners.get(given[k]):  # type: ignore[union-attr, arg-type]
                return None  # inlined, it is refused at the line that writes, unless nobody can tell
        results = {r: self.names.var(helper.root(r), r.dt) for r in helper.fn.results if isinstance(r, Var)}
        self.b.add(Call(helper.fn.name, tuple(given), tuple(results.values()), self.b.line, "primal", writes, leaves))
        new: dict[Any, Any] = {**dict(zip(helper.fn.params, given, strict=True)), **results}
        return rebuild(shape_of(helper.value), iter([new.get(a, a) for a in atoms_in(helper.value)]))

    def _helper(self, fn: types.FunctionType, args: dict[str, Value]) -> Helper | None:
        """Lower a function for arguments of a kind; None if it does not fit, or is inlined because it is small."""
        written: set[int] = set()
        while True:
            child = type(self)(Names(), self.capture)
            child.helpers, child.outside, child.seen = self.helpers, self.outside, self.seen
            child.callers = (*self.callers, *(frame.source.fn for frame in self.frames))
            params = Parameters(child.names, written)
            try:
                source = read(fn)
                child.b.line = source.node.lineno
                given = {name: params.of(value, name) for name, value in args.items()}
                child.ones.update((own, self.single_axes(base)) for base, own in params.bases.items())
                child.singles.update(own for a, own in params.vars if a in self.singles)
                value = child.function(fn, given)
            except WrittenParameter as found:
                places = [k for k, base in enumerate(params.bases.values()) if base == found.base]
                if not places:
                    return None
                written.update(places)
                continue
            except (DerivationError, Misfit):
                return None
            break
        if any(True for _ in refs_in(value)) or (isinstance(value, Static) and value.obj is NEVER):
            return None
        if any(isinstance(s, Each) and overlaps(s) for s in walk(tuple(child.b.stmts))):
            return None  # what it reads and overwrites waits in memory, which belongs to the entry function
        helper = self._finished(child, value, params, source)
        if helper.size < SMALL and not helper.loops:
            return None
        return replace(helper, fn=replace(helper.fn, name=self.helpers.name(fn)))

    def _finished(self, child: Outlining, value: Value, params: Parameters, source: Source) -> Helper:
        body = tuple(child.b.stmts)
        captures = dict.fromkeys(b for s in walk(body) for b in bases_of(s) if b not in params.all)
        own = {b: Base(child.names.fresh(b.name), b.dt, b.rank, b.role) for b in captures}
        body = substitute(body, lambda a: a, lambda b: own.get(b, b))
        results = dict.fromkeys(a for a in atoms_in(value) if isinstance(a, Var) and a not in params.all)
        made = Fn(source.name, (*params.all, *own.values()), body, tuple(results))
        return Helper(made, value, tuple(captures), tuple(child.sites), child.names, source)
