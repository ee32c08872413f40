"""Stochastic differential equations: an ODE whose steps draw noise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.random import as_int64

from .ode import ODE
from .stochastic import find_stochastic

__all__ = ["SDE"]


class SDE(ODE):
    """The initial value problem dy = drift(t, y, p) dt + diffusion(t, y, p) dW, y(t0) = y0, with one path of noise a number of y.

    The value, the verbs and all arguments that are not named here are those of :class:`ODE`.  Derivatives are *pathwise*: those
    of the map that the steps define for fixed noise, to rounding.

    drift, diffusion: each returns something like y; component k has the noise ``diffusion_k dW_k`` (0 where there is none), and
                the W_k are independent.
    t_eval:     increasing times.
    dt:         the size of a step, shortened to a whole number of them between two times of ``t_eval``.
    seed:       an integer that names the path: in step n the increment of the k-th number of y (leaf by leaf, each in row-major
                order) is ``sqrt(h) * adj.random.normal(seed, n, k)``.  Nothing of the path is stored.
    method:     "euler_maruyama", strong order 1/2, and "milstein", strong order 1, for Ito's integral; "heun", strong order 1,
                for that of Stratonovich.  Order 1 takes diffusions whose component k depends on t and component k alone.
    running:    integrated by the method's rule for the drift: left values, with "heun" the trapezoidal rule.

    Raises ArgumentError and StructureError for arguments that make no problem.
    """

    _find = staticmethod(find_stochastic)  # type: ignore[assignment]

    def __init__(
        self,
        drift: Callable[..., Any],
        diffusion: Callable[..., Any],
        t_eval: Any,
        *,
        dt: float,
        seed: int,
        t0: float | None = None,
        method: str = "euler_maruyama",
        terminal: Callable[..., Any] | None = None,
        running: Callable[..., Any] | None = None,
        observe: Callable[..., Any] | None = None,
        misfit: Callable[..., Any] | None = None,
        max_steps: int | None = None,
        memory: int | float | str | None = None,
        checkpoints: int | None = None,
        directory: Any = None,
        progress: bool | Callable[[int, int], object] = False,
    ) -> None:
        for name, function in (("drift", drift), ("diffusion", diffusion)):
            if not callable(function):
                raise StructureError(f"Got {name} as a {type(function).__name__}, but expected a function {name}(t, y, p)")
        super().__init__(
            drift, t_eval, t0=t0, method=method, dt=dt, terminal=terminal, running=running, observe=observe, misfit=misfit,
            max_steps=max_steps, memory=memory, checkpoints=checkpoints, directory=directory,
            progress=progress,
        )  # fmt: skip
        if self.knots.sign < 0.0:
            raise ArgumentError(
                f"Got t_eval from {self.t0!r} down to {float(self.t_eval[-1])!r}, but an SDE goes forward: expected rising times"
            )
        self.functions.diffusion = diffusion
        self.seed = _seed(seed)

    def with_seed(self, seed: int) -> SDE:
        """The same problem on another path; what was compiled is shared."""
        other = copy.copy(self)
        other.seed = _seed(seed)
        return other


def _seed(given: Any) -> int:
    seed = as_int64("seed", given)
    if isinstance(seed, np.ndarray):
        raise StructureError(
            f"Got seed as an array of shape {seed.shape}, but expected an integer: one path at a time, see SDE.with_seed"
        )
    return int(seed)
