"""The bits of numbers as integers, which have no derivatives, and back; see :mod:`.factored`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

__all__ = ["bits", "number"]


def bits(x: float) -> int:
    """The bits of a number of double precision."""
    return int(np.float64(x).view(np.int64))


def number(i: int) -> float:
    """The number of double precision that has these bits."""
    return float(np.int64(i).view(np.float64))


def _reinterpreted(given: Any, wanted: Any) -> Any:
    @intrinsic
    def reinterpret(typingctx: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], context.get_value_type(wanted))

        return wanted(given), codegen

    return reinterpret


_bits, _number = _reinterpreted(types.float64, types.int64), _reinterpreted(types.int64, types.float64)


@overload(bits)
def _compiled_bits(x):
    return (lambda x: _bits(x)) if x == types.float64 else None


@overload(number)
def _compiled_number(i):
    return (lambda i: _number(i)) if i == types.int64 else None
