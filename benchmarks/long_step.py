"""A step of 300 lines: how long it takes to derive and compile, and in a new process with a warm cache."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.common import table
from benchmarks.first_gradient import one_process

SIZES = (75, 150, 300)


def text(lines: int) -> str:
    """A model whose step has that many lines: updates of fields in loops, with scalars between them."""
    body = ["    u, v = y[0].copy(), y[1].copy()", "    s = p.a", "    m = len(u)"]
    k = 0
    while len(body) < lines - 2:
        body += [
            f"    c{k} = 0.01 * math.sin(s + {k}.0)",
            "    for i in range(1, m - 1):",
            f"        u[i] = u[i] + c{k} * (v[i - 1] - 2.0 * v[i] + v[i + 1])",
            f"        v[i] = v[i] + 0.01 * u[i] * p.b / (1.0 + {k}.0)",
            f"    s = s + 0.1 * u[{k % 7}] * c{k}",
        ]
        k += 1
    head = [
        "import math", "import time", "BEGAN = time.perf_counter()", "from typing import NamedTuple",
        "import numpy as np", "import adjointsim as adj", "IMPORTED = time.perf_counter()",
        "class P(NamedTuple):", "    a: float", "    b: float", "@adj.step", "def step(n, y, p):",
    ]  # fmt: skip
    tail = [
        "    u[0] = u[0] + 0.01 * s", "    return u, v", "if __name__ == '__main__':",
        "    sim = adj.Simulation(step, 3, terminal=lambda y, p: np.sum(y[0] * y[0]))",
        "    y0 = (np.linspace(0.0, 1.0, 50), np.cos(np.linspace(0.0, 1.0, 50)))",
        "    value, grad = sim.value_and_grad(y0, P(0.3, 0.7))",
        "    print(IMPORTED - BEGAN, time.perf_counter() - IMPORTED, value, grad.p.a)",
    ]  # fmt: skip
    return "\n".join([*head, *body, *tail]) + "\n"


def check() -> None:
    """Nothing to compare: :func:`main` compares the numbers of its processes."""


def main() -> None:
    """Time and print."""
    rows = []
    for lines in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.py"
            model.write_text(text(lines), encoding="utf-8")
            root = Path(__file__).parent.parent
            cold, warm = (one_process(model, folder, root) for _ in range(2))
        if cold[3] != warm[3]:
            raise AssertionError("a process with a warm cache found other numbers")
        limits = ("limit 30", "limit 2") if lines == 300 else ("", "")
        rows.append((f"{lines} lines, empty cache", cold[0], "s", limits[0]))
        rows.append((f"{lines} lines, warm cache", warm[0], "s", limits[1]))
    table("the first gradient of a long step, import included", rows)


if __name__ == "__main__":
    main()
