"""Splittings of separable Hamiltonian systems: leapfrog, and Yoshida's method of order four."""

from __future__ import annotations

from adjointsim.ode.tableaus._numbers import root, row
from adjointsim.ode.tableaus._types import SplittingTableau

LEAPFROG = SplittingTableau(
    name="leapfrog",
    order=2,
    kick=row("1/2 1/2"),
    drift=row("1"),
    source=(
        "L. Verlet, Phys. Rev. 159 (1967) 98-103; the velocity form: W. C. Swope et al., J. Chem. Phys. 76 (1982) 637-649; "
        "E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2nd ed. (2006), section I.1.4"
    ),
)

# Three leapfrogs of lengths w1, w0, w1, whose errors of order three cancel: 2 w1 + w0 = 1 and 2 w1**3 + w0**3 = 0.
_W1 = 1 / (2 - root(2, 3))
_W0 = 1 - 2 * _W1
_ENDS, _INNER = _W1 / 2, (_W0 + _W1) / 2

YOSHIDA4 = SplittingTableau(
    name="yoshida4",
    order=4,
    kick=(_ENDS, _INNER, _INNER, _ENDS),
    drift=(_W1, _W0, _W1),
    source=(
        "H. Yoshida, Construction of higher order symplectic integrators, Phys. Lett. A 150 (1990) 262-268; "
        "E. Forest, R. D. Ruth, Fourth-order symplectic integration, Physica D 43 (1990) 105-117, with kicks and drifts exchanged"
    ),
)
