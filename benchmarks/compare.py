"""Measures workloads: workers in processes of their own, interleaved rounds, medians, peaks of memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from benchmarks.workload import Workload

ROOT = Path(__file__).parent.parent
ROUNDS = 7
#: of those that need a call of Python for each step, so many steps at most, and figures are for one step
CUT = 100
#: how far a gradient may be from that by hand, of the largest number of a leaf: orders of summation differ
TOLERANCE = 1e-9


class Worker:
    """A library at a workload; see :mod:`benchmarks.worker`."""

    def __init__(
        self, library: str, workload: Workload, size: int, n_steps: int, cores: int = 0,
        expected: Path | None = None, clock: str = "elapsed",
    ) -> None:  # fmt: skip
        self.library, self.n_steps, self.cores = library, n_steps, cores
        command = [sys.executable, "-m", "benchmarks.worker", library, workload.name, str(size), str(n_steps), f"--cores={cores}"]
        command.append(f"--clock={clock}")
        if expected is not None:
            command.append(f"--expected={expected}")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def ask(self, *request: str) -> Any:
        """One request and its reply.  RuntimeError if the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            print(*request, file=self._process.stdin, flush=True)
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


class _Rounds:
    """Times of what several workers can do."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.times: dict[str, list[float]] = {}
        self.first: dict[str, float] = {}  # seconds of the first call, compilation included
        self.work: list[tuple[str, Worker, str]] = []

    def enter(self, label: str, worker: Worker, but: Callable[[str], bool] = lambda name: False) -> None:
        """Compile what a worker has, compare its gradients with those by hand, and time it once."""
        for name in worker.ask("names"):
            if but(name):
                continue
            self.first[f"{label}: {name}"] = worker.ask("compile", name)
            if not name.startswith("run"):
                off = worker.ask("compare", name)
                if not off <= TOLERANCE:
                    raise AssertionError(f"{self.workload.name}, {label}, {name}: off by {off:.1e} of the gradient by hand")
            self.work.append((f"{label}: {name}", worker, name))
            self._time(*self.work[-1])

    def _time(self, full_name: str, worker: Worker, name: str) -> None:
        self.times.setdefault(full_name, []).append(worker.ask("time", name) / worker.n_steps)

    def round(self) -> None:
        """Each once, in turn."""
        for each in self.work:
            self._time(*each)

    def drop(self) -> None:
        """Go on without those variants that will not be their library's best."""
        self.work = [each for each in self.work if not _hopeless(each[0], self.times)]


def measured(
    workload: Workload, size: int, n_steps: int, libraries: Sequence[str], rounds: int = ROUNDS, shared: bool = False
) -> dict[str, Any]:
    """Seconds a step of everything that these libraries can run, medians of interleaved rounds; each gradient is compared with
    that by hand first.  JAX is asked to do on all cores what it did best on one.

    On a ``shared`` machine the least of the rounds, in seconds of the processor where one core does the work.
    """
    cores, statistic = len(os.sched_getaffinity(0)), min if shared else statistics.median
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def worker(library: str, count: int = 0) -> Worker:
            n = min(n_steps, CUT) if library in ("torch", "warp") else n_steps
            expected = Path(folder) / f"{n}.npz"
            if not expected.exists():
                with Worker("hand", workload, size, n, expected=expected) as reference:
                    reference.ask("save", "gradient")
            clock = "processor" if shared and (count == 1 or library in ("ours", "hand")) else "elapsed"
            return stack.enter_context(Worker(library, workload, size, n, count, expected, clock))

        kept = _Rounds(workload)
        for library in libraries:
            alone = library == "jax" and cores > 1
            kept.enter(f"{library} 1" if alone else library, worker(library, int(alone)))
        if "jax" in libraries and cores > 1:
            kept.enter(f"jax {cores}", worker("jax", cores), lambda name: _hopeless(f"jax 1: {name}", kept.times))
        kept.drop()
        for _ in range(rounds - 1):
            kept.round()
    return {
        "workload": workload.name,
        "title": workload.title,
        "size": size,
        "n_steps": n_steps,
        "seconds_a_step": {name: statistic(each) for name, each in kept.times.items()},
        "rounds": kept.times,
        "first_call_seconds": kept.first,
    }


def _hopeless(name: str, times: dict[str, list[float]]) -> bool:
    """Whether another variant of the same library was so much faster in the first round that this one will not be the best."""
    library, _, variant = name.partition(": ")
    if not library.startswith("jax") or variant.startswith("run"):
        return False
    rivals = [each[0] for other, each in times.items() if other.startswith("jax") and ": run" not in other]
    return times[name][0] > 1.5 * min(rivals)


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
