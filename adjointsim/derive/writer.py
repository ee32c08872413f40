"""Lines of a driver: names of what it works on, calls of kernels, and the small functions that work on whole arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .control import DRIVER_VERBS, PLACE, N
from .summary import SweepSummary

__all__ = ["OPTIONS", "UNCOUNTED", "Writer", "array_functions"]

OPTIONS = "@njit(error_model='numpy', nogil=True, cache=True, no_cfunc_wrapper=True)"
_INTERNAL = OPTIONS[:-1] + ", no_cpython_wrapper=True)"
#: nothing is made and nothing is kept: without counts of references there is a sixth less to compile.  What is compiled
#: on the way inherits it, so it is not for foreign code's
UNCOUNTED = OPTIONS[:-1] + ", _nrt=False)"

_BODIES = {"copy": "dst[{0}] = src[{0}]", "add": "dst[{0}] += src[{0}]", "zero": "dst[{0}] = 0"}


def array_functions(lines: Iterable[str]) -> list[str]:
    """The definitions of ``copy_r(dst, src)``, ``add_r(dst, src)`` and ``zero_r(dst)`` that some lines call."""
    text = "\n".join(lines)
    names = [f"{what}_{rank}" for what in _BODIES for rank in range(1, 17) if f" {what}_{rank}(" in text]
    return [_array_function(*name.split("_")) for name in names]


def _array_function(what: str, rank: str) -> str:
    out = [f"{_INTERNAL}\ndef {what}_{rank}({'dst' if what == 'zero' else 'dst, src'}):"]
    for axis in range(int(rank)):
        out.append("    " * (axis + 1) + f"for z{axis} in range(dst.shape[{axis}]):")
    index = ", ".join(f"U(z{axis})" for axis in range(int(rank)))
    out.append("    " * (int(rank) + 1) + _BODIES[what].format(index))
    return "\n".join(out) + "\n"


class Writer:
    """The lines so far.  In them, leaves are called

    a_k b_k s_k    current state, the places where the next one is put (spares), stored states
    ba_k bb_k x_k  cotangent, its spares, what a kernel returns for a number
    p_k pb_k       parameters and their cotangents
    o_k ob_k og_k  observations, their cotangents as given, the cotangent of one of them
    d_k            numbers of a next state that nobody asks for
    r_k keeps      rows of arrays that steps keep for their VJPs, and whose step's they are
    t_k z_k        y_{N-1} (at the turn: what was the current state before it), y_N
    """

    def __init__(self, summary: SweepSummary, verbs: Sequence[str]) -> None:
        self.sweep, self.m, self.verbs = summary, summary.step, verbs
        self.lines: list[str] = []

    def put(self, depth: int, text: str) -> None:
        self.lines += ["    " * depth + line for line in text.splitlines()]

    # ---------------------------------------------------------------------------------------------------- argument texts
    def y(self, where: str, row: str | None = None) -> list[str]:
        """The leaves of a state: variables or buffers, or slots at a row."""
        return [f"{where}_{k}" if row is None else f"{where}_{k}[{row}]" for k in range(len(self.m.y))]

    def kept(self, row: str) -> list[str]:
        """What a step keeps for its VJP."""
        return [f"r_{k}[{row}]" for k in range(self.m.kept)]

    def p(self) -> list[str]:
        return [f"p_{k}" for k in range(len(self.m.p))]

    def p_bars(self) -> list[str]:
        return [f"pb_{k}" for k, on in enumerate(self.m.active_p) if on]

    def obs(self, row: str) -> list[str]:
        """An observation's memory."""
        return [f"o_{k}[{row}]" for k in range(len(self.sweep.observed))]

    def seen(self, row: str) -> list[str]:
        """An observation's leaves as inputs."""
        return [f"o_{k}[{row}, 0]" if leaf.scalar else f"o_{k}[{row}]" for k, leaf in enumerate(self.sweep.observed)]

    def arrays(self, leaves: Iterable[int], scalar: bool = False) -> list[int]:
        """Of leaves of y, those that are arrays (or numbers)."""
        return [k for k in leaves if self.m.y[k].scalar == scalar]

    # --------------------------------------------------------------------------------------------------------- statements
    def call(self, depth: int, verb: str, args: list[str], results: Sequence[str] = ()) -> None:
        """Call a kernel: ``args`` are its counter, inputs and memory; ``results`` receive what it returns by value."""
        how = self.sweep.calls[verb]
        captures = [f"c_{verb}[{k}]" for k in range(how.captures)]
        scratch = [f"w_{verb}[{k}]" for k in range(how.scratch)]
        full = [*args[: how.inputs + 1], *captures, *args[how.inputs + 1 :], *how.arenas, *scratch]
        if how.raises:
            self.put(depth, f"ctl[{N}] = n\nctl[{PLACE}] = {DRIVER_VERBS.index(verb)}")
        self.put(depth, f"{', '.join(['status', *results])} = k_{verb}({', '.join(full)})")
        # always: the compiler drops it where a kernel cannot fail, and a list of failures that has a gap must not hide one
        self.put(depth, f"if status != 0:\n    ctl[{PLACE}] = {DRIVER_VERBS.index(verb)}\n    break")

    def copies(self, depth: int, dst: Sequence[str], src: Sequence[str], leaves: Iterable[int] | None = None) -> None:
        """Copy leaves of a state, all of them or some."""
        for k in range(len(self.m.y)) if leaves is None else leaves:
            self.copy(depth, k, dst[k], src[k])

    def copy(self, depth: int, k: int, dst: str, src: str) -> None:
        """Copy leaf k of a state."""
        self.put(depth, f"{dst} = {src}" if self.m.y[k].scalar else f"copy_{self.m.y[k].rank}({dst}, {src})")

    def at_once(self, depth: int, pairs: Sequence[tuple[str, str]]) -> None:
        """Assignments that all read before any writes."""
        moves = [(left, right) for left, right in pairs if left != right]
        written = {left for left, _ in moves}
        if any(name in written for _, right in moves for name in right.replace("+", " ").split()):
            lefts, rights = zip(*moves, strict=True)
            self.put(depth, f"{', '.join(lefts)} = {', '.join(rights)}")
        else:
            for left, right in moves:
                self.put(depth, f"{left} = {right}")
