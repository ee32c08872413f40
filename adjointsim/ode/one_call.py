"""Integrations and the runs that take their steps, in one call of compiled code.

For each of many the integration finds the steps, and a driver takes them: of a run that carries tangents to the end, or of a
gradient there and back.  The operations are those of calls by themselves, on the same numbers in the same order, so that the bits
are the same; so are the states that an integration comes through, which a gradient then takes as they are.  Where anything goes
wrong nothing is said but that it did: a call by itself says what.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from adjointsim.call import Call
from adjointsim.derive.address import address_of
from adjointsim.derive.control import (
    BUDGET,
    LOOK_ACTION,
    OBSERVED,
    SEED_ACTION,
    SHARED,
    TURN_ACTION,
    TURNED,
    UNOBSERVED,
    WATCHED,
    N,
)
from adjointsim.derive.emit import NEED
from adjointsim.derive.module import load_module
from adjointsim.engine import CompiledExecutor
from adjointsim.schedules import ADVANCE, RECORD, REVERSE

from .inputs import DONE
from .integration import Numbers
from .solve import Solve

if TYPE_CHECKING:
    from .ode import ODE

__all__ = ["LONG", "TAPE", "OneCall", "Stack", "alone", "carried_out", "fits", "in_a_row"]

Arrays = tuple[np.ndarray, ...]

TAPE = -(2**40)  # a tape of the driver was too short
LONG = 0.2  # seconds of one call, which cannot be interrupted
_ROOM = 4096  # steps of an integration, at most
_LOGS = 11  # the first result of an integration that is one of states written down
_TRIES = 2 * _ROOM  # steps that are tried: so that Ctrl-C gets through


def in_a_row(odes: Sequence[ODE]) -> bool:
    """Whether these may be integrated in one call: their steps are to be found, and no event changes them."""
    first = odes[0]
    return all(type(ode) is type(first) and alone(ode) for ode in odes)


def alone(ode: ODE) -> bool:
    """Whether one may."""
    return (
        ode.dt is None and ode.mass is None and ode.jac_sparsity is None and not ode.events and ode.seed is None
        and ode.unwatched and type(ode.rtol) is float and type(ode.atol) is float
    )  # fmt: skip


def carried_out(function: Any, arguments: tuple[Any, ...]) -> int:
    """What such a function gives, see :meth:`OneCall.call`."""
    try:
        found: int = function(*arguments)
    except Exception:  # of the user's functions, or a singular matrix
        return -1
    return found


def fits(solve: Solve) -> bool:
    """Whether the steps of an integration are not too many for one call."""
    found = solve.found
    return found.steps.count <= _ROOM and found.steps.count + found.rejected <= _TRIES


class Stack:
    """The numbers of integrations, stacked along a first axis: the leaves of the states and of p, and what bounds the steps."""

    def __init__(self, odes: Sequence[ODE], y: Sequence[np.ndarray], p: Sequence[np.ndarray]) -> None:
        """Of problems that go :func:`in_a_row`, with y and p that are stacked already."""
        own = [ode.knots for ode in odes]
        controls = [ode.control(ode.rtol, ode.atol).leaves for ode in odes]
        self.y, self.p = tuple(y), tuple(p)
        self.starts, self.tries = np.array([ode.first_step for ode in odes]), np.array([min(o.max_steps, _TRIES) for o in odes])
        self.knots = tuple(np.concatenate([leaves[k] for leaves in controls]) for k in range(5))
        self.knot_ends = np.cumsum([0, *(len(k.times) for k in own)])
        self.bounds = tuple(np.array([leaves[k] for leaves in controls]) for k in range(5, 9))
        self.known = np.concatenate([k.observed for k in own])  # the knots that are observed
        self.ends = np.cumsum([0, *(len(k.observed) for k in own)])  # of the observations of each
        self.experiments = np.arange(len(odes))

    def part(self, first: int, apart: int) -> Self:
        """The same of some of them; what is found goes to the same memory."""
        other = copy.copy(self)
        other.experiments = self.experiments[first::apart]
        return other


class OneCall:
    """The compiled function and memory for it, for one caller at a time."""

    def __init__(self, solve: Solve, call: Call, executor: CompiledExecutor, width: int = 0, columns: int = 0) -> None:
        """For integrations like that of ``solve``; ``executor`` is one that carries out ``call``, which has the steps of that,
        with ``width`` tangents of ``columns`` at once, or there and back.

        ValueError if numbers other than shapes say how much memory is needed.
        """
        program, self.executor = solve.program, executor
        control = solve.ode.control(solve.ode.rtol, solve.ode.atol)
        self.kernel, self.kept = program.integration(control.form), Numbers()
        self.kept.set(float(solve.ode.knots.times[0]), 0.0, 0.0, -np.inf, 0, 1, -1)
        start = [*solve.y0.leaves]
        self.kernel.value([*self.kept.numbers, *start, *solve.p.leaves, *control.leaves], self.kept, ())
        self.y_count, self.p_count = len(start), len(solve.p.leaves)
        steps = {k for k, leaf in enumerate(call.p) if leaf.shape == solve.q.leaves[-1].shape}  # leaves that have their length
        known = {f"c.{name}" for name in ("knots", "begins", "ends", "fire", "fresh")}
        measured = executor.measured
        if self.kept.looks is None or measured is None or steps & {*measured} or known & {*self.kernel.measured}:
            raise ValueError("sizes of memory follow from numbers")
        self.room, self.marks, self.logged = control.leaves[-3:]
        self.logs = program.logs and not columns and executor.noted in (0, len(program.method.notes))
        self.notes = self.logs and bool(executor.noted)
        self.unread = _LOGS + self.y_count if self.logs and program.method.notes and not self.notes else None
        most = 2 * len(self.room) + 1  # each step may be followed by one that stands still
        self.numbers, self.results, self.scratch = map(tuple, (self.kept.numbers, self.kept.results, self.kept.scratch))
        self.steps = tuple(np.zeros(most, leaf.dtype) for leaf in solve.q.leaves[self.p_count :])
        self.still = np.zeros(most)
        self.at = np.zeros(most, np.int64)
        self.rows = np.zeros((4 if not columns else 2, 4), np.int64)
        floats = [leaf for leaf in solve.p.leaves if leaf.dtype.kind == "f"]
        self.y_dots, self.p_dots = (
            tuple(np.zeros((columns, *a.shape), a.dtype) for a in own) for own in (start, floats)
        )
        executor.begin_again(call.y0, call.p)
        executor.there() if columns else executor.there_and_back()  # so that its driver is compiled
        found = [address_of(f) for f in (self.kernel.compiled_value, executor.driver)]
        self.addresses, marks = zip(*found, strict=True)
        self.whole = executor.rows_out == len(_AND_BACK)  # nothing is left to do when the function has been called
        self.function = self._function(solve, width, columns, *marks)

    def _function(self, solve: Solve, width: int, columns: int, control: str, sweep: str) -> Any:
        memory, p = self.executor.memory, solve.p.leaves
        floats, seen = tuple(k for k, leaf in enumerate(p) if leaf.dtype.kind == "f"), len(memory.seen) // (width + 1)
        counts = _Counts(
            tuple(leaf.ndim for leaf in solve.y0.leaves), tuple(leaf.ndim for leaf in p), floats, len(self.kernel.captured()),
            len(self.kept.results), len(self.kept.scratch), tuple(b.ndim for b in memory.spares), seen,
            (len(memory.seen) - seen) // max(width, 1), len(memory.tapes), len(memory.own), width, columns // max(width, 1),
            solve.program.broken, bool(solve.ode.functions.effects), self.logs, self.notes,
            *(tuple(b.ndim for b in bars) for bars in (memory.bars, memory.bar_spares, memory.p_bars)),
            self.whole,
        )  # fmt: skip
        return load_module(_text(counts, control, sweep)).one_call

    @property
    def compiled(self) -> bool:
        """Whether the function is compiled already: else the first run waits for it."""
        return bool(self.function.overloads)

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when they were derived."""
        return self.kernel.stale() or self.executor.stale()

    def _make_room(self, rows: int) -> None:
        """Let the integration write down so many states.  What is beside them goes there, too, or nobody reads it."""
        self.logged = np.zeros(rows)
        if self.unread is not None:
            results = [*self.results]
            results[self.unread] = np.zeros((rows, *results[self.unread].shape[1:]))
            self.results = tuple(results)

    def call(self, s: Stack, rows: int, seen: Arrays, moved: Arrays) -> int:
        """Carry out so many rows of each, with what the executor looked up; the number of the steps of the last one, or
        below 0: -1 where something went wrong, TAPE, and -1 - n for n steps that are more than there is room for."""
        return carried_out(self.function, self.arguments(s, rows, seen, moved))

    def arguments(self, s: Stack, rows: int, seen: Arrays, moved: Arrays) -> tuple[Any, ...]:
        """What the function is given for that."""
        m = self.executor.memory
        if self.logs and len(self.logged) != len(m.slots[0]):
            self._make_room(len(m.slots[0]))
        return (
            *self.addresses, rows, s.experiments, s.starts, s.tries, self.numbers, s.y, s.p, s.knots, s.knot_ends, s.bounds,
            self.room, self.marks, self.logged, tuple(self.kernel.captured()), self.results, self.scratch, s.known, s.ends,
            self.at, self.steps, self.still, self.y_dots, self.p_dots, self.rows, m.ctl, m.sums, m.seeds, m.state, m.spares,
            m.slots, seen, moved, m.seen_bars, m.seen_work, m.bars, m.bar_spares, m.p_bars, m.tapes, m.own,
        )  # fmt: skip


