"""A team of threads that share loops: the one that runs a kernel, and workers that wait for it in compiled code.

A kernel has the team's memory, an array of int64, and lays out in it which function to run over how many iterations
(:func:`run`).  These are in as many parts as there are threads, and each part is in one piece or a few.  A thread takes the
pieces of its own part, which is the same one in the next loop, so that memory stays in its cache, and then what is left of
others: where the system lets a worker wait, the others do its work.  All wait actively: a loop of some microseconds is worth
sharing then.  Who runs an iteration makes no difference to any bit (see :mod:`.shared`).

The memory has lines of :data:`LINE` places, so that what one thread writes is not in the way of others:

    0               how many workers there may be, and whether they shall go
    EPOCH           counts loops; then the function's address, that of what it needs, its iterations, the parts, their pieces
    PARTS, LINE ..  of each part a ticket, the epoch and in the low half the pieces that nobody has taken yet; then those done
    HERE, LINE ..   of each worker whether it is there

A worker may be late, and read a layout while the next one is written.  It cannot run anything by it: all pieces of its epoch
have been taken then, and a ticket of another epoch it leaves alone.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from llvmlite import ir as ll
from numba import njit
from numba.core import cgutils
from numba.core import types as nb
from numba.extending import intrinsic

from .control import MOST_THREADS

__all__ = ["EPOCH", "HERE", "LINE", "PARTS", "PLACES", "WORTH", "Trial", "body_type", "run", "workers"]

LINE = 16
EPOCH, PARTS = LINE, 2 * LINE
HERE = PARTS + MOST_THREADS * LINE
PLACES = HERE + MOST_THREADS * LINE

#: statements from which on a loop is shared: vectors of them take some microseconds, a few times as long as it takes to say so
WORTH = 20_000

_TURN, _LEAST, _TURNS = 5e-4, 4, 4  # seconds and steps of one turn with workers or without, and turns of either kind
_AGAIN = 50.0  # times as long as it took to find out which one pays, until that is tried again
_LONG = 50 * WORTH  # statements from which on parts are in pieces
_PIECES = 4
_PATIENCE = 4096  # looks before a thread that waits lets others run


def body_type() -> ll.FunctionType:
    """The type of a shared loop's function: what it needs, and its first iteration and the one after its last."""
    word = ll.IntType(64)
    return ll.FunctionType(ll.VoidType(), [word, word, word])


def _place(context: Any, builder: Any, kind: Any, team: Any, k: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, team).data, [k])


@intrinsic
def _look(typingctx: Any, team: Any, k: Any) -> Any:
    """What is at a place now; what was written before it was is seen, too."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, sig.args[0], *args), "acquire", 8)

    return nb.int64(team, nb.int64), build


@intrinsic
def _put(typingctx: Any, team: Any, k: Any, value: Any) -> Any:
    """Write to a place, after all that was written before."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        team, k, value = args
        builder.store_atomic(value, _place(context, builder, sig.args[0], team, k), "release", 8)
        return context.get_dummy_value()

    return nb.none(team, nb.int64, nb.int64), build


@intrinsic
def _take(typingctx: Any, team: Any, k: Any, ticket: Any) -> Any:
    """Whether a ticket is still what it was; then a piece of it is taken."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        team, k, ticket = args
        place, after = _place(context, builder, sig.args[0], team, k), builder.sub(ticket, ticket.type(1))
        return builder.extract_value(builder.cmpxchg(place, ticket, after, "acq_rel", "monotonic"), 1)

    return nb.boolean(team, nb.int64, nb.int64), build


@intrinsic
def _count(typingctx: Any, team: Any, k: Any) -> Any:
    """Add one to a place, after all that was written before."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.atomic_rmw("add", _place(context, builder, sig.args[0], *args), ll.IntType(64)(1), "acq_rel")
        return context.get_dummy_value()

    return nb.none(team, nb.int64), build


