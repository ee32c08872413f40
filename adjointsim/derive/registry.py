"""Compiled code that the deriver does not look into, known to generated modules by a key.

The key is a hash of everything that gives the code its meaning: bytecode of the function and of those that it calls, and the
values that they use from outside.  It is part of a generated module's text, and so of the name of its cache file.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numba
import numpy as np
from numba import njit
from numba.core import types as nb
from numba.core.imputils import impl_ret_borrowed, lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from ..errors import ArgumentError, StructureError
from .source import plain_function
from .spec import ArraySpec, ComplexSpec, NoneSpec, ScalarSpec, Spec, TupleSpec

__all__ = ["Code", "CustomFunction", "Described", "Kinds", "check_shape", "code_of", "frozen", "is_known", "registered"]

#: of arguments: (dtype, rank), rank 0 for numbers
Kinds = tuple[tuple[str, int], ...]

_DTYPES = {"b1": nb.boolean, "i4": nb.int32, "i8": nb.int64, "u8": nb.uint64, "f4": nb.float32, "f8": nb.float64}
_COMPLEX = {"c8": nb.complex64, "c16": nb.complex128}
_NAMES = {t: dt for dt, t in _DTYPES.items()}
_OWN = "adjointsim."
#: packages that are told by their versions
_KNOWN = frozenset({"adjointsim", "numpy", "scipy", "numba", "math", "cmath", "operator"})


# --------------------------------------------------------------------------------------------------------------- identity
class Described:
    """What a function is, as text.  Arrays from outside are not allowed: compiled code keeps the values that it saw first."""

    def __init__(self, function: Any, name: str = "") -> None:
        self.parts: list[str] = []
        self.cacheable = True
        self._seen: dict[Any, int] = {}
        self._name = name or getattr(function, "__name__", type(function).__name__)
        self._value(self._name, function, ())

    @property
    def digest(self) -> str:
        """A hash of it."""
        return hashlib.sha256("\0".join(self.parts).encode()).hexdigest()[:24]

    def _is_new(self, thing: Any) -> bool:
        """Whether something was not described before; if it was, it is told by its number."""
        new = thing not in self._seen
        self.parts.append(f"#{self._seen.setdefault(thing, len(self._seen))}")
        return new

    def _function(self, fn: types.FunctionType) -> None:
        if not self._is_new(fn):
            return
        own = (fn.__module__ or "").startswith(_OWN)  # this library's text is told by its version, but not what users gave it
        if own:
            self.parts.append(f"{fn.__module__}.{fn.__qualname__}")
        else:
            self._code(fn.__code__)
        names = [n for code in _codes(fn.__code__) for n in code.co_names]
        for k, value in enumerate(fn.__defaults__ or ()):
            self._value(f"default {k}", value, ())
        for name, value in sorted((fn.__kwdefaults__ or {}).items()):
            self._value(name, value, ())
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # an empty cell: the name means nothing yet
                self._value(name, cell.cell_contents, names)
        for name in dict.fromkeys(names if not own else ()):
            if name in fn.__globals__:
                self._value(name, fn.__globals__[name], names)

    def _code(self, code: types.CodeType) -> None:
        self.parts += [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
        for const in code.co_consts:
            if isinstance(const, types.CodeType):
                self._code(const)
            else:  # a set has another order in every process
                self.parts.append(repr(sorted(const, key=repr) if isinstance(const, frozenset) else const))

    def _value(self, name: str, obj: Any, names: Sequence[str]) -> None:
        """A value that is called ``name``, in a function that uses ``names``, among them those of its attributes."""
        fn = obj.function if isinstance(obj, CustomFunction) else plain_function(obj)
        if fn is not None:
            self.parts.append(f"{name}: {sorted(getattr(obj, 'targetoptions', {}).items())}")  # of Numba: fastmath
            self._function(fn)
        elif isinstance(obj, types.ModuleType):
            self._module(name, obj, names)
        elif _plain(obj):
            self.parts.append(f"{name}={obj!r}")
        elif isinstance(obj, tuple):
            self.parts.append(f"{name} has {len(obj)}")
            for k, item in enumerate(obj):
                self._value(f"{name}[{k}]", item, names)
        elif isinstance(obj, np.ndarray):
            self._array(name, obj)
        elif isinstance(obj, type):
            self._class(name, obj, names)
        elif isinstance(obj, (types.BuiltinFunctionType, np.ufunc)):
            owner = getattr(obj, "__self__", None)
            owner = getattr(owner, "__name__", type(owner).__name__)
            self.parts.append(f"{name} is {owner}.{getattr(obj, '__qualname__', obj.__name__)}")
        else:
            self._other(name, obj)

    def _module(self, name: str, obj: types.ModuleType, names: Sequence[str]) -> None:
        self.parts.append(f"{name}={obj.__name__} {getattr(obj, '__version__', '')}")
        if is_known(obj.__name__) or not self._is_new((obj.__name__, tuple(names))):
            return
        for attr in dict.fromkeys(names):
            if attr in vars(obj):
                self._value(f"{name}.{attr}", vars(obj)[attr], names)

    def _array(self, name: str, obj: np.ndarray) -> None:
        message = f"{self._name} uses the array '{name}' from outside, which Numba would freeze: pass it as an argument"
        raise StructureError(message)

    def _class(self, name: str, obj: type, names: Sequence[str]) -> None:
        self.parts.append(f"{name}={obj.__module__}.{obj.__qualname__} {getattr(obj, '_fields', '')}")

    def _other(self, name: str, obj: Any) -> None:
        self.cacheable = False  # nobody knows what it is made of
        self.parts.append(f"{name} is a {type(obj).__qualname__} {id(obj)}")


def is_known(module: str | None) -> bool:
    """Whether a module belongs to a package that is told by its version."""
    return (module or "").partition(".")[0] in _KNOWN


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _plain(obj: Any) -> bool:
    if isinstance(obj, tuple):
        return all(map(_plain, obj))
    return obj is None or isinstance(obj, (bool, int, float, complex, str, bytes, np.generic, np.dtype, enum.Enum))


# ------------------------------------------------------------------------------------------------------------------- code
class Code:
    """A function that is only ever called, compiled by Numba.  One that is ``made`` is no function of Numba's but instructions
    that are put where it is called: it needs no compilation of its own, raises nothing and keeps nothing."""

    def __init__(self, key: str, function: Any, compiled: Any, cacheable: bool, made: bool = False) -> None:
        self.key, self.function, self.compiled, self.cacheable, self.made = key, function, compiled, cacheable, made
        self.name = function.__name__
        self.plain = plain_function(function)
        self._results: dict[tuple[Any, ...], Spec] = {}

    def check_unchanged(self) -> None:
        """ArgumentError if something that the function uses from outside is no longer what it was compiled with."""
        if Described(self.function).digest != self.key:
            message = f"{self.name} uses a value from outside that has changed since it was compiled"
            raise ArgumentError(f"Got another value, but {message}: pass it as an argument")

    def result(self, args: tuple[Any, ...]) -> Spec:
        """What it returns for arguments of these types (dtype, rank), rank 0 for numbers, or tuples of such.

        Raises TypeError with Numba's reason if it does not compile for them.
        """
        if args not in self._results:
            try:
                found = self._inferred(args, readonly=True)
            except numba.core.errors.NumbaError as error:
                try:
                    self._inferred(args, readonly=False)
                except numba.core.errors.NumbaError:
                    raise TypeError(f"Numba does not compile it: {_reason(error)}") from None
                raise TypeError("it writes its arguments, or needs arrays that it may write: it must copy them") from None
            self._results[args] = found
        return self._results[args]

    def _inferred(self, args: tuple[Any, ...], readonly: bool) -> Spec:
        def typed(a: Any) -> Any:
            if a is None:
                return nb.none
            if isinstance(a[0], tuple) or a == ():
                return nb.Tuple(tuple(map(typed, a)))
            dt, rank = a
            kind = _DTYPES.get(dt) or _COMPLEX[dt]
            return nb.Array(kind, rank, "C", readonly=readonly) if rank else kind

        signature = tuple(map(typed, args))
        self.compiled.compile(signature)
        return _spec(self.compiled.overloads[signature].signature.return_type)


def _reason(error: Exception) -> str:
    """Numba's message in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Failed in", "During", "File", "<source", "^"))]
    return " ".join(kept)[:400]


