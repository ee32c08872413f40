"""Online schedules: ended at every possible step, carried out, and counted against what a known end would cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from adjointsim.errors import ArgumentError, StructureError
from adjointsim.schedules import (
    ADVANCE,
    LOAD,
    RECORD,
    REVERSE,
    STORE,
    Action,
    G,
    Online,
    OnlineStream,
    P,
    StoreAll,
    actions,
    beta,
    repetitions,
)  # fmt: skip

from .machine import fused
from .quick import carry_out, follow

FAR = 2**60


def until(rows: np.ndarray, n: int) -> Iterator[tuple[int, int, int, int]]:
    """What of the rows is carried out if the run ends at y_n."""
    for kind, a, b, slot in rows.tolist():
        if kind == RECORD and b > n:
            yield RECORD, a, n, slot
            a, b, kind = n - 1, n, ADVANCE
        if kind == ADVANCE and b >= n:
            if n > a:
                yield ADVANCE, a, n, -1
            return
        yield kind, a, b, slot


def sweeps(s: int, ends: Iterable[int], n_max: int = 2**40) -> Iterator[tuple[int, int, list[int]]]:
    """For each of the increasing ``ends``: itself, the primal steps of the whole sweep, and the states stored at the turn."""
    stream, rows = Online(s, n_max).stream(), np.empty((2, 4), np.int64)
    held, counts = np.full(s, -1), np.array([0, FAR, 0, 0, 0, 0])
    count = 0
    for n in ends:
        while int(rows[count - 1, 2]) < n if count else True:
            assert carry_out(rows[:count], held, s, FAR, counts) < 0
            count = stream.forward(rows)
            assert count == 2
        there, done = held.copy(), counts.copy()
        assert carry_out(np.array(list(until(rows, n))), there, s, FAR, done) < 0
        assert done[0] == n
        stored = sorted(k for k in there.tolist() if 0 <= k < n)
        copy = OnlineStream(stream.kernel, stream.state.copy())
        copy.stop(n)
        done[1] = n
        follow(copy, there, s, n, done)
        assert done[1] == 0
        yield n, int(done[2]), stored


def reversed_by_segments(n: int, stored: list[int], s: int) -> int:
    """All primal steps, if what lies between stored states is reversed binomially with the slots from there on."""
    ends = [*stored[1:], n]
    return n + sum(P(b - a, s - k) for k, (a, b) in enumerate(zip(stored, ends, strict=True)))


@pytest.mark.parametrize("s", range(1, 21))
def test_every_end(s):
    for n, steps, stored in sweeps(s, range(1, 201)):
        assert len(stored) == min(s, n) and stored[0] == 0
        assert steps == reversed_by_segments(n, stored, s)
        if n < beta(s, 2):
            assert n + steps == G(n, s), n
        else:
            assert G(n, s) <= n + steps <= 1.12 * G(n, s), n


@pytest.mark.parametrize("s", [25, 40, 60])
def test_many_slots_are_optimal_as_far_as_steps_are_run_twice(s):
    for n, steps, _ in sweeps(s, range(1, beta(s, 2))):
        assert n + steps == G(n, s), n


@pytest.mark.parametrize("s, factor", [(1, 1.0), (2, 1.11), (3, 1.09), (4, 1.07), (5, 1.07), (8, 1.07), (20, 1.07)])
def test_how_far_from_the_optimum_longer_runs_are(s, factor):
    worst = max((n + steps) / G(n, s) for n, steps, _ in sweeps(s, [*range(1, 2000, 3), 10_000, 54_321]))
    assert worst <= factor


@pytest.mark.heavy
@pytest.mark.parametrize("s, factor", [(2, 1.11), (3, 1.09), (4, 1.07), (5, 1.07), (10, 1.07), (50, 1.07)])
def test_all_ends_up_to_five_thousand(s, factor):
    assert max((n + steps) / G(n, s) for n, steps, _ in sweeps(s, range(1, 5001))) <= factor


@pytest.mark.parametrize("s", range(1, 13))
def test_steps_are_run_once_more_at_most_than_if_the_end_were_known(s):
    for n, _, stored in sweeps(s, range(1, 400)):
        ends = [*stored[1:], n]
        most = max(repetitions(b - a, s - k) for k, (a, b) in enumerate(zip(stored, ends, strict=True)))
        assert most + 1 <= repetitions(n + 1, s) + 1  # there and back


@pytest.mark.parametrize("s", [1, 2, 3, 8, 30])
@pytest.mark.parametrize("chunk", [3, 4, 20, 4096])
def test_the_way_forward_is_the_same_in_larger_pieces(s, chunk):
    """And the run may end anywhere within them."""
    rows, n_max = np.empty((chunk, 4), np.int64), 700
    pairs, one = Online(s, n_max).stream(), np.empty((2, 4), np.int64)
    single = [tuple(row) for _ in iter(lambda: pairs.forward(one), 0) for row in one.tolist()]
    stream = Online(s, n_max).stream()
    many: list[tuple[int, ...]] = []
    while count := stream.forward(rows):
        assert count <= chunk and count % 2 == 0
        first, last = len(many), int(rows[count - 1, 2])
        many += map(tuple, rows[:count].tolist())
        begin = many[first][1] if first else 0
        for n in {begin + 1, (begin + last) // 2, last} - {begin}:
            copy = OnlineStream(stream.kernel, stream.state.copy())
            copy.stop(n)
            assert back(copy) == whole(s, n, 64), n
    assert many == single


def back(stream: OnlineStream) -> list[tuple[int, ...]]:
    """The rows of the way back of a stream that was stopped."""
    out, rows = [], np.empty((64, 4), np.int64)
    while count := stream.fill(rows):
        out += map(tuple, rows[:count].tolist())
    return out


def whole(s: int, n: int, chunk: int = 7) -> list[tuple[int, ...]]:
    """The rows of the way back."""
    stream, rows = Online(s).stream(), np.empty((chunk, 4), np.int64)
    while stream.state[4] < n:
        stream.forward(rows)
    stream.stop(n)
    out: list[tuple[int, ...]] = []
    while count := stream.fill(rows):
        out += map(tuple, rows[:count].tolist())
    return out


@pytest.mark.parametrize("s, n", [(3, 40), (7, 100), (20, 231), (20, 7)])
def test_the_size_of_a_chunk_does_not_matter(s, n):
    expected = whole(s, n, 1000)
    assert all(whole(s, n, chunk) == expected for chunk in (2, 3, 64, 65))


def test_a_short_run_is_stored_whole():
    assert whole(10, 10) == list(actions(StoreAll(10)))[1:]
    assert whole(10, 4) == [(REVERSE, 0, 4, 0)]


def test_the_way_forward():
    stream, rows = Online(3).stream(), np.empty((2, 4), np.int64)
    found = [list(map(tuple, rows[: stream.forward(rows)].tolist())) for _ in range(3)]
    assert found[0] == [(RECORD, 0, 3, 0), (ADVANCE, 2, 4, -1)]
    assert [row[0] for pair in found[1:] for row in pair] == [STORE, ADVANCE] * 2
    assert [pair[0][1] for pair in found[1:]] == [4, 6]


def test_a_saved_state_continues_the_way_back():
    stream, rows = Online(5).stream(), np.empty((9, 4), np.int64)
    while stream.state[4] < 90:
        stream.forward(rows)
    stream.stop(90)
    stream.fill(rows)
    copy = OnlineStream(stream.kernel, stream.state.copy())
    assert copy.stopped
    other = np.empty_like(rows)
    while count := stream.fill(rows):
        assert copy.fill(other) == count and np.array_equal(rows[:count], other[:count])
    assert copy.fill(other) == 0


def test_the_end_is_given_at_the_latest_at_n_max():
    stream, rows = Online(4, 30).stream(), np.empty((2, 4), np.int64)
    while stream.forward(rows):
        pass
    assert rows[1, 2] == 30
    stream.stop(30)
    assert [n for n, _, _ in sweeps(4, range(1, 31), 30)] == list(range(1, 31))
    assert Online(9, 4).slots == 4


def test_no_steps():
    stream = Online(3).stream()
    stream.stop(0)
    assert stream.fill(np.empty((4, 4), np.int64)) == 0


def test_a_long_run():
    stream, rows = Online(100, 10**9).stream(), np.empty((4096, 4), np.int64)
    while stream.state[4] < 10**5:
        stream.forward(rows)
    stream.stop(10**5)
    assert stream.state.size < 1000 + 300 + 300
    assert stream.fill(rows) == 4096


def test_calls_out_of_order():
    stream, rows = Online(3).stream(), np.empty((4, 4), np.int64)
    with pytest.raises(ArgumentError, match="fill\\(\\) before stop"):
        stream.fill(rows)
    with pytest.raises(ArgumentError, match="stop\\(1\\), but the last rows went from y_0 to y_0"):
        stream.stop(1)
    with pytest.raises(StructureError, match="one row"):
        stream.forward(rows[:1])
    stream.forward(rows[:2])
    stream.forward(rows[:2])
    for n in (0, 4, 7, 100):
        with pytest.raises(ArgumentError, match=f"stop\\({n}\\), but the last rows went from y_4 to y_6"):
            stream.stop(n)
    stream.stop(6)
    with pytest.raises(ArgumentError, match="stopped before"):
        stream.stop(6)
    with pytest.raises(ArgumentError, match="forward\\(\\) after stop"):
        stream.forward(rows)


def test_bad_numbers():
    for slots in (0, 2.0, True):
        with pytest.raises(ArgumentError, match="slots"):
            Online(slots)
    with pytest.raises(ArgumentError, match="n_max=0"):
        Online(3, 0)
    with pytest.raises(ArgumentError, match="below 2\\*\\*62"):
        Online(1, 2**62)
    with pytest.raises(ArgumentError, match="n_max \\* \\(slots \\+ r\\)"):
        Online(2, 2**50)


@pytest.mark.parametrize("s, n", [(3, 40), (7, 100), (20, 231), (50, 80)])
def test_ranges_are_as_long_as_their_slots_are_neighbours(s, n):
    rows = [Action(*row) for row in whole(s, n)]
    ends = {a.a for a in rows if a.kind == LOAD}  # where a segment ends that does not merge with the one before it
    assert all(fused(*pair) or pair[0].a in ends for pair in pairwise(rows))
