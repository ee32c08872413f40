"""The tangent: from a function of the representation to one that computes it and its directional derivative together.

Every active scalar gets a second scalar ``<name>_dot``, every active base a second base of the same shape, carries and phis
are doubled, and each statement is followed by its linear form.  The form comes from the rules table alone, so that this pass
is the check of the table, and because arenas and cotangents are ordinary bases and values, the tangent of an adjoint is one
more run of it.

The parameters of ``f_dot`` are those of ``f``, followed by the tangents of the active ones in the same order; its results
those of ``f``, followed by the tangents of the active ones in the same order.  Active is what is named at the call, and what
receives an active value in the function: a base that is only written to (a result, an arena of floats) brings its tangent
too.  All statements of ``f`` become primal ones, a cotangent being just a number here; the new ones are linear.

There may be several tangents at once, *lanes*, along directions of their own: then everything has as many, and all tangents of
one lane come before those of the next.  What the lanes have in common is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import UnsupportedError
from . import ir, registry
from .build import Builder, Names, zero
from .ir import Atom, Base, Block, Const, Fn, Stmt, Var, is_float
from .lanes import LanesError
from .rules import OPS, apply_term

__all__ = ["FreshNames", "Tangent", "Tangents", "Written", "outs_of", "tangent", "written"]

Param = Var | Base


@dataclass(frozen=True)
class Tangent:
    """A tangent function; ``dots`` maps each active parameter to its tangent (``others`` to those of further lanes), ``results``
    lists the active results."""

    fn: Fn
    dots: dict[Param, Param]
    results: tuple[int, ...]
    others: tuple[dict[Param, Param], ...] = ()

    @property
    def lanes(self) -> tuple[dict[Param, Param], ...]:
        """The tangents of each lane."""
        return self.dots, *self.others


def tangent(fn: Fn, active: Collection[str], fns: Mapping[str, Fn] | None = None) -> Fn:
    """The tangent of ``fn`` with respect to the float parameters named in ``active``.

    It calls tangents of the functions that ``fn`` calls; :class:`Tangents` makes and keeps those as well.
    """
    return Tangents(fns or {}).of(fn, active).fn


@dataclass
class Tangents:
    """The tangents of a module: ``fns`` are its functions, ``made`` the tangents so far, by name.

    Those of custom functions are made by ``rules``, which know one lane (else LanesError).  A function has one tangent for every
    set of active parameters that occurs: ``f_dot``, ``f_dot2``, ... (or another suffix, where tangents of several modules meet in
    one).
    """

    fns: Mapping[str, Fn]
    suffix: str = "_dot"
    lanes: int = 1
    rules: Mapping[str, Callable[[Collection[str], str], Tangent]] = field(default_factory=dict)
    made: dict[str, Tangent] = field(default_factory=dict)
    found: dict[tuple[str, frozenset[str]], Tangent] = field(default_factory=dict)
    _active: dict[tuple[str, frozenset[str]], set[Param]] = field(default_factory=dict)

    def of(self, fn: Fn, active: Collection[str]) -> Tangent:
        """The tangent of ``fn`` for a set of names of active parameters; a name that is no float parameter is an error."""
        unknown = {*active} - {p.name for p in fn.params if is_float(p.dt)}
        if unknown:
            raise ValueError(f"{fn.name} has no float parameter {', '.join(sorted(unknown))}")
        key = fn.name, frozenset(active)
        if key not in self.found:
            if fn.name in self.rules:
                if self.lanes > 1:
                    raise LanesError(f"{fn.name} has a tangent of its own")
                made = self.rules[fn.name](active, self._name(fn))
            else:
                made = _Pass(self, fn, self.activity(fn, key[1])).run(self._name(fn))
            self.found[key] = self.made[made.fn.name] = made
        return self.found[key]

    def activity(self, fn: Fn, active: frozenset[str]) -> set[Param]:
        """The variables and bases of ``fn`` that may have a tangent other than 0."""
        key = fn.name, active
        if key not in self._active:
            found: set[Param] = {p for p in fn.params if p.name in active}
            if found and fn.name in self.rules:
                found.update(outs_of(fn))
            size = -1
            while size != len(found):  # carries, and memory that is stored to late and loaded early, take another round
                size = len(found)
                for s in ir.walk(fn.body):
                    self._spread(s, found)
            self._active[key] = found
        return self._active[key]

    def callee(self, s: ir.Call) -> Fn:
        if s.fn not in self.fns:
            raise KeyError(f"the tangent of a call of {s.fn} needs that function")
        return self.fns[s.fn]

    def passed(self, s: ir.Call, active: Collection[Param]) -> frozenset[str]:
        """The parameters of the callee that receive an active argument."""
        return frozenset(p.name for p, a in zip(self.callee(s).params, s.args) if a in active)

    def _name(self, fn: Fn) -> str:
        name, k = f"{fn.name}{self.suffix}", 1
        while name in self.made or name in self.fns:
            k += 1
            name = f"{fn.name}{self.suffix}{k}"
        return name

    def _spread(self, s: Stmt, found: set[Param]) -> None:
        """Add what a statement makes active."""
        if isinstance(s, ir.Let):
            if is_float(s.var.dt) and any(a in found and OPS[s.op].term(k) is not None for k, a in enumerate(s.args)):
                found.add(s.var)
        elif isinstance(s, ir.Load):
            if s.base in found:
                found.add(s.var)
        elif isinstance(s, ir.Store):
            if s.value in found:
                found.add(s.base)
        elif isinstance(s, ir.Each):
            found.update(v for v, init, terms in s.sums if not found.isdisjoint((init, *terms)))
        elif isinstance(s, ir.If):
            found.update(v for v, a, b in s.phis if a in found or b in found)
        elif isinstance(s, (ir.For, ir.While)):
            for (v, a), y, r in zip(s.carries, s.yields, s.results):
                if not found.isdisjoint((v, a, y)):
                    found.update((v, r))
        elif isinstance(s, ir.Foreign):
            if not found.isdisjoint((*ir.atoms_of(s), *ir.read_by(s))):
                found.update(v for _, v in s.results if is_float(v.dt))
                found.update(b for _, b in s.outs if is_float(b.dt))
        elif isinstance(s, ir.Call):
            callee = self.callee(s)
            inner = self.activity(callee, self.passed(s, found))
            found.update(a for p, a in zip(callee.params, s.args) if isinstance(a, Base) and p in inner)
            found.update(v for r, v in zip(callee.results, s.results) if r in inner)


@dataclass(frozen=True)
class Written:
    """Statements with their tangents; ``values`` and ``memory`` are the tangents of what is active."""

    block: Block
    values: Mapping[Var, Atom]
    memory: Mapping[Base, Base]


def written(module: Tangents, fn: Fn, names: FreshNames) -> Written:
    """The statements of ``fn``, whose parameters are all active, followed by their tangents, among statements of others:
    what is new has ``names``."""
    made = _Pass(module, fn, module.activity(fn, frozenset(p.name for p in fn.params)), names)
    made.run(fn.name)
    return Written(tuple(made.stmts), made.values[0], made.memory[0])


class _Pass(Builder):
    """Writes the tangent of one function."""

    names: FreshNames

    def __init__(self, module: Tangents, fn: Fn, active: set[Param], names: FreshNames | None = None) -> None:
        super().__init__(names or FreshNames(fn))
        self.module, self.fn, self.active = module, fn, active
        self.lanes = range(module.lanes)
        self.values: list[dict[Var, Atom]] = [{} for _ in self.lanes]  # the tangents that are not known to be 0
        self.memory: list[dict[Base, Base]] = [{} for _ in self.lanes]
        self.linear: set[Atom] = set()
        self.root: str | None = None  # of the tangent that is being computed

    def run(self, name: str) -> Tangent:
        dots: list[dict[Param, Param]] = [{} for _ in self.lanes]
        for lane in self.lanes:
            for p in self.fn.params:
                if p in self.active:
                    dots[lane][p] = self.shadow(p, lane) if isinstance(p, Base) else self.double(p, lane)
        self.block_of(self.fn.body)
        results = tuple(k for k, r in enumerate(self.fn.results) if r in self.active)
        values = (*self.fn.results, *(self.dot_or_zero(self.fn.results[k], lane) for lane in self.lanes for k in results))
        params = (*self.fn.params, *(p for own in dots for p in own.values()))
        return Tangent(Fn(name, params, tuple(self.stmts), values), dots[0], results, tuple(dots[1:]))

    # ------------------------------------------------------------------------------------------------------- tangents
    def dot(self, a: Atom, lane: int) -> Atom | None:
        """The tangent of a value, None for 0."""
        return self.values[lane].get(a) if isinstance(a, Var) else None

    def dot_or_zero(self, a: Atom, lane: int) -> Atom:
        return self.dot(a, lane) or zero(a.dt)

    def double(self, v: Var, lane: int) -> Var:
        """A new variable as the tangent of ``v``."""
        var = Var(self.names.fresh_dot(v), v.dt)
        self.values[lane][v] = var
        self.linear.add(var)
        return var

    def shadow(self, base: Base, lane: int) -> Base:
        """The memory of the tangent of ``base``."""
        memory = self.memory[lane]
        if base not in memory:
            role = "arena" if base.role == "arena" else "shadow"
            memory[base] = Base(self.names.fresh_dot(base), base.dt, base.rank, role)
        return memory[base]

    def op(self, op: str, *args: Atom, root: str | None = None, dt: str | None = None) -> Atom:
        """A statement is linear if it acts on a tangent; the others compute coefficients."""
        linear = any(a in self.linear for a in args)
        self.part = "linear" if linear else "primal"
        result = super().op(op, *args, root=self.root if linear else root, dt=dt)
        if linear and isinstance(result, Var):
            self.linear.add(result)
        return result

    # ----------------------------------------------------------------------------------------------------- statements
    def block_of(self, block: Block) -> None:
        for s in block:
            self.line = s.line
            changes = {"free": True} if isinstance(s, ir.Store) and s.part == "linear" else {}
            getattr(self, f"do_{type(s).__name__}")(replace(s, part="primal", **changes))

    def same(self, s: Stmt) -> None:
        """Nothing of these statements varies."""
        self.add(s)

    do_Dim = do_Raise = same

    def do_Let(self, s: ir.Let) -> None:
        self.add(s)
        if s.var not in self.active:
            return
        self.root = f"{s.var.name.split('.')[0]}_dot"
        for lane in self.lanes:
            total: Atom | None = None
            for k, a in enumerate(s.args):
                t = self.dot(a, lane)
                if t is None or OPS[s.op].term(k) is None:
                    continue
                part = apply_term(self.op, s.op, k, t, s.args, s.var)
                if not _is_zero(part):
                    total = part if total is None else self.op("add", total, part)
            if total is not None:
                self.values[lane][s.var] = self.cast(total, s.var.dt)

    def do_Load(self, s: ir.Load) -> None:
        self.add(s)
        if s.base in self.active:
            for lane in self.lanes:
                self.add(replace(s, var=self.double(s.var, lane), base=self.shadow(s.base, lane), part="linear"))

    def do_Store(self, s: ir.Store) -> None:
        self.add(s)
        for lane in self.lanes:
            t = self.dot(s.value, lane)
            if s.base in self.active and (s.mode == "set" or t is not None):
                self.add(replace(s, base=self.shadow(s.base, lane), value=t or zero(s.base.dt), part="linear"))

    def do_Alloc(self, s: ir.Alloc) -> None:
        self.add(s)
        if s.base in self.active:
            for lane in self.lanes:
                self.add(replace(s, base=self.shadow(s.base, lane), fill="zero", part="linear"))

    def do_Need(self, s: ir.Need) -> None:
        self.add(s)
        if s.base in self.active:
            for lane in self.lanes:
                self.add(replace(s, base=self.shadow(s.base, lane)))

    def do_Call(self, s: ir.Call) -> None:
        passed = self.module.passed(s, self.active)
        if not passed or (s.fn in self.module.rules and not outs_of(self.module.callee(s))):
            self.add(s)
            return
        made = self.module.of(self.module.callee(s), passed)
        given = dict(zip(self.module.callee(s).params, s.args))
        args = [
            self.shadow(a, lane) if isinstance(a, Base) else self.dot_or_zero(a, lane)
            for lane in self.lanes for a in (given[p] for p in made.dots)
        ]  # fmt: skip
        results = [self.double(s.results[k], lane) for lane in self.lanes for k in made.results]
        effect = ir.effects(made.fn.params, made.fn.body)
        self.add(ir.Call(made.fn.name, (*s.args, *args), (*s.results, *results), s.line, s.part, *effect))

    def do_Foreign(self, s: ir.Foreign) -> None:
        if not self.active.isdisjoint((*ir.atoms_of(s), *ir.read_by(s))):
            name = registry.registered(s.key).name
            raise UnsupportedError(f"{name} is compiled as it is, and has no derivative: a rule in the accepted language has one")
        self.add(s)

    def do_Each(self, s: ir.Each) -> None:
        with self.block() as body:
            self.block_of(s.body)
            with self.block() as stores:
                self.block_of(s.stores)
        sums = list(s.sums)
        for v, init, terms in s.sums:
            if v in self.active:
                for lane in self.lanes:
                    dots = tuple(t for t in (self.dot(term, lane) for term in terms) if t is not None)
                    sums.append((self.double(v, lane), self.dot_or_zero(init, lane), dots))
        self.add(replace(s, body=tuple(body), stores=tuple(stores), sums=tuple(sums)))  # type: ignore[arg-type]

    def do_If(self, s: ir.If) -> None:
        sides = []
        for block in (s.then, s.orelse):
            with self.block() as stmts:
                self.block_of(block)
            sides.append(tuple(stmts))
        phis = [(self.dot(a, lane), self.dot(b, lane), v, lane) for lane in self.lanes for v, a, b in s.phis]
        doubled = [
            (self.double(v, lane), a or zero(v.dt), b or zero(v.dt)) for a, b, v, lane in phis if a is not None or b is not None
        ]
        self.add(replace(s, then=sides[0], orelse=sides[1], phis=(*s.phis, *doubled)))

    def do_For(self, s: ir.For) -> None:
        where, carries = self.carried(s)
        with self.block(loop=True) as body:
            self.block_of(s.body)
        yields = [self.dot_or_zero(s.yields[k], lane) for lane in self.lanes for k in where]
        self.add(
            replace(s, carries=carries, body=tuple(body), yields=(*s.yields, *yields), results=self.leaving(s.results, where))
        )

    def do_While(self, s: ir.While) -> None:
        where, carries = self.carried(s)
        with self.block(loop=True) as head:
            self.block_of(s.head)
            with self.block() as body:  # sees what the head defines
                self.block_of(s.body)
        yields = (*s.yields, *(self.dot_or_zero(s.yields[k], lane) for lane in self.lanes for k in where))
        results = self.leaving(s.results, where)
        self.add(replace(s, carries=carries, head=tuple(head), body=tuple(body), yields=yields, results=results))

    def carried(self, s: ir.For | ir.While) -> tuple[list[int], tuple[tuple[Var, Atom], ...]]:
        """The active carries of a loop, and all of its carries with their tangents."""
        where = [k for k, (v, _) in enumerate(s.carries) if v in self.active]
        starts = [(k, lane, self.dot_or_zero(s.carries[k][1], lane)) for lane in self.lanes for k in where]
        return where, (*s.carries, *((self.double(s.carries[k][0], lane), a) for k, lane, a in starts))

    def leaving(self, results: Sequence[Var], where: list[int]) -> tuple[Var, ...]:
        return (*results, *(self.double(results[k], lane) for lane in self.lanes for k in where))


def outs_of(fn: Fn) -> set[Param]:
    """What a custom function writes and returns that can have a derivative."""
    found = {p for p in fn.params if isinstance(p, Base) and p.role == "inout"} | {r for r in fn.results if isinstance(r, Var)}
    return {x for x in found if is_float(x.dt)}


class FreshNames(Names):
    """Names that a function does not use yet."""

    def __init__(self, fn: Fn) -> None:
        super().__init__()
        self.used = {p.name for p in fn.params}
        for s in ir.walk(fn.body):
            self.used.update(v.name for v in (*ir.defined(s), *ir.inner_defined(s)))
            self.used.update(b.name for b in ir.bases_of(s))

    def fresh(self, root: str) -> str:
        name = super().fresh(root)
        while name in self.used:
            name = super().fresh(root)
        self.used.add(name)
        return name

    def fresh_dot(self, x: Param) -> str:
        """``x_dot`` for x, ``x_dot.3`` for x.3; both unless taken."""
        root, *counter = x.name.split(".")
        name = ".".join([f"{root}_dot", *counter])
        if name in self.used:
            return self.fresh(f"{root}_dot")
        self.used.add(name)
        return name


def _is_zero(a: Atom) -> bool:
    return isinstance(a, Const) and a.value == 0
