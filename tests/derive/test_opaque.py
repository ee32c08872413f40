"""Functions that the deriver does not look into: rules of the user's own, and those of ``np.linalg``."""

from __future__ import annotations

import os
import re

import mpmath as mp
import numpy as np
import pytest
from linalg_models import MODELS, cube, heat, heat_plainly, mixed, parts, thomas, tridiagonal, uses_both, uses_both_plainly
from opaque_programs import PROGRAMS, plainly

import adjointsim as adj
from adjointsim import Simulation
from adjointsim.derive import api
from adjointsim.derive.verify import verify
from adjointsim.errors import ArgumentError, StructureError, UnsupportedError

from .harness import Derived, assert_close, functions, interpreter

SLOW = pytest.mark.skipif(os.environ.get("CORPUS") != "all", reason="takes minutes: CORPUS=all")


def numbers(value):
    items = value if isinstance(value, tuple) else (value,)
    return np.concatenate([np.asarray(item, object).ravel() for item in items])


def direction(name):
    """Along one direction: the exact derivative of every result, to 20 digits, by differences in 60."""
    fn, args, exact = MODELS[name]
    rng = np.random.default_rng(3)
    dots = [rng.standard_normal(np.shape(a)) for a in args]
    with mp.workdps(60):
        h = mp.mpf(10) ** -20

        def at(sign):
            moved = [np.asarray(a) + np.asarray(d).astype(object) * (sign * h) for a, d in zip(args, dots, strict=True)]
            return numbers(exact(*(mp.matrix(m.tolist()) if np.ndim(m) else m for m in moved)))

        found = (at(1) - at(-1)) / (2 * h)
    return dots, found.astype(float)


@pytest.mark.parametrize("name", MODELS)
def test_linear_algebra(name):
    """Forward against 60 digits; reverse against forward, at both levels."""
    fn, args, _ = MODELS[name]
    derived = Derived(fn, args)
    dots, expected = direction(name)
    leaves = [np.atleast_1d(np.asarray(d)) for d in dots]
    found = np.concatenate([d.ravel() for d in derived.run_jvp(derived.leaves, leaves) if d is not None])
    if "qr" in name or "eigh" in name or "svd" in name:  # in whatever order the two find them
        found, expected = np.sort(found), np.sort(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    out = derived.run_jvp(derived.leaves, leaves)
    forward = sum(np.sum(b * d) for b, d in zip(derived.bars, out, strict=True) if d is not None)
    for level in (0, 1):
        bars = derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars)
        reverse = sum(np.sum(b * d) for b, d in zip(bars, leaves, strict=True))
        assert abs(forward - reverse) <= 1e-12 * max(1.0, sum(np.sum(abs(b * d)) for b, d in zip(bars, leaves, strict=True)))


