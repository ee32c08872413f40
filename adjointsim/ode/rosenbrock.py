"""Rosenbrock methods as text: stiff systems with one factorisation and no iteration a step.

    (I / (h gamma) - J) U_i = f(t + alpha_i h, y + sum_j a_ij U_j) + sum_j (c_ij / h) U_j + h gamma_i f_t
    y_next = y + sum_i m_i U_i

(E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd edition 1996, section IV.7, equation 7.25).  J and f_t come
from tangents of the right-hand side at (t, y).  The way back solves the transposed systems with the same factors, and goes
through J: it takes second derivatives of the right-hand side.
"""

from __future__ import annotations

from .flat import Flat
from .formulas import added, stage_time, weighted
from .norms import Norm
from .tableaus import RosenbrockTableau

__all__ = ["Rosenbrock"]


class Rosenbrock:
    """Writes a Rosenbrock method; the same interface as :class:`.explicit.Explicit`."""

    factorisations = 1  #: of matrices, and as many Jacobians, in an attempt
    last: str | None = None  # the derivative at y_next is not computed

    def __init__(self, tableau: RosenbrockTableau, norm: Norm, flat: Flat) -> None:
        self.tableau, self.norm, self.tree, self.flat = tableau, norm, norm.tree, flat

    @property
    def evaluations(self) -> int:
        """Evaluations of the right-hand side in an attempt, the first and those for J apart."""
        return self.tableau.stages - 1

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        return [f"k1 = rate({begin}, y, {p})", *self._lines(begin, end, p)]

    def attempt(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next`` and the ``norm`` of its error, from k1."""
        t = self.tableau
        return [
            *self._lines(begin, end, p),
            f"error = unpacked({self.flat.vector.of(lambda path: weighted(t.error or (), 'u', path))}, y)",
            *self.norm.lines("norm", lambda path: f"error{path}", "y", "y_next"),
        ]

    def _lines(self, begin: str, end: str, p: str) -> list[str]:
        t, flat = self.tableau, self.flat
        lines = ["v = packed(y)", "first_rate = packed(k1)", f"jac = jacobian({begin}, v, y, {p})",
                 f"change = time_rate({begin}, v, y, {p})", f"matrix = shifted(1.0 / (h * {float(t.gamma)!r}), jac)",
                 f"factors = {flat.factor('matrix')}"]  # fmt: skip
        for i in range(t.stages):
            if i == 0:
                lines.append("f1 = first_rate")
            else:
                at = flat.vector.of(lambda path, i=i: f"v{path}{added(weighted(t.a[i], 'u', path))}")  # type: ignore[misc]
                lines.append(f"f{i + 1} = flat_rate({stage_time(t.alpha[i], begin, end)}, {at}, y, {p})")
            if any(t.c[i]):
                earlier = flat.vector.of(lambda path, i=i: weighted(t.c[i], "u", path))  # type: ignore[misc]
                lines.append(f"earlier = {earlier}")
                if flat.mass:
                    lines.append("earlier = massed(earlier)")
            right = flat.vector.of(lambda path, i=i: self._right(i, path))  # type: ignore[misc]
            lines.append(f"u{i + 1} = {flat.solve('matrix', 'factors', right)}")
        after = flat.vector.of(lambda path: f"v{path}{added(weighted(t.m, 'u', path))}")
        return [*lines, f"v_next = {after}", "y_next = unpacked(v_next, y)"]

    def _right(self, i: int, path: str) -> str:
        t = self.tableau
        text = f"f{i + 1}{path}"
        if any(t.c[i]):
            text += f" + earlier{path} / h"
        if t.gamma_t[i]:
            text += f" + h * ({float(t.gamma_t[i])!r} * change{path})"
        return text
