"""Calls by address: of compiled functions, for their own types only."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from adjointsim.derive.address import address_of, called


@njit(error_model="numpy")
def scaled(x, factor, n):
    for i in range(n):
        x[i] *= factor[0]
    if factor[0] < 0.0:
        raise ValueError("negative")
    return n


@njit(error_model="numpy")
def doubled(x):
    return 2.0 * x[0]


def test_the_result_and_what_is_raised():
    x = np.array([1.0, 2.0])
    assert scaled(x, np.array([2.0]), 2) == 2
    address, mark = address_of(scaled)

    space = {"called": called}
    exec(f"def caller(address, x, factor):\n    return called(address, {mark!r}, (x, factor, x.shape[0]))", space)
    caller = njit(error_model="numpy")(space["caller"])
    assert caller(address, x, np.array([3.0])) == 2
    np.testing.assert_array_equal(x, [6.0, 12.0])
    with pytest.raises(ValueError, match="negative"):
        caller(address, x, np.array([-1.0]))
    with pytest.raises(TypingError, match="other types than its own"):
        caller(address, x, np.array([3], np.int64))
    with pytest.raises(TypingError, match="other types than its own"):
        caller(address, np.zeros(4)[::2], np.array([3.0]))


def test_a_function_of_another_kind():
    with pytest.raises(ValueError, match="unpack"):
        address_of(njit(lambda x: 0))
    doubled(np.ones(1))
    with pytest.raises(TypeError, match="expected int64"):
        address_of(doubled)
