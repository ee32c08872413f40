"""Array expressions: what they become, what is refused, lengths that differ as a program runs, and expressions at random."""

from __future__ import annotations

import os

import arraynests
import numpy as np
import pytest
from strategies import load

import adjointsim as adj
from adjointsim.derive import kernel as kernels
from adjointsim.derive.ir import Alloc, Each, For, Store, walk
from adjointsim.errors import OverlapWarning, UnsupportedError

from .harness import Derived
from .test_each import unsplit
from .test_random_programs import check

A = np.array([0.7, -1.1, 0.4, 1.9, -0.6, 0.25])


# ---------------------------------------------------------------------------------------------------- what they become
def fused(u, k):
    return u[1:-1] + k * (u[2:] - 2.0 * u[1:-1] + u[:-2]) * np.sin(u[1:-1])


def summed(u, v):
    return ((u - v) ** 2 / (1.0 + u * u)).sum()


def stepped(u, k):
    out = np.empty_like(u)
    out[0] = out[-1] = 0.0
    out[1:-1] = u[1:-1] + k * (u[2:] - u[:-2])
    return out


def test_an_expression_is_one_each_without_temporaries():
    body = Derived(fused, (A, 0.3)).entry.fn.body
    assert sum(isinstance(s, Each) for s in walk(body)) == 1
    assert not any(isinstance(s, (Alloc, For)) and s.base.role == "local" for s in walk(body) if isinstance(s, Alloc))


def test_a_sum_stores_nothing():
    body = Derived(summed, (A, A[::-1].copy())).entry.fn.body
    (each,) = [s for s in walk(body) if isinstance(s, Each)]
    assert each.sums and not each.stores
    assert not any(isinstance(s, Alloc) for s in walk(body))


def test_slices_need_no_tape_and_no_check_of_lengths():
    """Lengths of slices with literal bounds come out as one value; the reverse is an Each that gathers."""
    derived = Derived(stepped, (A, 0.3))
    kernel = unsplit(derived)
    assert not kernel.arenas
    assert not derived.entry.sites
    assert sum(isinstance(s, Each) and s.part == "linear" and len(s.stores) == 3 for s in walk(kernel.fn.body)) == 1


def test_slices_gather():
    """The reverse of a stencil in slices is one loop over the cells, and the few at the ends by themselves."""
    kernel = kernels.vjp_kernel(Derived(stepped, (A, 0.3)).entry, ["u", "k"])
    loops = [s for s in walk(kernel.fn.body) if isinstance(s, For)]
    assert max(len(s.body) for s in loops) > 12
    assert all(sum(isinstance(st, Store) and st.mode == "add" for st in s.body) <= 1 for s in loops)


