"""The gradient of :mod:`benchmarks.small_model` written by hand for Numba, with Numba's own cache: what the wait is beside."""

import time

BEGAN = time.perf_counter()

import numpy as np  # noqa: E402  the clock starts before the imports
from numba import njit  # noqa: E402

IMPORTED = time.perf_counter()


@njit(cache=True, error_model="numpy")
def heat(u, kappa, out):
    """One step."""
    out[0] = u[0]
    out[-1] = u[-1]
    for i in range(1, len(u) - 1):
        out[i] = u[i] + kappa * (u[i - 1] - 2.0 * u[i] + u[i + 1])


@njit(cache=True, error_model="numpy")
def heat_vjp(u, kappa, out_bar, u_bar):
    """Its adjoint: writes ``u_bar``, returns the cotangent of kappa."""
    u_bar[:] = 0.0
    u_bar[0] = out_bar[0]
    u_bar[-1] = out_bar[-1]
    kappa_bar = 0.0
    for i in range(1, len(u) - 1):
        b = out_bar[i]
        u_bar[i - 1] += kappa * b
        u_bar[i] += b - 2.0 * kappa * b
        u_bar[i + 1] += kappa * b
        kappa_bar += (u[i - 1] - 2.0 * u[i] + u[i + 1]) * b
    return kappa_bar


@njit(cache=True, error_model="numpy")
def value_and_grad(u0, kappa, n_steps):
    """Every state stored."""
    states = np.empty((n_steps + 1, len(u0)))
    states[0] = u0
    for n in range(n_steps):
        heat(states[n], kappa, states[n + 1])
    middle = len(u0) // 2
    bar, other = np.zeros(len(u0)), np.zeros(len(u0))
    bar[middle] = 1.0
    kappa_bar = 0.0
    for n in range(n_steps - 1, -1, -1):
        kappa_bar += heat_vjp(states[n], kappa, bar, other)
        bar, other = other, bar
    return states[n_steps, middle], bar, kappa_bar


if __name__ == "__main__":
    value, _, kappa_bar = value_and_grad(np.sin(np.linspace(0.0, np.pi, 101)), 0.25, 1000)
    done = time.perf_counter()
    print(IMPORTED - BEGAN, done - IMPORTED, value, kappa_bar)
