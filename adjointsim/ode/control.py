"""The choice of step sizes, as text: an integration that records the steps that it accepts.

The recorded steps are what a gradient is of: their sizes are numbers by then, and rejected steps are forgotten.  The step size
follows a proportional-integral controller (K. Gustafsson, "Control theoretic techniques for stepsize selection in explicit
Runge-Kutta methods", ACM TOMS 17 (1991); E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd edition 1996,
section IV.2), with k = order of the error estimate + 1:

    h_new = 0.9 h |e|^(-0.7/k) |e_before|^(0.4/k),   from 0.2 h to 10 h,

and does not grow next to a rejected step.  The first one is that of E. Hairer, S. Norsett, G. Wanner, Solving Ordinary
Differential Equations I, section II.4.

Of fixed sizes there is a choice, too, where there are events: a step goes to the next time of a grid, or to an event before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from .dirk import Dirk
from .events import AN_INSTANT, EventText, notice, sides, with_effect, with_jumps
from .explicit import Explicit
from .inputs import ACCUMULATE, DONE, NOT_FINITE, STOPPED, TOGETHER, TOO_SMALL
from .rosenbrock import Rosenbrock
from .splitting import Splitting
from .trees import Tree, paths

__all__ = ["control_text"]

_TEXT = """
def control(t, guess, before, last, knot, tries, fired, y, c):
    time = np.empty_like(c.room)
    length = np.empty_like(c.room)
    landed = np.empty_like(c.marks)
    rows = 0
    rejected = 0
    evaluations = 0
    other = -1
    status = {done}
    grows = True
    at = t
    y = {copy}
{logs}
{start}
    if knot == 0:
        at = c.begins[0]
        evaluations = 1
{jumps_at_0}
{log_at_0}
        knot = 1
    elif t == c.knots[knot - 1]:
        at = c.begins[knot - 1]
    y = {state}
    k1 = rate(at, y, c.p)
{start_rate}
{sides_at_first}
{first_guess}
    while status == {done} and knot < len(c.knots) and rows < len(c.room) and (tries > 0 or not grows):
        tries -= 1
        y = {state}
        k1 = {rates}
{size}
{attempt}
        evaluations += {evaluations}
        if norm <= 1.0:
{notice}
{next_size}
{cut}
            time[rows] = landing
            length[rows] = h
            landed[rows] = -1
            y = y_next
{log}
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
{log_jump}
                knot += 1
            rows += 1
{keep}
            if fresh:
                new = rate(at, y, c.p)
                evaluations += 1
{keep_rate}
            else:
{keep_known}
{sides}
{rejected}
    return status, rows, rejected, evaluations, t, guess, before, last, knot, fired, other, {logged}{state}, time, length, landed
"""

#: the step to try, of a chosen size
_SIZE = f"""
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
    status = {TOO_SMALL}
    break
"""

#: the same of a fixed size: the times to step onto are close enough
_FIXED_SIZE = """
lands = True
h = c.knots[knot] - t
landing = c.knots[knot]
end = c.ends[knot]
"""

_NEXT_SIZE = """
rate_of_error = math.log(max(norm, 1e-10))
factor = min(10.0, max(0.2, 0.9 * math.exp({alpha!r} * rate_of_error + {beta!r} * before)))
if not grows:
    factor = min(factor, 1.0)
grows = True
before = max(rate_of_error, -9.0)
guess = size * factor
if size < wanted:
    guess = max(guess, wanted)
"""

_REJECTED = """
else:
    rejected += 1
    grows = False
    factor = 0.2
    if norm < 1e300:
        factor = max(0.2, 0.9 * math.exp({plain!r} * math.log(norm)))
    guess = size * factor
"""

#: where a step of a system with events ends at one of them
_CUT = f"""
if status == {TOGETHER} or status == {ACCUMULATE}:
    break
if hit >= 0:
    lands = False
    h = hit_length
    landing = t + h
    y_next = advanced(at, landing, h, y, c.p)
