"""States as one vector, as text: what an implicit method solves its systems for.

    packed(y)           the numbers of a state, leaf by leaf
    unpacked(v, y)      the state again, of the shapes of y
    flat_rate(t, v, y, p)
    jacobian(t, v, y, p)    d flat_rate / dv, dense or as bands, column by column with tangents
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

from .sparsity import Pattern
from .trees import SHORT, Tree

__all__ = ["Flat"]


class Flat:
    """The texts for one structure; ``bandwidth`` = (lower, upper) for a state that is one vector, None for dense systems or
    with a ``pattern``, which has a band of its own.

    ``mass`` is the number of axes of the mass matrix, 0 if there is none.
    """

    def __init__(
        self, tree: Tree, name: str, bandwidth: tuple[int, int] | None, mass: int = 0, pattern: Pattern | None = None
    ) -> None:
        parts = list(tree.parts())
        if any(is_complex for _, _, is_complex in parts):
            raise StructureError(f"Got y={tree.spec} with complex numbers, but {name!r} takes real ones: split them in two")
        self.tree, self.parts, self.bandwidth, self.mass = tree, parts, bandwidth, mass
        self.one = isinstance(tree.spec, ArraySpec) and tree.spec.rank == 1  #: whether the state is a vector already
        if bandwidth is not None and not self.one:
            raise StructureError(f"Got bandwidth= and y={tree.spec}, but bands are those of a state that is one vector")
        self.pattern = pattern
        self.said = f"bandwidth={bandwidth!r}"  #: in messages
        if pattern is not None:
            tree.namespace.update(pattern.names())
            self.bandwidth, self.said = (pattern.lower, pattern.upper), "jac_sparsity="
        short = all(number for _, number, _ in parts) and len(parts) <= SHORT
        self.count = len(parts) if short else None  #: the number of components, if it is small
        lengths = {} if self.count is None else {"": self.count}
        self.vector = Tree(ArraySpec("f8", 1), lengths, tree.namespace)

    def text(self) -> str:
        """All functions."""
        rate = "def flat_rate(t, v, y, p):\n    return packed(rate(t, unpacked(v, y), p))"
        texts = [self._packed(), self._unpacked(), rate, self._time_rate(), self._jacobian(), self._shifted()]
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

    def _jacobian(self) -> str:
        tangent = "jvp(flat_rate, (t, v, y, p), (None, {}, None, None))[1]"
        if self.bandwidth is not None:
            lower, upper = self.bandwidth
            colours = lower + upper + 1
            groups = colours if self.pattern is None else len(self.pattern.groups) - 1
            if self.pattern is None:
                columns = f"""
    for j in range(n):
        e[j % {colours}, j] = 1.0
    for colour in range(min(n, {colours})):
        column = {tangent.format("e[colour]")}
        for j in range(colour, n, {colours}):
            for i in range(max(0, j - {upper}), min(n, j + {lower + 1})):
                jac[{upper} + i - j, j] = column[i]"""
            else:
                columns = f"""
    for group in range({groups}):
        for k in range(sparse_groups[group], sparse_groups[group + 1]):
            e[group, sparse_columns[k]] = 1.0
    for group in range({groups}):
        column = {tangent.format("e[group]")}
        for k in range(sparse_groups[group], sparse_groups[group + 1]):
            j = sparse_columns[k]
            for m in range(sparse_first[j], sparse_first[j + 1]):
                jac[{upper} + sparse_rows[m] - j, j] = column[sparse_rows[m]]"""
            return f"""def jacobian(t, v, y, p):
    n = len(v)
    jac = np.zeros(({colours}, n))
    e = np.zeros(({groups}, n)){columns}
    probe = np.empty(n)
    for j in range(n):
        probe[j] = 1.0 + 0.25 * (j * j % 7)
    whole = {tangent.format("probe")}
    for i in range(n):
        found = 0.0
        most = abs(whole[i])
        for j in range(max(0, i - {lower}), min(n, i + {upper + 1})):
            part = jac[{upper} + i - j, j] * probe[j]
            found += part
            most = max(most, abs(part))
        if abs(found - whole[i]) > 1.5e-11 * most:  # (no derivative of this: it only decides)
            raise ValueError("the Jacobian of the right-hand side has entries outside of {self.said}")
    return jac"""
        if self.count is not None:
            lines = []
            for j in range(self.count):
                unit = f"np.array([{', '.join('1.0' if i == j else '0.0' for i in range(self.count))}])"
                lines.append(f"    column_{j} = {tangent.format(unit)}")
            rows = (f"[{', '.join(f'column_{j}[{i}]' for j in range(self.count))}]" for i in range(self.count))
            return "\n".join(["def jacobian(t, v, y, p):", *lines, f"    return np.array([{', '.join(rows)}])"])
        return f"""def jacobian(t, v, y, p):
    n = len(v)
    jac = np.empty((n, n))
    for j in range(n):
        e = np.zeros(n)
        e[j] = 1.0
        column = {tangent.format("e")}
        for i in range(n):
            jac[i, j] = column[i]
    return jac"""

    def _shifted(self) -> str:
        diagonal = "s * mass[j]" if self.mass else "s"
        if self.bandwidth is not None:
            return f"""def shifted(s, jac):
    matrix = -jac
    for j in range(jac.shape[1]):
        matrix[{self.bandwidth[1]}, j] += {diagonal}
    return matrix"""
        if self.mass == 2:
            return "def shifted(s, jac):\n    return s * mass - jac"
        if self.count is not None:
            n = range(self.count)
            own = [f"s * mass[{i}]" if self.mass else "s" for i in n]
            rows = (f"[{', '.join((f'{own[i]} - ' if i == j else '-') + f'jac[{i}, {j}]' for j in n)}]" for i in n)
            return f"def shifted(s, jac):\n    return np.array([{', '.join(rows)}])"
        return f"""def shifted(s, jac):
    matrix = -jac
    for j in range(jac.shape[1]):
        matrix[j, j] += {diagonal}
    return matrix"""

    def _massed(self) -> str:
        if self.mass == 2:
            return "def massed(v):\n    return mass @ v"
        return f"def massed(v):\n    return {self.vector.of(lambda path: f'mass{path} * v{path}')}"

    # --------------------------------------------------------------------------------------------------- lines of a step
    def factor(self, matrix: str) -> str:
        """The factors of a matrix."""
        return f"lu_factor({matrix})" if self.bandwidth is None else f"banded_factor({matrix}, {self.bandwidth[0]})"

    def solve(self, matrix: str, factors: str, right: str) -> str:
        """The solution of a system."""
        if self.bandwidth is None:
            return f"lu_solve({matrix}, {factors}, {right}, 0)"
        return f"banded_solve({matrix}, {factors}, {right}, {self.bandwidth[0]}, 0)"
