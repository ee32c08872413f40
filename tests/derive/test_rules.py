"""The table of operations: every coefficient against 50-digit derivatives, closure, and that a wrong rule is caught."""

from __future__ import annotations

import ast
import dataclasses
import math

import mpmath
import numba
import numpy as np
import pytest

from adjointsim.derive import rules, special
from adjointsim.derive.interp import evaluate
from adjointsim.derive.ir import Const, Var
from adjointsim.derive.rules import CASTS, FIXED, FUNCTIONS, OPS, apply_term, result_dtype, text

TERMS = [(op.name, t.arg) for op in OPS.values() for t in op.terms if op.name != "cast"]
INF, NAN = math.inf, math.nan

#: points inside of the domain, away from kinks; the default suits functions of the whole line
WHOLE = [(-2.5,), (-0.3,), (0.0,), (0.4,), (1.0,), (3.7,)]
POSITIVE = [(1e-3,), (0.4,), (1.0,), (2.0,), (37.5,)]
INSIDE = [(-0.97,), (-0.5,), (0.0,), (0.3,), (0.999,)]
NOT_ZERO = [(-2.5,), (-0.01,), (0.3,), (4.0,)]
PAIRS = [(1.5, 2.0), (-0.7, 0.2), (3.0, -4.0), (-1.0, -0.25), (0.0, 2.0)]
UNEQUAL = [(1.0, 2.0), (2.0, 1.0), (-3.0, 0.5), (0.5, -3.0)]
GAMMA = [(0.2,), (1.0,), (1.4616,), (2.5,), (11.3,), (-0.5,), (-3.7,)]
POINTS = {
    "log": POSITIVE, "log2": POSITIVE, "log10": POSITIVE, "sqrt": POSITIVE, "log1p": [(-0.99,), (-0.1,), (0.0,), (1e-9,), (5.0,)],
    "cbrt": NOT_ZERO, "reciprocal": NOT_ZERO, "abs": NOT_ZERO, "fabs": NOT_ZERO, "asin": INSIDE, "acos": INSIDE,
    "atanh": INSIDE, "acosh": [(1.001,), (1.5,), (30.0,)], "gamma": GAMMA, "lgamma": GAMMA,
    "polygamma": [(m, x) for m in (0, 1, 4) for (x,) in GAMMA],
    "pow": [(0.3, 2.5), (2.0, -1.5), (1.0, 0.0), (3.0, 3.0), (2.0, 0.5)], "fpow": [(0.3, 2.5), (2.0, -1.5)],
    "powi": [(x, n) for x in (-1.5, 0.4, 2.0) for n in (-3, -1, 0, 1, 2, 3, 7)] + [(0.0, 0), (0.0, 1), (0.0, 2), (0.0, 5)],
    "select": [(True, 1.0, 2.0), (False, 1.0, 2.0)], "min2": UNEQUAL, "max2": UNEQUAL, "minimum": UNEQUAL, "maximum": UNEQUAL,
    "fmin": UNEQUAL, "fmax": UNEQUAL, "copysign": [(1.5, -2.0), (-1.5, -2.0), (0.5, 0.1), (-3.0, 4.0)],
    "mod": [(5.5, 2.0), (-5.5, 2.0), (5.5, -2.0), (-0.3, -0.7), (0.1, 7.0)],
    "fmod": [(5.5, 2.0), (-5.5, 2.0), (5.5, -2.0), (-0.9, -0.7), (0.1, 7.0), (0.8999999999999999, 0.3)],
    "div": [(1.5, 2.0), (-0.7, 0.2), (3.0, -4.0), (0.0, 2.0)], "mulz": [(1.5, 2.0), (-1.5, 0.5), (2.0, 0.0)],
}  # fmt: skip


def points(name: str) -> list[tuple]:
    return POINTS.get(name, WHOLE if len(OPS[name].params) == 1 else PAIRS)


def operands(name: str, values: tuple) -> list:
    """Arguments as variables that carry their values, as literals where the operation wants one."""
    place, only = FIXED.get(name, (-1, ""))
    dts = [only if i == place else "f8" for i in range(len(values))]
    return [Const(v, d) if i == place and d == "i8" else Var(repr(v), d) for i, (v, d) in enumerate(zip(values, dts))]


