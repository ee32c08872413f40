"""The machine: its name, versions, and what it can do at best, measured; and from that, how fast a gradient by hand could be."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmarks.workload import Work, by_hand, summing

PACKAGES = ("adjointsim", "numba", "llvmlite", "numpy", "scipy", "jax", "jaxlib", "torch", "warp-lang")


@dataclass(frozen=True)
class Peaks:
    """Bytes a second that a copy moves, read and written, in memory and in the cache; operations a second."""

    memory: float
    cached: float
    simd: float  # additions and multiplications of vectors, in equal numbers
    divisions: float  # of vectors
    tanhs: float
    chain: float  # additions and multiplications that wait for one another
    divisions_in_chain: float


def described() -> dict[str, object]:
    """Processor, cores, system and versions."""
    names = [
        line.partition(":")[2].strip()
        for line in (Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else [])
        if line.startswith("model name")
    ]
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "versions": versions,
        "peaks": asdict(peaks()),
    }


@by_hand
def _copy(a, b, times):
    if len(a) != len(b):
        return  # never
    for _ in range(times):
        for i in range(len(a)):
            b[i] = a[i] + 1.0


@summing
def _multiply_and_add(a, times):
    """Sums of 64 numbers at a time, which stay in registers."""
    total = 0.0
    for _ in range(times):
        for i in range(len(a)):
            x = a[i]
            y = x * x
            total += ((((y * x + x) * y + x) * y + x) * y + x) * y
    return total


@by_hand
def _divide(a, b, times):
    if len(a) != len(b):
        return  # never
    for _ in range(times):
        for i in range(len(a)):
            b[i] = 1.0 / a[i]


@by_hand
def _tanh(a, b, times):
    if len(a) != len(b):
        return  # never
    for _ in range(times):
        for i in range(len(a)):
            b[i] = np.tanh(a[i])


@by_hand
def _chain(x, y, times):
    for _ in range(times):
        x = x * y + y
    return x


@by_hand
def _divisions(x, times):
    for _ in range(times):
        x = 1.0 / (1.0 + x)
    return x


def _rate(count: float, function: Callable[[], object]) -> float:
    """Of the best of some rounds: what else runs on the machine can only slow it down."""
    function()
    best = np.inf
    for _ in range(7):
        began = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - began)
    return count / best


@cache
def peaks() -> Peaks:
    """Measured in about a second."""
    large, small = np.ones((2, 2**23)), np.ones((2, 2**10))
    chain = _rate(2e6, lambda: _chain(1.0, 0.5, 10**6))
    both = _rate(1e6, lambda: _divisions(1.0, 10**6))
    return Peaks(
        memory=_rate(16.0 * large.shape[1], lambda: _copy(*large, 1)),
        cached=_rate(16.0 * small.shape[1] * 10**4, lambda: _copy(*small, 10**4)),
        simd=_rate(10.0 * small.shape[1] * 10**3, lambda: _multiply_and_add(small[0], 10**3)),
        divisions=_rate(small.shape[1] * 10.0**3, lambda: _divide(*small, 10**3)),
        tanhs=_rate(small.shape[1] * 100.0, lambda: _tanh(*small, 100)),
        chain=chain,
        divisions_in_chain=1.0 / (1.0 / both - 1.0 / chain),
    )


def estimate(work: Work, stored: float, cache_bytes: float) -> tuple[str, float]:
    """What limits a step and its adjoint, and the seconds that they take at least; ``stored`` is the bytes of all states."""
    best = peaks()
    times = {
        "bandwidth": 8.0 * work.numbers / (best.memory if stored > cache_bytes else best.cached),
        "arithmetic": work.flops / best.simd + work.divisions / best.divisions + work.tanhs / best.tanhs,
        "latency": work.chain / best.chain + work.divisions_in_chain / best.divisions_in_chain,
    }
    limit = max(times, key=lambda name: times[name])
    return limit, times[limit]
