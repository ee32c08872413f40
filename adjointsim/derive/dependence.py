"""Whether two accesses of one array, in different iterations of the loops around them, can be of one cell.

The values of integers are linear forms in loop indices, lengths and whatever else is not known ; what
a loop's bounds, the clamps of slices and the tests of branches say of them are inequalities.  Two accesses are *apart* if
these, the equality of their indices, and the order of their iterations contradict each other
(:mod:`.inequalities`).  "No" and "unknown" are one answer.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from .inequalities import CONSTANT, Form, impossible, plus, times
from .ir import Alloc, Atom, Const, Dim, Each, For, Let, Load, Store, Var

if TYPE_CHECKING:
    from .analysis import Layout

__all__ = ["apart"]

_INTEGERS = ("i8", "b1")
_LARGE = 2**31  # a product with more may leave the integers of 64 bits


def apart(layout: Layout, one: Load | Store, later: Load | Store, depth: int) -> bool:
    """Whether an access never meets the cell of an access ``one`` that ran before.

    ``depth`` is the number of loops around both of which the two are in the same iteration; if they share another loop, the
    later one is in a later iteration of that.  Both belong to ``layout``'s function, name the same base, and have indices that
    are not negative.
    """
    if one.wrap != "never" or later.wrap != "never":
        return False
    here, there = layout.place[id(one)].loops, layout.place[id(later)].loops
    first, second = _Facts(layout, None), _Facts(layout, there[depth] if depth < len(there) else None)
    for loop in here:
        first.iteration(loop)
    for loop in there:
        second.iteration(loop)
    for facts, access in ((first, one), (second, later)):
        for test, holds in layout.place[id(access)].branches:
            facts.test(test, holds)
    both = depth < min(len(here), len(there)) and here[depth] == there[depth]
    if both and isinstance(layout.loops[here[depth]], For):  # of an Each, all reads come before all writes
        number = ("iteration", here[depth])
        first.nonnegative.append({(*number, True): 1, number: -1, CONSTANT: -1})
    same = [plus(first.form(a), times(-1, second.form(b))) for a, b in zip(one.index, later.index, strict=True)]
    return impossible([*first.nonnegative, *second.nonnegative], [*first.zero, *second.zero, *same])


class _Facts:
    """Forms of integers, and what is known of their symbols; what is defined inside of the loop ``other`` is that of another
    iteration of it, and has symbols of its own."""

    def __init__(self, layout: Layout, other: int | None) -> None:
        self.layout, self.other = layout, other
        self.nonnegative: list[Form] = []
        self.zero: list[Form] = []
        self.known: dict[Var, Form] = {}
        self.runs: dict[Atom, Form] = {}  # counts of loops that run, without the clamp at 0

    def _mine(self, v: Var) -> Hashable:
        inside = self.other is not None and self.layout.inside(v, self.other)
        return (v.name, True) if inside else v.name

    def form(self, a: Atom) -> Form:
        """An integer as a linear form."""
        if isinstance(a, Const):
            return {CONSTANT: int(a.value)} if a.value else {}  # type: ignore[arg-type]
        if a not in self.known:
            self.known[a] = {self._mine(a): 1}  # (of itself, while it is looked at)
            self.known[a] = self._form(a)
        return self.known[a]

    def _form(self, v: Var) -> Form:
        made, symbol = self.layout.made.get(v), {self._mine(v): 1}
        if v in self.layout.heads or v.dt not in _INTEGERS:
            return symbol
        if isinstance(made, Dim):
            return self._length(made) or self._positive(symbol)
        if not isinstance(made, Let) or not all(a.dt in _INTEGERS for a in made.args):
            return symbol
        x, *rest = map(self.form, made.args)
        if made.op == "add":
            return plus(x, *rest)
        if made.op == "sub":
            return plus(x, times(-1, rest[0]))
        if made.op == "neg":
            return times(-1, x)
        if made.op in ("pos", "copy", "cast"):
            return x
        if made.op == "mul":
            for factor, other in ((x, rest[0]), (rest[0], x)):
                if not factor.keys() - {CONSTANT} and abs(factor.get(CONSTANT, 0)) < _LARGE:
                    return times(factor.get(CONSTANT, 0), other)
        elif made.op in ("max2", "min2"):
            sign = 1 if made.op == "max2" else -1
            self.nonnegative += [times(sign, plus(symbol, times(-1, a))) for a in (x, *rest)]
        elif made.op in ("floordiv", "mod") and isinstance(made.args[1], Const) and made.args[1].value > 0:  # type: ignore[operator]
            divisor = int(made.args[1].value)  # type: ignore[arg-type]
            left = symbol if made.op == "mod" else plus(x, times(-divisor, symbol))
            self.nonnegative += [left, plus({CONSTANT: divisor - 1}, times(-1, left))]
        return symbol

    def _positive(self, form: Form) -> Form:
        self.nonnegative.append(form)
        return form

    def _length(self, s: Dim) -> Form | None:
        """A length that was given where memory was made; one name for all questions after a parameter's."""
        allocs = [st for st in self.layout.kills.get(s.base, ()) if isinstance(st, Alloc)]
        if not allocs:
            return self._positive({(s.base.name, s.axis): 1})
        here, made = self.layout.place[id(s)], self.layout.place[id(allocs[0])]
        if len(allocs) > 1 or made.order > here.order or here.loops[: len(made.loops)] != made.loops:
            return None
        return self._positive(self.form(allocs[0].dims[s.axis]))

    def iteration(self, loop: int) -> None:
        """What is known inside of a loop: its index is one of its range."""
        s = self.layout.loops[loop]
        if isinstance(s, For):
            self._index(s.var, s.lo, s.count, s.step, ("iteration", loop))
        elif isinstance(s, Each):
            for var, lo, count in s.axes:
                self._index(var, lo, count, Const(1, "i8"), ("iteration", loop, var.name))

    def _index(self, var: Var, lo: Atom, count: Atom, step: Atom, number: tuple[Hashable, ...]) -> None:
        if self.other is not None and self.layout.inside(var, self.other):
            number = (*number, True)
        runs = self.layout.made.get(count) if isinstance(count, Var) else None
        if isinstance(runs, Let) and runs.op == "max2" and Const(0, "i8") in runs.args:  # it runs: so that is not the 0
            x = next((a for a in runs.args if a != Const(0, "i8")), count)
            self.zero.append(plus(self.form(count), times(-1, self.form(x))))
        self.nonnegative += [{number: 1}, plus(self.form(count), {number: -1, CONSTANT: -1})]
        if isinstance(step, Const):
            self.zero.append(plus({self._mine(var): 1}, times(-1, self.form(lo)), {number: -int(step.value)}))  # type: ignore[arg-type]

    def test(self, test: Atom, holds: bool) -> None:
        """What is known inside of a branch."""
        made = self.layout.made.get(test) if isinstance(test, Var) else None
        if not isinstance(made, Let) or not all(a.dt in _INTEGERS for a in made.args):
            return
        if made.op == "lnot":
            self.test(made.args[0], not holds)
        elif made.op in ("land", "lor"):
            if (made.op == "land") == holds:
                for a in made.args:
                    self.test(a, holds)
        elif made.op in ("lt", "le", "gt", "ge", "eq", "ne"):
            a, b = map(self.form, made.args)
            op = made.op if holds else {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}[made.op]
            difference = plus(b, times(-1, a))
            if op == "eq":
                self.zero.append(difference)
            elif op != "ne":
                difference = difference if op in ("lt", "le") else times(-1, difference)
                self.nonnegative.append(plus(difference, {CONSTANT: -1} if op in ("lt", "gt") else {}))
