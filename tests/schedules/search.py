"""The cheapest way to reverse steps with slots in memory and on a disk, by a search through all that can be done."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

State = tuple[int, int, int, int]  # the current n (-1: none of use), bit sets of the n in memory and on the disk, steps left


def _kept(held: int, slots: int, n: int, left: int) -> Iterator[int]:
    """The sets that may result if y_n is added to ``held``."""
    if not slots or held >> n & 1:
        return
    if held.bit_count() < slots:
        yield held | 1 << n
    else:
        yield from (held & ~(1 << k) | 1 << n for k in range(left) if held >> k & 1)


def _moves(state: State, memory: int, disk: int, write: float, read: float, forward: float) -> Iterator[tuple[float, State]]:
    n, fast, slow, left = state
    if n == left - 1 or fast >> (left - 1) & 1:  # then reverse at once: nothing else is cheaper
        rest = (1 << (left - 1)) - 1
        yield 0, (n if n < left - 1 else -1, fast & rest, slow & rest, left - 1)
        return
    for k in range(left):
        if fast >> k & 1:
            yield 0, (k, fast, slow, left)
        elif slow >> k & 1:
            yield read, (k, fast, slow, left)
    if n >= 0:
        yield forward, (n + 1, fast, slow, left)
        yield from ((0, (n, held, slow, left)) for held in _kept(fast, memory, n, left))
        yield from ((write, (n, fast, held, left)) for held in _kept(slow, disk, n, left))


def least_cost(n: int, memory: int, disk: int, write: float, read: float, forward: float) -> float:
    """Dijkstra's shortest path from y_0 current and nothing stored to no steps left."""
    start = (0, 0, 0, n)
    cost, queue = {start: 0.0}, [(0.0, start)]
    while queue:
        here, state = heapq.heappop(queue)
        if state[3] == 0:
            return here
        if here > cost[state]:
            continue
        for more, other in _moves(state, memory, disk, write, read, forward):
            if here + more < cost.get(other, float("inf")):
                cost[other] = here + more
                heapq.heappush(queue, (here + more, other))
    raise AssertionError("no way")
