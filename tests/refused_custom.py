"""Calls of functions with rules of their own that are refused: data only, as in :mod:`refused`.

Each program defines a function ``g`` with its rule, and ``f``, which calls it in the line that is blamed.
"""

from __future__ import annotations

from textwrap import dedent

import numpy as np
from refused import Refused

__all__ = ["CUSTOM"]

CUSTOM: list[Refused] = []
V = np.array([0.5, -0.2, 0.8])
PROGRAM = """\
import numpy as np

import adjointsim as adj

TABLE = np.ones(3)


@adj.custom_vjp{decorator}
{text}


def f({names}):
    return np.sum(np.abs(g({names})[0]))
"""


def refuse(name: str, decorator: str, text: str, *messages: str, args: tuple = (V,)) -> None:
    """Enter a program: what decorates ``g``, its body and rule, and what the message must contain."""
    names = ", ".join("uvw"[: len(args)])
    source = PROGRAM.format(decorator=decorator, text=dedent(text).strip(), names=names)
    CUSTOM.append(Refused(name, source, ("return np.sum(np.abs(g(",), messages, args))


DOUBLED = """
    def g(u):
        return 2.0 * u

    @g.defvjp
    def rule(out, bar, u):
        return {}
    """
SEVERAL = """
    def g(u):
        return np.ones((2, 2)) * u[0], 2.0 * u

    @g.defvjp
    def rule(out, bar, u):
        return 2.0 * bar[1]
    """

refuse("a shape that is no function", "(shape=3)", DOUBLED.format("2.0 * bar"), "the shape of g must be a function")
refuse("a shape of other arguments", "(shape=lambda u, v: (3,))", DOUBLED.format("2.0 * bar"),
       "the shape of g must take its 1 arguments")  # fmt: skip
refuse("a shape of two lengths", "(shape=lambda u: (3, 3))", DOUBLED.format("2.0 * bar"),
       "the shape of g must be 1 ints, got a tuple of 2")  # fmt: skip
refuse("one shape of two", "(shape=lambda u: ((2, 2),))", SEVERAL, "the shape of g must give one for each of its arrays")
refuse("no shape", "", SEVERAL, "g returns a 2-d array, and no argument is one: say its shape")
refuse("a rule with another array", "", DOUBLED.format("np.outer(bar, u)"), "a 1-d array is expected")
refuse("a rule with something else", "", DOUBLED.format("('two',)"), "a 1-d array is expected")
refuse("a rule with an array for a number", "", """
    def g(u, v):
        return v * u

    @g.defvjp
    def rule(out, bar, u, v):
        return v * bar, u * bar
    """, "entry 1 is a 1-d array, a number is expected", args=(V, 0.5))  # fmt: skip
refuse("a rule with a number for complex numbers", "", DOUBLED.format("2.0 * bar[0]"), "is returned where c16[:] is expected",
       args=(V + 1j,))  # fmt: skip
refuse("a rule with too few derivatives", "", """
    def g(u, v):
        return v * u

    @g.defvjp
    def rule(out, bar, u, v):
        return v * bar
    """, "2 derivatives are expected", args=(V, 0.5))  # fmt: skip
refuse("a rule that calls its function and captures", "", DOUBLED.format("2.0 * bar + 0.0 * g(u) * TABLE"),
       "a rule of g calls it and uses values from outside: pass them as arguments")  # fmt: skip
refuse("an argument that is a tuple", "", DOUBLED.format("2.0 * bar"), "an argument of g is a tuple of 2: pass",
       args=((0.5, 1.5),))  # fmt: skip
refuse("what Numba does not take", "", """
    def g(u):
        return u.nothing()

    @g.defvjp
    def rule(out, bar, u):
        return bar
    """, "call of g: ")  # fmt: skip
refuse("a result that is no number", "", """
    def g(u):
        return "two"

    @g.defvjp
    def rule(out, bar, u):
        return u
    """, "call of g: it returns")  # fmt: skip
refuse("a result of nested tuples", "", """
    def g(u):
        return u, (u, u)

    @g.defvjp
    def rule(out, bar, u):
        return u
    """, "numbers and arrays are understood")  # fmt: skip
