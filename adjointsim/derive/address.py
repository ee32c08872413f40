"""Calls of compiled functions by their addresses: what calls them is compiled by itself, and kept on the disk without them.

Numba makes a function that is called a part of what calls it, and optimises it again there, which for a whole sweep takes seconds.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils
from numba.core import types as nb
from numba.core.typing import signature
from numba.extending import intrinsic

__all__ = ["address_of", "called"]


def address_of(function: Any, like: tuple[Any, ...]) -> int:
    """Where the code of a compiled function is, for the types ``like``; as long as the function lives."""
    overload = function.overloads[like]
    found: int = overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name)
    if not found:
        raise LookupError(f"the code of {function} has no address")
    return found


@intrinsic  # type: ignore[untyped-decorator]
def called(context: Any, address: Any, args: Any) -> Any:
    """The int64 that the function at an address returns for a tuple of arguments, whose types must be those of its own."""

    def build(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        kinds = tuple(sig.args[1])
        pointer = context.call_conv.get_function_type(nb.int64, kinds).as_pointer()
        function = builder.inttoptr(values[0], pointer)
        status, result = context.call_conv.call_function(
            builder, function, nb.int64, kinds, cgutils.unpack_tuple(builder, values[1], len(kinds))
        )
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return result

    return signature(nb.int64, nb.intp, args), build