class _Counts(NamedTuple):
    """How many arrays there are of each kind, and of how many axes: leaves of the state and of p, and which of the latter are
    floats; what the integration captures, gives and needs; spare places of the driver; leaves of an observation, and of its
    tangent; tapes, and what the driver's kernels capture and need; tangents at once (0: there and back), and how often there are
    so many.

    ``broken``: whether the right-hand side may jump in time, ``jumps``: whether the state does; ``logs``: whether the integration
    writes down the states, ``notes``: and numbers beside them.  ``bar_ranks`` and so on are those of the cotangents of the state,
    of their spare places and of those of p; ``whole``: whether the driver goes all of the way back.
    """

    y_ranks: tuple[int, ...]
    p_ranks: tuple[int, ...]
    p_floats: tuple[int, ...]
    captures: int
    results: int
    scratch: int
    spare_ranks: tuple[int, ...]
    seen: int
    moved: int
    tapes: int
    own: int
    width: int
    parts: int
    broken: bool
    jumps: bool
    logs: bool
    notes: bool
    bar_ranks: tuple[int, ...]
    bar_spare_ranks: tuple[int, ...]
    p_bar_ranks: tuple[int, ...]
    whole: bool

    @property
    def y(self) -> int:
        return len(self.y_ranks)

    @property
    def p(self) -> int:
        return len(self.p_ranks)


