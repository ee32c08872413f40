"""check_gradient against models whose gradient is known to be right, or to be wrong in a known place."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

import adjointsim as adj
from adjointsim.errors import AdjointSimError, ArgumentError, GradientCheckError, StructureError, UnsupportedError
from adjointsim.testing import check_gradient


class Params(NamedTuple):
    a: float
    c: np.ndarray
    n: int
    deep: tuple


Y0 = np.array([0.3, -1.2, 0.7, 2.0])
P = Params(1.7, np.array([0.2, 0.9, -0.4, 1.1, 0.6]), 3, (0.8, np.array([[1.0, 2.0], [3.0, 4.0]])))


class Fake:
    """sum of sin(a y^2) + (c.c)^n a + deep[0] sum exp(deep[1] / 4), whose gradient ``spoil(y0_bar, p_bar)`` may falsify."""

    def __init__(self, spoil=None, tangent=1.0):
        self.spoil, self.factor, self.runs, self.wrt = spoil, tangent, 0, None

    def run(self, y0, p):
        self.runs += 1
        c = p.c @ p.c
        return SimpleNamespace(value=np.sin(p.a * y0**2).sum() + c**p.n * p.a + p.deep[0] * np.exp(p.deep[1] / 4.0).sum())

    def value_and_grad(self, y0, p, wrt=("y0", "p")):
        self.wrt = wrt
        c = p.c @ p.c
        y0_bar = 2.0 * p.a * y0 * np.cos(p.a * y0**2)
        e = np.exp(p.deep[1] / 4.0)
        p_bar = Params(
            float((y0**2 * np.cos(p.a * y0**2)).sum() + c**p.n),
            2.0 * p.a * p.n * c ** (p.n - 1) * p.c,
            None,
            (float(e.sum()), p.deep[0] * e / 4.0),
        )
        if self.spoil:
            y0_bar, p_bar = self.spoil(y0_bar, p_bar)
        return self.run(y0, p).value, SimpleNamespace(y0=y0_bar, p=p_bar)

    def jvp(self, y0, p, y0_dot, p_dot):
        if self.factor is None:
            raise UnsupportedError("this step has a VJP by hand")
        value, g = Fake().value_and_grad(y0, p)
        dot = g.y0 @ y0_dot + g.p.a * p_dot.a + g.p.c @ p_dot.c
        dot += g.p.deep[0] * p_dot.deep[0] + (g.p.deep[1] * p_dot.deep[1]).sum()
        return SimpleNamespace(value=value), SimpleNamespace(value=dot * self.factor)


class Scalar:
    """A model of y0 alone, from a function and its gradient; it has no ``run``."""

    def __init__(self, function, gradient):
        self.function, self.gradient = function, gradient

    def value_and_grad(self, y0, p, wrt=("y0", "p")):
        return self.function(y0), SimpleNamespace(y0=self.gradient(y0), p=None)


def test_a_right_gradient_passes_and_the_report_can_be_read():
    report = check_gradient(Fake(), Y0, P)
    assert report.passed and not report.problems and report.worst is None
    assert report.dot_product < 1e-12
    assert min(check.rate for check in report.directions) > 1.9
    text = str(report)
    assert "passed" in text and "p.deep[1]" in text and "p.c[3]" in text and "all #3" in text
    assert {"y0", "p.a", "p.c", "p.deep[0]", "p.deep[1]"} <= {check.name for check in report.directions}


def spoiled(field, index, error):
    """A falsifier: ``error`` is added to one component, relative to it."""

    def spoil(y0_bar, p_bar):
        target = {"y0": y0_bar, "c": p_bar.c, "deep": p_bar.deep[1]}[field]
        target[index] += error * target[index]
        return y0_bar, p_bar

    return spoil


@pytest.mark.parametrize("error", [-1.0, 1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize(
    ("field", "index", "name"), [("y0", 1, "y0[1]"), ("c", 3, "p.c[3]"), ("c", 0, "p.c[0]"), ("deep", (0, 1), "p.deep[1][0, 1]")]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_wrong_component_is_found_and_named(field, index, name, error, seed):
    report = check_gradient(Fake(spoiled(field, index, error)), Y0, P, seed=seed, raises=False)
    assert not report.passed
    assert report.worst.name == name
    assert report.worst.gradient / report.worst.difference == pytest.approx(1.0 + error, abs=abs(error) / 10)
    assert f"worst component {name}" in str(report)


def test_a_wrong_scalar_leaf_is_found():
    model = Fake(lambda y0_bar, p_bar: (y0_bar, p_bar._replace(a=p_bar.a * (1.0 + 1e-6))))
    report = check_gradient(model, Y0, P, raises=False)
    assert not report.passed and report.worst.name == "p.a"


def test_one_wrong_component_among_many():
    rng = np.random.default_rng(5)
    x = rng.normal(size=3000)
    for i in rng.choice(3000, 5, replace=False):
        wrong = np.cos(x)
        wrong[i] += 1e-4
        report = check_gradient(Scalar(lambda y: np.sin(y).sum(), lambda y, wrong=wrong: wrong), x, raises=False)
        assert not report.passed and report.worst.name == f"y0[{i}]"


def test_a_large_leaf_does_not_hide_a_small_one():
    def value_and_grad(y0, p, wrt=None):
        return 1e6 * np.sin(y0).sum() + np.sin(p), SimpleNamespace(y0=1e6 * np.cos(y0), p=1.001 * np.cos(p))

    report = check_gradient(SimpleNamespace(value_and_grad=value_and_grad), Y0, 0.5, raises=False)
    assert not report.passed
    assert any("p:" in problem for problem in report.problems)


def test_it_raises_with_the_report_as_the_message():
    with pytest.raises(GradientCheckError, match=r"FAILED(.|\n)*worst component p\.c\[3\]") as caught:
        check_gradient(Fake(spoiled("c", 3, 0.01)), Y0, P)
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, AdjointSimError)


COEFFICIENTS = np.array([2.0, -3.0, 0.5, 0.0])


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_linear_function_is_exact(offset):
    def value(y):
        return COEFFICIENTS @ y + offset

    report = check_gradient(Scalar(value, lambda y: COEFFICIENTS.copy()), Y0)
    assert report.passed and all(np.isinf(check.rate) for check in report.directions)
    assert not check_gradient(Scalar(value, lambda y: COEFFICIENTS * 1.00001), Y0, raises=False).passed


def test_a_constant_function():
    report = check_gradient(Scalar(lambda y: 3.0, np.zeros_like), Y0)
    assert report.passed
    assert not check_gradient(Scalar(lambda y: 3.0, lambda y: np.full_like(y, 1e-6)), Y0, raises=False).passed
    assert check_gradient(Scalar(lambda y: 0.0, np.zeros_like), np.zeros(3)).passed


def test_at_an_optimum_the_gradient_is_zero_and_may_not_be_anything_else():
    def square(y):
        return ((y - Y0) ** 2).sum()

    assert check_gradient(Scalar(square, lambda y: 2.0 * (y - Y0)), Y0).passed
    assert not check_gradient(Scalar(square, lambda y: 2.0 * (y - Y0) + np.array([0, 0, 1e-6, 0])), Y0, raises=False).passed


def test_inputs_of_zeros():
    assert check_gradient(Scalar(lambda y: np.exp(y).sum(), np.exp), np.zeros(3)).passed
    assert not check_gradient(Scalar(lambda y: np.exp(y).sum(), np.zeros_like), np.zeros(3), raises=False).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_named(bad):
    def spoil(y0_bar, p_bar):
        p_bar.c[2] = bad
        return y0_bar, p_bar

    report = check_gradient(Fake(spoil), Y0, P, raises=False)
    assert not report.passed and report.problems == (f"grad.p.c[2] is {bad}",)


def test_a_value_that_is_not_finite_cannot_be_checked():
    with pytest.raises(ArgumentError, match="the value at"):
        check_gradient(Scalar(lambda y: np.nan, np.zeros_like), Y0)


def test_gradients_of_the_wrong_form():
    def problems(spoil):
        return " ".join(check_gradient(Fake(spoil), Y0, P, raises=False).problems)

    assert problems(lambda y, p: (y, p._replace(a=None))) == "grad.p.a is None"
    assert "grad.p.a is None" in problems(lambda y, p: (y, None))
    assert "grad.y0 of shape (3,)" in problems(lambda y, p: (y[:3], p))
    assert "grad.p.deep as a tuple of 1 items" in problems(lambda y, p: (y, p._replace(deep=(1.0,))))
    assert "grad.p as a float" in problems(lambda y, p: (y, 1.0))


def test_a_wrong_tangent_is_found_and_a_missing_one_is_no_fault():
    report = check_gradient(Fake(tangent=1.0 + 1e-8), Y0, P, raises=False)
    assert not report.passed and "tangent" in report.problems[0] and report.worst is None
    assert check_gradient(Fake(tangent=None), Y0, P).dot_product is None


def test_wrt_selects():
    wrong_y0 = Fake(spoiled("y0", 1, 0.5))
    assert check_gradient(wrong_y0, Y0, P, wrt="p").passed and wrong_y0.wrt == ("p",)
    assert check_gradient(wrong_y0, Y0, P, wrt=("p.a", "p.deep")).passed
    assert check_gradient(Fake(spoiled("c", 0, 0.5)), Y0, P, wrt=("y0", "p.deep[1]")).passed
    assert not check_gradient(wrong_y0, Y0, P, wrt=("y0",), raises=False).passed
    for wrt in ("p.missing", ("y0", "q"), "p.n", ()):
        with pytest.raises(ArgumentError, match="wrt"):
            check_gradient(Fake(), Y0, P, wrt=wrt)
    with pytest.raises(StructureError, match="names no float"):
        check_gradient(Fake(), Y0, 3, wrt="p")


def test_y0_as_a_function_of_p():
    class Derived:
        def value_and_grad(self, y0, p, wrt=("p",)):
            assert wrt == ("p",)
            return float(np.sin(y0(p)).sum()), SimpleNamespace(y0=None, p=2.0 * np.cos(y0(p)))

    assert check_gradient(Derived(), lambda p: 2.0 * p, Y0).passed


def test_a_kink_is_pointed_out():
    report = check_gradient(Scalar(lambda y: np.abs(y).sum(), np.sign), np.array([0.0, 1.0]), raises=False)
    assert report.passed is False and "kink" in str(report) and report.worst.name == "y0[0]"


def test_the_domain_of_the_function_is_respected():
    """log of numbers over eight orders of magnitude: large displacements leave the domain."""
    x = 10.0 ** np.arange(-4.0, 4.0)

    def raising(y):
        if (y <= 0.0).any():
            raise ValueError("math domain error")
        return np.log(y).sum()

    assert check_gradient(Scalar(lambda y: np.log(y).sum(), np.reciprocal), x).passed
    assert check_gradient(Scalar(raising, np.reciprocal), x).passed
    for i in range(8):
        wrong = 1.0 / x
        wrong[i] *= 1.001
        assert not check_gradient(Scalar(raising, lambda y, wrong=wrong: wrong), x, raises=False).passed


@pytest.mark.parametrize("frequency", [1e5, 1e7, 1e9])
@pytest.mark.parametrize("amplitude", [1e-3, 1e-6])
def test_rough_values_are_not_judged_in_favour(frequency, amplitude):
    """A ripple too fine for the differences does not let the gradient of the smooth part pass."""

    def rough(y):
        return float(np.sin(y).sum() + amplitude * np.sin(frequency * y).sum())

    assert not check_gradient(Scalar(rough, np.cos), Y0, raises=False).passed


def test_differences_that_settle_to_nothing_are_called_so():
    def noisy(y):
        return float(np.sin(y).sum() + 1e-6 * np.sin(1e9 * y).sum())

    assert "differences cannot tell" in str(check_gradient(Scalar(noisy, np.cos), Y0, raises=False))


def test_float32_inputs_have_looser_limits():
    y = Y0.astype(np.float32)

    def value(y):
        assert y.dtype == np.float32
        return float(np.sin(y).sum())

    report = check_gradient(Scalar(value, np.cos), y)
    assert report.passed
    for i in range(4):
        wrong = np.cos(y)
        wrong[i] *= 1.05
        assert not check_gradient(Scalar(value, lambda y, wrong=wrong: wrong), y, raises=False).passed


def test_a_value_that_differs_from_the_run_is_reported():
    class Two(Fake):
        def value_and_grad(self, y0, p, wrt):
            value, gradient = super().value_and_grad(y0, p, wrt)
            return value + 1e-6, gradient

    assert "a run alone" in str(check_gradient(Two(), Y0, P, raises=False))


def test_it_is_deterministic_and_leaves_inputs_alone():
    y0, c = Y0.copy(), P.c.copy()
    first, second = (check_gradient(Fake(), y0, P, seed=3) for _ in range(2))
    assert first == second and first != check_gradient(Fake(), y0, P, seed=4)
    np.testing.assert_array_equal(y0, Y0)
    np.testing.assert_array_equal(P.c, c)


def test_arguments():
    with pytest.raises(ArgumentError, match="directions"):
        check_gradient(Fake(), Y0, P, directions=0)
    with pytest.raises(TypeError, match="a model"):
        check_gradient(3.0, Y0)


# ------------------------------------------------------------------------------------------------ against the library itself


def damped(n, y, p):
    return y[0] + p.a * y[1], y[1] - p.a * (y[0] * y[0] * y[0] + 0.1 * y[1])


def energy(y, p):
    return y[0] * y[0] + y[1] * y[1]


class Rate(NamedTuple):
    a: float


def test_a_simulation():
    sim = adj.Simulation(adj.step(damped), 50, terminal=energy)
    report = check_gradient(sim, (0.5, 0.3), Rate(0.1))
    assert report.passed and report.dot_product < 1e-12
    assert check_gradient(sim, lambda p: (p.a, 0.3), Rate(0.1)).passed


def cubic(x, p):
    total = 0.0
    for i in range(len(x)):
        total += p * x[i] ** 3
    return total


def test_a_function():
    report = check_gradient(cubic, np.array([1.0, -2.0, 0.5]), 2.0)
    assert report.passed and report.dot_product < 1e-12
    assert check_gradient(lambda x: x * x * x, 1.5).passed


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (1.0 + 1e-6, False)])
def test_a_step_with_a_vjp_by_hand(factor, passed):
    def vjp(n, y, p, y_next_bar):
        return p * np.cos(y) * y_next_bar * factor, float(np.sin(y) @ y_next_bar)

    @adj.step(vjp=vjp, jit=False)
    def wave(n, y, p):
        return p * np.sin(y)

    def total(y, p):
        return y[0] + 2.0 * y[1] + 3.0 * y[2]

    report = check_gradient(adj.Simulation(wave, 5, terminal=total), np.array([0.4, 0.9, 1.3]), 1.2, raises=False)
    assert report.passed is passed
