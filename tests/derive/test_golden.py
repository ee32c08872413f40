"""What each pass makes of a small program, as text to be read: ``golden/<pass>.txt``, the program and what became of it.

When a pass changes, the difference of its file is the review of the change.  The files are written anew by

    GOLDEN=write pytest tests/derive/test_golden.py

(Lowering, dead code and hoisting have theirs in test_text.py.)  Counters of names are made dense, see ``renumbered``.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjointsim.derive import outline
from adjointsim.derive.byvalue import by_value
from adjointsim.derive.ir import Block, Fn, Load, is_float, show
from adjointsim.derive.kernel import Kernel, prepared, primal_kernel, tangents_of, vjp_kernel
from adjointsim.derive.loops import each_to_loops
from adjointsim.derive.model import CompiledModel
from adjointsim.derive.reverse import Adjoint, adjoint
from adjointsim.derive.spec import ScalarSpec
from adjointsim.derive.split import Calls

from .harness import Derived
from .test_text import renumbered

GOLDEN = Path(__file__).parent / "golden"
U, V = np.array([0.7, -1.1, 0.4, 0.2]), np.array([0.3, 0.5, -0.6, 0.9])
M = np.arange(12.0).reshape(3, 4)[:, :3] + 0.1


# ------------------------------------------------------------------------------------------------------------- programs
def stencil(u, v):
    for i in range(1, len(u) - 1):
        v[i] += u[i - 1] * u[i + 1]
    return v


def horner(a, x):
    s = 0.0
    for i in range(len(a)):
        s = s * x + a[i]
    return s


def halved(x):
    while x > 1.0:
        x = 0.5 * x * x
    return x


def square(x):
    return x * x


def wraps(a, k):
    return a[k] * a[2] * a[-1]


def decay(a, c):
    for i in range(len(a)):
        a[i] *= math.exp(-c)


def twice(a, c):
    decay(a, c)
    decay(a, a[0])
    return a


def paths(d):
    for k in range(len(d)):
        for j in range(len(d)):
            d[j] = min(d[j], d[k] + 1.0)
    return d


def march(u, c):
    for n in range(3):
        v = u.copy()
        for i in range(1, len(u)):
            u[i] = v[i] * v[i - 1] * c
    return u


def prefix(a):
    for i in range(len(a)):
        for j in range(i):
            a[i] *= a[j]
    return a


def five_points(u, v):
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            v[i, j] = u[i - 1, j] * u[i + 1, j] + u[i, j - 1] * u[i, j + 1]
    return v


def power(x):
    s = 0.0
    for i in range(len(x)):
        for k in range(3):
            s += x[i] * math.sin(x[k])
    return s


def scaled(u, c):
    u *= c
    return u


def product(a, b):
    return a @ b


def rotated(z, x):
    return z * complex(math.cos(x), math.sin(x))


def small(u, x):
    a = np.array([x, 0.5])
    for i in range(len(u)):
        if u[i] > 0.0:
            a *= u[i]
    return np.array([a[1] * x, a[0]])


def all_pairs(u, v):
    d = u - u[:, None]
    f = v / (1.0 + d * d)
    return np.sum(f * d, axis=1), np.sum(f, axis=1)


def step(n, y, p):
    return y + p * math.sin(y)


# ---------------------------------------------------------------------------------------------------------------- passes
def reversed_(derived: Derived) -> Adjoint:
    """The adjoint of a function, both halves, before later passes."""
    entry = derived.entry
    chosen = [base for _, base in entry.leaves if is_float(base.dt)]
    calls = Calls(entry, 1)
    return adjoint(entry.fn.name, prepared(entry, 1), entry.names, chosen, [b for _, b in entry.results], 1, calls)


def whole(kernel: Kernel) -> tuple[Fn, ...]:
    return (*kernel.functions, kernel.fn)


def tangent(derived: Derived) -> Fn:
    kernel = primal_kernel(derived.entry)
    return tangents_of(kernel).of(kernel.fn, {base.name for base in kernel.inputs if is_float(base.dt)}).fn


def indices(derived: Derived) -> str:
    """Which indices may be negative, and so are tested."""
    loads = [s for s in prepared(derived.entry, 1) if isinstance(s, Load)]
    return "\n".join(f"{show((s,)).strip():30} negative: {s.wrap}" for s in loads)


def numbers_by_value(derived: Derived) -> Fn:
    kernel = derived.vjp(1)
    return by_value(kernel, {*kernel.inputs, *kernel.result_bars, *kernel.leaf_bars}, derived.entry.names).fn  # type: ignore[arg-type]


def in_lanes(derived: Derived) -> Fn:
    return vjp_kernel(derived.entry, derived.active, lanes=True).fn


def driver(reverse: bool) -> Callable[[Derived], str]:
    def text(derived: Derived) -> str:
        model = CompiledModel({"step": derived.plain}, ScalarSpec("f8"), ScalarSpec("f8"), ("p",))
        return model.text(reverse=reverse).partition("def sweep(")[2].join(("def sweep(", ""))

    return text


#: pass -> program, arguments, and what is shown
PASSES: dict[str, tuple[Callable[..., Any], tuple, Callable[[Derived], Fn | Block | tuple[Fn, ...] | str]]] = {
    "raising": (stencil, (U, V), lambda d: prepared(d.entry, 1)),
    "loops": (stencil, (U, V), lambda d: each_to_loops(prepared(d.entry, 1), d.entry.names)),
    "joining": (all_pairs, (U, V), lambda d: prepared(d.entry, 1)),  # and sums of rows
    "scalars": (small, (U, 0.4), lambda d: prepared(d.entry, 1)),
    "ranges": (wraps, (U, 2), indices),
    "tangent": (horner, (U, 0.4), tangent),
    "record": (horner, (U, 0.4), lambda d: reversed_(d).record),
    "reverse": (horner, (U, 0.4), lambda d: reversed_(d).reverse),
    "record_unknown_count": (halved, (3.0,), lambda d: reversed_(d).record),
    "reverse_unknown_count": (halved, (3.0,), lambda d: reversed_(d).reverse),
    "dense": (stencil, (U, V), lambda d: reversed_(d).reverse),
    "fission": (stencil, (U, V), lambda d: whole(d.vjp(1))),
    "gather": (five_points, (M, M), lambda d: whole(d.vjp(1))),
    "promote": (power, (U,), lambda d: whole(d.vjp(1))),
    "setting": (scaled, (U, 0.3), lambda d: d.vjp(1).fn),
    "products": (product, (M, M), lambda d: d.vjp(1).fn),
    "complex": (rotated, (0.3 + 0.4j, 0.5), lambda d: (d.entry.fn, d.vjp(1).fn)),
    "undo": (paths, (U,), lambda d: d.vjp(1).fn),  # and sums in registers
    "rerun": (march, (U, 0.4), lambda d: whole(d.vjp(1))),
    "final": (prefix, (U,), lambda d: d.vjp(1).fn),
    "byvalue": (square, (3.0,), numbers_by_value),
    "lanes": (square, (3.0,), in_lanes),
    "doubled": (square, (3.0,), lambda d: d.second().kernel.fn),
    "outline": (twice, (U, 0.3), lambda d: (*(h.fn for h in d.entry.helpers), d.entry.fn)),
    "split": (twice, (U, 0.3), lambda d: whole(d.vjp(1))),
    "emit": (horner, (U, 0.4), lambda d: d.compiled.source("vjp")),
    "driver": (step, (0, 0.5, 0.1), driver(reverse=False)),
    "driver_reverse": (step, (0, 0.5, 0.1), driver(reverse=True)),
}


@pytest.mark.parametrize("name", PASSES)
def test_golden(name, monkeypatch):
    program, args, made = PASSES[name]
    if name in ("outline", "split"):  # small functions are inlined
        monkeypatch.setattr(outline, "SMALL", 0)
        monkeypatch.setattr(outline, "GROWTH", -1)
    found = made(Derived(program, args))
    functions = [decay, program] if program is twice else [program]
    head = "\n\n".join(inspect.getsource(f).strip() for f in functions)
    shown = "\n".join(map(show, found)) if isinstance(found, tuple) and isinstance(found[0], Fn) else found
    text = shown if isinstance(shown, str) else show(shown)
    written = f"{head}\n\n{'-' * 40}\n\n{renumbered(text).strip()}\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8"), f"if that is meant: GOLDEN=write pytest {__file__}"


def test_no_golden_text_is_left_over():
    assert {path.stem for path in GOLDEN.iterdir()} == set(PASSES)
