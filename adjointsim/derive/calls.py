"""Lowering of calls: what a step may call besides other Python functions, and the inlining of those.

Scalar operations are in the table of :mod:`.rules`; here are the calls that make arrays, ask for lengths or convert.
"""

from __future__ import annotations

import ast
import builtins
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import rules
from .arraycalls import ARRAY_CALLS
from .build import const
from .complexes import COMPLEX_CASTS
from .complexpairs import is_complex
from .expr import Expressions
from .factorisations import LINALG
from .inlined import Inlined
from .ir import Atom, Const, Var, is_float
from .iteration import RANGES
from .registry import CustomFunction
from .source import Source, plain_function, read
from .values import Lazy, Listed, Ref, Static, Tup, Value, describe
from .verbs import verb_of

__all__ = ["Calls"]

_CASTS: dict[Any, str] = {
    float: "f8", int: "i8", bool: "b1", np.float64: "f8", np.float32: "f4", np.int64: "i8", np.int32: "i4", np.uint64: "u8",
    np.bool_: "b1",
}  # fmt: skip


_OWN_RULES = "or give it a rule of your own, adj.custom_vjp"


class Calls(Expressions):
    """Values of calls."""

    def call(self, node: ast.Call, root: str | None) -> Value:
        if isinstance(node.func, ast.Attribute):
            owner = self.operand(node.func.value, [*node.args, *(k.value for k in node.keywords)])
            if isinstance(owner, (Ref, Lazy)):
                return self.method(owner, node, root)
            if is_complex(owner):
                return self.complex_method(owner, node, root)  # type: ignore[arg-type]
            if not isinstance(owner, Static):
                raise self.error(f"method '{node.func.attr}' of {describe(owner)} is not supported", node)
        target = self.value(node.func)
        if not isinstance(target, Static):
            raise self.error(f"{describe(target)} cannot be called", node)
        obj = target.obj
        custom = obj if isinstance(obj, CustomFunction) else _hashable_get(LINALG, obj)
        if custom is not None:
            return self.opaque(custom, node, root)
        if isinstance(obj, Inlined):
            return obj.lower(self, [self.value(a) for a in node.args])
        verb = verb_of(obj)
        if verb is not None:
            return self.verb(verb, node, root)
        handler = _hashable_get(_CALLS, obj)
        found = self.complex_call(obj, node, handler, root) if callable(obj) else None
        if found is not None:
            return found
        if handler is not None:
            return handler(self, node, root)
        op = _hashable_get(rules.FUNCTIONS, obj)
        if op is not None:
            return self._operation(op, node, root)
        if isinstance(obj, type) and issubclass(obj, tuple) and hasattr(obj, "_fields"):
            return self._namedtuple(obj, node)
        fn = plain_function(obj)
        if fn is not None:
            if not _derivable(fn):
                raise self.error(f"call of {ast.unparse(node.func)}: {_why_not(fn)}", node)
            return self.function(fn, self._arguments(fn, node), node)
        raise self.error(
            f"call of {ast.unparse(node.func)}, which has no derivative rule: write it out {_OWN_RULES}",
            node,
        )

    def opaque(self, custom: CustomFunction, node: ast.Call, root: str | None) -> Value:
        raise NotImplementedError

    def verb(self, name: str, node: ast.Call, root: str | None) -> Value:
        raise NotImplementedError

    def _arguments(self, fn: types.FunctionType, node: ast.Call) -> dict[str, Value]:
        """Bind positional, keyword and default arguments as Python does."""
        code = fn.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        bound: dict[str, Value] = {}
        if len(node.args) > code.co_argcount:
            raise self.error(
                f"{fn.__name__}() takes {code.co_argcount} positional arguments but {len(node.args)} were given", node
            )
        mark = self.holding()
        for name, arg in zip(names, node.args, strict=False):
            bound[name] = self.held(self.value(arg, name))
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error("**kwargs are not supported", node)
            if keyword.arg not in names or keyword.arg in bound:
                raise self.error(f"{fn.__name__}() got an unexpected or repeated argument '{keyword.arg}'", node)
            bound[keyword.arg] = self.held(self.value(keyword.value, keyword.arg))
        self.release(mark)
        return self._with_defaults(fn, bound, node)

    def bound(self, fn: types.FunctionType, values: Sequence[Value], node: ast.AST) -> dict[str, Value]:
        """Values by the names of the arguments that they are given for by position."""
        code = fn.__code__
        if len(values) > code.co_argcount:
            raise self.error(f"{fn.__name__}() takes {code.co_argcount} positional arguments but {len(values)} were given", node)
        return self._with_defaults(fn, dict(zip(code.co_varnames, values, strict=False)), node)

    def _with_defaults(self, fn: types.FunctionType, bound: dict[str, Value], node: ast.AST) -> dict[str, Value]:
        code = fn.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        defaults = dict(
            zip(names[code.co_argcount - len(fn.__defaults__ or ()) : code.co_argcount], fn.__defaults__ or (), strict=True)
        )
        defaults.update(fn.__kwdefaults__ or {})
        for name in names:
            if name not in bound:
                if name not in defaults:
                    raise self.error(f"{fn.__name__}() is missing the argument '{name}'", node)
                bound[name] = self.literal(defaults[name], f"default:{name}", node, read(fn))
        return bound

    def literal(self, obj: Any, path: str, node: ast.AST, owner: Source | None = None) -> Value:
        """A default argument: numbers are literals (they are fixed when the function is defined)."""
        if isinstance(obj, (bool, np.bool_)):
            return const(bool(obj), "b1")
        if isinstance(obj, (int, np.integer)):
            return const(int(obj), "i8")
        if isinstance(obj, float):
            return const(float(obj), "f8")
        if isinstance(obj, tuple):
            if all(isinstance(o, (bool, int, float, np.bool_, np.integer, np.floating)) for o in obj):
                return Tup(tuple(self.literal(o, path, node) for o in obj), type(obj) if hasattr(obj, "_fields") else None)
        return self.captured(path, obj, node, owner)

    def _no_keywords(self, node: ast.Call, allowed: tuple[str, ...] = ()) -> dict[str, ast.expr]:
        found = {k.arg or "**": k.value for k in node.keywords}
        for name in found:
            if name not in allowed:
                raise self.error(f"argument '{name}' of {ast.unparse(node.func)} is not supported", node)
        return found

    def _count(self, node: ast.Call, least: int, most: int) -> None:
        if not least <= len(node.args) <= most:
            raise self.error(
                f"{ast.unparse(node.func)} takes {least}{f' to {most}' if most != least else ''} arguments here", node
            )

    # --------------------------------------------------------------------------------------------------- scalar calls
    def _operation(self, op: str, node: ast.Call, root: str | None) -> Value:
        self._no_keywords(node)
        args = [self.operand(a, node.args[k + 1 :]) for k, a in enumerate(node.args)]
        if any(map(is_complex, args)):
            return self.complex_function(op, args, node)
        if op in ("min2", "max2"):
            if len(args) == 1 and isinstance(args[0], Tup):
                args = list(args[0].items)
        elif op == "round_" and len(args) == 2:
            op = "roundn"
        elif op == "log" and len(args) == 2:
            raise self.error("log with a base is not supported: write log(x) / log(base)", node)
        arity = len(rules.OPS[op].params)
        if len(args) != arity and not (op in ("min2", "max2") and len(args) > 1):
            raise self.error(f"{ast.unparse(node.func)} takes {arity} argument{'s' * (arity > 1)} here, not {len(args)}", node)
        if any(isinstance(a, (Ref, Lazy)) for a in args) and getattr(builtins, getattr(node.func, "id", ""), None) is None:
            return self.elementwise(self._exponent(op, args[-1], args[0]), args, node)  # type: ignore[arg-type]
        for a in args:
            if not isinstance(a, (Var, Const)):
                raise self.error(f"{ast.unparse(node.func)} of {describe(a)} is not supported", node)
        if op in ("land", "lor", "lxor", "lnot"):
            args = [self.as_bool(a) for a in args]  # type: ignore[arg-type]
        if op == "pow" and isinstance(args[1], Const) and args[1].dt == "i8" and is_float(args[0].dt):  # type: ignore[union-attr]
            op = "powi"
        try:
            result: Atom = args[0]  # type: ignore[assignment]
            if op in ("min2", "max2"):
                for a in args[1:]:
                    result = self.b.op(op, result, a, root=root)  # type: ignore[arg-type]
                return result
            return self.b.op(op, *args, root=root)  # type: ignore[arg-type]
        except TypeError as exc:
            raise self.error(str(exc), node) from None

    def _cast(self, dt: str, node: ast.Call, root: str | None) -> Value:
        self._no_keywords(node)
        if not node.args:
            return const(0, dt)
        self._count(node, 1, 1)
        value = self.scalar(node.args[0])
        if dt == "b1":
            return self.as_bool(value)
        return self.b.cast(value, dt, root)

    def _len(self, node: ast.Call, root: str | None) -> Value:
        self._count(node, 1, 1)
        value = self.value(node.args[0])
        if is_complex(value) and isinstance(value.items[0], Ref):  # type: ignore[union-attr]
            return self.shape(value.items[0])[0]  # type: ignore[union-attr]
        if isinstance(value, Tup) and not is_complex(value):
            return const(len(value.items), "i8")
        value = value.ref if isinstance(value, Listed) else value
        if isinstance(value, Ref):
            return self.shape(value)[0]
        raise self.error(f"len() of {describe(value)}", node)

    def _divmod(self, node: ast.Call, root: str | None) -> Value:
        self._count(node, 2, 2)
        a, b = self.scalar(node.args[0]), self.scalar(node.args[1])
        return Tup((self.b.op("floordiv", a, b), self.b.op("mod", a, b)))

    def _namedtuple(self, cls: type, node: ast.Call) -> Value:
        fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
        bound = dict(zip(fields, [self.value(a) for a in node.args], strict=False))
        for keyword in node.keywords:
            if keyword.arg not in fields or keyword.arg in bound:
                raise self.error(f"{cls.__name__}() got an unexpected or repeated field '{keyword.arg}'", node)
            bound[keyword.arg] = self.value(keyword.value)
        for name, default in getattr(cls, "_field_defaults", {}).items():
            if name not in bound:
                bound[name] = self.literal(default, f"{cls.__name__}.{name}", node)
        if len(node.args) > len(fields) or set(bound) != set(fields):
            raise self.error(f"{cls.__name__}() takes the fields {', '.join(fields)}", node)
        return Tup(tuple(bound[f] for f in fields), cls)

    # ---------------------------------------------------------------------------------------------------------- items
    def static_items(self, node: ast.expr) -> list[Value] | None:
        """The items of a tuple that a loop runs over; None if it runs over something else."""
        if isinstance(node, (ast.Tuple, ast.Name, ast.Attribute, ast.Subscript)):
            value = self.value(node)
            if isinstance(value, Tup) and not is_complex(value):
                return list(value.items)
        return None

    def _array_of(self, node: ast.Call, root: str | None) -> Value:
        """np.array and np.asarray of listed numbers, or of an array."""
        given = self.keywords(node, "object", "dtype")
        return self.listed(given["object"], root, self.dtype_of(given["dtype"], True) if "dtype" in given else None)

    # --------------------------------------------------------------------------------------------------------- arrays
    def dtype_of(self, node: ast.expr | None, complex_too: bool = False) -> str:
        """The dtype that is named; a complex one is "c16" or "c8", for those who ask for it."""
        if node is None:
            return "f8"
        value = self.value(node)
        if isinstance(value, Static):
            dt = value.obj.str[1:] if isinstance(value.obj, np.dtype) else None
            dt = dt or _hashable_get(_CASTS, value.obj) or _hashable_get(COMPLEX_CASTS, value.obj)
            if dt is not None and dt[0] == "c" and not complex_too:
                raise self.error("a complex dtype is not supported here", node)
            if dt is not None:
                return dt
        raise self.error(
            "a dtype must be np.float64, np.float32, np.int64, np.int32, np.bool_, float, int, bool or a.dtype", node
        )

    def _shape(self, node: ast.expr) -> tuple[Atom, ...]:
        value = self.value(node)
        items = value.items if isinstance(value, Tup) else (value,)
        dims: list[Atom] = []
        for item in items:
            if not isinstance(item, (Var, Const)) or is_float(item.dt) or item.dt == "b1":
                raise self.error(f"a shape is an int or a tuple of ints, got {describe(item)}", node)
            if isinstance(item, Const):
                if item.value < 0:  # type: ignore[operator]
                    raise self.error("negative dimensions are not allowed", node)
            else:
                self.check(self.b.op("lt", item, const(0, "i8")), node, "ValueError('negative dimensions are not allowed')")
            dims.append(item)
        return tuple(dims)

    def _make(self, fill: str, node: ast.Call, root: str | None) -> Value:
        """np.empty, np.zeros, np.ones."""
        keywords = self._no_keywords(node, ("dtype", "shape"))
        self._count(node, 0 if "shape" in keywords else 1, 2)
        dims = self._shape(keywords.get("shape") or node.args[0])
        dt = self.dtype_of(keywords.get("dtype") or (node.args[1] if len(node.args) > 1 else None), True)
        return self.made(root, dt, dims, fill)

    def made(self, root: str | None, dt: str, dims: tuple[Atom, ...], fill: str) -> Value:
        """A new array, complex if the dtype is."""
        root = root or "array"
        if dt[0] != "c":
            return self.alloc(root, dt, dims, fill)
        fills = (fill, "zero" if fill == "one" else fill)
        return self.made_complex(dt, lambda own, k: self.alloc(f"{root}_{('re', 'im')[k]}", own, dims, fills[k]))

    def _make_like(self, fill: str, node: ast.Call, root: str | None) -> Value:
        """np.empty_like, np.zeros_like, np.ones_like."""
        keywords = self._no_keywords(node, ("dtype",))
        self._count(node, 1, 2)
        like = self._array(node.args[0])
        dtype = keywords.get("dtype") or (node.args[1] if len(node.args) > 1 else None)
        return self.made(root, self.dtype_of(dtype, True) if dtype else like.base.dt, self.shape(like), fill)

    def _full(self, node: ast.Call, root: str | None) -> Value:
        keywords = self._no_keywords(node, ("dtype",))
        self._count(node, 2, 3)
        dims, number = self._shape(node.args[0]), self.value(node.args[1])
        dtype = keywords.get("dtype") or (node.args[2] if len(node.args) > 2 else None)
        if is_complex(number) or (dtype is not None and self.dtype_of(dtype, True)[0] == "c"):
            dt = self.dtype_of(dtype, True) if dtype else "c16"
            new = self.made(root, dt, dims, "none")
            self.assign_complex(new, number)
            return new
        value = self.scalar(node.args[1])
        return self._filled(root, self.dtype_of(dtype) if dtype else value.dt, dims, value)

    def _full_like(self, node: ast.Call, root: str | None) -> Value:
        keywords = self._no_keywords(node, ("dtype",))
        self._count(node, 2, 3)
        like, value = self._array(node.args[0]), self.scalar(node.args[1])
        dtype = keywords.get("dtype") or (node.args[2] if len(node.args) > 2 else None)
        return self._filled(root, self.dtype_of(dtype) if dtype else like.base.dt, self.shape(like), value)

    def _filled(self, root: str | None, dt: str, dims: tuple[Atom, ...], value: Atom) -> Ref:
        ref = self.alloc(root or "array", dt, dims, "none")
        self.assign(ref, self.store_cast(value, dt))
        return ref

    def _array(self, node: ast.expr) -> Ref:
        value = self.value(node)
        if not isinstance(value, Ref):
            raise self.error(f"expected an array, got {describe(value)}", node)
        return value

    def _copy(self, node: ast.Call, root: str | None) -> Value:
        self._no_keywords(node)
        self._count(node, 1, 1)
        return self.evaluated(self.elements(node.args[0]), root or "copy")


