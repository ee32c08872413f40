"""Random programs over small arrays that they make themselves: what becomes scalars where every index is known.

Arrays of two to four cells, and of 2 x 2, are made by a list, filled, copied, computed, or written cell by cell, outside of
loops, in them, in branches; they are read and overwritten at literals (negative ones, too), at the indices of short loops, as
a whole, by helpers, and now and then at an index that is known only at run time, so that some stay arrays.  ``program(seed)``
draws one.
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


def turned(v, x):
    return np.array([v[1] * x, 0.5 * v[0] - v[1]])


def eased(v, x):
    out = np.empty(len(v))
    for i in range(len(v)):
        out[i] = 0.6 * v[i] + 0.3 * x
    return out


def nudged(v, x):
    v[0] += 0.2 * x
    return v[-1] * x


def f(a, x, y, n, c):
    c = max(min(c, 1), 0)
    s = 0.3
"""
RESULTS = ("s, x, y, a", "s", "np.array([x, s * y, {v}])", "a + {v}", "(s, {w} * 1.0)", "{w}", "0.5 * {w}, x")
UPDATES = (
    "{x} = 0.4 * {v} - 0.3 * {w}", "{x} = {v} * {w}", "{x} = math.sin({v}) * {w}", "{x} = s * {v}", "{x} = {v}", "{x} = 0.25",
    "{x} += 0.2 * {v} * {w}", "{x} -= 0.1 * s * {v}", "{x} *= 0.7", "{x} = {v} / (2.0 + {w} * {w})", "{x}, {v} = {v}, {x}",
    "s += 0.2 * {v} * {w}", "s = 0.5 * s + {v}", "x = 0.5 * math.tanh({v}) + {w}", "y = {v} - 0.3 * {w} * x",
)  # fmt: skip
WHOLE = (
    "{u} = 0.5 * {v} + 0.2 * x", "{u} = {v} * {w}", "{u}[:] = 0.6 * {v} - {w}", "{u} += 0.3 * {v}", "{u}, {v} = {v}, {u}",
    "{u} = {v}.copy()", "{u} = {v}", "s += 0.2 * np.sum({u} * {v})", "s = 0.5 * s + {u} @ {v}", "{u} = eased({v}, x)",
    "s += nudged({u}, y)", "{u} = np.where({v} > 0.1, {v}, 0.5 * {w})", "{u}[1:] = 0.5 * {u}[:-1]", "{u} = {v}[::-1] * 0.9",
    "{u} *= 0.8", "s -= 0.1 * np.max({u})", "{u}[0], {u}[-1] = {v}[1], {w}[0]",
)  # fmt: skip


