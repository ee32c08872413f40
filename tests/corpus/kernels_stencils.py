"""Stencils on grids as people write them: by slices and by loops, in time, in place, in parallel."""

import math

import numpy as np
from numba import prange

from . import case


def _sample(*shape, seed=0):
    return np.round(np.random.default_rng([seed, *shape]).uniform(-1.0, 1.0, shape), 2)


# ------------------------------------------------------------------------------------------------------------- averages
@case(args=(3, _sample(6), _sample(6, seed=1)))
def two_buffers_in_one_dimension(steps, A, B):
    for _ in range(1, steps):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
    return A, B


@case(args=(2, _sample(5, 4), _sample(5, 4, seed=1)))
def two_buffers_in_two_dimensions(steps, A, B):
    for _ in range(steps):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])
    return A


@case(args=(2, _sample(5, 4), _sample(5, 4, seed=1)))
def two_buffers_by_loops(steps, A, B):
    n, m = A.shape
    for _ in range(steps):
        for i in prange(1, n - 1):
            for j in range(1, m - 1):
                B[i, j] = 0.2 * (A[i, j] + A[i, j - 1] + A[i, j + 1] + A[1 + i, j] + A[i - 1, j])
        for i in prange(1, n - 1):
            for j in range(1, m - 1):
                A[i, j] = 0.2 * (B[i, j] + B[i, j - 1] + B[i, j + 1] + B[1 + i, j] + B[i - 1, j])
    return A, B


@case(args=(2, _sample(4, 3, 4), _sample(4, 3, 4, seed=1)))
def heat_in_three_dimensions(steps, A, B):
    for _ in range(1, steps):
        B[1:-1, 1:-1, 1:-1] = (
            0.125 * (A[2:, 1:-1, 1:-1] - 2.0 * A[1:-1, 1:-1, 1:-1] + A[:-2, 1:-1, 1:-1])
            + 0.125 * (A[1:-1, 2:, 1:-1] - 2.0 * A[1:-1, 1:-1, 1:-1] + A[1:-1, :-2, 1:-1])
            + 0.125 * (A[1:-1, 1:-1, 2:] - 2.0 * A[1:-1, 1:-1, 1:-1] + A[1:-1, 1:-1, 0:-2])
            + A[1:-1, 1:-1, 1:-1]
        )
        A[1:-1, 1:-1, 1:-1] = B[1:-1, 1:-1, 1:-1] ** 2
    return A


@case(args=(2, _sample(5, 5)))
def sweep_in_place(steps, A):
    n = A.shape[0]
    for _ in range(steps):
        for i in range(1, n - 1):
            A[i, 1:-1] += A[i - 1, :-2] + A[i - 1, 1:-1] + A[i - 1, 2:] + A[i, 2:] + A[i + 1, :-2] + A[i + 1, 1:-1] + A[i + 1, 2:]
            for j in range(1, n - 1):
                A[i, j] += A[i, j - 1]
                A[i, j] /= 9.0
    return A


@case(args=(3, _sample(4, 5), _sample(4, 5, seed=1), _sample(4, 5, seed=2), _sample(3)))
def staggered_waves(steps, ex, ey, hz, source):
    for t in range(steps):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])
    return ex, ey, hz


@case(args=(2, 5, _sample(5, 5)))
def alternating_directions(steps, N, u):
    v, p, q = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    DX, DT = 1.0 / N, 1.0 / steps
    mul1, mul2 = 2.0 * DT / (DX * DX), DT / (DX * DX)
    a = -mul1 / 2.0
    b = 1.0 + mul1
    d = -mul2 / 2.0
    e = 1.0 + mul2
    for _ in range(steps):
        v[0, 1 : N - 1] = 1.0
        p[1 : N - 1, 0] = 0.0
        q[1 : N - 1, 0] = v[0, 1 : N - 1]
        for j in range(1, N - 1):
            p[1 : N - 1, j] = -a / (a * p[1 : N - 1, j - 1] + b)
            q[1 : N - 1, j] = (
                -d * u[j, : N - 2] + (1.0 + 2.0 * d) * u[j, 1 : N - 1] - d * u[j, 2:] - a * q[1 : N - 1, j - 1]
            ) / (a * p[1 : N - 1, j - 1] + b)
        v[N - 1, 1 : N - 1] = 1.0
        for j in range(N - 2, 0, -1):
            v[j, 1 : N - 1] = p[1 : N - 1, j] * v[j + 1, 1 : N - 1] + q[1 : N - 1, j]
        u[1 : N - 1, 0] = 1.0
        p[1 : N - 1, 0] = 0.0
        q[1 : N - 1, 0] = u[1 : N - 1, 0]
        for j in range(1, N - 1):
            p[1 : N - 1, j] = -d / (d * p[1 : N - 1, j - 1] + e)
            q[1 : N - 1, j] = (
                -a * v[: N - 2, j] + (1.0 + 2.0 * a) * v[1 : N - 1, j] - a * v[2:, j] - d * q[1 : N - 1, j - 1]
            ) / (d * p[1 : N - 1, j - 1] + e)
        u[1 : N - 1, N - 1] = 1.0
        for j in range(N - 2, 0, -1):
            u[1 : N - 1, j] = p[1 : N - 1, j] * u[1 : N - 1, j + 1] + q[1 : N - 1, j]
    return u


