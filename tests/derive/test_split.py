"""Calls that stay calls: which functions are of their own, and what is made of them for the way back.

By default what is small, or called once, is inlined.  The fixture ``apart`` turns that off, so that everything that fits is a
function: the corpus, wrapped in a function that calls it, and the random programs are run like that, at both levels.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from corpus import CASES, Case
from corpus.control import an_array_that_only_decides
from hypothesis import given, settings
from strategies import programs

import adjointsim as adj
from adjointsim.derive import interp, outline
from adjointsim.derive.api import FunctionKernel
from adjointsim.derive.entry import lower_entry
from adjointsim.derive.ir import Alloc, Call, For, Need, Raise, Store, is_float, show, walk
from adjointsim.derive.kernel import tangent_kernel, tangents_of
from adjointsim.derive.model import CompiledModel
from adjointsim.derive.source import plain_function
from adjointsim.derive.spec import ArraySpec, ScalarSpec
from adjointsim.derive.split import unwrapped
from adjointsim.derive.tapes import TapeCount
from adjointsim.derive.verify import verify
from adjointsim.errors import UnsupportedError

from .harness import Derived, assert_close, functions
from .programs import ONE, ZERO, c, f, i, let
from .split_models import MODELS, rk4, slopes
from .test_random_programs import QUICK, check, check_nest

EVERYTHING = os.environ.get("CORPUS") == "all"
INTERPRETED = CASES if EVERYTHING else CASES[::5]


@pytest.fixture
def apart(monkeypatch):
    """Whatever fits is a function of its own."""
    monkeypatch.setattr(outline, "SMALL", 0)
    monkeypatch.setattr(outline, "GROWTH", -1)


@pytest.fixture
def together(monkeypatch):
    """Everything is inlined."""
    monkeypatch.setattr(outline.Outlining, "outlined", lambda *_: None)


def written(text: str, scope: dict[str, Any]) -> Callable[..., Any]:
    """The function ``f`` of a text."""
    filename = f"<split {hash(text)} {sorted(scope)} {[id(v) for v in scope.values()]}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"__name__": "split", **scope}
    exec(compile(text, filename, "exec"), scope)
    return scope["f"]


def wrapped(case: Case) -> Derived:
    """A function that calls a case's function twice with the same arguments, which it may overwrite."""
    args = ", ".join(f"x{k}" for k in range(len(case.args)))
    text = f"def f({args}):\n    one = target({args})\n    two = target({args})\n    return one, two\n"
    return Derived(written(text, {"target": plain_function(case.fn)}), case.args)


def refused(derived: Derived) -> str:
    """Why a function is refused; nothing if it is not."""
    try:
        derived.entry
    except UnsupportedError as error:
        return error.msg
    return ""


def runs(derived: Derived) -> bool:
    """Whether Python has numbers for it."""
    try:
        return not any(np.isnan(r).any() for r in derived.expected)
    except ValueError:
        return False


def compare(derived: Derived, singular: bool = False) -> None:
    """Both levels, the reference, and the tangent."""
    found = []
    for level in (0, 1):
        primal, vjp = derived.primal(level), derived.vjp(level)
        for kernel in (primal, vjp):
            for fn in functions(kernel).values():
                verify(fn, functions(kernel))
        leaves = derived.leaves
        assert_close(derived.run_primal(primal, leaves), derived.expected, derived.single)
        found.append(derived.run_vjp(vjp, leaves, derived.bars))
        assert_close(found[level], derived.reference_bars, derived.single)
    assert_close(found[1], found[0], derived.single)
    if not singular:  # there a tangent is infinite before it meets its factor 0
        assert_close(derived.run_jvp(derived.leaves, derived.dots), derived.reference_dots, derived.single)


# ------------------------------------------------------------------------------------------- against the reference, inlined
@pytest.mark.parametrize("case", INTERPRETED, ids=lambda c: c.name)
def test_corpus(apart, case, monkeypatch):
    derived = wrapped(case)
    if refused(derived):  # so is inlined code: the second call would see what the first made of the arguments' names
        monkeypatch.setattr(outline.Outlining, "outlined", lambda *_: None)
        assert refused(wrapped(case)) == refused(derived)
    elif not runs(derived):
        pytest.skip("run twice on what the first run left, it overflows or fails in Python, too")
    else:
        compare(derived, "singular" in case.tags)


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith("calls.") or "helper" in c.name], ids=lambda c: c.name)
def test_corpus_of_calls(apart, case):
    compare(Derived(case.fn, case.args))


