"""What tests of ODEs share."""

from __future__ import annotations

import os

import pytest

#: they compile programs of their own for half a minute and more, of kinds of which others are in the sample
LONG = {
    "test_a_terminal_event_ends_the_run_and_what_is_observed", "test_events_beside_jumps_and_a_running_cost",
    "test_states_of_any_structure", "test_several_threads", "test_tolerances_for_each_component",
    "test_adaptive_gradients_are_those_of_the_steps_taken",
}  # fmt: skip

#: the same of single cases
LONG_CASES = {
    "test_implicit_steps[crank_nicolson]", "test_implicit_steps[rodas5p]",
    "test_at_the_time_of_an_observation_and_a_jump[rodas5p]", "test_values_and_gradients_are_those_of_the_steps[leapfrog]",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Tests that compile for a minute or more run with ``CORPUS=all``."""
    if os.environ.get("CORPUS") != "all":
        for item in items:
            long = item.get_closest_marker("heavy") is not None or getattr(item, "originalname", "") in LONG
            long = long or item.name in LONG_CASES
            if long and "/ode/" in str(item.fspath):
                item.add_marker(pytest.mark.skip(reason="compiles for a minute or more: CORPUS=all"))
