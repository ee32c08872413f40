"""Chains of the way back: shorter where an iteration waits for them, and the same sums."""

from __future__ import annotations

import numpy as np
import pytest
from test_kept import ROD, U0, M, cholesky, thomas

import adjointsim as adj
from adjointsim.derive import interp
from adjointsim.derive.build import Names, const
from adjointsim.derive.chains import _cycles, shorter_chains
from adjointsim.derive.entry import lower_entry
from adjointsim.derive.ir import Base, Const, Fn, For, Let, Load, Store, Var, show
from adjointsim.derive.kernel import vjp_kernel
from adjointsim.derive.spec import ScalarSpec
from adjointsim.derive.verify import verify
from adjointsim.leaves import spec_of

N = 7
A, F, G, OUT = (Base(f"array_{name}", "f8", 1, role) for name, role in [("a", "in"), ("f", "in"), ("g", "in"), ("out", "shadow")])


def var(name, dt="f8"):
    return Var(name, dt)


I, OWN, OTHER = var("i", "i8"), var("own"), var("other")
LOADS = tuple(Load(var(b.name[-1]), b, (I,), "never") for b in (A, F, G))


ONE_CARRY, Y = ((OWN, Const(1.0, "f8")),), var("y")


def loop(*lets, carries=ONE_CARRY, yields=(Y,)):
    results = tuple(var(f"last_{k}") for k in range(len(carries)))
    body = (*LOADS, *lets, Store(OUT, (I,), yields[0], "set", "never", 0, "linear"))
    return For(I, const(0, "i8"), const(N, "i8"), const(1, "i8"), carries, body, yields, results, part="linear")


def linear(name, op, *args):
    return Let(var(name), op, tuple(var(a) if isinstance(a, str) else a for a in args), 0, "linear")


def run(s, *arrays):
    """What a loop stores, and its last carries."""
    out = np.zeros(N)
    program = Fn("program", (A, F, G, OUT), (s,), s.results)
    last = interp.run({"program": program}, "program", [*arrays, out])
    return [*out, *last]


def shortened(s):
    (found,) = shorter_chains((s,), Names())
    return found


def arrays(seed=0):
    return list(np.random.default_rng(seed).normal(size=(3, N)))


CHAIN = (linear("t", "mul", "own", "a"), linear("u", "mulz", "t", "f"), linear("v", "mul", "u", "g"))


def test_a_chain_of_products():
    s = loop(*CHAIN, linear("y", "add", "v", "f"))
    found = shortened(s)
    assert _cycles(found) == 8.0 < _cycles(s) == 16.0, show((found,))
    np.testing.assert_allclose(run(found, *arrays()), run(s, *arrays()), rtol=1e-14)


def test_two_carries():
    """One goes into the other; the chain of each is a product and a sum."""
    mine = linear("z", "sub", "a", linear("s", "mul", "own", "f").var)
    both = [linear("s", "mul", "own", "f"), mine, linear("b", "mul", "other", "g"), linear("m", "add", "z", "b")]
    both += [linear("n", "neg", "m"), linear("q", "mul", "n", "f"), linear("r", "mul", "q", "a"), linear("y2", "add", "r", "g")]
    s = loop(*both, carries=((OWN, Const(1.0, "f8")), (OTHER, Const(0.5, "f8"))), yields=(var("z"), var("y2")))
    found = shortened(s)
    assert _cycles(found) < 9.0 < _cycles(s), show((found,))
    np.testing.assert_allclose(run(found, *arrays()), run(s, *arrays()), rtol=1e-13)


def test_zeros_stay_zeros():
    """A cotangent, or a coefficient before, that is zero meets an infinite coefficient."""
    s = loop(*CHAIN, linear("y", "add", "v", "g"))
    found = shortened(s)
    assert found is not s
    a, f, g = arrays()
    f[2] = np.inf
    a[2] = 0.0
    with np.errstate(invalid="ignore"):
        assert np.all(np.isfinite(run(s, a, f, g)))
        np.testing.assert_allclose(run(found, a, f, g), run(s, a, f, g), rtol=1e-14)
        zeros = loop(*CHAIN[:2], linear("y", "mul", "u", "g"), carries=((OWN, Const(0.0, "f8")),))
        a[2] = 1.0
        assert run(shortened(zeros), a, f, g) == [0.0] * (N + 1)


