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

__all__ = [
    "BPARITY", "BUDGET", "DONE", "DRIVER_VERBS", "FORWARD", "HIGH", "N", "OBSERVED", "PARITY", "PAUSE", "PLACE", "REVERSED",
    "ROW", "SEED_ACTION", "STAGE", "TURN", "TURNED", "TURN_ACTION", "UNOBSERVED", "VJPS", "Model", "driver_text",
]  # fmt: skip

DONE, TURN, PAUSE = 0, -2, -3
SEED_ACTION = 7  #: a row (SEED_ACTION, N, N, -1): add the cotangents of the observations at y_N
TURN_ACTION = (
    6  #: a row (TURN_ACTION, n, n + 1, slot): from y_n in the slot (-1: current), run the last step into the other buffer
)

#: places in ``ctl``
ROW, N, HIGH, PARITY, BPARITY, BUDGET, FORWARD, VJPS, OBSERVED, UNOBSERVED, TURNED, PLACE, REVERSED, STAGE = range(14)
#: what ``ctl[PLACE]`` says: which kernel was running
DRIVER_VERBS = ("step", "running", "observe", "misfit", "step_vjp", "running_vjp", "observe_vjp", "misfit_vjp")


@dataclass(frozen=True)
class Model:
    """The compiled kernels of a simulation; costs and their VJPs are optional.  ``y`` and ``p`` are the leaf bases.

    Scalar leaves of y and p go by value: the driver holds them in variables, and their slots in one array.
    """

    y: tuple[Base, ...]
    p: tuple[Base, ...]
    active_p: tuple[bool, ...]
    kernels: dict[str, Compiled]  # keys from DRIVER_VERBS
    n_observed: int  # leaves of an observation
    y_scalar: tuple[bool, ...]
    p_scalar: tuple[bool, ...]
    observed_scalar: tuple[bool, ...]

    @property
    def y_float(self) -> list[int]:
        return [k for k, b in enumerate(self.y) if is_float(b.dt)]


