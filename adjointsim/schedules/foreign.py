"""Schedules of other packages, recognised by the names and attributes of their actions."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules.actions import ADVANCE, LOAD, RECORD, REVERSE, STORE, checked, checked_steps
from adjointsim.schedules.listed import Listed

__all__ = ["from_actions"]

_TIERS = ("RAM", "DISK")
_FIELDS = {
    "Forward": ("n0", "n1", "write_ics", "write_adj_deps", "storage"),
    "Reverse": ("n1", "n0"),
    "Copy": ("n", "from_storage", "to_storage"),
    "Move": ("n", "from_storage", "to_storage"),
    "EndForward": (),
    "EndReverse": (),
}


def from_actions(
    given: Iterable[Any],
    n_steps: int,
    memory_slots: int | None = None,
    disk_slots: int | None = None,
) -> Listed:
    """The schedule that a schedule of the package ``checkpoint_schedules``, or any iterable of such actions, describes.

    Maddison, "Step-based checkpointing with high-level algorithmic differentiation" (arXiv:2305.09568), defines the actions
    Forward, Reverse, Copy, Move, EndForward and EndReverse, and the storages RAM, DISK, WORK and NONE.  They are told by the
    names of their classes and attributes; the package is not imported.  A schedule for an unknown number of steps is
    told it by ``finalize(n_steps)`` when it has got there.  ``given`` is used up, to its first EndReverse.

    Data to restart from y_n, and data for the adjoint of step n, are y_n here.  So the step that is run to tape it is not
    run for itself, states that are never used again are dropped, and nothing is copied that is where it should be: no more
    steps are run than there, and no more slots are used.  Data for the adjoints of several steps in WORK are in memory.

    Raises ArgumentError if an action cannot be carried out, if steps are left, or if more than ``memory_slots`` or
    ``disk_slots`` are used (None: as many as there are); StructureError for what is no such action.
    """
    n_steps = checked_steps(n_steps)
    named = {"memory_slots": memory_slots, "disk_slots": disk_slots}
    limits = {name: checked(name, limit, 0) for name, limit in named.items() if limit is not None}
    translator = _Translator(n_steps)
    for action in given if n_steps else ():
        if not translator.take(action):
            break
        if translator.at == n_steps and getattr(given, "max_n", 0) is None:
            given.finalize(n_steps)  # type: ignore[attr-defined]
    if translator.left:
        raise ArgumentError(f"Got actions that leave {translator.left} of {n_steps} steps, but expected all to be reversed")
    for name, used in zip(named, translator.used, strict=True):
        if used > limits.get(name, used):
            raise ArgumentError(f"Got actions that use {used} slots, but expected at most {name}={limits[name]}")
    memory, disk = max(translator.used[0], 1), translator.used[1]
    rows = np.array(translator.rows, np.int64).reshape(-1, 4)
    on_disk = rows[:, 3] < -1
    rows[on_disk, 3] = memory - 2 - rows[on_disk, 3]
    return Listed(n_steps, memory + disk, rows, disk, _name(given))


def _name(given: object) -> str:
    return type(given).__name__ if hasattr(given, "finalize") else "foreign"


def _tier(storage: Any) -> str:
    name = getattr(storage, "name", storage)
    if name not in (*_TIERS, "WORK", "NONE", None):
        raise StructureError(f"Got the storage {storage!r}, but expected RAM, DISK, WORK or NONE")
    return name or "NONE"


class _Translator:
    """Follows the foreign schedule, and writes ours only when it must.

    The current state is y_n with n = ``current``, still to be loaded from the slot ``source`` if that is not None; theirs is
    ``at``, and the steps between are run when a state there is needed.  Slots on the disk are numbered -2, -3, ... for now.
    """

    def __init__(self, n_steps: int) -> None:
        self.rows: list[tuple[int, int, int, int]] = []
        self.current = self.at = 0
        self.source: int | None = None
        self.left = n_steps
        self.n_steps = n_steps
        self.slots: dict[tuple[str, int], int] = {}  # of the states stored, by tier and n
        self.content: dict[tuple[str, int], int] = {}  # what is in a slot, by tier and number, also when it is free
        self.taken: dict[str, list[int]] = {tier: [] for tier in _TIERS}  # numbers of slots, sorted
        self.used = [0, 0]

    def take(self, action: Any) -> bool:
        """Translate one action; False at the end."""
        name = type(action).__name__
        if name not in _FIELDS:
            raise StructureError(f"Got {action!r}, but expected one of the actions {', '.join(_FIELDS)}")
        try:
            values = [getattr(action, field) for field in _FIELDS[name]]
        except AttributeError as error:
            raise StructureError(f"Got {action!r} ({error}), but expected the attributes {', '.join(_FIELDS[name])}") from None
        try:
            if name == "Forward":
                self._forward(*values)
            elif name == "Reverse":
                self._reverse(*values)
            elif name in ("Copy", "Move"):
                n, source, target = values
                self._copy(n, source, target, keep=name == "Copy")
        except _Impossible as error:
            where = f"{self.left} steps are left and the states {sorted(self.slots)[:20]} are stored"
            raise ArgumentError(f"Got {action!r}, but {error}; {where}") from None
        return name != "EndReverse"

    # -------------------------------------------------------------------------------------------------- their actions
    def _forward(self, n0: Any, n1: Any, write_ics: bool, write_adj_deps: bool, storage: Any) -> None:
        n0, n1, tier = int(n0), min(int(n1), self.n_steps), _tier(storage)
        if n0 != self.at or n0 >= n1:
            raise _Impossible(f"the run is at y_{self.at} of {self.n_steps}")
        if write_ics and tier in _TIERS:
            self._store(tier, n0, n0 + 1)
        if write_adj_deps:
            end = min(n1, self.left)
            if tier in _TIERS:
                self._store(tier, n0, end)
            elif end - n0 > 1:
                self._store("RAM", n0, end)
            elif self.current != n0:
                self._reach(n0)
        self.at = n1

    def _reverse(self, n1: Any, n0: Any) -> None:
        n1, n0 = int(n1), int(n0)
        if not 0 <= n0 < n1 == self.left:
            raise _Impossible("the next to be reversed is another")
        for n in range(n1 - 1, n0 - 1, -1):
            self._reverse_one(n)
            self.left = n
            for tier in _TIERS:
                self._free(tier, n)
        self.at = self.current

    def _copy(self, n: Any, from_storage: Any, to_storage: Any, keep: bool) -> None:
        n, tier, to = int(n), _tier(from_storage), _tier(to_storage)
        if to == "NONE" and n >= self.left:  # dropped when it was reversed
            return
        if (tier, n) not in self.slots:
            raise _Impossible(f"y_{n} is not there")
        if to != "NONE":
            if self.current != n or self.source is not None:
                self.current, self.source = n, self.slots[tier, n]
            self.at = n
        if to in _TIERS:
            self._store(to, n, n + 1)
        if not keep:
            self._free(tier, n)

    # ---------------------------------------------------------------------------------------------------------- ours
    def _reach(self, n: int) -> None:
        """Let y_n be the current state."""
        if self.source is not None:
            self.rows.append((LOAD, self.current, self.current, self.source))
            self.source = None
        if self.current > n:
            raise _Impossible(f"y_{n} is not there")
        if self.current < n:
            self.rows.append((ADVANCE, self.current, n, -1))
            self.current = n

    def _store(self, tier: str, a: int, b: int) -> None:
        """Store y_a .. y_{b-1} in slots next to each other."""
        if b - a == 1 and ((tier, a) in self.slots or self._claim(tier, a)):
            return
        self._reach(a)
        begin = 0
        for number in self.taken[tier]:
            if number - begin >= b - a:
                break
            begin = number + 1
        if tier == "RAM":
            self.rows.append((RECORD, a, b, begin) if b - a > 1 else (STORE, a, a, begin))
        for n in range(a, b):
            number = begin + n - a
            if tier == "DISK":
                self._reach(n)
                self.rows.append((STORE, n, n, -2 - number))
            self._free(tier, n)
            self._occupy(tier, n, number)
        self.current = b - 1

    def _claim(self, tier: str, n: int) -> bool:
        """Whether a slot that was given back still holds y_n, and nothing need be written; it is taken again."""
        held = self.source if self.current == n else None
        if held is None or (held < 0) != (tier == "DISK"):
            return False
        number = held if held >= 0 else -2 - held
        if number in self.taken[tier] or self.content.get((tier, number)) != n:
            return False
        self._occupy(tier, n, number)
        return True

    def _occupy(self, tier: str, n: int, number: int) -> None:
        self.slots[tier, n] = -2 - number if tier == "DISK" else number
        self.content[tier, number] = n
        insort(self.taken[tier], number)
        k = _TIERS.index(tier)
        self.used[k] = max(self.used[k], number + 1)

    def _free(self, tier: str, n: int) -> None:
        slot = self.slots.pop((tier, n), None)
        if slot is not None:
            self.taken[tier].remove(slot if slot >= 0 else -2 - slot)

    def _reverse_one(self, n: int) -> None:
        slot = self.slots.get(("RAM", n), -1)
        if slot < 0 and self.current == n and self.source is not None and self.source >= 0:
            slot = self.source  # loaded for this only
        if slot < 0:
            if self.current != n:
                if ("DISK", n) not in self.slots:
                    raise _Impossible(f"y_{n} is not there")
                self.current, self.source = n, self.slots["DISK", n]
            self._reach(n)
        kind, a, b, above = self.rows[-1] if self.rows else (0, 0, 0, 0)
        if kind == REVERSE and slot >= 0 and above == slot + 1 and a == n + 1:
            self.rows[-1] = (REVERSE, n, b, slot)
        else:
            self.rows.append((REVERSE, n, n + 1, slot))


class _Impossible(Exception):
    """Why an action cannot be carried out."""
