"""The matrices of an implicit method's systems, as text: dense ones, bands, and sparse ones of any pattern.

Each writes the same:

    jacobian(tangent)   ``def jacobian(t, v, y, p)``, by tangents: ``tangent`` is the text of one, "{}" being its direction
    shifted(diagonal)   ``def shifted(s, jac)``: s M - J, ``diagonal`` being the text of s M's number j
    factor, solve       expressions
    root, said_to_root  the function that finds a root, and what it is told of its Jacobian besides

Where a Jacobian is not computed as a whole, one more tangent shows whether it has entries that nobody spoke of.
"""

from __future__ import annotations

__all__ = ["Banded", "Dense", "Matrices", "Short", "Sparse"]

#: the whole Jacobian along a direction
_PROBED = """
    probe = np.empty(n)
    for j in range(n):
        probe[j] = 1.0 + 0.25 * (j * j % 7)
    whole = {tangent}"""

#: the end, in a loop over rows: ``found`` is the sum of terms of row i, and ``most`` the largest of them
_COMPARED = """
        if abs({found} - whole[i]) > 1.5e-11 * max({most}, abs(whole[i])):  # (no derivative of this: it only decides)
            raise ValueError("the Jacobian of the right-hand side has entries outside of {said}")
    return jac"""

#: columns of a pattern, by their groups
_GROUPS = """
    for group in range(len(sparse_groups) - 1):
        e = np.zeros(n)
        for k in range(sparse_groups[group], sparse_groups[group + 1]):
            e[sparse_columns[k]] = 1.0
        column = {tangent}
        for k in range(sparse_groups[group], sparse_groups[group + 1]):
            j = sparse_columns[k]
            for m in range(sparse_first[j], sparse_first[j + 1]):
                jac[{place}] = column[sparse_rows[m]]"""


def _groups(tangent: str, place: str) -> str:
    return _GROUPS.format(tangent=tangent.format("e"), place=place)


def _probed(tangent: str) -> str:
    return _PROBED.format(tangent=tangent.format("probe"))


class Dense:
    """Matrices with all their numbers; ``mass`` is the number of axes of the mass matrix."""

    root, said_to_root = "root", ""

    def __init__(self, mass: int) -> None:
        self.mass = mass

    def jacobian(self, tangent: str) -> str:
        """Column by column."""
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

    def shifted(self, diagonal: str) -> str:
        """``mass`` may be a matrix."""
        if self.mass == 2:
            return "def shifted(s, jac):\n    return s * mass - jac"
        return f"""def shifted(s, jac):
    matrix = -jac
    for j in range(jac.shape[1]):
        matrix[j, j] += {diagonal}
    return matrix"""

    def factor(self, matrix: str) -> str:
        """The factors of a matrix."""
        return f"lu_factor({matrix})"

    def solve(self, matrix: str, factors: str, right: str) -> str:
        """The solution of a system."""
        return f"lu_solve({matrix}, {factors}, {right}, 0)"


class Short(Dense):
    """Dense matrices of ``count`` rows, a number that is small: everything is written out."""

    def __init__(self, mass: int, count: int) -> None:
        super().__init__(mass)
        self.count = count

    def jacobian(self, tangent: str) -> str:
        """Column by column."""
        lines = []
        for j in range(self.count):
            unit = f"np.array([{', '.join('1.0' if i == j else '0.0' for i in range(self.count))}])"
            lines.append(f"    column_{j} = {tangent.format(unit)}")
        rows = (f"[{', '.join(f'column_{j}[{i}]' for j in range(self.count))}]" for i in range(self.count))
        return "\n".join(["def jacobian(t, v, y, p):", *lines, f"    return np.array([{', '.join(rows)}])"])

    def shifted(self, diagonal: str) -> str:
        """``mass`` may be a matrix."""
        if self.mass == 2:
            return super().shifted(diagonal)
        n = range(self.count)
        own = [diagonal.replace("[j]", f"[{i}]") for i in n]
        rows = (f"[{', '.join((f'{own[i]} - ' if i == j else '-') + f'jac[{i}, {j}]' for j in n)}]" for i in n)
        return f"def shifted(s, jac):\n    return np.array([{', '.join(rows)}])"