# ------------------------------------------------------------------------------------------------------- what is refused
REFUSED = {
    "fits neither": ("def f(a):\n    return np.zeros(3) + np.zeros(4)", "do not fit together"),
    "float into ints": ("def f(a):\n    k = np.zeros(6, np.int64)\n    k[:] = a\n    return a", "array of ints"),
    "in place into ints": ("def f(a):\n    k = np.zeros(6, np.int64)\n    k += a\n    return a", "array of ints"),
    "too many indices": ("def f(a):\n    return a[0, 1:]", "2 indices for a 1-d array"),
    "float index": ("def f(a):\n    return a[a]", "must hold ints or bools"),
    "step of zero": ("def f(a):\n    return a[::0]", "step of a slice"),
    "step at run time": ("def f(a, k=2):\n    return a[:: len(a) // k]", "step of a slice"),
    "truth of an array": ("def f(a):\n    if a > 0.0:\n        return a\n    return a", "truth of a 1-d array"),
    "chained comparison": ("def f(a):\n    return np.where(0.0 < a < 1.0, a, 0.0)", "chain of comparisons"),
    "bool arithmetic": ("def f(a):\n    return ((a > 0.0) + (a > 1.0)) * a", "bools"),
    "bad axis": ("def f(a):\n    return a.sum(axis=1)", "axis must be"),
    "axis at run time": ("def f(a):\n    return a.sum(axis=len(a))", "axis must be"),
    "maximum along two axes": ("def f(a):\n    return a.reshape(1, 2, 3).max(axis=(0, 1))", "along several axes"),
    "an axis twice": ("def f(a):\n    return a.reshape(2, 3).sum(axis=(1, -1))", "twice"),
    "unknown method": ("def f(a):\n    return a.partition(2)", "method 'partition'"),
    "unknown function": ("def f(a):\n    return np.fft.fft(a)", "fft"),
    "unknown keyword": ("def f(a):\n    return np.sum(a, where=a > 0.0)", "where"),
    "two index arrays of other lengths": ("def f(a):\n    return a.reshape(2, 3)[np.arange(2), np.arange(3)]", "fit together"),
    "mask of too many axes": ("def f(a):\n    return a[a.reshape(2, 3) > 0.0]", "mask of 2 axes"),
    "matrix under a mask": ("def f(a):\n    a[a > 0.0] = a.reshape(2, 3)\n    return a", "cannot store"),
    "a list": ("def f(a):\n    return a[[0, 1]]", "list"),
    "product of tensors": ("def f(a):\n    return a.reshape(1, 2, 3) @ a.reshape(2, 3)", "'@'"),
    "builtin max": ("def f(a):\n    return max(a, 0.0)", "of a 1-d array"),
    "wrong permutation": ("def f(a):\n    return a.reshape(2, 3).transpose(0, 0)", "permutation"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    source, words = REFUSED[name]
    f = load("import numpy as np\n\n\n" + source)
    with pytest.raises(UnsupportedError, match="f: ") as found:
        Derived(f, (A,)).entry
    assert words in found.value.msg
    assert found.value.lineno >= 4 and found.value.text


# ------------------------------------------------------------------------------------------------------ as a program runs
def pair(a, b):
    return (a * b).sum()


def assigned(a, b):
    a[:3] = b
    return a.sum()


def reshaped(a, n):
    return a.reshape(n, 2)[0, 1]


def extreme(a):
    return a[1:].max()


@pytest.mark.parametrize(
    "f, args, words",
    [
        (pair, (A, A[:4].copy()), "broadcast"), (assigned, (A, A[:4].copy()), "broadcast"),
        (reshaped, (A, 4), "reshape"), (extreme, (A[:1].copy(),), "empty"),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit_raise(f, args, words):
    with pytest.raises(ValueError, match=words) as found:
        adj.value_and_grad(f)(*args)
    assert type(found.value) is ValueError


def computed(a, n):
    return (a * np.ones(n)).sum()


def test_a_length_of_one_known_only_at_run_time_is_not_broadcast_in_silence():
    assert adj.value_and_grad(computed)(A, 6)[0] == A.sum()
    with pytest.raises(ValueError, match="not where it is computed"):
        adj.value_and_grad(computed)(A, 1)


def overlapping(a):
    a[1:] += a[:-1]
    return a


def apart(a):
    a[1:] += a[:-1] * 1.0
    a[0] *= a[1] + a[2:].sum()
    m = a.reshape(2, 3).copy()
    m[:, 0] -= m[:, 1]
    return m


def test_overlapping_operators_in_place_warn_and_do_as_numpy_does():
    with pytest.warns(OverlapWarning, match=r"test_arrays\.py:\d+: .*NumPy"):
        out, pullback = adj.vjp(overlapping, A)
    np.testing.assert_array_equal(out, overlapping(A.copy()))
    (bar,) = pullback(np.arange(6.0))
    np.testing.assert_allclose(bar, np.arange(6.0) + np.append(np.arange(1.0, 6.0), 0.0))


def test_operators_in_place_where_numba_agrees_do_not_warn():
    out, _ = adj.vjp(apart, A)
    np.testing.assert_array_equal(out, apart(A.copy()))


# ------------------------------------------------------------------------------------------------------------ in a sweep
@adj.step
def burgers(n, u, p):
    flux = 0.5 * u * u
    u[1:-1] = u[1:-1] - p * (flux[2:] - flux[:-2]) + 0.1 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return u


def energy(u, p):
    return (u * u).sum()


def test_a_simulation_of_array_expressions():
    u0 = np.sin(np.linspace(0.0, 3.0, 12))
    results = [adj.Simulation(burgers, 20, terminal=energy, checkpoints=s).value_and_grad(u0, 0.2) for s in (1, 3, 20)]
    for value, grad in results[1:]:
        assert value == results[0][0] and grad.p == results[0][1].p
        assert grad.y0.tobytes() == results[0][1].y0.tobytes()
    u = u0.astype(complex)
    for n in range(20):
        u = burgers.__wrapped__(n, u, 0.2 + 1e-30j)
    assert (u * u).sum().imag / 1e-30 == pytest.approx(results[0][1].p, rel=1e-13)


def test_reverse_of_a_time_step_allocates_nothing():
    sim = adj.Simulation(burgers, 5, terminal=energy)
    assert not sim.plan(np.ones(12), 0.2).estimated


@pytest.mark.parametrize("seed", range(60))
def test_random_array_programs(seed):
    check(arraynests.program(seed))


def check_nest(seed: int) -> None:
    """Refused, for arrays that may be known by two names, or right."""
    program = arraynests.program(seed, deep=True)
    try:
        Derived(load(program), program.args).entry
    except UnsupportedError as refusal:
        assert "under another name" in refusal.msg or "is not supported" in refusal.msg
        return
    try:
        check(program)
    except Exception as error:
        error.add_note(program.source)
        raise


@pytest.mark.parametrize("seed", [65, 99, *range(200, 210)])  # (the first two found what a branch that returns leaves unmade)
def test_random_array_nests(seed):
    check_nest(seed)


@pytest.mark.heavy
@pytest.mark.skipif(os.environ.get("CORPUS") != "all", reason="takes minutes: CORPUS=all")
def test_many_random_array_nests():
    for seed in range(1000, 1600):
        check_nest(seed)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(3))
def test_random_array_programs_compiled(seed):
    program = arraynests.program(1000 + seed)
    derived = Derived(load(program), program.args)
    ours = derived.compiled.vjp(derived.leaves, derived.bars)
    for bar, theirs in zip(ours, derived.reference_bars, strict=True):
        assert (bar is None) == (theirs is None)
        if bar is not None:
            np.testing.assert_allclose(bar, theirs, rtol=1e-11, atol=1e-11)
