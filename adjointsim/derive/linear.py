"""The builder of the way back."""

from __future__ import annotations

from .build import Builder, Names
from .ir import Atom, Base, Var

__all__ = ["Linear"]

_SIGNS = frozenset({"neg", "mul", "div", "add", "sub"})


class Linear(Builder):
    """A builder that tells statements on cotangents from primal ones recomputed among them."""

    def __init__(self, names: Names) -> None:
        super().__init__(names, "primal")
        self.linear: set[Var] = set()
        self.negated: dict[Atom, Atom] = {}  # -x -> x

    def op(self, op: str, *args: Atom, root: str | None = None, dt: str | None = None) -> Atom:
        if op in _SIGNS and any(a in self.negated for a in args):
            return self._sign(op, args, root)
        self.part = "linear" if any(a in self.linear for a in args) else "primal"
        result = super().op(op, *args, root=root, dt=dt)
        if self.part == "linear" and isinstance(result, Var):
            self.linear.add(result)
        if op == "neg" and isinstance(result, Var):
            self.negated[result] = args[0]
        return result

    def _sign(self, op: str, args: tuple[Atom, ...], root: str | None) -> Atom:
        """Signs move outwards and meet: exact in IEEE arithmetic."""
        plain = [self.negated.get(a, a) for a in args]
        if op == "neg":
            return plain[0]
        odd = sum(a in self.negated for a in args) % 2
        if op in ("mul", "div"):
            product = self.op(op, *plain, root=root)
            return self.op("neg", product, root=root) if odd else product
        a, b = args
        if op == "add":
            if b in self.negated:
                return self.op("sub", a, plain[1], root=root)
            return self.op("sub", b, plain[0], root=root)
        if b in self.negated:
            return self.op("add", a, plain[1], root=root)
        return self.op("neg", self.op("add", plain[0], b, root=root), root=root)

    def shadow_load(self, base: Base, index: tuple[Atom, ...], root: str) -> Atom:
        self.part = "linear"
        result = self.load(base, index, root, self._wrap)
        if isinstance(result, Var):
            self.linear.add(result)
        return result

    _wrap = "maybe"

    def shadow_store(self, base: Base, index: tuple[Atom, ...], value: Atom, mode: str, wrap: str) -> None:
        self._wrap = wrap
        value = self.cast(value, base.dt)
        self.part = "linear"
        self.store(base, index, value, mode, wrap)

    def new(self, root: str, dt: str) -> Var:
        var = self.names.var(root, dt)
        self.linear.add(var)
        return var
