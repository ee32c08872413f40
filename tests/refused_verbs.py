"""Calls of ``adj.jvp``, ``adj.root`` and ``adj.random`` that are refused: data only, as in :mod:`refused`.

Each program calls one of them in the last line, which is blamed.
"""

from __future__ import annotations

import numpy as np
from refused import Refused

__all__ = ["VERBS"]

VERBS: list[Refused] = []
U = np.array([0.5, 0.2, 0.8])
PROGRAM = """\
import numpy as np

import adjointsim as adj


def rhs(u, p):
    return u * p


def scalar(x, y):
    return x * y


def writes(u):
    u[0] = 1.0
    return u


def listed(u):
    return [u[0], u[1]]


def called(g, u):
    return g(u, u)


def euler(x, u, dt, p):
    return x - u - dt * x * p


def first(x):
    return x[0]


def swapped(x):
    return x[1], x[0]


def shorter(x):
    return np.array([x[0], x[1] * x[0]])


def outer(x):
    return np.outer(x, x)


def itself(x):
    return adj.root(the_other, x)


def the_other(x):
    return adj.root(itself, x)


@adj.custom_vjp
def g(x):
    return x * x


@g.defvjp
def g_vjp(y, y_bar, x):
    return 2.0 * x * y_bar


@g.defjvp
def g_jvp(y, args, args_dot):
    table = {{0: 2.0}}
    return table[0] * args[0] * args_dot[0]


def calls_g(x):
    return g(x)


def f(u):
    x = u[0]
    return np.sum({call})
"""


def refuse(name: str, call: str, message: str, line: str = "return np.sum(") -> None:
    """Enter a program: the call, and what the message must contain."""
    VERBS.append(Refused(name, PROGRAM.format(call=call), (line,), (message,), (U,)))


refuse("grad", "adj.grad(scalar)(x, x)", "adj.grad cannot be called in what is derived: adj.jvp can")
refuse("vjp", "adj.vjp(scalar, x, x)[0]", "adj.vjp cannot be called in what is derived: adj.jvp can")

# ------------------------------------------------------------------------------------------------------------------ tangents
refuse("two arguments", "adj.jvp(rhs, (u, u))[1]", "takes a function, its arguments and their tangents")
refuse("no tuple", "adj.jvp(rhs, u, (u, u))[1]", "args of adj.jvp is a 1-d array: pass a tuple")
refuse("no tuple of tangents", "adj.jvp(rhs, (u, u), u)[1]", "tangents of adj.jvp is a 1-d array: pass a tuple")
refuse("too few tangents", "adj.jvp(rhs, (u, u), (u,))[1]", "1 tangents are given for the 2 arguments of rhs")
refuse("too few arguments", "adj.jvp(rhs, (u,), (u,))[1]", "rhs() is missing the argument 'p'")
refuse("too many arguments", "adj.jvp(rhs, (u, u, u), (u, u, u))[1]", "takes 2 positional arguments but 3")
refuse("a number for an array", "adj.jvp(rhs, (u, u), (u, 1.0))[1]", "tangent of argument 1 of rhs is a float where a 1-d array")
refuse("a tuple for an array", "adj.jvp(rhs, (u, u), (u, (u, u)))[1]", "of argument 1 of rhs is a tuple of 2 where a 1-d array")
refuse("an array for a number", "adj.jvp(scalar, (x, x), (u, 0))[1]", "of argument 0 of scalar is a 1-d array where a number")
refuse("an array for a tuple", "adj.jvp(first, ((x, x),), (u,))[1]", "of argument 0 of first is a 1-d array where a tuple of 2")
refuse("tangent of a function", "adj.jvp(called, (rhs, u), (u, u))[1]", "argument 0 of called is rhs, which has no tangent")
refuse("tangent of a ufunc", "adj.jvp(np.sin, (u,), (u,))[1]", "adj.jvp of sin: pass a function of yours")
refuse("tangent of what writes", "adj.jvp(writes, (u,), (u,))[1]", "writes writes its arguments")
refuse("tangent of what writes a copy", "adj.jvp(writes, (u * 2.0,), (None,))[1]", "writes writes its arguments")
refuse("tangent of a list", "adj.jvp(listed, (u,), (u,))[1]", "listed returns a list")
refuse("tangent of foreign code", "adj.jvp(calls_g, (x,), (x,))[1]", "needs a tangent rule of g in the accepted language")

# --------------------------------------------------------------------------------------------------------------------- roots
refuse("root of a number for an array", "adj.root(first, u)", "first returns a float where a 1-d array is expected")
refuse("root of a matrix for an array", "adj.root(outer, u)", "outer returns a 2-d array where a 1-d array is expected")
refuse("root of a number for a tuple", "adj.root(first, (x, u))[0]", "first returns a float where a tuple of 2 is expected")
refuse("root of a swapped tuple", "adj.root(swapped, (x, u))[0]", "swapped returns a 1-d array where a number is expected")
refuse("root of another tuple", "adj.root(swapped, (u, x))[0]", "swapped returns a float where a 1-d array is expected")
refuse("root of another length", "adj.root(shorter, np.zeros(3))", "shorter returns an array of another length than the unknown")
refuse("root with no tuple", "adj.root(euler, u, u)", "args of adj.root is a 1-d array: pass a tuple")
refuse("root with too few arguments", "adj.root(euler, u, (u,))", "euler() is missing the argument 'dt'")
refuse("root in a matrix", "adj.root(euler, u.reshape(3, 1), (u, 0.1, u))", "the guess of adj.root is a 2-d array: pass a number")
refuse("complex root", "adj.root(euler, 1j * u, (u, 0.1, u)).real", "the guess of adj.root is a 1-d complex array")
refuse("root of a ufunc", "adj.root(np.sin, u)", "adj.root of sin: pass a function of yours")
refuse("root of what writes", "adj.root(writes, u)", "writes writes its arguments")
refuse("root by position", "adj.root(euler, u, (u, 0.1, u), 1e-3)", "given by their names")
refuse("tol of an array", "adj.root(euler, u, (u, 0.1, u), tol=u)", "tol of adj.root is a 1-d array")
refuse("two tolerances", "adj.root(euler, u, (u, 0.1, u), tol=(1e-3, 1e-3))", "tol and max_iter of adj.root are numbers")
refuse("a float for max_iter", "adj.root(euler, u, (u, 0.1, u), max_iter=3.0)", "max_iter of adj.root is a float")
refuse("one bandwidth", "adj.root(euler, u, (u, 0.1, u), bandwidth=2)", "bandwidth of adj.root is a pair")
refuse("root with a list", "adj.root(euler, u, (u, 0.1, [x]))", "neither a number, an array, a tuple nor a function")
refuse("root of itself", "adj.root(itself, u)", "recursion is not supported: the residual", "return adj.root(itself, x)")

# ------------------------------------------------------------------------------------------------------------ random numbers
refuse("a float for a seed", "u * adj.random.normal(0.5, 1, 2)", "seed of adj.random.normal is a float: pass an integer")
