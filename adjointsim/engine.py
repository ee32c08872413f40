"""The executor of derived steps: a schedule's actions carried out by one compiled function."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import numpy as np

from adjointsim.derive import driver
from adjointsim.derive.api import Compiled, raise_site
from adjointsim.derive.driver import DRIVER_VERBS, PAUSE, SEED_ACTION, TURN, TURN_ACTION
from adjointsim.derive.emit import NEED
from adjointsim.derive.ir import Base, is_float
from adjointsim.derive.model import CompiledModel
from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import ScalarSpec, Spec, differentiable, leaf_specs, leaves_of
from adjointsim.errors import StructureError
from adjointsim.executor import Executor, Problem, annotate
from adjointsim.kernels import ScalarKernel
from adjointsim.leaves import Bars, Leaves, nbytes
from adjointsim.schedules import REVERSE
from adjointsim.storage.arena import borrow_slots

__all__ = ["CompiledExecutor"]

_models: OrderedDict[tuple[Any, ...], CompiledModel] = OrderedDict()
_KEPT = 64  # models of this process that stay derived
_SLICE = 0.1  # seconds between two returns to Python, which let Ctrl-C through

_WHAT = {
    "step": "step", "running": "the running cost of step", "observe": "the observation at step", "misfit": "the misfit of step",
    "step_vjp": "the VJP of step", "running_vjp": "the derivative of the running cost of step",
    "observe_vjp": "the derivative of the observation at step", "misfit_vjp": "the derivative of the misfit of step",
}  # fmt: skip


def model_of(problem: Problem) -> CompiledModel:
    """The compiled kernels for a problem; derived once for each set of functions, structures and active leaves."""
    functions = {"step": plain_function(problem.step)}
    for verb in ("running", "observe", "misfit"):
        fn = getattr(problem, verb)
        if fn is not None and not (verb == "misfit" and problem.observe is None):
            functions[verb] = plain_function(fn)
            if functions[verb] is None:
                raise StructureError(f"Got {verb}={fn!r}, but expected a Python function, a lambda or an @njit function")
    paths = [path for path, _ in leaf_specs(problem.p_spec, "p")]
    active = tuple(path for path, on in zip(paths, problem.p_active, strict=True) if on)
    key = (*functions.items(), problem.y_spec, problem.p_spec, active)
    model = _models.get(key)
    if model is None or model.stale():
        model = CompiledModel(functions, problem.y_spec, problem.p_spec, active)  # type: ignore[arg-type]
        for verb in ("running", "misfit"):
            if verb in functions:
                ScalarKernel(functions[verb], _argument_specs(model, verb), verb)  # says what is wrong with its result
        model.entries  # noqa: B018 - derives now: errors belong to the model that has them
        _models[key] = model
        while len(_models) > _KEPT:
            _models.popitem(last=False)
    _models.move_to_end(key)
    return model


def _argument_specs(model: CompiledModel, verb: str) -> tuple[Spec, ...]:
    index = ScalarSpec("i8")
    if verb == "misfit":
        return (index, model.observation_spec, model.p_spec)
    return (index, model.y_spec, model.p_spec)


class CompiledExecutor(Executor):
    """Runs everything between two returns to Python in one compiled function, without an allocation a step."""

    # two state buffers and y_N; the two buffers of a cotangent, and the one that a caller gives; p_bar
    forward_states = 3
    forward_parameters = 0
    working_states = 6
    working_parameters = 2

    def __init__(self, problem: Problem, y0: Leaves, p: Leaves, slots: int) -> None:
        super().__init__(problem, y0, p, slots)
        self._model = model_of(problem)
        self._reverse = slots > 0  # a run without slots never turns back: it needs no VJP
        self._kernels = (self._model.full if self._reverse else self._model.forward).kernels
        self._driver = self._model.sweep if self._reverse else self._model.march
        n = problem.n_steps
        self._a = tuple(leaf.copy() for leaf in y0)
        self._b = tuple(leaf.copy() for leaf in y0)
        stored = borrow_slots(self, y0, max(slots, 1))
        scalar = (isinstance(s, ScalarSpec) for s in leaves_of(problem.y_spec))
        self._slots = tuple(s.reshape(-1) if on else s for s, on in zip(stored, scalar, strict=True))
        self._ctl = np.zeros(16, np.int64)
        self._ctl[driver.N], self._ctl[driver.TURNED] = -1, n
        self._sums, self._seeds, self._cell = np.zeros(2), np.ones(1), np.zeros(1)
        self._terminal_sum = 0.0
        self._tapes = [np.zeros(64), np.zeros(64, np.int64), np.zeros(2, np.int64)]
        self._position = (-1, n)  # of the REVERSE that holds the last step: slot, first step
        self._budget = 256
        self._ba: tuple[np.ndarray, ...] = ()
        self._bb: tuple[np.ndarray, ...] = ()
        self._pb: tuple[np.ndarray, ...] = ()
        if self._reverse:
            self._new_bars(y0)  # the driver's types must not change between the way there and the way back
        self._prepare_observations(y0)
        self._own = self._captures_and_scratch(y0)
        self._terminal = None
        if problem.terminal is not None:
            self._terminal = ScalarKernel(problem.terminal, (problem.y_spec, problem.p_spec), "terminal")

    # ---------------------------------------------------------------------------------------------------------- memory
    def _prepare_observations(self, y0: Leaves) -> None:
        problem = self.problem
        self._obs: tuple[np.ndarray, ...] = ()
        self._obs_bar: tuple[np.ndarray, ...] = ()
        self._obs_work: tuple[np.ndarray, ...] = ()
        if "observe" not in self._kernels:
            return
        compiled = self._kernels["observe"]
        entry = compiled.entry
        self.observation_spec = entry.result_spec
        env = dict(zip([b for _, b in entry.leaves], [*y0, *self.p], strict=True))
        env |= {c.base: c.value() for c in entry.captures}
        shapes = entry.result_shapes(env)
        if shapes is None:
            raise StructureError("observe returns an array whose shape is known only while it runs: make it depend on y's shape only")
        k = len(problem.observe_at)
        bases = [b for _, b in entry.results]
        self._obs = tuple(np.zeros((k, *shape), b.dt) for shape, b in zip(shapes, bases, strict=True))
        self._obs_work = tuple(np.zeros(shape, b.dt) for shape, b in zip(shapes, bases, strict=True) if is_float(b.dt))
        self._obs_bar = tuple(np.zeros_like(o) for o, b in zip(self._obs, bases, strict=True) if is_float(b.dt))

    def _captures_and_scratch(self, y0: Leaves) -> list[tuple[np.ndarray, ...]]:
        out: list[tuple[np.ndarray, ...]] = []
        self._scratch_bytes = 0
        for verb in DRIVER_VERBS:
            if verb not in self._kernels:
                continue
            compiled: Compiled = self._kernels[verb]
            captures = tuple(c.value() for c in compiled.entry.captures)
            inputs = [o[0] if len(o) else np.zeros(o.shape[1:], o.dtype) for o in self._obs] if verb.startswith("misfit") else y0
            env: dict[Base, np.ndarray] = dict(zip(compiled.kernel.inputs, [*inputs, *self.p], strict=True))
            env |= dict(zip(compiled.kernel.captures, captures, strict=True))
            env |= dict(zip(compiled.kernel.results, self._result_like(verb, y0), strict=False))
            for bases, leaves in ((compiled.kernel.result_bars, self._result_like(verb, y0)), (compiled.kernel.leaf_bars, [*inputs, *self.p])):
                env |= {base: leaf for base, leaf in zip(bases, leaves, strict=False) if base is not None}
            scratch = tuple(compiled.scratch.allocate(env))
            self._scratch_bytes += nbytes(scratch)
            out += [captures, scratch]
        return out

    def _result_like(self, verb: str, y0: Leaves) -> Leaves:
        if verb.startswith("step"):
            return y0
        if verb.startswith("observe"):
            return [o[0] if len(o) else np.zeros(o.shape[1:], o.dtype) for o in self._obs]
        return [self._cell]

    def _new_bars(self, y: Leaves) -> None:
        specs = leaves_of(self.problem.y_spec)
        self._ba = tuple(np.zeros_like(leaf) for leaf, s in zip(y, specs, strict=True) if differentiable(s))
        self._bb = tuple(np.zeros_like(leaf) for leaf in self._ba)
        self._pb = tuple(np.zeros_like(leaf) for leaf, on in zip(self.p, self.problem.p_active, strict=True) if on)
        self._ctl[driver.BPARITY] = 0

    # --------------------------------------------------------------------------------------------------------- running
    def _call(self, rows: np.ndarray) -> int:
        """Carry out rows until the driver stops for something that it cannot do itself; 0 or TURN."""
        ctl = self._ctl
        ctl[driver.ROW], ctl[driver.N] = 0, -1
        while True:
            ctl[driver.BUDGET] = self._budget
            began = time.perf_counter()
            status = self._driver(
                rows, len(rows), ctl, self._sums, self._seeds, self.problem.observe_at, self._a, self._b, self._slots,
                tuple(self.p), self._obs, self._obs_bar, self._obs_work, self._ba, self._bb, self._pb, *self._tapes, *self._own,
            )  # fmt: skip
            if status == PAUSE:
                took = time.perf_counter() - began
                self._budget = int(min(max(self._budget * min(_SLICE / max(took, 1e-9), 8.0), 1), 2**40))
            elif status == NEED:
                self._tapes[:2] = [np.zeros(4 * tape.size, tape.dtype) for tape in self._tapes[:2]]
            elif status > 0:
                raise self._error(status)
            else:
                return status

    def _error(self, status: int) -> BaseException:
        """The user's exception, with the step and the direction."""
        verb = DRIVER_VERBS[self._ctl[driver.PLACE]]
        error = raise_site(self._kernels[verb].entry, status)
        direction = "reverse" if verb.endswith("_vjp") else "forward" if self._ctl[driver.TURNED] >= 0 else "recompute"
        annotate(error, _WHAT[verb], int(self._ctl[driver.N]), self.problem.n_steps, direction)
        return error

    def run(self, actions: np.ndarray) -> int:
        if not len(actions):
            return 0
        if self._ctl[driver.TURNED] >= 0:  # before the turn
            stop = np.flatnonzero((actions[:, 0] == REVERSE) & (actions[:, 2] == self.problem.n_steps))
            if len(stop):
                row = int(stop[0])
                _, first, _, slot = actions[row].tolist()
                self._position = (slot, first)
                actions = actions[:row]
                if not len(actions):
                    return 0
        status = self._call(np.ascontiguousarray(actions))
        assert status != TURN
        return len(actions)

    def turn(self) -> None:
        n = self.problem.n_steps
        slot, first = self._position
        at = slot + n - 1 - first if slot >= 0 else -1
        self._call(np.array([[TURN_ACTION, max(n - 1, 0), n, at]], np.int64))
        self.y = [leaf.copy() for leaf in (self._b if not self._ctl[driver.PARITY] else self._a)]
        if self.observation_spec is not None:
            specs = leaves_of(self.observation_spec)
            self.observations = [o[:, 0] if isinstance(s, ScalarSpec) else o for o, s in zip(self._obs, specs, strict=True)]
        if self._terminal is not None:
            try:
                self._terminal_sum = self._terminal.value([*self.y, *self.p])
            except Exception as error:
                annotate(error, "the terminal cost at", n, n, "forward")
                raise

    def seed(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        problem = self.problem
        y_specs = leaves_of(problem.y_spec)
        self._new_bars(self.y)
        if y_bar is not None:
            for bar, given in zip(self._ba, [b for b, s in zip(y_bar, y_specs, strict=True) if differentiable(s)], strict=True):
                if given is not None:
                    bar += given
        self._seeds[0] = value_bar
        if self._terminal is not None and value_bar != 0.0:
            bars = self._terminal.vjp([*self.y, *self.p], value_bar)
            for bar, extra in zip(self._ba, [b for b in bars[: len(self.y)] if b is not None], strict=True):
                bar += extra
            on = [b for b, active in zip(bars[len(self.y) :], problem.p_active, strict=True) if active]
            for bar, extra in zip(self._pb, on, strict=True):
                bar += extra
        self._ctl[driver.UNOBSERVED] = len(problem.observe_at)
        given = iter([None] * len(self._obs) if observations_bar is None else observations_bar)
        floats = iter(self._obs_bar)
        for o in self._obs:
            bar = next(given)
            if o.dtype.kind == "f":
                target = next(floats)
                target[...] = 0.0 if bar is None else np.reshape(bar, target.shape)
        self._ctl[driver.TURNED], self._ctl[driver.N] = -1, -1
        if self._obs and self._reverse:
            self._call(np.array([[SEED_ACTION, problem.n_steps, problem.n_steps, -1]], np.int64))

    # ------------------------------------------------------------------------------------------------------ to look at
    @property
    def totals(self) -> tuple[float, float, float]:
        return float(self._sums[0]), float(self._sums[1]), self._terminal_sum

    @property
    def state(self) -> Leaves:
        return list(self._a if not self._ctl[driver.PARITY] else self._b)

    @property
    def y_bar(self) -> Bars:  # type: ignore[override]
        found = iter(self._ba if not self._ctl[driver.BPARITY] else self._bb)
        specs = leaves_of(self.problem.y_spec)
        return [next(found) if differentiable(s) else None for s in specs] if self._ba or not specs else []

    @y_bar.setter
    def y_bar(self, value: Bars) -> None:
        assert not value

    @property
    def p_bar(self) -> Bars:  # type: ignore[override]
        found = iter(self._pb)
        return [next(found) if on else None for on in self.problem.p_active]

    @p_bar.setter
    def p_bar(self, value: Bars) -> None:
        assert not value

    @property
    def bytes_peak(self) -> int:
        held = nbytes([*self._a, *self._b, *self._slots, *self._ba, *self._bb, *self._pb, *self.y, *self._tapes])
        return held + self._scratch_bytes
