"""The executor of derived steps: a schedule's actions carried out by one compiled function."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adjointsim.costs import accumulate
from adjointsim.derive import control
from adjointsim.derive.api import Compiled, longer, new_tapes, raise_site
from adjointsim.derive.cache import Cache
from adjointsim.derive.control import DRIVER_VERBS, PAUSE, SEED_ACTION, STOP, TURN_ACTION
from adjointsim.derive.emit import NEED
from adjointsim.derive.ir import Base
from adjointsim.derive.model import CompiledModel
from adjointsim.derive.scratch import Memory, size_of, zeros_of
from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import ScalarSpec, Spec, leaf_specs, leaves_of
from adjointsim.derive.summary import carries_tangents
from adjointsim.errors import StructureError
from adjointsim.executor import Executor, Problem, Snapshot, Working, annotate
from adjointsim.kernels import INDEX, DoubledScalar, FlagKernel, ScalarKernel
from adjointsim.leaves import Bars, Leaves, nbytes, with_dots, with_tangent
from adjointsim.rows import first_row
from adjointsim.schedules import REVERSE
from adjointsim.storage.arena import borrow_slots

__all__ = ["CompiledExecutor"]

_models: Cache[CompiledModel] = Cache(64)
_SLICE = 0.1  # seconds between two returns to Python, which let Ctrl-C through

_WHAT = {
    "step": "step", "running": "the running cost of step", "observe": "the observation at step", "misfit": "the misfit of step",
    "step_vjp": "the VJP of step", "running_vjp": "the derivative of the running cost of step",
    "observe_vjp": "the derivative of the observation at step", "misfit_vjp": "the derivative of the misfit of step",
    "until": "until= after step",
}  # fmt: skip

Arrays = tuple[np.ndarray, ...]


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
        model = CompiledModel(functions, y_spec, p_spec, tuple(active), problem.first is not None)  # type: ignore[arg-type]
        for verb in ("running", "misfit"):
            if verb in functions:  # says what is wrong with a cost's result
                seen: Spec = y_spec if verb == "running" else model.observation_spec
                ScalarKernel(functions[verb], (INDEX, seen, p_spec), verb)  # type: ignore[arg-type]
        if "until" in functions:
            FlagKernel(functions["until"], (INDEX, y_spec, p_spec), "until")  # type: ignore[arg-type]
        model.entries  # noqa: B018 - derived here, where errors belong to the model that has them
        return model

    return _models.get((*functions.items(), y_spec, p_spec, first.p_active, problem.first is not None), derive)


def _stand_ins(memory: Memory, axes: int = 0) -> Arrays:
    """Arrays of the same types, with ``axes`` more, for a compiled function that will not touch them."""
    return tuple(np.zeros((1,) * (len(shape) + axes), dtype) for shape, dtype in memory)


@dataclass(frozen=True)
class _Sizes:
    """What memory a sweep takes besides its states: one observation, scratch of each kernel, the first tapes."""

    observation: Memory
    scratch: tuple[Memory, ...]
    cells: tuple[int, int]  # of the tapes, which all kernels share
    known: bool  # whether these will do

    @cached_property
    def seen_bytes(self) -> int:
        """The floats of an observation."""
        return size_of([o for o in self.observation if o[1].kind == "f"])

    @cached_property
    def scratch_bytes(self) -> int:
        return sum(map(size_of, self.scratch))


class _Kit:
    """The kernels of a problem and what is known of their memory; nothing is allocated.

    It is made once for functions, forms and active leaves, and several sweeps may use it at a time: what depends on the numbers
    in p and in captured arrays is in :class:`_Given`.
    """

    def __init__(self, problem: Problem, reverse: bool, compiled: CompiledModel) -> None:
        self.reverse, self.compiled = reverse, compiled
        self.model = compiled.full if reverse else compiled.forward
        kernels = self.model.kernels
        self.kernels: dict[str, Compiled] = {verb: kernels[verb] for verb in DRIVER_VERBS if verb in kernels}
        self.step = self.model.summary.step
        first = problem.first or problem
        self.y, self.p, self.second = first.y, first.p, problem.first is not None
        self.terminal: ScalarKernel | None = None
        if problem.terminal is not None:
            kind = DoubledScalar if self.second else ScalarKernel
            self.terminal = kind(problem.terminal, (self.y.spec, self.p.spec), "terminal")
        self.floats = self.step.floats
        self.tangents = carries_tangents(self.model.summary)
        y, p = problem.y.memory, problem.p.memory
        self.spares = [y[k] for k in self.step.spares]
        #: the cotangents of the state, their spare places, those of p
        self.bars: tuple[Memory, Memory, Memory] = (
            [y[k] for k in self.step.floats], [y[k] for k in self.step.bar_spares],
            [leaf for leaf, on in zip(p, problem.p_active, strict=True) if on],
        )  # fmt: skip
        self.spare_bytes, self.bar_bytes = size_of(self.spares), sum(map(size_of, self.bars))
        self.preallocated = all(k.preallocated for k in self.kernels.values())
        self.pure = not any(kernel.entry.opaques for kernel in self.kernels.values())  # what it is made of is known
        self.raises = any(call.raises for call in self.model.summary.calls.values())
        self.budget = max(1, min(16, 2**20 // max(problem.state_bytes, 1)))  #: steps until the driver returns, at first
        self.observed_spec: Spec | None = None
        self.observed_leaves: list[ScalarSpec | ArraySpec] = []
        if "observe" in self.kernels:
            spec = self.kernels["observe"].entry.result_spec
            self.observed_spec = with_tangent(spec) if self.second else spec
            self.observed_leaves = leaves_of(self.observed_spec)
        self.by_shape = not any(k.kernel.arenas or not k.scratch.by_shape for k in self.kernels.values()) and (
            "observe" not in self.kernels or self.kernels["observe"].entry.by_shape(self._fixed())
        )
        self.sizes: dict[Hashable, _Sizes] = {}  #: for captured arrays of some shapes, if they follow from these
        self._orders: dict[tuple[int, int], tuple[list[int], list[int]]] = {}

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when this was made."""
        return self.compiled.stale() or (self.terminal is not None and self.terminal.kernel.stale())

    @property
    def driver(self) -> Any:
        """The compiled function that carries out actions."""
        return self.compiled.sweep if self.reverse else self.compiled.march

    def _fixed(self) -> list[Base]:
        """The inputs of an observation whose contents are known before the run."""
        entry = self.kernels["observe"].entry
        return [b for _, b in entry.leaves[len(self.y.leaves) :]] + [c.base for c in entry.captures]

    def one_observation(self, y0: Leaves, p: Leaves, captures: Arrays) -> Memory:
        """Shapes and dtypes of one observation's leaves."""
        if "observe" not in self.kernels:
            return []
        entry = self.kernels["observe"].entry
        own, given = len(self.y.leaves), len(self.p.leaves)
        leaves = dict(zip([b for _, b in entry.leaves], [*y0[:own], *p[:given]], strict=True))
        known = zip(entry.captures, captures, strict=True)
        shapes = entry.result_shapes({**leaves, **{c.base: value for c, value in known}}, self._fixed())
        if shapes is None:
            text = "observe returns an array whose shape is known only while it runs: let it follow from y's shape or p"
            raise StructureError(text)
        one = [(shape, np.dtype(b.dt)) for shape, (_, b) in zip(shapes, entry.results, strict=True)]
        return with_dots(one, [o for o in one if o[1].kind == "f"] if self.second else [])

    def order(self, bars: bool, turns: int) -> tuple[list[int], list[int]]:
        """Where the leaves of a state, or of its cotangent, are after buffers have moved on so often, and where the spare places
        are: places among the buffers and then the spare ones."""
        turns %= self.step.period
        found = self._orders.get((bars, turns))
        if found is None:
            step = self.step
            own, others = (step.floats, step.bar_spares) if bars else (range(len(step.y)), step.spares)
            count = len(own)
            held, spare = dict(zip(own, range(count), strict=True)), dict(zip(others, range(count, count + len(others)), strict=True))
            now, free = step.placed(held, spare, turns)
            if len(self._orders) >= 64:
                self._orders.clear()
            found = self._orders[bars, turns] = [now[k] for k in own], [free[k] for k in others]
        return found


