"""``adj.root``, compiled: against 50 digits, in sweeps, in plain Python, and with everything that can be wrong."""

from __future__ import annotations

from typing import NamedTuple

import mpmath as mp
import numba
import numpy as np
import pytest
from root_programs import PROGRAMS, Cubic, U, cubic, diffusion, euler, rhs

import adjointsim as adj
from adjointsim.errors import ConvergenceError, StructureError


class Rate(NamedTuple):
    c: float
    w: np.ndarray


def decays(x, y, p):
    """Implicit Euler for y' = -c y^3 + w[0] - w[1] sin(y)."""
    return x - y + 0.1 * (p.c * x**3 - p.w[0] + p.w[1] * np.sin(x))


@adj.step
def decay(n, y, p):
    return adj.root(decays, y, (y, p))


def square(y, p):
    return y * y


def decay_to_50_digits(y0, c, a, b, steps):
    y = y0
    for _ in range(steps):
        x = y
        for _ in range(9):
            f = x - y + mp.mpf(0.1) * (c * x**3 - a + b * mp.sin(x))
            x -= f / (1 + mp.mpf(0.1) * (3 * c * x**2 + b * mp.cos(x)))
        y = x
    return y * y


def test_fifty_digits():
    """Gradient and Hessian product of a simulation, to 1e-12; the same bits for every schedule."""
    at, d, steps = (1.3, 0.7, 0.4, 0.9), (0.5, -0.2, 1.0, 0.3), 11
    y0, p = at[0], Rate(at[1], np.array(at[2:]))
    dot = d[0], Rate(d[1], np.array(d[2:]))
    with mp.workdps(50):
        point = tuple(map(mp.mpf, at))
        value = decay_to_50_digits(*point, steps)
        h = mp.mpf(10) ** -12

        def gradient(t):
            there = [x + t * mp.mpf(v) for x, v in zip(point, d, strict=True)]
            moved = [[x + s * h * (i == k) for i, x in enumerate(there)] for k in range(4) for s in (1, -1)]
            f = [decay_to_50_digits(*m, steps) for m in moved]
            return [(f[2 * k] - f[2 * k + 1]) / (2 * h) for k in range(4)]

        grad = gradient(0)
        product = [(a - b) / (2 * h) for a, b in zip(gradient(h), gradient(-h), strict=True)]
    bits = set()
    for how in ({}, {"checkpoints": 1}, {"checkpoints": 3}):
        sim = adj.Simulation(decay, steps, terminal=square, **how)
        found, g = sim.value_and_grad(y0, p)
        hv = sim.hvp(y0, p, *dot)
        np.testing.assert_allclose(found, float(value), rtol=1e-14)
        np.testing.assert_allclose([g.y0, g.p.c, *g.p.w], [float(x) for x in grad], rtol=1e-12)
        np.testing.assert_allclose([hv.y0, hv.p.c, *hv.p.w], [float(x) for x in product], rtol=1e-12)
        bits.add(np.array([found, g.y0, g.p.c, *g.p.w, hv.y0, hv.p.c, *hv.p.w]).tobytes())
    assert len(bits) == 1
    _, tangent = adj.Simulation(decay, steps, terminal=square).jvp(y0, p, *dot)
    np.testing.assert_allclose(tangent.value, float(sum(mp.mpf(a) * b for a, b in zip(d, grad, strict=True))), rtol=1e-12)


