"""An unfinished run in a directory: who works there, and a record from which it goes on.

    adjointsim.lock      its owner; locked as long as that lives
    adjointsim.states    states of the second tier
    adjointsim.record.0  where the run was, and
    adjointsim.record.1  where it was before, or the other way round

A record is written beside the older of the two, forced to the disk, and takes its place in one step.  It ends with a digest,
and says what the run is; of two that are whole the later one counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import numpy as np

from adjointsim.errors import ArgumentError, RestartError, RestartWarning, StorageError
from adjointsim.storage.digest import digest

__all__ = ["Record", "RunDirectory", "checked_directory"]

_MAGIC = b"adjointsim record 1\n"
_NAMES = ("adjointsim.record.0", "adjointsim.record.1")
_ALL = (*_NAMES, *(f"{name}.new" for name in _NAMES), "adjointsim.states")
_LOCK = "adjointsim.lock"
_KINDS = {stat.S_IFLNK: "symbolic link", stat.S_IFDIR: "folder", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}


@dataclass
class Record:
    """Where a run is.

    ``back`` says whether it is on its way back, ``n`` which state is current, or how many steps are left.  ``slots`` has for
    each slot of the second tier that holds a state its step and its digest; ``numbers`` and ``arrays`` are an executor's.
    """

    back: bool
    n: int
    numbers: dict[str, int]
    arrays: list[np.ndarray | None]
    slots: dict[int, tuple[int, int]] = field(default_factory=dict)
    serial: int = 0

    def content(self, identity: dict[str, str]) -> bytes:
        """The record as it is in a file."""
        kinds = [None if a is None else [a.dtype.str, list(a.shape)] for a in self.arrays]
        head = {
            "identity": identity, "back": self.back, "n": self.n, "numbers": self.numbers, "arrays": kinds,
            "slots": [[slot, n, f"{number:016x}"] for slot, (n, number) in sorted(self.slots.items())], "serial": self.serial,
        }  # fmt: skip
        text = json.dumps(head).encode()
        arrays = [np.ascontiguousarray(a).tobytes() for a in self.arrays if a is not None]
        body = b"".join([_MAGIC, len(text).to_bytes(8, "little"), text, *arrays])
        return body + digest([np.frombuffer(body, np.uint8)]).to_bytes(8, "little")

    @classmethod
    def parse(cls, content: bytes) -> tuple[Record, dict[str, str]]:
        """The record in a file and the identity of its run; ValueError if it is damaged."""
        body, number = content[:-8], content[-8:]
        if not body.startswith(_MAGIC) or digest([np.frombuffer(body, np.uint8)]).to_bytes(8, "little") != number:
            raise ValueError("it is damaged")
        at = len(_MAGIC) + 8
        size = int.from_bytes(body[at - 8 : at], "little")
        head = json.loads(body[at : at + size])
        at += size
        arrays: list[np.ndarray | None] = []
        for kind in head["arrays"]:
            if kind is None:
                arrays.append(None)
                continue
            dtype, shape = np.dtype(kind[0]), tuple(kind[1])
            count = int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(body, dtype, count, at).reshape(shape).copy())
            at += count * dtype.itemsize
        slots = {slot: (n, int(number, 16)) for slot, n, number in head["slots"]}
        return cls(head["back"], head["n"], head["numbers"], arrays, slots, head["serial"]), head["identity"]


def checked_directory(directory: Path) -> Path:
    """An absolute path of a directory that can be written; ArgumentError for anything else."""
    path = directory.absolute()
    said = f"Got directory={str(directory)!r}, but"
    if path.is_symlink():
        raise ArgumentError(f"{said} it is a symbolic link to {os.readlink(path)}: name the directory itself")
    if not path.exists():
        raise ArgumentError(f"{said} there is no such directory")
    if not path.is_dir():
        raise ArgumentError(f"{said} it is not a directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ArgumentError(f"{said} it cannot be written")
    return path


def _check_file(path: Path) -> None:
    """StorageError if something that is no file is where one of ours will be."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "device")
        raise StorageError(f"{path} is a {kind}, but a file of the run belongs there: remove it, or name another directory=")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """A file that cannot be opened or read is a StorageError; one that is not there is none."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be used ({error}): remove it, or name another directory=") from error


class RunDirectory:
    """A directory while a run works in it.  StorageError if another one does, or if our files cannot be there.

    ``begins`` says that there is no record to go on with: nothing is lost then if the files are removed.
    """

    def __init__(self, path: Path, identity: dict[str, str]) -> None:
        self.path, self.identity = path, identity
        self.serial = 0
        self.begins = False  # not known yet
        self._lock = self._locked()

    @property
    def states(self) -> Path:
        return self.path / "adjointsim.states"

    def _locked(self) -> FileIO:
        """The lock file.  It is an object, so that Ctrl-C between two lines does not leave it open for ever."""
        path = self.path / _LOCK
        for name in (_LOCK, *_ALL):
            _check_file(self.path / name)
        while True:
            with _named(path):
                file = FileIO(path, "r+", opener=lambda name, flags: os.open(name, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = file.read(4096).decode(errors="replace") or "another process"
                file.close()
                raise StorageError(f"{self.path} is in use by {owner}: name another directory=, or wait") from None
            with contextlib.suppress(OSError):
                if os.fstat(file.fileno()).st_ino == os.stat(path).st_ino:  # else the owner before has just removed it
                    break
            file.close()
        owner = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        file.truncate(0)
        file.write(owner.encode())
        return file

    # ------------------------------------------------------------------------------------------------------------ records
    def last(self) -> Record | None:
        """The last record of this run.

        Warns (RestartWarning) about damaged ones; RestartError if there is one of another run, with what differs.
        """
        found: list[Record] = []
        damaged: list[str] = []
        for name in _NAMES:
            try:
                with _named(self.path / name):
                    content = (self.path / name).read_bytes()
            except FileNotFoundError:
                continue
            try:
                record, identity = Record.parse(content)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                damaged.append(f"{name}: {error}")
                continue
            self._check(identity)
            found.append(record)
        record = max(found, key=lambda r: r.serial, default=None)
        if damaged:
            then = "the run begins anew" if record is None else "the other one is used"
            warnings.warn(f"{self.path}: {'; '.join(damaged)}: {then}", RestartWarning, stacklevel=2)
        if record is not None:
            self.serial = record.serial
        self.begins = record is None
        return record

    def _check(self, identity: dict[str, str]) -> None:
        names = [name for name in {**identity, **self.identity} if identity.get(name) != self.identity.get(name)]
        if names:
            fields = {name: (identity.get(name, "nothing"), self.identity.get(name, "nothing")) for name in names}
            said = "; ".join(f"{name}: {there} there, {here} here" for name, (there, here) in fields.items())
            advice = f"remove {self.path}/adjointsim.* to begin anew, or name another directory="
            raise RestartError(f"{self.path} holds an unfinished run of another kind ({said}): {advice}", fields)

    def commit(self, record: Record) -> None:
        """Put a record on the disk; when this returns, it will be found after a loss of power."""
        self.serial += 1
        record.serial = self.serial
        path = self.path / _NAMES[self.serial % 2]
        new = path.with_name(f"{path.name}.new")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            rest = memoryview(record.content(self.identity))
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        finally:
            os.close(file)
        self.begins = False
        os.replace(new, path)
        self._sync()

    def _sync(self) -> None:
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    # ---------------------------------------------------------------------------------------------------------------- end
    def close(self, done: bool) -> None:
        """Let others work here; if the run is ``done``, nothing of it stays.  No other file is touched.

        Warns (RestartWarning) if a file cannot be removed: what was computed is not lost by that.
        """
        try:
            if done:
                for name in (*_ALL, _LOCK):
                    (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            message = f"{self.path}: the run is over, but its files stay ({error}): remove {self.path}/adjointsim.*"
            warnings.warn(message, RestartWarning, stacklevel=2)
        finally:
            self._lock.close()
