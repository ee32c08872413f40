"""A small model and one gradient of it; :mod:`benchmarks.first_gradient` runs this file in processes of its own."""

import time

BEGAN = time.perf_counter()

import numpy as np  # noqa: E402  the clock starts before the imports

import adjointsim as adj  # noqa: E402

IMPORTED = time.perf_counter()


@adj.step
def heat(n, u, kappa):
    out = np.empty_like(u)
    out[0] = u[0]
    out[-1] = u[-1]
    for i in range(1, len(u) - 1):
        out[i] = u[i] + kappa * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return out


def middle(u, kappa):
    return u[len(u) // 2]


if __name__ == "__main__":
    sim = adj.Simulation(heat, 1000, terminal=middle)
    value, grad = sim.value_and_grad(np.sin(np.linspace(0.0, np.pi, 101)), 0.25)
    done = time.perf_counter()
    print(IMPORTED - BEGAN, done - IMPORTED, value, grad.p)
