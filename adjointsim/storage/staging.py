"""States on their way to a disk and back: slots in memory that they pass through, so that the sweep need not wait.

A sweep's executor has some slots more than its schedule, the *places*.  Rows that store to a disk, or load from there, are
carried out with places instead, several in one go with the steps between them; what was stored is written from its place while
the next rows are carried out, and what these will load is read into other places meanwhile.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np

from adjointsim.leaves import Leaves
from adjointsim.schedules import LOAD, STORE
from adjointsim.storage.disk import Tier

__all__ = ["Staging", "buffers", "places"]

_LARGE = 2**20  # bytes of a state, from which on a step takes so long that it does not matter how often rows are looked at


def places(state_bytes: int) -> int:
    """How many there are: half of them are for the rows that are carried out, half for those before and after."""
    return 2 if state_bytes >= _LARGE else 6


def buffers(state_bytes: int) -> int:
    """The states that a second tier takes in memory: the places, and one that is written or read in one piece."""
    return places(state_bytes) + 1


class Owner(Protocol):
    """Who has the memory: an executor."""

    slots: int

    def stored(self, slot: int) -> Leaves:
        """The arrays of a slot."""
        ...


class _Passing(NamedTuple):
    """A state of a row that is carried out: the row, the slot on the disk, the n, its place, and what has been read."""

    row: int
    slot: int
    n: int
    place: int
    read: Future[None] | None


class Staging:
    """The places of one sweep, which are the slots from ``memory`` on; those of the disk follow in the schedule's numbers."""

    def __init__(self, tier: Tier, memory: int, owner: Owner) -> None:
        self.tier, self.memory, self.owner = tier, memory, owner
        self.count = owner.slots - memory
        self._most = self.count // 2  # states in rows that are carried out together
        self._free = list(range(self.count))
        self._writing: deque[tuple[int, int, Future[None]]] = deque()  # n, place; the oldest first
        self._coming: dict[int, tuple[int, Future[None]]] = {}  # by slot: what is read ahead
        self._passing: list[_Passing] = []

    def together(self, rows: np.ndarray) -> int:
        """How many of the rows that come next can be carried out in one go."""
        stored = set()
        for count, at in enumerate(self._on_disk(rows, self._most + 1)):
            kind, _, _, slot = rows[at].tolist()
            if count == self._most or (kind == LOAD and slot in stored):
                return at
            if kind == STORE:
                stored.add(slot)
        return len(rows)

    def enter(self, rows: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """The rows with places for slots on the disk; what is loaded has been read.  ``rest`` are the rows that follow."""
        on_disk = self._on_disk(rows, len(rows))
        if on_disk:
            rows = rows.copy()
            for at in on_disk:
                kind, n, _, slot = rows[at].tolist()
                slot -= self.memory
                read = None
                if kind == STORE:
                    place = self._place()
                else:
                    place, read = self._coming.pop(slot, None) or self._begin(slot, self._place())
                    self._arrived(n, read)
                self._passing.append(_Passing(at, slot, n, place, read))
                rows[at, 3] = self.memory + place
        self._read_ahead(rest)
        return rows

    def leave(self, used: int) -> None:
        """So many of the rows have been carried out."""
        for row, slot, n, place, read in self._passing:
            if row < used and read is None:
                self._writing.append((n, place, self.tier.write(slot, n, self._state(place), self.owner)))
            elif row < used or read is None:
                self._free.append(place)
            else:
                self._coming[slot] = place, read
        self._passing.clear()

    # ------------------------------------------------------------------------------------------------------------- places
    def _on_disk(self, rows: np.ndarray, most: int) -> list[int]:
        """The first rows for slots on the disk."""
        return np.flatnonzero(rows[:, 3] >= self.memory)[:most].tolist()

    def _read_ahead(self, rows: np.ndarray) -> None:
        """Begin to read what these rows load first, unless it is still to be stored."""
        stored = {passing.slot for passing in self._passing if passing.read is None}
        for at in self._on_disk(rows, self._most):
            kind, _, _, slot = rows[at].tolist()
            slot -= self.memory
            if kind == STORE:
                stored.add(slot)
            elif slot not in stored and slot not in self._coming:
                self._reap(all_of_them=False)
                if not self._free or len(self._coming) == self.count - self._most:
                    return
                self._coming[slot] = self._begin(slot, self._free.pop())

    def _begin(self, slot: int, place: int) -> tuple[int, Future[None]]:
        return place, self.tier.read(slot, self._state(place), self.owner)

    def _state(self, place: int) -> Leaves:
        return self.owner.stored(self.memory + place)

    def _arrived(self, n: int, read: Future[None]) -> None:
        """Wait for a state; what was stored before it has been written then, or could not be."""
        read.exception()
        self._reap(all_of_them=False)
        try:
            read.result()
        except Exception as error:
            error.add_note(f"adjointsim: raised while loading y_{n} from {self.tier.name}")
            raise

    def _place(self) -> int:
        """A free place, if need be that of the state which has been on its way for longest."""
        if not self._free:
            self._reap(all_of_them=False)
        if not self._free:
            self._written()
        return self._free.pop()

    def _reap(self, all_of_them: bool) -> None:
        while self._writing and (all_of_them or self._writing[0][2].done()):
            self._written()

    def _written(self) -> None:
        """Wait for the oldest state that is being written."""
        n, place, future = self._writing.popleft()
        self._free.append(place)
        try:
            future.result()
        except Exception as error:
            error.add_note(f"adjointsim: raised while storing y_{n} in {self.tier.name}")
            raise

    def settle(self) -> None:
        """Return when everything that was stored has been written; raises what went wrong."""
        self._reap(all_of_them=True)
