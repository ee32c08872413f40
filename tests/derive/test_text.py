"""The text of passes: what small functions become, and that generated code is the same text in every process.

The expected texts are there to be read: when a pass changes, the difference is its review.  Counters of names are made dense
(``renumbered``), so that a temporary that comes and goes in another pass does not show.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from inspect import cleandoc
from pathlib import Path

import numpy as np
import pytest
from corpus import CASES

from adjointsim.derive import library
from adjointsim.derive.build import Names
from adjointsim.derive.deadcode import remove_dead
from adjointsim.derive.hoist import hoist
from adjointsim.derive.ir import Fn, For, If, While, show
from adjointsim.derive.ordered import ORDERED
from adjointsim.derive.source import reachable

from .harness import Derived
from .programs import A, U, W, X, b, c, f, let, load, store
from .programs import i as integer

TESTS = Path(__file__).parents[1]


def renumbered(text: str) -> str:
    """The text with the counters of each name counted in the order of appearance."""
    seen: dict[str, dict[str, int]] = {}

    def new(match: re.Match) -> str:
        counters = seen.setdefault(match[1], {})
        return f"{match[1]}.{counters.setdefault(match[2], len(counters))}"

    return re.sub(r"\b([A-Za-z_]\w*)\.(\d+)\b", new, text)


def same_text(fn: Fn | tuple, expected: str) -> None:
    assert renumbered(show(fn)).rstrip() == cleandoc(expected)


# ------------------------------------------------------------------------------------------------------------- lowering
def early(x):
    if x > 1.0:
        return x
    return x * x


def horner(a):
    s = 0.0
    for i in range(len(a)):
        s = s * a[i] + 1.0
    return s


def swap(x, y):
    for _ in range(3):
        x, y = y, x
    return x


def halve(x):
    while x > 1.0:
        x = 0.5 * x
    return x


def overwrite(a):
    a[0] = a[0] * a[1]
    return a


def leave(a):
    s = 0.0
    for i in range(3):
        if a[i] < 0.0:
            break
        s += a[i]
    return s


PAIR = np.array([0.5, 0.7])

LOWERED = {
    (early, 1.0): """
        fn early(x.0: f8[:] in, result.0: f8[:] result)
            x.1: f8 = x.0[0]
            t.0: b1 = gt(x.1, 1.0)
            if t.0
            else
                t.1: f8 = mul(x.1, x.1)
            phi return.0 = x.1 | t.1
            result.0[0] = return.0
        """,
    (horner, "array"): """
        fn horner(a.0: f8[:] in, result.0: f8[:] result)
            a_n0.0 = dim(a.0, 0)
            t.0: i8 = max2(a_n0.0, 0)
            for i.0 in (0, count t.0, step 1) carry(s.0 = 0.0)
                a_.0: f8 = a.0[i.0]
                t.1: f8 = mul(s.0, a_.0)
                s.1: f8 = add(t.1, 1.0)
                yield s.1 -> s.2
            result.0[0] = s.2
        """,
    (swap, 1.0, 2.0): """
        fn swap(x.0: f8[:] in, y.0: f8[:] in, result.0: f8[:] result)
            x.1: f8 = x.0[0]
            y.1: f8 = y.0[0]
            for _.0 in (0, count 3, step 1) carry(x.2 = x.1, y.2 = y.1)
                yield y.2, x.2 -> x.3, y.3
            result.0[0] = x.3
        """,
    (halve, 3.0): """
        fn halve(x.0: f8[:] in, result.0: f8[:] result)
            x.1: f8 = x.0[0]
            while t.0 carry(x.2 = x.1)
                    t.0: b1 = gt(x.2, 1.0)
              do
                x.3: f8 = mul(0.5, x.2)
                yield x.3 -> x.4
                trips trips.0
            result.0[0] = x.4
        """,
    (overwrite, "array"): """
        fn overwrite(a.0: f8[:] in, result.0: f8[:] result)
            a_n0.0 = dim(a.0, 0)
            alloc result.0: f8(a_n0.0) fill none
            each (i.0 in a_n0.0) any
                a_.0: f8 = a.0[i.0]
                result.0[i.0] = a_.0
            a_.1: f8 = result.0[0]
            a_.2: f8 = result.0[1]
            t.0: f8 = mul(a_.1, a_.2)
            result.0[0] = t.0
        """,
    (leave, "array"): """
        fn leave(a.0: f8[:] in, result.0: f8[:] result)
            for i.0 in (0, count 3, step 1) carry(s.0 = 0.0)
                a_.0: f8 = a.0[i.0]
                t.0: b1 = lt(a_.0, 0.0)
                if t.0
                else
                    s.1: f8 = add(s.0, a_.0)
                phi exit.0 = 2 | 0
                phi s.2 = s.0 | s.1
                t.1: b1 = ge(exit.0, 2)
                yield s.2 -> s.3
                stop t.1
                trips trips.0
            result.0[0] = s.3
        """,
}


def derived(fn, args) -> Derived:
    return Derived(fn, tuple(PAIR if a == "array" else a for a in args))


@pytest.mark.parametrize("key", LOWERED, ids=lambda key: key[0].__name__)
def test_lowering(key):
    same_text(derived(key[0], key[1:]).entry.fn, LOWERED[key])


# -------------------------------------------------------------------------------------------------------------- reverse
REVERSED = {
    (0, early, 1.0): """
        fn early_vjp(x.0: f8[:] in, result_bar.0: f8[:] shadow, x_bar.0: f8[:] shadow)
            x.1: f8 = x.0[0]
            t.0: b1 = gt(x.1, 1.0)
            result_bar.1: f8 = result_bar.0[0] ~
            result_bar.0[0] = 0.0 ~
            if t.0 ~
            else
                t.1: f8 = mul(result_bar.1, x.1) ~
                x_bar.1: f8 = add(t.1, t.1) ~
            phi x_bar.2 = result_bar.1 | x_bar.1
            x_bar.0[0] += x_bar.2 ~
        """,
    (1, halve, 3.0): """
        fn halve_vjp(x.0: f8[:] in, result_bar.0: f8[:] shadow, x_bar.0: f8[:] shadow)
            x.1: f8 = x.0[0]
            while t.0 carry(x.2 = x.1)
                    t.0: b1 = gt(x.2, 1.0)
              do
                x.3: f8 = mul(0.5, x.2)
                yield x.3 -> x.4
                trips trips.0
            result_bar.1: f8 = result_bar.0[0] ~
            t.1: i8 = sub(trips.0, 1)
            for k.0 in (t.1, count trips.0, step -1) carry(x_bar.1 = result_bar.1) ~
                t.2: f8 = mul(x_bar.1, 0.5) ~
                yield t.2 -> x_bar.2
            x_bar.0[0] += x_bar.2 ~
        """,
}


@pytest.mark.parametrize("key", REVERSED, ids=lambda key: f"{key[1].__name__}-{key[0]}")
def test_reverse(key):
    level, fn, *args = key
    same_text(derived(fn, args).vjp(level).fn, REVERSED[key])


def test_what_is_recorded():
    """Level 0 records both factors of ``s * a[i]``; level 1 loads a[i] again, which is not overwritten."""

    def recorded(level: int) -> list[str]:
        return re.findall(r"tape\.0\[\S+\] = (\w+)\.", renumbered(show(derived(horner, ("array",)).vjp(level).fn)))

    assert sorted(recorded(0)) == ["a_", "s"]
    assert recorded(1) == ["s"]


# ------------------------------------------------------------------------------------------------- dead code and hoisting
Y, Z, N, I, P, R = f("y"), f("z"), integer("n"), integer("i"), f("p"), f("r")


def loop(*body, carries=(), yields=(), results=(), count=N) -> For:
    return For(I, c(0), count, c(1), tuple(carries), tuple(body), tuple(yields), tuple(results))


def test_dead_code():
    """Neither a value without a use nor a store to memory that nobody reads survives, nor the loop around it."""
    body = (
        let(Y, "sin", X),
        let(Z, "mul", X, X),
        loop(let(f("t"), "cos", X), store(W, (I,), f("t"))),
        loop(let(f("q"), "add", P, X), carries=[(P, X)], yields=[f("q")], results=[R]),
        If(b("o"), (store(U, (c(0),), Y),), (store(W, (c(0),), Z),)),
    )
    same_text(remove_dead(body, [U]), """
        y: f8 = sin(x)
        if o
            u[0] = y
        """)  # fmt: skip


def test_a_carry_lives_by_its_next_iteration():
    body = (loop(let(f("q"), "mul", R, X), carries=[(P, X), (R, X)], yields=[R, f("q")], results=[Y, Z]),)
    assert remove_dead(body, [], [Y]) == body
    (kept,) = remove_dead(body, [], [Z])
    assert [v.name for v, _ in kept.carries] == ["r"]


def test_hoisting():
    """Arithmetic leaves the loop; so does a load of memory that is never written, under a guard."""
    body = (
        loop(let(Y, "sin", X), load(Z, A, N), let(f("t"), "mul", Y, Z), load(f("v"), U, c(0)), store(U, (I,), f("t"))),
        While((), (), b("o"), (let(f("q"), "cos", X), store(U, (c(0),), f("q"))), (), (), integer("trips")),
    )
    same_text(hoist(body, Names()), """
        y: f8 = sin(x)
        i_runs.0: b1 = gt(n, 0)
        if i_runs.0
            z.0: f8 = a[n]
            t.0: f8 = mul(y, z.0)
        phi z = z.0 | 0.0
        phi t = t.0 | 0.0
        for i in (0, count n, step 1)
            v: f8 = u[0]
            u[i] = t
        q: f8 = cos(x)
        while o
          do
            u[0] = q
            trips trips
        """)  # fmt: skip


# --------------------------------------------------------------------------------------------------------- emitted modules
SAMPLE = [c.name for c in CASES[10::18]]
PRINT = """\
import sys

