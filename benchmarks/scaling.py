"""How time and memory of a gradient grow: with the number of steps, the size of a state, and as the memory shrinks.

Every point is the second of two calls in a process of its own, beside its peak of memory; the median of some rounds.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare import Worker
from benchmarks.worker import SHARES, workload_of

WORKLOAD = "burgers"
STEPS, CELLS = (10**2, 10**3, 10**4, 10**5, 10**6), 200
SIZES, FEW = (10**2, 10**3, 10**4, 10**5), 300
MANY = 10**5  # steps, for budgets
ROUNDS = 3
LONG = 2.0  # seconds of a call that is not repeated
CONTENDERS = (("ours", "gradient"), ("ours", "bounded"), ("hand", "gradient"), ("jax", "nested, slices"))


def point(library: str, name: str, size: int, n_steps: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds a step and peak bytes."""
    workload = workload_of(WORKLOAD)
    with Worker(library, workload, size, n_steps) as worker:
        peak = worker.ask("peak", name)
        times = [worker.ask("time", name)]
        while len(times) < rounds and times[0] < LONG:
            times.append(worker.ask("time", name))
        seconds = statistics.median(times)
    return {
        "library": library, "name": name, "size": size, "n_steps": n_steps,
        "seconds_a_step": seconds / n_steps, "peak_bytes": peak,
    }  # fmt: skip


def measured(contenders: Sequence[tuple[str, str]] = CONTENDERS) -> dict[str, list[dict[str, Any]]]:
    """Points of three series: over steps, sizes, budgets."""
    return {
        "steps": [point(*each, CELLS, n) for n in STEPS for each in contenders],
        "sizes": [point(*each, size, FEW) for size in SIZES for each in contenders],
        "budgets": [point("budgets", f"{share:g}", CELLS, MANY) for share in SHARES],
    }


def rows(series: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """A table of all points."""
    table = [["series", "gradient", "size", "steps", "us a step", "peak, MB"]]
    for kind, points in series.items():
        for each in points:
            table.append([
                kind, f"{each['library']}: {each['name']}", str(each["size"]), str(each["n_steps"]),
                f"{1e6 * each['seconds_a_step']:.4g}", f"{each['peak_bytes'] / 1e6:.4g}",
            ])  # fmt: skip
    return table


def save(folder: Path, about: dict[str, Any], series: dict[str, list[dict[str, Any]]]) -> list[Path]:
    """``scaling.json`` and, if there is matplotlib, ``scaling.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "scaling.json"]
    written[0].write_text(json.dumps({"machine": about, "series": series}, indent=1) + "\n")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return written
    figure = Figure(figsize=(12.0, 6.5), layout="constrained")
    panels = figure.subplots(2, 3, sharex="col")
    for column, (kind, key, label) in enumerate(
        (("steps", "n_steps", "steps"), ("sizes", "size", "cells"), ("budgets", "name", "share of all states"))
    ):
        names = list(dict.fromkeys((each["library"], each["name"] if key != "name" else "") for each in series[kind]))
        for library, name in names:
            points = [p for p in series[kind] if p["library"] == library and (key == "name" or p["name"] == name)]
            x = [float(p[key]) for p in points]
            title = f"{library}: {name}" if name else "ours"
            panels[0, column].loglog(x, [1e6 * p["seconds_a_step"] for p in points], "o-", label=title)
            panels[1, column].loglog(x, [max(p["peak_bytes"], 1e4) / 1e6 for p in points], "o-", label=title)
        panels[1, column].set_xlabel(label)
    panels[0, 0].set_ylabel("microseconds a step")
    panels[1, 0].set_ylabel("peak of memory, MB")
    panels[0, 0].legend()
    figure.suptitle(f"{workload_of(WORKLOAD).title}: value and gradient")
    written.append(folder / "scaling.png")
    figure.savefig(written[-1], dpi=120)
    return written
