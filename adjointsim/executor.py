"""What carries out a schedule's actions on a step and its costs: the interface, and what it is given.

There are two executors.  :mod:`.python_engine` calls a step and a VJP from Python, whatever they are; :mod:`.engine` runs
derived ones compiled.  Both do the same additions in the same order, so they differ by rounding of the step only, and
each gives the same bits for every schedule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from adjointsim.derive.spec import Spec
from adjointsim.errors import ArgumentError
from adjointsim.forms import Form
from adjointsim.leaves import Bars, Leaves, Shapes
from adjointsim.step import Step

__all__ = ["Executor", "Problem", "Snapshot", "Working", "annotate", "never_ended"]


class Working(NamedTuple):
    """Bytes that a sweep takes; not ``exact`` if some memory is known only while it runs (tapes of loops in a step).

    ``row`` is what each more state takes in one run of states that are all stored: what a step hands on is there already.
    ``beside`` is what steps keep there for their VJPs, in any slot.
    """

    bytes: int
    exact: bool
    row: int
    beside: int = 0


class Snapshot(NamedTuple):
    """What an executor holds; None where a cotangent is None."""

    numbers: dict[str, int]
    arrays: list[np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Problem:
    """A simulation for states and parameters of one form, ``y`` and ``p``.

    ``observe_at`` is a sorted int64 array, empty without ``observe``.  ``p_active`` says for each leaf of p whether its
    cotangent is wanted.  Without a ``known_end``, ``n_steps`` is a bound and ``until``
    says where the run ends.

    A problem of second order has a ``first``, which is the same without tangents.  Its states, parameters and observations
    are those of ``first`` and then the tangents of the floating leaves (:func:`.leaves.with_dots`), and so are structures and
    shapes; what are cotangents there are cotangents and then their tangents here.  The value is the same.
    """

    step: Step
    n_steps: int
    y: Form
    p: Form
    p_active: tuple[bool, ...]
    terminal: Callable[..., Any] | None = None
    running: Callable[..., Any] | None = None
    observe: Callable[..., Any] | None = None
    observe_at: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    misfit: Callable[..., Any] | None = None
    first: Problem | None = None
    until: Callable[..., Any] | None = None
    threads: int = 1  # that share the loops of a step
    known_end: bool = True  # False: n_steps is a bound, until says where the run ends
    notes: dict[Any, Any] = field(default_factory=dict, init=False)  # what is made for it, for any number of steps

    @property
    def tangents(self) -> int:
        """How many tangents the leaves are followed by."""
        return 0 if self.first is None else len(self.y.spec.items) - 1  # type: ignore[union-attr]

    @property
    def y_spec(self) -> Spec:
        return self.y.spec

    @property
    def p_spec(self) -> Spec:
        return self.p.spec

    @property
    def y_shapes(self) -> Shapes:
        return self.y.shapes

    @property
    def p_shapes(self) -> Shapes:
        return self.p.shapes

    @property
    def state_bytes(self) -> int:
        return self.y.nbytes

    @property
    def parameter_bytes(self) -> int:
        return self.p.nbytes

    def of_steps(self, n_steps: int, observe_at: np.ndarray) -> Problem:
        """The same for another number of steps, observed at other times; not one with a ``first``."""
        if n_steps == self.n_steps and observe_at is self.observe_at:
            return self
        other = object.__new__(Problem)  # as replace() does, in less time
        other.__dict__.update(self.__dict__, n_steps=n_steps, observe_at=observe_at)
        return other

    def with_first(self, first: Problem) -> Problem:
        """A problem of second order for other steps: those of ``first``."""
        other = object.__new__(Problem)
        other.__dict__.update(self.__dict__, n_steps=first.n_steps, observe_at=first.observe_at, first=first)
        return other

    def ended(self, n: int) -> Problem:
        """The problem once it is known that the run ends at y_n."""
        at = self.observe_at[self.observe_at <= n]
        first = None if self.first is None else self.first.ended(n)
        return replace(self, n_steps=n, observe_at=at, first=first, known_end=True)

    @property
    def has_cost(self) -> bool:
        return not (self.terminal is None and self.running is None and self.misfit is None)


class Executor(ABC):
    """Carries out one sweep.  It is made for one call and owns all its memory.

    The order of calls is ``run`` (until it stops), ``turn``, ``seed``, ``run`` (until the actions end).  If the remaining
    actions only read slots, ``seed`` and ``run`` may follow again, any number of times.

    ``run`` makes no bookkeeping of steps: that is the sweep's, which sees the same actions.  An exception raised by the
    user's code leaves it with its type and a note that names the step (:func:`annotate`).

    The value is sum of running + sum of misfits + terminal, where each sum is accumulated by itself in float64, in the
    order of n and of k, when a step is run for the *first* time.  Cotangents are accumulated in the order

        seed:        y_bar, then terminal, then the observations at N (k descending)
        step n:      the step's VJP, then running(n), then the observations at n (k descending);
                     for each observation first its misfit's VJP (into observation_bar and p_bar), then observe's

    In a sum of no costs nothing is added: a ``value_bar`` of 0 skips all costs, so that zero seeds give exact zeros.
    """

    pure = False  #: whether a step is known to give the same bits whenever it is run

    def __init__(
        self, problem: Problem, y0: Leaves, p: Leaves, slots: int, one_run: bool = False, keeps: bool = False
    ) -> None:
        """``y0`` and ``p`` are read, never written; ``slots`` >= 0 states are stored by the actions to come, all of them by one
        RECORD if it is ``one_run``; with what steps keep for their VJPs if it ``keeps`` that."""
        self.problem, self.p, self.slots = problem, p, slots
        self.y: Leaves = []  #: y_N, from turn() on
        self.observation_spec: Spec | None = None  #: the structure of one observation, if something is observed
        self.observations: Leaves = []  #: all observations, stacked along a first axis; complete from turn() on
        self.y_bar: Bars = []  #: from seed() on, the cotangent of the last state reached; new arrays for each seed()
        self.p_bar: Bars = []  #: the same for p; None for a leaf that is inert or not active

    def together(self) -> AbstractContextManager[None]:
        """Have the threads that share loops while this lasts, if there are such."""
        return nullcontext()

    @abstractmethod
    def run(self, actions: np.ndarray) -> int:
        """Carry out rows (kind, a, b, slot) of an int64 array and return how many.

        Before :meth:`seed` it stops before the first REVERSE (it contains step N-1), and remembers where y_{N-1} is.  It also
        stops where ``until`` says that the run ends, at y_N: then y_{N-1} is current, the row is done as far as that, and from
        here on ``problem`` is :meth:`Problem.ended` at N.
        """

    def _end(self, n: int) -> None:
        """The run ends at y_n."""
        self.problem = self.problem.ended(n)

    @abstractmethod
    def turn(self) -> None:
        """Run step N-1 from y_{N-1}, which stays; observe y_N and add the terminal cost.  For N = 0, y_N is y_0."""

    @abstractmethod
    def seed(self, value_bar: float, y_bar: Bars | None = None, observations_bar: Bars | None = None) -> None:
        """Set the cotangents of y_N and p: value_bar times those of the value at N, plus ``y_bar``.

        ``observations_bar`` are stacked as :attr:`observations` are, and are added when a step with observations is
        reversed.  The bars that are given are kept and not modified.
        """

    @abstractmethod
    def leave(self) -> Any:
        """All that the way back has changed so far, to be taken up again by :meth:`enter`.

        Between two REVERSEs, which only read what they do not change here, another way back may be seeded and followed: so
        many cotangents go back through one recomputation, with the same bits as one by one.
        """

    @abstractmethod
    def enter(self, way: Any) -> None:
        """Go on with the way back that was left."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """All that it holds apart from its slots: before the turn of the way there, from :meth:`seed` on of the way back.

        The arrays are its own: to be copied before it goes on.
        """

    @abstractmethod
    def resume(self, back: bool, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the way there, or ``back``, for a seed of 1 for the value; the slots hold nothing."""

    @property
    @abstractmethod
    def totals(self) -> tuple[float, float, float]:
        """The sums so far: running, misfits, terminal."""

    @property
    @abstractmethod
    def state(self) -> Leaves:
        """The current state, to look at."""

    @abstractmethod
    def stored(self, slot: int) -> Leaves:
        """The state in a slot: its memory, which may be filled between two calls of :meth:`run`."""

    @property
    @abstractmethod
    def bytes_peak(self) -> int:
        """The most bytes that the sweep's own arrays took, observations apart."""

    @property
    def value(self) -> float | None:
        """The value, from turn() on; None without a cost."""
        running, misfits, terminal = self.totals
        return running + misfits + terminal if self.problem.has_cost else None

    @classmethod
    @abstractmethod
    def working(cls, problem: Problem, y0: Leaves, p: Leaves, reverse: bool = True) -> Working:
        """What a gradient (or a run only, without ``reverse``) takes apart from its slots; nothing is allocated."""

    @classmethod
    def keeping(cls, problem: Problem, y0: Leaves, p: Leaves) -> Working | None:
        """The same if slots also hold what steps can keep for their VJPs; None if that is nothing."""
        return None

    @property
    @abstractmethod
    def planned(self) -> Working:
        """What the sweep takes, slots and working set, as known before it runs."""


def never_ended(bound: int) -> ArgumentError:
    """The error of a run that went on to its bound."""
    message = f"Got until= that did not end the run within n_steps={bound} steps, but expected it to"
    return ArgumentError(f"{message}: name more steps, or another condition")


def annotate(error: BaseException, what: str, n: int, n_steps: int, direction: str) -> None:
    """Say in an exception of the user's where it was raised; ``direction`` as in NonFiniteError.  ``adjointsim_step`` is n."""
    sweep = {"forward": "forward sweep", "recompute": "recomputation", "reverse": "reverse sweep"}[direction]
    error.add_note(f"adjointsim: raised in {what} n={n} of {n_steps} ({sweep})")
    error.adjointsim_step = n  # type: ignore[attr-defined]