_kits: Cache[_Kit] = Cache(64)


def _kit_of(problem: Problem, reverse: bool) -> _Kit:
    """The kit of a problem, which does not depend on the number of its steps."""
    given = problem.step, problem.running, problem.observe, problem.misfit, problem.until, problem.terminal
    functions = [None if f is None else plain_function(f) for f in given]
    if any(plain is None and f is not None for plain, f in zip(functions, given, strict=True)):
        return _Kit(problem, reverse, model_of(problem))  # which says what is wrong with it
    key = *functions, problem.y, problem.p, problem.p_active, problem.first is not None, reverse
    return _kits.get(key, lambda: _Kit(problem, reverse, model_of(problem)))


class _Given:
    """A kit with the numbers of one call: what the kernels read from outside now, and the memory that this takes."""

    def __init__(self, kit: _Kit, problem: Problem, y0: Leaves, p: Leaves) -> None:
        self.kit, self.problem, self.y0, self.p = kit, problem, y0, p
        self.captures = {verb: tuple([c.value() for c in k.entry.captures]) for verb, k in kit.kernels.items()}
        self.key = tuple([c.shape for captures in self.captures.values() for c in captures])
        sizes = kit.sizes.get(self.key) if kit.by_shape else None
        if sizes is None:
            self.observation = kit.one_observation(y0, p, self.captures.get("observe", ()))
            sizes = self._sizes()
            if kit.by_shape:
                if len(kit.sizes) >= 16:
                    kit.sizes.clear()
                kit.sizes[self.key] = sizes
        self.sizes, self.observation = sizes, sizes.observation

    def _sizes(self) -> _Sizes:
        scratch = [k.scratch.memory(self.arrays(verb)) if k.scratch.bases else [] for verb, k in self.kit.kernels.items()]
        tapes = [(k.tape, self.arrays(verb)) for verb, k in self.kit.kernels.items() if k.kernel.arenas]
        cells = [tape.first(arrays) for tape, arrays in tapes]
        known = all(tape.sizes(arrays) is not None for tape, arrays in tapes)
        most = max((f for f, _ in cells), default=0), max((i for _, i in cells), default=0)
        return _Sizes(self.observation, tuple(scratch), most, known)

    def arrays(self, verb: str) -> dict[Base, np.ndarray]:
        """Arrays of the right shapes for a kernel's parameters; those of p and the captures have their contents, too."""
        seen = zeros_of(self.observation) if verb.startswith(("observe", "misfit")) else []
        inputs: Sequence[np.ndarray] = seen if verb.startswith("misfit") else self.y0
        results: Sequence[np.ndarray] = [np.zeros(1)]
        if verb.startswith(("step", "observe")):
            results = self.y0 if verb.startswith("step") else seen
        return self.kit.kernels[verb].arrays([*inputs, *self.p], self.captures[verb], results)

    def scratch(self) -> list[Arrays]:
        """The driver's last arguments: captures and scratch memory of each kernel."""
        out: list[Arrays] = []
        for captures, memory in zip(self.captures.values(), self.sizes.scratch, strict=True):
            out += [captures, tuple(zeros_of(memory))]
        return out

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
        total = problem.state_bytes + kit.spare_bytes  # the current state and the next
        total += 8 * (sum(sizes.cells) + sizes.cells[0] * kit.tangents + 2) + sizes.seen_bytes + sizes.scratch_bytes
        exact = sizes.known and kit.preallocated
        if kit.reverse:  # y_N, a spare slot, cotangents with theirs; and the terminal's derivatives, later the observations'
            total += 2 * problem.state_bytes + kit.bar_bytes
            total += max(self.terminal_bytes[0], len(problem.observe_at) * sizes.seen_bytes)
            exact = exact and self.terminal_bytes[1]
        return Working(total, exact)


