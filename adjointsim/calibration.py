"""How fast a model is: a few of its steps, run forward and back by the executor that will run them all."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from adjointsim.executor import Problem
from adjointsim.leaves import Leaves
from adjointsim.schedules import ADVANCE, RECORD, REVERSE
from adjointsim.storage import Sizes, Times
from adjointsim.storage.machine import STREAM, WRITE, cache_bytes, disk_seconds, stream_seconds
from adjointsim.sweep import make_executor

__all__ = ["is_known", "measured_times"]

_SHARE = 50  # one VJP is tried for so many of the run, and up to two primal steps
_SECONDS = 0.005  # of steps that are tried
_LONG = 10.0  # seconds of a run, beyond which it is worth while to see how fast memory and disk are
_KEPT = 64  # models and sizes


@dataclass(frozen=True)
class _Steps:
    """Seconds of a primal step and of a VJP."""

    step: float
    vjp: float


_lock = Lock()
_found: OrderedDict[Hashable, _Steps] = OrderedDict()


def is_known(problem: Problem, keeps: bool = False) -> bool:
    """Whether times of a model were measured before, for these sizes."""
    return bool(_found) and _key(problem, keeps) in _found


def measured_times(
    problem: Problem, y0: Leaves, p: Leaves, sizes: Sizes, directory: Any = None, keeps: bool = False
) -> Times | None:
    """The times of a model, measured now if they were not before; remembered for others of the same sizes.

    None for a short run, in which there is nothing to gain, and where a step raises: it will do so again in the run, and be
    heard with the n and the direction that it has there; that is not remembered, for other parameters may be better.  Steps are
    functions of what they are given, so that nobody can tell that some were tried.  Slots also hold what steps keep if it
    ``keeps`` that.
    """
    if sizes.n_steps < 2 * _SHARE:
        return None
    key = _key(problem, keeps)
    found = _found.get(key)
    if found is None:
        # without the lock: a step may use simulations of its own, in threads of its own
        found = _tried(problem, y0, p, sizes, keeps)
        if found is None:
            return None
        with _lock:
            found = _found.setdefault(key, found)
            while len(_found) > _KEPT:
                _found.popitem(last=False)
    return _times(found, sizes, directory)


def _key(problem: Problem, keeps: bool) -> Hashable:
    """A model and its sizes; costs at the end and the number of steps do not matter."""
    functions = problem.step, problem.running, problem.observe, problem.misfit
    structure = problem.y, problem.p, problem.p_active
    return (*functions, *structure, problem.tangents, keeps)


def _times(steps: _Steps, sizes: Sizes, directory: Any) -> Times:
    """What is known of a model, with what is known of the machine."""
    stream, write, read = STREAM, WRITE, WRITE
    if sizes.n_steps * (steps.step + steps.vjp) >= _LONG:
        stream = stream_seconds(sizes.memory or 0)
        if isinstance(directory, Path):
            write, read = disk_seconds(directory)
    return Times(steps.step, steps.vjp, stream, write, read, cache_bytes())


def _tried(problem: Problem, y0: Leaves, p: Leaves, sizes: Sizes, keeps: bool) -> _Steps | None:
    """One step to have everything compiled, another, and if they are short, more of them; these twice: memory is new at first.

    None where a step raises.
    """
    most = min(sizes.n_steps // _SHARE // 2 - 1, sizes.slots)
    if sizes.state_bytes:
        most = min(most, max((cache_bytes() - sizes.working_bytes) // sizes.state_bytes, 2))
    try:
        _run(problem, y0, p, 1, keeps)
        one = _run(problem, y0, p, 1, keeps)
        count = min(most, max(int(_SECONDS / max(one.step + one.vjp, 1e-9)), 2))
        if count < 2:
            return one
        many = min((_run(problem, y0, p, count, keeps) for _ in range(2)), key=lambda took: took.step + took.vjp)
    except Exception:  # whatever the user's code raises, or memory that cannot be had
        return None
    # The difference: what it takes to begin and to end is in both.
    step, vjp = (max(count * m - o, 0.1 * count * m) / (count - 1) for m, o in ((many.step, one.step), (many.vjp, one.vjp)))
    return _Steps(step, vjp)


def _run(problem: Problem, y0: Leaves, p: Leaves, count: int, keeps: bool) -> _Steps:
    """So many steps forward, and as many others back from a cotangent of ones."""
    n = count + 1
    seen = problem.observe_at[problem.observe_at <= n]
    executor = make_executor(replace(problem, n_steps=n, terminal=None, observe_at=seen), y0, p, count, False, keeps)
    back = (REVERSE, 1, n, 0)
    with np.errstate(all="ignore"):
        began = time.perf_counter()
        executor.run(np.array([(ADVANCE, 0, 1, -1), (RECORD, 1, n, 0), back], np.int64))  # as far as the turn
        forward = time.perf_counter() - began
        executor.turn()
        executor.seed(1.0)
        for bar in executor.y_bar:
            if bar is not None:
                bar[...] = 1.0
        began = time.perf_counter()
        executor.run(np.array([back], np.int64))
        reverse = time.perf_counter() - began
    return _Steps(forward / count, reverse / count)
