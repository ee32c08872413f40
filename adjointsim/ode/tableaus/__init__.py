"""Coefficients of ODE methods as data: ``TABLEAUS`` by name, ``ALIASES`` for other names, ``HINTS`` for what is not here.

Their algebra is tested: order conditions of every rooted tree to the last published digit, embedded solutions, continuous
extensions, stability.  A new method is a file of data, and an entry below.
"""

from __future__ import annotations

from adjointsim.errors import ArgumentError
from adjointsim.ode.tableaus._numbers import floats
from adjointsim.ode.tableaus._types import Dense, DirkTableau, ExplicitTableau, RosenbrockTableau, SplittingTableau
from adjointsim.ode.tableaus.bosh3 import BOSH3
from adjointsim.ode.tableaus.dirk_low_order import CRANK_NICOLSON, IMPLICIT_EULER, IMPLICIT_MIDPOINT, SDIRK2, TRBDF2
from adjointsim.ode.tableaus.dop853 import DOP853
from adjointsim.ode.tableaus.dopri5 import DOPRI5
from adjointsim.ode.tableaus.kencarp4 import KENCARP4
from adjointsim.ode.tableaus.kvaerno import KVAERNO3, KVAERNO5
from adjointsim.ode.tableaus.low_order import EULER, HEUN, MIDPOINT, RK4
from adjointsim.ode.tableaus.rodas5p import RODAS5P
from adjointsim.ode.tableaus.splitting import LEAPFROG, YOSHIDA4
from adjointsim.ode.tableaus.tsit5 import TSIT5

__all__ = [
    "ALIASES", "HINTS", "TABLEAUS", "Dense", "DirkTableau", "ExplicitTableau", "RosenbrockTableau", "SplittingTableau", "Tableau",
    "find", "floats",
]  # fmt: skip

Tableau = ExplicitTableau | DirkTableau | RosenbrockTableau | SplittingTableau

#: every method by its name in lower case
TABLEAUS: dict[str, Tableau] = {
    tableau.name: tableau
    for tableau in (
        EULER, HEUN, MIDPOINT, BOSH3, RK4, DOPRI5, TSIT5, DOP853,
        LEAPFROG, YOSHIDA4,
        IMPLICIT_EULER, CRANK_NICOLSON, IMPLICIT_MIDPOINT, SDIRK2, TRBDF2, KVAERNO3, KENCARP4, KVAERNO5,
        RODAS5P,
    )
}  # fmt: skip

#: other names of the same methods, in lower case
ALIASES: dict[str, str] = {
    # SciPy and MATLAB
    "rk23": "bosh3", "rk45": "dopri5", "ode23": "bosh3", "ode45": "dopri5", "ode23tb": "trbdf2",
    # the names of textbooks
    "forward_euler": "euler", "explicit_euler": "euler", "backward_euler": "implicit_euler",
    "heun_euler": "heun", "explicit_midpoint": "midpoint", "runge_kutta": "rk4", "bogacki_shampine": "bosh3",
    "dormand_prince": "dopri5", "tsitouras": "tsit5",
    "trapezoid": "crank_nicolson", "trapezoidal": "crank_nicolson", "alexander2": "sdirk2", "tr_bdf2": "trbdf2",
    "verlet": "leapfrog", "velocity_verlet": "leapfrog", "stormer_verlet": "leapfrog",
    "yoshida": "yoshida4", "forest_ruth": "yoshida4",
}  # fmt: skip

_STIFF = 'for a stiff problem take "rodas5p" (few unknowns, tight tolerances) or "kvaerno3" or "kvaerno5" (many unknowns)'

#: methods of other libraries that are none of ours, in lower case, and what to take instead
HINTS: dict[str, str] = {
    "radau": f"Radau IIA couples its stages in one system; {_STIFF}",
    "bdf": f"BDF keeps several past steps; {_STIFF}",
    "lsoda": f'LSODA switches between Adams and BDF; take "tsit5", and {_STIFF}',
    "odeint": f'odeint is LSODA; take "tsit5", and {_STIFF}',
    "vode": f'VODE is Adams or BDF; take "tsit5", and {_STIFF}',
    "ode15s": f"ode15s keeps several past steps; {_STIFF}",
    "ode23s": 'ode23s is a Rosenbrock method of order two; take "rodas5p"',
}


def find(name: str) -> Tableau:
    """The coefficients of a method by its name or one of ``ALIASES``; case does not matter, "-" and " " read as "_".

    Raises ``ArgumentError`` for another name; for a method that another library has, it says which of ours to take.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"Got method as a {type(name).__name__}, but expected a name: {', '.join(TABLEAUS)}")
    key = name.lower().replace("-", "_").replace(" ", "_")
    key = ALIASES.get(key, key)
    if key in TABLEAUS:
        return TABLEAUS[key]
    if key in HINTS:
        raise ArgumentError(f"Got method={name!r}, which is not one of ours: {HINTS[key]}")
    raise ArgumentError(f"Got method={name!r}, but expected one of {', '.join(TABLEAUS)}")
