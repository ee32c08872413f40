"""Complex numbers: pairs of real ones, from the lowering on.

A complex value is a tuple of its real and imaginary parts (:class:`ComplexPair`), which are numbers, arrays or expressions.
So nothing behind the lowering knows of them; functions that are not holomorphic (``abs``, ``conj``, ``real``) need no rules of
their own; and a cotangent is dL/d(real part) + i dL/d(imaginary part), the direction in which L grows fastest.  (The
derivative of a holomorphic function f is applied as ``conj(f'(z)) * bar``; JAX's convention is the conjugate of this one.)

Results are those of complex arithmetic to rounding; Numba's own may differ in the last bits.
"""

from __future__ import annotations

import ast
import cmath
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .build import const, zero
from .context import wrap_of
from .ir import ONE, ZERO, Atom, Base, Const, Each, Store, Var, is_float
from .iteration import Iteration
from .spec import ComplexSpec, ones_of
from .values import Axis, ComplexPair, Lazy, Ref, Static, Tup, Value, describe

__all__ = ["COMPLEX_CASTS", "Complexes", "interleaved", "is_complex", "pair"]

Two = tuple[Atom, Atom]


#: dtypes, as they are written
COMPLEX_CASTS: dict[Any, str] = {complex: "c16", np.complex128: "c16", np.complex64: "c8"}

