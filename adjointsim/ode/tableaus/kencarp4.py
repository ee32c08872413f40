"""The implicit half of Kennedy and Carpenter's additive pair 4(3): an ESDIRK of six stages with rational coefficients."""

from __future__ import annotations

from adjointsim.ode.tableaus._numbers import row, rows
from adjointsim.ode.tableaus._types import DirkTableau

_B = "82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4"
_B_HAT = "4586570599/29645900160 0 178811875/945068544 814220225/1159782912 -3700637/11593932 61727/225920"

KENCARP4 = DirkTableau(
    name="kencarp4",
    order=4,
    a=rows(
        "0"
        "; 1/4 1/4"
        "; 8611/62500 -1743/31250 1/4"
        "; 5012029/34652500 -654441/2922500 174375/388108 1/4"
        "; 15267082809/155376265600 -71443401/120774400 730878875/902184768 2285395/8070912 1/4"
        f"; {_B}"
    ),
    b=row(_B),
    c=row("0 1/2 83/250 31/50 17/20 1"),
    error=tuple(b - b_hat for b, b_hat in zip(row(_B), row(_B_HAT))),
    error_order=3,
    stability="L",
    source=(
        "C. A. Kennedy, M. H. Carpenter, Additive Runge-Kutta schemes for convection-diffusion-reaction equations, "
        "Appl. Numer. Math. 44 (2003) 139-181, ARK4(3)6L[2]SA-ESDIRK"
    ),
)
