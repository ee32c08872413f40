"""A picture of a schedule."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from adjointsim.errors import MissingExtraError
from adjointsim.schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE, Schedule

__all__ = ["Track", "draw", "track"]

_MOST = 4000  # actions that are drawn
_WORK = 10**9  # actions and slots that are looked at: a second or two
_HELD = 10**7  # slots that are followed
_COLUMNS = 7
_FEW = 300  # actions whose marks can be told apart


class Track(NamedTuple):
    """Some of a schedule's actions, in their order: a row for each in ``rows``, an int64 array.

    The columns: the steps run and reversed before it and after it; its kind, a and b; the slots in memory and on the disk that
    hold the state of a step that is still to be reversed.  ``whole`` says whether they are from all of the schedule, and
    ``every`` which part of the actions they are.  Slots are not counted (-1) if there are more than ten million.
    """

    rows: np.ndarray
    every: int
    whole: bool


# Where things are in the kernel's state.
_LEFT, _IN_MEMORY, _ON_DISK, _SEEN, _EVERY, _KEPT, _CLOCK, _SPENT = range(8)


@njit(cache=True)
def _put(state: np.ndarray, held: np.ndarray, memory: int, slot: int, n: int) -> None:
    """A state into a slot; -1: out of it."""
    tier = _IN_MEMORY if slot < memory else _ON_DISK
    state[tier] += int(n >= 0) - int(held[slot] >= 0)
    held[slot] = n


@njit(cache=True)
def _follow(rows: np.ndarray, held: np.ndarray, memory: int, state: np.ndarray, out: np.ndarray) -> None:
    """Carry out actions on step numbers, and keep every so manieth; twice as few when ``out`` is full."""
    for row in range(rows.shape[0]):
        kind, a, b, slot = rows[row]
        begin = state[_CLOCK]
        if kind in (ADVANCE, REVERSE):
            state[_CLOCK] += b - a
        elif kind == RECORD:
            state[_CLOCK] += b - a - 1
        state[_SPENT] += 1
        if held.size:
            if kind == STORE:
                _put(state, held, memory, slot, a)
            elif kind == RECORD:
                for n in range(a, b):
                    _put(state, held, memory, slot + n - a, n)
                state[_SPENT] += b - a
            elif kind == REVERSE:
                for k in range(held.size):
                    if held[k] >= a:
                        _put(state, held, memory, k, -1)
                state[_SPENT] += held.size
        if kind == REVERSE:
            state[_LEFT] = a
        if state[_SEEN] % state[_EVERY] == 0:
            if state[_KEPT] == out.shape[0]:
                state[_KEPT] = out.shape[0] // 2
                for k in range(state[_KEPT]):
                    out[k] = out[2 * k]
                state[_EVERY] *= 2
            if state[_SEEN] % state[_EVERY] == 0:
                kept = out[state[_KEPT]]
                kept[0], kept[1], kept[2], kept[3], kept[4] = begin, state[_CLOCK], kind, a, b
                kept[5], kept[6] = state[_IN_MEMORY], state[_ON_DISK]
                state[_KEPT] += 1
        state[_SEEN] += 1


def track(schedule: Schedule, most: int = _MOST) -> Track:
    """At most so many actions of a schedule, an even number; of a long one they are every second, fourth and so on."""
    followed = schedule.slots <= _HELD
    held = np.full(schedule.slots if followed else 0, -1, np.int64)
    state = np.zeros(8, np.int64)
    state[_LEFT], state[_EVERY] = schedule.n_steps, 1
    state[_IN_MEMORY : _ON_DISK + 1] = 0 if followed else -1
    stream, rows, out = schedule.stream(), np.empty((4096, 4), np.int64), np.empty((most, _COLUMNS), np.int64)
    while state[_SPENT] < _WORK and (count := stream.fill(rows)):
        _follow(rows[:count], held, schedule.slots - schedule.disk_slots, state, out)
    return Track(out[: state[_KEPT]].copy(), int(state[_EVERY]), bool(state[_LEFT] == 0))


def draw(schedule: Schedule, ax: Any = None) -> Any:
    """Draw a schedule on matplotlib axes, and return them (see :meth:`.plan.Plan.plot`)."""
    try:
        from matplotlib import pyplot
        from matplotlib.collections import LineCollection
    except ImportError:
        raise MissingExtraError("matplotlib", "plot") from None
    if ax is None:
        ax = pyplot.subplots(figsize=(9.0, 5.0), layout="constrained")[1]
    rows, every, whole = track(schedule)
    begin, end, kind, a, b, memory, disk = rows.T
    for label, colour, kinds in (("run", "tab:blue", (ADVANCE, RECORD)), ("reversed", "tab:red", (REVERSE,))):
        chosen = np.isin(kind, kinds)
        x, y = np.stack([begin, end], 1)[chosen], np.stack([a, b], 1)[chosen]
        lines = LineCollection(list(np.stack([x, y[:, ::-1] if label == "reversed" else y], 2)), colors=colour, label=label)
        ax.add_collection(lines)
    size = 5.0 if len(rows) < _FEW else 1.0
    for label, marker, what in (("stored", "|", STORE), ("loaded", "_", LOAD)):
        ax.plot(begin[kind == what], a[kind == what], marker, color="black", markersize=size, label=label)
    ax.set_xlim(0, max(int(end.max(initial=1)), 1))
    ax.set_ylim(0, max(schedule.n_steps, 1))
    ax.set_xlabel("steps run and reversed" + ("" if whole else " (the first part)"))
    ax.set_ylabel("step n")
    thinned = f", every {every}th action" if every > 1 else ""
    ax.set_title(f"{schedule.name}, {schedule.n_steps} steps{thinned}")
    if len(rows) and memory[0] >= 0:
        right = ax.twinx()
        right.step(end, memory, where="post", color="tab:green", linewidth=0.8, alpha=0.6, label="slots in memory")
        if schedule.disk_slots:
            right.step(end, disk, where="post", color="tab:orange", linewidth=0.8, label="slots on the disk")
        right.set_ylim(bottom=0)
        right.set_ylabel("slots in use")
        right.legend(loc="upper right")
    ax.legend(loc="upper left")
    return ax
