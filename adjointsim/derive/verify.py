"""The rules that every program of the intermediate representation obeys; each pass is tested with them.

* types agree with the table of operations, and literals with their dtype;
* a variable is defined once, and only used where its definition is in sight;
* phis, carries and calls have equal lengths and dtypes; an index is as long as its base's rank and made of integers;
* nothing is stored to memory that is only read;
* **linear statements are linear**: a linear value (a cotangent or tangent) is scaled, added and moved, never multiplied by
  another one, and it decides nothing: not a branch, not an index, no primal value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NoReturn

from . import ir
from .ir import INTS, READ_ONLY, Atom, Base, Block, Const, Fn, Stmt, Var, is_float, show, walk
from .rules import FIXED, OPS, result_dtype

__all__ = ["IRError", "verify"]

_PURE = (ir.Let, ir.Dim, ir.Load, ir.If)


class IRError(AssertionError):
    """A program breaks a rule of the representation: the message names the function and prints the statement."""


def verify(fn: Fn, fns: Mapping[str, Fn] | None = None, *, linear: Collection[str] | None = None) -> None:
    """Raise :class:`IRError` unless ``fn`` is well formed; with the other functions ``fns`` of its module, calls as well.

    ``linear`` names the scalar parameters that are linear; without it those named ``<x>_bar`` and ``<x>_dot`` are.
    """
    _Structure(fn, fns or {}).check()
    names = _conventional(fn) if linear is None else linear
    _Linearity(fn, fns or {}, {p for p in fn.params if isinstance(p, Var) and p.name in names}).check()


def _conventional(fn: Fn) -> set[str]:
    return {p.name for p in fn.params if isinstance(p, Var) and _by_name(p)}


def _by_name(v: Var) -> bool:
    return is_float(v.dt) and v.name.split(".")[0].endswith(("_bar", "_dot"))


class _Checker:
    def __init__(self, fn: Fn, fns: Mapping[str, Fn]) -> None:
        self.fn, self.fns = fn, fns
        self.stmt: Stmt | None = None

    def fail(self, reason: str) -> NoReturn:
        where = show((self.stmt,)).splitlines()[0] if self.stmt is not None else show(self.fn).splitlines()[0]
        line = f" (line {self.stmt.line})" if self.stmt is not None and self.stmt.line else ""
        raise IRError(f"{self.fn.name}{line}: {reason}\n    {where}")

    def require(self, condition: bool, reason: str) -> None:
        if not condition:
            self.fail(reason)


# ------------------------------------------------------------------------------------------------- types and definitions
class _Structure(_Checker):
    """Everything but linearity, in one walk in program order."""

    def __init__(self, fn: Fn, fns: Mapping[str, Fn]) -> None:
        super().__init__(fn, fns)
        self.defined: dict[str, Var] = {}
        self.bases: dict[str, Base] = {}
        self.visible: set[str] = set()

    def check(self) -> None:
        for p in self.fn.params:
            if isinstance(p, Var):
                self.define(p)
            else:
                self.require(p.name not in self.bases, f"parameter {p} occurs twice")
                self.bases[p.name] = p
        self.block(self.fn.body)
        self.stmt = None
        for a in self.fn.results:
            self.use(a)

    # names
    def define(self, v: Var) -> None:
        self.require(v.name not in self.defined, f"{v} is defined twice")
        self.defined[v.name] = v
        self.visible.add(v.name)

    def use(self, a: Atom, *dts: str, what: str = "operand") -> None:
        """``a`` can be read here; with ``dts``, it has one of these dtypes."""
        if isinstance(a, Var):
            self.require(a.name in self.visible, f"{a} is used where it is not defined")
            self.require(self.defined[a.name] == a, f"{a} was defined as {self.defined[a.name].dt} and is used as {a.dt}")
        else:
            kind = bool if a.dt == "b1" else int if a.dt in INTS else complex if a.dt[0] == "c" else float
            self.require(type(a.value) is kind, f"the literal {a.value!r} is no {a.dt}")
        self.require(not dts or a.dt in dts, f"{what} {a} has dtype {a.dt}, expected {' or '.join(dts)}")

    def integer(self, a: Atom, what: str) -> None:
        self.use(a, *sorted(INTS), what=what)

    def base(self, b: Base) -> None:
        self.require(b.name in self.bases, f"{b} is neither a parameter nor allocated before")
        self.require(self.bases[b.name] == b, f"{b} was declared as {self.bases[b.name]!r} and is used as {b!r}")

    def access(self, s: ir.Load | ir.Store) -> None:
        self.base(s.base)
        self.require(len(s.index) == s.base.rank, f"{len(s.index)} indices for {s.base} of rank {s.base.rank}")
        self.require(s.wrap in ("maybe", "never"), f"wrap is {s.wrap!r}")
        for i in s.index:
            self.integer(i, "index")

    # statements
    def block(self, block: Block) -> None:
        for s in block:
            self.stmt = s
            self.require(s.part in ("primal", "linear"), f"part is {s.part!r}")
            getattr(self, f"do_{type(s).__name__}")(s)

    def scoped(self, block: Block, ends: Collection[Atom] = (), *, bound: Collection[Var] = ()) -> None:
        """A nested block: what it defines, and the variables ``bound`` at its head, end with it; ``ends`` are used last."""
        before, stmt = set(self.visible), self.stmt
        for v in bound:
            self.define(v)
        self.block(block)
        self.stmt = stmt
        for a in ends:
            self.use(a)
        self.visible = before

    def do_Let(self, s: ir.Let) -> None:
        self.require(s.op in OPS, f"there is no operation {s.op}")
        self.require(len(s.args) == len(OPS[s.op].params), f"{s.op} takes {len(OPS[s.op].params)} arguments")
        for a in s.args:
            self.use(a)
        place, only = FIXED.get(s.op, (0, ""))
        self.require(only != "i8" or isinstance(s.args[place], Const), f"argument {place} of {s.op} is not a literal")
        dts = tuple(a.dt for a in s.args)
        if s.op != "cast" and not any(dt[0] == "c" for dt in dts):  # complex numbers are not in the table
            try:
                dt = result_dtype(s.op, dts)
            except TypeError as reason:
                self.fail(str(reason))
            self.require(dt == s.var.dt, f"{s.op} of {', '.join(dts)} is {dt}, not {s.var.dt}")
        self.define(s.var)

    def do_Dim(self, s: ir.Dim) -> None:
        self.base(s.base)
        self.require(0 <= s.axis < s.base.rank, f"{s.base} has no axis {s.axis}")
        self.require(s.var.dt == "i8", "a dimension is an i8")
        self.define(s.var)

    def do_Load(self, s: ir.Load) -> None:
        self.access(s)
        self.require(s.var.dt == s.base.dt, f"{s.var.dt} loaded from {s.base} of {s.base.dt}")
        self.define(s.var)

    def do_Store(self, s: ir.Store) -> None:
        self.access(s)
        self.use(s.value, s.base.dt, what="value")
        self.require(s.base.role not in READ_ONLY, f"a store to {s.base}, which has role {s.base.role}")
        self.require(s.mode in ("set", "add"), f"mode is {s.mode!r}")

    def do_Alloc(self, s: ir.Alloc) -> None:
        self.require(len(s.dims) == s.base.rank, f"{len(s.dims)} dimensions for {s.base} of rank {s.base.rank}")
        for d in s.dims:
            self.integer(d, "dimension")
        self.require(s.fill in ("none", "zero", "one"), f"fill is {s.fill!r}")
        self.require(self.bases.setdefault(s.base.name, s.base) == s.base, f"{s.base} is declared twice, differently")

    def do_Each(self, s: ir.Each) -> None:
        self.require(s.order in ("any", "seq"), f"order is {s.order!r}")
        for _, lo, count in s.axes:
            self.integer(lo, "lo")
            self.integer(count, "count")
        for v, init, _ in s.sums:
            self.require(is_float(v.dt), f"{v} is a sum of floats")
            self.use(init, v.dt, what="the initial value of a sum")
        self.pure(s.body, "the body of an each")
        self.require(all(isinstance(st, ir.Store) for st in s.stores), "an each stores only by Store")
        for v, _, _ in s.axes:
            self.require(v.dt == "i8", "an axis is an i8")
        self.scoped((*s.body, *s.stores), [t for _, _, terms in s.sums for t in terms], bound=[v for v, _, _ in s.axes])
        for v, _, terms in s.sums:
            self.require(all(t.dt == v.dt for t in terms), f"the terms of {v} are not all {v.dt}")
            self.define(v)

    def pure(self, block: Block, where: str) -> None:
        for s in block:
            self.require(isinstance(s, _PURE), f"{where} contains {type(s).__name__}")
            if isinstance(s, ir.If):
                self.pure((*s.then, *s.orelse), where)

    def do_Call(self, s: ir.Call) -> None:
        for a in s.args:
            if isinstance(a, Base):
                self.base(a)
            else:
                self.use(a)
        if s.fn in self.fns:
            callee = self.fns[s.fn]
            self.require(len(s.args) == len(callee.params), f"{s.fn} takes {len(callee.params)} arguments")
            self.require(len(s.results) == len(callee.results), f"{s.fn} has {len(callee.results)} results")
            for a, p in zip(s.args, callee.params):
                self.argument(a, p)
            for v, r in zip(s.results, callee.results):
                self.require(v.dt == r.dt, f"{v} is {v.dt}, the result of {s.fn} is {r.dt}")
            writes, leaves = ir.effects(callee.params, callee.body)
            more = [str(callee.params[k]) for k in writes if k not in s.writes]
            self.require(not more, f"{s.fn} writes {', '.join(more)}, which the call does not say")
            self.require(leaves == s.leaves, f"{s.fn} {'may' if leaves else 'cannot'} leave, which the call does not say")
        self.require(all(isinstance(s.args[k], Base) for k in s.writes), "a call writes memory only")
        for v in s.results:
            self.define(v)

    def do_Foreign(self, s: ir.Foreign) -> None:
        for a in ir.atoms_of(s):
            self.use(a)
        for b in ir.bases_of(s):
            self.base(b)
        read = set(ir.read_by(s))
        for b in ir.written_by(s):
            self.require(b.role not in READ_ONLY, f"foreign code writes {b}, which has role {b.role}")
            self.require(b not in read, f"foreign code reads and writes {b}")
        self.require([t for t in walk(self.fn.body) if isinstance(t, ir.Foreign)] == [s], "one foreign call a function")
        for _, v in s.results:
            self.define(v)

    def argument(self, a: Atom | Base, p: Var | Base) -> None:
        self.require(isinstance(a, Base) == isinstance(p, Base) and a.dt == p.dt, f"argument {a} for parameter {p} of {p.dt}")
        if isinstance(a, Base) and isinstance(p, Base):
            self.require(a.rank == p.rank, f"argument {a} of rank {a.rank} for parameter {p} of rank {p.rank}")
            written = p.role not in READ_ONLY and a.role in READ_ONLY
            self.require(not written, f"{a} has role {a.role} and is passed for {p}, which may be written")

    def do_If(self, s: ir.If) -> None:
        self.use(s.test, "b1", what="test")
        self.scoped(s.then, [a for _, a, _ in s.phis])
        self.scoped(s.orelse, [b for _, _, b in s.phis])
        for v, a, b in s.phis:
            self.require(v.dt == a.dt == b.dt, f"phi {v} of {v.dt} merges {a.dt} and {b.dt}")
            self.define(v)

    def carried(self, s: ir.For | ir.While) -> list[Var]:
        self.require(len(s.carries) == len(s.yields) == len(s.results), "carries, yields and results differ in number")
        for (v, a), y, r in zip(s.carries, s.yields, s.results):
            self.use(a)
            self.require(v.dt == a.dt == y.dt == r.dt, f"carry {v} of {v.dt}: starts as {a.dt}, yields {y.dt}, ends as {r.dt}")
        self.require(s.trips is None or s.trips.dt == "i8", "trips is an i8")
        return [v for v, _ in s.carries]

    def do_For(self, s: ir.For) -> None:
        for a, what in ((s.lo, "start"), (s.count, "count"), (s.step, "step")):
            self.integer(a, what)
        self.require(s.var.dt == "i8", "the index of a loop is an i8")
        self.require(s.stop is None or s.stop.dt == "b1", "stop is a b1")
        carries = self.carried(s)
        self.scoped(s.body, [*s.yields, *([s.stop] if s.stop is not None else [])], bound=[s.var, *carries])
        for v in (*s.results, *([s.trips] if s.trips is not None else [])):
            self.define(v)

    def do_While(self, s: ir.While) -> None:
        self.pure(s.head, "the head of a while")
        self.require(s.test.dt == "b1" and (s.stop is None or s.stop.dt == "b1"), "test and stop are b1")
        carries = self.carried(s)
        # the head runs before the body in every iteration, so the body sees what it defines; the test does not see the body
        before = set(self.visible)
        for v in carries:
            self.define(v)
        self.block(s.head)
        self.stmt = s
        self.use(s.test)
        self.scoped(s.body, [*s.yields, *([s.stop] if s.stop is not None else [])])
        self.visible = before
        for v in (*s.results, s.trips):
            self.define(v)

    def do_Raise(self, s: ir.Raise) -> None:
        self.require(s.site >= 0, "a negative site")

    def do_Need(self, s: ir.Need) -> None:
        self.base(s.base)
        self.require(s.base.rank == 1, f"need of {s.base}, which has rank {s.base.rank}")
        self.integer(s.size, "size")


# -------------------------------------------------------------------------------------------------------------- linearity
class _Linearity(_Checker):
    """Which values are linear, found by a fixpoint over the loops, and then whether each statement may have them.

    A value is linear if a linear statement computes it, or a phi, a carry or a call hands one on.  Memory is linear if a
    linear statement loads or stores it.
    """

    def __init__(self, fn: Fn, fns: Mapping[str, Fn], params: set[Var]) -> None:
        super().__init__(fn, fns)
        self.linear: set[Var] = set(params)
        self.memory = _linear_memory(fn, fns)
        self.nil = _zeros(fn.body)
        size = -1
        while size != len(self.linear):
            size = len(self.linear)
            for s in walk(fn.body):
                self.linear.update(self.outcome(s))

    def is_linear(self, a: Atom | Base) -> bool:
        return a in self.memory if isinstance(a, Base) else a in self.linear

    def outcome(self, s: Stmt) -> Iterator[Var]:
        """The linear values that a statement defines."""
        if isinstance(s, (ir.Let, ir.Load)):
            if s.part == "linear":
                yield s.var
        elif isinstance(s, ir.Call):
            yield from (v for v, hit in zip(s.results, self.call_results(s)) if hit)
        elif isinstance(s, ir.If):
            yield from (v for v, a, b in s.phis if self.is_linear(a) or self.is_linear(b))
        elif isinstance(s, ir.Each):
            yield from (v for v, init, terms in s.sums if any(map(self.is_linear, (init, *terms))))
        elif isinstance(s, (ir.For, ir.While)):
            for (v, a), y, r in zip(s.carries, s.yields, s.results):
                if self.is_linear(a) or self.is_linear(y) or self.is_linear(v):
                    yield from (v, r)

    def call_results(self, s: ir.Call) -> list[bool]:
        if s.fn not in self.fns or self.fns[s.fn] == self.fn:
            return [_by_name(v) for v in s.results]
        callee = self.fns[s.fn]
        if callee.rule:
            return [_by_name(v) for v in s.results]
        inner = _Linearity(callee, self.fns, self.passed(s))
        return [inner.is_linear(r) for r in callee.results]

    def passed(self, s: ir.Call) -> set[Var]:
        """The parameters of the callee that are linear in this call."""
        pairs = [(p, a) for p, a in zip(self.fns[s.fn].params, s.args) if isinstance(p, Var)]
        # (where cotangents are just numbers, in the tangent of an adjoint, calls are not linear and a zero may be either)
        kinds = ("_bar", "_dot") if s.part == "linear" else ("_dot",)
        return {p for p, a in pairs if self.is_linear(a) or (_is_zero(a) and p.name.split(".")[0].endswith(kinds))}  # type: ignore[arg-type]

    def check(self) -> None:
        for s in walk(self.fn.body) if not self.fn.rule else ():
            self.stmt = s
            self.statement(s)

    def statement(self, s: Stmt) -> None:
        decisive: list[Atom] = []
        if isinstance(s, ir.Let):
            if s.part == "linear":
                self.form(s)
            else:
                decisive = [*s.args]
        elif isinstance(s, (ir.Load, ir.Store)):
            decisive = [*s.index]
            self.require((s.base in self.memory) == (s.part == "linear"), f"{s.base} is linear memory and used as primal")
            if isinstance(s, ir.Store):
                if s.part == "linear":
                    self.require(self.fits(s.value), f"{s.value} is not linear")
                else:
                    decisive.append(s.value)
        elif isinstance(s, ir.Alloc):
            decisive = [*s.dims]
        elif isinstance(s, ir.Each):
            decisive = [a for _, lo, count in s.axes for a in (lo, count)]
            for v, init, terms in s.sums:
                for term in terms:
                    self.merged(v, init, term)
        elif isinstance(s, ir.If):
            decisive = [s.test]
            for v, a, b in s.phis:
                self.merged(v, a, b)
        elif isinstance(s, (ir.For, ir.While)):
            decisive = [s.test] if isinstance(s, ir.While) else [s.lo, s.count, s.step]
            decisive += [s.stop] if s.stop is not None else []
            for (v, a), y in zip(s.carries, s.yields):
                self.merged(v, a, y)
        elif isinstance(s, ir.Need):
            decisive = [s.size]
        elif isinstance(s, ir.Call) and s.fn in self.fns and self.fns[s.fn] != self.fn:
            _Linearity(self.fns[s.fn], self.fns, self.passed(s)).check()
        for a in decisive:
            self.require(not self.is_linear(a), f"the linear value {a} decides or enters a primal value")

    def fits(self, a: Atom) -> bool:
        """A linear value, or the zero that every linear map preserves."""
        return self.is_linear(a) or _is_zero(a) or a in self.nil

    def merged(self, v: Var, *atoms: Atom) -> None:
        if self.is_linear(v):
            for a in atoms:
                self.require(self.fits(a), f"{v} is linear, but {a} is not")

    def form(self, s: ir.Let) -> None:
        """The operation is linear in its linear arguments."""
        linear = [i for i, a in enumerate(s.args) if self.is_linear(a)]
        fit = [self.fits(a) for a in s.args]
        scaled = s.op in ("mul", "mulz") and any(fit)  # (a carried zero: nobody had to compute it)
        self.require(bool(linear) or all(fit) or scaled, "a linear statement of no linear value")
        if s.op in ("add", "sub", "neg", "pos", "copy", "cast"):
            self.require(all(fit), f"{s.op} of a linear value and one that is not")
        elif s.op == "select":
            self.require(0 not in linear and all(fit[1:]), "select chooses between linear values only")
        elif s.op == "div":
            self.require(1 not in linear, "a linear value divides")
        elif s.op in ("mul", "mulz"):
            self.require(len(linear) < 2, f"{s.op} of two linear values")
        else:
            self.fail(f"{s.op} is not linear")


def _linear_memory(fn: Fn, fns: Mapping[str, Fn]) -> set[Base]:
    """The bases that linear statements touch, of the function itself or of a function it calls."""
    found: set[Base] = set()
    for s in walk(fn.body):
        if isinstance(s, (ir.Load, ir.Store)) and s.part == "linear":
            found.add(s.base)
        elif isinstance(s, ir.Call) and s.fn in fns and fns[s.fn] != fn:
            inner = _linear_memory(fns[s.fn], fns)
            found.update(a for a, p in zip(s.args, fns[s.fn].params) if isinstance(a, Base) and p in inner)
    return found


def _is_zero(a: Atom) -> bool:
    return isinstance(a, Const) and a.value == 0


def _zeros(block: Block) -> set[Atom]:
    """Merged and carried values that can be nothing but 0."""
    sources: dict[Atom, list[Atom]] = {}
    for s in walk(block):
        if isinstance(s, ir.If):
            sources.update({v: [a, b] for v, a, b in s.phis})
        elif isinstance(s, (ir.For, ir.While)):
            for (v, a), y, r in zip(s.carries, s.yields, s.results):
                sources[v], sources[r] = [a, y], [a, y]
    found = set(sources)
    while wrong := {v for v in found if not all(a in found or _is_zero(a) for a in sources[v])}:
        found -= wrong
    return found
