"""What a user's step is: a function ``f(n, y, p) -> y_next`` and a way to its derivatives.

The derivatives are derived from the step's source, or the user writes the VJP.  A :class:`Local` is a step for one
structure of y and p, working on leaves; a sweep driven from Python needs nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, overload

from adjointsim.derive.source import from_text, plain_function
from adjointsim.derive.spec import Spec, leaves_of
from adjointsim.errors import ArgumentError, StructureError, UnsupportedError
from adjointsim.kernels import INDEX, index_leaf, kernel_of
from adjointsim.leaves import (
    Bars,
    Leaves,
    Shapes,
    bar_leaves,
    flatten,
    require_like,
    shapes_of,
    spec_of,
    unflatten,
    unflatten_bar,
)  # fmt: skip

__all__ = ["Local", "Step", "step"]


# ----------------------------------------------------------------------------------------- a step for given structures
class Local(ABC):
    """A step for one structure of y and p, on leaves.  Nothing that is given is modified or kept.

    What is returned is new, or memory of the user's that is the caller's to read until the next call.
    """

    @abstractmethod
    def value(self, n: int, y: Leaves, p: Leaves) -> Leaves:
        """The leaves of y_{n+1}; StructureError if they are not like those of y_n."""

    @abstractmethod
    def vjp(self, n: int, y: Leaves, p: Leaves, y_next_bar: Bars) -> tuple[Bars, Bars]:
        """The cotangents of y_n and p from that of y_{n+1}."""

    @abstractmethod
    def jvp(self, n: int, y: Leaves, p: Leaves, y_dot: Bars, p_dot: Bars) -> tuple[Leaves, Bars]:
        """y_{n+1} and its tangent."""

    @abstractmethod
    def hvp(self, n: int, y: Leaves, p: Leaves, y_next_bar: Bars, y_dot: Bars, p_dot: Bars) -> tuple[Bars, Bars]:
        """The tangents of what :meth:`vjp` gives, for a cotangent that does not change."""

    @abstractmethod
    def source(self, kind: str) -> str:
        """The derived code."""


class _Derived(Local):
    """A step whose derivatives come from its source."""

    def __init__(self, fn: Callable[..., Any], name: str, y_spec: Spec, p_spec: Spec) -> None:
        self.name = name
        self.kernel = kernel_of(fn, (INDEX, y_spec, p_spec), role="step", result=y_spec)

    def _checked(self, n: int, y: Leaves, y_next: Leaves) -> Leaves:
        if shapes_of(y_next) != shapes_of(y):
            got, expected = shapes_of(y_next), shapes_of(y)
            raise StructureError(f"{self.name}, step n={n}: Got y_next of shapes {got}, but expected {expected}")
        return y_next

    def value(self, n: int, y: Leaves, p: Leaves) -> Leaves:
        return self._checked(n, y, self.kernel.value([index_leaf(n), *y, *p]))

    def vjp(self, n: int, y: Leaves, p: Leaves, y_next_bar: Bars) -> tuple[Bars, Bars]:
        bars = self.kernel.vjp([index_leaf(n), *y, *p], y_next_bar)[1:]
        return bars[: len(y)], bars[len(y) :]

    def jvp(self, n: int, y: Leaves, p: Leaves, y_dot: Bars, p_dot: Bars) -> tuple[Leaves, Bars]:
        y_next, y_next_dot = self.kernel.jvp([index_leaf(n), *y, *p], [None, *y_dot, *p_dot])
        return self._checked(n, y, y_next), y_next_dot

    def hvp(self, n: int, y: Leaves, p: Leaves, y_next_bar: Bars, y_dot: Bars, p_dot: Bars) -> tuple[Bars, Bars]:
        dots = self.kernel.hvp([index_leaf(n), *y, *p], [None, *y_dot, *p_dot], y_next_bar)[1][1:]
        return dots[: len(y)], dots[len(y) :]

    def source(self, kind: str) -> str:
        return self.kernel.source(kind)


class _HandWritten(Local):
    """A step with the user's VJP, both called from Python with copies of y and a read-only view of p."""

    def __init__(self, step: Step, y_spec: Spec, p_spec: Spec, y_shapes: Shapes, p_shapes: Shapes) -> None:
        self.step, self.name = step, step.__name__
        self.y_spec, self.p_spec, self.y_shapes, self.p_shapes = y_spec, p_spec, y_shapes, p_shapes
        assert step.hand_vjp is not None
        self.f, self.g = (_compiled(f) if step.jit else f for f in (step.function, step.hand_vjp))

    def value(self, n: int, y: Leaves, p: Leaves) -> Leaves:
        y_next = self._call(self.f, n, y, p)
        try:
            return require_like(y_next, self.y_spec, self.y_shapes, "y_next")
        except StructureError as error:
            raise StructureError(f"{self.name}, step n={n}: {error}") from None

    def vjp(self, n: int, y: Leaves, p: Leaves, y_next_bar: Bars) -> tuple[Bars, Bars]:
        seed = unflatten_bar(self.y_spec, [None if b is None else b.copy() for b in y_next_bar])
        bars = self._call(self.g, n, y, p, seed)
        try:
            if type(bars) is not tuple or len(bars) != 2:
                raise StructureError(f"Got {_brief(bars)} from the VJP, but expected the pair (y_bar, p_bar)")
            y_bar = bar_leaves(bars[0], self.y_spec, self.y_shapes, "y_bar")
            return y_bar, bar_leaves(bars[1], self.p_spec, self.p_shapes, "p_bar")
        except StructureError as error:
            raise StructureError(f"{self.name}, VJP of step n={n}: {error}") from None

    def _call(self, function: Callable[..., Any], n: int, y: Leaves, p: Leaves, *seed: Any) -> Any:
        views = [leaf.view() for leaf in p]
        for view in views:
            view.flags.writeable = False
        try:
            return function(n, unflatten(self.y_spec, [leaf.copy() for leaf in y]), unflatten(self.p_spec, views), *seed)
        except Exception as error:
            if "read-only" in str(error) or "readonly" in str(error):
                error.add_note("adjointsim: p is read-only inside a step; copy what you want to overwrite")
            elif type(error).__module__.startswith("numba."):
                error.add_note("adjointsim: adj.step(vjp=..., jit=False) runs a step that Numba cannot compile as plain Python")
            raise

    def jvp(self, n: int, y: Leaves, p: Leaves, y_dot: Bars, p_dot: Bars) -> tuple[Leaves, Bars]:
        raise self.step.unsupported("has a hand-written VJP, hence no JVP: tangents need a derived step, @adj.step without vjp=")

    def hvp(self, n: int, y: Leaves, p: Leaves, y_next_bar: Bars, y_dot: Bars, p_dot: Bars) -> tuple[Bars, Bars]:
        raise self.step.no_hessian()

    def source(self, kind: str) -> str:
        raise self.step.unsupported("has a hand-written VJP: there is no derived code")