def number(atom) -> float:
    return atom.value if isinstance(atom, Const) else eval(atom.name, {"nan": NAN, "inf": INF})


def build(op: str, *atoms):
    """Emit nothing, compute: a variable is called by its value."""
    dt = result_dtype(op, tuple(a.dt for a in atoms))
    return Var(repr(evaluate(op, [number(a) for a in atoms], dt)), dt)


def applied(name: str, k: int, values: tuple, t: float = 1.0, result: float | None = None) -> float:
    """What the rule makes of ``t`` at a point."""
    y = evaluate(name, values) if result is None else result
    return number(apply_term(build, name, k, Var(repr(t), "f8"), operands(name, values), Var(repr(float(y)), "f8")))


def derivative(name: str, k: int, values: tuple) -> mpmath.mpf:
    """The partial derivative to 40 digits, by differences at 120."""
    place = FIXED.get(name, (-1, ""))[0]
    with mpmath.workdps(120):
        exact = [v if i == place else mpmath.mpf(v) for i, v in enumerate(values)]
        h = mpmath.mpf(10) ** -40

        def f(x):
            return evaluate(name, [*exact[:k], x, *exact[k + 1 :]])

        return (f(exact[k] + h) - f(exact[k] - h)) / (2 * h)


def error(name: str, k: int) -> float:
    """The worst relative error of a rule over its points (absolute below 1)."""
    worst = 0.0
    for values in points(name):
        expected = derivative(name, k, values)
        worst = max(worst, float(abs(applied(name, k, values, 0.75) - 0.75 * expected) / max(1, abs(expected))))
    return worst


@pytest.mark.parametrize(("name", "k"), TERMS)
def test_rule_against_fifty_digits(name, k):
    assert error(name, k) < 2e-14


@pytest.mark.parametrize(("name", "k"), TERMS)
def test_operation_in_floats_and_on_fifty_digits_agree(name, k):
    for values in points(name):
        place = FIXED.get(name, (-1, ""))[0]
        with mpmath.workdps(50):
            exact = evaluate(name, [v if i == place else mpmath.mpf(v) for i, v in enumerate(values)])
        assert float(abs(evaluate(name, values) - exact)) <= 1e-14 * max(1.0, abs(float(exact)))


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "rint", "around", "sign", "floordiv"])
def test_no_rule_means_locally_constant(name):
    for values in [(1.3,), (-2.6,)] if len(OPS[name].params) == 1 else [(5.5, 2.0), (-5.5, 2.1)]:
        for k in range(len(values)):
            assert derivative(name, k, values) == 0
            assert apply_term(build, name, k, Var("1.0", "f8"), operands(name, values), Var("0.0", "f8")) == Const(0.0, "f8")


# ------------------------------------------------------------------------------------------------------------- mutations
def mutations(coef: str) -> list[str]:
    """Wrong coefficients near the right one."""
    wrong = [f"-({coef})", f"2 * ({coef})", f"({coef}) * 1.0001"]
    tree = ast.parse(coef, mode="eval")
    swap = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
    for i, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.BinOp) and type(node.op) in swap:
            copy = ast.parse(coef, mode="eval")
            other = list(ast.walk(copy))[i]
            other.op = swap[type(other.op)]()
            wrong.append(ast.unparse(copy))
    return wrong


#: mutations that change nothing: a factor of 1 or -1 may as well divide
SAME = {"sign(a) / copysign(1, b)"}


@pytest.mark.parametrize(("name", "k"), TERMS)
def test_a_wrong_rule_is_caught(name, k, monkeypatch):
    op = OPS[name]
    term = op.term(k)
    if term.selector:
        wrong = [f"not ({term.coef})", *([] if name == "select" else ["a == a", "a != a"])]
    elif name == "mulz" and k == 1:
        wrong = ["mulz(c, t) + mulz(c, t)", "-mulz(c, t)", "mulz(t, 1)"]
    else:
        wrong = [w for w in mutations(term.coef) if w not in SAME]
    for coef in wrong:
        changed = tuple(dataclasses.replace(t, coef=coef) if t.arg == k else t for t in op.terms)
        monkeypatch.setitem(rules.OPS, name, dataclasses.replace(op, terms=changed))
        assert not error(name, k) < 1e-6, f"{name}: {coef!r} passes for {term.coef!r}"


