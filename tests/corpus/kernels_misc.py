"""Statistics, small networks, physics and graphs as people write them with arrays."""

import math

import numpy as np
from numba import prange

from . import case


def _sample(*shape, seed=0):
    return np.round(np.random.default_rng([seed, *shape]).uniform(-1.0, 1.0, shape), 2)


# ------------------------------------------------------------------------------------------------------------ statistics
@case(args=(5.0, _sample(5, 3)), tags="plain")
def covariances(count, data):
    mean = np.mean(data, axis=0)
    data -= mean
    cov = np.zeros((data.shape[1], data.shape[1]), dtype=data.dtype)
    for i in range(data.shape[1]):
        cov[i:, i] = cov[i, i:] = data[:, i] @ data[:, i:] / (count - 1.0)
    return cov


@case(args=(_sample(5, 3),))
def correlations(data):
    M, N = data.shape[1], float(data.shape[0])
    mean = np.sum(data, axis=0) / N
    stddev = np.sqrt(np.sum((data - mean) ** 2, axis=0) / N)
    stddev[stddev <= 0.1] = 1.0
    data -= mean
    data /= np.sqrt(N) * stddev
    corr = np.eye(M)
    for i in range(M - 1):
        corr[i + 1 :, i] = corr[i, i + 1 :] = data[:, i] @ data[:, i + 1 :]
    return corr


@case(args=(_sample(3, 4),))
def softmax_of_rows(x):
    top = np.zeros((x.shape[0], 1))
    for i in range(x.shape[0]):
        top[i, 0] = np.max(x[i])
    e = np.exp(x - top[:, 0:1])
    return e / np.sum(e, axis=1)[:, None]


@case(args=(_sample(3, 4), _sample(4), _sample(4, seed=1)))
def layer_norm(x, gain, shift):
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        row = x[i]
        out[i] = (row - row.mean()) / np.sqrt(np.var(row) + 1e-5) * gain + shift
    return out


@case(args=(_sample(4, 3), _sample(3, 5), _sample(5), _sample(5, 2), _sample(2), np.array([0, 1, 1, 0])))
def perceptron(x, w1, b1, w2, b2, label):
    hidden = np.maximum(x @ w1 + b1, 0.0)
    logits = hidden @ w2 + b2
    loss = 0.0
    for i in range(logits.shape[0]):
        z = logits[i] - np.max(logits[i])
        loss -= z[label[i]] - np.log(np.sum(np.exp(z)))
    return loss / len(label) + 0.01 * (np.sum(w1 * w1) + np.sum(w2 * w2))


def relu(x):
    return np.maximum(x, 0)


def convolved(image, weights):
    K = weights.shape[0]
    H, W = image.shape[1] - K + 1, image.shape[2] - K + 1
    out = np.empty((image.shape[0], H, W, weights.shape[3]))
    for i in range(H):
        for j in range(W):
            for c in range(weights.shape[3]):
                for n in range(image.shape[0]):
                    out[n, i, j, c] = np.sum(image[n, i : i + K, j : j + K, :] * weights[:, :, :, c])
    return out


def pooled(x):
    out = np.empty((x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3]))
    for i in range(x.shape[1] // 2):
        for j in range(x.shape[2] // 2):
            for n in range(x.shape[0]):
                for c in range(x.shape[3]):
                    out[n, i, j, c] = np.max(x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c])
    return out


@case(args=(_sample(1, 5, 5, 2), _sample(2, 2, 2, 2), _sample(2), _sample(8, 3)), tags="plain")
def convolutional_layer(image, weights, bias, dense):
    x = pooled(relu(convolved(image, weights) + bias))
    flat = np.reshape(x, (x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]))
    return flat @ dense


@case(args=(_sample(6), _sample(6, seed=1), 0.1, 4))
def logistic_regression(x, y, rate, steps):
    w, b = 0.1, 0.0
    target = (y > 0.0) * 1.0
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-(w * x + b)))
        w -= rate * np.mean((p - target) * x)
        b -= rate * np.mean(p - target)
    return w, b


