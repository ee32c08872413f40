"""The norm in which errors are measured, as text.

    |e| = sqrt( mean over all components i of  ( |e_i| / (atol_i + rtol_i max |y_i|) )^2 )

(E. Hairer, S. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd edition 1993, section II.4, equation 4.11).
"""

from __future__ import annotations

from collections.abc import Callable

from .trees import Tree

__all__ = ["Norm"]


class Norm:
    """Norms of things of a state's structure.

    ``each`` says whether rtol and atol have the structure of the state, or are numbers; ``skip`` are beginnings of the paths of
    parts that do not count.
    """

    def __init__(
        self, tree: Tree, each: tuple[bool, bool] = (False, False), skip: tuple[str, ...] = (), own: str = ""
    ) -> None:
        """``own`` is the path in the state of that of which the tolerances have the structure."""
        self.tree, self.each, self.own = tree, each, own
        self.parts = [part for part in tree.parts() if not part[0].startswith(skip)] if skip else list(tree.parts())

    def squares(self, into: str, formula: Callable[[str], str], *sizes: str) -> list[str]:
        """Lines that sum the squares of ``formula(path)`` over the scales of the states called ``sizes``."""
        lines = [f"{into} = 0.0"]
        for path, number, is_complex in self.parts:
            ratio = f"(({formula(path)}) / ({self._scale(path, number, sizes)}))"
            size = f"{'abs' if number else 'np.abs'}({ratio})" if is_complex else ratio
            lines.append(f"{into} += {size} ** 2" if number else f"{into} += np.sum({size} ** 2)")
        return lines

    @property
    def count(self) -> str:
        """The number of components."""
        arrays = [f"y{path}.size" for path, number, _ in self.parts if not number]
        numbers = len(self.parts) - len(arrays)
        return " + ".join([*([str(numbers)] if numbers or not arrays else []), *arrays])

    def lines(self, into: str, formula: Callable[[str], str], *sizes: str) -> list[str]:
        """Lines that compute the norm."""
        return [*self.squares("squares", formula, *sizes), f"{into} = np.sqrt(squares / ({self.count}))"]

    def _scale(self, path: str, number: bool, sizes: tuple[str, ...]) -> str:
        largest = ""
        for size in sizes:
            value = f"abs({size}{path})" if number else f"np.abs({size}{path})"
            largest = f"{'max' if number else 'np.maximum'}({largest}, {value})" if largest else value
        rtol, atol = (f"c.{name}{path[len(self.own) :] * each}" for name, each in zip(("rtol", "atol"), self.each, strict=True))
        return f"{atol} + {rtol} * {largest}"
