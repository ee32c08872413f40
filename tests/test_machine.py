"""What the machine is said to have, from files as systems write them."""

from __future__ import annotations

import os
import threading

import pytest

from adjointsim import heap
from adjointsim.storage import arena, machine

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Write a file of the system: ``system("proc/meminfo", text)``."""
    for name in ("_PROC", "_CGROUPS", "_CPU"):
        monkeypatch.setattr(machine, name, tmp_path / name.strip("_").lower())
    monkeypatch.setattr(arena, "_pool", arena._Pool())
    monkeypatch.setattr(heap, "_idle", [])
    machine.total_memory.cache_clear()
    machine.cache_bytes.cache_clear()

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    yield write
    machine.total_memory.cache_clear()
    machine.cache_bytes.cache_clear()


def test_without_a_container(system):
    system("proc/meminfo", MEMINFO)
    assert machine.free_memory() == 8_000_000 * 1024
    assert machine.total_memory() == 16_000_000 * 1024


def test_a_container_of_version_2(system):
    system("proc/meminfo", MEMINFO)
    system("proc/self/cgroup", "0::/jobs/mine\n")
    system("cgroups/jobs/memory.max", "3000000000\n")
    system("cgroups/jobs/memory.current", "1500000000\n")
    system("cgroups/jobs/memory.stat", "anon 1000\ninactive_file 500000000\n")
    system("cgroups/jobs/mine/memory.max", "max\n")
    assert machine.free_memory() == 2_000_000_000
    assert machine.total_memory() == 3_000_000_000


def test_a_container_of_version_1(system):
    system("proc/meminfo", MEMINFO)
    system("proc/self/cgroup", "5:cpu:/\n4:memory:/docker/abc\n0::/\n")
    system("cgroups/memory/memory.limit_in_bytes", "2000000000\n")
    system("cgroups/memory/memory.usage_in_bytes", "2100000000\n")
    system("cgroups/memory/memory.stat", "total_inactive_file 50000000\n")
    system("cgroups/memory/docker/abc/memory.limit_in_bytes", f"{2**63 - 4096}\n")  # none
    assert machine.free_memory() == 0
    assert machine.total_memory() == 2_000_000_000


def test_without_proc(system, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096, "SC_AVPHYS_PAGES": -1}.__getitem__)
    assert machine.total_memory() == machine.free_memory() == 4096_000


def test_slots_given_back_while_others_are_taken():
    """By the garbage collector, in the thread that takes them."""
    pool = arena._Pool()

    def collected():
        with pool.lock:
            pool.give((), ())

    thread = threading.Thread(target=collected, daemon=True)
    thread.start()
    thread.join(10.0)
    assert not thread.is_alive()


def test_slots_that_are_kept_are_free(system):
    system("proc/meminfo", MEMINFO)
    arena._pool.give((), (arena.np.empty(1000),))
    assert machine.free_memory() == 8_000_000 * 1024 + 8000


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({1: "32K", 2: "1024K", 3: "32768K"}, 2**23),
        ({1: "32K", 2: "2M", 3: "4M"}, 2**21),
        ({1: "32K", 2: "1M", 3: "16M"}, 2**22),
        ({}, 2**20),
    ],
)
def test_caches(system, levels, expected):
    for level, size in levels.items():
        system(f"cpu/index{level}/level", f"{level}\n")
        system(f"cpu/index{level}/size", f"{size}\n")
    assert machine.cache_bytes() == expected


def test_this_machine(tmp_path):
    assert 0 < machine.free_memory() <= machine.total_memory() + arena.kept_bytes() + heap.idle_bytes()
    assert all(1e-13 < seconds < 1e-5 for seconds in machine.disk_seconds(tmp_path))
    assert not any(tmp_path.iterdir())
    assert machine.disk_seconds(tmp_path / "none") == (machine.WRITE, machine.WRITE)
    assert machine.stream_seconds(10**6) == machine.STREAM and 1e-13 < machine.stream_seconds(10**9) < 1e-6