sys.path[:0] = sys.argv[1:3]
from corpus import CASES
from derive.harness import Derived

chosen = [c for c in CASES if c.name in sys.argv[3:]]
for case in chosen:
    kernel = Derived(case.fn, case.args).compiled
    sys.stdout.write(kernel.source("primal") + kernel.source("vjp"))
"""


def test_the_text_is_the_same_in_every_process():
    assert len(SAMPLE) >= 20
    texts = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PRINT, str(TESTS), str(TESTS.parent), *SAMPLE]
        texts.append(subprocess.run(command, env=env, capture_output=True, check=True, timeout=300).stdout)
    assert texts[0] == texts[1]
    assert texts[0].count(b"def ") >= 2 * len(SAMPLE)


def lines_of(text: str) -> int:
    """Lines of code, without comments and imports."""
    other = ("#", "import", "from", "@", "def")
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith(other))


@pytest.mark.parametrize("case", [c for c in CASES if c.name in SAMPLE], ids=lambda c: c.name)
def test_the_text_stays_in_proportion(case):
    """Each operation of the user's becomes a bounded number of lines, and names its line in a comment."""
    kernel = Derived(case.fn, case.args).compiled
    operations = ast.BinOp, ast.Call, ast.Compare, ast.Subscript, ast.stmt
    nodes = [source.node for source in reachable(kernel.fn)]
    if any(fn.__name__ in ast.unparse(node) for fn in ORDERED for node in nodes):
        nodes.append(ast.parse(Path(library.__file__).read_text(encoding="utf-8")))  # what they call is text of ours
    theirs = sum(isinstance(n, operations) for node in nodes for n in ast.walk(node))
    primal, vjp = kernel.source("primal"), kernel.source("vjp")
    assert lines_of(primal) <= 3 * theirs + 10
    assert lines_of(vjp) <= 6 * lines_of(primal) + 20
    assert re.search(r"^ +# \d+: ", primal, re.MULTILINE)
    compile(primal, "primal", "exec")
    compile(vjp, "vjp", "exec")
