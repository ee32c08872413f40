"""The tangent against the complex step, for every program and for tangents of tangents and of adjoints."""

from __future__ import annotations

import numpy as np
import pytest

from adjointsim.derive.interp import run
from adjointsim.derive.ir import Base, Call, Fn, Var, show
from adjointsim.derive.lanes import LanesError
from adjointsim.derive.tangent import Tangent, Tangents, tangent
from adjointsim.derive.verify import verify

from .programs import PROGRAMS, Program, U, X, Y, Z, c, f, i, let, load, store

ALL = pytest.mark.parametrize("name", PROGRAMS)
STEP = 1e-40


def derived(p: Program) -> tuple[dict[str, Fn], Tangent]:
    """All functions of a program with their tangents, and the tangent of the one to call."""
    module = Tangents(p.fns)
    made = module.of(p.fn, p.active)
    return {**p.fns, **{name: t.fn for name, t in module.made.items()}}, made


def directions(p: Program, made: Tangent, args: list) -> dict:
    """A direction for every active parameter; memory that only becomes active starts without one."""
    rng = np.random.default_rng(3)
    out = {}
    for q, a in zip(p.fn.params, args):
        if q in made.dots:
            dot = rng.standard_normal(np.shape(a)) * (q.name in p.active)
            out[q] = dot if isinstance(q, Base) else float(dot)
    return out


def by_tangent(fns: dict[str, Fn], made: Tangent, args: list, dots: dict) -> tuple[list, list]:
    """Primal and tangent of everything that varies: the active results, then the active arrays."""
    n = len(fns[made.fn.name].results) - len(made.results)
    dots = {q: np.array(d) if isinstance(q, Base) else d for q, d in dots.items()}
    results = run(fns, made.fn.name, [*args, *dots.values()], poison=True)
    arrays = [a for q, a in zip(made.fn.params, args) if q in made.dots and isinstance(q, Base)]
    primal = [results[k] for k in made.results] + arrays
    return primal, [*results[n:], *(d for q, d in dots.items() if isinstance(q, Base))]


def by_complex_step(fns: dict[str, Fn], p: Program, made: Tangent, args: list, dots: dict) -> tuple[list, list]:
    lifted = [a if q not in made.dots else a + 1j * STEP * dots[q] for q, a in zip(p.fn.params, args)]
    results = run(fns, p.name, lifted, number=complex)
    arrays = [a for q, a in zip(p.fn.params, lifted) if q in made.dots and isinstance(q, Base)]
    values = [results[k] for k in made.results] + arrays
    return [np.real(v) for v in values], [np.imag(v) / STEP for v in values]