class Banded:
    """Matrices of ``lower`` and ``upper`` diagonals besides the main one; ``grouped`` by a pattern that says more."""

    root = "root"

    def __init__(self, lower: int, upper: int, grouped: bool, said: str) -> None:
        self.lower, self.upper, self.grouped, self.said = lower, upper, grouped, said
        self.said_to_root = f", bandwidth={(lower, upper)!r}"

    def jacobian(self, tangent: str) -> str:
        """As many columns at once as have no row in common."""
        lower, upper, colours = self.lower, self.upper, self.lower + self.upper + 1
        if self.grouped:
            columns = _groups(tangent, f"{upper} + sparse_rows[m] - j, j")
        else:
            columns = f"""
    e = np.zeros(({colours}, n))
    for j in range(n):
        e[j % {colours}, j] = 1.0
    for colour in range(min(n, {colours})):
        column = {tangent.format("e[colour]")}
        for j in range(colour, n, {colours}):
            for i in range(max(0, j - {upper}), min(n, j + {lower + 1})):
                jac[{upper} + i - j, j] = column[i]"""
        return f"""def jacobian(t, v, y, p):
    n = len(v)
    jac = np.zeros(({colours}, n)){columns}{_probed(tangent)}
    for i in range(n):
        found = 0.0
        most = 0.0
        for j in range(max(0, i - {lower}), min(n, i + {upper + 1})):
            part = jac[{upper} + i - j, j] * probe[j]
            found += part
            most = max(most, abs(part)){_COMPARED.format(found="found", most="most", said=self.said)}"""

    def shifted(self, diagonal: str) -> str:
        """Of bands."""
        return f"""def shifted(s, jac):
    matrix = -jac
    for j in range(jac.shape[1]):
        matrix[{self.upper}, j] += {diagonal}
    return matrix"""

    def factor(self, matrix: str) -> str:
        """The factors of a matrix."""
        return f"banded_factor({matrix}, {self.lower})"

    def solve(self, matrix: str, factors: str, right: str) -> str:
        """The solution of a system."""
        return f"banded_solve({matrix}, {factors}, {right}, {self.lower}, 0)"


class Sparse:
    """Matrices of which the numbers of a pattern are there, column by column."""

    root, said_to_root = "sparse_root", ", (sparse_groups, sparse_columns, sparse_first, sparse_rows)"

    def __init__(self, said: str) -> None:
        self.said = said

    def jacobian(self, tangent: str) -> str:
        """As many columns at once as have no row in common."""
        return f"""def jacobian(t, v, y, p):
    n = len(v)
    jac = np.empty(len(sparse_rows)){_groups(tangent, "m")}{_probed(tangent)}
    found = np.zeros(n)
    most = np.zeros(n)
    for j in range(n):
        for m in range(sparse_first[j], sparse_first[j + 1]):
            part = jac[m] * probe[j]
            found[sparse_rows[m]] += part
            most[sparse_rows[m]] = max(most[sparse_rows[m]], abs(part))
    for i in range(n):{_COMPARED.format(found="found[i]", most="most[i]", said=self.said)}"""

    def shifted(self, diagonal: str) -> str:
        """By the places of the diagonal."""
        return f"""def shifted(s, jac):
    matrix = -jac
    for j in range(len(sparse_diagonal)):
        matrix[sparse_diagonal[j]] += {diagonal}
    return matrix"""

    def factor(self, matrix: str) -> str:
        """The factors of a matrix."""
        return f"sparse_factor({matrix}, sparse_first, sparse_rows)"

    def solve(self, matrix: str, factors: str, right: str) -> str:
        """The solution of a system."""
        return f"sparse_solve({matrix}, {factors}, {right}, sparse_first, sparse_rows, 0)"


Matrices = Dense | Banded | Sparse
