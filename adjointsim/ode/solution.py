"""What the verbs of an ODE return besides a :class:`.results.Gradient`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adjointsim.results import Solution

__all__ = ["ODESolution"]


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

    @property
    def success(self) -> bool:
        """Whether the end was reached."""
        return self.status >= 0
