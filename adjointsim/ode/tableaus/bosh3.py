"""The 3(2) pair of Bogacki and Shampine, SciPy's RK23."""

from __future__ import annotations

from adjointsim.ode.tableaus._numbers import row, rows
from adjointsim.ode.tableaus._types import Dense, ExplicitTableau

BOSH3 = ExplicitTableau(
    name="bosh3",
    order=3,
    a=rows("; 1/2; 0 3/4; 2/9 1/3 4/9"),
    b=row("2/9 1/3 4/9 0"),
    c=row("0 1/2 3/4 1"),
    error=row("-5/72 1/12 1/9 -1/8"),  # b_hat = (7/24, 1/4, 1/3, 1/8)
    error_order=2,
    fsal=True,
    # The cubic Hermite polynomial of both ends, written in the stages.
    dense=Dense(order=3, coefficients=rows("1 -4/3 5/9; 0 1 -2/3; 0 4/3 -8/9; 0 -1 1")),
    source="P. Bogacki, L. F. Shampine, A 3(2) pair of Runge-Kutta formulas, Appl. Math. Lett. 2 (1989) 321-325",
)
