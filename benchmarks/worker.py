"""One library at one workload, in a process of its own: it reads what to do, a line at a time, and answers.

``python -m benchmarks.worker ours burgers 1000 10000`` reads lines such as ``time gradient``. The parent asks one worker after
the other, so that rounds are interleaved; a library that runs on one core (``--cores 1``) is bound to it before it is imported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import status
from benchmarks.workload import Workload, flat, worst

#: seconds; ours and the adjoint by hand stay below it, so that theirs is always the second call
LONG = 1.0
LIBRARIES = ("ours", "hand", "jax", "torch", "warp")
#: of the memory of all states, for the pseudo-library "budgets"
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def workload_of(name: str) -> Workload:
    """The workload of that name."""
    return importlib.import_module(f"benchmarks.workloads.{name}").WORKLOAD


def ours(workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Any]:
    """Ours as loops, in little memory, and as array expressions."""
    few = min(n_steps, 7)
    forms = {"gradient": workload.simulation(n_steps), "bounded": workload.bounded(n_steps, y0, p)}
    if workload.arrays is not None:
        forms["arrays"] = workload.simulation(n_steps, workload.arrays)

    def gradient(sim: Any) -> tuple[Any, Any]:
        value, grad = sim.value_and_grad(y0, p, wrt=workload.wrt)
        return value, (grad.y0, grad.p)

    def small(sim: Any) -> None:  # as much as is needed to compile
        y, q = workload.problem(workload.tiny[0], few)
        options = {"checkpoints": min(2, few)} if sim is forms["bounded"] else {}
        workload.simulation(few, sim.step, **options).value_and_grad(y, q, wrt=workload.wrt)

    found = {name: (lambda s=sim: small(s), lambda s=sim: gradient(s)) for name, sim in forms.items()}
    found["run"] = (lambda: forms["gradient"].run(y0, p), lambda: forms["gradient"].run(y0, p))
    if "arrays" in forms:
        found["run arrays"] = (lambda: forms["arrays"].run(y0, p), lambda: forms["arrays"].run(y0, p))
    return found


def budgets(workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Any]:
    """Ours with less and less memory."""

    def sized(slots: int) -> Any:
        planned = workload.simulation(n_steps, checkpoints=slots).plan(y0, p).bytes
        return workload.simulation(n_steps, memory=planned)

    sims = {f"{share:g}": sized(max(3, round(share * n_steps))) for share in SHARES}

    def compile() -> None:
        small = workload.problem(workload.tiny[0], 7)
        workload.simulation(7, checkpoints=3).value_and_grad(*small, wrt=workload.wrt)

    def gradient(sim: Any) -> tuple[Any, Any]:
        value, grad = sim.value_and_grad(y0, p, wrt=workload.wrt)
        return value, (grad.y0, grad.p)

    return {name: (compile, lambda s=sim: gradient(s)) for name, sim in sims.items()}


def hand(workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Any]:
    """By hand; the memory is made once."""
    made: list[Any] = []

    def called(function: Any) -> Any:
        if not made:
            made.append(workload.scratch(n_steps, y0, p))
        return function(n_steps, y0, p, made[0])

    def small(function: Any) -> None:
        y, q = workload.problem(workload.tiny[0], 5)
        function(5, y, q, workload.scratch(5, y, q))

    functions = {"run": workload.run, "gradient": workload.gradient}
    return {name: (lambda f=f: small(f), lambda f=f: called(f)) for name, f in functions.items()}


def contenders(library: str, workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Any]:
    """What a library can run, each as a function that compiles and one that is timed."""
    if library in ("ours", "hand", "budgets"):
        return {"ours": ours, "hand": hand, "budgets": budgets}[library](workload, n_steps, y0, p)
    if library == "warp":
        from benchmarks.warp_kernels import warp_contenders

        return warp_contenders(workload, n_steps, y0, p)
    from benchmarks import other_libraries

    return getattr(other_libraries, f"{library}_contenders")(workload, n_steps, y0, p)


def answer(found: dict[str, Any], request: list[str], expected: Path, clock: Callable[[], float]) -> Any:
    """One request: ``names``, ``compile NAME``, ``time NAME``, ``peak NAME``, ``save NAME`` or ``compare NAME``."""
    verb, name = request[0], " ".join(request[1:])
    if verb == "names":
        return list(found)
    compile, call = found[name]
    if verb == "compile":
        began = time.perf_counter()
        compile()
        return time.perf_counter() - began
    if verb == "time":  # of two in a row the second counts: memory and caches are its own; a long call does not profit
        for _ in range(2):
            began = clock()
            call()
            seconds = clock() - began
            if seconds > LONG:
                break
        return seconds
    if verb == "peak":
        compile()
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
        call()
        return status("VmHWM") - before
    if verb == "save":
        value, gradient = call()
        np.savez(expected, *flat(value, gradient))
        return 0.0
    if verb == "compare":
        value, gradient = call()
        with np.load(expected) as file:
            wanted = [file[key] for key in file.files]
        return worst(flat(value, gradient), wanted)
    raise ValueError(f"no request {verb}")


def main() -> None:
    """Answer until there is nothing more to read."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=(*LIBRARIES, "budgets"))
    parser.add_argument("workload")
    parser.add_argument("size", type=int)
    parser.add_argument("n_steps", type=int)
    parser.add_argument("--cores", type=int, default=0)
    parser.add_argument("--clock", choices=("elapsed", "processor"), default="elapsed")
    parser.add_argument("--expected", type=Path, default=Path("expected.npz"))
    asked = parser.parse_args()
    if asked.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    replies = os.fdopen(os.dup(1), "w")  # what libraries print goes elsewhere
    os.dup2(2, 1)
    workload = workload_of(asked.workload)
    y0, p = workload.problem(asked.size, asked.n_steps)
    found = contenders(asked.library, workload, asked.n_steps, y0, p)
    clock = time.process_time if asked.clock == "processor" else time.perf_counter
    for line in sys.stdin:
        print(json.dumps(answer(found, line.split(), asked.expected, clock)), file=replies, flush=True)


if __name__ == "__main__":
    main()