def _each(name: str, count: int, after: str = "") -> str:
    return "".join(f"{name}[{k}]{after}, " for k in range(count))


def _loops(rank: int, array: str, body: str) -> list[str]:
    """Lines that do something with each element of an array: {a}[{i}]."""
    names = [f"i{k}" for k in range(rank)]
    lines = ["    " * (k + 1) + f"for {i} in range({array}.shape[{k}]):" for k, i in enumerate(names)]
    return [*lines, indent(body.format(a=array, i=", ".join(names)), "    " * (rank + 1))]


_TEXT = f"""\
import math

import numpy as np
from numba import njit

from adjointsim.derive.address import called


@njit(error_model='numpy', nogil=True, _nrt=False)
def set_off(e, part, Y, DY, A, BA, BB, PB):
{{set_off}}

{{helpers}}
@njit(error_model='numpy', nogil=True, cache=True, _nrt=False)
def one_call(
    control, sweep, count, experiments, starts, tries, G, Y, P, K, ko, Q, room, marks, logged, C, R, W, known, oo, at, steps,
    still, DY, DP, rows, ctl, sums, seeds, A, B, S, O, J, OB, OG, BA, BB, PB, T, D,
):
    n = 0
{{unpack}}
    for e in experiments:
        G[0][0] = K[0][ko[e]]
        G[1][0] = starts[e]
        G[2][0] = 0.0
        G[3][0] = -np.inf
        G[4][0] = 0
        G[5][0] = tries[e]
        G[6][0] = -1
        status = called(control, {{control!r}}, ({{integrated}}))
        taken = R[1][0]
        if status != 0 or R[0][0] != {DONE} or R[8][0] < ko[e + 1] - ko[e] or taken < 1:
            return -1
        first, last = oo[e], oo[e + 1]
        placed, n, knot, before = first, 0, 0, K[1][ko[e]]
        time[0] = K[0][ko[e]]
        for r in range(-1, taken):
            if r >= 0:
                knot = R[{{landed}}][r]
                time[n + 1] = R[{{time}}][r]
                length[n] = R[{{length}}][r]
{{moves}}
                before = time[n + 1]
                n += 1
            if knot >= 0:
                before = K[1][ko[e] + knot]
{{stands}}
                if placed < last and known[placed] == knot:
                    at[placed - first] = n
                    placed += 1
        if placed != last:
            return -1
{{rows}}
        for part in range({{parts}}):
            set_off(e, part, Y, DY, A, BA, BB, PB)
            for k in range({SHARED}):
                ctl[k] = 0
            sums[0] = sums[1] = 0.0
            T[2][0] = T[2][1] = 0
            ctl[{N}], ctl[{TURNED}], ctl[{WATCHED}], ctl[{BUDGET}], ctl[{UNOBSERVED}] = -1, {{turned}}, 0, 1 << 40, last - first
            status = called(sweep, {{sweep!r}}, (
                rows, count, ctl, sums, seeds, at[:last - first], A, B, S, ({{numbers}}), ({{seen}}), OB, OG, BA, BB, PB,
                {{memory}}
            ))
            if status == {NEED}:
                return {TAPE}
            if status != 0 or ctl[{OBSERVED}] != last - first{{ends}}:
                return -1
    return n
"""

