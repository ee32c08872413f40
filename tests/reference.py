"""An independent reference for derivatives: the user's own Python function, run on dual numbers.

Nothing here knows the library.  The function, and every helper that it reaches through globals and closures, is rebuilt
with a new globals dictionary in which ``math`` and ``numpy`` are shims that accept :class:`Dual`; the originals are not
touched.  Arrays of floats become object arrays of duals (:class:`DualArray`), integers and booleans stay what they are.

Policies, the same as the library's:

* a tie in min / max goes to the first argument; the derivative of ``abs`` and of ``hypot`` at 0 is 0;
* a factor that is exactly 0 (tangent or coefficient) makes the product 0, so ``sqrt`` at 0 yields 0 for the tangent 0
  and inf otherwise, and an infinite coefficient on a path that does not matter does no harm;
* division by zero and the like follow IEEE 754 (as Numba's ``error_model="numpy"``), they do not raise;
* float32 is computed in double precision, only the returned cotangents are float32;
* cells of ``np.empty`` hold NaN until they are written.

A tangent or cotangent may be ``None`` wherever it is zero; ``None`` is returned for integers, booleans and None.
"""

from __future__ import annotations

import builtins
import math
import operator
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

__all__ = ["Dual", "DualArray", "reference_grad", "reference_jvp", "reference_value", "reference_vjp"]

F = Callable[..., Any]


# ------------------------------------------------------------------------------------------------- rules of functions
@dataclass(frozen=True)
class Rule:
    """The value of a function of floats and its partial derivatives, one function per argument (None: always zero)."""

    value: F
    partials: tuple[F | None, ...]


def _mp(fun: F) -> F:
    """Evaluate a derivative in 40 digits and round it once; singular points give NaN."""

    def at(*args: float) -> float:
        try:
            with mpmath.workdps(40):
                return float(fun(*map(mpmath.mpf, args)))
        except (ValueError, ZeroDivisionError):
            return math.nan

    return at


def _ieee(fun: F) -> F:
    """A function of :mod:`math` that returns NaN or inf where the original raises."""

    def at(*args: float) -> float:
        try:
            return fun(*args)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return at


def _power_in_base(a: float, b: float) -> float:
    return 0.0 if b == 0.0 else b * np.power(a, b - 1.0)


def _power_in_exponent(a: float, b: float) -> float:
    return np.power(a, b) * np.log(a) if a > 0.0 else 0.0


def _per_hypot(x: float, a: float, b: float) -> float:
    return 0.0 if x == 0.0 else x / np.hypot(a, b)


def _sinc_slope(x: Any) -> Any:
    return (mpmath.cospi(x) - mpmath.sincpi(x)) / x if x else 0.0


def _sign(x: float) -> float:
    return float(np.sign(x))


