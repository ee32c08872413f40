"""Pictures of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.spec import leaf_specs
from adjointsim.errors import MissingExtraError, StructureError
from adjointsim.forms import read
from adjointsim.ode import ODE

from .names import leaf_items
from .prediction import place_of, predict

if TYPE_CHECKING:
    from .repeats import Profile
    from .result import FitResult

__all__ = ["draw", "draw_correlation", "draw_profile"]

_MOST = 12  # channels


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    return pyplot.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def draw(result: FitResult, model: Any, experiment: int | str, level: float, ax: Any) -> Any:
    """Data, the model and its band."""
    ax = _axes(ax, (7.0, 4.0))
    e = place_of(result, experiment)
    own = result.problem.experiments[e].model
    found = predict(result, model, e, level)
    curve_x, data_x = (_times(m) for m in (own if model is None else model, own))
    data = result.measured[e]
    for k, (name, values) in enumerate(_channels(data.spread(data.data), data.form.spec, data.packed)):
        if k == _MOST:
            break
        colour = f"C{k % 10}"
        ax.plot(data_x, values, "o", color=colour, markersize=4.0, label=f"{name} measured".strip())
    bands = [dict(_channels(part, read(part, "part")[0].spec, False)) for part in (found.observations, found.low, found.high)]
    for k, (name, values) in enumerate(list(bands[0].items())[:_MOST]):
        colour = f"C{k % 10}"
        ax.plot(curve_x, values, color=colour, label=f"{name} model".strip())
        if name in bands[1]:
            ax.fill_between(curve_x, bands[1][name], bands[2][name], color=colour, alpha=0.25, linewidth=0.0)
    ax.set_xlabel("t" if isinstance(own, ODE) else "step n")
    ax.legend()
    return ax


def _times(model: Any) -> np.ndarray:
    return np.asarray(model.t_eval if isinstance(model, ODE) else model.observe_at)


def _channels(value: Any, spec: Any, packed: bool) -> list[tuple[str, np.ndarray]]:
    """Name and values of each number observed at each time."""
    names = [path.lstrip(".") for path, _ in leaf_specs(spec)]
    if packed and isinstance(value, np.ndarray):
        return list(zip(names, value.T, strict=True))
    out = []
    for name, leaf in zip(names, leaf_items(value, spec), strict=True):
        if leaf is None:
            continue
        if np.ndim(leaf) > 2:
            raise StructureError(f"Got observations of {np.ndim(leaf) - 1} axes, but expected numbers or vectors to draw")
        if np.ndim(leaf) == 1:
            out.append((name, leaf))
        else:
            out += [(f"{name}[{k}]", column) for k, column in enumerate(leaf.T)]
    return out


def draw_correlation(result: FitResult, ax: Any) -> Any:
    """The correlations as a coloured square."""
    ax = _axes(ax, (5.0, 4.2))
    picture = ax.imshow(result.correlation, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
    ticks = np.arange(len(result.names))
    ax.set_xticks(ticks, result.names, rotation=90)
    ax.set_yticks(ticks, result.names)
    ax.figure.colorbar(picture, ax=ax, label="correlation")
    return ax


def draw_profile(found: Profile, ax: Any) -> Any:
    """The signed root over the values, and the interval."""
    ax = _axes(ax, (5.0, 3.5))
    ax.plot(found.values, found.tau, ".-")
    for end in found.interval:
        if np.isfinite(end):
            ax.axvline(end, color="grey", linestyle="--", linewidth=0.8)
    ax.axhline(0.0, color="grey", linewidth=0.5)
    ax.set_xlabel(found.name)
    ax.set_ylabel("signed root of the cost's rise")
    ax.set_title(f"{100.0 * found.level:g} %: {found.interval[0]:.5g} to {found.interval[1]:.5g}")
    return ax
