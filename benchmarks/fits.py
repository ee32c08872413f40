"""Fits, warm, on one core: ours beside SciPy with differences and beside diffrax with optimistix; many experiments on threads.

All find the same optimum, which is printed beside the time. SciPy's ``least_squares`` has the models by ``solve_ivp`` (LSODA) at
tolerances that make differences good enough for that, and where patients have constants of their own it fits them one by one.
diffrax and optimistix are optional (the extra ``bench``); see :mod:`benchmarks.fits_diffrax`. Times are the process's own on one
core, which others that use the machine change little; those of threads are elapsed ones. What the first call takes is told apart;
ours is short where its code is on the disk already.
"""

from __future__ import annotations

import functools
import importlib.util
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import adjointsim as adj

from .common import medians
from .odes import one_core, processor

ROUNDS = 7
TIGHT = 1e-10  # LSODA's tolerances, and steps of differences that make the most of them: with others it takes longer, or ends
STEP = 1e-6  # .. farther away
AGREE = 1e-5  # of the parameters: what differences leave
MANY = 64  # experiments
STEPS_A_YEAR = 2000  # of the model that they have, so that a run takes milliseconds


class Optimum(NamedTuple):
    """Where a fit ends: the parameters, the sum of squared residuals, and what it took."""

    x: np.ndarray
    rss: float
    took: str


Entries = dict[str, Callable[[], Optimum]]


@functools.cache
def example(name: str) -> Any:
    """One of the examples as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


def ours(found: adj.FitResult) -> Optimum:
    return Optimum(found.x, found.rss, f"{found.nfev} runs, {found.njev} Jacobians")


# ------------------------------------------------------------------------------------------------------- theophylline
@functools.cache
def subjects() -> list[Any]:
    """The twelve."""
    return [example("theophylline").read(k) for k in range(1, 13)]


def concentrations(subject: Any, ka: float, ke: float, volume: float) -> np.ndarray:
    """The model by LSODA."""

    def rhs(t, y):
        absorbed = ka * y[0]
        return -absorbed, absorbed - ke * y[1]

    end = subject.times[-1]
    done = solve_ivp(rhs, (0.0, end), (subject.dose, 0.0), "LSODA", subject.times, rtol=TIGHT, atol=TIGHT)
    return done.y[1] / volume


def by_differences(residuals: Callable[[np.ndarray], np.ndarray], z0: np.ndarray, bounds: Any = (-np.inf, np.inf)) -> Any:
    """SciPy's fit with one-sided differences."""
    return least_squares(
        residuals, z0, "2-point", bounds, ftol=1e-10, xtol=1e-10, gtol=1e-10, x_scale="jac", diff_step=STEP
    )  # fmt: skip


def scipy_shared() -> Optimum:
    """Three constants for all."""

    def residuals(z):
        return np.concatenate([concentrations(s, *np.exp(z)) - s.concentrations for s in subjects()])

    best = by_differences(residuals, np.log(example("theophylline").START))
    return Optimum(np.exp(best.x), 2.0 * best.cost, f"{best.nfev + 3 * best.njev} runs")


def scipy_own() -> Optimum:
    """Three constants for each, one patient after the other."""
    found = []
    for subject in subjects():

        def residuals(z, s=subject):
            return concentrations(s, *np.exp(z)) - s.concentrations

        found.append(by_differences(residuals, np.log(example("theophylline").START)))
    x, rss = np.exp(np.concatenate([best.x for best in found])), 2.0 * sum(best.cost for best in found)
    return Optimum(x, rss, f"{sum(best.nfev + 3 * best.njev for best in found) / len(found):.0f} runs each")


def theophylline(local: tuple[str, ...]) -> Entries:
    """Twelve patients and three constants, shared or of their own."""
    module = example("theophylline")

    experiments = [
        adj.Experiment(module.model(s.times), s.concentrations, module.Amounts(s.dose, 0.0), name=str(k))
        for k, s in enumerate(subjects())
    ]

    def fit() -> Optimum:
        return ours(adj.fit(experiments, module.START, transform="log", local=local))

    entries: Entries = {"ours": fit, "SciPy, LSODA": scipy_own if local else scipy_shared}
    if not absent():
        from . import fits_diffrax

        data = [(s.times, s.concentrations, s.dose) for s in subjects()]
        entries["diffrax, optimistix"] = fits_diffrax.theophylline(data, np.log(module.START), bool(local))
    return entries


# ---------------------------------------------------------------------------------------------------- lynxes and hares
def scipy_lynx_hare() -> Optimum:
    """Four rates and two populations by their logarithms, with the bounds of the example."""
    module = example("lynx_hare")
    pelts = module.read()
    times = (pelts.years - pelts.years[0]).astype(float)

    def residuals(z):
        alpha, beta, gamma, delta, hare, lynx = np.exp(z)

        def rhs(t, y):
            return (alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]

        done = solve_ivp(rhs, (0.0, times[-1]), (hare, lynx), "LSODA", times, rtol=TIGHT, atol=TIGHT)
        return (np.log(done.y.T) - np.log(pelts.counts)).ravel()

    z0 = np.log([*module.START, *pelts.counts[0]])
    best = by_differences(residuals, z0, (z0 - np.log(4.0), z0 + np.log(4.0)))
    return Optimum(np.exp(best.x), 2.0 * best.cost, f"{best.nfev + 6 * best.njev} runs")


def growth(t, y, p):
    """The right-hand side of the example."""
    return (p.alpha - p.beta * y[1]) * y[0], (p.delta * y[0] - p.gamma) * y[1]


