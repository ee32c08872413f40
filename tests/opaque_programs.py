"""Programs around two custom functions: one whose rule uses its arguments, one whose rule uses its result.

The same text runs with plain functions in their place (:func:`plainly`).
"""

from __future__ import annotations

import types

import numpy as np

import adjointsim as adj


@adj.custom_vjp
def squared(u, c):
    return u * u * c


@squared.defvjp
def squared_vjp(y, y_bar, u, c):
    return 2.0 * u * c * y_bar, np.sum(u * u * y_bar)


@squared.defjvp
def squared_jvp(y, args, args_dot):
    (u, c), (u_dot, c_dot) = args, args_dot
    return 2.0 * u * c * u_dot + u * u * c_dot


@adj.custom_vjp
def grown(u):
    return np.exp(u)


@grown.defvjp
def grown_vjp(y, y_bar, u):
    return (y * y_bar,)


@grown.defjvp
def grown_jvp(y, args, args_dot):
    return y * args_dot[0]


def result_overwritten(u, c):
    x = grown(u)
    x[0] *= 2.0
    y = x * u
    x[:] = 0.5
    return y, x


def argument_overwritten_in_a_loop(u, c):
    for k in range(4):
        u[:] = squared(u, c) * 0.3
        if k == 2:
            c = c + u[0]
    return u, c


def while_with_a_break(u, c):
    s = 0.0
    k = 0
    while s < 3.0 and k < 6:
        v = grown(u[1:] * 0.1)
        u[0] = v[0] * c
        if v[1] > 1.2:
            break
        w = squared(v, c)
        u[1:] = w + u[1:]
        s += w[0]
        k += 1
    return u, s


def rows(m, c):
    for i in range(m.shape[0]):
        m[i] = squared(m[i], c) + grown(m[i - 1] * 0.1)
    return m


def exchanged(u, v, c):
    v[:] = squared(u, c) - v
    u *= 0.9
    return v[0] * c


def in_helpers_that_write(u, c):
    v = u[::-1].copy()
    s = 0.0
    for k in range(3):
        s += exchanged(u, v, c)
        s += exchanged(v, u, s * 0.1)
    return u, v, s


def inside_a_loop_that_is_rerun(u, c):
    for k in range(5):
        un = u.copy()
        f = grown(un * 0.1)
        for i in range(1, len(u) - 1):
            u[i] = un[i] + c * (un[i - 1] * f[i + 1] - un[i + 1]) * u[i - 1]
    return u


def of_each_other(u, c):
    a = squared(squared(u, c), c)
    b = squared(a, a[0]) + a
    a += b
    return grown(a * 0.1) * b


def of_a_transposed_view(m, c):
    t = squared(m.T, c)
    t[0] = grown(t[1] * 0.1)
    m[:, 0] = m[:, 1] * t[0, 0]
    return t, m


def states_that_are_rebound(u, c):
    out = np.zeros((3, len(u)))
    for k in range(3):
        out[k] = grown(u * c)
        u = squared(out[k], 0.1)
    return out, u


U, M = np.array([0.3, -0.5, 0.8, 0.2]), np.random.default_rng(0).normal(size=(3, 3))

PROGRAMS = {
    "result overwritten": (result_overwritten, (U, 0.4)),
    "argument overwritten in a loop": (argument_overwritten_in_a_loop, (U, 0.4)),
    "while with a break": (while_with_a_break, (U, 0.4)),
    "rows": (rows, (M, 0.4)),
    "in helpers that write": (in_helpers_that_write, (U, 0.4)),
    "inside a loop that is rerun": (inside_a_loop_that_is_rerun, (U, 0.4)),
    "of each other": (of_each_other, (U, 0.4)),
    "of a transposed view": (of_a_transposed_view, (M, 0.4)),
    "states that are rebound": (states_that_are_rebound, (U, 0.4)),
}


def plainly(fn: types.FunctionType) -> types.FunctionType:
    """The same function, in which the custom ones are plain."""
    scope = dict(globals())
    scope.update({name: scope[name].function for name in ("squared", "grown")})
    again = types.FunctionType(exchanged.__code__, scope, "exchanged")
    scope["exchanged"] = again
    return types.FunctionType(fn.__code__, scope, fn.__name__)
