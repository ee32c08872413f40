"""``adj.root`` inside a step: Newton on the way there, the implicit function theorem for derivatives.

What stands in the caller is

    found, state = solver(guess, args..)    a function of the module that runs Newton's method (:mod:`.newton`)
    raise ConvergenceError if state is not DONE
    r = residual(found, args..)             ordinary code of the caller's
    x = implied(found, r, args..)           a copy of ``found``, with the derivatives of the root

and the two functions have rules, which are code like that of any custom function:

* the way back through ``implied`` gives ``r_bar = -J^-T x_bar``, and the derivative of ``r = residual(found, args)`` then is an
  ordinary reverse of the residual, with its tapes: together -x_bar^T J^-1 dr/dargs.  ``found`` itself has no cotangent: what it
  receives from r, and from x, adds up to 0.
* the tangents of ``found`` and ``x`` are both -J^-1 dr/dargs args_dot.  That of x is computed from x, so that the way back
  through a tangent is right as well; that of ``found`` is for the tangent of a way back, which computes from ``found``.

So Newton's iterations are never differentiated, and derivatives of any order follow from the two rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ConvergenceError
from . import newton
from .build import const
from .complexpairs import is_complex
from .context import Frame, RaiseSite
from .hoist import hoist
from .inlined import Inlined
from .ir import CAPTURED, ONE, Atom, Base, Call, Const, Fn, If, Raise, Var, bases_of, effects, is_float, walk
from .lapack import remembered
from .liveness import Liveness
from .loops import each_to_loops
from .opaque import Opaque, Param, Rule
from .outline import Misfit, Outlining, Parameters, parts_of
from .unknowns import Problem
from .values import Lazy, Ref, Static, Tup, Value, describe

__all__ = ["RootSite", "Roots"]

#: iterations after which Newton's method is given up
MOST = 50


@dataclass(frozen=True)
class RootSite(RaiseSite):
    """Where a root is not found."""

    def exception(self) -> ConvergenceError:
        """What to raise, right after it happened in this thread."""
        state, size, updates = remembered()
        updates = updates[~np.isnan(updates)]
        history = ", ".join(f"{u:.1e}" for u in updates[-8:])
        seen = f"{len(updates)} iteration{'s' * (len(updates) != 1)}"
        seen += f", relative changes of x {'... ' * (len(updates) > 8)}{history}" if len(updates) else ""
        why = {
            newton.LIMIT: f"did not converge: largest residual {size:.3e} after {seen}; begin closer, or allow more by max_iter=",
            newton.NOT_FINITE: f"met a residual that is not finite ({seen})",
            newton.SINGULAR: f"met a Jacobian that is singular to working precision, or not finite: residual {size:.3e} ({seen})",
            newton.BANDS: f"met a Jacobian with entries outside of bandwidth= ({seen})",
        }.get(state, "failed")
        return ConvergenceError(f"adj.root of {self.text} {why}", residual=size, updates=tuple(updates.tolist()))


class Roots(Outlining):
    """Calls of ``adj.root``."""

    within: tuple[Any, ...] = ()  # residuals of which a part is being lowered

    def verb(self, name: str, node: ast.Call, root: str | None) -> Value:
        if name == "root":
            if len(node.args) > 3:
                raise self.error("tol, max_iter and bandwidth of adj.root are given by their names", node)
            return self._root(self.keywords(node, "residual", "guess", "args", "tol", "max_iter", "bandwidth"), node, root)
        if name == "sparse_root":  # the library's own
            return self._root(self.keywords(node, "residual", "guess", "args", "pattern"), node, root)
        return super().verb(name, node, root)

    def _root(self, given: dict[str, ast.expr], node: ast.Call, root: str | None) -> Value:
        fn = self._function_of(self.value(given["residual"]), given["residual"], "adj.root")
        if fn in self.within:
            raise self.error(f"recursion is not supported: the residual {fn.__name__} looks for a root of itself", node)
        mark = self.holding()
        guess = self.held(self.value(given["guess"]))
        args = self.held(self.value(given["args"]) if "args" in given else Tup(()))
        tol, limit, bands = self._settings(given, node)
        kind = "sparse" if "pattern" in given else "banded" if bands else "dense"
        self.release(mark)
        if not isinstance(args, Tup) or is_complex(args):
            raise self.error(f"args of adj.root is {describe(args)}: pass a tuple, as args=(a, b)", node)
        leaves: list[Value] = []
        tree = self._tree(guess, leaves, node)
        dts = {self.dtype(v) for v in leaves}
        source = self.frame.source
        problem = Problem(fn, tree, "f4" if dts == {"f4"} else "f8", kind, lambda message: source.error(message, node))
        sizes = tuple(self.lengths(v)[0] for v in leaves if isinstance(v, (Ref, Lazy))) if tree != "array" else ()  # type: ignore[arg-type]
        start = self._start(problem, guess, leaves, sizes)
        flat = Tup(tuple(self._whole(v, problem) for v in args.items))
        unit = float(np.finfo(problem.dt).eps)
        tol = const(64.0 * unit, "f8") if tol is None else tol
        found = self._found(problem, start, Tup(sizes), flat, Tup(bands), (tol, const(unit, "f8"), limit), node)
        r = problem.residual(self, found, sizes, flat.items, node)
        x = self._implied(problem, found, r, Tup(sizes), flat, Tup(bands), node, root)
        return problem.unpacked(self, x, sizes)

    # -------------------------------------------------------------------------------------------------------- its arguments
    def _settings(self, given: dict[str, ast.expr], node: ast.AST) -> tuple[Atom | None, Atom, tuple[Value, ...]]:
        """tol (None: not given), max_iter, and what is said of the Jacobian: the numbers of diagonals below and above the main
        one, or the arrays of a pattern, or nothing."""

        def numbers(name: str, integer: bool) -> Value | None:
            v = self.value(given[name]) if name in given else Static(None)
            if isinstance(v, Static) and v.obj is None:
                return None
            for item in v.items if isinstance(v, Tup) else (v,):
                if not isinstance(item, (Var, Const)) or item.dt == "b1" or (integer and is_float(item.dt)):
                    raise self.error(f"{name} of adj.root is {describe(v)}", given[name])
            return v

        tol, limit, bands = numbers("tol", False), numbers("max_iter", True), numbers("bandwidth", True)
        if isinstance(tol, Tup) or isinstance(limit, Tup):
            raise self.error("tol and max_iter of adj.root are numbers", node)
        limit = const(MOST, "i8") if limit is None else self.b.cast(limit, "i8")  # type: ignore[arg-type]
        self.check(self.b.op("lt", limit, ONE), node, "ValueError('adj.root: max_iter must be at least 1')")
        if tol is not None:
            tol = self.b.cast(tol, "f8")  # type: ignore[arg-type]
            self.check(
                self.b.op("lnot", self.b.op("gt", tol, const(0, "f8"))), node, "ValueError('adj.root: tol must be positive')"
            )
        if "pattern" in given:
            return tol, limit, self.value(given["pattern"]).items  # type: ignore[union-attr, return-value]
        if bands is None:
            return tol, limit, ()  # type: ignore[return-value]
        if not isinstance(bands, Tup) or len(bands.items) != 2:
            raise self.error(
                "bandwidth of adj.root is a pair: the numbers of diagonals below and above the main one", given["bandwidth"]
            )
        for item in bands.items:
            self.check(self.b.op("lt", item, const(0, "i8")), node, "ValueError('adj.root: bandwidth must not be negative')")  # type: ignore[arg-type]
        return tol, limit, bands.items  # type: ignore[return-value]

    def _tree(self, v: Value, leaves: list[Value], node: ast.AST) -> Any:
        """The structure of a guess, and its leaves."""
        if isinstance(v, Tup) and not is_complex(v) and v.items:
            return (v.cls, tuple(self._tree(i, leaves, node) for i in v.items))
        leaves.append(v)
        if isinstance(v, (Var, Const)) and v.dt != "b1":
            return "number"
        if isinstance(v, (Ref, Lazy)) and v.rank == 1 and self.dtype(v) != "b1":
            return "array"
        raise self.error(f"the guess of adj.root is {describe(v)}: pass a number, a 1-d array, or a tuple of these", node)

    def _start(self, problem: Problem, guess: Value, leaves: Sequence[Value], sizes: Sequence[Atom]) -> Ref:
        """The guess as a whole array."""
        if problem.tree == "array":
            alike = isinstance(guess, Ref) and guess.whole and guess.base.dt == problem.dt
            return guess if alike else self.evaluated(guess, "guess", problem.dt)  # type: ignore[return-value, arg-type]
        n: Atom = const(sum(isinstance(v, (Var, Const)) for v in leaves), "i8")
        for size in sizes:
            n = self.b.op("add", n, size)
        return problem.packed(self, guess, n, sizes, "the guess is")

    def _whole(self, v: Value, problem: Problem) -> Value:
        """An argument of which every array is one of its own."""
        if isinstance(v, Tup):
            return Tup(tuple(self._whole(i, problem) for i in v.items), v.cls)
        if isinstance(v, Lazy) or (isinstance(v, Ref) and not v.whole):
            return self.evaluated(v, "argument")
        return v

    # -------------------------------------------------------------------------------------------------------- two functions
    def _key(self, what: str, problem: Problem, value: Tup) -> Any:
        try:
            return (what, problem.fn, problem.tree, problem.dt, problem.kind, self._kind(value, {}))
        except Misfit:
            raise problem.refuse(
                f"an argument of {problem.fn.__name__} is neither a number, an array, a tuple nor a function"
            ) from None

    def _found(
        self, problem: Problem, start: Ref, sizes: Tup, args: Tup, bands: Tup, settings: tuple[Atom, Atom, Atom], node: ast.AST
    ) -> Ref:
        """What Newton's method finds; it leaves if there is nothing."""
        value = Tup((start, sizes, args, bands, Tup(settings)))
        key = self._key("root", problem, value)
        if key not in self.helpers.opaques:
            self.helpers.opaques[key] = self._made_solver(problem, value, node)
        opaque = self.helpers.opaques[key]
        state = self.names.var("state", "i8")
        found = self._call(opaque, value, self.shape(start), "found", (state,))
        source = self.frame.source
        self.sites.append(RootSite(source.filename, getattr(node, "lineno", 0), source.name, problem.fn.__name__))
        bad = self.b.op("ne", state, const(newton.DONE, "i8"))
        self.b.add(If(bad, (Raise(len(self.sites) - 1, self.b.line),), (), (), self.b.line))
        return found

    def _implied(
        self, problem: Problem, found: Ref, r: Ref, sizes: Tup, args: Tup, bands: Tup, node: ast.AST, root: str | None
    ) -> Ref:
        """The root with its derivatives."""
        value = Tup((found, sizes, args, bands, r))
        key = self._key("implied", problem, value)
        if key not in self.helpers.opaques:
            self.helpers.opaques[key] = self._made_implied(problem, value, node)
        return self._call(self.helpers.opaques[key], value, self.shape(found), root or "x", ())

    def _call(self, opaque: Opaque, value: Tup, shape: tuple[Atom, ...], root: str, numbers: tuple[Var, ...]) -> Ref:  # type: ignore[override]
        if opaque.captures:
            self.alone()
        given: list[Atom | Base] = []
        for part in parts_of(value):
            if not (isinstance(part, Base) and part in given):
                given.append(part)
        out = self.alloc(root, opaque.out[0].dt, shape, "none")
        effect = effects(opaque.fn.params, opaque.fn.body)
        all_given = (*given, out.base, *opaque.captures)
        self.b.add(Call(opaque.fn.name, all_given, numbers, self.b.line, "primal", *effect))
        return out

    def _made_solver(self, problem: Problem, value: Tup, node: ast.AST) -> Opaque:
        low = _Lowered(self, problem, value, node)
        start, bands, settings = low.own[0], low.own[3], low.own[4]
        out = Base(low.child.names.fresh("x"), problem.dt, 1, "inout")
        low.child.dims[out] = low.child.shape(start)
        low.child.assign(Ref.of(out), start)
        state = low.run(newton.SOLVERS[problem.kind][0], [low.residual, low.tangent, Ref.of(out), *bands.items, *settings.items])
        fn, sites, captures = low.finished(self.helpers.name(problem.fn), (*low.params, out), (state,))  # type: ignore[arg-type]
        number = low.child.names.var("state", "i8")
        made = Opaque(
            "adj.root", fn, low.params, (out, number), problem.refuse("adj.root"), silent=frozenset(range(len(low.params)))
        )  # type: ignore[arg-type]
        made.own_sites = sites
        made.jvp = self._tangent_rule(problem, value, node, own=True)
        return self._with_captures(made, captures)

    def _made_implied(self, problem: Problem, value: Tup, node: ast.AST) -> Opaque:
        low = _Lowered(self, problem, value, node)
        out = Base(low.child.names.fresh("x"), problem.dt, 1, "inout")
        low.child.dims[out] = low.child.shape(low.own[0])
        low.child.assign(Ref.of(out), low.own[0])
        fn, sites, captures = low.finished(self.helpers.name(problem.fn), (*low.params, out), ())
        place = low.params.index(low.own[4].base)
        silent = frozenset(k for k in range(len(low.params)) if k != place)
        made = Opaque("adj.root", fn, low.params, (out,), problem.refuse("adj.root"), silent=silent)  # type: ignore[arg-type]
        made.vjp = self._way_back(problem, value, node)
        made.jvp = self._tangent_rule(problem, value, node, own=False)
        return self._with_captures(made, captures)

    def _with_captures(self, made: Opaque, captures: tuple[Base, ...]) -> Opaque:
        found = (*captures, *(b for rule in made.rules for b in rule.captures))
        made.captures = tuple(dict.fromkeys(found))
        made.fn = replace(made.fn, params=(*(p for p in made.fn.params if p not in captures), *made.captures))
        return made

    def _tangent_rule(self, problem: Problem, value: Tup, node: ast.AST, *, own: bool) -> Rule:
        """-J^-1 dr/dargs args_dot at the result; ``own``: there is a state among the results as well."""
        low = _Lowered(self, problem, value, node)
        x = Base(low.child.names.fresh("x"), problem.dt, 1, "in")
        low.child.dims[x] = low.child.shape(low.own[0])
        numbers = (low.child.names.var("state", "i8"),) if own else ()
        seeds: dict[Param, Param] = {}
        for p in low.params:
            if is_float(p.dt):
                name = low.child.names.fresh(f"{p.name.split('.')[0]}_dot")
                seeds[p] = Base(name, p.dt, p.rank, "shadow") if isinstance(p, Base) else Var(name, p.dt)

        def dot(v: Value) -> Value:
            if isinstance(v, Tup):
                return Tup(tuple(map(dot, v.items)), v.cls)
            seed = seeds.get(v.base if isinstance(v, Ref) else v) if isinstance(v, (Ref, Var)) else None  # type: ignore[arg-type]
            return Static(None) if seed is None else Ref.of(seed) if isinstance(seed, Base) else seed

        r_dot = low.doubled([Ref.of(x), *low.args], [Static(None), *map(dot, low.args)])
        memory = Base(low.child.names.fresh("x_dot"), problem.dt, 1, "shadow")
        low.child.dims[memory] = low.child.shape(low.own[0])
        low.solve(Ref.of(x), r_dot, 0, memory, "set")
        given = tuple(seeds.values())
        fn, sites, captures = low.finished("root_dot", (x, *numbers, *given, *low.params, memory), ())
        out = (x, *numbers)
        found = tuple(seeds.get(p) for p in low.params)
        return Rule(fn, out, found, low.params, {0: memory}, low.child.names, (), sites, captures)

    def _way_back(self, problem: Problem, value: Tup, node: ast.AST) -> Rule:
        """r_bar += -J^-T x_bar at what was found."""
        low = _Lowered(self, problem, value, node)
        x = Base(low.child.names.fresh("x"), problem.dt, 1, "in")
        x_bar = Base(low.child.names.fresh("x_bar"), problem.dt, 1, "shadow")
        memory = Base(low.child.names.fresh("r_bar"), problem.dt, 1, "shadow")
        for b in (x, x_bar, memory):
            low.child.dims[b] = low.child.shape(low.own[0])
        low.solve(low.own[0], Ref.of(x_bar), 1, memory, "add")
        fn, sites, captures = low.finished("root_bar", (x, x_bar, *low.params, memory), ())
        place = low.params.index(low.own[4].base)
        return Rule(fn, (x,), (x_bar,), low.params, {place: memory}, low.child.names, (), sites, captures)


