"""From IR to Python text: what people read, and what a module's cache is known by.

Numba compiles it, too, for functions that call code of others; the rest is built from the IR (:mod:`.native`).  The text is
deterministic, keeps the user's names (``u.3`` becomes ``u_3``) and quotes the user's source lines as comments.  Every function
returns a status: 0, or a positive number for a ``raise`` of the user's (1 + its site), or NEED if an arena is too small.
"""

from __future__ import annotations

import keyword
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import registry, rules
from .build import zero
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Each,
    Fn,
    For,
    Foreign,
    If,
    Let,
    Load,
    Need,
    Raise,
    Stmt,
    Store,
    Var,
    While,
    atoms_of,
    walk,
)  # fmt: skip
from .module import NOT_CACHED

__all__ = ["HEADER", "NEED", "OK", "RESERVED", "decorated", "emit"]

OK, NEED = 0, -1

HEADER = """\
import math

import numpy as np
from numba import njit, uint64 as U

from adjointsim.derive import special
"""

_DTYPES = {"b1": "np.bool_", "i4": "np.int32", "i8": "np.int64", "u8": "np.uint64", "f4": "np.float32", "f8": "np.float64"}
RESERVED = frozenset(
    [*keyword.kwlist, "math", "np", "njit", "U", "special", "range", "abs", "min", "max", "round", "bool", "int", "float", "len"]
    + ["status", "value", "array", "frozen", "registered"]
    + [f"z{axis}" for axis in range(16)]  # indices of the loops that fill
)
_FILL = {"zero": 0, "one": 1}


