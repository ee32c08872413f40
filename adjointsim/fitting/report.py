"""A fit as text, in the manner of lmfit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .result import FitResult

__all__ = ["report"]

_SHOWN = 40  # unknowns
_CORRELATED = 0.1
_PAIRS = 12


def report(result: FitResult) -> str:
    """What ``print`` shows."""
    return "\n".join([*_statistics(result), *_unknowns(result), *_fixed(result), *_correlations(result), *_warnings(result)])


def _statistics(r: FitResult) -> list[str]:
    done = "converged" if r.success else "did not converge"
    lines = [
        "[[Fit statistics]]",
        f"    method {r.method}, {done}: {r.message}",
        f"    {r.nit} iterations, {r.nfev} runs, {r.njev} Jacobians" + (f", {r.n_failed} trials failed" if r.n_failed else ""),
        f"    data points n      {r.n_data:>14}",
        f"    unknowns k         {len(r.names):>14}",
        f"    sum of squares     {r.rss:>14.8g}",
    ]
    if r.chi2 != r.rss:
        lines.append(f"    chi-square         {r.chi2:>14.8g}")
    lines.append(f"    reduced chi-square {r.reduced_chi2:>14.8g}")
    if math.isfinite(r.aic):
        lines += [f"    AIC                {r.aic:>14.8g}", f"    BIC                {r.bic:>14.8g}"]
    return lines


def _unknowns(r: FitResult) -> list[str]:
    lines, wide = ["[[Unknowns]]"], max(len(name) for name in r.names[:_SHOWN])
    for k, (name, error) in enumerate(list(r.errors.items())[:_SHOWN]):
        value = float(r.x[k])
        relative = f"({100.0 * abs(error / value):.2f} %)" if value != 0.0 and math.isfinite(error) else ""
        bound = f"  on its {r.bounds_hit[name]} bound" if name in r.bounds_hit else ""
        start = f"(start {r.unknowns.x0[k]:.6g})"
        lines.append(f"    {name + ':':{wide + 1}} {value:>14.8g} +/- {error:<12.6g} {relative:<11} {start}{bound}".rstrip())
    if len(r.names) > _SHOWN:
        lines.append(f"    .. and {len(r.names) - _SHOWN} more")
    return lines


def _fixed(r: FitResult) -> list[str]:
    fixed = list(r.unknowns.fixed().items())
    if not fixed:
        return []
    lines, wide = ["[[Not fitted]]"], max(len(name) for name, _ in fixed[:_SHOWN])
    for name, value in fixed[:_SHOWN]:
        shown = f"{value:>14.8g}" if np.ndim(value) == 0 else f"array of shape {np.shape(value)}"
        lines.append(f"    {name + ':':{wide + 1}} {shown}")
    return lines


def _correlations(r: FitResult) -> list[str]:
    c = r.correlation
    with np.errstate(invalid="ignore"):
        pairs = [(abs(c[i, j]), i, j) for i, j in np.argwhere(np.abs(np.tril(c, -1)) >= _CORRELATED).tolist()]
    if not pairs:
        return []
    lines = [f"[[Correlations]] (from {_CORRELATED} on)"]
    for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[2], pair[1]))[:_PAIRS]:
        lines.append(f"    C({r.names[j]}, {r.names[i]}) = {c[i, j]:+.4f}")
    return lines + ([f"    .. and {len(pairs) - _PAIRS} more"] if len(pairs) > _PAIRS else [])


def _warnings(r: FitResult) -> list[str]:
    return ["[[Warnings]]", *(f"    {text}" for text in r.warnings)] if r.warnings else []
