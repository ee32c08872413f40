"""ODE solves with exact discrete gradients; see :class:`ODE`.

    tableaus/         methods as data
    trees, norms      formulas written out for states of any structure
    explicit, ..      a method as the text of a step
    control           the choice of step sizes, as text
    times             the times to step onto, and the steps between them
    program           the functions that are generated for a structure of y and p
    integration       runs the choice of step sizes
    solve             one call of a verb: steps, simulation, words
    ode               the verbs
    stochastic, sde   the same for stochastic equations
"""

from __future__ import annotations

from adjointsim.ode.ode import ODE, Event, Jump
from adjointsim.ode.sde import SDE
from adjointsim.ode.solution import ODESolution

__all__ = ["ODE", "SDE", "Event", "Jump", "ODESolution"]
