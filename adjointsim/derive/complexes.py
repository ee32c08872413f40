"""Calls, methods, stores and attributes of complex numbers and arrays, which are pairs of real ones."""

from __future__ import annotations

import ast
import builtins
import cmath
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .build import const
from .complexpairs import ComplexPairs, is_complex, pair
from .ir import Atom, Const, Var
from .values import Lazy, Ref, Static, Tup, Value, describe

__all__ = ["COMPLEX_CASTS", "Complexes"]



#: dtypes, as they are written
COMPLEX_CASTS: dict[Any, str] = {complex: "c16", np.complex128: "c16", np.complex64: "c8"}

#: functions of other modules, by the operation of the same meaning
_NAMES: dict[Any, str] = {
    **{getattr(cmath, name): name for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    np.conj: "conj", np.conjugate: "conj", np.angle: "angle", cmath.phase: "angle", np.real: "real", np.imag: "imag",
}  # fmt: skip

#: functions that treat the real and the imaginary parts of an array alike
_ALIKE = frozenset(
    [np.transpose, np.flip, np.roll, np.concatenate, np.stack, np.hstack, np.vstack, np.diff, np.cumsum, np.where, np.tril,
     np.triu, np.trace, np.diag, np.sum, np.mean, np.copy, np.empty_like, np.zeros_like, builtins.sum, np.asarray,
     np.ascontiguousarray, np.reshape, np.ravel, np.repeat, np.tile, np.append, np.take, np.swapaxes, np.expand_dims, np.fliplr,
     np.flipud, np.column_stack, np.linspace]
)  # fmt: skip
#: which of their arguments are numbers that may be complex, if not the first: the others are conditions, axes and the like
_NUMBERS = {np.where: (1, 2), np.append: (0, 1), np.linspace: (0, 1)}
_NUMBERS_BY_NAME = frozenset(["a", "m", "v", "arr", "arrays", "tup", "values", "start", "stop", "iterable"])
_METHODS_ALIKE = frozenset(["sum", "mean", "cumsum", "copy", "flatten", "ravel", "reshape", "transpose", "repeat"])
_REDUCTIONS = {np.prod: "prod", np.var: "var", np.std: "std"}


class Complexes(ComplexPairs):
    """Values of calls and items of complex numbers."""

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
        if obj in (np.iscomplexobj, np.isrealobj) and not node.keywords and len(node.args) == 1:
            return const(is_complex(self.lazy(node.args[0])) == (obj is np.iscomplexobj), "b1")
        if handler is None or not self.helpers.complex_seen:
            return None
        if obj is np.ones_like and len(node.args) == 1 and not node.keywords:
            like = self.lazy(node.args[0])
            calls = [self._named(node, [v], []) for v in (like.items if is_complex(like) else (like,))]  # type: ignore[union-attr]
            if len(calls) == 1:
                return handler(self, calls[0], root)
            return pair(handler(self, calls[0], root), self.evaluated(self.both(self.value(calls[1].args[0]))[1], "im"))
        alike, product = obj in _ALIKE, obj in (np.dot, np.vdot, np.outer)
        if not (alike or product or obj in (np.linalg.norm, np.cumprod) or obj in _REDUCTIONS):
            return None
        keywords = [k.arg for k in node.keywords]
        values = [self.lazy(a) for a in (*node.args, *(k.value for k in node.keywords))]
        if not any(map(self.has_complex, values)):
            return handler(self, self._named(node, values, keywords), root)
        if obj is np.linalg.norm and isinstance(self.both(values[0])[0], (Ref, Lazy)):  # of the absolute values
            (first,) = self._named(node, [self.complex_function("abs", values[:1], node)], []).args
            return handler(self, ast.copy_location(ast.Call(node.func, [first, *node.args[1:]], node.keywords), node), root)
        if obj in _REDUCTIONS or obj is np.cumprod:
            call = self._named(node, values, keywords)
            return self._running_product(call, root) if obj is np.cumprod else self._reduction(_REDUCTIONS[obj], call)
        if product and len(values) == 2:
            a, c = values
            if obj is np.vdot:
                a = self.complex_function("conj", [a], node) if is_complex(a) else a
            return self.complex_product(lambda x, y: handler(self, self._named(node, [x, y], []), None), a, c, node)
        if not alike:
            raise self.error(f"{ast.unparse(node.func)} of complex numbers is not supported", node)
        here = [k in _NUMBERS.get(obj, (0,)) for k in range(len(node.args))]
        here += [name in _NUMBERS_BY_NAME for name in keywords]
        if any(self.has_complex(v) and not on for v, on in zip(values, here, strict=True)):
            raise self.error(f"{ast.unparse(node.func)} of complex numbers is not supported", node)
        sides = ([self.side(v, k) if on else v for v, on in zip(values, here, strict=True)] for k in (0, 1))
        return pair(*(handler(self, self._named(node, side, keywords), root) for side in sides))

    def _reduction(self, name: str, node: ast.Call, owner: Tup | None = None) -> Value:
        """A product of complex numbers, or their variance or deviation, which are real: those of |z - mean|."""
        given, axis, keep = self.reduced(node, owner is None)
        v = self.stored(owner or self.lazy(given["a"]))
        re, im = v.items  # type: ignore[union-attr]
        if name == "prod":
            if axis is not None or keep:
                raise self.error("a product of complex numbers along an axis is not supported: write the loop", node)
            starts: list[Atom] = [const(1, re.base.dt), const(0, re.base.dt)]
            both = self.loops(self.shape(re), starts, lambda t, i: list(self._mul(t, (self.at(re, i), self.at(im, i)))))
            return pair(*both)
        mean = pair(*(self.reduce("mean", part, node, axis, axis is not None) for part in (re, im)))
        var = self.reduce("mean", self._squares_of(self.complex_binary("sub", v, mean, node), node), node, axis, keep)
        if name == "var":
            return var
        return self.b.op("sqrt", var) if isinstance(var, (Var, Const)) else self.elementwise("sqrt", [var], node)

    def _squares_of(self, v: Value, node: ast.AST) -> Lazy:
        """|z| ** 2 of each element."""
        op = self.b.op
        return self.really(lambda z: op("add", op("mul", z[0], z[0]), op("mul", z[1], z[1])), v, node)  # type: ignore[return-value]

    def _running_product(self, node: ast.Call, root: str | None, owner: Tup | None = None) -> Tup:
        given = self.keywords(node, *(("a",) if owner is None else ()), "axis")
        v = self.stored(owner or self.lazy(given["a"]))
        dt = v.items[0].base.dt  # type: ignore[union-attr]
        starts: list[Atom] = [const(1, dt), const(0, dt)]
        parts: list[Any] = list(v.items)  # type: ignore[union-attr]
        return pair(*self.totals(parts, given.get("axis"), starts, lambda t, x: list(self._mul(t, x)), node, root))

    def _named(self, node: ast.Call, values: Sequence[Value], keywords: Sequence[str | None]) -> ast.Call:
        """The call with its arguments replaced by names of values."""
        names: list[ast.expr] = []
        for v in values:
            name = next(n for k in itertools.count() if (n := f"%argument{k}") not in self.env)
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
        if arrays and name in _REDUCTIONS.values():
            return self._reduction(name, node, owner)
        if arrays and name == "cumprod":
            return self._running_product(node, root, owner)
        if arrays and name in _METHODS_ALIKE:
            return pair(*(self.method(p, node, root) for p in owner.items))  # type: ignore[arg-type]
        if arrays and name == "astype" and len(node.args) == 1 and self.dtype_of(node.args[0], True)[0] == "c":
            own = "f8" if self.dtype_of(node.args[0], True) == "c16" else "f4"
            return pair(*(self.lazily(self.lengths(p), own, lambda i, p=p: self.b.cast(self.at(p, i), own)) for p in owner.items))  # type: ignore[arg-type, misc]
        if arrays and name == "dot" and len(node.args) == 1:
            return self.matmul(owner, self.lazy(node.args[0]), node, root)
        raise self.error(f"method '{name}' of {describe(owner)} is not supported", node)

    # ------------------------------------------------------------------------------------------------------ items, attributes
    def store_complex(self, target: Tup, parts: list[Any], v: Value, node: ast.AST) -> None:
        """``target[parts] = v`` of a complex array."""
        re = target.items[0]
        assert isinstance(re, Ref)
        for t in target.items:
            self.writable(t, node)  # type: ignore[arg-type]
        if any(isinstance(p, (Ref, Lazy)) for p in parts):
            return self._store_at(target, parts, v, node)
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

    def _store_at(self, target: Tup, parts: list[Any], v: Value, node: ast.AST) -> None:
        """``target[parts] = v`` where parts are arrays: one part of the numbers after the other, all of v being read before."""
        bases = [t.base for t in target.items]  # type: ignore[union-attr]
        sides = self.both(v)
        if any(isinstance(x, Lazy) or (isinstance(x, Ref) and x.base in bases) for x in sides):
            sides = self.complex_copy(*sides).items
        parts = [self.kept(p) if isinstance(p, Lazy) else p for p in parts]
        if len(parts) > 1 or self.dtype(parts[0]) != "b1" or isinstance(sides[0], Ref):
            parts, _ = self.without_masks(target.items[0], parts, node)  # type: ignore[arg-type]
            for t, x in zip(target.items, sides, strict=True):
                self.store_scattered(t, self.picked(t, parts, node), x, node)  # type: ignore[arg-type]
            return
        for t, x in zip(target.items, sides, strict=True):
            self.store_masked(t, parts[0], x, node)  # type: ignore[arg-type]

    def part_of_complex(self, owner: Tup, parts: list[Any], node: ast.AST, root: str | None) -> Value:
        """``owner[parts]`` of a complex array."""
        items = [p if isinstance(p, Ref) else self.evaluated(p, "array") for p in owner.items]  # type: ignore[arg-type]
        if not any(isinstance(p, (Ref, Lazy)) for p in parts):
            return pair(*(self.item(p, parts, node, root) for p in items))
        parts, rooms = self.without_masks(items[0], parts, node)  # once: both parts have the places of one mask
        found = []
        for p in items:
            lens, room, place = self.picked(p, parts, node)
            found.append(self.gathered(p, (lens, tuple(rooms.get(n, n) for n in room), place)))
        return pair(*found)

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

    def matmul(self, a: Value, c: Value, node: ast.AST, root: str | None = None) -> Value:
        if is_complex(a) or is_complex(c):
            return self.complex_product(lambda x, y: super(Complexes, self).matmul(x, y, node), a, c, node)
        return super().matmul(a, c, node, root)

    # what the classes built on this one provide
    def writable(self, ref: Ref, node: ast.AST) -> None:
        raise NotImplementedError

    def lazy(self, node: ast.expr, root: str | None = None) -> Value:
        raise NotImplementedError
