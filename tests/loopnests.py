"""Random nests of loops over arrays, as source text: what the optimisations of the adjoint (rerun, split, gather, hoist) act on.

The programs of :mod:`strategies` are small and varied; these are long in one direction.  Windows with offsets, rows under two
names, arrays made in loops, helpers that overwrite, early exits, updates in place of what a later loop reads.  A program is
drawn from a seed: ``program(seed)``.  As there, indices are valid, loops are short and values stay bounded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from strategies import Program

__all__ = ["program"]

PREAMBLE = """\
import math

import numpy as np


def scan(v, c):
    for i in range(1, len(v)):
        v[i] = 0.5 * v[i] + 0.3 * v[i - 1] * c
    return 0.2 * v[0] * v[-1]


def mix(u, v):
    for i in range(len(u)):
        u[i] += 0.1 * v[i] * v[i - 1]
        v[i] *= 0.9
    for i in range(len(u) - 2):
        v[i + 1] += 0.1 * u[i] * u[i + 2]


def exchange(u, v, c):
    for i in range(2):
        u[i] += 0.2 * v[i + 1] * c
        u, v = v, u
    return 0.1 * u[0] * v[1]


def choose(u, v, c):
    if c > 0.1:
        return u
    return v


def fresh(u, c):
    w = np.empty(5)
    for i in range(5):
        w[i] = 0.7 * u[i] + c * 0.1
    return w


def f(a, b, c, m, x, n):
    s = 0.1
    q = x * 0.5
