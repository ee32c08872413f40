"""What a run did and what it took: the ledger that every result carries."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ledger", "readable", "readable_seconds"]


def readable(count: int) -> str:
    """A number of bytes for reading: ``readable(25_600_000) == "25.6 MB"``."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 999.5:
            break
        size, unit = size / 1000.0, larger
    return f"{count} B" if unit == "B" else f"{size:.3g} {unit}"


def readable_seconds(seconds: float) -> str:
    """A time for reading: ``readable_seconds(7200.0) == "2 h"``."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


@dataclass(frozen=True)
class Ledger:
    """Counts of one call.

    ``forward_steps`` are primal steps, recomputed ones included.  The replay of a step that is part of its own VJP is not
    among them, and the last step, run once on the way to y_N and reversed next, counts as such a replay: a binomial
    sweep counts P(n, s), the proven minimum.  Runs, and sweeps that store every state, go through to the end as a plain
    loop does, and count n.

    ``bytes_planned`` and ``bytes_peak`` are those of the sweep's own arrays (stored states and working set), predicted
    and counted; observations, which are results, and memory that a step allocates for itself are not in them.  The
    prediction is ``estimated`` if a step records values in loops: how many is known only while it runs.

    ``seconds_planned`` is what :meth:`.Simulation.plan` predicts for a whole gradient, None if nothing was known of the model's
    speed; ``seconds``, those of this call, have compilation in them, too.

    ``slots`` are those in memory.  If the call went on with an unfinished run, at step ``resumed_at``, it counts what it did
    itself.
    """

    schedule: str
    n_steps: int
    slots: int
    forward_steps: int
    recomputed_steps: int
    vjp_steps: int
    bytes_planned: int
    bytes_peak: int
    seconds: float
    resumed_at: int | None = None
    estimated: bool = False
    disk_slots: int = 0
    seconds_planned: float | None = None

    def __str__(self) -> str:
        factor = f" ({self.forward_steps / self.n_steps:.2f} per step)" if self.n_steps else ""
        disk = f" in memory, {self.disk_slots} on the disk" if self.disk_slots else ""
        planned = "" if self.seconds_planned is None else f"{self.seconds_planned:.3g} s planned, "
        lines = [
            f"{self.schedule}, {self.n_steps} steps, {self.slots} slots{disk}",
            f"  primal steps  {self.forward_steps}{factor}, {self.recomputed_steps} of them recomputed",
            f"  vjp steps     {self.vjp_steps}",
            f"  memory        {readable(self.bytes_planned)} {self._planned}, {readable(self.bytes_peak)} used",
            f"  time          {planned}{self.seconds:.3g} s{' used' if planned else ''}",
        ]
        if self.resumed_at is not None:
            lines.append(f"  resumed at    step {self.resumed_at}")
        return "\n".join(lines)

    @property
    def _planned(self) -> str:
        return "estimated" if self.estimated else "planned"