_FINITE = """
@njit(error_model='numpy', nogil=True, _nrt=False)
def finite(A, B, BA, BB, PB):
{tests}
    return True

"""

#: the actions: kind, from, to, slot; one leads to the last but one state, from where a turn keeps that and the last
_THERE = ((str(ADVANCE), "0", "n - 1", "-1"), (str(TURN_ACTION), "n - 1", "n", "-1"))
_AND_BACK = (
    ("{record}", "0", "n", "0"), (str(TURN_ACTION), "n - 1", "n", "n - 1"), (str(SEED_ACTION), "n", "n", "n - 1"),
    (str(REVERSE), "0", "n", "0"),
)  # fmt: skip


def _text(c: _Counts, control: str, sweep: str) -> str:
    """The text of the function, with the marks of the types of the integration and of the driver."""
    integrated = "".join([
        _each("G", 7), _each("Y", c.y, "[e]"), _each("P", c.p, "[e]"), _each("K", 5, "[ko[e]:ko[e + 1]]"), _each("Q", 4, "[e]"),
        "room, marks, logged, ", _each("C", c.captures), _each("R", _LOGS), _each("S", (c.y + c.notes) * c.logs),
        "".join(f"R[{k}], " for k in range(_LOGS + (c.y + c.notes) * c.logs, c.results)), _each("W", c.scratch),
    ])  # fmt: skip
    ranks, at = c.y_ranks, f"part * {c.width} + " if c.parts > 1 else ""
    begun = [line for k in range(c.y) for line in _loops(ranks[k], f"A[{k}]", f"{{a}}[{{i}}] = Y[{k}][e, {{i}}]")]
    begun += [
        line for lane in range(c.width) for k in range(c.y)
        for line in _loops(ranks[k], f"A[{(lane + 1) * c.y + k}]", f"{{a}}[{{i}}] = DY[{k}][{at}{lane}, {{i}}]")
    ]  # fmt: skip
    names = ["time", "length", *["begin", "end"] * c.broken, *["fire"] * c.jumps]
    own, floats = "".join(f"{name}, " for name in names), "still, " * (4 if c.broken else 2)
    moving = "".join(f"{_each('DP', len(c.p_floats), f'[{at}{lane}]')}{floats}" for lane in range(c.width))
    moves = ["begin[n] = before", "end[n] = K[2][ko[e] + knot] if knot >= 0 else time[n + 1]"] * c.broken
    stands = []
    if c.jumps:
        moves += ["fire[n] = 0"]
        body = ["time[n + 1] = time[n]", "length[n] = 0.0", "fire[n] = K[3][ko[e] + knot]"]
        body += [*["begin[n] = end[n] = time[n]"] * c.broken, "n += 1"]
        stands = ["if K[3][ko[e] + knot] != 0:", *(f"    {line}" for line in body)]
    back = not c.width
    kind = LOOK_ACTION if c.logs else RECORD
    table = _AND_BACK if back else _THERE
    actions = [f"rows[{r}, {k}] = {what.format(record=kind)}" for r, row in enumerate(table) for k, what in enumerate(row)]
    room = ["if n >= S[0].shape[0]:", "    return -1 - n"] * back  # a row is spare
    looked = [(f"A[{k}]", ranks[k % c.y]) for k in range((c.width + 1) * c.y)]
    looked += [(f"B[{k}]", rank) for k, rank in enumerate(c.spare_ranks)]
    bars = zip(("BA", "BB", "PB"), (c.bar_ranks, c.bar_spare_ranks, c.p_bar_ranks), strict=True)
    bar_arrays = [(f"{name}[{k}]", rank) for name, own in bars for k, rank in enumerate(own)] * back
    begun += [line for name, rank in bar_arrays for line in _loops(rank, name, "{a}[{i}] = 0.0")]
    looked += bar_arrays
    tests = [line for name, rank in looked for line in _loops(rank, name, "if not math.isfinite({a}[{i}]):\n    return False")]
    return _TEXT.format(
        control=control, sweep=sweep, integrated=integrated, parts=max(c.parts, 1), set_off="\n".join(begun),
        helpers=_FINITE.format(tests="\n".join(tests)),
        ends=" or not math.isfinite(sums[0] + sums[1]) or not finite(A, B, BA, BB, PB)" if c.whole else "",
        time=c.results - 3, length=c.results - 2, landed=c.results - 1, turned=-1 if back else "n",
        numbers=f"{_each('P', c.p, '[e]')}{own}{moving}", rows=indent("\n".join([*room, *actions]), " " * 8),
        unpack="\n".join(f"    {name} = steps[{k}]" for k, name in enumerate(names)),
        moves=indent("\n".join(moves), " " * 16), stands=indent("\n".join(stands), " " * 16),
        seen=_each("O", c.seen, "[first:last]")
        + "".join(_each("J", c.moved, f"[{at}{lane}][first:last]") for lane in range(c.width)),
        memory=_each("T", c.tapes) + _each("D", c.own),
    )  # fmt: skip
