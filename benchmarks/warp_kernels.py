"""Two workloads in Warp, on the processor: a tape of launches, and an array for each state."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp

from benchmarks.workload import Workload
from benchmarks.workloads import burgers as b
from benchmarks.workloads import wave as w

wp.config.log_level = wp.LOG_ERROR
Vector = wp.array(dtype=wp.float64)
Field = wp.array2d(dtype=wp.float64)
DT, DX = wp.constant(wp.float64(b.DT)), wp.constant(wp.float64(b.DX))
R, DEPTH = wp.constant(wp.float64(w.R)), wp.constant(w.DEPTH)


@wp.kernel
def burgers_step(u: Vector, nu: Vector, out: Vector):
    i = wp.tid()
    if i == 0 or i == u.shape[0] - 1:
        out[i] = u[i]
    else:
        two = wp.float64(2.0)
        a = DT / (two * DX)
        k = nu[0] * DT / (DX * DX)
        out[i] = u[i] - a * u[i] * (u[i + 1] - u[i - 1]) + k * (u[i + 1] - two * u[i] + u[i - 1])


@wp.kernel
def burgers_energy(u: Vector, total: Vector):
    i = wp.tid()
    wp.atomic_add(total, 0, wp.float64(0.5) * u[i] * u[i])


@wp.kernel
def wave_step(u: Field, before: Field, c: Field, source: wp.float64, out: Field):
    i, j = wp.tid()
    rows, columns = u.shape[0], u.shape[1]
    if i > 0 and j > 0 and i < rows - 1 and j < columns - 1:
        around = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - wp.float64(4.0) * u[i, j]
        new = wp.float64(2.0) * u[i, j] - before[i, j] + R * c[i, j] * c[i, j] * around
        if i == rows / 4 and j == columns / 2:
            new = new + source
        out[i, j] = new


@wp.kernel
def wave_misfit(u: Field, data: Field, n: int, total: Vector):
    r = wp.tid()
    d = u[DEPTH, 4 * r + 2] - data[n, r]
    wp.atomic_add(total, 0, wp.float64(0.5) * d * d)


def _array(x: Any, grad: bool = True) -> wp.array:
    return wp.array(np.atleast_1d(np.asarray(x, float)), dtype=wp.float64, requires_grad=grad, device="cpu")


def _burgers(n_steps: int, u0: Any, nu: Any) -> Any:
    states, rate = [_array(u0) for _ in range(n_steps + 1)], _array(nu)

    def record(total: wp.array) -> None:
        for n in range(n_steps):
            wp.launch(burgers_step, dim=len(u0), inputs=[states[n], rate], outputs=[states[n + 1]], device="cpu")
        wp.launch(burgers_energy, dim=len(u0), inputs=[states[-1]], outputs=[total], device="cpu")

    return record, [states[0], rate]


def _wave(n_steps: int, y0: Any, p: Any) -> Any:
    fields, c, data = [_array(y0[0] * 0.0) for _ in range(n_steps + 2)], _array(p.c), _array(p.data, grad=False)

    def record(total: wp.array) -> None:
        for n in range(n_steps):
            a = np.pi * w.FREQUENCY * (n * w.DT - 1.0 / w.FREQUENCY)
            source = wp.float64((1.0 - 2.0 * a * a) * np.exp(-a * a))
            given = [fields[n + 1], fields[n], c, source]
            wp.launch(wave_step, dim=p.c.shape, inputs=given, outputs=[fields[n + 2]], device="cpu")
            wp.launch(wave_misfit, dim=p.data.shape[1], inputs=[fields[n + 2], data, n], outputs=[total], device="cpu")

    return record, [c]


def warp_contenders(workload: Workload, n_steps: int, y0: Any, p: Any) -> dict[str, Any]:
    """The gradient of a workload that is written above."""
    makers = {"burgers": _burgers, "wave": _wave}
    if workload.name not in makers:
        return {}
    record, inputs = makers[workload.name](n_steps, y0, p)
    total = wp.zeros(1, dtype=wp.float64, requires_grad=True, device="cpu")

    def gradient() -> tuple[Any, Any]:
        total.zero_()
        with wp.Tape() as tape:
            record(total)
        tape.backward(total)
        found = float(total.numpy()[0]), tuple([x.grad.numpy().copy() for x in inputs])
        tape.zero()
        return found

    return {"tape": (gradient, gradient)}