# --------------------------------------------------------------------------------------------------------------- closure
def names_in(coef: str) -> tuple[set[str], set[str]]:
    """The operations and the other names of a coefficient."""
    tree = ast.parse(coef, mode="eval")
    tables = {**rules.BINARY, **rules.UNARY, **rules.COMPARE, **rules.BOOLEAN}
    used, called = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called.add(node.func)
            used.add(node.func.id)
        elif isinstance(node, (ast.BinOp, ast.UnaryOp, ast.BoolOp)):
            used.add(tables[type(node.op)])
        elif isinstance(node, ast.Compare):
            used.add(tables[type(node.ops[0])])
    return used, {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n not in called}


#: operations without a rule whose derivative is 0 wherever it exists
LOCALLY_CONSTANT = {
    "floordiv", "lt", "le", "gt", "ge", "eq", "ne", "land", "lor", "lxor", "lnot", "band", "bor", "bxor", "invert", "lshift",
    "rshift", "isnan", "isinf", "isfinite", "floor", "ceil", "trunc", "rint", "around", "roundn", "ifloor", "iceil", "itrunc",
    "round_", "sign", "normal", "uniform", "bits", "number",
}  # fmt: skip


def test_every_operation_has_a_rule_or_is_locally_constant():
    assert {op.name for op in OPS.values() if not op.terms} == LOCALLY_CONSTANT


@pytest.mark.parametrize(("name", "k"), TERMS)
def test_coefficients_are_in_the_table(name, k):
    """So that the derivative of a derivative exists."""
    op = OPS[name]
    used, other = names_in(op.term(k).coef)
    assert used <= set(OPS)
    assert other <= {*op.params, "y", "t", *rules.CONSTANTS}


def test_names_are_consistent():
    for name, op in OPS.items():
        assert name == op.name
        assert not {"y", "t"} & set(op.params), "names with a meaning in coefficients"
        assert len({t.arg for t in op.terms}) == len(op.terms)
    for table in (rules.BINARY, rules.UNARY, rules.COMPARE, rules.BOOLEAN, FUNCTIONS):
        assert set(table.values()) <= set(OPS)


# ---------------------------------------------------------------------------------------------------- ties and edge cases
@pytest.mark.parametrize("name", ["min2", "max2", "minimum", "maximum", "fmin", "fmax"])
def test_a_tie_belongs_to_the_first_argument(name):
    assert applied(name, 0, (2.0, 2.0), 3.0) == 3.0
    assert applied(name, 1, (2.0, 2.0), 3.0) == 0.0


@pytest.mark.parametrize("name", ["min2", "max2", "minimum", "maximum", "fmin", "fmax"])
@pytest.mark.parametrize("values", [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (1.0, 2.0), (2.0, 1.0)])
def test_the_cotangent_goes_to_the_argument_that_was_chosen(name, values):
    y = evaluate(name, values)
    first = y is values[0]
    assert applied(name, 0, values, INF, y) == (INF if first else 0.0)
    assert applied(name, 1, values, INF, y) == (0.0 if first else INF)


def test_kinks():
    assert applied("abs", 0, (0.0,)) == 0.0
    assert applied("hypot", 0, (0.0, 0.0)) == 0.0
    assert applied("hypot", 1, (0.0, 0.0)) == 0.0
    assert applied("copysign", 0, (0.0, -1.0)) == 0.0
    assert applied("mulz", 0, (0.0, INF), 0.0) == 0.0
    assert applied("mulz", 1, (0.0, 1.0), INF) == 0.0


