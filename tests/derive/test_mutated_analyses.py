"""Every analysis that an optimisation rests on, mutated to claim too much, makes some program of the corpus come out wrong.

The programs are interpreted, with memory poisoned: nothing is compiled.  What a mutant does to a program is compared with
what the true analysis does, which is compared with the reference in :mod:`.test_corpus`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from corpus import CASES, Case

from adjointsim.derive import (
    analysis,
    build,
    deadcode,
    dependence,
    hoist,
    interp,
    outline,
    ranges,
    record,
    reverse,
    scalars,
    scratch,
    tapes,
)
from adjointsim.derive.ir import Alloc, Base, Dim, If, Let, Load, Need, Var, is_float, walk
from adjointsim.derive.kernel import Kernel
from adjointsim.derive.scratch import scratch_of
from adjointsim.derive.tapes import TapeCount

from .harness import Bars, Derived, assert_close, functions
from .test_corpus import DERIVED

SLOW = {"scalars.special_functions", "adversarial.more_iterations_than_the_first_tape_holds", "steps.deeply_nested_state"}
PROOFS = [c for c in CASES if c.name.startswith(("proofs.", "smallarrays."))]
SAMPLE = [*PROOFS, *(c for c in CASES[::3] if c not in PROOFS and c.name not in SLOW)]
Run = Callable[[Derived], Bars]
Patch = Callable[[pytest.MonkeyPatch], None]


def primal_and_cotangents(derived: Derived) -> Bars:
    primal, vjp = derived.primal(1), derived.vjp(1)
    leaves = derived.leaves
    return [*derived.run_primal(primal, leaves), *derived.run_vjp(vjp, leaves, derived.bars)]


TRUE: dict[tuple[Run, str], Bars] = {}


def true(run: Run, case: Case) -> Bars:
    """What the analyses as they are give."""
    if (run, case.name) not in TRUE:
        TRUE[run, case.name] = run(DERIVED[case.name])
    return TRUE[run, case.name]


def check(patch: Patch, run: Run, cases: Sequence[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some case does not come out as it should, or not at all."""
    for case in cases:
        derived, expected = DERIVED[case.name], true(run, case)
        with monkeypatch.context() as m:
            patch(m)
            try:
                assert_close(run(derived), expected, derived.single)
            except (AssertionError, IndexError, KeyError, ValueError, OverflowError, interp.StepRaised):
                return
    pytest.fail("no program of the corpus notices")


# ----------------------------------------------------------------------------------------------------- values kept or not
def final_always(m: pytest.MonkeyPatch) -> None:
    m.setattr(analysis.Layout, "final", lambda self, load: True)


def _later(keep: Callable[[analysis.Layout, Any, Any, int], bool]) -> Patch:
    """Some of the writes that come later are forgotten."""
    real = analysis.Layout.later

    def patch(m: pytest.MonkeyPatch) -> None:
        m.setattr(analysis.Layout, "later", lambda self, s, *others: (x for x in real(self, s, *others) if keep(self, s, *x)))

    return patch


def final_but_for_later_statements(m: pytest.MonkeyPatch) -> None:
    """The next iteration of a loop around a load is forgotten."""
    _later(lambda layout, s, kill, depth: layout.place[id(kill)].order > layout.place[id(s)].order)(m)


def final_but_for_loops(m: pytest.MonkeyPatch) -> None:
    """What stands after the loops around a load is forgotten."""
    _later(lambda layout, s, kill, depth: depth < len(layout.place[id(s)].loops))(m)


def other_cells_are_always_apart(m: pytest.MonkeyPatch) -> None:
    m.setattr(analysis, "apart", lambda *accesses: True)


def later_iterations_have_the_same_indices(m: pytest.MonkeyPatch) -> None:
    m.setattr(dependence._Facts, "_mine", lambda self, v: v.name)


def branches_are_taken(m: pytest.MonkeyPatch) -> None:
    real = dependence._Facts.test
    m.setattr(dependence._Facts, "test", lambda self, test, holds: real(self, test, True))


