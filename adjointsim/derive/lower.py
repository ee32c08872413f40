"""From the syntax tree to the IR: statements and control flow.  Expressions are in :mod:`.expr`, calls in :mod:`.calls`.

Early exits become structure: what follows an ``if`` that leaves on one side is lowered into its other side, so that
``continue``, ``break`` and ``return`` cost nothing where they are not taken.  Only where both sides may leave or go on
is there an exit code (0 go on, 1 continue, 2 break, 3 return) that is tested.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from typing import Any

from . import fence, rules
from .build import const, same, zero
from .calls import Calls
from .context import BREAK, CONTINUE, EXIT, GO_ON, RET, RETURN, UNBOUND, Env, Frame, WrittenParameter, common_dtype
from .ir import Alloc, Atom, Base, Block, Const, Dim, For, If, Let, Load, Raise, Store, Var, While, defined, is_float, walk
from .liveness import Liveness, assigned
from .source import read
from .values import Maybe, Ref, Static, Tup, Value, atoms_in, describe, rebuild, refs_in, shape_of

__all__ = ["Lowering"]

class Lowering(Calls):
    """Lowers one entry function, everything that it calls inlined, into one block of IR."""

    # ---------------------------------------------------------------------------------------------------- functions
    def function(self, fn: types.FunctionType, args: dict[str, Value], node: ast.AST | None = None) -> Value:
        """Lower a call of ``fn`` with its parameters bound; returns the value that it returns."""
        if any(f.source.fn is fn for f in self.frames):
            raise self.error(f"recursion is not supported: {fn.__name__} calls itself", node)
        source = read(fn)
        fence.check(source)
        frame = Frame(source, Liveness(source.body), dict(args))
        frame.env[EXIT] = GO_ON
        self.frames.append(frame)
        self.seen.append(frame)
        try:
            self.statements(source.body, frozenset())
            exit_code = self.env[EXIT]
            value = self.env.get(RET)
            if not (isinstance(exit_code, Const) and exit_code.value == RETURN.value):
                if value is not None:  # some paths return a value and some fall off the end
                    raise self.error("returns a value on some paths and None on others: return on every path", source.node)
                value = Static(None)
            return value  # type: ignore[return-value]
        finally:
            self.frames.pop()

    # --------------------------------------------------------------------------------------------------- statements
    def statements(self, body: list[ast.stmt], out: frozenset[str]) -> None:
        """Lower a list of statements; ``out`` are the names live after it."""
        for k, stmt in enumerate(body):
            rest = body[k + 1 :]
            self.mark(stmt)
            self.frame.current = stmt
            if isinstance(stmt, ast.If):
                if self._if(stmt, rest, out):
                    return
            else:
                self._statement(stmt)
            code = self.env[EXIT]
            if isinstance(code, Const):
                if code.value != GO_ON.value:
                    return  # what follows is never reached
            elif rest:
                test = self.b.op("eq", code, GO_ON)  # type: ignore[arg-type]
                self._branch(test, lambda rest=rest: self.statements(rest, out), self._gone, out, stmt)
                return

    def _statement(self, s: ast.stmt) -> None:
        handler = _STATEMENTS.get(type(s))
        if handler is None:
            raise self.error(f"{type(s).__name__} statements are not supported", s)
        handler(self, s)

    def _expr_statement(self, s: ast.Expr) -> None:
        if isinstance(s.value, ast.Constant):
            return  # a docstring, or ``...``
        self.value(s.value)

    def _assign(self, s: ast.Assign) -> None:
        value = self.value(s.value, root=s.targets[0].id if isinstance(s.targets[0], ast.Name) else None)
        for target in s.targets:
            self.bind(target, value)

    def _ann_assign(self, s: ast.AnnAssign) -> None:
        if s.value is not None:
            self.bind(s.target, self.value(s.value, root=getattr(s.target, "id", None)))

    def _aug_assign(self, s: ast.AugAssign) -> None:
        target = s.target
        if isinstance(target, ast.Subscript):
            ref = self.value(target.value)
            if not isinstance(ref, Ref):
                raise self.error(f"cannot assign to an item of {describe(ref)}", s)
            index = self.element(ref, target)
            old = self.b.load(ref.base, index)  # before the right side, which may write the cell
            mark = len(self.b.stmts)
            right = self.scalar(s.value)
            self.writable(ref, s)
            kept = not any(isinstance(x, Store) and x.base == ref.base for x in walk(tuple(self.b.stmts[mark:])))
            # += and -= of something that does not read the cell kill nothing that the adjoint could need: an "add" store
            if kept and isinstance(s.op, (ast.Add, ast.Sub)) and is_float(ref.base.dt) and ref.base.dt == rules.result_dtype("add", (ref.base.dt, right.dt)):
                self.b.store(ref.base, index, right if isinstance(s.op, ast.Add) else self.b.op("neg", right), "add")
                return
            self.b.store(ref.base, index, self.store_cast(self.binary(s.op, old, right, s), ref.base.dt, s))
            return
        if not isinstance(target, ast.Name):
            raise self.error("augmented assignment to an attribute is not supported", s)
        left = self.name(target.id, s)
        if isinstance(left, Ref):
            raise self.error("augmented assignment of a whole array is not supported yet: write the loop over elements", s)
        self.env[target.id] = self.binary(s.op, left, self.value(s.value), s, root=target.id)

    def bind(self, target: ast.expr, value: Value) -> None:
        """Assign a value to a target."""
        if isinstance(target, ast.Name):
            self.env[target.id] = value
        elif isinstance(target, ast.Tuple):
            items = self.items(value, target)
            if len(items) != len(target.elts):
                raise self.error(f"cannot unpack {len(items)} values into {len(target.elts)} names", target)
            for t, v in zip(target.elts, items, strict=True):
                self.bind(t, v)
        elif isinstance(target, ast.Subscript):
            ref = self.value(target.value)
            if not isinstance(ref, Ref):
                raise self.error(f"cannot assign to an item of {describe(ref)}", target)
            index = self.element(ref, target)
            self.writable(ref, target)
            if not isinstance(value, (Var, Const)):
                raise self.error(f"cannot store {describe(value)} in an element", target)
            self.b.store(ref.base, index, self.store_cast(value, ref.base.dt, target))
        else:
            raise self.error("assignment to an attribute is not supported: a step changes only its own state", target)

    def store_cast(self, value: Value, dt: str, node: ast.AST) -> Atom:
        if not isinstance(value, (Var, Const)):
            raise self.error(f"cannot store {describe(value)} in an element", node)
        if is_float(value.dt) and not is_float(dt):
            return self.b.op("cast", value, dt=dt)  # as Numba does: truncation towards zero, inert
        return self.b.cast(value, dt)

    def writable(self, ref: Ref, node: ast.AST) -> None:
        if ref.base.role in ("in", "const"):
            raise WrittenParameter(ref.base, self.error(f"writes to '{ref.base.name.split('.')[0]}', which a step must not change", node))

        for other in self.partners.get(ref.base, ()):
            name = self.seen_by(other)
            if name is not None:
                raise self.error(f"writes to an array that '{name}' may also name, depending on the run: write to a copy", node)

    def _return(self, s: ast.Return) -> None:
        self.env[RET] = self.value(s.value) if s.value is not None else Static(None)
        self.env[EXIT] = RETURN

    def _break(self, s: ast.stmt) -> None:
        self.env[EXIT] = BREAK

    def _continue(self, s: ast.stmt) -> None:
        self.env[EXIT] = CONTINUE

    def _pass(self, s: ast.stmt) -> None:
        pass

    def _raise(self, s: ast.Raise) -> None:
        if s.exc is None:
            raise self.error("a bare 'raise' is not supported", s)
        self.b.add(Raise(self.site(s, ast.unparse(s.exc)), self.b.line))
        self.env[EXIT] = RETURN  # nothing after it is reached; the value returned does not exist
        self.env.setdefault(RET, Static(_NEVER))

    def _assert(self, s: ast.Assert) -> None:
        message = ast.unparse(s.msg) if s.msg is not None else ""
        self.check(self.b.op("lnot", self.truth(s.test)), s, f"AssertionError({message})")

    # ----------------------------------------------------------------------------------------------------- branches
    def _if(self, s: ast.If, rest: list[ast.stmt], out: frozenset[str]) -> bool:
        """Lower an if; True if the statements after it were lowered into one of its sides."""
        test = self.truth(s.test)
        after = self.frame.live.after[s]
        if isinstance(test, Const):  # decided at derivation: the other side is never lowered
            self.statements(s.body if test.value else s.orelse, after)
            return False

        def side(body: list[ast.stmt]) -> None:
            self.statements(body, after)

        leaves = _leaves(s.body), _leaves(s.orelse)
        if rest and leaves[0] != leaves[1] and any(leaves):

            def then() -> None:
                side(s.body)
                if not leaves[0]:
                    self._continue_with(rest, out)

            def orelse() -> None:
                side(s.orelse)
                if not leaves[1]:
                    self._continue_with(rest, out)

            self._branch(test, then, orelse, out, s)
            return True
        else:
            self._branch(test, lambda: side(s.body), lambda: side(s.orelse), after, s)
        return False

    def _continue_with(self, rest: list[ast.stmt], out: frozenset[str]) -> None:
        code = self.env[EXIT]
        if isinstance(code, Const):
            if code.value == GO_ON.value:
                self.statements(rest, out)
            return
        test = self.b.op("eq", code, GO_ON)  # type: ignore[arg-type]
        self._branch(test, lambda: self.statements(rest, out), self._gone, out, rest[0])

    def _gone(self) -> None:
        """The side on which the exit code is not 0: outside of loops it can only be RETURN."""
        if not self.frame.loops:
            self.env[EXIT] = RETURN

    def _branch(self, test: Atom, then: Callable[[], None], orelse: Callable[[], None], out: frozenset[str], node: ast.AST) -> None:
        """Lower two sides and merge the environments: names live afterwards, the exit code and the return value."""
        before = dict(self.env)
        line = self.b.line
        with self.b.block() as then_stmts:
            then()
        env_then, self.env = self.env, dict(before)
        with self.b.block() as else_stmts:
            orelse()
        env_else = self.env
        self.b.line = line
        self.env = dict(before)
        names = [n for n in dict.fromkeys([*env_then, *env_else]) if n in out or n in (EXIT, RET)]
        dead_then, dead_else = _left(env_then), _left(env_else)
        pairs: list[tuple[str, Atom, Atom]] = []
        shapes: list[tuple[str, tuple[Any, ...]]] = []
        self.changing = [n for n in names if env_then.get(n) is not env_else.get(n)]
        for name in names:
            a, c = env_then.get(name), env_else.get(name)
            if a is c:
                self.env[name] = a  # type: ignore[assignment]
                continue
            # the value on a side that has left is never seen again: whatever the other side has will do
            if name != EXIT:
                a, c = self._fill(a, c, dead_then, dead_else, name)
            shape, both = self._unify(a, c, then_stmts, else_stmts, name, node)
            shapes.append((name, shape))
            pairs += [(name.lstrip("%"), x, y) for x, y in both]
        merged = iter(self.b.phi(test, then_stmts, else_stmts, pairs))
        for name, shape in shapes:
            self.env[name] = rebuild(shape, merged)
        for name in before:
            if name not in names and (env_then.get(name) is not env_else.get(name)):
                self.env.pop(name)  # dead: must not be read by mistake

    def _fill(self, a: Value | None, c: Value | None, dead_a: bool, dead_c: bool, name: str) -> tuple[Value, Value]:
        if isinstance(a, Static) and a.obj in (_NEVER, UNBOUND) and c is not None:
            a = None
        if isinstance(c, Static) and c.obj in (_NEVER, UNBOUND) and a is not None:
            c = None
        if a is None and c is None:
            return Static(UNBOUND), Static(UNBOUND)
        if a is None or (dead_a and name != RET):
            a = self._blank(c, name, dead_a)
        if c is None or (dead_c and name != RET):
            c = self._blank(a, name, dead_c)
        if isinstance(a, Maybe) != isinstance(c, Maybe):
            a = a if isinstance(a, Maybe) else Maybe(a, const(True, "b1"))
            c = c if isinstance(c, Maybe) else Maybe(c, const(True, "b1"))
        return a, c

    def _blank(self, like: Value | None, name: str, dead: bool) -> Value:
        """A value for a path on which the name is not bound (or does not matter)."""
        assert like is not None
        bare = like.value if isinstance(like, Maybe) else like
        value = rebuild(shape_of(bare), iter([zero(a.dt) for a in atoms_in(bare)]))
        if name == RET or (dead and not isinstance(like, Maybe)):
            return value
        return Maybe(value, const(dead, "b1"))

    def _unify(
        self, a: Value, c: Value, in_a: list[Any], in_c: list[Any], name: str, node: ast.AST
    ) -> tuple[tuple[Any, ...], list[tuple[Atom, Atom]]]:
        """Bring two values to one shape and dtype; casts are written at the end of either block."""
        if shape_of(a) != shape_of(c):
            what = "the return value" if name == RET else f"'{name}'"
            merged = self._merge_arrays(a, c, in_a, in_c, name, node)
            if merged is not None:
                return merged
            raise self.error(f"{what} is {describe(a)} on one path and {describe(c)} on another", node)
        return self.unify(a, c, in_a, in_c)

    def _merge_arrays(
        self, a: Value, c: Value, in_a: list[Any], in_c: list[Any], name: str, node: ast.AST
    ) -> tuple[tuple[Any, ...], list[tuple[Atom, Atom]]] | None:
        """A name that is one of two arrays, chosen at run time, is a copy of the chosen one.

        None if the values are not arrays, or tuples with arrays in the same places.
        """
        if isinstance(a, Tup) and isinstance(c, Tup) and len(a.items) == len(c.items) and a.cls is c.cls:
            shapes: list[Any] = []
            pairs: list[tuple[Atom, Atom]] = []
            for x, y in zip(a.items, c.items, strict=True):
                shape, both = self._unify(x, y, in_a, in_c, name, node)
                shapes.append(shape)
                pairs += both
            return ("tuple", a.cls, tuple(shapes)), pairs
        if not (isinstance(a, Ref) and isinstance(c, Ref) and a.rank == c.rank and a.base.dt == c.base.dt):
            return None
        what = f"'{name}'" if name != RET else "the return value"
        inner = {x.base for block in (in_a, in_c) for x in walk(tuple(block)) if isinstance(x, Alloc)}
        source = next((r for r in (a, c) if r.base not in inner and all(self._outer(i, in_a, in_c) for i in r.index)), None)
        if source is None:
            raise self.error(f"{what} is one of two arrays, both made in a branch: make them before the branch", node)
        for r in (a, c):
            written = {x.base for scope in self._loop_scopes() for x in walk(tuple(scope)) if isinstance(x, Store)}
            other = self.seen_by(r.base, self.changing)
            if r.base in written and other is not None and not self._made_in_loop(r.base):
                raise self.error(f"{what} is one of two arrays, chosen at run time, and '{other}' is written: copy it instead", node)
        ref = self.alloc(name.lstrip("%"), a.base.dt, self.shape(source), "none")
        for r, block in ((a, in_a), (c, in_c)):
            with self.b.into(block):
                for have, want in zip(self.shape(r), self.shape(source), strict=True):
                    if have != want:
                        self.check(self.b.op("ne", have, want), node, f"ValueError({f'{what} has two shapes'!r})")
                self.copy_into(ref.base, r)
            self.link(ref.base, r.base)
        return shape_of(ref), []

    def _outer(self, i: Atom | None, in_a: list[Any], in_c: list[Any]) -> bool:
        return i is None or not any(i in defined(x) for block in (in_a, in_c) for x in walk(tuple(block)))

    def _loop_scopes(self) -> list[list[Any]]:
        """The open blocks of the innermost loop and inside it."""
        for k in range(len(self.b.scopes) - 1, -1, -1):
            if self.b.scopes[k].barrier:
                return [scope.stmts for scope in self.b.scopes[k:]]
        return []

    def _made_in_loop(self, base: Base) -> bool:
        return any(isinstance(x, Alloc) and x.base == base for scope in self._loop_scopes() for x in walk(tuple(scope)))

    # -------------------------------------------------------------------------------------------------------- loops
    def _for(self, s: ast.For) -> None:
        items = self.static_items(s.iter)
        if items is not None:
            return self._unrolled(s, items)
        if not isinstance(s.target, ast.Name):
            raise self.error("the target of a loop over range must be a name", s)
        lo, count, step = self.range(s.iter)
        target = s.target.id
        var = self.names.var(target, "i8")

        def body() -> None:
            self.env[target] = var
            self.statements(s.body, self.frame.live.head[s])

        def finish(carries: Any, stmts: Block, yields: Any, results: Any, stop: Atom | None) -> None:
            trips = self.names.var("trips", "i8") if stop is not None else None
            self.b.add(For(var, lo, count, step, carries, stmts, yields, results, stop, trips, s.lineno if len(self.frames) == 1 else self.b.line))

        self._loop(s, [target, *assigned(s.body)], body, finish)

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
            self.b.add(While(carries, tuple(head), test[0], stmts, yields, results, trips, stop, s.lineno if len(self.frames) == 1 else self.b.line))

        self._loop(s, assigned(s.body), body, finish, enter)
        if isinstance(test[0], Const) and test[0].value and not _breaks(s.body):
            self.env[EXIT] = RETURN  # ``while True`` without a break is left by return (or raise) only

    def _loop(
        self,
        s: ast.For | ast.While,
        bound: list[str],
        body: Callable[[], None],
        finish: Callable[..., None],
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        """Lower a loop body until the dtypes of what it carries are a fixpoint (int -> float: two passes)."""
        returns = any(isinstance(n, ast.Return) for x in s.body for n in ast.walk(x))
        live = self.frame.live.head[s]
        names = [n for n in dict.fromkeys(bound) if n in live]
        before = dict(self.env)
        line = self.b.line
        initial: dict[str, Value] = {n: before[n] for n in names if n in before}
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
            for name in names:
                if name not in initial:
                    self.env[name] = Static(UNBOUND)
            sites = len(self.sites)
            enter()
            with self.b.block(loop=True) as stmts:
                self.frame.loops += 1
                body()
                self.frame.loops -= 1
                self._copy_carried_arrays(initial, live, s)
                code = self.env[EXIT]
                stop = self._stop(code)
                if returns:
                    self.env[EXIT] = self._only_return(code)
                widened = self._widen(initial, {n: self.env[n] for n in [*names, EXIT, RET] if n in self.env and (n in names or returns)}, s)
                if widened is None:
                    yields = [
                        self.b.cast(a, v.dt)
                        for name in initial
                        for a, v in zip(atoms_in(self._as_carried(self.env[name], initial[name])), atoms_in(params[name]), strict=True)
                    ]
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
        return Maybe(value, const(True, "b1")) if isinstance(like, Maybe) and not isinstance(value, Maybe) else value

    def _widen(self, initial: dict[str, Value], final: dict[str, Value], node: ast.AST) -> dict[str, Value] | None:
        """Initial values cast or completed so that one more pass may be a fixpoint; None if this pass is one."""
        changed = False
        new = dict(initial)
        for name, value in final.items():
            if name not in initial:  # bound for the first time inside the loop, and live after it or in its next round
                if isinstance(value, Static) and value.obj in (_NEVER, UNBOUND):
                    continue
                bare = value.value if isinstance(value, Maybe) else value
                if any(isinstance(x, Alloc) and x.base == ref.base for ref in refs_in(bare) for x in walk(tuple(self.b.stmts))):
                    what = "the array that is returned from a loop is made in it" if name == RET else f"array '{name}' is made in a loop and used after it, or in its next round"
                    raise self.error(f"{what}: make it before the loop", node)
                blank = rebuild(shape_of(bare), iter([zero(a.dt) for a in atoms_in(bare)]))
                new[name] = blank if name == RET else Maybe(blank, const(False, "b1"))
                changed = True
                continue
            start = initial[name]
            if isinstance(value, Maybe) and not isinstance(start, Maybe):
                new[name] = Maybe(start, const(True, "b1"))
                changed = True
                continue
            value = self._as_carried(value, start)
            if shape_of(value) != shape_of(start):
                if isinstance(value, Ref) and isinstance(start, Ref) and value.rank == start.rank and value.base.dt == start.base.dt:
                    new[name] = self._outside(lambda start=start, name=name: self._carrier(start, name))
                    changed = True
                    continue
                raise self.error(f"'{name}' is {describe(start)} before the loop and {describe(value)} after an iteration", node)
            dts = [common_dtype(a.dt, b.dt) for a, b in zip(atoms_in(start), atoms_in(value), strict=True)]
            if any(dt != a.dt for dt, a in zip(dts, atoms_in(start), strict=True)):
                new[name] = rebuild(shape_of(start), iter([self._outside(lambda a=a, dt=dt: self.b.cast(a, dt)) for a, dt in zip(atoms_in(start), dts, strict=True)]))
                changed = True
        return new if changed else None

    def _outside(self, make: Callable[[], Any]) -> Any:
        """Write something in the block around the one that is open."""
        inner = self.b.scopes.pop()
        try:
            return make()
        finally:
            self.b.scopes.append(inner)

    # an array name that is bound to another array after an iteration (``u, v = v, u``; ``u = f(u)``) gets memory of its
    # own, into which the new array is copied at the end of each iteration: legal if no other name sees either array
    def _carrier(self, start: Ref, name: str) -> Ref:
        ref = self.copy(start, name)
        self.carriers[ref.base] = start.base
        return ref

    def _copy_carried_arrays(self, initial: Env, live: frozenset[str], node: ast.AST) -> None:
        moves: list[tuple[str, Ref, Ref]] = []
        for name, start in initial.items():
            now = self.env.get(name)
            if isinstance(start, Ref) and start.base in self.carriers and isinstance(now, Ref) and now != start:
                moves.append((name, start, now))
        if not moves:
            return
        written = {s.base for s in walk(tuple(self.b.stmts)) if isinstance(s, Store)}
        carried = {start.base for _, start, _ in moves}
        for name, start, now in moves:
            origin = self.carriers[start.base]
            for base in (now.base, origin):
                other = self._other_name(base, name, live)
                if other is None:
                    continue
                if base == now.base or start.base in written or origin in written:
                    raise self.error(
                        f"'{name}' and '{other}' would be one array in the next iteration: copy elements instead of rebinding the name", node
                    )
                self.link(start.base, origin)
        # all at once: an array that is overwritten here and read there is copied first
        sources = [self.copy(now, name) if now.base in carried and len(moves) > 1 else now for name, _, now in moves]
        for (name, start, now), source in zip(moves, sources, strict=True):
            for have, want in zip(self.shape(now), self.shape(start), strict=True):
                if have != want:
                    bad = self.b.op("ne", have, want)
                    self.check(bad, node, f"ValueError({f'array {name} changes its shape in a loop'!r})")
            self.copy_into(start.base, source)
            self.env[name] = start

    def _other_name(self, base: Base, name: str, live: frozenset[str]) -> str | None:
        """Another name that sees an array at the end of an iteration: a live one here, or one of a caller."""
        for other, value in self.env.items():
            if other != name and other in live and any(r.base == base for r in refs_in(value)):
                return other
        if len(self.frames) == 1:
            return None
        inner = self.frames.pop()
        try:
            return self.seen_by(base)
        finally:
            self.frames.append(inner)

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


_NEVER = object()  # the value returned by a path that raises


def _leaves(body: list[ast.stmt]) -> bool:
    """Whether a block always leaves: its last statement is an exit, or an if both sides of which leave."""
    if not body:
        return False
    last = body[-1]
    if isinstance(last, (ast.Return, ast.Break, ast.Continue, ast.Raise)):
        return True
    return isinstance(last, ast.If) and _leaves(last.body) and _leaves(last.orelse)


def _breaks(body: list[ast.stmt]) -> bool:
    """Whether a loop body contains a break of its own loop."""
    return any(
        isinstance(s, ast.Break) or (isinstance(s, ast.If) and (_breaks(s.body) or _breaks(s.orelse))) for s in body
    )


def _left(env: Env) -> bool:
    """Whether a path has left the function: what its names are bound to is then never seen (after a break it is)."""
    code = env[EXIT]
    return isinstance(code, Const) and code.value == RETURN.value


_STATEMENTS: dict[type[ast.stmt], Callable[[Lowering, Any], None]] = {
    ast.Expr: Lowering._expr_statement,
    ast.Assign: Lowering._assign,
    ast.AnnAssign: Lowering._ann_assign,
    ast.AugAssign: Lowering._aug_assign,
    ast.Return: Lowering._return,
    ast.Break: Lowering._break,
    ast.Continue: Lowering._continue,
    ast.Pass: Lowering._pass,
    ast.Raise: Lowering._raise,
    ast.Assert: Lowering._assert,
    ast.For: Lowering._for,
    ast.While: Lowering._while,
}