@pytest.mark.parametrize(
    ("name", "k", "values", "slope"),
    [
        ("sqrt", 0, (0.0,), INF), ("cbrt", 0, (0.0,), INF), ("log", 0, (0.0,), INF), ("log1p", 0, (-1.0,), INF),
        ("div", 0, (1.0, 0.0), INF), ("div", 1, (1.0, 0.0), -INF), ("div", 1, (0.0, 0.0), NAN), ("reciprocal", 0, (0.0,), -INF),
        ("pow", 0, (0.0, 0.5), INF), ("pow", 0, (0.0, -1.0), -INF), ("powi", 0, (0.0, -1), -INF), ("asin", 0, (1.0,), INF),
        ("acos", 0, (-1.0,), -INF), ("acosh", 0, (1.0,), INF), ("atanh", 0, (1.0,), INF), ("exp", 0, (1000.0,), INF),
        ("sinh", 0, (1000.0,), INF), ("exp2", 0, (2000.0,), INF), ("lgamma", 0, (0.0,), NAN), ("gamma", 0, (0.0,), NAN),
        ("atan2", 0, (0.0, 0.0), NAN), ("log", 0, (INF,), 0.0), ("logaddexp", 0, (-INF, -INF), NAN),
    ],
)  # fmt: skip
def test_an_infinite_slope_counts_only_where_the_cotangent_is_not_zero(name, k, values, slope):
    with np.errstate(all="ignore"):
        np.testing.assert_equal(applied(name, k, values, 1.0), slope)
        assert applied(name, k, values, 0.0) == 0.0


def test_powers_at_zero():
    assert applied("pow", 0, (0.0, 0.0)) == 0.0
    assert applied("pow", 0, (0.0, 1.0)) == 1.0
    assert applied("pow", 0, (0.0, 2.0)) == 0.0
    assert applied("pow", 1, (0.0, 2.0)) == 0.0
    assert applied("pow", 1, (-2.0, 2.0)) == 0.0  # by policy: the exponent of a negative base is inert
    assert applied("pow", 0, (-2.0, 3.0)) == 12.0


# --------------------------------------------------------------------------------------------------------------- emission
def emitted(name: str, k: int, args, t="f8") -> tuple[list[str], object]:
    lines = []

    def write(op, *atoms):
        var = Var(f"v{len(lines)}", result_dtype(op, tuple(a.dt for a in atoms)))
        lines.append(f"{op}({', '.join(map(str, atoms))})")
        return var

    y = Var("y", result_dtype(name, tuple(a.dt for a in args)))
    return lines, apply_term(write, name, k, Var("t", t), args, y)


X, E = Var("x", "f8"), Var("e", "f8")


@pytest.mark.parametrize(
    ("name", "k", "args", "lines"),
    [
        ("add", 0, (X, E), []),
        ("sub", 1, (X, E), ["neg(t)"]),
        ("mul", 0, (X, E), ["mul(t, e)"]),
        ("div", 0, (X, E), ["div(1.0, e)", "mulz(t, v0)"]),
        ("div", 0, (X, Const(4.0, "f8")), ["mul(t, 0.25)"]),
        ("powi", 0, (X, Const(0, "i8")), []),
        ("powi", 0, (X, Const(1, "i8")), []),
        ("powi", 0, (X, Const(2, "i8")), ["mul(t, 2.0)", "mul(v0, x)"]),
        ("powi", 0, (X, Const(3, "i8")), ["mul(t, 3.0)", "powi(x, 2)", "mul(v0, v1)"]),
        ("powi", 0, (X, Const(-1, "i8")), ["powi(x, -2)", "neg(v0)", "mulz(t, v1)"]),
        ("pow", 0, (X, Const(0.0, "f8")), []),
        ("pow", 0, (X, Const(1.0, "f8")), []),
        ("pow", 0, (X, Const(2.0, "f8")), ["mul(2.0, x)", "mul(t, v0)"]),
        ("pow", 0, (X, Const(0.5, "f8")), ["pow(x, -0.5)", "mul(0.5, v0)", "mulz(t, v1)"]),
        ("sqrt", 0, (X,), ["div(0.5, y)", "mulz(t, v0)"]),
        ("cos", 0, (X,), ["sin(x)", "mul(t, v0)", "neg(v1)"]),
        ("atan", 0, (X,), ["mul(x, x)", "add(1.0, v0)", "div(t, v1)"]),
        ("min2", 0, (X, E), ["lt(e, x)", "select(v0, 0.0, t)"]),
        ("min2", 1, (X, E), ["lt(e, x)", "select(v0, t, 0.0)"]),
        ("mulz", 1, (X, E), ["mulz(x, t)"]),
        ("degrees", 0, (X,), ["mul(t, 57.29577951308232)"]),
        ("polygamma", 1, (Const(0, "i8"), X), ["polygamma(1, x)", "mulz(t, v0)"]),
    ],
)
def test_emitted_statements(name, k, args, lines):
    assert emitted(name, k, args)[0] == lines


