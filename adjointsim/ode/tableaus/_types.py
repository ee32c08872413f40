"""The shapes of coefficient data: explicit, diagonally implicit and Rosenbrock methods, and splittings.

Numbers are ``fractions.Fraction`` (see ``_numbers``); ``float(x)`` or ``floats(...)`` gives the doubles to compute with.
Common to all:

===============  ====================================================================================================
order            of the solution that is propagated
error            weights of the error estimate: b - b_hat, over all stages; None: the method has no estimate
error_order      of the embedded solution b_hat
control_order    q such that the estimate behaves as h**(q + 1): a controller's exponent is 1 / (q + 1)
dense            the published continuous extension; None: there is none, use the cubic Hermite polynomial of
                 (y0, f0, y1, f1), of order min(3, order)
source           the paper, and where in it the method is
===============  ====================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Dense", "DirkTableau", "ExplicitTableau", "Row", "RosenbrockTableau", "Rows", "SplittingTableau"]

Row = tuple[Fraction, ...]
Rows = tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A continuous extension: y(t + theta h) = y + h sum_i k_i sum_j coefficients[i][j] theta**(j + 1).

    ``coefficients`` has a row per stage, and rows for the extra stages ``a``, ``c`` after them: a step evaluates these
    only where dense output is wanted, k_s+i = f(t + c[i] h, y + h sum_j a[i][j] k_j), row i of ``a`` having s + i entries.
    At theta = 1 the weights are b; where the stages hold f at both ends, the extension is continuously differentiable.
    Rosenbrock methods have U_i in place of h k_i.
    """

    order: int
    coefficients: Rows
    a: Rows = ()
    c: Row = ()


@dataclass(frozen=True, kw_only=True)
class ExplicitTableau:
    """An explicit Runge-Kutta method: k_i = f(t + c_i h, y + h sum_j a_ij k_j), y1 = y + h sum_i b_i k_i.

    Row i of ``a`` has i entries, the first none.  With ``fsal`` the last stage is f(t + h, y1), the first stage of the next
    step: its row of ``a`` is b, its b is 0, and ``error`` and ``dense`` have an entry for it.  A step whose last stage
    has no weight in ``error`` (dop853) need not evaluate it before the step is accepted.

    ``error_low`` is a second estimate, of an embedded solution of order ``error_low_order``: see ``dop853`` for how the
    norm combines the two.
    """

    name: str
    order: int
    a: Rows
    b: Row
    c: Row
    error: Row | None = None
    error_order: int | None = None
    error_low: Row | None = None
    error_low_order: int | None = None
    fsal: bool = False
    dense: Dense | None = None
    source: str

    @property
    def stages(self) -> int:
        """The number of stages, that of the next step's first derivative (``fsal``) included."""
        return len(self.b)

    @property
    def control_order(self) -> int | None:
        """q such that the error estimate, as the norm combines it, behaves as h**(q + 1)."""
        if self.error_order is None or self.error_low_order is None:
            return self.error_order
        # err = e5**2 / sqrt(e5**2 + 0.01 e3**2) behaves as e5**2 / e3
        return 2 * (self.error_order + 1) - (self.error_low_order + 1) - 1


@dataclass(frozen=True, kw_only=True)
class DirkTableau:
    """A diagonally implicit Runge-Kutta method: k_i = f(t + c_i h, y + h sum_{j <= i} a_ij k_j), y1 = y + h sum_i b_i k_i.

    Row i of ``a`` has i + 1 entries, the diagonal being the last.  The implicit stages have one and the same diagonal
    ``gamma``, so that one LU of I - h gamma J serves them all; with ``explicit_first`` the first stage is f(t, y).
    With ``stiffly_accurate`` y1 is the last stage's argument: take it from there (no cancellation, and y1 satisfies algebraic
    constraints), and its k is f(t + h, y1), which ``explicit_first`` methods need next.

    ``stability``: "L" (A-stable, R(infinity) = 0: for stiff problems) or "A" (A-stable, but stiff transients are not damped).
    The error estimate of a stiff component is best multiplied by (I - h gamma J)**-1 (Hosea and Shampine 1996).
    ``error_order`` may exceed ``order`` (trbdf2): the embedded solution is then the more accurate one and is not propagated,
    because it is not A-stable.
    """

    name: str
    order: int
    a: Rows
    b: Row
    c: Row
    error: Row | None = None
    error_order: int | None = None
    dense: Dense | None = None
    stability: str
    source: str

    @property
    def stages(self) -> int:
        """The number of stages, an explicit first one included."""
        return len(self.b)

    @property
    def gamma(self) -> Fraction:
        """The diagonal of the implicit stages."""
        return self.a[-1][-1]

    @property
    def explicit_first(self) -> bool:
        """Whether the first stage is f(t, y), known from the last step where the method is stiffly accurate."""
        return self.a[0][0] == 0

    @property
    def stiffly_accurate(self) -> bool:
        """Whether y1 is the argument of the last stage."""
        return self.a[-1] == self.b

    @property
    def control_order(self) -> int | None:
        """q such that the error estimate behaves as h**(q + 1)."""
        return None if self.error_order is None else min(self.order, self.error_order)


@dataclass(frozen=True, kw_only=True)
class RosenbrockTableau:
    """A Rosenbrock method in the form without matrix products (Hairer and Wanner II, section IV.7, the transformed form):

        (I / (h gamma) - J) U_i = f(t + alpha_i h, y + sum_{j < i} a_ij U_j) + sum_{j < i} (c_ij / h) U_j + h gamma_t_i f_t
        y1 = y + sum_i m_i U_i,    error estimate = sum_i error_i U_i

    with J = df/dy and f_t = df/dt at (t, y), one LU for all stages.  U_i are increments: no factor h in y1, in the estimate or
    in ``dense``, y(t + theta h) = y + sum_i U_i sum_j dense.coefficients[i][j] theta**(j + 1).

    In the book's symbols U = Gamma K with Gamma = (gamma_ij), whose diagonal is gamma; (a_ij) = (alpha_ij) Gamma**-1,
    m = b Gamma**-1, (c_ij) = diag(1 / gamma) - Gamma**-1; alpha_i and gamma_t_i are the row sums of (alpha_ij) and Gamma.
    Row i of ``a`` and of ``c`` has i entries.  J and f_t must be exact: with others the order is lost (no W-methods here).
    ``dense`` is continuous from step to step, its derivative is not.
    """

    name: str
    order: int
    gamma: Fraction
    a: Rows
    c: Rows
    m: Row
    alpha: Row
    gamma_t: Row
    error: Row | None = None
    error_order: int | None = None
    dense: Dense | None = None
    stability: str
    source: str

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.m)

    @property
    def control_order(self) -> int | None:
        """q such that the error estimate behaves as h**(q + 1)."""
        return self.error_order


@dataclass(frozen=True, kw_only=True)
class SplittingTableau:
    """A symplectic splitting of q' = v, v' = F(q), or of any separable Hamiltonian: kicks and drifts in turn, a kick first.

        for i in range(len(drift)):  v += kick[i] h F(q);  q += drift[i] h v
        v += kick[-1] h F(q)

    There is one kick more than drifts, and the last F(q) is the first of the next step.  Both are palindromes: the step is
    time-reversible.  A negative drift goes back in time (``yoshida4``): F is evaluated outside [t, t + h].  Keep h constant, or
    the energy drifts.
    """

    name: str
    order: int
    kick: Row
    drift: Row
    source: str
