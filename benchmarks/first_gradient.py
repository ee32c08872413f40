"""How long a user waits for the first gradient of a small model, in a new process with an empty and with a warm cache; beside
it the same written by hand for Numba; and for that of a model of three fields in the plane."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import table

OURS = Path(__file__).with_name("small_model.py")
BY_HAND = Path(__file__).with_name("small_model_by_hand.py")
FIELDS = Path(__file__).with_name("field_model.py")
#: seconds: cold and warm
LIMITS = {OURS: ("a small model", 4.0, 1.0), FIELDS: ("three fields", 15.0, 1.0)}
REPEATS = 5


def one_process(model: Path, cache: str, root: Path = OURS.parent.parent) -> tuple[float, float, float, str]:
    """Wall time of a process, its share of imports and of the gradient, and the numbers it found."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    # as where the library is installed: with bytecode, which the first process leaves behind
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(model)],
        env={**environment, "ADJOINTSIM_CACHE_DIR": cache, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": path},
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
    """Time and print: a few rounds, each with an empty cache and twice more with what that left."""
    models = (OURS, BY_HAND, FIELDS)
    cold: dict[Path, list[tuple[float, ...]]] = {model: [] for model in models}
    warm: dict[Path, list[tuple[float, ...]]] = {model: [] for model in models}
    numbers: dict[Path, set[str]] = {model: set() for model in models}
    for model in models:  # bytecode
        with tempfile.TemporaryDirectory() as cache:
            one_process(model, cache)
    for _ in range(REPEATS):
        for model in models:
            with tempfile.TemporaryDirectory() as cache:
                for found in (cold, warm, warm):
                    *times, result = one_process(model, cache)
                    found[model].append(tuple(times))
                    numbers[model].add(result)
    if any(len(found) != 1 for found in numbers.values()):
        raise AssertionError(f"processes found different numbers: {numbers}")
    results = [np.array(next(iter(numbers[model])).split(), float) for model in (OURS, BY_HAND)]
    np.testing.assert_allclose(*results, rtol=1e-11)
    rows = []
    for model, (name, *limits) in LIMITS.items():
        for title, found, limit in zip(("empty cache", "warm cache"), (cold, warm), limits, strict=True):
            seconds, imports, gradient = (statistics.median(run[i] for run in found[model]) for i in range(3))
            note = f"limit {limit:g}; imports {imports:.2f} s, gradient {gradient:.2f} s"
            rows.append((f"{name}, {title}", seconds, "s", note))
            if model == OURS:
                by_hand = statistics.median(run[0] for run in found[BY_HAND])
                rows.append((f"{name} by hand, {title}", by_hand, "s", f"ours takes {seconds / by_hand:.2f} of it"))
    table("first gradient: a new process, import included", rows)


if __name__ == "__main__":
    main()