def test_most_of_the_corpus_goes_through_calls(apart):
    """So that the tests above cannot pass by inlining."""
    taken = [c for c in CASES[::5] if not refused(d := wrapped(c)) and d.entry.helpers]
    assert len(taken) > 40
    assert sum(any("_rec" in fn.name for fn in wrapped(c).vjp(1).functions) for c in taken[::2]) > 5


@settings(QUICK, max_examples=30)
@given(programs())
def test_random_programs(program):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "SMALL", 0)
        patch.setattr(outline, "GROWTH", -1)
        check(program)


@pytest.mark.parametrize("seed", range(200, 1200) if EVERYTHING else range(200, 225))
def test_random_loop_nests(apart, seed):
    check_nest(seed)
    check_nest(seed, names=True)


@pytest.mark.parametrize("name", MODELS)
def test_models(apart, name):
    derived = Derived(*MODELS[name])
    assert derived.entry.helpers
    compare(derived)


@pytest.mark.parametrize("name", MODELS)
def test_models_compiled(apart, name):
    derived = Derived(*MODELS[name])
    kernel = FunctionKernel(derived.plain, derived.specs, None, "function")
    assert_close(kernel.value(derived.leaves), derived.expected)
    ours = kernel.vjp(derived.leaves, derived.bars)
    assert_close(ours, derived.reference_bars)
    again = kernel.vjp(derived.leaves, derived.bars)
    assert all(a is b or a.tobytes() == b.tobytes() for a, b in zip(ours, again, strict=True)), "twice the same bits"
    dots = kernel.jvp(derived.leaves, derived.dots)[1]
    assert_close(dots, derived.reference_dots)


@pytest.mark.parametrize("name", ["rk4", "grid", "time_like"])
def test_second_derivatives(apart, name):
    """The complex step through the adjoint and the tangent of the adjoint agree, with calls and without."""
    derived = Derived(*MODELS[name])
    complex_step = _hessian_complex(derived)
    np.testing.assert_allclose(_hessian_tangent(derived), complex_step, rtol=1e-12, atol=1e-13)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline.Outlining, "outlined", lambda *_: None)
        inlined = Derived(*MODELS[name])
        assert not inlined.entry.helpers
        np.testing.assert_allclose(complex_step, _hessian_complex(inlined), rtol=1e-12, atol=1e-13)


def _arenas(kernel, dtype) -> list[np.ndarray]:
    return [np.zeros(2 if a.name.startswith("tops") else 20000, dtype if a.dt == "f8" else a.dt) for a in kernel.arenas]


def _hessian_complex(derived: Derived) -> np.ndarray:
    """The directional derivative of the cotangents of the leaves, by a complex step through the interpreted adjoint."""
    kernel, step = derived.vjp(1), 1e-30
    leaves = [x + 1j * step * d for x, d in zip(derived.leaves, derived.dots, strict=True)]
    bars = [b.astype(complex) for b in derived.bars]
    out = [np.zeros(x.shape, complex) for x in leaves]
    interp.run(
        functions(kernel), kernel.fn.name, [*leaves, *derived.captures, *bars, *out, *_arenas(kernel, complex)], number=complex
    )
    return np.concatenate([o.imag.ravel() for o in out]) / step


