"""Fixed steps with jumps and events, by independent means: in complex numbers, from the definition.

Between two times that are given, steps are equal.  One in which the condition changes its sign ends where that is 0, which is
found by bisection and then by Newton's method, whose result is analytic in all that it depends on; the rest of the step follows.
"""

from __future__ import annotations

import math

import numpy as np

from adjointsim.ode.tableaus import TABLEAUS, SplittingTableau


def rhs(t, y, p):
    """A driven pendulum."""
    return y[1], -p[0] * np.sin(y[0]) + 0.5 * np.cos(2.0 * t)


def wall(t, y, p):
    """Positive where the pendulum may be: the wall moves."""
    return y[0] + p[2] * (1.0 + 0.2 * t)


def bounce(t, y, p):
    return y[0], -p[1] * y[1] + 0.05 * t


def kick(t, y, p):
    return y[0], y[1] + p[3] * t


def step(name, t, h, y, p):
    """One step of an explicit method, or a splitting."""
    table = TABLEAUS[name]
    if isinstance(table, SplittingTableau):
        q, v = y
        at = t
        for i, weight in enumerate(map(float, table.kick)):
            v = v + weight * h * rhs(at, (q, v), p)[1]
            if i < len(table.drift):
                q = q + float(table.drift[i]) * h * v
                at = at + float(table.drift[i]) * h
        return q, v
    rates = []
    for row, c in zip(table.a, table.c, strict=True):
        inner = [y[j] + h * sum(float(w) * k[j] for w, k in zip(row, rates, strict=True)) for j in range(2)]
        rates.append(rhs(t + float(c) * h, inner, p))
    return tuple(y[j] + h * sum(float(w) * k[j] for w, k in zip(table.b, rates, strict=True)) for j in range(2))


def solved(name, t0, t_eval, jumps, dt, y, p, stop=False):
    """The states at ``t_eval``, those after jumps, and the times of events; ``stop``: until the first event, at which the last
    state is.  ``p`` and times may be complex."""
    knots = [(t0, None)] + [(t, "seen") for t in t_eval] + [(t, "jump") for t in jumps]
    knots.sort(key=lambda knot: knot[0].real)
    seen, events, fired = [], [], False
    if t_eval[0] == t0:
        knots.pop(1)
        seen.append(y)
    for (begin, _), (end, what) in zip(knots, knots[1:], strict=False):
        count = math.ceil(abs((end - begin).real) / dt * (1.0 - 1e-12))
        t = begin
        for k in range(count):
            target = begin + (end - begin) * ((k + 1) / count)
            while True:
                after = step(name, t, target - t, y, p)
                before, now = wall(t, y, p).real, wall(target, after, p).real
                if fired or not before > 0.0 >= now:
                    fired = False
                    t, y = target, after
                    break
                h = length(name, t, target - t, y, p)
                t, y = t + h, bounce(t + h, step(name, t, h, y, p), p)
                events.append(t)
                if stop:
                    return [*seen, y], events
                fired = True  # is at 0, and leaves it
        if what == "jump":
            y = kick(end, y, p)
        else:
            seen.append(y)
    return seen, events


def length(name, t, whole, y, p):
    """That of the step to the wall."""

    def distance(h):
        return wall(t + h, step(name, t, h, y, p), p)

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if distance(middle * whole).real > 0.0 else (low, middle)
    h = 0.5 * (low + high) * whole
    for _ in range(4):
        small = 1e-6 * whole.real
        h = h - distance(h) / ((distance(h + small) - distance(h - small)) / (2.0 * small))
    return h


def derivatives(value, x):
    """The gradient of ``value(list)`` at x by complex steps."""
    return np.array([value([v + 1e-25j * (j == k) for j, v in enumerate(x)]).imag / 1e-25 for k in range(len(x))])
