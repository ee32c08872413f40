"""Exact gradients of time-stepping simulations written as ordinary Python.

    import adjointsim as adj

    @adj.step
    def decay(n, y, p):
        return y - p * y

    sim = adj.Simulation(decay, n_steps=100, terminal=lambda y, p: y * y)
    value, grad = sim.value_and_grad(1.0, 0.01)

``adj.errors``, ``adj.random``, ``adj.schedules`` and ``adj.testing`` are modules; everything else is in the module of its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adjointsim.step import step  # not late: the function must win over the module of the same name

if TYPE_CHECKING:
    from adjointsim import errors, random, schedules, testing
    from adjointsim.custom import custom_vjp
    from adjointsim.fitting import Experiment, FitResult, fit
    from adjointsim.functions import grad, hvp, jacobian, jvp, value_and_grad, vjp
    from adjointsim.implicit import root
    from adjointsim.ode import ODE, SDE, Event, Jump
    from adjointsim.simulation import Simulation

    __version__: str

__all__ = [
    "ODE", "SDE", "Event", "Experiment", "FitResult", "Jump", "Simulation", "__version__", "custom_vjp", "errors", "fit", "grad",
    "hvp", "jacobian", "jvp", "random", "root", "schedules", "step", "testing", "value_and_grad", "vjp",
]  # fmt: skip

#: where each name is: loaded when it is first used, so that importing the package does not wait for Numba
_HOMES = {
    "Event": "ode", "Jump": "ode", "ODE": "ode", "SDE": "ode",
    "Experiment": "fitting", "FitResult": "fitting", "fit": "fitting",
    "Simulation": "simulation", "custom_vjp": "custom", "grad": "functions", "hvp": "functions", "jacobian": "functions",
    "jvp": "functions", "root": "implicit", "value_and_grad": "functions", "vjp": "functions", "errors": "", "random": "",
    "schedules": "", "testing": "",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("adjointsim")
        except PackageNotFoundError:  # run from a source tree
            value = "0+unknown"
    elif name in _HOMES:
        home = import_module(f"adjointsim.{_HOMES[name] or name}")
        value = getattr(home, name) if _HOMES[name] else home
    else:
        raise AttributeError(f"module 'adjointsim' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
