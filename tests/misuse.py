"""Programs that make no sense, at random: calls, operators, subscripts and statements on values of any kind.

Each must be derived or refused; nothing else may be raised.  A program is drawn from a seed: ``program(seed)``; its arguments
are those of :mod:`refused_expressions`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
from refused_expressions import HEAD

from adjointsim.derive import calls, rules
from adjointsim.derive.linalg import LINALG

__all__ = ["program"]

VALUES = (
    "a", "m", "c", "q", "o", "x", "n", "z", "w", "t", "a[1:]", "m[0]", "m.T", "a + 1.0", "a > 0.5", "w * 2.0", "q[:2]",
    "[x, 1.0]", "[i * x for i in range(3)]", "(a, a)", "(2, 2)", "(0, 1)", "(a, x)", "[a, a]", "Pair(x, 2.0)", "None", "m.size",
    "True", "m[o[:2]]", "False", "'s'", "np", "np.float64", "complex", "twice", "Pair", "2", "-1", "0", "1.5", "2j", "1 - 2j",
    "a.shape", "...", "range(3)", "np.zeros(3)", "np.zeros((2, 0))", "np.arange(4)", "a.sum()", "x > 0.5", "math.pi", "math.inf",
    "slice(1, 2)",
)  # fmt: skip
PARTS = (":", "1:", "::-1", "::2", "::n", "x:", "None", "...", "0", "-1", "n", "q", "o", "a > 0.5", "x", "(0, 1)", "z", "m > 0")
METHODS = (
    "sum", "mean", "var", "std", "max", "min", "prod", "any", "all", "argmax", "argmin", "copy", "astype", "reshape", "ravel",
    "flatten", "transpose", "dot", "clip", "argsort", "sort", "fill", "conj", "conjugate", "real", "T", "shape", "size", "ndim",
    "dtype", "cumsum", "item", "append", "_replace", "one", "nothing",
)  # fmt: skip
KEYWORDS = ("axis", "keepdims", "dtype", "k", "weights", "ord", "num", "start", "shape", "kind", "decimals", "out", "a_min")
BINARY = ("+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>", "<", "==", "!=", "and", "or", "in", "is", "not in")


def _names(objects: Iterator[object]) -> list[str]:
    """The names by which a program calls these functions."""
    found = []
    for obj in objects:
        name = getattr(obj, "__name__", "")
        for module, prefix in ((np, "np."), (np.linalg, "np.linalg."), (math, "math.")):
            if getattr(module, name, None) is obj:
                found.append(prefix + name)
        if getattr(__builtins__, name, None) is obj or (isinstance(__builtins__, dict) and __builtins__.get(name) is obj):
            found.append(name)
    return sorted(set(found))


FUNCTIONS = _names(iter([*calls._CALLS, *rules.FUNCTIONS, *LINALG]))
FUNCTIONS += ["twice", "zeroed", "Pair", "enumerate", "zip", "reversed", "print"]


class _Writer:
    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)

    def value(self, depth: int) -> str:
        r = self.r
        if depth <= 0 or r.random() < 0.3:
            return r.choice(VALUES)
        return r.choice((self.call, self.call, self.call, self.method, self.operator, self.subscript, self.chosen))(depth - 1)

    def call(self, depth: int) -> str:
        r = self.r
        args = [self.value(depth) for _ in range(r.choice((0, 1, 1, 1, 1, 2, 2, 2, 3, 4)))]
        names = r.sample(KEYWORDS, r.choice((0, 0, 0, 1, 2)))
        return f"{r.choice(FUNCTIONS)}({', '.join([*args, *(f'{name}={self.value(0)}' for name in names)])})"

    def method(self, depth: int) -> str:
        r = self.r
        owner, name = self.value(depth), r.choice(METHODS)
        if r.random() < 0.2:
            return f"({owner}).{name}"
        keyword = [f"{r.choice(KEYWORDS)}={self.value(0)}"] * (r.random() < 0.3)
        return f"({owner}).{name}({', '.join([*(self.value(0) for _ in range(r.choice((0, 0, 1, 2)))), *keyword])})"

    def operator(self, depth: int) -> str:
        if self.r.random() < 0.2:
            return f"({self.r.choice(('-', '+', '~', 'not '))}({self.value(depth)}))"
        return f"(({self.value(depth)}) {self.r.choice(BINARY)} ({self.value(depth)}))"

    def subscript(self, depth: int) -> str:
        return f"({self.value(depth)})[{', '.join(self.r.choice(PARTS) for _ in range(self.r.choice((1, 1, 1, 2, 2, 3))))}]"

    def chosen(self, depth: int) -> str:
        return f"({self.value(depth)} if {self.value(0)} else {self.value(depth)})"

    def target(self) -> str:
        r = self.r
        name = r.choice("amcqoxnzwtv")
        return name if r.random() < 0.3 else f"{name}[{', '.join(r.choice(PARTS) for _ in range(r.choice((1, 1, 2))))}]"

    def statement(self, pad: str, depth: int = 2) -> list[str]:
        r = self.r
        kind = r.randrange(8 if depth else 5)
        if kind <= 1:
            return [f"{pad}{self.target()} = {self.value(2)}"]
        if kind == 2:
            return [f"{pad}{self.target()} {r.choice(('+=', '-=', '*=', '/=', '**=', '@=', '&=', '//='))} {self.value(1)}"]
        if kind == 3:
            return [f"{pad}v, u = {self.value(1)}"]
        if kind == 4:
            return [f"{pad}{r.choice(('v', 'a'))} = {self.value(2)}"]
        inner = [line for _ in range(r.choice((1, 2))) for line in self.statement(pad + "    ", depth - 1)]
        last = [pad + "    " + r.choice(("break", "continue", "return x", "pass", "pass"))]
        if kind == 5:
            return [f"{pad}if {self.value(1)}:", *inner]
        if kind == 6:
            return [f"{pad}while {self.value(1)}:", *inner, *last]
        return [f"{pad}for {r.choice(('i', 'x', 'i, v'))} in {self.value(1)}:", *inner, *last]

    def program(self) -> str:
        lines = [line for _ in range(self.r.choice((0, 1, 1, 2))) for line in self.statement("    ")]
        return HEAD + "\n".join([*lines, f"    return {self.value(2)}"]) + "\n"


def program(seed: int) -> str:
    """The text of the program of a seed."""
    return _Writer(seed).program()