def _hessian_tangent(derived: Derived) -> np.ndarray:
    """The same by the tangent of the adjoint."""
    kernel = derived.vjp(1)
    module = tangents_of(kernel)
    made = module.of(kernel.fn, {b.name for b in kernel.inputs})
    fns = functions(tangent_kernel(kernel, module, made))
    for fn in fns.values():  # cotangents are just numbers here
        verify(fn, fns, linear=[p.name for p in fn.params if p.name.split(".")[0].endswith("_dot")])
    out, arenas = [np.zeros_like(x) for x in derived.leaves], _arenas(kernel, float)
    given = dict(zip(kernel.inputs, derived.dots, strict=True))
    shadows = {b: np.zeros_like(x) for b, x in zip(kernel.leaf_bars, out, strict=True)}
    rest = {b: np.zeros_like(x) for b, x in zip(kernel.result_bars, derived.bars, strict=True)}
    tapes = {b: np.zeros_like(x) for b, x in zip(kernel.arenas, arenas, strict=True)}
    dots = [{**given, **shadows, **rest, **tapes}[b] for b in made.dots]
    bars = [b.copy() for b in derived.bars]
    interp.run(fns, made.fn.name, [*derived.leaves, *derived.captures, *bars, *out, *arenas, *dots])
    return np.concatenate([shadows[b].ravel() for b in kernel.leaf_bars])


# ---------------------------------------------------------------------------------------------------------------- decisions
def helpers_of(fn: Callable[..., Any], args: tuple) -> list[str]:
    return [h.fn.name for h in Derived(fn, args).entry.helpers]


def test_four_calls_of_one_function():
    derived = Derived(*MODELS["rk4"])
    assert [h.fn.name for h in derived.entry.helpers] == ["rk4_slopes"]
    assert sum(isinstance(s, Call) for s in walk(derived.entry.fn.body)) == 4
    # the memory that is used again needs a recording, the other arguments do not: two pairs, not four
    assert [fn.name for fn in derived.vjp(1).functions] == [
        "rk4_slopes", "rk4_slopes_rev", "rk4_slopes_rec2", "rk4_slopes_rev2",
    ]  # fmt: skip


SCALARS = "import math\ndef g(x):\n{lines}    return x\ndef f(x):\n    return {calls}\n"


