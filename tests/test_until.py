"""Runs of unknown length: ``until(n, y, p)`` ends them, and everything is as if their length had been named."""

from __future__ import annotations

import numpy as np
import pytest
from derived import (
    ROD,
    RODS,
    SWING,
    SWINGS,
    bits,
    numbers,
    rod,
    rod_misfit,
    rod_observe,
    rod_running,
    rod_terminal,
    swing,
    swing_misfit,
    swing_observe,
    swing_running,
    swing_terminal,
)
from models import P0, Y0, misfit, observe, running, stepper, terminal

import adjointsim as adj
from adjointsim.errors import ArgumentError, NonFiniteError, StructureError
from adjointsim.schedules import G, Online, P, StoreAll

BOUND, TIMES = 45, [0, 1, 1, 6, 7, 20, 44, 45]


def label_steps(n, y, p):
    return n >= p.label


def force_steps(n, u, p):
    return 100.0 * p.f[4] <= n and len(u) == 5


def k_steps(n, y, p):
    return n == p.k


def rods_for(n):
    """Parameters with which a rod's run ends at y_n."""
    return RODS._replace(f=np.array([0.3, -0.1, 0.2, 0.15, 0.01 * n - 1e-9]))


#: step, its costs, what ends it, y0, and parameters with which it ends at y_n
MODELS = {
    "numbers": (swing, (swing_running, swing_terminal, swing_observe, swing_misfit), label_steps, SWING,
                lambda n: SWINGS._replace(label=n)),
    "array": (rod, (rod_running, rod_terminal, rod_observe, rod_misfit), force_steps, ROD, rods_for),
    "python": (stepper, (running, terminal, observe, misfit), k_steps, Y0, lambda n: P0._replace(k=n)),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def model(request):
    """(simulation to a bound or of n steps, y0, parameters for n steps)."""
    step, (run, end, see, fit), until, y0, p = MODELS[request.param]
    costs = {"running": run, "terminal": end, "observe": see, "misfit": fit}

    def make(n=None, **options):
        if n is not None:
            return adj.Simulation(step, n, **costs, observe_at=[k for k in TIMES if k <= n], **options)
        return adj.Simulation(step, BOUND, **costs, observe_at=TIMES, until=until, **options)

    return make, y0, p


def all_numbers(solution):
    return numbers(solution.y, solution.observations, solution.value).tobytes()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 43])
def test_as_if_the_length_were_known(model, n):
    make, y0, p = model[0], model[1], model[2](n)
    expected = bits(*make(n).value_and_grad(y0, p))
    for options in ({}, *({"checkpoints": s} for s in (1, 2, 3, 5, 9, 44, 100)), {"memory": "10kB"}):
        value, grad = make(**options).value_and_grad(y0, p)
        assert bits(value, grad) == expected, options
        ledger = grad.ledger
        assert (ledger.n_steps, ledger.vjp_steps) == (n, n)
        if s := options.get("checkpoints"):
            assert ledger.slots == min(s, BOUND) and ledger.forward_steps <= 1.12 * G(n, s)
    assert all_numbers(make().run(y0, p)) == all_numbers(make(n).run(y0, p))


def test_every_end(model):
    make, y0, p = model
    for n in range(1, 30):
        expected = bits(*make(n).value_and_grad(y0, p(n)))
        assert bits(*make(checkpoints=3).value_and_grad(y0, p(n))) == expected, n


def test_steps_run_at_few_slots(model):
    """As few as a known length needs, but for what the end costs, up to beta(s, 2) (Stumm & Walther)."""
    make, y0, p = model
    for n in (5, 14, 20):
        found = make(checkpoints=5).value_and_grad(y0, p(n))[1].ledger
        assert P(n, 5) <= found.forward_steps <= P(n + 1, 5), n
        assert found.recomputed_steps == found.forward_steps - (n - 1)


def test_other_verbs(model):
    make, y0, p = model
    n = 20
    known, unknown = make(n), make(checkpoints=4)
    solution, pullback = unknown.vjp(y0, p(n))
    other, expected = known.vjp(y0, p(n))
    assert all_numbers(solution) == all_numbers(other)
    for _ in range(3):
        assert bits(0.0, pullback()) == bits(0.0, expected())
        assert bits(0.0, pullback(y_bar=y0)) == bits(0.0, expected(y_bar=y0))
    if unknown.step is stepper:
        return
    ours, ours_dot = unknown.jvp(y0, p(n), y0, p(n))
    theirs, theirs_dot = known.jvp(y0, p(n), y0, p(n))
    assert all_numbers(ours) == all_numbers(theirs) and all_numbers(ours_dot) == all_numbers(theirs_dot)
    assert ours.ledger.n_steps == n
    if unknown.step is swing:  # (the other takes long to compile)
        assert bits(0.0, unknown.hvp(y0, p(n), y0, p(n))) == bits(0.0, known.hvp(y0, p(n), y0, p(n)))
    for mode in ("reverse", "forward") if unknown.step is swing else ("reverse",):
        for name in ("y0", "p"):
            ours, theirs = (numbers(sim.jacobian(y0, p(n), name, mode)) for sim in (unknown, known))
            assert ours.tobytes() == theirs.tobytes() and ours.size


