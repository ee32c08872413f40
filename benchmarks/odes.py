"""The value and the gradient of an ODE, warm, on one core: ours beside an adjoint by hand, CasADi and diffrax.

CasADi, diffrax and JAX are optional (the extra ``bench``); CasADi also needs gcc here.  Errors are those of the value, relative,
and of the worst of the gradient's leaves, relative to the largest number of the leaf; both beside ours at tight tolerances.
What is beside ours is in :mod:`benchmarks.odes_by_hand`, :mod:`benchmarks.odes_casadi` and :mod:`benchmarks.odes_diffrax`.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from . import odes_by_hand, odes_models
from .odes_models import Answer, Problem

IN_PYTHON = "what a call does in Python, however few steps there are"
TWICE = "each step's stages are computed twice: to find the step, and on the way back"

#: models, rounds, and what it is that costs ours time
MODELS = {
    "lotka_volterra": (101, IN_PYTHON),
    "lotka_volterra_long": (101, IN_PYTHON),
    "robertson": (51, TWICE),
    "brusselator": (21, TWICE + ", with eight banded solves each"),
    "kinetics": (51, IN_PYTHON),
    "neural": (21, "tanh is called a number at a time where JAX has vectors, and stages are computed again on the way back"),
}
#: what they need, and the models that they have
RIVALS = {
    "casadi": (("casadi",), ("lotka_volterra", "robertson", "brusselator", "kinetics")),
    "diffrax": (("diffrax", "jax"), tuple(name for name in MODELS if not name.endswith("_long"))),
}
AGREE = 1e-4  # of gradients with the tight one: the loosest tolerances give 2e-5


def missing(rival: str) -> str:
    """Why this one is not there, or nothing."""
    if not all(map(find_spec, RIVALS[rival][0])):
        return "not installed: pip install '.[bench]'"
    if rival == "casadi" and not shutil.which("gcc"):
        return "there is no gcc to compile its code"
    return ""


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those that it starts, on one core, where the system has a call for that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def by_hand(given: Problem) -> Callable[[], Answer]:
    """The adjoint of Lotka and Volterra's model by hand."""

    def call() -> Answer:
        value, *gradient, _ = odes_by_hand.value_and_grad(given.y0, given.p, given.times, given.data, 1e-8, 1e-8)
        return value, gradient

    return call


@functools.cache
def contest(name: str) -> tuple[Problem, dict[str, Callable[[], Answer]], dict[str, str], Answer]:
    """The problem, who takes part, who does not and why, and the tight answer."""
    given = getattr(odes_models, name)()
    entries, absent = {"ours": given.gradient}, {}
    if name.startswith("lotka_volterra"):
        entries["Numba by hand, the same steps"] = by_hand(given)
    for rival, (_, models) in RIVALS.items():
        if name not in models:
            continue
        why = missing(rival)
        if why:
            absent[rival] = why
            continue
        module = importlib.import_module(f"benchmarks.odes_{rival}")
        with module.scratch() if rival == "casadi" else nullcontext():
            entries.update(getattr(module, name)(given))
    return given, entries, absent, given.reference()


def warm(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Like :func:`.common.medians`, with calls for ten milliseconds before the one that is timed, as in a fit.

    What takes more than half a second is called once a round, and in three rounds at most.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            slow = turn > 0 and min(times[name]) > 0.5
            if slow and turn > 3:
                continue
            began = time.perf_counter()
            while not slow:
                function()
                if time.perf_counter() - began > 0.01:
                    break
            began = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def off(found: Answer, expected: Answer) -> tuple[float, float]:
    """The relative errors of a value, and of the worst leaf of a gradient."""
    worst = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found[1], expected[1], strict=True))
    return abs(found[0] - expected[0]) / abs(expected[0]), worst


def check() -> None:
    """Raise AssertionError unless all agree, and the one by hand to rounding, with as many steps."""
    with one_core():
        for name in MODELS:
            _, entries, _, tight = contest(name)
            for who, call in entries.items():
                errors = off(call(), tight)
                if not max(errors) <= AGREE:
                    raise AssertionError(f"{name}, {who}: value and gradient off by {errors[0]:.1e}, {errors[1]:.1e}")
        given, entries, *_ = contest("lotka_volterra")
        errors = off(entries["Numba by hand, the same steps"](), entries["ours"]())
        steps = odes_by_hand.value_and_grad(given.y0, given.p, given.times, given.data, 1e-8, 1e-8)[-1]
        ours = given.ode.run(given.y0, given.p).stats["accepted"]
        if not (max(errors) < 1e-11 and steps == ours):
            raise AssertionError(f"by hand: off by {errors[0]:.1e}, {errors[1]:.1e}; {steps} steps, ours {ours}")


def compare(name: str) -> None:
    """Time one model and print its table."""
    given, entries, absent, tight = contest(name)
    rounds, limit = MODELS[name]
    runs = {"run": lambda: given.ode.run(given.y0, given.p), "tight": given.reference}
    times = warm({**entries, "ours": given.call, **runs}, rounds)
    answers = {who: call() for who, call in entries.items()}
    print(f"\n{given.title}")
    print(f"  {'':38}{'ms':>10}{'over ours':>11}{'error':>10}{'gradient':>10}{'from ours':>11}")
    for who, answer in answers.items():
        value, gradient = off(answer, tight)
        beside = "" if who == "ours" else f"{off(answer, answers['ours'])[1]:11.1e}"
        print(f"  {who:38}{1e3 * times[who]:10.3f}{times[who] / times['ours']:11.3g}{value:10.1e}{gradient:10.1e}{beside}")
    for who, why in absent.items():
        print(f"  {who}: {why}")
    few, many = (ode.run(given.y0, given.p).stats["accepted"] for ode in (given.ode, given.tight))
    each = (times["tight"] - times["ours"]) / (many - few)
    print(
        f"  ours: {few} steps of {1e6 * each:.3g} us and {1e3 * max(0.0, times['ours'] - few * each):.2g} ms a call;"
        f" of {1e3 * times['ours']:.3g} ms the run takes {1e3 * times['run']:.3g}"
    )
    ahead = [who for who in entries if who != "ours" and times[who] < 1.05 * times["ours"]]
    if ahead:
        print(f"  ours is not ahead of: {'; '.join(ahead)}\n  what limits ours: {limit}")


def processor() -> str:
    """What the machine calls its processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """All tables."""
    print(f"\nValue and gradient of ODEs, medians of interleaved rounds, one core of: {processor()}")
    with one_core():
        for name in MODELS:
            compare(name)


if __name__ == "__main__":
    check()
    main()
