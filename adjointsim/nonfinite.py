"""NaN and Inf: in which step a result that is not finite began."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adjointsim.derive.spec import Spec
from adjointsim.errors import NonFiniteError
from adjointsim.executor import Executor, Problem
from adjointsim.forms import Known, read_all
from adjointsim.leaves import Bars, Leaves, finite, first_nonfinite
from adjointsim.rows import Watcher, Within
from adjointsim.schedules import ADVANCE, REVERSE

if TYPE_CHECKING:
    from adjointsim.sweep import Sweep

__all__ = ["check_bars", "check_given", "check_gradient_finite", "check_solution_finite", "given"]

#: a range of so many steps is looked through one by one, a longer one first in pieces
_FEW = 1000


def _limit(length: int) -> int:
    return math.isqrt(length) if length > _FEW else 1


def check_given(leaves: Leaves | Bars, spec: Spec, name: str) -> None:
    """NonFiniteError if what the user gave has a NaN or Inf."""
    if found := first_nonfinite(leaves, spec, name):
        path, index, number = found
        message = f"Got {_item(path, index)} = {number}, but expected finite numbers"
        raise NonFiniteError(message, step=None, n_steps=None, leaf=path, index=index, direction="forward")


def given(value: Any, name: str, copy: bool) -> Known:
    """What the user gave, read; NonFiniteError if it has a NaN or Inf.  With ``copy`` no array is the user's."""
    if type(value) is Known:
        return value
    form, leaves, numbers = read_all(value, name, copy)
    if not finite(numbers):
        check_given(leaves, form.spec, name)
    return Known(form, leaves)


def check_solution_finite(executor: Executor, again: Callable[[int], Executor]) -> None:
    """NonFiniteError if y_N or the value is not finite; ``again(slots)`` makes an executor to find out where it began."""
    problem = executor.problem
    found = first_nonfinite(executor.y, problem.y_spec, "y")
    if found is None and all(map(math.isfinite, executor.totals)):
        return
    n, n_steps = 0, problem.n_steps
    begin, block = 0, _limit(n_steps)
    copy = again(0)
    for end in range(block, n_steps, block) if block > 1 else ():
        copy.run(np.array([[ADVANCE, begin, end, -1]], np.int64))
        if first_nonfinite(copy.state, problem.y_spec, "y") or not np.isfinite(copy.totals).all():
            break
        begin = end
    copy = again(0)
    if begin:
        copy.run(np.array([[ADVANCE, 0, begin, -1]], np.int64))
    for n in range(begin, n_steps - 1):
        copy.run(np.array([[ADVANCE, n, n + 1, -1]], np.int64))
        _check_totals(copy, n)
        _check_state(copy.state, problem, n)
    if n_steps:
        copy.run(np.array([[REVERSE, n_steps - 1, n_steps, -1]], np.int64))
    copy.turn()
    _check_state(copy.y, problem, n_steps - 1)
    _check_totals(copy, n_steps)
    path, index, number = found or ("value", (), float(executor.value or 0.0))  # only a step with a memory gets here
    raise _non_finite(f"{_item(path, index)} = {number} at the end", None, n_steps, path, index, "forward")


def _check_totals(executor: Executor, n: int) -> None:
    n_steps = executor.problem.n_steps
    for name, total in zip(("running", "misfit", "terminal"), executor.totals, strict=True):
        if not np.isfinite(total):
            step = n if n < n_steps else n_steps - 1 if name == "running" else None
            at = f"step n={step} of {n_steps}" if step is not None else f"the end of {n_steps} steps"
            raise _non_finite(f"the sum of the {name} cost became {total} at {at}", step, n_steps, name, (), "forward")


def _check_state(leaves: Leaves, problem: Problem, n: int) -> None:
    if found := first_nonfinite(leaves, problem.y_spec, "y"):
        path, index, number = found
        message = f"{_item(path, index)} became {number} in step n={n} of {problem.n_steps} (forward sweep)"
        raise _non_finite(message, n, problem.n_steps, path, index, "forward")


class _Bad(Exception):
    """A cotangent is not finite after the VJPs of steps ``lo`` to ``hi``."""

    def __init__(self, lo: int, hi: int) -> None:
        super().__init__(lo, hi)
        self.lo, self.hi = lo, hi


def check_gradient_finite(
    executor: Executor,
    again: Callable[[Sequence[Watcher]], Sweep],
    value_bar: float,
    y_bar: Bars | None = None,
    observations_bar: Bars | None = None,
) -> None:
    """NonFiniteError if a gradient is not finite; the sweep is repeated, by ``again(watchers)``, to find where it began."""
    found = _first_bad_bar(executor)
    if found is None:
        return
    n_steps = executor.problem.n_steps
    lo, hi = 0, n_steps + 1

    def seen(rows: np.ndarray) -> None:
        back = rows[rows[:, 0] == REVERSE]
        if len(back) and _first_bad_bar(sweep.executor):
            raise _Bad(int(back[:, 1].min()), int(back[:, 2].max()))

    limit = n_steps + 1
    while hi - lo > 1:
        sweep = again([Within(lo, hi, limit, seen)])
        try:
            sweep.forward()
            sweep.reverse(value_bar, y_bar, observations_bar)
            break
        except _Bad as bad:
            lo, hi = bad.lo, bad.hi
            limit = _limit(hi - lo)
    else:
        check_bars(sweep.executor, lo)
    path, index, number = found  # only a step with a memory gets here
    raise _non_finite(f"the gradient of {_item(path, index)} is {number}", None, n_steps, path, index, "reverse")


def _first_bad_bar(executor: Executor) -> tuple[str, tuple[int, ...], float] | None:
    problem = executor.problem
    return first_nonfinite(executor.y_bar, problem.y_spec, "y") or first_nonfinite(executor.p_bar, problem.p_spec, "p")


def check_bars(executor: Executor, n: int | None) -> None:
    """After the VJP of step n; None: after the seed."""
    if found := _first_bad_bar(executor):
        path, index, number = found
        n_steps = executor.problem.n_steps
        where = "the derivatives of the costs at the end" if n is None else f"the VJP of step n={n} of {n_steps}"
        message = f"the cotangent of {_item(path, index)} became {number} in {where} (reverse sweep)"
        raise _non_finite(message, n, n_steps, path, index, "reverse")


def _item(path: str, index: tuple[int, ...]) -> str:
    return f"{path}[{', '.join(map(str, index))}]" if index else path


def _non_finite(message: str, n: int | None, n_steps: int, leaf: str, index: tuple[int, ...], direction: str) -> NonFiniteError:
    return NonFiniteError(message, step=n, n_steps=n_steps, leaf=leaf, index=index, direction=direction)
