"""The compiled sweep: one generated function that carries out a schedule's actions on a model's kernels.

It runs a block of action rows without returning to Python, except to say one of

    DONE    all rows are carried out
    TURN    the next row reverses the last step: its cotangent must be set first
    PAUSE   the given number of steps is used up (call again to go on)
    NEED    an arena is too small (enlarge it and call again: nothing is lost)
    > 0     a kernel left by the user's ``raise``

Its whole progress is in ``ctl``, so that it can go on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..schedules import ADVANCE, LOAD, RECORD, REVERSE, STORE
from .api import Compiled
from .ir import Base, is_float

__all__ = ["BPARITY", "BUDGET", "DONE", "DRIVER_VERBS", "FORWARD", "HIGH", "N", "OBSERVED", "PARITY", "PAUSE", "PLACE", "REVERSED", "ROW", "SEED_ACTION", "STAGE", "TURN",
           "TURNED", "TURN_ACTION", "UNOBSERVED", "VJPS", "Model", "driver_text"]  # fmt: skip

DONE, TURN, PAUSE = 0, -2, -3
SEED_ACTION = 7  #: a row (SEED_ACTION, N, N, -1): add the cotangents of the observations at y_N
TURN_ACTION = 6  #: a row (TURN_ACTION, n, n + 1, slot): from y_n in the slot (-1: current), run the last step into the other buffer

#: places in ``ctl``
ROW, N, HIGH, PARITY, BPARITY, BUDGET, FORWARD, VJPS, OBSERVED, UNOBSERVED, TURNED, PLACE, REVERSED, STAGE = range(14)
#: what ``ctl[PLACE]`` says: which kernel was running
DRIVER_VERBS = ("step", "running", "observe", "misfit", "step_vjp", "running_vjp", "observe_vjp", "misfit_vjp")


@dataclass(frozen=True)
class Model:
    """The compiled kernels of a simulation; costs and their VJPs are optional.  ``y`` and ``p`` are the leaf bases."""

    y: tuple[Base, ...]
    p: tuple[Base, ...]
    active_p: tuple[bool, ...]
    kernels: dict[str, Compiled]  # keys from DRIVER_VERBS
    n_observed: int = 0  # leaves of an observation

    @property
    def y_float(self) -> list[int]:
        return [k for k, b in enumerate(self.y) if is_float(b.dt)]


def driver_text(model: Model, name: str, reverse: bool) -> str:
    """The text of the kernels and of the driver; ``reverse=False`` leaves out everything that belongs to the way back."""
    verbs = [v for v in DRIVER_VERBS if v in model.kernels and (reverse or not v.endswith("_vjp"))]
    parts = [model.kernels[v].text.replace(f"def {model.kernels[v].kernel.fn.name}(", f"def k_{v}(", 1) for v in verbs]
    ranks = sorted({b.rank for b in model.y})
    parts += [_copy_text(rank) for rank in ranks]
    if reverse:
        parts += [_zero_text(rank) for rank in sorted({b.rank for b in model.y} | {b.rank for _, b in _observation(model)})]
        if "observe" in model.kernels:
            parts += [_copy_text(r) for r in sorted({b.rank for _, b in _observation(model)} - set(ranks))]
    parts.append(_Driver(model, name, reverse, verbs).text())
    return "\n\n".join(parts)


def _observation(model: Model) -> list[tuple[int, Base]]:
    if "observe" not in model.kernels:
        return []
    return list(enumerate(model.kernels["observe"].kernel.results))


_OPTIONS = "@njit(error_model='numpy', nogil=True, cache=True)"


def _nest(rank: int, line: str, over: str) -> str:
    out = []
    for axis in range(rank):
        out.append("    " * (axis + 1) + f"for z{axis} in range({over}.shape[{axis}]):")
    index = ", ".join(f"U(z{axis})" for axis in range(rank))
    out.append("    " * (rank + 1) + line.format(index))
    return "\n".join(out)


def _copy_text(rank: int) -> str:
    return f"{_OPTIONS}\ndef copy_{rank}(dst, src):\n" + _nest(rank, "dst[{0}] = src[{0}]", "dst") + "\n"


def _zero_text(rank: int) -> str:
    return f"{_OPTIONS}\ndef zero_{rank}(dst):\n" + _nest(rank, "dst[{0}] = 0", "dst") + "\n"


class _Driver:
    def __init__(self, model: Model, name: str, reverse: bool, verbs: Sequence[str]) -> None:
        self.m, self.name, self.reverse, self.verbs = model, name, reverse, verbs
        self.lines: list[str] = []

    def put(self, depth: int, text: str) -> None:
        self.lines += ["    " * depth + line for line in text.splitlines()]

    # ---------------------------------------------------------------------------------------------------- argument texts
    def y(self, where: str, row: str | None = None) -> list[str]:
        """The state leaves: ``a``/``b`` buffers, or ``s`` (slots) at a row."""
        return [f"{where}_{k}" if row is None else f"{where}_{k}[{row}]" for k in range(len(self.m.y))]

    def bars(self, where: str) -> list[str]:
        return [f"{where}_{k}" for k in self.m.y_float]

    def p(self) -> list[str]:
        return [f"p_{k}" for k in range(len(self.m.p))]

    def p_bars(self) -> list[str]:
        return [f"pb_{k}" for k, on in enumerate(self.m.active_p) if on]

    def obs(self, where: str, row: str | None = None) -> list[str]:
        return [f"{where}_{k}" if row is None else f"{where}_{k}[{row}]" for k in range(self.m.n_observed)]

    def own(self, verb: str) -> tuple[list[str], list[str], list[str]]:
        """A kernel's captures, arenas and scratch."""
        compiled = self.m.kernels[verb]
        captures = [f"c_{verb}[{k}]" for k in range(len(compiled.kernel.captures))]
        arenas = ["tops" if b.name.startswith("tops") else "tape" if b.dt == "f8" else "itape" for b in compiled.kernel.arenas]
        scratch = [f"w_{verb}[{k}]" for k in range(len(compiled.scratch.bases))]
        return captures, arenas, scratch

    def call(self, depth: int, verb: str, args: list[str], leave: str = "break") -> None:
        captures, arenas, scratch = self.own(verb)
        n_inputs = len(self.m.kernels[verb].kernel.inputs) + 1
        full = [*args[:n_inputs], *captures, *args[n_inputs:], *arenas, *scratch]
        self.put(depth, f"status = k_{verb}({', '.join(full)})")
        self.put(depth, f"if status != 0:\n    ctl[{PLACE}] = {DRIVER_VERBS.index(verb)}\n    {leave}")

    # ----------------------------------------------------------------------------------------------------------- pieces
    def visit(self, depth: int, state: list[str], n: str = "n") -> None:
        """Running cost and observations of step n, the first time it is seen."""
        if "running" not in self.verbs and "observe" not in self.verbs:
            self.put(depth, f"if {n} >= high:\n    high = {n} + 1")
            return
        self.put(depth, f"if {n} >= high:\n    high = {n} + 1")
        if "running" in self.verbs:
            self.call(depth + 1, "running", [n, *state, *self.p(), "cell"])
            self.put(depth + 1, "sums[0] += cell[0]")
        self.observe(depth + 1, state, n)

    def observe(self, depth: int, state: list[str], n: str) -> None:
        if "observe" not in self.verbs:
            return
        self.put(depth, f"while seen < at.size and at[seen] == {n}:")
        self.call(depth + 1, "observe", [n, *state, *self.p(), *self.obs("o", "seen")])
        if "misfit" in self.verbs:
            self.call(depth + 1, "misfit", ["seen", *self.obs("o", "seen"), *self.p(), "cell"])
            self.put(depth + 1, "sums[1] += cell[0]")
        self.put(depth + 1, "seen += 1")
        self.put(depth, "if status != 0:\n    break")

    def unobserve(self, depth: int, state: list[str], n: str, bars: list[str], staged: bool) -> None:
        """The reverse of an observation: cotangents from the caller and from the misfit, last observation first."""
        if "observe_vjp" not in self.verbs:
            return
        self.put(depth, f"while unseen > 0 and at[unseen - 1] == {n}:")
        inner = depth + 1
        if staged:
            self.put(depth + 1, "if stage == 2:")
            inner += 1
        for k, b in _observation(self.m):
            if is_float(b.dt):
                self.put(inner, f"copy_{b.rank}(og_{k}, ob_{k}[unseen - 1])")
        obar = [f"og_{k}" for k, b in _observation(self.m) if is_float(b.dt)]
        if "misfit_vjp" in self.verbs:
            self.put(inner, "if seeds[0] != 0.0:")
            self.put(inner + 1, "cell[0] = seeds[0]")
            self.call(inner + 1, "misfit_vjp", ["unseen - 1", *self.obs("o", "unseen - 1"), *self.p(), "cell", *obar, *self.p_bars()])
        if staged:
            self.put(inner, "stage = 3")
        self.call(depth + 1, "observe_vjp", [n, *state, *self.p(), *obar, *bars, *self.p_bars()])
        if staged:
            self.put(depth + 1, "stage = 2")
        self.put(depth + 1, "unseen -= 1")
        self.put(depth, "if status != 0:\n    break")

    def swap(self, depth: int, one: list[str], two: list[str]) -> None:
        for x, z in zip(one, two, strict=True):
            self.put(depth, f"{x}, {z} = {z}, {x}")

    def copies(self, depth: int, dst: list[str], src: list[str]) -> None:
        for b, d, s in zip(self.m.y, dst, src, strict=True):
            self.put(depth, f"copy_{b.rank}({d}, {s})")

    # -------------------------------------------------------------------------------------------------------- the driver
    def text(self) -> str:
        own = [f"{kind}_{verb}" for verb in self.verbs for kind in ("c", "w")]
        params = ["actions", "count", "ctl", "sums", "seeds", "cell", "at", "A", "B", "S", "P", "O", "OB", "OG", "BA", "BB", "PB", "tape", "itape", "tops"]
        self.put(0, f"{_OPTIONS}\ndef {self.name}({', '.join([*params, *own])}):")
        groups = {"a": "A", "b": "B", "s": "S"}
        for k in range(len(self.m.y)):
            for low, up in groups.items():
                self.put(1, f"{low}_{k} = {up}[{k}]")
        for k in range(len(self.m.p)):
            self.put(1, f"p_{k} = P[{k}]")
        for k in range(self.m.n_observed):
            self.put(1, f"o_{k} = O[{k}]")
        if self.reverse:
            for j, k in enumerate(self.m.y_float):
                self.put(1, f"ba_{k} = BA[{j}]\nbb_{k} = BB[{j}]")
            for j, k in enumerate(k for k, on in enumerate(self.m.active_p) if on):
                self.put(1, f"pb_{k} = PB[{j}]")
            for j, k in enumerate(k for k, b in _observation(self.m) if is_float(b.dt)):
                self.put(1, f"ob_{k} = OB[{j}]\nog_{k} = OG[{j}]")
        a, b = self.y("a"), self.y("b")
        self.put(1, f"parity = ctl[{PARITY}]\nif parity == 1:")
        self.swap(2, a, b)
        if self.reverse:
            self.put(1, f"bparity = ctl[{BPARITY}]\nif bparity == 1:")
            self.put(2, "pass")
            self.swap(2, self.bars("ba"), self.bars("bb"))
        self.put(1, f"row = ctl[{ROW}]\nn = ctl[{N}]\nhigh = ctl[{HIGH}]\nleft = ctl[{BUDGET}]\nforward = ctl[{FORWARD}]")
        self.put(1, f"vjps = ctl[{VJPS}]\nseen = ctl[{OBSERVED}]\nunseen = ctl[{UNOBSERVED}]\nctl[{REVERSED}] = 0\nstage = ctl[{STAGE}]")
        self.put(1, "status = 0\nwhile row < count:")
        self.put(2, "kind = actions[row, 0]\nlo = actions[row, 1]\nhi = actions[row, 2]\nslot = actions[row, 3]")
        self._advance()
        self._moves()
        self._record()
        self._turn()
        if self.reverse:
            self._seed()
            self._reverse()
        self.put(2, f"n = -1\nrow += 1\nif left <= 0 and row < count:\n    status = {PAUSE}\n    break")
        self.put(1, f"ctl[{PARITY}] = parity\nctl[{ROW}] = row\nctl[{N}] = n\nctl[{HIGH}] = high\nctl[{BUDGET}] = left\nctl[{FORWARD}] = forward")
        if self.reverse:
            self.put(1, f"ctl[{BPARITY}] = bparity")
        self.put(1, f"ctl[{VJPS}] = vjps\nctl[{OBSERVED}] = seen\nctl[{UNOBSERVED}] = unseen\nctl[{STAGE}] = stage\nreturn status")
        return "\n".join(self.lines) + "\n"

    def _pause(self, depth: int, before: str) -> None:
        """After a range cut short: an error, or the budget is used up."""
        self.put(depth, f"if status != 0:\n    break\nif {before}:\n    status = {PAUSE}\n    break")

    def _advance(self) -> None:
        a, b = self.y("a"), self.y("b")
        self.put(2, f"if kind == {ADVANCE}:")
        self.put(3, "if n < 0:\n    n = lo\nend = min(hi, n + max(left, 1))\nwhile n < end:")
        self.visit(4, a)
        self.call(4, "step", ["n", *a, *self.p(), *b])
        self.swap(4, a, b)
        self.put(4, "parity = 1 - parity\nn += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi")

    def _moves(self) -> None:
        a = self.y("a")
        self.put(2, f"elif kind == {STORE}:")
        self.copies(3, self.y("s", "slot"), a)
        self.put(2, f"elif kind == {LOAD}:")
        self.copies(3, a, self.y("s", "slot"))

    def _record(self) -> None:
        self.put(2, f"elif kind == {RECORD}:")
        self.put(3, "if n < 0:\n    n = lo")
        self.copies(4, self.y("s", "slot"), self.y("a"))
        self.put(3, "end = min(hi - 1, n + max(left, 1))\nj = slot + n - lo\nwhile n < end:")
        self.visit(4, self.y("s", "j"))
        self.call(4, "step", ["n", *self.y("s", "j"), *self.p(), *self.y("s", "j + 1")])
        self.put(4, "n += 1\nj += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi - 1")
        self.copies(3, self.y("a"), self.y("s", "j"))

    def _turn(self) -> None:
        """The last step, from the state that its VJP will start from, which must survive: into the other buffer.

        A row with lo == hi runs no step: the other buffer holds y_N already.
        """
        a, b = self.y("a"), self.y("b")
        self.put(2, f"elif kind == {TURN_ACTION}:")
        self.put(3, "n = lo\nif slot >= 0:")
        self.copies(4, a, self.y("s", "slot"))
        self.put(3, "while n < hi:")
        self.visit(4, a)
        self.call(4, "step", ["n", *a, *self.p(), *b])
        self.put(4, "n += 1\nforward += 1\nleft -= 1")
        self.put(3, "if status != 0:\n    break")
        self.observe(3, b, "hi")

    def _seed(self) -> None:
        """The cotangents of the observations at y_N, which is in the other buffer."""
        self.put(2, f"elif kind == {SEED_ACTION}:")
        self.put(3, f"ctl[{REVERSED}] = 1\nn = lo")
        staged = self._staged()
        if staged:
            self.put(3, "stage = max(stage, 2)")
        self.unobserve(3, self.y("b"), "n", self.bars("ba"), staged)
        if staged:
            self.put(3, "stage = 0")

    def _staged(self) -> bool:
        """Whether a kernel after the step's VJP may run out of arena: those before it must then not be run again."""
        return any(self.m.kernels[v].kernel.arenas for v in self.verbs if v in ("running_vjp", "observe_vjp", "misfit_vjp"))

    def _reverse(self) -> None:
        self.put(2, f"elif kind == {REVERSE}:")
        self.put(3, f"ctl[{REVERSED}] = 1\nif hi == ctl[{TURNED}]:\n    status = {TURN}\n    break")
        self.put(3, "if n < 0:\n    n = hi - 1\nend = max(lo, n - max(left, 1) + 1)\nif slot < 0:")
        self._reverse_steps(4, None)
        self.put(3, "else:")
        self._reverse_steps(4, "j")
        self._pause(3, "n >= lo")
        self.put(3, f"ctl[{REVERSED}] = 0")

    def _reverse_steps(self, depth: int, row: str | None) -> None:
        state = self.y("a") if row is None else self.y("s", row)
        ba, bb = self.bars("ba"), self.bars("bb")
        self.put(depth, "while n >= end:")
        if row is not None:
            self.put(depth + 1, "j = slot + n - lo")
        staged = self._staged()
        inner = depth + 1
        if staged:
            self.put(depth + 1, "if stage == 0:")
            inner += 1
        for k in self.m.y_float:
            self.put(inner, f"zero_{self.m.y[k].rank}(bb_{k})")
        self.call(inner, "step_vjp", ["n", *state, *self.p(), *ba, *bb, *self.p_bars()])
        if staged:
            self.put(inner, "stage = 1")
        if "running_vjp" in self.verbs:
            inner = depth + 2
            self.put(depth + 1, "if stage == 1 and seeds[0] != 0.0:" if staged else "if seeds[0] != 0.0:")
            self.put(inner, "cell[0] = seeds[0]")
            self.call(inner, "running_vjp", ["n", *state, *self.p(), "cell", *bb, *self.p_bars()])
        if staged:
            self.put(depth + 1, "stage = 2")
        self.unobserve(depth + 1, state, "n", bb, staged)
        if staged:
            self.put(depth + 1, "stage = 0")
        self.swap(depth + 1, ba, bb)
        self.put(depth + 1, "bparity = 1 - bparity\nn -= 1\nvjps += 1\nleft -= 1")


