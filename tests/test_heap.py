"""Blocks of memory that come back when nobody sees them any more."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import adjointsim as adj
from adjointsim import heap

LARGE = 2**15  # numbers


@pytest.fixture(autouse=True)
def nothing_idle():
    gc.collect()
    heap._idle.clear()
    yield
    heap._idle.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_a_block_is_used_again():
    first = heap.zeros((LARGE,), "f8")
    first[:] = 7.0
    place = address(first)
    assert heap.idle_bytes() == 0
    del first
    assert heap.idle_bytes() == 8 * LARGE
    again = heap.zeros((2, LARGE // 2), "i8")
    assert address(again) == place and again.flags.c_contiguous and again.flags.writeable and not again.any()
    assert heap.idle_bytes() == 0


def test_views_keep_it():
    array = heap.zeros((4, LARGE), np.float64)
    view = array[1:, ::2].T
    view[0, 0] = 3.0
    del array
    other = heap.zeros((4, LARGE), np.float64)
    other[:] = 5.0
    assert heap.idle_bytes() == 0 and view[0, 0] == 3.0 and not view[1:].any()
    del view
    assert heap.idle_bytes() == 32 * LARGE


def test_copies():
    given = np.arange(4.0 * LARGE).reshape(4, LARGE)[:, ::2]
    for array in (given, given[:1, :10]):
        copy = heap.copied(array)
        assert np.array_equal(copy, array) and copy.flags.c_contiguous and not np.shares_memory(copy, array)


@pytest.mark.parametrize("shape", [(), (0,), (0, 10**9), (3,), (2**13,)])
def test_small_arrays_are_ordinary(shape):
    array = heap.zeros(shape, np.float32)
    assert array.shape == shape and array.dtype == np.float32 and array.flags.owndata
    del array
    assert heap.idle_bytes() == 0


def test_no_more_than_so_much_is_kept():
    arrays = [heap.zeros((2**21 + k,), np.float64) for k in range(6)]
    places = [address(a) for a in arrays]
    while arrays:
        arrays.pop(0)
    assert heap.idle_bytes() <= 2**26
    assert [block.__array_interface__["data"][0] for block in heap._idle] == places[-3:]
    heap.zeros((2**24,), np.float64)  # too large to be kept
    assert len(heap._idle) == 3


def test_threads_never_have_the_same_block():
    wrong = []

    def work(mark):
        for _ in range(300):
            array = heap.zeros((LARGE,), np.float64)
            if array.any():
                wrong.append(mark)
            array[:] = mark
            if not np.all(array == mark):
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_gradients_that_are_held_do_not_change():
    @adj.step
    def decay(n, y, p):
        return y - 0.1 * p * y**2

    y0, sim = np.linspace(0.0, 1.0, LARGE), adj.Simulation(decay, 5, terminal=lambda y, p: np.sum(y * y))
    _, first = sim.value_and_grad(y0, 0.7)
    kept = first.y0.copy()
    for p in (0.1, 0.2, 0.3):
        sim.value_and_grad(y0, p)
        sim.run(y0, p)
    assert np.array_equal(first.y0, kept)
    y, z = sim.run(y0, 0.7).y, sim.run(y0, 0.1).y
    assert not np.array_equal(y, z) and np.array_equal(y, sim.run(y0, 0.7).y)
