"""States as one vector, as text: what an implicit method solves its systems for.

    packed(y)           the numbers of a state, leaf by leaf
    unpacked(v, y)      the state again, of the shapes of y
    flat_rate(t, v, y, p)
    jacobian(t, v, y, p)    d flat_rate / dv, as matrices.py has it
    time_rate(t, v, y, p)   d flat_rate / dt
    shifted(s, jac)     s M - J, with the mass matrix M, I if there is none
    massed(v)           M v

A mass matrix is called ``mass`` in the texts; a vector stands for a diagonal one.  With a pattern of the Jacobian (sparsity.py)
the vectors are in its order, and the mass matrix, too.
"""

from __future__ import annotations

from textwrap import indent

from adjointsim.derive.spec import ArraySpec
from adjointsim.errors import StructureError

from .matrices import Banded, Dense, Matrices, Short, Sparse
from .sparsity import Pattern
from .trees import SHORT, Tree

__all__ = ["Flat"]


class Flat:
    """The texts for one structure; ``bandwidth`` = (lower, upper) for a state that is one vector, or None, and there may be a
    ``pattern``.

    ``mass`` is the number of axes of the mass matrix, 0 if there is none.
    """

    def __init__(
        self, tree: Tree, name: str, bandwidth: tuple[int, int] | None, mass: int = 0, pattern: Pattern | None = None
    ) -> None:
        parts = list(tree.parts())
        if any(is_complex for _, _, is_complex in parts):
            raise StructureError(f"Got y={tree.spec} with complex numbers, but {name!r} takes real ones: split them in two")
        self.tree, self.parts, self.mass = tree, parts, mass
        self.one = isinstance(tree.spec, ArraySpec) and tree.spec.rank == 1  #: whether the state is a vector already
        if bandwidth is not None and not self.one:
            raise StructureError(f"Got bandwidth= and y={tree.spec}, but bands are those of a state that is one vector")
        self.pattern = pattern
        self.said = f"bandwidth={bandwidth!r}"  #: in messages
        if pattern is not None:
            tree.namespace.update(pattern.names())
            self.said = "jac_sparsity="
        short = all(number for _, number, _ in parts) and len(parts) <= SHORT
        self.count = len(parts) if short else None  #: the number of components, if it is small
        lengths = {} if self.count is None else {"": self.count}
        self.vector = Tree(ArraySpec("f8", 1), lengths, tree.namespace)
        self.matrices = self._matrices(bandwidth)

    def _matrices(self, bandwidth: tuple[int, int] | None) -> Matrices:
        if self.pattern is not None and self.pattern.band is None:
            return Sparse(self.said)
        band = bandwidth if self.pattern is None else self.pattern.band
        if band is not None:
            return Banded(*band, self.pattern is not None, self.said)
        return Dense(self.mass) if self.count is None else Short(self.mass, self.count)

    def text(self) -> str:
        """All functions."""
        rate = "def flat_rate(t, v, y, p):\n    return packed(rate(t, unpacked(v, y), p))"
        jacobian = self.matrices.jacobian("jvp(flat_rate, (t, v, y, p), (None, {}, None, None))[1]")
        shifted = self.matrices.shifted("s * mass[j]" if self.mass else "s")
        texts = [self._packed(), self._unpacked(), rate, self._time_rate(), jacobian, shifted]
        return "\n\n".join([*texts, self._massed()] if self.mass else texts)

    def _packed(self) -> str:
        text = self._in_order()
        if self.pattern is None:
            return text
        return text.replace("def packed", "def in_order", 1) + "\n\ndef packed(y):\n    return in_order(y)[sparse_order]"

    def _unpacked(self) -> str:
        text = self._structured()
        if self.pattern is None:
            return text
        given = "def unpacked(v, y):\n    return structured(v[sparse_back], y)"
        return text.replace("def unpacked", "def structured", 1) + "\n\n" + given

    def _in_order(self) -> str:
        if self.one and self.count is None and not self.tree.lengths:
            return "def packed(y):\n    return y"
        if all(number for _, number, _ in self.parts):
            return f"def packed(y):\n    return np.array([{', '.join(f'y{path}' for path, _, _ in self.parts)}])"
        lines = [f"v = np.empty({self._size('y')})", "k = 0"]
        for path, number, _ in self.parts:
            if number:
                lines += [f"v[k] = y{path}", "k += 1"]
            else:
                lines += [f"v[k : k + y{path}.size] = y{path}.ravel()", f"k += y{path}.size"]
        return "def packed(y):\n" + indent("\n".join([*lines, "return v"]), "    ")

    def _structured(self) -> str:
        if self.one:
            return "def unpacked(v, y):\n    return v"
        if all(number for _, number, _ in self.parts):
            places = {path: k for k, (path, _, _) in enumerate(self.parts)}
            return f"def unpacked(v, y):\n    return {self.tree.of(lambda path: f'v[{places[path]}]')}"
        lines, names, k = [], {}, "0"
        for j, (path, number, _) in enumerate(self.parts):
            if number:
                lines.append(f"part_{j} = v[{k}]")
                k += " + 1"
            else:
                shape = f"y{path}.shape"
                lines.append(f"part_{j} = v[{k} : {k} + y{path}.size].copy().reshape({shape})")
                k += f" + y{path}.size"
            names[path] = f"part_{j}"
        return "def unpacked(v, y):\n" + indent("\n".join([*lines, f"return {self.tree.of(names.__getitem__)}"]), "    ")

    def _size(self, y: str) -> str:
        return " + ".join("1" if number else f"{y}{path}.size" for path, number, _ in self.parts)

    def _time_rate(self) -> str:
        return "def time_rate(t, v, y, p):\n    return jvp(flat_rate, (t, v, y, p), (1.0, None, None, None))[1]"

    def _massed(self) -> str:
        if self.mass == 2:
            return "def massed(v):\n    return mass @ v"
        return f"def massed(v):\n    return {self.vector.of(lambda path: f'mass{path} * v{path}')}"
