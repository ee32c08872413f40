"""A fit as an ``xarray.Dataset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.spec import leaf_specs
from adjointsim.errors import MissingExtraError
from adjointsim.ode import ODE

from .names import leaf_items

if TYPE_CHECKING:
    from .result import FitResult

__all__ = ["dataset"]

_ATTRIBUTES = (
    "rss", "chi2", "reduced_chi2", "n_data", "dof", "log_likelihood", "aic", "bic", "method", "success", "status", "message",
    "nfev", "njev", "nit", "n_failed",
)  # fmt: skip


def dataset(result: FitResult) -> Any:
    """See :meth:`.FitResult.to_xarray`."""
    try:
        import xarray
    except ImportError:
        raise MissingExtraError("xarray", "xarray") from None
    variables: dict[str, Any] = {
        "value": ("unknown", result.x),
        "stderr": ("unknown", np.sqrt(np.diag(result.covariance))),
        "start": ("unknown", result.unknowns.x0),
        "active_mask": ("unknown", result.active_mask),
        "covariance": (("unknown", "unknown_"), result.covariance),
        "correlation": (("unknown", "unknown_"), result.correlation),
    }
    coordinates: dict[str, Any] = {"unknown": list(result.names), "unknown_": list(result.names)}
    several, first = len(result.measured) > 1, 0
    for start, own, experiment in zip(result.unknowns.starts, result.measured, result.problem.experiments, strict=True):
        at = f"@{start.name}" if several else ""
        m = result.model_values[first : first + own.n]
        first += own.n
        model = experiment.model
        time = f"{'t' if isinstance(model, ODE) else 'step'}{at}"
        coordinates[time] = np.asarray(model.t_eval if isinstance(model, ODE) else model.observe_at)[: own.form.shapes[0][0]]
        for what, numbers in (("data", own.data), ("fitted", m), ("residual", own.data - m)):
            for (path, _), leaf in zip(leaf_specs(own.form.spec), leaf_items(own.unpacked(numbers), own.form.spec), strict=True):
                if leaf is not None:
                    axes = [f"channel{path}{at}_{k}" for k in range(1, leaf.ndim)]
                    variables[f"{what}{path}{at}"] = ((time, *axes), leaf)
    return xarray.Dataset(variables, coordinates, {name: _plain(getattr(result, name)) for name in _ATTRIBUTES})


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value  # files of netCDF have no bools