RULES: dict[str, Rule] = {
    "sin": Rule(np.sin, (np.cos,)),
    "cos": Rule(np.cos, (lambda x: -np.sin(x),)),
    "tan": Rule(np.tan, (lambda x: np.cos(x) ** -2.0,)),
    "arcsin": Rule(np.arcsin, (lambda x: ((1.0 - x) * (1.0 + x)) ** -0.5,)),
    "arccos": Rule(np.arccos, (lambda x: -(((1.0 - x) * (1.0 + x)) ** -0.5),)),
    "arctan": Rule(np.arctan, (lambda x: np.hypot(1.0, x) ** -2.0,)),
    "sinh": Rule(np.sinh, (np.cosh,)),
    "cosh": Rule(np.cosh, (np.sinh,)),
    "tanh": Rule(np.tanh, (lambda x: np.cosh(x) ** -2.0,)),
    "arcsinh": Rule(np.arcsinh, (lambda x: 1.0 / np.hypot(1.0, x),)),
    "arccosh": Rule(np.arccosh, (lambda x: (x - 1.0) ** -0.5 * (x + 1.0) ** -0.5,)),
    "arctanh": Rule(np.arctanh, (lambda x: 1.0 / ((1.0 - x) * (1.0 + x)),)),
    "exp": Rule(np.exp, (np.exp,)),
    "exp2": Rule(np.exp2, (lambda x: math.log(2.0) * np.exp2(x),)),
    "expm1": Rule(np.expm1, (np.exp,)),
    "log": Rule(np.log, (np.reciprocal,)),
    "log2": Rule(np.log2, (lambda x: math.log2(math.e) / x,)),
    "log10": Rule(np.log10, (lambda x: math.log10(math.e) / x,)),
    "log1p": Rule(np.log1p, (lambda x: 1.0 / (1.0 + x),)),
    "sqrt": Rule(np.sqrt, (lambda x: 0.5 * np.power(x, -0.5),)),
    "cbrt": Rule(np.cbrt, (lambda x: np.cbrt(x) ** -2.0 / 3.0,)),
    "square": Rule(np.square, (lambda x: x + x,)),
    "reciprocal": Rule(np.reciprocal, (lambda x: -(x**-2.0),)),
    "fabs": Rule(np.fabs, (np.sign,)),
    "degrees": Rule(np.degrees, (lambda x: 180.0 / math.pi,)),
    "radians": Rule(np.radians, (lambda x: math.pi / 180.0,)),
    "erf": Rule(math.erf, (_mp(lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)),)),
    "erfc": Rule(math.erfc, (_mp(lambda x: -2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)),)),
    "gamma": Rule(_ieee(math.gamma), (_mp(lambda x: mpmath.gamma(x) * mpmath.digamma(x)),)),
    "lgamma": Rule(_ieee(math.lgamma), (_mp(mpmath.digamma),)),
    "sinc": Rule(np.sinc, (_mp(_sinc_slope),)),
    "add": Rule(np.add, (lambda a, b: 1.0, lambda a, b: 1.0)),
    "subtract": Rule(np.subtract, (lambda a, b: 1.0, lambda a, b: -1.0)),
    "multiply": Rule(np.multiply, (lambda a, b: b, lambda a, b: a)),
    "divide": Rule(np.divide, (lambda a, b: 1.0 / b, lambda a, b: -(a / b) / b)),
    "power": Rule(np.power, (_power_in_base, _power_in_exponent)),
    "remainder": Rule(np.remainder, (lambda a, b: 1.0, lambda a, b: -np.rint((a - np.remainder(a, b)) / b))),
    "fmod": Rule(np.fmod, (lambda a, b: 1.0, lambda a, b: -np.rint((a - np.fmod(a, b)) / b))),
    "floor_divide": Rule(np.floor_divide, (None, None)),
    "hypot": Rule(np.hypot, (lambda a, b: _per_hypot(a, a, b), lambda a, b: _per_hypot(b, a, b))),
    "arctan2": Rule(np.arctan2, (lambda a, b: b * np.hypot(a, b) ** -2.0, lambda a, b: -a * np.hypot(a, b) ** -2.0)),
    "copysign": Rule(np.copysign, (lambda a, b: _sign(a) * np.copysign(1.0, b), None)),
    "logaddexp": Rule(np.logaddexp, (lambda a, b: 1.0 / (1.0 + np.exp(b - a)), lambda a, b: 1.0 / (1.0 + np.exp(a - b)))),
    "ldexp": Rule(lambda a, n: np.ldexp(a, int(n)), (lambda a, n: 2.0**n, None)),
}
for _name in ("floor", "ceil", "trunc", "rint", "sign"):
    RULES[_name] = Rule(getattr(np, _name), (None,))
RULES["heaviside"] = Rule(np.heaviside, (None, None))


# ----------------------------------------------------------------------------------------------------- dual numbers
class Dual:
    """A float ``v`` with a first-order tangent ``d``; compares, converts to int and bool, and branches by ``v``."""

    __slots__ = ("d", "v")
    __array_ufunc__ = None  # NumPy scalars and arrays defer to the reflected operators below
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, v: float, d: float = 0.0) -> None:
        self.v, self.d = float(v), float(d)

    def __repr__(self) -> str:
        return f"Dual({self.v!r}, {self.d!r})"

    def __float__(self) -> float:
        raise TypeError("a Dual reached code that would drop its derivative")

    def __bool__(self) -> bool:
        return self.v != 0.0

    def __int__(self) -> int:
        return int(self.v)

    __trunc__ = __int__

    def __floor__(self) -> int:
        return math.floor(self.v)

    def __ceil__(self) -> int:
        return math.ceil(self.v)

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.v) if digits is None else Dual(round(self.v, digits))

    def __neg__(self) -> Dual:
        return Dual(-self.v, -self.d)

    def __pos__(self) -> Dual:
        return self

    def __abs__(self) -> Dual:
        return apply("fabs", self)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self


