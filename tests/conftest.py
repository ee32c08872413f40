"""Fixtures of several files, and which tests run only with ``CORPUS=all``."""

from __future__ import annotations

import gc
import os
from collections import Counter

import pytest
from heavy import HEAVY, THIRDS
from hypothesis import HealthCheck, settings
from interrupted import MODELS

from adjointsim import resume

# how fast examples are drawn depends on what else the machine does
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items):
    """Of the heavy ones only the sample runs, unless ``CORPUS=all``."""
    if os.environ.get("CORPUS") == "all":
        return
    seen = Counter()
    for item in items:
        name = getattr(item, "originalname", "")
        if name in THIRDS:
            if seen[name] % 3 != THIRDS[name]:
                item.add_marker(pytest.mark.skip(reason="every third case runs: CORPUS=all"))
            seen[name] += 1
        file = "/".join(item.path.parts[item.path.parts.index("tests") + 1 :]) if "tests" in item.path.parts else ""
        listed = HEAVY.get(file, ())
        marked = item.get_closest_marker("heavy") and not file.startswith("schedules/")  # what is heavy there takes seconds
        if marked or item.name in listed or name in listed:
            item.add_marker(pytest.mark.skip(reason="compiles for ten seconds and more: CORPUS=all"))


@pytest.fixture(scope="module", autouse=True)
def what_came_before():
    """What files before this one have left behind is not looked through again and again for garbage."""
    gc.freeze()


@pytest.fixture(params=MODELS)
def model(request):
    """(simulation of n steps, y0, p)."""
    return MODELS[request.param]


@pytest.fixture
def often(monkeypatch):
    """A record after every step."""
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(resume, "_SHARE", 1e9)