def iterations_come_in_one_order(m: pytest.MonkeyPatch) -> None:
    """A loop that counts down is taken for one that counts up."""
    real = dependence._Facts._index

    def index(self, var, lo, count, step, number):
        real(self, var, lo, count, type(step)(abs(step.value), step.dt) if hasattr(step, "value") else step, number)

    m.setattr(dependence._Facts, "_index", index)


def _varied_without(name: str, drop: Callable[[Any], set]) -> Patch:
    real = analysis.varied

    def varied(body, bases, everything=False, **calls):
        scalars, memory = real(body, bases, everything, **calls)
        if everything:
            return scalars, memory
        dropped = {x for s in walk(body) for x in drop(s)}
        return scalars - dropped, memory - dropped

    def patch(m: pytest.MonkeyPatch) -> None:
        m.setattr(reverse, "varied", varied)

    patch.__name__ = name
    return patch


phis_are_inert = _varied_without("phis_are_inert", lambda s: {p[0] for p in s.phis} if isinstance(s, If) else set())
carries_are_inert = _varied_without("carries_are_inert", lambda s: {v for v, _ in s.carries} if hasattr(s, "carries") else set())
results_of_loops_are_inert = _varied_without(
    "results_of_loops_are_inert", lambda s: set(s.results) if hasattr(s, "carries") else set()
)
local_arrays_are_inert = _varied_without("local_arrays_are_inert", lambda s: {s.base} if hasattr(s, "fill") else set())


def _useless(name: str, what: Callable[[Any], set[Any]]) -> Patch:
    """Some of what is useful has no cotangent."""
    real = analysis.useful

    def useful(body, bases):
        scalars, memory = real(body, bases)
        gone = {x for s in walk(body) for x in what(s)}
        return scalars - gone, memory - (gone - set(bases))

    def patch(m: pytest.MonkeyPatch) -> None:
        m.setattr(reverse, "useful", useful)

    patch.__name__ = name
    return patch


phis_only_decide = _useless("phis_only_decide", lambda s: {a for p in s.phis for a in p[1:]} if isinstance(s, If) else set())
carries_only_decide = _useless(
    "carries_only_decide", lambda s: {v for v, _ in s.carries} | set(s.yields) if hasattr(s, "carries") else set()
)
sums_only_decide = _useless("sums_only_decide", lambda s: {a for v in s.sums for a in v[2]} if hasattr(s, "sums") else set())
local_arrays_only_decide = _useless("local_arrays_only_decide", lambda s: {s.base} if hasattr(s, "fill") else set())
what_is_stored_only_decides = _useless(
    "what_is_stored_only_decides", lambda s: {s.value} if hasattr(s, "value") and hasattr(s, "base") else set()
)


def a_snapshot_always_does(m: pytest.MonkeyPatch) -> None:
    """What the body only reads may have been overwritten since."""
    m.setattr(record.Recording, "_time_like", lambda self, s, recorded: self.level > 0)


def nothing_is_carried(m: pytest.MonkeyPatch) -> None:
    m.setattr(record.Recording, "_time_like", lambda self, s, recorded: self.level > 0)
    m.setattr(record.Recording, "_carried_arrays", lambda self, s: [])


def heads_are_replayed(m: pytest.MonkeyPatch) -> None:
    """Carries of a loop are taken for values that are still there."""
    real = record.Plan.visit

    def visit(self, v):
        if self.level and v in self.layout.heads:
            self.direct.add(v)
        else:
            real(self, v)

    m.setattr(record.Plan, "visit", visit)


# ---------------------------------------------------------------------------------------------------- motion and dead code
def nothing_is_written(m: pytest.MonkeyPatch) -> None:
    real = hoist._block
    m.setattr(hoist, "_block", lambda block, written, names: real(block, set(), names))


def loops_always_run(m: pytest.MonkeyPatch) -> None:
    m.setattr(hoist, "_guarded", lambda moved, *loop: moved)


def only_locals_are_written(m: pytest.MonkeyPatch) -> None:
    real = hoist._block

    def block(block, written, names):
        return real(block, written and {b for b in written if b.role == "local"}, names)

    m.setattr(hoist, "_block", block)


