"""Calls of functions that have rules of their own: the deriver does not look into them.

Such a call is a call of an *adapter*, a function of the module whose body is one :class:`~.ir.Foreign`: numbers and whole
arrays in, results into memory that the caller brings.  Its rules are functions of the module as well.  A rule in the accepted
language is lowered like any code, so that it can be differentiated again; another one is foreign code itself.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DerivationError
from . import registry
from .build import Names, const, zero
from .calls import Calls
from .complexpairs import interleaved, is_complex
from .context import Frame, RaiseSite, with_sites
from .hoist import hoist
from .ir import (
    CAPTURED,
    ONE,
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Fn,
    Foreign,
    Stmt,
    Var,
    bases_of,
    effects,
    is_float,
    substitute,
    walk,
)
from .liveness import Liveness
from .loops import each_to_loops
from .registry import CustomFunction
from .source import plain_function, read
from .spec import ArraySpec, ComplexSpec, NoneSpec, ScalarSpec, Spec, TupleSpec, ones_of
from .tangent import Tangent
from .values import Lazy, Ref, Static, Tup, Value, describe

__all__ = ["Opaque", "OpaqueCalls", "Rule"]

Param = Var | Base


@dataclass
class Rule:
    """A rule as a function: ``fn`` takes the results, their (co)tangents, the arguments, and memory for what it computes.

    vjp: ``made`` are, by places of arguments, memory that it adds to or numbers that it returns.
    jvp: the same by places of results, memory that it writes.
    """

    fn: Fn
    out: tuple[Param, ...]
    seeds: tuple[Param | None, ...]  # cotangents of the results, or tangents of the arguments; None where there is none
    args: tuple[Param, ...]
    made: dict[int, Param | Atom]
    names: Names
    lines: tuple[str, ...] = ()
    sites: tuple[RaiseSite, ...] = ()
    captures: tuple[Base, ...] = ()


@dataclass
class Opaque:
    """A custom function for arguments of given types; the parameters of ``fn`` are arguments, results, captures of rules."""

    name: str
    fn: Fn
    args: tuple[Param, ...]
    out: tuple[Param, ...]
    no_rule: DerivationError
    vjp: Rule | None = None
    jvp: Rule | None = None
    captures: tuple[Base, ...] = ()
    first: int = 0  # of its sites among those of the entry function
    silent: frozenset[int] = frozenset()  # places of arguments that have no cotangent, and need none
    own_sites: tuple[RaiseSite, ...] = ()  # of ``fn``, where it is code like any

    @property
    def rules(self) -> list[Rule]:
        return [rule for rule in (self.vjp, self.jvp) if rule is not None]

    @property
    def sites(self) -> tuple[RaiseSite, ...]:
        return (*self.own_sites, *(site for rule in self.rules for site in rule.sites))

    def number_sites(self, first: int) -> None:
        """Say where its sites are among those of the entry function."""
        self.first = first
        self.fn = replace(self.fn, body=with_sites(self.fn.body, first))

    def first_site(self, rule: Rule) -> int:
        """The number of a rule's first site in the entry function."""
        before = len(self.vjp.sites) if rule is self.jvp and self.vjp is not None else 0
        return self.first + len(self.own_sites) + before

    def check_unchanged(self) -> None:
        """ArgumentError if a value that foreign code uses from outside has changed since it was compiled."""
        for fn in (self.fn, *(rule.fn for rule in self.rules)):
            if fn.body and isinstance(fn.body[0], Foreign):
                registry.registered(fn.body[0].key).check_unchanged()

    def missing(self, what: str, why: str = "") -> DerivationError:
        """The error for a derivative that no rule gives."""
        e = self.no_rule
        name = self.name
        message = f"the {what} of {name} {why}" if why else f"{name} has no {what}: give it one with @{name}.{what}"
        return type(e)(message, e.filename, e.lineno, e.offset, e.text)

    def tangent(self, active: Collection[str], name: str) -> Tangent:
        """The adapter followed by its tangent, for the names of active parameters."""
        rule = self.jvp
        if rule is None:
            raise self.missing("defjvp")
        names = rule.names.copy()
        written = {b: replace(b, role="inout") for b in rule.out if isinstance(b, Base)}
        own: dict[Atom, Atom] = {}
        head: list[Stmt] = []
        dots: dict[Param, Param] = {}
        for p, mine, seed in zip(self.args, rule.args, rule.seeds, strict=True):
            if seed is None:
                continue
            if p.name in active:
                dots[p] = seed
            elif isinstance(seed, Base):
                dims = tuple(names.var("n", "i8") for _ in range(seed.rank))
                head += [Dim(v, mine, k) for k, v in enumerate(dims)]  # type: ignore[arg-type]
                head.append(Alloc(replace(seed, role="local"), dims, "zero"))
            else:
                own[seed] = zero(seed.dt)
        dots.update((self.out[k], x) for k, x in rule.made.items() if isinstance(x, Base))
        given = dict(zip((*self.args, *self.out), (*rule.args, *(written.get(p, p) for p in rule.out)), strict=True))  # type: ignore[call-overload]
        params = tuple(given.get(p, p) for p in self.fn.params)
        numbers = tuple(p for p in rule.out if isinstance(p, Var))
        call = Call(self.fn.name, params, numbers, 0, "primal", *effects(self.fn.params, self.fn.body))
        locals_ = {s.base.name: s.base for s in head if isinstance(s, Alloc)}
        block = substitute(
            with_sites(rule.fn.body, self.first_site(rule)),
            lambda a: own.get(a, a),
            lambda b: locals_.get(b.name, written.get(b, b)),
        )
        places = [k for k, p in enumerate(self.out) if isinstance(p, Var)]
        made = {k: own.get(x, x) for k, x in rule.made.items() if not isinstance(x, Base)}
        found = tuple(j for j, k in enumerate(places) if k in made)
        values = (*numbers, *(made[places[j]] for j in found))
        return Tangent(Fn(name, (*params, *dots.values()), (*head, call, *block), values, rule=True), dots, found)


