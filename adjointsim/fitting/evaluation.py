"""Residuals and their Jacobian, for all experiments: the only place where models are run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from adjointsim.errors import ArgumentError, FitError
from adjointsim.ode import ODE

from .data import Measured
from .experiment import Experiment
from .losses import Loss
from .together import Together
from .unknowns import Unknowns
from .workers import Cost, Failed, Task, Workers

__all__ = ["Evaluator", "Failure", "Prior"]

_LISTED = 100  # failures that are remembered
_FEW = 4  # derivatives that cost about as much as finding the steps of an integration


class Failure(NamedTuple):
    """A trial at which a model could not be run: the unknowns by name, the experiment, and what was said."""

    parameters: dict[str, float]
    experiment: str
    message: str


class Prior(NamedTuple):
    """Normal knowledge of an unknown."""

    unknown: int
    mean: float
    sd: float


@dataclass
class _Memo:
    """What is known at one x: the runs there, model values, their Jacobian; residuals, and what they cost."""

    x: np.ndarray
    tasks: list[Task] | None
    m: np.ndarray
    j: np.ndarray | None = None
    asked: bool = False  # for the Jacobian
    counted: bool = False  # the Jacobian
    r: np.ndarray | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        self.bits = self.x.tobytes()


class Evaluator:
    """The residuals of all experiments, one after the other, and then those of priors, as functions of x."""

    def __init__(
        self, experiments: Sequence[Experiment], unknowns: Unknowns, loss: Loss, priors: Sequence[Prior], workers: Workers
    ) -> None:
        """Runs every model at the start.  FitError, naming the parameters, if one cannot be run there."""
        self.experiments, self.unknowns, self.loss, self.priors, self.workers = experiments, unknowns, loss, priors, workers
        self.nfev = self.njev = self.n_failed = 0
        self.failures: list[Failure] = []
        self._memo: list[_Memo] = []  # the last two
        self.last_gradient: np.ndarray | None = None  # where there is no Jacobian
        x0 = unknowns.x0
        tasks: list[Task] | None = None
        self._together = together = Together.of(experiments, unknowns, workers)
        if together is not None and together.run(x0):
            found = together.observations()
        else:
            together, tasks = None, self._tasks(x0)
            try:
                found = list(workers.run(tasks))
            except Failed as failed:
                raise self.no_start(failed) from failed.__cause__
        several = len(experiments) > 1
        self.measured = [
            Measured(e.data, e.sigma, observed, f" for experiment {start.name!r}" if several else "")
            for e, start, observed in zip(experiments, unknowns.starts, found, strict=True)
        ]
        self._take_data()
        memo = None if together is None else self._of_the_run(x0)
        try:
            memo = memo or _Memo(x0.copy(), tasks, self._checked(found))
        except Failed as failed:
            raise self.no_start(failed) from None
        self.nfev += 1
        self._memo = [memo]
        if not np.all(np.isfinite(self.residuals(x0))):
            raise self.no_start(Failed(0, "the residuals are not finite there"))

    def _take_data(self) -> None:
        self.data = np.concatenate([own.data for own in self.measured])
        known = [own.sigma is not None for own in self.measured]
        if any(known) and not all(known):
            name = self.unknowns.starts[known.index(False)].name
            raise ArgumentError(f"Got sigma of some experiments but not of {name!r}: expected it of all, or of none")
        self.sigma = np.concatenate([own.sigma for own in self.measured]) if all(known) else None
        self.costs = [Cost(own, self.loss) for own in self.measured]
        self.ends = np.cumsum([own.n for own in self.measured])
        # the unknowns of each experiment, which are different ones: elements of its leaves
        none = np.empty(0, np.int64)
        self.columns = [np.concatenate([none, *(own.unknowns for own in each)]) for each in self.unknowns.placements]
        few = all(0 < self.unknowns.columns(e) <= _FEW for e in range(len(self.experiments)))
        self._cheap = few and all(isinstance(e.model, ODE) for e in self.experiments)
        if self._together is not None:
            self._together.take(self.measured)
        for own in self.measured:
            self.loss.check(own.data, own.place, own.what)

    @property
    def n(self) -> int:
        """How many numbers were measured."""
        return len(self.data)

    # ------------------------------------------------------------------------------------------------- as functions of x
    def model_values(self, x: np.ndarray) -> np.ndarray:
        """What the models say of the numbers that were measured, (n,); raises Failed."""
        return self._run_at(x).m

    def _run_at(self, x: np.ndarray) -> _Memo:
        """What is known at x, where the models have run."""
        memo = self._known(x)
        if memo is None:
            self.nfev += 1
            memo = self._at_once(x) or self._one_by_one(x)
            self._memo = [*self._memo[-1:], memo]
        return memo

    def _at_once(self, x: np.ndarray) -> _Memo | None:
        """Values and Jacobian of all experiments in one call, if these are such; None where it fails, too."""
        return self._of_the_run(x) if self._together is not None and self._together.run(x) else None

    def _of_the_run(self, x: np.ndarray) -> _Memo | None:
        """What the run of all experiments together has found."""
        assert self._together is not None
        m = self._together.values()
        j = self._together.jacobian()
        return _Memo(x.copy(), None, m, j if np.all(np.isfinite(j)) else None) if np.all(np.isfinite(m)) else None

    def _one_by_one(self, x: np.ndarray) -> _Memo:
        """The same from a call for each experiment, of values alone unless derivatives are cheap; raises Failed."""
        began, tasks = time.perf_counter(), self._tasks(x)
        memo = self._ahead(x, tasks) or _Memo(x.copy(), tasks, self._checked(list(self.workers.run(tasks))))
        self._took(began)
        return memo

    def _took(self, began: float) -> None:
        if self._together is not None:
            self._together.took(time.perf_counter() - began)

    def _ahead(self, x: np.ndarray, tasks: list[Task]) -> _Memo | None:
        """Values and Jacobian at once, if the latter is cheap and was asked for where the search was last, as it will be here
        then; None otherwise, and where it fails."""
        if not (self._cheap and self._memo and self._memo[-1].asked):
            return None
        tasks = [task._replace(wrt=self.unknowns.wrt(task.experiment), both=True) for task in tasks]
        try:
            found = list(self.workers.run(tasks))
            memo = _Memo(x.copy(), tasks, self._checked([observed for observed, _ in found]))
            memo.j = self._assembled(tasks, [jacobian for _, jacobian in found])
        except Failed:
            return None
        self.njev += 1
        memo.counted = True
        return memo

    def model_jacobian(self, x: np.ndarray) -> np.ndarray:
        """Its derivatives by the unknowns, (n, k); raises Failed."""
        memo = self._run_at(x)
        memo.asked = True
        if not memo.counted:
            self.njev += 1
            memo.counted = True
        if memo.j is None:
            began = time.perf_counter()
            tasks = memo.tasks or self._tasks(x)
            tasks = [task._replace(wrt=self.unknowns.wrt(task.experiment), both=False) for task in tasks]
            tasks = [task for task in tasks if task.wrt]
            memo.j = self._assembled(tasks, self.workers.run(tasks))  # only now: a part of it would be taken for the whole
            if self.njev > 1:  # the first may have been compiled
                self._took(began)
        return memo.j

    def _assembled(self, tasks: Sequence[Task], blocks: Iterable[Any]) -> np.ndarray:
        """The Jacobian by the unknowns of what the tasks give; raises Failed if it is not finite."""
        j = np.zeros((self.n, self.unknowns.n))
        for task, found in zip(tasks, blocks, strict=True):
            own = self.measured[task.experiment]
            first, last = int(self.ends[task.experiment]) - own.n, int(self.ends[task.experiment])
            placements = self.unknowns.placements[task.experiment]
            parts = [own.rows(block, placement.places) for placement, block in zip(placements, found, strict=True)]
            j[first:last, self.columns[task.experiment]] = np.concatenate(parts, axis=1)
            if not np.all(np.isfinite(j[first:last])):
                raise Failed(task.experiment, "derivatives of the observations are not finite")
        return j

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """(n + priors,); raises Failed."""
        return self._with_residuals(x)[1].copy()  # an optimiser may write to it

    def _with_residuals(self, x: np.ndarray) -> tuple[_Memo, np.ndarray]:
        memo = self._run_at(x)
        if memo.r is None:
            r = self.loss.residuals(memo.m, self.data, self.sigma)
            memo.r = np.concatenate([r, self._prior_residuals(x)]) if self.priors else r
        return memo, memo.r

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """d residuals / dx; raises Failed."""
        j = self.model_jacobian(x)
        j = self.loss.slopes(self.model_values(x), self.data, self.sigma)[:, None] * j
        return np.concatenate([j, self._prior_jacobian()]) if self.priors else j

    def cost(self, x: np.ndarray) -> float:
        """What is minimised; raises Failed."""
        memo, r = self._with_residuals(x)
        if memo.cost is None:
            with np.errstate(over="ignore"):  # a trial that is far off costs infinitely much
                memo.cost = float(np.sum(self.loss.costs(r[: self.n]))) + 0.5 * float(np.sum(r[self.n :] ** 2))
        return memo.cost

    def cost_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The cost and its derivatives by x, for the price of a run and a way back of each experiment; raises Failed."""
        self.nfev += 1
        self.njev += 1
        tasks = [task._replace(cost=cost) for task, cost in zip(self._tasks(x, derivatives=True), self.costs, strict=True)]
        total, gradient = 0.0, np.zeros(self.unknowns.n)
        for task, (value, y0_bar, p_bar) in zip(tasks, self.workers.run(tasks), strict=True):
            total += value
            self._gather(task.experiment, y0_bar, p_bar, gradient)
        r = self._prior_residuals(x)
        return total + 0.5 * float(r @ r), gradient + self._prior_jacobian().T @ r

    def product(self, x: np.ndarray, dot: np.ndarray) -> np.ndarray:
        """The Hessian of the cost by x times a vector, exact; raises Failed."""
        directions = [self.unknowns.direction(e, dot) for e in range(len(self.experiments))]
        tasks = [
            task._replace(cost=cost, direction=direction)
            for task, cost, direction in zip(self._tasks(x, derivatives=True), self.costs, directions, strict=True)
        ]
        out = np.zeros(self.unknowns.n)
        for task, (y0_part, p_part) in zip(tasks, self.workers.run(tasks), strict=True):
            self._gather(task.experiment, y0_part, p_part, out)
        j = self._prior_jacobian()
        return out + j.T @ (j @ dot)

    def _gather(self, experiment: int, y0_bar: Any, p_bar: Any, out: np.ndarray) -> None:
        """Add the derivatives by leaves of y0 and p to those by unknowns."""
        for placement, bar in zip(
            self.unknowns.placements[experiment], self.unknowns.bars(experiment, y0_bar, p_bar), strict=True
        ):
            np.add.at(out, placement.unknowns, np.asarray(bar, np.float64).reshape(-1)[placement.places])

    def effects(self, x: np.ndarray) -> np.ndarray:
        """Which unknowns change anything; raises Failed."""
        return np.any(self.jacobian(x) != 0.0, axis=0)

    def finish(self, x: np.ndarray, derivatives: bool) -> None:
        """See to it that what is asked of x afterwards is known: workers may be gone then."""
        self.model_values(x)
        if not derivatives:
            self.last_gradient = self.cost_and_gradient(x)[1]
        else:
            try:
                self.model_jacobian(x)
            except Failed as failed:
                self.failed(x, failed)
        if self._together is not None:
            self._together.end()

    def _prior_residuals(self, x: np.ndarray) -> np.ndarray:
        return np.array([(x[prior.unknown] - prior.mean) / prior.sd for prior in self.priors])

    def _prior_jacobian(self) -> np.ndarray:
        out = np.zeros((len(self.priors), self.unknowns.n))
        for k, prior in enumerate(self.priors):
            out[k, prior.unknown] = 1.0 / prior.sd
        return out

    # ----------------------------------------------------------------------------------------------------------- helpers
    def failed(self, x: np.ndarray, error: Failed) -> None:
        """Note a trial that failed."""
        self.n_failed += 1
        if len(self.failures) < _LISTED:
            self.failures.append(Failure(self.named(x), self.unknowns.starts[error.experiment].name, str(error)))

    def named(self, x: np.ndarray) -> dict[str, float]:
        """The unknowns by name."""
        return dict(zip(self.unknowns.names, x.tolist(), strict=True))

    def _tasks(self, x: np.ndarray, derivatives: bool = False) -> list[Task]:
        tasks = []
        for e in range(len(self.experiments)):
            y0, p = self.unknowns.values(e, x)
            tasks.append(Task(e, y0, p, self.unknowns.wrt(e) if derivatives else None))
        return tasks

    def _known(self, x: np.ndarray) -> _Memo | None:
        bits = x.tobytes()
        return next((memo for memo in reversed(self._memo) if memo.bits == bits), None)

    def _checked(self, found: Sequence[Any]) -> np.ndarray:
        """The observations of what was measured; Failed if one is not finite, or missing."""
        out = []
        for e, (own, observed) in enumerate(zip(self.measured, found, strict=True)):
            try:
                m = own.picked(observed)
            except ArithmeticError as error:
                raise Failed(e, str(error)) from None
            wrong = np.flatnonzero(~np.isfinite(m))
            if len(wrong):
                raise Failed(e, f"the observation of {own.place(int(wrong[0]))} is {m[wrong[0]]}")
            out.append(m)
        return np.concatenate(out)

    def no_start(self, failed: Failed) -> FitError:
        """The error of a fit that cannot start."""
        x0, names = self.unknowns.x0, self.unknowns.names
        shown = ", ".join(f"{name}={value:.6g}" for name, value in list(zip(names, x0, strict=True))[:12])
        shown += ", ..." if len(names) > 12 else ""
        name = self.unknowns.starts[failed.experiment].name
        where = f" of experiment {name!r}" if len(self.experiments) > 1 else ""
        return FitError(f"the model{where} cannot be run at the start, {shown}: {failed}", parameters=self.named(x0))
