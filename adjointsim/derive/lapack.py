"""LAPACK's factorisations and solutions of one system, dense and banded, callable from compiled code and from Python.

SciPy ships LAPACK; its functions are called by symbols of our own, so that code on the disk does not depend on addresses.
It is all in one file: Numba keeps it on the disk for as long as the file is what it was.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import scipy.linalg.lapack
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import get_cython_function_address, intrinsic, overload
from numba.np.arrayobj import populate_array

from .registry import CustomFunction, Kinds
from .spec import ArraySpec, Spec

__all__ = [
    "INTERNAL", "NOISE", "doubles", "factorise_bands", "getrf", "getrs", "in_double", "remembered", "report", "solve_bands",
]  # fmt: skip

#: njit's options for what compiled code calls, and Python, but nobody by its address
INTERNAL: dict[str, Any] = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def _symbol(name: str) -> str:
    return f"adjointsim_{name}"


for _name in ("dgetrf", "dgetrs", "dgbtrf", "dgbtrs"):  # at once: code on the disk calls them
    llvm.add_symbol(_symbol(_name), get_cython_function_address("scipy.linalg.cython_lapack", _name))


def _external(name: str) -> Any:
    """A function of LAPACK's for compiled code: it takes a tuple of the arguments but the last, and returns that, ``info``.
    Integers go by their addresses, letters, too; arrays as their memory."""
    symbol = _symbol(name)

    def call(typingctx: Any, arguments: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            integer, address = ir.IntType(32), ir.IntType(8).as_pointer()
            given = []
            for k, kind in enumerate(signature.args[0]):
                value = builder.extract_value(values[0], k)
                if isinstance(kind, types.Array):
                    given.append(context.make_array(kind)(context, builder, value).data)
                else:
                    number = context.cast(builder, value, kind, types.int32)
                    given.append(cgutils.alloca_once_value(builder, number))
            info = cgutils.alloca_once_value(builder, integer(0))
            function = ir.FunctionType(ir.VoidType(), [address] * (len(given) + 1))
            called = cgutils.get_or_insert_function(builder.module, function, symbol)
            builder.call(called, [builder.bitcast(x, address) for x in (*given, info)])
            return builder.load(info)

        return types.int32(arguments), codegen

    return intrinsic(call)


_dgbtrf, _dgbtrs = map(_external, ("dgbtrf", "dgbtrs"))


# ------------------------------------------------------------------------------------------- instructions for dense systems
def _called(builder: Any, name: str, *given: Any) -> None:
    """Call a function of LAPACK's; numbers go by their addresses, and what it says of its success is not looked at."""
    address, info = ir.IntType(8).as_pointer(), ir.Constant(ir.IntType(32), 0)
    places = [x if isinstance(x.type, ir.PointerType) else cgutils.alloca_once_value(builder, x) for x in (*given, info)]
    function = ir.FunctionType(ir.VoidType(), [address] * len(places))
    called = cgutils.get_or_insert_function(builder.module, function, _symbol(name))
    builder.call(called, [builder.bitcast(x, address) for x in places])