class OpaqueCalls(Calls):
    """Lowering of the calls."""

    helpers: Any

    def alone(self) -> None:
        """Called where a function cannot be one of its own."""
        raise NotImplementedError

    def opaque(self, custom: CustomFunction, node: ast.Call, root: str | None) -> Value:
        """The value of a call of a custom function."""
        bound = self._arguments(custom.called, node)
        values = [bound[name] for name in custom.names]
        given: list[Atom | Base] = []
        for v in values:
            if isinstance(v, (Var, Const)):
                given.append(v)
            elif isinstance(v, Ref):
                given.append((v if v.whole else self.evaluated(v, "argument")).base)
            elif is_complex(v):
                given.append(self.one_leaf(v))
            else:
                raise self.error(f"an argument of {custom.function.__name__} is {describe(v)}: pass numbers and arrays", node)
        specs = tuple(map(self._spec_of, values))
        kinds = tuple((s.dt, getattr(s, "rank", 0)) for s in specs)
        try:
            result = custom.result(kinds)
        except TypeError as error:
            raise self.error(f"call of {custom.function.__name__}: {error}", node) from None
        shapes = self._shapes(custom, values, result, node)
        result = _with_ones(result, shapes)
        key = (custom, specs, result)
        if key not in self.helpers.opaques:
            self._lower_opaque(key, node)
        found: Opaque = self.helpers.opaques[key]
        if found.captures:
            self.alone()
        return self._called_opaque(found, given, shapes, result, root)

    def _spec_of(self, v: Value) -> ArraySpec | ComplexSpec | ScalarSpec:
        if is_complex(v):
            return self.complex_spec(v)
        return ArraySpec(v.base.dt, v.rank, ones_of(self.shape(v), ONE)) if isinstance(v, Ref) else ScalarSpec(v.dt)  # type: ignore[union-attr]

    def _called_opaque(
        self, found: Opaque, given: list[Atom | Base], shapes: list[tuple[Atom, ...]], result: Spec, root: str | None
    ) -> Value:
        args: list[Atom | Base] = [*given]
        items: list[Value] = []
        numbers: list[Var] = []
        for p, dims, spec in zip(found.out, shapes, _each(result), strict=True):
            if isinstance(p, Base):
                parts = (const(2, "i8"),) if isinstance(spec, ComplexSpec) else ()
                ref = self.alloc(root or p.name.split(".")[0], p.dt, (*dims, *parts), "none")
                args.append(ref.base)
                items.append(ref if not parts else self.complex_array(ref.base) if dims else Static(ref.base))
            else:
                numbers.append(self.names.var(root or p.name.split(".")[0], p.dt))
                items.append(numbers[-1])
        args += found.captures
        effect = effects(found.fn.params, found.fn.body)
        self.b.add(Call(found.fn.name, tuple(args), tuple(numbers), self.b.line, "primal", *effect))
        items = [self.complex_number(i.obj) if isinstance(i, Static) else i for i in items]
        return Tup(tuple(items), result.cls) if isinstance(result, TupleSpec) else items[0]

    def _shapes(self, custom: CustomFunction, given: Sequence[Value], result: Spec, node: ast.Call) -> list[tuple[Atom, ...]]:
        """The shape of each result."""
        ranks = [getattr(s, "rank", 0) for s in _each(result)]
        if custom.shape is None or not any(ranks):
            shapes = []
            arrays = [v.items[0] if is_complex(v) else v for v in given]  # type: ignore[union-attr]
            for rank in ranks:
                like = next((a for a in arrays if isinstance(a, (Ref, Lazy)) and a.rank == rank), None)
                if rank and like is None:
                    message = f"{custom.function.__name__} returns a {rank}-d array, and no argument is one: say its shape, " \
                              "custom_vjp(shape=lambda ...: (...))"  # fmt: skip
                    raise self.error(message, node)
                shapes.append(self.lengths(like) if rank and like is not None else ())
            return shapes
        fn = plain_function(custom.shape)
        if fn is None:
            raise self.error(f"the shape of {custom.function.__name__} must be a function", node)
        names = fn.__code__.co_varnames[: fn.__code__.co_argcount]
        if len(names) != len(given):
            raise self.error(f"the shape of {custom.function.__name__} must take its {len(given)} arguments", node)
        value = self.function(fn, dict(zip(names, given, strict=True)), node)
        each = value.items if isinstance(result, TupleSpec) and isinstance(value, Tup) else (value,)
        if len(each) == sum(map(bool, ranks)):  # of arrays alone
            kept = iter(each)
            each = tuple(next(kept) if rank else Static(None) for rank in ranks)
        shapes = []
        for rank, v in zip(ranks, each, strict=False):
            dims = v.items if isinstance(v, Tup) else (v,) if isinstance(v, (Var, Const)) else ()
            if rank and (len(dims) != rank or not all(isinstance(n, (Var, Const)) for n in dims)):
                raise self.error(f"the shape of {custom.function.__name__} must be {rank} ints, got {describe(v)}", node)
            shapes.append(tuple(self.b.cast(n, "i8") for n in dims) if rank else ())  # type: ignore[arg-type]
        if len(shapes) != len(ranks):
            raise self.error(f"the shape of {custom.function.__name__} must give one for each of its arrays", node)
        return shapes

    def param_value(self, p: Param, spec: Spec) -> Value:
        """The value of a parameter."""
        if isinstance(spec, (ArraySpec, ComplexSpec)) and isinstance(p, Base):
            self.ones[p] = spec.ones
        if isinstance(spec, ComplexSpec) and isinstance(p, Base):
            return self.complex_array(p) if spec.rank else self.complex_number(p)
        return _value(p)

    def accept_complex(self, base: Base, v: Value, like: Ref, spec: ComplexSpec, mode: str, node: ast.AST) -> None:
        """Put a rule's complex result, which must be as long as ``like``, into its memory."""
        parts = self.both(v)
        if not all(isinstance(p, (Var, Const, Ref, Lazy)) and getattr(p, "rank", 0) == spec.rank for p in parts):
            raise self.error(f"{describe(v)} is returned where {spec} is expected", node)
        if not spec.rank:
            for k, x in enumerate(parts):
                self.b.store(base, (const(k, "i8"),), self.b.cast(x, base.dt), mode, "never")
            return
        for have, want in zip(self.lengths(parts[0]), self.shape(like), strict=False):
            text = "ValueError('a rule returns an array of another shape than its argument')"
            self.check(self.b.op("ne", have, want), node, text)
        self.assign_complex(interleaved(base), v, mode)

    # ---------------------------------------------------------------------------------------------------- adapter and rules
    def _lower_opaque(self, key: tuple[CustomFunction, tuple[Spec, ...], Spec], node: ast.Call) -> None:
        custom, specs, result = key
        names = Names()
        args = tuple(_param(names, name, s, "in") for name, s in zip(custom.names, specs, strict=False))
        whole = isinstance(result, TupleSpec)
        each = _each(result)
        if not each or not all(isinstance(s, (ScalarSpec, ArraySpec, ComplexSpec)) for s in each):
            raise self.error(f"call of {custom.function.__name__}: it returns {result}; numbers and arrays are understood", node)
        out = tuple(_param(names, "out", s, "inout") for s in each)  # type: ignore[arg-type]
        places = [(k if whole else -1, p) for k, p in enumerate(out)]
        arrays = tuple((k, p) for k, p in places if isinstance(p, Base))
        numbers = tuple((k, p) for k, p in places if isinstance(p, Var))
        complexes = _complexes((*args, *out), (*specs, *each))
        params = (*args, *(p for _, p in arrays))
        sites: tuple[RaiseSite, ...] = ()
        if custom.lowered:
            body, sites = self._lowered_body(custom.function, names, [*args, *out], [*specs, *each])
        else:
            body = (Foreign(custom.code.key, args, arrays, numbers, "set", complexes, custom.fills),)
        fn = Fn(self.helpers.name(custom.function), params, body, tuple(p for _, p in numbers))
        missing = self.error("", node)
        made = self.helpers.opaques[key] = Opaque(custom.function.__name__, fn, args, out, missing)  # its rules may call it
        made.own_sites = sites
        if custom.vjp_rule is not None:
            made.vjp = self._rule(made, custom.vjp_rule, specs, each, whole, "vjp", node)
        if custom.jvp_rule is not None:
            made.jvp = self._rule(made, custom.jvp_rule, specs, each, whole, "jvp", node)
        captures = tuple(dict.fromkeys(b for rule in made.rules for b in rule.captures))
        if captures:
            if any(isinstance(s, Call) and s.fn == fn.name for rule in made.rules for s in walk(rule.fn.body)):
                message = f"a rule of {custom.function.__name__} calls it and uses values from outside: pass them as arguments"
                raise self.error(message, node)
            made.captures = captures
            made.fn = replace(fn, params=(*params, *captures))

    def _lowered_body(
        self, fn: types.FunctionType, names: Names, params: Sequence[Param], specs: Sequence[Spec]
    ) -> tuple[Block, tuple[RaiseSite, ...]]:
        """A function of these parameters, which returns nothing, as code; ``names`` are those taken."""
        child = self._child(names)
        source = read(fn)
        child.b.line = source.node.lineno
        own = fn.__code__.co_varnames[: fn.__code__.co_argcount]
        child.function(fn, dict(zip(own, map(child.param_value, params, specs), strict=True)))
        return hoist(each_to_loops(tuple(child.b.stmts), child.names), child.names), tuple(child.sites)

    def _child(self, names: Names | None = None) -> OpaqueCalls:
        """What lowers another function of the module."""
        child = type(self)(names or Names(), self.capture)
        child.helpers, child.outside, child.seen = self.helpers, self.outside, self.seen
        child.whole_program = True
        return child

    def _rule(
        self, made: Opaque, given: Any, specs: Sequence[Spec], results: Sequence[Spec], whole: bool, kind: str, node: ast.Call
    ) -> Rule:
        """A rule, lowered if it can be, else as foreign code."""
        fn = plain_function(given)
        assert fn is not None
        try:
            return self._lowered_rule(fn, specs, results, whole, kind)
        except DerivationError as error:
            why = error.msg
        try:
            return self._foreign_rule(given, specs, results, whole, kind)
        except TypeError as error:
            name = made.name
            raise self.error(f"{fn.__name__}, a rule of {name}: {error} (and it is not derived: {why})", node) from None

    def _rule_params(
        self, names: Names, fn: types.FunctionType, specs: Sequence[Spec], results: Sequence[Spec], kind: str
    ) -> tuple[tuple[Param, ...], tuple[Param | None, ...], tuple[Param, ...]]:
        own = list(fn.__code__.co_varnames[: fn.__code__.co_argcount])
        arg_names = own[2:] if kind == "vjp" else [f"{own[1]}_{k}" for k in range(len(specs))]
        out = tuple(_param(names, own[0], s, "in") for s in results)
        args = tuple(_param(names, name, s, "in") for name, s in zip(arg_names, specs, strict=True))
        seeded = results if kind == "vjp" else specs
        roots = [own[1]] * len(results) if kind == "vjp" else [f"{own[2]}_{k}" for k in range(len(specs))]
        seeds = tuple(
            _param(names, root, s, "shadow") if is_float(s.dt) else None  # type: ignore[union-attr]
            for root, s in zip(roots, seeded, strict=True)
        )
        return out, seeds, args

    def _lowered_rule(
        self, fn: types.FunctionType, specs: Sequence[Spec], results: Sequence[Spec], whole: bool, kind: str
    ) -> Rule:
        child = self._child()
        out, seeds, args = self._rule_params(child.names, fn, specs, results, kind)
        source = read(fn)
        child.b.line = source.node.lineno
        given_out = _gathered([child.param_value(p, s) for p, s in zip(out, results, strict=True)], whole)
        own = fn.__code__.co_varnames[: fn.__code__.co_argcount]
        if kind == "vjp":
            seen = [Static(None) if p is None else child.param_value(p, s) for p, s in zip(seeds, results, strict=True)]
            bars = _gathered(seen, whole)
            bound = dict(zip(own, [given_out, bars, *map(child.param_value, args, specs)], strict=True))
        else:
            pairs = zip(seeds, args, specs, strict=True)
            dots = [_no_tangent(child, a) if p is None else child.param_value(p, s) for p, a, s in pairs]
            bound = dict(zip(own, [given_out, Tup(tuple(map(child.param_value, args, specs))), Tup(tuple(dots))], strict=True))
        value = child.function(fn, bound)
        child.frames.append(Frame(source, Liveness([])))
        targets = specs if kind == "vjp" else results
        bare = len(targets) == 1 if kind == "vjp" else not whole
        several = isinstance(value, Tup) and not is_complex(value) and not (bare and kind == "jvp")
        items = list(value.items) if several else [value]  # type: ignore[union-attr]
        if len(items) != len(targets):
            raise child.error(f"returns {describe(value)}, {len(targets)} derivatives are expected", source.node)
        made: dict[int, Param | Atom] = {}
        memory: list[Base] = []
        for k, (v, spec) in enumerate(zip(items, targets, strict=True)):
            if not is_float(spec.dt) or (kind == "vjp" and isinstance(v, Static) and v.obj is None):  # type: ignore[union-attr]
                continue
            like = args[k] if kind == "vjp" else out[k]
            if isinstance(spec, ScalarSpec):
                if not isinstance(v, (Var, Const)):
                    raise child.error(f"entry {k} is {describe(v)}, a number is expected", source.node)
                made[k] = child.b.cast(v, spec.dt)
                continue
            base = _param(child.names, "made", spec, "shadow")
            assert isinstance(base, Base)
            if isinstance(spec, ComplexSpec):
                made[k] = base
                memory.append(base)
                mode = "add" if kind == "vjp" else "set"
                child.accept_complex(base, v, _value(like), spec, mode, source.node)  # type: ignore[arg-type]
                continue
            if isinstance(v, Ref):
                if v.rank != base.rank:
                    raise child.error(f"entry {k} is {describe(v)}, a {base.rank}-d array is expected", source.node)
                for have, want in zip(child.shape(v), child.shape(Ref.of(like)), strict=True):  # type: ignore[arg-type]
                    text = f"ValueError({f'{fn.__name__} returns an array of another shape than its argument'!r})"
                    child.check(child.b.op("ne", have, want), source.node, text)
            elif not isinstance(v, (Var, Const)):
                raise child.error(f"entry {k} is {describe(v)}, a {base.rank}-d array is expected", source.node)
            child.assign(Ref.of(base), v, "add" if kind == "vjp" else "set")
            made[k] = base
            memory.append(base)
        body = each_to_loops(tuple(child.b.stmts), child.names)
        bars_in = [p for p in seeds if p is not None]
        captures = tuple(dict.fromkeys(b for s in walk(body) for b in bases_of(s) if b.role in CAPTURED))
        numbers = tuple(x for x in made.values() if not isinstance(x, Base))
        params = (*out, *bars_in, *args, *memory, *captures)
        made_fn = Fn(fn.__name__, params, body, numbers)
        return Rule(made_fn, out, seeds, args, made, child.names, source.lines, tuple(child.sites), captures)

    def _foreign_rule(self, given: Any, specs: Sequence[Spec], results: Sequence[Spec], whole: bool, kind: str) -> Rule:
        names, fn = Names(), plain_function(given)
        assert fn is not None
        code = registry.code_of(given)
        out, seeds, args = self._rule_params(names, fn, specs, results, kind)
        one = _tuple_of(out, whole)
        if kind == "vjp":
            passed = (one, _tuple_of(seeds, whole), *args)
        else:
            passed = (one, args, tuple(Const(0, "i8") if p is None else p for p in seeds))
        seeded = results if kind == "vjp" else specs
        complexes = _complexes((*out, *seeds, *args), (*results, *seeded, *specs))
        found = code.result(tuple(_kind_of(p, complexes) for p in passed))
        targets = specs if kind == "vjp" else results
        bare = not isinstance(found, TupleSpec)
        items = _each(found)
        if len(items) != len(targets):
            raise TypeError(f"it returns {found}, {len(targets)} derivatives are expected")
        outs: list[tuple[int, Base]] = []
        numbers: list[tuple[int, Var]] = []
        made: dict[int, Param | Atom] = {}
        for k, (item, spec) in enumerate(zip(items, targets, strict=True)):
            if not is_float(spec.dt) or (kind == "vjp" and isinstance(item, NoneSpec)):  # type: ignore[union-attr]
                continue
            alike = isinstance(item, ComplexSpec) == isinstance(spec, ComplexSpec)
            if not alike or getattr(item, "rank", 0) != getattr(spec, "rank", 0):
                raise TypeError(f"entry {k} of its result is {item}, {spec} is expected")
            p = made[k] = _param(names, "made", spec, "shadow")
            complexes += _complexes((p,), (spec,))
            (outs if isinstance(p, Base) else numbers).append((-1 if bare else k, p))  # type: ignore[arg-type]
        mode = "add" if kind == "vjp" else "set"
        foreign = Foreign(code.key, passed, tuple(outs), tuple(numbers), mode, complexes)
        bars_in = [p for p in seeds if p is not None]
        params = (*out, *bars_in, *args, *(b for _, b in outs))
        return Rule(Fn(fn.__name__, params, (foreign,), tuple(v for _, v in numbers)), out, seeds, args, made, names)


