"""Scalar leaves by value: kernels for a driver that keeps scalar states in registers instead of one-cell arrays.

Everywhere else a scalar leaf is memory of one cell.  Here the loads of such a cell become a parameter, what is stored to a
result cell or added to a cotangent's cell becomes a result.  A cell that is used in another way stays memory, inside.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .build import Names, const, zero
from .deadcode import remove_dead
from .ir import Alloc, Atom, Base, Block, Let, Load, Stmt, Store, Var, bases_of, substitute, walk
from .kernel import Kernel

__all__ = ["by_value"]

_CELL = (const(0, "i8"),)


def by_value(kernel: Kernel, scalars: Collection[Base], names: Names) -> Kernel:
    """The kernel with its scalar leaves by value: inputs and the cotangents of results as parameters; results and the
    cotangents of inputs as results, in the order of the parameters that they replace.

    ``scalars`` are the parameters to change: scalar leaves of y and p, results, and their cotangents.
    """
    fn = kernel.fn
    body = fn.body
    head: list[Stmt] = []
    tail: list[Stmt] = []
    results: list[Atom] = []
    params: list[Var | Base] = []
    outputs = {b for b in (*kernel.results, *kernel.leaf_bars) if b is not None}
    for p in fn.params:
        if not isinstance(p, Base) or p not in scalars:
            params.append(p)
        elif p in outputs:
            body, out, before, after = _output(body, p, names)
            results.append(out)
            head += before
            tail += after
        else:
            var = names.var(p.name, p.dt)
            params.append(var)
            body, before = _input(body, p, var)
            head += before
    whole = (*head, *body, *tail)
    keep = [p for p in params if isinstance(p, Base) and p.role in ("result", "shadow")]
    return replace(kernel, fn=replace(fn, params=tuple(params), body=remove_dead(whole, keep, results), results=tuple(results)))


def _mine(s: Stmt, base: Base) -> bool:
    return base in bases_of(s)


def _input(body: Block, base: Base, var: Var) -> tuple[Block, list[Stmt]]:
    """A cell that is given: loads of it are the parameter; a cotangent's cell may also be set to zero after its loads."""
    own = [s for s in walk(body) if _mine(s, base)]
    stores = [s for s in own if isinstance(s, Store)]
    top = [s for s in body if _mine(s, base)]
    if all(isinstance(s, Load) for s in own):
        renamed: dict[Atom, Atom] = {s.var: var for s in own if isinstance(s, Load)}
        kept = _without(body, base)
        return substitute(kept, lambda a: renamed.get(a, a)), []
    loaded_last = max([k for k, s in enumerate(top) if isinstance(s, Load)], default=-1)
    if (
        len(top) == len(own)
        and all(isinstance(s, (Load, Store)) for s in own)
        and all(top.index(s) > loaded_last for s in stores)
    ):
        renamed = {s.var: var for s in own if isinstance(s, Load)}
        return substitute(tuple(s for s in body if not _mine(s, base)), lambda a: renamed.get(a, a)), []
    return body, [Alloc(base, (const(1, "i8"),), "none"), Store(base, _CELL, var, "set", "never")]


def _without(body: Block, base: Base) -> Block:
    """The body without its loads of a cell, wherever they are."""
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, Load) and s.base == base:
            continue
        changes = {f: _without(getattr(s, f), base) for f in ("then", "orelse", "body", "head") if hasattr(s, f)}
        out.append(replace(s, **changes) if changes else s)  # type: ignore[arg-type]
    return tuple(out)


def _output(body: Block, base: Base, names: Names) -> tuple[Block, Atom, list[Stmt], list[Stmt]]:
    """A cell that is written: set once at the end, or added to at the body's own level."""
    own = [s for s in walk(body) if _mine(s, base)]
    top = [s for s in body if _mine(s, base)]
    simple = len(own) == len(top) and all(isinstance(s, Store) for s in own)
    if simple and len(own) == 1 and own[0].mode == "set":  # type: ignore[union-attr]
        return tuple(s for s in body if not _mine(s, base)), own[0].value, [], []  # type: ignore[union-attr]
    if simple and all(s.mode == "add" for s in own):  # type: ignore[union-attr]
        total: Atom = zero(base.dt)
        tail: list[Stmt] = []
        for k, s in enumerate(own):
            value = s.value  # type: ignore[union-attr]
            if k == 0:
                total = value
                continue
            var = names.var(base.name, base.dt)
            tail.append(Let(var, "add", (total, value), s.line, "linear"))
            total = var
        return tuple(s for s in body if not _mine(s, base)), total, [], tail
    var = names.var(base.name, base.dt)
    part = "linear" if base.role == "shadow" else "primal"
    return body, var, [Alloc(base, (const(1, "i8"),), "zero", 0, part)], [Load(var, base, _CELL, "never", 0, part)]