def _hashable_get(table: dict[Any, Any], obj: Any) -> Any:
    try:
        return table.get(obj)
    except TypeError:
        return None


def _derivable(fn: types.FunctionType) -> bool:
    """Library code is not the user's: its meaning is a rule's business, not its Python text's."""
    return fn.__module__.split(".")[0] not in ("numpy", "scipy", "numba", "builtins", "random", "math")


def _why_not(fn: types.FunctionType) -> str:
    return f"a function of {fn.__module__.split('.')[0]} that has no derivative rule: write it out {_OWN_RULES}"


def _refuse_range(self: Calls, node: ast.Call, root: str | None) -> Value:
    raise self.error("range(...) is supported only in 'for ... in range(...)'", node)


def _maker(fill: str, like: bool) -> Callable[[Calls, ast.Call, str | None], Value]:
    if like:
        return lambda self, node, root: self._make_like(fill, node, root)
    return lambda self, node, root: self._make(fill, node, root)


_CALLS: dict[Any, Callable[[Any, ast.Call, str | None], Value]] = {
    **dict.fromkeys(RANGES, _refuse_range),
    builtins.len: Calls._len,
    builtins.divmod: Calls._divmod,
    np.empty: _maker("none", False),
    np.zeros: _maker("zero", False),
    np.ones: _maker("one", False),
    np.empty_like: _maker("none", True),
    np.zeros_like: _maker("zero", True),
    np.ones_like: _maker("one", True),
    np.full: Calls._full,
    np.full_like: Calls._full_like,
    np.copy: Calls._copy,
    np.array: Calls._array_of,
}
_CALLS.update(ARRAY_CALLS)
for _type, _dt in _CASTS.items():
    _CALLS[_type] = lambda self, node, root, dt=_dt: self._cast(dt, node, root)
