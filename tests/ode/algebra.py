"""Order conditions from rooted trees, for Runge-Kutta and Rosenbrock methods and for splittings, in any arithmetic.

A rooted tree is the sorted tuple of its subtrees; ``()`` is the single vertex.  A method of order p satisfies

    sum_i b_i Phi_i(tree) = 1 / gamma(tree)        for all trees of at most p vertices,

where Phi is a product over the vertices' sons of sums with a_ij, and gamma(tree) = |tree| times the gammas of its subtrees
(Hairer, Norsett, Wanner I, theorem II.2.13).  In a Rosenbrock method a vertex with one son has beta = alpha + Gamma in
place of alpha (Hairer, Wanner II, section IV.7).  Arrays of ``Fraction`` objects are exact, float arrays are fast.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import combinations_with_replacement, product
from math import prod

import numpy as np


@lru_cache
def trees(n):
    """All rooted trees of n vertices."""
    return tuple(sorted({tuple(sorted(forest)) for forest in forests(n - 1, n - 1)}))


def forests(n, largest):
    """All multisets of trees that have n vertices together, none with more than ``largest``."""
    if n == 0:
        yield ()
    for size in range(min(n, largest), 0, -1):
        for copies in range(1, n // size + 1):
            for some in combinations_with_replacement(trees(size), copies):
                for rest in forests(n - size * copies, size - 1):
                    yield some + rest


@lru_cache
def vertices(tree):
    return 1 + sum(map(vertices, tree))


@lru_cache
def density(tree):
    return vertices(tree) * prod(map(density, tree))


def defects(alpha, beta, weights, order):
    """{tree: sum_i weights[i] Phi_i - 1/gamma} of all trees of at most ``order`` vertices.

    ``weights`` of shape (stages,), or (stages, powers) for the coefficients of theta, theta**2, ...: then rows of defects, of
    what should be theta**|tree| / gamma.
    """
    phi, one = {}, alpha[:, 0] * 0 + 1

    def vector(tree):
        if tree not in phi:
            matrix = beta if len(tree) == 1 else alpha
            phi[tree] = prod((matrix @ vector(son) for son in tree), start=one)
        return phi[tree]

    found = {}
    for n in range(1, order + 1):
        for tree in trees(n):
            total, wanted = weights.T @ vector(tree), one[0] / density(tree)
            if weights.ndim > 1:
                wanted = wanted * (np.arange(1, len(total) + 1) == n)
                if n > len(total):  # a polynomial of lower degree lacks the power altogether
                    total, wanted = np.append(total, 0 * one[0]), np.append(wanted, one[0] / density(tree))
            found[tree] = total - wanted
    return found


def matrix(rows, columns, number):
    """Ragged rows with zeros to their right, of ``Fraction`` objects or floats."""
    out = np.full((len(rows), columns), number(0), dtype=object if number is Fraction else float)
    for i, row in enumerate(rows):
        out[i, : len(row)] = [number(x) for x in row]
    return out


def inverse_lower(matrix):
    """The inverse of a lower triangular matrix, in its own arithmetic."""
    out = matrix * 0
    for i, row in enumerate(matrix):
        out[i] = -(row[:i] @ out[:i]) if i else out[i]
        out[i, i] += 1
        out[i] = out[i] / row[i]
    return out


def splitting_defects(kick, drift, order):
    """{word: coefficient in exp(kick_0 K) exp(drift_0 D) exp(kick_1 K) ... minus that in exp(K + D)}, up to ``order`` letters.

    Powers of two operators that do not commute: all words of K and D are independent.
    """
    words = ["".join(letters) for n in range(order + 1) for letters in product("KD", repeat=n)]
    series = {word: 0 for word in words} | {"": kick[0] * 0 + 1}
    factors = [x for pair in zip(kick, [*drift, kick[0] * 0]) for x in pair]
    for position, length in enumerate(factors):
        letter, power, one = "KD"[position % 2], length * 0 + 1, [length * 0 + 1]
        for n in range(1, order + 1):
            power = power * length / n
            one.append(power)
        series = {
            word: sum(series[word[: len(word) - n]] * one[n] for n in range(len(word) + 1) if word.endswith(letter * n))
            for word in words
        }
    exact = {word: one_over_factorial(len(word), kick[0]) for word in words}
    return {word: series[word] - exact[word] for word in words}


def one_over_factorial(n, like):
    return (like * 0 + 1) / prod(range(1, n + 1))
