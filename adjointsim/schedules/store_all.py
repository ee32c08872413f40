"""Store every state: no step is run twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from adjointsim.schedules.actions import RECORD, REVERSE, Schedule, Stream, checked_steps, replayed

__all__ = ["StoreAll"]


@dataclass(frozen=True)
class StoreAll(Schedule):
    """y_0 .. y_{N-1} all in slots: N-1 primal steps (the last step is only reversed), and N slots."""

    name: ClassVar[str] = "store-all"
    one_run: ClassVar[bool] = True

    n_steps: int
    slots: int = field(init=False)
    keeps: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        n_steps = checked_steps(self.n_steps)
        object.__setattr__(self, "n_steps", n_steps)
        object.__setattr__(self, "slots", max(n_steps, 1))

    @property
    def forward_steps(self) -> int:
        return max(self.n_steps - 1, 0)

    def stream(self) -> Stream:
        n = self.n_steps
        return replayed([(RECORD, 0, n, 0), (REVERSE, 0, n, 0)] if n else [])
