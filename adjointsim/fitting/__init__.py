"""Fitting models to data: least squares with exact derivatives and honest statistics; see :func:`fit`.

names, transforms, unknowns  the user's structures and the vector of unknowns
experiment, data             what was measured, beside what a model observes
losses                       what a deviation costs
workers, evaluation          runs models: residuals and their Jacobian
search, refinement           SciPy's optimisers, what happens around them, and the last digits
statistics, report, result   what an optimum is worth
api                          the function
"""

from __future__ import annotations

from adjointsim.fitting.api import fit
from adjointsim.fitting.experiment import Experiment
from adjointsim.fitting.result import FitResult
from adjointsim.fitting.search import Iteration

__all__ = ["Experiment", "FitResult", "Iteration", "fit"]
