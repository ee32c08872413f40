"""Random loops that read and overwrite a few cells of one or two arrays many times: what proofs about single cells act on.

Indices are i, i + 1, 2 * i + c, n - 1 - i, c and the like, where c is an integer that is known only at run time; inner loops
have bounds that depend on outer indices; helpers, which are compiled or not, overwrite their arguments; loops run downwards,
once, or not at all, and are left early.  ``program(seed)`` draws one; indices are valid and values stay bounded.
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

import numba
import numpy as np


def shift(v, c, x):
    for k in range(len(v) - 2):
        v[k + 2] = 0.4 * v[k + 2] + 0.3 * v[c] * x
    return v[c] * v[-1]


def weigh(v, x):
    s = 0.1
    for k in range(2):
        s = 0.5 * s * s + (v[:2] * v[:2]).sum() * s * x
        v[2:] = 0.6 * v[2:] + 0.2 * s
    return 0.3 * s


@numba.njit
def sweep(v, w, k):
    for j in range(k, 0, -1):
        v[j] = 0.5 * v[j] + 0.2 * v[j - 1] * w[k]
        w[k] = 0.7 * w[k] + 0.1 * v[j]


def one(v, k, x):
    t = v[k]
    v[k] = math.sin(t) * x
    return t * v[k]


def f(a, b, m, x, n, c, d):
    c = max(min(c, 2), 0)
    d = min(max(d, 1), 3)
    s = 0.3
"""
RESULT = "return s, x, a, b, m"
SIZE = 8
UPDATES = (
    "{x} = 0.4 * {v} - 0.3 * {w}", "{x} = {v} * {w}", "{x} = math.sin({v}) * {w}", "{x} = {v} * {v}", "{x} = s * {v}",
    "{x} = 0.5 * {x} + 0.3 * {v} * {w}", "{x} += 0.2 * {v} * {w}", "{x} -= 0.1 * s * {v}", "{x} *= 0.7", "{x} = 0.0",
    "{x} = {v} / (2.0 + {w} * {w})", "{x} = min({v}, {w} + 0.31)", "{x} = math.exp(-abs({v}))",
    "s += 0.2 * {v} * {w}", "s = 0.5 * s + {v}", "s = 0.4 * s * {v} + 0.2 * {w}", "s += {v} ** 3", "t = {v} * {w}",
    "{x}, {v} = {v}, {x}",
)  # fmt: skip
#: the argument of range for an outer index (low, high), and the least and the greatest value of the index
Bounds = tuple[str, int, int]


