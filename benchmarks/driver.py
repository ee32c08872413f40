"""What the driver adds to each step: a step that does next to nothing, and the same in a loop by hand."""

from __future__ import annotations

import numpy as np
from numba import njit

import adjointsim as adj
from benchmarks.common import assert_close, medians, table

N_STEPS = 1_000_000
RATE = 1.0 - 1e-7


@adj.step
def nothing(n, y, p):
    return p * y


def last(y, p):
    return y


@njit(error_model="numpy")
def hand_nothing(n_steps, y, p, states):
    for n in range(n_steps):
        states[n] = y
        y = p * y
    yb, pb = 1.0, 0.0
    for n in range(n_steps - 1, -1, -1):
        pb += yb * states[n]
        yb = yb * p
    return y, yb, pb


def check() -> None:
    """The same numbers."""
    value, grad = adj.Simulation(nothing, 1000, terminal=last).value_and_grad(1.0, RATE)
    assert_close("value and gradient", [value, grad.y0, grad.p], hand_nothing(1000, 1.0, RATE, np.empty(1000)), 1e-14)


def main() -> None:
    """Time and print."""
    empty = adj.Simulation(nothing, N_STEPS, terminal=last)
    line = np.empty(N_STEPS)
    times = medians(
        {"ours": lambda: empty.value_and_grad(1.0, RATE), "by hand": lambda: hand_nothing(N_STEPS, 1.0, RATE, line)}
    )
    overhead = 1e9 * (times["ours"] - times["by hand"]) / N_STEPS
    table(
        "driver: a step y -> p y, gradient",
        [(name, 1e9 * seconds / N_STEPS, "ns/step", "") for name, seconds in times.items()]
        + [("driver overhead", overhead, "ns/step", "limit 15")],
    )


if __name__ == "__main__":
    check()
    main()
