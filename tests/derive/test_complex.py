"""Complex numbers: every model against dual numbers over complex ones, forward, and backward at both levels."""

from __future__ import annotations

import copy

import complex_models
import numpy as np
import pytest
from complex_models import BY_HAND, MODELS, Dual, dual, real_out_of_complex

import adjointsim as adj
from adjointsim import Simulation
from adjointsim.derive.verify import verify
from adjointsim.errors import DerivationError, StructureError, UnsupportedError
from adjointsim.leaves import flatten, leaf_specs, spec_of, unflatten

from .harness import Derived, functions


def leaves_of(value):
    """The results as leaves: complex numbers with a last axis for the parts."""
    return flatten(value, spec_of(value, "v"), "v", copy=True)


def plain(value):
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, np.ndarray) and value.dtype == object:
        return np.array([x.v if isinstance(x, Dual) else x for x in value.ravel()], complex).reshape(value.shape)
    return complex(value.v) if isinstance(value, Dual) else value


def tangent(value):
    if isinstance(value, tuple):
        return tuple(map(tangent, value))
    if isinstance(value, np.ndarray):
        return np.array([x.d if isinstance(x, Dual) else 0 for x in value.ravel()], complex).reshape(value.shape)
    return complex(value.d) if isinstance(value, Dual) else 0.0


def columns(value):
    """Everything in a result as pairs of real numbers, in order."""
    items = value if isinstance(value, tuple) else (value,)
    return np.concatenate([np.atleast_1d(np.asarray(x, complex)).ravel().view(float).reshape(-1, 2) for x in items])


def as_columns(leaves, spec):
    """The same of leaves."""
    out = []
    for leaf, expected in zip(leaves, leaf_specs(spec), strict=True):
        values = np.zeros(leaf.shape if leaf is not None else (1,)) if leaf is None else leaf
        from_pairs = str(expected[1]).endswith("]") and values.ndim >= 1 and values.shape[-1] == 2
        out.append(values.reshape(-1, 2) if from_pairs else np.stack([values.ravel(), np.zeros(values.size)], 1))
    return np.concatenate(out)


@pytest.mark.parametrize("name", MODELS)
def test_model(name, monkeypatch):
    fn, args = MODELS[name]
    derived = Derived(fn, args)
    for kernel in (derived.primal(1), derived.vjp(0), derived.vjp(1)):
        verify(kernel.fn, functions(kernel))
    expected = columns(fn(*copy.deepcopy(args)))
    spec = derived.entry.result_spec
    arrays = dict(zip([b for _, b in derived.entry.leaves], derived.leaves, strict=True))
    shaped = [np.zeros(s) for s in derived.entry.result_shapes(arrays) or ()]
    derived.__dict__["expected"] = [r.astype(b.dt) for r, (_, b) in zip(shaped, derived.entry.results, strict=True)]
    for level in (0, 1):
        found = as_columns(derived.run_primal(derived.primal(level), derived.leaves), spec)
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
    dots = derived.dots
    given = [unflatten(s, [x for x in [d if d is not None else leaf for d, leaf in zip(take, have, strict=True)]])
             for s, take, have in _grouped(derived, dots)]  # fmt: skip
    monkeypatch.setattr(complex_models, "np", _Shim())
    monkeypatch.setattr(complex_models, "complex", lambda a, b=0.0: a + b * 1j, raising=False)
    exact = columns(tangent(BY_HAND.get(name, fn)(*(dual(a, d) for a, d in zip(copy.deepcopy(args), given, strict=True)))))
    monkeypatch.undo()
    out = derived.run_jvp(derived.leaves, dots)
    np.testing.assert_allclose(as_columns(out, spec), exact, rtol=1e-12, atol=1e-12)
    forward = sum(np.sum(b * d) for b, d in zip(derived.bars, out, strict=True) if d is not None)
    for level in (0, 1):
        bars = derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars)
        terms = [b * d for b, d in zip(bars, dots, strict=True) if b is not None]
        assert abs(forward - sum(map(np.sum, terms))) <= 1e-12 * max(1.0, sum(np.sum(abs(t)) for t in terms))


def _grouped(derived, dots):
    first = 0
    for spec in derived.specs:
        count = len(list(leaf_specs(spec)))
        yield spec, dots[first : first + count], derived.leaves[first : first + count]
        first += count


class _Shim:
    """NumPy as it is, but for what an array of objects does not do."""

    def __getattr__(self, name):
        if name in ("conj", "conjugate"):
            return lambda z: z.conjugate() if isinstance(z, Dual) else np.conj(z)
        if name in ("real", "imag"):
            return lambda z: getattr(z, name)
        if name == "vdot":
            return lambda a, b: np.sum(np.conj(a) * b)
        return getattr(np, name)


