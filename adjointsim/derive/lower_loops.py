"""Lowering of loops: names that an iteration hands to the next become carries, their dtypes a fixpoint."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .build import const, same
from .complexpairs import is_complex
from .context import BREAK, EXIT, GO_ON, NEVER, RET, RETURN, UNBOUND, common_dtype
from .growing import Growing
from .ir import ONE, Atom, Block, Const, Dim, For, If, Let, Load, Var, While, walk
from .iteration import Items
from .liveness import assigned
from .values import Maybe, Static, Value, atoms_in, describe, rebuild, refs_in, shape_of

__all__ = ["Loops"]


class Loops(Growing):
    """Statements ``for`` and ``while``."""

    def statements(self, body: list[ast.stmt], out: frozenset[str]) -> None:
        raise NotImplementedError

    def bind(self, target: ast.expr, value: Value) -> None:
        raise NotImplementedError

    # -------------------------------------------------------------------------------------------------------- loops
    def _for(self, s: ast.For) -> None:
        items = self.static_items(s.iter)
        if items is not None:
            return self._unrolled(s, items)
        if self.is_range(s.iter) and isinstance(s.target, ast.Name):
            lo, count, step = self.range(s.iter)  # type: ignore[arg-type]
            var = self.names.var(s.target.id, "i8")
            found = Items(count, lambda k: var)
        else:
            found = self.items_of(s.iter)
            lo, count, step = const(0, "i8"), found.count, const(1, "i8")
            var = self.names.var("k", "i8")

        steady = {name: (self.length_of(name), m) for name, m in self.steadily(s).items()}

        def grown(rounds: Atom) -> None:
            for name, (n, m) in steady.items():
                self.set_length(name, self.b.op("add", n, self.b.op("mul", rounds, const(m, "i8"))))

        def body() -> None:
            if steady:
                grown(self.b.op("floordiv", self.b.op("sub", var, lo), step) if step != ONE else self.b.op("sub", var, lo))
            self.bind(s.target, found.at(var))
            self.statements(s.body, self.frame.live.head[s])

        def finish(carries: Any, stmts: Block, yields: Any, results: Any, stop: Atom | None) -> None:
            trips = self.names.var("trips", "i8") if stop is not None else None
            self.b.add(
                For(
                    var,
                    lo,
                    count,
                    step,
                    carries,
                    stmts,
                    yields,
                    results,
                    stop,
                    trips,
                    s.lineno if len(self.frames) == 1 else self.b.line,
                )
            )

        targets = [n.id for n in ast.walk(s.target) if isinstance(n, ast.Name)]
        self._loop(s, [*targets, *assigned(s.body), *self.grown_in(s.body, steady)], body, finish, index=var)
        grown(count)

    def _while(self, s: ast.While) -> None:
        sites, env = len(self.sites), dict(self.env)
        try:
            self._tested_while(s)
        except _ImpureTest:
            self.env = env
            # a test that writes, or loops: ``while True: if not test: break; ...``
            del self.sites[sites:]
            leave = ast.copy_location(ast.If(ast.UnaryOp(ast.Not(), s.test), [ast.copy_location(ast.Break(), s)], []), s)
            ast.fix_missing_locations(leave)
            whole = ast.copy_location(ast.While(ast.copy_location(ast.Constant(True), s), [leave, *s.body], []), s)
            live = self.frame.live
            live.head[whole], live.after[whole], live.after[leave] = live.head[s], live.after[s], live.head[s]
            self._tested_while(whole)

    def _tested_while(self, s: ast.While) -> None:
        head: list[Any] = []
        test: list[Atom] = []

        def body() -> None:
            self.statements(s.body, self.frame.live.head[s])

        def enter() -> None:
            with self.b.block(loop=True) as stmts:
                test[:] = [self.truth(s.test)]
            if not all(isinstance(x, (Let, Load, Dim, If)) for x in walk(tuple(stmts))):
                raise _ImpureTest
            head[:] = stmts

        def finish(carries: Any, stmts: Block, yields: Any, results: Any, stop: Atom | None) -> None:
            trips = self.names.var("trips", "i8")
            self.b.add(
                While(
                    carries,
                    tuple(head),
                    test[0],
                    stmts,
                    yields,
                    results,
                    trips,
                    stop,
                    s.lineno if len(self.frames) == 1 else self.b.line,
                )
            )

        self._loop(s, [*assigned(s.body), *self.grown_in(s.body, {})], body, finish, enter)
        if isinstance(test[0], Const) and test[0].value and not _breaks(s.body):
            self.env[EXIT] = RETURN  # ``while True`` without a break is left by return (or raise) only

    def _loop(
        self,
        s: ast.For | ast.While,
        bound: list[str],
        body: Callable[[], None],
        finish: Callable[..., None],
        enter: Callable[[], None] = lambda: None,
        index: Var | None = None,
    ) -> None:
        """Lower a loop body until the dtypes of what it carries are a fixpoint (int -> float: two passes)."""
        returns = any(isinstance(n, ast.Return) for x in s.body for n in ast.walk(x))
        breaks = _breaks(s.body)
        live = self.frame.live.head[s]
        names = [n for n in dict.fromkeys(bound) if n in live]
        before = dict(self.env)
        line = self.b.line
        seen = [base for _, base in self._visible(live)]
        outer = {r.base for frame in self.frames for value in frame.env.values() for r in refs_in(value)}
        known = [n for n in names if n in before and before[n] != Static(UNBOUND)]
        initial: dict[str, Value] = {n: self._unshared(before[n], n, seen) for n in known}
        if returns:
            initial[EXIT] = GO_ON
        while True:
            self.env = {**before, **initial}
            params: dict[str, Value] = {}
            carries: list[tuple[Var, Atom]] = []
            for name, value in initial.items():
                atoms = list(atoms_in(value))
                variables = [self.names.var(name.lstrip("%"), a.dt) for a in atoms]
                carries += zip(variables, atoms, strict=True)
                params[name] = rebuild(shape_of(value), iter(variables))
            self.env.update(params)
            self.env[EXIT] = GO_ON
            self.inner.append({v for v, _ in carries} | ({index} if index is not None else set()))
            for name in names:
                if name not in initial:
                    self.env[name] = Static(UNBOUND)
            sites = len(self.sites)
            enter()
            with self.b.block(loop=True) as stmts:
                self.frame.loops += 1
                body()
                self.frame.loops -= 1
                learnt = self._copy_carried_arrays(initial, live, outer, s)
                code = self.env[EXIT]
                stop = self._stop(code) if returns or breaks else None
                if returns:
                    self.env[EXIT] = self._only_return(code)
                widened = self._widen(
                    initial, {n: self.env[n] for n in [*names, EXIT, RET] if n in self.env and (n in names or returns)}, s
                )
                if widened is None and learnt:
                    widened = initial
                if widened is None:
                    yields = [
                        self.b.cast(a, v.dt)
                        for name in initial
                        for a, v in zip(
                            atoms_in(self._as_carried(self.env[name], initial[name])), atoms_in(params[name]), strict=True
                        )
                    ]
            self.inner.pop()
            if widened is None:
                break
            initial = widened
            del self.sites[sites:]
        self.b.line = line
        results = [self.names.var(v.name, v.dt) for v, _ in carries]
        finish(tuple(carries), tuple(stmts), tuple(yields), tuple(results), stop)
        after = iter(results)
        self.env = dict(before)
        for name in bound:
            self.env.pop(name, None)
        for name, value in initial.items():
            self.env[name] = rebuild(shape_of(value), after)
        if not returns:
            self.env[EXIT] = GO_ON

    def _stop(self, code: Value) -> Atom | None:
        if isinstance(code, Const):
            return const(True, "b1") if code.value >= BREAK.value else None
        return self.b.op("ge", code, BREAK)  # type: ignore[arg-type]

    def _only_return(self, code: Value) -> Atom:
        """The exit code as the statements after the loop see it: break and continue end there."""
        if isinstance(code, Const):
            return code if code.value == RETURN.value else GO_ON
        return self.b.op("select", self.b.op("eq", code, RETURN), RETURN, GO_ON)  # type: ignore[arg-type]

    def _as_carried(self, value: Value, like: Value) -> Value:
        value, _ = self.alike(value, like)
        return Maybe(value, const(True, "b1")) if isinstance(like, Maybe) and not isinstance(value, Maybe) else value

    def _widen(self, initial: dict[str, Value], final: dict[str, Value], node: ast.AST) -> dict[str, Value] | None:
        """Initial values cast or completed so that one more pass may be a fixpoint; None if this pass is one."""
        changed = False
        new = dict(initial)
        carried = {r.base for value in initial.values() for r in refs_in(value)} & {*self.carriers}
        for name, value in final.items():
            if name not in initial:  # bound for the first time inside the loop, and live after it or in its next round
                if isinstance(value, Static) and value.obj in (NEVER, UNBOUND):
                    continue
                bare = self._slots(value.value if isinstance(value, Maybe) else value, name, node, carried)
                new[name] = bare if name == RET else Maybe(bare, const(False, "b1"))
                changed = True
                continue
            start = initial[name]
            if isinstance(value, Maybe) and not isinstance(start, Maybe):
                new[name] = Maybe(start, const(True, "b1"))
                changed = True
                continue
            value = self._as_carried(value, start)
            if is_complex(value) and isinstance(start, (Var, Const)):
                new[name], _ = self.alike(start, value)
                changed = True
                continue
            if shape_of(value) != shape_of(start):
                own = self._owned(start, value, name)
                if own is not None:
                    new[name] = own
                    changed = True
                    continue
                what = "the return value" if name == RET else f"'{name}'"
                raise self.error(f"{what} is {describe(start)} before the loop and {describe(value)} after an iteration", node)
            dts = [common_dtype(a.dt, b.dt) for a, b in zip(atoms_in(start), atoms_in(value), strict=True)]
            if any(dt != a.dt for dt, a in zip(dts, atoms_in(start), strict=True)):
                new[name] = rebuild(
                    shape_of(start),
                    iter(
                        [self._outside(lambda a=a, dt=dt: self.b.cast(a, dt)) for a, dt in zip(atoms_in(start), dts, strict=True)]
                    ),
                )
                changed = True
        return new if changed else None

    def _unrolled(self, s: ast.For, items: list[Value]) -> None:
        """A loop over a tuple: its items may differ in kind, so it is written out."""
        if any(isinstance(n, (ast.Break, ast.Continue)) for x in s.body for n in ast.walk(x)):
            raise self.error("break and continue in a loop over a tuple are not supported: loop over range(len(...))", s)
        for item in items:
            self.bind(s.target, item)
            self.statements(s.body, self.frame.live.head[s])
            if not same(self.env[EXIT], GO_ON):  # type: ignore[arg-type]
                raise self.error("return in a loop over a tuple is not supported: loop over range(len(...))", s)


class _ImpureTest(Exception):
    """The test of a while loop does more than compute."""


def _breaks(body: list[ast.stmt]) -> bool:
    """Whether a loop body contains a break of its own loop."""
    return any(isinstance(s, ast.Break) or (isinstance(s, ast.If) and (_breaks(s.body) or _breaks(s.orelse))) for s in body)
