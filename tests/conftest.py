"""Identifiers of parametrized tests: the same in every process, whatever the parameters are."""

from __future__ import annotations

import re
from typing import Any


def pytest_make_parametrize_id(config: Any, val: object, argname: str) -> str | None:
    """pytest's own identifier, unless it would contain an address (pytest-xdist compares them between processes)."""
    text = repr(val)
    return re.sub(r" at 0x[0-9a-f]+", "", text) if " at 0x" in text else None