def test_compiled():
    fn, by_hand, args = PROGRAMS["control"]
    out, pullback = adj.vjp(fn, *args)
    same, back = adj.vjp(by_hand, *args)
    for a, b in zip((*_flat(out), *_flat(pullback(out))), (*_flat(same), *_flat(back(out))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def _flat(x):
    return [leaf for item in x for leaf in _flat(item)] if isinstance(x, tuple) else [np.zeros(0) if x is None else np.asarray(x)]


@pytest.mark.heavy
@pytest.mark.heavy
def test_complex_step():
    p, bar = np.array([0.4, 3.0, 1.1]), np.array([1.0, -2.0, 0.7])
    _, pullback = adj.vjp(lambda u, p: adj.root(euler, u, (u, 0.1, p)), U, p)
    for k, found in enumerate(pullback(bar)):
        for i in range(3):
            moved = [U.astype(complex), p.astype(complex)]
            moved[k][i] += 1e-200j
            u, q = moved
            x = u.copy()
            for _ in range(20):
                m = np.zeros((3, 3), complex)
                m[0] = -q[0], q[1] * x[2], q[1] * x[1]
                m[2, 1] = 2.0 * q[2] * x[1]
                m[1] = q[0], -q[1] * x[2] - m[2, 1], -q[1] * x[1]
                x = x - np.linalg.solve(np.eye(3) - 0.1 * m, x - u - 0.1 * rhs(x, q))
            np.testing.assert_allclose(found[i], bar @ x.imag / 1e-200, rtol=1e-12, atol=1e-14)


def test_in_python():
    x = adj.root(cubic, 1, (Cubic(2.0, U),))
    assert isinstance(x, float) and abs(cubic(x, Cubic(2.0, U))) < 1e-15
    z = adj.root(numba.njit(lambda z: (z[0] * z[0] - 4.0, z[1] - z[0])), (1.0, np.ones(2, int)), tol=1e-3)
    assert type(z) is tuple and z[0] == pytest.approx(2.0, rel=1e-6) and np.all(z[1] == z[0])
    with pytest.raises(StructureError, match="Got root of 3, but expected"):
        adj.root(3, 1.0)


def test_guess_and_inputs():
    """The guess has no derivative, and nothing is written."""
    u, g = U.copy(), U * 1.1
    u.flags.writeable = g.flags.writeable = False
    f = lambda g, u: np.sum(adj.root(euler, g, (u, 0.1, u)) ** 2)  # noqa: E731
    g_bar, u_bar = adj.grad(f, (0, 1))(g, u)
    assert np.array_equal(g_bar, np.zeros(3)) and np.all(u_bar != 0.0)
    assert np.array_equal(adj.hvp(f, (g, u), (g, None))[1], np.zeros(3))


# --------------------------------------------------------------------------------------------------------- what goes wrong
def no_root(x, c):
    return x * x + c


def cycle(x):
    """From 1 to 0, and from 0 to 1."""
    return x**3 - 2.0 * x + 2.0


def logarithm(x, c):
    return np.log(x) + c


def singular(x, c):
    return np.array([x[0] + 3.0 * x[1] - c, 0.1 * x[0] + 0.3 * x[1] - 0.1 * c])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: adj.root(no_root, 0.7, (c,)), "adj.root of no_root did not converge: largest residual .* after 50 iterations"),
        (lambda c: adj.root(no_root, 0.7, (c,), max_iter=3), "did not converge: largest residual .* after 3 iterations"),
        (lambda c: adj.root(cycle, c), "did not converge: .* after 50 iterations, .* 1.0e[+]00, inf, 1.0e[+]00"),
        (lambda c: adj.root(no_root, 0.0, (-c,)), "a Jacobian that is singular"),
        (lambda c: adj.root(no_root, 1.0, (c - c,)), "did not converge|singular"),  # a double root
        (lambda c: adj.root(no_root, c * np.nan, (c,)), "a residual that is not finite"),
        (lambda c: adj.root(logarithm, 1.0 + 20.0 * c, (c,)), "a residual that is not finite"),
        (lambda c: adj.root(singular, np.array([0.3, 0.1]), (c,))[0], "a Jacobian that is singular"),
        (lambda c: adj.root(singular, np.array([0.3, 0.1]), (c,), bandwidth=(1, 1))[0], "a Jacobian that is singular"),
        (lambda c: adj.root(diffusion, U, (U, c), bandwidth=(1, 1))[0], "entries outside of bandwidth="),
        (lambda c: adj.root(diffusion, U, (U, c), bandwidth=(2, 0))[0], "entries outside of bandwidth="),
    ],
)
def test_no_root(call, words):
    with pytest.raises(ConvergenceError, match=words) as caught:
        adj.vjp(call, 1.0)
    assert any(f'File "{__file__}"' in note for note in caught.value.__notes__)
    assert all(u >= 0.0 for u in caught.value.updates)


def test_history():
    with pytest.raises(ConvergenceError) as caught:
        adj.root(no_root, 0.7, (1.0,), max_iter=5)
    assert len(caught.value.updates) == 5 and caught.value.residual > 1.0 and isinstance(caught.value, ArithmeticError)
    assert f"{caught.value.updates[-1]:.1e}" in str(caught.value)


@adj.step
def until_it_fails(n, y, p):
    if n == 4:
        y = y * p[1]
    return adj.root(no_root, y, (-p[0],))


@pytest.mark.parametrize(("p1", "words"), [(1e200, "not finite"), (0.0, "singular")])
def test_in_a_sweep(p1, words):
    sim = adj.Simulation(until_it_fails, 9, terminal=lambda y, p: y)
    for run in (sim.run, sim.value_and_grad):
        with pytest.raises(ConvergenceError, match=words) as caught:
            run(1.0, np.array([2.0, p1]))
        notes = "\n".join(caught.value.__notes__)
        assert "step n=4 of 9 (forward sweep)" in notes and "raised in until_it_fails" in notes and __file__ in notes


def of_another_length(x, u):
    return u[: len(x) - 1] * x[0]


def test_another_length():
    with pytest.raises(ValueError, match="of_another_length returns an array of another length than the unknown"):
        adj.vjp(lambda u: adj.root(of_another_length, u, (u,)), U)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"tol": -1.0}, "tol must be positive"),
        ({"tol": np.nan}, "tol must be positive"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"bandwidth": (-1, 1)}, "bandwidth must not be negative"),
    ],
)
def test_impossible_settings(how, words):
    with pytest.raises(ValueError, match=words):
        adj.root(diffusion, U, (U, 0.3), **how)
