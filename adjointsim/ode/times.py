"""The times that an integration steps onto, and the steps between them; numbers only, no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adjointsim.errors import ArgumentError, StructureError

__all__ = ["Knots", "Steps", "fixed_steps", "grid_of", "knots_of", "room_for", "times_of"]


def times_of(name: str, given: Any, least: int = 1) -> np.ndarray:
    """Finite times as a new float64 vector; ArgumentError or StructureError for anything else."""
    try:
        times = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise StructureError(f"Got {name} as a {type(given).__name__}, but expected a vector of times") from None
    times = np.atleast_1d(times)
    if times.ndim != 1 or len(times) < least:
        raise StructureError(f"Got {name} of shape {times.shape}, but expected a vector of times, at least {least}")
    wrong = np.flatnonzero(~np.isfinite(times))
    if len(wrong):
        raise ArgumentError(f"Got {name}[{wrong[0]}]={times[wrong[0]]}, but expected finite times")
    return times


@dataclass(frozen=True, eq=False)
class Knots:
    """Times in the order in which they are reached, the first being t0; ``fire`` has a bit for each jump that happens there.

    The right-hand side sees ``ends`` on the way to a knot and ``begins`` on the way from it: neighbouring numbers where it may
    jump there.  ``observed`` are the knots of the observations, ``breaks`` the times at which it is said to jump by itself.
    """

    times: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    fire: np.ndarray
    observed: np.ndarray
    breaks: np.ndarray

    @property
    def sign(self) -> float:
        """The direction of time."""
        return -1.0 if self.times[-1] < self.times[0] else 1.0

    @cached_property
    def smooth(self) -> bool:
        """Whether the right-hand side sees the times as they are."""
        return np.array_equal(self.begins, self.times) and np.array_equal(self.ends, self.times)

    @cached_property
    def plain(self) -> bool:
        """Whether steps only land there, and nothing else happens."""
        return self.smooth and not self.fire.any()


def knots_of(t0: float, t_eval: np.ndarray, jumps: Sequence[np.ndarray], discontinuities: np.ndarray) -> Knots:
    """All times to step onto.

    ArgumentError for times of observation that do not go one way from t0, and for a jump before t0.  What lies after the last
    observation does not matter.
    """
    forward = bool(t_eval[-1] >= t0) if len(t_eval) == 1 else bool(t_eval[-1] > t_eval[0])
    sign = 1.0 if forward else -1.0
    wrong = np.flatnonzero(np.diff(sign * t_eval) <= 0.0)
    if len(wrong):
        k = int(wrong[0])
        raise ArgumentError(
            f"Got t_eval[{k}]={float(t_eval[k])!r} and t_eval[{k + 1}]={float(t_eval[k + 1])!r}, but expected times that "
            "increase (or all decrease, to integrate backward)"
        )
    if sign * (t_eval[0] - t0) < 0.0:
        raise ArgumentError(f"Got t0={t0!r} and t_eval[0]={t_eval[0]!r}, but expected t0 at the first of t_eval or before it")
    for j, times in enumerate(jumps):
        early = times[sign * (times - t0) < 0.0]
        if len(early):
            raise ArgumentError(f"Got a time {early[0]!r} of jumps[{j}], but expected times from t0={t0!r} on")
    last = t_eval[-1]
    inside = [times[(sign * (times - t0) >= 0.0) & (sign * (times - last) <= 0.0)] for times in (*jumps, discontinuities)]
    times = np.unique(np.concatenate([[t0], t_eval, *inside]))[:: int(sign)].copy()
    fire = np.zeros(len(times), np.int64)
    broken = np.zeros(len(times), np.bool_)
    for j, own in enumerate(inside):
        at = np.isin(times, own)
        broken |= at
        if j < len(jumps):
            fire[at] |= 1 << j
    begins, ends = times.copy(), times.copy()
    begins[broken] = np.nextafter(times[broken], sign * math.inf)
    ends[broken] = np.nextafter(times[broken], -sign * math.inf)
    where = {float(t): k for k, t in enumerate(times)}
    return Knots(times, begins, ends, fire, np.array([where[float(t)] for t in t_eval], np.int64), inside[-1])


def room_for(steps: int) -> int:
    """One of few lengths from ``steps`` + 1 on: numbers of steps that differ a little make arrays that look alike, and what is
    made for these is made once."""
    apart = max(64, 2 ** max((steps + 1).bit_length() - 4, 0))
    return -(-(steps + 1) // apart) * apart


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of an integration: step n goes from ``time[n]`` over ``length[n]`` to ``time[n + 1]``, and stands still where
    ``fire[n]`` is not 0.  ``state`` is the number of the state at each knot, when the jumps there have happened.

    ``landed[n]`` is the knot on which step n lands, -1 if it lands on none, and -2 - k if it ends with event k.

    ``rooms`` are ``time`` to ``fire`` with zeros behind them, all of the length :func:`room_for`; None for ``begin`` and ``end``
    where these are the times themselves.
    """

    time: np.ndarray
    length: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    fire: np.ndarray
    state: np.ndarray
    landed: np.ndarray
    rooms: tuple[np.ndarray | None, ...]

    @property
    def count(self) -> int:
        return len(self.length)

    @classmethod
    def of(cls, knots: Knots, time: np.ndarray, length: np.ndarray, landed: np.ndarray) -> Steps:
        """From the ends and lengths of the moving steps, and what they land on; of these nothing is kept."""
        (at,) = (landed >= 0).nonzero()
        if knots.plain:
            n, room = len(time), room_for(len(time))
            times, lengths, fire = np.zeros(room), np.zeros(room), np.zeros(room, np.int64)
            state = np.zeros(len(at) + 1, np.int64)
            times[0], times[1 : n + 1], lengths[:n] = knots.times[0], time, length
            np.add(at, 1, out=state[1:])
            whole, rooms = times[: n + 1], (times, lengths, None, None, fire)
            return cls(whole, lengths[:n], whole[:-1], whole[1:], fire[:n], state, landed.copy(), rooms)
        reached = landed[at]  # knots 1, 2, ..
        begin, end = np.empty_like(time), time.copy()
        begin[:1], begin[1:] = knots.begins[0], time[:-1]
        end[at] = knots.ends[reached]
        follows = at[at + 1 < len(time)]
        begin[follows + 1] = knots.begins[reached[: len(follows)]]
        stands = knots.fire[reached] != 0  # and then the jumps there happen, in a step of their own
        after, what = at[stands] + 1, knots.fire[reached[stands]]
        if knots.fire[0]:
            after, what = np.concatenate([[0], after]), np.concatenate([knots.fire[:1], what])
        places = after + np.arange(len(after))
        moves = np.ones(len(time) + len(after), np.bool_)
        moves[places] = False
        state = np.zeros(len(at) + 1, np.int64)
        state[1:] = at + 1
        state += np.searchsorted(after, state, side="right")
        count, room = len(moves), room_for(len(moves))
        times = np.zeros(room)
        times[0] = knots.times[0]
        ends = times[1 : count + 1]
        ends[moves] = time
        moments = ends[places] = times[places]

        def among(own: np.ndarray | int, others: Any) -> np.ndarray:
            out = np.zeros(room, np.asarray(others).dtype)
            inside = out[:count]
            inside[moves], inside[places] = own, others
            return out

        own = among(length, np.zeros(len(places))), among(begin, moments), among(end, moments), among(0, what)
        return cls(times[: count + 1], *[a[:count] for a in own], state, among(landed, -1)[:count], (times, *own))


