"""Symplectic splittings as text, for separable systems q' = g(v, p), v' = F(t, q, p) with y = (q, v).

    for i:  v += kick_i h F(t, q);  q += drift_i h g(v)      and a last kick

(E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2nd edition 2006, sections I.1.4 and II.5).  The right-hand
side gives both derivatives; of each evaluation only the one that is used is computed.
"""

from __future__ import annotations

from fractions import Fraction

from adjointsim.derive.spec import TupleSpec
from adjointsim.errors import StructureError

from .formulas import stage_time
from .tableaus import SplittingTableau
from .trees import Tree, items

__all__ = ["Splitting"]


class Splitting:
    """Writes a splitting for states of one structure; the same interface as :class:`.explicit.Explicit`, without attempts."""

    def __init__(self, tableau: SplittingTableau, tree: Tree) -> None:
        self.tableau, self.tree = tableau, tree
        spec = tree.spec
        if not isinstance(spec, TupleSpec) or len(spec.items) != 2:
            raise StructureError(
                f"Got y={spec}, but expected a pair (q, v) for the method {tableau.name!r}: positions, whose rate depends on v, "
                "and velocities, whose rate depends on q and t"
            )
        self.q, self.v = (step for step, _ in items(spec))

    factorisations = 0  #: of matrices, and as many Jacobians, in an attempt
    exact = False  # there are none
    notes: tuple[str, ...] = ()  # nothing is marked as worth keeping

    @property
    def evaluations(self) -> int:
        """Evaluations of the right-hand side in a step after the first."""
        return 2 * len(self.tableau.drift)

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        t, lines, time = self.tableau, ["y_next = y"], Fraction(0)
        at = begin
        for i, kick in enumerate(t.kick):
            at = end if i == len(t.drift) else stage_time(time, begin, end)
            lines += self._part(self.v, kick, at, p)
            if i < len(t.drift):
                lines += self._part(self.q, t.drift[i], at, p)
                time += t.drift[i]
        return lines

    def _part(self, moved: str, weight: Fraction, time: str, p: str) -> list[str]:
        def formula(path: str) -> str:
            if not path.startswith(moved):
                return f"y_next{path}"
            return f"y_next{path} + {float(weight)!r} * h * k{path}"

        return [f"k = rate({time}, y_next, {p})", f"y_next = {self.tree.of(formula)}"]


