"""``adj.jvp`` inside a step: the tangent of a function as statements of the caller's.

The function is lowered for its arguments as if it stood in the caller, but on parameters of its own in place of the arguments
that have tangents; the tangent pass doubles these statements; and what it wrote takes their place.  So the result is ordinary
code: it is reversed, doubled again and optimised like any other, and derivatives of any order need nothing more.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from .build import Names, zero
from .complexpairs import is_complex
from .context import WrittenParameter, with_sites
from .draws import DRAWS, draw
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Fn,
    Foreign,
    Let,
    Load,
    Stmt,
    Var,
    defined,
    inner_defined,
    is_float,
    substitute,
    walk,
    written_by,
)  # fmt: skip
from .opaque import Opaque, OpaqueCalls
from .source import plain_function
from .tangent import FreshNames, Tangents, written
from .values import Axis, Lazy, Ref, Static, Tup, Value, describe

__all__ = ["Forward"]

#: lowers a call, for values of its arguments
Lowered = Callable[[list[Value]], Value]


@dataclass
class _Arguments:
    """Parameters in place of the arguments that have tangents, with what they and their tangents stand for."""

    values: dict[Var, Atom] = field(default_factory=dict)
    memory: dict[Base, Base] = field(default_factory=dict)
    dots: dict[Var | Base, Atom | Base] = field(default_factory=dict)


class Forward(OpaqueCalls):
    """Tangents of calls."""

    whole_program = False  # everything is inlined

    def verb(self, name: str, node: ast.Call, root: str | None) -> Value:
        """The value of a call of one of the library's own functions."""
        if name in DRAWS:
            return draw(self, name, node, root)
        if name != "jvp":
            raise self.error(f"adj.{name} cannot be called in what is derived: adj.jvp can", node)
        return self._jvp(node)

    def _jvp(self, node: ast.Call) -> Value:
        """``adj.jvp(f, args, tangents)``: the pair of the value and its tangent."""
        given = self.keywords(node, "f", "args", "tangents")
        if len(given) < 3:
            raise self.error("adj.jvp takes a function, its arguments and their tangents here", node)
        fn = self._function_of(self.value(given["f"]), given["f"], "adj.jvp")
        mark = self.holding()
        args = self.held(self.value(given["args"]))
        dots = self.held(self.value(given["tangents"]))
        self.release(mark)
        for name, v in (("args", args), ("tangents", dots)):
            if not isinstance(v, Tup) or is_complex(v):
                raise self.error(f"{name} of adj.jvp is {describe(v)}: pass a tuple with one item for each argument", node)
        return Tup(self.doubled(lambda values: self.applied(fn, values, node), fn, args.items, dots.items, node))  # type: ignore[union-attr]

    def _function_of(self, v: Value, node: ast.AST, verb: str) -> types.FunctionType:
        fn = plain_function(v.obj) if isinstance(v, Static) else None
        if fn is None:
            raise self.error(f"{verb} of {describe(v)}: pass a function of yours, plain or @njit", node)
        return fn

    def applied(self, fn: types.FunctionType, values: Sequence[Value], node: ast.AST) -> Value:
        """The value of a call with arguments by position."""
        return self.function(fn, self.bound(fn, values, node), node)

    # -------------------------------------------------------------------------------------------------------- the tangent
    def doubled(self, call: Lowered, fn: Any, args: Sequence[Value], dots: Sequence[Value], node: ast.AST) -> tuple[Value, Value]:
        """The value of a call and its tangent, both in memory of their own.

        A tangent has the structure of its argument, or is None or a literal 0 where there is none.  ``fn`` is what the call
        is of, for messages.
        """
        name = getattr(fn, "__name__", "f")
        if len(args) != len(dots):
            raise self.error(f"{len(dots)} tangents are given for the {len(args)} arguments of {name}", node)
        params = _Arguments()
        own = [
            self._parameter(a, d, f"argument {k} of {name}", params, node)
            for k, (a, d) in enumerate(zip(args, dots, strict=True))
        ]
        stmts, value = self._apart(call, own, name, node)
        fresh = {s.base for s in walk(stmts) if isinstance(s, Alloc)}  # until a result is in it
        fns = {o.fn.name: o.fn for o in self.helpers.opaques.values()}
        rules = {o.fn.name: o.tangent for o in self.helpers.opaques.values()}
        module = Tangents(fns, rules=rules)
        found = written(module, Fn("%jvp", tuple(params.dots), stmts), _Fresh(self.names))
        new: dict[Atom, Atom] = {**params.values}
        memory: dict[Base, Base] = {**params.memory}
        for p, dot in params.dots.items():
            if isinstance(p, Var):
                new[found.values[p]] = dot  # type: ignore[index, assignment]
            else:
                memory[found.memory[p]] = dot  # type: ignore[assignment]
        body = self._inlined(found.block, module, node)
        now = self._spliced(body, new, memory)

        def base_of(b: Base) -> Base:
            return memory.get(b, b)

        def finished(v: Value) -> tuple[Value, Value]:
            """A result and its tangent."""
            if isinstance(v, Tup):
                pairs = [finished(i) for i in v.items]
                return Tup(tuple(a for a, _ in pairs), v.cls), Tup(tuple(d for _, d in pairs), v.cls)
            if isinstance(v, (Var, Const)):
                dot = found.values.get(v) if isinstance(v, Var) else None
                return now(v), (now(dot) if dot is not None else zero(v.dt)) if is_float(v.dt) else Static(None)
            if isinstance(v, Ref):
                own = _with_atoms(v, now)
                out = replace(own, base=base_of(v.base))
                shadow = found.memory.get(v.base)
                own_memory = v.base in fresh
                fresh.discard(v.base)
                out = out if own_memory else self.evaluated(out, "out")
                if not is_float(v.base.dt):
                    return out, Static(None)
                if shadow is None:
                    return out, self.alloc("out_dot", v.base.dt, self.shape(own), "zero")
                dot = replace(own, base=base_of(shadow))
                return out, dot if own_memory else self.evaluated(dot, "out_dot")
            if isinstance(v, Static) and v.obj is None:
                return v, v
            raise self.error(f"{name} returns {describe(v)}: a tangent is of numbers, arrays and tuples of these", node)

        return finished(value)

    def _parameter(self, v: Value, dot: Value, what: str, params: _Arguments, node: ast.AST) -> Value:
        """What the function sees in place of an argument."""
        if isinstance(dot, Static) and dot.obj is None or isinstance(dot, Const) and not dot.value:
            return v
        if is_complex(v):
            parts = zip(v.items, self.both(dot), strict=True)  # type: ignore[union-attr]
            return Tup(tuple(self._parameter(i, d, what, params, node) for i, d in parts), v.cls)  # type: ignore[union-attr]
        if isinstance(v, Tup):
            if not isinstance(dot, Tup) or len(dot.items) != len(v.items):
                raise self.error(f"the tangent of {what} is {describe(dot)} where {describe(v)} is expected", node)
            fields = getattr(v.cls, "_fields", range(len(v.items)))
            each = zip(v.items, dot.items, fields, strict=True)
            return Tup(tuple(self._parameter(i, d, f"{what}, {f}", params, node) for i, d, f in each), v.cls)
        if isinstance(v, (Var, Const)):
            if not isinstance(dot, (Var, Const)):
                raise self.error(f"the tangent of {what} is {describe(dot)} where a number is expected", node)
            if not is_float(v.dt):
                return v  # inert
            var = self.names.var(v.name.split(".")[0] if isinstance(v, Var) else "x", v.dt)
            params.values[var], params.dots[var] = v, self.b.cast(dot, v.dt)
            return var
        if isinstance(v, (Ref, Lazy)):
            v = self.stored(v)
            assert isinstance(v, Ref)
            if not isinstance(dot, (Ref, Lazy)) or dot.rank != v.rank:
                raise self.error(f"the tangent of {what} is {describe(dot)} where {describe(v)} is expected", node)
            if not is_float(v.base.dt):
                return v
            for have, want in zip(self.lengths(dot), self.shape(v), strict=True):
                if have != want:
                    self.check(
                        self.b.op("ne", have, want), node, "ValueError('adj.jvp: a tangent has another shape than its argument')"
                    )
            whole = v if v.whole else self.evaluated(v, "argument")
            alike = isinstance(dot, Ref) and dot.whole and dot.base.dt == v.base.dt
            dot = dot if alike else self.evaluated(dot, "tangent", v.base.dt)
            base = Base(self.names.fresh(v.base.name), v.base.dt, v.rank, "in")
            self.dims[base] = self.shape(v)
            params.memory[base], params.dots[base] = whole.base, dot.base  # type: ignore[union-attr]
            return Ref.of(base)
        raise self.error(f"{what} is {describe(v)}, which has no tangent: give it None", node)

    def _apart(self, call: Lowered, args: list[Value], name: str, node: ast.AST) -> tuple[Block, Value]:
        """The statements of a call, all of it written out, and its value."""
        with self.inlining(), self.b.block() as stmts:
            try:
                value = self._all_stored(call(args))
            except WrittenParameter:
                raise self.error(
                    f"{name} writes its arguments: a function whose derivative is taken here must copy them", node
                ) from None
        block = tuple(stmts)
        own = {s.base for s in walk(block) if isinstance(s, Alloc)}
        if any(b not in own for s in walk(block) for b in written_by(s)):
            raise self.error(f"{name} writes its arguments: a function whose derivative is taken here must copy them", node)
        return block, value

    def _all_stored(self, v: Value) -> Value:
        return Tup(tuple(map(self._all_stored, v.items)), v.cls) if isinstance(v, Tup) else self.stored(v)

    @contextmanager
    def inlining(self) -> Iterator[None]:
        """Functions are written out where they are called: a pass that runs now must see all of it."""
        before, self.whole_program = self.whole_program, True
        try:
            yield
        finally:
            self.whole_program = before

    # ----------------------------------------------------------------------------------------------------- writing it down
    def _inlined(self, block: Block, module: Tangents, node: ast.AST) -> Block:
        """The block with the tangents of custom functions, which the pass calls, written out."""
        by_name = {o.fn.name: o for o in self.helpers.opaques.values()}
        owners = {made.fn.name: by_name[fn] for (fn, _), made in module.found.items()}
        results: dict[Atom, Atom] = {}

        def statement(s: Stmt) -> list[Stmt]:
            if isinstance(s, Call) and s.fn in owners:
                return self._written_out(s, module.made[s.fn].fn, owners[s.fn], results, node)
            inner = {k: tuple(x for st in getattr(s, k) for x in statement(st)) for k in _BLOCKS.get(type(s).__name__, ())}
            return [replace(s, **inner) if inner else s]  # type: ignore[arg-type]

        out = tuple(x for s in block for x in statement(s))
        if not results:
            return out

        def final(a: Atom) -> Atom:
            while a in results:
                a = results[a]
            return a

        return substitute(out, final)

    def _written_out(self, s: Call, fn: Fn, opaque: Opaque, results: dict[Atom, Atom], node: ast.AST) -> list[Stmt]:
        if any(isinstance(st, Foreign) for st in fn.body):
            name = opaque.name
            raise self.error(
                f"adj.jvp here needs a tangent rule of {name} in the accepted language; its own is compiled as it is", node
            )
        new: dict[Any, Any] = dict(zip(fn.params, s.args, strict=True))
        for st in walk(fn.body):
            for v in (*defined(st), *inner_defined(st)):
                new[v] = self.names.var(v.name, v.dt)
            if isinstance(st, Alloc) and st.base not in new:
                new[st.base] = replace(st.base, name=self.names.fresh(st.base.name))
        first = len(self.sites)
        self.sites += opaque.sites
        body = substitute(with_sites(fn.body, first), lambda a: new.get(a, a), lambda b: new.get(b, b))
        results.update(zip(s.results, (new.get(r, r) for r in fn.results), strict=True))
        return list(body)

    def _spliced(self, body: Block, new: dict[Atom, Atom], memory: dict[Base, Base]) -> Callable[[Atom], Atom]:
        """Write the statements, as ordinary ones; returns what their values are called now.

        ``new`` and ``memory`` say what parameters stand for, and are completed.  Pure statements that were written before
        are not repeated.
        """
        for s in walk(body):
            if isinstance(s, Alloc) and s.base.role != "local":
                memory[s.base] = replace(s.base, role="local")

        def now(a: Atom) -> Atom:
            return new.get(a, a)

        line = self.b.line
        for s in body:
            (s,) = _ordinary(substitute((s,), now, lambda b: memory.get(b, b)), line)
            if isinstance(s, Let):
                new[s.var] = self.b.op(s.op, *s.args, root=s.var.name, dt=s.var.dt)
            elif isinstance(s, Load):
                new[s.var] = self.b.load(s.base, s.index, s.var.name, s.wrap)
            elif isinstance(s, Dim):
                new[s.var] = self.length(s.base, s.axis)
            else:
                self.dims.update((made.base, made.dims) for made in walk((s,)) if isinstance(made, Alloc))
                self.b.add(s)
        return now


_BLOCKS = {"If": ("then", "orelse"), "For": ("body",), "While": ("head", "body"), "Each": ("body", "stores")}


class _Fresh(FreshNames):
    """The names of a lowering, as the tangent pass asks for them."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def fresh(self, root: str) -> str:
        return self._names.fresh(root)

    def fresh_dot(self, x: Var | Base) -> str:
        return self._names.fresh(f"{x.name.split('.')[0]}_dot")


def _with_atoms(v: Ref, now: Callable[[Atom], Atom]) -> Ref:
    index = tuple(replace(i, lo=now(i.lo), step=now(i.step)) if isinstance(i, Axis) else now(i) for i in v.index)
    return replace(v, index=index, lens=tuple(None if n is None else now(n) for n in v.lens))


def _ordinary(block: Block, line: int) -> Block:
    """The statements as a step's own: from the line of the call, none of them linear."""
    out = []
    for s in block:
        inner = {name: _ordinary(getattr(s, name), line) for name in _BLOCKS.get(type(s).__name__, ())}
        out.append(replace(s, line=line, part="primal", **inner))  # type: ignore[arg-type]
    return tuple(out)
