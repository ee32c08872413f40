"""The fits of :mod:`benchmarks.fits` by diffrax and optimistix: float64, one core, Levenberg and Marquardt's method with
Jacobians forward through the solver, all of it one jitted call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"  # before jax is imported

import diffrax as dx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from .fits import Optimum

jax.config.update("jax_enable_x64", True)

RTOL = 1e-8  # of the integration, as ours
METHOD = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8)


def solve(rhs: Callable, times, y0, p):
    """The states at these times, from 0 on."""
    return dx.diffeqsolve(
        dx.ODETerm(rhs), dx.Tsit5(), 0.0, times[-1], None, y0, p, max_steps=4096, adjoint=dx.ForwardMode(),
        saveat=dx.SaveAt(ts=times), stepsize_controller=dx.PIDController(rtol=RTOL, atol=RTOL, pcoeff=0.3, icoeff=0.4),
    ).ys  # fmt: skip


def fitted(residuals: Callable, z0, args: Any):
    """The logarithms at the optimum, the sum of squares and the number of steps."""
    done = optx.least_squares(residuals, METHOD, z0, args, options={"jac": "fwd"}, max_steps=200, throw=False)
    return done.value, jnp.sum(residuals(done.value, args) ** 2), done.stats["num_steps"]


def theophylline(data: Sequence[tuple[np.ndarray, np.ndarray, float]], start: np.ndarray, own: bool) -> Callable[[], Optimum]:
    """Twelve patients at once (``vmap``): one fit of what they share, or twelve fits."""
    times, seen = (jnp.stack([jnp.asarray(each[k]) for each in data]) for k in range(2))
    dose = jnp.array([each[2] for each in data])

    def rhs(t, y, p):
        absorbed = p[0] * y[0]
        return jnp.stack([-absorbed, absorbed - p[1] * y[1]])

    def one(z, given):
        t, c, d = given
        p = jnp.exp(z)
        return solve(rhs, t, jnp.stack([d, 0.0]), p)[:, 1] / p[2] - c

    def together(z, given):
        return jax.vmap(one, (None, 0))(z, given)

    if own:
        call = jax.jit(lambda z, given: jax.vmap(lambda g: fitted(one, z, g))(given))
    else:
        call = jax.jit(lambda z, given: fitted(together, z, given))
    given, z0 = (times, seen, dose), jnp.asarray(start)

    def run() -> Optimum:
        z, rss, steps = call(z0, given)
        return Optimum(np.exp(np.asarray(z)).ravel(), float(jnp.sum(rss)), f"{int(jnp.max(steps))} steps")

    return run


def lynx_hare(years: np.ndarray, counts: np.ndarray, start: np.ndarray) -> Callable[[], Optimum]:
    """Four rates and two populations, without bounds."""

    def rhs(t, y, p):
        return jnp.stack([(p[0] - p[1] * y[1]) * y[0], (p[3] * y[0] - p[2]) * y[1]])

    def residuals(z, given):
        times, logs = given
        p = jnp.exp(z)
        return jnp.log(solve(rhs, times, p[4:], p[:4])) - logs

    call = jax.jit(lambda z, given: fitted(residuals, z, given))
    given, z0 = (jnp.asarray(years), jnp.asarray(np.log(counts))), jnp.asarray(start)

    def run() -> Optimum:
        z, rss, steps = call(z0, given)
        return Optimum(np.exp(np.asarray(z)), float(rss), f"{int(steps)} steps")

    return run
