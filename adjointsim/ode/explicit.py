"""Explicit Runge-Kutta methods as text: one step, and one attempt with an estimate of its error.

    k_i = f(t + c_i h, y + h sum_j a_ij k_j),    y_next = y + h sum_i b_i k_i

(E. Hairer, S. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd edition 1993, section II.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from .formulas import polynomial, stage_time, weighted
from .norms import Norm
from .tableaus import ExplicitTableau

__all__ = ["Explicit"]


_FEW = 3  # stages, below which nothing is kept
_MANY = 64  # numbers that are kept of a step, at most


class Explicit:
    """Writes the formulas of a tableau for states of one structure.

    ``rate(t, y, p)`` is the derivative.  All lines are for y at ``begin`` and a step of ``h``; stage times at 1 are ``end``.
    """

    def __init__(self, tableau: ExplicitTableau, norm: Norm) -> None:
        self.tableau, self.norm, self.tree = tableau, norm, norm.tree
        parts = [*self.tree.parts()]
        many = len(parts) * (self._used - 1)
        plain = all(number and not is_complex for _, number, is_complex in parts)
        worth = plain and self._used >= _FEW and many <= _MANY
        #: what the right-hand side is given at the stages, where that is worth keeping: to make it takes longer than to read it
        self.notes = [f"s{i + 1}{path}" for i in range(1, self._used) for path, *_ in parts] if worth else []
        self._places = {name: k for k, name in enumerate(self.notes)}

    @property
    def _used(self) -> int:
        """The stages that y_next is made of; some last ones may be for the error only."""
        return max((k + 1 for k, w in enumerate(self.tableau.b) if w), default=0)

    factorisations = 0  #: of matrices, and as many Jacobians, in an attempt
    exact = True  #: whether an attempt gives the bits of a step

    @property
    def evaluations(self) -> int:
        """Evaluations of the right-hand side in an attempt, the first apart, which the step before may have made."""
        return self.tableau.stages - 1

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        stages = self._stages(self._used, begin, end, p)
        return [f"k1 = rate({begin}, y, {p})", *stages, f"y_next = {self._sum(self.tableau.b)}"]

    def attempt(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next`` and the ``norm`` of its error, from k1."""
        t = self.tableau
        lines = [*self._stages(t.stages - t.fsal, begin, end, p), f"y_next = {self._sum(t.b)}"]
        if t.fsal:
            lines.append(f"k{t.stages} = rate({end}, y_next, {p})")
        return [*lines, *self._error()]

    def between(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_at`` at ``theta`` by the published continuous extension."""
        t = self.tableau
        assert t.dense is not None
        lines = [f"k1 = rate({begin}, y, {p})", *self._stages(t.stages - t.fsal, begin, end, p)]
        if t.fsal:
            lines += [f"y_next = {self._sum(t.b)}", f"k{t.stages} = rate({end}, y_next, {p})"]
        for i, (row, c) in enumerate(zip(t.dense.a, t.dense.c, strict=True)):
            lines.append(f"y_at = {self._sum(row)}")
            lines.append(f"k{t.stages + i + 1} = rate({stage_time(c, begin, end)}, y_at, {p})")
        used = [i for i, row in enumerate(t.dense.coefficients) if any(row)]
        lines += [f"w{i + 1} = {polynomial(t.dense.coefficients[i])}" for i in used]
        total = self.tree.of(lambda path: f"y{path} + h * ({' + '.join(f'w{i + 1} * k{i + 1}{path}' for i in used)})")
        return [*lines, f"y_at = {total}"]

    @property
    def last(self) -> str | None:
        """The name of the derivative at y_next, if an attempt computes it."""
        return f"k{self.tableau.stages}" if self.tableau.fsal else None

    def _stages(self, count: int, begin: str, end: str, p: str) -> list[str]:
        """Stages from the second on."""
        t, lines = self.tableau, []
        for i in range(1, count):
            lines.append(f"s{i + 1} = {self._sum(t.a[i], f's{i + 1}')}")
            lines.append(f"k{i + 1} = rate({stage_time(t.c[i], begin, end)}, s{i + 1}, {p})")
        return lines

    def _sum(self, weights: Iterable[object], name: str = "") -> str:
        """y + h sum_i w_i k_i; what of ``name`` is worth keeping is marked."""

        def part(path: str) -> str:
            value = f"y{path} + h * ({weighted(weights, 'k', path)})"
            return f"noted({value}, {self._places[name + path]})" if name + path in self._places else value

        return self.tree.of(part)

    def _error(self) -> list[str]:
        """The norm of the error.

        Of DOP853's two estimates, of orders 5 and 3, the first is made smaller by its ratio to the second (section II.10,
        equation 10.21 of the same book): |h| |e5|^2 / sqrt(|e5|^2 + 0.01 |e3|^2).
        """
        t = self.tableau
        lines = self.norm.squares("squares", lambda path: weighted(t.error, "k", path), "y", "y_next")
        if t.error_low is None:
            return [*lines, f"norm = abs(h) * np.sqrt(squares / ({self.norm.count}))"]
        lines += self.norm.squares("others", lambda path: weighted(t.error_low, "k", path), "y", "y_next")
        lines.append("bound = squares + 0.01 * others")
        lines.append(f"norm = abs(h) * squares / np.sqrt(bound * ({self.norm.count})) if bound != 0.0 else 0.0")
        return lines