def test_a_zero_cotangent_emits_nothing():
    def never(*_):
        raise AssertionError("emitted")

    for name, k in TERMS:
        args = operands(name, points(name)[0])
        assert apply_term(never, name, k, Const(0.0, "f8"), args, X) == Const(0.0, "f8")


@pytest.mark.parametrize(("name", "k"), [(n, k) for n, k in TERMS if "gamma" not in n])
def test_float32_stays_float32(name, k):
    place = FIXED.get(name, (-1, ""))[0]
    args = [a if i == place else Var(f"a{i}", "f4") for i, a in enumerate(operands(name, points(name)[0]))]
    _, result = emitted(name, k, args, "f4")
    assert result.dt == "f4"


@pytest.mark.parametrize("name", [op.name for op in OPS.values() if op.name != "cast"])
def test_the_text_of_an_operation_compiles_to_what_the_interpreter_does(name):
    """Over the points of its rule and awkward values, in float64 (integers where floats are refused)."""
    op = OPS[name]
    place, only = FIXED.get(name, (-1, ""))
    awkward = [0.0, -0.0, 1.0, -1.5, 2.5, INF, -INF, NAN]
    if name in ("land", "lor", "lxor", "lnot"):
        cases = [(a, b)[: len(op.params)] for a in (True, False) for b in (True, False)]
    elif name in ("band", "bor", "bxor", "invert", "lshift", "rshift"):
        cases = [(a, b)[: len(op.params)] for a in (5, -6, 2**62) for b in (1, 3)]
    elif name in ("ifloor", "iceil", "itrunc", "round_"):
        cases = [(a,) for a in (-2.5, -0.5, 0.5, 1.5, 2.0, 7.9)]
    elif name in ("normal", "uniform"):
        cases = [(1, 2, 3), (0, 0, 0), (-5, 2**62, -(2**62))]
    elif name == "number":
        cases = [(0,), (1,), (-5,), (4607182418800017408,), (2**62,)]
    elif name == "roundn":
        cases = [(1.2345, 2), (-7.456, 1)]
    elif len(op.params) == 1:
        cases = [*points(name), *((a,) for a in awkward)]
    elif len(op.params) == 2 and place < 0:
        cases = [*points(name), *((a, b) for a in awkward for b in awkward)]
    else:
        cases = points(name)
    literal = place if only == "i8" else None
    for values in cases:
        texts = [repr(v) if i == literal else f"x{i}" for i, v in enumerate(values)]
        given = [v for i, v in enumerate(values) if i != literal]
        compiled = _compiled(text(name, texts, "f8"), len(op.params), literal)
        dts = tuple("b1" if isinstance(v, bool) else "i8" if isinstance(v, int) else "f8" for v in values)
        ours, theirs = evaluate(name, values, result_dtype(name, dts)), compiled(*given)
        assert type(ours) is type(theirs), values
        np.testing.assert_allclose(ours, theirs, rtol=4e-15, atol=1e-300, err_msg=f"{name}{values}")


_cache = {}


def _compiled(expression: str, n: int, literal: int | None):
    key = expression
    if key not in _cache:
        params = ", ".join(f"x{i}" for i in range(n) if i != literal)
        namespace = {"math": math, "np": np, "special": special}
        _cache[key] = numba.njit(error_model="numpy")(eval(f"lambda {params}: {expression}", namespace))
    return _cache[key]


@pytest.mark.parametrize("dt", [d for d in CASTS if d[0] != "c"])
def test_casts(dt):
    values = [True] if dt == "b1" else [3, 2.75, -1.5, True]
    for v in values:
        if dt == "u8" and v < 0:
            continue
        theirs = _compiled(text("cast", ["x0"], dt), 1, None)(v)
        assert evaluate("cast", [v], dt) == theirs
        assert isinstance(theirs, bool if dt == "b1" else float if dt[0] == "f" else int)
