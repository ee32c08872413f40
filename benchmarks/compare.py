"""Measures workloads: workers in processes of their own, interleaved rounds, medians, peaks of memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.workload import Workload

ROOT = Path(__file__).parent.parent
ROUNDS = 7
#: of those that need a call of Python for each step, so many steps at most, and figures are for one step
CUT = 200


class Worker:
    """A library at a workload; see :mod:`benchmarks.worker`."""

    def __init__(self, library: str, workload: Workload, size: int, n_steps: int, cores: int = 0, expected: Path | None = None):
        self.library, self.n_steps, self.cores = library, n_steps, cores
        command = [sys.executable, "-m", "benchmarks.worker", library, workload.name, str(size), str(n_steps), f"--cores={cores}"]
        if expected is not None:
            command.append(f"--expected={expected}")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def ask(self, *request: str) -> Any:
        """One request and its reply.  RuntimeError if the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(*request, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker for {self.library} ended at {' '.join(request)!r}; what it said is above")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def tolerance(library: str) -> float:
    """How far a gradient may be from that by hand, of the largest number of a leaf: orders of summation differ."""
    return 1e-9


def measured(workload: Workload, size: int, n_steps: int, libraries: Sequence[str], rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds a step of everything that these libraries can run, medians of interleaved rounds; each gradient is compared with
    that by hand first."""
    import os

    cores = len(os.sched_getaffinity(0))
    times: dict[str, list[float]] = {}
    compiled: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        workers: list[tuple[str, Worker]] = []
        try:
            steps = {name: min(n_steps, CUT) if name in ("torch", "warp") else n_steps for name in libraries}
            for library in libraries:
                for count in (1, cores) if library == "jax" and cores > 1 else (0,):
                    label = f"{library} {count}" if count else library
                    expected = Path(folder) / f"{steps[library]}.npz"
                    workers.append((label, Worker(library, workload, size, steps[library], count, expected)))
            for n in sorted(set(steps.values())):
                with Worker("hand", workload, size, n, expected=Path(folder) / f"{n}.npz") as reference:
                    reference.ask("save", "gradient")
            work = []
            for label, worker in workers:
                for name in worker.ask("names"):
                    compiled[f"{label}: {name}"] = worker.ask("compile", name)
                    if not name.startswith("run"):
                        off = worker.ask("compare", name)
                        if not off <= tolerance(worker.library):
                            raise AssertionError(f"{workload.name}, {label}, {name}: off by {off:.1e} of the gradient by hand")
                    work.append((f"{label}: {name}", worker, name))
            for _ in range(rounds):
                for full_name, worker, name in work:
                    times.setdefault(full_name, []).append(worker.ask("time", name) / worker.n_steps)
        finally:
            for _, worker in workers:
                worker.__exit__()
    return {
        "workload": workload.name,
        "title": workload.title,
        "size": size,
        "n_steps": n_steps,
        "seconds_a_step": {name: statistics.median(each) for name, each in times.items()},
        "rounds": times,
        "first_call_seconds": compiled,
    }


def peaks(workload: Workload, size: int, n_steps: int, names: Sequence[str]) -> dict[str, int]:
    """Bytes above what a process had when all was compiled; each in a process of its own."""
    found = {}
    for full_name in names:
        label, _, name = full_name.partition(": ")
        library, _, cores = label.partition(" ")
        with Worker(library, workload, size, n_steps, int(cores or 0)) as worker:
            found[full_name] = worker.ask("peak", name)
    return found


def ratios(record: dict[str, Any]) -> dict[str, float]:
    """What the summary shows, from medians of the same rounds."""
    seconds = record["seconds_a_step"]
    found = {
        "ours / by hand": seconds["ours: gradient"] / seconds["hand: gradient"],
        "run, ours / by hand": seconds["ours: run"] / seconds["hand: run"],
        "gradient / run, by hand": seconds["hand: gradient"] / seconds["hand: run"],
        "gradient / run, ours": seconds["ours: gradient"] / seconds["ours: run"],
        "bounded / store-all": seconds["ours: bounded"] / seconds["ours: gradient"],
    }
    if "ours: arrays" in seconds:
        found["arrays / loops"] = seconds["ours: arrays"] / seconds["ours: gradient"]
    for library in ("jax", "torch", "warp"):
        if (fastest := best(record, library)) is not None:
            found[f"{library} / ours"] = seconds[fastest] / seconds["ours: gradient"]
    return found


def best(record: dict[str, Any], library: str) -> str | None:
    """The fastest gradient of a library, on its best number of cores."""
    seconds = record["seconds_a_step"]
    names = [name for name in seconds if name.startswith(library) and ": run" not in name]
    return min(names, key=lambda name: seconds[name]) if names else None
