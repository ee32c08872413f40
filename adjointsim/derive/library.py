"""Functions of NumPy's, written in the language that is derived: sorting, searching, interpolation, convolution.

They are lowered where a step calls NumPy's, as helpers of the user's are.  What they find (an order, a place) is inert.
Memory is given to them, so that each is one function however often it is called.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "argsort", "convolve", "cross", "interp", "interp_all", "median", "searchsorted", "searchsorted_all", "sort_rows",
    "trapezoid", "trapezoid_at",
]  # fmt: skip

Array = Any  # np.ndarray, as the deriver reads it


def argsort(a: Array, order: Array, other: Array) -> None:
    """A stable order by merging; NaN comes last."""
    n = len(a)
    for i in range(n):
        order[i] = i
    width = 1
    while width < n:
        for low in range(0, n, 2 * width):
            middle = min(low + width, n)
            high = min(low + 2 * width, n)
            i = low
            j = middle
            for k in range(low, high):
                left = j >= high
                if i < middle and j < high:
                    x = a[order[i]]
                    y = a[order[j]]
                    left = not (y < x or (x != x and y == y))
                if left:
                    other[k] = order[i]
                    i += 1
                else:
                    other[k] = order[j]
                    j += 1
        order[:] = other
        width *= 2


def sort_rows(m: Array, out: Array, order: Array, other: Array) -> None:
    """Every row sorted."""
    for i in range(m.shape[0]):
        argsort(m[i], order, other)
        for j in range(m.shape[1]):
            out[i, j] = m[i, order[j]]


def median(a: Array, order: Array) -> Any:
    """The middle one of an ordered array, or the mean of the two; NaN if there is one."""
    n = len(a)
    if n == 0:
        raise ValueError("the median of an empty array")
    low = a[order[(n - 1) // 2]]
    high = a[order[n // 2]]
    last = a[order[n - 1]]
    if last != last:
        return last
    if n % 2 == 1:
        return low
    return (low + high) / 2.0


def searchsorted(a: Array, v: Any, right: bool) -> int:
    """The first place of a sorted array before which ``v`` belongs: after equal ones if ``right``."""
    low = 0
    high = len(a)
    while low < high:
        middle = (low + high) // 2
        if a[middle] < v or (right and a[middle] == v) or (v != v and a[middle] == a[middle]):
            low = middle + 1
        else:
            high = middle
    return low


def searchsorted_all(a: Array, v: Array, right: bool, out: Array) -> None:
    """The places of the elements of an array."""
    for i in range(len(v)):
        out[i] = searchsorted(a, v[i], right)


def interp(x: Any, xp: Array, fp: Array) -> Any:
    """Linear between the nodes, constant beyond them; at a node, the slope to its right."""
    last = len(xp) - 1
    if x >= xp[last]:
        return fp[last]
    if x < xp[0]:
        return fp[0]
    low = 0
    high = last
    while high - low > 1:
        middle = (low + high) // 2
        if xp[middle] <= x:
            low = middle
        else:
            high = middle
    return (fp[high] - fp[low]) / (xp[high] - xp[low]) * (x - xp[low]) + fp[low]


def interp_all(x: Array, xp: Array, fp: Array, out: Array) -> None:
    """The values at the elements of an array."""
    for i in range(len(x)):
        out[i] = interp(x[i], xp, fp)


def trapezoid(y: Array, dx: Any) -> Any:
    """The integral by trapezia of one width."""
    total = 0.0
    for i in range(1, len(y)):
        total += dx * (y[i] + y[i - 1]) / 2.0
    return total


def trapezoid_at(y: Array, x: Array) -> Any:
    """The integral by trapezia between nodes."""
    total = 0.0
    for i in range(1, len(y)):
        total += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2.0
    return total


def convolve(a: Array, v: Array, out: Array) -> None:
    """All sums of products of elements at places that add up to the same; ``out`` holds zeros."""
    for i in range(len(a)):
        for j in range(len(v)):
            out[i + j] += a[i] * v[j]


def cross(a: Array, b: Array, out: Array) -> None:
    """The product of two vectors in space that is at right angles to both."""
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]
