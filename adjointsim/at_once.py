"""Short simulations in one or two calls of compiled code: nobody watches, and of a gradient every state is stored.

The same is done in the same order as by a sweep of the schedule "store-all", or "forward", so that the bits are the same.  Where
anything goes wrong nothing is said: the sweep is there to do it again, and says what happened, and where.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from adjointsim.call import Call
from adjointsim.ledger import Ledger
from adjointsim.results import Gradient, Solution
from adjointsim.schedules import Schedule, StoreAll
from adjointsim.sweep import Forward

if TYPE_CHECKING:
    from adjointsim.engine import CompiledExecutor

__all__ = ["SHORT", "ObservationsAtOnce", "gradient_at_once", "ledger_of", "short_gradient", "solution_at_once", "store_all"]

SHORT = 2**20  # bytes of states: what takes longer than a millisecond may as well be looked at
_MOST_OBSERVED = 2**24  # the same for runs that are many


store_all = lru_cache(maxsize=64)(StoreAll)


def short_gradient(call: Call) -> bool:
    """Whether a gradient is that of such a simulation."""
    return _short(call) and call.carefree


def gradient_at_once(call: Call) -> tuple[float, Gradient] | None:
    """The value and the gradient; None if this is not such a simulation, or did not end well."""
    done = _done(call, store_all(call.problem.n_steps, call.may_keep)) if short_gradient(call) else None
    if done is None:
        return None
    executor, ledger = done
    value = executor.value
    assert value is not None
    gradient = call.gradient(executor, ledger, copy=executor.keeps_bars)
    executor.put_back()
    return value, gradient


def solution_at_once(call: Call) -> Solution | None:
    """The last state, the value and the observations; None if this is not such a simulation, or did not end well."""
    done = _done(call, Forward(call.problem.n_steps)) if _short(call) else None
    if done is None:
        return None
    executor, ledger = done
    solution = call.solution(executor, ledger)
    executor.put_back()
    return solution


class ObservationsAtOnce:
    """Observations of short runs, one after the other, of calls of one problem."""

    def __init__(self) -> None:
        self._executor: CompiledExecutor | None = None

    def of(self, call: Call) -> CompiledExecutor | None:
        """An executor that has come to the end, and has the observations until the next run; None if this is not such a
        simulation, or did not end well."""
        from adjointsim.engine import CompiledExecutor  # late: it brings the whole deriver

        executor, self._executor = self._executor, None
        try:
            if executor is not None and executor.any_numbers:
                executor.begin_again(call.y0, call.p)
            elif _short(call, _MOST_OBSERVED):
                executor = CompiledExecutor.at_hand(call.problem, call.y0, call.p, 0)
            else:
                return None
            with executor.together():
                if not executor.there():
                    return None
        except Exception:
            return None
        self._executor = executor
        return executor

    def end(self) -> None:
        """No more runs."""
        if self._executor is not None:
            self._executor.put_back()
            self._executor = None


def _short(call: Call, most: int = SHORT) -> bool:
    sim, problem = call.sim, call.problem
    few = 0 < problem.n_steps * problem.state_bytes <= most and problem.known_end
    return few and sim.progress is False and sim.step.hand_vjp is None


def _done(call: Call, schedule: Schedule) -> tuple[CompiledExecutor, Ledger] | None:
    """An executor that has carried out a schedule, and what it did."""
    from adjointsim.engine import CompiledExecutor  # late: it brings the whole deriver

    began, back = time.perf_counter(), schedule.slots > 0
    try:
        executor = CompiledExecutor.at_hand(call.problem, call.y0, call.p, schedule.slots, schedule.keeps)
        with executor.together():
            well = executor.there_and_back() if back else executor.there()
    except Exception:
        return None
    if not well:
        return None
    return executor, ledger_of(executor, call, schedule, time.perf_counter() - began)


def ledger_of(executor: CompiledExecutor, call: Call, schedule: Schedule, taken: float) -> Ledger:
    """What was done, in so many seconds."""
    n, back = schedule.n_steps, schedule.slots > 0
    seconds, planned = call.seconds(schedule), executor.planned
    return Ledger(
        schedule.name, n, schedule.slots, n, 0, n * back, planned.bytes, executor.bytes_taken, taken, None, not planned.exact, 0,
        seconds,
    )
