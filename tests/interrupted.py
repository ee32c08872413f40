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