class _Writer:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.depth, self.loops, self.counter = 1, 0, 0
        self.arrays: dict[str, int] = {}  # of one axis: their lengths (0: 2 x 2)
        self.indices: dict[str, int] = {}  # of loops: how often they run
        self.budget = self.rng.randint(6, 16)

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    # ----------------------------------------------------------------------------------------------------------- numbers
    def index(self, size: int) -> str:
        rng = self.rng
        found = [str(rng.randrange(size)), str(rng.randrange(size)), str(-rng.randint(1, size))]
        for i, rounds in self.indices.items():
            if rounds <= size:
                found += [i, i, i, f"{size - 1} - {i}", f"-1 - {i}", f"({i} + 1) % {size}"]
            if rounds < size:
                found += [f"{i} + 1"]
        if rng.random() < 0.03:
            return "c"
        return rng.choice(found)

    def cell(self) -> str:
        if not self.arrays or self.rng.random() < 0.1:
            return f"a[{self.index(2)}]"
        name = self.rng.choice(list(self.arrays))
        size = self.arrays[name]
        return f"{name}[{self.index(size)}]" if size else f"{name}[{self.index(2)}, {self.index(2)}]"

    def value(self) -> str:
        return self.cell() if self.rng.random() < 0.75 else self.rng.choice(("x", "y", "s", "0.7"))

    def condition(self) -> str:
        forms = [f"{self.value()} > {self.rng.uniform(-0.4, 0.8):.5f}", f"{self.cell()} < {self.cell()}", "c == 1", "n > 2"]
        forms += [f"{i} {op} {self.rng.randint(0, 2)}" for i in self.indices for op in ("==", ">", "<", "!=")]
        return self.rng.choice(forms)

    # -------------------------------------------------------------------------------------------------------- statements
    def make(self) -> None:
        rng = self.rng
        name, size = self.fresh("w"), rng.choice((2, 2, 2, 3, 4, 0))
        alike = [v for v, n in self.arrays.items() if n == size]
        if size == 0:
            self.put(f"{name} = {rng.choice(('np.zeros((2, 2))', 'np.ones((2, 2))', 'np.outer(a, a)', 'np.eye(2)'))}")
        elif alike and rng.random() < 0.4:
            how = rng.choice(("{v}.copy()", "0.5 * {v}", "{v} * {v} + x", "{v}[::-1] * y"))
            self.put(f"{name} = {how.format(v=rng.choice(alike))}")
        elif size == 2 and rng.random() < 0.3:
            self.put(f"{name} = {rng.choice(('turned(a, x)', 'np.array([x, y])', 'a + np.array([s, x])', 'turned(0.5 * a, s)'))}")
        elif rng.random() < 0.3:  # written before it is read, cell by cell
            self.put(f"{name} = np.empty({size})")
            if rng.random() < 0.5:
                i = self.fresh("i")
                self.put(f"for {i} in range({size}):")
                self.put(f"    {name}[{i}] = 0.3 * x + 0.2 * {i}")
            else:
                self.put(f"if {self.condition()}:")
                self.lines += ["    " * (self.depth + 1) + f"{name}[{k}] = {self.value()}" for k in range(size)]
                self.put("else:")
                self.lines += ["    " * (self.depth + 1) + f"{name}[{k}] = {self.value()}" for k in reversed(range(size))]
        else:
            listed = f"np.array([{', '.join(self.value() for _ in range(size))}])"
            self.put(f"{name} = {rng.choice((listed, listed, f'np.zeros({size})', f'np.full({size}, x)', f'np.ones({size})'))}")
        self.arrays[name] = size

    def update(self) -> None:
        text = self.rng.choice(UPDATES)
        self.put(text.format(x=self.cell(), v=self.cell() if "}, {" in text else self.value(), w=self.value()))

    def whole(self) -> None:
        sizes = [n for n in self.arrays.values() if n]
        if sizes:
            size = self.rng.choice(sizes)
            u, v, w = self.rng.choices([name for name, n in self.arrays.items() if n == size], k=3)
            self.put(self.rng.choice(WHOLE).format(u=u, v=v, w=w))

    def for_loop(self) -> None:
        rounds, text = self.rng.choice(
            ((2, "2"), (2, "2"), (3, "3"), (2, "1, -1, -1"), (9, "n"), (9, "4 * n"), (9, "0"), (9, "1"))
        )
        i = self.fresh("i")
        self.put(f"for {i} in range({text}):")
        with self.block(loop=True):
            if rounds < 9:
                self.indices[i] = rounds
            self.body()

    def while_loop(self) -> None:
        k = self.fresh("k")
        self.put(f"{k} = 0")
        self.put(f"while {k} < 3 and {self.cell()} < 1.5:")
        with self.block(loop=True):
            self.put(f"{k} += 1")
            self.body()

    def branch(self) -> None:
        self.put(f"if {self.condition()}:")
        with self.block():
            self.body()
        if self.rng.random() < 0.5:
            self.put("else:")
            with self.block():
                self.body()

    def leave(self) -> None:
        self.put(f"if {self.condition()}:")
        self.lines.append("    " * (self.depth + 1) + self.rng.choice(("break", "continue")))

    @contextmanager
    def block(self, loop: bool = False) -> Iterator[None]:
        known = dict(self.arrays), dict(self.indices)
        self.depth += 1
        self.loops += loop
        yield
        self.depth -= 1
        self.loops -= loop
        self.arrays, self.indices = known

    def body(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            kind = self.rng.random()
            self.budget -= 1
            if kind < 0.15 or not self.arrays:
                self.make()
            elif kind < 0.4:
                self.whole()
                self.update()
            elif kind < 0.5 and self.loops:
                self.leave()
                self.update()
            elif kind < 0.65 or self.depth > 3 or self.budget < 0:
                self.update()
            else:
                self.rng.choice((self.for_loop, self.for_loop, self.while_loop, self.branch))()


def program(seed: int) -> Program:
    writer = _Writer(seed)
    writer.make()
    writer.make()
    while writer.budget > 0:
        writer.body()
    v, w = writer.cell(), writer.rng.choice(list(writer.arrays))
    source = PREAMBLE + "\n".join(writer.lines) + f"\n    return {writer.rng.choice(RESULTS).format(v=v, w=w)}\n"
    rng = np.random.default_rng(seed)
    return Program(
        source, (rng.uniform(-1.0, 1.0, 2), *rng.uniform(0.2, 1.0, 2), int(rng.integers(0, 4)), int(rng.integers(0, 2)))
    )