def _brief(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"


@functools.lru_cache(maxsize=256)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(function, "py_func"):
        return function
    from numba import njit  # late: half a second of import

    return njit(error_model="numpy")(function)


# ------------------------------------------------------------------------------------------------------ the public face
class Step:
    """A step with its derivatives, made by :func:`step`; called, it runs ``f(n, y, p)`` as a sweep would.

    Arguments are never modified; results are new.  Raises StructureError for values that are not states or parameters,
    ArgumentError for an impossible ``n``.
    """

    __name__: str

    def __init__(self, function: Callable[..., Any], vjp: Callable[..., Any] | None = None, jit: bool = True) -> None:
        plain = plain_function(function)
        if not callable(function) or (plain is None and jit):
            raise StructureError(f"Got a step {function!r}, but expected a Python function f(n, y, p) or an @njit function")
        if vjp is not None and not callable(vjp):
            raise StructureError(f"Got vjp={vjp!r}, but expected a function g(n, y, p, y_next_bar) -> (y_bar, p_bar)")
        if vjp is None and not jit:
            raise ArgumentError("Got jit=False without vjp=, but a step that is not compiled needs a hand-written VJP")
        functools.update_wrapper(self, function, updated=())
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__adjointsim_function__ = plain or function
        self.function, self.hand_vjp, self.jit = function, vjp, jit

    def __repr__(self) -> str:
        how = "" if self.hand_vjp is None else ", vjp by hand" if self.jit else ", vjp by hand, jit=False"
        return f"<adjointsim step {self.__name__}{how}>"

    def __call__(self, n: int, y: Any, p: Any = None) -> Any:
        """y_{n+1}."""
        n, y_leaves, p_leaves, y_spec, _, local = self._prepare(n, y, p)
        return unflatten(y_spec, [leaf.copy() for leaf in local.value(n, y_leaves, p_leaves)])

    def vjp(self, n: int, y: Any, p: Any, y_next_bar: Any) -> tuple[Any, Any]:
        """``(y_bar, p_bar)`` from the cotangent of y_{n+1}; None in it stands for zeros.  Integer and bool leaves get None."""
        n, y_leaves, p_leaves, y_spec, p_spec, local = self._prepare(n, y, p)
        seed = bar_leaves(y_next_bar, y_spec, shapes_of(y_leaves), "y_next_bar")
        y_bar, p_bar = local.vjp(n, y_leaves, p_leaves, seed)
        return unflatten_bar(y_spec, y_bar), unflatten_bar(p_spec, p_bar)

    def jvp(self, n: int, y: Any, p: Any, y_dot: Any, p_dot: Any) -> tuple[Any, Any]:
        """``(y_next, y_next_dot)``; None in a tangent stands for zeros.  UnsupportedError if the VJP is hand-written."""
        n, y_leaves, p_leaves, y_spec, p_spec, local = self._prepare(n, y, p)
        y_dots = bar_leaves(y_dot, y_spec, shapes_of(y_leaves), "y_dot")
        p_dots = bar_leaves(p_dot, p_spec, shapes_of(p_leaves), "p_dot")
        y_next, y_next_dot = local.jvp(n, y_leaves, p_leaves, y_dots, p_dots)
        return unflatten(y_spec, y_next), unflatten_bar(y_spec, y_next_dot)

    def hvp(self, n: int, y: Any, p: Any, y_next_bar: Any, y_dot: Any, p_dot: Any) -> tuple[Any, Any]:
        """The derivative of :meth:`vjp` along (y_dot, p_dot), for the same y_next_bar: the products of the Hessian of
        y_next_bar . f(n, y, p), as ``(for y, for p)``; None in a tangent stands for zeros.

        Integer and bool leaves get None.  UnsupportedError if the VJP is hand-written.
        """
        n, y_leaves, p_leaves, y_spec, p_spec, local = self._prepare(n, y, p)
        seed = bar_leaves(y_next_bar, y_spec, shapes_of(y_leaves), "y_next_bar")
        y_dots = bar_leaves(y_dot, y_spec, shapes_of(y_leaves), "y_dot")
        p_dots = bar_leaves(p_dot, p_spec, shapes_of(p_leaves), "p_dot")
        y_product, p_product = local.hvp(n, y_leaves, p_leaves, seed, y_dots, p_dots)
        return unflatten_bar(y_spec, y_product), unflatten_bar(p_spec, p_product)

    def source(self, kind: str, n: int, y: Any, p: Any = None) -> str:
        """The derived code of ``kind`` "primal", "vjp" or "jvp" for arguments of these structures."""
        if kind not in ("primal", "vjp", "jvp"):
            raise ArgumentError(f"Got kind={kind!r}, but expected 'primal', 'vjp' or 'jvp'")
        return self._prepare(n, y, p)[-1].source(kind)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The name of a step that is one of a module's, as of a function: how another process finds it."""
        name = vars(self)["__qualname__"]
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else object.__reduce_ex__(self, protocol)

    def local(self, y_spec: Spec, p_spec: Spec, y_shapes: Shapes, p_shapes: Shapes) -> Local:
        """The step for one structure of y and p."""
        if self.hand_vjp is None:
            return _Derived(self.function, self.__name__, y_spec, p_spec)
        return _HandWritten(self, y_spec, p_spec, y_shapes, p_shapes)

    def _prepare(self, n: int, y: Any, p: Any) -> tuple[int, Leaves, Leaves, Spec, Spec, Local]:
        y_spec, p_spec = spec_of(y, "y"), spec_of(p, "p")
        if not leaves_of(y_spec):
            raise StructureError(f"Got y={y_spec}, but expected a state: a number, an array or a tuple of these")
        y_leaves, p_leaves = flatten(y, y_spec, "y"), flatten(p, p_spec, "p")
        local = self.local(y_spec, p_spec, shapes_of(y_leaves), shapes_of(p_leaves))
        return _step_number(n), y_leaves, p_leaves, y_spec, p_spec, local

    def no_hessian(self) -> UnsupportedError:
        """The error of a hand-written VJP that would have to be differentiated."""
        what = "has a hand-written VJP, which cannot be differentiated again: Hessian products need a derived step, "
        return self.unsupported(f"{what}@adj.step without vjp=")

    def unsupported(self, what: str) -> UnsupportedError:
        """An error that points at the step's first line."""
        code = getattr(self.__adjointsim_function__, "__code__", None)
        if code is None:
            return UnsupportedError(f"{self.__name__} {what}")
        return UnsupportedError(f"{self.__name__} {what}", code.co_filename, code.co_firstlineno)


def _step_number(n: Any) -> int:
    try:
        number = operator.index(n)
    except TypeError:
        number = -1
    if isinstance(n, bool) or not 0 <= number < 2**63:
        raise ArgumentError(f"Got n={n!r}, but expected a step number: an integer >= 0")
    return number


class _Outer(dict[str, Any]):
    """The globals of a step given as text: its own names, then those that the caller's module has *at that moment*."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__(__name__=outer.get("__name__", "__main__"), __builtins__=outer["__builtins__"])
        self.outer = outer

    def __missing__(self, name: str) -> Any:
        return self.outer[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.outer


@overload
def step(
    function: Callable[..., Any], *, vjp: Callable[..., Any] | None = ..., jit: bool = ..., source: None = ...
) -> Step: ...
@overload
def step(function: None = ..., *, vjp: Callable[..., Any] | None = ..., jit: bool = ..., source: str) -> Step: ...
@overload
def step(
    function: None = ..., *, vjp: Callable[..., Any] | None = ..., jit: bool = ..., source: None = ...
) -> Callable[[Callable[..., Any]], Step]: ...
def step(
    function: Callable[..., Any] | None = None,
    *,
    vjp: Callable[..., Any] | None = None,
    jit: bool = True,
    source: str | None = None,
) -> Step | Callable[[Callable[..., Any]], Step]:
    """Make a step of ``f(n, y, p) -> y_next``; ``@step`` bare or with options.

    vjp:    a hand-written ``g(n, y, p, y_next_bar) -> (y_bar, p_bar)`` in place of the derived one.  Numba compiles both
            functions, and as it does, keeps the values of the globals that they read.
    jit:    False for a step (with its ``vjp``) that Numba cannot compile; it is then called as plain Python.
    source: the text of the step, for notebooks and ``python -c``, where functions have none that can be read.  Names in it
            mean what they mean in the module that calls ``step``; the last function of the text is the step.
    """
    if source is not None:
        if function is not None:
            raise ArgumentError("Got a function and source=, but expected one of them")
        if not isinstance(source, str):
            raise StructureError(f"Got source as a {type(source).__name__}, but expected the step's text")
        filename = f"<adjointsim source {hashlib.sha256(source.encode()).hexdigest()[:12]}>"
        return Step(from_text(source, filename, _Outer(sys._getframe(1).f_globals)), vjp, jit)
    if function is None:
        return lambda f: Step(f, vjp, jit)
    return Step(function, vjp, jit)
