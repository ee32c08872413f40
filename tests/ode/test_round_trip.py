"""Gradients of short integrations in one call of compiled code: the bits and the words of those by themselves."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.ode import round_trip
from adjointsim.ode.round_trip import RoundTrip

TIMES = np.array([0.5, 1.0, 2.0])
DATA = np.array([[1.0, 2.0], [0.5, 1.5], [0.2, 1.0]])
FACTOR = 1.0


class Pair(NamedTuple):
    a: float
    b: np.ndarray


class Rates(NamedTuple):
    k: float
    b: np.ndarray
    n: int  # rides along


def absorbed(t, y, p):
    return np.array([-p[0] * y[0], FACTOR * (p[0] * y[0] - p[1] * y[1])])


def slower(t, y, p):
    return np.array([-p[0] * y[0] * y[1], p[0] * y[0] - p[1] * y[1]])


def last_of_array(y, p):
    return y[0] * p[1]


def off(k, seen, p):
    return np.sum((seen - DATA[k]) ** 2)


def switched(t, y, p):
    return Pair(p.k * (1.0 if t < 1.0 else 2.0) - y.a, -y.b * y.a + p.b * p.n)


def squared(t, y, p):
    return y.a**2


def last(y, p):
    return y.a + np.sum(y.b) * p.k


def dose(t, y, p):
    return Pair(y.a + p.b[0], y.b)


class Two(NamedTuple):
    a: float
    b: float


def swinging(t, y, p):
    return Two(np.sin(y.b) * p.k, -y.a * np.exp(-p.b[0] * y.b) + p.b[1] * (1.0 if t < 1.0 else 2.0))


def squared_too(t, y, p):
    return y.a * y.b


def last_of_two(y, p):
    return y.a * p.k


def doubled(t, y, p):
    return Two(y.a + p.b[0], 2.0 * y.b)


def explosive(t, y, p):
    return p * y * y


def itself(y, p):
    return y


def picky(t, y, p):
    if p < 0.0:
        raise ValueError("p below 0")
    return -p * y


def picky_at_the_end(y, p):
    if p < 0.0:
        raise ValueError("p below 0 at the end")
    return y


@pytest.fixture
def soon(monkeypatch):
    """From the second call on."""
    monkeypatch.setattr(round_trip, "_WORTH", 0.0)
    monkeypatch.setattr(round_trip, "LONG", np.inf)


@pytest.fixture
def trips(monkeypatch):
    """What round trips gave."""
    found, run = [], RoundTrip.run
    monkeypatch.setattr(RoundTrip, "run", lambda *args: found.append(run(*args)) or found[-1])
    return found


def told(value, gradient):
    """All numbers, but for the time that it took."""
    ledger = gradient.ledger
    counts = [getattr(ledger, name) for name in ("forward_steps", "vjp_steps", "slots", "schedule", "recomputed_steps")]
    return repr((value, gradient.y0, gradient.p, *counts))


def numbers(value, gradient):
    """The same without what was done for it."""
    return repr((value, gradient.y0, gradient.p))


def bits_of(found):
    return found[0], found[1].y0.tobytes(), found[1].p.tobytes()


def simple(**options):
    return adj.ODE(absorbed, TIMES, t0=0.0, **{"misfit": off, "rtol": 1e-8, "atol": 1e-10} | options)


Y0, P = np.array([3.0, 0.5]), np.array([0.7, 0.3])
MIXED = Pair(0.3, np.array([1.0, 2.0])), Rates(0.5, np.array([0.1, -0.2]), 3)


def mixed(**options):
    jumps = (adj.Jump([0.0, 0.7], dose),)
    return adj.ODE(
        switched, TIMES, t0=0.0, running=squared, terminal=last, jumps=jumps, discontinuities=[1.0], rtol=1e-7, **options
    )


NUMBERS = Two(0.3, 0.7), MIXED[1]


def of_numbers(**options):
    """What is kept of steps that begin or end with a jump, and of steps that do not; a cost that is integrated."""
    jumps = (adj.Jump([0.0, 0.7, 1.0, 2.0], doubled),)
    costs = {"running": squared_too, "terminal": last_of_two}
    return adj.ODE(swinging, TIMES, t0=0.0, jumps=jumps, discontinuities=[1.0], rtol=1e-7, **costs, **options)


@pytest.mark.parametrize(("method", "kept"), [("bosh3", True), ("dop853", False)])
def test_what_methods_keep(soon, trips, method, kept):
    """The integration writes down the states, and what is kept beside them: the bits are those of a gradient that keeps nothing.
    (Steps of many stages are functions that steps call: of these nothing is kept.)"""
    ode = of_numbers(method=method)
    ode.value_and_grad(*NUMBERS)
    trips.clear()
    for k in (0.5, 0.9):
        p = NUMBERS[1]._replace(k=k)
        found = ode.value_and_grad(NUMBERS[0], p)
        for checkpoints in (3, 10_000):
            assert numbers(*of_numbers(method=method, checkpoints=checkpoints).value_and_grad(NUMBERS[0], p)) == numbers(*found)
    assert len(trips) == 2 and None not in trips
    (program,) = ode._programs.values()
    ((trip,),) = program.trips.values()
    assert trip.logs and trip.notes == kept and trip.executor.noted == len(program.method.notes) * kept


@pytest.mark.parametrize("method", ["tsit5", "trbdf2", pytest.param("rodas5p", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("model", [simple, mixed])
def test_the_bits_of_calls_by_themselves(soon, trips, model, method):
    """Structures, jumps, a right-hand side that jumps, costs of every kind; in the next calls with other numbers, too."""
    ode, (y0, p) = model(method=method), (Y0, P) if model is simple else MIXED
    before = repr((y0, p))
    first = ode.value_and_grad(y0, p)
    trips.clear()  # another test may have left one
    second = ode.value_and_grad(y0, p)
    assert told(*second) == told(*first) and trips[-1] is not None
    kept = copy.deepcopy(second[1])
    other = 2.0 * p if model is simple else p._replace(k=0.9)
    third = ode.value_and_grad(y0, other)
    assert len(trips) == 2 and None not in trips
    assert numbers(*model(method=method, checkpoints=10_000).value_and_grad(y0, other)) == numbers(*third)
    assert third[0] != second[0] and repr((kept.y0, kept.p)) == repr((second[1].y0, second[1].p)) and repr((y0, p)) == before


def test_parts_of_y0_and_p(soon, trips):
    """Those that are not named are None."""
    ode = mixed()
    first, second = (ode.value_and_grad(*MIXED, wrt=("p.k", "y0.b")) for _ in range(2))
    assert trips and told(*first) == told(*second) == told(*trips[-1])
    assert second[1].y0.a is None and second[1].p.b is None and second[1].p.k != 0.0


def test_other_times_tolerances_and_bounds(soon, trips):
    """Of problems that share what is compiled; with more steps than there was room for."""
    short = simple()
    short.value_and_grad(Y0, P)
    trips.clear()
    for ode in (simple(), simple(rtol=1e-12, atol=1e-13), simple(rtol=1e-4), simple(max_steps=5000)):
        found = ode.value_and_grad(Y0, P)
        expected = copy.copy(ode)
        expected._bounds = expected._bounds | {"directory": None, "memory": 2**30}
        assert numbers(*found) == numbers(*expected.value_and_grad(Y0, P))
    long = adj.ODE(absorbed, 30.0 * TIMES, t0=0.0, misfit=off, rtol=1e-10, atol=1e-10)
    assert long.value_and_grad(Y0, P)[0] == pytest.approx(float(np.sum((long.run(Y0, P).observations - DATA) ** 2)), rel=1e-13)
    assert len(trips) == 5 and None not in trips
    short.rtol = 1e-3
    assert short.value_and_grad(Y0, P)[1].ledger.forward_steps < 10 and trips[-1] is not None


@pytest.mark.parametrize("costs", [{"misfit": off}, {"misfit": off, "terminal": last_of_array}])
def test_more_steps_than_there_was_room_for(soon, trips, costs):
    """And fewer again, in turn: what is found is in new memory then."""

    def ode(rtol, **more):
        return adj.ODE(slower, TIMES, t0=0.0, rtol=rtol, atol=1e-2 * rtol, **costs, **more)

    ode(1e-3).value_and_grad(Y0, P)
    trips.clear()
    for rtol in (1e-3, 1e-11, 1e-3, 1e-12, 1e-12, 1e-4, 1e-13):
        found = ode(rtol).value_and_grad(Y0, P)
        assert numbers(*found) == numbers(*ode(rtol, checkpoints=10_000).value_and_grad(Y0, P))
        assert told(*found) == told(*trips[-1])
    assert len(trips) == 7


def test_long_ones_in_between(soon, trips, monkeypatch):
    """What is too long for one call does not end it for others, unless nearly all are."""
    loose, tight = (adj.ODE(slower, TIMES, t0=0.0, rtol=rtol, atol=1e-2 * rtol, misfit=off) for rtol in (1e-4, 1e-12))
    expected = [bits_of(ode.value_and_grad(Y0, P)) for ode in (loose, tight)]
    (program,) = loose._programs.values()
    program.trips.clear()
    trips.clear()
    monkeypatch.setattr(round_trip, "SHORT", 100)
    for ode in (loose, loose, tight, loose, *[tight] * 6):
        assert bits_of(ode.value_and_grad(Y0, P)) == expected[ode is tight]
    assert [trip is None for trip in trips] == [False, True, False, *[True] * 5]
    assert [*program.trips.values()] == [None]


def test_names_from_outside(soon, trips, monkeypatch):
    """Numbers are looked up in every call; so are functions."""
    ode = simple()
    first = ode.value_and_grad(Y0, P)
    trips.clear()
    second = ode.value_and_grad(Y0, P)
    monkeypatch.setitem(globals(), "DATA", DATA + 1.0)
    third = ode.value_and_grad(Y0, P)
    assert first[0] == second[0] != third[0] and len(trips) == 2 and None not in trips
    assert numbers(*third) == numbers(*simple(checkpoints=1000).value_and_grad(Y0, P))
    monkeypatch.setitem(globals(), "FACTOR", 1.25)
    fourth = ode.value_and_grad(Y0, P)
    assert fourth[0] != third[0] and numbers(*fourth) == numbers(*simple(checkpoints=1000).value_and_grad(Y0, P))


def test_what_goes_wrong_is_said_as_before(soon, trips):
    """And the next call is none the worse for it."""
    ode = adj.ODE(explosive, [0.5, 0.9], t0=0.0, terminal=itself, rtol=1e-8, max_steps=2000)
    first = ode.value_and_grad(1.0, 1.0)
    trips.clear()
    assert ode.value_and_grad(1.0, 1.0)[0] == first[0] and len(trips) == 1
    for p in (1.5, 1e300):
        with pytest.raises(adj.errors.IntegrationError) as found:
            ode.value_and_grad(1.0, p)
        with pytest.raises(adj.errors.IntegrationError) as expected:
            ode.run(1.0, p)
        assert str(found.value) == str(expected.value) and trips[-1] is None
    with pytest.raises(adj.errors.NonFiniteError, match="Got p = nan"):
        ode.value_and_grad(1.0, np.nan)
    with pytest.raises(adj.errors.ArgumentError, match="y1"):
        ode.value_and_grad(1.0, 1.0, wrt="y1")
    assert told(*ode.value_and_grad(1.0, 1.0)) == told(*first) and trips[-1] is not None
    ode = adj.ODE(picky, [1.0], t0=0.0, terminal=itself)
    ode.value_and_grad(1.0, 0.5)
    with pytest.raises(ValueError, match="p below 0"):
        ode.value_and_grad(1.0, -1.0)
    for function in (ode, adj.ODE(explosive, [0.5], t0=0.0, terminal=picky_at_the_end)):
        function.value_and_grad(1.0, 0.5)
    with pytest.raises(ValueError, match="p below 0 at the end") as found:
        function.value_and_grad(1.0, -1.0)
    assert trips[-1] is None and "terminal cost" in "".join(found.value.__notes__)
    value, gradient = ode.value_and_grad(1.0, 0.5)
    assert trips[-1] is not None and gradient.y0 == pytest.approx(value) == pytest.approx(np.exp(-0.5), rel=1e-5)


def test_what_is_not_like_this(soon, trips, tmp_path):
    """Bounds of the memory, events, functions y0(p), times that are asked for."""
    for options in ({"memory": "1MB"}, {"checkpoints": 3}, {"dt": 0.1}, {"rtol": np.array([1e-6, 1e-6])}):
        ode = simple(**options)
        assert ode.value_and_grad(Y0, P)[0] == ode.value_and_grad(Y0, P)[0]
    ode = simple()
    for _ in range(2):
        assert ode.value_and_grad(Y0, P, wrt=("p", "t_eval"))[1].t_eval.shape == (3,)
    assert not trips


def test_several_threads(soon, trips):
    """Each has memory of its own."""
    ode = simple()
    expected = {k: told(*ode.value_and_grad(Y0, P + 0.01 * k)) for k in range(8)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: (k, told(*ode.value_and_grad(Y0, P + 0.01 * (k % 8)))), range(64)))
    assert all(own == expected[k % 8] for k, own in found) and len(trips) > 40


def test_long_calls_are_left_alone(monkeypatch, trips):
    """They cannot be interrupted; short ones are compiled when they have taken some time."""
    monkeypatch.setattr(round_trip, "LONG", 0.0)
    ode = simple()
    for _ in range(3):
        ode.value_and_grad(Y0, P, wrt=("p", "y0"))  # as in no other test
    assert not trips


def test_more_steps_than_a_call_takes(soon, trips):
    """They are taken by calls by themselves, and after some the next ones do not try again."""
    few = adj.ODE(picky, [1.0], t0=0.0, terminal=itself, method="bosh3", rtol=1e-3, atol=1e-3)
    few.value_and_grad(1.0, 0.5)
    many = adj.ODE(picky, [1.0], t0=0.0, terminal=itself, method="bosh3", rtol=1e-3, atol=1e-3, max_step=1.0 / 5000.0)
    for _ in range(6):
        assert many.value_and_grad(1.0, 0.5)[1].ledger.forward_steps == 5000
    assert trips == [None] * 4


def test_no_parameters(soon, trips):
    ode = adj.ODE(lambda t, y, p: -y, [1.0], t0=0.0, terminal=itself)
    first, second = ode.value_and_grad(1.0), ode.value_and_grad(1.0)
    assert told(*first) == told(*second) and trips[-1] is not None and second[1].p is None
