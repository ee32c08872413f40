"""``np.linalg`` of complex matrices against 60 digits: forward, and backward at both levels; and what their phases leave open."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

import adjointsim as adj
from adjointsim.derive import interp
from adjointsim.derive.verify import verify

from .harness import Derived, functions

rng = np.random.default_rng(11)


def sample(*shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


A = sample(4, 4) + 2.0 * np.eye(4)
H = A @ A.conj().T + np.eye(4)
LOW = np.tril(H) + np.triu(sample(4, 4), 1) + 0.3j * np.eye(4)  # what is above the diagonal, or imaginary on it, is not read
TALL, LONG, B = sample(6, 4), sample(6), sample(4)
WIDE = TALL.T.copy()


# -------------------------------------------------------------------------------------------------------------- models
def factor(a):
    return np.linalg.cholesky(a)


def log_determinant(a):
    sign, value = np.linalg.slogdet(a)
    return sign, value, sign * value


def spectrum(a):
    w, v = np.linalg.eigh(a)
    return w, np.abs(v) ** 2, (v * np.sin(w)) @ np.conj(v).T, v[0] * np.conj(v[2])  # whatever the phases


def eigenvalues(a):
    return np.linalg.eigvalsh(a)


def orthogonal(a):
    q, r = np.linalg.qr(a)
    signs = np.diag(r).real / np.abs(np.diag(r))
    return q * signs, signs.reshape(len(signs), 1) * r


def singular(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.abs(u) ** 2, s, np.abs(vh) ** 2, (u * np.sin(s)) @ vh, u[0] * vh[:, 1]


def singular_values(a):
    return np.linalg.svd(a)[1]


def least_squares(a, b):
    x, square, _, s = np.linalg.lstsq(a, b)
    return x, square, s


# ------------------------------------------------------------------------------------------------------ in many digits
def objects(m):
    return np.array(m.tolist(), object)


def hermitian(a):
    rows = range(a.rows)
    return mp.matrix([[mp.re(a[i, i]) if i == j else a[i, j] if i > j else mp.conj(a[j, i]) for j in rows] for i in rows])


def mp_spectrum(a):
    w, v = mp.eighe(hermitian(a))
    w, v = np.array(list(w), object), objects(v)
    c = np.array([[mp.conj(x) for x in row] for row in v], object)
    return w, v * c, (v * np.array([mp.sin(x) for x in w], object)) @ c.T, v[0] * c[2]


def mp_orthogonal(a):
    """Gram and Schmidt's, with a diagonal that is positive."""
    q, r = mp.zeros(a.rows, a.cols), mp.zeros(a.cols, a.cols)
    for j in range(a.cols):
        v = a[:, j]
        for k in range(j):
            r[k, j] = sum(mp.conj(q[i, k]) * a[i, j] for i in range(a.rows))
            v -= r[k, j] * q[:, k]
        r[j, j] = mp.norm(v)
        q[:, j] = v / r[j, j]
    return objects(q), objects(r)


def mp_singular(a):
    u, s, vh = mp.svd_c(a)
    u, s, vh = objects(u), np.array(list(s), object), objects(vh)
    both = (u * np.array([mp.sin(x) for x in s], object)) @ vh
    return np.vectorize(lambda x: abs(x) ** 2)(u), s, np.vectorize(lambda x: abs(x) ** 2)(vh), both, u[0] * vh[:, 1]


def mp_least_squares(a, b):
    x = mp.lu_solve(a.H * a, a.H * b)
    rest = b - a * x
    return np.array(list(x), object), np.array([sum(abs(e) ** 2 for e in rest)], object), mp_singular(a)[1]


def mp_log_determinant(a):
    d = mp.det(a)
    return d / abs(d), mp.log(abs(d)), d / abs(d) * mp.log(abs(d))


MODELS = {
    "cholesky": (factor, (LOW,), lambda a: (objects(mp.cholesky(hermitian(a))),)),
    "slogdet": (log_determinant, (A,), mp_log_determinant),
    "eigh": (spectrum, (LOW,), mp_spectrum),
    "eigvalsh": (eigenvalues, (LOW,), lambda a: mp_spectrum(a)[:1]),
    "qr": (orthogonal, (A,), mp_orthogonal),
    "qr tall": (orthogonal, (TALL,), mp_orthogonal),
    "svd": (singular, (A,), mp_singular),
    "svd tall": (singular, (TALL,), mp_singular),
    "svd wide": (singular, (WIDE,), mp_singular),
    "svd values": (singular_values, (A,), lambda a: mp_singular(a)[1:2]),
    "lstsq": (least_squares, (TALL, LONG), mp_least_squares),
}


