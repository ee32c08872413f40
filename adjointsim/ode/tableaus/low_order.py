"""Explicit methods of textbooks: Euler, Heun, midpoint, and the classical method of order four.

Tables: E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd ed. (1993), section II.1.
"""

from __future__ import annotations

from adjointsim.ode.tableaus._numbers import row, rows
from adjointsim.ode.tableaus._types import ExplicitTableau

EULER = ExplicitTableau(
    name="euler",
    order=1,
    a=rows(""),
    b=row("1"),
    c=row("0"),
    source="L. Euler, Institutionum calculi integralis I (1768), section II, chapter 7; Hairer, Norsett, Wanner I, section I.7",
)

HEUN = ExplicitTableau(
    name="heun",
    order=2,
    a=rows("; 1"),
    b=row("1/2 1/2"),
    c=row("0 1"),
    error=row("-1/2 1/2"),  # against Euler's method, b_hat = (1, 0)
    error_order=1,
    source="K. Heun, Z. Math. Phys. 45 (1900) 23-38, the trapezoidal rule with Euler's predictor; embedded: Euler's method",
)

MIDPOINT = ExplicitTableau(
    name="midpoint",
    order=2,
    a=rows("; 1/2"),
    b=row("0 1"),
    c=row("0 1/2"),
    error=row("-1 1"),  # against Euler's method, b_hat = (1, 0)
    error_order=1,
    source="C. Runge, Math. Ann. 46 (1895) 167-178; Hairer, Norsett, Wanner I, section II.1; embedded: Euler's method",
)

RK4 = ExplicitTableau(
    name="rk4",
    order=4,
    a=rows("; 1/2; 0 1/2; 0 0 1"),
    b=row("1/6 1/3 1/3 1/6"),
    c=row("0 1/2 1/2 1"),
    source="W. Kutta, Z. Math. Phys. 46 (1901) 435-453; Hairer, Norsett, Wanner I, table II.1.2",
)