def nothing_is_written_on_the_way_back(m: pytest.MonkeyPatch) -> None:
    real = hoist._block
    m.setattr(hoist, "_block", lambda block, written, names: real(block, set() if written is None else written, names))


def never_negative(m: pytest.MonkeyPatch) -> None:
    m.setattr(ranges._Bounds, "_wrap", lambda self, index, wrap: "never")


def arithmetic_is_never_negative(m: pytest.MonkeyPatch) -> None:
    m.setattr(ranges._Bounds, "let", lambda self, s: 0)


def indices_of_loops_are_never_negative(m: pytest.MonkeyPatch) -> None:
    m.setattr(ranges._Bounds, "loop", lambda self, s: 0)


def branches_keep_the_larger_bound(m: pytest.MonkeyPatch) -> None:
    real = ranges._Bounds.statement

    def statement(self, s):
        out = real(self, s)
        if isinstance(s, If):
            for v, a, b in s.phis:
                low = [x for x in (self.of(a), self.of(b)) if x is not None]
                if low:
                    self.low[v] = max(low)
        return out

    m.setattr(ranges._Bounds, "statement", statement)


def stores_to_locals_are_dead(m: pytest.MonkeyPatch) -> None:
    real = deadcode._keep

    def keep(block, live):
        live.bases = {b for b in live.bases if b.role != "local"}
        return real(block, live)

    m.setattr(deadcode, "_keep", keep)


def one_pass_finds_all_that_lives(m: pytest.MonkeyPatch) -> None:
    """No fixpoint: what a later iteration needs of an earlier one is not seen."""

    def __init__(self, body, bases, results):
        self.vars = {a for a in results if isinstance(a, Var)}
        self.bases, self.measured = set(bases), set()
        self.mark(body)

    m.setattr(deadcode._Live, "__init__", __init__)


# ------------------------------------------------------------------------------------------------- cells of small arrays
def branches_leave_cells_alone(m: pytest.MonkeyPatch) -> None:
    m.setattr(scalars._Rewriting, "merged", lambda self, one, two, phis: one)


def loops_leave_cells_alone(m: pytest.MonkeyPatch) -> None:
    m.setattr(scalars._Rewriting, "changed", lambda self, body: ())


def what_is_stored_is_read_at_once(m: pytest.MonkeyPatch) -> None:
    """In an Each that is written out, later iterations see what earlier ones stored."""
    real = scalars._Rewriting.now

    def now(self, s):
        out = real(self, s)
        if self.copies and s.base in self.cells:
            self.store(out)
        return out

    m.setattr(scalars._Rewriting, "now", now)


def a_test_that_leaves_holds_afterwards(m: pytest.MonkeyPatch) -> None:
    """What a raise rules out, of lengths that differ, is what is known after it."""
    real = scalars._Rewriting.let

    def let(self, s):
        real(self, s)
        self.unequal = {t: (a, build.const(b.value + 1, "i8")) for t, (a, b) in self.unequal.items()}

    m.setattr(scalars._Rewriting, "let", let)


