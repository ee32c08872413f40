"""Write ``docs/rules.md`` from the table in the code: ``python docs/make_rules.py``."""

from __future__ import annotations

from pathlib import Path

from adjointsim.derive.draws import DRAWS
from adjointsim.derive.factorisations import LINALG
from adjointsim.derive.rules import FUNCTIONS, OPS

HEAD = """\
# Derivative rules

Written by `python docs/make_rules.py` from the one table in the code (`adjointsim/derive/rules.py`), of which the tangent, the
adjoint and the second derivatives are made. `y` is the result, `t` the (co)tangent. The adjoint of `y = op(x)` adds
*coefficient times cotangent of y* to the cotangent of x; the tangent is the sum of *coefficient times tangent of x*.

- **select**: the coefficient is a condition; where it does not hold, the derivative is exactly 0, whatever the other side is.
- **strong**: where the (co)tangent is 0 the product is exactly 0, also if the coefficient is infinite.

An operation without coefficients is locally constant: its derivative is 0.

| operation | written | coefficients |
|---|---|---|
"""

LINEAR = """\

## Linear algebra

Custom functions of real or complex matrices, with rules in the accepted language (`adjointsim/derive/linalg.py` and
`factorisations.py`, where the sources are named).

| function | rules |
|---|---|
"""


ROOT = """\

## Equations

`adj.root(residual, guess, args)` finds x with r(x, args) = 0; J is dr/dx at x (`adjointsim/derive/roots.py`).

| | |
|---|---|
| cotangent | `args_bar = -(dr/dargs)^T J^-T x_bar`, `guess_bar = 0` |
| tangent | `x_dot = -J^-1 (dr/dargs) args_dot` |
"""


def text() -> str:
    """The page."""
    names: dict[str, list[str]] = {op: [f"`adj.{name}`"] for name, op in DRAWS.items()}
    for function, op in FUNCTIONS.items():
        name = getattr(function, "__name__", str(function))
        names.setdefault(op, []).append(f"`{name}`")
    lines = [HEAD]
    for op in sorted(OPS.values(), key=lambda op: op.name):
        terms = []
        for term in op.terms:
            mark = " (select)" if term.selector else " (strong)" if term.strong else ""
            terms.append(f"`{op.params[term.arg]}`: `{term.coef}`{mark}".replace("|", "\\|"))
        written = f"`{op.emit.format(*op.params)}`" if op.emit else "a conversion"
        own = ", ".join(sorted(set(names.get(op.name, [])))) or written.replace("|", "\\|")
        lines.append(f"| `{op.name}({', '.join(op.params)})` | {own} | {', '.join(terms) or 'none'} |\n")
    lines.append(LINEAR)
    for function, custom in LINALG.items():
        rules = [f"`{rule.__name__}`" for rule in (custom.vjp_rule, custom.jvp_rule) if rule is not None]
        lines.append(f"| `np.linalg.{function.__name__}` | {', '.join(rules)} |\n")
    lines.append(ROOT)
    return "".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("rules.md").write_text(text(), encoding="utf-8")