class CompiledExecutor(Executor):
    """Runs everything between two returns to Python in one compiled function, without an allocation a step."""

    def __init__(self, problem: Problem, y0: Leaves, p: Leaves, slots: int) -> None:
        super().__init__(problem, y0, p, slots)
        self._reverse = slots > 0  # a run without slots never turns back: it needs no VJP
        self._kit = kit = _kit_of(problem, self._reverse)
        self._given = given = _Given(kit, problem, y0, p)
        self._driver, self.pure = kit.driver, kit.pure
        self._a = tuple([leaf.copy() for leaf in y0])
        self._b = tuple([y0[k].copy() for k in kit.step.spares])
        stored = borrow_slots(self, y0, slots + 1) if slots else _stand_ins(problem.y.memory, 1)
        self._slots = tuple([s.reshape(-1) if leaf.scalar else s for s, leaf in zip(stored, kit.step.y, strict=True)])
        self._ctl = np.zeros(16, np.int64)
        self._ctl[control.N], self._ctl[control.TURNED] = -1, problem.n_steps
        self._ctl[control.WATCHED] = not problem.known_end
        self._sums, self._seeds = np.zeros(2), np.ones(1)
        self._terminal_sum = 0.0
        self._tapes = new_tapes(given.sizes.cells, kit.tangents)
        self._position = (-1, problem.n_steps)  # of the REVERSE that holds the last step: slot, first step
        self._budget = kit.budget
        self._peak = 0
        self._own = given.scratch()
        k = len(problem.observe_at)
        self._obs = tuple([np.zeros((k, *shape), dtype) for shape, dtype in given.observation])
        seen = [o for o in given.observation if o[1].kind == "f"]
        self._obs_work = tuple(zeros_of(seen))
        self.observation_spec = kit.observed_spec
        # on the way forward the driver does not touch the cotangents, but their types must be the same there and back
        self._ba, self._bb, self._pb = map(_stand_ins, kit.bars)
        self._obs_bar = _stand_ins(seen, 1)

    @classmethod
    def working(cls, problem: Problem, y0: Leaves, p: Leaves, reverse: bool = True) -> Working:
        return _Given(_kit_of(problem, reverse), problem, y0, p).working()

    @cached_property
    def planned(self) -> Working:
        needed = self._given.working()
        return Working(self.slots * self.problem.state_bytes + needed.bytes, needed.exact)

    # --------------------------------------------------------------------------------------------------------- running
    def _call(self, rows: np.ndarray) -> None:
        """Carry out rows."""
        ctl = self._ctl
        ctl[control.ROW], ctl[control.N] = 0, -1
        while True:
            ctl[control.BUDGET] = self._budget
            began = time.perf_counter()
            try:
                status = self._driver(
                    rows, len(rows), ctl, self._sums, self._seeds, self.problem.observe_at, self._a, self._b, self._slots,
                    tuple(self.p), self._obs, self._obs_bar, self._obs_work, self._ba, self._bb, self._pb, *self._tapes,
                    *self._own,
                )  # fmt: skip
            except Exception as error:  # of code that is none of ours: a singular matrix
                if self._kit.raises:
                    self._located(error)
                raise
            if status == PAUSE:
                took = time.perf_counter() - began
                self._budget = self._kit.budget = int(min(max(self._budget * min(_SLICE / max(took, 1e-9), 8.0), 1), 2**40))
            elif status == NEED:
                self._tapes = longer(self._tapes)
                self._given.grew(self._tapes)
            elif status > 0:
                raise self._error(status)
            elif status == STOP:
                self._end(int(ctl[control.N]) + 1)
                return
            else:
                assert status == control.DONE, status
                return

    def _error(self, status: int) -> BaseException:
        """The user's exception, with the step and the direction."""
        n = int(self._ctl[control.N])
        verb = DRIVER_VERBS[self._ctl[control.PLACE]]
        return self._located(raise_site(self._kit.kernels[verb].entry, status, [n], self._given.arrays(verb)))

    def _located(self, error: BaseException) -> BaseException:
        """An exception of the kernel that ran last, with the step and the direction."""
        n, verb = int(self._ctl[control.N]), DRIVER_VERBS[self._ctl[control.PLACE]]
        direction = "reverse" if verb.endswith("_vjp") else "forward" if self._ctl[control.TURNED] >= 0 else "recompute"
        annotate(error, _WHAT[verb], n, self.problem.n_steps, direction)
        return error

    def run(self, actions: np.ndarray) -> int:
        if self._ctl[control.TURNED] >= 0:  # before the turn
            last = first_row(actions, REVERSE, self.problem.n_steps)
            if last is not None:
                _, first, _, slot = actions[last].tolist()
                self._position = (slot, first)
                actions = actions[:last]
        if len(actions):
            self._call(np.ascontiguousarray(actions))
            self._look()
            if self._ctl[control.WATCHED] < 0:  # the run has just ended
                self._ctl[control.WATCHED] = 0
                return int(self._ctl[control.ROW])
        return len(actions)

    def _end(self, n: int) -> None:
        self._ctl[control.TURNED], self._ctl[control.WATCHED] = n, -1
        super()._end(n)
        count = len(self.problem.observe_at)
        self._obs = tuple(o[:count] for o in self._obs)
        self._position = (-1, n)

    def turn(self) -> None:
        n = self.problem.n_steps
        self._call(np.array([[TURN_ACTION, max(n - 1, 0), n, self._last_slot]], np.int64))
        self.y = [leaf.copy() for leaf in self._last] if self._reverse else self._last
        self._stack_observations()
        if self._kit.terminal is not None:
            try:
                self._terminal_sum = self._kit.terminal.value([*self.y, *self.p])
            except Exception as error:
                annotate(error, "the terminal cost at", n, n, "forward")
                raise

    def _stack_observations(self) -> None:
        if self.observation_spec is not None:
            pairs = zip(self._obs, self._kit.observed_leaves, strict=True)
            self.observations = [o[:, 0] if isinstance(s, ScalarSpec) else o for o, s in pairs]

    def _new_bars(self) -> None:
        """Begin a way back with zero cotangents of y_N and of p."""
        ctl = self._ctl
        self._ba, self._bb, self._pb = [tuple(zeros_of(memory)) for memory in self._kit.bars]
        ctl[control.MOVED_BARS], ctl[control.TURNED], ctl[control.UNOBSERVED] = 0, -1, len(self.problem.observe_at)

    def seed(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        n = self.problem.n_steps
        self._seeds[0] = value_bar
        self._new_bars()
        self._obs_bar = ()  # not needed yet
        self._look()
        if y_bar is not None:
            accumulate(self.y_bar, y_bar)
        if self._kit.terminal is not None and value_bar != 0.0:
            try:
                bars = self._kit.terminal.vjp([*self.y, *self.p], value_bar)
            except Exception as error:
                annotate(error, "the derivative of the terminal cost at", n, n, "reverse")
                raise
            accumulate(self.y_bar, bars[: len(self.y)])
            accumulate(self.p_bar, bars[len(self.y) :])
            self._peak = max(self._peak, self._held() + self._given.terminal_bytes[0])
            del bars
        self._seed_observations(observations_bar)
        if self._obs:
            self._call(np.array([[SEED_ACTION, n, n, self._last_slot]], np.int64))

    def leave(self) -> tuple[Any, ...]:
        counts = self._ctl[[control.MOVED_BARS, control.UNOBSERVED, control.STAGE]]
        return float(self._seeds[0]), self._ba, self._bb, self._pb, self._obs_bar, counts

    def enter(self, way: tuple[Any, ...]) -> None:
        self._seeds[0], self._ba, self._bb, self._pb, self._obs_bar, counts = way
        self._ctl[[control.MOVED_BARS, control.UNOBSERVED, control.STAGE]] = counts
        self._look()

    def snapshot(self) -> Snapshot:
        ctl, back = self._ctl, int(self._ctl[control.TURNED]) < 0
        arrays: list[np.ndarray | None] = [self._sums, *self._obs]
        if not back:
            return Snapshot({"high": int(ctl[control.HIGH]), "observed": int(ctl[control.OBSERVED])}, [*arrays, *self.state])
        arrays += [np.array([self._terminal_sum]), *self.y, *self._ba, *self._bb, *self._pb]
        return Snapshot({"moved": int(ctl[control.MOVED_BARS]), "unobserved": int(ctl[control.UNOBSERVED])}, arrays)

    def resume(self, back: bool, snapshot: Snapshot) -> None:
        ctl, numbers, arrays = self._ctl, snapshot.numbers, iter(snapshot.arrays)

        def fill(into: Iterable[np.ndarray]) -> None:
            for array in into:
                array[...] = next(arrays)

        fill([self._sums, *self._obs])
        if not back:
            ctl[control.HIGH], ctl[control.OBSERVED] = numbers["high"], numbers["observed"]
            fill(self.state)
            return
        self._terminal_sum = float(next(arrays)[0])  # type: ignore[index]
        self.y = [leaf.copy() for leaf in self.state]
        fill(self.y)
        self._new_bars()
        fill([*self._ba, *self._bb, *self._pb])
        ctl[control.HIGH], ctl[control.OBSERVED] = self.problem.n_steps, len(self.problem.observe_at)
        ctl[control.MOVED_BARS], ctl[control.UNOBSERVED] = numbers["moved"], numbers["unobserved"]
        self._stack_observations()
        self._seed_observations(None)
        self._look()

    def _seed_observations(self, given: Bars | None) -> None:
        """The cotangents of the observations: those given, else zeros."""
        bars = [None] * len(self._obs) if given is None else given
        self._obs_bar = tuple(
            np.zeros_like(o) if bar is None else bar.reshape(o.shape)
            for o, bar in zip(self._obs, bars, strict=True) if o.dtype.kind == "f"
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ to look at
    def _look(self) -> None:
        """Let ``y_bar`` and ``p_bar`` be the buffers that hold them now."""
        if self._ctl[control.TURNED] < 0:
            held, p_bars = (*self._ba, *self._bb), iter(self._pb)
            order, _ = self._kit.order(True, -int(self._ctl[control.MOVED_BARS]))
            self.y_bar: Bars = [None] * len(self.y)
            for k, place in zip(self._kit.floats, order, strict=True):
                self.y_bar[k] = held[place]
            self.p_bar = [next(p_bars) if on else None for on in self.problem.p_active]

    @property
    def totals(self) -> tuple[float, float, float]:
        return float(self._sums[0]), float(self._sums[1]), self._terminal_sum

    @property
    def state(self) -> Leaves:
        return self._placed[0]

    def stored(self, slot: int) -> Leaves:
        return [s[slot : slot + 1] if leaf.scalar else s[slot] for s, leaf in zip(self._slots, self._kit.step.y, strict=True)]

    @property
    def _placed(self) -> tuple[Leaves, Leaves]:
        """The buffers of the current state's leaves, and the spare ones."""
        held = (*self._a, *self._b)
        now, spare = self._kit.order(False, int(self._ctl[control.MOVED]))
        return [held[k] for k in now], [held[k] for k in spare]

    @property
    def _last_slot(self) -> int:
        """The slot that holds y_{N-1} at the turn; -1: it is the current state."""
        slot, first = self._position
        return slot + self.problem.n_steps - 1 - first if slot >= 0 else -1

    @property
    def _last(self) -> Leaves:
        """y_N, after the turn."""
        now, spare = self._placed
        at = self._last_slot
        if at >= 0:
            now = self.stored(at)
        free = dict(zip(self._kit.step.spares, spare, strict=True))
        return [free[k] if leaf is None else now[leaf] for k, leaf in enumerate(self._kit.step.last(self.problem.n_steps))]

    def _held(self) -> int:
        """The bytes of all arrays at hand."""
        y = self.y if self._reverse else []
        scratch = [a for arrays in self._own[1::2] for a in arrays]
        slots = self._slots if self._reverse else ()
        bars = (*self._ba, *self._bb, *self._pb, *self._obs_bar) if self._ctl[control.TURNED] < 0 else ()  # else stand-ins
        return nbytes([*self._a, *self._b, *y, *slots, *bars, *self._obs_work, *self._tapes, *scratch])

    @property
    def bytes_peak(self) -> int:
        return max(self._peak, self._held())
