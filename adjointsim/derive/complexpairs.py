"""Complex numbers: pairs of real ones, from the lowering on.

A complex value is a tuple of its real and imaginary parts (:class:`ComplexPair`), which are numbers, arrays or expressions.
So nothing behind the lowering knows of them; functions that are not holomorphic (``abs``, ``conj``, ``real``) need no rules of
their own; and a cotangent is dL/d(real part) + i dL/d(imaginary part), the direction in which L grows fastest.  (The
derivative of a holomorphic function f is applied as ``conj(f'(z)) * bar``; JAX's convention is the conjugate of this one.)

Results are those of complex arithmetic to rounding; Numba's own may differ in the last bits.
"""


from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from .build import const, zero
from .context import wrap_of
from .ir import ONE, ZERO, Atom, Base, Const, Each, Store, Var, is_float
from .iteration import Iteration
from .spec import ComplexSpec, ones_of
from .values import Axis, ComplexPair, Lazy, Ref, Tup, Value, describe

__all__ = ["ComplexPairs", "interleaved", "is_complex", "pair"]

Two = tuple[Atom, Atom]


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


class ComplexPairs(Iteration):
    """Values of complex expressions."""

    helpers: Any

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
        """The real and imaginary parts of a complex or real value; twice the value, if it is neither."""
        if is_complex(v):
            return v.items  # type: ignore[union-attr, return-value]
        if not isinstance(v, (Var, Const, Ref, Lazy)):
            return v, v
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
        """The real (0) or imaginary (1) side of what may be complex, of each item of a tuple."""
        if isinstance(v, Tup) and not is_complex(v):
            return Tup(tuple(self.side(i, k) for i in v.items), v.cls)
        return self.both(v)[k] if isinstance(v, (Tup, Var, Const, Ref, Lazy)) else v

    def has_complex(self, v: Value) -> bool:
        return is_complex(v) or (isinstance(v, Tup) and any(map(self.has_complex, v.items)))

    def made_complex(self, dt: str, make: Callable[[str, int], Value]) -> Tup:
        """A complex array of two that are made alike; ``make`` takes the dtype and the part."""
        self.helpers.complex_seen = True
        own = "f8" if dt == "c16" else "f4"
        return pair(make(own, 0), make(own, 1))

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

    def stored(self, v: Value, root: str | None = None) -> Value:
        """A complex expression becomes two arrays in one loop."""
        if is_complex(v) and any(isinstance(p, Lazy) for p in v.items):  # type: ignore[union-attr]
            re, im = v.items  # type: ignore[union-attr]
            return self.complex_copy(re, im, root)  # type: ignore[arg-type]
        return super().stored(v, root)

    def complex_copy(self, re: Ref | Lazy, im: Ref | Lazy, root: str | None = None) -> Tup:
        """A new complex array of these parts."""
        lens, dt = self.lengths(re), "f4" if self.complex_spec(pair(re, im)).dt == "c8" else "f8"
        room = next((p.room for p in (re, im) if isinstance(p, Lazy) and p.room is not None), lens)
        made = [self.alloc(f"{root or 'array'}_{part}", dt, room, "none") for part in ("re", "im")]
        new = pair(*(ref if room == lens else Ref(ref.base, ref.index, lens) for ref in made))
        self.assign_complex(new, pair(re, im))
        return new

    # --------------------------------------------------------------------------------------------------------- operations
    def complexly(self, rule: Callable[..., Two], operands: Sequence[Value], node: ast.AST) -> Tup:
        """A rule of pairs of numbers, of numbers or element by element; a real operand is (x, None)."""
        flat = [p for v in operands for p in (v.items if is_complex(v) else (v,))]  # type: ignore[union-attr]
        self._numeric(flat, node)
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

    def _numeric(self, parts: Sequence[Any], node: ast.AST) -> None:
        for p in parts:
            if not isinstance(p, (Var, Const, Ref, Lazy)):
                raise self.error(f"complex arithmetic with {describe(p)} is not supported", node)

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
        self._numeric((a, b, c, d), node)
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
        binary = op in ("add", "sub", "mul", "div", "pow", "eq", "ne")
        if len(args) != 1 + binary:
            raise self.error(f"'{op}' of {len(args)} complex numbers is not supported", node)
        if binary:
            return self.complex_binary(op, args[0], args[1], node)
        if op == "neg":
            return self.complexly(lambda z: (self.b.op("neg", z[0]), self.b.op("neg", z[1])), args, node)
        if op in ("pos", "copy"):
            return args[0]
        real: dict[str, Callable[[Any], Atom]] = {
            "abs": lambda z: self.b.op("hypot", *z), "angle": lambda z: self.b.op("atan2", z[1], z[0]),
        }  # fmt: skip
        if op in real:
            return self.really(real[op], args[0], node)
        if op in ("real", "imag"):
            return self.both(args[0])[op == "imag"]
        rules: dict[str, Callable[[Any], Two]] = {
            "exp": self._exp, "log": self._log, "sqrt": self._sqrt, "sin": self._sin, "cos": self._cos, "sinh": self._sinh,
            "cosh": self._cosh, "square": lambda z: self._mul(z, z), "conj": lambda z: (z[0], self.b.op("neg", z[1])),
            "tan": lambda z: self._div(self._sin(z), self._cos(z)), "tanh": lambda z: self._div(self._sinh(z), self._cosh(z)),
            "reciprocal": lambda z: self._power(z, -1),
        }  # fmt: skip
        if op not in rules:
            raise self.error(f"'{op}' of complex numbers is not supported", node)
        return self.complexly(rules[op], args, node)
