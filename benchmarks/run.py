"""``python -m benchmarks.run [names]``: gradients of the named workloads, or of all, beside those by hand and of others.

Prints a table and saves it with every time that was measured, versions and the machine. Other names are benchmarks of parts,
which check and print for themselves.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from adjointsim.storage import machine as found_machine
from benchmarks import compare, machine, scaling, tables
from benchmarks.worker import LIBRARIES, workload_of
from benchmarks.workload import NAMES, leaves

PARTS = ("driver", "kernels", "schedules", "first_gradient", "long_step", "memory", "odes", "fits", "threads")


def present(libraries: list[str]) -> list[str]:
    """Those that are installed."""
    return [name for name in libraries if name in ("ours", "hand") or importlib.util.find_spec(name) is not None]


def record(name: str, full: bool, libraries: list[str], rounds: int, shared: bool, memory: bool) -> dict[str, Any]:
    """All that is measured of one workload."""
    workload = workload_of(name)
    size, n_steps = workload.full if full else workload.usual
    measured = compare.measured(workload, size, n_steps, libraries, rounds, shared)
    y0, _ = workload.problem(size, 1)
    stored = n_steps * sum(np.asarray(leaf).nbytes for leaf in leaves(y0))
    limit, at_least = machine.estimate(workload.work(size), stored, found_machine.cache_bytes())
    fastest = [n for n in measured["seconds_a_step"] if n == tables.best(measured, "jax") or n.startswith("jax 1: nested")]
    names = ["ours: gradient", "ours: bounded", "hand: gradient", *fastest] if memory else []
    peaks = compare.peaks(workload, size, n_steps, names)
    return {**measured, "limit": limit, "at_least": at_least, "stored_bytes": stored, "peak_bytes": peaks}


def main(argv: list[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description="Time gradients beside hand-written adjoints of the same steps.")
    parser.add_argument("names", nargs="*", help=f"workloads: {', '.join(NAMES)} (all without names); parts: {', '.join(PARTS)}")
    parser.add_argument("--full", action="store_true", help="whole sizes and numbers of steps; hours")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="of those installed (%(default)s)")
    parser.add_argument("--rounds", type=int, default=compare.ROUNDS, help="medians are over so many (%(default)s)")
    parser.add_argument("--shared", action="store_true", help="where others work, too: the processor's time, least of the rounds")
    parser.add_argument("--no-memory", action="store_true", help="no peaks of memory")
    parser.add_argument("--scaling", action="store_true", help="time and memory over steps, sizes and budgets instead")
    parser.add_argument("--save", type=Path, default=Path("benchmarks/results"), help="a folder (%(default)s)")
    asked = parser.parse_args(argv)
    unknown = sorted({*asked.names} - {*NAMES, *PARTS})
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES + PARTS)}")
    libraries = asked.libraries.split(",")
    if not {"ours", "hand"} <= {*libraries} <= {*LIBRARIES}:
        parser.error(f"--libraries must name ours and hand, and may name others of {', '.join(LIBRARIES)}: {asked.libraries}")
    if asked.scaling:
        contenders = [each for each in scaling.CONTENDERS if each[0] in present(libraries)]
        series = scaling.measured(contenders)
        print(tables.text(scaling.rows(series)))
        print("saved:", *scaling.save(asked.save, machine.described(), series))
        return
    records = []
    for name in [name for name in NAMES if name in asked.names] if asked.names else NAMES:
        records.append(record(name, asked.full, present(libraries), asked.rounds, asked.shared, not asked.no_memory))
        print(f"\n{tables.text(tables.summary(records[-1:])[:2])}", flush=True)
    if records:
        print(f"\n{tables.text(tables.summary(records))}")
        if not asked.no_memory:
            print(f"\npeak memory of a process, MB\n{tables.text(tables.memory(records))}")
        print("saved:", *tables.save(asked.save, machine.described(), records))
    for name in [name for name in PARTS if name in asked.names]:
        part = importlib.import_module(f"benchmarks.{name}")
        part.check()
        part.main()


if __name__ == "__main__":
    main()
