"""The best point of a search that may be killed, in a file from which the same call goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from adjointsim.errors import RestartError, StorageError

from .evaluation import Evaluator

__all__ = ["load", "remove", "save"]


def save(path: Path, evaluator: Evaluator, cost: float, z: np.ndarray) -> None:
    """Write the best z and its cost; a reader sees the old file or the new one."""
    record = {**_fields(evaluator), "cost": cost, "z": [float.hex(float(value)) for value in z]}
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(json.dumps(record), encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        raise StorageError(f"checkpoint={str(path)!r} cannot be written: {error}") from error


def load(path: Path, evaluator: Evaluator, z0: np.ndarray) -> np.ndarray:
    """The best z of an unfinished search, else ``z0``.  RestartError if the file is that of another fit."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return z0
    except (OSError, ValueError) as error:
        raise StorageError(f"checkpoint={str(path)!r} cannot be read: {error}; remove it to begin anew") from error
    own = _fields(evaluator)
    there = record if isinstance(record, dict) else {}
    differ = {name: (str(there.get(name)), str(value)) for name, value in own.items() if there.get(name) != value}
    if differ:
        raise RestartError(
            f"checkpoint={str(path)!r} is that of another fit: {', '.join(differ)} differ; remove it, or name another file",
            differ,
        )
    return np.array([float.fromhex(value) for value in record["z"]])


def remove(path: Path) -> None:
    """The search has ended by itself: nothing is left to go on with."""
    path.unlink(missing_ok=True)


def _fields(evaluator: Evaluator) -> dict[str, object]:
    """What tells a fit from another one."""
    unknowns, t = evaluator.unknowns, evaluator.unknowns.transforms
    text = hashlib.sha256()
    for array in (evaluator.data, evaluator.sigma, unknowns.x0, t.logs, t.logits, t.low, t.high):
        text.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return {"unknowns": unknowns.names, "loss": evaluator.loss.name, "data and start": text.hexdigest()}