@ALL
def test_tangent_is_the_complex_step(name):
    p = PROGRAMS[name]
    fns, made = derived(p)
    dots = directions(p, made, p.args())
    primal, tangents = by_tangent(fns, made, p.args(), dots)
    expected_primal, expected = by_complex_step(fns, p, made, p.args(), dots)
    assert len(tangents) == len(expected) > 0
    for ours, theirs in zip(primal, expected_primal):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    for ours, theirs in zip(tangents, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


@ALL
def test_tangent_obeys_the_rules_of_the_representation(name):
    p = PROGRAMS[name]
    fns, made = derived(p)
    for fn in fns.values():
        if fn is made.fn:
            verify(fn, fns, linear=[d.name for d in made.dots.values()])


@ALL
def test_the_primal_is_unchanged(name):
    """Bit for bit: the tangent of a program runs its statements, in their order."""
    p = PROGRAMS[name]
    fns, made = derived(p)
    args, again = p.args(), p.args()
    dots = directions(p, made, args)
    expected = run(fns, p.name, again)
    assert run(fns, made.fn.name, [*args, *dots.values()])[: len(expected)] == expected
    for a, e in zip(args, again):
        np.testing.assert_array_equal(a, e)


@ALL
def test_second_order(name):
    """The tangent of the tangent against the complex step of the tangent."""
    p = PROGRAMS[name]
    fns, first = derived(p)
    dots = directions(p, first, p.args())
    active = (*p.active, *(first.dots[q].name for q in first.dots if q.name in p.active))

    def args():
        return [*p.args(), *(np.array(d) if isinstance(q, Base) else d for q, d in dots.items())]

    lifted = Program(fns, first.fn.name, active, args, p.reference)
    fns, second = derived(lifted)
    verify(second.fn, fns, linear=[d.name for d in second.dots.values()])
    again = directions(lifted, second, args())
    _, tangents = by_tangent(fns, second, args(), again)
    _, expected = by_complex_step(fns, lifted, second, args(), again)
    assert len(tangents) == len(expected) > 0
    for ours, theirs in zip(tangents, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


@ALL
def test_it_is_linear_in_the_direction(name):
    p = PROGRAMS[name]
    fns, made = derived(p)
    dots = directions(p, made, p.args())
    none = {q: d * 0.0 for q, d in dots.items()}
    twice = {q: d * 2.0 for q, d in dots.items()}
    one = by_tangent(fns, made, p.args(), dots)[1]
    for zero, single, double in zip(by_tangent(fns, made, p.args(), none)[1], one, by_tangent(fns, made, p.args(), twice)[1]):
        assert not np.any(zero)
        np.testing.assert_array_equal(double, 2.0 * np.asarray(single))


@ALL
def test_lanes_are_as_many_tangents(name):
    p = PROGRAMS[name]
    fns, made = derived(p)
    module = Tangents(p.fns, lanes=2)
    both = module.of(p.fn, p.active)
    all_fns = {**p.fns, **{f: t.fn for f, t in module.made.items()}}
    for fn in all_fns.values():
        verify(fn, all_fns)
    one = directions(p, made, p.args())
    two = {q: -3.0 * d + 0.5 for q, d in one.items()}
    by_name = [{q.name: d for q, d in own.items()} for own in (one, two)]
    given = [np.array(own[q.name]) if isinstance(q, Base) else own[q.name] for own in by_name for q in both.dots]
    results = run(all_fns, both.fn.name, [*p.args(), *given], poison=True)[len(p.fn.results) :]
    arrays = [d for q, d in zip([*both.dots] * 2, given, strict=True) if isinstance(q, Base)]
    for lane, dots in enumerate((one, two)):
        expected = by_tangent(fns, made, p.args(), dots)[1]
        found = [*half(results, lane), *half(arrays, lane)]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def half(found: list, lane: int) -> list:
    count = len(found) // 2
    return list(found[lane * count : (lane + 1) * count])


def test_a_function_with_a_tangent_of_its_own_has_one_lane():
    p = PROGRAMS["calls"]
    own = {"scale": lambda active, name: Tangents(p.fns).of(p.fns["scale"], active)}
    assert Tangents(p.fns, rules=own).of(p.fn, p.active).results is not None
    with pytest.raises(LanesError, match="scale"):
        Tangents(p.fns, lanes=2, rules=own).of(p.fn, p.active)


# ------------------------------------------------------------------------------------------------------------- conventions
def test_parameters_and_results_are_the_primal_ones_and_then_the_tangents():
    p = PROGRAMS["scatter and gather"]
    made = Tangents(p.fns).of(p.fn, ("v", "a"))
    assert [q.name for q in made.fn.params] == ["a", "index", "v", "a_dot", "v_dot"]
    assert [q.role for q in made.fn.params] == ["in", "in", "inout", "shadow", "shadow"]
    assert made.results == (0,) and len(made.fn.results) == 2
    assert tangent(p.fn, ("v", "a")) == made.fn
    p = PROGRAMS["branch taken"]
    assert [q.name for q in tangent(p.fn, ("z",)).params] == ["x", "z", "u", "z_dot", "u_dot"]  # u receives log(x) * z
    p = PROGRAMS["adjoint"]
    made = Tangents(p.fns).of(p.fn, p.active)
    roles = {q.name: d.role for q, d in made.dots.items() if isinstance(q, Base)}
    assert roles == {"tape": "arena", "x_bar": "shadow"}


def test_inert_code_costs_nothing():
    p = PROGRAMS["while of at most 3"]
    text = show(tangent(p.fn, ()))
    assert text == show(Fn("newton_dot", p.fn.params, p.fn.body, p.fn.results))
    p = PROGRAMS["calls"]
    made = Tangents(p.fns)
    made.of(p.fn, ("a",))
    assert show(made.made["calls_dot"].fn.body) == show(p.fn.body)  # ``a`` is asked for its length only


def test_one_tangent_for_each_set_of_active_arguments():
    body = (Call("scale", (U, X, c(2)), (Y, i("m.0")), writes=(0,)), Call("scale", (U, c(2.0), c(2)), (Z, i("m.1")), writes=(0,)))
    fns = {"both": Fn("both", (U, X), body, (Y,)), "scale": PROGRAMS["calls"].fns["scale"]}
    module = Tangents(fns)
    module.of(fns["both"], ("u", "x"))
    assert sorted(module.made) == ["both_dot", "scale_dot", "scale_dot2"]
    assert list(map(str, module.made["scale_dot"].dots)) == ["v", "x"]
    assert list(map(str, module.made["scale_dot2"].dots)) == ["v"]


def test_only_carries_that_vary_are_doubled():
    p = PROGRAMS["while of at most 3"]
    (loop,) = tangent(p.fn, ("a",)).body
    assert [str(v) for v, _ in loop.carries] == ["x", "k", "x_dot"]
    assert list(map(str, loop.results)) == ["x.1", "k.2", "x_dot.1"]


def test_text():
    fn = Fn("wave", (U, X), (load(Y, U, c(0)), let(Z, "sin", Y), let(f("z.1"), "mul", Z, X), store(U, (c(1),), f("z.1"))))
    assert (
        show(tangent(fn, ("u",)))
        == """\
fn wave_dot(u: f8[:] inout, x: f8, u_dot: f8[:] shadow)
    y: f8 = u[0]
    y_dot: f8 = u_dot[0] ~
    z: f8 = sin(y)
    t.0: f8 = cos(y)
    z_dot.0: f8 = mul(y_dot, t.0) ~
    z.1: f8 = mul(z, x)
    z_dot.1: f8 = mul(z_dot.0, x) ~
    u[1] = z.1
    u_dot[1] = z_dot.1 ~
"""
    )


def test_names_do_not_collide():
    taken = Var("y_dot", "f8")
    fn = Fn("g", (X, Var("x_dot", "f8")), (let(Y, "mul", X, Var("x_dot", "f8")), let(taken, "neg", Y)), (taken,))
    made = tangent(fn, ("x", "x_dot"))
    verify(made, linear=[q.name for q in made.params[2:]])
    assert [q.name for q in made.params] == ["x", "x_dot", "x_dot.0", "x_dot_dot"]


def test_float32_tangents_are_float32():
    x, y, z = f("x", "f4"), f("y", "f4"), f("z")
    fn = Fn("mixed", (x,), (let(y, "sqrt", x), let(z, "mul", y, c(2.0))), (y, z))
    made = tangent(fn, ("x",))
    verify(made, linear=["x_dot"])
    assert [r.dt for r in made.results] == ["f4", "f8", "f4", "f8"]
    np.testing.assert_allclose(run({"g": made}, "g", [2.0, 1.0]), [2**0.5, 2**1.5, 8**-0.5, 2**-0.5], rtol=1e-7)


def test_a_vanishing_cotangent_has_a_derivative():
    """f = (sqrt(x) - 1)^2 at x = 1: the cotangent of the root is 0 there, the second derivative 1/2 is not."""
    t, g = f("t", "f8"), f("x_bar")
    adjoint = Fn("vjp", (X,), (
        let(Y, "sqrt", X), let(f("d"), "sub", Y, c(1.0)), let(t, "mul", c(2.0), f("d")), let(f("k"), "div", c(0.5), Y),
        let(g, "mulz", t, f("k")),
    ), (g,))  # fmt: skip
    made = tangent(adjoint, ("x",))
    assert run({"hvp": made}, "hvp", [1.0, 1.0]) == (0.0, 0.5)


def test_a_slope_of_infinity_in_a_direction_of_zero():
    fn = Fn("roots", (X, Y), (let(Z, "sqrt", X), let(f("s"), "sqrt", Y), let(f("o"), "add", Z, f("s"))), (f("o"),))
    made = tangent(fn, ("x", "y"))
    assert run({"g": made}, "g", [0.0, 4.0, 0.0, 1.0]) == (2.0, 0.25)
    assert run({"g": made}, "g", [0.0, 4.0, 1.0, 1.0]) == (2.0, np.inf)


def test_a_wrong_name_is_refused():
    p = PROGRAMS["scatter and gather"]
    with pytest.raises(ValueError, match="gather has no float parameter index"):
        tangent(p.fn, ("a", "index"))
    with pytest.raises(KeyError, match="a call of scale needs that function"):
        tangent(PROGRAMS["calls"].fn, ("x",))