"""
RESULT = "return s, q, a, b, c, m"
SIZE, ROWS = 5, 4
TERMS = (
    "{v}", "0.5 * ({v} + {w})", "0.3 * {v} * {w}", "{v} / (2.0 + {w} * {w})", "math.sin({v})", "0.4 * {v} - 0.3 * {w}",
    "0.2 * ({v} - 2.0 * {w} + {z})", "0.5 * math.tanh({v} * {w})", "min({v}, {w} + 0.31)", "abs({v} - 0.123)",
    "0.3 * {v} ** 2", "({v} if {w} > 0.2345 else 0.5 * {w})",
)  # fmt: skip
#: the argument of range, and the least and the greatest value of the index
RANGES = (
    ("5", 0, 4), ("len(a)", 0, 4), ("1, 4", 1, 3), ("1, len(a) - 1", 1, 3), ("4, -1, -1", 0, 4), ("3, 0, -1", 1, 3), ("n", 0, 2),
    ("0, 5, 2", 0, 4), ("2, 5", 2, 4), ("-3, 2", -3, 1), ("n, 4", 0, 3), ("3", 0, 2), ("2, 2 + n", 2, 4),
)  # fmt: skip


class _Writer:
    def __init__(self, rng: random.Random, names: bool) -> None:
        self.rng, self.names = rng, names
        self.lines: list[str] = []
        self.depth, self.loops, self.counter = 1, 0, 0
        self.floats, self.vectors = ["x", "s", "q"], ["a", "b", "c"]
        self.indices: list[tuple[str, int, int]] = []
        self.budget = rng.randint(2, 8) if names else rng.randint(4, 12)

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    # --------------------------------------------------------------------------------------------------- expressions
    def index(self, size: int) -> str:
        """An integer in [-size, size)."""
        options = [str(self.rng.randint(-size, size - 1))]
        for name, low, high in self.indices:
            for c in range(-3, 4):
                if low + c >= -size and high + c < size:
                    options += [f"{name} + {c}" if c > 0 else f"{name} - {-c}" if c else name] * 2
            options.append(f"({self.rng.randint(1, 3)} * {name} + {self.rng.randint(0, 4)}) % {size}")
            if 0 <= low and high < size:
                options += [f"{name} // 2", f"{size - 1} - {name}"]
        return self.rng.choice(options)

    def cell(self) -> str:
        if self.rng.random() < 0.25:
            return f"m[{self.index(ROWS)}, {self.index(SIZE)}]"
        return f"{self.rng.choice(self.vectors)}[{self.index(SIZE)}]"

    def atom(self) -> str:
        kind = self.rng.random()
        if kind < 0.6:
            return self.cell()
        if kind < 0.9:
            return self.rng.choice(self.floats)
        if kind < 0.95 and self.indices:
            return f"0.2 * {self.rng.choice(self.indices)[0]}"
        return str(round(self.rng.uniform(-1.0, 1.0), 2))

    def term(self) -> str:
        return self.rng.choice(TERMS).format(v=self.atom(), w=self.atom(), z=self.atom())

    def condition(self) -> str:
        bound = self.rng.uniform(-0.7, 0.7)
        options = [f"{self.atom()} > {bound:.5f}", f"{self.atom()} * {self.atom()} < {bound:.5f}"]
        for name, low, high in self.indices:
            k = self.rng.randint(low, high)
            options += [f"{name} % 2 == 0", f"{name} > {k}", f"{name} != {k}"]
        return self.rng.choice(options)

    def row(self, k: int) -> str:
        return self.rng.choice([*self.vectors, f"m[{k}]"])

    # ---------------------------------------------------------------------------------------------------- statements
    def update(self) -> None:
        target = self.cell() if self.rng.random() < 0.7 else self.rng.choice(self.floats)
        form = self.rng.choice(("{x} = {t}", "{x} += {t}", "{x} += {t}", "{x} -= 0.3 * {t}", "{x} *= 0.8", "{c} = {k}"))
        self.put(form.format(x=target, t=self.term(), c=self.cell(), k=self.rng.choice(("0.0", "1.0", "x", "s"))))

    def define(self) -> None:
        name = self.fresh("t")
        self.put(f"{name} = {self.term()}")
        self.floats.append(name)

    def array(self) -> None:
        name = self.fresh("w")
        self.put(f"{name} = " + self.rng.choice(("np.zeros(5)", f"{self.rng.choice(self.vectors)}.copy()", "np.ones_like(a)")))
        self.vectors.append(name)
        self.update()

    def view(self) -> None:
        name = self.fresh("r")
        self.put(f"{name} = m[{self.index(ROWS)}]")
        self.vectors.append(name)

    def leave(self) -> None:
        self.put(f"if {self.condition()}:")
        how = self.rng.choice(("break", "continue", RESULT) if self.loops else (RESULT,))
        self.lines.append("    " * (self.depth + 1) + how)

    def call(self) -> None:
        if self.rng.random() < 0.5:
            self.put(f"s += scan({self.row(1)}, {self.term()})")
        else:
            self.put(f"mix({self.row(2)}, {self.row(0)})")

    def branch(self) -> None:
        self.put(f"if {self.condition()}:")
        with self.block():
            self.body()

    def for_loop(self) -> None:
        bounds, low, high = self.rng.choice(RANGES)
        name = self.fresh("i")
        self.put(f"for {name} in range({bounds}):")
        with self.block(loop=True):
            self.indices.append((name, low, high))
            self.body()

    def while_loop(self) -> None:
        name = self.fresh("k")
        self.put(f"{name} = 0")
        self.put(f"while {name} < 3 and {self.condition()}:")
        with self.block(loop=True):
            self.put(f"{name} += 1")
            self.indices.append((name, 1, 3))
            self.body()

    def rename(self) -> None:
        """Let a name mean another array, or an array have another name."""
        u, v, w = (self.rng.choice(self.vectors) for _ in range(3))
        form = self.rng.choice((
            "{u}, {v} = {v}, {u}", "{u}, {v} = {v}, {u}", "{u} = {v}", "if {q}:\n    {u} = {v}", "{u} = fresh({v}, {t})",
            "s += exchange({u}, {v}, {t})", "{u} = choose({v}, {w}, {t})", "{g} = {u}", "s += choose({u}, {v}, {t})[{i}]",
            "{g} = ({u}, {v})\n{g}[0][{i}] += {t}\ns += {g}[1][{j}]",
        ))  # fmt: skip
        new = self.fresh("g")
        parts = {"i": self.index(SIZE), "j": self.index(SIZE), "t": self.term(), "q": self.condition()}
        for line in form.format(u=u, v=v, w=w, g=new, **parts).splitlines():
            self.put(line)
        if form == "{g} = {u}":
            self.vectors.append(new)

    @contextmanager
    def block(self, loop: bool = False) -> Iterator[None]:
        """An indented block; what it defines is forgotten afterwards."""
        known = list(self.floats), list(self.vectors), list(self.indices)
        self.depth += 1
        self.loops += loop
        yield
        self.depth -= 1
        self.loops -= loop
        self.floats, self.vectors, self.indices = known

    def body(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            self.budget -= 1
            self.statement()

    def statement(self) -> None:
        kinds = [self.update] * 20 + [self.define, self.array, self.view, self.leave, self.leave, self.call, self.call]
        if self.depth < 5 and self.budget > -6:
            kinds += [self.branch] * 3 + [self.for_loop] * 4 + [self.while_loop]
        if self.names:
            kinds += [self.rename] * 10
        self.rng.choice(kinds)()


def program(seed: int, names: bool = False) -> Program:
    """The program of a seed: ``f(a, b, c, m, x, n)`` with three vectors, a matrix, a number and an integer in 0..3.

    With ``names``, arrays are swapped, chosen at run time and known under several names: such programs may be refused.
    """
    writer = _Writer(random.Random(seed), names)
    while writer.budget > 0:
        writer.budget -= 1
        writer.for_loop() if writer.rng.random() < 0.6 else writer.statement()
    writer.put(RESULT)
    rng = np.random.default_rng(seed)
    vectors = [rng.uniform(-1.0, 1.0, SIZE) for _ in range(3)]
    args = (*vectors, rng.uniform(-1.0, 1.0, (ROWS, SIZE)), 0.37, int(rng.integers(0, 4)))
    return Program(PREAMBLE + "\n".join(writer.lines) + "\n", args)
