"""Whether linear inequalities over the integers can be met: Fourier-Motzkin elimination, rounded to integers.

A *form* is sum_k c_k x_k + c with integer c_k, a dict from symbols to coefficients with the constant under ``ONE``.  A
system is a list of forms that are to be >= 0, and of forms that are to be 0.  The answer "impossible" is a proof; the other
one is none: elimination is over the rationals (each inequality is divided by the divisor of its coefficients and its
constant rounded down, Pugh's tightening: W. Pugh, The Omega test, Comm. ACM 35 (1992), 102), and is given up when it grows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from math import gcd

__all__ = ["CONSTANT", "Form", "impossible", "plus", "times"]

CONSTANT = ""  #: the key of a form's constant
Form = dict[Hashable, int]
_MOST = 400  # inequalities at once


def plus(*forms: Mapping[Hashable, int]) -> Form:
    """The sum of forms."""
    out: Form = {}
    for form in forms:
        for x, c in form.items():
            out[x] = out.get(x, 0) + c
    return {x: c for x, c in out.items() if c}


def times(factor: int, form: Mapping[Hashable, int]) -> Form:
    """A multiple of a form."""
    return {x: factor * c for x, c in form.items()} if factor else {}


class _Contradiction(Exception):
    pass


def impossible(nonnegative: Iterable[Form], zero: Iterable[Form]) -> bool:
    """Whether no integers make all of ``nonnegative`` >= 0 and all of ``zero`` 0, as far as this can tell."""
    try:
        system = _without_equations(list(nonnegative), list(zero))
        while system:
            symbols = {x for form in system for x in form if x != CONSTANT}
            if not symbols or len(system) > _MOST:
                return False
            system = _without(min(symbols, key=lambda x: _growth(system, x)), system)
    except _Contradiction:
        return True
    return False


def _tight(form: Form) -> Form | None:
    """An inequality divided by the divisor of its coefficients; None if it always holds."""
    divisor = gcd(*(c for x, c in form.items() if x != CONSTANT))
    if not divisor:
        if form.get(CONSTANT, 0) < 0:
            raise _Contradiction
        return None
    return plus({x: c // divisor for x, c in form.items()})


def _without_equations(system: list[Form], zero: list[Form]) -> list[Form]:
    """Equations are solved for a symbol of coefficient 1 or -1, or become two inequalities."""
    while zero:
        form = zero.pop()
        divisor = gcd(*(c for x, c in form.items() if x != CONSTANT))
        if form.get(CONSTANT, 0) % divisor if divisor else form.get(CONSTANT, 0):
            raise _Contradiction
        unit = next((x for x, c in form.items() if x != CONSTANT and abs(c) == divisor), None)
        if divisor and unit is None:
            system += [form, times(-1, form)]
        elif divisor:
            form = {x: c // divisor for x, c in form.items()}
            value = times(-form[unit], plus(form, {unit: -form[unit]}))  # type: ignore[dict-item, index]

            def solved(other: Form, unit: Hashable = unit, value: Form = value) -> Form:
                return plus({x: c for x, c in other.items() if x != unit}, times(other.get(unit, 0), value))

            system, zero = [solved(f) for f in system], [solved(f) for f in zero]
    return _unique(system)


def _unique(system: Iterable[Form]) -> list[Form]:
    """Tight inequalities, of those that differ in the constant only the strictest."""
    least: dict[frozenset[tuple[Hashable, int]], Form] = {}
    for form in system:
        tight = _tight(form)
        if tight is not None:
            key = frozenset((x, c) for x, c in tight.items() if x != CONSTANT)
            if key not in least or tight.get(CONSTANT, 0) < least[key].get(CONSTANT, 0):
                least[key] = tight
    return list(least.values())


def _growth(system: list[Form], x: Hashable) -> int:
    lower = sum(form.get(x, 0) > 0 for form in system)
    upper = sum(form.get(x, 0) < 0 for form in system)
    return lower * upper - lower - upper


def _without(x: Hashable, system: list[Form]) -> list[Form]:
    """The shadow of a system along one symbol: each lower bound of it is at most each upper bound."""
    lower = [form for form in system if form.get(x, 0) > 0]
    upper = [form for form in system if form.get(x, 0) < 0]
    rest = [form for form in system if not form.get(x, 0)]
    return _unique([*rest, *(plus(times(-b[x], a), times(a[x], b)) for a in lower for b in upper)])
