"""Certified nonlinear regressions of NIST's Statistical Reference Datasets, through ODEs: those of ``examples/nist.py``.

The certified sum of squares also tells that the data are written down correctly.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import adjointsim as adj

_SPEC = importlib.util.spec_from_file_location("nist", Path(__file__).parents[2] / "examples" / "nist.py")
nist = sys.modules.setdefault("nist", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(nist)


@pytest.mark.parametrize("name", nist.PROBLEMS)
def test_certified_values(name):
    """Parameters to eight digits and standard deviations to six, from both starts, which agree to 1e-8: and better."""
    problem = nist.PROBLEMS[name]
    ends = [nist.fit(name, start) for start in range(2)]
    for found in ends:
        np.testing.assert_allclose(found.x, problem.b, rtol=1e-9)
        np.testing.assert_allclose(found.stderr, problem.sd, rtol=1e-8)
        assert found.rss == pytest.approx(problem.rss, rel=1e-10)
        assert found.reduced_chi2 == pytest.approx(problem.rss / (len(problem.y) - len(problem.b)), rel=1e-10)
    np.testing.assert_allclose(ends[0].x, ends[1].x, rtol=1e-10)
    lines = nist.report(name, ends).splitlines()
    assert len(lines) == 2 + 2 * len(problem.b) and all(float(line.split()[5]) > 8.5 for line in lines[1:-1])


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_trials_that_overflow_are_rejected(method):
    """BoxBOD from (1, 1): trials at rates at which the integration blows up, or residuals' squares do, cost a step each and give
    no warning, and the end is that of the other start."""
    problem, found = nist.PROBLEMS["BoxBOD"], nist.fit("BoxBOD", 0, method)
    np.testing.assert_allclose(found.x, problem.b, rtol=1e-9)
    assert found.success and 0 < found.n_failed < 5
    assert all(failure.parameters["b2"] < -50.0 for failure in found.failures)
    said = [failure.message for failure in found.failures]
    assert "became -inf" in said[0] and (method != "dogbox" or said[-1] == "the residuals, or their squares, are not finite")


def test_steps_that_adapt():
    """Misra1a by Tsitouras' method at a tight tolerance."""
    problem = nist.PROBLEMS["Misra1a"]
    model = adj.ODE(problem.rhs, problem.x, t0=0.0, rtol=1e-11, atol=1e-11)
    found = adj.fit(model, problem.y, problem.starts[0], y0=problem.y0, transform="log")
    np.testing.assert_allclose(found.x, problem.b, rtol=1e-8)
    np.testing.assert_allclose(found.stderr, problem.sd, rtol=1e-6)
