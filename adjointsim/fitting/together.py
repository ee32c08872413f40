"""The experiments of a fit in one call of compiled code, where they are short integrations of one model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from adjointsim.leaves import Leaves
from adjointsim.ode import ODE
from adjointsim.ode.lane import Column, Lane, Linearised
from adjointsim.ode.one_call import LONG, in_a_row
from adjointsim.ode.solve import Solve

from .data import Measured
from .experiment import Experiment
from .unknowns import Side, Unknowns
from .workers import Threads, Workers

__all__ = ["Together"]

Places = dict[Column, list[tuple[int, int]]]  # experiments, and unknowns of theirs

_MOST = 8  # derivatives of an experiment: from there on a run without them is much cheaper
_SMALL = 2**12  # bytes of a state, and of p: what is larger takes so long by itself that calls are cheap
_WORTH = 0.05  # seconds that calls one by one have taken, from which on it is worth compiling what does without


class Together:
    """Values and derivatives at any x: those that calls one by one give, to the bit."""

    def __init__(self, odes: Sequence[ODE], unknowns: Unknowns, places: Places, pool: ThreadPoolExecutor | None) -> None:
        """``places`` are the experiments that have an unknown there, with the unknown."""
        self.odes, self.unknowns, self.places, self.columns, self.pool = odes, unknowns, places, [*places], pool
        self.wrt = tuple(dict.fromkeys(path for own in unknowns.placements for _, _, path, _, _ in own))
        self._lanes: list[Lane] = []  # one for each thread
        self._stack: Linearised | None = None
        self._parts: list[Linearised] = []  # what each of the lanes does of it
        self._over = False  # too slow to be in one call, or not possible
        p, y0 = unknowns.sides[0]
        assert y0 is not None
        self._program = odes[0].program(y0.form, y0.leaves, p.form, p.leaves, (False, False))
        self._key = p.form, y0.form, self.wrt, tuple(places)
        self._measured: Sequence[Measured] = ()
        self._picks: list[tuple[np.ndarray, np.ndarray]] = []
        self._columns: list[tuple[int, int, np.ndarray, np.ndarray]] = []

    @classmethod
    def of(cls, experiments: Sequence[Experiment], unknowns: Unknowns, workers: Workers) -> Together | None:
        """None for experiments that are not like this, and for workers elsewhere."""
        if type(workers) not in (Workers, Threads):
            return None
        odes = [experiment.model for experiment in experiments]
        if not all(isinstance(ode, ODE) for ode in odes) or not in_a_row(odes):
            return None
        first_p, first_y0 = unknowns.sides[0]
        for p, y0 in unknowns.sides:
            if first_y0 is None or y0 is None or (p.form, y0.form) != (first_p.form, first_y0.form):
                return None
        small = all(0 < form.nbytes <= _SMALL for form in (first_p.form, first_y0.form))  # type: ignore[union-attr]
        places: Places = {}
        for e, own in enumerate(unknowns.placements):
            for root, leaf, _, elements, numbers in own:
                for place, unknown in zip(elements.tolist(), numbers.tolist(), strict=True):
                    places.setdefault(Column(root == "y0", leaf, place), []).append((e, unknown))
        if not small or not 0 < len(places) <= _MOST:
            return None
        found = cls(odes, unknowns, places, getattr(workers, "pool", None))
        programs = {
            id(ode.program(y0.form, y0.leaves, p.form, p.leaves, (False, False)))
            for ode, (p, y0) in zip(odes, unknowns.sides, strict=True) if y0 is not None
        }  # fmt: skip
        return found if len(programs) == 1 else None

    def took(self, seconds: float) -> None:
        """What calls one by one took, for all experiments."""
        self._program.spent += seconds

    def _ready(self) -> bool:
        """Whether the compiled function is there, made now if it is worth it."""
        if self._over:
            return False
        if self._stack is not None:
            return True
        idle, count = self._program.lanes.setdefault(self._key, []), 1
        if self.pool is not None:
            count = min(self.pool._max_workers, len(self.odes))
        while len(self._lanes) < count:
            try:
                lane = idle.pop()  # which is atomic
            except IndexError:
                if self._program.spent < _WORTH:
                    self._leave()
                    return False
                y0, p = self.unknowns.values(0, self.unknowns.x0)
                try:
                    lane = Lane(Solve(self.odes[0], y0, p), self.wrt, self.columns)
                except Exception:  # the model cannot be run there, or its memory depends on numbers
                    self.end()
                    return False
            if not lane.stale():
                self._lanes.append(lane)
        lane = self._lanes[0]
        p, y = (self._stacked([pair[k] for pair in self.unknowns.sides]) for k in range(2))
        own = [np.zeros((len(self.odes), 1))] * bool(self._program.own)
        self._stack = stack = Linearised(self.odes, [*y, *own], p, lane)
        rows = np.diff(stack.ends) * sum(int(np.prod(shape)) for shape, _ in lane.moved)
        if any(self.unknowns.columns(e) > rows[e] for e in range(len(self.odes))):  # calls one by one go back: other last bits
            self.end()
            return False
        self._parts = [stack.part(k, count) for k in range(count)]
        self._fills = [
            ((y if column.of_state else p)[column.leaf].reshape(len(self.odes), -1)[:, column.place], *np.array(pairs).T)
            for column, pairs in self.places.items()
        ]
        return True

    @staticmethod
    def _stacked(sides: Sequence[Side | None]) -> Leaves:
        return [np.array(leaves) for leaves in zip(*(side.leaves for side in sides if side is not None), strict=True)]

    def run(self, x: np.ndarray) -> bool:
        """Find all observations and their derivatives at x; False where that is not possible, or does not go well."""
        if not self._ready() or not np.all(np.isfinite(x)):
            return False
        for numbers, experiments, unknowns in self._fills:
            numbers[experiments] = x[unknowns]
        began, compiled = time.perf_counter(), self._lanes[0].compiled
        if self.pool is None or len(self._lanes) == 1:
            well = all(lane.run(part) for lane, part in zip(self._lanes, self._parts, strict=True))
        else:
            futures = [self.pool.submit(lane.run, part) for lane, part in zip(self._lanes, self._parts, strict=True)]
            well = all([future.result() for future in futures])  # noqa: C419 - of each, for it writes to what the next run does
        if compiled and time.perf_counter() - began > LONG:
            self._over = True
        return well

    def end(self) -> None:
        """It is over: leave the memory to the next fit."""
        self._over = True
        self._leave()

    def _leave(self) -> None:
        self._program.lanes.setdefault(self._key, []).extend(self._lanes)
        self._lanes, self._parts, self._stack = [], [], None

    def observations(self) -> list[Any]:
        """Those of the last run, of each experiment in its structure."""
        assert self._stack is not None
        return [self._stack.observations(e) for e in range(len(self.odes))]

    def take(self, measured: Sequence[Measured]) -> None:
        """Say which of the observations were measured."""
        self._measured = measured

    def _select(self) -> None:
        """Where numbers that were measured are among all values, and among the leaves of all observations; and which columns of
        which of their derivatives are those by unknowns."""
        assert self._stack is not None
        leaves, ends = self._stack.seen, self._stack.ends
        whole = np.concatenate([own.place_of_all for own in self._measured])
        leaf = np.concatenate([own.leaf_of_all for own in self._measured])
        experiment = np.repeat(np.arange(len(self.odes)), [own.n for own in self._measured])
        self._n = len(whole)
        to = np.full((len(self.columns), len(self.odes)), -1)  # the unknown of a column in an experiment
        for c, pairs in enumerate(self.places.values()):
            experiments, unknowns = np.array(pairs).T
            to[c, experiments] = unknowns
        j = 0
        for k, numbers in enumerate(leaves):
            rows = np.flatnonzero(leaf == k)
            of = experiment[rows]
            places = ends[of] * int(np.prod(numbers.shape[1:])) + whole[rows]
            self._picks.append((rows, places))
            if numbers.dtype.kind == "f":
                for c in range(len(self.columns)):
                    unknowns = to[c, of]
                    on = unknowns >= 0
                    if np.any(on):
                        self._columns.append((j, c, rows[on] * self.unknowns.n + unknowns[on], places[on]))
                j += 1

    def values(self) -> np.ndarray:
        """What the last run says of the numbers that were measured, (n,)."""
        assert self._stack is not None
        if not self._picks:
            self._select()
        out = np.empty(self._n)
        for leaf, (rows, places) in zip(self._stack.seen, self._picks, strict=True):
            out[rows] = leaf.reshape(-1)[places]
        return out

    def jacobian(self) -> np.ndarray:
        """The derivatives of :meth:`values` by the unknowns, (n, k)."""
        assert self._stack is not None
        out = np.zeros((self._n, self.unknowns.n))
        for j, c, elements, places in self._columns:
            out.reshape(-1)[elements] = self._stack.moved[j][c].reshape(-1)[places]
        return out
