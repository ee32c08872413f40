"""What this machine has: memory, cache, and how fast bytes move.  Measured once a process, and only where it matters."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from adjointsim import heap
from adjointsim.storage import arena

__all__ = ["STREAM", "WRITE", "cache_bytes", "disk_seconds", "free_memory", "stream_seconds", "total_memory"]

STREAM = 1e-10  #: seconds a byte to memory or from there, where nothing was measured
WRITE = 1e-9  #: seconds a byte to a disk or from there, where nothing was measured
_LARGE = 2**26  # bytes that no cache holds
_DISK = 2**22  # bytes written and read to see how fast a disk is
_UNLIMITED = 2**60  # a limit beyond that is none

_PROC, _CGROUPS, _CPU = Path("/proc"), Path("/sys/fs/cgroup"), Path("/sys/devices/system/cpu/cpu0/cache")


# ------------------------------------------------------------------------------------------------------------------- memory
def free_memory() -> int:
    """Bytes that can be had now: what the system calls available, or less in a container; slots that are kept count as free."""
    system = _meminfo("MemAvailable")
    if system is None:
        system = _sysconf("SC_AVPHYS_PAGES") or _sysconf("SC_PHYS_PAGES") or _UNLIMITED
    groups = [max(limit - used, 0) for limit, used in _cgroups()]
    return min([system, *groups]) + arena.kept_bytes() + heap.idle_bytes()


@cache
def total_memory() -> int:
    """Bytes of memory that this process may have at most; swap is not counted."""
    system = _meminfo("MemTotal") or _sysconf("SC_PHYS_PAGES") or _UNLIMITED
    return min([system, *(limit for limit, _ in _cgroups())])


def _meminfo(name: str) -> int | None:
    """A line of /proc/meminfo in bytes."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _sysconf(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        pages = os.sysconf(name)
        return pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else None
    return None


def _cgroups() -> Iterator[tuple[int, int]]:
    """The limit and the use of every group that this process is in and that has a limit: version 2, then version 1."""
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, kinds, place = line.split(":", 2)
            if not kinds:
                root, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
            elif "memory" in kinds.split(","):
                root, names = _CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            # In a container the path is often that of the host, and the group itself is mounted at the root.
            inside = root / place.lstrip("/")
            for group in {inside, *(up for up in inside.parents if up.is_relative_to(root)), root}:
                yield from _limited(group, *names)


def _limited(group: Path, limit_name: str, used_name: str, files_name: str) -> Iterator[tuple[int, int]]:
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / limit_name).read_text())  # "max" is none
        if limit < _UNLIMITED:
            used, files = int((group / used_name).read_text()), 0
            for line in (group / "memory.stat").read_text().splitlines():
                if line.startswith(f"{files_name} "):
                    files = int(line.split()[1])  # of the page cache: given back when memory is asked for
            yield limit, max(used - files, 0)


# -------------------------------------------------------------------------------------------------------------------- cache
@cache
def cache_bytes() -> int:
    """What recorded states may take so that they are still in the cache on the way back.

    A quarter of the last level, which others use, too, and which holds cotangents besides; the second level at least, and not
    more than 8 MiB: a last level of hundreds of MiB is made of parts.
    """
    sizes: dict[int, int] = {}
    for index in _CPU.glob("index*"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = (index / "size").read_text().strip()
            sizes[int((index / "level").read_text())] = int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]]
    if not sizes:
        return 2**20
    return max(sizes.get(2, 0), min(sizes[max(sizes)] // 4, 2**23))


# --------------------------------------------------------------------------------------------------------------- bandwidths
@cache
def _measured_stream() -> float:
    memory = np.ones(_LARGE // 8)
    began = time.perf_counter()
    memory[:] = 2.0
    np.max(memory)
    return (time.perf_counter() - began) / (2 * memory.nbytes)


def stream_seconds(room: int) -> float:
    """Seconds a byte to memory or from there; measured if there is ``room`` for it."""
    return _measured_stream() if room >= _LARGE else STREAM


@cache
def disk_seconds(directory: Path) -> tuple[float, float]:
    """Seconds a byte to a disk and from there; the usual ones if a file cannot be written."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(prefix="adjointsim.", dir=directory) as file:
        content = memoryview(np.random.default_rng(0).bytes(_DISK))
        began = time.perf_counter()
        written = os.pwrite(file.fileno(), content, 0)
        os.fdatasync(file.fileno())
        middle = time.perf_counter()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        again = time.perf_counter()
        read = len(os.pread(file.fileno(), _DISK, 0))
        end = time.perf_counter()
        if written == read == _DISK:
            return (middle - began) / _DISK, (end - again) / _DISK
    return WRITE, WRITE
