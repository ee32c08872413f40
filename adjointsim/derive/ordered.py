"""Sorting, searching, interpolation and what else is a function of the library in the language that is derived.

What is sorted or searched is an inert order or place, then a gather; equal elements keep their order.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from . import library
from .arrays import Elements
from .build import const
from .ir import ZERO, Atom, Const, Var, is_float
from .rearranged import Rearrangements
from .values import Lazy, Ref, Static, Value, describe

__all__ = ["ORDERED", "Ordered"]


class Ordered(Rearrangements):
    """Values of calls that order elements."""

    def _run(self, fn: Any, args: dict[str, Value], node: ast.AST) -> Value:
        """The value of a function of the library, which writes only memory that was made for it: nothing that is read waits."""
        before = self.writes
        value = self.function(fn, args, node)
        self.writes = before
        return value

    def _vector(self, node: ast.expr, what: str) -> Ref:
        v = self.elements(node)
        if v.rank != 1:
            raise self.error(f"{what} of an array of {v.rank} axes is not supported: one axis is", node)
        return self.kept(v)

    def _argsort(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axis", "kind")
        self._last_axis(given)
        return self.order(self._vector(given["a"], "np.argsort"), node)

    def order(self, ref: Ref, node: ast.AST) -> Ref:
        order, other = (self.alloc(root, "i8", self.shape(ref), "none") for root in ("order", "other"))
        self._run(library.argsort, {"a": ref, "order": order, "other": other}, node)
        return order

    def _last_axis(self, given: dict[str, ast.expr]) -> None:
        if "axis" in given and self.literal_int(given["axis"], -1, "axis") != -1:
            raise self.error("sorting is supported along the last axis, axis=-1", given["axis"])

    def _sort(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "axis", "kind")
        self._last_axis(given)
        return self.ascending(self.kept(self.elements(given["a"])), node, root)

    def sort_in_place(self, ref: Ref, node: ast.Call) -> None:
        """``ref.sort()``."""
        self._last_axis(self.keywords(node, "axis", "kind"))
        self.writable(ref, node)
        self.assign(ref, self.kept(self.ascending(ref, node, None)))

    def ascending(self, v: Ref, node: ast.AST, root: str | None) -> Elements:
        """The elements along the last axis in order."""
        if v.rank == 2:
            out = self.alloc(root or "sorted", v.base.dt, self.shape(v), "none")
            order, other = (self.alloc(name, "i8", self.shape(v)[1:], "none") for name in ("order", "other"))
            self._run(library.sort_rows, {"m": v, "out": out, "order": order, "other": other}, node)
            return out
        if v.rank != 1:
            raise self.error("np.sort of an array of more than two axes is not supported", node)
        return self.pick(v, [self.order(v, node)], node)  # type: ignore[return-value]

    def _median(self, node: ast.Call, root: str | None) -> Value:
        v = self.kept(self.flat(self.elements(self.keywords(node, "a")["a"]), node))
        if not is_float(v.base.dt):
            raise self.error("np.median takes floats: use .astype(np.float64)", node)
        return self._run(library.median, {"a": v, "order": self.order(v, node)}, node)

    def _searchsorted(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "a", "v", "side")
        side = self.value(given["side"]) if "side" in given else Static("left")
        if not isinstance(side, Static) or side.obj not in ("left", "right"):
            raise self.error("side must be 'left' or 'right'", node)
        a, v = self._vector(given["a"], "np.searchsorted"), self._numbers(given["v"], "np.searchsorted")
        args: dict[str, Value] = {"a": a, "v": v, "right": const(side.obj == "right", "b1")}
        if not isinstance(v, Ref):
            return self._run(library.searchsorted, args, node)
        out = self.alloc(root or "places", "i8", self.shape(v), "none")
        self._run(library.searchsorted_all, {**args, "out": out}, node)
        return out

    def _numbers(self, node: ast.expr, what: str) -> Ref | Atom:
        """An array of one axis, or a number."""
        v = self.lazy(node)
        if isinstance(v, (Var, Const)):
            return v
        if not isinstance(v, (Ref, Lazy)) or v.rank != 1:
            raise self.error(f"{what} at {describe(v)} is not supported: a number or an array of one axis is", node)
        return self.kept(v)

    def _interp(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "x", "xp", "fp")
        x = self._numbers(given["x"], "np.interp")
        xp, fp = (self._vector(given[name], "np.interp") for name in ("xp", "fp"))
        self.same_length(self.shape(xp)[0], self.shape(fp)[0], node)
        xp, fp = self._floats(xp), self._floats(fp)
        if not isinstance(x, Ref):
            return self._run(library.interp, {"x": self.b.cast(x, "f8"), "xp": xp, "fp": fp}, node)
        out = self.alloc(root or "values", "f8", self.shape(x), "none")
        self._run(library.interp_all, {"x": x, "xp": xp, "fp": fp, "out": out}, node)
        return out

    def _floats(self, ref: Ref) -> Ref:
        return ref if ref.base.dt == "f8" else self.evaluated(ref, "floats", "f8")

    def _trapezoid(self, node: ast.Call, root: str | None) -> Value:
        given = self.keywords(node, "y", "x", "dx")
        y = self._vector(given["y"], "np.trapezoid")
        if "x" not in given:
            dx = self.value(given["dx"]) if "dx" in given else const(1.0, "f8")
            return self._run(library.trapezoid, {"y": y, "dx": dx}, node)
        x = self._vector(given["x"], "np.trapezoid")
        self.same_length(self.shape(y)[0], self.shape(x)[0], node)
        return self._run(library.trapezoid_at, {"y": y, "x": x}, node)

    def _two(self, node: ast.Call, *names: str) -> tuple[Ref, Ref]:
        """Two vectors of floats."""
        given = self.keywords(node, *names)
        one, two = (self._floats(self._vector(given[name], ast.unparse(node.func))) for name in names)
        return one, two

    def _convolve(self, node: ast.Call, root: str | None) -> Value:
        a, v = self._two(node, "a", "v")
        (n,), (m,) = self.shape(a), self.shape(v)
        none = self.b.op("lor", self.b.op("eq", n, ZERO), self.b.op("eq", m, ZERO))
        self.check(none, node, "ValueError('a convolution with an empty array')")
        out = self.alloc(root or "convolved", "f8", (self.b.op("add", self.b.op("add", n, m), const(-1, "i8")),), "zero")
        self._run(library.convolve, {"a": a, "v": v, "out": out}, node)
        return out

    def _cross(self, node: ast.Call, root: str | None) -> Value:
        a, c = self._two(node, "a", "b")
        three = const(3, "i8")
        for ref in (a, c):
            self.same_length(self.shape(ref)[0], three, node)
        out = self.alloc(root or "crossed", "f8", (three,), "none")
        self._run(library.cross, {"a": a, "b": c, "out": out}, node)
        return out


ORDERED: dict[Any, Callable[[Any, ast.Call, str | None], Value]] = {
    np.argsort: Ordered._argsort,
    np.sort: Ordered._sort,
    np.median: Ordered._median,
    np.searchsorted: Ordered._searchsorted,
    np.interp: Ordered._interp,
    np.trapezoid: Ordered._trapezoid,
    np.convolve: Ordered._convolve,
    np.cross: Ordered._cross,
}
