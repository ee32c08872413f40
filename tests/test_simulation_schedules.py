"""Every schedule that keeps to memory gives a simulation's gradient with the same bits, compiled and from Python."""

from __future__ import annotations

import numpy as np
import pytest
from derived import bits

import adjointsim as adj
from adjointsim import sweep
from adjointsim.errors import ArgumentError
from adjointsim.python_engine import PythonExecutor
from adjointsim.schedules import ADVANCE, RECORD, Binomial, Listed, Mixed, Online, Periodic, PeriodicDisk, TwoLevel
from adjointsim.schedules import actions as actions_of

Y0, P0 = np.array([0.3, -0.2, 0.9]), np.array([0.7, 1.1])


@adj.step
def swing(n, y, p):
    out = np.empty_like(y)
    out[0] = y[0] + 0.1 * y[1] + 0.001 * n * p[0]
    out[1] = y[1] - 0.1 * p[0] * np.sin(y[0])
    out[2] = y[2] * np.cos(p[1] * y[0])
    return out


def height(n, y, p):
    return y[2] * y[0] * p[1]


def end(y, p):
    return y[0] * y[0] + y[1] * y[2]


def ended(s: int, n: int) -> Listed:
    """What an online schedule does for a run that is found to end at y_n: on the way forward, all but the last step."""
    stream, rows = Online(s).stream(), np.empty((64, 4), np.int64)
    found: list[tuple[int, ...]] = []
    last = 0
    while last < n:
        for kind, a, b, slot in rows[: stream.forward(rows)].tolist():
            if kind == ADVANCE:
                last, b = b, min(b, n - 1)
            elif kind == RECORD:
                b = min(b, n)
            if a < b or (kind != ADVANCE and a < n):
                found.append((kind, a, b, slot))
    stream.stop(n)
    while count := stream.fill(rows):
        found += map(tuple, rows[:count].tolist())
    return Listed(n, s, found, name="online")


def schedules(n):
    yield from (Periodic(n), Periodic(n, period=2), Mixed(n, 3), Mixed(n, 2), ended(3, n), ended(5, n))
    yield from (Listed(n, 4, list(actions_of(Binomial(n, 4)))), TwoLevel(n, 3, 0), PeriodicDisk(n, 2, 0))


def simulation(n, **bounds):
    return adj.Simulation(swing, n, running=height, terminal=end, **bounds)


@pytest.mark.parametrize("python", [False, True], ids=["compiled", "python"])
def test_the_same_bits(python, monkeypatch):
    if python:
        monkeypatch.setattr(sweep, "executor_class", lambda step: PythonExecutor)
    for n in (1, 2, 3, 7, 20, 33):
        expected = bits(*simulation(n).value_and_grad(Y0, P0))
        for schedule in schedules(n):
            value, grad = simulation(n, schedule=schedule).value_and_grad(Y0, P0)
            assert bits(value, grad) == expected, schedule
            assert grad.ledger.forward_steps == schedule.forward_steps
            assert (grad.ledger.schedule, grad.ledger.vjp_steps) == (schedule.name, n)


def test_pullbacks_under_a_schedule():
    solution, pullback = simulation(20, schedule=Mixed(20, 3)).vjp(Y0, P0)
    first, again = pullback(), pullback()
    assert bits(solution.value, first) == bits(solution.value, again) == bits(*simulation(20).value_and_grad(Y0, P0))


def test_slots_on_a_disk_need_a_directory():
    for schedule in (TwoLevel(20, 2, 3), PeriodicDisk(20, 2, period=5)):
        with pytest.raises(ArgumentError, match="3 slots on a disk, but no directory="):
            simulation(20, schedule=schedule)


def test_an_online_schedule_is_for_runs_of_unknown_length():
    with pytest.raises(ArgumentError, match="online schedule without until="):
        simulation(20, schedule=Online(3))
