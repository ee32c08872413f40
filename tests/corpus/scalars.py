"""Scalar arithmetic and scalar functions."""

import math
from math import exp, sin

import numpy as np

from . import case


@case(args=(1.7,))
def identity(x):
    return x


@case(args=(1.7,), tags="zero")
def constant(x):
    return 3.5


@case(args=(1.7, -0.3))
def polynomial(x, y):
    return 3.0 * x * x - 2.0 * x * y + y + 1.0


@case(args=(1.7, -0.3))
def quotient(x, y):
    return (x + y) / (1.0 + y * y) - 1.0 / x


@case(args=(1.7,))
def unary_signs(x):
    return -x + +x * 3.0 - (-x) * x


@case(args=(-1.3,), id="negative")
@case(args=(0.0,), id="zero")
@case(args=(1.3,), id="positive")
def integer_powers(x):
    return x**0 + x**1 + 2.0 * x**2 + x**3 + 0.5 * x**7


@case(args=(-1.3,))
def negative_powers(x):
    return x**-1 + x**-2 + 1.0 / x**3


@case(args=(1.3, 3), id="cube")
@case(args=(-1.3, 2), id="negative-base")
@case(args=(1.3, -2), id="negative-exponent")
@case(args=(1.3, 0), id="exponent-zero")
@case(args=(0.0, 1), id="base-zero")
def power_of_run_time_integer(x, k):
    return x**k


@case(args=(1.3, 2.2))
def float_power(x, y):
    return x**y + 2.0**x + x**0.5 + x**-1.5


@case(args=(-1.5, 2.0), id="negative-base", tags="kink")
@case(args=(0.0, 2.0), id="base-zero", tags="kink")
def power_without_log(x, y):
    return x**y


