"""Functions of complex numbers, and dual numbers over them as their reference."""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Dual:
    """A complex number and its change along a direction; what is not holomorphic is written out."""

    v: complex
    d: complex = 0.0

    @staticmethod
    def of(x) -> Dual:
        return x if isinstance(x, Dual) else Dual(x)

    def __add__(self, o):
        o = Dual.of(o)
        return Dual(self.v + o.v, self.d + o.d)

    def __sub__(self, o):
        return self + -Dual.of(o)

    def __mul__(self, o):
        o = Dual.of(o)
        return Dual(self.v * o.v, self.d * o.v + self.v * o.d)

    def __truediv__(self, o):
        o = Dual.of(o)
        return Dual(self.v / o.v, (self.d - self.v / o.v * o.d) / o.v)

    def __pow__(self, o):
        o = Dual.of(o)
        if o.d == 0.0 and o.v == round(o.v.real):
            n = round(o.v.real)
            return Dual(self.v**n, n * self.v ** (n - 1) * self.d if n else 0.0)
        value = cmath.exp(o.v * cmath.log(self.v))
        return Dual(value, value * (o.d * cmath.log(self.v) + o.v * self.d / self.v))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, o):
        return Dual.of(o) - self

    def __rtruediv__(self, o):
        return Dual.of(o) / self

    def __rpow__(self, o):
        return Dual.of(o) ** self

    def __neg__(self):
        return Dual(-self.v, -self.d)

    def __pos__(self):
        return self

    def __abs__(self):
        size = abs(self.v)
        return Dual(size, (self.v.real * self.d.real + self.v.imag * self.d.imag) / size)

    def __lt__(self, o):
        return self.v.real < Dual.of(o).v.real

    def __gt__(self, o):
        return self.v.real > Dual.of(o).v.real

    def __eq__(self, o):
        return self.v == Dual.of(o).v

    def __hash__(self):
        return hash(self.v)

    real = property(lambda self: Dual(complex(self.v).real, complex(self.d).real))
    imag = property(lambda self: Dual(complex(self.v).imag, complex(self.d).imag))

    def conjugate(self):
        return Dual(complex(self.v).conjugate(), complex(self.d).conjugate())

    def angle(self):
        return Dual(cmath.phase(self.v), (complex(self.v).conjugate() * self.d).imag / abs(self.v) ** 2)


def _holomorphic(name, f, slope):
    setattr(Dual, name, lambda self: Dual(f(self.v), slope(self.v) * self.d))


for _name, _slope in {
    "exp": cmath.exp, "log": lambda z: 1 / z, "sqrt": lambda z: 0.5 / cmath.sqrt(z), "sin": cmath.cos, "sinh": cmath.cosh,
    "cos": lambda z: -cmath.sin(z), "cosh": cmath.sinh, "tan": lambda z: cmath.cos(z) ** -2,
    "tanh": lambda z: cmath.cosh(z) ** -2,
}.items():  # fmt: skip
    _holomorphic(_name, getattr(cmath, _name), _slope)
Dual.square = lambda self: self * self


def dual(value, dot):
    """A value with its tangent: arrays become arrays of dual numbers."""
    if isinstance(value, tuple):
        items = [dual(v, d) for v, d in zip(value, dot, strict=True)]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, (int, bool)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "ib":
        return value
    if isinstance(value, np.ndarray):
        out = np.empty(value.shape, object)
        for i in np.ndindex(value.shape):
            out[i] = Dual(value[i].item(), dot[i].item())
        return out
    return Dual(value, dot)


# -------------------------------------------------------------------------------------------------------------- models
rng = np.random.default_rng(5)
Z = rng.normal(size=5) + 1j * rng.normal(size=5)
W = rng.normal(size=5) + 1j * rng.normal(size=5)
M = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
R = rng.normal(size=5)


def arithmetic(z, w):
    return (z + w) * (z - 2.0) / (w * w + 1j) + 3 * z - w / 2.0 - 1.0 / z + (-w) * (+z)


def powers(z, w):
    return z**3 - z**-2 + w**0 + z**1 + (z * 0.1) ** w + z**2.5 + 2.0**w


def functions(z):
    u = np.exp(z * 0.3) + np.log(z) * np.sqrt(z) + np.sin(z) * np.cos(z)
    return u - np.sinh(z) / np.cosh(z * 0.1) + np.tan(z) * np.tanh(z)


def not_holomorphic(z, w):
    return abs(z) * np.conj(w) + z.conjugate() * w.real - w.imag * 1j + np.abs(w) ** 2


def parts(z, x):
    t = complex(x, x * x)
    u = z * t
    if u.real > 0.1:
        u = u * u
    return u.real * u.imag, np.real(z) + np.imag(t), u == z


def mandelbrot(c, n):
    """The state of an escaping point, and when it escaped."""
    z = 0.0
    for _ in range(n):
        z = z * z + c
        if z.real * z.real + z.imag * z.imag > 9.0:
            return z, z.real
    return z, abs(z)


