"""The reference against mpmath and finite differences, and the corpus against Python and the reference.

(Against Numba it is run where it is derived, in derive/test_corpus_callers.py.)
"""

from __future__ import annotations

from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from corpus import CASES, Case
from hypothesis import HealthCheck, given, settings
from reference import RULES, Dual, apply, reference_grad, reference_jvp, reference_value, reference_vjp
from refused import REFUSED, Refused
from refused_custom import CUSTOM
from refused_expressions import EXPRESSIONS
from strategies import Program, load, programs

#: the same functions in mpmath, and a point for each
MPMATH = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "arcsin": mpmath.asin, "arccos": mpmath.acos,
    "arctan": mpmath.atan, "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tanh": mpmath.tanh, "arcsinh": mpmath.asinh,
    "arctanh": mpmath.atanh, "arccosh": mpmath.acosh, "exp": mpmath.exp, "exp2": lambda x: mpmath.mpf(2) ** x,
    "expm1": mpmath.expm1, "log": mpmath.log, "log2": lambda x: mpmath.log(x, 2), "log10": mpmath.log10,
    "log1p": mpmath.log1p, "sqrt": mpmath.sqrt, "cbrt": mpmath.cbrt, "square": lambda x: x * x, "reciprocal": lambda x: 1 / x,
    "fabs": abs, "degrees": mpmath.degrees, "radians": mpmath.radians, "erf": mpmath.erf, "erfc": mpmath.erfc,
    "gamma": mpmath.gamma, "lgamma": mpmath.loggamma, "sinc": mpmath.sincpi, "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "divide": lambda a, b: a / b, "power": lambda a, b: a**b,
    "remainder": lambda a, b: a - b * mpmath.floor(a / b), "floor_divide": lambda a, b: mpmath.floor(a / b),
    "fmod": lambda a, b: a - b * (1 if a / b > 0 else -1) * mpmath.floor(abs(a / b)), "hypot": mpmath.hypot,
    "arctan2": mpmath.atan2, "copysign": lambda a, b: abs(a) if b > 0 else -abs(a),
    "logaddexp": lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b)), "ldexp": lambda a, b: a * mpmath.mpf(2) ** b,
    "floor": mpmath.floor, "ceil": mpmath.ceil, "trunc": mpmath.floor, "rint": mpmath.nint, "sign": mpmath.sign,
    "heaviside": lambda a, b: 1 if a > 0 else 0,
}  # fmt: skip


def flat(x: Any) -> list[float]:
    """All numbers in a result; None (inert leaves) gives none."""
    if x is None:
        return []
    if isinstance(x, tuple):
        return [v for child in x for v in flat(child)]
    return [float(v) for v in np.asarray(x).ravel()]


def structure(x: Any) -> Any:
    """The nesting and shapes of a result."""
    return (type(x), [structure(child) for child in x]) if isinstance(x, tuple) else np.shape(x)


def is_active(x: Any) -> bool:
    return isinstance(x, float) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")


def random_like(x: Any, rng: np.random.Generator) -> Any:
    """A random tangent or cotangent for ``x``; None for inert leaves."""
    if isinstance(x, tuple):
        return tuple(random_like(child, rng) for child in x)
    if not is_active(x):
        return None
    return rng.normal(size=np.shape(x)) if np.ndim(x) else float(rng.normal())


def moved(x: Any, dot: Any, h: float) -> Any:
    """``x + h * dot`` leaf by leaf."""
    if isinstance(x, tuple):
        children = [moved(a, d, h) for a, d in zip(x, dot, strict=True)]
        return type(x)(*children) if hasattr(x, "_fields") else tuple(children)
    return x if dot is None else (x + h * dot).astype(x.dtype) if np.ndim(x) else x + h * dot


def pairing(bar: Any, dot: Any) -> float:
    """The sum of products of two structures; None is zero."""
    if bar is None or dot is None:
        return 0.0
    if isinstance(bar, tuple):
        return sum(pairing(b, d) for b, d in zip(bar, dot, strict=True))
    return float(np.sum(np.asarray(bar, float) * np.asarray(dot, float)))


def assert_same(ours: Any, theirs: Any, case: Case) -> None:
    """Equal structure, and equal numbers to 1e-12 (float32 is computed in double precision by the reference)."""
    assert structure(ours) == structure(theirs)
    rtol, atol = (1e-5, 1e-6) if "float32" in case.tags else (1e-12, 1e-14)
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=rtol, atol=atol)


def named(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.name)