@intrinsic
def _part(typingctx: Any, function: Any, needs: Any, begin: Any, end: Any) -> Any:
    """Run iterations of the function at an address."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.call(builder.inttoptr(args[0], body_type().as_pointer()), args[1:])
        return context.get_dummy_value()

    return nb.none(nb.int64, nb.int64, nb.int64, nb.int64), build


@intrinsic
def _rest(typingctx: Any, long: Any) -> Any:
    """Tell the processor that this is a loop that waits; if it has been ``long``, let other threads run."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ll.IntType(32)
        if platform.machine() in ("x86_64", "AMD64"):
            kind = ll.FunctionType(ll.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        elif platform.machine() in ("aarch64", "arm64"):
            kind = ll.FunctionType(ll.VoidType(), [word])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint"), [word(1)])
        with builder.if_then(args[0]):
            kind = ll.FunctionType(word, [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return nb.none(nb.boolean), build


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _take_part(team: np.ndarray, epoch: int, rank: int) -> None:
    """Run pieces until all are taken, those of one's own part first."""
    function, needs = _look(team, EPOCH + 1), _look(team, EPOCH + 2)
    count, parts, pieces = _look(team, EPOCH + 3), _look(team, EPOCH + 4), _look(team, EPOCH + 5)
    for k in range(rank, rank + parts):
        part = k % parts
        place = PARTS + LINE * part
        ticket = _look(team, place)
        while ticket >> 32 == epoch and ticket & 0xFFFFFFFF > 0:
            if _take(team, place, ticket):
                at, every = part * pieces + (ticket & 0xFFFFFFFF) - 1, parts * pieces
                _part(function, needs, count * at // every, count * (at + 1) // every)
                _count(team, place + 1)
            ticket = _look(team, place)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def run(team: np.ndarray, function: int, needs: int, count: int, work: int) -> None:
    """Run ``count`` iterations of a loop, here and by those workers that are there, if there is enough ``work``."""
    parts = 1
    if work >= WORTH:
        for k in range(1, team[0] + 1):
            parts += _look(team, HERE + LINE * k)
    if parts == 1:
        _part(function, needs, 0, count)
        return
    epoch, pieces = (team[EPOCH] + 1) & 0x7FFFFFFF, _PIECES if work >= _LONG else 1
    _put(team, EPOCH + 1, function)
    _put(team, EPOCH + 2, needs)
    _put(team, EPOCH + 3, count)
    _put(team, EPOCH + 4, parts)
    _put(team, EPOCH + 5, pieces)
    for k in range(parts):
        _put(team, PARTS + LINE * k + 1, 0)
        _put(team, PARTS + LINE * k, (epoch << 32) + pieces)
    _put(team, EPOCH, epoch)
    _take_part(team, epoch, 0)
    for k in range(parts):
        looks = 0
        while _look(team, PARTS + LINE * k + 1) < pieces:
            looks += 1
            _rest(looks > _PATIENCE)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _work(team: np.ndarray, rank: int) -> None:
    """Be a worker until told to go."""
    seen, looks = _look(team, EPOCH), 0
    _put(team, HERE + LINE * rank, 1)
    while _look(team, 1) == 0:
        epoch = _look(team, EPOCH)
        if epoch == seen:
            looks += 1
            _rest(looks > _PATIENCE)
            continue
        seen, looks = epoch, 0
        _take_part(team, epoch, rank)
    _put(team, HERE + LINE * rank, 0)


@cache
def _compile() -> None:
    """Have the worker's code before there are any: who compiles keeps others from running."""
    team = np.zeros(PLACES, np.int64)
    team[1] = 1
    _work(team, 1)


class Trial:
    """Whether workers save time in one direction of a sweep: that is tried, a few turns with them and without, and then known
    for a while.

    (It depends on sizes, caches, and on what else the machine has to do.)
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.pays: bool | None = None
        self._rates: tuple[list[float], list[float]] = [], []  # seconds a step, in turns without and with workers
        self._seconds = 0.0  # that turns took; later, that the answer will do for

    def together(self) -> bool:
        """Whether the next steps are run with workers."""
        alone, shared = self._rates
        return len(shared) <= len(alone) if self.pays is None else self.pays

    def steps(self, wanted: int) -> int:
        """How many steps to run until the other way is tried, if at all."""
        if self.pays is not None:
            return wanted
        last = self._rates[0][-1:] or [_TURN]
        return max(1, min(wanted, int(_TURN / max(last[0], 1e-9)) + _LEAST))

    def took(self, together: bool, steps: int, seconds: float) -> None:
        """Hear what steps took."""
        if self.pays is not None:
            self._seconds -= seconds
            if self._seconds < 0.0:
                self._begin()
        elif steps:
            alone, shared = self._rates
            self._seconds += seconds if alone and shared else 0.0  # the first turns are those that load and compile
            self._rates[together].append(seconds / steps)
            if len(alone) > _TURNS and len(shared) > _TURNS:
                self.pays, self._seconds = median(shared[1:]) < 0.95 * median(alone[1:]), _AGAIN * self._seconds


@contextmanager
def workers(team: np.ndarray, count: int) -> Iterator[None]:
    """Have so many workers in compiled code meanwhile, beside this thread."""
    _compile()
    team[:2] = count, 0
    ranks = range(1, count + 1)
    threads = [threading.Thread(target=_work, args=(team, k), name=f"adjointsim-worker-{k}", daemon=True) for k in ranks]
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        team[1] = 1
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        team[0] = 0