@dataclass
class _Emitter:
    fn: Fn
    given: frozenset[Base]
    source: Sequence[str]
    names: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    uses: Counter[Var] = field(default_factory=Counter)
    text: dict[Var, str] = field(default_factory=dict)  # temporaries written where they are used
    out: list[str] = field(default_factory=list)
    line: int = 0

    # --------------------------------------------------------------------------------------------------------- names
    def name(self, x: Var | Base) -> str:
        if x.name not in self.names:
            root, _, k = x.name.partition(".")
            want = root if k in ("0", "") else f"{root}_{k}"
            want = "".join(c if c.isalnum() or c == "_" else "_" for c in want)
            while want in self.taken or want in RESERVED:
                want += "_"
            self.taken.add(want)
            self.names[x.name] = want
        return self.names[x.name]

    def atom(self, a: Atom) -> str:
        if isinstance(a, Var):
            return self.text.get(a) or self.name(a)
        v = a.value
        if a.dt in ("b1", "i8"):
            return repr(v) if a.dt == "b1" or v >= 0 else f"({v!r})"  # type: ignore[operator]
        if isinstance(v, float) and not math.isfinite(v):
            word = "np.nan" if math.isnan(v) else "np.inf" if v > 0 else "(-np.inf)"
            return word if a.dt == "f8" else f"{_DTYPES[a.dt]}({word})"
        return (repr(v) if v >= 0 else f"({v!r})") if a.dt == "f8" else f"{_DTYPES[a.dt]}({v!r})"  # type: ignore[operator]

    def cell(self, base: Base, index: tuple[Atom, ...], wrap: str) -> str:
        parts = [self.atom(i) for i in index]
        if wrap == "never":  # unsigned: no test for a negative index, which would keep the loop from being vectorised
            parts = [p if isinstance(i, Const) else f"U({_bare(p)})" for p, i in zip(parts, index, strict=True)]
        else:
            parts = [_bare(p) for p in parts]
        return f"{self.name(base)}[{', '.join(parts)}]"

    # ------------------------------------------------------------------------------------------------------ statements
    def put(self, depth: int, text: str) -> None:
        self.out.append("    " * depth + text)

    def block(self, block: Block, depth: int) -> None:
        here = len(self.out)
        for k, s in enumerate(block):
            if s.line and s.line != self.line and s.line <= len(self.source):
                self.line = s.line
                self.put(depth, f"# {s.line}: {self.source[s.line - 1].strip()}")
            self.statement(s, depth, block[k + 1 :])
        if not any(line.lstrip() and not line.lstrip().startswith("#") for line in self.out[here:]):
            self.put(depth, "pass")

    def statement(self, s: Stmt, depth: int, rest: Block) -> None:
        if isinstance(s, Let):
            text = rules.text(s.op, [self.atom(a) for a in s.args], s.var.dt)
            if self._inline(s, text, rest):
                self.text[s.var] = text
            else:
                self.put(depth, f"{self.name(s.var)} = {_bare(text)}")
        elif isinstance(s, Dim):
            self.put(depth, f"{self.name(s.var)} = {self.name(s.base)}.shape[{s.axis}]")
        elif isinstance(s, Load):
            self.put(depth, f"{self.name(s.var)} = {self.cell(s.base, s.index, s.wrap)}")
        elif isinstance(s, Store):
            self.put(
                depth, f"{self.cell(s.base, s.index, s.wrap)} {'+=' if s.mode == 'add' else '='} {_bare(self.atom(s.value))}"
            )
        elif isinstance(s, Alloc):
            self._alloc(s, depth)
        elif isinstance(s, If):
            self._if(s, depth)
        elif isinstance(s, (For, While)):
            self._loop(s, depth)
        elif isinstance(s, Raise):
            self.put(depth, self._leave(1 + s.site))
        elif isinstance(s, Need):
            self.put(depth, f"if {self.name(s.base)}.size < {self.atom(s.size)}:")
            self.put(depth + 1, self._leave(NEED))
        elif isinstance(s, Call):
            args = ", ".join(self.name(a) if isinstance(a, Base) else _bare(self.atom(a)) for a in s.args)
            left = ", ".join([*(["status"] if s.leaves else []), *(self.name(r) for r in s.results)])
            self.put(depth, f"{left} = {s.fn}({args})" if left else f"{s.fn}({args})")
            if s.leaves:
                self.put(depth, f"if status != {OK}:")
                self.put(depth + 1, self._leave("status"))
        elif isinstance(s, Foreign):
            self._foreign(s, depth)
        elif isinstance(s, Each):
            raise NotImplementedError("an Each is turned into loops before it is written")

    def _leave(self, status: int | str) -> str:
        """A return of a status, and of zeros for results that the function did not come to."""
        return "return " + ", ".join([str(status), *(self.atom(zero(r.dt)) for r in self.fn.results)])

    def _foreign(self, s: Foreign, depth: int) -> None:
        """A call of code outside of the module, which may not write what it reads; its arrays are copied into ours."""

        def given(a: object) -> str:
            if a is None:
                return "None"
            if isinstance(a, tuple):
                return f"({', '.join(map(given, a))},)"
            if not isinstance(a, Base):
                return self.atom(a)  # type: ignore[arg-type]
            name = self.name(a)
            if a not in s.complexes:
                return f"frozen({name})"
            kind = "np.complex128" if a.dt == "f8" else "np.complex64"
            if a.rank == 1:
                return f"{kind}(complex({name}[0], {name}[1]))"
            return f"frozen({name}.view({kind}).reshape({name}.shape[:-1]))"

        if s.fills:
            filled = [self.name(base) for _, base in s.outs]
            self.put(depth, f"{self.fn.name}_code({', '.join([*map(given, s.args), *filled])})")
            return
        self.put(depth, f"value = {self.fn.name}_code({', '.join(map(given, s.args))})")
        for k, base in s.outs:
            name, sign = self.name(base), "+=" if s.mode == "add" else "="
            self.put(depth, "array = value" if k < 0 else f"array = value[{k}]")
            rank = base.rank - (base in s.complexes)
            if not rank:
                self.put(depth, f"{name}[0] {sign} array.real\n{name}[1] {sign} array.imag".replace("\n", "\n" + "    " * depth))
                continue
            self.put(depth, f"if array.shape != {name}.shape{'[:-1]' if base in s.complexes else ''}:")
            self.put(depth + 1, f"raise ValueError({registry.shape_message(s.key, k)!r})")
            index = ", ".join(f"U(z{axis})" for axis in range(rank))
            for axis in range(rank):
                self.put(depth + axis, f"for z{axis} in range({name}.shape[{axis}]):")
            if base not in s.complexes:
                self.put(depth + rank, f"{name}[{index}] {sign} array[{index}]")
                continue
            self.put(depth + rank, f"{name}[{index}, 0] {sign} array[{index}].real")
            self.put(depth + rank, f"{name}[{index}, 1] {sign} array[{index}].imag")
        for k, v in s.results:
            self.put(depth, f"{self.name(v)} = {_DTYPES[v.dt]}({'value' if k < 0 else f'value[{k}]'})")

    def _inline(self, s: Let, text: str, rest: Block) -> bool:
        """A temporary used once, later in the same block, is written there: nested expressions, as a person would write."""
        if not s.var.name.startswith("t.") or self.uses[s.var] != 1 or len(text) > 80:
            return False
        for later in rest:
            if s.var in atoms_of(later):
                # not into a loop's yields or stop, nor a phi: these are evaluated elsewhere; mulz writes its argument thrice
                return (
                    (isinstance(later, Let) and later.op != "mulz")
                    or isinstance(later, Store)
                    or (isinstance(later, Load) and later.wrap != "never")
                )
            if isinstance(later, (If, For, While)):
                return False
        return False

    def _alloc(self, s: Alloc, depth: int) -> None:
        name = self.name(s.base)
        if s.base not in self.given:
            make = {"none": "empty", "zero": "zeros", "one": "ones"}[s.fill]
            dims = ", ".join(_bare(self.atom(d)) for d in s.dims)
            self.put(depth, f"{name} = np.{make}(({dims},), dtype={_DTYPES[s.base.dt]})")
        elif s.fill != "none":
            index = []
            for axis in range(s.base.rank):
                k = f"z{axis}"
                self.put(depth + axis, f"for {k} in range({name}.shape[{axis}]):")
                index.append(f"U({k})")
            self.put(depth + s.base.rank, f"{name}[{', '.join(index)}] = {_FILL[s.fill]}")

    def _if(self, s: If, depth: int) -> None:
        test = self.atom(s.test)
        if not s.then and not s.orelse:
            for v, a, b in s.phis:
                self.put(depth, f"{self.name(v)} = {_bare(self.atom(a))} if {test} else {_bare(self.atom(b))}")
            return
        line = self.line
        sides = []
        for which, block in ((1, s.then), (2, s.orelse)):
            self.line = line
            mark = len(self.out)
            if block or not s.phis:
                self.block(block, depth + 1)
            for phi in s.phis:
                if phi[which] != phi[0]:
                    self.put(depth + 1, f"{self.name(phi[0])} = {_bare(self.atom(phi[which]))}")
            sides.append(self.out[mark:])
            del self.out[mark:]
        if not s.then and not s.phis:
            self.put(depth, f"if not {test}:")
            self.out += sides[1]
            return
        self.put(depth, f"if {_bare(test)}:")
        self.out += sides[0]
        if s.orelse or s.phis:
            self.put(depth, "else:")
            self.out += sides[1]

    def _loop(self, s: For | While, depth: int) -> None:
        for (v, init), r in zip(s.carries, s.results, strict=True):
            self.put(depth, f"{self.name(v)} = {_bare(self.atom(init))}")
            self.names[r.name] = self.name(v)  # after the loop the carried variable holds the result
        count = s.trips is not None and self.uses[s.trips] > 0
        if count:
            self.put(depth, f"{self.name(s.trips)} = 0")  # type: ignore[arg-type]
        if isinstance(s, For):
            if s.team is not None:
                self.put(depth, f"# shared by the threads of {self.name(s.team[0])}; work: {_bare(self.atom(s.team[1]))}")
            self.put(depth, f"for {self.name(s.var)} in {self._range(s)}:")
        else:
            self.put(depth, "while True:")
            self.block(s.head, depth + 1) if s.head else None
            self.put(depth + 1, f"if not {self.atom(s.test)}:")
            self.put(depth + 2, "break")
        self.block(s.body, depth + 1)
        if count:
            self.put(depth + 1, f"{self.name(s.trips)} += 1")  # type: ignore[arg-type]
        pairs = [(v, y) for (v, _), y in zip(s.carries, s.yields, strict=True) if v != y]
        changed = {v for v, _ in pairs}
        if any(isinstance(y, Var) and y in changed for _, y in pairs):  # a swap: all at once
            left = ", ".join(self.name(v) for v, _ in pairs)
            self.put(depth + 1, f"{left} = {', '.join(_bare(self.atom(y)) for _, y in pairs)}")
        else:
            for v, y in pairs:
                self.put(depth + 1, f"{self.name(v)} = {_bare(self.atom(y))}")
        if s.stop is not None:
            self.put(depth + 1, f"if {_bare(self.atom(s.stop))}:")
            self.put(depth + 2, "break")

    def _range(self, s: For) -> str:
        lo, count, step = self.atom(s.lo), self.atom(s.count), s.step
        if isinstance(step, Const) and step.value == 1:
            return f"range({_bare(count)})" if lo == "0" else f"range({_bare(lo)}, {lo} + {count})"
        if isinstance(step, Const) and step.value == -1:
            return f"range({_bare(lo)}, {lo} - {count}, -1)"
        return f"range({_bare(lo)}, {lo} + {count} * {self.atom(step)}, {self.atom(step)})"


