"""The one table of scalar operations: how each is written, and the linear form that is its derivative.

A rule states the linear form

    y. = sum over k of  coefficient_k * arg_k.

and nothing else: the tangent is that form, the adjoint its transpose, the second derivative the same table applied to the
coefficients.  A coefficient is a *string* over the names of the arguments, the result ``y``, the constants of
:data:`CONSTANTS` and the operations of the table itself.  How it meets the (co)tangent ``t`` is a part of the rule:

plain
    a product, taken apart by structure: ``"n / d"`` divides t by d, ``"-e"`` negates.
:func:`selector`
    a condition: t where it holds, exactly 0 elsewhere.  Never a product, so that an infinite t of the other side is dropped.
:func:`strong`
    ``mulz(t, coefficient)``: exactly 0 where t is 0, whatever the coefficient.  It marks every coefficient that can be
    infinite at finite arguments (``sqrt`` and ``log`` at 0, an overflowing ``exp``): a value that was computed and then not
    used, as in ``min(1 / r, cap)``, must contribute nothing instead of ``0 * inf``.
a coefficient that names ``t``
    is the linear function of t itself.

Policy at the points without a derivative: min and max give a tie to the first argument; ``abs`` has 0 at 0, ``hypot`` 0 at
(0, 0); ``sqrt`` at 0 has inf unless t is 0.

The result types are Numba's own (:mod:`.typing_table`, which a test compares with the Numba that is installed).
"""

from __future__ import annotations

import ast
import builtins
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from .bits import bits, number
from .ir import Atom, Const
from .typing_table import DTYPES, RESULTS

__all__ = [
    "BINARY", "BOOLEAN", "CASTS", "COMPARE", "CONSTANTS", "FIXED", "FUNCTIONS", "NOTED", "OPS", "TYPED", "UNARY", "Build", "Op",
    "Term",
    "apply_term", "noted", "result_dtype", "text",
]  # fmt: skip

#: makes a statement ``op(atoms)`` and gives its result; see :func:`apply_term`
Build = Callable[..., Atom]

CONSTANTS = {
    "ln2": 0.6931471805599453094,
    "ln10": 2.302585092994045684,
    "pi": 3.141592653589793238,
    "two_over_sqrtpi": 1.128379167095512574,
}

NOTED = "noted"


def noted(x: float, k: int) -> float:
    """``x``, the k-th number that is worth keeping of a step."""
    return x


#: Python's operators, by the class of their node in ``ast``; ``and``, ``or`` and ``not`` act on booleans here
BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow",
    ast.BitAnd: "band", ast.BitOr: "bor", ast.BitXor: "bxor", ast.LShift: "lshift", ast.RShift: "rshift",
}  # fmt: skip
UNARY = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "invert", ast.Not: "lnot"}
COMPARE = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
BOOLEAN = {ast.And: "land", ast.Or: "lor"}