def _operator(name: str) -> tuple[F, F]:
    """The operator of this rule and its reflection; arrays are taken element by element."""

    def forward(self: Dual, other: Any) -> Any:
        return _elementwise(lambda a, b: apply(name, a, b))(self, other)

    def reflected(self: Dual, other: Any) -> Any:
        return _elementwise(lambda a, b: apply(name, a, b))(other, self)

    return forward, reflected


def _comparison(fun: F) -> F:
    def compare(self: Dual, other: Any) -> Any:
        return fun(self.v, np.vectorize(real, otypes=[float])(other) if isinstance(other, np.ndarray) else real(other))

    return compare


for _dunder, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "mod": "remainder",
    "floordiv": "floor_divide",
}.items():  # fmt: skip
    _forward, _reflected = _operator(_name)
    setattr(Dual, f"__{_dunder}__", _forward)
    setattr(Dual, f"__r{_dunder}__", _reflected)
for _dunder in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Dual, f"__{_dunder}__", _comparison(getattr(operator, _dunder)))


def real(x: Any) -> float:
    """The value of a number, without its tangent."""
    return x.v if isinstance(x, Dual) else float(x)


def tangent(x: Any) -> float:
    """The tangent of a number; zero for anything but a :class:`Dual`."""
    return x.d if isinstance(x, Dual) else 0.0


def product(coefficient: float, seed: float) -> float:
    """``coefficient * seed``, and 0 if either is exactly 0."""
    return 0.0 if seed == 0.0 or coefficient == 0.0 else float(coefficient) * seed


def apply(name: str, *args: Any) -> Dual:
    """A function of :data:`RULES` at numbers; partial derivatives are evaluated only where a tangent is not zero."""
    rule, values = RULES[name], [np.float64(real(a)) for a in args]
    slope = 0.0
    for partial, a in zip(rule.partials, args, strict=True):
        if partial is not None and tangent(a) != 0.0:
            slope += product(partial(*values), tangent(a))
    return Dual(rule.value(*values), slope)


