"""Lowering of expressions: one method a node, a table at the end."""

from __future__ import annotations

import ast
import builtins
import math
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import rules
from .build import const
from .complexes import Complexes
from .complexpairs import is_complex, pair
from .context import HELD, UNBOUND
from .ir import Atom, Const, Let, Stmt, Var, is_float
from .source import MISSING, Source
from .values import Lazy, Listed, Maybe, Ref, Static, Tup, Value, advice, atoms_in, describe, rebuild, refs_in, shape_of
from .views import Part

__all__ = ["Expressions"]


class Expressions(Complexes):
    """Values of expressions."""

    def value(self, node: ast.expr, root: str | None = None) -> Value:
        """The value of an expression; ``root`` names the variable it is about to be bound to."""
        return self.stored(self.lazy(node, root), root)

    def lazy(self, node: ast.expr, root: str | None = None) -> Value:
        """The same, but an array expression is not stored: what it is a part of computes its elements."""
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            raise self.error(f"{type(node).__name__} expressions are not supported", node)
        return handler(self, node, root)

    def scalar(self, node: ast.expr, root: str | None = None) -> Atom:
        value = self.value(node, root)
        if not isinstance(value, (Var, Const)):
            raise self.error(f"expected a number, got {describe(value)}", node)
        return value

    def integer(self, node: ast.expr, what: str) -> Atom:
        value = self.scalar(node)
        if is_float(value.dt):
            raise self.error(f"{what} must be an int, got {describe(value)}", node)
        return self.b.cast(value, "i8") if value.dt == "b1" else value

    def truth(self, node: ast.expr) -> Atom:
        """The truth of a condition, as a bool."""
        if isinstance(node, ast.BoolOp):  # only the truth of each operand matters
            conjunction = isinstance(node.op, ast.And)
            result = self.truth(node.values[0])
            for item in node.values[1:]:
                result = self.short_circuit(result, lambda item=item: self.truth(item), conjunction)
            return result
        return self.as_truth(self.value(node), node)

    def as_truth(self, value: Value, node: ast.AST) -> Atom:
        if isinstance(value, Static):
            return const(bool(value.obj), "b1")
        if is_complex(value):
            raise self.error("the truth of a complex number: write z != 0", node)
        if isinstance(value, Tup):
            return const(bool(value.items), "b1")
        if not isinstance(value, (Var, Const)):
            raise self.error(f"the truth of {describe(value)} is not defined", node)
        return self.as_bool(value)

    def operand(self, node: ast.expr, later: Iterable[ast.expr]) -> Value:
        """An operand, stored if one that is evaluated ``later`` calls what may write the arrays that it reads."""
        value = self.lazy(node)
        if isinstance(value, Lazy) and any(isinstance(n, ast.Call) and self._enters(n) for x in later for n in ast.walk(x)):
            return self.stored(value)
        return value

    def _enters(self, node: ast.Call) -> bool:
        """Whether a call is one of a Python function, which may write arrays."""
        func, source = node.func, self.frame.source
        if isinstance(func, ast.Attribute):
            return not (isinstance(func.value, ast.Name) and func.value.id in ("np", "math", "numpy"))
        obj = source.lookup(func.id) if isinstance(func, ast.Name) else None
        return not (isinstance(obj, type) or (obj is not MISSING and getattr(builtins, getattr(func, "id", ""), None) is obj))

    # -------------------------------------------------------------------------------------------------------- names
    def name(self, name: str, node: ast.AST) -> Value:
        value = self.env.get(name)
        if isinstance(value, Static) and value.obj is UNBOUND:  # bound later in this loop: the next pass knows its type
            return const(0, "i8")  # the least type: it widens to whatever the name turns out to be
        if isinstance(value, Maybe):
            # a name bound on some paths only: Python's own error where it is not
            self.check(
                self.b.op("lnot", value.flag), node, f"UnboundLocalError({f'local variable {name!r} is not bound here'!r})"
            )
            self.env[name] = value = value.value
        if value is not None:
            return value
        source = self.frame.source
        if name in source.fn.__code__.co_varnames:
            raise self.error(f"local variable '{name}' is read before it is assigned", node)
        obj = source.lookup(name)
        if obj is MISSING:
            raise self.error(f"name '{name}' is not defined", node)
        return self.captured(name, obj, node)

    def captured(self, path: str, obj: Any, node: ast.AST, source: Source | None = None) -> Value:
        """A value from outside: numbers and arrays become hidden inputs, everything else is static."""
        source = source or self.frame.source
        self.outside[(source, path)] = obj
        if isinstance(obj, (bool, int, float, complex, np.bool_, np.number, np.ndarray)) or (
            isinstance(obj, tuple) and not isinstance(obj, type)
        ):
            return self.capture(self, path, obj, node, source)
        return Static(obj, path)

    def _name(self, node: ast.Name, root: str | None) -> Value:
        return self.name(node.id, node)

    def _constant(self, node: ast.Constant, root: str | None) -> Value:
        v = node.value
        if isinstance(v, bool):
            return const(v, "b1")
        if isinstance(v, int):
            if not -(2**63) <= v < 2**63:
                raise self.error("an int constant must fit in 64 bits", node)
            return const(v, "i8")
        if isinstance(v, float):
            return const(v, "f8")
        if isinstance(v, complex):
            self.helpers.complex_seen = True
            return pair(const(v.real, "f8"), const(v.imag, "f8"))
        return Static(v)

    def _tuple(self, node: ast.Tuple, root: str | None) -> Value:
        mark = self.holding()
        items = tuple(self.held(self.value(e)) for e in node.elts)
        self.release(mark)
        return Tup(items)

    def holding(self) -> int:
        """How many operands are kept in sight."""
        return sum(name.startswith(HELD) for name in self.env)

    def held(self, value: Value) -> Value:
        """Keep an operand in sight while the others of its expression are evaluated, which may write arrays."""
        if any(True for _ in refs_in(value)):
            self.env[f"{HELD}{self.holding()}"] = value
        return value

    def release(self, mark: int) -> None:
        """Forget the operands beyond the first ``mark``: their expression has all of them."""
        for k in range(mark, self.holding()):
            del self.env[f"{HELD}{k}"]

    def _attribute(self, node: ast.Attribute, root: str | None) -> Value:
        owner = self.lazy(node.value)
        if isinstance(owner, Static):
            if isinstance(owner.obj, types.ModuleType):
                obj = getattr(owner.obj, node.attr, MISSING)
                if obj is MISSING:
                    raise self.error(f"module {owner.obj.__name__} has no attribute '{node.attr}'", node)
                if owner.obj in (math, np) and isinstance(obj, float):
                    return const(obj, "f8")  # math.pi, np.inf: constants for good
                return self.captured(ast.unparse(node), obj, node)
            raise self.error(f"attribute '{node.attr}' of {describe(owner)} is not supported: pass the value in p", node)
        if is_complex(owner) and node.attr not in ("real", "imag"):
            return self.complex_attribute(owner, node.attr, node)  # type: ignore[arg-type]
        if node.attr in ("real", "imag") and isinstance(owner, (Var, Const, Ref, Lazy)):
            return self.both(owner)[node.attr == "imag"]
        if isinstance(owner, Tup) and owner.cls is not None and node.attr in owner.cls._fields:  # type: ignore[attr-defined]
            return owner.items[owner.cls._fields.index(node.attr)]  # type: ignore[attr-defined]
        if isinstance(owner, (Ref, Lazy)):
            if node.attr == "shape":
                return Tup(self.lengths(owner))
            if node.attr == "size":
                return self.count(owner)
            if node.attr == "ndim":
                return const(owner.rank, "i8")
            if node.attr == "dtype":
                return Static(np.dtype(self.dtype(owner)))
            if node.attr == "T":
                return self.transposed(self.kept(owner), list(range(owner.rank))[::-1])
        raise self.error(f"attribute '{node.attr}' of {describe(owner)} is not supported", node)

    # ---------------------------------------------------------------------------------------------------- operators
    def binary(self, op: ast.operator, left: Value, right: Value, node: ast.AST, root: str | None = None) -> Value:
        name = rules.BINARY.get(type(op))
        if name is None:
            raise self.error(f"operator {type(op).__name__} is not supported", node)
        if is_complex(left) or is_complex(right):
            return self.complex_binary(name, left, right, node)
        if isinstance(left, (Ref, Lazy)) or isinstance(right, (Ref, Lazy)):
            return self.elementwise(self._exponent(name, right, left), [left, right], node)
        for side in (left, right):
            if not isinstance(side, (Var, Const)):
                raise self.error(f"arithmetic on {describe(side)} is not supported: {advice(side)}", node)
        if name == "pow" and isinstance(right, Const) and right.dt == left.dt == "i8" and right.value < 0:  # type: ignore[operator, union-attr]
            left = self.b.cast(left, "f8")  # type: ignore[arg-type]
        if name == "pow" and isinstance(right, Const) and right.dt == "i8" and is_float(left.dt):  # type: ignore[union-attr]
            name = "powi"
        try:
            return self.b.op(name, left, right, root=root)  # type: ignore[arg-type]
        except TypeError as exc:
            raise self.error(str(exc), node) from None

    def _bin_op(self, node: ast.BinOp, root: str | None) -> Value:
        left = self.operand(node.left, [node.right])
        right = self.lazy(node.right)
        if isinstance(node.op, ast.MatMult):
            return self.matmul(left, right, node, root)
        if is_complex(left) or is_complex(right):
            return self.binary(node.op, left, right, node, root)
        if isinstance(left, Tup) and isinstance(right, Tup) and isinstance(node.op, ast.Add):
            return Tup(left.items + right.items)
        return self.binary(node.op, left, right, node, root)

    def _unary_op(self, node: ast.UnaryOp, root: str | None) -> Value:
        if isinstance(node.op, ast.Not):
            return self.b.op("lnot", self.truth(node.operand), root=root)
        value = self.lazy(node.operand)
        if is_complex(value) and not isinstance(node.op, ast.Invert):
            return self.complex_function("neg" if isinstance(node.op, ast.USub) else "pos", [value], node)
        if isinstance(value, (Ref, Lazy)):
            name = {ast.UAdd: "pos", ast.USub: "neg"}.get(type(node.op), "lnot" if self.dtype(value) == "b1" else "invert")
            return self.elementwise(name, [value], node)
        if not isinstance(value, (Var, Const)):
            raise self.error(f"expected a number, got {describe(value)}", node)
        if isinstance(node.op, ast.UAdd):
            return value if value.dt != "b1" else self.b.cast(value, "i8")
        if isinstance(node.op, ast.Invert):
            if is_float(value.dt):
                raise self.error("'~' of a float is not defined", node)
            return self.b.op("invert", value, root=root)
        return self.b.op("neg", value, root=root)

    def _compare(self, node: ast.Compare, root: str | None) -> Value:
        def chain(k: int, left: Value) -> Atom:  # a < b < c: b once, c only if a < b
            right, bit = self._compare_one(node.ops[k], left, node.comparators[k], node)
            if isinstance(bit, Lazy):
                if len(node.ops) > 1:
                    raise self.error("a chain of comparisons of arrays has no truth: write (a < b) & (b < c)", node)
                return bit  # type: ignore[return-value]
            return bit if k == len(node.ops) - 1 else self.short_circuit(bit, lambda: chain(k + 1, right), True)

        return chain(0, self.operand(node.left, node.comparators))

    def _compare_one(self, op: ast.cmpop, left: Value, right_node: ast.expr, node: ast.Compare) -> tuple[Value, Atom]:
        right = self.lazy(right_node)
        if isinstance(op, (ast.Is, ast.IsNot)):
            if isinstance(left, Static) and isinstance(right, Static):
                return right, const((left.obj is right.obj) == isinstance(op, ast.Is), "b1")
            if any(isinstance(v, Static) and v.obj is None for v in (left, right)):
                return right, const(isinstance(op, ast.IsNot), "b1")
            raise self.error("'is' is supported only for None", node)
        if isinstance(left, Static) and isinstance(right, Static) and isinstance(op, (ast.Eq, ast.NotEq)):
            return right, const((left.obj == right.obj) == isinstance(op, ast.Eq), "b1")
        if type(op) in rules.COMPARE and (is_complex(left) or is_complex(right)):
            return right, self.complex_binary(rules.COMPARE[type(op)], left, right, node)  # type: ignore[return-value]
        if type(op) in rules.COMPARE and (isinstance(left, (Ref, Lazy)) or isinstance(right, (Ref, Lazy))):
            return right, self.elementwise(rules.COMPARE[type(op)], [left, right], node)  # type: ignore[return-value]
        if type(op) not in rules.COMPARE or not isinstance(left, (Var, Const)) or not isinstance(right, (Var, Const)):
            raise self.error(f"comparison of {describe(left)} with {describe(right)} is not supported", node)
        return right, self.b.op(rules.COMPARE[type(op)], left, right)

    def short_circuit(self, first: Atom, rest: Callable[[], Atom], conjunction: bool) -> Atom:
        """``first and rest()`` / ``first or rest()`` of bools: the right side is run only if Python would run it."""
        if isinstance(first, Const):
            return rest() if bool(first.value) == conjunction else first
        before = dict(self.env)
        with self.b.block() as stmts:
            second = rest()
        self.env = before
        if all(isinstance(s, Let) for s in stmts):  # nothing that can fail: no branch needed
            self.b.stmts.extend(stmts)
            return self.b.op("land" if conjunction else "lor", first, second)
        shortcut = const(not conjunction, "b1")
        sides = (stmts, []) if conjunction else ([], stmts)
        pair = (second, shortcut) if conjunction else (shortcut, second)
        return self.b.phi(first, *sides, [("both" if conjunction else "either", *pair)])[0]

    def _bool_op(self, node: ast.BoolOp, root: str | None) -> Value:
        """``a and b`` as a value is one of its operands, as in Python."""
        conjunction = isinstance(node.op, ast.And)
        result = self.value(node.values[0])
        for item in node.values[1:]:
            if isinstance(result, (Var, Const)) and result.dt != "b1":
                result = self._operand(result, item, conjunction, node)
                continue
            bit = self.as_truth(result, node)
            if isinstance(bit, Const):
                result = self.value(item) if bool(bit.value) == conjunction else result
                continue
            found: list[Value] = []

            def rest(item: ast.expr = item, found: list[Value] = found) -> Atom:
                found.append(self.value(item))
                return self.as_truth(found[0], item)

            merged = self.short_circuit(bit, rest, conjunction)
            if not isinstance(found[0], (Var, Const)) or found[0].dt != "b1":
                raise self.error(
                    f"'{'and' if conjunction else 'or'}' of a bool and {describe(found[0])} as a value is not supported", node
                )
            result = merged
        return result

    def _operand(self, first: Atom, item: ast.expr, conjunction: bool, node: ast.AST) -> Atom:
        test = self.as_bool(first)
        before = dict(self.env)
        with self.b.block() as stmts:
            second = self.scalar(item)
        self.env = before
        other: list[Stmt] = []
        blocks = (stmts, other) if conjunction else (other, stmts)
        pair = (second, first) if conjunction else (first, second)
        if "b1" in (first.dt, second.dt) and first.dt != second.dt:
            raise self.error(f"'{'and' if conjunction else 'or'}' of a number and a bool as a value is not supported", node)
        _, pairs = self.unify(*pair, *blocks)
        return self.b.phi(test, *blocks, [("either", *pairs[0])])[0]

    def _if_exp(self, node: ast.IfExp, root: str | None) -> Value:
        test = self.truth(node.test)
        if isinstance(test, Const):
            return self.value(node.body if test.value else node.orelse, root)
        found: list[Value] = []
        blocks = []
        before = dict(self.env)
        for side in (node.body, node.orelse):
            with self.b.block() as stmts:
                found.append(self.value(side))
            self.env = dict(before)
            blocks.append(stmts)
        found = list(self.alike(*found))
        if shape_of(found[0]) != shape_of(found[1]):
            if isinstance(found[0], Ref) and isinstance(found[1], Ref):
                raise self.error("one of two arrays, chosen at run time: copy the chosen one element by element", node)
            raise self.error(f"{describe(found[0])} on one side and {describe(found[1])} on the other", node)
        shape, pairs = self.unify(found[0], found[1], blocks[0], blocks[1])
        merged = self.b.phi(test, blocks[0], blocks[1], [(root or "chosen", x, y) for x, y in pairs])
        return rebuild(shape, iter(merged))

    # --------------------------------------------------------------------------------------------------- subscripts
    def items(self, value: Value, node: ast.AST) -> list[Value]:
        """The items of something that is unpacked or iterated over at derivation."""
        if is_complex(value):
            raise self.error(f"{describe(value)} cannot be unpacked: index it", node)
        if isinstance(value, Tup):
            return list(value.items)
        value = value.ref if isinstance(value, Listed) else value
        if isinstance(value, Ref):
            n = self.shape(value)[0]
            if isinstance(n, Const):
                return [self.item(value, (const(k, "i8"),), node) for k in range(int(n.value))]
            raise self.error("an array whose length is known only at run time cannot be unpacked: index it", node)
        raise self.error(f"cannot unpack {describe(value)}", node)

    def numbers(self, parts: list[Part]) -> tuple[Atom, ...] | None:
        """The parts of an index, if all are numbers."""
        return tuple(p for p in parts if isinstance(p, (Var, Const))) if all(isinstance(p, (Var, Const)) for p in parts) else None

    def _subscript(self, node: ast.Subscript, root: str | None) -> Value:
        if isinstance(node.value, ast.Name) and self.env.get(node.value.id) == Static(UNBOUND):
            raise self.error(f"'{node.value.id}' is read in the round after the one that makes it: make it before the loop", node)
        owner = self.lazy(node.value)
        if isinstance(owner, Static):
            raise self.error(f"{describe(owner)} cannot be indexed: {advice(owner)}", node)
        if is_complex(owner):
            re = owner.items[0]  # type: ignore[union-attr]
            if not isinstance(re, (Ref, Lazy)):
                raise self.error("a complex number cannot be indexed", node)
            return self.part_of_complex(owner, self.parts(node, re.rank), node, root)  # type: ignore[arg-type]
        if isinstance(owner, (Ref, Lazy)):
            parts = self.parts(node, owner.rank)
            numbers = self.numbers(parts)
            if isinstance(owner, Lazy) and numbers is not None and len(numbers) == owner.rank:
                shape = self.lengths(owner)
                return self.at(owner, [self._inside(i, n) for i, n in zip(numbers, shape, strict=True)])
            if isinstance(owner, Ref) and numbers is not None:
                return self.item(owner, numbers, node, root)
            return self.pick(owner, parts, node)
        if isinstance(owner, Listed):
            return self.b.load(owner.ref.base, (self.list_place(owner, self.parts(node, 1), node),), root, "never")
        if isinstance(owner, Tup) and isinstance(node.slice, ast.Slice):
            ends = [self.literal_bound(e) for e in (node.slice.lower, node.slice.upper, node.slice.step)]
            return Tup(owner.items[slice(*ends)])
        indices = self.numbers(self.parts(node, 1)) if isinstance(owner, Tup) else ()
        if not isinstance(owner, Tup) or indices is None or len(indices) != 1:
            raise self.error(f"{describe(owner)} cannot be indexed like this", node)
        (k,) = indices
        if isinstance(k, Const):
            if not -len(owner.items) <= k.value < len(owner.items):  # type: ignore[operator]
                raise self.error(f"index {k.value} is out of range for {describe(owner)}", node)
            return owner.items[int(k.value)]  # type: ignore[arg-type]
        return self._choose(owner, k, node)

    def literal_bound(self, node: ast.expr | None) -> int | None:
        """A bound of a slice of a tuple."""
        return None if self._is_none(node) else self.literal_int(node, 0, "a bound of a slice of a tuple")

    def _choose(self, owner: Tup, k: Atom, node: ast.AST) -> Value:
        """``tuple[k]`` with k known at run time: a chain of selections among items of one kind."""
        atoms = [a for item in owner.items for a in atoms_in(item)]
        if not owner.items or any(not isinstance(i, (Var, Const)) for i in owner.items) or len({a.dt for a in atoms}) != 1:
            raise self.error(
                f"an index known only at run time needs a tuple of numbers of one dtype, not {describe(owner)}", node
            )
        return self.chosen(owner, k, node)

    def chosen(self, items: Tup, k: Atom, node: ast.AST | None = None) -> Atom:
        """The item of a tuple of numbers at a place known only at run time."""
        atoms = [a for item in items.items for a in atoms_in(item)]
        dt = self._common([a.dt for a in atoms])
        atoms = [self.b.cast(a, dt) for a in atoms]
        n = const(len(atoms), "i8")
        k = self.b.op("select", self.b.op("lt", k, const(0, "i8")), self.b.op("add", k, n), k)
        bad = self.b.op("lor", self.b.op("lt", k, const(0, "i8")), self.b.op("ge", k, n))
        if node is not None:
            self.check(bad, node, "IndexError('tuple index out of range')")
        result: Atom = atoms[-1]
        for j in range(len(atoms) - 2, -1, -1):
            result = self.b.op("select", self.b.op("eq", k, const(j, "i8")), atoms[j], result)
        return result


_EXPRESSIONS: dict[type[ast.expr], Callable[[Any, Any, str | None], Value]] = {
    ast.Name: Expressions._name,
    ast.Constant: Expressions._constant,
    ast.Tuple: Expressions._tuple,
    ast.Attribute: Expressions._attribute,
    ast.BinOp: Expressions._bin_op,
    ast.UnaryOp: Expressions._unary_op,
    ast.Compare: Expressions._compare,
    ast.BoolOp: Expressions._bool_op,
    ast.IfExp: Expressions._if_exp,
    ast.Subscript: Expressions._subscript,
    ast.List: Expressions.list_of,
    ast.ListComp: Expressions.list_of,
    ast.Call: lambda self, node, root: self.call(node, root),
}
