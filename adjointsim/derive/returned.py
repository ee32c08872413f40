"""What an entry function returns, brought into result leaves of a given structure."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DerivationError
from .build import const
from .complexpairs import interleaved, is_complex
from .context import RaiseSite
from .ir import READ_ONLY, Alloc, Atom, Base, Const, If, Let, Load, Raise, Stmt, Var, is_float
from .lower import Lowering
from .source import Source
from .spec import ComplexSpec, NoneSpec, ScalarSpec, Spec, TupleSpec
from .values import Ref, Static, Tup, Value, describe

__all__ = ["Finish", "Model", "ShapeSite", "identifier"]

#: a leaf of the argument that the result must be like, and the lengths of its axes
Model = tuple[Base, tuple[Atom, ...]]


#: memory that the function reads and never writes


def _apart(a: Ref, b: Ref) -> bool:
    """Whether two views of one array are different rows of it, by numbers that are known."""
    if a.base != b.base:
        return False
    rows = [(i.value, j.value) for i, j in zip(a.index, b.index, strict=True) if isinstance(i, Const) and isinstance(j, Const)]
    return any(i != j and min(i, j) >= 0 for i, j in rows)  # type: ignore[type-var, operator]


@dataclass(frozen=True)
class ShapeSite(RaiseSite):
    """Where a result leaf turns out to have another shape than the leaf that it must be like."""

    result: int = 0
    like: Base | None = None


def identifier(path: str) -> str:
    """A path as (part of) a Python name: ``p.c[0]`` -> ``p_c_0``."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in path.replace("]", "")).strip("_") or "x"


