"""Derivatives of functions without a time loop: ``value_and_grad``, ``grad``, ``vjp``, ``jvp``, ``hvp``, ``jacobian``.

A function is plain Python in Numba's nopython subset, a lambda, or @njit; its arguments are the structures of a state.
They are not modified.  Errors are those of the deriver (with the user's file and line), and StructureError.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import Spec, TupleSpec, differentiable, leaves_of
from adjointsim.derive.verbs import inside
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.jacobians import Blocks, checked_mode
from adjointsim.kernels import ScalarKernel, kernel_of
from adjointsim.leaves import (
    Bars,
    Leaves,
    bar_leaves,
    flatten,
    nbytes,
    overlap,
    parts,
    shapes_of,
    spec_of,
    unflatten,
    unflatten_bar,
)  # fmt: skip

if TYPE_CHECKING:
    from adjointsim.derive.api import FunctionKernel
    from adjointsim.derive.entry import Entry

__all__ = ["grad", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]


class _Arguments:
    """The arguments of a call as leaves."""

    def __init__(self, f: Function, args: Sequence[Any], copy: bool = False) -> None:
        self.f, self.args = f, args
        self.names = _argument_names(f, args)
        self.specs: list[Spec] = [spec_of(arg, name) for arg, name in zip(args, self.names, strict=True)]
        self.each = [flatten(a, s, n, copy=copy) for a, s, n in zip(args, self.specs, self.names, strict=True)]
        self.leaves: Leaves = [leaf for leaves in self.each for leaf in leaves]

    def chosen(self, wrt: Any, positions: list[int], otherwise: str) -> list[int]:
        """The arguments at ``positions``; ArgumentError if there are not so many, StructureError for one without a float."""
        found = []
        for position in positions:
            if not -len(self.args) <= position < len(self.args):
                raise ArgumentError(f"Got wrt={wrt}, but {_name(self.f)} was called with {len(self.args)} arguments")
            k = position % len(self.args)
            if not any(map(differentiable, leaves_of(self.specs[k]))):
                raise StructureError(f"Got wrt={wrt}, but {self.names[k]} is {self.specs[k]}, without a float: {otherwise}")
            found.append(k)
        return found

    def dots(self, tangents: Sequence[Any]) -> Bars:
        """The leaves of tangents, one for each argument."""
        found: Bars = []
        for tangent, spec, leaves, name in zip(tangents, self.specs, self.each, self.names, strict=True):
            found += bar_leaves(tangent, spec, shapes_of(leaves), f"the tangent of {name}")
        return found

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


@inside("value_and_grad")
def value_and_grad(f: Function, wrt: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """A function of f's arguments that returns f's value and its derivative with respect to argument ``wrt``.

    ``wrt`` is a position, or a tuple of them, which gives a tuple of derivatives; each has the structure of its argument,
    with None for integer and bool leaves.  StructureError if f does not return one float, or if an argument of ``wrt``
    has no floating leaf; ArgumentError for a position that f does not have.
    """
    positions = _positions(wrt)

    def call(*args: Any) -> tuple[Any, Any]:
        arguments = _Arguments(f, args)
        chosen = arguments.chosen(wrt, positions, "its gradient would be None")
        cost = ScalarKernel(f, arguments.specs, _name(f), role="function")
        arguments.check(cost.kernel.entry)
        found, leaf_bars = cost.value_and_vjp(arguments.leaves, 1.0)
        value, bars = unflatten(cost.kernel.result_spec, found), arguments.split(leaf_bars)
        return value, tuple(bars[k] for k in chosen) if isinstance(wrt, tuple) else bars[chosen[0]]

    return _like(call, f, "value_and_grad")


@inside("grad")
def grad(f: Function, wrt: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """As :func:`value_and_grad`, without the value."""
    both = value_and_grad(f, wrt)

    def call(*args: Any) -> Any:
        return both(*args)[1]

    return _like(call, f, "grad")


@inside("vjp")
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


@inside("jvp")
def jvp(f: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """``(f(*args), out_dot)``: the value and its derivative along ``tangents``, one for each argument; None is zero."""
    arguments, dots = _with_tangents(f, args, tangents)
    kernel = kernel_of(f, arguments.specs, role="function")
    arguments.check(kernel.entry)
    out, out_dot = kernel.jvp(arguments.leaves, dots)
    return unflatten(kernel.result_spec, out), unflatten_bar(kernel.result_spec, out_dot)


@inside("hvp")
def hvp(f: Function, args: Sequence[Any], tangents: Sequence[Any], wrt: int | tuple[int, ...] | None = None) -> Any:
    """The Hessian-vector product: the derivative of f's gradient along ``tangents``, one for each argument; None is zero.

    ``f`` returns one float.  The result is a tuple with one product for each argument, sum over j of (d2f / da_i da_j)
    tangent_j, in the structure of the argument, with None for integer and bool leaves; with ``wrt``, a position or a tuple of
    them, it is that argument's product or the tuple of theirs.  (The tangents that are not zero say what is differentiated
    first; ``wrt`` what is differentiated then.)

        def energy(x, c):
            return c * np.sum(x**4)

        hx, hc = adj.hvp(energy, (x, c), (v, None))      # 12 c x**2 v, and 4 sum(x**3 v)

    It is computed exactly, forward over reverse, for the price of a few gradients.  StructureError if ``f`` does not return
    one float, or for a tangent of another structure or shape; ArgumentError for an impossible ``wrt``.
    """
    positions = None if wrt is None else _positions(wrt)
    arguments, dots = _with_tangents(f, args, tangents)
    chosen = None if positions is None else arguments.chosen(wrt, positions, "its product would be None")
    cost = ScalarKernel(f, arguments.specs, _name(f), role="function")
    arguments.check(cost.kernel.entry)
    products = tuple(arguments.split(cost.hvp(arguments.leaves, dots, 1.0)[1]))
    if chosen is None:
        return products
    return tuple(products[k] for k in chosen) if isinstance(wrt, tuple) else products[chosen[0]]


@inside("jacobian")
def jacobian(f: Function, wrt: int | tuple[int, ...] = 0, mode: str = "auto") -> Callable[..., Any]:
    """A function of f's arguments that returns all derivatives of f's result with respect to argument ``wrt``.

    For an array x of shape n and a result of shape m, that is an array of shape m + n: ``J[i, j] = d result[i] / d x[j]``;
    numbers have no axes, so that the Jacobian of a float by a float is a float.  For structures it is the structure of the
    result, in which each leaf is replaced by the structure of the argument, and each leaf of that by such an array; None for
    integer and bool leaves.  A complex number counts as an array of its two parts.  A tuple of positions gives a tuple of
    Jacobians.

    ``mode`` "forward" runs one tangent for each number of the arguments, "reverse" one cotangent for each number of the
    result (from one recording of f), and "auto" the fewer.  StructureError if the result or an argument of ``wrt`` has no
    float; ArgumentError for an impossible ``wrt`` or ``mode``.
    """
    positions, how = _positions(wrt), checked_mode(mode)

    def call(*args: Any) -> Any:
        arguments = _Arguments(f, args)
        chosen = arguments.chosen(wrt, positions, "its Jacobian would be None")
        kernel = kernel_of(f, arguments.specs, role="function")
        if not any(map(differentiable, leaves_of(kernel.result_spec))):
            raise StructureError(f"Got {kernel.result_spec} from {_name(f)}, without a float: its Jacobian would be None")
        arguments.check(kernel.entry)
        leaves, specs = arguments.leaves, arguments.specs
        active = [k in chosen and differentiable(leaf) for k, spec in enumerate(specs) for leaf in leaves_of(spec)]
        out_shapes = tuple(kernel.result_shapes(leaves))
        blocks = Blocks(kernel.result_spec, out_shapes, TupleSpec(tuple(specs)), shapes_of(leaves), active).zeros()
        if blocks.forward(how):
            _by_columns(kernel, leaves, blocks)
        else:
            _by_rows(kernel, leaves, blocks)
        first = [sum(len(leaves_of(spec)) for spec in specs[:k]) for k in range(len(specs))]
        found = {k: blocks.nested((specs[k], first[k])) for k in set(chosen)}
        return tuple(found[k] for k in chosen) if isinstance(wrt, tuple) else found[chosen[0]]

    return _like(call, f, "jacobian")


def _by_columns(kernel: FunctionKernel, leaves: Leaves, blocks: Blocks) -> None:
    for leaf, place in blocks.columns():
        dots: Bars = [np.zeros_like(x) if on else None for x, on in zip(leaves, blocks.active, strict=True)]
        dots[leaf].flat[place] = 1.0  # type: ignore[union-attr]
        blocks.put_column(leaf, place, kernel.jvp(leaves, dots)[1])


#: cotangents that go back together take about so many bytes
_LANES_BYTES = 2**26


def _by_rows(kernel: FunctionKernel, leaves: Leaves, blocks: Blocks) -> None:
    """All rows from one recording; or from a few, if their cotangents would take much memory."""
    rows = blocks.rows()
    outs = list(zip(blocks.outs, blocks.out_shapes, strict=True))
    a_lane = nbytes(leaves) + 8 * len(rows)
    most = max(1, _LANES_BYTES // max(a_lane, 1))
    for begin in range(0, len(rows), most):
        part = rows[begin : begin + most]
        bars: Bars = [np.zeros((len(part), *s), o.dt) if differentiable(o) else None for o, s in outs]
        for lane, (leaf, place) in enumerate(part):
            bars[leaf][lane].flat[place] = 1.0  # type: ignore[index]
        found = kernel.vjps(leaves, bars, len(part))
        for lane, (leaf, place) in enumerate(part):
            blocks.put_row(leaf, place, [None if b is None else b[lane] for b in found])


def _with_tangents(f: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[_Arguments, Bars]:
    """Arguments and the leaves of their tangents."""
    for name, given in (("args", args), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise StructureError(f"Got {name} as a {type(given).__name__}, but expected a tuple with one item for each argument")
    if len(args) != len(tangents):
        raise StructureError(f"Got {len(tangents)} tangents, but expected one for each of {len(args)} arguments")
    arguments = _Arguments(f, args)
    return arguments, arguments.dots(tangents)


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
