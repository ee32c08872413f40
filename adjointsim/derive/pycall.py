"""Python functions called from compiled code, whatever they raise."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["called_from_compiled"]

_held: list[Any] = []  # functions whose addresses are in code


def called_from_compiled(function: Any) -> Any:
    """A Python function for compiled code: it is called with integers, arrays as the addresses of their memory, and what it
    returns is dropped.

    Compiled code takes the arguments as one tuple.  An exception leaves it as one that it raised itself would, and arrives
    unchanged in Python: also a KeyboardInterrupt, which comes where Python code runs, and that may be here alone for long.
    (A callback of ctypes would print it and go on.)  Only from threads of Python's.  The function is told by a symbol, so that
    code on the disk does not depend on its address.
    """
    symbol = f"adjointsim_python_{function.__name__.strip('_')}"
    llvm.add_symbol(symbol, id(function))
    _held.append(function)

    def call(typingctx: Any, arguments: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = []
            for k, kind in enumerate(signature.args[0]):
                value = builder.extract_value(values[0], k)
                if isinstance(kind, types.Array):
                    data = context.make_array(kind)(context, builder, value).data
                    given.append(builder.ptrtoint(data, cgutils.intp_t))
                else:
                    given.append(context.cast(builder, value, kind, types.int64))
            api = context.get_python_api(builder)
            callee = api.get_c_object(symbol)
            gil = api.gil_ensure()
            numbers = [api.long_from_longlong(number) for number in given]
            result = api.call_function_objargs(callee, numbers)
            for made in (*numbers, result):
                api.decref(made)  # (not where it is null)
            api.gil_release(gil)
            with builder.if_then(cgutils.is_null(builder, result), likely=False):
                context.call_conv.return_exc(builder)
            return context.get_dummy_value()

        return types.void(arguments), codegen

    return intrinsic(call)