def test_real_arrays_out_of_complex_ones():
    """Parts of arrays, which an array of objects does not have."""
    z = complex_models.Z
    out, pullback = adj.vjp(real_out_of_complex, z)
    np.testing.assert_allclose(out[1], np.abs(z) + np.angle(z), rtol=1e-14)
    u_bar, a_bar = np.arange(1.0, 6.0), np.linspace(0.2, 1.0, 5)
    (bar,) = pullback((u_bar, a_bar))
    expected = 2.0 * u_bar + a_bar * (z / np.abs(z) + 1j * z / np.abs(z) ** 2)
    expected[1] -= 2.0 * u_bar[1]
    expected[2] += 1j * u_bar[1] * z[0].real
    expected[0] += u_bar[1] * z[2].imag
    np.testing.assert_allclose(bar, expected, rtol=1e-13)
    assert bar.dtype == np.complex128 and out[0].dtype == np.float64


def schrodinger(n, psi, p):
    """A step of a free particle in a potential: half a kick, a drift by differences, half a kick."""
    kick = np.exp(-0.5j * p.dt * p.potential)
    u = kick * psi
    v = u.copy()
    v[1:-1] += 0.5j * p.dt * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return kick * v


def weight(psi, p):
    return np.sum(np.abs(psi) ** 2 * np.arange(len(psi)))


def test_a_sweep_of_complex_states():
    x = np.linspace(-2.0, 2.0, 12)
    psi, p = np.exp(-(x**2) + 2j * x), complex_models.Potential(0.05, x**2)
    found = []
    for checkpoints in (None, 3):
        sim = Simulation(schrodinger, 15, terminal=weight, checkpoints=checkpoints)
        found.append(sim.value_and_grad(psi, p))
    (value, grad), (_, other) = found
    assert grad.y0.dtype == np.complex128
    assert np.array_equal(grad.y0, other.y0) and np.array_equal(grad.p.potential, other.p.potential)
    # by transposition of the matrices of the steps, which are linear in psi
    kick = np.exp(-0.5j * p.dt * p.potential)
    drift = np.eye(12, dtype=complex)
    for i in range(1, 11):
        drift[i, i - 1 : i + 2] += 0.5j * p.dt * np.array([1.0, -2.0, 1.0])
    step = np.diag(kick) @ drift @ np.diag(kick)
    last = np.linalg.matrix_power(step, 15) @ psi
    np.testing.assert_allclose(value, weight(last, p), rtol=1e-13)
    bar = np.linalg.matrix_power(step, 15).conj().T @ (2.0 * last * np.arange(12))
    np.testing.assert_allclose(grad.y0, bar, rtol=1e-11, atol=1e-13)
    dot = np.cos(np.arange(12)) + 1j * np.sin(np.arange(12.0) ** 2)
    _, solution_dot = sim.jvp(psi, p, dot, None)
    assert abs(solution_dot.value - np.sum((np.conj(bar) * dot).real)) < 1e-11


def curved(z, c):
    u = np.exp(z * c) / (z + 2.0)
    return np.abs(np.sum(u)) ** 2 + np.sum(np.abs(z) ** 3) * c.imag


def test_second_derivatives():
    """Of a real function of complex numbers: symmetric in two directions, and the derivative of the gradient."""
    rng = np.random.default_rng(4)
    args = rng.standard_normal(3) + 1j * rng.standard_normal(3), 0.3 + 0.2j
    dots = [(rng.standard_normal(3) + 1j * rng.standard_normal(3), complex(*rng.standard_normal(2))) for _ in range(2)]
    found = [adj.hvp(curved, args, d) for d in dots]
    left, right = (sum(np.sum((np.conj(x) * y).real) for x, y in zip(found[k], dots[1 - k], strict=True)) for k in (0, 1))
    assert abs(left - right) < 1e-12 * abs(left)
    gradient, steps = adj.grad(curved, wrt=(0, 1)), []
    for h in (2e-3, 1e-3):
        ahead, back = (gradient(*(a + s * h * d for a, d in zip(args, dots[0], strict=True))) for s in (1, -1))
        steps.append([(x - y) / (2.0 * h) for x, y in zip(ahead, back, strict=True)])
    for k in (0, 1):
        np.testing.assert_allclose(found[0][k], (4.0 * steps[1][k] - steps[0][k]) / 3.0, rtol=1e-7)
    sim = Simulation(lambda n, y, p: y * p + 0.1 * np.abs(y) * y, 4, terminal=lambda y, p: np.sum(np.abs(y) ** 2), checkpoints=2)
    one, other = (sim.hvp(*args, *d) for d in dots)
    left = np.sum((np.conj(one.y0) * dots[1][0]).real) + (np.conj(one.p) * dots[1][1]).real
    right = np.sum((np.conj(other.y0) * dots[0][0]).real) + (np.conj(other.p) * dots[0][1]).real
    assert abs(left - right) < 1e-12 * abs(left)


