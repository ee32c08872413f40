"""Records of measured workloads as a table for people, as JSON, Markdown and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare import best, ratios

COLUMNS = (
    ("ours / by hand", "ours / by hand"),
    ("run, ours / by hand", "run, ours / by hand"),
    ("arrays / loops", "arrays / loops"),
    ("bounded / store-all", "bounded / store-all"),
    ("jax / ours", "JAX / ours"),
    ("torch / ours", "PyTorch / ours"),
    ("warp / ours", "Warp / ours"),
)


def geometric_mean(numbers: Sequence[float]) -> float:
    """NaN without numbers."""
    return math.exp(sum(map(math.log, numbers)) / len(numbers)) if numbers else math.nan


def _short(number: float | None) -> str:
    return "" if number is None or math.isnan(number) else f"{number:.3g}" if number < 100 else f"{number:.0f}"


def summary(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of text, the heading first: microseconds a step, what limits the gradient, ratios, and their geometric means."""
    found = [ratios(record) for record in records]
    columns = [(key, title) for key, title in COLUMNS if any(key in each for each in found)]
    head = ["workload", "size, steps", "run by hand, us", "gradient, us", "at least, us", *(title for _, title in columns)]
    rows = [head]
    for record, ratio in zip(records, found):
        seconds = record["seconds_a_step"]
        rows.append([
            record["title"],
            f"{record['size']}, {record['n_steps']}",
            _short(1e6 * seconds["hand: run"]),
            _short(1e6 * seconds["hand: gradient"]),
            f"{_short(1e6 * record['at_least'])} ({record['limit']})",
            *[_short(ratio.get(key)) for key, _ in columns],
        ])  # fmt: skip
    means = [geometric_mean([each[key] for each in found if key in each]) for key, _ in columns]
    rows.append(["geometric mean", "", "", "", "", *map(_short, means)])
    return rows


def memory(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of text: peaks of processes in MB."""
    rows = [["workload", "all states", "ours", "ours, bounded", "by hand", "JAX, fastest", "JAX, least"]]
    for record in records:
        peaks = record["peak_bytes"]
        jax = {name: peak for name, peak in peaks.items() if name.startswith("jax")}
        fastest = jax.get(best(record, "jax") or "")
        numbers = [record["stored_bytes"], peaks.get("ours: gradient"), peaks.get("ours: bounded"), peaks.get("hand: gradient")]
        numbers += [fastest, min(jax.values(), default=None)]
        rows.append([record["title"], *[_short(None if n is None else n / 1e6) for n in numbers]])
    return rows


def text(rows: Sequence[Sequence[str]]) -> str:
    """Columns for a terminal."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths))) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---|" + "---:|" * (len(rows[0]) - 1), *body])


def save(folder: Path, about: dict[str, Any], records: Sequence[dict[str, Any]]) -> list[Path]:
    """``workloads.json``, ``.md`` and, if there is matplotlib, ``.png``; the paths that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "workloads.json", folder / "workloads.md"]
    written[0].write_text(json.dumps({"machine": about, "records": list(records)}, indent=1) + "\n")
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [f"{about['processor']}, {about['cores']} cores; {versions}", "", markdown(summary(records))]
    if any(record["peak_bytes"] for record in records):
        lines += ["", "Peak memory of a process, MB:", "", markdown(memory(records))]
    written[1].write_text("\n".join(lines) + "\n")
    if _draw(folder / "workloads.png", records):
        written.append(folder / "workloads.png")
    return written


def _draw(path: Path, records: Sequence[dict[str, Any]]) -> bool:
    """Gradients as multiples of the one by hand; False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    kinds = {"ours": "ours: gradient", "ours, array expressions": "ours: arrays", "ours, bounded": "ours: bounded"}
    kinds |= {"JAX": "jax", "PyTorch": "torch", "Warp": "warp"}
    figure = Figure(figsize=(9.0, 0.7 * len(records) + 1.5), layout="constrained")
    axes = figure.subplots()
    for k, (label, kind) in enumerate(kinds.items()):
        points = []
        for row, record in enumerate(records):
            seconds = record["seconds_a_step"]
            name = kind if ":" in kind else best(record, kind)
            if name in seconds:
                points.append((seconds[name] / seconds["hand: gradient"], row))
        if points:
            axes.plot(*zip(*points), "o", label=label, color=f"C{k}")
    axes.axvline(1.0, color="0.3", linewidth=0.8)
    axes.set(xscale="log", xlabel="time of a gradient / that of the adjoint by hand")
    axes.set_yticks(range(len(records)), [record["title"] for record in records])
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    return True