@case(args=(_sample(8, 2), np.array([[0.5, 0.4], [-0.5, -0.4]]), 2))
def centres_of_clusters(points, centres, rounds):
    for _ in range(rounds):
        total = np.zeros_like(centres)
        count = np.zeros(len(centres))
        for i in range(len(points)):
            d = np.sum((centres - points[i]) ** 2, axis=1)
            k = np.argmin(d)
            total[k] += points[i]
            count[k] += 1.0
        centres = total / np.maximum(count, 1.0)[:, None]
    return centres


@case(args=(_sample(6), np.array([0.1, 0.4, 0.35, 0.8, 0.62, 0.9]), 3))
def means_of_rings(data, radius, bins):
    top = radius.max()
    result = np.empty(bins)
    for k in range(bins):
        low, high = top * k / bins, top * (k + 1) / bins
        inside = np.logical_and(low <= radius, radius < high)
        result[k] = np.mean(data[inside])
    return result


@case(args=(_sample(6), np.array([0, 2, 1, 2, 0, 2])))
def histogram_of_weights(w, where):
    hist = np.zeros(3)
    for i in prange(len(w)):
        hist[where[i]] += w[i] * w[i]
    return hist / np.sum(hist)


# -------------------------------------------------------------------------------------------------------------- particles
@case(args=(np.abs(_sample(4)) + 0.5, _sample(4, 3), _sample(4, 3, seed=1), 0.05, 2), tags="plain")
def bodies(masses, pos, vel, dt, steps):
    mass = masses[:, None]
    vel -= np.mean(mass * vel, axis=0) / np.mean(mass)
    for _ in range(steps):
        x, y, z = pos[:, 0:1], pos[:, 1:2], pos[:, 2:3]
        dx, dy, dz = x.T - x, y.T - y, z.T - z
        inv = dx**2 + dy**2 + dz**2 + 0.1**2
        inv = np.where(inv > 0.0, inv ** (-1.5), inv)
        ax, ay, az = (dx * inv) @ mass, (dy * inv) @ mass, (dz * inv) @ mass
        vel += np.hstack((ax, ay, az)) * dt
        pos += vel * dt
    kinetic = 0.5 * np.sum(mass * vel**2)
    return pos, kinetic


@case(args=(_sample(4, 2), 0.4))
def pair_potential(pos, sigma):
    n = pos.shape[0]
    energy = 0.0
    force = np.zeros_like(pos)
    for i in range(n):
        for j in range(i + 1, n):
            d = pos[i] - pos[j]
            s6 = (sigma * sigma / (np.dot(d, d) + 0.1)) ** 3
            energy += 4.0 * (s6 * s6 - s6)
            f = s6 * (2.0 * s6 - 1.0) * d
            force[i] += f
            force[j] -= f
    return energy, force


@case(args=(_sample(5), _sample(5, seed=1), _sample(5, seed=2), _sample(5, seed=3)))
def arcs(theta1, phi1, theta2, phi2):
    t = np.sin((theta2 - theta1) / 2) ** 2 + np.cos(theta1) * np.cos(theta2) * np.sin((phi2 - phi1) / 2) ** 2
    return 2 * np.arctan2(np.sqrt(t), np.sqrt(1 - t))


@case(args=(np.array([0, 2, 3, 3, 6]), np.array([1, 3, 0, 0, 2, 3]), _sample(6), _sample(4)))
def sparse_rows(rowptr, col, val, x):
    y = np.empty(len(rowptr) - 1)
    for i in range(len(rowptr) - 1):
        cols = col[rowptr[i] : rowptr[i + 1]]
        vals = val[rowptr[i] : rowptr[i + 1]]
        y[i] = vals @ x[cols]
    return y


@case(args=(np.abs(_sample(4, 4)) + 0.1,))
def shortest_paths(path):
    for k in range(path.shape[0]):
        for i in range(path.shape[0]):
            path[i, :] = np.minimum(path[i, :], path[i, k] + path[k, :])
    return path


@case(args=(np.abs(_sample(4, 4)) + 0.1,))
def shortest_paths_by_outer_sums(path):
    for k in range(path.shape[0]):
        path[:] = np.minimum(path, path[:, k][:, None] + path[k])
    return path


