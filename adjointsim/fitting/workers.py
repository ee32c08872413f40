"""Where experiments are run: here, on threads, or by an executor of the user's; results come in the order of the tasks."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from adjointsim.errors import AdjointSimError, ArgumentError, StructureError
from adjointsim.ode import ODE
from adjointsim.ode.solve import Solve

from .data import Measured
from .losses import Loss

__all__ = ["FAILURES", "Cost", "Failed", "Task", "Workers", "workers_of"]

#: what a model raises where it cannot be run for these numbers: blow-up, step underflow, a logarithm of a negative number
FAILURES = (ArithmeticError, ValueError)
_TRIES = 3  # of a task whose worker died


class Failed(Exception):
    """A model could not be run; ``experiment`` is the number of its experiment."""

    def __init__(self, experiment: int, message: str) -> None:
        super().__init__(message)
        self.experiment = experiment


class Cost(NamedTuple):
    """What a deviation of an experiment's observations from its data costs."""

    measured: Measured
    loss: Loss

    def of(self, observations: Any) -> np.ndarray:
        """The model's values; ArithmeticError where they are missing or not finite, or where the loss is."""
        m = self.measured.picked(observations)
        r = self.loss.residuals(m, self.measured.data, self.measured.sigma)
        wrong = np.flatnonzero(~np.isfinite(r))
        if len(wrong):
            k = int(wrong[0])
            raise ArithmeticError(f"the observation of {self.measured.place(k)} is {m[k]}")
        return m

    def value(self, m: np.ndarray) -> float:
        """What they cost; infinity where that is too much for a float."""
        with np.errstate(over="ignore"):
            return float(np.sum(self.loss.costs(self.loss.residuals(m, self.measured.data, self.measured.sigma))))

    def slopes(self, m: np.ndarray) -> np.ndarray:
        """The derivatives of that."""
        given = m, self.measured.data, self.measured.sigma
        return self.loss.cost_slopes(self.loss.residuals(*given)) * self.loss.slopes(*given)


class Task(NamedTuple):
    """A run of a model: its observations; with ``wrt`` their Jacobians by these leaves, or ``both``, of an ODE.

    With a ``cost``, its value and gradient by these leaves; with a ``direction`` (of y0 and p) besides, the derivative of that
    gradient, as (for y0, for p).
    """

    experiment: int
    y0: Any
    p: Any
    wrt: tuple[str, ...] | None = None
    cost: Cost | None = None
    direction: tuple[Any, Any] | None = None
    both: bool = False


def carried_out(model: Any, task: Task) -> Any:
    """What a task asks for."""
    if task.wrt is None:
        return model.run(task.y0, task.p).observations
    if task.both:
        return Solve(model, task.y0, task.p).linearised(task.wrt)
    if task.cost is None:
        return model.jacobian(task.y0, task.p, task.wrt)
    cost = task.cost
    if task.direction is None:
        solution, pullback = model.vjp(task.y0, task.p, task.wrt)
        m = cost.of(solution.observations)
        gradient = pullback(observations_bar=cost.measured.bars(cost.slopes(m)))
        return cost.value(m), gradient.y0, gradient.p

    def seeds(observations: Any, dots: Any) -> tuple[Any, Any]:
        m, own = cost.of(observations), cost.measured
        moved = cost.loss.curvatures(m, own.data, own.sigma) * own.picked(dots)
        return own.bars(cost.slopes(m)), own.bars(moved)

    product = model.hvp_of(task.y0, task.p, *task.direction, seeds)
    return product.y0, product.p


