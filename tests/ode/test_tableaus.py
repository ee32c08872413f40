"""The coefficients of ODE methods: order conditions to the last digit, embedded solutions, extensions, stability, a step."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

from adjointsim.errors import ArgumentError
from adjointsim.ode.tableaus import (
    ALIASES,
    HINTS,
    TABLEAUS,
    DirkTableau,
    ExplicitTableau,
    RosenbrockTableau,
    SplittingTableau,
    find,
    floats,
)

from . import algebra
from .steps import problem, step

#: by how much published decimals may miss a condition; the others are exact, or have sixty digits
DIGITS = {
    "tsit5": 1e-80,
    "dop853": 1e-25,
    "kvaerno5": 5e-17,
    "rodas5p": 1e-14,
    "yoshida4": 1e-57,
    "sdirk2": 1e-57,
    "trbdf2": 1e-57,
}
DENSE_DIGITS = {"tsit5": 1e-16, "rodas5p": 5e-13}

RUNGE_KUTTA = {name: t for name, t in TABLEAUS.items() if isinstance(t, (ExplicitTableau, DirkTableau))}
ROSENBROCK = {name: t for name, t in TABLEAUS.items() if isinstance(t, RosenbrockTableau)}
SPLITTING = {name: t for name, t in TABLEAUS.items() if isinstance(t, SplittingTableau)}
STIFF = {name: t for name, t in TABLEAUS.items() if isinstance(t, (DirkTableau, RosenbrockTableau))}


def matrices(tableau, number):
    """(alpha, beta, map of weights, wanted row sums of alpha, of beta) in the arithmetic ``number``; dense stages included."""
    if isinstance(tableau, RosenbrockTableau):
        n = tableau.stages
        inverse = -algebra.matrix(tableau.c, n, number)
        inverse[np.arange(n), np.arange(n)] += 1 / number(tableau.gamma)
        gamma = algebra.inverse_lower(inverse)
        alpha = algebra.matrix(tableau.a, n, number) @ gamma
        times = vector(tableau.alpha, number)
        return alpha, alpha + gamma, lambda w: gamma.T @ w, times, times + vector(tableau.gamma_t, number)
    extra = tableau.dense or dataclasses.make_dataclass("Nothing", ["a", "c"])((), ())
    a = algebra.matrix((*tableau.a, *extra.a), tableau.stages + len(extra.a), number)
    times = vector((*tableau.c, *extra.c), number)

    def weights(w):
        return np.concatenate([w, np.zeros((len(a) - len(w), *w.shape[1:]), dtype=w.dtype)])

    return a, a, weights, times, times


def vector(numbers, number):
    return np.array(
        [[number(x) for x in r] if isinstance(r, tuple) else number(r) for r in numbers], object if number is Fraction else float
    )


def solutions(tableau, number):
    """(what, weights, order) of the propagated and the embedded solutions."""
    b = vector(tableau.m if isinstance(tableau, RosenbrockTableau) else tableau.b, number)
    yield "b", b, tableau.order
    for what in ("error", "error_low"):
        if getattr(tableau, what, None) is not None:
            yield what, b - vector(getattr(tableau, what), number), getattr(tableau, f"{what}_order")


def complaints(tableau, number=Fraction, digits=None):
    """All that is wrong with a tableau, as a list of texts: empty if it is what it says."""
    limit = DIGITS.get(tableau.name, 0) if digits is None else digits
    dense_limit = DENSE_DIGITS.get(tableau.name, limit) if digits is None else digits
    wrong = []

    def expect(what, difference, limit=limit):
        worst = max((abs(x) for x in np.ravel(difference)), default=0)
        if not worst <= limit:
            wrong.append(f"{what}: {float(worst):.2g}")

    if isinstance(tableau, SplittingTableau):
        kick, drift = vector(tableau.kick, number), vector(tableau.drift, number)
        expect("kicks are a palindrome", kick - kick[::-1], 0)
        expect("drifts are a palindrome", drift - drift[::-1], 0)
        expect("order", list(algebra.splitting_defects(list(kick), list(drift), tableau.order).values()))
        return wrong

    alpha, beta, weights, alpha_sums, beta_sums = matrices(tableau, number)
    expect("sums of the rows", alpha.sum(axis=1) - alpha_sums)
    expect("sums of the rows of beta", beta.sum(axis=1) - beta_sums)
    for what, b, order in solutions(tableau, number):
        for tree, defect in algebra.defects(alpha, beta, weights(b), order).items():
            expect(f"{what}, {tree}", defect)
    if tableau.dense is not None:
        powers = vector(tableau.dense.coefficients, number)
        mapped = weights(powers) if isinstance(tableau, RosenbrockTableau) else powers
        for tree, defect in algebra.defects(alpha, beta, mapped, tableau.dense.order).items():
            expect(f"dense, {tree}", defect, dense_limit)
        b = vector(tableau.m if isinstance(tableau, RosenbrockTableau) else tableau.b, number)
        expect("dense at the end", powers.sum(axis=1)[: len(b)] - b, dense_limit)
        expect("dense at the end, extra stages", powers.sum(axis=1)[len(b) :], dense_limit)
        if getattr(tableau, "fsal", False):  # f at both ends: the extension has their slopes
            slopes, ends = powers @ np.arange(1, powers.shape[1] + 1), np.arange(len(powers))
            expect("slope at the start", powers[:, 0] - (ends == 0), dense_limit)
            expect("slope at the end", slopes - (ends == tableau.stages - 1), dense_limit)
    if getattr(tableau, "fsal", False):
        expect("the last stage is at the end", vector((*tableau.a[-1], Fraction(0)), number) - vector(tableau.b, number), 0)
    if isinstance(tableau, RosenbrockTableau):  # stiffly accurate, both: U_s is the estimate, on top of its own stage's argument
        last = vector((*tableau.a[-1], Fraction(0)), number)
        expect("embedded solution", vector(tableau.m, number) - vector(tableau.error, number) - last, 0)
        expect("estimate", vector(tableau.error, number)[-1] - 1, 0)
    if isinstance(tableau, DirkTableau):
        diagonal = [number(r[-1]) for r in tableau.a[tableau.explicit_first :]]
        expect("diagonal", [x - diagonal[0] for x in diagonal], 0)
        if tableau.explicit_first:
            expect("explicit first stage", [number(tableau.c[0])], 0)
    return wrong


@pytest.mark.parametrize("name", TABLEAUS)
def test_satisfies_all_conditions_to_the_last_published_digit(name):
    assert complaints(TABLEAUS[name]) == []


@pytest.mark.parametrize("name", [*RUNGE_KUTTA, *ROSENBROCK])
def test_no_solution_has_a_higher_order_than_it_says(name):
    alpha, beta, weights, *_ = matrices(TABLEAUS[name], float)
    for what, b, order in solutions(TABLEAUS[name], float):
        defects = algebra.defects(alpha, beta, weights(b), order + 1)
        assert max(abs(d) for d in defects.values()) > 1e-5, what


@pytest.mark.parametrize("name", SPLITTING)
def test_no_splitting_has_a_higher_order_than_it_says(name):
    tableau = SPLITTING[name]
    defects = algebra.splitting_defects(list(tableau.kick), list(tableau.drift), tableau.order + 1)
    assert max(map(abs, defects.values())) > Fraction(1, 100)
    assert len(tableau.kick) == len(tableau.drift) + 1


def mutants(tableau):
    """(where, the tableau with one coefficient off by 1e-6 relative, zeros by 1e-6)."""

    def off(numbers):
        if isinstance(numbers, Fraction):
            yield "", numbers * (1 + Fraction(1, 10**6)) + (numbers == 0) * Fraction(1, 10**6)
            return
        for i, x in enumerate(numbers):
            for where, y in off(x):
                yield f"[{i}]{where}", (*numbers[:i], y, *numbers[i + 1 :])

    for field in dataclasses.fields(tableau):
        value = getattr(tableau, field.name)
        if isinstance(value, (tuple, Fraction)):
            yield from ((field.name + where, dataclasses.replace(tableau, **{field.name: new})) for where, new in off(value))
        elif field.name == "dense" and value is not None:
            yield from ((f"dense.{where}", dataclasses.replace(tableau, dense=new)) for where, new in mutants(value))


@pytest.mark.parametrize("name", TABLEAUS)
def test_every_coefficient_counts(name):
    digits = {"tsit5": 1e-12, "dop853": 3e-12, "rodas5p": 1e-12}.get(name, 1e-14)
    assert complaints(TABLEAUS[name], float, digits) == []
    found = dict(mutants(TABLEAUS[name]))
    assert len(found) >= 2
    assert [where for where, mutant in found.items() if not complaints(mutant, float, digits)] == []


def stability_function(tableau, z, b=None):
    """R(z) = 1 + z b (I - z beta)**-1 1: exact at a Fraction, in doubles at a complex number."""
    number = Fraction if isinstance(z, Fraction) else float
    _, beta, weights, *_ = matrices(tableau, number)
    b = next(solutions(tableau, number))[1] if b is None else b
    identity = vector(tuple(tuple(Fraction(i == j) for j in range(len(beta))) for i in range(len(beta))), number)
    inverse = algebra.inverse_lower(identity - z * beta)
    return 1 + z * (weights(b) @ inverse.sum(axis=1))


@pytest.mark.parametrize("name", STIFF)
def test_stability(name):
    tableau = STIFF[name]
    assert tableau.gamma > 0  # the only pole is at 1/gamma: bounded on the imaginary axis is bounded on the left
    for y in np.geomspace(1e-3, 1e6, 400):
        assert abs(stability_function(tableau, 1j * y)) <= 1 + 2e-13, y
    far = abs(stability_function(tableau, Fraction(-(10**30))))
    if tableau.stability == "L":
        assert far < 1e-13
    else:
        assert tableau.stability == "A"
        assert abs(far - 1) < 1e-13  # symmetric methods: R(-z) = 1/R(z)


@pytest.mark.parametrize("name", ["kvaerno3", "kvaerno5", "kencarp4", "rodas5p"])
def test_the_embedded_solutions_of_the_stiff_pairs_are_bounded_too(name):
    tableau = STIFF[name]
    _, embedded, _ = list(solutions(tableau, float))[1]
    for z in [*(1j * np.geomspace(1e-3, 1e6, 100)), -1e9]:
        assert abs(stability_function(tableau, z, embedded)) <= 1 + 2e-13, z


@pytest.mark.parametrize("name", ["sdirk2", "trbdf2", "kvaerno3", "kencarp4", "kvaerno5", "implicit_euler"])
def test_stiffly_accurate(name):
    assert STIFF[name].stiffly_accurate and STIFF[name].c[-1] == 1


def test_properties_say_what_integrators_ask():
    assert [n for n, t in STIFF.items() if getattr(t, "explicit_first", False)] == [
        "crank_nicolson", "trbdf2", "kvaerno3", "kencarp4", "kvaerno5",
    ]  # fmt: skip
    assert not TABLEAUS["implicit_midpoint"].stiffly_accurate
    orders = {n: t.control_order for n, t in TABLEAUS.items() if not isinstance(t, SplittingTableau)}
    assert orders == {
        "euler": None, "heun": 1, "midpoint": 1, "bosh3": 2, "rk4": None, "dopri5": 4, "tsit5": 4, "dop853": 7,
        "implicit_euler": None, "crank_nicolson": None, "implicit_midpoint": None, "sdirk2": 1, "trbdf2": 2, "kvaerno3": 2,
        "kencarp4": 3, "kvaerno5": 4, "rodas5p": 4,
    }  # fmt: skip


@pytest.mark.parametrize("name", [*RUNGE_KUTTA, *ROSENBROCK])
def test_a_step_by_the_documented_formulas_has_the_order(name):
    """Solution, estimate and extension of a step of a nonlinear problem that depends on time, against their powers of h."""
    tableau = TABLEAUS[name]
    longest = 0.2 if name == "dop853" else 0.05
    powers = {"y1": tableau.order, "estimate": tableau.control_order, "dense": tableau.dense and tableau.dense.order}
    errors = {h: dict.fromkeys(powers, 0.0) for h in (longest, longest / 2)}
    for h, found in errors.items():
        for t, y in problem.starts:  # several, for the leading term of an error has zeros
            y1, estimate, dense = step(tableau, h, t, y)
            found["y1"] += np.linalg.norm(y1 - problem.exact(h, t, y))
            found["estimate"] += np.linalg.norm(estimate)
            found["dense"] += np.linalg.norm(dense(0.3) - problem.exact(0.3 * h, t, y)) if dense else 0.0
    for what, order in powers.items():
        if order is not None:
            slope = np.log2(errors[longest][what] / errors[longest / 2][what])
            assert slope > order + 0.7, (what, slope, errors)  # that it is not higher, the trees say


@pytest.mark.parametrize(("name", "theirs"), [("RK23", RK23), ("RK45", RK45), ("DOP853", DOP853)])
def test_the_steps_of_scipy(name, theirs):
    h, tableau = 0.25, find(name)
    t, y = problem.starts[0]
    solver = theirs(problem.f, t, y, 10.0, first_step=h, rtol=1e3, atol=1e3)
    solver.step()
    y1, _, dense = step(tableau, h, t, y)
    np.testing.assert_allclose(y1, solver.y, rtol=1e-14)
    for theta in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(dense(theta), solver.dense_output()(t + theta * h), rtol=1e-13)


def test_names():
    assert all(name == tableau.name == name.lower() and tableau.source for name, tableau in TABLEAUS.items())
    assert not TABLEAUS.keys() & ALIASES.keys() and not (TABLEAUS.keys() | ALIASES.keys()) & HINTS.keys()
    assert set(ALIASES.values()) <= TABLEAUS.keys()
    assert find("RK45") is find("dopri5") is find("Dormand-Prince") is TABLEAUS["dopri5"]
    assert find("Velocity Verlet") is TABLEAUS["leapfrog"]
    for name in HINTS:
        with pytest.raises(ArgumentError, match=f"method='{name.upper()}', which is not one of ours.*take"):
            find(name.upper())
    with pytest.raises(ArgumentError, match="method='rk5', but expected one of euler, heun"):
        find("rk5")


def test_floats_round_once():
    assert floats(TABLEAUS["bosh3"].a) == ((), (0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9))
    assert floats(TABLEAUS["yoshida4"].drift)[0] == pytest.approx(1.3512071919596578, rel=1e-15)
    assert floats(TABLEAUS["kvaerno3"].gamma) == pytest.approx(0.43586652150845900, rel=1e-15)
    assert floats(TABLEAUS["sdirk2"].gamma) == pytest.approx(1 - 0.5**0.5, rel=1e-15)
