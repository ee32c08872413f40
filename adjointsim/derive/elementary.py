"""tanh as arithmetic, which LLVM turns into vectors: calls of the C library are made for one number at a time.

With x = 2 |t|, k the integer next to x / ln 2 and r = x - k ln 2, which is at most ln 2 / 2,

    e^x - 1 = 2^k (e^r - 1) + (2^k - 1),        tanh |t| = (e^x - 1) / (e^x + 1),

and e^r - 1 is its Taylor polynomial of degree 13, whose rest is below 2e-17 of it.  The result is off by less than 2.5 units in
the last place.  Vector or not, compiled or run by Python, the same operations are rounded in the same way, to the same bits.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

__all__ = ["build_tanh", "tanh"]

_MOST = 22.0  # tanh is 1 from here on
_TO_BITS = 1.5 * 2.0**52  # added to an integer, its last bits are those of the sum
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693147180559890330187045037746, 5.49792301870850242e-14  # whose first has room for a factor of 2^7
_TAYLOR = tuple(1.0 / math.factorial(n) for n in range(14))


def _tanh(x: Any, ops: Any) -> Any:
    """The value for an x of the type that ``ops`` knows."""
    t = ops.fabs(x)
    t = ops.select(t > _MOST, ops.number(_MOST), t)  # not a NaN
    whole = t * (2.0 * _LOG2_E) + _TO_BITS
    k = whole - _TO_BITS
    r = (t * 2.0 - k * _LN2_HIGH) - k * _LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    c = _TAYLOR
    low = (r * c[3] + c[2]) + r2 * (r * c[5] + c[4])
    middle = (r * c[7] + c[6]) + r2 * (r * c[9] + c[8])
    high = (r * c[11] + c[10]) + r2 * (r * c[13] + c[12])
    part = r + r2 * (low + r4 * (middle + r4 * high))  # e^r - 1
    power = ops.power_of_2(whole)
    e = power * part + (power - 1.0)
    return ops.copysign(e / (e + 2.0), x)


class _Python:
    """Numbers of Python's."""

    number = float
    fabs = staticmethod(math.fabs)
    copysign = staticmethod(math.copysign)

    @staticmethod
    def select(test: bool, a: float, b: float) -> float:
        return a if test else b

    @staticmethod
    def power_of_2(whole: float) -> float:
        """2^k, for _TO_BITS + k."""
        bits = struct.unpack("<q", struct.pack("<d", whole))[0]
        wrapped = ((bits << 52) + 0x3FF0000000000000) % 2**64
        return float(struct.unpack("<d", struct.pack("<Q", wrapped))[0])


class _Built:
    """Values of a function that is built for LLVM."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _other(self, other: Any) -> Any:
        return other.value if isinstance(other, _Built) else ir.Constant(ir.DoubleType(), other)

    def __add__(self, other: Any) -> _Built:
        return _Built(self.builder, self.builder.fadd(self.value, self._other(other)))

    def __sub__(self, other: Any) -> _Built:
        return _Built(self.builder, self.builder.fsub(self.value, self._other(other)))

    def __mul__(self, other: Any) -> _Built:
        return _Built(self.builder, self.builder.fmul(self.value, self._other(other)))

    def __truediv__(self, other: Any) -> _Built:
        return _Built(self.builder, self.builder.fdiv(self.value, self._other(other)))

    def __gt__(self, other: Any) -> Any:
        return self.builder.fcmp_ordered(">", self.value, self._other(other))


class _Builder:
    """The operations on these."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def number(self, value: float) -> _Built:
        return _Built(self.builder, ir.Constant(ir.DoubleType(), value))

    def select(self, test: Any, a: _Built, b: _Built) -> _Built:
        return _Built(self.builder, self.builder.select(test, a.value, b.value))

    def fabs(self, a: _Built) -> _Built:
        return self._intrinsic("llvm.fabs", a)

    def copysign(self, a: _Built, sign: _Built) -> _Built:
        return self._intrinsic("llvm.copysign", a, sign)

    def power_of_2(self, whole: _Built) -> _Built:
        builder, integer = self.builder, ir.IntType(64)
        bits = builder.shl(builder.bitcast(whole.value, integer), ir.Constant(integer, 52))
        bits = builder.add(bits, ir.Constant(integer, 0x3FF0000000000000))
        return _Built(builder, builder.bitcast(bits, ir.DoubleType()))

    def _intrinsic(self, name: str, *args: _Built) -> _Built:
        double = ir.DoubleType()
        function = self.builder.module.declare_intrinsic(name, [double], ir.FunctionType(double, [double] * len(args)))
        return _Built(self.builder, self.builder.call(function, [a.value for a in args]))


def build_tanh(builder: Any, x: Any) -> Any:
    """The value of tanh for a value of LLVM's, of single precision by way of double precision."""
    double = ir.DoubleType()
    wide = x if x.type == double else builder.fpext(x, double)
    y = _tanh(_Built(builder, wide), _Builder(builder)).value
    return y if x.type == double else builder.fptrunc(y, x.type)


def tanh(x):  # type: ignore[no-untyped-def]
    """The hyperbolic tangent of a number, float64 or float32."""
    y = _tanh(float(x), _Python)
    return np.float32(y) if isinstance(x, np.float32) else y


@intrinsic
def _compiled(typingctx: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return build_tanh(builder, values[0])

    return x(x), codegen


@overload(tanh, inline="always")
def _overloaded(x):  # type: ignore[no-untyped-def]
    if isinstance(x, types.Float):
        return lambda x: _compiled(x)
    if isinstance(x, types.Integer):
        return lambda x: _compiled(float(x))
    if isinstance(x, types.Boolean):
        return lambda x: _compiled(1.0 if x else 0.0)
    return None
