"""What tests of ODEs share."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items):
    """Tests that compile for a minute or more run with ``CORPUS=all``."""
    if os.environ.get("CORPUS") != "all":
        for item in items:
            if item.get_closest_marker("heavy") is not None and "/ode/" in str(item.fspath):
                item.add_marker(pytest.mark.skip(reason="compiles for a minute or more: CORPUS=all"))
