"""Dense output: the solution between the ends of the steps, by the continuous extension that was published with the method, or by
the cubic Hermite polynomial (E. Hairer, S. Norsett, G. Wanner, Solving Ordinary Differential Equations I, section II.6).

It is for looking at: no derivative goes through it.  Observations, which have derivatives, are ends of steps.
"""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.spec import ScalarSpec, leaves_of
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.kernels import kernel_of
from adjointsim.leaves import Leaves, flatten, stacked_spec, unflatten
from adjointsim.simulation import Simulation

from .explicit import Explicit
from .rosenbrock import Rosenbrock
from .stochastic import Stochastic

if TYPE_CHECKING:
    from .program import Program
    from .solve import Solve

__all__ = ["DenseOutput", "between_text"]

_F8 = ScalarSpec("f8")


def between_text(program: Program) -> str:
    """The text of ``between(begin, end, h, theta, y, p)``, the state at ``theta`` h after the one at the beginning of a step.

    ArgumentError for a method between whose steps nothing is known.
    """
    method = program.method
    if isinstance(method, Stochastic):
        raise ArgumentError("Got dense_output=True of an SDE, but its path is known at the ends of steps only: take t_eval")
    if isinstance(method, (Explicit, Rosenbrock)) and method.tableau.dense is not None:
        lines = method.between("begin", "end", "p")
    elif getattr(method, "flat", None) is not None and method.flat.mass:  # type: ignore[union-attr]
        name = method.tableau.name
        raise ArgumentError(f'Got dense_output=True, mass= and method={name!r}, but expected "rodas5p": the derivatives that the '
                            "Hermite polynomial takes are unknown where equations are algebraic")  # fmt: skip
    else:
        lines = [*method.step("begin", "end", "p"), "k1 = rate(begin, y, p)", "k2 = rate(end, y_next, p)", *_HERMITE]
        lines.append(f"y_at = {program.tree.of(_hermite)}")
    return "def between(begin, end, h, theta, y, p):\n" + indent("\n".join([*lines, "return y_at"]), "    ")


_HERMITE = (
    "w_next = theta * theta * (3.0 - 2.0 * theta)", "w1 = theta * (1.0 - theta) * (1.0 - theta)",
    "w2 = theta * theta * (theta - 1.0)",
)  # fmt: skip


def _hermite(path: str) -> str:
    return f"y{path} + w_next * (y_next{path} - y{path}) + h * (w1 * k1{path} + w2 * k2{path})"


class DenseOutput:
    """The solution as a function of time, from ``t_min`` to ``t_max``: SciPy's ``sol.sol``, of a solution for which
    ``dense_output=True`` was asked.

    Called with a time, it gives something like y; with a vector of times, the same with an axis for these before the others.
    At a time of a jump or of an event it gives the state after it.  All states between steps are stored: as much as
    ``sol.steps`` has times.

    The order is that of the published extension: 3 for "bosh3", 4 for "tsit5", "dopri5" and "rodas5p", 7 for "dop853"; of the
    others it is 3 at most.  ArgumentError for a time outside of the integration.
    """

    def __init__(self, solve: Solve) -> None:
        program, steps = solve.program, solve.found.steps
        self._kernel = kernel_of(program.between, (_F8, _F8, _F8, _F8, program.spec, program.p_spec), role="function")
        sim = Simulation(program.step, steps.count, observe=program.whole, observe_at=range(steps.count + 1))
        spec = stacked_spec(program.spec)
        self._states = flatten(sim.run(solve.y0, solve.q).observations, spec, "y", copy=True)
        self._spec, self._own = solve.y_spec, len(leaves_of(solve.y_spec))
        self._numbers = [isinstance(leaf, ScalarSpec) for leaf in leaves_of(program.spec)]
        self._p, self._steps, self._sign = [leaf.copy() for leaf in solve.p.leaves], steps, solve.ode.stops.sign
        times = steps.time
        self.t_min, self.t_max = float(min(times[0], times[-1])), float(max(times[0], times[-1]))

    def __call__(self, t: Any) -> Any:
        """The state at a time, or at each of a vector of times."""
        try:
            times = np.asarray(t, dtype=np.float64)
        except (TypeError, ValueError):
            raise StructureError(f"Got t as a {type(t).__name__}, but expected a time or a vector of times") from None
        if times.ndim > 1:
            raise StructureError(f"Got t of shape {times.shape}, but expected a time or a vector of times")
        each = np.atleast_1d(times)
        wrong = np.flatnonzero(~((each >= self.t_min) & (each <= self.t_max)))
        if len(wrong):
            where = f"{self.t_min!r} to {self.t_max!r}, where the solution is"
            raise ArgumentError(f"Got t={float(each[wrong[0]])!r}, but expected times from {where}")
        ends = self._sign * self._steps.time
        found = [self._at(float(x), int(n)) for x, n in zip(each, np.searchsorted(ends, self._sign * each, side="right") - 1)]
        if not times.ndim:
            return unflatten(self._spec, found[0])
        empty = [leaf[:0] for leaf in self._states[: self._own]]
        return unflatten(
            stacked_spec(self._spec),
            [np.concatenate([none, *(one[k][None] if not self._numbers[k] else one[k] for one in found)])
             for k, none in enumerate(empty)],
        )  # fmt: skip

    def _at(self, t: float, n: int) -> Leaves:
        """The leaves of y at a time from the end of step n - 1 on."""
        s = self._steps
        y = [leaf[n : n + 1] if number else leaf[n] for leaf, number in zip(self._states, self._numbers, strict=True)]
        if t == s.time[n]:
            return [leaf.copy() for leaf in y[: self._own]]
        theta = (t - s.time[n]) / (s.time[n + 1] - s.time[n])
        numbers = [np.full(1, x) for x in (s.begin[n], s.end[n], s.length[n], theta)]
        return self._kernel.value([*numbers, *y, *self._p])[: self._own]