#: functions of other modules, by the operation of the same meaning
_NAMES: dict[Any, str] = {
    **{getattr(cmath, name): name for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    np.conj: "conj", np.conjugate: "conj", np.angle: "angle", cmath.phase: "angle", np.real: "real", np.imag: "imag",
}  # fmt: skip

#: NumPy's functions that treat the real and the imaginary parts of an array alike
_ALIKE = frozenset(
    [np.transpose, np.flip, np.roll, np.concatenate, np.stack, np.hstack, np.vstack, np.diff, np.cumsum, np.where, np.tril,
     np.triu, np.trace, np.diag, np.sum, np.mean, np.copy, np.empty_like, np.zeros_like]
)  # fmt: skip
_METHODS_ALIKE = frozenset(["sum", "mean", "copy", "flatten", "ravel", "reshape", "transpose"])


def is_complex(v: Value | None) -> bool:
    """Whether a value is a complex number, array or expression."""
    return isinstance(v, Tup) and v.cls is ComplexPair


def pair(re: Value, im: Value) -> Tup:
    """A complex value of its parts."""
    return Tup((re, im), ComplexPair)


def interleaved(base: Base) -> Tup:
    """The complex array in a real one whose last axis is the part."""
    axes = tuple(Axis(k) for k in range(base.rank - 1))
    re, im = (Ref(base, (*axes, part), (None,) * (base.rank - 1)) for part in (ZERO, ONE))
    return pair(re, im)


class Complexes(Iteration):
    """Values of complex expressions."""

    # ------------------------------------------------------------------------------------------------- numbers and arrays
    def complex_number(self, base: Base) -> Tup:
        """The number in a leaf."""
        self.helpers.complex_seen = True
        root = base.name.split(".")[0]
        return pair(*(self.b.load(base, (k,), root, "never") for k in (ZERO, ONE)))

    def complex_array(self, base: Base) -> Tup:
        """The array in a leaf."""
        self.helpers.complex_seen = True
        return interleaved(base)

    def one_leaf(self, v: Value) -> Base:
        """A complex number or array in memory of one base, its last axis the part."""
        re, im = v.items  # type: ignore[union-attr]
        if isinstance(re, Ref) and pair(re, im) == interleaved(re.base):
            return re.base
        dt = "f4" if self.complex_spec(v).dt == "c8" else "f8"
        lens = self.lengths(re) if isinstance(re, (Ref, Lazy)) else ()
        base = self.alloc("argument", dt, (*lens, const(2, "i8")), "none").base
        if lens:
            self.assign_complex(interleaved(base), v)
        else:
            for k, x in ((ZERO, re), (ONE, im)):
                self.b.store(base, (k,), self.b.cast(x, dt), "set", "never")  # type: ignore[arg-type]
        return base

    def complex_spec(self, v: Value) -> ComplexSpec:
        re, im = self.both(v)
        dts = {self.dtype(re), self.dtype(im)}
        dt = "c8" if dts == {"f4"} else "c16"
        return ComplexSpec(dt, re.rank, ones_of(self.lengths(re), ONE)) if isinstance(re, (Ref, Lazy)) else ComplexSpec(dt, 0)

    def both(self, v: Value) -> tuple[Any, Any]:
        """The real and imaginary parts of a complex or real value."""
        if is_complex(v):
            return v.items  # type: ignore[union-attr, return-value]
        dt = self.dtype(v)
        nothing = zero(dt if is_float(dt) else "f8")
        if isinstance(v, (Ref, Lazy)):
            return v, self.lazily(self.lengths(v), nothing.dt, lambda i: nothing)
        return v, nothing

    def alike(self, a: Value, c: Value) -> tuple[Value, Value]:
        """Two values for one name: of a real and a complex number, both complex."""
        if is_complex(a) != is_complex(c) and all(isinstance(v, (Var, Const)) for v in (a, c) if not is_complex(v)):
            return tuple(v if is_complex(v) else pair(v, zero("f8")) for v in (a, c))  # type: ignore[return-value]
        return a, c

    def side(self, v: Value, k: int) -> Value:
        """The real (0) or imaginary (1) side of an argument that may be complex; ints, conditions and axes have one side."""
        if is_complex(v):
            return v.items[k]  # type: ignore[union-attr]
        if isinstance(v, Tup):
            return Tup(tuple(self.side(i, k) for i in v.items), v.cls)
        if isinstance(v, (Var, Const, Ref, Lazy)) and is_float(self.dtype(v)):
            return self.both(v)[k]
        return v

    def has_complex(self, v: Value) -> bool:
        return is_complex(v) or (isinstance(v, Tup) and any(map(self.has_complex, v.items)))

    def made_complex(self, dt: str, make: Callable[[str, int], Value]) -> Tup:
        """A complex array of two that are made alike; ``make`` takes the dtype and the part."""
        self.helpers.complex_seen = True
        own = "f8" if dt == "c16" else "f4"
        return pair(make(own, 0), make(own, 1))

    # --------------------------------------------------------------------------------------------------------- operations
    def complexly(self, rule: Callable[..., Two], operands: Sequence[Value], node: ast.AST) -> Tup:
        """A rule of pairs of numbers, of numbers or element by element; a real operand is (x, None)."""
        flat = [p for v in operands for p in (v.items if is_complex(v) else (v,))]  # type: ignore[union-attr]
        for p in flat:
            if not isinstance(p, (Var, Const, Ref, Lazy)):
                raise self.error(f"complex arithmetic with {describe(p)} is not supported", node)
        if not any(isinstance(p, (Ref, Lazy)) for p in flat):
            return pair(*rule(*(self._as_two(v, lambda p: p) for v in operands)))
        floats = {self.dtype(p) for p in flat if is_float(self.dtype(p)) and isinstance(p, (Ref, Lazy))}
        dt = "f4" if floats == {"f4"} else "f8"
        lens = self.broadcast(flat, node)
        kept: list[tuple[Any, tuple[Atom, ...], Two]] = []  # the last element computed, and where: the other part is its twin

        def element(index: Sequence[Atom]) -> Two:
            scope, at = self.b.scopes[-1], tuple(index)
            if not kept or kept[0][0] is not scope or kept[0][1] != at:
                two = rule(*(self._as_two(v, lambda p: self.b.cast(self.at(p, index), dt)) for v in operands))
                kept[:] = [(scope, at, (self.b.cast(two[0], dt), self.b.cast(two[1], dt)))]
            return kept[0][2]

        return pair(self.lazily(lens, dt, lambda i: element(i)[0]), self.lazily(lens, dt, lambda i: element(i)[1]))

    def _as_two(self, v: Value, read: Callable[[Any], Atom]) -> tuple[Atom, Atom | None]:
        def real(p: Any) -> Atom:
            x = read(p)
            return x if is_float(x.dt) else self.b.cast(x, "f8")

        return (real(v.items[0]), real(v.items[1])) if is_complex(v) else (real(v), None)  # type: ignore[union-attr]

    def really(self, rule: Callable[..., Atom], v: Value, node: ast.AST) -> Value:
        """A real-valued rule of a complex number, or of each element."""
        found: Tup = self.complexly(lambda z: (rule(z), zero("f8")), [v], node)
        return found.items[0]

    def complex_binary(self, name: str, left: Value, right: Value, node: ast.AST) -> Value:
        """An operator, at least one operand being complex."""
        rules: dict[str, Callable[..., Two]] = {"add": self._add, "sub": self._sub, "mul": self._mul, "div": self._div}
        if name in rules:
            return self.complexly(rules[name], [left, right], node)
        if name == "pow":
            if isinstance(right, Const) and right.dt == "i8":
                return self.complexly(lambda z: self._power(z, int(right.value)), [left], node)  # type: ignore[arg-type]
            return self.complexly(self._pow, [left, right], node)
        if name in ("eq", "ne"):
            return self.really_of_two(name, left, right, node)
        raise self.error(f"'{name}' of complex numbers is not defined", node)

    def really_of_two(self, name: str, left: Value, right: Value, node: ast.AST) -> Value:
        """Whether two numbers, or the elements of arrays, are equal (or not)."""
        (a, b), (c, d) = self.both(left), self.both(right)
        op = (lambda n, *v: self.elementwise(n, list(v), node)) if any(isinstance(v, (Ref, Lazy)) for v in (a, c)) else self.b.op
        return op("land" if name == "eq" else "lor", op(name, a, c), op(name, b, d))

    def _add(self, x: Any, y: Any) -> Two:
        (a, b), (c, d) = x, y
        return self.b.op("add", a, c), d if b is None else b if d is None else self.b.op("add", b, d)

    def _sub(self, x: Any, y: Any) -> Two:
        (a, b), (c, d) = x, y
        return self.b.op("sub", a, c), self.b.op("neg", d) if b is None else b if d is None else self.b.op("sub", b, d)

    def _mul(self, x: Any, y: Any) -> Two:
        (a, b), (c, d), op = x, y, self.b.op
        if b is None or d is None:
            s, (u, v) = (a, (c, d)) if b is None else (c, (a, b))
            return op("mul", s, u), op("mul", s, v)
        return op("sub", op("mul", a, c), op("mul", b, d)), op("add", op("mul", a, d), op("mul", b, c))

    def _div(self, x: Any, y: Any) -> Two:
        """Smith's division, which does not overflow where the quotient does not."""
        (a, b), (c, d), op = x, y, self.b.op
        if d is None:
            return op("div", a, c), op("div", b, c)
        b = zero(a.dt) if b is None else b
        large = op("ge", op("abs", c), op("abs", d))
        p, q = op("select", large, c, d), op("select", large, d, c)
        r = op("div", q, p)
        den = op("add", p, op("mul", q, r))
        first, second = op("select", large, a, b), op("select", large, b, a)
        im = op("sub", second, op("mul", first, r))
        re = op("add", first, op("mul", second, r))
        return op("div", re, den), op("select", large, op("div", im, den), op("div", op("neg", im), den))

    def _power(self, z: Any, n: int) -> Two:
        """z ** n by squarings."""
        if n < 0:
            return self._div((const(1, z[0].dt), None), self._power(z, -n))
        result: Any = (const(1, z[0].dt), zero(z[0].dt)) if n == 0 else None
        square = z
        while n:
            if n & 1:
                result = square if result is None else self._mul(result, square)
            n >>= 1
            if n:
                square = self._mul(square, square)
        return result

    def _pow(self, z: Any, w: Any) -> Two:
        """exp(w log z), and 0 ** w = 0."""
        op = self.b.op
        z = (z[0], zero(z[0].dt)) if z[1] is None else z
        nothing = op("land", op("eq", z[0], zero(z[0].dt)), op("eq", z[1], zero(z[0].dt)))
        safe = op("select", nothing, const(1, z[0].dt), z[0]), z[1]
        re, im = self._exp(self._mul(w, self._log(safe)))
        return op("select", nothing, zero(re.dt), re), op("select", nothing, zero(im.dt), im)

    def _exp(self, z: Any) -> Two:
        size = self.b.op("exp", z[0])
        return self.b.op("mul", size, self.b.op("cos", z[1])), self.b.op("mul", size, self.b.op("sin", z[1]))

    def _log(self, z: Any) -> Two:
        return self.b.op("log", self.b.op("hypot", *z)), self.b.op("atan2", z[1], z[0])

    def _sqrt(self, z: Any) -> Two:
        """The root with a real part >= 0, without cancellation."""
        (a, b), op = z, self.b.op
        half, none = const(0.5, a.dt), zero(a.dt)
        t = op("sqrt", op("mul", half, op("add", op("hypot", a, b), op("abs", a))))
        u = op("select", op("eq", t, none), none, op("div", op("mul", half, b), t))
        right = op("ge", a, none)
        return op("select", right, t, op("abs", u)), op("select", right, u, op("copysign", t, b))

    def _sin(self, z: Any) -> Two:
        (a, b), op = z, self.b.op
        return op("mul", op("sin", a), op("cosh", b)), op("mul", op("cos", a), op("sinh", b))

    def _cos(self, z: Any) -> Two:
        (a, b), op = z, self.b.op
        return op("mul", op("cos", a), op("cosh", b)), op("neg", op("mul", op("sin", a), op("sinh", b)))

    def _sinh(self, z: Any) -> Two:
        (a, b), op = z, self.b.op
        return op("mul", op("sinh", a), op("cos", b)), op("mul", op("cosh", a), op("sin", b))

    def _cosh(self, z: Any) -> Two:
        (a, b), op = z, self.b.op
        return op("mul", op("cosh", a), op("cos", b)), op("mul", op("sinh", a), op("sin", b))

    def complex_function(self, op: str, args: Sequence[Value], node: ast.AST) -> Value:
        """A function of complex arguments, by the name of the operation."""
        if op in ("add", "sub", "mul", "div", "pow", "eq", "ne"):
            return self.complex_binary(op, args[0], args[1], node)
        if op == "neg":
            return self.complexly(lambda z: (self.b.op("neg", z[0]), self.b.op("neg", z[1])), args, node)
        if op in ("pos", "copy"):
            return args[0]
        real: dict[str, Callable[[Any], Atom]] = {
            "abs": lambda z: self.b.op("hypot", *z), "angle": lambda z: self.b.op("atan2", z[1], z[0]),
        }  # fmt: skip
        if op in real and len(args) == 1:
            return self.really(real[op], args[0], node)
        if op in ("real", "imag"):
            return self.both(args[0])[op == "imag"]
        rules: dict[str, Callable[[Any], Two]] = {
            "exp": self._exp, "log": self._log, "sqrt": self._sqrt, "sin": self._sin, "cos": self._cos, "sinh": self._sinh,
            "cosh": self._cosh, "square": lambda z: self._mul(z, z), "conj": lambda z: (z[0], self.b.op("neg", z[1])),
            "tan": lambda z: self._div(self._sin(z), self._cos(z)), "tanh": lambda z: self._div(self._sinh(z), self._cosh(z)),
            "reciprocal": lambda z: self._power(z, -1),
        }  # fmt: skip
        if op not in rules or len(args) != 1:
            raise self.error(f"'{op}' of complex numbers is not supported", node)
        return self.complexly(rules[op], args, node)

    # -------------------------------------------------------------------------------------------------------------- calls
    def complex_call(self, obj: Any, node: ast.Call, handler: Any, root: str | None) -> Value | None:
        """A call some of whose arguments may be complex; None if it is none of these."""
        try:
            hash(obj)
        except TypeError:
            return None
        if obj is complex or obj in (np.complex128, np.complex64):
            return self._construct(COMPLEX_CASTS[obj], node)
        if obj in _NAMES and not node.keywords and len(node.args) == 1:
            v = self.lazy(node.args[0])
            if not is_complex(v) and _NAMES[obj] not in ("real", "conj") and not isinstance(v, (Var, Const, Ref, Lazy)):
                return None
            v = v if is_complex(v) else v if _NAMES[obj] in ("real", "conj") else pair(*self.both(v))
            return v if not is_complex(v) else self.complex_function(_NAMES[obj], [v], node)
        if handler is None or not self.helpers.complex_seen:
            return None
        if obj is np.ones_like and len(node.args) == 1 and not node.keywords:
            like = self.lazy(node.args[0])
            calls = [self._named(node, [v], []) for v in (like.items if is_complex(like) else (like,))]  # type: ignore[union-attr]
            if len(calls) == 1:
                return handler(self, calls[0], root)
            return pair(handler(self, calls[0], root), self.evaluated(self.both(self.value(calls[1].args[0]))[1], "im"))
        alike, product = obj in _ALIKE, obj in (np.dot, np.vdot, np.outer)
        if not (alike or product or obj is np.linalg.norm):
            return None
        keywords = [k.arg for k in node.keywords]
        values = [self.lazy(a) for a in (*node.args, *(k.value for k in node.keywords))]
        if not any(map(self.has_complex, values)):
            return handler(self, self._named(node, values, keywords), root)
        if obj is np.linalg.norm and len(values) == 1:
            square = self.b.op
            size = self.really(lambda z: square("add", square("mul", z[0], z[0]), square("mul", z[1], z[1])), values[0], node)
            return self.b.op("sqrt", self.total(size))  # type: ignore[arg-type]
        if product and len(values) == 2:
            a, c = values
            if obj is np.vdot:
                a = self.complex_function("conj", [a], node) if is_complex(a) else a
            return self.complex_product(lambda x, y: handler(self, self._named(node, [x, y], []), None), a, c, node)
        if not alike:
            raise self.error(f"{ast.unparse(node.func)} of complex numbers is not supported", node)
        return pair(*(handler(self, self._named(node, [self.side(v, k) for v in values], keywords), root) for k in (0, 1)))

    def _named(self, node: ast.Call, values: Sequence[Value], keywords: Sequence[str | None]) -> ast.Call:
        """The call with its arguments replaced by names of values."""
        names: list[ast.expr] = []
        for v in values:
            name = f"%argument{len(self.env)}"
            self.env[name] = v
            names.append(ast.copy_location(ast.Name(name, ast.Load()), node))
        count = len(names) - len(keywords)
        given = [ast.keyword(arg, value) for arg, value in zip(keywords, names[count:], strict=True)]
        return ast.copy_location(ast.Call(node.func, names[:count], given), node)

    def _construct(self, dt: str, node: ast.Call) -> Value:
        if node.keywords or len(node.args) > 2:
            raise self.error("complex takes a real and an imaginary part", node)
        parts = [self.lazy(a) for a in node.args]
        if len(parts) == 1 and is_complex(parts[0]):
            return parts[0]
        self.helpers.complex_seen = True
        own = "f8" if dt == "c16" else "f4"
        if not all(isinstance(p, (Var, Const)) for p in parts):
            raise self.error("complex takes numbers", node)
        numbers = [self.b.cast(p, own) for p in parts]  # type: ignore[arg-type]
        return pair(*(*numbers, const(0, own), const(0, own))[:2])

    def complex_product(self, product: Callable[[Any, Any], Value], a: Value, c: Value, node: ast.AST) -> Value:
        """A bilinear product of arrays: its parts are products of the parts."""
        if not is_complex(a) or not is_complex(c):
            whole, real = (a, c) if is_complex(a) else (c, a)
            if not isinstance(real, (Ref, Lazy)):
                raise self.error(f"a product with {describe(real)} is not supported", node)
            parts = [product(p, real) if whole is a else product(real, p) for p in whole.items]  # type: ignore[union-attr]
            return pair(*parts)
        (ar, ai), (cr, ci) = ([self.kept(p) for p in v.items] for v in (a, c))  # type: ignore[union-attr]
        found = [product(x, y) for x, y in ((ar, cr), (ai, ci), (ar, ci), (ai, cr))]

        def combined(op: str, x: Value, y: Value) -> Value:
            arrays = isinstance(x, (Ref, Lazy))
            return self.elementwise(op, [x, y], node) if arrays else self.b.op(op, x, y)  # type: ignore[arg-type]

        return pair(combined("sub", found[0], found[1]), combined("add", found[2], found[3]))

    def complex_method(self, owner: Tup, node: ast.Call, root: str | None) -> Value:
        """A call of a method of a complex number or array."""
        assert isinstance(node.func, ast.Attribute)
        name = node.func.attr
        if name in ("conjugate", "conj") and not node.args and not node.keywords:
            return self.complex_function("conj", [owner], node)
        arrays = isinstance(owner.items[0], (Ref, Lazy))
        if arrays and name in _METHODS_ALIKE:
            return pair(*(self.method(p, node, root) for p in owner.items))  # type: ignore[arg-type]
        if arrays and name == "astype" and len(node.args) == 1 and self.dtype_of(node.args[0], True)[0] == "c":
            own = "f8" if self.dtype_of(node.args[0], True) == "c16" else "f4"
            return pair(*(self.lazily(self.lengths(p), own, lambda i, p=p: self.b.cast(self.at(p, i), own)) for p in owner.items))  # type: ignore[arg-type, misc]
        if arrays and name == "dot" and len(node.args) == 1:
            return self.matmul(owner, self.lazy(node.args[0]), node, root)
        raise self.error(f"method '{name}' of {describe(owner)} is not supported", node)

    # ------------------------------------------------------------------------------------------------------------- stores
    def assign_complex(self, target: Value, v: Value, mode: str = "set") -> None:
        """``target[...] = v``, both parts of all elements read before any is written."""
        targets, parts = target.items, self.both(v)  # type: ignore[union-attr]
        re: Ref = targets[0]  # type: ignore[assignment]
        axes = self.domain(self.shape(re))
        index = tuple(i for i, _, _ in axes)
        with self.b.block(loop=True) as body:
            values = [self.b.cast(self.at(p, index), t.base.dt) for p, t in zip(parts, targets, strict=True)]  # type: ignore[union-attr]
            places = [self.place(t, index) for t in targets]  # type: ignore[arg-type]
        line = self.b.line
        stores = tuple(
            Store(t.base, place, x, mode, wrap_of(t), line)  # type: ignore[union-attr, arg-type]
            for t, place, x in zip(targets, places, values, strict=True)
        )
        self.b.add(Each(axes, tuple(body), stores, "any", (), line))

    def store_complex(self, target: Tup, parts: list[Any], v: Value, node: ast.AST) -> None:
        """``target[parts] = v`` of a complex array."""
        re = target.items[0]
        if not isinstance(re, Ref):
            raise self.error(f"cannot assign to an item of {describe(target)}", node)
        if any(isinstance(p, (Ref, Lazy)) for p in parts):
            raise self.error("stores of complex numbers by an array of indices or a mask are not supported: write the loop", node)
        for t in target.items:
            self.writable(t, node)  # type: ignore[arg-type]
        views = [self.view(t, parts, node) for t in target.items]  # type: ignore[arg-type]
        if not views[0].rank:
            numbers = self.both(v)
            if not all(isinstance(x, (Var, Const)) for x in numbers):
                raise self.error(f"cannot store {describe(v)} in an element", node)
            for view, x in zip(views, numbers, strict=True):
                self.b.store(view.base, view.index, self.b.cast(x, view.base.dt))  # type: ignore[arg-type]
            return
        for x in self.both(v):
            self.fits(self.shape(views[0]), x, node)
        self.assign_complex(pair(*views), v)

    def part_of_complex(self, owner: Tup, parts: list[Any], node: ast.AST, root: str | None) -> Value:
        """``owner[parts]`` of a complex array."""
        items = [p if isinstance(p, Ref) else self.evaluated(p, "array") for p in owner.items]  # type: ignore[arg-type]
        if any(isinstance(p, (Ref, Lazy)) for p in parts):
            return pair(*(self.pick(p, parts, node) for p in items))
        return pair(*(self.item(p, parts, node, root) for p in items))

    def complex_attribute(self, owner: Tup, name: str, node: ast.AST) -> Value:
        """``z.shape`` and the like."""
        re, im = owner.items
        if isinstance(re, (Ref, Lazy)):
            if name == "shape":
                return Tup(self.lengths(re))
            if name == "size":
                return self.count(re)
            if name == "ndim":
                return const(re.rank, "i8")
            if name == "dtype":
                return Static(np.dtype("complex64" if self.complex_spec(owner).dt == "c8" else "complex128"))
            if name == "T":
                return pair(*(self.transposed(self.kept(p), list(range(p.rank))[::-1]) for p in (re, im)))  # type: ignore[union-attr, arg-type]
        raise self.error(f"attribute '{name}' of {describe(owner)} is not supported", node)

    def stored(self, v: Value, root: str | None = None) -> Value:
        """A complex expression becomes two arrays in one loop."""
        if is_complex(v) and any(isinstance(p, Lazy) for p in v.items):  # type: ignore[union-attr]
            re, im = v.items  # type: ignore[union-attr]
            lens, dt = self.lengths(re), "f4" if self.complex_spec(v).dt == "c8" else "f8"  # type: ignore[arg-type]
            if all(not isinstance(p, Lazy) or p.room is None for p in (re, im)):
                new = pair(*(self.alloc(f"{root or 'array'}_{part}", dt, lens, "none") for part in ("re", "im")))
                self.assign_complex(new, v)
                return new
        return super().stored(v, root)

    def matmul(self, a: Value, c: Value, node: ast.AST, root: str | None = None) -> Value:
        if is_complex(a) or is_complex(c):
            return self.complex_product(lambda x, y: super(Complexes, self).matmul(x, y, node), a, c, node)
        return super().matmul(a, c, node, root)

    # what the classes built on this one provide
    helpers: Any

    def writable(self, ref: Ref, node: ast.AST) -> None:
        raise NotImplementedError

    def lazy(self, node: ast.expr, root: str | None = None) -> Value:
        raise NotImplementedError
