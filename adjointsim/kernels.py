"""The deriver as the layers above it see it: the kernel of a function for given structures of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import ScalarSpec, Spec, differentiable, leaves_of
from adjointsim.errors import StructureError
from adjointsim.leaves import Bars, Leaves

if TYPE_CHECKING:
    from adjointsim.derive.api import FunctionKernel

__all__ = ["INDEX", "DoubledScalar", "FlagKernel", "ScalarKernel", "index_leaf", "kernel_of"]

#: the structure of a step number
INDEX = ScalarSpec("i8")


def index_leaf(n: int) -> np.ndarray:
    """A step number as a leaf."""
    return np.full(1, n, np.int64)


def kernel_of(fn: Callable[..., Any], specs: Sequence[Spec], *, role: str, result: Spec | None = None) -> FunctionKernel:
    """The derived kernel of a plain, lambda or @njit function; ``role`` is "step", "cost" or "function".

    There is no cache here: only the deriver knows what a kernel depends on (helpers, types of captured values), and it
    keeps its own.
    """
    plain = plain_function(fn)
    if plain is None:
        raise StructureError(f"Got {fn!r}, but expected a Python function, a lambda or an @njit function")
    from adjointsim.derive import api  # late: it brings Numba, and a hand-written step may never need it

    return api.function_kernel(plain, tuple(specs), result=result, role=role)


class FlagKernel:
    """The kernel of a function that returns True or False; StructureError if it returns anything else."""

    def __init__(self, fn: Callable[..., Any], specs: Sequence[Spec], name: str) -> None:
        self.kernel = kernel_of(fn, specs, role="function")
        if self.kernel.result_spec != ScalarSpec("b1"):
            raise StructureError(f"Got {self.kernel.result_spec} from {name}, but expected a bool: True where the run ends")

    def value(self, leaves: Leaves) -> bool:
        """What it says."""
        return bool(self.kernel.value(leaves)[0][0])


class ScalarKernel:
    """The kernel of a function that returns one floating number; StructureError if it returns anything else."""

    def __init__(self, fn: Callable[..., Any], specs: Sequence[Spec], name: str, role: str = "cost") -> None:
        self.kernel = kernel_of(fn, specs, role=role)
        spec = self.kernel.result_spec
        if not (isinstance(spec, ScalarSpec) and differentiable(spec)):
            hint = ", whose derivative is not zero everywhere" if isinstance(spec, ScalarSpec) else ""
            raise StructureError(f"Got {spec} from {name}, but expected one number: a float{hint}")
        self.dt = spec.dt

    def value(self, leaves: Leaves) -> float:
        """The number, as a float64."""
        return float(self.kernel.value(leaves)[0][0])

    def vjp(self, leaves: Leaves, value_bar: float) -> Bars:
        """``value_bar`` times the derivative: new arrays, None for inert leaves."""
        return self.kernel.vjp(leaves, [np.full(1, value_bar, self.dt)])

    def value_and_vjp(self, leaves: Leaves, value_bar: float) -> tuple[Leaves, Bars]:
        """The number, as the leaf of its structure, and what :meth:`vjp` gives, from one run of the function."""
        return self.kernel.value_and_vjp(leaves, [np.full(1, value_bar, self.dt)])

    def vjp_bytes(self, leaves: Leaves) -> tuple[int, bool]:
        """What :meth:`vjp` allocates, and whether that is exact."""
        return self.kernel.vjp_bytes(leaves)

    def jvp(self, leaves: Leaves, dots: Bars) -> tuple[float, float]:
        """The number and its derivative along ``dots``."""
        value, dot = self.kernel.jvp(leaves, dots)
        return float(value[0][0]), float(dot[0][0])  # type: ignore[index]

    def hvp(self, leaves: Leaves, dots: Bars, value_bar: float) -> tuple[Bars, Bars]:
        """What :meth:`vjp` gives, and its derivative along ``dots``: the product with the Hessian."""
        return self.kernel.hvp(leaves, dots, [np.full(1, value_bar, self.dt)])


class DoubledScalar(ScalarKernel):
    """The same for leaves that carry tangents (see :func:`.leaves.with_dots`), argument by argument: the number is that of
    the leaves alone, cotangents are followed by their tangents."""

    def __init__(self, fn: Callable[..., Any], specs: Sequence[Spec], name: str) -> None:
        super().__init__(fn, specs, name)
        self.groups = [[differentiable(leaf) for leaf in leaves_of(spec)] for spec in specs]

    def _split(self, leaves: Leaves) -> tuple[Leaves, Bars]:
        """The leaves, and their tangents."""
        given, values, dots = iter(leaves), [], []
        for floats in self.groups:
            values += [next(given) for _ in floats]
            dots += [next(given) if on else None for on in floats]
        return values, dots

    def value(self, leaves: Leaves) -> float:
        return super().value(self._split(leaves)[0])

    def vjp(self, leaves: Leaves, value_bar: float) -> Bars:
        bars, dots = map(iter, self.hvp(*self._split(leaves), value_bar))
        out: Bars = []
        for floats in self.groups:
            out += [next(bars) for _ in floats]
            out += [dot for dot in [next(dots) for _ in floats] if dot is not None]
        return out

    def vjp_bytes(self, leaves: Leaves) -> tuple[int, bool]:
        return self.kernel.hvp_bytes(self._split(leaves)[0])
