"""Time steps ``step(n, y, p) -> y_next`` as a user writes them."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from . import case

GRID = 0.5 + 0.4 * np.sin(np.linspace(0.0, 5.0, 8))
FIELD = 0.5 + 0.3 * np.cos(np.arange(20.0).reshape(4, 5))
DT = 0.05


class Pendulum(NamedTuple):
    angle: float
    speed: float


class PendulumParameters(NamedTuple):
    length: float
    damping: float
    force: np.ndarray


class Wave(NamedTuple):
    u_new: np.ndarray
    u: np.ndarray


class Epidemic(NamedTuple):
    s: float
    i: float
    r: float
    day: int


@njit(error_model="numpy")
def lotka_volterra_rhs(x, y, p):
    a, b, c, d = p
    return a * x - b * x * y, d * x * y - c * y


@case(args=(0, (1.0, 0.6), (1.1, 0.4, 0.4, 0.1)), tags="step")
def lotka_volterra_rk4_tuple(n, y, p):
    h = 0.1
    u, v = y
    k1, l1 = lotka_volterra_rhs(u, v, p)
    k2, l2 = lotka_volterra_rhs(u + 0.5 * h * k1, v + 0.5 * h * l1, p)
    k3, l3 = lotka_volterra_rhs(u + 0.5 * h * k2, v + 0.5 * h * l2, p)
    k4, l4 = lotka_volterra_rhs(u + h * k3, v + h * l3, p)
    return u + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), v + h / 6.0 * (l1 + 2.0 * l2 + 2.0 * l3 + l4)


@njit(error_model="numpy")
def lotka_volterra_into(y, p, k):
    k[0] = p[0] * y[0] - p[1] * y[0] * y[1]
    k[1] = p[3] * y[0] * y[1] - p[2] * y[1]


@case(args=(0, np.array([1.0, 0.6]), np.array([1.1, 0.4, 0.4, 0.1])), tags="step")
def lotka_volterra_rk4_array(n, y, p):
    h = 0.1
    k, total, stage = np.empty(2), np.zeros(2), y.copy()
    for s in range(4):
        lotka_volterra_into(stage, p, k)
        weight = 1.0 if s == 0 or s == 3 else 2.0
        reach = h if s == 2 else 0.5 * h
        for i in range(2):
            total[i] += weight * k[i]
            stage[i] = y[i] + reach * k[i]
    out = np.empty_like(y)
    for i in range(2):
        out[i] = y[i] + h / 6.0 * total[i]
    return out


@case(args=(0, (1.0, 2.0, 3.0), (10.0, 28.0, 8.0 / 3.0)), tags="step")
def lorenz_euler_tuple(n, y, p):
    x, v, z = y
    sigma, rho, beta = p
    return x + 0.01 * sigma * (v - x), v + 0.01 * (x * (rho - z) - v), z + 0.01 * (x * v - beta * z)


@case(args=(0, np.array([1.0, 2.0, 3.0]), (10.0, 28.0, 8.0 / 3.0)), tags="step")
def lorenz_in_place(n, y, p):
    sigma, rho, beta = p
    x, v, z = y[0], y[1], y[2]
    y[0] += 0.01 * sigma * (v - x)
    y[1] += 0.01 * (x * (rho - z) - v)
    y[2] += 0.01 * (x * v - beta * z)
    return y


@case(args=(0, GRID, 0.2), tags="step")
def heat(n, y, p):
    out = np.empty_like(y)
    out[0] = y[0]
    out[-1] = y[-1]
    for i in range(1, len(y) - 1):
        out[i] = y[i] + p * (y[i - 1] - 2.0 * y[i] + y[i + 1])
    return out


@case(args=(0, GRID, GRID * 0.3), tags="step")
def heat_with_conductivity_in_place(n, y, p):
    left = y[0]
    for i in range(1, len(y) - 1):
        here = y[i]
        y[i] = here + p[i] * (left - here) + p[i + 1] * (y[i + 1] - here)
        left = here
    return y


@case(args=(3, GRID, (0.4, 0.1)), tags="step")
def periodic_advection(n, y, p):
    speed, source = p
    out = np.zeros(len(y))
    for i in range(len(y)):
        out[i] = y[i] - speed * (y[i] - y[i - 1]) + source * math.sin(0.3 * n + i)
    return out


@case(args=(0, GRID, 0.01), tags="step")
def burgers(n, y, p):
    m = y.shape[0]
    out = np.empty(m)
    for i in range(m):
        left, right = y[i - 1], y[(i + 1) % m]
        out[i] = y[i] - 0.2 * y[i] * (right - left) + p * (left - 2.0 * y[i] + right)
    return out


@case(args=(0, GRID - 0.5, 0.1), tags="step")
def upwind_by_sign(n, y, p):
    m = len(y)
    out = y.copy()
    for i in range(1, m - 1):
        if y[i] > 0.0:
            out[i] -= p * y[i] * (y[i] - y[i - 1])
        else:
            out[i] -= p * y[i] * (y[i + 1] - y[i])
    return out


@case(args=(0, (GRID, GRID * 0.9), 0.3), tags="step")
def wave_pair_of_arrays(n, y, p):
    u, before = y
    new = np.zeros_like(u)
    for i in range(1, len(u) - 1):
        new[i] = 2.0 * u[i] - before[i] + p * p * (u[i + 1] - 2.0 * u[i] + u[i - 1])
    return new, u


@case(args=(0, Wave(GRID, GRID * 0.9), GRID * 0.4), tags="step")
def wave_rotating_named_tuple(n, y, p):
    u, before = y.u_new, y.u
    for i in range(1, len(u) - 1):
        before[i] = 2.0 * u[i] - before[i] + p[i] * (u[i + 1] - 2.0 * u[i] + u[i - 1])
    return Wave(before, u)


@case(args=(0, (FIELD, FIELD * 0.8), 0.2), tags="step")
def wave_2d_branches_at_the_edge(n, y, p):
    u, before = y
    rows, cols = u.shape
    new = np.empty_like(u)
    for i in range(rows):
        for j in range(cols):
            lap = -4.0 * u[i, j]
            if i > 0:
                lap += u[i - 1, j]
            if i < rows - 1:
                lap += u[i + 1, j]
            if j > 0:
                lap += u[i, j - 1]
            if j < cols - 1:
                lap += u[i, j + 1]
            new[i, j] = 2.0 * u[i, j] - before[i, j] + p * lap
    return new, u


@case(args=(2, FIELD, (0.1, 1.5)), tags="step")
def heat_2d_with_moving_source(n, y, p):
    k, strength = p
    rows, cols = y.shape
    out = y.copy()
    for i in range(1, rows - 1):
        for j in range(1, cols - 1):
            out[i, j] += k * (y[i - 1, j] + y[i + 1, j] + y[i, j - 1] + y[i, j + 1] - 4.0 * y[i, j])
    out[n % rows, (2 * n) % cols] += DT * strength
    return out


@case(args=(0, Pendulum(0.8, -0.3), PendulumParameters(1.2, 0.1, np.array([0.2, -0.1, 0.4]))), id="start", tags="step")
@case(args=(5, Pendulum(0.8, -0.3), PendulumParameters(1.2, 0.1, np.array([0.2, -0.1, 0.4]))), id="later", tags="step")
def damped_pendulum(n, y, p):
    force = p.force[n] if n < len(p.force) else 0.0
    speed = y.speed + DT * (force - p.damping * y.speed - 9.81 / p.length * math.sin(y.angle))
    return Pendulum(y.angle + DT * speed, speed)


@case(args=(0, Epidemic(0.9, 0.1, 0.0, 3), (0.4, 0.1)), tags="step")
def sir_with_day_counter(n, y, p):
    beta, gamma = p
    infections = beta * y.s * y.i
    if y.day % 7 < 2:
        infections *= 0.5
    return Epidemic(y.s - infections, y.i + infections - gamma * y.i, y.r + gamma * y.i, y.day + 1)


@case(args=(0, (0.7, 4), None), tags="step")
def counter_leaf_without_parameters(n, y, p):
    x, k = y
    for i in range(k % 3 + 1):
        x = x + DT * math.sin(x * (i + n + 1))
    return x, k + 1


@case(args=(0, 0.4, 3.7), tags="step")
def logistic_scalar_state(n, y, p):
    return p * y * (1.0 - y)


@case(args=(0, GRID, None), tags="step")
def no_parameters_in_place(n, y, p):
    for i in range(1, len(y)):
        y[i] += DT * (y[i - 1] - y[i])
    return y


@case(args=(0, (np.array([0.0, 1.1, 2.3, 3.0]), np.zeros(4)), (4.0, 0.3, np.array([1.0, 2.0, 1.5, 1.0]))), tags="step")
def spring_chain(n, y, p):
    x, v = y
    k, damping, mass = p
    m = len(x)
    for i in range(m):
        force = -damping * v[i]
        if i > 0:
            force -= k * (x[i] - x[i - 1] - 1.0)
        if i + 1 < m:
            force += k * (x[i + 1] - x[i] - 1.0)
        v[i] += DT * force / mass[i]
    for i in range(m):
        x[i] += DT * v[i]
    return x, v


@case(args=(0, (GRID, 1.0 - GRID), (0.1, 0.05, 0.04, 0.06)), tags="step")
def reaction_diffusion(n, y, p):
    u, v = y
    du, dv, feed, kill = p
    m = len(u)
    a, b = np.empty(m), np.empty(m)
    for i in range(m):
        left, right = i - 1, (i + 1) % m
        reaction = u[i] * v[i] * v[i]
        a[i] = u[i] + du * (u[left] - 2.0 * u[i] + u[right]) - reaction + feed * (1.0 - u[i])
        b[i] = v[i] + dv * (v[left] - 2.0 * v[i] + v[right]) + reaction - (feed + kill) * v[i]
    return a, b


@njit(error_model="numpy")
def gravity_into(x, mass, acceleration):
    for i in range(x.shape[0]):
        for d in range(2):
            acceleration[i, d] = 0.0
        for j in range(x.shape[0]):
            if i == j:
                continue
            dx, dy = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1]
            r2 = dx * dx + dy * dy + 0.01
            f = mass[j] / (r2 * math.sqrt(r2))
            acceleration[i, 0] += f * dx
            acceleration[i, 1] += f * dy


BODIES = (np.array([[0.0, 0.0], [1.0, 0.2], [-0.4, 0.9]]), np.array([[0.0, 0.1], [0.3, 1.0], [-0.8, 0.2]]))


@case(args=(0, BODIES, np.array([1.0, 0.1, 0.2])), tags="step")
def n_body_leapfrog(n, y, p):
    x, v = y
    acceleration = np.zeros_like(x)
    gravity_into(x, p, acceleration)
    for i in range(x.shape[0]):
        for d in range(2):
            v[i, d] += 0.5 * DT * acceleration[i, d]
            x[i, d] += DT * v[i, d]
    gravity_into(x, p, acceleration)
    for i in range(x.shape[0]):
        for d in range(2):
            v[i, d] += 0.5 * DT * acceleration[i, d]
    return x, v


@case(args=(0, BODIES, np.array([1.0, 0.1, 0.2])), tags="step")
def n_body_symmetric_forces(n, y, p):
    x, v = y
    m = x.shape[0]
    f = np.zeros((m, 2))
    for i in range(m):
        for j in range(i + 1, m):
            dx, dy = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1]
            w = p[i] * p[j] / (dx * dx + dy * dy + 0.01) ** 1.5
            f[i, 0] += w * dx
            f[i, 1] += w * dy
            f[j, 0] -= w * dx
            f[j, 1] -= w * dy
    for i in range(m):
        for d in range(2):
            v[i, d] += DT * f[i, d] / p[i]
            x[i, d] += DT * v[i, d]
    return x, v


@case(args=(0, GRID, 0.4), tags="step")
def implicit_heat_by_thomas(n, y, p):
    m = len(y)
    c = np.empty(m)
    c[0] = -p / (1.0 + p)
    y[0] = y[0] / (1.0 + p)
    for i in range(1, m):
        d = 1.0 + (2.0 * p if i < m - 1 else p) + p * c[i - 1]
        c[i] = -p / d
        y[i] = (y[i] + p * y[i - 1]) / d
    for i in range(m - 2, -1, -1):
        y[i] -= c[i] * y[i + 1]
    return y


@case(args=(0, 0.8, 5.0), tags="step")
def implicit_euler_by_newton(n, y, p):
    x = y
    for _ in range(20):
        residual = x - y + DT * p * x * x * x
        if abs(residual) < 1e-15:
            break
        x -= residual / (1.0 + 3.0 * DT * p * x * x)
    return x


@case(args=(0, FIELD, 0.3), tags="step")
def pressure_sweeps_gauss_seidel(n, y, p):
    rows, cols = y.shape
    for sweep in range(3):
        for i in range(1, rows - 1):
            for j in range(1, cols - 1):
                if (i + j + sweep) % 2 == 0:
                    continue
                y[i, j] = (1.0 - p) * y[i, j] + 0.25 * p * (y[i - 1, j] + y[i + 1, j] + y[i, j - 1] + y[i, j + 1])
    return y


@case(args=(0, (1.0, -2.5), (9.81, 0.8)), id="falling", tags="step")
@case(args=(0, (0.05, -2.5), (9.81, 0.8)), id="bounces", tags="step")
def bouncing_ball(n, y, p):
    h, v = y
    g, restitution = p
    v_next = v - DT * g
    h_next = h + DT * v_next
    if h_next < 0.0:
        t = h / -v_next
        v_next = -restitution * v_next
        h_next = v_next * (DT - t)
    return h_next, v_next


@case(args=(0, (0.3, 0.0), (0.05, 1.0, np.array([0.4, -0.2]))), tags="step")
def adaptive_substeps(n, y, p):
    x, t = y
    h, end, c = p
    while t < end - 1e-9:
        k = c[0] * x + c[1] * math.sin(x + t)
        size = h / (1.0 + abs(k))
        x += size * k
        t += size
        if x > 10.0:
            return x, t
    return x, t - end


@case(args=(4, (0.2, GRID), np.array([0.5, 0.1])), tags="step")
def scalar_and_array_state(n, y, p):
    level, u = y
    mean = 0.0
    for i in range(len(u)):
        mean += u[i] / len(u)
    for i in range(len(u)):
        u[i] += DT * (p[0] * (mean - u[i]) + p[1] * level * (-1) ** n)
    return level + DT * (mean - level), u


@case(args=(0, GRID, 0.9), tags="step")
def state_returned_as_input(n, y, p):
    return y


@case(args=(0, np.array([0.5, -0.2], dtype=np.float32), 0.3), tags="step float32")
def float32_state(n, y, p):
    for i in range(len(y)):
        y[i] = y[i] + p * math.sin(y[i])
    return y


@case(args=(0, (np.array([0.4, 0.9]), np.array([0, 2, 1])), np.array([0.1, 0.7, -0.3])), tags="step")
def integer_array_leaf_rides_along(n, y, p):
    u, kind = y
    out = np.empty_like(u)
    for i in range(len(u)):
        out[i] = u[i] + p[kind[i]] * u[i - 1]
        kind[i] = (kind[i] + 1) % 3
    return out, kind


@case(args=(0, np.array([0.1, 0.5, 0.9, 0.3]), (0.2, 0.6)), tags="step")
def neighbours_with_clipped_indices(n, y, p):
    out = np.zeros_like(y)
    for i in range(len(y)):
        lo = max(i - 1, 0)
        hi = min(i + 1, len(y) - 1)
        out[i] = y[i] + p[0] * (y[lo] - y[i]) + p[1] * (y[hi] - y[i]) * y[i]
    return out


@case(args=(1, ((0.3, 0.1), (np.array([0.2, 0.4]), 2)), ((1.0,), np.array([0.5, 0.25]))), tags="step")
def deeply_nested_state(n, y, p):
    (x, v), (u, k) = y
    (stiffness,), w = p
    for i in range(k):
        u[i] += DT * w[i] * (x - u[i])
    v -= DT * stiffness * x + w[n] * u[0]
    return (x + DT * v, v), (u, k)
