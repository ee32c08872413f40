"""One call of a simulation: the arguments of a verb as leaves, and the sweeps that are made for them."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.calibration import is_known, measured_times
from adjointsim.derive.spec import differentiable, measured
from adjointsim.errors import ArgumentError, StructureError
from adjointsim.executor import Executor, Problem, Working
from adjointsim.forms import Form, Kind, Known, form_of
from adjointsim.heap import copied
from adjointsim.kernels import kernel_of
from adjointsim.leaves import (
    Bars,
    Leaves,
    bar_leaves,
    nbytes,
    shapes_of,
    stacked_spec,
    unflatten,
    with_dots,
    with_tangent,
)  # fmt: skip
from adjointsim.ledger import Ledger, readable
from adjointsim.nonfinite import check_given, check_gradient_finite, check_solution_finite, given
from adjointsim.progress import reporting
from adjointsim.replay import Replay
from adjointsim.results import Gradient, Solution
from adjointsim.rows import Watcher
from adjointsim.schedules import Schedule
from adjointsim.schedules.online_disk import OnlineDisk
from adjointsim.selection import select
from adjointsim.storage import Plan, Sizes, choose, machine, online_disk_slots, plan, undecided
from adjointsim.storage.disk import DiskSlots, Tier, room
from adjointsim.storage.staging import buffers, places
from adjointsim.storage.times import Times, predicted_seconds, slot_bytes
from adjointsim.sweep import Forward, Sweep, Unknown, executor_class, in_memory, make_executor

if TYPE_CHECKING:
    from adjointsim.derive.api import FunctionKernel
    from adjointsim.simulation import Simulation

__all__ = ["Call", "Wrt", "begun"]

Wrt = str | Iterable[str]

_KEPT = 16  # problems of a simulation
_SMALL = 2**26  # bytes that can be had anywhere


@lru_cache(maxsize=256)
def _selected(names: str | tuple[str, ...], y: Kind, p: Kind) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    return select(names, y.spec, p.spec)


@lru_cache(maxsize=256)
def _doubled(form: Form, lanes: int) -> Form:
    """The form of a value that is followed by so many tangents."""
    floats = [shape for shape, on in zip(form.shapes, form.floats, strict=True) if on]
    return form_of(with_tangent(form.spec, lanes), (*form.shapes, *floats * lanes))


def _problem(sim: Simulation, y: Form, p: Form, wrt: Wrt | None, costs: bool) -> tuple[tuple[bool, ...], Problem]:
    """Which leaves of y0 have their derivative asked for, and the problem; made once for arguments that look alike."""
    names = wrt if wrt is None or isinstance(wrt, str) else tuple(wrt)
    functions = sim.step, sim.terminal, sim.running, sim.observe, sim.misfit, sim.until
    key = y, p, names, costs, *map(id, functions)  # ids of what the problem holds
    found = sim.problems.get(key)
    if found is None:
        y_active, p_active = ((), p.floats) if names is None else _selected(names, y.kind, p.kind)
        step, *_ = functions
        observed = {"observe": sim.observe, "observe_at": sim.observe_at, "until": sim.until, "known_end": sim.until is None}
        observed["threads"] = sim.threads
        given = {"terminal": sim.terminal, "running": sim.running, "misfit": sim.misfit} if costs else {}
        found = y_active, Problem(step, sim.n_steps, y, p, p_active, **given, **observed)
        if len(sim.problems) >= _KEPT:
            sim.problems.clear()
        sim.problems[key] = found
    active, problem = found
    return active, problem.of_steps(sim.n_steps, sim.observe_at)


def begun(initial: FunctionKernel, p: Leaves) -> Known:
    """The initial state that a function of p gives; NonFiniteError if it has a NaN or Inf."""
    leaves = initial.value(p)
    shapes = shapes_of(leaves)
    form = form_of(measured(initial.result_spec, shapes), shapes)
    check_given(leaves, form.spec, "y0")
    return Known(form, leaves)


class Call:
    """One call of a verb of a simulation: its arguments as leaves, and everything that is made for them."""

    def __init__(self, sim: Simulation, y0: Any, p: Any, wrt: Wrt | None = None, copy: bool = False, costs: bool = True) -> None:
        """Without ``costs`` only the states and the observations matter."""
        self.sim = sim
        known = given(p, "p", copy)
        p_form, self.p = known.form, known.leaves
        self.initial = kernel_of(y0, (p_form.spec,), role="function") if callable(y0) else None
        start = given(y0, "y0", copy) if self.initial is None else begun(self.initial, self.p)
        y_form, self.y0 = start.form, start.leaves
        if not y_form.leaves:
            raise StructureError(f"Got y0={y_form.spec}, but expected a state: a number, an array or a tuple of these")
        self.y_active, self.problem = _problem(sim, y_form, p_form, wrt, costs)
        if y_form.nbytes > _SMALL:
            self._check_fits(y_form.nbytes, "a state takes that")

    def of(self, problem: Problem, y0: Leaves, p: Leaves) -> Call:
        """The same call for another problem."""
        other = copy.copy(self)
        other._forget()
        other.problem, other.y0, other.p, other.initial = problem, y0, p, None
        return other

    def asking(self, wrt: Wrt) -> Call:
        """The same call without costs, asked for other derivatives."""
        other = copy.copy(self)
        other._forget()
        other.y_active, other.problem = _problem(self.sim, self.problem.y, self.problem.p, wrt, False)
        return other

    def paired(self, y_dots: Bars, p_dots: Bars, *, observed: bool, lanes: int = 1) -> Call:
        """The same call of second order: its states and parameters are followed by these tangents (of one lane after the other),
        its observations by theirs if they are ``observed`` at all."""
        first, y, p = self.problem, with_dots(self.y0, y_dots), with_dots(self.p, p_dots)
        if not observed:
            first = replace(first, observe=None, observe_at=np.empty(0, np.int64))
        floats = [on if differentiable(leaf) else None for on, leaf in zip(first.p_active, first.p.leaves, strict=True)]
        active = tuple(with_dots(first.p_active, floats * lanes))
        second = replace(first, first=first, y=_doubled(first.y, lanes), p=_doubled(first.p, lanes), p_active=active)
        return self.of(second, y, p)

    def paired_again(self, pair: Problem, y_dots: Bars, p_dots: Bars) -> Call:
        """What :meth:`paired` gives, where ``pair`` is the problem that it gave for a call that differs by steps and numbers."""
        return self.of(pair.with_first(self.problem), with_dots(self.y0, y_dots), with_dots(self.p, p_dots))

    def _forget(self) -> None:
        """This is a copy for another problem."""
        for name in ("working", "keeping"):
            self.__dict__.pop(name, None)

    @cached_property
    def working(self) -> Working:
        """What a gradient needs apart from its slots."""
        return executor_class(self.sim.step).working(self.problem, self.y0, self.p)

    @cached_property
    def keeping(self) -> Working | None:
        """The same if all states are stored with what steps can keep beside them; None if that is nothing."""
        return executor_class(self.sim.step).keeping(self.problem, self.y0, self.p)

    def needed(self, schedule: Schedule) -> Working:
        """What a gradient needs apart from the slots of this schedule."""
        return self.keeping if schedule.keeps and self.keeping is not None else self.working

    def schedule(self, more: int = 0, again: bool = False) -> Schedule:
        """What the user's bounds allow, if so many bytes ``more`` are needed than for a gradient.

        Where there is a choice it is the fastest for one way back, unless there may be others ``again``: then it is the one
        that stores most.
        """
        sim, sizes = self.sim, self._sizes(more)
        if not self.problem.known_end:
            slots = min(sim.checkpoints or sizes.slots, max(sizes.n_steps, 1))
            disk = min(online_disk_slots(sizes), sizes.n_steps)
            if isinstance(sim.directory, Path):
                disk = max(disk, 1)  # where a run can go on there is room for y_0
            if disk:
                return OnlineDisk(n_steps=sizes.n_steps, memory_slots=slots, disk_slots=disk)
            return Unknown(sizes.n_steps, slots)
        if sim.schedule is not None:
            self._check_capacity(sim.schedule)
        times = None
        if not (again or self._named) and undecided(sizes, machine.cache_bytes()):
            times = self._times(sizes)
        return choose(
            sizes.n_steps, sizes.state_bytes, sizes.working_bytes, memory=sizes.memory, checkpoints=sim.checkpoints,
            schedule=sim.schedule, disk=sizes.disk, times=times, row_bytes=sizes.row_bytes, kept=sizes.kept,
        )  # fmt: skip

    def running(self) -> Schedule:
        """A schedule for a run and no way back."""
        return Forward(self.problem.n_steps) if self.problem.known_end else Unknown(self.problem.n_steps, 0)

    def plan(self) -> Plan:
        """What a gradient will take."""
        schedule, sizes = self.schedule(), self._sizes()
        _, exact, row, beside = self.needed(schedule)
        state = slot_bytes(schedule, sizes.state_bytes, row, beside)
        return plan(schedule, state, self._working(schedule), not exact, self._times(sizes, schedule.keeps), row)

    def _working(self, schedule: Schedule) -> int:
        """Bytes that a gradient needs apart from its slots, those on the way to and from a disk included."""
        state = self.problem.state_bytes
        return self.needed(schedule).bytes + (buffers(state) * state if schedule.disk_slots else 0)

    def _times(self, sizes: Sizes, keeps: bool = False) -> Times | None:
        if not self.problem.known_end:
            return None
        return measured_times(self.problem, self.y0, self.p, sizes, self.sim.directory, keeps)

    @property
    def carefree(self) -> bool:
        """Whether every state is stored without a look at the memory: nobody bounds it, and they are small."""
        return self._unbounded and not self._large and self.sim.directory is None

    @property
    def _unbounded(self) -> bool:
        """Whether the user names neither bytes nor what is stored."""
        return self.sim.memory is None and not self._named

    @property
    def _large(self) -> bool:
        """Whether all states together are more than can be had anywhere."""
        return max(self.problem.n_steps, 1) * self.problem.state_bytes > _SMALL

    @property
    def _named(self) -> bool:
        """Whether the user says himself what is stored."""
        return self.sim.checkpoints is not None or self.sim.schedule is not None

    def _sizes(self, more: int = 0) -> Sizes:
        """What is stored and how much of it there may be."""
        sim, state, n_steps = self.sim, self.problem.state_bytes, self.problem.n_steps
        automatic = self._unbounded and self._large
        bounded = automatic or sim.memory is not None
        working, row = (self.working.bytes + more, self.working.row) if bounded else (0, state)
        disk = None
        if sim.directory is not None:
            working, disk = working + buffers(state) * state, room(sim.directory)
        kept = self._kept(more) if disk is None and not self._named else None
        sizes = Sizes(n_steps, state, working, sim.memory, disk, row, kept)
        if automatic:  # every state, if they fit in half of what is free, else what fits there
            self._check_fits(state + working, f"a state takes {state}, the rest is the working set")
            if sizes.in_all > sim.half_of_free:
                return replace(sizes, memory=max(sim.half_of_free, state + working))
        return sizes

    @property
    def may_keep(self) -> bool:
        """Whether steps keep what they can where every state is stored and nobody bounds the memory."""
        return self._kept(0) is not None

    def _kept(self, more: int) -> tuple[int, int, int] | None:
        """What a state and the working set take if steps keep what they can, and what that is beside a state; None without use
        or, if nobody says how much there may be, without room for it."""
        keeping, sim = self.keeping, self.sim
        if keeping is None or not self.problem.known_end:
            return None
        taken = self.problem.n_steps * keeping.row + keeping.bytes + more
        if sim.memory is None and taken > _SMALL and taken > sim.half_of_free:  # to look takes longer than most runs
            return None
        return keeping.row, keeping.bytes + more, keeping.beside

    def _check_capacity(self, schedule: Schedule) -> None:
        """ArgumentError if a storage of the user's is too small for a schedule of the user's; a disk says so itself."""
        storage, state = self.sim.directory, self.problem.state_bytes
        if schedule.disk_slots and not isinstance(storage, Path) and schedule.disk_slots * state > room(storage):
            raise ArgumentError(
                f"Got a schedule with {schedule.disk_slots} slots on a disk for states of {state} bytes, but expected at most "
                f"capacity={room(storage)} bytes of directory= in all, not {schedule.disk_slots * state}: "
                "name a schedule with fewer slots there, or a larger storage"
            )

    def _check_fits(self, least: int, why: str) -> None:
        total = machine.total_memory()
        if least > total:
            raise ArgumentError(
                f"Got a state of {readable(self.problem.state_bytes)} (y0={self.problem.y_spec}), but expected one that fits in "
                f"the memory of this machine, {total} bytes: at least {least} are needed ({why})"
            )

    def executor(self, slots: int, one_run: bool = False, keeps: bool = False) -> Executor:
        return make_executor(self.problem, self.y0, self.p, slots, one_run, keeps)

    def sweep(self, schedule: Schedule, watchers: Sequence[Watcher] = (), tier: Tier | None = None) -> Sweep:
        """A new sweep at y_0; with a second tier of its own if it needs one and has none."""
        slots = schedule.slots - schedule.disk_slots
        if schedule.disk_slots:
            slots, tier = slots + places(self.problem.state_bytes), tier or self._tier(schedule)
        executor = self.executor(slots, schedule.one_run, schedule.keeps)
        again = schedule.forward_steps >= schedule.n_steps  # steps are run again
        sweep = Sweep(executor, schedule, [*watchers, Replay(executor)] if again else watchers, tier)
        sweep.seconds_planned = self.seconds(schedule)
        return sweep

    def seconds(self, schedule: Schedule) -> float | None:
        """What a sweep will take, if that is known."""
        keeps = schedule.keeps
        times = self._times(self._sizes(), keeps) if is_known(self.problem, keeps) else None
        if times is None or isinstance(schedule, Unknown):
            return None
        if isinstance(schedule, Forward):
            return schedule.n_steps * times.step
        needed = self.needed(schedule)
        state = slot_bytes(schedule, self.problem.state_bytes, needed.row, needed.beside)
        return predicted_seconds(schedule, state, self._working(schedule), times)

    def _tier(self, schedule: Schedule) -> Tier:
        """A second tier for one sweep, in a file that nobody else sees."""
        directory = self.sim.directory
        if not isinstance(directory, Path):
            return Tier(directory, self.y0, f"the {type(directory).__name__} that is directory=")
        slots = DiskSlots.nameless(directory, schedule.disk_slots, nbytes(self.y0))
        tier = Tier(slots, self.y0, f"a file in {directory}")
        weakref.finalize(tier, slots.close)
        return tier

    @contextmanager
    def progress(self, sweep: Sweep, back: bool = False) -> Iterator[None]:
        """Report what the sweep does inside, to y_N or also ``back``."""
        n_steps = self.problem.n_steps
        total = sweep.schedule.forward_steps + n_steps if back else max(n_steps - 1, 0)
        reached = sweep.resumed_at or 0
        if sweep.turned:
            total, reached = total - sweep.primal, max(n_steps - 1, 0)
        with reporting(self.sim.progress, total, reached) as watchers:
            own, sweep.watchers = sweep.watchers, [*sweep.watchers, *watchers]
            yield
            sweep.watchers = own

    def forward(self, sweep: Sweep) -> None:
        sweep.forward()
        self.problem = sweep.executor.problem
        check_solution_finite(sweep.executor, self.executor)

    def reverse(self, sweep: Sweep, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        sweep.reverse(value_bar, y_bar, observations_bar)
        self.check(sweep, value_bar, y_bar, observations_bar)

    def check(self, sweep: Sweep, value_bar: float, y_bar: Bars | None, observations_bar: Bars | None) -> None:
        """NonFiniteError if the gradient that a way back gave from these seeds is not finite."""
        again = partial(self.sweep, in_memory(sweep.schedule, self.problem.n_steps))
        check_gradient_finite(sweep.executor, again, value_bar, y_bar, observations_bar)

    def solution(self, executor: Executor, ledger: Ledger) -> Solution:
        """Copies: the user may do with them what he likes, and the way back still needs its own."""
        observations = None
        if executor.observation_spec is not None:
            observations = unflatten(stacked_spec(executor.observation_spec), [*map(copied, executor.observations)])
        y = unflatten(self.problem.y_spec, [*map(copied, executor.y)])
        return Solution(y, executor.value, observations, ledger)

    def gradient(self, executor: Executor, ledger: Ledger, copy: bool = False) -> Gradient:
        """With ``copy`` the arrays are not the executor's."""
        (y_bar, p_bar), problem = self.bars(executor), self.problem
        return Gradient(problem.y.kind.bar(y_bar, copy), problem.p.kind.bar(p_bar, copy), ledger)

    def bars(self, executor: Executor) -> tuple[Bars, Bars]:
        """The cotangents of y0 and of p, what p does to y0 included; None for what ``wrt`` does not name."""
        problem = self.problem
        p_bar = executor.p_bar
        if self.initial is not None and any(problem.p_active):
            more = self.initial.vjp(self.p, executor.y_bar)
            p_bar = [b if b is None or m is None else b + m for b, m in zip(p_bar, more, strict=True)]
        return [bar if active else None for bar, active in zip(executor.y_bar, self.y_active, strict=True)], p_bar

    def directions(self, y0_dot: Any, p_dot: Any) -> tuple[Bars, Bars]:
        """The tangents of y_0 and p that a user gave."""
        problem = self.problem
        p_dots = bar_leaves(p_dot, problem.p_spec, problem.p_shapes, "p_dot")
        y_dots = bar_leaves(y0_dot, problem.y_spec, problem.y_shapes, "y0_dot")
        check_given(p_dots, problem.p_spec, "p_dot")
        check_given(y_dots, problem.y_spec, "y0_dot")
        return self.tangents(y_dots, p_dots)

    def tangents(self, y_dots: Bars, p_dots: Bars) -> tuple[Bars, Bars]:
        """The tangents of y_0 and p: what p does to y0 is added to ``y_dots``."""
        if self.initial is not None:
            _, more = self.initial.jvp(self.p, p_dots)
            y_dots = [a if b is None or a is None else a + b for a, b in zip(y_dots, more, strict=True)]
        return y_dots, p_dots
