"""Steps that are tried before a run: nobody can tell, but for the schedule and the seconds that are predicted."""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
from derived import RODS, SWING, SWINGS, bits, rods, swinging
from models import P0, Y0
from models import bits as python_bits
from models import simulation as python_simulation

import adjointsim as adj
from adjointsim import calibration
from adjointsim.errors import ArgumentError
from adjointsim.schedules import Binomial, Periodic, StoreAll, TwoLevel
from adjointsim.storage import drawing, machine
from adjointsim.storage.staging import buffers

N = 150
ROD = np.array([0.03, 0.02, 0.07, 0.01, 0.05])  # small enough for as many steps


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Nothing is known at the beginning of a test."""
    monkeypatch.setattr(calibration, "_found", OrderedDict())


def say(monkeypatch, step, vjp, cache=10**6):
    """Fix what is measured from now on."""
    calibration._found.clear()
    monkeypatch.setattr(calibration, "_tried", lambda *args: calibration._Steps(step, vjp))
    for module in (machine, calibration):
        monkeypatch.setattr(module, "cache_bytes", lambda: cache)


MODELS = {
    "numbers": (swinging, SWING, SWINGS, bits),
    "array": (rods, ROD, RODS, bits),
    "python": (python_simulation, Y0, P0, lambda value, grad: np.array([value, *python_bits(grad)]).tobytes()),
}


@pytest.mark.parametrize("cache", [0, 6, 1000])
@pytest.mark.parametrize("step", [1e-9, 1e-3])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_in_every_budget(name, step, cache, tmp_path, monkeypatch):
    """Where so many states fit in the cache."""
    make, y0, p, all_bits = MODELS[name]
    expected = all_bits(*make(N).value_and_grad(y0, p))
    least = make(N, checkpoints=1).plan(y0, p)
    say(monkeypatch, step, 2 * step, least.working_bytes + cache * least.state_bytes)
    names = set()
    for slots in (1, 2, 3, 5, 9, 14, 20, 33, 60, 100, 149, 150, 400):
        for directory in (None, tmp_path):
            memory = least.working_bytes + (slots + buffers(least.state_bytes) * (directory is not None)) * least.state_bytes
            sim = make(N, memory=memory, directory=directory)
            plan = sim.plan(y0, p)
            value, grad = sim.value_and_grad(y0, p)
            ledger = grad.ledger
            assert all_bits(value, grad) == expected, (memory, plan)
            assert ledger.bytes_peak <= ledger.bytes_planned == plan.bytes <= memory
            assert (ledger.schedule, ledger.forward_steps) == (plan.schedule, plan.forward_steps)
            assert ledger.seconds_planned == plan.seconds > 0.0
            names.add(plan.schedule)
    assert {"store-all-disk", "periodic-disk"} <= names
    assert ({"segmented", "periodic"} if cache == 6 and step == 1e-9 else {"store-all", "binomial"}) <= names


def test_a_directory_and_room_for_all(tmp_path):
    _, grad = rods(N, directory=tmp_path).value_and_grad(ROD, RODS)
    ledger = grad.ledger
    assert (ledger.schedule, ledger.forward_steps, ledger.recomputed_steps) == ("store-all-disk", N, 0)
    assert (ledger.slots, ledger.disk_slots) == (N, 14)


# ----------------------------------------------------------------------------------------------------------------- measured
def test_what_is_measured():
    sim = rods(N, checkpoints=7)
    assert sim.value_and_grad(ROD, RODS)[1].ledger.seconds_planned is None, "where there is no choice nothing is tried"
    before = ROD.copy(), RODS.f.copy()
    plan = sim.plan(ROD, RODS)
    assert plan.seconds > 0.0 and "time " in str(plan)
    assert (ROD.tobytes(), RODS.f.tobytes()) == (before[0].tobytes(), before[1].tobytes())
    ledger = sim.value_and_grad(ROD, RODS)[1].ledger
    assert ledger.seconds_planned == plan.seconds and "planned" in str(ledger).splitlines()[-1]
    assert 0.0 < rods(N).run(ROD, RODS).ledger.seconds_planned < plan.seconds
    assert sim.hvp(ROD, RODS, ROD).ledger.seconds_planned is None, "another model"
    assert rods(99, checkpoints=7).plan(ROD, RODS).seconds is None, "too short"


class Counting:
    """A hand-written step that counts its calls."""

    def __init__(self):
        self.steps = self.vjps = 0

        def step(n, y, p):
            self.steps += 1
            return p * y

        def vjp(n, y, p, bar):
            self.vjps += 1
            return p * bar, float(np.sum(y * bar))

        self.step = adj.step(step, vjp=vjp, jit=False)


@pytest.mark.parametrize(("n", "most"), [(99, 0), (100, 4), (300, 12), (1000, 40), (3000, 120)])
def test_how_many_steps_are_tried(n, most, monkeypatch):
    monkeypatch.setattr(calibration, "_SECONDS", 100.0)  # as many as ever
    monkeypatch.setattr(machine, "cache_bytes", lambda: 20_000)
    monkeypatch.setattr(calibration, "cache_bytes", lambda: 20_000)
    made = Counting()
    sim = adj.Simulation(made.step, n, terminal=lambda y, p: np.sum(y * y), memory=70_000)
    y0 = np.full(100, 0.5)
    for tried in (most, 0):
        made.steps = made.vjps = 0
        ledger = sim.value_and_grad(y0, 0.9999)[1].ledger
        extra = made.steps - ledger.forward_steps, made.vjps - ledger.vjp_steps
        assert ledger.vjp_steps == n
        assert 0 <= extra[0] <= tried + 1 and 0 <= extra[1] <= tried // 2, "one more: the last step is replayed"
        assert extra[1] > 0 or not tried


def test_a_step_that_raises_does_so_in_the_run():
    def step(n, y, p):
        raise KeyError("mine")

    sim = adj.Simulation(adj.step(step, vjp=lambda n, y, p, b: (b, 0.0), jit=False), N, terminal=lambda y, p: y, memory=10_000)
    assert sim.plan(1.0, 2.0).seconds is None
    with pytest.raises(KeyError, match="mine") as caught:
        sim.value_and_grad(1.0, 2.0)
    assert caught.value.__notes__ == ["adjointsim: raised in step n=0 of 150 (forward sweep)"]


@pytest.mark.parametrize("bounds", [{"memory": 2000}, {"memory": 2000, "directory": True}, {"checkpoints": 3}, {}], ids=repr)
@pytest.mark.parametrize(("fails", "said"), [
    ("step", "step n=3 of 150 (forward sweep)"), ("vjp", "the VJP of step n=3 of 150 (reverse sweep)"),
])  # fmt: skip
def test_a_step_that_raises_has_its_usual_note(fails, said, bounds, tmp_path):
    """Whether it was tried before or not; and its times are measured when other parameters do not raise."""

    def checked(where, n, p):
        if where == fails and n == 3 and p > 1.0:
            raise KeyError("mine")

    def step(n, y, p):
        checked("step", n, p)
        return y * min(p, 1.0)

    def vjp(n, y, p, bar):
        checked("vjp", n, p)
        return bar * p, 0.0

    bounds = {**bounds, "directory": tmp_path} if "directory" in bounds else bounds
    sim = adj.Simulation(adj.step(step, vjp=vjp, jit=False), N, terminal=lambda y, p: np.sum(y), **bounds)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine") as caught:
            sim.value_and_grad(np.ones(3), 1.5)
        assert caught.value.__notes__ == [f"adjointsim: raised in {said}"] and caught.value.__context__ is None
    assert sim.plan(np.ones(3), 0.5).seconds > 0.0
    assert not any(tmp_path.iterdir())


def test_what_is_tried_does_not_warn():
    sim = adj.Simulation(adj.step(lambda n, y, p: y * y * p), N, terminal=lambda y, p: np.sum(y), memory=100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sim.plan(np.full(10, 1e300), 1e300).seconds > 0.0  # overflows at once


def test_pullbacks_keep_what_fits(monkeypatch):
    """A pullback may be called again, so that recomputing once would not do."""
    say(monkeypatch, 1e-9, 2e-9, 2000)
    sim = rods(N, memory="1MB")
    assert sim.plan(ROD, RODS).schedule == "periodic"
    solution, pullback = sim.vjp(ROD, RODS)
    assert solution.ledger.schedule == "store-all" and solution.ledger.seconds_planned is None
    assert pullback().ledger.vjp_steps == N


def test_threads_get_the_same_times():
    sim = rods(N, memory="3kB")
    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(lambda _: sim.plan(ROD, RODS), range(8)))
    assert len(calibration._found) == 1
    assert sim.plan(ROD, RODS) == plans[-1] and all(plan.seconds > 0.0 for plan in plans)


def test_a_step_with_a_simulation_of_its_own():
    """In a thread of its own, which must not wait for the step."""
    inner = rods(N, memory="3kB")

    def step(n, y, p):
        with ThreadPoolExecutor(1) as pool:
            value, _ = pool.submit(inner.value_and_grad, ROD, RODS).result()
        return p * y + 0.0 * value

    outer = adj.Simulation(adj.step(step, vjp=lambda n, y, p, b: (p * b, y * b), jit=False), 100, terminal=lambda y, p: y)
    assert outer.plan(1.0, 0.5).seconds > 0.0


# ---------------------------------------------------------------------------------------------------------------- the machine
def test_without_a_budget_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr("adjointsim.call._SMALL", 0)
    least = rods(N, checkpoints=1).plan(ROD, RODS)
    state, working = least.state_bytes, least.working_bytes
    monkeypatch.setattr(machine, "free_memory", lambda: 2 * (N * state + working))
    say(monkeypatch, 1e-9, 2e-9, working + 6 * state)
    assert rods(N).plan(ROD, RODS).of == StoreAll(N), "without a choice"
    assert rods(N, memory=10**6).plan(ROD, RODS).schedule == "periodic"
    say(monkeypatch, 1e-3, 2e-3, working + 6 * state)
    monkeypatch.setattr(machine, "free_memory", lambda: 2 * (20 * state + working))
    assert rods(N).plan(ROD, RODS).of == Binomial(N, 20)
    monkeypatch.setattr(machine, "free_memory", lambda: 0)
    sim = rods(N)
    assert sim.plan(ROD, RODS).of == Binomial(N, 1), "one state is tried"
    expected = rods(N, checkpoints=3).value_and_grad(ROD, RODS)
    assert bits(*sim.value_and_grad(ROD, RODS)) == bits(*expected)
    assert sim.run(ROD, RODS).value == expected[0]


def test_a_state_beyond_this_machine(monkeypatch):
    monkeypatch.setattr("adjointsim.call._SMALL", 0)
    monkeypatch.setattr(machine, "total_memory", lambda: 39)
    for sim in (rods(N), rods(N, checkpoints=2), rods(N, memory="1GB")):
        for verb in (sim.value_and_grad, sim.run, sim.plan, sim.vjp):
            with pytest.raises(ArgumentError, match="a state of 40 B .* the memory of this machine, 39 bytes: at least 40"):
                verb(ROD, RODS)
    monkeypatch.setattr(machine, "total_memory", lambda: 100)
    with pytest.raises(ArgumentError, match="100 bytes: at least .* .a state takes 40, the rest is the working set"):
        rods(N).value_and_grad(ROD, RODS)


def test_a_fraction(monkeypatch):
    monkeypatch.setattr("adjointsim.storage.budget.free_memory", lambda: 20_000)
    sim = rods(N, memory=0.1)
    assert sim.memory == 2000
    assert sim.value_and_grad(ROD, RODS)[1].ledger.bytes_peak <= 2000
    with pytest.raises(ArgumentError, match="memory=0.0"):
        rods(N, memory=0.0)


# ----------------------------------------------------------------------------------------------------------------- pictures
@pytest.mark.parametrize(
    "schedule",
    [StoreAll(30), Binomial(30, 4), Periodic(30), TwoLevel(30, 3, 4), StoreAll(0), Binomial(30_000, 5), StoreAll(10**9)],
    ids=repr,
)
def test_a_picture(schedule):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    ax = drawing.draw(schedule)
    assert ax.get_title().startswith(f"{schedule.name}, {schedule.n_steps} steps")
    assert ax.get_xlabel() and ax.get_ylabel() == "step n"
    ax.figure.canvas.draw()
    drawn = sum(len(lines.get_segments()) for lines in ax.collections)
    assert drawn <= drawing._MOST and (drawn > 0 or not schedule.n_steps)
    pyplot.close(ax.figure)


def test_a_plan_is_drawn_on_axes_that_are_given():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    assert rods(N, checkpoints=7).plan(ROD, RODS).plot(ax) is ax
    assert len(ax.collections) == 2 and len(figure.axes) == 2
    pyplot.close(figure)


def test_what_is_drawn():
    rows, every, whole = drawing.track(Binomial(40, 4))
    assert (every, whole) == (1, True)
    assert rows[-1, 1] == Binomial(40, 4).forward_steps + 40 and rows[:, 5].max() == 4 and rows[-1, 5] == 0
    rows = drawing.track(TwoLevel(30, 3, 4)).rows
    assert (rows[:, 5].max(), rows[:, 6].max()) == (3, 4) and not rows[-1, 5:].any()
    rows, every, whole = drawing.track(Binomial(30_000, 5), 100)
    assert 50 <= len(rows) <= 100 and every > 100 and whole
    assert drawing.track(StoreAll(10**9)).rows[0, 5] == -1, "too many slots to be counted"
    assert not len(drawing.track(StoreAll(0)).rows)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(adj.errors.MissingExtraError, match=r"adjointsim\[plot\]"):
        drawing.draw(StoreAll(3))
