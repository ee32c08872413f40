"""Memory that is named: what a process really takes beside what was planned, and what it costs in time to have less.

Peaks are those of the resident memory of a process of its own, above what it had when everything was compiled.  Times are
those of gradients in a loop: of two in a row the second counts, because the slots of the first are used again.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import adjointsim as adj
from adjointsim.step import Step
from benchmarks.common import status, table

BUDGETS, CELLS, STEPS = ("5MB", "100MB"), 5000, (10**3, 10**4, 10**5, 10**6)
ROUNDS = 5


# -- models -----------------------------------------------------------------------------------------------------------------


@adj.step
def rod(n, u, k):
    """Diffusion in one dimension."""
    out = np.empty_like(u)
    out[0] = u[0]
    out[-1] = u[-1]
    for i in range(1, len(u) - 1):
        out[i] = u[i] + k * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return out


@adj.step
def plate(n, u, k):
    """Diffusion in two dimensions."""
    out = u.copy()
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            out[i, j] = u[i, j] + k * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j])
    return out


@adj.step
def slow_plate(n, u, k):
    """Diffusion and a reaction that takes its time."""
    out = u.copy()
    rows, columns = u.shape
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            source = math.sin(u[i, j]) * math.exp(-u[i, j] * u[i, j]) + math.tanh(u[i, j])
            out[i, j] = (
                u[i, j] + k * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]) + 0.01 * k * source
            )
    return out


def energy(u, k):
    return np.sum(u * u)


def line(cells: int = CELLS) -> np.ndarray:
    return np.sin(np.linspace(0.0, 9.0, cells))


def square(side: int = 256) -> np.ndarray:
    return np.outer(line(side), line(side))


# -- peaks ------------------------------------------------------------------------------------------------------------------


def peak(n_steps: int, memory: str) -> tuple[int, int, str]:
    """Bytes planned and taken by a gradient in this process, and the schedule."""
    u0 = line()
    adj.Simulation(rod, 200, terminal=energy, checkpoints=2).value_and_grad(u0, 0.2)
    sim = adj.Simulation(rod, n_steps, terminal=energy, memory=memory)
    plan = sim.plan(u0, 0.2)
    adj.Simulation(rod, 200, terminal=energy, checkpoints=2).value_and_grad(u0, 0.2)  # nothing large is kept
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    sim.value_and_grad(u0, 0.2)
    return plan.bytes, status("VmHWM") - before, plan.schedule


def peaks(memory: str) -> list[tuple[str, float, str, str]]:
    """Rows of a table for one budget, each from a process of its own."""
    rows = []
    for n in STEPS:
        command = [sys.executable, "-m", "benchmarks.memory", str(n), memory]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        planned, used, schedule = done.stdout.split()
        limit = (1.05 * int(planned) + 1e7) / 1e6
        remark = f"planned {int(planned) / 1e6:.1f}, limit {limit:.1f}"
        rows.append((f"{n} steps, {schedule}", int(used) / 1e6, "MB", remark))
    return rows


# -- times ------------------------------------------------------------------------------------------------------------------


def in_a_loop(gradients: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median seconds of each, in turns; of two calls in a row the second counts."""
    times: dict[str, list[float]] = {name: [] for name in gradients}
    for _ in range(rounds):
        for name, gradient in gradients.items():
            gradient()
            began = time.perf_counter()
            gradient()
            times[name].append(time.perf_counter() - began)
    return {name: median(each) for name, each in times.items()}


def compared(title: str, step: Step, n: int, u0: np.ndarray, k: float, budgets: dict[str, dict], limit: float) -> None:
    """Time gradients under some bounds beside the first one, and print."""
    sims = {name: adj.Simulation(step, n, terminal=energy, **options) for name, options in budgets.items()}
    plans = {name: sim.plan(u0, k) for name, sim in sims.items()}
    times = in_a_loop({name: lambda sim=sim: sim.value_and_grad(u0, k) for name, sim in sims.items()})
    first = next(iter(times.values()))
    rows = []
    for name, seconds in times.items():
        about = f"{plans[name].schedule}, predicted {plans[name].seconds:.3g} s"
        rows.append((name, seconds, "s", about))
    rows += [(f"{name} / {next(iter(times))}", times[name] / first, "", f"limit {limit:g}") for name in list(times)[1:]]
    table(title, rows)


def check() -> None:
    """The same bits in all budgets."""
    for step, u0 in ((rod, line(100)), (plate, square(12)), (slow_plate, square(12))):
        with tempfile.TemporaryDirectory() as folder:
            expected, reference = adj.Simulation(step, 300, terminal=energy).value_and_grad(u0, 0.2)
            for memory in (30 * u0.nbytes, 60 * u0.nbytes, "1GB"):
                for directory in (None, folder):
                    sim = adj.Simulation(step, 300, terminal=energy, memory=memory, directory=directory)
                    value, grad = sim.value_and_grad(u0, 0.2)
                    if (value, grad.p, grad.y0.tobytes()) != (expected, reference.p, reference.y0.tobytes()):
                        raise AssertionError(f"other bits with memory={memory}: {grad.ledger}")


def main() -> None:
    """Measure and print."""
    for memory in BUDGETS:
        table(f"memory: peak of a process, {CELLS} cells, memory={memory!r}", peaks(memory))
    u0 = square()
    budgets = {"every state (1 GB)": {}, "200 MB": {"memory": "200MB"}, "30 MB": {"memory": "30MB"}}
    compared("time: 256 x 256, 2000 steps", plate, 2000, u0, 0.2, budgets, 1.5)
    budgets = {"every state (164 MB)": {}, "50 MB": {"memory": "50MB"}, "5 MB": {"memory": "5MB"}}
    compared("time: 1024 cells, 20 000 steps", rod, 20_000, line(1024), 0.2, budgets, 1.5)
    with tempfile.TemporaryDirectory() as folder:
        few = 20 + 3 + 8  # states in memory, on their way to the disk, and at work
        budgets = {"every state": {}, "20 in memory, others on the disk": {"memory": few * u0.nbytes, "directory": folder}}
        compared("time: 256 x 256, 220 steps of a few ms", slow_plate, 220, u0, 0.2, budgets, 1.2)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(*peak(int(sys.argv[1]), sys.argv[2]))
    else:
        check()
        main()