@case(args=(_sample(4, 4),))
def trace_added(a):
    trace = 0.0
    for i in range(a.shape[0]):
        trace += np.tanh(a[i, i])
    return a + trace


@case(args=(_sample(8), _sample(8, seed=1)))
def butterflies(re, im):
    n, half = len(re), 1
    while half < n:
        tr, ti = np.empty(n), np.empty(n)
        m = n // (2 * half)
        for k in range(half):
            angle = -math.pi * k / half
            c, s = math.cos(angle), math.sin(angle)
            for j in range(m):
                ar, ai = re[k * m + j], im[k * m + j]
                br, bi = re[k * m + j + n // 2], im[k * m + j + n // 2]
                wr, wi = c * br - s * bi, c * bi + s * br
                tr[2 * k * m + j], ti[2 * k * m + j] = ar + wr, ai + wi
                tr[2 * k * m + m + j], ti[2 * k * m + m + j] = ar - wr, ai - wi
        re, im = tr, ti
        half *= 2
    return re, im


@case(args=(_sample(3, 5), np.array([0.3, 0.7])), tags="plain")
def market(logs, rate):
    growth = np.exp(logs[:, 1:] - logs[:, :-1])
    prices = np.cumprod(growth[0])
    payoff = np.maximum(prices - 0.9, 0.0)
    return payoff * np.exp(-rate[0] * np.arange(len(payoff))), np.mean(growth, axis=1) ** rate[1]


@case(args=(_sample(5), 0.7, 1.3, 2.0))
def option_prices(logs, sigma, strike, time):
    out = np.empty_like(logs)
    for i in prange(len(logs)):
        price = np.exp(logs[i])
        d1 = (np.log(price / strike) + 0.5 * sigma**2 * time) / (sigma * np.sqrt(time))
        d2 = d1 - sigma * np.sqrt(time)
        out[i] = price * 0.5 * math.erfc(-d1 / math.sqrt(2.0)) - strike * 0.5 * math.erfc(-d2 / math.sqrt(2.0))
    return out


@case(args=(np.array([0.3, -0.4, 1.2]), 0.01, 10.0, 28.0, 5))
def rk4_of_arrays(y, dt, sigma, rho, steps):
    for _ in range(steps):
        k1 = np.array([sigma * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 2.0 * y[2]])
        z = y + dt / 2 * k1
        k2 = np.array([sigma * (z[1] - z[0]), z[0] * (rho - z[2]) - z[1], z[0] * z[1] - 2.0 * z[2]])
        y = y + dt * k2
    return y


@case(args=(_sample(3, 2, 2), np.array([1, 2, 0]), _sample(3, 3)))
def couplings(G, neighbour, D):
    Sigma = np.zeros_like(G)
    for a in range(G.shape[0]):
        for b in range(D.shape[1]):
            if a - b >= 0:
                h = G[a] @ G[neighbour[b]]
                Sigma[a] += h * D[a, b] @ G[b]
    return Sigma


# ------------------------------------------------------------------------------------------------------------ integers only
@case(args=(np.array([17, 250, 3, 99]), 0x1021))
def checksum(data, poly):
    crc = 0xFFFF
    for b in data:
        crc ^= b << 8
        for _ in range(8):
            crc = ((crc << 1) ^ poly) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    return crc


@case(args=(np.array([0, 3, 1, 2, 3, 0]), _sample(2)))
def pairings(seq, x):
    n = len(seq)
    table = np.zeros((n, n), dtype=np.int64)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            table[i, j] = max(table[i, j - 1], table[i + 1, j])
            if i < j - 1:
                table[i, j] = max(table[i, j], table[i + 1, j - 1] + (1 if seq[i] + seq[j] == 3 else 0))
            for k in range(i + 1, j):
                table[i, j] = max(table[i, j], table[i, k] + table[k + 1, j])
    return table, x * table[0, n - 1]


@case(args=(-1.5, 0.5, 5, 8))
def escape_times(low, high, n, limit):
    count = np.zeros(n, dtype=np.int64)
    for k in range(n):
        c = low + (high - low) * k / (n - 1)
        z = 0.0
        for step in range(limit):
            if abs(z) > 2.0:
                break
            z = z * z + c
            count[k] = step
    return count
