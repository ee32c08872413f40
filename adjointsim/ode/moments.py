"""Derivatives with respect to the times that a user gives: t0, those of observations, those of jumps.

Steps go from knot to knot.  Where their sizes are chosen, all but the last before a knot keep their lengths, and that one goes as
far as the knot is; where ``dt`` is given, all between two knots are equal.  So the times between which steps go, and their
lengths, are linear functions of the knots, and what the simulation says of the former is put together here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.errors import ArgumentError
from adjointsim.forms import Known

from .inputs import Inputs, Timed, in_room
from .times import Steps

if TYPE_CHECKING:
    from adjointsim.simulation import Simulation

    from .ode import ODE

__all__ = ["NAMES", "Moments", "check_moments", "parts_of"]

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


class Moments:
    """How the times and lengths of the steps of an ODE follow from its knots: each time is (1 - share) knot[before] + share
    knot[after], and each length goes with ``own`` (knot[after] - knot[before]).

    Where the state carries the time, the times are the targets of the steps that have one.
    """

    def __init__(self, ode: ODE, steps: Steps, timed: bool, broken: bool, q: Known) -> None:
        """``q`` are the parameters of the simulation of the ``steps``; ``broken``: the right-hand side may jump in time."""
        self.ode, self.q, self.landed, self.timed, self.broken = ode, q, steps.landed, timed, broken
        knots, equal, ends = ode.knots.times, ode.dt is not None, steps.landed >= 0
        if timed:
            times = steps.time[1:][ends]
            passed = np.searchsorted(ode.knots.sign * knots, ode.knots.sign * times, side="right") - 1
            self.before = passed if equal else steps.landed[ends]
        else:
            times = steps.time
            self.before = np.concatenate([[0], np.maximum.accumulate(np.maximum(steps.landed, 0))])
        self.after = np.minimum(self.before + 1, len(knots) - 1)
        span = np.where(self.after > self.before, knots[self.after] - knots[self.before], 1.0)
        self.share = (times - knots[self.before]) / span if equal else np.zeros(len(times))
        self.own = np.zeros(0) if timed else steps.length / span[:-1] if equal else ends.astype(float)

    def bar(self, y_bar: Any, q_bar: Any) -> np.ndarray:
        """The derivative with respect to each knot, from those of the simulation with respect to its state and parameters."""
        out, count = np.zeros(len(self.ode.knots.times)), len(self.landed)
        before, after = self.before, self.after
        if self.timed:  # from t0 over lengths to targets
            out[0] = y_bar.t
            moved = q_bar.target[:count][self.landed >= 0]
        else:
            moved = q_bar.time[: count + 1].copy()
            if q_bar.begin is not None:
                moved[:-1] += q_bar.begin[:count]
                moved[1:] += q_bar.end[:count]
            length = self.own * q_bar.length[:count]
            np.add.at(out, after[:-1], length)
            np.add.at(out, before[:-1], -length)
        np.add.at(out, before, (1.0 - self.share) * moved)
        np.add.at(out, after, self.share * moved)
        return out

    def dot(self, knots_dot: np.ndarray) -> Inputs:
        """The tangent of the parameters of the simulation."""
        before, after = knots_dot[self.before], knots_dot[self.after]
        moved = before + self.share * (after - before)
        nothing: Any = None
        count = len(self.landed)
        if self.timed:
            target = np.zeros(len(self.landed))
            target[self.landed >= 0] = moved
            return Inputs(nothing, nothing, nothing, target=in_room(target, count))
        begin, end = (in_room(moved[:-1], count), in_room(moved[1:], count)) if self.broken else (None, None)
        return Inputs(nothing, in_room(moved, count), in_room(self.own * (after - before)[:-1], count), begin, end)

    def named(self, names: Sequence[str], bar: np.ndarray) -> dict[str, Any]:
        """The derivatives that were asked for, from those with respect to the knots, (.., knots)."""
        ode, where = self.ode, {float(t): k for k, t in enumerate(self.ode.knots.times)}
        behind = len(where)  # what lies behind the end does not matter
        bar = np.concatenate([bar, np.zeros((*bar.shape[:-1], 1))], axis=-1)

        def of(times: np.ndarray) -> np.ndarray:
            return bar[..., [where.get(t, behind) for t in times.tolist()]]

        first = bar[..., 0] if bar.ndim > 1 else float(bar[0])
        found = {"t0": first, "t_eval": of(ode.t_eval), "jumps": tuple(of(jump.times) for jump in ode.jumps)}
        return {name: found[name] for name in names}

    def jacobian(
        self, names: Sequence[str], mode: str, simulation: Simulation, y0: Any, start: Any
    ) -> dict[str, Any]:
        """The derivatives of the observations: a tangent for each time, or cotangents of all observations back.

        ``start`` stands for a tangent of the initial state that is 0.
        """
        count = len(self.ode.knots.times)
        asked = self.named(names, np.arange(1.0, count + 1.0)).values()
        numbers = np.concatenate([np.ravel(times) for part in asked for times in (part if isinstance(part, tuple) else (part,))])
        moved = [int(k) - 1 for k in np.unique(numbers) if k > 0.0]
        columns: list[Any] = []
        for k in moved if mode != "reverse" else ():
            dot = np.zeros(count)
            dot[k] = 1.0
            y_dot = start._replace(t=float(dot[0])) if self.timed else None
            columns.append(simulation.jvp(y0, self.q, y_dot, self.dot(dot))[1].observations)
            if mode == "auto" and sum(a.size for a in _arrays(columns[0])) < len(moved):  # there are fewer cotangents
                columns = []
                break
        if columns or not moved:

            def whole(*dots: np.ndarray) -> np.ndarray:
                out = np.zeros((*dots[0].shape, count))
                out[..., moved] = np.stack(dots, axis=-1)
                return out

            found = _mapped(whole, *columns)
        else:
            parts = parts_of(self.timed, self.broken)
            fields = [part.partition(".")[2] for part in parts]

            def back(*bars: np.ndarray) -> np.ndarray:
                shape = bars[-1].shape[:-1]
                rows = [bar.reshape(-1, *bar.shape[len(shape) :]) for bar in bars]
                each = [dict(zip(fields, row, strict=True)) for row in zip(*rows, strict=True)]
                nothing: Any = dict.fromkeys(Inputs._fields)
                out = [self.bar(Timed(None, row.pop("t", None)), Inputs(**(nothing | row))) for row in each]
                return np.stack(out).reshape(*shape, count)

            found = _mapped(back, *simulation.jacobian(y0, self.q, parts, "reverse"))
        return {name: _mapped(lambda bar, name=name: self.named((name,), bar)[name], found) for name in names}


def _mapped(f: Callable[..., Any], *trees: Any) -> Any:
    """The structure with a function of the trees' arrays in place of each."""
    first = trees[0]
    if isinstance(first, tuple):
        parts = [_mapped(f, *some) for some in zip(*trees, strict=True)]
        return first._make(parts) if hasattr(first, "_make") else tuple(parts)
    return None if first is None else f(*trees)


def _arrays(tree: Any) -> Iterator[np.ndarray]:
    if isinstance(tree, tuple):
        for part in tree:
            yield from _arrays(part)
    elif tree is not None:
        yield tree