def by_element(z, w):
    out = np.empty_like(z)
    for k in range(len(z)):
        out[k] = z[k] * w[-1 - k] + 1j
        if k > 0:
            out[k] *= out[k - 1] * 0.5
        out[k] -= w[k]
    return out


def arrays(z, w, r):
    u = z * w + r
    v = u.copy()
    v[1:-1] = u[2:] - 1j * u[:-2]
    v[0] = 2.0
    v *= w
    v[::2] += r[::2] * 0.5
    return v / (z + 3.0), np.exp(v * 0.1) * np.conj(u[::-1])


def overlapping(z):
    z[1:] = z[:-1] * z[1:]
    z[:] = z[::-1] * 1j
    return z


def matrices(m, z):
    a = m.T
    s = np.sum(m * m) + np.trace(m[:, :3])
    return a @ m, m @ z[:4], np.dot(z, z), np.vdot(z, z * 1j), s


def moved(m, z):
    b = np.concatenate((z, z * 1j))
    return np.roll(z, 2), m.reshape(4, 3), b[::3], np.transpose(m), m.ravel() * 2.0, np.outer(z, z)


def chosen(z, w, x):
    u = z
    if x > 0.0:
        u = w
    t = z[0] if x < 0.0 else w[1] * x
    a, b = z[1], w[2]
    a, b = b, a * x
    return u[0] * t, a * b


def rotated(z, w, steps):
    for k in range(steps):
        v = z * np.exp(1j * w)
        z, w = v, z * 0.5
    return z, w


def over(z, w):
    s = 0j
    for k, x in enumerate(z):
        s += x * w[k]
    for x in w:
        s = s + x * x
    return s


def scaled(u, c):
    u *= c
    for k in range(1, len(u)):
        u[k] += u[k - 1] * c
    return u[0]


def in_helpers(z, c):
    v = z.copy()
    a = scaled(v, c)
    b = scaled(v[1:], a * 0.1)
    return v, a * b


class Potential(NamedTuple):
    dt: float
    potential: np.ndarray


class Field(NamedTuple):
    psi: np.ndarray
    phase: complex
    time: float


def structured(s):
    return Field(s.psi * s.phase, s.phase * np.exp(1j * s.time), s.time + abs(s.phase))


def butterflies(x):
    """A transform of four numbers, in two rounds."""
    y = np.empty_like(x)
    for k in range(2):
        y[k] = x[k] + x[k + 2]
        y[k + 2] = (x[k] - x[k + 2]) * (1.0 if k == 0 else -1j)
    out = np.empty_like(x)
    for k in range(2):
        out[k] = y[2 * k] + y[2 * k + 1]
        out[k + 2] = y[2 * k] - y[2 * k + 1]
    return out


def solved(a, z):
    x = np.linalg.solve(a, z)
    return x * x, np.linalg.inv(a), np.linalg.det(a.T), np.linalg.solve(a[::-1], a)


def solved_by_hand(a, z):
    """Cramer's rule and cofactors, of three numbers."""

    def det(m):
        return (
            m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
            - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
            + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
        )

    def solve(m, b):
        out = []
        for k in range(3):
            c = m.copy()
            c[:, k] = b
            out.append(det(c) / det(m))
        return np.array(out)

    unit = [np.array([1.0 if i == k else 0.0 for i in range(3)]) for k in range(3)]
    x = solve(a, z)
    inverse = np.stack([solve(a, e) for e in unit], 1)
    return x * x, inverse, det(a), np.stack([solve(a[::-1], a[:, k]) for k in range(3)], 1)


def accumulated(z, m):
    return np.prod(z) + m.prod(), np.cumprod(z), np.cumprod(m, axis=1), z.cumprod() * z.cumsum(), sum(z), np.asarray(z) * 2.0


def statistics(z, m):
    return z.mean() * np.mean(m), np.var(z), z.var() * z.std() * np.std(z - 1j), np.std(m), m.var(axis=1), np.std(m, axis=0)


def statistics_by_hand(z, m):
    def var(z):
        return sum(abs(x - sum(z) / len(z)) ** 2 for x in z) / len(z)

    def std(z):
        return var(z) ** 0.5

    rows, flat = [np.array(row, object) for row in m], m.ravel()
    return (
        sum(z) / len(z) * (sum(flat) / len(flat)), var(z), var(z) * std(z) * std(z), std(flat),
        np.array([var(row) for row in rows], object), np.array([std(column) for column in m.T], object),
    )  # fmt: skip


def norms(z, m):
    norm = np.linalg.norm
    return norm(z), norm(z, 1), norm(z, 3), norm(z, np.inf), norm(z, -np.inf), norm(m), norm(m, 1), norm(m, np.inf)