class Workers:
    """Runs tasks one after the other, here."""

    again = 0  #: tasks that were run again because their worker had died

    def __init__(self, models: Sequence[Any]) -> None:
        self.models = models
        self._solves: dict[int, tuple[Any, Any, Solve]] = {}  # the last y0 and p of each experiment, and the steps found there

    def run(self, tasks: Sequence[Task]) -> Iterator[Any]:
        """The results in the order of the tasks; the first failure in that order raises Failed."""
        for task in tasks:
            yield self.one(task)

    def one(self, task: Task) -> Any:
        """One task, here."""
        model = self.models[task.experiment]
        try:
            if task.cost is not None or not isinstance(model, ODE):
                return carried_out(model, task)
            solve = self._solved(model, task)
            if task.wrt is not None and task.both:
                return solve.linearised(task.wrt)
            return solve.observations() if task.wrt is None else solve.jacobian(task.wrt)
        except StructureError:
            raise
        except FAILURES as error:
            raise Failed(task.experiment, f"{type(error).__name__}: {error}") from error

    def _solved(self, model: ODE, task: Task) -> Solve:
        """The steps of an integration, found once for a run and the Jacobian that is asked for where that was."""
        y0, p, solve = self._solves.get(task.experiment, (None, None, None))
        if solve is None or y0 is not task.y0 or p is not task.p:
            solve = Solve(model, task.y0, task.p)
            self._solves[task.experiment] = task.y0, task.p, solve
        return solve


class Threads(Workers):
    """On threads: compiled code lets the others run."""

    def __init__(self, models: Sequence[Any], pool: ThreadPoolExecutor) -> None:
        super().__init__(models)
        self.pool = pool

    def run(self, tasks: Sequence[Task]) -> Iterator[Any]:
        futures = [self.pool.submit(self.one, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


class Remote(Workers):
    """By an executor: a model is sent with each task, and made once a worker."""

    def __init__(self, models: Sequence[Any], executor: Any) -> None:
        super().__init__(models)
        self.executor = executor
        self.token = uuid.uuid4().hex
        try:
            self.sent = [pickle.dumps(model) for model in models]
        except Exception as error:
            raise ArgumentError(
                f"Got workers={type(executor).__name__} and a model that cannot be sent to them ({error}): its functions must be "
                "those of a module, or take workers=2 for threads"
            ) from error

    def run(self, tasks: Sequence[Task]) -> Iterator[Any]:
        futures = [self._submit(task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            yield self._result(task, future)

    def _submit(self, task: Task, attempt: int = 0) -> Any:
        """``attempt`` tells an executor that remembers results by their arguments that a task is to be run again."""
        key, task_sent = (self.token, task.experiment), pickle.dumps(task)
        try:
            return self.executor.submit(_remote, key, self.sent[task.experiment], task_sent, attempt)
        except Exception:  # a pool that is broken
            return None

    def _result(self, task: Task, future: Any) -> Any:
        """The result of a task; where a worker died it is run again, the last time here."""
        for attempt in range(_TRIES):
            if future is None:
                break
            try:
                ok, value = future.result()
            except Exception:  # not the model's: those are values
                self.again += 1
                future = self._submit(task, attempt + 1) if attempt + 1 < _TRIES else None
                continue
            if ok:
                return pickle.loads(value)
            raise Failed(task.experiment, value) if ok is None else AdjointSimError(value)
        return self.one(task)


_models: dict[tuple[str, int], Any] = {}  # in a worker


def _remote(key: tuple[str, int], sent: bytes, task: bytes, attempt: int) -> tuple[bool | None, Any]:
    """(True, result); (None, text) where the model fails, (False, text) for other errors: those are not the executor's."""
    try:
        if key not in _models:
            if len(_models) > 256:
                _models.clear()
            _models[key] = pickle.loads(sent)
        return True, pickle.dumps(carried_out(_models[key], pickle.loads(task)))
    except StructureError as error:
        return False, f"{type(error).__name__}: {error}"
    except FAILURES as error:
        return None, f"{type(error).__name__}: {error}"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


@contextmanager
def workers_of(models: Sequence[Any], given: Any) -> Iterator[Workers]:
    """What ``workers=`` says: None or 1, a number of threads, or an executor with ``submit``."""
    if given is None or (given == 1 and not isinstance(given, bool)):
        yield Workers(models)
    elif isinstance(given, int) and not isinstance(given, bool) and given > 1:
        with ThreadPoolExecutor(given) as pool:
            yield Threads(models, pool)
    elif isinstance(given, ThreadPoolExecutor):
        yield Threads(models, given)
    elif isinstance(given, Executor) or callable(getattr(given, "submit", None)):
        yield Remote(models, given)
    else:
        raise ArgumentError(f"Got workers={given!r}, but expected a number of threads from 1, or an executor with submit()")
