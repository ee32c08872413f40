"""States on a disk: one file of equal slots, written behind and read ahead by a thread.

The file is made once, as long as it will be, and read and written at offsets: what cannot be had is an OSError here, where a
mapped file would end the process.  A slot's digest is kept with its number and looked at when it is read, so that what comes
back is what was stored, or a StorageError.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adjointsim.errors import StorageError
from adjointsim.leaves import Leaves
from adjointsim.storage.digest import digest

__all__ = ["BUFFERS", "DiskSlots", "Slots", "Tier", "layout_of", "room"]

_HEADER = 4096  # bytes before the first slot, and what slots are aligned to
BUFFERS = 3  #: states on their way: two to the disk, one from there


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
            if keep:
                if os.pread(self.file, _HEADER, 0) != text:
                    raise ValueError(f"{path} is not the file of this run")
            else:
                os.posix_fallocate(self.file, 0, _HEADER + count * self.pitch)
                os.pwrite(self.file, text, 0)
        except BaseException:
            self.close()
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
        self._whole(os.pwrite, state, slot)

    def read(self, slot: int, state: memoryview) -> None:
        self._whole(lambda file, part, at: os.preadv(file, [part], at), state, slot)

    def _whole(self, do: Callable[[int, memoryview, int], int], state: memoryview, slot: int) -> None:
        at = 0
        while at < self.size:
            done = do(self.file, state[at : at + 2**30], _HEADER + slot * self.pitch + at)
            if done == 0:
                raise OSError(f"{self.path} has been cut")
            at += done

    def sync(self) -> None:
        """Return when everything is on the disk."""
        os.fdatasync(self.file)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.file)


class Tier:
    """The second tier of a sweep: states go to slots and come back while it goes on.

    ``held`` has, for each slot that is known to hold a state, its step and its digest.
    """

    def __init__(self, slots: Slots, like: Leaves, name: str) -> None:
        self.slots, self.name = slots, name
        self.held: dict[int, tuple[int, int]] = {}
        self._like = like
        self._free = [self._buffer() for _ in range(BUFFERS - 1)]
        self._writes: list[Future[np.ndarray]] = []
        self._ahead: tuple[int, Future[np.ndarray]] | None = None
        self._spare: np.ndarray | None = self._buffer()  # for what is read
        self._worker = ThreadPoolExecutor(1, "adjointsim-storage")

    @property
    def nbytes(self) -> int:
        """What the buffers take."""
        return BUFFERS * sum(leaf.nbytes for leaf in self._like)

    def _buffer(self) -> np.ndarray:
        return np.empty(sum(leaf.nbytes for leaf in self._like), np.uint8)

    # -------------------------------------------------------------------------------------------------- the sweep's part
    def store(self, slot: int, n: int, state: Leaves) -> None:
        """Keep y_n; the arrays may be changed at once."""
        if self._ahead is not None and self._ahead[0] == slot:
            self._drop_ahead()
        while not self._free:
            self._free.append(self._writes.pop(0).result())
        buffer = self._free.pop()
        for part, leaf in zip(self._parts(buffer), state, strict=True):
            part[...] = leaf
        self._writes.append(self._worker.submit(self._write, slot, n, buffer))

    def load(self, slot: int, state: Leaves) -> None:
        """Fill a state from a slot."""
        self.expect(slot)
        assert self._ahead is not None
        _, future = self._ahead
        self._ahead = None
        future.exception()  # wait for it; what was stored before has been written then, or could not be
        while self._writes and self._writes[0].done():
            self._free.append(self._writes.pop(0).result())
        self._spare = future.result()
        for part, leaf in zip(self._parts(self._spare), state, strict=True):
            leaf[...] = part

    def expect(self, slot: int) -> None:
        """Begin to read a slot, which will be loaded next."""
        if self._ahead is not None:
            if self._ahead[0] == slot:
                return
            self._drop_ahead()
        buffer, self._spare = self._spare, None
        self._ahead = slot, self._worker.submit(self._read, slot, buffer)

    def keep(self, held: dict[int, tuple[int, int]]) -> None:
        """Take over slots of an earlier run, those that still hold what they should."""
        for slot, (n, number) in held.items():
            buffer = self._spare
            assert buffer is not None
            with contextlib.suppress(OSError):
                self.slots.read(slot, memoryview(buffer))
                if digest([buffer]) == number:
                    self.held[slot] = n, number

    def settle(self) -> None:
        """Return when everything that was stored has been written; raises what went wrong."""
        while self._writes:
            self._free.append(self._writes.pop(0).result())

    def close(self) -> None:
        """Stop the thread; what is on its way is given up."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    # -------------------------------------------------------------------------------------------------- the thread's part
    def _write(self, slot: int, n: int, buffer: np.ndarray) -> np.ndarray:
        self.held.pop(slot, None)  # until it is complete there is nothing
        number = digest([buffer])
        self.slots.write(slot, memoryview(buffer))
        self.held[slot] = n, number
        return buffer

    def _read(self, slot: int, buffer: np.ndarray) -> np.ndarray:
        if slot not in self.held:
            raise StorageError(f"Slot {slot} of {self.name} holds no state")
        self.slots.read(slot, memoryview(buffer))
        if digest([buffer]) != self.held[slot][1]:
            raise StorageError(
                f"Slot {slot} of {self.name} does not hold what was stored there: the disk, or somebody else, changed it. "
                "Remove the files of the run and start it again"
            )
        return buffer

    # ------------------------------------------------------------------------------------------------------------ buffers
    def _drop_ahead(self) -> None:
        assert self._ahead is not None
        future = self._ahead[1]
        self._ahead = None
        future.exception()  # wait for it
        self._spare = self._buffer() if future.exception() else future.result()

    def _parts(self, buffer: np.ndarray) -> list[np.ndarray]:
        """The leaves of a state in a buffer."""
        out, at = [], 0
        for leaf in self._like:
            out.append(buffer[at : at + leaf.nbytes].view(leaf.dtype).reshape(leaf.shape))
            at += leaf.nbytes
        return out