# ------------------------------------------------------------------------------------------------- weather and transport
@case(args=(_sample(6, 7, 2), np.empty((2, 3, 2)) * 0.0, _sample(2, 3, 2, seed=1)))
def limited_diffusion(field, out, coeff):
    I, J = out.shape[:2]
    rows = field[2 : I + 4, 1 : J + 3, :] + field[0 : I + 2, 1 : J + 3, :]
    lap = 4.0 * field[1 : I + 3, 1 : J + 3, :] - (rows + field[1 : I + 3, 2 : J + 4, :] + field[1 : I + 3, 0 : J + 2, :])
    res = lap[1:, 1 : J + 1, :] - lap[:-1, 1 : J + 1, :]
    flx = np.where((res * (field[2 : I + 3, 2 : J + 2, :] - field[1 : I + 2, 2 : J + 2, :])) > 0, 0, res)
    res = lap[1 : I + 1, 1:, :] - lap[1 : I + 1, :-1, :]
    fly = np.where((res * (field[2 : I + 2, 2 : J + 3, :] - field[2 : I + 2, 1 : J + 2, :])) > 0, 0, res)
    out[:, :, :] = field[2 : I + 2, 2 : J + 2, :] - coeff * (flx[1:, :, :] - flx[:-1, :, :] + fly[:, 1:, :] - fly[:, :-1, :])
    return out


@case(args=(_sample(2, 2, 4), _sample(3, 2, 4, seed=1), _sample(2, 2, 4, seed=2), 0.4))
def implicit_vertical_advection(utens, wcon, u, dtr):
    I, J, K = utens.shape
    ccol = np.empty((I, J, K), dtype=utens.dtype)
    dcol = np.empty((I, J, K), dtype=utens.dtype)
    carried = np.empty((I, J), dtype=utens.dtype)
    for k in range(1):
        gcv = 0.25 * (wcon[1:, :, k + 1] + wcon[:-1, :, k + 1])
        cs = gcv * 0.1
        ccol[:, :, k] = gcv * 0.9
        bcol = dtr - ccol[:, :, k]
        divided = 1.0 / bcol
        dcol[:, :, k] = (dtr * u[:, :, k] + utens[:, :, k] - cs * (u[:, :, k + 1] - u[:, :, k])) * divided
        ccol[:, :, k] = ccol[:, :, k] * divided
    for k in range(1, K - 1):
        gav = -0.25 * (wcon[1:, :, k] + wcon[:-1, :, k])
        gcv = 0.25 * (wcon[1:, :, k + 1] + wcon[:-1, :, k + 1])
        acol = gav * 0.9
        ccol[:, :, k] = gcv * 0.9
        bcol = dtr - acol - ccol[:, :, k]
        correction = -gav * 0.1 * (u[:, :, k - 1] - u[:, :, k]) - gcv * 0.1 * (u[:, :, k + 1] - u[:, :, k])
        divided = 1.0 / (bcol - ccol[:, :, k - 1] * acol)
        dcol[:, :, k] = (dtr * u[:, :, k] + utens[:, :, k] + correction - dcol[:, :, k - 1] * acol) * divided
        ccol[:, :, k] = ccol[:, :, k] * divided
    carried[:] = u[:, :, K - 1]
    for k in range(K - 2, -1, -1):
        datacol = dcol[:, :, k] - ccol[:, :, k] * carried[:, :]
        carried[:] = datacol
        utens[:, :, k] = dtr * (datacol - u[:, :, k])
    return utens


