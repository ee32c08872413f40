"""Timing and printing shared by the benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

ROUNDS = 9


def medians(functions: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median time of each function in seconds.

    Every round calls each function once, in turn, so that a busy machine slows all of them alike. One round to compile and
    to touch memory comes first and is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for counted in [False] + [True] * rounds:
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            if counted:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in times.items()}


def table(title: str, rows: Sequence[tuple[str, float, str, str]]) -> None:
    """Print rows of (what, number, unit, remark)."""
    print(f"\n{title}")
    for what, number, unit, remark in rows:
        print(f"  {what:44} {number:10.4g} {unit:8} {remark}".rstrip())


def report(title: str, times: Mapping[str, float], n_steps: int, limits: Mapping[str, float]) -> None:
    """Print the times of "run" and "gradient", ours and by hand, as nanoseconds a step, and the ratios beside their limits."""
    ratios = {
        "run, ours / by hand": times["run"] / times["run by hand"],
        "gradient, ours / by hand": times["gradient"] / times["gradient by hand"],
        "gradient / run, ours": times["gradient"] / times["run"],
        "gradient / run, by hand": times["gradient by hand"] / times["run by hand"],
    }
    rows = [(name, 1e9 * seconds / n_steps, "ns/step", "") for name, seconds in times.items()]
    rows += [(name, ratio, "", f"limit {limits[name]:g}" if name in limits else "") for name, ratio in ratios.items()]
    table(title, rows)


def assert_close(what: str, ours: Sequence[float], expected: Sequence[float], rtol: float) -> None:
    """Raise AssertionError unless the largest difference is at most ``rtol`` of the largest expected number."""
    scale = max(abs(float(e)) for e in expected)
    worst = max(abs(float(o) - float(e)) for o, e in zip(ours, expected))
    if not worst <= rtol * scale:
        raise AssertionError(f"{what}: off by {worst:.3e} of {scale:.3e}")
