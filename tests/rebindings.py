"""Random programs that bind names to arrays, again and again: in loops and branches, by swaps, tuples, helpers and returns.

There are no references in the IR, so a name that a loop rebinds has memory of its own: what these programs test is who else
sees it.  ``program(seed)`` draws one; it may be refused, where a copy cannot stand for an array.
"""

from __future__ import annotations

import random

import numpy as np
from strategies import Program

__all__ = ["program"]

PREAMBLE = """\
def halve(u, v):
    for _ in range(2):
        u = 0.5 * u * v
    return u


def put(u, x):
    u[0] += x
    return u


def swap(u, v, n):
    for _ in range(n):
        u, v = v, u
    return u, v


def f(a, b, c, x, n):
    s = 0.1
"""
RESULT = "return s, a, b, c"
REBINDINGS = (
    "{u} = {v}", "{u} = {v}", "{u}, {v} = {v}, {u}", "{u} = 0.6 * {v} * {w} + 0.2", "{u} = 0.6 * {v} * {w} + 0.2",
    "{u} = 0.5 * {v} + 0.1 * x", "{u} = {v}.copy()", "{u} = halve({v}, {w})", "{u} = halve({u}, {v})", "{u} = put({v}, 0.2 * x)",
    "{u}, {v} = swap({w}, {u}, n)",
)  # fmt: skip
UPDATES = (
    "{u}[{i}] += 0.3 * {v}[{j}] * x", "{u}[1:] = 0.5 * {v}[:-1]", "{u} *= 0.9", "s += 0.2 * {u}[{i}] * {v}[{j}]",
    "s += 0.2 * {u}[0] * {v}[2]",
)  # fmt: skip


class _Writer:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.counter = 0

    def put(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def statement(self, depth: int, loop: bool) -> None:
        rng = self.rng
        names = dict(zip("uvw", rng.choices("abc", k=3), strict=True))
        names.update(i=str(rng.randrange(3)), j=str(rng.randrange(3)))
        test = f"if {names['u']}[0] * {names['v']}[1] > {rng.uniform(-0.5, 0.6):.4f}:"
        kind = rng.random()
        if kind < 0.45 or depth > 4:
            self.put(depth, rng.choice(REBINDINGS).format(**names))
        elif kind < 0.6:
            self.put(depth, rng.choice(UPDATES).format(**names))
        elif kind < 0.67:
            kept = self.fresh("t")
            self.put(depth, "{t} = ({u}, {v})".format(t=kept, **names))
            self.statement(depth, loop)
            self.put(depth, f"s += 0.1 * {kept}[0][1] * {kept}[1][0]")
        elif kind < 0.74:
            self.put(depth, test)
            self.put(depth + 1, rng.choice(("break", "continue", RESULT)) if loop else RESULT)
        elif kind < 0.82:
            self.put(depth, test)
            self.block(depth + 1, loop)
            if rng.random() < 0.4:
                self.put(depth, "else:")
                self.block(depth + 1, loop)
        elif kind < 0.95:
            bounds = rng.choice(("2", "n", "3, 1, -1"))
            self.put(depth, f"for {self.fresh('i')} in range({bounds}):")
            self.block(depth + 1, True)
        else:
            k = self.fresh("k")
            self.put(depth, f"{k} = 0")
            self.put(depth, f"while {k} < n:")
            self.put(depth + 1, f"{k} += 1")
            self.block(depth + 1, True)

    def block(self, depth: int, loop: bool) -> None:
        for _ in range(self.rng.randint(1, 3)):
            self.statement(depth, loop)


def program(seed: int) -> Program:
    """The program of a seed: f(a, b, c, x, n) for three vectors of one length, a number and an integer in 0..3."""
    writer = _Writer(seed)
    for _ in range(writer.rng.randint(3, 6)):
        writer.statement(1, False)
    writer.put(1, RESULT)
    rng = np.random.default_rng(seed)
    vectors = [rng.uniform(-1.0, 1.0, 3) for _ in range(3)]
    return Program(PREAMBLE + "\n".join(writer.lines) + "\n", (*vectors, 0.37, int(rng.integers(0, 4))))
