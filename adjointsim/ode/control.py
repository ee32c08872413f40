"""The choice of step sizes, as text: an integration that records the steps that it accepts.

The recorded steps are what a gradient is of: their sizes are numbers by then, and rejected steps are forgotten.  The step size
follows a proportional-integral controller (K. Gustafsson, "Control theoretic techniques for stepsize selection in explicit
Runge-Kutta methods", ACM TOMS 17 (1991); E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd edition 1996,
section IV.2), with k = order of the error estimate + 1:

    h_new = 0.9 h |e|^(-0.7/k) |e_before|^(0.4/k),   from 0.2 h to 10 h,

and does not grow next to a rejected step.  The first one is that of E. Hairer, S. Norsett, G. Wanner, Solving Ordinary
Differential Equations I, section II.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from .dirk import Dirk
from .events import EventText, notice, sides
from .explicit import Explicit
from .rosenbrock import Rosenbrock

__all__ = ["ACCUMULATE", "DONE", "NOT_FINITE", "STOPPED", "TOGETHER", "TOO_SMALL", "control_text"]

#: how a call of ``control`` ends
DONE, TOO_SMALL, NOT_FINITE, STOPPED, TOGETHER, ACCUMULATE = range(6)

_TEXT = """
def control(t, guess, before, last, knot, tries, fired, y, c):
    time = np.zeros_like(c.room)
    length = np.zeros_like(c.room)
    landed = np.zeros_like(c.marks)
    rows = 0
    rejected = 0
    evaluations = 0
    status = {done}
    grows = True
    at = t
    y = {copy}
    if knot == 0:
        at = c.begins[0]
        evaluations = 1
{jumps_at_0}
        knot = 1
    elif t == c.knots[knot - 1]:
        at = c.begins[knot - 1]
    k1 = rate(at, y, c.p)
{sides_at_first}
    if guess == 0.0 and knot < len(c.knots):
{first_guess}
        evaluations += 1
        if not guess > 0.0:
            status = {not_finite}
    while status == {done} and knot < len(c.knots) and rows < len(c.room) and (tries > 0 or not grows):
        tries -= 1
        left = abs(c.knots[knot] - t)
        wanted = min(guess, c.longest)
        size = wanted
        lands = left <= 1.0000001 * size
        if lands:
            size = left
        elif left < 2.0 * size:
            size = 0.5 * left
        h = c.sign * size
        landing = t + h
        end = landing
        if lands:
            h = c.knots[knot] - t
            landing = c.knots[knot]
            end = c.ends[knot]
        elif size < 1e-15 * abs(t) or landing == t:
            status = {too_small}
            break
{attempt}
        evaluations += {evaluations}
        if norm <= 1.0:
{notice}
            rate_of_error = math.log(max(norm, 1e-10))
            factor = min(10.0, max(0.2, 0.9 * math.exp({alpha!r} * rate_of_error + {beta!r} * before)))
            if not grows:
                factor = min(factor, 1.0)
            grows = True
            before = max(rate_of_error, -9.0)
            guess = size * factor
            if size < wanted:
                guess = max(guess, wanted)
{cut}
            time[rows] = landing
            length[rows] = h
            landed[rows] = -1
            y = y_next
            t = landing
            at = t
            fresh = {fresh}
{happens}
            if lands:
                landed[rows] = knot
                at = c.begins[knot]
                if c.fresh[knot] != 0:
                    fresh = True
{jumps}
                knot += 1
            rows += 1
            if fresh:
                k1 = rate(at, y, c.p)
                evaluations += 1
            else:
                k1 = {known}
{sides}
        else:
            rejected += 1
            grows = False
            factor = 0.2
            if norm < 1e300:
                factor = max(0.2, 0.9 * math.exp({plain!r} * math.log(norm)))
            guess = size * factor
    return status, rows, rejected, evaluations, t, guess, before, last, knot, fired, y, time, length, landed
"""

#: where a step of a system with events ends at one of them
_CUT = """
if status != {done}:
    break
if hit >= 0:
    lands = False
    h = hit_length
    landing = t + h
    y_next = advanced(at, landing, h, y, c.p)
"""

_HAPPENS = """
fired = hit
if hit >= 0:
    fresh = True
    landed[rows] = -2 - hit
    if abs(t - last) < c.shortest:
        status = {accumulate}
    last = t
"""

_FIRST_GUESS = """
{norm_of_y}
{norm_of_rate}
h = 0.01 * of_y / of_rate
if of_y < 1e-5 or of_rate < 1e-5:
    h = 1e-6
h = min(h, c.longest, abs(c.knots[-1] - t))
h = c.sign * h
k2 = rate(at + h, {ahead}, c.p)
{norm_of_change}
change = change / abs(h)
guess = 0.0
if max(of_rate, change) <= 1e-15:
    guess = max(1e-6, 1e-3 * abs(h))
elif max(of_rate, change) < 1e300:
    guess = (0.01 / max(of_rate, change)) ** {exponent!r}
guess = min(100.0 * abs(h), guess)
"""


def control_text(
    method: Explicit | Rosenbrock | Dirk, jumps: Sequence[str], events: Sequence[EventText] = (), own: str = ""
) -> str:
    """The text of ``control``.

    It goes on at (t, y) towards ``c.knots[knot]`` and tries steps of the size ``guess`` (0: to be found), ``tries`` of them or
    until one is accepted, so that the steps do not depend on how many are tried in a call; it returns how it ended, what it
    recorded and where it is.  ``jumps`` are lines for what happens at ``c.knots[knot]``; ``own`` is the path of the user's y in
    the state.
    """
    t, norm, tree = method.tableau, method.norm, method.tree
    assert t.control_order is not None
    k = t.control_order + 1
    first = _FIRST_GUESS.strip().format(
        norm_of_y=_lines(norm.lines("of_y", lambda path: f"y{path}", "y")),
        norm_of_rate=_lines(norm.lines("of_rate", lambda path: f"k1{path}", "y")),
        ahead=tree.of(lambda path: f"y{path} + h * k1{path}"),
        norm_of_change=_lines(norm.lines("change", lambda path: f"k2{path} - k1{path}", "y")), exponent=1.0 / k,
    )  # fmt: skip
    noticed = cut = happens = remembered = ""
    if events:
        noticed, remembered = notice([event.direction for event in events], own, TOGETHER), sides(len(events))
        cut, happens = _CUT.strip().format(done=DONE), _HAPPENS.strip().format(accumulate=ACCUMULATE)
        for e, event in enumerate(events):
            lines = [*event.effect, *([f"status = {STOPPED}"] if event.stop else [])]
            happens += f"\nif hit == {e}:\n{indent(_lines(lines), '    ')}" if lines else ""
    return _TEXT.format(
        done=DONE, too_small=TOO_SMALL, not_finite=NOT_FINITE, copy=tree.copy("y"), first_guess=indent(first, " " * 8),
        jumps_at_0=indent(_lines(jumps), " " * 8), jumps=indent(_lines(jumps), " " * 16),
        attempt=indent(_lines(method.attempt("at", "end", "c.p")), " " * 8), evaluations=method.evaluations,
        alpha=-0.7 / k, beta=0.4 / k, plain=-1.0 / k, fresh=method.last is None, known=method.last or "k1",
        sides_at_first=indent(remembered, " " * 4), sides=indent(remembered, " " * 12), notice=indent(noticed, " " * 12),
        cut=indent(cut, " " * 12), happens=indent(happens, " " * 12),
    )  # fmt: skip


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines)
