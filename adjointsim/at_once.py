"""The gradient of a short simulation in one or two calls of compiled code: everything stored, and nobody watching.

The same is done in the same order as by a sweep of the schedule "store-all", so that the bits are the same.  Where anything goes
wrong nothing is said: the sweep is there to do it again, and says what happened, and where.
"""

from __future__ import annotations

import time

from adjointsim.call import Call
from adjointsim.ledger import Ledger
from adjointsim.results import Gradient
from adjointsim.schedules import StoreAll

__all__ = ["at_once"]

_MOST = 2**20  # bytes of states: what takes longer than a millisecond may as well be looked at


def at_once(call: Call) -> tuple[float, Gradient] | None:
    """The value and the gradient; None if this is not such a simulation, or did not end well."""
    sim, problem = call.sim, call.problem
    n = problem.n_steps
    short = 0 < n * problem.state_bytes <= _MOST and problem.known_end and call.carefree
    if not short or sim.progress is not False or sim.step.hand_vjp is not None:
        return None
    from adjointsim.engine import CompiledExecutor  # late: it brings the whole deriver

    began = time.perf_counter()
    try:
        executor = CompiledExecutor.at_hand(problem, call.y0, call.p)
        if not executor.there_and_back():
            return None
    except Exception:
        return None
    taken = time.perf_counter() - began
    seconds, (planned, exact) = call.seconds(StoreAll(n)), executor.planned
    ledger = Ledger(StoreAll.name, n, n, n, 0, n, planned, executor.bytes_taken, taken, None, not exact, 0, seconds)
    value = executor.value
    assert value is not None
    gradient = call.gradient(executor, ledger)
    executor.put_back()
    return value, gradient
