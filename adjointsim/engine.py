"""The executor of derived steps: a schedule's actions carried out by one compiled function."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
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
from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import ScalarSpec, Spec, leaf_specs, leaves_of
from adjointsim.derive.summary import carries_tangents
from adjointsim.errors import StructureError
from adjointsim.executor import Executor, Problem, Snapshot, Working, annotate
from adjointsim.kernels import INDEX, DoubledScalar, FlagKernel, ScalarKernel
from adjointsim.leaves import Bars, Leaves, nbytes, with_dots, with_tangent
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


def _stand_ins(leaves: Sequence[np.ndarray], axes: int = 0) -> Arrays:
    """Arrays of the same types, with ``axes`` more, for a compiled function that will not touch them."""
    return tuple(np.zeros((1,) * (leaf.ndim + axes), leaf.dtype) for leaf in leaves)


class _Kit:
    """The kernels of a problem, what they read from outside, and the memory that they need; nothing is allocated yet."""

    def __init__(self, problem: Problem, y0: Leaves, p: Leaves, reverse: bool) -> None:
        self.problem, self.y0, self.p, self.reverse = problem, y0, p, reverse
        self.compiled = model_of(problem)
        self.model = self.compiled.full if reverse else self.compiled.forward
        kernels = self.model.kernels
        self.kernels: dict[str, Compiled] = {verb: kernels[verb] for verb in DRIVER_VERBS if verb in kernels}
        self.captures = {verb: tuple(c.value() for c in k.entry.captures) for verb, k in self.kernels.items()}
        self.step = self.model.summary.step
        self.y_floats = [not leaf.inert for leaf in self.step.y]
        self.terminal: ScalarKernel | None = None
        if problem.terminal is not None:
            first, kind = problem.first or problem, DoubledScalar if problem.first else ScalarKernel
            self.terminal = kind(problem.terminal, (first.y_spec, first.p_spec), "terminal")
        self.tangents = carries_tangents(self.model.summary)
        self.observation = self._one_observation()

    @property
    def driver(self) -> Any:
        """The compiled function that carries out actions."""
        return self.compiled.sweep if self.reverse else self.compiled.march

    def _one_observation(self) -> Arrays:
        """Arrays like one observation's leaves."""
        if "observe" not in self.kernels:
            return ()
        entry = self.kernels["observe"].entry
        first = self.problem.first or self.problem
        own, given = len(leaves_of(first.y_spec)), len(leaves_of(first.p_spec))
        leaves = dict(zip([b for _, b in entry.leaves], [*self.y0[:own], *self.p[:given]], strict=True))
        fixed = [b for _, b in entry.leaves[own:]] + [c.base for c in entry.captures]
        captures = zip(entry.captures, self.captures["observe"], strict=True)
        shapes = entry.result_shapes({**leaves, **{c.base: value for c, value in captures}}, fixed)
        if shapes is None:
            text = "observe returns an array whose shape is known only while it runs: let it follow from y's shape or p"
            raise StructureError(text)
        one = [np.zeros(shape, b.dt) for shape, (_, b) in zip(shapes, entry.results, strict=True)]
        dots = [o.copy() for o in one if o.dtype.kind == "f"] if self.problem.first else []
        return tuple(with_dots(one, dots))

    def arrays(self, verb: str) -> dict[Base, np.ndarray]:
        """Arrays of the right shapes for a kernel's parameters; those of p and the captures have their contents, too."""
        inputs: Sequence[np.ndarray] = self.observation if verb.startswith("misfit") else self.y0
        results: Sequence[np.ndarray] = [np.zeros(1)]
        if not verb.startswith(("running", "misfit")):
            results = self.y0 if verb.startswith("step") else self.observation
        return self.kernels[verb].arrays([*inputs, *self.p], self.captures[verb], results)

    def scratch(self) -> list[Arrays]:
        """The driver's last arguments: captures and scratch memory of each kernel."""
        out: list[Arrays] = []
        for verb, kernel in self.kernels.items():
            out += [self.captures[verb], tuple(kernel.scratch.allocate(self.arrays(verb))) if kernel.scratch.bases else ()]
        return out

    @cached_property
    def tape(self) -> tuple[tuple[int, int], bool]:
        """Cells of the first tapes, which all kernels share, and whether they will do."""
        kernels = [(k.tape, self.arrays(verb)) for verb, k in self.kernels.items() if k.kernel.arenas]
        cells = [tape.first(arrays) for tape, arrays in kernels]
        known = all(tape.sizes(arrays) is not None for tape, arrays in kernels)
        return (max((f for f, _ in cells), default=0), max((i for _, i in cells), default=0)), known

    def grew(self, tapes: list[np.ndarray]) -> None:
        """Remember the tapes that a run needed for the next one."""
        for verb, k in self.kernels.items():
            if k.kernel.arenas:
                k.tape.grew(self.arrays(verb), (tapes[0].size, tapes[1].size))

    @cached_property
    def terminal_bytes(self) -> tuple[int, bool]:
        """What the derivative of the terminal cost takes while it is computed, and whether that is exact."""
        return self.terminal.vjp_bytes([*self.y0, *self.p]) if self.terminal is not None else (0, True)

    def working(self) -> Working:
        """All memory but the slots."""
        problem = self.problem
        cells, exact = self.tape
        total = problem.state_bytes + nbytes(self.y0[k] for k in self.step.spares)  # the current state and the next
        total += 8 * (sum(cells) + cells[0] * self.tangents + 2) + nbytes(o for o in self.observation if o.dtype.kind == "f")
        total += sum(k.scratch.nbytes(self.arrays(verb)) for verb, k in self.kernels.items() if k.scratch.bases)
        exact = exact and all(k.preallocated for k in self.kernels.values())
        if self.reverse:  # y_N, a spare slot, cotangents with theirs; and the terminal's derivatives, later the observations'
            total += 2 * problem.state_bytes + nbytes(self.y0[k] for k in (*self.step.floats, *self.step.bar_spares))
            total += nbytes(leaf for leaf, on in zip(self.p, problem.p_active, strict=True) if on)
            observations = len(problem.observe_at) * nbytes(o for o in self.observation if o.dtype.kind == "f")
            total += max(self.terminal_bytes[0], observations)
            exact = exact and self.terminal_bytes[1]
        return Working(total, exact)