#: ``cast`` by the dtype of its result
CASTS = {
    "b1": "bool({0})", "i4": "np.int32({0})", "i8": "np.int64({0})", "u8": "np.uint64({0})",
    "f4": "np.float32({0})", "f8": "np.float64({0})", "c8": "np.complex64({0})", "c16": "np.complex128({0})",
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------- the language
@dataclass(frozen=True, slots=True)
class Term:
    """The coefficient of argument ``arg``; ``conj`` says that it multiplies the conjugate of the argument's tangent."""

    arg: int
    coef: str
    selector: bool = False
    strong: bool = False
    conj: bool = False


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: ``emit`` is its Python text, with {0}, {1}, .. for the arguments, that Numba compiles."""

    name: str
    params: tuple[str, ...]
    emit: str
    terms: tuple[Term, ...] = ()

    def term(self, k: int) -> Term | None:
        """The term of argument ``k``, or None where the result is locally constant in it."""
        return next((t for t in self.terms if t.arg == k), None)


class _Selector(str):
    """A coefficient that is a condition."""


class _Strong(str):
    """A coefficient that may be infinite."""


selector, strong = _Selector, _Strong
OPS: dict[str, Op] = {}


def rule(name: str, params: str, emit: str, /, **coefs: str) -> None:
    """Enter an operation; ``coefs`` gives the coefficient of each argument in which it is not locally constant."""
    names = tuple(params.split())
    terms = (Term(names.index(p), str(c), isinstance(c, _Selector), isinstance(c, _Strong)) for p, c in coefs.items())
    OPS[name] = Op(name, names, emit, tuple(terms))


# ------------------------------------------------------------------------------------------------------------ the table
# arithmetic
rule("add", "a b", "({0} + {1})", a="1", b="1")
rule("sub", "a b", "({0} - {1})", a="1", b="-1")
rule("mul", "a b", "({0} * {1})", a="b", b="a")
rule("div", "a b", "({0} / {1})", a=strong("1 / b"), b=strong("-y * (1 / b)"))  # one division serves both
rule("neg", "a", "(-{0})", a="-1")
rule("pos", "a", "(+{0})", a="1")
rule("floordiv", "a b", "({0} // {1})")
rule("mod", "a b", "({0} % {1})", a="1", b="-(a // b)")
rule("fmod", "a b", "np.fmod({0}, {1})", a="1", b="-rint((a - y) / b)")  # not trunc(a / b), which may round up
rule("pow", "x e", "({0} ** {1})", x=strong("mulz(e, pow(x, e - 1))"), e=strong("select(x > 0, y * log(x), 0)"))
rule("fpow", "x e", "math.pow({0}, {1})", x=strong("mulz(e, pow(x, e - 1))"), e=strong("select(x > 0, y * log(x), 0)"))
rule("powi", "x n", "({0} ** {1})", x=strong("n * powi(x, n - 1)"))  # n is a literal integer
rule("square", "x", "np.square({0})", x="2 * x")
rule("reciprocal", "x", "np.reciprocal({0})", x=strong("-y * y"))

# bookkeeping: mulz(c, k) is c * k, and 0 where c is 0; the text keeps the dtype of its arguments and vectorises
rule("copy", "x", "{0}", x="1")
rule("noted", "x k", "{0}", x="1")  # see .notes; k is a literal integer
rule("cast", "x", "", x="1")  # see CASTS; a derivative only where both dtypes are floats
rule("select", "c a b", "({1} if {0} else {2})", a=selector("c"), b=selector("not c"))
rule("mulz", "c k", "({0} * {1} if {0} != 0.0 else {0})", c=strong("k"), k="mulz(c, t)")

# comparisons, booleans, integers
rule("lt", "a b", "({0} < {1})")
rule("le", "a b", "({0} <= {1})")
rule("gt", "a b", "({0} > {1})")
rule("ge", "a b", "({0} >= {1})")
rule("eq", "a b", "({0} == {1})")
rule("ne", "a b", "({0} != {1})")
rule("land", "a b", "({0} & {1})")
rule("lor", "a b", "({0} | {1})")
rule("lxor", "a b", "({0} ^ {1})")
rule("lnot", "a", "(not {0})")
rule("band", "a b", "({0} & {1})")
rule("bor", "a b", "({0} | {1})")
rule("bxor", "a b", "({0} ^ {1})")
rule("invert", "a", "(~{0})")
rule("bits", "x", "special.bits({0})")  # see .bits
rule("number", "i", "special.number({0})")
rule("lshift", "a b", "({0} << {1})")
rule("rshift", "a b", "({0} >> {1})")
rule("isnan", "x", "math.isnan({0})")
rule("isinf", "x", "math.isinf({0})")
rule("isfinite", "x", "math.isfinite({0})")

# steps and kinks; ifloor, iceil, itrunc and round_ give an integer, as Python's own functions do
rule("floor", "x", "np.floor({0})")
rule("ceil", "x", "np.ceil({0})")
rule("trunc", "x", "np.trunc({0})")
rule("rint", "x", "np.rint({0})")
rule("around", "x", "np.round({0})")
rule("roundn", "x n", "round({0}, {1})")
rule("ifloor", "x", "math.floor({0})")
rule("iceil", "x", "math.ceil({0})")
rule("itrunc", "x", "math.trunc({0})")
rule("round_", "x", "round({0})")
rule("sign", "x", "np.sign({0})")
rule("abs", "x", "abs({0})", x="sign(x)")
rule("fabs", "x", "math.fabs({0})", x="sign(x)")
rule("copysign", "a b", "math.copysign({0}, {1})", a="sign(a) * copysign(1, b)")
rule("min2", "a b", "min({0}, {1})", a=selector("not b < a"), b=selector("b < a"))
rule("max2", "a b", "max({0}, {1})", a=selector("not b > a"), b=selector("b > a"))
rule("minimum", "a b", "np.minimum({0}, {1})", a=selector("a <= b or isnan(a)"), b=selector("not (a <= b or isnan(a))"))
rule("maximum", "a b", "np.maximum({0}, {1})", a=selector("a >= b or isnan(a)"), b=selector("not (a >= b or isnan(a))"))
rule("fmin", "a b", "np.fmin({0}, {1})", a=selector("a <= b or isnan(b)"), b=selector("not (a <= b or isnan(b))"))
rule("fmax", "a b", "np.fmax({0}, {1})", a=selector("a >= b or isnan(b)"), b=selector("not (a >= b or isnan(b))"))

# roots, exponentials, logarithms
rule("sqrt", "x", "math.sqrt({0})", x=strong("0.5 / y"))
rule("cbrt", "x", "np.cbrt({0})", x=strong("1 / (3 * y * y)"))
rule("hypot", "a b", "math.hypot({0}, {1})", a="select(y > 0, a / y, 0)", b="select(y > 0, b / y, 0)")
rule("exp", "x", "math.exp({0})", x=strong("y"))
rule("expm1", "x", "math.expm1({0})", x=strong("y + 1"))
rule("exp2", "x", "np.exp2({0})", x=strong("ln2 * y"))
rule("log", "x", "math.log({0})", x=strong("1 / x"))
rule("log1p", "x", "math.log1p({0})", x=strong("1 / (1 + x)"))
rule("log2", "x", "math.log2({0})", x=strong("1 / (ln2 * x)"))
rule("log10", "x", "math.log10({0})", x=strong("1 / (ln10 * x)"))
rule("logaddexp", "a b", "np.logaddexp({0}, {1})", a=strong("exp(a - y)"), b=strong("exp(b - y)"))
rule("logaddexp2", "a b", "np.logaddexp2({0}, {1})", a=strong("exp2(a - y)"), b=strong("exp2(b - y)"))

# trigonometric and hyperbolic functions
rule("sin", "x", "math.sin({0})", x="cos(x)")
rule("cos", "x", "math.cos({0})", x="-sin(x)")
rule("tan", "x", "math.tan({0})", x="1 + y * y")
rule("asin", "x", "math.asin({0})", x=strong("1 / sqrt((1 - x) * (1 + x))"))
rule("acos", "x", "math.acos({0})", x=strong("-1 / sqrt((1 - x) * (1 + x))"))
rule("atan", "x", "math.atan({0})", x="1 / (1 + x * x)")
rule("atan2", "a b", "math.atan2({0}, {1})", a=strong("b / (a * a + b * b)"), b=strong("-a / (a * a + b * b)"))
rule("sinh", "x", "math.sinh({0})", x=strong("cosh(x)"))
rule("cosh", "x", "math.cosh({0})", x=strong("sinh(x)"))
rule("tanh", "x", "special.tanh({0})", x="1 - y * y")
rule("asinh", "x", "math.asinh({0})", x="1 / sqrt(1 + x * x)")
rule("acosh", "x", "math.acosh({0})", x=strong("1 / sqrt((x - 1) * (x + 1))"))
rule("atanh", "x", "math.atanh({0})", x=strong("1 / ((1 - x) * (1 + x))"))
rule("degrees", "x", "math.degrees({0})", x="180 / pi")
rule("radians", "x", "math.radians({0})", x="pi / 180")

# special functions; m is a literal integer, polygamma(0, x) is digamma
rule("erf", "x", "math.erf({0})", x="two_over_sqrtpi * exp(-(x * x))")
rule("erfc", "x", "math.erfc({0})", x="-two_over_sqrtpi * exp(-(x * x))")
rule("gamma", "x", "math.gamma({0})", x=strong("y * polygamma(0, x)"))
rule("lgamma", "x", "math.lgamma({0})", x=strong("polygamma(0, x)"))
rule("polygamma", "m x", "special.polygamma({0}, {1})", x=strong("polygamma(m + 1, x)"))

# random numbers: functions of integers, see adjointsim.random
rule("normal", "seed n i", "special.normal({0}, {1}, {2})")
rule("uniform", "seed n i", "special.uniform({0}, {1}, {2})")

#: where the second argument is a literal that keeps a ``strong`` coefficient finite, the plain product is as good
_FINITE: dict[str, Callable[[float], bool]] = {"div": bool, "powi": lambda n: n >= 0, "pow": lambda e: e == 0 or e >= 1}
#: arguments of one dtype only: (which, dtype).  Those that are not the condition of ``select`` must be literal integers
FIXED = {"powi": (1, "i8"), "polygamma": (0, "i8"), "roundn": (1, "i8"), "noted": (1, "i8"), "select": (0, "b1")}
#: operations of arguments of one kind: (dtypes, dtype of the result)
TYPED = {
    **dict.fromkeys(("normal", "uniform"), (("i8", "i8", "i8"), "f8")), "bits": (("f8",), "i8"), "number": (("i8",), "f8"),
}  # fmt: skip

#: what a step may call, by the object it calls; casts (float, int, np.float32 ..) are statements, not entries.  A ufunc has the
#: types of its operation: float64 for a float32 with an integer, though Numba's ufuncs (not its operators) keep float32
FUNCTIONS: dict[object, str] = {
    builtins.abs: "abs", builtins.min: "min2", builtins.max: "max2", builtins.pow: "pow", builtins.round: "round_",
    math.floor: "ifloor", math.ceil: "iceil", math.trunc: "itrunc", math.pow: "fpow",
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div", np.floor_divide: "floordiv", np.mod: "mod",
    np.fmod: "fmod", np.power: "pow", np.negative: "neg", np.positive: "pos", np.square: "square", np.reciprocal: "reciprocal",
    np.less: "lt", np.less_equal: "le", np.greater: "gt", np.greater_equal: "ge", np.equal: "eq", np.not_equal: "ne",
    np.logical_and: "land", np.logical_or: "lor", np.logical_xor: "lxor", np.logical_not: "lnot",
    np.bitwise_and: "band", np.bitwise_or: "bor", np.bitwise_xor: "bxor", np.invert: "invert",
    np.left_shift: "lshift", np.right_shift: "rshift",
    np.floor: "floor", np.ceil: "ceil", np.trunc: "trunc", np.rint: "rint", np.round: "around", np.around: "around",
    np.sign: "sign", np.abs: "abs", np.minimum: "minimum", np.maximum: "maximum", np.fmin: "fmin", np.fmax: "fmax",
    np.logaddexp: "logaddexp", np.logaddexp2: "logaddexp2", np.arcsin: "asin", np.arccos: "acos", np.arctan: "atan",
    np.arctan2: "atan2", np.arcsinh: "asinh", np.arccosh: "acosh", np.arctanh: "atanh", np.deg2rad: "radians",
    np.rad2deg: "degrees", noted: NOTED, bits: "bits", number: "number",
}  # fmt: skip
_SAME_NAME = (
    "isnan isinf isfinite fabs copysign fmod sqrt cbrt hypot exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan"
    " atan2 sinh cosh tanh asinh acosh atanh degrees radians erf erfc gamma lgamma"
)
FUNCTIONS |= {getattr(m, n): n for m in (math, np) for n in _SAME_NAME.split() if hasattr(m, n)}


# ----------------------------------------------------------------------------------------------------------- using it
def text(op: str, args: Sequence[str], dt: str) -> str:
    """The Python text of ``op`` applied to texts, for a result of dtype ``dt`` (which only ``cast`` needs)."""
    return (CASTS[dt] if op == "cast" else OPS[op].emit).format(*args)


def result_dtype(op: str, dts: tuple[str, ...]) -> str:
    """The dtype that Numba gives to ``op`` of arguments of dtypes ``dts``; a literal integer is an "i8"."""
    if op in ("copy", NOTED):
        return dts[0]
    if op in TYPED and dts == TYPED[op][0]:
        return TYPED[op][1]
    place, only = FIXED.get(op, (-1, ""))
    free = [dt for i, dt in enumerate(dts) if i != place]
    found = ""
    if op in RESULTS and len(dts) == len(OPS[op].params) and {*free} <= {*DTYPES} and (place < 0 or dts[place] == only):
        row = 0
        for dt in free:
            row = row * len(DTYPES) + DTYPES.index(dt)
        found = RESULTS[op][row]
    if not found:
        raise TypeError(f"{op} has no value for arguments of dtype {', '.join(dts)}")
    return found


def apply_term(build: Build, op: str, k: int, t: Atom, args: Sequence[Atom], result: Atom) -> Atom:
    """``coefficient_k * t`` for the statement ``result = op(args)``.

    ``t`` is the cotangent of the result (reverse) or the tangent of argument ``k`` (forward).  Everything is emitted
    through ``build(op, *atoms)``; literal constants take the dtype of ``t``, so a float32 program stays one.  Where the
    result is locally constant in argument ``k`` the answer is the constant 0.
    """
    term = OPS[op].term(k)
    if term is None or isinstance(t, Const) and t.value == 0:
        return Const(0.0, t.dt)
    names = dict(zip(OPS[op].params, map(_number, args))) | {"y": _number(result), "t": t}
    scope = _Scope(build, {**CONSTANTS, **names}, t.dt)
    node = _parse(term.coef)
    if any(isinstance(n, ast.Name) and n.id == "t" for n in ast.walk(node)):
        return scope.atom(scope.value(node))
    if term.selector:
        return scope.choose(node, t)
    finite = op in _FINITE and isinstance(args[1], Const) and _FINITE[op](args[1].value)
    return scope.strong(node, t) if term.strong and not finite else scope.times(node, t)


_Value = Atom | int | float | bool


@cache
def _parse(coef: str) -> ast.expr:
    return ast.parse(coef, mode="eval").body


def _number(a: Atom) -> _Value:
    """Literal constants enter as Python numbers, which fold."""
    return a.value if isinstance(a, Const) and not isinstance(a.value, complex) else a


@dataclass(frozen=True, slots=True)
class _Scope:
    """The evaluation of one coefficient: names to values, and how to emit."""

    build: Build
    names: dict[str, _Value]
    dt: str

    def atom(self, v: _Value, integer: bool = False) -> Atom:
        """A value as an operand: a literal takes the dtype of ``t`` unless an integer is meant."""
        if not _is_number(v):
            return v
        if isinstance(v, bool):
            return Const(v, "b1")
        return Const(int(v), "i8") if integer else Const(float(v), self.dt)

    def emit(self, op: str, *values: _Value) -> _Value:
        """``op(values)``; operations on numbers alone are folded."""
        if op in _FOLD and all(map(_is_number, values)) and not (op == "div" and values[1] == 0):
            return _FOLD[op](*values)
        if op in ("pow", "powi") and values[1] in (0, 1):
            return 1 if values[1] == 0 else values[0]
        if op == "mul" and 1 in values:
            return values[1] if values[0] == 1 else values[0]
        if op == "mul" and values[0] == -1:
            return self.emit("neg", values[1])
        return self.build(op, *(self.atom(v, integer=FIXED.get(op) == (i, "i8")) for i, v in enumerate(values)))

    def value(self, node: ast.expr) -> _Value:
        """The value of an expression."""
        match node:
            case ast.Constant(value=v):
                return v
            case ast.Name(id=name):
                return self.names[name]
            case ast.UnaryOp(op=op, operand=x):
                return self.emit(UNARY[type(op)], self.value(x))
            case ast.BinOp(left=a, op=op, right=b):
                return self.emit(BINARY[type(op)], self.value(a), self.value(b))
            case ast.Compare(left=a, ops=[op], comparators=[b]):
                return self.emit(COMPARE[type(op)], self.value(a), self.value(b))
            case ast.BoolOp(op=op, values=[a, b]):
                return self.emit(BOOLEAN[type(op)], self.value(a), self.value(b))
            case ast.Call(func=ast.Name(id="select"), args=[test, a, b]) if _is_number(c := self.fold(test)):
                return self.value(a if c else b)
            case ast.Call(func=ast.Name(id="mulz"), args=[a, k]) if _is_number(c := self.fold(a)):
                return self.emit("mul", c, self.value(k)) if c else 0
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.emit(name, *map(self.value, args))
        raise AssertionError(f"a coefficient cannot contain {ast.unparse(node)}")

    def fold(self, node: ast.expr) -> int | float | None:
        """The value of an expression that is a number, else None; nothing is emitted."""
        try:
            v = _Scope(_refuse, self.names, self.dt).value(node)
        except _NotNumber:
            return None
        return v if _is_number(v) else None

    def times(self, node: ast.expr, t: Atom) -> Atom:
        """``node * t`` by structure: signs and quotients act on t itself."""
        if isinstance(t, Const) and t.value == 0:
            return t
        c = self.fold(node)
        if c is None:
            match node:
                case ast.UnaryOp(op=ast.USub(), operand=x):
                    return self.build("neg", self.times(x, t))
                case ast.BinOp(left=a, op=ast.Mult(), right=b):
                    return self.times(b, self.times(a, t))
                case ast.BinOp(left=a, op=ast.Div(), right=b):
                    return self.times(a, self.build("div", t, self.atom(self.value(b))))
            c = self.value(node)
        return self.scale(c, t)

    def scale(self, c: _Value, t: Atom) -> Atom:
        """``c * t`` for a value: t itself for 1, the constant 0 for 0."""
        if _is_number(c) and c in (0, 1, -1):
            return t if c == 1 else Const(0.0, self.dt) if c == 0 else self.build("neg", t)
        return self.build("mul", t, self.atom(c))

    def strong(self, node: ast.expr, t: Atom) -> Atom:
        """``mulz(t, node)``."""
        c = self.value(node)
        return self.scale(c, t) if _is_number(c) else self.build("mulz", t, c)

    def choose(self, node: ast.expr, t: Atom) -> Atom:
        """t where the condition holds, else 0."""
        yes, no = t, Const(0.0, self.dt)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            node, yes, no = node.operand, no, yes
        c = self.value(node)
        return (yes if c else no) if _is_number(c) else self.build("select", c, yes, no)


class _NotNumber(Exception):
    """An expression is not a literal number."""


def _refuse(*_: object) -> Atom:
    raise _NotNumber


def _is_number(v: object) -> bool:
    return isinstance(v, (bool, int, float))


#: what is folded on numbers
_FOLD: dict[str, Callable] = {
    "neg": operator.neg, "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "isnan": math.isnan,
    "lnot": operator.not_, "lor": operator.or_, "land": operator.and_,
}  # fmt: skip