class _Writer:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.depth, self.counter, self.loops = 1, 0, 0
        self.indices: list[Bounds] = []
        self.arrays = ["a"] if self.rng.random() < 0.5 else ["a", "a", "b"]
        self.t = False
        self.budget = self.rng.randint(5, 14)

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    # ----------------------------------------------------------------------------------------------------------- indices
    def places(self, size: int) -> list[str]:
        """Integers in [-size, size), those of loops more often than others."""
        last = "n - 1" if size == SIZE else size - 1
        found = [("c", 0, 2), ("c", 0, 2), ("d", 1, 3), ("c + d", 1, 5), (f"{last} - c", size - 3, size - 1), ("-1 - c", -3, -1)]
        found = [x for x in found if -size <= x[1] and x[2] < size]
        found += [(str(k), k, k) for k in (self.rng.randint(0, 3), self.rng.randint(0, size - 1), self.rng.randint(-size, -1))]
        for i, low, high in self.indices:
            forms = [
                (i, low, high), (i, low, high), (f"{i} + 1", low + 1, high + 1), (f"{i} - 1", low - 1, high - 1),
                (f"2 * {i}", 2 * low, 2 * high), (f"2 * {i} + 1", 2 * low + 1, 2 * high + 1), (f"{i} + c", low, high + 2),
                (f"2 * {i} + c", 2 * low, 2 * high + 2), (f"{i} - c", low - 2, high), (f"{i} + d", low + 1, high + 3),
                (f"max({i} - 1, 0)", 0, max(high - 1, 0)), (f"min({i} + 1, {size - 1})", min(low + 1, size - 1), size - 1),
                (f"max({i}, c)", max(low, 0), max(high, 2)),
            ]  # fmt: skip
            if low >= 0 and high < size:
                forms += [(f"{last} - {i}", 0, size - 1), (f"{i} // 2", 0, high // 2)]
                forms += [(f"({i} + c) % {size}", 0, size - 1)]
            forms = [x for x in forms if -size <= x[1] and x[2] < size and (x[1] >= 0 or self.rng.random() < 0.3)]
            found += 3 * forms
        for i, low, high in self.indices:
            for j, other, most in self.indices:
                if i != j and low >= other >= 0 and -size <= low - most and high - other < size:
                    found += 2 * [(f"{i} - {j}", low - most, high - other)]
                if i < j and low + other >= -size and high + most < size:
                    found += 2 * [(f"{i} + {j}", low + other, high + most)]
        return [x for x, _, _ in found]

    def index(self, size: int = SIZE) -> str:
        return self.rng.choice(self.places(size))

    def array(self) -> str:
        return self.rng.choice(self.arrays)

    def cell(self) -> str:
        if self.rng.random() < 0.15:
            return f"m[{self.index(4)}, {self.index(4)}]"
        return f"{self.array()}[{self.index()}]"

    def value(self) -> str:
        kind = self.rng.random()
        if kind < 0.8:
            return self.cell()
        return self.rng.choice(["x", "s", "t" if self.t else "x"])

    def condition(self) -> str:
        forms = ["c > 0", "d == 2", "c < d", f"{self.cell()} > {self.rng.uniform(-0.6, 0.6):.5f}"]
        for i, _, _ in self.indices:
            other = self.rng.choice(["c", "d", "2", "n // 2", *(j for j, _, _ in self.indices)])
            forms += [f"{i} {op} {other}" for op in ("<", "<=", ">", "!=", "==")] + [f"{i} % 2 == {self.rng.randint(0, 1)}"]
            forms += [f"{i} > c and not {i} == d"]
        return self.rng.choice(forms)

    # -------------------------------------------------------------------------------------------------------- statements
    def update(self) -> None:
        text = self.rng.choice(UPDATES)
        self.put(text.format(x=self.cell(), v=self.cell() if "}, {" in text else self.value(), w=self.value()))
        self.t = self.t or text.startswith("t =")

    def ranges(self) -> list[Bounds]:
        found = [
            ("n", 0, SIZE - 1), ("n // 2 - 1", 0, 2), ("1, n", 1, SIZE - 1), ("1, n - 1", 1, SIZE - 2), ("3", 0, 2), ("1", 0, 0),
            ("n - 1, -1, -1", 0, SIZE - 1), ("n - 2, 0, -1", 1, SIZE - 2), ("0, n, 2", 0, SIZE - 1), ("c", 0, 1),
            ("c, n", 0, SIZE - 1), ("d, d + 3", 1, 5), ("n - c", 0, SIZE - 1), ("n - 1, c, -1", 1, SIZE - 1), ("c, -1, -1", 0, 2),
            ("-c, 1", -2, 0), ("5, c, -2", 1, 5), ("0", 0, 0), ("c, d", 0, 2), ("2", 0, 1), ("c, n, d", 0, SIZE - 1),
        ]  # fmt: skip
        for i, low, high in self.indices:
            found += 2 * [
                (i, 0, max(high - 1, 0)), (f"{i} + 1", 0, max(high, 0)), (f"{i}, n", low, SIZE - 1),
                (f"{i} + 1, n", low + 1, SIZE - 1), (f"{i}, -1, -1", 0, max(high, 0)), (f"n - 1, {i}, -1", low + 1, SIZE - 1),
                (f"{i}, {i} + 2", low, high + 1), (f"max({i} - 1, 0), min({i} + 2, n)", 0, SIZE - 1),
                (f"{i} - c, {i} + 1", low - 2, high), (f"{i}, {i} + 1", low, high), (f"{i} - 1, -1, -1", 0, max(high - 1, 0)),
            ]  # fmt: skip
            found += [(f"n - {i}", 0, SIZE - 1 - low)] if low >= 0 else []
        return [x for x in found if x[1] <= x[2]]

    def for_loop(self) -> None:
        bounds, low, high = self.rng.choice(self.ranges())
        self.counter += 1
        name = f"{'ijkl'[min(len(self.indices), 3)]}{self.counter}"
        self.put(f"for {name} in range({bounds}):")
        with self.block():
            self.indices.append((name, low, high))
            self.body()

    def while_loop(self) -> None:
        self.counter += 1
        name = f"k{self.counter}"
        self.put(f"{name} = {self.rng.choice(('0', 'c'))}")
        self.put(f"while {name} < {self.rng.choice(('3', 'n // 2', '3 and ' + self.condition()))}:")
        with self.block():
            late = self.rng.random() < 0.5
            if not late:
                self.put(f"{name} += 1")
            self.indices.append((name, 0, 3) if late else (name, 1, 4))
            self.body(leaving=not late)
            if late:
                self.put(f"{name} += 1")

    def branch(self) -> None:
        self.put(f"if {self.condition()}:")
        with self.block(loop=False):
            self.body()
        if self.rng.random() < 0.3:
            self.put("else:")
            with self.block(loop=False):
                self.body()

    def leave(self) -> None:
        self.put(f"if {self.condition()}:")
        how = self.rng.choice(("break", "break", "continue", RESULT)) if self.loops else RESULT
        self.lines.append("    " * (self.depth + 1) + how)

    def call(self) -> None:
        row = self.rng.choice(["a", "a", "b", "m[c]", "m[1]", "a[c:]", "a[::-1]", "a[1:-1]"])
        form = self.rng.choice(
            ("s += 0.2 * shift({v}, c, {x})", "s = 0.5 * s + weigh({v}, {x})", "sweep(a, b, {k})", "s += one({v}, {i}, {x})",
             "a[{i}] = 0.5 * one({v}, {i}, a[{j}])", "{u}[c:c + 3] = 0.5 * {u}[d:d + 3] * {x}", "{u}[1:] += 0.2 * {u}[:-1]",
             "s += 0.1 * np.sum({v})", "{u}[:] = 0.8 * {u}[::-1]")
        )  # fmt: skip
        i, j = self.index(4), self.index(4)
        k = self.rng.choice(["c", "d", "3", "n - 1"])
        self.put(form.format(v=row, x=self.value(), k=k, i=i, j=j, u=self.rng.choice("ab")))

    def local(self) -> None:
        """An array that is made here, perhaps in a loop, and forgotten at the end of the block."""
        self.counter += 1
        name = f"w{self.counter}"
        how = self.rng.choice(("np.zeros(n)", "a.copy()", "np.zeros(n + c)", "np.ones(8)", "0.5 * a", "np.empty(8)"))
        self.put(f"{name} = {how}")
        if "empty" in how:
            self.put(f"{name}[:] = {self.array()}")
        self.arrays += [name, name]
        self.update()

    @contextmanager
    def block(self, loop: bool = True) -> Iterator[None]:
        known = list(self.arrays), list(self.indices), self.t
        self.depth += 1
        self.loops += loop
        yield
        self.depth -= 1
        self.loops -= loop
        self.arrays, self.indices, self.t = known

    def body(self, leaving: bool = True) -> None:
        loops, self.loops = self.loops, self.loops if leaving else 0
        for _ in range(self.rng.randint(1, 4)):
            self.budget -= 1
            self.statement()
        self.loops = loops

    def statement(self) -> None:
        kinds = [self.update] * 16 + [self.call, self.local] + [self.leave] * (self.loops > 0)
        if self.depth < 4 and self.budget > -6:
            kinds += [self.for_loop] * 5 + [self.branch] * 3 + [self.while_loop]
        self.rng.choice(kinds)()


def program(seed: int) -> Program:
    """The program of a seed: f(a, b, m, x, n, c, d) for two vectors, a matrix, a number, their length and two integers."""
    writer = _Writer(seed)
    while writer.budget > 0:
        writer.budget -= 1
        writer.for_loop() if writer.rng.random() < 0.7 else writer.statement()
    writer.put(RESULT)
    rng = np.random.default_rng(seed)
    vectors = rng.uniform(-1.0, 1.0, SIZE), rng.uniform(-1.0, 1.0, SIZE)
    args = (*vectors, rng.uniform(-1.0, 1.0, (4, 4)), 0.37, SIZE, int(rng.integers(-1, 4)), int(rng.integers(0, 5)))
    return Program(PREAMBLE + "\n".join(writer.lines) + "\n", args)
