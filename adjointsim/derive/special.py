"""Compiled functions that Numba does not have, special ones and random numbers; generated code calls them by name."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .bits import bits, number
from .elementary import tanh
from .philox import normal, uniform
from .sealed import seal

__all__ = ["bits", "normal", "number", "polygamma", "tanh", "uniform"]

# the only zero of digamma at x > 0, in two parts, and the Taylor series there: polygamma(n, root) / n!, n = 1, 2, ...
_ROOT, _ROOT_REST = 1.4616321449683622, 9.549995429965697e-17
_TAYLOR = (
    0.9676722454476212, -0.4427631689835921, 0.258499760955651, -0.16394270544240652, 0.10782405069126237,
    -0.07219956125645471, 0.04880428816414311, -0.03316112647484736, 0.022597648232218104, -0.01542476590494896,
    0.010538791616612175, -0.007204534386356869, 0.004926781395729853, -0.003369801655439328, 0.002305126326734928,
    -0.0015769367714301972, 0.0010788252019162967, -0.0007380709389960052, 0.000504953265834602, -0.0003454680251063077,
    0.00023635601564027053, -0.00016170622091974803, 0.0001106337276874741, -7.569179582195066e-05, 5.178575795222081e-05,
    -3.5430070947659604e-05, 2.424006611860132e-05, -1.6584242271854135e-05, 1.134638458466385e-05, -7.762817668462094e-06,
)  # fmt: skip
#: B(2k) / (2k)!, k = 1, 2, ..., with Bernoulli's numbers
_BERNOULLI = (
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07, 2.08767569878681e-08,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15, -2.174868698558062e-16,
    5.5090028283602295e-18, -1.3954464685812522e-19, 3.534707039629467e-21,
)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _cot_derivative(m: int, x: float) -> float:
    """The m-th derivative of pi cot(pi x) with respect to x."""
    r = x - np.rint(x)  # exact, and cot has period 1
    c = 1.0 / math.tan(math.pi * r) if abs(r) < 0.25 else math.copysign(math.tan(math.pi * (0.5 - abs(r))), r)
    # a polynomial p(c), differentiated m times by c' = -pi (1 + c^2); all its coefficients have one sign
    p = np.zeros(m + 2)
    p[1] = math.pi
    for n in range(m):
        q = np.zeros(m + 2)
        for k in range(1, n + 2):
            q[k - 1] -= math.pi * k * p[k]
            q[k + 1] -= math.pi * k * p[k]
        p = q
    value = 0.0
    for k in range(m + 1, -1, -1):
        value = value * c + p[k]
    return value


@njit(cache=True, error_model="numpy")
def _digamma(x: float) -> float:
    """The logarithmic derivative of gamma at x > 0."""
    d = x - _ROOT - _ROOT_REST
    if abs(d) < 0.4:
        value = 0.0
        for c in _TAYLOR[::-1]:
            value = (value + c) * d
        return value
    below = 0.0
    while x < 12.0:
        below += 1.0 / x
        x += 1.0
    series, f = 0.0, 1.0
    for k in range(1, 10):
        f *= (2 * k - 2) * (2 * k - 1) / (x * x) if k > 1 else 1.0 / (x * x)
        series += _BERNOULLI[k - 1] * f
    return math.log(x) - 0.5 / x - series - below


@njit(cache=True, error_model="numpy")
def _positive(m: int, x: float) -> float:
    """polygamma at x > 0."""
    if m == 0:
        return _digamma(x)
    # (-1)^(m+1) times the value is the sum of m! / (x + k)^(m+1), all positive: sum until Euler-Maclaurin is exact
    total = 0.0
    while x < 15.0 + m:
        term = 1.0 / x
        for j in range(1, m + 1):
            term *= j / x
        total += term
        x += 1.0
    f = 1.0 / x
    for j in range(1, m):
        f *= j / x
    total += f * (1.0 + 0.5 * m / x)
    for k in range(1, 14):
        f *= (2 * k + m - 2) * (2 * k + m - 1) / (x * x)
        total += _BERNOULLI[k - 1] * f
    return total if m % 2 == 1 else -total


@njit(cache=True, error_model="numpy")
def polygamma(m: int, x: float) -> float:
    """The m-th derivative of digamma (m >= 0), for every real x; NaN, or inf for odd m, at the poles 0, -1, -2, ...

    Accurate to 1e-14 of the result, or of the larger term of the reflection formula where x < 0 is near a zero.
    """
    if x > 0.0:
        return _positive(m, x)
    if x == np.floor(x):
        return math.inf if m % 2 == 1 else math.nan
    mirrored = _positive(m, 1.0 - x)  # not a call of polygamma: Numba 0.68 aborts when it loads a recursive function's cache
    return (-mirrored if m % 2 == 1 else mirrored) - _cot_derivative(m, x)


seal(globals())
