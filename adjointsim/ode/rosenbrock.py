"""Rosenbrock methods as text: stiff systems with one factorisation and no iteration a step.

    (I - h gamma J) U_i = h gamma (f(t + alpha_i h, y + sum_j a_ij U_j) + h gamma_i f_t) + gamma sum_j c_ij U_j
    y_next = y + sum_i m_i U_i

(E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd edition 1996, section IV.7, equation 7.25, times h gamma: a
step may have no length, from an event to a time that it happens at).  J and f_t come from tangents of the right-hand side at
(t, y).  The way back solves the transposed systems with the same factors, and goes through J: it takes second derivatives of the
right-hand side.
"""

from __future__ import annotations

import numpy as np

from .flat import Flat
from .formulas import lower_triangle, polynomial, stage_times, summed_text
from .norms import Norm
from .tableaus import RosenbrockTableau

__all__ = ["Rosenbrock"]


class Rosenbrock:
    """Writes a Rosenbrock method; the same interface as :class:`.explicit.Explicit`.

    The stages are turns of a loop that reads the coefficients from tables: written out, the right-hand side and the solution of
    its system would be compiled eight times over, in each function in which the step is.
    """

    factorisations = 1  #: of matrices, and as many Jacobians, in an attempt
    exact = True
    last: str | None = None  # the derivative at y_next is not computed
    notes: tuple[str, ...] = ()  # nothing is marked as worth keeping

    def __init__(self, tableau: RosenbrockTableau, norm: Norm, flat: Flat) -> None:
        self.tableau, self.norm, self.tree, self.flat = tableau, norm, norm.tree, flat
        t = tableau
        flat.tree.namespace.update(
            stage_a=lower_triangle(t.a), stage_c=lower_triangle(t.c), stage_drift=np.array(t.gamma_t, float),
            stage_weights=np.array(t.m, float), stage_errors=np.array(t.error or (), float), **stage_times(t.alpha),
        )  # fmt: skip

    @property
    def evaluations(self) -> int:
        """Evaluations of the right-hand side in an attempt, the first and those for J apart."""
        return self.tableau.stages - 1

    def text(self) -> str:
        """Functions that the lines call."""
        return summed_text(self.flat.count)

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        return self._lines(begin, end, p, None)

    def attempt(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next`` and the ``norm`` of its error, from k1."""
        return [
            *self._lines(begin, end, p, "packed(k1)"),
            f"error = unpacked(summed(stage_errors, u, {self.tableau.stages}), y)",
            *self.norm.lines("norm", lambda path: f"error{path}", "y", "y_next"),
        ]

    def between(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_at`` at ``theta`` by the published continuous extension."""
        t = self.tableau
        assert t.dense is not None
        weights = ", ".join(map(polynomial, t.dense.coefficients))
        at = self.flat.vector.of(lambda path: f"v{path} + moved{path}")
        return [
            *self._lines(begin, end, p, None), f"moved = summed(np.array([{weights}]), u, {t.stages})", f"v_at = {at}",
            "y_at = unpacked(v_at, y)",
        ]  # fmt: skip

    def _lines(self, begin: str, end: str, p: str, known: str | None) -> list[str]:
        """``known``: the derivative at the beginning, if it is there already."""
        t, flat = self.tableau, self.flat
        of = flat.vector.of
        gamma = float(t.gamma)
        right = of(lambda path: f"w * (f{path} + h * (stage_drift[i] * change{path})) + {gamma!r} * earlier{path}")
        at = of(lambda path: f"v{path} + moved{path}")
        rate = f"f = flat_rate(moment, at_stage[i], y, {p})"
        stage = [f"moment = {end} if stage_ends[i] else {begin} + stage_times[i] * h"]
        found = ["moved = summed(stage_a[i], u, i)", f"at_stage[i] = {at}", rate]
        stage += found if known is None else [f"f = {known}", "if i > 0:", *(f"    {line}" for line in found)]
        stage += ["earlier = summed(stage_c[i], u, i)", *(["earlier = massed(earlier)"] if flat.mass else [])]
        stage += [f"u[i] = {flat.matrices.solve('matrix', 'factors', right)}"]
        after = of(lambda path: f"v{path} + moved{path}")
        return [
            "v = packed(y)", f"w = h * {gamma!r}", f"change = time_rate({begin}, v, y, {p})",
            f"matrix = shifted(1.0, w * jacobian({begin}, v, y, {p}))", f"factors = {flat.matrices.factor('matrix')}",
            f"u = np.zeros(({t.stages}, {flat.count or 'len(v)'}))", "at_stage = np.zeros_like(u)",
            f"for i in range({t.stages}):", *(f"    {line}" for line in stage),
            f"moved = summed(stage_weights, u, {t.stages})", f"v_next = {after}", "y_next = unpacked(v_next, y)",
        ]  # fmt: skip
