"""Random programs of array expressions, as source text: slices, views, broadcasting, in-place operators, reductions, masks.

They stand in loops, or in nests of loops and branches with early exits.  All arrays have lengths that fit together: vectors of
6 and matrices of 4 by 6.  Values stay bounded.  A program is drawn from a seed: ``program(seed)``.
"""

from __future__ import annotations

import random

import numpy as np
from strategies import Program

__all__ = ["program"]

PREAMBLE = """\
import numpy as np


def relax(u, k):
    u[1:-1] += k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return u.sum()


def blend(u, v):
    return 0.5 * u + 0.3 * np.tanh(v)


def f(a, b, m, x, n):
"""
VECTORS = ("a", "b", "m[0]", "m[-1]", "m[i % 4]", "a[::-1]", "m[1][::-1]", "np.roll(b, i)", "m.sum(axis=0)", "m.T[:, 2]")
WRITTEN = ("a", "b", "m[1]", "m[i % 4]", "a[::-1]")
SLICES = ("1:5", "2:6", ":4", "-4:", "::-1", "0:6:2", "5:1:-1", "1:-1")
LENGTHS = {s: len(range(6)[slice(*(int(p) if p else None for p in s.split(":")))]) for s in SLICES}


RESULT = "return a, b, m, x"


class _Writer:
    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.lines: list[str] = []
        self.loops = 0

    def vector(self, depth: int, n: int = 6) -> str:
        """An expression of ``n`` elements."""
        r = self.r
        if depth <= 0 or r.random() < 0.2:
            if n == 6:
                return r.choice(VECTORS)
            return f"{r.choice(VECTORS)}[{r.choice([s for s in SLICES if LENGTHS[s] == n])}]"
        left, right = self.vector(depth - 1, n), self.vector(depth - 1, n)
        forms = (
            "({} + {})", "({} - 0.5 * {})", "0.5 * ({} * {})", "np.sin({}) * {}", "np.where({} > 0.1, {}, 0.3)",
            "np.maximum({}, {})", "({} / (2.0 + {} ** 2))", "np.tanh({} - {} * x)", "({} + x - {}.mean())",
        )  # fmt: skip
        if n == 6:
            forms += ("blend({}, {})", "(({} @ {}) * b)", "np.cumsum(0.2 * {}) * {}", "((m * {})[1] + {})")
        return r.choice(forms).format(left, right)

    def number(self) -> str:
        v = self.vector(1)
        forms = ("({}).sum()", "({}).mean()", "({} * 0.4) @ a", "({}).max()", "np.linalg.norm({})", "({})[-2]")
        return self.r.choice(forms).format(v)

    def statement(self, pad: str) -> None:
        r = self.r
        kind = r.randrange(9)
        target = r.choice(WRITTEN)
        if kind == 0:
            self.put(pad, f"{r.choice(('a', 'b'))} = 0.7 * {self.vector(2)}")
        elif kind <= 2:
            s = r.choice(SLICES)
            self.put(pad, f"{target}[{s}] = np.sin({self.vector(2, LENGTHS[s])})")
        elif kind == 3:
            s = r.choice(SLICES)
            self.put(pad, f"{target}[{s}] {r.choice(('+=', '-=', '*='))} np.cos({self.vector(1, LENGTHS[s])})")
        elif kind == 4:
            self.put(pad, f"{r.choice(('a', 'b'))} {r.choice(('+=', '*='))} 0.3 * np.tanh({self.vector(1)})")
        elif kind == 5:
            self.put(pad, f"m[:, {r.choice(('1:5', '::-1', '2:6'))}] *= 0.5")
            self.put(pad, f"m[1:] -= 0.2 * np.sin({r.choice(('m[:-1]', 'm[1:] * a', 'b', 'm[::-1][1:]'))})")
        elif kind == 6:
            self.put(pad, f"x = np.sin(x + 0.3 * {self.number()})")
        elif kind == 7:
            self.put(pad, f"x += 0.1 * relax({r.choice(('a', 'b', 'm[2]', 'a[1:]', 'm[i % 4]'))}, 0.1 * x)")
        else:
            self.put(pad, f"if {self.number()} > 0.2:")
            self.statement(pad + "    ")

    def nested(self, pad: str, depth: int) -> None:
        """Loops in branches in loops, left early, with array statements everywhere."""
        r = self.r
        for _ in range(r.randint(1, 3)):
            kind = r.randrange(10)
            if kind < 4 or depth == 0:
                self.statement(pad)
            elif kind == 4:
                mask = f"{self.vector(1)} > {r.uniform(-0.6, 0.6):.5f}"
                self.put(pad, f"{r.choice(WRITTEN)}[{mask}] {r.choice(('= 0.3', '= x', '*= 0.5'))}")
            elif kind == 5:
                self.put(pad, f"if {self.number()} > {r.uniform(-0.6, 0.6):.5f}:")
                self.put(pad + "    ", r.choice(("break", "continue", RESULT)) if self.loops else RESULT)
            elif kind == 6:
                self.put(pad, f"if {r.choice((f'{self.number()} < {r.uniform(-0.6, 0.6):.5f}', 'i % 2 == 0', 'n > 1'))}:")
                self.nested(pad + "    ", depth - 1)
                if r.random() < 0.5:
                    self.put(pad, "else:")
                    self.nested(pad + "    ", depth - 1)
            else:
                k = f"k{len(self.lines)}"
                bounds = r.choice(("2", "3", "n", "3, -1, -1", "i, 4"))
                head = r.choice((f"for i in range({bounds}):", f"while {k} < 3:", "for v in m[::2]:"))
                if head[0] == "w":
                    self.put(pad, f"{k} = 0")
                self.put(pad, head)
                self.loops += 1
                if head[0] == "w":
                    self.put(pad + "    ", f"{k} += 1")
                elif " v " in head:
                    self.put(pad + "    ", f"{r.choice('ab')}[1:5] += 0.1 * np.sin(v[2:])")
                self.nested(pad + "    ", depth - 1)
                self.loops -= 1

    def put(self, pad: str, text: str) -> None:
        self.lines.append(pad + text)

    def program(self, deep: bool) -> str:
        pad = "    "
        self.put(pad, "i = n")
        if deep:
            self.nested(pad, 3)
        for _ in range(self.r.randint(2, 4)):
            if self.r.random() < 0.35:
                self.put(pad, f"for i in range({self.r.choice(('2', '3', 'n'))}):")
                for _ in range(self.r.randint(1, 3)):
                    self.statement(2 * pad)
            else:
                self.statement(pad)
        self.put(pad, RESULT)
        return PREAMBLE + "\n".join(self.lines) + "\n"


def program(seed: int, deep: bool = False) -> Program:
    """The program of this seed, with arguments; ``deep`` ones begin with a nest of loops and branches."""
    rng = np.random.default_rng(seed)
    args = (rng.uniform(-1, 1, 6), rng.uniform(-1, 1, 6), rng.uniform(-1, 1, (4, 6)), float(rng.uniform(-1, 1)), 2)
    return Program(_Writer(seed).program(deep), args)
