"""Random nests of loops with affine bounds and indices, which overwrite what they read: factorisations, recurrences, sweeps.

What :mod:`loopnests` leaves out: the bounds of inner loops depend on outer indices, so that which cells are still what they
were when they were read depends on inequalities between indices.  ``program(seed)`` draws one; values stay bounded.
"""

from __future__ import annotations

import random

import numpy as np
from strategies import Program

__all__ = ["program"]

SIZE = 5
RANGES = (
    "{n}", "{i}", "{i} + 1", "{i}, {n}", "{i} + 1, {n}", "1, {n}", "{i}, -1, -1", "{n} - 1, {i}, -1", "0, {n}, 2", "{n} - {i}",
    "max({i} - 1, 0), min({i} + 2, {n})", "{i} // 2", "1, {i}",
)  # fmt: skip
UPDATES = (
    "{x} = 0.4 * {v} - 0.3 * {w}", "{x} -= 0.2 * {v} * {w}", "{x} += 0.2 * {v} * {w}", "{x} /= 2.0 + {v} * {v}",
    "{x} = math.sin({v}) * {w}", "{x} = math.sqrt(1.0 + {v} * {v})", "s += 0.1 * {v} * {w}",
    "{x} = {v} / (3.0 + {x})", "{x} = min({x}, {v} + 0.3 * {w})",
    "{x} = s * {v}", "s = 0.5 * s + {v}",
)  # fmt: skip


class _Writer:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.indices: list[str] = []

    def put(self, line: str, depth: int) -> None:
        self.lines.append("    " * depth + line)

    def cell(self) -> str:
        """An element of m or v, by indices of loops, that is one whatever they are."""
        parts = [self.place() for _ in range(2)]
        return f"m[{parts[0]}, {parts[1]}]" if self.rng.random() < 0.75 else f"v[{parts[0]}]"

    def place(self) -> str:
        if not self.indices or self.rng.random() < 0.1:
            return str(self.rng.randint(0, SIZE - 1))
        i = self.rng.choice(self.indices)
        return self.rng.choice([i, i, i, i, f"n - 1 - {i}", f"{i} // 2", f"({i} + 1) % n", f"{i} - 1", f"min({i} + 1, n - 1)"])

    def block(self, depth: int, levels: int) -> None:
        for _ in range(self.rng.randint(1, 2 if levels else 3)):
            if levels and self.rng.random() < 0.75:
                i = "ijkl"[len(self.indices)]
                outer = self.rng.choice(self.indices) if self.indices else "n"
                self.put(f"for {i} in range({self.rng.choice(RANGES).format(i=outer if self.indices else 2, n='n')}):", depth)
                self.indices.append(i)
                self.block(depth + 1, levels - 1)
                self.indices.pop()
            elif self.indices and self.rng.random() < 0.2:
                a, b = self.rng.choice(self.indices), self.rng.choice([*self.indices, "2"])
                self.put(f"if {a} {self.rng.choice(('<', '<=', '>', '!=', '=='))} {b}:", depth)
                self.block(depth + 1, 0)
            else:
                text = self.rng.choice(UPDATES).format(x=self.cell(), v=self.cell(), w=self.cell())
                self.put(text, depth)


def program(seed: int) -> Program:
    """The program of a seed: f(m, v, n) for a matrix, a vector and their length."""
    rng = random.Random(seed)
    writer = _Writer(rng)
    while not any("for" in line for line in writer.lines):
        writer.block(1, 3)
    head = ["import math", "", "", "def f(m, v, n):", "    s = 0.3"]
    source = "\n".join([*head, *writer.lines, "    return s, m, v"]) + "\n"
    values = np.random.default_rng(seed)
    return Program(source, (values.uniform(-1.0, 1.0, (SIZE, SIZE)), values.uniform(-1.0, 1.0, SIZE), SIZE))
