"""What an optimum says of its uncertainty; formulas only, no model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri, stdtrit

__all__ = ["Uncertainty", "combination", "quantile", "uncertainty"]

_UNDETERMINED = 1e-10  # of the largest singular value, columns having the same length


@dataclass(frozen=True)
class Uncertainty:
    """The covariance of k unknowns (k, k), and the directions (as rows) along which nothing changes.

    ``undetermined`` says for each unknown whether it takes part in one of these: then its variance is infinite.
    """

    covariance: np.ndarray
    directions: np.ndarray
    undetermined: np.ndarray
    useless: np.ndarray = field(default_factory=lambda: np.empty(0, bool))  # unknowns that change nothing

    @property
    def stderr(self) -> np.ndarray:
        """The roots of the diagonal."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> np.ndarray:
        """The covariances divided by the standard errors; NaN where one is infinite or 0."""
        s = self.stderr
        good = np.isfinite(s) & (s > 0.0)
        out = np.full_like(self.covariance, np.nan)
        pairs = np.ix_(good, good)
        out[pairs] = self.covariance[pairs] / np.outer(s[good], s[good])
        out[good, good] = 1.0
        return out


def uncertainty(jacobian: np.ndarray, scale: float) -> Uncertainty:
    """``scale`` times the inverse of J^T J, by a singular value decomposition; J is that of the weighted residuals, (n, k).

    Columns are brought to the same length first, which changes nothing where J has full rank (there it is what SciPy's
    ``curve_fit`` returns) and makes the rank independent of units.  Where it has not, unknowns in the null space have infinite
    variances and covariances NaN; the others have theirs, which the null space does not touch.
    """
    k = jacobian.shape[1]
    norm = np.linalg.norm(jacobian, axis=0)
    useless = norm == 0.0
    lengths = np.where(useless, 1.0, norm)
    if len(jacobian) < k:
        jacobian = np.concatenate([jacobian, np.zeros((k - len(jacobian), k))])
    _, values, vt = np.linalg.svd(jacobian / lengths, full_matrices=False)
    bound = max(_UNDETERMINED, np.finfo(float).eps * max(jacobian.shape)) * values[0]
    good = values > bound
    inverse = (vt[good].T / values[good] ** 2) @ vt[good]
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = scale * inverse / np.outer(lengths, lengths)
    null = vt[~good]
    undetermined = np.any(np.abs(null) > 1e-6, axis=0)
    covariance[undetermined, :] = covariance[:, undetermined] = np.nan
    covariance[undetermined, undetermined] = np.inf
    return Uncertainty(covariance, null / lengths, undetermined, useless)


def combination(direction: np.ndarray, x: np.ndarray, names: list[str]) -> str:
    """A direction along which nothing changes in words: relative changes, where x is not 0."""
    relative = np.where(x != 0.0, direction / np.where(x != 0.0, x, 1.0), direction)
    weight = np.abs(relative)
    order = [int(k) for k in np.argsort(-weight, kind="stable") if weight[k] > 1e-6 * weight.max()]
    shown = sorted(order[:6])
    lead = abs(relative[order[0]]) * np.sign(relative[shown[0]])
    parts = []
    for k in shown:
        amount = relative[k] / lead
        parts.append(f"{names[k]} by {amount:+.3g}{' %' if x[k] != 0.0 else ''}")
    return ", ".join(parts) + (", .." if len(order) > 6 else "")


def quantile(level: float, dof: float) -> float:
    """How many standard errors an interval of this level reaches to either side: Student's t, the normal one for infinite dof."""
    tail = 0.5 + 0.5 * level
    return float(ndtri(tail)) if math.isinf(dof) else float(stdtrit(dof, tail)) if dof > 0 else math.nan
