"""``root``: the solution of equations, differentiated by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adjointsim.derive.verbs import inside

__all__ = ["root"]


@inside("root")
def root(
    residual: Callable[..., Any],
    guess: Any,
    args: tuple[Any, ...] = (),
    *,
    tol: float | None = None,
    max_iter: int = 50,
    bandwidth: tuple[int, int] | None = None,
) -> Any:
    raise NotImplementedError
