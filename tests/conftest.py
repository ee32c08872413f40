"""Fixtures of several files."""

from __future__ import annotations

import pytest
from interrupted import MODELS

from adjointsim import resume


@pytest.fixture(params=MODELS)
def model(request):
    """(simulation of n steps, y0, p)."""
    return MODELS[request.param]


@pytest.fixture
def often(monkeypatch):
    """A record after every step."""
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(resume, "_SHARE", 1e9)
