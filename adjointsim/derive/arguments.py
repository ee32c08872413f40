"""Arguments of calls of NumPy's functions, by place or by name."""

from __future__ import annotations

import ast
from collections.abc import Callable

from .arrays import Elements
from .build import const
from .ir import Atom, Const, Var, is_float
from .reductions import Reductions
from .values import Lazy, Ref, Static, Tup, Value, describe

__all__ = ["Arguments"]


class _Given(dict[str, ast.expr]):
    """Arguments by name; one that was not given and is asked for is an error."""

    def __init__(self, lacks: Callable[[str], Exception]) -> None:
        self.lacks = lacks

    def __missing__(self, name: str) -> ast.expr:
        raise self.lacks(name)


class Arguments(Reductions):
    """What the arguments of a call are."""

    def dtype_of(self, node: ast.expr | None) -> str:
        raise NotImplementedError

    def elements(self, node: ast.expr) -> Elements:
        """An argument that must be an array."""
        v = self.lazy(node)
        if isinstance(v, (Ref, Lazy)):
            return v
        raise self.error(f"expected an array, got {describe(v)}", node)

    def operands(self, node: ast.expr) -> list[Elements]:
        """A tuple of arrays, as np.concatenate takes it."""
        v = self.lazy(ast.copy_location(ast.Tuple(node.elts, ast.Load()), node) if isinstance(node, ast.List) else node)
        if not isinstance(v, Tup) or not v.items or not all(isinstance(i, (Ref, Lazy)) for i in v.items):
            raise self.error(f"expected a tuple of arrays, got {describe(v)}", node)
        return list(v.items)  # type: ignore[arg-type]

    def keywords(self, node: ast.Call, *names: str) -> dict[str, ast.expr]:
        """Arguments by name, in order, some of them given by keyword."""
        found = _Given(lambda name: self.error(f"{ast.unparse(node.func)} needs the argument '{name}'", node))
        found.update(zip(names, node.args, strict=False))
        if len(node.args) > len(names):
            raise self.error(f"{ast.unparse(node.func)} takes at most {len(names)} arguments here", node)
        for k in node.keywords:
            if k.arg not in names or k.arg in found:
                raise self.error(f"argument '{k.arg or '**'}' of {ast.unparse(node.func)} is not supported", node)
            found[k.arg] = k.value
        return found

    def literal_int(self, node: ast.expr | None, default: int, what: str) -> int:
        if node is None:
            return default
        v = self.value(node)
        if not isinstance(v, Const) or v.dt != "i8":
            raise self.error(f"{what} must be a literal int", node)
        return int(v.value)  # type: ignore[arg-type]

    def literal_number(self, node: ast.expr, what: str) -> float:
        """A number known at derivation, with its sign."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.literal_number(node.operand, what)
        v = self.value(node)
        if not isinstance(v, Const) or v.dt == "b1":
            raise self.error(f"{what} must be a literal number", node)
        return float(v.value)  # type: ignore[arg-type]

    def _int(self, node: ast.expr, what: str) -> Atom:
        v = self.value(node)
        if not isinstance(v, (Var, Const)) or is_float(v.dt):
            raise self.error(f"{what} must be an int, got {describe(v)}", node)
        return v

    def reduction(self, name: str, node: ast.Call, root: str | None, owner: Elements | None = None) -> Value:
        """A reduction as a function, or as a method of its owner."""
        given, axis, keep = self.reduced(node, owner is None)
        return self.reduce(name, owner or self.elements(given["a"]), node, axis, keep)

    def reduced(self, node: ast.Call, function: bool) -> tuple[dict[str, ast.expr], Value | None, bool]:
        """The arguments of a reduction, a function or a method, the axes that it runs over (None: all), and whether they stay."""
        given = self.keywords(node, *(("a",) if function else ()), "axis", "keepdims")
        axis = self.value(given["axis"]) if "axis" in given else None
        if isinstance(axis, Static) and axis.obj is None:
            axis = None
        keep = self.value(given["keepdims"]) if "keepdims" in given else const(False, "b1")
        if not isinstance(keep, Const):
            raise self.error("keepdims must be True or False", node)
        return given, axis, bool(keep.value)