@case(args=(7.3, 2.1), id="positive")
@case(args=(-7.3, 2.1), id="negative-left")
@case(args=(7.3, -2.1), id="negative-right")
def remainder_and_floor_division(x, y):
    return x % y + 0.25 * x * (x // y)


@case(args=(-7.3, 2.1))
def fmod_truncates(x, y):
    return np.fmod(x, y) * x


@case(args=(2.6,), id="positive")
@case(args=(-2.6,), id="negative")
def rounding_is_flat(x):
    return x * math.floor(x) + x * math.ceil(x) + x * np.floor(x) + x * np.ceil(x) + x * np.trunc(x) + x * int(x)


@case(args=(2.6,), id="positive")
@case(args=(-2.6,), id="negative")
def sign_and_absolute(x):
    return abs(x) * x + np.sign(x) * x + math.fabs(x) + np.abs(x) * 2.0 + math.copysign(x, -1.0)


@case(args=(0.0,), tags="kink")
def absolute_at_zero(x):
    return abs(x) + 2.0 * x


@case(args=(0.7, 1.9), id="first")
@case(args=(1.9, 0.7), id="second")
def min_and_max(x, y):
    return min(x, y) * 3.0 + max(x, y) * x + np.minimum(x, y) * 0.5 + np.maximum(x, y)


@case(args=(1.25, 1.25), tags="kink")
def min_and_max_tie(x, y):
    return min(x, y) * 3.0 + max(x, y) * 5.0 + np.minimum(x, y) * 7.0 + np.maximum(x, y) * 11.0


@case(args=(0.3, 1.2, -0.5))
def min_and_max_of_three(x, y, z):
    return min(x, y, z) * x + max(x, y, z) * z


@case(args=(0.4, 1.2))
def trigonometry(x, y):
    return math.sin(x) * math.cos(y) + math.tan(x * y) + math.asin(x) + math.acos(0.5 * x) + math.atan(y) + math.atan2(y, x)


@case(args=(0.4, 1.2))
def hyperbolic(x, y):
    return math.sinh(x) + math.cosh(y) * math.tanh(x) + math.asinh(y) + math.acosh(1.0 + y) + math.atanh(x)


@case(args=(0.4, 1.2))
def exponentials(x, y):
    return math.exp(-x * y) + math.expm1(x) + math.log(y) + math.log1p(x) + math.log2(y) * math.log10(x) + math.sqrt(x * y)


@case(args=(0.4, 1.2))
def special_functions(x, y):
    return math.erf(x) + math.erfc(y) + math.gamma(1.0 + x) + math.lgamma(y + 0.5)


@case(args=(0.4, 1.2))
def numpy_trigonometry(x, y):
    return np.sin(x) * np.cos(y) + np.tan(x) + np.arcsin(x) + np.arccos(x) + np.arctan(y) + np.arctan2(y, x) + np.hypot(x, y)


@case(args=(0.4, 1.2))
def numpy_exponentials(x, y):
    return np.exp(x) + np.exp2(y) + np.expm1(x) + np.log(y) + np.log1p(x) + np.log2(y) + np.log10(y) * np.sqrt(x) + np.cbrt(y)


@case(args=(0.4, 1.2))
def numpy_hyperbolic(x, y):
    return np.sinh(x) + np.cosh(x) * np.tanh(y) + np.arcsinh(y) + np.arccosh(1.0 + y) + np.arctanh(x) + np.square(x) * y


@case(args=(0.4, 1.2))
def numpy_odd_functions(x, y):
    return np.reciprocal(y) + np.deg2rad(x) + np.rad2deg(y) + np.logaddexp(x, y) + np.power(y, x) + np.copysign(x, y)


@case(args=(3.0, 4.0))
def hypotenuse(x, y):
    return math.hypot(x, y) + math.degrees(x) * math.radians(y) + math.pow(x, y)


@case(args=(0.8,))
def names_imported_from_math(x):
    return sin(exp(x)) + exp(sin(x))


@case(args=(0.8,))
def constants(x):
    return math.pi * x + math.e * x * x + np.pi + (x if x < np.inf else 0.0)


@case(args=(1.1,))
def repeated_squaring(x):
    x = x * x
    x = x * x
    x = x * x
    return x


@case(args=(0.3,))
def same_value_many_times(x):
    y = x * x + x
    return y * y + y / (y + x) + math.sin(y) * y


@case(args=(0.3, 2))
def integers_in_float_arithmetic(x, k):
    return k * x + x / k + k / 3 + (k + 1) // 2 * x + x * (k % 2) - k


@case(args=(0.3, True), id="true")
@case(args=(0.3, False), id="false")
def boolean_argument(x, flag):
    return x * 2.0 if flag else x * x


@case(args=(1.8,))
def boolean_as_number(x):
    return (x > 1.0) * x * x + (x <= 1.0) * x


@case(args=(2.7,))
def int_of_float_as_factor(x):
    k = int(x)
    return k * x + float(k) * x * x


@case(args=(1.5, 99.0, 7), tags="zero unused")
def unused_parameters(x, y, k):
    return x * x


@case(args=(1.5,))
def overwritten_before_use(x):
    y = math.exp(x) * 1000.0
    y = x + 1.0
    return y * y


@case(args=(1.5, 0.4))
def chained_assignment(x, y):
    a = b = x * y
    a = a * a
    return a + b * x


@case(args=(1.5, 0.4))
def augmented_assignments(x, y):
    x += y
    x *= x
    x -= 0.5 * y
    x /= 1.0 + y
    x **= 2
    x %= 1.7
    return x


@case(args=(1.5, 0.4, 2.2))
def swaps_and_rotation(x, y, z):
    x, y = y, x
    x, y, z = y * z, z, x
    return x + 10.0 * y + 100.0 * z * z


@case(args=(1.5, 4.0))
def walrus_free_nesting(x, y):
    return math.sqrt(math.sqrt(math.exp(math.sin(x * y) + 2.0) + x) * y)


@case(args=(2.0, 0.0), tags="singular", id="zero")
@case(args=(2.0, 1.0), id="one")
def root_times_nothing(x, y):
    unused = math.sqrt(y)
    return x * x + 0.0 * unused


@case(args=(0.0,), tags="singular kink")
def root_at_zero(x):
    return math.sqrt(x)


@case(args=(0.0, 2.0), tags="singular")
def squared_root_at_zero(x, y):
    s = math.sqrt(x)
    return s * s + y


@case(args=(1e-9, 2.0))
def logistic_sum(x, y):
    return 1.0 / (1.0 + math.exp(-x)) + y / (1.0 + math.exp(-y))
