"""Timing and printing shared by the benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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


def assert_close(what: str, ours: Sequence[float], expected: Sequence[float], rtol: float) -> None:
    """Raise AssertionError unless the largest difference is at most ``rtol`` of the largest expected number."""
    scale = max(abs(float(e)) for e in expected)
    worst = max(abs(float(o) - float(e)) for o, e in zip(ours, expected))
    if not worst <= rtol * scale:
        raise AssertionError(f"{what}: off by {worst:.3e} of {scale:.3e}")


def status(name: str) -> int:
    """A line of this process's status, in bytes."""
    for each in Path("/proc/self/status").read_text().splitlines():
        if each.startswith(f"{name}:"):
            return int(each.split()[1]) * 1024
    raise KeyError(name)
