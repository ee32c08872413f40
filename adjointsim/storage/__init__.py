"""Where states live, and how many of them fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from adjointsim.errors import ArgumentError
from adjointsim.storage.budget import parse_bytes, parse_memory
from adjointsim.storage.plan import Plan, plan
from adjointsim.storage.planner import Sizes, choose, online_disk_slots, undecided
from adjointsim.storage.times import Times, forward_steps

__all__ = [
    "Plan", "Sizes", "Times", "checked_storage", "choose", "forward_steps", "online_disk_slots", "parse_bytes", "parse_memory",
    "plan", "undecided",
]  # fmt: skip


def checked_storage(directory: Any) -> Any:
    """``directory=`` as a path that can be used, or as a storage of the user's (:class:`.disk.Slots`); else ArgumentError."""
    if callable(getattr(directory, "write", None)) and callable(getattr(directory, "read", None)):
        capacity = getattr(directory, "capacity", None)
        if not isinstance(capacity, int) or capacity < 0:
            raise ArgumentError(f"Got directory={directory!r} with capacity={capacity!r}, but expected a number of bytes")
        return directory
    if not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory):
        expected = "the path of a directory, or an object with write(slot, state), read(slot, state) and capacity"
        raise ArgumentError(f"Got directory={directory!r}, but expected {expected}")
    from adjointsim.storage.restart import checked_directory

    return checked_directory(Path(os.fsdecode(directory)))
