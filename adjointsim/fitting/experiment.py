"""One data set with the model that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.ode import ODE
from adjointsim.simulation import Simulation

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """Data that a model explains: one of several that are fitted together.

    ``model``: a :class:`.Simulation` with ``observe=``, or an :class:`.ODE`.
    ``data``:  what was observed, in the shape of the model's observations; NaN where it is missing.  Observations that are a
               NamedTuple or tuple may be given as such (None: not measured), as a dict of what was measured, or, if they are
               numbers, as an array (m, c) with a column for each.
    ``y0``:    the initial state, or a function of p.
    ``sigma``: standard deviations: a number, an array like data, or one for each channel; None if they are not known.
    ``p``:     values of p that belong to this experiment, by name: constants, and starts of what ``local=`` names.
    ``name``:  what it is called in names of unknowns, "k@name", and in errors; by default its number from 0.

    Raises StructureError for a model that is none, ArgumentError for one that observes nothing or something twice.
    """

    model: Any
    data: Any
    y0: Any = None
    sigma: Any = None
    p: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, (Simulation, ODE)):
            kind = type(self.model).__name__
            raise StructureError(f"Got model as a {kind}, but expected an adjointsim.Simulation or an adjointsim.ODE")
        if isinstance(self.model, Simulation):
            if self.model.observe is None:
                raise ArgumentError("Got a simulation without observe=, but data are compared with observations")
            twice = np.flatnonzero(np.diff(self.model.observe_at) == 0)
            if len(twice):
                k, n = int(twice[0]), int(self.model.observe_at[twice[0]])
                raise ArgumentError(
                    f"Got observe_at[{k}] and observe_at[{k + 1}] both at step {n}, but expected each step once: repeated "
                    "measurements are Experiments of their own, or their mean with a smaller sigma"
                )
        if self.y0 is None:
            raise ArgumentError("Got no y0=, but a model starts from an initial state: a value like it, or a function of p")
        if self.p is None:
            object.__setattr__(self, "p", {})
        if not isinstance(self.p, Mapping):
            raise StructureError(f"Got p of an experiment as a {type(self.p).__name__}, but expected a dict of names and values")
        if self.name is not None and (not isinstance(self.name, str) or "@" in self.name):
            raise ArgumentError(f"Got name={self.name!r} of an experiment, but expected a text without '@'")