# ------------------------------------------------------------------------------------------------------------ arrays
class DualArray(np.ndarray):
    """An object array in which every stored number becomes a :class:`Dual`."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.dtype == object:
            value = dual_array(value) if isinstance(value, np.ndarray) else to_dual(value)
        super().__setitem__(key, value)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        if return_scalar or array.ndim == 0:
            return array[()]
        return array.view(DualArray if array.dtype == object else np.ndarray)

    def fill(self, value: Any) -> None:
        self[...] = value

    def astype(self, dtype: Any) -> Any:  # type: ignore[override]
        if _is_float(dtype) or self.dtype != object:
            return self.copy() if self.dtype == object else super().astype(dtype)
        return np.vectorize(int, otypes=[dtype])(self)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:  # type: ignore[override]
        gone = range(self.ndim) if axis is None else np.atleast_1d(axis)
        return self.sum(axis=axis, keepdims=keepdims) / math.prod(self.shape[k] for k in gone)

    def var(self, axis: int | None = None, keepdims: bool = False) -> Any:  # type: ignore[override]
        return ((self - self.mean(axis, True)) ** 2).mean(axis, keepdims)

    def std(self, axis: int | None = None, keepdims: bool = False) -> Any:  # type: ignore[override]
        return _number("sqrt")(self.var(axis, keepdims))

    def max(self, axis: int | None = None, keepdims: bool = False) -> Any:  # type: ignore[override]
        return self._at_extreme(np.argmax, axis, keepdims)

    def min(self, axis: int | None = None, keepdims: bool = False) -> Any:  # type: ignore[override]
        return self._at_extreme(np.argmin, axis, keepdims)

    def _at_extreme(self, place: F, axis: int | None, keepdims: bool) -> Any:
        if axis is None:
            return self.ravel()[place(_values(self))]
        found = np.take_along_axis(self, np.expand_dims(place(_values(self), axis), axis), axis)
        return found if keepdims else found[(slice(None),) * (axis % self.ndim) + (0,)]

    def argsort(self, axis: int = -1, **kwargs: Any) -> Any:  # type: ignore[override]
        return np.argsort(_values(self), axis, kind="stable")


def _in_place(name: str) -> F:
    def operate(self: DualArray, other: Any) -> DualArray:
        self[...] = getattr(operator, name)(self, other)
        return self

    return operate


for _dunder in ("add", "sub", "mul", "truediv", "pow"):
    setattr(DualArray, f"__i{_dunder}__", _in_place(_dunder))


def to_dual(x: Any) -> Any:
    """A number as a :class:`Dual`; the meaning of ``float(x)`` in the function under test."""
    return x if isinstance(x, Dual) else Dual(x)


def dual_array(values: np.ndarray, tangents: np.ndarray | None = None) -> DualArray:
    """An object array of these values (numbers or duals) and tangents (default zero)."""
    out = np.empty(values.shape, object)
    for index in np.ndindex(values.shape):
        out[index] = to_dual(values[index]) if tangents is None else Dual(values[index], tangents[index])
    return out.view(DualArray)


def _elementwise(fun: F) -> F:
    """``fun`` of numbers, applied element by element with broadcasting where an argument is an array."""

    def mapped(*args: Any) -> Any:
        if not any(isinstance(a, np.ndarray) and a.ndim for a in args):
            return fun(*args)
        boxes = [a if isinstance(a, np.ndarray) else _box(a) for a in args]
        out = np.frompyfunc(fun, len(args), 1)(*(b.view(np.ndarray) for b in boxes))
        return out.view(DualArray) if isinstance(out.flat[0] if out.size else Dual(0.0), Dual) else out

    return mapped


def _values(array: Any) -> np.ndarray:
    """The values of an array, without tangents."""
    plain = np.asarray(array).view(np.ndarray)
    return np.array([real(x) for x in plain.flat], float).reshape(plain.shape) if plain.dtype == object else plain


def _box(x: Any) -> np.ndarray:
    box = np.empty((), object)
    box[()] = x
    return box


def _is_float(dtype: Any) -> bool:
    return dtype is None or dtype is to_dual or np.dtype(dtype).kind in "fO"


def _full(shape: Any, value: float, dtype: Any = None) -> np.ndarray:
    if not _is_float(dtype):
        return np.full(shape, 0 if math.isnan(value) else value, dtype)
    return dual_array(np.full(shape, value))


def _full_like(array: np.ndarray, value: float, dtype: Any = None) -> np.ndarray:
    return _full(array.shape, value, array.dtype if dtype is None else dtype)


# ------------------------------------------------------------------------------------------- shims of math and numpy
class Shim(types.SimpleNamespace):
    """Stands for a module; what it lacks is refused by name."""

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"the reference has no {self.shim_name}.{name}")


def _number(name: str) -> F:
    return _elementwise(lambda *args: apply(name, *args))


def _test(fun: F) -> F:
    return _elementwise(lambda x: bool(fun(real(x))))


def _log(x: Any, base: Any = None) -> Any:
    return apply("log", x) if base is None else apply("log", x) / apply("log", base)


def _maximum(a: Any, b: Any) -> Any:
    return a if a >= b else b


def _minimum(a: Any, b: Any) -> Any:
    return a if a <= b else b


def _clip(x: Any, low: Any, high: Any) -> Any:
    return _minimum(_maximum(x, low), high)


def _np_sign(x: Any) -> Any:
    return int(np.sign(x)) if isinstance(x, (int, np.integer)) else apply("sign", x)


def _np_power(a: Any, b: Any) -> Any:
    return a**b


def _np_array(x: Any, dtype: Any = None) -> np.ndarray:
    out = np.array(x, dtype=None if dtype is to_dual else dtype)
    return dual_array(out) if out.dtype.kind in "fO" else out


def _where(condition: Any, *sides: Any) -> Any:
    return _elementwise(lambda c, a, b: a if c else b)(condition, *sides) if sides else np.nonzero(condition)


def _sorted(a: Any) -> Any:
    return np.take_along_axis(a, np.argsort(_values(a), -1, kind="stable"), -1)


def _median(a: Any) -> Any:
    order, n = _sorted(a.ravel()), a.size
    return order[n // 2] if n % 2 else (order[n // 2 - 1] + order[n // 2]) / 2


def _interp(x: Any, xp: Any, fp: Any) -> Any:
    def at(x: Any) -> Any:
        j = int(np.searchsorted(_values(xp), real(x), side="right")) - 1
        if j < 0 or j >= len(xp) - 1:
            return to_dual(fp[0] if j < 0 else fp[-1])
        return (fp[j + 1] - fp[j]) / (xp[j + 1] - xp[j]) * (x - xp[j]) + fp[j]

    return _elementwise(at)(x)


def _norm(x: Any, order: Any = None) -> Any:
    if order is None or (order == 2 and x.ndim == 1):
        return apply("sqrt", (x * x).sum())
    size = abs(x)
    if x.ndim == 2:
        size, order = size.sum(axis=0 if abs(order) == 1 else 1), math.copysign(math.inf, order)
    if math.isinf(order):
        return size.max() if order > 0 else size.min()
    return size.sum() if order == 1 else (size**order).sum() ** (1.0 / order)


def _of_values(fun: F) -> F:
    """A function whose result does not depend differentiably on its arguments."""
    return lambda *args, **kwargs: fun(*(_values(a) for a in args), **kwargs)


def _keep(fun: F) -> F:
    """A NumPy function that only moves elements, or adds and multiplies them, and so works on object arrays."""

    def kept(*args: Any, **kwargs: Any) -> Any:
        out = fun(*args, **kwargs)
        return out.__array_wrap__(out) if isinstance(out, DualArray) else out

    return kept


_CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}
_SHORT = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}
_TESTS = {name: _test(getattr(math, name)) for name in ("isnan", "isinf", "isfinite")}
_MOVING = (
    "sum prod dot roll concatenate cumsum cumprod flip arange transpose stack hstack vstack outer diff diag tril triu trace "
    "linspace reshape ravel tile repeat take swapaxes column_stack fliplr flipud expand_dims flatnonzero logical_and logical_or "
    "logical_not ascontiguousarray trapezoid cross convolve average"
).split()
_IN_BOTH = (
    "sin cos tan sinh cosh tanh exp exp2 expm1 log2 log10 log1p sqrt cbrt fabs degrees radians fmod hypot copysign ldexp"
).split()

MATH = Shim(
    shim_name="math", tau=math.tau, log=_log, floor=math.floor, ceil=math.ceil, trunc=math.trunc, gcd=math.gcd,
    pow=_number("power"), atan2=_number("arctan2"),
    **_CONSTANTS, **_TESTS,
    **{short: _number(name) for short, name in _SHORT.items()},
    **{name: _number(name) for name in (*_IN_BOTH, "erf", "erfc", "gamma", "lgamma")},
)  # fmt: skip

NUMPY = Shim(
    shim_name="np", newaxis=None,
    empty=lambda shape, dtype=None: _full(shape, math.nan, dtype),
    zeros=lambda shape, dtype=None: _full(shape, 0.0, dtype),
    ones=lambda shape, dtype=None: _full(shape, 1.0, dtype),
    full=lambda shape, value, dtype=None: _full(shape, 0.0, dtype) + value if _is_float(dtype) else np.full(shape, value, dtype),
    empty_like=lambda a, dtype=None: _full_like(a, math.nan, dtype),
    zeros_like=lambda a, dtype=None: _full_like(a, 0.0, dtype),
    ones_like=lambda a, dtype=None: _full_like(a, 1.0, dtype),
    copy=lambda a: a.copy(), array=_np_array, asarray=_np_array,
    float64=to_dual, float32=to_dual, int64=np.int64, int32=np.int32, intp=np.intp, uint8=np.uint8, bool_=np.bool_,
    maximum=_elementwise(_maximum), minimum=_elementwise(_minimum), fmax=_elementwise(_maximum),
    fmin=_elementwise(_minimum), clip=_elementwise(_clip), abs=_elementwise(abs), absolute=_elementwise(abs),
    sign=_elementwise(_np_sign), power=_elementwise(_np_power), where=_where,
    negative=_elementwise(lambda x: -x), mod=_number("remainder"), true_divide=_number("divide"),
    round=_number("rint"), deg2rad=_number("radians"), rad2deg=_number("degrees"),
    **{name: lambda a, name=name, **kwargs: getattr(a, name)(**kwargs) for name in ("mean", "var", "std", "max", "min")},
    amax=lambda a, **kwargs: a.max(**kwargs), amin=lambda a, **kwargs: a.min(**kwargs), nonzero=np.nonzero,
    ptp=lambda a, **kwargs: a.max(**kwargs) - a.min(**kwargs), append=lambda a, b: dual_array(np.append(a, b)),
    full_like=lambda a, value: _full_like(a, 0.0) + value,
    ndindex=np.ndindex, vdot=np.dot, eye=lambda *args: dual_array(np.eye(*args)), sort=_sorted, median=_median, interp=_interp,
    **{name: _of_values(getattr(np, name)) for name in ("argmax", "argmin", "any", "all", "searchsorted", "count_nonzero")},
    argsort=lambda a, **kwargs: a.argsort(**kwargs), linalg=Shim(shim_name="np.linalg", norm=_norm),
    **_CONSTANTS, **_TESTS,
    **{name: _keep(getattr(np, name)) for name in _MOVING},
    **{name: _number(name) for name in (*_IN_BOTH, *_SHORT.values(), "log", "floor", "ceil", "trunc", "rint", "square")},
    **{name: _number(name) for name in ("reciprocal", "sinc", "heaviside", "logaddexp", "arctan2", "remainder")},
    **{name: _number(name) for name in ("add", "subtract", "multiply", "divide", "floor_divide")},
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- rebuilding functions
class _Rebuilt:
    """Rebuilds functions, recursively, with shims in the place of ``math`` and ``numpy``; one instance per run."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}

    def value(self, x: Any) -> Any:
        """What a captured value becomes."""
        if isinstance(x, types.FunctionType) or isinstance(getattr(x, "py_func", None), types.FunctionType):
            return self.function(getattr(x, "py_func", x))
        if isinstance(x, types.ModuleType):
            return {"math": MATH, "numpy": NUMPY}.get(x.__name__) or _Namespace(self, x)
        if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            frozen = dual_array(x)
            frozen.setflags(write=False)
            return frozen
        if type(x) is tuple:
            return tuple(map(self.value, x))
        for module, shim in ((math, MATH), (np, NUMPY)):
            name = getattr(x, "__name__", None)
            if callable(x) and name and getattr(module, name, None) is x and not hasattr(builtins, name):
                return getattr(shim, name)
        return x

    def function(self, f: types.FunctionType) -> types.FunctionType:
        """A copy of ``f`` whose globals, closure and defaults hold rebuilt values."""
        if id(f) in self.done:
            return self.done[id(f)]
        scope: dict[str, Any] = {"__builtins__": builtins, "__name__": f.__module__, "float": to_dual}
        cells = tuple(types.CellType() for _ in f.__closure__ or ())
        copy = types.FunctionType(f.__code__, scope, f.__name__, f.__defaults__, cells)
        copy.__kwdefaults__ = f.__kwdefaults__
        self.done[id(f)] = copy
        scope |= {name: self.value(f.__globals__[name]) for name in _names(f.__code__) if name in f.__globals__}
        for cell, old in zip(cells, f.__closure__ or (), strict=True):
            cell.cell_contents = self.value(old.cell_contents)
        return copy