def _spec(kind: Any) -> Spec:
    kind = nb.unliteral(kind)
    if isinstance(kind, nb.Array) and kind.dtype in _NAMES and kind.ndim:
        return ArraySpec(_NAMES[kind.dtype], kind.ndim)
    if kind in _NAMES:
        return ScalarSpec(_NAMES[kind])
    for dt, number in _COMPLEX.items():
        if kind == number:
            return ComplexSpec(dt, 0)
        if isinstance(kind, nb.Array) and kind.dtype == number and kind.ndim:
            return ComplexSpec(dt, kind.ndim)
    if isinstance(kind, nb.BaseTuple):
        return TupleSpec(tuple(_spec(k) for k in kind), getattr(kind, "instance_class", None))
    if isinstance(kind, nb.NoneType):
        return NoneSpec()
    raise TypeError(f"it returns {kind}: numbers, arrays of numbers and tuples of these are understood")


_codes_by_key: dict[str, Code] = {}


def code_of(function: Any, made: Any = None) -> Code:
    """The code of a function, plain or @njit; ``made``: the intrinsic that does the same."""
    fn = plain_function(function)
    assert fn is not None
    described = Described(function)
    key = described.digest
    if key not in _codes_by_key:
        if made is not None:
            _codes_by_key[key] = Code(key, function, made, True, made=True)
            return _codes_by_key[key]
        compiled = function if hasattr(function, "py_func") else njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True)(fn)
        _codes_by_key[key] = Code(key, function, compiled, described.cacheable)
    return _codes_by_key[key]