@intrinsic
def _getrf(typingctx: Any, columns: Any, factors: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given, out = (context.make_array(kind)(context, builder, v) for kind, v in zip(signature.args, values, strict=True))
        n = cgutils.unpack_tuple(builder, given.shape, 2)[0]
        square = builder.mul(n, n)
        cgutils.raw_memcpy(builder, out.data, builder.bitcast(given.data, out.data.type), square, 8)
        size, pivots = builder.trunc(n, ir.IntType(32)), builder.gep(out.data, [square])
        _called(builder, "dgetrf", size, size, out.data, size, pivots)
        return context.get_dummy_value()

    return types.none(columns, factors), codegen


@intrinsic
def _getrs(typingctx: Any, factors: Any, b: Any, transposed: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lu, right, out = (context.make_array(signature.args[k])(context, builder, values[k]) for k in (0, 1, 3))
        (n,) = cgutils.unpack_tuple(builder, out.shape, 1)
        cgutils.raw_memcpy(builder, out.data, right.data, n, 8)
        size, one = builder.trunc(n, ir.IntType(32)), ir.Constant(ir.IntType(32), 1)
        letter = [ir.Constant(ir.IntType(32), ord(name)) for name in "TN"]
        which = builder.icmp_signed("!=", values[2], ir.Constant(values[2].type, 0))
        pivots = builder.gep(lu.data, [builder.mul(n, n)])
        _called(builder, "dgetrs", builder.select(which, *letter), size, one, lu.data, size, pivots, out.data, size)
        return context.get_dummy_value()

    return types.none(factors, b, transposed, x), codegen


def _factors_of(columns, factors):
    n = len(columns)
    lu, pivots, _ = scipy.linalg.lapack.dgetrf(columns.T)
    factors[:n] = lu.T.view(np.int64)
    factors[n:].reshape(-1).view(np.int32)[:n] = pivots + 1


def _solution_of(factors, b, transposed, x):
    n = len(b)
    pivots = factors[n:].reshape(-1).view(np.int32)[:n] - 1
    x[:] = scipy.linalg.lapack.dgetrs(factors[:n].view(np.float64).T, pivots, b, trans=transposed != 0)[0]


def _matrix_of(kinds: Kinds) -> Spec:
    return ArraySpec("i8", 2)


def _vector_of(kinds: Kinds) -> Spec:
    return ArraySpec("f8", 1)


#: the factors of a matrix that is stored by columns (``columns[j, i]`` is A[i, j]), numbers and then pivots, (n + 1, n)
getrf = CustomFunction(_factors_of, lambda columns: (columns.shape[0] + 1, columns.shape[0]), _matrix_of, fills=True, made=_getrf)
#: the solution of a system with such factors
getrs = CustomFunction(_solution_of, lambda factors, b, transposed: b.shape, _vector_of, fills=True, made=_getrs)


@intrinsic
def doubles(typingctx: Any, a: Any) -> Any:
    """The memory of integers of 64 bits as numbers of double precision."""
    assert isinstance(a, types.Array) and a.dtype == types.int64

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = context.make_array(signature.args[0])(context, builder, values[0])
        made = context.make_array(signature.return_type)(context, builder)
        data = builder.bitcast(given.data, context.get_data_type(types.float64).as_pointer())
        parts = {name: getattr(given, name) for name in ("shape", "strides", "itemsize", "meminfo", "parent")}
        populate_array(made, data=data, **parts)
        return impl_ret_borrowed(context, builder, signature.return_type, made._getvalue())

    return types.Array(types.float64, a.ndim, a.layout, readonly=not a.mutable)(a), codegen


#: units of rounding below which a pivot is none
NOISE = 16 * np.finfo(float).eps

#: bands of up to this many diagonals besides the main one are solved by loops: a call of LAPACK costs more than their arithmetic
NARROW = 8


@njit(**INTERNAL)
def dgbtrf(lower, upper, lu, factors):
    """Factorise in place a banded matrix, ``lu[j, lower + upper + i - j]`` being A[i, j]; returns LAPACK's info.

    What pivoting brings, in the first ``lower`` numbers of a column, is 0 before.  ``factors`` are the integers of the same
    memory, whose last column holds the pivots.
    """
    if lower + upper <= NARROW:
        return _narrow_factors(lower, lower + upper, lu, factors)
    n, rows = lu.shape
    pivots = np.empty(n, np.int32)
    info = _dgbtrf((n, n, lower, upper, lu, rows, pivots))
    for k in range(n):
        factors[k, rows - 1] = pivots[k]
    return info


@njit(**INTERNAL)
def dgbtrs(transposed, lower, upper, lu, factors, x):
    """Solve in place with what :func:`dgbtrf` left, or with the transposed matrix."""
    if lower + upper <= NARROW:
        return _narrow_solution(transposed, lower, lower + upper, lu, factors, x)
    n, rows = lu.shape
    pivots = np.empty(n, np.int32)
    for k in range(n):
        pivots[k] = factors[k, rows - 1]
    _dgbtrs((_letter(transposed), n, lower, upper, 1, lu, rows, pivots, x, n))


@njit(**INTERNAL)
def _letter(transposed):
    return 84 if transposed else 78  # T, N


@njit(**INTERNAL)
def _narrow_factors(lower, d, lu, factors):
    """Gaussian elimination with partial pivoting; place d of a column is the diagonal."""
    n, place = len(lu), lu.shape[1] - 1
    info = np.int32(0)
    last = 0  # the last column in which a row so far has numbers
    for k in range(n):
        below = min(lower, n - 1 - k)
        p = 0
        for m in range(1, below + 1):
            if abs(lu[k, d + m]) > abs(lu[k, d + p]):
                p = m
        factors[k, place] = k + p
        pivot = lu[k, d + p]
        if pivot == 0.0:
            info = np.int32(k + 1) if info == 0 else info
            continue
        last = max(last, min(k + d - lower + p, n - 1))
        if p:
            for j in range(k, last + 1):
                at = d + k - j
                lu[j, at], lu[j, at + p] = lu[j, at + p], lu[j, at]
        for m in range(1, below + 1):
            lu[k, d + m] /= pivot
        for j in range(k + 1, last + 1):
            at = d + k - j
            for m in range(1, below + 1):
                lu[j, at + m] -= lu[k, d + m] * lu[j, at]
    return info


@njit(**INTERNAL)
def ready(lower, upper, lu):
    """Make what :func:`dgbtrf` left of a regular matrix ready for :func:`dgbtrs`.

    Of narrow bands, U becomes D U with ones on the diagonal of U, and D its inverse: a division a row, each of which waits for
    the one before, would take half of the time of a solution.
    """
    if lower + upper > NARROW:
        return
    n, d = len(lu), lower + upper
    for k in range(n):
        lu[k, d] = 1.0 / lu[k, d]
    for j in range(n):
        for i in range(max(0, j - d), j):
            lu[j, d + i - j] *= lu[i, d]


@njit(**INTERNAL)
def _narrow_solution(transposed, lower, d, lu, factors, x):
    n, place = len(x), lu.shape[1] - 1
    if transposed:
        for k in range(n):
            total = x[k]
            for j in range(max(0, k - d), k):
                total -= lu[k, d + j - k] * x[j]
            x[k] = total
        for k in range(n):
            x[k] *= lu[k, d]
        for k in range(n - 1, -1, -1):
            total = x[k]
            for m in range(1, min(lower, n - 1 - k) + 1):
                total -= lu[k, d + m] * x[k + m]
            p = factors[k, place]
            x[k] = x[p]
            x[p] = total
    else:
        for k in range(n):
            p = factors[k, place]
            value = x[p]
            x[p] = x[k]
            x[k] = value
            for m in range(1, min(lower, n - 1 - k) + 1):
                x[k + m] -= lu[k, d + m] * value
        for k in range(n):
            x[k] *= lu[k, d]
        for k in range(n - 1, -1, -1):
            value = x[k]
            for j in range(max(0, k - d), k):
                x[j] -= lu[k, d + j - k] * value


def in_double(x):
    """The array, or one of its length for numbers of double precision."""
    return x if x.dtype == np.float64 else np.empty(len(x))


@overload(in_double, inline="always")
def _compiled_in_double(x):
    if x.dtype == types.float64:
        return lambda x: x
    return lambda x: np.empty(len(x))


# -------------------------------------------------------------------------------------------------- factors and solutions
@njit(**INTERNAL)
def factorise_bands(bands, lower, factors):
    """Write the factors, (n, 2 lower + upper + 2).  Whether the matrix is regular."""
    rows, n = bands.shape
    upper = rows - 1 - lower
    if lower < 0 or upper < 0:
        raise ValueError("a banded matrix needs rows for all diagonals: lower + 1 + upper")
    if n == 0:
        return True
    lu = doubles(factors)
    for j in range(n):
        for k in range(lower):  # room for what pivoting brings
            lu[j, k] = 0.0
        for k in range(rows):
            lu[j, lower + k] = bands[k, j] if 0 <= j + k - upper < n else 0.0
    regular = dgbtrf(lower, upper, lu, factors) == 0
    for j in range(n):
        largest = 0.0
        for k in range(max(0, upper - j), min(rows, upper - j + n)):
            largest = max(largest, abs(bands[k, j]))
        regular = regular and abs(lu[j, lower + upper]) > NOISE * largest  # not if NaN
    if regular:
        ready(lower, upper, lu)
    return regular


@njit(**INTERNAL)
def solve_bands(factors, b, lower, transposed, x):
    """Write the solution for factors of a regular matrix."""
    n = len(b)
    if len(factors) != n:
        raise ValueError("the right side of a system must be as long as its matrix")
    work = in_double(x)
    for k in range(n):
        work[k] = b[k]
    if n:
        dgbtrs(transposed, lower, factors.shape[1] - 2 - 2 * lower, doubles(factors), factors, work)
    for k in range(n):
        x[k] = work[k]


# ------------------------------------------------------------------------------------------------- a word to who called it
_said = threading.local()


def remembered() -> tuple[int, float, np.ndarray]:
    """What code that this thread ran last gave to :func:`remember`."""
    return getattr(_said, "it", (0, float("nan"), np.zeros(0)))


def remember(code, number, numbers):
    """Keep, for the thread that runs this, why it is going to give up; returns ``code``."""
    _said.it = int(code), float(number), np.array(numbers)
    return code


@ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_int64)
def _keep(code: int, number: float, numbers: Any, count: int) -> None:
    remember(code, number, [numbers[k] for k in range(count)])


llvm.add_symbol("adjointsim_remember", ctypes.cast(_keep, ctypes.c_void_p).value)


@intrinsic
def _report(typingctx: Any, state: Any, size: Any, updates: Any, out: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given, said = (context.make_array(signature.args[k])(context, builder, values[k]) for k in (2, 3))
        (n,) = cgutils.unpack_tuple(builder, given.shape, 1)
        kinds = [v.type for v in (values[0], values[1], given.data, n)]
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), "adjointsim_remember")
        builder.call(function, [values[0], values[1], given.data, n])
        builder.store(values[0], said.data)
        return context.get_dummy_value()

    return types.none(state, size, updates, out), codegen


def _reported(state, size, updates, out):
    out[0] = remember(state, size, updates)


#: an array of the ``state`` alone, with which the code that calls it is going to give up; :func:`remembered` has the reasons
report = CustomFunction(
    _reported, lambda state, size, updates: (1,), lambda kinds: ArraySpec("i8", 1), fills=True, made=_report
)  # fmt: skip
