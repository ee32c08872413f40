"""Random numbers as pure functions of counters, compiled: the block cipher Philox4x32-10 and two distributions.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11 (2011), section 3.3.  The key is the
seed, the counter is (n, i): 192 bits are 192 bits, so that no two arguments share a block.  A uniform number is made of the
first half of a block and a normal one of the second, so that the two are independent where their arguments are the same.

Everything here is integer arithmetic, +, -, *, / and sqrt, whose results IEEE 754 prescribes, and no library's logarithm: the
numbers have the same bits on every machine, and in a loop that the compiler makes into vector instructions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .sealed import seal

__all__ = ["normal", "normals", "philox4x32", "uniform", "uniforms"]

_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)  # multipliers and Weyl increments of table 2
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_12, _63 = np.uint64(12), np.uint64(63)
_MOST = np.uint64(2**63 - 1)


@njit(cache=True, error_model="numpy")
def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """The block of a counter and a key after ten rounds; words of 32 bits as uint64."""
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(cache=True, error_model="numpy")
def _block(seed: int, n: int, i: int) -> Any:
    """The two halves of the block of (n, i)."""
    k, a, b = np.uint64(np.int64(seed)), np.uint64(np.int64(n)), np.uint64(np.int64(i))
    c0, c1, c2, c3 = philox4x32(a & _LOW, a >> _32, b & _LOW, b >> _32, k & _LOW, k >> _32)
    return c0 | (c1 << _32), c2 | (c3 << _32)


@njit(cache=True, error_model="numpy")
def _log(x: float) -> float:
    """The natural logarithm of a positive normal number to 1 unit in the last place (FreeBSD's msun, e_log.c)."""
    m, k = math.frexp(x)
    if m < 0.7071067811865476:
        m, k = 2.0 * m, k - 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (0.3999999999940941908 + w * (0.2222219843214978396 + w * 0.1531383769920937332))
    even = 0.1818357216161805012 + w * 0.1479819860511658591
    even = z * (0.6666666666666735130 + w * (0.2857142874366239149 + w * even))
    half = 0.5 * f * f
    return k * 6.93147180369123816490e-01 - ((half - (s * (half + (odd + even)) + k * 1.90821492927058770002e-10)) - f)


@njit(cache=True, error_model="numpy")
def _quantile(tail: float, centre: float) -> float:
    """The z > 0 that a standard normal number exceeds with probability ``tail``, where ``centre`` is 0.5 - tail.

    M. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988), PPND16.
    """
    if centre <= 0.425:
        r = 0.180625 - centre * centre
        a = 6.7265770927008700853e4 + r * (3.3430575583588128105e4 + r * 2.5090809287301226727e3)
        a = 1.3731693765509461125e4 + r * (4.5921953931549871457e4 + r * a)
        a = 3.3871328727963666080e0 + r * (1.3314166789178437745e2 + r * (1.9715909503065514427e3 + r * a))
        b = 3.9307895800092710610e4 + r * (2.8729085735721942674e4 + r * 5.2264952788528545610e3)
        b = 5.3941960214247511077e3 + r * (2.1213794301586595867e4 + r * b)
        b = 1.0 + r * (4.2313330701600911252e1 + r * (6.8718700749205790830e2 + r * b))
        return centre * a / b
    r = math.sqrt(-_log(tail))
    if r <= 5.0:
        r -= 1.6
        a = 2.41780725177450611770e-1 + r * (2.27238449892691845833e-2 + r * 7.74545014278341407640e-4)
        a = 3.64784832476320460504e0 + r * (1.27045825245236838258e0 + r * a)
        a = 1.42343711074968357734e0 + r * (4.63033784615654529590e0 + r * (5.76949722146069140550e0 + r * a))
        b = 1.51986665636164571966e-2 + r * (5.47593808499534494600e-4 + r * 1.05075007164441684324e-9)
        b = 6.89767334985100004550e-1 + r * (1.48103976427480074590e-1 + r * b)
        return a / (1.0 + r * (2.05319162663775882187e0 + r * (1.67638483018380384940e0 + r * b)))
    r -= 5.0
    a = 1.24266094738807843860e-3 + r * (2.71155556874348757815e-5 + r * 2.01033439929228813265e-7)
    a = 2.96560571828504891230e-1 + r * (2.65321895265761230930e-2 + r * a)
    a = 6.65790464350110377720e0 + r * (5.46378491116411436990e0 + r * (1.78482653991729133580e0 + r * a))
    b = 1.84631831751005468180e-5 + r * (1.42151175831644588870e-7 + r * 2.04426310338993978564e-15)
    b = 1.48753612908506148525e-2 + r * (7.86869131145613259100e-4 + r * b)
    return a / (1.0 + r * (5.99832206555887937690e-1 + r * (1.36929880922735805310e-1 + r * b)))


@njit(cache=True, error_model="numpy")
def uniform(seed: int, n: int, i: int) -> float:
    """A uniform number: the midpoint of one of 2^52 equal parts of (0, 1)."""
    bits, _ = _block(seed, n, i)
    return (np.float64(bits >> _12) + 0.5) * 2.0**-52


@njit(cache=True, error_model="numpy")
def normal(seed: int, n: int, i: int) -> float:
    """A standard normal number, by inversion: a bit for the sign, and 63 for the probability of what lies beyond."""
    _, bits = _block(seed, n, i)
    part = bits & _MOST
    z = _quantile((np.float64(part) + 0.5) * 2.0**-64, (np.float64(_MOST - part) + 0.5) * 2.0**-64)
    return -z if bits >> _63 else z


@njit(cache=True, error_model="numpy")
def uniforms(seed: Any, n: Any, i: Any, out: Any) -> None:
    """Uniform numbers for vectors of arguments."""
    for k in range(len(out)):
        out[k] = uniform(seed[k], n[k], i[k])


@njit(cache=True, error_model="numpy")
def normals(seed: Any, n: Any, i: Any, out: Any) -> None:
    """Normal numbers for vectors of arguments."""
    for k in range(len(out)):
        out[k] = normal(seed[k], n[k], i[k])


seal(globals())
