"""What a schedule's actions cost by themselves: nanoseconds each, as a sweep asks for them, some thousands at a time.

An action is a step at least, often many, so that these costs show with the smallest models only.  Times are those of the
processor, which other programs lengthen less.  An online schedule is timed on its way forward, where it decides what it stores,
and on its way back.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import numpy as np
from numba import njit

from adjointsim.schedules import (
    Binomial,
    Mixed,
    Online,
    OnlineStream,
    Periodic,
    PeriodicDisk,
    Schedule,
    Segmented,
    StoreAllDisk,
    Stream,
    TwoLevel,
)  # fmt: skip
from adjointsim.sweep import CHUNK
from benchmarks.common import ROUNDS, table

LENGTHS = (10**4, 10**5, 10**6, 10**7)
LIMIT = 5.0  # nanoseconds an action
MOST = 10**6  # actions of one stream that are counted
LEAST = 10**5  # actions of a round


def schedules(n: int) -> dict[str, Schedule]:
    """Every family, where actions are many: few slots, short periods, cheap disks."""
    found: dict[str, Schedule] = {f"binomial, {s} slots": Binomial(n, s) for s in (2, 10, 30, 100)}
    found["mixed, 30 slots"] = Mixed(n, 30)
    found["periodic, period 2"] = Periodic(n, period=2)
    found |= {f"segmented, period {k}": Segmented(n, 50, k) for k in (1, 10)}
    found |= {f"periodic disk, {m} + {d}, period {k}": PeriodicDisk(n, m, d, k) for m, d, k in ((2, 20, 3), (10, 20, 0))}
    found["periodic disk, all, period 2"] = PeriodicDisk(n, 2, period=2)
    found["store all, disk, period 1"] = StoreAllDisk(n, period=1)
    found["two levels, 10 + 20"] = TwoLevel(n, 10, 20)
    return found


def short(n: int) -> dict[str, Schedule]:
    """Lists that a dynamic programme makes."""
    cases = ((1, 3, 1.0), (2, 3, 1.0), (3, 20, 0.1), (10, 20, 1.0), (20, 50, 0.1), (2, 100, 0.1))
    return {f"two levels, {m} + {d}, costs {c}": TwoLevel(n, m, d, write=c, read=c) for m, d, c in cases}


def way_back(s: int, n: int) -> OnlineStream:
    """An online stream at y_n, where it ends."""
    stream, rows = Online(s).stream(), np.empty((CHUNK, 4), np.int64)
    while stream.forward(rows) and rows[-1, 2] < n:
        pass
    stream.stop(n)
    return stream


@njit
def through(kernel, first, state, rows):  # type: ignore[no-untyped-def]
    """So many actions of a stream, again and again from its first state on; how many."""
    count = 0
    while count < LEAST:
        state[:] = first
        done = 0
        while done < MOST:
            more = kernel(state, rows)
            done += more
            if not more:
                break
        count += done
    return count


def cost(kept: Stream) -> float:
    """Nanoseconds an action, in one round."""
    state, rows, began = kept.state.copy(), np.empty((CHUNK, 4), np.int64), time.process_time()
    count = through(kept.kernel, kept.state, state, rows)
    return 1e9 * (time.process_time() - began) / count


def check() -> None:
    """Every schedule that is timed reverses its steps."""
    rows = np.empty((CHUNK, 4), np.int64)
    for name, schedule in {**schedules(1000), **short(300)}.items():
        stream, left = schedule.stream(), schedule.n_steps
        while count := stream.fill(rows):
            back = rows[:count][rows[:count, 0] == 5]
            left -= int(np.sum(back[:, 2] - back[:, 1]))
        if left:
            raise AssertionError(f"{name}: {left} steps are left")


def main() -> None:
    """Print medians of rounds that go through all of the streams in turn."""
    for n in (2000, *LENGTHS):
        makers = {name: schedule.stream for name, schedule in (short(n) if n == 2000 else schedules(n)).items()}
        for s in (2, 10, 30, 100) if n > 2000 else ():
            stream = way_back(s, n)
            makers[f"online, {s} slots, the way there"] = Online(s, n).stream
            makers[f"online, {s} slots, the way back"] = partial(OnlineStream, stream.kernel, stream.state)
        streams = {name: make() for name, make in makers.items()}
        times: dict[str, list[float]] = {name: [cost(stream)][:0] for name, stream in streams.items()}  # once to compile
        for _ in range(ROUNDS):
            for name, stream in streams.items():
                times[name].append(cost(stream))
        title = f"schedules of {n} steps; limit {LIMIT:g} ns an action"
        table(title, [(name, median(each), "ns", "") for name, each in times.items()])


if __name__ == "__main__":
    check()
    main()