def norms_by_hand(z, m):
    def norm(z, p):
        return sum(abs(x) ** p for x in z) ** (1.0 / p)

    size, sizes = [abs(x) for x in z], [[abs(x) for x in row] for row in m]
    columns, rows = [sum(column) for column in zip(*sizes, strict=True)], [sum(row) for row in sizes]
    return norm(z, 2), sum(size), norm(z, 3), max(size), min(size), norm(m.ravel(), 2), max(columns), max(rows)


def placed(z, w, m, index, on):
    z[index] = w[index[::-1]] * 2j
    z[on] *= 1j
    z[np.array([1, 4])] += w[:2]
    z[index] = z[index[::-1]]
    w[on] = z[on] + 1.0
    w[~on] = 0.5
    m[np.array([2, 0]), 1:3] = z[1:3]
    m[:, np.array([3, 0])] -= w[3]
    m[1, on[:4]] = 2j
    return z, w, m[np.array([0, 2]), np.array([3, 1])], m, z[on].sum()


def with_real_ones(z, r, k, on):
    ends = np.linspace(1, z[0], 3)
    return np.where(on, z, 1), np.where(on, k, z) * np.where(on, z, r), np.concatenate((z, k)), np.append(r, z), ends


def with_real_ones_by_hand(z, r, k, on):
    first = np.array([x if bit else 1.0 for x, bit in zip(z, on, strict=True)], object)
    second = [j if bit else x for j, x, bit in zip(k, z, on, strict=True)]
    third = [x if bit else j for j, x, bit in zip(r, z, on, strict=True)]
    ends = np.array([1.0 + 0.0 * z[0], (z[0] + 1.0) / 2.0, z[0]], object)
    return (
        first, np.array(second, object) * np.array(third, object), np.concatenate((z, k)), np.concatenate((r, z)), ends,
    )  # fmt: skip


def as_long_as_one(z, w, m):
    m *= w
    u = z * w
    z[1:] = w
    return z * w + u + m[0, 0], m * u[:4]


def rearranged(m):
    first = np.repeat(m[0], 2), np.take(m[:, 0], np.array([1, 2])), np.ravel(m) * 2.0, np.reshape(m, (4, 3))
    return first + (np.swapaxes(m, 0, 1) * 1j, np.expand_dims(m, 1), np.fliplr(m), np.flipud(m), np.tile(m[1], 2), m.repeat(2))


ROTATION, SHIFT = np.exp(0.3j), W[:4].copy()


def captured(z):
    return z[:4] * ROTATION + SHIFT, z[0] * 2j


def real_out_of_complex(z):
    u = z.real * 2.0
    u[1] = z[2].imag * z[0].real
    return u, np.abs(z) + np.angle(z)


MODELS = {
    "arithmetic": (arithmetic, (1.2 - 0.7j, 0.4 + 0.9j)),
    "arithmetic of arrays": (arithmetic, (Z, W)),
    "powers": (powers, (1.2 - 0.7j, 0.4 + 0.9j)),
    "powers of arrays": (powers, (Z, W)),
    "functions": (functions, (0.8 - 0.7j,)),
    "functions of arrays": (functions, (Z,)),
    "not holomorphic": (not_holomorphic, (0.8 - 0.7j, -0.3 + 0.2j)),
    "parts": (parts, (0.8 - 0.7j, 0.9)),
    "parts, the other way": (parts, (-0.8 - 0.7j, 0.9)),
    "mandelbrot": (mandelbrot, (0.5 + 0.6j, 9)),
    "mandelbrot inside": (mandelbrot, (-0.5 + 0.1j, 6)),
    "by element": (by_element, (Z, W)),
    "arrays": (arrays, (Z, W, R)),
    "overlapping": (overlapping, (Z,)),
    "matrices": (matrices, (M, Z)),
    "moved": (moved, (M, Z)),
    "chosen": (chosen, (Z, W, 0.7)),
    "chosen otherwise": (chosen, (Z, W, -0.7)),
    "rotated": (rotated, (Z, W, 3)),
    "over": (over, (Z, W)),
    "helpers": (in_helpers, (Z, 0.4 - 0.2j)),
    "structured": (structured, (Field(Z, 0.6 + 0.3j, 0.2),)),
    "butterflies": (butterflies, (Z[:4].copy(),)),
    "captured": (captured, (Z,)),
    "accumulated": (accumulated, (Z, M)),
    "statistics": (statistics, (Z, M)),
    "norms": (norms, (Z, M)),
    "placed": (placed, (Z, W, M, np.array([0, 3]), np.array([True, False, False, True, True]))),
    "with real ones": (with_real_ones, (Z, R, np.arange(-2, 3), np.array([True, False, False, True, True]))),
    "as long as one": (as_long_as_one, (Z, W[:1].copy(), M)),
    "rearranged": (rearranged, (M,)),
    "solved": (solved, (M[:, :3] + 2.0 * np.eye(3), Z[:3].copy())),
}


#: what dual numbers run instead
BY_HAND = {
    "solved": solved_by_hand, "statistics": statistics_by_hand, "norms": norms_by_hand, "with real ones": with_real_ones_by_hand,
}  # fmt: skip
