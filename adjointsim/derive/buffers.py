"""Where a driver's states and cotangents are: buffers that change names with the step's routes, and slots."""

from __future__ import annotations

from collections.abc import Sequence

from .summary import Chain
from .writer import Writer

__all__ = ["Buffers"]


class Buffers:
    """Writes what happens to the buffers of a state and of its cotangent."""

    def __init__(self, writer: Writer) -> None:
        self.w, self.m = writer, writer.m

    # ----------------------------------------------------------------------------------------------------- the way there
    def step(self, depth: int, state: Sequence[str], into: Sequence[str], row: str, numbers: str = "b") -> None:
        """Run step n: array leaves that it computes into ``into``, numbers into variables, what it keeps into a ``row``."""
        w, m = self.w, self.m
        found = [f"{numbers}_{k}" for k in w.arrays(m.written, scalar=True)]
        w.call(depth, "step", ["n", *state, *w.p(), *(into[k] for k in w.arrays(m.written)), *w.kept(row)], found)
        if m.kept:
            w.put(depth, f"keeps[{row}] = n")

    def next_numbers(self, depth: int) -> None:
        """The numbers of the next state, which become the current ones."""
        m = self.m
        sources = m.sources(scalar=True)
        self.w.at_once(depth, [(f"a_{k}", f"a_{sources[k]}" if k in sources else f"b_{k}") for k in self._numbers()])

    def copied(self, depth: int) -> None:
        """Leaves of the next state that are copies, into their spare buffers."""
        for k, source in self.m.copied.items():
            self.w.copy(depth, k, f"b_{k}", f"a_{source}")

    def advance(self, depth: int) -> None:
        """The next state becomes the current one."""
        for chain in self.m.chains:
            self._move(depth, chain, "a", "b")
        self.next_numbers(depth)

    def next(self, where: str, into: str) -> list[str]:
        """The leaves of the next state when the step has been run: those that it hands on are where they are."""
        return [f"{into}_{k}" if leaf is None else f"{where}_{leaf}" for k, leaf in enumerate(self.m.last(1))]

    def last(self, depth: int, steps: str, where: str) -> None:
        """Let z be y_N, where ``where`` is y_{N-1}, unless N is 0: then they are the same."""
        for n, head in ((1, f"if {steps} > 0:"), (0, "else:")):
            self.w.put(depth, head)
            for k, leaf in enumerate(self.m.last(n)):
                self.w.put(depth + 1, f"z_{k} = b_{k}" if leaf is None else f"z_{k} = {where}_{leaf}")

    # ----------------------------------------------------------------------------------------------------- the way back
    def before(self, k: int) -> str:
        """The buffer that becomes the cotangent of an array leaf: the one of the leaf that it is handed on as, or the
        chain's spare one."""
        heir = self.m.heirs.get(k)
        head = next(chain.leaves[0] for chain in self.m.chains if k in chain.leaves)
        return f"bb_{head}" if heir is None else f"ba_{heir}"

    def reverse_step(self, depth: int, state: Sequence[str]) -> None:
        """The VJP of the step: from the cotangent of y_{n+1} in ba to what will be that of y_n, which :meth:`retreat` makes
        the current one.  Up to the call nothing is changed that may not be changed again."""
        w, m = self.w, self.m
        arrays = w.arrays(m.floats)
        for k in arrays:
            if k not in m.heirs and m.bars[k] != "set":
                w.put(depth, f"zero_{m.y[k].rank}({self.before(k)})")
        given = [f"ba_{k}" for k in m.written if not m.y[k].inert]
        nexts = [f"s_{k}[up]" for k in m.nexts]
        args = ["n", *state, *w.p(), *nexts, *w.kept("j"), *given, *(self.before(k) for k in arrays), *w.p_bars()]
        w.call(depth, "step_vjp", args, [f"x_{k}" for k in w.arrays(m.floats, scalar=True)])

    def retreat(self, depth: int) -> None:
        """What the step's VJP found becomes the current cotangent, with those that are handed over."""
        w, m = self.w, self.m
        for k, source in m.copied.items():
            if not m.y[k].inert:
                w.put(depth, f"add_{m.y[k].rank}({self.before(source)}, ba_{k})")
        for chain in m.chains:
            if not m.y[chain.leaves[0]].inert:
                self._move(depth, chain, "ba", "bb", back=True)
        sources = m.sources(scalar=True)
        pairs = []
        for k in w.arrays(m.floats, scalar=True):
            handed = [f"ba_{j}" for j, source in sources.items() if source == k]
            pairs.append((f"ba_{k}", " + ".join([*handed, f"x_{k}"])))
        w.at_once(depth, pairs)

    # ------------------------------------------------------------------------------------------------- in and out of ctl
    def unpack(self, depth: int, bars: bool) -> None:
        """Name the buffers as they were when the driver returned."""
        w, m = self.w, self.m
        for k, leaf in enumerate(m.y):
            w.put(depth, f"s_{k} = S[{k}]\na_{k} = A[{k}]{'[0]' * leaf.scalar}")
        for k in range(m.kept):
            w.put(depth, f"r_{k} = S[{len(m.y) + k}]")
        if m.kept:
            w.put(depth, f"keeps = S[{len(m.y) + m.kept}]")
        for j, k in enumerate(m.spares):
            w.put(depth, f"b_{k} = B[{j}]{'[0]' * m.y[k].scalar}")
        self._again(depth, "moved", "a", "b", back=False)
        if bars:
            for j, k in enumerate(m.floats):
                w.put(depth, f"ba_{k} = BA[{j}]{'[0]' * m.y[k].scalar}")
            for j, k in enumerate(m.bar_spares):
                w.put(depth, f"bb_{k} = BB[{j}]")
            self._again(depth, "moved_bars", "ba", "bb", back=True)

    def pack(self, depth: int, bars: bool) -> None:
        """Write the variables back."""
        m = self.m
        for k in self._numbers():
            self.w.put(depth, f"A[{k}][0] = a_{k}")
            if k in m.spares:
                self.w.put(depth, f"B[{m.spares.index(k)}][0] = b_{k}")
            if bars and k in m.floats:
                self.w.put(depth, f"BA[{m.floats.index(k)}][0] = ba_{k}")

    # ------------------------------------------------------------------------------------------------------------- pieces
    def _numbers(self) -> list[int]:
        return self.w.arrays(range(len(self.m.y)), scalar=True)

    def _move(self, depth: int, chain: Chain, one: str, two: str, back: bool = False) -> None:
        """The buffers of a chain move on, or back."""
        ring = [f"{one}_{k}" for k in chain.leaves] + ([] if chain.closed else [f"{two}_{chain.leaves[0]}"])
        moved = [*ring[1:], ring[0]] if back else [ring[-1], *ring[:-1]]
        self.w.at_once(depth, list(zip(ring, moved, strict=True)))

    def _again(self, depth: int, count: str, one: str, two: str, back: bool) -> None:
        """Move the buffers on as often as they have been."""
        chains = [c for c in self.m.chains if c.period > 1 and not (back and self.m.y[c.leaves[0]].inert)]
        for period in sorted({chain.period for chain in chains}):
            self.w.put(depth, f"for z in range({count} % {period}):")
            for chain in chains:
                if chain.period == period:
                    self._move(depth + 1, chain, one, two, back)