class Finish:
    """Writes a returned value into result leaves.

    ``out`` are these leaves with their paths; ``rename`` are the function's own arrays that *are* result leaves: what a
    function allocates and returns is written straight into the caller's memory.  ``origins`` say of each leaf whether it is
    an input, a capture or a literal as it stands: such a leaf is written like any other, as the last thing that the
    function does, but whoever can do without the copy knows where to look (inputs are never written).
    """

    def __init__(self, low: Lowering, source: Source, like: str | None, models: Sequence[Model], cells: Collection[Base]) -> None:
        """With ``like``, an argument's name, ``models`` are that argument's leaves; ``cells`` are inputs and captures that
        are numbers."""
        self.low, self.source, self.like, self.models, self.cells = low, source, like, models, cells
        self.returned = next((n for n in ast.walk(source.node) if isinstance(n, ast.Return)), source.node)
        self.out: list[tuple[str, Base]] = []
        self.rename: dict[Base, Base] = {}
        self.arrays: dict[int, Ref] = {}  # what is returned as which leaf
        self.origins: list[Base | Const | None] = []

    def check_next(self, overwritten: Collection[str]) -> None:
        """Refuse a step that returns memory which its next run overwrites and somebody else still sees.

        Every leaf of a state has memory of its own, in Python only if the step's result has: two leaves that are one array,
        or one that is a parameter, are fine as long as they are read only.  ``overwritten`` are names of bases.
        """
        for k, ref in self.arrays.items() if self.like else ():
            path, leaf = self.out[k][0].removeprefix("result"), self.models[k][0]
            if leaf.name not in overwritten:
                continue
            why = f"and a step overwrites y{path}: return a copy"
            if ref.base.role in READ_ONLY and all(ref.base != model for model, _ in self.models):
                name = ref.base.name.split(".")[0]
                raise self.source.error(f"returns '{name}' as y_next{path}, {why}", self.returned)
            for j, other in self.arrays.items():
                if j != k and self.low.may_be(ref.base, other.base) and not _apart(ref, other):
                    twin = self.out[j][0].removeprefix("result")
                    raise self.source.error(f"returns one array as y_next{path} and y_next{twin}, {why}", self.returned)

    def __call__(self, value: Value, spec: Spec, path: str) -> None:
        """DerivationError unless the value's structure is ``spec``; numbers are cast, but a float never to an integer."""
        if isinstance(spec, TupleSpec):
            same = isinstance(value, Tup) and len(value.items) == len(spec.items)
            if not same or (value.cls is not spec.cls and spec.cls and value.cls):  # type: ignore[union-attr]
                raise self._wrong(value, f"a {spec.cls.__name__ if spec.cls else f'tuple of {len(spec.items)}'}")
            for k, (v, s) in enumerate(zip(value.items, spec.items, strict=True)):  # type: ignore[union-attr]
                self(v, s, f"{path}.{spec.fields[k]}" if spec.fields else f"{path}[{k}]")
        elif isinstance(spec, NoneSpec):
            if not (isinstance(value, Static) and value.obj is None):
                raise self._wrong(value, "None")
        elif isinstance(spec, ComplexSpec):
            self._complex(value, spec, path)
        elif isinstance(spec, ScalarSpec):
            if not isinstance(value, (Var, Const)) or (is_float(value.dt) and not is_float(spec.dt)):
                raise self._wrong(value, f"a number ({np.dtype(spec.dt)})")
            base = Base(self.low.names.fresh(identifier(path)), spec.dt, 1, "result")
            self.low.b.store(base, (const(0, "i8"),), value, "set", "never")
            self.origins.append(self._number(value, spec.dt))
            self.out.append((path, base))
        else:
            if not isinstance(value, Ref) or value.rank != spec.rank or is_float(value.base.dt) != is_float(spec.dt):
                raise self._wrong(value, f"a {spec.rank}-d array of {np.dtype(spec.dt)}")
            self._array(value, Base(self.low.names.fresh(identifier(path)), spec.dt, spec.rank, "result"), path)

    def _complex(self, value: Value, spec: ComplexSpec, path: str) -> None:
        """A complex number or array, into a leaf whose last axis is the part."""
        low, leaf = self.low, spec.leaf
        real = value.items[0] if is_complex(value) else value  # type: ignore[union-attr]
        if not isinstance(real, (Var, Const, Ref)) or getattr(real, "rank", 0) != spec.rank:
            raise self._wrong(value, f"a {spec.rank}-d array of {np.dtype(spec.dt)}" if spec.rank else "a complex number")
        base = Base(low.names.fresh(identifier(path)), leaf.dt, leaf.rank, "result")
        shape = (*(low.shape(real) if isinstance(real, Ref) else ()), const(2, "i8"))
        if isinstance(real, Ref):
            self.arrays[len(self.out)] = real
        if self.like is not None:
            low.b.stmts.extend(self._guard(shape, *self.models[len(self.out)]))
        self.out.append((path, base))
        self.origins.append(None)
        low.dims[base] = shape
        if isinstance(real, Ref):
            low.assign_complex(interleaved(base), value)
        else:
            for k, x in enumerate(low.both(value)):
                low.b.store(base, (const(k, "i8"),), low.b.cast(x, base.dt), "set", "never")

    def _number(self, value: Var | Const, dt: str) -> Base | Const | None:
        """The cell outside, or the literal, that a number is."""
        if isinstance(value, Const):
            return value
        load = next((s for s in self.low.b.stmts if isinstance(s, Load) and s.var == value), None)
        return load.base if load is not None and value.dt == dt and load.base in self.cells else None

    def _wrong(self, value: Value, expected: str) -> DerivationError:
        got = describe(value)
        if isinstance(value, Ref):
            got += f" of {np.dtype(value.base.dt)}"
        elif isinstance(value, Tup) and value.cls and not is_complex(value):
            got += f" with fields {value.cls._fields}"  # type: ignore[attr-defined]
        hint = f" ('{self.like}' in, '{self.like}' out: a step returns the structure of its state)" if self.like else ""
        return self.source.error(f"returns {got} where {expected} is expected{hint}", self.returned, DerivationError)

    def _array(self, value: Ref, base: Base, path: str) -> None:
        low = self.low
        own = value.whole and value.base.dt == base.dt and value.base not in self.rename
        alloc = next((k for k, s in enumerate(low.b.stmts) if own and isinstance(s, Alloc) and s.base == value.base), None)
        shape = low.shape(value)
        self.arrays[len(self.out)] = value
        if self.like is not None:
            guard = self._guard(shape, *self.models[len(self.out)])
            at = len(low.b.stmts) if alloc is None else alloc  # before the memory is written: it has the model's size
            low.b.stmts[at:at] = guard
        self.out.append((path, base))
        self.origins.append(value.base if value.whole and value.base.dt == base.dt and value.base.role in READ_ONLY else None)
        if alloc is not None:
            self.rename[value.base] = base
        else:
            low.dims[base] = shape
            low.assign(Ref.of(base), value)

    def _guard(self, shape: Sequence[Atom], like: Base, dims: Sequence[Atom]) -> list[Stmt]:
        """Statements that leave if lengths differ."""
        low, line = self.low, getattr(self.returned, "lineno", 0)
        guard: list[Stmt] = []
        for have, want in zip(shape, dims, strict=True):
            if have != want:
                bad = low.names.var("t", "b1")
                guard += [Let(bad, "ne", (have, want), line), If(bad, (Raise(len(low.sites), line),), (), (), line)]
        if guard:
            source = self.source
            low.sites.append(ShapeSite(source.filename, line, source.name, "StructureError", result=len(self.out), like=like))
        return guard
