"""Steps that return leaves of their state as they are, in every way, on one mixed state; and the same steps with copies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import adjointsim as adj


class Mixed(NamedTuple):
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray
    x: float
    z: float
    e: float
    i: np.ndarray
    j: np.ndarray
    k: int
    l: int


class Rates(NamedTuple):
    r: float
    w: np.ndarray
    unused: np.ndarray


FIXED = np.array([0.4, -0.3, 0.2])
ONE = 1.0
NONE = 0


def make(n, y, p):
    """A new array and a new number, from everything that has a derivative."""
    new = np.empty_like(y.a)
    m = len(new)
    for q in range(m):
        new[q] = p.r * y.a[q] * y.b[(q + 1) % m] + 0.3 * y.c[q] - 0.2 * y.d[m - 1 - q] * y.x + p.w[q] * y.z * 0.1 + 0.01 * y.i[q]
    return new, 0.5 * y.x + 0.2 * y.e * y.a[0] - 0.1 * y.z * p.r + 0.01 * y.k + 0.01 * n


def wave(n, y, p):
    new, x = make(n, y, p)
    return Mixed(new, y.a, y.c, y.d, x, y.x, y.e, y.i, y.i, y.k + 1, y.k)


def history(n, y, p):
    """The newest first; numbers likewise."""
    new, x = make(n, y, p)
    return Mixed(new, y.a, y.b, y.c, x, y.x, y.z, y.i, y.i, y.l, y.k)


def swaps(n, y, p):
    """Nothing but names changes, except for one array and one number."""
    new, x = make(n, y, p)
    return Mixed(y.b, y.a, new, y.d, y.z, y.x, x, y.j, y.i, y.l, y.k)


def turns(n, y, p):
    """Nothing is new."""
    return Mixed(y.b, y.c, y.a, y.d, y.z, y.e, y.x, y.j, y.i, y.k, y.l)


def twins(n, y, p):
    """Leaves that are returned twice, and three times."""
    new, x = make(n, y, p)
    return Mixed(y.b, y.b, new, y.b, y.z, y.z, x * y.z, y.j, y.j, y.k, y.k)


def first_twice(n, y, p):
    new, x = make(n, y, p)
    return Mixed(new, y.a, y.a, y.c, x, y.x, y.x, y.i, y.j, y.k, y.l)


def outside(n, y, p):
    """A leaf of p, a captured array and a literal become leaves of the state."""
    new, x = make(n, y, p)
    return Mixed(new, p.w, FIXED, y.b, x, p.r, 0.25, y.i, y.j, 7, y.l)


def overwritten(n, y, p):
    """In place: what is returned is not the leaf as it was."""
    new, x = make(n, y, p)
    for q in range(1, len(y.b)):
        y.b[q] = y.b[q] * y.b[q - 1] + 0.5 * new[q]
    y.i[0] = y.i[0] + 1
    return Mixed(y.b, y.a, y.b, y.d, x, y.x + 0.0 * y.z, y.e, y.i, y.i.copy(), y.k, y.l)


def recorded(n, y, p):
    """Needs a tape whose length is known only while it runs."""
    new, x = make(n, y, p)
    trips = 0
    while new[0] * new[0] + trips * trips < 9.0 + n % 5:
        for q in range(len(new)):
            new[q] = 0.9 * new[q] + 0.05 * new[q] * new[q - 1] + 0.01 * y.a[q]
        trips += 1
    return Mixed(new, y.a, y.a, y.c, x, y.x, y.z, y.i, y.j, y.k + trips, y.k)


def saturated(n, y, p):
    """Its VJP reads what it stored: a new leaf, which is handed on by the next step, and one that is not."""
    new, x = make(n, y, p)
    a, c = np.empty_like(y.a), np.empty_like(y.c)
    for q in range(len(a)):
        s = new[q]
        for r in range(len(a)):
            s += p.w[r] * y.b[r] * y.a[q]
        a[q] = np.tanh(s)
        c[q] = np.exp(-s * s)
    return Mixed(a, y.a, c, y.d, x, y.x, y.z, y.j, y.i, y.k + 1, y.k)


def element(n, y, p):
    """One cell of an array, and a cast: numbers, but not leaves."""
    new, x = make(n, y, p)
    return Mixed(new, y.a, y.c, y.d, y.a[0], x, y.k + y.x, y.i, y.j, y.i[0], y.l)


def choice(n, y, p):
    """Which number it is depends on the step: not a leaf."""
    new, x = make(n, y, p)
    return Mixed(new, y.c, y.a, y.d, x, y.x, y.z if n % 2 == 0 else y.e, y.i, y.j, y.k, y.l)


FUNCTIONS = {
    f.__name__: f
    for f in (wave, history, swaps, turns, twins, first_twice, outside, overwritten, recorded, saturated, element, choice)
}
STEPS = {name: adj.step(f) for name, f in FUNCTIONS.items()}


def copying(f):
    """The same step, which copies all that it returns."""

    def step(n, y, p):
        t = f(n, y, p)
        a, b, c, d = t.a.copy(), t.b.copy(), t.c.copy(), t.d.copy()
        return Mixed(a, b, c, d, ONE * t.x, ONE * t.z, ONE * t.e, t.i.copy(), t.j.copy(), t.k + NONE, t.l + NONE)

    return adj.step(step)


COPYING = {name: copying(f) for name, f in FUNCTIONS.items()}

Y0 = Mixed(
    np.array([0.3, -0.2, 0.7]), np.array([0.5, 0.4, -0.6]), np.array([0.1, 0.9, 0.8]), np.array([-0.5, 0.6, 0.2]), 0.4, -0.3, 0.6,
    np.array([1, 2, 3]), np.array([4, 0, 1]), 2, 5,
)  # fmt: skip
P = Rates(0.7, np.array([0.3, -0.1, 0.2]), np.ones((2, 2)))


def terminal(y, p):
    total = y.x * y.z + p.r * y.e + 0.01 * y.k
    for q in range(len(y.a)):
        total += y.a[q] * y.b[q] + p.w[q] * y.c[q] * y.c[q] + y.d[q] * (q + 1.0) + 0.1 * y.i[q] * y.j[q] * y.x
    return total


def running(n, y, p):
    """With a tape of its own: after the step's VJP has been done, it may turn out too short."""
    total = 0.0
    s = y.b[n % len(y.b)]
    for q in range(4 + n % 3):
        s = s * s * 0.5 + y.a[q % len(y.a)] * p.r
        total += s * y.e
    return total + 0.01 * y.d[0] * y.c[1] + 0.001 * y.l * y.z