class _Namespace:
    """A module of the user's, whose functions are rebuilt when they are looked up."""

    def __init__(self, rebuilt: _Rebuilt, module: types.ModuleType) -> None:
        self._rebuilt, self._module = rebuilt, module

    def __getattr__(self, name: str) -> Any:
        return self._rebuilt.value(getattr(self._module, name))


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that this code, and the code of functions defined inside it, may look up in its globals."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


# ------------------------------------------------------------------------------------------------------- structures
def _rebuild(like: Any, children: list[Any]) -> Any:
    return type(like)(*children) if hasattr(like, "_fields") else tuple(children)


def _is_active(leaf: Any) -> bool:
    """Whether an input leaf carries a derivative."""
    return isinstance(leaf, (float, np.floating)) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f")


def _lifted(x: Any, seed: Any) -> Any:
    """An argument on dual numbers, every array a copy; ``seed`` has its structure, or is None."""
    if isinstance(x, tuple):
        seeds = (None,) * len(x) if seed is None else seed
        return _rebuild(x, [_lifted(a, s) for a, s in zip(x, seeds, strict=True)])
    if isinstance(x, np.ndarray):
        if not _is_active(x):
            return x.copy()
        return dual_array(x, np.zeros(x.shape) if seed is None else np.broadcast_to(seed, x.shape))
    if _is_active(x):
        return Dual(x, 0.0 if seed is None else seed)
    if x is None or isinstance(x, (int, np.integer, np.bool_)):
        return x
    raise TypeError(f"the reference does not take arguments of type {type(x).__name__}")


