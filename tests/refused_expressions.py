"""Expressions and statements that are refused, each with what its message must say: data only.

Most refusals of the deriver are about one call or operator.  ``says`` enters a few lines of a function of one set of
arguments; the last of them is the one at fault, unless another is marked with ``# here``.  What takes a whole program to
show is in :mod:`refused`.
"""

from __future__ import annotations

import ast
import sys

import numpy as np
from refused import Refused

__all__ = ["EXPRESSIONS"]

EXPRESSIONS: list[Refused] = []

HEAD = """\
import math
from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    one: float
    two: float


def twice(v, w=1.0):
    return 2.0 * v * w


def zeroed(v):
    v[:] = 0.0
    return v[0]


def f(a, m, c, q, o, x, n, z, w, t):
"""
#: a vector, a matrix, an array of three axes, ints, bools, a float, an int, a complex number and vector, a tuple
ARGS = (
    np.array([0.7, -1.1, 0.4, 0.2]), np.ones((2, 4)), np.ones((2, 4, 3)), np.array([0, 2, 1]),
    np.array([True, False, True, True]), 0.7, 2, 0.5 + 1j, np.ones(4, complex), (0.5, 1.5),
)  # fmt: skip


def says(lines: str, *messages: str) -> None:
    """Enter a program with what its message must contain; an expression stands for ``return expression``."""
    body = lines.splitlines()
    if len(body) == 1 and isinstance(ast.parse(lines).body[0], ast.Expr):
        body = [f"return {lines}"]
    fault = next((line for line in body if line.endswith("# here")), body[-1])
    source = HEAD + "".join(f"    {line}\n" for line in body)
    EXPRESSIONS.append(Refused(lines.replace("\n", "; "), source, (f"    {fault}",), messages, ARGS))


# ---------------------------------------------------------------------------------------------- arguments of NumPy's functions
says("np.sort(x)", "expected an array, got")
says("np.concatenate((a, x))", "expected a tuple of arrays, got")
says("np.clip(a, 0.0, 1.0, a, n)", "np.clip takes at most 3 arguments here")
says("np.clip(a_min=0.0, a_max=1.0)", "np.clip needs the argument 'a'")
says("np.sum(a, keepdims=x)", "keepdims must be True or False")
says("np.sum(a, out=a)", "argument 'out' of np.sum is not supported")
says("np.sum(m, axis=n)", "axis must be a literal int within the 2 axes")
says("np.sum(m, axis=2)", "axis must be a literal int within the 2 axes")
says("np.sum(m, axis=(0, 0))", "an axis occurs twice")
says("np.concatenate((a, a), n)", "axis must be a literal int")
says("np.where(o, a)", "np.where takes a condition, or a condition and two values, here")
says("np.where(x > 0.0, x, 1.0)", "np.where of numbers: write 'a if condition else b'")
says("np.clip(x, 0.0, 1.0)", "np.clip of a number: write min(max(x, low), high)")
says("np.tril(a)", "np.tril and np.triu take a matrix")
says("np.arange(0, 4, dtype=np.int64)", "np.arange takes one to three ints here")
says("sum(m)", "sum of a 2-d array is not supported: it takes an array of one axis or a list")
says("np.average(m, weights=a)", "np.average takes as many weights as elements here")
says("np.linspace(0.0, 1.0)", "np.linspace takes start, stop and num here")
says("np.linspace(a, 1.0, 5)", "np.linspace takes numbers")
says("m.argsort()", "the order of an array of several axes is not supported")
says("np.sort(c)", "np.sort of an array of more than two axes is not supported")
says("np.median(q)", "np.median takes floats: use .astype(np.float64)")
says("np.outer(m, a)", "np.outer takes two vectors here")
says("np.trace(a)", "a diagonal is one of a matrix")
says("np.linalg.norm(c, 1)", "np.linalg.norm takes a vector or a matrix")
says("m.transpose(0, 0)", "axes must be a permutation of the 2 axes, in literal ints")
says("np.flip(m, 0)", "np.flip takes at most 1 arguments here")
says("np.swapaxes(m, 0, 2)", "axis must be a literal int within the 2 axes")
says("np.fliplr(a)", "np.fliplr takes an array of 2 axes or more")
says("a.reshape(x)", "a shape is an int or a tuple of ints")
says("np.tile(m, 2)", "np.tile of a matrix is not supported: join copies of it")
says("np.append(a, t)", "np.append takes an array and numbers, or two arrays")
says("np.take(a, o)", "np.take takes ints: index the array with the mask")
says("np.concatenate((a, m))", "arrays to join must have the same number of axes, and the axis must be one of them")
says("a @ x", "'@' of a 1-d array and a float is not supported")
says("q @ q", "'@' takes arrays of floats of one dtype")
says("np.array(x)", "np.array of a float is not supported")
says("np.array([])", "np.array of an empty list has no dtype: use np.empty")
says("np.array([x, a])", "np.array takes numbers, or rows of one length")
says("np.array([a[:2] for i in range(2)])", "a list comprehension makes numbers here, got a 1-d array")
says("np.zeros(4, dtype=t)", "a dtype must be np.float64, np.float32, np.int64")
says("a.astype(np.complex128)", "a complex dtype is not supported here")
says("np.zeros(x)", "a shape is an int or a tuple of ints, got a float")
says("np.zeros(-1)", "negative dimensions are not allowed")
says("np.zeros_like(x)", "expected an array, got a float")

