"""Constructs that must be refused, by name, with the user's file and line: data only.

Each entry is the text of a module that defines ``f``, sample arguments, a fragment that occurs on the offending line and
on no other (or several, where more than one line could be blamed), and words of which the message should contain at least
one, compared without case.  Entries with ``step=True`` are steps ``f(n, y, p)`` that do what a step may not do.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

import numpy as np

__all__ = ["REFUSED", "Refused"]


@dataclass(frozen=True)
class Refused:
    """A program that must be refused, and what the error must point at."""

    name: str
    source: str
    lines: tuple[str, ...]
    mentions: tuple[str, ...]
    args: tuple = (0.7,)
    step: bool = False

    @property
    def linenos(self) -> tuple[int, ...]:
        """The numbers of the lines that may be blamed, counted from 1; the best one first."""
        numbered = list(enumerate(self.source.splitlines(), 1))
        return tuple(k for fragment in self.lines for k, text in numbered if fragment in text)


REFUSED: list[Refused] = []

A = np.array([0.7, -1.1, 0.4])


def refuse(name: str, source: str, lines: str, mentions: str, args: tuple = (0.7,), step: bool = False) -> None:
    """Enter a program; ``lines`` are fragments separated by " | ", ``mentions`` words separated by spaces."""
    text = dedent(source).lstrip("\n")
    REFUSED.append(Refused(name, text, tuple(lines.split(" | ")), tuple(mentions.split()), args, step))


# ---------------------------------------------------------------------------------------------------- control of flow
refuse("recursion", """
    def f(x):
        if x > 10.0:
            return x
        return f(2.0 * x)
    """, "return f(2.0 * x)", "recursion recursive itself")  # fmt: skip

refuse("mutual recursion", """
    def g(x):
        return f(x + 1.0) if x < 3.0 else x

    def f(x):
        return g(x * x)
    """, "return f(x + 1.0) | return g(x * x)", "recursion recursive itself")  # fmt: skip

refuse("yield", """
    def f(x):
        for i in range(3):
            yield x * i
    """, "yield x * i", "generator yield")  # fmt: skip

refuse("yield from", """
    def f(x):
        yield from range(3)
    """, "yield from", "generator yield")  # fmt: skip

refuse("generator expression", """
    def f(x):
        return sum(x * i for i in range(3))
    """, "sum(x * i for", "generator")  # fmt: skip

refuse("try", """
    def f(x):
        y = x
        try:
            y = 1.0 / x
        except ZeroDivisionError:
            y = 0.0
        return y
    """, "try:", "try exception")  # fmt: skip

refuse("try with exception groups", """
    def f(x):
        try:
            x = 1.0 / x
        except* ZeroDivisionError:
            x = 0.0
        return x
    """, "try:", "try/except*")  # fmt: skip

refuse("with", """
    import contextlib

    def f(x):
        with contextlib.nullcontext():
            x = x * x
        return x
    """, "with contextlib", "with")  # fmt: skip

refuse("objmode block", """
    import numba

    def f(x):
        with numba.objmode():
            x = x + 1.0
        return x
    """, "with numba.objmode", "with objmode")  # fmt: skip

refuse("match", """
    def f(x):
        match int(x):
            case 0:
                return x
            case _:
                return 2.0 * x
    """, "match int(x):", "match")  # fmt: skip

refuse("async function", """
    async def f(x):
        return x * x
    """, "async def f", "async")  # fmt: skip

refuse("else of a for loop", """
    def f(x):
        for i in range(3):
            if x > i:
                break
        else:
            x = x * x
        return x
    """, "x = x * x", "else")  # fmt: skip

refuse("else of a while loop", """
    def f(x):
        while x < 2.0:
            x = x * 1.5
        else:
            x = -x
        return x
    """, "x = -x", "else")  # fmt: skip

refuse("function defined inside", """
    def f(x):
        def inner(z):
            return z * x
        return inner(x)
    """, "def inner", "function inside defined")  # fmt: skip

refuse("lambda", """
    def f(x):
        g = lambda z: z * z
        return g(x)
    """, "g = lambda", "lambda")  # fmt: skip

refuse("class definition", """
    def f(x):
        class Point:
            pass
        return x
    """, "class Point", "class")  # fmt: skip

refuse("assignment expression", """
    def f(x):
        if (y := x * x) > 0.1:
            return y
        return x
    """, "y := x", ":=")  # fmt: skip

# --------------------------------------------------------------------------------------------------------- side effects
refuse("global write", """
    COUNT = 0

    def f(x):
        global COUNT
        COUNT += 1
        return x * COUNT
    """, "global COUNT", "global")  # fmt: skip

refuse("nonlocal write", """
    def make():
        count = 0

        def f(x):
            nonlocal count
            count += 1
            return x * count

        return f

    f = make()
    """, "nonlocal count", "nonlocal")  # fmt: skip

refuse("write to a captured array", """
    import numpy as np

    TABLE = np.zeros(3)

    def f(x):
        TABLE[1] = x * x
        return TABLE[1] + x
    """, "TABLE[1] = x * x", "TABLE captured global")  # fmt: skip

refuse("helper writes to a captured array", """
    import numpy as np

    TABLE = np.zeros(3)

    def record(z, v):
        z[0] = v

    def f(x):
        record(TABLE, x)
        return TABLE[0]
    """, "record(TABLE, x) | z[0] = v", "TABLE captured global")  # fmt: skip

refuse("print", """
    def f(x):
        y = x * x
        print(y)
        return y
    """, "print(y)", "print")  # fmt: skip

refuse("open a file", """
    def f(x):
        handle = open("state.txt", "w")
        return x
    """, "open(", "open")  # fmt: skip

refuse("random numbers of NumPy", """
    import numpy as np

    def f(x):
        return x + np.random.normal(0.0, 1.0)
    """, "np.random.normal", "random")  # fmt: skip

refuse("random numbers under another name", """
    from numpy.random import random as noise

    def f(x):
        x = x * x
        return x * noise()
    """, "noise()", "random noise")  # fmt: skip

refuse("random numbers of the standard library", """
    import random

    def f(x):
        return x + random.random()
    """, "random.random()", "random")  # fmt: skip

refuse("random generator object", """
    import numpy as np

    RNG = np.random.default_rng(1)

    def f(x):
        return x + RNG.normal()
    """, "RNG.normal()", "random RNG Generator normal")  # fmt: skip

refuse("the clock", """
    import time

    def f(x):
        return x * time.time()
    """, "time.time()", "time")  # fmt: skip

refuse("del", """
    def f(x):
        y = x * x
        z = y + x
        del y
        return z
    """, "del y", "del")  # fmt: skip

refuse("import inside", """
    def f(x):
        import math
        return math.sin(x)
    """, "import math", "import")  # fmt: skip

refuse("from-import inside", """
    def f(x):
        from math import sin
        return sin(x)
    """, "from math", "import")  # fmt: skip

refuse("exec", """
    def f(x):
        exec("y = 1")
        return x
    """, "exec(", "exec")  # fmt: skip

refuse("attribute assignment", """
    from typing import NamedTuple

    class Point(NamedTuple):
        x: float

    def f(p):
        p.x = 2.0
        return p.x
    """, "p.x = 2.0", "attribute assign x", ((0.7,),))  # fmt: skip

# ------------------------------------------------------------------------------------------------- writing to parameters
refuse("step writes its parameter array", """
    def f(n, y, p):
        p[0] = 2.0 * y
        return y * p[0]
    """, "p[0] = 2.0 * y", "p parameter", (0, 0.7, A), step=True)  # fmt: skip

refuse("step adds to its parameter array", """
    def f(n, y, p):
        for i in range(len(p)):
            p[i] += y
        return y * p[0]
    """, "p[i] += y", "p parameter", (0, 0.7, A), step=True)  # fmt: skip

refuse("step writes a parameter under another name", """
    def f(n, y, p):
        k, w = p
        c = w
        c[n] = y[0] * k
        return y
    """, "c[n] = y[0] * k", "p parameter w c", (0, A, (0.5, A)), step=True)  # fmt: skip

refuse("helper of a step writes its parameter", """
    def normalise(w):
        s = 0.0
        for i in range(len(w)):
            s += w[i]
        for i in range(len(w)):
            w[i] /= s

    def f(n, y, p):
        normalise(p)
        return y * p[0]
    """, "normalise(p) | w[i] /= s", "p parameter", (0, 0.7, A), step=True)  # fmt: skip

refuse("step returns its parameter array as state and writes it", """
    def f(n, y, p):
        y = p
        y[0] = 1.5 * y[1]
        return y
    """, "y[0] = 1.5", "p parameter", (0, A, A), step=True)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------- data types
refuse("dict literal", """
    def f(x):
        table = {"a": x}
        return table["a"]
    """, 'table = {"a": x}', "dict")  # fmt: skip

refuse("dict comprehension", """
    def f(x):
        table = {i: x * i for i in range(3)}
        return table[1]
    """, "for i in range(3)}", "dict")  # fmt: skip

refuse("set literal", """
    def f(x):
        chosen = {1, 2, 3}
        return x * len(chosen)
    """, "chosen = {1", "set")  # fmt: skip

refuse("list that grows in a while loop", """
    def f(x):
        path = []
        while len(path) < 3:
            path.append(x)
        return path[-1]
    """, "path.append(x)", "number of rounds is not known")  # fmt: skip

refuse("list that grows in rounds that depend on the loop around them", """
    def f(x):
        path = []
        for i in range(3):
            for j in range(i):
                path.append(x * j)
        return path[-1]
    """, "for j in range(i)", "number of rounds is not known")  # fmt: skip

refuse("list that grows while a loop runs over it", """
    def f(x):
        path = [x]
        for v in path:
            path.append(v)
        return path[-1]
    """, "for v in path", "number of rounds is not known")  # fmt: skip

refuse("list that grows under another name", """
    def f(x):
        path = [x]
        other = path
        path.append(2.0 * x)
        return other[-1]
    """, "path.append(2.0 * x)", "'other' names it, too")  # fmt: skip

refuse("list that grows in a loop while another name is read", """
    def f(x):
        path = []
        for i in range(3):
            path.append(x * i)
            if i == 0:
                other = path
        return other[-1]
    """, "path.append(x * i)", "'other' names it, too")  # fmt: skip

refuse("list that grows in another function", """
    def push(path, x):
        path.append(x)

    def f(x):
        path = [x]
        push(path, x)
        return path[-1]
    """, "path.append(x)", "not made in this function")  # fmt: skip

refuse("list of ints that begins empty", """
    def f(x):
        path = []
        for i in range(3):
            path.append(i)
        return path[-1] * x
    """, "path.append(i)", "append a float64")  # fmt: skip

refuse("list that shrinks", """
    def f(x):
        path = [x]
        path.append(2.0 * x)
        return path.pop()
    """, "path.pop()", "method 'pop' of a list")  # fmt: skip

refuse("list extended by another", """
    def f(x):
        path = []
        path += [x]
        return path[-1]
    """, "path = []", "empty list")  # fmt: skip

refuse("list of arrays", """
    import numpy as np

    def f(a):
        rows = [a, 2.0 * a]
        return rows[0] * rows[1]
    """, "rows = [a", "list", (A,))  # fmt: skip

refuse("list of lists", """
    def f(x):
        rows = [[x, 1.0], [2.0, x]]
        return rows[0][1]
    """, "rows = [[x", "list", (0.7,))  # fmt: skip

refuse("arithmetic on a list", """
    def f(x):
        values = [x * i for i in range(3)]
        return (values * 2)[4]
    """, "values * 2", "list")  # fmt: skip

refuse("array operation with a list", """
    def f(a):
        values = [1.0, 2.0, 3.0]
        return a * values
    """, "a * values", "list", (A,))  # fmt: skip

refuse("slice of a list", """
    def f(x):
        values = [x, 2.0, 3.0]
        rest = values[1:]
        return rest[0]
    """, "rest = values[1:]", "list")  # fmt: skip

refuse("list that is inserted into", """
    def f(x):
        values = [x, 2.0]
        values.insert(0, x * x)
        return values[2]
    """, "values.insert", "method 'insert' of a list")  # fmt: skip

refuse("index beyond a list", """
    def f(x):
        values = [x, 2.0]
        return values[2]
    """, "values[2]", "range")  # fmt: skip

refuse("list returned", """
    def f(x):
        return [x, 2.0 * x]
    """, "return [x | def f(x)", "list")  # fmt: skip

refuse("list made in a loop and used after it", """
    def f(x):
        for i in range(3):
            values = [x, x * i]
        return values[1]
    """, "for i in range(3) | values = [x", "list")  # fmt: skip

refuse("list rebound in a loop", """
    def f(x):
        values = [x, 1.0]
        for i in range(3):
            values = [values[1], values[0] * x]
        return values[1]
    """, "for i in range(3) | values = [values", "list values")  # fmt: skip

refuse("f-string", """
    def f(x):
        label = f"{x}"
        return x
    """, 'label = f"', "f-string string")  # fmt: skip

refuse("string concatenation", """
    def f(x):
        name = "a" + "b"
        return x * len(name)
    """, 'name = "a"', "string str")  # fmt: skip

refuse("string method", """
    def f(x):
        name = "abc".upper()
        return x
    """, '"abc".upper()', "string str upper")  # fmt: skip

refuse("conversion to a string", """
    def f(x):
        return x * len(str(x))
    """, "len(str(x))", "str")  # fmt: skip

refuse("tuple that grows in a loop", """
    def f(x):
        t = (x,)
        for i in range(3):
            t = t + (x * i,)
        return t[0]
    """, "t = t + (x * i,) | for i in", "tuple structure t")  # fmt: skip

refuse("tuple of different things indexed at run time", """
    def f(x, a, k):
        t = (x, a)
        u = t[k]
        return x
    """, "u = t[k]", "tuple index", (0.7, A, 1))  # fmt: skip

refuse("variable that changes its structure in a loop", """
    def f(x):
        y = x
        for i in range(2):
            y = (x, x * i)
        return y
    """, "y = (x, x * i) | for i in", "y structure type tuple")  # fmt: skip

refuse("variable of different structures after a branch", """
    def f(x):
        if x > 0.0:
            y = (x, x)
        else:
            y = x
        z = y
        return x
    """, "z = y | y = x | y = (x, x) | if x > 0.0", "y structure type tuple")  # fmt: skip

refuse("results of different structures", """
    def f(x):
        if x > 1.0:
            return x, x
        return x * x
    """, "return x * x | return x, x | if x > 1.0", "return result structure")  # fmt: skip

refuse("results of different lengths", """
    def f(x):
        if x > 1.0:
            return x, x, x
        return x, x * x
    """, "return x, x * x | return x, x, x | if x > 1.0", "return result structure")  # fmt: skip

refuse("a path without a result", """
    def f(x):
        if x > 1.0:
            return x * x
    """, "def f(x) | if x > 1.0 | return x * x", "return None result")  # fmt: skip

refuse("a bare return among results", """
    def f(x):
        if x > 1.0:
            return  # nothing
        return x * x
    """, "return  # nothing | return x * x | if x > 1.0", "return None result")  # fmt: skip

refuse("aliases chosen at run time and written", """
    def f(a, b, x):
        if x > 0.5:
            c = a
        else:
            c = b
        c[0] = c[1] * x
        return a[0] + b[0]
    """, "c[0] = c[1] * x | if x > 0.5", "c alias array same", (A, A + 1.0, 0.7))  # fmt: skip

refuse("helper swaps arrays that it writes", """
    def exchange(u, v, n):
        for k in range(n):
            v[k] = 0.5 * u[k]
            u, v = v, u
        return u[0]

    def f(a, b):
        s = exchange(a, b, 3)
        return s * a[0] + b[1]
    """, "v[k] = 0.5 | for k in range(n) | s = exchange", "array copy", (A, A + 1.0))  # fmt: skip

refuse("one of two names rebound in a loop, the other written", """
    import numpy as np

    def f(a, x):
        u = a
        v = a
        for k in range(3):
            v[0] += x
            w = np.empty(3)
            for i in range(3):
                w[i] = 0.5 * u[i]
            u = w
        return u[0] + v[0]
    """, "v[0] += x | u = w | for k in range(3)", "array copy", (A, 0.7))  # fmt: skip

refuse("array of two names written after the loop that named it", """
    def f(a, b, x):
        for i in range(1, len(a) - 1):
            if x > 0.3:
                a = b
        a[2] += b[1]
        return a[2] + b[2]
    """, "a[2] += b[1] | a = b | for i in", "array copy", (A, A + 1.0, 0.7))  # fmt: skip

refuse("array of a name that the loop has bound to another one, written after it", """
    def f(a, b, x):
        for i in range(2):
            c = a
            a = b
            if x > 100.0:
                c = 0.6 * a
        c *= 0.9
        return a[0] + b[1] + c[2]
    """, "c *= 0.9 | c = a | for i in", "array copy", (A, A + 1.0, 0.7))  # fmt: skip

refuse("array of a name that the loop has bound to another one, written in it", """
    def f(a, b, x):
        for i in range(3):
            c = a
            a = b
            if x > 100.0:
                c = 0.6 * a
            c[0] = 0.9 * c[0] + 0.1
        return a[0] + b[1] + c[2]
    """, "c[0] = 0.9 | c = a | for i in", "array copy", (A, A + 1.0, 0.7))  # fmt: skip

refuse("array chosen from what names were in the iteration before, written after the loop", """
    def f(a, b, x):
        c = b
        for i in range(3):
            if x > 100.0:
                d = c
            else:
                d = a
            c = d
            a = b
        d *= 0.5
        return a[0] + b[1] + d[2]
    """, "d *= 0.5 | d = a | for i in", "array copy", (A, A + 1.0, 0.7))  # fmt: skip

refuse("array known by a name of a name", """
    def f(a, b, c, x):
        if x > 0.3:
            d = a
        else:
            d = b
        if x < 1.0:
            e = d
        else:
            e = c
        a[0] = 5.0 * x
        return e[0] * e[1]
    """, "a[0] = 5.0 | if x > 0.3 | if x < 1.0", "array copy", (A, A + 1.0, A - 1.0, 0.7))  # fmt: skip

refuse("chosen array written while it waits for another operand", """
    def choose(a, b, x):
        if x > 0.0:
            return a
        return b

    def first_times(u, v):
        return u[0] * v

    def write(a, x):
        a[0] = 9.0 * x
        return x

    def f(a, b, x):
        return first_times(choose(a, b, x), write(a, x))
    """, "a[0] = 9.0 | return first_times | write(a, x))", "array copy", (A, A + 1.0, 0.7))  # fmt: skip

refuse("array of a length known only in the loop that makes it", """
    import numpy as np

    def f(a):
        for i in range(1, 3):
            w = np.zeros(i)
            w[0] = a[i] * i
        return w[0]
    """, "w = np.zeros(i) | for i in | return w[0]", "loop", (A,))  # fmt: skip

refuse("array returned from the loop that gives it its length", """
    import numpy as np

    def f(a):
        for i in range(1, 3):
            w = np.zeros(int(a[i] * a[i]) + i)
            if a[i] > 0.0:
                return w
        return a
    """, "w = np.zeros( | for i in | return w", "loop", (A,))  # fmt: skip

refuse("array read in the round after the one that makes it", """
    import numpy as np

    def f(a):
        s = 0.0
        for i in range(3):
            if i > 0:
                s += w[0]
            w = np.zeros(2)
            w[0] = a[i] * i
        return s
    """, "s += w[0] | w = np.zeros(2) | for i in", "loop w", (A,))  # fmt: skip

refuse("array made in a loop under two names, one written after it", """
    import numpy as np

    def f(a):
        for i in range(3):
            w = np.zeros(2)
            w[0] = a[i] * i
            v = w
        v[0] = 2.0 * a[0]
        return w[0] * v[1]
    """, "v[0] = 2.0 | v = w | for i in", "copy", (A,))  # fmt: skip

# ---------------------------------------------------------------------------------------------------------- names, calls
refuse("name that exists nowhere", """
    def f(x):
        return x * missing_constant
    """, "missing_constant", "missing_constant")  # fmt: skip

refuse("local name used before its assignment", """
    GAIN = 2.0

    def f(x):
        y = x * GAIN
        GAIN = 3.0
        return y * GAIN
    """, "y = x * GAIN", "GAIN")  # fmt: skip

refuse("identity", """
    def f(x):
        y = x
        if x is y:
            return x * x
        return x
    """, "x is y", "is")  # fmt: skip

refuse("membership", """
    def f(x):
        k = 2
        if k in (1, 2):
            return x * x
        return x
    """, "k in (1, 2)", "in")  # fmt: skip

refuse("call with star arguments", """
    def g(a, b):
        return a * b

    def f(x):
        pair = (x, 2.0)
        return g(*pair)
    """, "g(*pair)", "star *")  # fmt: skip

refuse("call with double star arguments", """
    OPTIONS = dict(b=2.0)

    def g(a, b):
        return a * b

    def f(x):
        return g(x, **OPTIONS)
    """, "g(x, **OPTIONS)", "** star keyword")  # fmt: skip

refuse("star parameter", """
    def f(*values):
        return values[0]
    """, "def f(*values)", "*args parameter star")  # fmt: skip

refuse("starred unpacking", """
    def f(p):
        first, *rest = p
        return first * rest[0]
    """, "first, *rest = p", "star *", ((0.7, 0.3, 0.2),))  # fmt: skip

refuse("library function without a rule", """
    from scipy.special import jv

    def f(x):
        return x * jv(0, x)
    """, "jv(0, x)", "jv")  # fmt: skip

refuse("library function without a rule, through its module", """
    import math

    import scipy.special

    def f(x):
        y = math.sin(x)
        return scipy.special.jv(0, y)
    """, "scipy.special.jv", "jv")  # fmt: skip

refuse("function of math without a rule", """
    import math

    def f(x):
        m, e = math.frexp(x)
        return m
    """, "math.frexp(x)", "frexp")  # fmt: skip

refuse("method of a float", """
    def f(x):
        return x * len(x.hex())
    """, "x.hex()", "hex")  # fmt: skip

refuse("method of an object", """
    class Model:
        def gain(self, x):
            return 2.0 * x

    MODEL = Model()

    def f(x):
        return MODEL.gain(x) + x
    """, "MODEL.gain(x)", "gain MODEL method")  # fmt: skip

refuse("isinstance", """
    def f(x):
        if isinstance(x, float):
            return x * x
        return x
    """, "isinstance(x, float)", "isinstance")  # fmt: skip

refuse("getattr", """
    import math

    def f(x):
        return getattr(math, "sin")(x)
    """, "getattr(math", "getattr")  # fmt: skip

refuse("eval", """
    def f(x):
        return eval("x * x")
    """, "eval(", "eval")  # fmt: skip

refuse("literal_unroll", """
    from numba import literal_unroll

    def f(p):
        s = 0.0
        for v in literal_unroll(p):
            s += v
        return s
    """, "literal_unroll(p)", "literal_unroll tuple", ((0.7, 1.2),))  # fmt: skip

refuse("refusal inside a helper", """
    def helper(x):
        print(x)
        return x * x

    def f(x):
        return helper(x) + 1.0
    """, "print(x)", "print")  # fmt: skip

refuse("captured string used as a number", """
    MODE = "fast"

    def f(x):
        return x * MODE
    """, "x * MODE", "MODE string str")  # fmt: skip

refuse("captured dictionary", """
    PARAMETERS = {"k": 2.0}

    def f(x):
        return x * PARAMETERS["k"]
    """, 'PARAMETERS["k"]', "PARAMETERS dict")  # fmt: skip

refuse("captured list", """
    WEIGHTS = [1.0, 2.0]

    def f(x):
        return x * WEIGHTS[1]
    """, "x * WEIGHTS[1]", "WEIGHTS list")  # fmt: skip

# ------------------------------------------------------------------------------------- memory that the next step overwrites
refuse("step returns one array twice and overwrites it", """
    def f(n, y, p):
        u, v = y
        u[0] = p * v[1]
        return u, u
    """, "return u, u", "y_next copy", (0, (A, A + 1.0), 0.7), step=True)  # fmt: skip

refuse("step returns its parameter array as state and overwrites the state", """
    def f(n, y, p):
        y[0] += 1.0
        return p
    """, "return p", "y_next copy", (0, A, A + 1.0), step=True)  # fmt: skip

# ------------------------------------------------------------------------------------------------------- odd indices, no result
refuse("bool as an index", """
    def f(a, x):
        b = x > 0.5
        return a[b] * x
    """, "a[b] * x", "index", (A, 0.7))  # fmt: skip

refuse("nothing but a raise", """
    def f(x):
        raise ValueError("not today")
    """, "def f(x):", "raises", (0.7,))  # fmt: skip

# ------------------------------------------------------------------------------------------------- functions of arrays
refuse("list comprehension of two loops", """
    import numpy as np

    def f(a):
        return np.array([x * y for x in a for y in a])
    """, "for x in a for y", "one 'for'", (A,))  # fmt: skip

refuse("sorting in place along the first axis", """
    import numpy as np

    def f(a):
        m = np.outer(a, a)
        m.sort(axis=0)
        return m[0]
    """, "m.sort(axis=0)", "last axis", (A,))  # fmt: skip

refuse("variance with a correction", """
    import numpy as np

    def f(a):
        return np.var(a, ddof=1)
    """, "np.var(a, ddof=1)", "'ddof'", (A,))  # fmt: skip

refuse("deviation with a correction", """
    def f(a):
        return a.std(ddof=1)
    """, "a.std(ddof=1)", "'ddof'", (A,))  # fmt: skip

refuse("order of a matrix", """
    import numpy as np

    def f(a):
        m = np.outer(a, a)
        return m[0][np.argsort(m)[0]]
    """, "np.argsort(m)", "axes", (A,))  # fmt: skip

refuse("sorting along the first axis", """
    import numpy as np

    def f(a):
        return np.sort(np.outer(a, a), axis=0)
    """, "axis=0", "axis", (A,))  # fmt: skip

refuse("norm of singular values", """
    import numpy as np

    def f(a):
        m = np.outer(a, a)
        return np.linalg.norm(m, 2)
    """, "norm(m, 2)", "singular", (A,))  # fmt: skip

refuse("order of a norm at run time", """
    import numpy as np

    def f(a, p):
        return np.linalg.norm(a, p)
    """, "norm(a, p)", "literal", (A, 3.0))  # fmt: skip

refuse("maximum along several axes", """
    import numpy as np

    def f(a):
        m = np.outer(a, a)
        return np.max(m[None], axis=(0, 1))
    """, "np.max(m", "several axes", (A,))  # fmt: skip

refuse("variance with a correction", """
    import numpy as np

    def f(a):
        return np.var(a, ddof=1)
    """, "ddof=1", "ddof", (A,))  # fmt: skip

refuse("repeats of each element", """
    import numpy as np

    def f(a):
        return np.repeat(a, np.array([1, 0, 2]))
    """, "np.repeat", "int", (A,))  # fmt: skip

refuse("search from another side", """
    import numpy as np

    def f(a, v):
        return a[np.searchsorted(a, v, side="middle")]
    """, "middle", "side", (A, 0.2))  # fmt: skip

refuse("interpolation at a matrix", """
    import numpy as np

    def f(a):
        return np.interp(np.outer(a, a), a, a)
    """, "np.interp", "2-d", (A,))  # fmt: skip

refuse("roll by several shifts", """
    import numpy as np

    def f(a):
        m = np.outer(a, a)
        return np.roll(m, (1, 2))
    """, "np.roll", "shift", (A,))  # fmt: skip

refuse("mask that does not fit", """
    import numpy as np

    def f(a):
        m = np.outer(a, a)
        return a[m > 0.0]
    """, "a[m > 0.0]", "mask", (A,))  # fmt: skip

refuse("float index beside an index array", """
    import numpy as np

    def f(a):
        k = np.arange(2)
        return np.outer(a, a)[k, 1.0]
    """, "[k, 1.0]", "int float", (A,))  # fmt: skip

refuse("float put into a list of ints", """
    def f(x):
        values = [1, 2, 3]
        values[0] = x
        return values[0] * x
    """, "values[0] = x", "list ints", (0.7,))  # fmt: skip

refuse("float added in a list of ints", """
    def f(x):
        values = [1, 2, 3]
        values[1] += x
        return values[1] * x
    """, "values[1] += x", "list ints", (0.7,))  # fmt: skip

refuse("one of two lists", """
    def f(x):
        if x > 0.0:
            values = [x, 2.0]
        else:
            values = [3.0, x]
        return values[0]
    """, "if x > 0.0", "list", (0.7,))  # fmt: skip

# ------------------------------------------------------------------------------------------------- what is around a function
refuse("a captured value that is no number", """
    WORDS = ("a", 2.0)

    def f(x):
        return x * WORDS[1]
    """, "return x * WORDS[1]", "only numbers, arrays of numbers and tuples of these")  # fmt: skip

refuse("arguments that can be given by name only", """
    def f(*, x):
        return x
    """, "def f", "must take")  # fmt: skip

refuse("a step without parameters", """
    def f(n, y):
        return y
    """, "def f", "must take 3 arguments (n, y, p), it takes (n, y)", (0, 0.5, None), step=True)  # fmt: skip

refuse("a step that returns another structure", """
    def f(n, y, p):
        return y, y
    """, "return y, y", "where a step returns the structure of its state", (0, 0.5, None), step=True)  # fmt: skip
