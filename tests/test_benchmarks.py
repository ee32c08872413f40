"""The workloads of the benchmarks at small sizes: adjoints by hand beside complex steps, and ours beside those by hand."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("oscillator", "burgers", "wave", "bodies", "gray_scott", "implicit_heat", "shallow_water", "recurrent")
#: of the others, which take longest to compile, the benchmarks compare gradients before they time them
DERIVED = tuple([name for name in NAMES if name not in ("bodies", "shallow_water")])


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """What :mod:`by_hand` found, in a process where Numba compiles nothing."""
    path = tmp_path_factory.mktemp("by_hand") / "found.npz"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    program = [sys.executable, "-W", "error", str(Path(__file__).with_name("by_hand.py")), str(path)]
    subprocess.run(program, check=True, env=environment)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def workload(request, monkeypatch):
    """One of them; the benchmarks are not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module(f"benchmarks.workloads.{request.param}").WORKLOAD


def test_all_workloads_are_tested(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    assert importlib.import_module("benchmarks.workload").NAMES == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_adjoint_by_hand_is_the_derivative_of_the_run_by_hand(name, by_hand):
    np.testing.assert_allclose(by_hand[f"{name} 0"], by_hand[f"{name} run"], rtol=1e-13)
    leaves = [key for key in by_hand if key.startswith(f"{name} ") and key.endswith(" slopes")]
    assert leaves
    for key in leaves:
        places, slopes = by_hand[key]
        bar = by_hand[key.removesuffix(" slopes")]
        np.testing.assert_allclose(bar[places.astype(int)], slopes, rtol=0.0, atol=1e-12 * np.max(np.abs(bar)), err_msg=key)


def _agrees(workload, step, by_hand, **options):
    """The value and all derivatives, each leaf to rounding of its largest number; what was found."""
    size, n_steps = workload.tiny
    y0, p = workload.problem(size, n_steps)
    value, gradient = workload.simulation(n_steps, step, **options).value_and_grad(y0, p, wrt=workload.wrt)
    flat = importlib.import_module("benchmarks.workload").flat
    found = flat(value, (gradient.y0, gradient.p))
    expected = [by_hand[f"{workload.name} {k}"] for k in range(len(found))]
    assert f"{workload.name} {len(found)}" not in by_hand
    for leaf, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=0.0, atol=1e-12 * np.max(np.abs(wanted)))
    return found


@pytest.mark.parametrize("workload", DERIVED, indirect=True)
def test_the_derived_gradient_is_the_one_by_hand(workload, by_hand):
    found = _agrees(workload, workload.step, by_hand)
    bounded = _agrees(workload, workload.step, by_hand, checkpoints=3)
    for ours, again in zip(found, bounded):
        np.testing.assert_array_equal(ours, again)
