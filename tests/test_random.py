"""Random numbers: the published vectors, distributions, and one number for one set of arguments wherever it is asked for."""

from __future__ import annotations

import itertools
import math
import statistics

import mpmath
import numba
import numpy as np
import pytest
from scipy import special, stats

import adjointsim as adj
from adjointsim.derive import philox

KINDS = [adj.random.normal, adj.random.uniform]
M64 = 2**64 - 1


def block(*words):
    return [int(w) for w in philox.philox4x32(*map(np.uint64, words))]


# ----------------------------------------------------------------------------------------------------------- the numbers
@pytest.mark.parametrize(
    ("given", "expected"),
    [  # kat_vectors of Random123 1.09: counter, key, block
        ("00000000 00000000 00000000 00000000 00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_published_vectors(given, expected):
    assert " ".join(f"{w:08x}" for w in block(*(int(w, 16) for w in given.split()))) == expected


ARGUMENTS = [(0, 0, 0), (1, 2, 3), (-1, 0, 5), (7, -3, 2**40), (2**63, 2**32, -(2**63)), (123456789123, 10**6, 1)]


def halves(seed, n, i):
    """The two halves of a block, whose counter is (n, i) and whose key is the seed, low words first."""
    seed, n, i = (x & M64 for x in (seed, n, i))
    words = block(*(x >> s & 0xFFFFFFFF for x in (n, i, seed) for s in (0, 32)))
    return words[0] | words[1] << 32, words[2] | words[3] << 32


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_numbers_are_made_of_the_block_as_documented(arguments):
    first, second = halves(*arguments)
    assert adj.random.uniform(*arguments) == ((first >> 12) + 0.5) / 2**52
    with mpmath.workdps(40):
        tail = (mpmath.mpf(second % 2**63) + 0.5) / 2**64
        z = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * tail) * (-1 if second >> 63 else 1)
        assert abs(adj.random.normal(*arguments) / z - 1) < 1e-15


def test_the_quantile_is_accurate_over_its_whole_range():
    tails = [2.0**-k * x for k in range(1, 65) for x in (1.0, 0.8, 0.61)] + [0.075, 0.0750001, 1.3887943864964e-11, 0.4999999]
    worst = 0.0
    with mpmath.workdps(40):
        for tail in tails:
            if tail < 0.5:
                exact = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(tail))
                worst = max(worst, float(abs(philox._quantile(tail, 0.5 - tail) / exact - 1)))
    assert worst < 1e-15


def test_the_largest_numbers():
    assert 9.0 < philox._quantile(2.0**-65, 0.5 - 2.0**-65) < 9.2
    assert (2**52 - 1 + 0.5) * 2.0**-52 < 1.0  # the largest uniform number is exact, and not rounded to 1


@pytest.mark.parametrize("x", [2.0**-65, 1e-17, 0.075, 0.5, 0.7071067811865475, 0.7071067811865476, 0.99, 1.0])
def test_the_logarithm(x):
    assert abs(philox._log(x) - math.log(x)) <= 2.3e-16 * abs(math.log(x))


# ----------------------------------------------------------------------------------------------------------- distributions
N = 200_000
AXES = {"seed": lambda k: (k, 3, 5), "n": lambda k: (11, k, 5), "i": lambda k: (11, 3, k)}


@pytest.mark.parametrize("axis", AXES)
def test_moments_and_distribution_along_each_argument(axis):
    k = np.arange(N)
    z, u = adj.random.normal(*AXES[axis](k)), adj.random.uniform(*AXES[axis](k))
    assert 0.0 < u.min() < 1e-4 and 1.0 - 1e-4 < u.max() < 1.0
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert stats.kstest(z, "norm").pvalue > 0.01
    for moment, expected in enumerate((0.0, 1.0, 0.0, 3.0), 1):
        spread = math.sqrt((special.factorial2(2 * moment - 1) - expected**2) / N)
        assert abs(np.mean(z**moment) - expected) < 4.0 * spread
    # neighbours, and the two distributions at the same arguments, have nothing to do with one another
    for a, b in ((z[1:], z[:-1]), (u[1:], u[:-1]), (z, u), (z**2, (u - 0.5) ** 2), (z[1:] ** 2, z[:-1] ** 2)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.0 / math.sqrt(N)


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_every_argument_matters(kind):
    base = [5, 6, 7]
    changed = [kind(*(x ^ (1 << bit) if k == j else x for k, x in enumerate(base))) for j in range(3) for bit in range(64)]
    assert len({kind(*base), *changed}) == 1 + 3 * 64


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_not_exchanged(kind):
    assert len({kind(*p) for p in itertools.permutations((1, 2, 3))}) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_those_modulo_two_to_the_64(kind):
    assert kind(-1, -2, -3) == kind(M64, M64 - 1, np.uint64(M64 - 2)) != kind(1, 2, 3)
    assert kind(np.int32(-1), np.int8(-2), np.int64(-3)) == kind(-1, -2, -3)
    assert kind(np.array(-1), 0, 0) == kind(np.array([M64], np.uint64), 0, 0)[0] == kind(-1, 0, 0)


def test_normal_is_the_quantile_of_a_standard_normal_number():
    _, second = halves(4, 5, 6)
    p = ((second % 2**63) + 0.5) / 2**64
    z = statistics.NormalDist().inv_cdf(p)
    assert adj.random.normal(4, 5, 6) == pytest.approx(z if second >> 63 else -z, rel=1e-13)


# ------------------------------------------------------------------------------------------------- wherever it is asked for
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_broadcast_and_the_order_does_not_matter(kind):
    n, i = np.arange(4)[:, None], np.arange(-2, 3)
    table = kind(9, n, i)
    assert table.shape == (4, 5) and table.dtype == np.float64
    assert all(table[a, b] == kind(9, a, b - 2) for a, b in reversed(list(itertools.product(range(4), range(5)))))
    assert kind(9, np.zeros((0, 3), int), 1).shape == (0, 3)
    assert type(kind(1, 2, 3)) is float


@adj.step
def walk(n, y, p):
    sigma, seed = p
    out = np.empty_like(y)
    for k in range(len(y)):
        out[k] = 0.9 * y[k] + sigma * adj.random.normal(seed, n, k) * y[k] + adj.random.uniform(seed, n, k)
    return out


def test_a_step_draws_the_same_bits_as_python():
    y = np.linspace(1.0, 2.0, 33)
    k = np.arange(33)
    got = walk(12, y, (0.3, 5))
    noise, uniform = adj.random.normal(5, 12, k), adj.random.uniform(5, 12, k)
    assert np.array_equal(got, 0.9 * y + 0.3 * noise * y + uniform)


def test_a_step_is_differentiated_with_its_noise_as_a_constant():
    y, bar, k = np.linspace(1.0, 2.0, 33), np.cos(np.arange(33.0)), np.arange(33)
    noise = adj.random.normal(5, 12, k)
    y_bar, (sigma_bar, seed_bar) = walk.vjp(12, y, (0.3, 5), bar)
    assert np.allclose(y_bar, bar * (0.9 + 0.3 * noise), rtol=1e-14, atol=0) and seed_bar is None
    assert sigma_bar == pytest.approx(bar @ (noise * y), rel=1e-13)
    _, dot = walk.jvp(12, y, (0.3, 5), bar, (1.0, None))
    assert np.allclose(dot, bar * (0.9 + 0.3 * noise) + noise * y, rtol=1e-13, atol=0)


def total(y, p):
    return np.sum(y * y) * adj.random.uniform(p[1], 0, 0)


@pytest.mark.parametrize("bounds", [{}, {"checkpoints": 1}, {"checkpoints": 4}, {"memory": "1MB"}])
def test_a_simulation_draws_the_same_numbers_when_it_runs_steps_again(bounds):
    y0, p = np.linspace(1.0, 2.0, 7), (0.1, 3)
    value, grad = adj.Simulation(walk, 40, terminal=total, **bounds).value_and_grad(y0, p)
    y, y_dot, s_dot = y0.astype(complex), np.ones(7), 1.0
    y, sigma = y + 1e-30j * y_dot, 0.1 + 1e-30j * s_dot
    for n in range(40):
        k = np.arange(7)
        y = 0.9 * y + sigma * adj.random.normal(3, n, k) * y + adj.random.uniform(3, n, k)
    end = np.sum(y * y) * adj.random.uniform(3, 0, 0)
    assert value == pytest.approx(end.real, rel=1e-13)
    assert grad.y0.sum() + grad.p[0] == pytest.approx(end.imag / 1e-30, rel=1e-12)
    assert grad.p[1] is None


@adj.step
def whole(n, y, p):
    k = np.arange(len(y))
    return y * adj.random.normal(p, n, k) + adj.random.uniform(seed=p, n=n, i=-1)


def test_index_arrays_inside_a_step():
    y, k = np.linspace(1.0, 2.0, 9), np.arange(9)
    assert np.array_equal(whole(4, y, 8), y * adj.random.normal(8, 4, k) + adj.random.uniform(8, 4, -1))
    assert np.array_equal(whole.vjp(4, y, 8, np.ones(9))[0], adj.random.normal(8, 4, k))


def test_the_second_derivative_takes_noise_as_a_constant():
    def f(x):
        return x**3 * adj.random.normal(1, 2, 3)

    assert adj.hvp(f, (2.0,), (1.0,))[-1] == pytest.approx(12.0 * adj.random.normal(1, 2, 3), rel=1e-14)


@numba.njit
def compiled(seed, n, i):
    return adj_normal(seed, n, i) + adj_uniform(seed, n, i)


adj_normal, adj_uniform = KINDS


def test_compiled_functions_may_draw():
    assert compiled(1, 2, 3) == adj.random.normal(1, 2, 3) + adj.random.uniform(1, 2, 3)
    assert compiled(np.uint64(M64), 2, 3) == compiled(-1, 2, 3)
    with pytest.raises(numba.TypingError, match="Got n as float64 for random.normal, but expected an integer"):
        compiled(1, 2.0, 3)


# -------------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 2, 3), "Got seed as a float, but expected an integer"),
        ((1, np.float64(2.0), 3), "Got n as a float64, but"),
        ((1, 2, True), "Got i as a bool, but"),
        ((1, 2, "3"), "Got i as a str, but"),
        ((np.arange(3.0), 2, 3), "Got seed as an array of float64, but"),
        ((np.arange(3), np.arange(2), 3), "Got seed of shape .3,., n of shape .2,., i of shape .., but expected shapes"),
    ],
)
def test_what_is_no_integer_is_refused(kind, arguments, message):
    with pytest.raises(adj.errors.StructureError, match=message):
        kind(*arguments)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_integers_of_more_than_64_bits_are_refused(number):
    with pytest.raises(adj.errors.ArgumentError, match=f"Got n={number}, but expected an integer of 64 bits"):
        adj.random.normal(1, number, 3)


def float_seed(n, y, p):
    return y + adj.random.normal(p, n, 0)


def bool_counter(n, y, p):
    return y + adj.random.uniform(1, n, p > 0.0)


def tuple_seed(n, y, p):
    return y + adj.random.uniform((1, 2), n, 0)


def one_missing(n, y, p):
    return y + adj.random.uniform(1, n)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (float_seed, "seed of adj.random.normal is .*: pass an integer"),
        (bool_counter, "i of adj.random.uniform is .*: pass an integer"),
        (tuple_seed, "seed of adj.random.uniform is .*: pass an integer"),
        (one_missing, "adj.random.uniform needs the argument 'i'"),
    ],
)
def test_a_step_refuses_what_is_no_integer_at_its_line(f, message):
    with pytest.raises(adj.errors.UnsupportedError, match=message) as caught:
        adj.step(f)(0, 1.0, 2.0)
    assert caught.value.lineno == f.__code__.co_firstlineno + 1
