"""A function of an array and a structure with an integer, for the tests of functions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class P(NamedTuple):
    a: float
    w: np.ndarray
    k: int


def weigh(x, p):
    total = 0.0
    for i in range(len(x)):
        total += math.sin(x[i] * p.w[i]) * p.a**p.k
    return total


X, Q = np.array([0.3, 1.2]), P(1.5, np.array([0.7, -0.4]), 2)