ROOT = Let(var("k"), "sqrt", (var("a"),))
DIVISION = Let(var("k"), "div", (Const(1.0, "f8"), var("a")))
MERGED = (linear("t", "mul", "own", "f"), linear("m", "add", "t", "g"), linear("u", "mulz", "m", "k"))


def test_parts_of_a_zero_meet_no_root():
    """A sum that is zero stays zero times an infinite coefficient; its parts would not."""
    rest = (linear("w", "mul", "u", "g"), linear("y", "add", "w", "f"))
    rooted, divided = (loop(k, *MERGED, *rest) for k in (ROOT, DIVISION))
    assert shortened(rooted) == rooted
    found = shortened(divided)
    assert found != divided
    np.testing.assert_allclose(run(found, *arrays()), run(divided, *arrays()), rtol=1e-13)


@pytest.mark.parametrize(
    "s",
    [
        loop(linear("t", "mul", "own", "a"), linear("y", "add", "t", "f")),  # as short as can be
        loop(linear("y", "add", "own", "a")),
        loop(linear("t", "mul", "own", "own"), linear("u", "mul", "t", "f"), linear("y", "mul", "u", "g")),  # not linear
        loop(*CHAIN, Let(var("y"), "add", (var("v"), var("f")))),  # of the step itself, which rounds as the user says
        loop(*CHAIN, *[linear(f"x{k}", "mul", "v", const(float(k), "f8")) for k in range(40)], linear("y", "add", "v", "f")),
    ],
    ids=["short", "sum", "square", "primal", "busy"],
)
def test_what_stays(s):
    used = [Store(OUT, (I,), x.var, "add", "never", 0, "linear") for x in s.body if isinstance(x, Let) and x.var.name[0] == "x"]
    s = For(*[getattr(s, n) for n in ("var", "lo", "count", "step", "carries")], (*s.body, *used), s.yields, s.results)
    names = Names()
    state = names.state()
    assert shorter_chains((s,), names) == (s,)
    assert names.state() == state


@pytest.mark.parametrize("fn", [thomas, cholesky], ids=lambda fn: fn.__name__)
def test_second_derivatives(fn):
    sim = adj.Simulation(adj.step(fn), 6, terminal=lambda u, p: u[0] * u[1] + u[M - 1] * u[M - 1])
    h = 1e-5
    ahead, back = (sim.value_and_grad(U0 + x * U0, ROD)[1].y0 for x in (h, -h))
    found = sim.hvp(U0, ROD, U0, type(ROD)(0.0 * ROD.k, 0.0)).y0
    np.testing.assert_allclose(found, (ahead - back) / (2.0 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("fn", [thomas, cholesky], ids=lambda fn: fn.__name__)
def test_derived_steps(fn, monkeypatch):
    """The chains of a derived step are shortened, and its gradient is what it is without that."""
    args = [("n", ScalarSpec("i8")), ("y", spec_of(U0, "y")), ("p", spec_of(ROD, "p"))]

    def derived():
        entry = lower_entry(fn, args, counters=["n"], result=args[1][1], like="y", frozen=["p"])
        kernel = vjp_kernel(entry, [path for path, _ in entry.leaves])
        verify(kernel.fn, {f.name: f for f in kernel.functions})
        bars = [np.zeros_like(U0), np.zeros_like(ROD.k), np.zeros(1)]
        given = [U0, ROD.k, np.array([ROD.slope]), *(c.value() for c in entry.captures), np.cos(U0), *bars]
        assert not kernel.arenas
        interp.run({f.name: f for f in (kernel.fn, *kernel.functions)}, kernel.fn.name, [3, *given])
        return show(kernel.fn), np.concatenate(bars)

    text, found = derived()
    monkeypatch.setattr("adjointsim.derive.kernel.shorter_chains", lambda block, names: block)
    other, expected = derived()
    assert text != other
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
