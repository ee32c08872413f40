"""Runs in a directory that are interrupted, and what is compared of them."""

from __future__ import annotations

import os

import numpy as np
from derived import ROD, RODS, SWING, SWINGS, rods, swinging
from models import P0, Y0, simulation

from adjointsim.storage.restart import RunDirectory

EVERYTHING = os.environ.get("CORPUS") == "all"
MODELS = {
    "numbers": (swinging, SWING, SWINGS),
    "array": (rods, ROD, RODS),
    "python": (simulation, Y0, P0),
}


class Stop(BaseException):
    """An end without notice."""


def all_bits(found):
    value, grad = found
    return np.float64(value).tobytes(), [a.tobytes() for a in (*arrays(grad.y0), *arrays(grad.p))]


def arrays(x):
    if isinstance(x, tuple):
        return [a for part in x for a in arrays(part)]
    return [] if x is None else [np.asarray(x)]


def interrupted(monkeypatch, sim, args, k):
    """Run until just after the k-th record; whether it came that far."""
    real, written = RunDirectory.commit, []

    def commit(self, record):
        real(self, record)
        written.append((record.back, record.n))
        if len(written) == k:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "commit", commit)
        try:
            sim.value_and_grad(*args)
        except Stop:
            return written[-1]
    return None


def left_by(sim, tmp_path, monkeypatch, args, k=30):
    assert interrupted(monkeypatch, sim, args, k) is not None
    assert {path.name for path in tmp_path.iterdir()} >= {"adjointsim.record.0", "adjointsim.record.1", "adjointsim.states"}


#: the beginning of a program that commits a record as often as it can
ROD_PROGRAM = """
import sys
import numpy as np
import adjointsim as adj
from adjointsim import resume

resume.SECONDS, resume._SHARE = 0.01, 1e9

@adj.step
def step(n, u, p):
    out = np.empty_like(u)
    out[0], out[-1] = u[0], u[-1]
    for i in range(1, len(u) - 1):
        out[i] = u[i] + p * (u[i - 1] - 2.0 * u[i] + u[i + 1]) + 1e-3 * np.sin(u[i])
    return out

def last(u, p):
    return np.sum(u * u)
"""
