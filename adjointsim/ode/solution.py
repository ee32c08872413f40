"""What the verbs of an ODE return besides a :class:`.results.Gradient`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adjointsim.results import Gradient, Solution

__all__ = ["ODEGradient", "ODESolution"]


@dataclass(frozen=True)
class ODESolution(Solution):
    """A solution: the last state ``y``, the ``value`` (None without a cost), and ``observations``, one row for each of ``t``.

    ``t``:      the times of the observations, float64 of shape (m,).
    ``nfev``:   evaluations of the right-hand side when the steps were found, ``njev`` of its Jacobian, ``nlu`` factorisations (of
                implicit methods with ``dt=``, which iterate until rounding, those that they take at least).
    ``status``: 0 at the end of ``t_eval``, 1 if a terminal event stopped the integration, -1 if it failed; ``message`` says it in
                words, and ``success`` is ``status >= 0``.
    ``events``: for each of the problem's events the times at which it happened (SciPy's ``t_events``).
    ``steps``:  the times between which the accepted steps went, float64 of shape (n_steps + 1,); twice the same where a jump was.
    ``sol``:    the solution as a function of time, a :class:`.dense_output.DenseOutput`, if ``dense_output=True`` was asked of
                ``run``, else None.
    ``stats``:  the numbers of ``accepted`` and ``rejected`` steps, and the above counts.

    The names are those of SciPy's ``solve_ivp``, whose ``y`` is here ``observations.T`` if the state is one vector and nothing
    else is observed: only what is observed is stored.
    """

    t: np.ndarray = field(default_factory=lambda: np.empty(0))
    nfev: int = 0
    njev: int = 0
    nlu: int = 0
    status: int = 0
    message: str = ""
    stats: dict[str, Any] = field(default_factory=dict)
    events: tuple[np.ndarray, ...] = ()
    steps: np.ndarray = field(default_factory=lambda: np.empty(0))
    sol: Any = field(default=None, repr=False)

    @property
    def success(self) -> bool:
        """Whether the end was reached."""
        return self.status >= 0


@dataclass(frozen=True)
class ODEGradient(Gradient):
    """A gradient, and the derivatives with respect to times that ``wrt`` names, else None: "t0", a float; "t_eval", an array like
    it; "jumps", an array like the times of each jump.

    Step sizes are constants, but for the last step before each time, which goes as far as that is, and with ``dt=``, where
    all between two times are equal.  Where t0 is the first of t_eval, they are one time.
    """

    t0: float | None = None
    t_eval: np.ndarray | None = None
    jumps: tuple[np.ndarray, ...] | None = None