def lynx_hare() -> Entries:
    """The pelts of 1900 to 1920."""
    module = example("lynx_hare")
    pelts = module.read()
    times = (pelts.years - pelts.years[0]).astype(float)
    start = np.log([*module.START, *pelts.counts[0]])

    def fit() -> Optimum:
        ode, y0 = adj.ODE(growth, times, rtol=1e-8, atol=1e-8), tuple(pelts.counts[0].tolist())
        return ours(
            adj.fit(ode, pelts.counts, module.START, y0=y0, wrt=("p", "y0"), transform="log", loss="lognormal")
        )  # fmt: skip

    entries: Entries = {
        "ours": fit,
        "ours, RK4 as in the example": lambda: ours(module.fit(pelts)),
        "SciPy, LSODA": scipy_lynx_hare,
    }
    if not absent():
        from . import fits_diffrax

        entries["diffrax, optimistix"] = fits_diffrax.lynx_hare(times, pelts.counts, start)
    return entries


CONTESTS: dict[str, Callable[[], Entries]] = {
    "theophylline, twelve patients, 3 constants that they share": lambda: theophylline(()),
    "theophylline, twelve patients, 36 constants of their own": lambda: theophylline(("ka", "ke", "volume")),
    "lynx and hare, 4 rates and 2 initial populations": lynx_hare,
}


def absent() -> str:
    """Why diffrax and optimistix are not there, or nothing."""
    return "" if all(map(find_spec, ("jax", "diffrax", "optimistix"))) else "not installed: pip install '.[bench]'"


def away(found: Optimum, expected: Optimum) -> float:
    """The largest relative difference of the parameters."""
    return float(np.abs(found.x / expected.x - 1.0).max())


def check() -> None:
    """Raise AssertionError unless all find one optimum."""
    with one_core():
        for title, make in CONTESTS.items():
            found = {who: call() for who, call in make().items()}
            for who, optimum in found.items():
                rss = abs(optimum.rss / found["ours"].rss - 1.0)
                if not (away(optimum, found["ours"]) < AGREE and rss < AGREE):
                    far = away(optimum, found["ours"])
                    raise AssertionError(f"{title}, {who}: parameters off by {far:.1e}, sum of squares {optimum.rss:.10g}")


def compare(title: str, entries: Entries) -> None:
    """Time one fit and print its table."""
    taken: dict[str, list[float]] = {who: [] for who in entries}
    found: dict[str, Optimum] = {}
    for _ in range(2 + ROUNDS):  # the second is for memory that is touched for the first time
        for who, call in entries.items():
            began = time.process_time()
            found[who] = call()
            taken[who].append(time.process_time() - began)
    first = {who: each[0] for who, each in taken.items()}
    times = {who: statistics.median(each[2:]) for who, each in taken.items()}
    print(f"\n{title}")
    print(f"  {'':28}{'ms':>10}{'over ours':>11}{'first, s':>10}{'sum of squares':>18}{'off ours':>10}  took")
    for who, optimum in found.items():
        beside = "" if who == "ours" else f"{away(optimum, found['ours']):10.1e}"
        print(
            f"  {who:28}{1e3 * times[who]:10.1f}{times[who] / times['ours']:11.1f}{first[who]:10.2f}{optimum.rss:18.10f}"
            f"{beside:>10}  {optimum.took}"
        )
    x = ", ".join(f"{value:.7g}" for value in found["ours"].x[:6])
    print(f"  at {x}{', ..' if len(found['ours'].x) > 6 else ''}")


# ------------------------------------------------------------------------------------------------------------- threads
def many() -> list[adj.Experiment]:
    """Experiments with rates that they share, each with initial populations of its own."""
    module = example("lynx_hare")
    pelts = module.read()
    model = module.simulation(pelts.years, STEPS_A_YEAR)
    rates = module.Rates(*(mean for mean, _ in module.PUBLISHED.values()))
    rng = np.random.default_rng(1)
    made = []
    for k in range(MANY):
        y0 = module.Populations(*(pelts.counts[0] * rng.uniform(0.8, 1.25, 2)).tolist())
        seen = model.run(y0, rates).observations
        made.append(adj.Experiment(model, seen * np.exp(rng.normal(0.0, 0.1, seen.shape)), y0, name=str(k)))
    return made


def threads() -> None:
    """One fit of many experiments on one thread and on two."""
    experiments, start = many(), example("lynx_hare").START
    found: dict[int, adj.FitResult] = {}

    def fit(workers: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", adj.errors.FitWarning)
            found[workers] = adj.fit(
                experiments, start, transform="log", loss="lognormal", bounds=(0.005, 2.0), max_nfev=4, workers=workers
            )

    times = medians({str(workers): functools.partial(fit, workers) for workers in (1, 2)}, 5)
    same = "the same bits" if found[1].x.tobytes() == found[2].x.tobytes() else "DIFFERENT BITS"
    steps = experiments[0].model.n_steps
    print(f"\n{MANY} experiments of {steps} steps and {len(found[1].names)} unknowns, {found[1].njev} Jacobians")
    print(f"  one thread {times['1']:.2f} s, two {times['2']:.2f} s: {times['1'] / times['2']:.2f} times as fast, {same}")


def main() -> None:
    """All tables."""
    print(f"\nFits, medians of interleaved rounds, the process's time on one core of: {processor()}")
    with one_core():
        for title, make in CONTESTS.items():
            compare(title, make())
    if absent():
        print(f"  diffrax, optimistix: {absent()}")
    threads()


if __name__ == "__main__":
    check()
    main()
