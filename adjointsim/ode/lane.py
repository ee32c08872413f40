"""Many short integrations with tangents in one call of compiled code: what a fit asks for again and again.

For each experiment the integration finds the steps, and a run with tangents takes them: all tangents at once, or one after the
other where a function brings a rule for its own.  The operations are those of calls by themselves, on the same numbers in the
same order, so that the bits are the same.  Where anything goes wrong nothing is said but that it did: a call by itself says what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjointsim.derive.address import address_of
from adjointsim.derive.control import BUDGET, OBSERVED, SHARED, TURN_ACTION, TURNED, WATCHED, N
from adjointsim.derive.lanes import LanesError
from adjointsim.derive.module import load_module
from adjointsim.derive.spec import ScalarSpec, TupleSpec, leaves_of
from adjointsim.engine import CompiledExecutor
from adjointsim.leaves import stacked_spec, unflatten
from adjointsim.schedules import ADVANCE

from .inputs import DONE
from .integration import Numbers
from .solve import Solve

if TYPE_CHECKING:
    from .ode import ODE

__all__ = ["Column", "Lane", "Stack", "in_a_row"]

Arrays = tuple[np.ndarray, ...]

_ROOM = 4096  # steps of an integration, at most
_TRIES = 2 * _ROOM  # steps that are tried: so that Ctrl-C gets through


class Column(NamedTuple):
    """A number by which observations are differentiated: of a leaf of y0 or of p, at a place in it."""

    of_state: bool
    leaf: int
    place: int


def in_a_row(odes: Sequence[ODE]) -> bool:
    """Whether these may be integrated in one call: their steps are to be found, and no event changes them."""
    first = odes[0]
    return all(
        type(ode) is type(first) and ode.dt is None and ode.mass is None and ode.jac_sparsity is None and not ode.events
        and ode.seed is None and ode.unwatched
        and type(ode.rtol) is float and type(ode.atol) is float
        for ode in odes
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stack:
    """The numbers of experiments, stacked along a first axis: the leaves of the states and of p, and what bounds the steps; and
    the observations and their derivatives, one experiment behind the other.

    ``seen[k]`` has the leaf k of all observations, ``moved[j]`` those of the j-th floating one by each column in turn.
    """

    y: Arrays
    p: Arrays
    starts: np.ndarray
    tries: np.ndarray
    knots: Arrays
    knot_ends: np.ndarray
    bounds: Arrays
    known: np.ndarray  # the knots that are observed
    ends: np.ndarray  # of the observations of each
    seen: Arrays
    moved: Arrays
    experiments: np.ndarray

    @classmethod
    def of(cls, odes: Sequence[ODE], y: Sequence[np.ndarray], p: Sequence[np.ndarray], lane: Lane) -> Stack:
        """Of problems that go :func:`in_a_row`, with y and p that are stacked already."""
        own = [ode.knots for ode in odes]
        controls = [ode.control(ode.rtol, ode.atol).leaves for ode in odes]
        knots = tuple(np.concatenate([leaves[k] for leaves in controls]) for k in range(5))
        bounds = tuple(np.array([leaves[k] for leaves in controls]) for k in range(5, 9))
        known = np.concatenate([k.observed for k in own])
        ends = np.cumsum([0, *(len(k.observed) for k in own)])
        return cls(
            tuple(y), tuple(p), np.array([ode.first_step for ode in odes]),
            np.array([min(ode.max_steps, _TRIES) for ode in odes]), knots,
            np.cumsum([0, *(len(k.times) for k in own)]), bounds, known, ends,
            tuple(np.zeros((ends[-1], *shape), dtype) for shape, dtype in lane.seen),
            tuple(np.zeros((lane.columns, ends[-1], *shape), dtype) for shape, dtype in lane.moved), np.arange(len(odes)),
        )  # fmt: skip

    def observations(self, lane: Lane, experiment: int) -> Any:
        """Those of an experiment, in their structure."""
        first, last = self.ends[experiment], self.ends[experiment + 1]
        own = [leaf[first:last].copy() for leaf in self.seen]
        spec = lane.observation
        return unflatten(stacked_spec(spec), [
            leaf[:, 0] if isinstance(one, ScalarSpec) else leaf for leaf, one in zip(own, leaves_of(spec), strict=True)
        ])  # fmt: skip


class Lane:
    """The compiled function and memory for it, for one caller at a time."""

    def __init__(self, solve: Solve, wrt: Sequence[str], columns: Sequence[Column]) -> None:
        """For experiments like that of ``solve``, differentiated by the numbers ``columns``, which are in ``wrt``.  ValueError if
        numbers other than shapes say how much memory is needed."""
        program, self.columns = solve.program, len(columns)
        try:
            pair = solve.with_tangents(wrt, self.columns)
            executor = CompiledExecutor(pair.problem, pair.y0, pair.p, 0, True)
            self.width = self.columns
        except LanesError:
            pair = solve.with_tangents(wrt, 1)
            executor = CompiledExecutor(pair.problem, pair.y0, pair.p, 0, True)
            self.width = 1
        self.executor = executor
        control = solve.ode.control(solve.ode.rtol, solve.ode.atol)
        self.kernel, self.kept = program.integration(control.form), Numbers()
        self.kept.set(float(solve.ode.knots.times[0]), 0.0, 0.0, -np.inf, 0, 1, -1)
        start = [*solve.y0.leaves]
        self.kernel.value([*self.kept.numbers, *start, *solve.p.leaves, *control.leaves], self.kept, ())
        self.y_count, self.p_count = len(start), len(solve.p.leaves)
        both = self.executor.observation_spec  # of an observation and its tangent
        assert isinstance(both, TupleSpec)
        self.observation = both.items[0]
        steps = {k for k, leaf in enumerate(pair.p) if leaf.shape == solve.q.leaves[-1].shape}  # leaves that have their length
        known = {f"c.{name}" for name in ("knots", "begins", "ends", "fire", "fresh")}
        measured = self.executor.measured
        if self.kept.looks is None or measured is None or steps & {*measured} or known & {*self.kernel.measured}:
            raise ValueError("sizes of memory follow from numbers")
        self.room, self.marks = control.leaves[-2:]
        most = 2 * len(self.room) + 1  # each step may be followed by one that stands still
        self.numbers, self.results, self.scratch = map(tuple, (self.kept.numbers, self.kept.results, self.kept.scratch))
        self.steps = tuple(np.zeros(most, leaf.dtype) for leaf in solve.q.leaves[self.p_count :])
        self.still = np.zeros(most)
        self.at = np.zeros(most, np.int64)
        self.rows = np.zeros((2, 4), np.int64)
        floats = [leaf for leaf in solve.p.leaves if leaf.dtype.kind == "f"]
        self.y_dots, self.p_dots = (
            tuple(np.zeros((self.columns, *a.shape), a.dtype) for a in own) for own in (start, floats)
        )
        dots = [*self.y_dots, *(None for _ in solve.p.leaves)]
        for k, dot in zip((k for k, leaf in enumerate(solve.p.leaves) if leaf.dtype.kind == "f"), self.p_dots, strict=True):
            dots[self.y_count + k] = dot
        for column, (of_state, leaf, place) in enumerate(columns):
            dots[leaf + (0 if of_state else self.y_count)][column].flat[place] = 1.0  # type: ignore[index]
        observed = [(o.shape[1:], o.dtype) for o in self.executor.memory.seen]
        self.seen = observed[: len(leaves_of(self.observation))]
        self.moved = [(shape, dtype) for shape, dtype in self.seen if dtype.kind == "f"]
        self.executor.begin_again(pair.y0, pair.p)
        self.executor.there()  # so that its driver is compiled
        found = [address_of(f) for f in (self.kernel.compiled_value, self.executor.driver)]
        self.addresses, marks = zip(*found, strict=True)
        self.function = self._function(solve, *marks)

    def _function(self, solve: Solve, control: str, sweep: str) -> Any:
        memory, p = self.executor.memory, solve.p.leaves
        counts = _Counts(
            tuple(leaf.ndim - 1 for leaf in self.y_dots), tuple(leaf.ndim for leaf in p),
            tuple(k for k, leaf in enumerate(p) if leaf.dtype.kind == "f"), len(self.kernel.captured()), len(self.kept.results),
            len(self.kept.scratch), tuple(b.ndim for b in memory.spares), len(self.seen), len(self.moved), len(memory.tapes),
            len(memory.own), self.width, self.columns // self.width, solve.program.broken, bool(solve.ode.functions.effects),
        )  # fmt: skip
        return load_module(_text(counts, control, sweep)).lane

    @property
    def compiled(self) -> bool:
        """Whether the function is compiled already: else the first run waits for it."""
        return bool(self.function.overloads)

    def stale(self) -> bool:
        """Whether a name that the functions use from outside means something else than when they were derived."""
        return self.kernel.stale() or self.executor.stale()

    def run(self, stack: Stack) -> bool:
        """Fill in the observations and their derivatives; whether all went well."""
        if self.stale() or not self.executor.looked_up(self.executor.problem):
            return False
        m, s = self.executor.memory, stack
        try:
            failed = self.function(
                *self.addresses, s.experiments, s.starts, s.tries, self.numbers, s.y, s.p, s.knots, s.knot_ends, s.bounds,
                self.room, self.marks, tuple(self.kernel.captured()), self.results, self.scratch, s.known, s.ends, self.at,
                self.steps, self.still, self.y_dots, self.p_dots, self.rows, m.ctl, m.sums, m.seeds, m.state, m.spares, m.slots,
                s.seen, s.moved, m.seen_bars, m.seen_work, m.bars, m.bar_spares, m.p_bars, m.tapes, m.own,
            )  # fmt: skip
        except Exception:  # of the user's functions, or a singular matrix
            return False
        return bool(failed < 0)


class _Counts(NamedTuple):
    """How many arrays there are of each kind, and of how many axes: leaves of the state and of p, and which of the latter are
    floats; what the integration captures, gives and needs; spare places of the driver; leaves of an observation, and of its
    tangent; tapes, and what the driver's kernels capture and need; tangents at once, and how often there are so many; whether the
    right-hand side may jump in time, and whether the state does."""

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
def set_off(e, part, Y, DY, A):
{{set_off}}


@njit(error_model='numpy', nogil=True, _nrt=False)
def finite(A, B):
{{finite}}
    return True


@njit(error_model='numpy', nogil=True, cache=True, _nrt=False)
def lane(
    control, sweep, experiments, starts, tries, G, Y, P, K, ko, Q, room, marks, C, R, W, known, oo, at, steps, still, DY, DP,
    rows, ctl, sums, seeds, A, B, S, O, J, OB, OG, BA, BB, PB, T, D,
):
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
            return e
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
            return e
        rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3] = {ADVANCE}, 0, n - 1, -1
        rows[1, 0], rows[1, 1], rows[1, 2], rows[1, 3] = {TURN_ACTION}, n - 1, n, -1
        for part in range({{parts}}):
            set_off(e, part, Y, DY, A)
            for k in range({SHARED}):
                ctl[k] = 0
            sums[0] = sums[1] = 0.0
            T[2][0] = T[2][1] = 0
            ctl[{N}], ctl[{TURNED}], ctl[{WATCHED}], ctl[{BUDGET}] = -1, n, 0, 1 << 40
            status = called(sweep, {{sweep!r}}, (
                rows, rows.shape[0], ctl, sums, seeds, at[:last - first], A, B, S, ({{numbers}}), ({{seen}}), OB, OG, BA, BB, PB,
                {{memory}}
            ))
            if status != 0 or ctl[{OBSERVED}] != last - first or not finite(A, B):
                return e
    return -1
"""


