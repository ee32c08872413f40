"""The intermediate representation run by plain Python, on floats, complex numbers or mpmath's: what the compiler must equal.

It is slow and small, and it shares nothing with the emitter.  On complex numbers it has the semantics of the *complex step*:
the imaginary part is a perturbation, and everything that decides (comparisons, minima, signs, roundings, casts to integers)
goes by the real part.  On mpmath's numbers it gives the discrete result to any precision.
"""

from __future__ import annotations

import cmath
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import ir, registry, special
from .ir import INTS, Atom, Base, Block, Const, Fn, is_float
from .rules import FIXED

__all__ = ["NeedMore", "StepRaised", "evaluate", "run"]

_GIVEN = "%given"  # the key under which a call's scope holds the names of its parameters
Number = Any  # bool, int, float, complex, mpf or mpc


class StepRaised(Exception):
    """The function left by the ``raise`` of site ``site``."""

    def __init__(self, site: int) -> None:
        super().__init__(f"raise site {site}")
        self.site = site


class NeedMore(Exception):
    """The arena ``base`` must have ``size`` cells."""

    def __init__(self, base: str, size: int) -> None:
        super().__init__(f"{base} needs {size} cells")
        self.base, self.size = base, size


def run(
    fns: Mapping[str, Fn], name: str, args: Sequence[Number | np.ndarray], *, number: type = float, poison: bool = False
) -> tuple[Number, ...]:
    """Call function ``name`` of a module with scalars and arrays (which it writes in place); returns its scalar results.

    ``number`` is what float memory and float literals are made of: ``float``, ``complex`` or ``mpmath.mpf`` (then every
    float array, given or allocated, has dtype object).  With ``poison``, allocated memory that is not filled holds NaN, or
    for integers a number that is no valid index.
    """
    return _Machine(fns, number, poison).call(fns[name], args)


