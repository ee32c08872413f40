"""How long a user waits for the first gradient of a small model: with an empty cache, and in a new process with a warm one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import table

MODEL = Path(__file__).with_name("small_model.py")
REPEATS = 5


def one_process(cache: str) -> tuple[float, float, float, str]:
    """Wall time of a process, its share of imports and of the gradient, and the numbers it found."""
    root = str(MODEL.parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # as where the library is installed: with bytecode, which the first process leaves behind
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(MODEL)],
        env={**environment, "ADJOINTSIM_CACHE_DIR": cache, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - began
    imports, gradient, *numbers = done.stdout.split()
    return seconds, float(imports), float(gradient), " ".join(numbers)


def check() -> None:
    """Nothing to compare before the processes run; :func:`main` compares their numbers."""


def main() -> None:
    """Time and print."""
    with tempfile.TemporaryDirectory() as cache:
        cold = one_process(cache)
        warm = [one_process(cache) for _ in range(REPEATS)]
    if {run[3] for run in warm} != {cold[3]}:
        raise AssertionError("a process with a warm cache found other numbers")
    median = [statistics.median(run[i] for run in warm) for i in range(3)]
    rows = []
    for title, (seconds, imports, gradient), limit in (("empty cache", cold[:3], 6.0), ("warm cache", median, 1.5)):
        rows.append((title, seconds, "s", f"limit {limit:g}; imports {imports:.2f} s, gradient {gradient:.2f} s"))
    table("first gradient: a new process, import included", rows)


if __name__ == "__main__":
    main()
