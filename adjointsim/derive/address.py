"""Calls of compiled functions by their addresses: what calls them is compiled by itself, and kept on the disk without them.

Numba makes a function that is called a part of what calls it and optimises it there again, which takes seconds for a whole sweep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from numba.core import cgutils
from numba.core import types as nb
from numba.core.errors import TypingError
from numba.core.typing import signature
from numba.extending import intrinsic

__all__ = ["address_of", "called"]


def address_of(function: Any) -> tuple[int, str]:
    """Where the code of a compiled function of one signature is, as long as the function lives, and a mark of its types."""
    (overload,) = function.overloads.values()
    if overload.signature.return_type != nb.int64:
        raise TypeError(f"{function} returns {overload.signature.return_type}, but expected int64")
    found: int = overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name)
    if not found:
        raise LookupError(f"the code of {function} has no address")
    return found, _mark(overload.signature.args)


def _mark(kinds: Sequence[Any]) -> str:
    return hashlib.sha256(", ".join(map(str, kinds)).encode()).hexdigest()[:16]


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def called(context: Any, address: Any, mark: Any, args: Any) -> Any:
    """The int64 that the function at an address returns for a tuple of arguments, of the types that ``mark`` stands for."""
    kinds = tuple(args)
    if not isinstance(mark, nb.StringLiteral) or _mark(kinds) != mark.literal_value:
        raise TypingError(f"a function is called by its address for other types than its own: {kinds}")

    def build(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        pointer = context.call_conv.get_function_type(nb.int64, kinds).as_pointer()
        function = builder.inttoptr(values[0], pointer)
        given = cgutils.unpack_tuple(builder, values[2], len(kinds))
        status, result = context.call_conv.call_function(builder, function, nb.int64, kinds, given)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return result

    return signature(nb.int64, nb.intp, mark, args), build
