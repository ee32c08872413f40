"""Divisions that are not needed, in what derivatives consist of: they take as long as ten multiplications.

    y = a / b;  r = 1 / b                  becomes         r = 1 / b;  y = a * r
    s = sqrt(x);  t * x * (0.5 / s)        becomes         t * (0.5 * s)

The first is what the derivative of a quotient asks for, the second the derivative of x * sqrt(x), which is that of any power
3 / 2 of a distance.  Both round otherwise than what they replace.
"""

from __future__ import annotations

from dataclasses import replace

from .build import Names, const
from .deadcode import remove_dead
from .ir import Atom, Block, Each, If, Let, Stmt, Store, Var

__all__ = ["fewer_divisions"]


def fewer_divisions(s: Each, names: Names) -> Each:
    """A loop of the way back with fewer divisions."""
    body = _roots(_reciprocal(s.body), names)
    if body == s.body:
        return s
    terms = [t for _, _, each in s.sums for t in each]
    alive = remove_dead((*body, *s.stores), {st.base for st in s.stores}, terms)
    return replace(s, body=tuple(x for x in alive if not isinstance(x, Store)))


def _reciprocal(body: Block) -> Block:
    """A body in which a number that is divided by itself and by which 1 is divided, for a derivative, is divided by once."""
    ones = {x.args[1]: x for x in body if isinstance(x, Let) and x.op == "div" and x.args[0] == const(1, x.var.dt)}
    if not ones or any(isinstance(x, If) for x in body):
        return body
    out: list[Stmt] = []
    done: set[Atom] = set()
    for x in body:
        one = ones.get(x.args[1]) if isinstance(x, Let) and x.op == "div" else None
        if one is None or one.var.dt != x.var.dt:  # type: ignore[union-attr]
            out.append(x)
            continue
        if one.var not in done:
            done.add(one.var)
            out.append(one)
        if x is not one:
            out.append(replace(x, op="mul", args=(x.args[0], one.var)))  # type: ignore[union-attr]
    return tuple(out)


def _roots(body: Block, names: Names) -> Block:
    """A body in which a cotangent that is multiplied by x and divided by its root is multiplied by the root.

    (Where it is 0 it stays 0, as :mod:`.rules` says of ``mulz``, whatever the root.)
    """
    made = {x.var: x for x in body if isinstance(x, Let)}

    def let(a: Atom, op: str) -> tuple[Atom, ...]:
        x = made.get(a) if isinstance(a, Var) else None
        return x.args if x is not None and x.op == op else ()

    out: list[Stmt] = []
    for x in body:
        if isinstance(x, Let) and x.op == "mulz":
            product, quotient = let(x.args[0], "mul"), let(x.args[1], "div")
            root = quotient[1] if quotient else x.var
            of = let(root, "sqrt")
            if of and of[0] in product and {a.dt for a in (*product, *quotient, *of)} == {x.var.dt}:
                other = product[1] if product[0] == of[0] else product[0]
                half = names.var("t", x.var.dt)
                out.append(Let(half, "mul", (quotient[0], root), x.line))
                x = replace(x, args=(other, half))
        out.append(x)
    return tuple(out)