# --------------------------------------------------------------------------------------------------------- statements
class _Machine:
    def __init__(self, fns: Mapping[str, Fn], number: type, poison: bool) -> None:
        self.fns, self.number, self.poison = fns, number, poison

    def call(self, fn: Fn, args: Sequence[Any]) -> tuple:
        """Bind the parameters, run, evaluate the results.  Names are unique in a function: one flat scope is enough."""
        if len(args) != len(fn.params):
            raise TypeError(f"{fn.name} takes {len(fn.params)} arguments, got {len(args)}")
        env = {p.name: a.item() if isinstance(a, np.generic) else a for p, a in zip(fn.params, args)}
        for p in fn.params:
            if isinstance(p, Base) and env[p.name].ndim != p.rank:
                raise TypeError(f"{fn.name}: {p.name} has rank {p.rank}, got an array of rank {env[p.name].ndim}")
        env[_GIVEN] = {p.name for p in fn.params}
        self.block(fn.body, env)
        return tuple(self.value(a, env) for a in fn.results)

    def block(self, block: Block, env: dict[str, Any]) -> None:
        for s in block:
            getattr(self, f"do_{type(s).__name__}")(s, env)

    def value(self, a: Atom, env: dict[str, Any]) -> Number:
        if not isinstance(a, Const):
            return env[a.name]
        if not is_float(a.dt) or self.number is complex:
            return a.value
        return self.number(np.float32(a.value) if a.dt == "f4" else a.value)

    def index(self, s: ir.Load | ir.Store, env: dict[str, Any]) -> tuple[int, ...]:
        index = tuple(int(self.value(i, env)) for i in s.index)
        if s.wrap == "never" and min(index) < 0:
            raise IndexError(f"{s.base}{list(index)}: a negative index where none was expected")
        return index

    def do_Let(self, s: ir.Let, env: dict[str, Any]) -> None:
        values = [self.value(a, env) for a in s.args]
        if self.number not in (float, complex) and is_float(s.var.dt):  # exact from the first operation on
            fixed = FIXED.get(s.op, (-1, ""))[0]
            values = [self.number(v) if type(v) in (int, float) and i != fixed else v for i, v in enumerate(values)]
        env[s.var.name] = evaluate(s.op, values, s.var.dt)

    def do_Dim(self, s: ir.Dim, env: dict[str, Any]) -> None:
        env[s.var.name] = env[s.base.name].shape[s.axis]

    def do_Load(self, s: ir.Load, env: dict[str, Any]) -> None:
        v = env[s.base.name][self.index(s, env)]
        env[s.var.name] = v.item() if isinstance(v, np.generic) else v

    def do_Store(self, s: ir.Store, env: dict[str, Any]) -> None:
        self.store(s, self.index(s, env), self.value(s.value, env), env)

    def store(self, s: ir.Store, index: tuple[int, ...], v: Number, env: dict[str, Any]) -> None:
        array = env[s.base.name]
        array[index] = array[index] + v if s.mode == "add" else v

    def do_Alloc(self, s: ir.Alloc, env: dict[str, Any]) -> None:
        dtype = np.dtype(s.base.dt)
        fill: Number = {"zero": 0, "one": 1, "none": 0}[s.fill]
        if is_float(s.base.dt):
            if self.number is not float:
                dtype = np.dtype(complex if self.number is complex else object)
            fill = self.number(math.nan if self.poison and s.fill == "none" else fill)
        elif self.poison and s.fill == "none" and s.base.dt != "b1":
            fill = np.iinfo(dtype).max
        if s.base.name in env[_GIVEN]:  # memory of the caller's: only filled
            if s.fill != "none" or self.poison:
                env[s.base.name][...] = fill
            return
        env[s.base.name] = np.full([max(0, self.value(d, env)) for d in s.dims], fill, dtype)

    def do_Each(self, s: ir.Each, env: dict[str, Any]) -> None:
        writes = []
        totals = [self.value(init, env) for _, init, _ in s.sums]
        lows, counts = ([self.value(axis[k], env) for axis in s.axes] for k in (1, 2))
        for point in itertools.product(*(range(lo, lo + count) for lo, count in zip(lows, counts, strict=True))):
            env.update(zip((v.name for v, _, _ in s.axes), point))
            self.block(s.body, env)
            writes += [(store, self.index(store, env), self.value(store.value, env)) for store in s.stores]
            for k, (v, _, terms) in enumerate(s.sums):
                for term in terms:
                    totals[k] = evaluate("add", [totals[k], self.value(term, env)], v.dt)
        for store, index, value in writes:
            self.store(store, index, value, env)
        env.update(zip((v.name for v, _, _ in s.sums), totals))

    def do_Call(self, s: ir.Call, env: dict[str, Any]) -> None:
        args = [env[a.name] if isinstance(a, Base) else self.value(a, env) for a in s.args]
        callee = self.fns[s.fn]
        try:
            results = self.call(callee, args)
        except NeedMore as need:  # by the caller's name
            names = {p.name: a.name for p, a in zip(callee.params, s.args, strict=True) if isinstance(a, Base)}
            raise NeedMore(names[need.base], need.size) from None
        env.update(zip((v.name for v in s.results), results, strict=True))

    def do_Foreign(self, s: ir.Foreign, env: dict[str, Any]) -> None:
        def given(a: Any) -> Any:
            if isinstance(a, tuple):
                return tuple(map(given, a))
            if not isinstance(a, Base):
                return self.value(a, env)
            array = env[a.name].copy()
            if a in s.complexes:
                array = array[..., 0] + 1j * array[..., 1]
                if not array.ndim:
                    return array[()]
            array.flags.writeable = False
            return array

        if s.fills:
            registry.registered(s.key).plain(*map(given, s.args), *(env[base.name] for _, base in s.outs))
            return
        value = registry.registered(s.key).plain(*map(given, s.args))
        for k, base in s.outs:
            out, got = env[base.name], np.asarray(value if k < 0 else value[k])
            if base in s.complexes:
                got = np.stack([got.real, got.imag], -1)
            registry.check_shape(s.key, k, got.shape, out.shape)
            out[...] = (out if s.mode == "add" else 0) + got
        for k, v in s.results:
            env[v.name] = evaluate("cast", [value if k < 0 else value[k]], v.dt)

    def do_If(self, s: ir.If, env: dict[str, Any]) -> None:
        test = bool(self.value(s.test, env))
        self.block(s.then if test else s.orelse, env)
        merged = [self.value(a if test else b, env) for _, a, b in s.phis]
        env.update(zip((v.name for v, _, _ in s.phis), merged))

    def do_For(self, s: ir.For, env: dict[str, Any]) -> None:
        lo, count, step = (self.value(a, env) for a in (s.lo, s.count, s.step))
        carried = [self.value(a, env) for _, a in s.carries]
        trips = 0
        while trips < count:
            env[s.var.name] = lo + trips * step
            carried, stop = self.iteration(s, carried, env)
            trips += 1
            if stop:
                break
        self.leave(s, carried, trips, env)

    def do_While(self, s: ir.While, env: dict[str, Any]) -> None:
        carried = [self.value(a, env) for _, a in s.carries]
        trips = 0
        while True:
            env.update(zip((v.name for v, _ in s.carries), carried))
            self.block(s.head, env)
            if not self.value(s.test, env):
                break
            carried, stop = self.iteration(s, carried, env)
            trips += 1
            if stop:
                break
        self.leave(s, carried, trips, env)

    def iteration(self, s: ir.For | ir.While, carried: list[Number], env: dict[str, Any]) -> tuple[list[Number], bool]:
        """One run of the body: the next carried values, and whether to stop."""
        env.update(zip((v.name for v, _ in s.carries), carried))
        self.block(s.body, env)
        return [self.value(a, env) for a in s.yields], s.stop is not None and bool(self.value(s.stop, env))

    def leave(self, s: ir.For | ir.While, carried: list[Number], trips: int, env: dict[str, Any]) -> None:
        env.update(zip((v.name for v in s.results), carried, strict=True))
        if s.trips is not None:
            env[s.trips.name] = trips

    def do_Raise(self, s: ir.Raise, env: dict[str, Any]) -> None:
        raise StepRaised(s.site)

    def do_Need(self, s: ir.Need, env: dict[str, Any]) -> None:
        size = self.value(s.size, env)
        if env[s.base.name].shape[0] < size:
            raise NeedMore(s.base.name, size)