def registered(key: str) -> Code:
    """The code of a key, for generated modules."""
    return _codes_by_key[key]


def check_shape(key: str, place: int, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """ValueError unless foreign code returned an array of the shape for which there is memory."""
    if got != expected:
        raise ValueError(shape_message(key, place))


def shape_message(key: str, place: int) -> str:
    """What is said of a result of another shape."""
    name = _codes_by_key[key].name
    which = f"result {place} of {name}" if place >= 0 else f"the result of {name}"
    return f"{which} has another shape than expected; say it: custom_vjp(shape=lambda ...: (...))"


@intrinsic
def frozen(typingctx: Any, a: Any) -> Any:
    """The same array as one that may not be written."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return impl_ret_borrowed(context, builder, signature.return_type, args[0])

    return a.copy(readonly=True)(a), codegen


# --------------------------------------------------------------------------------------------------------- what users make
class CustomFunction:
    """A function with derivative rules of its own; see :func:`adjointsim.custom_vjp`.

    ``fills``: it returns nothing and writes its result into its last argument, an array of the shape ``shape`` and the dtype
    ``types``; it is called without it all the same.
    ``lowered``: it is code like any, without derivatives; ``made``: see :class:`Code`.  Both are for what fills, inside of steps.
    """

    def __init__(
        self, function: Any, shape: Callable[..., Any] | None = None, types: Callable[[Kinds], Spec] | None = None,
        fills: bool = False, lowered: bool = False, made: Any = None,
    ) -> None:  # fmt: skip
        fn = plain_function(function)
        if fn is None:
            raise StructureError(f"Got custom_vjp of a {type(function).__name__}, but expected a function, plain or @njit")
        functools.update_wrapper(self, fn)
        self.function: types.FunctionType = fn
        self.shape, self.fills, self.lowered, self._made = shape, fills, lowered, made
        #: a function of the arguments of a call
        self.called: Any = shape if fills else fn
        self.names: tuple[str, ...] = self.called.__code__.co_varnames[: self.called.__code__.co_argcount]
        self.vjp_rule: Any = None
        self.jvp_rule: Any = None
        self._given, self._types = function, types

    def result(self, args: Kinds) -> Spec:
        """What it returns for arguments of these kinds; TypeError if it does not take them."""
        return self._types(args) if self._types is not None else self.code.result(args)

    @functools.cached_property
    def code(self) -> Code:
        """What runs."""
        return code_of(self._given, self._made)

    def __call__(self, *args: Any) -> Any:
        """Run the function, compiled."""
        if not self.fills:
            return self.code.compiled(*args)
        assert self.shape is not None and self._types is not None
        spec = self._types(tuple((np.asarray(a).dtype.str[1:], np.ndim(a)) for a in args))
        out = np.empty(self.shape(*args), spec.dt)  # type: ignore[union-attr]
        self.code.compiled(*args, out)
        return out

    def defvjp(self, rule: Any) -> Any:
        """Decorate ``rule(out, out_bar, *args) -> (arg_bar, ...)``, the vector-Jacobian product.

        ``out`` is what the function returned, ``out_bar`` its cotangent (of the same structure), and an entry of the result
        has the shape of its argument; None for an argument without one.  It must not write what it is given.
        """
        self._check_rule(rule, "defvjp", 2 + len(self.names), "(out, out_bar, *args)")
        self.vjp_rule = rule
        return rule

    def defjvp(self, rule: Any) -> Any:
        """Decorate ``rule(out, args, args_dot) -> out_dot``, the Jacobian-vector product; ``args`` and ``args_dot`` are
        tuples, with 0 for the tangent of an argument that has none."""
        self._check_rule(rule, "defjvp", 3, "(out, args, args_dot)")
        self.jvp_rule = rule
        return rule

    def _check_rule(self, rule: Any, name: str, count: int, wanted: str) -> None:
        fn = plain_function(rule)
        if fn is None:
            raise StructureError(f"Got {name} of a {type(rule).__name__}, but expected a function, plain or @njit")
        if fn.__code__.co_argcount != count or fn.__code__.co_flags & 0x0C:
            own = ", ".join(fn.__code__.co_varnames[: fn.__code__.co_argcount])
            message = f"Got {name} of {fn.__name__}({own}), but {self.function.__name__} needs {wanted}: {count} in all"
            raise StructureError(message)


class _CustomType(nb.Dispatcher):
    """Numba's type of a custom function: that of its compiled code, so that @njit functions can call it."""


@typeof_impl.register(CustomFunction)
def _typeof_custom(value: CustomFunction, context: Any) -> Any:
    return _CustomType(value.code.compiled)


register_model(_CustomType)(models.OpaqueModel)


@lower_constant(_CustomType)
def _constant_custom(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.get_dummy_value()