"""

#: then; ``fired`` is the event that was now, but for rounding
_HAPPENS = f"""
if hit >= 0:
    fresh = True
    landed[rows] = -2 - hit
    if abs(t - last) < 1e-10 * abs(t - c.knots[0]):
        status = {ACCUMULATE}
        if fired >= 0 and fired != hit:
            status = {TOGETHER}
            other = fired
    last = t
if hit >= 0 or abs(h) > {AN_INSTANT}:
    fired = hit
"""

_FIRST_GUESS = """
if guess == 0.0 and knot < len(c.knots):
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
    evaluations += 1
    if not guess > 0.0:
        status = {not_finite}
"""


def control_text(
    method: Explicit | Rosenbrock | Dirk | Splitting, jumps: Sequence[str], events: Sequence[EventText] = (), own: str = "",
    fixed: bool = False, logged: bool = False,
) -> str:  # fmt: skip
    """The text of ``control``.

    It goes on at (t, y) towards ``c.knots[knot]`` and tries steps of the size ``guess`` (0: to be found), ``tries`` of them or
    until one is accepted, so that the steps do not depend on how many are tried in a call; it returns how it ended, what it
    recorded and where it is, and of events at one time the ``other``.  ``jumps`` are lines for what happens at
    ``c.knots[knot]``; ``own`` is the path of the user's y in the state.  ``fixed``: each step goes as far as that knot is, or to
    an event before it.  With ``logged`` it writes down the states, too, as far as there is room.
    """
    state, rates = _Held("y", method.tree), _Held("k1", method.tree)
    keep = state.taken("y")
    pieces = _fixed(method) if fixed else _chosen(method)  # type: ignore[arg-type]
    noticed = cut = happens = at_first = remembered = ""
    if events:
        noticed = notice([event.direction for event in events], own)
        at_first = sides(len(events), own)
        remembered = f"k1 = {rates.value}\n{at_first}"
        cut, happens = _CUT, _HAPPENS
        for e, event in enumerate(events):
            lines = [*with_effect(e, event.effect, own), *([f"status = {STOPPED}"] if event.stop else [])]
            happens += f"if hit == {e} and status == {DONE}:\n{indent(_lines(lines), '    ')}\n" if lines else ""
    blocks = {"sides_at_first": (4, at_first), "sides": (12, remembered), "notice": (12, noticed), "cut": (12, cut)}
    later = with_jumps(len(events), jumps, own)
    log = _Log(method.tree, method.notes) if logged else None
    if log is not None:
        blocks |= {"logs": (4, _lines(log.start)), "log": (12, _lines([*log.beside(), *log.next("y")]))}
    if log is not None and jumps:
        blocks["log_at_0"] = (8, "if c.fire[0] != 0:\n" + indent(_lines(log.next("y")), "    "))
        blocks["log_jump"] = (16, "if c.fire[knot] != 0:\n" + indent(_lines(log.next("y")), "    "))
    at_0 = [*jumps, *keep] if jumps else []
    blocks |= {"happens": (12, happens), "jumps_at_0": (8, _lines(at_0)), "jumps": (16, _lines(later))}
    blocks |= {"start": (4, _lines(state.start)), "keep": (12, _lines(keep)), "start_rate": (4, _lines(rates.start))}
    known = "k1" if fixed else method.last or "k1"
    blocks |= {"keep_rate": (16, _lines(rates.taken("new"))), "keep_known": (16, _lines(rates.taken(known)))}
    blocks = {"logs": (4, ""), "log": (12, ""), "log_at_0": (8, ""), "log_jump": (16, "")} | blocks
    texts = {name: indent(text.strip("\n"), " " * by) for name, (by, text) in (blocks | pieces).items()}
    return _TEXT.format(
        done=DONE, copy=method.tree.copy("y"), state=state.value, rates=rates.value, evaluations=method.evaluations + fixed,
        fresh=fixed or method.last is None, logged="" if log is None else log.values, **texts,
    )  # fmt: skip


class _Held:
    """Something of the state's structure between steps: numbers are variables, which a compiler keeps in registers, and arrays
    stay where they are.  (One of several arrays, as a branch has it, would be copied behind each branch.)"""

    def __init__(self, name: str, tree: Tree) -> None:
        self.parts = [(path, number, f"{name}_{k}") for k, (path, number, _) in enumerate(tree.parts())]
        self.start = [f"{own} = {name}{path} * 1.0" for path, _, own in self.parts]
        held = {path: own for path, _, own in self.parts}
        self.value = tree.of(lambda path: held[path])

    def taken(self, value: str) -> list[str]:
        """Lines that take over another value."""
        return [f"{own} = {value}{path} * 1.0" if number else f"{own}[:] = {value}{path}" for path, number, own in self.parts]


class _Log:
    """Rows of states, a leaf each, and of what is worth keeping of the steps that start from them."""

    def __init__(self, tree: Tree, notes: Sequence[str]) -> None:
        self.notes = notes
        self.rows: dict[str, str] = {}  # where a part of the state goes, by its path
        self.start = ["filled = -1"]
        for k, (path, leaf) in enumerate(paths(tree.spec)):
            shape, count = [f"y{path}.shape[{axis}]" for axis in range(getattr(leaf, "rank", 0))], tree.lengths.get(path)
            if count is not None:
                shape = [str(count)]
            self.start.append(f"log_{k} = np.empty((len(c.logged), {', '.join(shape)}))")
            places = {path: ""} if count is None else {f"{path}[{j}]": f", {j}" for j in range(count)}
            self.rows.update({part: f"log_{k}[filled{place}]" for part, place in places.items()})
        self.values = "".join(f"log_{k}, " for k, _ in enumerate(paths(tree.spec)))
        if notes:
            self.start.append(f"noted_numbers = np.empty((len(c.logged), {len(notes)}))")
            self.values += "noted_numbers, "
        self.start += self.next("y")

    def beside(self) -> list[str]:
        """Lines that write down what is worth keeping of a step from the last state."""
        if not self.notes:
            return []
        return ["if filled < len(c.logged):", *(f"    noted_numbers[filled, {k}] = {x}" for k, x in enumerate(self.notes))]

    def next(self, value: str) -> list[str]:
        """Lines that write down another state."""
        stores = [f"    {row} = {value}{path}" for path, row in self.rows.items()]
        return ["filled += 1", "if filled < len(c.logged):", *stores]


def _chosen(method: Explicit | Rosenbrock | Dirk) -> dict[str, tuple[int, str]]:
    """The pieces of the text for step sizes that are chosen, and how far each is indented."""
    norm, order = method.norm, method.tableau.control_order
    assert order is not None
    k = order + 1
    first = _FIRST_GUESS.format(
        norm_of_y=_inside(norm.lines("of_y", lambda path: f"y{path}", "y")),
        norm_of_rate=_inside(norm.lines("of_rate", lambda path: f"k1{path}", "y")),
        ahead=method.tree.of(lambda path: f"y{path} + h * k1{path}"),
        norm_of_change=_inside(norm.lines("change", lambda path: f"k2{path} - k1{path}", "y")), exponent=1.0 / k,
        not_finite=NOT_FINITE,
    )  # fmt: skip
    return {
        "first_guess": (4, first), "size": (8, _SIZE), "attempt": (8, _lines(method.attempt("at", "end", "c.p"))),
        "next_size": (12, _NEXT_SIZE.format(alpha=-0.7 / k, beta=0.4 / k)), "rejected": (8, _REJECTED.format(plain=-1.0 / k)),
    }  # fmt: skip


def _fixed(method: Explicit | Rosenbrock | Dirk | Splitting) -> dict[str, tuple[int, str]]:
    """The same for steps from each time to the next."""
    attempt = _lines([*method.step("at", "end", "c.p"), "norm = 0.0"])
    return {"first_guess": (4, ""), "size": (8, _FIXED_SIZE), "attempt": (8, attempt), "next_size": (12, ""), "rejected": (8, "")}


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _inside(lines: Sequence[str]) -> str:
    return "\n    ".join(lines)