# ------------------------------------------------------------------------------------------------- arithmetic on arrays
says("np.zeros(3) + np.zeros(4)", "operands of lengths 3 and 4 do not fit together")
says("o + o", "arithmetic on arrays of bools is not supported: use &, |, ^ or ~")
says("a & q", "band has no value for arguments of dtype f8, i8")
says("a + t", "an array operation with a tuple of 2 is not supported")
says("q[:] = 0.5 * a[:3]", "floats stored in an array of ints: use .astype(np.int64)")
says("a[:] = t", "cannot store a tuple of 2 in an array")
says("a[:] = m", "cannot store a 2-d array in a 1-d array")
says("a[q[0]] = a", "cannot store a 1-d array in an element")
says("a[0] = t", "cannot store a tuple of 2 in an element")
says("return 0.0 < a < 1.0", "a chain of comparisons of arrays has no truth: write (a < b) & (b < c)")
says("m[0] @= m", "operator MatMult is not supported")

# -------------------------------------------------------------------------------------------------------- indices
says("a[0, 1]", "2 indices for a 1-d array")
says("a[a]", "an index array must hold ints or bools, got floats")
says("a[x]", "an index must be an int, got a float")
says("a[::n]", "the step of a slice must be a literal int other than 0")
says("a[::0]", "the step of a slice must be a literal int other than 0")
says("a[x:]", "a bound of a slice must be an int, got a float")
says("a[m > 0.0]", "a mask of 2 axes does not fit a 1-d array")
says("a[m > 0.0] = 0.0", "a mask of 2 axes does not fit a 1-d array")
says("t[0, 1]", "2 indices for a 1-d array")
says("t[q]", "a tuple of 2 cannot be indexed like this")
says("a['s']", "an index must be an int, got a string")
says("m[..., m > 0.0, ::1]", "3 indices for a 2-d array")
says("t[2]", "index 2 is out of range for a tuple")
says("x[0] = 1.0", "cannot assign to an item of a float")
says("z[0]", "a complex number cannot be indexed")

# ------------------------------------------------------------------------------------------------------------- numbers
says("math.log(x, 2.0)", "log with a base is not supported: write log(x) / log(base)")
says("math.sin(x, x)", "math.sin takes 1 argument here, not 2")
says("math.sin(t)", "math.sin of a tuple of 2 is not supported")
says("math.sin()", "math.sin takes 1 argument here, not 0")
says("x & 1.0", "band has no value for arguments of dtype f8, f8")
says("~x", "'~' of a float is not defined")
says("-t", "expected a number, got a tuple")
says("x + 123456789012345678901234567890", "an int constant must fit in 64 bits")
says("x and x > 0.0", "'and' of a number and a bool as a value is not supported")
says("x > 0.0 or x", "'or' of a bool and a float as a value is not supported")
says("range(3)[1]", "range(...) is supported only in 'for ... in range(...)'")
says("len(x)", "len() of a float")
says("divmod(x)", "divmod takes 2 arguments here")
says("divmod(x, t)", "expected a number, got a tuple of 2")
says("math.sin(x, dtype=x)", "argument 'dtype' of math.sin is not supported")
says("np.bitwise_and(x, 1.0)", "band has no value for arguments of dtype f8, f8")
says("x @= 2.0", "operator MatMult is not supported")
says("y = 1.0 if a else 2.0", "the truth of a 1-d array is not defined")
says("y = 1.0 if z else 2.0", "the truth of a complex number: write z != 0")
says("y = a if x > 0.0 else x  # here\nreturn 1.0", "a 1-d array on one side and a float on the other")
says("y = a if x > 0.0 else m[0]  # here\nreturn y", "one of two arrays, chosen at run time: copy the chosen one")
says("{'a': x}", "dictionaries are not supported")
says("[i for i in range(3)][:2]", "a list is indexed by one int: use an array")
says("math.nothing(x)", "module math has no attribute 'nothing'")
says("(a + x).sort()", "method 'sort' of an array is not supported")
says("l = [x]\nl.append(x, x)", "append takes one number")
says("a.nothing", "attribute 'nothing' of a 1-d array is not supported")
says("x.nothing()", "method 'nothing' of a float is not supported")
says("x(1.0)", "a float cannot be called")