# --------------------------------------------------------------------------------------------------------- operations
def evaluate(op: str, values: Sequence[Number], dt: str = "f8") -> Number:
    """``op(values)`` as a value of dtype ``dt``: integers wrap around, float32 rounds, other floats keep their kind."""
    if op in _FUNCTIONS:
        v = _function(op, values)
    elif op == "cast":
        v = _cast(values[0], dt)
    elif dt in INTS and op in _INTEGER:
        v = _INTEGER[op](*values)
    else:
        v = _OPS[op](*values)
    if dt == "b1":
        return bool(v)
    if dt in INTS:
        return _wrap(int(v), dt)
    return float(np.float32(v)) if dt == "f4" and isinstance(v, float) else float(v) if isinstance(v, int) else v


def _re(x: Number) -> Number:
    """What decides: the real part."""
    return x if isinstance(x, (int, float)) else x.real


def _is_mp(x: Number) -> bool:
    return not isinstance(x, (int, float, complex))


def _wrap(v: int, dt: str) -> int:
    bits = 8 * np.dtype(dt).itemsize
    v &= (1 << bits) - 1
    return v - (1 << bits) if dt != "u8" and v >> (bits - 1) else v


def _cast(x: Number, dt: str) -> Number:
    if dt == "b1":
        return _re(x) != 0
    if dt in INTS:
        return int(_re(x)) if _finite(x) else -(2**63)
    return float(x) if isinstance(x, int) else x


def _finite(x: Number) -> bool:
    x = _re(x)
    return x - x == 0


def _signed(x: Number) -> int | float:
    """The sign of the real part; NaN for NaN."""
    x = _re(x)
    return math.nan if x != x else (x > 0) - (x < 0)


def _negative(x: Number) -> bool:
    """The sign bit of the real part."""
    x = _re(x)
    return x < 0 if _is_mp(x) else math.copysign(1.0, x) < 0


def _div(a: Number, b: Number) -> Number:
    try:
        return a / b
    except ZeroDivisionError:
        if _is_mp(a) or _is_mp(b):
            return type(a + b)(math.nan if a == 0 or a != a else -math.inf if _re(a) < 0 else math.inf)
        with np.errstate(all="ignore"):
            return np.divide(a, b).item()


def _floordiv(a: Number, b: Number) -> Number:
    a, b = _re(a), _re(b)
    if b == 0:
        return _div(a, b)
    if _is_mp(a) or _is_mp(b):
        return (a - a % b) / b
    return a // b


def _mod(a: Number, b: Number) -> Number:
    if isinstance(a, float) and isinstance(b, (int, float)) or isinstance(b, float) and isinstance(a, int):
        return a % b if b != 0 else math.nan
    return a - b * _floordiv(a, b) if b != 0 else a * math.nan


def _fmod(a: Number, b: Number) -> Number:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.fmod(a, b) if b != 0 and math.isfinite(a) else math.nan
    q = _div(_re(a), _re(b))
    return a - b * (_trunc(q) if _finite(q) else math.nan)


def _pow(a: Number, b: Number) -> Number:
    if _re(b) == 0 and b == 0:
        return a * 0 + 1 if _finite(a) else 1.0
    if _is_mp(a) or _is_mp(b):
        if a == 0:
            return type(a + b)(0 if _re(b) > 0 else math.inf)
        if _re(a) < 0 and b != int(_re(b)):
            return type(a + b)(math.nan)
        return a**b
    if isinstance(a, complex) or isinstance(b, complex):
        if _re(a) < 0:  # away from the branch cut, where rounding would turn the perturbation
            n = _re(b)
            return complex((-a) ** b) * (1 if n % 2 == 0 else -1) if b == int(n) else complex(math.nan, math.nan)
        try:
            return complex(a) ** b
        except ZeroDivisionError:
            return complex(math.inf, math.nan)
        except OverflowError:
            return complex(math.inf, math.nan)
    with np.errstate(all="ignore"):
        return np.power(float(a), b).item()


