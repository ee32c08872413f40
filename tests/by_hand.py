"""The adjoints by hand of the benchmarks, as plain Python, beside complex steps; for :mod:`test_benchmarks`, in a process of its
own, where Numba compiles nothing.

``python by_hand.py PATH`` saves, for each workload, the value, the derivatives, and for some numbers in each of them (index, what
the complex step says).
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from benchmarks.workload import NAMES, Workload, flat, leaves

STEP = 1e-30


def tree(like: object, parts: list) -> object:
    """These leaves in the structure of ``like``; takes them from the list."""
    if not isinstance(like, tuple):
        return parts.pop(0)
    found = [tree(each, parts) for each in like]
    return type(like)(*found) if hasattr(like, "_fields") else tuple(found)


def slope(workload: Workload, n_steps: int, y0: object, p: object, leaf: int, place: int) -> float:
    """The derivative with respect to one number of what the gradient is taken of."""
    chosen = workload.chosen(y0, p)
    parts = [np.array(each, complex) for each in leaves(chosen)]
    parts[leaf].reshape(-1)[place] += 1j * STEP
    moved = tree(chosen, [part if part.ndim else complex(part) for part in parts])
    y, q = workload.with_chosen(y0, p, moved)
    if "y0" not in workload.wrt:  # the state gets what the parameters have
        y = tree(y, [np.array(each, complex) for each in leaves(y)])
    return workload.run(n_steps, y, q, workload.scratch(n_steps, y0, p)).imag / STEP


def main(path: Path) -> None:
    """All workloads."""
    kept = {}
    for name in NAMES:
        workload = importlib.import_module(f"benchmarks.workloads.{name}").WORKLOAD
        size, n_steps = workload.tiny
        y0, p = workload.problem(size, n_steps)
        scratch = workload.scratch(n_steps, y0, p)
        found = flat(*workload.gradient(n_steps, y0, p, scratch))
        kept |= {f"{name} {k}": leaf for k, leaf in enumerate(found)}
        kept[f"{name} run"] = workload.run(n_steps, y0, p, scratch)
        for k, leaf in enumerate(found[1:]):
            places = sorted({0, len(leaf) // 3, len(leaf) // 2 + 1, len(leaf) - 2, len(leaf) - 1} & {*range(len(leaf))})
            slopes = [slope(workload, n_steps, y0, p, k, place) for place in places]
            kept[f"{name} {k + 1} slopes"] = np.array([places, slopes])
    np.savez(path, **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