def fixed_steps(knots: Knots, dt: float, most: int) -> Steps:
    """Equal steps of at most ``dt`` from knot to knot; ArgumentError if these are more than ``most``."""
    times, lengths, at = _divided(knots, dt, most)
    landed = np.full(len(lengths), -1)
    landed[at[1:] - 1] = np.arange(1, len(at))
    return Steps.of(knots, times[1:], lengths, landed)


def grid_of(knots: Knots, dt: float, most: int) -> Knots:
    """The times between such steps as knots, too, for steps that events may cut."""
    times, _, at = _divided(knots, dt, most)
    begins, ends, fire = times.copy(), times.copy(), np.zeros(len(times), np.int64)
    begins[at], ends[at], fire[at] = knots.begins, knots.ends, knots.fire
    return Knots(times, begins, ends, fire, at[knots.observed], knots.breaks)


def _divided(knots: Knots, dt: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The times between equal steps, the lengths of these, and where the knots are among the times."""
    spans = np.diff(knots.times)
    counts = np.maximum(np.ceil(np.abs(spans) / dt * (1.0 - 1e-12)), 1.0)
    if counts.sum() > most:
        raise ArgumentError(f"Got dt={dt!r}, which takes {counts.sum():.10g} steps, but expected at most max_steps={most}")
    many = counts.astype(np.int64)
    at = np.concatenate([[0], np.cumsum(many)])
    place = np.arange(at[-1]) - np.repeat(at[:-1], many)  # of a step in its interval
    lengths = np.repeat(spans / counts, many)
    times = np.append(np.repeat(knots.times[:-1], many) + lengths * place, knots.times[-1])
    return times, lengths, at
