"""From the syntax tree to the IR: statements and control flow.  Expressions are in :mod:`.expr`, calls in :mod:`.calls`.

Early exits become structure: what follows an ``if`` that leaves on one side is lowered into its other side, so that
``continue``, ``break`` and ``return`` cost nothing where they are not taken.  Only where both sides may leave or go on
is there an exit code (0 go on, 1 continue, 2 break, 3 return) that is tested.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from . import fence, rules
from .build import const, zero
from .complexpairs import is_complex
from .context import BREAK, CONTINUE, EXIT, GO_ON, HELD, NEVER, RET, RETURN, UNBOUND, Env, Frame, WrittenParameter
from .ir import READ_ONLY, ZERO, Alloc, Atom, Const, If, Raise, Stmt, Var, is_float, walk, written_by
from .liveness import Liveness
from .roots import Roots
from .source import read
from .values import Lazy, Listed, Maybe, Ref, Static, Tup, Value, atoms_in, describe, rebuild, refs_in, shape_of
from .views import Part

__all__ = ["Lowering"]


class Lowering(Roots):
    """Lowers one entry function, or a helper of its own, into one block of IR; calls are in :mod:`.outline`, or inlined."""

    # ---------------------------------------------------------------------------------------------------- functions
    def function(self, fn: types.FunctionType, args: dict[str, Value], node: ast.AST | None = None) -> Value:
        """Lower a call of ``fn`` with its parameters bound; returns the value that it returns."""
        if any(f.source.fn is fn for f in self.frames):
            raise self.error(f"recursion is not supported: {fn.__name__} calls itself", node)
        mark = len(self.b.stmts)
        if self.frames:
            outlined = self.outlined(fn, args)
            if outlined is not None:
                self._written_since(mark)
                return outlined
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
            self._written_since(mark)

    def _written_since(self, mark: int) -> None:
        """Count a call, lowered into the statements from ``mark`` on, if it writes arrays that are not its own."""
        inside = list(walk(tuple(self.b.stmts[mark:])))
        own = {s.base for s in inside if isinstance(s, Alloc)}
        self.writes += any(b not in own for s in inside for b in written_by(s))

    # --------------------------------------------------------------------------------------------------- statements
    def statements(self, body: list[ast.stmt], out: frozenset[str]) -> None:
        """Lower a list of statements; ``out`` are the names live after it."""
        for k, stmt in enumerate(body):
            rest = body[k + 1 :]
            self.mark(stmt)
            self.frame.current = stmt
            self.make_room(stmt)
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
        if not self.append(s):
            self.value(s.value)

    def _assign(self, s: ast.Assign) -> None:
        grows = self.new_list(s)
        if grows is not None:
            return self.bind(s.targets[0], grows)
        root = s.targets[0].id if isinstance(s.targets[0], ast.Name) else None
        # what is stored in one place only need not be an array of its own first
        value = self.operand(s.value, s.targets) if [type(t) for t in s.targets] == [ast.Subscript] else self.value(s.value, root)
        for target in s.targets:
            self.bind(target, value)

    def _ann_assign(self, s: ast.AnnAssign) -> None:
        if s.value is not None:
            self.bind(s.target, self.value(s.value, root=getattr(s.target, "id", None)))

    def _aug_assign(self, s: ast.AugAssign) -> None:
        target = s.target
        if isinstance(target, ast.Subscript):
            pairs, indices = self._complex_target(target)
            if pairs is not None:
                old = self.part_of_complex(pairs, indices, s, None)
                return self.store_complex(pairs, indices, self.binary(s.op, old, self.lazy(s.value), s), s)
            ref, parts, listed = self._target(target, s)
            numbers = self.numbers(parts)
            if numbers is None or len(numbers) < ref.rank:
                before = self.writes
                value = self.lazy(s.value)
                if self.writes != before and any(isinstance(p, (Ref, Lazy)) for p in parts):
                    raise self.error("the right side writes arrays while elements wait to be updated: give it a name first", s)
                return self.in_place(s.op, ref, parts, value, s)
            index: tuple[Atom, ...] = self.view(ref, parts, s).index  # type: ignore[assignment]
            old = self.b.load(ref.base, index)  # before the right side, which may write the cell
            mark = len(self.b.stmts)
            right = self.scalar(s.value)
            self.writable(ref, s)
            kept = not any(ref.base in written_by(x) for x in walk(tuple(self.b.stmts[mark:])))
            # += and -= of something that does not read the cell kill nothing that the adjoint could need: an "add" store
            if (
                kept
                and isinstance(s.op, (ast.Add, ast.Sub))
                and is_float(ref.base.dt)
                and ref.base.dt == rules.result_dtype("add", (ref.base.dt, right.dt))
            ):
                self.b.store(ref.base, index, right if isinstance(s.op, ast.Add) else self.b.op("neg", right), "add")
                return
            self.b.store(ref.base, index, self._element(self.binary(s.op, old, right, s), ref, listed, s))
            return
        if not isinstance(target, ast.Name):
            raise self.error("augmented assignment to an attribute is not supported", s)
        left = self.name(target.id, s)
        if isinstance(left, Ref):
            return self.in_place(s.op, left, [], self.lazy(s.value), s)
        if is_complex(left) and isinstance(left.items[0], Ref):  # type: ignore[union-attr]
            return self.store_complex(left, [], self.binary(s.op, left, self.lazy(s.value), s), s)  # type: ignore[arg-type]
        self.env[target.id] = self.stored(self.binary(s.op, left, self.lazy(s.value), s, root=target.id), target.id)

    def _complex_target(self, target: ast.Subscript) -> tuple[Tup | None, list[Part]]:
        """The complex array that a subscript stores into, and the parts of the index; None if it is none."""
        calls = any(isinstance(n, ast.Call) for n in ast.walk(target.value))  # that must run once only
        owner = self.value(target.value) if self.helpers.complex_seen and not calls else None
        if not is_complex(owner) or not isinstance(owner.items[0], Ref):  # type: ignore[union-attr]
            return None, []
        return owner, self.parts(target, owner.items[0].rank)  # type: ignore[union-attr, return-value]

    def _target(self, target: ast.Subscript, node: ast.AST) -> tuple[Ref, list[Part], bool]:
        """The array, or the memory of the list, that a subscript stores into, the parts of the index, and which it is."""
        owner = self.value(target.value)
        if isinstance(owner, Listed):
            return owner.ref, [self.list_place(owner, self.parts(target, 1), node)], True
        if not isinstance(owner, Ref):
            raise self.error(f"cannot assign to an item of {describe(owner)}", node)
        return owner, self.parts(target, owner.rank), False

    def _element(self, value: Value, ref: Ref, listed: bool, node: ast.AST) -> Atom:
        """A number as an array keeps it, or a list."""
        if not isinstance(value, (Var, Const)):
            raise self.error(f"cannot store {describe(value)} in an element", node)
        return self.element_of(value, ref, node) if listed else self.store_cast(value, ref.base.dt)

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
            pairs, indices = self._complex_target(target)
            if pairs is not None:
                return self.store_complex(pairs, indices, value, target)
            ref, parts, listed = self._target(target, target)
            numbers = self.numbers(parts)
            if numbers is None or len(numbers) < ref.rank:
                return self.store(ref, parts, value, target)
            index: tuple[Atom, ...] = self.view(ref, parts, target).index  # type: ignore[assignment]
            self.writable(ref, target)
            self.b.store(ref.base, index, self._element(value, ref, listed, target))
        else:
            raise self.error("assignment to an attribute is not supported: a step changes only its own state", target)

    def store_cast(self, value: Atom, dt: str) -> Atom:
        if is_float(value.dt) and not is_float(dt):
            return self.b.op("cast", value, dt=dt)  # as Numba does: truncation towards zero, inert
        return self.b.cast(value, dt)

    def writable(self, ref: Ref, node: ast.AST) -> None:
        if ref.base.role in READ_ONLY:
            raise WrittenParameter(
                ref.base, self.error(f"writes to '{ref.base.name.split('.')[0]}', which a step must not change", node)
            )

        for other in self.partners.get(ref.base, ()):
            name = self.seen_by(other)
            if name is not None:
                name = "another operand" if name.startswith(HELD) else f"'{name}'"
                raise self.error(f"writes to an array that {name} may also name, depending on the run: write to a copy", node)

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
        self.env.setdefault(RET, Static(NEVER))

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

    def _branch(
        self, test: Atom, then: Callable[[], None], orelse: Callable[[], None], out: frozenset[str], node: ast.AST
    ) -> None:
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
        raises = [_raises(stmts) for stmts in (then_stmts, else_stmts)]
        if raises[0] != raises[1]:
            gone, rest, env = (then_stmts, else_stmts, env_else) if raises[0] else (else_stmts, then_stmts, env_then)
            self.b.add(If(test if raises[0] else self.b.op("lnot", test), tuple(gone), (), (), line))
            return self._go_on(rest, before, env, out)
        self.env = dict(before)
        names = [n for n in dict.fromkeys([*env_then, *env_else]) if n in out or n in (EXIT, RET)]
        dead_then, dead_else = _left(env_then), _left(env_else)
        pairs: list[tuple[str, Atom, Atom]] = []
        shapes: list[tuple[str, tuple[Any, ...]]] = []
        self.merged = []
        self.changing = [n for n in names if env_then.get(n) is not env_else.get(n)]
        self.leaving = tuple(code if isinstance(code := e[EXIT], Var) else None for e in (env_then, env_else))  # type: ignore[assignment]
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
        self.made_before([r.base for _, shape in shapes for r in refs_in(rebuild(shape, repeat(ZERO)))], [then_stmts, else_stmts])
        merged = iter(self.b.phi(test, then_stmts, else_stmts, pairs))
        for name, shape in shapes:
            self.env[name] = rebuild(shape, merged)
        for name in before:
            if name not in names and (env_then.get(name) is not env_else.get(name)):
                self.env.pop(name)  # dead: must not be read by mistake

    def _go_on(self, rest: list[Stmt], before: Env, after: Env, out: frozenset[str]) -> None:
        """What follows a test whose other side raises is no branch: memory that it makes can be seen after it."""
        for s in rest:
            self.b.add(s)
        live = {name for name in after if name in out or name in (EXIT, RET)}
        self.env = {name: value for name, value in before.items() if name in live or after.get(name) is value}
        self.env.update((name, after[name]) for name in live)

    def _fill(self, a: Value | None, c: Value | None, dead_a: bool, dead_c: bool, name: str) -> tuple[Value, Value]:
        if isinstance(a, Static) and a.obj in (NEVER, UNBOUND) and c is not None:
            a = None
        if isinstance(c, Static) and c.obj in (NEVER, UNBOUND) and a is not None:
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
        a, c = self.alike(a, c)
        if shape_of(a) != shape_of(c):
            what = "the return value" if name == RET else f"'{name}'"
            merged = self._merge_arrays(a, c, in_a, in_c, name, node)
            if merged is not None:
                return merged
            raise self.error(f"{what} is {describe(a)} on one path and {describe(c)} on another", node)
        return self.unify(a, c, in_a, in_c)


def _leaves(body: list[ast.stmt]) -> bool:
    """Whether a block always leaves: its last statement is an exit, or an if both sides of which leave."""
    if not body:
        return False
    last = body[-1]
    if isinstance(last, (ast.Return, ast.Break, ast.Continue, ast.Raise)):
        return True
    return isinstance(last, ast.If) and _leaves(last.body) and _leaves(last.orelse)


def _raises(stmts: Iterable[Stmt]) -> bool:
    """Whether a block always raises."""
    return any(isinstance(s, Raise) or (isinstance(s, If) and _raises(s.then) and _raises(s.orelse)) for s in stmts)


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
