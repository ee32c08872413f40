"""Newton's method for ``adj.root``: the parts that are lowered with a residual, and the parts that are compiled as they are.

In what is lowered, ``residual(x)`` and ``tangent(x, x_dot)`` (the Jacobian times ``x_dot``) stand for code that is written out
there.  A dense Jacobian is found column by column, a banded one by as many tangents as it has diagonals (A. Curtis, M. Powell,
J. Reid, "On the estimation of sparse Jacobian matrices", 1974), and by one more, which shows whether it is as narrow as it is
said to be.  One of a pattern is found by as many as there are groups of columns without a common row.

An update is the last one, and is made, if one of these holds (u is the unit of rounding of x's dtype, 2.2e-16 for float64, and
the *change* of an iteration is the largest of the relative changes of the unknowns, each in units of its own new value):

* the change is at most ``tol``, which is 64 u unless the user says otherwise;
* ``change**2 <= u * min(1, the change before)``: as it shrinks, the next change would be lost in rounding;
* every residual is at most 64 u times the sum of |dr_i/dx_j x_j| over j: it is what rounding leaves of its terms, and the
  update is as good as can be had, whatever the condition of the system (W. Oettli, W. Prager, 1964).

None of these depends on the units of unknowns and equations.  As Newton's method converges quadratically, what is left after
that update is rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload

from .factored import banded_factor, banded_solve, factorise, lu_factor, lu_solve, solve
from .lapack import INTERNAL, factorise_bands, report, solve_bands
from .registry import CustomFunction, Kinds, frozen
from .sparselu import factorise_sparse, solve_sparse, sparse_factor, sparse_solve
from .spec import ArraySpec, ScalarSpec, Spec, TupleSpec

__all__ = ["BANDS", "DONE", "LIMIT", "NOT_FINITE", "SINGULAR", "SOLVERS"]

GO_ON, DONE, LIMIT, NOT_FINITE, SINGULAR, BANDS = range(6)


# ------------------------------------------------------------------------------------------------------ compiled as it is
def _read_only(factors):
    """Factors as those who only read them have them: compiled code for these is there already."""
    return factors


@overload(_read_only)
def _compiled_read_only(factors):
    return lambda factors: frozen(factors)


@njit(**INTERNAL)
def moved(x, dx):
    """x - dx, and the change."""
    new, change = x.copy(), 0.0
    for i in range(len(x)):
        new[i] = x[i] - dx[i]
        if dx[i] != 0.0:
            own = abs(dx[i]) / abs(new[i])
            change = max(change, own) if np.isfinite(own) else np.inf
    return new, change


@njit(**INTERNAL)
def state_after(change, before, noise, tol, unit):
    return DONE if noise or change <= tol or change * change <= unit * min(before, 1.0) else GO_ON


@njit(**INTERNAL)
def size_of(r):
    """The largest residual, NaN if one is."""
    size = 0.0
    for i in range(len(r)):
        size = max(size, abs(r[i])) if not np.isnan(r[i]) else np.nan
        if np.isnan(size):
            break
    return size


@njit(**INTERNAL)
def elsewhere(found, most, whole, unit):
    """Whether a sum of terms, the largest being ``most``, is not the ``whole`` one."""
    return abs(found - whole) > min(np.sqrt(unit), 65536.0 * unit) * max(most, abs(whole))


def _advance_banded(bands, lower, probe, probed, r, x, before, tol, unit):
    """The next x, the change, the largest residual, and how it stands, with a banded Jacobian; ``probed`` is the whole Jacobian
    times ``probe``."""
    size = size_of(r)
    if not np.isfinite(size):
        return x.copy(), np.nan, size, NOT_FINITE
    n, upper = len(x), bands.shape[0] - 1 - lower
    noise, transposed = size >= 0.0, size < 0.0  # true and false, but no literals: Numba would compile it all for these again
    for i in range(n):
        found, most, terms = 0.0, 0.0, 0.0
        for j in range(max(0, i - lower), min(n, i + upper + 1)):
            a = bands[upper + i - j, j]
            found += a * probe[j]
            most = max(most, abs(a * probe[j]))
            terms += abs(a * x[j])
        if elsewhere(found, most, probed[i], unit):
            return x.copy(), np.nan, size, BANDS
        noise = noise and abs(r[i]) <= 64.0 * unit * terms
    factors = np.empty((n, bands.shape[0] + lower + 1), np.int64)
    if not factorise_bands(bands, lower, factors):
        return x.copy(), np.nan, size, SINGULAR
    dx = np.empty_like(r)
    solve_bands(_read_only(factors), r, lower, transposed, dx)
    new, change = moved(x, dx)
    return new, change, size, state_after(change, before, noise, tol, unit)


def _advance_sparse(values, first, rows, probe, probed, r, x, before, tol, unit):
    """The same with a Jacobian of which ``values`` are there, the rows of column j being ``rows[first[j] : first[j + 1]]``."""
    size = size_of(r)
    if not np.isfinite(size):
        return x.copy(), np.nan, size, NOT_FINITE
    n = len(x)
    found, most, terms = np.zeros(n), np.zeros(n), np.zeros(n)
    for j in range(n):
        for m in range(first[j], first[j + 1]):
            i, part = rows[m], values[m] * probe[j]
            found[i] += part
            most[i] = max(most[i], abs(part))
            terms[i] += abs(values[m] * x[j])
    noise, transposed = size >= 0.0, size < 0.0  # true and false, but no literals: Numba would compile it all for these again
    for i in range(n):
        if elsewhere(found[i], most[i], probed[i], unit):
            return x.copy(), np.nan, size, BANDS
        noise = noise and abs(r[i]) <= 64.0 * unit * terms[i]
    factors = np.empty(len(values) + 2, np.int64)
    if not factorise_sparse(values, first, rows, factors):
        return x.copy(), np.nan, size, SINGULAR
    dx = np.empty_like(r)
    solve_sparse(_read_only(factors), r, first, rows, transposed, dx)
    new, change = moved(x, dx)
    return new, change, size, state_after(change, before, noise, tol, unit)


def _advanced(x: int) -> object:
    def types(kinds: Kinds) -> Spec:
        return TupleSpec((ArraySpec(kinds[x][0], 1), ScalarSpec("f8"), ScalarSpec("f8"), ScalarSpec("i8")))

    return types


advance_banded = CustomFunction(
    _advance_banded,
    lambda bands, lower, probe, probed, r, x, before, tol, unit: (x.shape,),
    _advanced(5),  # type: ignore[arg-type]
)
advance_sparse = CustomFunction(
    _advance_sparse,
    lambda values, first, rows, probe, probed, r, x, before, tol, unit: (x.shape,),
    _advanced(6),  # type: ignore[arg-type]
)


# -------------------------------------------------------------------------------------------------- lowered with a residual
def fill(tangent, x, jac):
    """The dense Jacobian."""
    seed = np.zeros_like(x)
    for j in range(len(x)):
        seed[j] = 1.0
        column = tangent(x, seed)
        for i in range(len(x)):
            jac[i, j] = column[i]
        seed[j] = 0.0


def fill_bands(tangent, x, lower, upper, bands):
    """The banded Jacobian."""
    n = len(x)
    width = lower + upper + 1
    seed = np.zeros_like(x)
    for first in range(min(width, n)):
        for j in range(first, n, width):
            seed[j] = 1.0
        column = tangent(x, seed)
        for j in range(first, n, width):
            seed[j] = 0.0
            for i in range(max(0, j - upper), min(n, j + lower + 1)):
                bands[upper + i - j, j] = column[i]


def fill_sparse(tangent, x, groups, columns, first, rows, values):
    """The numbers of a sparse Jacobian."""
    seed = np.zeros_like(x)
    for group in range(len(groups) - 1):
        for k in range(groups[group], groups[group + 1]):
            seed[columns[k]] = 1.0
        column = tangent(x, seed)
        for k in range(groups[group], groups[group + 1]):
            j = columns[k]
            seed[j] = 0.0
            for m in range(first[j], first[j + 1]):
                values[m] = column[rows[m]]


def advance(jac, factors, r, x, before, tol, unit):
    """Move x by one iteration: the change, the largest residual, and how it stands.  (What code names from outside is looked up
    at every run: numbers are written out.)"""
    size = 0.0
    for i in range(len(r)):
        size = max(size, abs(r[i])) if not np.isnan(r[i]) and not np.isnan(size) else np.nan
    change = np.nan
    state = 3  # NOT_FINITE
    if np.isfinite(size):
        state = 4  # SINGULAR
        if factorise(jac, factors):
            state = 0
            noise = True
            for i in range(len(x)):
                terms = 0.0
                for j in range(len(x)):
                    terms += abs(jac[i, j] * x[j])
                noise = noise and abs(r[i]) <= 64.0 * unit * terms
            solve(factors, r, 0, r)
            change = 0.0
            for i in range(len(x)):
                x[i] -= r[i]
                if r[i] != 0.0:
                    own = abs(r[i]) / abs(x[i])
                    change = max(change, own) if np.isfinite(own) else np.inf
            if noise or change <= tol or change * change <= unit * min(before, 1.0):
                state = 1  # DONE
    return change, size, state


def dense_newton(residual, tangent, x, tol, unit, limit):
    """Move ``x`` to a root; returns DONE, or what went wrong."""
    n = len(x)
    jac = np.empty((n, n))
    factors = np.empty((n + 1, n), np.int64)
    r = np.empty(n)
    updates = np.zeros(limit)
    state = 0
    k = 0
    change = 0.0
    size = 0.0
    while state == 0:
        r[:] = residual(x)
        fill(tangent, x, jac)
        change, size, state = advance(jac, factors, r, x, change, tol, unit)
        updates[k] = change
        k += 1
        if state == 0 and k == limit:
            state = 2
    if state != 1:
        state = report(state, size, updates[:k])[0]
    return state


def banded_newton(residual, tangent, x, lower, upper, tol, unit, limit):
    """The same with a banded Jacobian."""
    n = len(x)
    bands = np.zeros((lower + upper + 1, n))
    r = np.empty(n)
    probe = np.empty_like(x)
    for j in range(n):
        probe[j] = 1.0 + 0.25 * (j * j % 7)
    probed = np.empty(n)
    updates = np.zeros(limit)
    state = 0
    k = 0
    change = 0.0
    size = 0.0
    while state == 0:
        r[:] = residual(x)
        fill_bands(tangent, x, lower, upper, bands)
        probed[:] = tangent(x, probe)
        new, change, size, state = advance_banded(bands, lower, probe, probed, r, x, change, tol, unit)
        x[:] = new
        updates[k] = change
        k += 1
        if state == 0 and k == limit:
            state = 2
    if state != 1:
        state = report(state, size, updates[:k])[0]
    return state


def sparse_newton(residual, tangent, x, groups, columns, first, rows, tol, unit, limit):
    """The same with a sparse Jacobian."""
    n = len(x)
    values = np.empty(len(rows))
    r = np.empty(n)
    probe = np.empty_like(x)
    for j in range(n):
        probe[j] = 1.0 + 0.25 * (j * j % 7)
    probed = np.empty(n)
    updates = np.zeros(limit)
    state = 0
    k = 0
    change = 0.0
    size = 0.0
    while state == 0:
        r[:] = residual(x)
        fill_sparse(tangent, x, groups, columns, first, rows, values)
        probed[:] = tangent(x, probe)
        new, change, size, state = advance_sparse(values, first, rows, probe, probed, r, x, change, tol, unit)
        x[:] = new
        updates[k] = change
        k += 1
        if state == 0 and k == limit:
            state = 2
    if state != 1:
        state = report(state, size, updates[:k])[0]
    return state


def dense_solution(tangent, x, b, transposed):
    """The solution of the system of the Jacobian at ``x``, or of the transposed one."""
    n = len(x)
    jac = np.empty((n, n))
    fill(tangent, x, jac)
    return lu_solve(jac, lu_factor(jac), b.astype(np.float64), transposed)


def banded_solution(tangent, x, lower, upper, b, transposed):
    """The same with a banded Jacobian."""
    bands = np.zeros((lower + upper + 1, len(x)))
    fill_bands(tangent, x, lower, upper, bands)
    return banded_solve(bands, banded_factor(bands, lower), b.astype(np.float64), lower, transposed)


def sparse_solution(tangent, x, groups, columns, first, rows, b, transposed):
    """The same with a sparse Jacobian."""
    values = np.empty(len(rows))
    fill_sparse(tangent, x, groups, columns, first, rows, values)
    return sparse_solve(values, sparse_factor(values, first, rows), b.astype(np.float64), first, rows, transposed)


#: for each kind of Jacobian: Newton's method, and the solution of one system
SOLVERS = {
    "dense": (dense_newton, dense_solution),
    "banded": (banded_newton, banded_solution),
    "sparse": (sparse_newton, sparse_solution),
}
