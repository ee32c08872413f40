"""The models of :mod:`benchmarks.odes_models` for CasADi: SUNDIALS' CVODES with its adjoint equations, right-hand sides and
Jacobians as C code compiled with -O3; and RK4 with fixed steps as a CasADi function, compiled as a whole with its reverse mode.

CVODES integrates the adjoint equations backward, so that its gradients are those of the equations, to its tolerances, not of its
steps.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import casadi as ca
import numpy as np

from .odes_models import DOSES, Answer, Problem

#: files are left where they are: in a folder that goes
COMPILED = {
    "jit": True, "jit_cleanup": False, "compiler": "shell",
    "jit_options": {"flags": ["-O3", "-march=native"], "cleanup": False},
}  # fmt: skip
ROBERTSON_RTOL = 1e-9
BRUSSELATOR_RTOL = 1e-7
KINETICS_RTOL = 1e-8
#: for what is not stiff, where BDF with Newton's method takes up to three times as long
ADAMS = {"linear_multistep_method": "adams", "nonlinear_solver_iteration": "functional"}
LOTKA_VOLTERRA_STEPS = 20  # of RK4 between two observations
KINETICS_STEPS = 120  # of RK4 in three hours
SUBSTEPS = 5  # written out in the code, for its compiler


@contextmanager
def scratch() -> Iterator[None]:
    """CasADi writes the C code where it is: let that be a folder that goes."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)


def cvodes(ode: dict, t0: float, times: list[float], rtol: float, atol: float, **more: object) -> ca.Function:
    """CVODES from ``t0``, with results at ``times``."""
    how = {"reltol": rtol, "abstol": atol, "max_num_steps": 100_000, **COMPILED, **more}
    return ca.integrator("solve", "cvodes", ode, t0, times, how)


