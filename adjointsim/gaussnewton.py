"""Products with the Gauss-Newton matrix of a model's observations, J^T W J, which is never there as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.results import Gradient

__all__ = ["gauss_newton_product"]


def gauss_newton_product(model: Any, y0: Any, p: Any, y0_dot: Any, p_dot: Any, weights: Any) -> Gradient:
    """J^T W J (y0_dot, p_dot): one run with tangents, whose observations' tangents go back, weighed, under the model's bounds."""
    _, dot = model.jvp(y0, p, y0_dot, p_dot)
    if dot.observations is None:
        raise ArgumentError("Got a model without observe=, but a Gauss-Newton product is one of observations")
    _, pullback = model.vjp(y0, p)
    return pullback(observations_bar=_weighed(dot.observations, weights, "weights"))


def _weighed(dots: Any, weights: Any, path: str) -> Any:
    """The tangents of observations times weights: None, a number for all, or the observations' structure."""
    if dots is None or weights is None:
        return dots
    if isinstance(dots, tuple):
        parts = [weights] * len(dots)
        if isinstance(weights, tuple):
            if len(weights) != len(dots):
                raise StructureError(f"Got {path} of {len(weights)} parts, but expected {len(dots)}, as the observations have")
            parts = [*weights]
        made = [_weighed(dot, part, f"{path}[{k}]") for k, (dot, part) in enumerate(zip(dots, parts, strict=True))]
        return type(dots)._make(made) if hasattr(dots, "_make") else tuple(made)
    try:
        own = np.asarray(weights, np.float64)
        whole = np.broadcast_to(own, np.shape(dots))
    except (TypeError, ValueError):
        shape = getattr(weights, "shape", None) or type(weights).__name__
        expected = f"None, a number, or an array of shape {np.shape(dots)}, as the observations have"
        raise StructureError(f"Got {path} of {shape}, but expected {expected}") from None
    if not np.all(np.isfinite(own)):
        raise ArgumentError(f"Got {path} that are not finite")
    return dots * whole
