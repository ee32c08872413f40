"""Proofs that a cell is not written again: against brute force, and against what programs do when they run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trianglenests
from corpus import CASES
from strategies import load

from adjointsim.derive import analysis, interp, promote, record, setting, undo
from adjointsim.derive.analysis import Layout
from adjointsim.derive.inequalities import CONSTANT, Form, impossible
from adjointsim.derive.ir import Alloc, Block, Load, Store, walk
from adjointsim.derive.kernel import prepared

from .harness import Derived, assert_close, functions
from .test_corpus import DERIVED
from .test_random_programs import EVERYTHING, check


# ------------------------------------------------------------------------------------------------------------ inequalities
def _value(form: Form, point: dict[str, int]) -> int:
    return sum(c * point.get(x, 1) for x, c in form.items())  # type: ignore[call-overload]


def _systems(seed: int) -> tuple[list[Form], list[Form], bool]:
    """A random system in a small box, and whether some point of the box meets it."""
    rng = random.Random(seed)
    names = ["x", "y", "z"][: rng.randint(1, 3)]
    box = [f for x in names for f in ({x: 1, CONSTANT: 3}, {x: -1, CONSTANT: 3})]

    def form() -> Form:
        found = {x: rng.randint(-3, 3) for x in (*names, CONSTANT)}
        return {x: c for x, c in found.items() if c}

    nonnegative, zero = [form() for _ in range(rng.randint(0, 4))], [form() for _ in range(rng.randint(0, 2))]
    points = (dict(zip(names, p, strict=True)) for p in itertools.product(range(-3, 4), repeat=len(names)))
    met = any(all(_value(f, p) >= 0 for f in nonnegative) and all(_value(f, p) == 0 for f in zero) for p in points)
    return [*box, *nonnegative], zero, met


def test_impossible_is_a_proof_and_mostly_found():
    found = missed = 0
    for seed in range(3000):
        nonnegative, zero, met = _systems(seed)
        says = impossible(nonnegative, zero)
        assert not (says and met), (nonnegative, zero)
        found += says
        missed += not says and not met
    assert found > 20 * missed > 0, (found, missed)  # (over the integers elimination alone decides not everything)


def test_nothing_is_not_impossible():
    assert not impossible([], []) and impossible([{CONSTANT: -1}], []) and impossible([], [{"x": 2, CONSTANT: 1}])


# --------------------------------------------------------------------------------------------------------- what programs do
class _Watched(interp._Machine):
    """Notes the cells that are read (or stored) and claimed to be final; a store to one of them is a wrong claim."""

    def __init__(self, fns: Any, layout: Layout) -> None:
        super().__init__(fns, float, True)
        self.layout, self.claimed = layout, {}  # type: ignore[var-annotated]

    def do_Load(self, s: Load, env: dict[str, Any]) -> None:
        super().do_Load(s, env)
        self.claim(s, self.index(s, env), env)

    def claim(self, s: Load | Store, index: tuple[int, ...], env: dict[str, Any]) -> None:
        if id(s) in self.layout.place and self.layout.final(s):
            shape = env[s.base.name].shape
            self.claimed[s.base, tuple(k % n for k, n in zip(index, shape, strict=True))] = s

    def store(self, s: Store, index: tuple[int, ...], v: Any, env: dict[str, Any]) -> None:
        if id(s) in self.layout.place:
            shape = env[s.base.name].shape
            cell = s.base, tuple(k % n for k, n in zip(index, shape, strict=True))
            assert cell not in self.claimed, f"{self.claimed[cell]} is not final: {s} stores to {cell}"
        super().store(s, index, v, env)
        self.claim(s, index, env)

    def do_Alloc(self, s: Alloc, env: dict[str, Any]) -> None:
        super().do_Alloc(s, env)
        if id(s) in self.layout.place:
            assert not any(base == s.base for base, _ in self.claimed), f"{s.base} is made again"


def _watch(derived: Derived) -> tuple[int, int]:
    """Run the primal as the reverse pass gets it; the number of claims, and of those that say more than the whole array's."""
    kernel = derived.primal(1)
    body: Block = prepared(derived.entry, 1)
    layout = Layout.of(body)
    machine = _Watched({**functions(kernel), kernel.fn.name: kernel.fn}, layout)
    results = [np.zeros_like(r) for r in derived.expected]
    arguments = [*derived.leaves, *derived.captures, *results]
    with np.errstate(all="ignore"):
        machine.call(replace(kernel.fn, body=body), arguments)
    accesses = [s for s in walk(body) if isinstance(s, (Load, Store))]
    return sum(map(layout.final, accesses)), sum(layout.final(s) and not layout.settled(s, s.base) for s in accesses)


def test_corpus_keeps_what_is_claimed():
    cells = 0
    for case in CASES:
        try:
            cells += _watch(DERIVED[case.name])[1]
        except interp.StepRaised:
            continue
    assert cells > 50, cells  # claims for cells of arrays that are written later elsewhere


def _seeds(many: int) -> Iterator[int]:
    yield from range(many if EVERYTHING else many // 50)


@pytest.mark.parametrize("start", range(4))
def test_triangular_nests(start):
    """Claims against a run, and gradients at both levels against the reference."""
    cells = 0
    for seed in _seeds(1000):
        program = trianglenests.program(4 * seed + start)
        try:
            derived = Derived(load(program), program.args)
            cells += _watch(derived)[1]
            check(program)
        except Exception as error:
            error.add_note(program.source)
            raise
    assert cells > 2, cells


# ------------------------------------------------------------------------------------------- proofs that claim too much
def _without_undone(m: pytest.MonkeyPatch) -> None:
    """A snapshot leaves out what stores keep."""
    real = record.Recording._carried_arrays

    def carried(self, s):
        undone, self.undone = self.undone, undo.Undone(self.layout, ())
        try:
            return real(self, s)
        finally:
            self.undone = undone

    m.setattr(record.Recording, "_carried_arrays", carried)


MUTANTS = {
    "loads come back": lambda m: m.setattr(undo.Undone, "back", lambda self, load: True),
    "stores are undone first": lambda m: m.setattr(undo.Undone, "first", lambda self, loop, base: True),
    "nothing is unmade": lambda m: m.setattr(undo.Undone, "unmade", lambda self, load: False),
    "what stores keep is not carried": _without_undone,
    "other iterations do not matter": lambda m: m.setattr(
        analysis.Layout, "depth", lambda self, s, base: len(self.place[id(s)].loops)
    ),
    "a cell is only added to": lambda m: m.setattr(promote, "_free", lambda s, base, index: True),
    "a loop runs": lambda m: m.setattr(promote, "if_run", lambda count, var, after, names, line: after),
    "memory is not read meanwhile": lambda m: m.setattr(setting, "bases_of", lambda s: ()),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_proof_of_everything_is_caught(name, monkeypatch):
    MUTANTS[name](monkeypatch)
    nests = ((load(p), p.args) for p in map(trianglenests.program, range(100)))
    for fn, args in (*((c.fn, c.args) for c in CASES if c.name.startswith("proofs.")), *nests):
        try:
            derived = Derived(fn, args)
            found = derived.run_vjp(derived.vjp(1), derived.leaves, derived.bars)
            assert_close(found, derived.run_vjp(derived.vjp(0), derived.leaves, derived.bars))
        except Exception:
            return
    pytest.fail(f"no program notices: {name}")
