"""A model of three fields in the plane and one gradient of it; :mod:`benchmarks.first_gradient` runs this file in processes of
its own."""

import time

BEGAN = time.perf_counter()

import numpy as np  # noqa: E402  the clock starts before the imports

from benchmarks.workloads.shallow_water import WORKLOAD  # noqa: E402

IMPORTED = time.perf_counter()

if __name__ == "__main__":
    size, n_steps = WORKLOAD.tiny
    y0, p = WORKLOAD.problem(size, n_steps)
    value, grad = WORKLOAD.simulation(n_steps).value_and_grad(y0, p)
    done = time.perf_counter()
    print(IMPORTED - BEGAN, done - IMPORTED, value, sum(float(np.sum(bar)) for bar in grad.y0))