MUTANTS: list[Patch] = [
    final_always, final_but_for_later_statements, final_but_for_loops, phis_are_inert, carries_are_inert,
    results_of_loops_are_inert, local_arrays_are_inert, a_snapshot_always_does, nothing_is_carried, heads_are_replayed,
    nothing_is_written, loops_always_run, only_locals_are_written, nothing_is_written_on_the_way_back, never_negative,
    arithmetic_is_never_negative,
    indices_of_loops_are_never_negative, branches_keep_the_larger_bound, stores_to_locals_are_dead,
    one_pass_finds_all_that_lives, other_cells_are_always_apart, later_iterations_have_the_same_indices, branches_are_taken,
    iterations_come_in_one_order, branches_leave_cells_alone, loops_leave_cells_alone,
    what_is_stored_is_read_at_once, a_test_that_leaves_holds_afterwards, phis_only_decide, carries_only_decide,
    sums_only_decide, local_arrays_only_decide, what_is_stored_only_decides,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_mutated(mutant, monkeypatch):
    check(mutant, primal_and_cotangents, SAMPLE, monkeypatch)


def lowered_anew(derived: Derived) -> Bars:
    return primal_and_cotangents(Derived(derived.fn, derived.args))


def cells_are_always_apart(m: pytest.MonkeyPatch) -> None:
    """A store leaves what is known of cells under other indices."""
    m.setattr(build, "apart", lambda one, two: one != two)


def both_ends_are_apart(m: pytest.MonkeyPatch) -> None:
    """Cells counted from the end are others than those counted from the beginning."""
    m.setattr(build, "apart", lambda one, two: all(hasattr(a, "value") for a in (*one, *two)) and one != two)


@pytest.mark.parametrize("mutant", [cells_are_always_apart, both_ends_are_apart], ids=lambda m: m.__name__)
def test_mutated_lowering(mutant, monkeypatch):
    check(mutant, lowered_anew, PROOFS, monkeypatch)


# ------------------------------------------------------------------------------------------------- decisions on inexact values
EVALUATE = interp.evaluate


class _Wobble:
    """The interpreter's arithmetic, with functions that are off by a last bit: upwards, and the second time downwards, as
    functions may be that are compiled twice."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()

    def __call__(self, op: str, values: Sequence[Any], dt: str = "f8") -> Any:
        result = EVALUATE(op, values, dt)
        if op in analysis.EXACT or not is_float(dt) or not math.isfinite(result):
            return result
        again = (op, *values) in self.seen
        self.seen.add((op, *values))
        return math.nextafter(result, -math.inf if again else math.inf)


def wobbling(derived: Derived, level: int = 1) -> Bars:
    with pytest.MonkeyPatch.context() as m:
        m.setattr(interp, "evaluate", _Wobble())
        kernel = derived.vjp(level)
        env = environment(derived, kernel)
        interp.run(functions(kernel), kernel.fn.name, [env[p] for p in kernel.fn.params])
        return [env[b] for b in kernel.leaf_bars if b is not None]


def decisions_are_exact(m: pytest.MonkeyPatch) -> None:
    m.setattr(record.Plan, "inexact", lambda self, v: False)


def other_loops_are_exact(m: pytest.MonkeyPatch) -> None:
    real = record.Plan.inexact
    m.setattr(record.Plan, "inexact", lambda self, v: self.layout.owner.get(v) == self.loop and real(self, v))


TIES = [c for c in CASES if "tie" in c.tags]


@pytest.mark.parametrize("mutant", [decisions_are_exact, other_loops_are_exact], ids=lambda m: m.__name__)
def test_decisions_on_inexact_values(mutant, monkeypatch):
    check(mutant, wobbling, TIES, monkeypatch)


@pytest.mark.parametrize("case", TIES, ids=lambda c: c.name)
def test_decisions_are_those_of_the_way_there(case, monkeypatch):
    """With functions inlined and apart: what these are given decides in them."""
    for least, growth in ((outline.SMALL, outline.GROWTH), (0, -1)):
        monkeypatch.setattr(outline, "SMALL", least)
        monkeypatch.setattr(outline, "GROWTH", growth)
        derived = Derived(case.fn, case.args)
        assert_close(wobbling(derived), wobbling(derived, 0))


# ----------------------------------------------------------------------------------------------------- lengths known before
def environment(derived: Derived, kernel: Kernel) -> dict[Base, np.ndarray]:
    """An array for each parameter."""
    env = dict(zip((*kernel.inputs, *kernel.captures), (*derived.leaves, *derived.captures), strict=True))
    pairs = [
        *zip(kernel.leaf_bars, map(np.zeros_like, derived.leaves), strict=False),
        *zip(kernel.results, map(np.zeros_like, derived.expected), strict=False),
        *zip(kernel.result_bars, map(np.copy, derived.bars), strict=False),
    ]
    env.update((base, array) for base, array in pairs if base is not None)
    env.update((a, np.zeros(2 if a.name.startswith("tops") else 20_000, a.dt)) for a in kernel.arenas)
    return env


def wrong_lengths(derived: Derived) -> Bars:
    """How many allocations turn out to have other lengths than the driver would give them."""
    found: list[tuple[str, tuple[int, ...]]] = []
    real = interp._Machine.do_Alloc

    def do_Alloc(self: Any, s: Alloc, env: dict[str, Any]) -> None:
        real(self, s, env)
        found.append((s.base.name, env[s.base.name].shape))

    wrong = 0
    with pytest.MonkeyPatch.context() as m:
        m.setattr(interp._Machine, "do_Alloc", do_Alloc)
        for kernel in (derived.primal(1), derived.vjp(1)):
            found.clear()
            env = environment(derived, kernel)
            interp.run(functions(kernel), kernel.fn.name, [env[p] for p in kernel.fn.params])
            plan = scratch_of(kernel.fn, [*kernel.inputs, *kernel.captures], kernel.functions)
            shapes = dict(zip((b.name for b in plan.bases), plan.shapes(environment(derived, kernel)), strict=True))
            wrong += sum(shapes.get(name, shape) != shape for name, shape in found)
    return [np.array([wrong])]


def every_length_is_known(m: pytest.MonkeyPatch) -> None:
    m.setattr(scratch, "_pure", lambda s, given, fixed: isinstance(s, (Let, Dim, Load, If)))


def test_lengths(monkeypatch):
    check(every_length_is_known, wrong_lengths, SAMPLE, monkeypatch)


# ------------------------------------------------------------------------------------------------------- tapes counted before
def wrong_tapes(derived: Derived) -> Bars:
    """Whether a kernel needs another length of tape than was counted, where it was."""
    kernel, needed = derived.vjp(1), [0, 0]
    counted = TapeCount(kernel.fn, [*kernel.inputs, *kernel.captures], kernel.functions).sizes(environment(derived, kernel))

    def do_Need(self: Any, s: Need, env: dict[str, Any]) -> None:
        k = int(s.base.dt != "f8")
        needed[k] = max(needed[k], self.value(s.size, env))

    env = environment(derived, kernel)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(interp._Machine, "do_Need", do_Need)
        interp.run(functions(kernel), kernel.fn.name, [env[p] for p in kernel.fn.params])
    return [np.array([counted is not None and list(counted) != needed])]


def the_unknown_is_nothing(m: pytest.MonkeyPatch) -> None:
    real = tapes._Walk.value

    def value(self, a):
        try:
            return real(self, a)
        except tapes._Unknown:
            return 0

    m.setattr(tapes._Walk, "value", value)


def iterations_are_alike(m: pytest.MonkeyPatch) -> None:
    """Inner loops whose length depends on the iteration are counted in the first only."""

    def loop(self, s):
        count, before = self.value(s.count), list(self.tops)
        if count > 0:
            self.env[s.var] = self.value(s.lo)
            self.block(s.body)
            self.tops = [a + count * (b - a) for a, b in zip(before, self.tops, strict=True)]
            self.most = [max(pair) for pair in zip(self.most, self.tops, strict=True)]

    m.setattr(tapes._Walk, "loop", loop)


def only_the_end_counts(m: pytest.MonkeyPatch) -> None:
    """What is given back before the end of the way there is forgotten."""
    real = tapes._Walk.touch

    def touch(self, s):
        if isinstance(s, Need):
            k = int(s.base.dt != "f8")
            self.most[k] = max(self.most[k], self.tops[k])
        else:
            real(self, s)

    m.setattr(tapes._Walk, "touch", touch)


TAPE_MUTANTS = [the_unknown_is_nothing, iterations_are_alike, only_the_end_counts]


@pytest.mark.parametrize("mutant", TAPE_MUTANTS, ids=lambda m: m.__name__)
def test_tapes(mutant, monkeypatch):
    check(mutant, wrong_tapes, SAMPLE, monkeypatch)


@pytest.mark.parametrize("run", [wrong_lengths, wrong_tapes])
def test_what_is_known_before_is_true(run):
    assert [c.name for c in SAMPLE if true(run, c)[0][0]] == []
