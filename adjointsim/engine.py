"""The executor of derived steps: a schedule's actions carried out by one compiled function."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from adjointsim.costs import accumulate
from adjointsim.derive import control
from adjointsim.derive.api import longer, new_tapes, raise_site
from adjointsim.derive.control import DRIVER_VERBS, PAUSE, SEED_ACTION, STOP, TURN_ACTION
from adjointsim.derive.emit import NEED
from adjointsim.derive.scratch import Memory, size_of, together, zeros_of
from adjointsim.derive.spec import ScalarSpec
from adjointsim.derive.team import workers
from adjointsim.executor import Executor, Problem, Snapshot, Working, annotate
from adjointsim.heap import copied, zeros
from adjointsim.kit import Given, kit_of, stand_ins
from adjointsim.leaves import Bars, Leaves, finite, nbytes
from adjointsim.rows import first_row
from adjointsim.schedules import ADVANCE, RECORD, REVERSE
from adjointsim.storage.arena import borrow_slots

__all__ = ["CompiledExecutor"]

_AT_HAND = 2**22  # bytes that are kept for the next call
_ENOUGH = 2**14  # bytes of a state from which on loops may be worth sharing
_SMALL = 2**16  # bytes of cotangents that are copied
_SLICE = 0.1  # seconds between two returns to Python, which let Ctrl-C through

_WHAT = {
    "step": "step", "running": "the running cost of step", "observe": "the observation at step", "misfit": "the misfit of step",
    "step_vjp": "the VJP of step", "running_vjp": "the derivative of the running cost of step",
    "observe_vjp": "the derivative of the observation at step", "misfit_vjp": "the derivative of the misfit of step",
    "until": "until= after step",
}  # fmt: skip


class _Bars:
    """Memory for cotangents: those of a state, spare places, those of p."""

    def __init__(self, *memory: Memory) -> None:
        found, vectors = together([*itertools.chain(*memory)])
        one, many = len(memory[0]), len(memory[0]) + len(memory[1])
        self.arrays = tuple(found[:one]), tuple(found[one:many]), tuple(found[many:])
        self.vectors = list(vectors.values())
        self.seen: dict[int, tuple[Bars, Bars]] = {}  # the cotangents of y and p, by how often buffers have moved on


class DriverMemory(NamedTuple):
    """What a driver is given besides rows, p and the numbers of observed steps; see :mod:`.derive.driver`."""

    ctl: np.ndarray
    sums: np.ndarray
    seeds: np.ndarray
    state: tuple[np.ndarray, ...]
    spares: tuple[np.ndarray, ...]
    slots: tuple[np.ndarray, ...]
    seen: tuple[np.ndarray, ...]
    seen_bars: tuple[np.ndarray, ...]
    seen_work: tuple[np.ndarray, ...]
    bars: tuple[np.ndarray, ...]
    bar_spares: tuple[np.ndarray, ...]
    p_bars: tuple[np.ndarray, ...]
    tapes: tuple[np.ndarray, ...]
    own: tuple[Any, ...]


@lru_cache(maxsize=64)
def _rows_there(n: int) -> np.ndarray:
    """The actions of a run to y_n."""
    return np.array([(ADVANCE, 0, n - 1, -1), (TURN_ACTION, n - 1, n, -1)], np.int64)


@lru_cache(maxsize=64)
def _rows_back(n: int) -> np.ndarray:
    """The actions of a gradient that stores every state of n steps."""
    rows = [(RECORD, 0, n, 0), (TURN_ACTION, n - 1, n, n - 1), (SEED_ACTION, n, n, n - 1), (REVERSE, 0, n, 0)]
    return np.array(rows, np.int64)


class CompiledExecutor(Executor):
    """Runs everything between two returns to Python in one compiled function, without an allocation a step."""

    def __init__(
        self, problem: Problem, y0: Leaves, p: Leaves, slots: int, one_run: bool = False, keeps: bool = False
    ) -> None:
        super().__init__(problem, y0, p, slots, one_run, keeps)
        self._reverse = slots > 0  # a run without slots never turns back: it needs no VJP
        keeps = keeps and kit_of(problem, self._reverse).step.keepable
        self._given = given = Given(kit_of(problem, self._reverse, keeps), problem, y0, p)
        self._kit = kit = given.kit
        states, seen = given.states, given.sizes.seen
        self._driver, self.pure = kit.driver, kit.pure
        self._a = tuple(map(copied, y0))
        self._b = tuple([copied(y0[k]) for k in kit.step.spares])
        self._ctl = np.zeros(control.PLACES, np.int64)
        self._ctl[control.SHARED] = self._one_run = one_run and bool(states.followers)
        stored, kept = self._rows(slots + self._rows_more) if slots else (zeros_of(stand_ins(problem.y.memory, 1)), [])
        rows = [s.reshape(-1) if leaf.scalar else s for s, leaf in zip(stored, kit.step.y, strict=True)]
        self._slots, self._keeps = (*rows, *kept), kept[-1:]
        self._keep_nothing()
        self._ctl[control.N], self._ctl[control.TURNED] = -1, problem.n_steps
        self._ctl[control.WATCHED] = not problem.known_end
        self._sums, self._seeds = np.zeros(2), np.ones(1)
        self._terminal_sum = 0.0
        self._tapes = new_tapes(given.sizes.cells, kit.tangents)
        self._position = (-1, problem.n_steps)  # of the REVERSE that holds the last step: slot, first step
        self._budget = states.budget
        self._peak = 0
        self._own, team = given.scratch()
        enough = problem.threads > 1 and problem.state_bytes >= _ENOUGH
        self._team = team if enough else None  # without workers a kernel shares nothing
        k = len(problem.observe_at)
        self._obs = tuple([zeros((k, *shape), dtype) for shape, dtype in given.sizes.observation])
        self._obs_work = tuple(zeros_of(seen))
        self.observation_spec = kit.observed_spec
        self._kept: _Bars | None = None
        # on the way forward the driver does not touch the cotangents, but their types must be the same there and back
        self._ba, self._bb = (tuple(zeros_of(memory)) for memory in states.stand_ins)
        self._pb, self._obs_bar = tuple(zeros_of(stand_ins(given.p_bars))), tuple(zeros_of(stand_ins(seen, 1)))

    # ------------------------------------------------------------------------------------------- all of it, and again
    @classmethod
    def at_hand(cls, problem: Problem, y0: Leaves, p: Leaves, slots: int, keeps: bool = False) -> CompiledExecutor:
        """One for one run of so many states, or more: that which :meth:`put_back` got last, if it is of use, else a new one."""
        kit = kit_of(problem, slots > 0, keeps)
        try:
            found = kit.idle.pop()  # which is atomic: nobody else has it
        except IndexError:
            return cls(problem, y0, p, slots, True, keeps)
        if slots <= found.slots and found._renewed(problem, y0, p):
            return found
        more = slots // 4 if found.slots < slots else 0  # integrations differ by a few steps
        return cls(problem, y0, p, slots + more, True, keeps)

    def put_back(self) -> None:
        """Be at hand for the next one, which will write to all but what was made for this one; that is forgotten."""
        if self._kit.idle or self._peak > _AT_HAND:
            return
        self.p = []
        self._given.forget()
        if self._kept is None and self._reverse:  # else they are stand-ins, whose types the driver knows
            self._ba = self._bb = self._pb = ()
        self.y, self.y_bar, self.p_bar, self._own[::2] = [], [], [], [()] * (len(self._own) // 2)
        self._kit.idle.append(self)

    def _renewed(self, problem: Problem, y0: Leaves, p: Leaves) -> bool:
        """Begin with other numbers, if the memory that they need is what is there."""
        then = self.problem
        alike = problem.y is then.y and problem.p is then.p and problem.p_active == then.p_active and self.any_numbers
        if not (alike and len(problem.observe_at) == len(then.observe_at) and self.looked_up(problem)):
            return False
        self.problem = problem
        self.begin_again(y0, p)
        return True

    @property
    def memory(self) -> DriverMemory:
        """What the driver is given, and writes to, besides the numbers of a run and its observations."""
        return DriverMemory(
            self._ctl, self._sums, self._seeds, self._a, self._b, self._slots, self._obs, self._obs_bar, self._obs_work,
            self._ba, self._bb, self._pb, tuple(self._tapes), tuple(self._own),
        )  # fmt: skip

    @property
    def driver(self) -> Any:
        """The compiled function that carries out actions."""
        return self._driver

    @property
    def noted(self) -> int | None:
        """How many numbers are beside each state in the slots, if those may be what the same operations gave elsewhere: they have
        the same bits, and there are no arrays of the step's beside them.  Else None."""
        step = self._kit.step
        return step.noted if self._kit.kernels["step"].settled and step.kept <= bool(step.noted) else None

    @property
    def measured(self) -> list[int] | None:
        """Of which leaves of p the shapes matter for the sizes of memory but for tapes; None if contents of inputs do, too."""
        return self._kit.measured

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when they were compiled."""
        return self._kit.stale()

    def looked_up(self, problem: Problem) -> bool:
        """Look captures up again, for a problem like the one at hand; whether the memory is that for these, too."""
        before = self._given.captures
        if not self._given.renewed(problem):
            return False
        if self._given.captures is not before:
            self._own[::2] = self._given.captures.values()
        return True

    @property
    def captures(self) -> object:
        """What the kernels captured when that was looked up last: the same object as long as it is the same."""
        return self._given.captures

    @property
    def any_numbers(self) -> bool:
        """Whether the memory is that for a run from any other numbers, too."""
        return self._kit.measured is not None and not self._kit.taped

    def begin_again(self, y0: Leaves, p: Leaves) -> None:
        """The same run from other numbers."""
        self._given.y0, self._given.p, self.p = y0, p, p
        for own, leaf in zip(self._a, y0, strict=True):
            own[...] = leaf
        for own in (self._ctl[: control.SHARED], self._sums, self._tapes[2]):
            own.fill(0)
        self._ctl[control.N], self._ctl[control.TURNED] = -1, self.problem.n_steps
        self._keep_nothing()

    def _keep_nothing(self) -> None:
        """No row has what a step keeps."""
        for steps in self._keeps:
            steps.fill(-1)

    def there(self) -> bool:
        """Run to y_N, storing nothing, as :meth:`run` and :meth:`turn` do; whether all is finite there.  There must be steps."""
        n = self.problem.n_steps
        self._call(_rows_there(n), 2)
        self.y, self._terminal_sum = self._last, 0.0
        self._stack_observations()
        if self._kit.terminal is not None:
            self._terminal_sum = self._kit.terminal.value([*self.y, *self.p])
        self._peak = self._peak or self._held()
        return math.isfinite(sum(self.totals)) and finite(self.y)

    def there_and_back(self) -> bool:
        """Store every state, and come back from a seed of 1 for the value, as a sweep of the schedule "store-all" does with
        :meth:`run`, :meth:`turn` and :meth:`seed`; whether all is finite then.  There must be steps."""
        self.set_out()
        self._call(_rows_back(self.problem.n_steps), self.rows_out)
        return self.came_back()

    @property
    def rows_out(self) -> int:
        """How many rows of :meth:`there_and_back` need no look at y_N."""
        return 4 if self._kit.terminal is None else 2

    def set_out(self) -> None:
        """What :meth:`there_and_back` does before the first rows."""
        self._position, self._seeds[0], self._terminal_sum = (0, 0), 1.0, 0.0
        if self._obs and not self._peak:  # the first time; they are only read
            self._seed_observations(None)
        self._new_bars(keep=True)

    def came_back(self, problem: Problem | None = None) -> bool:
        """What it does after them; they may have been those of another number of steps, of a ``problem`` that has these."""
        if problem is not None:
            self.problem = problem
        terminal, seen, self.y = self._kit.terminal, bool(self._obs), self._last
        if terminal is not None:
            self._look()
            leaves = [*self.y, *self.p]
            self._terminal_sum = terminal.value(leaves)
            bars = terminal.vjp(leaves, 1.0)
            accumulate(self.y_bar, bars[: len(self.y)])
            accumulate(self.p_bar, bars[len(self.y) :])
            if not self._finite_bars():
                return False  # (what is added to p_bar stays there)
            self._call(_rows_back(self.problem.n_steps), 4, 2 if seen else 3)
        if not (math.isfinite(sum(self.totals)) and finite(self.y)):
            return False
        self._look()
        if not self._peak:  # as long as it is used
            self._peak = self._held() + max(self._given.terminal_bytes[0] - nbytes(self._obs_bar), 0)
        return self._finite_bars()

    def has_come_back(self, problem: Problem) -> None:
        """The same where there is no terminal cost, after a run that came back before: if all is known to be finite."""
        self.problem = problem
        self._look()

    def _finite_bars(self) -> bool:
        """Whether the cotangents are finite."""
        if self._kept is not None and finite(self._kept.vectors):
            return True  # and so are spare places
        self._look()
        return finite(self.y_bar) and finite(self.p_bar)

    @classmethod
    def working(cls, problem: Problem, y0: Leaves, p: Leaves, reverse: bool = True) -> Working:
        return Given(kit_of(problem, reverse), problem, y0, p).working()

    @classmethod
    def keeping(cls, problem: Problem, y0: Leaves, p: Leaves) -> Working | None:
        if not kit_of(problem, True).step.keepable:
            return None
        return Given(kit_of(problem, True, True), problem, y0, p).working()

    @cached_property
    def planned(self) -> Working:
        needed = self._given.working()
        each = needed.row if self._one_run else self.problem.state_bytes + self._given.sizes.kept_bytes
        return needed._replace(bytes=self.slots * each + needed.bytes)

    @property
    def _rows_more(self) -> int:
        """The rows besides the slots: for a state that is in none, and one for what VJPs need of the next."""
        return 1 + self._kit.step.again

    def _rows(self, rows: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Memory for so many states, and for what steps keep beside them.  Of one run, a leaf that is handed on is where it was:
        along a chain of leaves u, v, .., row n of v is row n - 1 of u."""
        chains = [chain.leaves for chain in self._kit.step.chains if not chain.closed] if self._one_run else []
        follows = {k: (chain[0], len(chain) - 1 - at) for chain in chains for at, k in enumerate(chain)}
        more = {chain[0]: len(chain) - 1 for chain in chains}
        memory = {
            k: ((rows + more.get(k, 0), *shape), dtype)
            for k, (shape, dtype) in enumerate(self.problem.y.memory) if follows.get(k, (k,))[0] == k
        }  # fmt: skip
        kept = [((rows, *shape), dtype) for shape, dtype in self._given.sizes.kept]
        arrays = borrow_slots(self, [*memory.values(), *kept])
        held = dict(zip(memory, arrays, strict=False))
        places = [follows.get(k, (k, 0)) for k in range(len(self.problem.y.memory))]
        return [held[head][first : first + rows] for head, first in places], [*arrays[len(memory) :]]

    # --------------------------------------------------------------------------------------------------------- running
    def together(self) -> AbstractContextManager[None]:
        return nullcontext() if self._team is None else workers(self._team, self.problem.threads - 1)

    def _call(self, rows: np.ndarray, end: int | None = None, first: int = 0) -> None:
        """Carry out rows, or some of them."""
        ctl, end = self._ctl, len(rows) if end is None else end
        ctl[control.ROW], ctl[control.N] = first, -1
        team, back = self._team, bool(ctl[control.TURNED] < 0)
        trial, helped = self._given.states.trials[back], False
        while True:
            ctl[control.BUDGET] = self._budget
            if team is not None:
                helped = trial.together()
                team[0] = (self.problem.threads - 1) * helped
                ctl[control.BUDGET] = trial.steps(self._budget)
                done = int(ctl[control.FORWARD] + ctl[control.VJPS])
            began = time.perf_counter()
            try:
                status = self._driver(
                    rows, end, ctl, self._sums, self._seeds, self.problem.observe_at, self._a, self._b, self._slots,
                    tuple(self.p), self._obs, self._obs_bar, self._obs_work, self._ba, self._bb, self._pb, *self._tapes,
                    *self._own,
                )  # fmt: skip
            except Exception as error:  # of code that is none of ours: a singular matrix
                if self._kit.raises:
                    self._located(error)
                raise
            if team is not None:
                trial.took(helped, int(ctl[control.FORWARD] + ctl[control.VJPS]) - done, time.perf_counter() - began)
            if status == PAUSE:
                if team is None or trial.pays is not None:  # a turn of a trial says nothing about the budget
                    took = time.perf_counter() - began
                    self._budget = int(min(max(self._budget * min(_SLICE / max(took, 1e-9), 8.0), 1), 2**40))
                    self._given.states.budget = self._budget  # to begin with, the next time
            elif status == NEED:
                self.lengthen()
            elif status > 0:
                raise self._error(status)
            elif status == STOP:
                self._end(int(ctl[control.N]) + 1)
                return
            else:
                assert status == control.DONE, status
                return

    def lengthen(self) -> None:
        """Give the kernels longer tapes, of which one was too short."""
        self._tapes, self._peak = longer(self._tapes), 0
        self._given.grew(self._tapes)

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
        self.y = [*map(copied, self._last)] if self._reverse else self._last
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

    @property
    def keeps_bars(self) -> bool:
        """Whether the cotangents are in memory that the next run overwrites."""
        return self._kept is not None

    def _new_bars(self, keep: bool = False) -> None:
        """Begin a way back with zero cotangents of y_N and of p; if it is to ``keep`` them and they are small, in memory that is
        kept for the next one."""
        ctl, given = self._ctl, self._given
        kept = self._kept = self._kept if keep else None
        memory = given.states.bars, given.states.bar_spares, given.p_bars
        if kept is not None:
            for vector in kept.vectors:
                vector.fill(0)
        elif keep and sum(map(size_of, memory)) <= _SMALL:
            kept = self._kept = _Bars(*memory)
        self._ba, self._bb, self._pb = kept.arrays if kept is not None else map(tuple, map(zeros_of, memory))
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
            turns = -int(self._ctl[control.MOVED_BARS]) % self._kit.step.period
            seen = {} if self._kept is None else self._kept.seen
            found = seen.get(turns)
            if found is None:
                if len(seen) >= 16:
                    seen.clear()
                found = seen[turns] = self._bars_after(turns)
            self.y_bar, self.p_bar = found

    def _bars_after(self, turns: int) -> tuple[Bars, Bars]:
        """The cotangents of y and of p once buffers have moved on so often."""
        held, p_bars = (*self._ba, *self._bb), iter(self._pb)
        order, _ = self._kit.order(True, turns)
        y_bar: Bars = [None] * len(self.y)
        for k, place in zip(self._kit.floats, order, strict=True):
            y_bar[k] = held[place]
        return y_bar, [next(p_bars) if on else None for on in self.problem.p_active]

    @property
    def totals(self) -> tuple[float, float, float]:
        return float(self._sums[0]), float(self._sums[1]), self._terminal_sum

    @property
    def state(self) -> Leaves:
        return self._placed[0]

    def stored(self, slot: int) -> Leaves:
        return [s[slot : slot + 1] if leaf.scalar else s[slot] for s, leaf in zip(self._slots, self._kit.step.y, strict=False)]

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
        kit = self._kit
        now, spare = self._placed
        if not self.problem.n_steps:
            return now
        if not kit.hands_on:
            return spare
        if self._last_slot >= 0:
            now = self.stored(self._last_slot)
        free = dict(zip(kit.step.spares, spare, strict=True))
        return [free[k] if leaf is None else now[leaf] for k, leaf in enumerate(kit.last)]

    def _held(self) -> int:
        """The bytes of all arrays at hand."""
        y = self.y if self._reverse else []
        scratch = [a for arrays in self._own[1::2] for a in arrays]
        stored = (self.slots + self._rows_more) * self.problem.y.nbytes * self._reverse  # and what is in them twice
        if self._one_run:
            stored -= self.slots * (self.problem.y.nbytes - self._given.states.row_bytes)
        stored += (self.slots + self._rows_more) * self._given.sizes.kept_bytes * self._reverse
        bars = (*self._ba, *self._bb, *self._pb, *self._obs_bar) if self._ctl[control.TURNED] < 0 else ()  # else stand-ins
        return stored + nbytes([*self._a, *self._b, *y, *bars, *self._obs_work, *self._tapes, *scratch])

    @property
    def bytes_peak(self) -> int:
        return max(self._peak, self._held())

    @property
    def bytes_taken(self) -> int:
        """The most bytes of :meth:`there` or :meth:`there_and_back`."""
        return self._peak
