"""Arrays that steps keep beside their states for the way back: the same bits with and without, whatever the schedule."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim import call
from adjointsim.call import Call
from adjointsim.derive.verify import verify
from adjointsim.kit import kit_of
from adjointsim.schedules import Binomial, Periodic, Segmented, StoreAll
from adjointsim.storage import Times, machine

M = 9


class Rod(NamedTuple):
    k: np.ndarray
    slope: float


def thomas(n, u, p):
    m = len(u)
    face = np.zeros(m + 1)
    for i in range(1, m):
        face[i] = p.k[i] * (1.0 + p.slope * (u[i - 1] + u[i]))
    c, d, out = np.empty(m), np.zeros(m), np.empty(m)
    w = 1.0 / (1.0 + face[1])
    c[0], d[0] = -face[1] * w, u[0] * w
    for i in range(1, m):
        w = 1.0 / (1.0 + face[i] + face[i + 1] + face[i] * c[i - 1])
        c[i] = -face[i + 1] * w
        d[i] = (u[i] + face[i] * d[i - 1]) * w
    out[m - 1] = d[m - 1]
    for i in range(m - 2, -1, -1):
        out[i] = d[i] - c[i] * out[i + 1]
    return out


def cholesky(n, u, p):
    """Roots in the chain, and an array longer than the state; what is last in a row matters at every step."""
    m = len(u)
    g = np.zeros(m + 2)
    g[0] = 1.0 + p.slope * p.slope
    for i in range(1, m + 2):
        g[i] = np.sqrt(2.0 + p.slope * u[i % m] * u[i % m] + 0.1 * g[i - 1])
    out = np.empty(m)
    for i in range(m):
        out[i] = 0.1 * n * p.k[i] / m + u[i] * g[i] / (1.0 + g[i + 2])
    return out


def turned(n, u, p):
    """A state that the next one overwrites in place, and a branch in the chain."""
    m = len(u)
    c = np.empty(m)
    c[0] = p.slope
    for i in range(1, m):
        if u[i] > 0.3:
            c[i] = p.k[i] / (2.0 + c[i - 1])
        else:
            c[i] = 0.5 * c[i - 1]
    for i in range(m):
        u[i] = 0.9 * u[i] + c[i] * c[i] * u[i]
    return u


def inexact(n, u, p):
    """What the chain starts from is not the same bits wherever it is compiled."""
    m = len(u)
    c, out = np.empty(m), np.empty(m)
    c[0] = p.slope
    for i in range(1, m):
        c[i] = np.exp(p.k[i]) / (2.0 + c[i - 1])
    for i in range(m):
        out[i] = u[i] * c[i] * c[i]
    return out


def plain(n, u, p):
    """No division waits for another one."""
    m = len(u)
    c, out = np.empty(m), np.empty(m)
    c[0] = p.slope
    for i in range(1, m):
        c[i] = p.k[i] * c[i - 1] + 1.0 / (2.0 + u[i])
    for i in range(m):
        out[i] = u[i] * c[i] * c[i]
    return out


def reused(n, u, p):
    """The way back of the first use needs what the second one has overwritten."""
    m = len(u)
    c, out = np.empty(m), np.empty(m)
    c[0] = p.slope
    for i in range(1, m):
        c[i] = p.k[i] / (2.0 + c[i - 1])
    for i in range(m):
        out[i] = u[i] * c[i] * c[i]
    for i in range(1, m):
        c[i] = p.k[i] / (3.0 + out[i] * c[i - 1])
    for i in range(m):
        out[i] = out[i] + 0.1 * c[i] * c[i]
    return out


def cleared(n, u, p):
    """What the way back reads is overwritten with numbers at the end."""
    m = len(u)
    c, out = np.empty(m), np.empty(m)
    c[0] = p.slope
    for i in range(1, m):
        c[i] = p.k[i] / (2.0 + c[i - 1])
    for i in range(m):
        out[i] = u[i] * c[i] * c[i]
    for i in range(m):
        c[i] = 0.0
    c[2] = 1.0
    return out


def beside(n, u, p):
    """One outside of it, which is kept, and one inside, which is not."""
    m = len(u)
    g = np.empty(m)
    g[0] = p.slope
    for i in range(1, m):
        g[i] = p.k[i] / (2.0 + g[i - 1] * u[i])
    out = u * g
    if n % 3 != 1:
        c = out.copy()
        for i in range(1, m):
            c[i] = c[i] * out[i - 1]
        for i in range(m):
            out[i] = c[i] * c[i] + g[i]
            c[i] = out[i] * 0.5
        for i in range(m):
            out[i] += c[i] * c[i]
    return out


def branched(n, u, p):
    """The same inside of a branch, which is not looked through."""
    out = u.copy()
    if n % 2 == 0:
        out = reused(n, u, p)
    return out


class Pair(NamedTuple):
    now: np.ndarray
    before: np.ndarray
    t: float


def handed(n, y, p):
    """A leaf that is handed on, and a number."""
    m = len(y.now)
    c, new = np.empty(m), np.empty(m)
    c[0] = p.slope * y.t
    for i in range(1, m):
        c[i] = p.k[i] / (2.0 + c[i - 1] * y.now[i])
    for i in range(m):
        new[i] = 1.5 * y.now[i] * c[i] - 0.6 * y.before[i] * c[i]
    return Pair(new, y.now, y.t * 0.9)


def cost(u, p):
    total = 0.0
    for i in range(len(u)):
        total += (1.0 + 0.1 * i) * u[i] * u[i]
    return total


def cost_of_pair(y, p):
    return cost(y.now, p) + y.t


def running(n, u, p):
    return 0.01 * u[0] * u[1] * (n + 1)


def some(n, u, p):
    return u[:3]


def product(k, seen, p):
    return seen[1] * seen[2] * (k + 1)


U0 = 1.0 + 0.5 * np.sin(1.3 * np.arange(M))
ROD = Rod(1.0 + 0.3 * np.cos(0.9 * np.arange(M)), 0.2)
KEPT = {"thomas": 2, "cholesky": 1, "turned": 1, "handed": 1, "beside": 1}
STEPS = [thomas, cholesky, turned, inexact, plain, reused, handed, cleared, branched, beside]


def start(fn):
    return Pair(U0, U0 - 0.1, 0.7) if fn is handed else U0


def simulation(fn, n=12, **options):
    given = {"terminal": cost_of_pair if fn is handed else cost} | options
    return adj.Simulation(adj.step(fn), n, **given)


def bits(found):
    value, grad = found
    y0 = list(grad.y0) if isinstance(grad.y0, tuple) else [grad.y0]
    return [value, *(x for leaf in y0 for x in np.ravel(leaf)), *grad.p.k, grad.p.slope]


@dataclass(frozen=True)
class _Kept(StoreAll):
    """Kept, and not one run: nobody proves that steps are run where they are recorded."""

    one_run: ClassVar[bool] = False


class KeptBinomial(Binomial):
    keeps = True


def kept_of(sim, fn):
    return kit_of(Call(sim, start(fn), ROD).problem, True).step.keepable


@pytest.mark.parametrize("fn", STEPS, ids=lambda fn: fn.__name__)
def test_what_is_kept(fn):
    sim = simulation(fn, 50)
    plan = sim.plan(start(fn), ROD)
    assert kept_of(sim, fn) == (fn.__name__ in KEPT) == plan.of.keeps
    if plan.of.keeps:
        kit = kit_of(Call(sim, start(fn), ROD).problem, True, True)
        assert kit.step.kept == KEPT[fn.__name__]
        for compiled in kit.kernels.values():
            verify(compiled.kernel.fn, {f.name: f for f in compiled.kernel.functions})


@pytest.mark.parametrize("fn", STEPS, ids=lambda fn: fn.__name__)
def test_the_same_bits_whatever_is_kept(fn):
    for n in (1, 2, 13, 70):
        costs = {"running": running, "observe": some, "observe_at": [0, n // 2, n], "misfit": product} if fn is thomas else {}
        expected = bits(simulation(fn, n, schedule=StoreAll(n), **costs).value_and_grad(start(fn), ROD))
        assert all(map(np.isfinite, expected))
        several = [{}, {"memory": "1MB"}, {"checkpoints": 2}, {"checkpoints": 5}, {"progress": lambda *a: None}]
        several += [{"threads": 2}] * (fn is cholesky)
        segments = Periodic(n, period=4, keeps=True), Segmented(n, 6, 4, True)
        several += [{"schedule": s} for s in (StoreAll(n, True), _Kept(n, True), KeptBinomial(n, 3), *segments)]
        for options in several:
            assert bits(simulation(fn, n, **costs, **options).value_and_grad(start(fn), ROD)) == expected, options


@pytest.mark.parametrize("fn", STEPS, ids=lambda fn: fn.__name__)
def test_gradients(fn):
    adj.testing.check_gradient(simulation(fn), start(fn), ROD)


def test_against_a_dense_solution():
    """A rod whose conductivity does not depend on the temperature: u_N = A^-N u_0."""
    rod, n = Rod(ROD.k, 0.0), 12
    matrix = np.eye(M)
    for i in range(1, M):
        matrix[i - 1 : i + 1, i - 1 : i + 1] += rod.k[i] * np.array([[1.0, -1.0], [-1.0, 1.0]])
    power = np.linalg.matrix_power(np.linalg.inv(matrix), n)
    _, grad = simulation(thomas, n).value_and_grad(U0, rod)
    np.testing.assert_allclose(grad.y0, power.T @ (2.0 * (1.0 + 0.1 * np.arange(M)) * (power @ U0)), rtol=1e-12)


def test_the_budget_is_kept():
    n = 200
    least = simulation(thomas, n, schedule=StoreAll(n)).plan(U0, ROD)
    most = simulation(thomas, n).plan(U0, ROD)
    assert most.bytes > least.bytes + n * 2 * M * 8 - 10 * M * 8
    expected = bits(simulation(thomas, n).value_and_grad(U0, ROD))
    for memory, name, keeps in (
        (most.bytes, "store-all", True), (most.bytes - 1, "store-all", False), (least.bytes, "store-all", False),
        (least.bytes - 1, "binomial", False),
    ):  # fmt: skip
        sim = simulation(thomas, n, memory=memory)
        plan = sim.plan(U0, ROD)
        assert (plan.schedule, plan.of.keeps) == (name, keeps)
        found = sim.value_and_grad(U0, ROD)
        ledger = found[1].ledger
        assert ledger.bytes_planned == plan.bytes == ledger.bytes_peak <= memory
        assert bits(found) == expected


@pytest.mark.parametrize("schedule", [Periodic(200, period=20, keeps=True), Segmented(200, 25, 15, True)])
def test_segments_keep_what_they_can(schedule):
    """They take what was planned, and run each step as often as without."""
    sim = simulation(thomas, 200, schedule=schedule)
    plan = sim.plan(U0, ROD)
    assert plan.state_bytes == simulation(thomas, 200, schedule=StoreAll(200)).plan(U0, ROD).state_bytes + 2 * M * 8 + 8
    found = sim.value_and_grad(U0, ROD)
    ledger = found[1].ledger
    assert ledger.bytes_planned == plan.bytes == ledger.bytes_peak
    assert ledger.forward_steps == schedule.forward_steps == type(schedule)(200, schedule.slots, schedule.period).forward_steps
    assert bits(found) == bits(simulation(thomas, 200).value_and_grad(U0, ROD))


def test_a_budget_for_segments_that_keep(monkeypatch):
    """Where times are known and what steps keep saves more than it costs in slots."""
    n, asked = 20_000, []
    monkeypatch.setattr(call.machine, "cache_bytes", lambda: 2**15)
    monkeypatch.setattr(call, "measured_times", lambda *args: asked.append(args[-1]) or Times(1.0, 3.0, cache=2**15))
    sim = simulation(thomas, n, memory=n * M * 8 // 20)
    plan = sim.plan(U0, ROD)
    assert plan.of.keeps and plan.schedule in ("periodic", "segmented") and plan.bytes <= n * M * 8 // 20
    found = sim.value_and_grad(U0, ROD)
    ledger = found[1].ledger
    assert ledger.bytes_planned == plan.bytes == ledger.bytes_peak and asked
    assert bits(found) == bits(simulation(thomas, n).value_and_grad(U0, ROD))


def test_nothing_is_kept_without_room_for_it(monkeypatch):
    """Of a run that nobody bounds, too: what a step computes may be much more than its state."""
    monkeypatch.setattr(call, "_SMALL", 0)  # else nobody looks how much is free
    sim = simulation(thomas, 50)
    plan = sim.plan(U0, ROD)
    for room, keeps in ((plan.bytes, True), (plan.bytes - 1, False)):
        sim = simulation(thomas, 50)
        sim.__dict__["half_of_free"] = room
        assert sim.plan(U0, ROD).of.keeps == keeps == Call(sim, U0, ROD).may_keep


def test_small_runs_do_not_look_how_much_is_free(monkeypatch):
    """That takes longer than they do."""
    monkeypatch.setattr(machine, "free_memory", lambda: pytest.fail("asked"))
    sim = simulation(thomas, 50)
    assert Call(sim, U0, ROD).may_keep and sim.plan(U0, ROD).of.keeps
    sim.value_and_grad(U0, ROD)


def test_other_numbers_in_the_same_memory():
    """What was kept for other parameters is not taken for these."""
    sim, alone = simulation(thomas), simulation(thomas, schedule=StoreAll(12))
    for slope in (0.2, 0.3, 0.0, 0.2):
        rod = Rod(ROD.k, slope)
        for u0 in (U0, 2.0 * U0):
            assert bits(sim.value_and_grad(u0, rod)) == bits(alone.value_and_grad(u0, rod))


def test_pullbacks_and_jacobians():
    n = 20
    costs = {"observe": some, "observe_at": [3, 11, n]}
    kept, others = (simulation(thomas, n, **costs, **more) for more in ({}, {"checkpoints": 3}))
    solution, pullback = kept.vjp(U0, ROD)
    bars = np.cos(np.arange(9.0)).reshape(3, 3)
    expected = others.vjp(U0, ROD)[1](observations_bar=bars)
    for _ in range(2):
        found = pullback(observations_bar=bars)
        assert np.array_equal(found.y0, expected.y0) and np.array_equal(found.p.k, expected.p.k)
    modes = [sim.jacobian(U0, ROD, "p.k", mode="reverse") for sim in (kept, others)]
    assert np.array_equal(*modes)
    hvp = [sim.hvp(U0, ROD, U0, ROD).y0 for sim in (kept, others)]
    assert np.array_equal(*hvp)


def test_lengths_that_depend_on_numbers_are_not_kept():
    def counted(n, u, p):
        m = len(u) + int(p[0])
        c, out = np.empty(m), np.empty_like(u)
        c[0] = p[0]
        for i in range(1, m):
            c[i] = p[1] / (2.0 + c[i - 1])
        for i in range(len(u)):
            out[i] = u[i] * c[i] * c[m - 1]
        return out

    p = np.array([2.5, 0.7])
    sim = adj.Simulation(adj.step(counted), 9, terminal=lambda u, p: u[0] * u[1])
    assert not sim.plan(U0, p).of.keeps
    adj.testing.check_gradient(sim, U0, p)


def test_rows_go_with_their_executor():
    call = Call(simulation(thomas), U0, ROD)
    executor = call.executor(12, True, True)
    gone = weakref.ref(executor)
    del executor
    assert gone() is None
