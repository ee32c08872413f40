"""Derivatives with respect to the times that a user gives: t0, those of observations, those of jumps.

Steps go from knot to knot.  Where their sizes are chosen, all but the last before a knot keep their lengths, and that one goes as
far as the knot is; where ``dt`` is given, all between two knots are equal.  So the times between which steps go, and their
lengths, are linear functions of the knots, and what the simulation says of the former is put together here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.errors import ArgumentError

from .inputs import Inputs, Timed
from .times import Knots, Steps

if TYPE_CHECKING:
    from .ode import ODE

__all__ = ["NAMES", "check_moments", "knots_bar", "moments", "parts_of"]

#: what ``wrt`` may name
NAMES = ("t0", "t_eval", "jumps")


def check_moments(ode: ODE, names: Sequence[str]) -> None:
    """ArgumentError for a name of times that are not there, or that something else happens at, too: what would a time be moved
    without it?"""
    own = {"t0": np.array([ode.t0]), "t_eval": ode.t_eval}
    own |= {f"jumps[{j}]": jump.times for j, jump in enumerate(ode.jumps)}
    if "jumps" in names and not ode.jumps:
        raise ArgumentError("Got wrt name 'jumps', but the problem has no jumps=")
    whose = [(name, times) for name, times in own.items() if name.partition("[")[0] in names]
    everything = [*own.items(), ("discontinuities", ode.knots.breaks)]
    for name, times in whose:
        for other, others in everything:
            if other == name or {name, other} == {"t0", "t_eval"}:  # t0 is t_eval[0], unless another was given
                continue
            both = times[np.isin(times, others)]
            if len(both):
                raise ArgumentError(
                    f"Got wrt name {name.partition('[')[0]!r}, but the time {float(both[0])!r} is one of {name} and of {other}: "
                    "the derivative for one of them alone has two sides; move them apart"
                )


def parts_of(timed: bool, broken: bool) -> tuple[str, ...]:
    """What to ask of the simulation."""
    if timed:
        return ("y0.t", "p.target")
    return ("p.time", "p.length", *(("p.begin", "p.end") if broken else ()))


def knots_bar(knots: Knots, steps: Steps, equal: bool, y_bar: Any, q_bar: Inputs) -> np.ndarray:
    """The derivative with respect to each knot, from those of the simulation; ``equal`` steps, or chosen ones."""
    out = np.zeros(len(knots.times))
    ends = steps.landed >= 0
    if isinstance(y_bar, Timed):  # the state carries the time: from t0 over lengths to targets
        out[0] = y_bar.t
        bars, times = q_bar.target[ends], steps.time[1:][ends]  # type: ignore[index]
        if not equal:
            np.add.at(out, steps.landed[ends], bars)
            return out
        before = np.searchsorted(knots.sign * knots.times, knots.sign * times, side="right") - 1
        after = np.minimum(before + 1, len(out) - 1)
        share = (times - knots.times[before]) / np.where(after > before, knots.times[after] - knots.times[before], 1.0)
        np.add.at(out, before, (1.0 - share) * bars)
        np.add.at(out, after, share * bars)
        return out
    assert q_bar.time is not None
    moved = np.array(q_bar.time)
    if q_bar.begin is not None and q_bar.end is not None:
        moved[:-1] += q_bar.begin
        moved[1:] += q_bar.end
    before = np.concatenate([[0], np.maximum.accumulate(np.maximum(steps.landed, 0))])  # the knot at or before each time
    after = np.minimum(before + 1, len(out) - 1)
    span = np.where(after > before, knots.times[after] - knots.times[before], 1.0)
    share = (steps.time - knots.times[before]) / span if equal else np.zeros(len(moved))
    np.add.at(out, before, (1.0 - share) * moved)
    np.add.at(out, after, share * moved)
    own = steps.length / span[:-1] if equal else ends.astype(float)
    np.add.at(out, after[:-1], own * q_bar.length)
    np.add.at(out, before[:-1], -own * q_bar.length)
    return out


def moments(ode: ODE, names: Sequence[str], bar: np.ndarray) -> dict[str, Any]:
    """The derivatives that were asked for, from those with respect to the knots."""
    where = {float(t): k for k, t in enumerate(ode.knots.times)}

    def of(times: np.ndarray) -> np.ndarray:
        return np.array([bar[where[t]] if t in where else 0.0 for t in times.tolist()])

    found = {"t0": float(bar[0]), "t_eval": of(ode.t_eval), "jumps": tuple(of(jump.times) for jump in ode.jumps)}
    return {name: found[name] for name in names}
