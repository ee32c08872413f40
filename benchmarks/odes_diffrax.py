"""The models of :mod:`benchmarks.odes_models` for diffrax and JAX: float64, one core, gradients of the steps taken by
diffrax's default, checkpointed reverse mode, jitted."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"  # before jax is imported

import diffrax as dx
import jax
import jax.numpy as jnp
import numpy as np

from .odes_models import DOSES, NEURAL_STEPS, Answer, Problem

jax.config.update("jax_enable_x64", True)

ROBERTSON_RTOL = 1e-7
BRUSSELATOR_RTOL = 1e-4


def solve(rhs: Callable, solver: dx.AbstractSolver, begin, end, y0, p, rtol: float, atol: float, save=None):
    """The solution at the end, or at ``save``."""
    return dx.diffeqsolve(
        dx.ODETerm(rhs), solver, begin, end, None, y0, p, max_steps=4096,
        saveat=dx.SaveAt(t1=True) if save is None else dx.SaveAt(ts=save),
        stepsize_controller=dx.PIDController(rtol=rtol, atol=atol, pcoeff=0.3, icoeff=0.4),
    ).ys  # fmt: skip


def gradient(value: Callable, given: Problem) -> Callable[[], Answer]:
    """A call of the jitted value and gradient by (y0, p)."""
    both = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
    at = jax.tree.map(jnp.asarray, (given.y0, given.p))

    def call() -> Answer:
        value, grads = both(*at)
        return float(value), [np.asarray(leaf) for leaf in jax.tree.leaves(grads)]

    return call


def lotka_volterra(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By Dopri5."""

    def rhs(t, y, p):
        return jnp.stack([(p[0] - p[1] * y[1]) * y[0], (p[2] * y[0] - p[3]) * y[1]])

    def value(y0, p):
        return jnp.sum((solve(rhs, dx.Dopri5(), 0.0, 10.0, y0, p, 1e-8, 1e-8, jnp.asarray(given.times)) - given.data) ** 2)

    return {"diffrax, Dopri5": gradient(value, given)}


def robertson(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By Kvaerno5."""

    def rhs(t, y, p):
        one, two, three = p.k1 * y[0], p.k2 * y[1] * y[1], p.k3 * y[1] * y[2]
        return jnp.stack([three - one, one - two - three, two])

    def value(y0, p):
        return solve(rhs, dx.Kvaerno5(), 0.0, 1e4, y0, p, ROBERTSON_RTOL, 1e-4 * ROBERTSON_RTOL)[0, 0]

    return {"diffrax, Kvaerno5": gradient(value, given)}


def brusselator(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By Kvaerno5, whose systems are dense."""
    n = len(given.y0) // 2

    def second(f, end):
        return jnp.concatenate([jnp.full(1, end), f[:-1]]) - 2.0 * f + jnp.concatenate([f[1:], jnp.full(1, end)])

    def rhs(t, w, p):
        u, v, square = w[0::2], w[1::2], (n + 1.0) ** 2
        reaction = u * u * v
        du = p.a + reaction - (p.b + 1.0) * u + p.d_u * square * second(u, 1.0)
        dv = p.e + p.b * u - reaction + p.d_v * square * second(v, 3.0)
        return jnp.stack([du, dv], axis=1).reshape(-1)

    def value(w, p):
        return jnp.mean(solve(rhs, dx.Kvaerno5(), 0.0, 10.0, w, p, BRUSSELATOR_RTOL, 0.1 * BRUSSELATOR_RTOL)[0] ** 2)

    return {"diffrax, Kvaerno5, dense": gradient(value, given)}


def kinetics(given: Problem) -> dict[str, Callable[[], Answer]]:
    """By Tsit5 from dose to dose: a scan, which is compiled once."""

    def rhs(t, y, p):
        there, back = p.q / p.v1 * y[0], p.q / p.v2 * y[1]
        return jnp.stack([back - there - p.clearance / p.v1 * y[0], there - back])

    ends = np.append(DOSES[1:], given.times[-1])
    inside = [given.times[(given.times >= a) & (given.times < b)] for a, b in zip(DOSES, ends, strict=True)]
    inside[-1] = np.append(inside[-1], given.times[-1])
    most = max(map(len, inside))
    # as many times in each interval: the end again and again, without weight
    save = np.array([[*each, *[end] * (most - len(each))] for each, end in zip(inside, ends, strict=True)])
    weight = np.array([[1.0] * len(each) + [0.0] * (most - len(each)) for each in inside])
    data = np.zeros_like(save)
    data[weight > 0] = given.data

    def value(y0, p):
        def interval(y, row):
            begin, end, times, weights, seen = row
            y = y + p.dose * jnp.array([1.0, 0.0])
            ys = solve(rhs, dx.Tsit5(), begin, end, y, p, 1e-8, 1e-8, jnp.append(times, end))
            return ys[-1], jnp.sum(weights * (ys[:-1, 0] / p.v1 - seen) ** 2)

        return jnp.sum(jax.lax.scan(interval, y0, tuple(map(jnp.asarray, (DOSES, ends, save, weight, data))))[1])

    return {"diffrax, Tsit5": gradient(value, given)}


def neural(given: Problem) -> dict[str, Callable[[], Answer]]:
    """RK4 as a scan."""
    h = 1.0 / NEURAL_STEPS

    def rhs(y, p):
        return jnp.tanh(jnp.tanh(y @ p.w1 + p.b1) @ p.w2 + p.b2) @ p.w3 + p.b3

    def value(y0, p):
        def step(y, _):
            k1 = rhs(y, p)
            k2 = rhs(y + 0.5 * h * k1, p)
            k3 = rhs(y + 0.5 * h * k2, p)
            k4 = rhs(y + h * k3, p)
            return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

        return jnp.mean((jax.lax.scan(step, y0, None, length=NEURAL_STEPS)[0] - given.data) ** 2)

    return {"JAX, scan of RK4": gradient(value, given)}
