"""Values of a function that is built for LLVM: variables, constants, casts, and the operations of the rules' table.

Operations that are an instruction or two are built as such, and tanh is (:mod:`.elementary`).  The others are Numba's own,
compiled from the text that the table has for them, so that values are those of the user's compiled function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import types as nb
from numba.core.compiler import Flags
from numba.core.typing import signature

from . import rules, special
from .elementary import build_tanh
from .ir import FLOATS, Atom, Const, Let, Var

__all__ = ["TYPES", "Values"]

TYPES = {"b1": nb.boolean, "i4": nb.int32, "i8": nb.int64, "u8": nb.uint64, "f4": nb.float32, "f8": nb.float64}
_ARITHMETIC = {"add": "add", "sub": "sub", "mul": "mul"}
_BITS = {"land": "and_", "lor": "or_", "lxor": "xor", "band": "and_", "bor": "or_", "bxor": "xor"}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
#: functions of one number whose implementation Numba gives without compiling anything
_MATH = frozenset(
    [
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
        *("exp", "expm1", "log", "log1p", "log10", "sqrt", "erf", "erfc", "gamma", "lgamma"),
    ]
)


class Values:
    """The values of the function that is built where the builder stands."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder
        self.values: dict[Var, Any] = {}
        self.cells: dict[Var, Any] = {}  # of variables with several definitions, in LLVM's sense
        self.free: set[Var] = set()  # sums whose order is nobody's

    def cell(self, kind: Any) -> Any:
        """A variable of the function, for LLVM to keep in a register."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(self.context.get_value_type(kind))

    def const(self, value: Any, dt: str) -> Any:
        return self.context.get_constant(TYPES[dt], value)

    def atom(self, a: Atom) -> Any:
        """A value."""
        if isinstance(a, Const):
            return self.const(a.value, a.dt)
        if a in self.cells:
            return self.builder.load(self.cells[a])
        return self.values[a]

    def cast(self, a: Atom, dt: str) -> Any:
        """A value as one of another dtype."""
        if isinstance(a, Const) and a.dt in ("i8", "b1") and dt in FLOATS:
            return self.const(float(a.value), dt)  # type: ignore[arg-type]
        return self.context.cast(self.builder, self.atom(a), TYPES[a.dt], TYPES[dt])

    def define(self, v: Var, value: Any) -> None:
        """Give a variable of several definitions a value."""
        if v not in self.cells:
            self.cells[v] = self.cell(TYPES[v.dt])
        self.builder.store(value, self.cells[v])

    def together(self, pairs: Sequence[tuple[Var, Atom]]) -> None:
        """Assignments that all read before any writes."""
        for v, value in [(v, self.cast(a, v.dt)) for v, a in pairs if v != a]:
            self.define(v, value)

    def let(self, s: Let) -> None:
        if s.op in ("cast", "copy", rules.NOTED):
            value = self.cast(s.args[0], s.var.dt)
        else:
            value = self._instructions(s)
            if value is None:
                value = self._compiled(s)
        self.values[s.var] = value

    def arithmetic(self, op: str, a: Any, b: Any, dt: str) -> Any:
        """Sum, difference or product of values of a dtype."""
        return getattr(self.builder, ("f" if dt in FLOATS else "") + op)(a, b)

    def _instructions(self, s: Let) -> Any:
        """The value, if an instruction or two compute it; else None."""
        builder, op, dt, args = self.builder, s.op, s.var.dt, s.args
        if s.var in self.free:
            return builder.fadd(self.cast(args[0], dt), self.cast(args[1], dt), flags=("reassoc", "nsz"))
        if op in _ARITHMETIC and dt != "b1":
            return self.arithmetic(op, self.cast(args[0], dt), self.cast(args[1], dt), dt)
        if op == "div" and dt in FLOATS:
            return builder.fdiv(self.cast(args[0], dt), self.cast(args[1], dt))
        if op == "neg" and dt in FLOATS:
            return builder.fneg(self.cast(args[0], dt))
        if op == "square" and dt in FLOATS:
            value = self.cast(args[0], dt)
            return builder.fmul(value, value)
        if op in _BITS:
            return getattr(builder, _BITS[op])(self.cast(args[0], dt), self.cast(args[1], dt))
        if op in ("bits", "number"):
            return builder.bitcast(self.atom(args[0]), self.context.get_value_type(TYPES[dt]))
        if op == "lnot":
            return builder.not_(self.cast(args[0], "b1"))
        if op == "select":
            return builder.select(self.cast(args[0], "b1"), self.cast(args[1], dt), self.cast(args[2], dt))
        if op == "mulz" and dt in FLOATS:
            c, k = (self.cast(a, dt) for a in args)
            used = builder.fcmp_unordered("!=", c, self.const(0.0, dt))
            return builder.select(used, builder.fmul(c, k), c)
        if op in _COMPARE:
            return self._compared(_COMPARE[op], args)
        if op in ("min2", "max2") and all(a.dt == dt for a in args):
            a, b = args
            return builder.select(self._compared("<" if op == "min2" else ">", (b, a)), self.atom(b), self.atom(a))
        if op in ("abs", "fabs") and dt in FLOATS:
            return self._absolute(self.cast(args[0], dt))
        if op == "powi" and dt in FLOATS and isinstance(args[1], Const):
            return self._power(self.cast(args[0], dt), int(args[1].value), dt)  # type: ignore[arg-type]
        if op in ("isnan", "isinf", "isfinite") and args[0].dt in FLOATS:
            value, infinite = self.atom(args[0]), self.const(math.inf, args[0].dt)
            if op == "isnan":
                return builder.fcmp_unordered("uno", value, value)
            return builder.fcmp_ordered("==" if op == "isinf" else "<", self._absolute(value), infinite)
        if op == "tanh" and dt in FLOATS:
            return build_tanh(builder, self.cast(args[0], dt))
        if op in _MATH and dt in FLOATS:
            kind = TYPES[dt]
            impl = self.context.get_function(getattr(math, op), signature(kind, kind))
            self.context.add_linking_libs(getattr(impl, "libs", ()))
            return impl(builder, [self.cast(args[0], dt)])
        return None

    def _absolute(self, value: Any) -> Any:
        return self.builder.call(self.builder.module.declare_intrinsic("llvm.fabs", [value.type]), [value])

    def _power(self, value: Any, n: int, dt: str) -> Any:
        """A power of a literal exponent: the products that Numba has, in their order; None beyond those."""
        if abs(n) > 0x10000:
            return None
        one = result = self.const(1.0, dt)
        bits = abs(n)
        while bits:
            if bits & 1:
                result = value if result is one else self.builder.fmul(result, value)
            bits >>= 1
            if bits:
                value = self.builder.fmul(value, value)
        return self.builder.fdiv(one, result) if n < 0 else result

    def _compared(self, sign: str, args: Sequence[Atom]) -> Any:
        a, b = args
        dts = {a.dt, b.dt}
        dt = a.dt if len(dts) == 1 else "f8" if "f8" in dts else "i8" if dts <= {"b1", "i4", "i8"} else ""
        if not dt:
            return None
        x, y = self.cast(a, dt), self.cast(b, dt)
        if dt in FLOATS:
            return (self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered)(sign, x, y)
        return (self.builder.icmp_signed if dt in ("i4", "i8") else self.builder.icmp_unsigned)(sign, x, y)

    def _compiled(self, s: Let) -> Any:
        """Numba's own operation, compiled from its text; literal integers are a part of that."""
        fixed = rules.FIXED.get(s.op, (-1, ""))[0]
        free = [k for k in range(len(s.args)) if k != fixed]
        texts = [repr(a.value) if k == fixed and isinstance(a, Const) else f"x{k}" for k, a in enumerate(s.args)]
        fn = _function(rules.text(s.op, texts, s.var.dt), tuple(f"x{k}" for k in free))
        kinds = tuple(TYPES[s.args[k].dt] for k in free)
        dt = rules.result_dtype(s.op, tuple(a.dt for a in s.args))
        sig = signature(TYPES[dt], *kinds)
        flags = Flags()
        flags.error_model = "numpy"  # (which is not inherited): no exceptions, so that what is not needed may be computed
        compiled = self.context.compile_subroutine(self.builder, fn, sig, flags=flags)
        value = self.context.call_internal(self.builder, compiled.fndesc, sig, [self.atom(s.args[k]) for k in free])
        return self.context.cast(self.builder, value, TYPES[dt], TYPES[s.var.dt])


_functions: dict[tuple[str, tuple[str, ...]], Callable[..., Any]] = {}


def _function(text: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """The Python function of a text; one for each text, as Numba keeps what it has compiled by the function."""
    if (text, names) not in _functions:
        scope = {"math": math, "np": np, "special": special}
        _functions[text, names] = eval(f"lambda {', '.join(names)}: {text}", scope)
    return _functions[text, names]