def _bare(text: str) -> str:
    """Without the parentheses around the whole, if there are any."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and k < len(text) - 1:
            return text
    return text[1:-1]


def _literal(v: object) -> str:
    return "{" + ", ".join(repr(x) for x in sorted(v)) + "}" if isinstance(v, (set, frozenset)) else repr(v)


def decorated(options: Mapping[str, object] | None) -> str:
    """The decorator of a generated function, with options besides those that all have."""
    settings = {"error_model": "numpy", "nogil": True, "cache": True, "no_cfunc_wrapper": True, **(options or {})}
    return f"@njit({', '.join(f'{k}={_literal(v)}' for k, v in settings.items())})"


def emit(
    fn: Fn,
    scratch: Sequence[Base] = (),
    source: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
    *,
    bare: bool = False,
) -> str:
    """The text of a function; ``scratch`` bases are memory that the caller brings, as further parameters.

    It returns its status and its results; ``bare``, for a function that cannot fail, its results alone.
    """
    e = _Emitter(fn, frozenset([*(p for p in fn.params if isinstance(p, Base)), *scratch]), source)
    e.taken.update(s.fn for s in walk(fn.body) if isinstance(s, Call))
    for s in walk(fn.body):
        e.uses.update(a for a in atoms_of(s) if isinstance(a, Var))
    params = ", ".join(e.name(p) for p in (*fn.params, *scratch))
    e.uses.update(a for a in fn.results if isinstance(a, Var))
    e.block(fn.body, 1)
    status = [] if bare else [str(OK)]
    e.put(1, f"return {', '.join([*status, *(_bare(e.atom(r)) for r in fn.results)])}".rstrip())
    head = ""
    foreign = next((s for s in fn.body if isinstance(s, Foreign)), None)
    if foreign is not None:
        code = registry.registered(foreign.key)
        head = "from adjointsim.derive.registry import frozen, registered\n\n"
        head += f"{fn.name}_code = registered({code.key!r}).compiled{'' if code.cacheable else NOT_CACHED}\n\n\n"
    return f"{head}{decorated(options)}\ndef {fn.name}({params}):\n" + "\n".join(e.out) + "\n"
