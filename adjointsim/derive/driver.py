"""The compiled sweep: one generated function that carries out a schedule's actions on a model's kernels.

It runs a block of action rows without returning to Python, except to say one of

    DONE    all rows are carried out
    TURN    the next row reverses the last step: its cotangent must be set first
    PAUSE   the given number of steps is used up (call again to go on)
    NEED    an arena is too small (enlarge it and call again: nothing is lost)
    STOP    the run ends with the step that was run last: ctl[N] is its number, and the state before it is current
    > 0     a kernel left by the user's ``raise``

Its whole progress is in ``ctl``, so that it can go on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE
from .buffers import Buffers
from .control import (
    BUDGET,
    DRIVER_VERBS,
    FORWARD,
    HIGH,
    KEPT,
    LOOK_ACTION,
    MOVED,
    MOVED_BARS,
    OBSERVED,
    PAUSE,
    REVERSED,
    ROW,
    SEED_ACTION,
    SHARED,
    STAGE,
    STOP,
    TURN,
    TURN_ACTION,
    TURNED,
    UNOBSERVED,
    VJPS,
    WATCHED,
    N,
)
from .summary import SweepSummary, carries_tangents
from .tapes import ARENAS
from .writer import OPTIONS, UNCOUNTED, Writer, array_functions

__all__ = ["driver_text"]

#: the driver's parameters, before each kernel's captures and scratch memory
_PARAMS = (
    "actions", "count", "ctl", "sums", "seeds", "at", "A", "B", "S", "P", "O", "OB", "OG", "BA", "BB", "PB", "tape", "itape",
    "tops",
)  # fmt: skip


def driver_text(summary: SweepSummary, name: str, reverse: bool) -> str:
    """The text of the driver and of what it uses, the kernels apart, which it calls ``k_<verb>``; ``reverse=False`` leaves
    out everything that belongs to the way back."""
    verbs = [v for v in DRIVER_VERBS if v in summary.calls and (reverse or not v.endswith("_vjp"))]
    lines = _Driver(summary, reverse, verbs).text(name)
    return "\n\n".join([*array_functions(lines), "\n".join(lines) + "\n"])


class _Driver:
    """Writes the driver, action by action."""

    def __init__(self, summary: SweepSummary, reverse: bool, verbs: Sequence[str]) -> None:
        self.w = Writer(summary, verbs)
        self.buffers = Buffers(self.w)
        self.m, self.verbs, self.reverse, self.calls = summary.step, verbs, reverse, summary.calls
        self.again = self.m.again
        self.seen_floats = [k for k, leaf in enumerate(summary.observed) if not leaf.inert]
        self.put = self.w.put

    def text(self, name: str) -> list[str]:
        own = [ARENAS[-1]] * carries_tangents(self.w.sweep)
        own += [f"{kind}_{verb}" for verb in self.verbs for kind in ("c", "w")]
        options = OPTIONS if any(how.raises for how in self.calls.values()) else UNCOUNTED
        self.put(0, f"{options}\ndef {name}({', '.join([*_PARAMS, *own])}):")
        self._unpack()
        self.put(1, "status = 0\nwhile row < count:")
        self.put(2, "kind = actions[row, 0]\nlo = actions[row, 1]\nhi = actions[row, 2]\nslot = actions[row, 3]")
        self._advance()
        self._moves()
        self._record()
        if self.reverse:
            self._look()
            self._seed()
            self._reverse()
        self.put(2, f"n = -1\nrow += 1\nif left <= 0 and row < count:\n    status = {PAUSE}\n    break")
        self._pack()
        return self.w.lines

    # ------------------------------------------------------------------------------------------------- in and out of ctl
    def _unpack(self) -> None:
        self.put(1, f"moved = ctl[{MOVED}]\nmoved_bars = ctl[{MOVED_BARS}]")
        self.buffers.unpack(1, self.reverse)
        self.put(1, "spare = s_0.shape[0] - 1")
        if self.again and self.reverse:
            self.put(1, f"last = spare\nspare -= 1\nkept = ctl[{KEPT}]")
        for k, leaf in enumerate(self.m.p):
            self.put(1, f"p_{k} = P[{k}]{'[0]' * leaf.scalar}")
        for k in range(len(self.w.sweep.observed)):
            self.put(1, f"o_{k} = O[{k}]")
        if self.reverse:
            for j, k in enumerate(k for k, on in enumerate(self.m.active_p) if on):
                self.put(1, f"pb_{k} = PB[{j}]")
            for j, k in enumerate(self.seen_floats):
                self.put(1, f"ob_{k} = OB[{j}]\nog_{k} = OG[{j}]")
        self.put(1, f"row = ctl[{ROW}]\nn = ctl[{N}]\nhigh = ctl[{HIGH}]\nleft = ctl[{BUDGET}]\nforward = ctl[{FORWARD}]")
        self.put(1, f"vjps = ctl[{VJPS}]\nseen = ctl[{OBSERVED}]\nunseen = ctl[{UNOBSERVED}]\nstage = ctl[{STAGE}]")
        self.put(1, f"ctl[{REVERSED}] = 0")

    def _pack(self) -> None:
        if self.again and self.reverse:
            self.put(1, f"ctl[{KEPT}] = kept")
        self.buffers.pack(1, self.reverse)
        self.put(1, f"ctl[{MOVED}] = moved\nctl[{MOVED_BARS}] = moved_bars\nctl[{ROW}] = row\nctl[{N}] = n")
        self.put(1, f"ctl[{HIGH}] = high\nctl[{BUDGET}] = left\nctl[{FORWARD}] = forward\nctl[{VJPS}] = vjps")
        self.put(1, f"ctl[{OBSERVED}] = seen\nctl[{UNOBSERVED}] = unseen\nctl[{STAGE}] = stage\nreturn status")

    def _pause(self, depth: int, before: str) -> None:
        """After a range cut short: an error, or the budget is used up."""
        self.put(depth, f"if status != 0:\n    break\nif {before}:\n    status = {PAUSE}\n    break")

    # ----------------------------------------------------------------------------------------------------------- the costs
    def visit(self, depth: int, state: list[str]) -> None:
        """Running cost and observations of step n, the first time it is seen."""
        self.put(depth, "if n >= high:\n    high = n + 1")
        if "running" in self.verbs:
            self.w.call(depth + 1, "running", ["n", *state, *self.w.p()], ["cost"])
            self.put(depth + 1, "sums[0] += cost")
        self.observe(depth + 1, state, "n")

    def observe(self, depth: int, state: list[str], n: str) -> None:
        if "observe" not in self.verbs:
            return
        w = self.w
        self.put(depth, f"while seen < at.size and at[seen] == {n}:")
        w.call(depth + 1, "observe", [n, *state, *w.p(), *w.obs("seen")])
        if "misfit" in self.verbs:
            w.call(depth + 1, "misfit", ["seen", *w.seen("seen"), *w.p()], ["cost"])
            self.put(depth + 1, "sums[1] += cost")
        self.put(depth + 1, "seen += 1")
        self.put(depth, "if status != 0:\n    break")

    def unobserve(self, depth: int, state: list[str], n: str) -> None:
        """The reverse of an observation: cotangents from the caller and from the misfit, last observation first."""
        if "observe_vjp" not in self.verbs:
            return
        w, staged = self.w, self._staged()
        self.put(depth, f"while unseen > 0 and at[unseen - 1] == {n}:")
        inner = depth + 1
        if staged:
            self.put(depth + 1, "if stage == 2:")
            inner += 1
        for k in self.seen_floats:
            self.put(inner, f"copy_{w.sweep.observed[k].rank}(og_{k}, ob_{k}[unseen - 1])")
        obar = [f"og_{k}" for k in self.seen_floats]
        if "misfit_vjp" in self.verbs:
            self.put(inner, "if seeds[0] != 0.0:")
            args = ["unseen - 1", *w.seen("unseen - 1"), *w.p(), "seeds[0]", *obar, *w.p_bars()]
            w.call(inner + 1, "misfit_vjp", args)
        if staged:
            self.put(inner, "stage = 3")
        self._cost_vjp(depth + 1, "observe_vjp", [n, *state, *w.p(), *obar])
        if staged:
            self.put(depth + 1, "stage = 2")
        self.put(depth + 1, "unseen -= 1")
        self.put(depth, "if status != 0:\n    break")

    def _cost_vjp(self, depth: int, verb: str, args: list[str]) -> None:
        """Add the cotangents that a cost gives to y: to array leaves in place, to numbers by value."""
        arrays = [f"ba_{k}" for k in self.w.arrays(self.m.floats)]
        numbers = self.w.arrays(self.m.floats, scalar=True)
        self.w.call(depth, verb, [*args, *arrays, *self.w.p_bars()], [f"x_{k}" for k in numbers])
        for k in numbers:
            self.put(depth, f"ba_{k} += x_{k}")

    # -------------------------------------------------------------------------------------------------- the way there
    def _advance(self) -> None:
        """Steps from buffers into spare ones, which then take their places.  At the last step of all (a turn) they do not:
        the state that its VJP will start from stays, and y_N is what would have become the next current one.

        A turn takes y_{N-1} from its slot, if it has one, by name only, and gives the current state its name back.  With
        lo == hi it runs no step: there is none, and the current state is y_N.
        """
        w, a = self.w, self.w.y("a")
        self.put(2, f"if kind == {ADVANCE} or kind == {TURN_ACTION}:")
        self.put(3, f"if kind == {TURN_ACTION}:")
        for one, other, now in zip(w.y("t"), a, w.y("s", "slot"), strict=True):
            self.put(4, f"{one} = {other}\nif slot >= 0:\n    {other} = {now}")
        if self.m.kept:
            self.put(3, f"home = slot if kind == {TURN_ACTION} and slot >= 0 else spare")
        self.put(3, "if n < 0:\n    n = lo\nend = min(hi, n + max(left, 1))\nwhile n < end:")
        self.visit(4, a)
        self.buffers.step(4, a, w.y("b"), "home")
        self.buffers.copied(4)
        self._until(4, f"kind == {ADVANCE} and ", self.buffers.next("a", "b"))
        self.put(4, f"if kind == {ADVANCE}:\n    moved += 1")
        self.buffers.advance(5)
        self.put(4, "n += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi")
        self.put(3, f"if kind == {TURN_ACTION}:")
        if "observe" in self.verbs:
            self.buffers.last(4, "hi", "a")
            self.observe(4, w.y("z"), "hi")
        w.at_once(4, list(zip(a, w.y("t"), strict=True)))
        if self.m.nexts and self.reverse:
            self.put(4, "if hi > lo:\n    kept = hi")
            w.copies(5, w.y("s", "last"), w.y("b"), self.m.nexts)

    def _until(self, depth: int, when: str, state: list[str], before: Sequence[str] = ()) -> None:
        """Stop if the run ends with the state that a step has just made; the step then counts as not yet run."""
        if "until" not in self.verbs:
            return
        self.put(depth, f"if {when}ctl[{WATCHED}] != 0:")
        self.w.call(depth + 1, "until", ["n + 1", *state, *self.w.p()], ["ends"])
        self.put(depth + 1, "if ends:")
        self.put(depth + 2, "\n".join([*before, f"status = {STOP}", "break"]))

    def _moves(self) -> None:
        a, s = self.w.y("a"), self.w.y("s", "slot")
        self.put(2, f"elif kind == {STORE}:")
        self.w.copies(3, s, a)
        self.put(2, f"elif kind == {LOAD}:")
        self.w.copies(3, a, s)

    def _record(self) -> None:
        """Steps from slot to slot; numbers also stay in variables, so that no step waits for its own store."""
        w, m = self.w, self.m
        state = [f"a_{k}" if leaf.scalar else f"s_{k}[j]" for k, leaf in enumerate(m.y)]
        self.put(2, f"elif kind == {RECORD}:")
        self.put(3, "if n < 0:\n    n = lo")
        w.copies(4, w.y("s", "slot"), w.y("a"))
        self.put(3, "end = min(hi - 1, n + max(left, 1))\nj = slot + n - lo\nwhile n < end:")
        self.visit(4, state)
        self.buffers.step(4, state, w.y("s", "j + 1"), "j")
        sources = m.sources(scalar=False)
        for k in (k for k in sources if k not in m.followers):
            w.copy(4, k, f"s_{k}[j + 1]", f"s_{sources[k]}[j]")
        if m.followers:
            self.put(4, f"if ctl[{SHARED}] == 0:")
        for k in m.followers:
            w.copy(5, k, f"s_{k}[j + 1]", f"s_{sources[k]}[j]")
        here = w.arrays(range(len(m.y)))
        back = [f"copy_{m.y[k].rank}(a_{k}, s_{k}[j])" for k in here]
        self._until(4, "", [f"s_{k}[j + 1]" if k in here else z for k, z in enumerate(self.buffers.next("a", "b"))], back)
        self.buffers.next_numbers(4)
        numbers = w.arrays(range(len(m.y)), scalar=True)
        w.copies(4, w.y("s", "j + 1"), w.y("a"), numbers)
        self.put(4, "n += 1\nj += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi - 1")
        w.copies(3, w.y("a"), w.y("s", "j"), w.arrays(range(len(m.y))))

    def _look(self) -> None:
        """The costs and observations of states that are in slots."""
        w = self.w
        self.put(2, f"elif kind == {LOOK_ACTION}:")
        self.put(3, "if n < 0:\n    n = lo")
        self.put(3, "end = min(hi - 1, n + max(left, 1))\nj = slot + n - lo\nwhile n < end:")
        self.visit(4, w.y("s", "j"))
        if self.m.kept:
            self.put(4, "keeps[j] = n")
        self.put(4, "n += 1\nj += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi - 1")
        w.copies(3, w.y("a"), w.y("s", "j"))

    # --------------------------------------------------------------------------------------------------- the way back
    def _seed(self) -> None:
        """The cotangents of the observations at y_N; y_{N-1} is in the slot, or current."""
        w = self.w
        self.put(2, f"elif kind == {SEED_ACTION}:")
        self.put(3, f"ctl[{REVERSED}] = 1\nn = lo")
        if "observe_vjp" not in self.verbs:
            return
        if self._staged():
            self.put(3, "stage = max(stage, 2)")
        for one, now, stored in zip(w.y("t"), w.y("a"), w.y("s", "slot"), strict=True):
            self.put(3, f"{one} = {now}\nif slot >= 0:\n    {one} = {stored}")
        self.buffers.last(3, "n", "t")
        self.unobserve(3, w.y("z"), "n")
        if self._staged():
            self.put(3, "stage = 0")

    def _staged(self) -> bool:
        """Whether a kernel after the step's VJP may run out of arena: those before it must then not be run again."""
        return any(self.calls[v].needs for v in self.verbs if v in ("running_vjp", "observe_vjp", "misfit_vjp"))

    def _reverse(self) -> None:
        self.put(2, f"elif kind == {REVERSE}:")
        self.put(3, f"ctl[{REVERSED}] = 1\nif hi == ctl[{TURNED}]:\n    status = {TURN}\n    break")
        self.put(3, "if slot < 0:\n    slot = spare")
        self.w.copies(4, self.w.y("s", "slot"), self.w.y("a"), self._read())  # a state in no slot: into the spare row
        self.put(3, "if n < 0:\n    n = hi - 1\nend = max(lo, n - max(left, 1) + 1)")
        self._reverse_steps(3)
        self._pause(3, "n >= lo")
        if self.m.nexts:  # for the VJP of the step before, which may be in another run of slots
            self.w.copies(3, self.w.y("s", "last"), self.w.y("s", "slot"), self.m.nexts)
            self.put(3, "kept = lo")
        self.put(3, f"ctl[{REVERSED}] = 0")

    def _read(self) -> list[int]:
        """The leaves of a state that some VJP reads, and all that it takes to have those of the next state."""
        verbs = ("step_vjp", "running_vjp", "observe_vjp", *["step"] * self.again)
        read = {*self.m.nexts, *(k for v in verbs if v in self.verbs for k in self.calls[v].reads)}
        return [k for k in range(len(self.m.y)) if k in read]

    def _have_next(self, depth: int, state: list[str]) -> None:
        """Let ``up`` be the row with what the VJP needs of the next state: that above, or the last one.  Only where a way back is
        taken up again is it not there yet.  Nor may be what the step keeps: where its state was stored and it was not run."""
        if self.m.kept:
            self._run_again(depth, "keeps[j] != n", "n + 1", state)
        if self.m.nexts:
            self.put(depth, "up = j + 1\nif n + 1 == hi:\n    up = last")
            self._run_again(depth + 1, "kept != hi", "hi", state)

    def _run_again(self, depth: int, when: str, up: str, state: list[str]) -> None:
        """Run step n from its slot; the last row then has what VJPs need of state ``up``."""
        self.put(depth, f"if {when}:")
        self.buffers.step(depth + 1, state, self.w.y("s", "last"), "j", "d")
        self.put(depth + 1, f"kept = {up}")

    def _reverse_steps(self, depth: int) -> None:
        state = self.w.y("s", "j")
        staged = self._staged()
        self.put(depth, "while n >= end:")
        self.put(depth + 1, "j = slot + n - lo")
        inner = depth + 1
        if staged:
            self.put(depth + 1, "if stage == 0:")
            inner += 1
        if self.again:
            self._have_next(inner, state)
        self.buffers.reverse_step(inner, state)
        self.buffers.retreat(inner)
        self.put(inner, "moved_bars += 1" + "\nstage = 1" * staged)
        if "running_vjp" in self.verbs:
            self.put(depth + 1, "if stage == 1 and seeds[0] != 0.0:" if staged else "if seeds[0] != 0.0:")
            self._cost_vjp(depth + 2, "running_vjp", ["n", *state, *self.w.p(), "seeds[0]"])
        if staged:
            self.put(depth + 1, "stage = 2")
        self.unobserve(depth + 1, state, "n")
        if staged:
            self.put(depth + 1, "stage = 0")
        self.put(depth + 1, "n -= 1\nvjps += 1\nleft -= 1")
