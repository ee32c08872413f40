"""Events as text: how they are noticed and located where steps are chosen, and the steps that end with one.

A condition c(t, y, p) that changes its sign in an accepted step has an event there.  Its time t* is where c(t*, y(t*)) = 0 for
y(t*) = the step of length t* - t from the same state: no interpolation.  In a gradient that length is a root of the equation
(implicit function theorem), and the time of all that follows moves with it: so the jump of the sensitivities at an event (their
*saltation*; P. Mueller, "Calculation of Lyapunov exponents for dynamic systems with discontinuities", 1995; W. Galan, W. Feehery,
P. Barton, "Parametric sensitivity functions for hybrid discrete/continuous systems", 1999) comes out by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .inputs import ACCUMULATE, TOGETHER, UNKNOWN

__all__ = ["AN_INSTANT", "EventText", "event_text", "notice", "sides", "with_effect", "with_jumps"]

#: the text of a time that may be what rounding leaves
AN_INSTANT = "2e-15 * abs(t)"

_TEXT = """
def moment_{k}(s, begin, t, y, p):
    z = advanced(begin, t + s, s, y, p)
    return condition_{k}(t + s, z{own}, p)

def side_{k}(c, fired, ahead, t, y, rates, p):
    if fired or c == 0.0:
        c = {slope}
    return c

def located_{k}(begin, t, h, y, fa, fb, p):
    a = 0.0
    b = h
    above = fa > 0.0
    for iteration in range(200):
        if fb == 0.0 or abs(b - a) <= 4e-16 * abs(b) + 1e-16 * abs(t):
            break
        s = b - fb * (b - a) / (fb - fa)
        if a == 0.0 or iteration % 3 == 2 or not (min(a, b) < s < max(a, b)):
            s = 0.5 * (a + b)
        fs = moment_{k}(s, begin, t, y, p)
        if (fs > 0.0) == above and fs != 0.0:
            a = s
            fa = fs
        else:
            b = s
            fb = fs
    return b
"""

#: after an attempt that is good enough, with y_next at ``landing``: what has just happened does not do so again in no time
_NOTICE = """
next_{k} = condition_{k}(landing, y_next{own}, c.p)
length_{k} = h
noticed_{k} = False
if next_{k} != next_{k} or side_{k}_before != side_{k}_before:
    status = {unknown}
    other = {k}
if fired != {k} or abs(h) > {instant}:
    noticed_{k} = {crossed}
    if fired == {k} and side_{k}_before == 0.0 and ({passes}):
        status = {accumulate}
if noticed_{k}:
    length_{k} = located_{k}(at, t, h, y, side_{k}_before, next_{k}, c.p)
    if hit < 0 or abs(length_{k}) < abs(hit_length):
        hit = {k}
        hit_length = length_{k}
"""

#: then, for another event of the step
_TOGETHER = """
if noticed_{k} and hit != {k} and abs(length_{k} - hit_length) <= 1e-9 * abs(h):
    status = {together}
    other = {k}
"""


@dataclass(frozen=True)
class EventText:
    """An event: the direction in which its condition must cross 0 (0: either), lines that change y, whether it ends the run."""

    direction: int
    effect: tuple[str, ...]
    stop: bool


def event_text(k: int, own: str, rates: str, massed: bool) -> str:
    """Functions for event k; ``own`` is the path of the user's y in the state, ``rates`` its derivative made of ``rates``.

    With a mass matrix (``massed``) that is none, and algebraic variables have none: a short step says where the condition goes.
    """
    slope = f"ahead * jvp(condition_{k}, (t, y{own}, p), (1.0, {rates}, None))[1]"
    return _TEXT.format(k=k, own=own, slope=f"moment_{k}(ahead, t, t, y, p) - c" if massed else slope)


def notice(directions: Sequence[int], own: str) -> str:
    """Lines that find the first event of a step, ``hit``, which is after ``hit_length``; the status is set where there is none to
    find, or not one."""
    lines = ["hit = -1", "hit_length = h"]
    for k, direction in enumerate(directions):
        passes = f"next_{k} {'>' if direction > 0 else '<' if direction < 0 else '!='} 0.0"
        up, down = (f"(side_{k}_before {before} 0.0 and next_{k} {after}= 0.0)" for before, after in ("<>", "><"))
        crossed = up if direction > 0 else down if direction < 0 else f"{up} or {down}"
        lines.append(
            _NOTICE.strip().format(
                k=k, own=own, crossed=crossed, passes=passes, unknown=UNKNOWN, accumulate=ACCUMULATE, instant=AN_INSTANT
            )
        )
    if len(directions) > 1:
        lines += [_TOGETHER.strip().format(k=k, together=TOGETHER) for k in range(len(directions))]
        lines += [f"if status == {TOGETHER}:", "    t = t + hit_length", "    fired = hit"]
    return "\n".join(lines)


def sides(count: int, own: str) -> str:
    """Lines that remember every condition, and on which side of it the state is."""
    lines = ["ahead = 1e-8 * (c.knots[-1] - c.knots[0])"]
    for k in range(count):
        lines.append(f"first_{k} = condition_{k}(at, y{own}, c.p)")
        lines.append(f"side_{k}_before = side_{k}(first_{k}, fired == {k}, ahead, at, y, k1, c.p)")
    return "\n".join(lines)


def with_effect(k: int, lines: Sequence[str], own: str) -> list[str]:
    """Lines that change y where event k happens.  Where they take its condition away from 0 (a threshold at which y starts anew),
    the state is on one side of it again; where that is 0 but for rounding (a ball on the ground), its derivative says on which.

    What is small is so beside the condition at both ends of the step that was tried, as in what is at one time.
    """
    if not lines:
        return []
    condition = f"condition_{k}(t, y{own}, c.p)"
    away = f"after != level and abs(after) > 1e-9 * max(abs(first_{k}), abs(next_{k}))"
    return [f"level = {condition}", *lines, f"after = {condition}", f"if {away}:", "    fired = -1"]


def with_jumps(count: int, lines: Sequence[str], own: str) -> list[str]:
    """Lines for the jumps at a time; events that were just before are over if they change the condition."""
    if not lines or not count:
        return [*lines]
    out = ["level = 0.0", "after = 0.0"]
    for what, when in (("level", lines), ("after", ())):
        for k in range(count):
            out += [f"if fired == {k}:", f"    {what} = condition_{k}(t, y{own}, c.p)"]
        out += when
    return [*out, "if after != level:", "    fired = -1"]
