"""Formulas of uncertainty, without models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adjointsim.fitting.statistics import combination, quantile, uncertainty
from adjointsim.fitting.transforms import Transforms


def test_full_rank_is_the_inverse():
    j = np.random.default_rng(1).normal(size=(20, 4)) * [1.0, 1e-6, 1e5, 3.0]
    found = uncertainty(j, 2.5)
    np.testing.assert_allclose(found.covariance, 2.5 * np.linalg.inv(j.T @ j), rtol=1e-9)
    assert len(found.directions) == 0 and not found.undetermined.any()
    np.testing.assert_allclose(np.diag(found.correlation), 1.0)


def test_what_a_null_space_touches_is_infinite_and_the_rest_is_not():
    rng = np.random.default_rng(2)
    j = rng.normal(size=(20, 4))
    j[:, 3] = 2.0 * j[:, 1]
    found = uncertainty(j, 1.0)
    assert found.undetermined.tolist() == [False, True, False, True] and np.isinf(found.covariance[1, 1])
    kept = np.linalg.inv(j[:, :3].T @ j[:, :3])[np.ix_([0, 2], [0, 2])]
    np.testing.assert_allclose(found.covariance[np.ix_([0, 2], [0, 2])], kept, rtol=1e-9)
    (direction,) = found.directions
    assert direction[1] / direction[3] == pytest.approx(-2.0) and abs(direction[0]) < 1e-12
    assert combination(direction, np.array([1.0, 0.0, 1.0, 0.0]), list("abcd")) == "b by +1, d by -0.5"
    assert combination(direction, np.array([1.0, 4.0, 1.0, 2.0]), list("abcd")) == "b by +1 %, d by -1 %"


def test_a_column_of_zeros():
    j = np.random.default_rng(3).normal(size=(9, 3))
    j[:, 1] = 0.0
    found = uncertainty(j, 1.0)
    assert found.useless.tolist() == found.undetermined.tolist() == [False, True, False]
    np.testing.assert_allclose(found.covariance[::2, ::2], np.linalg.inv(j[:, ::2].T @ j[:, ::2]), rtol=1e-10)
    assert np.isnan(found.correlation[0, 1]) and found.correlation[1, 1] != 1.0


def test_rank_does_not_depend_on_units_nor_on_the_number_of_data():
    rng = np.random.default_rng(4)
    j = rng.normal(size=(100_000, 2)) * [1e-150, 1e150]
    assert not uncertainty(j, 1.0).undetermined.any()
    assert uncertainty(rng.normal(size=(2, 3)), 1.0).undetermined.any()  # fewer rows than columns


def test_quantiles():
    assert quantile(0.95, np.inf) == pytest.approx(1.959963984540054)
    assert quantile(0.9, 4.0) == pytest.approx(stats.t.ppf(0.95, 4.0)) and np.isnan(quantile(0.9, 0.0))


def test_transforms_and_their_derivatives():
    t = Transforms.of(["identity", "log", "logit"], np.array([-np.inf, 0.5, 2.0]), np.array([np.inf, 9.0, 5.0]))
    x = np.array([-3.0, 0.7, 4.9])
    z, h = t.to_z(x), 1e-5
    np.testing.assert_allclose(t.to_x(z), x, rtol=1e-14)
    np.testing.assert_allclose((t.to_x(z + h) - t.to_x(z - h)) / (2 * h), t.slope(z), rtol=1e-8)
    np.testing.assert_allclose((t.slope(z + h) - t.slope(z - h)) / (2 * h), t.curvature(z), rtol=1e-6, atol=1e-9)
    low, high = t.z_bounds()
    np.testing.assert_allclose(low, [-np.inf, np.log(0.5), -np.inf])
    np.testing.assert_allclose(high, [np.inf, np.log(9.0), np.inf])
    np.testing.assert_array_equal(t.to_x(np.array([0.0, 800.0, 800.0])), [0.0, 9.0, 5.0])