def rk4(y: ca.SX, p: ca.SX, rate: ca.SX, h: float, steps: int) -> ca.Function:
    """``steps`` steps of RK4 of y' = ``rate`` as one function of y and p."""
    f, start, one = ca.Function("f", [y, p], [rate]), y, y
    for _ in range(SUBSTEPS):
        k1 = f(one, p)
        k2 = f(one + 0.5 * h * k1, p)
        k3 = f(one + 0.5 * h * k2, p)
        k4 = f(one + h * k3, p)
        one = one + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return ca.Function("steps", [start, p], [one]).mapaccum("all", steps // SUBSTEPS)


def gradient(y0: ca.MX, p: ca.MX, value: ca.MX, at: tuple, cut: list[int], compiled: bool = False) -> Callable[[], Answer]:
    """A call of the function that has the value and its derivatives by y0, and by p in pieces that begin at ``cut``."""
    found = [value, ca.gradient(value, y0), ca.gradient(value, p)]
    both = ca.Function("both", [y0, p], found, COMPILED if compiled else {})
    start, parameters = (ca.DM(np.asarray(each, float)) for each in at)

    def call() -> Answer:
        value, by_y0, by_p = both(start, parameters)
        return float(value), [by_y0.full().ravel(), *np.split(by_p.full().ravel(), cut)]

    return call


def lotka_volterra(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By CVODES, and by RK4 with as many steps as give an error like ours."""
    y, p = ca.SX.sym("y", 2), ca.SX.sym("p", 4)
    rate = ca.vertcat((p[0] - p[1] * y[1]) * y[0], (p[2] * y[0] - p[3]) * y[1])
    y0, q, m, n = ca.MX.sym("y0", 2), ca.MX.sym("q", 4), len(given.times), LOTKA_VOLTERRA_STEPS
    adaptive = cvodes({"x": y, "p": p, "ode": rate}, 0.0, list(given.times), 1e-8, 1e-8, **ADAMS)(x0=y0, p=q)["xf"]
    fixed = rk4(y, p, rate, given.times[0] / n, n * m)(y0, q)[:, n // SUBSTEPS - 1 :: n // SUBSTEPS]
    found = {"CasADi, CVODES (Adams)": (adaptive, False), "CasADi, fixed steps of RK4, compiled": (fixed, True)}
    return {
        name: gradient(y0, q, ca.sumsqr(seen - given.data.T), (given.y0, given.p), [], compiled)
        for name, (seen, compiled) in found.items()
    }


def robertson(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By CVODES."""
    y, p = ca.SX.sym("y", 3), ca.SX.sym("p", 3)
    one, two, three = p[0] * y[0], p[1] * y[1] * y[1], p[2] * y[1] * y[2]
    ode = {"x": y, "p": p, "ode": ca.vertcat(three - one, one - two - three, two)}
    solve = cvodes(ode, 0.0, [1e4], ROBERTSON_RTOL, 1e-4 * ROBERTSON_RTOL)
    y0, q = ca.MX.sym("y0", 3), ca.MX.sym("q", 3)
    value = solve(x0=y0, p=q)["xf"][0]
    return {"CasADi, CVODES (BDF)": gradient(y0, q, value, (given.y0, given.p), [1, 2])}


def brusselator(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By CVODES, with the sparse Jacobian."""
    n = len(given.y0) // 2
    w, p = ca.SX.sym("w", 2 * n), ca.SX.sym("p", 2 * n + 3)
    u, v, (b, d_u, d_v) = w[0::2], w[1::2], ca.vertsplit(p[2 * n :])
    reaction, square = u * u * v, (n + 1.0) ** 2

    def second(f: ca.SX, end: float) -> ca.SX:
        return ca.vertcat(end, f[:-1]) - 2.0 * f + ca.vertcat(f[1:], end)

    du = p[:n] + reaction - (b + 1.0) * u + d_u * square * second(u, 1.0)
    dv = p[n : 2 * n] + b * u - reaction + d_v * square * second(v, 3.0)
    ode = {"x": w, "p": p, "ode": ca.vec(ca.horzcat(du, dv).T)}
    solve = cvodes(ode, 0.0, [10.0], BRUSSELATOR_RTOL, 0.1 * BRUSSELATOR_RTOL, linear_solver="csparse")
    y0, q = ca.MX.sym("y0", 2 * n), ca.MX.sym("q", 2 * n + 3)
    value = ca.sumsqr(solve(x0=y0, p=q)["xf"]) / (2 * n)
    at = (given.y0, np.concatenate([np.atleast_1d(part) for part in given.p]))
    return {"CasADi, CVODES (BDF, sparse)": gradient(y0, q, value, at, [n, 2 * n, 2 * n + 1, 2 * n + 2])}


def kinetics(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By CVODES, and by RK4 with as many steps as give an error like ours, from dose to dose."""
    y, p = ca.SX.sym("y", 2), ca.SX.sym("p", 5)
    there, back = p[2] / p[1] * y[0], p[2] / p[3] * y[1]
    rate = ca.vertcat(back - there - p[0] / p[1] * y[0], there - back)
    gap, n, (y0, q) = float(given.times[0]), KINETICS_STEPS, (ca.MX.sym("y0", 2), ca.MX.sym("q", 5))

    def adaptive(state: ca.MX, times: np.ndarray) -> ca.MX:
        ode = {"x": y, "p": p, "ode": rate}
        return cvodes(ode, 0.0, list(times), KINETICS_RTOL, KINETICS_RTOL, **ADAMS)(x0=state, p=q)["xf"]

    def fixed(state: ca.MX, times: np.ndarray) -> ca.MX:
        return rk4(y, p, rate, gap / n, n * len(times))(state, q)[:, n // SUBSTEPS - 1 :: n // SUBSTEPS]

    def of(solve: Callable[[ca.MX, np.ndarray], ca.MX], compiled: bool) -> Callable[[], Answer]:
        state, value = y0, 0.0
        for begin, end in zip(DOSES, [*DOSES[1:], given.times[-1]], strict=True):
            chosen = (given.times > begin) & (given.times <= end)
            found = solve(state + ca.vertcat(q[4], 0.0), given.times[chosen] - begin)
            state = found[:, -1]
            if end in DOSES:  # an observation at a dose is after it
                found = found + ca.horzcat(ca.MX(2, found.shape[1] - 1), ca.vertcat(q[4], 0.0))
            value += ca.sumsqr(found[0, :] / q[1] - given.data[chosen][None, :])
        return gradient(y0, q, value, (given.y0, given.p), [1, 2, 3, 4], compiled)

    return {"CasADi, CVODES (Adams)": of(adaptive, False), "CasADi, fixed steps of RK4, compiled": of(fixed, True)}
