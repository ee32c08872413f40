"""States on a disk: one file of equal slots, written and read by a thread.

The file is made once, as long as it will be, and mapped: states are read from the map.  They are written to the file at
offsets: what a full disk does not take is an OSError so, where a store into a map would end the process.  A slot's digest is
kept with its number and looked at when it is read, so that what comes back is what was stored, or a StorageError.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adjointsim.errors import StorageError
from adjointsim.leaves import Leaves
from adjointsim.storage.digest import digest

__all__ = ["DiskSlots", "Slots", "Tier", "layout_of", "room"]

_HEADER = 4096  # bytes before the first slot, and what slots are aligned to
_PIECE = 2**20  # bytes of the map that are in memory at once: they count as the process's


def room(directory: Any) -> int:
    """The bytes that a second tier may take: ``capacity`` of a storage, most of what is free on a disk."""
    if isinstance(directory, Path):
        return shutil.disk_usage(directory).free * 9 // 10
    return int(directory.capacity)


class Slots(Protocol):
    """Where states of the second tier are kept: anything that can do this may be passed as ``directory=``.

    Both methods are called from one thread, which is none of the user's.  What they raise ends the sweep.
    """

    capacity: int  #: bytes, all slots together

    def write(self, slot: int, state: memoryview) -> None:
        """Keep the bytes of a state; ``slot`` is 0, 1, ..., and may have one already.  They are gone after the call."""
        ...

    def read(self, slot: int, state: memoryview) -> None:
        """Fill in the bytes that were kept last."""
        ...


def layout_of(leaves: Leaves) -> list[tuple[str, tuple[int, ...]]]:
    """The dtypes and shapes of a state."""
    return [(leaf.dtype.str, leaf.shape) for leaf in leaves]


class DiskSlots:
    """A file of ``count`` slots for states of ``size`` bytes, with a header that says what it is.

    Raises OSError if there is not as much room, or for what else goes wrong with the file.
    """

    def __init__(self, path: Path, count: int, size: int, header: dict[str, Any], *, keep: bool = False) -> None:
        """``keep`` opens a file that is there; ValueError if its header is another."""
        self.path, self.count, self.size = path, count, size
        self.pitch = -(-size // _HEADER) * _HEADER
        text = json.dumps({**header, "slots": count, "bytes": size}, sort_keys=True).encode()
        if len(text) > _HEADER:
            text = json.dumps({"slots": count, "bytes": size, "header": digest([np.frombuffer(text, np.uint8)])}).encode()
        text = text.ljust(_HEADER)
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | (0 if keep else os.O_CREAT | os.O_TRUNC)
        self.file = os.open(path, flags, 0o600)
        try:
            if keep and os.pread(self.file, _HEADER, 0) != text:
                raise ValueError(f"{path} is not the file of this run")
            self.length = _HEADER + count * self.pitch
            os.posix_fallocate(self.file, 0, self.length)
            if not keep:
                os.pwrite(self.file, text, 0)
            self._map = mmap.mmap(self.file, self.length, access=mmap.ACCESS_READ)
            self._map.madvise(mmap.MADV_SEQUENTIAL)
        except BaseException:
            os.close(self.file)
            if not keep:
                path.unlink(missing_ok=True)
            raise

    @classmethod
    def nameless(cls, directory: Path, count: int, size: int) -> DiskSlots:
        """A new file that has no name any more, and is gone with the process."""
        file, name = tempfile.mkstemp(".states", "adjointsim.", directory)
        os.close(file)
        try:
            return cls(Path(name), count, size, {})
        finally:
            Path(name).unlink(missing_ok=True)

    def write(self, slot: int, state: memoryview) -> None:
        at, first = 0, _HEADER + slot * self.pitch
        while at < self.size:
            at += os.pwrite(self.file, state[at : at + 2**30], first + at)

    def read(self, slot: int, state: memoryview) -> None:
        if os.fstat(self.file).st_size < self.length:  # what is not there any more would end the process
            raise OSError(f"{self.path} has been cut")
        first = _HEADER + slot * self.pitch
        there, here = np.asarray(memoryview(self._map)), np.asarray(state)
        for at in range(0, self.size, _PIECE):
            count = min(_PIECE, self.size - at)
            here[at : at + count] = there[first + at : first + at + count]
            self._map.madvise(mmap.MADV_DONTNEED, first + at, count)

    def sync(self) -> None:
        """Return when everything is on the disk."""
        os.fdatasync(self.file)

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # a failed read is looked at still
            self._map.close()
        with contextlib.suppress(OSError):
            os.close(self.file)


class Tier:
    """The second tier of a sweep: states go to slots and come back while it goes on.

    ``held`` has, for each slot that is known to hold a state, its step and its digest.  Writes and reads are done by a thread
    in the order in which they were asked for; arrays belong to it until the future is done, and so long it keeps their
    ``owner``, whose memory may be given to others when it is gone.
    """

    def __init__(self, slots: Slots, like: Leaves, name: str) -> None:
        self.slots, self.name = slots, name
        self.held: dict[int, tuple[int, int]] = {}
        self._whole = np.empty(sum(leaf.nbytes for leaf in like), np.uint8)  # a state in one piece
        self._worker = ThreadPoolExecutor(1, "adjointsim-storage")

    @property
    def nbytes(self) -> int:
        """What it takes itself."""
        return self._whole.nbytes

    # -------------------------------------------------------------------------------------------------- the sweep's part
    def write(self, slot: int, n: int, state: Leaves, owner: object = None) -> Future[None]:
        """Begin to write y_n to a slot."""
        return self._worker.submit(self._write, slot, n, state, owner)

    def read(self, slot: int, state: Leaves, owner: object = None) -> Future[None]:
        """Begin to fill a state from a slot; a StorageError if it is not what was written there."""
        return self._worker.submit(self._read, slot, state, owner)

    def keep(self, held: dict[int, tuple[int, int]]) -> None:
        """Take over slots of an earlier run, those that still hold what they should."""
        for slot, (n, number) in held.items():
            with contextlib.suppress(OSError):
                self.slots.read(slot, memoryview(self._whole))
                if digest([self._whole]) == number:
                    self.held[slot] = n, number

    def close(self) -> None:
        """Stop the thread; what is on its way is given up."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    # -------------------------------------------------------------------------------------------------- the thread's part
    def _write(self, slot: int, n: int, state: Leaves, owner: object) -> None:
        self.held.pop(slot, None)  # until it is complete there is nothing
        memory = self._memory(state)
        if memory is self._whole:
            for part, leaf in zip(_parts(memory, state), state, strict=True):
                part[...] = leaf
        number = digest([memory])
        self.slots.write(slot, memoryview(memory))
        self.held[slot] = n, number

    def _read(self, slot: int, state: Leaves, owner: object) -> None:
        if slot not in self.held:
            raise StorageError(f"Slot {slot} of {self.name} holds no state")
        memory = self._memory(state)
        self.slots.read(slot, memoryview(memory))
        if digest([memory]) != self.held[slot][1]:
            raise StorageError(
                f"Slot {slot} of {self.name} does not hold what was stored there: the disk, or somebody else, changed it. "
                "Remove the files of the run and start it again"
            )
        if memory is self._whole:
            for part, leaf in zip(_parts(memory, state), state, strict=True):
                leaf[...] = part

    def _memory(self, state: Leaves) -> np.ndarray:
        """The bytes of a state in one piece: its own if it has one leaf, else those that are for it here."""
        if len(state) == 1 and state[0].flags.c_contiguous:
            return state[0].reshape(-1).view(np.uint8)
        return self._whole


def _parts(memory: np.ndarray, like: Leaves) -> list[np.ndarray]:
    """The leaves of a state in one piece."""
    out, at = [], 0
    for leaf in like:
        out.append(memory[at : at + leaf.nbytes].view(leaf.dtype).reshape(leaf.shape))
        at += leaf.nbytes
    return out