def _map_out(out: Any, of_number: F, of_inert: F) -> Any:
    """Map the leaves of a result: floats and arrays of them by ``of_number``, the others by ``of_inert``."""
    if isinstance(out, tuple):
        return _rebuild(out, [_map_out(x, of_number, of_inert) for x in out])
    if isinstance(out, np.ndarray):
        if out.dtype.kind not in "fO":
            return of_inert(out)
        return np.array([of_number(x) for x in out.flat], dtype=float).reshape(out.shape)
    return of_number(out) if isinstance(out, (float, Dual)) else of_inert(out)


def _contracted(out: Any, bar: Any) -> float:
    """The sum over all leaves of cotangent times tangent."""
    if bar is None:
        return 0.0
    if isinstance(out, tuple):
        return sum(_contracted(x, b) for x, b in zip(out, bar, strict=True))
    if isinstance(out, np.ndarray):
        return sum(product(b, tangent(x)) for x, b in zip(out.flat, np.broadcast_to(bar, out.shape).flat, strict=True))
    return product(bar, tangent(out))


def _run(f: F, args: tuple, seeds: Any) -> Any:
    with np.errstate(all="ignore"):
        return _Rebuilt().value(f)(*_lifted(tuple(args), seeds))


# -------------------------------------------------------------------------------------------------------- public API
def reference_value(f: F, args: tuple) -> Any:
    """``f(*args)`` in the arithmetic of the reference; the arguments are copied."""
    return _map_out(_run(f, args, None), real, lambda x: x)


