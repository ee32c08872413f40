"""Methods for stochastic differential equations as text: dy = a(t, y) dt + b(t, y) dW, one Brownian path a component.

    euler_maruyama  y_next = y + h a + b w                              w = sqrt(h) normal(seed, n, component)
    milstein        y_next = y + h a + b w + (b' b) (w^2 - h) / 2       b' b: the tangent of b along b
    heun            z = y + h a + b w,  y_next = y + h (a + a(z)) / 2 + w (b + b(z)) / 2

(P. Kloeden, E. Platen, Numerical Solution of Stochastic Differential Equations, 1992, sections 10.2 and 10.3; W. Ruemelin,
"Numerical treatment of stochastic differential equations", SIAM J. Numer. Anal. 19 (1982), for Heun's.)  The noise is drawn where
it is needed, in recomputed steps and in the reverse sweep, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from adjointsim.errors import ArgumentError, StructureError

from .trees import Tree

__all__ = ["METHODS", "Stochastic", "StochasticMethod", "find_stochastic"]


@dataclass(frozen=True)
class StochasticMethod:
    """What a method is called, and how many drifts a step evaluates."""

    name: str
    stages: int


METHODS = {
    method.name: method
    for method in (StochasticMethod("euler_maruyama", 1), StochasticMethod("milstein", 1), StochasticMethod("heun", 2))
}


def find_stochastic(name: str) -> StochasticMethod:
    """A method by its name; case does not matter, "-" and " " read as "_".  ArgumentError for another name."""
    key = name.lower().replace("-", "_").replace(" ", "_") if isinstance(name, str) else ""
    if key not in METHODS:
        raise ArgumentError(f"Got method={name!r}, but expected one of {', '.join(METHODS)}")
    return METHODS[key]


class Stochastic:
    """Writes a method for states of one structure; the same interface as :class:`.explicit.Explicit`, without attempts.

    ``rate(t, y, p)`` is the drift, ``spread(t, y, p)`` the diffusion; ``seed`` and ``n`` say which numbers are drawn.
    ``shapes`` are those of the user's y by path, which is at ``own`` in the state: a running cost there has no noise.
    """

    def __init__(self, method: StochasticMethod, tree: Tree, shapes: Mapping[str, tuple[int, ...]], own: str) -> None:
        self.method, self.tree = method, tree
        self.noise: dict[str, str] = {}  # the numbers to draw for a part of the state
        count = 0
        for path, number, is_complex in tree.parts():
            if not path.startswith(own):
                continue
            if is_complex:
                raise StructureError(
                    f"Got y={tree.spec} with complex numbers, but an SDE takes real ones: write real and imaginary parts"
                )
            shape = () if number else shapes[path[len(own) :]]
            size = math.prod(shape)
            numbers = f"np.arange({count}, {count + size})"
            self.noise[path] = str(count) if number else numbers if len(shape) == 1 else f"{numbers}.reshape({shape!r})"
            count += size

    factorisations = 0  #: of matrices, and as many Jacobians, in an attempt
    exact = False  # there are none
    notes: tuple[str, ...] = ()  # nothing is marked as worth keeping

    @property
    def evaluations(self) -> int:
        """Evaluations of the drift in a step after the first."""
        return self.method.stages - 1

    def step(self, begin: str, end: str, p: str) -> list[str]:
        """Lines that give ``y_next``."""
        of = self.tree.of
        names = {path: f"w{k}" for k, path in enumerate(self.noise)}
        lines = ["root_h = np.sqrt(h)", *(f"{names[path]} = root_h * normal(seed, n, {i})" for path, i in self.noise.items())]
        lines += [f"a = rate({begin}, y, {p})", f"b = spread({begin}, y, {p})"]

        def euler(path: str) -> str:
            return f"y{path} + h * a{path}" + (f" + b{path} * {names[path]}" if path in names else "")

        def milstein(path: str) -> str:
            w = names.get(path)
            return euler(path) + (f" + 0.5 * c{path} * ({w} * {w} - h)" if w else "")

        def heun(path: str) -> str:
            noise = f" + (b{path} + b2{path}) * {names[path]}" if path in names else ""
            return f"y{path} + 0.5 * (h * (a{path} + a2{path}){noise})"

        if self.method.name == "euler_maruyama":
            return [*lines, f"y_next = {of(euler)}"]
        if self.method.name == "milstein":
            along = of(lambda path: f"b{path}")
            return [*lines, f"c = jvp(spread, ({begin}, y, {p}), (0.0, {along}, None))[1]", f"y_next = {of(milstein)}"]
        lines.append(f"z = {of(euler)}")
        return [*lines, f"a2 = rate({end}, z, {p})", f"b2 = spread({end}, z, {p})", f"y_next = {of(heun)}"]
