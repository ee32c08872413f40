"""What speed rests on, asserted of the generated code: vectors in the kernels, no allocation in a sweep, one compilation."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest

import adjointsim as adj
from adjointsim import kit
from adjointsim.call import Call

#: arithmetic on vectors of doubles: two, four or eight in x86 registers, two in those of ARM
VECTORS = {
    "x86_64": r"\bv?(?:f[n]?m(?:add|sub)\w*|add|sub|mul|div)pd\b",
    "AMD64": r"\bv?(?:f[n]?m(?:add|sub)\w*|add|sub|mul|div)pd\b",
    "aarch64": r"\bf(?:add|sub|mul|mla|mls|div)(?:\.2d|\s+v\d+\.2d)",
    "arm64": r"\bf(?:add|sub|mul|mla|mls|div)(?:\.2d|\s+v\d+\.2d)",
}
ALLOCATES = re.compile(r"NRT_(?:MemInfo_a|A)ll\w+|\bmalloc\b")
vectors = pytest.mark.skipif(platform.machine() not in VECTORS, reason="how vectors are written on this processor is not known")


@adj.step
def line(n, u, k):
    """A one-dimensional stencil with ends, and a number's derivative."""
    out = np.empty_like(u)
    last = len(u) - 1
    out[0], out[last] = u[0], u[last]
    for i in range(1, last):
        out[i] = u[i] - 0.1 * u[i] * (u[i + 1] - u[i - 1]) + k * (u[i + 1] - 2.0 * u[i] + u[i - 1])
    return out


@adj.step
def slices(n, u, k):
    """The same as array expressions."""
    out = u.copy()
    out[1:-1] = u[1:-1] - 0.1 * u[1:-1] * (u[2:] - u[:-2]) + k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return out


SPEED = 0.2


@adj.step
def plane(n, y, c):
    """A two-dimensional leapfrog with a coefficient at every point, and a number from outside."""
    u, before = y
    new = np.zeros_like(u)
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            around = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] - 4.0 * u[i, j]
            new[i, j] = 2.0 * u[i, j] - before[i, j] + SPEED * c[i, j] * around
    return new, u


@adj.step
def bodies(n, x, m):
    """Sums in loops in loops, with roots and quotients."""
    out = np.empty_like(x)
    for i in range(len(x)):
        a = 0.0
        for j in range(len(x)):
            d = x[j] - x[i]
            a += m[j] * d / np.sqrt(d * d + 0.01)
        out[i] = x[i] + 0.01 * a
    return out


def square(u, p):
    return np.sum(u * u)


def first_square(y, p):
    return np.sum(y[0] * y[0])


def arguments(name, n):
    rng = np.random.default_rng(n)
    if name == "plane":
        u = rng.standard_normal((n, n))
        return (u, 0.9 * u), rng.uniform(0.5, 1.0, (n, n))
    return rng.standard_normal(n), rng.uniform(0.5, 1.0, n) / n if name == "bodies" else 0.1


STEPS = {"line": line, "slices": slices, "plane": plane, "bodies": bodies}


def simulation(name, n_steps, **options):
    return adj.Simulation(STEPS[name], n_steps, terminal=first_square if name == "plane" else square, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The drivers' kits, after runs with different numbers of steps, cells and slots; compiled here, so that there is a text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADJOINTSIM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        found = {}
        for name in STEPS:
            for n_steps, n, options in ((3, 12, {}), (20, 12, {"checkpoints": 4}), (50, 17, {}), (400, 40, {"memory": "2MB"})):
                simulation(name, n_steps, **options).value_and_grad(*arguments(name, n))
            call = Call(simulation(name, 3), *arguments(name, 12), ("y0", "p"))
            found[name] = kit.kit_of(call.problem, True)
        return found


def functions(driver):
    """The lines of assembly of each function of a module."""
    (text,) = driver.inspect_asm().values()
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line_ in text.splitlines():
        label = re.match(r"^\"?([\w.$@<>]+)\"?:", line_)
        if label and not label[1].startswith((".L", "L")):
            lines = found.setdefault(label[1], [])
        lines.append(line_)
    return found


def of(found, name):
    """The lines of the functions whose name begins like this (a number follows)."""
    return [line_ for label, lines in found.items() if re.search(rf"(^|[._]){name}\.[0-9a-f]{{16}}", label) for line_ in lines]


@vectors
@pytest.mark.parametrize("name", STEPS)
def test_kernels_are_vectors(name, built):
    found = functions(built[name].driver)
    for kernel in (name, f"{name}_vjp"):
        lines = of(found, kernel)
        assert lines, f"no function {kernel} among {sorted(found)}"
        count = sum(bool(re.search(VECTORS[platform.machine()], line_)) for line_ in lines)
        assert count >= 4, f"{kernel} has {count} vector instructions"


def allocations(driver):
    """The lines that name a function which allocates, but for the way in from Python."""
    found = functions(driver)
    return [line_ for label, lines in found.items() if "cpython" not in label for line_ in lines if ALLOCATES.search(line_)]


@pytest.mark.parametrize("name", STEPS)
def test_a_sweep_allocates_nothing(name, built):
    assert built[name].preallocated
    assert not allocations(built[name].driver)


@pytest.mark.parametrize("name", STEPS)
def test_one_compilation_for_all_sizes(name, built):
    assert len(built[name].driver.signatures) == 1


def test_what_is_looked_for_is_there(built, tmp_path, monkeypatch):
    """Names of kernels and of what allocates are those that LLVM writes: here is a step that allocates, and no vector in it."""

    @adj.step
    def growing(n, u, p):
        out = u.copy()
        for i in range(1, len(u)):
            some = np.empty(int(u[0] * u[0]) + i)
            for j in range(len(some)):
                some[j] = p * u[i] if j == 0 else some[j - 1] * u[j % i]
            out[i] = some[len(some) - 1]
        return out

    monkeypatch.setenv("ADJOINTSIM_CACHE_DIR", str(tmp_path))
    sim = adj.Simulation(growing, 3, terminal=square)
    sim.value_and_grad(np.ones(5), 0.1)
    kept = kit.kit_of(Call(sim, np.ones(5), 0.1, ("y0", "p")).problem, True)
    assert not kept.preallocated
    assert allocations(kept.driver)
    assert of(functions(kept.driver), "growing_vjp")
