"""The kernels of a problem, what they read from outside, and the memory that a sweep needs for them.

What follows from the functions and from structures is made once and kept until a name that the functions use means something
else; what follows from shapes, once for some shapes.  Numbers are looked at in every call.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from adjointsim.derive.api import Compiled
from adjointsim.derive.cache import Cache
from adjointsim.derive.control import DRIVER_VERBS
from adjointsim.derive.ir import Base
from adjointsim.derive.model import CompiledModel
from adjointsim.derive.scratch import Memory, Scratch, size_of, zeros_of
from adjointsim.derive.shared import TEAM
from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import ArraySpec, ScalarSpec, Spec, leaf_specs, leaves_of
from adjointsim.derive.summary import StepSummary, carries_tangents
from adjointsim.derive.team import Trial
from adjointsim.errors import StructureError
from adjointsim.executor import Problem, Working
from adjointsim.forms import Form
from adjointsim.kernels import INDEX, DoubledScalar, FlagKernel, ScalarKernel
from adjointsim.leaves import Leaves, with_dots, with_tangent

__all__ = ["Arrays", "Given", "Kit", "kit_of", "model_of", "stand_ins"]

_models: Cache[CompiledModel] = Cache(64)
_KEPT = 16  # shapes that a kit remembers
_P_BARS = "p_bars"  # the note that holds the memory of the cotangents of p

Arrays = tuple[np.ndarray, ...]
_NUMBERS = (float, int, np.number, np.bool_)  # which do not change


class Captured(NamedTuple):
    """Objects that were captured, their leaves, the shapes of these, and the leaves for each kernel; and whether the same objects
    have the same leaves later."""

    objects: list[Any]
    values: list[np.ndarray]
    shapes: list[tuple[int, ...]]
    by_verb: dict[str, Arrays]
    lasting: bool


def model_of(problem: Problem) -> CompiledModel:
    """The kernels for a problem; derived once for each set of functions, structures and active leaves."""
    functions = {"step": plain_function(problem.step)}
    for verb in ("running", "observe", "misfit", "until"):
        fn = getattr(problem, verb)
        if fn is not None:
            functions[verb] = plain_function(fn)
            if functions[verb] is None:
                raise StructureError(f"Got {verb}={fn!r}, but expected a Python function, a lambda or an @njit function")
    first = problem.first or problem
    y_spec, p_spec = first.y_spec, first.p_spec

    def derive() -> CompiledModel:
        active = [path for (path, _), on in zip(leaf_specs(p_spec, "p"), first.p_active, strict=True) if on]
        model = CompiledModel(functions, y_spec, p_spec, tuple(active), problem.tangents, problem.threads > 1)  # type: ignore[arg-type]
        for verb in ("running", "misfit"):
            if verb in functions:  # says what is wrong with a cost's result
                seen: Spec = y_spec if verb == "running" else model.observation_spec
                ScalarKernel(functions[verb], (INDEX, seen, p_spec), verb)  # type: ignore[arg-type]
        if "until" in functions:
            FlagKernel(functions["until"], (INDEX, y_spec, p_spec), "until")  # type: ignore[arg-type]
        model.entries  # noqa: B018 - derived here, where errors belong to the model that has them
        return model

    own = problem.tangents, problem.threads > 1
    return _models.get((*functions.items(), y_spec, p_spec, first.p_active, *own), derive)


@dataclass(frozen=True)
class _Sizes:
    """What memory kernels take besides what they are given: one observation, scratch of each kernel, the first tapes."""

    observation: Memory
    scratch: tuple[Memory, ...]
    cells: tuple[int, int]  # of the tapes, which all kernels share
    known: bool  # whether these will do
    kept: Memory  # one row of what a step keeps for its VJP, and whose step's it is

    @cached_property
    def seen(self) -> Memory:
        """The floats of an observation."""
        return [o for o in self.observation if o[1].kind == "f"]

    @cached_property
    def seen_bytes(self) -> int:
        return size_of(self.seen)

    @cached_property
    def kept_bytes(self) -> int:
        return size_of(self.kept)

    @cached_property
    def scratch_bytes(self) -> int:
        return sum(map(size_of, self.scratch))


def stand_ins(memory: Memory, axes: int = 0) -> Memory:
    """The least arrays of the same types, with ``axes`` more, for a compiled function that will not touch them."""
    return [((1,) * (len(shape) + axes), dtype) for shape, dtype in memory]


class _States:
    """The memory of states of one form besides the current one, and of cotangents; and how long steps take."""

    def __init__(self, step: StepSummary, y: Form) -> None:
        self.spares = [y.memory[k] for k in step.spares]
        self.bars, self.bar_spares = [y.memory[k] for k in step.floats], [y.memory[k] for k in step.bar_spares]
        self.spare_bytes, self.bar_bytes = size_of(self.spares), size_of(self.bars) + size_of(self.bar_spares)
        #: the leaves whose rows are those of another one; with leaves that do not fit, which the first copy refuses, none
        self.followers = step.followers if all(len({y.memory[k] for k in c.leaves}) == 1 for c in step.chains) else ()
        self.row_bytes = y.nbytes - size_of([y.memory[k] for k in self.followers])
        self.stand_ins = stand_ins(self.bars), stand_ins(self.bar_spares)
        self.budget = max(1, min(16, 2**20 // max(y.nbytes, 1)))  #: steps until a driver returns, at first
        self.trials = Trial(), Trial()  #: whether threads that share loops pay, on the way there and back


class Kit:
    """The kernels of a problem, for all numbers of steps and all shapes; several threads may use one."""

    def __init__(self, problem: Problem, reverse: bool, keeps: bool) -> None:
        self.reverse, self.keeps, self.compiled = reverse, keeps, model_of(problem)
        self.model = self.compiled.keeping if keeps else self.compiled.full if reverse else self.compiled.forward
        kernels = self.model.kernels
        self.kernels: dict[str, Compiled] = {verb: kernels[verb] for verb in DRIVER_VERBS if verb in kernels}
        self.step = self.model.summary.step
        self.floats = self.step.floats
        self.last = self.step.last(1)  # where the leaves of y_N are, if there is a step
        self.hands_on = any(leaf is not None for leaf in self.last)  # from the state before
        first, self.second = problem.first or problem, problem.tangents
        self.own, self.given = len(first.y.leaves), len(first.p.leaves)  # leaves that are no tangents
        self.terminal: ScalarKernel | None = None
        if problem.terminal is not None:
            kind = DoubledScalar if self.second else ScalarKernel
            self.terminal = kind(problem.terminal, (first.y_spec, first.p_spec), "terminal")
        self.tangents = carries_tangents(self.model.summary)
        self.preallocated = all(k.preallocated for k in self.kernels.values())
        self.pure = not any(kernel.entry.opaques for kernel in self.kernels.values())  # what it is made of is known
        self.raises = any(call.raises for call in self.model.summary.calls.values())
        self.observed_spec: Spec | None = None  #: the structure of one observation
        self.observed_leaves: list[ScalarSpec | ArraySpec] = []
        if "observe" in self.kernels:
            spec = self.kernels["observe"].entry.result_spec
            self.observed_spec = with_tangent(spec, self.second) if self.second else spec
            self.observed_leaves = leaves_of(self.observed_spec)
        self.taped = any(k.kernel.arenas for k in self.kernels.values())  #: onto tapes, of which numbers may say how long
        self.measured = self._measured(len(problem.p.leaves))
        self.sizes: dict[Hashable, _Sizes] = {}
        self.idle: list[Any] = []  # an executor that is not in use, at most
        captures = {verb: [c.identity for c in k.entry.captures] for verb, k in self.kernels.items()}
        distinct = {c.identity: c for k in self.kernels.values() for c in k.entry.captures}
        places = {identity: j for j, identity in enumerate(distinct)}
        self._captured = [(capture, capture.getter()) for capture in distinct.values()]
        self._captures = {verb: [places[identity] for identity in own] for verb, own in captures.items()}
        self._states: dict[Form, _States] = {}
        self._orders: dict[tuple[bool, int], tuple[list[int], list[int]]] = {}

    def looked_up(self, before: Captured | None = None) -> Captured:
        """What each kernel captures, as it is now; what several capture is looked up once.  It is what was found ``before`` if
        that is still the same."""
        objects = [get() for _, get in self._captured]
        if before is not None and before.lasting and all(map(operator.is_, objects, before.objects)):
            if [a.shape for a in before.values] == before.shapes:
                return before
        values = [capture.leaf(obj) for (capture, _), obj in zip(self._captured, objects, strict=True)]
        by_verb = {verb: tuple([values[j] for j in own]) for verb, own in self._captures.items()}
        lasting = all(value is obj or isinstance(obj, _NUMBERS) for value, obj in zip(values, objects, strict=True))
        return Captured(objects, values, [value.shape for value in values], by_verb, lasting)

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when this was made."""
        return self.compiled.stale() or (self.terminal is not None and self.terminal.kernel.stale())

    @cached_property
    def driver(self) -> Any:
        """The compiled function that carries out actions."""
        if self.keeps:
            return self.compiled.keeping_sweep
        return self.compiled.sweep if self.reverse else self.compiled.march

    def states(self, y: Form) -> _States:
        """The memory for states of a form."""
        found = self._states.get(y)
        if found is None:
            if len(self._states) >= _KEPT:
                self._states.clear()
            found = self._states[y] = _States(self.step, y)
        return found

    def _measured(self, count: int) -> list[int] | None:
        """Of which of the ``count`` leaves of p the shapes matter for the sizes of memory but for tapes; None if contents of
        inputs do, too."""
        plans: list[tuple[Scratch, Sequence[Base | None]]] = []
        for k in self.kernels.values():
            if k.scratch.bases:
                plans += [(k.scratch, k.kernel.inputs[-count:])]
                plans += [(k.scratch, k.kernel.leaf_bars[-count:])] * bool(k.kernel.leaf_bars)
        if "observe" in self.kernels:
            entry = self.kernels["observe"].entry
            plans.append((entry.plan(self._fixed()), [b for _, b in entry.leaves[self.own :]]))
        if self.model.kept is not None:
            plans.append((self.model.kept, [b for _, b in self.kernels["step"].entry.leaves[-count:]]))
        if not all(scratch.by_shape for scratch, _ in plans):
            return None
        pairs = [(j, b in scratch.program.params) for scratch, bases in plans for j, b in enumerate(bases)] if count else []
        return sorted({j for j, used in pairs if used})

    def sizes_of(self, given: Given) -> _Sizes:
        """What memory the kernels take for these inputs."""
        if self.measured is None or self.taped:
            return given.measure()
        key = given.problem.y, *[given.p[j].shape for j in self.measured], *given.shapes
        found = self.sizes.get(key)
        if found is None:
            if len(self.sizes) >= _KEPT:
                self.sizes.clear()
            found = self.sizes[key] = given.measure()
        return found

    def _fixed(self) -> list[Base]:
        """The inputs of an observation whose contents are known before the run."""
        entry = self.kernels["observe"].entry
        return [b for _, b in entry.leaves[self.own :]] + [c.base for c in entry.captures]

    def one_observation(self, y0: Leaves, p: Leaves, captures: Arrays) -> Memory:
        """Shapes and dtypes of one observation's leaves."""
        if "observe" not in self.kernels:
            return []
        entry = self.kernels["observe"].entry
        leaves = dict(zip([b for _, b in entry.leaves], [*y0[: self.own], *p[: self.given]], strict=True))
        known = zip(entry.captures, captures, strict=True)
        shapes = entry.result_shapes({**leaves, **{c.base: value for c, value in known}}, self._fixed())
        if shapes is None:
            text = "observe returns an array whose shape is known only while it runs: let it follow from y's shape or p"
            raise StructureError(text)
        one = [(shape, np.dtype(b.dt)) for shape, (_, b) in zip(shapes, entry.results, strict=True)]
        return with_dots(one, [o for o in one if o[1].kind == "f"] * self.second)

    def order(self, bars: bool, turns: int) -> tuple[list[int], list[int]]:
        """Where the leaves of a state, or of its cotangent, are after buffers have moved on so often, and where the spare places
        are: places among the buffers and then the spare ones."""
        turns %= self.step.period
        found = self._orders.get((bars, turns))
        if found is None:
            step = self.step
            own, others = (step.floats, step.bar_spares) if bars else (range(len(step.y)), step.spares)
            count = len(own)
            held, spare = {k: j for j, k in enumerate(own)}, {k: j for j, k in enumerate(others, count)}
            now, free = step.placed(held, spare, turns)
            if len(self._orders) >= 64:
                self._orders.clear()
            found = self._orders[bars, turns] = [now[k] for k in own], [free[k] for k in others]
        return found


