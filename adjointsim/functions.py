"""Derivatives of functions without a time loop: ``value_and_grad``, ``grad``, ``vjp``, ``jvp``.

A function is plain Python in Numba's nopython subset, a lambda, or @njit; its arguments are the structures of a state.
They are not modified.  Errors are those of the deriver (with the user's file and line), and StructureError.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import Spec, differentiable, leaves_of
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.kernels import ScalarKernel, kernel_of
from adjointsim.leaves import Bars, Leaves, bar_leaves, flatten, overlap, parts, shapes_of, spec_of, unflatten, unflatten_bar

if TYPE_CHECKING:
    from adjointsim.derive.api import FunctionKernel
    from adjointsim.derive.entry import Entry

__all__ = ["grad", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]


class _Arguments:
    """The arguments of a call as leaves."""

    def __init__(self, f: Function, args: Sequence[Any], copy: bool = False) -> None:
        self.args = args
        self.names = _argument_names(f, args)
        self.specs: list[Spec] = [spec_of(arg, name) for arg, name in zip(args, self.names, strict=True)]
        self.each = [flatten(a, s, n, copy=copy) for a, s, n in zip(args, self.specs, self.names, strict=True)]
        self.leaves: Leaves = [leaf for leaves in self.each for leaf in leaves]

    def check(self, entry: Entry) -> None:
        """ArgumentError if the function writes an argument that shares memory with another, or with an array that it reads
        from outside: Python would write both, the kernel a copy of its own."""
        if entry.overwritten:
            given = [v for arg, spec in zip(self.args, self.specs, strict=True) for v in parts(arg, spec)]
            named = list(zip([path for path, _ in entry.leaves], given, strict=True))
            others = [*named, *((c.path, c.now()) for c in entry.captures)]
            for path, value in named:
                for other, what in others if path in entry.overwritten else ():
                    if other != path and overlap(value, what):
                        message = f"Got {path} and {other} in the same memory, but {entry.source.name} writes '{path}'"
                        raise ArgumentError(f"{message}: pass a copy, {path}.copy()")

    def split(self, bars: Bars) -> list[Any]:
        """Cotangents of all leaves as one structure for each argument."""
        out, first = [], 0
        for spec, leaves in zip(self.specs, self.each, strict=True):
            out.append(unflatten_bar(spec, bars[first : first + len(leaves)]))
            first += len(leaves)
        return out


def _argument_names(f: Function, args: Sequence[Any]) -> list[str]:
    """The names of positional arguments; StructureError, as Python would say it, if ``f`` does not take so many."""
    plain = plain_function(f)
    if plain is None:
        raise StructureError(f"Got {f!r}, but expected a Python function, a lambda or an @njit function")
    code = plain.__code__
    least = code.co_argcount - len(plain.__defaults__ or ())
    if not least <= len(args) <= code.co_argcount:  # not so, or *args
        try:
            inspect.signature(plain).bind(*args)
        except TypeError as error:
            raise StructureError(f"{plain.__name__}: {error}") from None
    names = list(code.co_varnames[: min(code.co_argcount, len(args))])
    return names + [f"args[{k}]" for k in range(len(args) - len(names))]


def value_and_grad(f: Function, wrt: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """A function of f's arguments that returns f's value and its derivative with respect to argument ``wrt``.

    ``wrt`` is a position, or a tuple of them, which gives a tuple of derivatives; each has the structure of its argument,
    with None for integer and bool leaves.  StructureError if f does not return one float, or if an argument of ``wrt``
    has no floating leaf; ArgumentError for a position that f does not have.
    """
    positions = _positions(wrt)

    def call(*args: Any) -> tuple[Any, Any]:
        arguments = _Arguments(f, args)
        chosen = []
        for position in positions:
            if not -len(args) <= position < len(args):
                raise ArgumentError(f"Got wrt={wrt}, but {_name(f)} was called with {len(args)} arguments")
            k = position % len(args)
            if not any(map(differentiable, leaves_of(arguments.specs[k]))):
                name, spec = arguments.names[k], arguments.specs[k]
                raise StructureError(f"Got wrt={wrt}, but {name} is {spec}, without a float: its gradient would be None")
            chosen.append(k)
        cost = ScalarKernel(f, arguments.specs, _name(f), role="function")
        arguments.check(cost.kernel.entry)
        value = unflatten(cost.kernel.result_spec, cost.kernel.value(arguments.leaves))
        bars = arguments.split(cost.vjp(arguments.leaves, 1.0))
        return value, tuple(bars[k] for k in chosen) if isinstance(wrt, tuple) else bars[chosen[0]]

    return _like(call, f, "value_and_grad")


def grad(f: Function, wrt: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """As :func:`value_and_grad`, without the value."""
    both = value_and_grad(f, wrt)

    def call(*args: Any) -> Any:
        return both(*args)[1]

    return _like(call, f, "grad")


def vjp(f: Function, *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """``(f(*args), pullback)``; ``pullback(out_bar)`` is a tuple with the cotangent of each argument.

    None in ``out_bar`` stands for zeros.  The pullback may be called any number of times and keeps copies of ``args``.
    """
    arguments = _Arguments(f, args, copy=True)
    kernel: FunctionKernel = kernel_of(f, arguments.specs, role="function")
    arguments.check(kernel.entry)
    out = kernel.value(arguments.leaves)
    shapes = shapes_of(out)

    def pullback(out_bar: Any) -> tuple[Any, ...]:
        bars = bar_leaves(out_bar, kernel.result_spec, shapes, "out_bar")
        return tuple(arguments.split(kernel.vjp(arguments.leaves, bars)))

    return unflatten(kernel.result_spec, out), pullback


def jvp(f: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """``(f(*args), out_dot)``: the value and its derivative along ``tangents``, one for each argument; None is zero."""
    for name, given in (("args", args), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise StructureError(f"Got {name} as a {type(given).__name__}, but expected a tuple with one item for each argument")
    if len(args) != len(tangents):
        raise StructureError(f"Got {len(tangents)} tangents, but expected one for each of {len(args)} arguments")
    arguments = _Arguments(f, args)
    dots: Bars = []
    for tangent, spec, leaves, name in zip(tangents, arguments.specs, arguments.each, arguments.names, strict=True):
        dots += bar_leaves(tangent, spec, shapes_of(leaves), f"the tangent of {name}")
    kernel = kernel_of(f, arguments.specs, role="function")
    arguments.check(kernel.entry)
    out, out_dot = kernel.jvp(arguments.leaves, dots)
    return unflatten(kernel.result_spec, out), unflatten_bar(kernel.result_spec, out_dot)


def _positions(wrt: Any) -> list[int]:
    given = wrt if isinstance(wrt, tuple) else (wrt,)
    try:
        if not given or any(isinstance(k, bool) for k in given):
            raise TypeError
        return [operator.index(k) for k in given]
    except TypeError:
        raise ArgumentError(f"Got wrt={wrt!r}, but expected the position of an argument or a tuple of positions") from None


def _name(f: Function) -> str:
    return getattr(f, "__name__", repr(f))


def _like(call: Function, f: Function, verb: str) -> Function:
    call.__name__ = call.__qualname__ = f"{verb}({_name(f)})"
    call.__doc__ = f.__doc__
    return call
