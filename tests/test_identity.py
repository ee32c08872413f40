"""What a run is: everything that its bits depend on tells it from another one."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
import types
from collections import deque
from fractions import Fraction

import numba
import numpy as np
import pytest
import scipy.sparse

import adjointsim as adj
from adjointsim.derive.identity import identity_of


def reading(value):
    """A function that reads a value from outside."""

    def read(x):
        return value

    return read


def defaults(value):
    def read(x, *, k=value):
        return k

    return read


class Settings:
    def __init__(self, value):
        self.value = value

    def __call__(self, n, y, p):
        return self.value * y

    def method(self, n, y, p):
        return self.value * y


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def class_with(value):
    return type("Local", (), {"__module__": __name__, "__qualname__": "Local", "value": value})


def custom(back, ahead):
    @adj.custom_vjp
    def twice(x):
        return 2.0 * x

    @twice.defvjp
    def vjp(out, bar, x):
        return (back * bar,)

    @twice.defjvp
    def jvp(out, args, args_dot):
        return ahead * args_dot[0]

    return twice


def hand(factor):
    return adj.step(reading(1.0), vjp=lambda n, y, p, bar: (factor * bar, None), jit=False)


TWO, LISTS = (reading(1.0), reading(2.0)), ([1.0], [2.0])
PAIRS = {
    "number": (1.0, 1), "sign": (0.0, -0.0), "single": (np.float32(0.5), 0.5), "array": (np.ones(2000), np.arange(2000.0)),
    "dtype": (np.zeros(2), np.zeros(2, int)), "shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "tuple": ((np.ones(2), 1.0), (np.zeros(2), 1.0)),
    "list": ([1.0, [2.0]], [1.0, [3.0]]), "dict": ({"a": 1}, {"a": 2}), "set": ({1, 2}, {1, 3}),
    "deque": (deque([1]), deque([2])),
    "fraction": (Fraction(1, 2), Fraction(1, 3)), "objects": (np.array([None, 1], object), np.array([None, 2], object)),
    "sparse": (scipy.sparse.eye(3, format="csr"), scipy.sparse.csr_matrix(np.diag([1.0, 2.0, 1.0]))),
    "object": (Settings(1.0), Settings(2.0)), "method": (Settings(1.0).method, Settings(2.0).method),
    "slots": (Slotted(1.0), Slotted(2.0)), "class": (class_with(1.0), class_with(2.0)),
    "instance": (class_with(1.0)(), class_with(2.0)()),
    "namespace": (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    "partial": (functools.partial(max, 1), functools.partial(max, 2)), "closure": (reading(reading(1.0)), reading(reading(2.0))),
    "cache": (functools.lru_cache(reading(1.0)), functools.lru_cache(reading(2.0))), "default": (defaults(1.0), defaults(2.0)),
    "bound": ([1.0].__getitem__, [2.0].__getitem__), "lookup": ({1: 2}.get, {1: 3}.get), "builtin": (math.sin, math.cos),
    "ufunc": (np.sin, np.cos), "functions": ((math.sin, abs), (math.cos, abs)),
    "which": ((*TWO, TWO[0]), (*TWO, TWO[1])), "which list": ([*LISTS, LISTS[0]], [*LISTS, LISTS[1]]),
    "compiled": (numba.njit(reading(1.0)), numba.njit(reading(2.0))),
    "fastmath": (numba.njit(reading(1.0)), numba.njit(fastmath=True)(reading(1.0))),
    "defvjp": (custom(2.0, 2.0), custom(3.0, 2.0)), "defjvp": (custom(2.0, 2.0), custom(2.0, 3.0)),
    "step": (hand(1.0), hand(2.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_values_from_outside(name):
    """Directly, and read by a function that is read by a function."""
    one, other = PAIRS[name]
    for wrap in (reading, lambda value: reading(reading(value))):
        assert identity_of(wrap(one)) == identity_of(wrap(one)) != identity_of(wrap(other))
    if callable(one):
        assert identity_of(one) == identity_of(one) != identity_of(other)


def test_what_is_deep():
    """Lists in lists, deeper than Python's stack; the innermost counts."""

    def deep(value):
        for _ in range(20_000):
            value = [value]
        return reading(value)

    assert identity_of(deep(1)) == identity_of(deep(1)) != identity_of(deep(2))


def test_what_holds_itself_and_what_nobody_knows():
    """Cycles end; objects that Python cannot look into are told by their types, and an empty cell is no error."""
    ring, settings = [], Settings(None)
    ring.append(ring)
    settings.value = settings
    for value in (ring, settings, np.random.default_rng(0), object()):
        assert identity_of(reading(value)) == identity_of(reading(value))

    def outer():
        def reads_later():
            return late

        found = identity_of(reads_later)
        late = 1
        return found, identity_of(reads_later)

    before, after = outer()
    assert before != after


PROGRAM = """
import functools, logging, numpy as np
from adjointsim.derive.identity import identity_of

log = logging.getLogger(__name__)

class Model:
    scale = {"a": 1.0}
    def __init__(self): self.tags = {"x", "y", "z"}
    @property
    def size(self): return 3
    @functools.cached_property
    def factor(self): return 2.0

model = Model()

def step(n, y, p, part=functools.partial(max, 1)):
    log.debug("step")
    return y if "x" in {"x", "y", "z"} and n in model.tags else np.sin(y)

before = identity_of(step)
model.factor
assert identity_of(step) == before
print(before)
"""


def test_the_same_in_every_process(tmp_path):
    """Whatever the order of sets there; and what an object computed and kept does not matter."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    found = set()
    for seed in "012":
        out = subprocess.run([sys.executable, program], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                             capture_output=True, text=True, check=True)  # fmt: skip
        found.add(out.stdout)
    assert len(found) == 1 and found != {""}


def test_one_custom_function_is_not_another():
    """Same text, same bytecode, another function from outside: other code."""

    def simulation(f, derivative):
        @adj.custom_vjp
        def apply(x):
            return f(x)

        @apply.defvjp
        def vjp(out, bar, x):
            return (bar * derivative(x),)

        @adj.step
        def step(n, y, p):
            return apply(y) * p

        return adj.Simulation(step, 1, terminal=lambda y, p: y)

    for f, derivative in ((math.sin, math.cos), (math.cos, lambda x: -math.sin(x)), (math.sinh, math.cosh)):
        value, grad = simulation(f, derivative).value_and_grad(0.3, 2.0)
        assert value == 2.0 * f(0.3) and grad.y0 == pytest.approx(2.0 * derivative(0.3), rel=1e-15)
