"""Models whose helpers stay functions of their own: what splitting them is tested with."""

from __future__ import annotations

import math

import numpy as np

BENT = np.array([0.3, -0.2, 0.5, 0.1])


def slopes(t, y, dy, p):
    n = len(y)
    for i in range(n):
        a = y[i] * p[0] + y[i - 1] * p[1] + BENT[0]
        b = y[i] * p[2] - a * y[i - 1] + math.sin(t)
        c = math.sin(a) * b + math.cos(b) * BENT[1]
        d = (a * a + b * b) / (1.0 + c * c)
        dy[i] = a * b * c - d * math.exp(-d) + BENT[3] * (c - d) / (1.0 + a * a)


def rk4(t, y, p):
    """Four calls of one function; the third argument is memory that is used again."""
    h = 0.05
    k1 = np.empty(len(y))
    k2 = np.empty(len(y))
    k3 = np.empty(len(y))
    k4 = np.empty(len(y))
    w = np.empty(len(y))
    out = np.empty(len(y))
    slopes(t, y, k1, p)
    for i in range(len(y)):
        w[i] = y[i] + 0.5 * h * k1[i]
    slopes(t + 0.5 * h, w, k2, p)
    for i in range(len(y)):
        w[i] = y[i] + 0.5 * h * k2[i]
    slopes(t + 0.5 * h, w, k3, p)
    for i in range(len(y)):
        w[i] = y[i] + h * k3[i]
    slopes(t + h, w, k4, p)
    for i in range(len(y)):
        out[i] = y[i] + h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i])
    return out


def bounded(x, limit):
    """Loops with an early exit, raises, and changes nothing."""
    total = 0.0
    for k in range(8):
        total += math.sin(x * (k + 1)) / (k + 1.0)
        if total > limit:
            break
        if total < -50.0:
            raise ValueError("too low")
    return total, total * x


def nested(y, x, c):
    """Writes through a row, calls a helper in a loop and in a branch."""
    for j in range(y.shape[0]):
        s, r = bounded(x, y[j, 0])
        accumulate(y[j], s, c)
        if s > 0.3:
            accumulate(y[0], r, y[j, 1])
    return x


def accumulate(row, s, c):
    for i in range(len(row)):
        row[i] = 0.5 * row[i] * c + math.sin(s) * row[i - 1]


def grid(y, x, c):
    """A loop in time around helpers that overwrite, and an alias: the same array twice."""
    u = y.copy()
    for _ in range(3):
        x = nested(u, 0.9 * x, c)
        swap(u[0], u[1])
        swap(u[1], u[1])
    return u, x


def swap(a, b):
    for i in range(len(a)):
        kept = a[i]
        a[i] = 0.7 * b[i] + 0.1 * kept * b[i]
        b[i] = kept


def relax(u, f, c):
    """Sweeps in place: inner loops that would record every cell."""
    for i in range(1, len(u) - 1):
        u[i] = 0.5 * (u[i - 1] + u[i + 1]) + c * f[i] * math.sin(u[i])


def sweeps(f, c):
    u = np.zeros(len(f))
    for _ in range(6):
        relax(u, f, c)
        relax(u, u, 0.1 * c)
    return u


def many_sweeps(u, f, c):
    for _ in range(5):
        for i in range(1, len(u) - 1):
            u[i] = 0.5 * (u[i - 1] + u[i + 1]) + c * f[i] * math.sin(u[i] * u[i - 1])
    return u[2]


def time_like(f, c):
    """A helper with a loop in time of its own, which is rerun from snapshots."""
    u = np.zeros(len(f))
    a = many_sweeps(u, f, c)
    b = many_sweeps(u, f, a)
    return u, a * b


def deep(u, k):
    if k > 7:
        raise IndexError("deep")
    for i in range(len(u)):
        u[i] = u[i] * math.sin(u[i])
    return u[0]


def middle(u, k):
    x = deep(u, k)
    y = deep(u, k + 1)
    return x * y


def raises(u, k):
    v = u.copy()
    return middle(v, k) * middle(v, k + 2)


def folded(x, y):
    """Keywords in another order, defaults, literals that decide, a function as an argument."""
    a = chosen(x, y, n=2, rule=bounded)
    b = chosen(rule=bounded, n=3, y=x, x=y)
    return a + b * chosen(y, x, bounded)


def chosen(x, y, rule, n=1, scale=0.5):
    if n == 3:
        s, _ = rule(x, y)
        return s**n
    t = 0.0
    for k in range(n):
        s, r = rule(y + k, x)
        t += s * r * scale
    return t


def march(u, c):
    """The first cells are read and the others overwritten, again and again: the first ones never."""
    s = 0.1
    for _ in range(3):
        s = 0.5 * s * s + (u[:2] * u[:2]).sum() * s * c
        u[2:] = s + u[2:] * s
    return s


def cells_overwritten_between_calls(u, c):
    """What a helper only reads of an array that it writes elsewhere, its caller overwrites."""
    s = march(u, c)
    u[0] = 1.3 * c * s
    return s * march(u, s), u


MODELS = {
    "rk4": (rk4, (0.3, np.linspace(0.2, 0.9, 5), np.array([0.4, -0.3, 0.8]))),
    "grid": (grid, (np.linspace(-0.7, 0.8, 12).reshape(3, 4), 0.9, 0.6)),
    "sweeps": (sweeps, (np.linspace(0.2, 0.9, 7), 0.3)),
    "time_like": (time_like, (np.linspace(0.2, 0.9, 7), 0.3)),
    "cells": (cells_overwritten_between_calls, (np.array([0.7, 0.4, -0.3, 0.2]), 0.8)),
    "raises": (raises, (np.linspace(0.2, 0.9, 4), 1)),
    "folded": (folded, (0.35, 0.75)),
}