def _powi(a: Number, n: int) -> Number:
    """Repeated squaring: exact in the perturbation also where a is negative."""
    result, square, k = a * 0 + 1 if _finite(a) else 1.0, a, abs(n)
    while k:
        if k & 1:
            result = result * square
        square, k = square * square, k >> 1
    return _div(1.0, result) if n < 0 else result


def _integer_pow(a: int, n: int) -> int:
    return int(a**n) if n >= 0 else ((1 if n % 2 == 0 else a) if abs(a) == 1 else 0)


def _abs(x: Number) -> Number:
    return x if _re(x) > 0 else -x if _re(x) < 0 else abs(x.real)


def _copysign(a: Number, b: Number) -> Number:
    return -_abs(a) if _negative(b) else _abs(a)


def _rounded(integer: Callable[[Number], int]) -> Callable[[Number], Number]:
    def op(x: Number) -> Number:
        x = _re(x)
        return x if isinstance(x, int) or not _finite(x) else type(x)(integer(x))

    return op


def _roundn(x: Number, n: int) -> Number:
    x = _re(x)
    return x if not _finite(x) else round(x, n) if isinstance(x, (int, float)) else round(x * 10**n) / type(x)(10) ** n


def _trunc(x: Number) -> int:
    return int(_re(x))  # towards zero, for every kind of number


def _floor(x: Number) -> int:
    n, x = _trunc(x), _re(x)
    return n - 1 if n > x else n


def _round(x: Number) -> int:
    """To nearest, halves to even."""
    x = _re(x)
    n = _floor(x)
    rest = x - n
    return n + (rest > 0.5 or rest == 0.5 and n % 2 == 1)


def _minimum(a: Number, b: Number, keep: Callable[[Number, Number], bool]) -> Number:
    return a if keep(_re(a), _re(b)) else b