def test_an_online_schedule_is_so_many_slots(model):
    make, y0, p = model
    named, counted = (make(**{k: v}).value_and_grad(y0, p(20)) for k, v in (("schedule", Online(4)), ("checkpoints", 4)))
    assert bits(*named) == bits(*counted)
    assert named[1].ledger.forward_steps == counted[1].ledger.forward_steps and named[1].ledger.slots == 4


def test_until_what_is_computed():
    """Decay to a threshold: n = ceil(log(0.01) / log(0.9)) steps, whose value is y0 0.9**n."""

    @adj.step
    def decay(n, y, p):
        return y * p

    sim = adj.Simulation(decay, 10_000, terminal=lambda y, p: y, until=lambda n, y, p: y < 0.01, checkpoints=4)
    value, grad = sim.value_and_grad(1.0, 0.9)
    n = int(np.ceil(np.log(0.01) / np.log(0.9)))
    assert grad.ledger.n_steps == n == sim.run(1.0, 0.9).ledger.n_steps
    assert value == pytest.approx(0.9**n, rel=1e-13)
    assert grad.y0 == pytest.approx(0.9**n, rel=1e-13) and grad.p == pytest.approx(n * 0.9 ** (n - 1), rel=1e-13)


def test_an_end_that_never_comes(model):
    make, y0, p = model
    for sim in (make(), make(checkpoints=2)):
        for verb in ("run", "value_and_grad"):
            with pytest.raises(ArgumentError, match=f"until= that did not end the run within n_steps={BOUND} steps"):
                getattr(sim, verb)(y0, p(100))
    if make().step is not stepper:
        with pytest.raises(ArgumentError, match="did not end the run"):
            make().jvp(y0, p(100), y0, p(100))


def test_not_a_step_beyond_the_bound(model):
    """Of no steps at all: even the first one would be."""
    step, _, until, y0, p = next(m for m in MODELS.values() if m[0] is model[0]().step)
    end = terminal if step is stepper else rod_terminal if step is rod else swing_terminal
    sim = adj.Simulation(step, 0, terminal=end, until=until)
    for verb in ("run", "value_and_grad", "vjp"):
        with pytest.raises(ArgumentError, match="did not end the run within n_steps=0 steps"):
            getattr(sim, verb)(y0, p(0))


def test_an_end_at_the_bound(model):
    make, y0, p = model
    for options in ({}, {"checkpoints": 2}):
        assert bits(*make(**options).value_and_grad(y0, p(BOUND))) == bits(*make(BOUND).value_and_grad(y0, p(BOUND)))


def writing(n, u, p):
    u[0] = 0.0
    return n > 3


def test_what_until_cannot_be():
    for until, error, said in (
        (3, StructureError, "until as a int"),
        (lambda n, u, p: u[0], StructureError, "from until, but expected a bool"),
        (writing, Exception, "u"),
    ):
        with pytest.raises(error, match=said):
            adj.Simulation(rod, 9, terminal=rod_terminal, until=until).value_and_grad(ROD, RODS)
    with pytest.raises(ArgumentError, match="until= and schedule='store-all', whose actions are for 9 steps"):
        adj.Simulation(rod, 9, terminal=rod_terminal, until=force_steps, schedule=StoreAll(9))
    with pytest.raises(ArgumentError, match="n_max=8, but expected at least n_steps=9"):
        adj.Simulation(rod, 9, terminal=rod_terminal, until=force_steps, schedule=Online(3, 8))


def test_nan_is_found_where_it_began():
    @adj.step
    def blow(n, y, p):
        return y * y * p

    sim = adj.Simulation(blow, 1000, terminal=lambda y, p: y, until=lambda n, y, p: n == 40, checkpoints=3)
    with pytest.raises(NonFiniteError, match="in step n=9 of 40") as caught:
        sim.value_and_grad(2.0, 2.0)
    assert caught.value.step == 9