class _Lowered:
    """A function of the module that is being lowered: on parameters of its own in place of a problem's values."""

    def __init__(self, low: Roots, problem: Problem, value: Tup, node: ast.AST) -> None:
        self.problem, self.node = problem, node
        self.child: Any = low._child()
        child = self.child
        child.within = (*low.within, problem.fn)
        child.b.line = low.b.line
        child.frames.append(Frame(low.frame.source, Liveness([])))
        made = Parameters(child.names, set())
        given = made.of(value, "x")
        assert isinstance(given, Tup)
        for base, own in made.bases.items():
            child.ones[own] = low.single_axes(base)
        child.singles.update(own for a, own in made.vars if a in low.singles)
        self.own: Any = given.items
        self.params: tuple[Param, ...] = tuple(made.all)
        self.sizes, self.args, self.bands = given.items[1].items, list(given.items[2].items), given.items[3].items  # type: ignore[union-attr]

    def at(self, values: Sequence[Value]) -> Ref:
        """The residual, lowered as if it were called in the user's line."""
        with self._in_the_users_line():
            return self.problem.residual(self.child, values[0], self.sizes, values[1:], self.node)  # type: ignore[arg-type]

    def doubled(self, values: Sequence[Value], dots: Sequence[Value]) -> Value:
        """The tangent of the residual."""
        with self._in_the_users_line():
            return self.child.doubled(self.at, self.problem.fn, values, dots, self.node)[1]

    @contextmanager
    def _in_the_users_line(self) -> Iterator[None]:
        frames, self.child.frames = self.child.frames, self.child.frames[:1]
        try:
            yield
        finally:
            self.child.frames = frames

    @property
    def residual(self) -> Static:
        return Static(Inlined(lambda low, values: self.at([values[0], *self.args])))

    @property
    def tangent(self) -> Static:
        nothing = [Static(None)] * len(self.args)
        return Static(Inlined(lambda low, values: self.doubled([values[0], *self.args], [values[1], *nothing])))

    def run(self, text: Any, values: Sequence[Value]) -> Value:
        """Lower a function of :mod:`.newton`."""
        return self.child.function(text, dict(zip(text.__code__.co_varnames, values, strict=False)), self.node)

    def solve(self, x: Ref, b: Value, transposed: int, memory: Base, mode: str) -> None:
        """Put minus the solution of the system of the Jacobian into memory."""
        found = self.run(newton.SOLVERS[self.problem.kind][1], [self.tangent, x, *self.bands, b, const(transposed, "i8")])
        child = self.child
        minus = child.lazily(child.lengths(found), "f8", lambda i: child.b.op("neg", child.at(found, i)))  # type: ignore[arg-type]
        child.assign(Ref.of(memory), minus, mode)

    def finished(
        self, name: str, params: tuple[Param, ...], results: tuple[Atom, ...]
    ) -> tuple[Fn, tuple[RaiseSite, ...], tuple[Base, ...]]:
        names = self.child.names
        body = hoist(each_to_loops(tuple(self.child.b.stmts), names), names)
        captures = tuple(dict.fromkeys(b for s in walk(body) for b in bases_of(s) if b.role in CAPTURED))
        return Fn(name, (*params, *captures), body, results), tuple(self.child.sites), captures