#: operations written once for every kind of number
_OPS: dict[str, Callable[..., Number]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _div, "neg": operator.neg, "pos": operator.pos,
    "floordiv": _floordiv, "mod": _mod, "fmod": _fmod, "pow": _pow, "fpow": _pow, "powi": _powi, "square": lambda x: x * x,
    "reciprocal": lambda x: _div(1.0, x), "copy": lambda x: x, "noted": lambda x, k: x, "select": lambda c, a, b: a if c else b,
    "mulz": lambda c, k: c * 0 if c == 0 else c * k,
    "lt": lambda a, b: _re(a) < _re(b), "le": lambda a, b: _re(a) <= _re(b), "gt": lambda a, b: _re(a) > _re(b),
    "ge": lambda a, b: _re(a) >= _re(b), "eq": lambda a, b: _re(a) == _re(b), "ne": lambda a, b: _re(a) != _re(b),
    "land": operator.and_, "lor": operator.or_, "lxor": operator.xor, "lnot": lambda a: not _re(a),
    "band": operator.and_, "bor": operator.or_, "bxor": operator.xor,
    "normal": special.normal, "uniform": special.uniform, "bits": special.bits, "number": special.number,
    "isnan": lambda x: _re(x) != _re(x), "isfinite": _finite, "isinf": lambda x: not _finite(x) and _re(x) == _re(x),
    "floor": _rounded(_floor), "ceil": _rounded(lambda x: -_floor(-x)), "trunc": _rounded(_trunc), "rint": _rounded(_round),
    "around": _rounded(_round), "roundn": _roundn,
    "ifloor": _floor, "iceil": lambda x: -_floor(-_re(x)), "itrunc": _trunc, "round_": _round,
    "sign": _signed, "abs": _abs, "fabs": _abs, "copysign": _copysign,
    "min2": lambda a, b: b if _re(b) < _re(a) else a, "max2": lambda a, b: b if _re(b) > _re(a) else a,
    "minimum": lambda a, b: _minimum(a, b, lambda x, y: x <= y or x != x),
    "maximum": lambda a, b: _minimum(a, b, lambda x, y: x >= y or x != x),
    "fmin": lambda a, b: _minimum(a, b, lambda x, y: x <= y or y != y),
    "fmax": lambda a, b: _minimum(a, b, lambda x, y: x >= y or y != y),
    "degrees": lambda x: x * (180 / (math.pi if not _is_mp(x) else _mpmath().pi)),
    "radians": lambda x: x * ((math.pi if not _is_mp(x) else _mpmath().pi) / 180),
}  # fmt: skip
#: the same where the result is an integer
_INTEGER: dict[str, Callable[..., int]] = {
    "floordiv": lambda a, b: a // b if b else 0, "mod": lambda a, b: a % b if b else 0,
    "fmod": lambda a, b: int(math.copysign(abs(a) % abs(b), a)) if b else 0, "pow": _integer_pow, "powi": _integer_pow,
    "reciprocal": lambda a: int(1 / a) if a else 0, "invert": operator.invert,
    "lshift": lambda a, b: a << (b & 63), "rshift": lambda a, b: a >> (b & 63),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ elementary functions
def _mpmath() -> Any:
    """mpmath is a dependency of the tests only."""
    import mpmath

    return mpmath


def _mp_cbrt(mp: Any, x: Number) -> Number:
    return -mp.cbrt(-x) if x.real < 0 else mp.cbrt(x)


def _mp_atan2(mp: Any, a: Number, b: Number) -> Number:
    if abs(b.real) >= abs(a.real):
        if b == 0:
            return mp.mpf(0)
        turn = 0 if b.real > 0 else mp.pi if a.real >= 0 else -mp.pi
        return mp.atan(a / b) + turn
    return (mp.pi if a.real > 0 else -mp.pi) / 2 - mp.atan(b / a)


def _mp_lgamma(mp: Any, x: Number) -> Number:
    g = mp.gamma(x)
    return mp.log(-g if g.real < 0 else g)


def _mp_logaddexp(mp: Any, a: Number, b: Number) -> Number:
    low, high = (a, b) if a.real < b.real else (b, a)
    return high + mp.log1p(mp.exp(low - high))


#: what mpmath does not have under the name of the operation
_MP: dict[str, Callable[..., Number]] = {
    "exp2": lambda mp, x: mp.exp(x * mp.log(2)), "log2": lambda mp, x: mp.log(x) / mp.log(2),
    "log10": lambda mp, x: mp.log(x) / mp.log(10),
    "cbrt": _mp_cbrt, "hypot": lambda mp, a, b: mp.sqrt(a * a + b * b), "atan2": _mp_atan2, "lgamma": _mp_lgamma,
    "polygamma": lambda mp, m, x: mp.psi(m, x), "logaddexp": _mp_logaddexp,
    "logaddexp2": lambda mp, a, b: _mp_logaddexp(mp, a * mp.log(2), b * mp.log(2)) / mp.log(2),
}  # fmt: skip
_NUMPY = {
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh,
}  # fmt: skip
_FUNCTION_NAMES = (
    "sqrt cbrt hypot exp expm1 exp2 log log1p log2 log10 logaddexp logaddexp2 sin cos tan asin acos atan atan2 sinh cosh tanh"
    " asinh acosh atanh erf erfc gamma lgamma polygamma"
)
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())


def _function(op: str, values: Sequence[Number]) -> Number:
    if any(_is_mp(v) for v in values):
        return _exact(op, values)
    if not any(isinstance(v, complex) for v in values):
        return _real(op, values)
    at = _real(op, [_re(v) for v in values])
    if not math.isfinite(at):  # outside of the domain, or overflow: there is no derivative to compute
        return complex(at, math.nan)
    if hasattr(cmath, op) and op not in ("log10",):
        return getattr(cmath, op)(*values)
    mp = _mpmath()
    with mp.workdps(60):  # the perturbation may be 1e-40 of the value
        return complex(_exact(op, [v if isinstance(v, int) else mp.mpc(v) for v in values]))


def _real(op: str, values: Sequence[float]) -> float:
    if op == "polygamma":
        return special.polygamma(values[0], float(values[1]))
    try:
        return float(getattr(math, op)(*values))
    except (AttributeError, ValueError, OverflowError):
        if op == "gamma":  # a pole, or overflow
            return math.nan if values[0] < 0 else math.copysign(math.inf, values[0])
        if op == "lgamma":
            return math.inf
        with np.errstate(all="ignore"):
            return float(_NUMPY.get(op, getattr(np, op, None))(*map(float, values)))


def _exact(op: str, values: Sequence[Number]) -> Number:
    mp = _mpmath()
    try:
        v = _MP[op](mp, *values) if op in _MP else getattr(mp, op)(*values)
    except (ValueError, ZeroDivisionError):  # a pole
        v = mp.mpf("nan")
    if isinstance(v, mp.mpc) and not any(isinstance(x, mp.mpc) for x in values):
        return mp.mpf("nan")  # outside of the domain
    return v
