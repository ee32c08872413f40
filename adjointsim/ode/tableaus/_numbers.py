"""Coefficients as they are published: fractions stay fractions, decimals keep all their digits, roots get sixty.

Everything is a ``fractions.Fraction``, so that order conditions can be checked to the last published digit; ``float``
rounds it to the nearest double, once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

__all__ = ["floats", "root", "row", "rows", "solve"]

#: decimal digits of an irrational coefficient
DIGITS = 60


def row(text: str) -> tuple[Fraction, ...]:
    """The numbers of a text, separated by blanks: ``row("1/3 -0.25 5.26e-2")``."""
    return tuple(Fraction(number) for number in text.split())


def rows(text: str) -> tuple[tuple[Fraction, ...], ...]:
    """The rows of a text, separated by semicolons; a row may be empty, as the first of an explicit method is."""
    return tuple(row(line) for line in text.split(";"))


def root(x: int, n: int) -> Fraction:
    """The real n-th root of a positive integer, to ``DIGITS`` decimals."""
    return solve(lambda r: r**n - x, lambda r: n * r ** (n - 1), float(x) ** (1.0 / n))


def solve(p: Callable[[Decimal], Decimal], slope: Callable[[Decimal], Decimal], guess: float) -> Fraction:
    """The simple zero of ``p`` next to ``guess``, to ``DIGITS`` decimals, by Newton's method."""
    with localcontext() as context:
        context.prec = DIGITS + 10
        x = Decimal(guess)
        for _ in range(4):  # a guess of fifteen digits: 30, 60, 70, and one to spare
            x -= p(x) / slope(x)
        return Fraction(round(x, DIGITS))


def floats(numbers):  # type: ignore[no-untyped-def]
    """The same nested tuples with every number rounded to the nearest double."""
    return tuple(map(floats, numbers)) if isinstance(numbers, tuple) else float(numbers)
