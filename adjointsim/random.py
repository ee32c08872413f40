"""Random numbers for steps, as pure functions of integers: nothing is stored, and a step that is run again draws the same.

    @adj.step
    def diffuse(n, x, p):
        return x + p.drift * p.dt + p.sigma * math.sqrt(p.dt) * adj.random.normal(p.seed, n, 0)

``normal(seed, n, i)`` and ``uniform(seed, n, i)`` are independent of one another and for different arguments, in whatever order
they are asked for; by convention n is the step and i numbers what is drawn in it.  They are called in Python, in steps and in
the functions of a simulation, and in compiled functions, with the same bits everywhere and on every machine.  Their derivative
is 0.

The numbers are those of Philox4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11, 2011, section 3.3),
with the seed as the key and (n, i) as the counter.  Arguments are integers of 64 bits modulo 2^64: negative ones are as good as
others (-1 is the same as 2^64 - 1), and no two of them share a block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import TypingError
from numba.core.types import Integer
from numba.extending import overload

from adjointsim.derive import philox
from adjointsim.derive.verbs import inside
from adjointsim.errors import ArgumentError, StructureError

__all__ = ["as_int64", "normal", "uniform"]


@inside("random.normal")
def normal(seed: Any, n: Any, i: Any) -> Any:
    """A standard normal number, float64, for integers of 64 bits; of integer arrays, broadcast, an array of them.

    By inversion (M. Wichura, "Algorithm AS 241", Applied Statistics 37, 1988) of a probability with 64 bits: relative error below
    1e-15, never 0, and at most 9.2 in absolute value.

    StructureError, inside of steps UnsupportedError at your line, for an argument that is not an integer, a float with an
    integer's value or a bool among them.  ArgumentError for a Python int below -2^63 or from 2^64 on.
    """
    return _drawn(philox.normal, philox.normals, seed, n, i)


@inside("random.uniform")
def uniform(seed: Any, n: Any, i: Any) -> Any:
    """A number between 0 and 1, both excluded, float64: one of the 2^52 numbers (k + 1/2) / 2^52.

    Arguments and errors are those of :func:`normal`.
    """
    return _drawn(philox.uniform, philox.uniforms, seed, n, i)


def _drawn(one: Callable[..., float], many: Callable[..., None], *given: Any) -> Any:
    """``one`` of three integers, or ``many`` of arrays."""
    args = [as_int64(name, x) for name, x in zip(("seed", "n", "i"), given, strict=True)]
    if not any(isinstance(x, np.ndarray) for x in args):
        return one(*args)
    try:
        arrays = np.broadcast_arrays(*args)
    except ValueError:
        shapes = ", ".join(f"{name} of shape {np.shape(x)}" for name, x in zip(("seed", "n", "i"), args, strict=True))
        raise StructureError(f"Got {shapes}, but expected shapes that can be broadcast") from None
    out = np.empty(arrays[0].size)
    many(*(np.ascontiguousarray(x, np.int64).reshape(-1) for x in arrays), out)
    return out.reshape(arrays[0].shape)


def as_int64(name: str, given: Any) -> Any:
    """An integer modulo 2^64 as one of int64, or an int64 array; errors are those of :func:`normal`."""
    if isinstance(given, np.ndarray) and given.dtype.kind in "iu":
        return given.astype(np.int64) if given.ndim else int(given.astype(np.int64))
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, (int, np.integer)):
        what = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else f"a {type(given).__name__}"
        raise StructureError(f"Got {name} as {what}, but expected an integer: numbers are drawn for integers, bit by bit")
    number = int(given)
    if not -(2**63) <= number < 2**64:
        raise ArgumentError(f"Got {name}={number}, but expected an integer of 64 bits: from -2**63 on and below 2**64")
    return number - 2**64 if number >= 2**63 else number


def _compiled(function: Any, own: Any) -> None:
    """Let compiled functions (a custom function's, or any that Numba compiles) call a function."""

    @overload(function, jit_options={"error_model": "numpy"})
    def implementation(seed, n, i):  # type: ignore[no-untyped-def]  # (Numba compares annotations with those of the result)
        for name, given in (("seed", seed), ("n", n), ("i", i)):
            if not isinstance(given, Integer):
                raise TypingError(f"Got {name} as {given} for random.{function.__name__}, but expected an integer")
        return lambda seed, n, i: own(seed, n, i)


_compiled(normal, philox.normal)
_compiled(uniform, philox.uniform)
