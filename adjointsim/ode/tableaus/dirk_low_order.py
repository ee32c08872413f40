"""Implicit methods of one and two implicit stages: Euler, trapezoidal and midpoint rule, Alexander's SDIRK, TR-BDF2."""

from __future__ import annotations

from fractions import Fraction

from adjointsim.ode.tableaus._numbers import root, row, rows
from adjointsim.ode.tableaus._types import DirkTableau

IMPLICIT_EULER = DirkTableau(
    name="implicit_euler",
    order=1,
    a=rows("1"),
    b=row("1"),
    c=row("1"),
    stability="L",
    source="E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed. (1996), sections IV.3 and IV.5",
)

CRANK_NICOLSON = DirkTableau(
    name="crank_nicolson",
    order=2,
    a=rows("0; 1/2 1/2"),
    b=row("1/2 1/2"),
    c=row("0 1"),
    stability="A",
    source="J. Crank, P. Nicolson, Proc. Camb. Phil. Soc. 43 (1947) 50-67; Hairer, Wanner II, section IV.5 (Lobatto IIIA, s = 2)",
)

IMPLICIT_MIDPOINT = DirkTableau(
    name="implicit_midpoint",
    order=2,
    a=rows("1/2"),
    b=row("1"),
    c=row("1/2"),
    stability="A",
    source="Hairer, Wanner II, section IV.5 (Gauss, s = 1); symplectic: Hairer, Lubich, Wanner (2006), section VI.4",
)

_G = 1 - root(2, 2) / 2

SDIRK2 = DirkTableau(
    name="sdirk2",
    order=2,
    a=((_G,), (1 - _G, _G)),
    b=(1 - _G, _G),
    c=(_G, Fraction(1)),
    # Alexander gives no estimate.  This one is against b_hat = (0, 1), which is of order one and costs nothing.
    error=(1 - _G, _G - 1),
    error_order=1,
    stability="L",
    source=(
        "R. Alexander, Diagonally implicit Runge-Kutta methods for stiff ODEs, SIAM J. Numer. Anal. 14 (1977) 1006-1021, "
        "the L-stable method of two stages, gamma = 1 - 1/sqrt(2)"
    ),
)

# gamma is the intermediate time in this paper, and d the diagonal.
_D = 1 - root(2, 2) / 2
_W = root(2, 2) / 4

TRBDF2 = DirkTableau(
    name="trbdf2",
    order=2,
    a=((Fraction(0),), (_D, _D), (_W, _W, _D)),
    b=(_W, _W, _D),
    c=(Fraction(0), 2 * _D, Fraction(1)),
    # b_hat = ((1 - w)/3, (3 w + 1)/3, d/3)
    error=(_W - (1 - _W) / 3, _W - (3 * _W + 1) / 3, _D - _D / 3),
    error_order=3,
    stability="L",
    source=(
        "M. E. Hosea, L. F. Shampine, Analysis and implementation of TR-BDF2, Appl. Numer. Math. 20 (1996) 21-37, "
        "the tableau with gamma = 2 - sqrt(2), d = gamma/2, w = sqrt(2)/4"
    ),
)