class CompiledExecutor(Executor):
    """Runs everything between two returns to Python in one compiled function, without an allocation a step."""

    def __init__(self, problem: Problem, y0: Leaves, p: Leaves, slots: int) -> None:
        super().__init__(problem, y0, p, slots)
        self._reverse = slots > 0  # a run without slots never turns back: it needs no VJP
        self._kit = kit = _Kit(problem, y0, p, self._reverse)
        self._driver = kit.driver
        self.pure = not any(kernel.entry.opaques for kernel in kit.kernels.values())  # what it is made of is known
        self._a = tuple(leaf.copy() for leaf in y0)
        self._b = tuple(y0[k].copy() for k in kit.step.spares)
        scalars = [leaf.scalar for leaf in kit.step.y]
        stored = borrow_slots(self, y0, slots + 1) if slots else _stand_ins(y0, 1)
        self._slots = tuple(s.reshape(-1) if scalar else s for s, scalar in zip(stored, scalars, strict=True))
        self._ctl = np.zeros(16, np.int64)
        self._ctl[control.N], self._ctl[control.TURNED] = -1, problem.n_steps
        self._ctl[control.WATCHED] = not problem.known_end
        self._sums, self._seeds = np.zeros(2), np.ones(1)
        self._terminal_sum = 0.0
        self._tapes = new_tapes(kit.tape[0], kit.tangents)
        self._position = (-1, problem.n_steps)  # of the REVERSE that holds the last step: slot, first step
        self._budget = max(1, min(16, 2**20 // max(problem.state_bytes, 1)))  # steps until the driver returns, at first
        self._peak = 0
        self._own = kit.scratch()
        k = len(problem.observe_at)
        self._obs = tuple(np.zeros((k, *o.shape), o.dtype) for o in kit.observation)
        self._obs_work = tuple(o for o in kit.observation if o.dtype.kind == "f")
        if "observe" in kit.kernels:
            spec = kit.kernels["observe"].entry.result_spec
            self.observation_spec = with_tangent(spec) if problem.first else spec
        # on the way forward the driver does not touch the cotangents, but their types must be the same there and back
        self._ba = _stand_ins([y0[k] for k in kit.step.floats])
        self._bb = _stand_ins([y0[k] for k in kit.step.bar_spares])
        self._pb = _stand_ins([leaf for leaf, on in zip(p, problem.p_active, strict=True) if on])
        self._obs_bar = _stand_ins(self._obs_work, 1)

    @classmethod
    def working(cls, problem: Problem, y0: Leaves, p: Leaves, reverse: bool = True) -> Working:
        return _Kit(problem, y0, p, reverse).working()

    @cached_property
    def planned(self) -> Working:
        needed = self._kit.working()
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
                if any(call.raises for call in self._kit.model.summary.calls.values()):
                    self._located(error)
                raise
            if status == PAUSE:
                took = time.perf_counter() - began
                self._budget = int(min(max(self._budget * min(_SLICE / max(took, 1e-9), 8.0), 1), 2**40))
            elif status == NEED:
                self._tapes = longer(self._tapes)
                self._kit.grew(self._tapes)
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
        return self._located(raise_site(self._kit.kernels[verb].entry, status, [n], self._kit.arrays(verb)))

    def _located(self, error: BaseException) -> BaseException:
        """An exception of the kernel that ran last, with the step and the direction."""
        n, verb = int(self._ctl[control.N]), DRIVER_VERBS[self._ctl[control.PLACE]]
        direction = "reverse" if verb.endswith("_vjp") else "forward" if self._ctl[control.TURNED] >= 0 else "recompute"
        annotate(error, _WHAT[verb], n, self.problem.n_steps, direction)
        return error

    def run(self, actions: np.ndarray) -> int:
        if self._ctl[control.TURNED] >= 0:  # before the turn
            last = np.flatnonzero((actions[:, 0] == REVERSE) & (actions[:, 2] == self.problem.n_steps))
            if len(last):
                _, first, _, slot = actions[last[0]].tolist()
                self._position = (slot, first)
                actions = actions[: last[0]]
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
            specs = leaves_of(self.observation_spec)
            self.observations = [o[:, 0] if isinstance(s, ScalarSpec) else o for o, s in zip(self._obs, specs, strict=True)]

    def _bars_of(self, y: Leaves) -> None:
        """Begin a way back with zero cotangents of these and of p."""
        step, ctl = self._kit.step, self._ctl
        self._ba = tuple(np.zeros_like(y[k]) for k in step.floats)
        self._bb = tuple(np.zeros_like(y[k]) for k in step.bar_spares)
        self._pb = tuple(np.zeros_like(leaf) for leaf, on in zip(self.p, self.problem.p_active, strict=True) if on)
        ctl[control.MOVED_BARS], ctl[control.TURNED], ctl[control.UNOBSERVED] = 0, -1, len(self.problem.observe_at)

    def seed(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        n = self.problem.n_steps
        self._seeds[0] = value_bar
        self._bars_of(self.y)
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
            self._peak = max(self._peak, self._held() + self._kit.terminal_bytes[0])
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
        self._bars_of(self.y)
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
            step, p_bars = self._kit.step, iter(self._pb)
            held, spare = dict(zip(step.floats, self._ba, strict=True)), dict(zip(step.bar_spares, self._bb, strict=True))
            y_bars, _ = step.placed(held, spare, -int(self._ctl[control.MOVED_BARS]))
            self.y_bar = [y_bars.get(k) for k in range(len(self.y))]
            self.p_bar = [next(p_bars) if on else None for on in self.problem.p_active]

    @property
    def totals(self) -> tuple[float, float, float]:
        return float(self._sums[0]), float(self._sums[1]), self._terminal_sum

    @property
    def state(self) -> Leaves:
        return list(self._placed[0].values())

    def stored(self, slot: int) -> Leaves:
        return [s[slot : slot + 1] if leaf.scalar else s[slot] for s, leaf in zip(self._slots, self._kit.step.y, strict=True)]

    @property
    def _placed(self) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """The buffers of the current state's leaves, and the spare ones."""
        spares = dict(zip(self._kit.step.spares, self._b, strict=True))
        return self._kit.step.placed(dict(enumerate(self._a)), spares, int(self._ctl[control.MOVED]))

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
            now = dict(enumerate(self.stored(at)))
        return [spare[k] if leaf is None else now[leaf] for k, leaf in enumerate(self._kit.step.last(self.problem.n_steps))]

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