@pytest.mark.parametrize("name", RULES)
def test_rule_against_mpmath(name: str) -> None:
    rule, rng = RULES[name], np.random.default_rng(len(name))
    assert name in MPMATH
    for _ in range(4):
        low, high = {"arccosh": (1.1, 3.0), "ldexp": (2.0, 2.0)}.get(name, (0.05, 0.95))
        point = tuple(float(v) for v in rng.uniform(low, high, len(rule.partials)))
        with mpmath.workdps(30):
            value = float(MPMATH[name](*map(mpmath.mpf, point)))
            orders = np.eye(len(point), dtype=int)
            slopes = [float(mpmath.diff(MPMATH[name], point, tuple(map(int, order)))) for order in orders]
        assert float(rule.value(*point)) == pytest.approx(value, rel=1e-13, abs=1e-15)
        for k, slope in enumerate(slopes):
            if name == "ldexp" and k == 1:
                continue  # the exponent is an integer
            ours = apply(name, *(Dual(v, float(i == k)) for i, v in enumerate(point))).d
            assert ours == pytest.approx(slope, rel=1e-12, abs=1e-14)


def test_policies() -> None:
    def both(x, y):
        return max(x, y), min(x, y), abs(x - y)

    assert reference_vjp(both, (2.0, 2.0), (1.0, None, None)) == (1.0, 0.0)
    assert reference_vjp(both, (2.0, 2.0), (None, 1.0, None)) == (1.0, 0.0)
    assert reference_vjp(both, (2.0, 2.0), (None, None, 1.0)) == (0.0, 0.0)
    root = np.sqrt
    assert reference_grad(lambda x: root(x), (0.0,)) == np.inf
    assert reference_vjp(lambda x: (root(x), x), (0.0,), (0.0, 3.0)) == (3.0,)
    assert reference_grad(lambda x: (x - 1.0) * root(x - x) + x, (2.0,)) == 1.0


def test_inputs_and_captured_arrays_stay() -> None:
    a, weights = np.array([1.0, 2.0]), np.array([3.0, 4.0])

    def f(a):
        a[0] = a[0] * weights[1]
        return a

    reference_vjp(f, (a,), np.ones(2))
    assert a.tolist() == [1.0, 2.0] and weights.tolist() == [3.0, 4.0]

    def writes_captured(a):
        weights[0] = a[0]
        return a

    with pytest.raises(ValueError, match="read-only"):
        reference_value(writes_captured, (a,))


def test_names_are_unique() -> None:
    assert len({c.name for c in CASES}) == len(CASES) >= 110


@named(CASES)
def test_python_and_reference_agree(case: Case) -> None:
    plain, ours = case.fn(*case.fresh_args()), reference_value(case.fn, case.args)
    assert_same(ours, plain, case)
    assert np.all(np.isfinite(flat(plain)))


@named(CASES)
def test_reference_against_finite_differences(case: Case) -> None:
    rng = np.random.default_rng(7)
    dot = random_like(case.args, rng)
    value, value_dot = reference_jvp(case.fn, case.args, dot)
    bar = random_like(value, rng)
    bars = reference_vjp(case.fn, case.args, bar)
    if "singular" not in case.tags:
        tolerance = 1e-5 if "float32" in case.tags else 1e-11
        assert pairing(bar, value_dot) == pytest.approx(pairing(bars, dot), rel=tolerance, abs=0.1 * tolerance)
    if not case.tags & {"singular", "kink"}:
        h, tolerance = (1e-3, 1e-2) if "float32" in case.tags else (1e-6, 1e-5)
        up, down = (pairing(bar, reference_value(case.fn, moved(case.args, dot, s * h))) for s in (1.0, -1.0))
        assert (up - down) / (2 * h) == pytest.approx(pairing(bar, value_dot), rel=tolerance, abs=tolerance)


QUICK = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@settings(QUICK, max_examples=60)
@given(programs())
def test_random_programs_run(program: Program) -> None:
    f = load(program)
    case = Case("program", f, program.args, frozenset())
    value = f(*case.fresh_args())
    assert_same(reference_value(f, program.args), value, case)
    assert max(map(abs, flat(value))) < 10.0
    rng = np.random.default_rng(3)
    dot, bar = random_like(program.args, rng), random_like(value, rng)
    forward = pairing(bar, reference_jvp(f, program.args, dot)[1])
    assert forward == pytest.approx(pairing(reference_vjp(f, program.args, bar), dot), rel=1e-10, abs=1e-12)


@settings(QUICK, max_examples=4)
@given(programs(calls=False, whole=False))  # (operators in place on overlapping views are not NumPy's in Numba)
def test_random_programs_compile(program: Program) -> None:
    f = load(program)
    case = Case("program", f, program.args, frozenset())
    assert_same(numba.njit(error_model="numpy")(f)(*case.fresh_args()), f(*case.fresh_args()), case)


@pytest.mark.parametrize("entry", [*REFUSED, *EXPRESSIONS, *CUSTOM], ids=lambda r: r.name)
def test_refused_sources_are_programs(entry: Refused) -> None:
    assert callable(load(entry.source))
    assert len(entry.linenos) == len(entry.lines)
