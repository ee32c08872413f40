"""Budgets as users write them: bytes, "200MB", or a part of the memory that is free."""

from __future__ import annotations

import contextlib
import math
import operator
import re
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError
from adjointsim.storage.machine import free_memory

__all__ = ["parse_bytes", "parse_memory"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]I?|)B?\s*", re.IGNORECASE | re.ASCII)
_BYTES = "a positive number of bytes, or '200MB', '2GB', '64KiB'"


def parse_bytes(size: Any, name: str = "memory", expected: str = _BYTES) -> int:
    """Bytes of ``2_000_000``, ``"200MB"``, ``"1.5 GB"`` or ``"64KiB"``; ArgumentError for anything else."""
    number: int | None = None
    if isinstance(size, str):
        if match := _SIZE.fullmatch(size):
            number = int(float(match[1]) * _UNITS[match[2].upper()])
    elif not isinstance(size, bool):
        with contextlib.suppress(TypeError):
            number = operator.index(size)
    if number is None or number <= 0:
        raise ArgumentError(f"Got {name}={size!r}, but expected {expected}")
    return number


def parse_memory(memory: Any) -> int:
    """Bytes as in :func:`parse_bytes`; a float, 0 < memory <= 1, stands for that part of what is free now."""
    expected = f"{_BYTES}, or a fraction of the free memory, a float from above 0.0 to 1.0"
    if isinstance(memory, (float, np.floating)):
        if not (math.isfinite(memory) and 0.0 < memory <= 1.0):
            raise ArgumentError(f"Got memory={memory!r}, but expected {expected}")
        return max(int(memory * free_memory()), 1)
    return parse_bytes(memory, expected=expected)