# --------------------------------------------------------------------------------------------------------------- small things
def _each(result: Spec) -> tuple[Spec, ...]:
    """The structures of results, one by one."""
    return result.items if isinstance(result, TupleSpec) else (result,)


def _with_ones(result: Spec, shapes: Sequence[tuple[Atom, ...]]) -> Spec:
    """The structure of results of these shapes, saying which axes have length 1."""
    if isinstance(result, TupleSpec):
        each = zip(result.items, shapes, strict=False)
        return TupleSpec(tuple(_with_ones(item, [shape]) for item, shape in each), result.cls)
    return replace(result, ones=ones_of(shapes[0], ONE)) if isinstance(result, (ArraySpec, ComplexSpec)) else result


def _complexes(params: Sequence[Param | None], specs: Sequence[Spec]) -> tuple[Base, ...]:
    """The parameters that are complex."""
    return tuple(p for p, s in zip(params, specs, strict=True) if isinstance(s, ComplexSpec) and isinstance(p, Base))


def _param(names: Names, root: str, spec: Spec, role: str) -> Param:
    if isinstance(spec, ComplexSpec):
        spec = spec.leaf
    if isinstance(spec, ArraySpec):
        return Base(names.fresh(root), spec.dt, spec.rank, role)
    return names.var(root, spec.dt)  # type: ignore[union-attr]


def _value(p: Param) -> Value:
    return Ref.of(p) if isinstance(p, Base) else p


def _gathered(items: list[Value], whole: bool) -> Value:
    return Tup(tuple(items)) if whole else items[0]


def _tuple_of(items: Sequence[Param | None], whole: bool) -> Any:
    return tuple(items) if whole else items[0]


def _kind_of(x: Any, complexes: Collection[Base]) -> Any:
    """What :meth:`.registry.Code.result` takes."""
    if x is None:
        return None
    if isinstance(x, tuple):
        return tuple(_kind_of(i, complexes) for i in x)
    if x in complexes:
        return ("c16" if x.dt == "f8" else "c8", x.rank - 1)
    return (x.dt, x.rank if isinstance(x, Base) else 0)


def _no_tangent(child: OpaqueCalls, a: Param) -> Value:
    """Zeros in place of the tangent of an argument that has none."""
    if isinstance(a, Var):
        return const(0, a.dt)
    return child.alloc("none", a.dt, child.shape(Ref.of(a)), "zero")