_kits: Cache[Kit] = Cache(64)


def kit_of(problem: Problem, reverse: bool, keeps: bool = False) -> Kit:
    """The kit of a problem; without ``reverse`` there is no way back, and steps that :attr:`Kit.could_keep` may do so."""
    note = "kit", reverse, keeps
    found = problem.notes.get(note)
    if found is None or found.stale():
        found = problem.notes[note] = _shared_kit(problem, reverse, keeps)
    return found


def _shared_kit(problem: Problem, reverse: bool, keeps: bool) -> Kit:
    """That of all problems of the same functions and structures."""
    given = problem.step, problem.running, problem.observe, problem.misfit, problem.until, problem.terminal
    functions = [None if f is None else plain_function(f) for f in given]
    if any(plain is None and f is not None for plain, f in zip(functions, given, strict=True)):
        return Kit(problem, reverse, keeps)  # which says what is wrong with it
    own = problem.tangents, problem.threads > 1
    key = *functions, problem.y.kind, problem.p.kind, problem.p_active, *own, reverse, keeps
    return _kits.get(key, lambda: Kit(problem, reverse, keeps))


class Given:
    """A kit with the numbers of one call: what the kernels read from outside now, and the memory that this takes."""

    def __init__(self, kit: Kit, problem: Problem, y0: Leaves, p: Leaves) -> None:
        self.kit, self.problem, self.y0, self.p = kit, problem, y0, p
        self._found: Captured | None = kit.looked_up()
        self.shapes, self.captures = self._found.shapes, self._found.by_verb
        self.states = kit.states(problem.y)
        self.p_bars: Memory | None = problem.notes.get(_P_BARS)
        if self.p_bars is None:
            self.p_bars = [leaf for leaf, on in zip(problem.p.memory, problem.p_active, strict=True) if on]
            problem.notes[_P_BARS] = self.p_bars
        self.sizes = kit.sizes_of(self)

    def renewed(self, problem: Problem) -> bool:
        """Look captures up again, for a problem that is like the one at hand; whether the memory is that for these, too."""
        found = self.kit.looked_up(self._found)
        if found.shapes != self.shapes:
            return False
        self.problem, self.captures, self._found = problem, found.by_verb, found
        return True

    def forget(self) -> None:
        """Let go of what belongs to a caller."""
        self.y0, self.p, self.captures, self._found = [], [], {}, None

    @cached_property
    def observation(self) -> Memory:
        """Shapes and dtypes of one observation's leaves."""
        return self.kit.one_observation(self.y0, self.p, self.captures.get("observe", ()))

    def measure(self) -> _Sizes:
        """The memory that the kernels take."""
        scratch = [k.scratch.memory(self.arrays(verb)) if k.scratch.bases else [] for verb, k in self.kit.kernels.items()]
        tapes = [(k.tape, self.arrays(verb)) for verb, k in self.kit.kernels.items() if k.kernel.arenas]
        cells = [tape.first(arrays) for tape, arrays in tapes]
        known = all(tape.sizes(arrays) is not None for tape, arrays in tapes)
        most = max((f for f, _ in cells), default=0), max((i for _, i in cells), default=0)
        return _Sizes(self.observation, tuple(scratch), most, known, self._kept_memory())

    def _kept_memory(self) -> Memory:
        plan = self.kit.model.kept
        if plan is None:
            return []
        entry, captures = self.kit.kernels["step"].entry, self.captures["step"]
        leaves = zip([b for _, b in entry.leaves], [*self.y0, *self.p], strict=True)
        known = zip([c.base for c in entry.captures], captures, strict=True)
        return [*plan.memory({**dict(leaves), **dict(known)}), ((), np.dtype(np.int64))]

    def arrays(self, verb: str) -> dict[Base, np.ndarray]:
        """Arrays of the right shapes for a kernel's parameters; those of p and the captures have their contents, too."""
        seen = zeros_of(self.observation) if verb.startswith(("observe", "misfit")) else []
        inputs: Sequence[np.ndarray] = seen if verb.startswith("misfit") else self.y0
        results: Sequence[np.ndarray] = [np.zeros(1)]
        if verb.startswith(("step", "observe")):
            results = self.y0 if verb.startswith("step") else seen
        return self.kit.kernels[verb].arrays([*inputs, *self.p], self.captures[verb], results)

    def scratch(self) -> tuple[list[Arrays], np.ndarray | None]:
        """The driver's last arguments, captures and scratch memory of each kernel; and that of a team which they share, if there
        are loops for one."""
        out: list[Arrays] = []
        team: np.ndarray | None = None
        for (verb, captures), memory in zip(self.captures.items(), self.sizes.scratch, strict=True):
            arrays = zeros_of(memory)
            bases = self.kit.kernels[verb].scratch.bases
            if TEAM in bases:
                place = bases.index(TEAM)
                arrays[place] = team = arrays[place] if team is None else team
            out += [captures, tuple(arrays)]
        return out, team

    def grew(self, tapes: list[np.ndarray]) -> None:
        """Remember the tapes that a run needed for the next one."""
        for verb, k in self.kit.kernels.items():
            if k.kernel.arenas:
                k.tape.grew(self.arrays(verb), (tapes[0].size, tapes[1].size))

    @cached_property
    def terminal_bytes(self) -> tuple[int, bool]:
        """What the derivative of the terminal cost takes while it is computed, and whether that is exact."""
        return self.kit.terminal.vjp_bytes([*self.y0, *self.p]) if self.kit.terminal is not None else (0, True)

    def working(self) -> Working:
        """All memory but the slots."""
        kit, problem, sizes = self.kit, self.problem, self.sizes
        total = problem.state_bytes + self.states.spare_bytes  # the current state and the next
        total += 8 * (sum(sizes.cells) + sizes.cells[0] * kit.tangents + 2) + sizes.seen_bytes + sizes.scratch_bytes
        exact = sizes.known and kit.preallocated
        if kit.reverse:  # y_N, spare slots, cotangents with theirs; and the terminal's derivatives, later the observations'
            total += (2 + kit.step.again) * problem.state_bytes + self.states.bar_bytes + size_of(self.p_bars)
            total += (1 + kit.step.again) * sizes.kept_bytes
            total += max(self.terminal_bytes[0], len(problem.observe_at) * sizes.seen_bytes)
            exact = exact and self.terminal_bytes[1]
        return Working(total, exact, self.states.row_bytes + sizes.kept_bytes, sizes.kept_bytes)