def reference_jvp(f: F, args: tuple, tangents: Any) -> tuple[Any, Any]:
    """The value of ``f`` and its directional derivative; ``tangents`` is a tuple with the structure of ``args``."""
    out = _run(f, args, tangents)
    return _map_out(out, real, lambda x: x), _map_out(out, tangent, lambda x: None)


def reference_vjp(f: F, args: tuple, out_bar: Any) -> tuple:
    """The cotangents of all arguments, a tuple with the structure of ``args``: one run of ``f`` per input component."""

    def component(path: tuple[int, ...], seed: Any) -> float:
        return _contracted(_run(f, args, _planted(args, path, seed)), out_bar)

    def bars(x: Any, path: tuple[int, ...]) -> Any:
        if isinstance(x, tuple):
            return _rebuild(x, [bars(child, (*path, k)) for k, child in enumerate(x)])
        if not _is_active(x):
            return None
        if not isinstance(x, np.ndarray):
            return component(path, 1.0)
        bar = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            seed = np.zeros(x.shape)
            seed[index] = 1.0
            bar[index] = component(path, seed)
        return bar.astype(x.dtype)

    return bars(tuple(args), ())


def _planted(x: Any, path: tuple[int, ...], seed: Any) -> Any:
    """A tangent for ``x`` that is ``seed`` at the leaf ``path`` and zero (None) elsewhere."""
    if not path:
        return seed
    return tuple(_planted(child, path[1:], seed) if k == path[0] else None for k, child in enumerate(x))


def reference_grad(f: F, args: tuple, wrt: int | tuple[int, ...] = 0) -> Any:
    """The gradient of a scalar function with respect to one argument, or a tuple of them."""
    bars = reference_vjp(f, args, 1.0)
    return bars[wrt] if isinstance(wrt, int) else tuple(bars[k] for k in wrt)