@case(args=(_sample(6), np.array([0.5, -0.8, 0.3, 0.9, -0.2, -0.6]), 0.2, 3))
def upwind_advection(q, c, dt, steps):
    for _ in range(steps):
        back, ahead = q - np.roll(q, 1), np.roll(q, -1) - q
        q = q - dt * np.where(c > 0.0, c * back, c * ahead)
    return q


@case(args=(_sample(6), 0.3, 2))
def limited_fluxes(q, nu, steps):
    n = len(q)
    flux = np.zeros(n + 1)
    for _ in range(steps):
        for i in range(1, n):
            left = q[i - 1] - q[i - 2] if i > 1 else 0.0
            right = q[i] - q[i - 1]
            slope = 0.0
            if left * right > 0.0:
                slope = math.copysign(min(abs(left), abs(right)), left)
            flux[i] = nu * (q[i - 1] + 0.5 * (1.0 - nu) * slope)
        q[:] -= flux[1:] - flux[:-1]
    return q


@case(args=(_sample(5, 5), _sample(3, 3)))
def filtered(image, kernel):
    n, m = kernel.shape
    out = np.zeros((image.shape[0] - n + 1, image.shape[1] - m + 1))
    for i in range(n):
        for j in range(m):
            out += kernel[i, j] * image[i : i + out.shape[0], j : j + out.shape[1]]
    return out


@case(args=(_sample(5, 4), _sample(3, 3)))
def filtered_by_windows(image, kernel):
    out = np.zeros_like(image)
    for i in range(1, image.shape[0] - 1):
        for j in range(1, image.shape[1] - 1):
            out[i, j] = np.sum(image[i - 1 : i + 2, j - 1 : j + 2] * kernel)
    return out


@case(args=(_sample(4, 5), 0.3))
def recursive_filter(image, alpha):
    w, h = image.shape
    k = (1.0 - np.exp(-alpha)) ** 2 / (1.0 + alpha * np.exp(-alpha) - np.exp(2.0 * alpha))
    a1, a2 = k, k * np.exp(-alpha) * (alpha - 1.0)
    b1, b2 = 2.0 ** (-alpha), -np.exp(-2.0 * alpha)
    y1, y2 = np.empty_like(image), np.empty_like(image)
    y1[:, 0] = a1 * image[:, 0]
    y1[:, 1] = a1 * image[:, 1] + a2 * image[:, 0] + b1 * y1[:, 0]
    for j in range(2, h):
        y1[:, j] = a1 * image[:, j] + a2 * image[:, j - 1] + b1 * y1[:, j - 1] + b2 * y1[:, j - 2]
    y2[:, -1] = 0.0
    y2[:, -2] = a2 * image[:, -1]
    for j in range(h - 3, -1, -1):
        y2[:, j] = a1 * image[:, j + 1] + a2 * image[:, j + 2] + b1 * y2[:, j + 1] + b2 * y2[:, j + 2]
    return y1 + y2


# ----------------------------------------------------------------------------------------------------------------- flows
def pressure_source(b, u, v, dt, dx):
    b[1:-1, 1:-1] = (u[1:-1, 2:] - u[1:-1, :-2] + v[2:, 1:-1] - v[:-2, 1:-1]) / (2.0 * dx * dt) - (
        (u[1:-1, 2:] - u[1:-1, :-2]) / (2.0 * dx)
    ) ** 2
    return b


def pressure(p, b, dx, tol):
    change = 1.0
    while change > tol:
        pn = p.copy()
        p[1:-1, 1:-1] = 0.25 * (pn[1:-1, 2:] + pn[1:-1, :-2] + pn[2:, 1:-1] + pn[:-2, 1:-1] - dx**2 * b[1:-1, 1:-1])
        p[:, -1] = p[:, -2]
        p[0, :] = p[1, :]
        p[:, 0] = p[:, 1]
        p[-1, :] = 0
        change = np.sum(np.abs(p - pn)) / (1.0 + np.sum(np.abs(pn)))