def observe(n, y, p):
    out = np.empty(3)
    out[0] = y.a[0] * y.x
    out[1] = y.b[1] + y.c[2] * p.r
    out[2] = y.d[1] * y.z
    return out, y.e * y.x


def misfit(k, seen, p):
    d = seen[0][0] - 0.1 * k
    return 0.5 * d * d + seen[0][1] * seen[0][2] * p.r + seen[1] * p.w[k % 3]


def times(n):
    return sorted([0, n // 3, n // 2, n // 2, n])


def simulation(step, n, **options):
    costs = {"terminal": terminal, "running": running, "observe": observe, "misfit": misfit}
    return adj.Simulation(step, n, **costs, observe_at=times(n), **options)


def value(f, n_steps, y, p):
    """The same by Python, for numbers of any kind."""
    found, k = 0.0, 0
    at = times(n_steps)
    for n in range(n_steps + 1):
        while k < len(at) and at[k] == n:
            found += misfit(k, observe_complex(n, y, p), p)
            k += 1
        if n < n_steps:
            found += running(n, y, p)
            y = Mixed(*(t.copy() if isinstance(t, np.ndarray) else t for t in y))
            y = f(n, y, p)
            y = Mixed(*(t.copy() if isinstance(t, np.ndarray) else t for t in y))
    return found + terminal(y, p)


def observe_complex(n, y, p):
    return (y.a[0] * y.x, y.b[1] + y.c[2] * p.r, y.d[1] * y.z), y.e * y.x