def scalar_model(operations: int, calls: int) -> Derived:
    lines = "".join(f"    x = x + math.sin(x * {k}.0)\n" for k in range(operations // 3))
    return Derived(written(SCALARS.format(lines=lines, calls=" * ".join(["g(x)"] + ["g(x + 1.0)"] * (calls - 1))), {}), (0.3,))


def test_what_makes_the_program_hardly_longer_is_inlined():
    assert not scalar_model(12, 20).entry.helpers, "small"
    assert scalar_model(60, 3).entry.helpers
    assert not scalar_model(60, 2).entry.helpers, "60 statements more"
    assert not scalar_model(60, 1).entry.helpers
    assert scalar_model(outline.LARGE + 3, 1).entry.helpers, "large"
    compare(scalar_model(60, 3))


MISFITS = {
    "makes an array": "    w = np.empty(2)\n    w[0] = x\n    w[1] = u[0]\n    return w[0] * w[1]\n",
    "returns its argument": "    u[0] = x\n    return u\n",
    "rebinds a name of an array": (
        "    w = u\n    s = 0.0\n    for k in range(2):\n        s += w[0] * x\n        w = o\n    return s\n"
    ),
    "chooses an array": "    w = u\n    if x > 0.5:\n        w = o\n    return w[0] * x\n",
}


@pytest.mark.parametrize("why", MISFITS)
def test_what_does_not_fit_is_inlined(apart, why):
    text = f"import numpy as np\ndef g(u, o, x):\n{MISFITS[why]}def f(u, x):\n"
    text += "    v = u.copy()\n    o = u.copy()\n    r = g(v, o, x)\n    return v[0] * x\n"
    derived = Derived(written(text, {}), (np.array([0.3, 0.4]), 0.7))
    assert not derived.entry.helpers
    compare(derived)


def test_kinds_of_arguments_make_functions(apart):
    """Dtypes, integer literals and which arguments are one array; not the values of floats."""
    text = """\
def g(a, b, n, x):
    for i in range(len(a)):
        a[i] = a[i] * b[i] ** n + x
def f(u, v, x):
    u = u.copy()
    v = v.copy()
    g(u, v, 2, x)
    g(v, u, 2, 0.5)
    g(u, v, 3, x)
    g(u, u, 2, x)
    return u
"""
    derived = Derived(written(text, {}), (np.array([0.3, 0.4]), np.array([0.2, 0.9]), 0.7))
    assert [h.fn.name for h in derived.entry.helpers] == ["f_g", "f_g_2", "f_g_3"]
    assert [len(h.fn.params) for h in derived.entry.helpers] == [3, 3, 2]
    compare(derived)


# --------------------------------------------------------------------------------------------------------------- the passes
LEAN = """\
import math
def g(u, c):
    for i in range(len(u)):
        u[i] = math.sin(u[i]) * c
def f(u, c):
    v = u.copy()
    g(v, c)
    g(v, c)
    return v
"""


def test_text(apart):
    """A helper that overwrites what it reads: it records the old values, and its shadow is used and set in place."""
    entry = lower_entry(written(LEAN, {}), [("u", ArraySpec("f8", 1)), ("c", ScalarSpec("f8"))])
    derived = Derived(written(LEAN, {}), (np.array([0.3, 0.4]), 0.7))
    assert [h.fn.name for h in entry.helpers] == ["f_g"]
    kernel = derived.vjp(1)
    calls = [show((s,)).strip() for s in kernel.fn.body if isinstance(s, Call)]
    assert calls == [
        "_ = call f_g_rec(result.0, c.1, tape.0, tops.0)",
        "_ = call f_g_rec(result.0, c.1, tape.0, tops.0)",
        "c_bar.1 = call f_g_rev(result.0, c.1, result_bar.0, tape.0, tops.0) ~",
        "c_bar.2 = call f_g_rev(result.0, c.1, result_bar.0, tape.0, tops.0) ~",
    ]
    fns = functions(kernel)
    assert (
        show(fns["f_g_rec"])
        == """\
fn f_g_rec(u.0: f8[:] inout, c.0: f8, tape.0: f8[:] arena, tops.0: i8[:] arena)
    u_n0.0 = dim(u.0, 0)
    t.0: i8 = max2(u_n0.0, 0)
    frame.0: i8 = tops.0[0]
    t.7: i8 = add(frame.0, t.0)
    need tape.0 t.7
    tops.0[0] = t.7
    for i.0 in (0, count t.0, step 1)
        u_.0: f8 = u.0[i.0]
        t.1: f8 = sin(u_.0)
        t.2: f8 = mul(t.1, c.0)
        u.0[i.0] = t.2
        t.8: i8 = add(frame.0, i.0)
        tape.0[t.8] = u_.0
"""
    )


def test_a_loop_of_one_iteration_is_its_body():
    once = For(i("k"), c(4), ONE, ONE, ((f("x"), f("a")),), (let(f("y"), "mul", f("x"), i("k")),), (f("y"),), (f("r"),))
    block, ends = unwrapped((let(f("a"), "sin", f("p")), once, let(f("z"), "add", f("r"), f("a"))))
    assert show(block) == "a: f8 = sin(p)\ny: f8 = mul(a, 4)\nz: f8 = add(y, a)\n"
    assert ends[f("r")] == f("y")
    twice = (For(i("k"), ZERO, c(2), ONE, (), (let(f("y"), "sin", f("p")),), (), ()),)
    assert unwrapped(twice)[0] == twice


ROWS = """\
import math
def g(u, k, c):
    for i in range(len(u)):
        u[i] = math.sin(u[i]) * c + k
def f(a, c, n):
    b = a.copy()
    for j in range(a.shape[0]):
        g(b[j], j, c)
        g(b[{other}], j, c)
    return b
"""


@pytest.mark.parametrize("other", ["j - 1", "j"])
def test_rows_that_are_never_negative(apart, other):
    """An index is known not to be negative if it is not in any call: then no test of it slows the loops of a helper."""
    derived = Derived(written(ROWS.format(other=other), {}), (np.array([[0.3, 0.4], [0.5, 0.6]]), 0.7, 1))
    compare(derived)
    for kernel in (derived.primal(1), derived.vjp(1)):
        for fn in (fn for fn in kernel.functions if fn.name.startswith("f_g")):
            wraps = {s.wrap for s in walk(fn.body) if isinstance(s, Store) and s.base.role in ("inout", "shadow")}
            assert wraps == {"maybe" if other == "j - 1" else "never"}


def test_functions_own_no_memory(apart):
    for name, (fn, args) in MODELS.items():
        for made in Derived(fn, args).vjp(1).functions:
            assert not any(isinstance(s, Alloc) for s in walk(made.body)), name


def test_more_calls_cost_a_call_each():
    """The statements of a Runge-Kutta step grow by calls, not by copies of the right hand side."""

    def statements(calls: int) -> int:
        derived = scalar_model(60, calls)
        return sum(not line.strip().startswith("#") for line in _compiled_text(derived).splitlines())

    three, four, seven = statements(3), statements(4), statements(7)
    assert four - three <= 6
    assert seven - four <= 3 * 6
    assert three < 60 * 6


def _compiled_text(derived: Derived) -> str:
    return FunctionKernel(derived.plain, derived.specs, None, "function").source("vjp")


def test_source_is_readable():
    """The user's names and the user's lines, those of the helper included."""
    text = FunctionKernel(rk4, Derived(*MODELS["rk4"]).specs, None, "function").source("vjp")
    assert "def rk4_slopes_rev(t, y, p, c_BENT, y_bar, dy_bar" in text
    assert text.count("def ") == 5
    for function, start in ((slopes, "b = y[i]"), (rk4, "slopes(t, y, k1, p)")):
        lines, first = inspect.getsourcelines(function)
        k = next(k for k, line in enumerate(lines) if line.strip().startswith(start))
        assert f"# {first + k}: {lines[k].strip()}\n" in text
    assert "    rk4_slopes(t_1, y, k1, p, c_BENT)\n" in text


def test_what_only_decides_has_no_cotangent():
    text = _compiled_text(Derived(an_array_that_only_decides, (np.array([0.3, 2.0, -1.0, 0.5]), 1.5)))
    assert "check[" in text and "a_bar[" in text
    assert "check_bar" not in text and "largest_bar" not in text


# ----------------------------------------------------------------------------------------------------------------- leaving
def test_a_raise_leaves_through_all_callers(apart):
    derived = Derived(*MODELS["raises"])
    kernel = FunctionKernel(derived.plain, derived.specs, None, "function")
    u = np.linspace(0.2, 0.9, 4)
    for k, line in ((5, None), (6, "raise"), (20, "raise")):
        leaves = [u.copy(), np.array([k])]
        if line is None:
            kernel.vjp([u.copy(), np.array([4])], derived.bars)
            continue
        for run in (lambda leaves=leaves: kernel.value(leaves), lambda leaves=leaves: kernel.vjp(leaves, derived.bars)):
            with pytest.raises(IndexError, match="deep") as caught:
                run()
            assert "raised in deep" in caught.value.__notes__[0] and "split_models.py" in caught.value.__notes__[0]


@pytest.mark.parametrize("name", ["rk4", "grid", "time_like", "raises", "folded"])
def test_arenas_that_are_too_small_are_found_first(apart, name):
    """However deep the function that runs out: no cotangent has been touched, and the caller's arena is named."""
    derived = Derived(*MODELS[name])
    kernel = derived.vjp(1)
    assert any(isinstance(s, Need) for fn in kernel.functions for s in walk(fn.body))
    sizes = {a.name: 2 if a.name.startswith("tops") else 1 for a in kernel.arenas}
    ran_out = 0
    while True:
        out = [np.zeros_like(x) for b, x in zip(kernel.leaf_bars, derived.leaves, strict=True) if b is not None]
        bars = [b.copy() for b, base in zip(derived.bars, kernel.result_bars, strict=True) if base is not None]
        arenas = [np.zeros(sizes[a.name], a.dt) for a in kernel.arenas]
        try:
            interp.run(functions(kernel), kernel.fn.name, [*derived.leaves, *derived.captures, *bars, *out, *arenas])
            break
        except interp.NeedMore as need:
            ran_out += 1
            sizes[need.base] = need.size
            assert not any(o.any() for o in out)
            assert all((b == given).all() for b, given in zip(bars, derived.bars, strict=False))
    assert ran_out
    floats = [k for k, base in enumerate(b for b in kernel.leaf_bars if b is not None) if is_float(base.dt)]
    wanted = [b for b in derived.reference_bars if b is not None]
    assert_close([out[k] for k in floats], wanted)


@pytest.mark.parametrize("name", ["rk4", "sweeps", "time_like"])
def test_tapes_are_counted_through_calls(apart, name):
    """Before anything runs, exactly: with one cell less a function runs out."""
    derived = Derived(*MODELS[name])
    kernel = derived.vjp(1)
    known = [b for _, b in derived.entry.leaves]
    count = TapeCount(kernel.fn, known, kernel.functions)
    floats, integers = count.sizes(dict(zip(known, derived.leaves, strict=True)))
    assert floats
    for missing in (0, 1):
        sizes = {"f8": floats - missing, "i8": integers}
        arenas = [np.zeros(2 if a.name.startswith("tops") else sizes[a.dt], a.dt) for a in kernel.arenas]
        out = [np.zeros_like(x) for x in derived.leaves]
        arguments = [*derived.leaves, *derived.captures, *(b.copy() for b in derived.bars), *out, *arenas]
        with pytest.raises(interp.NeedMore) if missing else contextlib.nullcontext():
            interp.run(functions(kernel), kernel.fn.name, arguments)


def test_a_call_that_may_raise_is_not_removed(apart):
    """Nothing of its results is used, but it may leave."""
    text = "def g(x):\n    for k in range(3):\n        if x > k + 5.0:\n            raise ValueError('far')\n    return x\n"
    text += "def f(x):\n    g(x)\n    g(x + 1.0)\n    return x\n"
    derived = Derived(written(text, {}), (0.5,))
    assert derived.entry.helpers and any(isinstance(s, Raise) for h in derived.entry.helpers for s in walk(h.fn.body))
    for kernel in (derived.primal(1), derived.vjp(1)):
        assert sum(isinstance(s, Call) for s in kernel.fn.body) == 2
    with pytest.raises(interp.StepRaised):
        derived.run_primal(derived.primal(1), [np.array([4.5])])


# -------------------------------------------------------------------------------------------------------------- simulations
HEAT = """\
import math
def flow(y, d, c):
    for i in range(1, len(y) - 1):
        d[i] = c * (y[i + 1] - 2.0 * y[i] + y[i - 1]) + 0.01 * math.sin(y[i])
def f(n, y, p):
    out = y.copy()
    d = y.copy()
    for _ in range(2):
        d[0] = 0.0
        d[len(y) - 1] = 0.0
        flow(out, d, p[0])
        for i in range(len(y)):
            out[i] = out[i] + d[i]
    return out
"""
COST = """\
def flow(y, d):
    total = 0.0
    for i in range(len(y)):
        total += (y[i] - d) ** 2
    return total
def f(n, y, p):
    return flow(y, p[1]) + 0.5 * flow(y, 0.0)
"""


def test_simulation(monkeypatch):
    """A step and a cost of one name, with helpers of one name: the module keeps them apart, and any schedule gives the same
    bits."""
    found, vector = [], ArraySpec("f8", 1)
    y0, p = np.linspace(-1.0, 1.0, 9) ** 2, np.array([0.2, 0.3])
    for forced, checkpoints in ((True, None), (True, 2), (False, None)):
        with monkeypatch.context() as patch:
            if forced:
                patch.setattr(outline, "SMALL", 0)
                patch.setattr(outline, "GROWTH", -1)
            else:
                patch.setattr(outline.Outlining, "outlined", lambda *_: None)
            step, running = written(HEAT, {"variant": forced}), written(COST, {"variant": forced})
            sim = adj.Simulation(adj.step(step), 12, running=running, checkpoints=checkpoints)
            value, grad = sim.value_and_grad(y0, p)
            text = CompiledModel({"step": step, "running": running}, vector, vector, ("p",)).text(reverse=True)
            assert all((f"k_{verb}_flow_rev = native(" in text) == forced for verb in ("step", "running"))
            found.append((value, grad.y0, grad.p))
    assert found[0][0] == found[1][0]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found[0][1:], found[1][1:], strict=True))
    for a, b in zip(found[0], found[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