def driver_text(model: Model, name: str, reverse: bool) -> str:
    """The text of the kernels and of the driver; ``reverse=False`` leaves out everything that belongs to the way back."""
    verbs = [v for v in DRIVER_VERBS if v in model.kernels and (reverse or not v.endswith("_vjp"))]
    called: dict[str, str] = {}
    for v in verbs:
        for helper, text in model.kernels[v].called.items():  # the forward and the reverse kernel share functions
            assert called.setdefault(helper, text) == text, f"two functions are called {helper}"
    parts = list(called.values())
    parts += [model.kernels[v].own_text.replace(f"def {model.kernels[v].kernel.fn.name}(", f"def k_{v}(", 1) for v in verbs]
    ranks = sorted({b.rank for b, scalar in zip(model.y, model.y_scalar, strict=True) if not scalar})
    parts += [_copy_text(rank) for rank in ranks]
    if reverse:
        parts += [_zero_text(rank) for rank in ranks]
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
        """The state leaves: ``a``/``b`` (variables or buffers), or ``s`` (slots) at a row."""
        return [f"{where}_{k}" if row is None else f"{where}_{k}[{row}]" for k in range(len(self.m.y))]

    def bars(self, where: str) -> list[str]:
        return [f"{where}_{k}" for k in self.m.y_float]

    def p(self) -> list[str]:
        return [f"p_{k}" for k in range(len(self.m.p))]

    def p_bars(self) -> list[str]:
        return [f"pb_{k}" for k, on in enumerate(self.m.active_p) if on]

    def obs(self, row: str) -> list[str]:
        """An observation's memory."""
        return [f"o_{k}[{row}]" for k in range(self.m.n_observed)]

    def seen(self, row: str) -> list[str]:
        """An observation's leaves as inputs."""
        return [f"o_{k}[{row}, 0]" if on else f"o_{k}[{row}]" for k, on in enumerate(self.m.observed_scalar)]

    def arrays(self, texts: list[str], scalar: bool = False) -> list[str]:
        """Of texts for the leaves of y, those of array leaves (or of scalar ones)."""
        return [t for t, on in zip(texts, self.m.y_scalar, strict=True) if on == scalar]

    def own(self, verb: str) -> tuple[list[str], list[str], list[str]]:
        """A kernel's captures, arenas and scratch."""
        compiled = self.m.kernels[verb]
        captures = [f"c_{verb}[{k}]" for k in range(len(compiled.kernel.captures))]
        arenas = ["tops" if b.name.startswith("tops") else "tape" if b.dt == "f8" else "itape" for b in compiled.kernel.arenas]
        scratch = [f"w_{verb}[{k}]" for k in range(len(compiled.scratch.bases))]
        return captures, arenas, scratch

    def call(self, depth: int, verb: str, args: list[str], results: list[str] | None = None) -> None:
        """Call a kernel: ``args`` are its counter, inputs and memory; ``results`` receive what it returns by value."""
        captures, arenas, scratch = self.own(verb)
        n_inputs = len(self.m.kernels[verb].kernel.inputs) + 1
        full = [*args[:n_inputs], *captures, *args[n_inputs:], *arenas, *scratch]
        left = ", ".join(["status", *(results or [])])
        self.put(depth, f"{left} = k_{verb}({', '.join(full)})")
        self.put(depth, f"if status != 0:\n    ctl[{PLACE}] = {DRIVER_VERBS.index(verb)}\n    break")

    def step(self, depth: int, n: str, state: list[str], into: list[str], values: str) -> None:
        """Run the step: array leaves into ``into``, scalar ones into the variables ``values``."""
        self.call(depth, "step", [n, *state, *self.p(), *self.arrays(into)], self.arrays(self.y(values), scalar=True))

    # ----------------------------------------------------------------------------------------------------------- pieces
    def visit(self, depth: int, state: list[str]) -> None:
        """Running cost and observations of step n, the first time it is seen."""
        self.put(depth, "if n >= high:\n    high = n + 1")
        if "running" in self.verbs:
            self.call(depth + 1, "running", ["n", *state, *self.p()], ["cost"])
            self.put(depth + 1, "sums[0] += cost")
        self.observe(depth + 1, state, "n")

    def observe(self, depth: int, state: list[str], n: str) -> None:
        if "observe" not in self.verbs:
            return
        self.put(depth, f"while seen < at.size and at[seen] == {n}:")
        self.call(depth + 1, "observe", [n, *state, *self.p(), *self.obs("seen")])
        if "misfit" in self.verbs:
            self.call(depth + 1, "misfit", ["seen", *self.seen("seen"), *self.p()], ["cost"])
            self.put(depth + 1, "sums[1] += cost")
        self.put(depth + 1, "seen += 1")
        self.put(depth, "if status != 0:\n    break")

    def unobserve(self, depth: int, state: list[str], n: str, where: str, staged: bool) -> None:
        """The reverse of an observation: cotangents from the caller and from the misfit, last observation first."""
        if "observe_vjp" not in self.verbs:
            return
        self.put(depth, f"while unseen > 0 and at[unseen - 1] == {n}:")
        inner = depth + 1
        if staged:
            self.put(depth + 1, "if stage == 2:")
            inner += 1
        floats = [(k, b) for k, b in _observation(self.m) if is_float(b.dt)]
        for k, b in floats:
            self.put(inner, f"copy_{b.rank}(og_{k}, ob_{k}[unseen - 1])")
        obar = [f"og_{k}" for k, _ in floats]
        if "misfit_vjp" in self.verbs:
            self.put(inner, "if seeds[0] != 0.0:")
            self.call(
                inner + 1, "misfit_vjp", ["unseen - 1", *self.seen("unseen - 1"), *self.p(), "seeds[0]", *obar, *self.p_bars()]
            )
        if staged:
            self.put(inner, "stage = 3")
        self._cost_vjp(depth + 1, "observe_vjp", [n, *state, *self.p(), *obar], where)
        if staged:
            self.put(depth + 1, "stage = 2")
        self.put(depth + 1, "unseen -= 1")
        self.put(depth, "if status != 0:\n    break")

    def _cost_vjp(self, depth: int, verb: str, args: list[str], where: str) -> None:
        """Add the cotangents that a cost gives to y: to array leaves in place, to scalar ones by value."""
        arrays = [f"{where}_{k}" for k in self.m.y_float if not self.m.y_scalar[k]]
        scalars = [k for k in self.m.y_float if self.m.y_scalar[k]]
        self.call(depth, verb, [*args, *arrays, *self.p_bars()], [f"x_{k}" for k in scalars])
        for k in scalars:
            self.put(depth, f"{where}_{k} += x_{k}")

    def move(self, depth: int, one: str, two: str, leaves: list[int]) -> None:
        """Array leaves change places, scalar ones are copied from ``two`` to ``one``."""
        for k in leaves:
            self.put(depth, f"{one}_{k} = {two}_{k}" if self.m.y_scalar[k] else f"{one}_{k}, {two}_{k} = {two}_{k}, {one}_{k}")

    def copies(self, depth: int, dst: list[str], src: list[str]) -> None:
        for b, d, s, scalar in zip(self.m.y, dst, src, self.m.y_scalar, strict=True):
            self.put(depth, f"{d} = {s}" if scalar else f"copy_{b.rank}({d}, {s})")

    # -------------------------------------------------------------------------------------------------------- the driver
    def text(self) -> str:
        own = [f"{kind}_{verb}" for verb in self.verbs for kind in ("c", "w")]
        params = [
            "actions",
            "count",
            "ctl",
            "sums",
            "seeds",
            "at",
            "A",
            "B",
            "S",
            "P",
            "O",
            "OB",
            "OG",
            "BA",
            "BB",
            "PB",
            "tape",
            "itape",
            "tops",
        ]
        self.put(0, f"{_OPTIONS}\ndef {self.name}({', '.join([*params, *own])}):")
        self._unpack()
        self.put(1, "status = 0\nwhile row < count:")
        self.put(2, "kind = actions[row, 0]\nlo = actions[row, 1]\nhi = actions[row, 2]\nslot = actions[row, 3]")
        self._advance()
        self._moves()
        self._record()
        if self.reverse:
            self._seed()
            self._reverse()
        self.put(2, f"n = -1\nrow += 1\nif left <= 0 and row < count:\n    status = {PAUSE}\n    break")
        self._pack()
        return "\n".join(self.lines) + "\n"

    def _unpack(self) -> None:
        y = range(len(self.m.y))
        self.put(1, f"parity = ctl[{PARITY}]\nbparity = ctl[{BPARITY}]")
        for k in y:
            cell = "[0]" if self.m.y_scalar[k] else ""
            self.put(1, f"s_{k} = S[{k}]\na_{k} = A[{k}]{cell}\nb_{k} = B[{k}]{cell}")
        self.put(1, "spare = s_0.shape[0] - 1")
        self.put(1, "if parity == 1:\n    pass")
        for k in y:
            self.put(2, f"a_{k}, b_{k} = b_{k}, a_{k}")
        for k, scalar in enumerate(self.m.p_scalar):
            self.put(1, f"p_{k} = P[{k}]" + ("[0]" if scalar else ""))
        for k in range(self.m.n_observed):
            self.put(1, f"o_{k} = O[{k}]")
        if self.reverse:
            for j, k in enumerate(self.m.y_float):
                cell = "[0]" if self.m.y_scalar[k] else ""
                self.put(1, f"ba_{k} = BA[{j}]{cell}\nbb_{k} = BB[{j}]{cell}")
            self.put(1, "if bparity == 1:\n    pass")
            for k in self.m.y_float:
                self.put(2, f"ba_{k}, bb_{k} = bb_{k}, ba_{k}")
            for j, k in enumerate(k for k, on in enumerate(self.m.active_p) if on):
                self.put(1, f"pb_{k} = PB[{j}]")
            for j, k in enumerate(k for k, b in _observation(self.m) if is_float(b.dt)):
                self.put(1, f"ob_{k} = OB[{j}]\nog_{k} = OG[{j}]")
        self.put(1, f"row = ctl[{ROW}]\nn = ctl[{N}]\nhigh = ctl[{HIGH}]\nleft = ctl[{BUDGET}]\nforward = ctl[{FORWARD}]")
        self.put(
            1,
            f"vjps = ctl[{VJPS}]\nseen = ctl[{OBSERVED}]\nunseen = ctl[{UNOBSERVED}]\nstage = ctl[{STAGE}]\nctl[{REVERSED}] = 0",
        )

    def _pack(self) -> None:
        """Write the variables back, to where the parities say that they are."""
        for parity, one, two, group in (("parity", "A", "B", "ab"), ("bparity", "BA", "BB", "bars")):
            if group == "bars" and not self.reverse:
                continue
            leaves = list(enumerate(self.m.y_float)) if group == "bars" else [(k, k) for k in range(len(self.m.y))]
            names = ("ba", "bb") if group == "bars" else ("a", "b")
            for j, k in leaves:
                if self.m.y_scalar[k]:
                    self.put(1, f"if {parity} == 0:\n    {one}[{j}][0] = {names[0]}_{k}\n    {two}[{j}][0] = {names[1]}_{k}")
                    self.put(1, f"else:\n    {two}[{j}][0] = {names[0]}_{k}\n    {one}[{j}][0] = {names[1]}_{k}")
        self.put(1, f"ctl[{PARITY}] = parity\nctl[{BPARITY}] = bparity\nctl[{ROW}] = row\nctl[{N}] = n\nctl[{HIGH}] = high")
        self.put(1, f"ctl[{BUDGET}] = left\nctl[{FORWARD}] = forward\nctl[{VJPS}] = vjps\nctl[{OBSERVED}] = seen")
        self.put(1, f"ctl[{UNOBSERVED}] = unseen\nctl[{STAGE}] = stage\nreturn status")

    def _pause(self, depth: int, before: str) -> None:
        """After a range cut short: an error, or the budget is used up."""
        self.put(depth, f"if status != 0:\n    break\nif {before}:\n    status = {PAUSE}\n    break")

    def _advance(self) -> None:
        """Steps from one buffer into the other.  The last step of all (a turn) is one of them, and then the buffers change
        back: the state that its VJP will start from is current again, and the other buffer holds y_N.

        A turn with lo == hi runs no step: the other buffer holds y_N already.
        """
        self.put(2, f"if kind == {ADVANCE} or kind == {TURN_ACTION}:")
        self.put(3, f"if kind == {TURN_ACTION} and slot >= 0:")
        self.copies(4, self.y("a"), self.y("s", "slot"))
        self.put(3, "if n < 0:\n    n = lo\nend = min(hi, n + max(left, 1))\nwhile n < end:")
        self.visit(4, self.y("a"))
        self.step(4, "n", self.y("a"), self.y("b"), "b")
        self.swap(4)
        self.put(4, "n += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi")
        self.put(3, f"if kind == {TURN_ACTION}:\n    if lo < hi:\n        pass")
        self.swap(5)
        if "observe" in self.verbs:
            self.observe(4, self.y("b"), "hi")

    def swap(self, depth: int) -> None:
        """Exchange the buffers of the state."""
        for k in range(len(self.m.y)):
            self.put(depth, f"a_{k}, b_{k} = b_{k}, a_{k}")
        self.put(depth, "parity = 1 - parity")

    def _moves(self) -> None:
        a = self.y("a")
        self.put(2, f"elif kind == {STORE}:")
        self.copies(3, self.y("s", "slot"), a)
        self.put(2, f"elif kind == {LOAD}:")
        self.copies(3, a, self.y("s", "slot"))

    def _record(self) -> None:
        """Steps from slot to slot; scalar leaves also stay in variables, so that no step waits for its own store."""
        y = range(len(self.m.y))
        state = [f"a_{k}" if self.m.y_scalar[k] else f"s_{k}[j]" for k in y]
        self.put(2, f"elif kind == {RECORD}:")
        self.put(3, "if n < 0:\n    n = lo")
        self.copies(4, self.y("s", "slot"), self.y("a"))
        self.put(3, "end = min(hi - 1, n + max(left, 1))\nj = slot + n - lo\nwhile n < end:")
        self.visit(4, state)
        self.step(4, "n", state, [f"s_{k}[j + 1]" for k in y], "a")
        for k in y:
            if self.m.y_scalar[k]:
                self.put(4, f"s_{k}[j + 1] = a_{k}")
        self.put(4, "n += 1\nj += 1\nforward += 1\nleft -= 1")
        self._pause(3, "n < hi - 1")
        for k in y:
            if not self.m.y_scalar[k]:
                self.put(3, f"copy_{self.m.y[k].rank}(a_{k}, s_{k}[j])")

    def _seed(self) -> None:
        """The cotangents of the observations at y_N, which is in the other buffer."""
        self.put(2, f"elif kind == {SEED_ACTION}:")
        self.put(3, f"ctl[{REVERSED}] = 1\nn = lo")
        staged = self._staged()
        if staged:
            self.put(3, "stage = max(stage, 2)")
        self.unobserve(3, self.y("b"), "n", "ba", staged)
        if staged:
            self.put(3, "stage = 0")

    def _staged(self) -> bool:
        """Whether a kernel after the step's VJP may run out of arena: those before it must then not be run again."""
        return any(self.m.kernels[v].kernel.arenas for v in self.verbs if v in ("running_vjp", "observe_vjp", "misfit_vjp"))

    def _reverse(self) -> None:
        self.put(2, f"elif kind == {REVERSE}:")
        self.put(3, f"ctl[{REVERSED}] = 1\nif hi == ctl[{TURNED}]:\n    status = {TURN}\n    break")
        self.put(3, "if slot < 0:\n    slot = spare")
        self.copies(4, self.y("s", "slot"), self.y("a"))  # a state that is in no slot: into the spare row
        self.put(3, "if n < 0:\n    n = hi - 1\nend = max(lo, n - max(left, 1) + 1)")
        self._reverse_steps(3)
        self._pause(3, "n >= lo")
        self.put(3, f"ctl[{REVERSED}] = 0")

    def _reverse_steps(self, depth: int) -> None:
        state = self.y("s", "j")
        staged = self._staged()
        self.put(depth, "while n >= end:")
        self.put(depth + 1, "j = slot + n - lo")
        inner = depth + 1
        if staged:
            self.put(depth + 1, "if stage == 0:")
            inner += 1
        arrays = [k for k in self.m.y_float if not self.m.y_scalar[k]]
        for k in arrays:
            self.put(inner, f"zero_{self.m.y[k].rank}(bb_{k})")
        args = ["n", *state, *self.p(), *self.bars("ba"), *(f"bb_{k}" for k in arrays), *self.p_bars()]
        self.call(inner, "step_vjp", args, [f"bb_{k}" for k in self.m.y_float if self.m.y_scalar[k]])
        if staged:
            self.put(inner, "stage = 1")
        if "running_vjp" in self.verbs:
            self.put(depth + 1, "if stage == 1 and seeds[0] != 0.0:" if staged else "if seeds[0] != 0.0:")
            self._cost_vjp(depth + 2, "running_vjp", ["n", *state, *self.p(), "seeds[0]"], "bb")
        if staged:
            self.put(depth + 1, "stage = 2")
        self.unobserve(depth + 1, state, "n", "bb", staged)
        if staged:
            self.put(depth + 1, "stage = 0")
        self.move(depth + 1, "ba", "bb", self.m.y_float)
        self.put(depth + 1, "bparity = 1 - bparity\nn -= 1\nvjps += 1\nleft -= 1")
