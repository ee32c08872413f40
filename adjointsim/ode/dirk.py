"""Diagonally implicit Runge-Kutta methods as text.

    Y_i = y + h sum_{j < i} a_ij k_j + h gamma k_i,    k_i = f(t + c_i h, Y_i),    y_next = y + h sum_i b_i k_i

(E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd edition 1996, section IV.6; C. Kennedy, M. Carpenter,
"Diagonally implicit Runge-Kutta methods for ordinary differential equations", NASA/TM-2016-219173).

In a step each stage is an ``adj.root``, found to rounding and differentiated by the implicit function theorem.  Where step sizes
are chosen, stages are found by a simplified Newton method with one factorisation an attempt (section IV.8), to a hundredth of
what the error may be; a stage that does not converge rejects the attempt.
"""

from __future__ import annotations

from collections.abc import Iterable

from .flat import Flat
from .formulas import added, stage_time, weighted
from .norms import Norm
from .tableaus import DirkTableau

__all__ = ["Dirk"]

#: the simplified Newton iteration: the stage, and whether it was found
_FOUND = """
def found(x, t, base, weight, matrix, factors, y, c):
    size = 0.0
    before = 0.0
    good = False
    for iteration in range(8):
        r = stage(x, t, base, weight, y, c.p)
        dx = {solution}
        x = {moved}
        change = unpacked(dx, y)
{norm}
        rate_of_change = size / before if before > 0.0 else 0.5
        if not size < 1e300 or (iteration > 0 and rate_of_change >= 1.0):
            break
        if size == 0.0 or (rate_of_change < 1.0 and size * rate_of_change / (1.0 - rate_of_change) < 0.01):
            good = True
            break
        before = size
    return x, good
"""


class Dirk:
    """Writes a diagonally implicit method; the same interface as :class:`.explicit.Explicit`."""

    factorisations = 1  #: of matrices, and as many Jacobians, in an attempt
    last: str | None = None

    def __init__(self, tableau: DirkTableau, norm: Norm, flat: Flat) -> None:
        self.tableau, self.norm, self.tree, self.flat = tableau, norm, norm.tree, flat

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
        found = _FOUND.format(
            solution=self.flat.solve("matrix", "factors", "r"), moved=vector.of(lambda path: f"x{path} - dx{path}"),
            norm="\n".join(f"        {line}" for line in self.norm.lines("size", lambda path: f"change{path}", "y")),
        )  # fmt: skip
        return stage + found

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        bands = "" if self.flat.bandwidth is None else f", bandwidth={self.flat.bandwidth!r}"

        def solved(i: int, guess: str, time: str) -> list[str]:
            return [f"x{i} = root(stage, {guess}, ({time}, base, weight, y, {p}){bands})"]

        first = [f"s1 = flat_rate({begin}, v, y, {p})"] if self.tableau.explicit_first else []
        return [*self._lines(begin, end, first, solved)]

    def attempt(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next`` and the ``norm`` of its error, from k1; Inf if a stage is not found."""
        t, flat = self.tableau, self.flat

        def solved(i: int, guess: str, time: str) -> list[str]:
            return [f"x{i}, good_{i} = found({guess}, {time}, base, weight, matrix, factors, y, c)"]

        scaled = f"matrix = shifted(1.0, (h * {float(t.gamma)!r}) * jacobian({begin}, v, y, {p}))"
        first = [scaled, f"factors = {flat.factor('matrix')}"]
        first += ["s1 = packed(k1)"] if t.explicit_first else []
        lines = self._lines(begin, end, first, solved)
        implicit = range(2 if t.explicit_first else 1, t.stages + 1)
        error = flat.vector.of(lambda path: f"h * ({weighted(t.error or (), 's', path)})")
        return [
            *lines, f"raw = {error}", *(["raw = massed(raw)"] if flat.mass else []),
            f"error = unpacked({flat.solve('matrix', 'factors', 'raw')}, y)",
            *self.norm.lines("norm", lambda path: f"error{path}", "y", "y_next"),
            *(f"if not good_{i}:\n    norm = np.inf" for i in implicit),
        ]  # fmt: skip

    def _lines(self, begin: str, end: str, first: list[str], solved) -> list[str]:  # type: ignore[no-untyped-def]
        t, of = self.tableau, self.flat.vector.of
        lines = ["v = packed(y)", f"weight = h * {float(t.gamma)!r}", *first]
        guess = "v"
        for i in range(1, t.stages + 1):
            if i == 1 and t.explicit_first:
                continue
            base = of(lambda path, i=i: f"v{path}{self._moved(t.a[i - 1][: i - 1], path)}")  # type: ignore[misc]
            lines += [f"base = {base}", *solved(i, guess, stage_time(t.c[i - 1], begin, end))]
            lines.append(f"s{i} = {of(lambda path, i=i: f'(x{i}{path} - base{path}) / weight')}")  # type: ignore[misc]
            guess = f"x{i}"
        last = f"x{t.stages}" if t.stiffly_accurate else of(lambda path: f"v{path}{self._moved(t.b, path)}")
        return [*lines, f"v_next = {last}", "y_next = unpacked(v_next, y)"]

    @staticmethod
    def _moved(weights: Iterable[object], path: str) -> str:
        """h sum_i w_i k_i, to be added."""
        return added(weighted(weights, "s", path), "h * ")