def test_jacobians_have_an_axis_for_the_parts():
    z = np.array([1.0 + 2.0j, 0.5 - 1.0j])
    for mode in ("forward", "reverse"):
        found = adj.jacobian(lambda z: z * z, mode=mode)(z)
        assert found.shape == (2, 2, 2, 2)  # output, its part, input, its part
        for k in range(2):
            a, b = 2.0 * z[k].real, 2.0 * z[k].imag
            np.testing.assert_allclose(found[k, :, k, :], [[a, -b], [b, a]], rtol=1e-14)


def test_single_precision():
    z = complex_models.Z.astype(np.complex64)
    value, bar = adj.value_and_grad(lambda z: np.sum(np.abs(z * z) ** 2))(z)
    assert bar.dtype == np.complex64
    np.testing.assert_allclose(bar, 4.0 * np.abs(z) ** 2 * z, rtol=1e-5)
    number = np.complex64(0.5 + 0.25j)
    assert adj.grad(lambda c: abs(c) ** 2)(number) == pytest.approx(2 * number)
    assert adj.grad(lambda c: abs(c) ** 2)(0.5 + 0.25j) == pytest.approx(1.0 + 0.5j)


def test_strided_and_read_only_states():
    z = np.array([1.0 + 2.0j, 9.0, 0.5 - 1.0j, 9.0])[::2]
    z.flags.writeable = False
    bar = adj.grad(lambda z: np.sum((z * z).imag))(z)
    np.testing.assert_allclose(bar, 2.0 * (z.imag + 1j * z.real), rtol=1e-14)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda z: abs(z < 1.0), "'lt' of complex numbers is not defined"),
        (lambda z: z // 2.0, "'floordiv' of complex numbers is not defined"),
        (lambda z: math_floor(z), "of complex numbers is not supported"),
        (lambda z: 1.0 if z else 0.0, "the truth of a complex number"),
        (lambda z: z[0], "a complex number cannot be indexed"),
        (lambda z: len(z), "len"),
        (lambda z: float(z), "expected a number, got a complex number"),
        (lambda z: sum_of(*z), "not supported"),
    ],
)
def test_refused(f, words):
    with pytest.raises(UnsupportedError, match=words):
        adj.grad(f)(1.0 + 2.0j)


def math_floor(z):
    return np.floor(z)


def sum_of(a, b):
    return a + b


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda z: np.max(z), "complex"),
        (lambda z: np.linalg.solve(z.reshape(1, 3), np.ones(1))[0].real, "floats or complex numbers of one dtype"),
        (lambda z: np.sort(z)[0].real, "sort"),
        (lambda z: unpacked(z), "cannot be unpacked"),
        (lambda z: np.prod(z.reshape(1, 3), axis=0)[0].real, "product of complex numbers along an axis"),
        (lambda z: np.roll(z, z)[0].real, "roll of complex numbers is not supported"),
        (lambda z: stored_in_reals(z), "complex"),
    ],
)
def test_refused_of_arrays(f, words):
    with pytest.raises(UnsupportedError, match=words):
        adj.grad(f)(np.array([1.0 + 2.0j, 0.5j, 1.0]))


def unpacked(z):
    a, b, c = z
    return (a * b * c).real


def stored_in_reals(z):
    u = np.zeros(3)
    u[0] = z[0]
    return u[0]


def test_wrong_structures():
    f = adj.grad(lambda z: np.sum(np.abs(z)))
    with pytest.raises(StructureError, match="Got v"):
        flatten(np.ones(2), spec_of(np.ones(2, complex), "v"), "v")
    with pytest.raises(StructureError, match="object"):
        f(np.array([1.0 + 1.0j, None], object))
    sim = Simulation(schrodinger, 2, terminal=weight)
    with pytest.raises(DerivationError, match="returns a 1-d complex array where a 1-d array of float64 is expected"):
        sim.value_and_grad(np.ones(4), complex_models.Potential(0.1, np.ones(4)))