@case(args=(2, _sample(5, 5), _sample(5, 5, seed=1), 0.05, _sample(5, 5, seed=2), 1.1, 0.1), tags="plain")
def cavity(steps, u, v, dt, p, rho, nu):
    b, dx = np.zeros_like(u), 0.5
    for _ in range(steps):
        un = u.copy()
        vn = v.copy()
        b = pressure_source(b, u, v, dt=dt, dx=dx)
        pressure(p, b, dx, tol=0.02)
        u[1:-1, 1:-1] = (
            un[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (un[1:-1, 1:-1] - un[1:-1, 0:-2])
            - vn[1:-1, 1:-1] * dt / dx * (un[1:-1, 1:-1] - un[0:-2, 1:-1])
            - dt / (2.0 * rho * dx) * (p[1:-1, 2:] - p[1:-1, 0:-2])
            + nu * dt / dx**2 * (un[1:-1, 2:] - 2.0 * un[1:-1, 1:-1] + un[1:-1, 0:-2])
        )
        v[1:-1, 1:-1] = vn[1:-1, 1:-1] - un[1:-1, 1:-1] * dt / dx * (vn[1:-1, 1:-1] - vn[1:-1, 0:-2])
        u[0, :] = 0.0
        u[:, 0] = 0.0
        u[:, -1] = 0.0
        u[-1, :] = 1.0
        v[0, :] = 0.0
    return u, v, p


def periodic_pressure(nit, p, b):
    pn = np.empty_like(p)
    for _ in range(nit):
        pn[:] = p.copy()
        p[1:-1, 1:-1] = 0.25 * (pn[1:-1, 2:] + pn[1:-1, 0:-2] + pn[2:, 1:-1] + pn[0:-2, 1:-1])
        p[1:-1, 1:-1] -= 0.1 * b[1:-1, 1:-1] * pn[1:-1, 1:-1]
        p[1:-1, -1] = 0.25 * (pn[1:-1, 0] + pn[1:-1, -2] + pn[2:, -1] + pn[0:-2, -1]) - 0.1 * b[1:-1, -1]
        p[1:-1, 0] = 0.25 * (pn[1:-1, 1] + pn[1:-1, -1] + pn[2:, 0] + pn[0:-2, 0]) - 0.1 * b[1:-1, 0]
        p[-1, :] = p[-2, :]
        p[0, :] = p[1, :]


@case(args=(_sample(4, 4), _sample(4, 4, seed=1), _sample(4, 4, seed=2), 0.3, 0.1), tags="plain")
def channel(u, p, b, force, dt):
    udiff = 1.0
    count = 0
    while udiff > 0.06 and count < 9:
        un = u.copy()
        b[:] = un * un
        periodic_pressure(2, p, b)
        upwind = un[1:-1, 1:-1] * (un[1:-1, 1:-1] - un[1:-1, 0:-2])
        u[1:-1, 1:-1] = un[1:-1, 1:-1] - dt * (upwind + p[1:-1, 2:] - p[1:-1, :-2]) + force * dt
        u[1:-1, 0] = un[1:-1, 0] - dt * un[1:-1, 0] * (un[1:-1, 0] - un[1:-1, -1]) + force * dt
        u[0, :] = 0
        u[-1, :] = 0
        udiff = abs(np.sum(u) - np.sum(un)) / abs(np.sum(u))
        count += 1
    return u, p, count


@case(args=(np.abs(_sample(4, 4)) + 1.0, _sample(4, 4, seed=1), _sample(4, 4, seed=2), 0.02, 2))
def shallow_water(h, u, v, dt, steps):
    g, dx = 9.81, 0.5
    for _ in range(steps):
        dhdx = (np.roll(h.ravel(), -1).reshape(h.shape) - h) / dx
        u = u - dt * g * dhdx
        v[:-1, :] -= dt * g * (h[1:, :] - h[:-1, :]) / dx
        hu, hv = h * u, h * v
        h = h.copy()
        h[1:-1, 1:-1] -= dt / dx * (hu[1:-1, 1:-1] - hu[1:-1, :-2] + hv[1:-1, 1:-1] - hv[:-2, 1:-1])
    return h, u, v


@case(args=(_sample(5, 4), _sample(5, 4, seed=1), 0.1, 3))
def reaction_and_diffusion(U, V, dt, steps):
    for _ in range(steps):
        lap_u = U[:-2, 1:-1] + U[1:-1, :-2] - 4.0 * U[1:-1, 1:-1] + U[1:-1, 2:] + U[2:, 1:-1]
        lap_v = V[:-2, 1:-1] + V[1:-1, :-2] - 4.0 * V[1:-1, 1:-1] + V[1:-1, 2:] + V[2:, 1:-1]
        u, v = U[1:-1, 1:-1], V[1:-1, 1:-1]
        uvv = u * v * v
        u += dt * (0.16 * lap_u - uvv + 0.06 * (1.0 - u))
        v += dt * (0.08 * lap_v + uvv - 0.12 * v)
    return U, V
