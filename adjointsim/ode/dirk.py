"""Diagonally implicit Runge-Kutta methods as text.

    Y_i = y + sum_{j < i} (a_ij / gamma) z_j + z_i,    z_i = h gamma f(t + c_i h, Y_i),    y_next = y + sum_i (b_i / gamma) z_i

(E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd edition 1996, section IV.6; C. Kennedy, M. Carpenter,
"Diagonally implicit Runge-Kutta methods for ordinary differential equations", NASA/TM-2016-219173).

In a step each stage is an ``adj.root``, found to rounding and differentiated by the implicit function theorem.  Where step sizes
are chosen, stages are found by a simplified Newton method with one factorisation an attempt (section IV.8), to a hundredth of
what the error may be; a stage that does not converge rejects the attempt.
"""

from __future__ import annotations

import numpy as np

from .flat import Flat
from .formulas import lower_triangle, stage_times, summed_text
from .norms import Norm
from .tableaus import DirkTableau

__all__ = ["Dirk"]

#: the simplified Newton iteration, in place: whether the stage was found
_FOUND = """
def found(x, t, base, weight, matrix, factors, y, c):
    size = 0.0
    before = 0.0
    good = False
    for iteration in range(8):
        r = stage(x, t, base, weight, y, c.p)
        dx = {solution}
{moved}
        change = unpacked(dx, y)
{norm}
        rate_of_change = size / before if before > 0.0 else 0.5
        if not size < 1e300 or (iteration > 0 and rate_of_change >= 1.0):
            break
        if size == 0.0 or (rate_of_change < 1.0 and size * rate_of_change / (1.0 - rate_of_change) < 0.01):
            good = True
            break
        before = size
    return good
"""


class Dirk:
    """Writes a diagonally implicit method; the same interface as :class:`.explicit.Explicit`.  As in a :class:`.Rosenbrock`
    method the stages are turns of a loop."""

    factorisations = 1  #: of matrices, and as many Jacobians, in an attempt
    exact = False  # an attempt goes no closer to the stages than the tolerances ask for
    last: str | None = None
    notes: tuple[str, ...] = ()  # nothing is marked as worth keeping

    def __init__(self, tableau: DirkTableau, norm: Norm, flat: Flat) -> None:
        self.tableau, self.norm, self.tree, self.flat = tableau, norm, norm.tree, flat
        t, gamma = tableau, float(tableau.gamma)
        flat.tree.namespace.update(
            stage_a=lower_triangle(t.a) / gamma, stage_weights=np.array(t.b, float) / gamma,
            stage_errors=np.array(t.error or (), float) / gamma, **stage_times(t.c),
        )

    @property
    def evaluations(self) -> int:
        """Evaluations of the right-hand side in an attempt, at least, the first and those for J apart."""
        return 2 * self.tableau.stages

    def text(self) -> str:
        """Functions that the lines call."""
        vector = self.flat.vector
        residual = vector.of(lambda path: f"change{path} - weight * rates{path}")
        lines = ["rates = flat_rate(t, x, y, p)", f"change = {vector.of(lambda path: f'x{path} - base{path}')}"]
        lines += ["change = massed(change)"] if self.flat.mass else []
        stage = "\n    ".join(["\ndef stage(x, t, base, weight, y, p):", *lines, f"return {residual}\n"])
        count = self.flat.count
        moved = ["x[:] = x - dx"] if count is None else [f"x[{k}] = x[{k}] - dx[{k}]" for k in range(count)]
        found = _FOUND.format(
            solution=self.flat.matrices.solve("matrix", "factors", "r"), moved="\n".join(f"        {line}" for line in moved),
            norm="\n".join(f"        {line}" for line in self.norm.lines("size", lambda path: f"change{path}", "y")),
        )  # fmt: skip
        return summed_text(self.flat.count) + stage + found

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        matrices = self.flat.matrices
        solved = [f"x = {matrices.root}(stage, x, (moment, base, weight, y, {p}){matrices.said_to_root})"]
        return self._lines(begin, end, [], [f"k = flat_rate({begin}, v, y, {p})"], solved)

    def attempt(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next`` and the ``norm`` of its error, from k1; Inf if a stage is not found."""
        t, flat = self.tableau, self.flat
        first = [f"matrix = shifted(1.0, weight * jacobian({begin}, v, y, {p}))",
                 f"factors = {flat.matrices.factor('matrix')}", "good = True"]  # fmt: skip
        solved = ["if good:", "    good = found(x, moment, base, weight, matrix, factors, y, c)"]
        return [
            *self._lines(begin, end, first, ["k = packed(k1)"], solved),
            f"raw = summed(stage_errors, s, {t.stages})", *(["raw = massed(raw)"] if flat.mass else []),
            f"error = unpacked({flat.matrices.solve('matrix', 'factors', 'raw')}, y)",
            *self.norm.lines("norm", lambda path: f"error{path}", "y", "y_next"), "if not good:", "    norm = np.inf",
        ]  # fmt: skip

    def _lines(self, begin: str, end: str, first: list[str], known: list[str], solved: list[str]) -> list[str]:
        """``first`` are lines before the stages, ``known`` give the derivative k at the beginning, and ``solved`` find a stage x,
        which is the one before until then."""
        t, flat, of = self.tableau, self.flat, self.flat.vector.of
        moved = of(lambda path: f"v{path} + moved{path}")
        known = [*known, f"s[0] = {of(lambda path: f'weight * k{path}')}"] if t.explicit_first else []
        last = ["v_next = x"]
        if not t.stiffly_accurate:
            last = [f"moved = summed(stage_weights, s, {t.stages})", f"v_next = {moved}"]
        return [
            "v = packed(y)", f"weight = h * {float(t.gamma)!r}", *first,
            f"s = np.zeros(({t.stages}, {flat.count or 'len(v)'}))", *known,
            f"x = {flat.vector.own('v')}", f"for i in range({int(t.explicit_first)}, {t.stages}):",
            f"    moment = {end} if stage_ends[i] else {begin} + stage_times[i] * h",
            "    moved = summed(stage_a[i], s, i)", f"    base = {moved}", *(f"    {line}" for line in solved),
            f"    s[i] = {of(lambda path: f'x{path} - base{path}')}", *last, "y_next = unpacked(v_next, y)",
        ]  # fmt: skip
