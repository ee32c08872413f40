"""Threads that share a model, and Ctrl-C during a compiled sweep."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from derived import ROD, RODS, SWING, SWINGS, bits, rods, swinging

import adjointsim as adj
from adjointsim.derive.cache import Cache


def together(work, count=4):
    """Run ``work(k)`` in so many threads, all at once; what they return."""
    found: list = [None] * count
    barrier = threading.Barrier(count)

    def run(k):
        barrier.wait()
        try:
            found[k] = work(k)
        except BaseException as error:
            found[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


def test_threads_share_a_model():
    sim = swinging(300, checkpoints=7)
    inputs = [(SWING._replace(x=0.1 * k), SWINGS) for k in range(4)]
    expected = [bits(*sim.value_and_grad(*i)) for i in inputs]
    for _ in range(5):
        assert together(lambda k: bits(*sim.value_and_grad(*inputs[k]))) == expected
        assert together(lambda k: bits(*sim.value_and_grad(*inputs[0]))) == [expected[0]] * 4
    _, pullback = sim.vjp(*inputs[0])
    assert together(lambda k: bits(sim.run(*inputs[0]).value, pullback())) == [expected[0]] * 4


def test_threads_derive_a_model_once():
    """The first calls of all come at the same time: a model of no other test, with all verbs."""
    source = "def step(n, u, p):\n    for i in range(1, len(u)):\n        u[i] = u[i] + 0.0123 * p.r * u[i - 1]\n    return u\n"
    costs = {"terminal": lambda u, p: u[0] * u[1], "running": lambda n, u, p: 0.5 * u[2] * p.r}
    sim = adj.Simulation(adj.step(source=source), 5, **costs, checkpoints=2)
    found = together(lambda k: bits(*sim.value_and_grad(ROD, RODS)))
    assert found == [bits(*sim.value_and_grad(ROD, RODS))] * 4
    found = together(lambda k: sim.step.vjp(0, ROD, RODS, np.ones(5))[0].tobytes())
    assert len(set(found)) == 1


def test_threads_with_models_of_their_own():
    def work(k):
        make, y0, p = (swinging, SWING, SWINGS) if k % 2 else (rods, ROD, RODS)
        return bits(*make(40 + k, checkpoints=3).value_and_grad(y0, p))

    assert together(work, 6) == [work(k) for k in range(6)]


class Thing:
    def __init__(self, old):
        self.old = old

    def stale(self):
        return self.old


def test_caches_are_bounded():
    cache = Cache(3)
    first = cache.get(0, lambda: Thing(False))
    for key in (1, 2, 0, 3, 0, 4):
        cache.get(key, lambda: Thing(False))
    assert len(cache) == 3
    assert cache.get(0, lambda: None) is first  # the least recently used are forgotten
    stale = cache.get(9, lambda: Thing(True))
    assert cache.get(9, lambda: Thing(False)) is not stale


ENV = {**os.environ, "PYTHONPATH": str(Path(adj.__file__).parents[1])}
LONG = """
    import signal, time
    import adjointsim as adj

    @adj.step
    def turn(n, y, p):
        x, v = y
        for k in range({rounds}):
            x, v = x + 0.001 * v, v - 0.001 * p * x
        return x, v

    def last(y, p):
        return y[0]

    def call(n):
        sim = adj.Simulation(turn, n, terminal=last, checkpoints=20)
        {verb}((1.0, 0.0), 1.0)

    call(30)  # compiled from here on
    began = 0.0
    def alarm(number, frame):
        global began
        began = time.perf_counter()
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, {after})
    sent = time.perf_counter() + {after}
    try:
        call({n})
        print("finished")
    except KeyboardInterrupt:
        print(time.perf_counter() - sent)
    call(30)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no interval timers")
@pytest.mark.parametrize(
    ("verb", "rounds", "n", "after"),
    [
        ("sim.run", 1, 10**11, 1.0),
        ("sim.value_and_grad", 1, 10**9, 1.0),
        ("sim.value_and_grad", 1, 2 * 10**8, 4.0),
        ("sim.value_and_grad", 10**6, 10**6, 2.0),
    ],
    ids=["run", "forward", "back", "slow steps"],
)
def test_an_interrupt_arrives_soon(verb, rounds, n, after, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(LONG).format(verb=verb, rounds=rounds, n=n, after=after))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=ENV, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5
