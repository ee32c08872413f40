"""Kvaerno's pairs 3(2) and 5(4): explicit first stage, stiffly accurate, the solution L-stable and the embedded one A-stable."""

from __future__ import annotations

from fractions import Fraction

from adjointsim.ode.tableaus._numbers import row, rows, solve
from adjointsim.ode.tableaus._types import DirkTableau

_SOURCE = "A. Kvaerno, Singly diagonally implicit Runge-Kutta methods with an explicit first stage, BIT 44 (2004) 489-502, "

# gamma is the middle zero of gamma**3 - 3 gamma**2 + 3/2 gamma - 1/6, where R(infinity) = 0.
_G = solve(lambda g: ((6 * g - 18) * g + 9) * g - 1, lambda g: (18 * g - 36) * g + 9, 0.4358665215)
_A31, _A32 = (-4 * _G**2 + 6 * _G - 1) / (4 * _G), (1 - 2 * _G) / (4 * _G)
_B1, _B2, _B3 = (6 * _G - 1) / (12 * _G), -1 / (12 * _G * (2 * _G - 1)), (-6 * _G**2 + 6 * _G - 1) / (3 * (2 * _G - 1))

KVAERNO3 = DirkTableau(
    name="kvaerno3",
    order=3,
    a=((Fraction(0),), (_G, _G), (_A31, _A32, _G), (_B1, _B2, _B3, _G)),
    b=(_B1, _B2, _B3, _G),
    c=(Fraction(0), 2 * _G, Fraction(1), Fraction(1)),
    error=(_B1 - _A31, _B2 - _A32, _B3 - _G, _G),  # b_hat is the row of the third stage
    error_order=2,
    stability="L",
    source=_SOURCE + "orders 3(2) in four stages",
)

_A5 = "0.13855640231268224 0 -0.04245337201752043 0.02446657898003141 0.61943039072480676 0.26"
_A6 = "0.13659751177640291 0 -0.05496908796538376 -0.04118626728321046 0.62993304899016403 0.06962479448202728 0.26"

KVAERNO5 = DirkTableau(
    name="kvaerno5",
    order=5,
    a=rows(
        "0"
        "; 0.26 0.26"
        "; 0.13 0.84033320996790809 0.26"
        "; 0.22371961478320505 0.47675532319799699 -0.06470895363112615 0.26"
        "; 0.16648564323248321 0.10450018841591720 0.03631482272098715 -0.13090704451073998 0.26"
        f"; {_A5}; {_A6}"
    ),
    b=row(_A6),
    c=row("0 0.52 1.23033320996790809 0.89576598435007589 0.43639360985864756 1 1"),
    error=tuple(new - old for new, old in zip(row(_A6), row(_A5 + " 0"))),  # b_hat is the row of the sixth stage
    error_order=4,
    stability="L",
    source=_SOURCE + "orders 5(4) in seven stages, gamma = 0.26",
)
