"""Simulations of fields whose loops threads share, beside the same by one thread.

What a machine can give is measured, too: two of these simulations at once, each by a thread of its own, share nothing but the
memory behind the caches.  They come to less than twice as much where that is what limits them.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import adjointsim as adj
from adjointsim.leaves import flatten, spec_of
from benchmarks.common import ROUNDS, table
from benchmarks.workload import Workload

FIELDS = ("wave", "gray_scott", "shallow_water")
STEPS = {128: 800, 256: 200, 512: 50}
LIMIT = 1.6  # of two threads, at 256


def field(name: str) -> Workload:
    """A workload of the others, by its name."""
    found: Workload = importlib.import_module(f"benchmarks.workloads.{name}").WORKLOAD
    return found


def simulations(work: Workload, n_steps: int, count: int = 1, **more: Any) -> list[adj.Simulation]:
    """The same simulation, ``count`` times."""
    return [adj.Simulation(work.step, n_steps, **work.costs(n_steps), **more) for _ in range(count)]


def compared(one: Callable[[], object], two: Callable[[], object], both: Callable[[], object]) -> tuple[float, float, float]:
    """Medians of interleaved rounds, once all are compiled."""
    functions = (one, two, both)
    times: list[list[float]] = [[] for _ in functions]
    for call in functions:
        call()
        call()
    for _ in range(ROUNDS):
        for call, own in zip(functions, times, strict=True):
            began = perf_counter()
            call()
            own.append(perf_counter() - began)
    a, b, c = map(median, times)
    return a, b, c


def at_once(calls: list[Callable[[], object]]) -> None:
    """All of these, each by a thread."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check() -> None:
    """The same bits."""
    for name in FIELDS:
        work = field(name)
        y0, p = work.problem(96, 6)
        found = []
        for threads in (1, 2):
            value, grad = simulations(work, 6, threads=threads)[0].value_and_grad(y0, p, wrt=work.wrt)
            parts = [part for part in (grad.y0, grad.p) if part is not None]
            found.append([value, *(leaf for part in parts for leaf in flatten(part, spec_of(part, "gradient"), "gradient"))])
        if not all(np.array_equal(a, b) for a, b in zip(*found, strict=True)):
            raise AssertionError(f"{name}: not the same bits")


def main() -> None:
    """Time and print."""
    for size, n_steps in STEPS.items():
        rows: list[tuple[str, float, str, str]] = []
        for name in FIELDS:
            work = field(name)
            y0, p = work.problem(size, n_steps)
            (one, other), (two,) = simulations(work, n_steps, 2), simulations(work, n_steps, threads=2)
            for what in ("run", "gradient"):

                def call(sim: adj.Simulation, what: str = what) -> Callable[[], object]:
                    if what == "run":
                        return lambda: sim.run(y0, p)  # noqa: B023 - called before they change
                    return lambda: sim.value_and_grad(y0, p, wrt=work.wrt)  # noqa: B023

                a, b, c = compared(call(one), call(two), lambda: at_once([call(one), call(other)]))  # noqa: B023
                remark = f"{1e6 * a / n_steps:.0f} us a step by one; two simulations at once: {2 * a / c:.2f}"
                rows.append((f"{name}, {what}: one thread / two", a / b, "", remark))
        table(f"{size} x {size}" + (f"; asked {LIMIT}" if size == 256 else ""), rows)


if __name__ == "__main__":
    check()
    main()