# ---------------------------------------------------------------------------------------------------------- functions
says("twice(x, x, x)", "twice() takes 2 positional arguments but 3 were given")
says("twice(x, v=x)", "twice() got an unexpected or repeated argument 'v'")
says("twice(w=x)", "twice() is missing the argument 'v'")
says("Pair(x, one=x)", "Pair() got an unexpected or repeated field 'one'")
says("Pair(x)", "Pair() takes the fields one, two")

# ------------------------------------------------------------------------------------------------------------- complex
says("z < 1.0", "'lt' of complex numbers is not defined")
says("z // 2.0", "'floordiv' of complex numbers is not defined")
says("z + t", "complex arithmetic with a tuple of 2 is not supported")
says("np.arctan(z)", "'atan' of complex numbers is not supported")
says("np.sort(w)", "expected an array, got a 1-d complex array")
says("np.linalg.norm(z)", "np.linalg.norm of complex numbers is not supported")
says("np.repeat(a, z)", "np.repeat of complex numbers is not supported")
says("np.prod(w.reshape(2, 2), 0)", "a product of complex numbers along an axis is not supported")
says("np.exp(z, z)", "'exp' of 2 complex numbers is not supported")
says("complex(1.0, 2.0, 3.0)", "complex takes a real and an imaginary part")
says("complex(a)", "complex takes numbers")
says("np.dot(w, x)", "a product with a float is not supported")
says("w.argsort()", "method 'argsort' of")
says("w.nothing", "attribute 'nothing' of")
says("z[0] = 1.0", "cannot assign to an item of a complex number")
says("w[0] = w", "cannot store a 1-d complex array in an element")
says("w[:] = t", "cannot store a tuple of 2 in an array")
says("w == t", "complex arithmetic with a tuple of 2 is not supported")
says("y, v = z", "cannot be unpacked: index it")

# ---------------------------------------------------------------------------------------------------------- statements
says("y, v = x", "cannot unpack a float")
says("y, v = a", "an array whose length is known only at run time cannot be unpacked: index it")
says("y, v, u = t", "cannot unpack 2 values into 3 names")
says("raise", "a bare 'raise' is not supported")
says("t.one += 1.0", "augmented assignment to an attribute is not supported")
if sys.version_info >= (3, 12):
    says("type Y = int  # here\nreturn x", "TypeAlias statements are not supported")
says("for i in x:  # here\n    x += 1.0", "a loop over a float is not supported: it runs over range(...), arrays or tuples")
says("for i in range():  # here\n    x += 1.0\nreturn x", "range takes 1 to 3 arguments")
says("for i in range(0, 3, 0):  # here\n    x += 1.0\nreturn x", "range() arg 3 must not be zero")
says("for i in range(x):  # here\n    x += 1.0\nreturn x", "an argument of range must be an int, got a float")
says("for i in zip():  # here\n    x += 1.0\nreturn x", "zip takes iterables by position")
says("for i in np.ndindex(x):  # here\n    x += 1.0\nreturn x", "np.ndindex takes ints, or a tuple of ints")
says("for v in (x, a):  # here\n    break", "break and continue in a loop over a tuple are not supported: loop over range")
says("for v in (x, a):  # here\n    return x", "return in a loop over a tuple is not supported: loop over range(len(...))")

# ---------------------------------------------------------------------------------- arrays in branches, loops and calls
says("np.where(o, a + x, zeroed(a))", "an array expression waits for a call that writes arrays: give it a name")
says("a[q] += zeroed(a)", "the right side writes arrays while elements wait to be updated: give it a name first")
says("""\
if x > 0.0:  # here
    y = a[a > 0.5]
else:
    y = a[a < 0.2]
return y""", "'y' is one of two arrays, both made in a branch: make them before the branch")
says("""\
for i in range(n):
    a[0] += 1.0
    if x > i:  # here
        y = a
    else:
        y = m[0]
    x += y[1]
return x""", "'y' is one of two arrays, chosen at run time, and 'a' is written: copy it instead")
says("""\
if x > 0.5:  # here
    k = len(a[a > 0.3])
    for i in range(n):
        y = a[:k] * i
        if x > i:
            return y
    return a
return a""", "the return value is made in a branch: make it before the branch")
