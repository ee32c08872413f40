"""What can go wrong, as a tree.

    AdjointSimError
    ├── DerivationError (also SyntaxError)      a step or function that cannot be derived: user's file, line, text
    │   ├── UnsupportedError                    a construct outside the accepted language, or a call with no rule
    │   └── SourceUnavailableError              the function's source text cannot be read (REPL, ``python -c``)
    ├── ArgumentError (also ValueError)         an argument with an impossible value
    ├── StructureError (also TypeError)         a value of the wrong structure, shape or dtype
    ├── NonFiniteError (also ArithmeticError)   NaN or Inf appeared in a sweep: step, leaf, index, direction
    ├── IntegrationError (also ArithmeticError) an ODE solve that cannot go on: time, component, what to do
    ├── ConvergenceError (also ArithmeticError) adj.root found no root: residual, updates; step and direction in a note
    ├── FitError (also ArithmeticError)         adj.fit cannot start: the model cannot be run there; parameters
    ├── ReplayMismatchError (also RuntimeError) a step gave another state when it was run again: steps
    ├── StorageError (also OSError)             states that were stored cannot be had back, or a directory is in use
    ├── RestartError (also ValueError)          a directory holds an unfinished run of something else
    ├── GradientCheckError (also AssertionError) a gradient check failed
    └── MissingExtraError (also ImportError)    an optional dependency is not installed

    RestartWarning (a UserWarning)              a damaged restart file: an earlier one is used, or none
    FitWarning (a UserWarning)                  a fit that did not converge, hit bounds, or does not determine an unknown
    OverlapWarning (a UserWarning)              an in-place operator on overlapping views: NumPy's meaning, not Numba's

An exception that the user's own step raises keeps its type; it carries a note with the step number and direction.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AdjointSimError", "ArgumentError", "ConvergenceError", "DerivationError", "FitError", "FitWarning", "GradientCheckError",
    "IntegrationError", "MissingExtraError", "NonFiniteError", "OverlapWarning", "ReplayMismatchError", "RestartError",
    "RestartWarning", "SourceUnavailableError", "StorageError", "StructureError", "UnsupportedError",
]  # fmt: skip


class AdjointSimError(Exception):
    """The root of every error that this library defines."""


class DerivationError(AdjointSimError, SyntaxError):
    """A function that cannot be derived; ``filename``, ``lineno``, ``offset`` and ``text`` point into the user's source."""

    def __init__(
        self,
        message: str,
        filename: str | None = None,
        lineno: int | None = None,
        offset: int | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message, (filename, lineno, offset, text))

    def __str__(self) -> str:
        where = f'File "{self.filename}", line {self.lineno}' if self.filename else ""
        line = f"\n    {self.text.strip()}" if self.text else ""
        return f"{where}{line}\n{self.msg}" if where else self.msg


class UnsupportedError(DerivationError):
    """A construct outside the accepted language, or a call that has no derivative rule."""


class SourceUnavailableError(DerivationError):
    """The source text of a function cannot be read; pass it as ``adj.step(source="...")`` or put it in a file."""


class ArgumentError(AdjointSimError, ValueError):
    """An argument has an impossible value; the message names it and says what is accepted."""


class StructureError(AdjointSimError, TypeError):
    """A value has the wrong structure, shape or dtype; the message names the leaf and both structures."""


class NonFiniteError(AdjointSimError, ArithmeticError):
    """NaN or Inf appeared.

    Attributes: ``step`` (n; None outside the steps), ``n_steps``, ``leaf`` (for example ``"y.u"``), ``index`` (a tuple)
    and ``direction`` ("forward", "recompute" or "reverse").
    """

    def __init__(
        self, message: str, *, step: int | None, n_steps: int | None, leaf: str, index: tuple[int, ...], direction: str
    ) -> None:
        super().__init__(message)
        self.step, self.n_steps, self.leaf, self.index, self.direction = step, n_steps, leaf, index, direction


class IntegrationError(AdjointSimError, ArithmeticError):
    """An ODE solve could not go on.

    Attributes: ``t``, the time that was reached; ``component`` of the state that is to blame as far as one can tell
    (``"y.u[3]"``); ``solution`` up to that time, with ``status`` -1 (None if there is none).
    """

    def __init__(self, message: str, *, t: float, component: str, solution: Any = None) -> None:
        super().__init__(message)
        self.t, self.component, self.solution = t, component, solution


class ConvergenceError(AdjointSimError, ArithmeticError):
    """``adj.root`` found no root: it did not converge, met a residual that is not finite, or a singular Jacobian.

    Attributes: ``residual``, the largest residual, and ``updates``, the largest relative change of an unknown in each iteration.
    """

    def __init__(self, message: str, *, residual: float, updates: tuple[float, ...]) -> None:
        super().__init__(message)
        self.residual, self.updates = residual, updates


class FitError(AdjointSimError, ArithmeticError):
    """A fit cannot start, because the model cannot be run at its start.  ``parameters`` are the unknowns there, by name."""

    def __init__(self, message: str, *, parameters: dict[str, float]) -> None:
        super().__init__(message)
        self.parameters = parameters


class ReplayMismatchError(AdjointSimError, RuntimeError):
    """Steps that were run again on the way back gave another state than the first time.

    The first difference is in one of the steps ``begin`` <= n < ``end`` of ``n_steps``.
    """

    def __init__(self, step: str, begin: int, end: int, n_steps: int) -> None:
        steps = f"step n={begin}" if end == begin + 1 else f"steps n={begin} to {end - 1}"
        super().__init__(
            f"{step} is not a function of (n, y, p) alone: {steps} of {n_steps}, run again from the same y_{begin} "
            f"(recomputation), gave another y_{end} than the first time, so that the gradient would be wrong. "
            "Draw random numbers with adj.random.normal(seed, n, i), and keep nothing from one call to the next"
        )
        self.begin, self.end, self.n_steps = begin, end, n_steps


class StorageError(AdjointSimError, OSError):
    """States that were stored cannot be had back, or a directory cannot be used; the message names the file and what to do."""


class RestartError(AdjointSimError, ValueError):
    """The directory holds an unfinished run that is not this one.  ``fields`` names what differs: {name: (there, here)}."""

    def __init__(self, message: str, fields: dict[str, tuple[str, str]]) -> None:
        super().__init__(message)
        self.fields = fields


class GradientCheckError(AdjointSimError, AssertionError):
    """:func:`adjointsim.testing.check_gradient` found a gradient that is not the derivative of the value."""


class FitWarning(UserWarning):
    """What a fit's numbers do not say: a parameter or combination that the data do not determine, a bound that was hit, a search
    that ended before it converged.  ``FitResult.warnings`` has the same texts."""


class OverlapWarning(UserWarning):
    """An operator in place reads other elements of the array that it overwrites: the message names the line.

    NumPy reads all of them first, and so does the derived code; Numba's own result may differ.
    """


class RestartWarning(UserWarning):
    """A restart file is damaged: an earlier one is used, or the run begins anew.  The gradient is the same in any case."""


class MissingExtraError(AdjointSimError, ImportError):
    """An optional dependency is missing; the message names the ``pip install 'adjointsim[...]'`` that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'adjointsim[{extra}]'")
