"""What tests of fits share."""

from __future__ import annotations

import os

import pytest

#: they compile models of their own for ten seconds and more, of kinds of which others are in the sample
LONG = {
    "test_predictions_of_experiments_and_structures", "test_observations_of_every_form_give_the_same",
    "test_many_unknowns_without_a_covariance", "test_steps_that_adapt", "test_initial_states_by_different_functions",
    "test_complex_states_are_no_unknowns", "test_a_parameter_that_is_called_y0_is_not_the_initial_state",
    "test_hubers_covariance_by_simulation", "test_hessian_products_of_an_ode",
}  # fmt: skip
CERTIFIED = {"test_certified_values[Rat42]"}  # three others are certified, too


def pytest_collection_modifyitems(items):
    """The longer tests run with ``CORPUS=all``."""
    if os.environ.get("CORPUS") != "all":
        for item in items:
            if "/fitting/" in str(item.fspath) and (getattr(item, "originalname", "") in LONG or item.name in CERTIFIED):
                item.add_marker(pytest.mark.skip(reason="compiles for ten seconds and more: CORPUS=all"))
