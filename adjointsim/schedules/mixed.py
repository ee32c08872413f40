"""Mixed checkpointing: a slot holds a state to run from again, or what one step's VJP needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adjointsim.schedules.actions import Schedule, Stream, checked, checked_steps
from adjointsim.schedules.binomial import P, beta, binomial_state, checked_segments, fill_binomial, repetitions

__all__ = ["M", "Mixed"]


def M(n: int, s: int) -> int:
    """All primal steps, if running a step and taping it is one run: the fewest for n steps with s slots.

    Maddison, "Step-based checkpointing with high-level algorithmic differentiation", J. Comput. Sci. 82 (2024)
    (arXiv:2305.09568):  M(n, s) = n for n <= s+1, else the least of 1 + M(n-1, s-1), which tapes a step in a
    slot, and i + M(i, s) + M(n-i, s-1) for 2 <= i < n, which stores a state in it.

    In closed form P(n, s) plus the number of leaves, runs in which every step is stored but the last, which is taped as it
    is run.  beta(s, r-1) steps have beta(s, r-2) of them; then C(k+r-2, k) more begin, and grow by s-k steps each, in the
    order k = 0 .. s-1, until all beta(s, r) steps are in them.
    """
    n, s = checked("n", n, 0), checked("s", s, 1)
    r = repetitions(n, s)
    if r <= 1:
        return n
    p, begun, begin = n - beta(s, r - 1), 0, 1
    for k in range(s):
        length = s - k
        if p <= begin * length:
            begun += -(-p // length)
            break
        p, begun = p - begin * length, begun + begin
        begin = begin * (k + r - 1) // (k + 1)
    return P(n, s) + beta(s, r - 2) + begun


@dataclass(frozen=True)
class Mixed(Schedule):
    """The order of Maddison's mixed schedules: M(n_steps, slots) primal steps where a tape is made as its step is run.

    Here a step's VJP needs its y_n and nothing else, so that a stored y_n *is* the tape.  To tape step n in a slot is to
    STORE y_n and go on; the step is replayed by its VJP.  Only the last step of a leaf is reversed from the current state,
    without having been run for itself.  So the actions run M(n, s) less the number of leaves, and that is P(n, s) exactly:
    what Maddison's schedules save over F(n, s) = n + P(n, s) is what ours never spend.  What remains is the choice among
    the binomial schedules: this one has the fewest leaves.  (Other schedules with M(n, s) runs, such as those of the package
    checkpoint_schedules, have fewer still and take a step more here.)

    ``slots`` is cut down to ``n_steps``.
    """

    name: ClassVar[str] = "mixed"

    n_steps: int
    slots: int

    def __post_init__(self) -> None:
        n_steps, slots = checked_steps(self.n_steps), checked("slots", self.slots, 1)
        checked_segments(n_steps, slots)
        object.__setattr__(self, "n_steps", n_steps)
        object.__setattr__(self, "slots", min(slots, max(n_steps, 1)))

    @property
    def forward_steps(self) -> int:
        return P(self.n_steps, self.slots)

    def stream(self) -> Stream:
        return Stream(fill_binomial, binomial_state(self.n_steps, self.slots, fewest_leaves=True))