@pytest.mark.parametrize("name", ["march", "helper"])
def test_compiled_linear_algebra(name):
    fn, args, _ = MODELS[name]
    derived = Derived(fn, args)
    out, pullback = adj.vjp(fn, *args)
    bars = derived.run_vjp(derived.vjp(1), derived.leaves, derived.bars)
    mine = derived.bars if isinstance(out, tuple) else derived.bars[0]
    given = tuple(b.item() if np.ndim(o) == 0 else b for b, o in zip(mine, out, strict=True)) if isinstance(out, tuple) else mine
    for a, b in zip(pullback(given), bars, strict=True):
        np.testing.assert_allclose(np.ravel(a), np.ravel(b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    """Whatever stands around a custom function: as with the plain one, whose reference is that of the corpus."""
    fn, args = PROGRAMS[name]
    derived, plain = Derived(fn, args), Derived(plainly(fn), args)
    derived.__dict__.update(expected=plain.expected, bars=plain.bars)
    for level in (0, 1):
        for kernel in (derived.primal(level), derived.vjp(level)):
            for f in functions(kernel).values():
                verify(f, functions(kernel))
        assert_close(derived.run_primal(derived.primal(level), derived.leaves), plain.expected)
        assert_close(derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars), plain.reference_bars)
    assert_close(derived.run_jvp(derived.leaves, derived.dots), plain.reference_dots)


def complex_step(f, args, k):
    out = np.zeros(np.shape(args[k]))
    for i in np.ndindex(out.shape):
        moved = [np.asarray(a, complex).copy() for a in args]
        moved[k][i] += 1e-200j
        out[i] = f(*moved).imag / 1e-200
    return out


U = np.array([0.3, -0.2, 0.7, 0.1, 0.5])


def test_rules_of_ones_own():
    value, bars = adj.value_and_grad(uses_both, wrt=(0, 1))(U, 0.7)
    np.testing.assert_allclose(value, uses_both_plainly(U, 0.7), rtol=1e-14)
    for k in (0, 1):
        np.testing.assert_allclose(bars[k], complex_step(uses_both_plainly, (U, 0.7), k), rtol=1e-13)
    _, dot = adj.jvp(uses_both, (U, 0.7), (np.ones(5), 0.3))
    np.testing.assert_allclose(dot, np.sum(bars[0]) + 0.3 * bars[1], rtol=1e-13)
    assert adj.grad(uses_both, wrt=1)(U, 0.7) == bars[1]
    assert cube(2.0) == 8.0 and parts(U, 1)[0].shape == (4,)


def test_foreign_rules_in_a_sweep():
    """LAPACK through its address: never cached, not derivable, the same bits for every schedule."""
    found = []
    for checkpoints in (None, 2):
        sim = Simulation(heat, 9, terminal=lambda u, p: np.sum(u * u * np.arange(len(u))), checkpoints=checkpoints)
        found.append(sim.value_and_grad(U, 0.4))
    (value, grad), (_, other) = found
    np.testing.assert_allclose(value, heat_plainly(U, 0.4, 9), rtol=1e-12)
    np.testing.assert_allclose(grad.y0, complex_step(lambda u, p: heat_plainly(u, p, 9), (U, 0.4), 0), rtol=1e-11)
    np.testing.assert_allclose(grad.p, complex_step(lambda u, p: heat_plainly(u, p, 9), (U, 0.4), 1), rtol=1e-11)
    assert np.array_equal(grad.y0, other.y0) and grad.p == other.p
    assert np.allclose(thomas(*map(np.asarray, ([0.0], [2.0, 2.0], [0.0], [1.0, 2.0]))), [0.5, 1.0])
    with pytest.raises(UnsupportedError, match="thomas has no defjvp"):
        sim.jvp(U, 0.4, U, 0.0)
    assert tridiagonal.jvp_rule is None


def test_what_is_singular_names_its_step():
    def step(n, y, p):
        a = np.eye(2) * (p - n)
        return np.linalg.solve(a, y)

    sim = Simulation(step, 6, terminal=lambda y, p: y[0])
    assert np.isfinite(sim.value_and_grad(np.ones(2), 9.5)[1].p)
    with pytest.raises(np.linalg.LinAlgError) as caught:
        sim.value_and_grad(np.ones(2), 4.0)
    assert any("step n=4 of 6 (forward sweep)" in note for note in caught.value.__notes__)

    def values_of(n, y, p):
        w, v = np.linalg.eigh(np.eye(2) * p)
        return y + v[0, 1] * p + w[0]

    with pytest.raises(ValueError, match="equal eigenvalues") as raised:
        Simulation(values_of, 3, terminal=lambda y, p: y[0]).value_and_grad(np.ones(2), 4.0)
    assert any("reverse sweep" in note for note in raised.value.__notes__)


@adj.custom_vjp
def turned(z, c):
    return z * z * c


@turned.defvjp
def turned_vjp(y, y_bar, z, c):
    return np.conj(2.0 * z * c) * y_bar, np.sum(np.conj(z * z) * y_bar)


@turned.defjvp
def turned_jvp(y, args, args_dot):
    (z, c), (z_dot, c_dot) = args, args_dot
    return 2.0 * z * c * z_dot + z * z * c_dot


@adj.custom_vjp
def folded(z):
    """An array, a complex and a real number; the rule is foreign."""
    return z[::-1].copy(), z[0] * z[1], abs(z[0])


@folded.defvjp
def folded_vjp(out, out_bar, z):
    array_bar, product_bar, size_bar = out_bar
    bar = array_bar[::-1].copy()
    held = (bar,)  # a tuple that is indexed below by a loop: not in the language
    for b in held:
        b[0] += np.conj(z[1]) * product_bar + size_bar * z[0] / abs(z[0])
        b[1] += np.conj(z[0]) * product_bar
    return (bar,)


def complexly(z, c):
    u = turned(z[::-1], c)
    v = turned(u + z, 0.5 + 0j)
    array, product, size = folded(v)
    return np.sum(np.abs(array) ** 2 * np.arange(len(z))) + product.imag * size


def complexly_plain(z, c):
    u = z[::-1] * z[::-1] * c
    v = (u + z) * (u + z) * 0.5
    return np.sum(np.abs(v[::-1]) ** 2 * np.arange(len(z))) + (v[0] * v[1]).imag * abs(v[0])


def test_complex_arguments_and_results():
    """Against the same without custom functions, which has tests of its own."""
    z, c = np.array([0.4 + 0.8j, 0.2 - 0.4j, 0.8 + 0.1j]), 0.3 + 0.2j
    found, exact = (adj.value_and_grad(f, wrt=(0, 1))(z, c) for f in (complexly, complexly_plain))
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-13)
    for a, b in zip(found[1], exact[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    z_dot, c_dot = np.array([0.1, 0.2j, 0.3 - 0.1j]), 1j
    _, dot = adj.jvp(lambda z, c: np.sum(np.abs(turned(z, c)) ** 2), (z, c), (z_dot, c_dot))
    _, same = adj.jvp(lambda z, c: np.sum(np.abs(z * z * c) ** 2), (z, c), (z_dot, c_dot))
    np.testing.assert_allclose(dot, same, rtol=1e-13)


def second(f, args, dots):
    """A Hessian-vector product, and the same by a central difference of gradients with its error."""
    wrt = tuple(range(len(args)))
    found = adj.hvp(f, args, dots)
    gradient = adj.grad(f, wrt=wrt)
    out = []
    for k in wrt:
        steps = []
        for h in (1e-3, 5e-4):
            ahead, back = (gradient(*(a + s * h * d for a, d in zip(args, dots, strict=True)))[k] for s in (1.0, -1.0))
            steps.append((ahead - back) / (2.0 * h))
        out.append((found[k], (4.0 * steps[1] - steps[0]) / 3.0))
    return out


def curved(a, b):
    return np.sum(np.linalg.solve(a, b) ** 3) + np.linalg.det(a) ** 2 + cube(b[0])


def test_second_derivatives_through_rules(monkeypatch):
    """Of rules that are code in the language; symmetric, and right to the accuracy of differences.  Interpreted: there are a
    hundred functions to compile; compiled second derivatives are those of a test below."""
    monkeypatch.setattr(api.Compiled, "function", property(lambda self: interpreter(self.kernel)))
    a, b = np.array([[3.0, 0.3, 0.1], [0.2, 2.0, -0.4], [0.5, 0.1, 4.0]]), np.array([0.5, -0.2, 0.8])
    rng = np.random.default_rng(2)
    dots = [(rng.standard_normal((3, 3)), rng.standard_normal(3)) for _ in range(2)]
    for found, expected in second(curved, (a, b), dots[0]):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    one, other = (adj.hvp(curved, (a, b), d) for d in dots)
    left, right = (sum(np.sum(x * y) for x, y in zip(h, d, strict=True)) for h, d in ((one, dots[1]), (other, dots[0])))
    assert abs(left - right) < 1e-12 * abs(left)
    sim = Simulation(heat, 2, terminal=lambda u, p: np.sum(u * u))
    with pytest.raises(UnsupportedError, match="thomas has no defjvp"):
        sim.hvp(U, 0.4, U, 0.1)


def cubes(x, b):
    return cube(x) * cube(b[0] + x) + b[1] * cube(b[1])


@pytest.mark.parametrize(
    "f, args",
    [
        (cubes, (0.7, np.array([0.5, -0.2]))),
        pytest.param(curved, (np.array([[3.0, 0.3], [0.2, 2.0]]), np.array([0.5, -0.2])), marks=SLOW),
    ],
    ids=["cubes", "curved"],
)
def test_second_derivatives_of_rules_compiled(f, args):
    for found, expected in second(f, args, tuple(0.3 - 0.5 * a for a in args)):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def foreign_second(z):
    return folded(z)[2] ** 2


def test_a_foreign_rule_has_no_derivative():
    with pytest.raises(UnsupportedError, match=r"folded has no defjvp|folded_vjp is compiled as it is, and has no derivative"):
        adj.hvp(foreign_second, (np.array([0.4 + 0.8j, 0.2]),), (np.ones(2, complex),))


# ------------------------------------------------------------------------------------------------------------- bad input
@adj.custom_vjp
def unruled(x):
    return x * 2.0


@adj.custom_vjp
def half_ruled(x, y):
    return x * y


@half_ruled.defvjp
def half_vjp(z, z_bar, x, y):
    return z_bar * y, None


@adj.custom_vjp
def longer(u):
    return np.ones(len(u) + 1)


@adj.custom_vjp
def made(n):
    return np.ones(n)


@adj.custom_vjp
def vandal(u):
    u[0] = 1.0
    return u * 2.0


@adj.custom_vjp
def untyped(x):
    return "text"


@adj.custom_vjp
def wrong_count(x, y):
    return x * y


@wrong_count.defvjp
def wrong_vjp(z, z_bar, x, y):
    return (z_bar * y,)


WEIGHTS, FACTOR = np.ones(3), 2.0


@adj.custom_vjp
def frozen_array(u):
    return u * WEIGHTS


@adj.custom_vjp
def frozen_number(x):
    return x * FACTOR


@frozen_number.defvjp
def frozen_vjp(y, y_bar, x):
    return (y_bar * FACTOR,)


@pytest.mark.parametrize(
    ("f", "args", "words"),
    [
        (lambda x: unruled(x), (1.0,), "unruled has no defvjp: give it one with @unruled.defvjp"),
        (lambda x: half_ruled(2.0, x), (1.0,), "defvjp of half_ruled gives None for y"),
        (lambda n: made(3)[0] * n, (1.0,), "returns a 1-d array, and no argument is one: say its shape"),
        (lambda u: vandal(u)[0], (np.ones(3),), "writes its arguments"),
        (lambda x: untyped(x), (1.0,), "call of untyped: it returns"),
        (lambda x: wrong_count(x, x), (1.0,), "2 derivatives are expected"),
        (lambda x: unruled(x, x), (1.0,), "takes 1 positional arguments"),
        (lambda x: unruled((x, x)), (1.0,), "an argument of unruled is a tuple of 2"),
        (lambda u: np.linalg.solve(u, u)[0], (np.ones(3),), "an argument is 1-d"),
        (lambda x: np.linalg.inv(x), (1.0,), "an argument is 0-d"),
        (lambda u: np.linalg.eig(u)[0][0], (np.ones((2, 2)),), "eig, which has no derivative rule"),
    ],
)
def test_refused(f, args, words):
    with pytest.raises(UnsupportedError) as caught:
        adj.grad(f)(*args)
    assert re.search(words, caught.value.msg), caught.value.msg  # (the whole text has the line, and so these words, in it)
    assert caught.value.filename == __file__ and caught.value.lineno


def test_a_result_of_another_shape():
    with pytest.raises(ValueError, match="the result of longer has another shape than expected"):
        adj.vjp(lambda u: longer(u)[0] + u[0], np.ones(3))


def test_what_is_frozen_may_not_change(monkeypatch):
    with pytest.raises(UnsupportedError, match="uses the array 'WEIGHTS' from outside"):
        adj.grad(lambda u: frozen_array(u)[0])(np.ones(3))
    f = adj.grad(lambda x: frozen_number(x) * x)
    assert f(3.0) == 12.0
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    with pytest.raises(ArgumentError, match="frozen_number uses a value from outside that has changed"):
        f(3.0)


def test_rules_that_are_none():
    with pytest.raises(StructureError, match="Got custom_vjp of a int"):
        adj.custom_vjp(3)
    with pytest.raises(StructureError, match=r"needs \(out, out_bar, \*args\): 3 in all"):
        cube.defvjp(lambda x: x)
    with pytest.raises(StructureError, match="Got defjvp of a float"):
        cube.defjvp(1.0)


def test_a_rule_beside_linear_algebra():
    a = np.array([[2.0, 0.3], [0.1, 1.5]])
    _, (a_bar, x_bar) = adj.value_and_grad(mixed, wrt=(0, 1))(a, 0.8)
    det = np.linalg.det(a)
    np.testing.assert_allclose(a_bar, np.sin(0.8**3) * det * np.linalg.inv(a).T, rtol=1e-13)
    np.testing.assert_allclose(x_bar, np.cos(0.8**3) * 3 * 0.8**2 * det, rtol=1e-13)


@adj.custom_vjp
def passed_on(x):
    return x + 0.0


@passed_on.defvjp
def passed_on_vjp(out, bar, x):
    return (bar,)


def test_a_rule_that_hands_its_cotangent_on():
    """It has no statements at all."""
    assert adj.grad(lambda x: passed_on(x) * x)(3.0) == 6.0