def exact_tangents(exact, args, dots):
    """By differences over 1e-20, in 60 digits."""
    with mp.workdps(60):
        step = mp.mpf(10) ** -20

        def at(sign):
            moved = [mp.matrix(a.tolist()) + sign * step * mp.matrix(d.tolist()) for a, d in zip(args, dots, strict=True)]
            return exact(*moved)

        pairs = zip(at(1), at(-1), strict=True)
        return [np.asarray((np.asarray(up, object) - np.asarray(down, object)) / (2 * step), object) for up, down in pairs]


@pytest.mark.parametrize("name", MODELS)
def test_linear_algebra(name):
    fn, args, exact = MODELS[name]
    derived = Derived(fn, args)
    for kernel in (derived.primal(1), derived.vjp(0), derived.vjp(1)):
        for f in functions(kernel).values():
            verify(f, functions(kernel))
    found = derived.run_jvp(derived.leaves, derived.dots)
    dots = [d.reshape(-1).view(complex).reshape(d.shape[:-1]) for d in derived.dots]
    for ours, theirs in zip(found, exact_tangents(exact, args, dots), strict=True):
        whole = theirs.astype(complex)
        both = np.stack([whole.real, whole.imag], -1)
        expected = both if ours.shape == both.shape else whole.real
        np.testing.assert_allclose(ours.reshape(expected.shape), expected, rtol=1e-11, atol=1e-11)
    forward = sum(np.sum(b * d) for b, d in zip(derived.bars, found, strict=True))
    for level in (0, 1):
        bars = derived.run_vjp(derived.vjp(level), derived.leaves, derived.bars)
        terms = [b * d for b, d in zip(bars, derived.dots, strict=True)]
        assert abs(forward - sum(map(np.sum, terms))) <= 1e-12 * max(1.0, sum(np.sum(abs(t)) for t in terms))


def all_of_them(a, b):
    hermite = a @ np.conj(a).T + 2.0 * np.eye(4)
    u, s, _ = np.linalg.svd(a, full_matrices=False)
    q, r = np.linalg.qr(a)
    w, v = np.linalg.eigh(hermite)
    x = np.linalg.lstsq(a, b)[0]
    sign, value = np.linalg.slogdet(a)
    total = np.sum(np.abs(u) ** 4) + np.sum(s**3) + abs(q[0, 1]) ** 2 + abs(r[0, 2]) ** 2 + sign.real * value
    return total + np.sum(w * np.abs(v[0]) ** 2) + abs(np.linalg.cholesky(hermite)[2, 1]) ** 2 + np.sum(np.abs(x) ** 2)


def test_second_derivatives():
    """The tangent of the adjoint is the derivative of the gradient."""
    derived = Derived(all_of_them, (A, B))
    doubled = derived.second().kernel
    derived.__dict__["bar_dots"] = [np.zeros(1)]
    found = derived.run_second(doubled, derived.leaves)[1]
    steps = []
    for size in (2e-3, 1e-3):
        sides = [[x + s * size * d for x, d in zip(derived.leaves, derived.dots, strict=True)] for s in (1, -1)]
        ahead, back = (derived.run_vjp(derived.vjp(1), side, derived.bars) for side in sides)
        steps.append([(x - y) / (2.0 * size) for x, y in zip(ahead, back, strict=True)])
    for ours, coarse, fine in zip(found, *steps, strict=True):
        np.testing.assert_allclose(ours, (4.0 * fine - coarse) / 3.0, rtol=1e-6, atol=1e-6)


def of_a_vector(a):
    return np.linalg.eigh(a)[1][1, 1].real


def of_a_left_vector(a):
    return np.linalg.svd(a)[0][1, 1].real


def of_a_right_vector(a):
    return np.linalg.svd(a)[2][1, 0].imag


@pytest.mark.parametrize("f", [of_a_vector, of_a_left_vector, of_a_right_vector])
def test_a_phase_that_matters_is_refused(f):
    derived = Derived(f, (H,))
    with pytest.raises(interp.StepRaised):
        derived.run_vjp(derived.vjp(1), derived.leaves, derived.bars)


def test_the_refusal_says_what_matters():
    with pytest.raises(ValueError, match="up to their phases: nothing may depend on them"):
        adj.grad(of_a_vector)(H)


def test_single_precision():
    derived = Derived(singular_values, (A.astype(np.complex64),))
    (bar,) = derived.run_vjp(derived.vjp(1), derived.leaves, [np.ones(4, np.float32)])
    u, _, vh = np.linalg.svd(A)
    assert bar.dtype == np.float32
    np.testing.assert_allclose(bar[..., 0] + 1j * bar[..., 1], u @ vh, rtol=1e-4, atol=1e-4)


def test_whether_numbers_are_complex_is_known():
    def f(x):
        return (x * 2j).imag if np.iscomplexobj(x) and not np.isrealobj(x) else x * 3.0

    assert adj.grad(f)(0.5) == 3.0
    assert adj.grad(f)(0.5 + 1j) == 2.0