def _text(c: _Counts, control: str, sweep: str) -> str:
    """The text of the function, with the marks of the types of the integration and of the driver."""
    integrated = "".join([
        _each("G", 7), _each("Y", c.y, "[e]"), _each("P", c.p, "[e]"), _each("K", 5, "[ko[e]:ko[e + 1]]"), _each("Q", 4, "[e]"),
        "room, marks, ", _each("C", c.captures), _each("R", c.results), _each("W", c.scratch),
    ])  # fmt: skip
    ranks, at = c.y_ranks, f"part * {c.width} + " if c.parts > 1 else ""
    begun = [line for k in range(c.y) for line in _loops(ranks[k], f"A[{k}]", f"{{a}}[{{i}}] = Y[{k}][e, {{i}}]")]
    begun += [
        line for lane in range(c.width) for k in range(c.y)
        for line in _loops(ranks[k], f"A[{(lane + 1) * c.y + k}]", f"{{a}}[{{i}}] = DY[{k}][{at}{lane}, {{i}}]")
    ]  # fmt: skip
    looked = [(f"A[{k}]", ranks[k % c.y]) for k in range((c.width + 1) * c.y)]
    looked += [(f"B[{k}]", rank) for k, rank in enumerate(c.spare_ranks)]
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
    tests = [line for name, rank in looked for line in _loops(rank, name, "if not math.isfinite({a}[{i}]):\n    return False")]
    return _TEXT.format(
        control=control, sweep=sweep, integrated=integrated, parts=c.parts, set_off="\n".join(begun),
        finite="\n".join(tests),
        time=c.results - 3, length=c.results - 2, landed=c.results - 1,
        numbers=f"{_each('P', c.p, '[e]')}{own}{moving}",
        unpack="\n".join(f"    {name} = steps[{k}]" for k, name in enumerate(names)),
        moves=indent("\n".join(moves), " " * 16), stands=indent("\n".join(stands), " " * 16),
        seen=_each("O", c.seen, "[first:last]")
        + "".join(_each("J", c.moved, f"[{at}{lane}][first:last]") for lane in range(c.width)),
        memory=_each("T", c.tapes) + _each("D", c.own),
    )  # fmt: skip
