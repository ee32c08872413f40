"""LAPACK inside a step: heat in a rod by implicit steps, whose systems are banded.

Each step solves (I + dt K) u_next = u + dt q, where K is the fourth-order finite-difference operator of -(k u_x)_x with the
conductivity k of eight pieces of the rod: five diagonals.  The solver is LAPACK's ``dgbsv``, called by its address from compiled
code.  The library cannot look into it, so ``adj.custom_vjp`` says what its derivative is: one more solve, with the transposed
matrix.  From the temperatures that sensors record while the ends are held at zero, the eight conductivities are recovered.

    python examples/banded_rod.py [--cells 120] [--steps 300]
"""

from __future__ import annotations

import argparse
import ctypes
from typing import NamedTuple

import numba
import numpy as np
from numba.extending import get_cython_function_address
from scipy.optimize import minimize

import adjointsim as adj

BANDS = 2  # diagonals on either side of the main one
PIECES = 8
DT = 2.0  # in units of dx^2 / (typical conductivity)

_address = get_cython_function_address("scipy.linalg.cython_lapack", "dgbsv")
dgbsv = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 10)(_address)


@numba.njit
def lapack_solve(bands, b):
    """``x`` with A x = b; ``bands[BANDS + i - j, j]`` is A[i, j], as in scipy.linalg.solve_banded."""
    n = len(b)
    factors = np.zeros((n, 3 * BANDS + 1))  # LAPACK's columns are our rows, with room for pivoting
    for j in range(n):
        for k in range(2 * BANDS + 1):
            factors[j, BANDS + k] = bands[k, j]
    x = b.copy()
    sizes, pivots = np.zeros(5, np.int32), np.empty(n, np.int32)  # n, bands, right sides, rows of the storage, error
    sizes[0], sizes[1], sizes[2], sizes[3] = n, BANDS, 1, 3 * BANDS + 1
    dgbsv(
        sizes.ctypes, sizes[1:].ctypes, sizes[1:].ctypes, sizes[2:].ctypes, factors.ctypes, sizes[3:].ctypes, pivots.ctypes,
        x.ctypes, sizes.ctypes, sizes[4:].ctypes,
    )  # fmt: skip
    if sizes[4] != 0:
        raise ValueError("the banded matrix is singular")
    return x


@numba.njit
def transposed(bands):
    """The bands of the transposed matrix."""
    n = bands.shape[1]
    out = np.zeros_like(bands)
    for j in range(n):
        for i in range(max(0, j - BANDS), min(n, j + BANDS + 1)):
            out[BANDS + i - j, j] = bands[BANDS + j - i, i]
    return out


solve_banded = adj.custom_vjp(lapack_solve)


@solve_banded.defvjp
def solve_banded_vjp(x, x_bar, bands, b):
    """b_bar = A^-T x_bar, and A_bar = -b_bar x^T on the diagonals that there are."""
    b_bar = lapack_solve(transposed(bands), x_bar)
    bands_bar = np.zeros_like(bands)
    for j in range(len(x)):
        for i in range(max(0, j - BANDS), min(len(x), j + BANDS + 1)):
            bands_bar[BANDS + i - j, j] = -b_bar[i] * x[j]
    return bands_bar, b_bar


class Rod(NamedTuple):
    """Logarithms of the conductivities of the pieces, and the heating of each cell."""

    log_k: np.ndarray
    heating: np.ndarray


@adj.step
def implicit_step(n, u, p):
    """(I + dt K) u_next = u + dt q: fluxes at the faces between cells, from four cells each, from two next to the ends."""
    cells = len(u)
    bands = np.zeros((2 * BANDS + 1, cells))
    bands[BANDS] = 1.0
    for face in range(cells + 1):  # between the cells face - 1 and face
        k = np.exp(p.log_k[min(face, cells - 1) * PIECES // cells])
        # weights of the cells face - 2 .. face + 1 in u_x at the face; beyond the ends the temperature is 0
        inner = 2 <= face <= cells - 2
        for side in range(2):
            i = face - 1 + side  # the cell that loses (or gains) the flux
            if 0 <= i < cells:
                sign = -DT * k if side == 0 else DT * k
                for offset in range(-2, 2):
                    j = face + offset
                    near = offset == -1 or offset == 0
                    weight = (27.0 / 24.0 if near else -1.0 / 24.0) if inner else (1.0 if near else 0.0)
                    if 0 <= j < cells:
                        bands[BANDS + i - j, j] += sign * (weight if offset >= 0 else -weight)
    return solve_banded(bands, u + DT * p.heating)


def sensors(n, u, p):
    """Every tenth cell."""
    return u[5::10].copy()


def rod(cells: int = 120) -> Rod:
    """The rod to recover, heated more on one side than on the other."""
    heating = (1.0 + np.arange(cells) / cells) / cells
    return Rod(np.log(np.array([1.0, 0.5, 2.0, 1.0, 0.3, 1.5, 0.8, 1.2])), heating)


def recover(cells: int = 120, steps: int = 300, iterations: int = 80) -> tuple[np.ndarray, float]:
    """The logarithms of the conductivities found from the sensors, and the largest error of a conductivity in per cent."""
    truth = rod(cells)
    observe_at = np.arange(0, steps + 1, max(1, steps // 20))
    data = adj.Simulation(implicit_step, steps, observe=sensors, observe_at=observe_at).run(np.zeros(cells), truth).observations
    scale = float(np.mean(data**2))

    def misfit(k, seen, p):
        return np.sum((seen - data[k]) ** 2) / scale

    sim = adj.Simulation(implicit_step, steps, observe=sensors, observe_at=observe_at, misfit=misfit)

    def value(log_k):
        found, grad = sim.value_and_grad(np.zeros(cells), Rod(log_k, truth.heating), wrt="p.log_k")
        return found, grad.p.log_k

    found = minimize(value, np.zeros(PIECES), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "ftol": 1e-15})
    return found.x, float(100.0 * np.max(np.abs(np.exp(found.x - truth.log_k) - 1.0)))


def main(arguments: list[str] | None = None) -> None:
    """Recover, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=120)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args(arguments)
    log_k, error = recover(options.cells, options.steps)
    print("piece       true  recovered")
    for piece, (true, found) in enumerate(zip(np.exp(rod(options.cells).log_k), np.exp(log_k), strict=True)):
        print(f"{piece:5d} {true:10.4f} {found:10.4f}")
    print(f"largest error: {error:.2g} %")


if __name__ == "__main__":
    main()
