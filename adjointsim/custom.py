"""Functions with derivative rules of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adjointsim.derive.registry import CustomFunction

__all__ = ["custom_vjp"]


def custom_vjp(function: Any = None, *, shape: Callable[..., Any] | None = None) -> Any:
    """Decorate a function that is called inside steps and that the library shall not look into: it is compiled and run as it
    is, and its derivative is what :meth:`~CustomFunction.defvjp` and :meth:`~CustomFunction.defjvp` say.

        @adj.custom_vjp
        def solve(a, b):
            return np.linalg.solve(a, b)

        @solve.defvjp
        def solve_vjp(x, x_bar, a, b):
            w = np.linalg.solve(a.T, x_bar)
            return -np.outer(w, x), w

        @solve.defjvp  # optional: for jvp and hvp
        def solve_jvp(x, args, args_dot):
            a, b = args
            a_dot, b_dot = args_dot
            return np.linalg.solve(a, b_dot - a_dot @ x)

    Arguments and results are numbers, arrays and tuples of these; an array is contiguous where the function receives it,
    whatever view was passed.  Memory for a result is made before the call: an array has the shape of the first argument of
    the same rank, or what ``shape(*args)`` returns (a tuple of ints, or a tuple of such for several results); a result of
    another shape is a ValueError.  Neither the function nor its rules may write their arguments, and a value that they use
    from outside must not change: pass it as an argument.  A rule in the accepted language is derived itself where a second
    derivative asks for it; any other rule is compiled as it is and has no derivative.

    Raises StructureError for what is no function, and for a rule with the wrong number of arguments.
    """
    if function is None:
        return lambda f: CustomFunction(f, shape)
    return CustomFunction(function, shape)
